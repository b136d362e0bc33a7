/* Work that becomes due by time. Pools are in a heap by the time of their next work, so that a tick
 * touches only those which have some. */
#include <stdlib.h>

#include "pool_internal.h"
#include "weir/memory.h"

static void place(struct weir_pool_group *group, size_t index, struct weir_pool *pool)
{
    group->heap[index] = pool;
    pool->heap_index = index;
}

static void sift_up(struct weir_pool_group *group, struct weir_pool *pool)
{
    size_t index = pool->heap_index;
    while (index > 0) {
        struct weir_pool *parent = group->heap[(index - 1) / 2];
        if (parent->due_at <= pool->due_at)
            break;
        place(group, index, parent);
        index = (index - 1) / 2;
    }
    place(group, index, pool);
}

static void sift_down(struct weir_pool_group *group, struct weir_pool *pool)
{
    size_t index = pool->heap_index;
    for (;;) {
        size_t child = index * 2 + 1;
        if (child >= group->pools)
            break;
        if (child + 1 < group->pools && group->heap[child + 1]->due_at < group->heap[child]->due_at)
            child++;
        if (group->heap[child]->due_at >= pool->due_at)
            break;
        place(group, index, group->heap[child]);
        index = child;
    }
    place(group, index, pool);
}

void weir_pool_heap_insert(struct weir_pool *pool)
{
    struct weir_pool_group *group = pool->group;
    if (group->pools == group->heap_capacity) {
        size_t capacity = group->heap_capacity == 0 ? 16 : group->heap_capacity * 2;
        struct weir_pool **heap = weir_alloc(capacity * sizeof(struct weir_pool *));
        for (size_t i = 0; i < group->pools; i++)
            heap[i] = group->heap[i];
        free(group->heap);
        group->heap = heap;
        group->heap_capacity = capacity;
    }
    pool->heap_index = group->pools++;
    sift_up(group, pool);
}

void weir_pool_heap_remove(struct weir_pool *pool)
{
    struct weir_pool_group *group = pool->group;
    struct weir_pool *last = group->heap[--group->pools];
    if (last == pool)
        return;
    last->heap_index = pool->heap_index;
    sift_up(group, last);
    sift_down(group, last);
}

void weir_pool_reschedule(struct weir_pool *pool, weir_usec due)
{
    weir_usec before = pool->due_at;
    pool->due_at = due;
    if (due < before)
        sift_up(pool->group, pool);
    else
        sift_down(pool->group, pool);
}

static void end_overdue(struct weir_pool *pool, weir_usec now)
{
    weir_usec timeout = pool->limits->pool_timeout;
    struct weir_pool_waiter *waiter;
    while (timeout > 0 && (waiter = head_waiter(pool)) != NULL && now - waiter->since >= timeout)
        weir_pool_decide_end(waiter, pool->failing);
}

static weir_usec sooner(weir_usec left, weir_usec right)
{
    return left < right ? left : right;
}

/* Closes or pings one idle server if it is time; otherwise lowers *due to when it will be. */
static void tend_idle(struct weir_pool *pool, struct weir_pool_server *server, weir_usec now,
                      weir_usec *due)
{
    const struct weir_pool_limits *limits = pool->limits;
    int staying = pool->slots - pool->counts[WEIR_POOL_CLOSING];
    int ceiling = weir_pool_ceiling(pool);

    if (server_expired(server, now)) {
        weir_pool_decide_close(server, WEIR_POOL_CLOSE_AGE);
        return;
    }
    if ((limits->pool_size > 0 && pool->counts[WEIR_POOL_IDLE] > limits->pool_size) ||
        (ceiling >= 0 && staying > ceiling) || weir_pool_caps_exceeded(pool)) {
        weir_pool_decide_close(server, WEIR_POOL_CLOSE_IDLE);
        return;
    }
    if (limits->idle_timeout > 0 && staying > weir_pool_floor(pool)) {
        if (now - server->idle_since >= limits->idle_timeout) {
            weir_pool_decide_close(server, WEIR_POOL_CLOSE_IDLE);
            return;
        }
        *due = sooner(*due, server->idle_since + limits->idle_timeout);
    }
    if (limits->keepalive > 0) {
        if (now - server->checked_at >= limits->keepalive) {
            weir_pool_decide_ping(server);
            return;
        }
        *due = sooner(*due, server->checked_at + limits->keepalive);
    }
    if (server->expires_at != 0)
        *due = sooner(*due, server->expires_at);
}

static weir_usec tend_all_idle(struct weir_pool *pool, weir_usec now)
{
    struct weir_list *idle = &pool->lists[WEIR_POOL_IDLE];
    weir_usec due = NEVER;
    struct weir_list *before;
    for (struct weir_list *node = idle->prev; node != idle; node = before) {
        before = node->prev;
        tend_idle(pool, server_of(node), now, &due);
    }
    return due;
}

/* When the waiters, the pause or a missing server need the next look. */
static weir_usec next_due(const struct weir_pool *pool, weir_usec now)
{
    const struct weir_pool_limits *limits = pool->limits;
    const struct weir_pool_waiter *head = head_waiter(pool);
    weir_usec due = now + VISIT_HORIZON;
    if (head != NULL) {
        if (limits->pool_timeout > 0)
            due = sooner(due, head->since + limits->pool_timeout);
        /* If it has passed for the first, it will soon for the next: then at each tick. */
        if (limits->overflow_delay > 0)
            due = sooner(due, head->since + limits->overflow_delay);
    }
    if (weir_pool_caps_exceeded(pool))
        due = now + 1; /* at each tick until enough of those in use have come back */
    if (pool->wanted > 0)
        due = now + 1; /* at each tick: idle servers of others may have become old enough */
    if (head != NULL || weir_pool_is_below_floor(pool)) {
        if (pool->failing && now < pool->retry_at)
            due = sooner(due, pool->retry_at);
        else
            due = sooner(due, now + WEIR_SEC); /* an owner may have been unable to open */
    }
    return due;
}

static void visit(struct weir_pool *pool, weir_usec now)
{
    end_overdue(pool, now);
    weir_usec due = tend_all_idle(pool, now);
    weir_pool_serve(pool, now);
    weir_pool_consider(pool, true, now);
    due = sooner(due, next_due(pool, now));
    weir_pool_reschedule(pool, due > now ? due : now + 1);
}

void weir_pool_tick(struct weir_pool_group *group, weir_usec now)
{
    while (group->pools > 0 && group->heap[0]->due_at <= now)
        visit(group->heap[0], now);
}

void weir_pool_limits_changed(struct weir_pool *pool, weir_usec now)
{
    visit(pool, now);
    weir_pool_settle(pool);
}
