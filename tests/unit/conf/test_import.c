/* A file of PgBouncer and what --import makes of it mean the same. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "moving.h"
#include "setting.h"
#include "support.h"

struct imported {
    bool good;
    char *text;
    char *problems;
};

static struct imported import_file(const char *path)
{
    struct imported imported = {0};
    size_t length = 0;
    FILE *out = open_memstream(&imported.text, &length);
    cr_assert_not_null(out);
    imported.good = weir_conf_import(path, out, &imported.problems);
    cr_assert_eq(fclose(out), 0);
    cr_assert_eq(imported.good, imported.problems == NULL);
    return imported;
}

static void drop(struct imported *imported)
{
    free(imported->text);
    free(imported->problems);
}

static char folder[] = "/tmp/weir_import_XXXXXX";
static char path[64];
static char other[64];

static void setup(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/pgbouncer.ini", folder);
    snprintf(other, sizeof(other), "%s/other.ini", folder);
}

static void teardown(void)
{
    unlink(path);
    unlink(other);
    rmdir(folder);
}

TestSuite(import, .init = setup, .fini = teardown);

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(name, 0640), 0); /* passwords for everybody are refused */
}

static void expect_equal_settings(const struct weir_pool_settings *left,
                                  const struct weir_pool_settings *right, const char *text)
{
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        if (!weir_setting_is_pool(&weir_settings[i]))
            continue;
        char *one = weir_setting_show(&weir_settings[i], left);
        char *two = weir_setting_show(&weir_settings[i], right);
        cr_assert_str_eq(one, two, "%s in\n%s", weir_settings[i].name, text);
        free(one);
        free(two);
    }
}

static void expect_equal_globals(const struct weir_conf *left, const struct weir_conf *right,
                                 const char *text)
{
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        char *one = weir_setting_show(&weir_settings[i], left);
        char *two = weir_setting_show(&weir_settings[i], right);
        cr_assert_str_eq(one, two, "%s in\n%s", weir_settings[i].name, text);
        free(one);
        free(two);
    }
}

/* Every pair of a database and a user, also of those without a line. */
static void expect_equal_pools(const struct weir_conf *left, const struct weir_conf *right,
                               const char *text)
{
    for (size_t i = 0; i < left->database_count; i++) {
        const struct weir_database *one = &left->databases[i];
        const struct weir_database *two = weir_conf_database(right, one->name);
        cr_assert_not_null(two);
        cr_assert_str_eq(one->name, two->name);
        cr_assert(weir_database_same_target(one, two), "%s in\n%s", one->name, text);
        static const char *const users[] = {"alice", "bob", "carol", "nobody"};
        for (size_t j = 0; j < sizeof(users) / sizeof(users[0]); j++) {
            struct weir_pool_settings before;
            struct weir_pool_settings after;
            weir_conf_resolve(left, one, users[j], &before);
            weir_conf_resolve(right, two, users[j], &after);
            expect_equal_settings(&before, &after, text);
        }
    }
    cr_assert_eq(left->database_count, right->database_count);
    cr_assert_eq(left->user_count, right->user_count);
}

/* The text that the import has made, for more to be said about it. */
static char *expect_same_meaning(const char *file)
{
    char *problems = NULL;
    char *warnings = NULL;
    struct weir_conf *before = weir_conf_read(file, &problems, &warnings);
    cr_assert_not_null(before, "%s", problems);
    cr_assert(before->pgbouncer_file);
    free(warnings);
    struct imported imported = import_file(file);
    cr_assert(imported.good, "%s", imported.problems);
    struct parsed after = parse_good(imported.text);
    cr_assert_not(after.conf->pgbouncer_file);
    expect_equal_globals(before, after.conf, imported.text);
    expect_equal_pools(before, after.conf, imported.text);
    weir_conf_destroy(before);
    release(&after);
    char *text = strdup(imported.text);
    drop(&imported);
    return text;
}

static const char *const files[] = {
    "[pgbouncer]\n",
    "[databases]\nd =\ne = host=h\n[pgbouncer]\nlisten_addr=*\n",
    "[databases]\nd = host=h port=5433 dbname=x user=u password='a\\b'' c'\n* = host=z\n"
    "[pgbouncer]\nunix_socket_dir=/run\n",
    "[databases]\nd = pool_size=0\n[users]\nalice = pool_size=0 pool_mode=statement\n"
    "[pgbouncer]\ndefault_pool_size=0\n",
    "[pgbouncer]\nreserve_pool_size=4\n[databases]\nd = reserve_pool=6\n"
    "[users]\nalice = reserve_pool_size=2\n",
    "[pgbouncer]\nreserve_pool_size=4\nreserve_pool_timeout=0\n[databases]\nd = reserve_pool=6\n"
    "e = host=h\n[users]\nalice = reserve_pool_size=2\n",
    "[pgbouncer]\nreserve_pool_timeout=2\n[databases]\nd = reserve_pool=6\n"
    "e = overflow_delay=9\n[users]\nalice = reserve_pool_size=2\n",
    "[pgbouncer]\nserver_lifetime=0\nserver_check_query=\nserver_round_robin=1\nverbose=2\n"
    "max_packet_size=65536\nquery_wait_timeout=0.5\nauth_type=any\n[databases]\nd=host=h\n",
    "[pgbouncer]\nserver_check_query=select 1\nserver_check_delay=0\nserver_lifetime=90\n"
    "[databases]\nd = server_lifetime=0 query_wait_timeout=7\n",
    "[pgbouncer]\nserver_check_query=<empty>\nserver_check_query=\n[databases]\nd=host=h\n",
    "[pgbouncer]\npool_mode=transaction\npool_mode = session\nmax_client_conn=5\n"
    "default_pool_size=3\npool_size=4\n[databases]\nd=host=h\nd=host=i\n",
    "[pgbouncer]\npool_pre_ping=on\nserver_check_query=\nlog_connections=0\nstats_period=30\n"
    "[databases]\nd=postgresql://u:p%20q@h:1,i:2/d pool_mode=session\n"
    "\"a;b\" = host=h connect_query='select ''x'' ; select 1'\n",
    "[databases]\nd = host=h datestyle=ISO timezone='Europe/Berlin' application_name=x "
    "client_encoding=UTF8\n[users]\nbob=query_timeout=3\n* = idle_transaction_timeout=9\n"
    "carol =\n[pgbouncer]\nadmin_users = a, b\nstats_users=c\nserver_reset_query=\n"
    "ignore_startup_parameters = extra_float_digits\ntcp_keepalive=0\n[peers]\n1 = host=h\n",
    "[pgbouncer]\nserver_tls_sslmode=allow\n[databases]\nd=host=h sslmode=require sslsni=0\n"
    "e=host=h hostaddr=10.0.0.1\nf=hostaddr=10.0.0.2 pool_mode=session max_overflow=1\ng=\n",
    "[pgweir]\npool_size=8\n[pgbouncer]\npool_timeout=9s\noverflow_delay=1\n[databases]\nd=\n",
};

Test(import, means_the_same)
{
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        write_file(path, files[i]);
        free(expect_same_meaning(path));
    }
}

/* Every global setting by itself, at PgBouncer's default and at another value. */
Test(import, each_setting_means_the_same)
{
    for (size_t i = 0; weir_pgbouncer_names[i] != NULL; i++) {
        static const char *const values[] = {"",   "0",       "1",     "7",      "off",
                                             "/x", "session", "65536", "daemon", "require"};
        const char *name = weir_pgbouncer_names[i];
        int taken = 0;
        for (size_t j = 0; j < sizeof(values) / sizeof(values[0]); j++) {
            char text[256];
            snprintf(text, sizeof(text),
                     "[databases]\nd = host=h\ne = reserve_pool=3\n"
                     "[pgbouncer]\n%s = %s\n",
                     name, values[j]);
            struct parsed parsed = parse(text);
            bool good = parsed.conf != NULL;
            release(&parsed);
            write_file(path, text);
            if (good)
                free(expect_same_meaning(path));
            taken += good;
        }
        if (strcmp(name, "auth_type") != 0 && strcmp(name, "client_tls_sslmode") != 0)
            cr_assert_gt(taken, 0, "%s", name);
    }
}

Test(import, comments_and_order_stay_and_includes_are_resolved)
{
    char text[512];
    snprintf(text, sizeof(text),
             "; head\n\n[databases]\n# one\nd = host=h\n%%include %s\n[pgbouncer]\n"
             ";; two\nquery_wait_timeout = 9\nmax_client_conn = 7\n; three\n",
             other);
    write_file(path, text);
    write_file(other, "; inner\ninside = host=i password=SECRET\n");
    char *made = expect_same_meaning(path);
    static const char *const pieces[] = {
        "\n; head\n\n[databases]\n# one\nd = host=h\n;; from ",
        "; inner\ninside = host=i password=SECRET\n;; end of ",
        ("\n[pgweir]\n;; two\n;; was query_wait_timeout = 9\npool_timeout = 9\n"
         "max_client_conn = 7\n; three\n"),
        "\n;; pgweir's default is transaction\npool_mode = session\n",
    };
    const char *at = made;
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        at = strstr(at, pieces[i]);
        cr_assert_not_null(at, "%s\nis not in\n%s", pieces[i], made);
    }
    cr_assert_null(strstr(made, "[pgbouncer]"));
    free(made);
}

Test(import, differences_are_told)
{
    static const struct {
        const char *text;
        const char *piece;
    } cases[] = {
        {"server_lifetime = 0", ";; was server_lifetime = 0 (0 uses each server connection once)\n"
                                "pool_recycle = 1us\n"},
        {"server_check_query =", "\npool_pre_ping = off\n"},
        {"tcp_keepalive = 0",
         ";; tcp_keepalive: ignored: TCP keepalive is always on\n;tcp_keepalive = 0\n"},
        {"pkt_buf = 4096", ";; not needed: buffers need no tuning\n;pkt_buf = 4096\n"},
        {"pool_mode = session\npool_mode = transaction",
         ";; without effect: another line has the last word\n;pool_mode = session\n"},
        {"[databases]\nd =", ";; written anew, as host would mean something else here: without "
                             "host it is the Unix socket in PgBouncer's unix_socket_dir\n"
                             "d = host=/tmp port=5432\n"},
        {"[users]\nu = pool_size=0", "pool_size would mean something else here: 0 is without "
                                     "limit\nu = pool_size=262143\n"},
        {"[peers]\n1 = host=h", ";[peers]\n;1 = host=h\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text), "[pgbouncer]\n%s\n", cases[i].text);
        write_file(path, text);
        char *made = expect_same_meaning(path);
        cr_assert_not_null(strstr(made, cases[i].piece), "%s\nis not in\n%s", cases[i].piece, made);
        free(made);
    }
}

/* What cannot be kept stays in the file, so that pgweir refuses it: nobody loses a restriction
 * without having decided so. */
Test(import, what_cannot_be_kept_is_refused_until_decided)
{
    static const struct {
        const char *text;
        const char *problem;
    } cases[] = {
        {"[pgbouncer]\ndisable_pqexec = 1\n", ":2: disable_pqexec: refused: "},
        {"[pgbouncer]\nauth_type = cert\n",
         ":2: auth_type: refused: cert is a method in auth_hba_file"},
        {"[pgbouncer]\npool_sise = 3\n", ":2: pool_sise: unknown setting (nearest: pool_size)"},
        {"[pgbouncer]\npool_size = many\n", ":2: pool_size: \"many\" is not a whole number"},
        {"[databases]\nd = host=h requirepeer=postgres\n", ":2: database d: requirepeer: refused"},
        {"[databases]\nd = host=h frob=1\n", ":2: database d: frob: unknown setting"},
        {"[users]\nu = listen_port=1\n", ":2: user u: listen_port: can be set in [pgweir] only"},
        {"[databases]\npgbouncer = host=h\n", ":2: pgbouncer: this name is reserved"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_file(path, cases[i].text);
        struct imported imported = import_file(path);
        cr_assert_not(imported.good, "%s", cases[i].text);
        cr_assert_not_null(strstr(imported.problems, cases[i].problem), "%s\nis not in\n%s",
                           cases[i].problem, imported.problems);
        struct parsed parsed = parse(imported.text);
        cr_assert_null(parsed.conf, "%s", imported.text);
        cr_assert_eq(count_lines(parsed.problems), 1, "%s", parsed.problems);
        release(&parsed);
        drop(&imported);
    }
}

Test(import, what_is_no_file_gives_none)
{
    struct imported imported = import_file(path);
    cr_assert_not(imported.good);
    cr_assert_str_eq(imported.text, "");
    drop(&imported);
    write_file(path, "[pgbouncer]\nno setting\n");
    imported = import_file(path);
    cr_assert_not(imported.good);
    cr_assert_str_eq(imported.text, "");
    cr_assert_not_null(strstr(imported.problems, ":2: neither a section header"));
    drop(&imported);
}

/* Whatever a file is, it is translated or refused; and what came out of a good one is good. */
Test(import, every_cut_is_survived)
{
    static const char text[] =
        "; head\n[databases]\n\"a;b\" = host=h password='x;y' pool_size=0\n"
        "c = postgresql://u:p%20q@h:1,i:2/d pool_mode=session\nc = reserve_pool=2\n[users]\n"
        "u = pool_size=2\n[peers]\n1 = host=x\n[pgbouncer]\nreserve_pool_timeout=0\n"
        "server_check_query = select 1 ; x\nauth_query = x\n%include x\n";
    char cut[sizeof(text)];
    for (size_t length = 0; length < sizeof(text); length++) {
        memcpy(cut, text, length);
        cut[length] = '\0';
        write_file(path, cut);
        struct imported imported = import_file(path);
        if (imported.good) {
            struct parsed parsed = parse_good(imported.text);
            release(&parsed);
        }
        drop(&imported);
    }
}

/* The sample of Debian's package, which its owner alone may read. */
Test(import, sample_of_debian)
{
    static const char sample[] = "/etc/pgbouncer/pgbouncer.ini";
    if (access(sample, R_OK) != 0)
        cr_skip("cannot read PgBouncer's sample");
    free(expect_same_meaning(sample));
}

/* The table of what becomes of them has a word on each. */
Test(moving, every_setting_of_pgbouncer_is_known)
{
    int names = 0;
    for (; weir_pgbouncer_names[names] != NULL; names++) {
        const char *name = weir_pgbouncer_names[names];
        cr_assert(weir_setting_find(name) != NULL || weir_setting_find_alias(name) != NULL ||
                      weir_setting_find_foreign(name) != NULL,
                  "%s", name);
    }
    cr_assert_gt(names, 100);
}
