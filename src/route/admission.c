/* Who may come in, and the welcome: what PostgreSQL tells a client at the end of its login.
 *
 * The reported parameters are those of a real server with this client's settings. When a server of
 * the destination is alive and the same settings were accepted before, the welcome is made from
 * memory; otherwise the client waits for a server connection, which is given its settings first, so
 * that a bad one is refused at login with the server's own error. */
#include <stdlib.h>
#include <string.h>

#include "login.h"
#include "router.h"
#include "state.h"

/* So many different sets of settings are remembered per destination. */
#define GREETINGS_MAX 256

/* What the server reports under a set of settings that it accepted; application_name left out. */
struct greeting {
    UT_hash_handle hh;
    const struct weir_profile *profile; /* key */
    struct weir_parameters parameters;
    const struct weir_profile *spelled; /* the settings as the server has them, likewise */
};

static void free_greeting(struct destination *destination, struct greeting *greeting)
{
    HASH_DEL(destination->greetings, greeting);
    weir_profile_unref(greeting->profile);
    weir_profile_unref(greeting->spelled);
    weir_parameters_clear(&greeting->parameters);
    free(greeting);
}

void admission_forget_greetings(struct destination *destination)
{
    struct greeting *greeting, *next;
    HASH_ITER(hh, destination->greetings, greeting, next) {
        free_greeting(destination, greeting);
    }
}

static struct greeting *find_greeting(struct destination *destination,
                                      const struct weir_profile *settings)
{
    const struct weir_profile *key = weir_profile_with(settings, "application_name", NULL);
    struct greeting *greeting;
    HASH_FIND_PTR(destination->greetings, &key, greeting);
    weir_profile_unref(key);
    return greeting;
}

static void remember_greeting(struct destination *destination, const struct weir_profile *settings,
                              const struct weir_parameters *parameters,
                              const struct weir_profile *spelled)
{
    if (HASH_COUNT(destination->greetings) >= GREETINGS_MAX)
        admission_forget_greetings(destination);
    struct greeting *greeting = find_greeting(destination, settings);
    if (greeting == NULL) {
        greeting = weir_alloc(sizeof(*greeting));
        greeting->profile = weir_profile_with(settings, "application_name", NULL);
        HASH_ADD_PTR(destination->greetings, profile, greeting);
    }
    weir_parameters_copy(&greeting->parameters, parameters);
    weir_profile_unref(greeting->spelled);
    greeting->spelled = weir_profile_with(spelled, "application_name", NULL);
}

/* --- the welcome ----------------------------------------------------------------------- */

static void write_parameters(struct weir_writer *writer, const struct weir_parameters *parameters,
                             const char *application_name)
{
    for (size_t i = 0; i < parameters->count; i++) {
        const struct weir_parameter *item = &parameters->items[i];
        bool is_name = strcmp(item->name, "application_name") == 0;
        weir_write_parameter_status(writer, item->name,
                                    is_name && application_name != NULL ? application_name
                                                                        : item->value);
    }
}

const char *admission_tls(const struct client *client, char *text, size_t size)
{
    text[0] = '\0';
    if (weir_tls_is_used(&client->base.stream))
        snprintf(text, size, " tls=%s/%s", weir_tls_version(&client->base.stream),
                 weir_tls_cipher(&client->base.stream));
    return text;
}

static void log_login(struct client *client, const char *rule)
{
    if (!client->router->conf->log_connections)
        return;
    struct weir_log_who who;
    char peer[128], tls[ADMISSION_TLS_MAX];
    router_who_client(client, &who, peer, sizeof(peer));
    const char *name = weir_profile_value(client->startup, "application_name");
    weir_log_info(&who, "login", "login succeeded%s%s application_name=%s",
                  rule != NULL ? rule : "", admission_tls(client, tls, sizeof(tls)),
                  name != NULL ? name : "");
}

static void spell_as_server(const struct weir_profile **profile,
                            const struct weir_parameters *parameters)
{
    const struct weir_profile *canonical = settings_canonical(*profile, parameters);
    weir_profile_unref(*profile);
    *profile = canonical;
}

static void welcome(struct client *client, const struct weir_parameters *parameters)
{
    struct weir_router *router = client->router;
    spell_as_server(&client->startup, parameters);
    settings_change(client, settings_canonical(client->settings, parameters));
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    bool replication = client->base.login->replication != NULL;
    cancel_assign_key(client);
    weir_write_authentication(&writer, 0, NULL, 0);
    write_parameters(&writer, parameters, weir_profile_value(client->settings, "application_name"));
    weir_write_backend_key(&writer, client->base.cancel_pid, client->base.cancel_key,
                           client->base.cancel_key_length);
    weir_write_ready_for_query(&writer, 'I');
    char *rule = client->base.login->rule;
    client->base.login->rule = NULL;
    lookup_end(client);
    access_end(client);
    weir_client_login_done(&client->base);
    weir_list_remove(&client->base.link);
    weir_list_push_back(&router->clients, &client->link);
    weir_client_set_state(&client->base, replication ? WEIR_CLIENT_ACTIVE : WEIR_CLIENT_IDLE);
    client->since = router->loop->now;
    client->destination->counters.client_logins++;
    log_login(client, rule);
    free(rule);
    client->base.stream.on_event = client_relay_event;
    bool sent =
        !writer.failed && weir_stream_send_bytes(&client->base.stream, weir_buffer_bytes(&out),
                                                 weir_buffer_length(&out));
    weir_buffer_clear(&out);
    /* What it sent along with its password is looked at now; a dead stream shows at its next event.
     */
    (void)sent;
    weir_loop_defer(router->loop, &client->resume);
}

void admission_welcome_from_server(struct client *client)
{
    struct server *server = client->server;
    if (!(server->pins & PIN_REPLICATION))
        remember_greeting(client->destination, client->settings, &server->base.parameters,
                          server->settings);
    if (!(server->pins & PIN_REPLICATION) && settings_wanted(client, server) != server->settings)
        settings_respell(client, server->settings);
    welcome(client, &server->base.parameters);
    spell_as_server(&server->settings, &server->base.parameters);
    if (!(server->pins & PIN_REPLICATION)) {
        weir_client_set_state(&client->base, WEIR_CLIENT_ACTIVE);
        server_at_rest(server);
    }
}

/* --- refusing -------------------------------------------------------------------------- */

void admission_refuse(struct client *client, enum weir_reason reason, const char *text,
                      const struct weir_buffer *server_error)
{
    if (client->base.state == WEIR_CLIENT_CLOSED)
        return;
    if (client->server != NULL && client->server->farewell) {
        reason = WEIR_REASON_SERVER_SAID_GOODBYE; /* the server has said why already */
        server_error = NULL;
    }
    if (server_error == NULL || weir_buffer_length(server_error) == 0) {
        weir_client_refuse_login(&client->base, reason, text, NULL, NULL);
        return;
    }
    /* The server's own error, as a direct login would show it. */
    struct weir_error_fields fields = {0};
    weir_error_parse(weir_buffer_bytes(server_error), weir_buffer_length(server_error), &fields);
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    weir_write_error(&writer, "FATAL", fields.sqlstate != NULL ? fields.sqlstate : "08006",
                     fields.message != NULL ? fields.message : "login failed", fields.detail,
                     fields.hint);
    if (!writer.failed && weir_stream_send_bytes(&client->base.stream, weir_buffer_bytes(&out),
                                                 weir_buffer_length(&out)))
        weir_stream_finish(&client->base.stream);
    weir_buffer_clear(&out);
    client->base.ops->login_ended(&client->base, reason);
}

/* --- coming in ------------------------------------------------------------------------- */

static bool refuse(struct client *client, enum weir_reason reason, char *text)
{
    client->base.login->refusal = reason;
    client->base.login->refusal_text = text;
    return false;
}

static bool is_full(const struct named_cap *cap)
{
    return cap->client_limit > 0 && cap->clients >= cap->client_limit;
}

static bool is_everywhere_full(struct client *client)
{
    int most = client->router->conf->max_client_conn;
    if (client->router->places[PLACE_CLIENT] < most)
        return false;
    refuse(client, WEIR_REASON_TOO_MANY_CLIENTS,
           weir_format("no more connections allowed (max_client_conn %d)", most));
    return true;
}

static bool has_room(struct client *client)
{
    struct destination *destination = client->destination;
    if (is_full(destination->database_cap))
        return refuse(client, WEIR_REASON_TOO_MANY_DATABASE_CLIENTS,
                      weir_format("no more connections allowed for database \"%s\" "
                                  "(max_db_client_connections %d)",
                                  destination->database, destination->database_cap->client_limit));
    if (is_full(destination->user_cap))
        return refuse(client, WEIR_REASON_TOO_MANY_USER_CLIENTS,
                      weir_format("no more connections allowed for user \"%s\" "
                                  "(max_user_client_connections %d)",
                                  destination->user, destination->user_cap->client_limit));
    return true;
}

/* Only who has proven who he is has anything made for him, or is told whether a database exists. */
static bool enter_destination(struct client *client)
{
    struct weir_client_login *login = client->base.login;
    client->destination = destination_get(client->router, login->database, login->user);
    if (client->destination == NULL || client->destination->line == NULL) {
        client->destination = NULL;
        return refuse(client, WEIR_REASON_NO_DATABASE,
                      weir_format("no such database: \"%s\"", login->database));
    }
    struct named_cap *cap = client->destination->database_cap;
    if (cap->disabled)
        refuse(client, WEIR_REASON_DATABASE_DISABLED,
               weir_format("database \"%s\" is disabled: it does not allow connections",
                           login->database));
    else if (has_room(client))
        return true;
    client->destination = NULL;
    return false;
}

static bool admit(struct weir_client *base, struct weir_admission *admission)
{
    struct client *client = weir_container_of(base, struct client, base);
    struct weir_router *router = client->router;
    if (console_is_named(router, base->login->database))
        return console_admit(client, admission);
    if (router->draining)
        return refuse(client, WEIR_REASON_SHUTDOWN_NEW, NULL);
    /* It will be asked again when it has proven who it is: nobody need prove it in vain. */
    if (is_everywhere_full(client))
        return false;
    if (router->suspended)
        weir_stream_pause(&base->stream);
    return access_demand(client, admission);
}

/* A client's own proof lets us log in as it, if nothing better is known. */
static void take_credentials(struct client *client)
{
    struct weir_credentials *from = &client->base.login->credentials;
    struct destination *destination = client->destination;
    struct weir_credentials *to = &destination->credentials;
    if (destination->line == NULL || destination->line->user != NULL)
        return;
    bool outside = verdict_is_right(client);
    bool unknown = destination->proven || (to->password == NULL && to->md5 == NULL);
    if (lookup_has_found(client) || (outside && unknown)) {
        /* Nothing else knows them; what another client proved before may be an old password. */
        weir_credentials_clear(to);
        *to = *from;
        *from = (struct weir_credentials){0};
        destination->proven = true;
        destination->outside = outside;
        return;
    }
    if (from->has_keys) {
        memcpy(to->client_key, from->client_key, sizeof(to->client_key));
        memcpy(to->server_key, from->server_key, sizeof(to->server_key));
        to->has_keys = true;
    }
    if (from->password != NULL && to->password == NULL) {
        to->password = from->password;
        from->password = NULL;
    }
}

static void take_settings(struct client *client)
{
    struct weir_client_login *login = client->base.login;
    struct weir_router *router = client->router;
    const struct weir_profile *asked =
        weir_profile_make(router->profiles, login->settings, login->setting_count);
    client->startup = asked;
    client->settings = weir_profile_ref(asked);
}

static void greet(struct client *client)
{
    struct destination *destination = client->destination;
    if (client->router->suspended)
        return; /* greeted when that is over */
    if (client->base.login->replication != NULL) {
        if (destination->database_cap->paused)
            return; /* greeted when it is resumed */
        if (destination_open_replication(destination, client) == NULL)
            binding_refuse(client, WEIR_REASON_POOL_QUEUE_FULL,
                           "no server connection is free for replication", NULL, NULL);
        return;
    }
    if (destination->parameters_known) {
        struct greeting *greeting = find_greeting(destination, client->settings);
        if (greeting != NULL) {
            settings_respell(client, greeting->spelled);
            welcome(client, &greeting->parameters);
            return;
        }
        const struct weir_profile *rest =
            weir_profile_with(client->settings, "application_name", NULL);
        bool plain = rest->count == 0;
        weir_profile_unref(rest);
        if (plain) {
            welcome(client, &destination->parameters);
            return;
        }
    }
    enum step step = binding_want(client);
    if (client->base.state != WEIR_CLIENT_GREETING || client->server == NULL)
        return;
    gather_flush(&client->router->to_server);
    if (step == STEP_MORE)
        admission_welcome_from_server(client);
}

void admission_greet_paused(struct weir_router *router)
{
    weir_list_for_safe(link, &router->logging_in) {
        struct client *client = weir_container_of(link, struct client, base.link);
        if (client->base.state == WEIR_CLIENT_GREETING && client->destination != NULL &&
            client->server == NULL && client->waiter.pool == NULL)
            greet(client);
    }
}

static void logged_in(struct weir_client *base)
{
    struct client *client = weir_container_of(base, struct client, base);
    if (!access_confirm(client))
        return;
    if (client->console != NULL) {
        console_logged_in(client);
        return;
    }
    if (is_everywhere_full(client) || !enter_destination(client)) {
        weir_client_refuse_login(base, base->login->refusal, base->login->refusal_text, NULL, NULL);
        return;
    }
    strangers_take_place(client, PLACE_CLIENT);
    client->destination->clients++;
    client->destination->database_cap->clients++;
    client->destination->user_cap->clients++;
    client->counted = true;
    take_credentials(client);
    take_settings(client);
    greet(client);
}

static void on_cancel(struct weir_client *base, uint32_t pid, const uint8_t *key, size_t length)
{
    struct client *client = weir_container_of(base, struct client, base);
    cancel_request(client->router, pid, key, length);
    weir_client_close(base);
    router_doom_client(client);
}

/* For the log only: the client is not told. */
static const char *explain(const struct client *client, enum weir_reason reason)
{
    const struct weir_client_login *login = client->base.login;
    const struct weir_user_file *users = client->router->users;
    const char *problem = lookup_problem(client);
    const char *note = access_note(client);
    const char *tls_problem = weir_tls_problem(&client->base.stream);
    if (tls_problem != NULL)
        return tls_problem;
    if (note != NULL)
        return note;
    if (reason == WEIR_REASON_LOOKUP_FAILED && problem != NULL)
        return problem;
    if (verdict_problem(client) != NULL)
        return verdict_problem(client);
    if (reason != WEIR_REASON_AUTH_FAILED || login == NULL || login->user == NULL ||
        client->verdict != NULL || lookup_has_found(client))
        return "";
    if (problem != NULL)
        return problem;
    return users == NULL || weir_user_file_find(users, login->user) == NULL ? "no such user" : "";
}

static void login_ended(struct weir_client *base, enum weir_reason reason)
{
    struct client *client = weir_container_of(base, struct client, base);
    struct weir_router *router = client->router;
    if (base->state == WEIR_CLIENT_CLOSED)
        return;
    if (client->console != NULL && client->console->attached) {
        console_end(client, reason);
        return;
    }
    router->counters.reasons[reason]++;
    const struct weir_reason_row *row = weir_reason_row(reason);
    if (row->blame == WEIR_BLAME_POOLER)
        events_of_client(client, "refuse", reason, base->login->refusal_text);
    const char *why = explain(client, reason);
    bool spoke = base->state != WEIR_CLIENT_STARTUP || row->sqlstate != NULL ||
                 reason == WEIR_REASON_TLS_FAILED;
    if (spoke && router->conf->log_disconnections) {
        struct weir_log_who who;
        char peer[128];
        router_who_client(client, &who, peer, sizeof(peer));
        const char *rule = base->login != NULL ? base->login->rule : NULL;
        weir_log_info(&who, "login_failed", "login failed:%s reason=%s closing because: %s%s%s",
                      rule != NULL ? rule : "", row->name, row->text, *why != '\0' ? ": " : "",
                      why);
    }
    binding_abandon(client, reason);
    weir_client_close(base);
    router_doom_client(client);
}

const struct weir_session_ops router_session_ops = {
    .admit = admit,
    .recheck = lookup_again,
    .failed = delay_failed,
    .judge = verdict_judge,
    .logged_in = logged_in,
    .cancel = on_cancel,
    .login_ended = login_ended,
};
