/* Clients of the console: who may come in, with which rights, and how they end. The console is a
 * small one that answers each query with its own text as command tag. */
#include "world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/operator.h"

TestSuite(console, .timeout = 120);

static struct little_console {
    int attached;
    int detached;
    int cancelled;
    enum weir_console_rights rights; /* of the last one */
    struct weir_client *last;
    struct weir_client *cancelled_client;
    char *application_name;
} console;

struct guest {
    struct weir_task look; /* at what came along with the login */
    struct weir_client *client;
};

static struct guest guests[8];

#define MUCH 4000000 /* more than the kernel takes */

static void answer(struct weir_client *client, const char *text)
{
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    size_t begin = weir_message_begin(&writer, 'C');
    if (strcmp(text, "much") == 0) {
        void *bytes = weir_alloc(MUCH);
        weir_write_bytes(&writer, bytes, MUCH);
        free(bytes);
    } else {
        weir_write_string(&writer, text);
    }
    weir_message_end(&writer, begin);
    weir_write_ready_for_query(&writer, 'I');
    cr_assert(
        weir_stream_send_bytes(&client->stream, weir_buffer_bytes(&out), weir_buffer_length(&out)));
    weir_buffer_clear(&out);
}

/* True: the client has been dismissed. */
static bool obey(struct weir_client *client, const uint8_t *message)
{
    const char *text = (const char *)message + WEIR_WIRE_HEADER;
    if (message[0] == 'X') {
        weir_router_dismiss(world.router, client);
        return true;
    }
    cr_assert_eq(message[0], 'Q');
    if (strcmp(text, "kill me") == 0) {
        cr_assert_eq(weir_operator_kill_client(world.router, client->id), WEIR_OPERATOR_DONE);
        cr_assert_eq(console.detached, 0, "called back into its caller");
    }
    answer(client, text);
    if (strcmp(text, "much") != 0)
        return false;
    weir_router_dismiss(world.router, client);
    return true;
}

static void obey_all(struct weir_client *client, uint8_t *bytes, size_t length)
{
    while (length >= WEIR_WIRE_HEADER) {
        size_t total = weir_get_u32(bytes + 1) + 1;
        if (total > length)
            break;
        if (obey(client, bytes))
            return;
        bytes += total;
        length -= total;
    }
    cr_assert(weir_stream_keep(&client->stream, bytes, length));
}

static void on_event(struct weir_stream *stream, unsigned events)
{
    struct weir_client *client = weir_container_of(stream, struct weir_client, stream);
    uint8_t *bytes;
    size_t length;
    if (!(events & WEIR_STREAM_READABLE))
        return;
    enum weir_io io = weir_stream_receive(stream, &bytes, &length);
    if (io == WEIR_IO_OK)
        obey_all(client, bytes, length);
    else if (io != WEIR_IO_WAIT)
        weir_router_dismiss(world.router, client);
}

static void look(struct weir_task *task)
{
    struct guest *guest = weir_container_of(task, struct guest, look);
    uint8_t *bytes;
    size_t length;
    weir_stream_unread(&guest->client->stream, &bytes, &length);
    if (length > 0)
        obey_all(guest->client, bytes, length);
}

static void attach(void *context, struct weir_client *client, enum weir_console_rights rights)
{
    cr_assert_eq(context, &console);
    struct guest *guest = &guests[console.attached++ % 8];
    console.rights = rights;
    console.last = client;
    free(console.application_name);
    console.application_name = NULL;
    for (size_t i = 0; i < client->login->setting_count; i++)
        if (strcmp(client->login->settings[i].name, "application_name") == 0)
            console.application_name = weir_strdup(client->login->settings[i].value);
    client->stream.on_event = on_event;
    client->guest = guest;
    *guest = (struct guest){.look.run = look, .client = client};
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    weir_write_authentication(&writer, 0, NULL, 0);
    weir_write_backend_key(&writer, client->cancel_pid, client->cancel_key,
                           client->cancel_key_length);
    weir_write_ready_for_query(&writer, 'I');
    cr_assert(
        weir_stream_send_bytes(&client->stream, weir_buffer_bytes(&out), weir_buffer_length(&out)));
    weir_buffer_clear(&out);
    weir_loop_defer(&world.loop, &guest->look);
}

static void detach(void *context, struct weir_client *client)
{
    cr_assert_eq(context, &console);
    console.detached++;
}

static void cancel(void *context, struct weir_client *client)
{
    cr_assert_eq(context, &console);
    console.cancelled++;
    console.cancelled_client = client;
}

static const struct weir_console_ops ops = {.attach = attach, .detach = detach, .cancel = cancel};

static void open_console(const char *settings, const char *users)
{
    memset(&console, 0, sizeof(console));
    world_open_as(settings, users);
    weir_router_set_console(world.router, &ops, &console);
}

static void close_console(void)
{
    free(console.application_name);
    console.application_name = NULL;
    world_close();
}

static void enter(struct raw_client *client, const char *user)
{
    client_start_as(client, user, "pgweir", NULL);
    client_expect(client, 1, "Z(I)");
}

static void enter_with(struct raw_client *client, const char *user, const char *database,
                       const char *password)
{
    client_start_as(client, user, database, NULL);
    client_send_password(client, password);
}

static const char some_users[] = "\"a\" \"pa\"\n\"s\" \"ps\"\n\"b\" \"pb\"\n\"n\" \"pn\"\n";
static const char plain[] = "auth_type = plain\nadmin_users = a,  b\nstats_users = s";

Test(console, rights_are_those_of_the_lists_after_the_proof)
{
    static const struct {
        const char *user, *database, *password, *transcript;
        enum weir_console_rights rights;
    } cases[] = {
        {"a", "pgweir", "pa", "Z(I)", WEIR_CONSOLE_ADMIN},
        {"b", "pgbouncer", "pb", "Z(I)", WEIR_CONSOLE_ADMIN},
        {"s", "pgweir", "ps", "Z(I)", WEIR_CONSOLE_STATS},
        {"s", "pgbouncer", "ps", "Z(I)", WEIR_CONSOLE_STATS},
    };
    open_console(plain, some_users);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct raw_client client;
        enter_with(&client, cases[i].user, cases[i].database, cases[i].password);
        client_expect(&client, 1, cases[i].transcript);
        cr_assert_eq(console.attached, (int)i + 1);
        cr_assert_eq(console.rights, cases[i].rights, "%s", cases[i].user);
        exchange(&client, "Q hello|Q again", "C(hello) Z(I) C(again) Z(I)");
        client_send(&client, "X");
        client_expect_end(&client, "EOF");
        client_close(&client);
    }
    cr_assert_eq(console.detached, 0, "those that were dismissed are not detached");
    close_console();
}

Test(console, others_are_refused_only_after_their_proof)
{
    static const struct {
        const char *user, *password, *transcript, *words;
    } cases[] = {
        {"n", "pn", "FATAL(28000) EOF", "not allowed"},
        {"n", "wrong", "FATAL(28P01) EOF", "password authentication failed"},
        {"a", "wrong", "FATAL(28P01) EOF", "password authentication failed"},
        {"unknown", "any", "FATAL(28P01) EOF", "password authentication failed"},
    };
    open_console(plain, some_users);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct raw_client client;
        enter_with(&client, cases[i].user, "pgweir", cases[i].password);
        client_expect_end(&client, cases[i].transcript);
        cr_assert_not_null(strstr(client.message, cases[i].words), "%s", client.message);
        client_close(&client);
    }
    cr_assert_eq(console.attached, 0);
    cr_assert(weir_list_is_empty(&world.router->consoles));
    close_console();
}

static void tcp_pair(int ends[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(ends[0], (struct sockaddr *)&address, size), 0);
    ends[1] = accept(listener, NULL, NULL);
    cr_assert_geq(ends[1], 0);
    close(listener);
}

Test(console, own_user_id_over_the_unix_socket_needs_no_password)
{
    static const char *const names[] = {"pgweir", "pgbouncer"};
    struct raw_client client;
    int ends[2];
    open_console("auth_type = plain", some_users);
    for (int i = 0; i < 2; i++) {
        enter(&client, names[i]);
        cr_assert_eq(console.rights, WEIR_CONSOLE_ADMIN);
        client_close(&client);
        /* The same name from elsewhere, and another name from here, have to prove themselves. */
        tcp_pair(ends);
        client_start_on(&client, ends, names[i], "pgweir", NULL);
        client_send_password(&client, "x");
        client_expect_end(&client, "FATAL(28P01) EOF");
        client_close(&client);
    }
    enter_with(&client, "a", "pgweir", "x");
    client_expect_end(&client, "FATAL(28P01) EOF");
    client_close(&client);
    cr_assert_eq(console.attached, 2);
    close_console();
}

Test(console, auth_type_any_lets_everybody_in_and_trust_those_who_are_named)
{
    struct raw_client client;
    open_console("auth_type = any", NULL);
    enter(&client, "whoever");
    cr_assert_eq(console.rights, WEIR_CONSOLE_ADMIN);
    client_close(&client);
    world_turns(4);
    close_console();

    open_console("auth_type = trust\nstats_users = s", NULL);
    enter(&client, "s");
    cr_assert_eq(console.rights, WEIR_CONSOLE_STATS);
    client_close(&client);
    client_start_as(&client, "whoever", "pgweir", NULL);
    client_expect_end(&client, "FATAL(28000) EOF");
    client_close(&client);
    close_console();
}

Test(console, without_a_console_its_databases_do_not_exist)
{
    struct raw_client client;
    world_open("admin_users = a");
    client_start_as(&client, "a", "pgweir", NULL);
    client_expect_end(&client, "FATAL(3D000) EOF");
    client_close(&client);
    world_close();
}

Test(console, replication_is_refused)
{
    static const char *const settings[] = {"replication=true", NULL};
    struct raw_client client;
    open_console("admin_users = a", NULL);
    client_start_as(&client, "a", "pgweir", settings);
    client_expect_end(&client, "FATAL(0A000) EOF");
    client_close(&client);
    close_console();
}

Test(console, startup_settings_are_there_while_it_attaches)
{
    static const char *const settings[] = {"application_name=psql", NULL};
    struct raw_client client;
    open_console("admin_users = a", NULL);
    client_start_as(&client, "a", "pgweir", settings);
    client_expect(&client, 1, "Z(I)");
    cr_assert_str_eq(console.application_name, "psql");
    cr_assert_null(console.last->login);
    client_close(&client);
    close_console();
}

Test(console, its_clients_do_not_count)
{
    struct raw_client first, second, admins[3];
    open_console("max_client_conn = 1\nadmin_users = a", NULL);
    for (int i = 0; i < 3; i++)
        enter(&admins[i], "a");
    cr_assert_eq(world.router->places[PLACE_CLIENT], 0);
    client_open(&first);
    client_start(&second, NULL);
    client_expect_end(&second, "FATAL(53300) EOF");
    cr_assert_not_null(strstr(second.message, "max_client_conn"));
    for (int i = 0; i < 3; i++)
        exchange(&admins[i], "Q here", "C(here) Z(I)");
    cr_assert_eq(world.router->places[PLACE_CLIENT], 1);
    for (int i = 0; i < 3; i++)
        client_close(&admins[i]);
    client_close(&first);
    client_close(&second);
    world_until(weir_list_is_empty(&world.router->consoles) &&
                world.router->places[PLACE_CLIENT] == 0);
    close_console();
}

Test(console, it_watches_the_drain_to_the_end)
{
    struct raw_client client, admin, late;
    open_console("admin_users = a", NULL);
    client_open(&client);
    exchange(&client, "Q begin", "C(BEGIN) Z(T)");
    enter(&admin, "a");
    weir_router_drain(world.router);
    world_turns(4);
    cr_assert_not(weir_router_is_drained(world.router));
    exchange(&admin, "Q still", "C(still) Z(I)");
    enter(&late, "a");
    client_send(&client, "Q commit");
    client_expect_end(&client, "C(COMMIT) Z(I) FATAL(57P01) EOF");
    client_close(&client);
    world_until(weir_router_is_drained(world.router));
    exchange(&admin, "Q last", "C(last) Z(I)");
    cr_assert_eq(console.detached, 0);
    weir_router_destroy(world.router);
    world.router = NULL;
    cr_assert_eq(console.detached, 2);
    client_expect_end(&admin, "FATAL(57P01) EOF");
    client_expect_end(&late, "FATAL(57P01) EOF");
    client_close(&admin);
    client_close(&late);
    close_console();
}

Test(console, one_that_is_logging_in_does_not_keep_the_daemon)
{
    struct raw_client client;
    open_console(plain, some_users);
    client_start_as(&client, "a", "pgweir", NULL);
    world_turns(4);
    weir_router_drain(world.router);
    cr_assert(weir_router_is_drained(world.router));
    client_send_password(&client, "pa");
    client_expect(&client, 1, "Z(I)");
    client_close(&client);
    close_console();
}

Test(console, kill_client_ends_the_one_that_asks_and_no_other)
{
    struct raw_client one, two;
    open_console("admin_users = a", NULL);
    enter(&one, "a");
    enter(&two, "a");
    client_send(&one, "Q kill me");
    client_expect_end(&one, "C(kill me) Z(I) FATAL(57P01) EOF");
    cr_assert_eq(console.detached, 1);
    exchange(&two, "Q here", "C(here) Z(I)");
    client_close(&one);
    client_close(&two);
    world_until(weir_list_is_empty(&world.router->consoles));
    cr_assert_eq(console.detached, 1);
    close_console();
}

Test(console, what_was_written_before_it_was_dismissed_arrives)
{
    struct raw_client client;
    open_console("admin_users = a", NULL);
    enter(&client, "a");
    /* What follows is never read. */
    client_send(&client, "Q much|Q never");
    size_t got = 0;
    static uint8_t bytes[65536];
    weir_usec limit = weir_clock_now() + 10 * WEIR_SEC;
    for (;;) {
        ssize_t length = recv(client.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (length == 0)
            break;
        cr_assert_lt(weir_clock_now(), limit);
        got += length > 0 ? (size_t)length : 0;
        world_once();
    }
    cr_assert_eq(got, WEIR_WIRE_HEADER + MUCH + 6);
    client_close(&client);
    world_until(weir_list_is_empty(&world.router->consoles));
    close_console();
}

Test(console, one_that_does_not_read_its_last_words_is_cut_off)
{
    struct raw_client client;
    open_console("admin_users = a", NULL);
    enter(&client, "a");
    client_send(&client, "Q much");
    world_until(world.router->counters.reasons[WEIR_REASON_CONSOLE_ENDED] == 1);
    cr_assert_not(weir_list_is_empty(&world.router->consoles));
    world_until(weir_list_is_empty(&world.router->consoles));
    client_close(&client);
    close_console();
}

static void send_cancel(uint32_t pid, const uint8_t *key, size_t length)
{
    struct raw_client canceller = {0};
    static const struct weir_address nobody = {0};
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    canceller.fd = ends[0];
    weir_router_accept(world.router, ends[1], &nobody);
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    size_t begin = weir_message_begin(&writer, 0);
    weir_write_u32(&writer, 80877102);
    weir_write_u32(&writer, pid);
    weir_write_bytes(&writer, key, length);
    weir_message_end(&writer, begin);
    client_send_bytes(&canceller, weir_buffer_bytes(&out), weir_buffer_length(&out));
    weir_buffer_clear(&out);
    client_expect_end(&canceller, "EOF");
    client_close(&canceller);
}

Test(console, a_cancel_request_reaches_the_client_with_its_key)
{
    struct raw_client one, two;
    open_console("admin_users = a", NULL);
    enter(&one, "a");
    struct weir_client *first = console.last;
    enter(&two, "a");
    uint8_t wrong[WEIR_CLIENT_KEY_MAX];
    memcpy(wrong, one.key, one.key_length);
    wrong[0] ^= 1;
    send_cancel(one.pid, wrong, one.key_length);
    cr_assert_eq(console.cancelled, 0);
    send_cancel(one.pid, one.key, one.key_length);
    cr_assert_eq(console.cancelled, 1);
    cr_assert_eq(console.cancelled_client, first);
    client_send(&one, "X");
    client_expect_end(&one, "EOF");
    send_cancel(one.pid, one.key, one.key_length);
    cr_assert_eq(console.cancelled, 1, "it has gone");
    client_close(&one);
    client_close(&two);
    close_console();
}

Test(console, client_login_timeout_holds)
{
    struct raw_client client;
    open_console("auth_type = plain\nclient_login_timeout = 0.3\nadmin_users = a", some_users);
    client_start_as(&client, "a", "pgweir", NULL);
    client_expect_end(&client, "FATAL(57014) EOF");
    cr_assert_eq(console.attached, 0);
    client_close(&client);
    close_console();
}

Test(console, what_came_with_the_password_is_served)
{
    struct raw_client client;
    struct weir_buffer all = {0};
    open_console(plain, some_users);
    client_start_as(&client, "a", "pgweir", NULL);
    world_turns(4);
    struct weir_writer writer = weir_writer_to(&all);
    size_t begin = weir_message_begin(&writer, 'p');
    weir_write_string(&writer, "pa");
    weir_message_end(&writer, begin);
    build(&all, "Q early|Q bird");
    client_send_bytes(&client, weir_buffer_bytes(&all), weir_buffer_length(&all));
    weir_buffer_clear(&all);
    client_expect(&client, 3, "Z(I) C(early) Z(I) C(bird) Z(I)");
    client_close(&client);
    close_console();
}

Test(console, clients_end_with_their_console)
{
    struct raw_client client, login;
    open_console(plain, some_users);
    enter_with(&client, "a", "pgweir", "pa");
    client_expect(&client, 1, "Z(I)");
    client_start_as(&login, "a", "pgweir", NULL);
    world_turns(4);
    weir_router_set_console(world.router, NULL, NULL);
    client_expect_end(&client, "FATAL(57P01) EOF");
    client_send_password(&login, "pa");
    client_expect_end(&login, "FATAL(3D000) EOF");
    cr_assert_eq(console.detached, 0);
    cr_assert_eq(console.attached, 1);
    client_close(&client);
    client_close(&login);
    close_console();
}
