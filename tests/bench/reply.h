/* What the stub server answers to a query text. The texts mean the same to a real PostgreSQL:
 *   select 1                                                        one small row
 *   select repeat('x', W) from generate_series(1, N)                N rows of one column of W bytes
 *   copy (select repeat('x', W) from generate_series(1, N)) to stdout
 *   copy TABLE from stdin
 *   begin, commit, rollback, set, ...                               a command tag
 * Each distinct text is laid out once and its bytes are sent as they are from then on. */
#ifndef BENCH_REPLY_H
#define BENCH_REPLY_H

#include "message.h"

enum reply_kind {
    REPLY_EMPTY,
    REPLY_COMMAND,
    REPLY_ROWS,
    REPLY_COPY_OUT,
    REPLY_COPY_IN,
};

struct reply {
    struct reply *next; /* in the same bucket */
    char *text;
    enum reply_kind kind;
    char status; /* transaction status afterwards, 0 = as before */
    uint16_t parameters;
    struct bench_bytes description; /* RowDescription, NoData, or the response that opens a COPY */
    struct bench_bytes body;        /* rows and tag; for COPY OUT a block of rows */
    uint64_t copy_rows;
    uint64_t block_rows; /* rows in a COPY OUT block */
};

/* Lives as long as the process. */
const struct reply *reply_for(const char *text);

#endif
