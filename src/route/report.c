/* What the operator sees: holders, pools, waits, counters, slow queries. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "login.h"
#include "router.h"
#include "view.h"
#include "weir/view.h"

static void print_holders(const struct weir_view_holders *holders, char *text, size_t size)
{
    snprintf(text, size,
             "The connections are held by: %d running, %d idle in transaction, %d slow reader, "
             "%d pinned or session, %d being cleaned; the longest for %.1f s.",
             holders->running, holders->idle_in_transaction, holders->slow_reader, holders->pinned,
             holders->settling, (double)holders->oldest / 1e6);
}

void report_holders(const struct destination *destination, char *text, size_t size)
{
    struct weir_view_holders holders;
    view_holders(destination, &holders);
    print_holders(&holders, text, size);
}

void report_slow_query(struct server *server)
{
    struct weir_log_who who;
    char peer[128];
    if (server->client == NULL)
        return;
    const char *text;
    size_t length, limit = server->router->conf->log_query_length;
    running_text(server, &text, &length);
    server->destination->counters.slow_queries++;
    router_who_client(server->client, &who, peer, sizeof(peer));
    weir_log_warning(&who, "slow_query", "duration=%.3f ms backend=%u text=%.*s",
                     (double)(server->router->loop->now - server->query_at) / 1e3, server->base.pid,
                     (int)(length < limit ? length : limit), length > 0 ? text : "");
}

static void report_counter(void *context, const char *name, const char *help, uint64_t value)
{
    weir_log_info(NULL, "counter", "%s=%llu", name, (unsigned long long)value);
}

static void report_pool(void *context, const struct weir_view_pool *pool)
{
    const struct weir_pool_counts *counts = &pool->counts;
    char holders[256];
    print_holders(&pool->holders, holders, sizeof(holders));
    weir_log_info(
        NULL, "pool",
        "database=%s user=%s clients=%d opening=%d idle=%d checking=%d active=%d "
        "closing=%d waiting=%d oldest_wait_ms=%.1f ceiling=%d generation=%u%s%s%s%s",
        pool->database, pool->user, pool->clients, counts->opening, counts->idle, counts->checking,
        counts->active, counts->closing, counts->waiting, (double)counts->oldest_wait / 1e3,
        pool->ceiling, counts->generation, counts->failing ? " failing" : "",
        counts->paused ? " paused" : "",
        pool->limit == WEIR_LIMIT_NONE ? "" : " limit=", weir_view_limit_name(pool->limit));
    weir_log_info(NULL, "holders", "database=%s user=%s %s", pool->database, pool->user, holders);
}

static void report_wait(void *context, const struct weir_view_client *client)
{
    if (client->state != WEIR_CLIENT_WAITING)
        return;
    char peer[128];
    weir_address_print(&client->address, peer, sizeof(peer));
    const struct weir_log_who who = {
        .kind = "client",
        .id = client->id,
        .database = client->database,
        .user = client->user,
        .peer = peer,
    };
    weir_log_info(&who, "wait", "position=%d since_ms=%.1f", client->wait_position,
                  (double)client->wait / 1e3);
}

void weir_router_report(struct weir_router *router)
{
    const struct weir_counters *counters = stats_counters(router);
    weir_view_pools(router, report_pool, NULL);
    weir_view_clients(router, report_wait, NULL);
    weir_counters_walk(counters, report_counter, NULL);
    for (int i = 0; i < WEIR_REASON_COUNT; i++)
        if (counters->reasons[i] > 0)
            weir_log_info(NULL, "counter", "reason_%s=%llu",
                          weir_reason_row((enum weir_reason)i)->name,
                          (unsigned long long)counters->reasons[i]);
    verdict_report(router);
    stats_note_turns(router);
    weir_log_info(NULL, "counter", "clients=%d", router->places[PLACE_CLIENT]);
    weir_log_info(NULL, "counter", "longest_turn_usec=%lld", (long long)router->longest_turn);
    router->longest_turn = 0;
    router->loop->longest_turn = 0;
}

void weir_router_log_stats(struct weir_router *router)
{
    const struct weir_counters *counters = stats_counters(router);
    const struct weir_histogram *waits = &stats_latency(router)->parts[WEIR_PART_WAIT];
    weir_log_info(NULL, "stats",
                  "clients=%d transactions=%llu queries=%llu waits=%llu wait_p99_us=%lld "
                  "bytes_in=%llu bytes_out=%llu",
                  router->places[PLACE_CLIENT], (unsigned long long)counters->transactions,
                  (unsigned long long)counters->queries, (unsigned long long)counters->waits,
                  (long long)weir_histogram_quantile(waits, 0.99),
                  (unsigned long long)counters->bytes_from_clients,
                  (unsigned long long)counters->bytes_from_servers);
}
