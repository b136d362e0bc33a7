/* A load generator for PostgreSQL poolers: N clients on raw non-blocking sockets in one epoll loop.
 * Every client repeats one transaction; every answer is checked for its rows, its tags and the
 * transaction status, and anything else counts as an error.
 *
 * With --application-names or --search-paths client number N logs in with application_name client-N or
 * search_path "schema_N, public"; with --own-values every row must be that value (--query "show ...").
 *
 * With --commands it connects, prints a line {"ready": ...} and then obeys lines on its input,
 * "count N" and "seconds N", each answered by one line of figures; so its owner can measure the
 * proxy from just before to just after a run, without connection set-up. "count 0" only reports
 * connections that were lost. */
#include "endpoint.h"
#include "message.h"
#include "script.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS = 512,
    INPUT_ROOM = 256 * 1024,
    LOGINS_AT_ONCE = 64, /* below the listen backlog of any proxy */
    STALLED = 60 * 1000, /* milliseconds without a single answer */
    ERROR_TEXT = 400,
    VALUE_TEXT = 64,
    ROW_HEAD = 6, /* of a row with one column: how many, and how long */
};

enum client_state {
    CLIENT_LOGIN,
    CLIENT_SETUP,
    CLIENT_IDLE,
    CLIENT_BUSY,
    CLIENT_LOST,
};

struct client {
    int fd;
    enum client_state state;
    int step;
    bool want_output;
    size_t sent; /* of the current step */
    uint64_t started;
    uint64_t rows;
    uint64_t tags;
    bool failed;
    char value[VALUE_TEXT]; /* of its setting */
    char row[ROW_HEAD + VALUE_TEXT];
    size_t row_length;
    /* The message being received. */
    char head[BENCH_MESSAGE_HEAD];
    uint8_t head_length;
    uint32_t body_left;
    char status; /* from the last ReadyForQuery */
};

struct run {
    uint64_t limit;    /* transactions to start, or UINT64_MAX */
    uint64_t deadline; /* start none after this instant, or UINT64_MAX */
    uint64_t started;
    uint64_t done;
    uint64_t bytes;
    uint64_t *latencies; /* nanoseconds, one for each transaction done */
    size_t capacity;
};

struct load {
    struct bench_endpoint endpoint;
    const char *user;
    const char *database;
    const char *setting;    /* with which each client logs in, NULL: none */
    const char *value_head; /* before the client's number */
    const char *value_tail; /* after it */
    bool own_values;        /* each row must be the client's own value of it */
    struct script script;
    struct client *clients;
    int count;
    int poll;
    int opened;
    int settled; /* logged in and set up, or lost */
    int busy;
    uint64_t errors;
    bool error_shown;
    char error[ERROR_TEXT];
    size_t error_length;
    struct run run;
    char *input;
};

static uint64_t nanoseconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* The first error is enough to tell what is wrong. */
static void show_error(struct load *load, const char *text, size_t size)
{
    if (load->error_shown)
        return;
    load->error_shown = true;
    (void)fputs("load: ", stderr);
    for (size_t i = 0; i < size; i++)
        (void)fputc(text[i] == '\0' ? ' ' : text[i], stderr);
    (void)fputc('\n', stderr);
}

static void open_client(struct load *load);

static void settle_client(struct load *load, struct client *client)
{
    client->state = CLIENT_IDLE;
    load->settled++;
    open_client(load);
}

static void lose_client(struct load *load, struct client *client)
{
    static const char text[] = "connection lost";
    show_error(load, text, sizeof text - 1);
    load->errors++;
    if (client->state == CLIENT_BUSY)
        load->busy--;
    if (client->state == CLIENT_LOGIN || client->state == CLIENT_SETUP)
        settle_client(load, client);
    client->state = CLIENT_LOST;
    close(client->fd);
}

static void arm_output(struct load *load, struct client *client, bool wanted)
{
    if (client->want_output == wanted)
        return;
    client->want_output = wanted;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? (uint32_t)EPOLLOUT : 0),
                                .data.ptr = client};
    if (epoll_ctl(load->poll, EPOLL_CTL_MOD, client->fd, &event) < 0)
        err(1, "epoll_ctl");
}

static const struct script_step *current_step(const struct load *load, const struct client *client)
{
    return client->state == CLIENT_SETUP ? &load->script.setup : &load->script.steps[client->step];
}

static void send_step(struct load *load, struct client *client)
{
    const struct bench_bytes *bytes = &current_step(load, client)->bytes;
    ssize_t sent = send(client->fd, bytes->data + client->sent,
                        bench_bytes_held(bytes) - client->sent, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        lose_client(load, client);
        return;
    }
    client->sent += sent > 0 ? (size_t)sent : 0;
    arm_output(load, client, client->sent < bench_bytes_held(bytes));
}

static void start_step(struct load *load, struct client *client)
{
    client->sent = 0;
    client->rows = 0;
    client->tags = 0;
    send_step(load, client);
}

/* Starts the next transaction of the run, if there is one left. */
static void start_transaction(struct load *load, struct client *client, uint64_t now)
{
    struct run *run = &load->run;
    if (run->started >= run->limit || now >= run->deadline)
        return;
    run->started++;
    load->busy++;
    client->state = CLIENT_BUSY;
    client->step = 0;
    client->started = now;
    client->failed = false;
    start_step(load, client);
}

static void record_latency(struct run *run, uint64_t elapsed)
{
    if (run->done == run->capacity) {
        run->capacity = run->capacity == 0 ? 65536 : run->capacity * 2;
        run->latencies = realloc(run->latencies, run->capacity * sizeof run->latencies[0]);
        if (run->latencies == NULL)
            err(1, "out of memory");
    }
    run->latencies[run->done++] = elapsed;
}

static bool answer_is_right(const struct client *client, const struct script_step *step)
{
    return client->status == step->status && client->rows == step->rows &&
           client->tags == step->tags;
}

static void finish_step(struct load *load, struct client *client)
{
    if (client->state == CLIENT_BUSY &&
        !answer_is_right(client, &load->script.steps[client->step])) {
        static const char text[] = "an answer with other rows, tags or status than expected";
        show_error(load, text, sizeof text - 1);
        client->failed = true;
    }
    if (client->state == CLIENT_LOGIN && bench_bytes_held(&load->script.setup.bytes) > 0) {
        client->state = CLIENT_SETUP;
        start_step(load, client);
        return;
    }
    if (client->state == CLIENT_LOGIN || client->state == CLIENT_SETUP)
        settle_client(load, client);
    if (client->state != CLIENT_BUSY)
        return;
    if (++client->step < load->script.count) {
        start_step(load, client);
        return;
    }
    uint64_t now = nanoseconds();
    record_latency(&load->run, now - client->started);
    load->errors += client->failed ? 1 : 0;
    load->busy--;
    client->state = CLIENT_IDLE;
    start_transaction(load, client, now);
}

static void check_value(struct load *load, struct client *client)
{
    size_t length = strlen(client->value);
    if (client->row_length == ROW_HEAD + length &&
        memcmp(client->row + ROW_HEAD, client->value, length) == 0)
        return;
    static const char text[] = "another value than the client's own";
    show_error(load, text, sizeof text - 1);
    client->failed = true;
}

static void finish_message(struct load *load, struct client *client)
{
    client->head_length = 0;
    switch (client->head[0]) {
    case 'D':
        if (load->own_values)
            check_value(load, client);
        client->rows++;
        break;
    case 'd':
        client->rows++;
        break;
    case 'C':
        client->tags++;
        break;
    case 'E':
        client->failed = true;
        if (client->state != CLIENT_BUSY)
            load->errors++;
        show_error(load, load->error, load->error_length);
        break;
    case 'Z':
        finish_step(load, client);
        break;
    default:
        break;
    }
}

/* Takes what one recv brought, message by message; bodies are skipped by length. */
static void take_input(struct load *load, struct client *client, const char *data, size_t size)
{
    const char *end = data + size;
    while (data < end) {
        if (client->head_length < BENCH_MESSAGE_HEAD) {
            client->head[client->head_length++] = *data++;
            if (client->head_length < BENCH_MESSAGE_HEAD)
                continue;
            client->body_left = bench_read_u32(client->head + 1) - (uint32_t)sizeof(uint32_t);
            if (client->head[0] == 'E')
                load->error_length = 0;
            client->row_length = 0;
        }
        size_t take = (size_t)(end - data);
        if (take > client->body_left)
            take = client->body_left;
        if (client->head[0] == 'Z' && take > 0)
            client->status = data[0];
        if (client->head[0] == 'E') {
            size_t room = sizeof load->error - load->error_length;
            size_t copied = take < room ? take : room;
            memcpy(load->error + load->error_length, data, copied);
            load->error_length += copied;
        }
        if (client->head[0] == 'D' && load->own_values) {
            size_t room = sizeof client->row - client->row_length;
            size_t copied = take < room ? take : room;
            memcpy(client->row + client->row_length, data, copied);
            client->row_length += copied;
        }
        data += take;
        client->body_left -= (uint32_t)take;
        if (client->body_left == 0)
            finish_message(load, client);
    }
}

static void handle_event(struct load *load, const struct epoll_event *event)
{
    struct client *client = event->data.ptr;
    if (client->state == CLIENT_LOST)
        return;
    if ((event->events & EPOLLOUT) != 0 && client->want_output)
        send_step(load, client);
    if ((event->events & ~(uint32_t)EPOLLOUT) == 0 || client->state == CLIENT_LOST)
        return;
    ssize_t got = recv(client->fd, load->input, INPUT_ROOM, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        lose_client(load, client);
        return;
    }
    load->run.bytes += (uint64_t)got;
    take_input(load, client, load->input, (size_t)got);
}

static void turn(struct load *load, int wait)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(load->poll, events, EVENTS, wait);
    if (count < 0 && errno != EINTR)
        err(1, "epoll_wait");
    if (count == 0 && wait > 0)
        errx(1, "no answer for %d s: %d of %d clients ready, %d busy, %llu transactions done",
             wait / 1000, load->settled, load->count, load->busy,
             (unsigned long long)load->run.done);
    for (int i = 0; i < count; i++)
        handle_event(load, &events[i]);
}

static void open_client(struct load *load)
{
    if (load->opened == load->count)
        return;
    int number = load->opened++;
    struct client *client = &load->clients[number];
    client->fd = bench_endpoint_connect(&load->endpoint);
    client->state = CLIENT_LOGIN;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(load->poll, EPOLL_CTL_ADD, client->fd, &event) < 0)
        err(1, "epoll_ctl");
    if (load->setting != NULL)
        (void)snprintf(client->value, sizeof client->value, "%s%d%s", load->value_head, number,
                       load->value_tail);
    struct bench_bytes packet = {0};
    bench_message_startup(&packet, load->user, load->database, load->setting, client->value);
    if (!bench_bytes_send(&packet, client->fd))
        lose_client(load, client);
    free(packet.data);
}

static void connect_all(struct load *load)
{
    load->poll = epoll_create1(EPOLL_CLOEXEC);
    if (load->poll < 0)
        err(1, "epoll_create1");
    load->clients = bench_allocate((size_t)load->count * sizeof load->clients[0]);
    for (int i = 0; i < LOGINS_AT_ONCE; i++)
        open_client(load);
    while (load->settled < load->count)
        turn(load, STALLED);
}

static int compare_latencies(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static double percentile(const struct run *run, double share)
{
    if (run->done == 0)
        return 0;
    size_t index = (size_t)(share * (double)(run->done - 1) + 0.5);
    return (double)run->latencies[index] / 1000.0;
}

static void print_figures(struct load *load, uint64_t elapsed)
{
    struct run *run = &load->run;
    if (run->done > 0)
        qsort(run->latencies, run->done, sizeof run->latencies[0], compare_latencies);
    printf("{\"transactions\": %llu, \"seconds\": %.6f, \"bytes\": %llu, \"errors\": %llu, "
           "\"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"max\": %.1f}\n",
           (unsigned long long)run->done, (double)elapsed / 1e9, (unsigned long long)run->bytes,
           (unsigned long long)load->errors, percentile(run, 0.50), percentile(run, 0.90),
           percentile(run, 0.99), percentile(run, 1.0));
    (void)fflush(stdout);
}

static void run_transactions(struct load *load, uint64_t limit, uint64_t seconds, bool print)
{
    uint64_t begin = nanoseconds();
    struct run *run = &load->run;
    *run = (struct run){
        .limit = limit,
        .deadline = seconds == 0 ? UINT64_MAX : begin + seconds * 1000000000U,
        .latencies = run->latencies,
        .capacity = run->capacity,
    };
    load->errors = 0;
    turn(load, 0); /* notices what was closed meanwhile */
    for (int i = 0; i < load->count; i++)
        if (load->clients[i].state == CLIENT_IDLE)
            start_transaction(load, &load->clients[i], begin);
    while (load->busy > 0)
        turn(load, STALLED);
    if (print)
        print_figures(load, nanoseconds() - begin);
}

static void obey_commands(struct load *load)
{
    char line[128];
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end = '\0';
        if (strncmp(line, "count ", 6) == 0)
            run_transactions(load, bench_argument_number("count", line + 6, 0, UINT32_MAX), 0,
                             true);
        else if (strncmp(line, "seconds ", 8) == 0)
            run_transactions(load, UINT64_MAX, bench_argument_number("seconds", line + 8, 1, 86400),
                             true);
        else
            errx(2, "unknown command: %s", line);
    }
}

static void disconnect_all(struct load *load)
{
    struct bench_bytes farewell = {0};
    bench_message_empty(&farewell, 'X');
    for (int i = 0; i < load->count; i++) {
        if (load->clients[i].state == CLIENT_LOST)
            continue;
        /* A peer that is gone by now has nothing to be told. */
        (void)send(load->clients[i].fd, farewell.data, bench_bytes_held(&farewell), MSG_NOSIGNAL);
        close(load->clients[i].fd);
    }
    free(farewell.data);
}

/* The command line. */
struct plan {
    const char *mode;
    const char *query;
    uint64_t rows;
    uint64_t transactions;
    uint64_t seconds; /* 0 = by transactions */
    uint64_t warm_up;
    bool commands;
};

static _Noreturn void explain_usage(void)
{
    (void)fputs("usage: load --port PORT [--host HOST] [--user NAME] [--database NAME]\n"
                "            [--clients N] [--mode simple|extended|prepared|transaction|copy-in]\n"
                "            [--query TEXT] [--rows N] [--transactions N | --seconds N]\n"
                "            [--warm-up N] [--commands]\n"
                "            [--application-names | --search-paths] [--own-values]\n",
                stderr);
    exit(2);
}

static void take_option(struct load *load, struct plan *plan, int option)
{
    switch (option) {
    case 'h':
        load->endpoint.host = optarg;
        break;
    case 'p':
        load->endpoint.port = (int)bench_argument_number("port", optarg, 1, UINT16_MAX);
        break;
    case 'U':
        load->user = optarg;
        break;
    case 'd':
        load->database = optarg;
        break;
    case 'c':
        load->count = (int)bench_argument_number("clients", optarg, 1, 100000);
        break;
    case 'm':
        plan->mode = optarg;
        break;
    case 'q':
        plan->query = optarg;
        break;
    case 'r':
        plan->rows = bench_argument_number("rows", optarg, 0, UINT32_MAX);
        break;
    case 'n':
        plan->transactions = bench_argument_number("transactions", optarg, 0, UINT32_MAX);
        break;
    case 't':
        plan->seconds = bench_argument_number("seconds", optarg, 1, 86400);
        break;
    case 'w':
        plan->warm_up = bench_argument_number("warm-up", optarg, 0, UINT32_MAX);
        break;
    case 'k':
        plan->commands = true;
        break;
    case 'a':
        load->setting = "application_name";
        load->value_head = "client-";
        load->value_tail = "";
        break;
    case 's':
        load->setting = "search_path";
        load->value_head = "schema_";
        load->value_tail = ", public";
        break;
    case 'o':
        load->own_values = true;
        break;
    default:
        explain_usage();
    }
}

static void parse_arguments(struct load *load, struct plan *plan, int argc, char **argv)
{
    static const struct option options[] = {
        {"host", required_argument, NULL, 'h'},         {"port", required_argument, NULL, 'p'},
        {"user", required_argument, NULL, 'U'},         {"database", required_argument, NULL, 'd'},
        {"clients", required_argument, NULL, 'c'},      {"mode", required_argument, NULL, 'm'},
        {"query", required_argument, NULL, 'q'},        {"rows", required_argument, NULL, 'r'},
        {"transactions", required_argument, NULL, 'n'}, {"seconds", required_argument, NULL, 't'},
        {"warm-up", required_argument, NULL, 'w'},      {"commands", no_argument, NULL, 'k'},
        {"application-names", no_argument, NULL, 'a'},  {"search-paths", no_argument, NULL, 's'},
        {"own-values", no_argument, NULL, 'o'},         {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        take_option(load, plan, option);
    if (optind < argc || load->endpoint.port == 0 || (load->own_values && load->setting == NULL) ||
        !script_build(&load->script, plan->mode, plan->query, plan->rows))
        explain_usage();
}

int main(int argc, char **argv)
{
    struct load load = {
        .endpoint = {.host = "127.0.0.1"}, .user = "bench", .database = "bench", .count = 1};
    struct plan plan = {.mode = "simple", .query = "select 1", .rows = 1, .transactions = 10000};
    parse_arguments(&load, &plan, argc, argv);
    load.input = bench_allocate(INPUT_ROOM);
    connect_all(&load);
    if (plan.warm_up > 0)
        run_transactions(&load, plan.warm_up, 0, false);
    if (plan.commands) {
        printf("{\"ready\": %d, \"errors\": %llu}\n", load.count, (unsigned long long)load.errors);
        (void)fflush(stdout);
        obey_commands(&load);
    } else {
        run_transactions(&load, plan.seconds > 0 ? UINT64_MAX : plan.transactions, plan.seconds,
                         true);
    }
    disconnect_all(&load);
    return load.errors == 0 ? 0 : 1;
}
