/* Who waits for a server connection, for what, and who holds the connections meanwhile. */
#include <time.h>

#include "console.h"
#include "holders.h"

#define CLIENTS_PER_SLICE 500

struct waits {
    struct walk *walk;
    struct holder_pool *pools;
    int64_t now; /* wall clock */
};

/* The pool's own limit is its size; the others have counts of their own. */
static void show_limit(struct rows *rows, const struct holder_pool *pool)
{
    rows_text(rows, weir_view_limit_name(pool->limit));
    if (pool->limit == WEIR_LIMIT_POOL) {
        rows_number(rows, pool->servers);
        rows_number(rows, pool->ceiling);
    } else if (pool->cap_limit > 0) {
        rows_number(rows, pool->cap_used);
        rows_number(rows, pool->cap_limit);
    } else {
        rows_null(rows);
        rows_null(rows);
    }
}

static void show_longest(struct walk *walk, const struct holder_pool *pool)
{
    struct rows *rows = &walk->rows;
    if (pool->held == 0) {
        for (int i = 0; i < 5; i++)
            rows_null(rows);
        return;
    }
    rows_number(rows, (int64_t)pool->client_id);
    rows_number(rows, pool->backend_pid);
    rows_number(rows, pool->held);
    rows_text(rows, pool->doing);
    rows_text(rows, walk_shows_statements(walk) ? pool->statement : NULL);
}

static void show_wait(void *context, const struct weir_view_client *client)
{
    struct waits *waits = context;
    struct rows *rows = &waits->walk->rows;
    if (client->wait == 0 && client->wait_position == 0)
        return;
    const struct holder_pool *pool = holders_find(waits->pools, client->database, client->user);
    if (pool == NULL)
        return;
    rows_begin(rows);
    rows_number(rows, (int64_t)client->id);
    rows_text(rows, client->database);
    rows_text(rows, client->user);
    rows_text(rows, client->application_name);
    rows_number(rows, client->wait_position);
    rows_number(rows, client->wait);
    rows_instant(rows, waits->now - client->wait);
    show_limit(rows, pool);
    rows_number(rows, pool->holders.running);
    rows_number(rows, pool->holders.idle_in_transaction);
    rows_number(rows, pool->holders.slow_reader);
    rows_number(rows, pool->holders.pinned);
    rows_number(rows, pool->holders.settling);
    show_longest(waits->walk, pool);
    rows_end(rows);
}

bool show_waits(struct walk *walk)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct waits waits = {
        .walk = walk,
        .pools = holders_collect(walk->admin->router),
        .now = now.tv_sec * 1000000 + now.tv_nsec / 1000,
    };
    bool more = weir_view_clients_some(walk->admin->router, &walk->portal->at, CLIENTS_PER_SLICE,
                                       show_wait, &waits);
    holders_free(waits.pools);
    return !more;
}
