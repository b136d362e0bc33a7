#include "shot.h"

#include <stdlib.h>
#include <string.h>

#include "body.h"
#include "weir/memory.h"

weir_usec weir_http_bound(int bucket)
{
    return weir_histogram_bound(WEIR_HTTP_FIRST_BUCKET + 2 * bucket);
}

void weir_http_thin(const struct weir_histogram *full, struct weir_http_histogram *thin)
{
    thin->count = full->count;
    thin->sum = full->sum;
    uint64_t below = 0;
    int next = 0;
    for (int bucket = 0; bucket < WEIR_HTTP_BUCKETS; bucket++) {
        for (; next <= WEIR_HTTP_FIRST_BUCKET + 2 * bucket; next++)
            below += full->buckets[next];
        thin->buckets[bucket] = below;
    }
}

/* --- one pool -------------------------------------------------------------------------- */

static char *clean(const char *text)
{
    return text == NULL ? NULL : weir_http_clean(text, strlen(text));
}

static void copy_pool(struct weir_http_pool *pool, const struct weir_view_pool *row)
{
    pool->database = clean(row->database);
    pool->user = clean(row->user);
    pool->problem = clean(row->problem);
    pool->row = *row;
    pool->row.database = pool->row.user = pool->row.problem = NULL;
    pool->row.settings = NULL;
    pool->row.counters = NULL;
    pool->row.latency = NULL;
    pool->mode = row->settings->pool_mode;
    pool->pool_size = row->settings->pool_size;
    pool->counters = *row->counters;
    for (int part = 0; part < WEIR_PART_COUNT; part++)
        weir_http_thin(&row->latency->parts[part], &pool->parts[part]);
    pool->failing = row->counts.failing;
    pool->paused = row->paused;
}

/* --- many in one ----------------------------------------------------------------------- */

static void add_counters(struct weir_counters *sum, const struct weir_counters *more)
{
#define WEIR_COUNTER(name, help) sum->name += more->name;
#include "weir/counters.def"
#undef WEIR_COUNTER
    for (int reason = 0; reason < WEIR_REASON_COUNT; reason++)
        sum->reasons[reason] += more->reasons[reason];
}

static void add_histogram(struct weir_http_histogram *sum, const struct weir_histogram *more)
{
    struct weir_http_histogram thin;
    weir_http_thin(more, &thin);
    sum->count += thin.count;
    sum->sum += thin.sum;
    for (int bucket = 0; bucket < WEIR_HTTP_BUCKETS; bucket++)
        sum->buckets[bucket] += thin.buckets[bucket];
}

static weir_usec later(weir_usec left, weir_usec right)
{
    return left > right ? left : right;
}

static void add_states(struct weir_view_pool *sum, const struct weir_view_pool *more)
{
    sum->holders.running += more->holders.running;
    sum->holders.idle_in_transaction += more->holders.idle_in_transaction;
    sum->holders.slow_reader += more->holders.slow_reader;
    sum->holders.pinned += more->holders.pinned;
    sum->holders.settling += more->holders.settling;
    sum->holders.oldest = later(sum->holders.oldest, more->holders.oldest);
    sum->counts.oldest_wait = later(sum->counts.oldest_wait, more->counts.oldest_wait);
    sum->ceiling = sum->ceiling < 0 || more->ceiling < 0 ? -1 : sum->ceiling + more->ceiling;
    sum->clients += more->clients;
    sum->clients_active += more->clients_active;
    sum->clients_idle += more->clients_idle;
    sum->clients_waiting += more->clients_waiting;
    sum->cancels_waiting += more->cancels_waiting;
    sum->cancels_active += more->cancels_active;
    sum->servers_cancelled += more->servers_cancelled;
    sum->servers_active += more->servers_active;
    sum->servers_idle += more->servers_idle;
    sum->servers_used += more->servers_used;
    sum->servers_tested += more->servers_tested;
    sum->servers_login += more->servers_login;
    sum->servers_closing += more->servers_closing;
    sum->pins += more->pins;
}

static void add_pool(struct weir_http_pool *sum, const struct weir_view_pool *row)
{
    add_states(&sum->row, row);
    add_counters(&sum->counters, row->counters);
    for (int part = 0; part < WEIR_PART_COUNT; part++)
        add_histogram(&sum->parts[part], &row->latency->parts[part]);
    sum->pool_size += row->settings->pool_size;
    sum->failing += row->counts.failing;
    sum->paused += row->paused;
}

/* --- all of them ----------------------------------------------------------------------- */

/* Cleared one by one: for all that there may be that would be most of the work with a few. */
static struct weir_http_pool *append_pool(struct weir_http_shot *shot)
{
    if (shot->pool_count == shot->capacity) {
        size_t capacity = shot->capacity == 0 ? 4 : shot->capacity * 2;
        struct weir_http_pool *more = reallocarray(shot->pools, capacity, sizeof(*shot->pools));
        weir_require(more != NULL);
        shot->pools = more;
        shot->capacity = capacity;
    }
    struct weir_http_pool *pool = &shot->pools[shot->pool_count++];
    *pool = (struct weir_http_pool){0};
    return pool;
}

void weir_http_shot_add(struct weir_http_shot *shot, const struct weir_view_pool *row)
{
    shot->failing += row->counts.failing;
    if (shot->pool_count < WEIR_HTTP_POOLS) {
        copy_pool(append_pool(shot), row);
        return;
    }
    struct weir_http_pool *others =
        shot->left_out == 0 ? append_pool(shot) : &shot->pools[WEIR_HTTP_POOLS];
    if (shot->left_out++ == 0) {
        others->database = weir_strdup(WEIR_HTTP_OTHERS);
        others->user = weir_strdup(WEIR_HTTP_OTHERS);
    }
    add_pool(others, row);
}

static void take_pool(void *context, const struct weir_view_pool *row)
{
    weir_http_shot_add(context, row);
}

void weir_http_shot_take(struct weir_http_shot *shot, const struct weir_router *router)
{
    *shot = (struct weir_http_shot){0};
    weir_view_daemon(router, &shot->daemon);
    weir_view_pools(router, take_pool, shot);
}

void weir_http_shot_clear(struct weir_http_shot *shot)
{
    for (size_t i = 0; i < shot->pool_count; i++) {
        free(shot->pools[i].database);
        free(shot->pools[i].user);
        free(shot->pools[i].problem);
    }
    free(shot->pools);
    *shot = (struct weir_http_shot){0};
}
