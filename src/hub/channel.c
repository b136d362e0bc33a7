/* Channels and who has joined them. */
#include <stdlib.h>
#include <string.h>

#include "room.h"
#include "weir/memory.h"

struct weir_hub *weir_hub_create(void)
{
    struct weir_hub *hub = weir_alloc(sizeof(*hub));
    weir_list_init(&hub->unused);
    weir_list_init(&hub->heard);
    weir_list_init(&hub->due);
    hub->limit = SIZE_MAX;
    return hub;
}

void weir_hub_destroy(struct weir_hub *hub)
{
    if (hub == NULL)
        return;
    weir_hub_forget_heard(hub);
    struct weir_hub_channel *channel, *next;
    HASH_ITER(hh, hub->channels, channel, next) {
        weir_require(channel->listeners == 0);
        HASH_DEL(hub->channels, channel);
        free(channel);
    }
    free(hub);
}

void weir_hub_set_limit(struct weir_hub *hub, size_t bytes)
{
    hub->limit = bytes;
}

/* --- channels -------------------------------------------------------------------------- */

static void mind_use(struct weir_hub_channel *channel)
{
    bool used = channel->holds > 0 || channel->listeners > 0;
    if (used)
        weir_list_remove_if_linked(&channel->unused);
    else if (!weir_list_is_linked(&channel->unused))
        weir_list_push_back(&channel->hub->unused, &channel->unused);
}

struct weir_hub_channel *weir_hub_find(const struct weir_hub *hub, const char *name)
{
    struct weir_hub_channel *channel;
    HASH_FIND_STR(hub->channels, name, channel);
    return channel;
}

struct weir_hub_channel *weir_hub_hold(struct weir_hub *hub, const char *name)
{
    struct weir_hub_channel *channel = weir_hub_find(hub, name);
    if (channel == NULL) {
        size_t size = strlen(name) + 1;
        channel = weir_alloc(sizeof(*channel) + size);
        channel->hub = hub;
        channel->id = ++hub->last_id;
        memcpy(channel->name, name, size);
        weir_list_init(&channel->subscriptions);
        HASH_ADD_STR(hub->channels, name, channel);
    }
    channel->holds++;
    mind_use(channel);
    return channel;
}

void weir_hub_release(struct weir_hub_channel *channel)
{
    weir_require(channel->holds > 0);
    channel->holds--;
    mind_use(channel);
}

struct weir_hub_channel *weir_hub_unused(const struct weir_hub *hub)
{
    struct weir_list *first = weir_list_first(&hub->unused);
    return first == NULL ? NULL : weir_container_of(first, struct weir_hub_channel, unused);
}

void weir_hub_drop(struct weir_hub_channel *channel)
{
    weir_list_remove(&channel->unused);
    HASH_DEL(channel->hub->channels, channel);
    free(channel);
}

struct weir_hub_channel *weir_hub_next(const struct weir_hub *hub,
                                       const struct weir_hub_channel *channel)
{
    return channel == NULL ? hub->channels : channel->hh.next;
}

uint32_t weir_hub_channel_count(const struct weir_hub *hub)
{
    return HASH_COUNT(hub->channels);
}

/* --- listeners ------------------------------------------------------------------------- */

void weir_hub_listener_init(struct weir_hub_listener *listener, struct weir_hub *hub)
{
    *listener = (struct weir_hub_listener){.hub = hub};
    weir_list_init(&listener->subscriptions);
}

static struct subscription *find(const struct weir_hub_listener *listener, uint64_t channel)
{
    weir_list_for(link, &listener->subscriptions) {
        struct subscription *found = weir_container_of(link, struct subscription, by_listener);
        if (found->channel->id == channel)
            return found;
    }
    return NULL;
}

bool weir_hub_has_joined(const struct weir_hub_listener *listener, uint64_t channel)
{
    return find(listener, channel) != NULL;
}

void weir_hub_join(struct weir_hub_listener *listener, struct weir_hub_channel *channel)
{
    if (find(listener, channel->id) != NULL)
        return;
    struct subscription *subscription = weir_alloc(sizeof(*subscription));
    subscription->channel = channel;
    subscription->listener = listener;
    /* Before the cursor: what is being handed out was heard earlier. */
    weir_list_push_front(&channel->subscriptions, &subscription->by_channel);
    weir_list_push_back(&listener->subscriptions, &subscription->by_listener);
    channel->listeners++;
    listener->channels++;
    mind_use(channel);
}

static void end(struct subscription *subscription)
{
    struct weir_hub_channel *channel = subscription->channel;
    weir_list_remove(&subscription->by_channel);
    weir_list_remove(&subscription->by_listener);
    subscription->listener->channels--;
    channel->listeners--;
    mind_use(channel);
    free(subscription);
}

void weir_hub_leave(struct weir_hub_listener *listener, struct weir_hub_channel *channel)
{
    struct subscription *subscription = find(listener, channel->id);
    if (subscription != NULL)
        end(subscription);
}

struct weir_hub_channel *weir_hub_channel_after(const struct weir_hub_listener *listener,
                                                const struct weir_hub_channel *channel)
{
    const struct weir_list *link = &listener->subscriptions;
    if (channel != NULL)
        link = &find(listener, channel->id)->by_listener;
    if (link->next == &listener->subscriptions)
        return NULL;
    return weir_container_of(link->next, struct subscription, by_listener)->channel;
}

void weir_hub_listener_clear(struct weir_hub_listener *listener)
{
    struct weir_list *link;
    while ((link = weir_list_first(&listener->subscriptions)) != NULL)
        end(weir_container_of(link, struct subscription, by_listener));
    listener_forget_waiting(listener);
    weir_list_remove_if_linked(&listener->due);
}
