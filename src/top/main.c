/* pgweir-top: a view over the console of a running pgweir. */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "header.h"
#include "screen.h"
#include "text.h"

/* The clock of the header goes on, whatever the interval. */
#define REDRAW WEIR_SEC
/* --once ends with an error when there is no whole look by then. */
#define ONCE_TIMEOUT (15 * WEIR_SEC)

/* Waits for sockets, for keys if `keys`, and at the latest until `until`. True: there is news. */
static bool turn(struct console *console, bool keys, weir_usec until)
{
    struct pollfd polls[POLLS_MAX + 1];
    size_t count = console_polls(console, polls);
    weir_usec due = console_due(console);
    weir_usec wait = (due < until ? due : until) - weir_clock_now();
    if (keys)
        polls[count] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    /* Rounded up: a millisecond too early would be a turn for nothing. */
    int got = poll(polls, count + keys, wait > 0 ? (int)((wait + 999) / 1000) : 0);
    for (size_t i = 0; got < 0 && i < count; i++)
        polls[i].revents = 0;
    return console_advance(console, polls, count, weir_clock_now());
}

/* --- on a terminal ------------------------------------------------------------------------- */

static bool is_terminal_gone(void)
{
    struct pollfd poll_key = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&poll_key, 1, 0) > 0 && (poll_key.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

static void watch_until_quit(struct watch *watch)
{
    while (!watch->quit && !is_terminal_gone()) {
        screen_draw(watch, weir_clock_now());
        if (turn(&watch->console, true, weir_clock_now() + REDRAW))
            watch_refresh(watch);
        for (int key = screen_key(); key != KEY_OF_NONE && !watch->quit; key = screen_key())
            watch_key(watch, key, weir_clock_now());
    }
}

static int run_on_terminal(struct watch *watch)
{
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        fputs("pgweir-top: this is no terminal; --once prints to whatever there is\n", stderr);
        return 1;
    }
    if (!screen_open()) {
        fputs("pgweir-top: the terminal (TERM) is not known; --once needs none\n", stderr);
        return 1;
    }
    watch_until_quit(watch);
    screen_close();
    return 0;
}

/* --- once ---------------------------------------------------------------------------------- */

static void print_look(struct watch *watch)
{
    const struct table *table = &watch->table;
    header_print_daemon(&watch->console, watch->utf8, stdout);
    putchar('\n');
    header_print_load(&watch->console, stdout);
    printf("\n\n%s\n", watch->view->name);
    table_print_titles(table, watch->sort, watch->descending, stdout);
    putchar('\n');
    for (size_t i = 0; i < table->shown; i++) {
        table_print_row(table, i, stdout);
        putchar('\n');
    }
}

static int complain(const struct watch *watch, const char *problem)
{
    char *safe = text_safe(problem, watch->utf8);
    fprintf(stderr, "pgweir-top: %s\n", safe);
    free(safe);
    return 1;
}

static int run_once(struct watch *watch)
{
    struct console *console = &watch->console;
    weir_usec deadline = weir_clock_now() + ONCE_TIMEOUT;
    while (console->rounds == 0 && console->lost_at == 0) {
        if (weir_clock_now() >= deadline)
            return complain(watch, "no answer within 15 seconds");
        turn(console, false, deadline);
    }
    if (console->lost_at != 0)
        return complain(watch, console->link.problem);
    if (console->refusals[watch->view->question] != NULL)
        return complain(watch, console->refusals[watch->view->question]);
    watch_refresh(watch);
    print_look(watch);
    return ferror(stdout) || fflush(stdout) != 0;
}

int main(int argc, char **argv)
{
    struct options options;
    struct watch watch;
    setlocale(LC_ALL, "");
    /* Numbers of the console have points. */
    setlocale(LC_NUMERIC, "C");
    int status = options_read(&options, argc, argv);
    if (status >= 0)
        return status;
    watch_begin(&watch, &options, strcmp(nl_langinfo(CODESET), "UTF-8") == 0, weir_clock_now());
    status = options.once ? run_once(&watch) : run_on_terminal(&watch);
    watch_end(&watch);
    return status;
}
