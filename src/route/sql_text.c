/* Reading SQL text, as little as is needed: it only decides when to ask the server, or which name
 * a statement of SQL's own PREPARE family means. Pure functions. */
#include "sql_text.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

static bool begins_with(const uint8_t *text, size_t length, const char *word)
{
    size_t size = strlen(word);
    return length >= size && strncasecmp((const char *)text, word, size) == 0;
}

static bool is_word_byte(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
           byte == '_' || byte >= 0x80;
}

/* TEMP or TEMPORARY as a word; columns called temperature are none. */
static bool is_temporary(const uint8_t *text, size_t at, size_t length)
{
    if (at > 0 && is_word_byte(text[at - 1]))
        return false;
    size_t size = begins_with(text + at, length - at, "temporary") ? 9
                  : begins_with(text + at, length - at, "temp")    ? 4
                                                                   : 0;
    return size > 0 && (at + size == length || !is_word_byte(text[at + size]));
}

/* Locks that end with the transaction leave nothing behind. */
static bool is_session_lock(const uint8_t *text, size_t at, size_t length)
{
    return begins_with(text + at, length - at, "advisory") &&
           !begins_with(text + at, length - at, "advisory_xact");
}

bool sql_mentions_state(const uint8_t *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        switch (text[i]) {
        case 'a':
        case 'A':
            if (is_session_lock(text, i, length))
                return true;
            break;
        case 's':
        case 'S':
            if (begins_with(text + i, length - i, "set_config"))
                return true;
            break;
        case 't':
        case 'T':
            if (is_temporary(text, i, length))
                return true;
            break;
        default:
            break;
        }
    }
    return false;
}

/* Skips white space and comments. */
static const char *skip_space(const char *at, const char *end)
{
    while (at < end) {
        if (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r' || *at == '\f') {
            at++;
        } else if (end - at >= 2 && at[0] == '-' && at[1] == '-') {
            while (at < end && *at != '\n')
                at++;
        } else if (end - at >= 2 && at[0] == '/' && at[1] == '*') {
            int depth = 0;
            do {
                if (end - at >= 2 && at[0] == '/' && at[1] == '*') {
                    depth++;
                    at += 2;
                } else if (end - at >= 2 && at[0] == '*' && at[1] == '/') {
                    depth--;
                    at += 2;
                } else {
                    at++;
                }
            } while (depth > 0 && at < end);
        } else {
            break;
        }
    }
    return at;
}

static bool take_word(const char **position, const char *end, const char *word)
{
    size_t length = strlen(word);
    const char *at = *position;
    if ((size_t)(end - at) < length || strncasecmp(at, word, length) != 0)
        return false;
    if ((size_t)(end - at) > length) {
        char next = at[length];
        if (next == '_' || next == '$' || (next >= '0' && next <= '9') ||
            ((next | 0x20) >= 'a' && (next | 0x20) <= 'z'))
            return false;
    }
    *position = skip_space(at + length, end);
    return true;
}

/* An SQL identifier as PostgreSQL reads it: folded to lower case unless quoted. */
static size_t take_identifier(const char *at, const char *end, char *name, size_t size)
{
    size_t length = 0;
    if (at < end && *at == '"') {
        for (at++; at < end; at++) {
            if (*at == '"' && (at + 1 >= end || at[1] != '"'))
                break;
            if (*at == '"')
                at++;
            if (length + 1 < size)
                name[length++] = *at;
        }
    } else {
        for (; at < end; at++) {
            char c = *at;
            bool upper = c >= 'A' && c <= 'Z';
            if (!upper && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_' &&
                c != '$' && !(c & 0x80))
                break;
            if (length + 1 < size)
                name[length++] = upper ? (char)(c | 0x20) : c;
        }
    }
    name[length] = '\0';
    return length;
}

/* EXPLAIN and CREATE TABLE AS may have an EXECUTE inside. */
static bool find_execute(const char **position, const char *end)
{
    const char *at = *position;
    if (!take_word(&at, end, "explain") && !take_word(&at, end, "create"))
        return false;
    for (; end - at > 7; at++) {
        bool begins_word = at[-1] == ' ' || at[-1] == ')' || at[-1] == '\n' || at[-1] == '\t';
        if (begins_word && take_word(&at, end, "execute")) {
            *position = at;
            return true;
        }
    }
    return false;
}

enum sql_use sql_read(const char *text, size_t length, char *name, size_t size)
{
    const char *end = text + length, *at = skip_space(text, end);
    enum sql_use use = SQL_USES;
    /* The texts of ordinary work are told apart at once. */
    if (at == end || strchr("cCdDeEpP", *at) == NULL)
        return SQL_NOTHING;
    if (take_word(&at, end, "discard"))
        return SQL_DISCARDS;
    if (take_word(&at, end, "deallocate")) {
        use = SQL_DEALLOCATES;
        take_word(&at, end, "prepare");
    } else if (take_word(&at, end, "prepare")) {
        use = SQL_PREPARES;
    } else if (!take_word(&at, end, "execute") && !find_execute(&at, end)) {
        return SQL_NOTHING;
    }
    take_identifier(at, end, name, size);
    return use;
}
