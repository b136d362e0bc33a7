#include "views.h"

#include <string.h>

const char *question_text(enum question question)
{
    static const char *const texts[ASK_COUNT] = {
        [ASK_VERSION] = "SHOW VERSION", [ASK_STATE] = "SHOW STATE",
        [ASK_LISTS] = "SHOW LISTS",     [ASK_POOLS] = "SHOW POOLS",
        [ASK_STATS] = "SHOW STATS",     [ASK_WAITS] = "SHOW WAITS",
        [ASK_CLIENTS] = "SHOW CLIENTS", [ASK_PINS] = "SHOW PINS",
        [ASK_SERVERS] = "SHOW SERVERS", [ASK_EVENTS] = "SHOW EVENTS",
        [ASK_LATENCY] = "SHOW LATENCY",
    };
    return texts[question];
}

/* clang-format off */
const struct view views[] = {
    {"pools", 'p', "clients and server connections of each pool, and what it waits for",
     ASK_POOLS, 3, true, {
        .columns = {
            {"database", "database", KIND_TEXT},
            {"user", "user", KIND_TEXT},
            {"active", "cl_active", KIND_COUNT},
            {"waiting", "cl_waiting", KIND_COUNT},
            {"maxwait", "maxwait", KIND_WAIT, .other = "maxwait_us"},
            {"servers", "sv_active", KIND_COUNT},
            {"idle", "sv_idle", KIND_COUNT},
            {"login", "sv_login", KIND_COUNT},
            {"limit", "sv_ceiling", KIND_COUNT},
            {"running", "running", KIND_COUNT},
            {"in_trans", "idle_in_transaction", KIND_COUNT},
            {"slow", "slow_reader", KIND_COUNT},
            {"pinned", "pinned", KIND_COUNT},
            {"held", "longest_held_us", KIND_USEC},
            {"paused", "paused", KIND_FLAG},
            {"mode", "pool_mode", KIND_TEXT},
            {"waits_for", "waits_for", KIND_TEXT},
            {"problem", "problem", KIND_TEXT},
        },
        .keys = {"database", "user"}, .database = "database",
        .paused = "paused", .failing = "problem", .waiting = "cl_waiting"}},
    {"waits", 'w', "who waits, for which limit, and who holds the connections meanwhile",
     ASK_WAITS, 5, true, {
        .columns = {
            {"client", "client_id", KIND_COUNT},
            {"database", "database", KIND_TEXT},
            {"user", "user", KIND_TEXT},
            {"application", "application_name", KIND_TEXT},
            {"place", "position", KIND_COUNT},
            {"wait", "wait_us", KIND_USEC},
            {"waits_for", "waits_for", KIND_TEXT},
            {"used", "limit_used", KIND_COUNT},
            {"limit", "limit", KIND_COUNT},
            {"holder", "holder_client_id", KIND_COUNT},
            {"backend", "holder_backend_pid", KIND_COUNT},
            {"held", "holder_us", KIND_USEC},
            {"holder_does", "holder_doing", KIND_TEXT},
            {"holder_statement", "holder_statement", KIND_TEXT},
        },
        .keys = {"client_id"}, .database = "database", .client = "client_id",
        .waiting = "wait_us"}},
    {"statements", 's', "clients with a running or last statement, the slowest first",
     ASK_CLIENTS, 5, true, {
        .columns = {
            {"client", "id", KIND_COUNT},
            {"database", "database", KIND_TEXT},
            {"user", "user", KIND_TEXT},
            {"application", "application_name", KIND_TEXT},
            {"state", "state", KIND_TEXT},
            {"for", "state_age_us", KIND_USEC},
            {"wait", "wait", KIND_WAIT, .other = "wait_us"},
            {"backend", "remote_pid", KIND_COUNT},
            {"pins", "pins", KIND_TEXT},
            {"statement", "statement", KIND_TEXT},
        },
        .keys = {"id"}, .needs = "statement", .database = "database", .client = "id",
        .waiting = "wait_position"}},
    {"pins", 'i', "clients that session state keeps on their server connection, and the way out",
     ASK_PINS, 5, true, {
        .columns = {
            {"client", "client_id", KIND_COUNT},
            {"database", "database", KIND_TEXT},
            {"user", "user", KIND_TEXT},
            {"application", "application_name", KIND_TEXT},
            {"pin", "pin", KIND_TEXT},
            {"age", "age_us", KIND_USEC},
            {"server", "server_id", KIND_COUNT},
            {"backend", "backend_pid", KIND_COUNT},
            {"release", "release", KIND_TEXT},
            {"statement", "statement", KIND_TEXT},
        },
        .keys = {"client_id", "pin"}, .database = "database", .client = "client_id"}},
    {"servers", 'v', "server connections and what they do",
     ASK_SERVERS, 6, true, {
        .columns = {
            {"server", "id", KIND_COUNT},
            {"database", "database", KIND_TEXT},
            {"user", "user", KIND_TEXT},
            {"state", "state", KIND_TEXT},
            {"doing", "doing", KIND_TEXT},
            {"for", "state_age_us", KIND_USEC},
            {"held", "held_us", KIND_USEC},
            {"uses", "uses", KIND_COUNT},
            {"client", "client_id", KIND_COUNT},
            {"backend", "remote_pid", KIND_COUNT},
            {"address", "addr", KIND_TEXT},
            {"port", "port", KIND_COUNT},
            {"closes", "close_needed", KIND_FLAG},
            {"pins", "pins", KIND_TEXT},
            {"statement", "statement", KIND_TEXT},
        },
        .keys = {"id"}, .database = "database", .client = "client_id"}},
    {"events", 'e', "what happened to pools and connections, the newest first",
     ASK_EVENTS, 0, true, {
        .columns = {
            {"number", "number", KIND_COUNT},
            {"time", "time", KIND_TEXT},
            {"event", "event", KIND_TEXT},
            {"database", "database", KIND_TEXT},
            {"user", "user", KIND_TEXT},
            {"client", "client_id", KIND_COUNT},
            {"server", "server_id", KIND_COUNT},
            {"reason", "reason", KIND_TEXT},
            {"detail", "detail", KIND_TEXT},
        },
        .keys = {"number"}, .database = "database", .client = "client_id"}},
    {"latency", 'l', "where the time of transactions goes, of each pool and in all",
     ASK_LATENCY, 0, false, {
        .columns = {
            {"database", "database", KIND_TEXT, .first = "(all)"},
            {"user", "user", KIND_TEXT, .first = "(all)"},
            {"part", "part", KIND_TEXT},
            {"per_s", "count", KIND_RATE},
            {"count", "count", KIND_COUNT},
            {"mean", "total_us", KIND_MEAN, .other = "count"},
            {"p50", "p50_us", KIND_USEC},
            {"p90", "p90_us", KIND_USEC},
            {"p99", "p99_us", KIND_USEC},
            {"max", "max_us", KIND_USEC},
            {"total", "total_us", KIND_USEC},
            {"help", "help", KIND_TEXT},
        },
        .keys = {"database", "user", "part"}, .database = "database"}},
    {"databases", 'd', "rates of each database",
     ASK_STATS, 1, true, {
        .columns = {
            {"database", "database", KIND_TEXT},
            {"trans/s", "total_xact_count", KIND_RATE, .first = "avg_xact_count"},
            {"query/s", "total_query_count", KIND_RATE, .first = "avg_query_count"},
            {"in_B/s", "total_received", KIND_BYTE_RATE, .first = "avg_recv"},
            {"out_B/s", "total_sent", KIND_BYTE_RATE, .first = "avg_sent"},
            {"trans_time", "total_xact_time", KIND_MEAN, .other = "total_xact_count",
             .first = "avg_xact_time"},
            {"query_time", "total_query_time", KIND_MEAN, .other = "total_query_count",
             .first = "avg_query_time"},
            {"wait/trans", "total_wait_time", KIND_MEAN, .other = "total_xact_count"},
            {"bind/s", "total_bind_count", KIND_RATE, .first = "avg_bind_count"},
            {"parse/s", "total_client_parse_count", KIND_RATE, .first = "avg_client_parse_count"},
            {"login/s", "total_client_login_count", KIND_RATE, .first = "avg_client_login_count"},
            {"trans", "total_xact_count", KIND_COUNT},
            {"queries", "total_query_count", KIND_COUNT},
        },
        .keys = {"database"}, .database = "database"}},
};
/* clang-format on */
const size_t view_count = sizeof(views) / sizeof(views[0]);

const struct view *view_named(const char *name)
{
    const struct view *found = NULL;
    for (size_t i = 0; i < view_count; i++) {
        if (strcmp(views[i].name, name) == 0)
            return &views[i];
        if (strncmp(views[i].name, name, strlen(name)) != 0)
            continue;
        if (found != NULL)
            return NULL;
        found = &views[i];
    }
    return found;
}
