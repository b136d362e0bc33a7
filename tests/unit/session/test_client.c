/* The login of a client over a socket pair: what it sends in whatever pieces, what it is told, and
 * what the room above is told. */
#include "weir/session.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/log.h"
#include "weir/memory.h"

/* Of the leak checker, in builds that have it. */
__attribute__((weak)) int __lsan_do_recoverable_leak_check(void);

static struct weir_loop loop;
static struct weir_auth_context *auth;
static struct weir_client client;
static int peer = -1;

/* What the room above was asked and answers. */
static int admitted, welcomed, cancelled, ended;
static enum weir_reason end_reason;
static bool refuse;
static struct weir_admission admission;
static uint32_t cancel_pid;
static uint8_t cancel_key[WEIR_CANCEL_KEY_MAX];
static size_t cancel_length;
/* Of the login struct, when it was complete. */
static char *user, *database, *replication;
static char settings[4096];
static uint8_t password_seen;

static bool on_admit(struct weir_client *asked, struct weir_admission *answer)
{
    struct weir_client_login *login = asked->login;
    admitted++;
    free(user);
    free(database);
    free(replication);
    user = weir_strdup(login->user);
    database = weir_strdup(login->database);
    replication = weir_strdup(login->replication);
    settings[0] = '\0';
    for (size_t i = 0; i < login->setting_count; i++) {
        size_t used = strlen(settings);
        snprintf(settings + used, sizeof settings - used, "%s%s=%s", i > 0 ? " " : "",
                 login->settings[i].name, login->settings[i].value);
    }
    if (refuse) {
        login->refusal = WEIR_REASON_TOO_MANY_CLIENTS;
        login->refusal_text = weir_strdup("come back later");
        return false;
    }
    *answer = admission;
    return true;
}

static void on_logged_in(struct weir_client *who)
{
    welcomed++;
    password_seen = who->login->credentials.password != NULL;
    weir_client_login_free(who);
}

static void on_cancel(struct weir_client *who, uint32_t pid, const uint8_t *key, size_t length)
{
    cancelled++;
    cancel_pid = pid;
    cancel_length = length;
    cr_assert_leq(length, sizeof cancel_key);
    memcpy(cancel_key, key, length);
    weir_client_close(who);
}

static void on_ended(struct weir_client *who, enum weir_reason reason)
{
    ended++;
    end_reason = reason;
    weir_client_close(who);
}

static const struct weir_session_ops ops = {
    .admit = on_admit, .logged_in = on_logged_in, .cancel = on_cancel, .login_ended = on_ended};

static void open_pair(void)
{
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    peer = ends[1];
    cr_assert_eq(fcntl(peer, F_SETFL, O_NONBLOCK), 0);
    admitted = welcomed = cancelled = ended = 0;
    end_reason = WEIR_REASON_COUNT;
    client = (struct weir_client){0};
    weir_client_open(&client, &loop, ends[0], auth, &ops, 0);
}

static void close_pair(void)
{
    weir_client_close(&client);
    if (peer >= 0)
        close(peer);
    peer = -1;
}

static void create(void)
{
    cr_assert(weir_loop_init(&loop));
    auth = weir_auth_context_create();
    admission = (struct weir_admission){.method = WEIR_AUTH_TRUST};
    refuse = false;
    open_pair();
}

/* The last line of a test, which can fail here. */
static void finish(void)
{
    close_pair();
    free(user);
    free(database);
    free(replication);
    user = database = replication = NULL;
    weir_auth_context_destroy(auth);
    weir_loop_fini(&loop);
    weir_require(__lsan_do_recoverable_leak_check == NULL ||
                 __lsan_do_recoverable_leak_check() == 0);
}

TestSuite(session, .init = create, .timeout = 60);

static void reopen(void)
{
    close_pair();
    open_pair();
}

static void turns(int count)
{
    for (int i = 0; i < count; i++)
        ev_run(loop.ev, EVRUN_NOWAIT);
}

static void send_bytes(const void *bytes, size_t length)
{
    cr_assert_eq(send(peer, bytes, length, MSG_NOSIGNAL), (ssize_t)length);
}

/* --- packets
 * ------------------------------------------------------------------------------------------------ */

/* "name=value" pairs, NULL ended. */
static struct weir_buffer startup(uint32_t version, const char *const *pairs)
{
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    size_t begin = weir_message_begin(&writer, 0);
    weir_write_u32(&writer, version);
    for (; *pairs != NULL; pairs++) {
        const char *equals = strchr(*pairs, '=');
        weir_write_bytes(&writer, *pairs, (size_t)(equals - *pairs));
        weir_write_u8(&writer, 0);
        weir_write_string(&writer, equals + 1);
    }
    weir_write_u8(&writer, 0);
    weir_message_end(&writer, begin);
    return out;
}

static void send_startup(uint32_t version, const char *const *pairs)
{
    struct weir_buffer out = startup(version, pairs);
    send_bytes(weir_buffer_bytes(&out), weir_buffer_length(&out));
    weir_buffer_clear(&out);
}

static void log_in(const char *const *pairs)
{
    send_startup(WEIR_PROTOCOL_3_0, pairs);
    turns(3);
}

static void send_password(const void *body, size_t length)
{
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    weir_write_password(&writer, body, length);
    send_bytes(weir_buffer_bytes(&out), weir_buffer_length(&out));
    weir_buffer_clear(&out);
}

static const uint8_t ssl_request[] = {0, 0, 0, 8, 4, 210, 22, 47};
static const uint8_t gss_request[] = {0, 0, 0, 8, 4, 210, 22, 48};
static const char *const plain[] = {"user=u", "database=d", NULL};

static uint8_t answer[8192];
static size_t answer_length;

/* Reads what the client was sent. */
static size_t receive(void)
{
    ssize_t got = recv(peer, answer, sizeof answer, MSG_DONTWAIT);
    answer_length = got > 0 ? (size_t)got : 0;
    return answer_length;
}

/* The peer gets exactly one FATAL and the end of file. */
static void expect_fatal(const char *sqlstate, const char *text)
{
    struct weir_error_fields fields;
    turns(3);
    cr_assert_gt(receive(), 5);
    cr_assert_eq(answer[0], 'E');
    cr_assert_eq(weir_get_u32(answer + 1) + 1, answer_length);
    cr_assert(weir_error_parse(answer + 5, answer_length - 5, &fields));
    cr_assert_str_eq(fields.severity, "FATAL");
    cr_assert_str_eq(fields.sqlstate, sqlstate);
    if (text != NULL)
        cr_assert_not_null(strstr(fields.message, text), "\"%s\"", fields.message);
    cr_assert_eq(recv(peer, answer, sizeof answer, MSG_DONTWAIT), 0);
    cr_assert_eq(ended, 1);
    cr_assert_eq(client.state, WEIR_CLIENT_CLOSED);
}

/* --- the startup packet
 * --------------------------------------------------------------------------------------- */

Test(session, startup_cut_at_every_byte)
{
    struct weir_buffer packet =
        startup(WEIR_PROTOCOL_3_0, (const char *const[]){"user=somebody", "database=db",
                                                         "application_name=a b", NULL});
    size_t length = weir_buffer_length(&packet);
    const uint8_t *bytes = weir_buffer_bytes(&packet);
    for (size_t cut = 0; cut <= length; cut++) {
        reopen();
        if (cut > 0)
            send_bytes(bytes, cut);
        turns(2);
        cr_assert_eq(admitted, cut == length, "cut at %zu", cut);
        cr_assert_eq(client.state, cut == length ? WEIR_CLIENT_GREETING : WEIR_CLIENT_STARTUP);
        if (cut < length)
            send_bytes(bytes + cut, length - cut);
        turns(2);
        cr_assert_eq(admitted, 1);
        cr_assert_eq(welcomed, 1);
        cr_assert_str_eq(user, "somebody");
        cr_assert_str_eq(database, "db");
        cr_assert_str_eq(settings, "application_name=a b");
        /* Trust says nothing before the welcome, which is the room's above. */
        cr_assert_eq(receive(), 0);
    }
    weir_buffer_clear(&packet);
    finish();
}

Test(session, startup_in_single_bytes)
{
    struct weir_buffer packet = startup(WEIR_PROTOCOL_3_0, plain);
    for (size_t i = 0; i < weir_buffer_length(&packet); i++) {
        cr_assert_eq(admitted, 0);
        send_bytes(weir_buffer_bytes(&packet) + i, 1);
        turns(1);
    }
    cr_assert_eq(welcomed, 1);
    weir_buffer_clear(&packet);
    finish();
}

Test(session, what_follows_the_startup_is_kept_for_the_room_above)
{
    struct weir_buffer packet = startup(WEIR_PROTOCOL_3_0, plain);
    cr_assert(weir_buffer_append(&packet, "Q\0\0\0\6x", 7));
    send_bytes(weir_buffer_bytes(&packet), weir_buffer_length(&packet));
    turns(2);
    cr_assert_eq(welcomed, 1);
    uint8_t *bytes;
    size_t length;
    weir_stream_unread(&client.stream, &bytes, &length);
    cr_assert_eq(length, 7);
    cr_assert_eq(memcmp(bytes, "Q\0\0\0\6x", 7), 0);
    weir_buffer_clear(&packet);
    finish();
}

Test(session, database_is_the_user_when_there_is_none)
{
    log_in((const char *const[]){"user=somebody", NULL});
    cr_assert_str_eq(database, "somebody");
    reopen();
    log_in((const char *const[]){"database=", "user=other", NULL});
    cr_assert_str_eq(database, "other");
    finish();
}

Test(session, no_user_is_refused)
{
    log_in((const char *const[]){"database=d", NULL});
    expect_fatal("28000", "user name");
    cr_assert_eq(end_reason, WEIR_REASON_NO_USER);
    reopen();
    log_in((const char *const[]){"user=", NULL});
    expect_fatal("28000", NULL);
    cr_assert_eq(admitted, 0);
    finish();
}

Test(session, replication_is_recognised)
{
    static const struct {
        const char *given, *taken;
    } rows[] = {
        {"replication=database", "database"},
        {"replication=true", "true"},
        {"replication=1", "1"},
        {"replication=0", NULL},
        {"replication=off", NULL},
        {"replication=FALSE", NULL},
        {"replication=no", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        reopen();
        log_in((const char *const[]){"user=u", rows[i].given, NULL});
        cr_assert_eq(welcomed, 1);
        if (rows[i].taken == NULL)
            cr_assert_null(replication, "%s", rows[i].given);
        else
            cr_assert_str_eq(replication, rows[i].taken);
    }
    finish();
}

Test(session, options_are_split_and_come_before_the_other_settings)
{
    static const struct {
        const char *options, *settings;
    } rows[] = {
        {"options=-c a=1", "a=1"},
        {"options=-c a=1 -cb=2 --c-d=3", "a=1 b=2 c_d=3"},
        {"options=  -c search_path=x\\ y,z  ", "search_path=x y,z"},
        {"options=-c a=1 -c a=2", "a=2"},
        {"options=", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        reopen();
        log_in((const char *const[]){"user=u", rows[i].options, NULL});
        cr_assert_eq(welcomed, 1, "%s", rows[i].options);
        cr_assert_str_eq(settings, rows[i].settings);
    }
    reopen();
    log_in((const char *const[]){"user=u", "a=packet", "options=-c a=option -c b=2", NULL});
    cr_assert_str_eq(settings, "a=packet b=2");
    finish();
}

Test(session, switch_that_cannot_be_honoured_is_refused)
{
    static const char *const bad[] = {"options=-W 5", "options=-c a=1 -P", "options=plain"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        reopen();
        log_in((const char *const[]){"user=u", "a=1", bad[i], NULL});
        expect_fatal("0A000", "startup option");
        cr_assert_eq(admitted, 0);
        cr_assert_eq(end_reason, WEIR_REASON_UNSUPPORTED);
    }
    finish();
}

Test(session, too_many_settings_are_refused)
{
    enum { MANY = 600 };
    static char texts[MANY][16];
    const char *pairs[MANY + 2] = {"user=u"};
    for (int i = 0; i < MANY; i++) {
        snprintf(texts[i], sizeof texts[i], "s%d=1", i);
        pairs[i + 1] = texts[i];
    }
    pairs[MANY + 1] = NULL;
    log_in(pairs);
    expect_fatal("53200", NULL);
    reopen();
    pairs[500] = NULL;
    log_in(pairs);
    cr_assert_eq(welcomed, 1);
    finish();
}

/* As many by `options` as by name. */
Test(session, too_many_options_are_refused)
{
    char *text = weir_alloc(20000), *at = text;
    at += sprintf(at, "options=");
    for (int i = 0; i < 600; i++)
        at += sprintf(at, "-c s%d=1 ", i);
    log_in((const char *const[]){"user=u", "a=1", text, NULL});
    expect_fatal("53200", NULL);
    free(text);
    finish();
}

Test(session, bad_packets_are_refused)
{
    static const struct {
        const char *bytes;
        size_t length;
    } rows[] = {
        {"\0\0\0\4", 4},           {"\0\0\0\7\0\3\0", 7},      {"\xff\xff\xff\xff\0\3\0\0", 8},
        {"\0\x10\0\0\0\3\0\0", 8}, {"\0\0\0\x8\0\2\0\0", 8},   {"\0\0\0\xe\0\3\0\0user\0u", 14},
        {"\0\0\0\x8\0\4\0\0", 8},  {"GET / HTTP/1.1\r\n", 16},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        reopen();
        send_bytes(rows[i].bytes, rows[i].length);
        expect_fatal("08P01", NULL);
        cr_assert_eq(end_reason, WEIR_REASON_PROTOCOL, "row %zu", i);
    }
    finish();
}

Test(session, peer_that_leaves_is_told_nothing)
{
    close(peer);
    peer = -1;
    turns(2);
    cr_assert_eq(ended, 1);
    cr_assert_eq(end_reason, WEIR_REASON_CLIENT_GONE);
    reopen();
    send_bytes(ssl_request, 3);
    cr_assert_eq(shutdown(peer, SHUT_WR), 0);
    turns(2);
    cr_assert_eq(ended, 1);
    cr_assert_eq(receive(), 0);
    finish();
}

/* --- encryption requests
 * -------------------------------------------------------------------------------------- */

static void ask(const uint8_t *request)
{
    send_bytes(request, 8);
    turns(2);
    cr_assert_eq(receive(), 1);
    cr_assert_eq(answer[0], 'N');
    cr_assert_eq(client.state, WEIR_CLIENT_STARTUP);
}

Test(session, encryption_is_declined_in_any_order_and_the_startup_follows)
{
    const uint8_t *const orders[][2] = {{ssl_request, gss_request},
                                        {gss_request, ssl_request},
                                        {ssl_request, NULL},
                                        {gss_request, NULL}};
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        reopen();
        ask(orders[i][0]);
        if (orders[i][1] != NULL)
            ask(orders[i][1]);
        log_in(plain);
        cr_assert_eq(welcomed, 1);
    }
    finish();
}

Test(session, request_cut_at_every_byte)
{
    for (size_t cut = 1; cut < 8; cut++) {
        reopen();
        send_bytes(ssl_request, cut);
        turns(2);
        cr_assert_eq(receive(), 0);
        send_bytes(ssl_request + cut, 8 - cut);
        turns(2);
        cr_assert_eq(receive(), 1);
        log_in(plain);
        cr_assert_eq(welcomed, 1);
    }
    finish();
}

/* Sent before the answer was known: a man in the middle may have put it there. */
Test(session, smuggled_bytes_are_refused)
{
    struct weir_buffer packet = startup(WEIR_PROTOCOL_3_0, plain);
    for (size_t extra = 1; extra <= weir_buffer_length(&packet); extra++) {
        reopen();
        struct weir_buffer out = {0};
        cr_assert(weir_buffer_append(&out, extra % 2 ? ssl_request : gss_request, 8));
        cr_assert(weir_buffer_append(&out, weir_buffer_bytes(&packet), extra));
        send_bytes(weir_buffer_bytes(&out), weir_buffer_length(&out));
        expect_fatal("08P01", "unencrypted data");
        cr_assert_eq(admitted, 0);
        weir_buffer_clear(&out);
    }
    weir_buffer_clear(&packet);
    finish();
}

Test(session, each_request_may_come_once)
{
    ask(ssl_request);
    send_bytes(ssl_request, 8);
    expect_fatal("08P01", NULL);
    finish();
}

/* --- cancel requests
 * ------------------------------------------------------------------------------------------ */

Test(session, cancel_request_with_keys_of_every_length)
{
    for (size_t length = 4; length <= WEIR_CANCEL_KEY_MAX; length += length < 40 ? 1 : 54) {
        uint8_t packet[12 + WEIR_CANCEL_KEY_MAX];
        reopen();
        weir_put_u32(packet, (uint32_t)(12 + length));
        weir_put_u32(packet + 4, 80877102);
        weir_put_u32(packet + 8, 4711);
        for (size_t i = 0; i < length; i++)
            packet[12 + i] = (uint8_t)(i + length);
        send_bytes(packet, 11 + length);
        turns(2);
        cr_assert_eq(cancelled, 0);
        send_bytes(packet + 11 + length, 1);
        turns(2);
        cr_assert_eq(cancelled, 1, "%zu", length);
        cr_assert_eq(cancel_pid, 4711);
        cr_assert_eq(cancel_length, length);
        cr_assert_eq(memcmp(cancel_key, packet + 12, length), 0);
        cr_assert_eq(receive(), 0);
    }
    finish();
}

/* --- protocol versions
 * ---------------------------------------------------------------------------------------- */

/* Reads one NegotiateProtocolVersion. */
static void expect_negotiation(uint32_t version, uint32_t count, const char *const *names)
{
    struct weir_reader reader;
    cr_assert_gt(receive(), 5);
    cr_assert_eq(answer[0], 'v');
    cr_assert_eq(weir_get_u32(answer + 1) + 1, answer_length, "exactly one message");
    weir_reader_init(&reader, answer + 5, answer_length - 5);
    cr_assert_eq(weir_read_u32(&reader), version);
    cr_assert_eq(weir_read_u32(&reader), count);
    for (uint32_t i = 0; i < count; i++)
        cr_assert_str_eq(weir_read_string(&reader), names[i]);
    cr_assert_not(reader.failed);
    cr_assert_eq(weir_reader_left(&reader), 0);
}

Test(session, versions_are_negotiated_exactly_once)
{
    static const struct {
        uint32_t asked, spoken;
    } rows[] = {
        {WEIR_PROTOCOL_3_0, WEIR_PROTOCOL_3_0}, {WEIR_PROTOCOL_3_2, WEIR_PROTOCOL_3_2},
        {0x00030001, WEIR_PROTOCOL_3_0},        {0x00030003, WEIR_PROTOCOL_3_2},
        {0x0003270f, WEIR_PROTOCOL_3_2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        reopen();
        send_startup(rows[i].asked, plain);
        turns(3);
        cr_assert_eq(welcomed, 1);
        cr_assert_eq(client.protocol, rows[i].spoken);
        if (rows[i].asked == rows[i].spoken)
            cr_assert_eq(receive(), 0);
        else
            expect_negotiation(rows[i].spoken, 0, NULL);
        turns(2);
        cr_assert_eq(receive(), 0);
    }
    finish();
}

Test(session, unknown_protocol_options_are_named)
{
    static const char *const names[] = {"_pq_.one", "_pq_.two"};
    send_startup(WEIR_PROTOCOL_3_0,
                 (const char *const[]){"_pq_.one=1", "user=u", "a=1", "_pq_.two=", NULL});
    turns(3);
    cr_assert_eq(welcomed, 1);
    expect_negotiation(WEIR_PROTOCOL_3_0, 2, names);
    cr_assert_str_eq(settings, "a=1");
    reopen();
    send_startup(0x0003270f, (const char *const[]){"user=u", "_pq_.one=1", NULL});
    turns(3);
    expect_negotiation(WEIR_PROTOCOL_3_2, 1, names);
    finish();
}

/* --- proof
 * ---------------------------------------------------------------------------------------------------- */

Test(session, refused_by_the_room_above)
{
    refuse = true;
    log_in(plain);
    expect_fatal("53300", "come back later");
    cr_assert_eq(end_reason, WEIR_REASON_TOO_MANY_CLIENTS);
    cr_assert_eq(welcomed, 0);
    finish();
}

static void expect_request(uint32_t code)
{
    turns(2);
    cr_assert_geq(receive(), 9);
    cr_assert_eq(answer[0], 'R');
    cr_assert_eq(weir_get_u32(answer + 5), code);
    cr_assert_eq(client.state, WEIR_CLIENT_PROVING);
}

Test(session, plain_password_right_and_wrong)
{
    admission = (struct weir_admission){.method = WEIR_AUTH_PLAIN, .secret = "pencil"};
    log_in(plain);
    expect_request(3);
    send_password("pencil", 7);
    turns(2);
    cr_assert_eq(welcomed, 1);
    cr_assert(password_seen);
    for (int unknown = 0; unknown < 2; unknown++) {
        reopen();
        admission.secret = unknown ? NULL : "pencil";
        log_in(plain);
        expect_request(3);
        send_password("pencim", 7);
        expect_fatal("28P01", "password authentication failed for user \"u\"");
        cr_assert_eq(end_reason, WEIR_REASON_AUTH_FAILED);
        cr_assert_eq(welcomed, 0);
    }
    finish();
}

Test(session, rejected_whatever_it_says)
{
    admission = (struct weir_admission){.method = WEIR_AUTH_REJECT, .secret = "pencil"};
    log_in(plain);
    if (client.state == WEIR_CLIENT_PROVING) {
        receive();
        send_password("pencil", 7);
    }
    turns(3);
    cr_assert_eq(ended, 1);
    cr_assert_eq(welcomed, 0);
    cr_assert_eq(end_reason, WEIR_REASON_AUTH_FAILED);
    finish();
}

Test(session, password_message_cut_at_every_byte)
{
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    weir_write_password(&writer, "pencil", 7);
    size_t length = weir_buffer_length(&out);
    admission = (struct weir_admission){.method = WEIR_AUTH_PLAIN, .secret = "pencil"};
    for (size_t cut = 1; cut < length; cut++) {
        reopen();
        log_in(plain);
        expect_request(3);
        send_bytes(weir_buffer_bytes(&out), cut);
        turns(2);
        cr_assert_eq(welcomed, 0);
        send_bytes(weir_buffer_bytes(&out) + cut, length - cut);
        turns(2);
        cr_assert_eq(welcomed, 1);
    }
    weir_buffer_clear(&out);
    finish();
}

Test(session, anything_but_a_password_is_refused)
{
    static const struct {
        const char *bytes;
        size_t length;
    } rows[] = {{"Q\0\0\0\6x", 7}, {"p\0\0\0\3", 5},        {"p\xff\xff\xff\xff", 5},
                {"p\0\2\0\0", 5},  {"X\0\0\0\4", 5},        {"\0\0\0\x8\4\xd2\x16\x2f", 8},
                {"p\0\0\0\4", 5},  {"p\0\0\0\xanoend!", 11}};
    admission = (struct weir_admission){.method = WEIR_AUTH_PLAIN, .secret = "pencil"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        reopen();
        log_in(plain);
        expect_request(3);
        send_bytes(rows[i].bytes, rows[i].length);
        turns(3);
        cr_assert_eq(ended, 1, "row %zu", i);
        cr_assert_eq(welcomed, 0, "row %zu", i);
        cr_assert(end_reason == WEIR_REASON_PROTOCOL || end_reason == WEIR_REASON_AUTH_FAILED);
    }
    finish();
}

static void send_scram_first(void)
{
    struct weir_buffer body = {0};
    struct weir_writer writer = weir_writer_to(&body);
    static const char first[] = "n,,n=,r=fyko+d2lbbFgONRv9qkxdawL";
    weir_write_string(&writer, "SCRAM-SHA-256");
    weir_write_u32(&writer, sizeof first - 1);
    weir_write_bytes(&writer, first, sizeof first - 1);
    send_password(weir_buffer_bytes(&body), weir_buffer_length(&body));
    weir_buffer_clear(&body);
}

Test(session, unknown_user_gets_a_scram_exchange_as_any_other)
{
    admission = (struct weir_admission){.method = WEIR_AUTH_SCRAM, .secret = NULL};
    log_in(plain);
    expect_request(10);
    send_scram_first();
    expect_request(11);
    char last[512];
    const char *nonce = strstr((const char *)answer + 9, "r=");
    cr_assert_not_null(nonce);
    snprintf(last, sizeof last, "c=biws,%.*s,p=%s", (int)strcspn(nonce, ","), nonce,
             "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    send_password(last, strlen(last));
    for (int i = 0; i < 1000 && ended == 0; i++)
        turns(1);
    expect_fatal("28P01", "password authentication failed");
    finish();
}

/* Key derivation is cut into slices: a client that leaves meanwhile costs nothing. */
Test(session, leaving_while_keys_are_derived)
{
    admission = (struct weir_admission){.method = WEIR_AUTH_SCRAM, .secret = "pencil"};
    log_in(plain);
    expect_request(10);
    send_scram_first();
    turns(1);
    close(peer);
    peer = -1;
    for (int i = 0; i < 1000 && ended == 0; i++)
        turns(1);
    cr_assert_eq(ended, 1);
    cr_assert_eq(welcomed, 0);
    finish();
}

/* --- states
 * --------------------------------------------------------------------------------------------------- */

static const enum weir_client_state logged_in_states[] = {WEIR_CLIENT_IDLE, WEIR_CLIENT_WAITING,
                                                          WEIR_CLIENT_ACTIVE, WEIR_CLIENT_HELD};

Test(session, states_that_may_follow)
{
    for (size_t from = 0; from < 4; from++) {
        for (size_t to = 0; to < 4; to++) {
            struct weir_client one = {.state = logged_in_states[from]};
            weir_client_set_state(&one, logged_in_states[to]);
            cr_assert_eq(one.state, logged_in_states[to]);
        }
    }
    for (int from = WEIR_CLIENT_STARTUP; from <= WEIR_CLIENT_CLOSED; from++) {
        struct weir_client one = {.state = (enum weir_client_state)from};
        weir_client_set_state(&one, WEIR_CLIENT_CLOSED);
        cr_assert_eq(one.state, WEIR_CLIENT_CLOSED);
        cr_assert_gt(strlen(weir_client_state_name((enum weir_client_state)from)), 0);
    }
    finish();
}

#define FORBIDDEN(from, to)                                                                        \
    Test(session, state_##from##_to_##to, .signal = SIGABRT)                                       \
    {                                                                                              \
        struct weir_client one = {.state = WEIR_CLIENT_##from};                                    \
        weir_client_set_state(&one, WEIR_CLIENT_##to);                                             \
    }
FORBIDDEN(CLOSED, STARTUP)
FORBIDDEN(CLOSED, IDLE)
FORBIDDEN(CLOSED, ENDING)
FORBIDDEN(ENDING, IDLE)
FORBIDDEN(ENDING, ACTIVE)
FORBIDDEN(STARTUP, IDLE)
FORBIDDEN(STARTUP, ACTIVE)
FORBIDDEN(STARTUP, DERIVING)
FORBIDDEN(PROVING, STARTUP)
FORBIDDEN(PROVING, IDLE)
FORBIDDEN(PROVING, ACTIVE)
FORBIDDEN(DERIVING, IDLE)
FORBIDDEN(GREETING, PROVING)
FORBIDDEN(GREETING, WAITING)
FORBIDDEN(GREETING, HELD)
FORBIDDEN(IDLE, STARTUP)
FORBIDDEN(IDLE, GREETING)
FORBIDDEN(ACTIVE, GREETING)
FORBIDDEN(HELD, PROVING)
FORBIDDEN(WAITING, GREETING)

Test(session, closing_twice_and_asking_for_the_peer)
{
    char text[64];
    weir_client_peer(&client, text, sizeof text);
    cr_assert_str_eq(text, "unix");
    weir_client_close(&client);
    weir_client_close(&client);
    weir_client_peer(&client, text, sizeof text);
    cr_assert_str_eq(text, "?");
    weir_client_login_free(&client);
    finish();
}
