/* Decisions that were made and not taken yet. They are lists of the servers, waiters and pools that
 * they are about, so nothing is allocated, and when one of those vanishes its decision goes by
 * unlinking. */
#include "pool_internal.h"

void weir_pool_decide_bind(struct weir_pool_waiter *waiter, struct weir_pool_server *server)
{
    struct weir_pool_group *group = server->pool->group;
    weir_pool_dequeue(waiter);
    server_move(server, WEIR_POOL_ACTIVE);
    server->uses++;
    server->waiter = waiter;
    waiter->server = server;
    weir_list_push_back(&group->binds, &server->due);
    group->pending++;
}

void weir_pool_decide_ping(struct weir_pool_server *server)
{
    struct weir_pool_group *group = server->pool->group;
    server_move(server, WEIR_POOL_CHECKING);
    weir_list_push_back(&group->pings, &server->due);
    group->pending++;
}

void weir_pool_decide_close(struct weir_pool_server *server, enum weir_pool_close_reason reason)
{
    struct weir_pool_group *group = server->pool->group;
    weir_pool_start_closing(server);
    server->close_reason = (int)reason;
    if (weir_pool_is_below_floor(server->pool))
        weir_pool_schedule(server->pool, 0); /* the next tick looks at it */
    weir_list_push_back(&group->closes, &server->due);
    group->pending++;
}

void weir_pool_decide_end(struct weir_pool_waiter *waiter, bool failed)
{
    struct weir_pool_group *group = waiter->pool->group;
    weir_pool_dequeue(waiter);
    weir_list_push_back(failed ? &group->failures : &group->timeouts, &waiter->link);
    group->pending++;
}

void weir_pool_decide_open(struct weir_pool *pool)
{
    weir_pool_take_slot(pool);
    if (pool->open_due++ == 0)
        weir_list_push_back(&pool->group->opens, &pool->open_link);
    pool->group->pending++;
}

void weir_pool_withdraw_open(struct weir_pool *pool)
{
    weir_require(pool->open_due > 0);
    weir_pool_free_slot(pool);
    if (--pool->open_due == 0)
        weir_list_remove(&pool->open_link);
    pool->group->pending--;
}

void weir_pool_withdraw(struct weir_pool_server *server)
{
    if (!weir_list_is_linked(&server->due))
        return;
    weir_list_remove(&server->due);
    server->pool->group->pending--;
    struct weir_pool_waiter *waiter = server->waiter;
    if (waiter == NULL)
        return;
    server->waiter = NULL;
    waiter->server = NULL;
    weir_pool_enqueue(server->pool, waiter, waiter->since);
}

static struct weir_pool_server *pop_server(struct weir_list *list)
{
    struct weir_list *node = weir_list_pop(list);
    return node == NULL ? NULL : weir_container_of(node, struct weir_pool_server, due);
}

static struct weir_pool_waiter *pop_waiter(struct weir_list *list)
{
    struct weir_list *node = weir_list_pop(list);
    return node == NULL ? NULL : weir_container_of(node, struct weir_pool_waiter, link);
}

static struct weir_pool *pop_open(struct weir_pool_group *group)
{
    struct weir_list *node = weir_list_pop(&group->opens);
    if (node == NULL)
        return NULL;
    struct weir_pool *pool = weir_container_of(node, struct weir_pool, open_link);
    if (--pool->open_due > 0)
        weir_list_push_back(&group->opens, &pool->open_link);
    pool->granted = 1; /* keeps its slot until weir_pool_opening */
    group->granted = pool;
    return pool;
}

/* An owner that took DO_OPEN and could not begin gets no second one now: the next tick retries. */
static void drop_granted(struct weir_pool_group *group)
{
    struct weir_pool *pool = group->granted;
    if (pool == NULL)
        return;
    group->granted = NULL;
    pool->granted = 0;
    weir_pool_free_slot(pool);
}

bool weir_pool_has_decisions(const struct weir_pool_group *group)
{
    return group->pending > 0;
}

static void fill(struct weir_pool_group *group, struct weir_pool_decision *decision)
{
    struct weir_pool_server *server;
    struct weir_pool_waiter *waiter;

    *decision = (struct weir_pool_decision){0};
    if ((server = pop_server(&group->binds)) != NULL) {
        decision->kind = WEIR_POOL_DO_BIND;
        decision->waiter = server->waiter;
        server->waiter->server = NULL;
        server->waiter->pool = NULL;
        server->waiter = NULL;
    } else if ((waiter = pop_waiter(&group->failures)) != NULL) {
        decision->kind = WEIR_POOL_DO_FAIL;
    } else if ((waiter = pop_waiter(&group->timeouts)) != NULL) {
        decision->kind = WEIR_POOL_DO_TIMEOUT;
    } else if ((server = pop_server(&group->closes)) != NULL) {
        decision->kind = WEIR_POOL_DO_CLOSE;
        decision->reason = (enum weir_pool_close_reason)server->close_reason;
    } else if ((server = pop_server(&group->pings)) != NULL) {
        decision->kind = WEIR_POOL_DO_PING;
    } else {
        decision->kind = WEIR_POOL_DO_OPEN;
        decision->pool = pop_open(group);
        weir_require(decision->pool != NULL);
        return;
    }
    if (server != NULL) {
        decision->server = server;
        decision->pool = server->pool;
    } else {
        decision->waiter = waiter;
        decision->pool = waiter->pool;
        waiter->pool = NULL;
    }
}

bool weir_pool_next(struct weir_pool_group *group, struct weir_pool_decision *decision)
{
    if (group->granted != NULL)
        drop_granted(group);
    if (group->pending == 0)
        return false;
    group->pending--;
    fill(group, decision);
    return true;
}
