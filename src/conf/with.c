/* One setting changed in a snapshot, and the walk over all of them. */
#include <stdlib.h>
#include <string.h>

#include "setting.h"
#include "snapshot.h"
#include "value.h"
#include "weir/memory.h"

#define ORIGIN "SET"

void weir_conf_walk(const struct weir_conf *conf,
                    void (*each)(void *context, const char *name, const char *value,
                                 const char *default_value, bool changeable, const char *where,
                                 const char *help),
                    void *context)
{
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        const struct weir_setting *setting = &weir_settings[i];
        bool other = conf->pgbouncer_file && setting->pgbouncer_value != NULL;
        char *value = weir_setting_show_public(setting, conf);
        each(context, setting->name, value, other ? setting->pgbouncer_value : setting->value,
             setting->reloadable, conf->origins[i].where, setting->help);
        free(value);
    }
}

/* NULL: it may be set. */
static char *refuse(const char *name, const char *value)
{
    const struct weir_setting *setting = weir_setting_find(name);
    const struct weir_setting_alias *alias = setting != NULL ? NULL : weir_setting_find_alias(name);
    const struct weir_setting_foreign *foreign =
        setting != NULL || alias != NULL ? NULL : weir_setting_find_foreign(name);
    if (alias != NULL)
        setting = &weir_settings[alias->setting];
    if (setting != NULL && !setting->reloadable)
        return weir_format("%s: cannot be changed while pgweir runs; set it in the file and "
                           "restart",
                           name);
    if (foreign != NULL &&
        (foreign->harmless == NULL || !weir_value_is_listed(foreign->harmless, value)))
        return weir_format("%s: %s: %s", name,
                           foreign->refused ? "refused" : "it has no effect here", foreign->reason);
    if (setting != NULL || foreign != NULL)
        return NULL;
    const char *nearest = weir_setting_nearest(name, WEIR_SCOPE_GLOBAL);
    if (nearest == NULL)
        return weir_format("%s: unknown setting", name);
    return weir_format("%s: unknown setting (nearest: %s)", name, nearest);
}

/* All but an earlier SET of the same name. */
static void copy_entries(struct weir_entries *copy, const struct weir_entries *entries,
                         const char *name)
{
    copy->pgbouncer_section = entries->pgbouncer_section;
    copy->file = weir_strdup(entries->file);
    for (size_t i = 0; i < entries->count; i++) {
        const struct weir_entry *entry = &entries->items[i];
        if (strcmp(entry->where, ORIGIN) == 0 && strcmp(entry->name, name) == 0)
            continue;
        weir_entries_add(copy, entry->section, entry->name, entry->value, entry->where);
    }
}

/* The first line without where it comes from, which is always the same. */
static char *shorten(const char *problems)
{
    static const char prefix[] = ORIGIN ": ";
    if (strncmp(problems, prefix, sizeof(prefix) - 1) == 0)
        problems += sizeof(prefix) - 1;
    return weir_strndup(problems, strcspn(problems, "\n"));
}

/* The values of the file are applied again and not copied: what a value means may hang together with
 * others (a reserve and its delay), and so it means the same as in a file. */
struct weir_conf *weir_conf_with(const struct weir_conf *conf, const char *name, const char *value,
                                 char **problem)
{
    *problem = refuse(name, value);
    if (*problem != NULL)
        return NULL;
    struct weir_entries entries = {0};
    struct weir_messages messages = {0};
    copy_entries(&entries, conf->entries, name);
    weir_entries_add(&entries, "pgweir", name, value, ORIGIN);
    char *problems = NULL;
    char *warnings = NULL;
    struct weir_conf *fresh = weir_conf_finish(&entries, &messages, &problems, &warnings);
    if (fresh == NULL)
        *problem = shorten(problems);
    free(problems);
    free(warnings);
    return fresh;
}

void weir_conf_keep(struct weir_conf *fresh, const struct weir_conf *running)
{
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        const struct weir_setting *setting = &weir_settings[i];
        if (setting->reloadable)
            continue;
        char *value = weir_setting_show(setting, running);
        weir_require(weir_setting_set(setting, fresh, value) == NULL);
        free(value);
        free(fresh->origins[i].where);
        fresh->origins[i].where = weir_strdup(running->origins[i].where);
    }
}
