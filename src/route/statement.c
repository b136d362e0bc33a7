/* Prepared statement names. Every client has its own namespace; server connections hold statements
 * under private names. What makes sharing invisible:
 *
 *   - A client's Parse always goes to the server as a fresh Parse, so it is analysed afresh, under a
 *     private name of its own version; the connection's older copy of the same text is retired.
 *   - A Bind uses the connection's copy when it is not older than the client's own Parse and is known
 *     to describe the same result; in all other cases the text is analysed afresh for this client.
 *   - When a fresh analysis describes something else than the client was told (DDL happened in
 *     between), the client gets what a direct session gives: "cached plan must not change result
 *     type".
 *   - A copy that must be made for a client that knows its description is compared before anything
 *     runs; the client is held for that one round trip.
 *
 * This file has the messages; names.c the dictionary and the clients' names, prepared.c what server
 * connections hold, answers.c what replies do to both, sql_text.c what SQL text does to names,
 * unnamed.c the statement that has none.
 */
#include <stdlib.h>
#include <string.h>

#include "router.h"
#include "sql_text.h"
#include "state.h"
#include "statement.h"

#define NAME_MAX_BYTES 65535

/* No such statement can exist: used to make the server raise its own error at the right place. */
static const char no_such_name[] = PRIVATE_PREFIX "none";

/* --- names in messages ----------------------------------------------------------------- */

bool statement_is_renamed(const struct server *server)
{
    return server->destination->settings.pool_mode != WEIR_POOL_SESSION &&
           server->destination->settings.max_prepared_statements > 0;
}

/* Among the names of statements on servers: no client may reach those by a message of its own. */
static bool is_private(const char *name)
{
    return strncmp(name, PRIVATE_PREFIX, sizeof(PRIVATE_PREFIX) - 1) == 0;
}

static enum step malformed(struct client *client)
{
    gather_flush(&client->router->to_server);
    binding_end_client(client, WEIR_REASON_PROTOCOL, "invalid string in message");
    return STEP_GONE;
}

/* The string at `at`, or NULL with *step = WAIT when it may still come, GONE when it cannot. */
static const char *take_string(struct client *client, const uint8_t *at, const uint8_t *have_end,
                               const uint8_t *total_end, size_t *length, enum step *step)
{
    const uint8_t *end = at < have_end ? memchr(at, '\0', (size_t)(have_end - at)) : NULL;
    if (end != NULL) {
        *length = (size_t)(end - at);
        return (const char *)at;
    }
    if (have_end >= total_end || have_end - at > NAME_MAX_BYTES)
        *step = malformed(client);
    else
        *step = STEP_WAIT;
    return NULL;
}

/* What the client asked before decides whether its names still stand: it waits for the answers. */
enum step statement_hold(struct client *client)
{
    prepared_emit_flush(client->server);
    weir_client_set_state(&client->base, WEIR_CLIENT_HELD);
    return STEP_WAIT;
}

static bool names_in_doubt(const struct server *server)
{
    return server->names_in_doubt && server->replies.count > 0;
}

/* A query or execution whose answer may be that all names are gone. */
static bool may_deallocate(const struct server *server)
{
    for (uint32_t i = 0; i < server->replies.count; i++) {
        const struct reply *reply = reply_at(&server->replies, i);
        if (reply->action == REPLY_FORWARD &&
            (reply->kind == REPLY_QUERY || reply->kind == REPLY_EXECUTE))
            return true;
    }
    return false;
}

/* --- Parse ----------------------------------------------------------------------------- */

/* PostgreSQL looks at the name last, after it has analysed the text: so the text goes to the server
 * under a name that is taken there, and the error comes back with the client's name in it. */
static void parse_duplicate(struct client *client, const char *name, const uint8_t *body,
                            size_t length)
{
    struct server *server = client->server;
    static const char taken[] = "pgweir.taken";
    static const uint8_t empty[] = {0, 0, 0};
    prepared_emit_close(server, taken);
    server_expect(server, REPLY_CLOSE, REPLY_SWALLOW_SUCCESS, PURPOSE_CLIENT, NULL);
    prepared_emit_parse(server, taken, empty, sizeof(empty));
    server_expect(server, REPLY_PARSE, REPLY_SWALLOW_SUCCESS, PURPOSE_CLIENT, NULL);
    prepared_emit_parse(server, taken, body, length);
    server_expect(server, REPLY_PARSE, REPLY_FORWARD, PURPOSE_DUPLICATE, weir_strdup(name));
}

enum step statement_parse(struct client *client, const uint8_t *message, uint32_t total)
{
    struct server *server = client->server;
    struct weir_router *router = client->router;
    enum step step = STEP_GONE;
    size_t name_length;
    const uint8_t *end = message + total;
    const char *name =
        take_string(client, message + WEIR_WIRE_HEADER, end, end, &name_length, &step);
    if (name == NULL)
        return step;
    const uint8_t *body = (const uint8_t *)name + name_length + 1;
    if (!statement_is_renamed(server)) {
        size_t length = strnlen((const char *)body, (size_t)(end - body));
        unsigned mentions = sql_mentions(body, length);
        running_note(server, body, length);
        if (mentions != 0)
            custom_mind(server, body, length, mentions, NULL);
        if (!effects_mind(server, sql_fingerprint(body, length)))
            custom_suspect(server, body, length, NULL);
        server_expect(server, REPLY_PARSE, REPLY_FORWARD, PURPOSE_CLIENT, NULL);
        gather_pass(&router->to_server, message, total);
        return STEP_MORE;
    }
    if (memchr(body, '\0', (size_t)(end - body)) == NULL)
        return malformed(client);
    /* SQL PREPARE, EXECUTE and DEALLOCATE may come by the extended protocol, too. */
    step = statement_sql(client, (const char *)body, strlen((const char *)body));
    if (step != STEP_MORE)
        return step;
    if (name_length == 0) {
        running_note(server, body, strlen((const char *)body));
        return unnamed_parse(client, message, total);
    }
    struct client_statement *named = statement_find_name(client, name, name_length);
    if (names_in_doubt(server) || (named != NULL && may_deallocate(server)))
        return statement_hold(client);
    server->destination->counters.client_parses++;
    if (named != NULL) {
        parse_duplicate(client, name, body, (size_t)(end - body));
        return STEP_MORE;
    }
    const char *path = weir_profile_value(settings_wanted(client, server), "search_path");
    named = statement_make_name(
        client, name, statement_get(router, body, (size_t)(end - body), path != NULL ? path : ""));
    statement_add_name(client, named);
    if (__builtin_expect(named->statement->mentions & SQL_CURRENT, 0))
        sequences_asked(server);
    running_refer_to(server, named->statement);
    if (server->sql_prepared > 0) {
        /* The server knows names of SQL's PREPARE: whether this one is taken is for it to say. */
        prepared_emit_parse(server, name, body, (size_t)(end - body));
        server_expect(server, REPLY_PARSE, REPLY_SWALLOW_SUCCESS, PURPOSE_CLIENT, NULL);
        named->materialised = true;
        server->sql_prepared++;
    }
    struct prepared *copy = prepared_make(server, named->statement, named->version);
    prepared_emit_parse(server, copy->name, body, (size_t)(end - body));
    server_expect(server, REPLY_PARSE, REPLY_FORWARD, PURPOSE_NAMED_PARSE, copy);
    reply_at(&server->replies, server->replies.count - 1)->second = named;
    server->names_unanswered++;
    /* What it describes is asked for along with it, to compare later copies with. */
    prepared_emit_describe(server, copy->name);
    server_expect(server, REPLY_DESCRIBE_STATEMENT, REPLY_SWALLOW_SUCCESS, PURPOSE_SHAPE, named);
    reply_at(&server->replies, server->replies.count - 1)->second = copy;
    named->referred = true;
    return STEP_MORE;
}

/* --- on demand ------------------------------------------------------------------------- */

static enum use ask_to_compare(struct client *client, struct prepared *copy)
{
    struct server *server = client->server;
    prepared_emit_describe(server, copy->name);
    prepared_emit_flush(server);
    server_expect(server, REPLY_DESCRIBE_STATEMENT, REPLY_SWALLOW_SUCCESS, PURPOSE_CHECK, copy);
    weir_client_set_state(&client->base, WEIR_CLIENT_HELD);
    return USE_HELD;
}

/* A copy that is younger than the client's own Parse and describes the same may be used. In all other
 * cases the statement is analysed afresh for this client: only when that describes something else,
 * too, the client would have been refused on a direct connection. */
static enum use find_use(struct client *client, struct client_statement *named,
                         struct prepared **found)
{
    struct server *server = client->server;
    struct prepared *copy = prepared_find(server, named->statement);
    if (copy != NULL && copy->version >= named->version) {
        prepared_use(server, copy);
        *found = copy;
        if (copy->version == named->version || named->shape == 0 || copy->shape == named->shape)
            return USE_COPY;
        if (copy->shape == 0)
            return ask_to_compare(client, copy);
        if (server->checked_version == copy->version)
            return USE_REFUSED;
    }
    copy = prepared_make(server, named->statement, ++client->router->next_version);
    prepared_emit_parse(server, copy->name, named->statement->body, named->statement->length);
    server_expect(server, REPLY_PARSE, REPLY_SWALLOW_SUCCESS, PURPOSE_STATEMENT, copy);
    server->checked_version = copy->version;
    *found = copy;
    return named->shape == 0 ? USE_COPY : ask_to_compare(client, copy);
}

/* --- Bind ------------------------------------------------------------------------------ */

/* What has come of a Bind, and where its parts are. */
struct bind_message {
    const char *portal;
    size_t portal_length;
    size_t name_length;
    uint32_t total;
    const uint8_t *rest; /* after the statement's name */
    const uint8_t *end;
};

/* The Bind with another statement's name in it. */
static inline void emit_bind(struct server *server, const struct bind_message *bind,
                             const char *name)
{
    struct gather *out = &server->router->to_server;
    size_t name_length = strlen(name), portal_size = bind->portal_length + 1;
    size_t head = WEIR_WIRE_HEADER + portal_size + name_length + 1;
    uint32_t size = (uint32_t)(bind->total - 1 - bind->name_length + name_length);
    if (__builtin_expect(head > GATHER_SPACE, 0)) {
        uint8_t first[WEIR_WIRE_HEADER] = {'B'};
        weir_put_u32(first + 1, size);
        gather_copy(out, first, sizeof(first));
        gather_copy(out, bind->portal, portal_size);
        gather_copy(out, name, name_length + 1);
    } else {
        uint8_t *at = gather_room(out, head);
        at[0] = 'B';
        weir_put_u32(at + 1, size);
        memcpy(at + WEIR_WIRE_HEADER, bind->portal, portal_size);
        memcpy(at + WEIR_WIRE_HEADER + portal_size, name, name_length + 1);
        gather_commit(out, head);
    }
    if (bind->end > bind->rest)
        gather_pass(out, bind->rest, (size_t)(bind->end - bind->rest));
}

/* What the statement may set for the session, perhaps by a name that is among the values. */
static void mind_statement(struct server *server, const struct statement *statement,
                           const struct bind_message *bind)
{
    struct custom_values values = {.rest = bind->rest, .end = bind->end};
    custom_mind(server, statement->body, strlen((const char *)statement->body), statement->mentions,
                &values);
}

static void mind_effects(struct server *server, struct statement *statement,
                         const struct bind_message *bind)
{
    if (__builtin_expect(effects_mind_statement(server, statement), 1))
        return;
    struct custom_values values = {.rest = bind->rest, .end = bind->end};
    custom_suspect(server, statement->body, strlen((const char *)statement->body), &values);
}

static enum step bind_unnamed(struct client *client, const struct bind_message *bind,
                              const uint8_t *message)
{
    struct server *server = client->server;
    if (client->unnamed != NULL && __builtin_expect(client->unnamed->statement->mentions != 0, 0))
        mind_statement(server, client->unnamed->statement, bind);
    if (client->unnamed != NULL)
        mind_effects(server, client->unnamed->statement, bind);
    enum use use = unnamed_find_use(client);
    if (use == USE_HELD)
        return STEP_WAIT;
    if (use == USE_REFUSED) {
        emit_bind(server, bind, no_such_name);
        server_expect(server, REPLY_BIND, REPLY_FORWARD, PURPOSE_PLAN_CHANGED, NULL);
        return STEP_MORE;
    }
    unnamed_bound(client, bind->portal_length == 0);
    server_expect(server, REPLY_BIND, REPLY_FORWARD, PURPOSE_CLIENT, NULL);
    gather_pass(&client->router->to_server, message, (size_t)(bind->end - message));
    return STEP_MORE;
}

static enum step bind_named(struct client *client, const struct bind_message *bind,
                            struct client_statement *named)
{
    struct server *server = client->server;
    struct prepared *copy = NULL;
    if (__builtin_expect(named->statement->mentions != 0, 0))
        mind_statement(server, named->statement, bind);
    mind_effects(server, named->statement, bind);
    enum use use = find_use(client, named, &copy);
    if (use == USE_HELD)
        return STEP_WAIT;
    server->destination->counters.binds++;
    named->statement->binds++;
    if (server->text_of != named->statement)
        running_refer_to(server, named->statement);
    bool refused = use == USE_REFUSED && server->status != 'E';
    if (bind->portal_length == 0)
        server->portal_of_unnamed = false;
    emit_bind(server, bind, refused ? no_such_name : copy->name);
    server_expect(server, REPLY_BIND, REPLY_FORWARD,
                  refused ? PURPOSE_PLAN_CHANGED : PURPOSE_CLIENT, NULL);
    return STEP_MORE;
}

enum step statement_bind(struct client *client, const uint8_t *message, size_t have, uint32_t total)
{
    struct server *server = client->server;
    struct gather *out = &client->router->to_server;
    const uint8_t *end = message + (have < total ? have : total);
    const uint8_t *total_end = message + total;
    if (!statement_is_renamed(server)) {
        if (end - message > WEIR_WIRE_HEADER + 1 && message[WEIR_WIRE_HEADER] == '\0' &&
            message[WEIR_WIRE_HEADER + 1] != '\0')
            running_forget(server); /* one with a name, whose text is not known */
        server_expect(server, REPLY_BIND, REPLY_FORWARD, PURPOSE_CLIENT, NULL);
        gather_pass(out, message, (size_t)(end - message));
        return STEP_MORE;
    }
    enum step step = STEP_GONE;
    size_t portal_length, name_length;
    const char *portal =
        take_string(client, message + WEIR_WIRE_HEADER, end, total_end, &portal_length, &step);
    if (portal == NULL)
        return step;
    const uint8_t *name_at = (const uint8_t *)portal + portal_length + 1;
    const char *name = take_string(client, name_at, end, total_end, &name_length, &step);
    if (name == NULL)
        return step;
    struct bind_message bind = {
        .portal = portal,
        .portal_length = portal_length,
        .name_length = name_length,
        .total = total,
        .rest = (const uint8_t *)name + name_length + 1,
        .end = end,
    };
    if (name_length == 0)
        return bind_unnamed(client, &bind, message);
    if (names_in_doubt(server))
        return statement_hold(client);
    struct client_statement *named = statement_find_name(client, name, name_length);
    if (named != NULL)
        return bind_named(client, &bind, named);
    if (is_private(name)) {
        emit_bind(server, &bind, no_such_name);
        server_expect(server, REPLY_BIND, REPLY_FORWARD, PURPOSE_UNKNOWN, weir_strdup(name));
        return STEP_MORE;
    }
    /* An unknown name goes as it is: the error is PostgreSQL's own. */
    server_expect(server, REPLY_BIND, REPLY_FORWARD, PURPOSE_CLIENT, NULL);
    gather_pass(out, message, (size_t)(end - message));
    return STEP_MORE;
}

/* --- Describe and Close ---------------------------------------------------------------- */

static enum step describe_unnamed(struct client *client, const uint8_t *message, uint32_t total)
{
    struct server *server = client->server;
    enum use use = unnamed_find_use(client);
    if (use == USE_HELD)
        return STEP_WAIT;
    if (use == USE_REFUSED) {
        prepared_emit_describe(server, no_such_name);
        server_expect(server, REPLY_DESCRIBE_STATEMENT, REPLY_FORWARD, PURPOSE_PLAN_CHANGED, NULL);
        return STEP_MORE;
    }
    gather_pass(&client->router->to_server, message, total);
    unnamed_expect_shape(client, REPLY_FORWARD);
    return STEP_MORE;
}

static enum step describe_statement(struct client *client, const uint8_t *message, uint32_t total,
                                    const char *name, size_t name_length)
{
    struct server *server = client->server;
    if (name_length == 0)
        return describe_unnamed(client, message, total);
    if (names_in_doubt(server))
        return statement_hold(client);
    struct client_statement *named = statement_find_name(client, name, name_length);
    if (named == NULL && is_private(name)) {
        prepared_emit_describe(server, no_such_name);
        server_expect(server, REPLY_DESCRIBE_STATEMENT, REPLY_FORWARD, PURPOSE_UNKNOWN,
                      weir_strdup(name));
        return STEP_MORE;
    }
    if (named == NULL) {
        gather_pass(&client->router->to_server, message, total);
        server_expect(server, REPLY_DESCRIBE_STATEMENT, REPLY_FORWARD, PURPOSE_CLIENT, NULL);
        return STEP_MORE;
    }
    struct prepared *copy = NULL;
    enum use use = find_use(client, named, &copy);
    if (use == USE_HELD)
        return STEP_WAIT;
    /* On a direct connection Describe says "cached plan must not change result type", too. */
    bool refused = use == USE_REFUSED && server->status != 'E';
    prepared_emit_describe(server, refused ? no_such_name : copy->name);
    server_expect(server, REPLY_DESCRIBE_STATEMENT, REPLY_FORWARD,
                  refused ? PURPOSE_PLAN_CHANGED : PURPOSE_SHAPE, named);
    named->referred = true;
    if (!refused)
        reply_at(&server->replies, server->replies.count - 1)->second = copy;
    return STEP_MORE;
}

enum step statement_describe(struct client *client, const uint8_t *message, uint32_t total)
{
    struct server *server = client->server;
    enum step step = STEP_GONE;
    size_t name_length;
    const uint8_t *end = message + total;
    if (total < WEIR_WIRE_HEADER + 2)
        return malformed(client);
    char what = (char)message[WEIR_WIRE_HEADER];
    const char *name =
        take_string(client, message + WEIR_WIRE_HEADER + 1, end, end, &name_length, &step);
    if (name == NULL)
        return step;
    if (what == 'S' && statement_is_renamed(server))
        return describe_statement(client, message, total, name, name_length);
    gather_pass(&client->router->to_server, message, total);
    server_expect(server, what == 'S' ? REPLY_DESCRIBE_STATEMENT : REPLY_DESCRIBE_PORTAL,
                  REPLY_FORWARD, PURPOSE_CLIENT, NULL);
    if (what == 'P' && name_length == 0 && server->portal_of_unnamed)
        unnamed_portal_described(client);
    return STEP_MORE;
}

/* Closing touches only the client's namespace: the copy may serve others. The message itself goes
 * to the server unchanged, where the client's own name means nothing and CloseComplete comes in
 * order; a name that might mean something there is replaced. */
enum step statement_close(struct client *client, const uint8_t *message, uint32_t total)
{
    struct server *server = client->server;
    enum step step = STEP_GONE;
    size_t name_length;
    const uint8_t *end = message + total;
    if (total < WEIR_WIRE_HEADER + 2)
        return malformed(client);
    bool statement = message[WEIR_WIRE_HEADER] == 'S';
    const char *name =
        take_string(client, message + WEIR_WIRE_HEADER + 1, end, end, &name_length, &step);
    if (name == NULL)
        return step;
    struct client_statement *named = NULL;
    if (statement && name_length > 0 && names_in_doubt(server))
        return statement_hold(client);
    if (statement && statement_is_renamed(server)) {
        if (name_length == 0) {
            statement_forget_unnamed(client);
            server->unnamed_version = 0;
        } else {
            named = statement_find_name(client, name, name_length);
        }
    }
    if (named != NULL) {
        if (client->deallocating == named)
            client->deallocating = NULL;
        HASH_DEL(client->statements, named);
    }
    bool own = named != NULL && named->materialised;
    if (statement && statement_is_renamed(server) && is_private(name) && !own)
        prepared_emit_close(server, no_such_name);
    else
        gather_pass(&client->router->to_server, message, total);
    server_expect(server, REPLY_CLOSE, REPLY_FORWARD,
                  named != NULL ? PURPOSE_NAMED_CLOSE : PURPOSE_CLIENT, named);
    if (named != NULL)
        server->names_unanswered++;
    return STEP_MORE;
}
