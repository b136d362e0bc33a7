/* The daemon as a whole, its settings, and what it has counted. */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console.h"
#include "weir/view.h"

static void show_pair(struct rows *rows, const char *key, bool value)
{
    rows_begin(rows);
    rows_text(rows, key);
    rows_yes_no(rows, value);
    rows_end(rows);
}

static void show_uptime(struct rows *rows, weir_usec uptime)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, uptime / WEIR_SEC);
    rows_begin(rows);
    rows_text(rows, "uptime_seconds");
    rows_text(rows, text);
    rows_end(rows);
}

bool show_state(struct walk *walk)
{
    struct weir_view_daemon daemon;
    weir_view_daemon(walk->admin->router, &daemon);
    show_pair(&walk->rows, "active", !daemon.paused && !daemon.suspended);
    show_pair(&walk->rows, "paused", daemon.paused);
    show_pair(&walk->rows, "suspended", daemon.suspended);
    show_pair(&walk->rows, "draining", daemon.draining);
    show_uptime(&walk->rows, daemon.uptime);
    return true;
}

static void show_count(struct rows *rows, const char *name, int64_t value)
{
    rows_begin(rows);
    rows_text(rows, name);
    rows_number(rows, value);
    rows_end(rows);
}

bool show_lists(struct walk *walk)
{
    struct weir_view_daemon daemon;
    struct rows *rows = &walk->rows;
    weir_view_daemon(walk->admin->router, &daemon);
    show_count(rows, "databases", daemon.databases);
    show_count(rows, "users", daemon.users);
    show_count(rows, "peers", 0);
    show_count(rows, "pools", daemon.pools);
    show_count(rows, "peer_pools", 0);
    show_count(rows, "free_clients", 0);
    show_count(rows, "used_clients", daemon.clients);
    show_count(rows, "login_clients", daemon.clients_logging_in);
    show_count(rows, "free_servers", 0);
    show_count(rows, "used_servers", daemon.servers);
    show_count(rows, "dns_names", 0);
    show_count(rows, "dns_zones", 0);
    show_count(rows, "dns_queries", 0);
    show_count(rows, "dns_pending", 0);
    show_count(rows, "console_clients", walk->admin->guest_count);
    show_count(rows, "console_waits", walk->admin->wait_count);
    show_count(rows, "prepared_texts", daemon.prepared_texts);
    return true;
}

/* There are no pools of objects here to tell of: the C library's own figures. */
bool show_memory(struct walk *walk)
{
    struct mallinfo2 info = mallinfo2();
    struct rows *rows = &walk->rows;
    rows_begin(rows);
    rows_text(rows, "heap");
    rows_number(rows, 1);
    rows_number(rows, (int64_t)info.uordblks);
    rows_number(rows, (int64_t)info.fordblks);
    rows_number(rows, (int64_t)info.arena);
    rows_end(rows);
    rows_begin(rows);
    rows_text(rows, "mapped");
    rows_number(rows, 1);
    rows_number(rows, (int64_t)info.hblkhd);
    rows_number(rows, 0);
    rows_number(rows, (int64_t)info.hblkhd);
    rows_end(rows);
    return true;
}

bool show_version(struct walk *walk)
{
    rows_begin(&walk->rows);
    rows_text(&walk->rows, "pgweir " WEIR_VERSION);
    rows_end(&walk->rows);
    return true;
}

bool show_nothing(struct walk *walk)
{
    return true;
}

/* --- settings --------------------------------------------------------------------------------- */

static void show_setting(void *context, const char *name, const char *value,
                         const char *default_value, bool changeable, const char *where,
                         const char *help)
{
    struct rows *rows = context;
    rows_begin(rows);
    rows_text(rows, name);
    rows_text(rows, value);
    rows_text(rows, default_value);
    rows_yes_no(rows, changeable);
    rows_text(rows, where);
    rows_text(rows, help);
    rows_end(rows);
}

bool show_config(struct walk *walk)
{
    weir_conf_walk(weir_router_conf(walk->admin->router), show_setting, &walk->rows);
    return true;
}

static void show_change(void *context, const struct weir_conf_change *change)
{
    static const char *const kinds[] = {
        [WEIR_OBJECT_SETTING] = "setting",
        [WEIR_OBJECT_DATABASE] = "database",
        [WEIR_OBJECT_USER] = "user",
    };
    struct rows *rows = context;
    rows_begin(rows);
    rows_text(rows, kinds[change->object]);
    rows_text(rows, change->name);
    rows_text(rows, change->part);
    rows_text(rows, change->old_value);
    rows_text(rows, change->new_value);
    rows_text(rows, weir_conf_effect_name(change->effect));
    rows_end(rows);
}

static void show_problem(struct rows *rows, const char *problem)
{
    rows_begin(rows);
    rows_text(rows, "problem");
    for (int i = 0; i < 4; i++)
        rows_null(rows);
    rows_text(rows, problem);
    rows_end(rows);
}

/* A file that cannot be read is one row: it says what RELOAD would say. */
bool show_reload(struct walk *walk)
{
    const struct weir_admin *admin = walk->admin;
    char *problem = NULL;
    struct weir_conf *fresh = admin->ops->read(admin->context, &problem);
    if (fresh != NULL) {
        weir_conf_changes(weir_router_conf(admin->router), fresh, show_change, &walk->rows);
        weir_conf_destroy(fresh);
    } else {
        show_problem(&walk->rows, problem != NULL ? problem : "the file cannot be read");
    }
    free(problem);
    return true;
}

/* --- counters --------------------------------------------------------------------------------- */

static void show_counter(void *context, const char *name, const char *help, uint64_t value)
{
    struct rows *rows = context;
    rows_begin(rows);
    rows_text(rows, name);
    rows_number(rows, (int64_t)value);
    rows_text(rows, help);
    rows_end(rows);
}

bool show_counters(struct walk *walk)
{
    struct weir_view_daemon daemon;
    weir_view_daemon(walk->admin->router, &daemon);
    weir_counters_walk(daemon.counters, show_counter, &walk->rows);
    return true;
}

bool show_reasons(struct walk *walk)
{
    static const char *const blames[] = {
        [WEIR_BLAME_NOBODY] = "nobody", [WEIR_BLAME_CLIENT] = "client",
        [WEIR_BLAME_SERVER] = "server", [WEIR_BLAME_POOLER] = "pooler",
        [WEIR_BLAME_ADMIN] = "admin",
    };
    struct weir_view_daemon daemon;
    struct rows *rows = &walk->rows;
    weir_view_daemon(walk->admin->router, &daemon);
    for (int i = 0; i < WEIR_REASON_COUNT; i++) {
        const struct weir_reason_row *reason = weir_reason_row((enum weir_reason)i);
        rows_begin(rows);
        rows_text(rows, reason->name);
        rows_number(rows, (int64_t)daemon.counters->reasons[i]);
        rows_text(rows, reason->sqlstate);
        rows_text(rows, reason->fatal ? "FATAL" : "ERROR");
        rows_text(rows, blames[reason->blame]);
        rows_text(rows, reason->text);
        rows_end(rows);
    }
    return true;
}

/* Numbers of connections begin at 1. */
static void show_id(struct rows *rows, uint64_t id)
{
    if (id != 0)
        rows_number(rows, (int64_t)id);
    else
        rows_null(rows);
}

static void show_event(void *context, const struct weir_view_event *event)
{
    struct rows *rows = context;
    rows_begin(rows);
    rows_number(rows, (int64_t)event->number);
    rows_instant(rows, event->at);
    rows_text(rows, event->event);
    rows_text(rows, event->database);
    rows_text(rows, event->user);
    show_id(rows, event->client_id);
    show_id(rows, event->server_id);
    rows_text(rows, event->reason);
    rows_text(rows, event->detail);
    rows_end(rows);
}

bool show_events(struct walk *walk)
{
    weir_view_events(walk->admin->router, show_event, &walk->rows);
    return true;
}
