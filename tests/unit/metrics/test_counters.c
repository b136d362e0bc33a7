#include "weir/metrics.h"

#include <criterion/criterion.h>
#include <string.h>

struct walk {
    int count;
    uint64_t sum;
    bool transactions_seen;
};

static void each(void *context, const char *name, const char *help, uint64_t value)
{
    struct walk *walk = context;
    walk->count++;
    walk->sum += value;
    if (strcmp(name, "transactions") == 0)
        walk->transactions_seen = value == 5;
    cr_assert_gt(strlen(help), 0);
}

Test(counters, walk_visits_every_row)
{
    struct weir_counters counters = {0};
    struct walk walk = {0};
    counters.transactions = 5;
    counters.slow_queries = 7;
    counters.reasons[0] = 1000;
    weir_counters_walk(&counters, each, &walk);
    cr_assert_eq((size_t)walk.count,
                 (sizeof(counters) - sizeof(counters.reasons)) / sizeof(uint64_t));
    cr_assert_eq(walk.sum, 12);
    cr_assert(walk.transactions_seen);
}

Test(histogram, empty_is_zero)
{
    struct weir_histogram histogram = {0};
    cr_assert_eq(weir_histogram_quantile(&histogram, 0.5), 0);
}

Test(histogram, bound_is_never_below_and_within_a_factor)
{
    for (int64_t value = 1; value < 3000000000; value += 1 + value / 7) {
        struct weir_histogram histogram = {0};
        weir_histogram_add(&histogram, value);
        int64_t bound = weir_histogram_quantile(&histogram, 1.0);
        cr_assert_geq(bound, value);
        cr_assert_leq((double)bound, (double)value * 1.4143 + 1, "%ld -> %ld", (long)value,
                      (long)bound);
    }
}

Test(histogram, extremes_have_a_bucket)
{
    struct weir_histogram histogram = {0};
    weir_histogram_add(&histogram, -5);
    weir_histogram_add(&histogram, 0);
    weir_histogram_add(&histogram, INT64_MAX / 4);
    cr_assert_eq(histogram.count, 3);
    cr_assert_eq(histogram.buckets[0], 2);
    cr_assert_eq(histogram.buckets[WEIR_HISTOGRAM_BUCKETS - 1], 1);
}

Test(histogram, quantiles_of_a_uniform_run)
{
    struct weir_histogram histogram = {0};
    for (int i = 1; i <= 1000; i++)
        weir_histogram_add(&histogram, i);
    cr_assert_eq(histogram.sum, 500500);
    int64_t half = weir_histogram_quantile(&histogram, 0.5);
    cr_assert(half >= 500 && half <= 725, "%ld", (long)half);
    int64_t high = weir_histogram_quantile(&histogram, 0.99);
    cr_assert(high >= 990 && high <= 1024, "%ld", (long)high);
    cr_assert_eq(weir_histogram_quantile(&histogram, 0.0), 1);
}
