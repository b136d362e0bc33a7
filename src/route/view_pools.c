/* Pools for the operator: who holds their connections, and what the next client would wait for. */
#include "router.h"
#include "view.h"
#include "weir/view.h"

const char *weir_view_limit_name(enum weir_view_limit limit)
{
    static const char *const names[] = {
        [WEIR_LIMIT_NONE] = "",
        [WEIR_LIMIT_PAUSED] = "paused",
        [WEIR_LIMIT_FAILING] = "server unavailable",
        [WEIR_LIMIT_OPENING] = "server_connect_parallel",
        [WEIR_LIMIT_DELAY] = "overflow_delay",
        [WEIR_LIMIT_POOL] = "pool_size + max_overflow",
        [WEIR_LIMIT_DATABASE] = "max_db_connections",
        [WEIR_LIMIT_USER] = "max_user_connections",
        [WEIR_LIMIT_GLOBAL] = "max_server_connections",
    };
    return names[limit];
}

void view_holders(const struct destination *destination, struct weir_view_holders *holders)
{
    *holders = (struct weir_view_holders){0};
    weir_usec now = destination->router->loop->now;
    weir_list_for(link, &destination->servers) {
        const struct server *server = weir_container_of(link, struct server, link);
        if (server->phase == SERVER_SETTLING)
            holders->settling++;
        if (server->phase != SERVER_BOUND || server->client == NULL)
            continue;
        if (now - server->bound_at > holders->oldest)
            holders->oldest = now - server->bound_at;
        if (weir_stream_unsent(&server->client->base.stream) > 0)
            holders->slow_reader++;
        else if (server->replies.count > 0)
            holders->running++;
        else if (server->status != 'I' || server->pipeline != PIPELINE_IDLE)
            holders->idle_in_transaction++;
        else
            holders->pinned++;
    }
}

static void count_server(const struct server *server, struct weir_view_pool *row)
{
    weir_usec now = server->router->loop->now;
    switch (server->phase) {
    case SERVER_LOGIN:
    case SERVER_LEARNING:
        row->servers_login++;
        row->clients_waiting += server->client != NULL;
        break;
    case SERVER_IDLE:
        if (weir_pool_is_stale(&server->slot, now))
            row->servers_used++;
        else
            row->servers_idle++;
        break;
    case SERVER_BOUND:
    case SERVER_SETTLING:
        row->servers_active++;
        break;
    case SERVER_PINGING:
        row->servers_tested++;
        break;
    case SERVER_CLOSING:
        row->servers_closing++;
        break;
    case SERVER_CLOSED:
        break;
    }
    if (server->phase == SERVER_BOUND && server->client != NULL) {
        row->clients_active++;
        row->pins += server->pins != 0;
    }
    if (server->cancel != NULL) {
        if (weir_cancel_is_sent(server->cancel))
            row->cancels_active++;
        else
            row->cancels_waiting++;
        row->servers_cancelled += server->replies.count == 0;
    }
}

static enum weir_view_limit limit_of_cap(const struct destination *destination,
                                         const struct weir_pool_cap *cap)
{
    if (cap == &destination->database_cap->servers)
        return WEIR_LIMIT_DATABASE;
    return cap == &destination->user_cap->servers ? WEIR_LIMIT_USER : WEIR_LIMIT_GLOBAL;
}

static void find_limit(const struct destination *destination, struct weir_view_pool *row)
{
    static const enum weir_view_limit limits[] = {
        [WEIR_POOL_CLEAR] = WEIR_LIMIT_NONE,         [WEIR_POOL_IS_PAUSED] = WEIR_LIMIT_PAUSED,
        [WEIR_POOL_IN_BACKOFF] = WEIR_LIMIT_FAILING, [WEIR_POOL_AT_PARALLEL] = WEIR_LIMIT_OPENING,
        [WEIR_POOL_AT_DELAY] = WEIR_LIMIT_DELAY,     [WEIR_POOL_AT_CEILING] = WEIR_LIMIT_POOL,
        [WEIR_POOL_AT_CAP] = WEIR_LIMIT_GLOBAL,
    };
    const struct weir_pool_cap *cap;
    enum weir_pool_obstacle obstacle =
        weir_pool_obstacle(destination->pool, destination->router->loop->now, &cap);
    row->limit = limits[obstacle];
    /* Between two attempts nothing but the server holds up those who wait. */
    if (obstacle == WEIR_POOL_CLEAR && row->counts.failing && row->counts.waiting > 0)
        row->limit = WEIR_LIMIT_FAILING;
    if (cap != NULL) {
        row->limit = limit_of_cap(destination, cap);
        row->cap_used = cap->used;
        row->cap_limit = cap->limit;
    } else if (obstacle == WEIR_POOL_AT_CEILING) {
        const struct weir_pool_counts *counts = &row->counts;
        row->cap_used =
            counts->opening + counts->idle + counts->checking + counts->active + counts->closing;
        row->cap_limit = row->ceiling;
    }
}

static void show_pool(const struct destination *destination,
                      void (*each)(void *context, const struct weir_view_pool *row), void *context)
{
    struct weir_view_pool row = {
        .database = destination->database,
        .user = destination->user,
        .settings = &destination->settings,
        .counters = &destination->counters,
        .latency = &destination->latency,
        .ceiling = weir_pool_ceiling(destination->pool),
        .clients = destination->clients,
    };
    weir_pool_count(destination->pool, destination->router->loop->now, &row.counts);
    view_holders(destination, &row.holders);
    row.clients_waiting = row.counts.waiting;
    weir_list_for(link, &destination->servers)
        count_server(weir_container_of(link, struct server, link), &row);
    row.clients_idle = row.clients - row.clients_active - row.clients_waiting;
    if (row.clients_idle < 0)
        row.clients_idle = 0;
    row.paused = row.counts.paused;
    row.problem = row.counts.failing ? destination->last_problem : NULL;
    find_limit(destination, &row);
    each(context, &row);
}

void weir_view_pools(const struct weir_router *router,
                     void (*each)(void *context, const struct weir_view_pool *row), void *context)
{
    const struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next)
        show_pool(destination, each, context);
}
