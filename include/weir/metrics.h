/* Counters. One struct for the whole daemon and one per pool; the rows are in weir/counters.def
 * with their help texts, so that every place that shows them shows the same. */
#ifndef WEIR_METRICS_H
#define WEIR_METRICS_H

#include <stdint.h>

#include "weir/reason.h"

struct weir_counters {
#define WEIR_COUNTER(name, help) uint64_t name;
#include "weir/counters.def"
#undef WEIR_COUNTER
    uint64_t reasons[WEIR_REASON_COUNT]; /* closes and refusals by reason */
};

/* Calls `each` for every counter in the order of the table. */
void weir_counters_walk(const struct weir_counters *counters,
                        void (*each)(void *context, const char *name, const char *help,
                                     uint64_t value),
                        void *context);

/* A histogram of durations with buckets a factor of sqrt(2) apart from 1 us to about 1 hour. */
#define WEIR_HISTOGRAM_BUCKETS 64
struct weir_histogram {
    uint64_t count;
    int64_t sum;
    uint64_t buckets[WEIR_HISTOGRAM_BUCKETS];
};
void weir_histogram_add(struct weir_histogram *histogram, int64_t usec);
/* Upper bound of the bucket that holds the quantile (0 to 1); 0 when empty. */
int64_t weir_histogram_quantile(const struct weir_histogram *histogram, double quantile);

/* Where the time of transactions goes. */
enum weir_part {
    WEIR_PART_WAIT,    /* a client waited for a server connection, per wait */
    WEIR_PART_CONNECT, /* a server connection was opened and logged in, per connection */
    WEIR_PART_SERVER,  /* the server worked, sum per transaction */
    WEIR_PART_CLIENT,  /* the server waited because the client was slow to read, likewise */
    WEIR_PART_IDLE,    /* idle in transaction: the client worked, likewise */
    WEIR_PART_COUNT
};
/* "wait", "connect", "server", "client", "idle_in_transaction". */
const char *weir_part_name(enum weir_part part);
const char *weir_part_help(enum weir_part part);

struct weir_latency {
    struct weir_histogram parts[WEIR_PART_COUNT];
};
/* Upper bound of a bucket in microseconds; of the last one it is the largest there is. */
int64_t weir_histogram_bound(int bucket);

#endif
