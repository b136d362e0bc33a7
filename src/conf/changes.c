/* Comparison of two snapshots: what a reload would change, and what that does to connections. The
 * effects are those of weir_router_reload. */
#include <stdlib.h>
#include <string.h>

#include "setting.h"
#include "snapshot.h"
#include "value.h"
#include "weir/memory.h"

void weir_conf_diff(const struct weir_conf *old, const struct weir_conf *fresh,
                    void (*each)(void *context, const char *name, const char *old_value,
                                 const char *new_value, bool reloadable),
                    void *context)
{
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        const struct weir_setting *setting = &weir_settings[i];
        char *old_value = weir_setting_show(setting, old);
        char *new_value = weir_setting_show(setting, fresh);
        bool differs = strcmp(old_value, new_value) != 0;
        free(old_value);
        free(new_value);
        if (!differs)
            continue;
        old_value = weir_setting_show_public(setting, old);
        new_value = weir_setting_show_public(setting, fresh);
        each(context, setting->name, old_value, new_value, setting->reloadable);
        free(old_value);
        free(new_value);
    }
}

static bool is_same(const char *left, const char *right)
{
    if (left == NULL || right == NULL)
        return left == right;
    return strcmp(left, right) == 0;
}

static bool are_same_hosts(const struct weir_database *left, const struct weir_database *right)
{
    if (left->host_count != right->host_count)
        return false;
    for (size_t i = 0; i < left->host_count; i++) {
        if (left->hosts[i].port != right->hosts[i].port ||
            strcmp(left->hosts[i].host, right->hosts[i].host) != 0 ||
            strcmp(left->hosts[i].name, right->hosts[i].name) != 0)
            return false;
    }
    return true;
}

bool weir_database_same_target(const struct weir_database *left, const struct weir_database *right)
{
    return are_same_hosts(left, right) && left->session_attrs == right->session_attrs &&
           is_same(left->dbname, right->dbname) && is_same(left->user, right->user) &&
           is_same(left->password, right->password) &&
           is_same(left->application_name, right->application_name) &&
           is_same(left->options, right->options) &&
           is_same(left->client_encoding, right->client_encoding) &&
           weir_database_tls_is_same(&left->tls, &right->tls);
}

const char *weir_conf_effect_name(enum weir_conf_effect effect)
{
    static const char *const names[] = {
        [WEIR_EFFECT_AT_ONCE] = "at once",
        [WEIR_EFFECT_RECONNECTS] = "reconnects",
        [WEIR_EFFECT_DROPS_CLIENTS] = "drops clients",
        [WEIR_EFFECT_RESTART] = "restart",
    };
    return names[effect];
}

/* --- telling --------------------------------------------------------------------------- */

struct telling {
    const struct weir_conf *old;
    const struct weir_conf *fresh;
    void (*each)(void *context, const struct weir_conf_change *change);
    void *context;
    enum weir_conf_object object; /* of the line that is compared */
    const char *name;
};

static void tell(const struct telling *telling, const char *part, const char *old_value,
                 const char *new_value, enum weir_conf_effect effect)
{
    static const char *const kinds[] = {
        [WEIR_OBJECT_SETTING] = "",
        [WEIR_OBJECT_DATABASE] = "database ",
        [WEIR_OBJECT_USER] = "user ",
    };
    char *label = weir_format("%s%s%s%s", kinds[telling->object], telling->name,
                              part == NULL ? "" : ": ", part == NULL ? "" : part);
    telling->each(telling->context, &(struct weir_conf_change){
                                        .object = telling->object,
                                        .name = telling->name,
                                        .part = part,
                                        .label = label,
                                        .old_value = old_value,
                                        .new_value = new_value,
                                        .effect = effect,
                                    });
    free(label);
}

static void tell_setting(void *context, const char *name, const char *old_value,
                         const char *new_value, bool reloadable)
{
    struct telling *telling = context;
    telling->name = name;
    tell(telling, NULL, old_value, new_value,
         reloadable ? WEIR_EFFECT_AT_ONCE : WEIR_EFFECT_RESTART);
}

static void compare_overrides(const struct telling *telling, const struct weir_pool_overrides *old,
                              const struct weir_pool_overrides *fresh)
{
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        const struct weir_setting *setting = &weir_settings[i];
        if (!weir_setting_is_pool(setting))
            continue;
        char *before = old->set[i] == WEIR_UNSET ? NULL : weir_setting_show(setting, &old->values);
        char *after =
            fresh->set[i] == WEIR_UNSET ? NULL : weir_setting_show(setting, &fresh->values);
        if (!is_same(before, after))
            tell(telling, setting->name, before, after, WEIR_EFFECT_AT_ONCE);
        free(before);
        free(after);
    }
}

/* --- databases ------------------------------------------------------------------------- */

static void compare_text(const struct telling *telling, const char *part, const char *old,
                         const char *fresh)
{
    if (!is_same(old, fresh))
        tell(telling, part, old, fresh, WEIR_EFFECT_RECONNECTS);
}

static const char *stars(const char *password)
{
    return password == NULL ? NULL : "***";
}

static void compare_tls(const struct telling *telling, const struct weir_database_tls *old,
                        const struct weir_database_tls *fresh)
{
    bool told = false;
    for (const struct weir_database_tls_word *word = weir_database_tls_words; word->name != NULL;
         word++) {
        const char *before = weir_database_tls_text(old, word);
        const char *after = weir_database_tls_text(fresh, word);
        told = told || !is_same(before, after);
        compare_text(telling, word->name, before, after);
    }
    if (told || weir_database_tls_is_same(old, fresh))
        return;
    bool other_mode = old->mode != fresh->mode;
    tell(telling, other_mode ? "sslmode" : "TLS",
         other_mode ? weir_value_show_word(weir_sslmode_words, (int)old->mode) : "as it was",
         other_mode ? weir_value_show_word(weir_sslmode_words, (int)fresh->mode)
                    : "with other files or settings",
         WEIR_EFFECT_RECONNECTS);
}

static void compare_target(const struct telling *telling, const struct weir_database *old,
                           const struct weir_database *fresh)
{
    if (!are_same_hosts(old, fresh)) {
        char *before = weir_hosts_show(old);
        char *after = weir_hosts_show(fresh);
        tell(telling, "host", before, after, WEIR_EFFECT_RECONNECTS);
        free(before);
        free(after);
    }
    compare_text(telling, "dbname", old->dbname, fresh->dbname);
    compare_text(telling, "user", old->user, fresh->user);
    if (!is_same(old->password, fresh->password))
        tell(telling, "password", stars(old->password), stars(fresh->password),
             WEIR_EFFECT_RECONNECTS);
    compare_text(telling, "application_name", old->application_name, fresh->application_name);
    compare_text(telling, "options", old->options, fresh->options);
    compare_text(telling, "client_encoding", old->client_encoding, fresh->client_encoding);
    compare_text(telling, "target_session_attrs", weir_session_attrs_show(old->session_attrs),
                 weir_session_attrs_show(fresh->session_attrs));
    compare_tls(telling, &old->tls, &fresh->tls);
}

static const struct weir_database *find_line(const struct weir_conf *conf, const char *name)
{
    const struct weir_database *line = weir_conf_database(conf, name);
    return line != NULL && strcmp(line->name, name) == 0 ? line : NULL;
}

/* What happens to the clients of `old`, whose name is served by `now` afterwards, if at all. A line
 * "*" that goes is that of many names. */
static enum weir_conf_effect effect_of_move(const struct weir_database *old,
                                            const struct weir_database *now)
{
    if (old == NULL)
        return WEIR_EFFECT_AT_ONCE; /* nobody can be there yet */
    if (now == NULL)
        return WEIR_EFFECT_DROPS_CLIENTS;
    return weir_database_same_target(old, now) ? WEIR_EFFECT_AT_ONCE : WEIR_EFFECT_RECONNECTS;
}

static void compare_databases(struct telling *telling)
{
    telling->object = WEIR_OBJECT_DATABASE;
    for (size_t i = 0; i < telling->old->database_count; i++) {
        const struct weir_database *old = &telling->old->databases[i];
        const struct weir_database *fresh = find_line(telling->fresh, old->name);
        telling->name = old->name;
        if (fresh != NULL) {
            compare_target(telling, old, fresh);
            compare_overrides(telling, old->overrides, fresh->overrides);
            continue;
        }
        char *text = weir_database_show(old, false);
        tell(telling, NULL, text, NULL,
             effect_of_move(old, weir_conf_database(telling->fresh, old->name)));
        free(text);
    }
    for (size_t i = 0; i < telling->fresh->database_count; i++) {
        const struct weir_database *fresh = &telling->fresh->databases[i];
        if (find_line(telling->old, fresh->name) != NULL)
            continue;
        telling->name = fresh->name;
        char *text = weir_database_show(fresh, false);
        tell(telling, NULL, NULL, text,
             effect_of_move(weir_conf_database(telling->old, fresh->name), fresh));
        free(text);
    }
}

/* --- users ----------------------------------------------------------------------------- */

static const struct weir_conf_user *find_user(const struct weir_conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->user_count; i++) {
        if (strcmp(conf->users[i].name, name) == 0)
            return &conf->users[i];
    }
    return NULL;
}

static void compare_users(struct telling *telling)
{
    telling->object = WEIR_OBJECT_USER;
    for (size_t i = 0; i < telling->old->user_count; i++) {
        const struct weir_conf_user *old = &telling->old->users[i];
        const struct weir_conf_user *fresh = find_user(telling->fresh, old->name);
        telling->name = old->name;
        if (fresh != NULL) {
            compare_overrides(telling, old->overrides, fresh->overrides);
            continue;
        }
        char *text = weir_overrides_show(old->overrides);
        tell(telling, NULL, text, NULL, WEIR_EFFECT_AT_ONCE);
        free(text);
    }
    for (size_t i = 0; i < telling->fresh->user_count; i++) {
        const struct weir_conf_user *fresh = &telling->fresh->users[i];
        if (find_user(telling->old, fresh->name) != NULL)
            continue;
        telling->name = fresh->name;
        char *text = weir_overrides_show(fresh->overrides);
        tell(telling, NULL, NULL, text, WEIR_EFFECT_AT_ONCE);
        free(text);
    }
}

void weir_conf_changes(const struct weir_conf *old, const struct weir_conf *fresh,
                       void (*each)(void *context, const struct weir_conf_change *change),
                       void *context)
{
    struct telling telling = {.old = old, .fresh = fresh, .each = each, .context = context};
    weir_conf_diff(old, fresh, tell_setting, &telling);
    compare_databases(&telling);
    compare_users(&telling);
}
