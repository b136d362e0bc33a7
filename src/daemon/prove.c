/* For --check: lookups are tried, so that what is missing is known before a client misses it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "weir/control.h"

/* Takes `said`. */
static void tell(bool good, const char *what, const char *label, char *said)
{
    if (good)
        printf("# %s for %s: %s\n", what, label, said);
    else
        fprintf(stderr, "pgweir: %s for %s: %s\n", what, label, said);
    free(said);
}

static bool prove(const struct weir_lookup_target *target, const char *label, const char *user,
                  bool members)
{
    bool good = true;
    char *said = NULL;
    if (target->query[0] != '\0') {
        good = weir_control_prove(target, user != NULL ? user : target->user, &said);
        tell(good, "auth_query", label, said);
    }
    if (members) {
        bool can = weir_control_prove_members(target, &said);
        tell(can, "roles in rules", label, said);
        good = good && can;
    }
    return good;
}

bool prove_lookups(const struct weir_conf *conf, const struct weir_user_file *users,
                   const struct weir_hba *rules, const char *user)
{
    bool members = rules != NULL && weir_hba_role_rule(rules) != NULL;
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
            good = prove(&target, label, user, members) && good;
        }
        weir_lookup_target_clear(&target);
    }
    if (tried == 0 && user != NULL) {
        fputs("pgweir: --lookup: no auth_user is set, so nobody is looked up\n", stderr);
        return false;
    }
    return good;
}
