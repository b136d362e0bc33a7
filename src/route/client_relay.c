/* From the client to the server: which server, what must change on the way, and which replies are
 * due. A message takes effect only when all of it that matters is there; the rest of its body is
 * passed by length without being looked at. */
#include <string.h>

#include "router.h"
#include "sql_text.h"
#include "state.h"
#include "statement.h"

/* So much of a query's text is looked at to see whether it names a prepared statement. */
#define QUERY_PREFIX 256
/* Messages up to this size reach the server whole or not at all: a client that vanishes in the middle
 * of one does not cost the server connection. */
#define WHOLE_MESSAGE 16384
/* A client that queues more replies than this has its input paused until some have come. */
#define REPLIES_PAUSE 16384

static size_t smaller(size_t left, size_t right)
{
    return left < right ? left : right;
}

/* The message goes to the server as it is; what has not come yet follows by length. */
static size_t pass(struct client *client, const uint8_t *message, size_t have, uint32_t total)
{
    size_t part = smaller(have, total);
    gather_pass(&client->router->to_server, message, part);
    client->body_left = (uint32_t)(total - part);
    client->body_sink = BODY_PASS;
    return part;
}

static size_t drop(struct client *client, size_t have, uint32_t total)
{
    size_t part = smaller(have, total);
    client->body_left = (uint32_t)(total - part);
    client->body_sink = BODY_DROP;
    return part;
}

static inline enum step need_server(struct client *client)
{
    if (__builtin_expect(client->base.state == WEIR_CLIENT_ACTIVE, 1))
        return STEP_MORE;
    if (client->base.state == WEIR_CLIENT_IDLE)
        return binding_want(client);
    return STEP_WAIT;
}

static enum step protocol_error(struct client *client, const char *text)
{
    gather_flush(&client->router->to_server);
    binding_end_client(client, WEIR_REASON_PROTOCOL, text);
    return STEP_GONE;
}

static enum step answer_refused(struct client *client)
{
    static const uint8_t ready[] = {'Z', 0, 0, 0, 5, 'I'};
    client->intake = INTAKE_NORMAL;
    if (weir_stream_send_bytes(&client->base.stream, ready, sizeof(ready)))
        return STEP_MORE;
    binding_end_client(client, WEIR_REASON_CLIENT_RESET, NULL);
    return STEP_GONE;
}

/* The batch was refused: everything up to Sync is dropped, as PostgreSQL does after an error. A
 * refused simple query or function call is a batch of its own. */
static enum step take_refused(struct client *client, const uint8_t *message, size_t have,
                              uint32_t total, size_t *taken)
{
    char type = (char)message[0];
    bool alone = client->intake == INTAKE_REFUSED && (type == 'Q' || type == 'F');
    client->intake = INTAKE_SKIP_TO_SYNC;
    *taken = drop(client, have, total);
    return alone || type == 'S' ? answer_refused(client) : STEP_MORE;
}

static bool may_name_statement(const uint8_t *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        switch (text[i]) {
        case ' ':
        case '\n':
        case '\t':
        case '\r':
            break;
        case 'c':
        case 'C':
        case 'e':
        case 'E':
        case 'd':
        case 'D':
        case 'p':
        case 'P':
        case '-':
        case '/':
            return true;
        default:
            return false;
        }
    }
    return false;
}

/* Ordinary work is told apart at once: a SELECT that resets unlocks advisory locks. */
static inline bool begins_like_reset(const uint8_t *text, size_t length, unsigned mentions)
{
    if (length == 0)
        return false;
    switch (text[0] | 0x20) {
    case 's':
        return (mentions & SQL_STATE) != 0;
    case 'a':
    case 'c':
    case 'd':
    case 'r':
    case 'u':
        return true;
    default:
        return false;
    }
}

/* Whether what a text that resets makes of the session can be told: nothing else of the client is under
 * way, but for channels that it is given. */
static bool may_reset(const struct client *client)
{
    const struct server *server = client->server;
    uint32_t given =
        server->replies.count == 1 && reply_head(&server->replies)->purpose == PURPOSE_LISTEN;
    return server->replies.count == given && server->status == 'I' &&
           server->pipeline == PIPELINE_IDLE && (server->dirt & DIRT_ASK) == 0 &&
           server->destination->settings.pool_mode != WEIR_POOL_SESSION &&
           !(server->pins & PIN_REPLICATION);
}

static enum step take_query(struct client *client, const uint8_t *message, size_t have,
                            uint32_t total, size_t *taken)
{
    struct server *server = client->server;
    if (have < total && have < QUERY_PREFIX)
        return STEP_WAIT;
    const uint8_t *text = message + WEIR_WIRE_HEADER;
    size_t length = smaller(have, total) - WEIR_WIRE_HEADER;
    if (__builtin_expect(server->destination->hub != NULL, 0) &&
        !handover_mind(client, text, length))
        return STEP_WAIT;
    if (may_name_statement(text, length) &&
        statement_sql(client, (const char *)text, length) != STEP_MORE)
        return STEP_WAIT;
    if (client->unnamed != NULL)
        statement_forget_unnamed(client);
    server->unnamed_version = 0;
    /* Without its terminator, which a broken client may have left out altogether. */
    length -= length > 0 && have >= total;
    unsigned mentions = sql_mentions(text, length);
    running_note(server, text, length);
    server->resets = 0;
    if (have >= total && begins_like_reset(text, length, mentions) && may_reset(client))
        server->resets = (uint8_t)sql_resets(text, length);
    if (server->resets == 0) {
        if (__builtin_expect(mentions != 0, 0))
            custom_mind(server, text, length, mentions, NULL);
        if (!effects_mind(server, sql_fingerprint(text, length)))
            custom_suspect(server, text, length, NULL);
    }
    if (__builtin_expect(have < total, 0))
        server->unread = true;
    server->pipeline = PIPELINE_IDLE;
    server_expect(server, REPLY_QUERY, REPLY_FORWARD, PURPOSE_CLIENT, NULL);
    *taken = pass(client, message, have, total);
    return STEP_MORE;
}

/* Parse and Bind: whole where the name decides, else by length. */
static enum step take_named(struct client *client, const uint8_t *message, size_t have,
                            uint32_t total, size_t *taken)
{
    struct server *server = client->server;
    char type = (char)message[0];
    if (server->pipeline == PIPELINE_SKIPPING) {
        /* The server skips it unseen. */
        *taken = pass(client, message, have, total);
        return STEP_MORE;
    }
    enum step step;
    if (__builtin_expect(server->destination->hub != NULL, 0) && (type == 'P' || type == 'B') &&
        !handover_mind_message(client, message, have, total))
        return STEP_WAIT;
    switch (type) {
    case 'P':
        if (have < total)
            return STEP_WAIT;
        step = statement_parse(client, message, total);
        break;
    case 'B':
        step = statement_bind(client, message, have, total);
        break;
    case 'D':
        if (have < total)
            return STEP_WAIT;
        step = statement_describe(client, message, total);
        break;
    default:
        if (have < total)
            return STEP_WAIT;
        step = statement_close(client, message, total);
        break;
    }
    if (step != STEP_MORE)
        return step;
    server->pipeline = PIPELINE_BATCH;
    *taken = smaller(have, total);
    client->body_left = (uint32_t)(total - *taken);
    client->body_sink = BODY_PASS;
    return STEP_MORE;
}

static enum step take_sync(struct client *client, const uint8_t *message, size_t have,
                           uint32_t total, size_t *taken)
{
    struct server *server = client->server;
    /* In COPY FROM STDIN the server ignores Sync until the data has ended. */
    if (server->copy == COPY_IN) {
        *taken = pass(client, message, have, total);
        return STEP_MORE;
    }
    if (__builtin_expect(client->unnamed_pending, 0))
        unnamed_describe_pending(client);
    *taken = pass(client, message, have, total);
    server->pipeline = PIPELINE_IDLE;
    /* Whether the names of this batch hold is known only when it has been answered. */
    if (server->names_unanswered > 0)
        server->names_in_doubt = true;
    server_expect(server, REPLY_SYNC, REPLY_FORWARD, PURPOSE_CLIENT, NULL);
    return STEP_MORE;
}

/* Copy data without a COPY is ignored, as by PostgreSQL: the client may not have seen yet that its
 * COPY failed. */
static enum step take_copy(struct client *client, const uint8_t *message, size_t have,
                           uint32_t total, size_t *taken)
{
    struct server *server = client->server;
    if (server == NULL || client->base.state != WEIR_CLIENT_ACTIVE) {
        if (client->base.state == WEIR_CLIENT_IDLE) {
            *taken = drop(client, have, total);
            return STEP_MORE;
        }
        return STEP_WAIT;
    }
    if (message[0] != 'd' && server->copy == COPY_IN)
        server->copy = COPY_IN_ENDED;
    else if (message[0] != 'd' && server->replies.count > 0)
        reply_at(&server->replies, server->replies.count - 1)->copy_ended = 1;
    *taken = pass(client, message, have, total);
    return STEP_MORE;
}

static enum step take_flush(struct client *client, const uint8_t *message, size_t have,
                            uint32_t total, size_t *taken)
{
    if (client->base.state == WEIR_CLIENT_IDLE) {
        *taken = drop(client, have, total);
        return STEP_MORE;
    }
    if (client->base.state != WEIR_CLIENT_ACTIVE)
        return STEP_WAIT;
    *taken = pass(client, message, have, total);
    return STEP_MORE;
}

static enum step take_terminate(struct client *client)
{
    /* What came before it in the same segment is still executed. */
    gather_flush(&client->router->to_server);
    binding_end_client(client, WEIR_REASON_CLIENT_TERMINATE, NULL);
    return STEP_GONE;
}

/* set_config can be called by its number, too. */
static void mind_function(struct server *server, const uint8_t *message, size_t have)
{
    enum { SET_CONFIG = 2078 };
    if (have < WEIR_WIRE_HEADER + 4)
        return;
    effects_mind(server, sql_fingerprint(message, WEIR_WIRE_HEADER + 4));
    if (weir_get_u32(message + WEIR_WIRE_HEADER) != SET_CONFIG)
        return;
    server->dirt |= DIRT_SETTINGS;
    custom_keep_connection(server);
}

static enum step take(struct client *client, const uint8_t *message, size_t have, uint32_t total,
                      size_t *taken)
{
    char type = (char)message[0];
    if (__builtin_expect(client->intake != INTAKE_NORMAL, 0) && type != 'X')
        return take_refused(client, message, have, total, taken);
    enum step step = STEP_MORE;
    switch (type) {
    case 'Q':
    case 'P':
    case 'B':
    case 'D':
    case 'C':
    case 'E':
    case 'S':
    case 'F':
        /* Half a message holds no server connection, unless it is too large to be kept here. */
        if (have < total &&
            total <= (client->server == NULL ? client->router->conf->client_memory_limit
                                             : WHOLE_MESSAGE))
            return STEP_WAIT;
        step = need_server(client);
        break;
    case 'd':
    case 'c':
    case 'f':
        return take_copy(client, message, have, total, taken);
    case 'H':
        return take_flush(client, message, have, total, taken);
    case 'X':
        return take_terminate(client);
    default: {
        char text[64];
        snprintf(text, sizeof(text), "invalid frontend message type %d", message[0]);
        return protocol_error(client, text);
    }
    }
    if (step != STEP_MORE)
        return step;
    if (__builtin_expect(client->intake != INTAKE_NORMAL, 0))
        return take_refused(client, message, have, total, taken);
    struct server *server = client->server;
    weir_require(server != NULL);
    if (__builtin_expect(server->copy == COPY_IN, 0) && type != 'S') {
        char text[64];
        snprintf(text, sizeof(text), "unexpected message type 0x%02X during COPY from stdin",
                 message[0]);
        return protocol_error(client, text);
    }
    if (server->replies.count >= REPLIES_PAUSE)
        return STEP_WAIT;
    if (__builtin_expect(server->handover != NULL, 0) && !handover_lets_pass(client))
        return STEP_WAIT;
    if (server->cancel != NULL && server->replies.count == 0) {
        /* The signal may still be on its way: it must not hit what comes now. */
        weir_client_set_state(&client->base, WEIR_CLIENT_HELD);
        return STEP_WAIT;
    }
    if (__builtin_expect(type == 'Q' || type == 'F', 0) && server->pipeline == PIPELINE_BATCH &&
        server->replies.count > 0)
        return statement_hold(client); /* an error in it would make the server skip this, too */
    switch (type) {
    case 'Q':
        if (server->pipeline == PIPELINE_SKIPPING)
            break;
        return take_query(client, message, have, total, taken);
    case 'S':
        return take_sync(client, message, have, total, taken);
    case 'E':
        if (server->pipeline == PIPELINE_SKIPPING)
            break;
        if (__builtin_expect(client->unnamed_pending, 0))
            unnamed_describe_pending(client);
        server->pipeline = PIPELINE_BATCH;
        server_expect(server, REPLY_EXECUTE, REPLY_FORWARD, PURPOSE_CLIENT, NULL);
        break;
    case 'F':
        if (server->pipeline == PIPELINE_SKIPPING)
            break;
        if (server->destination->hub != NULL &&
            !handover_mind_message(client, message, have, total))
            return STEP_WAIT;
        mind_function(server, message, have);
        server->pipeline = PIPELINE_IDLE;
        server_expect(server, REPLY_FUNCTION, REPLY_FORWARD, PURPOSE_CLIENT, NULL);
        break;
    default:
        return take_named(client, message, have, total, taken);
    }
    *taken = pass(client, message, have, total);
    return STEP_MORE;
}

/* Memory that a client makes us hold is bounded: a client that merely waits is not read any more
 * when it has sent more than its limit, and one whose server does not read waits for it. */
static void mind_pressure(struct client *client, size_t kept)
{
    size_t limit = client->router->conf->client_memory_limit;
    struct server *server = client->server;
    bool waits = client->base.state == WEIR_CLIENT_WAITING ||
                 client->base.state == WEIR_CLIENT_HELD ||
                 client->base.state == WEIR_CLIENT_GREETING;
    bool blocked = (client->router->suspended && client->body_left == 0) ||
                   (waits && kept > limit) || weir_stream_unsent(&client->base.stream) > limit ||
                   (server != NULL && (weir_stream_unsent(&server->base.stream) > limit ||
                                       server->replies.count >= REPLIES_PAUSE));
    if (blocked && !client->input_blocked) {
        client->input_blocked = true;
        weir_stream_pause(&client->base.stream);
    }
}

/* The send failed on a connection that the client got in this very call: nothing was sent, so the
 * whole input can be tried on another connection. */
static enum step retry_elsewhere(struct client *client, const uint8_t *bytes, size_t length)
{
    struct server *server = client->server;
    for (uint32_t i = server->replies.count; i > 0; i--)
        statement_on_dropped(server, reply_at(&server->replies, i - 1));
    server->replies.count = 0;
    client->server = NULL;
    server->client = NULL;
    client->body_left = 0;
    weir_client_set_state(&client->base, WEIR_CLIENT_WAITING);
    client->waiter.affinity = settings_affinity(client);
    weir_pool_requeue(client->destination->pool, &client->waiter, server->bound_at,
                      client->router->loop->now);
    binding_lose_server(server, WEIR_REASON_SERVER_LOST);
    if (weir_stream_keep(&client->base.stream, bytes, length))
        return STEP_WAIT;
    binding_end_client(client, WEIR_REASON_MEMORY_LIMIT, NULL);
    return STEP_GONE;
}

static enum step finish(struct client *client, const uint8_t *bytes, const uint8_t *at,
                        const uint8_t *end, bool fresh)
{
    if (client->server != NULL && !gather_flush(&client->router->to_server)) {
        if (fresh && !client->router->to_server.flushed)
            return retry_elsewhere(client, bytes, (size_t)(end - bytes));
        /* The server's last words, if any, come before the verdict: its end of file is next. */
    }
    if (!weir_stream_keep(&client->base.stream, at, (size_t)(end - at))) {
        binding_end_client(client, WEIR_REASON_MEMORY_LIMIT, NULL);
        return STEP_GONE;
    }
    mind_pressure(client, (size_t)(end - at));
    return STEP_WAIT;
}

/* What is gathered already goes first. */
static enum step relay_after(struct client *client, const uint8_t *bytes, size_t length)
{
    struct weir_router *router = client->router;
    struct gather *out = &router->to_server;
    const uint8_t *at = bytes, *end = bytes + length;
    bool fresh = client->server == NULL && client->body_left == 0;
    enum step step = STEP_MORE;
    while (step == STEP_MORE && at < end) {
        if (client->body_left > 0) {
            size_t part = smaller(client->body_left, (size_t)(end - at));
            if (client->body_sink == BODY_PASS)
                gather_pass(out, at, part);
            client->body_left -= (uint32_t)part;
            at += part;
            continue;
        }
        if (end - at < WEIR_WIRE_HEADER)
            break;
        uint32_t size = weir_get_u32(at + 1);
        if (size < 4)
            return protocol_error(client, "invalid message length");
        if (size > router->conf->max_message_size) {
            gather_flush(out);
            binding_end_client(client, WEIR_REASON_MESSAGE_TOO_LARGE, NULL);
            return STEP_GONE;
        }
        size_t taken = 0;
        step = take(client, at, (size_t)(end - at), size + 1u, &taken);
        at += taken;
    }
    if (step == STEP_GONE)
        return step;
    return finish(client, bytes, at, end, fresh);
}

static enum step relay(struct client *client, const uint8_t *bytes, size_t length)
{
    gather_begin(&client->router->to_server,
                 client->server != NULL ? &client->server->base.stream : NULL);
    return relay_after(client, bytes, length);
}

/* A message body that ended after its transaction did: now the server can go back. */
static void after_relay(struct client *client)
{
    if (client->server != NULL && client->body_left == 0 && binding_is_over(client->server))
        server_at_rest(client->server);
}

/* What is kept of the input ends with Terminate: the client has left properly and what it asked for
 * before is still to be done. */
static bool said_goodbye(struct client *client)
{
    uint8_t *at;
    size_t length;
    weir_stream_unread(&client->base.stream, &at, &length);
    if (length < client->body_left)
        return false;
    at += client->body_left;
    length -= client->body_left;
    while (length >= WEIR_WIRE_HEADER) {
        if (at[0] == 'X')
            return true;
        size_t total = (size_t)weir_get_u32(at + 1) + 1;
        if (total < WEIR_WIRE_HEADER || total > length)
            return false;
        at += total;
        length -= total;
    }
    return false;
}

static void on_end_of_file(struct client *client)
{
    if (said_goodbye(client))
        weir_stream_pause(&client->base.stream); /* Terminate itself ends it, in its turn */
    else
        binding_end_client(client, WEIR_REASON_CLIENT_GONE, NULL);
}

/* The client is about to be resumed in this turn, and something may have to come before what it says
 * now: its settings after a RESET. */
static void keep_for_resume(struct client *client, const uint8_t *bytes, size_t length)
{
    if (!weir_stream_keep(&client->base.stream, bytes, length))
        binding_end_client(client, WEIR_REASON_MEMORY_LIMIT, NULL);
}

static void on_readable(struct client *client)
{
    uint8_t *bytes;
    size_t length;
    enum weir_io io = weir_stream_receive(&client->base.stream, &bytes, &length);
    if (__builtin_expect(io == WEIR_IO_OK, 1)) {
        client->destination->counters.bytes_from_clients += length;
        if (__builtin_expect(weir_list_is_linked(&client->resume.link), 0))
            keep_for_resume(client, bytes, length);
        else if (relay(client, bytes, length) != STEP_GONE)
            after_relay(client);
    } else if (io == WEIR_IO_EOF) {
        on_end_of_file(client);
    } else if (io == WEIR_IO_DEAD) {
        binding_end_client(client, WEIR_REASON_CLIENT_RESET, NULL);
    }
}

/* The client's last output drains; what it says meanwhile is nobody's. */
static void on_ending(struct client *client, unsigned events)
{
    uint8_t *bytes;
    size_t length;
    bool over = (events & WEIR_STREAM_FAILED) != 0;
    if (events & WEIR_STREAM_READABLE) {
        enum weir_io io = weir_stream_receive(&client->base.stream, &bytes, &length);
        if (io == WEIR_IO_OK)
            over |= !weir_stream_keep(&client->base.stream, bytes + length, 0);
        else if (io != WEIR_IO_WAIT)
            over = true;
    }
    if (weir_stream_unsent(&client->base.stream) == 0 && (events & WEIR_STREAM_DRAINED))
        weir_stream_finish(&client->base.stream);
    if (over) {
        weir_client_close(&client->base);
        router_doom_client(client);
    }
}

static void on_drained(struct client *client)
{
    if (client->server != NULL)
        server_resume(client->server);
    if (client->listener != NULL)
        hub_drained(client);
    if (client->input_blocked)
        weir_loop_defer(client->router->loop, &client->resume);
}

void client_relay_event(struct weir_stream *stream, unsigned events)
{
    struct client *client = weir_container_of(stream, struct client, base.stream);
    if (__builtin_expect(client->base.state == WEIR_CLIENT_ENDING, 0)) {
        on_ending(client, events);
        return;
    }
    if (events & WEIR_STREAM_FAILED) {
        binding_end_client(client, WEIR_REASON_CLIENT_RESET, NULL);
        return;
    }
    if (events & WEIR_STREAM_DRAINED)
        on_drained(client);
    if (events & WEIR_STREAM_READABLE)
        on_readable(client);
}

bool client_relay_has_own_settings(struct client *client)
{
    struct server *server = client->server;
    if (server == NULL || client->base.state != WEIR_CLIENT_ACTIVE ||
        server->settings == settings_wanted(client, server) || server->replies.count > 0 ||
        server->status != 'I' || server->pipeline != PIPELINE_IDLE ||
        server->pins & PIN_REPLICATION)
        return true;
    gather_begin(&client->router->to_server, &server->base.stream);
    server->tell_parameters = true;
    bool held = settings_sync(server, client);
    gather_flush(&client->router->to_server);
    if (held)
        weir_client_set_state(&client->base, WEIR_CLIENT_HELD);
    return !held;
}

void client_relay_begin(struct client *client)
{
    uint8_t *bytes;
    size_t length;
    weir_stream_unread(&client->base.stream, &bytes, &length);
    if (relay_after(client, bytes, length) != STEP_GONE)
        weir_loop_defer(client->router->loop, &client->resume);
}

void client_relay_resume(struct weir_task *task)
{
    struct client *client = weir_container_of(task, struct client, resume);
    if (client->base.state == WEIR_CLIENT_ENDING || client->base.state == WEIR_CLIENT_CLOSED)
        return;
    bool suspended = client->router->suspended && client->body_left == 0;
    if (client->input_blocked && !suspended) {
        client->input_blocked = false;
        weir_stream_resume(&client->base.stream);
    }
    uint8_t *bytes;
    size_t length;
    if (!client_relay_has_own_settings(client))
        return;
    weir_stream_unread(&client->base.stream, &bytes, &length);
    if (length > 0 && relay(client, bytes, length) == STEP_GONE)
        return;
    if (__builtin_expect(client->cancel_wanted, 0) && client->base.state == WEIR_CLIENT_ACTIVE) {
        client->cancel_wanted = false;
        if (client->server->replies.count > 0)
            cancel_server(client->server);
    }
    after_relay(client);
}
