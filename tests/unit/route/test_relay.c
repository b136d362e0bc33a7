/* Clients, servers and transactions: who gets which connection, and what is answered. */
#include "world.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(relay, .init = world_init, .timeout = 120);
TestSuite(relay_pool, .timeout = 120);

Test(relay, simple_queries)
{
    struct raw_client client;
    client_open(&client);
    exchange(&client, "Q select 1", "T D(select 1) C(SELECT 1) Z(I)");
    exchange(&client, "Q empty", "I Z(I)");
    exchange(&client, "Q fail", "E(42P01) Z(I)");
    exchange(&client, "Q begin|Q fail|Q select 1|Q rollback",
             "C(BEGIN) Z(T) E(42P01) Z(E) E(25P02) Z(E) C(ROLLBACK) Z(I)");
    exchange(&client, "F", "V Z(I)");
    cr_assert(world_is_quiet());
    cr_assert_eq(world.postgres.opened, 1);
    client_close(&client);
    world_close();
}

Test(relay_pool, two_servers_serve_many_clients_in_turn)
{
    enum { CLIENTS = 6 };
    struct raw_client clients[CLIENTS];
    int used[2] = {0}, changes = 0;
    uint32_t last[CLIENTS] = {0};
    world_open("pool_size = 2\npool_use_lifo = off");
    for (int i = 0; i < CLIENTS; i++)
        client_open(&clients[i]);
    for (int round = 0; round < 20; round++) {
        /* Two transactions at a time, so that both servers are needed. */
        for (int i = 0; i < CLIENTS; i += 2) {
            client_send(&clients[i], "Q begin|Q select a");
            client_send(&clients[i + 1], "Q begin|Q select b");
            client_expect(&clients[i], 2, "C(BEGIN) Z(T) T D(select a) C(SELECT 1) Z(T)");
            client_expect(&clients[i + 1], 2, "C(BEGIN) Z(T) T D(select b) C(SELECT 1) Z(T)");
            cr_assert_neq(clients[i].server, clients[i + 1].server);
            exchange(&clients[(i + round) % 2 + i], "Q commit", "C(COMMIT) Z(I)");
            exchange(&clients[(i + round + 1) % 2 + i], "Q commit", "C(COMMIT) Z(I)");
        }
        for (int i = 0; i < CLIENTS; i++) {
            cr_assert(clients[i].server == 1001 || clients[i].server == 1002);
            used[clients[i].server - 1001]++;
            changes += last[i] != 0 && last[i] != clients[i].server;
            last[i] = clients[i].server;
        }
    }
    cr_assert_eq(used[0], 60);
    cr_assert_eq(used[1], 60);
    cr_assert_gt(changes, 10);
    cr_assert_eq(world.postgres.opened, 2);
    for (int i = 0; i < CLIENTS; i++)
        client_close(&clients[i]);
    world_close();
}

Test(relay, those_who_wait_are_served_in_order)
{
    struct raw_client holder, waiters[4];
    client_open(&holder);
    for (int i = 0; i < 4; i++)
        client_open(&waiters[i]);
    exchange(&holder, "Q begin", "C(BEGIN) Z(T)");
    for (int i = 0; i < 4; i++) {
        client_send(&waiters[i], "Q begin");
        world_turns(4);
    }
    cr_assert_eq(world_counts().waiting, 4);
    exchange(&holder, "Q commit", "C(COMMIT) Z(I)");
    for (int i = 0; i < 4; i++) {
        client_expect(&waiters[i], 1, "C(BEGIN) Z(T)");
        for (int k = i + 1; k < 4; k++)
            client_expect(&waiters[k], 0, "");
        exchange(&waiters[i], "Q commit", "C(COMMIT) Z(I)");
    }
    for (int i = 0; i < 4; i++)
        client_close(&waiters[i]);
    client_close(&holder);
    world_close();
}

Test(relay, pipeline_of_several_batches)
{
    struct raw_client client;
    client_open(&client);
    exchange(&client, "P - a|B -|DP -|E|S", "1 2 T D(a) C(SELECT 1) Z(I)");
    exchange(&client,
             "P - a|B -|E|S|P - b|B -|E|P - c|B -|E|S|S|Q q|P - begin|B -|E|S|P - d|B -|E|S|"
             "P - commit|B -|E|S",
             "1 2 D(a) C(SELECT 1) Z(I) 1 2 D(b) C(SELECT 1) 1 2 D(c) C(SELECT 1) Z(I) Z(I) "
             "T D(q) C(SELECT 1) Z(I) 1 2 C(BEGIN) Z(T) 1 2 D(d) C(SELECT 1) Z(T) "
             "1 2 C(COMMIT) Z(I)");
    cr_assert(world_is_quiet());
    client_close(&client);
    world_close();
}

/* An error in each message of a batch, alone and with a batch behind it: the rest up to Sync has no
 * answer, what follows has. */
Test(relay, error_in_each_message_of_a_batch)
{
    static const struct {
        const char *messages, *answers;
    } rows[] = {
        {"P - fail_parse|B -|DP -|E|CP -|S", "E(42601) Z(I)"},
        {"P n fail_parse|B n|DP -|E|CS n|S", "E(42601) Z(I)"},
        {"P - fail_bind|B -|DP -|E|S", "1 E(22P02) Z(I)"},
        {"P n fail_bind|B n|E|CS n|S|CS n|S", "1 E(22P02) Z(I) 3 Z(I)"},
        {"B missing|E|S", "E(26000) Z(I)"},
        {"DS missing|S", "E(26000) Z(I)"},
        {"P - a|B -|DP other|E|S", "1 2 E(34000) Z(I)"},
        {"P - a|B -|E other|E|S", "1 2 E(34000) Z(I)"},
        {"P - fail|B -|E|E|S", "1 2 E(42P01) Z(I)"},
        {"P - fail|B -|E|P n b|B n|S", "1 2 E(42P01) Z(I)"},
        {"P - fail|B -|E|H|Q skipped|S", "1 2 E(42P01) Z(I)"},
        {"P - fail|B -|E|F|S", "1 2 E(42P01) Z(I)"},
        {"CS missing|CP missing|S", "3 3 Z(I)"},
    };
    struct raw_client client;
    client_open(&client);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        exchange(&client, rows[i].messages, rows[i].answers);
        cr_assert(world_is_quiet(), "row %zu", i);
        char *messages = weir_format("%s|P - z|B -|E|S", rows[i].messages);
        char *answers = weir_format("%s 1 2 D(z) C(SELECT 1) Z(I)", rows[i].answers);
        exchange(&client, messages, answers);
        free(messages);
        free(answers);
        /* The same in a transaction that the error spoils, and in a row of two. */
        messages = weir_format("Q begin|%s|Q rollback", rows[i].messages);
        client_send(&client, messages);
        free(messages);
        world_until(
            (client_read(&client),
             client.ready >=
                 (strstr(rows[i].messages, "S|") && strstr(rows[i].answers, "3 Z") ? 4 : 3)));
        world_turns(4);
        client_read(&client);
        cr_assert_not_null(strstr(client.transcript, "Z(I)"));
        cr_assert_eq(client.fatal, 0);
        client_forget(&client);
        cr_assert(world_is_quiet(), "row %zu", i);
        exchange(&client, "CS n|S", "3 Z(I)");
    }
    cr_assert_eq(world.postgres.opened, 1);
    client_close(&client);
    world_close();
}

/* A batch without its Sync is a transaction that is still open: the server stays with the client. */
Test(relay_pool, answered_messages_without_sync_keep_the_server)
{
    struct raw_client first, second;
    world_open("pool_size = 1");
    client_open(&first);
    client_open(&second);
    client_send(&first, "P - a|B -|E|H");
    world_until((client_read(&first), strstr(first.transcript, "SELECT 1") != NULL));
    world_turns(4);
    client_send(&second, "Q other");
    world_turns(10);
    client_expect(&second, 0, "");
    cr_assert_eq(world.postgres.late_batches, 0);
    client_send(&first, "P - b|B -|E|S");
    client_expect(&first, 1, "1 2 D(a) C(SELECT 1) 1 2 D(b) C(SELECT 1) Z(I)");
    client_expect(&second, 1, "T D(other) C(SELECT 1) Z(I)");
    client_close(&first);
    client_close(&second);
    world_close();
}

/* The same when the client goes: nobody else may find the transaction open. */
Test(relay, vanishing_without_sync_leaves_no_open_batch)
{
    static const char *const batches[] = {"P - a|H", "P - a|B -|H", "P - a|B -|E|H", "DS -|H",
                                          "P n a|DS n|H"};
    struct raw_client client;
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        client_open(&client);
        client_send(&client, batches[i]);
        world_turns(20);
        client_close(&client);
        world_until(world_is_quiet());
        client_open(&client);
        exchange(&client, "Q next", "T D(next) C(SELECT 1) Z(I)");
        client_close(&client);
        world_until(world_is_quiet());
        cr_assert_eq(world.postgres.late_batches, 0, "batch %zu", i);
    }
    cr_assert_eq(world.postgres.opened, 1);
    world_close();
}

/* --- refused
 * -------------------------------------------------------------------------------------------------- */

/* No server in time: one error and one ReadyForQuery for a batch, and the session goes on. */
static void refuse_and_go_on(const char *batch, int ready, const char *answers)
{
    struct raw_client holder, client;
    client_open(&holder);
    client_open(&client);
    exchange(&holder, "Q begin", "C(BEGIN) Z(T)");
    client_send(&client, batch);
    client_expect(&client, ready, answers);
    exchange(&holder, "Q commit", "C(COMMIT) Z(I)");
    exchange(&client, "P - after|B -|E|S", "1 2 D(after) C(SELECT 1) Z(I)");
    client_close(&holder);
    client_close(&client);
    world_until(world_is_quiet());
}

Test(relay_pool, refused_batch_gets_one_error_and_one_ready)
{
    world_open("pool_timeout = 0.2");
    refuse_and_go_on("P - a|B -|DP -|E|S", 1, "E(53300) Z(I)");
    refuse_and_go_on("P n a|B n|E|CS n|H|S", 1, "E(53300) Z(I)");
    refuse_and_go_on("S", 1, "E(53300) Z(I)");
    refuse_and_go_on("Q a", 1, "E(53300) Z(I)");
    refuse_and_go_on("F", 1, "E(53300) Z(I)");
    world_close();
}

Test(relay_pool, refused_at_once_when_too_many_wait)
{
    struct raw_client holder, waiter, client;
    world_open("max_waiting = 1");
    client_open(&holder);
    client_open(&waiter);
    client_open(&client);
    exchange(&holder, "Q begin", "C(BEGIN) Z(T)");
    client_send(&waiter, "Q waits");
    world_turns(4);
    exchange(&client, "P - a|B -|E|S", "E(53300) Z(I)");
    exchange(&client, "Q a", "E(53300) Z(I)");
    /* What follows the refused batch is a batch of its own. */
    exchange(&client, "P - a|B -|E|S|Q b|P - c|S", "E(53300) Z(I) E(53300) Z(I) E(53300) Z(I)");
    exchange(&holder, "Q commit", "C(COMMIT) Z(I)");
    client_expect(&waiter, 1, "T D(waits) C(SELECT 1) Z(I)");
    exchange(&client, "Q a", "T D(a) C(SELECT 1) Z(I)");
    client_close(&holder);
    client_close(&waiter);
    client_close(&client);
    world_close();
}

Test(relay, waiting_client_can_be_cancelled)
{
    struct raw_client holder, client;
    client_open(&holder);
    client_open(&client);
    exchange(&holder, "Q begin", "C(BEGIN) Z(T)");
    client_send(&client, "P - a|B -|E|S");
    world_turns(4);
    cr_assert_eq(client.key_length, 4);
    cancel_request(world.router, client.pid, client.key, client.key_length);
    client_expect(&client, 1, "E(57014) Z(I)");
    exchange(&holder, "Q commit", "C(COMMIT) Z(I)");
    exchange(&client, "Q a", "T D(a) C(SELECT 1) Z(I)");
    client_close(&holder);
    client_close(&client);
    world_close();
}

Test(relay, cancel_reaches_the_statement_that_runs)
{
    struct raw_client client;
    client_open(&client);
    client_send(&client, "Q sleep");
    world_turns(10);
    uint8_t wrong[4] = {0};
    memcpy(wrong, client.key, 4);
    wrong[3] ^= 1;
    cancel_request(world.router, client.pid, wrong, 4);
    cancel_request(world.router, client.pid, client.key, 3);
    cancel_request(world.router, client.pid + 1, client.key, 4);
    world_turns(10);
    cr_assert_eq(world.postgres.cancels, 0);
    cancel_request(world.router, client.pid, client.key, 4);
    client_expect(&client, 1, "E(57014) Z(I)");
    cr_assert_eq(world.postgres.cancels, 1);
    exchange(&client, "Q a", "T D(a) C(SELECT 1) Z(I)");
    client_send(&client, "P - sleep|B -|E|S|Q b");
    world_turns(10);
    cancel_request(world.router, client.pid, client.key, 4);
    client_expect(&client, 2, "1 2 E(57014) Z(I) T D(b) C(SELECT 1) Z(I)");
    cr_assert_eq(world.postgres.cancels, 2);
    world_until(world_is_quiet());
    cr_assert_eq(world.postgres.opened, 1);
    client_close(&client);
    world_close();
}

/* --- settings
 * ------------------------------------------------------------------------------------------------ */

Test(relay, settings_follow_their_client)
{
    static const char *const utc[] = {"TimeZone=CET", "application_name=one", NULL};
    struct raw_client first, second;
    client_start(&first, utc);
    client_forget(&first);
    client_open(&second);
    for (int i = 0; i < 3; i++) {
        exchange(&first, "Q a", "T D(a) C(SELECT 1) Z(I)");
        struct fake_backend *backend = fake_postgres_find(&world.postgres, 0);
        cr_assert_str_eq(fake_texts_find(&backend->settings, "timezone"), "CET");
        cr_assert_str_eq(fake_texts_find(&backend->settings, "application_name"), "one");
        exchange(&second, "P - b|B -|E|S", "1 2 D(b) C(SELECT 1) Z(I)");
        cr_assert_null(fake_texts_find(&backend->settings, "timezone"));
        cr_assert_null(fake_texts_find(&backend->settings, "application_name"));
    }
    /* Changed in the session, reported or not. */
    exchange(&second, "Q set work_mem=8MB", "C(SET) Z(I)");
    exchange(&second, "Q set timezone=EST", "S(TimeZone=EST) C(SET) Z(I)");
    exchange(&first, "Q a", "T D(a) C(SELECT 1) Z(I)");
    struct fake_backend *backend = fake_postgres_find(&world.postgres, 0);
    cr_assert_null(fake_texts_find(&backend->settings, "work_mem"));
    cr_assert_str_eq(fake_texts_find(&backend->settings, "timezone"), "CET");
    exchange(&second, "Q b", "T D(b) C(SELECT 1) Z(I)");
    cr_assert_str_eq(fake_texts_find(&backend->settings, "work_mem"), "8MB");
    cr_assert_str_eq(fake_texts_find(&backend->settings, "timezone"), "EST");
    cr_assert_eq(world.postgres.opened, 1);
    client_close(&first);
    client_close(&second);
    world_close();
}

Test(relay, bad_setting_is_refused_at_login)
{
    static const char *const bad[] = {"work_mem=bad", NULL};
    struct raw_client client;
    client_start(&client, bad);
    client_expect_end(&client, "FATAL(22023) EOF");
    client_close(&client);
    world_until(world_is_quiet());
    client_open(&client);
    exchange(&client, "Q a", "T D(a) C(SELECT 1) Z(I)");
    client_close(&client);
    world_close();
}

/* --- odds and ends
 * ------------------------------------------------------------------------------------------- */

Test(relay, every_answer_in_single_bytes)
{
    struct raw_client client;
    world.postgres.trickle = 1;
    client_open(&client);
    exchange(&client, "P n a|DS n|B n|DP -|E|S|Q copyout|Q fail|Q set timezone=CET",
             "1 t T 2 T D(a) C(SELECT 1) Z(I) H d(one\n) d(two\n) c C(COPY 2) Z(I) "
             "E(42P01) Z(I) S(TimeZone=CET) C(SET) Z(I)");
    client_close(&client);
    world_close();
}

Test(relay, every_message_cut_at_every_byte)
{
    struct raw_client client;
    struct weir_buffer all = {0};
    build(&all, "P n a|DS n|B n|DP -|E|CS n|S|Q q|F");
    client_open(&client);
    size_t length = weir_buffer_length(&all);
    const uint8_t *bytes = weir_buffer_bytes(&all);
    static const char answers[] =
        "1 t T 2 T D(a) C(SELECT 1) 3 Z(I) T D(q) C(SELECT 1) Z(I) V Z(I)";
    for (size_t cut = 1; cut < length; cut++) {
        client_send_bytes(&client, bytes, cut);
        world_turns(3);
        client_send_bytes(&client, bytes + cut, length - cut);
        client_expect(&client, 3, answers);
    }
    for (size_t i = 0; i < length; i++) {
        client_send_bytes(&client, bytes + i, 1);
        world_turns(1);
    }
    client_expect(&client, 3, answers);
    cr_assert_eq(world.postgres.opened, 1);
    weir_buffer_clear(&all);
    client_close(&client);
    world_close();
}

Test(relay, nonsense_ends_only_its_sender)
{
    static const struct {
        const char *bytes;
        size_t length;
    } rows[] = {
        {"Q\0\0\0\3", 5},    {"Q\xff\xff\xff\xff", 5}, {"y\0\0\0\4", 5},  {"P\0\0\0\4", 5},
        {"P\0\0\0\7abc", 8}, {"D\0\0\0\4", 5},         {"D\0\0\0\5S", 6}, {"C\0\0\0\4", 5},
        {"B\0\0\0\5a", 6},   {"B\0\0\0\6\0a", 7},      {"\0\0\0\0\0", 5}, {"P\0\0\0\6n\0", 7},
    };
    struct raw_client good, bad;
    client_open(&good);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        client_open(&bad);
        client_send_bytes(&bad, rows[i].bytes, rows[i].length);
        world_until((client_read(&bad), bad.over));
        cr_assert(strcmp(bad.transcript, "FATAL(08P01) EOF") == 0 ||
                      strcmp(bad.transcript, "FATAL(54000) EOF") == 0,
                  "row %zu: %s", i, bad.transcript);
        client_close(&bad);
        world_until(world_is_quiet());
        exchange(&good, "Q a", "T D(a) C(SELECT 1) Z(I)");
    }
    client_close(&good);
    world_close();
}

Test(relay, terminate_after_a_query_still_runs_it)
{
    struct raw_client client;
    client_open(&client);
    client_send(&client, "Q set work_mem=1|X");
    world_until((client_read(&client), client.over));
    client_close(&client);
    world_until(world_is_quiet());
    struct fake_backend *backend = fake_postgres_find(&world.postgres, 0);
    cr_assert_not_null(strchr(backend->messages, 'Q'));
    /* What it has left is known, and taken away for the next client. */
    struct raw_client other;
    client_open(&other);
    exchange(&other, "Q select 1", "T D(select 1) C(SELECT 1) Z(I)");
    cr_assert_null(fake_texts_find(&backend->settings, "work_mem"));
    client_close(&other);
    cr_assert_eq(world.postgres.opened, 1);
    world_close();
}

Test(relay, destroyed_in_the_middle_of_everything)
{
    struct raw_client clients[5];
    for (int i = 0; i < 5; i++)
        client_open(&clients[i]);
    client_send(&clients[0], "Q sleep");
    world_turns(5);
    client_send(&clients[1], "P n a|B n|E|S");
    client_send(&clients[2], "Q waits");
    client_send_bytes(&clients[3], "Q\0\0\1\0half", 9);
    world_turns(5);
    cancel_request(world.router, clients[0].pid, clients[0].key, 4);
    weir_router_destroy(world.router);
    world.router = NULL;
    for (int i = 0; i < 5; i++) {
        client_read(&clients[i]);
        cr_assert(clients[i].over);
        client_close(&clients[i]);
    }
    world_close();
}

Test(relay, drain_tells_each_client_at_its_boundary)
{
    struct raw_client idle, busy;
    client_open(&idle);
    client_open(&busy);
    exchange(&busy, "Q begin", "C(BEGIN) Z(T)");
    weir_router_drain(world.router);
    client_expect_end(&idle, "FATAL(57P01) EOF");
    client_close(&idle);
    exchange(&busy, "Q a", "T D(a) C(SELECT 1) Z(T)");
    cr_assert_not(weir_router_is_drained(world.router));
    client_send(&busy, "Q commit");
    client_expect_end(&busy, "C(COMMIT) Z(I) FATAL(57P01) EOF");
    client_close(&busy);
    world_until(weir_router_is_drained(world.router));
    world_close();
}

/* A client knows what it has notified by the pid that it was given at its login; what others have keeps
 * the pid of their server connection. */
Test(relay_pool, notifications_of_a_client_have_its_own_pid)
{
    struct raw_client listener, other;
    world_open("pool_size = 2");
    client_open(&listener);
    client_open(&other);
    cr_assert_gt(listener.pid, 4194303, "%u may be that of a process", listener.pid);
    exchange(&listener, "Q listen news", "C(LISTEN) Z(I)");
    exchange(&listener, "Q notify news mine", "C(NOTIFY) A(own:news:mine) Z(I)");
    exchange(&other, "Q notify news theirs", "C(NOTIFY) Z(I)");
    exchange(&listener, "Q empty", "A(1002:news:theirs) I Z(I)");
    exchange(&listener, "P - notify news|B -|E|S", "1 2 C(NOTIFY) A(own:news:) Z(I)");
    client_close(&listener);
    client_close(&other);
    world_close();
}
