#include "weir/conf.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot.h"
#include "weir/libpq.h"
#include "weir/memory.h"

/* --- messages -------------------------------------------------------------------------- */

static void append(struct weir_buffer *out, const char *text)
{
    weir_require(weir_buffer_append(out, text, strlen(text)));
}

static weir_printf(4, 0) void add_message(struct weir_buffer *out, const char *where,
                                          const char *subject, const char *format,
                                          va_list arguments)
{
    char *text = NULL;
    weir_require(vasprintf(&text, format, arguments) >= 0);
    append(out, where);
    append(out, ": ");
    if (subject != NULL) {
        append(out, subject);
        append(out, ": ");
    }
    append(out, text);
    append(out, "\n");
    free(text);
}

void weir_messages_problem(struct weir_messages *messages, const char *where, const char *subject,
                           const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add_message(&messages->problems, where, subject, format, arguments);
    va_end(arguments);
}

void weir_messages_warning(struct weir_messages *messages, const char *where, const char *subject,
                           const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add_message(&messages->warnings, where, subject, format, arguments);
    va_end(arguments);
}

/* The text for the caller, NULL when there is none. */
static char *take_messages(struct weir_buffer *messages)
{
    char *text = NULL;
    if (weir_buffer_length(messages) > 0)
        text =
            weir_strndup((const char *)weir_buffer_bytes(messages), weir_buffer_length(messages));
    weir_buffer_clear(messages);
    return text;
}

/* --- life ------------------------------------------------------------------------------ */

struct weir_conf *weir_conf_finish(struct weir_entries *entries, struct weir_messages *messages,
                                   char **problems, char **warnings)
{
    struct weir_conf *conf = weir_alloc(sizeof(*conf));
    conf->entries = weir_alloc(sizeof(*conf->entries));
    *conf->entries = *entries;
    *entries = (struct weir_entries){0};
    /* Held over all lines, so that it is loaded once; who uses it says when it is missing. */
    bool held = weir_libpq_hold() != NULL;
    weir_conf_apply(conf, conf->entries, messages);
    if (held)
        weir_libpq_drop();
    if (weir_buffer_length(&messages->problems) == 0)
        weir_database_tls_load(conf, messages);
    *problems = take_messages(&messages->problems);
    *warnings = take_messages(&messages->warnings);
    if (*problems != NULL) {
        weir_conf_destroy(conf);
        return NULL;
    }
    return conf;
}

struct weir_conf *weir_conf_read(const char *file, char **problems, char **warnings)
{
    struct weir_messages messages = {0};
    struct weir_entries entries = {0};
    entries.file = weir_strdup(file);
    weir_entries_read_file(&entries, file, &messages);
    return weir_conf_finish(&entries, &messages, problems, warnings);
}

struct weir_conf *weir_conf_parse(const char *name, const char *text, size_t length,
                                  char **problems, char **warnings)
{
    struct weir_messages messages = {0};
    struct weir_entries entries = {0};
    entries.file = weir_strdup(name);
    weir_entries_read_text(&entries, name, text, length, &messages);
    return weir_conf_finish(&entries, &messages, problems, warnings);
}

struct weir_pool_overrides *weir_overrides_create(unsigned int scope)
{
    struct weir_pool_overrides *overrides = weir_alloc(sizeof(*overrides));
    overrides->level.fields = &overrides->values;
    overrides->level.set = overrides->set;
    overrides->level.scope = scope;
    return overrides;
}

void weir_overrides_destroy(struct weir_pool_overrides *overrides)
{
    if (overrides == NULL)
        return;
    weir_setting_free_strings(&overrides->values, true);
    free(overrides);
}

void weir_database_clear(struct weir_database *database)
{
    for (size_t i = 0; i < database->host_count; i++) {
        free(database->hosts[i].host);
        free(database->hosts[i].name);
    }
    weir_database_tls_clear(&database->tls);
    free(database->hosts);
    free(database->name);
    free(database->dbname);
    free(database->user);
    weir_free_secret(database->password);
    free(database->application_name);
    free(database->options);
    free(database->client_encoding);
    free(database->where);
    weir_overrides_destroy(database->overrides);
    *database = (struct weir_database){0};
}

void weir_conf_destroy(struct weir_conf *conf)
{
    if (conf == NULL)
        return;
    for (size_t i = 0; i < conf->database_count; i++)
        weir_database_clear(&conf->databases[i]);
    for (size_t i = 0; i < conf->user_count; i++) {
        free(conf->users[i].name);
        free(conf->users[i].where);
        weir_overrides_destroy(conf->users[i].overrides);
    }
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++)
        free(conf->origins[i].where);
    weir_setting_free_strings(conf, false);
    weir_entries_clear(conf->entries);
    free(conf->entries);
    free(conf->databases);
    free(conf->users);
    free(conf->origins);
    free(conf);
}

/* --- look-up --------------------------------------------------------------------------- */

const struct weir_database *weir_conf_database(const struct weir_conf *conf, const char *name)
{
    const struct weir_database *fallback = NULL;
    for (size_t i = 0; i < conf->database_count; i++) {
        const struct weir_database *database = &conf->databases[i];
        if (strcmp(database->name, "*") == 0)
            fallback = database;
        else if (strcmp(database->name, name) == 0)
            return database;
    }
    return fallback;
}

const char *weir_conf_where(const struct weir_conf *conf, const char *setting)
{
    const struct weir_setting *found = weir_setting_find(setting);
    weir_require(found != NULL);
    return conf->origins[weir_setting_id(found)].where;
}

static const struct weir_conf_user *find_user(const struct weir_conf *conf, const char *name)
{
    const struct weir_conf_user *fallback = NULL;
    for (size_t i = 0; i < conf->user_count; i++) {
        const struct weir_conf_user *user = &conf->users[i];
        if (strcmp(user->name, "*") == 0)
            fallback = user;
        else if (name != NULL && strcmp(user->name, name) == 0)
            return user;
    }
    return fallback;
}

static void overlay(struct weir_pool_settings *resolved,
                    const struct weir_pool_overrides *overrides)
{
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        if (overrides->set[i] != WEIR_UNSET)
            weir_setting_share(&weir_settings[i], resolved, &overrides->values);
    }
}

void weir_conf_resolve(const struct weir_conf *conf, const struct weir_database *database,
                       const char *user, struct weir_pool_settings *resolved)
{
    *resolved = conf->pool;
    if (database != NULL)
        overlay(resolved, database->overrides);
    const struct weir_conf_user *line = find_user(conf, user);
    if (line != NULL)
        overlay(resolved, line->overrides);
    /* The two may come from different levels, so no check of one line can see this. */
    if (resolved->min_pool_size > resolved->pool_size)
        resolved->min_pool_size = resolved->pool_size;
}

const char *weir_conf_user_name(const struct weir_conf *conf, size_t index)
{
    return index < conf->user_count ? conf->users[index].name : NULL;
}

bool weir_conf_has_user(const struct weir_conf *conf, const char *user)
{
    const struct weir_conf_user *line = find_user(conf, user);
    return line != NULL && strcmp(line->name, user) == 0;
}
