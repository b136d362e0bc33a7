/* What happens in a pool is counted there and nowhere else, so that it costs one addition. Totals
 * are made when somebody looks. */
#include "stats.h"

#include <stdlib.h>

#include "router.h"
#include "weir/view.h"

struct snapshots {
    struct weir_counters before;
    struct weir_counters last;
};

struct database_stats {
    struct weir_counters ended; /* of pools that are gone */
    struct snapshots snapshots;
};

struct stats {
    struct weir_latency ended; /* of pools that are gone */
    struct snapshots snapshots;
    weir_usec before_at, last_at;  /* 0: none */
    struct weir_counters counters; /* see stats_counters */
    struct weir_latency latency;
};

struct stats *stats_create(void)
{
    return weir_alloc(sizeof(struct stats));
}

void stats_destroy(struct stats *stats)
{
    free(stats);
}

void stats_begin_pool(struct destination *destination)
{
    struct named_cap *database = destination->database_cap;
    if (database->stats == NULL)
        database->stats = weir_alloc(sizeof(*database->stats));
    weir_list_push_back(&database->destinations, &destination->by_database);
}

void stats_end_pool(struct destination *destination)
{
    weir_counters_merge(&destination->database_cap->stats->ended, &destination->counters);
    weir_latency_merge(&destination->router->stats->ended, &destination->latency);
    weir_list_remove(&destination->by_database);
}

static void sum_database(const struct named_cap *database, struct weir_counters *total)
{
    *total = (struct weir_counters){0};
    if (database->stats == NULL)
        return; /* no pool yet */
    *total = database->stats->ended;
    weir_list_for(link, &database->destinations)
        weir_counters_merge(total,
                            &weir_container_of(link, struct destination, by_database)->counters);
}

const struct weir_counters *stats_counters(const struct weir_router *router)
{
    struct weir_counters *total = &router->stats->counters;
    const struct named_cap *database, *next;
    *total = router->counters;
    HASH_ITER(hh, router->database_caps, database, next) {
        struct weir_counters part;
        sum_database(database, &part);
        weir_counters_merge(total, &part);
    }
    return total;
}

const struct weir_latency *stats_latency(const struct weir_router *router)
{
    struct weir_latency *total = &router->stats->latency;
    const struct destination *destination, *next;
    *total = router->stats->ended;
    HASH_ITER(hh, router->destinations, destination, next)
        weir_latency_merge(total, &destination->latency);
    return total;
}

static void push(struct snapshots *snapshots, const struct weir_counters *total)
{
    snapshots->before = snapshots->last;
    snapshots->last = *total;
}

static void end_period(struct weir_router *router)
{
    struct named_cap *database, *next;
    HASH_ITER(hh, router->database_caps, database, next) {
        if (database->stats == NULL)
            continue;
        struct weir_counters total;
        sum_database(database, &total);
        push(&database->stats->snapshots, &total);
    }
    push(&router->stats->snapshots, stats_counters(router));
}

void stats_note_turns(struct weir_router *router)
{
    weir_usec longest = router->loop->longest_turn;
    if (longest > router->longest_turn)
        router->longest_turn = longest;
    if (longest > router->longest_ever)
        router->longest_ever = longest;
}

void stats_tick(struct weir_router *router)
{
    struct stats *stats = router->stats;
    weir_usec now = router->loop->now;
    if (stats->last_at == 0)
        stats->last_at = router->started_at;
    if (now - stats->last_at < router->conf->stats_period)
        return;
    end_period(router);
    stats->before_at = stats->last_at;
    stats->last_at = now;
}

static void show(const struct stats *stats, const struct snapshots *snapshots,
                 struct weir_view_stats *row)
{
    row->before = snapshots->before;
    row->last = snapshots->last;
    row->period = stats->before_at == 0 ? 0 : stats->last_at - stats->before_at;
}

void weir_view_stats(const struct weir_router *router,
                     void (*each)(void *context, const struct weir_view_stats *row), void *context)
{
    const struct named_cap *database, *next;
    HASH_ITER(hh, router->database_caps, database, next) {
        if (database->stats == NULL)
            continue;
        struct weir_view_stats row = {.database = database->name};
        sum_database(database, &row.total);
        show(router->stats, &database->stats->snapshots, &row);
        each(context, &row);
    }
}

void weir_view_stats_all(const struct weir_router *router, struct weir_view_stats *row)
{
    row->database = "";
    row->total = *stats_counters(router);
    show(router->stats, &router->stats->snapshots, row);
}
