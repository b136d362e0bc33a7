/* Clients and servers around a router, in whatever order, with whatever bytes.
 *
 * Input: a byte of settings, then steps of a few bytes each: a client sends a plausible message,
 * half of one, or any bytes; the server answers as PostgreSQL does, or says something plausible or
 * any bytes on top of it; either side goes away. As long as nobody has said nonsense, everything
 * that a client is sent must be whole and answer its questions, and in the end every server
 * connection must be free again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_postgres.h"
#include "router.h"
#include "stage.h"
#include "weir/operator.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CLIENTS 3
#define STEPS   160

struct fuzz_client {
    int fd;
    bool nonsense;         /* it has sent bytes of no meaning: anything may answer */
    bool fatal;            /* told, so nothing may follow */
    unsigned asked, ready; /* ReadyForQuery messages that may come at most, that came */
    unsigned errors;
    struct weir_buffer late; /* the rest of half a message */
    struct weir_buffer in;
    uint32_t pid;
    uint8_t key[WEIR_CLIENT_KEY_MAX];
    size_t key_length;
};

static struct fuzz_stage stage;
static struct fake_postgres postgres;
static struct weir_router *router;
static struct fuzz_client clients[CLIENTS];
static bool server_nonsense; /* the server has said what PostgreSQL would not */
static bool unanswered;      /* a message may never be whole */

struct input {
    const uint8_t *at, *end;
};

static unsigned next(struct input *input)
{
    return input->at < input->end ? *input->at++ : 0;
}

static void turns(int count)
{
    fuzz_stage_turns(&stage, count);
}

/* --- once
 * ------------------------------------------------------------------------------------------------- */

static void on_accept(void *context, int fd, const struct weir_address *peer)
{
    (void)context;
    (void)peer;
    fake_postgres_accept(&postgres, fd);
}

static struct weir_conf *make_conf(unsigned choice)
{
    static const char *const modes[] = {"transaction", "transaction", "session", "statement"};
    char text[512];
    snprintf(text, sizeof(text),
             "[pgweir]\nlisten_addr =\nauth_type = trust\npool_size = %u\nmax_overflow = 0\n"
             "pool_mode = %s\nmax_prepared_statements = %u\nmax_waiting = %u\n"
             "server_connect_parallel = 2\nclient_memory_limit = %u\n"
             "[databases]\ndb = host=%s port=5432\n",
             1 + (choice & 1), modes[choice >> 1 & 3], choice >> 3 & 3, choice >> 5 & 1,
             choice & 64 ? 1000000 : 16384, stage.host);
    char *problems = NULL, *warnings = NULL;
    struct weir_conf *conf = weir_conf_parse("fuzz", text, strlen(text), &problems, &warnings);
    if (conf == NULL)
        fprintf(stderr, "%s\n", problems);
    weir_require(conf != NULL);
    free(problems);
    free(warnings);
    return conf;
}

/* --- clients
 * ---------------------------------------------------------------------------------------------- */

static void close_client(struct fuzz_client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    weir_buffer_clear(&client->late);
    weir_buffer_clear(&client->in);
    *client = (struct fuzz_client){.fd = -1};
}

static void send_bytes(struct fuzz_client *client, const uint8_t *bytes, size_t length)
{
    if (client->fd < 0 || length == 0)
        return;
    ssize_t sent = send(client->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    /* What the kernel did not take is lost, and with it the frame. */
    if (sent != (ssize_t)length)
        client->nonsense = true;
}

static void open_client(struct fuzz_client *client, unsigned choice)
{
    static const struct weir_address nobody = {0};
    static const char *const settings[][2] = {
        {NULL, NULL}, {"TimeZone", "CET"}, {"work_mem", "8MB"}, {"work_mem", "bad"}};
    int ends[2];
    close_client(client);
    weir_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    client->fd = ends[0];
    client->asked = 1;
    weir_router_accept(router, ends[1], &nobody);
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    size_t begin = weir_message_begin(&writer, 0);
    weir_write_u32(&writer, choice & 8 ? WEIR_PROTOCOL_3_2 : WEIR_PROTOCOL_3_0);
    weir_write_string(&writer, "user");
    weir_write_string(&writer, choice & 4 ? "v" : "u");
    weir_write_string(&writer, "database");
    weir_write_string(&writer, "db");
    if (settings[choice & 3][0] != NULL) {
        weir_write_string(&writer, settings[choice & 3][0]);
        weir_write_string(&writer, settings[choice & 3][1]);
    }
    weir_write_u8(&writer, 0);
    weir_message_end(&writer, begin);
    send_bytes(client, weir_buffer_bytes(&out), weir_buffer_length(&out));
    weir_buffer_clear(&out);
}

static void check_message(struct fuzz_client *client, char type, const uint8_t *body, size_t length)
{
    weir_require(type != '\0' && strchr("RSKZTDCEN123tnsIGHdcVAvW", type) != NULL);
    weir_require(!client->fatal);
    if (type == 'Z') {
        weir_require(length == 1 && (body[0] == 'I' || body[0] == 'T' || body[0] == 'E'));
        client->ready++;
        weir_require(client->ready <= client->asked);
    } else if (type == 'K') {
        weir_require(length >= 8 && length - 4 <= sizeof(client->key));
        client->pid = weir_get_u32(body);
        client->key_length = length - 4;
        memcpy(client->key, body + 4, client->key_length);
    } else if (type == 'E') {
        struct weir_error_fields fields = {0};
        weir_require(weir_error_parse(body, length, &fields));
        weir_require(fields.severity != NULL && fields.message != NULL);
        /* Names that only the pooler uses are nobody's business. */
        weir_require(strstr(fields.message, "pgweir.") == NULL);
        client->fatal = strcmp(fields.severity, "FATAL") == 0;
        client->errors++;
    }
}

static void read_client(struct fuzz_client *client)
{
    uint8_t bytes[16384];
    ssize_t got;
    while (client->fd >= 0 && (got = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
        if (!client->nonsense && !server_nonsense)
            weir_require(weir_buffer_append(&client->in, bytes, (size_t)got));
    while (!client->nonsense && !server_nonsense &&
           weir_buffer_length(&client->in) >= WEIR_WIRE_HEADER) {
        const uint8_t *at = weir_buffer_bytes(&client->in);
        size_t size = weir_get_u32(at + 1);
        weir_require(size >= 4 && size < 100000);
        if (weir_buffer_length(&client->in) < size + 1)
            break;
        check_message(client, (char)at[0], at + WEIR_WIRE_HEADER, size - 4);
        weir_buffer_consume(&client->in, size + 1);
    }
}

/* --- what clients say
 * -------------------------------------------------------------------------------------- */

static const char *const texts[] = {
    "a",      "b",          "begin",          "commit",      "rollback",
    "fail",   "fail_parse", "fail_bind",      "sleep",       "set work_mem=1",
    "copyin", "copyout",    "set timezone=X", "shifty",      "deallocate all",
    "empty",  "die",        "prepare n as a", "execute n",   "deallocate n",
    "vanish", "listen x",   "reset all",      "discard all",
};
static const char *const names[] = {"", "n", "m", "a_rather_long_name_of_a_statement"};

static const char *pick_text(unsigned choice)
{
    return texts[choice % (sizeof(texts) / sizeof(texts[0]))];
}

static void write_message(struct weir_writer *writer, char type, unsigned first, unsigned second)
{
    size_t begin = weir_message_begin(writer, type);
    const char *name = names[first & 3];
    switch (type) {
    case 'Q':
        weir_write_string(writer, pick_text(second));
        break;
    case 'P':
        weir_write_string(writer, name);
        weir_write_string(writer, pick_text(second));
        weir_write_u16(writer, 0);
        break;
    case 'B':
        weir_write_string(writer, second & 1 ? "portal" : "");
        weir_write_string(writer, name);
        weir_write_bytes(writer, "\0\0\0\0\0\0", 6);
        break;
    case 'D':
    case 'C':
        weir_write_u8(writer, second & 1 ? 'P' : 'S');
        weir_write_string(writer, second & 1 && first & 1 ? "portal" : name);
        break;
    case 'E':
        weir_write_string(writer, second & 1 ? "portal" : "");
        weir_write_u32(writer, 0);
        break;
    case 'd':
        weir_write_string(writer, second & 1 ? "bad" : "good");
        break;
    case 'f':
        weir_write_string(writer, "why");
        break;
    case 'F':
        weir_write_bytes(writer, "\0\0\0\1\0\0\0\0\0\0", 10);
        break;
    default:
        break;
    }
    weir_message_end(writer, begin);
}

/* Up to four messages; all of them go out, or the last one in two halves. */
static void say(struct fuzz_client *client, struct input *input, bool half)
{
    static const char types[] = "QPBDESCQPBESHdcfFSPX";
    if (client->fd < 0)
        return;
    struct weir_buffer out = client->late;
    client->late = (struct weir_buffer){0};
    struct weir_writer writer = weir_writer_to(&out);
    unsigned count = 1 + next(input) % 4;
    size_t last = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned choice = next(input);
        char type = types[choice % (sizeof(types) - 1)];
        last = weir_buffer_length(&out);
        unsigned second = next(input);
        write_message(&writer, type, choice / (sizeof(types) - 1), second);
        client->asked += type == 'Q' || type == 'S' || type == 'F';
    }
    size_t length = weir_buffer_length(&out), now = length;
    if (half) {
        now = last + 1 + next(input) % (length - last);
        weir_require(
            weir_buffer_append(&client->late, weir_buffer_bytes(&out) + now, length - now));
    }
    send_bytes(client, weir_buffer_bytes(&out), now);
    weir_buffer_clear(&out);
}

/* --- the servers
 * ------------------------------------------------------------------------------------------- */

static struct fake_backend *pick_backend(unsigned choice)
{
    unsigned index = 0;
    weir_list_for(link, &postgres.backends) {
        struct fake_backend *backend = weir_container_of(link, struct fake_backend, link);
        if (backend->started && index++ == choice % 2)
            return backend;
    }
    return NULL;
}

static void say_plausible(struct fake_backend *backend, unsigned choice)
{
    struct weir_writer writer = weir_writer_to(&backend->out);
    static const char types[] = "123tTnDCIZGHWdcEsVAKRv";
    size_t begin;
    switch (choice % 4) {
    case 0: /* what PostgreSQL may say at any time */
        weir_write_parameter_status(&writer, "TimeZone", choice & 4 ? "CET" : "UTC");
        return;
    case 1:
        begin = weir_message_begin(&writer, choice & 4 ? 'N' : 'A');
        weir_write_bytes(&writer, "\0\0\0\1channel\0\0", 13);
        weir_message_end(&writer, begin);
        return;
    default:
        server_nonsense = true;
        begin = weir_message_begin(&writer, types[choice / 4 % (sizeof(types) - 1)]);
        if (choice & 2)
            weir_write_bytes(&writer, "\0\1I\0C\0", 1 + choice % 6);
        weir_message_end(&writer, begin);
        return;
    }
}

static void push_out(struct fake_backend *backend)
{
    if (!weir_stream_send_bytes(&backend->stream, weir_buffer_bytes(&backend->out),
                                weir_buffer_length(&backend->out)))
        server_nonsense = true;
    weir_buffer_clear(&backend->out);
}

static void step_server(struct input *input)
{
    unsigned choice = next(input);
    struct fake_backend *backend = pick_backend(choice);
    switch (choice >> 1 & 7) {
    case 0:
        fake_postgres_wake(&postgres);
        break;
    case 1:
        fake_postgres_end_all(&postgres, (choice & 64) != 0);
        break;
    case 2:
        postgres.trickle = choice >> 4;
        break;
    case 3:
        postgres.shape++;
        break;
    case 4: {
        size_t length = next(input) % 32, left = (size_t)(input->end - input->at);
        length = length < left ? length : left;
        server_nonsense = true;
        if (backend != NULL && length > 0 && weir_buffer_append(&backend->out, input->at, length))
            push_out(backend);
        input->at += length;
        break;
    }
    default:
        if (backend != NULL && weir_buffer_length(&backend->out) == 0) {
            say_plausible(backend, next(input));
            push_out(backend);
        }
        break;
    }
}

static void step_operator(unsigned choice)
{
    const char *database = choice & 8 ? "db" : NULL;
    switch (choice & 7) {
    case 0:
        weir_operator_pause(router, database);
        break;
    case 1:
        weir_operator_suspend(router);
        break;
    case 2:
        weir_operator_reconnect(router, database);
        break;
    case 3:
        weir_operator_kill(router, database);
        break;
    case 4:
        weir_operator_kill_client(router, router->next_client_id - (choice >> 4) % CLIENTS);
        break;
    default:
        weir_operator_resume(router, database);
        break;
    }
}

static void step(struct input *input)
{
    unsigned choice = next(input);
    struct fuzz_client *client = &clients[(choice >> 4) % CLIENTS];
    switch (choice & 15) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
    case 5:
        say(client, input, false);
        break;
    case 6:
        say(client, input, true);
        break;
    case 7: {
        size_t length = next(input) % 64, left = (size_t)(input->end - input->at);
        length = length < left ? length : left;
        client->nonsense = unanswered = true;
        send_bytes(client, input->at, length);
        input->at += length;
        break;
    }
    case 8:
        close_client(client);
        break;
    case 9:
    case 10:
        if (client->fd < 0)
            open_client(client, next(input));
        break;
    case 11:
        cancel_request(router, client->pid, client->key, client->key_length);
        break;
    case 12:
    case 13:
        step_server(input);
        break;
    case 14:
        if (choice >> 6 == 3) {
            step_operator(next(input));
            break;
        }
        __attribute__((fallthrough));
    default:
        turns(1 + (int)(choice >> 6));
        break;
    }
    for (int i = 0; i < CLIENTS; i++)
        read_client(&clients[i]);
}

/* --- one input
 * --------------------------------------------------------------------------------------------- */

/* Who asked for something before it left waits until the pool tries again. */
static bool is_failing(void)
{
    struct destination *destination, *following;
    HASH_ITER(hh, router->destinations, destination, following) {
        struct weir_pool_counts counts;
        weir_pool_count(destination->pool, stage.loop.now, &counts);
        if (counts.failing)
            return true;
    }
    return false;
}

static bool is_quiet(void)
{
    struct destination *destination, *following;
    HASH_ITER(hh, router->destinations, destination, following) {
        struct weir_pool_counts counts;
        weir_pool_count(destination->pool, stage.loop.now, &counts);
        if (counts.active + counts.checking + counts.closing + counts.waiting > 0)
            return false;
    }
    return router->places[PLACE_STRANGER] + router->places[PLACE_CLIENT] == 0;
}

/* Everybody has gone: what is left must come to rest by itself. */
static void end_run(void)
{
    for (int i = 0; i < CLIENTS; i++)
        close_client(&clients[i]);
    postgres.trickle = 0;
    weir_operator_resume(router, NULL);
    for (int i = 0; i < 400 && !is_quiet(); i++) {
        fake_postgres_wake(&postgres);
        turns(1);
    }
    if ((unanswered || is_failing()) && !is_quiet()) {
        /* Only its deadline ends that. */
        stage.loop.now += 3600 * WEIR_SEC;
        upkeep_tick(router);
        turns(100);
    }
    weir_require(server_nonsense || is_quiet());
    weir_router_destroy(router);
    fake_postgres_close(&postgres);
    turns(2);
    weir_require(weir_list_is_empty(&stage.loop.tasks));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready)
        fuzz_stage_open(&stage, "relay", on_accept);
    ready = true;
    struct input input = {data, data + size};
    fake_postgres_init(&postgres, &stage.loop);
    router = weir_router_create(&stage.loop, make_conf(next(&input)), NULL);
    server_nonsense = unanswered = false;
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = (struct fuzz_client){.fd = -1};
    open_client(&clients[0], 0);
    turns(6);
    for (int i = 0; i < STEPS && input.at < input.end; i++)
        step(&input);
    turns(10);
    for (int i = 0; i < CLIENTS; i++)
        read_client(&clients[i]);
    end_run();
    return 0;
}
