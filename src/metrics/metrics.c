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

/* Bucket b ends at ceil(2^(b/2)) microseconds: 1, 2, 2, 3, 4, 6, 8, 12 ... 2^31.5 (about 50 min).
 * The odd ones are the even ones times sqrt(2), in integers so that a value is placed and read
 * back by the same number. */
static int64_t upper_bound(int bucket)
{
    int64_t power = (int64_t)1 << (bucket / 2);
    if (bucket % 2 == 0)
        return power;
    /* 1.41421356 rounded up in 1/2^16; exact enough up to 2^32. */
    return (power * 92682 + 65535) >> 16;
}

static int bucket_of(int64_t usec)
{
    if (usec <= 1)
        return 0;
    /* 2^exponent <= usec < 2^(exponent+1) */
    int exponent = 63 - __builtin_clzll((unsigned long long)usec);
    int bucket = exponent * 2;
    while (bucket < WEIR_HISTOGRAM_BUCKETS - 1 && upper_bound(bucket) < usec)
        bucket++;
    return bucket < WEIR_HISTOGRAM_BUCKETS ? bucket : WEIR_HISTOGRAM_BUCKETS - 1;
}

void weir_histogram_add(struct weir_histogram *histogram, int64_t usec)
{
    if (usec < 0)
        usec = 0;
    histogram->count++;
    histogram->sum += usec;
    histogram->buckets[bucket_of(usec)]++;
}

int64_t weir_histogram_quantile(const struct weir_histogram *histogram, double quantile)
{
    if (histogram->count == 0)
        return 0;
    double wanted = quantile * (double)histogram->count;
    uint64_t seen = 0;
    int last = 0;
    for (int bucket = 0; bucket < WEIR_HISTOGRAM_BUCKETS; bucket++) {
        if (histogram->buckets[bucket] == 0)
            continue;
        seen += histogram->buckets[bucket];
        last = bucket;
        if ((double)seen >= wanted)
            break;
    }
    return upper_bound(last);
}
