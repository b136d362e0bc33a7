/* Clients and servers that vanish, at every point: whoever is left sees one clear end, and a server
 * connection that goes to somebody else is clean. */
#include "world.h"

#include <stdlib.h>
#include <string.h>

TestSuite(ends, .init = world_init, .timeout = 120);
TestSuite(ends_pool, .timeout = 120);

/* The next client finds a server without anything of the one before. */
static void check_clean(size_t batch, size_t cut)
{
    struct raw_client next;
    world_until(world_is_quiet());
    client_open(&next);
    exchange(&next, "Q next", "T D(next) C(SELECT 1) Z(I)");
    struct fake_backend *backend = fake_postgres_find(&world.postgres, next.server);
    cr_assert_not_null(backend);
    cr_assert_eq(backend->settings.count, 0, "batch %zu cut at %zu", batch, cut);
    cr_assert_null(fake_texts_find(&backend->statements, "sql"), "batch %zu at %zu", batch, cut);
    cr_assert_eq(backend->status, 'I');
    cr_assert_eq(world.postgres.late_batches, 0, "batch %zu cut at %zu", batch, cut);
    exchange(&next, "B n|S", "E(26000) Z(I)");
    client_close(&next);
    world_until(world_is_quiet());
}

static const char *const batches[] = {
    "P n a|B n|DP -|E|CS n|S",
    "P n a|DS n|B n|E|H|B n|E|S|CS n|S",
    "Q begin|P n a|B n|E|S|Q set work_mem=8MB|Q commit",
    "Q begin|P - fail|B -|E|S|Q rollback",
    "P - fail_parse|B -|E|S|P - b|B -|E|S",
    "Q set work_mem=8MB|Q set timezone=CET|Q reset all",
    "Q prepare sql as one|Q execute sql|Q deallocate sql",
    "Q listen news|F|Q copyout",
    "Q copyin|d one|d two|c|Q a",
    "Q copyin|d bad|d two|c|Q a",
    "P - copyin|B -|E|S|d one|c|S",
    "P - begin|B -|E|P - copyin|B -|E|d one|f why|S",
};
enum { BATCHES = sizeof batches / sizeof batches[0] };

static bool is_boundary(const struct weir_buffer *all, size_t cut)
{
    size_t at = 0;
    while (at < cut)
        at += weir_get_u32(weir_buffer_bytes(all) + at + 1) + 1;
    return at == cut;
}

/* After every byte of every batch; with the answers still unread, and with them read. */
static void vanish_everywhere(size_t batch)
{
    struct weir_buffer all = {0};
    build(&all, batches[batch]);
    for (size_t cut = 0; cut <= weir_buffer_length(&all); cut++) {
        for (int turns = 0; turns <= 8; turns += 8) {
            struct raw_client client;
            client_open(&client);
            int opened = world.postgres.opened;
            client_send_bytes(&client, weir_buffer_bytes(&all), cut);
            world_turns(turns);
            client_close(&client);
            world_turns(1);
            check_clean(batch, cut);
            /* Half a message may cost the connection: its rest will never come. */
            if (is_boundary(&all, cut))
                cr_assert_eq(world.postgres.opened, opened, "batch %zu cut at %zu", batch, cut);
        }
    }
    weir_buffer_clear(&all);
}

#define VANISHING(number)                                                                          \
    Test(ends, client_vanishes_in_batch_##number)                                                  \
    {                                                                                              \
        vanish_everywhere(number);                                                                 \
        world_close();                                                                             \
    }
VANISHING(0)
VANISHING(1)
VANISHING(2)
VANISHING(3)
VANISHING(4)
VANISHING(5)
VANISHING(6)
VANISHING(7)
VANISHING(8)
VANISHING(9)
VANISHING(10)
VANISHING(11)
_Static_assert(BATCHES == 12, "each batch has its test");

Test(ends, client_vanishes_in_a_running_statement)
{
    static const char *const running[] = {"Q sleep", "P - sleep|B -|E|S", "P - sleep|B -|E|H",
                                          "Q begin|Q sleep", "P - sleep|B -|E|S|Q a|P - b|S"};
    for (size_t i = 0; i < sizeof running / sizeof running[0]; i++) {
        struct raw_client client;
        client_open(&client);
        client_send(&client, running[i]);
        world_turns(10);
        cr_assert(fake_postgres_find(&world.postgres, 0)->sleeping);
        client_close(&client);
        check_clean(i, 0);
        cr_assert_eq(world.postgres.cancels, (int)i + 1);
    }
    cr_assert_eq(world.postgres.opened, 1);
    world_close();
}

/* One that says goodbye properly is not cancelled: what it asked for is done. */
Test(ends, terminate_does_not_cancel)
{
    struct raw_client client;
    client_open(&client);
    client_send(&client, "Q sleep|X");
    world_turns(10);
    client_close(&client);
    world_turns(10);
    cr_assert_eq(world.postgres.cancels, 0);
    fake_postgres_wake(&world.postgres);
    check_clean(0, 0);
    cr_assert_eq(world.postgres.opened, 1);
    world_close();
}

Test(ends_pool, a_statement_that_cannot_be_cancelled_costs_the_connection)
{
    struct raw_client client;
    world_open("cancel_wait_timeout = 0.3");
    world.postgres.key_length = 20;
    client_open(&client);
    client_send(&client, "Q sleep");
    world_turns(10);
    /* The cancel does not match any more. */
    world.postgres.key_length = 4;
    client_close(&client);
    check_clean(0, 0);
    cr_assert_eq(world.postgres.cancels, 0);
    cr_assert_eq(world.postgres.opened, 2);
    world_close();
}

/* --- servers
 * -------------------------------------------------------------------------------------------------- */

/* One that has got half a message can only be closed: what follows would be read as the rest. */
static void check_one_fatal(struct raw_client *client, const char *what, long point)
{
    world_until((client_read(client), client->over));
    if (weir_buffer_length(&client->in) > 0) {
        cr_assert_eq(client->fatal, 0);
        const uint8_t *half = weir_buffer_bytes(&client->in);
        cr_assert(half[0] == 'D' || half[0] == 'd' || half[0] == 'V', "%s at %ld", what, point);
        client_close(client);
        world_until(world_is_quiet());
        return;
    }
    cr_assert_eq(client->fatal, 1, "%s at %ld: %s", what, point, client->transcript);
    const char *end = strstr(client->transcript, "FATAL(08006) EOF");
    cr_assert_not_null(end, "%s at %ld: %s", what, point, client->transcript);
    cr_assert_str_eq(end, "FATAL(08006) EOF");
    client_close(client);
    world_until(world_is_quiet());
}

/* After each byte of its answers. */
static void server_vanishes(const char *batch, const char *answers)
{
    int ready = 0;
    for (const char *at = answers; (at = strstr(at, "Z(")) != NULL; at++)
        ready++;
    for (long point = 0;; point++) {
        struct raw_client client;
        client_open(&client);
        struct fake_backend *backend = fake_postgres_find(&world.postgres, 0);
        long before = backend->sent;
        world.postgres.vanish_after = before + point;
        client_send(&client, batch);
        world_until((client_read(&client), client.over || client.ready == ready));
        world.postgres.vanish_after = -1;
        if (!client.over && client.ready == ready) {
            /* All was answered; if it vanished then, that is nobody's business any more. */
            world_turns(10);
            client_expect(&client, 0, answers);
            cr_assert_gt(point, 5);
            exchange(&client, "Q next", "T D(next) C(SELECT 1) Z(I)");
            client_close(&client);
            world_until(world_is_quiet());
            return;
        }
        check_one_fatal(&client, batch, point);
    }
}

Test(ends, server_vanishes_in_a_query)
{
    server_vanishes("Q a", "T D(a) C(SELECT 1) Z(I)");
    server_vanishes("Q fail", "E(42P01) Z(I)");
    server_vanishes("Q copyout", "H d(one\n) d(two\n) c C(COPY 2) Z(I)");
    server_vanishes("F", "V Z(I)");
    world_close();
}

Test(ends, server_vanishes_in_a_batch)
{
    server_vanishes("P n a|DS n|B n|DP -|E|CS n|S", "1 t T 2 T D(a) C(SELECT 1) 3 Z(I)");
    server_vanishes("P n a|B n|E|S|P - fail|B -|E|S",
                    "1 2 D(a) C(SELECT 1) Z(I) 1 2 E(42P01) Z(I)");
    world_close();
}

/* After each message that it took: what lies unread at its end makes a reset of the end of file. */
Test(ends, server_vanishes_after_each_message)
{
    static const char *const sent[] = {"P n a|DS n|B n|DP -|E|CS n|S", "Q begin|Q a|Q commit",
                                       "Q copyin|d one|d two|c|Q b"};
    for (size_t i = 0; i < sizeof sent / sizeof sent[0]; i++) {
        size_t count = 1;
        for (const char *at = sent[i]; (at = strchr(at, '|')) != NULL; at++)
            count++;
        for (size_t point = 1; point <= count; point++) {
            struct raw_client client;
            client_open(&client);
            struct fake_backend *backend = fake_postgres_find(&world.postgres, 0);
            world.postgres.vanish_at = (int)(backend->received + point);
            client_send(&client, sent[i]);
            check_one_fatal(&client, sent[i], (long)point);
            world.postgres.vanish_at = -1;
        }
    }
    world_close();
}

Test(ends, servers_own_fatal_is_passed_on_once)
{
    static const char *const deaths[] = {"Q die", "P - die|B -|E|S", "P - die|B -|E|S|Q a",
                                         "Q begin|Q die"};
    struct raw_client client;
    for (size_t i = 0; i < sizeof deaths / sizeof deaths[0]; i++) {
        client_open(&client);
        client_send(&client, deaths[i]);
        world_until((client_read(&client), client.over));
        cr_assert_eq(client.fatal, 1, "%s: %s", deaths[i], client.transcript);
        cr_assert_not_null(strstr(client.transcript, "FATAL(57P01) EOF"));
        client_close(&client);
    }
    /* In an open transaction that runs nothing. */
    client_open(&client);
    exchange(&client, "Q begin", "C(BEGIN) Z(T)");
    fake_postgres_end_all(&world.postgres, true);
    client_expect_end(&client, "FATAL(57P01) EOF");
    client_close(&client);
    client_open(&client);
    exchange(&client, "Q begin", "C(BEGIN) Z(T)");
    fake_postgres_end_all(&world.postgres, false);
    client_expect_end(&client, "FATAL(08006) EOF");
    client_close(&client);
    world_until(world_is_quiet());
    world_close();
}

/* Nothing of it ran: the client does not see that an idle server connection went. */
Test(ends, death_of_an_idle_server_is_nobodys_business)
{
    struct raw_client client;
    client_open(&client);
    for (int say = 0; say < 2; say++) {
        exchange(&client, "Q a", "T D(a) C(SELECT 1) Z(I)");
        fake_postgres_end_all(&world.postgres, say != 0);
        world_turns(10);
        exchange(&client, "Q b", "T D(b) C(SELECT 1) Z(I)");
        /* Asked in the same turn in which it dies. */
        client_send(&client, "P n c|B n|E|CS n|S");
        fake_postgres_end_all(&world.postgres, say != 0);
        client_expect(&client, 1, "1 2 D(c) C(SELECT 1) 3 Z(I)");
    }
    client_close(&client);
    world_close();
}

Test(ends_pool, refused_server_login_is_told_to_who_waits)
{
    struct raw_client client;
    world_open("");
    world.postgres.refuse_login = "28P01";
    client_start(&client, NULL);
    client_expect_end(&client, "FATAL(28P01) EOF");
    client_close(&client);
    world_close();
}

Test(ends_pool, session_mode_cleans_with_the_reset_query)
{
    struct raw_client client, next;
    world_open("pool_mode = session");
    client_open(&client);
    exchange(&client, "P n a|Q set work_mem=8MB|S", "1 C(SET) Z(I) Z(I)");
    cr_assert_eq(world_counts().active, 1);
    client_close(&client);
    world_until(world_is_quiet());
    client_open(&next);
    exchange(&next, "B n|S", "E(26000) Z(I)");
    struct fake_backend *backend = fake_postgres_find(&world.postgres, 0);
    cr_assert_eq(backend->settings.count, 0);
    cr_assert_eq(world.postgres.opened, 1);
    client_close(&next);
    world_close();
}

/* --- COPY
 * -------------------------------------------------------------------------------------------------- */

Test(ends, copy_in_by_query)
{
    struct raw_client client;
    client_open(&client);
    for (int i = 0; i < 3; i++) {
        exchange(&client, "Q copyin|d one|d two|c", "G C(COPY 1) Z(I)");
        exchange(&client, "Q copyin|d one|f why", "G E(57014) Z(I)");
        exchange(&client, "Q copyin|d bad|d two|d three|c", "G E(22P04) Z(I)");
        exchange(&client, "Q copyin|d bad|f why|Q a", "G E(22P04) Z(I) T D(a) C(SELECT 1) Z(I)");
        exchange(&client, "Q begin|Q copyin|d bad|c|Q rollback",
                 "C(BEGIN) Z(T) G E(22P04) Z(E) C(ROLLBACK) Z(I)");
        exchange(&client, "Q copyin|H|S|d one|c|Q a", "G C(COPY 1) Z(I) T D(a) C(SELECT 1) Z(I)");
        exchange(&client, "Q copyout", "H d(one\n) d(two\n) c C(COPY 2) Z(I)");
        /* The client waits for each answer. */
        client_send(&client, "Q copyin");
        world_until((client_read(&client), strcmp(client.transcript, "G") == 0));
        client_send(&client, "d one");
        world_turns(4);
        client_send(&client, "d bad");
        client_expect(&client, 1, "G E(22P04) Z(I)");
        client_send(&client, "d more|c");
        exchange(&client, "Q a", "T D(a) C(SELECT 1) Z(I)");
        cr_assert(world_is_quiet());
    }
    cr_assert_eq(world.postgres.opened, 1);
    client_close(&client);
    world_close();
}

Test(ends, copy_in_by_execute)
{
    struct raw_client client;
    client_open(&client);
    for (int i = 0; i < 3; i++) {
        exchange(&client, "P - copyin|B -|E|d one|c|S", "1 2 G C(COPY 1) Z(I)");
        exchange(&client, "P - copyin|B -|E|d one|f why|S", "1 2 G E(57014) Z(I)");
        exchange(&client, "P - copyin|B -|E|d bad|d two|c|S", "1 2 G E(22P04) Z(I)");
        exchange(&client, "P - copyin|B -|E|d bad|f why|S|Q a",
                 "1 2 G E(22P04) Z(I) T D(a) C(SELECT 1) Z(I)");
        /* Sync before the data, as who does not know that it is a COPY sends it. */
        client_send(&client, "P - copyin|B -|E|S");
        world_until((client_read(&client), strcmp(client.transcript, "1 2 G") == 0));
        exchange(&client, "d one|c|S", "1 2 G C(COPY 1) Z(I)");
        client_send(&client, "P - copyin|B -|E|S");
        world_until((client_read(&client), strcmp(client.transcript, "1 2 G") == 0));
        exchange(&client, "d one|f why|S", "1 2 G E(57014) Z(I)");
        exchange(&client, "P - copyout|B -|E|S", "1 2 H d(one\n) d(two\n) c C(COPY 2) Z(I)");
        exchange(&client, "P - b|B -|E|S", "1 2 D(b) C(SELECT 1) Z(I)");
        cr_assert(world_is_quiet());
    }
    cr_assert_eq(world.postgres.opened, 1);
    client_close(&client);
    world_close();
}

/* PostgreSQL ends the connection over it; nothing may wait for the end of such a COPY. */
Test(ends, other_messages_in_copy_data_end_the_client)
{
    static const char *const messages[] = {"Q a",          "P n a|S", "B -", "DS -",
                                           "CS n|P n b|X", "E",       "F"};
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        struct raw_client client;
        client_open(&client);
        client_send(&client, "P n a|S|Q copyin");
        world_until((client_read(&client), strcmp(client.transcript, "1 Z(I) G") == 0));
        client_send(&client, messages[i]);
        client_expect_end(&client, "1 Z(I) G FATAL(08P01) EOF");
        client_close(&client);
        check_clean(i, 0);
    }
    cr_assert_eq(world.postgres.opened, 1);
    world_close();
}

/* The same when they were sent before anybody knew that it would be a COPY. */
Test(ends, messages_behind_an_unexpected_copy_do_not_wait_for_ever)
{
    static const char *const messages[] = {"Q discard all|Q copyin|P n a|B n|X",
                                           "P n a|S|CS n|S|Q copyin|P n b|X",
                                           "P n shifty|DS n|S|Q copyin|B n|X"};
    struct raw_client client;
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        client_open(&client);
        client_send(&client, messages[i]);
        world_until((client_read(&client), client.over));
        client_close(&client);
        check_clean(i, 0);
    }
    world_close();
}
