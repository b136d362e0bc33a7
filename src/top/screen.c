#include "screen.h"

#define NCURSES_WIDECHAR 1
#include <curses.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "header.h"
#include "text.h"
#include "weir/require.h"

/* Two of the header, one for what is wrong, views, titles. */
#define TABLE_TOP 5

enum { PAIR_WAITING = 1, PAIR_PAUSED, PAIR_FAILING };

static SCREEN *screen;

bool screen_open(void)
{
    screen = newterm(NULL, stdout, stdin);
    if (screen == NULL)
        return false;
    cbreak();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(25);
    curs_set(0);
    if (has_colors()) {
        start_color();
        use_default_colors();
        init_pair(PAIR_WAITING, COLOR_CYAN, -1);
        init_pair(PAIR_PAUSED, COLOR_YELLOW, -1);
        init_pair(PAIR_FAILING, COLOR_RED, -1);
    }
    return true;
}

void screen_close(void)
{
    endwin();
    delscreen(screen);
}

/* --- keys ---------------------------------------------------------------------------------- */

static int function_key(wint_t key)
{
    switch (key) {
    case KEY_UP:
        return KEY_OF_UP;
    case KEY_DOWN:
        return KEY_OF_DOWN;
    case KEY_LEFT:
        return KEY_OF_LEFT;
    case KEY_RIGHT:
        return KEY_OF_RIGHT;
    case KEY_PPAGE:
        return KEY_OF_PAGE_UP;
    case KEY_NPAGE:
        return KEY_OF_PAGE_DOWN;
    case KEY_HOME:
        return KEY_OF_HOME;
    case KEY_END:
        return KEY_OF_END;
    case KEY_BACKSPACE:
    case KEY_DC:
        return KEY_OF_BACKSPACE;
    case KEY_ENTER:
        return KEY_OF_ENTER;
    default:
        return 0; /* KEY_RESIZE among them: drawing is all it needs */
    }
}

int screen_key(void)
{
    wint_t key = 0;
    int got = get_wch(&key);
    if (got == ERR)
        return KEY_OF_NONE;
    if (got == KEY_CODE_YES)
        return function_key(key);
    if (key == '\r' || key == '\n')
        return KEY_OF_ENTER;
    if (key == 0x1b)
        return KEY_OF_ESCAPE;
    if (key == 0x7f || key == '\b')
        return KEY_OF_BACKSPACE;
    return (int)key;
}

/* --- drawing ------------------------------------------------------------------------------- */

/* The part of a safe line that the terminal has room for, from column `left` on. */
static void put_line(int y, const char *line, size_t left, attr_t attributes)
{
    size_t taken = 0;
    if (y >= LINES)
        return;
    line += text_fit(line, left, &taken);
    size_t length = text_fit(line, (size_t)COLS, &taken);
    attrset(attributes);
    move(y, 0);
    clrtoeol();
    addnstr(line, (int)length);
    /* A bar goes to the edge. */
    for (; (attributes & A_REVERSE) != 0 && taken < (size_t)COLS; taken++)
        addch(' ');
    attrset(A_NORMAL);
}

struct line {
    char *text;
    size_t length;
    FILE *out;
};

static FILE *open_line(struct line *line)
{
    *line = (struct line){0};
    line->out = open_memstream(&line->text, &line->length);
    weir_require(line->out != NULL);
    return line->out;
}

static void close_line(struct line *line, int y, size_t left, attr_t attributes)
{
    weir_require(fclose(line->out) == 0);
    put_line(y, line->text, left, attributes);
    free(line->text);
}

static attr_t color(int pair)
{
    return has_colors() ? (attr_t)COLOR_PAIR(pair) : 0;
}

static attr_t attributes_of(const struct row *row)
{
    if (row->marks & MARK_FAILING)
        return A_BOLD | color(PAIR_FAILING);
    if (row->marks & MARK_PAUSED)
        return A_BOLD | color(PAIR_PAUSED);
    if (row->marks & MARK_WAITING)
        return A_BOLD | color(PAIR_WAITING);
    return A_NORMAL;
}

static void draw_header(const struct watch *watch, weir_usec now)
{
    const struct console *console = &watch->console;
    struct line line;
    header_print_daemon(console, watch->utf8, open_line(&line));
    fprintf(line.out, "  every %g s%s", (double)console->interval / WEIR_SEC,
            console->frozen ? "  FROZEN" : "");
    close_line(&line, 0, 0, console->frozen ? A_BOLD : A_NORMAL);
    header_print_load(console, open_line(&line));
    close_line(&line, 1, 0, A_NORMAL);
    header_print_silence(console, watch->utf8, now, open_line(&line));
    close_line(&line, 2, 0, A_BOLD | color(PAIR_FAILING));
}

static void draw_tabs(const struct watch *watch)
{
    struct line line;
    FILE *out = open_line(&line);
    for (size_t i = 0; i < view_count; i++) {
        bool here = &views[i] == watch->view;
        fprintf(out, "%s%zu%s%s", here ? "[" : " ", i + 1, views[i].name, here ? "]" : " ");
    }
    close_line(&line, 3, 0, A_BOLD);
}

static void draw_rows(struct watch *watch, bool stale)
{
    const struct table *table = &watch->table;
    struct line line;
    int room = LINES - TABLE_TOP - 1;
    watch->page = room > 0 ? (size_t)room : 1;
    size_t first = watch->selected < watch->page ? 0 : watch->selected - watch->page + 1;
    table_print_titles(table, watch->sort, watch->descending, open_line(&line));
    close_line(&line, TABLE_TOP - 1, watch->left, A_UNDERLINE);
    for (int i = 0; i < room; i++) {
        size_t row = first + (size_t)i;
        FILE *out = open_line(&line);
        attr_t attributes = A_NORMAL;
        if (row < table->shown) {
            table_print_row(table, row, out);
            attributes = stale ? A_DIM : attributes_of(table->rows[row]);
            attributes |= row == watch->selected ? A_REVERSE : 0;
        }
        close_line(&line, TABLE_TOP + i, watch->left, attributes);
    }
}

/* In place of rows: why there are none. */
static void draw_emptiness(const struct watch *watch)
{
    const struct console *console = &watch->console;
    const char *refusal = console->refusals[watch->view->question];
    struct line line;
    if (watch->table.shown > 0 || LINES <= TABLE_TOP + 1)
        return;
    FILE *out = open_line(&line);
    if (refusal != NULL) {
        char *safe = text_safe(refusal, watch->utf8);
        fprintf(out, "the console says: %s", safe);
        free(safe);
    } else if (console->now[watch->view->question] != NULL) {
        fputs(watch->table.row_count > 0 ? "nothing contains the filter's text" : "none", out);
    }
    close_line(&line, TABLE_TOP, 0, A_NORMAL);
}

static void draw_help(void)
{
    struct line line;
    int y = TABLE_TOP - 1;
    for (size_t i = 0; i < view_count; i++) {
        fprintf(open_line(&line), "%zu %c  %-11s %s", i + 1, views[i].letter, views[i].name,
                views[i].help);
        close_line(&line, y++, 0, A_NORMAL);
    }
    put_line(y++, "", 0, A_NORMAL);
    for (size_t i = 0; watch_help(i) != NULL; i++)
        put_line(y++, watch_help(i), 0, A_NORMAL);
    while (y < LINES)
        put_line(y++, "", 0, A_NORMAL);
}

static void print_foot(const struct watch *watch, FILE *out)
{
    const struct console *console = &watch->console;
    const char *under_way = console_under_way(console);
    if (watch->mode == MODE_CONFIRM) {
        fputs(watch->question, out);
    } else if (watch->mode == MODE_FILTER) {
        fprintf(out, "/%s_", watch->filter);
    } else if (watch->mode == MODE_HELP) {
        fputs("any key goes back", out);
    } else if (watch->note != NULL) {
        fputs(watch->note, out);
    } else if (console->told != NULL) {
        char *safe = text_safe(console->told, watch->utf8);
        fputs(safe, out);
        free(safe);
    } else if (under_way != NULL) {
        fprintf(out, "%s: waiting for the answer", under_way);
    } else {
        const struct table *table = &watch->table;
        fprintf(out, "row %zu of %zu", table->shown > 0 ? watch->selected + 1 : 0, table->shown);
        if (watch->filter[0] != '\0')
            fprintf(out, " that contain \"%s\", %zu in all", watch->filter, table->row_count);
        fputs("   ? help  q quit", out);
    }
}

static void draw_foot(const struct watch *watch)
{
    struct line line;
    attr_t attributes = watch->mode == MODE_CONFIRM ? A_BOLD | A_REVERSE : A_BOLD;
    if (watch->console.told != NULL && watch->console.told_bad && watch->mode == MODE_TABLE)
        attributes |= color(PAIR_FAILING);
    print_foot(watch, open_line(&line));
    close_line(&line, LINES - 1, 0, attributes);
}

void screen_draw(struct watch *watch, weir_usec now)
{
    draw_header(watch, now);
    draw_tabs(watch);
    if (watch->mode == MODE_HELP) {
        draw_help();
    } else {
        draw_rows(watch, console_is_silent(&watch->console, now));
        draw_emptiness(watch);
    }
    draw_foot(watch);
    refresh();
}
