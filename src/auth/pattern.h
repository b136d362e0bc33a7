/* Regular expressions of the access files, bounded in what a match may cost.
 *
 * PostgreSQL's own are of another kind than PCRE's. What both understand alike is taken; what means
 * something else in the other, or nothing, is refused when it is compiled. Bytes, not characters. */
#ifndef WEIR_AUTH_PATTERN_H
#define WEIR_AUTH_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

struct weir_pattern;

/* `text` without its leading slash. NULL with *problem (free it). */
struct weir_pattern *weir_pattern_compile(const char *text, char **problem);
void weir_pattern_destroy(struct weir_pattern *pattern); /* NULL is fine */
/* Pairs of parentheses that keep what they match. */
size_t weir_pattern_groups(const struct weir_pattern *pattern);

enum weir_pattern_result {
    WEIR_PATTERN_NO,
    WEIR_PATTERN_YES,
    WEIR_PATTERN_TOO_DEAR, /* given up */
};
/* `first`, if given, is what the first group matched: NULL when it had no part in it; free it. */
enum weir_pattern_result weir_pattern_match(const struct weir_pattern *pattern, const char *subject,
                                            char **first);

#endif
