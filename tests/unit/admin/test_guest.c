/* A session of the console, message by message, beside a router made of variables. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_router.h"

/* --- writing and reading messages -------------------------------------------------------------- */

static struct weir_buffer sent;

static size_t begin(char type)
{
    struct weir_writer writer = weir_writer_to(&sent);
    return weir_message_begin(&writer, type);
}

static void end(size_t at)
{
    struct weir_writer writer = weir_writer_to(&sent);
    weir_message_end(&writer, at);
}

static void put_text(const char *text)
{
    struct weir_writer writer = weir_writer_to(&sent);
    weir_write_string(&writer, text);
}

static void put_u16(uint16_t value)
{
    struct weir_writer writer = weir_writer_to(&sent);
    weir_write_u16(&writer, value);
}

static void put_u32(uint32_t value)
{
    struct weir_writer writer = weir_writer_to(&sent);
    weir_write_u32(&writer, value);
}

static void query(const char *text)
{
    size_t at = begin('Q');
    put_text(text);
    end(at);
}

static void parse(const char *name, const char *text)
{
    size_t at = begin('P');
    put_text(name);
    put_text(text);
    put_u16(0);
    end(at);
}

/* With one text parameter or none, results in `format`. */
static void bind_to(const char *portal, const char *name, const char *value, uint16_t format)
{
    size_t at = begin('B');
    put_text(portal);
    put_text(name);
    put_u16(0);
    put_u16(value != NULL);
    if (value != NULL) {
        put_u32((uint32_t)strlen(value));
        struct weir_writer writer = weir_writer_to(&sent);
        weir_write_bytes(&writer, value, strlen(value));
    }
    put_u16(1);
    put_u16(format);
    end(at);
}

static void execute(const char *portal, uint32_t limit)
{
    size_t at = begin('E');
    put_text(portal);
    put_u32(limit);
    end(at);
}

static void describe(char what, const char *name)
{
    size_t at = begin('D');
    struct weir_writer writer = weir_writer_to(&sent);
    weir_write_u8(&writer, (uint8_t)what);
    put_text(name);
    end(at);
}

static void bare(char type)
{
    end(begin(type));
}

static struct weir_buffer got;
static char types[262144];

/* Reads until nothing comes any more; the types of the messages. */
static const char *hear(void)
{
    static uint8_t bytes[65536];
    weir_buffer_clear(&got);
    for (int idle = 0; idle < 20;) {
        fake_turn(1);
        size_t length = fake_read(bytes, sizeof(bytes));
        idle = length > 0 ? 0 : idle + 1;
        cr_assert(weir_buffer_append(&got, bytes, length));
    }
    size_t count = 0, at = 0, length = weir_buffer_length(&got);
    while (at < length) {
        cr_assert(length - at >= WEIR_WIRE_HEADER);
        types[count++] = (char)weir_buffer_bytes(&got)[at];
        at += 1 + weir_get_u32(weir_buffer_bytes(&got) + at + 1);
    }
    cr_assert_eq(at, length);
    types[count] = '\0';
    return types;
}

static const char *answer_to_sent(void)
{
    cr_assert_eq(fake_write(weir_buffer_bytes(&sent), weir_buffer_length(&sent)),
                 weir_buffer_length(&sent));
    weir_buffer_clear(&sent);
    return hear();
}

/* The body of the first message of the type; NULL: there is none. */
static const uint8_t *find(char type, size_t *length)
{
    const uint8_t *at = weir_buffer_bytes(&got), *stop = at + weir_buffer_length(&got);
    for (; at < stop; at += 1 + weir_get_u32(at + 1)) {
        if (*at != (uint8_t)type)
            continue;
        *length = weir_get_u32(at + 1) - 4;
        return at + WEIR_WIRE_HEADER;
    }
    return NULL;
}

static const char *sqlstate(void)
{
    static struct weir_error_fields fields;
    size_t length;
    const uint8_t *body = find('E', &length);
    cr_assert_not_null(body);
    cr_assert(weir_error_parse(body, length, &fields));
    return fields.sqlstate;
}

static const char *ask(const char *text)
{
    query(text);
    return answer_to_sent();
}

static void open_admin(void)
{
    fake_open(WEIR_CONSOLE_ADMIN);
    cr_assert_str_eq(hear(), "RSSSSSSSSSSSSKZ");
}

static void open_stats(void)
{
    fake_open(WEIR_CONSOLE_STATS);
    hear();
}

static void shut(void)
{
    weir_buffer_clear(&sent);
    weir_buffer_clear(&got);
    fake_close();
}

/* --- simple queries ------------------------------------------------------------------------------ */

Test(guest, simple_queries, .init = open_admin, .fini = shut)
{
    cr_assert_str_eq(ask("show version"), "TDCZ");
    cr_assert_str_eq(ask("show version; show version;"), "TDCTDCZ");
    cr_assert_str_eq(ask(""), "IZ");
    cr_assert_str_eq(ask(" ; ;"), "IZ");
    cr_assert_str_eq(ask("; resume ;;"), "CZ");
    cr_assert_str_eq(ask("show help"), "NCZ");
    cr_assert_str_eq(ask("select 1"), "TDCZ");
    cr_assert_str_eq(ask("show peers"), "TCZ");
    /* Every table has as many values as columns, also those that are empty in most tests. */
    for (size_t i = 0; i < table_count; i++) {
        char text[64];
        snprintf(text, sizeof(text), "show %s", tables[i].name);
        cr_assert_eq(ask(text)[0], tables[i].walk != NULL ? 'T' : 'E', "%s", text);
    }
}

/* Nothing of a query is done when a part of it cannot be understood. */
Test(guest, errors_end_the_query, .init = open_admin, .fini = shut)
{
    cr_assert_str_eq(ask("resume; nonsense"), "EZ");
    cr_assert_str_eq(sqlstate(), "42601");
    cr_assert_eq(fake.resumed, 0);
    cr_assert_str_eq(ask("resume; pause nowhere; resume"), "CEZ");
    cr_assert_str_eq(sqlstate(), "3D000");
    cr_assert_eq(fake.resumed, 1);
    cr_assert_str_eq(ask("kill_client $1"), "EZ");
    cr_assert_str_eq(sqlstate(), "42P02");
    cr_assert_str_eq(ask("reload"), "EZ");
    cr_assert_str_eq(sqlstate(), "F0000");
    fake.set_fails = true;
    cr_assert_str_eq(ask("set a = b"), "EZ");
    cr_assert_str_eq(sqlstate(), "22023");
    cr_assert_str_eq(ask("explain pool no.where"), "TEZ");
    cr_assert_str_eq(sqlstate(), "42704");
    cr_assert_str_eq(ask("show version"), "TDCZ");
}

Test(guest, a_pool_is_found_whatever_dots_its_names_have, .init = open_admin, .fini = shut)
{
    cr_assert_eq(ask("explain pool d.b.u.v")[1], 'D');
}

Test(guest, stats_users_may_only_look, .init = open_stats, .fini = shut)
{
    cr_assert_str_eq(ask("show version"), "TDCZ");
    cr_assert_str_eq(ask("resume"), "EZ");
    cr_assert_str_eq(sqlstate(), "42501");
    cr_assert_str_eq(ask("set client_encoding = utf8"), "CZ");
    cr_assert_eq(fake.resumed, 0);
}

static char status(void)
{
    size_t length;
    return (char)*find('Z', &length);
}

Test(guest, transactions_are_believed, .init = open_admin, .fini = shut)
{
    ask("begin");
    cr_assert_eq(status(), 'T');
    ask("show nonsense");
    cr_assert_eq(status(), 'T');
    ask("commit");
    cr_assert_eq(status(), 'I');
}

/* --- the extended protocol ------------------------------------------------------------------------ */

Test(guest, extended_batches, .init = open_admin, .fini = shut)
{
    parse("", "show version");
    bind_to("", "", NULL, 0);
    describe('P', "");
    execute("", 0);
    bare('S');
    cr_assert_str_eq(answer_to_sent(), "12TDCZ");
    parse("s", "kill_client $1");
    describe('S', "s");
    bare('H');
    cr_assert_str_eq(answer_to_sent(), "1tn");
    bind_to("", "s", "4711", 0);
    execute("", 0);
    bare('S');
    cr_assert_str_eq(answer_to_sent(), "2CZ");
    cr_assert_eq(fake.killed, 4711);
    parse("", "");
    bind_to("", "", NULL, 0);
    describe('P', "");
    execute("", 0);
    bare('S');
    cr_assert_str_eq(answer_to_sent(), "12nIZ");
}

Test(guest, set_takes_its_value_by_parameter, .init = open_admin, .fini = shut)
{
    parse("", "set pool_size = $1");
    bind_to("", "", "it's 5", 0);
    execute("", 0);
    bare('S');
    cr_assert_str_eq(answer_to_sent(), "12CZ");
    cr_assert_str_eq(fake.set_name, "pool_size");
    cr_assert_str_eq(fake.set_value, "it's 5");
}

/* One error, then everything up to Sync is skipped. */
Test(guest, extended_errors, .init = open_admin, .fini = shut)
{
    static const struct {
        const char *text, *sqlstate;
    } rows[] = {
        {"nonsense", "42601"},
        {"show version; show state", "42601"},
        {"pause nowhere", "3D000"},
        {"kill_client nobody", "22P02"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        parse("", rows[i].text);
        bind_to("", "", NULL, 0);
        execute("", 0);
        execute("", 0);
        bare('S');
        cr_assert_str_eq(answer_to_sent() + (types[0] == '1' ? 2 : 0), "EZ", "%s", rows[i].text);
        cr_assert_str_eq(sqlstate(), rows[i].sqlstate, "%s", rows[i].text);
    }
    bind_to("", "missing", NULL, 0);
    bare('S');
    cr_assert_str_eq(answer_to_sent(), "EZ");
    cr_assert_str_eq(sqlstate(), "26000");
    parse("twice", "show state");
    parse("twice", "show state");
    bare('S');
    cr_assert_str_eq(answer_to_sent(), "1EZ");
    cr_assert_str_eq(sqlstate(), "42P05");
    bind_to("", "twice", NULL, 2);
    bare('S');
    answer_to_sent();
    cr_assert_str_eq(sqlstate(), "22023");
    bind_to("", "twice", "surplus", 0);
    bare('S');
    answer_to_sent();
    cr_assert_str_eq(sqlstate(), "08P01");
}

Test(guest, rows_in_portions, .init = open_admin, .fini = shut)
{
    fake.clients = 7;
    parse("", "show clients");
    bind_to("p", "", NULL, 0);
    execute("p", 3);
    execute("p", 3);
    execute("p", 3);
    bare('S');
    cr_assert_str_eq(answer_to_sent(), "12DDDsDDDsDCZ");
}

/* Inside a transaction a portal outlives Sync, outside it does not. */
Test(guest, portals_end_with_the_transaction, .init = open_admin, .fini = shut)
{
    fake.clients = 5;
    parse("", "show clients");
    bind_to("p", "", NULL, 0);
    execute("p", 3);
    bare('S');
    execute("p", 3);
    bare('S');
    cr_assert_str_eq(answer_to_sent(), "12DDDsZEZ");
    cr_assert_str_eq(sqlstate(), "34000");
    ask("begin");
    parse("", "show clients");
    bind_to("p", "", NULL, 0);
    execute("p", 3);
    bare('S');
    execute("p", 3);
    bare('S');
    cr_assert_str_eq(answer_to_sent(), "12DDDsZDDCZ");
}

Test(guest, portals_are_limited, .init = open_admin, .fini = shut)
{
    parse("", "show state");
    for (int i = 0; i <= PORTALS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof(name), "p%d", i);
        bind_to(name, "", NULL, 0);
    }
    bare('S');
    cr_assert_eq(strlen(answer_to_sent()), 1 + PORTALS_MAX + 2);
    cr_assert_str_eq(sqlstate(), "53400");
}

Test(guest, numbers_in_binary, .init = open_admin, .fini = shut)
{
    /* 12345678901234 as numeric: four digits to the base 10000, weight 3. */
    static const uint8_t expected[] = {0, 4,  0,    3,    0,    0,    0, 0,
                                       0, 12, 0x0d, 0x80, 0x1e, 0xd2, 4, 0xd2};
    const uint8_t *body;
    size_t length;
    parse("", "show totals");
    bind_to("", "", NULL, 1);
    execute("", 0);
    bare('S');
    answer_to_sent();
    bool found = false;
    const uint8_t *at = weir_buffer_bytes(&got), *stop = at + weir_buffer_length(&got);
    for (; at < stop; at += 1 + weir_get_u32(at + 1))
        found = found || memmem(at, 1 + weir_get_u32(at + 1), expected, sizeof(expected)) != NULL;
    cr_assert(found);
    parse("", "select 258");
    bind_to("", "", NULL, 1);
    execute("", 0);
    bare('S');
    answer_to_sent();
    body = find('D', &length);
    cr_assert_eq(length, 10);
    cr_assert_arr_eq(body, ((uint8_t[]){0, 1, 0, 0, 0, 4, 0, 0, 1, 2}), 10);
}

Test(guest, prepared_statements_are_limited, .init = open_admin, .fini = shut)
{
    for (int i = 0; i <= STATEMENTS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof(name), "s%d", i);
        parse(name, "show state");
        bare('S');
    }
    const char *answer = answer_to_sent();
    cr_assert_eq(strlen(answer), 2 * STATEMENTS_MAX + 2);
    cr_assert_str_eq(sqlstate(), "53400");
    cr_assert_str_eq(ask("deallocate all"), "CZ");
    parse("s1", "show state");
    bare('S');
    cr_assert_str_eq(answer_to_sent(), "1Z");
}

/* --- bytes ------------------------------------------------------------------------------------- */

/* Cut anywhere, the same comes out. */
Test(guest, messages_cut_anywhere, .init = open_admin, .fini = shut)
{
    parse("", "show version");
    bind_to("", "", NULL, 0);
    execute("", 0);
    bare('S');
    query("show version");
    struct weir_buffer all = sent;
    sent = (struct weir_buffer){0};
    size_t length = weir_buffer_length(&all);
    for (size_t cut = 1; cut < length; cut++) {
        cr_assert_eq(fake_write(weir_buffer_bytes(&all), cut), cut);
        fake_turn(3);
        cr_assert_eq(fake_write(weir_buffer_bytes(&all) + cut, length - cut), length - cut);
        cr_assert_str_eq(hear(), "12DCZTDCZ", "cut at %zu", cut);
    }
    weir_buffer_clear(&all);
}

static void expect_expelled(const char *state)
{
    const char *answer = answer_to_sent();
    cr_assert(strchr(answer, 'E') != NULL, "%s", answer);
    cr_assert_str_eq(sqlstate(), state);
    cr_assert(fake.dismissed);
}

Test(guest, too_large_messages_end_it, .init = open_admin, .fini = shut)
{
    const uint8_t bytes[] = {'Q', 0, 2, 0, 0};
    cr_assert(weir_buffer_append(&sent, bytes, sizeof(bytes)));
    expect_expelled("54000");
}

Test(guest, too_short_messages_end_it, .init = open_admin, .fini = shut)
{
    const uint8_t bytes[] = {'Q', 0, 0, 0, 3};
    cr_assert(weir_buffer_append(&sent, bytes, sizeof(bytes)));
    expect_expelled("54000");
}

Test(guest, malformed_messages_end_it, .init = open_admin, .fini = shut)
{
    bare('B');
    expect_expelled("08P01");
}

Test(guest, unknown_messages_end_it, .init = open_admin, .fini = shut)
{
    bare('?');
    expect_expelled("08P01");
}

Test(guest, terminate_ends_it, .init = open_admin, .fini = shut)
{
    query("show version");
    bare('X');
    cr_assert_str_eq(answer_to_sent(), "TDCZ");
    cr_assert(fake.dismissed);
}

/* --- long answers -------------------------------------------------------------------------------- */

Test(guest, long_answers_come_in_slices, .init = open_admin, .fini = shut)
{
    fake.clients = 20000;
    const char *answer = ask("show clients");
    cr_assert_eq(strlen(answer), 20000 + 3);
    cr_assert_gt(fake.walked, 50);
    cr_assert_leq(fake.most_at_once, 500);
}

/* A client that does not read makes us make no more than a slice ahead. */
Test(guest, nothing_is_made_for_who_does_not_read, .init = open_admin, .fini = shut)
{
    fake.clients = 1000000;
    for (int i = 0; i < 20; i++)
        query("show clients");
    cr_assert_gt(fake_write(weir_buffer_bytes(&sent), weir_buffer_length(&sent)), 0);
    fake_turn(2000);
    int walked = fake.walked;
    cr_assert_leq(weir_stream_unsent(&fake.client.stream), 4 * OUTPUT_HIGH);
    fake_turn(500);
    cr_assert_eq(fake.walked, walked);
    cr_assert_leq(walked, 40);
    weir_buffer_clear(&sent);
    static uint8_t bytes[1 << 20];
    for (int i = 0; i < 100; i++) {
        fake_read(bytes, sizeof(bytes));
        fake_turn(3);
    }
    cr_assert_gt(fake.walked, walked);
}

/* --- waiting ------------------------------------------------------------------------------------- */

static void let_time_pass(void)
{
    usleep(80000);
    fake_turn(3);
}

Test(guest, pause_answers_when_it_is_done, .init = open_admin, .fini = shut)
{
    query("pause; show version");
    cr_assert_str_eq(answer_to_sent(), "");
    fake.paused_out = true;
    let_time_pass();
    cr_assert_str_eq(hear(), "CTDCZ");
}

Test(guest, cancel_undoes_its_own_pause, .init = open_admin, .fini = shut)
{
    cr_assert_str_eq(ask("pause"), "");
    fake_cancel();
    cr_assert_str_eq(hear(), "EZ");
    cr_assert_str_eq(sqlstate(), "57014");
    cr_assert_eq(fake.resumed, 1);
    fake_cancel();
    cr_assert_str_eq(hear(), "");
}

Test(guest, cancel_leaves_the_pause_of_another, .init = open_admin, .fini = shut)
{
    fake.paused = true;
    cr_assert_str_eq(ask("pause"), "");
    fake_cancel();
    cr_assert_str_eq(hear(), "EZ");
    cr_assert_eq(fake.resumed, 0);
}

Test(guest, resume_ends_a_pause_that_waits, .init = open_admin, .fini = shut)
{
    cr_assert_str_eq(ask("pause"), "");
    fake.paused = false;
    let_time_pass();
    cr_assert_str_eq(hear(), "EZ");
    cr_assert_str_eq(sqlstate(), "57014");
}

Test(guest, disconnect_ends_the_wait, .init = open_admin, .fini = shut)
{
    cr_assert_str_eq(ask("pause"), "");
    cr_assert_eq(fake.admin->wait_count, 1);
    close(fake.peer);
    fake.peer = -1;
    fake_turn(3);
    cr_assert_eq(fake.admin->wait_count, 0);
    cr_assert_eq(fake.admin->guest_count, 0);
    cr_assert(fake.dismissed);
}

Test(guest, detach_ends_the_wait, .init = open_admin, .fini = shut)
{
    cr_assert_str_eq(ask("wait_close"), "");
    fake_detach();
    cr_assert_eq(fake.admin->wait_count, 0);
    cr_assert(!fake.dismissed);
}

Test(guest, a_flood_during_a_wait_is_not_read, .init = open_admin, .fini = shut)
{
    static uint8_t bytes[65536];
    memset(bytes, 'Q', sizeof(bytes));
    cr_assert_str_eq(ask("pause"), "");
    size_t taken = 0;
    for (int i = 0; i < 200; i++) {
        taken += fake_write(bytes, sizeof(bytes));
        fake_turn(2);
    }
    cr_assert_gt(taken, INPUT_MAX);
    cr_assert_lt(taken, 2000000);
}
