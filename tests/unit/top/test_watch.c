/* Keys, without a terminal and without a daemon: answers are put where the console keeps them. */
#include "watch.h"

#include <criterion/criterion.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

static struct options options;
static struct watch watch;

static struct grid *clients(const char *const *ids, size_t count)
{
    static const char *const names[] = {"id", "database", "user", "application_name", "statement"};
    struct grid *grid = grid_new(5, count);
    for (size_t i = 0; i < 5; i++)
        grid_name(grid, i, names[i]);
    for (size_t i = 0; i < count; i++) {
        grid_set(grid, i, 0, ids[i]);
        grid_set(grid, i, 1, "my \"db\"");
        grid_set(grid, i, 2, "app");
        grid_set(grid, i, 3, "evil\x1b[2J");
        grid_set(grid, i, 4, "select 1");
    }
    return grid;
}

static void answer_with(const char *const *ids, size_t count)
{
    grid_free(watch.console.now[ASK_CLIENTS]);
    watch.console.now[ASK_CLIENTS] = clients(ids, count);
    watch_refresh(&watch);
}

static void press(const char *keys)
{
    for (; *keys != '\0'; keys++)
        watch_key(&watch, (unsigned char)*keys, 0);
}

static void begin(void)
{
    cr_assert_not_null(setlocale(LC_ALL, "C.UTF-8"));
    options = (struct options){.host = "127.0.0.1",
                               .port = "1",
                               .database = "pgweir",
                               .interval = WEIR_SEC,
                               .view = view_named("statements")};
    watch_begin(&watch, &options, true, 0);
    answer_with((const char *const[]){"11", "12", "13"}, 3);
}

static void end(void)
{
    watch_end(&watch);
}

TestSuite(watch, .init = begin, .fini = end);

Test(watch, a_question_means_the_row_it_named)
{
    watch_key(&watch, KEY_OF_DOWN, 0);
    press("K");
    cr_assert_str_eq(watch.question,
                     "KILL client 12 (app of my \"db\", evil\\x1b[2J): really? y/n");
    cr_assert_str_eq(watch.command, "KILL_CLIENT 12");
    answer_with((const char *const[]){"13", "14"}, 2);
    cr_assert_str_eq(watch.command, "KILL_CLIENT 12");
    press("n");
    cr_assert_null(watch.command);
    cr_assert_null(console_under_way(&watch.console));
    press("P");
    cr_assert_str_eq(watch.command, "PAUSE \"my \"\"db\"\"\"");
    press("y");
    cr_assert_not_null(console_under_way(&watch.console));
}

Test(watch, only_y_is_yes)
{
    static const int others[] = {'n', ' ', 'K', 'q', KEY_OF_ENTER, KEY_OF_ESCAPE, KEY_OF_DOWN, 0};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        press("K");
        cr_assert_eq(watch.mode, MODE_CONFIRM);
        watch_key(&watch, others[i], 0);
        cr_assert_eq(watch.mode, MODE_TABLE);
        cr_assert_null(console_under_way(&watch.console));
        cr_assert_not(watch.quit);
    }
}

Test(watch, nobody_to_kill)
{
    answer_with(NULL, 0);
    press("K");
    cr_assert_eq(watch.mode, MODE_TABLE);
    cr_assert_not_null(watch.note);
    press("P");
    cr_assert_eq(watch.mode, MODE_TABLE);
    /* A server connection without a client has number 0. */
    answer_with((const char *const[]){"0"}, 1);
    press("K");
    cr_assert_eq(watch.mode, MODE_TABLE);
}

Test(watch, the_selection_follows_its_row)
{
    watch_key(&watch, KEY_OF_DOWN, 0);
    cr_assert_eq(watch.selected, 1);
    answer_with((const char *const[]){"10", "11", "12", "13"}, 4);
    cr_assert_eq(watch.selected, 2);
    answer_with((const char *const[]){"10"}, 1);
    cr_assert_eq(watch.selected, 0);
    for (int i = 0; i < 5; i++)
        watch_key(&watch, KEY_OF_DOWN, 0);
    cr_assert_eq(watch.selected, 0);
}

Test(watch, filter_takes_any_text)
{
    press("/");
    watch_key(&watch, 0xe4, 0);
    watch_key(&watch, 0x6f22, 0);
    cr_assert_str_eq(watch.filter, "\xc3\xa4\xe6\xbc\xa2");
    watch_key(&watch, KEY_OF_BACKSPACE, 0);
    cr_assert_str_eq(watch.filter, "\xc3\xa4");
    watch_key(&watch, KEY_OF_BACKSPACE, 0);
    watch_key(&watch, KEY_OF_BACKSPACE, 0);
    cr_assert_str_eq(watch.filter, "");
    for (int i = 0; i < 200; i++)
        watch_key(&watch, 'q', 0);
    cr_assert_eq(strlen(watch.filter), FILTER_MAX - 1);
    cr_assert_eq(watch.table.shown, 0);
    cr_assert_not(watch.quit);
    watch_key(&watch, KEY_OF_ESCAPE, 0);
    cr_assert_eq(watch.table.shown, 3);
}

Test(watch, interval_keeps_its_bounds)
{
    for (int i = 0; i < 30; i++)
        press("-");
    cr_assert_eq(watch.console.interval, INTERVAL_MIN);
    for (int i = 0; i < 30; i++)
        press("+");
    cr_assert_eq(watch.console.interval, INTERVAL_MAX);
}

Test(watch, sort_goes_round)
{
    size_t first = watch.sort;
    for (size_t i = 0; i < watch.table.column_count; i++)
        press(">");
    cr_assert_eq(watch.sort, first);
    press("<");
    cr_assert_eq(watch.sort, first - 1);
    press("1");
    cr_assert_str_eq(watch.view->name, "pools");
    cr_assert_eq(watch.sort, watch.view->sort);
}
