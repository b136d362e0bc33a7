#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hba_files.h"
#include "ldap_url.h"

/* The rule that decides: none of these wants to know more. */
static const struct weir_hba_rule *rule_for(struct weir_hba *hba,
                                            const struct weir_hba_login *login)
{
    struct weir_hba_walk *walk = weir_hba_walk_begin(hba, login);
    cr_assert_eq(weir_hba_walk_on(walk, NULL), WEIR_HBA_DECIDED);
    const struct weir_hba_rule *rule = weir_hba_walk_rule(walk);
    weir_hba_walk_end(walk);
    return rule;
}

/* Of the first rule of these lines: "ldap a=b c=d". */
static char *show(const char *line)
{
    const struct memory_file files[] = {{"hba", line}, {NULL, NULL}};
    char *problem = NULL;
    struct weir_hba *hba = read_files(files, &problem);
    cr_assert_not_null(hba, "%s: %s", line, problem);
    struct sockaddr_storage peer = {.ss_family = AF_UNIX};
    const struct weir_hba_login login = {
        .peer = (struct sockaddr *)&peer, .database = "d", .user = "u"};
    const struct weir_hba_rule *rule = rule_for(hba, &login);
    cr_assert_not_null(rule);
    cr_assert_not_null(rule->outside);
    cr_assert_str_eq(rule->outside->method, weir_hba_method_name(rule->method));
    char *shown = weir_strdup(rule->outside->method);
    for (size_t i = 0; i < rule->outside->count; i++) {
        char *longer = weir_format("%s %s=%s", shown, rule->outside->options[i].name,
                                   rule->outside->options[i].value);
        free(shown);
        shown = longer;
    }
    weir_hba_release(hba);
    return shown;
}

static const struct {
    const char *line;
    const char *shown;
} good[] = {
    {"pam", "pam pamservice=postgresql"},
    {"pam pamservice=x", "pam pamservice=x"},
    {"pam pamservice=x pamservice=y", "pam pamservice=y"},
    {"pam pamservice=", "pam pamservice=postgresql"},
    {"pam pam_use_hostname=0", "pam pam_use_hostname=0 pamservice=postgresql"},
    {"ldap ldapserver=h ldapprefix=uid=", "ldap ldapserver=h ldapprefix=uid="},
    {"ldap ldapserver=\"a b\" \"ldapsuffix=, dc=x\"", "ldap ldapserver=a b ldapsuffix=, dc=x"},
    {"ldap ldapserver=h ldapprefix=", "ldap ldapserver=h ldapprefix="},
    {"ldap ldapserver=h ldapbasedn=\"dc=x, dc=y\" ldapbinddn=b ldapbindpasswd=p\"\"w "
     "ldapsearchattribute=mail ldaptls=1 ldapport=1389 ldapscheme=ldap",
     "ldap ldapserver=h ldapbasedn=dc=x, dc=y ldapbinddn=b ldapbindpasswd=pw "
     "ldapsearchattribute=mail ldaptls=1 ldapport=1389 ldapscheme=ldap"},
    {"ldap ldapserver=h ldapbasedn=x \"ldapsearchfilter=(&(a=$username)(b=c,d))\"",
     "ldap ldapserver=h ldapbasedn=x ldapsearchfilter=(&(a=$username)(b=c,d))"},
    /* a server by DNS */
    {"ldap ldapbasedn=dc=x ldaptls=0", "ldap ldapbasedn=dc=x ldaptls=0"},
    {"ldap ldapurl=ldap://h/dc=x",
     "ldap ldapscheme=ldap ldapport=389 ldapscope=base ldapserver=h ldapbasedn=dc=x"},
    {"ldap ldapurl=\"ldaps://h/dc=x,dc=y?uid?sub\"",
     "ldap ldapscheme=ldaps ldapport=636 ldapscope=sub ldapserver=h ldapbasedn=dc=x,dc=y "
     "ldapsearchattribute=uid"},
    {"ldap ldapurl=LDAP://h:77/dc=x??one?(a=%20b)",
     "ldap ldapscheme=ldap ldapport=77 ldapscope=one ldapserver=h ldapbasedn=dc=x "
     "ldapsearchfilter=(a= b)"},
    /* The last of those that say the same counts. */
    {"ldap ldapserver=a ldapurl=ldap://b/dc=x ldapserver=c",
     "ldap ldapserver=c ldapscheme=ldap ldapport=389 ldapscope=base ldapbasedn=dc=x"},
};

Test(outside, good)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char *line = weir_format("local all all %s", good[i].line);
        char *shown = show(line);
        cr_expect_str_eq(shown, good[i].shown, "%s: %s", line, shown);
        free(shown);
        free(line);
    }
}

static const struct {
    const char *line;
    const char *problem;
} bad[] = {
    {"pam ldapserver=x", "hba:1: authentication option ldapserver goes with method ldap only"},
    {"ldap pamservice=x", "hba:1: authentication option pamservice goes with method pam only"},
    {"trust ldaptls=1", "hba:1: authentication option ldaptls goes with method ldap only"},
    {"md5 pamservice=x", "hba:1: authentication option pamservice goes with method pam only"},
    {"pam x=y", "hba:1: unknown authentication option \"x=y\" for method pam"},
    {"ldap ldapscope=sub ldapserver=x ldapprefix=y", "hba:1: unknown authentication option"},
    {"pam pamservice", "hba:1: authentication option \"pamservice\" is not in the form name=value"},
    {"pam map=m", "hba:1: authentication option map goes with method"},
    {"pam pam_use_hostname=1", "hba:1: authentication option pam_use_hostname=1: refused: "},
    {"ldap", "hba:1: authentication method \"ldap\" requires argument \"ldapbasedn\", "},
    {"ldap ldapserver=x", "hba:1: authentication method \"ldap\" requires argument "},
    {"ldap ldapurl=ldap://x", "hba:1: authentication method \"ldap\" requires argument "},
    {"ldap ldapprefix=x", "hba:1: neither ldapserver nor ldapbasedn is set"},
    {"ldap ldapserver=x ldapprefix=y ldapbasedn=z", "hba:1: cannot use ldapbasedn, ldapbinddn, "},
    {"ldap ldapserver=x ldapsuffix=y ldapbinddn=z", "hba:1: cannot use ldapbasedn, ldapbinddn, "},
    {"ldap ldapserver=x ldapsuffix=y ldapbindpasswd=z", "hba:1: cannot use ldapbasedn, "},
    {"ldap ldapserver=x ldapsuffix=y ldapsearchfilter=z", "hba:1: cannot use ldapbasedn, "},
    {"ldap ldapsuffix=y ldapurl=ldap://x/dc=z", "hba:1: cannot use ldapbasedn, "},
    {"ldap ldapserver=x ldapbasedn=y ldapsearchattribute=z ldapsearchfilter=a",
     "hba:1: cannot use ldapsearchattribute together with ldapsearchfilter"},
    {"ldap ldapurl=ldap://x/dc=y?z ldapsearchfilter=a",
     "hba:1: cannot use ldapsearchattribute together with ldapsearchfilter"},
    {"ldap ldapserver=x ldapprefix=y ldapport=0", "ldapport=0: invalid port number"},
    {"ldap ldapserver=x ldapprefix=y ldapport=65536", "ldapport=65536: invalid port number"},
    {"ldap ldapserver=x ldapprefix=y ldapport=1x", "ldapport=1x: invalid port number"},
    {"ldap ldapserver=x ldapprefix=y ldapport=-1", "ldapport=-1: invalid port number"},
    {"ldap ldapserver=x ldapprefix=y ldapport=", "ldapport=: invalid port number"},
    {"ldap ldapserver=x ldapprefix=y ldapscheme=ldapi", "it must be ldap or ldaps"},
    {"ldap ldapserver=x ldapprefix=y ldaptls=yes", "ldaptls=yes: it must be 0 or 1"},
    {"ldap ldapurl=ldapi:///dc=x", "could not parse LDAP URL \"ldapi:///dc=x\": it does not begin"},
    {"ldap ldapurl=ldap://x:0/dc=y", "invalid port"},
    {"ldap ldapurl=ldap://x/dc=y?z?all", "invalid scope"},
};

Test(outside, bad)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *line = weir_format("local all all %s", bad[i].line);
        const struct memory_file files[] = {{"hba", line}, {NULL, NULL}};
        char *problem = NULL;
        cr_expect_null(read_files(files, &problem), "%s", line);
        cr_assert_not_null(problem, "%s", line);
        cr_expect_not_null(strstr(problem, bad[i].problem), "%s: %s", line, problem);
        free(problem);
        free(line);
    }
}

Test(outside, options_that_are_too_long)
{
    char *value = weir_alloc(70000);
    memset(value, 'x', 69999);
    char *line = weir_format("local all all pam pamservice=%s", value);
    const struct memory_file files[] = {{"hba", line}, {NULL, NULL}};
    char *problem = NULL;
    cr_expect_null(read_files(files, &problem));
    cr_expect_not_null(strstr(problem, "too long"), "%s", problem);
    free(problem);
    free(line);
    free(value);
}

/* --- ldapurl ----------------------------------------------------------------------------- */

Test(outside, urls)
{
    static const struct {
        const char *text;
        const char *shown; /* secure host port base attribute scope filter; NULL: refused */
    } table[] = {
        {"ldap://", "0 - 389 - - base -"},
        {"ldap:///", "0 - 389 - - base -"},
        {"ldap:///dc=x", "0 - 389 dc=x - base -"},
        {"ldap://h", "0 h 389 - - base -"},
        {"ldaps://h:1/", "1 h 1 - - base -"},
        {"ldaps://h:65535/b", "1 h 65535 b - base -"},
        {"LdApS://h/b", "1 h 636 b - base -"},
        {"ldap://[::1]/b", "0 [::1] 389 b - base -"},
        {"ldap://[::1]:88/b", "0 [::1] 88 b - base -"},
        {"ldap://h/b?", "0 h 389 b - base -"},
        {"ldap://h/b?a,c?SUB", "0 h 389 b a sub -"},
        {"ldap://h/b??one", "0 h 389 b - one -"},
        {"ldap://h/b??base", "0 h 389 b - base -"},
        {"ldap://h/b??children?(x=y)", "0 h 389 b - children (x=y)"},
        {"ldap://h/b??\?(x=y)", "0 h 389 b - base (x=y)"},
        {"ldap://h/b???", "0 h 389 b - base -"},
        {"ldap://h/dc=%3fx%2C", "0 h 389 dc=?x, - base -"},
        {"ldap://h%41/b", "0 hA 389 b - base -"},
        {"ldap://h??sub", "0 h 389 - - sub -"},
        {"ldap:/h", NULL},
        {"http://h/b", NULL},
        {"", NULL},
        {"ldap://h:/b", NULL},
        {"ldap://h:0/b", NULL},
        {"ldap://h:65536/b", NULL},
        {"ldap://h:99999999999999999999/b", NULL},
        {"ldap://h:8x/b", NULL},
        {"ldap://[::1/b", NULL},
        {"ldap://[::1]8/b", NULL},
        {"ldap://h/b??x", NULL},
        {"ldap://h/b???%", NULL},
        {"ldap://h/b?%?sub", NULL},
        {"ldap://h/%4", NULL},
        {"ldap://h/%4x", NULL},
        {"ldap://h/a%00b", NULL},
        {"ldap://h%/", NULL},
        {"ldap://h/b????e", NULL},
        {"ldap://h/b??\?(x=y)?", NULL},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct ldap_url url;
        const char *problem = ldap_url_read(table[i].text, &url);
        cr_expect_eq(problem == NULL, table[i].shown != NULL, "%s: %s", table[i].text,
                     problem != NULL ? problem : "taken");
        if (problem != NULL)
            continue;
        char *shown = weir_format(
            "%d %s %d %s %s %s %s", url.secure, url.host != NULL ? url.host : "-", url.port,
            url.base != NULL ? url.base : "-", url.attribute != NULL ? url.attribute : "-",
            url.scope, url.filter != NULL ? url.filter : "-");
        if (table[i].shown != NULL)
            cr_expect_str_eq(shown, table[i].shown, "%s: %s", table[i].text, shown);
        free(shown);
        ldap_url_clear(&url);
    }
}

/* --- rules that are made up -------------------------------------------------------------- */

static void fits(struct weir_hba *hba, int family, bool physical)
{
    struct sockaddr_storage peer = {.ss_family = (sa_family_t)family};
    const struct weir_hba_login login = {.peer = (struct sockaddr *)&peer,
                                         .database = "d",
                                         .user = "u",
                                         .physical_replication = physical};
    const struct weir_hba_rule *rule = rule_for(hba, &login);
    cr_assert_not_null(rule, "%d %d", family, physical);
    cr_expect_eq(rule->method, WEIR_HBA_LDAP);
    cr_expect_str_eq(weir_outside_value(rule->outside, "ldapserver"), "a b");
}

Test(outside, for_all)
{
    char *problem = NULL;
    struct weir_hba *hba =
        weir_hba_for_all("ldap", "ldapserver=\"a b\" ldapprefix=x", "the setting", &problem);
    cr_assert_not_null(hba, "%s", problem);
    for (int physical = 0; physical < 2; physical++) {
        fits(hba, AF_UNIX, physical);
        fits(hba, AF_INET, physical);
        fits(hba, AF_INET6, physical);
    }
    cr_expect(weir_hba_asks_outside(hba));
    cr_expect_not_null(weir_hba_exposing_rule(hba));
    weir_hba_release(hba);
    cr_expect_null(weir_hba_for_all("ldap", "ldapserver=x", "the setting", &problem));
    cr_expect_eq(strncmp(problem, "the setting:1: authentication method", 36), 0, "%s", problem);
    cr_expect_null(strchr(problem, '\n'));
    free(problem);
}

/* What a login has taken stays when the rules go. */
Test(outside, outlives_its_rule)
{
    char *problem = NULL;
    struct weir_hba *hba = weir_hba_for_all("pam", "pamservice=s", "x", &problem);
    struct sockaddr_storage peer = {.ss_family = AF_UNIX};
    const struct weir_hba_login login = {
        .peer = (struct sockaddr *)&peer, .database = "d", .user = "u"};
    struct weir_outside *outside = weir_outside_share(rule_for(hba, &login)->outside);
    weir_hba_release(hba);
    cr_expect_str_eq(weir_outside_value(outside, "pamservice"), "s");
    cr_expect_null(weir_outside_value(outside, "ldaptls"));
    weir_outside_release(outside);
    weir_outside_release(NULL);
}

Test(outside, who_could_listen)
{
    static const struct {
        const char *line;
        bool exposed;
    } table[] = {
        {"local all all pam", false},
        {"hostssl all all all pam", false},
        {"hostgssenc all all all pam", false},
        {"host all all all pam", true},
        {"hostnossl all all samenet pam", true},
        {"hostnogssenc all all 10.0.0.1/32 pam", true},
        {"host all all 127.0.0.0/8 pam", false},
        {"host all all 127.0.0.1/32 pam", false},
        {"host all all 127.0.0.1/7 pam", true},
        {"host all all ::1/128 pam", false},
        {"host all all ::1/127 pam", true},
        {"host all all all password", false},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct memory_file files[] = {{"hba", table[i].line}, {NULL, NULL}};
        char *problem = NULL;
        struct weir_hba *hba = read_files(files, &problem);
        cr_assert_not_null(hba, "%s", problem);
        cr_expect_eq(weir_hba_exposing_rule(hba) != NULL, table[i].exposed, "%s", table[i].line);
        weir_hba_release(hba);
    }
}
