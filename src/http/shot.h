/* What the router looked like at one moment, copied so that an answer can be written family by
 * family. Pools beyond the limit are added up in one row, so that neither the size of an answer nor
 * the turn of the loop that writes it grows with their number. */
#ifndef WEIR_HTTP_SHOT_H
#define WEIR_HTTP_SHOT_H

#include <stdbool.h>
#include <stddef.h>

#include "weir/metrics.h"
#include "weir/view.h"

/* Pools in a row of their own. */
#define WEIR_HTTP_POOLS 200
/* Of 64 buckets these bounds are shown: 64 us, 128 us ... 67 s. */
#define WEIR_HTTP_BUCKETS      21
#define WEIR_HTTP_FIRST_BUCKET 12
/* Database and user of the row for the pools beyond the limit. */
#define WEIR_HTTP_OTHERS "(others)"

/* Cumulative, and without what lies above the last bound; `count` has that too. */
struct weir_http_histogram {
    uint64_t count;
    weir_usec sum;
    uint64_t buckets[WEIR_HTTP_BUCKETS];
};
/* Upper bound of one of them in microseconds. */
weir_usec weir_http_bound(int bucket);
void weir_http_thin(const struct weir_histogram *full, struct weir_http_histogram *thin);

struct weir_http_pool {
    char *database, *user; /* UTF-8 */
    char *problem;         /* likewise; NULL: none */
    /* The row as it was. Its pointers are NULL. */
    struct weir_view_pool row;
    enum weir_pool_mode mode;
    int pool_size;
    struct weir_counters counters;
    struct weir_http_histogram parts[WEIR_PART_COUNT];
    int failing, paused; /* numbers of pools: 0 or 1 but for the others */
};

struct weir_http_shot {
    struct weir_view_daemon daemon; /* its pointers are good until the router does anything */
    struct weir_http_pool *pools;
    size_t pool_count, capacity;
    size_t left_out; /* so many are added up in the last one */
    int failing;     /* pools that cannot connect */
};

void weir_http_shot_take(struct weir_http_shot *shot, const struct weir_router *router);
void weir_http_shot_clear(struct weir_http_shot *shot);
/* Adds one pool as the walk would, for tests. */
void weir_http_shot_add(struct weir_http_shot *shot, const struct weir_view_pool *row);

#endif
