/* The login to a server, message by message. Only whole messages have an effect; their size before
 * the login is over is bounded, so a hostile server cannot make us grow. */
#include "login.h"

#include <stdlib.h>
#include <string.h>

#include "weir/memory.h"
#include "weir/tls.h"
#include "weir/wire.h"

#define LOGIN_MESSAGE_MAX 65536

static void write_startup(struct weir_server *server, struct weir_writer *writer)
{
    const struct weir_server_target *target = server->login->target;
    size_t packet = weir_message_begin(writer, 0);
    weir_write_u32(writer, WEIR_PROTOCOL_3_0);
    const struct {
        const char *name, *value;
    } pairs[] = {
        {"user", target->user},
        {"database", target->database},
        {"application_name", target->application_name},
        {"client_encoding", target->client_encoding},
        {"options", target->options},
        {"replication", target->replication},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        if (pairs[i].value == NULL)
            continue;
        weir_write_string(writer, pairs[i].name);
        weir_write_string(writer, pairs[i].value);
    }
    if (target->settings != NULL) {
        for (uint32_t i = 0; i < target->settings->count; i++) {
            weir_write_string(writer, target->settings->settings[i].name);
            weir_write_string(writer, target->settings->settings[i].value);
        }
    }
    weir_write_u8(writer, 0);
    weir_message_end(writer, packet);
}

static bool send_out(struct weir_server *server, struct weir_buffer *out)
{
    bool sent =
        weir_buffer_length(out) == 0 ||
        weir_stream_send_bytes(&server->stream, weir_buffer_bytes(out), weir_buffer_length(out));
    weir_buffer_clear(out);
    if (!sent)
        weir_server_fail(server, WEIR_REASON_SERVER_UNAVAILABLE,
                         "the connection broke during login", false);
    return sent;
}

static void on_slice(struct ev_loop *ev, ev_timer *timer, int events);

static void bind_proof(struct weir_server *server)
{
    struct weir_server_login *login = server->login;
    _Static_assert(sizeof(((struct weir_channel *)0)->endpoint) >= WEIR_TLS_ENDPOINT_MAX,
                   "every endpoint fits");
    struct weir_channel channel = {
        .secured = weir_tls_is_used(&server->stream),
        .wanted = login->binding != WEIR_BINDING_DISABLE,
        .required = login->binding == WEIR_BINDING_REQUIRE,
    };
    if (!weir_tls_endpoint(&server->stream, channel.endpoint, &channel.endpoint_length))
        channel.endpoint_length = 0;
    weir_server_proof_bind(login->proof, &channel);
}

void weir_server_login_begin(struct weir_server *server)
{
    struct weir_server_login *login = server->login;
    ev_timer_init(&login->slice, on_slice, 0., 0.);
    login->slice.data = server;
    login->proof =
        weir_server_proof_create(login->auth, login->target->user, login->target->credentials);
    bind_proof(server);
    weir_stream_set_secret(&server->stream, true);
    struct weir_buffer out = {.secret = true};
    struct weir_writer writer = weir_writer_to(&out);
    write_startup(server, &writer);
    send_out(server, &out);
}

/* False: the server has been failed. */
static bool advance(struct weir_server *server, enum weir_auth_result result,
                    struct weir_buffer *out)
{
    struct weir_server_login *login = server->login;
    if (!send_out(server, out))
        return false;
    switch (result) {
    case WEIR_AUTH_MORE:
        weir_server_set_state(server, WEIR_SERVER_LOGIN);
        return true;
    case WEIR_AUTH_OK:
        weir_server_set_state(server, WEIR_SERVER_LOGIN);
        login->authenticated = true;
        return true;
    case WEIR_AUTH_BUSY:
        weir_server_set_state(server, WEIR_SERVER_DERIVING);
        ev_timer_set(&login->slice, 0., 0.);
        ev_timer_start(server->loop->ev, &login->slice);
        return true;
    case WEIR_AUTH_FAILED:
    case WEIR_AUTH_BROKEN:
    case WEIR_AUTH_OFFERED: /* never of a server */
        weir_server_fail(server, WEIR_REASON_SERVER_LOGIN_FAILED,
                         weir_server_proof_problem(login->proof), true);
        return false;
    }
    return false;
}

static bool walk(struct weir_server *server, uint8_t *bytes, size_t length);

static void on_slice(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct weir_server *server = timer->data;
    struct weir_buffer out = {.secret = true};
    enum weir_auth_result result = weir_server_proof_work(server->login->proof, &out);
    if (!advance(server, result, &out) || server->state == WEIR_SERVER_DERIVING)
        return;
    uint8_t *bytes;
    size_t length;
    weir_stream_unread(&server->stream, &bytes, &length);
    walk(server, bytes, length);
}

bool weir_server_error_is_passing(const char *sqlstate)
{
    return sqlstate != NULL &&
           (strncmp(sqlstate, "57P", 3) == 0 || strncmp(sqlstate, "53", 2) == 0);
}

static void on_error(struct weir_server *server, const uint8_t *body, size_t length)
{
    struct weir_server_login *login = server->login;
    weir_buffer_clear(&login->last_error);
    bool kept = weir_buffer_append(&login->last_error, body, length);
    struct weir_error_fields fields = {0};
    weir_error_parse(body, length, &fields);
    if (server->state == WEIR_SERVER_LOGIN && fields.sqlstate != NULL &&
        strcmp(fields.sqlstate, "57P03") == 0 && weir_server_try_next(server))
        return;
    char *text = weir_format("%s", fields.message != NULL ? fields.message : "unknown error");
    if (!login->authenticated && weir_server_try_other_way(server, text)) {
        free(text);
        return;
    }
    weir_server_fail(server, WEIR_REASON_SERVER_LOGIN_FAILED, text,
                     kept && !weir_server_error_is_passing(fields.sqlstate));
    free(text);
}

static bool on_parameter(struct weir_server *server, const uint8_t *body, size_t length)
{
    struct weir_reader reader;
    weir_reader_init(&reader, body, length);
    const char *name = weir_read_string(&reader);
    const char *value = weir_read_string(&reader);
    if (reader.failed)
        return false;
    weir_parameters_set(&server->parameters, name, value);
    return true;
}

static bool on_key(struct weir_server *server, const uint8_t *body, size_t length)
{
    if (length < 5 || length > 4 + WEIR_CANCEL_KEY_MAX)
        return false;
    server->pid = weir_get_u32(body);
    free(server->key);
    server->key_length = (uint16_t)(length - 4);
    server->key = weir_alloc(server->key_length);
    memcpy(server->key, body + 4, server->key_length);
    return true;
}

static bool has_wanted_attributes(const struct weir_server *server)
{
    const struct weir_server_login *login = server->login;
    const char *standby = weir_parameters_get(&server->parameters, "in_hot_standby");
    const char *read_only =
        weir_parameters_get(&server->parameters, "default_transaction_read_only");
    bool is_standby = standby != NULL && strcmp(standby, "on") == 0;
    bool is_read_only = is_standby || (read_only != NULL && strcmp(read_only, "on") == 0);
    switch (login->target->session_attrs) {
    case WEIR_ATTRS_ANY:
        return true;
    case WEIR_ATTRS_READ_WRITE:
        return !is_read_only;
    case WEIR_ATTRS_READ_ONLY:
        return is_read_only;
    case WEIR_ATTRS_PRIMARY:
        return !is_standby;
    case WEIR_ATTRS_STANDBY:
        return is_standby;
    case WEIR_ATTRS_PREFER_STANDBY:
        return is_standby || login->second_pass;
    }
    return true;
}

static bool end_login(struct weir_server *server)
{
    weir_stream_set_secret(&server->stream, false);
    weir_server_login_free(server);
    weir_server_set_state(server, WEIR_SERVER_READY);
    return true;
}

/* ReadyForQuery: after the login proper, or after connect_query. True: the server is ready. */
static bool on_ready(struct weir_server *server)
{
    struct weir_server_login *login = server->login;
    if (server->state == WEIR_SERVER_SETTING_UP)
        return end_login(server);
    if (!has_wanted_attributes(server)) {
        if (!weir_server_try_next(server))
            weir_server_fail(server, WEIR_REASON_SERVER_UNAVAILABLE,
                             "no host has the wanted target_session_attrs", false);
        return false;
    }
    const char *query = login->target->connect_query;
    if (query == NULL || query[0] == '\0' || login->target->replication != NULL)
        return end_login(server);
    weir_server_set_state(server, WEIR_SERVER_SETTING_UP);
    server->set_up = true;
    struct weir_buffer out = {.secret = true};
    struct weir_writer writer = weir_writer_to(&out);
    weir_write_query(&writer, query);
    send_out(server, &out);
    return false;
}

/* One whole message. True: go on with the next (the server may be ready then). */
static bool take(struct weir_server *server, char type, const uint8_t *body, size_t length)
{
    struct weir_buffer out = {.secret = true};
    bool good = true;
    switch (type) {
    case 'R':
        good = !server->login->authenticated;
        if (good) {
            enum weir_auth_result result =
                weir_server_proof_step(server->login->proof, body, length, &out);
            return advance(server, result, &out);
        }
        break;
    case 'E':
        on_error(server, body, length);
        return false;
    case 'S':
        good = on_parameter(server, body, length);
        break;
    case 'K':
        good = on_key(server, body, length);
        break;
    case 'Z':
        good = server->login->authenticated && length == 1;
        if (good)
            on_ready(server);
        break;
    case 'N':
    case 'A':
        break;
    case 'v':
        /* We asked for 3.0 without options: nothing to negotiate. */
        break;
    default:
        /* Rows of connect_query are nobody's business. */
        good = server->state == WEIR_SERVER_SETTING_UP && strchr("TDCIGHdcn", type) != NULL;
        break;
    }
    if (!good) {
        weir_server_fail(server, WEIR_REASON_SERVER_PROTOCOL,
                         "unexpected or malformed message during login", false);
        return false;
    }
    return server->state == WEIR_SERVER_LOGIN || server->state == WEIR_SERVER_SETTING_UP ||
           server->state == WEIR_SERVER_READY;
}

/* Takes messages until the bytes or the login end. False: the stream is not to be touched. */
static bool walk(struct weir_server *server, uint8_t *bytes, size_t length)
{
    while (length >= WEIR_WIRE_HEADER && server->state != WEIR_SERVER_READY &&
           server->state != WEIR_SERVER_DERIVING) {
        uint32_t size = weir_get_u32(bytes + 1);
        if (size < 4 || size > LOGIN_MESSAGE_MAX) {
            weir_server_fail(server, WEIR_REASON_SERVER_PROTOCOL,
                             "message of impossible length during login", false);
            return false;
        }
        if (length < size + 1u)
            break;
        /* A host that is left behind takes its connection, and the bytes, along. */
        if (!take(server, (char)bytes[0], bytes + WEIR_WIRE_HEADER, size - 4u))
            return false;
        bytes += size + 1u;
        length -= size + 1u;
    }
    if (!weir_stream_keep(&server->stream, bytes, length)) {
        if (server->state != WEIR_SERVER_READY) {
            weir_server_fail(server, WEIR_REASON_MEMORY_LIMIT, "out of memory", false);
            return false;
        }
    }
    if (server->state == WEIR_SERVER_READY)
        server->ops->ready(server);
    return true;
}

void weir_server_login_event(struct weir_stream *stream, unsigned events)
{
    struct weir_server *server = weir_container_of(stream, struct weir_server, stream);
    if (!(events & (WEIR_STREAM_READABLE | WEIR_STREAM_FAILED)))
        return;
    uint8_t *bytes;
    size_t length;
    enum weir_io io = weir_stream_receive(stream, &bytes, &length);
    if (io == WEIR_IO_WAIT)
        return;
    if (io != WEIR_IO_OK) {
        /* With TLS 1.3 a server that does not accept our certificate says so only now. */
        const char *why = weir_tls_problem(stream);
        char *text = weir_format("%s%s%s",
                                 io == WEIR_IO_EOF ? "the server closed the connection during login"
                                                   : "the connection failed during login",
                                 why == NULL ? "" : ": ", why == NULL ? "" : why);
        weir_server_fail(server, WEIR_REASON_SERVER_UNAVAILABLE, text, false);
        free(text);
        return;
    }
    walk(server, bytes, length);
}
