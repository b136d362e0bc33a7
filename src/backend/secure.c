/* TLS before the login: asking for it, the handshake, and what sslmode says when there is none. */
#include <stdlib.h>

#include "login.h"
#include "ssl_request.h"
#include "weir/memory.h"
#include "weir/tls.h"

bool weir_server_choose_way(struct weir_server *server)
{
    struct weir_server_login *login = server->login;
    bool possible = server->tls != NULL && server->address.any.sa_family != AF_UNIX;
    login->with_tls = possible && login->sslmode >= WEIR_SSLMODE_PREFER;
    login->other_way =
        possible && (login->sslmode == WEIR_SSLMODE_ALLOW || login->sslmode == WEIR_SSLMODE_PREFER);
    return login->with_tls;
}

static void begin_login(struct weir_server *server)
{
    server->stream.on_event = weir_server_login_event;
    weir_server_set_state(server, WEIR_SERVER_LOGIN);
    weir_server_login_begin(server);
}

/* The handshake has not come about, or not been accepted. */
static void on_refused(struct weir_server *server)
{
    const char *problem = weir_tls_problem(&server->stream);
    bool refused = weir_tls_peer_is_refused(&server->stream);
    char *text = weir_format("TLS with \"%s\": %s", server->tls_host,
                             problem != NULL ? problem : "out of memory");
    if (!weir_server_try_other_way(server, text))
        weir_server_fail(server,
                         refused ? WEIR_REASON_SERVER_LOGIN_FAILED : WEIR_REASON_SERVER_UNAVAILABLE,
                         text, refused);
    free(text);
}

static void on_handshake(struct weir_stream *stream, unsigned events)
{
    struct weir_server *server = weir_container_of(stream, struct weir_server, stream);
    if (events & WEIR_STREAM_SECURED)
        begin_login(server);
    else if (events & WEIR_STREAM_FAILED)
        on_refused(server);
}

static void on_no(struct weir_server *server)
{
    struct weir_server_login *login = server->login;
    if (login->sslmode > WEIR_SSLMODE_PREFER) {
        weir_server_fail(server, WEIR_REASON_SERVER_LOGIN_FAILED,
                         "the server does not support TLS, but sslmode demands it", true);
        return;
    }
    login->with_tls = false;
    login->other_way = false;
    begin_login(server);
}

static void on_answer(struct weir_stream *stream, unsigned events)
{
    struct weir_server *server = weir_container_of(stream, struct weir_server, stream);
    const char *problem = NULL;
    if (!(events & (WEIR_STREAM_READABLE | WEIR_STREAM_FAILED)))
        return;
    switch (weir_ssl_request_take(stream, &problem)) {
    case WEIR_SSL_WAIT:
        break;
    case WEIR_SSL_YES:
        stream->on_event = on_handshake;
        if (!weir_tls_connect(stream, server->tls, server->tls_host))
            on_refused(server);
        break;
    case WEIR_SSL_NO:
        on_no(server);
        break;
    case WEIR_SSL_LOST:
        weir_server_fail(server, WEIR_REASON_SERVER_UNAVAILABLE, problem, false);
        break;
    case WEIR_SSL_BROKEN:
        weir_server_fail(server, WEIR_REASON_SERVER_PROTOCOL, problem, false);
        break;
    }
}

void weir_server_begin_connection(struct weir_server *server, int fd)
{
    bool with_tls = server->login->with_tls;
    weir_stream_open(&server->stream, server->loop, fd, 1,
                     with_tls ? on_answer : weir_server_login_event);
    if (!with_tls) {
        begin_login(server);
        return;
    }
    weir_server_set_state(server, WEIR_SERVER_SECURING);
    if (!weir_ssl_request_send(&server->stream))
        weir_server_fail(server, WEIR_REASON_SERVER_UNAVAILABLE,
                         "the connection broke when the server was asked for TLS", false);
}

static void on_dialled_again(void *context, const struct weir_dial_result *result)
{
    struct weir_server *server = context;
    server->login->dial = NULL;
    if (result->fd < 0)
        weir_server_fail(server, WEIR_REASON_SERVER_UNAVAILABLE, result->problem, false);
    else
        weir_server_begin_connection(server, result->fd);
}

bool weir_server_try_other_way(struct weir_server *server, const char *problem)
{
    struct weir_server_login *login = server->login;
    if (!login->other_way)
        return false;
    login->other_way = false;
    free(login->first_problem);
    login->first_problem = weir_strdup(problem);
    login->first_with_tls = login->with_tls;
    login->with_tls = !login->with_tls;
    weir_server_leave(server);
    login->dial = weir_dial_address(server->loop, &server->address, on_dialled_again, server);
    return true;
}
