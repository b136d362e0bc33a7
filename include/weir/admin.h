/* The console: clients of the databases "pgweir" and "pgbouncer" speak to it in SQL's clothes, by the
 * simple and by the extended protocol. It sees the router through weir/view.h and acts on it through
 * weir/operator.h. */
#ifndef WEIR_ADMIN_H
#define WEIR_ADMIN_H

#include <stdbool.h>

#include "weir/net.h"
#include "weir/route.h"

enum weir_shutdown {
    WEIR_SHUTDOWN_NOW,          /* SHUTDOWN */
    WEIR_SHUTDOWN_WAIT_SERVERS, /* SHUTDOWN WAIT_FOR_SERVERS: as SIGINT */
    WEIR_SHUTDOWN_WAIT_CLIENTS, /* SHUTDOWN WAIT_FOR_CLIENTS: as SIGTERM */
};

/* What only the daemon can do. Texts in *problem are the caller's to free. */
struct weir_admin_ops {
    /* Reads the file again and applies it. False with *problem: everything stays as it was. */
    bool (*reload)(void *context, char **problem);
    /* Changes one setting until the next reload. */
    bool (*set)(void *context, const char *name, const char *value, char **problem);
    /* Reads the file again without applying it: what a reload would change. NULL with *problem. */
    struct weir_conf *(*read)(void *context, char **problem);
    /* Begins to end the daemon, in a later turn. */
    void (*shutdown)(void *context, enum weir_shutdown how);
};

struct weir_admin;

/* Registers itself with the router as its console. `ops` and `context` stay the caller's. */
struct weir_admin *weir_admin_create(struct weir_loop *loop, struct weir_router *router,
                                     const struct weir_admin_ops *ops, void *context);
/* To be called before the router is destroyed; ends its clients. */
void weir_admin_destroy(struct weir_admin *admin);

#endif
