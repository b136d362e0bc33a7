/* What a client sends before it has to prove anything: startup packets, requests for encryption and
 * to cancel, versions of the protocol, in whatever pieces. */
#include "pair.h"

TestSuite(session_startup, .init = create, .timeout = 60);

static const uint8_t ssl_request[] = {0, 0, 0, 8, 4, 210, 22, 47};
static const uint8_t gss_request[] = {0, 0, 0, 8, 4, 210, 22, 48};

/* --- the startup packet
 * --------------------------------------------------------------------------------------- */

Test(session_startup, startup_cut_at_every_byte)
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

Test(session_startup, startup_in_single_bytes)
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

Test(session_startup, what_follows_the_startup_is_kept_for_the_room_above)
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

Test(session_startup, database_is_the_user_when_there_is_none)
{
    log_in((const char *const[]){"user=somebody", NULL});
    cr_assert_str_eq(database, "somebody");
    reopen();
    log_in((const char *const[]){"database=", "user=other", NULL});
    cr_assert_str_eq(database, "other");
    finish();
}

Test(session_startup, no_user_is_refused)
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

Test(session_startup, replication_is_recognised)
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

Test(session_startup, options_are_split_and_come_before_the_other_settings)
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

Test(session_startup, switch_that_cannot_be_honoured_is_refused)
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

Test(session_startup, too_many_settings_are_refused)
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
Test(session_startup, too_many_options_are_refused)
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

Test(session_startup, bad_packets_are_refused)
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

Test(session_startup, peer_that_leaves_is_told_nothing)
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

Test(session_startup, encryption_is_declined_in_any_order_and_the_startup_follows)
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

Test(session_startup, request_cut_at_every_byte)
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
Test(session_startup, smuggled_bytes_are_refused)
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

Test(session_startup, each_request_may_come_once)
{
    ask(ssl_request);
    send_bytes(ssl_request, 8);
    expect_fatal("08P01", NULL);
    finish();
}

/* --- cancel requests
 * ------------------------------------------------------------------------------------------ */

Test(session_startup, cancel_request_with_keys_of_every_length)
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

Test(session_startup, versions_are_negotiated_exactly_once)
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

Test(session_startup, unknown_protocol_options_are_named)
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
