#include "weir/text.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct {
    enum weir_escape how;
    const char *input;
    size_t length;
    const char *expected;
} cases[] = {
    {WEIR_ESCAPE_TEXT, "plain", 5, "plain"},
    {WEIR_ESCAPE_TEXT, "a\nb\r\tc", 6, "a\\nb\\r\\tc"},
    {WEIR_ESCAPE_TEXT, "\x1b[31m", 5, "\\x1b[31m"},
    {WEIR_ESCAPE_TEXT, "\0\x7f", 2, "\\x00\\x7f"},
    {WEIR_ESCAPE_TEXT, "say \"\\\"", 7, "say \"\\\""},
    {WEIR_ESCAPE_TEXT, "\xc3\xa4\xe2\x82\xac", 5, "\xc3\xa4\xe2\x82\xac"},
    {WEIR_ESCAPE_TEXT, "\xc2\x9b", 2, "\\xc2\\x9b"},
    {WEIR_ESCAPE_TEXT, "\xff\xc0\xaf", 3, "\\xff\\xc0\\xaf"},
    {WEIR_ESCAPE_TEXT, "\xed\xa0\x80", 3, "\\xed\\xa0\\x80"},
    {WEIR_ESCAPE_TEXT, "\xc3", 1, "\\xc3"},
    {WEIR_ESCAPE_TEXT, "\xf5\x80\x80\x80", 4, "\\xf5\\x80\\x80\\x80"},
    {WEIR_ESCAPE_QUOTED, "a\"b\\", 4, "a\\\"b\\\\"},
    {WEIR_ESCAPE_JSON, "a\"b\\\n", 5, "a\\\"b\\\\\\n"},
    {WEIR_ESCAPE_JSON, "\x01\x7f\xc2\x9b", 4, "\\u0001\\u007f\\u009b"},
    {WEIR_ESCAPE_JSON, "x\xffy", 3, "x\\ufffdy"},
    {WEIR_ESCAPE_JSON, "\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80"},
};

Test(text, escapes)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_buffer out = {0};
        cr_assert(weir_text_escape(&out, cases[i].how, cases[i].input, cases[i].length));
        cr_assert_eq(weir_buffer_length(&out), strlen(cases[i].expected), "case %zu", i);
        cr_assert_eq(memcmp(weir_buffer_bytes(&out), cases[i].expected, weir_buffer_length(&out)),
                     0, "case %zu", i);
        weir_buffer_clear(&out);
    }
}
