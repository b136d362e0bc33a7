/* What an operator may do: the marks of databases and the pools that obey them. A mark holds for
 * pools that are created later, too; one that was set for all holds for databases that are named
 * later. */
#include "weir/operator.h"

#include <string.h>

#include "login.h"
#include "router.h"

static bool is_meant(const struct destination *destination, const char *database)
{
    return database == NULL || strcmp(destination->database, database) == 0;
}

/* Named by the file, or removed from it with clients still there. */
static bool is_known(const struct weir_router *router, const char *database)
{
    if (database == NULL)
        return true;
    if (console_is_named(router, database))
        return false;
    if (weir_conf_database(router->conf, database) != NULL)
        return true;
    struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        if (is_meant(destination, database))
            return true;
    }
    return false;
}

static void log_action(struct weir_router *router, const char *action, const char *database)
{
    events_of_router(router, action, database, NULL);
    struct weir_log_who who = {.database = database};
    weir_log_info(database != NULL ? &who : NULL, "operator", "%s%s", action,
                  database == NULL ? ": all databases" : "");
}

/* Sets one mark wherever `database` says. True: something changed. */
static bool set_mark(struct weir_router *router, const char *database, size_t in_cap, bool *of_all,
                     bool value)
{
    bool changed = false;
    if (database != NULL) {
        struct named_cap *cap = destination_database_cap(router, database);
        bool *mark = (bool *)((char *)cap + in_cap);
        changed = *mark != value;
        *mark = value;
        return changed;
    }
    changed = *of_all != value;
    *of_all = value;
    struct named_cap *cap, *next;
    HASH_ITER(hh, router->database_caps, cap, next) {
        bool *mark = (bool *)((char *)cap + in_cap);
        changed |= *mark != value;
        *mark = value;
    }
    return changed;
}

static bool set_paused(struct weir_router *router, const char *database, bool value)
{
    struct named_cap *cap, *next;
    bool changed =
        set_mark(router, database, offsetof(struct named_cap, paused), &router->paused, value);
    HASH_ITER(hh, router->database_caps, cap, next) {
        if (database != NULL && strcmp(cap->name, database) != 0)
            continue;
        if (database == NULL || !value)
            cap->paused_with_all = value;
        if (database != NULL || !value)
            cap->paused_by_name = value;
    }
    return changed;
}

static bool set_disabled(struct weir_router *router, const char *database, bool value)
{
    return set_mark(router, database, offsetof(struct named_cap, disabled), &router->disabled,
                    value);
}

/* --- pause and resume ------------------------------------------------------------------ */

/* A server that cannot be reached must not keep PAUSE waiting. */
static void close_logins(struct destination *destination)
{
    weir_list_for_safe(link, &destination->servers) {
        struct server *server = weir_container_of(link, struct server, link);
        bool enters = server->phase == SERVER_LOGIN || server->phase == SERVER_LEARNING;
        if (enters && server->client == NULL)
            binding_lose_server(server, WEIR_REASON_POOL_PAUSED);
    }
}

static void apply_pause(struct weir_router *router, const char *database)
{
    struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        if (!is_meant(destination, database))
            continue;
        weir_pool_pause(destination->pool, router->loop->now);
        close_logins(destination);
    }
    router_decide_later(router);
}

enum weir_operator_result weir_operator_pause(struct weir_router *router, const char *database)
{
    if (router->draining)
        return WEIR_OPERATOR_DRAINING;
    if (!is_known(router, database))
        return WEIR_OPERATOR_NO_DATABASE;
    if (!set_paused(router, database, true))
        return WEIR_OPERATOR_ALREADY;
    log_action(router, "pause", database);
    apply_pause(router, database);
    return WEIR_OPERATOR_DONE;
}

bool weir_operator_is_paused(const struct weir_router *router, const char *database)
{
    if (database == NULL)
        return router->paused;
    struct named_cap *cap;
    HASH_FIND_STR(router->database_caps, database, cap);
    return cap != NULL ? cap->paused : router->paused;
}

bool weir_operator_is_paused_out(const struct weir_router *router, const char *database)
{
    if (!weir_operator_is_paused(router, database))
        return false;
    struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        /* One of all may have been resumed since. */
        if (is_meant(destination, database) && destination->database_cap->paused &&
            !weir_list_is_empty(&destination->servers))
            return false;
    }
    return true;
}

/* Those whose database is not paused any more. */
static void resume_pools(struct weir_router *router)
{
    struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        if (!destination->database_cap->paused)
            weir_pool_resume(destination->pool, router->loop->now);
    }
    admission_greet_paused(router);
    router_decide_later(router);
}

enum weir_operator_result weir_operator_resume(struct weir_router *router, const char *database)
{
    if (router->draining)
        return WEIR_OPERATOR_DRAINING;
    if (!is_known(router, database))
        return WEIR_OPERATOR_NO_DATABASE;
    bool suspended = database == NULL && router->suspended;
    if (!set_paused(router, database, false) && !suspended)
        return WEIR_OPERATOR_NOT;
    log_action(router, "resume", database);
    if (suspended)
        operator_end_suspension(router);
    resume_pools(router);
    return WEIR_OPERATOR_DONE;
}

/* What others have paused, by name or all, stays paused. */
void weir_operator_take_pause_back(struct weir_router *router, const char *database)
{
    if (router->draining || !weir_operator_is_paused(router, database))
        return;
    log_action(router, "pause taken back", database);
    struct named_cap *cap, *next;
    if (database == NULL)
        router->paused = false;
    HASH_ITER(hh, router->database_caps, cap, next) {
        if (database == NULL)
            cap->paused_with_all = false;
        else if (strcmp(cap->name, database) == 0)
            cap->paused_by_name = false;
        cap->paused = cap->paused_with_all || cap->paused_by_name;
    }
    resume_pools(router);
}

/* --- suspend --------------------------------------------------------------------------- */

enum weir_operator_result weir_operator_suspend(struct weir_router *router)
{
    if (router->draining)
        return WEIR_OPERATOR_DRAINING;
    if (router->suspended)
        return WEIR_OPERATOR_ALREADY;
    log_action(router, "suspend", NULL);
    router->suspended = true;
    weir_list_for(link, &router->logging_in) {
        struct client *client = weir_container_of(link, struct client, base.link);
        /* Whoever has not said what it wants may want the console: admission.c sees to it. */
        if (client->base.state != WEIR_CLIENT_STARTUP && client->console == NULL)
            weir_stream_pause(&client->base.stream);
    }
    weir_list_for(link, &router->clients) {
        struct client *client = weir_container_of(link, struct client, link);
        /* Half a message is read to its end: the relay stops there. */
        if (client->base.state == WEIR_CLIENT_ENDING || client->body_left > 0)
            continue;
        client->input_blocked = true;
        weir_stream_pause(&client->base.stream);
    }
    return WEIR_OPERATOR_DONE;
}

void operator_end_suspension(struct weir_router *router)
{
    router->suspended = false;
    weir_list_for(link, &router->logging_in)
        weir_stream_resume(&weir_container_of(link, struct client, base.link)->base.stream);
    weir_list_for(link, &router->clients) {
        struct client *client = weir_container_of(link, struct client, link);
        if (client->base.state == WEIR_CLIENT_ENDING)
            continue;
        /* It looks at what is kept first, and is blocked again if it has to be. */
        client->input_blocked = true;
        weir_loop_defer(router->loop, &client->resume);
    }
}

static bool is_whole(const struct weir_stream *stream, uint32_t body_left)
{
    return body_left == 0 && weir_stream_unsent(stream) == 0;
}

bool weir_operator_suspends(const struct weir_router *router)
{
    return router->suspended;
}

bool weir_operator_is_suspended(const struct weir_router *router)
{
    if (!router->suspended)
        return false;
    weir_list_for(link, &router->clients) {
        const struct client *client = weir_container_of(link, struct client, link);
        if (!is_whole(&client->base.stream, client->body_left))
            return false;
    }
    struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        weir_list_for(link, &destination->servers) {
            const struct server *server = weir_container_of(link, struct server, link);
            if (!is_whole(&server->base.stream, server->body_left))
                return false;
        }
    }
    return true;
}

/* --- disable, reconnect ---------------------------------------------------------------- */

enum weir_operator_result weir_operator_disable(struct weir_router *router, const char *database)
{
    if (!is_known(router, database))
        return WEIR_OPERATOR_NO_DATABASE;
    if (!set_disabled(router, database, true))
        return WEIR_OPERATOR_ALREADY;
    log_action(router, "disable", database);
    return WEIR_OPERATOR_DONE;
}

enum weir_operator_result weir_operator_enable(struct weir_router *router, const char *database)
{
    if (!is_known(router, database))
        return WEIR_OPERATOR_NO_DATABASE;
    if (!set_disabled(router, database, false))
        return WEIR_OPERATOR_NOT;
    log_action(router, "enable", database);
    return WEIR_OPERATOR_DONE;
}

enum weir_operator_result weir_operator_reconnect(struct weir_router *router, const char *database)
{
    if (!is_known(router, database))
        return WEIR_OPERATOR_NO_DATABASE;
    log_action(router, "reconnect", database);
    struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        if (is_meant(destination, database))
            weir_pool_reconnect(destination->pool, router->loop->now);
    }
    hub_reconnect(router, database);
    router_decide_later(router);
    return WEIR_OPERATOR_DONE;
}

static bool is_marked(const struct weir_pool_server *slot)
{
    return slot->close_asked ||
           (slot->state == WEIR_POOL_CLOSING && slot->close_reason == WEIR_POOL_CLOSE_ASKED);
}

bool weir_operator_is_reconnected(const struct weir_router *router, const char *database)
{
    struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        if (!is_meant(destination, database))
            continue;
        weir_list_for(link, &destination->servers) {
            if (is_marked(&weir_container_of(link, struct server, link)->slot))
                return false;
        }
    }
    return true;
}

/* --- kill ------------------------------------------------------------------------------ */

static void end_clients(struct weir_router *router, const char *database)
{
    weir_list_for_safe(link, &router->logging_in) {
        struct client *client = weir_container_of(link, struct client, base.link);
        if (client->destination != NULL && is_meant(client->destination, database))
            admission_refuse(client, WEIR_REASON_DATABASE_KILLED, NULL, NULL);
    }
    weir_list_for_safe(link, &router->clients) {
        struct client *client = weir_container_of(link, struct client, link);
        if (is_meant(client->destination, database))
            binding_end_client(client, WEIR_REASON_DATABASE_KILLED, NULL);
    }
}

static void close_servers(struct destination *destination)
{
    weir_list_for_safe(link, &destination->servers) {
        struct server *server = weir_container_of(link, struct server, link);
        if (server->phase != SERVER_CLOSING)
            binding_lose_server(server, WEIR_REASON_DATABASE_KILLED);
    }
}

enum weir_operator_result weir_operator_kill(struct weir_router *router, const char *database)
{
    if (!is_known(router, database))
        return WEIR_OPERATOR_NO_DATABASE;
    log_action(router, "kill", database);
    set_paused(router, database, true);
    apply_pause(router, database);
    end_clients(router, database);
    struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        if (is_meant(destination, database))
            close_servers(destination);
    }
    return WEIR_OPERATOR_DONE;
}

static struct client *find_client(struct weir_router *router, uint64_t id)
{
    struct weir_list *const logged_in[] = {&router->clients, &router->consoles};
    for (size_t i = 0; i < sizeof(logged_in) / sizeof(logged_in[0]); i++)
        weir_list_for(link, logged_in[i]) {
            struct client *client = weir_container_of(link, struct client, link);
            if (client->base.id == id)
                return client;
        }
    weir_list_for(link, &router->logging_in) {
        struct client *client = weir_container_of(link, struct client, base.link);
        if (client->base.id == id)
            return client;
    }
    return NULL;
}

enum weir_operator_result weir_operator_kill_client(struct weir_router *router, uint64_t id)
{
    struct client *client = find_client(router, id);
    if (client == NULL)
        return WEIR_OPERATOR_NO_CLIENT;
    if (client->base.login != NULL) {
        admission_refuse(client, WEIR_REASON_CLIENT_KILLED, NULL, NULL);
    } else if (client->base.state == WEIR_CLIENT_ENDING) {
        weir_client_close(&client->base);
        router_doom_client(client);
    } else if (client->console != NULL) {
        console_end_later(client, WEIR_REASON_CLIENT_KILLED);
    } else {
        binding_end_client(client, WEIR_REASON_CLIENT_KILLED, NULL);
    }
    return WEIR_OPERATOR_DONE;
}
