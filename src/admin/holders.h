/* Pools with who holds their connections, looked up by name: made for one slice of an answer. */
#ifndef WEIR_ADMIN_HOLDERS_H
#define WEIR_ADMIN_HOLDERS_H

#include <uthash.h>

#include "weir/view.h"

/* So much of the statement of the longest holder is kept. */
#define HOLDER_STATEMENT_MAX 512

struct holder_pool {
    UT_hash_handle hh;
    enum weir_view_limit limit;
    int cap_used, cap_limit, ceiling;
    int clients, waiting, servers, opening;
    weir_usec oldest_wait;
    struct weir_view_holders holders;
    struct weir_pool_settings settings; /* strings are the configuration's */
    char *problem;                      /* NULL: none */
    const char *database, *user;        /* in key */
    /* The one that has had its connection for the longest time; held 0: none. */
    weir_usec held;
    uint64_t client_id;
    uint32_t backend_pid;
    char doing[32];
    char *statement; /* NULL: not known */
    char key[];      /* database, zero byte, user */
};

struct holder_pool *holders_collect(const struct weir_router *router);
const struct holder_pool *holders_find(struct holder_pool *pools, const char *database,
                                       const char *user);
void holders_free(struct holder_pool *pools);

#endif
