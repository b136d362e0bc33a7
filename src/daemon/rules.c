/* The rules of who may come in, as the configuration names them. */
#include "daemon.h"
#include "weir/control.h"
#include "weir/memory.h"

#include <stdlib.h>

/* What the rules ask of the settings; NULL: nothing is missing. */
static char *find_missing(const struct weir_conf *conf, const struct weir_hba *rules)
{
    const struct weir_hba_rule *rule = weir_hba_certificate_rule(rules);
    if (rule != NULL && conf->client_tls_sslmode != WEIR_SSLMODE_DISABLE &&
        conf->client_tls_ca_file[0] == '\0')
        return weir_format("%s:%zu: certificates of clients can be verified only with the setting "
                           "client_tls_ca_file",
                           rule->file, rule->line);
    rule = weir_hba_role_rule(rules);
    if (rule != NULL && !weir_lookup_is_configured(conf))
        return weir_format(
            "%s:%zu: members of roles can be looked up only with the setting auth_user", rule->file,
            rule->line);
    return NULL;
}

bool rules_read(const struct weir_conf *conf, struct weir_hba **rules, char **problem)
{
    *rules = NULL;
    *problem = NULL;
    if (conf->auth_type != WEIR_AUTH_TYPE_HBA)
        return true;
    char *reason = NULL;
    *rules = weir_hba_read(conf->auth_hba_file, conf->auth_ident_file, &reason);
    if (reason == NULL)
        reason = find_missing(conf, *rules);
    if (reason == NULL)
        return true;
    *problem = weir_format("auth_hba_file: %s", reason);
    free(reason);
    weir_hba_release(*rules);
    *rules = NULL;
    return false;
}

bool rules_check(const struct weir_conf *conf, struct weir_hba **rules)
{
    char *problem;
    bool good = rules_read(conf, rules, &problem);
    if (!good)
        fprintf(stderr, "pgweir: %s\n", problem);
    else if (*rules != NULL)
        printf("# auth_hba_file: %zu rules%s%s%s\n", weir_hba_count(*rules),
               weir_hba_certificate_rule(*rules) != NULL ? "; clients are asked for certificates"
                                                         : "",
               weir_hba_host_rule(*rules) != NULL ? "; names of hosts are looked up" : "",
               weir_hba_role_rule(*rules) != NULL ? "; members of roles are looked up" : "");
    free(problem);
    return good;
}
