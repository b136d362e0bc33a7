/* Names of prepared statements: each client has its own, whatever the servers hold. */
#include "world.h"

#include <string.h>

TestSuite(names, .init = world_init, .timeout = 120);
TestSuite(names_pool, .timeout = 120);

Test(names, same_name_with_another_text_in_two_clients)
{
    struct raw_client first, second;
    client_open(&first);
    client_open(&second);
    exchange(&first, "P s one|S", "1 Z(I)");
    exchange(&second, "P s two|S", "1 Z(I)");
    for (int i = 0; i < 5; i++) {
        exchange(&first, "B s|E|S", "2 D(one) C(SELECT 1) Z(I)");
        exchange(&second, "B s|E|S", "2 D(two) C(SELECT 1) Z(I)");
    }
    exchange(&first, "CS s|S", "3 Z(I)");
    exchange(&first, "B s|E|S", "E(26000) Z(I)");
    exchange(&second, "B s|E|S", "2 D(two) C(SELECT 1) Z(I)");
    exchange(&first, "P s three|B s|E|S", "1 2 D(three) C(SELECT 1) Z(I)");
    exchange(&second, "P s again|S", "E(42P05) Z(I)");
    exchange(&second, "B s|E|S", "2 D(two) C(SELECT 1) Z(I)");
    cr_assert_eq(world.postgres.opened, 1);
    client_close(&first);
    client_close(&second);
    world_close();
}

/* Two servers in strict turn: the statement is found on either. */
Test(names_pool, statement_goes_where_its_client_goes)
{
    struct raw_client client, other;
    bool seen[2] = {false, false};
    world_open("pool_size = 2");
    client_open(&client);
    client_open(&other);
    exchange(&client, "P s mine|P t yours|S", "1 1 Z(I)");
    for (int i = 0; i < 6; i++) {
        /* The other one takes the connection that the client had last. */
        exchange(&other, "Q begin|Q x", "C(BEGIN) Z(T) T D(x) C(SELECT 1) Z(T)");
        exchange(&client, "B s|E|B t|E|S", "2 D(mine) C(SELECT 1) 2 D(yours) C(SELECT 1) Z(I)");
        cr_assert_neq(client.server, other.server);
        seen[client.server - 1001] = true;
        exchange(&other, "Q commit", "C(COMMIT) Z(I)");
        exchange(&client, "B s|DP -|E|S", "2 T D(mine) C(SELECT 1) Z(I)");
        seen[client.server - 1001] = true;
    }
    cr_assert(seen[0] && seen[1]);
    client_close(&client);
    client_close(&other);
    world_close();
}

Test(names_pool, unnamed_statement_is_used_on_another_server)
{
    struct raw_client client, other;
    world_open("pool_size = 2");
    client_open(&client);
    client_open(&other);
    exchange(&client, "P - mine|S", "1 Z(I)");
    exchange(&other, "Q begin|Q x", "C(BEGIN) Z(T) T D(x) C(SELECT 1) Z(T)");
    exchange(&client, "B -|E|S", "2 D(mine) C(SELECT 1) Z(I)");
    cr_assert_neq(client.server, other.server);
    exchange(&client, "DS -|S", "t T Z(I)");
    exchange(&other, "P - theirs|S|Q commit", "1 Z(T) C(COMMIT) Z(I)");
    exchange(&client, "B -|E|S", "2 D(mine) C(SELECT 1) Z(I)");
    /* A simple query destroys it, as does closing it; nobody finds the other's. */
    exchange(&other, "P - theirs|S", "1 Z(I)");
    exchange(&client, "Q y", "T D(y) C(SELECT 1) Z(I)");
    exchange(&client, "B -|E|S", "E(26000) Z(I)");
    exchange(&other, "B -|E|S", "2 D(theirs) C(SELECT 1) Z(I)");
    exchange(&other, "CS -|S", "3 Z(I)");
    exchange(&other, "B -|E|S", "E(26000) Z(I)");
    exchange(&client, "DS -|S", "E(26000) Z(I)");
    client_close(&client);
    client_close(&other);
    world_close();
}

Test(names_pool, eviction_with_room_for_one)
{
    struct raw_client client;
    world_open("max_prepared_statements = 1");
    client_open(&client);
    exchange(&client, "P a one|S|P b two|S|P c three|S", "1 Z(I) 1 Z(I) 1 Z(I)");
    for (int i = 0; i < 4; i++) {
        exchange(&client, "B a|E|S", "2 D(one) C(SELECT 1) Z(I)");
        exchange(&client, "B b|E|S", "2 D(two) C(SELECT 1) Z(I)");
        exchange(&client, "B c|E|S", "2 D(three) C(SELECT 1) Z(I)");
    }
    struct fake_backend *backend = fake_postgres_find(&world.postgres, 0);
    exchange(&client, "P d four|S", "1 Z(I)");
    cr_assert_leq(backend->statements.count, 1);
    cr_assert_leq(world.postgres.statements_peak, 3);
    /* All three in one batch, which needs them all until its end. */
    exchange(&client, "B a|E|B b|E|B c|E|B a|E|S",
             "2 D(one) C(SELECT 1) 2 D(two) C(SELECT 1) 2 D(three) C(SELECT 1) "
             "2 D(one) C(SELECT 1) Z(I)");
    /* An error before the Close that evicts: it is made up for. */
    exchange(&client, "B missing|B b|E|S", "E(26000) Z(I)");
    exchange(&client, "B b|E|S|B a|E|S", "2 D(two) C(SELECT 1) Z(I) 2 D(one) C(SELECT 1) Z(I)");
    for (int i = 0; i < 10; i++) {
        exchange(&client, "P - fail|B -|E|B b|E|S", "1 2 E(42P01) Z(I)");
        exchange(&client, "B a|E|S", "2 D(one) C(SELECT 1) Z(I)");
        exchange(&client, "P - fail|B -|E|B c|E|B b|E|S", "1 2 E(42P01) Z(I)");
    }
    exchange(&client, "B c|E|S|B a|E|S", "2 D(three) C(SELECT 1) Z(I) 2 D(one) C(SELECT 1) Z(I)");
    /* The next statement makes room for itself. */
    exchange(&client, "P e five|S", "1 Z(I)");
    cr_assert_leq(backend->statements.count, 2);
    cr_assert_eq(world.postgres.opened, 1);
    client_close(&client);
    world_close();
}

Test(names, deallocate_all_then_parse_in_one_batch)
{
    struct raw_client client;
    client_open(&client);
    exchange(&client, "P old one|S", "1 Z(I)");
    exchange(&client, "P - deallocate all|B -|E|P new two|B new|E|S",
             "1 2 C(DEALLOCATE ALL) 1 2 D(two) C(SELECT 1) Z(I)");
    exchange(&client, "B old|E|S", "E(26000) Z(I)");
    exchange(&client, "B new|E|S", "2 D(two) C(SELECT 1) Z(I)");
    exchange(&client, "Q deallocate all|P old three|B old|E|S",
             "C(DEALLOCATE ALL) Z(I) 1 2 D(three) C(SELECT 1) Z(I)");
    exchange(&client, "B new|E|S", "E(26000) Z(I)");
    exchange(&client, "B old|E|S", "2 D(three) C(SELECT 1) Z(I)");
    client_close(&client);
    world_close();
}

/* The name parsed again behind a DEALLOCATE ALL that is still on its way. */
Test(names, deallocate_all_then_the_same_name_in_one_batch)
{
    struct raw_client client;
    client_open(&client);
    exchange(&client, "P s one|S", "1 Z(I)");
    exchange(&client, "P - deallocate all|B -|E|S|P s two|B s|E|S",
             "1 2 C(DEALLOCATE ALL) Z(I) 1 2 D(two) C(SELECT 1) Z(I)");
    exchange(&client, "B s|E|S", "2 D(two) C(SELECT 1) Z(I)");
    client_close(&client);
    world_close();
}

Test(names, sql_statements_share_the_namespace)
{
    struct raw_client client, other;
    client_open(&client);
    client_open(&other);
    exchange(&client, "P s one|S", "1 Z(I)");
    exchange(&client, "Q execute s", "T D(one) C(SELECT 1) Z(I)");
    exchange(&client, "Q deallocate s", "C(DEALLOCATE) Z(I)");
    exchange(&client, "B s|E|S", "E(26000) Z(I)");
    exchange(&client, "Q deallocate s", "E(26000) Z(I)");
    exchange(&other, "Q execute s", "E(26000) Z(I)");
    client_close(&client);
    client_close(&other);
    world_until(world_is_quiet());
    world_close();
}

Test(names, sql_prepare_keeps_the_server_until_deallocate)
{
    struct raw_client client, other;
    client_open(&client);
    client_open(&other);
    exchange(&client, "Q prepare s as one", "C(PREPARE) Z(I)");
    cr_assert_eq(world_counts().active, 1);
    client_send(&other, "Q x");
    world_turns(10);
    client_expect(&other, 0, "");
    exchange(&client, "Q execute s", "T D(one) C(SELECT 1) Z(I)");
    exchange(&client, "Q deallocate s", "C(DEALLOCATE) Z(I)");
    client_expect(&other, 1, "T D(x) C(SELECT 1) Z(I)");
    client_close(&client);
    client_close(&other);
    world_until(world_is_quiet());
    world_close();
}

/* --- the description that the client was told
 * ---------------------------------------------------------------- */

Test(names_pool, changed_result_is_an_error_as_on_one_connection)
{
    struct raw_client client, other;
    world_open("pool_size = 2");
    client_open(&client);
    client_open(&other);
    exchange(&client, "P s shifty|DS s|S", "1 t T Z(I)");
    exchange(&other, "Q begin|Q x", "C(BEGIN) Z(T) T D(x) C(SELECT 1) Z(T)");
    exchange(&client, "B s|E|S", "2 D(shifty) C(SELECT 1) Z(I)");
    cr_assert_neq(client.server, other.server);
    world.postgres.shape = 1;
    exchange(&other, "Q commit", "C(COMMIT) Z(I)");
    /* A server that never saw it describes something else now. */
    fake_postgres_end_all(&world.postgres, false);
    world_until(fake_postgres_count(&world.postgres) == 0);
    world_turns(10);
    exchange(&client, "B s|E|S", "E(0A000) Z(I)");
    exchange(&client, "DS s|S", "E(0A000) Z(I)");
    exchange(&client, "CS s|P s shifty|DS s|B s|E|S", "3 1 t T 2 D(shifty) C(SELECT 1) Z(I)");
    client_close(&client);
    client_close(&other);
    world_close();
}

Test(names, parse_that_fails_leaves_the_name_free)
{
    struct raw_client client;
    client_open(&client);
    for (int i = 0; i < 3; i++)
        exchange(&client, "P s fail_parse|S", "E(42601) Z(I)");
    exchange(&client, "P s good|B s|E|S", "1 2 D(good) C(SELECT 1) Z(I)");
    exchange(&client, "P s fail_parse|S", "E(42601) Z(I)");
    exchange(&client, "P s other|S", "E(42P05) Z(I)");
    /* Parse and Close undone by an error before them. */
    exchange(&client, "B missing|P t new|CS s|S", "E(26000) Z(I)");
    exchange(&client, "B t|S", "E(26000) Z(I)");
    exchange(&client, "B s|E|S", "2 D(good) C(SELECT 1) Z(I)");
    exchange(&client, "B missing|CS s|P s later|S", "E(26000) Z(I)");
    exchange(&client, "B s|E|S", "2 D(good) C(SELECT 1) Z(I)");
    exchange(&client, "CS s|P s later|CS s|P s last|B s|E|S", "3 1 3 1 2 D(last) C(SELECT 1) Z(I)");
    client_close(&client);
    world_close();
}

Test(names_pool, without_renaming_names_pass_through)
{
    struct raw_client client;
    world_open("max_prepared_statements = 0");
    client_open(&client);
    exchange(&client, "P s one|B s|DS s|E|S", "1 2 t T D(one) C(SELECT 1) Z(I)");
    struct fake_backend *backend = fake_postgres_find(&world.postgres, 0);
    cr_assert_str_eq(fake_texts_find(&backend->statements, "s"), "one");
    client_close(&client);
    world_close();
}

/* A query behind a batch without Sync is skipped with it when the batch fails, and names that came
 * and went in between are those that a direct connection has. */
Test(names, query_behind_a_failed_batch_without_sync)
{
    struct raw_client client;
    client_open(&client);
    exchange(&client, "E|P n one|Q a|Q execute n|CS n|P n two|S", "E(34000) Z(I)");
    exchange(&client, "B n|S", "E(26000) Z(I)");
    exchange(&client, "E|F|Q a|S|Q b", "E(34000) Z(I) T D(b) C(SELECT 1) Z(I)");
    exchange(&client, "P n one|Q execute n|CS n|P n two|B n|E|S",
             "1 T D(one) C(SELECT 1) Z(I) 3 1 2 D(two) C(SELECT 1) Z(I)");
    client_close(&client);
    world_until(world_is_quiet());
    cr_assert_eq(world.postgres.opened, 1);
    world_close();
}
