#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/conf.h"

struct world world;

/* Of the leak checker, in builds that have it. */
__attribute__((weak)) int __lsan_do_recoverable_leak_check(void);

/* --- the world
 * ---------------------------------------------------------------------------------------------- */

void world_open(const char *settings)
{
    world_open_as(settings, NULL);
}

void world_open_as(const char *settings, const char *users)
{
    static const struct weir_log_target quiet = {.level = WEIR_LOG_ERROR};
    cr_assert(weir_log_open(&quiet));
    memset(&world, 0, sizeof(world));
    cr_assert(weir_loop_init(&world.loop));
    fake_postgres_open(&world.postgres, &world.loop);
    char *text =
        weir_format("[pgweir]\n"
                    "listen_addr =\n"
                    "%s\n"
                    "pool_size = 1\n"
                    "max_overflow = 0\n"
                    "%s"
                    "%s\n"
                    "[databases]\n"
                    "db = host=127.0.0.1 port=%d\n"
                    "other = host=127.0.0.1 port=%d\n",
                    strstr(settings, "auth_type") != NULL ? "" : "auth_type = trust",
                    strstr(settings, "state_learning") != NULL ? "" : "state_learning = off\n",
                    settings, world.postgres.port, world.postgres.port);
    char *problems = NULL, *warnings = NULL;
    struct weir_user_file *file = NULL;
    if (users != NULL) {
        file = weir_user_file_parse("users", users, strlen(users), &problems);
        cr_assert_not_null(file, "%s", problems);
    }
    struct weir_conf *conf = weir_conf_parse("test.ini", text, strlen(text), &problems, &warnings);
    cr_assert_not_null(conf, "%s", problems);
    free(problems);
    free(warnings);
    free(text);
    world.router = weir_router_create(&world.loop, conf, file);
}

void world_init(void)
{
    world_open("");
}

void world_close(void)
{
    if (world.loop.ev == NULL)
        return;
    if (world.router != NULL)
        weir_router_destroy(world.router);
    fake_postgres_close(&world.postgres);
    weir_loop_fini(&world.loop);
    memset(&world, 0, sizeof(world));
    /* A failed assertion does not count here: the test must crash. */
    weir_require(__lsan_do_recoverable_leak_check == NULL ||
                 __lsan_do_recoverable_leak_check() == 0);
}

void world_once(void)
{
    ev_run(world.loop.ev, EVRUN_ONCE);
}

void world_turns(int turns)
{
    for (int i = 0; i < turns; i++)
        ev_run(world.loop.ev, EVRUN_NOWAIT);
}

static struct destination *the_destination(void)
{
    struct destination *found = NULL, *destination, *next;
    HASH_ITER(hh, world.router->destinations, destination, next) {
        if (strcmp(destination->database, "db") == 0 && strcmp(destination->user, "u") == 0)
            found = destination;
    }
    return found;
}

struct weir_pool_counts world_counts(void)
{
    struct weir_pool_counts counts = {0};
    struct destination *destination = the_destination();
    if (destination != NULL)
        weir_pool_count(destination->pool, world.loop.now, &counts);
    return counts;
}

bool world_is_quiet(void)
{
    struct weir_pool_counts counts = world_counts();
    return counts.opening + counts.checking + counts.active + counts.closing + counts.waiting == 0;
}

/* --- messages in short
 * -------------------------------------------------------------------------------------- */

static const char *name_of(const char *word)
{
    return strcmp(word, "-") == 0 ? "" : word;
}

static char *next_word(char **rest)
{
    char *word = strsep(rest, " ");
    cr_assert_not_null(word, "a word is missing");
    return word;
}

static void build_named(struct weir_writer *writer, char type, char *rest)
{
    const char *first = name_of(next_word(&rest));
    if (type == 'P') {
        weir_write_string(writer, first);
        weir_write_string(writer, rest != NULL ? rest : "");
        weir_write_u16(writer, 0);
        return;
    }
    weir_write_string(writer, rest != NULL ? name_of(rest) : "");
    weir_write_string(writer, first);
    weir_write_u16(writer, 0);
    weir_write_u16(writer, 0);
    weir_write_u16(writer, 0);
}

static void build_item(struct weir_writer *writer, char *item)
{
    char type = item[0];
    size_t begin = weir_message_begin(writer, type);
    char *rest = item[1] == ' ' ? item + 2 : NULL;
    switch (type) {
    case 'Q':
        weir_write_string(writer, rest != NULL ? rest : "");
        break;
    case 'P':
    case 'B':
        build_named(writer, type, rest);
        break;
    case 'D':
    case 'C':
        weir_write_u8(writer, (uint8_t)item[1]);
        weir_write_string(writer, name_of(item + 3));
        break;
    case 'E':
        weir_write_string(writer, rest != NULL ? name_of(rest) : "");
        weir_write_u32(writer, 0);
        break;
    case 'd':
        weir_write_bytes(writer, rest, strlen(rest));
        break;
    case 'f':
        weir_write_string(writer, rest != NULL ? rest : "why");
        break;
    case 'F':
        weir_write_bytes(writer, "\0\0\0\1\0\0\0\0\0\0", 10);
        break;
    default:
        break;
    }
    weir_message_end(writer, begin);
}

void build(struct weir_buffer *out, const char *messages)
{
    struct weir_writer writer = weir_writer_to(out);
    char *copy = weir_strdup(messages), *rest = copy, *item;
    while ((item = strsep(&rest, "|")) != NULL)
        if (item[0] != '\0')
            build_item(&writer, item);
    free(copy);
    cr_assert_not(writer.failed);
}

/* --- clients
 * -------------------------------------------------------------------------------------------------- */

void client_start(struct raw_client *client, const char *const *settings)
{
    client_start_as(client, "u", "db", settings);
}

void client_send_password(struct raw_client *client, const char *password)
{
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    size_t begin = weir_message_begin(&writer, 'p');
    weir_write_string(&writer, password);
    weir_message_end(&writer, begin);
    client_send_bytes(client, weir_buffer_bytes(&out), weir_buffer_length(&out));
    weir_buffer_clear(&out);
}

void client_start_as(struct raw_client *client, const char *user, const char *database,
                     const char *const *settings)
{
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    client_start_on(client, ends, user, database, settings);
}

void client_start_on(struct raw_client *client, const int ends[2], const char *user,
                     const char *database, const char *const *settings)
{
    static const struct weir_address nobody = {0};
    memset(client, 0, sizeof(*client));
    client->fd = ends[0];
    cr_assert_eq(fcntl(client->fd, F_SETFL, O_NONBLOCK), 0);
    weir_router_accept(world.router, ends[1], &nobody);
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    size_t begin = weir_message_begin(&writer, 0);
    weir_write_u32(&writer, WEIR_PROTOCOL_3_0);
    weir_write_string(&writer, "user");
    weir_write_string(&writer, user);
    weir_write_string(&writer, "database");
    weir_write_string(&writer, database);
    for (; settings != NULL && *settings != NULL; settings++) {
        const char *equals = strchr(*settings, '=');
        char *name = weir_strndup(*settings, (size_t)(equals - *settings));
        weir_write_string(&writer, name);
        weir_write_string(&writer, equals + 1);
        free(name);
    }
    weir_write_u8(&writer, 0);
    weir_message_end(&writer, begin);
    client_send_bytes(client, weir_buffer_bytes(&out), weir_buffer_length(&out));
    weir_buffer_clear(&out);
}

void client_open(struct raw_client *client)
{
    client_start(client, NULL);
    client_forget(client);
    cr_assert_not(client->over);
}

void client_close(struct raw_client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    weir_buffer_clear(&client->in);
}

void client_send_bytes(struct raw_client *client, const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    weir_usec limit = weir_clock_now() + 10 * WEIR_SEC;
    while (length > 0) {
        ssize_t sent = send(client->fd, at, length, MSG_NOSIGNAL);
        if (sent < 0) {
            cr_assert_eq(errno, EAGAIN);
            cr_assert_lt(weir_clock_now(), limit, "nobody reads");
            world_once();
            continue;
        }
        at += sent;
        length -= (size_t)sent;
    }
}

void client_send(struct raw_client *client, const char *messages)
{
    struct weir_buffer out = {0};
    build(&out, messages);
    client_send_bytes(client, weir_buffer_bytes(&out), weir_buffer_length(&out));
    weir_buffer_clear(&out);
}

static void note(struct raw_client *client, const char *before, const char *text, size_t length)
{
    size_t used = strlen(client->transcript);
    char piece[512];
    snprintf(piece, sizeof(piece), "%s%.*s%s", before, (int)length, text,
             before[0] != '\0' ? ")" : "");
    cr_assert_lt(used + strlen(piece) + 2, sizeof(client->transcript));
    snprintf(client->transcript + used, sizeof(client->transcript) - used, "%s%s",
             used > 0 ? " " : "", piece);
}

static void note_error(struct raw_client *client, const uint8_t *body, size_t length)
{
    struct weir_error_fields fields;
    cr_assert(weir_error_parse(body, length, &fields));
    cr_assert_not_null(fields.sqlstate);
    cr_assert_not_null(fields.message);
    bool fatal = strcmp(fields.severity, "FATAL") == 0;
    client->errors++;
    client->fatal += fatal;
    snprintf(client->message, sizeof(client->message), "%s", fields.message);
    note(client, fatal ? "FATAL(" : "E(", fields.sqlstate, strlen(fields.sqlstate));
}

static void note_row(struct raw_client *client, const uint8_t *body, size_t length)
{
    struct weir_reader reader;
    weir_reader_init(&reader, body, length);
    cr_assert_eq(weir_read_u16(&reader), 2);
    uint32_t size = weir_read_u32(&reader);
    const uint8_t *text = weir_read_bytes(&reader, size);
    uint32_t pid_size = weir_read_u32(&reader);
    const uint8_t *pid = weir_read_bytes(&reader, pid_size);
    cr_assert_not(reader.failed);
    note(client, "D(", (const char *)text, size);
    char digits[16] = {0};
    cr_assert_lt(pid_size, sizeof(digits));
    memcpy(digits, pid, pid_size);
    client->server = (uint32_t)strtoul(digits, NULL, 10);
}

static void note_parameter(struct raw_client *client, const uint8_t *body)
{
    const char *name = (const char *)body;
    char *text = weir_format("%s=%s", name, name + strlen(name) + 1);
    note(client, "S(", text, strlen(text));
    free(text);
}

/* Its own, or somebody's. */
static void note_notification(struct raw_client *client, const uint8_t *body)
{
    uint32_t pid = weir_get_u32(body);
    const char *channel = (const char *)body + 4;
    char who[16];
    snprintf(who, sizeof(who), pid == client->pid ? "own" : "%u", pid);
    char *text = weir_format("%s:%s:%s", who, channel, channel + strlen(channel) + 1);
    note(client, "A(", text, strlen(text));
    free(text);
}

static void note_message(struct raw_client *client, char type, const uint8_t *body, size_t length)
{
    switch (type) {
    case 'E':
        note_error(client, body, length);
        break;
    case 'D':
        note_row(client, body, length);
        break;
    case 'C':
        note(client, "C(", (const char *)body, length - 1);
        break;
    case 'Z':
        client->ready++;
        note(client, "Z(", (const char *)body, length);
        break;
    case 'd':
        note(client, "d(", (const char *)body, length);
        break;
    case 'S':
        note_parameter(client, body);
        break;
    case 'K':
        client->pid = weir_get_u32(body);
        client->key_length = length - 4;
        cr_assert_leq(client->key_length, sizeof(client->key));
        memcpy(client->key, body + 4, client->key_length);
        break;
    case 'A':
        note_notification(client, body);
        break;
    case 'R':
        break;
    default:
        note(client, "", &type, 1);
        break;
    }
}

void client_read(struct raw_client *client)
{
    bool ended = false;
    while (!client->over) {
        uint8_t *room = weir_buffer_reserve(&client->in, 65536);
        cr_assert_not_null(room);
        ssize_t got = recv(client->fd, room, 65536, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN)
            break;
        if (got <= 0) {
            client->over = ended = true;
        } else {
            client->in.end += (uint32_t)got;
        }
    }
    while (weir_buffer_length(&client->in) >= WEIR_WIRE_HEADER) {
        const uint8_t *at = weir_buffer_bytes(&client->in);
        size_t size = weir_get_u32(at + 1);
        cr_assert_geq(size, 4);
        if (weir_buffer_length(&client->in) < size + 1)
            break;
        note_message(client, (char)at[0], at + WEIR_WIRE_HEADER, size - 4);
        weir_buffer_consume(&client->in, size + 1);
    }
    if (weir_buffer_length(&client->in) == 0)
        weir_buffer_clear(&client->in);
    if (ended)
        note(client, "", "EOF", 3);
}

static bool has_come(struct raw_client *client, int ready)
{
    client_read(client);
    return client->over || client->ready >= ready;
}

static void forget(struct raw_client *client)
{
    client->transcript[0] = '\0';
    client->ready = 0;
    client->errors = 0;
    client->fatal = 0;
}

void client_expect(struct raw_client *client, int ready, const char *transcript)
{
    weir_usec limit = weir_clock_now() + 10 * WEIR_SEC;
    while (!has_come(client, ready)) {
        cr_assert_lt(weir_clock_now(), limit, "got \"%s\", wanted \"%s\"", client->transcript,
                     transcript);
        world_once();
    }
    world_turns(4);
    client_read(client);
    cr_assert_str_eq(client->transcript, transcript);
    forget(client);
}

void exchange(struct raw_client *client, const char *messages, const char *transcript)
{
    int ready = 0;
    for (const char *at = transcript; (at = strstr(at, "Z(")) != NULL; at++)
        ready++;
    client_send(client, messages);
    client_expect(client, ready, transcript);
}

void client_expect_end(struct raw_client *client, const char *transcript)
{
    world_until((client_read(client), client->over));
    cr_assert_str_eq(client->transcript, transcript);
    forget(client);
}

void client_forget(struct raw_client *client)
{
    world_until(has_come(client, 1));
    forget(client);
}
