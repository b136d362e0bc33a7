/* Connections: accepted by the net room, served by libmicrohttpd, ended here when they take too long. */
#include "server.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "weir/log.h"
#include "weir/memory.h"

#define CONNECTIONS          64
#define CONNECTIONS_PER_PEER 32
/* From its beginning, or from the end of the answer before, to the end of an answer. The library's
 * own limit counts silence only, so that a byte now and then would keep a connection for ever. */
#define REQUEST_SECONDS 10
/* For the request line and headers, and for the headers of the answer. The library clears it for every
 * request. */
#define REQUEST_MEMORY ((size_t)8 * 1024)
#define BACKLOG        64
/* What the kernel keeps of an answer (it doubles the figure): so much of a large one is copied in a
 * turn of the loop. */
#define SEND_BUFFER (64 * 1024)
/* Answers with a page that are given in one turn of the loop. */
#define PAGES_PER_TURN 16

/* How often connections are looked at. */
#define LOOK_SECONDS 0.1

enum connection_state {
    READING,  /* a request, or nothing */
    ASKED,    /* a request is there */
    WAITING,  /* for a page to be made, or for its turn; the library leaves it alone */
    ADMITTED, /* it was its turn: it is about to be answered */
};

struct weir_http_connection {
    struct weir_list link;
    struct weir_list turn; /* weir_http.waiting */
    struct MHD_Connection *library;
    int fd;
    enum connection_state state;
    struct weir_http_wish wish; /* while it waits */
    weir_usec deadline;
    bool ended; /* the peer had left at the last look already */
};

static void become(struct weir_http *http, struct weir_http_connection *connection,
                   enum connection_state state)
{
    weir_list_remove_if_linked(&connection->turn);
    if (state == WAITING)
        weir_list_push_back(&http->waiting, &connection->turn);
    connection->state = state;
}

static struct weir_http_connection *own_connection(struct MHD_Connection *library)
{
    return microhttpd.get_connection_info(library, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
        ->socket_context;
}

/* --- the library and the loop ---------------------------------------------------------- */

/* It has no time-outs of its own here, only work that it left for its next run. */
static bool is_library_pending(struct weir_http *http)
{
    MHD_UNSIGNED_LONG_LONG milliseconds = 0;
    return microhttpd.get_timeout(http->daemon, &milliseconds) == MHD_YES;
}

static void plan(struct weir_http *http)
{
    if (!weir_list_is_empty(&http->waiting) || is_library_pending(http))
        weir_loop_defer_to_next_turn(http->loop, &http->work);
}

static void on_readable(struct ev_loop *ev, ev_io *watcher, int events)
{
    struct weir_http *http = watcher->data;
    microhttpd.run(http->daemon);
    plan(http);
}

static void on_accept(void *context, int fd, const struct weir_address *peer)
{
    struct weir_http *http = context;
    /* Closes it when there are too many, also from this peer. */
    if (microhttpd.add_connection(http->daemon, fd, &peer->any, peer->length) == MHD_YES)
        plan(http);
}

/* --- turns ----------------------------------------------------------------------------- */

/* Whether one more page may be given in this turn of the loop. */
static bool take_turn(struct weir_http *http, struct weir_http_wish wish)
{
    if (http->turn != http->loop->turns) {
        http->turn = http->loop->turns;
        http->given = 0;
    }
    if (http->given >= PAGES_PER_TURN || !weir_http_page_prepare(&http->pages, wish))
        return false;
    http->given++;
    return true;
}

bool weir_http_admit(struct weir_http *http, struct MHD_Connection *library,
                     struct weir_http_wish wish)
{
    struct weir_http_connection *connection = own_connection(library);
    if (connection->state == ADMITTED)
        return true;
    /* Not before those who came earlier. */
    if (weir_list_is_empty(&http->waiting) && take_turn(http, wish))
        return true;
    connection->wish = wish;
    become(http, connection, WAITING);
    microhttpd.suspend_connection(library);
    return false;
}

/* Returns whether any were. */
static bool admit_waiting(struct weir_http *http)
{
    bool any = false;
    weir_list_for_safe(link, &http->waiting) {
        struct weir_http_connection *connection =
            weir_container_of(link, struct weir_http_connection, turn);
        if (!take_turn(http, connection->wish))
            continue;
        become(http, connection, ADMITTED);
        microhttpd.resume_connection(connection->library);
        any = true;
    }
    return any;
}

/* After everything else in a turn. */
static void on_work(struct weir_task *task)
{
    struct weir_http *http = weir_container_of(task, struct weir_http, work);
    weir_http_pages_go_on(&http->pages);
    if (admit_waiting(http) || is_library_pending(http))
        microhttpd.run(http->daemon);
    plan(http);
}

/* --- deadlines ------------------------------------------------------------------------- */

static void begin_request(struct weir_http *http, struct weir_http_connection *connection)
{
    /* One limit for all: the list stays in the order of deadlines. */
    connection->deadline = http->loop->now + REQUEST_SECONDS * WEIR_SEC;
    weir_list_remove_if_linked(&connection->link);
    weir_list_push_back(&http->connections, &connection->link);
    if (!ev_is_active(&http->look))
        ev_timer_again(http->loop->ev, &http->look);
}

/* The library takes a recv that yields less than it asked for to mean that its next event will come,
 * and so misses the end of a peer whose last bytes and end came together. */
static bool has_left(struct weir_http_connection *connection, const struct pollfd *poll)
{
    bool left =
        (poll->revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0 && connection->state == READING;
    bool before = connection->ended;
    connection->ended = left;
    return left && before;
}

static void end_those_overdue(struct weir_http *http, const struct pollfd *polls, size_t count)
{
    size_t at = 0;
    weir_list_for(link, &http->connections) {
        struct weir_http_connection *connection =
            weir_container_of(link, struct weir_http_connection, link);
        if (at == count)
            return;
        /* The library sees its end and frees it. */
        if (connection->deadline <= http->loop->now || has_left(connection, &polls[at]))
            shutdown(connection->fd, SHUT_RDWR);
        at++;
    }
}

static void on_look(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct weir_http *http = timer->data;
    struct pollfd polls[CONNECTIONS];
    nfds_t count = 0;
    weir_list_for(link, &http->connections) {
        struct weir_http_connection *connection =
            weir_container_of(link, struct weir_http_connection, link);
        if (count == CONNECTIONS)
            break;
        polls[count++] = (struct pollfd){.fd = connection->fd, .events = POLLRDHUP};
    }
    if (count == 0) {
        ev_timer_stop(ev, timer);
        weir_http_pages_forget(&http->pages);
    } else if (poll(polls, count, 0) >= 0) {
        end_those_overdue(http, polls, count);
    }
}

static void on_connection(void *context, struct MHD_Connection *library, void **own,
                          enum MHD_ConnectionNotificationCode code)
{
    struct weir_http *http = context;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        struct weir_http_connection *connection = *own;
        weir_list_remove_if_linked(&connection->link);
        weir_list_remove_if_linked(&connection->turn);
        free(connection);
        return;
    }
    static const int send_buffer = SEND_BUFFER;
    struct weir_http_connection *connection = weir_alloc(sizeof(*connection));
    connection->library = library;
    connection->fd =
        microhttpd.get_connection_info(library, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    setsockopt(connection->fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer));
    *own = connection;
    begin_request(http, connection);
}

void weir_http_note_request(struct weir_http *http, struct MHD_Connection *library)
{
    become(http, own_connection(library), ASKED);
}

static void on_completed(void *context, struct MHD_Connection *library, void **request,
                         enum MHD_RequestTerminationCode code)
{
    struct weir_http_connection *connection = own_connection(library);
    if (connection == NULL)
        return;
    become(context, connection, READING);
    connection->ended = false;
    if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        begin_request(context, connection);
}

/* --- listening ------------------------------------------------------------------------- */

static bool is_same_place(const struct weir_http_place *left, const struct weir_http_place *right)
{
    return left->port == right->port && strcmp(left->address, right->address) == 0;
}

static int find_place(const struct weir_http *http, const struct weir_http_place *wanted)
{
    for (int i = 0; i < WEIR_HTTP_PLACES; i++) {
        if (!weir_list_is_empty(&http->listeners[i]) && is_same_place(&http->places[i], wanted))
            return i;
    }
    return -1;
}

static bool open_place(struct weir_http *http, const struct weir_http_place *place, char **problem)
{
    static const struct weir_listen_options options = {.backlog = BACKLOG};
    if (find_place(http, place) >= 0)
        return true;
    int free_slot = 0;
    while (!weir_list_is_empty(&http->listeners[free_slot]))
        free_slot++;
    http->places[free_slot] = *place;
    return weir_listen_tcp(http->loop, &http->listeners[free_slot], place->address, place->port,
                           &options, on_accept, http, problem);
}

static bool is_wanted(const struct weir_http_place *place, const struct weir_http_places *wanted)
{
    for (size_t i = 0; i < wanted->count; i++) {
        if (is_same_place(place, &wanted->place[i]))
            return true;
    }
    return false;
}

/* What is not wanted is closed first: "*:9632" cannot be opened beside "127.0.0.1:9632". */
static bool open_places(struct weir_http *http, const struct weir_http_places *wanted,
                        char **problem)
{
    for (int i = 0; i < WEIR_HTTP_PLACES; i++) {
        if (!is_wanted(&http->places[i], wanted))
            weir_listen_close_all(&http->listeners[i]);
    }
    bool open = true;
    for (size_t i = 0; open && i < wanted->count; i++)
        open = open_place(http, &wanted->place[i], problem);
    return open;
}

static void current_places(const struct weir_http *http, struct weir_http_places *places)
{
    places->count = 0;
    for (int i = 0; i < WEIR_HTTP_PLACES; i++) {
        if (!weir_list_is_empty(&http->listeners[i]))
            places->place[places->count++] = http->places[i];
    }
}

bool weir_http_listen(struct weir_http *http, const char *listen, char **problem)
{
    struct weir_http_places wanted;
    struct weir_http_places before = {0};
    if (!weir_http_places_read(listen, &wanted, problem))
        return false;
    current_places(http, &before);
    if (open_places(http, &wanted, problem))
        return true;
    char *ignored = NULL;
    if (!open_places(http, &before, &ignored))
        weir_log_error(NULL, "http", "%s", ignored);
    free(ignored);
    return false;
}

bool weir_http_check(const char *listen, char **problem)
{
    struct weir_http_places places;
    return weir_http_places_read(listen, &places, problem);
}

/* --- life ------------------------------------------------------------------------------ */

static weir_printf(2, 0) void on_library_log(void *context, const char *format, va_list arguments)
{
    if (!weir_log_enabled(WEIR_LOG_DEBUG))
        return;
    char text[256];
    vsnprintf(text, sizeof(text), format, arguments);
    text[strcspn(text, "\n")] = '\0';
    weir_log_debug(NULL, "http", "%s", text);
}

static struct MHD_Daemon *start_library(struct weir_http *http)
{
    if (!microhttpd_load())
        return NULL;
    unsigned flags =
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME;
    return microhttpd.start_daemon(
        flags, 0, NULL, NULL, weir_http_answer, http, MHD_OPTION_EXTERNAL_LOGGER, on_library_log,
        http, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)CONNECTIONS_PER_PEER,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, REQUEST_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, http, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
}

static void watch(struct weir_http *http)
{
    const union MHD_DaemonInfo *info =
        microhttpd.get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    ev_io_init(&http->readable, on_readable, info->epoll_fd, EV_READ);
    /* After everything that has to do with PostgreSQL. */
    ev_set_priority(&http->readable, EV_MINPRI);
    http->readable.data = http;
    ev_io_start(http->loop->ev, &http->readable);
    ev_init(&http->look, on_look);
    http->look.repeat = LOOK_SECONDS;
    http->look.data = http;
}

struct weir_http *weir_http_create(struct weir_loop *loop, const struct weir_router *router,
                                   const char *listen, char **problem)
{
    struct weir_http *http = weir_alloc(sizeof(*http));
    http->loop = loop;
    weir_list_init(&http->connections);
    weir_list_init(&http->waiting);
    weir_http_pages_init(&http->pages, loop, router);
    http->work.run = on_work;
    for (int i = 0; i < WEIR_HTTP_PLACES; i++)
        weir_list_init(&http->listeners[i]);
    http->daemon = start_library(http);
    if (http->daemon == NULL) {
        *problem = weir_format("libmicrohttpd cannot start: %s", strerror(errno));
        free(http);
        return NULL;
    }
    watch(http);
    if (weir_http_listen(http, listen, problem))
        return http;
    weir_http_destroy(http);
    return NULL;
}

void weir_http_destroy(struct weir_http *http)
{
    if (http == NULL)
        return;
    for (int i = 0; i < WEIR_HTTP_PLACES; i++)
        weir_listen_close_all(&http->listeners[i]);
    ev_io_stop(http->loop->ev, &http->readable);
    ev_timer_stop(http->loop->ev, &http->look);
    weir_task_cancel(&http->work);
    weir_http_pages_forget(&http->pages);
    /* The library does not stop while it leaves connections alone. */
    weir_list_for(link, &http->waiting)
        microhttpd.resume_connection(
            weir_container_of(link, struct weir_http_connection, turn)->library);
    microhttpd.stop_daemon(http->daemon);
    free(http);
}
