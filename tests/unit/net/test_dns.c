/* Names asked of a DNS server, which is played by the test in the same loop. */
#include "support.h"

#include "weir/resolve.h"

static struct test_loop test;

struct asking {
    struct weir_resolve_query query;
    size_t count;
    int calls;
    struct weir_address addresses[8];
    char name[256];
};

static int expected_calls;

static void take(struct weir_resolve_query *query, const struct weir_resolve_result *result)
{
    struct asking *asking = weir_container_of(query, struct asking, query);
    asking->calls++;
    asking->count = result->count;
    for (size_t i = 0; i < result->count && i < 8; i++)
        asking->addresses[i] = result->addresses[i];
    snprintf(asking->name, sizeof(asking->name), "%s", result->name != NULL ? result->name : "");
    cr_assert_eq(result->problem == NULL, result->count > 0 || result->name != NULL);
    if (--expected_calls == 0)
        weir_loop_stop(&test.loop);
}

static void ask(struct asking *asking, const char *name)
{
    asking->query.done = take;
    weir_resolve_start(&test.loop, name, &asking->query);
}

static void ask_name(struct asking *asking, const char *address)
{
    struct weir_address numeric;
    cr_assert(weir_resolve_numeric(address, &numeric));
    asking->query.done = take;
    weir_resolve_start_address(&test.loop, &numeric, &asking->query);
}

static bool run(int calls)
{
    expected_calls = calls;
    return test_loop_run(&test, 40);
}

/* --- the server ------------------------------------------------------------------------ */

enum { TYPE_A = 1, TYPE_PTR = 12, TYPE_AAAA = 28 };

/* More addresses than a UDP packet of 512 bytes takes. */
#define MANY 60

static struct {
    ev_io io;
    int questions; /* of the names below, A and AAAA */
    ev_io listener;
    ev_io connection; /* the latest over TCP */
    int connections;
    uint8_t packet[2048];
    size_t got;
} server;

/* The question's end in a query of one question, or 0; its name in `name` with dots. */
static size_t read_name(const uint8_t *query, size_t length, char *name)
{
    size_t at = 12;
    while (at < length && query[at] != 0) {
        size_t label = query[at++];
        if (at + label >= length)
            return 0;
        memcpy(name, query + at, label);
        name += label;
        *name++ = '.';
        at += label;
    }
    *name = '\0';
    return at + 5 <= length ? at + 5 : 0;
}

static size_t add_address(uint8_t *reply, size_t at, uint8_t last)
{
    /* A pointer to the name, type A, class IN, TTL 60, four bytes. */
    const uint8_t record[] = {0xc0, 12, 0, TYPE_A, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, last};
    memcpy(reply + at, record, sizeof record);
    return at + sizeof record;
}

/* The name "NAME.test": `name` is one label. */
static size_t add_name(uint8_t *reply, size_t at, const char *name)
{
    uint8_t length = (uint8_t)strlen(name);
    const uint8_t record[] = {0xc0, 12, 0, TYPE_PTR, 0, 1, 0, 0, 0, 60, 0, (uint8_t)(length + 7)};
    memcpy(reply + at, record, sizeof record);
    at += sizeof record;
    reply[at++] = length;
    memcpy(reply + at, name, length);
    memcpy(reply + at + length, "\4test", 6);
    return at + length + 6;
}

/* Names of the addresses 127.0.0.2 and ::ffff:2, and of 127.0.0.3 one that no host has. */
static size_t answer_address(const char *name, uint8_t *packet, size_t length)
{
    const char *found = NULL;
    if (strcmp(name, "2.0.0.127.in-addr.arpa.") == 0 ||
        strncmp(name, "2.0.0.0.f.f.f.f.0.0.", 20) == 0)
        found = "db";
    else if (strcmp(name, "3.0.0.127.in-addr.arpa.") == 0)
        found = "d b\n";
    if (found == NULL) {
        packet[3] |= 3; /* no such name */
        return length;
    }
    packet[7] = 1;
    return add_name(packet, length, found);
}

/* Makes the answer of a question; 0: there is none. */
static size_t answer(uint8_t *packet, size_t got, bool over_tcp)
{
    char name[1024];
    size_t end = got < 17 ? 0 : read_name(packet, got, name);
    cr_assert_gt(end, 0);
    int type = packet[end - 3];
    server.questions++;
    if (strncmp(name, "silent.", 7) == 0 || strcmp(name, "9.0.0.127.in-addr.arpa.") == 0)
        return 0;
    packet[2] = 0x84; /* an answer, authoritative */
    packet[3] = 0x80;
    memset(packet + 6, 0, 6); /* no records yet */
    size_t length = end;
    if (type == TYPE_PTR)
        return answer_address(name, packet, length);
    if (strcmp(name, "many.test.") == 0) {
        if (!over_tcp)
            packet[2] |= 2; /* cut: ask by TCP */
        else if (type == TYPE_A)
            for (uint8_t i = 0; i < MANY; i++, packet[7]++)
                length = add_address(packet, length, (uint8_t)(2 + i));
    } else if (strcmp(name, "db.test.") != 0) {
        packet[3] |= 3; /* no such name */
    } else if (type == TYPE_A) {
        packet[7] = 2;
        length = add_address(packet, length, 2);
        length = add_address(packet, length, 3);
    }
    return length;
}

static void serve(struct ev_loop *ev, ev_io *watcher, int revents)
{
    uint8_t packet[2048];
    struct weir_address from = {.length = sizeof from.storage};
    ssize_t got = recvfrom(watcher->fd, packet, 1024, 0, &from.any, &from.length);
    if (got < 17)
        return;
    size_t length = answer(packet, (size_t)got, false);
    if (length > 0)
        cr_assert_eq(sendto(watcher->fd, packet, length, 0, &from.any, from.length),
                     (ssize_t)length);
}

/* By TCP each message has its length before it. */
static void serve_connection(struct ev_loop *ev, ev_io *watcher, int revents)
{
    ssize_t got = recv(watcher->fd, server.packet + server.got, 1024 - server.got, 0);
    if (got <= 0) {
        ev_io_stop(ev, watcher);
        return;
    }
    server.got += (size_t)got;
    size_t asked;
    while (server.got >= 2 &&
           server.got >= 2 + (asked = (size_t)(server.packet[0] << 8 | server.packet[1]))) {
        uint8_t reply[2048];
        memcpy(reply, server.packet, 2 + asked);
        server.got -= 2 + asked;
        memmove(server.packet, server.packet + 2 + asked, server.got);
        size_t length = answer(reply + 2, asked, true);
        reply[0] = (uint8_t)(length >> 8);
        reply[1] = (uint8_t)length;
        /* In two pieces, the first of which ends within the length. */
        cr_assert_eq(send(watcher->fd, reply, 1, 0), 1);
        cr_assert_eq(send(watcher->fd, reply + 1, 1 + length, 0), (ssize_t)(1 + length));
    }
}

static void accept_connection(struct ev_loop *ev, ev_io *watcher, int revents)
{
    int fd = accept4(watcher->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    cr_assert_geq(fd, 0);
    if (server.connections++ > 0) {
        ev_io_stop(ev, &server.connection);
        close(server.connection.fd);
    }
    server.got = 0;
    ev_io_init(&server.connection, serve_connection, fd, EV_READ);
    ev_io_start(ev, &server.connection);
}

static int bind_loopback(int type, int port)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (struct sockaddr *)(void *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

static void open_all(void)
{
    cr_assert(weir_loop_init(&test.loop));
    int udp = -1, tcp = -1, port = 0;
    for (int tries = 0; udp < 0 && tries < 50; tries++) {
        /* The kernel's choice for TCP may be taken for UDP. */
        struct sockaddr_in address = {0};
        socklen_t length = sizeof address;
        tcp = bind_loopback(SOCK_STREAM, 0);
        cr_assert_eq(getsockname(tcp, (struct sockaddr *)(void *)&address, &length), 0);
        port = ntohs(address.sin_port);
        udp = bind_loopback(SOCK_DGRAM, port);
        if (udp < 0)
            close(tcp);
    }
    cr_assert_geq(udp, 0);
    cr_assert_eq(listen(tcp, 4), 0);
    ev_io_init(&server.io, serve, udp, EV_READ);
    ev_io_start(test.loop.ev, &server.io);
    ev_io_init(&server.listener, accept_connection, tcp, EV_READ);
    ev_io_start(test.loop.ev, &server.listener);
    char text[64];
    snprintf(text, sizeof text, "127.0.0.1:%d", port);
    weir_resolver_use_servers(&test.loop, text);
}

static void close_all(void)
{
    ev_io_stop(test.loop.ev, &server.io);
    close(server.io.fd);
    ev_io_stop(test.loop.ev, &server.listener);
    close(server.listener.fd);
    if (server.connections > 0) {
        ev_io_stop(test.loop.ev, &server.connection);
        close(server.connection.fd);
    }
    weir_loop_fini(&test.loop);
}

TestSuite(dns, .init = open_all, .fini = close_all, .timeout = 90);

Test(dns, every_address_of_a_name)
{
    struct asking asking = {0};
    ask(&asking, "db.test");
    cr_assert(run(1));
    cr_assert_eq(asking.count, 2);
    int sum = 0;
    for (int i = 0; i < 2; i++) {
        char text[64];
        weir_address_print(&asking.addresses[i], text, sizeof text);
        sum += strcmp(text, "127.0.0.2:0") == 0 ? 1 : 0;
        sum += strcmp(text, "127.0.0.3:0") == 0 ? 10 : 0;
    }
    cr_assert_eq(sum, 11);
}

Test(dns, askers_share_and_the_answer_is_kept_for_a_while)
{
    struct asking asking[4] = {0};
    for (int i = 0; i < 3; i++)
        ask(&asking[i], "db.test");
    cr_assert(run(3));
    cr_assert_eq(server.questions, 2, "one for IPv4, one for IPv6");
    for (int i = 0; i < 3; i++)
        cr_assert_eq(asking[i].count, 2);
    ask(&asking[3], "db.test");
    cr_assert(run(1));
    cr_assert_eq(server.questions, 2);
    cr_assert_eq(asking[3].count, 2);
    test.loop.now += 16 * WEIR_SEC;
    ask(&asking[3], "db.test");
    cr_assert(run(1));
    cr_assert_eq(server.questions, 4);
    cr_assert_eq(asking[3].count, 2);
}

Test(dns, failures_are_not_kept)
{
    struct asking asking = {0};
    ask(&asking, "gone.test");
    cr_assert(run(1));
    cr_assert_eq(asking.count, 0);
    int questions = server.questions;
    cr_assert_gt(questions, 0);
    ask(&asking, "gone.test");
    cr_assert(run(1));
    cr_assert_eq(asking.calls, 2);
    cr_assert_eq(server.questions, 2 * questions);
}

Test(dns, the_name_of_an_address)
{
    struct asking asking[3] = {0};
    ask_name(&asking[0], "127.0.0.2");
    ask_name(&asking[1], "::ffff:127.0.0.2");
    ask_name(&asking[2], "::ffff:2");
    cr_assert(run(3));
    cr_expect_eq(server.questions, 2, "IPv4 inside IPv6 is the same address");
    for (int i = 0; i < 3; i++)
        cr_expect_str_eq(asking[i].name, "db.test");
    cr_expect_eq(asking[0].count, 0);
    /* It is kept, and apart from the name that looks the same. */
    ask_name(&asking[0], "127.0.0.2");
    ask(&asking[1], "127.0.0.2");
    cr_assert(run(2));
    cr_expect_str_eq(asking[0].name, "db.test");
    cr_expect_str_eq(asking[1].name, "");
    int questions = server.questions;
    ask_name(&asking[0], "127.0.0.2");
    cr_assert(run(1));
    cr_expect_eq(server.questions, questions);
    test.loop.now += 16 * WEIR_SEC;
    ask_name(&asking[0], "127.0.0.2");
    cr_assert(run(1));
    cr_expect_eq(server.questions, questions + 1);
}

Test(dns, an_address_without_a_name)
{
    struct asking asking[3] = {0};
    ask_name(&asking[0], "127.0.0.7");
    cr_assert(run(1));
    cr_expect_str_eq(asking[0].name, "");
    cr_expect_eq(asking[0].calls, 1);
    int questions = server.questions;
    ask_name(&asking[0], "127.0.0.7");
    cr_assert(run(1));
    cr_expect_gt(server.questions, questions, "that is not kept");
    /* What is no name of a host, with a line break in it, is none. */
    ask_name(&asking[0], "127.0.0.3");
    cr_assert(run(1));
    cr_expect_str_eq(asking[0].name, "");
    /* One that nobody answers for, and one that is no longer wanted. */
    ask_name(&asking[1], "127.0.0.9");
    ask_name(&asking[2], "127.0.0.9");
    for (int i = 0; i < 5; i++)
        test_loop_turn(&test);
    weir_resolve_cancel(&asking[2].query);
    cr_assert(run(1));
    cr_expect_eq(asking[1].calls, 1);
    cr_expect_str_eq(asking[1].name, "");
    cr_expect_eq(asking[2].calls, 0);
}

/* The answer does not fit into a UDP packet. */
Test(dns, cut_answers_are_asked_for_by_tcp)
{
    struct asking asking = {0};
    ask(&asking, "many.test");
    cr_assert(run(1));
    cr_assert_eq(asking.count, MANY);
    cr_assert_gt(server.connections, 0);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(asking.addresses[i].any.sa_family, AF_INET);
    ask(&asking, "db.test");
    cr_assert(run(1));
    cr_assert_eq(asking.count, 2);
}

/* The cache stays bounded; what it drops is simply asked again. */
Test(dns, very_many_names)
{
    struct asking asking = {0};
    for (int i = 0; i < 600; i++) {
        char name[64];
        snprintf(name, sizeof name, i % 3 == 0 ? "db.test" : "gone%d.test", i);
        ask(&asking, name);
        cr_assert(run(1));
        cr_assert_eq(asking.count, i % 3 == 0 ? 2 : 0);
    }
}

Test(dns, silence_ends_in_a_failure_and_blocks_nothing)
{
    struct asking asking[2] = {0};
    weir_usec began = weir_clock_now();
    ask(&asking[0], "silent.test");
    ask(&asking[1], "db.test");
    cr_assert(run(1));
    cr_assert_eq(asking[1].count, 2);
    cr_assert_eq(asking[0].calls, 0);
    test.loop.longest_turn = 0;
    cr_assert(run(1));
    cr_assert_eq(asking[0].count, 0);
    cr_assert_geq(weir_clock_now() - began, WEIR_SEC);
    cr_assert_lt(test.loop.longest_turn, WEIR_SEC);
}

Test(dns, loop_may_end_while_the_server_is_silent)
{
    static struct asking asking[2]; /* outlives the loop */
    ask(&asking[0], "silent.test");
    ask(&asking[1], "silent.other");
    for (int i = 0; i < 5; i++)
        test_loop_turn(&test);
    weir_resolve_cancel(&asking[1].query);
    cr_assert_gt(server.questions, 0);
    cr_assert_eq(asking[0].calls, 0);
}

static int dials;

static void dialled(void *context, const struct weir_dial_result *result)
{
    char text[64];
    cr_assert_geq(result->fd, 0, "%s", result->problem);
    weir_address_print(&result->address, text, sizeof text);
    cr_assert_eq(strncmp(text, "127.0.0.3:", 10), 0, "%s", text);
    close(result->fd);
    dials++;
    weir_loop_stop(&test.loop);
}

/* Only the second address of the name listens. */
Test(dns, dial_tries_every_address_of_a_name)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000003)};
    socklen_t length = sizeof address;
    cr_assert_eq(bind(fd, (struct sockaddr *)(void *)&address, length), 0);
    cr_assert_eq(listen(fd, 4), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)(void *)&address, &length), 0);
    struct weir_dial_host host = {"db.test", ntohs(address.sin_port)};
    cr_assert_not_null(weir_dial_start(&test.loop, &host, 1, 0, dialled, NULL));
    cr_assert(test_loop_run(&test, 30));
    cr_assert_eq(dials, 1);
    close(fd);
}
