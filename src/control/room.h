/* Private to the control room.
 *
 *   target.c    from the configuration to where and as whom
 *   keywords.c  what libpq is told, and nothing else
 *   connection.c  one libpq connection on the loop
 *   control.c   questions, who waits for them, which connection gets which
 *   answer.c    what a result means        cache.c   answers, for a moment
 *   prove.c     the same, blocking, for --check
 *   listen.c    a connection that listens to channels
 */
#ifndef WEIR_CONTROL_ROOM_H
#define WEIR_CONTROL_ROOM_H

#include <uthash.h>

#include "cache.h"
#include "weir/control.h"
#include "weir/libpq.h"
#include "weir/resolve.h"

/* --- keywords.c ------------------------------------------------------------------------ */

#define KEYWORDS_MAX 24

struct keywords {
    const char *names[KEYWORDS_MAX];
    const char *values[KEYWORDS_MAX];
    int count;
    char port[12];
};
/* `host->host` "" is libpq's default; `address` NULL: there is none, or libpq finds it. All is
 * borrowed. */
void keywords_make(struct keywords *keywords, const struct weir_conf_host *host,
                   const char *address, const struct weir_libpq_tls *tls, const char *database,
                   const char *user, const char *password);
/* In place of what a lookup says. `encoding` NULL: the server's choice. */
void keywords_for_listening(struct keywords *keywords, const char *encoding);
/* Appends to a text that may be NULL, with "; " between. */
void problem_add(char **problem, const char *text);
/* Why auth_user has no password, when that may be why it was not let in; NULL: it has one. Free it. */
char *password_hint(const char *role, const char *user, const char *password,
                    enum weir_secret_kind unusable);

/* --- answer.c -------------------------------------------------------------------------- */

struct answer {
    enum weir_lookup_outcome outcome;
    char *secret;
    char *problem;
    bool server_leaves; /* the connection will not be there for long: ask another one */
};
void answer_judge(const struct weir_libpq *libpq, const PGresult *result, const char *database,
                  const char *auth_user, const char *user, struct answer *answer);
/* Of answer_member_query, which has two parameters: user and role. */
void answer_judge_member(const struct weir_libpq *libpq, const PGresult *result,
                         const char *database, struct answer *answer);
extern const char answer_member_query[];
void answer_clear(struct answer *answer);

/* --- control.c ------------------------------------------------------------------------- */

struct question {
    const char *query;
    const char *user;
    const char *role; /* NULL: the user's secret is asked for, not whether he is a member */
};

/* One question to a database and all who wait for it. */
struct job {
    struct weir_list link;    /* place->waiting or control->finished; neither while it is asked */
    struct weir_list lookups; /* weir_lookup.link */
    struct place *place;      /* NULL once finished */
    struct question question; /* its texts are its own */
    weir_usec cache;
    struct answer answer;
    bool cached;
    bool repeated; /* a connection was lost on it before */
};

/* One (hosts, database, auth_user, its password). */
struct place {
    UT_hash_handle hh;
    struct weir_control *control;
    struct weir_conf_host *hosts;
    size_t host_count;
    struct weir_libpq_tls tls; /* the values are its own */
    char *database;
    char *user;
    char *password;
    enum weir_secret_kind unusable;
    weir_usec timeout;
    struct weir_list waiting; /* job.link */
    struct weir_list links;   /* connection.link */
    size_t first_host;        /* the one that answered last */
    weir_usec retry_at;       /* no attempt before */
    char *last_problem;
    size_t key_length;
    char *key;
    struct weir_listen *listen; /* whose it is, and not of the hash; NULL: of lookups */
    char *encoding;             /* of such a one */
};
/* All but the key; copies. */
void place_fill(struct place *place, const struct weir_lookup_target *target);
void place_clear(struct place *place);
struct weir_loop *control_loop(struct weir_control *control);
/* NULL: not loaded. Each that is not NULL needs a weir_libpq_drop. */
const struct weir_libpq *control_hold_libpq(struct weir_control *control);

struct connection;
/* It has just become idle: after its login, or with an answer for `job`. */
void control_idle(struct connection *connection);
void control_answered(struct place *place, struct job *job, struct answer *answer);
/* The connection is gone and must not be touched. `job` (may be NULL) has no answer; `again`: another
 * connection may be asked. */
void control_lost(struct place *place, struct job *job, bool again, const char *problem);
/* It could not be made. */
void control_unreachable(struct place *place, const char *problem);

/* --- connection.c ---------------------------------------------------------------------- */

enum connection_state {
    CONNECTION_RESOLVING,
    CONNECTION_CONNECTING,
    CONNECTION_IDLE,
    CONNECTION_ASKING,
    CONNECTION_LISTENING, /* all of it is listen.c's */
};

struct connection {
    struct weir_list link; /* place->links */
    struct place *place;
    const struct weir_libpq *libpq;
    struct weir_loop *loop;
    enum connection_state state;
    PGconn *pg;
    struct job *job;
    ev_io io;
    ev_timer timer;
    struct weir_resolve_query query;
    size_t hosts_begun;
    size_t host_index;
    struct weir_address *addresses;
    size_t address_count;
    size_t next_address;
    char *problem;
    struct answer answer;
    bool answer_there;
};

void connection_open(struct place *place, struct weir_loop *loop, const struct weir_libpq *libpq);
/* Of an idle one. */
void connection_ask(struct connection *connection, struct job *job);
/* Without telling anybody. */
void connection_close(struct connection *connection);
/* The watcher anew, after each step of libpq, and the time limit; 0: none. */
void connection_watch(struct connection *connection, int events);
void connection_limit_to(struct connection *connection, double seconds);
/* Of an answer of the server, or of connecting. */
double connection_limit(const struct connection *connection);

/* --- listen.c -------------------------------------------------------------------------- */

/* Its connection has logged in, can be read, takes too long. */
void listen_connected(struct connection *connection);
void listen_readable(struct connection *connection);
void listen_timed_out(struct connection *connection);
/* It could not be made, and is gone. */
void listen_unreachable(struct weir_listen *listen, const char *problem);

#endif
