#include "pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "weir/memory.h"
#include "weir/require.h"

/* Steps and memory of one match: about a millisecond. Names come from clients that have proven
 * nothing yet. */
#define STEPS_MAX     100000
#define KIBIBYTES_MAX 1024

struct weir_pattern {
    pcre2_code *code;
    pcre2_match_context *limits;
    pcre2_match_data *found;
    uint32_t groups;
};

/* --- what is taken ---------------------------------------------------------------------- */

static bool is_digit(char character)
{
    return character >= '0' && character <= '9';
}

static bool is_letter(char character)
{
    char lower = (char)(character | 0x20);
    return lower >= 'a' && lower <= 'z';
}

/* An escape at `at` (the backslash) that means the same in both; its length, else 0. References back
 * do not, when what they refer to is repeated. */
static size_t take_escape(const char *at, bool inside_brackets)
{
    char letter = at[1];
    if (letter == '\0')
        return 0;
    if (is_digit(letter))
        return 0;
    if (is_letter(letter))
        return strchr(inside_brackets ? "dswafnrt" : "dswDSWafnrt", letter) != NULL ? 2 : 0;
    return (unsigned char)letter < 0x80 ? 2 : 0;
}

static const char *judge_brackets(const char **cursor)
{
    const char *at = *cursor + 1;
    if (*at == '^')
        at++;
    if (*at == ']')
        at++;
    while (*at != ']') {
        if (*at == '\0')
            return "brackets are not balanced";
        if (*at == '[' && (at[1] == '.' || at[1] == '='))
            return "collating elements and equivalence classes are not supported";
        if (*at == '[' && at[1] == ':') {
            const char *end = strstr(at + 2, ":]");
            if (end == NULL || !is_letter(at[2]))
                return "unknown character class";
            at = end + 2;
        } else if (*at == '\\') {
            size_t length = take_escape(at, true);
            if (length == 0)
                return "this escape is not supported inside brackets";
            at += length;
        } else {
            at++;
        }
    }
    *cursor = at + 1;
    return NULL;
}

/* {m}, {m,} or {m,n}; its length, else 0. */
static size_t bound_length(const char *at)
{
    const char *from = at++;
    while (is_digit(*at))
        at++;
    if (*at == ',')
        at++;
    while (is_digit(*at))
        at++;
    return *at == '}' ? (size_t)(at + 1 - from) : 0;
}

/* NULL with *cursor behind a piece of the expression and *quantifier saying whether it was one. */
static const char *judge_piece(const char **cursor, bool *quantifier)
{
    const char *at = *cursor;
    bool before = *quantifier;
    *quantifier = false;
    size_t length = 1;
    if (*at == '[')
        return judge_brackets(cursor);
    if (*at == '\\') {
        length = take_escape(at, false);
        if (length == 0)
            return "this escape is not supported";
    } else if (*at == '(' && (at[1] == '*' || (at[1] == '?' && strchr(":=!", at[2]) == NULL))) {
        return "this form of parentheses is not supported";
    } else if (*at == '*' || *at == '+' || (*at == '{' && is_digit(at[1]))) {
        if (before)
            return "a quantifier follows another one";
        *quantifier = true;
        length = *at == '{' ? bound_length(at) : 1;
        if (length == 0)
            return "braces are not balanced";
    } else if (*at == '?') {
        *quantifier = !before; /* behind another one it makes that one prefer less */
    }
    *cursor = at + length;
    return NULL;
}

static const char *judge(const char *text)
{
    bool quantifier = false;
    if (strncmp(text, "***", 3) == 0)
        return "directives in front (***) are not supported";
    while (*text != '\0') {
        const char *problem = judge_piece(&text, &quantifier);
        if (problem != NULL)
            return problem;
    }
    return NULL;
}

/* --- the face ------------------------------------------------------------------------------ */

struct weir_pattern *weir_pattern_compile(const char *text, char **problem)
{
    *problem = NULL;
    const char *reason = judge(text);
    if (reason != NULL) {
        *problem = weir_strdup(reason);
        return NULL;
    }
    int error = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
                      PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF, &error, &offset, NULL);
    if (code == NULL) {
        PCRE2_UCHAR message[128];
        pcre2_get_error_message(error, message, sizeof(message));
        *problem = weir_strdup((const char *)message);
        return NULL;
    }
    struct weir_pattern *pattern = weir_alloc(sizeof(*pattern));
    pattern->code = code;
    pattern->limits = pcre2_match_context_create(NULL);
    pattern->found = pcre2_match_data_create_from_pattern(code, NULL);
    weir_require(pattern->limits != NULL && pattern->found != NULL);
    pcre2_set_match_limit(pattern->limits, STEPS_MAX);
    pcre2_set_heap_limit(pattern->limits, KIBIBYTES_MAX);
    pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &pattern->groups);
    return pattern;
}

void weir_pattern_destroy(struct weir_pattern *pattern)
{
    if (pattern == NULL)
        return;
    pcre2_match_data_free(pattern->found);
    pcre2_match_context_free(pattern->limits);
    pcre2_code_free(pattern->code);
    free(pattern);
}

size_t weir_pattern_groups(const struct weir_pattern *pattern)
{
    return pattern->groups;
}

enum weir_pattern_result weir_pattern_match(const struct weir_pattern *pattern, const char *subject,
                                            char **first)
{
    if (first != NULL)
        *first = NULL;
    int pairs = pcre2_match(pattern->code, (PCRE2_SPTR)subject, strlen(subject), 0, 0,
                            pattern->found, pattern->limits);
    if (pairs == PCRE2_ERROR_NOMATCH)
        return WEIR_PATTERN_NO;
    if (pairs < 0)
        return WEIR_PATTERN_TOO_DEAR;
    const PCRE2_SIZE *places = pcre2_get_ovector_pointer(pattern->found);
    if (first != NULL && pairs > 1 && places[2] != PCRE2_UNSET)
        *first = weir_strndup(subject + places[2], places[3] - places[2]);
    return WEIR_PATTERN_YES;
}
