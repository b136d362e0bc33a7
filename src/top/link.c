#include "link.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "weir/memory.h"
#include "weir/require.h"

static void move(struct link *link, enum link_state state, weir_usec now)
{
    link->state = state;
    link->since = now;
    link->events = state == LINK_DOWN ? 0 : POLLIN;
}

static void set_problem(struct link *link, const char *text)
{
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == '\n')
        length--;
    char *problem = weir_strndup(text, length);
    free(link->problem);
    link->problem = problem;
}

static enum link_event lose(struct link *link, weir_usec now)
{
    const char *why = PQerrorMessage(link->connection);
    /* What the server said before it closed is worth more than "unexpectedly". */
    if (!link->refused || link->state != LINK_ASKING)
        set_problem(link, *why != '\0' ? why : "the connection was closed");
    link->wants_password =
        link->state == LINK_CONNECTING && PQconnectionNeedsPassword(link->connection) == 1;
    link_close(link);
    link->since = now;
    return LINK_LOST;
}

/* Notices would be written across the screen. */
static void ignore_notice(void *context, const PGresult *result)
{
}

void link_open(struct link *link, const struct options *options, weir_usec now)
{
    const char *names[] = {"host",
                           "port",
                           "dbname",
                           "fallback_application_name",
                           options->user != NULL ? "user" : NULL,
                           NULL};
    const char *values[] = {options->host, options->port, options->database,
                            "pgweir-top",  options->user, NULL};
    link_close(link);
    link->connection = PQconnectStartParams(names, values, 0);
    weir_require(link->connection != NULL);
    PQsetNoticeReceiver(link->connection, ignore_notice, NULL);
    move(link, LINK_CONNECTING, now);
    link->events = POLLOUT;
}

void link_ask(struct link *link, const char *text, weir_usec now)
{
    weir_require(link->state == LINK_READY);
    link->refused = false;
    free(link->problem);
    link->problem = NULL;
    /* A failure shows when the answer is read. */
    PQsendQuery(link->connection, text);
    move(link, LINK_ASKING, now);
}

int link_socket(const struct link *link)
{
    return link->connection != NULL ? PQsocket(link->connection) : -1;
}

static enum link_event connect_on(struct link *link, weir_usec now)
{
    if (PQstatus(link->connection) == CONNECTION_BAD)
        return lose(link, now);
    switch (PQconnectPoll(link->connection)) {
    case PGRES_POLLING_OK:
        PQsetnonblocking(link->connection, 1);
        move(link, LINK_READY, now);
        return LINK_CONNECTED;
    case PGRES_POLLING_READING:
        link->events = POLLIN;
        return LINK_NOTHING;
    case PGRES_POLLING_WRITING:
        link->events = POLLOUT;
        return LINK_NOTHING;
    default:
        return lose(link, now);
    }
}

static struct grid *grid_of(const PGresult *result, weir_usec now)
{
    int columns = PQnfields(result);
    int rows = PQntuples(result);
    struct grid *grid = grid_new((size_t)columns, (size_t)rows);
    grid->at = now;
    for (int column = 0; column < columns; column++) {
        grid_name(grid, (size_t)column, PQfname(result, column));
        for (int row = 0; row < rows; row++) {
            if (!PQgetisnull(result, row, column))
                grid_set(grid, (size_t)row, (size_t)column, PQgetvalue(result, row, column));
        }
    }
    return grid;
}

static void take(struct link *link, const PGresult *result, weir_usec now)
{
    const char *message = NULL;
    switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
        grid_free(link->answer);
        link->answer = grid_of(result, now);
        break;
    default:
        message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        set_problem(link, message != NULL ? message : PQresultErrorMessage(result));
        link->refused = true;
        break;
    }
}

static enum link_event read_answer(struct link *link, weir_usec now)
{
    while (!PQisBusy(link->connection)) {
        PGresult *result = PQgetResult(link->connection);
        if (result == NULL) {
            if (PQstatus(link->connection) == CONNECTION_BAD)
                return lose(link, now);
            move(link, LINK_READY, now);
            return link->refused ? LINK_REFUSED : LINK_ANSWERED;
        }
        take(link, result, now);
        PQclear(result);
    }
    return LINK_NOTHING;
}

enum link_event link_advance(struct link *link, weir_usec now)
{
    if (link->state == LINK_DOWN)
        return LINK_NOTHING;
    if (link->state == LINK_CONNECTING)
        return connect_on(link, now);
    int unsent = PQflush(link->connection);
    link->events = unsent > 0 ? POLLIN | POLLOUT : POLLIN;
    bool alive = PQconsumeInput(link->connection) == 1 && unsent >= 0;
    if (link->state == LINK_ASKING) {
        /* Also when the connection is gone: its last words may be in the buffer. */
        enum link_event event = read_answer(link, now);
        return event == LINK_NOTHING && !alive ? lose(link, now) : event;
    }
    return alive && PQstatus(link->connection) == CONNECTION_OK ? LINK_NOTHING : lose(link, now);
}

void link_close(struct link *link)
{
    PQfinish(link->connection);
    link->connection = NULL;
    grid_free(link->answer);
    link->answer = NULL;
    link->refused = false;
    link->state = LINK_DOWN;
    link->events = 0;
}

void link_end(struct link *link)
{
    link_close(link);
    free(link->problem);
    link->problem = NULL;
}
