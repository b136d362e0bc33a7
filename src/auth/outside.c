/* Options of the methods pam and ldap. What PostgreSQL refuses when it reads them is refused, and so is
 * what it takes and could then not work, or would mean less than it says. */
#include "weir/outside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ldap_url.h"
#include "rules.h"
#include "weir/memory.h"

/* --- the object ------------------------------------------------------------------------ */

struct weir_outside *weir_outside_share(struct weir_outside *outside)
{
    outside->owners++;
    return outside;
}

static void free_secret(const char *text)
{
    char *own = (char *)(uintptr_t)text;
    weir_wipe(own, strlen(own));
    free(own);
}

void weir_outside_release(struct weir_outside *outside)
{
    if (outside == NULL || --outside->owners > 0)
        return;
    for (size_t i = 0; i < outside->count; i++)
        free_secret(outside->options[i].value);
    free(outside);
}

static struct weir_outside_option *find(struct weir_outside *outside, const char *name)
{
    for (size_t i = 0; i < outside->count; i++)
        if (strcmp(outside->options[i].name, name) == 0)
            return &outside->options[i];
    return NULL;
}

const char *weir_outside_value(const struct weir_outside *outside, const char *name)
{
    for (size_t i = 0; i < outside->count; i++)
        if (strcmp(outside->options[i].name, name) == 0)
            return outside->options[i].value;
    return NULL;
}

/* `name` is static text. The last value of a name counts. */
static void set(struct weir_outside *outside, const char *name, const char *value)
{
    struct weir_outside_option *option = find(outside, name);
    if (option == NULL) {
        weir_require(outside->count < WEIR_OUTSIDE_OPTIONS);
        option = &outside->options[outside->count++];
        option->name = name;
    } else {
        free_secret(option->value);
    }
    option->value = weir_strdup(value);
}

/* --- values that are not any text ------------------------------------------------------ */

/* Each gives NULL, or what is wrong with the value. */

static const char *check_switch(const char *value)
{
    return strcmp(value, "0") == 0 || strcmp(value, "1") == 0 ? NULL : "it must be 0 or 1";
}

static const char *check_no_name(const char *value)
{
    return strcmp(value, "0") == 0
               ? NULL
               : "refused: PAM is told the address of a client, whose name is not looked up";
}

static const char *check_scheme(const char *value)
{
    bool known = strcmp(value, "ldap") == 0 || strcmp(value, "ldaps") == 0;
    return known ? NULL : "it must be ldap or ldaps";
}

static const char *check_port(const char *value)
{
    char *end = NULL;
    long port = strtol(value, &end, 10);
    return *value >= '1' && *value <= '9' && *end == '\0' && port <= 65535 ? NULL
                                                                           : "invalid port number";
}

static const struct {
    const char *method;
    const char *name;
    const char *(*check)(const char *value);
} table[] = {
    {"pam", "pamservice", NULL},
    {"pam", "pam_use_hostname", check_no_name},
    {"ldap", "ldapurl", NULL},
    {"ldap", "ldaptls", check_switch},
    {"ldap", "ldapscheme", check_scheme},
    {"ldap", "ldapserver", NULL},
    {"ldap", "ldapport", check_port},
    {"ldap", "ldapprefix", NULL},
    {"ldap", "ldapsuffix", NULL},
    {"ldap", "ldapbasedn", NULL},
    {"ldap", "ldapbinddn", NULL},
    {"ldap", "ldapbindpasswd", NULL},
    {"ldap", "ldapsearchattribute", NULL},
    {"ldap", "ldapsearchfilter", NULL},
};

/* --- reading --------------------------------------------------------------------------- */

struct context {
    const struct weir_line *line;
    struct weir_problems *problems;
};

#define complain(context, ...)                                                                     \
    weir_problem((context)->problems, (context)->line->file, (context)->line->number, __VA_ARGS__)

static struct weir_outside *outside_of(struct weir_hba_rule *rule)
{
    if (rule->outside == NULL) {
        rule->outside = weir_alloc(sizeof(*rule->outside));
        rule->outside->owners = 1;
        rule->outside->method = weir_hba_method_name(rule->method);
    }
    return rule->outside;
}

static void set_if(struct weir_outside *outside, const char *name, const char *value)
{
    if (value != NULL)
        set(outside, name, value);
}

static bool read_url(const struct context *context, struct weir_outside *outside, const char *text)
{
    struct ldap_url url;
    char port[16];
    const char *problem = ldap_url_read(text, &url);
    if (problem != NULL)
        return complain(context, "could not parse LDAP URL \"%s\": %s", text, problem);
    snprintf(port, sizeof(port), "%d", url.port);
    set(outside, "ldapscheme", url.secure ? "ldaps" : "ldap");
    set(outside, "ldapport", port);
    set(outside, "ldapscope", url.scope);
    set_if(outside, "ldapserver", url.host);
    set_if(outside, "ldapbasedn", url.base);
    set_if(outside, "ldapsearchattribute", url.attribute);
    set_if(outside, "ldapsearchfilter", url.filter);
    ldap_url_clear(&url);
    return true;
}

static bool take(const struct context *context, struct weir_hba_rule *rule, size_t row,
                 const char *value)
{
    const char *method = weir_hba_method_name(rule->method);
    if (strcmp(method, table[row].method) != 0)
        return complain(context, "authentication option %s goes with method %s only",
                        table[row].name, table[row].method);
    if (strcmp(table[row].name, "ldapurl") == 0)
        return read_url(context, outside_of(rule), value);
    const char *problem = table[row].check != NULL ? table[row].check(value) : NULL;
    if (problem != NULL)
        return complain(context, "authentication option %s=%s: %s", table[row].name, value,
                        problem);
    set(outside_of(rule), table[row].name, value);
    return true;
}

bool outside_read_option(const struct weir_line *line, struct weir_problems *problems,
                         struct weir_hba_rule *rule, const char *option, bool *good)
{
    const struct context context = {line, problems};
    const char *value = strchr(option, '=');
    size_t length = value != NULL ? (size_t)(value - option) : 0;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (length != strlen(table[i].name) || strncmp(option, table[i].name, length) != 0)
            continue;
        *good = take(&context, rule, i, value + 1);
        return true;
    }
    return false;
}

/* --- what goes together ---------------------------------------------------------------- */

static bool has(const struct weir_outside *outside, const char *name)
{
    return weir_outside_value(outside, name) != NULL;
}

static bool is_given(const struct weir_outside *outside, const char *name)
{
    const char *value = weir_outside_value(outside, name);
    return value != NULL && *value != '\0';
}

static bool check_ldap(const struct context *context, const struct weir_outside *outside)
{
    bool searches = has(outside, "ldapbasedn");
    if (has(outside, "ldapprefix") || has(outside, "ldapsuffix")) {
        if (searches || has(outside, "ldapbinddn") || has(outside, "ldapbindpasswd") ||
            has(outside, "ldapsearchattribute") || has(outside, "ldapsearchfilter"))
            return complain(context,
                            "cannot use ldapbasedn, ldapbinddn, ldapbindpasswd, "
                            "ldapsearchattribute, ldapsearchfilter, or ldapurl together with "
                            "ldapprefix");
    } else if (!searches) {
        return complain(context, "authentication method \"ldap\" requires argument "
                                 "\"ldapbasedn\", \"ldapprefix\", or \"ldapsuffix\" to be set");
    }
    if (has(outside, "ldapsearchattribute") && has(outside, "ldapsearchfilter"))
        return complain(context, "cannot use ldapsearchattribute together with ldapsearchfilter");
    /* The name of a server can be found by that of the base. */
    if (!is_given(outside, "ldapserver") && !is_given(outside, "ldapbasedn"))
        return complain(context, "neither ldapserver nor ldapbasedn is set, so nobody could be "
                                 "asked");
    return true;
}

/* So that a question has room for the longest name and password besides. */
#define TEXT_MAX 65536

static bool check_length(const struct context *context, const struct weir_outside *outside)
{
    size_t length = 0;
    for (size_t i = 0; i < outside->count; i++)
        length += strlen(outside->options[i].value);
    return length <= TEXT_MAX || complain(context, "the authentication options are too long");
}

bool outside_check(const struct weir_line *line, struct weir_problems *problems,
                   struct weir_hba_rule *rule)
{
    const struct context context = {line, problems};
    if (rule->method != WEIR_HBA_PAM && rule->method != WEIR_HBA_LDAP)
        return true;
    struct weir_outside *outside = outside_of(rule);
    /* PostgreSQL's, so that its file means the same here. */
    if (rule->method == WEIR_HBA_PAM && !is_given(outside, "pamservice"))
        set(outside, "pamservice", "postgresql");
    return check_length(&context, outside) &&
           (rule->method != WEIR_HBA_LDAP || check_ldap(&context, outside));
}

/* --- for who comes by any way ---------------------------------------------------------- */

static char *read_text(void *context, const char *path, size_t *length, bool *missing,
                       const char **problem)
{
    const char *text = context;
    *length = strlen(text);
    return weir_strdup(text);
}

/* The words of the one line are taken as they stand in a file of rules, so that quotes mean the same. */
struct weir_hba *weir_hba_for_all(const char *method, const char *options, const char *name,
                                  char **problem)
{
    char *text =
        weir_format("local all,replication all %s %s\nhost all,replication all all %s %s\n", method,
                    options, method, options);
    const struct weir_hba_source source = {.context = text, .read = read_text};
    struct weir_hba *hba = weir_hba_read_from(&source, name, "", problem);
    /* The second line has the same. */
    if (*problem != NULL)
        (*problem)[strcspn(*problem, "\n")] = '\0';
    weir_wipe(text, strlen(text));
    free(text);
    return hba;
}

/* --- who could listen ------------------------------------------------------------------ */

static bool is_loopback(const struct hba_entry *entry)
{
    static const uint8_t own[16] = {[15] = 1};
    if (entry->range != HBA_NET)
        return false;
    if (entry->family == AF_INET)
        return entry->address[0] == 127 && entry->mask[0] == 255;
    static const uint8_t all[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    return memcmp(entry->address, own, 16) == 0 && memcmp(entry->mask, all, 16) == 0;
}

const struct weir_hba_rule *weir_hba_exposing_rule(const struct weir_hba *hba)
{
    for (size_t i = 0; i < hba->count; i++) {
        const struct hba_entry *entry = &hba->items[i];
        bool plain = entry->connection == HBA_HOST || entry->connection == HBA_HOSTNOSSL ||
                     entry->connection == HBA_HOSTNOGSSENC;
        if (entry->rule.outside != NULL && plain && !is_loopback(entry))
            return &entry->rule;
    }
    return NULL;
}

bool weir_hba_asks_outside(const struct weir_hba *hba)
{
    for (size_t i = 0; i < hba->count; i++)
        if (hba->items[i].rule.outside != NULL)
            return true;
    return false;
}

static bool is_exposed(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) &&
           (status.st_mode & (S_IROTH | S_IWOTH)) != 0;
}

const struct weir_hba_rule *weir_hba_exposed_rule(const struct weir_hba *hba)
{
    for (size_t i = 0; i < hba->count; i++) {
        const struct weir_hba_rule *rule = &hba->items[i].rule;
        if (rule->outside != NULL && is_given(rule->outside, "ldapbindpasswd") &&
            is_exposed(rule->file))
            return rule;
    }
    return NULL;
}
