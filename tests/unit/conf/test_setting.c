#include "setting.h"
#include "support.h"
#include "value.h"

static void check_duration(const char *text, int64_t expected)
{
    int64_t usec = -1;
    char *problem = weir_value_read_duration(text, 0, INT64_MAX, &usec);
    if (expected < 0) {
        cr_assert_not_null(problem, "\"%s\" gave %ld", text, (long)usec);
        cr_assert_eq(usec, -1);
    } else {
        cr_assert_null(problem, "%s", problem);
        cr_assert_eq(usec, expected, "\"%s\" gave %ld", text, (long)usec);
    }
    free(problem);
}

Test(value, durations)
{
    const struct {
        const char *text;
        int64_t usec;
    } cases[] = {
        {"0", 0},
        {"30", 30000000},
        {"30s", 30000000},
        {"30 s", 30000000},
        {"0.1", 100000},
        {".5", 500000},
        {"5.", 5000000},
        {"+1", 1000000},
        {"250ms", 250000},
        {"1.5h", 5400000000},
        {"1us", 1},
        {"2min", 120000000},
        {"1d", 86400000000},
        {"off", 0},
        {"-0", 0},
        {"0.0000001", 1},
        {"0.00000000000000000000001ms", 1},
        {"1.0000000000000000000000000", 1000000},
        {"0.000001d", 86400},
        {"", -1},
        {"s", -1},
        {"-1", -1},
        {"-0.5s", -1},
        {"1.2.3", -1},
        {"1 2", -1},
        {"1m", -1},
        {"1S", -1},
        {"1e3", -1},
        {"0x10", -1},
        {"inf", -1},
        {"nan", -1},
        {".", -1},
        {"1,5", -1},
        {"99999999999999999999999999", -1},
        {"9223372036854775807h", -1},
        {"9223372036854775808us", -1},
        {"9223372036854775807us", INT64_MAX},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_duration(cases[i].text, cases[i].usec);
}

Test(value, duration_shown_is_read_back)
{
    const int64_t values[] = {0, 1, 999, 1000, 1500, 1000000, 90000000, 3600000000, 86400000000};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char *text = weir_value_show_duration(values[i]);
        check_duration(text, values[i]);
        free(text);
    }
}

Test(value, sizes)
{
    const struct {
        const char *text;
        int64_t bytes;
    } cases[] = {
        {"0", 0},
        {"4096", 4096},
        {"1kB", 1024},
        {"1KB", 1024},
        {"1.5MB", 1572864},
        {"2 GB", 2147483648},
        {"7B", 7},
        {"0.0001B", 1},
        {"", -1},
        {"1TB", -1},
        {"-1", -1},
        {"1kBB", -1},
        {"kB", -1},
        {"1..5", -1},
        {"99999999999GB", -1},
        {"18446744073709551616", -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t bytes = 77;
        char *problem = weir_value_read_size(cases[i].text, 0, INT64_MAX, &bytes);
        cr_assert_eq(problem == NULL, cases[i].bytes >= 0, "%s", cases[i].text);
        cr_assert_eq(bytes, cases[i].bytes < 0 ? 77 : (uint64_t)cases[i].bytes, "%s",
                     cases[i].text);
        free(problem);
    }
}

Test(value, integers)
{
    const struct {
        const char *text;
        bool good;
        int number;
    } cases[] = {
        {"0", true, 0},    {"100", true, 100}, {"007", true, 7}, {"+5", true, 5},
        {"101", false, 0}, {"-1", false, 0},   {"", false, 0},   {"-", false, 0},
        {"1.0", false, 0}, {"0x1", false, 0},  {" 1", false, 0}, {"99999999999999999999", false, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int number = -7;
        char *problem = weir_value_read_int(cases[i].text, 0, 100, &number);
        cr_assert_eq(problem == NULL, cases[i].good, "%s", cases[i].text);
        cr_assert_eq(number, cases[i].good ? cases[i].number : -7, "%s", cases[i].text);
        free(problem);
    }
}

Test(value, booleans_and_modes)
{
    const char *const on[] = {"on", "ON", "yes", "true", "True", "1"};
    const char *const off[] = {"off", "no", "No", "false", "0"};
    const char *const bad[] = {"", "2", "maybe", "o", "on,yes", "tru"};
    bool value = false;
    for (size_t i = 0; i < sizeof(on) / sizeof(on[0]); i++) {
        value = false;
        cr_assert_null(weir_value_read_bool(on[i], &value));
        cr_assert(value);
    }
    for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
        value = true;
        cr_assert_null(weir_value_read_bool(off[i], &value));
        cr_assert_not(value);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *problem = weir_value_read_bool(bad[i], &value);
        cr_assert_not_null(problem, "%s", bad[i]);
        free(problem);
    }
    int mode = 0;
    cr_assert_null(weir_value_read_octal("0660", 0, 0777, &mode));
    cr_assert_eq(mode, 0660);
    const char *const bad_modes[] = {"", "0888", "rw", "01000", "-1", "7777777777777777777777777"};
    for (size_t i = 0; i < sizeof(bad_modes) / sizeof(bad_modes[0]); i++) {
        char *problem = weir_value_read_octal(bad_modes[i], 0, 0777, &mode);
        cr_assert_not_null(problem, "%s", bad_modes[i]);
        cr_assert_eq(mode, 0660);
        free(problem);
    }
}

Test(setting, defaults_are_within_their_own_bounds)
{
    struct weir_conf conf = {0};
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        const struct weir_setting *setting = &weir_settings[i];
        cr_assert_null(weir_setting_set(setting, &conf, setting->value), "%s", setting->name);
        char *shown = weir_setting_show(setting, &conf);
        cr_assert_null(weir_setting_set(setting, &conf, shown), "%s", setting->name);
        if (setting->kind != WEIR_SETTING_SIZE)
            cr_assert_str_eq(shown, setting->value, "%s", setting->name);
        if (setting->pgbouncer_value != NULL)
            cr_assert_null(weir_setting_set(setting, &conf, setting->pgbouncer_value), "%s",
                           setting->name);
        free(shown);
    }
    weir_setting_free_strings(&conf, false);
}

Test(setting, names_are_unique)
{
    for (size_t i = 0; i < weir_setting_alias_count; i++)
        cr_assert_null(weir_setting_find(weir_setting_aliases[i].name));
    for (size_t i = 0; i < weir_setting_foreign_count; i++) {
        cr_assert_null(weir_setting_find(weir_setting_foreigners[i].name));
        cr_assert_null(weir_setting_find_alias(weir_setting_foreigners[i].name));
        cr_assert_eq(weir_setting_find_foreign(weir_setting_foreigners[i].name),
                     &weir_setting_foreigners[i]);
    }
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++)
        cr_assert_eq(weir_setting_find(weir_settings[i].name), &weir_settings[i]);
}

Test(setting, defaults_are_as_documented)
{
    struct parsed parsed = parse_good("[databases]\n*=host=h\n");
    const struct weir_conf *conf = parsed.conf;
    cr_assert_eq(conf->pool.pool_mode, WEIR_POOL_TRANSACTION);
    cr_assert_eq(conf->pool.pool_size, 20);
    cr_assert_eq(conf->pool.max_overflow, 10);
    cr_assert_eq(conf->pool.overflow_delay, 0);
    cr_assert_eq(conf->pool.pool_timeout, 30 * WEIR_SEC);
    cr_assert_eq(conf->pool.pool_recycle, 3600 * WEIR_SEC);
    cr_assert(conf->pool.pool_pre_ping);
    cr_assert_eq(conf->pool.pre_ping_idle, WEIR_SEC);
    cr_assert_eq(conf->pool.pre_ping_timeout, 2 * WEIR_SEC);
    cr_assert_str_eq(conf->pool.pre_ping_query, "");
    cr_assert_eq(conf->pool.server_keepalive, 120 * WEIR_SEC);
    cr_assert_eq(conf->pool.server_idle_timeout, 600 * WEIR_SEC);
    cr_assert(conf->pool.pool_use_lifo);
    cr_assert_str_eq(conf->pool.server_reset_query, "DISCARD ALL");
    cr_assert_eq(conf->pool.max_prepared_statements, 200);
    cr_assert_eq(conf->pool.cancel_wait_timeout, 10 * WEIR_SEC);
    cr_assert_str_eq(conf->listen_addr, "127.0.0.1");
    cr_assert_eq(conf->listen_port, 6432);
    cr_assert_eq(conf->unix_socket_mode, 0777);
    cr_assert_eq(conf->max_client_conn, 1000);
    cr_assert_eq(conf->auth_type, WEIR_AUTH_TYPE_SCRAM);
    cr_assert_eq(conf->client_login_timeout, 60 * WEIR_SEC);
    cr_assert_eq(conf->client_memory_limit, 1048576);
    cr_assert_eq(conf->max_message_size, 1073741824);
    cr_assert_eq(conf->log_query_length, 1024);
    cr_assert_eq(conf->shutdown_timeout, 30 * WEIR_SEC);
    cr_assert_eq(conf->log_level, WEIR_LOG_INFO);
    cr_assert_not(conf->pgbouncer_file);
    release(&parsed);
}

Test(setting, nearest_names)
{
    const struct {
        const char *name;
        unsigned int scope;
        const char *nearest;
    } cases[] = {
        {"pool_sze", WEIR_SCOPE_GLOBAL, "pool_size"},
        {"poolsize", WEIR_SCOPE_GLOBAL, "pool_size"},
        {"max_clients_conn", WEIR_SCOPE_GLOBAL, "max_client_conn"},
        {"default_pool_szie", WEIR_SCOPE_GLOBAL, "default_pool_size"},
        {"lisetn_port", WEIR_SCOPE_GLOBAL, "listen_port"},
        {"hots", WEIR_SCOPE_DATABASE, "host"},
        {"unix_socket_dri", WEIR_SCOPE_USER, NULL},
        {"xyzzy_plugh_frobnicate", WEIR_SCOPE_GLOBAL, NULL},
        {"", WEIR_SCOPE_GLOBAL, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *nearest = weir_setting_nearest(cases[i].name, cases[i].scope);
        if (cases[i].nearest == NULL)
            cr_assert_null(nearest, "%s gave %s", cases[i].name, nearest);
        else
            cr_assert(nearest != NULL && strcmp(nearest, cases[i].nearest) == 0, "%s gave %s",
                      cases[i].name, nearest == NULL ? "nothing" : nearest);
    }
}

Test(setting, problems_name_place_bounds_and_neighbour)
{
    const struct {
        const char *line;
        const char *problem;
    } cases[] = {
        {"listen_port = 0", "test.ini:2: listen_port: 0 is out of bounds (1 to 65535)\n"},
        {"pool_sze = 1", "test.ini:2: pool_sze: unknown setting (nearest: pool_size)\n"},
        {"pool_mode = both", "test.ini:2: pool_mode: \"both\" is none of transaction, session, "
                             "statement\n"},
        {"echo_pool = loud", "test.ini:2: echo_pool: \"loud\" is none of off, on, debug\n"},
        {"pre_ping_timeout = 0",
         "test.ini:2: pre_ping_timeout: 0 is out of bounds (1ms to 3660d)\n"},
        {"client_memory_limit = 1", "test.ini:2: client_memory_limit: 1 is out of bounds (16kB to "
                                    "1GB)\n"},
        {"unix_socket_mode = 1777", "test.ini:2: unix_socket_mode: 1777 is out of bounds (0000 to "
                                    "0777)\n"},
        {"pool_size =", "test.ini:2: pool_size: \"\" is not a whole number\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text), "[pgweir]\n%s\n", cases[i].line);
        struct parsed parsed = parse(text);
        cr_assert_not_null(parsed.problems, "%s", cases[i].line);
        cr_assert_str_eq(parsed.problems, cases[i].problem);
        release(&parsed);
    }
}

Test(setting, all_problems_are_collected)
{
    struct parsed parsed = parse("[pgweir]\npool_size=x\nnonsense\nlisten_port=0\n[databases]\n"
                                 "a=host=h sslmode=often\n[nowhere]\nx=y\n[users]\nu=foo=1\n");
    cr_assert_null(parsed.conf);
    cr_assert_eq(count_lines(parsed.problems), 6, "%s", parsed.problems);
    release(&parsed);
}

Test(setting, duplicates_warn_and_the_last_counts)
{
    struct parsed parsed = parse_good("[pgweir]\npool_size=3\ndefault_pool_size=4\n");
    cr_assert_eq(parsed.conf->pool.pool_size, 4);
    cr_assert_not_null(strstr(parsed.warnings, "test.ini:3: default_pool_size: set more than once, "
                                               "before at test.ini:2"));
    release(&parsed);
    parsed = parse_good("[databases]\na=host=x\na=host=y\n[users]\nu=pool_size=1\nu=pool_size=2\n");
    cr_assert_eq(parsed.conf->database_count, 1);
    cr_assert_str_eq(parsed.conf->databases[0].hosts[0].host, "y");
    cr_assert_eq(parsed.conf->user_count, 1);
    cr_assert_not_null(strstr(parsed.warnings, "test.ini:3: a: defined more than once"));
    cr_assert_not_null(strstr(parsed.warnings, "test.ini:6: u: defined more than once"));
    release(&parsed);
}

Test(setting, the_most_specific_level_wins)
{
    struct parsed parsed = parse_good(
        "[users]\njoe = pool_size=7\n* = pool_timeout=7s\n"
        "[databases]\nshop = host=h pool_size=5 pool_timeout=5 connect_query='SELECT 1'\n"
        "* = host=h\n[pgweir]\npool_size=3\nmax_overflow=2\nmin_pool_size=3\n");
    const struct weir_database *shop = weir_conf_database(parsed.conf, "shop");
    const struct weir_database *other = weir_conf_database(parsed.conf, "other");
    cr_assert_str_eq(other->name, "*");
    const struct {
        const struct weir_database *database;
        const char *user;
        int pool_size;
        weir_usec pool_timeout;
        const char *connect_query;
    } cases[] = {
        {shop, "joe", 7, 5 * WEIR_SEC, "SELECT 1"}, {shop, "ann", 5, 7 * WEIR_SEC, "SELECT 1"},
        {other, "joe", 7, 30 * WEIR_SEC, ""},       {other, "ann", 3, 7 * WEIR_SEC, ""},
        {NULL, "ann", 3, 7 * WEIR_SEC, ""},         {other, NULL, 3, 7 * WEIR_SEC, ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_pool_settings resolved;
        weir_conf_resolve(parsed.conf, cases[i].database, cases[i].user, &resolved);
        cr_assert_eq(resolved.pool_size, cases[i].pool_size, "case %zu", i);
        cr_assert_eq(resolved.pool_timeout, cases[i].pool_timeout, "case %zu", i);
        cr_assert_str_eq(resolved.connect_query, cases[i].connect_query, "case %zu", i);
        cr_assert_eq(resolved.max_overflow, 2, "case %zu", i);
    }
    release(&parsed);
}

Test(setting, min_pool_size_is_bounded_across_levels)
{
    struct parsed parsed = parse_good("[databases]\na=pool_size=2\n[pgweir]\nmin_pool_size=9\n");
    struct weir_pool_settings resolved;
    weir_conf_resolve(parsed.conf, weir_conf_database(parsed.conf, "a"), "u", &resolved);
    cr_assert_eq(resolved.min_pool_size, 2);
    release(&parsed);
}

struct differences {
    int count;
    char last[64];
    bool reloadable;
};

static void note_difference(void *context, const char *name, const char *old_value,
                            const char *new_value, bool reloadable)
{
    struct differences *differences = context;
    differences->count++;
    differences->reloadable = reloadable;
    snprintf(differences->last, sizeof(differences->last), "%s %s %s", name, old_value, new_value);
}

Test(setting, difference_of_two_files)
{
    const struct {
        const char *old;
        const char *fresh;
        int count;
        const char *last;
        bool reloadable;
    } cases[] = {
        {"pool_timeout=60", "pool_timeout=1min", 0, "", false},
        {"pool_size=3", "default_pool_size=4", 1, "pool_size 3 4", true},
        {"listen_port=1", "listen_port=2", 1, "listen_port 1 2", false},
        {"auth_file=/a", "auth_file=/b", 1, "auth_file /a /b", true},
        {"log_level=debug\npidfile=x", "pidfile=x", 1, "log_level debug info", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[128];
        struct differences differences = {0};
        snprintf(text, sizeof(text), "[pgweir]\n%s\n", cases[i].old);
        struct parsed old = parse_good(text);
        snprintf(text, sizeof(text), "[pgweir]\n%s\n", cases[i].fresh);
        struct parsed fresh = parse_good(text);
        weir_conf_diff(old.conf, fresh.conf, note_difference, &differences);
        cr_assert_eq(differences.count, cases[i].count, "case %zu", i);
        cr_assert_str_eq(differences.last, cases[i].last);
        cr_assert_eq(differences.reloadable, cases[i].reloadable, "case %zu", i);
        release(&old);
        release(&fresh);
    }
}
