/* Servers that become free: for a waiter, idle, or closed. */
#include "pool_internal.h"

/* When an idle server needs the next look: its age, idle_timeout, keepalive. */
static weir_usec idle_due(const struct weir_pool_server *server)
{
    const struct weir_pool_limits *limits = server->pool->limits;
    weir_usec due = server->expires_at != 0 ? server->expires_at : NEVER;
    if (limits->idle_timeout > 0 && server->idle_since + limits->idle_timeout < due)
        due = server->idle_since + limits->idle_timeout;
    if (limits->keepalive > 0 && server->checked_at + limits->keepalive < due)
        due = server->checked_at + limits->keepalive;
    return due;
}

/* Only a server that comes back from a ping was used before others that are idle, and then it is among
 * the longest idle. */
static weir_pool_slow void sort_in(struct weir_pool *pool, struct weir_pool_server *server)
{
    struct weir_list *idle = &pool->lists[WEIR_POOL_IDLE];
    struct weir_list *after = idle;
    weir_list_remove(&server->link);
    while (after->prev != idle && server_of(after->prev)->idle_since < server->idle_since)
        after = after->prev;
    weir_list_insert_between(&server->link, after->prev, after);
}

/* Limits may have been lowered while all servers were in use. */
static weir_pool_slow bool exceeds_limits(const struct weir_pool *pool)
{
    int ceiling = weir_pool_ceiling(pool);
    int staying = pool->slots - pool->counts[WEIR_POOL_CLOSING];
    return (ceiling >= 0 && staying > ceiling) || weir_pool_caps_exceeded(pool);
}

static void make_idle(struct weir_pool *pool, struct weir_pool_server *server)
{
    int pool_size = pool->limits->pool_size;
    if (pool_size > 0 && (pool->counts[WEIR_POOL_IDLE] >= pool_size ||
                          (pool->slots > pool_size && exceeds_limits(pool)))) {
        weir_pool_decide_close(server, WEIR_POOL_CLOSE_SURPLUS);
        return;
    }
    struct weir_list *idle = &pool->lists[WEIR_POOL_IDLE];
    struct weir_list *latest = idle->next;
    bool in_order = latest == idle || server_of(latest)->idle_since <= server->idle_since;
    server_move(server, WEIR_POOL_IDLE);
    if (!in_order)
        sort_in(pool, server);
    weir_pool_schedule(pool, idle_due(server));
}

static weir_pool_slow void give_slowly(struct weir_pool *pool, struct weir_pool_server *server,
                                       weir_usec now)
{
    struct weir_pool *taker;

    if (server->close_asked || pool->paused) {
        weir_pool_decide_close(server, WEIR_POOL_CLOSE_ASKED);
    } else if (server_expired(server, now)) {
        weir_pool_decide_close(server, WEIR_POOL_CLOSE_AGE);
    } else if (exceeds_limits(pool)) {
        weir_pool_decide_close(server, WEIR_POOL_CLOSE_SURPLUS);
    } else if ((taker = weir_pool_find_taker(server, now)) != NULL) {
        weir_pool_decide_close(server, WEIR_POOL_CLOSE_HANDOVER);
        weir_pool_reclaim(taker, pool, now);
    } else if (pool->waiting > 0) {
        weir_pool_decide_bind(head_waiter(pool), server);
    } else {
        for (int i = 0; i < pool->seat_count; i++)
            pool->seats[i].cap->searched = false;
        make_idle(pool, server);
    }
    weir_pool_serve(pool, now);
}

static inline bool has_no_taker(const struct weir_pool *pool, const struct weir_pool_server *server,
                                weir_usec now)
{
    return pool->waiting == 0 && !pool->paused && !server->close_asked &&
           !server_expired(server, now) && !weir_pool_contended(pool);
}

void weir_pool_give(struct weir_pool_server *server, weir_usec now)
{
    struct weir_pool *pool = server->pool;
    if (has_no_taker(pool, server, now))
        make_idle(pool, server);
    else
        give_slowly(pool, server, now);
}

static weir_pool_slow void release_slowly(struct weir_pool_server *server, weir_usec now)
{
    weir_pool_give(server, now);
}

void weir_pool_release(struct weir_pool_server *server, weir_usec now)
{
    struct weir_pool *pool = server->pool;
    int pool_size = pool->limits->pool_size;
    weir_require(server->state == WEIR_POOL_ACTIVE && server->waiter == NULL);
    server_prove(server, now);
    server->idle_since = now;
    if (!has_no_taker(pool, server, now) || (pool_size > 0 && pool->slots > pool_size)) {
        release_slowly(server, now);
        return;
    }
    /* Within pool_size, and the latest: no surplus, and first in the order. */
    server_move(server, WEIR_POOL_IDLE);
    weir_pool_schedule(pool, idle_due(server));
}
