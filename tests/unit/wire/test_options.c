#include <criterion/criterion.h>
#include <stdio.h>

#include "options_model.h"
#include "support.h"

/* What is expected of a text: its settings, each as "name=value", and the end: NULL when every
 * switch was good, else the words that are named. */
static const struct row {
    const char *text;
    const char *settings[4];
    const char *refused;
} rows[] = {
    {"", {NULL}, NULL},
    {" \t\n\v\f\r", {NULL}, NULL},
    {"-c search_path=shop", {"search_path=shop"}, NULL},
    {"-csearch_path=shop", {"search_path=shop"}, NULL},
    {"--search_path=shop", {"search_path=shop"}, NULL},
    {"--search-path=a-b", {"search_path=a-b"}, NULL},
    {"-c search-path=a-b", {"search_path=a-b"}, NULL},
    {"  -c  a.b=1\t-c\nc=2  ", {"a.b=1", "c=2"}, NULL},
    {"-c search_path=a,\\ b", {"search_path=a, b"}, NULL},
    {"-c x=a\\\\b", {"x=a\\b"}, NULL},
    {"-c x=\\", {"x="}, NULL},
    {"-c x=\"a\\ 'b\"", {"x=\"a 'b\""}, NULL},
    {"\\-\\c\\ =1 --x=2", {" =1", "x=2"}, NULL},
    {"-c x=", {"x="}, NULL},
    {"-c x=1=2", {"x=1=2"}, NULL},
    {"-c x=1 -c x=2", {"x=1", "x=2"}, NULL},
    {"-c --x=1", {"__x=1"}, NULL},
    {"-c x=\xc3\xa4\xc2\xa0\xc3\xb6", {"x=\xc3\xa4\xc2\xa0\xc3\xb6"}, NULL},
    /* switches with a letter of their own */
    {"-e", {"datestyle=euro"}, NULL},
    {"-S 8192", {"work_mem=8192"}, NULL},
    {"-S64MB", {"work_mem=64MB"}, NULL},
    {"-s -O", {"log_statement_stats=true", "allow_system_table_mods=true"}, NULL},
    {"-tpa -t pl -te",
     {"log_parser_stats=true", "log_planner_stats=true", "log_executor_stats=true"},
     NULL},
    {"-fs -f hash -fo -fb",
     {"enable_seqscan=false", "enable_hashjoin=false", "enable_indexonlyscan=false",
      "enable_bitmapscan=false"},
     NULL},
    {"-fi -fm -fn -ft",
     {"enable_indexscan=false", "enable_mergejoin=false", "enable_nestloop=false",
      "enable_tidscan=false"},
     NULL},
    {"-esS 5", {"datestyle=euro", "log_statement_stats=true", "work_mem=5"}, NULL},
    {"-ec x=1", {"datestyle=euro", "x=1"}, NULL},
    {"-e-x=1 -e- y=2", {"datestyle=euro", "x=1", "datestyle=euro", "y=2"}, NULL},
    {"-e --", {"datestyle=euro"}, NULL},
    {"-- ", {NULL}, NULL},
    /* refused */
    {"-c x", {NULL}, "-c x"},
    {"-c x -c y=1", {NULL}, "-c x"},
    {"-c =1", {NULL}, "-c =1"},
    {"-c", {NULL}, "-c"},
    {"-c  ", {NULL}, "-c"},
    {"--x", {NULL}, "--x"},
    {"--x y=1", {NULL}, "--x"},
    {"-c y=1 word -c z=1", {"y=1"}, "word"},
    {"-", {NULL}, "-"},
    {"-- word", {NULL}, "--"},
    {"-- -c x=1", {NULL}, "--"},
    {"\\", {NULL}, ""},
    {"a\\ b\\\\c", {NULL}, "a b\\c"},
    {"-e -q", {"datestyle=euro"}, "-q"},
    {"-eqs", {"datestyle=euro"}, "-eqs"},
    {"-ec  x\\ y  z", {"datestyle=euro"}, "-ec x y"},
    {"-f", {NULL}, "-f"},
    {"-fx", {NULL}, "-fx"},
    {"-t px", {NULL}, "-t px"},
    {"-t p", {NULL}, "-t p"},
    {"-S", {NULL}, "-S"},
    {"-B 100", {NULL}, "-B"},
    {"-d 5", {NULL}, "-d"},
    {"-F", {NULL}, "-F"},
    {"-W 3", {NULL}, "-W"},
    {"-\xff", {NULL}, "-\xff"},
};

static size_t count_settings(const struct row *row)
{
    size_t count = 0;
    while (count < COUNT_OF(row->settings) && row->settings[count] != NULL) {
        count++;
    }
    return count;
}

static void expect_row(const struct row *row)
{
    char *scratch = malloc(strlen(row->text) + 2);
    cr_assert_not_null(scratch);
    struct weir_options options = {.at = row->text};
    const char *name = NULL;
    const char *value = NULL;
    for (size_t i = 0; i < count_settings(row); i++) {
        cr_assert_eq(weir_options_next(&options, scratch, &name, &value), 1, "<%s> setting %zu",
                     row->text, i);
        char found[128];
        snprintf(found, sizeof found, "%s=%s", name, value);
        cr_expect_str_eq(found, row->settings[i], "<%s>", row->text);
    }
    const int end = weir_options_next(&options, scratch, &name, &value);
    if (row->refused == NULL) {
        cr_expect_eq(end, 0, "<%s> gave %d", row->text, end);
        cr_expect_eq(weir_options_next(&options, scratch, &name, &value), 0, "<%s>", row->text);
    } else {
        cr_assert_eq(end, -1, "<%s> gave %d", row->text, end);
        cr_expect_str_eq(name, row->refused, "<%s>", row->text);
        cr_expect_null(value, "<%s>", row->text);
    }
    free(scratch);
}

Test(options, are_split_as_in_the_table)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        expect_row(&rows[i]);
    }
}

/* Every cut of every text is a text too. */
Test(options, agree_with_getopt_at_every_cut)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const size_t length = strlen(rows[i].text);
        for (size_t cut = 0; cut <= length; cut++) {
            char *text = (char *)copy_exactly(rows[i].text, length + 1);
            text[cut] = '\0';
            const char *problem = model_compare(text);
            cr_expect_null(problem, "<%s>: %s", text, problem);
            free(text);
        }
    }
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

Test(options, agree_with_getopt_on_random_texts)
{
    static const char alphabet[] = "---ccc===  \\\t\nxab_eESfsitplhnOdBWq;:";
    uint32_t state = 20240229;
    size_t refused = 0;
    for (int round = 0; round < 200000; round++) {
        char text[24];
        const size_t length = next_random(&state) % (sizeof text - 1);
        for (size_t i = 0; i < length; i++) {
            text[i] = alphabet[next_random(&state) % LENGTH_OF(alphabet)];
        }
        text[length] = '\0';
        const char *problem = model_compare(text);
        cr_assert_null(problem, "<%s>: %s", text, problem);
        struct options_model model;
        model_run(&model, text);
        refused += model.refused;
        model_free(&model);
    }
    cr_expect(refused > 1000 && refused < 199000, "%zu texts refused: one-sided", refused);
}

/* A caller that goes on after an error comes to an end all the same. */
Test(options, end_even_when_errors_are_skipped)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *scratch = malloc(strlen(rows[i].text) + 2);
        cr_assert_not_null(scratch);
        struct weir_options options = {.at = rows[i].text};
        const char *name = NULL;
        const char *value = NULL;
        size_t steps = 0;
        while (weir_options_next(&options, scratch, &name, &value) != 0) {
            cr_assert(steps++ <= strlen(rows[i].text), "<%s> does not end", rows[i].text);
        }
        free(scratch);
    }
}
