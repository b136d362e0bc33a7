/* What a client must prove: by auth_type, or by the rule that fits where it comes from. */
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "router.h"

/* The rule that the client came in by, while it logs in: it may be one of rules that a reload has
 * replaced. */
struct access {
    struct weir_hba *rules;
    const struct weir_hba_rule *rule;
    char *note; /* for the log, or NULL */
};

static bool refuse(struct client *client, enum weir_reason reason, char *text)
{
    client->base.login->refusal = reason;
    client->base.login->refusal_text = text;
    return false;
}

/* As PostgreSQL writes it: without the port, IPv4 inside IPv6 as IPv4. */
static void print_host(const struct weir_address *address, char *text, size_t size)
{
    char host[NI_MAXHOST];
    if (address->any.sa_family == AF_UNIX)
        snprintf(text, size, "[local]");
    else if (getnameinfo(&address->any, address->length, host, sizeof(host), NULL, 0,
                         NI_NUMERICHOST) != 0)
        snprintf(text, size, "???");
    else
        snprintf(text, size, "%s", strncmp(host, "::ffff:", 7) == 0 ? host + 7 : host);
}

static bool refuse_by_rules(struct client *client, const struct weir_hba_login *asked,
                            const struct weir_address *address, enum weir_reason reason)
{
    char host[NI_MAXHOST];
    print_host(address, host, sizeof(host));
    bool rejects = reason == WEIR_REASON_RULE_REJECTS;
    const char *encryption = asked->encrypted ? "SSL encryption" : "no encryption";
    if (asked->physical_replication)
        return refuse(client, reason,
                      weir_format("%s host \"%s\", user \"%s\", %s",
                                  rejects ? "pg_hba.conf rejects replication connection for"
                                          : "no pg_hba.conf entry for replication connection from",
                                  host, asked->user, encryption));
    return refuse(
        client, reason,
        weir_format("%s host \"%s\", user \"%s\", database \"%s\", %s",
                    rejects ? "pg_hba.conf rejects connection for" : "no pg_hba.conf entry for",
                    host, asked->user, asked->database, encryption));
}

static bool admit_peer(struct client *client, const struct weir_hba_rule *rule, const char *user)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    int fd = client->base.stream.io.fd;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
        weir_hba_is_peer(client->access->rules, rule, peer.uid, user))
        return true;
    return refuse(client, WEIR_REASON_PEER_FAILED,
                  weir_format("Peer authentication failed for user \"%s\"", user));
}

static bool demand_by_rule(struct client *client, const struct weir_hba_rule *rule,
                           struct weir_admission *admission)
{
    client->base.login->rule = weir_format(" rule=%s:%zu method=%s", rule->file, rule->line,
                                           weir_hba_method_name(rule->method));
    /* In PostgreSQL, too, this comes before anything else, also before a rejection. */
    if (rule->certificate != WEIR_HBA_NOT_ASKED && !weir_tls_has_certificate(&client->base.stream))
        return refuse(client, WEIR_REASON_CERTIFICATE_MISSING,
                      weir_strdup("connection requires a valid client certificate"));
    switch (rule->method) {
    case WEIR_HBA_TRUST:
    case WEIR_HBA_CERT: /* seen to by access_confirm */
        admission->method = WEIR_AUTH_TRUST;
        break;
    case WEIR_HBA_PASSWORD:
        admission->method = WEIR_AUTH_PLAIN;
        break;
    case WEIR_HBA_MD5:
        admission->method = WEIR_AUTH_MD5;
        break;
    case WEIR_HBA_SCRAM:
        admission->method = WEIR_AUTH_SCRAM;
        break;
    case WEIR_HBA_PEER:
        admission->method = WEIR_AUTH_TRUST;
        return admit_peer(client, rule, client->base.login->user);
    case WEIR_HBA_REJECT:
        admission->method = WEIR_AUTH_REJECT;
        break;
    }
    return true;
}

/* Interfaces come and go, so they are asked for at each login that may need them. */
static const struct weir_hba_rule *match(const struct weir_hba *rules, struct weir_hba_login *asked)
{
    struct ifaddrs *interfaces = NULL;
    if (weir_hba_needs_interfaces(rules) && asked->peer->sa_family != AF_UNIX &&
        getifaddrs(&interfaces) != 0)
        interfaces = NULL;
    asked->interfaces = interfaces;
    const struct weir_hba_rule *rule = weir_hba_match(rules, asked);
    asked->interfaces = NULL;
    if (interfaces != NULL)
        freeifaddrs(interfaces);
    return rule;
}

static bool demand_by_rules(struct client *client, struct weir_admission *admission)
{
    const struct weir_client_login *login = client->base.login;
    const struct weir_hba *rules = client->router->rules;
    struct weir_address address;
    if (!weir_client_address(&client->base, &address))
        return refuse(client, WEIR_REASON_CLIENT_GONE, NULL);
    struct weir_hba_login asked = {
        .peer = &address.any,
        .database = login->database,
        .user = login->user,
        .encrypted = weir_tls_is_used(&client->base.stream),
        .physical_replication =
            login->replication != NULL && strcmp(login->replication, "database") != 0,
    };
    const struct weir_hba_rule *rule = rules != NULL ? match(rules, &asked) : NULL;
    if (rule == NULL)
        return refuse_by_rules(client, &asked, &address, WEIR_REASON_RULE_MISSING);
    client->access = weir_alloc(sizeof(*client->access));
    client->access->rules = weir_hba_share(client->router->rules);
    client->access->rule = rule;
    if (!demand_by_rule(client, rule, admission))
        return false;
    return rule->method != WEIR_HBA_REJECT ||
           refuse_by_rules(client, &asked, &address, WEIR_REASON_RULE_REJECTS);
}

static bool demand(struct client *client, struct weir_admission *admission)
{
    const struct weir_router *router = client->router;
    if (router->users != NULL)
        admission->secret = weir_user_file_find(router->users, client->base.login->user);
    admission->usual = weir_user_file_usual(router->users);
    switch (router->conf->auth_type) {
    case WEIR_AUTH_TYPE_TRUST:
    case WEIR_AUTH_TYPE_ANY:
        admission->method = WEIR_AUTH_TRUST;
        break;
    case WEIR_AUTH_TYPE_PLAIN:
        admission->method = WEIR_AUTH_PLAIN;
        break;
    case WEIR_AUTH_TYPE_MD5:
        admission->method = WEIR_AUTH_MD5;
        break;
    case WEIR_AUTH_TYPE_SCRAM:
        admission->method = WEIR_AUTH_SCRAM;
        break;
    case WEIR_AUTH_TYPE_HBA:
        return demand_by_rules(client, admission);
    }
    return true;
}

bool access_demand(struct client *client, struct weir_admission *admission)
{
    if (!demand(client, admission))
        return false;
    lookup_demand(client, admission);
    return true;
}

/* --- certificates ---------------------------------------------------------------------- */

static bool is_of_user(struct access *access, const struct weir_stream *stream, const char *user)
{
    const struct weir_hba_rule *rule = access->rule;
    char *name =
        weir_tls_peer_name(stream, rule->by_subject ? WEIR_TLS_SUBJECT : WEIR_TLS_COMMON_NAME);
    bool named = name != NULL && name[0] != '\0';
    bool good = named && weir_hba_maps(access->rules, rule->map, name, user);
    if (!good)
        access->note = named ? weir_format("the certificate is that of \"%s\"", name)
                             : weir_strdup("the certificate has no name of that kind");
    free(name);
    return good;
}

/* With PostgreSQL's words, and its code where a password was asked for. */
static void refuse_certificate(struct client *client, enum weir_hba_method method)
{
    bool password =
        method == WEIR_HBA_PASSWORD || method == WEIR_HBA_MD5 || method == WEIR_HBA_SCRAM;
    char *text = weir_format("%s authentication failed for user \"%s\"",
                             password                   ? "password"
                             : method == WEIR_HBA_TRUST ? "\"trust\""
                                                        : "certificate",
                             client->base.login->user);
    weir_client_refuse_login(
        &client->base, password ? WEIR_REASON_CERTIFICATE_MISMATCH : WEIR_REASON_CERTIFICATE_NAME,
        text, NULL, NULL);
    free(text);
}

bool access_confirm(struct client *client)
{
    struct access *access = client->access;
    if (access == NULL || access->rule->certificate != WEIR_HBA_OF_USER ||
        is_of_user(access, &client->base.stream, client->base.login->user))
        return true;
    refuse_certificate(client, access->rule->method);
    return false;
}

const char *access_note(const struct client *client)
{
    return client->access != NULL ? client->access->note : NULL;
}

void access_end(struct client *client)
{
    if (client->access == NULL)
        return;
    weir_hba_release(client->access->rules);
    free(client->access->note);
    free(client->access);
    client->access = NULL;
}
