/* Command line options of a program, from a table of them (weir/options.def). */
#ifndef WEIR_OPTION_H
#define WEIR_OPTION_H

#include <stdio.h>

enum weir_option_argument {
    WEIR_ARGUMENT_NONE,
    WEIR_ARGUMENT_FILE,
    WEIR_ARGUMENT_USER, /* of the system */
    WEIR_ARGUMENT_HOST,
    WEIR_ARGUMENT_TEXT,
};

/* Identifiers begin behind this one, which is beyond all letters. */
#define WEIR_OPTION_NONE 256

struct weir_option {
    int id;
    char letter; /* 0: none */
    const char *name;
    enum weir_option_argument argument;
    const char *help; /* NULL: not shown */
};
/* A table ends with a row without name. */

/* "FILE"; "" for none. */
const char *weir_option_argument_name(enum weir_option_argument argument);
/* A line for each that is shown, as --help has them. */
void weir_option_print(const struct weir_option *options, FILE *out);
/* The next option of the command line, by getopt_long, which keeps the place and complains about what
 * is none of them (WEIR_OPTION_NONE); -1: there is no more, the rest begins at optind. *argument is
 * what follows, or NULL. */
int weir_option_getopt(const struct weir_option *options, int argc, char **argv,
                       const char **argument);

#endif
