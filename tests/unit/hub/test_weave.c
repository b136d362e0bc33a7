/* A session that begins to listen to more channels: what it has heard itself and what the hub has heard
 * become one order, the server's own. Held against a plain model over random histories. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/hub.h"
#include "weir/memory.h"

TestSuite(weave, .timeout = 120);

#define CHANNELS 6
#define EVENTS   60

enum role {
    NOBODYS,
    KEPT,  /* joined, and still listened to */
    LEFT,  /* joined, and given up by the session's transaction */
    ADDED, /* begun by it */
};

struct history {
    enum role roles[CHANNELS];
    int channels[EVENTS];
    int count;
    int given;     /* the session listens to what the listener had joined from here on */
    int committed; /* its own transaction */
    int marked;    /* both views end here */
};

static unsigned draw(unsigned *seed, unsigned below)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % below;
}

static struct history make(unsigned seed, bool leaves)
{
    struct history history = {0};
    for (int i = 0; i < CHANNELS; i++) {
        history.roles[i] = (enum role)draw(&seed, 4);
        if (history.roles[i] == LEFT && !leaves)
            history.roles[i] = KEPT;
    }
    history.count = (int)draw(&seed, EVENTS + 1);
    for (int i = 0; i < history.count; i++)
        history.channels[i] = (int)draw(&seed, 1 + draw(&seed, CHANNELS));
    history.marked = history.count == 0 ? 0 : (int)draw(&seed, (unsigned)history.count + 1);
    history.committed = (int)draw(&seed, (unsigned)history.marked + 1);
    history.given = (int)draw(&seed, (unsigned)history.committed + 1);
    return history;
}

/* All messages look alike but for the number behind them, so that nothing can be told by content. */
static struct weir_hub_message *message_of(int event)
{
    int number = event;
    return weir_hub_message_create(&number, sizeof(number));
}

static size_t direct_of(const struct history *history, const uint64_t *ids,
                        struct weir_hub_direct *direct)
{
    size_t count = 0;
    for (int i = history->given; i < history->marked; i++) {
        int channel = history->channels[i];
        enum role role = history->roles[channel];
        if (role == KEPT || (role == LEFT && i < history->committed))
            direct[count++] = (struct weir_hub_direct){ids[channel], NULL};
        else if (role == ADDED && i >= history->committed)
            direct[count++] = (struct weir_hub_direct){0, message_of(i)};
    }
    return count;
}

/* Runs the history and gives the numbers of the events that wait for the listener in the end. */
static int run(const struct history *history, int *got)
{
    struct weir_hub *hub = weir_hub_create();
    struct weir_hub_channel *channels[CHANNELS];
    uint64_t ids[CHANNELS], mark;
    uint32_t budget = 100000, end = 0;
    struct weir_hub_listener listener;
    struct weir_hub_direct direct[EVENTS];
    weir_hub_listener_init(&listener, hub);
    for (int i = 0; i < CHANNELS; i++) {
        char name[2] = {(char)('a' + i), 0};
        channels[i] = weir_hub_hold(hub, name);
        ids[i] = channels[i]->id;
        if (history->roles[i] == KEPT || history->roles[i] == LEFT)
            weir_hub_join(&listener, channels[i]);
    }
    for (int i = 0; i <= history->count; i++) {
        if (i == history->marked)
            weir_hub_mark(hub, 1);
        if (i < history->count)
            weir_hub_take(hub, channels[history->channels[i]]->name, &i, sizeof(i));
    }
    cr_assert_eq(weir_hub_spread(hub, &budget, &mark), WEIR_HUB_MARK);
    end = listener.count;
    for (int i = 0; i < CHANNELS; i++) {
        if (history->roles[i] == LEFT)
            weir_hub_leave(&listener, channels[i]);
    }
    size_t count = direct_of(history, ids, direct);
    /* What is added is joined at the mark and heard by the hub from there; it is no common channel. */
    for (int i = 0; i < CHANNELS; i++) {
        if (history->roles[i] == ADDED)
            weir_hub_join(&listener, channels[i]);
    }
    cr_assert_eq(weir_hub_spread(hub, &budget, &mark), WEIR_HUB_DONE);
    weir_hub_weave(&listener, end, direct, count);
    int total = 0;
    struct iovec piece;
    while (weir_hub_peek(&listener, &piece, 1, 1) == 1) {
        memcpy(&got[total++], piece.iov_base, sizeof(int));
        weir_hub_sent(&listener, 1);
    }
    weir_hub_listener_clear(&listener);
    for (int i = 0; i < CHANNELS; i++)
        weir_hub_release(channels[i]);
    weir_hub_destroy(hub);
    return total;
}

static bool is_due(const struct history *history, int event)
{
    switch (history->roles[history->channels[event]]) {
    case KEPT:
        return true;
    case LEFT:
        return event < history->marked;
    case ADDED:
        return event >= history->committed;
    default:
        return false;
    }
}

Test(weave, order_of_the_server)
{
    for (unsigned seed = 1; seed <= 20000; seed++) {
        struct history history = make(seed, false);
        int got[EVENTS], count = run(&history, got), at = 0;
        for (int event = 0; event < history.count; event++) {
            if (!is_due(&history, event))
                continue;
            cr_assert_lt(at, count, "seed %u: event %d is missing", seed, event);
            cr_assert_eq(got[at], event, "seed %u: event %d where %d belongs", seed, got[at],
                         event);
            at++;
        }
        cr_assert_eq(at, count, "seed %u: %d too many", seed, count - at);
    }
}

/* What comes on a channel that was given up after that is told up to the mark; where it stands between
 * what is new is open, all else is in order. */
Test(weave, channels_that_are_left)
{
    for (unsigned seed = 1; seed <= 20000; seed++) {
        struct history history = make(seed, true);
        int got[EVENTS], count = run(&history, got), last = -1, due = 0;
        for (int event = 0; event < history.count; event++)
            due += is_due(&history, event);
        cr_assert_eq(count, due, "seed %u", seed);
        for (int i = 0; i < count; i++) {
            bool open =
                history.roles[history.channels[got[i]]] == LEFT && got[i] >= history.committed;
            if (open)
                continue;
            cr_assert_gt(got[i], last, "seed %u: event %d comes late", seed, got[i]);
            last = got[i];
        }
    }
}

Test(weave, nothing_is_kept_for_who_overflowed)
{
    struct weir_hub *hub = weir_hub_create();
    struct weir_hub_listener listener;
    weir_hub_listener_init(&listener, hub);
    listener.overflowed = true;
    struct weir_hub_direct direct = {0, message_of(1)};
    weir_hub_weave(&listener, 0, &direct, 1);
    cr_assert_eq(listener.count, 0);
    weir_hub_listener_clear(&listener);
    weir_hub_destroy(hub);
}
