#include "table.h"

#include <criterion/criterion.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "views.h"

static void use_utf8(void)
{
    cr_assert_not_null(setlocale(LC_ALL, "C.UTF-8"));
}

static const struct layout layout = {
    .columns =
        {
            {"database", "database", KIND_TEXT, .first = "(all)"},
            {"waiting", "cl_waiting", KIND_COUNT},
            {"maxwait", "maxwait", KIND_WAIT, .other = "maxwait_us"},
            {"paused", "paused", KIND_FLAG},
            {"trans/s", "xacts", KIND_RATE, .first = "average"},
            {"time", "time", KIND_MEAN, .other = "xacts"},
            {"problem", "problem", KIND_TEXT},
        },
    .keys = {"database"},
    .database = "database",
    .client = "client",
    .paused = "paused",
    .failing = "problem",
    .waiting = "cl_waiting",
};

enum { NAMES = 9, ROWS_MAX = 4 };

static const char *const names[NAMES] = {"database",   "cl_waiting", "maxwait",
                                         "maxwait_us", "paused",     "xacts",
                                         "time",       "average",    "problem"};

typedef const char *values[NAMES];

static struct grid *make(const values *rows, size_t count, weir_usec at)
{
    struct grid *grid = grid_new(NAMES, count);
    grid->at = at;
    for (size_t column = 0; column < NAMES; column++) {
        grid_name(grid, column, names[column]);
        for (size_t row = 0; row < count; row++)
            grid_set(grid, row, column, rows[row][column]);
    }
    return grid;
}

static const values some[] = {
    {"beta", "9", "0", "1500", "0", "100", "5000", "7", NULL},
    {"alpha", "10", "75", "0", "1", "300", "9000", "8", ""},
    {NULL, "-", NULL, NULL, "0", NULL, NULL, NULL, "cannot connect"},
    {"Gamma", "9", "2", "250000", "0", "0", "0", "0", NULL},
};

static const char *text_at(const struct table *table, size_t row, const char *title)
{
    for (size_t i = 0; i < table->column_count; i++) {
        if (strcmp(table->layout->columns[i].title, title) == 0)
            return table->rows[row]->cells[i].text;
    }
    return "there is no such column";
}

static void check_order(const struct table *table, const char *const *expected, size_t count)
{
    cr_assert_eq(table->shown, count);
    for (size_t i = 0; i < count; i++)
        cr_expect_str_eq(text_at(table, i, "database"), expected[i], "place %zu", i);
}

Test(table, shows_cells, .init = use_utf8)
{
    struct table table = {0};
    struct grid *grid = make(some, 4, 0);
    table_fill(&table, &layout, grid, NULL, true);
    cr_assert_eq(table.row_count, 4);
    cr_expect_str_eq(text_at(&table, 0, "maxwait"), "1.5ms");
    cr_expect_str_eq(text_at(&table, 1, "maxwait"), "1m15s");
    cr_expect_str_eq(text_at(&table, 2, "maxwait"), "-");
    cr_expect_str_eq(text_at(&table, 3, "maxwait"), "2.2s");
    cr_expect_str_eq(text_at(&table, 2, "database"), "(all)");
    cr_expect_str_eq(text_at(&table, 0, "paused"), "");
    cr_expect_str_eq(text_at(&table, 1, "paused"), "yes");
    /* Before there is a difference, the console's own average. */
    cr_expect_str_eq(text_at(&table, 0, "trans/s"), "7.0");
    cr_expect_str_eq(text_at(&table, 0, "time"), "-");
    cr_expect_eq(table.rows[0]->marks, MARK_WAITING);
    cr_expect_eq(table.rows[1]->marks, MARK_WAITING | MARK_PAUSED);
    cr_expect_eq(table.rows[2]->marks & MARK_FAILING, MARK_FAILING);
    cr_expect_str_eq(table.rows[0]->database, "beta");
    cr_expect_null(table.rows[2]->database);
    cr_expect_null(table.rows[0]->client);
    table_clear(&table);
    grid_free(grid);
}

Test(table, sorts, .init = use_utf8)
{
    struct table table = {0};
    struct grid *grid = make(some, 4, 0);
    table_fill(&table, &layout, grid, NULL, true);
    table_sort(&table, 1, true); /* by number, not by text; equal ones stay; "-" is none */
    check_order(&table, (const char *const[]){"alpha", "beta", "Gamma", "(all)"}, 4);
    table_sort(&table, 1, false);
    check_order(&table, (const char *const[]){"beta", "Gamma", "alpha", "(all)"}, 4);
    table_sort(&table, 0, false);
    check_order(&table, (const char *const[]){"(all)", "Gamma", "alpha", "beta"}, 4);
    table_sort(&table, 2, true);
    check_order(&table, (const char *const[]){"alpha", "Gamma", "beta", "(all)"}, 4);
    table_sort(&table, 6, true); /* rows without a text come last either way */
    check_order(&table, (const char *const[]){"(all)", "beta", "alpha", "Gamma"}, 4);
    table_sort(&table, 6, false);
    check_order(&table, (const char *const[]){"(all)", "beta", "alpha", "Gamma"}, 4);
    table_sort(&table, 99, false);
    table_clear(&table);
    grid_free(grid);
}

Test(table, filters_and_finds, .init = use_utf8)
{
    struct table table = {0};
    struct grid *grid = make(some, 4, 0);
    table_fill(&table, &layout, grid, NULL, true);
    table_filter(&table, "AM");
    check_order(&table, (const char *const[]){"Gamma"}, 1);
    cr_assert_eq(table.row_count, 4);
    table_sort(&table, 0, false);
    table_filter(&table, "a");
    check_order(&table, (const char *const[]){"(all)", "Gamma", "alpha", "beta"}, 4);
    char key[32];
    strcpy(key, table.rows[2]->key);
    cr_expect_eq(table_find(&table, key, 0), 2);
    table_sort(&table, 0, true);
    cr_expect_eq(table_find(&table, key, 0), 1);
    cr_expect_eq(table_find(&table, "gone", 2), 2);
    cr_expect_eq(table_find(&table, "gone", 17), 3);
    table_filter(&table, "nothing has this");
    cr_expect_eq(table.shown, 0);
    cr_expect_eq(table_find(&table, key, 3), 0);
    table_filter(&table, "");
    cr_expect_eq(table.shown, 4);
    table_clear(&table);
    grid_free(grid);
}

Test(table, rates, .init = use_utf8)
{
    static const values before[] = {
        {"alpha", "0", "0", "0", "0", "500", "9000", "8", NULL},
        {"beta", "0", "0", "0", "0", "60", "1000", "8", NULL},
    };
    struct table table = {0};
    struct grid *old = make(before, 2, 10 * WEIR_SEC);
    struct grid *grid = make(some, 4, 12 * WEIR_SEC);
    table_fill(&table, &layout, grid, old, true);
    /* By the key, not by the place. */
    cr_expect_str_eq(text_at(&table, 0, "trans/s"), "20.0");
    cr_expect_str_eq(text_at(&table, 0, "time"), "100us");
    /* Totals that fell began anew: the average. */
    cr_expect_str_eq(text_at(&table, 1, "trans/s"), "8.0");
    cr_expect_str_eq(text_at(&table, 1, "time"), "-");
    /* It was not there before. */
    cr_expect_str_eq(text_at(&table, 3, "trans/s"), "0");
    /* Two answers of one moment. */
    grid->at = old->at;
    table_fill(&table, &layout, grid, old, true);
    cr_expect_str_eq(text_at(&table, 0, "trans/s"), "7.0");
    table_clear(&table);
    grid_free(old);
    grid_free(grid);
    cr_expect_eq(rate_between(30, 10, 4 * WEIR_SEC), 5);
    cr_expect(isnan(rate_between(10, 30, WEIR_SEC)));
    cr_expect(isnan(rate_between(NAN, 30, WEIR_SEC)));
    cr_expect(isnan(rate_between(30, NAN, WEIR_SEC)));
}

static char *line_of(const struct table *table, size_t row)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (row == SIZE_MAX)
        table_print_titles(table, 1, true, out);
    else
        table_print_row(table, row, out);
    fclose(out);
    return text;
}

Test(table, lines_up, .init = use_utf8)
{
    static const struct layout narrow = {
        .columns = {{"a", "database", KIND_TEXT},
                    {"n", "cl_waiting", KIND_COUNT},
                    {"end", "problem", KIND_TEXT}},
        .keys = {"database"},
    };
    static const values rows[] = {
        {"x\x1b", "5", "", "", "", "", "", "", "1"},
        {"\xe6\xbc\xa2", "12345", "", "", "", "", "", "", NULL},
        {"12345678901234567890123456789012345678901234567890", "", "", "", "", "", "", "",
         "12345678901234567890123456789012345678901234567890"},
    };
    static const char *const expected[] = {
        "x\\x1b                                         5  1",
        "\xe6\xbc\xa2                                        12345  ",
        ("123456789012345678901234567890123456789~         "
         "12345678901234567890123456789012345678901234567890"),
    };
    struct table table = {0};
    struct grid *grid = make(rows, 3, 0);
    table_fill(&table, &narrow, grid, NULL, true);
    for (size_t i = 0; i < 3; i++) {
        char *line = line_of(&table, i);
        cr_expect_str_eq(line, expected[i], "line %zu: \"%s\"", i, line);
        free(line);
    }
    char *titles = line_of(&table, SIZE_MAX);
    cr_expect_str_eq(titles, "a                                            nv  end");
    free(titles);
    /* Widths stay while the layout does. */
    struct grid *first = make(rows, 1, 0);
    table_fill(&table, &narrow, first, NULL, true);
    char *line = line_of(&table, 0);
    cr_expect_str_eq(line, expected[0]);
    free(line);
    table_clear(&table);
    grid_free(grid);
    grid_free(first);
}

Test(table, short_forms)
{
    static const struct {
        double value;
        const char *expected;
    } durations[] =
        {{0, "0us"},        {999, "999us"},     {1500, "1.5ms"},           {250000, "250ms"},
         {1e6, "1.0s"},     {59.96e6, "59.9s"}, {60e6, "1m00s"},           {3599e6, "59m59s"},
         {3660e6, "1h01m"}, {86400e6, "1d00h"}, {100 * 86400e6, "100d00h"}},
      amounts[] = {{0, "0"},       {0.04, "0.0"},    {5, "5.0"},         {99.96, "100"},
                   {9999, "9999"}, {10000, "10.0k"}, {1234567, "1235k"}, {2.5e10, "25.0G"}};
    char text[SHORT_MAX];
    for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
        format_duration(text, durations[i].value);
        cr_expect_str_eq(text, durations[i].expected, "%s", text);
    }
    for (size_t i = 0; i < sizeof(amounts) / sizeof(amounts[0]); i++) {
        format_amount(text, amounts[i].value);
        cr_expect_str_eq(text, amounts[i].expected, "%s", text);
    }
}

Test(table, needs_leave_rows_out)
{
    static const struct layout picky = {
        .columns = {{"a", "database", KIND_TEXT}}, .keys = {"database"}, .needs = "problem"};
    struct table table = {0};
    struct grid *grid = make(some, 4, 0);
    table_fill(&table, &picky, grid, NULL, true);
    cr_expect_eq(table.row_count, 1);
    table_fill(&table, &picky, NULL, NULL, true);
    cr_expect_eq(table.row_count, 0);
    table_filter(&table, "x");
    table_sort(&table, 0, true);
    table_clear(&table);
    grid_free(grid);
}

Test(views, are_in_order)
{
    cr_assert_eq(view_named("wai"), view_named("waits"));
    cr_assert_null(view_named("p"));
    cr_assert_null(view_named("waitss"));
    for (size_t i = 0; i < view_count; i++) {
        size_t columns = 0;
        while (columns < COLUMNS_MAX && views[i].layout.columns[columns].title != NULL)
            columns++;
        cr_assert(columns < COLUMNS_MAX, "%s: no row ends the columns", views[i].name);
        cr_assert(views[i].sort < columns, "%s", views[i].name);
        cr_assert_not_null(views[i].layout.keys[0], "%s", views[i].name);
        for (size_t other = 0; other < i; other++)
            cr_assert_neq(views[i].letter, views[other].letter);
    }
}
