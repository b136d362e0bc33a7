#include "setting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "value.h"
#include "weir/memory.h"

static const struct weir_setting_word pool_mode_words[] = {
    {"transaction", WEIR_POOL_TRANSACTION},
    {"session", WEIR_POOL_SESSION},
    {"statement", WEIR_POOL_STATEMENT},
    {NULL, 0},
};

static const struct weir_setting_word state_words[] = {
    {"pin", WEIR_STATE_PIN},
    {"reject", WEIR_STATE_REJECT},
    {"allow", WEIR_STATE_ALLOW},
    {NULL, 0},
};

static const struct weir_setting_word sequence_words[] = {
    {"auto", WEIR_SEQUENCE_AUTO},
    {"pin", WEIR_SEQUENCE_PIN},
    {"allow", WEIR_SEQUENCE_ALLOW},
    {NULL, 0},
};

static const struct weir_setting_word echo_words[] = {
    {"off", WEIR_ECHO_OFF},     {"on", WEIR_ECHO_ON},
    {"debug", WEIR_ECHO_DEBUG}, {"no", WEIR_ECHO_OFF},
    {"yes", WEIR_ECHO_ON},      {"false", WEIR_ECHO_OFF},
    {"true", WEIR_ECHO_ON},     {"0", WEIR_ECHO_OFF},
    {"1", WEIR_ECHO_ON},        {NULL, 0},
};

static const struct weir_setting_word auth_type_words[] = {
    {"scram-sha-256", WEIR_AUTH_TYPE_SCRAM},
    {"md5", WEIR_AUTH_TYPE_MD5},
    {"plain", WEIR_AUTH_TYPE_PLAIN},
    {"trust", WEIR_AUTH_TYPE_TRUST},
    {"any", WEIR_AUTH_TYPE_ANY},
    {"hba", WEIR_AUTH_TYPE_HBA},
    {"pam", WEIR_AUTH_TYPE_PAM},
    {"ldap", WEIR_AUTH_TYPE_LDAP},
    {NULL, 0},
};

static const struct weir_setting_word log_level_words[] = {
    {"error", WEIR_LOG_ERROR},
    {"warning", WEIR_LOG_WARNING},
    {"info", WEIR_LOG_INFO},
    {"debug", WEIR_LOG_DEBUG},
    {NULL, 0},
};

static const struct weir_setting_word log_format_words[] = {
    {"text", WEIR_LOG_TEXT},
    {"json", WEIR_LOG_JSON},
    {NULL, 0},
};

static const struct weir_setting_word syslog_facility_words[] = {
    {"daemon", LOG_DAEMON},
    {"auth", LOG_AUTH},
    {"authpriv", LOG_AUTHPRIV},
    {"cron", LOG_CRON},
    {"ftp", LOG_FTP},
    {"lpr", LOG_LPR},
    {"mail", LOG_MAIL},
    {"news", LOG_NEWS},
    {"user", LOG_USER},
    {"uucp", LOG_UUCP},
    {"local0", LOG_LOCAL0},
    {"local1", LOG_LOCAL1},
    {"local2", LOG_LOCAL2},
    {"local3", LOG_LOCAL3},
    {"local4", LOG_LOCAL4},
    {"local5", LOG_LOCAL5},
    {"local6", LOG_LOCAL6},
    {"local7", LOG_LOCAL7},
    {NULL, 0},
};

#define none         NULL
#define GLOBAL       WEIR_SCOPE_GLOBAL
#define IN_DATABASE  WEIR_SCOPE_DATABASE
#define POOL         (WEIR_SCOPE_GLOBAL | WEIR_SCOPE_DATABASE | WEIR_SCOPE_USER)
#define PER_DATABASE (WEIR_SCOPE_GLOBAL | WEIR_SCOPE_DATABASE)
#define PER_USER     (WEIR_SCOPE_GLOBAL | WEIR_SCOPE_USER)

const struct weir_setting weir_settings[WEIR_SETTING_COUNT] = {
#define WEIR_SETTING(name, kind, words, field, value, pgbouncer, low, high, scopes, reload, group, \
                     help)                                                                         \
    {#name,        WEIR_SETTING_##kind,                                                            \
     words,        offsetof(struct weir_conf, field),                                              \
     value,        pgbouncer,                                                                      \
     low,          high,                                                                           \
     scopes,       reload,                                                                         \
     WEIR_##group, help},
#include "weir/settings.def"
#undef WEIR_SETTING
};

/* A row whose kind does not fit its field would overwrite the neighbour. */
#define STORAGE_DURATION weir_usec
#define STORAGE_INT      int
#define STORAGE_BOOL     bool
#define STORAGE_STRING   char *
#define STORAGE_SIZE     uint64_t
#define STORAGE_ENUM     int
#define STORAGE_OCTAL    int
#define WEIR_SETTING(name, kind, words, field, ...)                                                \
    _Static_assert(sizeof(((struct weir_conf *)0)->field) == sizeof(STORAGE_##kind),               \
                   "kind of " #name " does not fit its field");
#include "weir/settings.def"
#undef WEIR_SETTING

const struct weir_setting_alias weir_setting_aliases[] = {
#define WEIR_ALIAS(name, setting, translation, note)                                               \
    {#name, WEIR_SETTING_ID_##setting, WEIR_TRANSLATE_##translation, note},
#include "weir/settings.def"
#undef WEIR_ALIAS
};
const size_t weir_setting_alias_count =
    sizeof(weir_setting_aliases) / sizeof(weir_setting_aliases[0]);

const struct weir_setting_foreign weir_setting_foreigners[] = {
#define WEIR_IGNORED(name, scopes, harmless, reason) {#name, scopes, harmless, NULL, reason, false},
#define WEIR_REFUSED(name, scopes, harmless, tolerated, reason)                                    \
    {#name, scopes, harmless, tolerated, reason, true},
#include "weir/settings.def"
#undef WEIR_IGNORED
#undef WEIR_REFUSED
};
const size_t weir_setting_foreign_count =
    sizeof(weir_setting_foreigners) / sizeof(weir_setting_foreigners[0]);

const struct weir_setting *weir_setting_find(const char *name)
{
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        if (strcmp(weir_settings[i].name, name) == 0)
            return &weir_settings[i];
    }
    return NULL;
}

const struct weir_setting_alias *weir_setting_find_alias(const char *name)
{
    for (size_t i = 0; i < weir_setting_alias_count; i++) {
        if (strcmp(weir_setting_aliases[i].name, name) == 0)
            return &weir_setting_aliases[i];
    }
    return NULL;
}

const struct weir_setting_foreign *weir_setting_find_foreign(const char *name)
{
    for (size_t i = 0; i < weir_setting_foreign_count; i++) {
        if (strcmp(weir_setting_foreigners[i].name, name) == 0)
            return &weir_setting_foreigners[i];
    }
    return NULL;
}

#define LONGEST_NAME 40

static int smallest(int left, int right)
{
    return left < right ? left : right;
}

/* Edits (insert, delete, replace, swap of neighbours) that turn one name into the other. */
static int edit_distance(const char *left, size_t left_length, const char *right,
                         size_t right_length)
{
    int rows[3][LONGEST_NAME + 1];
    int *before = rows[0];
    int *above = rows[1];
    int *row = rows[2];
    for (size_t j = 0; j <= right_length; j++)
        above[j] = (int)j;
    for (size_t i = 1; i <= left_length; i++) {
        row[0] = (int)i;
        for (size_t j = 1; j <= right_length; j++) {
            int replace = above[j - 1] + (left[i - 1] != right[j - 1]);
            row[j] = smallest(replace, smallest(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1])
                row[j] = smallest(row[j], before[j - 2] + 1);
        }
        int *spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[right_length];
}

struct nearest {
    const char *wanted;
    size_t length;
    const char *name;
    int distance;
};

static void consider(struct nearest *nearest, const char *name)
{
    size_t length = strlen(name);
    if (length > LONGEST_NAME)
        return;
    int distance = edit_distance(nearest->wanted, nearest->length, name, length);
    if (distance < nearest->distance) {
        nearest->distance = distance;
        nearest->name = name;
    }
}

const char *weir_setting_nearest(const char *name, unsigned int scope)
{
    static const char *const connection_words[] = {
        "host",
        "hostaddr",
        "port",
        "dbname",
        "user",
        "options",
        "client_encoding",
        "sslmode",
        "application_name",
        "password",
        "target_session_attrs",
    };
    struct nearest nearest = {.wanted = name, .length = strlen(name)};
    if (nearest.length == 0 || nearest.length > LONGEST_NAME)
        return NULL;
    /* Half the name may be wrong; beyond that a guess does not help. */
    nearest.distance = (int)(nearest.length + 1) / 2 + 1;
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        if ((weir_settings[i].scopes & scope) != 0)
            consider(&nearest, weir_settings[i].name);
    }
    for (size_t i = 0; i < weir_setting_alias_count; i++) {
        if ((weir_settings[weir_setting_aliases[i].setting].scopes & scope) != 0)
            consider(&nearest, weir_setting_aliases[i].name);
    }
    for (size_t i = 0; i < sizeof(connection_words) / sizeof(connection_words[0]); i++) {
        if (scope == WEIR_SCOPE_DATABASE)
            consider(&nearest, connection_words[i]);
    }
    return nearest.name;
}

_Static_assert(offsetof(struct weir_conf, pool) == 0, "pool settings are addressed by themselves");

static void *field_of(const struct weir_setting *setting, const void *fields)
{
    return (char *)(uintptr_t)fields + setting->offset;
}

static size_t size_of(const struct weir_setting *setting)
{
    static const size_t sizes[] = {
        [WEIR_SETTING_DURATION] = sizeof(weir_usec), [WEIR_SETTING_INT] = sizeof(int),
        [WEIR_SETTING_BOOL] = sizeof(bool),          [WEIR_SETTING_STRING] = sizeof(char *),
        [WEIR_SETTING_SIZE] = sizeof(uint64_t),      [WEIR_SETTING_ENUM] = sizeof(int),
        [WEIR_SETTING_OCTAL] = sizeof(int),
    };
    return sizes[setting->kind];
}

void weir_setting_share(const struct weir_setting *setting, void *to, const void *from)
{
    memcpy(field_of(setting, to), field_of(setting, from), size_of(setting));
}

void weir_setting_free_strings(void *fields, bool pool_only)
{
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        const struct weir_setting *setting = &weir_settings[i];
        if (setting->kind != WEIR_SETTING_STRING || (pool_only && !weir_setting_is_pool(setting)))
            continue;
        char **field = field_of(setting, fields);
        free(*field);
        *field = NULL;
    }
}

static char *set_string(char **field, const char *text)
{
    free(*field);
    *field = weir_strdup(text);
    return NULL;
}

char *weir_setting_set(const struct weir_setting *setting, void *fields, const char *text)
{
    void *field = field_of(setting, fields);
    switch (setting->kind) {
    case WEIR_SETTING_DURATION:
        return weir_value_read_duration(text, setting->low, setting->high, field);
    case WEIR_SETTING_INT:
        return weir_value_read_int(text, setting->low, setting->high, field);
    case WEIR_SETTING_BOOL:
        return weir_value_read_bool(text, field);
    case WEIR_SETTING_SIZE:
        return weir_value_read_size(text, setting->low, setting->high, field);
    case WEIR_SETTING_ENUM:
        return weir_value_read_word(text, setting->words, field);
    case WEIR_SETTING_OCTAL:
        return weir_value_read_octal(text, setting->low, setting->high, field);
    case WEIR_SETTING_STRING:
        break;
    }
    return set_string(field, text);
}

char *weir_setting_show(const struct weir_setting *setting, const void *fields)
{
    const void *field = field_of(setting, fields);
    switch (setting->kind) {
    case WEIR_SETTING_DURATION:
        return weir_value_show_duration(*(const weir_usec *)field);
    case WEIR_SETTING_INT:
        return weir_format("%d", *(const int *)field);
    case WEIR_SETTING_BOOL:
        return weir_strdup(*(const bool *)field ? "on" : "off");
    case WEIR_SETTING_SIZE:
        return weir_value_show_size(*(const uint64_t *)field);
    case WEIR_SETTING_ENUM:
        return weir_strdup(weir_value_show_word(setting->words, *(const int *)field));
    case WEIR_SETTING_OCTAL:
        return weir_format("%04o", (unsigned int)*(const int *)field);
    case WEIR_SETTING_STRING:
        break;
    }
    return weir_strdup(*(char *const *)field);
}

#define SECRET_WORD "ldapbindpasswd"

/* Quotes may stand anywhere in a word: what would be found without them is a password as well. */
bool weir_setting_has_secret(const struct weir_setting *setting, const char *text)
{
    if (weir_setting_id(setting) != WEIR_SETTING_ID_auth_ldap_options)
        return false;
    char *bare = weir_strdup(text), *to = bare;
    for (const char *at = text; *at != '\0'; at++)
        if (*at != '"')
            *to++ = *at;
    *to = '\0';
    bool found = strstr(bare, SECRET_WORD) != NULL;
    weir_wipe(bare, strlen(bare));
    free(bare);
    return found;
}

char *weir_setting_show_public(const struct weir_setting *setting, const void *fields)
{
    char *value = weir_setting_show(setting, fields);
    if (!weir_setting_has_secret(setting, value))
        return value;
    /* What follows is left out, too: where the password ends is not known here. */
    const char *at = strstr(value, SECRET_WORD);
    char *before = weir_strndup(value, at != NULL ? (size_t)(at - value) : 0);
    char *shown = weir_format("%s%s***", before, at != NULL ? SECRET_WORD "=" : "");
    free(before);
    weir_wipe(value, strlen(value));
    free(value);
    return shown;
}
