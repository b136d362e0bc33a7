#include "support.h"

struct counting {
    struct weir_task task;
    struct weir_loop *loop;
    int *order;
    int at;
    int runs;
    int again; /* how often to defer itself */
};

static int clock_of_runs;

static void count(struct weir_task *task)
{
    struct counting *counting = weir_container_of(task, struct counting, task);
    counting->runs++;
    counting->at = ++clock_of_runs;
    if (counting->again > 0) {
        counting->again--;
        weir_loop_defer(counting->loop, task);
    }
}

static struct test_loop test;

static void open_loop(void)
{
    test = (struct test_loop){0};
    clock_of_runs = 0;
    cr_assert(weir_loop_init(&test.loop));
}

static void close_loop(void)
{
    weir_loop_fini(&test.loop);
}

TestSuite(loop, .init = open_loop, .fini = close_loop, .timeout = 60);

Test(loop, tasks_run_once_in_order)
{
    struct counting tasks[3] = {0};
    for (int i = 0; i < 3; i++) {
        tasks[i].task.run = count;
        weir_loop_defer(&test.loop, &tasks[i].task);
        weir_loop_defer(&test.loop, &tasks[i].task);
    }
    cr_assert_eq(tasks[0].runs, 0);
    test_loop_turn(&test);
    test_loop_turn(&test);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(tasks[i].runs, 1);
        cr_assert_eq(tasks[i].at, i + 1);
    }
}

Test(loop, cancelled_task_does_not_run)
{
    struct counting first = {.task.run = count};
    struct counting second = {.task.run = count};
    weir_loop_defer(&test.loop, &first.task);
    weir_loop_defer(&test.loop, &second.task);
    weir_task_cancel(&first.task);
    weir_task_cancel(&first.task);
    test_loop_turn(&test);
    cr_assert_eq(first.runs, 0);
    cr_assert_eq(second.runs, 1);
}

Test(loop, task_deferred_by_a_task_runs_in_the_same_turn)
{
    struct counting counting = {.task.run = count, .loop = &test.loop, .again = 5};
    weir_loop_defer(&test.loop, &counting.task);
    test_loop_turn(&test);
    cr_assert_eq(counting.runs, 6);
}

static void stop_at_deadline(struct ev_loop *ev, ev_timer *timer, int revents)
{
    weir_loop_stop(&test.loop);
}

Test(loop, endless_tasks_neither_block_nor_sleep)
{
    struct counting counting = {.task.run = count, .loop = &test.loop, .again = 1 << 30};
    weir_loop_defer(&test.loop, &counting.task);
    test_loop_turn(&test);
    /* Once when the loop is entered and once after the poll. */
    cr_assert_eq(counting.runs, 2 * WEIR_TASKS_PER_TURN);
    /* A timer still gets its turn, and there are many turns before it. */
    ev_timer timer;
    ev_timer_init(&timer, stop_at_deadline, 0.05, 0.);
    ev_now_update(test.loop.ev);
    ev_timer_start(test.loop.ev, &timer);
    cr_assert(test_loop_run(&test, 20));
    cr_assert_gt(counting.runs, 4 * WEIR_TASKS_PER_TURN);
    weir_task_cancel(&counting.task);
    uint64_t turns = test.loop.turns;
    ev_timer_init(&timer, stop_at_deadline, 0.1, 0.);
    ev_now_update(test.loop.ev);
    ev_timer_start(test.loop.ev, &timer);
    cr_assert(test_loop_run(&test, 20));
    cr_assert_leq(test.loop.turns - turns, 8, "the loop does not sleep any more");
}

static weir_usec seen_now;

static void take_now(struct ev_loop *ev, ev_timer *timer, int revents)
{
    seen_now = test.loop.now;
    usleep(20000);
    weir_loop_stop(&test.loop);
}

Test(loop, now_is_fresh_and_the_longest_turn_is_measured)
{
    ev_timer timer;
    ev_timer_init(&timer, take_now, 0.03, 0.);
    weir_usec before = weir_clock_now();
    ev_now_update(test.loop.ev);
    ev_timer_start(test.loop.ev, &timer);
    cr_assert(test_loop_run(&test, 20));
    cr_assert_geq(seen_now - before, 20 * WEIR_MSEC);
    cr_assert_leq(seen_now, weir_clock_now() - 20 * WEIR_MSEC);
    /* The turn ends where the next poll would begin. */
    test_loop_turn(&test);
    cr_assert_geq(test.loop.longest_turn, 20 * WEIR_MSEC);
    cr_assert_geq(weir_histogram_quantile(&test.loop.turn_lengths, 1), test.loop.longest_turn);
    cr_assert_geq(test.loop.turn_lengths.sum, 20 * WEIR_MSEC);
    cr_assert_geq(test.loop.turn_lengths.count, 2);
}

Test(loop, fini_forgets_tasks)
{
    struct weir_loop *loop = malloc(sizeof *loop);
    cr_assert(weir_loop_init(loop));
    cr_assert_eq((uintptr_t)loop->scratch % (uintptr_t)sysconf(_SC_PAGESIZE), 0);
    struct counting counting = {.task.run = count};
    weir_loop_defer(loop, &counting.task);
    weir_loop_fini(loop);
    weir_loop_fini(loop);
    free(loop);
    weir_task_cancel(&counting.task);
    cr_assert_eq(counting.runs, 0);
}
