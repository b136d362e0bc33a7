/* Real workers, which behave as they are told (fake_worker.c). */
#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/log.h"
#include "weir/memory.h"
#include "weir/verify.h"

static struct weir_loop loop;
static struct weir_verify *verify;
static ev_timer patience;

struct asked {
    struct weir_verification base;
    int answers;
    enum weir_verdict verdict;
    char text[256];
};

static int open_questions;

static void done(struct weir_verification *base, enum weir_verdict verdict, const char *text)
{
    struct asked *asked = weir_container_of(base, struct asked, base);
    asked->answers++;
    asked->verdict = verdict;
    snprintf(asked->text, sizeof(asked->text), "%s", text);
    if (--open_questions == 0)
        weir_loop_stop(&loop);
}

static void on_patience(struct ev_loop *ev, ev_timer *timer, int events)
{
    weir_loop_stop(&loop);
}

static void run_for(double seconds)
{
    ev_timer_init(&patience, on_patience, seconds, 0.);
    ev_timer_start(loop.ev, &patience);
    weir_loop_run(&loop);
    ev_timer_stop(loop.ev, &patience);
}

static void follow_program(const char *program, int workers, weir_usec limit)
{
    const struct weir_verify_settings settings = {program, workers, limit};
    weir_verify_follow(verify, &settings);
}

static void follow(int workers, weir_usec limit)
{
    follow_program(WEIR_FAKE_WORKER, workers, limit);
}

static void setup(void)
{
    cr_assert(weir_loop_init(&loop));
    setenv("NOTIFY_SOCKET", "/nowhere", 1);
    open_questions = 0;
    verify = weir_verify_create(&loop);
}

static void teardown(void)
{
    weir_verify_destroy(verify);
    weir_loop_fini(&loop);
}

TestSuite(verify, .init = setup, .fini = teardown, .timeout = 60);

static void ask_with(struct asked *asked, const char *user, const char *password)
{
    *asked = (struct asked){.base = {.done = done}};
    struct weir_question question = {
        .method = "pam", .user = user, .password = password, .peer = "::1"};
    const char *problem = weir_verify_ask(verify, &question, &asked->base);
    cr_assert_null(problem, "%s", problem);
    cr_assert_eq(asked->answers, 0, "answered from within the call");
    open_questions++;
}

static void ask(struct asked *asked, const char *user)
{
    ask_with(asked, user, "right");
}

static void wait_answers(void)
{
    if (open_questions > 0)
        run_for(20);
    cr_assert_eq(open_questions, 0, "%d are open", open_questions);
}

static struct weir_verify_figures count(void)
{
    struct weir_verify_figures figures;
    weir_verify_count(verify, &figures);
    return figures;
}

/* --- the plain way ----------------------------------------------------------------------- */

Test(verify, verdicts)
{
    struct asked right, wrong, trouble, slowly, environment;
    follow(2, 0);
    ask(&right, "alice");
    ask_with(&wrong, "alice", "wrong");
    ask(&trouble, "trouble");
    ask(&slowly, "slowly");
    ask(&environment, "environment");
    wait_answers();
    cr_expect_eq(right.verdict, WEIR_VERDICT_YES);
    cr_expect_str_eq(right.text, "::1");
    cr_expect_eq(wrong.verdict, WEIR_VERDICT_NO);
    cr_expect_eq(trouble.verdict, WEIR_VERDICT_TROUBLE);
    cr_expect_str_eq(trouble.text, "no server");
    cr_expect_eq(slowly.verdict, WEIR_VERDICT_YES);
    cr_expect_str_eq(environment.text, "clean");
    cr_expect_eq(right.answers + wrong.answers + trouble.answers + slowly.answers, 4);
}

Test(verify, as_many_workers_as_needed_and_no_more)
{
    enum { MANY = 40 };
    static struct asked all[MANY];
    follow(3, 0);
    cr_expect_eq(count().workers, 1, "the first one is started at once");
    for (int i = 0; i < MANY; i++)
        ask(&all[i], i < 6 ? "late" : "alice");
    cr_expect_eq(count().waiting, MANY);
    wait_answers();
    for (int i = 0; i < MANY; i++)
        cr_expect_eq(all[i].verdict, WEIR_VERDICT_YES, "%d", i);
    cr_expect_eq(count().workers, 3);
    cr_expect_eq(count().started, 3);
    cr_expect_eq(count().asked, MANY);
    cr_expect_eq(count().lost, 0);
}

/* More than a socket takes at once. */
Test(verify, long_questions)
{
    char *password = weir_alloc(200001);
    static struct asked all[5];
    memset(password, 'x', 200000);
    follow(1, 0);
    for (int i = 0; i < 5; i++)
        ask_with(&all[i], "alice", password);
    wait_answers();
    for (int i = 0; i < 5; i++)
        cr_expect_eq(all[i].verdict, WEIR_VERDICT_NO);
    free(password);
}

Test(verify, too_many_wait)
{
    static struct asked all[WEIR_VERIFY_WAITING + 1];
    follow(1, 0);
    for (int i = 0; i < WEIR_VERIFY_WAITING; i++)
        ask(&all[i], "alice");
    struct asked *last = &all[WEIR_VERIFY_WAITING];
    last->base.done = done;
    struct weir_question question = {.method = "pam", .user = "u", .password = "p", .peer = ""};
    cr_expect_not_null(weir_verify_ask(verify, &question, &last->base));
    wait_answers();
    cr_expect_eq(last->answers, 0);
    ask(last, "alice");
    wait_answers();
    cr_expect_eq(last->verdict, WEIR_VERDICT_YES);
}

/* --- workers that fail ------------------------------------------------------------------- */

/* One login is lost, with a reason; the next one is answered. */
static void lose_one(const char *user, const char *why)
{
    struct asked before, lost, after;
    follow(1, WEIR_SEC / 5);
    ask(&before, "alice");
    wait_answers();
    ask(&lost, user);
    wait_answers();
    cr_expect_eq(lost.verdict, WEIR_VERDICT_LOST);
    cr_expect_eq(lost.answers, 1);
    cr_expect_not_null(strstr(lost.text, why), "%s", lost.text);
    ask(&after, "alice");
    wait_answers();
    cr_expect_eq(after.verdict, WEIR_VERDICT_YES, "%s", after.text);
    cr_expect_eq(count().lost, 1);
    cr_expect_eq(count().started, 2);
}

Test(verify, one_hangs)
{
    lose_one("hang", "longer than auth_worker_timeout");
    cr_expect_eq(count().killed, 1);
}

Test(verify, one_is_killed)
{
    lose_one("die", "signal 9");
}

Test(verify, one_ends)
{
    lose_one("exit", "ended with status 3");
}

Test(verify, one_talks_nonsense)
{
    lose_one("nonsense", "broke the protocol");
}

Test(verify, one_answers_another_question)
{
    lose_one("other", "broke the protocol");
}

Test(verify, one_closes_its_socket_and_stays)
{
    lose_one("deaf", "does not end");
}

/* The second answer comes when nothing is asked: that worker goes, and nobody is told anything. */
Test(verify, one_answers_twice)
{
    struct asked twice, after;
    follow(1, 0);
    ask(&twice, "twice");
    wait_answers();
    cr_expect_eq(twice.verdict, WEIR_VERDICT_YES);
    run_for(0.2);
    cr_expect_eq(count().killed, 1);
    ask(&after, "alice");
    wait_answers();
    cr_expect_eq(after.verdict, WEIR_VERDICT_YES);
    cr_expect_eq(twice.answers, 1);
}

/* While one hangs the others are answered. */
Test(verify, the_others_go_on)
{
    static struct asked hang, others[20];
    follow(2, 2 * WEIR_SEC);
    ask(&hang, "hang");
    for (int i = 0; i < 20; i++)
        ask(&others[i], "alice");
    weir_usec began = weir_clock_now();
    while (open_questions > 1 && weir_clock_now() - began < 20 * WEIR_SEC)
        run_for(0.02);
    cr_expect_eq(hang.answers, 0);
    for (int i = 0; i < 20; i++)
        cr_expect_eq(others[i].verdict, WEIR_VERDICT_YES);
    wait_answers();
    cr_expect_eq(hang.verdict, WEIR_VERDICT_LOST);
}

/* --- programs that cannot work ------------------------------------------------------------ */

Test(verify, no_such_program)
{
    struct asked asked;
    follow_program("/nonexistent/pgweir-verify", 2, 0);
    ask(&asked, "alice");
    wait_answers();
    cr_expect_eq(asked.verdict, WEIR_VERDICT_LOST);
    cr_expect_str_eq(asked.text, "no worker can be started");
    /* With the right one the next is answered at once. */
    follow(2, 0);
    ask(&asked, "alice");
    wait_answers();
    cr_expect_eq(asked.verdict, WEIR_VERDICT_YES);
}

/* It is started again, but not over and over. */
Test(verify, a_program_that_ends_at_once)
{
    struct asked asked;
    follow_program("/bin/true", 2, 0);
    for (int i = 0; i < 20; i++) {
        ask(&asked, "alice");
        wait_answers();
        cr_expect_eq(asked.verdict, WEIR_VERDICT_LOST);
    }
    cr_expect_str_eq(asked.text, "workers end as soon as they are started");
    cr_expect_leq(count().started, 12);
}

/* --- cancelling and changing -------------------------------------------------------------- */

Test(verify, cancelled_while_it_waits_and_while_it_is_asked)
{
    struct asked late, waits, after;
    follow(1, 0);
    ask(&late, "late");
    ask(&waits, "alice");
    run_for(0.1);
    cr_expect_eq(count().busy, 1);
    cr_expect_eq(count().waiting, 1);
    weir_verification_cancel(&late.base);
    weir_verification_cancel(&waits.base);
    weir_verification_cancel(&waits.base);
    open_questions -= 2;
    cr_expect_eq(count().waiting, 0);
    ask(&after, "alice");
    wait_answers();
    cr_expect_eq(after.verdict, WEIR_VERDICT_YES);
    cr_expect_eq(late.answers + waits.answers, 0);
    cr_expect_eq(count().started, 1, "the worker is the same");
}

/* A worker that hangs for somebody who has gone is replaced all the same. */
Test(verify, cancelled_while_it_hangs)
{
    struct asked hang, after;
    follow(1, WEIR_SEC / 5);
    ask(&hang, "hang");
    run_for(0.05);
    weir_verification_cancel(&hang.base);
    open_questions--;
    ask(&after, "alice");
    wait_answers();
    cr_expect_eq(after.verdict, WEIR_VERDICT_YES);
    cr_expect_eq(hang.answers, 0);
}

Test(verify, cancelled_between_request_and_serving)
{
    struct asked asked;
    follow(1, 0);
    ask(&asked, "alice");
    weir_verification_cancel(&asked.base);
    open_questions--;
    run_for(0.1);
    cr_expect_eq(asked.answers, 0);
}

static pid_t pid_of_worker(void)
{
    struct asked asked;
    ask(&asked, "pid");
    wait_answers();
    cr_assert_eq(asked.verdict, WEIR_VERDICT_YES);
    return (pid_t)atol(asked.text);
}

Test(verify, fewer_and_none)
{
    follow(2, 0);
    pid_t first = pid_of_worker();
    follow(2, 0);
    cr_expect_eq(pid_of_worker(), first, "nothing has changed");
    follow(1, 0);
    cr_expect_neq(pid_of_worker(), first);
    struct asked late, after;
    ask(&late, "late");
    run_for(0.05);
    follow(0, 0);
    ask(&after, "alice");
    wait_answers();
    cr_expect_eq(late.verdict, WEIR_VERDICT_YES, "what was asked is answered");
    cr_expect_eq(after.verdict, WEIR_VERDICT_LOST);
    run_for(0.3);
    cr_expect_eq(count().workers, 0);
    follow(1, 0);
    pid_of_worker();
}

Test(verify, workers_are_renewed)
{
    enum { MANY = 1000 };
    static struct asked all[MANY];
    follow(1, 0);
    pid_t first = pid_of_worker();
    for (int i = 0; i < MANY - 1; i++)
        ask(&all[i], "alice");
    wait_answers();
    cr_expect_neq(pid_of_worker(), first);
    cr_expect_eq(count().started, 2);
    cr_expect_eq(count().killed + count().lost, 0);
}

static int count_descriptors(void)
{
    int found = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder) != NULL)
        found++;
    closedir(folder);
    return found;
}

/* Neither processes nor descriptors stay behind. */
Test(verify, destroyed_while_they_work)
{
    static struct asked hang, late, waits;
    int before = count_descriptors();
    follow(2, 0);
    pid_t pid = pid_of_worker();
    ask(&hang, "hang");
    ask(&late, "late");
    ask(&waits, "alice");
    run_for(0.1);
    weir_verify_destroy(verify);
    cr_expect_eq(kill(pid, 0), -1);
    cr_expect_eq(hang.answers + late.answers + waits.answers, 0);
    /* Safe afterwards, too. */
    weir_verification_cancel(&hang.base);
    weir_verification_cancel(&waits.base);
    verify = weir_verify_create(&loop);
    cr_expect_leq(count_descriptors(), before + 2, "libev's own for signals");
}
