/* Private to the top room: the one table of views, and what the console is asked for them. */
#ifndef WEIR_TOP_VIEWS_H
#define WEIR_TOP_VIEWS_H

#include "table.h"

enum question {
    ASK_VERSION,
    ASK_STATE,
    ASK_LISTS,
    ASK_POOLS,
    ASK_STATS,
    ASK_WAITS,
    ASK_CLIENTS,
    ASK_PINS,
    ASK_SERVERS,
    ASK_EVENTS,
    ASK_LATENCY,
    ASK_COUNT
};

/* "SHOW POOLS". */
const char *question_text(enum question question);

struct view {
    const char *name; /* as --view wants it */
    char letter;      /* the key; the place in the table plus one is another */
    const char *help;
    enum question question;
    size_t sort; /* the column it is sorted by at first */
    bool descending;
    struct layout layout;
};

extern const struct view views[];
extern const size_t view_count;

/* By name or a beginning of it that only one has; NULL: none. */
const struct view *view_named(const char *name);

#endif
