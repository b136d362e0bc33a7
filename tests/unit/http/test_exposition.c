#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exposition.h"
#include "readiness.h"
#include "status.h"
#include "weir/memory.h"

/* --- a state made by hand -------------------------------------------------------------- */

static struct weir_pool_settings settings = {.pool_size = 5};
static struct weir_counters counters;
static struct weir_latency latency;
static struct weir_histogram turns;
static struct weir_conf conf = {.max_client_conn = 100};

static void begin(struct weir_http_shot *shot)
{
    *shot = (struct weir_http_shot){0};
    shot->daemon.conf = &conf;
    shot->daemon.counters = &counters;
    shot->daemon.latency = &latency;
    shot->daemon.turns = &turns;
}

static struct weir_view_pool row(const char *database)
{
    return (struct weir_view_pool){
        .database = database,
        .user = "alice",
        .settings = &settings,
        .counters = &counters,
        .latency = &latency,
        .ceiling = 8,
        .clients_waiting = 2,
        .holders.oldest = 1500000,
    };
}

/* The page, in memory of its own, written in slices of so many bytes. */
static char *expose_by(const struct weir_http_shot *shot, enum weir_http_format format,
                       size_t slice)
{
    struct weir_http_body body = {0};
    struct weir_http_writer *writer = weir_http_expose(shot, format, &body);
    while (!weir_http_expose_more(writer, slice))
        continue;
    weir_http_writer_destroy(writer);
    cr_assert_not(body.broken);
    char *text =
        weir_strndup((const char *)weir_buffer_bytes(&body.bytes), weir_buffer_length(&body.bytes));
    weir_http_body_clear(&body);
    return text;
}

static char *expose(const struct weir_http_shot *shot, enum weir_http_format format)
{
    return expose_by(shot, format, SIZE_MAX);
}

static void check_line(const char *page, const char *line)
{
    char *whole = weir_format("\n%s\n", line);
    cr_assert_not_null(strstr(page, whole), "no line \"%s\" in:\n%s", line, page);
    free(whole);
}

/* --- the page -------------------------------------------------------------------------- */

Test(exposition, one_pool)
{
    struct weir_http_shot shot;
    begin(&shot);
    counters.transactions = 7;
    counters.wait_usec = 1234567;
    counters.reasons[WEIR_REASON_POOL_TIMEOUT] = 3;
    weir_histogram_add(&latency.parts[WEIR_PART_WAIT], 100);      /* up to 128 us */
    weir_histogram_add(&latency.parts[WEIR_PART_WAIT], 500000);   /* up to 524 ms */
    weir_histogram_add(&latency.parts[WEIR_PART_WAIT], 99000000); /* beyond the last bound */
    struct weir_view_pool pool = row("sh\"op");
    weir_http_shot_add(&shot, &pool);
    char *page = expose(&shot, WEIR_HTTP_PROMETHEUS);
    check_line(page, "# TYPE pgweir_transactions_total counter");
    check_line(page, "pgweir_transactions_total 7");
    check_line(page, "pgweir_wait_seconds_total 1.234567");
    check_line(page, "pgweir_pool_transactions_total{database=\"sh\\\"op\",user=\"alice\"} 7");
    check_line(page,
               "pgweir_pool_clients{database=\"sh\\\"op\",user=\"alice\",state=\"waiting\"} 2");
    check_line(page, "pgweir_pool_oldest_hold_seconds{database=\"sh\\\"op\",user=\"alice\"} 1.5");
    check_line(page, "pgweir_pool_max_servers{database=\"sh\\\"op\",user=\"alice\"} 8");
    check_line(page, "pgweir_closes_total{reason=\"pool_timeout\",blame=\"pooler\"} 3");
    check_line(page, "pgweir_wait_duration_seconds_bucket{le=\"0.000064\"} 0");
    check_line(page, "pgweir_wait_duration_seconds_bucket{le=\"0.000128\"} 1");
    check_line(page, "pgweir_wait_duration_seconds_bucket{le=\"0.262144\"} 1");
    check_line(page, "pgweir_wait_duration_seconds_bucket{le=\"0.524288\"} 2");
    check_line(page, "pgweir_wait_duration_seconds_bucket{le=\"67.108864\"} 2");
    check_line(page, "pgweir_wait_duration_seconds_bucket{le=\"+Inf\"} 3");
    check_line(page, "pgweir_wait_duration_seconds_sum 99.5001");
    check_line(page, "pgweir_wait_duration_seconds_count 3");
    check_line(page, "pgweir_config_last_reload_successful 1");
    cr_assert_null(strstr(page, "microseconds"), "a help text tells of another unit");
    free(page);
    weir_http_shot_clear(&shot);
}

Test(exposition, open_metrics)
{
    struct weir_http_shot shot;
    begin(&shot);
    char *page = expose(&shot, WEIR_HTTP_OPENMETRICS);
    check_line(page, "# TYPE pgweir_wait_seconds counter");
    check_line(page, "# UNIT pgweir_wait_seconds seconds");
    check_line(page, "# TYPE pgweir_wait_duration_seconds histogram");
    cr_assert_str_eq(page + strlen(page) - 6, "# EOF\n");
    free(page);
    weir_http_shot_clear(&shot);
}

Test(exposition, unlimited)
{
    struct weir_http_shot shot;
    begin(&shot);
    struct weir_view_pool pool = row("db");
    pool.ceiling = -1;
    weir_http_shot_add(&shot, &pool);
    char *page = expose(&shot, WEIR_HTTP_PROMETHEUS);
    check_line(page, "pgweir_pool_max_servers{database=\"db\",user=\"alice\"} +Inf");
    free(page);
    weir_http_shot_clear(&shot);
}

Test(exposition, many_pools_are_added_up)
{
    struct weir_http_shot shot;
    begin(&shot);
    counters.transactions = 3;
    weir_histogram_add(&latency.parts[WEIR_PART_SERVER], 100);
    for (int i = 0; i < WEIR_HTTP_POOLS + 40; i++) {
        char name[16];
        snprintf(name, sizeof(name), "d%d", i);
        struct weir_view_pool pool = row(name);
        pool.holders.oldest = i;
        pool.counts.failing = i == WEIR_HTTP_POOLS + 5;
        weir_http_shot_add(&shot, &pool);
    }
    cr_assert_eq(shot.left_out, 40);
    cr_assert_eq(shot.pool_count, WEIR_HTTP_POOLS + 1);
    char *page = expose(&shot, WEIR_HTTP_PROMETHEUS);
    static const char others[] = "{database=\"(others)\",user=\"(others)\"}";
    static const struct {
        const char *name, *value;
    } sums[] = {
        {"pgweir_pool_transactions_total", "120"},
        {"pgweir_pool_size", "200"},
        {"pgweir_pool_max_servers", "320"},
        {"pgweir_pool_failing", "1"},
        {"pgweir_pool_oldest_hold_seconds", "0.000239"},
        {"pgweir_pool_server_duration_seconds_count", "40"},
        {"pgweir_pool_server_duration_seconds_sum", "0.004"},
    };
    for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
        char *line = weir_format("%s%s %s", sums[i].name, others, sums[i].value);
        check_line(page, line);
        free(line);
    }
    check_line(page, "pgweir_pool_size{database=\"d199\",user=\"alice\"} 5");
    cr_assert_null(strstr(page, "\"d200\""));
    free(page);
    weir_http_shot_clear(&shot);
}

/* The part that is written in slices: figures of the process differ from page to page. */
static const char *pools_of(const char *page)
{
    const char *pools = strstr(page, "# HELP pgweir_pool_clients");
    cr_assert_not_null(pools);
    return pools;
}

Test(exposition, slices_make_the_same_page)
{
    struct weir_http_shot shot;
    begin(&shot);
    for (int reason = 0; reason < WEIR_REASON_COUNT; reason++)
        counters.reasons[reason] = 5;
    for (int i = 0; i < 7; i++) {
        struct weir_view_pool pool = row(i % 2 == 0 ? "even" : "odd");
        weir_http_shot_add(&shot, &pool);
    }
    for (int format = WEIR_HTTP_PROMETHEUS; format <= WEIR_HTTP_OPENMETRICS; format++) {
        char *whole = expose(&shot, (enum weir_http_format)format);
        static const size_t slices[] = {1, 2, 100, 4096, 65536};
        for (size_t i = 0; i < sizeof(slices) / sizeof(slices[0]); i++) {
            char *page = expose_by(&shot, (enum weir_http_format)format, slices[i]);
            cr_assert_str_eq(pools_of(page), pools_of(whole), "slices of %zu", slices[i]);
            free(page);
        }
        free(whole);
    }
    weir_http_shot_clear(&shot);
}

Test(exposition, slices_are_small)
{
    struct weir_http_shot shot;
    begin(&shot);
    for (int reason = 0; reason < WEIR_REASON_COUNT; reason++)
        counters.reasons[reason] = UINT64_MAX;
    for (int i = 0; i < WEIR_HTTP_POOLS + 1; i++) {
        struct weir_view_pool pool = row("a_database_with_rather_a_long_name_as_some_have");
        weir_http_shot_add(&shot, &pool);
    }
    struct weir_http_body body = {0};
    struct weir_http_writer *writer = weir_http_expose(&shot, WEIR_HTTP_PROMETHEUS, &body);
    size_t before = weir_buffer_length(&body.bytes);
    cr_assert_lt(before, 40000);
    int slices = 1;
    for (bool done = false; !done; slices++) {
        done = weir_http_expose_more(writer, 64);
        size_t after = weir_buffer_length(&body.bytes);
        cr_assert_lt(after - before, 40000, "slice %d: %zu bytes", slices, after - before);
        before = after;
    }
    cr_assert_gt(before, 3000000);
    cr_assert_gt(slices, 1000);
    weir_http_writer_destroy(writer);
    weir_http_body_clear(&body);
    weir_http_shot_clear(&shot);
}

Test(exposition, thin_histograms_count_every_value)
{
    for (int64_t usec = 0; usec < 200000000; usec += usec / 3 + 1) {
        struct weir_histogram full = {0};
        struct weir_http_histogram thin;
        weir_histogram_add(&full, usec);
        weir_http_thin(&full, &thin);
        cr_assert_eq(thin.count, 1);
        for (int bucket = 0; bucket < WEIR_HTTP_BUCKETS; bucket++)
            cr_assert_eq(thin.buckets[bucket], usec <= weir_http_bound(bucket),
                         "%lld us, bucket %d", (long long)usec, bucket);
    }
}

/* --- readiness ------------------------------------------------------------------------- */

static void check_readiness(const struct weir_http_shot *shot, bool ready, const char *words)
{
    struct weir_http_body body = {0};
    cr_assert_eq(weir_http_readiness(shot, &body), ready);
    weir_http_put_bytes(&body, "", 1);
    const char *text = (const char *)weir_buffer_bytes(&body.bytes);
    cr_assert_not_null(strstr(text, words), "%s", text);
    weir_http_body_clear(&body);
}

Test(readiness, states)
{
    struct weir_http_shot shot;
    begin(&shot);
    check_readiness(&shot, true, "ready\n");
    shot.daemon.draining = true;
    check_readiness(&shot, false, "draining");
    shot.daemon.draining = false;
    shot.daemon.paused = true;
    check_readiness(&shot, false, "PAUSE");
    shot.daemon.paused = false;
    shot.daemon.suspended = true;
    check_readiness(&shot, false, "SUSPEND");
}

Test(readiness, pools_that_fail)
{
    struct weir_http_shot shot;
    begin(&shot);
    struct weir_view_pool pool = row("one");
    pool.counts.failing = true;
    pool.problem = "connection refused";
    weir_http_shot_add(&shot, &pool);
    check_readiness(&shot, false, "no pool can connect to its server: connection refused");
    struct weir_view_pool other = row("two");
    weir_http_shot_add(&shot, &other);
    check_readiness(&shot, true, "ready");
    weir_http_shot_clear(&shot);
}

/* --- the page -------------------------------------------------------------------------- */

Test(status_page, names_are_text)
{
    struct weir_http_shot shot;
    begin(&shot);
    struct weir_view_pool pool = row("<script>alert(1)</script>");
    weir_http_shot_add(&shot, &pool);
    struct weir_http_body body = {0};
    weir_http_status_page(&shot, &body);
    weir_http_put_bytes(&body, "", 1);
    const char *page = (const char *)weir_buffer_bytes(&body.bytes);
    cr_assert_not_null(strstr(page, "&lt;script&gt;alert(1)"));
    cr_assert_null(strstr(page, "<script>alert(1)"));
    weir_http_body_clear(&body);
    weir_http_shot_clear(&shot);
}
