/* The one table of reasons: every error that pgweir itself makes and every close of a connection
 * names a row, so that the log, the counters and what the client sees cannot disagree.
 * The rows are in weir/reasons.def. */
#ifndef WEIR_REASON_H
#define WEIR_REASON_H

#include <stdbool.h>

enum weir_blame {
    WEIR_BLAME_NOBODY,
    WEIR_BLAME_CLIENT,
    WEIR_BLAME_SERVER,
    WEIR_BLAME_POOLER,
    WEIR_BLAME_ADMIN
};

/* What becomes of the server connection that the client had. */
enum weir_reuse { WEIR_REUSE_KEEP, WEIR_REUSE_CLEAN, WEIR_REUSE_CLOSE };

enum weir_reason {
#define WEIR_REASON(id, sqlstate, fatal, blame, reuse, text) WEIR_REASON_##id,
#include "weir/reasons.def"
#undef WEIR_REASON
    WEIR_REASON_COUNT
};

struct weir_reason_row {
    const char *name;     /* stable, for counters: "pool_timeout" */
    const char *sqlstate; /* NULL: the client is told nothing */
    bool fatal;           /* FATAL and the client is closed; otherwise ERROR and it goes on */
    enum weir_blame blame;
    enum weir_reuse reuse;
    const char *text; /* for the log, and the default message to the client */
};

const struct weir_reason_row *weir_reason_row(enum weir_reason reason);

#endif
