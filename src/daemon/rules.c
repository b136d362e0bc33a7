/* The rules of who may come in, as the configuration names them. */
#include "daemon.h"
#include "weir/memory.h"

#include <stdlib.h>

bool rules_read(const struct weir_conf *conf, struct weir_hba **rules, char **problem)
{
    *rules = NULL;
    *problem = NULL;
    if (conf->auth_type != WEIR_AUTH_TYPE_HBA)
        return true;
    char *reason = NULL;
    *rules = weir_hba_read(conf->auth_hba_file, conf->auth_ident_file, &reason);
    if (*rules == NULL)
        *problem = weir_format("auth_hba_file: %s", reason);
    free(reason);
    return *rules != NULL;
}

bool rules_check(const struct weir_conf *conf)
{
    struct weir_hba *rules;
    char *problem;
    bool good = rules_read(conf, &rules, &problem);
    if (!good)
        fprintf(stderr, "pgweir: %s\n", problem);
    else if (rules != NULL)
        printf("# auth_hba_file: %zu rules\n", weir_hba_count(rules));
    free(problem);
    weir_hba_destroy(rules);
    return good;
}
