/* TLS as the configuration names it. */
#include "daemon.h"
#include "weir/memory.h"

#include <stdlib.h>

/* Clients are asked for certificates when all of them must have one, or when some rule looks at them. */
static enum weir_tls_verify verify_of(const struct weir_conf *conf, const struct weir_hba *rules)
{
    if (conf->client_tls_sslmode >= WEIR_SSLMODE_VERIFY_CA)
        return WEIR_TLS_VERIFY_CA;
    bool looked_at = rules != NULL && weir_hba_certificate_rule(rules) != NULL;
    return looked_at ? WEIR_TLS_VERIFY_SHOWN : WEIR_TLS_VERIFY_NONE;
}

bool encryption_read(const struct weir_conf *conf, const struct weir_hba *rules,
                     struct weir_client_tls *tls, char **problem)
{
    *tls = (struct weir_client_tls){
        .required = conf->client_tls_sslmode >= WEIR_SSLMODE_REQUIRE,
        .name_is_user = conf->client_tls_sslmode == WEIR_SSLMODE_VERIFY_FULL,
    };
    *problem = NULL;
    if (conf->client_tls_sslmode == WEIR_SSLMODE_DISABLE)
        return true;
    const struct weir_tls_options options = {
        .server = true,
        .verify = verify_of(conf, rules),
        .certificate_file = conf->client_tls_cert_file,
        .key_file = conf->client_tls_key_file,
        .ca_file = conf->client_tls_ca_file,
        .crl_file = conf->client_tls_crl_file,
        .protocols = conf->client_tls_protocols,
        .ciphers = conf->client_tls_ciphers,
        .suites = conf->client_tls13_ciphers,
        .curves = conf->client_tls_ecdhcurve,
    };
    char *reason = NULL;
    tls->context = weir_tls_context_create(&options, &reason);
    if (tls->context == NULL)
        *problem = weir_format("client_tls_sslmode: %s", reason);
    free(reason);
    return tls->context != NULL;
}

bool encryption_check(const struct weir_conf *conf, const struct weir_hba *rules)
{
    struct weir_client_tls tls;
    char *problem;
    bool good = encryption_read(conf, rules, &tls, &problem);
    if (!good)
        fprintf(stderr, "pgweir: %s\n", problem);
    free(problem);
    weir_tls_context_release(tls.context);
    return good;
}
