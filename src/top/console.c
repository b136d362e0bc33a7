#include "console.h"

#include <stdlib.h>
#include <string.h>

#include "weir/memory.h"

#define BACKOFF_MIN     (WEIR_SEC / 2)
#define BACKOFF_MAX     (8 * WEIR_SEC)
#define CONNECT_TIMEOUT (10 * WEIR_SEC)
/* An answer that takes so long will not come: the connection may be half open. */
#define ANSWER_TIMEOUT (30 * WEIR_SEC)
/* Waited for so long, the display says so. */
#define SILENCE (3 * WEIR_SEC)

void console_begin(struct console *console, const struct options *options, weir_usec now)
{
    *console = (struct console){
        .options = options,
        .wanted = options->view->question,
        .interval = options->interval,
        .backoff = BACKOFF_MIN,
        .next_try = now,
        .next_round = now,
    };
}

static void forget(struct console *console, enum question question)
{
    grid_free(console->now[question]);
    grid_free(console->before[question]);
    free(console->refusals[question]);
    console->now[question] = NULL;
    console->before[question] = NULL;
    console->refusals[question] = NULL;
}

static void release(struct hand *hand)
{
    link_end(&hand->link);
    free(hand->command);
    free(hand->label);
    *hand = (struct hand){0};
}

void console_end(struct console *console)
{
    for (int i = 0; i < ASK_COUNT; i++)
        forget(console, (enum question)i);
    for (int i = 0; i < HANDS; i++)
        release(&console->hands[i]);
    free(console->told);
    link_end(&console->link);
}

/* --- rounds -------------------------------------------------------------------------------- */

void console_look_now(struct console *console, weir_usec now)
{
    console->next_round = now;
}

void console_want(struct console *console, enum question question, weir_usec now)
{
    if (console->wanted == question)
        return;
    console->wanted = question;
    /* The header has it anyway; rates of a moment ago say nothing. */
    if (question > ASK_STATS)
        forget(console, question);
    console_look_now(console, now);
}

/* The version is asked once a connection; the header needs the next four in every round. */
static bool is_needed(const struct console *console, enum question question)
{
    if (console->asked[question])
        return false;
    if (question == ASK_VERSION)
        return console->now[question] == NULL;
    return question <= ASK_STATS || question == console->wanted;
}

static void ask_next(struct console *console, weir_usec now)
{
    for (int i = 0; i < ASK_COUNT; i++) {
        if (!is_needed(console, (enum question)i))
            continue;
        console->current = (enum question)i;
        console->asked[i] = true;
        link_ask(&console->link, question_text(console->current), now);
        return;
    }
    console->asking = false;
    console->rounds++;
    console->backoff = BACKOFF_MIN;
}

static void begin_round(struct console *console, weir_usec now)
{
    memset(console->asked, 0, sizeof(console->asked));
    console->asking = true;
    console->next_round = now + console->interval;
    ask_next(console, now);
}

static void take_answer(struct console *console, weir_usec now)
{
    enum question question = console->current;
    grid_free(console->before[question]);
    console->before[question] = console->now[question];
    console->now[question] = console->link.answer;
    console->link.answer = NULL;
    free(console->refusals[question]);
    console->refusals[question] = NULL;
    console->last_answer = now;
    ask_next(console, now);
}

static void take_refusal(struct console *console, weir_usec now)
{
    char *why = weir_strdup(console->link.problem);
    forget(console, console->current);
    console->refusals[console->current] = why;
    console->last_answer = now;
    ask_next(console, now);
}

static void fall(struct console *console, weir_usec now)
{
    console->asking = false;
    if (console->lost_at == 0)
        console->lost_at = now;
    console->next_try = now + console->backoff;
    console->backoff = 2 * console->backoff > BACKOFF_MAX ? BACKOFF_MAX : 2 * console->backoff;
}

/* Another daemon may answer now: its totals begin anew, and its version may be another. */
static void rise(struct console *console, weir_usec now)
{
    console->lost_at = 0;
    for (int i = 0; i < ASK_COUNT; i++) {
        grid_free(console->before[i]);
        console->before[i] = NULL;
    }
    forget(console, ASK_VERSION);
    forget(console, ASK_STATS);
    begin_round(console, now);
}

static bool advance_link(struct console *console, weir_usec now)
{
    bool news = false;
    for (;;) {
        switch (link_advance(&console->link, now)) {
        case LINK_NOTHING:
            return news;
        case LINK_CONNECTED:
            rise(console, now);
            break;
        case LINK_ANSWERED:
            take_answer(console, now);
            break;
        case LINK_REFUSED:
            take_refusal(console, now);
            break;
        case LINK_LOST:
            fall(console, now);
            return true;
        }
        news = true;
        if (console->link.state != LINK_ASKING)
            return news;
    }
}

static void give_up(struct console *console, const char *why, weir_usec now)
{
    link_close(&console->link);
    free(console->link.problem);
    console->link.problem = weir_strdup(why);
    fall(console, now);
}

/* A view that was chosen while the display is frozen has nothing to show yet. */
static bool wants_rounds(const struct console *console)
{
    return !console->frozen ||
           (console->now[console->wanted] == NULL && console->refusals[console->wanted] == NULL);
}

/* What time alone brings about. */
static bool pass_time(struct console *console, weir_usec now)
{
    struct link *link = &console->link;
    if (link->state == LINK_DOWN && now >= console->next_try) {
        link_open(link, console->options, now);
        return false;
    }
    if (link->state == LINK_CONNECTING && now - link->since >= CONNECT_TIMEOUT)
        give_up(console, "no connection within 10 seconds", now);
    else if (link->state == LINK_ASKING && now - link->since >= ANSWER_TIMEOUT)
        give_up(console, "no answer within 30 seconds", now);
    else if (link->state == LINK_READY && !console->asking && wants_rounds(console) &&
             now >= console->next_round)
        begin_round(console, now);
    else
        return false;
    return true;
}

bool console_is_silent(const struct console *console, weir_usec now)
{
    if (console->lost_at != 0)
        return true;
    return console->link.state == LINK_ASKING && now - console->link.since >= SILENCE;
}

/* --- commands ------------------------------------------------------------------------------ */

bool console_command(struct console *console, const char *command, const char *label, weir_usec now)
{
    for (int i = 0; i < HANDS; i++) {
        struct hand *hand = &console->hands[i];
        if (hand->command != NULL)
            continue;
        hand->command = weir_strdup(command);
        hand->label = weir_strdup(label);
        link_open(&hand->link, console->options, now);
        return true;
    }
    return false;
}

const char *console_under_way(const struct console *console)
{
    for (int i = 0; i < HANDS; i++) {
        if (console->hands[i].command != NULL)
            return console->hands[i].label;
    }
    return NULL;
}

static void finish(struct console *console, struct hand *hand, bool good, const char *why,
                   weir_usec now)
{
    free(console->told);
    console->told = weir_format("%s: %s", hand->label, good ? "done" : why);
    console->told_bad = !good;
    release(hand);
    console_look_now(console, now);
}

static bool advance_hand(struct console *console, struct hand *hand, weir_usec now)
{
    for (;;) {
        switch (link_advance(&hand->link, now)) {
        case LINK_NOTHING:
            if (hand->link.state != LINK_CONNECTING || now - hand->link.since < CONNECT_TIMEOUT)
                return false;
            finish(console, hand, false, "no connection within 10 seconds", now);
            return true;
        case LINK_CONNECTED:
            link_ask(&hand->link, hand->command, now);
            break;
        case LINK_ANSWERED:
            finish(console, hand, true, NULL, now);
            return true;
        case LINK_REFUSED:
        case LINK_LOST:
            finish(console, hand, false, hand->link.problem, now);
            return true;
        }
    }
}

/* --- the loop's side ----------------------------------------------------------------------- */

static void add(const struct link *link, struct pollfd *polls, size_t *count)
{
    if (link_socket(link) >= 0)
        polls[(*count)++] = (struct pollfd){.fd = link_socket(link), .events = link->events};
}

size_t console_polls(const struct console *console, struct pollfd *polls)
{
    size_t count = 0;
    add(&console->link, polls, &count);
    for (int i = 0; i < HANDS; i++)
        add(&console->hands[i].link, polls, &count);
    return count;
}

/* Without a socket there is nothing to wait for: the failure is there already. */
static bool is_ready(const struct link *link, const struct pollfd *polls, size_t count)
{
    int fd = link_socket(link);
    for (size_t i = 0; i < count; i++) {
        if (polls[i].fd == fd)
            return polls[i].revents != 0;
    }
    return fd < 0 && link->state != LINK_DOWN;
}

weir_usec console_due(const struct console *console)
{
    switch (console->link.state) {
    case LINK_DOWN:
        return console->next_try;
    case LINK_CONNECTING:
        return link_socket(&console->link) < 0 ? 0 : console->link.since + CONNECT_TIMEOUT;
    case LINK_ASKING:
        return console->link.since + ANSWER_TIMEOUT;
    case LINK_READY:
        break;
    }
    return wants_rounds(console) ? console->next_round : INT64_MAX;
}

bool console_advance(struct console *console, const struct pollfd *polls, size_t count,
                     weir_usec now)
{
    bool news = false;
    if (is_ready(&console->link, polls, count))
        news = advance_link(console, now);
    news |= pass_time(console, now);
    for (int i = 0; i < HANDS; i++) {
        struct hand *hand = &console->hands[i];
        bool late =
            hand->link.state == LINK_CONNECTING && now - hand->link.since >= CONNECT_TIMEOUT;
        if (hand->command != NULL && (late || is_ready(&hand->link, polls, count)))
            news |= advance_hand(console, hand, now);
    }
    return news;
}
