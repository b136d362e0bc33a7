/* Where users are looked up, as whom, and with which password. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "weir/control.h"

#define MD5 "md5a3556571e93b0d20722ba62be61e8c2d"
#define SCRAM                                                                                      \
    "SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$"                                                 \
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

struct fixture {
    struct weir_conf *conf;
    struct weir_user_file *users;
};

static struct fixture make(const char *global, const char *databases, const char *users)
{
    struct fixture fixture = {0};
    char text[2048];
    char *problems = NULL, *warnings = NULL;
    snprintf(text, sizeof(text), "[pgweir]\n%s\n[databases]\n%s\n", global, databases);
    fixture.conf = weir_conf_parse("t", text, strlen(text), &problems, &warnings);
    cr_assert_not_null(fixture.conf, "%s", problems);
    free(warnings);
    fixture.users = weir_user_file_parse("u", users, strlen(users), &problems);
    cr_assert_not_null(fixture.users);
    return fixture;
}

static void drop(struct fixture *fixture)
{
    weir_conf_destroy(fixture->conf);
    weir_user_file_destroy(fixture->users);
}

/* NULL expected database: not looked up. */
static void expect(const struct fixture *fixture, const char *asked, const char *host,
                   const char *database, const char *password)
{
    struct weir_lookup_target target;
    bool made = weir_lookup_target_make(fixture->conf, fixture->users, asked, &target);
    cr_assert_eq(made, database != NULL, "%s", asked);
    if (!made)
        return;
    cr_expect_str_eq(target.hosts[0].host, host);
    cr_expect_str_eq(target.database, database);
    cr_expect_eq(target.password == NULL, password == NULL, "%s", asked);
    if (target.password != NULL && password != NULL)
        cr_expect_str_eq(target.password, password);
    weir_lookup_target_clear(&target);
}

Test(target, nobody_without_auth_user)
{
    struct fixture fixture =
        make("auth_query = select $1, $1", "a = host=h1\nb = host=h2 auth_user=x", "");
    expect(&fixture, "a", NULL, NULL, NULL);
    expect(&fixture, "b", "h2", "b", NULL);
    expect(&fixture, "c", NULL, NULL, NULL);
    expect(&fixture, NULL, NULL, NULL, NULL);
    drop(&fixture);
}

Test(target, the_database_asked_for_or_the_one_named)
{
    struct fixture fixture = make("auth_user = x",
                                  "a = host=h1 dbname=aa\nb = host=h2 auth_dbname=a\n"
                                  "c = host=h3 auth_dbname=cc\n* = host=h4",
                                  "\"x\" \"pw\"");
    expect(&fixture, "a", "h1", "aa", "pw");
    expect(&fixture, "b", "h1", "aa", "pw");
    expect(&fixture, "c", "h3", "cc", "pw");
    expect(&fixture, "other", "h4", "other", "pw");
    expect(&fixture, NULL, NULL, NULL, NULL);
    drop(&fixture);
    fixture = make("auth_user = x\nauth_dbname = a", "a = host=h1", "");
    expect(&fixture, NULL, "h1", "a", NULL);
    expect(&fixture, "nowhere", "h1", "a", NULL);
    drop(&fixture);
}

Test(target, the_password_of_the_line_or_of_the_file)
{
    struct fixture fixture = make("auth_user = x",
                                  "a = host=h user=x password=line\n"
                                  "b = host=h user=y password=line\nc = host=h auth_user=z\n",
                                  "\"x\" \"file\"\n\"z\" \"" SCRAM "\"");
    expect(&fixture, "a", "h", "a", "line");
    expect(&fixture, "b", "h", "b", "file");
    expect(&fixture, "c", "h", "c", NULL);
    struct weir_lookup_target target;
    cr_assert(weir_lookup_target_make(fixture.conf, fixture.users, "c", &target));
    cr_expect_eq(target.unusable, WEIR_SECRET_SCRAM);
    weir_lookup_target_clear(&target);
    drop(&fixture);
    fixture = make("auth_user = x", "a = host=h", "\"x\" \"" MD5 "\"");
    cr_assert(weir_lookup_target_make(fixture.conf, fixture.users, "a", &target));
    cr_expect_eq(target.unusable, WEIR_SECRET_MD5);
    cr_expect_null(target.password);
    weir_lookup_target_clear(&target);
    drop(&fixture);
}
