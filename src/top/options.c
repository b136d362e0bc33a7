#include "options.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_HOST     "127.0.0.1"
#define DEFAULT_PORT     "6432"
#define DEFAULT_DATABASE "pgweir"

enum argument { ARGUMENT_NONE, ARGUMENT_FILE, ARGUMENT_USER, ARGUMENT_HOST, ARGUMENT_TEXT };

/* Beyond all letters, so that getopt can tell either. */
enum option_id {
    OPTION_NONE = 256,
#define WEIR_TOP_OPTION(id, letter, name, argument, help) OPTION_##id,
#include "weir/options.def"
#undef WEIR_TOP_OPTION
};

static const struct row_of_options {
    enum option_id id;
    char letter; /* 0: none */
    const char *name;
    enum argument argument;
    const char *help;
} rows[] = {
#define WEIR_TOP_OPTION(id, letter, name, argument, help)                                          \
    {OPTION_##id, letter, name, ARGUMENT_##argument, help},
#include "weir/options.def"
#undef WEIR_TOP_OPTION
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static const char *argument_name(enum argument argument)
{
    static const char *const names[] = {
        [ARGUMENT_NONE] = "",     [ARGUMENT_FILE] = "FILE",  [ARGUMENT_USER] = "NAME",
        [ARGUMENT_HOST] = "HOST", [ARGUMENT_TEXT] = "VALUE",
    };
    return names[argument];
}

static void print_row(const struct row_of_options *row, FILE *out)
{
    char text[32];
    snprintf(text, sizeof(text), "--%s %s", row->name, argument_name(row->argument));
    if (row->letter != 0)
        fprintf(out, "  -%c, %-18s %s\n", row->letter, text, row->help);
    else
        fprintf(out, "      %-18s %s\n", text, row->help);
}

static void print_help(FILE *out)
{
    fputs("Usage: pgweir-top [options]\n"
          "\n"
          "Shows again and again what a running pgweir does, from its console.\n"
          "\n",
          out);
    for (size_t i = 0; i < ROWS; i++)
        print_row(&rows[i], out);
    fputs("\nViews:\n", out);
    for (size_t i = 0; i < view_count; i++)
        fprintf(out, "  %-11s %s\n", views[i].name, views[i].help);
    fputs(
        "\nThe key ? lists the keys. PGHOST, PGPORT, PGUSER, PGPASSWORD and what else libpq reads\n"
        "from the environment hold, and so does ~/.pgpass. Without them it connects to\n"
        "host " DEFAULT_HOST ", port " DEFAULT_PORT ".\n",
        out);
}

static void make_getopt(struct option *names, char *letters)
{
    for (size_t i = 0; i < ROWS; i++) {
        bool argument = rows[i].argument != ARGUMENT_NONE;
        names[i] = (struct option){rows[i].name, argument, NULL, rows[i].id};
        if (rows[i].letter == 0)
            continue;
        *letters++ = rows[i].letter;
        if (argument)
            *letters++ = ':';
    }
    names[ROWS] = (struct option){0};
    *letters = '\0';
}

static enum option_id option_of(int got)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (got == (int)rows[i].id || (rows[i].letter != 0 && got == rows[i].letter))
            return rows[i].id;
    }
    return OPTION_NONE;
}

static int try_help(void)
{
    fputs("Try 'pgweir-top --help'.\n", stderr);
    return 1;
}

static int take_interval(struct options *options, const char *text)
{
    char *end = NULL;
    double usec = strtod(text, &end) * (double)WEIR_SEC;
    if (end == text || *end != '\0' || !(usec >= (double)INTERVAL_MIN) ||
        !(usec <= (double)INTERVAL_MAX)) {
        fprintf(stderr, "pgweir-top: --interval wants seconds between 0.1 and 3600, not \"%s\"\n",
                text);
        return try_help();
    }
    options->interval = llround(usec);
    return -1;
}

static int take_view(struct options *options, const char *name)
{
    options->view = view_named(name);
    if (options->view != NULL)
        return -1;
    fprintf(stderr, "pgweir-top: there is no view \"%s\"\n", name);
    return try_help();
}

/* As options_read. */
static int take(struct options *options, enum option_id id, const char *argument)
{
    switch (id) {
    case OPTION_HOST:
        options->host = argument;
        return -1;
    case OPTION_PORT:
        options->port = argument;
        return -1;
    case OPTION_USER:
        options->user = argument;
        return -1;
    case OPTION_DATABASE:
        options->database = argument;
        return -1;
    case OPTION_INTERVAL:
        return take_interval(options, argument);
    case OPTION_VIEW:
        return take_view(options, argument);
    case OPTION_ONCE:
        options->once = true;
        return -1;
    case OPTION_VERSION:
        puts("pgweir-top " WEIR_VERSION);
        return 0;
    case OPTION_HELP:
        print_help(stdout);
        return 0;
    case OPTION_NONE:
        break;
    }
    return try_help();
}

static const char *or_else(const char *variable, const char *otherwise)
{
    const char *value = getenv(variable);
    return value != NULL && *value != '\0' ? value : otherwise;
}

int options_read(struct options *options, int argc, char **argv)
{
    struct option names[ROWS + 1];
    char letters[2 * ROWS + 1];
    make_getopt(names, letters);
    *options = (struct options){
        .host = or_else("PGHOST", getenv("PGHOSTADDR") != NULL ? NULL : DEFAULT_HOST),
        .port = or_else("PGPORT", DEFAULT_PORT),
        .database = DEFAULT_DATABASE,
        .interval = 2 * WEIR_SEC,
        .view = &views[0],
    };
    int got;
    while ((got = getopt_long(argc, argv, letters, names, NULL)) != -1) {
        int status = take(options, option_of(got), optarg);
        if (status >= 0)
            return status;
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "pgweir-top: \"%s\" is no option\n", argv[optind]);
    return try_help();
}
