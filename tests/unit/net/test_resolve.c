#include "support.h"

#include "weir/resolve.h"

static struct test_loop test;

struct asking {
    struct weir_resolve_query query;
    size_t count;
    int calls;
    bool has_problem;
    struct weir_address first;
};

static int expected_calls;
static bool starting;

static void take(struct weir_resolve_query *query, const struct weir_resolve_result *result)
{
    struct asking *asking = weir_container_of(query, struct asking, query);
    cr_assert_not(starting, "called back from inside the call");
    asking->calls++;
    asking->count = result->count;
    asking->has_problem = result->problem != NULL;
    if (result->count > 0)
        asking->first = result->addresses[0];
    if (--expected_calls == 0)
        weir_loop_stop(&test.loop);
}

static void ask(struct asking *asking, const char *name)
{
    asking->query.done = take;
    starting = true;
    weir_resolve_start(&test.loop, name, &asking->query);
    starting = false;
}

static void open_loop(void)
{
    cr_assert(weir_loop_init(&test.loop));
}

static void close_loop(void)
{
    weir_loop_fini(&test.loop);
}

TestSuite(resolve, .init = open_loop, .fini = close_loop, .timeout = 60);

Test(resolve, localhost)
{
    struct asking asking = {0};
    ask(&asking, "localhost");
    expected_calls = 1;
    cr_assert(test_loop_run(&test, 20));
    cr_assert_gt(asking.count, 0);
    cr_assert_not(asking.has_problem);
    /* From the cache, and again not from inside the call. */
    struct asking again = {0};
    ask(&again, "localhost");
    cr_assert_eq(again.calls, 0);
    expected_calls = 1;
    cr_assert(test_loop_run(&test, 20));
    cr_assert_eq(again.count, asking.count);
}

Test(resolve, questions_for_one_name_share_the_answer)
{
    struct asking asking[5] = {0};
    for (int i = 0; i < 5; i++)
        ask(&asking[i], i < 3 ? "localhost" : "nosuchhost.invalid");
    weir_resolve_cancel(&asking[1].query);
    weir_resolve_cancel(&asking[1].query);
    expected_calls = 4;
    cr_assert(test_loop_run(&test, 30));
    cr_assert_eq(asking[1].calls, 0);
    cr_assert_gt(asking[0].count, 0);
    cr_assert_eq(asking[0].count, asking[2].count);
    for (int i = 3; i < 5; i++) {
        cr_assert_eq(asking[i].calls, 1);
        cr_assert_eq(asking[i].count, 0);
        cr_assert(asking[i].has_problem);
    }
}

Test(resolve, strange_names_fail)
{
    char long_name[1000];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    const char *const names[] = {long_name, "..", "a..b.invalid", "-", "\xff\xfe", "a b.invalid"};
    enum { COUNT = sizeof names / sizeof names[0] };
    struct asking asking[COUNT] = {0};
    for (int i = 0; i < COUNT; i++)
        ask(&asking[i], names[i]);
    expected_calls = COUNT;
    cr_assert(test_loop_run(&test, 40));
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(asking[i].calls, 1);
        cr_assert_eq(asking[i].count, 0, "%s", names[i]);
        cr_assert(asking[i].has_problem);
    }
}

/* The owner of a question may go, and the loop may go, in any order. */
Test(resolve, loop_may_end_with_questions_open)
{
    struct asking asking[3] = {0};
    struct weir_loop loop;
    cr_assert(weir_loop_init(&loop));
    for (int i = 0; i < 3; i++) {
        asking[i].query.done = take;
        weir_resolve_start(&loop, i == 2 ? "localhost" : "nosuchhost.invalid", &asking[i].query);
    }
    weir_resolve_cancel(&asking[0].query);
    weir_loop_fini(&loop);
    for (int i = 0; i < 3; i++) {
        weir_resolve_cancel(&asking[i].query);
        cr_assert_eq(asking[i].calls, 0);
    }
}

Test(resolve, all_askers_gone_before_the_answer)
{
    struct asking asking = {0};
    ask(&asking, "nosuchhost.invalid");
    weir_resolve_cancel(&asking.query);
    cr_assert_not(test_loop_run(&test, 0.3));
    cr_assert_eq(asking.calls, 0);
}

Test(resolve, numeric_addresses_need_no_question)
{
    struct weir_address address;
    char text[64];
    cr_assert(weir_resolve_numeric("127.0.0.1", &address));
    weir_address_print(&address, text, sizeof text);
    cr_assert_str_eq(text, "127.0.0.1:0");
    cr_assert(weir_resolve_numeric("::1", &address));
    weir_address_print(&address, text, sizeof text);
    cr_assert_str_eq(text, "[::1]:0");
    cr_assert_not(weir_resolve_numeric("localhost", &address));
    cr_assert_not(weir_resolve_numeric("", &address));
}
