/* Words in errors and log lines that tools made for PgBouncer look for. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/log.h"
#include "weir/operator.h"

TestSuite(words, .timeout = 120);

static char log_file[] = "/tmp/weir-words-XXXXXX";

/* After world_open: the world's own log is quiet. */
static void log_to_file(void)
{
    int fd = mkstemp(log_file);
    cr_assert_geq(fd, 0);
    close(fd);
    struct weir_log_target target = {.level = WEIR_LOG_INFO, .file = log_file};
    cr_assert(weir_log_open(&target));
}

static void check_log(const char *const *words)
{
    static char text[65536];
    FILE *file = fopen(log_file, "r");
    cr_assert_not_null(file);
    size_t length = fread(text, 1, sizeof(text) - 1, file);
    text[length] = '\0';
    fclose(file);
    for (; *words != NULL; words++)
        cr_assert_not_null(strstr(text, *words), "no \"%s\" in:\n%s", *words, text);
    unlink(log_file);
}

static void check_error(struct raw_client *client, const char *words)
{
    world_until((client_read(client), client->over || client->errors > 0));
    cr_assert_not_null(strstr(client->message, words), "no \"%s\": %s", words, client->message);
    client_close(client);
}

Test(words, who_waits_too_long)
{
    struct raw_client holder, waiter;
    world_open("pool_timeout = 0.2");
    log_to_file();
    client_open(&holder);
    client_open(&waiter);
    exchange(&holder, "Q begin", "C(BEGIN) Z(T)");
    client_send(&waiter, "Q a");
    check_error(&waiter, "query_wait_timeout");
    cr_assert_not_null(strstr(waiter.message, "pool_timeout"));
    client_close(&holder);
    world_until(world_is_quiet());
    check_log((const char *const[]){"query_wait_timeout", "closing because: ", NULL});
    world_close();
}

Test(words, too_many_clients)
{
    struct raw_client one, two;
    world_open("max_client_conn = 1");
    log_to_file();
    client_open(&one);
    client_start(&two, NULL);
    check_error(&two, "no more connections allowed (max_client_conn");
    client_close(&one);
    check_log((const char *const[]){
        "login failed", "closing because: no more connections allowed (max_client_conn", NULL});
    world_close();
}

Test(words, shutting_down)
{
    struct raw_client one, two;
    world_open("");
    log_to_file();
    client_open(&one);
    exchange(&one, "Q begin", "C(BEGIN) Z(T)");
    weir_router_drain(world.router);
    client_start(&two, NULL);
    check_error(&two, "pooler is shutting down");
    client_close(&one);
    check_log((const char *const[]){"closing because: the pooler is shutting down", NULL});
    world_close();
}

Test(words, server_login)
{
    struct raw_client client;
    world_open("");
    log_to_file();
    world.postgres.refuse_login = "28P01";
    client_start(&client, NULL);
    world_until((client_read(&client), client.over));
    client_close(&client);
    check_log((const char *const[]){"server login failed: ", "login failed: ", NULL});
    world_close();
}

/* The log says it; the client is not told who exists. */
Test(words, unknown_user)
{
    struct raw_client client;
    world_open_as("auth_type = plain", "\"v\" \"pv\"\n");
    log_to_file();
    client_start(&client, NULL);
    client_send_password(&client, "x");
    check_error(&client, "password authentication failed");
    cr_assert_null(strstr(client.message, "no such user"));
    check_log((const char *const[]){"login failed", "closing because: ", "no such user", NULL});
    world_close();
}

Test(words, known_user)
{
    struct raw_client client;
    world_open_as("auth_type = plain", "\"u\" \"pu\"\n");
    log_to_file();
    client_start(&client, NULL);
    client_send_password(&client, "x");
    check_error(&client, "password authentication failed");
    static char text[65536];
    FILE *file = fopen(log_file, "r");
    cr_assert_gt(fread(text, 1, sizeof(text) - 1, file), 0);
    fclose(file);
    cr_assert_not_null(strstr(text, "login failed"));
    cr_assert_null(strstr(text, "no such user"), "%s", text);
    check_log((const char *const[]){"closing because: ", NULL});
    world_close();
}

Test(words, ends_of_clients_and_servers)
{
    struct raw_client client;
    world_open("");
    log_to_file();
    client_open(&client);
    exchange(&client, "Q a", "T D(a) C(SELECT 1) Z(I)");
    cr_assert_eq(weir_operator_kill(world.router, "db"), WEIR_OPERATOR_DONE);
    check_error(&client, "terminating connection due to administrator command");
    check_log((const char *const[]){
        "disconnect",
        "reason=database_killed closing because: terminating connection",
        "server_close",
        "operator",
        NULL,
    });
    world_close();
}
