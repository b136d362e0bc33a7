/* Random sequences of events against plain_model.h: the same decisions at every step. And random
 * sequences over several pools under shared caps, with decisions taken late, against invariants.
 *
 * WEIR_TEST_SEED repeats one sequence, WEIR_TEST_SEQUENCES sets how many there are. */
#include <criterion/criterion.h>

#include "plain_model.h"

#define STEPS 300

static uint64_t random_state;

static int draw(int below)
{
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return (int)((random_state >> 33) % (uint64_t)below);
}

static int pick(const int *choices, int count)
{
    return choices[draw(count)];
}
#define PICK(...)                                                                                  \
    pick((const int[]){__VA_ARGS__}, (int)(sizeof((const int[]){__VA_ARGS__}) / sizeof(int)))

static struct weir_pool_limits draw_limits(void)
{
    int retry = PICK(20, 1000);
    return (struct weir_pool_limits){
        .pool_size = PICK(0, 1, 2, 3, 5),
        .max_overflow = PICK(0, 0, 1, 3),
        .min_pool_size = PICK(0, 0, 0, 1, 3),
        .max_waiting = PICK(0, 0, 1, 4),
        .connect_parallel = PICK(1, 2, 4, 50),
        .overflow_delay = PICK(0, 0, 50, 500) * WEIR_MSEC,
        .pool_timeout = PICK(0, 100, 2000) * WEIR_MSEC,
        .recycle = PICK(0, 0, 500, 3000) * WEIR_MSEC,
        .recycle_jitter_percent = PICK(0, 10, 100),
        .idle_timeout = PICK(0, 200, 2000) * WEIR_MSEC,
        .keepalive = PICK(0, 100, 1000) * WEIR_MSEC,
        .pre_ping_idle = PICK(0, 50, 1000) * WEIR_MSEC,
        .pre_ping = PICK(0, 1, 1),
        .use_lifo = PICK(0, 1),
        .login_retry = retry * WEIR_MSEC,
        .login_retry_max = retry * PICK(1, 4, 15) * WEIR_MSEC,
    };
}

static int compare_words(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* Sorted, and "open:x" cut to "open": the order of the kinds among each other means nothing. Binds
 * are not sorted away: each names its client, and clients are compared with the queue. */
static void normalize(char *words)
{
    char copy[sizeof(((struct world *)0)->words)];
    char *list[512];
    size_t count = 0;
    char *saved = NULL;
    snprintf(copy, sizeof(copy), "%s", words);
    for (char *word = strtok_r(copy, " ", &saved); word && count < 512;
         word = strtok_r(NULL, " ", &saved)) {
        if (strncmp(word, "open:", 5) == 0)
            word[4] = 0;
        list[count++] = word;
    }
    qsort(list, count, sizeof(list[0]), compare_words);
    size_t used = 0;
    words[0] = 0;
    for (size_t i = 0; i < count; i++)
        used += (size_t)sprintf(words + used, "%s ", list[i]);
}

/* --- one pool against the model ----------------------------------------------------------------
 */

struct pair {
    struct world world;
    struct world said; /* by the model */
    struct model model;
    uint64_t seed;
    int step;
    char event[64];
};

static int find_server(const struct pair *pair, enum plain_state state)
{
    int first = draw(SERVERS);
    for (int i = 0; i < SERVERS; i++)
        if (pair->model.servers[(first + i) % SERVERS].state == state)
            return (first + i) % SERVERS;
    return -1;
}

static int find_client(const struct world *world, bool waiting)
{
    int first = draw(CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        const struct client *client = &world->clients[(first + i) % CLIENTS];
        if (waiting ? client->waiter.pool != NULL
                    : client->waiter.pool == NULL && client->server == NULL)
            return (first + i) % CLIENTS;
    }
    return -1;
}

static void client_event(struct pair *pair, bool wants)
{
    struct world *world = &pair->world;
    int client = find_client(world, !wants);
    if (client < 0)
        return;
    sprintf(pair->event, "%s %d", wants ? "want" : "leave", client);
    if (wants) {
        int affinity = draw(3);
        world->clients[client].waiter.affinity = &world->limits[affinity];
        pair->model.client_affinity[client] = affinity;
        want(world, client, 0);
        model_want(&pair->model, client);
    } else {
        weir_pool_leave(&world->clients[client].waiter, world->now);
        model_leave(&pair->model, client);
    }
}

static void opening_event(struct pair *pair)
{
    struct world *world = &pair->world;
    int server = find_server(pair, OPENING);
    if (server < 0)
        return;
    struct weir_pool_server *real = &world->servers[server];
    int outcome = draw(10);
    sprintf(pair->event, "opened %c %d", letter(server), outcome);
    if (outcome < 7) {
        int affinity = draw(3);
        real->affinity = &world->limits[affinity];
        pair->model.servers[server].affinity = affinity;
        weir_pool_opened(real, world->now);
        weir_usec recycle = world->limits[0].recycle;
        cr_assert(recycle == 0
                      ? real->expires_at == 0
                      : real->expires_at >= world->now && real->expires_at <= world->now + recycle);
        model_opened(&pair->model, server, real->expires_at);
    } else {
        world->exists[server] = false;
        weir_pool_open_failed(real, outcome == 9, world->now);
        model_open_failed(&pair->model, server, outcome == 9);
    }
}

/* The client of a server that was lost sometimes had sent nothing yet. */
static void gone_event(struct pair *pair, enum plain_state state)
{
    struct world *world = &pair->world;
    int server = find_server(pair, state);
    if (server < 0)
        return;
    bool lost = draw(2) == 0;
    int client = state == ACTIVE ? pair->model.servers[server].client : -1;
    sprintf(pair->event, "gone %c%s", letter(server), lost ? " lost" : "");
    detach(world, &world->servers[server]);
    world->exists[server] = false;
    weir_pool_gone(&world->servers[server], lost, world->now);
    model_gone(&pair->model, server, lost);
    if (client >= 0 && draw(2) == 0) {
        struct weir_pool_waiter *waiter = &world->clients[client].waiter;
        take_decisions(world);
        for (int i = 0; i < SERVERS; i++)
            if (world->exists[i] && pair->model.servers[i].state == GONE)
                model_opening(&pair->model, i);
        strcat(pair->event, " requeue");
        weir_pool_requeue(world->pools[0], waiter, waiter->since, world->now);
        model_requeue(&pair->model, client);
    }
}

static void server_event(struct pair *pair, enum plain_state state)
{
    struct world *world = &pair->world;
    int server = find_server(pair, state);
    if (server < 0)
        return;
    struct weir_pool_server *real = &world->servers[server];
    int kind = draw(20);
    if (kind == 0) {
        sprintf(pair->event, "closing %c", letter(server));
        detach(world, real);
        weir_pool_closing(real, world->now);
        model_closing(&pair->model, server);
    } else if (state == ACTIVE) {
        sprintf(pair->event, "release %c", letter(server));
        detach(world, real);
        weir_pool_release(real, world->now);
        model_release(&pair->model, server);
    } else if (state == CHECKING) {
        sprintf(pair->event, "checked %c %s", letter(server), kind < 15 ? "ok" : "failed");
        weir_pool_checked(real, kind < 15, world->now);
        model_checked(&pair->model, server, kind < 15);
    }
}

static void time_event(struct pair *pair)
{
    static const int steps[] = {1, 10, 10, 100, 100, 1000};
    weir_usec step = pick(steps, 6) * WEIR_MSEC;
    pair->world.now += step;
    pair->model.now += step;
    sprintf(pair->event, "tick");
    weir_pool_tick(pair->world.group, pair->world.now);
    model_tick(&pair->model);
}

static void administration_event(struct pair *pair)
{
    struct weir_pool *pool = pair->world.pools[0];
    weir_usec now = pair->world.now;
    switch (draw(4)) {
    case 0:
        sprintf(pair->event, "pause");
        weir_pool_pause(pool, now);
        model_pause(&pair->model);
        break;
    case 1:
        sprintf(pair->event, "reconnect");
        weir_pool_reconnect(pool, now);
        model_reconnect(&pair->model);
        break;
    case 2:
        sprintf(pair->event, "limits");
        pair->world.limits[0] = pair->model.limits = draw_limits();
        weir_pool_limits_changed(pool, now);
        model_tick(&pair->model);
        break;
    default:
        break;
    }
}

static void random_event(struct pair *pair)
{
    int kind = draw(100);
    snprintf(pair->event, sizeof(pair->event), "nothing");
    if (pair->model.paused && draw(4) == 0) {
        sprintf(pair->event, "resume");
        weir_pool_resume(pair->world.pools[0], pair->world.now);
        model_resume(&pair->model);
    } else if (in_total(&pair->model) >= SERVERS - CLIENTS) { /* without limit: names run out */
        gone_event(pair, (enum plain_state)PICK(CLOSING, CLOSING, IDLE, ACTIVE));
    } else if (kind < 30) {
        client_event(pair, true);
    } else if (kind < 35) {
        client_event(pair, false);
    } else if (kind < 50) {
        opening_event(pair);
    } else if (kind < 70) {
        server_event(pair, ACTIVE);
    } else if (kind < 78) {
        server_event(pair, CHECKING);
    } else if (kind < 84) {
        gone_event(pair, CLOSING);
    } else if (kind < 86) {
        gone_event(pair, (enum plain_state)PICK(IDLE, CHECKING, ACTIVE, OPENING));
    } else if (kind < 99) {
        time_event(pair);
    } else {
        administration_event(pair);
    }
}

static void compare_state(const struct pair *pair)
{
    static const enum plain_state states[] = {OPENING, IDLE, CHECKING, ACTIVE, CLOSING};
    const struct world *world = &pair->world;
    const struct model *model = &pair->model;
    struct weir_pool_counts counts;

    for (int i = 0; i < SERVERS; i++) {
        enum plain_state state = model->servers[i].state;
        cr_assert_eq(world->exists[i], state != GONE);
        if (state == GONE)
            continue;
        cr_assert_eq(states[world->servers[i].state], state, "seed %lu step %d (%s): server %c",
                     pair->seed, pair->step, pair->event, letter(i));
        int owners = 0;
        for (int c = 0; c < CLIENTS; c++)
            owners += world->clients[c].server == &world->servers[i];
        cr_assert_eq(owners, state == ACTIVE, "seed %lu step %d: owners", pair->seed, pair->step);
    }
    for (int i = 0; i < model->waiting; i++)
        cr_assert_eq(weir_pool_position(&world->clients[model->queue[i]].waiter), i + 1,
                     "seed %lu step %d (%s): queue", pair->seed, pair->step, pair->event);
    weir_pool_count(world->pools[0], world->now, &counts);
    cr_assert_eq(counts.waiting, model->waiting);
    cr_assert_eq(counts.opening, in_state(model, OPENING));
    cr_assert_eq(counts.idle, in_state(model, IDLE));
    cr_assert_eq(counts.checking, in_state(model, CHECKING));
    cr_assert_eq(counts.active, in_state(model, ACTIVE));
    cr_assert_eq(counts.closing, in_state(model, CLOSING));
    cr_assert_eq(counts.failing, model->failing);
}

static void step_pair(struct pair *pair)
{
    struct world *world = &pair->world;
    char before[sizeof(world->words)];
    world->words[0] = pair->said.words[0] = 0;
    pair->world.now += 1 + draw(1000);
    pair->model.now = pair->world.now;
    int total = in_total(&pair->model);
    random_event(pair);
    take_decisions(world);
    for (int i = 0; i < SERVERS; i++)
        if (world->exists[i] && pair->model.servers[i].state == GONE)
            model_opening(&pair->model, i);
    snprintf(before, sizeof(before), "%s", world->words);
    normalize(world->words);
    normalize(pair->said.words);
    cr_assert_str_eq(world->words, pair->said.words,
                     "seed %lu step %d (%s): decided \"%s\", model \"%s\"", pair->seed, pair->step,
                     pair->event, before, pair->said.words);
    int now_total = in_total(&pair->model);
    cr_assert(now_total <= total || now_total <= model_ceiling(&pair->model));
    compare_state(pair);
}

static void run_pair(uint64_t seed)
{
    static struct pair pair;
    memset(&pair, 0, sizeof(pair));
    random_state = seed;
    pair.seed = seed;
    draw(2);
    make_world(&pair.world, seed);
    struct weir_pool_limits limits = draw_limits();
    add_pool(&pair.world, &limits, false, false, false);
    pair.model.limits = limits;
    pair.model.words = &pair.said;
    for (pair.step = 0; pair.step < STEPS; pair.step++)
        step_pair(&pair);
    end_world(&pair.world);
}

static void run_sequences(void (*run)(uint64_t seed), uint64_t count)
{
    const char *seed = getenv("WEIR_TEST_SEED");
    const char *sequences = getenv("WEIR_TEST_SEQUENCES");
    if (seed != NULL) {
        run(strtoull(seed, NULL, 10));
        return;
    }
    if (sequences != NULL)
        count = strtoull(sequences, NULL, 10);
    for (uint64_t i = 1; i <= count; i++)
        run(i);
}

Test(model, one_pool_decides_as_the_model)
{
    run_sequences(run_pair, 2000);
}

/* --- several pools under caps, decisions taken late ----------------------------------------------
 */

struct crowd {
    struct world world;
    uint64_t seed;
    int step;
    bool asked[SERVERS]; /* its DO_PING was taken */
};

static void take_one(struct crowd *crowd)
{
    struct world *world = &crowd->world;
    struct weir_pool_decision decision;
    if (!weir_pool_next(world->group, &decision))
        return;
    if (decision.server != NULL) {
        long index = decision.server - world->servers;
        cr_assert(world->exists[index] && decision.server->pool == decision.pool,
                  "seed %lu step %d: a server that is gone", crowd->seed, crowd->step);
        static const enum weir_pool_server_state states[] = {
            [WEIR_POOL_DO_BIND] = WEIR_POOL_ACTIVE,
            [WEIR_POOL_DO_PING] = WEIR_POOL_CHECKING,
            [WEIR_POOL_DO_CLOSE] = WEIR_POOL_CLOSING,
        };
        cr_assert_eq(decision.server->state, states[decision.kind]);
        crowd->asked[index] = decision.kind == WEIR_POOL_DO_PING;
    }
    if (decision.waiter != NULL) {
        const struct client *client = weir_container_of(decision.waiter, struct client, waiter);
        cr_assert(client->server == NULL && decision.waiter->pool == NULL);
        cr_assert(decision.pool == world->pools[client->pool]);
    }
    take_decision(world, &decision);
    if (decision.kind == WEIR_POOL_DO_OPEN)
        crowd->asked[world->last_server] = false;
    world->words[0] = 0;
}

static int find_in_state(const struct crowd *crowd, enum weir_pool_server_state state)
{
    int first = draw(SERVERS);
    for (int i = 0; i < SERVERS; i++) {
        int server = (first + i) % SERVERS;
        if (crowd->world.exists[server] && crowd->world.servers[server].state == state)
            return server;
    }
    return -1;
}

static bool is_owned(const struct world *world, int server)
{
    for (int c = 0; c < CLIENTS; c++)
        if (world->clients[c].server == &world->servers[server])
            return true;
    return false;
}

static void crowd_client_event(struct crowd *crowd, bool wants)
{
    struct world *world = &crowd->world;
    int client = find_client(world, !wants);
    if (client < 0)
        return;
    if (wants) {
        world->clients[client].pool = draw(world->pool_count);
        want(world, client, world->clients[client].pool);
    } else {
        weir_pool_leave(&world->clients[client].waiter, world->now);
        cr_assert_null(world->clients[client].waiter.pool);
    }
}

/* What the server does next, as its owner would see it; decisions about it may still be due. */
static void crowd_server_event(struct crowd *crowd, enum weir_pool_server_state state, int luck)
{
    struct world *world = &crowd->world;
    int index = find_in_state(crowd, state);
    if (index < 0)
        return;
    struct weir_pool_server *server = &world->servers[index];
    if (state == WEIR_POOL_IDLE || state == WEIR_POOL_OPENING)
        crowd->asked[index] = false;
    if (state == WEIR_POOL_OPENING) {
        if (luck < 8) {
            weir_pool_opened(server, world->now);
        } else {
            world->exists[index] = false;
            weir_pool_open_failed(server, luck == 9, world->now);
        }
    } else if (state == WEIR_POOL_CLOSING) {
        world->exists[index] = false;
        weir_pool_gone(server, luck == 0, world->now);
    } else if (state == WEIR_POOL_ACTIVE && is_owned(world, index) && luck > 0) {
        detach(world, server);
        weir_pool_release(server, world->now);
    } else if (state == WEIR_POOL_CHECKING && crowd->asked[index]) {
        crowd->asked[index] = false;
        weir_pool_checked(server, luck < 9, world->now);
    } else if (luck == 0) {
        detach(world, server);
        world->exists[index] = false;
        weir_pool_gone(server, true, world->now);
    } else if (luck == 1) {
        detach(world, server);
        weir_pool_closing(server, world->now);
    }
}

static void crowd_event(struct crowd *crowd)
{
    struct world *world = &crowd->world;
    struct weir_pool *pool = world->pools[draw(world->pool_count)];
    int kind = draw(100);
    if (kind < 30)
        crowd_client_event(crowd, true);
    else if (kind < 35)
        crowd_client_event(crowd, false);
    else if (kind < 50)
        crowd_server_event(crowd, WEIR_POOL_OPENING, draw(10));
    else if (kind < 70)
        crowd_server_event(crowd, WEIR_POOL_ACTIVE, draw(40));
    else if (kind < 75)
        crowd_server_event(crowd, WEIR_POOL_CHECKING, draw(10));
    else if (kind < 84)
        crowd_server_event(crowd, WEIR_POOL_CLOSING, draw(10));
    else if (kind < 86)
        crowd_server_event(crowd, WEIR_POOL_IDLE, draw(2));
    else if (kind < 98)
        weir_pool_tick(world->group, world->now += draw(100) * WEIR_MSEC);
    else if (kind < 99)
        weir_pool_reconnect(pool, world->now);
    else if (draw(2) == 0)
        weir_pool_pause(pool, world->now);
    else
        weir_pool_resume(pool, world->now);
}

static void check_caps(const struct crowd *crowd)
{
    const struct world *world = &crowd->world;
    for (int i = 0; i < 3; i++) {
        const struct weir_pool_cap *cap = &world->caps[i];
        cr_assert(cap->limit == 0 || cap->used <= cap->limit, "seed %lu step %d: cap %d: %d of %d",
                  crowd->seed, crowd->step, i, cap->used, cap->limit);
        cr_assert(cap->closing >= 0 && cap->closing <= cap->servers && cap->servers <= cap->used &&
                  cap->wanted >= 0);
        cr_assert(cap->members.next == NULL ||
                  (cap->wanted > 0) == !weir_list_is_empty(&cap->blocked));
    }
}

static void check_crowd(const struct crowd *crowd)
{
    const struct world *world = &crowd->world;
    int total = 0;
    check_caps(crowd);
    for (int i = 0; i < SERVERS; i++) {
        int owners = 0;
        for (int c = 0; c < CLIENTS; c++)
            owners += world->clients[c].server == &world->servers[i];
        cr_assert(owners == 0 ||
                  (owners == 1 && world->exists[i] && world->servers[i].state == WEIR_POOL_ACTIVE));
        total += world->exists[i];
    }
    for (int p = 0; p < world->pool_count; p++) {
        struct weir_pool_counts counts;
        int length = 0;
        weir_pool_count(world->pools[p], world->now, &counts);
        int sum = counts.opening + counts.idle + counts.checking + counts.active + counts.closing;
        int ceiling = weir_pool_ceiling(world->pools[p]);
        cr_assert(ceiling < 0 || sum <= ceiling, "seed %lu step %d", crowd->seed, crowd->step);
        weir_list_for(node, weir_pool_active_list(world->pools[p]))
            length++;
        cr_assert_eq(length, counts.active);
        cr_assert(counts.opening <= world->limits[p].connect_parallel);
        total -= sum;
    }
    cr_assert_eq(total, 0, "each server is in one state of one pool");
}

/* From here on everything succeeds: each waiter must be served, or time out. */
static void finish_crowd(struct crowd *crowd)
{
    struct world *world = &crowd->world;
    for (int p = 0; p < world->pool_count; p++)
        weir_pool_resume(world->pools[p], world->now);
    for (int round = 0; round < 4000; round++) {
        world->now += 20 * WEIR_MSEC;
        if (round % 5 == 0)
            weir_pool_tick(world->group, world->now);
        while (weir_pool_has_decisions(world->group))
            take_one(crowd);
        for (int i = 0; i < SERVERS; i++) {
            struct weir_pool_server *server = &world->servers[i];
            if (!world->exists[i])
                continue;
            if (server->state == WEIR_POOL_OPENING) {
                weir_pool_opened(server, world->now);
            } else if (server->state == WEIR_POOL_CLOSING) {
                world->exists[i] = false;
                weir_pool_gone(server, false, world->now);
            } else if (server->state == WEIR_POOL_ACTIVE && is_owned(world, i)) {
                detach(world, server);
                weir_pool_release(server, world->now);
            } else if (server->state == WEIR_POOL_CHECKING && crowd->asked[i]) {
                crowd->asked[i] = false;
                weir_pool_checked(server, true, world->now);
            }
        }
        if (round > 5 && find_client(world, true) < 0)
            return;
    }
    cr_assert(false, "seed %lu: client %d waits for ever", crowd->seed, find_client(world, true));
}

static void run_crowd(uint64_t seed)
{
    static struct crowd crowd;
    memset(&crowd, 0, sizeof(crowd));
    crowd.seed = seed;
    random_state = seed;
    draw(2);
    make_world(&crowd.world, seed);
    for (int i = 0; i < 3; i++)
        crowd.world.caps[i].limit = PICK(0, 1, 2, 3, 6);
    int pools = 1 + draw(POOLS);
    for (int i = 0; i < pools; i++) {
        struct weir_pool_limits limits = draw_limits();
        if (limits.pool_size == 0)
            limits.pool_size = 4;
        add_pool(&crowd.world, &limits, draw(3) > 0, draw(3) == 0, draw(2) == 0);
    }
    for (crowd.step = 0; crowd.step < STEPS; crowd.step++) {
        crowd.world.now += 1 + draw(1000);
        crowd_event(&crowd);
        crowd.world.words[0] = 0;
        for (int i = draw(4); i > 0; i--)
            take_one(&crowd);
        check_crowd(&crowd);
    }
    finish_crowd(&crowd);
    end_world(&crowd.world);
    for (int i = 0; i < 3; i++)
        cr_assert(crowd.world.caps[i].used == 0 && crowd.world.caps[i].closing == 0 &&
                  crowd.world.caps[i].wanted == 0 && crowd.world.caps[i].servers == 0 &&
                  crowd.world.caps[i].opened_sum == 0);
}

Test(model, pools_under_caps_keep_their_promises)
{
    run_sequences(run_crowd, 2000);
}
