/* The words of the console's language: pure, over text that ends with a zero byte. */
#ifndef WEIR_ADMIN_TOKEN_H
#define WEIR_ADMIN_TOKEN_H

#include <stdbool.h>
#include <stddef.h>

enum token_kind {
    TOKEN_END,       /* of the text */
    TOKEN_SEMICOLON, /* of the statement */
    TOKEN_WORD,      /* letters, digits, _ $ - . @ and whatever is not ASCII: names and numbers */
    TOKEN_QUOTED,    /* "name" */
    TOKEN_STRING,    /* 'text' */
    TOKEN_PARAMETER, /* $1 */
    TOKEN_SYMBOL,    /* any other character */
    TOKEN_BROKEN,    /* a quote or a comment without end */
};

struct token {
    enum token_kind kind;
    const char *at; /* with its quotes */
    size_t length;
};

/* The token behind white space and comments at `text`. */
struct token token_next(const char *text);
static inline const char *token_end(const struct token *token)
{
    return token->at + token->length;
}
bool token_is_symbol(const struct token *token, char symbol);
/* A word, in any case. */
bool token_is_word(const struct token *token, const char *word);
/* Nothing more belongs to the statement. */
bool token_ends_statement(const struct token *token);
/* The name or text that it stands for, without quotes, in fresh memory. */
char *token_text(const struct token *token);
/* N of the parameter $N; 0 when it is too large. */
int token_parameter(const struct token *token);

#endif
