/* Where users of a database are looked up, and as whom. */
#include <stdlib.h>
#include <string.h>

#include "weir/control.h"
#include "weir/memory.h"

/* As weir_conf_database, but not the fallback. */
static const struct weir_database *find_line(const struct weir_conf *conf, const char *name)
{
    const struct weir_database *line = weir_conf_database(conf, name);
    return line != NULL && strcmp(line->name, name) == 0 ? line : NULL;
}

/* A password of the line comes first, as for its pools; then what the user file knows. */
static void find_password(const struct weir_database *line, const struct weir_user_file *users,
                          struct weir_lookup_target *target)
{
    if (line->password != NULL && line->user != NULL && strcmp(line->user, target->user) == 0) {
        target->password = weir_strdup(line->password);
        return;
    }
    const char *secret = users == NULL ? NULL : weir_user_file_find(users, target->user);
    enum weir_secret_kind kind = weir_secret_kind_of(secret);
    if (kind == WEIR_SECRET_PLAIN)
        target->password = weir_strdup(secret);
    else
        target->unusable = kind;
}

bool weir_lookup_target_make(const struct weir_conf *conf, const struct weir_user_file *users,
                             const char *database, struct weir_lookup_target *target)
{
    const struct weir_database *line = database == NULL ? NULL : weir_conf_database(conf, database);
    struct weir_pool_settings settings;
    weir_conf_resolve(conf, line, NULL, &settings);
    if (settings.auth_user[0] == '\0')
        return false;
    const char *where = settings.auth_dbname;
    const struct weir_database *named = where[0] == '\0' ? NULL : find_line(conf, where);
    if (named != NULL) {
        line = named;
        where = named->dbname != NULL ? named->dbname : named->name;
    } else if (line == NULL) {
        return false;
    } else if (where[0] == '\0') {
        where = line->dbname != NULL ? line->dbname : database;
    }
    *target = (struct weir_lookup_target){
        .hosts = line->hosts,
        .host_count = line->host_count,
        .query = settings.auth_query,
        .database = weir_strdup(where),
        .user = weir_strdup(settings.auth_user),
        .unusable = WEIR_SECRET_NONE,
        .cache = conf->auth_query_cache,
        .timeout = settings.server_connect_timeout,
    };
    weir_conf_libpq_tls(conf, line, &target->tls);
    find_password(line, users, target);
    return true;
}

void weir_lookup_target_clear(struct weir_lookup_target *target)
{
    free(target->database);
    free(target->user);
    weir_free_secret(target->password);
    *target = (struct weir_lookup_target){0};
}

bool weir_lookup_is_configured(const struct weir_conf *conf)
{
    if (conf->pool.auth_user[0] != '\0')
        return true;
    for (size_t i = 0; i < conf->database_count; i++) {
        struct weir_pool_settings settings;
        weir_conf_resolve(conf, &conf->databases[i], NULL, &settings);
        if (settings.auth_user[0] != '\0')
            return true;
    }
    return false;
}
