/* Counters. One struct for the whole daemon and one per pool; the rows are in weir/counters.def
 * with their help texts, so that every place that shows them shows the same. */
#ifndef WEIR_METRICS_H
#define WEIR_METRICS_H

#include <stdint.h>

#include "weir/histogram.h"
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
/* All of `from` into `to`. */
void weir_counters_merge(struct weir_counters *to, const struct weir_counters *from);

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
/* All of `from` into `to`. */
void weir_latency_merge(struct weir_latency *to, const struct weir_latency *from);

#endif
