#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot.h"
#include "weir/memory.h"

static const char *skip_space(const char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    return text;
}

/* Reads a value into `out`, which has room for all of it. Returns what follows it, NULL when its
 * quote is not closed. */
static const char *read_value(const char *text, bool backslash, char *out)
{
    bool quoted = *text == '\'';
    if (quoted)
        text++;
    for (;;) {
        if (*text == '\0' || (!quoted && isspace((unsigned char)*text))) {
            *out = '\0';
            return quoted ? NULL : text;
        }
        if (quoted && *text == '\'') {
            if (text[1] != '\'') {
                *out = '\0';
                return text + 1;
            }
            text++;
        } else if (backslash && *text == '\\' && text[1] != '\0') {
            text++;
        }
        *out++ = *text++;
    }
}

enum weir_token_result weir_token_next(const char **cursor, bool backslash,
                                       struct weir_token *token, const char **problem)
{
    const char *text = skip_space(*cursor);
    *token = (struct weir_token){0};
    if (*text == '\0')
        return WEIR_TOKEN_END;
    size_t length = 0;
    while (text[length] != '\0' && text[length] != '=' && !isspace((unsigned char)text[length]))
        length++;
    const char *value = skip_space(text + length);
    if (*value != '=' || length == 0) {
        *problem = "a word without \"=\" (a value with spaces goes in single quotes)";
        return WEIR_TOKEN_BAD;
    }
    value = skip_space(value + 1);
    token->value = weir_alloc(strlen(value) + 1);
    const char *rest = read_value(value, backslash, token->value);
    if (rest == NULL) {
        weir_token_clear(token);
        *problem = "a single quote is not closed";
        return WEIR_TOKEN_BAD;
    }
    token->name = weir_strndup(text, length);
    *cursor = rest;
    return WEIR_TOKEN_GOOD;
}

void weir_token_clear(struct weir_token *token)
{
    free(token->name);
    weir_free_secret(token->value);
    *token = (struct weir_token){0};
}

static void append(struct weir_buffer *out, const char *bytes, size_t length)
{
    weir_require(weir_buffer_append(out, bytes, length));
}

void weir_token_append(struct weir_buffer *out, const char *name, const char *value)
{
    append(out, " ", 1);
    append(out, name, strlen(name));
    append(out, "='", 2);
    for (; *value != '\0'; value++) {
        if (*value == '\'' || *value == '\\')
            append(out, "\\", 1);
        append(out, value, 1);
    }
    append(out, "'", 1);
}
