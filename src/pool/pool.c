/* Groups and pools, their counts, and the slots that a pool holds under its limits. */
#include <limits.h>
#include <stdlib.h>

#include "pool_internal.h"
#include "weir/memory.h"

struct weir_pool_group *weir_pool_group_create(uint64_t random_seed)
{
    struct weir_pool_group *group = weir_alloc(sizeof(*group));
    weir_list_init(&group->binds);
    weir_list_init(&group->pings);
    weir_list_init(&group->closes);
    weir_list_init(&group->timeouts);
    weir_list_init(&group->failures);
    weir_list_init(&group->opens);
    group->random = random_seed;
    return group;
}

void weir_pool_group_destroy(struct weir_pool_group *group)
{
    if (group == NULL)
        return;
    weir_require(group->pools == 0);
    free(group->heap);
    free(group);
}

static void sit_down(struct weir_pool *pool, struct weir_pool_cap *cap)
{
    struct pool_seat *seat = &pool->seats[pool->seat_count++];
    seat->pool = pool;
    seat->cap = cap;
    if (cap->members.next == NULL) {
        weir_list_init(&cap->members);
        weir_list_init(&cap->blocked);
    }
    weir_list_push_back(&cap->members, &seat->member);
}

struct weir_pool *weir_pool_create(struct weir_pool_group *group,
                                   const struct weir_pool_limits *limits,
                                   struct weir_pool_cap *const caps[3], void *owner)
{
    struct weir_pool *pool = weir_alloc(sizeof(*pool));
    pool->limits = limits;
    pool->group = group;
    pool->owner = owner;
    for (int i = 0; i < STATES; i++)
        weir_list_init(&pool->lists[i]);
    weir_list_init(&pool->waiters);
    for (int i = 0; caps != NULL && i < CAPS_MAX; i++)
        if (caps[i] != NULL)
            sit_down(pool, caps[i]);
    weir_pool_heap_insert(pool);
    return pool;
}

void weir_pool_destroy(struct weir_pool *pool)
{
    if (pool == NULL)
        return;
    while (pool->open_due > 0)
        weir_pool_withdraw_open(pool);
    if (pool->granted != 0) {
        pool->group->granted = NULL;
        pool->granted = 0;
        weir_pool_free_slot(pool);
    }
    weir_require(pool->waiting == 0 && pool->slots == 0);
    weir_pool_set_wanted(pool, 0);
    weir_pool_settle(pool);
    for (int i = 0; i < pool->seat_count; i++)
        weir_list_remove(&pool->seats[i].member);
    weir_pool_heap_remove(pool);
    free(pool);
}

void *weir_pool_owner(const struct weir_pool *pool)
{
    return pool->owner;
}

void weir_pool_take_slot(struct weir_pool *pool)
{
    pool->slots++;
    for (int i = 0; i < pool->seat_count; i++)
        pool->seats[i].cap->used++;
}

void weir_pool_free_slot(struct weir_pool *pool)
{
    weir_require(pool->slots > 0);
    pool->slots--;
    for (int i = 0; i < pool->seat_count; i++)
        pool->seats[i].cap->used--;
}

void weir_pool_start_closing(struct weir_pool_server *server)
{
    struct weir_pool *pool = server->pool;
    server_move(server, WEIR_POOL_CLOSING);
    for (int i = 0; i < pool->seat_count; i++)
        pool->seats[i].cap->closing++;
}

void weir_pool_forget(struct weir_pool_server *server)
{
    struct weir_pool *pool = server->pool;
    weir_pool_withdraw(server);
    if (server->state == WEIR_POOL_CLOSING)
        for (int i = 0; i < pool->seat_count; i++)
            pool->seats[i].cap->closing--;
    weir_pool_caps_leave(server);
    weir_list_remove(&server->link);
    pool->counts[server->state]--;
    weir_pool_free_slot(pool);
    server->pool = NULL;
}

void weir_pool_count(const struct weir_pool *pool, weir_usec now, struct weir_pool_counts *counts)
{
    const struct weir_pool_waiter *head = head_waiter(pool);
    *counts = (struct weir_pool_counts){
        .opening = pool->counts[WEIR_POOL_OPENING],
        .idle = pool->counts[WEIR_POOL_IDLE],
        .checking = pool->counts[WEIR_POOL_CHECKING],
        .active = pool->counts[WEIR_POOL_ACTIVE],
        .closing = pool->counts[WEIR_POOL_CLOSING],
        .waiting = pool->waiting,
        .oldest_wait = head == NULL ? 0 : now - head->since,
        .generation = pool->generation,
        .failing = pool->failing,
        .paused = pool->paused,
    };
}

int weir_pool_position(const struct weir_pool_waiter *waiter)
{
    if (waiter->pool == NULL || !waiter->queued)
        return 0;
    int position = 1;
    weir_list_for(node, &waiter->pool->waiters) {
        if (node == &waiter->link)
            break;
        position++;
    }
    return position;
}

const struct weir_list *weir_pool_waiter_list(const struct weir_pool *pool)
{
    return &pool->waiters;
}

const struct weir_list *weir_pool_active_list(const struct weir_pool *pool)
{
    return &pool->lists[WEIR_POOL_ACTIVE];
}

int weir_pool_ceiling(const struct weir_pool *pool)
{
    const struct weir_pool_limits *limits = pool->limits;
    if (limits->pool_size <= 0 || limits->max_overflow < 0)
        return -1;
    if (limits->max_overflow > INT_MAX - limits->pool_size)
        return INT_MAX;
    return limits->pool_size + limits->max_overflow;
}
