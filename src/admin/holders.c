#include "holders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/memory.h"

static size_t key_length(const char *database, const char *user)
{
    return strlen(database) + 1 + strlen(user);
}

static void collect_pool(void *context, const struct weir_view_pool *row)
{
    struct holder_pool **pools = context;
    size_t length = key_length(row->database, row->user);
    struct holder_pool *pool = weir_alloc(sizeof(*pool) + length + 1);
    size_t database = strlen(row->database);
    memcpy(pool->key, row->database, database + 1);
    memcpy(pool->key + database + 1, row->user, strlen(row->user) + 1);
    pool->database = pool->key;
    pool->user = pool->key + database + 1;
    pool->limit = row->limit;
    pool->cap_used = row->cap_used;
    pool->cap_limit = row->cap_limit;
    pool->ceiling = row->ceiling;
    pool->clients = row->clients;
    pool->waiting = row->clients_waiting;
    pool->opening = row->servers_login;
    pool->servers = row->servers_active + row->servers_idle + row->servers_used +
                    row->servers_tested + row->servers_login + row->servers_closing;
    pool->oldest_wait = row->counts.oldest_wait;
    pool->holders = row->holders;
    pool->settings = *row->settings;
    pool->problem = weir_strdup(row->problem);
    HASH_ADD_KEYPTR(hh, *pools, pool->key, length, pool);
}

static struct holder_pool *find(struct holder_pool *pools, const char *database, const char *user)
{
    size_t length = key_length(database, user), first = strlen(database);
    char *key = weir_alloc(length + 1);
    memcpy(key, database, first + 1);
    memcpy(key + first + 1, user, strlen(user) + 1);
    struct holder_pool *pool;
    HASH_FIND(hh, pools, key, length, pool);
    free(key);
    return pool;
}

static void collect_server(void *context, const struct weir_view_server *row)
{
    struct holder_pool **pools = context;
    if (row->held <= 0 || row->database == NULL || row->user == NULL)
        return;
    struct holder_pool *pool = find(*pools, row->database, row->user);
    if (pool == NULL || row->held <= pool->held)
        return;
    size_t length =
        row->statement.length < HOLDER_STATEMENT_MAX ? row->statement.length : HOLDER_STATEMENT_MAX;
    free(pool->statement);
    pool->held = row->held;
    pool->client_id = row->client_id;
    pool->backend_pid = row->backend_pid;
    snprintf(pool->doing, sizeof(pool->doing), "%s", row->doing);
    pool->statement =
        row->statement.text != NULL ? weir_strndup(row->statement.text, length) : NULL;
}

struct holder_pool *holders_collect(const struct weir_router *router)
{
    struct holder_pool *pools = NULL;
    weir_view_pools(router, collect_pool, &pools);
    weir_view_servers(router, collect_server, &pools);
    return pools;
}

const struct holder_pool *holders_find(struct holder_pool *pools, const char *database,
                                       const char *user)
{
    return database != NULL && user != NULL ? find(pools, database, user) : NULL;
}

void holders_free(struct holder_pool *pools)
{
    struct holder_pool *pool, *next;
    HASH_ITER(hh, pools, pool, next) {
        HASH_DEL(pools, pool);
        free(pool->statement);
        free(pool->problem);
        free(pool);
    }
}
