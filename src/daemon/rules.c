/* The rules of who may come in, as the configuration names them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "weir/control.h"
#include "weir/log.h"
#include "weir/memory.h"
#include "weir/verify.h"

/* Takes `reason` over. */
static bool fail(char **problem, const char *setting, char *reason)
{
    *problem = weir_format("%s: %s", setting, reason);
    free(reason);
    return false;
}

/* Rules that name PAM or LDAP are of no use without the program that asks them. */
static bool check_program(const struct weir_conf *conf, const struct weir_hba *rules,
                          char **problem)
{
    const char *program = weir_verify_program(conf->auth_worker_program);
    if (!weir_hba_asks_outside(rules) || access(program, X_OK) == 0)
        return true;
    return fail(problem, "auth_worker_program", weir_format("%s: %s", program, strerror(errno)));
}

/* NULL with *problem. */
static struct weir_hba *read_any(const struct weir_conf *conf, char **problem)
{
    char *reason = NULL;
    struct weir_hba *rules = NULL;
    const char *setting = "auth_hba_file";
    if (conf->auth_type == WEIR_AUTH_TYPE_LDAP) {
        setting = "auth_type";
        rules = weir_hba_for_all("ldap", conf->auth_ldap_options, "auth_ldap_options", &reason);
    } else if (conf->auth_type == WEIR_AUTH_TYPE_PAM) {
        setting = "auth_type";
        char *options = weir_format("pamservice=\"%s\"", conf->auth_pam_service);
        rules = weir_hba_for_all("pam", options, "auth_pam_service", &reason);
        free(options);
    } else {
        rules = weir_hba_read(conf->auth_hba_file, conf->auth_ident_file, &reason);
    }
    if (rules == NULL)
        fail(problem, setting, reason);
    return rules;
}

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
    rule = conf->refuse_readable_secrets && conf->auth_type == WEIR_AUTH_TYPE_HBA
               ? weir_hba_exposed_rule(rules)
               : NULL;
    if (rule != NULL)
        return weir_format(
            "%s:%zu: ldapbindpasswd stands there, and everybody may read or write the "
            "file: chmod o= %s (or set refuse_readable_secrets = off)",
            rule->file, rule->line, rule->file);
    return NULL;
}

bool rules_read(const struct weir_conf *conf, struct weir_hba **rules, char **problem)
{
    *rules = NULL;
    *problem = NULL;
    if (conf->auth_type != WEIR_AUTH_TYPE_HBA && conf->auth_type != WEIR_AUTH_TYPE_PAM &&
        conf->auth_type != WEIR_AUTH_TYPE_LDAP)
        return true;
    *rules = read_any(conf, problem);
    if (*rules == NULL)
        return false;
    char *missing = find_missing(conf, *rules);
    if (missing != NULL)
        fail(problem, "auth_hba_file", missing);
    else if (check_program(conf, *rules, problem))
        return true;
    weir_hba_release(*rules);
    *rules = NULL;
    return false;
}

/* PostgreSQL lets that pass without a word, and files made for it should be read; so it is said. */
char *rules_warning(const struct weir_conf *conf, const struct weir_hba *rules)
{
    if (rules == NULL || conf->client_tls_sslmode >= WEIR_SSLMODE_REQUIRE ||
        conf->listen_addr[0] == '\0')
        return NULL;
    const struct weir_hba_rule *rule = weir_hba_exposing_rule(rules);
    if (rule == NULL)
        return NULL;
    return weir_format(
        "%s:%zu: method %s sends passwords as they are, and clients may come without "
        "TLS: use hostssl, or client_tls_sslmode = require",
        rule->file, rule->line, weir_hba_method_name(rule->method));
}

bool rules_check(const struct weir_conf *conf, struct weir_hba **rules)
{
    char *problem;
    bool good = rules_read(conf, rules, &problem);
    char *warning = rules_warning(conf, *rules);
    if (!good)
        fprintf(stderr, "pgweir: %s\n", problem);
    else if (*rules != NULL && conf->auth_type == WEIR_AUTH_TYPE_HBA)
        printf("# auth_hba_file: %zu rules%s%s%s\n", weir_hba_count(*rules),
               weir_hba_certificate_rule(*rules) != NULL ? "; clients are asked for certificates"
                                                         : "",
               weir_hba_host_rule(*rules) != NULL ? "; names of hosts are looked up" : "",
               weir_hba_role_rule(*rules) != NULL ? "; members of roles are looked up" : "");
    if (warning != NULL)
        fprintf(stderr, "pgweir: warning: %s\n", warning);
    free(warning);
    free(problem);
    return good;
}
