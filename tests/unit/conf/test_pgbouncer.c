#include "support.h"

Test(pgbouncer, its_defaults_hold)
{
    struct parsed parsed = parse_good("[databases]\nd=\n[pgbouncer]\n");
    const struct weir_conf *conf = parsed.conf;
    cr_assert(conf->pgbouncer_file);
    cr_assert_eq(conf->pool.pool_mode, WEIR_POOL_SESSION);
    cr_assert_eq(conf->pool.pool_size, 20);
    cr_assert_eq(conf->pool.max_overflow, 0);
    cr_assert_eq(conf->pool.overflow_delay, 5 * WEIR_SEC);
    cr_assert_eq(conf->pool.pool_timeout, 120 * WEIR_SEC);
    cr_assert(conf->pool.pool_pre_ping);
    cr_assert_eq(conf->pool.pre_ping_idle, 30 * WEIR_SEC);
    cr_assert_eq(conf->pool.server_login_retry, 15 * WEIR_SEC);
    cr_assert_str_eq(conf->listen_addr, "");
    cr_assert_str_eq(conf->unix_socket_dir, "/tmp");
    cr_assert_eq(conf->auth_type, WEIR_AUTH_TYPE_MD5);
    cr_assert_eq(conf->max_client_conn, 100);
    cr_assert_eq(conf->max_message_size, 2147483647);
    cr_assert_str_eq(conf->databases[0].hosts[0].host, "/tmp");
    release(&parsed);
}

Test(pgbouncer, pgweir_names_work_in_its_section_and_its_names_in_ours)
{
    struct parsed parsed = parse_good("[pgbouncer]\npool_timeout=3s\n");
    cr_assert_eq(parsed.conf->pool.pool_timeout, 3 * WEIR_SEC);
    release(&parsed);
    parsed = parse_good("[pgweir]\nquery_wait_timeout=4\n");
    cr_assert_eq(parsed.conf->pool.pool_timeout, 4 * WEIR_SEC);
    cr_assert_not(parsed.conf->pgbouncer_file);
    cr_assert_eq(parsed.conf->pool.pool_mode, WEIR_POOL_TRANSACTION);
    release(&parsed);
}

/* Each name and what it does to the pool settings. */
static bool is_pool_size_7(const struct weir_pool_settings *pool)
{
    return pool->pool_size == 7;
}
static bool is_pool_size_unlimited(const struct weir_pool_settings *pool)
{
    return pool->pool_size == 262143;
}
static bool is_timeout_120ms(const struct weir_pool_settings *pool)
{
    return pool->pool_timeout == 120 * WEIR_MSEC;
}
static bool is_recycle_30(const struct weir_pool_settings *pool)
{
    return pool->pool_recycle == 30 * WEIR_SEC;
}
static bool is_used_once(const struct weir_pool_settings *pool)
{
    return pool->pool_recycle == 1;
}
static bool is_never_recycled(const struct weir_pool_settings *pool)
{
    return pool->pool_recycle == 0;
}
static bool is_ping_idle_9(const struct weir_pool_settings *pool)
{
    return pool->pre_ping_idle == 9 * WEIR_SEC && pool->pool_pre_ping;
}
static bool is_ping_off(const struct weir_pool_settings *pool)
{
    return !pool->pool_pre_ping;
}
static bool is_ping_select(const struct weir_pool_settings *pool)
{
    return pool->pool_pre_ping && strcmp(pool->pre_ping_query, "select 1") == 0;
}
static bool is_ping_protocol(const struct weir_pool_settings *pool)
{
    return pool->pool_pre_ping && strcmp(pool->pre_ping_query, "") == 0;
}
static bool is_round_robin(const struct weir_pool_settings *pool)
{
    return !pool->pool_use_lifo;
}
static bool is_lifo(const struct weir_pool_settings *pool)
{
    return pool->pool_use_lifo;
}
static bool is_reserve_6_after_5s(const struct weir_pool_settings *pool)
{
    return pool->max_overflow == 6 && pool->overflow_delay == 5 * WEIR_SEC;
}
static bool is_reserve_6_after_2s(const struct weir_pool_settings *pool)
{
    return pool->max_overflow == 6 && pool->overflow_delay == 2 * WEIR_SEC;
}
static bool is_reserve_6_at_once(const struct weir_pool_settings *pool)
{
    return pool->max_overflow == 6 && pool->overflow_delay == 0;
}
static bool is_without_overflow(const struct weir_pool_settings *pool)
{
    return pool->max_overflow == 0;
}

static const struct {
    const char *section;
    const char *global;
    const char *database;
    bool (*holds)(const struct weir_pool_settings *pool);
} translations[] = {
    {"pgweir", "default_pool_size=7", "", is_pool_size_7},
    {"pgweir", "default_pool_size=0", "", is_pool_size_unlimited},
    {"pgbouncer", "default_pool_size=7", "pool_size=0", is_pool_size_unlimited},
    {"pgbouncer", "", "pool_size=7", is_pool_size_7},
    {"pgbouncer", "query_wait_timeout=0.12", "", is_timeout_120ms},
    {"pgbouncer", "", "query_wait_timeout=0.12", is_timeout_120ms},
    {"pgbouncer", "server_lifetime=30", "", is_recycle_30},
    {"pgbouncer", "", "server_lifetime=30", is_recycle_30},
    {"pgbouncer", "server_lifetime=0", "", is_used_once},
    {"pgbouncer", "server_lifetime=0.0", "", is_used_once},
    {"pgbouncer", "", "server_lifetime=0", is_used_once},
    {"pgbouncer", "pool_recycle=0", "", is_never_recycled},
    {"pgbouncer", "server_check_delay=9", "", is_ping_idle_9},
    {"pgbouncer", "server_check_query=", "", is_ping_off},
    {"pgbouncer", "server_check_query=select 1", "", is_ping_select},
    {"pgbouncer", "server_check_query=<empty>", "", is_ping_protocol},
    {"pgbouncer", "server_check_query=\nserver_check_query=select 1", "", is_ping_select},
    {"pgbouncer", "pool_pre_ping=on\nserver_check_query=", "", is_ping_protocol},
    {"pgbouncer", "server_round_robin=1", "", is_round_robin},
    {"pgbouncer", "server_round_robin=0", "", is_lifo},
    {"pgbouncer", "pool_use_lifo=off", "", is_round_robin},
    {"pgbouncer", "reserve_pool_size=6", "", is_reserve_6_after_5s},
    {"pgbouncer", "reserve_pool_size=6\nreserve_pool_timeout=2", "", is_reserve_6_after_2s},
    {"pgbouncer", "reserve_pool_timeout=2", "reserve_pool=6", is_reserve_6_after_2s},
    {"pgbouncer", "", "reserve_pool=6", is_reserve_6_after_5s},
    {"pgbouncer", "", "reserve_pool_size=6", is_reserve_6_after_5s},
    {"pgbouncer", "reserve_pool_size=6\nreserve_pool_timeout=0", "", is_without_overflow},
    {"pgbouncer", "reserve_pool_timeout=0", "reserve_pool=6", is_without_overflow},
    {"pgweir", "", "reserve_pool=6", is_reserve_6_after_5s},
    {"pgweir", "reserve_pool_size=6", "", is_reserve_6_after_5s},
    {"pgweir", "overflow_delay=2s", "reserve_pool=6", is_reserve_6_after_2s},
    {"pgweir", "max_overflow=6", "", is_reserve_6_at_once},
    {"pgweir", "reserve_pool_timeout=0", "", is_without_overflow},
    {"pgweir", "max_overflow=6\nreserve_pool_timeout=0", "", is_reserve_6_at_once},
};

Test(pgbouncer, names_keep_their_meaning)
{
    for (size_t i = 0; i < sizeof(translations) / sizeof(translations[0]); i++) {
        /* The order of sections must not matter. */
        for (int order = 0; order < 2; order++) {
            char text[512];
            struct weir_pool_settings pool;
            if (order == 0)
                snprintf(text, sizeof(text), "[databases]\nd = host=h %s\n[%s]\n%s\n",
                         translations[i].database, translations[i].section, translations[i].global);
            else
                snprintf(text, sizeof(text), "[%s]\n%s\n[databases]\nd = host=h %s\n",
                         translations[i].section, translations[i].global, translations[i].database);
            struct parsed parsed = parse_good(text);
            weir_conf_resolve(parsed.conf, &parsed.conf->databases[0], "u", &pool);
            cr_assert(translations[i].holds(&pool), "case %zu: %s", i, text);
            release(&parsed);
        }
    }
}

Test(pgbouncer, verbose_and_packet_size)
{
    struct parsed parsed = parse_good("[pgbouncer]\nverbose=2\nmax_packet_size=65536\n");
    cr_assert_eq(parsed.conf->log_level, WEIR_LOG_DEBUG);
    cr_assert_eq(parsed.conf->max_message_size, 65536);
    release(&parsed);
    parsed = parse_good("[pgbouncer]\nverbose=0\n");
    cr_assert_eq(parsed.conf->log_level, WEIR_LOG_INFO);
    release(&parsed);
}

Test(pgbouncer, backslash_is_plain)
{
    struct parsed parsed = parse_good("[databases]\nd = password=a\\b connect_query='x ''y\\'\n"
                                      "[pgbouncer]\n");
    cr_assert_str_eq(parsed.conf->databases[0].password, "a\\b");
    struct weir_pool_settings pool;
    weir_conf_resolve(parsed.conf, &parsed.conf->databases[0], "u", &pool);
    cr_assert_str_eq(pool.connect_query, "x 'y\\");
    release(&parsed);
}

/* What PgBouncer's own sample and SHOW CONFIG know, at PgBouncer's defaults: none may be an error,
 * and none may need a warning. */
static const char *const its_defaults[] = {
    "admin_users =",
    "application_name_add_host = 0",
    "auth_dbname =",
    "auth_file = /x",
    "auth_hba_file =",
    "auth_ident_file =",
    "auth_ldap_options =",
    "auth_query =",
    "auth_type = md5",
    "auth_user =",
    "autodb_idle_timeout = 3600",
    "cancel_wait_timeout = 10",
    "client_idle_timeout = 0",
    "client_login_timeout = 60",
    "client_tls13_ciphers =",
    "client_tls_ca_file =",
    "client_tls_cert_file =",
    "client_tls_ciphers = default",
    "client_tls_dheparams = auto",
    "client_tls_ecdhcurve = auto",
    "client_tls_key_file =",
    "client_tls_protocols = secure",
    "client_tls_sslmode = disable",
    "default_pool_size = 20",
    "disable_pqexec = 0",
    "dns_max_ttl = 15",
    "dns_nxdomain_ttl = 15",
    "dns_zone_check_period = 0",
    "idle_transaction_timeout = 0",
    "job_name = pgbouncer",
    "listen_addr = *",
    "listen_backlog = 128",
    "listen_port = 6432",
    "log_connections = 1",
    "log_disconnections = 1",
    "log_pooler_errors = 1",
    "log_stats = 1",
    "logfile =",
    "login_notify_message =",
    "max_client_conn = 100",
    "max_db_client_connections = 0",
    "max_db_connections = 0",
    "max_packet_size = 2147483647",
    "max_prepared_statements = 200",
    "max_user_client_connections = 0",
    "max_user_connections = 0",
    "min_pool_size = 0",
    "peer_id = 0",
    "pidfile =",
    "pkt_buf = 4096",
    "pool_idle_timeout = 0",
    "pool_mode = session",
    "query_timeout = 0",
    "query_wait_notify = 5",
    "query_wait_timeout = 120",
    "reserve_pool_size = 0",
    "reserve_pool_timeout = 5",
    "resolv_conf =",
    "sbuf_loopcnt = 5",
    "scram_iterations = 4096",
    "server_check_delay = 30",
    "server_check_query = <empty>",
    "server_connect_timeout = 15",
    "server_fast_close = 0",
    "server_idle_timeout = 600",
    "server_lifetime = 3600",
    "server_login_retry = 15",
    "server_reset_query = DISCARD ALL",
    "server_reset_query_always = 0",
    "server_round_robin = 0",
    "server_tls13_ciphers =",
    "server_tls_ca_file =",
    "server_tls_cert_file =",
    "server_tls_ciphers = default",
    "server_tls_key_file =",
    "server_tls_protocols = secure",
    "server_tls_sslmode = prefer",
    "so_reuseport = 0",
    "stats_period = 60",
    "stats_users =",
    "suspend_timeout = 10",
    "syslog = 0",
    "syslog_facility = daemon",
    "tcp_defer_accept = 1",
    "tcp_keepalive = 1",
    "tcp_keepcnt = 0",
    "tcp_keepidle = 0",
    "tcp_keepintvl = 0",
    "tcp_socket_buffer = 0",
    "tcp_user_timeout = 0",
    "track_extra_parameters = IntervalStyle",
    "transaction_timeout = 0",
    "unix_socket_dir = /tmp",
    "unix_socket_group =",
    "unix_socket_mode = 0777",
    "user =",
};

Test(pgbouncer, its_own_defaults_are_silent)
{
    for (size_t i = 0; i < sizeof(its_defaults) / sizeof(its_defaults[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text), "[databases]\nd=host=h\n[pgbouncer]\n%s\n", its_defaults[i]);
        struct parsed parsed = parse_good(text);
        cr_assert(parsed.warnings == NULL || strstr(parsed.warnings, ": ignored: ") == NULL, "%s",
                  parsed.warnings);
        release(&parsed);
    }
}

Test(pgbouncer, ignored_settings_say_so)
{
    const char *const lines[] = {
        "ignore_startup_parameters = extra_float_digits",
        "track_extra_parameters = x",
        "peer_id = 1",
        "application_name_add_host = 1",
        "conffile = /x",
        "login_notify_message = hi",
        "autodb_idle_timeout = 60",
        "pool_idle_timeout = 60",
        "resolv_conf = /x",
        "client_tls_dheparams = legacy",
        "server_fast_close = 1",
        "query_wait_notify = 7",
        "pkt_buf = 8192",
        "sbuf_loopcnt = 0",
        "tcp_keepidle = 60",
        "tcp_user_timeout = 1000",
        "dns_max_ttl = 30",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text), "[pgbouncer]\n%s\n", lines[i]);
        struct parsed parsed = parse_good(text);
        const char *warning = strstr(parsed.warnings, "test.ini:2: ");
        cr_assert_not_null(warning, "%s", lines[i]);
        cr_assert_not_null(strstr(warning, ": ignored: "), "%s", lines[i]);
        release(&parsed);
    }
}

Test(pgbouncer, what_security_depends_on_is_refused)
{
    const char *const lines[] = {
        "auth_type = cert",
        "auth_type = peer",
        "disable_pqexec = 1",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text), "[pgbouncer]\n%s\n", lines[i]);
        struct parsed parsed = parse(text);
        cr_assert_not_null(parsed.problems, "%s", lines[i]);
        cr_assert_not_null(strstr(parsed.problems, ": refused: "), "%s", parsed.problems);
        release(&parsed);
    }
}

Test(pgbouncer, users_and_peers)
{
    struct parsed parsed =
        parse_good("[users]\nu = pool_mode=transaction pool_size=2 reserve_pool_size=1 "
                   "max_user_connections=3 max_user_client_connections=4 query_timeout=5 "
                   "query_wait_timeout=6 idle_transaction_timeout=7 transaction_timeout=8 "
                   "client_idle_timeout=9\n[peers]\n1 = host=/tmp\n2 = host=/tmp\n[pgbouncer]\n");
    struct weir_pool_settings pool;
    weir_conf_resolve(parsed.conf, NULL, "u", &pool);
    cr_assert_eq(pool.pool_mode, WEIR_POOL_TRANSACTION);
    cr_assert_eq(pool.pool_size, 2);
    cr_assert_eq(pool.max_overflow, 1);
    cr_assert_eq(pool.max_user_connections, 3);
    cr_assert_eq(pool.max_user_client_connections, 4);
    cr_assert_eq(pool.query_timeout, 5 * WEIR_SEC);
    cr_assert_eq(pool.pool_timeout, 6 * WEIR_SEC);
    cr_assert_eq(pool.idle_transaction_timeout, 7 * WEIR_SEC);
    cr_assert_eq(pool.transaction_timeout, 8 * WEIR_SEC);
    cr_assert_eq(pool.client_idle_timeout, 9 * WEIR_SEC);
    cr_assert_not_null(strstr(parsed.warnings, "[peers]: ignored"));
    const char *first = strstr(parsed.warnings, "[peers]");
    cr_assert_null(strstr(first + 1, "[peers]"));
    release(&parsed);
}
