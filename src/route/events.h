/* The last events of pools, for the operator: a ring of fixed size. Not for what happens at every
 * transaction. */
#ifndef WEIR_ROUTE_EVENTS_H
#define WEIR_ROUTE_EVENTS_H

#include <stdint.h>

#include "weir/reason.h"

#define EVENTS_KEPT 512

struct client;
struct destination;
struct events;
struct server;
struct weir_router;

struct events *events_create(void);
void events_destroy(struct events *events);
/* `event` is a literal: "connect". `detail` is copied, as far as there is room; NULL: none. */
/* `database` NULL: all. */
void events_of_router(struct weir_router *router, const char *event, const char *database,
                      const char *detail);
/* Of a connection that was refused before anything was made for it. */
void events_of_stranger(struct weir_router *router, const char *event, enum weir_reason reason,
                        const char *detail);
void events_of_pool(const struct destination *destination, const char *event, const char *detail);
/* WEIR_REASON_COUNT: no reason. */
void events_of_server(const struct server *server, const char *event, enum weir_reason reason,
                      const char *detail);
void events_of_client(const struct client *client, const char *event, enum weir_reason reason,
                      const char *detail);

#endif
