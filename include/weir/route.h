/* The room that joins clients, pools and servers: binding by transaction, relaying, prepared
 * statement names, settings, cancel. Above it is only the daemon. */
#ifndef WEIR_ROUTE_H
#define WEIR_ROUTE_H

#include <stdbool.h>

#include "weir/auth.h"
#include "weir/conf.h"
#include "weir/net.h"

struct weir_router;

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
/* No new logins; every client is told 57P01 at its next transaction boundary. */
void weir_router_drain(struct weir_router *router);
/* True when no client is left, but for those that have got their last words. */
bool weir_router_is_drained(const struct weir_router *router);
/* Writes pools, waits, holders and counters to the log. */
void weir_router_report(struct weir_router *router);
/* One line of counters, for log_stats. */
void weir_router_log_stats(struct weir_router *router);

#endif
