/* Private to the backend room: the part of a server connection that exists only until it is ready.
 */
#ifndef WEIR_BACKEND_LOGIN_H
#define WEIR_BACKEND_LOGIN_H

#include "weir/backend.h"

struct weir_server_login {
    struct weir_dial *dial;
    struct weir_auth_context *auth;
    struct weir_server_proof *proof;
    const struct weir_server_target *target;
    struct weir_dial_host *hosts; /* in the shape that dialling wants */
    const char **names;           /* that their certificates are for; NULL without TLS */
    size_t host_count;            /* of hosts: a reload may change the target meanwhile */
    size_t next_host;             /* where the next dial begins */
    size_t tried;                 /* hosts that were connected to or found unreachable */
    bool second_pass;             /* prefer-standby: any server will do now */
    bool authenticated;
    enum weir_sslmode sslmode;
    enum weir_channel_binding binding;
    bool with_tls;       /* this connection */
    bool other_way;      /* allow, prefer: the other way has not been tried at this host */
    bool first_with_tls; /* and when it has: why the first one failed */
    char *first_problem;
    struct weir_buffer last_error; /* body of the last ErrorResponse */
    struct ev_timer slice;         /* next slice of key derivation */
};

/* Begins (or begins again, with the next host) to connect. */
void weir_server_dial(struct weir_server *server);
/* Closes, frees the login and tells the owner. */
void weir_server_fail(struct weir_server *server, enum weir_reason reason, const char *text,
                      bool fatal);
void weir_server_login_free(struct weir_server *server);
/* The stream event function while logging in. */
void weir_server_login_event(struct weir_stream *stream, unsigned events);
/* Sends the startup packet on the fresh connection. */
void weir_server_login_begin(struct weir_server *server);
/* Whether a fresh host is asked for TLS first, and what may follow. */
bool weir_server_choose_way(struct weir_server *server);
/* On a connection just made: TLS if that was chosen, then the login. */
void weir_server_begin_connection(struct weir_server *server, int fd);
/* sslmode allow and prefer: the same host is tried the other way, once, after `problem`; false: it has
 * been already. */
bool weir_server_try_other_way(struct weir_server *server, const char *problem);
/* Gives the connection up, so that another one can be dialled. */
void weir_server_leave(struct weir_server *server);
/* The next host is tried if there is one left; false: none left. */
bool weir_server_try_next(struct weir_server *server);
void weir_server_set_state(struct weir_server *server, enum weir_server_state state);

#endif
