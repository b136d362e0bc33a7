#include "support.h"
#include "weir/libpq.h"

/* Reads the one line `right` of a [databases] section. */
static struct parsed parse_line(const char *right)
{
    size_t size = strlen(right) + 64;
    char *text = malloc(size);
    cr_assert_not_null(text);
    snprintf(text, size, "[databases]\ndb = %s\n", right);
    struct parsed parsed = parse(text);
    free(text);
    return parsed;
}

static void check_text(const char *actual, const char *expected, const char *right)
{
    if (expected == NULL)
        cr_assert_null(actual, "%s: %s", right, actual);
    else
        cr_assert(actual != NULL && strcmp(actual, expected) == 0, "%s: %s, not %s", right,
                  actual == NULL ? "nothing" : actual, expected);
}

Test(database, targets)
{
    const struct {
        const char *right;
        const char *host;
        int port;
        const char *dbname;
        const char *user;
        const char *password;
    } cases[] = {
        {"", "", 5432, NULL, NULL, NULL},
        {"host=h", "h", 5432, NULL, NULL, NULL},
        {"host=h port=5433 dbname=d user=u password=p", "h", 5433, "d", "u", "p"},
        {"host = h  port = 1", "h", 1, NULL, NULL, NULL},
        {"host=/run/postgresql", "/run/postgresql", 5432, NULL, NULL, NULL},
        {"host=@abstract", "@abstract", 5432, NULL, NULL, NULL},
        {"host=name hostaddr=10.0.0.1", "10.0.0.1", 5432, NULL, NULL, NULL},
        {"hostaddr=::1", "::1", 5432, NULL, NULL, NULL},
        {"password='a b'", "", 5432, NULL, NULL, "a b"},
        {"password='it\\'s'", "", 5432, NULL, NULL, "it's"},
        {"password='it''s'", "", 5432, NULL, NULL, "it's"},
        {"password='a\\\\b'", "", 5432, NULL, NULL, "a\\b"},
        {"password=x;y#z ", "", 5432, NULL, NULL, "x;y#z"},
        {"password=';#'", "", 5432, NULL, NULL, ";#"},
        {"password=a=b:c", "", 5432, NULL, NULL, "a=b:c"},
        {"password=''", "", 5432, NULL, NULL, NULL},
        {"password=' ; ' host=h", "h", 5432, NULL, NULL, " ; "},
        {"postgresql://", "", 5432, NULL, NULL, NULL},
        {"postgresql://h", "h", 5432, NULL, NULL, NULL},
        {"postgres://u:p%20w%3b@h:7/d", "h", 7, "d", "u", "p w;"},
        {"postgresql://[::1]:7/d", "::1", 7, "d", NULL, NULL},
        {"postgresql://%2Frun%2Fpg/d", "/run/pg", 5432, "d", NULL, NULL},
        {"postgresql:///d?host=h&port=9", "h", 9, "d", NULL, NULL},
        {"postgresql://u@h/d pool_size=3 pool_mode=session", "h", 5432, "d", "u", NULL},
        {"host=h sslmode=prefer gssencmode=disable channel_binding=prefer", "h", 5432, NULL, NULL,
         NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed parsed = parse_line(cases[i].right);
        cr_assert_not_null(parsed.conf, "%s: %s", cases[i].right, parsed.problems);
        const struct weir_database *database = weir_conf_database(parsed.conf, "db");
        cr_assert_eq(database->host_count, 1);
        check_text(database->hosts[0].host, cases[i].host, cases[i].right);
        cr_assert_eq(database->hosts[0].port, cases[i].port, "%s", cases[i].right);
        check_text(database->dbname, cases[i].dbname, cases[i].right);
        check_text(database->user, cases[i].user, cases[i].right);
        check_text(database->password, cases[i].password, cases[i].right);
        check_text(database->where, "test.ini:2", cases[i].right);
        release(&parsed);
    }
}

Test(database, several_hosts)
{
    const struct {
        const char *right;
        size_t count;
        const char *hosts[3];
        int ports[3];
    } cases[] = {
        {"host=a,b,c port=1,2,3", 3, {"a", "b", "c"}, {1, 2, 3}},
        {"host=a,b port=7", 2, {"a", "b"}, {7, 7}},
        {"host=a,b port=7,", 2, {"a", "b"}, {7, 5432}},
        {"host=a,b hostaddr=,10.0.0.2", 2, {"a", "10.0.0.2"}, {5432, 5432}},
        {"postgresql://a:1,b/d?target_session_attrs=standby", 2, {"a", "b"}, {1, 5432}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed parsed = parse_line(cases[i].right);
        cr_assert_not_null(parsed.conf, "%s: %s", cases[i].right, parsed.problems);
        const struct weir_database *database = &parsed.conf->databases[0];
        cr_assert_eq(database->host_count, cases[i].count);
        for (size_t j = 0; j < cases[i].count; j++) {
            cr_assert_str_eq(database->hosts[j].host, cases[i].hosts[j]);
            cr_assert_eq(database->hosts[j].port, cases[i].ports[j]);
        }
        release(&parsed);
    }
}

Test(database, startup_parameters)
{
    struct parsed parsed =
        parse_line("host=h datestyle='ISO, DMY' options='-c a=b' timezone=Europe/Berlin "
                   "client_encoding=UTF8 application_name=app fallback_application_name=other "
                   "target_session_attrs=prefer-standby");
    const struct weir_database *database = &parsed.conf->databases[0];
    cr_assert_str_eq(database->options, "-c a=b -c datestyle=ISO,\\ DMY -c timezone=Europe/Berlin");
    cr_assert_str_eq(database->client_encoding, "UTF8");
    cr_assert_str_eq(database->application_name, "app");
    cr_assert_eq(database->session_attrs, WEIR_ATTRS_PREFER_STANDBY);
    cr_assert_null(strstr(parsed.warnings, "database db"), "%s", parsed.warnings);
    release(&parsed);
    parsed = parse_line("postgresql://h/d?fallback_application_name=other timezone=UTC");
    cr_assert_str_eq(parsed.conf->databases[0].application_name, "other");
    cr_assert_str_eq(parsed.conf->databases[0].options, "-c timezone=UTC");
    release(&parsed);
}

Test(database, pool_settings)
{
    struct weir_pool_settings resolved;
    struct parsed parsed =
        parse_line("pool_size=3 host=h max_overflow=0 pool_mode='statement' pool_timeout=1.5s "
                   "connect_query='SET x = ''y''' connect_timeout=7 max_db_connections=9");
    cr_assert_not_null(parsed.conf, "%s", parsed.problems);
    weir_conf_resolve(parsed.conf, &parsed.conf->databases[0], "u", &resolved);
    cr_assert_eq(resolved.pool_size, 3);
    cr_assert_eq(resolved.max_overflow, 0);
    cr_assert_eq(resolved.pool_mode, WEIR_POOL_STATEMENT);
    cr_assert_eq(resolved.pool_timeout, 1500 * WEIR_MSEC);
    cr_assert_str_eq(resolved.connect_query, "SET x = 'y'");
    cr_assert_eq(resolved.server_connect_timeout, 7 * WEIR_SEC);
    cr_assert_eq(resolved.max_db_connections, 9);
    release(&parsed);
    parsed = parse_line("connect_timeout=-1");
    weir_conf_resolve(parsed.conf, &parsed.conf->databases[0], "u", &resolved);
    cr_assert_eq(resolved.server_connect_timeout, 0);
    release(&parsed);
}

Test(database, bad_lines)
{
    const struct {
        const char *right;
        const char *problem;
    } cases[] = {
        {"h", "a word without \"=\""},
        {"=h", "a word without \"=\""},
        {"host=h password='x", "a single quote is not closed"},
        {"host=h prot=5", "prot: unknown setting (nearest: port)"},
        {"host=h pool_size=0", "pool_size: 0 is out of bounds (1 to 262143)"},
        {"host=h pool_size=", "pool_size: \"\" is not a whole number"},
        {"host=h listen_port=1", "listen_port: can be set in [pgweir] only"},
        {"host=h max_user_connections=1",
         "max_user_connections: can be set in [pgweir] and [users] only"},
        {"host=h port=0", "port: 0 is out of bounds (1 to 65535)"},
        {"host=h port=65536", "port: 65536 is out of bounds (1 to 65535)"},
        {"host=h port=x", "port: \"x\" is not a whole number"},
        {"host=a,b port=1,2,3", "port: there must be one port, or as many as hosts"},
        {"host=a,b hostaddr=10.0.0.1", "host and hostaddr differ in their number of items"},
        {"hostaddr=db.example", "hostaddr: not a numeric address"},
        {"host=h sslmode=verify-full", "verifying TLS certificates needs a CA file"},
        {"postgresql://h/d?sslmode=verify-ca", "verifying TLS certificates needs a CA file"},
        {"host=h sslmode=nonsense", "sslmode: \"nonsense\" is none of disable, allow"},
        {"hostaddr=10.0.0.1 sslmode=verify-full sslrootcert=system", "host: verify-full needs"},
        {"host=h sslmode=require sslrootcert=system", "sslmode: sslrootcert=system goes with"},
        {"host=h sslmode=require sslrootcert=/nonexistent/r", "sslrootcert: TLS CA file \"/nonex"},
        {"host=h sslmode=require sslcert=/nonexistent/c", "TLS needs both a certificate file and"},
        {"host=h sslmode=require sslcert=/nonexistent/c sslkey=/nonexistent/k", "sslcert: TLS cer"},
        {"host=h sslmode=verify-ca sslrootcert=system sslmode=verify-full sslcrl=/nonexistent/l",
         "sslcrl: TLS CRL file \"/nonexistent/l\""},
        {"host=h sslmode=require sslsni=2", "sslsni: 0 or 1"},
        {"host=h sslmode=require ssl_min_protocol_version=SSLv3",
         "ssl_min_protocol_version: TLSv1"},
        {"host=h sslmode=require ssl_max_protocol_version=tlsv1.1",
         "ssl_max_protocol_version: is below ssl_min_protocol_version"},
        {"host=h sslpassword=x", "sslpassword: refused"},
        {"host=h sslcrldir=/x", "sslcrldir: refused"},
        {"host=h gssencmode=require", "gssencmode: refused"},
        {"host=h channel_binding=require", "channel_binding: require needs TLS"},
        {"host=h channel_binding=maybe", "channel_binding: \"maybe\" is none of disable"},
        {"host=h require_auth=scram-sha-256", "require_auth: refused"},
        {"host=h requirepeer=postgres", "requirepeer: refused"},
        {"service=x", "service: refused"},
        {"host=h passfile=/x", "passfile: refused"},
        {"host=h replication=database", "replication: refused"},
        {"host=h target_session_attrs=best", "target_session_attrs: \"best\" is none of any"},
        {"host=h connect_timeout=soon", "server_connect_timeout: \"soon\" is not a duration"},
        {"postgresql://h/d?nonsense=1", "nonsense"},
        {"postgresql://[::1/d", "matching"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed parsed = parse_line(cases[i].right);
        cr_assert_not_null(parsed.problems, "%s", cases[i].right);
        cr_assert_eq(strncmp(parsed.problems, "test.ini:2: database db: ", 25), 0, "%s",
                     parsed.problems);
        cr_assert_not_null(strstr(parsed.problems, cases[i].problem), "%s gave %s", cases[i].right,
                           parsed.problems);
        release(&parsed);
    }
}

Test(database, no_message_shows_a_password)
{
    const char *const lines[] = {
        "password=two SECRET",
        "password='SECRET",
        "host=h password=SECRET sslmode=require",
        "postgresql://u:SECRET%zz@h/d",
        "postgresql://u:%zzSECRET@h/d",
        "postgresql://u:SECRET@[::1/d",
        "postgresql://u:SECRET@h:x/d",
        "postgresql://u:SECRET@h/d?a",
        "postgresql://u:SECRET@h/d?port=1=2",
        "host=h sslpassword=SECRET sslcert=x",
        "postgresql://u:SEC RET@h/d",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct parsed parsed = parse_line(lines[i]);
        cr_assert(parsed.problems == NULL || strstr(parsed.problems, "SECRET") == NULL, "%s",
                  parsed.problems);
        cr_assert(parsed.warnings == NULL || strstr(parsed.warnings, "SECRET") == NULL, "%s",
                  parsed.warnings);
        release(&parsed);
    }
}

Test(database, keywords_without_effect_warn)
{
    const char *const lines[] = {
        "host=h keepalives=0",
        "host=h sslcompression=1",
        "host=h krbsrvname=x",
        "host=h load_balance_hosts=round-robin",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct parsed parsed = parse_line(lines[i]);
        cr_assert_not_null(parsed.conf, "%s", lines[i]);
        cr_assert_not_null(strstr(parsed.warnings, "ignored: "), "%s", lines[i]);
        release(&parsed);
    }
}

Test(database, environment_does_not_leak_in)
{
    setenv("PGHOST", "evil", 1);
    setenv("PGPORT", "1", 1);
    setenv("PGUSER", "evil", 1);
    setenv("PGPASSWORD", "evil", 1);
    setenv("PGDATABASE", "evil", 1);
    setenv("PGOPTIONS", "-c evil=1", 1);
    setenv("PGAPPNAME", "evil", 1);
    setenv("PGSSLMODE", "require", 1);
    setenv("PGSERVICE", "evil", 1);
    struct parsed parsed = parse_line("client_encoding=UTF8");
    cr_assert_not_null(parsed.conf, "%s", parsed.problems);
    const struct weir_database *database = &parsed.conf->databases[0];
    cr_assert_str_eq(database->hosts[0].host, "");
    cr_assert_eq(database->hosts[0].port, 5432);
    cr_assert_null(database->user);
    cr_assert_null(database->password);
    cr_assert_null(database->dbname);
    cr_assert_null(database->options);
    cr_assert_null(database->application_name);
    release(&parsed);
}

Test(database, names)
{
    const struct {
        const char *left;
        const char *name; /* NULL: refused */
    } cases[] = {
        {"shop", "shop"},       {"\"a=b\"", "a=b"},  {"\"a:b\"", "a:b"}, {"a:b", "a:b"},
        {"\"a\"\"b\"", "a\"b"}, {"\"a;b\"", "a;b"},  {"a;b", "a;b"},     {"two words", "two words"},
        {"\"[x]\"", "[x]"},     {"\"\"", NULL},      {"\"a", NULL},      {"a\"b", NULL},
        {"\"a\"b", NULL},       {"pgbouncer", NULL}, {"pgweir", NULL},   {"", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[128];
        snprintf(text, sizeof(text), "[databases]\n%s = host=h\n", cases[i].left);
        struct parsed parsed = parse(text);
        cr_assert_eq(parsed.conf != NULL, cases[i].name != NULL, "%s", cases[i].left);
        if (parsed.conf != NULL)
            cr_assert_str_eq(parsed.conf->databases[0].name, cases[i].name);
        release(&parsed);
    }
}

Test(database, look_up)
{
    struct parsed parsed = parse_good("[databases]\na = host=h\n* = host=i\n");
    cr_assert_str_eq(weir_conf_database(parsed.conf, "a")->name, "a");
    cr_assert_str_eq(weir_conf_database(parsed.conf, "b")->name, "*");
    release(&parsed);
    parsed = parse_good("[databases]\na = host=h\n");
    cr_assert_null(weir_conf_database(parsed.conf, "b"));
    cr_assert_null(weir_conf_database(parsed.conf, "*"));
    release(&parsed);
}

Test(database, same_target)
{
    const struct {
        const char *left;
        const char *right;
        bool same;
    } cases[] = {
        {"host=h port=1 dbname=d", "postgresql://h:1/d pool_size=3", true},
        {"host=h", "host=h pool_size=9", true},
        {"host=h", "host=i", false},
        {"host=h", "host=h,h", false},
        {"host=h", "host=h port=1", false},
        {"host=h", "host=h dbname=x", false},
        {"host=h", "host=h user=x", false},
        {"host=h password=a", "host=h password=b", false},
        {"host=h", "host=h application_name=x", false},
        {"host=h", "host=h timezone=x", false},
        {"host=h", "host=h client_encoding=x", false},
        {"host=h", "host=h target_session_attrs=primary", false},
        {"host=h", "host=h sslmode=prefer", false},
        {"host=h sslmode=prefer", "host=h sslmode=require", false},
        {"host=h sslmode=require", "host=h sslmode=require sslsni=0", false},
        {"host=h sslmode=require", "host=h sslmode=require channel_binding=require", false},
        {"host=h sslmode=require", "host=h sslmode=require ssl_min_protocol_version=TLSv1.3",
         false},
        {"host=h sslmode=require", "host=h pool_size=4 sslmode=require", true},
        {"host=h hostaddr=10.0.0.1", "hostaddr=10.0.0.1", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed left = parse_line(cases[i].left);
        struct parsed right = parse_line(cases[i].right);
        cr_assert_eq(weir_database_same_target(&left.conf->databases[0], &right.conf->databases[0]),
                     cases[i].same, "%s, %s", cases[i].left, cases[i].right);
        release(&left);
        release(&right);
    }
}

static char *option_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword != NULL; options++) {
        if (strcmp(options->keyword, keyword) == 0)
            return options->val != NULL && options->val[0] != '\0' ? options->val : NULL;
    }
    return NULL;
}

/* Passwords of URIs are taken out before libpq sees them, and mean what they mean to libpq. */
Test(database, passwords_of_uris_are_those_of_libpq)
{
    const char *const cases[] = {"postgresql://u:p@h/d",
                                 "postgres://u:p@h",
                                 "postgresql://u:p%40%2f%3A@h:1/d",
                                 "postgresql://u:@h/d",
                                 "postgresql://:p@h/d",
                                 "postgresql://u:a:b:c@h/d",
                                 "postgresql://u:p@h/d?user=v",
                                 "postgresql://h:1/d@e",
                                 "postgresql://u@h/a:b",
                                 "postgresql://u:p%@h/d",
                                 "postgresql://u:p%4@h/d",
                                 "postgresql://u:p%zz@h/d",
                                 "postgresql://u:p%00q@h/d",
                                 "postgresql://u:a@b@h/d",
                                 "postgresql://u:p+q@h/d",
                                 "postgresql://u:p@[::1]:7/d",
                                 "postgresql://u:p@",
                                 "postgresql://u:p@/d?host=h",
                                 "postgresql://u:p@h1:1,h2:2/d",
                                 "postgresql://u%3a:p@h/d",
                                 "postgresql://u:/p@h/d",
                                 "postgresql://u:p?q@h/d",
                                 "postgresql://u:p#q@h/d",
                                 "postgresql://u:p@h?password=q",
                                 "postgresql://u:p%C3%A4@h/d",
                                 "postgresql://u:p%25%25@h/d"};
    const struct weir_libpq *libpq = weir_libpq_hold();
    cr_assert_not_null(libpq);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *error = NULL;
        PQconninfoOption *options = libpq->parse(cases[i], &error);
        struct parsed parsed = parse_line(cases[i]);
        if (options == NULL) {
            cr_assert_null(parsed.conf, "%s", cases[i]);
            cr_assert_null(strstr(parsed.problems, "u:p"), "%s", parsed.problems);
        } else {
            cr_assert_not_null(parsed.conf, "%s: %s", cases[i], parsed.problems);
            const struct weir_database *database = &parsed.conf->databases[0];
            check_text(database->password, option_of(options, "password"), cases[i]);
            check_text(database->user, option_of(options, "user"), cases[i]);
            check_text(database->dbname, option_of(options, "dbname"), cases[i]);
        }
        release(&parsed);
        libpq->free_options(options);
        libpq->free_text(error);
    }
    weir_libpq_drop();
}
