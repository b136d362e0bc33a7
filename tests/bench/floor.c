/* The floor: the least relay that pools by transaction, to show how far a real pooler is from what
 * the kernel's own calls cost. It binds a client to a server connection when bytes come from the
 * client, hands them over unread, and lets go when what the server sent ends like
 * ReadyForQuery(idle). No messages are parsed, nobody is authenticated, nothing is cleaned: it is
 * right only for clients that never send ahead and for data that never ends like that message.
 *
 * All sockets are edge-triggered and armed once, for reading and writing. One recv into a shared
 * buffer, one send; a client that must wait is simply not read. */
#include "endpoint.h"
#include "message.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS = 256,
    ROOM = 256 * 1024,
    TAIL = 6, /* ReadyForQuery: type, length, status */
};

static const char ready_idle[TAIL] = {'Z', 0, 0, 0, 5, 'I'};

/* A client or a server connection. */
struct side {
    struct side *peer;       /* the other side while bound */
    struct side *next;       /* in the list of idle servers or of waiting clients */
    struct bench_bytes held; /* what this side's socket did not take yet */
    int fd;
    bool server;
    bool greeted;
    bool readable; /* there may be input that was not read */
    bool waiting;  /* a client in the queue for a server */
    char tail[TAIL];
};

struct queue {
    struct side *first;
    struct side **last;
};

struct relay {
    int poll;
    int listener;
    struct queue idle;
    struct queue waiting;
    struct bench_bytes greeting; /* what a server said at login, repeated to each client */
    struct side *gone;           /* closed during this turn, freed at its end */
    char *room;
};

static void push(struct queue *queue, struct side *side)
{
    side->next = NULL;
    *queue->last = side;
    queue->last = &side->next;
}

static struct side *pop(struct queue *queue)
{
    struct side *side = queue->first;
    if (side == NULL)
        return NULL;
    queue->first = side->next;
    if (queue->first == NULL)
        queue->last = &queue->first;
    return side;
}

static struct side *add_side(struct relay *relay, int fd, bool server)
{
    struct side *side = bench_allocate(sizeof *side);
    side->fd = fd;
    side->server = server;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = side};
    if (epoll_ctl(relay->poll, EPOLL_CTL_ADD, fd, &event) < 0)
        err(1, "epoll_ctl");
    return side;
}

static void close_client(struct relay *relay, struct side *client)
{
    if (client->peer != NULL)
        errx(1, "a client left in the middle of a transaction");
    close(client->fd);
    client->fd = -1;
    client->next = relay->gone;
    relay->gone = client;
}

static void free_gone(struct relay *relay)
{
    while (relay->gone != NULL) {
        struct side *side = relay->gone;
        relay->gone = side->next;
        free(side->held.data);
        free(side);
    }
}

/* Sends, and holds back what the socket does not take. */
static void pass(struct side *to, const char *data, size_t size)
{
    ssize_t sent = 0;
    if (bench_bytes_held(&to->held) == 0)
        sent = send(to->fd, data, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        err(1, "send");
    size_t taken = sent > 0 ? (size_t)sent : 0;
    if (taken < size)
        bench_bytes_append(&to->held, data + taken, size - taken);
}

/* Whether everything the server sent so far ends like ReadyForQuery(idle). */
static bool ends_ready(struct side *server, const char *data, size_t size)
{
    if (size >= TAIL) {
        memcpy(server->tail, data + size - TAIL, TAIL);
    } else {
        memmove(server->tail, server->tail + size, TAIL - size);
        memcpy(server->tail + TAIL - size, data, size);
    }
    return memcmp(server->tail, ready_idle, TAIL) == 0;
}

static void bind_sides(struct side *client, struct side *server)
{
    client->peer = server;
    server->peer = client;
}

/* One recv; size 0 when there was nothing, false when the other end is gone. */
static bool receive(struct relay *relay, struct side *side, size_t *size)
{
    ssize_t got = recv(side->fd, relay->room, ROOM, 0);
    *size = got > 0 ? (size_t)got : 0;
    if (got == 0 || (got < 0 && errno != EAGAIN))
        return false;
    /* A short read has emptied the socket: the next bytes make a new edge. */
    side->readable = got == ROOM;
    return true;
}

static void greet(struct relay *relay, struct side *client)
{
    size_t size;
    if (!receive(relay, client, &size)) {
        close_client(relay, client);
    } else if (size > 0) {
        client->greeted = true;
        pass(client, relay->greeting.data, bench_bytes_held(&relay->greeting));
    }
}

/* False when the client waits or is gone. */
static bool relay_client(struct relay *relay, struct side *client)
{
    if (client->peer == NULL && relay->idle.first == NULL) {
        client->waiting = true;
        push(&relay->waiting, client);
        return false;
    }
    size_t size;
    bool open = receive(relay, client, &size);
    if (!open || (size > 0 && relay->room[0] == 'X' && client->peer == NULL)) {
        close_client(relay, client);
        return false;
    }
    if (size == 0)
        return false;
    if (client->peer == NULL)
        bind_sides(client, pop(&relay->idle));
    pass(client->peer, relay->room, size);
    return true;
}

/* Reads a client as long as its server takes what it sends. */
static void read_client(struct relay *relay, struct side *client)
{
    while (client->readable && !client->waiting &&
           (client->peer == NULL || bench_bytes_held(&client->peer->held) == 0) &&
           relay_client(relay, client))
        ;
}

static void release(struct relay *relay, struct side *server)
{
    struct side *client = server->peer;
    client->peer = NULL;
    server->peer = NULL;
    push(&relay->idle, server);
    /* Those found gone when read leave the server to the next. */
    while (relay->idle.first != NULL && relay->waiting.first != NULL) {
        client = pop(&relay->waiting);
        client->waiting = false;
        read_client(relay, client);
    }
}

static void relay_server(struct relay *relay, struct side *server)
{
    size_t size;
    if (!receive(relay, server, &size))
        errx(1, "the server closed a connection");
    if (size == 0)
        return;
    if (server->peer == NULL)
        errx(1, "the server sent bytes on an idle connection");
    pass(server->peer, relay->room, size);
    if (ends_ready(server, relay->room, size))
        release(relay, server);
}

/* Reads a side that may have input, as long as the other side takes it. */
static void read_side(struct relay *relay, struct side *side)
{
    if (side->server) {
        while (side->readable && (side->peer == NULL || bench_bytes_held(&side->peer->held) == 0))
            relay_server(relay, side);
    } else if (!side->greeted) {
        side->readable = false;
        greet(relay, side);
    } else {
        read_client(relay, side);
    }
}

static void handle_event(struct relay *relay, const struct epoll_event *event)
{
    struct side *side = event->data.ptr;
    if (side->fd < 0)
        return;
    if ((event->events & EPOLLOUT) != 0 && bench_bytes_held(&side->held) > 0) {
        if (!bench_bytes_send(&side->held, side->fd))
            err(1, "send");
        if (bench_bytes_held(&side->held) == 0 && side->peer != NULL && side->peer->readable)
            read_side(relay, side->peer);
    }
    if ((event->events & ~(uint32_t)EPOLLOUT) == 0 || side->fd < 0)
        return;
    side->readable = true;
    read_side(relay, side);
}

static void accept_clients(struct relay *relay)
{
    for (int fd = bench_endpoint_accept(relay->listener); fd >= 0;
         fd = bench_endpoint_accept(relay->listener))
        add_side(relay, fd, false);
}

static void serve(struct relay *relay)
{
    struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(relay->poll, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            err(1, "epoll_wait");
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                accept_clients(relay);
            else
                handle_event(relay, &events[i]);
        }
        free_gone(relay);
    }
}

/* Logs in and keeps the server's words for the clients. Start-up only, so it may block. */
static void open_server(struct relay *relay, const struct bench_endpoint *endpoint,
                        const char *user, const char *database)
{
    int fd = bench_endpoint_connect(endpoint);
    struct bench_bytes packet = {0};
    bench_message_startup(&packet, user, database, NULL, NULL);
    if (!bench_bytes_send(&packet, fd))
        err(1, "send");
    free(packet.data);
    bench_bytes_consume(&relay->greeting, bench_bytes_held(&relay->greeting));
    struct side login = {.fd = fd};
    for (bool ready = false; !ready;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        size_t size;
        if (poll(&wait, 1, 10000) != 1 || !receive(relay, &login, &size))
            errx(1, "login to the server failed");
        bench_bytes_append(&relay->greeting, relay->room, size);
        ready = ends_ready(&login, relay->room, size);
    }
    push(&relay->idle, add_side(relay, fd, true));
}

int main(int argc, char **argv)
{
    struct bench_endpoint listen_at = {.host = "127.0.0.1"};
    struct bench_endpoint server_at = {.host = "127.0.0.1"};
    int servers = 20;
    const char *user = "bench";
    const char *database = "bench";
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},
        {"server-host", required_argument, NULL, 'h'},
        {"server-port", required_argument, NULL, 's'},
        {"servers", required_argument, NULL, 'n'},
        {"user", required_argument, NULL, 'U'},
        {"database", required_argument, NULL, 'd'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'p')
            listen_at.port = (int)bench_argument_number("port", optarg, 1, UINT16_MAX);
        else if (option == 'h')
            server_at.host = optarg;
        else if (option == 's')
            server_at.port = (int)bench_argument_number("server-port", optarg, 1, UINT16_MAX);
        else if (option == 'n')
            servers = (int)bench_argument_number("servers", optarg, 1, 10000);
        else if (option == 'U')
            user = optarg;
        else if (option == 'd')
            database = optarg;
        else
            errx(2, "usage: floor --port PORT --server-port PORT [--server-host HOST] "
                    "[--servers N] [--user NAME] [--database NAME]");
    }
    if (listen_at.port == 0 || server_at.port == 0)
        errx(2, "--port and --server-port are required");

    struct relay relay = {.room = bench_allocate(ROOM), .poll = epoll_create1(EPOLL_CLOEXEC)};
    relay.idle.last = &relay.idle.first;
    relay.waiting.last = &relay.waiting.first;
    if (relay.poll < 0)
        err(1, "epoll_create1");
    for (int i = 0; i < servers; i++)
        open_server(&relay, &server_at, user, database);
    relay.listener = bench_endpoint_listen(&listen_at);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(relay.poll, EPOLL_CTL_ADD, relay.listener, &event) < 0)
        err(1, "epoll_ctl");
    serve(&relay);
    return 0;
}
