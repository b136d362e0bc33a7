/* One libpq connection on the loop. libpq may change its socket at every step, so the watcher is
 * stopped before and set anew after each. It is never let resolve a name: that would block. */
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "room.h"
#include "weir/memory.h"

#define KEEP_IDLE     60.
#define ATTEMPT_LIMIT 3.  /* for one address, when there are others to try */
#define LIMIT_DEFAULT 15. /* where server_connect_timeout is without limit */

static void connect_next(struct connection *connection);

/* --- the end --------------------------------------------------------------------------- */

static void drop_session(struct connection *connection)
{
    ev_io_stop(connection->loop->ev, &connection->io);
    if (connection->pg != NULL)
        connection->libpq->finish(connection->pg);
    connection->pg = NULL;
}

void connection_close(struct connection *connection)
{
    drop_session(connection);
    ev_timer_stop(connection->loop->ev, &connection->timer);
    weir_resolve_cancel(&connection->query);
    weir_list_remove_if_linked(&connection->link);
    answer_clear(&connection->answer);
    free(connection->addresses);
    free(connection->problem);
    free(connection);
}

static void fail_connecting(struct connection *connection)
{
    struct place *place = connection->place;
    char *problem = connection->problem;
    const char *said = problem != NULL ? problem : "no host to connect to";
    connection->problem = NULL;
    connection_close(connection);
    if (place->listen != NULL)
        listen_unreachable(place->listen, said);
    else
        control_unreachable(place, said);
    free(problem);
}

/* `again`: it ended without having anything to do with what was asked. */
static void lose(struct connection *connection, bool again, const char *problem)
{
    struct place *place = connection->place;
    struct job *job = connection->job;
    char *text = NULL;
    problem_add(&text, problem);
    connection_close(connection);
    control_lost(place, job, again, text);
    free(text);
}

/* --- watching -------------------------------------------------------------------------- */

void connection_watch(struct connection *connection, int events)
{
    ev_io_stop(connection->loop->ev, &connection->io);
    ev_io_set(&connection->io, connection->libpq->socket(connection->pg), events);
    ev_io_start(connection->loop->ev, &connection->io);
}

void connection_limit_to(struct connection *connection, double seconds)
{
    ev_timer_stop(connection->loop->ev, &connection->timer);
    if (seconds <= 0)
        return;
    ev_timer_set(&connection->timer, seconds, 0.);
    ev_timer_start(connection->loop->ev, &connection->timer);
}

double connection_limit(const struct connection *connection)
{
    weir_usec limit = connection->place->timeout;
    return limit > 0 ? (double)limit / 1e6 : LIMIT_DEFAULT;
}

static void rest(struct connection *connection)
{
    connection->state = CONNECTION_IDLE;
    connection->job = NULL;
    connection_watch(connection, EV_READ);
    connection_limit_to(connection, KEEP_IDLE);
    control_idle(connection);
}

/* --- connecting ------------------------------------------------------------------------ */

static void ignore_notice(void *context, const PGresult *result)
{
}

static void attempt(struct connection *connection, const char *address)
{
    const struct place *place = connection->place;
    const struct weir_conf_host *host = &place->hosts[connection->host_index];
    struct keywords keywords;
    keywords_make(&keywords, host, address, &place->tls, place->database, place->user,
                  place->password);
    if (place->listen != NULL)
        keywords_for_listening(&keywords, place->encoding);
    connection->state = CONNECTION_CONNECTING;
    connection->pg = connection->libpq->connect_start(keywords.names, keywords.values, 0);
    if (connection->pg == NULL) {
        problem_add(&connection->problem, "out of memory");
        fail_connecting(connection);
        return;
    }
    connection->libpq->set_notice_receiver(connection->pg, ignore_notice, NULL);
    if (connection->libpq->status(connection->pg) == CONNECTION_BAD) {
        problem_add(&connection->problem, connection->libpq->error_message(connection->pg));
        drop_session(connection);
        connect_next(connection);
        return;
    }
    bool last = connection->next_address >= connection->address_count &&
                connection->hosts_begun >= place->host_count;
    double limit = connection_limit(connection);
    connection_limit_to(connection, last || limit < ATTEMPT_LIMIT ? limit : ATTEMPT_LIMIT);
    connection_watch(connection, EV_WRITE);
}

static void on_resolved(struct weir_resolve_query *query, const struct weir_resolve_result *result)
{
    struct connection *connection = weir_container_of(query, struct connection, query);
    connection->next_address = 0;
    connection->address_count = result->count;
    if (result->count == 0) {
        const char *host = connection->place->hosts[connection->host_index].host;
        char *text = weir_format("%s: %s", host, result->problem);
        problem_add(&connection->problem, text);
        free(text);
    } else {
        connection->addresses = weir_alloc(result->count * sizeof(*connection->addresses));
        memcpy(connection->addresses, result->addresses,
               result->count * sizeof(*connection->addresses));
    }
    connect_next(connection);
}

static void begin_host(struct connection *connection)
{
    const struct place *place = connection->place;
    connection->host_index = (place->first_host + connection->hosts_begun++) % place->host_count;
    const char *host = place->hosts[connection->host_index].host;
    free(connection->addresses);
    connection->addresses = NULL;
    connection->address_count = connection->next_address = 0;
    if (host[0] == '\0' || host[0] == '/' || host[0] == '@') {
        attempt(connection, NULL);
        return;
    }
    connection->state = CONNECTION_RESOLVING;
    connection->query.done = on_resolved;
    connection_limit_to(connection, connection_limit(connection));
    weir_resolve_start(connection->loop, host, &connection->query);
}

/* The next address of this host, else the next host. The connection may be gone afterwards. */
static void connect_next(struct connection *connection)
{
    if (connection->next_address < connection->address_count) {
        const struct weir_address *address = &connection->addresses[connection->next_address++];
        char text[NI_MAXHOST];
        if (getnameinfo(&address->any, address->length, text, sizeof(text), NULL, 0,
                        NI_NUMERICHOST) != 0)
            text[0] = '\0';
        attempt(connection, text);
    } else if (connection->hosts_begun < connection->place->host_count) {
        begin_host(connection);
    } else {
        fail_connecting(connection);
    }
}

static void go_on_connecting(struct connection *connection)
{
    ev_io_stop(connection->loop->ev, &connection->io);
    switch (connection->libpq->connect_poll(connection->pg)) {
    case PGRES_POLLING_READING:
        connection_watch(connection, EV_READ);
        break;
    case PGRES_POLLING_WRITING:
        connection_watch(connection, EV_WRITE);
        break;
    case PGRES_POLLING_OK:
        connection->place->first_host = connection->host_index;
        (void)connection->libpq->set_nonblocking(connection->pg, 1);
        if (connection->place->listen != NULL)
            listen_connected(connection);
        else
            rest(connection);
        break;
    default:
        problem_add(&connection->problem, connection->libpq->error_message(connection->pg));
        drop_session(connection);
        connect_next(connection);
        break;
    }
}

/* --- asking ---------------------------------------------------------------------------- */

/* False: the connection is gone. */
static bool flush(struct connection *connection)
{
    int left = connection->libpq->flush(connection->pg);
    if (left < 0) {
        lose(connection, true, connection->libpq->error_message(connection->pg));
        return false;
    }
    connection_watch(connection, left > 0 ? EV_READ | EV_WRITE : EV_READ);
    return true;
}

void connection_ask(struct connection *connection, struct job *job)
{
    const struct question *question = &job->question;
    const char *values[] = {question->user, question->role};
    connection->state = CONNECTION_ASKING;
    connection->job = job;
    connection->answer_there = false;
    connection_limit_to(connection, connection_limit(connection));
    ev_io_stop(connection->loop->ev, &connection->io);
    if (connection->libpq->send_query(connection->pg, question->query,
                                      question->role != NULL ? 2 : 1, NULL, values, NULL, NULL,
                                      0) == 0)
        lose(connection, true, connection->libpq->error_message(connection->pg));
    else
        (void)flush(connection);
}

static void take_result(struct connection *connection, PGresult *result)
{
    const struct place *place = connection->place;
    const struct question *question = &connection->job->question;
    if (!connection->answer_there && question->role != NULL)
        answer_judge_member(connection->libpq, result, place->database, &connection->answer);
    else if (!connection->answer_there)
        answer_judge(connection->libpq, result, place->database, place->user, question->user,
                     &connection->answer);
    connection->answer_there = true;
    connection->libpq->clear(result);
}

static void finish_job(struct connection *connection)
{
    struct job *job = connection->job;
    struct place *place = connection->place;
    struct answer answer = connection->answer;
    if (!connection->answer_there || answer.server_leaves) {
        char *problem = answer.problem;
        connection->answer.problem = NULL;
        lose(connection, true, problem != NULL ? problem : "the question had no result");
        free(problem);
        return;
    }
    connection->answer = (struct answer){0};
    control_answered(place, job, &answer);
    rest(connection);
}

static void go_on_asking(struct connection *connection)
{
    ev_io_stop(connection->loop->ev, &connection->io);
    if (connection->libpq->consume_input(connection->pg) == 0) {
        lose(connection, true, connection->libpq->error_message(connection->pg));
        return;
    }
    while (!connection->libpq->is_busy(connection->pg)) {
        PGresult *result = connection->libpq->get_result(connection->pg);
        if (result == NULL) {
            finish_job(connection);
            return;
        }
        take_result(connection, result);
    }
    (void)flush(connection);
}

/* The server says something unasked: mostly goodbye. */
static void look_at_idle(struct connection *connection)
{
    ev_io_stop(connection->loop->ev, &connection->io);
    if (connection->libpq->consume_input(connection->pg) == 0 ||
        connection->libpq->is_busy(connection->pg) ||
        connection->libpq->status(connection->pg) != CONNECTION_OK)
        lose(connection, true, "the server closed an idle connection");
    else
        connection_watch(connection, EV_READ);
}

/* --- events ---------------------------------------------------------------------------- */

static void on_io(struct ev_loop *ev, ev_io *io, int events)
{
    struct connection *connection = io->data;
    switch (connection->state) {
    case CONNECTION_RESOLVING:
        break;
    case CONNECTION_CONNECTING:
        go_on_connecting(connection);
        break;
    case CONNECTION_IDLE:
        look_at_idle(connection);
        break;
    case CONNECTION_ASKING:
        go_on_asking(connection);
        break;
    case CONNECTION_LISTENING:
        listen_readable(connection);
        break;
    }
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct connection *connection = timer->data;
    switch (connection->state) {
    case CONNECTION_RESOLVING:
        weir_resolve_cancel(&connection->query);
        problem_add(&connection->problem, "the name was not resolved in time");
        connect_next(connection);
        break;
    case CONNECTION_CONNECTING:
        problem_add(&connection->problem,
                    "connecting and logging in took too long (server_connect_timeout)");
        drop_session(connection);
        connect_next(connection);
        break;
    case CONNECTION_IDLE:
        lose(connection, true, "idle");
        break;
    case CONNECTION_ASKING:
        lose(connection, false, "the question took too long (server_connect_timeout)");
        break;
    case CONNECTION_LISTENING:
        listen_timed_out(connection);
        break;
    }
}

void connection_open(struct place *place, struct weir_loop *loop, const struct weir_libpq *libpq)
{
    struct connection *connection = weir_alloc(sizeof(*connection));
    connection->place = place;
    connection->loop = loop;
    connection->libpq = libpq;
    ev_init(&connection->io, on_io);
    connection->io.data = connection;
    ev_init(&connection->timer, on_timer);
    connection->timer.data = connection;
    weir_list_push_back(&place->links, &connection->link);
    connect_next(connection);
}
