/* Private to the top room: what is looked at, and what the keys make of it. Knows no terminal. */
#ifndef WEIR_TOP_WATCH_H
#define WEIR_TOP_WATCH_H

#include <wchar.h>

#include "console.h"

/* Keys that are no character, beside those that are. */
enum key {
    KEY_OF_UP = -20,
    KEY_OF_DOWN,
    KEY_OF_LEFT,
    KEY_OF_RIGHT,
    KEY_OF_PAGE_UP,
    KEY_OF_PAGE_DOWN,
    KEY_OF_HOME,
    KEY_OF_END,
    KEY_OF_BACKSPACE,
    KEY_OF_ENTER,
    KEY_OF_ESCAPE,
    KEY_OF_NONE,
};

enum mode { MODE_TABLE, MODE_FILTER, MODE_CONFIRM, MODE_HELP };

#define FILTER_MAX 80

struct watch {
    struct console console;
    struct table table;
    const struct view *view;
    size_t sort;
    bool descending;
    bool utf8; /* the terminal shows more than ASCII */
    enum mode mode;
    char filter[FILTER_MAX], filter_before[FILTER_MAX]; /* what Escape brings back */

    size_t selected, page; /* rows of the last screen */
    char *selected_key;    /* follows its row from answer to answer */
    size_t left;           /* columns of the terminal that are scrolled away */

    char *question;        /* in MODE_CONFIRM, safe text */
    char *command, *label; /* what "y" sends */
    const char *note;      /* of the last key; NULL: none */
    bool quit;
};

void watch_begin(struct watch *watch, const struct options *options, bool utf8, weir_usec now);
void watch_end(struct watch *watch);
/* Makes the table anew from what the console has answered. */
void watch_refresh(struct watch *watch);
/* A character or an enum key. */
void watch_key(struct watch *watch, int key, weir_usec now);
/* One line for each key, the number of them; for the help. */
const char *watch_help(size_t line);

#endif
