/* What would run, for --check. */

#include <stdlib.h>
#include <string.h>

#include "setting.h"
#include "snapshot.h"
#include "value.h"
#include "weir/memory.h"

static void print_setting(const struct weir_conf *conf, const struct weir_setting *setting,
                          FILE *out)
{
    char *value = weir_setting_show_public(setting, conf);
    const char *where = conf->origins[weir_setting_id(setting)].where;
    bool other = conf->pgbouncer_file && setting->pgbouncer_value != NULL;
    fprintf(out, "%-27s = %-24s ", setting->name, value);
    if (where != NULL)
        fprintf(out, "; %s, default is %s\n", where,
                *setting->value == '\0' ? "empty" : setting->value);
    else if (other)
        fprintf(out, "; PgBouncer's default, pgweir's is %s\n",
                *setting->value == '\0' ? "empty" : setting->value);
    else
        fprintf(out, "; default\n");
    free(value);
}

/* As libpq would read it. */
static void print_word(const char *name, const char *value, FILE *out)
{
    struct weir_buffer text = {0};
    if (*value != '\0' && strpbrk(value, " \t'\\") == NULL) {
        fprintf(out, " %s=%s", name, value);
        return;
    }
    weir_token_append(&text, name, value);
    fwrite(weir_buffer_bytes(&text), 1, weir_buffer_length(&text), out);
    weir_buffer_clear(&text);
}

static void print_overrides(const struct weir_pool_overrides *overrides, FILE *out)
{
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        if (overrides->set[i] == WEIR_UNSET)
            continue;
        char *value = weir_setting_show(&weir_settings[i], &overrides->values);
        print_word(weir_settings[i].name, value, out);
        free(value);
    }
}

/* Takes `list` over. */
static char *lengthen(char *list, bool first, const char *item)
{
    char *longer = weir_format("%s%s%s", list, first ? "" : ",", item);
    free(list);
    return longer;
}

/* Where the name differs from what is connected to, that is a hostaddr. */
static void print_hosts(const struct weir_database *database, FILE *out)
{
    char *names = weir_strdup("");
    char *addresses = weir_strdup("");
    char *ports = weir_strdup("");
    bool any_name = false, any_address = false;
    for (size_t i = 0; i < database->host_count; i++) {
        const struct weir_conf_host *host = &database->hosts[i];
        bool other = strcmp(host->host, host->name) != 0;
        char *port = weir_format("%d", host->port);
        names = lengthen(names, i == 0, host->name);
        addresses = lengthen(addresses, i == 0, other ? host->host : "");
        ports = lengthen(ports, i == 0, port);
        any_name = any_name || host->name[0] != '\0';
        any_address = any_address || other;
        free(port);
    }
    if (any_name || !any_address)
        print_word("host", names, out);
    if (any_address)
        print_word("hostaddr", addresses, out);
    print_word("port", ports, out);
    free(names);
    free(addresses);
    free(ports);
}

void weir_name_print(const char *name, FILE *out)
{
    if (strpbrk(name, "\"=[;#% ") == NULL) {
        fputs(name, out);
        return;
    }
    fputc('"', out);
    for (; *name != '\0'; name++) {
        if (*name == '"')
            fputc('"', out);
        fputc(*name, out);
    }
    fputc('"', out);
}

const char *weir_session_attrs_show(enum weir_session_attrs attrs)
{
    static const char *const words[] = {
        [WEIR_ATTRS_ANY] = NULL,
        [WEIR_ATTRS_READ_WRITE] = "read-write",
        [WEIR_ATTRS_READ_ONLY] = "read-only",
        [WEIR_ATTRS_PRIMARY] = "primary",
        [WEIR_ATTRS_STANDBY] = "standby",
        [WEIR_ATTRS_PREFER_STANDBY] = "prefer-standby",
    };
    return words[attrs];
}

/* Each word is preceded by a space. */
static void print_target(const struct weir_database *database, bool secrets, FILE *out)
{
    const struct {
        const char *name;
        const char *value;
    } words[] = {
        {"dbname", database->dbname},
        {"user", database->user},
        {"password", secrets || database->password == NULL ? database->password : "***"},
        {"application_name", database->application_name},
        {"options", database->options},
        {"client_encoding", database->client_encoding},
        {"target_session_attrs", weir_session_attrs_show(database->session_attrs)},
    };
    print_hosts(database, out);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (words[i].value != NULL)
            print_word(words[i].name, words[i].value, out);
    }
    for (const struct weir_database_tls_word *word = weir_database_tls_words; word->name != NULL;
         word++) {
        const char *text = weir_database_tls_text(&database->tls, word);
        if (text != NULL)
            print_word(word->name, text, out);
    }
    print_overrides(database->overrides, out);
}

static void print_database(const struct weir_database *database, FILE *out)
{
    fprintf(out, "; %s\n", database->where);
    weir_name_print(database->name, out);
    fputs(" =", out);
    print_target(database, false, out);
    fputc('\n', out);
}

/* What was printed, without the space in front. */
static char *finish_text(FILE *out, char **text)
{
    weir_require(fclose(out) == 0);
    char *shown = weir_strdup(*text + (**text == ' '));
    weir_wipe(*text, strlen(*text));
    free(*text);
    return shown;
}

char *weir_database_show(const struct weir_database *database, bool secrets)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    weir_require(out != NULL);
    print_target(database, secrets, out);
    return finish_text(out, &text);
}

char *weir_overrides_show(const struct weir_pool_overrides *overrides)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    weir_require(out != NULL);
    print_overrides(overrides, out);
    return finish_text(out, &text);
}

char *weir_hosts_show(const struct weir_database *database)
{
    char *hosts = weir_strdup("");
    for (size_t i = 0; i < database->host_count; i++) {
        char *longer = weir_format("%s%s%s:%d", hosts, i == 0 ? "" : ",", database->hosts[i].host,
                                   database->hosts[i].port);
        free(hosts);
        hosts = longer;
    }
    return hosts;
}

void weir_conf_print(const struct weir_conf *conf, FILE *out)
{
    fprintf(out, "[pgweir]\n");
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++)
        print_setting(conf, &weir_settings[i], out);
    fprintf(out, "\n[databases]\n");
    for (size_t i = 0; i < conf->database_count; i++)
        print_database(&conf->databases[i], out);
    fprintf(out, "\n[users]\n");
    for (size_t i = 0; i < conf->user_count; i++) {
        fprintf(out, "; %s\n", conf->users[i].where);
        weir_name_print(conf->users[i].name, out);
        fputs(" =", out);
        print_overrides(conf->users[i].overrides, out);
        fputc('\n', out);
    }
}
