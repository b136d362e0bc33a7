/* Private to the top room: what the daemon is asked, again and again, and what it is told. */
#ifndef WEIR_TOP_CONSOLE_H
#define WEIR_TOP_CONSOLE_H

#include <poll.h>

#include "link.h"

/* PAUSE answers late; RESUME must go through meanwhile. */
#define HANDS     4
#define POLLS_MAX (1 + HANDS)

struct hand {
    struct link link;
    char *command; /* NULL: free */
    char *label;   /* how the operator is told of it */
};

struct console {
    const struct options *options;
    struct link link;
    bool frozen; /* no new round begins */

    /* A round asks for everything that the screen shows. */
    enum question wanted;  /* of the view */
    bool asking;           /* a round is under way */
    bool asked[ASK_COUNT]; /* in this round */
    enum question current;
    weir_usec interval, next_round;
    struct grid *now[ASK_COUNT], *before[ASK_COUNT];
    char *refusals[ASK_COUNT]; /* why there is no answer */

    weir_usec last_answer, lost_at; /* 0: never, not lost */
    weir_usec next_try, backoff;
    uint64_t rounds; /* that are complete */

    struct hand hands[HANDS];
    char *told; /* about the last command; not yet safe for a terminal */
    bool told_bad;
};

void console_begin(struct console *console, const struct options *options, weir_usec now);
void console_end(struct console *console);
/* The view's table; asked for at once. */
void console_want(struct console *console, enum question question, weir_usec now);
void console_look_now(struct console *console, weir_usec now);
/* False: too many commands are under way. */
bool console_command(struct console *console, const char *command, const char *label,
                     weir_usec now);
/* Label of a command that has not been answered; NULL: none. */
const char *console_under_way(const struct console *console);

/* Fills `polls`, which has room for POLLS_MAX, and tells how many. */
size_t console_polls(const struct console *console, struct pollfd *polls);
/* When something is due though no socket reports anything. */
weir_usec console_due(const struct console *console);
/* To be called after every poll. True: there is something new to show. */
bool console_advance(struct console *console, const struct pollfd *polls, size_t count,
                     weir_usec now);
/* The daemon is down, or has not answered in time. */
bool console_is_silent(const struct console *console, weir_usec now);

#endif
