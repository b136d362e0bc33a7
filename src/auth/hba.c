/* From the lines of pg_hba.conf's form to rules. */
#include "weir/hba.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "rules.h"
#include "weir/memory.h"

/* The line that is read, field by field. */
struct parser {
    struct weir_problems *problems;
    const struct weir_line *line;
    size_t next;
};

/* Formats are literal, so that the compiler checks them. */
#define complain(parser, ...)                                                                      \
    weir_problem((parser)->problems, (parser)->line->file, (parser)->line->number, __VA_ARGS__)

static const struct weir_field *next_field(struct parser *parser, const char *what)
{
    if (parser->next < parser->line->count)
        return &parser->line->fields[parser->next++];
    complain(parser, "the line ends before its %s", what);
    return NULL;
}

static const struct weir_word *next_word(struct parser *parser, const char *what)
{
    const struct weir_field *field = next_field(parser, what);
    if (field == NULL)
        return NULL;
    if (field->count == 1)
        return &field->words[0];
    complain(parser, "there is more than one %s", what);
    return NULL;
}

/* --- type of connection ---------------------------------------------------------------- */

static bool read_connection(struct parser *parser, struct hba_entry *entry)
{
    static const char *const words[] = {
        [HBA_LOCAL] = "local",           [HBA_HOST] = "host",
        [HBA_HOSTSSL] = "hostssl",       [HBA_HOSTNOSSL] = "hostnossl",
        [HBA_HOSTGSSENC] = "hostgssenc", [HBA_HOSTNOGSSENC] = "hostnogssenc",
    };
    const struct weir_word *word = next_word(parser, "connection type");
    if (word == NULL)
        return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(word->text, words[i]) == 0) {
            entry->connection = (enum hba_connection)i;
            return true;
        }
    }
    return complain(parser, "invalid connection type \"%s\"", word->text);
}

/* --- names ----------------------------------------------------------------------------- */

bool hba_read_name(const struct weir_word *word, const struct weir_line *line,
                   struct weir_problems *problems, struct hba_name *name)
{
    if (word->text[0] != '/') {
        *name = (struct hba_name){.kind = HBA_NAME, .text = weir_strdup(word->text)};
        return true;
    }
    char *problem = NULL;
    struct weir_pattern *pattern = weir_pattern_compile(word->text + 1, &problem);
    if (pattern == NULL)
        weir_problem(problems, line->file, line->number, "regular expression \"%s\": %s",
                     word->text + 1, problem);
    free(problem);
    *name = (struct hba_name){.kind = HBA_NAME_PATTERN, .pattern = pattern};
    return pattern != NULL;
}

void hba_clear_name(struct hba_name *name)
{
    free(name->text);
    weir_pattern_destroy(name->pattern);
}

static void clear_names(struct hba_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        hba_clear_name(&names->items[i]);
    free(names->items);
}

static bool read_database(struct parser *parser, const struct weir_word *word,
                          struct hba_name *name)
{
    if (weir_word_is(word, "all"))
        name->kind = HBA_NAME_ALL;
    else if (weir_word_is(word, "samerole") || weir_word_is(word, "samegroup"))
        name->kind = HBA_NAME_SAMEROLE;
    else if (weir_word_is(word, "sameuser"))
        name->kind = HBA_NAME_SAMEUSER;
    else if (weir_word_is(word, "replication"))
        name->kind = HBA_NAME_REPLICATION;
    else
        return hba_read_name(word, parser->line, parser->problems, name);
    return true;
}

static bool read_user(struct parser *parser, const struct weir_word *word, struct hba_name *name)
{
    if (!word->quoted && word->text[0] == '+')
        *name = (struct hba_name){.kind = HBA_NAME_MEMBER, .text = weir_strdup(word->text + 1)};
    else if (weir_word_is(word, "all"))
        name->kind = HBA_NAME_ALL;
    else
        return hba_read_name(word, parser->line, parser->problems, name);
    return true;
}

static bool read_names(struct parser *parser, const char *what, struct hba_names *names,
                       bool (*read)(struct parser *parser, const struct weir_word *word,
                                    struct hba_name *name))
{
    const struct weir_field *field = next_field(parser, what);
    if (field == NULL)
        return false;
    names->items = weir_alloc(field->count * sizeof(*names->items));
    names->count = field->count;
    for (size_t i = 0; i < field->count; i++)
        if (!read(parser, &field->words[i], &names->items[i]))
            return false;
    return true;
}

/* --- addresses ------------------------------------------------------------------------- */

/* The bytes of a numeric address; AF_UNSPEC when it is none. Never asks a name server. */
static unsigned char read_numeric(const char *text, uint8_t bytes[16])
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(text, NULL, &hints, &found) != 0)
        return AF_UNSPEC;
    unsigned char family = AF_UNSPEC;
    memset(bytes, 0, 16);
    if (found->ai_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, found->ai_addr, sizeof(four));
        memcpy(bytes, &four.sin_addr, 4);
        family = AF_INET;
    } else if (found->ai_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, found->ai_addr, sizeof(six));
        memcpy(bytes, &six.sin6_addr, 16);
        family = AF_INET6;
    }
    freeaddrinfo(found);
    return family;
}

static bool set_mask(struct hba_entry *entry, const char *text)
{
    long most = entry->family == AF_INET ? 32 : 128;
    char *end = NULL;
    long bits = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || bits < 0 || bits > most)
        return false;
    for (long i = 0; i < bits; i++)
        entry->mask[i / 8] |= (uint8_t)(0x80u >> (i % 8));
    return true;
}

static bool read_mask(struct parser *parser, struct hba_entry *entry)
{
    const struct weir_word *word = next_word(parser, "netmask, and its address has no /bits");
    if (word == NULL)
        return false;
    unsigned char family = read_numeric(word->text, entry->mask);
    if (family == AF_UNSPEC)
        return complain(parser, "invalid IP mask \"%s\"", word->text);
    if (family != entry->family)
        return complain(parser, "address and mask are not of the same kind");
    return true;
}

static bool read_net(struct parser *parser, const struct weir_word *word, struct hba_entry *entry)
{
    const char *slash = strchr(word->text, '/');
    char *host = slash != NULL ? weir_strndup(word->text, (size_t)(slash - word->text))
                               : weir_strdup(word->text);
    entry->family = read_numeric(host, entry->address);
    free(host);
    entry->range = HBA_NET;
    if (entry->family == AF_UNSPEC && slash != NULL)
        return complain(parser, "invalid address \"%s\"", word->text);
    if (entry->family == AF_UNSPEC) {
        entry->range = HBA_HOST_NAME;
        entry->host = weir_strdup(word->text);
        return true;
    }
    if (slash == NULL)
        return read_mask(parser, entry);
    return set_mask(entry, slash + 1) ||
           complain(parser, "invalid CIDR mask in address \"%s\"", word->text);
}

static bool read_address(struct parser *parser, struct hba_entry *entry)
{
    if (entry->connection == HBA_LOCAL)
        return true;
    const struct weir_word *word = next_word(parser, "address");
    if (word == NULL)
        return false;
    if (weir_word_is(word, "all"))
        entry->range = HBA_EVERYWHERE;
    else if (weir_word_is(word, "samehost"))
        entry->range = HBA_SAMEHOST;
    else if (weir_word_is(word, "samenet"))
        entry->range = HBA_SAMENET;
    else
        return read_net(parser, word, entry);
    return true;
}

/* --- methods --------------------------------------------------------------------------- */

#ifdef WEIR_LDAP
#define WITHOUT_LDAP NULL
#else
#define WITHOUT_LDAP "this pgweir was built without LDAP"
#endif
#ifdef WEIR_PAM
#define WITHOUT_PAM NULL
#else
#define WITHOUT_PAM "this pgweir was built without PAM"
#endif

static const struct method {
    const char *name;
    enum weir_hba_method method;
    const char *refused; /* why */
} methods[] = {
    {"trust", WEIR_HBA_TRUST, NULL},
    {"reject", WEIR_HBA_REJECT, NULL},
    {"password", WEIR_HBA_PASSWORD, NULL},
    {"md5", WEIR_HBA_MD5, NULL},
    {"scram-sha-256", WEIR_HBA_SCRAM, NULL},
    {"peer", WEIR_HBA_PEER, NULL},
    {"cert", WEIR_HBA_CERT, NULL},
    {"ident", WEIR_HBA_REJECT, "asking an ident server is not built"},
    {"ldap", WEIR_HBA_LDAP, WITHOUT_LDAP},
    {"pam", WEIR_HBA_PAM, WITHOUT_PAM},
    {"radius", WEIR_HBA_REJECT, "RADIUS is not built"},
    {"gss", WEIR_HBA_REJECT, "GSSAPI is not built"},
    {"sspi", WEIR_HBA_REJECT, "it exists on Windows only"},
    {"bsd", WEIR_HBA_REJECT, "it exists on OpenBSD only"},
    {NULL, WEIR_HBA_REJECT, NULL},
};

const char *weir_hba_method_name(enum weir_hba_method method)
{
    const struct method *each = methods;
    while (each->method != method)
        each++;
    return each->name;
}

static bool read_method(struct parser *parser, struct hba_entry *entry)
{
    const struct weir_word *word = next_word(parser, "authentication method");
    if (word == NULL)
        return false;
    const struct method *method = methods;
    while (method->name != NULL && strcmp(method->name, word->text) != 0)
        method++;
    if (method->name == NULL)
        return complain(parser, "invalid authentication method \"%s\"", word->text);
    /* PostgreSQL takes the one for the other there, too. */
    if (entry->connection == HBA_LOCAL && strcmp(word->text, "ident") == 0) {
        entry->rule.method = WEIR_HBA_PEER;
        return true;
    }
    if (method->refused != NULL)
        return complain(parser, "refused: method %s: %s", method->name, method->refused);
    entry->rule.method = method->method;
    if (entry->rule.method == WEIR_HBA_PEER && entry->connection != HBA_LOCAL)
        return complain(parser, "method peer is for connections of type local only");
    if (entry->rule.method == WEIR_HBA_CERT && entry->connection != HBA_HOSTSSL)
        return complain(parser, "method cert is for connections of type hostssl only");
    if (entry->rule.method == WEIR_HBA_CERT)
        entry->rule.certificate = WEIR_HBA_OF_USER;
    return true;
}

/* --- their options --------------------------------------------------------------------- */

static bool read_map(struct parser *parser, struct hba_entry *entry, const char *value)
{
    if (entry->rule.method != WEIR_HBA_PEER && entry->rule.method != WEIR_HBA_CERT)
        return complain(parser, "authentication option map goes with methods peer and cert only");
    free((char *)(uintptr_t)entry->rule.map);
    entry->rule.map = weir_strdup(value);
    return true;
}

static bool read_client_certificate(struct parser *parser, struct hba_entry *entry,
                                    const char *value)
{
    if (entry->connection != HBA_HOSTSSL)
        return complain(parser, "authentication option clientcert goes with type hostssl only");
    if (strcmp(value, "verify-full") == 0)
        entry->rule.certificate = WEIR_HBA_OF_USER;
    else if (strcmp(value, "verify-ca") != 0)
        return complain(parser, "invalid value for clientcert: \"%s\"", value);
    else if (entry->rule.method == WEIR_HBA_CERT)
        return complain(parser, "method cert goes with clientcert=verify-full only");
    else
        entry->rule.certificate = WEIR_HBA_SHOWN;
    return true;
}

static bool read_client_name(struct parser *parser, struct hba_entry *entry, const char *value)
{
    if (entry->connection != HBA_HOSTSSL)
        return complain(parser, "authentication option clientname goes with type hostssl only");
    if (strcmp(value, "CN") != 0 && strcmp(value, "DN") != 0)
        return complain(parser, "invalid value for clientname: \"%s\"", value);
    entry->rule.by_subject = value[0] == 'D';
    return true;
}

static bool read_option(struct parser *parser, struct hba_entry *entry, const char *option)
{
    static const struct {
        const char *name;
        bool (*read)(struct parser *parser, struct hba_entry *entry, const char *value);
    } options[] = {
        {"map", read_map},
        {"clientcert", read_client_certificate},
        {"clientname", read_client_name},
    };
    const char *value = strchr(option, '=');
    if (value == NULL)
        return complain(parser, "authentication option \"%s\" is not in the form name=value",
                        option);
    size_t length = (size_t)(value - option);
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (strlen(options[i].name) == length && strncmp(option, options[i].name, length) == 0)
            return options[i].read(parser, entry, value + 1);
    return complain(parser, "unknown authentication option \"%s\" for method %s", option,
                    weir_hba_method_name(entry->rule.method));
}

static bool read_options(struct parser *parser, struct hba_entry *entry)
{
    for (; parser->next < parser->line->count; parser->next++) {
        const struct weir_field *field = &parser->line->fields[parser->next];
        for (size_t i = 0; i < field->count; i++) {
            const char *option = field->words[i].text;
            bool good;
            if (!outside_read_option(parser->line, parser->problems, &entry->rule, option, &good))
                good = read_option(parser, entry, option);
            if (!good)
                return false;
        }
    }
    return outside_check(parser->line, parser->problems, &entry->rule);
}

/* --- the whole ------------------------------------------------------------------------- */

static void clear_entry(struct hba_entry *entry)
{
    free((char *)(uintptr_t)entry->rule.map);
    free(entry->host);
    weir_outside_release(entry->rule.outside);
    clear_names(&entry->databases);
    clear_names(&entry->users);
}

static bool read_entry(const struct weir_line *line, struct hba_entry *entry,
                       struct weir_problems *problems)
{
    struct parser parser = {.problems = problems, .line = line};
    entry->rule.file = line->file;
    entry->rule.line = line->number;
    return read_connection(&parser, entry) &&
           read_names(&parser, "database", &entry->databases, read_database) &&
           read_names(&parser, "user", &entry->users, read_user) && read_address(&parser, entry) &&
           read_method(&parser, entry) && read_options(&parser, entry);
}

static void read_rules(struct weir_hba *hba, const struct weir_hba_source *source, const char *path,
                       struct weir_problems *problems)
{
    struct weir_lines lines = {0};
    weir_lines_read(&lines, source, path, problems);
    hba->items = weir_alloc((lines.count + 1) * sizeof(*hba->items));
    for (size_t i = 0; i < lines.count; i++) {
        struct hba_entry entry = {0};
        if (read_entry(&lines.items[i], &entry, problems)) {
            hba->needs_interfaces =
                hba->needs_interfaces || entry.range == HBA_SAMEHOST || entry.range == HBA_SAMENET;
            hba->items[hba->count++] = entry;
        } else {
            clear_entry(&entry);
        }
    }
    hba->files = weir_lines_take_files(&lines, &hba->file_count);
    weir_lines_clear(&lines);
    if (hba->count == 0 && problems->count == 0)
        weir_problem(problems, path, 0, "there is no rule in it, so nobody could log in");
}

struct weir_hba *weir_hba_read_from(const struct weir_hba_source *source, const char *hba_file,
                                    const char *ident_file, char **problem)
{
    struct weir_problems problems = {0};
    struct weir_hba *hba = weir_alloc(sizeof(*hba));
    hba->owners = 1;
    read_rules(hba, source, hba_file, &problems);
    if (*ident_file != '\0')
        ident_read(&hba->ident, source, ident_file, &problems);
    *problem = weir_problems_take(&problems);
    if (*problem == NULL)
        return hba;
    weir_hba_release(hba);
    return NULL;
}

static char *read_file(void *context, const char *path, size_t *length, bool *missing,
                       const char **problem)
{
    return weir_auth_file_read(path, 0, length, missing, problem);
}

static char **list_files(void *context, const char *path, size_t *count, const char **problem)
{
    return weir_auth_file_list(path, count, problem);
}

struct weir_hba *weir_hba_read(const char *hba_file, const char *ident_file, char **problem)
{
    static const struct weir_hba_source source = {.read = read_file, .list = list_files};
    return weir_hba_read_from(&source, hba_file, ident_file, problem);
}

struct weir_hba *weir_hba_share(struct weir_hba *hba)
{
    hba->owners++;
    return hba;
}

void weir_hba_release(struct weir_hba *hba)
{
    if (hba == NULL || --hba->owners > 0)
        return;
    for (size_t i = 0; i < hba->count; i++)
        clear_entry(&hba->items[i]);
    free(hba->items);
    for (size_t i = 0; i < hba->file_count; i++)
        free(hba->files[i]);
    free(hba->files);
    ident_clear(&hba->ident);
    for (size_t i = 0; i < SYSTEM_USERS_MAX; i++)
        free(hba->system_users[i].name);
    free(hba);
}

size_t weir_hba_count(const struct weir_hba *hba)
{
    return hba->count;
}

bool weir_hba_needs_interfaces(const struct weir_hba *hba)
{
    return hba->needs_interfaces;
}

const struct weir_hba_rule *weir_hba_certificate_rule(const struct weir_hba *hba)
{
    for (size_t i = 0; i < hba->count; i++)
        if (hba->items[i].rule.certificate != WEIR_HBA_NOT_ASKED)
            return &hba->items[i].rule;
    return NULL;
}

static bool has_kind(const struct hba_names *names, enum hba_name_kind kind)
{
    for (size_t i = 0; i < names->count; i++)
        if (names->items[i].kind == kind)
            return true;
    return false;
}

const struct weir_hba_rule *weir_hba_role_rule(const struct weir_hba *hba)
{
    for (size_t i = 0; i < hba->count; i++)
        if (has_kind(&hba->items[i].users, HBA_NAME_MEMBER) ||
            has_kind(&hba->items[i].databases, HBA_NAME_SAMEROLE))
            return &hba->items[i].rule;
    return NULL;
}

const struct weir_hba_rule *weir_hba_host_rule(const struct weir_hba *hba)
{
    for (size_t i = 0; i < hba->count; i++)
        if (hba->items[i].range == HBA_HOST_NAME)
            return &hba->items[i].rule;
    return NULL;
}
