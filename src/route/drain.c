/* Reload by diff, and shutdown at transaction boundaries. */
#include <stdlib.h>
#include <string.h>

#include "login.h"
#include "router.h"
#include "view.h"

/* A snapshot that a login under way may still point into. */
struct retired {
    struct retired *next;
    struct weir_conf *conf;
};

static bool any_login(struct weir_router *router)
{
    struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        weir_list_for(link, &destination->servers) {
            if (weir_container_of(link, struct server, link)->phase == SERVER_LOGIN)
                return true;
        }
    }
    return false;
}

void drain_free_retired(struct weir_router *router)
{
    if (router->retired == NULL || any_login(router))
        return;
    while (router->retired != NULL) {
        struct retired *retired = router->retired;
        router->retired = retired->next;
        weir_conf_destroy(retired->conf);
        free(retired);
    }
}

/* It keeps connections open also without any client: the file names its user. */
static bool is_standing(const struct weir_database *line, const char *user, int min_pool_size)
{
    return line != NULL && line->user != NULL && strcmp(line->user, user) == 0 &&
           strcmp(line->name, "*") != 0 && min_pool_size > 0;
}

bool drain_keeps(const struct destination *destination)
{
    return is_standing(destination->line, destination->user, destination->settings.min_pool_size);
}

void drain_create_pools(struct weir_router *router)
{
    for (size_t i = 0; i < router->conf->database_count; i++) {
        const struct weir_database *line = &router->conf->databases[i];
        if (line->user == NULL)
            continue;
        struct weir_pool_settings settings;
        weir_conf_resolve(router->conf, line, line->user, &settings);
        if (is_standing(line, line->user, settings.min_pool_size))
            destination_get(router, line->name, line->user);
    }
}

static void log_change(void *context, const char *name, const char *old_value,
                       const char *new_value, bool reloadable)
{
    int *changes = context;
    (*changes)++;
    if (reloadable)
        weir_log_info(NULL, "reload", "%s changed from %s to %s", name, old_value, new_value);
    else
        weir_log_warning(NULL, "reload", "%s changed from %s to %s: takes effect at a restart",
                         name, old_value, new_value);
}

static void end_clients_of(struct weir_router *router, struct destination *destination)
{
    weir_list_for_safe(link, &router->logging_in) {
        struct client *client = weir_container_of(link, struct client, base.link);
        if (client->destination == destination)
            admission_refuse(client, WEIR_REASON_DATABASE_REMOVED, NULL, NULL);
    }
    weir_list_for_safe(link, &router->clients) {
        struct client *client = weir_container_of(link, struct client, link);
        if (client->destination == destination)
            binding_end_client(client, WEIR_REASON_DATABASE_REMOVED, NULL);
    }
}

void weir_router_reload(struct weir_router *router, struct weir_conf *conf,
                        struct weir_user_file *users)
{
    struct weir_conf *old = router->conf;
    int changes = 0;
    weir_conf_diff(old, conf, log_change, &changes);
    weir_conf_keep(conf, old);
    router->conf = conf;
    router->all_servers.limit = conf->max_server_connections;
    strangers_configure(router);
    weir_user_file_destroy(router->users);
    router->users = users;
    weir_control_reset(router->control, conf);
    struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        bool differs = destination_configure(destination);
        weir_pool_limits_changed(destination->pool, router->loop->now);
        if (destination->line == NULL) {
            weir_log_warning(NULL, "reload", "database \"%s\" is gone: its clients are closed",
                             destination->database);
            end_clients_of(router, destination);
        }
        if (differs) {
            weir_log_info(NULL, "reload", "pool \"%s\"/\"%s\" has another target: it reconnects",
                          destination->database, destination->user);
            destination->parameters_known = false;
            events_of_pool(destination, "reconnect", "the reload gave it another target");
            weir_pool_reconnect(destination->pool, router->loop->now);
        }
    }
    struct retired *retired = weir_alloc(sizeof(*retired));
    *retired = (struct retired){.next = router->retired, .conf = old};
    router->retired = retired;
    drain_create_pools(router);
    router_decide_later(router);
    char told[64];
    snprintf(told, sizeof(told), "settings of [pgweir] that changed: %d", changes);
    events_of_router(router, "reload", NULL, told);
    weir_router_note_reload(router, NULL);
    router->wall_reloaded_at = view_wall_now();
    weir_log_info(NULL, "reload", "configuration reloaded, %s", told);
}

void weir_router_drain(struct weir_router *router)
{
    if (router->draining)
        return;
    router->draining = true;
    if (router->suspended)
        operator_end_suspension(router);
    events_of_router(router, "drain", NULL, NULL);
    weir_log_info(NULL, "drain", "%d clients are told at their next transaction boundary",
                  router->places[PLACE_CLIENT]);
    weir_list_for_safe(link, &router->logging_in) {
        struct client *client = weir_container_of(link, struct client, base.link);
        if (client->console == NULL)
            admission_refuse(client, WEIR_REASON_SHUTDOWN_NEW, NULL, NULL);
    }
    upkeep_tick(router);
}

bool weir_router_is_drained(const struct weir_router *router)
{
    /* Who has been told and has nothing more to get is waited for no longer, nor is who comes only
     * now and will be refused. */
    weir_list_for(link, &router->logging_in) {
        const struct client *client = weir_container_of(link, struct client, base.link);
        if (client->console == NULL && weir_stream_unsent(&client->base.stream) > 0)
            return false;
    }
    weir_list_for(link, &router->clients) {
        const struct client *client = weir_container_of(link, struct client, link);
        if (client->base.state != WEIR_CLIENT_ENDING ||
            weir_stream_unsent(&client->base.stream) > 0)
            return false;
    }
    return true;
}
