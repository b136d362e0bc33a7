/* Each rule of the pool as a script: a line is an event and, after "->", everything that the pool
 * decided. Events:
 *
 *     w1 w1@2 l1 q1     client 1 wants (of pool 2), leaves, is put back with its old place
 *     ua fa Fa          login of server a succeeds, fails, fails fatally
 *     ra ka xa          a is released, answers its ping, fails its ping
 *     ca ga Ga          a is closed by its owner, is gone, is lost
 *     +500 t            500 ms pass; tick
 *     P R X L           pause, resume, reconnect, limits changed (of the first pool)
 *     Na                the owner opens a by itself
 *     sa                a becomes suspect
 *     Aa1               a gets affinity 1; B11: client 1 has affinity 1
 *     d                 the decisions that are due (events with ! in front leave theirs)
 *     ?                 what the next client would wait for
 *     = ...             compares the counts opening/idle/checking/active/closing/waiting
 */
#include <signal.h>

#include <criterion/criterion.h>

#include "world.h"

struct rule {
    const char *name;
    struct weir_pool_limits limits; /* zero fields that matter are taken from plain_limits */
    const char *script;
};

static const char affinities[10];

static struct weir_pool_server *server_named(struct world *world, char name)
{
    return &world->servers[number(name)];
}

static void forget(struct world *world, char name)
{
    detach(world, server_named(world, name));
    world->exists[number(name)] = false;
}

static void say_counts(struct world *world)
{
    struct weir_pool_counts c;
    weir_pool_count(world->pools[0], world->now, &c);
    say(world, "%d/%d/%d/%d/%d/%d", c.opening, c.idle, c.checking, c.active, c.closing, c.waiting);
}

static void say_obstacle(struct world *world)
{
    static const char *const words[] = {
        [WEIR_POOL_CLEAR] = "clear",        [WEIR_POOL_IS_PAUSED] = "paused",
        [WEIR_POOL_IN_BACKOFF] = "backoff", [WEIR_POOL_AT_PARALLEL] = "parallel",
        [WEIR_POOL_AT_DELAY] = "delay",     [WEIR_POOL_AT_CEILING] = "ceiling",
        [WEIR_POOL_AT_CAP] = "cap",
    };
    say(world, "%s", words[weir_pool_obstacle(world->pools[0], world->now, NULL)]);
}

static void happen_to_server(struct world *world, char event, char name)
{
    struct weir_pool_server *server = server_named(world, name);
    weir_usec now = world->now;
    switch (event) {
    case 'u':
        weir_pool_opened(server, now);
        break;
    case 'f':
    case 'F':
        forget(world, name);
        weir_pool_open_failed(server, event == 'F', now);
        break;
    case 'r':
        detach(world, server);
        weir_pool_release(server, now);
        break;
    case 'k':
    case 'x':
        weir_pool_checked(server, event == 'k', now);
        break;
    case 'c':
        detach(world, server);
        weir_pool_closing(server, now);
        break;
    case 'g':
    case 'G':
        forget(world, name);
        weir_pool_gone(server, event == 'G', now);
        break;
    default:
        cr_assert(false, "unknown event %c", event);
    }
}

static void happen_to_client(struct world *world, char event, const char *rest)
{
    char *end;
    int client = (int)strtol(rest, &end, 10);
    int pool = *end == '@' ? atoi(end + 1) : 0;
    struct weir_pool_waiter *waiter = &world->clients[client].waiter;
    if (event == 'w')
        want(world, client, pool);
    else if (event == 'l')
        weir_pool_leave(waiter, world->now);
    else
        weir_pool_requeue(world->pools[pool], waiter, waiter->since, world->now);
}

static void happen_to_pool(struct world *world, char event)
{
    struct weir_pool *pool = world->pools[0];
    if (event == 't')
        weir_pool_tick(world->group, world->now);
    else if (event == 'P')
        weir_pool_pause(pool, world->now);
    else if (event == 'R')
        weir_pool_resume(pool, world->now);
    else if (event == 'X')
        weir_pool_reconnect(pool, world->now);
    else if (event == 'L')
        weir_pool_limits_changed(pool, world->now);
}

static void happen(struct world *world, const char *event)
{
    bool later = event[0] == '!';
    event += later ? 1 : 0;
    if (event[0] == '+')
        world->now += atoi(event + 1) * WEIR_MSEC;
    else if (event[0] == '=')
        say_counts(world);
    else if (event[0] == '?')
        say_obstacle(world);
    else if (event[0] == 'N')
        begin_opening(world, world->pools[0]);
    else if (event[0] == 's')
        server_named(world, event[1])->suspect = true;
    else if (event[0] == 'A')
        server_named(world, event[1])->affinity = &affinities[event[2] - '0'];
    else if (event[0] == 'B')
        world->clients[event[1] - '0'].waiter.affinity = &affinities[event[2] - '0'];
    else if (strchr("wlq", event[0]) != NULL)
        happen_to_client(world, event[0], event + 1);
    else if (strchr("tPRXLd", event[0]) != NULL)
        happen_to_pool(world, event[0]);
    else
        happen_to_server(world, event[0], event[1]);
    if (!later)
        take_decisions(world);
}

static void play_line(struct world *world, const char *rule, char *line)
{
    char *expected = strstr(line, "->");
    char *saved = NULL;
    if (expected != NULL) {
        *expected = 0;
        expected += 2;
        expected += strspn(expected, " ");
    } else {
        expected = line + strlen(line);
    }
    world->words[0] = 0;
    char events[256];
    snprintf(events, sizeof(events), "%s", line);
    for (char *event = strtok_r(line, " ", &saved); event; event = strtok_r(NULL, " ", &saved))
        happen(world, event);
    cr_expect_str_eq(world->words, expected, "%s: after \"%s\": got \"%s\", expected \"%s\"", rule,
                     events, world->words, expected);
}

static void play(struct world *world, const struct rule *rule)
{
    char *script = strdup(rule->script);
    char *saved = NULL;
    for (char *line = strtok_r(script, "\n", &saved); line; line = strtok_r(NULL, "\n", &saved))
        play_line(world, rule->name, line);
    free(script);
}

static struct weir_pool_limits complete(struct weir_pool_limits limits)
{
    if (limits.connect_parallel == 0)
        limits.connect_parallel = plain_limits.connect_parallel;
    if (limits.login_retry == 0) {
        limits.login_retry = plain_limits.login_retry;
        limits.login_retry_max = plain_limits.login_retry_max;
    }
    return limits;
}

static void play_all(const struct rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct world world;
        struct weir_pool_limits limits = complete(rules[i].limits);
        make_world(&world, 1);
        add_pool(&world, &limits, false, false, false);
        play(&world, &rules[i]);
        end_world(&world);
    }
}

#define PLAY(rules) play_all(rules, sizeof(rules) / sizeof((rules)[0]))

/* Each answer is followed by a client that wants: the answer was true. */
Test(rules, obstacles)
{
    static const struct rule rules[] = {
        {"an empty pool opens at once, a full one does not",
         {.pool_size = 1, .max_overflow = 1},
         "? w1 -> clear queued open:a\n"
         "? w2 -> clear queued open:b\n"
         "? w3 -> ceiling queued\n"
         "ua ub ? -> bind:1=a bind:2=b ceiling\n"
         "ra ? -> bind:3=a ceiling\n"
         "ra ? w4 -> clear got:a\n"},
        {"a login that nobody waits for",
         {.pool_size = 1},
         "Na ? -> open:a parallel\n"
         "w1 ? -> queued ceiling\n"
         "ua ? -> bind:1=a ceiling\n"},
        {"logins in flight",
         {.pool_size = 3, .connect_parallel = 1},
         "w1 ? w2 -> queued open:a parallel queued\n"
         "ua ? -> bind:1=a open:b parallel\n"
         "ub ? -> bind:2=b clear\n"},
        {"overflow_delay holds until the first has waited",
         {.pool_size = 1, .max_overflow = 1, .overflow_delay = 100 * WEIR_MSEC},
         "w1 ua ? w2 -> queued open:a bind:1=a delay queued\n"
         "+50 t ? -> delay\n"
         "+50 t ? -> open:b ceiling\n"},
        {"the pause after a failure",
         {.pool_size = 2},
         "w1 fa ? -> queued open:a backoff\n"
         "+1000 t ? -> open:b backoff\n"
         "ub ? -> bind:1=b clear\n"},
        {"paused", {.pool_size = 2}, "P ? w1 -> paused queued\nR ? -> open:a clear\n"},
        {"a closing one still counts",
         {.pool_size = 1},
         "w1 ua ca ? w2 -> queued open:a bind:1=a ceiling queued\n"
         "ga -> open:b\n"},
    };
    PLAY(rules);
}

Test(rules, queue_pool)
{
    static const struct rule rules[] = {
        {"starts empty, opens at once, hands the new one over",
         {.pool_size = 2},
         "t ->\n"
         "w1 -> queued open:a\n"
         "= -> 1/0/0/0/0/1\n"
         "ua -> bind:1=a\n"
         "= -> 0/0/0/1/0/0\n"
         "ra ->\n"
         "= -> 0/1/0/0/0/0\n"
         "w2 -> got:a\n"},
        {"overflow opens at once, beyond the ceiling clients wait in order",
         {.pool_size = 1, .max_overflow = 1},
         "w1 -> queued open:a\n"
         "w2 -> queued open:b\n"
         "w3 w4 -> queued queued\n"
         "ua ub -> bind:1=a bind:2=b\n"
         "rb -> bind:3=b\n"
         "ra -> bind:4=a\n"},
        {"overflow is kept while someone waits and closed on return above pool_size",
         {.pool_size = 1, .max_overflow = 1},
         "w1 w2 ua ub -> queued open:a queued open:b bind:1=a bind:2=b\n"
         "ra ->\n"
         "rb -> close:b/surplus\n"
         "= -> 0/1/0/0/1/0\n"
         "w3 -> got:a\n"
         "w4 -> queued\n" /* the closing one still counts */
         "gb -> open:c\n"},
        {"pool_size 0 has no limit and closes none",
         {.pool_size = 0, .max_overflow = 1},
         "w1 w2 w3 -> queued open:a queued open:b queued open:c\n"
         "ua ub uc -> bind:1=a bind:2=b bind:3=c\n"
         "ra rb rc ->\n"
         "= -> 0/3/0/0/0/0\n"},
        {"the last used first",
         {.pool_size = 3, .use_lifo = true},
         "w1 w2 ua ub ra +1 rb -> queued open:a queued open:b bind:1=a bind:2=b\n"
         "w1 w2 -> got:b got:a\n"},
        {"the longest idle first",
         {.pool_size = 3},
         "w1 w2 ua ub ra +1 rb -> queued open:a queued open:b bind:1=a bind:2=b\n"
         "w1 w2 -> got:a got:b\n"},
        {"affinity before order",
         {.pool_size = 3, .use_lifo = true},
         "w1 w2 ua ub Aa1 Ab2 ra +1 rb B11 "
         "-> queued open:a queued open:b bind:1=a bind:2=b\n"
         "w1 -> got:a\n"
         "ra w3 -> got:a\n"},
        {"a server that becomes free serves the first in the queue",
         {.pool_size = 2},
         "w1 ua -> queued open:a bind:1=a\n"
         "w2 -> queued open:b\n"
         "ra -> bind:2=a\n"
         "= -> 1/0/0/1/0/0\n"
         "ub ->\n"
         "= -> 0/1/0/1/0/0\n"},
        {"connect_parallel bounds the logins in flight",
         {.pool_size = 5, .connect_parallel = 2},
         "w1 w2 w3 w4 -> queued open:a queued open:b queued queued\n"
         "ub -> bind:1=b open:c\n"
         "fa ->\n" /* a failure stops further ones */
         "uc -> bind:2=c open:d open:e\n"},
        {"overflow_delay: the head has to wait for overflow only",
         {.pool_size = 1, .max_overflow = 1, .overflow_delay = 500 * WEIR_MSEC},
         "w1 ua -> queued open:a bind:1=a\n"
         "w2 w3 -> queued queued\n"
         "+499 t ->\n"
         "+1 t -> open:b\n"
         "ub -> bind:2=b\n"},
        {"max_waiting counts those for whom nothing can be opened",
         {.pool_size = 2, .max_waiting = 1},
         "w1 w2 -> queued open:a queued open:b\n"
         "w3 -> queued\n"
         "w4 -> full\n"
         "l3 w4 -> queued\n"
         "ua ub ra -> bind:1=a bind:2=b bind:4=a\n"},
        {"owners may open by themselves, which counts",
         {.pool_size = 1},
         "N -> open:a\n"
         "w1 ->  queued\n"
         "ua -> bind:1=a\n"
         "w2 -> queued\n"
         "ga -> open:b\n"},
    };
    PLAY(rules);
}

Test(rules, waiters)
{
    static const struct rule rules[] = {
        {"who leaves is passed over",
         {.pool_size = 1},
         "w1 ua w2 w3 -> queued open:a bind:1=a queued queued\n"
         "l2 l2 ->\n"
         "ra -> bind:3=a\n"},
        {"an opening that nobody needs any more is withdrawn",
         {.pool_size = 1},
         "!w1 !l1 d -> queued\n"
         "= -> 0/0/0/0/0/0\n"
         "w2 -> queued open:a\n"},
        {"a bind whose client has left goes to the next",
         {.pool_size = 1},
         "w1 ua w2 w3 -> queued open:a bind:1=a queued queued\n"
         "!ra !l2 d -> bind:3=a\n"
         "w2 !ra !l2 d -> queued\n"
         "= -> 0/1/0/0/0/0\n"},
        {"a bind whose server has gone leaves the client in its place",
         {.pool_size = 1},
         "w1 ua w2 +1 w3 -> queued open:a bind:1=a queued queued\n"
         "!ra !ga d -> open:b\n"
         "= -> 1/0/0/0/0/2\n"
         "ub -> bind:2=b\n"
         "!rb !cb d ->\n"
         "gb -> open:c\n"
         "uc -> bind:3=c\n"},
        {"pool_timeout",
         {.pool_size = 1, .pool_timeout = WEIR_SEC},
         "w1 ua w2 +500 w3 -> queued open:a bind:1=a queued queued\n"
         "+499 t ->\n"
         "+1 t -> timeout:2\n"
         "+500 t -> timeout:3\n"
         "= -> 0/0/0/1/0/0\n"},
        {"a time-out whose client has left is withdrawn",
         {.pool_size = 1, .pool_timeout = WEIR_SEC},
         "w1 ua w2 -> queued open:a bind:1=a queued\n"
         "+1000 !t !l2 d ->\n"
         "w2 -> queued\n"},
        {"back to the front with the old time",
         {.pool_size = 1, .pool_timeout = WEIR_SEC},
         "w1 w2 +100 w3 ua -> queued open:a queued queued bind:1=a\n"
         "Ga -> open:b\n"
         "q1 ->\n"
         "ub -> bind:1=b\n"
         "Gb q1 -> open:c\n"
         "+900 t -> timeout:1 timeout:2\n"},
        {"two put back keep their order among themselves",
         {.pool_size = 2},
         "w1 +1 w2 +1 w3 ua ub -> queued open:a queued open:b queued bind:1=a bind:2=b\n"
         "Ga Gb -> open:c\n"
         "q1 q2 -> open:d\n"
         "uc ud -> bind:1=c bind:2=d\n"},
    };
    PLAY(rules);
}

Test(rules, pings)
{
    static const struct rule rules[] = {
        {"asked before use when idle too long",
         {.pool_size = 2, .pre_ping = true, .pre_ping_idle = WEIR_SEC, .use_lifo = true},
         "w1 ua ra -> queued open:a bind:1=a\n"
         "+1000 w1 ra -> got:a\n"
         "+1001 w1 -> queued ping:a\n"
         "= -> 0/0/1/0/0/1\n"
         "ka -> bind:1=a\n"
         "ra +999 w2 -> got:a\n"},
        {"not asked without pre_ping",
         {.pool_size = 2, .pre_ping_idle = WEIR_SEC},
         "w1 ua ra +5000 w2 -> queued open:a bind:1=a got:a\n"},
        {"a failed ping is replaced without the client seeing it; the others become suspect",
         {.pool_size = 3, .pre_ping = true, .pre_ping_idle = WEIR_SEC, .use_lifo = true},
         "w1 w2 w3 ua ub uc -> queued open:a queued open:b queued open:c bind:1=a bind:2=b "
         "bind:3=c\n"
         "ra rb +2000 rc w1 -> got:c\n"
         "w2 -> queued ping:b\n"
         "xb -> close:b/failed ping:a\n"
         "w3 -> queued\n" /* b still counts */
         "ka -> bind:2=a\n"
         "gb -> open:d\n"
         "ud -> bind:3=d\n"
         "rc w4 -> got:c\n"}, /* c was active and is back alive */
        {"another server that comes back serves the head while the ping is under way",
         {.pool_size = 2, .pre_ping = true, .pre_ping_idle = WEIR_SEC, .use_lifo = true},
         "w1 w2 ua ub ra -> queued open:a queued open:b bind:1=a bind:2=b\n"
         "+2000 w1 -> queued ping:a\n"
         "w3 -> queued\n"
         "rb -> bind:1=b\n"
         "ka -> bind:3=a\n"},
        {"several pings for several waiters, idle when nobody is left",
         {.pool_size = 2, .pre_ping = true, .pre_ping_idle = WEIR_SEC, .use_lifo = true},
         "w1 w2 ua ub ra rb -> queued open:a queued open:b bind:1=a bind:2=b\n"
         "+2000 w1 w2 -> queued ping:b queued ping:a\n"
         "l1 l2 ka kb ->\n"
         "= -> 0/2/0/0/0/0\n"
         "w3 w4 -> got:b got:a\n"}, /* just asked; the order of their last use */
        {"suspect: asked even when used just now",
         {.pool_size = 2, .pre_ping = true, .pre_ping_idle = WEIR_SEC},
         "w1 ua ra sa w2 -> queued open:a bind:1=a queued ping:a\n"
         "ka ra w3 -> bind:2=a got:a\n"},
        {"suspect without pre_ping: replaced",
         {.pool_size = 2},
         "w1 w2 ua ub ra -> queued open:a queued open:b bind:1=a bind:2=b\n"
         "Gb ->\n"
         "w1 -> queued close:a/failed open:c\n"},
        {"one failure is one generation, and what proved itself is trusted again",
         {.pool_size = 4, .pre_ping = true, .pre_ping_idle = WEIR_SEC, .use_lifo = true},
         "w1 w2 w3 ua ub uc -> queued open:a queued open:b queued open:c bind:1=a bind:2=b "
         "bind:3=c\n"
         "ra rb Ga Gb ->\n"
         "rc w1 -> got:c\n"},
        {"keepalive in the background does not lengthen idle_timeout",
         {.pool_size = 2,
          .keepalive = 10 * WEIR_SEC,
          .idle_timeout = 25 * WEIR_SEC,
          .pre_ping = true,
          .pre_ping_idle = WEIR_SEC,
          .use_lifo = true},
         "w1 ua ra -> queued open:a bind:1=a\n"
         "+9999 t ->\n"
         "+1 t -> ping:a\n"
         "= -> 0/0/1/0/0/0\n"
         "ka +9000 t ->\n"
         "+1000 t -> ping:a\n"
         "w1 -> queued\n" /* waits for the ping that is under way */
         "ka -> bind:1=a\n"
         "ra +9999 t ->\n"
         "+1 t ka +10000 t ka -> ping:a ping:a\n"
         "+5000 t -> close:a/idle\n"},
        {"a keepalive ping that fails",
         {.pool_size = 2, .keepalive = 10 * WEIR_SEC},
         "w1 ua ra +10000 t -> queued open:a bind:1=a ping:a\n"
         "xa -> close:a/failed\n"
         "ga ->\n"},
        {"a ping that was not sent goes with its server",
         {.pool_size = 2, .pre_ping = true, .pre_ping_idle = WEIR_SEC},
         "w1 ua ra -> queued open:a bind:1=a\n"
         "+2000 !w1 !Ga d -> queued open:b\n"},
    };
    PLAY(rules);
}

Test(rules, ages)
{
    static const struct rule rules[] = {
        {"too old: replaced at checkout",
         {.pool_size = 2, .recycle = 10 * WEIR_SEC},
         "w1 ua ra +9999 w1 ra -> queued open:a bind:1=a got:a\n"
         "+1 w1 -> queued close:a/age open:b\n"},
        {"too old: closed on return, never while active",
         {.pool_size = 1, .recycle = 10 * WEIR_SEC},
         "w1 ua +20000 t w2 -> queued open:a bind:1=a queued\n"
         "ra -> close:a/age\n"
         "ga -> open:b\n"
         "ub -> bind:2=b\n"},
        {"too old: closed by tick when idle",
         {.pool_size = 1, .recycle = 10 * WEIR_SEC},
         "w1 ua ra -> queued open:a bind:1=a\n"
         "+9999 t ->\n"
         "+1 t -> close:a/age\n"},
        {"idle_timeout closes the longest idle, never below min_pool_size",
         {.pool_size = 3, .idle_timeout = 10 * WEIR_SEC, .min_pool_size = 1, .use_lifo = true},
         "w1 w2 w3 ua ub uc -> queued open:a queued open:b queued open:c bind:1=a bind:2=b "
         "bind:3=c\n"
         "ra +1000 rb +1000 rc +7999 t ->\n"
         "+1 t -> close:a/idle\n"
         "+1000 t -> close:b/idle\n"
         "+9000 t ->\n"
         "= -> 0/1/0/0/2/0\n"},
        {"min_pool_size is opened by tick, some at a time, and restored",
         {.pool_size = 5, .min_pool_size = 3, .connect_parallel = 2},
         "t -> open:a open:b\n"
         "ua -> open:c\n"
         "ub uc ->\n"
         "= -> 0/3/0/0/0/0\n"
         "Gb t -> open:d\n"},
        {"min_pool_size beyond pool_size is bounded by it",
         {.pool_size = 1, .min_pool_size = 3},
         "t -> open:a\n"
         "ua t ->\n"},
        {"an owner that cannot open is asked again later",
         {.pool_size = 1},
         "w1 -> queued open:a\n"},
    };
    PLAY(rules);
}

Test(rules, back_off)
{
    static const struct rule rules[] = {
        {"waiters keep their places, attempts wait and double, success ends it",
         {.pool_size = 2, .login_retry = WEIR_SEC, .login_retry_max = 3 * WEIR_SEC},
         "w1 w2 -> queued open:a queued open:b\n"
         "fa +1 fb ->\n" /* of the same batch: one failure */
         "+998 t ->\n"
         "+1 t -> open:c\n" /* one attempt only */
         "fc +1999 t ->\n"
         "+1 t -> open:d\n"
         "fd +2999 t ->\n"
         "+1 t -> open:e\n"
         "ue -> bind:1=e open:f\n"
         "ff +999 t ->\n"
         "+1 t -> open:g\n"},
        {"those who waited pool_timeout get the error",
         {.pool_size = 1,
          .pool_timeout = 5 * WEIR_SEC,
          .login_retry = 10 * WEIR_SEC,
          .login_retry_max = 10 * WEIR_SEC},
         "w1 fa +1000 w2 -> queued open:a queued\n"
         "+4000 t -> fail:1\n"
         "+1000 t -> fail:2\n"},
        {"an error that waiting cannot cure fails all at once, also in the pause",
         {.pool_size = 2, .login_retry = WEIR_SEC, .login_retry_max = 10 * WEIR_SEC},
         "w1 w2 w3 -> queued open:a queued open:b queued\n"
         "Fa -> fail:1 fail:2 fail:3\n"
         "w4 -> queued\n" /* b is still under way */
         "Fb -> fail:4\n"
         "w5 -> queued fail:5\n"
         "+1000 w6 -> queued open:c\n"
         "w7 -> queued\n"
         "Fc -> fail:6 fail:7\n"
         "+1999 w8 -> queued fail:8\n"
         "+1 w9 -> queued open:d\n"
         "ud -> bind:9=d\n"},
        {"idle servers serve during the pause",
         {.pool_size = 2},
         "w1 ua w2 -> queued open:a bind:1=a queued open:b\n"
         "Fb -> fail:2\n"
         "ra w3 -> got:a\n"},
        {"reconnect ends the pause",
         {.pool_size = 1},
         "w1 fa -> queued open:a\n"
         "X -> open:b\n"},
        {"min_pool_size waits for the pause as well",
         {.pool_size = 2, .min_pool_size = 1},
         "t -> open:a\n"
         "fa t ->\n"
         "+999 t ->\n"
         "+1 t -> open:b\n"},
    };
    PLAY(rules);
}

Test(rules, administration)
{
    static const struct rule rules[] = {
        {"reconnect: idle ones close now, the others on return",
         {.pool_size = 3},
         "w1 w2 w3 ua ub -> queued open:a queued open:b queued open:c bind:1=a bind:2=b\n"
         "ra ->  bind:3=a\n"
         "rb X -> close:b/asked\n"
         "uc -> close:c/asked\n"
         "ra -> close:a/asked\n"
         "= -> 0/0/0/0/3/0\n"},
        {"reconnect while being asked",
         {.pool_size = 1, .pre_ping = true, .pre_ping_idle = WEIR_SEC},
         "w1 ua ra +2000 w1 X -> queued open:a bind:1=a queued ping:a\n"
         "ka -> close:a/asked\n"
         "ga -> open:b\n"},
        {"pause closes what is idle and what comes back; resume lets waiters go on",
         {.pool_size = 3, .pool_timeout = 10 * WEIR_SEC},
         "w1 w2 w3 ua ub uc -> queued open:a queued open:b queued open:c bind:1=a bind:2=b "
         "bind:3=c\n"
         "ra P -> close:a/asked\n"
         "w4 -> queued\n"
         "rb -> close:b/asked\n"
         "ga gb t ->\n"
         "+10000 t -> timeout:4\n"
         "w5 R -> queued open:d\n"
         "ud -> bind:5=d\n"},
        {"pause while opening",
         {.pool_size = 1},
         "w1 P ua -> queued open:a close:a/asked\n"
         "ga R -> open:b\n"},
        {"an owner closes for its own reasons, in any state",
         {.pool_size = 1, .pre_ping = true, .pre_ping_idle = WEIR_SEC},
         "w1 w2 ua ca -> queued open:a queued bind:1=a\n"
         "= -> 0/0/0/0/1/1\n"
         "ga ub rb cb gb -> open:b bind:2=b\n"
         "w1 cc gc -> queued open:c open:d\n"
         "ud rd +2000 w1 cd gd -> bind:1=d queued ping:d open:e\n"},
        {"an owner closes what is about to be closed: no second order",
         {.pool_size = 1, .max_overflow = 1},
         "w1 w2 ua ub ra -> queued open:a queued open:b bind:1=a bind:2=b\n"
         "!rb !cb d ->\n"
         "gb ->\n"},
        {"gone before its close was taken",
         {.pool_size = 1, .max_overflow = 1},
         "w1 w2 ua ub ra -> queued open:a queued open:b bind:1=a bind:2=b\n"
         "!rb !gb d ->\n"
         "= -> 0/1/0/0/0/0\n"},
    };
    PLAY(rules);
}

Test(rules, lowered_limits)
{
    struct world world;
    struct weir_pool_limits limits = plain_limits;
    limits.pool_size = 4;
    make_world(&world, 1);
    add_pool(&world, &limits, false, false, false);
    const struct rule before = {
        "before",
        {0},
        "w1 w2 w3 w4 -> queued open:a queued open:b queued open:c queued open:d\n"
        "ua ub uc ud -> bind:1=a bind:2=b bind:3=c bind:4=d\n"
        "ra rb rc ->\n"};
    play(&world, &before);
    world.limits[0].pool_size = 2;
    const struct rule after = {"after",
                               {0},
                               "L -> close:a/idle close:b/idle\n"
                               "rd ->\n"
                               "= -> 0/2/0/0/2/0\n"
                               "w1 w2 w3 w4 -> got:d got:c queued queued\n"
                               "ga gb ->\n"};
    play(&world, &after);
    world.limits[0].pool_size = 1;
    const struct rule in_use = {"in use",
                                {0},
                                "rd -> close:d/surplus\n"
                                "rc -> bind:3=c\n"};
    play(&world, &in_use);
    end_world(&world);
}

Test(rules, limits_are_noticed_without_an_event)
{
    struct world world;
    make_world(&world, 1);
    add_pool(&world, &plain_limits, false, false, false);
    weir_pool_tick(world.group, world.now);
    cr_expect(!weir_pool_has_decisions(world.group));
    world.limits[0].min_pool_size = 1;
    world.now += 30 * WEIR_SEC;
    weir_pool_tick(world.group, world.now);
    cr_expect(weir_pool_has_decisions(world.group));
    end_world(&world);
}

Test(rules, an_owner_that_does_not_open_is_asked_again)
{
    struct world world;
    make_world(&world, 1);
    add_pool(&world, &plain_limits, false, false, false);
    world.refuse_open = true;
    want(&world, 1, 0);
    take_decisions(&world);
    cr_expect_str_eq(world.words, "queued refused");
    world.words[0] = 0;
    world.now += 1000 * WEIR_MSEC;
    for (int i = 0; i < 11; i++, world.now += 100 * WEIR_MSEC)
        weir_pool_tick(world.group, world.now);
    world.refuse_open = false;
    take_decisions(&world);
    cr_expect_str_eq(world.words, "open:a");
    end_world(&world);
}

Test(rules, recycle_jitter)
{
    struct world world;
    struct weir_pool_limits limits = plain_limits;
    weir_usec least = INT64_MAX;
    weir_usec most = 0;
    limits.pool_size = 0;
    limits.recycle = 100 * WEIR_SEC;
    limits.recycle_jitter_percent = 10;
    make_world(&world, 7);
    add_pool(&world, &limits, false, false, false);
    for (int i = 0; i < 50; i++) {
        begin_opening(&world, world.pools[0]);
        weir_pool_opened(&world.servers[i], world.now);
        weir_usec age = world.servers[i].expires_at - world.now;
        least = age < least ? age : least;
        most = age > most ? age : most;
    }
    cr_expect(least >= 90 * WEIR_SEC && most <= 100 * WEIR_SEC);
    cr_expect(most - least > 5 * WEIR_SEC, "ages are spread: %ld", (long)(most - least));
    end_world(&world);
}

Test(rules, figures)
{
    struct world world;
    struct weir_pool_limits limits = plain_limits;
    struct weir_pool_counts counts;
    limits.pool_size = 1;
    limits.max_overflow = 1;
    make_world(&world, 7);
    add_pool(&world, &limits, false, false, false);
    struct weir_pool *pool = world.pools[0];
    cr_expect_eq(weir_pool_ceiling(pool), 2);
    world.limits[0].pool_size = 0;
    cr_expect_eq(weir_pool_ceiling(pool), -1);
    world.limits[0].pool_size = 1;
    for (int i = 1; i <= 4; i++) {
        want(&world, i, 0);
        world.now += 10;
    }
    take_decisions(&world);
    for (int i = 1; i <= 4; i++)
        cr_expect_eq(weir_pool_position(&world.clients[i].waiter), i);
    cr_expect_eq(weir_pool_position(&world.clients[5].waiter), 0);
    weir_pool_count(pool, world.now, &counts);
    cr_expect_eq(counts.opening, 2);
    cr_expect_eq(counts.oldest_wait, 40);
    cr_expect_eq(counts.generation, 0);
    weir_pool_opened(&world.servers[0], world.now);
    take_decisions(&world);
    cr_expect_eq(weir_list_first(weir_pool_active_list(pool)), &world.servers[0].link);
    cr_expect_eq(world.servers[0].uses, 1);
    weir_pool_pause(pool, world.now);
    weir_pool_open_failed(&world.servers[1], false, world.now);
    world.exists[1] = false;
    weir_pool_gone(&world.servers[0], true, world.now);
    world.exists[0] = false;
    weir_pool_count(pool, world.now, &counts);
    cr_expect_eq(counts.generation, 1);
    cr_expect(counts.failing && counts.paused);
    end_world(&world);
}

static struct world misused;

static void prepare_misuse(void)
{
    make_world(&misused, 1);
    add_pool(&misused, &plain_limits, false, false, false);
    want(&misused, 1, 0);
    take_decisions(&misused);
    weir_pool_opened(&misused.servers[0], misused.now);
    take_decisions(&misused);
}

/* Caller's mistakes stop the process at once. */
Test(misuse, double_release, .init = prepare_misuse, .signal = SIGABRT)
{
    weir_pool_release(&misused.servers[0], misused.now);
    weir_pool_release(&misused.servers[0], misused.now);
}

Test(misuse, opened_twice, .init = prepare_misuse, .signal = SIGABRT)
{
    weir_pool_opened(&misused.servers[0], misused.now);
}

Test(misuse, checked_without_ping, .init = prepare_misuse, .signal = SIGABRT)
{
    weir_pool_checked(&misused.servers[0], true, misused.now);
}

Test(misuse, wants_twice, .init = prepare_misuse, .signal = SIGABRT)
{
    want(&misused, 2, 0);
    want(&misused, 2, 0);
}

Test(misuse, closing_twice, .init = prepare_misuse, .signal = SIGABRT)
{
    weir_pool_closing(&misused.servers[0], misused.now);
    weir_pool_closing(&misused.servers[0], misused.now);
}

Test(misuse, destroyed_in_use, .init = prepare_misuse, .signal = SIGABRT)
{
    weir_pool_destroy(misused.pools[0]);
}
