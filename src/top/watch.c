#include "watch.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "weir/memory.h"

#define SCROLL 8

static const weir_usec steps[] = {WEIR_SEC / 10, WEIR_SEC / 5,   WEIR_SEC / 2,   WEIR_SEC,
                                  2 * WEIR_SEC,  5 * WEIR_SEC,   10 * WEIR_SEC,  30 * WEIR_SEC,
                                  60 * WEIR_SEC, 300 * WEIR_SEC, 3600 * WEIR_SEC};
#define STEPS (sizeof(steps) / sizeof(steps[0]))

static void choose_view(struct watch *watch, const struct view *view, weir_usec now)
{
    watch->view = view;
    watch->sort = view->sort;
    watch->descending = view->descending;
    watch->selected = 0;
    free(watch->selected_key);
    watch->selected_key = NULL;
    watch->left = 0;
    console_want(&watch->console, view->question, now);
    watch_refresh(watch);
}

void watch_begin(struct watch *watch, const struct options *options, bool utf8, weir_usec now)
{
    *watch = (struct watch){.utf8 = utf8, .page = 1};
    console_begin(&watch->console, options, now);
    choose_view(watch, options->view, now);
}

static void forget_question(struct watch *watch)
{
    free(watch->question);
    free(watch->command);
    free(watch->label);
    watch->question = NULL;
    watch->command = NULL;
    watch->label = NULL;
}

void watch_end(struct watch *watch)
{
    forget_question(watch);
    free(watch->selected_key);
    table_clear(&watch->table);
    console_end(&watch->console);
}

/* --- the table ----------------------------------------------------------------------------- */

static void arrange(struct watch *watch)
{
    table_sort(&watch->table, watch->sort, watch->descending);
    table_filter(&watch->table, watch->filter);
    watch->selected = table_find(&watch->table, watch->selected_key, watch->selected);
}

void watch_refresh(struct watch *watch)
{
    const struct console *console = &watch->console;
    enum question question = watch->view->question;
    table_fill(&watch->table, &watch->view->layout, console->now[question],
               console->before[question], watch->utf8);
    arrange(watch);
}

static void select_row(struct watch *watch, size_t row)
{
    const struct table *table = &watch->table;
    free(watch->selected_key);
    watch->selected_key = NULL;
    watch->selected = 0;
    if (table->shown == 0)
        return;
    watch->selected = row < table->shown ? row : table->shown - 1;
    watch->selected_key = weir_strdup(table->rows[watch->selected]->key);
}

static void step_back(struct watch *watch, size_t rows)
{
    select_row(watch, watch->selected > rows ? watch->selected - rows : 0);
}

static void choose_sort(struct watch *watch, size_t column, bool descending)
{
    watch->sort = column;
    watch->descending = descending;
    arrange(watch);
}

/* Largest first is what one wants to see of numbers. */
static void move_sort(struct watch *watch, size_t way)
{
    size_t count = watch->table.column_count;
    size_t column = (watch->sort + count + way) % count;
    choose_sort(watch, column, watch->view->layout.columns[column].kind != KIND_TEXT);
}

/* --- commands ------------------------------------------------------------------------------ */

static const struct row *chosen_row(const struct watch *watch)
{
    const struct table *table = &watch->table;
    return watch->selected < table->shown ? table->rows[watch->selected] : NULL;
}

static char *quote(const char *name)
{
    char *quoted = weir_alloc(2 * strlen(name) + 3);
    char *to = quoted;
    *to++ = '"';
    for (; *name != '\0'; name++) {
        if (*name == '"')
            *to++ = '"';
        *to++ = *name;
    }
    *to = '"';
    return quoted;
}

/* Names the object as it is now: the table goes on changing while the question stands. */
static void ask(struct watch *watch, const char *word, const char *object)
{
    char *label = weir_format("%s %s", word, object);
    forget_question(watch);
    watch->label = text_safe(label, watch->utf8);
    watch->question = weir_format("%s: really? y/n", watch->label);
    watch->mode = MODE_CONFIRM;
    free(label);
}

static void ask_database(struct watch *watch, const char *word)
{
    const struct row *row = chosen_row(watch);
    if (row == NULL || row->database == NULL) {
        watch->note = "there is no database in this row";
        return;
    }
    char *quoted = quote(row->database);
    ask(watch, word, quoted);
    watch->command = weir_format("%s %s", word, quoted);
    free(quoted);
}

/* Who the client is, from whatever the view has of it. */
static char *describe_client(const struct watch *watch, const struct row *row)
{
    const char *user = NULL, *application = NULL;
    for (size_t i = 0; i < watch->table.column_count; i++) {
        const char *name = watch->view->layout.columns[i].name;
        if (strcmp(name, "user") == 0)
            user = row->cells[i].text;
        if (strcmp(name, "application_name") == 0)
            application = row->cells[i].text;
    }
    bool named = application != NULL && *application != '\0';
    return weir_format("client %s (%s of %s%s%s)", row->client, user != NULL ? user : "?",
                       row->database != NULL ? row->database : "?", named ? ", " : "",
                       named ? application : "");
}

static void ask_kill(struct watch *watch)
{
    const struct row *row = chosen_row(watch);
    /* Server connections without a client have number 0. */
    if (row == NULL || row->client == NULL || strtoull(row->client, NULL, 10) == 0) {
        watch->note = "there is no client in this row; see waits, statements, pins or servers";
        return;
    }
    char *object = describe_client(watch, row);
    ask(watch, "KILL", object);
    watch->command = weir_format("KILL_CLIENT %llu", strtoull(row->client, NULL, 10));
    free(object);
}

static void answer(struct watch *watch, int key, weir_usec now)
{
    watch->mode = MODE_TABLE;
    if (key != 'y' && key != 'Y')
        watch->note = "nothing done";
    else if (!console_command(&watch->console, watch->command, watch->label, now))
        watch->note = "too many commands wait for an answer";
    forget_question(watch);
}

/* --- keys ---------------------------------------------------------------------------------- */

static void put_character(char *text, int key)
{
    char bytes[MB_LEN_MAX];
    mbstate_t state = {0};
    size_t length = wcrtomb(bytes, (wchar_t)key, &state);
    size_t before = strlen(text);
    if (length == (size_t)-1 || before + length >= FILTER_MAX)
        return;
    memcpy(text + before, bytes, length);
    text[before + length] = '\0';
}

static void cut_character(char *text)
{
    size_t length = strlen(text);
    while (length > 0 && ((unsigned char)text[length - 1] & 0xc0) == 0x80)
        length--;
    text[length > 0 ? length - 1 : 0] = '\0';
}

static void type_filter(struct watch *watch, int key)
{
    if (key == KEY_OF_ENTER || key == KEY_OF_ESCAPE)
        watch->mode = MODE_TABLE;
    if (key == KEY_OF_ESCAPE)
        memcpy(watch->filter, watch->filter_before, FILTER_MAX);
    else if (key == KEY_OF_BACKSPACE)
        cut_character(watch->filter);
    else if (key >= ' ' && key != 0x7f)
        put_character(watch->filter, key);
    arrange(watch);
}

static void begin_filter(struct watch *watch)
{
    memcpy(watch->filter_before, watch->filter, FILTER_MAX);
    watch->filter[0] = '\0';
    watch->mode = MODE_FILTER;
    arrange(watch);
}

static void clear_filter(struct watch *watch)
{
    watch->filter[0] = '\0';
    arrange(watch);
}

static void change_interval(struct watch *watch, bool longer, weir_usec now)
{
    struct console *console = &watch->console;
    weir_usec chosen = console->interval;
    for (size_t i = 0; i < STEPS; i++) {
        weir_usec step = steps[longer ? i : STEPS - 1 - i];
        if (longer ? step > console->interval : step < console->interval) {
            chosen = step;
            break;
        }
    }
    console->interval = chosen;
    console_look_now(console, now);
}

static bool move_by_key(struct watch *watch, int key)
{
    switch (key) {
    case KEY_OF_UP:
        step_back(watch, 1);
        return true;
    case KEY_OF_DOWN:
        select_row(watch, watch->selected + 1);
        return true;
    case KEY_OF_PAGE_UP:
        step_back(watch, watch->page);
        return true;
    case KEY_OF_PAGE_DOWN:
        select_row(watch, watch->selected + watch->page);
        return true;
    case KEY_OF_HOME:
        select_row(watch, 0);
        return true;
    case KEY_OF_END:
        select_row(watch, watch->table.shown);
        return true;
    case KEY_OF_LEFT:
        watch->left = watch->left > SCROLL ? watch->left - SCROLL : 0;
        return true;
    case KEY_OF_RIGHT:
        watch->left += SCROLL;
        return true;
    default:
        return false;
    }
}

/* False: it is none of them. */
static bool act_by_key(struct watch *watch, int key, weir_usec now)
{
    switch (key) {
    case 'P':
        ask_database(watch, "PAUSE");
        return true;
    case 'R':
        ask_database(watch, "RESUME");
        return true;
    case 'K':
        ask_kill(watch);
        return true;
    case '+':
        change_interval(watch, true, now);
        return true;
    case '-':
        change_interval(watch, false, now);
        return true;
    case ' ':
        watch->console.frozen = !watch->console.frozen;
        if (!watch->console.frozen)
            console_look_now(&watch->console, now);
        return true;
    case 'q':
        watch->quit = true;
        return true;
    default:
        return false;
    }
}

static bool arrange_by_key(struct watch *watch, int key)
{
    switch (key) {
    case '<':
        move_sort(watch, watch->table.column_count - 1);
        return true;
    case '>':
        move_sort(watch, 1);
        return true;
    case 'r':
        choose_sort(watch, watch->sort, !watch->descending);
        return true;
    case '/':
        begin_filter(watch);
        return true;
    case KEY_OF_ESCAPE:
        clear_filter(watch);
        return true;
    case '?':
    case 'h':
        watch->mode = MODE_HELP;
        return true;
    default:
        return false;
    }
}

static void press(struct watch *watch, int key, weir_usec now)
{
    if (move_by_key(watch, key) || act_by_key(watch, key, now) || arrange_by_key(watch, key))
        return;
    for (size_t i = 0; i < view_count; i++) {
        if (key == views[i].letter || key == '1' + (int)i)
            choose_view(watch, &views[i], now);
    }
}

void watch_key(struct watch *watch, int key, weir_usec now)
{
    if (key == KEY_OF_NONE)
        return;
    watch->note = NULL;
    /* What was told stays until the operator goes on. */
    free(watch->console.told);
    watch->console.told = NULL;
    switch (watch->mode) {
    case MODE_TABLE:
        press(watch, key, now);
        break;
    case MODE_FILTER:
        type_filter(watch, key);
        break;
    case MODE_CONFIRM:
        answer(watch, key, now);
        break;
    case MODE_HELP:
        watch->mode = MODE_TABLE;
        break;
    }
}

const char *watch_help(size_t line)
{
    static const char *const lines[] = {
        "up down PgUp PgDn Home End   select a row",
        "left right                   scroll sideways",
        "< >                          sort by the column before, behind",
        "r                            reverse the order",
        "/                            filter by a text; Enter keeps it, Escape drops it",
        "+ -                          look less often, more often",
        "space                        freeze, go on",
        "P R                          pause, resume the selected row's database",
        "K                            end the selected row's client",
        "q                            quit",
    };
    return line < sizeof(lines) / sizeof(lines[0]) ? lines[line] : NULL;
}
