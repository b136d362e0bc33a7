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

const struct weir_pool_cap *weir_pool_full_cap(const struct weir_pool *pool)
{
    for (int i = 0; i < pool->seat_count; i++)
        if (is_full(pool->seats[i].cap))
            return pool->seats[i].cap;
    return NULL;
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
    pool->group->blocked += (wanted > 0) - (pool->wanted > 0);
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

static bool held_long_enough(const struct weir_pool_server *server, weir_usec now)
{
    return now - server->opened_at >= HANDOVER_QUANTUM;
}

/* The longest idle server of other pools under the cap. */
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
        if (held_long_enough(server, now) &&
            (found == NULL || server->idle_since < found->idle_since))
            found = server;
    }
    if (!any)
        cap->searched = true;
    return found;
}

/* What has to be closed so that `taker` can open one more, when `round` slots of each cap are its
 * own already: at most one server for each full cap. -1 when that is not enough. */
static int plan_reclaim(struct weir_pool *taker, const struct weir_pool *giver, int round,
                        struct weir_pool_server *plan[CAPS_MAX], weir_usec now)
{
    int count = 0;
    for (int i = 0; i < taker->seat_count; i++) {
        struct weir_pool_cap *cap = taker->seats[i].cap;
        bool free_soon = !is_full(cap) || cap->closing > round + cap->wanted - taker->wanted ||
                         (giver != NULL && sits_under(giver, cap));
        for (int j = 0; j < count; j++)
            free_soon = free_soon || sits_under(plan[j]->pool, cap);
        if (free_soon)
            continue;
        struct weir_pool_server *server = cap->searched ? NULL : find_reclaimable(cap, taker, now);
        if (server == NULL)
            return -1;
        plan[count++] = server;
    }
    return count;
}

void weir_pool_reclaim(struct weir_pool *pool, const struct weir_pool *giver, weir_usec now)
{
    for (int round = 0; round < pool->wanted; round++) {
        struct weir_pool_server *plan[CAPS_MAX];
        int count = plan_reclaim(pool, giver, round, plan, now);
        if (count < 0)
            break;
        for (int i = 0; i < count; i++)
            weir_pool_decide_close(plan[i], WEIR_POOL_CLOSE_HANDOVER);
        giver = NULL;
    }
    weir_pool_schedule(pool, now + 1);
}

/* With one server of `giver` less, could `taker` open one, if idle ones are closed as well? */
static bool would_help(struct weir_pool *taker, const struct weir_pool *giver, weir_usec now)
{
    struct weir_pool_server *plan[CAPS_MAX];
    return plan_reclaim(taker, giver, 0, plan, now) >= 0;
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
static struct weir_pool *eldest_taker(const struct weir_pool_cap *cap,
                                      const struct weir_pool *giver, weir_usec now)
{
    struct weir_pool *eldest = NULL;
    weir_list_for(node, &cap->blocked) {
        struct weir_pool *pool = pool_of_blocked(node);
        if (pool != giver && may_take(pool, giver) &&
            (eldest == NULL || waiting_since(pool) < waiting_since(eldest)) &&
            would_help(pool, giver, now))
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

struct weir_pool *weir_pool_find_taker(const struct weir_pool_server *server, weir_usec now)
{
    const struct weir_pool *giver = server->pool;
    if (!held_long_enough(server, now))
        return NULL;
    for (int i = 0; i < giver->seat_count; i++) {
        const struct weir_pool_cap *cap = giver->seats[i].cap;
        int others = cap->wanted - giver->wanted;
        /* What is closing already will serve as many. */
        if (!is_full(cap) || others <= cap->closing || (giver->waiting > 0 && cap->closing > 0))
            continue;
        struct weir_pool *taker = eldest_taker(cap, giver, now);
        if (taker == NULL)
            continue;
        if (giver->waiting == 0 ||
            (waiting_since(taker) < waiting_since(giver) && is_its_turn(cap, server, taker, now)))
            return taker;
    }
    return NULL;
}
