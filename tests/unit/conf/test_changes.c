#include <stdio.h>

#include "setting.h"
#include "support.h"
#include "weir/memory.h"

/* --- SET ------------------------------------------------------------------------------- */

static char *show(const struct weir_conf *conf, const char *name)
{
    const struct weir_setting *setting = weir_setting_find(name);
    cr_assert_not_null(setting, "%s", name);
    return weir_setting_show(setting, conf);
}

static void expect(const struct weir_conf *conf, const char *name, const char *value)
{
    char *shown = show(conf, name);
    cr_assert_str_eq(shown, value, "%s is %s", name, shown);
    free(shown);
}

static struct weir_conf *set_good(const struct weir_conf *conf, const char *name, const char *value)
{
    char *problem = NULL;
    struct weir_conf *fresh = weir_conf_with(conf, name, value, &problem);
    cr_assert_not_null(fresh, "%s = %s: %s", name, value, problem);
    cr_assert_null(problem);
    return fresh;
}

/* A SET gives the snapshot that the file would give with the same line at its end. */
Test(set, means_what_it_means_in_a_file)
{
    static const struct {
        const char *file;
        const char *name;
        const char *value;
        const char *setting;
        const char *shown;
    } cases[] = {
        {"[pgweir]\n", "pool_size", "7", "pool_size", "7"},
        {"[pgweir]\npool_size=3\n", "default_pool_size", "7", "pool_size", "7"},
        {"[pgweir]\n", "query_wait_timeout", "0.25", "pool_timeout", "250ms"},
        {"[pgweir]\n", "reserve_pool_size", "4", "overflow_delay", "5s"},
        {"[pgweir]\noverflow_delay=2\n", "reserve_pool_size", "4", "overflow_delay", "2s"},
        {"[pgweir]\nreserve_pool_size=4\n", "reserve_pool_timeout", "0", "max_overflow", "0"},
        {"[pgweir]\nmax_overflow=4\n", "reserve_pool_timeout", "0", "max_overflow", "4"},
        {"[pgbouncer]\n", "server_check_query", "", "pool_pre_ping", "off"},
        {"[pgbouncer]\n", "default_pool_size", "0", "pool_size", "262143"},
        {"[pgweir]\n", "server_round_robin", "1", "pool_use_lifo", "off"},
        {"[pgweir]\n", "verbose", "1", "log_level", "debug"},
        {"[pgweir]\n", "log_level", "warning", "log_level", "warning"},
        {"[pgweir]\n", "tcp_keepalive", "1", "pool_size", "20"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed parsed = parse_good(cases[i].file);
        struct weir_conf *fresh = set_good(parsed.conf, cases[i].name, cases[i].value);
        expect(fresh, cases[i].setting, cases[i].shown);
        char text[256];
        snprintf(text, sizeof(text), "%s%s=%s\n", cases[i].file, cases[i].name, cases[i].value);
        struct parsed written = parse_good(text);
        for (size_t j = 0; j < WEIR_SETTING_COUNT; j++) {
            char *value = weir_setting_show(&weir_settings[j], written.conf);
            expect(fresh, weir_settings[j].name, value);
            free(value);
        }
        release(&written);
        weir_conf_destroy(fresh);
        release(&parsed);
    }
}

Test(set, is_refused_with_words)
{
    static const struct {
        const char *name;
        const char *value;
        const char *problem;
    } cases[] = {
        {"pool_sise", "7", "pool_sise: unknown setting (nearest: pool_size)"},
        {"zzzzzzzzzzzzzzzzzz", "7", "zzzzzzzzzzzzzzzzzz: unknown setting"},
        {"", "7", ": unknown setting"},
        {"pool_size", "many", "pool_size: \"many\" is not a whole number"},
        {"pool_size", "0", "pool_size: 0 is out of bounds (1 to 262143)"},
        {"pool_mode", "x", "pool_mode: \"x\" is none of transaction, session, statement"},
        {"listen_port", "7000",
         "listen_port: cannot be changed while pgweir runs; set it in the file and restart"},
        {"tcp_keepalive", "0", "tcp_keepalive: it has no effect here: TCP keepalive is always on"},
        {"auth_type", "hba", "auth_type: hba needs the setting auth_hba_file"},
        {"auth_type", "ldap", "auth_type: ldap needs the setting auth_ldap_options"},
        {"auth_type", "cert",
         "auth_type: refused: cert is a method in auth_hba_file, with auth_type = hba"},
        {"load_balance_hosts", "disable", "load_balance_hosts: can be set in [databases] only"},
    };
    struct parsed parsed = parse_good("[databases]\nd=host=h\n[pgweir]\npool_size=5\n");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *problem = NULL;
        struct weir_conf *fresh =
            weir_conf_with(parsed.conf, cases[i].name, cases[i].value, &problem);
        cr_assert_null(fresh, "%s", cases[i].name);
        cr_assert_str_eq(problem, cases[i].problem);
        free(problem);
    }
    expect(parsed.conf, "pool_size", "5");
    release(&parsed);
}

/* What is shown of settings holds no password, and a new password is a change all the same. */
struct shown {
    char *old_value;
    char *new_value;
};

static void keep_shown(void *context, const char *name, const char *old_value,
                       const char *new_value, bool reloadable)
{
    struct shown *shown = context;
    cr_assert_str_eq(name, "auth_ldap_options");
    cr_assert_null(shown->old_value);
    shown->old_value = weir_strdup(old_value);
    shown->new_value = weir_strdup(new_value);
}

Test(changes, passwords_are_not_shown)
{
    static const struct {
        const char *options;
        const char *shown;
    } cases[] = {
        {"ldapserver=h ldapprefix=x", "ldapserver=h ldapprefix=x"},
        {"ldapserver=h ldapbindpasswd=SECRET ldaptls=1", "ldapserver=h ldapbindpasswd=***"},
        {"ldapserver=h \"ldapbindpasswd=SECRET, too\"", "ldapserver=h \"ldapbindpasswd=***"},
        {"ldapserver=h ldapbind\"passwd=SECRET\"", "***"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *text =
            weir_format("[pgweir]\nauth_type=ldap\nauth_ldap_options=%s\n", cases[i].options);
        struct parsed parsed = parse_good(text);
        cr_assert_str_eq(parsed.conf->auth_ldap_options, cases[i].options);
        struct weir_conf *fresh = weir_conf_with(parsed.conf, "auth_ldap_options",
                                                 "ldapbindpasswd=OTHERSECRET", &(char *){NULL});
        struct shown shown = {0};
        weir_conf_diff(parsed.conf, fresh, keep_shown, &shown);
        cr_expect_str_eq(shown.old_value, cases[i].shown);
        cr_expect_str_eq(shown.new_value, "ldapbindpasswd=***");
        free(shown.old_value);
        free(shown.new_value);
        char *printed = NULL;
        size_t length = 0;
        FILE *out = open_memstream(&printed, &length);
        weir_conf_print(parsed.conf, out);
        fclose(out);
        cr_expect_null(strstr(printed, "SECRET"), "%s", printed);
        free(printed);
        weir_conf_destroy(fresh);
        release(&parsed);
        free(text);
    }
}

struct found {
    const char *wanted;
    char *value;
    char *where;
    char *default_value;
    bool changeable;
    int rows;
};

static void find_row(void *context, const char *name, const char *value, const char *default_value,
                     bool changeable, const char *where, const char *help)
{
    struct found *found = context;
    found->rows++;
    cr_assert_gt(strlen(help), 0);
    if (strcmp(name, found->wanted) != 0)
        return;
    found->value = strdup(value);
    found->default_value = strdup(default_value);
    found->where = where == NULL ? NULL : strdup(where);
    found->changeable = changeable;
}

static void expect_row(const struct weir_conf *conf, const char *name, const char *value,
                       const char *default_value, bool changeable, const char *where)
{
    struct found found = {.wanted = name};
    weir_conf_walk(conf, find_row, &found);
    cr_assert_eq(found.rows, WEIR_SETTING_COUNT);
    cr_assert_str_eq(found.value, value);
    cr_assert_str_eq(found.default_value, default_value);
    cr_assert_eq(found.changeable, changeable);
    cr_assert_eq(where == NULL, found.where == NULL, "%s", name);
    if (where != NULL)
        cr_assert_str_eq(found.where, where);
    free(found.value);
    free(found.default_value);
    free(found.where);
}

Test(set, the_walk_tells_value_default_and_origin)
{
    struct parsed parsed = parse_good("[pgbouncer]\nmax_client_conn=7\n");
    struct weir_conf *fresh = set_good(parsed.conf, "default_pool_size", "9");
    expect_row(parsed.conf, "max_client_conn", "7", "100", true, "test.ini:2");
    expect_row(parsed.conf, "pool_size", "20", "20", true, NULL);
    expect_row(fresh, "pool_size", "9", "20", true, "SET");
    expect_row(fresh, "max_client_conn", "7", "100", true, "test.ini:2");
    expect_row(fresh, "pool_mode", "session", "session", true, NULL);
    expect_row(fresh, "listen_port", "6432", "6432", false, NULL);
    weir_conf_destroy(fresh);
    release(&parsed);
}

/* Nothing is shared: the first snapshot goes, and everything of the file is still there. */
Test(set, the_copy_stands_alone)
{
    struct parsed parsed =
        parse_good("[databases]\nd = host=a,b port=1,2 user=u password=p pool_size=3 "
                   "connect_query='select 1'\n* = host=z\n[users]\nu = pool_timeout=9s\n"
                   "[pgweir]\nadmin_users=root\nserver_reset_query=RESET ALL\n");
    struct weir_conf *first = set_good(parsed.conf, "pool_size", "7");
    release(&parsed);
    struct weir_conf *second = set_good(first, "stats_users", "bob");
    weir_conf_destroy(first);
    const struct weir_database *database = weir_conf_database(second, "d");
    cr_assert_str_eq(database->hosts[1].host, "b");
    cr_assert_str_eq(database->password, "p");
    cr_assert_str_eq(weir_conf_database(second, "other")->hosts[0].host, "z");
    struct weir_pool_settings pool;
    weir_conf_resolve(second, database, "u", &pool);
    cr_assert_eq(pool.pool_size, 3);
    cr_assert_eq(pool.pool_timeout, 9 * WEIR_SEC);
    cr_assert_str_eq(pool.connect_query, "select 1");
    cr_assert_str_eq(pool.server_reset_query, "RESET ALL");
    expect(second, "pool_size", "7");
    expect(second, "admin_users", "root");
    expect(second, "stats_users", "bob");
    weir_conf_destroy(second);
}

/* The last one said counts, whichever of the two names it was said by. */
Test(set, again)
{
    struct parsed parsed = parse_good("[pgweir]\n");
    struct weir_conf *first = set_good(parsed.conf, "default_pool_size", "1");
    struct weir_conf *second = set_good(first, "pool_size", "2");
    struct weir_conf *third = set_good(second, "default_pool_size", "3");
    expect(first, "pool_size", "1");
    expect(second, "pool_size", "2");
    expect(third, "pool_size", "3");
    weir_conf_destroy(first);
    weir_conf_destroy(second);
    weir_conf_destroy(third);
    release(&parsed);
}

/* --- what a reload would change --------------------------------------------------------- */

static void write_change(void *context, const struct weir_conf_change *change)
{
    fprintf(context, "%s|%s|%s|%s\n", change->label, change->old_value ? change->old_value : "-",
            change->new_value ? change->new_value : "-", weir_conf_effect_name(change->effect));
}

static char *changes(const char *before, const char *after)
{
    struct parsed old = parse_good(before);
    struct parsed fresh = parse_good(after);
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    weir_conf_changes(old.conf, fresh.conf, write_change, out);
    fclose(out);
    release(&old);
    release(&fresh);
    return text;
}

Test(changes, each_with_its_effect)
{
    static const struct {
        const char *before;
        const char *after;
        const char *changes;
    } cases[] = {
        {"[databases]\nd=host=h password=p\n[users]\nu=pool_size=2\n[pgweir]\npool_size=4\n",
         "[pgweir]\ndefault_pool_size=4\n[users]\nu=pool_size=2\n[databases]\n"
         "d=postgresql://:p@h\n",
         ""},
        {"[pgweir]\n", "[pgweir]\npool_size=4\nlisten_port=7000\n",
         "pool_size|20|4|at once\nlisten_port|6432|7000|restart\n"},
        {"[databases]\nd=host=h\n", "[databases]\nd=host=i,h port=5433\n",
         "database d: host|h:5432|i:5433,h:5433|reconnects\n"},
        {"[databases]\nd=host=h password=OLD\n", "[databases]\nd=host=h password=NEW\n",
         "database d: password|***|***|reconnects\n"},
        {"[databases]\nd=host=h\n", "[databases]\nd=host=h password=NEW user=u dbname=x\n",
         "database d: dbname|-|x|reconnects\ndatabase d: user|-|u|reconnects\n"
         "database d: password|-|***|reconnects\n"},
        {"[databases]\nd=host=h\n", "[databases]\nd=host=h pool_size=3\n",
         "database d: pool_size|-|3|at once\n"},
        {"[databases]\nd=host=h options='-c a=b'\n",
         "[databases]\nd=host=h target_session_attrs=primary client_encoding=UTF8 "
         "application_name=x\n",
         "database d: application_name|-|x|reconnects\n"
         "database d: options|-c a=b|-|reconnects\n"
         "database d: client_encoding|-|UTF8|reconnects\n"
         "database d: target_session_attrs|-|primary|reconnects\n"},
        {"[databases]\nd=host=h password=SECRET\n", "[databases]\ne=host=i pool_size=2\n",
         "database d|host=h port=5432 password=***|-|drops clients\n"
         "database e|-|host=i port=5432 pool_size=2|at once\n"},
        /* The name goes on by the line "*". */
        {"[databases]\n*=host=h\nd=host=h\n", "[databases]\n*=host=h\n",
         "database d|host=h port=5432|-|at once\n"},
        {"[databases]\n*=host=h\nd=host=i\n", "[databases]\n*=host=h\n",
         "database d|host=i port=5432|-|reconnects\n"},
        {"[databases]\n*=host=h\n", "[databases]\n*=host=h\nd=host=i\n",
         "database d|-|host=i port=5432|reconnects\n"},
        {"[databases]\n*=host=h\n", "[databases]\nd=host=h\n",
         "database *|host=h port=5432|-|drops clients\n"
         "database d|-|host=h port=5432|at once\n"},
        {"[users]\na=pool_size=2\nb=pool_size=3\n", "[users]\nb=pool_mode=session\nc=\n",
         "user a|pool_size=2|-|at once\nuser b: pool_mode|-|session|at once\n"
         "user b: pool_size|3|-|at once\nuser c|-||at once\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *text = changes(cases[i].before, cases[i].after);
        cr_assert_str_eq(text, cases[i].changes, "case %zu", i);
        free(text);
    }
}

static void count_change(void *context, const struct weir_conf_change *change)
{
    int *count = context;
    cr_assert_eq(change->effect, WEIR_EFFECT_RESTART, "%s", change->label);
    (*count)++;
}

/* After a reload a snapshot says what runs; what waits for a restart is still seen as a change. */
Test(changes, what_needs_a_restart_is_not_forgotten)
{
    static const char file[] = "[pgweir]\nlisten_addr=::1\nlisten_port=7000\nso_reuseport=on\n"
                               "unix_socket_mode=0700\npool_size=4\npidfile=/x\n";
    struct parsed running = parse_good("[pgweir]\nlisten_port=7001\n");
    struct parsed fresh = parse_good(file);
    struct parsed again = parse_good(file);
    int count = 0;
    weir_conf_keep(fresh.conf, running.conf);
    release(&running);
    expect(fresh.conf, "listen_addr", "127.0.0.1");
    expect(fresh.conf, "so_reuseport", "off");
    expect(fresh.conf, "pool_size", "4");
    expect_row(fresh.conf, "listen_port", "7001", "6432", false, "test.ini:2");
    expect_row(fresh.conf, "pidfile", "", "", false, NULL);
    weir_conf_changes(fresh.conf, again.conf, count_change, &count);
    cr_assert_eq(count, 5);
    release(&fresh);
    release(&again);
}
