/* A histogram of durations with buckets a factor of sqrt(2) apart from 1 us to about 1 hour. */
#ifndef WEIR_HISTOGRAM_H
#define WEIR_HISTOGRAM_H

#include <stdint.h>

#define WEIR_HISTOGRAM_BUCKETS 64

struct weir_histogram {
    uint64_t count;
    int64_t sum;
    uint64_t buckets[WEIR_HISTOGRAM_BUCKETS];
};

void weir_histogram_add_long(struct weir_histogram *histogram, int64_t usec);

/* Of 0. */
static inline void weir_histogram_add_none(struct weir_histogram *histogram)
{
    histogram->count++;
    histogram->buckets[0]++;
}

static inline void weir_histogram_add(struct weir_histogram *histogram, int64_t usec)
{
    histogram->count++;
    if (usec <= 0) {
        histogram->buckets[0]++;
        return;
    }
    weir_histogram_add_long(histogram, usec);
}

/* The same at the price of a few instructions and of precision: only every second bucket is used,
 * and those for less than 2 us and for more than half an hour are not. `usec` is not negative. For
 * what happens at every turn of a loop. */
static inline void weir_histogram_add_coarsely(struct weir_histogram *histogram, int64_t usec)
{
    uint32_t short_of = usec < INT32_MAX ? (uint32_t)usec : INT32_MAX;
    histogram->count++;
    histogram->sum += usec;
    histogram->buckets[64u - 2u * (unsigned)__builtin_clz(short_of | 1)]++;
}

/* All of `from` into `to`. */
void weir_histogram_merge(struct weir_histogram *to, const struct weir_histogram *from);
/* Upper bound of the bucket that holds the quantile (0 to 1); 0 when empty. */
int64_t weir_histogram_quantile(const struct weir_histogram *histogram, double quantile);
/* Upper bound of a bucket in microseconds; INT64_MAX for the last one, which has none. */
int64_t weir_histogram_bound(int bucket);

#endif
