/* Listening connections, and the clients for whom they listen. */
#include "console.h"
#include "weir/view.h"

#define CLIENTS_PER_SLICE 500

static void show_hub(void *context, const struct weir_view_hub *hub)
{
    struct walk *walk = context;
    struct rows *rows = &walk->rows;
    rows_begin(rows);
    rows_text(rows, hub->database);
    rows_text(rows, hub->host);
    rows_text(rows, hub->user);
    rows_text(rows, hub->state_word);
    rows_number(rows, hub->backend_pid);
    rows_instant(rows, hub->up_since);
    rows_number(rows, hub->channels);
    rows_number(rows, hub->listeners);
    rows_number(rows, (int64_t)hub->notifications);
    rows_number(rows, (int64_t)hub->deliveries);
    rows_number(rows, (int64_t)hub->waiting);
    rows_number(rows, (int64_t)hub->waiting_bytes);
    rows_number(rows, (int64_t)hub->losses);
    rows_text(rows, hub->problem);
    rows_end(rows);
}

bool show_hubs(struct walk *walk)
{
    weir_view_hubs(walk->admin->router, show_hub, walk);
    return true;
}

static void show_listener(void *context, const struct weir_view_client *client)
{
    struct walk *walk = context;
    struct rows *rows = &walk->rows;
    if (client->channels == 0)
        return;
    rows_begin(rows);
    rows_number(rows, (int64_t)client->id);
    rows_text(rows, client->database);
    rows_text(rows, client->user);
    rows_text(rows, client->application_name);
    rows_number(rows, client->channels);
    rows_number(rows, (int64_t)client->notifications);
    rows_number(rows, client->notifications_waiting);
    rows_number(rows, (int64_t)client->notifications_waiting_bytes);
    rows_end(rows);
}

bool show_listeners(struct walk *walk)
{
    return !weir_view_clients_some(walk->admin->router, &walk->portal->at, CLIENTS_PER_SLICE,
                                   show_listener, walk);
}
