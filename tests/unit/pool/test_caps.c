/* Several pools under shared caps: who gets a slot, and equal shares in virtual time. */
#include <limits.h>
#include <time.h>

#include <criterion/criterion.h>

#include "world.h"

static void expect_words(struct world *world, const char *expected, int line)
{
    take_decisions(world);
    cr_expect_str_eq(world->words, expected, "line %d: got \"%s\", expected \"%s\"", line,
                     world->words, expected);
    world->words[0] = 0;
}
#define EXPECT(world, expected) expect_words(world, expected, __LINE__)

static void make_pair(struct world *world, int cap, int pool_size)
{
    struct weir_pool_limits limits = plain_limits;
    limits.pool_size = pool_size;
    make_world(world, 1);
    world->caps[0].limit = cap;
    add_pool(world, &limits, true, false, false);
    add_pool(world, &limits, true, false, false);
}

static void bring_up(struct world *world, int client, int pool, int server)
{
    want(world, client, pool);
    take_decisions(world);
    weir_pool_opened(&world->servers[server], world->now);
    take_decisions(world);
    cr_assert_eq(world->clients[client].server, &world->servers[server]);
    world->words[0] = 0;
}

static void release(struct world *world, int server)
{
    detach(world, &world->servers[server]);
    weir_pool_release(&world->servers[server], world->now);
    take_decisions(world);
}

static void end_server(struct world *world, int server)
{
    world->exists[server] = false;
    weir_pool_gone(&world->servers[server], false, world->now);
    take_decisions(world);
}

Test(caps, idle_server_of_another_pool_is_closed_for_a_waiter)
{
    struct world world;
    make_pair(&world, 2, 5);
    bring_up(&world, 1, 0, 0);
    bring_up(&world, 2, 0, 1);
    world.now += 50 * WEIR_MSEC;
    release(&world, 0);
    world.now += WEIR_MSEC;
    release(&world, 1);
    want(&world, 3, 1);
    EXPECT(&world, "queued close:a/handover"); /* the longest idle */
    want(&world, 4, 0);
    EXPECT(&world, "got:b"); /* the pool's own idle server stays its own */
    end_server(&world, 0);
    EXPECT(&world, "open:c");
    cr_expect_eq(world.caps[0].used, 2);
    end_world(&world);
}

Test(caps, a_full_cap_is_named_as_the_obstacle)
{
    struct world world;
    const struct weir_pool_cap *cap = NULL;
    make_pair(&world, 1, 5);
    cr_expect_eq(weir_pool_obstacle(world.pools[1], world.now, &cap), WEIR_POOL_CLEAR);
    cr_expect_null(cap);
    bring_up(&world, 1, 0, 0);
    cr_expect_eq(weir_pool_obstacle(world.pools[1], world.now, &cap), WEIR_POOL_AT_CAP);
    cr_expect_eq(cap, &world.caps[0]);
    want(&world, 2, 1);
    EXPECT(&world, "queued");
    const struct weir_list *waiters = weir_pool_waiter_list(world.pools[1]);
    cr_expect_eq(weir_list_first(waiters), &world.clients[2].waiter.link);
    cr_expect(weir_list_is_empty(weir_pool_waiter_list(world.pools[0])));
    end_server(&world, 0);
    end_world(&world);
}

Test(caps, young_idle_server_is_closed_a_little_later)
{
    struct world world;
    make_pair(&world, 1, 5);
    bring_up(&world, 1, 0, 0);
    release(&world, 0);
    want(&world, 2, 1);
    EXPECT(&world, "queued");
    world.now += 24 * WEIR_MSEC;
    weir_pool_tick(world.group, world.now);
    EXPECT(&world, "");
    world.now += WEIR_MSEC;
    weir_pool_tick(world.group, world.now);
    EXPECT(&world, "close:a/handover");
    end_world(&world);
}

Test(caps, returned_server_goes_to_the_pool_whose_client_waited_longer)
{
    struct world world;
    make_pair(&world, 1, 5);
    bring_up(&world, 1, 0, 0);
    want(&world, 2, 1);
    world.now += 5 * WEIR_MSEC;
    want(&world, 3, 0);
    EXPECT(&world, "queued queued");
    world.now += 10 * WEIR_MSEC;
    release(&world, 0); /* client 2 waited 15 ms only: no hand-over yet */
    EXPECT(&world, "bind:3=a");
    want(&world, 4, 0);
    world.now += 11 * WEIR_MSEC;
    release(&world, 0);
    EXPECT(&world, "queued close:a/handover");
    end_server(&world, 0);
    EXPECT(&world, "open:b");
    cr_expect_eq(world.servers[1].pool, world.pools[1]);
    end_world(&world);
}

Test(caps, own_client_that_waited_longer_comes_first)
{
    struct world world;
    make_pair(&world, 1, 5);
    bring_up(&world, 1, 0, 0);
    want(&world, 2, 0);
    world.now += 5 * WEIR_MSEC;
    want(&world, 3, 1);
    world.now += 100 * WEIR_MSEC;
    world.words[0] = 0;
    release(&world, 0);
    EXPECT(&world, "bind:2=a");
    release(&world, 0);
    EXPECT(&world, "close:a/handover");
    end_world(&world);
}

Test(caps, free_slot_goes_to_the_longest_waiter_of_all_pools)
{
    struct world world;
    make_pair(&world, 1, 5);
    add_pool(&world, &world.limits[0], true, false, false);
    bring_up(&world, 1, 0, 0);
    want(&world, 2, 0);
    world.now += WEIR_MSEC;
    want(&world, 3, 2);
    world.now += WEIR_MSEC;
    want(&world, 4, 1);
    weir_pool_leave(&world.clients[2].waiter, world.now);
    EXPECT(&world, "queued queued queued");
    end_server(&world, 0);
    EXPECT(&world, "open:b");
    cr_expect_eq(world.servers[1].pool, world.pools[2]);
    end_world(&world);
}

/* Servers a (old) and b (young) are in use by two pools that have more clients; another waits. */
static void make_rivals(struct world *world)
{
    make_pair(world, 2, 5);
    add_pool(world, &world->limits[0], true, false, false);
    bring_up(world, 1, 0, 0);
    world->now += 40 * WEIR_MSEC;
    bring_up(world, 2, 1, 1);
    want(world, 3, 2);
    world->now += WEIR_MSEC;
    want(world, 4, 0);
    want(world, 5, 1);
    take_decisions(world);
    world->words[0] = 0;
}

Test(caps, server_that_was_held_longest_goes_first)
{
    struct world world;
    make_rivals(&world);
    world.now += 26 * WEIR_MSEC;
    release(&world, 1);
    EXPECT(&world, "bind:5=b");
    release(&world, 0);
    EXPECT(&world, "close:a/handover");
    end_world(&world);
}

Test(caps, a_long_transaction_does_not_protect_the_others)
{
    struct world world;
    make_rivals(&world);
    world.now += 51 * WEIR_MSEC;
    release(&world, 1);
    EXPECT(&world, "close:b/handover");
    end_world(&world);
}

Test(caps, one_server_in_use_is_handed_over_at_a_time)
{
    struct world world;
    make_pair(&world, 3, 5);
    for (int i = 0; i < 3; i++)
        bring_up(&world, i + 1, 0, i);
    want(&world, 4, 1);
    want(&world, 5, 1);
    world.now += WEIR_MSEC;
    for (int i = 6; i < 9; i++)
        want(&world, i, 0);
    world.now += 100 * WEIR_MSEC;
    world.words[0] = 0;
    release(&world, 0);
    EXPECT(&world, "close:a/handover");
    release(&world, 1);
    EXPECT(&world, "bind:6=b");
    end_server(&world, 0);
    EXPECT(&world, "open:d");
    end_world(&world);
}

Test(caps, idle_servers_of_two_pools_are_closed_for_one_that_needs_both)
{
    struct world world;
    make_world(&world, 1);
    world.caps[0].limit = 1;
    world.caps[1].limit = 1;
    add_pool(&world, &plain_limits, true, false, false);
    add_pool(&world, &plain_limits, false, true, false);
    add_pool(&world, &plain_limits, true, true, false);
    bring_up(&world, 1, 0, 0);
    bring_up(&world, 2, 1, 1);
    world.now += 50 * WEIR_MSEC;
    release(&world, 0);
    want(&world, 3, 2);
    EXPECT(&world, "queued");
    release(&world, 1);
    EXPECT(&world, "close:b/handover close:a/handover");
    end_server(&world, 0);
    end_server(&world, 1);
    EXPECT(&world, "open:c");
    end_world(&world);
}

Test(caps, no_more_servers_close_than_waiters_need)
{
    struct world world;
    make_pair(&world, 3, 5);
    for (int i = 0; i < 3; i++)
        bring_up(&world, i + 1, 0, i);
    world.now += 50 * WEIR_MSEC;
    for (int i = 0; i < 3; i++)
        release(&world, i);
    want(&world, 4, 1);
    EXPECT(&world, "queued close:a/handover");
    want(&world, 5, 0);
    EXPECT(&world, "got:c");
    weir_pool_leave(&world.clients[4].waiter, world.now);
    EXPECT(&world, "");
    release(&world, 2);
    EXPECT(&world, "");
    end_world(&world);
}

Test(caps, min_pool_size_takes_nothing_from_waiters)
{
    struct world world;
    make_pair(&world, 1, 5);
    bring_up(&world, 1, 0, 0);
    world.limits[1].min_pool_size = 1;
    weir_pool_limits_changed(world.pools[1], world.now);
    world.now += WEIR_SEC;
    weir_pool_tick(world.group, world.now);
    EXPECT(&world, "");
    want(&world, 2, 0);
    end_server(&world, 0);
    EXPECT(&world, "queued open:b");
    cr_expect_eq(world.servers[1].pool, world.pools[0]);
    end_world(&world);
}

Test(caps, raised_cap_is_used)
{
    struct world world;
    make_pair(&world, 1, 5);
    bring_up(&world, 1, 0, 0);
    want(&world, 2, 1);
    EXPECT(&world, "queued");
    world.caps[0].limit = 2;
    weir_pool_limits_changed(world.pools[0], world.now);
    EXPECT(&world, "open:b");
    world.caps[0].limit = 1;
    weir_pool_opened(&world.servers[1], world.now);
    EXPECT(&world, "close:b/surplus");
    end_world(&world);
}

Test(caps, a_server_that_would_not_help_is_left_alone)
{
    struct world world;
    struct weir_pool_limits limits = plain_limits;
    make_world(&world, 1);
    world.caps[0].limit = 1;
    world.caps[1].limit = 1;
    add_pool(&world, &limits, true, false, false);
    add_pool(&world, &limits, false, true, false);
    add_pool(&world, &limits, true, true, false);
    bring_up(&world, 1, 0, 0);
    bring_up(&world, 2, 1, 1);
    want(&world, 3, 2); /* needs both */
    world.now += 50 * WEIR_MSEC;
    weir_pool_tick(world.group, world.now);
    EXPECT(&world, "queued");
    end_server(&world, 0);
    EXPECT(&world, "");
    end_server(&world, 1);
    EXPECT(&world, "open:c");
    end_world(&world);
}

Test(caps, lowered_cap_closes_what_comes_back)
{
    struct world world;
    make_pair(&world, 0, 5);
    bring_up(&world, 1, 0, 0);
    bring_up(&world, 2, 0, 1);
    bring_up(&world, 3, 1, 2);
    world.caps[0].limit = 1;
    weir_pool_limits_changed(world.pools[0], world.now);
    weir_pool_limits_changed(world.pools[1], world.now);
    EXPECT(&world, "");
    world.now += WEIR_SEC;
    release(&world, 1);
    release(&world, 2);
    world.now += 100 * WEIR_MSEC;
    weir_pool_tick(world.group, world.now);
    take_decisions(&world);
    cr_expect(strstr(world.words, "close:b") != NULL && strstr(world.words, "close:c") != NULL,
              "got \"%s\"", world.words);
    world.words[0] = 0;
    end_server(&world, 1);
    end_server(&world, 2);
    release(&world, 0);
    world.now += 100 * WEIR_MSEC;
    weir_pool_tick(world.group, world.now);
    EXPECT(&world, "");
    cr_expect_eq(world.caps[0].used, 1);
    end_world(&world);
}

/* --- virtual time ------------------------------------------------------------------------------
 */

#define TRANSACTION WEIR_MSEC
#define CONNECT     (5 * WEIR_MSEC)
#define STEP        100 /* microseconds */

struct simulation {
    struct world world;
    weir_usec ready_at[SERVERS]; /* login done, or transaction done; closing: gone */
    long done[POOLS];
    weir_usec think;
    weir_usec wants_at[CLIENTS];
    int clients;
};

static void simulate_decision(struct simulation *simulation,
                              const struct weir_pool_decision *decision)
{
    struct world *world = &simulation->world;
    long index = decision->server == NULL ? 0 : decision->server - world->servers;
    take_decision(world, decision);
    if (decision->kind == WEIR_POOL_DO_OPEN)
        simulation->ready_at[world->last_server] = world->now + CONNECT;
    else if (decision->kind == WEIR_POOL_DO_BIND)
        simulation->ready_at[index] = world->now + TRANSACTION + rand() % 200;
    else if (decision->kind == WEIR_POOL_DO_CLOSE)
        simulation->ready_at[index] = world->now + STEP;
    world->words[0] = 0;
}

static void simulate_decisions(struct simulation *simulation)
{
    struct weir_pool_decision decision;
    while (weir_pool_next(simulation->world.group, &decision))
        simulate_decision(simulation, &decision);
}

static void step_servers(struct simulation *simulation)
{
    struct world *world = &simulation->world;
    for (int i = 0; i < SERVERS; i++) {
        struct weir_pool_server *server = &world->servers[i];
        if (!world->exists[i] || world->now < simulation->ready_at[i])
            continue;
        if (server->state == WEIR_POOL_OPENING) {
            weir_pool_opened(server, world->now);
        } else if (server->state == WEIR_POOL_CLOSING) {
            world->exists[i] = false;
            weir_pool_gone(server, false, world->now);
        } else if (server->state == WEIR_POOL_ACTIVE) {
            for (int c = 0; c < simulation->clients; c++)
                if (world->clients[c].server == server) {
                    simulation->done[world->clients[c].pool]++;
                    simulation->wants_at[c] = world->now + simulation->think;
                }
            detach(world, server);
            weir_pool_release(server, world->now);
        }
        simulate_decisions(simulation);
    }
}

static void step_clients(struct simulation *simulation)
{
    struct world *world = &simulation->world;
    for (int i = 0; i < simulation->clients; i++) {
        struct client *client = &world->clients[i];
        if (client->server != NULL || client->waiter.pool != NULL ||
            world->now < simulation->wants_at[i])
            continue;
        want(world, i, client->pool);
        world->words[0] = 0;
        if (client->server != NULL)
            simulation->ready_at[client->server - world->servers] = world->now + TRANSACTION;
        simulate_decisions(simulation);
    }
}

static void simulate(struct simulation *simulation, weir_usec length)
{
    struct world *world = &simulation->world;
    weir_usec end = world->now + length;
    for (; world->now < end; world->now += STEP) {
        step_servers(simulation);
        step_clients(simulation);
        if (world->now % (100 * WEIR_MSEC) == 0) {
            weir_pool_tick(world->group, world->now);
            simulate_decisions(simulation);
        }
        cr_assert(world->caps[0].used <= world->caps[0].limit);
    }
}

struct contest {
    int pools;
    int clients_each;
    int cap;
    weir_usec think;
    long least; /* transactions per pool */
};

static void hold(const struct contest *contest)
{
    struct simulation simulation = {.think = contest->think};
    long least = LONG_MAX;
    long most = 0;
    srand(5);
    make_world(&simulation.world, 3);
    simulation.world.caps[0].limit = contest->cap;
    for (int i = 0; i < contest->pools; i++)
        add_pool(&simulation.world, &plain_limits, true, false, false);
    simulation.clients = contest->pools * contest->clients_each;
    for (int i = 0; i < simulation.clients; i++)
        simulation.world.clients[i].pool = i % contest->pools;
    simulate(&simulation, 8 * WEIR_SEC);
    for (int i = 0; i < contest->pools; i++) {
        long done = simulation.done[i];
        least = done < least ? done : least;
        most = done > most ? done : most;
        fprintf(stderr, "%d clients each, %d slots, think %ld us: pool %d: %ld\n",
                contest->clients_each, contest->cap, (long)contest->think, i, done);
    }
    cr_expect(least * 10 >= most * 9, "shares differ: %ld to %ld", least, most);
    cr_expect(least >= contest->least, "throughput: %ld", least);
    end_world(&simulation.world);
}

Test(fairness, equal_shares)
{
    static const struct contest contests[] = {
        {3, 5, 2, 0, 3000},
        {2, 5, 1, 0, 1800},
        {4, 5, 2, 0, 2000},
        {4, 5, 3, 0, 3000},
        {3, 5, 2, 3 * WEIR_MSEC, 2500}, /* queues run empty now and then */
    };
    for (size_t i = 0; i < sizeof(contests) / sizeof(contests[0]); i++)
        hold(&contests[i]);
}

/* --- many pools ----------------------------------------------------------------------------------
 */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A minute of ticks over pools that have an idle server each: only due work is touched. */
Test(upkeep, ten_thousand_idle_pools_cost_little)
{
    enum { POOLS_IDLE = 10000 };
    struct weir_pool_limits limits = plain_limits;
    struct weir_pool_group *group = weir_pool_group_create(1);
    struct weir_pool **pools = calloc(POOLS_IDLE, sizeof(struct weir_pool *));
    struct weir_pool_server *servers = calloc(POOLS_IDLE, sizeof(*servers));
    struct weir_pool_decision decision;
    weir_usec now = 1000 * WEIR_SEC;
    limits.idle_timeout = 600 * WEIR_SEC;
    for (int i = 0; i < POOLS_IDLE; i++) {
        pools[i] = weir_pool_create(group, &limits, NULL, NULL);
        weir_pool_opening(pools[i], &servers[i], now);
        weir_pool_opened(&servers[i], now);
    }
    weir_pool_tick(group, now);
    double began = seconds();
    for (int i = 0; i < 600; i++)
        weir_pool_tick(group, now += 100 * WEIR_MSEC);
    double spent = seconds() - began;
    cr_expect(spent < 0.6, "a minute cost %f s of CPU",
              spent); /* 1 percent, also with sanitizers */
    cr_expect(!weir_pool_has_decisions(group));
    weir_pool_tick(group, now + 540 * WEIR_SEC);
    int closed = 0;
    while (weir_pool_next(group, &decision))
        closed += decision.kind == WEIR_POOL_DO_CLOSE;
    cr_expect_eq(closed, POOLS_IDLE);
    for (int i = 0; i < POOLS_IDLE; i++) {
        weir_pool_gone(&servers[i], false, now);
        weir_pool_destroy(pools[i]);
    }
    weir_pool_group_destroy(group);
    free(servers);
    free(pools);
}
