/* Connections to be opened: how many, and the pause after failures. */
#include <limits.h>

#include "pool_internal.h"

/* A server that refuses at once must not be tried in a tight loop. */
#define SHORTEST_PAUSE (10 * WEIR_MSEC)

static int smaller(int left, int right)
{
    return left < right ? left : right;
}

int weir_pool_room(const struct weir_pool *pool)
{
    int ceiling = weir_pool_ceiling(pool);
    if (ceiling < 0)
        return INT_MAX;
    return ceiling > pool->slots ? ceiling - pool->slots : 0;
}

/* Waiters whom no connection that is being opened or asked will serve. */
static int unserved(const struct weir_pool *pool)
{
    int served = pool->counts[WEIR_POOL_OPENING] + pool->counts[WEIR_POOL_CHECKING] + pool->granted;
    return pool->waiting > served ? pool->waiting - served : 0;
}

static bool is_in_pause(const struct weir_pool *pool, weir_usec now)
{
    return pool->failing && now < pool->retry_at;
}

/* Beyond the kept ones only when the first in the queue has waited long enough. */
static int without_overflow(const struct weir_pool *pool, weir_usec now)
{
    const struct weir_pool_limits *limits = pool->limits;
    const struct weir_pool_waiter *head = head_waiter(pool);
    if (limits->overflow_delay <= 0 || limits->pool_size <= 0)
        return INT_MAX;
    if (head != NULL && now - head->since >= limits->overflow_delay)
        return INT_MAX;
    int others = pool->slots - pool->open_due;
    return limits->pool_size > others ? limits->pool_size - others : 0;
}

/* Connections whose login is under way or about to begin, at most so many at a time. */
static int parallel_limit(const struct weir_pool *pool)
{
    if (pool->failing)
        return 1; /* one attempt shows whether the server is back */
    return pool->limits->connect_parallel > 1 ? pool->limits->connect_parallel : 1;
}

/* How many of `needed` openings may be due, those that already are included. */
static int allowed(const struct weir_pool *pool, int needed, weir_usec now)
{
    if (needed <= 0 || pool->paused || is_in_pause(pool, now))
        return 0;
    int parallel = parallel_limit(pool);
    int under_way = pool->counts[WEIR_POOL_OPENING] + pool->granted;
    if (under_way >= parallel)
        return 0;
    needed = smaller(needed, parallel - under_way);
    int room = weir_pool_room(pool);
    if (room < INT_MAX - pool->open_due)
        needed = smaller(needed, room + pool->open_due);
    return smaller(needed, without_overflow(pool, now));
}

enum weir_pool_obstacle weir_pool_obstacle(const struct weir_pool *pool, weir_usec now,
                                           const struct weir_pool_cap **cap)
{
    int under_way = pool->counts[WEIR_POOL_OPENING] + pool->granted + pool->open_due;
    int spare = pool->counts[WEIR_POOL_IDLE] + pool->counts[WEIR_POOL_CHECKING] - pool->waiting;
    const struct weir_pool_cap *full = weir_pool_full_cap(pool);
    if (cap != NULL)
        *cap = NULL;
    if (pool->paused)
        return WEIR_POOL_IS_PAUSED;
    if (spare > 0)
        return WEIR_POOL_CLEAR;
    if (is_in_pause(pool, now))
        return WEIR_POOL_IN_BACKOFF;
    bool no_room = weir_pool_room(pool) == 0;
    /* The login that nobody else waits for would be this client's. */
    if (under_way >= parallel_limit(pool) || ((no_room || full != NULL) && spare + under_way > 0))
        return pool->failing ? WEIR_POOL_IN_BACKOFF : WEIR_POOL_AT_PARALLEL;
    if (no_room)
        return WEIR_POOL_AT_CEILING;
    if (full != NULL) {
        if (cap != NULL)
            *cap = full;
        return WEIR_POOL_AT_CAP;
    }
    return without_overflow(pool, now) - pool->open_due > 0 ? WEIR_POOL_CLEAR : WEIR_POOL_AT_DELAY;
}

/* After an error that waiting cannot cure nobody waits, except for what is under way. */
static void fail_hopeless(struct weir_pool *pool, weir_usec now)
{
    if (!pool->fatal || !is_in_pause(pool, now))
        return;
    for (int i = unserved(pool); i > 0; i--)
        weir_pool_decide_end(weir_container_of(pool->waiters.prev, struct weir_pool_waiter, link),
                             true);
}

/* Openings for min_pool_size take nothing from those who wait. */
static void open_floor(struct weir_pool *pool, weir_usec now)
{
    int staying = pool->slots - pool->counts[WEIR_POOL_CLOSING] - pool->open_due;
    int target = allowed(pool, weir_pool_floor(pool) - staying, now);
    while (pool->open_due < target && weir_pool_caps_have_room(pool) && !weir_pool_contended(pool))
        weir_pool_decide_open(pool);
}

void weir_pool_consider(struct weir_pool *pool, bool floor, weir_usec now)
{
    if (pool->fatal)
        fail_hopeless(pool, now);
    if (pool->waiting > 0 && is_in_pause(pool, now))
        weir_pool_schedule(pool, pool->retry_at);
    int target = allowed(pool, unserved(pool), now);
    bool freed = pool->open_due > target;
    while (pool->open_due > target)
        weir_pool_withdraw_open(pool);
    if (pool->seat_count == 0) {
        while (pool->open_due < target)
            weir_pool_decide_open(pool);
    } else {
        weir_pool_set_wanted(pool, target - pool->open_due);
        if (pool->wanted > 0 || freed)
            weir_pool_settle(pool);
        if (pool->wanted > 0)
            weir_pool_reclaim(pool, NULL, now);
    }
    if (floor)
        open_floor(pool, now);
    else if (weir_pool_is_below_floor(pool))
        weir_pool_schedule(pool, is_in_pause(pool, now) ? pool->retry_at : now);
}

void weir_pool_opening(struct weir_pool *pool, struct weir_pool_server *server, weir_usec now)
{
    weir_require(server->pool == NULL);
    if (pool->granted != 0) {
        pool->granted = 0;
        pool->group->granted = NULL;
    } else {
        weir_pool_take_slot(pool);
    }
    server->pool = pool;
    server->state = WEIR_POOL_OPENING;
    server->opened_at = now;
    server->expires_at = 0;
    server->idle_since = now;
    server->checked_at = now;
    server->generation = pool->generation;
    server->suspect = false;
    server->close_asked = false;
    server->uses = 0;
    weir_list_push_front(&pool->lists[WEIR_POOL_OPENING], &server->link);
    pool->counts[WEIR_POOL_OPENING]++;
    weir_pool_caps_enter(server);
    /* With more in total, one that was kept for min_pool_size may have to go. */
    if (pool->counts[WEIR_POOL_IDLE] > 0 && weir_pool_floor(pool) > 0)
        weir_pool_schedule(pool, now);
}

/* SplitMix64: enough to spread the ages. */
static uint64_t draw(struct weir_pool_group *group)
{
    uint64_t bits = group->random += 0x9e3779b97f4a7c15U;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9U;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebU;
    return bits ^ (bits >> 31);
}

static weir_usec draw_age(struct weir_pool *pool)
{
    const struct weir_pool_limits *limits = pool->limits;
    int percent = limits->recycle_jitter_percent;
    percent = percent < 0 ? 0 : smaller(percent, 100);
    weir_usec spread = limits->recycle / 100 * percent;
    return limits->recycle - (weir_usec)(draw(pool->group) % ((uint64_t)spread + 1));
}

static void login_done(struct weir_pool_server *server, weir_usec now)
{
    struct weir_pool *pool = server->pool;
    weir_require(pool != NULL && server->state == WEIR_POOL_OPENING);
    weir_pool_caps_leave(server);
    server->opened_at = now;
    weir_pool_caps_enter(server);
    server->idle_since = now;
    server->expires_at = pool->limits->recycle > 0 ? now + draw_age(pool) : 0;
    server_prove(server, now);
    weir_pool_end_back_off(pool);
}

void weir_pool_opened(struct weir_pool_server *server, weir_usec now)
{
    login_done(server, now);
    weir_pool_give(server, now);
    weir_pool_consider(server->pool, true, now);
}

void weir_pool_opened_bound(struct weir_pool_server *server, weir_usec now)
{
    login_done(server, now);
    server_move(server, WEIR_POOL_ACTIVE);
    weir_pool_consider(server->pool, true, now);
}

void weir_pool_end_back_off(struct weir_pool *pool)
{
    pool->failing = false;
    pool->fatal = false;
    pool->retry_pause = 0;
}

/* Attempts that began before the last failure tell nothing new: they neither lengthen nor move the
 * pause. */
static void back_off(struct weir_pool *pool, weir_usec began, weir_usec now)
{
    const struct weir_pool_limits *limits = pool->limits;
    if (pool->failing && began <= pool->failed_at)
        return;
    weir_usec first = limits->login_retry > SHORTEST_PAUSE ? limits->login_retry : SHORTEST_PAUSE;
    weir_usec longest = limits->login_retry_max > first ? limits->login_retry_max : first;
    bool long_ago = pool->failing && now - pool->retry_at > longest;
    if (!pool->failing || long_ago || pool->retry_pause <= 0)
        pool->retry_pause = first;
    else
        pool->retry_pause = pool->retry_pause < longest / 2 ? pool->retry_pause * 2 : longest;
    pool->failing = true;
    pool->failed_at = now;
    pool->retry_at = now + pool->retry_pause;
    weir_pool_schedule(pool, pool->retry_at);
}

void weir_pool_open_failed(struct weir_pool_server *server, bool fatal, weir_usec now)
{
    struct weir_pool *pool = server->pool;
    weir_require(pool != NULL && server->state == WEIR_POOL_OPENING);
    weir_usec began = server->opened_at;
    weir_pool_forget(server);
    back_off(pool, began, now);
    pool->fatal = fatal;
    while (fatal && pool->waiting > 0)
        weir_pool_decide_end(head_waiter(pool), true);
    weir_pool_consider(pool, false, now);
    weir_pool_settle(pool);
}
