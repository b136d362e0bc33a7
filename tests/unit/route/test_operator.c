/* What an operator does to databases and clients, by its effects on clients and servers. */
#include "world.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/operator.h"
#include "weir/view.h"

TestSuite(operator, .init = world_init, .timeout = 120);
TestSuite(operator_pool, .timeout = 120);

#define ROW(text) "T D(" text ") C(SELECT 1) Z(I)"

static void open_other(struct raw_client *client)
{
    client_start_as(client, "u", "other", NULL);
    client_forget(client);
    cr_assert_not(client->over);
}

/* Long enough that whoever could be served would have been. */
static void check_waits(struct raw_client *client)
{
    world_turns(20);
    client_expect(client, 0, "");
    cr_assert_not(client->over);
}

/* --- pause and resume ------------------------------------------------------------------ */

Test(operator, while_paused_nobody_gets_a_server_and_who_has_one_keeps_it)
{
    struct raw_client holder, waiter;
    client_open(&holder);
    client_open(&waiter);
    exchange(&holder, "Q begin|Q a", "C(BEGIN) Z(T) T D(a) C(SELECT 1) Z(T)");
    uint32_t before = holder.server;
    cr_assert_eq(weir_operator_pause(world.router, "db"), WEIR_OPERATOR_DONE);
    cr_assert_eq(weir_operator_pause(world.router, "db"), WEIR_OPERATOR_ALREADY);
    cr_assert(weir_operator_is_paused(world.router, "db"));
    cr_assert_not(weir_operator_is_paused(world.router, NULL));
    client_send(&waiter, "Q b");
    check_waits(&waiter);
    cr_assert_not(weir_operator_is_paused_out(world.router, "db"));
    exchange(&holder, "Q c", "T D(c) C(SELECT 1) Z(T)");
    cr_assert_eq(holder.server, before);
    exchange(&holder, "Q commit", "C(COMMIT) Z(I)");
    world_until(weir_operator_is_paused_out(world.router, "db"));
    cr_assert_eq(fake_postgres_count(&world.postgres), 0);
    check_waits(&waiter);
    cr_assert_eq(world_counts().waiting, 1);
    cr_assert_eq(world.postgres.opened, 1);

    cr_assert_eq(weir_operator_resume(world.router, "db"), WEIR_OPERATOR_DONE);
    cr_assert_eq(weir_operator_resume(world.router, "db"), WEIR_OPERATOR_NOT);
    cr_assert_not(weir_operator_is_paused_out(world.router, "db"));
    client_expect(&waiter, 1, ROW("b"));
    cr_assert_neq(waiter.server, before);
    exchange(&holder, "Q d", ROW("d"));
    cr_assert_eq(holder.server, waiter.server);
    client_close(&holder);
    client_close(&waiter);
    world_close();
}

Test(operator, pause_closes_idle_servers_of_its_database_only)
{
    struct raw_client client, other;
    client_open(&client);
    open_other(&other);
    exchange(&client, "Q a", ROW("a"));
    exchange(&other, "Q a", ROW("a"));
    cr_assert_eq(fake_postgres_count(&world.postgres), 2);
    uint32_t kept = other.server;
    cr_assert_eq(weir_operator_pause(world.router, "db"), WEIR_OPERATOR_DONE);
    world_until(weir_operator_is_paused_out(world.router, "db"));
    cr_assert_eq(fake_postgres_count(&world.postgres), 1);
    struct weir_view_stats all;
    weir_view_stats_all(world.router, &all);
    cr_assert_eq(all.total.reasons[WEIR_REASON_POOL_PAUSED], 1);
    cr_assert_eq(all.total.reasons[WEIR_REASON_POOL_ASKED], 0);
    exchange(&other, "Q b", ROW("b"));
    cr_assert_eq(other.server, kept);
    client_close(&client);
    client_close(&other);
    world_close();
}

Test(operator, a_session_that_is_pinned_holds_up_pause_until_it_ends)
{
    struct raw_client client;
    client_open(&client);
    exchange(&client, "Q prepare sql as one", "C(PREPARE) Z(I)");
    cr_assert_eq(weir_operator_pause(world.router, NULL), WEIR_OPERATOR_DONE);
    world_turns(20);
    cr_assert_not(weir_operator_is_paused_out(world.router, NULL));
    exchange(&client, "Q a", ROW("a"));
    client_send(&client, "X");
    client_close(&client);
    world_until(weir_operator_is_paused_out(world.router, NULL));
    world_close();
}

Test(operator, a_pause_of_all_holds_for_databases_that_come_later)
{
    struct raw_client client, other;
    cr_assert_eq(weir_operator_pause(world.router, NULL), WEIR_OPERATOR_DONE);
    cr_assert_eq(weir_operator_pause(world.router, NULL), WEIR_OPERATOR_ALREADY);
    cr_assert(weir_operator_is_paused(world.router, NULL));
    cr_assert(weir_operator_is_paused(world.router, "other"));
    client_start(&client, NULL);
    client_start_as(&other, "u", "other", NULL);
    check_waits(&client);
    check_waits(&other);
    cr_assert_eq(world.postgres.opened, 0);
    cr_assert_eq(weir_operator_resume(world.router, "other"), WEIR_OPERATOR_DONE);
    client_forget(&other);
    exchange(&other, "Q a", ROW("a"));
    check_waits(&client);
    cr_assert_eq(weir_operator_pause(world.router, NULL), WEIR_OPERATOR_DONE, "one of them ran");
    cr_assert_eq(weir_operator_resume(world.router, NULL), WEIR_OPERATOR_DONE);
    client_forget(&client);
    exchange(&client, "Q b", ROW("b"));
    exchange(&other, "Q b", ROW("b"));
    cr_assert_eq(weir_operator_resume(world.router, NULL), WEIR_OPERATOR_NOT);
    client_close(&client);
    client_close(&other);
    world_close();
}

/* One user came before the pause, the other comes in it. */
Test(operator, a_pause_holds_for_pools_that_come_later)
{
    struct raw_client client, later;
    client_open(&client);
    exchange(&client, "Q a", ROW("a"));
    cr_assert_eq(weir_operator_pause(world.router, "db"), WEIR_OPERATOR_DONE);
    client_start_as(&later, "v", "db", NULL);
    check_waits(&later);
    cr_assert_eq(world.postgres.opened, 1);
    cr_assert_eq(weir_operator_resume(world.router, "db"), WEIR_OPERATOR_DONE);
    client_forget(&later);
    exchange(&later, "Q b", ROW("b"));
    client_close(&client);
    client_close(&later);
    world_close();
}

Test(operator, a_replication_client_waits_for_the_end_of_the_pause)
{
    static const char *const settings[] = {"replication=database", NULL};
    struct raw_client client;
    cr_assert_eq(weir_operator_pause(world.router, "db"), WEIR_OPERATOR_DONE);
    client_start(&client, settings);
    check_waits(&client);
    cr_assert_eq(world.postgres.opened, 0);
    cr_assert_eq(weir_operator_resume(world.router, "db"), WEIR_OPERATOR_DONE);
    client_forget(&client);
    exchange(&client, "Q a", ROW("a"));
    client_close(&client);
    world_close();
}

/* PostgreSQL accepts, as far as the kernel does it, and says nothing. */
Test(operator, a_server_that_does_not_answer_does_not_hold_up_pause)
{
    struct raw_client client;
    ev_io_stop(world.loop.ev, &world.postgres.accepting);
    client_start(&client, NULL);
    world_until(world_counts().opening == 1);
    cr_assert_eq(weir_operator_pause(world.router, "db"), WEIR_OPERATOR_DONE);
    world_turns(4);
    cr_assert(weir_operator_is_paused_out(world.router, "db"));
    ev_io_start(world.loop.ev, &world.postgres.accepting);
    cr_assert_eq(weir_operator_resume(world.router, "db"), WEIR_OPERATOR_DONE);
    client_forget(&client);
    exchange(&client, "Q a", ROW("a"));
    client_close(&client);
    world_close();
}

Test(operator_pool, who_waits_too_long_in_a_pause_is_told_of_it)
{
    struct raw_client client;
    world_open("pool_timeout = 0.2");
    client_open(&client);
    cr_assert_eq(weir_operator_pause(world.router, "db"), WEIR_OPERATOR_DONE);
    exchange(&client, "Q a", "E(53300) Z(I)");
    cr_assert_not_null(strstr(client.message, "is paused"), "%s", client.message);
    cr_assert_eq(weir_operator_resume(world.router, "db"), WEIR_OPERATOR_DONE);
    exchange(&client, "Q b", ROW("b"));
    client_close(&client);
    world_close();
}

Test(operator, while_draining_there_is_no_pause_and_who_waits_in_one_is_told_to_go)
{
    struct raw_client client;
    client_open(&client);
    cr_assert_eq(weir_operator_pause(world.router, "db"), WEIR_OPERATOR_DONE);
    client_send(&client, "Q a");
    check_waits(&client);
    weir_router_drain(world.router);
    client_expect_end(&client, "FATAL(57P01) EOF");
    cr_assert_eq(weir_operator_pause(world.router, "other"), WEIR_OPERATOR_DRAINING);
    cr_assert_eq(weir_operator_resume(world.router, "db"), WEIR_OPERATOR_DRAINING);
    cr_assert_eq(weir_operator_suspend(world.router), WEIR_OPERATOR_DRAINING);
    client_close(&client);
    world_until(weir_router_is_drained(world.router));
    world_close();
}

Test(operator, databases_that_do_not_exist_are_named)
{
    cr_assert_eq(weir_operator_pause(world.router, "no"), WEIR_OPERATOR_NO_DATABASE);
    cr_assert_eq(weir_operator_resume(world.router, "no"), WEIR_OPERATOR_NO_DATABASE);
    cr_assert_eq(weir_operator_disable(world.router, "no"), WEIR_OPERATOR_NO_DATABASE);
    cr_assert_eq(weir_operator_enable(world.router, "no"), WEIR_OPERATOR_NO_DATABASE);
    cr_assert_eq(weir_operator_reconnect(world.router, "no"), WEIR_OPERATOR_NO_DATABASE);
    cr_assert_eq(weir_operator_kill(world.router, "no"), WEIR_OPERATOR_NO_DATABASE);
    world_close();
}

/* --- suspend --------------------------------------------------------------------------- */

Test(operator, suspended_clients_are_not_read_and_their_answers_still_come)
{
    struct raw_client busy, idle, fresh;
    client_open(&busy);
    open_other(&idle);
    client_send(&busy, "Q sleep");
    world_until(world.postgres.opened == 2 && world_counts().active == 1);
    world_turns(10);
    cr_assert_eq(weir_operator_suspend(world.router), WEIR_OPERATOR_DONE);
    cr_assert_eq(weir_operator_suspend(world.router), WEIR_OPERATOR_ALREADY);
    cr_assert(weir_operator_is_suspended(world.router));
    uint64_t read = world.router->counters.bytes_from_clients;
    client_send(&idle, "Q a");
    client_send(&busy, "Q b");
    client_start(&fresh, NULL);
    check_waits(&idle);
    check_waits(&fresh);
    fake_postgres_wake(&world.postgres);
    client_expect(&busy, 1, "C(SELECT 1) Z(I)");
    check_waits(&busy);
    cr_assert_eq(world.router->counters.bytes_from_clients, read);

    cr_assert_eq(weir_operator_resume(world.router, NULL), WEIR_OPERATOR_DONE);
    cr_assert_not(weir_operator_is_suspended(world.router));
    client_expect(&idle, 1, ROW("a"));
    client_expect(&busy, 1, ROW("b"));
    client_forget(&fresh);
    exchange(&fresh, "Q c", ROW("c"));
    client_close(&busy);
    client_close(&idle);
    client_close(&fresh);
    world_close();
}

Test(operator, a_message_that_is_half_through_is_read_to_its_end)
{
    struct raw_client client;
    client_open(&client);
    struct weir_buffer all = {0};
    char *text = weir_alloc(100001);
    memset(text, 'x', 100000);
    struct weir_writer writer = weir_writer_to(&all);
    weir_write_query(&writer, "begin");
    weir_write_query(&writer, text);
    free(text);
    size_t half = weir_buffer_length(&all) - 1000;
    client_send_bytes(&client, weir_buffer_bytes(&all), half);
    world_turns(20);
    client_expect(&client, 1, "C(BEGIN) Z(T)");
    cr_assert_eq(weir_operator_suspend(world.router), WEIR_OPERATOR_DONE);
    world_turns(10);
    cr_assert_not(weir_operator_is_suspended(world.router));
    client_send_bytes(&client, weir_buffer_bytes(&all) + half, 1000);
    weir_buffer_clear(&all);
    world_until(weir_operator_is_suspended(world.router));
    /* The row is too long for the transcript of a test: only its end is looked at. */
    world_until((client_read(&client), client.ready == 1));
    client_forget(&client);
    client_send(&client, "Q commit");
    check_waits(&client);
    cr_assert_eq(weir_operator_resume(world.router, NULL), WEIR_OPERATOR_DONE);
    client_expect(&client, 1, "C(COMMIT) Z(I)");
    client_close(&client);
    world_close();
}

Test(operator, a_drain_ends_the_suspension)
{
    struct raw_client client;
    client_open(&client);
    exchange(&client, "Q begin", "C(BEGIN) Z(T)");
    cr_assert_eq(weir_operator_suspend(world.router), WEIR_OPERATOR_DONE);
    client_send(&client, "Q commit");
    check_waits(&client);
    weir_router_drain(world.router);
    client_expect_end(&client, "C(COMMIT) Z(I) FATAL(57P01) EOF");
    client_close(&client);
    world_close();
}

/* --- disable, reconnect ---------------------------------------------------------------- */

Test(operator, disabled_refuses_new_clients_and_keeps_those_that_are_in)
{
    struct raw_client old, fresh, other;
    client_open(&old);
    cr_assert_eq(weir_operator_disable(world.router, "db"), WEIR_OPERATOR_DONE);
    cr_assert_eq(weir_operator_disable(world.router, "db"), WEIR_OPERATOR_ALREADY);
    client_start(&fresh, NULL);
    client_expect_end(&fresh, "FATAL(57P03) EOF");
    cr_assert_not_null(strstr(fresh.message, "database \"db\" is disabled"));
    cr_assert_not_null(strstr(fresh.message, "does not allow connections"));
    client_close(&fresh);
    exchange(&old, "Q a", ROW("a"));
    open_other(&other);
    client_close(&other);
    cr_assert_eq(weir_operator_enable(world.router, "db"), WEIR_OPERATOR_DONE);
    cr_assert_eq(weir_operator_enable(world.router, "db"), WEIR_OPERATOR_NOT);
    client_open(&fresh);
    exchange(&fresh, "Q b", ROW("b"));
    client_close(&fresh);
    client_close(&old);
    world_close();
}

Test(operator, all_disabled_holds_for_databases_that_come_later)
{
    struct raw_client client;
    cr_assert_eq(weir_operator_disable(world.router, NULL), WEIR_OPERATOR_DONE);
    client_start_as(&client, "u", "other", NULL);
    client_expect_end(&client, "FATAL(57P03) EOF");
    client_close(&client);
    cr_assert_eq(weir_operator_enable(world.router, "other"), WEIR_OPERATOR_DONE);
    open_other(&client);
    client_close(&client);
    client_start(&client, NULL);
    client_expect_end(&client, "FATAL(57P03) EOF");
    client_close(&client);
    cr_assert_eq(weir_operator_enable(world.router, NULL), WEIR_OPERATOR_DONE);
    client_open(&client);
    client_close(&client);
    world_close();
}

/* Only who has proven who he is learns what is disabled. */
Test(operator_pool, a_disabled_database_is_told_after_the_proof)
{
    struct raw_client client;
    world_open_as("auth_type = plain", "\"u\" \"pu\"\n");
    cr_assert_eq(weir_operator_disable(world.router, "db"), WEIR_OPERATOR_DONE);
    client_start(&client, NULL);
    client_send_password(&client, "wrong");
    client_expect_end(&client, "FATAL(28P01) EOF");
    client_close(&client);
    client_start(&client, NULL);
    client_send_password(&client, "pu");
    client_expect_end(&client, "FATAL(57P03) EOF");
    client_close(&client);
    world_close();
}

Test(operator_pool, reconnect_replaces_idle_servers_at_once_and_busy_ones_later)
{
    struct raw_client one, two;
    world_open("pool_size = 2");
    client_open(&one);
    client_open(&two);
    exchange(&one, "Q begin|Q a", "C(BEGIN) Z(T) T D(a) C(SELECT 1) Z(T)");
    exchange(&two, "Q a", ROW("a"));
    uint32_t busy = one.server, idle = two.server;
    cr_assert_neq(busy, idle);
    cr_assert(weir_operator_is_reconnected(world.router, "db"));
    cr_assert_eq(weir_operator_reconnect(world.router, "db"), WEIR_OPERATOR_DONE);
    cr_assert_not(weir_operator_is_reconnected(world.router, "db"));
    world_until(fake_postgres_find(&world.postgres, idle) == NULL);
    exchange(&two, "Q b", ROW("b"));
    cr_assert_neq(two.server, idle);
    cr_assert_neq(two.server, busy);
    world_turns(20);
    cr_assert_not(weir_operator_is_reconnected(world.router, "db"));
    cr_assert(weir_operator_is_reconnected(world.router, "other"));
    exchange(&one, "Q b", "T D(b) C(SELECT 1) Z(T)");
    cr_assert_eq(one.server, busy);
    exchange(&one, "Q commit", "C(COMMIT) Z(I)");
    world_until(weir_operator_is_reconnected(world.router, NULL));
    cr_assert_null(fake_postgres_find(&world.postgres, busy));
    exchange(&one, "Q c", ROW("c"));
    cr_assert_neq(one.server, busy);
    cr_assert_neq(one.server, idle);
    client_close(&one);
    client_close(&two);
    world_close();
}

/* --- kill ------------------------------------------------------------------------------ */

Test(operator_pool, kill_ends_clients_and_servers_of_its_database)
{
    struct raw_client running, open, idle, waiting, login, other;
    world_open("pool_size = 2");
    client_open(&running);
    client_open(&open);
    client_open(&idle);
    client_open(&waiting);
    open_other(&other);
    exchange(&other, "Q begin", "C(BEGIN) Z(T)");
    exchange(&open, "Q begin", "C(BEGIN) Z(T)");
    client_send(&running, "Q sleep");
    world_turns(10);
    cr_assert_eq(world_counts().active, 2);
    client_send(&waiting, "Q a");
    client_start_as(&login, "v", "db", (const char *const[]){"work_mem=8MB", NULL});
    world.postgres.trickle = 1; /* so that it is still logging in */
    check_waits(&waiting);
    world.postgres.trickle = 0;
    cr_assert_eq(weir_operator_kill(world.router, "db"), WEIR_OPERATOR_DONE);
    cr_assert(weir_operator_is_paused(world.router, "db"));
    client_expect_end(&running, "FATAL(57P01) EOF");
    client_expect_end(&open, "FATAL(57P01) EOF");
    client_expect_end(&idle, "FATAL(57P01) EOF");
    client_expect_end(&waiting, "FATAL(57P01) EOF");
    world_until((client_read(&login), client_read(&login), login.over));
    cr_assert_not_null(strstr(login.transcript, "FATAL(57P01) EOF"));
    exchange(&other, "Q commit", "C(COMMIT) Z(I)");
    world_until(weir_operator_is_paused_out(world.router, "db"));
    cr_assert_eq(fake_postgres_count(&world.postgres), 1);
    cr_assert_eq(world.postgres.cancels, 1, "PostgreSQL does not go on with what ran");
    client_close(&running);
    client_close(&open);
    client_close(&waiting);
    client_close(&login);
    client_close(&other);
    client_close(&idle);

    client_start(&idle, NULL);
    check_waits(&idle);
    cr_assert_eq(weir_operator_resume(world.router, "db"), WEIR_OPERATOR_DONE);
    client_forget(&idle);
    exchange(&idle, "Q a", ROW("a"));
    client_close(&idle);
    world_close();
}

/* The id of the client that came last. */
static uint64_t last_id(void)
{
    return world.router->next_client_id;
}

Test(operator, kill_client_cancels_and_the_server_serves_the_next)
{
    static const struct {
        const char *before, *transcript;
        int cancels;
    } cases[] = {
        {"", "", 0},
        {"Q begin", "C(BEGIN) Z(T)", 0},
        {"Q begin|Q set work_mem=8MB", "C(BEGIN) Z(T) C(SET) Z(T)", 0},
        {"Q listen news", "C(LISTEN) Z(I)", 0},
        {"Q sleep", "", 1},
        {"Q begin|Q sleep", "C(BEGIN) Z(T)", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct raw_client client, next;
        client_open(&client);
        uint64_t id = last_id();
        exchange(&client, cases[i].before, cases[i].transcript);
        world_turns(10);
        cr_assert_eq(weir_operator_kill_client(world.router, id + 1), WEIR_OPERATOR_NO_CLIENT);
        cr_assert_eq(weir_operator_kill_client(world.router, id), WEIR_OPERATOR_DONE);
        client_expect_end(&client, "FATAL(57P01) EOF");
        cr_assert_not_null(strstr(client.message, "KILL_CLIENT"));
        client_close(&client);
        world_until(world_is_quiet() && weir_list_is_empty(&world.router->clients));
        cr_assert_eq(weir_operator_kill_client(world.router, id), WEIR_OPERATOR_NO_CLIENT);
        client_open(&next);
        exchange(&next, "Q next", ROW("next"));
        struct fake_backend *backend = fake_postgres_find(&world.postgres, next.server);
        cr_assert_eq(backend->settings.count, 0, "%s", cases[i].before);
        cr_assert_eq(backend->status, 'I');
        client_close(&next);
        world_until(world_is_quiet());
        cr_assert_eq(world.postgres.opened, 1, "%s", cases[i].before);
        cr_assert_eq(world.postgres.cancels, cases[i].cancels, "%s", cases[i].before);
    }
    world_close();
}

Test(operator, kill_client_ends_one_that_waits_and_one_that_logs_in)
{
    struct raw_client holder, waiter, login;
    static const char *const settings[] = {"work_mem=8MB", NULL};
    client_open(&holder);
    exchange(&holder, "Q begin", "C(BEGIN) Z(T)");
    client_open(&waiter);
    client_send(&waiter, "Q a");
    check_waits(&waiter);
    cr_assert_eq(weir_operator_kill_client(world.router, last_id()), WEIR_OPERATOR_DONE);
    client_expect_end(&waiter, "FATAL(57P01) EOF");
    client_start(&login, settings);
    check_waits(&login);
    cr_assert_eq(world_counts().waiting, 1);
    cr_assert_eq(weir_operator_kill_client(world.router, last_id()), WEIR_OPERATOR_DONE);
    client_expect_end(&login, "FATAL(57P01) EOF");
    world_until(world_counts().waiting == 0);
    exchange(&holder, "Q commit", "C(COMMIT) Z(I)");
    client_close(&holder);
    client_close(&waiter);
    client_close(&login);
    world_close();
}

/* Its last words are waited for at first; asked for again it is cut off. */
Test(operator, kill_client_cuts_off_one_that_is_ending)
{
    struct raw_client client;
    client_open(&client);
    uint64_t id = last_id();
    cr_assert_eq(weir_operator_kill_client(world.router, id), WEIR_OPERATOR_DONE);
    world_turns(4);
    cr_assert_eq(weir_operator_kill_client(world.router, id), WEIR_OPERATOR_DONE);
    cr_assert_eq(weir_operator_kill_client(world.router, id), WEIR_OPERATOR_NO_CLIENT);
    client_expect_end(&client, "FATAL(57P01) EOF");
    client_close(&client);
    world_close();
}

/* One whose settings are being applied gets the server's FATAL; nothing may follow that. */
static void check_nothing_follows(bool drain)
{
    static const char *const settings[] = {"work_mem=8MB", NULL};
    struct raw_client first, login;
    world_open("");
    client_open(&first);
    world.postgres.trickle = 1;
    client_start(&login, settings);
    world_until(world_counts().active == 1);
    world.postgres.trickle = 0;
    fake_postgres_end_all(&world.postgres, true);
    while (client_read(&login), login.errors == 0)
        world_turns(1);
    cr_assert_not(login.over, "its end is still to come");
    if (drain)
        weir_router_drain(world.router);
    else
        cr_assert_eq(weir_operator_kill_client(world.router, last_id()), WEIR_OPERATOR_DONE);
    client_expect_end(&login, "FATAL(57P01) EOF");
    client_close(&login);
    client_close(&first);
    world_close();
}

Test(operator_pool, nothing_follows_the_servers_own_fatal)
{
    check_nothing_follows(false);
    check_nothing_follows(true);
}
