/* For --check: auth_query is tried, so that what is missing is known before a client misses it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "weir/control.h"

static bool prove(const struct weir_lookup_target *target, const char *label, const char *user)
{
    char *said = NULL;
    const char *name = user != NULL ? user : target->user;
    bool good = weir_control_prove(target, name, &said);
    if (good)
        printf("# auth_query for %s: %s\n", label, said);
    else
        fprintf(stderr, "pgweir: auth_query for %s: %s\n", label, said);
    free(said);
    return good;
}

bool prove_lookups(const struct weir_conf *conf, const struct weir_user_file *users,
                   const char *user)
{
    bool good = true;
    size_t tried = 0;
    for (size_t i = 0; i < conf->database_count; i++) {
        const struct weir_database *line = &conf->databases[i];
        struct weir_lookup_target target;
        if (!weir_lookup_target_make(conf, users, line->name, &target))
            continue;
        tried++;
        if (strcmp(target.database, "*") == 0) {
            printf("# auth_query for database *: not tried, it depends on the database that a "
                   "client asks for; set auth_dbname\n");
        } else {
            char label[128];
            snprintf(label, sizeof(label), "database %s", line->name);
            good = prove(&target, label, user) && good;
        }
        weir_lookup_target_clear(&target);
    }
    if (tried == 0 && user != NULL) {
        fputs("pgweir: --lookup: no auth_user is set, so nobody is looked up\n", stderr);
        return false;
    }
    return good;
}
