/* Pools, databases, users, and where the time goes. */
#include <stdio.h>

#include "console.h"
#include "weir/view.h"

/* Hosts of a line are tried in the order in which they stand. */
#define HOSTS_IN_ORDER "disable"

static const char *mode_name(enum weir_pool_mode mode)
{
    switch (mode) {
    case WEIR_POOL_SESSION:
        return "session";
    case WEIR_POOL_STATEMENT:
        return "statement";
    case WEIR_POOL_TRANSACTION:
        break;
    }
    return "transaction";
}

static void show_pool_clients(struct rows *rows, const struct weir_view_pool *pool)
{
    rows_number(rows, pool->clients_active + pool->clients_idle);
    rows_number(rows, pool->clients_waiting);
    rows_number(rows, pool->cancels_active);
    rows_number(rows, pool->cancels_waiting);
}

static void show_pool_servers(struct rows *rows, const struct weir_view_pool *pool)
{
    rows_number(rows, pool->servers_active);
    rows_number(rows, pool->cancels_active);
    rows_number(rows, pool->servers_cancelled);
    rows_number(rows, pool->servers_idle);
    rows_number(rows, pool->servers_used);
    rows_number(rows, pool->servers_tested);
    rows_number(rows, pool->servers_login);
}

static void show_holders(struct rows *rows, const struct weir_view_holders *holders)
{
    rows_number(rows, holders->running);
    rows_number(rows, holders->idle_in_transaction);
    rows_number(rows, holders->slow_reader);
    rows_number(rows, holders->pinned);
    rows_number(rows, holders->settling);
    rows_number(rows, holders->oldest);
}

static void show_pool(void *context, const struct weir_view_pool *pool)
{
    struct rows *rows = context;
    rows_begin(rows);
    rows_text(rows, pool->database);
    rows_text(rows, pool->user);
    show_pool_clients(rows, pool);
    show_pool_servers(rows, pool);
    rows_number(rows, pool->counts.oldest_wait / WEIR_SEC);
    rows_number(rows, pool->counts.oldest_wait % WEIR_SEC);
    rows_text(rows, mode_name(pool->settings->pool_mode));
    rows_text(rows, HOSTS_IN_ORDER);
    rows_number(rows, pool->clients_idle);
    rows_number(rows, pool->servers_closing);
    rows_number(rows, pool->ceiling);
    show_holders(rows, &pool->holders);
    rows_text(rows, pool->limit == WEIR_LIMIT_NONE ? NULL : weir_view_limit_name(pool->limit));
    rows_number(rows, pool->paused);
    rows_text(rows, pool->problem);
    rows_end(rows);
}

bool show_pools(struct walk *walk)
{
    weir_view_pools(walk->admin->router, show_pool, &walk->rows);
    return true;
}

/* --- databases and users ---------------------------------------------------------------------- */

static void show_database(void *context, const struct weir_view_database *row)
{
    struct rows *rows = context;
    const struct weir_pool_settings *settings = row->settings;
    rows_begin(rows);
    rows_text(rows, row->name);
    rows_text(rows, row->host);
    rows_number(rows, row->port);
    rows_text(rows, row->server_database);
    rows_text(rows, row->force_user);
    rows_number(rows, settings->pool_size);
    rows_number(rows, settings->min_pool_size);
    rows_number(rows, settings->max_overflow);
    rows_number(rows, settings->pool_recycle / WEIR_SEC);
    rows_text(rows, mode_name(settings->pool_mode));
    rows_text(rows, HOSTS_IN_ORDER);
    rows_number(rows, settings->max_db_connections);
    rows_number(rows, row->connections);
    rows_number(rows, settings->max_db_client_connections);
    rows_number(rows, row->clients);
    rows_number(rows, row->paused);
    rows_number(rows, row->disabled);
    rows_number(rows, row->automatic);
    rows_end(rows);
}

/* The console shows itself, as PgBouncer's does. */
static void show_console(struct rows *rows, const struct weir_admin *admin)
{
    static const char name[] = "pgbouncer";
    rows_begin(rows);
    rows_text(rows, name);
    rows_null(rows);
    rows_number(rows, weir_router_conf(admin->router)->listen_port);
    rows_text(rows, name);
    rows_text(rows, name);
    for (int i = 0; i < 4; i++)
        rows_number(rows, 0);
    rows_text(rows, "statement");
    rows_text(rows, HOSTS_IN_ORDER);
    for (int i = 0; i < 3; i++)
        rows_number(rows, 0);
    rows_number(rows, admin->guest_count);
    for (int i = 0; i < 3; i++)
        rows_number(rows, 0);
    rows_end(rows);
}

bool show_databases(struct walk *walk)
{
    weir_view_databases(walk->admin->router, show_database, &walk->rows);
    show_console(&walk->rows, walk->admin);
    return true;
}

static void rows_count_as_text(struct rows *rows, int value)
{
    char text[16];
    snprintf(text, sizeof(text), "%d", value);
    rows_text(rows, text);
}

/* What a user has no line for is the database's affair: null. */
static void show_user(void *context, const struct weir_view_user *row)
{
    struct rows *rows = context;
    rows_begin(rows);
    rows_text(rows, row->name);
    if (row->overrides) {
        rows_count_as_text(rows, row->settings->pool_size);
        rows_count_as_text(rows, row->settings->max_overflow);
        rows_text(rows, mode_name(row->settings->pool_mode));
    } else {
        rows_null(rows);
        rows_null(rows);
        rows_null(rows);
    }
    rows_number(rows, row->settings->max_user_connections);
    rows_number(rows, row->connections);
    rows_number(rows, row->settings->max_user_client_connections);
    rows_number(rows, row->clients);
    rows_end(rows);
}

bool show_users(struct walk *walk)
{
    weir_view_users(walk->admin->router, show_user, &walk->rows);
    return true;
}

/* --- latency ------------------------------------------------------------------------------- */

/* The last bucket has no bound: what is in it took at least that of the one before. */
static int64_t quantile(const struct weir_histogram *histogram, double part)
{
    int64_t bound = weir_histogram_quantile(histogram, part);
    int64_t last = weir_histogram_bound(WEIR_HISTOGRAM_BUCKETS - 2);
    return bound > last ? last : bound;
}

static void show_histogram(struct rows *rows, const char *database, const char *user,
                           const char *part, const struct weir_histogram *histogram,
                           const char *help)
{
    rows_begin(rows);
    rows_text(rows, database);
    rows_text(rows, user);
    rows_text(rows, part);
    rows_number(rows, (int64_t)histogram->count);
    rows_number(rows, histogram->sum);
    rows_number(rows, quantile(histogram, 0.5));
    rows_number(rows, quantile(histogram, 0.9));
    rows_number(rows, quantile(histogram, 0.99));
    rows_number(rows, quantile(histogram, 1));
    rows_text(rows, help);
    rows_end(rows);
}

static void show_parts(struct rows *rows, const char *database, const char *user,
                       const struct weir_latency *latency)
{
    for (int i = 0; i < WEIR_PART_COUNT; i++)
        show_histogram(rows, database, user, weir_part_name((enum weir_part)i), &latency->parts[i],
                       weir_part_help((enum weir_part)i));
}

static void show_pool_latency(void *context, const struct weir_view_pool *pool)
{
    show_parts(context, pool->database, pool->user, pool->latency);
}

/* All together first, without database and user, and with them the loop that carries all. */
bool show_latency(struct walk *walk)
{
    struct weir_view_daemon daemon;
    weir_view_daemon(walk->admin->router, &daemon);
    show_parts(&walk->rows, NULL, NULL, daemon.latency);
    show_histogram(&walk->rows, NULL, NULL, "turn", daemon.turns,
                   "a turn of the loop worked, per turn");
    weir_view_pools(walk->admin->router, show_pool_latency, &walk->rows);
    return true;
}
