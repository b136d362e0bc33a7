/* Private to the hub room.
 *
 *   channel.c  channels and who has joined them
 *   spread.c   what was heard, on its way to who has joined
 *   weave.c    one order from two views of it
 */
#ifndef WEIR_HUB_ROOM_H
#define WEIR_HUB_ROOM_H

#include "weir/hub.h"

/* One listener on one channel. */
struct subscription {
    struct weir_list by_channel;  /* channel->subscriptions */
    struct weir_list by_listener; /* listener->subscriptions */
    struct weir_hub_channel *channel;
    struct weir_hub_listener *listener;
};

struct weir_hub {
    struct weir_hub_channel *channels; /* hash by name */
    uint64_t last_id;
    size_t limit;
    struct weir_list unused; /* channel.unused */
    struct weir_list heard;  /* heard.link */
    struct weir_list due;    /* listener.due */
    /* A node among the subscriptions of the channel of the first message heard: those before it have
     * got that message. */
    struct weir_list cursor;
};

/* Appends; the reference is the listener's now. */
void listener_queue(struct weir_hub_listener *listener, struct weir_hub_message *message);
/* The one at `index`, counted from the first that waits. */
struct weir_hub_message *listener_waiting(const struct weir_hub_listener *listener, uint32_t index);
void listener_forget_waiting(struct weir_hub_listener *listener);

#endif
