#include "pins.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "router.h"
#include "view.h"
#include "weir/view.h"

_Static_assert((int)PIN_SQL_PREPARED == (int)WEIR_PIN_SQL_PREPARED &&
                   (int)PIN_LISTEN == (int)WEIR_PIN_LISTEN &&
                   (int)PIN_REPLICATION == (int)WEIR_PIN_REPLICATION &&
                   (int)PIN_ADVISORY_LOCK == (int)WEIR_PIN_ADVISORY_LOCK &&
                   (int)PIN_HELD_CURSOR == (int)WEIR_PIN_HELD_CURSOR &&
                   (int)PIN_TEMPORARY == (int)WEIR_PIN_TEMPORARY &&
                   (int)PIN_SETTING == (int)WEIR_PIN_SETTING &&
                   (int)PIN_SEQUENCE == (int)WEIR_PIN_SEQUENCE &&
                   (int)PIN_SEED == (int)WEIR_PIN_SEED && (int)PIN_LOADED == (int)WEIR_PIN_LOADED &&
                   (int)PIN_LOADED == 1 << (PIN_KINDS - 1),
               "pins are shown by the same bits");

static const struct {
    const char *name;
    const char *release;
} rows[] = {
    {"SQL PREPARE", "DEALLOCATE of the statement, or prepare by the protocol instead"},
    {"LISTEN", "UNLISTEN *, or end the session"},
    {"replication", "end the session"},
    {"advisory lock", "pg_advisory_unlock_all(), or end the session"},
    {"WITH HOLD cursor", "CLOSE of the cursor, or end the session"},
    {"temporary object", "DROP of the object, DISCARD TEMP, or end the session"},
    {"setting of unknown name", "DISCARD ALL, or end the session; names in the text are followed"},
    {"value of a sequence", "DISCARD SEQUENCES, or end the session; RETURNING needs no currval"},
    {"setseed", "end the session"},
    {"LOAD", "end the session; shared_preload_libraries needs no LOAD"},
    {"session mode", "pool_mode = transaction, or end the session"},
};

/* In the order of the rows. */
static uint64_t *counter_of(struct weir_counters *counters, int kind)
{
    static const size_t places[PIN_KINDS] = {
        offsetof(struct weir_counters, pins_prepare),
        offsetof(struct weir_counters, pins_listen),
        offsetof(struct weir_counters, pins_replication),
        offsetof(struct weir_counters, pins_advisory_lock),
        offsetof(struct weir_counters, pins_held_cursor),
        offsetof(struct weir_counters, pins_temporary),
        offsetof(struct weir_counters, pins_setting),
        offsetof(struct weir_counters, pins_sequence),
        offsetof(struct weir_counters, pins_seed),
        offsetof(struct weir_counters, pins_load),
    };
    return (uint64_t *)((char *)counters + places[kind]);
}

static size_t row_of(enum weir_view_pin pin)
{
    return (size_t)__builtin_ctz((unsigned)pin);
}

const char *weir_view_pin_name(enum weir_view_pin pin)
{
    return rows[row_of(pin)].name;
}

const char *weir_view_pin_release(enum weir_view_pin pin)
{
    return rows[row_of(pin)].release;
}

static void begin_note(struct server *server, int kind)
{
    if (server->pin_notes == NULL)
        server->pin_notes = weir_alloc(sizeof(*server->pin_notes));
    const char *text;
    size_t length;
    running_text(server, &text, &length);
    if (length > server->router->conf->track_statements)
        length = server->router->conf->track_statements;
    server->pin_notes->of[kind].since = server->router->loop->now;
    if (length > 0) {
        server->pin_notes->of[kind].text = weir_strndup(text, length);
        server->pin_notes->of[kind].length = length;
    }
    if (server->client == NULL)
        return;
    ++*counter_of(&server->destination->counters, kind);
    events_of_server(server, "pin", WEIR_REASON_COUNT, rows[kind].name);
}

/* So often the log says that a pool is eaten up. */
#define WARN_INTERVAL (60 * WEIR_SEC)

/* More than half of what the pool may have serves one client each. */
static void warn_of_pins(const struct server *server, int kind)
{
    struct destination *destination = server->destination;
    const struct weir_pool_settings *settings = &destination->settings;
    weir_usec now = server->router->loop->now;
    if (destination->warned_of_pins_at != 0 && now - destination->warned_of_pins_at < WARN_INTERVAL)
        return;
    int kept = 0,
        most = settings->pool_size + (settings->max_overflow > 0 ? settings->max_overflow : 0);
    weir_list_for(link, &destination->servers) {
        const struct server *other = weir_container_of(link, struct server, link);
        kept += other->pins != 0 && other->client != NULL;
    }
    if (settings->pool_mode == WEIR_POOL_SESSION || kept < 2 || kept * 2 <= most)
        return;
    destination->warned_of_pins_at = now;
    struct weir_log_who who;
    char peer[128];
    router_who_server(server, &who, peer, sizeof(peer));
    weir_log_warning(
        &who, "pins",
        "clients keep %d of at most %d server connections of this pool for state of their "
        "sessions, this one for: %s (release: %s; SHOW PINS has all)",
        kept, most, rows[kind].name, rows[kind].release);
}

static void end_note(struct server *server, int kind)
{
    if (server->pin_notes == NULL)
        return;
    free(server->pin_notes->of[kind].text);
    memset(&server->pin_notes->of[kind], 0, sizeof(server->pin_notes->of[kind]));
    if (server->phase != SERVER_CLOSED)
        events_of_server(server, "unpin", WEIR_REASON_COUNT, rows[kind].name);
}

void pins_set(struct server *server, unsigned pins)
{
    unsigned old = server->pins;
    if (__builtin_expect(old == pins, 1))
        return;
    server->pins = (uint16_t)pins;
    for (int kind = 0; kind < PIN_KINDS; kind++) {
        if (pins & ~old & 1u << kind) {
            begin_note(server, kind);
            if (old == 0 && server->client != NULL)
                warn_of_pins(server, kind);
        } else if (old & ~pins & 1u << kind)
            end_note(server, kind);
    }
    if (pins == 0)
        pins_free(server);
}

void pins_free(struct server *server)
{
    for (int kind = 0; server->pin_notes != NULL && kind < PIN_KINDS; kind++)
        free(server->pin_notes->of[kind].text);
    free(server->pin_notes);
    server->pin_notes = NULL;
}

/* Of the pool for the state that makes a pin; replication is no state. */
static enum weir_state_policy policy_of(const struct destination *destination, enum pin pin)
{
    const struct weir_pool_settings *settings = &destination->settings;
    switch (pin) {
    case PIN_SQL_PREPARED:
        return settings->state_prepare;
    case PIN_LISTEN:
        /* The hub takes over: at once, or as soon as it is up. */
        return settings->listen_hub ? WEIR_STATE_PIN : settings->state_listen;
    case PIN_ADVISORY_LOCK:
        return settings->state_advisory_lock;
    case PIN_HELD_CURSOR:
        return settings->state_held_cursor;
    case PIN_TEMPORARY:
        return settings->state_temporary;
    case PIN_SEED:
        return settings->state_seed;
    case PIN_LOADED:
        return settings->state_load;
    case PIN_REPLICATION:
    case PIN_SETTING:
    case PIN_SEQUENCE:
        break;
    }
    return WEIR_STATE_PIN;
}

static void log_allowed(const struct server *server, unsigned pin)
{
    struct weir_log_who who;
    char peer[128];
    router_who_server(server, &who, peer, sizeof(peer));
    weir_log_info(&who, "state", "%s is left to the next client, as this pool allows",
                  rows[__builtin_ctz(pin)].name);
}

static void reject(struct server *server, unsigned pin)
{
    const char *statement;
    size_t length;
    running_text(server, &statement, &length);
    if (length > server->router->conf->track_statements)
        length = server->router->conf->track_statements;
    char *text =
        weir_format("this pool allows no session state of this kind: %s%s%.*s (release: %s)",
                    rows[__builtin_ctz(pin)].name, length > 0 ? ", after: " : "", (int)length,
                    length > 0 ? statement : "", rows[__builtin_ctz(pin)].release);
    binding_end_client(server->client, WEIR_REASON_STATE_REJECTED, text);
    free(text);
}

bool pins_are_allowed(struct server *server)
{
    const struct destination *destination = server->destination;
    if (destination->settings.pool_mode == WEIR_POOL_SESSION)
        return true;
    for (unsigned left = server->pins; left != 0; left &= left - 1) {
        unsigned pin = left & -left;
        enum weir_state_policy policy = policy_of(destination, (enum pin)pin);
        if (policy == WEIR_STATE_REJECT) {
            reject(server, pin);
            return false;
        }
        if (policy == WEIR_STATE_ALLOW) {
            log_allowed(server, pin);
            pins_set(server, server->pins & ~pin);
        }
    }
    if (server->pins == 0)
        server->dirt &= (uint8_t)~DIRT_STATE;
    return true;
}

uint32_t pins_shown(const struct server *server)
{
    bool session = server->client != NULL && server->phase == SERVER_BOUND &&
                   server->destination->settings.pool_mode == WEIR_POOL_SESSION;
    return server->pins | (session ? WEIR_PIN_SESSION_MODE : 0u);
}

/* --- the view -------------------------------------------------------------------------- */

static void show_pin(const struct server *server, enum weir_view_pin pin,
                     void (*each)(void *context, const struct weir_view_pin_row *row),
                     void *context)
{
    const struct client *client = server->client;
    weir_usec now = server->router->loop->now;
    struct weir_view_pin_row row = {
        .client_id = client->base.id,
        .server_id = server->base.id,
        .database = server->destination->database,
        .user = server->destination->user,
        .application_name = view_application_name(client->settings),
        .pin = pin,
        .backend_pid = server->base.pid,
    };
    if (pin == WEIR_PIN_SESSION_MODE || server->pin_notes == NULL) {
        row.age = now - server->bound_at;
    } else {
        size_t kind = row_of(pin);
        row.age = now - server->pin_notes->of[kind].since;
        row.statement.text = server->pin_notes->of[kind].text;
        row.statement.length = server->pin_notes->of[kind].length;
        row.statement.age = row.age;
    }
    each(context, &row);
}

void weir_view_pins(const struct weir_router *router,
                    void (*each)(void *context, const struct weir_view_pin_row *row), void *context)
{
    const struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        weir_list_for(link, &destination->servers) {
            const struct server *server = weir_container_of(link, struct server, link);
            if (server->client == NULL || server->phase != SERVER_BOUND)
                continue;
            uint32_t pins = pins_shown(server);
            for (uint32_t left = pins; left != 0; left &= left - 1)
                show_pin(server, (enum weir_view_pin)(left & -left), each, context);
        }
    }
}
