/* Which pools stay when nobody uses them. */
#include "world.h"

#define HOUR (3600 * WEIR_SEC)

TestSuite(destination, .fini = world_close);

static int count(const char *database)
{
    int found = 0;
    struct destination *destination, *next;
    HASH_ITER(hh, world.router->destinations, destination, next) {
        found += strcmp(destination->database, database) == 0;
    }
    return found;
}

/* As after so many hours without an event. */
static void pass(int hours)
{
    for (int i = 0; i < hours * 2; i++) {
        world.router->loop->now += HOUR / 2;
        destination_collect(world.router);
    }
}

/* A server that is down: no connection exists, none succeeds. */
static void open_without_server(const char *line)
{
    char *settings = weir_format("server_login_retry = 1h\n[databases]\n%s\n[pgweir]", line);
    world_open(settings);
    free(settings);
}

Test(destination, a_pool_that_the_file_asks_for_is_never_collected)
{
    open_without_server("kept = host=127.0.0.1 port=1 user=u min_pool_size=1");
    cr_assert_eq(count("kept"), 1);
    struct destination *kept = destination_get(world.router, "kept", "u");
    world_until(kept->last_problem != NULL && weir_list_is_empty(&kept->servers) &&
                weir_list_is_empty(&world.router->doomed_servers));
    pass(50);
    cr_expect_eq(count("kept"), 1);
}

Test(destination, others_are_collected_after_an_hour)
{
    open_without_server("other = host=127.0.0.1 port=1 user=u\nfree = host=127.0.0.1 port=1 "
                        "min_pool_size=1\n* = host=127.0.0.1 port=1 user=u min_pool_size=1");
    cr_expect_eq(HASH_COUNT(world.router->destinations), 0);
    cr_assert_not_null(destination_get(world.router, "other", "u"));
    cr_assert_not_null(destination_get(world.router, "free", "u"));
    cr_assert_not_null(destination_get(world.router, "by the star", "u"));
    pass(1);
    cr_expect_eq(HASH_COUNT(world.router->destinations), 3);
    pass(1);
    cr_expect_eq(HASH_COUNT(world.router->destinations), 0);
}
