/* Totals and averages, in the words of PgBouncer. */
#include <stdio.h>

#include "console.h"
#include "weir/view.h"

/* The figures in the order of all the tables. */
enum figure {
    FIGURE_ASSIGNMENTS,
    FIGURE_TRANSACTIONS,
    FIGURE_QUERIES,
    FIGURE_RECEIVED,
    FIGURE_SENT,
    FIGURE_TRANSACTION_TIME,
    FIGURE_QUERY_TIME,
    FIGURE_WAIT_TIME,
    FIGURE_CLIENT_PARSES,
    FIGURE_SERVER_PARSES,
    FIGURE_BINDS,
    FIGURE_LOGINS,
    FIGURE_COUNT
};

/* Names in SHOW TOTALS. */
static const char *const figure_names[FIGURE_COUNT] = {
    [FIGURE_ASSIGNMENTS] = "server_assignment_count",
    [FIGURE_TRANSACTIONS] = "xact_count",
    [FIGURE_QUERIES] = "query_count",
    [FIGURE_RECEIVED] = "client_bytes",
    [FIGURE_SENT] = "server_bytes",
    [FIGURE_TRANSACTION_TIME] = "xact_time",
    [FIGURE_QUERY_TIME] = "query_time",
    [FIGURE_WAIT_TIME] = "wait_time",
    [FIGURE_CLIENT_PARSES] = "ps_client_parse_count",
    [FIGURE_SERVER_PARSES] = "ps_server_parse_count",
    [FIGURE_BINDS] = "ps_bind_count",
    [FIGURE_LOGINS] = "client_login_count",
};

static uint64_t total(const struct weir_counters *counters, enum figure figure)
{
    switch (figure) {
    case FIGURE_ASSIGNMENTS:
        return counters->assignments;
    case FIGURE_TRANSACTIONS:
        return counters->transactions;
    case FIGURE_QUERIES:
        return counters->queries;
    case FIGURE_RECEIVED:
        return counters->bytes_from_clients;
    case FIGURE_SENT:
        return counters->bytes_from_servers;
    case FIGURE_TRANSACTION_TIME:
        return counters->transaction_usec;
    case FIGURE_QUERY_TIME:
        return counters->query_usec;
    case FIGURE_WAIT_TIME:
        return counters->wait_usec;
    case FIGURE_CLIENT_PARSES:
        return counters->client_parses;
    case FIGURE_SERVER_PARSES:
        return counters->server_parses;
    case FIGURE_BINDS:
        return counters->binds;
    case FIGURE_LOGINS:
        return counters->client_logins;
    case FIGURE_COUNT:
        break;
    }
    return 0;
}

static uint64_t growth(const struct weir_view_stats *stats, enum figure figure)
{
    return total(&stats->last, figure) - total(&stats->before, figure);
}

/* Growth per second; of the time of transactions and queries the mean per transaction or query. */
static uint64_t average(const struct weir_view_stats *stats, enum figure figure)
{
    uint64_t divisor = 0;
    if (figure == FIGURE_TRANSACTION_TIME)
        divisor = growth(stats, FIGURE_TRANSACTIONS);
    else if (figure == FIGURE_QUERY_TIME)
        divisor = growth(stats, FIGURE_QUERIES);
    else if (stats->period > 0)
        return (uint64_t)((double)growth(stats, figure) * (double)WEIR_SEC / (double)stats->period);
    return divisor > 0 ? growth(stats, figure) / divisor : 0;
}

static void show_all_totals(struct rows *rows, const struct weir_view_stats *stats)
{
    for (int i = 0; i < FIGURE_COUNT; i++)
        rows_number(rows, (int64_t)total(&stats->total, (enum figure)i));
}

static void show_all_averages(struct rows *rows, const struct weir_view_stats *stats)
{
    for (int i = 0; i < FIGURE_COUNT; i++)
        rows_number(rows, (int64_t)average(stats, (enum figure)i));
}

static void row_of_both(void *context, const struct weir_view_stats *stats)
{
    struct rows *rows = context;
    rows_begin(rows);
    rows_text(rows, stats->database);
    show_all_totals(rows, stats);
    show_all_averages(rows, stats);
    rows_end(rows);
}

static void row_of_totals(void *context, const struct weir_view_stats *stats)
{
    struct rows *rows = context;
    rows_begin(rows);
    rows_text(rows, stats->database);
    show_all_totals(rows, stats);
    rows_end(rows);
}

static void row_of_averages(void *context, const struct weir_view_stats *stats)
{
    struct rows *rows = context;
    rows_begin(rows);
    rows_text(rows, stats->database);
    show_all_averages(rows, stats);
    rows_end(rows);
}

bool show_stats(struct walk *walk)
{
    weir_view_stats(walk->admin->router, row_of_both, &walk->rows);
    return true;
}

bool show_stats_totals(struct walk *walk)
{
    weir_view_stats(walk->admin->router, row_of_totals, &walk->rows);
    return true;
}

bool show_stats_averages(struct walk *walk)
{
    weir_view_stats(walk->admin->router, row_of_averages, &walk->rows);
    return true;
}

static void row_of_one(struct rows *rows, const char *prefix, enum figure figure, uint64_t value)
{
    char name[64];
    snprintf(name, sizeof(name), "%s%s", prefix, figure_names[figure]);
    rows_begin(rows);
    rows_text(rows, name);
    rows_number(rows, (int64_t)value);
    rows_end(rows);
}

bool show_totals(struct walk *walk)
{
    struct weir_view_stats stats;
    weir_view_stats_all(walk->admin->router, &stats);
    for (int i = 0; i < FIGURE_COUNT; i++)
        row_of_one(&walk->rows, "total_", (enum figure)i, total(&stats.total, (enum figure)i));
    for (int i = 0; i < FIGURE_COUNT; i++)
        row_of_one(&walk->rows, "avg_", (enum figure)i, average(&stats, (enum figure)i));
    return true;
}
