/* The command line, from the table of options. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"

const struct weir_option options_pgweir[] = {
#define WEIR_OPTION(id, letter, name, argument, help)                                              \
    {OPTION_##id, letter, name, WEIR_ARGUMENT_##argument, help},
#include "weir/options.def"
#undef WEIR_OPTION
    {0},
};

const struct weir_option options_top[] = {
#define WEIR_TOP_OPTION(id, letter, name, argument, help)                                          \
    {0, letter, name, WEIR_ARGUMENT_##argument, help},
#include "weir/options.def"
#undef WEIR_TOP_OPTION
    {0},
};

static void print_help(FILE *out)
{
    fputs("Usage: pgweir [options] FILE.ini\n"
          "\n"
          "A connection pooler for PostgreSQL that pools by transaction.\n"
          "\n",
          out);
    weir_option_print(options_pgweir, out);
    fputs(
        "\n"
        "Signals: HUP reloads, TERM ends when every client is at a transaction boundary (at the\n"
        "latest after shutdown_timeout), INT does the same within two seconds, QUIT ends at once,\n"
        "USR1 writes pools, waits, holders and counters to the log.\n",
        out);
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
    int id;
    const char *argument;
    while ((id = weir_option_getopt(options_pgweir, argc, argv, &argument)) != -1) {
        int status = take(options, (enum option_id)id, argument);
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
