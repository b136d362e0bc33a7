#include "weir/metrics.h"

#include <stddef.h>

void weir_counters_walk(const struct weir_counters *counters,
                        void (*each)(void *context, const char *name, const char *help,
                                     uint64_t value),
                        void *context)
{
#define WEIR_COUNTER(name, help) each(context, #name, help, counters->name);
#include "weir/counters.def"
#undef WEIR_COUNTER
}

void weir_counters_merge(struct weir_counters *to, const struct weir_counters *from)
{
#define WEIR_COUNTER(name, help) to->name += from->name;
#include "weir/counters.def"
#undef WEIR_COUNTER
    for (int i = 0; i < WEIR_REASON_COUNT; i++)
        to->reasons[i] += from->reasons[i];
}

static const struct {
    const char *name;
    const char *help;
} parts[WEIR_PART_COUNT] = {
    [WEIR_PART_WAIT] = {"wait",
                        "time a client waited for a server connection, each time it got one"},
    [WEIR_PART_CONNECT] = {"connect", "time to open a server connection and log in"},
    [WEIR_PART_SERVER] = {"server", "time the server worked, per transaction"},
    [WEIR_PART_CLIENT] = {"client", "time the server was not read because its client was slow to "
                                    "read, per transaction"},
    [WEIR_PART_IDLE] = {"idle_in_transaction", "time the server had nothing to do because the "
                                               "client worked, per transaction"},
};

const char *weir_part_name(enum weir_part part)
{
    return parts[part].name;
}

const char *weir_part_help(enum weir_part part)
{
    return parts[part].help;
}

void weir_latency_merge(struct weir_latency *to, const struct weir_latency *from)
{
    for (int part = 0; part < WEIR_PART_COUNT; part++)
        weir_histogram_merge(&to->parts[part], &from->parts[part]);
}
