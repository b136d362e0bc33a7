/* Time-outs, ten times a second. Precision is the tick; nothing here runs per query. */
#include <stdlib.h>

#include "login.h"
#include "router.h"
#include "state.h"
#include "view.h"

/* A client that does not take its last words. */
#define ENDING_LIMIT (5 * WEIR_SEC)
/* A pinned client that did something may have no state any more: it is asked so often at most. */
#define PIN_QUESTION WEIR_SEC

/* The setting that holds now is for those that have come before it was changed, too. */
static void tick_logins(struct weir_router *router)
{
    weir_usec limit = router->conf->client_login_timeout;
    if (limit == 0)
        return;
    weir_list_for_safe(link, &router->logging_in) {
        struct client *client = weir_container_of(link, struct client, base.link);
        if (router->loop->now - client->base.login->begun_at < limit)
            break; /* in order of arrival */
        admission_refuse(client, WEIR_REASON_LOGIN_TIMEOUT,
                         "login took too long (client_login_timeout)", NULL);
    }
}

static bool is_over(weir_usec limit, weir_usec since, weir_usec now)
{
    return limit > 0 && since > 0 && now - since >= limit;
}

/* Bound for longer than a transaction, by session mode or a pin, and at a boundary. */
static void tick_resting(struct client *client, weir_usec now)
{
    struct server *server = client->server;
    if (client->router->draining)
        binding_end_client(client, WEIR_REASON_SHUTDOWN, NULL);
    else if (!(server->pins & PIN_REPLICATION) &&
             is_over(server->destination->settings.client_idle_timeout, server->idle_at, now))
        binding_end_client(client, WEIR_REASON_CLIENT_IDLE_TIMEOUT, NULL);
    else if (server->pins & PINS_ASKED && server->unsampled > 0 &&
             client->base.state == WEIR_CLIENT_ACTIVE && now - server->asked_at >= PIN_QUESTION)
        settings_ask(server);
}

static void tick_running(struct client *client, weir_usec now)
{
    struct server *server = client->server;
    const struct weir_pool_settings *settings = &server->destination->settings;
    const struct reply *head = reply_head(&server->replies);
    if (head != NULL && head->action == REPLY_SWALLOW)
        return; /* a question of our own */
    if (head != NULL && !server->timed_out &&
        is_over(settings->query_timeout, server->query_at, now)) {
        server->timed_out = true;
        server->destination->counters.reasons[WEIR_REASON_QUERY_TIMEOUT]++;
        events_of_client(client, "timeout", WEIR_REASON_QUERY_TIMEOUT, NULL);
        cancel_server(server);
    }
    if (is_over(settings->transaction_timeout, server->began_at, now))
        binding_end_client(client, WEIR_REASON_TRANSACTION_TIMEOUT, NULL);
    else if (head == NULL && is_over(settings->idle_transaction_timeout, server->idle_at, now))
        binding_end_client(client, WEIR_REASON_IDLE_TRANSACTION_TIMEOUT, NULL);
}

static void tick_bound(struct client *client, weir_usec now)
{
    const struct server *server = client->server;
    if (server->replies.count == 0 && server->status == 'I' && server->pipeline == PIPELINE_IDLE)
        tick_resting(client, now);
    else if (!(server->pins & PIN_REPLICATION))
        tick_running(client, now);
}

static void tick_ending(struct client *client, weir_usec now)
{
    if (now - client->since < ENDING_LIMIT)
        return;
    weir_client_close(&client->base);
    router_doom_client(client);
}

static void tick_client(struct client *client, weir_usec now)
{
    switch (client->base.state) {
    case WEIR_CLIENT_IDLE:
        if (client->router->draining && weir_buffer_length(&client->base.stream.in) == 0)
            binding_end_client(client, WEIR_REASON_SHUTDOWN, NULL);
        else if (is_over(client->destination->settings.client_idle_timeout, client->since, now))
            binding_end_client(client, WEIR_REASON_CLIENT_IDLE_TIMEOUT, NULL);
        break;
    case WEIR_CLIENT_ENDING:
        tick_ending(client, now);
        break;
    case WEIR_CLIENT_WAITING:
        /* Nobody resumes what is paused while the daemon goes down. */
        if (client->router->draining && client->destination->database_cap->paused)
            binding_end_client(client, WEIR_REASON_SHUTDOWN, NULL);
        break;
    case WEIR_CLIENT_ACTIVE:
    case WEIR_CLIENT_HELD:
        if (client->server != NULL)
            tick_bound(client, now);
        break;
    default:
        break;
    }
}

static void tick_clients(struct weir_router *router)
{
    weir_list_for_safe(link, &router->clients)
        tick_client(weir_container_of(link, struct client, link), router->loop->now);
    weir_list_for_safe(link, &router->consoles) {
        struct client *client = weir_container_of(link, struct client, link);
        if (client->base.state == WEIR_CLIENT_ENDING)
            tick_ending(client, router->loop->now);
    }
}

static void tick_server(struct server *server, weir_usec now)
{
    if (server->deadline == 0 || now < server->deadline)
        return;
    server->deadline = 0;
    switch (server->phase) {
    case SERVER_LOGIN:
    case SERVER_LEARNING:
        destination_login_timed_out(server);
        break;
    case SERVER_PINGING:
        binding_lose_server(server, WEIR_REASON_PING_TIMEOUT);
        break;
    case SERVER_CLOSING:
        binding_lose_server(server, WEIR_REASON_SERVER_LOST);
        break;
    case SERVER_SETTLING:
        binding_lose_server(server, WEIR_REASON_CLEAN_TIMEOUT);
        break;
    case SERVER_BOUND:
        /* The cancel request hangs: its signal may come at any time, so the connection is not to be
         * used any more. */
        if (server->cancel != NULL)
            binding_lose_server(server, WEIR_REASON_SERVER_LOST);
        break;
    default:
        break;
    }
}

static void tick_servers(struct weir_router *router)
{
    struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        weir_list_for_safe(link, &destination->servers)
            tick_server(weir_container_of(link, struct server, link), router->loop->now);
    }
}

/* The clients are walked once a second (or at each tick while draining): their limits are coarse.
 */
void upkeep_tick(struct weir_router *router)
{
    stats_note_turns(router);
    tick_logins(router);
    delay_tick(router);
    tick_servers(router);
    stats_tick(router);
    router->ticks++;
    if (router->hubs != NULL)
        hub_tick(router);
    if (router->draining || router->ticks % 5 == 0)
        tick_clients(router);
    if (router->ticks % 100 == 0) {
        destination_collect(router);
        drain_free_retired(router);
        router->wall_offset = view_wall_now() - router->loop->now;
    }
    weir_pool_tick(router->group, router->loop->now);
    if (weir_pool_has_decisions(router->group))
        router_decide_later(router);
}
