#include "token.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "weir/memory.h"

/* Parameters beyond have no place in any command. */
#define PARAMETER_MAX 64

static bool is_name_byte(char byte)
{
    unsigned char value = (unsigned char)byte;
    return value >= 0x80 || isalnum(value) || (byte != '\0' && strchr("_$-.@", byte) != NULL);
}

/* Comments nest, as in PostgreSQL. NULL when there is no end. */
static const char *skip_block_comment(const char *text)
{
    int depth = 0;
    do {
        if (text[0] == '/' && text[1] == '*') {
            depth++;
            text += 2;
        } else if (text[0] == '*' && text[1] == '/') {
            depth--;
            text += 2;
        } else if (*text == '\0') {
            return NULL;
        } else {
            text++;
        }
    } while (depth > 0);
    return text;
}

static const char *skip_blank(const char *text)
{
    for (;;) {
        if (isspace((unsigned char)*text)) {
            text++;
        } else if (text[0] == '-' && text[1] == '-') {
            text += strcspn(text, "\r\n");
        } else if (text[0] == '/' && text[1] == '*') {
            const char *end = skip_block_comment(text);
            if (end == NULL)
                return text;
            text = end;
        } else {
            return text;
        }
    }
}

/* A doubled quote inside stands for one. Zero: no end. */
static size_t quoted_length(const char *text)
{
    char quote = text[0];
    size_t length = 1;
    for (; text[length] != '\0'; length++) {
        if (text[length] != quote)
            continue;
        if (text[length + 1] != quote)
            return length + 1;
        length++;
    }
    return 0;
}

static size_t word_length(const char *text)
{
    size_t length = 0;
    while (is_name_byte(text[length]) && !(text[length] == '-' && text[length + 1] == '-'))
        length++;
    return length;
}

static struct token make(enum token_kind kind, const char *at, size_t length)
{
    return (struct token){.kind = kind, .at = at, .length = length};
}

struct token token_next(const char *text)
{
    text = skip_blank(text);
    if (*text == '\0')
        return make(TOKEN_END, text, 0);
    if (*text == ';')
        return make(TOKEN_SEMICOLON, text, 1);
    if (*text == '"' || *text == '\'') {
        size_t length = quoted_length(text);
        if (length == 0)
            return make(TOKEN_BROKEN, text, strlen(text));
        return make(*text == '"' ? TOKEN_QUOTED : TOKEN_STRING, text, length);
    }
    if (text[0] == '/' && text[1] == '*')
        return make(TOKEN_BROKEN, text, strlen(text));
    if (text[0] == '$' && isdigit((unsigned char)text[1]))
        return make(TOKEN_PARAMETER, text, 1 + strspn(text + 1, "0123456789"));
    size_t length = word_length(text);
    return length > 0 ? make(TOKEN_WORD, text, length) : make(TOKEN_SYMBOL, text, 1);
}

bool token_is_symbol(const struct token *token, char symbol)
{
    return token->kind == TOKEN_SYMBOL && *token->at == symbol;
}

bool token_is_word(const struct token *token, const char *word)
{
    return token->kind == TOKEN_WORD && token->length == strlen(word) &&
           strncasecmp(token->at, word, token->length) == 0;
}

bool token_ends_statement(const struct token *token)
{
    return token->kind == TOKEN_END || token->kind == TOKEN_SEMICOLON;
}

char *token_text(const struct token *token)
{
    if (token->kind != TOKEN_QUOTED && token->kind != TOKEN_STRING)
        return weir_strndup(token->at, token->length);
    char *text = weir_alloc(token->length);
    size_t length = 0;
    for (size_t i = 1; i + 1 < token->length; i++) {
        text[length++] = token->at[i];
        if (token->at[i] == token->at[0])
            i++;
    }
    return text;
}

int token_parameter(const struct token *token)
{
    long number = token->length > 5 ? 0 : strtol(token->at + 1, NULL, 10);
    return number > PARAMETER_MAX ? 0 : (int)number;
}
