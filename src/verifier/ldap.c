/* By LDAP. The login that counts is a simple bind under a name that is either put together from prefix,
 * user and suffix, or found by a search. */
#include <ldap.h>
#include <stdlib.h>
#include <string.h>

#include "room.h"
#include "weir/memory.h"

struct directory {
    const struct weir_question *question;
    struct finding *finding;
    weir_usec deadline; /* 0: none */
    char *addresses;
    LDAP *session;
};

static const char *text_of(const struct directory *directory, const char *name)
{
    const char *value = option_of(directory->question, name);
    return value != NULL ? value : "";
}

/* --- what went wrong ------------------------------------------------------------------- */

/* The server's own words, in fresh memory; "" when it has none. */
static char *diagnosis(const struct directory *directory)
{
    char *said = NULL;
    if (directory->session != NULL)
        ldap_get_option(directory->session, LDAP_OPT_DIAGNOSTIC_MESSAGE, &said);
    char *text = said != NULL && *said != '\0' ? weir_format(" (%s)", said) : weir_strdup("");
    ldap_memfree(said);
    return text;
}

static bool trouble(struct directory *directory, const char *what, int status)
{
    char *said = diagnosis(directory);
    finding_set(directory->finding, WEIR_VERDICT_TROUBLE, "LDAP server \"%s\": %s: %s%s",
                directory->addresses, what, ldap_err2string(status), said);
    free(said);
    return false;
}

/* --- time ------------------------------------------------------------------------------ */

/* The daemon kills who takes longer than the limit: this is to end before, and say why. */
static weir_usec deadline_of(const struct weir_question *question)
{
    if (question->limit == 0)
        return 0;
    return weir_clock_now() + (weir_usec)question->limit * 900;
}

/* What is left of the time, shared by `parts` of which each may need as much. */
static bool limit_step(const struct directory *directory, int option, int parts)
{
    if (directory->deadline == 0)
        return true;
    weir_usec left = (directory->deadline - weir_clock_now()) / parts;
    if (left < 1000)
        left = 1000;
    struct timeval time = {.tv_sec = left / 1000000, .tv_usec = left % 1000000};
    return ldap_set_option(directory->session, option, &time) == LDAP_OPT_SUCCESS;
}

/* --- connecting ------------------------------------------------------------------------ */

/* Servers that the name of the base leads to, by SRV records. NULL: there are none. */
static char *find_servers(const char *base)
{
    char *domain = NULL, *hosts = NULL, *found = NULL;
    if (ldap_dn2domain(base, &domain) == 0 && domain != NULL && *domain != '\0' &&
        ldap_domain2hostlist(domain, &hosts) == LDAP_SUCCESS)
        found = weir_strdup(hosts);
    ldap_memfree(domain);
    ldap_memfree(hosts);
    return found;
}

static bool find_addresses(struct directory *directory)
{
    const char *hosts = text_of(directory, "ldapserver");
    const char *scheme = text_of(directory, "ldapscheme");
    const char *port = text_of(directory, "ldapport");
    const char *used = *scheme != '\0' ? scheme : "ldap";
    int number = *port != '\0' ? atoi(port) : strcmp(used, "ldaps") == 0 ? 636 : 389;
    if (*hosts != '\0') {
        directory->addresses = ldap_text_addresses(used, hosts, number);
        return true;
    }
    const char *base = text_of(directory, "ldapbasedn");
    char *found = find_servers(base);
    if (found == NULL) {
        finding_set(directory->finding, WEIR_VERDICT_TROUBLE,
                    "no LDAP server is named, and none is found by \"%s\"", base);
        return false;
    }
    /* With ports of their own. */
    directory->addresses = ldap_text_addresses(used, found, 0);
    free(found);
    return true;
}

static bool open_session(struct directory *directory)
{
    static const int version = LDAP_VERSION3;
    int status = ldap_initialize(&directory->session, directory->addresses);
    if (status != LDAP_SUCCESS)
        return trouble(directory, "it cannot be connected to", status);
    status = ldap_set_option(directory->session, LDAP_OPT_PROTOCOL_VERSION, &version);
    if (status != LDAP_OPT_SUCCESS ||
        !limit_step(directory, LDAP_OPT_NETWORK_TIMEOUT, ldap_text_count(directory->addresses)))
        return trouble(directory, "options cannot be set", status);
    if (strcmp(text_of(directory, "ldaptls"), "1") != 0)
        return true;
    limit_step(directory, LDAP_OPT_TIMEOUT, 1);
    status = ldap_start_tls_s(directory->session, NULL, NULL);
    return status == LDAP_SUCCESS || trouble(directory, "TLS cannot be started", status);
}

static int bind_as(struct directory *directory, const char *name, const char *password)
{
    struct berval credentials = {.bv_len = strlen(password), .bv_val = (char *)(uintptr_t)password};
    limit_step(directory, LDAP_OPT_TIMEOUT, 1);
    return ldap_sasl_bind_s(directory->session, name, LDAP_SASL_SIMPLE, &credentials, NULL, NULL,
                            NULL);
}

/* --- searching ------------------------------------------------------------------------- */

static int scope_of(const struct directory *directory)
{
    static const struct {
        const char *word;
        int scope;
    } words[] = {
        {"base", LDAP_SCOPE_BASE},
        {"one", LDAP_SCOPE_ONELEVEL},
        {"children", LDAP_SCOPE_CHILDREN},
    };
    const char *scope = text_of(directory, "ldapscope");
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i].word, scope) == 0)
            return words[i].scope;
    return LDAP_SCOPE_SUBTREE;
}

/* The name of the one entry that was found, in fresh memory, or NULL. */
static char *only_name(struct directory *directory, LDAPMessage *entries, const char *filter,
                       bool cut)
{
    const char *user = directory->question->user;
    int count = ldap_count_entries(directory->session, entries);
    if (count != 1 || cut) {
        finding_set(directory->finding, WEIR_VERDICT_NO,
                    "LDAP server \"%s\": user \"%s\" %s: filter %s", directory->addresses, user,
                    count == 0 ? "does not exist" : "is not unique", filter);
        return NULL;
    }
    char *found = ldap_get_dn(directory->session, ldap_first_entry(directory->session, entries));
    char *name = weir_strdup(found);
    ldap_memfree(found);
    /* A bind without a name is an anonymous one, which succeeds. */
    if (name == NULL || *name == '\0') {
        finding_set(directory->finding, WEIR_VERDICT_TROUBLE,
                    "LDAP server \"%s\": the entry of user \"%s\" has no name",
                    directory->addresses, user);
        free(name);
        return NULL;
    }
    return name;
}

static char *search(struct directory *directory, const char *filter)
{
    char *attributes[] = {(char *)(uintptr_t)LDAP_NO_ATTRS, NULL};
    LDAPMessage *entries = NULL;
    limit_step(directory, LDAP_OPT_TIMEOUT, 1);
    /* More than two are as bad as two. */
    int status =
        ldap_search_ext_s(directory->session, text_of(directory, "ldapbasedn"), scope_of(directory),
                          filter, attributes, 0, NULL, NULL, NULL, 2, &entries);
    char *name = NULL;
    if (status == LDAP_SUCCESS || status == LDAP_SIZELIMIT_EXCEEDED)
        name = only_name(directory, entries, filter, status != LDAP_SUCCESS);
    else
        trouble(directory, "the search failed", status);
    ldap_msgfree(entries);
    return name;
}

static char *find_name(struct directory *directory)
{
    const char *binddn = text_of(directory, "ldapbinddn");
    int status = bind_as(directory, binddn, text_of(directory, "ldapbindpasswd"));
    if (status != LDAP_SUCCESS) {
        char *what = weir_format("login as ldapbinddn \"%s\" failed", binddn);
        trouble(directory, what, status);
        free(what);
        return NULL;
    }
    char *filter = ldap_text_filter(option_of(directory->question, "ldapsearchattribute"),
                                    option_of(directory->question, "ldapsearchfilter"),
                                    directory->question->user);
    char *name = search(directory, filter);
    free(filter);
    return name;
}

/* --- the login that counts ------------------------------------------------------------- */

static char *make_name(struct directory *directory)
{
    char *name = ldap_text_bind_name(text_of(directory, "ldapprefix"), directory->question->user,
                                     text_of(directory, "ldapsuffix"));
    if (name == NULL)
        finding_set(directory->finding, WEIR_VERDICT_NO,
                    "the name of user \"%s\" does not go with ldapprefix and ldapsuffix",
                    directory->question->user);
    return name;
}

static bool is_refusal(int status)
{
    switch (status) {
    case LDAP_INVALID_CREDENTIALS:
    case LDAP_INAPPROPRIATE_AUTH:
    case LDAP_NO_SUCH_OBJECT:
    case LDAP_INVALID_DN_SYNTAX:
    case LDAP_INSUFFICIENT_ACCESS:
    case LDAP_CONSTRAINT_VIOLATION:
    case LDAP_UNWILLING_TO_PERFORM:
        return true;
    default:
        return false;
    }
}

static void log_in(struct directory *directory, const char *name)
{
    int status = bind_as(directory, name, directory->question->password);
    if (status == LDAP_SUCCESS) {
        finding_set(directory->finding, WEIR_VERDICT_YES, "LDAP name \"%s\"", name);
        return;
    }
    char *what = weir_format("login as \"%s\" failed", name);
    trouble(directory, what, status);
    free(what);
    if (is_refusal(status))
        directory->finding->verdict = WEIR_VERDICT_NO;
}

static void ask(struct directory *directory)
{
    if (!find_addresses(directory) || !open_session(directory))
        return;
    bool searches = option_of(directory->question, "ldapbasedn") != NULL;
    char *name = searches ? find_name(directory) : make_name(directory);
    if (name != NULL)
        log_in(directory, name);
    free(name);
}

void ldap_judge(const struct weir_question *question, struct finding *finding)
{
    struct directory directory = {
        .question = question,
        .finding = finding,
        .deadline = deadline_of(question),
    };
    ask(&directory);
    if (directory.session != NULL)
        ldap_unbind_ext(directory.session, NULL, NULL);
    free(directory.addresses);
}
