/* Server connections for the operator. */
#include <string.h>

#include "router.h"
#include "view.h"
#include "weir/tls.h"
#include "weir/view.h"

static const char *word_of(const struct server *server)
{
    if (server->cancel != NULL && server->phase == SERVER_BOUND)
        return server->replies.count > 0 ? "active_cancel" : "being_canceled";
    switch (server->phase) {
    case SERVER_LOGIN:
    case SERVER_LEARNING:
        return "new";
    case SERVER_IDLE:
        return weir_pool_is_stale(&server->slot, server->router->loop->now) ? "used" : "idle";
    case SERVER_BOUND:
    case SERVER_SETTLING:
        return "active";
    case SERVER_PINGING:
        return "tested";
    case SERVER_CLOSING:
    case SERVER_CLOSED:
        break;
    }
    return "closing";
}

static const char *doing_while_bound(const struct server *server)
{
    if (server->client != NULL && weir_stream_unsent(&server->client->base.stream) > 0)
        return "slow reader";
    if (server->replies.count > 0)
        return "running";
    if (server->status != 'I' || server->pipeline != PIPELINE_IDLE)
        return "idle in transaction";
    return "pinned";
}

static const char *doing(const struct server *server)
{
    static const char *const words[] = {
        [SERVER_LOGIN] = "logging in",  [SERVER_LEARNING] = "logging in",
        [SERVER_IDLE] = "idle",         [SERVER_BOUND] = "",
        [SERVER_SETTLING] = "settling", [SERVER_PINGING] = "pinged",
        [SERVER_CLOSING] = "closing",   [SERVER_CLOSED] = "closing",
    };
    return server->phase == SERVER_BOUND ? doing_while_bound(server) : words[server->phase];
}

static weir_usec state_since(const struct server *server)
{
    switch (server->phase) {
    case SERVER_LOGIN:
    case SERVER_LEARNING:
        return server->slot.opened_at;
    case SERVER_IDLE:
        return server->slot.idle_since;
    case SERVER_BOUND:
        return server->bound_at;
    default:
        return server->phase_at;
    }
}

static const char *replication_of(const struct server *server)
{
    if (!(server->pins & PIN_REPLICATION))
        return "none";
    return server->client != NULL && server->client->logical ? "logical" : "physical";
}

static const char *application_name(const struct server *server)
{
    const char *own = weir_parameters_get(&server->base.parameters, "application_name");
    return own != NULL ? own : view_application_name(server->settings);
}

static void show_server(const struct server *server,
                        void (*each)(void *context, const struct weir_view_server *row),
                        void *context)
{
    const struct weir_router *router = server->router;
    weir_usec now = router->loop->now;
    struct weir_view_server row = {
        .id = server->base.id,
        .pointer = server,
        .database = server->destination->database,
        .user = server->destination->user,
        .replication = replication_of(server),
        .state_word = word_of(server),
        .doing = doing(server),
        .application_name = application_name(server),
        .address = server->base.address,
        .connected_at = server->connected_at,
        .requested_at = view_wall(router, server->query_at),
        .held = server->phase == SERVER_BOUND ? now - server->bound_at : 0,
        .state_age = now - state_since(server),
        .close_needed = server->slot.close_asked,
        .backend_pid = server->base.pid,
        .prepared_statements = server->prepared_count,
        .input_kept = weir_buffer_length(&server->base.stream.in),
        .output_unsent = weir_stream_unsent(&server->base.stream),
        .uses = server->slot.uses,
        .pins = pins_shown(server),
        .descriptor = -1,
    };
    if (server->client != NULL) {
        row.client_id = server->client->base.id;
        row.client_pointer = server->client;
    }
    row.tls_version = weir_tls_version(&server->base.stream);
    row.tls_cipher = weir_tls_cipher(&server->base.stream);
    if (weir_stream_is_open(&server->base.stream)) {
        row.descriptor = server->base.stream.io.fd;
        row.local_address.length = sizeof(row.local_address.storage);
        if (getsockname(row.descriptor, &row.local_address.any, &row.local_address.length) != 0)
            row.local_address.length = 0;
    }
    view_server_statement(server, &row.statement);
    each(context, &row);
}

void weir_view_servers(const struct weir_router *router,
                       void (*each)(void *context, const struct weir_view_server *row),
                       void *context)
{
    const struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        weir_list_for(link, &destination->servers)
            show_server(weir_container_of(link, struct server, link), each, context);
    }
}
