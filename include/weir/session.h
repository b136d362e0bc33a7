/* A client connection from accept to the end of its login, and how pgweir speaks to a client.
 *
 * The login machine lives in a struct of its own that is freed when the login ends; a logged-in
 * client is handed over to the room above (ops->logged_in), which then owns stream.on_event. */
#ifndef WEIR_SESSION_H
#define WEIR_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/auth.h"
#include "weir/clock.h"
#include "weir/list.h"
#include "weir/net.h"
#include "weir/reason.h"
#include "weir/settings_profile.h"
#include "weir/tls.h"
#include "weir/wire.h"

#define WEIR_CLIENT_KEY_MAX 32

enum weir_client_state {
    WEIR_CLIENT_STARTUP, /* waiting for a startup packet */
    WEIR_CLIENT_LOOKUP, /* its secret, or what rule is for it, is looked up, or others judge its password */
    WEIR_CLIENT_DELAYED, /* waits because logins like it have failed: to begin, or for its answer */
    WEIR_CLIENT_PROVING, /* authentication exchange */
    WEIR_CLIENT_DERIVING, /* key derivation under way */
    WEIR_CLIENT_GREETING, /* authenticated, waits for what only a server connection can tell */
    WEIR_CLIENT_IDLE,     /* no server connection, nothing outstanding */
    WEIR_CLIENT_WAITING,  /* in its pool's queue */
    WEIR_CLIENT_ACTIVE,   /* bound to a server connection */
    WEIR_CLIENT_HELD,     /* bound, and its next message must wait for an answer we asked for */
    WEIR_CLIENT_ENDING,   /* its last output is draining, its input is ignored */
    WEIR_CLIENT_CLOSED,   /* stream closed, freed at the end of the turn */
};
const char *weir_client_state_name(enum weir_client_state state);

struct weir_client;

/* The answer to "may this user come in": filled by ops->admit. */
struct weir_admission {
    enum weir_auth_method method;
    const char *secret;          /* NULL: unknown user; valid during the call */
    enum weir_secret_kind usual; /* what an unknown user is made to look like */
    bool later;                  /* set by admit: not known yet, weir_client_admitted will say */
    bool delayed;                /* the same, because it is made to wait */
};

/* What the room above does. `client` may be closed by it in every call but admit. */
struct weir_session_ops {
    /* The startup packet is understood: login->database, ->user and so on are set. False: refused
     * with login->refusal and login->refusal_text set. */
    bool (*admit)(struct weir_client *client, struct weir_admission *admission);
    /* Its proof does not fit the secret it was admitted with. True: that may be an old one, and
     * weir_client_recheck will say, from a later call. NULL is false. */
    bool (*recheck)(struct weir_client *client);
    /* Its proof has failed for good. True: the answer is to wait, and weir_client_answer_failure will
     * give it, from a later call. NULL is false. */
    bool (*failed)(struct weir_client *client);
    /* With WEIR_AUTH_OUTSIDE: it has sent this password, valid during the call. weir_client_judged will
     * say, from a later call, unless the client is refused. NULL when no admission is of that kind. */
    void (*judge)(struct weir_client *client, const char *password);
    /* Authenticated. The login struct is still there and is freed by weir_client_login_done. */
    void (*logged_in)(struct weir_client *client);
    /* A CancelRequest came on this connection, which is closed afterwards. */
    void (*cancel)(struct weir_client *client, uint32_t pid, const uint8_t *key, size_t length);
    /* The connection ended during the login (peer gone, broken, refused): already logged and told.
     */
    void (*login_ended)(struct weir_client *client, enum weir_reason reason);
};

/* What clients get of TLS. May change at any time: it is for those who begin afterwards. */
struct weir_client_tls {
    struct weir_tls_context *context; /* NULL: no TLS */
    bool required;                    /* of clients over TCP */
    bool name_is_user;                /* the common name of the client's certificate is its user */
};

struct weir_client_login {
    const struct weir_client_tls *tls; /* NULL: no TLS */
    struct weir_client_proof *proof;
    struct weir_auth_context *auth;
    struct weir_credentials credentials; /* from the client's own proof */
    char *database;
    char *user;
    char *replication;             /* NULL: no replication connection */
    struct weir_setting *settings; /* startup settings in order, options already split */
    size_t setting_count;
    enum weir_reason refusal;
    char *refusal_text;       /* NULL: the reason's own text */
    char *rule;               /* for the log: which rule let it in, and how; or NULL */
    weir_usec begun_at;       /* the connection was accepted */
    struct ev_timer slice;    /* next slice of key derivation */
    bool encryption_asked[2]; /* SSL, GSS: each may be asked once */
};

struct weir_client {
    struct weir_stream stream;
    struct weir_list link; /* in the owner's list of clients that are logging in */
    const struct weir_session_ops *ops;
    struct weir_client_login *login;
    void *guest; /* of the console, whose clients these are too */
    uint64_t id;
    enum weir_client_state state;
    uint32_t protocol;
    uint32_t cancel_pid;
    uint8_t cancel_key_length;
    uint8_t cancel_key[WEIR_CLIENT_KEY_MAX];
};

/* Takes over the accepted socket and waits for the startup packet. */
void weir_client_open(struct weir_client *client, struct weir_loop *loop, int fd,
                      struct weir_auth_context *auth, const struct weir_session_ops *ops);
/* The login goes on after an admit that was for later, which this may be again. The client may be
 * closed afterwards. */
void weir_client_admitted(struct weir_client *client, const struct weir_admission *admission);
/* And after a recheck: its proof is held against this secret (NULL: no such user). */
void weir_client_recheck(struct weir_client *client, const char *secret);
/* And after a failure whose answer had to wait: it is refused. */
void weir_client_answer_failure(struct weir_client *client);
/* And after a judge: whether its password was found right. A wrong one is a failed proof, told by
 * login->refusal and login->refusal_text if that is set. The client may be closed afterwards. */
void weir_client_judged(struct weir_client *client, bool right);
/* Offers TLS to it, unless it comes by a Unix socket; right after opening. `tls` must outlive the
 * login. */
void weir_client_offer_tls(struct weir_client *client, const struct weir_client_tls *tls);
/* It is logged in: frees the login struct, wiping secrets. */
void weir_client_login_done(struct weir_client *client);
/* Closes the stream; the struct stays the owner's. Idempotent. */
void weir_client_close(struct weir_client *client);
/* The only writer of client->state. */
void weir_client_set_state(struct weir_client *client, enum weir_client_state state);

/* Ends a login: tells the client the reason (FATAL), closes, calls login_ended. `text` NULL: the
 * reason's own; detail and hint may be NULL. */
void weir_client_refuse_login(struct weir_client *client, enum weir_reason reason, const char *text,
                              const char *detail, const char *hint);
/* Where it comes from; family AF_UNIX has no name. False: the socket is gone. */
weir_must_check bool weir_client_address(const struct weir_client *client,
                                         struct weir_address *address);
/* "127.0.0.1:5555" or "unix"; asks the socket, so only while it is open. */
void weir_client_peer(const struct weir_client *client, char *text, size_t size);

#endif
