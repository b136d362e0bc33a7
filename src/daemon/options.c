/* The command line, from the table of options. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "daemon.h"

const struct option_row options_pgweir[] = {
#define WEIR_OPTION(id, letter, name, argument, help)                                              \
    {OPTION_##id, letter, name, ARGUMENT_##argument, help},
#include "weir/options.def"
#undef WEIR_OPTION
    {0},
};

const struct option_row options_top[] = {
#define WEIR_TOP_OPTION(id, letter, name, argument, help)                                          \
    {0, letter, name, ARGUMENT_##argument, help},
#include "weir/options.def"
#undef WEIR_TOP_OPTION
    {0},
};

#define ROWS (sizeof(options_pgweir) / sizeof(options_pgweir[0]))

const char *options_argument_name(enum option_argument argument)
{
    static const char *const names[] = {
        [ARGUMENT_NONE] = "",     [ARGUMENT_FILE] = "FILE",  [ARGUMENT_USER] = "NAME",
        [ARGUMENT_HOST] = "HOST", [ARGUMENT_TEXT] = "VALUE",
    };
    return names[argument];
}

static void print_row(const struct option_row *row, FILE *out)
{
    char text[32];
    snprintf(text, sizeof(text), "--%s %s", row->name, options_argument_name(row->argument));
    if (row->letter != 0)
        fprintf(out, "  -%c, %-18s %s\n", row->letter, text, row->help);
    else
        fprintf(out, "      %-18s %s\n", text, row->help);
}

static void print_help(FILE *out)
{
    fputs("Usage: pgweir [options] FILE.ini\n"
          "\n"
          "A connection pooler for PostgreSQL that pools by transaction.\n"
          "\n",
          out);
    for (const struct option_row *row = options_pgweir; row->name != NULL; row++) {
        if (row->help != NULL)
            print_row(row, out);
    }
    fputs(
        "\n"
        "Signals: HUP reloads, TERM ends when every client is at a transaction boundary (at the\n"
        "latest after shutdown_timeout), INT does the same within two seconds, QUIT ends at once,\n"
        "USR1 writes pools, waits, holders and counters to the log.\n",
        out);
}

/* `names` and `letters` have room for all rows. Long names alone are told by their row's id. */
static void make_getopt(struct option *names, char *letters)
{
    size_t count = 0;
    for (const struct option_row *row = options_pgweir; row->name != NULL; row++) {
        bool argument = row->argument != ARGUMENT_NONE;
        names[count++] = (struct option){row->name, argument, NULL, row->id};
        if (row->letter == 0)
            continue;
        *letters++ = row->letter;
        if (argument)
            *letters++ = ':';
    }
    names[count] = (struct option){0};
    *letters = '\0';
}

static enum option_id option_of(int got)
{
    for (const struct option_row *row = options_pgweir; row->name != NULL; row++) {
        if (got == (int)row->id || (row->letter != 0 && got == row->letter))
            return row->id;
    }
    return OPTION_NONE;
}

static int try_help(void)
{
    fputs("Try 'pgweir --help'.\n", stderr);
    return 1;
}

/* As options_read. */
static int take(struct options *options, enum option_id id, const char *argument)
{
    switch (id) {
    case OPTION_DAEMON:
        options->daemon = true;
        return -1;
    case OPTION_USER:
        options->user = argument;
        return -1;
    case OPTION_CHECK:
        options->check = true;
        return -1;
    case OPTION_RUNNING:
        options->running = true;
        return -1;
    case OPTION_LOOKUP:
        options->lookup = argument;
        return -1;
    case OPTION_IMPORT:
        options->import = true;
        return -1;
    case OPTION_OUTPUT:
        options->output = argument;
        return -1;
    case OPTION_VERBOSE:
        options->verbose++;
        return -1;
    case OPTION_QUIET:
        options->quiet = true;
        return -1;
    case OPTION_PRINT:
        options->print = argument;
        return -1;
    case OPTION_PRINT_REFERENCE:
        options->print = "settings.md";
        return -1;
    case OPTION_PRINT_SAMPLE:
        options->print = "sample.ini";
        return -1;
    case OPTION_REBOOT:
        fputs("pgweir: -R (take over a running process) is not supported: start a second "
              "instance with so_reuseport and end the first with TERM\n",
              stderr);
        return 1;
    case OPTION_VERSION:
        puts("pgweir " WEIR_VERSION);
        return 0;
    case OPTION_HELP:
        print_help(stdout);
        return 0;
    case OPTION_NONE:
        break;
    }
    return try_help();
}

/* What does not go together. */
static const char *find_conflict(const struct options *options)
{
    if (options->running && !options->check)
        return "--running goes with --check";
    if (options->lookup != NULL && (!options->check || options->running))
        return "--lookup goes with --check";
    if (options->output != NULL && !options->import)
        return "--output goes with --import";
    if (options->check && options->import)
        return "--check and --import exclude each other";
    if (options->daemon && (options->check || options->import))
        return "--daemon starts pgweir, --check and --import do not";
    return NULL;
}

int options_read(struct options *options, int argc, char **argv)
{
    struct option names[ROWS];
    char letters[2 * ROWS + 1];
    make_getopt(names, letters);
    int got;
    while ((got = getopt_long(argc, argv, letters, names, NULL)) != -1) {
        int status = take(options, option_of(got), optarg);
        if (status >= 0)
            return status;
    }
    if (options->print != NULL)
        return -1;
    const char *problem = find_conflict(options);
    if (problem == NULL && optind + 1 != argc)
        problem = optind == argc ? "no configuration file given"
                                 : "more than one configuration file given";
    if (problem != NULL) {
        fprintf(stderr, "pgweir: %s\n", problem);
        return try_help();
    }
    options->file = argv[optind];
    return -1;
}
