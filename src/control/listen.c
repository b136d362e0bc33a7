/* A connection that listens to channels. One question is under way at a time; what is asked meanwhile
 * waits and goes as the next one, so many that ask at once cost one round trip.
 *
 * That a question has been answered also says that everything notified before it has been heard:
 * from version 13 on a session that is idle is signalled within the commit that notifies, and tells
 * what is there before it says that it is ready for the next query. */
#include <stdlib.h>
#include <string.h>

#include "room.h"
#include "weir/memory.h"

#define VERSION_MIN 130000

/* Nothing may end the session but the server's own end. Names that a version does not have are none
 * of the rows. A server that cannot be written to has nobody who notifies. */
#define SET_UP                                                                                     \
    "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN "    \
    "('idle_session_timeout', 'statement_timeout', 'lock_timeout', 'transaction_timeout')"

struct weir_listen {
    struct weir_control *control;
    const struct weir_libpq *libpq; /* NULL: not loaded */
    struct place place;
    const struct weir_listen_ops *ops;
    void *context;
    struct weir_task send;   /* what waits, later in this turn */
    struct weir_task tell;   /* that it is lost, likewise */
    struct weir_buffer next; /* SQL that is to be sent */
    uint64_t asked;          /* number of the last request */
    uint64_t sent;           /* of the last one in the question under way */
    bool set_up;
    bool busy;
    char *problem; /* of the question under way, or why it is lost */
};

/* --- ends ------------------------------------------------------------------------------ */

/* NULL: it is lost, or not made yet. */
static struct connection *link_of(const struct weir_listen *listen)
{
    struct weir_list *link = weir_list_first(&listen->place.links);
    return link == NULL ? NULL : weir_container_of(link, struct connection, link);
}

static void lose(struct weir_listen *listen, const char *problem)
{
    char *text = NULL;
    problem_add(&text, problem);
    struct connection *connection = link_of(listen);
    if (connection != NULL)
        connection_close(connection);
    free(listen->problem);
    listen->problem = text;
    weir_task_cancel(&listen->send);
    weir_loop_defer(control_loop(listen->control), &listen->tell);
}

static void tell(struct weir_task *task)
{
    struct weir_listen *listen = weir_container_of(task, struct weir_listen, tell);
    listen->ops->lost(listen->context, listen->problem);
}

void listen_unreachable(struct weir_listen *listen, const char *problem)
{
    char *hint =
        password_hint("user", listen->place.user, listen->place.password, listen->place.unusable);
    char *text = weir_format("cannot connect as user \"%s\": %s%s%s%s", listen->place.user, problem,
                             hint != NULL ? "; " : "", hint != NULL ? hint : "",
                             hint != NULL ? ", or set auth_user" : "");
    free(hint);
    lose(listen, text);
    free(text);
}

void listen_timed_out(struct connection *connection)
{
    lose(connection->place->listen, "the server did not answer in time (server_connect_timeout)");
}

/* --- asking ---------------------------------------------------------------------------- */

static void flush(struct weir_listen *listen)
{
    struct connection *connection = link_of(listen);
    int left = listen->libpq->flush(connection->pg);
    if (left < 0)
        lose(listen, listen->libpq->error_message(connection->pg));
    else
        connection_watch(connection, left > 0 ? EV_READ | EV_WRITE : EV_READ);
}

/* If nothing is under way. */
static void send_next(struct weir_task *task)
{
    struct weir_listen *listen = weir_container_of(task, struct weir_listen, send);
    struct connection *connection = link_of(listen);
    if (connection == NULL || listen->busy || listen->sent == listen->asked)
        return;
    listen->busy = true;
    listen->sent = listen->asked;
    /* A ping is an empty query. */
    weir_require(weir_buffer_append(&listen->next, "", 1));
    ev_io_stop(connection->loop->ev, &connection->io);
    int sent =
        listen->libpq->send_text(connection->pg, (const char *)weir_buffer_bytes(&listen->next));
    weir_buffer_clear(&listen->next);
    if (sent == 0) {
        lose(listen, listen->libpq->error_message(connection->pg));
        return;
    }
    connection_limit_to(connection, connection_limit(connection));
    flush(listen);
}

static uint64_t ask(struct weir_listen *listen)
{
    weir_loop_defer(control_loop(listen->control), &listen->send);
    return ++listen->asked;
}

static void write_text(struct weir_listen *listen, const char *text)
{
    weir_require(weir_buffer_append(&listen->next, text, strlen(text)));
}

static uint64_t ask_channel(struct weir_listen *listen, const char *verb, const char *channel)
{
    write_text(listen, verb);
    for (const char *at = channel; *at != '\0'; at++) {
        const char twice[2] = {*at, *at};
        weir_require(weir_buffer_append(&listen->next, twice, *at == '"' ? 2 : 1));
    }
    write_text(listen, "\";");
    return ask(listen);
}

uint64_t weir_listen_begin(struct weir_listen *listen, const char *channel)
{
    return ask_channel(listen, "LISTEN \"", channel);
}

uint64_t weir_listen_end(struct weir_listen *listen, const char *channel)
{
    return ask_channel(listen, "UNLISTEN \"", channel);
}

uint64_t weir_listen_ping(struct weir_listen *listen)
{
    return ask(listen);
}

const char *weir_listen_user(const struct weir_listen *listen)
{
    return listen->place.user;
}

/* --- hearing --------------------------------------------------------------------------- */

static void hear(struct weir_listen *listen)
{
    PGnotify *heard;
    while ((heard = listen->libpq->notification(link_of(listen)->pg)) != NULL) {
        listen->ops->notified(listen->context, (uint32_t)heard->be_pid, heard->relname,
                              heard->extra);
        listen->libpq->free_text(heard);
    }
}

static void finish(struct weir_listen *listen)
{
    struct connection *connection = link_of(listen);
    listen->busy = false;
    connection_limit_to(connection, 0);
    if (listen->problem != NULL) {
        char *problem = listen->problem;
        listen->problem = NULL;
        lose(listen, problem);
        free(problem);
    } else if (listen->set_up) {
        listen->ops->done(listen->context, listen->sent);
    } else {
        listen->set_up = true;
        listen->ops->ready(listen->context, (uint32_t)listen->libpq->backend_pid(connection->pg));
    }
}

static void take_result(struct weir_listen *listen, PGresult *result)
{
    ExecStatusType status = listen->libpq->result_status(result);
    bool good =
        status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY;
    if (!good && listen->problem == NULL) {
        const char *text = listen->libpq->result_error(result, PG_DIAG_MESSAGE_PRIMARY);
        listen->problem = weir_strdup(text != NULL ? text : "the server gave no answer");
    }
    listen->libpq->clear(result);
}

void listen_readable(struct connection *connection)
{
    struct weir_listen *listen = connection->place->listen;
    ev_io_stop(connection->loop->ev, &connection->io);
    if (listen->libpq->consume_input(connection->pg) == 0 ||
        listen->libpq->status(connection->pg) != CONNECTION_OK) {
        lose(listen, listen->libpq->error_message(connection->pg));
        return;
    }
    hear(listen);
    while (listen->busy && !listen->libpq->is_busy(connection->pg)) {
        PGresult *result = listen->libpq->get_result(connection->pg);
        hear(listen);
        if (result != NULL)
            take_result(listen, result);
        else
            finish(listen);
        if (link_of(listen) == NULL)
            return;
    }
    flush(listen);
    weir_loop_defer(control_loop(listen->control), &listen->send);
}

void listen_connected(struct connection *connection)
{
    struct weir_listen *listen = connection->place->listen;
    connection->state = CONNECTION_LISTENING;
    connection_limit_to(connection, 0);
    if (listen->libpq->server_version(connection->pg) < VERSION_MIN) {
        lose(listen, "listen_hub needs PostgreSQL 13 or later");
        return;
    }
    write_text(listen, SET_UP);
    (void)ask(listen);
}

/* --- where and as whom ----------------------------------------------------------------- */

bool weir_listen_is_configured(const struct weir_conf *conf)
{
    struct weir_pool_settings settings;
    bool found = conf->pool.listen_hub;
    for (size_t i = 0; i < conf->database_count && !found; i++) {
        weir_conf_resolve(conf, &conf->databases[i], NULL, &settings);
        found = settings.listen_hub;
    }
    const char *user;
    for (size_t i = 0; !found && (user = weir_conf_user_name(conf, i)) != NULL; i++) {
        weir_conf_resolve(conf, NULL, user, &settings);
        found = settings.listen_hub;
    }
    return found;
}

/* What auth_file has of the user, as far as libpq can log in with it. */
static void find_password(const struct weir_user_file *users, struct weir_lookup_target *target)
{
    const char *secret = users == NULL ? NULL : weir_user_file_find(users, target->user);
    target->unusable = weir_secret_kind_of(secret);
    if (target->unusable == WEIR_SECRET_PLAIN)
        target->password = weir_strdup(secret);
}

void weir_listen_target_make(const struct weir_conf *conf, const struct weir_user_file *users,
                             const struct weir_database *line, const char *database,
                             const char *user, struct weir_lookup_target *target)
{
    struct weir_pool_settings settings;
    weir_conf_resolve(conf, line, NULL, &settings);
    *target = (struct weir_lookup_target){
        .hosts = line->hosts,
        .host_count = line->host_count,
        .query = "",
        .database = weir_strdup(database),
        .user = weir_strdup(user),
        .timeout = settings.server_connect_timeout,
    };
    weir_conf_libpq_tls(conf, line, &target->tls);
    if (line->password != NULL) {
        target->password = weir_strdup(line->password);
        return;
    }
    find_password(users, target);
    if (target->password != NULL || settings.auth_user[0] == '\0')
        return;
    struct weir_lookup_target other = {.user = weir_strdup(settings.auth_user)};
    find_password(users, &other);
    if (other.password == NULL) {
        free(other.user);
        return;
    }
    free(target->user);
    target->user = other.user;
    target->password = other.password;
    target->unusable = other.unusable;
}

/* --- the face -------------------------------------------------------------------------- */

struct weir_listen *weir_listen_open(struct weir_control *control,
                                     const struct weir_lookup_target *target, const char *encoding,
                                     const struct weir_listen_ops *ops, void *context)
{
    struct weir_listen *listen = weir_alloc(sizeof(*listen));
    listen->control = control;
    listen->ops = ops;
    listen->context = context;
    listen->libpq = control_hold_libpq(control);
    listen->send.run = send_next;
    listen->tell.run = tell;
    place_fill(&listen->place, target);
    listen->place.control = control;
    listen->place.unusable = target->unusable;
    listen->place.timeout = target->timeout;
    listen->place.listen = listen;
    listen->place.encoding = weir_strdup(encoding);
    if (listen->libpq != NULL)
        connection_open(&listen->place, control_loop(control), listen->libpq);
    else
        lose(listen, "libpq.so.5, which listen_hub needs, cannot be loaded");
    return listen;
}

void weir_listen_close(struct weir_listen *listen)
{
    if (listen == NULL)
        return;
    struct connection *connection = link_of(listen);
    if (connection != NULL)
        connection_close(connection);
    weir_task_cancel(&listen->send);
    weir_task_cancel(&listen->tell);
    place_clear(&listen->place);
    free(listen->place.encoding);
    if (listen->libpq != NULL)
        weir_libpq_drop();
    weir_buffer_clear(&listen->next);
    free(listen->problem);
    free(listen);
}
