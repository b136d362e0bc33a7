/* Lines of fields of words: the form that PostgreSQL's authentication files share, with its inclusion
 * of other files. */
#ifndef WEIR_AUTH_LINES_H
#define WEIR_AUTH_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "weir/buffer.h"
#include "weir/hba.h"

/* Text of problems, a line each. */
struct weir_problems {
    struct weir_buffer text;
    size_t count;
};
/* `line` 0 is the file as a whole. Always false, for who returns at once. */
bool weir_problem(struct weir_problems *problems, const char *file, size_t line, const char *format,
                  ...) weir_printf(4, 5);
/* All of them in one text to be freed, NULL when there are none. Empties `problems`. */
char *weir_problems_take(struct weir_problems *problems);

struct weir_word {
    char *text;
    bool quoted; /* began with a quote: then it is no keyword and names no file */
};

struct weir_field {
    struct weir_word *words; /* at least one */
    size_t count;
};

struct weir_line {
    const char *file; /* one of weir_lines.files */
    size_t number;    /* of the first line of those that continue it */
    struct weir_field *fields;
    size_t count;
};

struct weir_lines {
    struct weir_line *items;
    size_t count;
    char **files; /* the names of all that were read */
    size_t file_count;
};

/* Appends the lines of `path` and of what it includes. What is wrong goes to `problems`. */
void weir_lines_read(struct weir_lines *lines, const struct weir_hba_source *source,
                     const char *path, struct weir_problems *problems);
void weir_lines_clear(struct weir_lines *lines);
/* The names of files go to a new owner and are no more cleared with the lines. */
char **weir_lines_take_files(struct weir_lines *lines, size_t *count);

static inline bool weir_word_is(const struct weir_word *word, const char *keyword)
{
    return !word->quoted && __builtin_strcmp(word->text, keyword) == 0;
}

#endif
