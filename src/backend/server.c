#include "weir/backend.h"

#include <stdlib.h>
#include <string.h>

#include "login.h"
#include "weir/memory.h"
#include "weir/tls.h"
#include "weir/wire.h"

const char *weir_server_state_name(enum weir_server_state state)
{
    static const char *const names[] = {
        [WEIR_SERVER_CONNECTING] = "connecting", [WEIR_SERVER_SECURING] = "securing",
        [WEIR_SERVER_LOGIN] = "login",           [WEIR_SERVER_DERIVING] = "deriving",
        [WEIR_SERVER_SETTING_UP] = "setting up", [WEIR_SERVER_READY] = "ready",
        [WEIR_SERVER_CLOSED] = "closed",
    };
    return names[state];
}

static const uint16_t may_follow[] = {
    [WEIR_SERVER_CONNECTING] =
        1u << WEIR_SERVER_SECURING | 1u << WEIR_SERVER_LOGIN | 1u << WEIR_SERVER_CLOSED,
    [WEIR_SERVER_SECURING] =
        1u << WEIR_SERVER_LOGIN | 1u << WEIR_SERVER_CONNECTING | 1u << WEIR_SERVER_CLOSED,
    [WEIR_SERVER_LOGIN] = 1u << WEIR_SERVER_DERIVING | 1u << WEIR_SERVER_SETTING_UP |
                          1u << WEIR_SERVER_READY | 1u << WEIR_SERVER_CONNECTING |
                          1u << WEIR_SERVER_CLOSED,
    [WEIR_SERVER_DERIVING] = 1u << WEIR_SERVER_LOGIN | 1u << WEIR_SERVER_CLOSED,
    [WEIR_SERVER_SETTING_UP] = 1u << WEIR_SERVER_READY | 1u << WEIR_SERVER_CLOSED,
    [WEIR_SERVER_READY] = 1u << WEIR_SERVER_CLOSED,
    [WEIR_SERVER_CLOSED] = 0,
};

void weir_server_set_state(struct weir_server *server, enum weir_server_state state)
{
    if (server->state == state)
        return;
    weir_require(may_follow[server->state] & 1u << state);
    server->state = state;
}

static void on_dialled(void *context, const struct weir_dial_result *result)
{
    struct weir_server *server = context;
    struct weir_server_login *login = server->login;
    login->dial = NULL;
    if (result->fd < 0) {
        weir_server_fail(server, WEIR_REASON_SERVER_UNAVAILABLE, result->problem, false);
        return;
    }
    size_t count = login->host_count;
    login->tried += (result->host_index + count - login->next_host) % count + 1;
    login->next_host = (result->host_index + 1) % count;
    server->address = result->address;
    server->host_index = result->host_index;
    free(server->tls_host);
    server->tls_host = weir_strdup(login->names == NULL ? "" : login->names[result->host_index]);
    weir_server_choose_way(server);
    weir_server_begin_connection(server, result->fd);
}

void weir_server_dial(struct weir_server *server)
{
    struct weir_server_login *login = server->login;
    login->dial = weir_dial_start(server->loop, login->hosts, login->host_count, login->next_host,
                                  on_dialled, server);
}

void weir_server_leave(struct weir_server *server)
{
    struct weir_server_login *login = server->login;
    weir_stream_close(&server->stream);
    weir_server_proof_destroy(login->proof);
    login->proof = NULL;
    login->authenticated = false;
    weir_parameters_clear(&server->parameters);
    weir_server_set_state(server, WEIR_SERVER_CONNECTING);
}

bool weir_server_try_next(struct weir_server *server)
{
    struct weir_server_login *login = server->login;
    if (login->tried >= login->host_count) {
        if (login->second_pass || login->target->session_attrs != WEIR_ATTRS_PREFER_STANDBY)
            return false;
        login->second_pass = true;
        login->tried = 0;
        login->next_host = 0;
    }
    weir_server_leave(server);
    weir_server_dial(server);
    return true;
}

/* Of its own, as a reload may change the target meanwhile. */
static void take_tls(struct weir_server *server, const struct weir_server_target *target)
{
    struct weir_server_login *login = server->login;
    login->sslmode = target->tls->mode;
    login->binding = target->tls->binding;
    if (target->tls->context != NULL)
        server->tls = weir_tls_context_share(target->tls->context);
    login->names = weir_alloc(target->host_count * sizeof(*login->names));
    for (size_t i = 0; i < target->host_count; i++)
        login->names[i] = target->hosts[i].name;
}

void weir_server_connect(struct weir_server *server, struct weir_loop *loop,
                         struct weir_auth_context *auth, const struct weir_server_target *target,
                         const struct weir_server_ops *ops)
{
    server->loop = loop;
    server->ops = ops;
    server->state = WEIR_SERVER_CONNECTING;
    struct weir_server_login *login = weir_alloc(sizeof(*login));
    server->login = login;
    login->auth = auth;
    login->target = target;
    login->host_count = target->host_count;
    login->hosts = weir_alloc(target->host_count * sizeof(*login->hosts));
    for (size_t i = 0; i < target->host_count; i++)
        login->hosts[i] =
            (struct weir_dial_host){.host = target->hosts[i].host, .port = target->hosts[i].port};
    if (target->tls != NULL)
        take_tls(server, target);
    weir_server_dial(server);
}

void weir_server_login_free(struct weir_server *server)
{
    struct weir_server_login *login = server->login;
    if (login == NULL)
        return;
    server->login = NULL;
    if (login->dial != NULL)
        weir_dial_cancel(login->dial);
    ev_timer_stop(server->loop->ev, &login->slice);
    weir_server_proof_destroy(login->proof);
    weir_buffer_clear(&login->last_error);
    free(login->hosts);
    free(login->names);
    free(login->first_problem);
    free(login);
}

void weir_server_fail(struct weir_server *server, enum weir_reason reason, const char *text,
                      bool fatal)
{
    struct weir_server_login *login = server->login;
    /* The texts may live in the login struct: it goes only after the owner has been told. */
    server->login = NULL;
    weir_stream_close(&server->stream);
    weir_server_set_state(server, WEIR_SERVER_CLOSED);
    char *whole =
        login->first_problem == NULL
            ? weir_strdup(text)
            : weir_format("%s (before, %s TLS: %s)", text,
                          login->first_with_tls ? "with" : "without", login->first_problem);
    struct weir_server_failure failure = {
        .reason = reason,
        .text = whole,
        .error = weir_buffer_length(&login->last_error) > 0 ? weir_buffer_bytes(&login->last_error)
                                                            : NULL,
        .error_length = weir_buffer_length(&login->last_error),
        .fatal = fatal,
    };
    server->ops->failed(server, &failure);
    free(whole);
    server->login = login;
    weir_server_login_free(server);
}

void weir_server_close(struct weir_server *server, bool polite)
{
    if (server->state == WEIR_SERVER_CLOSED)
        return;
    weir_server_login_free(server);
    if (polite && server->state == WEIR_SERVER_READY && weir_stream_unsent(&server->stream) == 0) {
        static const uint8_t terminate[] = {'X', 0, 0, 0, 4};
        /* Best effort: the connection is closed in any case. */
        bool sent = weir_stream_send_bytes(&server->stream, terminate, sizeof(terminate));
        (void)sent;
    }
    weir_stream_close(&server->stream);
    weir_server_set_state(server, WEIR_SERVER_CLOSED);
}

void weir_server_fini(struct weir_server *server)
{
    weir_server_login_free(server);
    weir_stream_close(&server->stream);
    weir_parameters_clear(&server->parameters);
    if (server->key != NULL)
        weir_wipe(server->key, server->key_length);
    free(server->key);
    server->key = NULL;
    weir_tls_context_release(server->tls);
    server->tls = NULL;
    free(server->tls_host);
    server->tls_host = NULL;
}
