/* One order from two views of it.
 *
 * A session that has begun to listen to more channels has heard these itself, together with those that
 * the hub hears for it. Both views end at the same place, and in what both contain they are the same
 * from the place where the later one begins. So counted from the end, each message of a common channel
 * in one view is known in the other, and what the session alone has heard gets its place between
 * them. */
#include <stdlib.h>

#include "room.h"
#include "weir/memory.h"

/* What waits is now that of `fresh`, which has all references that are still wanted. */
static void replace(struct weir_hub_listener *listener, const struct weir_hub_listener *fresh)
{
    free((void *)listener->waiting);
    listener->waiting = fresh->waiting;
    listener->capacity = fresh->capacity;
    listener->first = fresh->first;
    listener->count = fresh->count;
    listener->bytes = fresh->bytes;
}

static bool is_common(const struct weir_hub_listener *listener, uint64_t channel)
{
    return channel != 0 && weir_hub_has_joined(listener, channel);
}

static uint32_t count_common(const struct weir_hub_listener *listener, uint32_t end)
{
    uint32_t common = 0;
    for (uint32_t i = 0; i < end; i++)
        common += is_common(listener, listener_waiting(listener, i)->channel);
    return common;
}

/* Moves messages from `from` at *at on up to and with the next `common` ones that are common. */
static void move(struct weir_hub_listener *to, const struct weir_hub_listener *from, uint32_t *at,
                 uint32_t end, uint32_t common)
{
    while (common > 0 && *at < end) {
        struct weir_hub_message *message = listener_waiting(from, (*at)++);
        listener_queue(to, message);
        common -= is_common(from, message->channel);
    }
}

/* Moves those before the next common one. */
static void move_others(struct weir_hub_listener *to, const struct weir_hub_listener *from,
                        uint32_t *at, uint32_t end)
{
    while (*at < end && !is_common(from, listener_waiting(from, *at)->channel))
        listener_queue(to, listener_waiting(from, (*at)++));
}

static void release(const struct weir_hub_direct *direct, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (direct[i].message != NULL)
            weir_hub_message_release(direct[i].message);
}

void weir_hub_weave(struct weir_hub_listener *listener, uint32_t end,
                    const struct weir_hub_direct *direct, size_t count)
{
    struct weir_hub_listener woven = {0};
    if (listener->overflowed) {
        release(direct, count);
        return;
    }
    weir_require(end <= listener->count);
    uint32_t at = 0, direct_common = 0, common = count_common(listener, end);
    for (size_t i = 0; i < count; i++)
        direct_common += direct[i].message == NULL && is_common(listener, direct[i].channel);
    move(&woven, listener, &at, end, common > direct_common ? common - direct_common : 0);
    for (size_t i = 0; i < count; i++) {
        if (direct[i].message != NULL) {
            /* On channels that the listener has left nothing new comes: it stands before this. */
            move_others(&woven, listener, &at, end);
            listener_queue(&woven, direct[i].message);
        } else if (is_common(listener, direct[i].channel)) {
            move(&woven, listener, &at, end, 1);
        }
    }
    while (at < listener->count)
        listener_queue(&woven, listener_waiting(listener, at++));
    replace(listener, &woven);
}

/* --- what is over ---------------------------------------------------------------------- */

uint32_t weir_hub_count(const struct weir_hub_listener *listener, uint64_t channel, uint32_t from,
                        uint32_t to)
{
    uint32_t count = 0;
    for (uint32_t i = from; i < to && i < listener->count; i++)
        count += listener_waiting(listener, i)->channel == channel;
    return count;
}

void weir_hub_forget_from(struct weir_hub_listener *listener, uint64_t channel, uint32_t from,
                          uint32_t keep)
{
    struct weir_hub_listener kept = {0};
    if (weir_hub_count(listener, channel, from, listener->count) <= keep)
        return;
    for (uint32_t i = 0; i < listener->count; i++) {
        struct weir_hub_message *message = listener_waiting(listener, i);
        bool meant = i >= from && message->channel == channel;
        if (meant && keep == 0) {
            weir_hub_message_release(message);
            continue;
        }
        keep -= meant;
        listener_queue(&kept, message);
    }
    replace(listener, &kept);
}
