/* What an operator may do to the router. All of it takes effect at once and returns; what takes time
 * (PAUSE, WAIT_CLOSE) is asked after with weir_operator_is_..., as often as one likes.
 * `database` is a name as clients use it; NULL: all. */
#ifndef WEIR_OPERATOR_H
#define WEIR_OPERATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/route.h"

enum weir_operator_result {
    WEIR_OPERATOR_DONE,
    WEIR_OPERATOR_NO_DATABASE,
    WEIR_OPERATOR_NO_CLIENT,
    WEIR_OPERATOR_ALREADY,  /* is paused, disabled, ... already */
    WEIR_OPERATOR_NOT,      /* is not paused, not disabled, ... */
    WEIR_OPERATOR_DRAINING, /* not while shutting down */
};

/* Nobody gets a server connection any more; idle ones close; who has one keeps it to the end of its
 * transaction (session, when pinned or in session mode). New logins wait. */
enum weir_operator_result weir_operator_pause(struct weir_router *router, const char *database);
/* No client holds a server connection of it any more. */
bool weir_operator_is_paused_out(const struct weir_router *router, const char *database);
/* Undoes pause, kill and suspend. */
enum weir_operator_result weir_operator_resume(struct weir_router *router, const char *database);
/* All reading from clients stops; what is under way is finished. */
enum weir_operator_result weir_operator_suspend(struct weir_router *router);
/* Nothing is half sent on any connection. */
bool weir_operator_is_suspended(const struct weir_router *router);

/* New logins are refused: "database X is disabled"; clients that are in stay. */
enum weir_operator_result weir_operator_disable(struct weir_router *router, const char *database);
enum weir_operator_result weir_operator_enable(struct weir_router *router, const char *database);
/* Every server connection is replaced, busy ones when they are released. */
enum weir_operator_result weir_operator_reconnect(struct weir_router *router, const char *database);
/* None of those that reconnect marked is left. */
bool weir_operator_is_reconnected(const struct weir_router *router, const char *database);

/* Ends all clients and closes all server connections of it at once; it stays paused. */
enum weir_operator_result weir_operator_kill(struct weir_router *router, const char *database);
/* Ends one client; its statement is cancelled, its server connection cleaned and reused. A console
 * client may be ended like any other. */
enum weir_operator_result weir_operator_kill_client(struct weir_router *router, uint64_t id);

#endif
