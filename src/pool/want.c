/* Clients that want a server, and their queue. */
#include <limits.h>

#include "pool_internal.h"

enum verdict { FRESH, STALE, UNFIT };

/* STALE: to be asked before use. UNFIT: to be closed, *reason says why. */
static inline enum verdict judge(const struct weir_pool_server *server, weir_usec now,
                                 enum weir_pool_close_reason *reason)
{
    const struct weir_pool_limits *limits = server->pool->limits;
    if (server->close_asked) {
        *reason = WEIR_POOL_CLOSE_ASKED;
        return UNFIT;
    }
    if (server_expired(server, now)) {
        *reason = WEIR_POOL_CLOSE_AGE;
        return UNFIT;
    }
    if (!limits->pre_ping) {
        *reason = WEIR_POOL_CLOSE_CHECK_FAILED;
        return server_suspect(server) ? UNFIT : FRESH;
    }
    if (server_suspect(server) || now - server->checked_at > limits->pre_ping_idle)
        return STALE;
    return FRESH;
}

bool weir_pool_is_stale(const struct weir_pool_server *server, weir_usec now)
{
    enum weir_pool_close_reason reason;
    return judge(server, now, &reason) != FRESH;
}

static struct weir_pool_server *next_idle(const struct weir_pool *pool)
{
    const struct weir_list *idle = &pool->lists[WEIR_POOL_IDLE];
    if (weir_list_is_empty(idle))
        return NULL;
    return server_of(pool->limits->use_lifo ? idle->next : idle->prev);
}

/* A fresh idle server with the affinity, near the end from which servers are taken. */
static struct weir_pool_server *find_alike(const struct weir_pool *pool, const void *affinity,
                                           weir_usec now)
{
    const struct weir_list *idle = &pool->lists[WEIR_POOL_IDLE];
    bool lifo = pool->limits->use_lifo;
    struct weir_list *node = lifo ? idle->next : idle->prev;
    enum weir_pool_close_reason reason;

    for (int i = 0; i < AFFINITY_REACH && node != idle; i++) {
        struct weir_pool_server *server = server_of(node);
        if (server->affinity == affinity && judge(server, now, &reason) == FRESH)
            return server;
        node = lifo ? node->next : node->prev;
    }
    return NULL;
}

/* The idle server to be used next, still idle. NULL when none can be used as it is; *stale is then
 * the one that should be asked, if any. Closes the unfit ones on its way. */
static struct weir_pool_server *choose(struct weir_pool *pool, const void *affinity, weir_usec now,
                                       struct weir_pool_server **stale)
{
    struct weir_pool_server *server;
    enum weir_pool_close_reason reason;

    *stale = NULL;
    while ((server = next_idle(pool)) != NULL) {
        enum verdict verdict = judge(server, now, &reason);
        if (verdict == UNFIT) {
            weir_pool_decide_close(server, reason);
            continue;
        }
        if (verdict == FRESH && server->affinity == affinity)
            return server;
        struct weir_pool_server *alike = find_alike(pool, affinity, now);
        if (alike != NULL)
            return alike;
        if (verdict == FRESH)
            return server;
        *stale = server;
        return NULL;
    }
    return NULL;
}

void weir_pool_serve(struct weir_pool *pool, weir_usec now)
{
    while (!pool->paused && pool->waiting > 0 && pool->counts[WEIR_POOL_IDLE] > 0) {
        struct weir_pool_waiter *waiter = head_waiter(pool);
        struct weir_pool_server *stale;
        struct weir_pool_server *server = choose(pool, waiter->affinity, now, &stale);
        if (server != NULL)
            weir_pool_decide_bind(waiter, server);
        else if (stale != NULL && pool->counts[WEIR_POOL_CHECKING] < pool->waiting)
            weir_pool_decide_ping(stale);
        else
            break;
    }
    weir_pool_consider(pool, false, now);
}

/* Keeps the queue ordered by `since`. Whoever comes back after its server died waits since before
 * all others, so the walk passes only others who came back. */
void weir_pool_enqueue(struct weir_pool *pool, struct weir_pool_waiter *waiter, weir_usec since)
{
    struct weir_list *before = &pool->waiters;
    const struct weir_list *last = pool->waiters.prev;

    waiter->pool = pool;
    waiter->since = since;
    waiter->queued = true;
    if (last != &pool->waiters &&
        weir_container_of(last, struct weir_pool_waiter, link)->since <= since)
        before = pool->waiters.prev;
    else
        while (before->next != &pool->waiters &&
               weir_container_of(before->next, struct weir_pool_waiter, link)->since < since)
            before = before->next;
    weir_list_insert_between(&waiter->link, before, before->next);
    pool->waiting++;

    const struct weir_pool_limits *limits = pool->limits;
    if (before != &pool->waiters)
        return;
    if (limits->pool_timeout > 0)
        weir_pool_schedule(pool, since + limits->pool_timeout);
    if (limits->overflow_delay > 0)
        weir_pool_schedule(pool, since + limits->overflow_delay);
}

void weir_pool_dequeue(struct weir_pool_waiter *waiter)
{
    weir_require(waiter->queued);
    weir_list_remove(&waiter->link);
    waiter->queued = false;
    waiter->pool->waiting--;
}

/* One more would wait behind max_waiting others for whom no connection is there or can be opened.
 */
static bool is_full(const struct weir_pool *pool)
{
    const struct weir_pool_limits *limits = pool->limits;
    if (limits->max_waiting <= 0)
        return false;
    int served = pool->counts[WEIR_POOL_OPENING] + pool->counts[WEIR_POOL_CHECKING] +
                 pool->counts[WEIR_POOL_IDLE] + pool->open_due + pool->granted;
    if (!pool->paused && !pool->failing) {
        int room = weir_pool_room(pool);
        int caps_room = weir_pool_caps_room(pool);
        if (caps_room < room)
            room = caps_room;
        if (room > INT_MAX - served)
            return false;
        served += room;
    }
    return pool->waiting - served >= limits->max_waiting;
}

static weir_pool_slow enum weir_pool_want_result want_slowly(struct weir_pool *pool,
                                                             struct weir_pool_waiter *waiter,
                                                             weir_usec now,
                                                             struct weir_pool_server **server)
{
    if (pool->waiting == 0) {
        struct weir_pool_server *stale;
        struct weir_pool_server *found = choose(pool, waiter->affinity, now, &stale);
        if (found != NULL) {
            server_move(found, WEIR_POOL_ACTIVE);
            found->uses++;
            *server = found;
            return WEIR_POOL_GOT;
        }
    }
    if (is_full(pool))
        return WEIR_POOL_FULL;
    weir_pool_enqueue(pool, waiter, now);
    weir_pool_serve(pool, now);
    return WEIR_POOL_QUEUED;
}

enum weir_pool_want_result weir_pool_want(struct weir_pool *pool, struct weir_pool_waiter *waiter,
                                          weir_usec now, struct weir_pool_server **server)
{
    enum weir_pool_close_reason reason;

    weir_require(waiter->pool == NULL);
    waiter->since = now;
    if (pool->waiting == 0) {
        const struct weir_list *idle = &pool->lists[WEIR_POOL_IDLE];
        struct weir_list *node = pool->limits->use_lifo ? idle->next : idle->prev;
        struct weir_pool_server *found = server_of(node);
        if (node != idle && found->affinity == waiter->affinity &&
            judge(found, now, &reason) == FRESH) {
            server_move(found, WEIR_POOL_ACTIVE);
            found->uses++;
            *server = found;
            return WEIR_POOL_GOT;
        }
    }
    return want_slowly(pool, waiter, now, server);
}

void weir_pool_leave(struct weir_pool_waiter *waiter, weir_usec now)
{
    struct weir_pool *pool = waiter->pool;
    if (pool == NULL)
        return;
    struct weir_pool_server *server = waiter->server;
    if (server != NULL) {
        weir_list_remove(&server->due);
        pool->group->pending--;
        server->waiter = NULL;
        waiter->server = NULL;
        waiter->pool = NULL;
        server->uses--;
        weir_pool_give(server, now);
        return;
    }
    if (waiter->queued) {
        weir_pool_dequeue(waiter);
        waiter->pool = NULL;
        weir_pool_serve(pool, now); /* the next may have another affinity */
        return;
    }
    weir_list_remove(&waiter->link); /* DO_TIMEOUT or DO_FAIL that was not taken yet */
    pool->group->pending--;
    waiter->pool = NULL;
}

void weir_pool_requeue(struct weir_pool *pool, struct weir_pool_waiter *waiter, weir_usec since,
                       weir_usec now)
{
    weir_require(waiter->pool == NULL);
    weir_pool_enqueue(pool, waiter, since);
    weir_pool_serve(pool, now);
}
