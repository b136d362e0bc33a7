/* What an operator may do to the router. All of it takes effect at once and returns; what takes time
 * (PAUSE, WAIT_CLOSE) is asked after with weir_operator_is_..., as often as one likes, by as many as
 * like. `database` is a name as clients use it; NULL: all of them, also those that no client has used
 * yet. Afterwards each is on its own: after a pause of all, one may be resumed by its name. */
#ifndef WEIR_OPERATOR_H
#define WEIR_OPERATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/route.h"

enum weir_operator_result {
    WEIR_OPERATOR_DONE,
    WEIR_OPERATOR_NO_DATABASE,
    WEIR_OPERATOR_NO_CLIENT,
    WEIR_OPERATOR_ALREADY,  /* is paused, disabled, ... already; with NULL: all of them */
    WEIR_OPERATOR_NOT,      /* is not paused, not disabled, ...; with NULL: none of them */
    WEIR_OPERATOR_DRAINING, /* pause, resume and suspend: not while shutting down */
};

/* Nobody gets a server connection any more; idle ones close, logins under way are given up; who has
 * one keeps it to the end of its transaction (session, when pinned or in session mode), then it is
 * closed. New logins wait once no server is left to be asked for its parameters. Who waits longer than
 * pool_timeout is refused as ever. */
enum weir_operator_result weir_operator_pause(struct weir_router *router, const char *database);
/* Marked as paused; NULL: all of them were, by one pause, and not resumed by one resume. */
bool weir_operator_is_paused(const struct weir_router *router, const char *database);
/* It is paused, and no server connection of it is left: none that a client holds, none that is
 * being cleaned or closed. PostgreSQL has no session of ours any more. */
bool weir_operator_is_paused_out(const struct weir_router *router, const char *database);
/* Undoes pause and kill, and with NULL suspend. */
enum weir_operator_result weir_operator_resume(struct weir_router *router, const char *database);
/* Undoes the one pause that was asked for with this `database` and is given up: what others have paused
 * besides, by name or all, stays so. Nothing when it was resumed meanwhile. */
void weir_operator_take_pause_back(struct weir_router *router, const char *database);
/* All reading from clients stops, but for messages that are half through; answers still go out.
 * Clients that log in wait, too; those of the console are served. */
enum weir_operator_result weir_operator_suspend(struct weir_router *router);
/* Suspended, whether or not something is half sent still. */
bool weir_operator_suspends(const struct weir_router *router);
/* Suspended, and nothing is half sent on any connection. */
bool weir_operator_is_suspended(const struct weir_router *router);

/* New logins are refused: "database X is disabled"; clients that are in stay. */
enum weir_operator_result weir_operator_disable(struct weir_router *router, const char *database);
enum weir_operator_result weir_operator_enable(struct weir_router *router, const char *database);
/* Every server connection is replaced, busy ones when they are released. */
enum weir_operator_result weir_operator_reconnect(struct weir_router *router, const char *database);
/* None of those that reconnect marked is left. */
bool weir_operator_is_reconnected(const struct weir_router *router, const char *database);

/* Ends all clients (57P01), cancels what runs and closes all server connections of it at once; it stays
 * paused. */
enum weir_operator_result weir_operator_kill(struct weir_router *router, const char *database);
/* Ends one client; its statement is cancelled, its server connection cleaned and reused. A console
 * client may be ended like any other, also the one that asks: it is ended later in the turn. One that
 * is ending already is cut off. */
enum weir_operator_result weir_operator_kill_client(struct weir_router *router, uint64_t id);

#endif
