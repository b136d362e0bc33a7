/* The reference page and the sample file, from the table of settings. */

#include "reference.h"

#include <string.h>

const struct weir_reference_group weir_reference_groups[WEIR_GROUP_COUNT] = {
    [WEIR_GROUP_LISTEN] = {"Where clients connect", ""},
    [WEIR_GROUP_CLIENT] = {"Clients", ""},
    [WEIR_GROUP_TLS] = {"TLS", ""},
    [WEIR_GROUP_POOL] = {"Pools",
                         "These may also stand in a line of [databases] or [users], except "
                         "as noted; user wins over database, database over the rest."},
    [WEIR_GROUP_HTTP] = {"Metrics and status page", ""},
    [WEIR_GROUP_LOG] = {"Logging", ""},
    [WEIR_GROUP_PROCESS] = {"Process", ""},
};

/* --- the sample ------------------------------------------------------------------------ */

#define SAMPLE_WIDTH 96

static void print_wrapped(const char *prefix, const char *text, FILE *out)
{
    size_t column = 0;
    while (*text != '\0') {
        size_t length = strcspn(text, " ");
        if (column == 0 || column + 1 + length > SAMPLE_WIDTH) {
            fprintf(out, "%s%s", column == 0 ? "" : "\n", prefix);
            column = strlen(prefix);
        } else {
            fputc(' ', out);
            column++;
        }
        fwrite(text, 1, length, out);
        column += length;
        text += length + (text[length] == ' ');
    }
    fputc('\n', out);
}

static const char sample_head[] =
    ";; pgweir: sample configuration. Lines that start with ; or # are comments; each setting is\n"
    ";; shown with its default. Check a file with: pgweir --check FILE\n"
    "\n"
    "[databases]\n"
    ";; NAME = DSN [pool settings]; the DSN is what libpq takes, * stands for every other name.\n"
    ";shop = host=db1.example port=5432 dbname=shop pool_size=40\n"
    ";reports = postgresql://reader@db2.example/warehouse pool_mode=session\n"
    ";* = host=db1.example\n"
    "\n"
    "[users]\n"
    ";; NAME = pool settings; * stands for every other name.\n"
    ";batch = pool_size=5 query_timeout=10min\n"
    "\n"
    "[pgweir]\n";

void weir_conf_print_sample(FILE *out)
{
    fputs(sample_head, out);
    for (int group = 0; group < WEIR_GROUP_COUNT; group++) {
        fprintf(out, "\n;;; %s\n", weir_reference_groups[group].title);
        if (*weir_reference_groups[group].text != '\0')
            print_wrapped(";;; ", weir_reference_groups[group].text, out);
        for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
            const struct weir_setting *setting = &weir_settings[i];
            if ((int)setting->group != group)
                continue;
            fputc('\n', out);
            print_wrapped(";; ", setting->help, out);
            fprintf(out, ";%s =%s%s\n", setting->name, *setting->value == '\0' ? "" : " ",
                    setting->value);
        }
    }
}

/* --- the reference --------------------------------------------------------------------- */

const char weir_reference_head[] =
    "The file has the sections `[pgweir]`, `[databases]` and `[users]`. Lines that start with `;` "
    "or\n"
    "`#` are comments; anywhere else these characters belong to the value. `%include FILE` reads\n"
    "another file in place, relative to the file that names it. A name that is set twice counts as "
    "it\n"
    "was set last, with a warning. `pgweir --check FILE` prints what would run, and every problem\n"
    "with file, line and setting.\n"
    "\n"
    "* Durations: a number with `us`, `ms`, `s`, `min`, `h` or `d`; without a unit it is seconds;\n"
    "  fractions are allowed; `off` is 0.\n"
    "* Sizes: a number with `B`, `kB`, `MB` or `GB`; without a unit it is bytes.\n"
    "* Booleans: `on`, `off`, `yes`, `no`, `true`, `false`, `1`, `0`.\n"
    "* Reload: *yes* takes effect when the file is read again, *no* at the next start.\n";

const char weir_reference_databases[] =
    "\n## [databases]\n"
    "\n"
    "`NAME = DSN [pool settings]`. The DSN is what libpq takes: `keyword=value` words, where "
    "values\n"
    "with spaces stand in single quotes, or a `postgresql://` URI, after which pool settings may\n"
    "follow. A name with special characters stands in double quotes; `*` is the fallback for "
    "every\n"
    "other name; `pgweir` and `pgbouncer` are the console. Without `dbname` it is the name that "
    "the\n"
    "client asked for, without `user` the client's own.\n"
    "\n"
    "* `host`, `hostaddr` and `port` may be lists with commas; `hostaddr` is used where it is "
    "given.\n"
    "* `dbname`, `user`, `password`, `application_name`, `client_encoding` and `options` are sent "
    "to\n"
    "  the server; `datestyle` and `timezone` become part of `options`.\n"
    "* `target_session_attrs` chooses among several hosts; `connect_timeout` is\n"
    "  `server_connect_timeout`.\n"
    "* `sslmode`, `sslrootcert` (also `system`), `sslcert`, `sslkey`, `sslcrl`,\n"
    "  `ssl_min_protocol_version`, `ssl_max_protocol_version`, `sslsni` and `channel_binding` mean "
    "what\n"
    "  they mean to libpq, but no file of a home directory is read; see docs/security.md. A line\n"
    "  without `sslmode` goes by the `server_tls_` settings.\n"
    "* `gssencmode=require`, `requirepeer`, `require_auth`, `sslpassword`, `sslcrldir`, "
    "`sslcertmode`,\n"
    "  `service`, `passfile` and `replication` are refused. Other keywords of libpq are ignored "
    "with a\n"
    "  warning.\n"
    "\n"
    "The environment (`PGHOST` and so on) is never read.\n"
    "\n"
    "## [users]\n"
    "\n"
    "`NAME = pool settings`; `*` is the fallback for every other name.\n";

/* A table cell: a bar would end it. */
static void print_cell(const char *text, FILE *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '|' || *text == '*' || *text == '<')
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void print_code(const char *text, FILE *out)
{
    if (*text == '\0')
        fputs("empty", out);
    else
        fprintf(out, "`%s`", text);
}

static void print_aliases(enum weir_setting_id id, FILE *out)
{
    const char *comma = "";
    for (size_t i = 0; i < weir_setting_alias_count; i++) {
        if (weir_setting_aliases[i].setting != id)
            continue;
        fprintf(out, "%s`%s`", comma, weir_setting_aliases[i].name);
        comma = ", ";
    }
}

static void print_words(const struct weir_setting *setting, FILE *out)
{
    const char *comma = " One of ";
    for (const struct weir_setting_word *word = setting->words; word->word != NULL; word++) {
        bool shown = false;
        for (const struct weir_setting_word *other = setting->words; other != word; other++)
            shown = shown || other->value == word->value;
        if (shown)
            continue;
        fprintf(out, "%s`%s`", comma, word->word);
        comma = ", ";
    }
    fputs(".", out);
}

static void print_row(const struct weir_setting *setting, FILE *out)
{
    fprintf(out, "| `%s` | ", setting->name);
    print_code(setting->value, out);
    fprintf(out, " | %s | ", setting->reloadable ? "yes" : "no");
    print_aliases(weir_setting_id(setting), out);
    fputs(" | ", out);
    print_cell(setting->help, out);
    if (setting->kind == WEIR_SETTING_ENUM)
        print_words(setting, out);
    if (setting->scopes == (WEIR_SCOPE_GLOBAL | WEIR_SCOPE_DATABASE))
        fputs(" Not per user.", out);
    if (setting->scopes == (WEIR_SCOPE_GLOBAL | WEIR_SCOPE_USER))
        fputs(" Not per database.", out);
    if (setting->group == WEIR_GROUP_POOL && setting->scopes == WEIR_SCOPE_GLOBAL)
        fputs(" Neither per database nor per user.", out);
    fputs(" |\n", out);
}

static void print_group(int group, FILE *out)
{
    fprintf(out, "\n## %s\n\n", weir_reference_groups[group].title);
    if (*weir_reference_groups[group].text != '\0')
        fprintf(out, "%s\n\n", weir_reference_groups[group].text);
    fputs("| setting | default | reload | PgBouncer's name | meaning |\n|---|---|---|---|---|\n",
          out);
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        if ((int)weir_settings[i].group == group)
            print_row(&weir_settings[i], out);
    }
}

static void print_pgbouncer_defaults(FILE *out)
{
    fputs("\n## Files of PgBouncer\n\n"
          "A section `[pgbouncer]` is read as `[pgweir]`. Then PgBouncer's defaults hold where "
          "pgweir's\n"
          "would change behaviour, `pool_size = 0` is without limit, backslashes in `[databases]` "
          "and\n"
          "`[users]` are plain characters, and a line without `host` means the Unix socket in\n"
          "`unix_socket_dir`. `[peers]` is ignored with a warning.\n\n"
          "| setting | default in such a file |\n|---|---|\n",
          out);
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        if (weir_settings[i].pgbouncer_value == NULL)
            continue;
        fprintf(out, "| `%s` | ", weir_settings[i].name);
        print_code(weir_settings[i].pgbouncer_value, out);
        fputs(" |\n", out);
    }
}

static void print_translations(FILE *out)
{
    fputs("\nNames of PgBouncer are taken everywhere, with PgBouncer's meaning of the value:\n\n"
          "| name | setting | difference |\n|---|---|---|\n",
          out);
    for (size_t i = 0; i < weir_setting_alias_count; i++) {
        const struct weir_setting_alias *alias = &weir_setting_aliases[i];
        fprintf(out, "| `%s` | `%s` | ", alias->name, weir_settings[alias->setting].name);
        print_cell(alias->note, out);
        fputs(" |\n", out);
    }
}

static void print_foreigners(bool refused, FILE *out)
{
    for (size_t i = 0; i < weir_setting_foreign_count; i++) {
        const struct weir_setting_foreign *foreign = &weir_setting_foreigners[i];
        if (foreign->refused != refused)
            continue;
        fprintf(out, "| `%s` | ", foreign->name);
        print_cell(foreign->reason, out);
        fputs(" |\n", out);
    }
}

void weir_conf_print_reference(FILE *out)
{
    fputs("# Settings\n"
          "\n"
          "This page is generated from the table of settings, as is `conf/pgweir.ini`.\n"
          "\n",
          out);
    fputs(weir_reference_head, out);
    for (int group = 0; group < WEIR_GROUP_COUNT; group++)
        print_group(group, out);
    fputs(weir_reference_databases, out);
    print_pgbouncer_defaults(out);
    print_translations(out);
    fputs("\nRefused, because security depends on them (values that change nothing are taken):\n\n"
          "| name | reason |\n|---|---|\n",
          out);
    print_foreigners(true, out);
    fputs("| `auth_type` | `cert` and `peer` are methods in "
          "`auth_hba_file` (`auth_type = hba`) |\n"
          "\nAccepted and ignored, with a warning where the value would have changed something:\n\n"
          "| name | reason |\n|---|---|\n",
          out);
    print_foreigners(false, out);
}
