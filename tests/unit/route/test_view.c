/* What an operator is shown of pools, clients, servers, pins, statements, events and totals. */
#include "weir/view.h"

#include "world.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/operator.h"

TestSuite(view, .init = world_init, .timeout = 120);
TestSuite(view_other, .timeout = 120);

#define ROW(text) "T D(" text ") C(SELECT 1) Z(I)"

/* --- rows ------------------------------------------------------------------------------ */

#define ROWS_MAX 16

static void copy_pool(void *context, const struct weir_view_pool *row)
{
    if (strcmp(row->database, "db") == 0 && strcmp(row->user, "u") == 0)
        *(struct weir_view_pool *)context = *row;
}

static struct weir_view_pool pool(void)
{
    struct weir_view_pool row = {0};
    weir_view_pools(world.router, copy_pool, &row);
    cr_assert_not_null(row.database);
    return row;
}

/* Rows with texts of their own. */
struct seen {
    int count;
    struct weir_view_client clients[ROWS_MAX];
    struct weir_view_server servers[ROWS_MAX];
    struct weir_view_pin_row pins[ROWS_MAX];
    struct weir_view_prepared prepared[ROWS_MAX];
    char text[ROWS_MAX][512]; /* "NULL" for none */
};

static int take_row(struct seen *seen, const char *text, size_t length)
{
    cr_assert_lt(seen->count, ROWS_MAX);
    snprintf(seen->text[seen->count], sizeof(seen->text[0]), "%.*s", text == NULL ? 4 : (int)length,
             text == NULL ? "NULL" : text);
    return seen->count++;
}

static void see_client(void *context, const struct weir_view_client *row)
{
    struct seen *seen = context;
    int at = take_row(seen, row->statement.text, row->statement.length);
    seen->clients[at] = *row;
}

static void see_server(void *context, const struct weir_view_server *row)
{
    struct seen *seen = context;
    int at = take_row(seen, row->statement.text, row->statement.length);
    seen->servers[at] = *row;
}

static void see_pin(void *context, const struct weir_view_pin_row *row)
{
    struct seen *seen = context;
    int at = take_row(seen, row->statement.text, row->statement.length);
    seen->pins[at] = *row;
}

static void see_prepared(void *context, const struct weir_view_prepared *row)
{
    struct seen *seen = context;
    int at = take_row(seen, row->text, row->length);
    seen->prepared[at] = *row;
}

static struct seen seen;

static void look_at_clients(void)
{
    memset(&seen, 0, sizeof(seen));
    weir_view_clients(world.router, see_client, &seen);
}

static void look_at_servers(void)
{
    memset(&seen, 0, sizeof(seen));
    weir_view_servers(world.router, see_server, &seen);
}

static void look_at_pins(void)
{
    memset(&seen, 0, sizeof(seen));
    weir_view_pins(world.router, see_pin, &seen);
}

static void look_at_prepared(void)
{
    memset(&seen, 0, sizeof(seen));
    uint64_t at = 0;
    while (weir_view_prepared_some(world.router, &at, 1, see_prepared, &seen))
        ;
}

static void copy_stats(void *context, const struct weir_view_stats *row)
{
    if (strcmp(row->database, "db") == 0)
        *(struct weir_view_stats *)context = *row;
}

static struct weir_view_stats stats(void)
{
    struct weir_view_stats row = {0};
    weir_view_stats(world.router, copy_stats, &row);
    return row;
}

struct found {
    const char *event;
    int count;
    uint64_t newest;
    struct weir_view_event last; /* its texts are literals or of the ring */
};

static void find_event(void *context, const struct weir_view_event *row)
{
    struct found *found = context;
    if (found->newest == 0)
        found->newest = row->number;
    if (strcmp(row->event, found->event) == 0 && found->count++ == 0)
        found->last = *row;
}

static struct found events(const char *event)
{
    struct found found = {.event = event};
    weir_view_events(world.router, find_event, &found);
    return found;
}

/* Runs the loop for a while of the monotonic clock. */
static void pass_time(weir_usec duration)
{
    weir_usec limit = weir_clock_now() + duration;
    world_until(weir_clock_now() >= limit);
}

/* The server works on "sleep". */
static void until_asleep(void)
{
    world_until(fake_postgres_find(&world.postgres, 1001) != NULL &&
                fake_postgres_find(&world.postgres, 1001)->sleeping);
    cr_assert_eq(pool().holders.running, 1);
}

/* --- pools and holders ----------------------------------------------------------------- */

Test(view, pool_before_and_during_a_transaction)
{
    struct raw_client holder, idle;
    client_open(&holder);
    client_open(&idle);
    world_until(world_is_quiet());
    struct weir_view_pool row = pool();
    cr_assert_eq(row.clients, 2);
    cr_assert_eq(row.clients_idle, 2);
    cr_assert_eq(row.servers_idle, 1);
    cr_assert_eq(row.ceiling, 1);
    cr_assert_eq(row.limit, WEIR_LIMIT_NONE);
    cr_assert_null(row.problem);
    exchange(&holder, "Q begin", "C(BEGIN) Z(T)");
    row = pool();
    cr_assert_eq(row.clients_active, 1);
    cr_assert_eq(row.clients_idle, 1);
    cr_assert_eq(row.servers_active, 1);
    cr_assert_eq(row.servers_idle, 0);
    cr_assert_eq(row.holders.idle_in_transaction, 1);
    cr_assert_eq(row.holders.running, 0);
    cr_assert_eq(row.limit, WEIR_LIMIT_POOL);
    cr_assert_eq(row.cap_used, 1);
    cr_assert_eq(row.cap_limit, 1);
    client_send(&holder, "Q sleep");
    until_asleep();
    cr_assert_eq(pool().holders.idle_in_transaction, 0);
    fake_postgres_wake(&world.postgres);
    client_forget(&holder);
    client_close(&holder);
    client_close(&idle);
    world_close();
}

Test(view, those_who_wait_have_positions_and_statements)
{
    struct raw_client holder, waiters[3];
    client_open(&holder);
    for (int i = 0; i < 3; i++)
        client_open(&waiters[i]);
    exchange(&holder, "Q begin|Q held by this", "C(BEGIN) Z(T) T D(held by this) C(SELECT 1) Z(T)");
    static const char *const asked[] = {"Q first", "P - second|B -|E|S", "P s third|S"};
    for (int i = 0; i < 3; i++) {
        client_send(&waiters[i], asked[i]);
        world_turns(4);
    }
    pass_time(20 * WEIR_MSEC);
    struct weir_view_pool row = pool();
    cr_assert_eq(row.clients_waiting, 3);
    cr_assert_eq(row.counts.waiting, 3);
    look_at_clients();
    cr_assert_eq(seen.count, 4);
    static const char *const texts[] = {"held by this", "first", "second", "third"};
    for (int i = 0; i < 4; i++) {
        const struct weir_view_client *client = &seen.clients[i];
        cr_assert_eq(client->wait_position, i);
        cr_assert_str_eq(client->state_word, i == 0 ? "active" : "waiting");
        cr_assert_eq(client->wait >= 20 * WEIR_MSEC, i > 0);
        cr_assert_str_eq(seen.text[i], texts[i]);
        cr_assert_eq(client->server_id != 0, i == 0);
        cr_assert_str_eq(client->database, "db");
        cr_assert_str_eq(client->user, "u");
        cr_assert_str_eq(client->replication, "none");
        cr_assert_not(client->console);
        cr_assert_gt(client->connected_at, (int64_t)1600000000 * WEIR_SEC);
        cr_assert_geq(client->requested_at + WEIR_SEC, client->connected_at);
        cr_assert_geq(client->descriptor, 0);
    }
    cr_assert_eq(seen.clients[0].backend_pid, 1001);
    exchange(&holder, "Q commit", "C(COMMIT) Z(I)");
    client_expect(&waiters[0], 1, ROW("first"));
    client_expect(&waiters[1], 1, "1 2 D(second) C(SELECT 1) Z(I)");
    client_expect(&waiters[2], 1, "1 Z(I)");
    for (int i = 0; i < 3; i++)
        client_close(&waiters[i]);
    client_close(&holder);
    world_close();
}

Test(view_other, what_the_next_client_would_wait_for)
{
    struct raw_client clients[2];
    world_open("pool_size = 5\nmax_db_connections = 1");
    client_open(&clients[0]);
    client_open(&clients[1]);
    exchange(&clients[0], "Q begin", "C(BEGIN) Z(T)");
    struct weir_view_pool row = pool();
    cr_assert_eq(row.limit, WEIR_LIMIT_DATABASE);
    cr_assert_str_eq(weir_view_limit_name(row.limit), "max_db_connections");
    cr_assert_eq(row.cap_used, 1);
    cr_assert_eq(row.cap_limit, 1);
    exchange(&clients[0], "Q commit", "C(COMMIT) Z(I)");
    cr_assert_eq(pool().limit, WEIR_LIMIT_NONE);
    cr_assert_eq(weir_operator_pause(world.router, "db"), WEIR_OPERATOR_DONE);
    cr_assert_eq(pool().limit, WEIR_LIMIT_PAUSED);
    cr_assert(pool().paused);
    cr_assert_eq(weir_operator_resume(world.router, "db"), WEIR_OPERATOR_DONE);
    world_until(fake_postgres_count(&world.postgres) == 0 && world_is_quiet());
    world.postgres.refuse_login = "57P03";
    client_send(&clients[1], "Q select 1");
    world_until(pool().limit == WEIR_LIMIT_FAILING);
    cr_assert_not_null(pool().problem);
    struct found found = events("connect_failed");
    cr_assert_geq(found.count, 1);
    cr_assert_str_eq(found.last.reason, "server_login_failed");
    client_close(&clients[0]);
    client_close(&clients[1]);
    world_close();
}

Test(view_other, limits_of_a_user_and_of_all)
{
    static const struct {
        const char *settings;
        enum weir_view_limit limit;
    } rows[] = {
        {"pool_size = 5\nmax_user_connections = 1", WEIR_LIMIT_USER},
        {"pool_size = 5\nmax_server_connections = 1", WEIR_LIMIT_GLOBAL},
        {"pool_size = 1\nmax_overflow = 5\noverflow_delay = 100s", WEIR_LIMIT_DELAY},
        {"pool_size = 2", WEIR_LIMIT_NONE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct raw_client client;
        world_open(rows[i].settings);
        client_open(&client);
        exchange(&client, "Q begin", "C(BEGIN) Z(T)");
        cr_assert_eq(pool().limit, rows[i].limit, "row %zu: %d", i, (int)pool().limit);
        client_close(&client);
        world_close();
    }
}

/* --- servers and statements ------------------------------------------------------------ */

Test(view, server_and_its_statement)
{
    struct raw_client client;
    client_open(&client);
    exchange(&client, "Q begin|Q select one", "C(BEGIN) Z(T) T D(select one) C(SELECT 1) Z(T)");
    look_at_servers();
    cr_assert_eq(seen.count, 1);
    cr_assert_str_eq(seen.servers[0].state_word, "active");
    cr_assert_str_eq(seen.servers[0].doing, "idle in transaction");
    cr_assert_str_eq(seen.text[0], "select one");
    cr_assert_not(seen.servers[0].statement.running);
    cr_assert_neq(seen.servers[0].client_id, 0);
    exchange(&client, "P s named text|B s|E|S", "1 2 D(named text) C(SELECT 1) Z(T)");
    exchange(&client, "Q other", "T D(other) C(SELECT 1) Z(T)");
    exchange(&client, "B s|E|S", "2 D(named text) C(SELECT 1) Z(T)");
    look_at_servers();
    cr_assert_str_eq(seen.text[0], "named text");
    cr_assert_eq(seen.servers[0].prepared_statements, 1);
    exchange(&client, "P - unnamed text|B -|E|S", "1 2 D(unnamed text) C(SELECT 1) Z(T)");
    client_send(&client, "Q sleep");
    until_asleep();
    look_at_servers();
    cr_assert(seen.servers[0].statement.running);
    cr_assert_str_eq(seen.servers[0].doing, "running");
    cr_assert_str_eq(seen.text[0], "sleep");
    fake_postgres_wake(&world.postgres);
    client_forget(&client);
    exchange(&client, "Q commit", "C(COMMIT) Z(I)");
    look_at_servers();
    cr_assert_str_eq(seen.servers[0].state_word, "idle");
    cr_assert_str_eq(seen.servers[0].doing, "idle");
    cr_assert_eq(seen.servers[0].client_id, 0);
    cr_assert_eq(seen.servers[0].held, 0);
    client_close(&client);
    world_close();
}

/* The text of a statement that nobody has any more stays as long as a server connection shows it. */
Test(view, statement_that_could_not_be_prepared)
{
    struct raw_client client;
    client_open(&client);
    exchange(&client, "P s fail_parse of this|S", "E(42601) Z(I)");
    look_at_prepared();
    cr_assert_eq(seen.count, 0);
    cr_assert_eq(HASH_COUNT(world.router->statements), 1);
    look_at_servers();
    cr_assert_str_eq(seen.text[0], "fail_parse of this");
    exchange(&client, "P t second|B t|E|S", "1 2 D(second) C(SELECT 1) Z(I)");
    cr_assert_eq(HASH_COUNT(world.router->statements), 1);
    look_at_servers();
    cr_assert_str_eq(seen.text[0], "second");
    client_close(&client);
    world_close();
}

Test(view_other, statements_are_cut_and_can_be_off)
{
    static const struct {
        const char *settings, *text;
    } rows[] = {
        {"track_statements = 8B", "select a"},
        {"track_statements = 0", "NULL"},
        {"track_statements = 0\nlog_slow_queries = 100s", "NULL"},
        {"", "select a long one"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct raw_client client;
        world_open(rows[i].settings);
        client_open(&client);
        exchange(&client, "Q select a long one", ROW("select a long one"));
        look_at_servers();
        cr_assert_str_eq(seen.text[0], rows[i].text, "row %zu: %s", i, seen.text[0]);
        exchange(&client, "P s select a long one|B s|E|S",
                 "1 2 D(select a long one) C(SELECT 1) Z(I)");
        look_at_servers();
        cr_assert_str_eq(seen.text[0], rows[i].text, "row %zu: %s", i, seen.text[0]);
        exchange(&client, "Q", ROW(""));
        look_at_servers();
        cr_assert_str_eq(seen.text[0], "NULL");
        client_close(&client);
        world_close();
    }
}

Test(view, prepared_texts)
{
    struct raw_client clients[2];
    client_open(&clients[0]);
    client_open(&clients[1]);
    exchange(&clients[0], "P a shared|S|P b shared|S|P - unnamed|S", "1 Z(I) 1 Z(I) 1 Z(I)");
    exchange(&clients[1], "P a shared|S|B a|E|S", "1 Z(I) 2 D(shared) C(SELECT 1) Z(I)");
    look_at_prepared();
    cr_assert_eq(seen.count, 1);
    cr_assert_str_eq(seen.text[0], "shared");
    cr_assert_eq(seen.prepared[0].clients, 3);
    cr_assert_eq(seen.prepared[0].servers, 1);
    cr_assert_eq(seen.prepared[0].binds, 1);
    exchange(&clients[0], "CS a|S", "3 Z(I)");
    client_close(&clients[1]);
    world_until(pool().clients == 1);
    look_at_prepared();
    cr_assert_eq(seen.prepared[0].clients, 1);
    cr_assert_eq(seen.prepared[0].servers, 1);
    client_close(&clients[0]);
    world_close();
}

/* --- pins ------------------------------------------------------------------------------ */

Test(view, pin_and_the_statement_that_made_it)
{
    struct raw_client client;
    client_open(&client);
    look_at_pins();
    cr_assert_eq(seen.count, 0);
    exchange(&client, "Q prepare s as select 1", "C(PREPARE) Z(I)");
    exchange(&client, "Q select 2", ROW("select 2"));
    pass_time(20 * WEIR_MSEC);
    look_at_pins();
    cr_assert_eq(seen.count, 1);
    cr_assert_eq(seen.pins[0].pin, WEIR_PIN_SQL_PREPARED);
    cr_assert_str_eq(seen.text[0], "prepare s as select 1");
    cr_assert_geq(seen.pins[0].age, 20 * WEIR_MSEC);
    cr_assert_eq(seen.pins[0].backend_pid, 1001);
    cr_assert_eq(pool().pins, 1);
    cr_assert_eq(pool().holders.pinned, 1);
    struct found found = events("pin");
    cr_assert_eq(found.count, 1);
    cr_assert_str_eq(found.last.detail, weir_view_pin_name(WEIR_PIN_SQL_PREPARED));
    cr_assert_eq(found.last.client_id, seen.pins[0].client_id);
    cr_assert_eq(events("unpin").count, 0);
    exchange(&client, "Q deallocate s", "C(DEALLOCATE) Z(I)");
    world_until(world_is_quiet());
    look_at_pins();
    cr_assert_eq(seen.count, 0);
    cr_assert_eq(events("unpin").count, 1);
    client_close(&client);
    world_close();
}

Test(view, every_pin_has_a_name_and_a_way_out)
{
    for (int pin = 1; pin <= WEIR_PIN_SESSION_MODE; pin *= 2) {
        cr_assert_gt(strlen(weir_view_pin_name((enum weir_view_pin)pin)), 0);
        cr_assert_gt(strlen(weir_view_pin_release((enum weir_view_pin)pin)), 0);
    }
    world_close();
}

Test(view_other, session_mode_is_a_pin)
{
    struct raw_client client;
    world_open("pool_mode = session");
    client_open(&client);
    exchange(&client, "Q select 1", ROW("select 1"));
    look_at_pins();
    cr_assert_eq(seen.count, 1);
    cr_assert_eq(seen.pins[0].pin, WEIR_PIN_SESSION_MODE);
    look_at_clients();
    cr_assert_eq(seen.clients[0].pins, WEIR_PIN_SESSION_MODE);
    client_close(&client);
    world_close();
}

/* --- time ------------------------------------------------------------------------------ */

static struct weir_latency latency(void)
{
    struct weir_view_daemon daemon;
    weir_view_daemon(world.router, &daemon);
    return *daemon.latency;
}

Test(view, where_the_time_of_a_transaction_goes)
{
    struct raw_client client, waiter;
    client_open(&client);
    client_open(&waiter);
    struct weir_latency before = latency();
    cr_assert_eq(before.parts[WEIR_PART_CONNECT].count, 1);
    exchange(&client, "Q begin", "C(BEGIN) Z(T)");
    client_send(&client, "Q sleep");
    until_asleep();
    client_send(&waiter, "Q select 1");
    pass_time(30 * WEIR_MSEC);
    fake_postgres_wake(&world.postgres);
    client_expect(&client, 1, "C(SELECT 1) Z(T)");
    pass_time(50 * WEIR_MSEC);
    exchange(&client, "Q commit", "C(COMMIT) Z(I)");
    client_expect(&waiter, 1, ROW("select 1"));
    struct weir_latency after = latency();
    int64_t sums[WEIR_PART_COUNT];
    for (int part = 0; part < WEIR_PART_COUNT; part++) {
        uint64_t expected = part == WEIR_PART_CONNECT ? 0 : 2;
        cr_assert_eq(after.parts[part].count - before.parts[part].count, expected, "part %d", part);
        sums[part] = after.parts[part].sum - before.parts[part].sum;
    }
    cr_assert_geq(sums[WEIR_PART_SERVER], 29 * WEIR_MSEC);
    cr_assert_geq(sums[WEIR_PART_IDLE], 49 * WEIR_MSEC);
    cr_assert_geq(sums[WEIR_PART_WAIT], 79 * WEIR_MSEC);
    cr_assert_eq(sums[WEIR_PART_CLIENT], 0);
    struct weir_view_pool row = pool();
    cr_assert_eq(row.latency->parts[WEIR_PART_SERVER].count, 2);
    cr_assert_eq(sums[WEIR_PART_SERVER] + sums[WEIR_PART_IDLE],
                 (int64_t)row.counters->transaction_usec);
    cr_assert_eq(sums[WEIR_PART_SERVER], (int64_t)row.counters->query_usec);
    client_close(&client);
    client_close(&waiter);
    world_close();
}

/* Between the transactions of a session nothing is in transaction. */
Test(view_other, pauses_between_transactions_of_a_session_do_not_count)
{
    struct raw_client client;
    world_open("pool_mode = session");
    client_open(&client);
    exchange(&client, "Q select 1", ROW("select 1"));
    pass_time(300 * WEIR_MSEC);
    exchange(&client, "Q select 2", ROW("select 2"));
    client_send(&client, "X");
    world_until(pool().clients == 0);
    struct weir_view_pool row = pool();
    cr_assert_eq(row.counters->transactions, 2);
    cr_assert_lt(row.counters->transaction_usec, 250 * WEIR_MSEC);
    client_close(&client);
    world_close();
}

/* Nor do they count for transaction_timeout. */
Test(view_other, transaction_timeout_begins_with_the_transaction)
{
    struct raw_client client;
    world_open("pool_mode = session\ntransaction_timeout = 2s");
    client_open(&client);
    exchange(&client, "Q select 1", ROW("select 1"));
    pass_time(2100 * WEIR_MSEC);
    client_send(&client, "Q sleep");
    until_asleep();
    pass_time(600 * WEIR_MSEC); /* the limits of clients are looked at twice a second */
    fake_postgres_wake(&world.postgres);
    client_expect(&client, 1, "C(SELECT 1) Z(I)");
    client_close(&client);
    world_close();
}

Test(view_other, slow_readers_have_their_own_time)
{
    struct raw_client client;
    world_open("client_memory_limit = 16kB");
    client_open(&client);
    char *text = weir_format("Q %04000000d", 7);
    client_send(&client, text);
    free(text);
    world_until(pool().holders.slow_reader == 1);
    pass_time(30 * WEIR_MSEC);
    look_at_servers();
    cr_assert_str_eq(seen.servers[0].doing, "slow reader");
    while (pool().clients_active > 0) {
        static char bytes[65536];
        if (read(client.fd, bytes, sizeof(bytes)) < 0)
            world_once();
    }
    struct weir_view_pool row = pool();
    cr_assert_eq(row.latency->parts[WEIR_PART_CLIENT].count, 1);
    cr_assert_geq(row.latency->parts[WEIR_PART_CLIENT].sum, 29 * WEIR_MSEC);
    cr_assert_leq(row.latency->parts[WEIR_PART_CLIENT].sum, (int64_t)row.counters->query_usec);
    client_close(&client);
    world_close();
}

/* --- totals ---------------------------------------------------------------------------- */

Test(view, totals_survive_their_pool)
{
    struct raw_client client;
    client_open(&client);
    exchange(&client, "Q select 1|Q select 2",
             "T D(select 1) C(SELECT 1) Z(I) T D(select 2) C(SELECT 1) Z(I)");
    exchange(&client, "P s a|B s|E|S", "1 2 D(a) C(SELECT 1) Z(I)");
    client_send(&client, "X");
    world_until(pool().clients == 0 && world_is_quiet());
    struct weir_view_stats before = stats();
    cr_assert_eq(before.total.queries, 3);
    cr_assert_eq(before.total.client_logins, 1);
    cr_assert_eq(before.total.client_parses, 1);
    cr_assert_eq(before.total.server_parses, 1);
    cr_assert_eq(before.total.binds, 1);
    cr_assert_gt(before.total.bytes_from_clients, 0);
    cr_assert_gt(before.total.bytes_from_servers, 0);
    cr_assert_eq(before.total.assignments, before.total.transactions);
    struct weir_latency latency_before = latency();
    fake_postgres_end_all(&world.postgres, false);
    world_until(pool().counts.idle == 0);
    world_turns(4);
    struct destination *destination = world.router->destinations;
    cr_assert_eq(HASH_COUNT(world.router->destinations), 1);
    destination_destroy(destination);
    struct weir_view_stats after = stats();
    before.total.reasons[WEIR_REASON_SERVER_LOST]++; /* the end above */
    cr_assert_eq(memcmp(&after.total, &before.total, sizeof(after.total)), 0);
    struct weir_latency latency_after = latency();
    cr_assert_eq(memcmp(&latency_after, &latency_before, sizeof(latency_after)), 0);
    struct weir_view_stats all;
    weir_view_stats_all(world.router, &all);
    cr_assert_str_eq(all.database, "");
    cr_assert_eq(all.total.queries, 3);
    client_close(&client);
    client_open(&client);
    exchange(&client, "Q select 1", ROW("select 1"));
    cr_assert_eq(stats().total.queries, 4);
    client_close(&client);
    world_close();
}

Test(view_other, averages_are_of_the_last_period)
{
    struct raw_client client;
    world_open("stats_period = 1s");
    client_open(&client);
    exchange(&client, "Q select 1", ROW("select 1"));
    cr_assert_eq(stats().period, 0);
    world_until(stats().period > 0);
    struct weir_view_stats first = stats();
    cr_assert_geq(first.period, WEIR_SEC);
    cr_assert_eq(first.before.queries, 0);
    cr_assert_eq(first.last.queries, 1);
    exchange(&client, "Q a|Q b", "T D(a) C(SELECT 1) Z(I) T D(b) C(SELECT 1) Z(I)");
    cr_assert_eq(stats().total.queries, 3);
    world_until(stats().last.queries == 3);
    cr_assert_eq(stats().before.queries, 1);
    struct weir_view_stats all;
    weir_view_stats_all(world.router, &all);
    cr_assert_eq(all.last.queries, 3);
    cr_assert_eq(all.before.queries, 1);
    client_close(&client);
    world_close();
}

/* --- events ---------------------------------------------------------------------------- */

Test(view, events_name_who_and_why)
{
    struct raw_client client;
    client_open(&client);
    struct found found = events("connect");
    cr_assert_eq(found.count, 1);
    cr_assert_str_eq(found.last.database, "db");
    cr_assert_str_eq(found.last.user, "u");
    cr_assert_neq(found.last.server_id, 0);
    cr_assert_gt(found.last.at, (int64_t)1600000000 * WEIR_SEC);
    exchange(&client, "Q select 1", ROW("select 1"));
    cr_assert_eq(events("connect").newest, found.newest, "a transaction is no event");
    fake_postgres_end_all(&world.postgres, false);
    world_until(events("close").count == 1);
    cr_assert_str_eq(events("close").last.reason, "server_lost");
    cr_assert_eq(events("invalidate").count, 1);
    weir_router_note_reload(world.router, "line 3 is wrong");
    cr_assert_str_eq(events("reload_failed").last.detail, "line 3 is wrong");
    cr_assert_eq(weir_operator_pause(world.router, "db"), WEIR_OPERATOR_DONE);
    cr_assert_str_eq(events("pause").last.database, "db");
    client_close(&client);
    world_close();
}

static void check_order(void *context, const struct weir_view_event *row)
{
    uint64_t *expected = context;
    cr_assert_eq(row->number, *expected);
    (*expected)--;
}

Test(view, ring_of_events_wraps)
{
    char detail[300], *longest = detail;
    memset(detail, 'x', sizeof(detail));
    detail[sizeof(detail) - 1] = '\0';
    for (int i = 1; i <= EVENTS_KEPT * 2 + 7; i++) {
        snprintf(longest, 12, "%d", i);
        events_of_router(world.router, "test", NULL, longest);
        struct found found = events("test");
        cr_assert_eq(found.count, i < EVENTS_KEPT ? i : EVENTS_KEPT);
        cr_assert_eq(found.newest, (uint64_t)i);
        cr_assert_eq(atoi(found.last.detail), i);
    }
    uint64_t expected = EVENTS_KEPT * 2 + 7;
    weir_view_events(world.router, check_order, &expected);
    cr_assert_eq(expected, EVENTS_KEPT + 7);
    world_close();
}

/* What does not fit is cut between characters. */
Test(view, details_are_cut_between_characters)
{
    for (size_t before = 100; before < 140; before++) {
        char *text = weir_format("%0*d\xc3\xa4\xc3\xa4\xc3\xa4", (int)before, 0);
        events_of_router(world.router, "cut", NULL, text);
        const char *kept = events("cut").last.detail;
        size_t length = strlen(kept);
        cr_assert_eq(strncmp(kept, text, length), 0);
        cr_assert(length <= before || (length - before) % 2 == 0);
        cr_assert(length == strlen(text) || length >= 126);
        free(text);
    }
    world_close();
}

/* --- databases, users, the daemon ------------------------------------------------------ */

struct names {
    char text[512];
};

static void add_database(void *context, const struct weir_view_database *row)
{
    struct names *names = context;
    size_t used = strlen(names->text);
    snprintf(names->text + used, sizeof(names->text) - used, "%s%s:%s/%s,%d,%d%s%s",
             used > 0 ? " " : "", row->name, row->host, row->server_database, row->connections,
             row->clients, row->paused ? ",paused" : "", row->disabled ? ",disabled" : "");
    cr_assert_not_null(row->line);
    cr_assert_not(row->automatic);
    cr_assert_eq(row->port, world.postgres.port);
}

static void add_user(void *context, const struct weir_view_user *row)
{
    struct names *names = context;
    size_t used = strlen(names->text);
    snprintf(names->text + used, sizeof(names->text) - used, "%s%s,%d,%d", used > 0 ? " " : "",
             row->name, row->connections, row->clients);
}

Test(view_other, databases_and_users)
{
    struct raw_client client;
    struct names names = {{0}};
    world_open_as("", "\"known\" \"secret\"\n");
    client_open(&client);
    cr_assert_eq(weir_operator_pause(world.router, "other"), WEIR_OPERATOR_DONE);
    cr_assert_eq(weir_operator_disable(world.router, "other"), WEIR_OPERATOR_DONE);
    weir_view_databases(world.router, add_database, &names);
    cr_assert_str_eq(names.text, "db:127.0.0.1/db,1,1 other:127.0.0.1/other,0,0,paused,disabled");
    names.text[0] = '\0';
    weir_view_users(world.router, add_user, &names);
    cr_assert_str_eq(names.text, "known,0,0 u,1,1");
    struct weir_view_daemon daemon;
    weir_view_daemon(world.router, &daemon);
    cr_assert_eq(daemon.databases, 2);
    cr_assert_eq(daemon.users, 2);
    cr_assert_eq(daemon.pools, 1);
    cr_assert_eq(daemon.clients, 1);
    cr_assert_eq(daemon.servers, 1);
    cr_assert_eq(daemon.counters->client_logins, 1);
    cr_assert_gt(daemon.turns->count, 0);
    cr_assert_eq(daemon.reloaded_at, daemon.started_at);
    cr_assert_null(daemon.reload_problem);
    weir_router_note_reload(world.router, "bad");
    weir_view_daemon(world.router, &daemon);
    cr_assert_str_eq(daemon.reload_problem, "bad");
    client_close(&client);
    world_close();
}
