#include "support.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

Test(text, layout_is_free)
{
    const char *const texts[] = {
        "[pgweir]\npool_size=3\n[databases]\ndb=host=h\n",
        "[pgweir]\npool_size=3\n[databases]\ndb=host=h",
        "[pgweir]\r\npool_size=3\r\n[databases]\r\ndb=host=h\r\n",
        "\xef\xbb\xbf[pgweir]\npool_size=3\n[databases]\ndb=host=h\n",
        "\n\n  [ pgweir ]  \n\t pool_size \t=\t 3 \t\n\n[databases]\n   db =   host=h   \n",
        "; x\n# y\n  ; z = 1\n[pgweir]\n;pool_size=4\npool_size=3\n#\n[databases]\ndb=host=h\n",
        "[databases]\ndb=host=h\n[pgweir]\npool_size=3\n[users]\n[databases]\n",
        "[databases]\ndb=host=h\n  [pgweir]\n    pool_size=3\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct parsed parsed = parse_good(texts[i]);
        cr_assert_eq(parsed.conf->pool.pool_size, 3, "case %zu", i);
        cr_assert_eq(parsed.conf->database_count, 1, "case %zu", i);
        cr_assert_str_eq(parsed.conf->databases[0].name, "db");
        release(&parsed);
    }
}

Test(text, only_lines_that_start_so_are_comments)
{
    const char *const values[] = {
        "DISCARD ALL; SELECT 1 ; SELECT 2", "a # b", "a ;b", "x;", "# x", "; x", "a: b = c : d",
    };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text), "[pgweir]\nserver_reset_query = %s\n", values[i]);
        struct parsed parsed = parse_good(text);
        cr_assert_str_eq(parsed.conf->pool.server_reset_query, values[i]);
        release(&parsed);
    }
}

/* Around inih's limit of 200 bytes, and far beyond it. */
Test(text, lines_of_any_length_are_whole)
{
    const size_t lengths[] = {150, 170, 180, 181,  182,   183,   184,   185,    190,
                              195, 196, 197, 198,  199,   200,   201,   202,    250,
                              399, 400, 401, 4096, 10000, 65536, 99999, 1000000};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        size_t length = lengths[i];
        char *value = malloc(length + 1);
        char *text = malloc(2 * length + 128);
        cr_assert(value != NULL && text != NULL);
        for (size_t j = 0; j < length; j++)
            value[j] = (char)('a' + (int)(j % 26));
        value[length] = '\0';
        snprintf(text, 2 * length + 128,
                 "[pgweir]\nconnect_query = %s\n[databases]\nd = host=h password=%s\n", value,
                 value);
        struct parsed parsed = parse_good(text);
        cr_assert_str_eq(parsed.conf->pool.connect_query, value);
        cr_assert_str_eq(parsed.conf->databases[0].password, value);
        cr_assert_eq(parsed.conf->database_count, 1);
        cr_assert_str_eq(parsed.conf->databases[0].where, "test.ini:4");
        release(&parsed);
        free(value);
        free(text);
    }
}

Test(text, long_comments_do_not_leak_into_settings)
{
    char text[1024];
    memset(text, 'x', sizeof(text));
    text[0] = ';';
    memcpy(text + 198, "\x20pool_size=9", 12);
    memcpy(text + 500, "\n[pgweir]\npool_size=3\n", 23);
    struct parsed parsed = parse_good(text);
    cr_assert_eq(parsed.conf->pool.pool_size, 3);
    release(&parsed);
}

Test(text, bad_texts)
{
    const struct {
        const char *text;
        size_t length; /* 0: all */
        const char *problem;
    } cases[] = {
        {"pool_size=3\n", 0, "test.ini:1: text before the first section header\n"},
        {"[pgweir]\npool_size\n", 0, "test.ini:2: neither a section header nor NAME = VALUE\n"},
        {"[pgweir]\npool_size: 3\n", 0, "test.ini:2: neither a section header nor NAME = VALUE\n"},
        {"[pgweir]\n=3\n", 0, "test.ini:2: there is no name before =\n"},
        {"[pgweir]\npool_size=\0003\n", 22, "test.ini:2: the line holds a NUL byte\n"},
        {"[pgweir]\n\0\n", 11, "test.ini:2: the line holds a NUL byte\n"},
        {"[pgweir\npool_size=3\n", 0,
         "test.ini:1: a section header must be [NAME] and nothing else\n"},
        {"[pgweir] x\npool_size=3\n", 0,
         "test.ini:1: a section header must be [NAME] and nothing else\n"},
        {"[pgweir]]\npool_size=3\n", 0,
         "test.ini:1: a section header must be [NAME] and nothing else\n"},
        {"[]\n", 0, "test.ini:1: unknown section (known: pgweir, databases, users)\n"},
        {"[a ;b]\nx=y\n", 0, "test.ini:1: unknown section (known: pgweir, databases, users)\n"},
        {"[PgWeir]\nx=y\n", 0,
         "test.ini:2: PgWeir: unknown section (known: pgweir, databases, users)\n"},
        {"[aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffff]\nx=y\n", 0,
         "test.ini:1: unknown section (known: pgweir, databases, users)\n"},
        {"[pgweir]\n%inklude x\n", 0,
         "test.ini:2: unknown directive (only %include FILE is known)\n"},
        {"[pgweir]\n%includex\n", 0,
         "test.ini:2: unknown directive (only %include FILE is known)\n"},
        {"[pgweir]\n%include /etc/passwd\n", 0, "test.ini:2: %include is not possible here\n"},
        {"[databases]\n\"x = host=h\n", 0,
         "test.ini:2: neither a section header nor NAME = VALUE\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t length = cases[i].length != 0 ? cases[i].length : strlen(cases[i].text);
        struct parsed parsed = parse_bytes(cases[i].text, length);
        cr_assert_null(parsed.conf, "case %zu", i);
        cr_assert_str_eq(parsed.problems, cases[i].problem, "case %zu: %s", i, parsed.problems);
        release(&parsed);
    }
}

/* Every prefix of a file is read without harm: it is refused with words or it is good. */
Test(text, every_cut_is_survived)
{
    static const char text[] =
        "\xef\xbb\xbf; head\n[databases]\n\"a;b\" = host=h password='x;y' pool_size=3\n"
        "c = postgresql://u:p%20q@h:1,i:2/d pool_mode=session\n[users]\nu = pool_size=2\n"
        "[pgbouncer]\nserver_check_query = select 1 ; x\nreserve_pool_size=3\n%include x\n";
    for (size_t length = 0; length <= sizeof(text) - 1; length++) {
        struct parsed parsed = parse_bytes(text, length);
        release(&parsed);
    }
}

Test(text, empty_is_a_file_of_defaults)
{
    struct parsed parsed = parse_good("");
    cr_assert_eq(parsed.conf->pool.pool_size, 20);
    cr_assert_not_null(strstr(parsed.warnings, "test.ini: there is no [databases] line"));
    release(&parsed);
}

/* --- files ----------------------------------------------------------------------------- */

static char directory[] = "/tmp/weir_conf_XXXXXX";

static void setup(void)
{
    cr_assert_not_null(mkdtemp(directory));
}

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

static void teardown(void)
{
    const char *const names[] = {"main.ini", "sub/part.ini", "sub/more.ini", "loop.ini"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(path_of(names[i]));
    rmdir(path_of("sub"));
    rmdir(directory);
}

TestSuite(file, .init = setup, .fini = teardown);

static struct parsed read_main(void)
{
    struct parsed parsed = {0};
    parsed.conf = weir_conf_read(path_of("main.ini"), &parsed.problems, &parsed.warnings);
    return parsed;
}

Test(file, includes_stand_where_they_are_named)
{
    cr_assert_eq(mkdir(path_of("sub"), 0700), 0);
    write_file("main.ini", "[pgweir]\npool_size=1\n%include sub/part.ini\nb = host=b\n");
    write_file("sub/part.ini", "pool_size=2\n%include   more.ini  \n[databases]\na = host=a");
    write_file("sub/more.ini", "max_overflow=3\n");
    struct parsed parsed = read_main();
    cr_assert_not_null(parsed.conf, "%s", parsed.problems);
    cr_assert_eq(parsed.conf->pool.pool_size, 2);
    cr_assert_eq(parsed.conf->pool.max_overflow, 3);
    cr_assert_eq(parsed.conf->database_count, 2);
    cr_assert_str_eq(parsed.conf->databases[1].name, "b");
    const char *where = parsed.conf->databases[1].where;
    cr_assert_str_eq(where + strlen(where) - 11, "/main.ini:4");
    where = parsed.conf->databases[0].where;
    cr_assert_str_eq(where + strlen(where) - 15, "/sub/part.ini:4");
    release(&parsed);
}

Test(file, including_oneself_ends)
{
    write_file("main.ini", "%include loop.ini\n");
    write_file("loop.ini", "[pgweir]\n%include loop.ini\n");
    struct parsed parsed = read_main();
    cr_assert_null(parsed.conf);
    cr_assert_not_null(strstr(parsed.problems, "loop.ini:2: %include nested too deeply"));
    cr_assert_eq(count_lines(parsed.problems), 1);
    release(&parsed);
}

Test(file, what_cannot_be_read_is_named)
{
    struct parsed parsed = read_main();
    cr_assert_null(parsed.conf);
    cr_assert_not_null(strstr(parsed.problems, "/main.ini: cannot be read: No such file"));
    release(&parsed);

    write_file("main.ini", "\n%include nowhere.ini\n%include .\n%include\n");
    parsed = read_main();
    cr_assert_null(parsed.conf);
    cr_assert_not_null(strstr(parsed.problems, "/main.ini:2: cannot read "), "%s", parsed.problems);
    cr_assert_not_null(strstr(parsed.problems, "/nowhere.ini: No such file"));
    cr_assert_not_null(strstr(parsed.problems, "/.: Is a directory"));
    cr_assert_not_null(strstr(parsed.problems, "main.ini:4: %include without a file name"));
    release(&parsed);

    cr_assert_eq(unlink(path_of("main.ini")), 0);
    cr_assert_eq(mkfifo(path_of("main.ini"), 0600), 0);
    parsed = read_main();
    cr_assert_null(parsed.conf);
    cr_assert_not_null(strstr(parsed.problems, "cannot be read: "));
    release(&parsed);
}

Test(file, too_large_is_refused)
{
    write_file("main.ini", "");
    cr_assert_eq(truncate(path_of("main.ini"), (off_t)17 << 20), 0);
    struct parsed parsed = read_main();
    cr_assert_null(parsed.conf);
    cr_assert_not_null(strstr(parsed.problems, "File too large"));
    release(&parsed);
}

/* Only where a password stands, and only if others than owner and group may get at it. */
Test(file, with_a_password_for_everybody_is_refused)
{
    static const struct {
        const char *line;
        mode_t mode;
        bool good;
    } cases[] = {
        {"host=h password=geheim", 0640, true},  {"host=h password=geheim", 0644, false},
        {"host=h password=geheim", 0602, false}, {"postgresql://u:geheim@h/d", 0604, false},
        {"postgresql://u@h/d", 0666, true},      {"host=h user=u", 0644, true},
        {"host=h password=''", 0644, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int off = 0; off < 2; off++) {
            char text[256];
            snprintf(text, sizeof(text), "[databases]\nother = host=h\ndb = %s\n[pgweir]\n%s\n",
                     cases[i].line, off ? "refuse_readable_secrets = off" : "");
            write_file("main.ini", text);
            cr_assert_eq(chmod(path_of("main.ini"), cases[i].mode), 0);
            struct parsed parsed = read_main();
            cr_assert_eq(parsed.conf != NULL, cases[i].good || off, "%s %o", cases[i].line,
                         (unsigned)cases[i].mode);
            if (parsed.conf == NULL) {
                cr_assert_not_null(
                    strstr(parsed.problems, "main.ini:3: database db: has a password"), "%s",
                    parsed.problems);
                cr_assert_not_null(strstr(parsed.problems, "chmod o= "));
                cr_assert_null(strstr(parsed.problems, "geheim"));
            }
            release(&parsed);
        }
    }
}

Test(file, with_a_password_for_ldap_for_everybody_is_refused)
{
    static const struct {
        const char *options;
        mode_t mode;
        bool good;
    } cases[] = {
        {"ldapserver=h ldapprefix=x", 0644, true},
        {"ldapserver=h ldapbasedn=x ldapbindpasswd=geheim", 0640, true},
        {"ldapserver=h ldapbasedn=x ldapbindpasswd=geheim", 0644, false},
        {"ldapserver=h ldapbasedn=x \"ldapbind\"passwd=geheim", 0602, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int off = 0; off < 2; off++) {
            char text[256];
            snprintf(
                text, sizeof(text),
                "[pgweir]\nauth_type = ldap\nauth_ldap_options = %s\n%s\n[databases]\nd = host=h\n",
                cases[i].options, off ? "refuse_readable_secrets = off" : "");
            write_file("main.ini", text);
            cr_assert_eq(chmod(path_of("main.ini"), cases[i].mode), 0);
            struct parsed parsed = read_main();
            cr_assert_eq(parsed.conf != NULL, cases[i].good || off, "%s %o", cases[i].options,
                         (unsigned)cases[i].mode);
            if (parsed.conf == NULL) {
                cr_assert_not_null(
                    strstr(parsed.problems, "main.ini:3: auth_ldap_options: has a password"), "%s",
                    parsed.problems);
                cr_assert_null(strstr(parsed.problems, "geheim"));
            }
            release(&parsed);
        }
    }
}
