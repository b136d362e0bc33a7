/* What the files of the pool room share. */
#ifndef WEIR_POOL_INTERNAL_H
#define WEIR_POOL_INTERNAL_H

#include "weir/pool.h"

#define STATES   5
#define CAPS_MAX 3

/* A slot under a shared cap stays with a pool at least this long once it was won, and a pool whose
 * clients wait gives one away only to a client that waited longer than this: otherwise the slot
 * would change hands, and cost a login, at every transaction. */
#define HANDOVER_QUANTUM (25 * WEIR_MSEC)

/* Every pool is looked at this often at least: limits may change without an event. */
#define VISIT_HORIZON (30 * WEIR_SEC)

#define NEVER INT64_MAX

/* How many idle servers are looked at for one with the waiter's affinity. */
#define AFFINITY_REACH 8

/* A pool's place under one of its caps. */
struct pool_seat {
    struct weir_list member;
    struct weir_list blocked;
    struct weir_pool_cap *cap;
    struct weir_pool *pool;
};

/* Kept out of the functions of the hot path, whose registers it would cost. */
#define weir_pool_slow __attribute__((noinline))

struct weir_pool {
    /* What want and release touch comes first. */
    const struct weir_pool_limits *limits;
    weir_usec due_at; /* no work is due before; a lower bound */
    int waiting;
    int seat_count;
    uint32_t generation;
    bool paused;
    int counts[STATES];
    struct weir_list lists[STATES]; /* IDLE: by idle_since, the latest first */
    struct pool_seat seats[CAPS_MAX];

    struct weir_list waiters; /* by since, the eldest first */
    struct weir_pool_group *group;
    int slots;    /* all that counts against the limits: servers, open_due and granted */
    int open_due; /* DO_OPEN decisions that were not taken yet */
    int granted;  /* DO_OPEN taken, weir_pool_opening not called yet: 0 or 1 */
    int wanted;   /* openings that only the caps forbid */
    struct weir_list open_link;

    bool failing; /* the last login failed */
    bool fatal;   /* ... with an error that waiting cannot cure */
    weir_usec retry_at;
    weir_usec retry_pause;
    weir_usec failed_at;

    size_t heap_index;
    void *owner;
};

struct weir_pool_group {
    int pending;            /* decisions not taken yet */
    int blocked;            /* pools whose waiters a cap blocks */
    struct weir_list binds; /* weir_pool_server.due */
    struct weir_list pings;
    struct weir_list closes;
    struct weir_list timeouts; /* weir_pool_waiter.link */
    struct weir_list failures;
    struct weir_list opens;    /* weir_pool.open_link */
    struct weir_pool *granted; /* the pool whose DO_OPEN was taken last, until it is opening */
    uint64_t random;
    struct weir_pool **heap; /* all pools, by due_at */
    size_t pools;
    size_t heap_capacity;
};

/* Waiters of some pool under one of the caps wait for a slot. */
static inline bool weir_pool_contended(const struct weir_pool *pool)
{
    if (pool->group->blocked == 0)
        return false;
    for (int i = 0; i < pool->seat_count; i++)
        if (pool->seats[i].cap->wanted > 0)
            return true;
    return false;
}

static inline struct weir_pool_server *server_of(struct weir_list *link)
{
    return weir_container_of(link, struct weir_pool_server, link);
}

static inline struct weir_pool_waiter *head_waiter(const struct weir_pool *pool)
{
    struct weir_list *first = weir_list_first(&pool->waiters);
    return first == NULL ? NULL : weir_container_of(first, struct weir_pool_waiter, link);
}

/* The single mover of a server between states. */
static inline void server_move(struct weir_pool_server *server, enum weir_pool_server_state state)
{
    struct weir_pool *pool = server->pool;
    weir_list_remove(&server->link);
    pool->counts[server->state]--;
    server->state = state;
    pool->counts[state]++;
    weir_list_push_front(&pool->lists[state], &server->link);
}

static inline bool server_expired(const struct weir_pool_server *server, weir_usec now)
{
    return server->expires_at != 0 && now >= server->expires_at;
}

static inline bool server_suspect(const struct weir_pool_server *server)
{
    return server->suspect || server->generation != server->pool->generation;
}

/* The server just proved that it lives. */
static inline void server_prove(struct weir_pool_server *server, weir_usec now)
{
    server->checked_at = now;
    server->generation = server->pool->generation;
    server->suspect = false;
}

/* decision.c */
void weir_pool_decide_bind(struct weir_pool_waiter *waiter, struct weir_pool_server *server);
void weir_pool_decide_ping(struct weir_pool_server *server);
void weir_pool_decide_close(struct weir_pool_server *server, enum weir_pool_close_reason reason);
void weir_pool_decide_end(struct weir_pool_waiter *waiter, bool failed);
void weir_pool_decide_open(struct weir_pool *pool);
void weir_pool_withdraw_open(struct weir_pool *pool);
/* Unlinks a BIND, PING or CLOSE that was not taken yet; a waiter of a BIND is back at the front. */
void weir_pool_withdraw(struct weir_pool_server *server);

/* pool.c */
void weir_pool_take_slot(struct weir_pool *pool);
void weir_pool_free_slot(struct weir_pool *pool);
void weir_pool_start_closing(struct weir_pool_server *server);
/* The server is in no list and no count any more. */
void weir_pool_forget(struct weir_pool_server *server);

/* want.c */
void weir_pool_enqueue(struct weir_pool *pool, struct weir_pool_waiter *waiter, weir_usec since);
void weir_pool_dequeue(struct weir_pool_waiter *waiter);
/* Gives what is idle to those who wait, then opens as many as are still missing. */
void weir_pool_serve(struct weir_pool *pool, weir_usec now);

/* release.c: a server that is free: a waiter's, idle, or to be closed. */
void weir_pool_give(struct weir_pool_server *server, weir_usec now);

/* opening.c: settles how many connections are to be opened, withdrawing what is not needed any
 * more. To be called at the end of each event that changes waiters, servers or limits. `floor`:
 * also for min_pool_size. */
void weir_pool_consider(struct weir_pool *pool, bool floor, weir_usec now);
/* How many more servers the limits of the pool itself allow; INT_MAX without limit. */
int weir_pool_room(const struct weir_pool *pool);
/* min_pool_size as far as it makes sense: what exceeds pool_size would be closed as surplus. */
static inline int weir_pool_floor(const struct weir_pool *pool)
{
    const struct weir_pool_limits *limits = pool->limits;
    bool bounded = limits->pool_size > 0 && limits->pool_size < limits->min_pool_size;
    return bounded ? limits->pool_size : limits->min_pool_size;
}
static inline bool weir_pool_is_below_floor(const struct weir_pool *pool)
{
    return pool->slots - pool->counts[WEIR_POOL_CLOSING] < weir_pool_floor(pool);
}
void weir_pool_end_back_off(struct weir_pool *pool);

/* cap.c */
bool weir_pool_caps_have_room(const struct weir_pool *pool);
int weir_pool_caps_room(const struct weir_pool *pool); /* INT_MAX without limit */
/* One that has no room, or NULL. */
const struct weir_pool_cap *weir_pool_full_cap(const struct weir_pool *pool);
/* Tells the caps when a server began, or that it is none of theirs any more. */
void weir_pool_caps_enter(const struct weir_pool_server *server);
void weir_pool_caps_leave(const struct weir_pool_server *server);
bool weir_pool_caps_exceeded(const struct weir_pool *pool);
void weir_pool_set_wanted(struct weir_pool *pool, int wanted);
/* Free slots go to the blocked pools, the longest waiting client's first. */
void weir_pool_settle(struct weir_pool *pool);
/* Closes idle servers of other pools for the waiters of this one; a server of `giver`, if not NULL,
 * is closed for it already. */
void weir_pool_reclaim(struct weir_pool *pool, const struct weir_pool *giver, weir_usec now);
/* The pool for which this free server must be closed, or NULL. */
struct weir_pool *weir_pool_find_taker(const struct weir_pool_server *server, weir_usec now);

/* generation.c */
void weir_pool_invalidate(struct weir_pool_server *failed);

/* upkeep.c */
void weir_pool_reschedule(struct weir_pool *pool, weir_usec due);
static inline void weir_pool_schedule(struct weir_pool *pool, weir_usec due)
{
    if (due < pool->due_at)
        weir_pool_reschedule(pool, due);
}
void weir_pool_heap_insert(struct weir_pool *pool);
void weir_pool_heap_remove(struct weir_pool *pool);

#endif
