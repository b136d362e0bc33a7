/* The table of settings at run time: look-up by name, reading and showing of values. */
#ifndef WEIR_CONF_SETTING_H
#define WEIR_CONF_SETTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/buffer.h"
#include "weir/conf.h"

enum weir_setting_kind {
    WEIR_SETTING_DURATION,
    WEIR_SETTING_INT,
    WEIR_SETTING_BOOL,
    WEIR_SETTING_STRING,
    WEIR_SETTING_SIZE,
    WEIR_SETTING_ENUM,
    WEIR_SETTING_OCTAL,
};

/* Where a setting may stand. */
enum weir_setting_scope {
    WEIR_SCOPE_GLOBAL = 1,
    WEIR_SCOPE_DATABASE = 2,
    WEIR_SCOPE_USER = 4,
};

enum weir_setting_group {
    WEIR_GROUP_LISTEN,
    WEIR_GROUP_CLIENT,
    WEIR_GROUP_TLS,
    WEIR_GROUP_POOL,
    WEIR_GROUP_HTTP,
    WEIR_GROUP_LOG,
    WEIR_GROUP_PROCESS,
    WEIR_GROUP_COUNT,
};

/* A word of an enumeration. Of several words for one value the first is the one shown. */
struct weir_setting_word {
    const char *word;
    int value;
};

extern const struct weir_setting_word weir_sslmode_words[];

struct weir_setting {
    const char *name;
    enum weir_setting_kind kind;
    const struct weir_setting_word *words; /* up to a NULL word; only for ENUM */
    size_t offset;                         /* in struct weir_conf */
    const char *value;                     /* the default, as it would be written */
    const char *pgbouncer_value;           /* NULL: the same */
    int64_t low;
    int64_t high;
    unsigned int scopes;
    bool reloadable;
    enum weir_setting_group group;
    const char *help;
};

enum weir_setting_id {
#define WEIR_SETTING(name, ...) WEIR_SETTING_ID_##name,
#include "weir/settings.def"
#undef WEIR_SETTING
    WEIR_SETTING_COUNT
};

extern const struct weir_setting weir_settings[WEIR_SETTING_COUNT];

/* How the value of another name becomes one of ours. */
enum weir_translation {
    WEIR_TRANSLATE_PLAIN,
    WEIR_TRANSLATE_INVERSE,
    WEIR_TRANSLATE_POOL_SIZE,
    WEIR_TRANSLATE_RESERVE,
    WEIR_TRANSLATE_RESERVE_TIMEOUT,
    WEIR_TRANSLATE_LIFETIME,
    WEIR_TRANSLATE_CHECK_QUERY,
    WEIR_TRANSLATE_VERBOSE,
};

struct weir_setting_alias {
    const char *name;
    enum weir_setting_id setting;
    enum weir_translation translation;
    const char *note;
};

/* A name that is accepted or refused without being a setting of ours. */
struct weir_setting_foreign {
    const char *name;
    unsigned int scopes;
    const char *harmless;  /* comma list of values that need no word; NULL: all */
    const char *tolerated; /* comma list of values that need a warning only */
    const char *reason;
    bool refused; /* other values are errors, not warnings */
};

extern const struct weir_setting_alias weir_setting_aliases[];
extern const size_t weir_setting_alias_count;
extern const struct weir_setting_foreign weir_setting_foreigners[];
extern const size_t weir_setting_foreign_count;

/* NULL when there is no such name. */
const struct weir_setting *weir_setting_find(const char *name);
const struct weir_setting_alias *weir_setting_find_alias(const char *name);
const struct weir_setting_foreign *weir_setting_find_foreign(const char *name);
/* The name valid in `scope` that is most like `name`, or NULL when none is near. */
const char *weir_setting_nearest(const char *name, unsigned int scope);

/* `fields` is a struct weir_conf, or for a pool setting also a struct weir_pool_settings alone,
 * which is the first member of the former. */

/* Reads `text` into the field. On failure the field stays as it was and what is wrong is returned
 * (free it); NULL is success. */
char *weir_setting_set(const struct weir_setting *setting, void *fields, const char *text);
/* The field as it would be written, in fresh memory. */
char *weir_setting_show(const struct weir_setting *setting, const void *fields);
/* A value of this setting has a password in it. */
bool weir_setting_has_secret(const struct weir_setting *setting, const char *value);
/* The same for everybody's eyes: without passwords. */
char *weir_setting_show_public(const struct weir_setting *setting, const void *fields);
/* Copies the field without copying strings: both then share them. */
void weir_setting_share(const struct weir_setting *setting, void *to, const void *from);
/* Frees the strings among the fields; `pool_only` for a struct weir_pool_settings. */
void weir_setting_free_strings(void *fields, bool pool_only);

static inline enum weir_setting_id weir_setting_id(const struct weir_setting *setting)
{
    return (enum weir_setting_id)(setting - weir_settings);
}

static inline bool weir_setting_is_pool(const struct weir_setting *setting)
{
    return setting->scopes != WEIR_SCOPE_GLOBAL;
}

#endif
