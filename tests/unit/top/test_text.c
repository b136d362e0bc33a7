#include "text.h"

#include <criterion/criterion.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

static void use_utf8(void)
{
    cr_assert_not_null(setlocale(LC_ALL, "C.UTF-8"));
}

static const struct {
    const char *input, *safe, *ascii;
    size_t width;
} cases[] = {
    {"", "", "", 0},
    {"select 1", "select 1", "select 1", 8},
    {"a\nb\tc\r\v\f", "a b c   ", "a b c   ", 8},
    {"\x1b[2J\x07\x7f", "\\x1b[2J\\x07\\x7f", "\\x1b[2J\\x07\\x7f", 15},
    {"gr\xc3\xb6\xc3\x9f", "gr\xc3\xb6\xc3\x9f", "gr??", 4},
    {"\xe6\xbc\xa2x", "\xe6\xbc\xa2x", "?x", 3},
    {"\xc2\x9b", "\\u{9b}", "?", 6},
    {"\xc2\x85", " ", " ", 1},
    {"\xe2\x80\xa8", " ", " ", 1},
    {"\xe2\x80\xae\xe2\x80\x8b", "\\u{202e}\\u{200b}", "??", 16},
    {"\xef\xbb\xbf", "\\u{feff}", "?", 8},
    {"\xf3\xa0\x81\x81", "\\u{e0041}", "?", 9},
    {"\xf4\x8f\xbf\xbf", "\\u{10ffff}", "?", 10},
    {"\xff\xc3", "\\xff\\xc3", "??", 8},
    {"\xc0\x9b\xe0\x82\x9b", "\\xc0\\x9b\\xe0\\x82\\x9b", "?????", 20},
    {"\xed\xa0\x80", "\\xed\\xa0\\x80", "???", 12},
    {"\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80", "????", 16},
    {"e\xcc\x81!", "e\xcc\x81!", "e?!", 2},
};

Test(text, is_safe, .init = use_utf8)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *safe = text_safe(cases[i].input, true);
        char *ascii = text_safe(cases[i].input, false);
        cr_expect_str_eq(safe, cases[i].safe, "case %zu: %s", i, safe);
        cr_expect_str_eq(ascii, cases[i].ascii, "case %zu: %s", i, ascii);
        cr_expect_eq(text_width(safe), cases[i].width, "case %zu: %zu", i, text_width(safe));
        free(safe);
        free(ascii);
    }
}

/* Whatever the bytes: no control character is left, and making it safe again changes nothing. */
Test(text, no_byte_is_dangerous, .init = use_utf8)
{
    unsigned state = 1;
    for (int round = 0; round < 20000; round++) {
        char bytes[12];
        for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
            state = state * 1103515245 + 12345;
            unsigned char byte = (unsigned char)(state >> 16);
            bytes[i] = byte != 0 ? (char)byte : 'x';
        }
        bytes[sizeof(bytes) - 1] = '\0';
        char *safe = text_safe(bytes, true);
        char *again = text_safe(safe, true);
        cr_assert_str_eq(safe, again);
        for (const char *at = safe; *at != '\0'; at++)
            cr_assert((unsigned char)*at >= ' ' && *at != 0x7f);
        free(safe);
        free(again);
    }
}

Test(text, fits, .init = use_utf8)
{
    size_t taken = 0;
    cr_assert_eq(text_fit("abc", 2, &taken), 2);
    cr_assert_eq(taken, 2);
    /* Half of a wide character is none. */
    cr_assert_eq(text_fit("\xe6\xbc\xa2\xe6\xbc\xa2", 3, &taken), 3);
    cr_assert_eq(taken, 2);
    /* What has no width goes with what is before it. */
    cr_assert_eq(text_fit("e\xcc\x81x", 1, &taken), 3);
    cr_assert_eq(taken, 1);
    cr_assert_eq(text_fit("abc", 0, &taken), 0);
}
