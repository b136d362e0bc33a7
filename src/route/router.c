#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "login.h"
#include "router.h"
#include "state.h"
#include "view.h"

#define TICK_SECONDS 0.1

/* --- who is who, for the log ----------------------------------------------------------- */

void router_who_client(const struct client *client, struct weir_log_who *who, char *peer,
                       size_t peer_size)
{
    const struct weir_client_login *login = client->base.login;
    weir_client_peer(&client->base, peer, peer_size);
    *who = (struct weir_log_who){.kind = "client", .id = client->base.id, .peer = peer};
    if (client->destination != NULL) {
        who->database = client->destination->database;
        who->user = client->destination->user;
    } else if (client->console != NULL) {
        who->database = client->console->database;
        who->user = client->console->user;
    } else if (login != NULL) {
        who->database = login->database;
        who->user = login->user;
    }
}

void router_who_server(const struct server *server, struct weir_log_who *who, char *peer,
                       size_t peer_size)
{
    if (server->base.address.length > 0)
        weir_address_print(&server->base.address, peer, peer_size);
    else
        snprintf(peer, peer_size, "?");
    *who = (struct weir_log_who){
        .kind = "server",
        .id = server->base.id,
        .database = server->destination->database,
        .user = server->destination->user,
        .peer = peer,
    };
}

void router_echo_loudly(const struct server *server, const char *event, const char *detail)
{
    enum weir_echo echo = server->destination->settings.echo_pool;
    if (echo == WEIR_ECHO_ON && strcmp(event, "checkin") == 0)
        return;
    struct weir_log_who who;
    char peer[128];
    router_who_server(server, &who, peer, sizeof(peer));
    struct weir_pool_counts counts;
    weir_pool_count(server->destination->pool, server->router->loop->now, &counts);
    weir_log_info(&who, "pool", "%s%s%s backend=%u client=%llu idle=%d active=%d waiting=%d", event,
                  detail != NULL ? " " : "", detail != NULL ? detail : "", server->base.pid,
                  server->client != NULL ? (unsigned long long)server->client->base.id : 0ULL,
                  counts.idle, counts.active, counts.waiting);
}

/* --- the end of objects ---------------------------------------------------------------- */

void router_doom_client(struct client *client)
{
    struct weir_router *router = client->router;
    lookup_end(client);
    access_end(client);
    delay_end(client);
    weir_list_remove_if_linked(&client->base.link);
    weir_list_remove_if_linked(&client->link);
    weir_task_cancel(&client->resume);
    weir_list_push_back(&router->doomed_clients, &client->link);
    weir_loop_defer(router->loop, &router->reap);
}

void router_doom_server(struct server *server)
{
    struct weir_router *router = server->router;
    weir_list_remove_if_linked(&server->link);
    weir_list_push_back(&router->doomed_servers, &server->link);
    weir_loop_defer(router->loop, &router->reap);
}

static void free_client(struct client *client)
{
    struct weir_router *router = client->router;
    router->places[client->place]--;
    console_free_seat(client);
    if (client->counted) {
        client->destination->clients--;
        client->destination->database_cap->clients--;
        client->destination->user_cap->clients--;
    }
    statement_forget_client(client);
    hub_forget_client(client);
    settings_forget_client(client);
    free(client);
}

static void free_server(struct server *server)
{
    struct destination *destination = server->destination;
    statement_forget_server(server);
    handover_forget(server);
    weir_profile_unref(server->settings);
    weir_profile_unref(server->initial);
    weir_profile_unref(server->learned);
    weir_profile_unref(server->spelled);
    weir_buffer_clear(&server->suspects);
    weir_buffer_clear(&server->trouble);
    running_forget(server);
    free(server->text);
    pins_free(server);
    weir_server_fini(&server->base);
    if (server->replication != NULL) {
        free((char *)(uintptr_t)server->replication->database);
        free((char *)(uintptr_t)server->replication->user);
    }
    free(server->replication);
    free(server->replies.items);
    free(server);
    /* With the last connection goes the knowledge of what the server reports. */
    if (weir_list_is_empty(&destination->servers))
        destination->parameters_known = false;
}

static void reap(struct weir_task *task)
{
    struct weir_router *router = weir_container_of(task, struct weir_router, reap);
    struct weir_list *link;
    while ((link = weir_list_pop(&router->doomed_clients)) != NULL)
        free_client(weir_container_of(link, struct client, link));
    while ((link = weir_list_pop(&router->doomed_servers)) != NULL)
        free_server(weir_container_of(link, struct server, link));
}

/* --- decisions ------------------------------------------------------------------------- */

static void decide(struct weir_task *task)
{
    struct weir_router *router = weir_container_of(task, struct weir_router, decide);
    struct weir_pool_decision decision;
    while (weir_pool_next(router->group, &decision))
        binding_decide(router, &decision);
}

void router_decide_later(struct weir_router *router)
{
    weir_loop_defer(router->loop, &router->decide);
}

/* --- the router ------------------------------------------------------------------------ */

static void on_tick(struct ev_loop *ev, ev_timer *timer, int events)
{
    upkeep_tick(timer->data);
}

struct weir_router *weir_router_create(struct weir_loop *loop, struct weir_conf *conf,
                                       struct weir_user_file *users)
{
    struct weir_router *router = weir_alloc(sizeof(*router));
    uint64_t seed;
    weir_random_bytes(&seed, sizeof(seed));
    router->loop = loop;
    router->conf = conf;
    router->users = users;
    router->auth = weir_auth_context_create();
    router->control = weir_control_create(loop, conf);
    router->verify = weir_verify_create(loop);
    router->profiles = weir_profile_set_create();
    router->group = weir_pool_group_create(seed);
    router->stats = stats_create();
    router->events = events_create();
    router->strangers = weir_strangers_create();
    strangers_configure(router);
    router->started_at = loop->now;
    router->wall_started_at = view_wall_now();
    router->wall_reloaded_at = router->wall_started_at;
    router->wall_offset = router->wall_started_at - loop->now;
    weir_list_init(&router->logging_in);
    weir_list_init(&router->delays);
    weir_list_init(&router->clients);
    weir_list_init(&router->consoles);
    weir_list_init(&router->doomed_clients);
    weir_list_init(&router->doomed_servers);
    router->reap.run = reap;
    router->decide.run = decide;
    router->console_ends.run = console_run_ends;
    ev_timer_init(&router->tick, on_tick, TICK_SECONDS, TICK_SECONDS);
    router->tick.data = router;
    ev_timer_start(loop->ev, &router->tick);
    router->all_servers.limit = conf->max_server_connections;
    drain_create_pools(router);
    return router;
}

static void close_logged_in(struct weir_list *clients)
{
    struct weir_list *link;
    while ((link = weir_list_first(clients)) != NULL) {
        struct client *client = weir_container_of(link, struct client, link);
        if (client->console != NULL)
            console_end(client, WEIR_REASON_SHUTDOWN);
        else
            binding_end_client(client, WEIR_REASON_SHUTDOWN, NULL);
        if (client->base.state == WEIR_CLIENT_ENDING) {
            weir_client_close(&client->base);
            router_doom_client(client);
        }
    }
}

static void close_everything(struct weir_router *router)
{
    struct weir_list *link;
    while ((link = weir_list_first(&router->logging_in)) != NULL) {
        struct client *client = weir_container_of(link, struct client, base.link);
        binding_abandon(client, WEIR_REASON_SHUTDOWN);
        weir_client_close(&client->base);
        router_doom_client(client);
    }
    close_logged_in(&router->clients);
    close_logged_in(&router->consoles);
    struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        while ((link = weir_list_first(&destination->servers)) != NULL)
            binding_lose_server(weir_container_of(link, struct server, link), WEIR_REASON_SHUTDOWN);
    }
}

static void free_caps(struct named_cap **caps)
{
    struct named_cap *cap, *next;
    HASH_ITER(hh, *caps, cap, next) {
        HASH_DEL(*caps, cap);
        free(cap->stats);
        free(cap);
    }
}

void weir_router_destroy(struct weir_router *router)
{
    if (router == NULL)
        return;
    ev_timer_stop(router->loop->ev, &router->tick);
    close_everything(router);
    reap(&router->reap);
    weir_task_cancel(&router->reap);
    weir_task_cancel(&router->decide);
    weir_task_cancel(&router->console_ends);
    struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        destination_destroy(destination);
    }
    hub_destroy_all(router);
    weir_control_destroy(router->control);
    weir_verify_destroy(router->verify);
    free_caps(&router->database_caps);
    free_caps(&router->user_caps);
    weir_pool_group_destroy(router->group);
    weir_profile_set_destroy(router->profiles);
    weir_auth_context_destroy(router->auth);
    weir_user_file_destroy(router->users);
    weir_hba_release(router->rules);
    weir_tls_context_release(router->client_tls.context);
    drain_free_retired(router);
    weir_conf_destroy(router->conf);
    stats_destroy(router->stats);
    events_destroy(router->events);
    weir_strangers_destroy(router->strangers);
    free(router->slots);
    free(router->reload_problem);
    free(router);
}

void weir_router_set_tls(struct weir_router *router, const struct weir_client_tls *tls)
{
    struct weir_tls_context *old = router->client_tls.context;
    router->client_tls = *tls;
    if (tls->context != NULL)
        (void)weir_tls_context_share(tls->context);
    weir_tls_context_release(old);
}

void weir_router_set_rules(struct weir_router *router, struct weir_hba *rules)
{
    weir_hba_release(router->rules);
    router->rules = rules;
    verdict_follow(router);
}

const struct weir_conf *weir_router_conf(const struct weir_router *router)
{
    return router->conf;
}

void weir_router_note_reload(struct weir_router *router, const char *problem)
{
    free(router->reload_problem);
    router->reload_problem = problem != NULL ? weir_strdup(problem) : NULL;
    if (problem != NULL)
        events_of_router(router, "reload_failed", NULL, problem);
}

void weir_router_accept(void *context, int fd, const struct weir_address *peer)
{
    struct weir_router *router = context;
    if (!strangers_let_in(router, fd, peer))
        return;
    struct client *client = weir_alloc(sizeof(*client));
    client->router = router;
    client->base.id = ++router->next_client_id;
    client->connected_at = view_wall_now();
    client->resume.run = client_relay_resume;
    client->place = PLACE_STRANGER;
    router->places[PLACE_STRANGER]++;
    weir_list_push_back(&router->logging_in, &client->base.link);
    weir_client_open(&client->base, router->loop, fd, router->auth, &router_session_ops);
    weir_client_offer_tls(&client->base, &router->client_tls);
}
