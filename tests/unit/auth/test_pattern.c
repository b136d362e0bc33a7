/* Regular expressions: what is taken, what is refused because PostgreSQL would read it otherwise. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "pattern.h"

static const char *const taken[] = {
    "",          "abc",        "^a.b$",  "a|b",    "(a|b)+", "a*?",         "a{2}",
    "a{2,}",     "a{2,3}?",    "[abc]",  "[^]a]",  "[]a]",   "[[:alpha:]]", "[\\]a]",
    "\\d\\s\\w", "\\.\\*\\\\", "(?:a)b", "a(?=b)", "a(?!b)", "{a}",         "[a-z0-9_]",
    "\\D\\S\\W", "[\\d\\-]",   "a?",     "(a?)*",
};

static const char *const refused[] = {
    "(a)\\1",  "***=abc", "***:abc", "\\",      "\\y",     "\\m",     "\\M",     "\\A",
    "\\Z",     "\\b",     "\\B",     "\\Q.\\E", "\\x41",   "\\u0041", "\\0",     "\\12",
    "\\cA",    "\\pL",    "\\K",     "\\v",     "\\h",     "\\R",     "\\N",     "(?i)a",
    "(?<n>a)", "(?>a)",   "(*UTF)a", "(?#c)",   "a++",     "a*+",     "a**",     "a?+",
    "a{2}+",   "a{1",     "a{1x}",   "[a",      "[[.a.]]", "[[=a=]]", "[[:<:]]", "[[:nope:]]",
    "[\\b]",   "[\\1]",   "[\\D]",   "(",       ")",       "*a",      "[z-a]",
};

Test(pattern, taken_and_refused)
{
    char *problem = NULL;
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        struct weir_pattern *pattern = weir_pattern_compile(taken[i], &problem);
        cr_expect_not_null(pattern, "%s: %s", taken[i], problem);
        cr_expect_null(problem);
        weir_pattern_destroy(pattern);
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct weir_pattern *pattern = weir_pattern_compile(refused[i], &problem);
        cr_expect_null(pattern, "%s", refused[i]);
        cr_expect_not_null(problem, "%s", refused[i]);
        free(problem);
        weir_pattern_destroy(pattern);
    }
}

Test(pattern, first_group)
{
    static const struct {
        const char *text, *subject, *first;
        enum weir_pattern_result result;
    } rows[] = {
        {"^(.*)@x$", "bob@x", "bob", WEIR_PATTERN_YES},
        {"^(.*)@x$", "bob@y", NULL, WEIR_PATTERN_NO},
        {"^(a)?b$", "b", NULL, WEIR_PATTERN_YES},
        {"^(a?)b$", "b", "", WEIR_PATTERN_YES},
        {"^a(b)c(d)$", "abcd", "b", WEIR_PATTERN_YES},
        {"^(?:a)(b)$", "ab", "b", WEIR_PATTERN_YES},
        {"a.b", "a\nb", NULL, WEIR_PATTERN_YES},
        {"^a$", "a\n", NULL, WEIR_PATTERN_NO},
        {"^\xc3.$", "\xc3\xa9", NULL, WEIR_PATTERN_YES},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *problem, *first = NULL;
        struct weir_pattern *pattern = weir_pattern_compile(rows[i].text, &problem);
        cr_assert_not_null(pattern);
        cr_expect_eq(weir_pattern_match(pattern, rows[i].subject, &first), rows[i].result, "%s",
                     rows[i].text);
        if (rows[i].first != NULL)
            cr_expect(first != NULL && strcmp(first, rows[i].first) == 0, "%s", rows[i].text);
        else
            cr_expect_null(first, "%s", rows[i].text);
        free(first);
        weir_pattern_destroy(pattern);
    }
}
