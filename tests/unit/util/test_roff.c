#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "weir/roff.h"

static void expect(void (*print)(const char *text, FILE *out), const char *text, const char *page)
{
    char *made = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&made, &length);
    cr_assert_not_null(out);
    print(text, out);
    cr_assert_eq(fclose(out), 0);
    cr_assert_str_eq(made, page, "%s gave %s", text, made);
    free(made);
}

Test(roff, special_characters_are_plain)
{
    expect(weir_roff_inline, "a-b \\n 'x' ~^", "a\\-b \\en \\(aqx\\(aq \\(ti\\(ha");
    expect(weir_roff_inline, ".SH no request", "\\&.SH no request");
    expect(weir_roff_inline, "`code-1` and *emphasis*, 2 * 3; * is all",
           "\\fBcode\\-1\\fR and \\fIemphasis\\fR, 2 * 3; * is all");
    expect(weir_roff_inline, "`*` in code", "\\fB*\\fR in code");
    expect(weir_roff_inline, "", "");
}

Test(roff, blocks)
{
    static const struct {
        const char *markdown;
        const char *page;
    } cases[] = {
        {"one\ntwo\n\nthree\n", "one\ntwo\n.PP\nthree\n"},
        {"## Head\n\ntext\n", ".SS Head\ntext\n"},
        {"text\n\n* a\n  b\n* c\n\nend\n", "text\n.IP \\(bu 2\na\nb\n.IP \\(bu 2\nc\n.PP\nend\n"},
        {"    x = 1\n\n    y\n", ".RS 4\n.EX\nx = 1\n\ny\n.EE\n.RE\n"},
        {"a\n\n    x\n\nb\n", "a\n.PP\n.RS 4\n.EX\nx\n.EE\n.RE\n.PP\nb\n"},
        {"no end of line", "no end of line\n"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect(weir_roff_prose, cases[i].markdown, cases[i].page);
}

Test(roff, long_lines_are_folded_and_nothing_is_lost)
{
    const char *w = "123456789";
    char line[256];
    char folded[256];
    snprintf(line, sizeof(line), "%s %s %s %s %s %s %s %s .%s\n.SH %s\n", w, w, w, w, w, w, w, w, w,
             w);
    snprintf(folded, sizeof(folded), "%s %s %s %s %s %s %s\n%s .%s\n.SH %s\n", w, w, w, w, w, w, w,
             w, w, w);
    expect(weir_roff_fold, line, folded);
    expect(weir_roff_fold, "short\n\nlines\n", "short\n\nlines\n");
    /* What would be a request at the beginning of a line stays where it is. */
    snprintf(line, sizeof(line), "%s %s %s %s %s %s %s .%s\n", w, w, w, w, w, w, w, w);
    expect(weir_roff_fold, line, line);
}
