/* Caps that several pools share, and fairness under them.
 *
 * A pool is blocked when its waiters need connections that its own limits allow and a cap forbids.
 * Free slots go to the blocked pool whose first client has waited longest. Slots become free for it
 * because idle servers of others are closed, and because a pool in use closes a returned server
 * when the other's first client has waited longer than its own. */
#include <limits.h>

#include "pool_internal.h"

static bool is_full(const struct weir_pool_cap *cap)
{
    return cap->limit > 0 && cap->used >= cap->limit;
}

bool weir_pool_caps_have_room(const struct weir_pool *pool)
{
    for (int i = 0; i < pool->seat_count; i++)
        if (is_full(pool->seats[i].cap))
            return false;
    return true;
}

int weir_pool_caps_room(const struct weir_pool *pool)
{
    int room = INT_MAX;
    for (int i = 0; i < pool->seat_count; i++) {
        const struct weir_pool_cap *cap = pool->seats[i].cap;
        if (cap->limit <= 0)
            continue;
        int left = cap->used < cap->limit ? cap->limit - cap->used : 0;
        if (left < room)
            room = left;
    }
    return room;
}

bool weir_pool_caps_exceeded(const struct weir_pool *pool)
{
    for (int i = 0; i < pool->seat_count; i++) {
        const struct weir_pool_cap *cap = pool->seats[i].cap;
        if (cap->limit > 0 && cap->used - cap->closing > cap->limit)
            return true;
    }
    return false;
}

void weir_pool_caps_enter(const struct weir_pool_server *server)
{
    const struct weir_pool *pool = server->pool;
    for (int i = 0; i < pool->seat_count; i++) {
        pool->seats[i].cap->servers++;
        pool->seats[i].cap->opened_sum += server->opened_at;
    }
}

void weir_pool_caps_leave(const struct weir_pool_server *server)
{
    const struct weir_pool *pool = server->pool;
    for (int i = 0; i < pool->seat_count; i++) {
        pool->seats[i].cap->servers--;
        pool->seats[i].cap->opened_sum -= server->opened_at;
    }
}

void weir_pool_set_wanted(struct weir_pool *pool, int wanted)
{
    int change = wanted - pool->wanted;
    if (change == 0)
        return;
    for (int i = 0; i < pool->seat_count; i++) {
        struct pool_seat *seat = &pool->seats[i];
        seat->cap->wanted += change;
        if (seat->cap->wanted == 0)
            seat->cap->searched = false;
        if (wanted == 0)
            weir_list_remove(&seat->blocked);
        else if (pool->wanted == 0)
            weir_list_push_back(&seat->cap->blocked, &seat->blocked);
    }
    pool->wanted = wanted;
}

static struct weir_pool *pool_of_blocked(struct weir_list *node)
{
    return weir_container_of(node, struct pool_seat, blocked)->pool;
}

/* Blocked pools have waiters: what they want is at most what their waiters need. */
static weir_usec waiting_since(const struct weir_pool *pool)
{
    const struct weir_pool_waiter *head = head_waiter(pool);
    weir_require(head != NULL);
    return head->since;
}

static void settle_cap(const struct weir_pool_cap *cap)
{
    while (!is_full(cap)) {
        struct weir_pool *eldest = NULL;
        weir_list_for(node, &cap->blocked) {
            struct weir_pool *pool = pool_of_blocked(node);
            if (weir_pool_caps_have_room(pool) &&
                (eldest == NULL || waiting_since(pool) < waiting_since(eldest)))
                eldest = pool;
        }
        if (eldest == NULL)
            return;
        weir_pool_decide_open(eldest);
        weir_pool_set_wanted(eldest, eldest->wanted - 1);
    }
}

void weir_pool_settle(struct weir_pool *pool)
{
    for (int i = 0; i < pool->seat_count; i++)
        if (pool->seats[i].cap->wanted > 0)
            settle_cap(pool->seats[i].cap);
}

static bool sits_under(const struct weir_pool *pool, const struct weir_pool_cap *cap)
{
    for (int i = 0; i < pool->seat_count; i++)
        if (pool->seats[i].cap == cap)
            return true;
    return false;
}

/* With one server of `giver` less, could `taker` open one? */
static bool would_help(const struct weir_pool *taker, const struct weir_pool *giver)
{
    for (int i = 0; i < taker->seat_count; i++)
        if (is_full(taker->seats[i].cap) && !sits_under(giver, taker->seats[i].cap))
            return false;
    return true;
}

static bool held_long_enough(const struct weir_pool_server *server, weir_usec now)
{
    return now - server->opened_at >= HANDOVER_QUANTUM;
}

/* The longest idle server under the cap whose end helps `taker`. */
static struct weir_pool_server *find_reclaimable(struct weir_pool_cap *cap,
                                                 const struct weir_pool *taker, weir_usec now)
{
    struct weir_pool_server *found = NULL;
    bool any = false;
    weir_list_for(node, &cap->members) {
        const struct weir_pool *pool = weir_container_of(node, struct pool_seat, member)->pool;
        if (pool == taker || pool->counts[WEIR_POOL_IDLE] == 0)
            continue;
        any = true;
        struct weir_pool_server *server = server_of(pool->lists[WEIR_POOL_IDLE].prev);
        if (held_long_enough(server, now) && would_help(taker, pool) &&
            (found == NULL || server->idle_since < found->idle_since))
            found = server;
    }
    if (!any)
        cap->searched = true;
    return found;
}

void weir_pool_reclaim(struct weir_pool *pool, weir_usec now)
{
    for (int i = 0; i < pool->seat_count; i++) {
        struct weir_pool_cap *cap = pool->seats[i].cap;
        for (int left = pool->wanted; left > 0; left--) {
            if (!is_full(cap) || cap->searched || cap->wanted <= cap->closing)
                break;
            struct weir_pool_server *server = find_reclaimable(cap, pool, now);
            if (server == NULL)
                break;
            weir_pool_decide_close(server, WEIR_POOL_CLOSE_HANDOVER);
        }
    }
    weir_pool_schedule(pool, now + 1);
}

static int staying(const struct weir_pool *pool)
{
    return pool->slots - pool->counts[WEIR_POOL_CLOSING];
}

/* From a pool in use only one with fewer servers takes: all clients of a pool that had none have
 * waited long, and would take every slot at once. */
static bool may_take(const struct weir_pool *taker, const struct weir_pool *giver)
{
    return giver->waiting == 0 || staying(taker) < staying(giver);
}

/* Of the other pools that the end of a server of `giver` helps, the one whose client waits longest.
 */
static const struct weir_pool *eldest_taker(const struct weir_pool_cap *cap,
                                            const struct weir_pool *giver)
{
    const struct weir_pool *eldest = NULL;
    weir_list_for(node, &cap->blocked) {
        const struct weir_pool *pool = pool_of_blocked(node);
        if (pool != giver && would_help(pool, giver) && may_take(pool, giver) &&
            (eldest == NULL || waiting_since(pool) < waiting_since(eldest)))
            eldest = pool;
    }
    return eldest;
}

/* The servers that were held longest go first, otherwise the same pools could lose theirs again and
 * again; but those may be in long transactions, so that the others follow after a second quantum.
 */
static bool is_its_turn(const struct weir_pool_cap *cap, const struct weir_pool_server *server,
                        const struct weir_pool *taker, weir_usec now)
{
    weir_usec waited = now - waiting_since(taker);
    if (waited <= HANDOVER_QUANTUM)
        return false;
    return waited > 2 * HANDOVER_QUANTUM || server->opened_at <= cap->opened_sum / cap->servers;
}

bool weir_pool_must_hand_over(const struct weir_pool_server *server, weir_usec now)
{
    const struct weir_pool *giver = server->pool;
    if (!held_long_enough(server, now))
        return false;
    for (int i = 0; i < giver->seat_count; i++) {
        const struct weir_pool_cap *cap = giver->seats[i].cap;
        int others = cap->wanted - giver->wanted;
        /* What is closing already will serve as many. */
        if (!is_full(cap) || others <= cap->closing || (giver->waiting > 0 && cap->closing > 0))
            continue;
        const struct weir_pool *taker = eldest_taker(cap, giver);
        if (taker == NULL)
            continue;
        if (giver->waiting == 0)
            return true;
        if (waiting_since(taker) < waiting_since(giver) && is_its_turn(cap, server, taker, now))
            return true;
    }
    return false;
}
