/* Which settings a text sets for the session: each text as it is, and cut at every byte. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql_text.h"

TestSuite(sql_settings, .timeout = 60);

/* STATE, SETS and CUSTOM as letters, then the names: $1 a parameter, ? not to be read. */
static const struct {
    const char *text;
    const char *expected;
} cases[] = {
    {"select 1", ""},
    {"", ""},
    {"set", "XC ?"},
    {"set work_mem = '5MB'", "X"},
    {"reset app.tenant", ""},
    {"set app.tenant = 1", "XC app.tenant"},
    {"SET SESSION App.Tenant TO 1", "XC app.tenant"},
    {"set session.x = 1", "XC session.x"},
    {"set local.x = 1", "XC local.x"},
    {"set local app.tenant = 1", ""},
    {"begin; set local app.tenant = 1; select 1", ""},
    {"set local a.b = 1; set c.d = 2", "XC c.d"},
    {"set session characteristics as transaction read only", "X"},
    {"set time zone 'UTC'", "X"},
    {"-- c\n set /* d */ \"App\" . \"T$1\" . u = 1", "XC app.t$1.u"},
    {"/* set a.b = 1 */ select 1", ""},
    {"set a.b.c = 1;set x.y=2", "XC a.b.c x.y"},
    {"set a.\"b c\" = 1", "XC ?"},
    {"set a.\"b\"\"c\" = 1", "XC ?"},
    {"set u&\"x\".y = 1", "XC ?"},
    {"set \xc3\xa9.x = 1", "XC ?"},
    {"set a.\xc3\xa9 = 1", "XC ?"},
    {"update t set a.b = 1", ""},
    {"UPDATE t SET a = b.c WHERE d.e = 1", ""},
    {"insert into t values (1) on conflict (a) do update set b.c = 2", ""},
    {"update t set a = 1; update t set b = 2", "X"},
    {"select * from dataset where offset_set > 1", ""},
    {"do $$ begin set app.x = 1; end $$", "SC app.x"},
    {"select 1; do $$ begin set app.x = 1; end $$", "SXC app.x"},
    {"select set_config('app.x', 'y', false)", "SC app.x"},
    {"select set_config('work_mem', 'y', false)", "S"},
    {"select set_config('app.x', 'y', true)", ""},
    {"select set_config('app.x', 'y', TRUE :: bool )", ""},
    {"select set_config('app.x', 'it''s (', true), 1", ""},
    {"select set_config('app.x', E'\\', true)', false)", "SC app.x"},
    {"select set_config('app.x', $$', true)$$, false)", "SC app.x"},
    {"select set_config('app.x', 'y' /* , true) */, false)", "SC app.x"},
    {"select set_config('app.x', 'y', true and false)", "SC app.x"},
    {"select set_config('app.x', f('a', (1)), true)", ""},
    {"select set_config('app.x', 'y', 'false'), f(1, 2, true)", "SC app.x"},
    {"select set_config('app.x', 'y', $1)", "SC app.x"},
    {"select set_config($1, $2, true)", ""},
    {"select set_config($1, $2, $3)", "SC $1"},
    {"select set_config( $12 :: text, $2, false), set_config('a.b','',false)", "SC $12 a.b"},
    {"select set_config($1 || 'x', $2, false)", "SC ?"},
    {"select set_config($0, $2, false)", "SC ?"},
    {"select set_config($99999999999, $2, false)", "SC ?"},
    {"select set_config('a.' || 'b', 'y', false)", "SC ?"},
    {"select set_config('a.'\n'b', 'y', false)", "SC ?"},
    {"select set_config('a.b'::varchar, 'y', false)", "SC a.b"},
    {"select \"set_config\" (e'a.b', 'y', false)", "SC a.b"},
    {"select set_config('a\\x2eb', 'y', false)", "SC ?"},
    {"select set_config(U&'a.b', 'y', false)", "SC ?"},
    {"select set_config($$a.b$$, 'y', false)", "SC ?"},
    {"select set_config(name, 'y', false) from names", "SC ?"},
    {"do 'begin perform set_config(''a.b'', ''1'', false); end'", "SC a.b"},
    {"do 'begin perform set_config(''a.b'', ''1'', true); end'", ""},
    {"prepare p as select set_config('a.b', $1, false)", "SC ?"},
    {"grant execute on function set_config to me", "S"},
    {"select pg_advisory_lock(1)", "S"},
    {"create temp table t (n int)", "S"},
    {"select pg_advisory_xact_lock(1)", ""},
};

static void describe(const char *text, size_t length, char *out)
{
    const uint8_t *bytes = (const uint8_t *)text;
    unsigned mentions = sql_mentions(bytes, length);
    struct sql_walk walk = sql_walk_over(bytes, length);
    struct sql_setting setting;
    out += sprintf(out, "%s%s%s", mentions & SQL_STATE ? "S" : "", mentions & SQL_SETS ? "X" : "",
                   mentions & SQL_CUSTOM ? "C" : "");
    if (!(mentions & SQL_CUSTOM))
        return;
    while (sql_next_setting(&walk, &setting)) {
        if (setting.kind == SQL_NAMED)
            out += sprintf(out, " %s", setting.name);
        else if (setting.kind == SQL_PARAMETER)
            out += sprintf(out, " $%u", setting.parameter + 1);
        else
            out += sprintf(out, " ?");
    }
}

Test(sql_settings, what_texts_set)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[1024] = "";
        describe(cases[i].text, strlen(cases[i].text), out);
        cr_expect_str_eq(out, cases[i].expected, "%s: %s", cases[i].text, out);
    }
}

/* Under AddressSanitizer: nothing behind the end is read. */
Test(sql_settings, texts_cut_anywhere)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t length = 0; length <= strlen(cases[i].text); length++) {
            char out[1024] = "", *copy = malloc(length > 0 ? length : 1);
            memcpy(copy, cases[i].text, length);
            describe(copy, length, out);
            free(copy);
        }
    }
}

Test(sql_settings, names_too_long_are_not_read)
{
    char text[4096], name[600], out[1024] = "";
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    sprintf(text, "set a.%.63s = 1", name);
    describe(text, strlen(text), out);
    cr_expect(strncmp(out, "XC a.nnn", 8) == 0 && strlen(out) == 3 + 65, "%s", out);
    sprintf(text, "set a.%.64s = 1", name);
    describe(text, strlen(text), out);
    cr_expect_str_eq(out, "XC ?");
    sprintf(text, "select set_config('a.%.300s', 'x', false)", name);
    describe(text, strlen(text), out);
    cr_expect_str_eq(out, "SC ?");
    sprintf(text, "set%*sa.b = 1", 2000, "");
    describe(text, strlen(text), out);
    cr_expect_str_eq(out, "XC ?");
    sprintf(text, "set local%*s.x = 1", 2000, "");
    describe(text, strlen(text), out);
    cr_expect_str_eq(out, "XC ?");
    sprintf(text, "select set_config('a.b', '%*s', true)", 2000, "");
    describe(text, strlen(text), out);
    cr_expect_str_eq(out, "SC a.b");
}

/* A text made to be read over and over takes time in proportion to its length: this would take hours. */
Test(sql_settings, time_is_in_proportion)
{
    static const char *const pieces[] = {"set/*",       "set_config(", "set_config('a.b',",
                                         "set a.b,do ", "; do set --", "prepare set $"};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        size_t length = 0, size = strlen(pieces[i]), room = (size_t)4 << 20;
        char *text = malloc(room);
        for (; length + size < room; length += size)
            memcpy(text + length, pieces[i], size);
        struct sql_walk walk = sql_walk_over((const uint8_t *)text, length);
        struct sql_setting setting;
        size_t found = 0;
        cr_expect_leq(sql_mentions((const uint8_t *)text, length), SQL_MENTIONS_ALL);
        while (sql_next_setting(&walk, &setting))
            found++;
        cr_expect_leq(found, length);
        free(text);
    }
}
