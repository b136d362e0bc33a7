/* Private to the top room: the command line. */
#ifndef WEIR_TOP_OPTIONS_H
#define WEIR_TOP_OPTIONS_H

#include <stdbool.h>

#include "views.h"
#include "weir/clock.h"

struct options {
    const char *host, *port, *database;
    const char *user; /* NULL: libpq's */
    weir_usec interval;
    const struct view *view;
    bool once;
};

/* The least and the most seconds between two looks. */
#define INTERVAL_MIN (100 * WEIR_MSEC)
#define INTERVAL_MAX (3600 * WEIR_SEC)

/* -1: go on; otherwise the exit status (help and version are printed already). */
int options_read(struct options *options, int argc, char **argv);

#endif
