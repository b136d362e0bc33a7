/* Rules of who may come in: their form, what is refused, and which one fits. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hba_files.h"

static struct weir_hba *parse(const char *text)
{
    const struct memory_file files[] = {{"hba", text}, {NULL, NULL}};
    char *problem = NULL;
    struct weir_hba *hba = read_files(files, &problem);
    cr_assert_not_null(hba, "%s: %s", text, problem);
    cr_assert_null(problem);
    return hba;
}

/* "local", or an address. */
static struct weir_hba_login login_of(const char *from, const char *database, const char *user)
{
    static struct sockaddr_storage peer;
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    memset(&peer, 0, sizeof(peer));
    if (strcmp(from, "local") == 0) {
        peer.ss_family = AF_UNIX;
    } else if (inet_pton(AF_INET, from, &four.sin_addr) == 1) {
        memcpy(&peer, &four, sizeof(four));
    } else {
        cr_assert_eq(inet_pton(AF_INET6, from, &six.sin6_addr), 1, "%s", from);
        memcpy(&peer, &six, sizeof(six));
    }
    return (struct weir_hba_login){
        .peer = (struct sockaddr *)&peer, .database = database, .user = user};
}

/* The rule that decides when nothing is wanted on the way. */
static const struct weir_hba_rule *rule_by(struct weir_hba *hba, const struct weir_hba_login *login,
                                           const struct ifaddrs *interfaces)
{
    struct weir_hba_walk *walk = weir_hba_walk_begin(hba, login);
    cr_assert_eq(weir_hba_walk_on(walk, interfaces), WEIR_HBA_DECIDED);
    const struct weir_hba_rule *rule = weir_hba_walk_rule(walk);
    weir_hba_walk_end(walk);
    return rule;
}

static const struct weir_hba_rule *rule_for(struct weir_hba *hba,
                                            const struct weir_hba_login *login)
{
    return rule_by(hba, login, NULL);
}

/* The line of the rule that fits, 0 for none. */
static size_t line_for(struct weir_hba *hba, const char *from, const char *database,
                       const char *user)
{
    struct weir_hba_login login = login_of(from, database, user);
    const struct weir_hba_rule *rule = rule_for(hba, &login);
    return rule != NULL ? rule->line : 0;
}

static const struct {
    const char *rule;
    const char *from;
    const char *database;
    const char *user;
    bool fits;
} fitting[] = {
    {"local all all trust", "local", "db", "u", true},
    {"local all all trust", "127.0.0.1", "db", "u", false},
    {"host all all all trust", "local", "db", "u", false},
    {"host all all all trust", "127.0.0.1", "db", "u", true},
    {"host all all all trust", "2001:db8::1", "db", "u", true},
    {"hostssl all all all trust", "127.0.0.1", "db", "u", false},
    {"hostnossl all all all trust", "127.0.0.1", "db", "u", true},
    {"hostgssenc all all all trust", "127.0.0.1", "db", "u", false},
    {"hostnogssenc all all all trust", "127.0.0.1", "db", "u", true},
    /* addresses */
    {"host all all 10.0.0.0/8 trust", "10.255.0.1", "db", "u", true},
    {"host all all 10.0.0.0/8 trust", "11.0.0.1", "db", "u", false},
    {"host all all 10.1.2.3/8 trust", "10.9.9.9", "db", "u", true},
    {"host all all 0.0.0.0/0 trust", "1.2.3.4", "db", "u", true},
    {"host all all 0.0.0.0/0 trust", "::1", "db", "u", false},
    {"host all all ::/0 trust", "::1", "db", "u", true},
    {"host all all ::/0 trust", "1.2.3.4", "db", "u", false},
    {"host all all 10.0.0.1/32 trust", "10.0.0.1", "db", "u", true},
    {"host all all 10.0.0.1/32 trust", "10.0.0.0", "db", "u", false},
    {"host all all 10.0.0.0/31 trust", "10.0.0.1", "db", "u", true},
    {"host all all 10.0.0.0/9 trust", "10.128.0.0", "db", "u", false},
    {"host all all 10.0.0.0 255.255.0.0 trust", "10.0.9.9", "db", "u", true},
    {"host all all 10.0.0.0 255.255.0.0 trust", "10.1.9.9", "db", "u", false},
    {"host all all 10.0.0.0 255.0.255.0 trust", "10.77.0.9", "db", "u", true},
    {"host all all 2001:db8::/33 trust", "2001:db8:7fff::1", "db", "u", true},
    {"host all all 2001:db8::/33 trust", "2001:db8:8000::1", "db", "u", false},
    {"host all all ::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff trust", "::1", "db", "u", true},
    {"host all all ::1/128 trust", "::2", "db", "u", false},
    /* IPv4 that came in by a socket for both */
    {"host all all 10.0.0.0/8 trust", "::ffff:10.0.0.1", "db", "u", true},
    {"host all all ::/0 trust", "::ffff:10.0.0.1", "db", "u", false},
    /* names */
    {"local db u trust", "local", "db", "u", true},
    {"local db u trust", "local", "DB", "u", false},
    {"local db u trust", "local", "db", "U", false},
    {"local a,b,c x,y trust", "local", "b", "y", true},
    {"local a, b,, c x, y trust", "local", "b", "x", true},
    {"local a,b,c x,y trust", "local", "d", "y", false},
    {"local sameuser all trust", "local", "u", "u", true},
    {"local sameuser all trust", "local", "db", "u", false},
    {"local \"sameuser\" all trust", "local", "u", "u", false},
    {"local \"sameuser\" all trust", "local", "sameuser", "u", true},
    {"local \"all\" all trust", "local", "db", "u", false},
    {"local \"all\" all trust", "local", "all", "u", true},
    {"local all \"all\" trust", "local", "db", "u", false},
    {"local all \"all\" trust", "local", "db", "all", true},
    {"local a\"ll\" all trust", "local", "db", "u", true},
    {"local replication all trust", "local", "db", "u", false},
    {"local replication all trust", "local", "replication", "u", false},
    {"local \"replication\" all trust", "local", "replication", "u", true},
    {"local \"two words\" \"with \"\"quotes\"\"\" trust", "local", "two words", "with \"quotes\"",
     true},
    {"local \"a,b\" \"#u\" trust", "local", "a,b", "#u", true},
    {"local all \"+role\" trust", "local", "db", "+role", true},
    {"local +db u trust", "local", "+db", "u", true},
    {"local all @ trust", "local", "db", "@", true},
    {"local all \"@u\" trust", "local", "db", "@u", true},
    {"local all u trust # comment", "local", "db", "u", true},
    /* regular expressions, of PostgreSQL 16 */
    {"local /^db[0-9]+$ all trust", "local", "db17", "u", true},
    {"local /^db[0-9]+$ all trust", "local", "db17x", "u", false},
    {"local /^db[0-9]+$ all trust", "local", "db17\n", "u", false},
    {"local /b all trust", "local", "abc", "u", true},
    {"local all \"/^bob,(alice|eve)$\" trust", "local", "db", "bob,eve", true},
    {"local all x,/^u\\d{2}$ trust", "local", "db", "u42", true},
    {"local all /^u\\d{2}$ trust", "local", "db", "ud", false},
    {"local all /^[[:alpha:]_\\-]+$ trust", "local", "db", "a-b_c", true},
};

Test(hba, which_logins_a_rule_fits)
{
    for (size_t i = 0; i < sizeof(fitting) / sizeof(fitting[0]); i++) {
        char text[512];
        snprintf(text, sizeof(text), "# first\n%s\n", fitting[i].rule);
        struct weir_hba *hba = parse(text);
        size_t line = line_for(hba, fitting[i].from, fitting[i].database, fitting[i].user);
        cr_expect_eq(line, fitting[i].fits ? 2 : 0, "%s: %s %s %s", fitting[i].rule,
                     fitting[i].from, fitting[i].database, fitting[i].user);
        weir_hba_release(hba);
    }
}

/* --- members of roles ------------------------------------------------------------------ */

static const struct {
    const char *rules; /* "u" comes from 10.0.0.1 and asks for "db" */
    const char *roles; /* that it is a member of, each behind a blank */
    const char *asked; /* for which it was asked, likewise; ! is its host */
    size_t line;
} memberships[] = {
    {"host all +a all trust", " a", " a", 1},
    {"host all +a all trust", " b", " a", 0},
    {"host all +a,+b all trust", " b", " a b", 1},
    {"host all +a,+b all trust", " a", " a", 1},
    {"host all +a,u all trust", "", "", 1},
    {"host all +a,/^u all trust", "", "", 1},
    {"host all v,+a all trust", " a", " a", 1},
    {"host all \"+a\" all trust", " a", "", 0},
    {"host all + all trust", "", " ", 0},
    {"host all +\"a b\" all trust", " a b", " a b", 1},
    {"host all +u all trust", " u", " u", 1},
    {"host samerole all all trust", " db", " db", 1},
    {"host samegroup all all trust", " db", " db", 1},
    {"host samerole all all trust", " u", " db", 0},
    {"host \"samerole\" all all trust", " db", "", 0},
    {"host samerole,db all all trust", "", "", 1},
    {"host samerole +a all trust", " a db", " a db", 1},
    {"host samerole +a all trust", " db", " a", 0},
    {"host samerole +db all trust", " db", " db", 1},
    /* what is known holds for later rules */
    {"host all +a all trust\nhost db +a all trust\nhost all +b all trust", " b", " a b", 3},
    {"host all +a all reject\nhost samerole all all trust\nhost all all all md5", "", " a db", 3},
    {"host all +b,+a all trust\nhost all +a,+b all trust\nhost all all all md5", "", " b a", 3},
    /* and nothing is asked for what does not fit anyway, or comes too late */
    {"host other +a all trust", " a", "", 0},
    {"host all +a 11.0.0.0/8 trust", " a", "", 0},
    {"hostssl all +a all trust", " a", "", 0},
    {"host samerole v all trust", " db", "", 0},
    {"host all all all trust\nhost all +a all reject", " a", "", 1},
    /* by its host first, as that is asked for once */
    {"host all +a h.test trust", " a", "! a", 1},
    {"host all +a x.test trust", " a", "!", 0},
    {"host samerole +a .test trust\nhost db +a h.test trust", " a", "! a db", 2},
};

/* Answers as the row says until the walk is over. */
static size_t walk_by_roles(struct weir_hba *hba, const char *roles, char *asked, size_t size)
{
    struct weir_hba_login login = login_of("10.0.0.1", "db", "u");
    struct weir_hba_walk *walk = weir_hba_walk_begin(hba, &login);
    enum weir_hba_step step;
    asked[0] = '\0';
    while ((step = weir_hba_walk_on(walk, NULL)) != WEIR_HBA_DECIDED) {
        char role[64];
        size_t used = strlen(asked);
        cr_assert_lt(used, size / 2);
        if (step == WEIR_HBA_WANTS_HOST) {
            snprintf(asked + used, size - used, "!");
            weir_hba_walk_tell_host(walk, "h.test");
        } else if (step == WEIR_HBA_WANTS_ADDRESSES) {
            weir_hba_walk_tell_own(walk, true);
        } else {
            snprintf(role, sizeof(role), " %s", weir_hba_walk_role(walk));
            snprintf(asked + used, size - used, "%s", role);
            weir_hba_walk_tell_member(walk, role[1] != '\0' && strstr(roles, role) != NULL);
        }
    }
    const struct weir_hba_rule *rule = weir_hba_walk_rule(walk);
    size_t line = rule != NULL ? rule->line : 0;
    weir_hba_walk_end(walk);
    return line;
}

Test(hba, members_of_roles)
{
    for (size_t i = 0; i < sizeof(memberships) / sizeof(memberships[0]); i++) {
        char asked[128];
        struct weir_hba *hba = parse(memberships[i].rules);
        size_t line = walk_by_roles(hba, memberships[i].roles, asked, sizeof(asked));
        cr_expect_eq(line, memberships[i].line, "%s:%s: %zu", memberships[i].rules,
                     memberships[i].roles, line);
        cr_expect_str_eq(asked, memberships[i].asked, "%s: %s", memberships[i].rules, asked);
        cr_expect_eq(weir_hba_role_rule(hba) == NULL,
                     strstr(memberships[i].rules, " +") == NULL &&
                         strstr(memberships[i].rules, ",+") == NULL &&
                         strstr(memberships[i].rules, " same") == NULL,
                     "%s", memberships[i].rules);
        weir_hba_release(hba);
    }
}

/* PostgreSQL sees 63 bytes of a name, so more of them are no way round a rule. */
Test(hba, long_names_are_cut)
{
    char name[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkTAIL", text[256];
    snprintf(
        text, sizeof(text),
        "host all %.63s all reject\nhost %.63s all all md5\nhost all \"/^.{64,}$\" all md5\nhost "
        "all all all trust\n",
        name, name);
    struct weir_hba *hba = parse(text);
    cr_expect_eq(line_for(hba, "10.0.0.1", "db", name), 1);
    cr_expect_eq(line_for(hba, "10.0.0.1", name, "u"), 2);
    name[62] = '\0';
    cr_expect_eq(line_for(hba, "10.0.0.1", "db", name), 4);
    weir_hba_release(hba);
}

Test(hba, physical_replication_is_of_no_database_whose_role_could_be_asked_for)
{
    struct weir_hba *hba = parse("host samerole all all trust\nhost replication +a all md5\n");
    struct weir_hba_login login = login_of("10.0.0.1", "db", "u");
    login.physical_replication = true;
    struct weir_hba_walk *walk = weir_hba_walk_begin(hba, &login);
    cr_expect_eq(weir_hba_walk_on(walk, NULL), WEIR_HBA_WANTS_MEMBER);
    cr_expect_str_eq(weir_hba_walk_role(walk), "a");
    weir_hba_walk_tell_member(walk, true);
    cr_expect_eq(weir_hba_walk_on(walk, NULL), WEIR_HBA_DECIDED);
    cr_expect_eq(weir_hba_walk_rule(walk)->line, 2);
    weir_hba_walk_end(walk);
    weir_hba_release(hba);
}

/* --- host names ------------------------------------------------------------------------ */

static const struct {
    const char *rules; /* the last one takes all */
    const char *host;  /* NULL: the address has no name */
    bool own;          /* that name has the address */
    const char *asked; /* h: for the name, a: for its addresses */
    size_t line;
} hosts[] = {
    {"host all all one.test trust", "one.test", true, "ha", 1},
    {"host all all one.test trust", "ONE.Test", true, "ha", 1},
    {"host all all one.test trust", "one.test", false, "ha", 2},
    {"host all all one.test trust", "two.test", true, "h", 2},
    {"host all all one.test trust", NULL, true, "h", 2},
    {"host all all one.test trust", "aone.test", true, "h", 2},
    {"host all all one.test trust", "one.test.org", true, "h", 2},
    {"host all all .test trust", "one.test", true, "ha", 1},
    {"host all all .TEST trust", "a.b.test", true, "ha", 1},
    {"host all all .test trust", "test", true, "h", 2},
    {"host all all .test trust", "atest", true, "h", 2},
    {"host all all .test trust", ".test", true, "ha", 1},
    {"host all all . trust", "one.test", true, "h", 2},
    {"host all all \"all\" trust", "one.test", true, "h", 2},
    {"host all all \"all\" trust", "all", true, "ha", 1},
    {"host all all 1.2.3.4.5 trust", "one.test", true, "h", 2},
    {"host all all \"\" trust", "one.test", true, "h", 2},
    /* asked once, for the first rule that needs it */
    {"host all all a.test trust\nhost all all b.test trust", "b.test", true, "ha", 2},
    {"host all all a.test trust\nhost all all .test trust", "a.test", false, "ha", 3},
    {"host all all a.test trust\nhost all all b.test trust", NULL, true, "h", 3},
    {"host db v .test reject\nhost all u .test trust", "a.test", true, "ha", 2},
    /* not asked for when the rule does not fit anyway, or comes too late */
    {"host other all a.test trust", "a.test", true, "", 2},
    {"host all v a.test trust", "a.test", true, "", 2},
    {"hostssl all all a.test trust", "a.test", true, "", 2},
    {"host all all all trust\nhost all all a.test reject", "a.test", true, "", 1},
};

/* Answers as the row says until the walk is over; what was asked for is appended to `asked`. */
static size_t walk_by_name(struct weir_hba *hba, const char *host, bool own, char asked[8])
{
    struct weir_hba_login login = login_of("10.0.0.1", "db", "u");
    struct weir_hba_walk *walk = weir_hba_walk_begin(hba, &login);
    memset(asked, 0, 8);
    for (size_t i = 0; i < 7; i++) {
        enum weir_hba_step step = weir_hba_walk_on(walk, NULL);
        cr_assert_eq(weir_hba_walk_on(walk, NULL), step, "asked again, it wants the same");
        if (step == WEIR_HBA_DECIDED)
            break;
        asked[i] = step == WEIR_HBA_WANTS_HOST ? 'h' : 'a';
        if (step == WEIR_HBA_WANTS_HOST)
            weir_hba_walk_tell_host(walk, host);
        else
            weir_hba_walk_tell_own(walk, own);
    }
    const struct weir_hba_rule *rule = weir_hba_walk_rule(walk);
    size_t line = rule != NULL ? rule->line : 0;
    weir_hba_walk_end(walk);
    return line;
}

Test(hba, host_names)
{
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        char text[512], asked[8];
        snprintf(text, sizeof(text), "%s\nhost all all all md5\n", hosts[i].rules);
        struct weir_hba *hba = parse(text);
        cr_expect_not_null(weir_hba_host_rule(hba));
        size_t line = walk_by_name(hba, hosts[i].host, hosts[i].own, asked);
        cr_expect_eq(line, hosts[i].line, "%s: %s: %zu", hosts[i].rules, hosts[i].host, line);
        cr_expect_str_eq(asked, hosts[i].asked, "%s: %s", hosts[i].rules, hosts[i].host);
        weir_hba_release(hba);
    }
    struct weir_hba *hba = parse("local all all trust\n");
    cr_expect_null(weir_hba_host_rule(hba));
    weir_hba_release(hba);
}

Test(hba, what_is_found_out_of_a_host)
{
    struct weir_hba *hba = parse("host all all a.test trust\n");
    struct weir_hba_login login = login_of("::ffff:10.0.0.1", "db", "u");
    struct weir_hba_walk *walk = weir_hba_walk_begin(hba, &login);
    /* The walk keeps them, whoever gives them up. */
    cr_expect_eq(weir_hba_walk_rules(walk), hba);
    weir_hba_release(hba);
    cr_expect_null(weir_hba_walk_describe_host(walk));
    cr_expect_eq(weir_hba_walk_on(walk, NULL), WEIR_HBA_WANTS_HOST);
    weir_hba_walk_tell_host(walk, "a.test");
    cr_expect_str_eq(weir_hba_walk_host(walk), "a.test");
    cr_expect_eq(weir_hba_walk_on(walk, NULL), WEIR_HBA_WANTS_ADDRESSES);
    static const struct {
        const char *address;
        bool own;
    } rows[] = {{"10.0.0.1", true},
                {"10.0.0.2", false},
                {"::ffff:10.0.0.1", true},
                {"::a00:1", false},
                {"local", false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(weir_hba_walk_is_own(walk, login_of(rows[i].address, "", "").peer),
                     rows[i].own, "%s", rows[i].address);
    weir_hba_walk_tell_own(walk, false);
    cr_expect_eq(weir_hba_walk_on(walk, NULL), WEIR_HBA_DECIDED);
    cr_expect_null(weir_hba_walk_rule(walk));
    char *text = weir_hba_walk_describe_host(walk);
    cr_expect_str_eq(text,
                     "the client's address has the name \"a.test\", and that not this address");
    free(text);
    weir_hba_walk_end(walk);
}

Test(hba, first_rule_that_fits_wins)
{
    struct weir_hba *hba = parse("host db u 10.0.0.0/8 reject\n"
                                 "\n"
                                 "host db u,v all md5\n"
                                 "host all all 10.0.0.0/8 scram-sha-256\n"
                                 "local all all \\\n"
                                 "  peer \\\n"
                                 " map=m\n"
                                 "# comment \\\n"
                                 "host all all all trust\n"
                                 "host all w all password");
    cr_expect_eq(weir_hba_count(hba), 5);
    cr_expect_eq(line_for(hba, "10.0.0.1", "db", "u"), 1);
    cr_expect_eq(line_for(hba, "11.0.0.1", "db", "u"), 3);
    cr_expect_eq(line_for(hba, "10.0.0.1", "db", "v"), 3);
    cr_expect_eq(line_for(hba, "10.0.0.1", "other", "v"), 4);
    cr_expect_eq(line_for(hba, "local", "db", "u"), 5);
    cr_expect_eq(line_for(hba, "11.0.0.1", "other", "v"), 0, "a comment goes on behind \\");
    cr_expect_eq(line_for(hba, "11.0.0.1", "other", "w"), 10);
    struct weir_hba_login login = login_of("local", "db", "u");
    const struct weir_hba_rule *rule = rule_for(hba, &login);
    cr_expect_eq(rule->method, WEIR_HBA_PEER);
    cr_expect_str_eq(rule->map, "m");
    cr_expect_str_eq(rule->file, "hba");
    weir_hba_release(hba);
}

Test(hba, replication_and_encryption)
{
    struct weir_hba *hba = parse("hostssl all all all md5\n"
                                 "hostnossl all,replication v all trust\n"
                                 "host replication u all trust\n");
    struct weir_hba_login login = login_of("127.0.0.1", "db", "u");
    cr_expect_null(rule_for(hba, &login));
    login.physical_replication = true;
    cr_expect_eq(rule_for(hba, &login)->line, 3);
    login.encrypted = true;
    cr_expect_eq(rule_for(hba, &login)->line, 3, "all does not stand for replication");
    login.physical_replication = false;
    cr_expect_eq(rule_for(hba, &login)->line, 1);
    login.user = "v";
    login.encrypted = false;
    cr_expect_eq(rule_for(hba, &login)->line, 2);
    weir_hba_release(hba);
}

static const struct {
    const char *rule;
    enum weir_hba_method method;
    enum weir_hba_certificate certificate;
    bool by_subject;
    const char *map;
} certificates[] = {
    {"trust", WEIR_HBA_TRUST, WEIR_HBA_NOT_ASKED, false, NULL},
    {"cert", WEIR_HBA_CERT, WEIR_HBA_OF_USER, false, NULL},
    {"cert map=m", WEIR_HBA_CERT, WEIR_HBA_OF_USER, false, "m"},
    {"cert clientname=DN map=m", WEIR_HBA_CERT, WEIR_HBA_OF_USER, true, "m"},
    {"cert clientname=DN clientname=CN", WEIR_HBA_CERT, WEIR_HBA_OF_USER, false, NULL},
    {"cert clientcert=verify-full", WEIR_HBA_CERT, WEIR_HBA_OF_USER, false, NULL},
    {"md5 clientcert=verify-ca", WEIR_HBA_MD5, WEIR_HBA_SHOWN, false, NULL},
    {"scram-sha-256 clientcert=verify-full", WEIR_HBA_SCRAM, WEIR_HBA_OF_USER, false, NULL},
    {"reject clientcert=verify-ca", WEIR_HBA_REJECT, WEIR_HBA_SHOWN, false, NULL},
    {"trust clientcert=verify-full,clientname=DN", WEIR_HBA_TRUST, WEIR_HBA_OF_USER, true, NULL},
    {"trust clientname=DN", WEIR_HBA_TRUST, WEIR_HBA_NOT_ASKED, true, NULL},
};

Test(hba, what_certificates_must_be)
{
    for (size_t i = 0; i < sizeof(certificates) / sizeof(certificates[0]); i++) {
        char text[512];
        snprintf(text, sizeof(text), "local all all trust\nhostssl all all all %s\n",
                 certificates[i].rule);
        struct weir_hba *hba = parse(text);
        struct weir_hba_login login = login_of("127.0.0.1", "db", "u");
        login.encrypted = true;
        const struct weir_hba_rule *rule = rule_for(hba, &login);
        cr_assert_not_null(rule, "%s", text);
        cr_expect_eq(rule->method, certificates[i].method, "%s", text);
        cr_expect_eq(rule->certificate, certificates[i].certificate, "%s", text);
        cr_expect_eq(rule->by_subject, certificates[i].by_subject, "%s", text);
        const char *map = certificates[i].map;
        cr_expect(map == NULL ? rule->map == NULL : strcmp(rule->map, map) == 0, "%s", text);
        cr_expect_eq(weir_hba_certificate_rule(hba),
                     rule->certificate == WEIR_HBA_NOT_ASKED ? NULL : rule, "%s", text);
        weir_hba_release(hba);
    }
}

/* A login goes on with the rules that it began with. */
Test(hba, rules_are_counted)
{
    struct weir_hba *hba = parse("local all all trust\n");
    cr_assert_eq(weir_hba_share(hba), hba);
    weir_hba_release(hba);
    cr_expect_eq(line_for(hba, "local", "db", "u"), 1);
    weir_hba_release(hba);
}

Test(hba, own_addresses)
{
    struct sockaddr_in address = {.sin_family = AF_INET}, mask = {.sin_family = AF_INET};
    struct sockaddr_in no_mask = {.sin_family = AF_INET};
    inet_pton(AF_INET, "192.168.7.5", &address.sin_addr);
    inet_pton(AF_INET, "255.255.255.0", &mask.sin_addr);
    struct ifaddrs unnamed = {0};
    struct ifaddrs own = {.ifa_addr = (struct sockaddr *)&address,
                          .ifa_netmask = (struct sockaddr *)&mask,
                          .ifa_next = &unnamed};
    struct weir_hba *hba = parse("host a all samehost trust\nhost b all samenet trust\n");
    cr_expect(weir_hba_needs_interfaces(hba));
    static const struct {
        const char *from;
        size_t host, net;
    } rows[] = {{"192.168.7.5", 1, 2}, {"192.168.7.6", 0, 2}, {"192.168.8.5", 0, 0}, {"::1", 0, 0}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct weir_hba_login login = login_of(rows[i].from, "a", "u");
        const struct weir_hba_rule *rule = rule_by(hba, &login, &own);
        cr_expect_eq(rule ? rule->line : 0, rows[i].host, "%s", rows[i].from);
        login.database = "b";
        rule = rule_by(hba, &login, &own);
        cr_expect_eq(rule ? rule->line : 0, rows[i].net, "%s", rows[i].from);
    }
    struct weir_hba_login login = login_of("192.168.7.6", "b", "u");
    cr_expect_null(rule_for(hba, &login), "no interfaces");
    own.ifa_netmask = (struct sockaddr *)&no_mask;
    cr_expect_null(rule_by(hba, &login, &own), "a mask of zeroes is none");
    weir_hba_release(hba);
    hba = parse("host all all all trust\n");
    cr_expect_not(weir_hba_needs_interfaces(hba));
    weir_hba_release(hba);
}

/* --- what is no rule ------------------------------------------------------------------- */

static const struct {
    const char *text;
    const char *problem;
} bad[] = {
    {"", "hba:0: there is no rule"},
    {"# nothing\n\n", "hba:0: there is no rule"},
    {"trust", "hba:1: invalid connection type \"trust\""},
    {"LOCAL all all trust", "hba:1: invalid connection type"},
    {"local,host all all trust", "hba:1: there is more than one connection type"},
    {"local", "hba:1: the line ends before its database"},
    {"local all", "hba:1: the line ends before its user"},
    {"local all all", "hba:1: the line ends before its authentication method"},
    {"host all all", "hba:1: the line ends before its address"},
    {"host all all 1.2.3.4", "hba:1: the line ends before its netmask"},
    {"host all all 1.2.3.4/32", "hba:1: the line ends before its authentication method"},
    {"\n\nhost all all 1.2.3.4/33 trust", "hba:3: invalid CIDR mask"},
    {"host all all 1.2.3.4/-1 trust", "hba:1: invalid CIDR mask"},
    {"host all all 1.2.3.4/ trust", "hba:1: invalid CIDR mask"},
    {"host all all 1.2.3.4/8x trust", "hba:1: invalid CIDR mask"},
    {"host all all ::1/129 trust", "hba:1: invalid CIDR mask"},
    {"host all all 1.2.3.4 trust", "hba:1: invalid IP mask \"trust\""},
    {"host all all 1.2.3.4 ffff:: trust", "hba:1: address and mask are not of the same kind"},
    {"host all all 1.2.3.4,1.2.3.5 trust", "hba:1: there is more than one address"},
    {"host all all 1.2.3.4.5/8 trust", "hba:1: invalid address"},
    {"host all all example.org/8 trust", "hba:1: invalid address \"example.org/8\""},
    {"host all all .example.org trust,md5", "hba:1: there is more than one authentication method"},
    {"host all all a,b trust", "hba:1: there is more than one address"},
    {"host all all all trust,md5", "hba:1: there is more than one authentication method"},
    {"host all all all peer", "hba:1: method peer is for connections of type local only"},
    {"host all all all scram", "hba:1: invalid authentication method \"scram\""},
    {"host all all all ident", "hba:1: refused: method ident"},
    {"host all all all radius", "hba:1: refused: method radius"},
    {"hostgssenc all all all gss", "hba:1: refused: method gss"},
    {"host all all all sspi", "hba:1: refused: method sspi"},
    {"local all all cert", "hba:1: method cert is for connections of type hostssl only"},
    {"host all all all cert", "hba:1: method cert is for connections of type hostssl only"},
    {"hostnossl all all all cert", "hba:1: method cert is for connections of type hostssl only"},
    {"hostssl all all all cert clientcert=verify-ca",
     "hba:1: method cert goes with clientcert=verify-full only"},
    {"hostssl all all all md5 clientcert=1", "hba:1: invalid value for clientcert: \"1\""},
    {"hostssl all all all md5 clientcert=", "hba:1: invalid value for clientcert: \"\""},
    {"hostssl all all all md5 clientcert=VERIFY-CA", "hba:1: invalid value for clientcert"},
    {"host all all all md5 clientcert=verify-ca",
     "hba:1: authentication option clientcert goes with type hostssl only"},
    {"local all all trust clientcert=verify-full",
     "hba:1: authentication option clientcert goes with type hostssl only"},
    {"hostssl all all all cert clientname=cn", "hba:1: invalid value for clientname: \"cn\""},
    {"host all all all trust clientname=CN",
     "hba:1: authentication option clientname goes with type hostssl only"},
    {"hostssl all all all md5 map=x",
     "hba:1: authentication option map goes with methods peer and cert only"},
    {"local all all md5 map=x",
     "hba:1: authentication option map goes with methods peer and cert only"},
    {"local all all peer x", "hba:1: authentication option \"x\" is not in the form name=value"},
    {"local all all peer x=y", "hba:1: unknown authentication option \"x=y\""},
    {"local all @missing trust", "hba:1: cannot read \"missing\": No such file"},
    {"local /( all trust", "hba:1: regular expression \"(\": "},
    {"local all /\\y trust", "hba:1: regular expression \"\\y\": this escape"},
    {"include missing", "hba:1: cannot read \"missing\": No such file"},
    {"include_dir missing", "hba:1: cannot open the directory \"missing\": No such file"},
    {"include a b", "hba:1: invalid connection type \"include\""},
    {"local all all trust\nlocal all all x\nhost y\n", "hba:2: invalid authentication method"},
    {"local all all trust\nlocal all all x\nhost y\n", "\nhba:3: the line ends before its user"},
};

Test(hba, what_is_no_rule)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct memory_file files[] = {{"hba", bad[i].text}, {NULL, NULL}};
        char *problem = NULL;
        struct weir_hba *hba = read_files(files, &problem);
        cr_expect_null(hba, "%s", bad[i].text);
        cr_expect(problem != NULL && strstr(problem, bad[i].problem) != NULL, "%s: %s", bad[i].text,
                  problem != NULL ? problem : "no problem");
        free(problem);
        weir_hba_release(hba);
    }
}

Test(hba, many_problems_are_counted)
{
    char text[1000] = "";
    for (int i = 0; i < 30; i++)
        strcat(text, "nothing\n");
    const struct memory_file files[] = {{"hba", text}, {NULL, NULL}};
    char *problem = NULL;
    cr_assert_null(read_files(files, &problem));
    cr_expect_not_null(strstr(problem, "hba:20: "));
    cr_expect_null(strstr(problem, "hba:21: "));
    cr_expect_not_null(strstr(problem, "\nand 10 more problems"));
    free(problem);
}

/* --- inclusion ------------------------------------------------------------------------- */

Test(hba, inclusion)
{
    const struct memory_file files[] = {
        {"/etc/hba", "local db @lists/users reject\n"
                     "include more/first\n"
                     "include_if_exists missing\n"
                     "include_dir /etc/dir\n"
                     "local all all trust\n"},
        {"/etc/lists/users", "alice, bob # and\n\n @again carol\n\"all\"\n"},
        {"/etc/lists/again", "dave\neve"},
        {"/etc/more/first", "# c\nlocal first all md5\ninclude \"second file\"\n"},
        {"/etc/more/second file", "local second all md5\n"},
        {"/etc/dir/b.conf", "local dir all password\n"},
        {"/etc/dir/a.conf", "local dir a password\n"},
        {"/etc/dir/.hidden.conf", "nonsense\n"},
        {"/etc/dir/other.txt", "nonsense\n"},
        {NULL, NULL},
    };
    char *problem = NULL;
    struct weir_hba *hba = read_files(files, &problem);
    cr_assert_not_null(hba, "%s", problem);
    cr_expect_eq(weir_hba_count(hba), 6);
    static const struct {
        const char *database, *user, *file;
        size_t line;
    } rows[] = {
        {"db", "alice", "/etc/hba", 1},
        {"db", "bob", "/etc/hba", 1},
        {"db", "carol", "/etc/hba", 1},
        {"db", "dave", "/etc/hba", 1},
        {"db", "eve", "/etc/hba", 1},
        {"db", "all", "/etc/hba", 1},
        {"db", "zoe", "/etc/hba", 5},
        {"first", "x", "/etc/more/first", 2},
        {"dir", "a", "/etc/dir/a.conf", 1},
        {"dir", "b", "/etc/dir/b.conf", 1},
        {"second", "x", "/etc/more/second file", 1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct weir_hba_login login = login_of("local", rows[i].database, rows[i].user);
        const struct weir_hba_rule *rule = rule_for(hba, &login);
        cr_assert_not_null(rule);
        cr_expect_str_eq(rule->file, rows[i].file, "%s %s", rows[i].database, rows[i].user);
        cr_expect_eq(rule->line, rows[i].line, "%s %s", rows[i].database, rows[i].user);
    }
    weir_hba_release(hba);
}

static void expect_refused(const struct memory_file *files, const char *expected)
{
    char *problem = NULL;
    struct weir_hba *hba = read_files(files, &problem);
    cr_expect_null(hba);
    cr_expect(problem != NULL && strstr(problem, expected) != NULL, "%s: %s", expected, problem);
    free(problem);
    weir_hba_release(hba);
}

Test(hba, cycles_and_depth)
{
    const struct memory_file itself[] = {{"a", "include a\n"}, {NULL, NULL}};
    expect_refused(itself, "a:1: cannot read \"a\": the file includes itself");
    const struct memory_file both[] = {
        {"a", "\ninclude b\n"}, {"b", "local all @a trust\n"}, {NULL, NULL}};
    expect_refused(both, "b:1: cannot read \"a\": the file includes itself");
    const struct memory_file wide[] = {
        {"0", "include 1\ninclude 1\ninclude 1"}, {"1", "include 2\ninclude 2\ninclude 2"},
        {"2", "include 3\ninclude 3\ninclude 3"}, {"3", "include 4\ninclude 4\ninclude 4"},
        {"4", "include 5\ninclude 5\ninclude 5"}, {"5", "include 6\ninclude 6\ninclude 6"},
        {"6", "include 7\ninclude 7\ninclude 7"}, {"7", "include 8\ninclude 8\ninclude 8"},
        {"8", "local all all trust\n"},           {NULL, NULL}};
    expect_refused(wide, "too many files in all");

    struct memory_file deep[] = {
        {"0", "include 1"},  {"1", "include 2"},   {"2", "include 3"},
        {"3", "include 4"},  {"4", "include 5"},   {"5", "include 6"},
        {"6", "include 7"},  {"7", "include 8"},   {"8", "include 9"},
        {"9", "include 10"}, {"10", "include 11"}, {"11", "local all all trust"},
        {NULL, NULL}};
    expect_refused(deep, "10:1: cannot read \"11\": files are nested too deeply");
    deep[10].text = "local all all trust";
    char *problem = NULL;
    struct weir_hba *hba = read_files(deep, &problem);
    cr_assert_not_null(hba, "%s", problem);
    cr_expect_eq(line_for(hba, "local", "db", "u"), 1);
    weir_hba_release(hba);
}

/* --- maps ------------------------------------------------------------------------------ */

static const char *const maps = "m  root  admin\n"
                                "m  root  postgres\n"
                                "m  /^(.*)@example\\.com$  \\1\n"
                                "m  /^(.*)@other$  pre_\\1_post\n"
                                "any  /.  all\n"
                                "quoted  root  \"all\"\n"
                                "pattern  root  /^app[0-9]$\n"
                                "perhaps  /^(a)?b$  x\\1\n"
                                "perhaps  b  x\n"
                                "\"with blank\"  root  admin\n"
                                "subject  \"/^CN=([a-z]+),OU=staff,O=A\\\\, B$\"  \\1\n";

static const struct {
    const char *map, *system_user, *user;
    bool maps;
} mapping[] = {
    {NULL, "root", "root", true},
    {NULL, "root", "admin", false},
    {"", "root", "root", true},
    {"m", "root", "admin", true},
    {"m", "root", "postgres", true},
    {"m", "root", "root", false},
    {"m", "bob@example.com", "bob", true},
    {"m", "bob@exampleXcom", "bob", false},
    {"m", "bob@example.com", "eve", false},
    {"m", "bob@example.com.org", "bob", false},
    {"m", "bob@other", "pre_bob_post", true},
    {"m", "all@example.com", "bob", false}, /* what is inserted is no keyword */
    {"m", "all@example.com", "all", true},
    {"m", "/.@example.com", "bob", false},
    {"any", "x", "whoever", true},
    {"any", "", "whoever", false},
    {"quoted", "root", "admin", false},
    {"quoted", "root", "all", true},
    {"pattern", "root", "app7", true},
    {"pattern", "root", "app77", false},
    {"perhaps", "ab", "xa", true},
    {"perhaps", "b", "x", false}, /* nothing to insert: no later line is asked */
    {"with blank", "root", "admin", true},
    {"nowhere", "root", "root", false},
    /* as certificates name their owners */
    {"subject", "CN=bob,OU=staff,O=A\\, B", "bob", true},
    {"subject", "CN=bob,OU=guests,O=A\\, B", "bob", false},
    {"subject", "CN=bob,OU=staff,O=A\\, B", "eve", false},
};

Test(ident, who_may_be_whom)
{
    const struct memory_file files[] = {
        {"hba", "local all all peer map=m\n"}, {"ident", maps}, {NULL, NULL}};
    char *problem = NULL;
    struct weir_hba *hba = read_files(files, &problem);
    cr_assert_not_null(hba, "%s", problem);
    for (size_t i = 0; i < sizeof(mapping) / sizeof(mapping[0]); i++)
        cr_expect_eq(weir_hba_maps(hba, mapping[i].map, mapping[i].system_user, mapping[i].user),
                     mapping[i].maps, "%s: %s as %s", mapping[i].map, mapping[i].system_user,
                     mapping[i].user);
    weir_hba_release(hba);
}

Test(ident, what_is_no_map)
{
    static const struct {
        const char *text, *problem;
    } rows[] = {
        {"m", "ident:1: the line ends before its system user name"},
        {"m a", "ident:1: the line ends before its database user name"},
        {"m,n a b", "ident:1: there is more than one map name"},
        {"\nm a,b c", "ident:2: there is more than one system user name"},
        {"m a b,c", "ident:1: there is more than one database user name"},
        {"m a +b", "ident:1: refused: members of a role"},
        {"m /( b", "ident:1: regular expression"},
        {"m a /(", "ident:1: regular expression"},
        {"m /^a$ \\1", "ident:1: \\1 stands in \"\\1\", but the regular expression has no"},
        {"include ident", "ident:1: cannot read \"ident\": the file includes itself"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct memory_file files[] = {
            {"hba", "local all all peer map=m\n"}, {"ident", rows[i].text}, {NULL, NULL}};
        expect_refused(files, rows[i].problem);
    }
}

Test(ident, system_users)
{
    const struct memory_file files[] = {
        {"hba", "local all all peer map=m\n"}, {"ident", "m root admin\n"}, {NULL, NULL}};
    char *problem = NULL;
    struct weir_hba *hba = read_files(files, &problem);
    cr_assert_not_null(hba, "%s", problem);
    struct weir_hba_login login = login_of("local", "db", "u");
    const struct weir_hba_rule *rule = rule_for(hba, &login);
    for (int turn = 0; turn < 2; turn++) {
        cr_expect(weir_hba_is_peer(hba, rule, 0, "admin"));
        cr_expect_not(weir_hba_is_peer(hba, rule, 0, "root"));
        cr_expect_not(weir_hba_is_peer(hba, rule, 123456789, "admin"), "a uid without a name");
    }
    for (uid_t uid = 100000000; uid < 100000200; uid++)
        cr_expect_not(weir_hba_is_peer(hba, rule, uid, "admin"));
    cr_expect(weir_hba_is_peer(hba, rule, 0, "admin"), "forgotten and asked for again");
    weir_hba_release(hba);
}

/* --- files ----------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text, size_t length)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fwrite(text, 1, length, file);
    fclose(file);
}

Test(hba, files)
{
    char folder[] = "/tmp/weir-hba-XXXXXX", main_path[64], path[64], *problem = NULL;
    cr_assert_not_null(mkdtemp(folder));
    snprintf(main_path, sizeof(main_path), "%s/hba", folder);
    snprintf(path, sizeof(path), "%s/d", folder);
    mkdir(path, 0700);
    static const char text[] = "local all @users trust\ninclude_dir d\n";
    write_file(main_path, text, strlen(text));
    snprintf(path, sizeof(path), "%s/users", folder);
    write_file(path, "u\n", 2);
    snprintf(path, sizeof(path), "%s/d/x.conf", folder);
    write_file(path, "local all v trust", 17);
    snprintf(path, sizeof(path), "%s/d/y.conf", folder);
    mkdir(path, 0700); /* a folder, though it is called so */
    struct weir_hba *hba = weir_hba_read(main_path, "", &problem);
    cr_assert_not_null(hba, "%s", problem);
    cr_expect_eq(weir_hba_count(hba), 2);
    cr_expect_eq(line_for(hba, "local", "db", "u"), 1);
    weir_hba_release(hba);

    write_file(main_path, "local all all trust\0", 20);
    cr_expect_null(weir_hba_read(main_path, "", &problem));
    cr_expect_not_null(strstr(problem, "zero byte"));
    free(problem);
    cr_expect_null(weir_hba_read(folder, "", &problem));
    cr_expect_not_null(strstr(problem, "not a regular file"));
    free(problem);
    write_file(main_path, text, strlen(text));
    cr_expect_null(weir_hba_read(main_path, "/nonexistent/ident", &problem));
    cr_expect_str_eq(problem, "/nonexistent/ident:0: No such file or directory");
    free(problem);

    rmdir(path);
    static const char *const names[] = {"/d/x.conf", "/users", "/hba"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s%s", folder, names[i]);
        unlink(path);
    }
    snprintf(path, sizeof(path), "%s/d", folder);
    rmdir(path);
    rmdir(folder);
}

/* The last of 10,000 rules is found; the bound leaves room for sanitizers and a loaded machine. */
Test(hba, ten_thousand_rules)
{
    char *text = malloc(1 << 20), *at = text;
    for (int i = 0; i < 10000; i++)
        at += sprintf(at, "host db%d,x user%d 10.%d.%d.0/24 md5\n", i, i, i / 256, i % 256);
    strcpy(at, "host all last all trust\n");
    struct weir_hba *hba = parse(text);
    free(text);
    cr_expect_eq(line_for(hba, "10.39.15.1", "db9999", "user9999"), 10000);
    struct timespec from, to;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (int i = 0; i < 100; i++)
        cr_expect_eq(line_for(hba, "127.0.0.1", "db", "last"), 10001);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    double each =
        ((double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3) / 100;
    cr_log_info("a match behind 10,000 rules: %.1f us", each);
    cr_expect_lt(each, 20000);
    weir_hba_release(hba);
}

/* A name that would take for ever ends the search instead, and never by a rule behind. */
Test(hba, dear_patterns)
{
    char name[64];
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    struct weir_hba *hba = parse("local all /^(a+)+[xy]$ reject\nlocal all all trust\n");
    cr_expect_eq(line_for(hba, "local", "db", "other"), 2);
    cr_expect_eq(line_for(hba, "local", "db", "aax"), 1);
    cr_expect_eq(line_for(hba, "local", "db", name), 0);
    weir_hba_release(hba);
}
