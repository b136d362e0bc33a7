/* /status.json: what the status page shows, bounded in rows. */
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "readiness.h"
#include "status.h"
#include "weir/memory.h"

/* --- values ---------------------------------------------------------------------------- */

static json_t *text_value(const char *text, size_t length)
{
    char *clean = weir_http_clean(text, length);
    json_t *value = json_string(clean);
    free(clean);
    return value;
}

static void set_text(json_t *object, const char *name, const char *text)
{
    json_object_set_new(object, name, text == NULL ? json_null() : text_value(text, strlen(text)));
}

static void set_number(json_t *object, const char *name, int64_t number)
{
    json_object_set_new(object, name, json_integer((json_int_t)number));
}

/* Durations and moments, in seconds. */
static void set_time(json_t *object, const char *name, weir_usec usec)
{
    json_object_set_new(object, name, json_real((double)usec / 1e6));
}

static void set_bool(json_t *object, const char *name, bool value)
{
    json_object_set_new(object, name, json_boolean(value));
}

/* --- the longest few ------------------------------------------------------------------- */

/* The rows with the largest keys out of any number, in order. Others are never made into JSON. */
struct ranking {
    struct ranked {
        weir_usec key;
        json_t *row;
    } rows[WEIR_HTTP_ROWS];
    size_t count;
    size_t seen;
    bool statements; /* are shown */
};

static bool ranks(const struct ranking *ranking, weir_usec key)
{
    return ranking->count < WEIR_HTTP_ROWS || ranking->rows[ranking->count - 1].key < key;
}

static void rank(struct ranking *ranking, weir_usec key, json_t *row)
{
    if (ranking->count == WEIR_HTTP_ROWS)
        json_decref(ranking->rows[--ranking->count].row);
    size_t at = ranking->count++;
    for (; at > 0 && ranking->rows[at - 1].key < key; at--)
        ranking->rows[at] = ranking->rows[at - 1];
    ranking->rows[at] = (struct ranked){key, row};
}

/* As "name": [rows], "name_total": how many there are. */
static void set_ranking(json_t *object, const char *name, struct ranking *ranking)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < ranking->count; i++)
        json_array_append_new(rows, ranking->rows[i].row);
    json_object_set_new(object, name, rows);
    char *total = weir_format("%s_total", name);
    set_number(object, total, (int64_t)ranking->seen);
    free(total);
}

static void set_statement(json_t *row, const struct ranking *ranking,
                          const struct weir_view_statement *statement)
{
    if (ranking->statements && statement->text != NULL)
        json_object_set_new(row, "statement", text_value(statement->text, statement->length));
}

/* --- waits, pins, servers, events ------------------------------------------------------ */

static void add_wait(void *context, const struct weir_view_client *client)
{
    struct ranking *waits = context;
    if (client->wait <= 0 && client->wait_position == 0)
        return;
    waits->seen++;
    if (!ranks(waits, client->wait))
        return;
    char peer[128];
    weir_address_print(&client->address, peer, sizeof(peer));
    json_t *row = json_object();
    set_number(row, "client", (int64_t)client->id);
    set_text(row, "database", client->database);
    set_text(row, "user", client->user);
    set_text(row, "application", client->application_name);
    set_text(row, "peer", peer);
    set_time(row, "wait", client->wait);
    set_number(row, "position", client->wait_position);
    set_statement(row, waits, &client->statement);
    rank(waits, client->wait, row);
}

static void add_pin(void *context, const struct weir_view_pin_row *pin)
{
    struct ranking *pins = context;
    pins->seen++;
    if (!ranks(pins, pin->age))
        return;
    json_t *row = json_object();
    set_number(row, "client", (int64_t)pin->client_id);
    set_number(row, "server", (int64_t)pin->server_id);
    set_number(row, "backend_pid", pin->backend_pid);
    set_text(row, "database", pin->database);
    set_text(row, "user", pin->user);
    set_text(row, "application", pin->application_name);
    set_text(row, "pin", weir_view_pin_name(pin->pin));
    set_text(row, "release", weir_view_pin_release(pin->pin));
    set_time(row, "age", pin->age);
    set_statement(row, pins, &pin->statement);
    rank(pins, pin->age, row);
}

/* Those that clients hold for longest come first. */
static void add_server(void *context, const struct weir_view_server *server)
{
    struct ranking *servers = context;
    servers->seen++;
    if (!ranks(servers, server->held))
        return;
    char address[128];
    weir_address_print(&server->address, address, sizeof(address));
    json_t *row = json_object();
    set_number(row, "server", (int64_t)server->id);
    set_number(row, "client", (int64_t)server->client_id);
    set_number(row, "backend_pid", server->backend_pid);
    set_text(row, "database", server->database);
    set_text(row, "user", server->user);
    set_text(row, "application", server->application_name);
    set_text(row, "address", address);
    set_text(row, "state", server->state_word);
    set_text(row, "doing", server->doing);
    set_time(row, "held", server->held);
    set_time(row, "state_age", server->state_age);
    set_number(row, "uses", (int64_t)server->uses);
    set_statement(row, servers, &server->statement);
    rank(servers, server->held, row);
}

static void add_event(void *context, const struct weir_view_event *event)
{
    json_t *events = context;
    if (json_array_size(events) >= WEIR_HTTP_ROWS)
        return;
    json_t *row = json_object();
    set_number(row, "number", (int64_t)event->number);
    set_time(row, "at", event->at);
    set_text(row, "event", event->event);
    set_text(row, "database", event->database);
    set_text(row, "user", event->user);
    set_number(row, "client", (int64_t)event->client_id);
    set_number(row, "server", (int64_t)event->server_id);
    set_text(row, "reason", event->reason);
    set_text(row, "detail", event->detail);
    json_array_append_new(events, row);
}

/* --- pools ----------------------------------------------------------------------------- */

static json_t *pool_clients(const struct weir_view_pool *pool)
{
    json_t *clients = json_object();
    set_number(clients, "active", pool->clients_active);
    set_number(clients, "idle", pool->clients_idle);
    set_number(clients, "waiting", pool->clients_waiting);
    return clients;
}

static json_t *pool_servers(const struct weir_view_pool *pool)
{
    json_t *servers = json_object();
    set_number(servers, "active", pool->servers_active);
    set_number(servers, "idle", pool->servers_idle);
    set_number(servers, "used", pool->servers_used);
    set_number(servers, "tested", pool->servers_tested);
    set_number(servers, "login", pool->servers_login);
    set_number(servers, "closing", pool->servers_closing);
    return servers;
}

static json_t *pool_holders(const struct weir_view_holders *holders)
{
    json_t *held = json_object();
    set_number(held, "running", holders->running);
    set_number(held, "idle in transaction", holders->idle_in_transaction);
    set_number(held, "slow reader", holders->slow_reader);
    set_number(held, "pinned", holders->pinned);
    set_number(held, "settling", holders->settling);
    return held;
}

static const char *mode_word(enum weir_pool_mode mode)
{
    switch (mode) {
    case WEIR_POOL_SESSION:
        return "session";
    case WEIR_POOL_STATEMENT:
        return "statement";
    default:
        return "transaction";
    }
}

static json_t *pool_value(const struct weir_http_pool *pool)
{
    const struct weir_view_pool *row = &pool->row;
    json_t *value = json_object();
    set_text(value, "database", pool->database);
    set_text(value, "user", pool->user);
    set_text(value, "mode", mode_word(pool->mode));
    json_object_set_new(value, "clients", pool_clients(row));
    json_object_set_new(value, "servers", pool_servers(row));
    json_object_set_new(value, "holders", pool_holders(&row->holders));
    set_time(value, "oldest_hold", row->holders.oldest);
    set_time(value, "oldest_wait", row->counts.oldest_wait);
    set_number(value, "pins", row->pins);
    set_number(value, "size", pool->pool_size);
    set_number(value, "max", row->ceiling);
    set_text(value, "limit",
             row->limit == WEIR_LIMIT_NONE ? NULL : weir_view_limit_name(row->limit));
    set_number(value, "limit_used", row->cap_used);
    set_number(value, "limit_max", row->cap_limit);
    set_bool(value, "failing", pool->failing > 0);
    set_bool(value, "paused", pool->paused > 0);
    set_text(value, "problem", pool->problem);
    set_number(value, "transactions", (int64_t)pool->counters.transactions);
    set_number(value, "queries", (int64_t)pool->counters.queries);
    set_number(value, "waits", (int64_t)pool->counters.waits);
    return value;
}

/* --- the daemon ------------------------------------------------------------------------ */

static void add_counter(void *context, const char *name, const char *help, uint64_t value)
{
    set_number(context, name, (int64_t)value);
}

static json_t *reasons_value(const struct weir_counters *counters)
{
    json_t *reasons = json_object();
    for (int reason = 0; reason < WEIR_REASON_COUNT; reason++) {
        if (counters->reasons[reason] > 0)
            set_number(reasons, weir_reason_row((enum weir_reason)reason)->name,
                       (int64_t)counters->reasons[reason]);
    }
    return reasons;
}

/* Cumulative counts, so that the page can tell the quantiles of any period. */
static json_t *histogram_value(const struct weir_histogram *full)
{
    struct weir_http_histogram thin;
    weir_http_thin(full, &thin);
    json_t *value = json_object();
    set_number(value, "count", (int64_t)thin.count);
    set_time(value, "sum", thin.sum);
    json_t *buckets = json_array();
    for (int bucket = 0; bucket < WEIR_HTTP_BUCKETS; bucket++)
        json_array_append_new(buckets, json_integer((json_int_t)thin.buckets[bucket]));
    json_object_set_new(value, "buckets", buckets);
    return value;
}

static json_t *latency_value(const struct weir_view_daemon *daemon)
{
    json_t *latency = json_object();
    for (int part = 0; part < WEIR_PART_COUNT; part++)
        json_object_set_new(latency, weir_part_name((enum weir_part)part),
                            histogram_value(&daemon->latency->parts[part]));
    json_object_set_new(latency, "loop_turn", histogram_value(daemon->turns));
    json_t *bounds = json_array();
    for (int bucket = 0; bucket < WEIR_HTTP_BUCKETS; bucket++)
        json_array_append_new(bounds, json_real((double)weir_http_bound(bucket) / 1e6));
    json_object_set_new(latency, "bounds", bounds);
    return latency;
}

static void add_reason(void *context, const char *reason)
{
    json_array_append_new(context, text_value(reason, strlen(reason)));
}

static void set_daemon(json_t *status, const struct weir_http_shot *shot)
{
    const struct weir_view_daemon *daemon = &shot->daemon;
    json_t *unready = json_array();
    weir_http_unready(shot, add_reason, unready);
    set_text(status, "version", WEIR_VERSION);
    set_bool(status, "ready", json_array_size(unready) == 0);
    json_object_set_new(status, "unready", unready);
    set_bool(status, "draining", daemon->draining);
    set_bool(status, "paused", daemon->paused);
    set_bool(status, "suspended", daemon->suspended);
    set_time(status, "uptime", daemon->uptime);
    set_time(status, "started_at", daemon->started_at);
    set_time(status, "reloaded_at", daemon->reloaded_at);
    set_text(status, "reload_problem", daemon->reload_problem);
    set_number(status, "clients", daemon->clients);
    set_number(status, "clients_logging_in", daemon->clients_logging_in);
    set_number(status, "max_clients", daemon->conf->max_client_conn);
    set_number(status, "servers", daemon->servers);
    set_number(status, "pools_total", daemon->pools);
    set_time(status, "longest_turn", daemon->longest_turn);
    json_t *counters = json_object();
    weir_counters_walk(daemon->counters, add_counter, counters);
    json_object_set_new(status, "counters", counters);
    json_object_set_new(status, "closes", reasons_value(daemon->counters));
    json_object_set_new(status, "latency", latency_value(daemon));
}

static void set_pools(json_t *status, const struct weir_http_shot *shot)
{
    json_t *pools = json_array();
    for (size_t i = 0; i < shot->pool_count; i++)
        json_array_append_new(pools, pool_value(&shot->pools[i]));
    json_object_set_new(status, "pools", pools);
    set_number(status, "pools_left_out", (int64_t)shot->left_out);
}

static bool counts_any(const struct weir_http_shot *shot, size_t offset)
{
    for (size_t i = 0; i < shot->pool_count; i++) {
        int number;
        memcpy(&number, (const char *)&shot->pools[i] + offset, sizeof(number));
        if (number > 0)
            return true;
    }
    return false;
}

static void set_lists(json_t *status, const struct weir_http_shot *shot,
                      const struct weir_router *router)
{
    struct ranking waits = {.statements = shot->daemon.conf->http_statements};
    struct ranking pins = {.statements = waits.statements};
    struct ranking servers = {.statements = waits.statements};
    /* Walks over clients cost most, and where nobody waits or is pinned there is nothing to find. */
    bool few = shot->daemon.clients <= WEIR_HTTP_CLIENTS;
    if (few && counts_any(shot, offsetof(struct weir_http_pool, row.clients_waiting)))
        weir_view_clients(router, add_wait, &waits);
    if (few && counts_any(shot, offsetof(struct weir_http_pool, row.pins)))
        weir_view_pins(router, add_pin, &pins);
    weir_view_servers(router, add_server, &servers);
    set_bool(status, "clients_listed", few);
    set_ranking(status, "waits", &waits);
    set_ranking(status, "pins", &pins);
    set_ranking(status, "server_list", &servers);
    json_t *events = json_array();
    weir_view_events(router, add_event, events);
    json_object_set_new(status, "events", events);
}

void weir_http_status_json(const struct weir_http_shot *shot, const struct weir_router *router,
                           struct weir_http_body *body)
{
    json_t *status = json_object();
    set_daemon(status, shot);
    set_pools(status, shot);
    set_lists(status, shot, router);
    char *text = json_dumps(status, JSON_COMPACT);
    json_decref(status);
    if (text == NULL) {
        body->broken = true;
        return;
    }
    weir_http_put(body, text);
    weir_http_put(body, "\n");
    free(text);
}
