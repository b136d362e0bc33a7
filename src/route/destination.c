/* One (database, user): its pool, how to log in for it, what its servers report. */
#include <stdlib.h>
#include <string.h>

#include "login.h"
#include "router.h"
#include "state.h"
#include "view.h"

static const struct weir_server_ops server_ops;

static struct named_cap *cap_get(struct named_cap **caps, const char *name)
{
    struct named_cap *cap;
    HASH_FIND_STR(*caps, name, cap);
    if (cap == NULL) {
        cap = weir_alloc(sizeof(*cap) + strlen(name) + 1);
        memcpy(cap->name, name, strlen(name) + 1);
        weir_list_init(&cap->destinations);
        HASH_ADD_STR(*caps, name, cap);
    }
    return cap;
}

struct named_cap *destination_database_cap(struct weir_router *router, const char *name)
{
    unsigned known = HASH_COUNT(router->database_caps);
    struct named_cap *cap = cap_get(&router->database_caps, name);
    if (HASH_COUNT(router->database_caps) > known) {
        cap->paused = cap->paused_with_all = router->paused;
        cap->disabled = router->disabled;
    }
    return cap;
}

static void apply_limits(struct destination *destination)
{
    const struct weir_pool_settings *settings = &destination->settings;
    destination->limits = (struct weir_pool_limits){
        .pool_size = settings->pool_size,
        .max_overflow = settings->max_overflow,
        .min_pool_size = settings->min_pool_size,
        .max_waiting = settings->max_waiting,
        .connect_parallel = settings->server_connect_parallel,
        .overflow_delay = settings->overflow_delay,
        .pool_timeout = settings->pool_timeout,
        .recycle = settings->pool_recycle,
        .recycle_jitter_percent = settings->pool_recycle_jitter,
        .idle_timeout = settings->server_idle_timeout,
        .keepalive = settings->server_keepalive,
        .pre_ping_idle = settings->pre_ping_idle,
        .pre_ping = settings->pool_pre_ping,
        .use_lifo = settings->pool_use_lifo,
        .login_retry = settings->server_login_retry,
        .login_retry_max = settings->server_login_retry > 15 * WEIR_SEC
                               ? settings->server_login_retry
                               : 15 * WEIR_SEC,
    };
    destination->database_cap->servers.limit = settings->max_db_connections;
    destination->database_cap->client_limit = settings->max_db_client_connections;
    destination->user_cap->servers.limit = settings->max_user_connections;
    destination->user_cap->client_limit = settings->max_user_client_connections;
}

/* A password of the DSN comes first, then what the user file knows. */
static void apply_credentials(struct destination *destination)
{
    const struct weir_database *line = destination->line;
    struct weir_router *router = destination->router;
    struct weir_credentials *credentials = &destination->credentials;
    const char *secret =
        router->users == NULL ? NULL : weir_user_file_find(router->users, destination->server_user);
    /* What auth_query found, and what PAM or LDAP took, is in no file: a client has brought it, and the
     * next one will again. */
    bool silent = secret == NULL ||
                  (destination->outside && weir_secret_kind_of(secret) == WEIR_SECRET_SCRAM);
    if (destination->proven && line->password == NULL && line->user == NULL && silent)
        return;
    destination->proven = destination->outside = false;
    weir_free_secret(credentials->password);
    weir_free_secret(credentials->md5);
    credentials->password = NULL;
    credentials->md5 = NULL;
    if (line->password != NULL) {
        credentials->password = weir_strdup(line->password);
        return;
    }
    if (secret == NULL)
        return;
    if (weir_secret_kind_of(secret) == WEIR_SECRET_PLAIN)
        credentials->password = weir_strdup(secret);
    else if (weir_secret_kind_of(secret) == WEIR_SECRET_MD5)
        credentials->md5 = weir_strdup(secret);
}

bool destination_configure(struct destination *destination)
{
    struct weir_router *router = destination->router;
    const struct weir_database *line = weir_conf_database(router->conf, destination->database);
    const struct weir_database *old = destination->line;
    destination->line = line;
    if (line == NULL) {
        /* Nothing of the old snapshot may be pointed to any more. */
        destination->limits.min_pool_size = 0;
        destination->settings.server_reset_query = "DISCARD ALL";
        destination->settings.pre_ping_query = "";
        destination->settings.connect_query = "";
        destination->settings.auth_user = "";
        destination->settings.auth_query = "";
        destination->settings.auth_dbname = "";
        destination->target = (struct weir_server_target){0};
        return true;
    }
    bool differs = old != NULL && !weir_database_same_target(old, line);
    weir_conf_resolve(router->conf, line, destination->user, &destination->settings);
    free(destination->server_database);
    free(destination->server_user);
    destination->server_database =
        weir_strdup(line->dbname != NULL ? line->dbname : destination->database);
    destination->server_user = weir_strdup(line->user != NULL ? line->user : destination->user);
    destination->target = (struct weir_server_target){
        .hosts = line->hosts,
        .host_count = line->host_count,
        .database = destination->server_database,
        .user = destination->server_user,
        .credentials = &destination->credentials,
        .tls = &line->tls,
        .application_name = line->application_name,
        .options = line->options,
        .client_encoding = line->client_encoding,
        .connect_query = destination->settings.connect_query,
        .session_attrs = line->session_attrs,
    };
    apply_limits(destination);
    apply_credentials(destination);
    hub_assign(destination);
    return differs;
}

struct destination *destination_get(struct weir_router *router, const char *database,
                                    const char *user)
{
    if (weir_conf_database(router->conf, database) == NULL)
        return NULL;
    size_t database_size = strlen(database) + 1, length = database_size + strlen(user);
    struct destination *destination = weir_alloc(sizeof(*destination) + length + 1);
    memcpy(destination->key, database, database_size);
    memcpy(destination->key + database_size, user, strlen(user));
    struct destination *known;
    HASH_FIND(hh, router->destinations, destination->key, length, known);
    if (known != NULL) {
        free(destination);
        return known;
    }
    destination->router = router;
    destination->database = weir_strdup(database);
    destination->user = weir_strdup(user);
    weir_list_init(&destination->servers);
    destination->database_cap = destination_database_cap(router, database);
    destination->user_cap = cap_get(&router->user_caps, user);
    destination->user_cap->pools++;
    stats_begin_pool(destination);
    destination_configure(destination);
    struct weir_pool_cap *const caps[3] = {&destination->database_cap->servers,
                                           &destination->user_cap->servers, &router->all_servers};
    destination->pool = weir_pool_create(router->group, &destination->limits, caps, destination);
    if (destination->database_cap->paused)
        weir_pool_pause(destination->pool, router->loop->now);
    HASH_ADD_KEYPTR(hh, router->destinations, destination->key, length, destination);
    return destination;
}

void destination_destroy(struct destination *destination)
{
    HASH_DEL(destination->router->destinations, destination);
    destination->user_cap->pools--;
    stats_end_pool(destination);
    hub_unassign(destination);
    weir_pool_destroy(destination->pool);
    admission_forget_greetings(destination);
    custom_free(destination);
    effects_free(destination->effects);
    weir_parameters_clear(&destination->parameters);
    weir_credentials_clear(&destination->credentials);
    weir_buffer_clear(&destination->last_error);
    free(destination->last_problem);
    free(destination->database);
    free(destination->user);
    free(destination->server_database);
    free(destination->server_user);
    free(destination);
}

#define KEEP_EMPTY (3600 * WEIR_SEC)

void destination_collect(struct weir_router *router)
{
    /* Servers that are freed at the end of the turn still point at theirs. */
    if (!weir_list_is_empty(&router->doomed_servers))
        return;
    struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        struct weir_pool_counts counts;
        weir_pool_count(destination->pool, router->loop->now, &counts);
        bool empty = destination->clients == 0 && weir_list_is_empty(&destination->servers) &&
                     counts.waiting == 0 && !drain_keeps(destination);
        if (!empty)
            destination->empty_since = 0;
        else if (destination->empty_since == 0)
            destination->empty_since = router->loop->now;
        else if (destination->line == NULL ||
                 router->loop->now - destination->empty_since > KEEP_EMPTY)
            destination_destroy(destination);
    }
}

/* --- opening servers ------------------------------------------------------------------- */

static struct server *make_server(struct destination *destination)
{
    struct weir_router *router = destination->router;
    struct server *server = weir_alloc(sizeof(*server));
    server->router = router;
    server->destination = destination;
    server->base.id = ++router->next_server_id;
    server->settings = weir_profile_empty(router->profiles);
    server->status = 'I';
    server->phase = SERVER_LOGIN;
    weir_list_init(&server->prepared_order);
    weir_list_init(&server->prepared_unclosed);
    weir_list_init(&server->prepared_dead);
    weir_list_push_back(&destination->servers, &server->link);
    weir_usec limit = destination->settings.server_connect_timeout;
    server->deadline = limit > 0 ? weir_clock_now() + limit : 0;
    weir_pool_opening(destination->pool, &server->slot, router->loop->now);
    return server;
}

void destination_open(struct destination *destination)
{
    if (destination->line == NULL)
        return; /* the pool takes the opening back */
    struct server *server = make_server(destination);
    weir_server_connect(&server->base, destination->router->loop, destination->router->auth,
                        &destination->target, &server_ops);
}

static bool is_full(const struct weir_pool_cap *cap)
{
    return cap->limit > 0 && cap->used >= cap->limit;
}

struct server *destination_open_replication(struct destination *destination, struct client *client)
{
    struct weir_pool_counts counts;
    weir_pool_count(destination->pool, destination->router->loop->now, &counts);
    int ceiling = weir_pool_ceiling(destination->pool);
    int total = counts.opening + counts.idle + counts.checking + counts.active + counts.closing;
    if ((ceiling >= 0 && total >= ceiling) || is_full(&destination->database_cap->servers) ||
        is_full(&destination->user_cap->servers) || is_full(&destination->router->all_servers))
        return NULL;
    struct server *server = make_server(destination);
    pins_set(server, PIN_REPLICATION);
    server->client = client;
    client->logical = strcasecmp(client->base.login->replication, "database") == 0;
    client->server = server;
    server->replication = weir_alloc(sizeof(*server->replication));
    *server->replication = destination->target;
    /* A reload may free the originals while this one logs in. */
    server->replication->database = weir_strdup(destination->server_database);
    server->replication->user = weir_strdup(destination->server_user);
    server->replication->replication = client->base.login->replication;
    server->replication->settings = client->startup;
    weir_server_connect(&server->base, destination->router->loop, destination->router->auth,
                        server->replication, &server_ops);
    return server;
}

/* --- results of logins ----------------------------------------------------------------- */

static void learn_parameters(struct destination *destination,
                             const struct weir_parameters *parameters)
{
    if (!destination->parameters_known ||
        !weir_parameters_equal(&destination->parameters, parameters)) {
        weir_parameters_copy(&destination->parameters, parameters);
        admission_forget_greetings(destination);
    }
    destination->parameters_known = true;
}

/* It is ready for clients. */
static void enter_pool(struct server *server)
{
    struct weir_server *base = &server->base;
    struct destination *destination = server->destination;
    struct weir_router *router = server->router;
    struct weir_log_who who;
    char peer[128];
    destination->counters.server_connects++;
    server->connected_at = view_wall_now();
    weir_histogram_add(&destination->latency.parts[WEIR_PART_CONNECT],
                       router->loop->now - server->slot.opened_at);
    events_of_server(server, "connect", WEIR_REASON_COUNT, NULL);
    if (router->conf->log_connections) {
        router_who_server(server, &who, peer, sizeof(peer));
        weir_log_info(&who, "server_connect", "backend pid %u", server->base.pid);
    }
    server->deadline = 0;
    if (!(server->pins & PIN_REPLICATION))
        learn_parameters(destination, &base->parameters);
    router_echo(server, "connect", NULL);
    if (server->pins & PIN_REPLICATION) {
        server->phase = SERVER_BOUND;
        server->bound_at = router->loop->now;
        weir_profile_unref(server->settings);
        server->settings = weir_profile_ref(server->client->settings);
        weir_pool_opened_bound(&server->slot, router->loop->now);
        admission_welcome_from_server(server->client);
        return;
    }
    server->phase = SERVER_IDLE;
    server->slot.affinity = server->settings;
    weir_pool_opened(&server->slot, router->loop->now);
    router_decide_later(router);
}

static void on_ready(struct weir_server *base)
{
    struct server *server = weir_container_of(base, struct server, base);
    base->stream.on_event = server_relay_event;
    if (!base->set_up) {
        enter_pool(server);
        return;
    }
    server->phase = SERVER_LEARNING;
    settings_ask(server);
}

static void remember_failure(struct destination *destination,
                             const struct weir_server_failure *failure)
{
    free(destination->last_problem);
    destination->last_problem = weir_strdup(failure->text);
    destination->last_reason = failure->reason;
    weir_buffer_clear(&destination->last_error);
    if (failure->error != NULL &&
        !weir_buffer_append(&destination->last_error, failure->error, failure->error_length))
        weir_buffer_clear(&destination->last_error);
}

static void on_failed(struct weir_server *base, const struct weir_server_failure *failure)
{
    struct server *server = weir_container_of(base, struct server, base);
    struct destination *destination = server->destination;
    struct weir_router *router = server->router;
    struct weir_log_who who;
    char peer[128];
    destination->counters.server_connect_failures++;
    destination->counters.reasons[failure->reason]++;
    events_of_server(server, "connect_failed", failure->reason, failure->text);
    router_who_server(server, &who, peer, sizeof(peer));
    weir_log_warning(&who, "server_connect_failed", "server login failed: %s", failure->text);
    remember_failure(destination, failure);
    struct client *client = server->client;
    server->client = NULL;
    server->phase = SERVER_CLOSED;
    weir_pool_open_failed(&server->slot, failure->fatal, router->loop->now);
    if (client != NULL) {
        client->server = NULL;
        admission_refuse(client, failure->reason, failure->text, &destination->last_error);
    }
    router_doom_server(server);
    router_decide_later(router);
}

/* What cannot be told from a client's own. */
static void warn_of_state(const struct server *server)
{
    if (server->pins_learned == 0)
        return;
    struct weir_log_who who;
    char peer[128];
    router_who_server(server, &who, peer, sizeof(peer));
    weir_log_warning(
        &who, "connect_query",
        "it has left temporary objects, locks, cursors or LISTEN: they are lost when a "
        "client that has such state ends");
}

void destination_learned(struct server *server)
{
    if (server->farewell || server->status != 'I' || weir_buffer_length(&server->trouble) > 0) {
        destination_learning_failed(server, WEIR_REASON_SERVER_LOGIN_FAILED);
        return;
    }
    const struct weir_profile *learned = server->learned;
    server->learned = NULL;
    warn_of_state(server);
    if (learned->count > 0) {
        server->initial = weir_profile_ref(learned);
        weir_profile_unref(server->settings);
        server->settings = weir_profile_ref(learned);
    }
    weir_profile_unref(learned);
    enter_pool(server);
}

void destination_learning_failed(struct server *server, enum weir_reason reason)
{
    struct weir_error_fields fields = {0};
    const uint8_t *error = NULL;
    size_t length = weir_buffer_length(&server->trouble);
    if (length > 0) {
        error = weir_buffer_bytes(&server->trouble);
        weir_error_parse(error, length, &fields);
    }
    const char *why = fields.message != NULL  ? fields.message
                      : server->status != 'I' ? "it has left a transaction open"
                                              : weir_reason_row(reason)->text;
    char *text = weir_format("after connect_query: %s", why);
    struct weir_server_failure failure = {
        .reason = reason,
        .text = text,
        .error = error,
        .error_length = length,
        .fatal = !server->farewell && (error != NULL || server->status != 'I') &&
                 !weir_server_error_is_passing(fields.sqlstate),
    };
    weir_server_close(&server->base, false);
    on_failed(&server->base, &failure);
    free(text);
}

void destination_login_timed_out(struct server *server)
{
    static const struct weir_server_failure failure = {
        .reason = WEIR_REASON_CONNECT_TIMEOUT,
        .text = "connect and login took too long (server_connect_timeout)",
    };
    weir_server_close(&server->base, false);
    on_failed(&server->base, &failure);
}

static const struct weir_server_ops server_ops = {.ready = on_ready, .failed = on_failed};
