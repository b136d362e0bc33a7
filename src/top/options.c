#include "options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/option.h"

#define DEFAULT_HOST     "127.0.0.1"
#define DEFAULT_PORT     "6432"
#define DEFAULT_DATABASE "pgweir"

enum option_id {
    OPTION_NONE = WEIR_OPTION_NONE,
#define WEIR_TOP_OPTION(id, letter, name, argument, help) OPTION_##id,
#include "weir/options.def"
#undef WEIR_TOP_OPTION
};

static const struct weir_option rows[] = {
#define WEIR_TOP_OPTION(id, letter, name, argument, help)                                          \
    {OPTION_##id, letter, name, WEIR_ARGUMENT_##argument, help},
#include "weir/options.def"
#undef WEIR_TOP_OPTION
    {0},
};

static void print_help(FILE *out)
{
    fputs("Usage: pgweir-top [options]\n"
          "\n"
          "Shows again and again what a running pgweir does, from its console.\n"
          "\n",
          out);
    weir_option_print(rows, out);
    fputs("\nViews:\n", out);
    for (size_t i = 0; i < view_count; i++)
        fprintf(out, "  %-11s %s\n", views[i].name, views[i].help);
    fputs(
        "\nThe key ? lists the keys. PGHOST, PGPORT, PGUSER, PGPASSWORD and what else libpq reads\n"
        "from the environment hold, and so does ~/.pgpass. Without them it connects to\n"
        "host " DEFAULT_HOST ", port " DEFAULT_PORT ".\n",
        out);
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
    *options = (struct options){
        .host = or_else("PGHOST", getenv("PGHOSTADDR") != NULL ? NULL : DEFAULT_HOST),
        .port = or_else("PGPORT", DEFAULT_PORT),
        .database = DEFAULT_DATABASE,
        .interval = 2 * WEIR_SEC,
        .view = &views[0],
    };
    int id;
    const char *argument;
    while ((id = weir_option_getopt(rows, argc, argv, &argument)) != -1) {
        int status = take(options, (enum option_id)id, argument);
        if (status >= 0)
            return status;
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "pgweir-top: \"%s\" is no option\n", argv[optind]);
    return try_help();
}
