/* Pools with clients and servers that exist in memory only. Every decision is taken at once and
 * written down as a word:
 *
 *     bind:1=a  open:a  ping:a  close:a/age  timeout:1  fail:1
 *
 * Clients are numbers, servers are letters in the order of their opening. */
#ifndef WEIR_TESTS_POOL_WORLD_H
#define WEIR_TESTS_POOL_WORLD_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/pool.h"

#define SERVERS 52
#define CLIENTS 24 /* one event may open a server for each */
#define POOLS   4

struct client {
    struct weir_pool_waiter waiter;
    struct weir_pool_server *server;
    int pool;
};

struct world {
    struct weir_pool_group *group;
    struct weir_pool_cap caps[3];
    struct weir_pool_limits limits[POOLS];
    struct weir_pool *pools[POOLS];
    int pool_count;
    struct weir_pool_server servers[SERVERS];
    bool exists[SERVERS];
    int last_server;
    struct client clients[CLIENTS];
    weir_usec now;
    bool refuse_open; /* DO_OPEN is ignored */
    char words[4096];
};

static const struct weir_pool_limits plain_limits = {
    .pool_size = 5,
    .connect_parallel = 100,
    .use_lifo = true,
    .login_retry = WEIR_SEC,
    .login_retry_max = 15 * WEIR_SEC,
};

static inline char letter(int server)
{
    return (char)(server < 26 ? 'a' + server : 'A' + server - 26);
}

static inline int number(char name)
{
    return name >= 'a' ? name - 'a' : name - 'A' + 26;
}

static inline void say(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void say(struct world *world, const char *format, ...)
{
    size_t used = strlen(world->words);
    va_list arguments;
    if (used > 0 && used + 1 < sizeof(world->words)) {
        world->words[used++] = ' ';
        world->words[used] = 0;
    }
    va_start(arguments, format);
    vsnprintf(world->words + used, sizeof(world->words) - used, format, arguments);
    va_end(arguments);
}

static inline int find_free_server(struct world *world)
{
    for (int i = 1; i <= SERVERS; i++) {
        int server = (world->last_server + i) % SERVERS;
        if (!world->exists[server])
            return server;
    }
    abort();
}

static inline void begin_opening(struct world *world, struct weir_pool *pool)
{
    int server = find_free_server(world);
    world->last_server = server;
    world->exists[server] = true;
    world->servers[server] = (struct weir_pool_server){0};
    weir_pool_opening(pool, &world->servers[server], world->now);
    say(world, "open:%c", letter(server));
}

static inline void take_decision(struct world *world, const struct weir_pool_decision *decision)
{
    static const char *const reasons[] = {"idle", "age", "surplus", "handover", "asked", "failed"};
    char server = 0;
    int client = -1;

    if (decision->server != NULL)
        server = letter((int)(decision->server - world->servers));
    if (decision->waiter != NULL)
        client = (int)(weir_container_of(decision->waiter, struct client, waiter) - world->clients);
    switch (decision->kind) {
    case WEIR_POOL_DO_BIND:
        world->clients[client].server = decision->server;
        say(world, "bind:%d=%c", client, server);
        break;
    case WEIR_POOL_DO_OPEN:
        if (world->refuse_open)
            say(world, "refused");
        else
            begin_opening(world, decision->pool);
        break;
    case WEIR_POOL_DO_PING:
        say(world, "ping:%c", server);
        break;
    case WEIR_POOL_DO_CLOSE:
        say(world, "close:%c/%s", server, reasons[decision->reason]);
        break;
    case WEIR_POOL_DO_TIMEOUT:
        say(world, "timeout:%d", client);
        break;
    case WEIR_POOL_DO_FAIL:
        say(world, "fail:%d", client);
        break;
    }
}

static inline void take_decisions(struct world *world)
{
    struct weir_pool_decision decision;
    while (weir_pool_next(world->group, &decision))
        take_decision(world, &decision);
}

static inline void make_world(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof(*world));
    world->group = weir_pool_group_create(seed);
    world->now = 1000 * WEIR_SEC;
    world->last_server = SERVERS - 1;
}

static inline int add_pool(struct world *world, const struct weir_pool_limits *limits, bool cap0,
                           bool cap1, bool cap2)
{
    int pool = world->pool_count++;
    struct weir_pool_cap *const caps[3] = {cap0 ? &world->caps[0] : NULL,
                                           cap1 ? &world->caps[1] : NULL,
                                           cap2 ? &world->caps[2] : NULL};
    world->limits[pool] = *limits;
    world->pools[pool] =
        weir_pool_create(world->group, &world->limits[pool], caps, &world->limits[pool]);
    return pool;
}

static inline void end_world(struct world *world)
{
    struct weir_pool_decision decision;
    for (int i = 0; i < CLIENTS; i++)
        weir_pool_leave(&world->clients[i].waiter, world->now);
    for (int i = 0; i < SERVERS; i++)
        if (world->exists[i])
            weir_pool_gone(&world->servers[i], false, world->now);
    while (weir_pool_next(world->group, &decision))
        ;
    for (int i = 0; i < world->pool_count; i++)
        weir_pool_destroy(world->pools[i]);
    weir_pool_group_destroy(world->group);
}

static inline void want(struct world *world, int client, int pool)
{
    struct weir_pool_server *server = NULL;
    switch (
        weir_pool_want(world->pools[pool], &world->clients[client].waiter, world->now, &server)) {
    case WEIR_POOL_GOT:
        world->clients[client].server = server;
        say(world, "got:%c", letter((int)(server - world->servers)));
        break;
    case WEIR_POOL_QUEUED:
        say(world, "queued");
        break;
    case WEIR_POOL_FULL:
        say(world, "full");
        break;
    }
}

static inline void detach(struct world *world, const struct weir_pool_server *server)
{
    for (int i = 0; i < CLIENTS; i++)
        if (world->clients[i].server == server)
            world->clients[i].server = NULL;
}

#endif
