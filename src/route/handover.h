/* Private to watching.c and handover.c: what a server connection does for its client and the hub. */
#ifndef WEIR_ROUTE_HANDOVER_H
#define WEIR_ROUTE_HANDOVER_H

#include "router.h"

static inline void handover_set_stage(struct handover *handover, enum handover_stage stage)
{
    handover->stage = stage;
    handover->since = handover->server->router->loop->now;
}

/* --- watching.c ------------------------------------------------------------------------ */

/* The server connection's, made if there is none. */
struct handover *handover_make(struct server *server);
/* What the session has heard, and the channels that are new, are not needed any more. */
void handover_forget_direct(struct handover *handover);
void handover_forget_fresh(struct handover *handover);
/* What has been heard until now was not the client's: it goes on. `watched`: what is notified from now on
 * is. */
void handover_stop_holding(struct handover *handover, bool watched);

/* --- handover.c ------------------------------------------------------------------------ */

/* One of our own queries is about to be sent to the session. */
void handover_expect(struct server *server);

#endif
