/* Which session state holds on a server connection. PostgreSQL is asked, by one question for all of it,
 * when a text or a command tag suggests it or when the pool has not seen a text before (effects.h). What
 * can be carried is the client's from then on, what cannot makes pins. */
#include <stdlib.h>
#include <string.h>

#include "settings.h"
#include "sql_text.h"
#include "state.h"

/* One question for all: the settings of the session, and a row for each kind of state that cannot be
 * carried to another connection. What a transaction has of its own counts as set in the session for
 * ever after; from PostgreSQL 16 on it cannot be RESET. */
#define ASK_SETTINGS                                                                               \
    "SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings "                   \
    "WHERE source" IS "'session' AND name" IS_NOT "ALL (ARRAY['transaction_isolation', "           \
    "'transaction_read_only', 'transaction_deferrable', 'seed']::pg_catalog.text[]) UNION ALL "    \
    "SELECT 'role', pg_catalog.current_setting('role') "                                           \
    "WHERE pg_catalog.current_setting('role')" IS_NOT "'none' UNION ALL "                          \
    "SELECT 'session_authorization', session_user::pg_catalog.text "                               \
    "WHERE session_user::pg_catalog.text" IS_NOT

#define ASK_STATE                                                                                  \
    " UNION ALL SELECT ':lock', '' WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_locks "               \
    "WHERE locktype" IS "'advisory' AND pid" IS "pg_catalog.pg_backend_pid()) UNION ALL "          \
    "SELECT ':cursor', '' WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_cursors "                      \
    "WHERE is_holdable) UNION ALL "                                                                \
    "SELECT ':prepared', '' WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_prepared_statements "        \
    "WHERE pg_catalog.left(name, 7)" IS_NOT "'pgweir.') UNION ALL "                                \
    "SELECT ':temporary', '' WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_depend WHERE refobjid" IS   \
    "pg_catalog.pg_my_temp_schema() AND "                                                          \
    "refclassid" IS "'pg_catalog.pg_namespace'::pg_catalog.regclass)"

#define ASK_LISTEN                                                                                 \
    " UNION ALL SELECT ':listen', '' WHERE EXISTS "                                                \
    "(SELECT 1 FROM pg_catalog.pg_listening_channels())"

/* Of a session that was given channels: are those all? */
#define ASK_CHANNELS                                                                               \
    " UNION ALL SELECT ':channel', channel FROM pg_catalog.pg_listening_channels() channel"

/* For a session whose statement_timeout is too short for the question. It is put aside for this
 * transaction, after it has been read. */
#define HURRIES_MAX 6
#define TIMEOUT     ":statement_timeout"
#define ASK_HURRIED                                                                                \
    "SELECT '" TIMEOUT "', pg_catalog.current_setting('statement_timeout'); "                      \
    "SET LOCAL statement_timeout = 0; "

void settings_ask(struct server *server)
{
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    server->pins_learned = 0;
    weir_buffer_clear(&server->trouble);
    gather_begin(&server->router->to_server, &server->base.stream);
    sequences_question(server);
    size_t message = weir_message_begin(&writer, 'Q');
    if (server->hurried > 0)
        weir_write_bytes(&writer, ASK_HURRIED, sizeof(ASK_HURRIED) - 1);
    weir_write_bytes(&writer, ASK_SETTINGS, sizeof(ASK_SETTINGS) - 1);
    settings_write_literal(&writer, server->destination->server_user);
    custom_ask(server, &writer);
    if (server->phase != SERVER_LEARNING)
        custom_ask_functions(server, &writer);
    weir_write_bytes(&writer, ASK_STATE, sizeof(ASK_STATE) - 1);
    weir_write_string(&writer, handover_begin_count(server) ? ASK_CHANNELS : ASK_LISTEN);
    weir_message_end(&writer, message);
    gather_copy(&server->router->to_server, weir_buffer_bytes(&out), weir_buffer_length(&out));
    weir_buffer_clear(&out);
    server->unnamed_version = 0;
    server->unprompted = (server->dirt & DIRT_SETTINGS) == 0;
    server->dirt &= (uint8_t) ~(DIRT_ASK | DIRT_RESET);
    server->unsampled = 0;
    server->asked_at = server->router->loop->now;
    server->destination->counters.state_questions++;
    server->sets = false;
    server->unread = false;
    settings_take(&server->learned, weir_profile_empty(server->router->profiles));
    server_expect(server, REPLY_QUERY, REPLY_SWALLOW, PURPOSE_LEARN, NULL);
    if (server->client != NULL)
        weir_client_set_state(&server->client->base, WEIR_CLIENT_HELD);
    gather_flush(&server->router->to_server);
}

static uint16_t pin_of(const char *name)
{
    static const struct {
        const char *name;
        enum pin pin;
    } pins[] = {
        {":lock", PIN_ADVISORY_LOCK},    {":cursor", PIN_HELD_CURSOR},
        {":prepared", PIN_SQL_PREPARED}, {":listen", PIN_LISTEN},
        {":temporary", PIN_TEMPORARY},
    };
    for (size_t i = 0; i < sizeof(pins) / sizeof(pins[0]); i++)
        if (strcmp(pins[i].name, name) == 0)
            return pins[i].pin;
    return 0;
}

void settings_on_row(struct server *server, const uint8_t *body, size_t length)
{
    struct weir_reader reader;
    weir_reader_init(&reader, body, length);
    uint16_t columns = weir_read_u16(&reader);
    char *name = columns == 2 ? settings_read_column(&reader) : NULL;
    char *value = columns == 2 ? settings_read_column(&reader) : NULL;
    if (name != NULL && value != NULL && strcmp(name, ":custom") == 0)
        custom_on_function(server, value);
    else if (name != NULL && value != NULL && strcmp(name, ":channel") == 0)
        server->pins_learned |= handover_counts(server, value) ? 0u : PIN_LISTEN;
    else if (name != NULL && name[0] == ':' && strcmp(name, TIMEOUT) != 0)
        server->pins_learned |= pin_of(name);
    else if (name != NULL && value != NULL && server->learned != NULL) {
        settings_take(&server->learned, weir_profile_with(server->learned, name, value));
        custom_on_row(server, name);
    }
    free(name);
    free(value);
}

/* Whether the session has other settings than was known. A value that holds by itself need not be
 * set in the session. */
static bool are_new(const struct server *server, const struct weir_profile *learned)
{
    const struct weir_profile *known = server->settings;
    for (uint32_t i = 0; i < learned->count; i++) {
        const char *value = weir_profile_value(known, learned->settings[i].name);
        if (value == NULL || strcmp(value, learned->settings[i].value) != 0)
            return true;
    }
    for (uint32_t i = 0; i < known->count; i++) {
        const struct weir_setting *setting = &known->settings[i];
        const char *reported = weir_parameters_get(&server->base.parameters, setting->name);
        if (weir_profile_value(learned, setting->name) == NULL &&
            (reported == NULL || strcmp(reported, setting->value) != 0))
            return true;
    }
    return false;
}

static void tell_surprise(struct server *server)
{
    struct weir_log_who who;
    char peer[128];
    const char *text;
    size_t length;
    server->destination->counters.state_surprises++;
    running_text(server, &text, &length);
    if (length > server->router->conf->track_statements)
        length = server->router->conf->track_statements;
    router_who_server(server, &who, peer, sizeof(peer));
    weir_log_info(
        &who, "state",
        "the session has state that no text told of, from now on it is looked for after: %.*s",
        (int)length, length > 0 ? text : "");
}

/* A setting of the client's login that is not set in the session is as at the login, to which RESET and
 * DEFAULT lead back on a direct connection: had it another value, that would be set (settings_left_login). */
static void take_as_own(struct server *server, struct client *client,
                        const struct weir_profile *learned)
{
    const struct weir_profile *settings = weir_profile_ref(learned);
    if (server->initial != NULL)
        settings_take(&settings, settings_take_own(client, server->initial, learned));
    for (uint32_t i = 0; i < client->startup->count; i++) {
        const struct weir_setting *setting = &client->startup->settings[i];
        if (weir_profile_value(settings, setting->name) == NULL)
            settings_take(&settings, weir_profile_with(settings, setting->name, setting->value));
    }
    settings_change(client, settings);
}

static unsigned pins_of_reset(unsigned resets)
{
    static const struct {
        enum sql_reset reset;
        enum pin pin;
    } rows[] = {
        {SQL_RESETS_LOCKS, PIN_ADVISORY_LOCK},
        {SQL_RESETS_CURSORS, PIN_HELD_CURSOR},
        {SQL_RESETS_LISTEN, PIN_LISTEN},
    };
    unsigned pins = resets & SQL_RESETS_ALL ? ~(unsigned)PINS_LASTING : 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (resets & rows[i].reset)
            pins |= rows[i].pin;
    return pins;
}

/* RESET ALL leaves alone who the session is. */
static const struct weir_profile *settings_after(const struct server *server, unsigned resets)
{
    const struct weir_profile *left = weir_profile_empty(server->router->profiles);
    for (uint32_t i = 0; i < server->settings->count; i++) {
        const struct weir_setting *setting = &server->settings->settings[i];
        if (!(resets & SQL_RESETS_ALL) && settings_is_identity(setting->name))
            settings_take(&left, weir_profile_with(left, setting->name, setting->value));
    }
    return left;
}

void settings_on_reset(struct server *server)
{
    struct client *client = server->client;
    unsigned resets = server->resets;
    server->resets = 0;
    if (client == NULL) {
        server->dirt |= DIRT_SETTINGS;
        return;
    }
    pins_set(server, server->pins & ~pins_of_reset(resets));
    if (server->pins == 0)
        server->dirt &= (uint8_t)~DIRT_STATE;
    if ((resets & (SQL_RESETS_SETTINGS | SQL_RESETS_ALL)) == 0)
        return;
    const struct weir_profile *left = settings_after(server, resets);
    settings_take(&server->settings, weir_profile_ref(left));
    take_as_own(server, client, left);
    weir_profile_unref(left);
    /* Its settings of the login come back at once, as on a direct connection: it is told of them. */
    if (server->settings != settings_wanted(client, server))
        weir_loop_defer(server->router->loop, &client->resume);
}

/* The question was cancelled, most likely by the session's own statement_timeout. False: it has been
 * asked again often enough. */
static bool hurry(struct server *server)
{
    struct weir_error_fields fields = {0};
    weir_error_parse(weir_buffer_bytes(&server->trouble), weir_buffer_length(&server->trouble),
                     &fields);
    if (server->hurried == HURRIES_MAX || fields.sqlstate == NULL ||
        strcmp(fields.sqlstate, "57014") != 0)
        return false;
    server->hurried++;
    return true;
}

static void restore_timeout(struct server *server)
{
    char *value = weir_strdup(weir_profile_value(server->learned, TIMEOUT));
    server->hurried = 0;
    settings_take(&server->learned, weir_profile_with(server->learned, TIMEOUT, NULL));
    settings_take(&server->learned, weir_profile_with(server->learned, "statement_timeout", value));
    free(value);
}

void settings_on_learned(struct server *server)
{
    struct client *client = server->client;
    if (server->phase == SERVER_LEARNING)
        return; /* that is what connect_query has left: destination_learned */
    bool failed = weir_buffer_length(&server->trouble) > 0;
    /* A name that was only suspected may be one that this user may not read. */
    bool again = failed && (custom_hide(server) || hurry(server) ||
                            weir_buffer_length(&server->suspects) > 0);
    weir_buffer_clear(&server->suspects);
    if (!failed && server->hurried > 0)
        restore_timeout(server);
    const struct weir_profile *learned = server->learned;
    server->learned = NULL;
    if (failed) {
        weir_profile_unref(learned);
        weir_buffer_clear(&server->trouble);
        /* What holds on the connection is not known: it must be reset before anybody gets it. */
        server->dirt |= again ? DIRT_SETTINGS : DIRT_STATE;
        server->unknown = !again && client != NULL;
        if (!again)
            server->hurried = 0;
        return;
    }
    unsigned pins = (server->pins & ~(unsigned)PINS_ASKED) | server->pins_learned;
    bool fresh = are_new(server, learned) || (pins & ~(unsigned)server->pins) != 0;
    /* A text that takes state away is worth a question, too. */
    bool left = fresh || pins != server->pins || handover_misses(server);
    if (server->unprompted || !left)
        effects_learn(server, left);
    else
        effects_forget_unseen(server);
    if (server->unprompted && fresh)
        tell_surprise(server);
    if ((server->pins_learned & PIN_SQL_PREPARED) == 0)
        server->sql_prepared = 0;
    else if (server->sql_prepared == 0)
        server->sql_prepared = 1;
    pins_set(server, pins);
    if (pins != 0)
        server->dirt |= DIRT_STATE;
    settings_take(&server->settings, learned);
    server->proven = true;
    if (client != NULL)
        take_as_own(server, client, learned);
}
