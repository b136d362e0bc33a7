/* Dialling: hosts in order, their addresses in order, until one accepts. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "socket.h"
#include "weir/memory.h"
#include "weir/resolve.h"

/* Where Debian's and Red Hat's PostgreSQL put their socket. */
#define DEFAULT_UNIX_DIRECTORY "/var/run/postgresql"
/* A Unix server whose queue is full says so at once and cannot be waited for. */
#define BUSY_RETRIES       50
#define BUSY_RETRY_SECONDS 0.01
/* Enough for every attempt of an ordinary list of hosts; the text goes into log lines. */
#define MAX_PROBLEM 1024

typedef void dial_done(void *context, const struct weir_dial_result *result);

struct weir_dial {
    struct weir_loop *loop;
    struct weir_task begin;
    struct weir_resolve_query query;
    ev_io io;       /* while a connect is under way */
    ev_timer retry; /* while a busy Unix server is left alone */
    int fd;
    int retries;

    struct weir_dial_host *hosts; /* own copies; NULL when an address was given */
    size_t host_count;
    size_t host_index;
    size_t hosts_begun;

    struct weir_address *addresses; /* of the current host */
    size_t address_count;
    size_t next_address;

    char problem[MAX_PROBLEM];
    size_t problem_length;
    dial_done *done;
    void *context;
};

static void advance(struct weir_dial *dial);

/* --- the end --------------------------------------------------------------------------- */

static void free_dial(struct weir_dial *dial)
{
    for (size_t i = 0; dial->hosts != NULL && i < dial->host_count; i++)
        free((void *)(uintptr_t)dial->hosts[i].host);
    free(dial->hosts);
    free(dial->addresses);
    free(dial);
}

static void close_socket(struct weir_dial *dial)
{
    ev_io_stop(dial->loop->ev, &dial->io);
    if (dial->fd >= 0)
        close(dial->fd);
    dial->fd = -1;
}

static void finish(struct weir_dial *dial, const struct weir_dial_result *result)
{
    dial->done(dial->context, result);
    free_dial(dial);
}

static const struct weir_address *current_address(const struct weir_dial *dial)
{
    return &dial->addresses[dial->next_address - 1];
}

static void succeed(struct weir_dial *dial)
{
    ev_io_stop(dial->loop->ev, &dial->io);
    struct weir_dial_result result = {
        .fd = dial->fd,
        .host_index = dial->host_index,
        .address = *current_address(dial),
        .problem = NULL,
    };
    dial->fd = -1;
    finish(dial, &result);
}

static void fail(struct weir_dial *dial)
{
    struct weir_dial_result result = {
        .fd = -1, .host_index = dial->host_index, .problem = dial->problem};
    if (dial->problem_length == 0)
        result.problem = "no host to connect to";
    finish(dial, &result);
}

/* --- what went wrong ------------------------------------------------------------------- */

static void note(struct weir_dial *dial, const char *format, ...) weir_printf(2, 3);

static void note(struct weir_dial *dial, const char *format, ...)
{
    size_t room = sizeof dial->problem - dial->problem_length;
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(dial->problem + dial->problem_length, room, format, arguments);
    va_end(arguments);
    if (n > 0)
        dial->problem_length += (size_t)n < room ? (size_t)n : room - 1;
}

static void note_host(struct weir_dial *dial, const char *reason)
{
    const struct weir_dial_host *host = &dial->hosts[dial->host_index];
    note(dial, "%s%s: %s", dial->problem_length > 0 ? "; " : "", host->host, reason);
}

static void note_address(struct weir_dial *dial, const char *reason)
{
    char text[160];
    weir_address_print(current_address(dial), text, sizeof text);
    const char *separator = dial->problem_length > 0 ? "; " : "";
    const char *host = dial->hosts == NULL ? "" : dial->hosts[dial->host_index].host;
    /* A host that is an address or a directory need not be told twice. */
    if (*host == '\0' || strstr(text, host) != NULL)
        note(dial, "%s%s: %s", separator, text, reason);
    else
        note(dial, "%s%s (%s): %s", separator, host, text, reason);
}

/* --- one address ----------------------------------------------------------------------- */

enum attempt { CONNECTED, UNDER_WAY, REFUSED };

/* When nobody listens on a local port of the range for outgoing connections, the kernel may pick
 * that very port for our end and connect the socket to itself. */
static bool is_connected_to_itself(int fd)
{
    struct weir_address here = {.length = sizeof here.storage};
    struct weir_address there = {.length = sizeof there.storage};
    return getsockname(fd, &here.any, &here.length) == 0 &&
           getpeername(fd, &there.any, &there.length) == 0 && weir_address_is_equal(&here, &there);
}

static enum attempt refuse(struct weir_dial *dial, int error)
{
    note_address(dial, strerror(error));
    close_socket(dial);
    return REFUSED;
}

static enum attempt accept_connection(struct weir_dial *dial)
{
    if (weir_address_is_unix(current_address(dial)))
        return CONNECTED;
    return is_connected_to_itself(dial->fd) ? refuse(dial, ECONNREFUSED) : CONNECTED;
}

static void on_connect(struct ev_loop *ev, ev_io *watcher, int revents)
{
    struct weir_dial *dial = weir_container_of(watcher, struct weir_dial, io);
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    enum attempt attempt = error == 0 ? accept_connection(dial) : refuse(dial, error);
    if (attempt == CONNECTED)
        succeed(dial);
    else
        advance(dial);
}

static void on_retry(struct ev_loop *ev, ev_timer *timer, int revents)
{
    struct weir_dial *dial = weir_container_of(timer, struct weir_dial, retry);
    dial->next_address--;
    advance(dial);
}

static enum attempt try_later(struct weir_dial *dial)
{
    dial->retries++;
    close_socket(dial);
    ev_timer_set(&dial->retry, BUSY_RETRY_SECONDS, 0.);
    ev_timer_start(dial->loop->ev, &dial->retry);
    return UNDER_WAY;
}

static enum attempt try_address(struct weir_dial *dial)
{
    const struct weir_address *address = current_address(dial);
    dial->fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (dial->fd < 0)
        return refuse(dial, errno);
    if (!weir_address_is_unix(address)) {
        int on = 1;
        (void)setsockopt(dial->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        weir_socket_keep_alive(dial->fd);
    }
    if (connect(dial->fd, &address->any, address->length) == 0)
        return accept_connection(dial);
    if (errno == EAGAIN && weir_address_is_unix(address) && dial->retries < BUSY_RETRIES)
        return try_later(dial);
    if (errno != EINPROGRESS && errno != EINTR)
        return refuse(dial, errno);
    ev_io_set(&dial->io, dial->fd, EV_WRITE);
    ev_io_start(dial->loop->ev, &dial->io);
    return UNDER_WAY;
}

/* --- one host -------------------------------------------------------------------------- */

static void set_addresses(struct weir_dial *dial, const struct weir_address *addresses,
                          size_t count)
{
    free(dial->addresses);
    dial->addresses = weir_alloc(count * sizeof *addresses);
    memcpy(dial->addresses, addresses, count * sizeof *addresses);
    dial->address_count = count;
    dial->next_address = 0;
    dial->retries = 0;
    if (dial->hosts == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        weir_address_set_port(&dial->addresses[i], dial->hosts[dial->host_index].port);
}

static void on_resolved(struct weir_resolve_query *query, const struct weir_resolve_result *result)
{
    struct weir_dial *dial = weir_container_of(query, struct weir_dial, query);
    if (result->count > 0)
        set_addresses(dial, result->addresses, result->count);
    else
        note_host(dial, result->problem);
    advance(dial);
}

/* Sets the addresses of the next host. False when they are still to come. */
static bool begin_host(struct weir_dial *dial)
{
    if (dial->hosts_begun > 0)
        dial->host_index = (dial->host_index + 1) % dial->host_count;
    dial->hosts_begun++;
    const struct weir_dial_host *host = &dial->hosts[dial->host_index];
    const char *name = *host->host == '\0' ? DEFAULT_UNIX_DIRECTORY : host->host;
    struct weir_address address;
    if (*name == '/' || *name == '@') {
        if (weir_address_set_unix(&address, name, host->port))
            set_addresses(dial, &address, 1);
        else
            note_host(dial, "the path is too long");
    } else if (weir_resolve_numeric(name, &address)) {
        set_addresses(dial, &address, 1);
    } else {
        weir_resolve_start(dial->loop, name, &dial->query);
        return false;
    }
    return true;
}

/* Goes on until something has to be waited for or the dial has ended. Runs from the loop only. */
static void advance(struct weir_dial *dial)
{
    for (;;) {
        while (dial->next_address < dial->address_count) {
            dial->next_address++;
            enum attempt attempt = try_address(dial);
            if (attempt == CONNECTED)
                succeed(dial);
            if (attempt != REFUSED)
                return;
        }
        if (dial->hosts_begun == dial->host_count) {
            fail(dial);
            return;
        }
        if (!begin_host(dial))
            return;
    }
}

/* --- the face -------------------------------------------------------------------------- */

static void begin(struct weir_task *task)
{
    advance(weir_container_of(task, struct weir_dial, begin));
}

static struct weir_dial *create_dial(struct weir_loop *loop, dial_done *done, void *context)
{
    struct weir_dial *dial = weir_alloc(sizeof *dial);
    dial->loop = loop;
    dial->fd = -1;
    dial->done = done;
    dial->context = context;
    dial->begin.run = begin;
    dial->query.done = on_resolved;
    ev_io_init(&dial->io, on_connect, -1, EV_WRITE);
    ev_init(&dial->retry, on_retry);
    weir_loop_defer(loop, &dial->begin);
    return dial;
}

struct weir_dial *weir_dial_start(struct weir_loop *loop, const struct weir_dial_host *hosts,
                                  size_t host_count, size_t first, dial_done *done, void *context)
{
    struct weir_dial *dial = create_dial(loop, done, context);
    if (host_count == 0)
        return dial;
    dial->hosts = weir_alloc(host_count * sizeof *hosts);
    dial->host_count = host_count;
    dial->host_index = first % host_count;
    for (size_t i = 0; i < host_count; i++) {
        dial->hosts[i].host = weir_strdup(hosts[i].host == NULL ? "" : hosts[i].host);
        dial->hosts[i].port = hosts[i].port;
    }
    return dial;
}

struct weir_dial *weir_dial_address(struct weir_loop *loop, const struct weir_address *address,
                                    dial_done *done, void *context)
{
    struct weir_dial *dial = create_dial(loop, done, context);
    set_addresses(dial, address, 1);
    return dial;
}

void weir_dial_cancel(struct weir_dial *dial)
{
    if (dial == NULL)
        return;
    weir_task_cancel(&dial->begin);
    weir_resolve_cancel(&dial->query);
    ev_timer_stop(dial->loop->ev, &dial->retry);
    close_socket(dial);
    free_dial(dial);
}
