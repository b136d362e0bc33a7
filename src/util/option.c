#include "weir/option.h"

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "weir/memory.h"

const char *weir_option_argument_name(enum weir_option_argument argument)
{
    static const char *const names[] = {
        [WEIR_ARGUMENT_NONE] = "",      [WEIR_ARGUMENT_FILE] = "FILE",
        [WEIR_ARGUMENT_USER] = "NAME",  [WEIR_ARGUMENT_HOST] = "HOST",
        [WEIR_ARGUMENT_TEXT] = "VALUE",
    };
    return names[argument];
}

void weir_option_print(const struct weir_option *options, FILE *out)
{
    for (const struct weir_option *option = options; option->name != NULL; option++) {
        char text[32];
        if (option->help == NULL)
            continue;
        snprintf(text, sizeof(text), "--%s %s", option->name,
                 weir_option_argument_name(option->argument));
        if (option->letter != 0)
            fprintf(out, "  -%c, %-18s %s\n", option->letter, text, option->help);
        else
            fprintf(out, "      %-18s %s\n", text, option->help);
    }
}

static size_t count(const struct weir_option *options)
{
    size_t found = 0;
    while (options[found].name != NULL)
        found++;
    return found;
}

/* Long names alone are told by their id. `names` and `letters` have room for all. */
static void make_getopt(const struct weir_option *options, struct option *names, char *letters)
{
    for (const struct weir_option *option = options; option->name != NULL; option++) {
        bool argument = option->argument != WEIR_ARGUMENT_NONE;
        *names++ = (struct option){option->name, argument, NULL, option->id};
        if (option->letter == 0)
            continue;
        *letters++ = option->letter;
        if (argument)
            *letters++ = ':';
    }
    *names = (struct option){0};
    *letters = '\0';
}

int weir_option_getopt(const struct weir_option *options, int argc, char **argv,
                       const char **argument)
{
    size_t rows = count(options);
    struct option *names = weir_alloc((rows + 1) * sizeof(*names));
    char *letters = weir_alloc(2 * rows + 1);
    make_getopt(options, names, letters);
    int got = getopt_long(argc, argv, letters, names, NULL);
    free(names);
    free(letters);
    *argument = optarg;
    if (got == -1)
        return -1;
    for (const struct weir_option *option = options; option->name != NULL; option++) {
        if (got == option->id || (option->letter != 0 && got == option->letter))
            return option->id;
    }
    return WEIR_OPTION_NONE;
}
