/* Who listens to which channel, and what is on its way to whom: bookkeeping without I/O.
 *
 * A hub is told what one connection of the server has heard, in order, and hands it out: each
 * notification is written once and queued for everybody who listens to its channel. Handing out is
 * done in portions, so that ten thousand listeners do not hold up a turn of the loop. Places in the
 * order of what was heard can be marked; who joins or leaves a channel when a mark is reached does so
 * exactly there. */
#ifndef WEIR_HUB_H
#define WEIR_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <uthash.h>

#include "weir/list.h"

struct weir_hub;

/* A notification as it goes to clients, shared by all for whom it waits. */
struct weir_hub_message {
    uint32_t references;
    uint32_t length;
    uint64_t channel; /* weir_hub_channel.id */
    uint8_t bytes[];
};
/* One reference is the caller's. */
struct weir_hub_message *weir_hub_message_create(const void *bytes, size_t length);
void weir_hub_message_release(struct weir_hub_message *message);

struct weir_hub_channel {
    UT_hash_handle hh;
    struct weir_hub *hub;
    uint64_t id;
    struct weir_list subscriptions;
    struct weir_list unused; /* hub->unused, while nobody listens or holds it */
    uint32_t listeners;
    uint32_t holds;
    uint64_t notifications; /* heard */
    uint64_t request;       /* the owner's own */
    char name[];
};

/* One client. Zeroed and initialised before its first use; its memory is the owner's. */
struct weir_hub_listener {
    struct weir_hub *hub;
    struct weir_list subscriptions;
    struct weir_list due; /* hub->due, while something waits that nobody has looked at */
    struct weir_hub_message **waiting; /* ring; NULL: nothing */
    uint32_t capacity, first, count;
    uint32_t channels;
    size_t bytes;    /* of what waits */
    bool overflowed; /* more came than the limit: nothing is kept, something is missing */
};

struct weir_hub *weir_hub_create(void);
/* No listener may be left. */
void weir_hub_destroy(struct weir_hub *hub);
/* A listener for whom more bytes than this wait has overflowed. */
void weir_hub_set_limit(struct weir_hub *hub, size_t bytes);

/* --- channels -------------------------------------------------------------------------- */

/* Finds or creates it, and holds it until it is released: messages for it are taken from now on. */
struct weir_hub_channel *weir_hub_hold(struct weir_hub *hub, const char *name);
void weir_hub_release(struct weir_hub_channel *channel);
/* NULL: nobody wants it. */
struct weir_hub_channel *weir_hub_find(const struct weir_hub *hub, const char *name);
/* A channel that nobody listens to or holds any more, or NULL. The caller drops it. */
struct weir_hub_channel *weir_hub_unused(const struct weir_hub *hub);
void weir_hub_drop(struct weir_hub_channel *channel);
/* All of them, in no order: NULL first and at the end. */
struct weir_hub_channel *weir_hub_next(const struct weir_hub *hub,
                                       const struct weir_hub_channel *channel);
uint32_t weir_hub_channel_count(const struct weir_hub *hub);

/* --- listeners ------------------------------------------------------------------------- */

void weir_hub_listener_init(struct weir_hub_listener *listener, struct weir_hub *hub);
/* Leaves everything and forgets what waits. */
void weir_hub_listener_clear(struct weir_hub_listener *listener);
/* What is handed out from now on comes to the listener, too. No-op when it does already. */
void weir_hub_join(struct weir_hub_listener *listener, struct weir_hub_channel *channel);
bool weir_hub_has_joined(const struct weir_hub_listener *listener, uint64_t channel);
void weir_hub_leave(struct weir_hub_listener *listener, struct weir_hub_channel *channel);
/* Its channels in turn: NULL first and at the end. Leaving the last one that was given is fine only
 * after the next one has been asked for. */
struct weir_hub_channel *weir_hub_channel_after(const struct weir_hub_listener *listener,
                                                const struct weir_hub_channel *channel);

/* --- what was heard -------------------------------------------------------------------- */

/* A notification for a channel. False: nobody wants it. */
bool weir_hub_take(struct weir_hub *hub, const char *channel, const void *bytes, size_t length);
void weir_hub_mark(struct weir_hub *hub, uint64_t mark);

/* Nothing of it will be handed out. */
void weir_hub_forget_heard(struct weir_hub *hub);

enum weir_hub_spread {
    WEIR_HUB_DONE, /* all that was heard has been handed out */
    WEIR_HUB_MORE, /* `budget` is used up */
    WEIR_HUB_MARK, /* *mark is reached: look at it and go on */
};
/* Hands out, in order. `budget` is lessened by one for each message queued for a listener. */
enum weir_hub_spread weir_hub_spread(struct weir_hub *hub, uint32_t *budget, uint64_t *mark);

/* The next listener that got something since it was last due, or NULL. */
struct weir_hub_listener *weir_hub_due(struct weir_hub *hub);
/* The first messages that wait, at most `count` and about `limit` bytes. Returns how many. */
int weir_hub_peek(const struct weir_hub_listener *listener, struct iovec *pieces, int count,
                  size_t limit);
/* The first `count` have been sent. */
void weir_hub_sent(struct weir_hub_listener *listener, int count);

/* Messages of a channel that wait, from the place `from` on, are forgotten, but for the first `keep`
 * of them. */
void weir_hub_forget_from(struct weir_hub_listener *listener, uint64_t channel, uint32_t from,
                          uint32_t keep);
/* How many of the channel wait in [from, to). */
uint32_t weir_hub_count(const struct weir_hub_listener *listener, uint64_t channel, uint32_t from,
                        uint32_t to);

/* --- two views of one order ------------------------------------------------------------- */

/* What a session has heard itself on a channel. */
struct weir_hub_direct {
    uint64_t channel;                 /* one that the listener had joined, 0: another one... */
    struct weir_hub_message *message; /* ...with what was said on it, else NULL */
};
/* A session of the server has heard, in order, `direct`, and up to the same place in the server's order
 * the listener was given the first `end` of what waits for it; the session may have begun later. What the
 * session alone has heard is put where it belongs. The references of the messages go over to the
 * listener, and `due` is for the caller to see to. */
void weir_hub_weave(struct weir_hub_listener *listener, uint32_t end,
                    const struct weir_hub_direct *direct, size_t count);

#endif
