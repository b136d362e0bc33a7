/* A server connection: connecting, logging in, what the server said about itself, and cancelling.
 * After ops->ready the room above owns stream.on_event and relays.
 *
 * The login is written by hand (not libpq) so that it never blocks, keeps every ParameterStatus, a
 * cancel key of any length and the server's own error, and costs little per connection.
 * Source: PostgreSQL documentation, "Message Flow: Start-up" and "Canceling Requests in Progress".
 */
#ifndef WEIR_BACKEND_H
#define WEIR_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/auth.h"
#include "weir/conf.h"
#include "weir/net.h"
#include "weir/reason.h"
#include "weir/settings_profile.h"

/* --- what the server reports ----------------------------------------------------------- */

struct weir_parameter {
    char *name;
    char *value;
};

/* ParameterStatus values in the order in which the server first sent them. */
struct weir_parameters {
    struct weir_parameter *items;
    size_t count;
};

/* True when the value is new or changed. */
bool weir_parameters_set(struct weir_parameters *parameters, const char *name, const char *value);
/* Names compare without case; NULL when unknown. */
const char *weir_parameters_get(const struct weir_parameters *parameters, const char *name);
bool weir_parameters_equal(const struct weir_parameters *left, const struct weir_parameters *right);
void weir_parameters_copy(struct weir_parameters *to, const struct weir_parameters *from);
void weir_parameters_clear(struct weir_parameters *parameters);
/* True for reported values that are a session setting (TimeZone), false for facts of the server
 * (server_version). */
bool weir_parameter_is_setting(const char *name);

/* --- the connection ----------------------------------------------------------------------------
 */

enum weir_server_state {
    WEIR_SERVER_CONNECTING,
    WEIR_SERVER_SECURING, /* asked for TLS, or handshake under way */
    WEIR_SERVER_LOGIN,
    WEIR_SERVER_DERIVING,   /* key derivation under way */
    WEIR_SERVER_SETTING_UP, /* connect_query */
    WEIR_SERVER_READY,
    WEIR_SERVER_CLOSED,
};
/* Of the SQLSTATE of an error at login: waiting may cure it (starting up, shutting down, too many
 * connections, no memory). NULL is none. */
bool weir_server_error_is_passing(const char *sqlstate);
const char *weir_server_state_name(enum weir_server_state state);

/* Where and as whom to log in. Borrowed: must live until ready or failed. */
struct weir_server_target {
    const struct weir_conf_host *hosts;
    size_t host_count;
    const char *database;
    const char *user;
    const struct weir_credentials *credentials;
    const struct weir_database_tls *tls; /* NULL: plain */
    const char *application_name;        /* NULL: none */
    const char *options;                 /* NULL: none */
    const char *client_encoding;         /* NULL: none */
    const char *connect_query;           /* "": none */
    const char *replication;             /* NULL, or the client's startup value */
    const struct weir_profile *settings; /* sent in the startup packet (replication), or NULL */
    enum weir_session_attrs session_attrs;
};

struct weir_server;

struct weir_server_failure {
    enum weir_reason reason;
    const char *text;     /* for the log and for who waits */
    const uint8_t *error; /* body of the server's own ErrorResponse, or NULL */
    size_t error_length;
    bool fatal; /* the server refused us in a way that waiting does not cure */
};

struct weir_server_ops {
    void (*ready)(struct weir_server *server);
    /* The stream is closed. The owner frees the struct in a later turn or task, not here. */
    void (*failed)(struct weir_server *server, const struct weir_server_failure *failure);
};

struct weir_server {
    struct weir_stream stream;
    struct weir_loop *loop;
    const struct weir_server_ops *ops;
    struct weir_server_login *login; /* only while connecting and logging in */
    uint64_t id;
    enum weir_server_state state;
    bool set_up;  /* connect_query was run */
    uint32_t pid; /* of the PostgreSQL backend */
    uint8_t *key; /* cancel key */
    uint16_t key_length;
    struct weir_address address;
    size_t host_index;            /* of the target it logged in to */
    struct weir_tls_context *tls; /* NULL: never TLS */
    char *tls_host;               /* whose certificate it must be */
    struct weir_parameters parameters;
};

void weir_server_connect(struct weir_server *server, struct weir_loop *loop,
                         struct weir_auth_context *auth, const struct weir_server_target *target,
                         const struct weir_server_ops *ops);
/* Closes at once; sends Terminate first when `polite` and nothing is unsent. No callback follows.
 */
void weir_server_close(struct weir_server *server, bool polite);
/* Frees what the struct owns; the stream must be closed. */
void weir_server_fini(struct weir_server *server);

/* --- cancelling ----------------------------------------------------------------------------------
 */

struct weir_cancel; /* one CancelRequest under way */

/* Connects to where `server` is connected (with TLS if that is), sends CancelRequest with its key, waits until the server
 * closes (only then is it certain that the signal is not still on its way). `done` comes from the
 * loop exactly once, unless the cancel is dropped. */
struct weir_cancel *weir_cancel_start(struct weir_loop *loop, const struct weir_server *server,
                                      void (*done)(void *context, bool delivered), void *context);
/* The request has been sent; before, its connection is being opened. */
bool weir_cancel_is_sent(const struct weir_cancel *cancel);
void weir_cancel_drop(struct weir_cancel *cancel);

#endif
