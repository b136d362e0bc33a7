/* What was heard, on its way to who has joined. */
#include <stdlib.h>
#include <string.h>

#include "room.h"
#include "weir/memory.h"

#define RING_MIN 4

/* Something in the order of what was heard: a message for a channel, or a mark. */
struct heard {
    struct weir_list link;
    struct weir_hub_channel *channel; /* held; NULL: a mark */
    union {
        struct weir_hub_message *message;
        uint64_t mark;
    };
};

/* --- messages -------------------------------------------------------------------------- */

struct weir_hub_message *weir_hub_message_create(const void *bytes, size_t length)
{
    struct weir_hub_message *message = weir_alloc(sizeof(*message) + length);
    message->references = 1;
    message->length = (uint32_t)length;
    memcpy(message->bytes, bytes, length);
    return message;
}

void weir_hub_message_release(struct weir_hub_message *message)
{
    if (--message->references == 0)
        free(message);
}

/* --- what waits for a listener --------------------------------------------------------- */

struct weir_hub_message *listener_waiting(const struct weir_hub_listener *listener, uint32_t index)
{
    return listener->waiting[(listener->first + index) & (listener->capacity - 1)];
}

static void grow(struct weir_hub_listener *listener)
{
    uint32_t capacity = listener->capacity == 0 ? RING_MIN : listener->capacity * 2;
    struct weir_hub_message **waiting = weir_alloc(capacity * sizeof(struct weir_hub_message *));
    for (uint32_t i = 0; i < listener->count; i++)
        waiting[i] = listener_waiting(listener, i);
    free((void *)listener->waiting);
    listener->waiting = waiting;
    listener->capacity = capacity;
    listener->first = 0;
}

void listener_queue(struct weir_hub_listener *listener, struct weir_hub_message *message)
{
    if (listener->count == listener->capacity)
        grow(listener);
    listener->waiting[(listener->first + listener->count++) & (listener->capacity - 1)] = message;
    listener->bytes += message->length;
}

void listener_forget_waiting(struct weir_hub_listener *listener)
{
    for (uint32_t i = 0; i < listener->count; i++)
        weir_hub_message_release(listener_waiting(listener, i));
    free((void *)listener->waiting);
    listener->waiting = NULL;
    listener->capacity = listener->first = listener->count = 0;
    listener->bytes = 0;
}

int weir_hub_peek(const struct weir_hub_listener *listener, struct iovec *pieces, int count,
                  size_t limit)
{
    int taken = 0;
    size_t bytes = 0;
    while (taken < count && (uint32_t)taken < listener->count && bytes < limit) {
        struct weir_hub_message *message = listener_waiting(listener, (uint32_t)taken);
        pieces[taken++] = (struct iovec){message->bytes, message->length};
        bytes += message->length;
    }
    return taken;
}

void weir_hub_sent(struct weir_hub_listener *listener, int count)
{
    weir_require(count >= 0 && (uint32_t)count <= listener->count);
    for (int i = 0; i < count; i++) {
        struct weir_hub_message *message = listener_waiting(listener, 0);
        listener->bytes -= message->length;
        listener->first = (listener->first + 1) & (listener->capacity - 1);
        listener->count--;
        weir_hub_message_release(message);
    }
    if (listener->count == 0)
        listener_forget_waiting(listener);
}

/* --- what was heard -------------------------------------------------------------------- */

bool weir_hub_take(struct weir_hub *hub, const char *name, const void *bytes, size_t length)
{
    struct weir_hub_channel *channel = weir_hub_find(hub, name);
    if (channel == NULL)
        return false;
    struct heard *heard = weir_alloc(sizeof(*heard));
    heard->channel = weir_hub_hold(hub, name);
    heard->message = weir_hub_message_create(bytes, length);
    heard->message->channel = channel->id;
    channel->notifications++;
    weir_list_push_back(&hub->heard, &heard->link);
    return true;
}

void weir_hub_mark(struct weir_hub *hub, uint64_t mark)
{
    struct heard *heard = weir_alloc(sizeof(*heard));
    heard->mark = mark;
    weir_list_push_back(&hub->heard, &heard->link);
}

static void forget(struct heard *heard)
{
    if (heard->channel != NULL) {
        weir_hub_message_release(heard->message);
        weir_hub_release(heard->channel);
    }
    weir_list_remove(&heard->link);
    free(heard);
}

void weir_hub_forget_heard(struct weir_hub *hub)
{
    struct weir_list *link;
    weir_list_remove_if_linked(&hub->cursor);
    while ((link = weir_list_first(&hub->heard)) != NULL)
        forget(weir_container_of(link, struct heard, link));
}

static void give(struct weir_hub *hub, struct weir_hub_listener *listener,
                 struct weir_hub_message *message)
{
    if (!weir_list_is_linked(&listener->due))
        weir_list_push_back(&hub->due, &listener->due);
    if (listener->overflowed)
        return;
    message->references++;
    listener_queue(listener, message);
    if (listener->bytes <= hub->limit)
        return;
    listener->overflowed = true;
    listener_forget_waiting(listener);
}

/* False: the budget is used up before everybody has it. */
static bool give_all(struct weir_hub *hub, const struct heard *heard, uint32_t *budget)
{
    struct weir_list *head = &heard->channel->subscriptions;
    if (!weir_list_is_linked(&hub->cursor))
        weir_list_push_front(head, &hub->cursor);
    while (hub->cursor.next != head) {
        if (*budget == 0)
            return false;
        (*budget)--;
        struct weir_list *link = hub->cursor.next;
        weir_list_remove(&hub->cursor);
        weir_list_insert_between(&hub->cursor, link, link->next);
        give(hub, weir_container_of(link, struct subscription, by_channel)->listener,
             heard->message);
    }
    weir_list_remove(&hub->cursor);
    return true;
}

enum weir_hub_spread weir_hub_spread(struct weir_hub *hub, uint32_t *budget, uint64_t *mark)
{
    struct weir_list *link;
    while ((link = weir_list_first(&hub->heard)) != NULL) {
        struct heard *heard = weir_container_of(link, struct heard, link);
        if (heard->channel == NULL) {
            *mark = heard->mark;
            forget(heard);
            return WEIR_HUB_MARK;
        }
        if (!give_all(hub, heard, budget))
            return WEIR_HUB_MORE;
        forget(heard);
    }
    return WEIR_HUB_DONE;
}

struct weir_hub_listener *weir_hub_due(struct weir_hub *hub)
{
    struct weir_list *link = weir_list_pop(&hub->due);
    return link == NULL ? NULL : weir_container_of(link, struct weir_hub_listener, due);
}
