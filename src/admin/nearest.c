/* The right word for a mistyped one. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "command.h"

#define WORD_MAX 32

static size_t least(size_t a, size_t b, size_t c)
{
    size_t smaller = a < b ? a : b;
    return smaller < c ? smaller : c;
}

/* Insertions, deletions and replacements that turn one word into the other, case ignored. */
static size_t distance(const char *left, const char *right)
{
    size_t width = strlen(right);
    size_t row[WORD_MAX + 1];
    for (size_t i = 0; i <= width; i++)
        row[i] = i;
    for (size_t i = 0; left[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < width; j++) {
            bool same = tolower((unsigned char)left[i]) == tolower((unsigned char)right[j]);
            size_t above = row[j + 1];
            row[j + 1] = least(above + 1, row[j] + 1, diagonal + (same ? 0 : 1));
            diagonal = above;
        }
    }
    return row[width];
}

/* Keeps `candidate` when it is nearer than the best one so far. */
static void consider(const char *word, const char *candidate, const char **best, size_t *nearest)
{
    if (strlen(word) > WORD_MAX || strlen(candidate) > WORD_MAX)
        return;
    size_t far = distance(word, candidate);
    if (far < *nearest) {
        *nearest = far;
        *best = candidate;
    }
}

/* More wrong letters than this are another word. */
static size_t patience(const char *word)
{
    return strlen(word) / 3 + 2;
}

const char *nearest_command(const char *word)
{
    const char *best = NULL;
    size_t nearest = patience(word);
    for (size_t i = 0; i < command_row_count; i++) {
        if (command_rows[i].synopsis != NULL)
            consider(word, command_rows[i].word, &best, &nearest);
    }
    return best;
}

const char *nearest_table(const char *word)
{
    const char *best = NULL;
    size_t nearest = patience(word);
    for (size_t i = 0; i < table_count; i++)
        consider(word, tables[i].name, &best, &nearest);
    return best;
}
