#include <stdio.h>

#include "setting.h"
#include "support.h"

/* What `print` writes, in fresh memory. */
static char *capture(void (*print)(FILE *out))
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    cr_assert_not_null(out);
    print(out);
    cr_assert_eq(fclose(out), 0);
    return text;
}

static char *print_conf(const struct weir_conf *conf)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    cr_assert_not_null(out);
    weir_conf_print(conf, out);
    cr_assert_eq(fclose(out), 0);
    return text;
}

/* A fresh copy of what should be in the file lies beside the message for the one who has to commit
 * it: `WEIR_WRITE_GENERATED=1` in the environment writes the file instead. */
static void check_generated(const char *path, void (*print)(FILE *out))
{
    char *expected = capture(print);
    if (getenv("WEIR_WRITE_GENERATED") != NULL) {
        FILE *file = fopen(path, "w");
        cr_assert_not_null(file);
        fputs(expected, file);
        cr_assert_eq(fclose(file), 0);
    }
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    size_t size = strlen(expected) + 4096;
    char *actual = calloc(1, size);
    cr_assert_not_null(actual);
    size_t length = fread(actual, 1, size - 1, file);
    fclose(file);
    cr_assert_gt(length, 0);
    cr_assert(strcmp(actual, expected) == 0,
              "%s is not what the table of settings yields; run this with WEIR_WRITE_GENERATED=1",
              path);
    free(actual);
    free(expected);
}

Test(reference, page_is_current)
{
    check_generated(WEIR_SOURCE_ROOT "/docs/settings.md", weir_conf_print_reference);
}

Test(reference, sample_is_current)
{
    check_generated(WEIR_SOURCE_ROOT "/conf/pgweir.ini", weir_conf_print_sample);
}

Test(reference, every_name_is_on_the_page)
{
    char *page = capture(weir_conf_print_reference);
    char cell[80];
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        snprintf(cell, sizeof(cell), "| `%s` | ", weir_settings[i].name);
        cr_assert_not_null(strstr(page, cell), "%s", cell);
    }
    for (size_t i = 0; i < weir_setting_alias_count; i++) {
        snprintf(cell, sizeof(cell), "| `%s` | ", weir_setting_aliases[i].name);
        cr_assert_not_null(strstr(page, cell), "%s", cell);
    }
    for (size_t i = 0; i < weir_setting_foreign_count; i++) {
        snprintf(cell, sizeof(cell), "| `%s` | ", weir_setting_foreigners[i].name);
        cr_assert_not_null(strstr(page, cell), "%s", cell);
    }
    free(page);
}

/* Strips the comment mark of the lines `;name = value`. */
static void uncomment(char *text)
{
    char *out = text;
    for (const char *in = text; *in != '\0'; in++) {
        bool line_start = in == text || in[-1] == '\n';
        if (!(line_start && in[0] == ';' && in[1] != ';'))
            *out++ = *in;
    }
    *out = '\0';
}

Test(reference, sample_with_every_line_active_is_the_default)
{
    char *sample = capture(weir_conf_print_sample);
    struct parsed commented = parse_good(sample);
    uncomment(sample);
    struct parsed active = parse_good(sample);
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        char *left = weir_setting_show(&weir_settings[i], commented.conf);
        char *right = weir_setting_show(&weir_settings[i], active.conf);
        cr_assert_str_eq(left, right, "%s", weir_settings[i].name);
        free(left);
        free(right);
    }
    cr_assert_eq(commented.conf->database_count, 0);
    cr_assert_eq(active.conf->database_count, 3);
    cr_assert_eq(active.conf->user_count, 1);
    release(&commented);
    release(&active);
    free(sample);
}

Test(reference, check_output_names_sources_and_hides_passwords)
{
    struct parsed parsed =
        parse_good("[databases]\nshop = host=a,b port=1,2 password=SECRET user=u dbname='my db' "
                   "pool_size=3 connect_query='SELECT ''x'''\n"
                   "\"a b\" = postgresql://u:SECRET@h/d\n"
                   "[users]\nu = pool_timeout=90\n[pgweir]\npool_size=9\n");
    char *text = print_conf(parsed.conf);
    cr_assert_null(strstr(text, "SECRET"), "%s", text);
    cr_assert_not_null(strstr(text, "; test.ini:7, default is 20\n"), "%s", text);
    cr_assert_not_null(strstr(text,
                              "\n; test.ini:2\nshop = host=a,b port=1,2 dbname='my db' user=u "
                              "password=*** pool_size=3 connect_query='SELECT \\'x\\''\n"),
                       "%s", text);
    cr_assert_not_null(strstr(text, "\n\"a b\" = host=h port=5432 dbname=d user=u password=***\n"));
    cr_assert_not_null(strstr(text, "\n; test.ini:5\nu = pool_timeout=90s\n"));
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++)
        cr_assert_not_null(strstr(text, weir_settings[i].name));
    free(text);
    release(&parsed);
}

/* The [databases] and [users] lines as printed are read back as the same. */
Test(reference, printed_lines_are_read_back)
{
    struct parsed parsed =
        parse_good("[databases]\n\"x;y\" = host=a options='-c a=b\\\\ c' pool_mode=session "
                   "connect_query='' target_session_attrs=primary\n\"q\"\"q\" = host=/x\n"
                   "[users]\n* = pool_size=4\n");
    char *text = print_conf(parsed.conf);
    const char *lines = strstr(text, "[databases]");
    cr_assert_not_null(lines);
    struct parsed again = parse_good(lines);
    cr_assert_eq(again.conf->database_count, 2);
    cr_assert_eq(again.conf->user_count, 1);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_str_eq(again.conf->databases[i].name, parsed.conf->databases[i].name);
        cr_assert(weir_database_same_target(&again.conf->databases[i], &parsed.conf->databases[i]),
                  "%s", text);
    }
    release(&again);
    release(&parsed);
    free(text);
}
