/* Accepting connections, and opening TCP sockets for it. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "listen.h"
#include "socket.h"
#include "weir/log.h"
#include "weir/memory.h"

/* So that a storm of new connections does not starve those that are being served. */
#define ACCEPTS_PER_TURN 64
/* How long to leave the queue alone when this process has no descriptor to spare. */
#define PAUSE_SECONDS 0.2

/* --- accepting ------------------------------------------------------------------------- */

static void pause_accepting(struct weir_listener *listener, int error)
{
    weir_log_warning(NULL, "accept", "cannot accept connections for now: %s", strerror(error));
    ev_io_stop(listener->loop->ev, &listener->io);
    ev_timer_set(&listener->pause, PAUSE_SECONDS, 0.);
    ev_timer_start(listener->loop->ev, &listener->pause);
}

static void end_pause(struct ev_loop *ev, ev_timer *timer, int revents)
{
    struct weir_listener *listener = weir_container_of(timer, struct weir_listener, pause);
    ev_io_start(ev, &listener->io);
}

/* Whether another connection may be waiting. */
static bool accept_one(struct weir_listener *listener)
{
    struct weir_address peer = {.length = sizeof peer.storage};
    int fd = accept4(listener->io.fd, &peer.any, &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        int error = errno;
        if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM)
            pause_accepting(listener, error);
        /* Troubles of one connection that is gone already say nothing about the next. */
        return error == ECONNABORTED || error == EINTR || error == EPROTO;
    }
    if (listener->is_tcp)
        weir_socket_keep_alive(fd);
    listener->on_accept(listener->context, fd, &peer);
    return true;
}

static void on_connections(struct ev_loop *ev, ev_io *watcher, int revents)
{
    struct weir_listener *listener = weir_container_of(watcher, struct weir_listener, io);
    bool gone = false;
    listener->gone = &gone;
    for (int n = 0; n < ACCEPTS_PER_TURN; n++) {
        bool more = accept_one(listener);
        if (gone)
            return;
        if (!more)
            break;
    }
    listener->gone = NULL;
}

struct weir_listener *weir_listener_start(struct weir_loop *loop, int fd, weir_on_accept *on_accept,
                                          void *context)
{
    struct weir_listener *listener = weir_alloc(sizeof *listener);
    listener->loop = loop;
    listener->lock = -1;
    listener->on_accept = on_accept;
    listener->context = context;
    struct weir_address address = {.length = sizeof address.storage};
    if (getsockname(fd, &address.any, &address.length) == 0)
        listener->is_tcp = !weir_address_is_unix(&address);
    ev_io_init(&listener->io, on_connections, fd, EV_READ);
    /* Lower than streams: who is here already goes first. */
    ev_set_priority(&listener->io, -1);
    ev_init(&listener->pause, end_pause);
    ev_io_start(loop->ev, &listener->io);
    return listener;
}

void weir_listener_close(struct weir_listener *listener)
{
    weir_list_remove_if_linked(&listener->link);
    if (listener->gone != NULL)
        *listener->gone = true;
    ev_io_stop(listener->loop->ev, &listener->io);
    ev_timer_stop(listener->loop->ev, &listener->pause);
    if (listener->path != NULL)
        (void)unlink(listener->path);
    if (listener->lock_path != NULL)
        (void)unlink(listener->lock_path);
    close(listener->io.fd);
    if (listener->lock >= 0)
        close(listener->lock);
    free(listener->path);
    free(listener->lock_path);
    free(listener);
}

void weir_listen_close_all(struct weir_list *list)
{
    struct weir_list *link;
    while ((link = weir_list_pop(list)) != NULL)
        weir_listener_close(weir_container_of(link, struct weir_listener, link));
}

void weir_listen_close_public(struct weir_list *list)
{
    weir_list_for_safe(link, list) {
        struct weir_listener *listener = weir_container_of(link, struct weir_listener, link);
        if (listener->is_tcp || listener->is_inherited)
            weir_listener_close(listener);
    }
}

bool weir_listen_address(const struct weir_list *link, struct weir_address *address)
{
    const struct weir_listener *listener = weir_container_of(link, struct weir_listener, link);
    memset(address, 0, sizeof *address);
    address->length = sizeof address->storage;
    return getsockname(listener->io.fd, &address->any, &address->length) == 0;
}

bool weir_listen_inherited(struct weir_loop *loop, struct weir_list *list, int fd,
                           weir_on_accept *on_accept, void *context)
{
    int listening = 0;
    socklen_t size = sizeof listening;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || listening == 0)
        return false;
    if (!weir_socket_set_flags(fd))
        return false;
    struct weir_listener *listener = weir_listener_start(loop, fd, on_accept, context);
    listener->is_inherited = true;
    weir_list_push_back(list, &listener->link);
    return true;
}

/* --- opening TCP sockets --------------------------------------------------------------- */

/* What weir_listen_tcp was asked for, and what it has opened so far. */
struct opening {
    struct weir_loop *loop;
    const struct weir_listen_options *options;
    weir_on_accept *on_accept;
    void *context;
    struct weir_list opened;
    char *problem;
};

static void set_problem(struct opening *opening, const char *what, const char *where, int error)
{
    free(opening->problem);
    opening->problem = weir_format("cannot %s \"%s\": %s", what, where, strerror(error));
}

static int open_tcp_socket(const struct weir_address *address,
                           const struct weir_listen_options *options)
{
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int on = 1;
    bool fine = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
    if (fine && options->so_reuseport)
        fine = setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0;
    if (fine && address->any.sa_family == AF_INET6)
        fine = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0;
    if (fine && bind(fd, &address->any, address->length) == 0 && listen(fd, options->backlog) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static bool is_open_already(const struct opening *opening, const struct weir_address *address)
{
    char wanted[128];
    weir_address_print(address, wanted, sizeof wanted);
    weir_list_for(link, &opening->opened) {
        struct weir_address bound;
        char text[128] = "";
        if (weir_listen_address(link, &bound))
            weir_address_print(&bound, text, sizeof text);
        if (strcmp(wanted, text) == 0)
            return true;
    }
    return false;
}

/* A machine may lack an address family altogether, or the address that a name has in it. */
static bool is_family_missing(int error)
{
    return error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == EPROTONOSUPPORT;
}

enum opened { OPENED, LEFT_OUT, REFUSED };

static enum opened open_address(struct opening *opening, const struct weir_address *address)
{
    char text[128];
    weir_address_print(address, text, sizeof text);
    if (is_open_already(opening, address))
        return OPENED;
    int fd = open_tcp_socket(address, opening->options);
    if (fd < 0) {
        int error = errno;
        set_problem(opening, "listen on", text, error);
        return is_family_missing(error) ? LEFT_OUT : REFUSED;
    }
    struct weir_listener *listener =
        weir_listener_start(opening->loop, fd, opening->on_accept, opening->context);
    weir_list_push_back(&opening->opened, &listener->link);
    return OPENED;
}

/* Opens all addresses of one name; those of a family that is missing are left out as long as
 * another one opens. */
static bool open_name(struct opening *opening, const char *name, const char *service)
{
    bool any = strcmp(name, "*") == 0;
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int failure = getaddrinfo(any ? NULL : name, service, &hints, &found);
    if (failure != 0) {
        opening->problem =
            weir_format("cannot resolve listen address \"%s\": %s", name, gai_strerror(failure));
        return false;
    }
    size_t opened = 0;
    bool refused = false;
    for (struct addrinfo *info = found; info != NULL && !refused; info = info->ai_next) {
        if (info->ai_addrlen > sizeof(struct sockaddr_storage))
            continue;
        struct weir_address address = {.length = info->ai_addrlen};
        memcpy(&address.storage, info->ai_addr, info->ai_addrlen);
        enum opened outcome = open_address(opening, &address);
        opened += outcome == OPENED;
        refused = outcome == REFUSED;
    }
    freeaddrinfo(found);
    if (refused || opened == 0)
        return false;
    free(opening->problem);
    opening->problem = NULL;
    return true;
}

static char *trim(char *text)
{
    text += strspn(text, " \t");
    size_t length = strlen(text);
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        text[--length] = '\0';
    return text;
}

/* "[::1]" is how an address is written beside a port; both ways are understood. */
static char *strip_brackets(char *name)
{
    size_t length = strlen(name);
    if (length < 2 || name[0] != '[' || name[length - 1] != ']')
        return name;
    name[length - 1] = '\0';
    return name + 1;
}

static bool open_names(struct opening *opening, char *names, const char *service)
{
    char *rest = names;
    char *piece;
    while ((piece = strsep(&rest, ",")) != NULL) {
        char *name = strip_brackets(trim(piece));
        if (*name == '\0') {
            opening->problem = weir_strdup("empty name in the list of listen addresses");
            return false;
        }
        if (!open_name(opening, name, service))
            return false;
    }
    return true;
}

bool weir_listen_tcp(struct weir_loop *loop, struct weir_list *list, const char *addresses,
                     int port, const struct weir_listen_options *options, weir_on_accept *on_accept,
                     void *context, char **problem)
{
    struct opening opening = {
        .loop = loop, .options = options, .on_accept = on_accept, .context = context};
    weir_list_init(&opening.opened);
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    char *names = weir_strdup(addresses);
    bool fine = open_names(&opening, names, service);
    free(names);
    if (!fine) {
        weir_listen_close_all(&opening.opened);
        *problem = opening.problem;
        return false;
    }
    struct weir_list *link;
    while ((link = weir_list_pop(&opening.opened)) != NULL)
        weir_list_push_back(list, link);
    return true;
}
