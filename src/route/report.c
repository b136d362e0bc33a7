/* What the operator sees: holders, pools, waits, counters, slow queries. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router.h"

struct holders {
    int running, idle_in_transaction, slow_reader, pinned, settling;
    weir_usec oldest;
};

static void count_holders(const struct destination *destination, struct holders *holders)
{
    *holders = (struct holders){0};
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
        else if (server->status != 'I')
            holders->idle_in_transaction++;
        else
            holders->pinned++;
    }
}

void report_holders(const struct destination *destination, char *text, size_t size)
{
    struct holders holders;
    count_holders(destination, &holders);
    snprintf(text, size,
             "The connections are held by: %d running, %d idle in transaction, %d slow reader, "
             "%d pinned or session, %d being cleaned; the longest for %.1f s.",
             holders.running, holders.idle_in_transaction, holders.slow_reader, holders.pinned,
             holders.settling, (double)holders.oldest / 1e6);
}

void report_slow_query(struct server *server)
{
    struct weir_log_who who;
    char peer[128];
    if (server->client == NULL)
        return;
    server->router->counters.slow_queries++;
    router_who_client(server->client, &who, peer, sizeof(peer));
    weir_log_warning(&who, "slow_query", "duration=%.3f ms backend=%u text=%.*s",
                     (double)(server->router->loop->now - server->query_at) / 1e3, server->base.pid,
                     (int)weir_buffer_length(&server->slow_text),
                     weir_buffer_length(&server->slow_text) > 0
                         ? (const char *)weir_buffer_bytes(&server->slow_text)
                         : "");
}

static void report_counter(void *context, const char *name, const char *help, uint64_t value)
{
    weir_log_info(NULL, "counter", "%s=%llu", name, (unsigned long long)value);
}

static void report_destination(const struct destination *destination)
{
    struct weir_pool_counts counts;
    char holders[256];
    weir_pool_count(destination->pool, destination->router->loop->now, &counts);
    report_holders(destination, holders, sizeof(holders));
    weir_log_info(NULL, "pool",
                  "database=%s user=%s clients=%d opening=%d idle=%d checking=%d active=%d "
                  "closing=%d waiting=%d oldest_wait_ms=%.1f ceiling=%d generation=%u%s%s",
                  destination->database, destination->user, destination->clients, counts.opening,
                  counts.idle, counts.checking, counts.active, counts.closing, counts.waiting,
                  (double)counts.oldest_wait / 1e3, weir_pool_ceiling(destination->pool),
                  counts.generation, counts.failing ? " failing" : "",
                  counts.paused ? " paused" : "");
    weir_log_info(NULL, "holders", "database=%s user=%s %s", destination->database,
                  destination->user, holders);
}

static void report_waits(const struct weir_router *router)
{
    weir_list_for(link, &router->clients) {
        const struct client *client = weir_container_of(link, struct client, link);
        if (client->base.state != WEIR_CLIENT_WAITING)
            continue;
        struct weir_log_who who;
        char peer[128];
        router_who_client(client, &who, peer, sizeof(peer));
        weir_log_info(&who, "wait", "position=%d since_ms=%.1f",
                      weir_pool_position(&client->waiter),
                      (double)(router->loop->now - client->since) / 1e3);
    }
}

void weir_router_report(struct weir_router *router)
{
    struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next)
        report_destination(destination);
    report_waits(router);
    weir_counters_walk(&router->counters, report_counter, NULL);
    for (int i = 0; i < WEIR_REASON_COUNT; i++)
        if (router->counters.reasons[i] > 0)
            weir_log_info(NULL, "counter", "reason_%s=%llu",
                          weir_reason_row((enum weir_reason)i)->name,
                          (unsigned long long)router->counters.reasons[i]);
    if (router->loop->longest_turn > router->longest_turn)
        router->longest_turn = router->loop->longest_turn;
    weir_log_info(NULL, "counter", "clients=%d", router->client_count);
    weir_log_info(NULL, "counter", "longest_turn_usec=%lld", (long long)router->longest_turn);
    router->longest_turn = 0;
    router->loop->longest_turn = 0;
}

void weir_router_log_stats(struct weir_router *router)
{
    const struct weir_counters *counters = &router->counters;
    weir_log_info(NULL, "stats",
                  "clients=%d transactions=%llu queries=%llu waits=%llu wait_p99_us=%lld "
                  "bytes_in=%llu bytes_out=%llu",
                  router->client_count, (unsigned long long)counters->transactions,
                  (unsigned long long)counters->queries, (unsigned long long)counters->waits,
                  (long long)weir_histogram_quantile(&router->wait_times, 0.99),
                  (unsigned long long)counters->bytes_from_clients,
                  (unsigned long long)counters->bytes_from_servers);
}
