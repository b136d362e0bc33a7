#include "weir/histogram.h"

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

int64_t weir_histogram_bound(int bucket)
{
    return bucket >= WEIR_HISTOGRAM_BUCKETS - 1 ? INT64_MAX : upper_bound(bucket);
}

/* Of a value above 1: 2^log2 <= usec < 2^(log2+1), which are three buckets' bounds. */
static int bucket_of(int64_t usec)
{
    int log2 = 63 - __builtin_clzll((unsigned long long)usec);
    if (2 * log2 + 1 >= WEIR_HISTOGRAM_BUCKETS - 1)
        return WEIR_HISTOGRAM_BUCKETS - 1;
    int64_t power = (int64_t)1 << log2;
    return 2 * log2 + (usec > power) + (usec > (power * 92682 + 65535) >> 16);
}

void weir_histogram_add_long(struct weir_histogram *histogram, int64_t usec)
{
    histogram->sum += usec;
    histogram->buckets[bucket_of(usec)]++;
}

void weir_histogram_merge(struct weir_histogram *to, const struct weir_histogram *from)
{
    to->count += from->count;
    to->sum += from->sum;
    for (int bucket = 0; bucket < WEIR_HISTOGRAM_BUCKETS; bucket++)
        to->buckets[bucket] += from->buckets[bucket];
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
