/* What a client must prove, what it is told, and the states it has after that. */
#include "pair.h"

TestSuite(session, .init = create, .timeout = 60);

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
FORBIDDEN(LOOKUP, STARTUP)
FORBIDDEN(LOOKUP, IDLE)
FORBIDDEN(GREETING, LOOKUP)
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
    weir_client_login_done(&client);
    finish();
}

/* --- admitted later ----------------------------------------------------------------------------- */

Test(session, waits_until_it_is_admitted)
{
    const struct weir_admission known = {.method = WEIR_AUTH_PLAIN, .secret = "secret"};
    admission.later = true;
    log_in(plain);
    cr_assert_eq(client.state, WEIR_CLIENT_LOOKUP);
    cr_assert_eq(receive(), 0);
    weir_client_admitted(&client, &known);
    cr_assert_eq(client.state, WEIR_CLIENT_PROVING);
    cr_assert_gt(receive(), 0);
    send_password("secret", 7);
    turns(3);
    cr_assert_eq(welcomed, 1);
    finish();
}

Test(session, what_comes_before_it_is_admitted_waits_with_it)
{
    const struct weir_admission known = {.method = WEIR_AUTH_PLAIN, .secret = "secret"};
    for (int wrong = 0; wrong < 2; wrong++) {
        reopen();
        admission.later = true;
        log_in(plain);
        send_password(wrong ? "Secret" : "secret", 7);
        send_bytes("Q\0\0\0\6x", 7);
        turns(3);
        cr_assert_eq(client.state, WEIR_CLIENT_LOOKUP);
        cr_assert_eq(welcomed + ended, 0);
        weir_client_admitted(&client, &known);
        cr_assert_eq(welcomed, !wrong);
        cr_assert_eq(ended, wrong);
        if (wrong)
            continue;
        uint8_t *bytes;
        size_t length;
        weir_stream_unread(&client.stream, &bytes, &length);
        cr_assert_eq(length, 7, "%zu", length);
        cr_assert_eq(bytes[0], 'Q');
    }
    finish();
}

Test(session, goes_away_before_it_is_admitted)
{
    admission.later = true;
    log_in(plain);
    close(peer);
    peer = -1;
    turns(3);
    cr_assert_eq(ended, 1);
    cr_assert_eq(end_reason, WEIR_REASON_CLIENT_GONE);
    cr_assert_eq(client.state, WEIR_CLIENT_CLOSED);
    finish();
}

/* --- passwords that others judge ----------------------------------------------------------- */

static void offer(const char *password)
{
    judged[0] = '\0';
    admission.method = WEIR_AUTH_OUTSIDE;
    log_in(plain);
    cr_assert_gt(receive(), 0);
    cr_assert_eq(weir_get_u32(answer + WEIR_WIRE_HEADER), 3);
    send_password(password, strlen(password) + 1);
    turns(3);
    cr_assert_str_eq(judged, password);
}

Test(session, judged_right_and_wrong)
{
    offer("geheim");
    cr_assert_eq(client.state, WEIR_CLIENT_LOOKUP);
    cr_assert_eq(receive(), 0);
    weir_client_judged(&client, true);
    cr_assert_eq(welcomed, 1);
    cr_assert(password_seen);
    reopen();
    offer("wrong");
    weir_client_judged(&client, false);
    expect_fatal("28P01", "password authentication failed");
    reopen();
    offer("wrong");
    client.login->refusal = WEIR_REASON_OUTSIDE_REFUSED;
    client.login->refusal_text = weir_strdup("so say others");
    weir_client_judged(&client, false);
    expect_fatal("28000", "so say others");
    cr_assert_eq(welcomed, 0);
    reopen();
    refuse_at_once = true;
    offer("geheim");
    expect_fatal("08006", "cannot check the password now");
    refuse_at_once = false;
    finish();
}

/* What comes with the password and while it is judged is kept, the password itself is not. */
Test(session, what_comes_while_it_is_judged)
{
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    weir_write_password(&writer, "geheim", 7);
    weir_write_query(&writer, "one");
    admission.method = WEIR_AUTH_OUTSIDE;
    log_in(plain);
    send_bytes(weir_buffer_bytes(&out), weir_buffer_length(&out));
    weir_buffer_clear(&out);
    turns(3);
    send_bytes("Q\0\0\0\6x", 7);
    turns(3);
    cr_assert_eq(client.state, WEIR_CLIENT_LOOKUP);
    cr_assert_null(memmem(loop.scratch, loop.scratch_size, "geheim", 6));
    weir_client_judged(&client, true);
    cr_assert_eq(welcomed, 1);
    uint8_t *bytes;
    size_t length;
    weir_stream_unread(&client.stream, &bytes, &length);
    cr_assert_eq(length, 9 + 7, "%zu", length);
    cr_assert_eq(bytes[0], 'Q');
    finish();
}

Test(session, goes_away_while_it_is_judged)
{
    offer("geheim");
    close(peer);
    peer = -1;
    turns(3);
    cr_assert_eq(ended, 1);
    cr_assert_eq(end_reason, WEIR_REASON_CLIENT_GONE);
    finish();
}
