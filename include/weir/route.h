/* The room that joins clients, pools and servers: binding by transaction, relaying, prepared
 * statement names, settings, cancel. Above it are the console, the pages and the daemon; what they see
 * of it is weir/view.h, what they may do weir/operator.h. */
#ifndef WEIR_ROUTE_H
#define WEIR_ROUTE_H

#include <stdbool.h>

#include "weir/auth.h"
#include "weir/conf.h"
#include "weir/hba.h"
#include "weir/net.h"
#include "weir/session.h"

struct weir_router;

/* So many connections that have not logged in there may be besides those for which max_client_conn has
 * places left. */
#define WEIR_ROUTER_STRANGERS 100

/* Takes over `conf` and `users` (NULL: no auth_file). Never fails. */
struct weir_router *weir_router_create(struct weir_loop *loop, struct weir_conf *conf,
                                       struct weir_user_file *users);
/* Closes everything at once and frees it. */
void weir_router_destroy(struct weir_router *router);
/* A weir_on_accept with the router as context. */
void weir_router_accept(void *router, int fd, const struct weir_address *peer);
/* Takes over the fresh snapshot and the fresh user file. What differs is applied without dropping
 * anybody who is not concerned; what changed is logged, also what needs a restart. */
void weir_router_reload(struct weir_router *router, struct weir_conf *conf,
                        struct weir_user_file *users);
/* What clients get of TLS from now on; the router shares the context. */
void weir_router_set_tls(struct weir_router *router, const struct weir_client_tls *tls);
/* Takes over the rules of who may come in, for auth_type hba: those who log in from now on are held
 * to them. NULL, and before the first call: with auth_type hba nobody may. */
void weir_router_set_rules(struct weir_router *router, struct weir_hba *rules);
/* No new logins; every client is told 57P01 at its next transaction boundary. */
void weir_router_drain(struct weir_router *router);
/* True when no client is left, but for those that have got their last words and those of the
 * console, which may watch to the end. */
bool weir_router_is_drained(const struct weir_router *router);

/* --- the console ------------------------------------------------------------------------ */

enum weir_console_rights { WEIR_CONSOLE_STATS, WEIR_CONSOLE_ADMIN };

/* Clients of the databases "pgweir" and "pgbouncer" are the console's. They log in like all others:
 * by the rules of auth_type, as users that admin_users or stats_users name (auth_type any: everybody
 * has all rights); or over the Unix socket, as user "pgweir" or "pgbouncer" with the user id of this
 * process, without password. They do not count for max_client_conn but have max_console_connections
 * places of their own, and stay when all others drain, until the router is destroyed. */
struct weir_console_ops {
    /* Logged in and not welcomed yet: AuthenticationOk, parameters, BackendKeyData (client->cancel_*)
     * and ReadyForQuery are the console's to write. It sets stream.on_event at once: from now on the
     * stream's events are the console's, which ends the client by weir_router_dismiss and by
     * nothing else. client->login, with the startup settings, is there during the call only. What the client sent along with its password is kept in the stream only
     * after the call: it is to be looked at in a later step (weir_loop_defer). */
    void (*attach)(void *context, struct weir_client *client, enum weir_console_rights rights);
    /* The router ends this client (shutdown, KILL_CLIENT), tells it why and frees it. The console
     * forgets it at once and does not dismiss it. Never called from within a call of the console's. */
    void (*detach)(void *context, struct weir_client *client);
    /* A cancel request with the client's key (^C in psql). It is to end the wait of this client, if
     * it waits, and of no other. NULL: such requests are ignored.
     *
     * PgBouncer resumes everything then. Here a cancelled PAUSE is undone only if it was this very
     * command that paused (WEIR_OPERATOR_DONE, not _ALREADY) and no other client of the console waits
     * for the same, so that nobody's pause is undone by somebody else's ^C. */
    void (*cancel)(void *context, struct weir_client *client);
};
/* Without a console (NULL) its databases do not exist. `ops` and `context` stay the caller's and must
 * live as long as the router. Clients of the console that was there before are told that the daemon
 * goes down and are ended, without detach. */
void weir_router_set_console(struct weir_router *router, const struct weir_console_ops *ops,
                             void *context);
/* Ends a console client; the caller does not touch it any more. What was written to its stream still
 * arrives, if the client reads it within five seconds. */
void weir_router_dismiss(struct weir_router *router, struct weir_client *client);

/* The configuration that is in force, until the next reload. */
const struct weir_conf *weir_router_conf(const struct weir_router *router);
/* A reload that failed, for the operator to see; NULL: the last one succeeded. Copied. */
void weir_router_note_reload(struct weir_router *router, const char *problem);

/* Writes pools, waits, holders and counters to the log. */
void weir_router_report(struct weir_router *router);
/* One line of counters, for log_stats. */
void weir_router_log_stats(struct weir_router *router);

#endif
