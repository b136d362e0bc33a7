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

Test(counters, merge_adds_every_row_and_reason)
{
    struct weir_counters to, from;
    uint64_t *left = (uint64_t *)&to, *right = (uint64_t *)&from;
    for (size_t i = 0; i < sizeof(to) / sizeof(*left); i++) {
        left[i] = i;
        right[i] = 1000 * i;
    }
    weir_counters_merge(&to, &from);
    for (size_t i = 0; i < sizeof(to) / sizeof(*left); i++)
        cr_assert_eq(left[i], 1001 * i);
}

Test(latency, parts_have_distinct_names_and_help)
{
    for (int part = 0; part < WEIR_PART_COUNT; part++) {
        cr_assert_gt(strlen(weir_part_help((enum weir_part)part)), 0);
        for (int other = 0; other < part; other++)
            cr_assert_str_neq(weir_part_name((enum weir_part)part),
                              weir_part_name((enum weir_part)other));
    }
    cr_assert_str_eq(weir_part_name(WEIR_PART_IDLE), "idle_in_transaction");
}

Test(latency, merge_adds_every_part)
{
    struct weir_latency to = {0}, from = {0};
    for (int part = 0; part < WEIR_PART_COUNT; part++) {
        weir_histogram_add(&to.parts[part], 5);
        weir_histogram_add(&from.parts[part], 7 + part);
    }
    weir_latency_merge(&to, &from);
    for (int part = 0; part < WEIR_PART_COUNT; part++) {
        cr_assert_eq(to.parts[part].count, 2);
        cr_assert_eq(to.parts[part].sum, 12 + part);
    }
}
