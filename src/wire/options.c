/* The startup parameter `options`: a command line for PostgreSQL's backend, which it splits by
 * pg_split_opts and reads by getopt. A word may hold several switches (-e -S8MB is -eS8MB), so the
 * place between two calls may be inside a word. */
#include "weir/wire.h"

#include <string.h>

/* The backend's isspace: PostgreSQL's supported server locales add nothing outside ASCII. */
static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static void skip_space(const char **at)
{
    while (is_space(**at)) {
        (*at)++;
    }
}

/* The next byte of a word, without its backslash; 0 at the end of the word. A backslash that ends
 * the text stands for nothing. */
static char take_byte(const char **at)
{
    if (**at == '\\') {
        (*at)++;
    } else if (is_space(**at)) {
        return 0;
    }
    const char byte = **at;
    if (byte != 0) {
        (*at)++;
    }
    return byte;
}

/* Copies the rest of the word with its terminator and returns the place of the terminator. Never
 * writes more than was read, terminator aside. */
static char *copy_word(char *to, const char **at)
{
    do {
        *to = take_byte(at);
    } while (*to++ != 0);
    return to - 1;
}

/* Names the offending word, and the next one when the switch had taken it as its argument. */
static int refuse(struct weir_options *options, char *scratch, const char **name,
                  const char **value)
{
    const char *at = options->word;
    char *end = copy_word(scratch, &at);
    if (at < options->at) {
        skip_space(&at);
        *end = ' ';
        copy_word(end + 1, &at);
    }
    options->at = at;
    options->word = NULL;
    *name = scratch;
    *value = NULL;
    return -1;
}

/* The argument of a switch: the rest of its word or else the next word; false when there is none.
 */
static bool take_argument(struct weir_options *options, char *scratch)
{
    const char *at = options->at;
    if (take_byte(&at) == 0) {
        skip_space(&at);
        if (*at == 0) {
            return false;
        }
        options->at = at;
    }
    copy_word(scratch, &options->at);
    return true;
}

/* name=value, with - for _ in the name; the value may be empty, the name may not. */
static bool split_setting(char *scratch, const char **name, const char **value)
{
    char *equals = strchr(scratch, '=');
    if (equals == NULL || equals == scratch) {
        return false;
    }
    *equals = '\0';
    for (char *byte = scratch; *byte != 0; byte++) {
        if (*byte == '-') {
            *byte = '_';
        }
    }
    *name = scratch;
    *value = equals + 1;
    return true;
}

/* -f forbids one kind of plan; like PostgreSQL, only the first letter counts. */
static const char *find_plan_setting(const char *letter)
{
    switch (*letter) {
    case 's':
        return "enable_seqscan";
    case 'i':
        return "enable_indexscan";
    case 'o':
        return "enable_indexonlyscan";
    case 'b':
        return "enable_bitmapscan";
    case 't':
        return "enable_tidscan";
    case 'n':
        return "enable_nestloop";
    case 'm':
        return "enable_mergejoin";
    case 'h':
        return "enable_hashjoin";
    default:
        return NULL;
    }
}

/* -t shows timings of the parser, planner or executor. */
static const char *find_statistics_setting(const char *stage)
{
    if (stage[0] == 'p' && stage[1] == 'a') {
        return "log_parser_stats";
    }
    if (stage[0] == 'p' && stage[1] == 'l') {
        return "log_planner_stats";
    }
    return stage[0] == 'e' ? "log_executor_stats" : NULL;
}

/* Switches which a session can set by SET too. The others stand for settings of the whole server or
 * of its start, or for nothing at all. */
static bool read_switch(struct weir_options *options, char letter, char *scratch, const char **name,
                        const char **value)
{
    switch (letter) {
    case 'c':
    case '-':
        return take_argument(options, scratch) && split_setting(scratch, name, value);
    case 'S': /* PostgreSQL reads a bare number as kB, also in SET work_mem */
        *name = "work_mem";
        *value = scratch;
        return take_argument(options, scratch);
    case 'f':
        *value = "false";
        return take_argument(options, scratch) && (*name = find_plan_setting(scratch)) != NULL;
    case 't':
        *value = "true";
        return take_argument(options, scratch) &&
               (*name = find_statistics_setting(scratch)) != NULL;
    case 'e':
        *name = "datestyle";
        *value = "euro";
        return true;
    case 's':
        *name = "log_statement_stats";
        *value = "true";
        return true;
    case 'O':
        *name = "allow_system_table_mods";
        *value = "true";
        return true;
    default:
        return false;
    }
}

/* Enters the next word and its leading dash. 1 when a switch follows, 0 at the end of the text, -1
 * for a word that is no switch. */
static int enter_word(struct weir_options *options)
{
    skip_space(&options->at);
    if (*options->at == 0) {
        return 0;
    }
    options->word = options->at;
    if (take_byte(&options->at) != '-') {
        return -1;
    }

    const char *ahead = options->at;
    const char first = take_byte(&ahead);
    if (first == 0) {
        return -1;
    }
    /* A lone -- ends the switches; it is harmless when nothing follows. */
    if (first == '-' && take_byte(&ahead) == 0) {
        skip_space(&ahead);
        if (*ahead != 0) {
            return -1;
        }
        options->at = ahead;
        options->word = NULL;
        return 0;
    }
    return 1;
}

int weir_options_next(struct weir_options *options, char *scratch, const char **name,
                      const char **value)
{
    char letter = 0;
    if (options->word != NULL) {
        letter = take_byte(&options->at);
    }
    if (letter == 0) {
        options->word = NULL;
        const int entered = enter_word(options);
        if (entered == 0) {
            return 0;
        }
        if (entered < 0) {
            return refuse(options, scratch, name, value);
        }
        letter = take_byte(&options->at);
    }
    if (!read_switch(options, letter, scratch, name, value)) {
        return refuse(options, scratch, name, value);
    }
    return 1;
}
