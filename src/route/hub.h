/* LISTEN without a server connection of one's own (listen_hub).
 *
 * A hub is one connection, by libpq, that listens to all channels of all clients of a database and
 * hands out what it hears (weir/hub.h). PostgreSQL stays the authority on who listens to what:
 *
 *  - A client's LISTEN goes to its server connection. When the transaction is over, that session is
 *    asked to which channels it listens; the hub listens to them, too, and takes over at a place in
 *    the server's own order: the session notifies a mark, which it and the hub both hear. What came
 *    before the mark the client is told by its session, what comes after it by the hub. Then the
 *    session gives its channels up and goes back to the pool.
 *  - When such a client gets a server connection again, its channels are given to that session first,
 *    so that UNLISTEN, DISCARD, pg_listening_channels() and what functions do with them find the
 *    truth; afterwards the session is asked again. The hub stays the one that tells the client, but
 *    for channels that are new.
 *  - An answer of the hub's server to any question says that all is there that was notified before
 *    it. Before a client that listens is told ReadyForQuery this is waited for, so that it
 *    has been told what it would have been told by then on a direct connection.
 *
 * A notification says which process has sent it: that of a server connection. Which client it was is
 * known where a connection is watched: from a moment at which nothing that was notified on it before
 * can be on its way, until everything that the client has notified has been heard, nobody else has
 * it. Connections are watched while clients that listen have them, and when a text mentions NOTIFY.
 *
 *   hub.c       hubs, their connections, what is told to whom
 *   watching.c  a server connection while its client is at work
 *   handover.c  and at the end of the client's transaction
 *   notices.c   texts that mention these commands
 */
#ifndef WEIR_ROUTE_HUB_H
#define WEIR_ROUTE_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/buffer.h"
#include "weir/clock.h"
#include "weir/control.h"
#include "weir/hub.h"

struct client;
struct destination;
struct server;
struct weir_router;

enum hub_state {
    HUB_DOWN,
    HUB_CONNECTING,
    HUB_UP,
};

/* Of one database of one server, reached in one way; those of pools with other users are the same. */
struct hub {
    UT_hash_handle hh;
    struct weir_router *router;
    struct weir_hub *fan;
    enum hub_state state;
    struct weir_listen *connection; /* NULL when down */
    bool wanted;                    /* by a client that keeps its server connection meanwhile */
    uint32_t backend_pid;
    uint64_t done;          /* last request that was carried out */
    uint64_t timed_request; /* when it was made; later ones are not timed before it is done */
    weir_usec timed_at, passed_at; /* `passed_at`: all that was notified before has been heard */
    weir_usec spoken_at;           /* the last request or answer */
    weir_usec empty_since;         /* nobody listens, 0: somebody does */
    weir_usec retry_at, retry_pause;
    int64_t up_since;           /* wall clock */
    char *problem;              /* why it is down, or was last */
    struct weir_list listeners; /* listener.link */
    struct weir_list ending;    /* likewise: those who are to be told that they missed something */
    struct weir_list handovers; /* handover.link */
    struct weir_task work;
    uint64_t last_mark;
    uint64_t notifications, deliveries, losses;
    int destinations;
    char *database;  /* as the server knows it */
    char *host;      /* of them all, for operators */
    char marker[40]; /* channel of the marks */
    size_t key_length;
    char key[];
};

/* A client with channels in a hub. */
struct listener {
    struct weir_hub_listener fan;
    struct weir_list link; /* hub->listeners or hub->ending */
    struct client *client;
    struct hub *hub;
    uint64_t told;
    bool lost; /* its hub has gone: it will be ended */
};

enum handover_stage {
    HANDOVER_WATCHING, /* its client is at work */
    HANDOVER_ASKING,   /* which channels the session has, and whether all has been heard */
    HANDOVER_JOINING,  /* the hub begins to listen to those that are new */
    HANDOVER_MARKING,  /* a mark is awaited from the session and from the hub */
    HANDOVER_LEAVING,  /* the session gives its channels up; the client has been told all */
};

/* What a server connection does for the hub while it has its present client. */
struct handover {
    struct weir_list link; /* hub->handovers */
    struct hub *hub;
    struct server *server;
    enum handover_stage stage;
    bool asks;    /* its channels must be asked for */
    bool given;   /* the session has the channels of its client's listener, which is there */
    bool watched; /* what it notifies is its client's */
    bool holds;   /* is to be watched; until then nothing of the client may pass */
    bool heard;   /* what the client has notified has been heard and handed out */
    bool marked_here, marked_there;
    bool rests;       /* kept for other state than channels, between transactions */
    bool marks;       /* the session listens to the marker */
    uint64_t barrier; /* request that is awaited, 0: none */
    uint64_t joining; /* likewise, for new channels */
    uint64_t mark;
    uint64_t begun;     /* request that is answered when all is heard from before the transaction */
    uint32_t bound_at;  /* what waited for the listener when the session got its channels... */
    uint32_t begun_at;  /* ...when that request was answered... */
    uint32_t marked_at; /* ...and when the hub heard the mark */
    weir_usec since;    /* of the stage */
    uint32_t counted;   /* of the channels that it was given, by handover_counts */
    struct weir_buffer names;        /* of the session's channels, zero after each */
    struct weir_hub_channel **fresh; /* held: channels that are new */
    size_t fresh_count;
    struct weir_hub_direct *direct;                   /* what the session has heard itself */
    size_t direct_count, direct_capacity, direct_end; /* `end`: before the mark */
};

/* --- hub.c ----------------------------------------------------------------------------- */

/* Which hub the destination has by its configuration. */
void hub_assign(struct destination *destination);
void hub_unassign(struct destination *destination);
/* The hub is there and can take clients. */
static inline bool hub_is_up(const struct hub *hub)
{
    return hub->state == HUB_UP;
}
/* Somebody listens, or will. */
bool hub_is_in_use(const struct hub *hub);
/* A client stays where it is because the hub is not up. `server` tells how to connect. */
void hub_want(struct hub *hub, const struct server *server);
/* Requests; see weir/control.h. */
uint64_t hub_ping(struct hub *hub);
uint64_t hub_listen_to(struct hub *hub, struct weir_hub_channel *channel);
/* All that had been notified when the server connection was last used has been heard. */
bool hub_has_heard(const struct hub *hub, const struct server *server);
/* It does not hear what it should: everybody who listens is told so, and ended. */
void hub_fail(struct hub *hub, const char *problem);
/* The client's listener, made if there is none. */
struct listener *hub_make_listener(struct hub *hub, struct client *client);
/* Sends what waits, all of it when `whole`, else as far as the client reads. */
void hub_tell(struct client *client, bool whole);
/* The client's output has drained. */
void hub_drained(struct client *client);
void hub_tick(struct weir_router *router);
/* A new connection is made, as for the pools of the database (NULL: all): what may be missed meanwhile
 * ends those who listen. */
void hub_reconnect(struct weir_router *router, const char *database);
void hub_destroy_all(struct weir_router *router);
/* The client goes. */
void hub_forget_client(struct client *client);

/* --- watching.c ------------------------------------------------------------------------ */

/* The client has just got the server connection; to be called between gather_begin and gather_flush
 * of its direction. True: nothing of the client may pass yet. */
bool handover_begin(struct server *server, struct client *client);
/* A text is about to be sent. False: not yet, the client is held. */
bool handover_mind(struct client *client, const uint8_t *text, size_t length);
/* The same of a Parse or Bind, or of a function call. */
bool handover_mind_message(struct client *client, const uint8_t *message, size_t have,
                           uint32_t total);
/* A message of the client comes next. False: it must wait. */
bool handover_lets_pass(struct client *client);
/* A NotificationResponse of the session. True: it is dealt with, and not passed on. */
bool handover_hears(struct server *server, const uint8_t *message, uint32_t total);
/* Which state the session has is asked. True: it was given channels, so a row for each of them is to come;
 * false: whether it has any is all that counts. */
bool handover_begin_count(struct server *server);
/* Such a row. False: the session was not given this one. */
bool handover_counts(struct server *server, const char *channel);
/* All have come: the session does not have all that it was given. */
bool handover_misses(const struct server *server);
/* Who has notified: the client's own pid, or the given one. */
uint32_t handover_notifier(const struct hub *hub, uint32_t backend_pid);
/* ReadyForQuery, if it was withheld, and before it what waits. */
void handover_tell_ready(struct client *client);
/* The two are taken apart. */
void handover_forget(struct server *server);

/* --- handover.c ------------------------------------------------------------------------ */

/* When the transaction is over the session will be asked for its channels. */
bool handover_asks(const struct server *server);
/* The transaction is over and what follows it is under way. */
bool handover_is_on(const struct server *server);
/* The same, or nothing of the client may pass. */
bool handover_is_busy(const struct server *server);
/* The transaction is over: is there something to do before the connection can go? */
bool handover_is_due(const struct server *server);
/* ReadyForQuery has come that ends a transaction: it is not passed on yet. */
bool handover_withholds(const struct server *server);
/* At a transaction boundary: true while the connection must not go back. */
bool handover_go_on(struct server *server);
void handover_on_row(struct server *server, const uint8_t *body, size_t length);
void handover_on_answer(struct server *server);
/* By the hub: requests up to this one are carried out; everything heard before that has been handed
 * out, too; its mark was reached; the hub is up; it is down. */
void handover_arrived(struct hub *hub, uint64_t request);
void handover_spread(struct hub *hub, uint64_t request);
void handover_marked(struct hub *hub, uint64_t mark);
void handover_hub_up(struct hub *hub);
void handover_hub_down(struct hub *hub);
void handover_tick(struct hub *hub);

/* --- notices.c ------------------------------------------------------------------------- */

enum notice_words {
    NOTICE_LISTENS = 1,  /* listen, unlisten, pg_listening_channels */
    NOTICE_NOTIFIES = 2, /* notify, pg_notify */
};
unsigned notice_words(const uint8_t *text, size_t length);

#endif
