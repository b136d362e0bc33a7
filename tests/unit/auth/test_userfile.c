/* The file of users and secrets. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir/auth.h"
#include "weir/memory.h"

static struct weir_user_file *parse(const char *text, size_t length)
{
    char *problem = NULL;
    struct weir_user_file *file = weir_user_file_parse("users.txt", text, length, &problem);
    cr_assert_not_null(file, "%s", problem);
    cr_expect_null(problem);
    return file;
}

static void expect_secret(const struct weir_user_file *file, const char *user, const char *secret)
{
    const char *found = weir_user_file_find(file, user);
    if (!secret)
        cr_expect_null(found, "user %s", user);
    else
        cr_expect(found && strcmp(found, secret) == 0, "user %s: %s", user, found);
}

Test(userfile, syntax)
{
    static const char text[] = "; comment \"no\" \"one\"\n"
                               "# comment\n"
                               "\n"
                               " \t\r\n"
                               "\"alice\" \"secret\"\n"
                               "\t\"bob\"\t\"with \"\"quotes\"\"\" \"ignored\" too\n"
                               "\"carol\"\"s\"\"\" \"\"\n"
                               "\"eve\" \"two words; # no comment\"\r\n"
                               "  ; comment after blanks\n"
                               "\"\xc3\xa9mile\" \"\xff\\n\" ; comment\n"
                               "\"last\" \"without newline\"";
    struct weir_user_file *file = parse(text, sizeof(text) - 1);
    expect_secret(file, "alice", "secret");
    expect_secret(file, "bob", "with \"quotes\"");
    expect_secret(file, "carol\"s\"", "");
    expect_secret(file, "eve", "two words; # no comment");
    expect_secret(file, "\xc3\xa9mile", "\xff\\n");
    expect_secret(file, "last", "without newline");
    expect_secret(file, "Alice", NULL);
    expect_secret(file, "alic", NULL);
    expect_secret(file, "secret", NULL);
    expect_secret(file, "", NULL);
    weir_user_file_destroy(file);
}

Test(userfile, later_line_replaces)
{
    static const char text[] = "\"a\" \"1\"\n\"b\" \"2\"\n\"a\" \"3\"\n";
    struct weir_user_file *file = parse(text, sizeof(text) - 1);
    cr_expect_eq(weir_user_file_count(file), 2);
    expect_secret(file, "a", "3");
    expect_secret(file, "b", "2");
    weir_user_file_destroy(file);
}

Test(userfile, usual_kind_of_secret)
{
    static const char scram[] =
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    static const char md5[] = "md500000000000000000000000000000000";
    struct {
        const char *secrets[4];
        enum weir_secret_kind usual;
    } rows[] = {
        {{"a"}, WEIR_SECRET_PLAIN},
        {{md5}, WEIR_SECRET_MD5},
        {{scram}, WEIR_SECRET_SCRAM},
        {{"a", scram, scram}, WEIR_SECRET_SCRAM},
        {{"a", scram, md5, md5}, WEIR_SECRET_MD5},
        {{scram, "a", "b", md5}, WEIR_SECRET_PLAIN},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[1024] = "";
        for (size_t j = 0; j < 4 && rows[i].secrets[j] != NULL; j++) {
            size_t length = strlen(text);
            snprintf(text + length, sizeof(text) - length, "\"u%zu\" \"%s\"\n", j,
                     rows[i].secrets[j]);
        }
        struct weir_user_file *file = parse(text, strlen(text));
        cr_expect_eq(weir_user_file_usual(file), rows[i].usual, "row %zu", i);
        weir_user_file_destroy(file);
    }
    struct weir_user_file *none = parse("", 0);
    cr_expect_eq(weir_user_file_usual(NULL), WEIR_SECRET_NONE);
    weir_user_file_destroy(none);
}

Test(userfile, empty)
{
    static const char *const empty[] = {"", "\n", "   ", "; x", "\xef\xbb\xbf", "\n\n#\n"};
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
        struct weir_user_file *file = parse(empty[i], strlen(empty[i]));
        cr_expect_eq(weir_user_file_count(file), 0);
        expect_secret(file, "a", NULL);
        weir_user_file_destroy(file);
    }
    struct weir_user_file *file = parse("\xef\xbb\xbf\"a\" \"b\"", 10);
    expect_secret(file, "a", "b");
    weir_user_file_destroy(file);
    cr_expect_null(weir_user_file_find(NULL, "a"));
    cr_expect_eq(weir_user_file_count(NULL), 0);
    weir_user_file_destroy(NULL);
}

Test(userfile, problems_name_the_line)
{
    static const struct {
        const char *text;
        size_t length;
        const char *problem;
    } cases[] = {
        {"alice \"x\"", 0, "users.txt:1: user name in double quotes is expected"},
        {"\n; c\n\"alice\" x", 0,
         "users.txt:3: password in double quotes is expected after the user name"},
        {"\"alice\"", 0, "users.txt:1: password in double quotes is expected after the user name"},
        {"\"a\" \"b\"\n\"alice\"\n\"x\"", 0,
         "users.txt:2: password in double quotes is expected after the user name"},
        {"\"dave\"\"glued\"", 0,
         "users.txt:1: password in double quotes is expected after the user name"},
        {"\"alice", 0, "users.txt:1: closing quote is missing"},
        {"\"alice\n\" \"x\"", 0, "users.txt:1: closing quote is missing"},
        {"\"alice\" \"x", 0, "users.txt:1: closing quote is missing"},
        {"\"alice\" \"x\"\"", 0, "users.txt:1: closing quote is missing"},
        {"\"alice\" \"x\"\"\n\"b\" \"c\"", 0, "users.txt:1: closing quote is missing"},
        {"\"\" \"x\"", 0, "users.txt:1: user name is empty"},
        {"\"a\" \"b\"\n\"al\0ice\" \"x\"", 19, "users.txt:2: zero byte in a string"},
        {"\"alice\" \"\0\"", 11, "users.txt:1: zero byte in a string"},
        {"[users]\n", 0, "users.txt:1: user name in double quotes is expected"},
        {"\0\0\0", 3, "users.txt:1: user name in double quotes is expected"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *problem = NULL;
        size_t length = cases[i].length ? cases[i].length : strlen(cases[i].text);
        cr_expect_null(weir_user_file_parse("users.txt", cases[i].text, length, &problem));
        cr_assert_not_null(problem);
        cr_expect_str_eq(problem, cases[i].problem, "case %zu", i);
        free(problem);
    }
}

/* Cut anywhere, a file is either good or has a problem; it never invents a user. */
Test(userfile, every_cut)
{
    static const char text[] = "\"alice\" \"se\"\"cret\" x\n;c\n\"bob\" \"b\"\n";
    for (size_t length = 0; length <= sizeof(text) - 1; length++) {
        char *problem = NULL;
        char *cut = malloc(length + (length == 0));
        memcpy(cut, text, length);
        struct weir_user_file *file = weir_user_file_parse("cut", cut, length, &problem);
        cr_expect_neq(file == NULL, problem == NULL, "cut at %zu", length);
        if (file && weir_user_file_count(file) > 0 && length != 12)
            expect_secret(file, "alice", "se\"cret");
        weir_user_file_destroy(file);
        free(problem);
        free(cut);
    }
}

Test(userfile, long_strings)
{
    size_t most = 65536;
    char *text = malloc(most + 32);
    cr_assert_not_null(text);
    for (size_t length = most - 1; length <= most + 1; length++) {
        char *problem = NULL;
        char *at = stpcpy(text, "\"alice\" \"");
        memset(at, 'x', length);
        strcpy(at + length, "\"\n");
        struct weir_user_file *file =
            weir_user_file_parse("users.txt", text, strlen(text), &problem);
        if (length <= most) {
            cr_assert_not_null(file);
            cr_expect_eq(strlen(weir_user_file_find(file, "alice")), length);
        } else {
            cr_expect_str_eq(problem, "users.txt:1: string is longer than 65536 bytes");
        }
        weir_user_file_destroy(file);
        free(problem);
    }
    free(text);
}

Test(userfile, many_users)
{
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    for (int i = 0; i < 5000; i++)
        fprintf(stream, "\"user_%d\" \"secret of %d\"\n", i, i);
    fclose(stream);
    struct weir_user_file *file = parse(text, length);
    free(text);
    cr_expect_eq(weir_user_file_count(file), 5000);
    for (int i = 0; i < 6000; i++) {
        char user[32];
        char secret[32];
        snprintf(user, sizeof(user), "user_%d", i);
        snprintf(secret, sizeof(secret), "secret of %d", i);
        expect_secret(file, user, i < 5000 ? secret : NULL);
    }
    weir_user_file_destroy(file);
}

static void count_user(void *context, const char *user)
{
    int *seen = context;
    cr_assert(user[0] == 'u' && user[2] == '\0');
    seen[user[1] - '0']++;
}

Test(userfile, walk_visits_every_user_once)
{
    static const char text[] = "\"u1\" \"a\"\n\"u2\" \"b\"\n\"u1\" \"c\"\n\"u9\" \"\"\n";
    int visits[10] = {0};
    struct weir_user_file *file = parse(text, sizeof(text) - 1);
    weir_user_file_walk(file, count_user, visits);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(visits[i], i == 1 || i == 2 || i == 9);
    weir_user_file_destroy(file);
    file = parse("", 0);
    weir_user_file_walk(file, count_user, visits);
    cr_assert_eq(visits[1], 1);
    weir_user_file_destroy(file);
}

Test(userfile, read)
{
    char folder[] = "/tmp/test_userfile_XXXXXX";
    char path[64];
    char fifo[64];
    char *problem = NULL;
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/users.txt", folder);
    snprintf(fifo, sizeof(fifo), "%s/fifo", folder);

    cr_expect_null(weir_user_file_read(path, true, &problem));
    cr_expect_not_null(strstr(problem, "users.txt:0: No such file or directory"), "%s", problem);
    free(problem);

    FILE *stream = fopen(path, "w");
    cr_assert_not_null(stream);
    fputs("\"alice\" \"secret\"\n", stream);
    fclose(stream);
    static const mode_t exposed[] = {0644, 0604, 0602, 0646};
    for (size_t i = 0; i < sizeof(exposed) / sizeof(exposed[0]); i++) {
        cr_assert_eq(chmod(path, exposed[i]), 0);
        cr_expect_null(weir_user_file_read(path, true, &problem));
        cr_expect_not_null(strstr(problem, "chmod o= /tmp"), "%s", problem);
        free(problem);
        struct weir_user_file *unguarded = weir_user_file_read(path, false, &problem);
        cr_expect_not_null(unguarded);
        weir_user_file_destroy(unguarded);
    }
    cr_assert_eq(chmod(path, 0640), 0);
    struct weir_user_file *file = weir_user_file_read(path, true, &problem);
    cr_assert_not_null(file, "%s", problem);
    expect_secret(file, "alice", "secret");
    weir_user_file_destroy(file);

    cr_assert_eq(mkfifo(fifo, 0600), 0);
    cr_expect_null(weir_user_file_read(fifo, true, &problem));
    cr_expect_not_null(strstr(problem, "fifo:0: not a regular file"), "%s", problem);
    free(problem);
    cr_expect_null(weir_user_file_read(folder, true, &problem));
    cr_expect_not_null(strstr(problem, ":0: not a regular file"), "%s", problem);
    free(problem);

    unlink(path);
    unlink(fifo);
    rmdir(folder);
}
