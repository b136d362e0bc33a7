/* A stand-in for PostgreSQL that costs as little as possible, so that what a benchmark measures is
 * the proxy in front of it. Everybody may log in; replies are laid out by reply.c. It knows the
 * simple and extended protocol, prepared statements by name, transaction status and COPY. */
#include "endpoint.h"
#include "message.h"
#include "reply.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS = 256,
    INPUT_ROOM = 64 * 1024,
    OUTPUT_HIGH = 256 * 1024, /* a COPY waits for the peer beyond this */
};

struct statement {
    struct statement *next;
    char *name;
    const struct reply *reply;
};

struct session {
    int fd;
    bool started;     /* the startup packet has been answered */
    bool want_output; /* EPOLLOUT is armed */
    bool skipping;    /* an error was sent: everything up to Sync is ignored */
    bool finished;
    char status;
    struct statement *statements;
    const struct reply *portal;
    const struct reply *copying; /* COPY in progress */
    bool copy_simple;            /* it was asked for by Query: ReadyForQuery follows */
    uint64_t copy_left;
    struct bench_bytes input;
    struct bench_bytes output;
};

struct server {
    int poll;
    int listener;
    uint32_t next_key;
    bool shared_names; /* a name prepared in one session is known to all */
    struct statement *names;
};

static const char *const parameters[][2] = {
    {"application_name", ""},
    {"client_encoding", "UTF8"},
    {"DateStyle", "ISO, MDY"},
    {"default_transaction_read_only", "off"},
    {"in_hot_standby", "off"},
    {"integer_datetimes", "on"},
    {"IntervalStyle", "postgres"},
    {"is_superuser", "on"},
    {"server_encoding", "UTF8"},
    {"server_version", "15.0"},
    {"session_authorization", "bench"},
    {"standard_conforming_strings", "on"},
    {"TimeZone", "Etc/UTC"},
};

static void ready_for_query(struct session *session)
{
    size_t mark = bench_message_begin(&session->output, 'Z');
    bench_message_u8(&session->output, (uint8_t)session->status);
    bench_message_end(&session->output, mark);
}

static void append_reply(struct session *session, const struct bench_bytes *bytes)
{
    bench_bytes_append(&session->output, bytes->data, bench_bytes_held(bytes));
}

static void greet(struct server *server, struct session *session)
{
    struct bench_bytes *out = &session->output;
    size_t mark = bench_message_begin(out, 'R');
    bench_message_u32(out, 0);
    bench_message_end(out, mark);
    for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++) {
        mark = bench_message_begin(out, 'S');
        bench_message_string(out, parameters[i][0]);
        bench_message_string(out, parameters[i][1]);
        bench_message_end(out, mark);
    }
    mark = bench_message_begin(out, 'K');
    bench_message_u32(out, ++server->next_key);
    bench_message_u32(out, server->next_key * 2654435761U);
    bench_message_end(out, mark);
    ready_for_query(session);
}

static void fail(struct session *session, const char *sqlstate, const char *text)
{
    struct bench_bytes *out = &session->output;
    size_t mark = bench_message_begin(out, 'E');
    bench_message_u8(out, 'S');
    bench_message_string(out, "ERROR");
    bench_message_u8(out, 'V');
    bench_message_string(out, "ERROR");
    bench_message_u8(out, 'C');
    bench_message_string(out, sqlstate);
    bench_message_u8(out, 'M');
    bench_message_string(out, text);
    bench_message_u8(out, 0);
    bench_message_end(out, mark);
    if (session->status == 'T')
        session->status = 'E';
    session->skipping = true;
}

static struct statement **find_name(struct statement **list, const char *name)
{
    while (*list != NULL && strcmp((*list)->name, name) != 0)
        list = &(*list)->next;
    return list;
}

static void remember_name(struct statement **list, const char *name, const struct reply *reply)
{
    struct statement **place = find_name(list, name);
    if (*place == NULL) {
        *place = bench_allocate(sizeof **place);
        (*place)->name = strdup(name);
        if ((*place)->name == NULL)
            err(1, "out of memory");
    }
    (*place)->reply = reply;
}

static void forget_name(struct statement **place)
{
    struct statement *gone = *place;
    if (gone == NULL)
        return;
    *place = gone->next;
    free(gone->name);
    free(gone);
}

static const struct reply *statement_named(struct server *server, struct session *session,
                                           const char *name)
{
    struct statement *found = *find_name(&session->statements, name);
    if (found == NULL && server->shared_names)
        found = *find_name(&server->names, name);
    if (found == NULL) {
        fail(session, "26000", "prepared statement does not exist");
        return NULL;
    }
    return found->reply;
}

static void parse_statement(struct server *server, struct session *session, const char *body)
{
    const char *text = body + strlen(body) + 1;
    const struct reply *reply = reply_for(text);
    if (body[0] != '\0' && !server->shared_names &&
        *find_name(&session->statements, body) != NULL) {
        fail(session, "42P05", "prepared statement already exists");
        return;
    }
    remember_name(&session->statements, body, reply);
    if (server->shared_names && body[0] != '\0')
        remember_name(&server->names, body, reply);
    bench_message_empty(&session->output, '1');
}

static void describe(struct server *server, struct session *session, const char *body)
{
    const struct reply *reply = session->portal;
    if (body[0] == 'S') {
        reply = statement_named(server, session, body + 1);
        if (reply == NULL)
            return;
        size_t mark = bench_message_begin(&session->output, 't');
        bench_message_u16(&session->output, reply->parameters);
        for (uint16_t i = 0; i < reply->parameters; i++)
            bench_message_u32(&session->output, 25);
        bench_message_end(&session->output, mark);
    }
    if (reply == NULL)
        fail(session, "34000", "portal does not exist");
    else if (reply->kind == REPLY_COPY_IN || reply->kind == REPLY_COPY_OUT)
        bench_message_empty(&session->output, 'n');
    else
        append_reply(session, &reply->description);
}

static void start_copy(struct session *session, const struct reply *reply, bool simple)
{
    append_reply(session, &reply->description);
    session->copying = reply;
    session->copy_simple = simple;
    session->copy_left = reply->copy_rows;
}

static void finish_copy(struct session *session)
{
    char tag[48];
    (void)snprintf(tag, sizeof tag, "COPY %llu", (unsigned long long)session->copying->copy_rows);
    if (session->copying->kind == REPLY_COPY_OUT)
        bench_message_empty(&session->output, 'c');
    bench_message_text(&session->output, 'C', tag);
    session->copying = NULL;
    if (session->copy_simple)
        ready_for_query(session);
}

/* Appends rows of a COPY OUT up to the high mark. */
static void continue_copy_out(struct session *session)
{
    const struct reply *reply = session->copying;
    size_t row = bench_bytes_held(&reply->body) / reply->block_rows;
    while (session->copy_left > 0 && bench_bytes_held(&session->output) < OUTPUT_HIGH) {
        uint64_t rows =
            session->copy_left < reply->block_rows ? session->copy_left : reply->block_rows;
        bench_bytes_append(&session->output, reply->body.data, row * rows);
        session->copy_left -= rows;
    }
    if (session->copy_left == 0)
        finish_copy(session);
}

static void execute(struct session *session, const struct reply *reply, bool simple)
{
    if (reply == NULL) {
        fail(session, "34000", "portal does not exist");
        return;
    }
    if (reply->kind == REPLY_COPY_OUT || reply->kind == REPLY_COPY_IN) {
        start_copy(session, reply, simple);
        return;
    }
    if (simple && reply->kind == REPLY_ROWS)
        append_reply(session, &reply->description);
    append_reply(session, &reply->body);
    if (reply->status != 0)
        session->status = reply->status;
    if (simple)
        ready_for_query(session);
}

static void bind_portal(struct server *server, struct session *session, const char *body)
{
    session->portal = statement_named(server, session, body + strlen(body) + 1);
    if (session->portal != NULL)
        bench_message_empty(&session->output, '2');
}

static void close_named(struct session *session, const char *body)
{
    if (body[0] == 'S')
        forget_name(find_name(&session->statements, body + 1));
    bench_message_empty(&session->output, '3');
}

static void handle_copy_data(struct session *session, char type)
{
    if (session->copying == NULL || session->copying->kind != REPLY_COPY_IN)
        return;
    if (type == 'c') {
        finish_copy(session);
    } else if (type == 'f') {
        bool simple = session->copy_simple;
        session->copying = NULL;
        fail(session, "57014", "COPY from stdin failed");
        session->skipping = !simple;
        if (simple)
            ready_for_query(session);
    }
}

static void handle_message(struct server *server, struct session *session, char type,
                           const char *body)
{
    if (session->skipping && type != 'S' && type != 'X')
        return;
    switch (type) {
    case 'Q':
        execute(session, reply_for(body), true);
        break;
    case 'P':
        parse_statement(server, session, body);
        break;
    case 'B':
        bind_portal(server, session, body);
        break;
    case 'D':
        describe(server, session, body);
        break;
    case 'E':
        execute(session, session->portal, false);
        break;
    case 'C':
        close_named(session, body);
        break;
    case 'S':
        session->skipping = false;
        ready_for_query(session);
        break;
    case 'H':
        break;
    case 'd':
    case 'c':
    case 'f':
        handle_copy_data(session, type);
        break;
    default: /* 'X' and whatever this stand-in does not know */
        session->finished = true;
    }
}

/* Consumes a packet without a type; false when it is not complete yet. */
static bool handle_startup(struct server *server, struct session *session)
{
    const char *at = session->input.data + session->input.start;
    size_t held = bench_bytes_held(&session->input);
    if (held < 8 || held < bench_read_u32(at))
        return false;
    uint32_t size = bench_read_u32(at);
    uint32_t code = bench_read_u32(at + 4);
    bench_bytes_consume(&session->input, size < 8 ? 8 : size);
    if (code == BENCH_SSL_REQUEST || code == BENCH_GSS_REQUEST) {
        bench_message_u8(&session->output, 'N');
    } else if (code >> 16 == 3) {
        session->started = true;
        greet(server, session);
    } else { /* a cancel request: nothing runs long enough to be cancelled */
        session->finished = true;
    }
    return true;
}

static bool handle_next(struct server *server, struct session *session)
{
    if (!session->started)
        return handle_startup(server, session);
    const char *at = session->input.data + session->input.start;
    size_t held = bench_bytes_held(&session->input);
    if (held < BENCH_MESSAGE_HEAD || held < (size_t)bench_read_u32(at + 1) + 1)
        return false;
    size_t size = (size_t)bench_read_u32(at + 1) + 1;
    handle_message(server, session, at[0], at + BENCH_MESSAGE_HEAD);
    bench_bytes_consume(&session->input, size);
    return true;
}

static bool copying_out(const struct session *session)
{
    return session->copying != NULL && session->copying->kind == REPLY_COPY_OUT;
}

static void close_session(struct session *session)
{
    close(session->fd);
    while (session->statements != NULL)
        forget_name(&session->statements);
    free(session->input.data);
    free(session->output.data);
    free(session);
}

static void arm_output(const struct server *server, struct session *session, bool wanted)
{
    if (session->want_output == wanted)
        return;
    session->want_output = wanted;
    struct epoll_event event = {.events = wanted ? EPOLLOUT : EPOLLIN, .data.ptr = session};
    if (epoll_ctl(server->poll, EPOLL_CTL_MOD, session->fd, &event) < 0)
        err(1, "epoll_ctl");
}

/* Answers what has come in, as far as the peer takes the answers. */
static void advance(struct server *server, struct session *session)
{
    bool more = true;
    while (more && !session->finished) {
        if (copying_out(session))
            continue_copy_out(session);
        else
            more = handle_next(server, session);
        if (bench_bytes_held(&session->output) < OUTPUT_HIGH && !copying_out(session))
            continue;
        if (!bench_bytes_send(&session->output, session->fd))
            session->finished = true;
        if (bench_bytes_held(&session->output) > 0)
            break;
    }
    if (!bench_bytes_send(&session->output, session->fd) || session->finished)
        close_session(session);
    else
        arm_output(server, session, bench_bytes_held(&session->output) > 0);
}

static void read_session(struct server *server, struct session *session)
{
    bench_bytes_reserve(&session->input, INPUT_ROOM);
    ssize_t got = recv(session->fd, session->input.data + session->input.end,
                       session->input.capacity - session->input.end, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        close_session(session);
        return;
    }
    session->input.end += (size_t)got;
    advance(server, session);
}

static void accept_sessions(struct server *server)
{
    for (int fd = bench_endpoint_accept(server->listener); fd >= 0;
         fd = bench_endpoint_accept(server->listener)) {
        struct session *session = bench_allocate(sizeof *session);
        session->fd = fd;
        session->status = 'I';
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = session};
        if (epoll_ctl(server->poll, EPOLL_CTL_ADD, fd, &event) < 0)
            err(1, "epoll_ctl");
    }
}

static void serve(struct server *server)
{
    struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(server->poll, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            err(1, "epoll_wait");
        for (int i = 0; i < count; i++) {
            struct session *session = events[i].data.ptr;
            if (session == NULL)
                accept_sessions(server);
            else if (session->want_output)
                advance(server, session);
            else
                read_session(server, session);
        }
    }
}

int main(int argc, char **argv)
{
    struct bench_endpoint endpoint = {.host = "127.0.0.1"};
    struct server server = {0};
    static const struct option options[] = {
        {"host", required_argument, NULL, 'h'},
        {"port", required_argument, NULL, 'p'},
        {"shared-names", no_argument, NULL, 's'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "h:p:s", options, NULL)) != -1;) {
        if (option == 'h')
            endpoint.host = optarg;
        else if (option == 'p')
            endpoint.port = (int)bench_argument_number("port", optarg, 1, UINT16_MAX);
        else if (option == 's')
            server.shared_names = true;
        else
            errx(2, "usage: stub_server --port PORT [--host HOST] [--shared-names]");
    }
    if (endpoint.port == 0)
        errx(2, "--port is required");
    server.listener = bench_endpoint_listen(&endpoint);
    server.poll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (server.poll < 0 || epoll_ctl(server.poll, EPOLL_CTL_ADD, server.listener, &event) < 0)
        err(1, "epoll");
    serve(&server);
    return 0;
}
