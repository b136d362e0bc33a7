/* Prepared statement names. Every client has its own namespace; server connections hold statements
 * under private names. What makes sharing invisible:
 *
 *   - A client's Parse always goes to the server as a fresh Parse, so it is analysed afresh, under
 * a private name of its own version; the connection's older copy of the same text is retired.
 *   - A Bind uses the connection's copy when it is not older than the client's own Parse, or when
 *     both are known to describe the same result. An older copy is replaced by a fresh Parse.
 *   - When the copy describes something else than the client was told (DDL happened in between),
 * the client gets what a direct session gives: "cached plan must not change result type".
 *   - A copy that must be made for a client that knows its description is compared before anything
 *     runs; the client is held for that one round trip.
 */
#include <stdlib.h>
#include <string.h>

#include "router.h"

#define NAME_MAX_BYTES 65535

/* No such statement can exist: used to make the server raise its own error at the right place. */
#define PRIVATE_PREFIX "pgweir."
static const char no_such_name[] = PRIVATE_PREFIX "none";

/* --- the dictionary -------------------------------------------------------------------- */

/* The same text means something else under another search_path: that is part of the key. */
static struct statement *statement_get(struct weir_router *router, const uint8_t *body,
                                       size_t length, const char *search_path)
{
    size_t path_length = strlen(search_path), key_length = length + path_length;
    struct statement *fresh = weir_alloc(sizeof(*fresh) + key_length);
    struct statement *known;
    memcpy(fresh->body, body, length);
    memcpy(fresh->body + length, search_path, path_length);
    HASH_FIND(hh, router->statements, fresh->body, key_length, known);
    if (known != NULL) {
        free(fresh);
        known->references++;
        return known;
    }
    fresh->length = (uint32_t)length;
    fresh->mentions_state = statement_mentions_state(body, length);
    fresh->references = 1;
    HASH_ADD_KEYPTR(hh, router->statements, fresh->body, key_length, fresh);
    return fresh;
}

static struct statement *statement_ref(struct statement *statement)
{
    statement->references++;
    return statement;
}

static void statement_unref(struct weir_router *router, struct statement *statement)
{
    weir_require(statement->references > 0);
    if (--statement->references > 0)
        return;
    /* An element of the table is there, so the table is: clang-tidy cannot know.
     * NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
    HASH_DEL(router->statements, statement);
    free(statement);
}

/* --- a client's names ------------------------------------------------------------------ */

/* PostgreSQL tells names apart by their first NAMEDATALEN - 1 bytes. */
#define NAME_SIGNIFICANT 63

static size_t significant(size_t length)
{
    return length < NAME_SIGNIFICANT ? length : NAME_SIGNIFICANT;
}

static struct client_statement *find_name(const struct client *client, const char *name,
                                          size_t length)
{
    struct client_statement *named;
    length = significant(length);
    HASH_FIND(hh, client->statements, name, length, named);
    return named;
}

static void add_name(struct client *client, struct client_statement *named)
{
    HASH_ADD_KEYPTR(hh, client->statements, named->name, significant(strlen(named->name)), named);
}

static void free_name(struct weir_router *router, struct client_statement *named)
{
    statement_unref(router, named->statement);
    free(named);
}

/* Replies on their way that would have told something about the name have nobody to tell. */
static void forget_in_flight(struct client *client, const struct client_statement *named)
{
    if (client->deallocating == named)
        client->deallocating = NULL;
    if (!named->referred || client->server == NULL)
        return;
    struct reply_queue *queue = &client->server->replies;
    for (uint32_t i = 0; i < queue->count; i++) {
        struct reply *reply = reply_at(queue, i);
        if (reply->subject == named && reply->purpose != PURPOSE_NAMED_CLOSE) {
            reply->subject = NULL;
        }
    }
}

static void remove_name(struct client *client, struct client_statement *named)
{
    forget_in_flight(client, named);
    HASH_DEL(client->statements, named);
    free_name(client->router, named);
}

static struct client_statement *make_name(struct client *client, const char *name,
                                          struct statement *statement)
{
    size_t length = strlen(name);
    struct client_statement *named = weir_alloc(sizeof(*named) + length + 1);
    memcpy(named->name, name, length + 1);
    named->statement = statement;
    named->version = ++client->router->next_version;
    return named;
}

void statement_trim_unnamed(struct client *client)
{
    if (client->unnamed != NULL &&
        client->unnamed->statement->length > client->router->conf->client_memory_limit)
        statement_forget_unnamed(client);
}

static bool begins_with(const uint8_t *text, size_t length, const char *word)
{
    size_t size = strlen(word);
    return length >= size && strncasecmp((const char *)text, word, size) == 0;
}

bool statement_mentions_state(const uint8_t *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        switch (text[i]) {
        case 'a':
        case 'A':
            if (begins_with(text + i, length - i, "advisory"))
                return true;
            break;
        case 's':
        case 'S':
            if (begins_with(text + i, length - i, "set_config"))
                return true;
            break;
        case 't':
        case 'T':
            if (begins_with(text + i, length - i, "temp"))
                return true;
            break;
        default:
            break;
        }
    }
    return false;
}

void statement_forget_unnamed(struct client *client)
{
    if (client->unnamed == NULL)
        return;
    forget_in_flight(client, client->unnamed);
    free_name(client->router, client->unnamed);
    client->unnamed = NULL;
}

/* --- a server's copies ----------------------------------------------------------------- */

static struct prepared *find_copy(const struct server *server, const struct statement *statement)
{
    struct prepared *copy;
    HASH_FIND_PTR(server->prepared, &statement, copy);
    return copy;
}

static void use_copy(struct server *server, struct prepared *copy)
{
    if (copy->binding == server->binding)
        return;
    copy->binding = server->binding;
    weir_list_remove(&copy->link);
    weir_list_push_back(&server->prepared_order, &copy->link);
}

/* Out of the map: nobody finds it any more. It is freed at rest, when no reply can refer to it. */
static void retire_copy(struct server *server, struct prepared *copy)
{
    HASH_DEL(server->prepared, copy);
    server->prepared_count--;
    weir_list_remove(&copy->link);
    weir_list_push_back(&server->prepared_dead, &copy->link);
}

/* Describe or Close of a statement; `name` is short or the client's own. */
static void emit_about(struct server *server, char type, const char *name)
{
    struct gather *out = &server->router->to_server;
    size_t name_size = strlen(name) + 1;
    uint8_t head[WEIR_WIRE_HEADER + 1];
    head[0] = (uint8_t)type;
    weir_put_u32(head + 1, (uint32_t)(5 + name_size));
    head[5] = 'S';
    gather_copy(out, head, sizeof(head));
    gather_copy(out, name, name_size);
}

static void emit_close(struct server *server, const char *name)
{
    emit_about(server, 'C', name);
}

static void close_copy(struct server *server, struct prepared *copy)
{
    emit_close(server, copy->name);
    retire_copy(server, copy);
    server_expect(server, REPLY_CLOSE, REPLY_SWALLOW_SUCCESS, PURPOSE_EVICT, copy);
}

/* Closes that an error made the server skip are sent again. */
static void close_unclosed(struct server *server)
{
    struct weir_list *link;
    while ((link = weir_list_pop(&server->prepared_unclosed)) != NULL) {
        struct prepared *copy = weir_container_of(link, struct prepared, link);
        weir_list_push_back(&server->prepared_dead, link);
        emit_close(server, copy->name);
        server_expect(server, REPLY_CLOSE, REPLY_SWALLOW_SUCCESS, PURPOSE_EVICT, copy);
    }
}

/* Room for one more. Statements that the present binding has used stay: they may be used again in
 * the batch that is open. */
static void evict(struct server *server)
{
    uint32_t limit = (uint32_t)server->destination->settings.max_prepared_statements;
    while (server->prepared_count >= limit) {
        struct weir_list *oldest = weir_list_first(&server->prepared_order);
        struct prepared *copy = weir_container_of(oldest, struct prepared, link);
        if (copy->binding == server->binding)
            return;
        server->router->counters.statements_evicted++;
        close_copy(server, copy);
    }
}

static void print_name(char *name, uint64_t version)
{
    static const char digits[] = "0123456789abcdef";
    char reversed[16];
    int count = 0;
    do {
        reversed[count++] = digits[version & 15];
        version >>= 4;
    } while (version > 0);
    char *at = stpcpy(name, PRIVATE_PREFIX);
    while (count > 0)
        *at++ = reversed[--count];
    *at = '\0';
}

static struct prepared *make_copy(struct server *server, struct statement *statement,
                                  uint64_t version)
{
    struct prepared *old = find_copy(server, statement);
    if (old != NULL)
        close_copy(server, old);
    close_unclosed(server);
    evict(server);
    struct prepared *copy = weir_alloc(sizeof(*copy));
    copy->statement = statement_ref(statement);
    copy->version = version;
    copy->binding = server->binding;
    print_name(copy->name, version);
    HASH_ADD_PTR(server->prepared, statement, copy);
    weir_list_push_back(&server->prepared_order, &copy->link);
    server->prepared_count++;
    return copy;
}

static void emit_parse(struct server *server, const char *name, const uint8_t *body, size_t length)
{
    struct gather *out = &server->router->to_server;
    size_t name_size = strlen(name) + 1;
    uint8_t head[WEIR_WIRE_HEADER];
    head[0] = 'P';
    weir_put_u32(head + 1, (uint32_t)(4 + name_size + length));
    gather_copy(out, head, sizeof(head));
    gather_copy(out, name, name_size);
    gather_copy(out, body, length);
    server->router->counters.server_parses++;
}

static void emit_describe(struct server *server, const char *name)
{
    emit_about(server, 'D', name);
}

static void emit_flush(struct server *server)
{
    static const uint8_t flush[] = {'H', 0, 0, 0, 4};
    gather_copy(&server->router->to_server, flush, sizeof(flush));
}

/* --- names in messages ----------------------------------------------------------------- */

static bool renames(const struct server *server)
{
    return server->destination->settings.pool_mode != WEIR_POOL_SESSION &&
           server->destination->settings.max_prepared_statements > 0;
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
static enum step hold_until_answered(struct client *client)
{
    emit_flush(client->server);
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

static enum step parse_unnamed(struct client *client, const uint8_t *message, uint32_t total)
{
    struct server *server = client->server;
    const uint8_t *body = message + WEIR_WIRE_HEADER + 1;
    size_t length = total - WEIR_WIRE_HEADER - 1;
    struct client_statement *unnamed = client->unnamed;
    /* The text is kept so that a later Bind on another server connection finds it again. */
    if (unnamed == NULL || unnamed->statement->length != length ||
        memcmp(unnamed->statement->body, body, length) != 0) {
        statement_forget_unnamed(client);
        client->unnamed = make_name(client, "", statement_get(client->router, body, length, ""));
    } else {
        unnamed->version = ++client->router->next_version;
        unnamed->shape = 0;
    }
    server->unnamed_version = client->unnamed->version;
    server_expect(server, REPLY_PARSE, REPLY_FORWARD, PURPOSE_UNNAMED_PARSE, client);
    gather_pass(&client->router->to_server, message, total);
    return STEP_MORE;
}

/* PostgreSQL looks at the name last, after it has analysed the text: so the text goes to the server
 * under a name that is taken there, and the error comes back with the client's name in it. */
static void parse_duplicate(struct client *client, const char *name, const uint8_t *body,
                            size_t length)
{
    struct server *server = client->server;
    static const char taken[] = "pgweir.taken";
    static const uint8_t empty[] = {0, 0, 0};
    emit_close(server, taken);
    server_expect(server, REPLY_CLOSE, REPLY_SWALLOW_SUCCESS, PURPOSE_CLIENT, NULL);
    emit_parse(server, taken, empty, sizeof(empty));
    server_expect(server, REPLY_PARSE, REPLY_SWALLOW_SUCCESS, PURPOSE_CLIENT, NULL);
    emit_parse(server, taken, body, length);
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
    if (!renames(server)) {
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
    if (name_length == 0)
        return parse_unnamed(client, message, total);
    struct client_statement *named = find_name(client, name, name_length);
    if (names_in_doubt(server) || (named != NULL && may_deallocate(server)))
        return hold_until_answered(client);
    router->counters.client_parses++;
    if (named != NULL) {
        parse_duplicate(client, name, body, (size_t)(end - body));
        return STEP_MORE;
    }
    const char *path = weir_profile_value(client->settings, "search_path");
    named = make_name(client, name,
                      statement_get(router, body, (size_t)(end - body), path != NULL ? path : ""));
    add_name(client, named);
    if (server->sql_prepared > 0) {
        /* The server knows names of SQL's PREPARE: whether this one is taken is for it to say. */
        emit_parse(server, name, body, (size_t)(end - body));
        server_expect(server, REPLY_PARSE, REPLY_SWALLOW_SUCCESS, PURPOSE_CLIENT, NULL);
        named->materialised = true;
        server->sql_prepared++;
    }
    struct prepared *copy = make_copy(server, named->statement, named->version);
    emit_parse(server, copy->name, body, (size_t)(end - body));
    server_expect(server, REPLY_PARSE, REPLY_FORWARD, PURPOSE_NAMED_PARSE, copy);
    reply_at(&server->replies, server->replies.count - 1)->second = named;
    server->names_unanswered++;
    /* What it describes is asked for along with it, to compare later copies with. */
    emit_describe(server, copy->name);
    server_expect(server, REPLY_DESCRIBE_STATEMENT, REPLY_SWALLOW_SUCCESS, PURPOSE_SHAPE, named);
    reply_at(&server->replies, server->replies.count - 1)->second = copy;
    named->referred = true;
    return STEP_MORE;
}

/* --- on demand ------------------------------------------------------------------------- */

/* What a Bind or Describe of `named` should use. */
enum use {
    USE_COPY,    /* *copy */
    USE_HELD,    /* a comparison was asked for: the client is held, the message comes again */
    USE_REFUSED, /* described otherwise than the client was told */
};

static enum use ask_to_compare(struct client *client, struct prepared *copy)
{
    struct server *server = client->server;
    emit_describe(server, copy->name);
    emit_flush(server);
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
    struct prepared *copy = find_copy(server, named->statement);
    if (copy != NULL && copy->version >= named->version) {
        use_copy(server, copy);
        *found = copy;
        if (copy->version == named->version || named->shape == 0 || copy->shape == named->shape)
            return USE_COPY;
        if (copy->shape == 0)
            return ask_to_compare(client, copy);
        if (server->checked_version == copy->version)
            return USE_REFUSED;
    }
    copy = make_copy(server, named->statement, ++client->router->next_version);
    emit_parse(server, copy->name, named->statement->body, named->statement->length);
    server_expect(server, REPLY_PARSE, REPLY_SWALLOW_SUCCESS, PURPOSE_STATEMENT, copy);
    server->checked_version = copy->version;
    *found = copy;
    return named->shape == 0 ? USE_COPY : ask_to_compare(client, copy);
}

/* The unnamed statement of this client, wherever it was parsed. False: it has none. */
static bool restore_unnamed(struct client *client)
{
    struct server *server = client->server;
    struct client_statement *unnamed = client->unnamed;
    if (unnamed != NULL && server->unnamed_version == unnamed->version)
        return true;
    if (unnamed == NULL) {
        /* Whatever is there is another client's: it must not be found. */
        static const uint8_t close_unnamed[] = {'C', 0, 0, 0, 6, 'S', 0};
        gather_copy(&client->router->to_server, close_unnamed, sizeof(close_unnamed));
        server_expect(server, REPLY_CLOSE, REPLY_SWALLOW_SUCCESS, PURPOSE_CLIENT, NULL);
        server->unnamed_version = 0;
        return false;
    }
    emit_parse(server, "", unnamed->statement->body, unnamed->statement->length);
    server_expect(server, REPLY_PARSE, REPLY_SWALLOW_SUCCESS, PURPOSE_UNNAMED_PARSE, NULL);
    server->unnamed_version = unnamed->version;
    return true;
}

/* --- Bind ------------------------------------------------------------------------------ */

static void emit_bind_head(struct server *server, uint32_t total, const char *portal,
                           size_t portal_length, size_t old_length, const char *name)
{
    struct gather *out = &server->router->to_server;
    size_t name_length = strlen(name);
    size_t head = WEIR_WIRE_HEADER + portal_length + 1 + name_length + 1;
    uint32_t size = (uint32_t)(total - 1 - old_length + name_length);
    if (head > GATHER_SPACE) {
        uint8_t first[WEIR_WIRE_HEADER] = {'B'};
        weir_put_u32(first + 1, size);
        gather_copy(out, first, sizeof(first));
        gather_copy(out, portal, portal_length + 1);
        gather_copy(out, name, name_length + 1);
        return;
    }
    uint8_t *at = gather_room(out, head);
    at[0] = 'B';
    weir_put_u32(at + 1, size);
    memcpy(at + WEIR_WIRE_HEADER, portal, portal_length + 1);
    memcpy(at + WEIR_WIRE_HEADER + portal_length + 1, name, name_length + 1);
    gather_commit(out, head);
}

enum step statement_bind(struct client *client, const uint8_t *message, size_t have, uint32_t total)
{
    struct server *server = client->server;
    struct gather *out = &client->router->to_server;
    const uint8_t *end = message + (have < total ? have : total);
    const uint8_t *total_end = message + total;
    if (!renames(server)) {
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
    struct client_statement *named = name_length == 0 ? NULL : find_name(client, name, name_length);
    const struct client_statement *used = name_length == 0 ? client->unnamed : named;
    if (used != NULL && used->statement->mentions_state)
        server->dirt |= DIRT_SETTINGS;
    enum reply_purpose purpose = PURPOSE_CLIENT;
    if (named == NULL) {
        /* An unknown name goes as it is: the error is PostgreSQL's own. */
        if (name_length == 0)
            restore_unnamed(client);
        else if (names_in_doubt(server))
            return hold_until_answered(client);
        server_expect(server, REPLY_BIND, REPLY_FORWARD, purpose, NULL);
        gather_pass(out, message, (size_t)(end - message));
        return STEP_MORE;
    }
    if (names_in_doubt(server))
        return hold_until_answered(client);
    struct prepared *copy = NULL;
    enum use use = find_use(client, named, &copy);
    if (use == USE_HELD)
        return STEP_WAIT;
    client->router->counters.binds++;
    if (use == USE_REFUSED && server->status != 'E')
        purpose = PURPOSE_PLAN_CHANGED;
    emit_bind_head(server, total, portal, portal_length, name_length,
                   purpose == PURPOSE_PLAN_CHANGED ? no_such_name : copy->name);
    const uint8_t *rest = (const uint8_t *)name + name_length + 1;
    if (end > rest)
        gather_pass(out, rest, (size_t)(end - rest));
    server_expect(server, REPLY_BIND, REPLY_FORWARD, purpose, NULL);
    return STEP_MORE;
}

/* --- Describe and Close ---------------------------------------------------------------- */

enum step statement_describe(struct client *client, const uint8_t *message, uint32_t total)
{
    struct server *server = client->server;
    struct gather *out = &client->router->to_server;
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
    enum reply_kind kind = what == 'S' ? REPLY_DESCRIBE_STATEMENT : REPLY_DESCRIBE_PORTAL;
    struct client_statement *named = NULL;
    if (what == 'S' && renames(server))
        named = name_length == 0 ? client->unnamed : find_name(client, name, name_length);
    if (what == 'S' && name_length > 0 && names_in_doubt(server))
        return hold_until_answered(client);
    if (named == NULL || name_length == 0) {
        if (what == 'S' && name_length == 0 && renames(server))
            restore_unnamed(client);
        gather_pass(out, message, total);
        server_expect(server, kind, REPLY_FORWARD, named != NULL ? PURPOSE_SHAPE : PURPOSE_CLIENT,
                      named);
        if (named != NULL)
            named->referred = true;
        return STEP_MORE;
    }
    struct prepared *copy = NULL;
    enum use use = find_use(client, named, &copy);
    if (use == USE_HELD)
        return STEP_WAIT;
    /* On a direct connection Describe says "cached plan must not change result type", too. */
    bool refused = use == USE_REFUSED && server->status != 'E';
    emit_describe(server, refused ? no_such_name : copy->name);
    server_expect(server, kind, REPLY_FORWARD, refused ? PURPOSE_PLAN_CHANGED : PURPOSE_SHAPE,
                  named);
    named->referred = true;
    if (!refused)
        reply_at(&server->replies, server->replies.count - 1)->second = copy;
    return STEP_MORE;
}

/* Closing touches only the client's namespace: the copy may serve others. The message itself goes
 * to the server unchanged, where the client's own name means nothing and CloseComplete comes in
 * order. */
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
        return hold_until_answered(client);
    if (statement && renames(server)) {
        if (name_length == 0) {
            statement_forget_unnamed(client);
            server->unnamed_version = 0;
        } else {
            named = find_name(client, name, name_length);
        }
    }
    if (named != NULL) {
        if (client->deallocating == named)
            client->deallocating = NULL;
        HASH_DEL(client->statements, named);
    }
    gather_pass(&client->router->to_server, message, total);
    server_expect(server, REPLY_CLOSE, REPLY_FORWARD,
                  named != NULL ? PURPOSE_NAMED_CLOSE : PURPOSE_CLIENT, named);
    if (named != NULL)
        server->names_unanswered++;
    return STEP_MORE;
}

/* --- answers --------------------------------------------------------------------------- */

void statement_on_success(struct server *server, const struct reply *reply)
{
    struct prepared *copy = reply->subject;
    struct client_statement *named = reply->second;
    switch (reply->purpose) {
    case PURPOSE_NAMED_PARSE:
        server->names_unanswered--;
        if (named != NULL)
            named->confirmed = true;
        copy->confirmed = true;
        break;
    case PURPOSE_STATEMENT:
        copy->confirmed = true;
        break;
    case PURPOSE_NAMED_CLOSE:
        server->names_unanswered--;
        named = reply->subject;
        if (named != NULL)
            free_name(server->router, named);
        break;
    case PURPOSE_DUPLICATE:
        free(reply->subject);
        break;
    default:
        break;
    }
}

static void release_held(struct server *server)
{
    struct client *client = server->client;
    if (client == NULL || client->base.state != WEIR_CLIENT_HELD)
        return;
    weir_client_set_state(&client->base, WEIR_CLIENT_ACTIVE);
    weir_loop_defer(server->router->loop, &client->resume);
}

static bool is_live(const struct server *server, const struct prepared *copy)
{
    return find_copy(server, copy->statement) == copy;
}

/* Newest first: each undoes what its message did when it was sent. */
void statement_on_dropped(struct server *server, const struct reply *reply)
{
    struct client *client = server->client;
    struct prepared *copy = reply->subject;
    struct client_statement *named = reply->second;
    switch (reply->purpose) {
    case PURPOSE_NAMED_PARSE:
        server->names_unanswered--;
        if (named != NULL && client != NULL)
            remove_name(client, named);
        if (is_live(server, copy))
            retire_copy(server, copy);
        break;
    case PURPOSE_STATEMENT:
        if (is_live(server, copy))
            retire_copy(server, copy);
        break;
    case PURPOSE_NAMED_CLOSE:
        server->names_unanswered--;
        named = reply->subject;
        if (named != NULL && client != NULL)
            add_name(client, named);
        else if (named != NULL)
            free_name(server->router, named);
        break;
    case PURPOSE_CHECK:
        release_held(server);
        break;
    case PURPOSE_DUPLICATE:
        free(reply->subject);
        break;
    case PURPOSE_UNNAMED_PARSE:
        server->unnamed_version = 0;
        if (reply->subject != NULL && client != NULL)
            statement_forget_unnamed(client);
        break;
    case PURPOSE_MATERIALISE:
        named = reply->subject;
        if (named != NULL)
            named->materialised = false;
        break;
    case PURPOSE_EVICT:
        if (copy != NULL) {
            weir_list_remove(&copy->link);
            weir_list_push_back(&server->prepared_unclosed, &copy->link);
        }
        break;
    default:
        break;
    }
}

void statement_on_shape(struct server *server, const struct reply *reply, uint64_t shape)
{
    if (reply->purpose == PURPOSE_CHECK) {
        struct prepared *copy = reply->subject;
        copy->shape = shape;
        release_held(server);
    } else if (reply->purpose == PURPOSE_SHAPE) {
        struct client_statement *named = reply->subject;
        struct prepared *copy = reply->second;
        if (named != NULL)
            named->shape = shape;
        if (copy != NULL)
            copy->shape = shape;
    }
}

static const char *name_of_copy(const struct server *server, const char *private_name,
                                size_t length)
{
    for (const struct prepared *copy = server->prepared; copy != NULL; copy = copy->hh.next) {
        if (strlen(copy->name) != length || memcmp(copy->name, private_name, length) != 0)
            continue;
        const struct client_statement *named = server->client->statements;
        for (; named != NULL; named = named->hh.next)
            if (named->statement == copy->statement)
                return named->name;
    }
    return NULL;
}

char *statement_public_text(const struct server *server, const char *text)
{
    const char *start = strstr(text, "\"" PRIVATE_PREFIX);
    if (start == NULL || server->client == NULL)
        return NULL;
    start++;
    size_t length = strcspn(start, "\"");
    const char *name = name_of_copy(server, start, length);
    if (name == NULL)
        return NULL;
    return weir_format("%.*s%s%s", (int)(start - text), text, name, start + length);
}

/* --- SQL-level PREPARE, EXECUTE, DEALLOCATE -------------------------------------------- */

/* Skips white space and comments. */
static const char *skip_space(const char *at, const char *end)
{
    while (at < end) {
        if (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r' || *at == '\f') {
            at++;
        } else if (end - at >= 2 && at[0] == '-' && at[1] == '-') {
            while (at < end && *at != '\n')
                at++;
        } else if (end - at >= 2 && at[0] == '/' && at[1] == '*') {
            int depth = 0;
            do {
                if (end - at >= 2 && at[0] == '/' && at[1] == '*') {
                    depth++;
                    at += 2;
                } else if (end - at >= 2 && at[0] == '*' && at[1] == '/') {
                    depth--;
                    at += 2;
                } else {
                    at++;
                }
            } while (depth > 0 && at < end);
        } else {
            break;
        }
    }
    return at;
}

static bool take_word(const char **position, const char *end, const char *word)
{
    size_t length = strlen(word);
    const char *at = *position;
    if ((size_t)(end - at) < length || strncasecmp(at, word, length) != 0)
        return false;
    if ((size_t)(end - at) > length) {
        char next = at[length];
        if (next == '_' || next == '$' || (next >= '0' && next <= '9') ||
            ((next | 0x20) >= 'a' && (next | 0x20) <= 'z'))
            return false;
    }
    *position = skip_space(at + length, end);
    return true;
}

/* An SQL identifier as PostgreSQL reads it: folded to lower case unless quoted. */
static size_t take_identifier(const char *at, const char *end, char *name, size_t size)
{
    size_t length = 0;
    if (at < end && *at == '"') {
        for (at++; at < end; at++) {
            if (*at == '"' && (at + 1 >= end || at[1] != '"'))
                break;
            if (*at == '"')
                at++;
            if (length + 1 < size)
                name[length++] = *at;
        }
    } else {
        for (; at < end; at++) {
            char c = *at;
            bool upper = c >= 'A' && c <= 'Z';
            if (!upper && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_' &&
                c != '$' && !(c & 0x80))
                break;
            if (length + 1 < size)
                name[length++] = upper ? (char)(c | 0x20) : c;
        }
    }
    name[length] = '\0';
    return length;
}

/* EXPLAIN and CREATE TABLE AS may have an EXECUTE inside. */
static bool find_execute(const char **position, const char *end)
{
    const char *at = *position;
    if (!take_word(&at, end, "explain") && !take_word(&at, end, "create"))
        return false;
    for (; end - at > 7; at++) {
        bool begins_word = at[-1] == ' ' || at[-1] == ')' || at[-1] == '\n' || at[-1] == '\t';
        if (begins_word && take_word(&at, end, "execute")) {
            *position = at;
            return true;
        }
    }
    return false;
}

/* What the SQL text does to names: the name it begins with, or an empty one. */
enum sql_use { SQL_NOTHING, SQL_USES, SQL_PREPARES, SQL_DEALLOCATES, SQL_DISCARDS };

static enum sql_use read_sql(const char *text, size_t length, char *name, size_t size)
{
    const char *end = text + length, *at = skip_space(text, end);
    enum sql_use use = SQL_USES;
    if (take_word(&at, end, "discard"))
        return SQL_DISCARDS;
    if (take_word(&at, end, "deallocate")) {
        use = SQL_DEALLOCATES;
        take_word(&at, end, "prepare");
    } else if (take_word(&at, end, "prepare")) {
        use = SQL_PREPARES;
    } else if (!take_word(&at, end, "execute") && !find_execute(&at, end)) {
        return SQL_NOTHING;
    }
    take_identifier(at, end, name, size);
    return use;
}

/* Puts the named statement on the server under the client's own name. Outside of a batch a Sync keeps
 * an error of ours away from what follows; inside of one the error is the client's anyhow. */
static void materialise(struct client *client, struct client_statement *named)
{
    struct server *server = client->server;
    bool batch = server->pipeline == PIPELINE_BATCH;
    emit_parse(server, named->name, named->statement->body, named->statement->length);
    server_expect(server, REPLY_PARSE, batch ? REPLY_SWALLOW_SUCCESS : REPLY_SWALLOW,
                  PURPOSE_MATERIALISE, named);
    if (!batch) {
        static const uint8_t sync[] = {'S', 0, 0, 0, 4};
        gather_copy(&client->router->to_server, sync, sizeof(sync));
        server_expect(server, REPLY_SYNC, REPLY_SWALLOW, PURPOSE_MATERIALISE, NULL);
    }
    named->materialised = true;
    named->referred = true;
    server->sql_prepared++;
    server->pins |= PIN_SQL_PREPARED;
    server->dirt |= DIRT_STATE;
}

enum step statement_sql(struct client *client, const char *text, size_t length)
{
    struct server *server = client->server;
    char name[256] = "";
    enum sql_use use = read_sql(text, length, name, sizeof(name));
    if (use == SQL_NOTHING || !renames(server))
        return STEP_MORE;
    /* Whether what was sent before has failed decides whether this is executed, and with which names. */
    if (server->replies.count > 0 &&
        (server->pipeline == PIPELINE_BATCH || server->names_in_doubt || server->status == 'E'))
        return hold_until_answered(client);
    if (server->status == 'E')
        return STEP_MORE;
    if (use != SQL_USES)
        server->names_in_doubt = true;
    struct client_statement *named = find_name(client, name, strlen(name));
    client->deallocating = use == SQL_DEALLOCATES ? named : NULL;
    if (named != NULL && !named->materialised)
        materialise(client, named);
    return STEP_MORE;
}

void statement_on_deallocate(struct server *server)
{
    struct client *client = server->client;
    if (client != NULL && client->deallocating != NULL) {
        remove_name(client, client->deallocating);
        client->deallocating = NULL;
    }
    if (server->sql_prepared > 0 && --server->sql_prepared == 0)
        server->pins &= (uint8_t)~PIN_SQL_PREPARED;
}

/* Only what was answered before is gone: Parses later in the same batch survive. */
void statement_on_deallocate_all(struct server *server)
{
    struct prepared *copy, *next_copy;
    HASH_ITER(hh, server->prepared, copy, next_copy) {
        if (copy->confirmed)
            retire_copy(server, copy);
    }
    server->sql_prepared = 0;
    server->pins &= (uint8_t)~PIN_SQL_PREPARED;
    struct client *client = server->client;
    if (client == NULL)
        return;
    client->deallocating = NULL;
    struct client_statement *named, *next_named;
    HASH_ITER(hh, client->statements, named, next_named) {
        if (named->confirmed)
            remove_name(client, named);
    }
}

/* --- ends ------------------------------------------------------------------------------ */

void statement_forget_client(struct client *client)
{
    if (client->server != NULL) {
        struct reply_queue *queue = &client->server->replies;
        for (uint32_t i = 0; i < queue->count; i++) {
            struct reply *reply = reply_at(queue, i);
            if (reply->purpose == PURPOSE_NAMED_CLOSE && reply->subject != NULL)
                free_name(client->router, reply->subject);
            if (reply->purpose == PURPOSE_NAMED_CLOSE || reply->purpose == PURPOSE_SHAPE ||
                reply->purpose == PURPOSE_MATERIALISE)
                reply->subject = NULL;
            if (reply->purpose == PURPOSE_NAMED_PARSE)
                reply->second = NULL;
            if (reply->purpose == PURPOSE_DUPLICATE) {
                free(reply->subject);
                reply->subject = NULL;
                reply->purpose = PURPOSE_CLIENT;
            }
        }
    }
    statement_forget_unnamed(client);
    client->deallocating = NULL;
    struct client_statement *named, *next;
    HASH_ITER(hh, client->statements, named, next) {
        remove_name(client, named);
    }
}

void statement_at_rest(struct server *server)
{
    struct weir_list *link;
    while ((link = weir_list_pop(&server->prepared_dead)) != NULL) {
        struct prepared *copy = weir_container_of(link, struct prepared, link);
        statement_unref(server->router, copy->statement);
        free(copy);
    }
}

void statement_forget_server(struct server *server)
{
    struct prepared *copy, *next;
    HASH_ITER(hh, server->prepared, copy, next) {
        retire_copy(server, copy);
    }
    struct weir_list *link;
    while ((link = weir_list_pop(&server->prepared_unclosed)) != NULL)
        weir_list_push_back(&server->prepared_dead, link);
    statement_at_rest(server);
}
