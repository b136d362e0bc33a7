/* Logging in to a server: the test is the server, message by message, in the same loop. */
#include "weir/backend.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/log.h"
#include "weir/memory.h"
#include "weir/wire.h"

/* Of the leak checker, in builds that have it. */
__attribute__((weak)) int __lsan_do_recoverable_leak_check(void);

#define HOSTS 3

static struct weir_loop loop;
static struct weir_auth_context *auth;
static struct weir_server server;
static struct weir_server_target target;
static struct weir_credentials credentials;
static struct weir_conf_host hosts[HOSTS];
static int listening[HOSTS];
static int peer = -1;

static int ready, failed;
static struct weir_server_failure failure;
static char failure_text[512], failure_sqlstate[8];

/* From ready on the stream is the room's above. */
static void ignore(struct weir_stream *stream, unsigned events)
{
    (void)stream;
    (void)events;
}

static void on_ready(struct weir_server *who)
{
    cr_assert_eq(who, &server);
    cr_assert_null(who->login);
    who->stream.on_event = ignore;
    ready++;
}

static void on_failed(struct weir_server *who, const struct weir_server_failure *why)
{
    cr_assert_eq(who, &server);
    cr_assert_not(weir_stream_is_open(&who->stream));
    failed++;
    failure = *why;
    snprintf(failure_text, sizeof failure_text, "%s", why->text);
    failure_sqlstate[0] = '\0';
    if (why->error != NULL) {
        struct weir_error_fields fields = {0};
        weir_error_parse(why->error, why->error_length, &fields);
        if (fields.sqlstate != NULL)
            snprintf(failure_sqlstate, sizeof failure_sqlstate, "%s", fields.sqlstate);
    }
}

static const struct weir_server_ops ops = {.ready = on_ready, .failed = on_failed};

/* A socket on a free port of 127.0.0.1; it refuses as long as it does not listen. */
static int bind_port(int *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    cr_assert_eq(bind(fd, (struct sockaddr *)(void *)&address, length), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)(void *)&address, &length), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void create(void)
{
    static char loopback[] = "127.0.0.1";
    cr_assert(weir_loop_init(&loop));
    auth = weir_auth_context_create();
    for (int i = 0; i < HOSTS; i++) {
        hosts[i].host = loopback;
        listening[i] = bind_port(&hosts[i].port);
    }
    cr_assert_eq(listen(listening[0], 16), 0);
    credentials = (struct weir_credentials){0};
    target = (struct weir_server_target){.hosts = hosts,
                                         .host_count = 1,
                                         .database = "d",
                                         .user = "u",
                                         .credentials = &credentials,
                                         .connect_query = ""};
}

static void hang_up(void)
{
    if (peer >= 0)
        close(peer);
    peer = -1;
}

static void end_server(void)
{
    weir_server_close(&server, false);
    weir_server_fini(&server);
    server = (struct weir_server){0};
    hang_up();
}

/* The last line of a test, which can fail here. */
static void finish(void)
{
    end_server();
    for (int i = 0; i < HOSTS; i++)
        close(listening[i]);
    weir_credentials_clear(&credentials);
    weir_auth_context_destroy(auth);
    for (int i = 0; i < 3; i++)
        ev_run(loop.ev, EVRUN_NOWAIT);
    weir_loop_fini(&loop);
    weir_require(__lsan_do_recoverable_leak_check == NULL ||
                 __lsan_do_recoverable_leak_check() == 0);
}

TestSuite(backend, .init = create, .timeout = 60);

static void turns(int count)
{
    for (int i = 0; i < count; i++)
        ev_run(loop.ev, EVRUN_NOWAIT);
}

#define until(condition)                                                                           \
    do {                                                                                           \
        weir_usec until_limit = weir_clock_now() + 10 * WEIR_SEC;                                  \
        while (!(condition)) {                                                                     \
            cr_assert_lt(weir_clock_now(), until_limit, "never: %s", #condition);                  \
            ev_run(loop.ev, EVRUN_NOWAIT);                                                         \
        }                                                                                          \
    } while (0)

/* --- the server's side
 * ---------------------------------------------------------------------------------------- */

static uint8_t heard[70000];
static size_t heard_length;

static bool accept_on(int host)
{
    int fd = accept4(listening[host], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return false;
    hang_up();
    peer = fd;
    return true;
}

static bool hear_bytes(size_t length)
{
    if (heard_length < length) {
        ssize_t got = recv(peer, heard + heard_length, length - heard_length, MSG_DONTWAIT);
        if (got > 0)
            heard_length += (size_t)got;
    }
    return heard_length >= length;
}

/* The startup packet: its body lies at heard + 8. */
static void hear_startup(int host)
{
    until(accept_on(host));
    heard_length = 0;
    until(hear_bytes(8));
    until(hear_bytes(weir_get_u32(heard)));
    cr_assert_eq(weir_get_u32(heard + 4), WEIR_PROTOCOL_3_0);
}

/* One message: its body lies at heard + 5. */
static void hear(char type)
{
    heard_length = 0;
    until(hear_bytes(5));
    cr_assert_eq(heard[0], (uint8_t)type);
    until(hear_bytes(weir_get_u32(heard + 1) + 1));
}

static void say_bytes(const void *bytes, size_t length)
{
    cr_assert_eq(send(peer, bytes, length, MSG_NOSIGNAL), (ssize_t)length);
}

static void say(const struct weir_buffer *out)
{
    say_bytes(weir_buffer_bytes(out), weir_buffer_length(out));
}

static void put(struct weir_buffer *out, char type, const void *body, size_t length)
{
    struct weir_writer writer = weir_writer_to(out);
    size_t begin = weir_message_begin(&writer, type);
    weir_write_bytes(&writer, body, length);
    weir_message_end(&writer, begin);
    cr_assert_not(writer.failed);
}

static void say_message(char type, const void *body, size_t length)
{
    struct weir_buffer out = {0};
    put(&out, type, body, length);
    say(&out);
    weir_buffer_clear(&out);
}

static void say_request(uint32_t code, const void *extra, size_t length)
{
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    weir_write_authentication(&writer, code, extra, length);
    say(&out);
    weir_buffer_clear(&out);
}

static void put_error(struct weir_buffer *out, const char *sqlstate)
{
    struct weir_writer writer = weir_writer_to(out);
    weir_write_error(&writer, "FATAL", sqlstate, "the server's own words", "detail", NULL);
}

static void say_error(const char *sqlstate)
{
    struct weir_buffer out = {0};
    put_error(&out, sqlstate);
    say(&out);
    weir_buffer_clear(&out);
}

/* All that a server says after the proof. */
static void put_welcome(struct weir_buffer *out, const char *standby, const char *read_only)
{
    static const uint8_t key[] = {0xde, 0xad, 0xbe, 0xef};
    struct weir_writer writer = weir_writer_to(out);
    weir_write_authentication(&writer, 0, NULL, 0);
    weir_write_parameter_status(&writer, "server_version", "15.4");
    weir_write_parameter_status(&writer, "TimeZone", "UTC");
    if (standby != NULL)
        weir_write_parameter_status(&writer, "in_hot_standby", standby);
    if (read_only != NULL)
        weir_write_parameter_status(&writer, "default_transaction_read_only", read_only);
    weir_write_backend_key(&writer, 4711, key, sizeof key);
    weir_write_ready_for_query(&writer, 'I');
}

static void say_welcome(const char *standby, const char *read_only)
{
    struct weir_buffer out = {0};
    put_welcome(&out, standby, read_only);
    say(&out);
    weir_buffer_clear(&out);
}

/* --- from the beginning
 * --------------------------------------------------------------------------------------- */

static void start(void)
{
    end_server();
    ready = failed = 0;
    failure = (struct weir_server_failure){0};
    weir_server_connect(&server, &loop, auth, &target, &ops);
    cr_assert_eq(server.state, WEIR_SERVER_CONNECTING);
    cr_assert_eq(ready + failed, 0);
}

static void expect_ready(void)
{
    until(ready + failed > 0);
    cr_assert_eq(failed, 0, "%s", failure_text);
    cr_assert_eq(ready, 1);
    cr_assert_eq(server.state, WEIR_SERVER_READY);
}

static void expect_failure(enum weir_reason reason, bool fatal, const char *sqlstate)
{
    until(ready + failed > 0);
    turns(3);
    cr_assert_eq(ready, 0);
    cr_assert_eq(failed, 1);
    cr_assert_eq(failure.reason, reason, "%s", failure_text);
    cr_assert_eq(failure.fatal, fatal, "%s", failure_text);
    cr_assert_str_eq(failure_sqlstate, sqlstate);
    cr_assert_eq(server.state, WEIR_SERVER_CLOSED);
    weir_server_close(&server, true);
}

/* The value of `name` in the startup packet, or NULL. */
static const char *startup_value(const char *name)
{
    struct weir_reader reader;
    weir_reader_init(&reader, heard + 8, weir_get_u32(heard) - 8);
    for (;;) {
        const char *key = weir_read_string(&reader);
        if (key == NULL || key[0] == '\0')
            return NULL;
        const char *value = weir_read_string(&reader);
        if (strcmp(key, name) == 0)
            return value;
    }
}

Test(backend, trust_and_what_the_server_says_about_itself)
{
    start();
    hear_startup(0);
    cr_assert_str_eq(startup_value("user"), "u");
    cr_assert_str_eq(startup_value("database"), "d");
    cr_assert_null(startup_value("application_name"));
    cr_assert_null(startup_value("replication"));
    say_welcome(NULL, NULL);
    expect_ready();
    cr_assert_eq(server.pid, 4711);
    cr_assert_eq(server.key_length, 4);
    cr_assert_eq(memcmp(server.key, "\xde\xad\xbe\xef", 4), 0);
    cr_assert_eq(server.parameters.count, 2);
    cr_assert_str_eq(weir_parameters_get(&server.parameters, "server_version"), "15.4");
    char text[64];
    weir_address_print(&server.address, text, sizeof text);
    cr_assert_not_null(strstr(text, "127.0.0.1:"));
    finish();
}

Test(backend, what_the_startup_packet_carries)
{
    struct weir_profile_set *set = weir_profile_set_create();
    const struct weir_setting list[] = {{"work_mem", "8MB"}, {"search_path", "a b"}};
    target.settings = weir_profile_make(set, list, 2);
    target.application_name = "app";
    target.options = "-c a=1";
    target.client_encoding = "UTF8";
    target.replication = "database";
    target.connect_query = "select 1";
    start();
    hear_startup(0);
    cr_assert_str_eq(startup_value("application_name"), "app");
    cr_assert_str_eq(startup_value("options"), "-c a=1");
    cr_assert_str_eq(startup_value("client_encoding"), "UTF8");
    cr_assert_str_eq(startup_value("replication"), "database");
    cr_assert_str_eq(startup_value("work_mem"), "8MB");
    cr_assert_str_eq(startup_value("search_path"), "a b");
    /* A replication connection gets no connect_query. */
    say_welcome(NULL, NULL);
    expect_ready();
    weir_profile_unref(target.settings);
    weir_profile_set_destroy(set);
    finish();
}

/* Everything from the server's first byte to ReadyForQuery and what follows, in two pieces. */
Test(backend, answers_cut_at_every_byte)
{
    struct weir_buffer out = {0};
    put(&out, 'N', "SNOTICE\0C00000\0Mhello\0", 23);
    put(&out, 'v', "\0\3\0\0\0\0\0\0", 8);
    put_welcome(&out, "off", "off");
    put(&out, 'S', "TimeZone\0CET", 13);
    put(&out, 'N', "SNOTICE\0C00000\0Mlater\0", 23);
    size_t length = weir_buffer_length(&out);
    size_t after = length - 5 - 13 - 5 - 23;
    for (size_t cut = 1; cut < length; cut++) {
        start();
        hear_startup(0);
        say_bytes(weir_buffer_bytes(&out), cut);
        turns(4);
        cr_assert_eq(ready, cut >= after, "cut at %zu", cut);
        say_bytes(weir_buffer_bytes(&out) + cut, length - cut);
        expect_ready();
        cr_assert_eq(server.parameters.count, 4);
        /* What follows ReadyForQuery is for the room above. */
        if (cut < after) {
            uint8_t *bytes;
            size_t kept;
            weir_stream_unread(&server.stream, &bytes, &kept);
            cr_assert_eq(kept, length - after, "cut at %zu", cut);
            cr_assert_eq(memcmp(bytes, weir_buffer_bytes(&out) + after, kept), 0);
        }
    }
    weir_buffer_clear(&out);
    finish();
}

/* --- passwords
 * ------------------------------------------------------------------------------------------------ */

/* Logs in with the client's own side of the proof as the server. */
static void prove(enum weir_auth_method method, const char *secret, bool right)
{
    struct weir_client_proof *proof = weir_client_proof_create(auth, method, "u", secret);
    struct weir_buffer out = {0};
    start();
    hear_startup(0);
    enum weir_auth_result result = weir_client_proof_step(proof, NULL, 0, &out);
    while (result == WEIR_AUTH_MORE || result == WEIR_AUTH_BUSY) {
        if (weir_buffer_length(&out) > 0)
            say(&out);
        weir_buffer_clear(&out);
        if (result == WEIR_AUTH_MORE) {
            hear('p');
            result = weir_client_proof_step(proof, heard + 5, weir_get_u32(heard + 1) - 4, &out);
        } else {
            result = weir_client_proof_work(proof, &out);
        }
    }
    cr_assert_eq(result, right ? WEIR_AUTH_OK : WEIR_AUTH_FAILED);
    if (right) {
        put_welcome(&out, NULL, NULL);
        say(&out);
        expect_ready();
    } else {
        say_error("28P01");
        expect_failure(WEIR_REASON_SERVER_LOGIN_FAILED, true, "28P01");
        cr_assert_str_eq(failure_text, "the server's own words");
    }
    weir_buffer_clear(&out);
    weir_client_proof_destroy(proof);
}

static const char scram_secret[] =
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

Test(backend, every_kind_of_password)
{
    credentials.password = weir_strdup("pencil");
    prove(WEIR_AUTH_PLAIN, "pencil", true);
    prove(WEIR_AUTH_MD5, "pencil", true);
    prove(WEIR_AUTH_SCRAM, "pencil", true);
    prove(WEIR_AUTH_SCRAM, scram_secret, true);
    /* From the cache of keys. */
    prove(WEIR_AUTH_SCRAM, scram_secret, true);
    finish();
}

Test(backend, every_kind_of_wrong_password)
{
    credentials.password = weir_strdup("pencim");
    prove(WEIR_AUTH_PLAIN, "pencil", false);
    prove(WEIR_AUTH_MD5, "pencil", false);
    prove(WEIR_AUTH_SCRAM, scram_secret, false);
    finish();
}

Test(backend, password_is_demanded_and_there_is_none)
{
    static const uint32_t codes[] = {3, 5, 10};
    for (size_t i = 0; i < 3; i++) {
        start();
        hear_startup(0);
        if (codes[i] == 10)
            say_request(10, "SCRAM-SHA-256\0", 15);
        else
            say_request(codes[i], "salt", codes[i] == 5 ? 4 : 0);
        expect_failure(WEIR_REASON_SERVER_LOGIN_FAILED, true, "");
        cr_assert_not_null(strstr(failure_text, "password"), "%s", failure_text);
    }
    finish();
}

Test(backend, methods_that_are_not_spoken_are_named)
{
    static const uint32_t codes[] = {2, 6, 7, 9, 4, 99};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        start();
        hear_startup(0);
        say_request(codes[i], NULL, 0);
        expect_failure(WEIR_REASON_SERVER_LOGIN_FAILED, true, "");
        cr_assert_gt(strlen(failure_text), 10);
    }
    finish();
}

/* A server that says "fine" in the middle of SCRAM has not proven that it knows the secret. */
Test(backend, server_that_skips_its_own_proof_is_refused)
{
    credentials.password = weir_strdup("pencil");
    start();
    hear_startup(0);
    say_request(10, "SCRAM-SHA-256\0", 15);
    hear('p');
    say_welcome(NULL, NULL);
    expect_failure(WEIR_REASON_SERVER_LOGIN_FAILED, true, "");
    finish();
}

/* Key derivation takes many turns; closing meanwhile is fine. */
Test(backend, close_while_keys_are_derived)
{
    credentials.password = weir_strdup("pencil");
    start();
    hear_startup(0);
    say_request(10, "SCRAM-SHA-256\0", 15);
    hear('p');
    const char *nonce = NULL;
    for (size_t i = 0; nonce == NULL && i + 2 < heard_length; i++)
        if (memcmp(heard + i, "r=", 2) == 0)
            nonce = (const char *)heard + i;
    cr_assert_not_null(nonce);
    char first[512];
    int length = snprintf(first, sizeof first, "%.*smore,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1000000",
                          (int)(heard + heard_length - (const uint8_t *)nonce), nonce);
    say_request(11, first, (size_t)length);
    until(server.state == WEIR_SERVER_DERIVING);
    turns(3);
    cr_assert_eq(server.state, WEIR_SERVER_DERIVING);
    finish();
}

/* --- errors
 * --------------------------------------------------------------------------------------------------- */

Test(backend, errors_at_each_step)
{
    for (int step = 0; step < 5; step++) {
        struct weir_buffer out = {0};
        struct weir_writer writer = weir_writer_to(&out);
        start();
        hear_startup(0);
        if (step > 0)
            put(&out, 'N', "SNOTICE\0\0", 9);
        if (step > 1)
            weir_write_authentication(&writer, 0, NULL, 0);
        if (step > 2)
            weir_write_parameter_status(&writer, "TimeZone", "UTC");
        if (step > 3)
            weir_write_backend_key(&writer, 1, (const uint8_t *)"key!", 4);
        put_error(&out, "3D000");
        say(&out);
        expect_failure(WEIR_REASON_SERVER_LOGIN_FAILED, true, "3D000");
        cr_assert_str_eq(failure_text, "the server's own words");
        weir_buffer_clear(&out);
    }
    finish();
}

Test(backend, some_errors_pass)
{
    static const struct {
        const char *sqlstate;
        bool fatal;
    } rows[] = {{"57P03", false}, {"57P01", false}, {"57P02", false}, {"53300", false},
                {"53200", false}, {"28000", true},  {"28P01", true},  {"42501", true}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        start();
        hear_startup(0);
        say_error(rows[i].sqlstate);
        expect_failure(WEIR_REASON_SERVER_LOGIN_FAILED, rows[i].fatal, rows[i].sqlstate);
    }
    finish();
}

Test(backend, end_of_file_at_every_byte)
{
    struct weir_buffer out = {0};
    put_welcome(&out, NULL, NULL);
    for (size_t cut = 0; cut < weir_buffer_length(&out); cut++) {
        start();
        hear_startup(0);
        if (cut > 0)
            say_bytes(weir_buffer_bytes(&out), cut);
        hang_up();
        expect_failure(WEIR_REASON_SERVER_UNAVAILABLE, false, "");
    }
    weir_buffer_clear(&out);
    finish();
}

Test(backend, hostile_messages)
{
    static const struct {
        const char *bytes;
        size_t length;
    } rows[] = {
        {"R\0\0\0\3", 5},
        {"R\0\0\0\0", 5},
        {"R\xff\xff\xff\xff", 5},
        {"R\x7f\xff\xff\xff", 5},
        {"N\0\1\0\1", 5},
        {"S\0\0\0\4", 5},
        {"S\0\0\0\6a\0", 7},
        {"S\0\0\0\7a\0b", 8},
        {"K\0\0\0\4", 5},
        {"K\0\0\0\x8\0\0\0\1", 9},
        {"Z\0\0\0\5I", 6},
        {"R\0\0\0\x8\0\0\0\0Z\0\0\0\4", 14},
        {"R\0\0\0\x8\0\0\0\0Z\0\0\0\6II", 16},
        {"R\0\0\0\x8\0\0\0\0R\0\0\0\x8\0\0\0\0", 18},
        {"D\0\0\0\6\0\0", 7},
        {"T\0\0\0\6\0\0", 7},
        {"H\0\0\0\4", 5},
        {"HTTP/1.1 400 Bad Request\r\n", 26},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        start();
        hear_startup(0);
        say_bytes(rows[i].bytes, rows[i].length);
        expect_failure(WEIR_REASON_SERVER_PROTOCOL, false, "");
        cr_assert_eq(server.state, WEIR_SERVER_CLOSED, "row %zu", i);
    }
    /* Too short for a code. */
    start();
    hear_startup(0);
    say_message('R', "\0\0", 2);
    until(ready + failed > 0);
    cr_assert_eq(failed, 1);
    finish();
}

/* Malformed errors are errors all the same. */
Test(backend, errors_without_form)
{
    static const struct {
        const char *body;
        size_t length;
    } rows[] = {{"", 0}, {"\0", 1}, {"S", 1}, {"SFATAL", 6}, {"C57P03", 6}, {"Mx", 2}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        start();
        hear_startup(0);
        say_message('E', rows[i].body, rows[i].length);
        until(ready + failed > 0);
        cr_assert_eq(failed, 1, "row %zu", i);
        cr_assert_eq(failure.reason, WEIR_REASON_SERVER_LOGIN_FAILED);
        cr_assert_gt(strlen(failure_text), 0);
    }
    finish();
}

/* --- keys
 * ----------------------------------------------------------------------------------------------------- */

static void log_in_with_key(size_t length)
{
    uint8_t key[300];
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    for (size_t i = 0; i < length; i++)
        key[i] = (uint8_t)(i * 7 + length);
    start();
    hear_startup(0);
    weir_write_authentication(&writer, 0, NULL, 0);
    weir_write_backend_key(&writer, 0x01020304, key, length);
    weir_write_ready_for_query(&writer, 'I');
    say(&out);
    weir_buffer_clear(&out);
}

static int cancels_done;
static bool cancel_delivered;

static void on_cancelled(void *context, bool delivered)
{
    cr_assert_eq(context, &cancels_done);
    cancels_done++;
    cancel_delivered = delivered;
}

/* The request has exactly the bytes of the documentation, and is done when the server hangs up. */
Test(backend, cancel_keys_of_every_length)
{
    for (size_t length = 4; length <= 256; length += length < 8 ? 1 : 31) {
        log_in_with_key(length);
        expect_ready();
        cr_assert_eq(server.key_length, length);
        cr_assert_eq(server.pid, 0x01020304);
        cancels_done = 0;
        cr_assert_not_null(weir_cancel_start(&loop, &server, on_cancelled, &cancels_done));
        cr_assert_eq(cancels_done, 0);
        until(accept_on(0));
        heard_length = 0;
        until(hear_bytes(12 + length));
        cr_assert_eq(weir_get_u32(heard), 12 + length);
        cr_assert_eq(weir_get_u32(heard + 4), 80877102);
        cr_assert_eq(weir_get_u32(heard + 8), 0x01020304);
        cr_assert_eq(memcmp(heard + 12, server.key, length), 0);
        turns(5);
        cr_assert_eq(cancels_done, 0);
        hang_up();
        until(cancels_done > 0);
        cr_assert(cancel_delivered);
        turns(3);
        cr_assert_eq(cancels_done, 1);
    }
    finish();
}

Test(backend, cancel_keys_of_impossible_length)
{
    static const size_t lengths[] = {0, 257, 300};
    for (size_t i = 0; i < 3; i++) {
        log_in_with_key(lengths[i]);
        expect_failure(WEIR_REASON_SERVER_PROTOCOL, false, "");
    }
    finish();
}

Test(backend, cancel_that_is_dropped_or_cannot_connect)
{
    log_in_with_key(4);
    expect_ready();
    cancels_done = 0;
    /* At once, when connected, and when sent. */
    for (int step = 0; step < 3; step++) {
        struct weir_cancel *cancel = weir_cancel_start(&loop, &server, on_cancelled, &cancels_done);
        if (step > 0)
            turns(step * 3);
        weir_cancel_drop(cancel);
        turns(5);
        cr_assert_eq(cancels_done, 0);
    }
    weir_cancel_drop(NULL);
    close(listening[0]);
    listening[0] = bind_port(&hosts[1].port);
    cr_assert_not_null(weir_cancel_start(&loop, &server, on_cancelled, &cancels_done));
    until(cancels_done > 0);
    cr_assert_not(cancel_delivered);
    finish();
}

/* --- several hosts
 * ------------------------------------------------------------------------------------------ */

Test(backend, nobody_listens)
{
    target.hosts = hosts + 1;
    target.host_count = 2;
    start();
    expect_failure(WEIR_REASON_SERVER_UNAVAILABLE, false, "");
    char port[16];
    for (int i = 1; i <= 2; i++) {
        snprintf(port, sizeof port, "%d", hosts[i].port);
        cr_assert_not_null(strstr(failure_text, port), "%s", failure_text);
    }
    finish();
}

Test(backend, first_refuses_and_second_answers)
{
    cr_assert_eq(listen(listening[2], 16), 0);
    target.hosts = hosts + 1;
    target.host_count = 2;
    start();
    hear_startup(2);
    say_welcome(NULL, NULL);
    expect_ready();
    finish();
}

Test(backend, first_is_starting_up_and_second_answers)
{
    for (int i = 1; i < HOSTS; i++)
        cr_assert_eq(listen(listening[i], 16), 0);
    target.host_count = HOSTS;
    start();
    hear_startup(0);
    say_error("57P03");
    hear_startup(1);
    say_error("57P03");
    hear_startup(2);
    say_welcome(NULL, NULL);
    expect_ready();
    /* All of them: the last one's words. */
    start();
    for (int i = 0; i < HOSTS; i++) {
        hear_startup(i);
        say_error("57P03");
    }
    expect_failure(WEIR_REASON_SERVER_LOGIN_FAILED, false, "57P03");
    /* Another error is the end. */
    start();
    hear_startup(0);
    say_error("57P03");
    hear_startup(1);
    say_error("28P01");
    expect_failure(WEIR_REASON_SERVER_LOGIN_FAILED, true, "28P01");
    finish();
}

/* --- target_session_attrs
 * ------------------------------------------------------------------------------------ */

Test(backend, wanted_attributes)
{
    static const struct {
        enum weir_session_attrs attrs;
        const char *standby, *read_only;
        bool taken;
    } rows[] = {
        {WEIR_ATTRS_ANY, "on", "on", true},          {WEIR_ATTRS_READ_WRITE, "off", "off", true},
        {WEIR_ATTRS_READ_WRITE, "on", "off", false}, {WEIR_ATTRS_READ_WRITE, "off", "on", false},
        {WEIR_ATTRS_READ_ONLY, "on", "off", true},   {WEIR_ATTRS_READ_ONLY, "off", "on", true},
        {WEIR_ATTRS_READ_ONLY, "off", "off", false}, {WEIR_ATTRS_PRIMARY, "off", "on", true},
        {WEIR_ATTRS_PRIMARY, "on", "off", false},    {WEIR_ATTRS_STANDBY, "on", "off", true},
        {WEIR_ATTRS_STANDBY, "off", "off", false},   {WEIR_ATTRS_PREFER_STANDBY, "on", "off", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        target.session_attrs = rows[i].attrs;
        start();
        hear_startup(0);
        say_welcome(rows[i].standby, rows[i].read_only);
        if (rows[i].taken)
            expect_ready();
        else
            expect_failure(WEIR_REASON_SERVER_UNAVAILABLE, false, "");
    }
    finish();
}

Test(backend, the_host_with_the_wanted_attributes_is_found)
{
    for (int i = 1; i < HOSTS; i++)
        cr_assert_eq(listen(listening[i], 16), 0);
    target.host_count = HOSTS;
    target.session_attrs = WEIR_ATTRS_PRIMARY;
    start();
    hear_startup(0);
    say_welcome("on", "off");
    hear_startup(1);
    say_welcome("on", "off");
    hear_startup(2);
    say_welcome("off", "off");
    expect_ready();
    cr_assert_str_eq(weir_parameters_get(&server.parameters, "in_hot_standby"), "off");
    cr_assert_eq(server.parameters.count, 4);
    /* No standby anywhere: the second time round any will do. */
    target.session_attrs = WEIR_ATTRS_PREFER_STANDBY;
    start();
    for (int i = 0; i < HOSTS; i++) {
        hear_startup(i);
        say_welcome("off", "off");
    }
    hear_startup(0);
    say_welcome("off", "off");
    expect_ready();
    finish();
}

/* --- connect_query
 * -------------------------------------------------------------------------------------------- */

Test(backend, connect_query_runs_once_and_its_rows_are_nobodys)
{
    target.connect_query = "select set_config('a', 'b', false)";
    start();
    hear_startup(0);
    say_welcome(NULL, NULL);
    hear('Q');
    cr_assert_str_eq((const char *)heard + 5, target.connect_query);
    cr_assert_eq(server.state, WEIR_SERVER_SETTING_UP);
    cr_assert_eq(ready, 0);
    struct weir_buffer out = {0};
    put(&out, 'T', "\0\0", 2);
    put(&out, 'D', "\0\0", 2);
    put(&out, 'S', "TimeZone\0CET", 13);
    put(&out, 'C', "SELECT 1", 9);
    put(&out, 'Z', "I", 1);
    size_t length = weir_buffer_length(&out);
    for (size_t i = 0; i < length; i++) {
        cr_assert_eq(ready, 0);
        say_bytes(weir_buffer_bytes(&out) + i, 1);
        turns(2);
    }
    expect_ready();
    cr_assert_str_eq(weir_parameters_get(&server.parameters, "TimeZone"), "CET");
    weir_buffer_clear(&out);
    finish();
}

Test(backend, connect_query_that_fails_closes)
{
    target.connect_query = "select";
    start();
    hear_startup(0);
    say_welcome(NULL, NULL);
    hear('Q');
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    weir_write_error(&writer, "ERROR", "42601", "syntax error", NULL, NULL);
    put(&out, 'Z', "I", 1);
    say(&out);
    weir_buffer_clear(&out);
    expect_failure(WEIR_REASON_SERVER_LOGIN_FAILED, true, "42601");
    /* The server goes meanwhile. */
    start();
    hear_startup(0);
    say_welcome(NULL, NULL);
    hear('Q');
    hang_up();
    expect_failure(WEIR_REASON_SERVER_UNAVAILABLE, false, "");
    finish();
}

/* --- ends
 * ---------------------------------------------------------------------------------------------------- */

Test(backend, close_says_goodbye_when_asked)
{
    for (int polite = 0; polite < 2; polite++) {
        start();
        hear_startup(0);
        say_welcome(NULL, NULL);
        expect_ready();
        weir_server_close(&server, polite != 0);
        cr_assert_eq(server.state, WEIR_SERVER_CLOSED);
        weir_server_close(&server, true);
        heard_length = 0;
        if (polite)
            until(hear_bytes(5));
        cr_assert_eq(recv(peer, heard + 5, 10, 0), 0);
        if (polite)
            cr_assert_eq(memcmp(heard, "X\0\0\0\4", 5), 0);
    }
    finish();
}

Test(backend, close_at_each_step_of_the_login)
{
    start();
    end_server();
    start();
    turns(1);
    end_server();
    start();
    hear_startup(0);
    end_server();
    start();
    hear_startup(0);
    say_bytes("R\0\0\0\x8\0", 6);
    turns(2);
    end_server();
    turns(3);
    cr_assert_eq(ready + failed, 0);
    finish();
}

Test(backend, names_of_states)
{
    for (int state = WEIR_SERVER_CONNECTING; state <= WEIR_SERVER_CLOSED; state++)
        cr_assert_gt(strlen(weir_server_state_name((enum weir_server_state)state)), 0);
}
