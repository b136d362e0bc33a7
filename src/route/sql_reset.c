/* Reading the texts with which pools of drivers bring a session back to its beginning (asyncpg's
 * release, DISCARD ALL, psycopg's reset). They undo and do nothing else, so PostgreSQL need not be asked
 * what has become of the session. A text with anything else in it is none of them. Pure functions. */
#include <string.h>
#include <strings.h>

#include "sql_text.h"

/* So long a text is looked at. */
#define TEXT_MAX 512

/* As asyncpg says UNLISTEN where it may be a standby. */
static const char *const unlisten_if_needed[] = {
    "do",   "$$",       "begin", "perform", "*",   "from", "pg_listening_channels",
    "(",    ")",        "limit", "1",       ";",   "if",   "found",
    "then", "unlisten", "*",     ";",       "end", "if",   ";",
    "end",  ";",        "$$",    NULL,
};

static const struct {
    size_t length; /* of the first word */
    const char *const words[8];
    unsigned resets;
} statements[] = {
#define STATEMENT(resets, first, ...)                                                              \
    {                                                                                              \
        sizeof(first) - 1, {first, __VA_ARGS__, NULL}, resets                                      \
    }
    STATEMENT(SQL_RESETS_LOCKS, "select", "pg_advisory_unlock_all", "(", ")"),
    STATEMENT(SQL_RESETS_LOCKS, "select", "pg_catalog", ".", "pg_advisory_unlock_all", "(", ")"),
    STATEMENT(SQL_RESETS_CURSORS, "close", "all"),
    STATEMENT(SQL_RESETS_LISTEN, "unlisten", "*"),
    STATEMENT(SQL_RESETS_SETTINGS, "reset", "all"),
    STATEMENT(SQL_RESETS_ALL, "discard", "all"),
    STATEMENT(SQL_RESETS_NOTHING, "discard", "plans"),
    STATEMENT(SQL_RESETS_NOTHING, "discard", "sequences"), /* its tag tells */
    STATEMENT(SQL_RESETS_NOTHING, "rollback", NULL),
    STATEMENT(SQL_RESETS_NOTHING, "abort", NULL),
#undef STATEMENT
};

/* The length of the word, number, sign or $$ at `at`. */
static size_t token_length(const char *at, const char *end)
{
    size_t length = 0;
    if (end - at >= 2 && at[0] == '$' && at[1] == '$')
        return 2;
    while (at + length < end && sql_is_word_byte((uint8_t)at[length]))
        length++;
    return length > 0 ? length : 1;
}

/* Steps over the words, if all are there. */
static bool take_words(const char **position, const char *end, const char *const *words)
{
    const char *at = *position;
    for (; *words != NULL; words++) {
        size_t length = at < end ? token_length(at, end) : 0;
        if (length == 0 || length != strlen(*words) || strncasecmp(at, *words, length) != 0)
            return false;
        at = sql_skip_space(at + length, end);
    }
    *position = at;
    return true;
}

static unsigned take_statement(const char **position, const char *end)
{
    size_t length = token_length(*position, end);
    char first = (char)(**position | 0x20);
    if (first == 'd' && length == 2 && take_words(position, end, unlisten_if_needed))
        return SQL_RESETS_LISTEN;
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++)
        if (statements[i].length == length && statements[i].words[0][0] == first &&
            take_words(position, end, statements[i].words))
            return statements[i].resets;
    return 0;
}

unsigned sql_resets(const uint8_t *text, size_t length)
{
    const char *at = (const char *)text, *end = at + length;
    unsigned resets = 0;
    if (length == 0 || length > TEXT_MAX)
        return 0;
    for (at = sql_skip_space(at, end); at < end;) {
        if (strchr("sScCuUrRdDaA;", *at) == NULL)
            return 0;
        if (*at != ';') {
            unsigned more = take_statement(&at, end);
            if (more == 0 || (at < end && *at != ';'))
                return 0;
            resets |= more;
        }
        if (at < end)
            at = sql_skip_space(at + 1, end);
    }
    return resets;
}
