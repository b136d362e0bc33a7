/* Channels, listeners, and what is handed out to whom, in which order and in which portions. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/hub.h"
#include "weir/memory.h"

static struct weir_hub *hub;

static void open_hub(void)
{
    hub = weir_hub_create();
}

static void drop_unused(void)
{
    struct weir_hub_channel *channel;
    while ((channel = weir_hub_unused(hub)) != NULL)
        weir_hub_drop(channel);
}

static void close_hub(void)
{
    weir_hub_destroy(hub);
}

TestSuite(hub, .init = open_hub, .fini = close_hub, .timeout = 60);

static void join(struct weir_hub_listener *listener, const char *name)
{
    struct weir_hub_channel *channel = weir_hub_hold(hub, name);
    weir_hub_join(listener, channel);
    weir_hub_release(channel);
}

static void leave(struct weir_hub_listener *listener, const char *name)
{
    weir_hub_leave(listener, weir_hub_find(hub, name));
}

static bool hear(const char *channel, const char *text)
{
    return weir_hub_take(hub, channel, text, strlen(text));
}

static void spread(void)
{
    uint32_t budget = 1000000;
    uint64_t mark;
    cr_assert_eq(weir_hub_spread(hub, &budget, &mark), WEIR_HUB_DONE);
}

/* What waits for it, joined by commas; it is taken. */
static const char *heard_by(struct weir_hub_listener *listener)
{
    static char text[4096];
    struct iovec pieces[64];
    text[0] = '\0';
    int count;
    while ((count = weir_hub_peek(listener, pieces, 64, SIZE_MAX)) > 0) {
        for (int i = 0; i < count; i++) {
            size_t used = strlen(text);
            snprintf(text + used, sizeof(text) - used, "%s%.*s", used > 0 ? "," : "",
                     (int)pieces[i].iov_len, (const char *)pieces[i].iov_base);
        }
        weir_hub_sent(listener, count);
    }
    return text;
}

Test(hub, each_gets_what_it_listens_to_in_order)
{
    struct weir_hub_listener both, one, none;
    weir_hub_listener_init(&both, hub);
    weir_hub_listener_init(&one, hub);
    weir_hub_listener_init(&none, hub);
    join(&both, "a");
    join(&both, "b");
    join(&both, "b");
    join(&one, "b");
    cr_assert_eq(both.channels, 2);
    cr_assert(hear("a", "a1"));
    cr_assert(hear("b", "b1"));
    cr_assert(hear("a", "a2"));
    cr_assert_not(hear("c", "c1"));
    cr_assert_not(hear("A", "A1"), "names are told apart by case");
    spread();
    cr_assert_str_eq(heard_by(&both), "a1,b1,a2");
    cr_assert_str_eq(heard_by(&one), "b1");
    cr_assert_str_eq(heard_by(&none), "");
    leave(&both, "b");
    hear("b", "b2");
    hear("a", "a3");
    spread();
    cr_assert_str_eq(heard_by(&both), "a3");
    cr_assert_str_eq(heard_by(&one), "b2");
    weir_hub_listener_clear(&both);
    weir_hub_listener_clear(&one);
    weir_hub_listener_clear(&none);
    drop_unused();
    cr_assert_eq(weir_hub_channel_count(hub), 0);
}

Test(hub, channel_is_unused_when_nobody_has_it)
{
    struct weir_hub_listener listener;
    weir_hub_listener_init(&listener, hub);
    struct weir_hub_channel *held = weir_hub_hold(hub, "a");
    cr_assert_null(weir_hub_unused(hub));
    weir_hub_join(&listener, held);
    weir_hub_release(held);
    cr_assert_null(weir_hub_unused(hub));
    hear("a", "one");
    weir_hub_leave(&listener, held);
    cr_assert_null(weir_hub_unused(hub), "something is on its way in it");
    spread();
    cr_assert_eq(weir_hub_unused(hub), held);
    join(&listener, "a");
    cr_assert_null(weir_hub_unused(hub));
    weir_hub_listener_clear(&listener);
    cr_assert_eq(weir_hub_unused(hub), held);
    drop_unused();
    cr_assert_null(weir_hub_find(hub, "a"));
}

/* Who joins or leaves at a mark does so between what was heard before it and after it, however late
 * that is handed out. */
Test(hub, marks_divide_the_order)
{
    struct weir_hub_listener early, late;
    uint32_t budget = 1000;
    uint64_t mark = 0;
    weir_hub_listener_init(&early, hub);
    weir_hub_listener_init(&late, hub);
    join(&early, "a");
    hear("a", "1");
    weir_hub_mark(hub, 7);
    hear("a", "2");
    weir_hub_mark(hub, 8);
    weir_hub_mark(hub, 9);
    hear("a", "3");
    cr_assert_eq(weir_hub_spread(hub, &budget, &mark), WEIR_HUB_MARK);
    cr_assert_eq(mark, 7);
    join(&late, "a");
    cr_assert_eq(weir_hub_spread(hub, &budget, &mark), WEIR_HUB_MARK);
    cr_assert_eq(mark, 8);
    leave(&early, "a");
    cr_assert_eq(weir_hub_spread(hub, &budget, &mark), WEIR_HUB_MARK);
    cr_assert_eq(mark, 9);
    cr_assert_eq(weir_hub_spread(hub, &budget, &mark), WEIR_HUB_DONE);
    cr_assert_eq(budget, 1000 - 4);
    cr_assert_str_eq(heard_by(&early), "1,2");
    cr_assert_str_eq(heard_by(&late), "2,3");
    weir_hub_listener_clear(&early);
    weir_hub_listener_clear(&late);
    drop_unused();
}

/* A budget of one at a time: who leaves, joins or ends between two portions. */
Test(hub, portions)
{
    enum { COUNT = 10 };
    struct weir_hub_listener listeners[COUNT], late;
    for (int i = 0; i < COUNT; i++) {
        weir_hub_listener_init(&listeners[i], hub);
        join(&listeners[i], "a");
    }
    weir_hub_listener_init(&late, hub);
    hear("a", "1");
    hear("a", "2");
    uint64_t mark;
    int portions = 0;
    for (;;) {
        uint32_t budget = 1;
        enum weir_hub_spread step = weir_hub_spread(hub, &budget, &mark);
        portions++;
        if (portions == 3) {
            join(&late, "a"); /* in the middle of the first: only the second is for it */
            leave(&listeners[4], "a");
            weir_hub_listener_clear(&listeners[9]);
        }
        if (step == WEIR_HUB_DONE)
            break;
        cr_assert_eq(step, WEIR_HUB_MORE);
        cr_assert_lt(portions, 100);
    }
    /* Later ones are told first. */
    for (int i = 0; i < COUNT; i++) {
        const char *expected = i == 4 ? "" : i == 9 ? "" : "1,2";
        cr_assert_str_eq(heard_by(&listeners[i]), expected, "listener %d", i);
        weir_hub_listener_clear(&listeners[i]);
    }
    cr_assert_str_eq(heard_by(&late), "2");
    weir_hub_listener_clear(&late);
    drop_unused();
}

Test(hub, each_is_due_once)
{
    struct weir_hub_listener first, second;
    weir_hub_listener_init(&first, hub);
    weir_hub_listener_init(&second, hub);
    join(&second, "a");
    join(&first, "a");
    hear("a", "1");
    hear("a", "2");
    spread();
    cr_assert_eq(weir_hub_due(hub), &first);
    cr_assert_eq(weir_hub_due(hub), &second);
    cr_assert_null(weir_hub_due(hub));
    hear("a", "3");
    spread();
    weir_hub_listener_clear(&first);
    cr_assert_eq(weir_hub_due(hub), &second);
    cr_assert_null(weir_hub_due(hub));
    cr_assert_str_eq(heard_by(&second), "1,2,3");
    weir_hub_listener_clear(&second);
    drop_unused();
}

Test(hub, who_does_not_keep_up_overflows_alone)
{
    struct weir_hub_listener slow, quick;
    weir_hub_set_limit(hub, 10);
    weir_hub_listener_init(&slow, hub);
    weir_hub_listener_init(&quick, hub);
    join(&slow, "a");
    join(&quick, "a");
    for (int i = 0; i < 20; i++) {
        hear("a", "xyz");
        spread();
        cr_assert_str_eq(heard_by(&quick), "xyz");
        cr_assert_eq(slow.overflowed, i >= 3, "after %d", i + 1);
    }
    cr_assert_eq(slow.bytes, 0);
    cr_assert_eq(slow.count, 0);
    cr_assert_str_eq(heard_by(&slow), "");
    weir_hub_listener_clear(&slow);
    weir_hub_listener_clear(&quick);
    drop_unused();
}

Test(hub, peek_is_bounded)
{
    struct weir_hub_listener listener;
    struct iovec pieces[4];
    weir_hub_listener_init(&listener, hub);
    join(&listener, "a");
    for (int i = 0; i < 100; i++)
        hear("a", "0123456789");
    spread();
    cr_assert_eq(listener.count, 100);
    cr_assert_eq(listener.bytes, 1000);
    cr_assert_eq(weir_hub_peek(&listener, pieces, 4, SIZE_MAX), 4);
    cr_assert_eq(weir_hub_peek(&listener, pieces, 4, 1), 1);
    cr_assert_eq(weir_hub_peek(&listener, pieces, 4, 11), 2);
    weir_hub_sent(&listener, 3);
    cr_assert_eq(listener.bytes, 970);
    weir_hub_sent(&listener, 97);
    cr_assert_null((void *)listener.waiting);
    weir_hub_listener_clear(&listener);
    drop_unused();
}

Test(hub, what_waits_of_a_channel_is_forgotten)
{
    struct weir_hub_listener listener;
    weir_hub_listener_init(&listener, hub);
    join(&listener, "a");
    join(&listener, "b");
    for (int i = 0; i < 5; i++) {
        char text[3] = {'a', (char)('0' + i), 0};
        hear("a", text);
        text[0] = 'b';
        hear("b", text);
    }
    spread();
    uint64_t a = weir_hub_find(hub, "a")->id;
    cr_assert_eq(weir_hub_count(&listener, a, 0, 100), 5);
    cr_assert_eq(weir_hub_count(&listener, a, 1, 5), 2);
    weir_hub_forget_from(&listener, a, 3, 5);
    cr_assert_eq(listener.count, 10);
    weir_hub_forget_from(&listener, a, 3, 1);
    cr_assert_eq(listener.bytes, 16);
    cr_assert_str_eq(heard_by(&listener), "a0,b0,a1,b1,a2,b2,b3,b4");
    hear("a", "only");
    spread();
    weir_hub_forget_from(&listener, a, 0, 0);
    cr_assert_eq(listener.count, 0);
    cr_assert_eq(listener.bytes, 0);
    weir_hub_listener_clear(&listener);
    drop_unused();
}

/* What ends while things are on their way: nothing may leak or be touched again. */
Test(hub, ends_with_everything_under_way)
{
    struct weir_hub_listener listener;
    uint32_t budget = 1;
    uint64_t mark;
    weir_hub_listener_init(&listener, hub);
    join(&listener, "a");
    struct weir_hub_listener other;
    weir_hub_listener_init(&other, hub);
    join(&other, "a");
    weir_hub_mark(hub, 1);
    hear("a", "1");
    weir_hub_mark(hub, 2);
    cr_assert_eq(weir_hub_spread(hub, &budget, &mark), WEIR_HUB_MARK);
    cr_assert_eq(weir_hub_spread(hub, &budget, &mark), WEIR_HUB_MORE);
    weir_hub_listener_clear(&listener);
    weir_hub_listener_clear(&other);
}
