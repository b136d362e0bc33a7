/* From the server to its client: every message is matched with the head of the queue of expected
 * replies, which says whether it is passed on, swallowed or changed. Rows are passed by length. */
#include <stdlib.h>
#include <string.h>

#include "login.h"
#include "router.h"
#include "state.h"
#include "statement.h"
#include "view.h"

/* Messages other than rows are held whole, up to this. */
#define WHOLE_MAX (64u * 1024 * 1024)
/* A client whose input was paused for too many replies goes on when so few are left. */
#define REPLIES_RESUME     8192
#define SERVER_MESSAGE_MAX 0x7fffffffu

static size_t smaller(size_t left, size_t right)
{
    return left < right ? left : right;
}

void server_expect(struct server *server, enum reply_kind kind, enum reply_action action,
                   enum reply_purpose purpose, void *subject)
{
    if (server->replies.count == 0) {
        server->query_at = server->router->loop->now;
        if (server->began_at == 0)
            server->began_at = server->query_at;
    }
    struct reply *reply = reply_push(&server->replies);
    reply->kind = (uint8_t)kind;
    reply->action = (uint8_t)action;
    reply->purpose = (uint8_t)purpose;
    reply->subject = subject;
    reply->second = NULL;
    reply->copy_ended = 0;
}

static enum step broken(struct server *server, const char *what, char type)
{
    struct weir_log_who who;
    char peer[128];
    router_who_server(server, &who, peer, sizeof(peer));
    weir_log_error(&who, "protocol", "%s: message type '%c' (%d)", what, type >= ' ' ? type : '?',
                   type);
    gather_flush(&server->router->to_client);
    binding_lose_server(server, WEIR_REASON_SERVER_PROTOCOL);
    return STEP_GONE;
}

static inline void forward(struct server *server, const uint8_t *message, size_t length)
{
    gather_pass(&server->router->to_client, message, length);
}

static bool tag_is(const uint8_t *body, size_t length, const char *tag)
{
    size_t size = strlen(tag) + 1;
    return length == size && memcmp(body, tag, size) == 0;
}

/* SET LOCAL has the same tag, and ends with the transaction: the text tells, where it is known. */
static void mind_set(struct server *server)
{
    if (server->sets || server->unread || !statement_is_renamed(server))
        server->dirt |= DIRT_SETTINGS;
    if (server->unread)
        custom_keep_connection(server);
}

/* Command tags that tell of session state. They only decide when to ask or to keep. */
static void mind_tag(struct server *server, const uint8_t *body, size_t length)
{
    static const struct {
        const char *tag;
        uint8_t dirt;
    } asks[] = {
        {"RESET", DIRT_SETTINGS | DIRT_RESET}, {"DECLARE CURSOR", DIRT_SETTINGS},
        {"CLOSE CURSOR", DIRT_SETTINGS},       {"CLOSE CURSOR ALL", DIRT_SETTINGS},
        {"CREATE TABLE", DIRT_SETTINGS},       {"CREATE VIEW", DIRT_SETTINGS},
        {"CREATE SEQUENCE", DIRT_SETTINGS},    {"DROP TABLE", DIRT_SETTINGS},
        {"DISCARD TEMP", DIRT_SETTINGS},       {"DISCARD ALL", DIRT_SETTINGS | DIRT_RESET},
    };
    /* The tags of ordinary work are told apart at once. */
    if (body[0] == 'I' || (body[0] == 'C' && length > 5 && memcmp(body, "COPY ", 5) == 0) ||
        (body[0] == 'M' && length > 6 && memcmp(body, "MERGE ", 6) == 0)) {
        sequences_taken(server);
        return;
    }
    if (body[0] == 'B' ||
        (length > 6 && (memcmp(body, "SELECT", 6) == 0 || memcmp(body, "UPDATE", 6) == 0 ||
                        memcmp(body, "DELETE", 6) == 0)))
        return;
    for (size_t i = 0; server->resets == 0 && i < sizeof(asks) / sizeof(asks[0]); i++)
        if (tag_is(body, length, asks[i].tag))
            server->dirt |= asks[i].dirt;
    if (tag_is(body, length, "SET"))
        mind_set(server);
    if (body[length - 1] == '\0')
        effects_mind_ddl(server, (const char *)body);
    bool listens = tag_is(body, length, "LISTEN");
    if ((listens || tag_is(body, length, "UNLISTEN")) && server->resets == 0 &&
        !handover_asks(server))
        server->dirt |= DIRT_SETTINGS;
    if (tag_is(body, length, "PREPARE")) {
        server->sql_prepared++;
        pins_set(server, server->pins | PIN_SQL_PREPARED);
        server->dirt |= DIRT_STATE;
    } else if (listens) {
        pins_set(server, server->pins | PIN_LISTEN);
        server->dirt |= DIRT_STATE;
    } else if (tag_is(body, length, "LOAD")) {
        pins_set(server, server->pins | PIN_LOADED);
        server->dirt |= DIRT_STATE;
    } else if (tag_is(body, length, "DISCARD SEQUENCES")) {
        sequences_discarded(server);
    } else if (tag_is(body, length, "DEALLOCATE")) {
        statement_on_deallocate(server);
    } else if (tag_is(body, length, "DEALLOCATE ALL")) {
        statement_on_deallocate_all(server);
    } else if (tag_is(body, length, "DISCARD ALL")) {
        statement_on_deallocate_all(server);
        sequences_discarded(server);
        pins_set(server, server->pins & PINS_LASTING);
        if (server->pins == 0)
            server->dirt &= (uint8_t)~DIRT_STATE;
    } else if (server->pins & (PIN_TEMPORARY | PIN_HELD_CURSOR) &&
               (tag_is(body, length, "COMMIT") || tag_is(body, length, "ROLLBACK"))) {
        server->dirt |= DIRT_SETTINGS;
    }
}

/* Pops the head when it is of `kind`; what was asked for on the client's behalf is not passed on.
 */
static enum step complete(struct server *server, enum reply_kind kind, const uint8_t *message,
                          uint32_t total)
{
    struct reply *head = reply_head(&server->replies);
    if (head == NULL || head->kind != kind)
        return broken(server, "reply without a question", (char)message[0]);
    struct reply done = *head;
    reply_pop(&server->replies);
    if (done.action == REPLY_FORWARD)
        forward(server, message, total);
    if (done.purpose != PURPOSE_CLIENT)
        statement_on_success(server, &done);
    return STEP_MORE;
}

static enum step take_description(struct server *server, const uint8_t *message, uint32_t total)
{
    struct reply *head = reply_head(&server->replies);
    const uint8_t *body = message + WEIR_WIRE_HEADER;
    size_t length = total - WEIR_WIRE_HEADER;
    if (head == NULL)
        return broken(server, "reply without a question", (char)message[0]);
    if (head->kind == REPLY_QUERY || head->kind == REPLY_EXECUTE) {
        if (head->action == REPLY_FORWARD)
            forward(server, message, total);
        return STEP_MORE;
    }
    bool rows = message[0] == 'T';
    if (head->kind != REPLY_DESCRIBE_STATEMENT) {
        if (head->purpose == PURPOSE_PORTAL_SHAPE) {
            unnamed_learn_columns(head->subject, body, rows ? length : 0);
            head->purpose = PURPOSE_CLIENT;
        }
        return complete(server, REPLY_DESCRIBE_PORTAL, message, total);
    }
    if (message[0] == 't') {
        server->parameters = shape_of_parameters(body, length);
        if (head->action == REPLY_FORWARD)
            forward(server, message, total);
        return STEP_MORE;
    }
    struct reply done = *head;
    enum step step = complete(server, REPLY_DESCRIBE_STATEMENT, message, total);
    if (done.purpose != PURPOSE_CLIENT)
        statement_on_description(server, &done, body, rows ? length : 0);
    return step;
}

static enum step take_command_complete(struct server *server, const uint8_t *message,
                                       uint32_t total)
{
    struct reply *head = reply_head(&server->replies);
    if (head == NULL)
        return broken(server, "reply without a question", (char)message[0]);
    /* What the client asked for counts also when it has gone and nobody hears the answer. */
    if (head->purpose == PURPOSE_CLIENT && message[0] == 'C' && total > WEIR_WIRE_HEADER + 1)
        mind_tag(server, message + WEIR_WIRE_HEADER, total - WEIR_WIRE_HEADER);
    if (head->action == REPLY_FORWARD)
        forward(server, message, total);
    if (head->kind == REPLY_QUERY)
        return STEP_MORE;
    if (head->kind != REPLY_EXECUTE)
        return broken(server, "reply without a question", (char)message[0]);
    server->copy = COPY_NONE;
    reply_pop(&server->replies);
    return STEP_MORE;
}

static void wake_client(struct server *server)
{
    struct client *client = server->client;
    if (client == NULL)
        return;
    if (client->base.state == WEIR_CLIENT_HELD)
        weir_client_set_state(&client->base, WEIR_CLIENT_ACTIVE);
    weir_loop_defer(server->router->loop, &client->resume);
}

/* The transaction had ended before its client was held: when the connection goes back now, what the
 * client has sent since waits its turn. */
static void after_learned(struct server *server)
{
    struct client *client = server->client;
    bool stays = server->pins != 0 || server->destination->settings.pool_mode == WEIR_POOL_SESSION;
    if (client == NULL || client->base.state != WEIR_CLIENT_HELD ||
        (stays && !handover_is_due(server))) {
        wake_client(server);
        return;
    }
    weir_client_set_state(&client->base, WEIR_CLIENT_ACTIVE);
    client_relay_has_own_settings(client);
}

/* Syncs that were sent before the client knew that its command was a COPY are ignored by the server,
 * which reads them as part of the copy data stream. It may have ended the data already, too. */
static void forget_ignored_syncs(struct server *server)
{
    struct reply saved = *reply_head(&server->replies);
    bool ended = saved.copy_ended != 0;
    while (!ended && server->replies.count > 1 &&
           reply_at(&server->replies, 1)->kind == REPLY_SYNC) {
        ended = reply_at(&server->replies, 1)->copy_ended != 0;
        reply_pop(&server->replies);
        *reply_head(&server->replies) = saved;
        if (saved.kind == REPLY_EXECUTE)
            server->pipeline = PIPELINE_BATCH;
    }
    if (ended)
        server->copy = COPY_IN_ENDED;
}

static enum step take_copy_begin(struct server *server, const uint8_t *message, uint32_t total)
{
    struct reply *head = reply_head(&server->replies);
    if (head == NULL || (head->kind != REPLY_QUERY && head->kind != REPLY_EXECUTE))
        return broken(server, "COPY without a question", (char)message[0]);
    server->copy = message[0] == 'G' ? COPY_IN : message[0] == 'H' ? COPY_OUT : COPY_BOTH;
    if (server->copy == COPY_IN) {
        forget_ignored_syncs(server);
        wake_client(server);
    }
    head = reply_head(&server->replies);
    if (head->action == REPLY_FORWARD)
        forward(server, message, total);
    if (server->phase == SERVER_SETTLING)
        settling_go_on(server);
    return server->phase == SERVER_CLOSED ? STEP_GONE : STEP_MORE;
}

/* --- errors ---------------------------------------------------------------------------- */

static bool is_fatal(const struct weir_error_fields *fields)
{
    const char *severity = fields->severity_raw != NULL ? fields->severity_raw : fields->severity;
    return severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

/* After an error the server skips to Sync: whatever was asked before it gets no answer. Newest
 * first, so that what later messages undid of earlier ones comes back in order. */
static void drop_to_sync(struct server *server)
{
    struct reply_queue *queue = &server->replies;
    uint32_t dropped = 0;
    while (dropped < queue->count && reply_at(queue, dropped)->kind != REPLY_SYNC)
        dropped++;
    for (uint32_t i = dropped; i > 0; i--)
        statement_on_dropped(server, reply_at(queue, i - 1));
    for (uint32_t i = 0; i < dropped; i++)
        reply_pop(queue);
    if (queue->count == 0)
        server->pipeline = PIPELINE_SKIPPING;
}

/* Its client has nothing on the connection, which would go to others next. */
static bool is_at_boundary(const struct server *server)
{
    const struct client *client = server->client;
    return client != NULL && binding_is_unconcerned(server, client);
}

static enum step take_error(struct server *server, const uint8_t *message, uint32_t total)
{
    struct weir_error_fields fields = {0};
    weir_error_parse(message + WEIR_WIRE_HEADER, total - WEIR_WIRE_HEADER, &fields);
    struct reply *head = reply_head(&server->replies);
    bool fatal = is_fatal(&fields);
    if (head == NULL && !fatal)
        return broken(server, "error without a question", 'E');
    if (server->phase == SERVER_IDLE || (head == NULL && is_at_boundary(server))) {
        /* Before its end of file is here somebody would still be given it, or use it. */
        gather_flush(&server->router->to_client);
        binding_lose_server(server, WEIR_REASON_SERVER_SAID_GOODBYE);
        return STEP_GONE;
    }
    if (fatal)
        server->farewell = true;
    if (head == NULL || (fatal && server->client != NULL)) {
        if (server->client != NULL)
            forward(server, message, total);
        return STEP_MORE;
    }
    server->copy = COPY_NONE;
    if (head->action == REPLY_SWALLOW) {
        weir_buffer_clear(&server->trouble);
        if (!weir_buffer_append(&server->trouble, message + WEIR_WIRE_HEADER,
                                total - WEIR_WIRE_HEADER))
            return broken(server, "out of memory", 'E');
    } else {
        server->unseen.failed = true;
        if (server->resets != 0)
            server->dirt |= DIRT_SETTINGS; /* some of it may have been done all the same */
        server->resets = 0;
        server_error_forward(server, head, &fields, message, total);
    }
    if (head->kind != REPLY_QUERY && head->kind != REPLY_FUNCTION && head->kind != REPLY_SYNC)
        drop_to_sync(server);
    return STEP_MORE;
}

/* --- ReadyForQuery --------------------------------------------------------------------- */

static void count_query(struct server *server)
{
    server->answered++;
    server->destination->counters.queries++;
    weir_usec limit = server->destination->settings.log_slow_queries;
    if (__builtin_expect(limit > 0, 0) && server->idle_at - server->query_at >= limit)
        report_slow_query(server);
}

static enum step take_ready(struct server *server, const uint8_t *message, uint32_t total)
{
    struct reply *head = reply_head(&server->replies);
    if (total != WEIR_WIRE_HEADER + 1 || head == NULL ||
        (head->kind != REPLY_QUERY && head->kind != REPLY_SYNC && head->kind != REPLY_FUNCTION))
        return broken(server, "ReadyForQuery out of order", 'Z');
    struct reply done = *head;
    reply_pop(&server->replies);
    server->status = (char)message[WEIR_WIRE_HEADER];
    server->idle_at = server->router->loop->now;
    server->busy_usec += server->idle_at - server->query_at;
    server->copy = COPY_NONE;
    server->timed_out = false;
    if (done.action == REPLY_FORWARD) {
        if (__builtin_expect(server->handover != NULL, 0) && server->client != NULL &&
            handover_withholds(server))
            server->client->ready_withheld = true;
        else
            forward(server, message, total);
        if (__builtin_expect(server->resets != 0, 0))
            settings_on_reset(server);
        count_query(server);
        if (server->replies.count > 0)
            server->query_at = server->idle_at;
        if (server->client != NULL && server->client->input_blocked)
            weir_loop_defer(server->router->loop, &server->client->resume);
        return STEP_MORE;
    }
    if (server->replies.count > 0)
        server->query_at = server->idle_at;
    switch (done.purpose) {
    case PURPOSE_SETTINGS:
        settings_on_synced(server);
        break;
    case PURPOSE_LISTEN:
        handover_on_answer(server);
        break;
    case PURPOSE_LASTVAL:
        sequences_on_answer(server);
        break;
    case PURPOSE_LEARN:
        settings_on_learned(server);
        if (!server->unknown)
            after_learned(server);
        break;
    default:
        break;
    }
    return STEP_MORE;
}

/* --- what may come at any time --------------------------------------------------------- */

static bool is_ours(const struct server *server)
{
    const struct reply *head = reply_head(&server->replies);
    return server->phase != SERVER_BOUND || (head != NULL && head->action == REPLY_SWALLOW);
}

static bool settings_are_changed(const struct server *server)
{
    return server->settings->count > 0 && server->settings != server->initial;
}

static enum step take_parameter(struct server *server, const uint8_t *message, uint32_t total)
{
    struct weir_reader reader;
    weir_reader_init(&reader, message + WEIR_WIRE_HEADER, total - WEIR_WIRE_HEADER);
    const char *name = weir_read_string(&reader);
    const char *value = weir_read_string(&reader);
    if (reader.failed)
        return broken(server, "malformed ParameterStatus", 'S');
    weir_parameters_set(&server->base.parameters, name, value);
    if (!is_ours(server)) {
        settings_on_reported(server, name, value);
        forward(server, message, total);
    } else if (server->tell_parameters) {
        forward(server, message, total);
    } else if (server->phase == SERVER_SETTLING && weir_parameter_is_setting(name)) {
        server->dirt |= DIRT_SETTINGS;
    } else if (server->phase == SERVER_IDLE && !settings_are_changed(server)) {
        /* The administrator changed a default of the server. */
        weir_parameters_set(&server->destination->parameters, name, value);
        admission_forget_greetings(server->destination);
    }
    return STEP_MORE;
}

/* A notification. A client knows its own by the process id, which is pgweir's where its BackendKeyData
 * said so. */
static enum step take_notification(struct server *server, const uint8_t *message, uint32_t total)
{
    enum { HEAD = WEIR_WIRE_HEADER + 4 };
    if (total < HEAD + 2)
        return broken(server, "malformed NotificationResponse", 'A');
    /* Also while a question of ours is being answered: nobody will say it again. */
    const struct client *client = server->client;
    if (server->phase != SERVER_BOUND || client == NULL ||
        client->base.state == WEIR_CLIENT_GREETING)
        return STEP_MORE;
    if (server->handover != NULL && handover_hears(server, message, total))
        return STEP_MORE;
    if (weir_get_u32(message + WEIR_WIRE_HEADER) != server->base.pid) {
        forward(server, message, total);
        return STEP_MORE;
    }
    uint8_t *head = gather_room(&server->router->to_client, HEAD);
    memcpy(head, message, WEIR_WIRE_HEADER);
    weir_put_u32(head + WEIR_WIRE_HEADER, client->base.cancel_pid);
    gather_commit(&server->router->to_client, HEAD);
    forward(server, message + HEAD, total - HEAD);
    return STEP_MORE;
}

static enum step take(struct server *server, const uint8_t *message, uint32_t total)
{
    switch (message[0]) {
    case 'C':
    case 'I':
    case 's':
        return take_command_complete(server, message, total);
    case 'Z':
        return take_ready(server, message, total);
    case 'T':
    case 't':
    case 'n':
        return take_description(server, message, total);
    case '1':
        return complete(server, REPLY_PARSE, message, total);
    case '2':
        return complete(server, REPLY_BIND, message, total);
    case '3':
        return complete(server, REPLY_CLOSE, message, total);
    case 'E':
        return take_error(server, message, total);
    case 'G':
    case 'H':
    case 'W':
        return take_copy_begin(server, message, total);
    case 'c':
        if (server->copy == COPY_OUT)
            server->copy = COPY_NONE;
        if (!is_ours(server))
            forward(server, message, total);
        return STEP_MORE;
    case 'S':
        return take_parameter(server, message, total);
    case 'A':
        return take_notification(server, message, total);
    case 'N':
        if (!is_ours(server))
            forward(server, message, total);
        return STEP_MORE;
    default:
        return broken(server, "unexpected message", (char)message[0]);
    }
}

/* Rows, copy data and function results: passed by length, never held. */
static enum step take_bulk(struct server *server, const uint8_t *message, size_t have,
                           uint32_t total, size_t *taken)
{
    const struct reply *head = reply_head(&server->replies);
    if (head == NULL)
        return broken(server, "row without a question", (char)message[0]);
    if (head->purpose == PURPOSE_LEARN) {
        if (have < total && total <= WHOLE_MAX)
            return STEP_WAIT;
        settings_on_row(server, message + WEIR_WIRE_HEADER,
                        smaller(have, total) - WEIR_WIRE_HEADER);
    } else if (head->purpose == PURPOSE_LISTEN) {
        if (have < total && total <= WHOLE_MAX)
            return STEP_WAIT;
        handover_on_row(server, message + WEIR_WIRE_HEADER,
                        smaller(have, total) - WEIR_WIRE_HEADER);
    }
    if (head->purpose == PURPOSE_SETTINGS) {
        if (have < total && total <= WHOLE_MAX)
            return STEP_WAIT;
        settings_on_applied(server, message + WEIR_WIRE_HEADER,
                            smaller(have, total) - WEIR_WIRE_HEADER);
    }
    size_t part = smaller(have, total);
    server->body_sink = head->action == REPLY_FORWARD ? BODY_PASS : BODY_DROP;
    if (server->body_sink == BODY_PASS)
        forward(server, message, part);
    server->body_left = (uint32_t)(total - part);
    *taken = part;
    return STEP_MORE;
}

/* So far ahead that the bytes are near when the walk gets there. */
#define ROWS_AHEAD 1024

/* The end of the whole rows at `at`, which all go to the client unseen: the inner loop of every
 * large result. Where the next row begins is known only when the length of this one has been read,
 * so the processor waits for memory at each row. Rows often have the length of the one before them:
 * then that length, which is in a register, is taken instead, and the comparison is checked by branch
 * prediction while the walk goes on. */
static const uint8_t *skip_rows(const uint8_t *at, const uint8_t *end)
{
    uint32_t usual = 0;
    while (end - at >= WEIR_WIRE_HEADER && (at[0] == 'D' || at[0] == 'd')) {
        __builtin_prefetch(at + ROWS_AHEAD);
        uint32_t size = weir_get_u32(at + 1);
        if (size < 4 || size >= (size_t)(end - at))
            break;
        if (__builtin_expect(size == usual, 1)) {
            /* Keeps the compiler from putting `size` back in, which it knows to be equal. */
            __asm__("" : "+r"(usual));
            at += (size_t)usual + 1;
        } else {
            at += (size_t)size + 1;
            usual = size;
        }
    }
    return at;
}

/* --- the walk -------------------------------------------------------------------------- */

static enum step walk(struct server *server, const uint8_t **position, const uint8_t *end)
{
    const uint8_t *at = *position;
    enum step step = STEP_MORE;
    while (step == STEP_MORE && at < end) {
        size_t have = (size_t)(end - at), taken = 0;
        if (server->body_left > 0) {
            taken = smaller(server->body_left, have);
            if (server->body_sink == BODY_PASS)
                forward(server, at, taken);
            server->body_left -= (uint32_t)taken;
            at += taken;
            continue;
        }
        if (have < WEIR_WIRE_HEADER)
            break;
        uint32_t size = weir_get_u32(at + 1);
        if (size < 4 || size >= SERVER_MESSAGE_MAX)
            return broken(server, "message of impossible length", (char)at[0]);
        uint32_t total = size + 1;
        if (at[0] == 'D' || at[0] == 'd' || at[0] == 'V') {
            const struct reply *head = reply_head(&server->replies);
            const uint8_t *rows =
                head != NULL && head->action == REPLY_FORWARD ? skip_rows(at, end) : at;
            if (rows > at) {
                forward(server, at, (size_t)(rows - at));
                at = rows;
                continue;
            }
            step = take_bulk(server, at, have, total, &taken);
        } else if (have < total) {
            if (total > WHOLE_MAX)
                return broken(server, "message of impossible length", (char)at[0]);
            break;
        } else {
            step = take(server, at, total);
            taken = total;
        }
        if (step == STEP_GONE)
            return step;
        if (step == STEP_MORE)
            at += taken;
    }
    *position = at;
    return STEP_WAIT;
}

/* What one read brought has been dealt with: is the server free, or due for its next step? */
void server_at_rest(struct server *server)
{
    if (server->replies.count > 0)
        return;
    server->names_in_doubt = false;
    switch (server->phase) {
    case SERVER_BOUND:
        if (server->unknown && server->client != NULL) {
            binding_end_client(server->client, WEIR_REASON_SETTINGS_UNKNOWN, NULL);
            break;
        }
        if (server->client != NULL && server->client->base.state == WEIR_CLIENT_HELD &&
            server->cancel == NULL && !handover_is_busy(server))
            wake_client(server); /* everything it could have waited for has been answered */
        if (binding_is_over(server))
            binding_release(server);
        else if (server->destination->settings.pool_mode == WEIR_POOL_STATEMENT &&
                 server->status == 'T' && server->client != NULL)
            binding_end_client(server->client, WEIR_REASON_STATEMENT_MODE, NULL);
        if (server->client != NULL && server->client->ready_withheld &&
            server->replies.count == 0 && !handover_is_busy(server))
            handover_tell_ready(server->client);
        break;
    case SERVER_LEARNING:
        destination_learned(server);
        break;
    case SERVER_SETTLING:
        settling_go_on(server);
        break;
    case SERVER_PINGING:
        if (weir_buffer_length(&server->trouble) > 0) {
            binding_lose_server(server, WEIR_REASON_PING_FAILED);
            break;
        }
        server->phase = SERVER_IDLE;
        server->deadline = 0;
        weir_pool_checked(&server->slot, true, server->router->loop->now);
        router_decide_later(server->router);
        break;
    case SERVER_IDLE:
        if (server->farewell)
            binding_lose_server(server, WEIR_REASON_SERVER_SAID_GOODBYE);
        break;
    default:
        break;
    }
}

static void mind_pressure(struct server *server)
{
    struct client *client = server->client;
    if (client != NULL && client->input_blocked && server->replies.count < REPLIES_RESUME)
        weir_loop_defer(server->router->loop, &client->resume);
    if (client != NULL &&
        weir_stream_unsent(&client->base.stream) > server->router->conf->client_memory_limit) {
        weir_stream_pause(&server->base.stream);
        server->paused_at = server->router->loop->now;
    }
}

void server_resume_slowly(struct server *server)
{
    if (server->paused_at > 0)
        server->client_usec += server->router->loop->now - server->paused_at;
    server->paused_at = 0;
    weir_stream_resume(&server->base.stream);
}

static void on_readable(struct server *server)
{
    struct weir_router *router = server->router;
    uint8_t *bytes;
    size_t length;
    enum weir_io io = weir_stream_receive(&server->base.stream, &bytes, &length);
    if (io == WEIR_IO_WAIT)
        return;
    if (__builtin_expect(io != WEIR_IO_OK, 0)) {
        binding_lose_server(server, server->farewell ? WEIR_REASON_SERVER_SAID_GOODBYE
                                                     : WEIR_REASON_SERVER_LOST);
        return;
    }
    if (server->phase == SERVER_CLOSING) {
        /* Nobody hears it any more. */
        if (!weir_stream_keep(&server->base.stream, bytes + length, 0))
            binding_lose_server(server, WEIR_REASON_SERVER_LOST);
        return;
    }
    server->destination->counters.bytes_from_servers += length;
    struct client *client = server->client;
    gather_begin(&router->to_client, client != NULL ? &client->base.stream : NULL);
    const uint8_t *at = bytes, *end = bytes + length;
    if (walk(server, &at, end) == STEP_GONE)
        return;
    bool sent = gather_flush(&router->to_client);
    if (!weir_stream_keep(&server->base.stream, at, (size_t)(end - at))) {
        binding_lose_server(server, WEIR_REASON_MEMORY_LIMIT);
        return;
    }
    if (!sent && server->client != NULL) {
        binding_end_client(server->client, WEIR_REASON_CLIENT_RESET, NULL);
        return;
    }
    mind_pressure(server);
    server_at_rest(server);
}

void server_relay_event(struct weir_stream *stream, unsigned events)
{
    struct server *server = weir_container_of(stream, struct server, base.stream);
    if (events & WEIR_STREAM_DRAINED && server->client != NULL && server->client->input_blocked)
        weir_loop_defer(server->router->loop, &server->client->resume);
    /* A failed write is not the end yet: what the server said before it went may still be read. */
    if (events & (WEIR_STREAM_READABLE | WEIR_STREAM_FAILED))
        on_readable(server);
}
