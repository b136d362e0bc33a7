/* Reading of small files from memory, for the tests of this room. */
#ifndef TEST_CONF_SUPPORT_H
#define TEST_CONF_SUPPORT_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "weir/conf.h"

struct parsed {
    struct weir_conf *conf;
    char *problems;
    char *warnings;
};

static inline struct parsed parse_bytes(const char *text, size_t length)
{
    struct parsed parsed = {0};
    parsed.conf = weir_conf_parse("test.ini", text, length, &parsed.problems, &parsed.warnings);
    cr_assert((parsed.conf == NULL) == (parsed.problems != NULL));
    return parsed;
}

static inline struct parsed parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static inline struct parsed parse_good(const char *text)
{
    struct parsed parsed = parse(text);
    cr_assert_not_null(parsed.conf, "%s\ngave\n%s", text, parsed.problems);
    return parsed;
}

static inline void release(struct parsed *parsed)
{
    weir_conf_destroy(parsed->conf);
    free(parsed->problems);
    free(parsed->warnings);
    *parsed = (struct parsed){0};
}

static inline int count_lines(const char *text)
{
    int lines = 0;
    for (; text != NULL && *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

#endif
