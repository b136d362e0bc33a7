/* The pool: bookkeeping without I/O. It is told events and answers with decisions; it knows no
 * socket, no protocol and no clock but the `now` it is given, so it is tested in memory by random
 * sequences against a plain model.
 *
 * Words are SQLAlchemy's QueuePool: pool_size connections are kept, up to max_overflow more are
 * opened at once when none is idle, a returned connection goes to a waiter first and is closed only
 * if the idle ones would exceed pool_size. Whatever is being opened, idle, checked, active or
 * closing counts against every limit until weir_pool_gone: PostgreSQL never sees more than the
 * limit. */
#ifndef WEIR_POOL_H
#define WEIR_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/clock.h"
#include "weir/list.h"

/* Changed freely by a reload; the pool reads them at each event. */
struct weir_pool_limits {
    int pool_size; /* 0: no limit (then max_overflow means nothing) */
    int max_overflow;
    int min_pool_size;
    int max_waiting; /* 0: no bound; those count for whom no connection is there or can be opened */
    int connect_parallel;
    weir_usec overflow_delay;   /* the head waiter must have waited this long for overflow */
    weir_usec pool_timeout;     /* 0: wait for ever */
    weir_usec recycle;          /* 0: never */
    int recycle_jitter_percent; /* the age limit of each server is drawn in [limit*(1-j), limit] */
    weir_usec idle_timeout;     /* 0: never; never below min_pool_size */
    weir_usec keepalive;        /* 0: off; ping an idle server untouched for this long */
    weir_usec pre_ping_idle;    /* idle longer than this is asked before use */
    bool pre_ping;
    bool use_lifo;
    weir_usec login_retry; /* first pause after a failed connection, doubling up to... */
    weir_usec login_retry_max;
};

/* A limit that several pools share: of one database, of one user, of the whole daemon. */
struct weir_pool_cap {
    int limit; /* 0: none */
    int used;  /* kept by the pool room */
    /* Of the pool room, zeroed by the owner. */
    int closing; /* of the used ones: about to become free */
    int wanted;  /* connections for which waiters of the blocked pools wait */
    int servers; /* under it, and the sum of their opened_at */
    weir_usec opened_sum;
    bool searched;            /* no idle server was found under it, and none came since */
    struct weir_list members; /* all pools under it */
    struct weir_list blocked; /* those with waiters that could open more but for their caps */
};

struct weir_pool_group; /* all pools of a daemon, their shared decisions queue and fairness */
struct weir_pool;

enum weir_pool_server_state {
    WEIR_POOL_OPENING, /* connect and login under way */
    WEIR_POOL_IDLE,
    WEIR_POOL_CHECKING, /* being pinged: before use, or to keep it fresh */
    WEIR_POOL_ACTIVE,   /* bound to a client, or being cleaned after one */
    WEIR_POOL_CLOSING,  /* told to close, still counted until weir_pool_gone */
};

/* Embedded in the owner's server object; zeroed by the owner, then managed by the pool room.
 * `affinity` is the owner's (which settings the connection has): equal pointers are preferred. */
struct weir_pool_server {
    struct weir_list link; /* in the list of its state */
    struct weir_pool *pool;
    enum weir_pool_server_state state;
    const void *affinity;
    weir_usec opened_at;
    weir_usec expires_at; /* 0: never; opened_at + recycle with jitter */
    weir_usec idle_since;
    weir_usec checked_at; /* last time the server proved that it is alive */
    uint32_t generation;
    bool suspect;     /* older than a failure: must be asked before use */
    bool close_asked; /* close on return (reconnect, reload) */
    uint64_t uses;
    /* Of the pool room: the decision about this server that was not taken yet. */
    struct weir_list due;
    struct weir_pool_waiter *waiter; /* BIND: for whom */
    int close_reason;                /* CLOSE: why */
};

/* Embedded in the owner's client object. */
struct weir_pool_waiter {
    struct weir_list link;  /* in pool's wait queue */
    struct weir_pool *pool; /* NULL: not waiting */
    const void *affinity;
    weir_usec since;
    /* Of the pool room. */
    struct weir_pool_server *server; /* of a BIND that was not taken yet */
    bool queued;                     /* in the queue; otherwise a decision about it is due */
};

enum weir_pool_close_reason {
    WEIR_POOL_CLOSE_IDLE,     /* idle_timeout, or idle ones above pool_size */
    WEIR_POOL_CLOSE_AGE,      /* recycle */
    WEIR_POOL_CLOSE_SURPLUS,  /* returned while pool_size are idle */
    WEIR_POOL_CLOSE_HANDOVER, /* slot goes to a pool that waited longer under a shared cap */
    WEIR_POOL_CLOSE_ASKED,    /* reconnect, reload, drop */
    WEIR_POOL_CLOSE_CHECK_FAILED,
};

enum weir_pool_decision_kind {
    WEIR_POOL_DO_BIND,  /* `waiter` gets `server` (server is ACTIVE, waiter is out of the queue) */
    WEIR_POOL_DO_OPEN,  /* open one: owner calls weir_pool_opening with its new object at once */
    WEIR_POOL_DO_PING,  /* ask `server` (CHECKING); owner answers weir_pool_checked */
    WEIR_POOL_DO_CLOSE, /* close `server` (CLOSING); owner answers weir_pool_gone */
    WEIR_POOL_DO_TIMEOUT, /* `waiter` waited pool_timeout; it is out of the queue */
    WEIR_POOL_DO_FAIL,    /* `waiter` gets the pool's last connection error; out of the queue */
};

struct weir_pool_decision {
    enum weir_pool_decision_kind kind;
    struct weir_pool *pool;
    struct weir_pool_server *server;
    struct weir_pool_waiter *waiter;
    enum weir_pool_close_reason reason;
};

struct weir_pool_group *weir_pool_group_create(uint64_t random_seed);
void weir_pool_group_destroy(
    struct weir_pool_group *group); /* all pools must be destroyed before */

/* `limits` and the caps stay the owner's and must outlive the pool. caps: any of the three NULL. */
struct weir_pool *weir_pool_create(struct weir_pool_group *group,
                                   const struct weir_pool_limits *limits,
                                   struct weir_pool_cap *const caps[3], void *owner);
/* Only when it has no servers and no waiters. */
void weir_pool_destroy(struct weir_pool *pool);
void *weir_pool_owner(const struct weir_pool *pool);

/* Takes the next decision; false when there is none. Call until false after any event that may
 * produce some. A decision is valid when popped: the pool room withdraws or never makes decisions
 * whose server or waiter has gone meanwhile. */
bool weir_pool_next(struct weir_pool_group *group, struct weir_pool_decision *decision);
bool weir_pool_has_decisions(const struct weir_pool_group *group);

enum weir_pool_want_result {
    WEIR_POOL_GOT,    /* *server is ACTIVE now */
    WEIR_POOL_QUEUED, /* the waiter waits; a decision will follow */
    WEIR_POOL_FULL,   /* max_waiting reached: refused */
};
/* A client wants a server. The hot path: with an idle, fresh server and no one waiting nothing is
 * queued and nothing is allocated. Never overtakes a waiter. Idle servers: one with the waiter's
 * affinity first (looking at a bounded number), then LIFO or FIFO. A stale one is pinged (decision)
 * while the waiter waits; meanwhile a fresh one that is returned serves the waiter. */
enum weir_pool_want_result weir_pool_want(struct weir_pool *pool, struct weir_pool_waiter *waiter,
                                          weir_usec now, struct weir_pool_server **server);
/* The waiter leaves the queue (gone, cancelled, refused). No-op when it does not wait. */
void weir_pool_leave(struct weir_pool_waiter *waiter, weir_usec now);
/* Puts a client back at the very front of the queue with its old `since` (its server died before
 * anything was sent). */
void weir_pool_requeue(struct weir_pool *pool, struct weir_pool_waiter *waiter, weir_usec since,
                       weir_usec now);

/* The owner began a connection (after DO_OPEN, or on its own account: replication). */
void weir_pool_opening(struct weir_pool *pool, struct weir_pool_server *server, weir_usec now);
/* Login done: goes to the first waiter or becomes idle. Ends any back-off. */
void weir_pool_opened(struct weir_pool_server *server, weir_usec now);
/* Login done on a connection that has its client already (replication): ACTIVE. */
void weir_pool_opened_bound(struct weir_pool_server *server, weir_usec now);
/* Connect or login failed: `server` is forgotten at once, back-off begins. `fatal`: the server
 * answered with an error of its own that waiting cannot cure (wrong password, no such database):
 * all waiters fail now. Otherwise they keep their places, and those that waited their pool_timeout
 * fail with the last error (DO_FAIL instead of DO_TIMEOUT while the pool is failing). */
void weir_pool_open_failed(struct weir_pool_server *server, bool fatal, weir_usec now);
/* The answer to DO_PING. ok=false: the server is CLOSING (decision DO_CLOSE follows) and every
 * server of the pool opened before now becomes suspect, once per failure: the moment moves only
 * when the failing one is younger than the last invalidation, or has proved since then that it
 * lives. */
void weir_pool_checked(struct weir_pool_server *server, bool ok, weir_usec now);
/* The client is done, the server is clean: first waiter (subject to fairness between pools), idle,
 * or DO_CLOSE. Counts as proof of life. */
void weir_pool_release(struct weir_pool_server *server, weir_usec now);
/* ACTIVE or IDLE or CHECKING -> CLOSING without a decision: the owner closes it for its own
 * reasons. */
void weir_pool_closing(struct weir_pool_server *server, weir_usec now);
/* The connection no longer exists, from any state. `lost`: the server ended it (end of file,
 * reset), which makes all older ones suspect as in weir_pool_checked. Frees its slot. */
void weir_pool_gone(struct weir_pool_server *server, bool lost, weir_usec now);

/* Coarse work: time-outs of waiters, overflow_delay, back-off ends, min_pool_size, idle_timeout,
 * recycle, keepalive. To be called about ten times a second; touches only pools with work due. */
void weir_pool_tick(struct weir_pool_group *group, weir_usec now);

/* All idle servers close, active ones on return (RECONNECT, reload of the DSN, dispose). */
void weir_pool_reconnect(struct weir_pool *pool, weir_usec now);
/* The limits, or limits of the caps, were changed: acts on them now rather than at the pool's next
 * event (at the latest half a minute later). */
void weir_pool_limits_changed(struct weir_pool *pool, weir_usec now);
/* While paused nobody gets a server; idle ones are closed; waiters wait. */
void weir_pool_pause(struct weir_pool *pool, weir_usec now);
void weir_pool_resume(struct weir_pool *pool, weir_usec now);

struct weir_pool_counts {
    int opening, idle, checking, active, closing, waiting;
    weir_usec oldest_wait; /* of the head waiter, 0 when none */
    uint32_t generation;
    bool failing; /* in back-off */
    bool paused;
};
void weir_pool_count(const struct weir_pool *pool, weir_usec now, struct weir_pool_counts *counts);

/* What the next client that wants a server would wait for. */
enum weir_pool_obstacle {
    WEIR_POOL_CLEAR,       /* it would get one, or one would be opened at once */
    WEIR_POOL_IS_PAUSED,   /* weir_pool_pause */
    WEIR_POOL_IN_BACKOFF,  /* the server cannot be reached, or not logged in to */
    WEIR_POOL_AT_PARALLEL, /* logins under way: connect_parallel, or all that the limits allow */
    WEIR_POOL_AT_DELAY,    /* overflow_delay */
    WEIR_POOL_AT_CEILING,  /* pool_size + max_overflow */
    WEIR_POOL_AT_CAP,      /* *cap is full */
};
/* For the operator's eye. `cap` may be NULL. */
enum weir_pool_obstacle weir_pool_obstacle(const struct weir_pool *pool, weir_usec now,
                                           const struct weir_pool_cap **cap);
/* An idle server would be asked, or closed, before a client gets it. */
bool weir_pool_is_stale(const struct weir_pool_server *server, weir_usec now);
/* The clients that wait, the first one first: weir_pool_waiter.link. */
const struct weir_list *weir_pool_waiter_list(const struct weir_pool *pool);
/* Position of a waiter, 1 = next. Walks the queue: for messages, not for the hot path. */
int weir_pool_position(const struct weir_pool_waiter *waiter);
/* Active servers of the pool, for "who holds the connections": weir_pool_server.link. */
const struct weir_list *weir_pool_active_list(const struct weir_pool *pool);
/* Servers that may exist at most: pool_size + max_overflow, or -1 without limit. */
int weir_pool_ceiling(const struct weir_pool *pool);

#endif
