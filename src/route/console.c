/* Clients of the console, from their startup packet to their end. They have a seat in place of a
 * destination, do not count as clients, and stay when all others are told to go. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "login.h"
#include "router.h"

bool console_is_named(const struct weir_router *router, const char *database)
{
    return router->console_ops != NULL &&
           (strcmp(database, "pgweir") == 0 || strcmp(database, "pgbouncer") == 0);
}

/* Whoever has this process's own user id could read its memory and its files anyway. */
static bool is_own_user(const struct client *client)
{
    const char *user = client->base.login->user;
    if (strcmp(user, "pgweir") != 0 && strcmp(user, "pgbouncer") != 0)
        return false;
    int fd = client->base.stream.io.fd;
    struct weir_address local = {.length = sizeof(local.storage)};
    if (getsockname(fd, &local.any, &local.length) != 0 || local.any.sa_family != AF_UNIX)
        return false;
    struct ucred peer;
    socklen_t size = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

bool console_admit(struct client *client, struct weir_admission *admission)
{
    const struct weir_client_login *login = client->base.login;
    struct console_seat *seat = weir_alloc(sizeof(*seat));
    seat->database = weir_strdup(login->database);
    seat->user = weir_strdup(login->user);
    seat->own_user = is_own_user(client);
    seat->ends = WEIR_REASON_COUNT;
    client->console = seat;
    if (!seat->own_user)
        return access_demand(client, admission);
    admission->method = WEIR_AUTH_TRUST;
    return true;
}

void console_free_seat(struct client *client)
{
    if (client->console == NULL)
        return;
    free(client->console->database);
    free(client->console->user);
    free(client->console);
    client->console = NULL;
}

/* `list` is names with commas or blanks between them. */
static bool is_listed(const char *list, const char *name)
{
    static const char between[] = ", \t\r\n";
    size_t length = strlen(name);
    for (const char *at = list + strspn(list, between); *at != '\0'; at += strspn(at, between)) {
        size_t size = strcspn(at, between);
        if (size == length && memcmp(at, name, size) == 0)
            return true;
        at += size;
    }
    return false;
}

static bool find_rights(struct client *client)
{
    const struct weir_conf *conf = client->router->conf;
    struct console_seat *seat = client->console;
    if (seat->own_user || conf->auth_type == WEIR_AUTH_TYPE_ANY ||
        is_listed(conf->admin_users, seat->user))
        seat->rights = WEIR_CONSOLE_ADMIN;
    else if (is_listed(conf->stats_users, seat->user))
        seat->rights = WEIR_CONSOLE_STATS;
    else
        return false;
    return true;
}

static void refuse(struct client *client)
{
    char *text =
        weir_format("user \"%s\" is not allowed to use the console", client->console->user);
    weir_client_refuse_login(&client->base, WEIR_REASON_CONSOLE_REFUSED, text, NULL,
                             "Name the user in admin_users or stats_users.");
    free(text);
}

/* The last places are for those with all rights. The system's own user could do as he likes anyway. */
static bool has_room(const struct client *client)
{
    const struct weir_conf *conf = client->router->conf;
    int most = conf->max_console_connections;
    if (client->console->own_user)
        return true;
    if (client->console->rights != WEIR_CONSOLE_ADMIN)
        most -= conf->reserved_admin_connections;
    return client->router->places[PLACE_CONSOLE] < most;
}

static void log_login(const struct client *client)
{
    if (!client->router->conf->log_connections)
        return;
    struct weir_log_who who;
    char peer[128], tls[ADMISSION_TLS_MAX];
    router_who_client(client, &who, peer, sizeof(peer));
    const char *rule = client->base.login->rule;
    weir_log_info(&who, "login", "login succeeded%s%s rights=%s", rule != NULL ? rule : "",
                  admission_tls(client, tls, sizeof(tls)),
                  client->console->rights == WEIR_CONSOLE_ADMIN ? "admin" : "stats");
}

void console_logged_in(struct client *client)
{
    struct weir_router *router = client->router;
    struct weir_client *base = &client->base;
    if (router->console_ops == NULL) {
        weir_client_refuse_login(base, WEIR_REASON_NO_DATABASE, NULL, NULL, NULL);
        return;
    }
    if (!find_rights(client)) {
        refuse(client);
        return;
    }
    if (!has_room(client)) {
        weir_client_refuse_login(base, WEIR_REASON_TOO_MANY_CONSOLES, NULL, NULL,
                                 "End a session of the console, or raise "
                                 "max_console_connections.");
        return;
    }
    if (base->login->replication != NULL) {
        weir_client_refuse_login(base, WEIR_REASON_UNSUPPORTED,
                                 "replication is not supported by the console", NULL, NULL);
        return;
    }
    lookup_end(client);
    access_end(client);
    strangers_take_place(client, PLACE_CONSOLE);
    cancel_assign_key(client);
    weir_list_remove(&base->link);
    weir_list_push_back(&router->consoles, &client->link);
    weir_client_set_state(base, WEIR_CLIENT_IDLE);
    client->since = router->loop->now;
    client->console->attached = true;
    router->counters.client_logins++;
    log_login(client);
    router->console_ops->attach(router->console_context, base, client->console->rights);
    weir_client_login_done(base);
}

void console_cancel(struct client *client)
{
    struct weir_router *router = client->router;
    if (!client->console->attached || router->console_ops == NULL ||
        router->console_ops->cancel == NULL) {
        router->counters.cancels_ignored++;
        return;
    }
    router->counters.cancels++;
    router->console_ops->cancel(router->console_context, &client->base);
}

/* --- the end --------------------------------------------------------------------------- */

static void leave_console(struct client *client)
{
    client->console->attached = false;
    client->console->ends = WEIR_REASON_COUNT;
    client->base.guest = NULL;
    client->base.stream.on_event = client_relay_event;
}

void console_end(struct client *client, enum weir_reason reason)
{
    struct weir_router *router = client->router;
    if (client->console->attached) {
        leave_console(client);
        router->console_ops->detach(router->console_context, &client->base);
    }
    binding_end_client(client, reason, NULL);
}

void console_end_later(struct client *client, enum weir_reason reason)
{
    client->console->ends = reason;
    weir_loop_defer(client->router->loop, &client->router->console_ends);
}

static struct client *find_to_end(struct weir_router *router)
{
    weir_list_for(link, &router->consoles) {
        struct client *client = weir_container_of(link, struct client, link);
        if (client->console->ends != WEIR_REASON_COUNT)
            return client;
    }
    return NULL;
}

/* Begins afresh after each: the console may dismiss others when it is told of one. */
void console_run_ends(struct weir_task *task)
{
    struct weir_router *router = weir_container_of(task, struct weir_router, console_ends);
    struct client *client;
    while ((client = find_to_end(router)) != NULL)
        console_end(client, client->console->ends);
}

static void log_dismissal(const struct client *client)
{
    const struct weir_reason_row *row = weir_reason_row(WEIR_REASON_CONSOLE_ENDED);
    client->router->counters.reasons[WEIR_REASON_CONSOLE_ENDED]++;
    if (!client->router->conf->log_disconnections)
        return;
    struct weir_log_who who;
    char peer[128];
    router_who_client(client, &who, peer, sizeof(peer));
    weir_log_info(&who, "disconnect", "reason=%s closing because: %s", row->name, row->text);
}

void weir_router_dismiss(struct weir_router *router, struct weir_client *base)
{
    struct client *client = weir_container_of(base, struct client, base);
    weir_require(client->console != NULL && client->console->attached);
    log_dismissal(client);
    leave_console(client);
    cancel_forget_key(client);
    /* What was written last must arrive: closing now could make the kernel throw it away. */
    weir_client_set_state(base, WEIR_CLIENT_ENDING);
    client->since = router->loop->now;
    weir_stream_resume(&base->stream);
    if (weir_stream_unsent(&base->stream) == 0)
        weir_stream_finish(&base->stream);
}

void weir_router_set_console(struct weir_router *router, const struct weir_console_ops *ops,
                             void *context)
{
    weir_list_for_safe(link, &router->consoles) {
        struct client *client = weir_container_of(link, struct client, link);
        if (!client->console->attached)
            continue;
        leave_console(client);
        binding_end_client(client, WEIR_REASON_SHUTDOWN, NULL);
    }
    router->console_ops = ops;
    router->console_context = context;
}
