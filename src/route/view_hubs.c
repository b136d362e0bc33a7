/* Listening connections for the operator. */
#include "router.h"
#include "weir/view.h"

static const char *const state_words[] = {
    [HUB_DOWN] = "down",
    [HUB_CONNECTING] = "connecting",
    [HUB_UP] = "listening",
};

static void show(const struct hub *hub,
                 void (*each)(void *context, const struct weir_view_hub *row), void *context)
{
    struct weir_view_hub row = {
        .database = hub->database,
        .host = hub->host,
        .user = hub->connection != NULL ? weir_listen_user(hub->connection) : NULL,
        .state_word = state_words[hub->state],
        .backend_pid = hub_is_up(hub) ? hub->backend_pid : 0,
        .up_since = hub_is_up(hub) ? hub->up_since : 0,
        .channels = weir_hub_channel_count(hub->fan),
        .notifications = hub->notifications,
        .deliveries = hub->deliveries,
        .losses = hub->losses,
        .problem = hub->problem,
    };
    weir_list_for(link, &hub->listeners) {
        const struct listener *listener = weir_container_of(link, struct listener, link);
        row.listeners++;
        row.waiting += listener->fan.count;
        row.waiting_bytes += listener->fan.bytes;
    }
    each(context, &row);
}

void weir_view_hubs(const struct weir_router *router,
                    void (*each)(void *context, const struct weir_view_hub *row), void *context)
{
    const struct hub *hub, *next;
    HASH_ITER(hh, router->hubs, hub, next) {
        show(hub, each, context);
    }
}
