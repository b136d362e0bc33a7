/* Histograms of durations. */
#include "weir/histogram.h"

#include <criterion/criterion.h>

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

Test(histogram, bounds_rise_and_the_last_has_none)
{
    for (int bucket = 3; bucket < WEIR_HISTOGRAM_BUCKETS; bucket++)
        cr_assert_gt(weir_histogram_bound(bucket), weir_histogram_bound(bucket - 1));
    cr_assert_eq(weir_histogram_bound(0), 1);
    cr_assert_eq(weir_histogram_bound(WEIR_HISTOGRAM_BUCKETS - 1), INT64_MAX);
}

/* A value lies above the bound before its bucket and not above that of its bucket. */
Test(histogram, values_lie_between_the_bounds_of_their_bucket)
{
    for (int64_t value = 3; value < (int64_t)1 << 40; value += 1 + value / 50) {
        struct weir_histogram exact = {0}, coarse = {0};
        weir_histogram_add(&exact, value);
        weir_histogram_add_coarsely(&coarse, value);
        int found = -1, coarsely = -1;
        for (int bucket = 0; bucket < WEIR_HISTOGRAM_BUCKETS; bucket++) {
            if (exact.buckets[bucket] > 0)
                found = bucket;
            if (coarse.buckets[bucket] > 0)
                coarsely = bucket;
        }
        cr_assert_leq(value, weir_histogram_bound(found), "%ld", (long)value);
        cr_assert_gt(value, weir_histogram_bound(found - 1), "%ld", (long)value);
        cr_assert_eq(exact.sum, value);
        if (value < INT32_MAX) {
            cr_assert_leq(value, weir_histogram_bound(coarsely), "%ld", (long)value);
            cr_assert_leq(weir_histogram_bound(coarsely), 2 * value, "%ld", (long)value);
        } else {
            cr_assert_eq(coarsely, 62);
        }
        cr_assert_eq(coarse.sum, value);
        cr_assert_eq(coarse.count, 1);
    }
}

Test(histogram, merge_adds)
{
    struct weir_histogram left = {0}, right = {0}, both = {0};
    for (int64_t value = 0; value < 5000; value += 7) {
        weir_histogram_add(value % 2 == 0 ? &left : &right, value);
        weir_histogram_add(&both, value);
    }
    weir_histogram_merge(&left, &right);
    cr_assert_eq(left.count, both.count);
    cr_assert_eq(left.sum, both.sum);
    for (int bucket = 0; bucket < WEIR_HISTOGRAM_BUCKETS; bucket++)
        cr_assert_eq(left.buckets[bucket], both.buckets[bucket]);
}
