/* Clients for the operator. */
#include <string.h>

#include "router.h"
#include "view.h"
#include "weir/view.h"

static const char *word_of(const struct client *client)
{
    switch (client->base.state) {
    case WEIR_CLIENT_STARTUP:
    case WEIR_CLIENT_LOOKUP:
    case WEIR_CLIENT_DELAYED:
    case WEIR_CLIENT_PROVING:
    case WEIR_CLIENT_DERIVING:
        return "login";
    case WEIR_CLIENT_GREETING:
    case WEIR_CLIENT_WAITING:
        return "waiting";
    case WEIR_CLIENT_ACTIVE:
    case WEIR_CLIENT_HELD:
        return "active";
    case WEIR_CLIENT_IDLE:
        return "idle";
    case WEIR_CLIENT_ENDING:
    case WEIR_CLIENT_CLOSED:
        break;
    }
    return "closing";
}

static const char *replication_of(const struct client *client)
{
    const struct weir_client_login *login = client->base.login;
    if (login != NULL && login->replication != NULL)
        return strcasecmp(login->replication, "database") == 0 ? "logical" : "physical";
    if (client->server == NULL || !(client->server->pins & PIN_REPLICATION))
        return "none";
    return client->logical ? "logical" : "physical";
}

static void ask_addresses(const struct client *client, struct weir_view_client *row)
{
    row->descriptor = -1;
    if (!weir_stream_is_open(&client->base.stream))
        return;
    row->descriptor = client->base.stream.io.fd;
    row->address.length = sizeof(row->address.storage);
    row->local_address.length = sizeof(row->local_address.storage);
    if (getpeername(row->descriptor, &row->address.any, &row->address.length) != 0)
        row->address.length = 0;
    if (getsockname(row->descriptor, &row->local_address.any, &row->local_address.length) != 0)
        row->local_address.length = 0;
}

static void show_server(const struct client *client, struct weir_view_client *row)
{
    const struct server *server = client->server;
    row->server_id = server->base.id;
    row->server_pointer = server;
    row->backend_pid = server->base.pid;
    row->pins = pins_shown(server);
    if (server->query_at >= server->bound_at)
        row->requested_at = view_wall(client->router, server->query_at);
    view_server_statement(server, &row->statement);
}

static void show_client(const struct client *client,
                        void (*each)(void *context, const struct weir_view_client *row),
                        void *context)
{
    const struct weir_router *router = client->router;
    const struct weir_client_login *login = client->base.login;
    struct weir_view_client row = {
        .id = client->base.id,
        .pointer = client,
        .state = client->base.state,
        .replication = replication_of(client),
        .state_word = word_of(client),
        .application_name = view_application_name(client->settings),
        .connected_at = client->connected_at,
        .requested_at = view_wall(router, client->requested_at),
        .tls_version = weir_tls_version(&client->base.stream),
        .tls_cipher = weir_tls_cipher(&client->base.stream),
        .cancel_pid = client->base.cancel_pid,
        .prepared_statements = HASH_COUNT(client->statements),
        .input_kept = weir_buffer_length(&client->base.stream.in),
        .output_unsent = weir_stream_unsent(&client->base.stream),
    };
    row.console = client->console != NULL;
    if (client->listener != NULL) {
        row.channels = client->listener->fan.channels;
        row.notifications = client->listener->told;
        row.notifications_waiting = client->listener->fan.count;
        row.notifications_waiting_bytes = client->listener->fan.bytes;
    }
    if (client->since > 0)
        row.state_age = router->loop->now - client->since;
    if (client->destination != NULL) {
        row.database = client->destination->database;
        row.user = client->destination->user;
    } else if (client->console != NULL) {
        row.database = client->console->database;
        row.user = client->console->user;
    } else if (login != NULL) {
        row.database = login->database;
        row.user = login->user;
    }
    ask_addresses(client, &row);
    if (client->waiter.pool != NULL) {
        row.wait = router->loop->now - client->waiter.since;
        row.wait_position = client->waiter.queued ? (int)client->position : 0;
        row.requested_at = view_wall(router, client->waiter.since);
    }
    if (client->server != NULL)
        show_server(client, &row);
    else if (client->waiter.pool != NULL)
        view_client_statement(client, &row.statement);
    each(context, &row);
}

/* Numbers the queues once: asking for each client would walk each queue as often as it is long. */
static void number_queues(const struct weir_router *router)
{
    const struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        uint32_t position = 0;
        weir_list_for(link, weir_pool_waiter_list(destination->pool)) {
            struct weir_pool_waiter *waiter =
                weir_container_of(link, struct weir_pool_waiter, link);
            weir_container_of(waiter, struct client, waiter)->position = ++position;
        }
    }
}

void weir_view_clients(const struct weir_router *router,
                       void (*each)(void *context, const struct weir_view_client *row),
                       void *context)
{
    number_queues(router);
    weir_list_for(link, &router->clients)
        show_client(weir_container_of(link, struct client, link), each, context);
    weir_list_for(link, &router->consoles)
        show_client(weir_container_of(link, struct client, link), each, context);
    weir_list_for(link, &router->logging_in)
        show_client(weir_container_of(link, struct client, base.link), each, context);
}

/* Every client that is logged in has a slot, and keeps it: the place to go on from. Those that are
 * logging in have none and come with the first portion. */
bool weir_view_clients_some(const struct weir_router *router, uint64_t *at, size_t limit,
                            void (*each)(void *context, const struct weir_view_client *row),
                            void *context)
{
    number_queues(router);
    if (*at == 0) {
        weir_list_for(link, &router->logging_in)
            show_client(weir_container_of(link, struct client, base.link), each, context);
    }
    for (size_t shown = 0; *at < router->slot_count && shown < limit; ++*at) {
        const struct client *client = router->slots[*at];
        if (client == NULL)
            continue;
        shown++;
        show_client(client, each, context);
    }
    return *at < router->slot_count;
}
