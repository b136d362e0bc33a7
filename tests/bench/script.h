/* What a client of the load generator does: the bytes of each step and the answer that is right. */
#ifndef BENCH_SCRIPT_H
#define BENCH_SCRIPT_H

#include "message.h"

enum {
    SCRIPT_STEPS = 3,
    SCRIPT_COPY_ROW = 1000, /* bytes of a row sent in copy-in mode, line end included */
};

/* A step is sent in one piece and answered by one ReadyForQuery. */
struct script_step {
    struct bench_bytes bytes;
    uint64_t rows; /* DataRow and CopyData messages in the answer */
    uint64_t tags; /* CommandComplete messages in the answer */
    char status;   /* transaction status afterwards */
};

struct script {
    struct script_step setup; /* sent once after login, if it has bytes */
    struct script_step steps[SCRIPT_STEPS];
    int count;
};

/* Modes: simple, extended, prepared, transaction (begin, query, commit), copy-in. rows is what the
 * query returns, or for copy-in what is sent. False for an unknown mode. */
bool script_build(struct script *script, const char *mode, const char *query, uint64_t rows);

#endif
