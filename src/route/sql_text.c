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

/* TEMP or TEMPORARY as a word; columns called temperature are none. */
static bool is_temporary(const uint8_t *text, size_t at, size_t length)
{
    if (at > 0 && sql_is_word_byte(text[at - 1]))
        return false;
    size_t size = begins_with(text + at, length - at, "temporary") ? 9
                  : begins_with(text + at, length - at, "temp")    ? 4
                                                                   : 0;
    return size > 0 && (at + size == length || !sql_is_word_byte(text[at + size]));
}

/* Locks that end with the transaction leave nothing behind. */
static bool is_session_lock(const uint8_t *text, size_t at, size_t length)
{
    return begins_with(text + at, length - at, "advisory") &&
           !begins_with(text + at, length - at, "advisory_xact");
}

/* A word that matters may begin in one of this many bytes, which costs less to know than where. Two
 * more are read. */
#define BLOCK 32

static bool is_of_interest(const uint8_t *at)
{
    uint8_t any = 0;
    for (int i = 0; i < BLOCK; i++) {
        uint8_t first = at[i] | 0x20, second = at[i + 1] | 0x20, third = at[i + 2] | 0x20;
        any |= (uint8_t)(((first == 's') & (second == 'e') & (third == 't')) |
                         ((first == 't') & (second == 'e') & (third == 'm')) |
                         ((first == 'a') & (second == 'd') & (third == 'v')) |
                         ((first == 'c') & (second == 'u') & (third == 'r')) |
                         ((first == 'l') & (second == 'a') & (third == 's')) |
                         ((first == 'n') & (second == 'e') & (third == 'x')));
    }
    return any != 0;
}

static unsigned read_setting(struct sql_walk *walk, size_t at)
{
    struct sql_setting setting = {.kind = SQL_ORDINARY};
    unsigned mentions = sql_read_setting(walk, at, &setting);
    bool seed =
        mentions & SQL_SETS && setting.kind == SQL_ORDINARY && strcmp(setting.name, "seed") == 0;
    return mentions | (seed ? SQL_SEED : 0u);
}

/* What a word that begins at `at` does. */
static unsigned mention_at(struct sql_walk *walk, size_t at, unsigned known)
{
    const uint8_t *text = walk->text;
    switch (text[at] | 0x20) {
    case 'c':
        return begins_with(text + at, walk->length - at, "currval") ? SQL_CURRENT : 0;
    case 'l':
        return begins_with(text + at, walk->length - at, "lastval") ? SQL_CURRENT : 0;
    case 'n':
        return begins_with(text + at, walk->length - at, "nextval") ? SQL_SEQUENCE : 0;
    case 'a':
        return is_session_lock(text, at, walk->length) ? SQL_STATE : 0;
    case 't':
        return is_temporary(text, at, walk->length) ? SQL_STATE : 0;
    case 's':
        if (!begins_with(text + at, walk->length - at, "set"))
            return 0;
        if (begins_with(text + at, walk->length - at, "setseed"))
            return SQL_SEED;
        if (begins_with(text + at, walk->length - at, "setval"))
            return SQL_SEQUENCE;
        /* Another call tells nothing new. */
        if (walk->length - at > 3 && text[at + 3] == '_' && known & SQL_CUSTOM && known & SQL_STATE)
            return 0;
        return read_setting(walk, at);
    default:
        return 0;
    }
}

unsigned sql_mentions(const uint8_t *text, size_t length)
{
    struct sql_walk walk = {0};
    unsigned mentions = 0;
    for (size_t block = 0; block < length && mentions != SQL_MENTIONS_ALL; block += BLOCK) {
        size_t left = length - block;
        if (left < BLOCK + 2) {
            uint8_t last[BLOCK + 2] = {0};
            memcpy(last, text + block, left);
            if (!is_of_interest(last))
                continue;
        } else if (!is_of_interest(text + block)) {
            continue;
        }
        if (walk.text == NULL)
            walk = sql_walk_over(text, length);
        for (size_t i = 0; i < BLOCK && i < left; i++)
            mentions |= mention_at(&walk, block + i, mentions);
    }
    return mentions;
}

/* Skips white space and comments. */
const char *sql_skip_space(const char *at, const char *end)
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

bool sql_take_word(const char **position, const char *end, const char *word)
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
    *position = sql_skip_space(at + length, end);
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
    if (!sql_take_word(&at, end, "explain") && !sql_take_word(&at, end, "create"))
        return false;
    for (; end - at > 7; at++) {
        bool begins_word = at[-1] == ' ' || at[-1] == ')' || at[-1] == '\n' || at[-1] == '\t';
        if (begins_word && sql_take_word(&at, end, "execute")) {
            *position = at;
            return true;
        }
    }
    return false;
}

enum sql_use sql_read(const char *text, size_t length, char *name, size_t size)
{
    const char *end = text + length, *at = sql_skip_space(text, end);
    enum sql_use use = SQL_USES;
    /* The texts of ordinary work are told apart at once. */
    if (at == end || strchr("cCdDeEpP", *at) == NULL)
        return SQL_NOTHING;
    if (sql_take_word(&at, end, "discard"))
        return SQL_DISCARDS;
    if (sql_take_word(&at, end, "deallocate")) {
        use = SQL_DEALLOCATES;
        sql_take_word(&at, end, "prepare");
    } else if (sql_take_word(&at, end, "prepare")) {
        use = SQL_PREPARES;
    } else if (!sql_take_word(&at, end, "execute") && !find_execute(&at, end)) {
        return SQL_NOTHING;
    }
    take_identifier(at, end, name, size);
    return use;
}
