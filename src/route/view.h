/* Private to the route room: what operators see. */
#ifndef WEIR_ROUTE_VIEW_H
#define WEIR_ROUTE_VIEW_H

#include "router.h"

/* --- view.c ---------------------------------------------------------------------------- */

struct weir_view_statement;

int64_t view_wall_now(void);
/* Of an instant of the loop's clock, 0 stays 0. */
int64_t view_wall(const struct weir_router *router, weir_usec instant);
const char *view_application_name(const struct weir_profile *settings);
/* What the server connection runs, or ran last. */
void view_server_statement(const struct server *server, struct weir_view_statement *statement);
/* What the client asks for next, as far as it is kept here. */
void view_client_statement(const struct client *client, struct weir_view_statement *statement);

/* --- view_prepared.c ------------------------------------------------------------------- */

/* A name of the client, the empty one included; NULL: unknown. */
const struct client_statement *view_named(const struct client *client, const char *name,
                                          size_t length);

/* --- view_pools.c ---------------------------------------------------------------------- */

struct weir_view_holders;
void view_holders(const struct destination *destination, struct weir_view_holders *holders);

/* --- report.c -------------------------------------------------------------------------- */

/* "3 running, 5 idle in transaction, 1 slow reader": who holds the connections of the pool. */
void report_holders(const struct destination *destination, char *text, size_t size);
void report_slow_query(struct server *server);

#endif
