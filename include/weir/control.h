/* Work that pgweir itself has with a database, by libpq on the loop: looking up a user's secret
 * (auth_query), whether he is a member of a role, and listening to channels for clients (listen_hub).
 *
 * At most WEIR_CONTROL_CONNECTIONS connections per (hosts, database, auth_user), kept for a minute
 * after their last use; they count for no limit of the pools. Nothing that a client sends reaches
 * them but the names of user and role, as parameters. libpq is loaded while users are looked up at all: at the start
 * or a reload, since loading reads files. */
#ifndef WEIR_CONTROL_H
#define WEIR_CONTROL_H

#include <stdbool.h>
#include <stdio.h>

#include "weir/auth.h"
#include "weir/clock.h"
#include "weir/conf.h"
#include "weir/list.h"
#include "weir/net.h"

#define WEIR_CONTROL_CONNECTIONS 2

/* --- where users are looked up ---------------------------------------------------------------- */

struct weir_lookup_target {
    const struct weir_conf_host *hosts; /* in the snapshot */
    size_t host_count;
    const char *query;         /* likewise; of secrets, may be "" */
    struct weir_libpq_tls tls; /* likewise */
    char *database;
    char *user;                     /* auth_user */
    char *password;                 /* NULL: none that libpq could use */
    enum weir_secret_kind unusable; /* what auth_file has of auth_user in place of a password */
    weir_usec cache;
    weir_usec timeout; /* of connecting, and of the query */
};
/* For clients of `database`; NULL: of the console. `users` may be NULL. False when nothing is looked up
 * for them, or not known where; then there is nothing to clear. */
bool weir_lookup_target_make(const struct weir_conf *conf, const struct weir_user_file *users,
                             const char *database, struct weir_lookup_target *target);
void weir_lookup_target_clear(struct weir_lookup_target *target);
/* Something is looked up for some database. */
bool weir_lookup_is_configured(const struct weir_conf *conf);

/* --- looking up ------------------------------------------------------------------------ */

enum weir_lookup_outcome {
    WEIR_LOOKUP_FOUND,
    WEIR_LOOKUP_NONE,   /* no such user, or none who may log in; no member */
    WEIR_LOOKUP_FAILED, /* it could not be asked; the log says why */
};

/* Valid during the callback. */
struct weir_lookup_answer {
    enum weir_lookup_outcome outcome;
    const char *secret;  /* of a user that is FOUND, never empty */
    const char *problem; /* for the log, or NULL */
    bool cached;
};

/* A question that somebody waits for, embedded in its owner; zeroed means not asked. */
struct weir_lookup {
    struct weir_list link;
    void (*done)(struct weir_lookup *lookup, const struct weir_lookup_answer *answer);
};

struct weir_control;
struct weir_control *weir_control_create(struct weir_loop *loop, const struct weir_conf *conf);
/* Open questions are forgotten without an answer. NULL is fine. */
void weir_control_destroy(struct weir_control *control);
/* After a reload: forgets answers and closes what is idle. Open questions go on. */
void weir_control_reset(struct weir_control *control, const struct weir_conf *conf);

/* `lookup->done` is set by the caller. It is called once, from the loop and never from inside this
 * call, unless the lookup is cancelled before; then the lookup may be freed or asked again. `target`
 * and `user` are copied. `fresh`: what is remembered does not do. */
void weir_control_ask(struct weir_control *control, const struct weir_lookup_target *target,
                      const char *user, bool fresh, struct weir_lookup *lookup);
/* The same for whether `user` is a member of `role`, directly or through other roles, as PostgreSQL's own
 * rules have it: nobody is one by being superuser, everybody is one of himself, and nobody who does not
 * exist. Answers are remembered as those about users. */
void weir_control_ask_member(struct weir_control *control, const struct weir_lookup_target *target,
                             const char *user, const char *role, struct weir_lookup *lookup);
/* No answer will come. Safe whether asked or not. */
void weir_lookup_cancel(struct weir_lookup *lookup);

/* --- listening ------------------------------------------------------------------------- */

/* Some pool may listen for its clients (listen_hub). */
bool weir_listen_is_configured(const struct weir_conf *conf);
/* Where and as whom a pool of `line` whose servers are asked for `database` as `user` listens: as that
 * user, or, when libpq has no password of his, as auth_user. Cleared as any lookup target. */
void weir_listen_target_make(const struct weir_conf *conf, const struct weir_user_file *users,
                             const struct weir_database *line, const char *database,
                             const char *user, struct weir_lookup_target *target);

/* One connection that listens to channels. Each function is called from the loop, never from inside a
 * call of the owner's; after `lost` only weir_listen_close may be called, from there as well. None of
 * the others may close it. */
struct weir_listen_ops {
    /* It is logged in and ready. */
    void (*ready)(void *context, uint32_t backend_pid);
    void (*notified)(void *context, uint32_t backend_pid, const char *channel, const char *payload);
    /* All that was asked up to `request` has been carried out, and everything that was notified and
     * committed before the server began with it has been told. */
    void (*done)(void *context, uint64_t request);
    /* It could not be made, or has ended. */
    void (*lost)(void *context, const char *problem);
};

struct weir_listen;
/* Begins to connect. `target` and `encoding` (what the client's side speaks; NULL: the server's choice)
 * are copied. */
struct weir_listen *weir_listen_open(struct weir_control *control,
                                     const struct weir_lookup_target *target, const char *encoding,
                                     const struct weir_listen_ops *ops, void *context);
/* NULL is fine. */
void weir_listen_close(struct weir_listen *listen);
/* Only once it is ready; each returns its request number, which grow. What is asked while the server
 * is busy is put together to one question. */
uint64_t weir_listen_begin(struct weir_listen *listen, const char *channel);
uint64_t weir_listen_end(struct weir_listen *listen, const char *channel);
uint64_t weir_listen_ping(struct weir_listen *listen);
/* Who it logs in as, for messages. */
const char *weir_listen_user(const struct weir_listen *listen);

/* --- for --check ----------------------------------------------------------------------- */

/* Asks for `user` and blocks until there is an answer. False: what is missing stands in *said,
 * otherwise how it went (free it). */
bool weir_control_prove(const struct weir_lookup_target *target, const char *user, char **said);
/* The same for members of roles. */
bool weir_control_prove_members(const struct weir_lookup_target *target, char **said);

#endif
