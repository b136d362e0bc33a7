/* From entries to a snapshot: sections, levels, PgBouncer's names and their meaning. */

#include <stdlib.h>
#include <string.h>

#include "snapshot.h"
#include "value.h"
#include "weir/memory.h"

/* --- one setting of one level ---------------------------------------------------------- */

struct assignment {
    struct weir_apply *apply;
    struct weir_level *level;
    const char *where;
    const char *subject; /* the name as written, after its owner */
};

static bool is_pgbouncer(const struct weir_apply *apply)
{
    return apply->conf->pgbouncer_file;
}

static void note_origin(struct weir_conf *conf, enum weir_setting_id id, const char *where)
{
    char *copy = weir_strdup(where);
    free(conf->origins[id].where);
    conf->origins[id].where = copy;
}

/* Sets a value that the file did not state; one that it states wins. */
static void imply(struct weir_apply *apply, struct weir_level *level, enum weir_setting_id id,
                  const char *value, const char *where)
{
    if (level->set[id] == WEIR_SET)
        return;
    weir_require(weir_setting_set(&weir_settings[id], level->fields, value) == NULL);
    level->set[id] = WEIR_IMPLIED;
    if (level->scope == WEIR_SCOPE_GLOBAL)
        note_origin(apply->conf, id, where);
}

static void note_duplicate(const struct assignment *assignment, const struct weir_setting *setting)
{
    const char *before = NULL;
    enum weir_setting_id id = weir_setting_id(setting);
    if (assignment->level->set[id] != WEIR_SET)
        return;
    if (assignment->level->scope == WEIR_SCOPE_GLOBAL)
        before = assignment->apply->conf->origins[id].where;
    weir_messages_warning(assignment->apply->messages, assignment->where, assignment->subject,
                          "set more than once%s%s; the last one counts",
                          before == NULL ? "" : ", before at ", before == NULL ? "" : before);
}

static bool assign(const struct assignment *assignment, const struct weir_setting *setting,
                   const char *value)
{
    struct weir_level *level = assignment->level;
    enum weir_setting_id id = weir_setting_id(setting);
    char *problem = weir_setting_set(setting, level->fields, value);
    if (problem != NULL) {
        weir_messages_problem(assignment->apply->messages, assignment->where, assignment->subject,
                              "%s", problem);
        free(problem);
        return false;
    }
    note_duplicate(assignment, setting);
    level->set[id] = WEIR_SET;
    if (level->scope == WEIR_SCOPE_GLOBAL)
        note_origin(assignment->apply->conf, id, assignment->where);
    return true;
}

/* --- PgBouncer's names and meanings ---------------------------------------------------- */

static void assign_inverse(const struct assignment *assignment, const struct weir_setting *setting,
                           const char *value)
{
    bool on = false;
    char *problem = weir_value_read_bool(value, &on);
    if (problem == NULL) {
        assign(assignment, setting, on ? "off" : "on");
        return;
    }
    weir_messages_problem(assignment->apply->messages, assignment->where, assignment->subject, "%s",
                          problem);
    free(problem);
}

static bool is_zero(const char *value)
{
    return *value != '\0' && strspn(value, "0") == strlen(value);
}

static void assign_pool_size(const struct assignment *assignment,
                             const struct weir_setting *setting, const char *value)
{
    if (!is_zero(value)) {
        assign(assignment, setting, value);
        return;
    }
    char *largest = weir_format("%ld", (long)setting->high);
    if (assign(assignment, setting, largest))
        weir_messages_warning(assignment->apply->messages, assignment->where, assignment->subject,
                              "0 (without limit) is taken as %s", largest);
    free(largest);
}

static void assign_lifetime(const struct assignment *assignment, const struct weir_setting *setting,
                            const char *value)
{
    if (!assign(assignment, setting, value))
        return;
    /* Here 0 is "used once", there it is "never replaced": the shortest age there is says it. */
    const struct weir_pool_settings *fields = assignment->level->fields;
    if (fields->pool_recycle == 0)
        weir_require(weir_setting_set(setting, assignment->level->fields, "1us") == NULL);
}

static void assign_check_query(const struct assignment *assignment,
                               const struct weir_setting *setting, const char *value)
{
    bool protocol = strcmp(value, "<empty>") == 0;
    if (assign(assignment, setting, protocol ? "" : value))
        imply(assignment->apply, assignment->level, WEIR_SETTING_ID_pool_pre_ping,
              *value == '\0' ? "off" : "on", assignment->where);
}

static void assign_verbose(const struct assignment *assignment, const struct weir_setting *setting,
                           const char *value)
{
    int verbose = 0;
    char *problem = weir_value_read_int(value, 0, 100, &verbose);
    if (problem == NULL) {
        assign(assignment, setting, verbose > 0 ? "debug" : "info");
        return;
    }
    weir_messages_problem(assignment->apply->messages, assignment->where, assignment->subject, "%s",
                          problem);
    free(problem);
}

static void assign_translated(const struct assignment *assignment,
                              const struct weir_setting *setting, enum weir_translation how,
                              const char *value)
{
    struct weir_level *level = assignment->level;
    const struct weir_pool_settings *fields = level->fields;
    switch (how) {
    case WEIR_TRANSLATE_INVERSE:
        assign_inverse(assignment, setting, value);
        break;
    case WEIR_TRANSLATE_POOL_SIZE:
        assign_pool_size(assignment, setting, value);
        break;
    case WEIR_TRANSLATE_RESERVE:
        level->by_reserve = assign(assignment, setting, value) || level->by_reserve;
        break;
    case WEIR_TRANSLATE_RESERVE_TIMEOUT:
        if (assign(assignment, setting, value))
            level->reserve_off = fields->overflow_delay == 0;
        break;
    case WEIR_TRANSLATE_LIFETIME:
        assign_lifetime(assignment, setting, value);
        break;
    case WEIR_TRANSLATE_CHECK_QUERY:
        assign_check_query(assignment, setting, value);
        break;
    case WEIR_TRANSLATE_VERBOSE:
        assign_verbose(assignment, setting, value);
        break;
    case WEIR_TRANSLATE_PLAIN:
        assign(assignment, setting, value);
        break;
    }
}

static void take_foreign(const struct assignment *assignment,
                         const struct weir_setting_foreign *foreign, const char *value)
{
    if (foreign->harmless != NULL && weir_value_is_listed(foreign->harmless, value))
        return;
    bool tolerated = foreign->tolerated != NULL && weir_value_is_listed(foreign->tolerated, value);
    if (foreign->refused && !tolerated)
        weir_messages_problem(assignment->apply->messages, assignment->where, assignment->subject,
                              "refused: %s", foreign->reason);
    else
        weir_messages_warning(assignment->apply->messages, assignment->where, assignment->subject,
                              "ignored: %s", foreign->reason);
}

static void refuse_scope(const struct assignment *assignment, unsigned int scopes)
{
    const char *allowed = (scopes & WEIR_SCOPE_GLOBAL) == 0     ? "[databases]"
                          : (scopes & WEIR_SCOPE_DATABASE) != 0 ? "[pgweir] and [databases]"
                          : (scopes & WEIR_SCOPE_USER) != 0     ? "[pgweir] and [users]"
                                                                : "[pgweir]";
    weir_messages_problem(assignment->apply->messages, assignment->where, assignment->subject,
                          "can be set in %s only", allowed);
}

static void take_own(const struct assignment *assignment, const struct weir_setting *setting,
                     const char *value)
{
    if (weir_setting_id(setting) == WEIR_SETTING_ID_auth_type &&
        weir_value_is_listed("cert,peer", value)) {
        weir_messages_problem(assignment->apply->messages, assignment->where, assignment->subject,
                              "refused: %s is a method in auth_hba_file, with auth_type = hba",
                              value);
        return;
    }
    bool unlimited =
        is_pgbouncer(assignment->apply) && weir_setting_id(setting) == WEIR_SETTING_ID_pool_size;
    assign_translated(assignment, setting,
                      unlimited ? WEIR_TRANSLATE_POOL_SIZE : WEIR_TRANSLATE_PLAIN, value);
}

bool weir_apply_setting(struct weir_apply *apply, struct weir_level *level, const char *where,
                        const char *owner, const char *name, const char *value)
{
    const struct weir_setting *setting = weir_setting_find(name);
    const struct weir_setting_alias *alias = setting != NULL ? NULL : weir_setting_find_alias(name);
    const struct weir_setting_foreign *foreign =
        setting != NULL || alias != NULL ? NULL : weir_setting_find_foreign(name);
    if (setting == NULL && alias == NULL && foreign == NULL)
        return false;
    const struct weir_setting *target = alias != NULL ? &weir_settings[alias->setting] : setting;
    unsigned int scopes = foreign != NULL ? foreign->scopes : target->scopes;
    char *subject = owner == NULL ? weir_strdup(name) : weir_format("%s: %s", owner, name);
    struct assignment assignment = {apply, level, where, subject};
    if ((scopes & level->scope) == 0)
        refuse_scope(&assignment, scopes);
    else if (foreign != NULL)
        take_foreign(&assignment, foreign, value);
    else if (alias != NULL)
        assign_translated(&assignment, target, alias->translation, value);
    else
        take_own(&assignment, target, value);
    free(subject);
    return true;
}

void weir_apply_unknown(struct weir_apply *apply, unsigned int scope, const char *where,
                        const char *owner, const char *name)
{
    const char *nearest = weir_setting_nearest(name, scope);
    char *subject = owner == NULL ? weir_strdup(name) : weir_format("%s: %s", owner, name);
    if (nearest == NULL)
        weir_messages_problem(apply->messages, where, subject, "unknown setting");
    else
        weir_messages_problem(apply->messages, where, subject, "unknown setting (nearest: %s)",
                              nearest);
    free(subject);
}

/* --- sections -------------------------------------------------------------------------- */

static void take_global(struct weir_apply *apply, const struct weir_entry *entry)
{
    if (!weir_apply_setting(apply, &apply->global, entry->where, NULL, entry->name, entry->value))
        weir_apply_unknown(apply, WEIR_SCOPE_GLOBAL, entry->where, NULL, entry->name);
}

/* The line of that name, emptied, or a fresh one at the end; there is room for all. */
static struct weir_database *database_slot(struct weir_apply *apply, const struct weir_entry *entry)
{
    struct weir_conf *conf = apply->conf;
    for (size_t i = 0; i < conf->database_count; i++) {
        struct weir_database *database = &conf->databases[i];
        if (strcmp(database->name, entry->name) != 0)
            continue;
        weir_messages_warning(apply->messages, entry->where, entry->name,
                              "defined more than once, before at %s; the last one counts",
                              database->where);
        weir_database_clear(database);
        return database;
    }
    return &conf->databases[conf->database_count++];
}

static void take_database(struct weir_apply *apply, const struct weir_entry *entry)
{
    if (strcmp(entry->name, "pgweir") == 0 || strcmp(entry->name, "pgbouncer") == 0) {
        weir_messages_problem(apply->messages, entry->where, entry->name,
                              "this name is reserved for the console");
        return;
    }
    struct weir_database *database = database_slot(apply, entry);
    database->name = weir_strdup(entry->name);
    database->where = weir_strdup(entry->where);
    database->exposed = entry->exposed;
    database->overrides = weir_overrides_create(WEIR_SCOPE_DATABASE);
    weir_database_read(apply, database, entry->value);
}

static struct weir_conf_user *user_slot(struct weir_apply *apply, const struct weir_entry *entry)
{
    struct weir_conf *conf = apply->conf;
    for (size_t i = 0; i < conf->user_count; i++) {
        struct weir_conf_user *user = &conf->users[i];
        if (strcmp(user->name, entry->name) != 0)
            continue;
        weir_messages_warning(apply->messages, entry->where, entry->name,
                              "defined more than once, before at %s; the last one counts",
                              user->where);
        free(user->name);
        free(user->where);
        weir_overrides_destroy(user->overrides);
        return user;
    }
    return &conf->users[conf->user_count++];
}

static void take_user(struct weir_apply *apply, const struct weir_entry *entry)
{
    struct weir_conf_user *user = user_slot(apply, entry);
    user->name = weir_strdup(entry->name);
    user->where = weir_strdup(entry->where);
    user->overrides = weir_overrides_create(WEIR_SCOPE_USER);
    char *owner = weir_format("user %s", user->name);
    const char *cursor = entry->value;
    const char *problem = NULL;
    struct weir_token token;
    enum weir_token_result result;
    while ((result = weir_token_next(&cursor, !is_pgbouncer(apply), &token, &problem)) ==
           WEIR_TOKEN_GOOD) {
        if (!weir_apply_setting(apply, &user->overrides->level, entry->where, owner, token.name,
                                token.value))
            weir_apply_unknown(apply, WEIR_SCOPE_USER, entry->where, owner, token.name);
        weir_token_clear(&token);
    }
    if (result == WEIR_TOKEN_BAD)
        weir_messages_problem(apply->messages, entry->where, owner, "%s", problem);
    free(owner);
}

static void take_entry(struct weir_apply *apply, const struct weir_entry *entry)
{
    if (strcmp(entry->section, "pgweir") == 0 || strcmp(entry->section, "pgbouncer") == 0) {
        take_global(apply, entry);
    } else if (strcmp(entry->section, "databases") == 0) {
        take_database(apply, entry);
    } else if (strcmp(entry->section, "users") == 0) {
        take_user(apply, entry);
    } else if (strcmp(entry->section, "peers") == 0) {
        if (!apply->peers_warned)
            weir_messages_warning(apply->messages, entry->where, "[peers]",
                                  "ignored: one process needs no peers");
        apply->peers_warned = true;
    } else {
        weir_messages_problem(apply->messages, entry->where, entry->section,
                              "unknown section (known: pgweir, databases, users)");
    }
}

/* --- the whole ------------------------------------------------------------------------- */

static void set_defaults(struct weir_conf *conf)
{
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        const struct weir_setting *setting = &weir_settings[i];
        bool other = conf->pgbouncer_file && setting->pgbouncer_value != NULL;
        const char *value = other ? setting->pgbouncer_value : setting->value;
        weir_require(weir_setting_set(setting, conf, value) == NULL);
    }
}

/* PgBouncer's reserve is slow to open: 5 s unless the file says otherwise, and never when its
 * time-out is 0. This waits for the end of the file because the global section may come last. */
static void settle_reserve(struct weir_apply *apply, struct weir_level *level)
{
    bool stated = level->set[WEIR_SETTING_ID_overflow_delay] == WEIR_SET ||
                  apply->set[WEIR_SETTING_ID_overflow_delay] == WEIR_SET;
    if (level->by_reserve && !stated)
        imply(apply, level, WEIR_SETTING_ID_overflow_delay, "5s",
              apply->conf->origins[WEIR_SETTING_ID_max_overflow].where);
    bool off = level->reserve_off || (apply->global.reserve_off &&
                                      level->set[WEIR_SETTING_ID_overflow_delay] != WEIR_SET);
    if (off && (level->by_reserve || level == &apply->global)) {
        if (level->by_reserve)
            level->set[WEIR_SETTING_ID_max_overflow] = WEIR_UNSET;
        imply(apply, level, WEIR_SETTING_ID_max_overflow, "0",
              apply->conf->origins[WEIR_SETTING_ID_overflow_delay].where);
    }
}

/* A PgBouncer file without host means the Unix socket in unix_socket_dir. */
static void settle_hosts(struct weir_conf *conf)
{
    for (size_t i = 0; conf->pgbouncer_file && i < conf->database_count; i++) {
        struct weir_database *database = &conf->databases[i];
        for (size_t j = 0; j < database->host_count; j++) {
            if (database->hosts[j].host[0] != '\0')
                continue;
            free(database->hosts[j].host);
            free(database->hosts[j].name);
            database->hosts[j].host = weir_strdup(conf->unix_socket_dir);
            database->hosts[j].name = weir_strdup(conf->unix_socket_dir);
        }
    }
}

static const char *origin_of(const struct weir_conf *conf, enum weir_setting_id id,
                             const char *fallback)
{
    return conf->origins[id].where != NULL ? conf->origins[id].where : fallback;
}

static void check_rules(struct weir_apply *apply, const char *file)
{
    const struct weir_conf *conf = apply->conf;
    bool used = conf->auth_type == WEIR_AUTH_TYPE_HBA;
    if (used && conf->auth_hba_file[0] == '\0')
        weir_messages_problem(apply->messages, origin_of(conf, WEIR_SETTING_ID_auth_type, file),
                              "auth_type", "hba needs the setting auth_hba_file");
    if (!used && conf->auth_hba_file[0] != '\0')
        weir_messages_warning(apply->messages, origin_of(conf, WEIR_SETTING_ID_auth_hba_file, file),
                              "auth_hba_file",
                              "not used, so its rules do not hold: auth_type is not hba");
    if (!used && conf->auth_ident_file[0] != '\0')
        weir_messages_warning(apply->messages,
                              origin_of(conf, WEIR_SETTING_ID_auth_ident_file, file),
                              "auth_ident_file", "not used: auth_type is not hba");
}

static void check_outside(struct weir_apply *apply, const char *file)
{
    const struct weir_conf *conf = apply->conf;
    bool used = conf->auth_type == WEIR_AUTH_TYPE_LDAP;
    if (used && conf->auth_ldap_options[0] == '\0')
        weir_messages_problem(apply->messages, origin_of(conf, WEIR_SETTING_ID_auth_type, file),
                              "auth_type", "ldap needs the setting auth_ldap_options");
    if (!used && conf->auth_ldap_options[0] != '\0')
        weir_messages_warning(apply->messages,
                              origin_of(conf, WEIR_SETTING_ID_auth_ldap_options, file),
                              "auth_ldap_options", "not used: auth_type is not ldap");
}

static bool looks_up_users(const struct weir_conf *conf)
{
    bool looks_up = conf->pool.auth_user[0] != '\0';
    for (size_t i = 0; i < conf->database_count; i++) {
        struct weir_pool_settings settings;
        weir_conf_resolve(conf, &conf->databases[i], NULL, &settings);
        looks_up = looks_up || settings.auth_user[0] != '\0';
    }
    return looks_up;
}

/* Through the fallback strangers would choose which database is connected to. */
static void check_lookup(const struct weir_conf *conf, const struct weir_database *database,
                         struct weir_messages *messages)
{
    struct weir_pool_settings settings;
    weir_conf_resolve(conf, database, NULL, &settings);
    if (strcmp(database->name, "*") == 0 && settings.auth_user[0] != '\0' &&
        settings.auth_dbname[0] == '\0' && database->dbname == NULL)
        weir_messages_warning(messages, database->where, "database *",
                              "auth_query runs in whatever database a client names before it has "
                              "logged in; set auth_dbname");
}

static void complain_of_exposure(struct weir_apply *apply, const char *where, const char *owner)
{
    int length = (int)(strrchr(where, ':') - where);
    weir_messages_problem(apply->messages, where, owner,
                          "has a password, and everybody may read or write the file: "
                          "chmod o= %.*s (or set refuse_readable_secrets = off)",
                          length, where);
}

static bool has_exposed_secret(const struct weir_entry *entry)
{
    const struct weir_setting *setting = weir_setting_find(entry->name);
    bool global = strcmp(entry->section, "pgweir") == 0 || strcmp(entry->section, "pgbouncer") == 0;
    return entry->exposed && global && setting != NULL &&
           weir_setting_has_secret(setting, entry->value);
}

/* One line of it is enough to say. A file that is translated only need not be safe. */
static void check_exposure(struct weir_apply *apply, const struct weir_entries *entries)
{
    const struct weir_conf *conf = apply->conf;
    if (!conf->refuse_readable_secrets || entries->with_layout)
        return;
    for (size_t i = 0; i < entries->count; i++) {
        if (!has_exposed_secret(&entries->items[i]))
            continue;
        complain_of_exposure(apply, entries->items[i].where, entries->items[i].name);
        return;
    }
    for (size_t i = 0; i < conf->database_count; i++) {
        const struct weir_database *database = &conf->databases[i];
        if (!database->exposed || database->password == NULL)
            continue;
        char *owner = weir_format("database %s", database->name);
        complain_of_exposure(apply, database->where, owner);
        free(owner);
        return;
    }
}

static void check_whole(struct weir_apply *apply, const char *file)
{
    const struct weir_conf *conf = apply->conf;
    struct weir_messages *messages = apply->messages;
    if (conf->listen_addr[0] == '\0' && conf->unix_socket_dir[0] == '\0')
        weir_messages_warning(messages, file, NULL,
                              "listen_addr and unix_socket_dir are both empty: only socket "
                              "activation can bring clients");
    if (conf->auth_file[0] == '\0' && !looks_up_users(conf) &&
        conf->auth_type != WEIR_AUTH_TYPE_TRUST && conf->auth_type != WEIR_AUTH_TYPE_ANY &&
        conf->auth_type != WEIR_AUTH_TYPE_HBA && conf->auth_type != WEIR_AUTH_TYPE_PAM &&
        conf->auth_type != WEIR_AUTH_TYPE_LDAP)
        weir_messages_warning(messages, origin_of(conf, WEIR_SETTING_ID_auth_type, file),
                              "auth_file", "empty: no user is known, so nobody can log in");
    check_rules(apply, file);
    check_outside(apply, file);
    if (apply->set[WEIR_SETTING_ID_auth_query] == WEIR_SET && conf->pool.auth_query[0] != '\0' &&
        !looks_up_users(conf))
        weir_messages_warning(messages, origin_of(conf, WEIR_SETTING_ID_auth_query, file),
                              "auth_query", "without effect: no auth_user is set to run it");
    for (size_t i = 0; i < conf->database_count; i++)
        check_lookup(conf, &conf->databases[i], messages);
    if (conf->database_count == 0)
        weir_messages_warning(messages, file, NULL,
                              "there is no [databases] line, so clients can reach none");
    if (conf->pool.min_pool_size > conf->pool.pool_size)
        weir_messages_warning(messages, origin_of(conf, WEIR_SETTING_ID_min_pool_size, file),
                              "min_pool_size", "%d is more than pool_size (%d), which is the limit",
                              conf->pool.min_pool_size, conf->pool.pool_size);
}

void weir_conf_apply_one(struct weir_conf *conf, const struct weir_entry *entry, bool pgbouncer,
                         unsigned char set[WEIR_SETTING_COUNT])
{
    struct weir_messages messages = {0};
    struct weir_apply apply = {.conf = conf, .messages = &messages};
    apply.global.fields = conf;
    apply.global.set = apply.set;
    apply.global.scope = WEIR_SCOPE_GLOBAL;
    conf->pgbouncer_file = pgbouncer;
    conf->origins = weir_alloc(WEIR_SETTING_COUNT * sizeof(*conf->origins));
    conf->entries = weir_alloc(sizeof(*conf->entries));
    set_defaults(conf);
    weir_apply_setting(&apply, &apply.global, entry->where, NULL, entry->name, entry->value);
    memcpy(set, apply.set, sizeof(apply.set));
    weir_buffer_clear(&messages.problems);
    weir_buffer_clear(&messages.warnings);
}

static void make_room(struct weir_conf *conf, const struct weir_entries *entries)
{
    conf->origins = weir_alloc(WEIR_SETTING_COUNT * sizeof(*conf->origins));
    conf->databases = weir_alloc(entries->count * sizeof(*conf->databases));
    conf->users = weir_alloc(entries->count * sizeof(*conf->users));
}

void weir_conf_apply(struct weir_conf *conf, const struct weir_entries *entries,
                     struct weir_messages *messages)
{
    struct weir_apply apply = {.conf = conf, .messages = messages};
    apply.global.fields = conf;
    apply.global.set = apply.set;
    apply.global.scope = WEIR_SCOPE_GLOBAL;
    conf->pgbouncer_file = entries->pgbouncer_section;
    make_room(conf, entries);
    set_defaults(conf);
    for (size_t i = 0; i < entries->count; i++)
        take_entry(&apply, &entries->items[i]);
    settle_reserve(&apply, &apply.global);
    for (size_t i = 0; i < conf->database_count; i++)
        settle_reserve(&apply, &conf->databases[i].overrides->level);
    for (size_t i = 0; i < conf->user_count; i++)
        settle_reserve(&apply, &conf->users[i].overrides->level);
    settle_hosts(conf);
    for (size_t i = 0; i < conf->database_count; i++)
        weir_database_tls_settle(&apply, &conf->databases[i]);
    check_exposure(&apply, entries);
    check_whole(&apply, entries->file);
}
