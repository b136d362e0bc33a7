#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "body.h"

static char text[4096];

/* What was written, as a string; the body is empty again. */
static const char *take(struct weir_http_body *body)
{
    size_t length = weir_buffer_length(&body->bytes);
    cr_assert_not(body->broken);
    cr_assert_lt(length, sizeof(text));
    if (length > 0)
        memcpy(text, weir_buffer_bytes(&body->bytes), length);
    text[length] = '\0';
    weir_http_body_clear(body);
    return text;
}

Test(body, numbers)
{
    struct weir_http_body body = {0};
    weir_http_put_number(&body, 0);
    weir_http_put(&body, " ");
    weir_http_put_number(&body, UINT64_MAX);
    weir_http_putf(&body, " %d%s", -7, "x");
    cr_assert_str_eq(take(&body), "0 18446744073709551615 -7x");
}

Test(body, texts_follow_each_other)
{
    struct weir_http_body body = {0};
    weir_http_put_texts(&body, "one");
    weir_http_put_texts(&body, "", " two", " ", "three");
    cr_assert_str_eq(take(&body), "one two three");
    for (int i = 0; i < 1000; i++)
        weir_http_put_texts(&body, "a", "b");
    const char *text_of_all = take(&body);
    cr_assert_eq(strspn(text_of_all, "ab"), 2000);
    cr_assert_eq(strlen(text_of_all), 2000);
}

Test(body, a_broken_one_stays_broken)
{
    struct weir_http_body body = {0};
    weir_http_put(&body, "begun");
    cr_assert_null(weir_http_body_reserve(&body, SIZE_MAX / 2));
    cr_assert(body.broken);
    cr_assert_null(weir_http_body_reserve(&body, 1));
    weir_http_put(&body, "more");
    cr_assert(body.broken);
    cr_assert_eq(weir_buffer_length(&body.bytes), 5);
    weir_http_body_clear(&body);
}

Test(body, seconds_are_exact)
{
    static const struct {
        weir_usec usec;
        const char *text;
    } cases[] = {
        {0, "0"},
        {1, "0.000001"},
        {1000000, "1"},
        {1500000, "1.5"},
        {12000345, "12.000345"},
        {-2500000, "-2.5"},
        {1700000000123456, "1700000000.123456"},
        {100000, "0.1"},
    };
    struct weir_http_body body = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        weir_http_put_seconds(&body, cases[i].usec);
        cr_assert_str_eq(take(&body), cases[i].text);
    }
}

Test(body, escapes)
{
    struct weir_http_body body = {0};
    weir_http_put_label(&body, "a\"b\\c\nd<");
    cr_assert_str_eq(take(&body), "a\\\"b\\\\c\\nd<");
    weir_http_put_html(&body, "<a href='x'>&\"</a>");
    cr_assert_str_eq(take(&body), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;&lt;/a&gt;");
    weir_http_put_html(&body, "");
    cr_assert_str_eq(take(&body), "");
}

Test(body, clean_is_utf8)
{
    static const struct {
        const char *bytes, *clean;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"\xff", "\xef\xbf\xbd"},
        {"a\xc3", "a\xef\xbf\xbd"},
        {"\xc0\xaf/", "\xef\xbf\xbd\xef\xbf\xbd/"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf0\x9f\x98\x80\xf0\x9f", "\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *clean = weir_http_clean(cases[i].bytes, strlen(cases[i].bytes));
        cr_assert_str_eq(clean, cases[i].clean, "case %zu", i);
        free(clean);
    }
    char *none = weir_http_clean(NULL, 0);
    cr_assert_str_eq(none, "");
    free(none);
}
