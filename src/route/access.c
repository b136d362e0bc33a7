/* What a client must prove: by auth_type, or by the rule that fits where it comes from. */
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "login.h"
#include "router.h"
#include "weir/resolve.h"

/* How a client is judged by rules, while it logs in. It keeps the rules that it began with, also when a
 * reload has replaced them. */
struct access {
    struct client *client;
    struct weir_hba_walk *walk;
    struct weir_resolve_query resolving; /* what the walk wants to know of the client's host... */
    struct weir_lookup lookup;           /* ...and of the roles of its user */
    char *note;                          /* for the log, or NULL */
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

/* Of a whole server, not of one database. */
static bool is_physical_replication(const struct weir_client_login *login)
{
    return login->replication != NULL && strcmp(login->replication, "database") != 0;
}

static bool refuse_by_rules(struct access *access, enum weir_reason reason)
{
    struct client *client = access->client;
    const struct weir_client_login *login = client->base.login;
    bool rejects = reason == WEIR_REASON_RULE_REJECTS;
    const char *encryption =
        weir_tls_is_used(&client->base.stream) ? "SSL encryption" : "no encryption";
    struct weir_address address;
    char host[NI_MAXHOST];
    if (!weir_client_address(&client->base, &address))
        return refuse(client, WEIR_REASON_CLIENT_GONE, NULL);
    print_host(&address, host, sizeof(host));
    access->note = weir_hba_walk_describe_host(access->walk);
    if (is_physical_replication(login))
        return refuse(client, reason,
                      weir_format("%s host \"%s\", user \"%s\", %s",
                                  rejects ? "pg_hba.conf rejects replication connection for"
                                          : "no pg_hba.conf entry for replication connection from",
                                  host, login->user, encryption));
    return refuse(
        client, reason,
        weir_format("%s host \"%s\", user \"%s\", database \"%s\", %s",
                    rejects ? "pg_hba.conf rejects connection for" : "no pg_hba.conf entry for",
                    host, login->user, login->database, encryption));
}

/* The method is known; now the secret that the proof is held against. */
static void complete(struct client *client, struct weir_admission *admission)
{
    const struct weir_router *router = client->router;
    if (router->users != NULL)
        admission->secret = weir_user_file_find(router->users, client->base.login->user);
    admission->usual = weir_user_file_usual(router->users);
    lookup_demand(client, admission);
}

/* --- by a rule ------------------------------------------------------------------------- */

static bool admit_peer(struct access *access, const struct weir_hba_rule *rule)
{
    struct client *client = access->client;
    const char *user = client->base.login->user;
    struct ucred peer;
    socklen_t size = sizeof(peer);
    int fd = client->base.stream.io.fd;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
        weir_hba_is_peer(weir_hba_walk_rules(access->walk), rule, peer.uid, user))
        return true;
    return refuse(client, WEIR_REASON_PEER_FAILED,
                  weir_format("Peer authentication failed for user \"%s\"", user));
}

static bool demand_by_rule(struct access *access, const struct weir_hba_rule *rule,
                           struct weir_admission *admission)
{
    struct client *client = access->client;
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
        return admit_peer(access, rule);
    case WEIR_HBA_PAM:
    case WEIR_HBA_LDAP:
        admission->method = WEIR_AUTH_OUTSIDE;
        verdict_demand(access->client, rule->outside);
        break;
    case WEIR_HBA_REJECT:
        return refuse_by_rules(access, WEIR_REASON_RULE_REJECTS);
    }
    return true;
}

/* --- on the way to it ------------------------------------------------------------------ */

/* Interfaces come and go, so they are asked for at each step that may need them. */
static enum weir_hba_step walk_on(const struct access *access)
{
    const struct weir_hba *rules = weir_hba_walk_rules(access->walk);
    struct ifaddrs *interfaces = NULL;
    if (weir_hba_needs_interfaces(rules) && getifaddrs(&interfaces) != 0)
        interfaces = NULL;
    enum weir_hba_step step = weir_hba_walk_on(access->walk, interfaces);
    if (interfaces != NULL)
        freeifaddrs(interfaces);
    return step;
}

static bool demand_by_rules(struct access *access, struct weir_admission *admission);

/* After an answer has come. The client may be closed, and `access` gone, afterwards. */
static void go_on(struct access *access)
{
    struct client *client = access->client;
    struct weir_client_login *login = client->base.login;
    struct weir_admission admission = {.method = WEIR_AUTH_REJECT};
    login->refusal = WEIR_REASON_COUNT;
    if (!demand_by_rules(access, &admission))
        admission_refuse(client, login->refusal, login->refusal_text, NULL);
    else if (!admission.later)
        weir_client_admitted(&client->base, &admission);
}

static void on_host(struct weir_resolve_query *query, const struct weir_resolve_result *result)
{
    struct access *access = weir_container_of(query, struct access, resolving);
    weir_hba_walk_tell_host(access->walk, result->name);
    go_on(access);
}

static void on_addresses(struct weir_resolve_query *query, const struct weir_resolve_result *result)
{
    struct access *access = weir_container_of(query, struct access, resolving);
    bool own = false;
    for (size_t i = 0; i < result->count && !own; i++)
        own = weir_hba_walk_is_own(access->walk, &result->addresses[i].any);
    weir_hba_walk_tell_own(access->walk, own);
    go_on(access);
}

static bool ask_host(struct access *access)
{
    struct weir_address address;
    if (!weir_client_address(&access->client->base, &address))
        return refuse(access->client, WEIR_REASON_CLIENT_GONE, NULL);
    access->resolving.done = on_host;
    weir_resolve_start_address(access->client->router->loop, &address, &access->resolving);
    return true;
}

static void ask_addresses(struct access *access)
{
    access->resolving.done = on_addresses;
    weir_resolve_start(access->client->router->loop, weir_hba_walk_host(access->walk),
                       &access->resolving);
}

/* Without an answer nobody comes in: a rule behind this one might be for all but the members. */
static bool refuse_member(struct access *access, char *why)
{
    access->note = weir_format("role \"%s\": %s", weir_hba_walk_role(access->walk), why);
    free(why);
    return refuse(access->client, WEIR_REASON_ROLES_UNKNOWN, NULL);
}

static void on_member(struct weir_lookup *lookup, const struct weir_lookup_answer *answer)
{
    struct access *access = weir_container_of(lookup, struct access, lookup);
    if (answer->outcome == WEIR_LOOKUP_FAILED) {
        refuse_member(access, weir_strdup(answer->problem));
        admission_refuse(access->client, WEIR_REASON_ROLES_UNKNOWN, NULL, NULL);
        return;
    }
    weir_hba_walk_tell_member(access->walk, answer->outcome == WEIR_LOOKUP_FOUND);
    go_on(access);
}

static bool ask_member(struct access *access)
{
    const struct client *client = access->client;
    const struct weir_client_login *login = client->base.login;
    const struct weir_router *router = client->router;
    struct weir_lookup_target target;
    if (!weir_lookup_target_make(router->conf, router->users,
                                 client->console != NULL ? NULL : login->database, &target))
        return refuse_member(access,
                             weir_format("auth_user, or where it is to look, is not set for "
                                         "database \"%s\"",
                                         login->database));
    access->lookup.done = on_member;
    weir_control_ask_member(router->control, &target, login->user, weir_hba_walk_role(access->walk),
                            &access->lookup);
    weir_lookup_target_clear(&target);
    return true;
}

/* As access_demand. */
static bool demand_by_rules(struct access *access, struct weir_admission *admission)
{
    admission->later = true;
    switch (walk_on(access)) {
    case WEIR_HBA_WANTS_HOST:
        return ask_host(access);
    case WEIR_HBA_WANTS_ADDRESSES:
        ask_addresses(access);
        return true;
    case WEIR_HBA_WANTS_MEMBER:
        return ask_member(access);
    case WEIR_HBA_DECIDED:
        break;
    }
    admission->later = false;
    const struct weir_hba_rule *rule = weir_hba_walk_rule(access->walk);
    if (rule == NULL)
        return refuse_by_rules(access, WEIR_REASON_RULE_MISSING);
    if (!demand_by_rule(access, rule, admission))
        return false;
    complete(access->client, admission);
    return true;
}

static bool begin_walk(struct client *client, struct weir_admission *admission)
{
    const struct weir_client_login *login = client->base.login;
    struct weir_address address;
    if (client->router->rules == NULL)
        return refuse(client, WEIR_REASON_RULE_MISSING, NULL);
    if (!weir_client_address(&client->base, &address))
        return refuse(client, WEIR_REASON_CLIENT_GONE, NULL);
    struct weir_hba_login asked = {
        .peer = &address.any,
        .database = login->database,
        .user = login->user,
        .encrypted = weir_tls_is_used(&client->base.stream),
        .physical_replication = is_physical_replication(login),
    };
    struct access *access = weir_alloc(sizeof(*access));
    access->client = client;
    access->walk = weir_hba_walk_begin(client->router->rules, &asked);
    client->access = access;
    return demand_by_rules(access, admission);
}

/* --- by auth_type ---------------------------------------------------------------------- */

bool access_demand_now(struct client *client, struct weir_admission *admission)
{
    switch (client->router->conf->auth_type) {
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
    case WEIR_AUTH_TYPE_PAM:
    case WEIR_AUTH_TYPE_LDAP:
        return begin_walk(client, admission);
    }
    complete(client, admission);
    return true;
}

bool access_demand(struct client *client, struct weir_admission *admission)
{
    switch (delay_demand(client, admission)) {
    case DELAY_NONE:
        return access_demand_now(client, admission);
    case DELAY_WAITS:
        return true;
    case DELAY_REFUSED:
        break;
    }
    return false;
}

/* --- certificates ---------------------------------------------------------------------- */

static bool is_of_user(struct access *access, const struct weir_stream *stream, const char *user)
{
    const struct weir_hba_rule *rule = weir_hba_walk_rule(access->walk);
    char *name =
        weir_tls_peer_name(stream, rule->by_subject ? WEIR_TLS_SUBJECT : WEIR_TLS_COMMON_NAME);
    bool named = name != NULL && name[0] != '\0';
    bool good = named && weir_hba_maps(weir_hba_walk_rules(access->walk), rule->map, name, user);
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
    const char *name = password                   ? "password"
                       : method == WEIR_HBA_TRUST ? "\"trust\""
                       : method == WEIR_HBA_PAM   ? "PAM"
                       : method == WEIR_HBA_LDAP  ? "LDAP"
                                                  : "certificate";
    char *text =
        weir_format("%s authentication failed for user \"%s\"", name, client->base.login->user);
    weir_client_refuse_login(
        &client->base, password ? WEIR_REASON_CERTIFICATE_MISMATCH : WEIR_REASON_CERTIFICATE_NAME,
        text, NULL, NULL);
    free(text);
}

bool access_confirm(struct client *client)
{
    struct access *access = client->access;
    const struct weir_hba_rule *rule = access != NULL ? weir_hba_walk_rule(access->walk) : NULL;
    if (rule == NULL || rule->certificate != WEIR_HBA_OF_USER ||
        is_of_user(access, &client->base.stream, client->base.login->user))
        return true;
    refuse_certificate(client, rule->method);
    return false;
}

/* --- the end --------------------------------------------------------------------------- */

const char *access_note(const struct client *client)
{
    return client->access != NULL ? client->access->note : NULL;
}

void access_end(struct client *client)
{
    if (client->access == NULL)
        return;
    weir_resolve_cancel(&client->access->resolving);
    weir_lookup_cancel(&client->access->lookup);
    weir_hba_walk_end(client->access->walk);
    free(client->access->note);
    free(client->access);
    client->access = NULL;
}
