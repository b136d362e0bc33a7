/* The right side of a [databases] line: a DSN as libpq takes it, mixed with pool settings. libpq
 * parses the DSN (PQconninfoParse reads neither environment nor service files), so that its names
 * and its rules for URIs hold; what they mean for a pooler is decided here. */

#include <ctype.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "snapshot.h"
#include "value.h"
#include "weir/libpq.h"
#include "weir/memory.h"

#define DEFAULT_PORT 5432

/* One line while it is read. */
struct line {
    struct weir_apply *apply;
    struct weir_database *database;
    char *owner;            /* "database shop", for messages */
    struct weir_buffer dsn; /* what is left for libpq */
    char *host;
    char *hostaddr;
    char *port;
};

static void complain(const struct line *line, const char *name, const char *text)
{
    char *subject =
        name == NULL ? weir_strdup(line->owner) : weir_format("%s: %s", line->owner, name);
    weir_messages_problem(line->apply->messages, line->database->where, subject, "%s", text);
    free(subject);
}

static void warn(const struct line *line, const char *name, const char *text)
{
    char *subject = weir_format("%s: %s", line->owner, name);
    weir_messages_warning(line->apply->messages, line->database->where, subject, "%s", text);
    free(subject);
}

/* --- libpq's keywords ------------------------------------------------------------------ */

enum keyword_action {
    ACTION_TEXT,    /* kept as it is, in the field at `offset` of struct weir_database */
    ACTION_PLACE,   /* likewise, of struct line */
    ACTION_REFUSE,  /* unless the value is listed */
    ACTION_TIMEOUT, /* connect_timeout */
    ACTION_ATTRS,   /* target_session_attrs */
};

struct keyword {
    const char *name;
    enum keyword_action action;
    size_t offset;
    const char *harmless; /* comma list */
    const char *reason;
};

static const struct keyword keywords[] = {
    {"host", ACTION_PLACE, offsetof(struct line, host), NULL, NULL},
    {"hostaddr", ACTION_PLACE, offsetof(struct line, hostaddr), NULL, NULL},
    {"port", ACTION_PLACE, offsetof(struct line, port), NULL, NULL},
    {"dbname", ACTION_TEXT, offsetof(struct weir_database, dbname), NULL, NULL},
    {"user", ACTION_TEXT, offsetof(struct weir_database, user), NULL, NULL},
    {"password", ACTION_TEXT, offsetof(struct weir_database, password), NULL, NULL},
    {"options", ACTION_TEXT, offsetof(struct weir_database, options), NULL, NULL},
    {"client_encoding", ACTION_TEXT, offsetof(struct weir_database, client_encoding), NULL, NULL},
    /* The order matters: application_name comes after its fallback and replaces it. */
    {"fallback_application_name", ACTION_TEXT, offsetof(struct weir_database, application_name),
     NULL, NULL},
    {"application_name", ACTION_TEXT, offsetof(struct weir_database, application_name), NULL, NULL},
    {"connect_timeout", ACTION_TIMEOUT, 0, NULL, NULL},
    {"target_session_attrs", ACTION_ATTRS, 0, NULL, NULL},
    {"sslmode", ACTION_TEXT, offsetof(struct weir_database, tls.sslmode), NULL, NULL},
    {"sslrootcert", ACTION_TEXT, offsetof(struct weir_database, tls.sslrootcert), NULL, NULL},
    {"sslcert", ACTION_TEXT, offsetof(struct weir_database, tls.sslcert), NULL, NULL},
    {"sslkey", ACTION_TEXT, offsetof(struct weir_database, tls.sslkey), NULL, NULL},
    {"sslcrl", ACTION_TEXT, offsetof(struct weir_database, tls.sslcrl), NULL, NULL},
    {"ssl_min_protocol_version", ACTION_TEXT,
     offsetof(struct weir_database, tls.ssl_min_protocol_version), NULL, NULL},
    {"ssl_max_protocol_version", ACTION_TEXT,
     offsetof(struct weir_database, tls.ssl_max_protocol_version), NULL, NULL},
    {"sslsni", ACTION_TEXT, offsetof(struct weir_database, tls.sslsni), NULL, NULL},
    {"channel_binding", ACTION_TEXT, offsetof(struct weir_database, tls.channel_binding), NULL,
     NULL},
    {"sslpassword", ACTION_REFUSE, 0, "",
     "refused: keys with a passphrase are not read; store the key without one, readable by the "
     "daemon only"},
    {"sslcrldir", ACTION_REFUSE, 0, "", "refused: folders of revocations are not read; use sslcrl"},
    {"gssencmode", ACTION_REFUSE, 0, "disable,prefer",
     "refused: server connections cannot use GSSAPI encryption"},
    {"requirepeer", ACTION_REFUSE, 0, "", "refused: the server's system user cannot be checked"},
    {"service", ACTION_REFUSE, 0, "", "refused: service files are not read; write the DSN here"},
    {"passfile", ACTION_REFUSE, 0, "", "refused: password files are not read"},
    {"replication", ACTION_REFUSE, 0, "false,off,no,0",
     "refused: clients ask for replication themselves"},
};

/* NULL: known to libpq, but without effect here. */
static const struct keyword *find_keyword(const char *name)
{
    for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
        if (strcmp(keywords[i].name, name) == 0)
            return &keywords[i];
    }
    return NULL;
}

static void replace(void *object, size_t offset, const char *value)
{
    char **field = (char **)(void *)((char *)object + offset);
    weir_free_secret(*field);
    *field = weir_strdup(value);
}

/* libpq's value is whole seconds, and none or less is without limit. */
static void take_timeout(struct line *line, const char *value)
{
    const char *digits = *value == '-' ? "0" : value;
    weir_apply_setting(line->apply, &line->database->overrides->level, line->database->where,
                       line->owner, "server_connect_timeout", digits);
}

static void take_session_attrs(struct line *line, const char *value)
{
    static const struct weir_setting_word words[] = {
        {"any", WEIR_ATTRS_ANY},
        {"read-write", WEIR_ATTRS_READ_WRITE},
        {"read-only", WEIR_ATTRS_READ_ONLY},
        {"primary", WEIR_ATTRS_PRIMARY},
        {"standby", WEIR_ATTRS_STANDBY},
        {"prefer-standby", WEIR_ATTRS_PREFER_STANDBY},
        {NULL, 0},
    };
    int attrs = WEIR_ATTRS_ANY;
    char *problem = weir_value_read_word(value, words, &attrs);
    if (problem != NULL)
        complain(line, "target_session_attrs", problem);
    free(problem);
    line->database->session_attrs = (enum weir_session_attrs)attrs;
}

static void take_keyword(struct line *line, const struct keyword *keyword, const char *value)
{
    switch (keyword->action) {
    case ACTION_TEXT:
        replace(line->database, keyword->offset, value);
        break;
    case ACTION_PLACE:
        replace(line, keyword->offset, value);
        break;
    case ACTION_REFUSE:
        if (!weir_value_is_listed(keyword->harmless, value))
            complain(line, keyword->name, keyword->reason);
        break;
    case ACTION_TIMEOUT:
        take_timeout(line, value);
        break;
    case ACTION_ATTRS:
        take_session_attrs(line, value);
        break;
    }
}

/* What libpq says may repeat a part of the text, and that may be a password: what follows the first
 * quotation is cut, unless it quotes a name. */
static void complain_libpq(const struct line *line, char *error)
{
    char *quotation = strchr(error, '"');
    bool names = strstr(error, "connection option") != NULL ||
                 strstr(error, "URI query parameter") == error + strlen("invalid ");
    if (quotation != NULL && !names) {
        while (quotation > error && (quotation[-1] == ' ' || quotation[-1] == ':'))
            quotation--;
        *quotation = '\0';
    }
    error[strcspn(error, "\n")] = '\0';
    complain(line, NULL, error);
}

static void take_options(struct line *line, PQconninfoOption *options)
{
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++) {
        if (option->val != NULL && find_keyword(option->keyword) == NULL)
            warn(line, option->keyword, "ignored: it has no effect on pgweir's connections");
    }
    for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
        for (const PQconninfoOption *option = options; option->keyword != NULL; option++) {
            if (option->val != NULL && strcmp(option->keyword, keywords[i].name) == 0)
                take_keyword(line, &keywords[i], option->val);
        }
    }
    for (PQconninfoOption *option = options; option->keyword != NULL; option++) {
        if (option->val != NULL)
            weir_wipe(option->val, strlen(option->val));
    }
}

static void take_dsn(struct line *line, const char *dsn)
{
    const struct weir_libpq *libpq = weir_libpq_hold();
    if (libpq == NULL) {
        complain(line, NULL, "libpq.so.5, which parses DSNs, cannot be loaded");
        return;
    }
    char *error = NULL;
    PQconninfoOption *options = libpq->parse(dsn, &error);
    if (options != NULL) {
        take_options(line, options);
        libpq->free_options(options);
    } else {
        char *copy = weir_strdup(error != NULL ? error : "out of memory");
        complain_libpq(line, copy);
        free(copy);
        libpq->free_text(error);
    }
    weir_libpq_drop();
}

/* --- PgBouncer's keys ------------------------------------------------------------------ */

/* datestyle and timezone are session settings: they go into the startup packet's options. */
static void add_option(struct line *line, const char *name, const char *value)
{
    struct weir_buffer text = {0};
    const char *before = line->database->options;
    if (before != NULL)
        weir_require(weir_buffer_append(&text, before, strlen(before)));
    char *start = weir_format("%s-c %s=", before == NULL || *before == '\0' ? "" : " ", name);
    weir_require(weir_buffer_append(&text, start, strlen(start)));
    for (; *value != '\0'; value++) {
        bool escape = isspace((unsigned char)*value) || *value == '\\';
        weir_require((!escape || weir_buffer_append(&text, "\\", 1)) &&
                     weir_buffer_append(&text, value, 1));
    }
    char *options = weir_strndup((const char *)weir_buffer_bytes(&text), weir_buffer_length(&text));
    replace(line->database, offsetof(struct weir_database, options), options);
    free(options);
    free(start);
    weir_buffer_clear(&text);
}

static bool is_session_setting(const char *name)
{
    return strcasecmp(name, "datestyle") == 0 || strcasecmp(name, "timezone") == 0;
}

/* require_auth is of newer libpq than the one this may be built with, and it may not be ignored. */
static bool is_newer_keyword(const char *name)
{
    return strcmp(name, "require_auth") == 0 || strcmp(name, "sslnegotiation") == 0 ||
           strcmp(name, "sslcertmode") == 0;
}

/* True for a keyword that this libpq knows. */
static bool is_libpq_keyword(const char *name)
{
    const struct weir_libpq *libpq = weir_libpq_hold();
    if (libpq == NULL)
        return false;
    bool known = false;
    PQconninfoOption *options = libpq->parse("", NULL);
    for (const PQconninfoOption *option = options; option != NULL && option->keyword != NULL;
         option++)
        known = known || strcmp(option->keyword, name) == 0;
    libpq->free_options(options);
    weir_libpq_drop();
    return known;
}

static void take_token(struct line *line, const struct weir_token *token)
{
    const char *where = line->database->where;
    /* `user` is a setting of the process and a keyword of the DSN; here it is the latter. */
    bool own = find_keyword(token->name) == NULL;
    if (is_session_setting(token->name))
        return;
    /* Past libpq, as in URIs. */
    if (strcmp(token->name, "password") == 0)
        replace(line->database, offsetof(struct weir_database, password), token->value);
    else if (is_newer_keyword(token->name))
        complain(line, token->name, "refused: it is not built");
    else if (own && weir_apply_setting(line->apply, &line->database->overrides->level, where,
                                       line->owner, token->name, token->value))
        return;
    else if (!own || is_libpq_keyword(token->name))
        weir_token_append(&line->dsn, token->name, token->value);
    else
        weir_apply_unknown(line->apply, WEIR_SCOPE_DATABASE, where, line->owner, token->name);
}

/* --- hosts ----------------------------------------------------------------------------- */

static size_t count_items(const char *list)
{
    size_t count = 1;
    for (; *list != '\0'; list++)
        count += *list == ',';
    return count;
}

/* The item at `index` of a comma list, the only one for every index, "" without a list. */
static char *list_item(const char *list, size_t index)
{
    if (list == NULL)
        return weir_strdup("");
    if (count_items(list) > 1) {
        while (index-- > 0)
            list += strcspn(list, ",") + 1;
    }
    return weir_strndup(list, strcspn(list, ","));
}

static bool is_numeric_address(const char *text)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct addrinfo *result = NULL;
    if (getaddrinfo(text, NULL, &hints, &result) != 0)
        return false;
    freeaddrinfo(result);
    return true;
}

static int read_port(const struct line *line, size_t index)
{
    int port = DEFAULT_PORT;
    char *text = list_item(line->port, index);
    char *problem = *text == '\0' ? NULL : weir_value_read_int(text, 1, 65535, &port);
    if (problem != NULL)
        complain(line, "port", problem);
    free(problem);
    free(text);
    return port;
}

static char *read_host(const struct line *line, size_t index)
{
    char *address = list_item(line->hostaddr, index);
    if (*address == '\0') {
        free(address);
        return list_item(line->host, index);
    }
    if (!is_numeric_address(address))
        complain(line, "hostaddr", "not a numeric address (names go in host)");
    return address;
}

/* As libpq: hostaddr pairs with host, and one port serves for all hosts. */
static void settle_hosts(struct line *line)
{
    const char *leading = line->hostaddr != NULL && *line->hostaddr != '\0' ? line->hostaddr
                          : line->host != NULL                              ? line->host
                                                                            : "";
    size_t count = count_items(leading);
    if (line->host != NULL && *line->host != '\0' && count_items(line->host) != count) {
        complain(line, "hostaddr", "host and hostaddr differ in their number of items");
        return;
    }
    size_t ports = line->port == NULL ? 1 : count_items(line->port);
    if (ports != 1 && ports != count) {
        complain(line, "port", "there must be one port, or as many as hosts");
        return;
    }
    struct weir_database *database = line->database;
    database->hosts = weir_alloc(count * sizeof(*database->hosts));
    database->host_count = count;
    for (size_t i = 0; i < count; i++) {
        database->hosts[i].host = read_host(line, i);
        database->hosts[i].port = read_port(line, i);
        database->hosts[i].name = list_item(line->host, i);
    }
}

/* --- the line -------------------------------------------------------------------------- */

static int hexadecimal(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return isxdigit((unsigned char)digit) ? tolower((unsigned char)digit) - 'a' + 10 : -1;
}

/* In place. False: it is not well formed. */
static bool decode_percents(char *text)
{
    char *out = text;
    for (; *text != '\0'; text++) {
        if (*text != '%') {
            *out++ = *text;
            continue;
        }
        int high = hexadecimal(text[1]), low = high < 0 ? -1 : hexadecimal(text[2]);
        if (low < 0 || high + low == 0)
            return false;
        *out++ = (char)(high * 16 + low);
        text += 2;
    }
    *out = '\0';
    return true;
}

/* What libpq parses stays in its memory as it is, so the password goes past it: user:PASSWORD@. One
 * that is not well formed is left for libpq to complain of. */
static void take_uri_password(struct line *line, char *uri)
{
    char *begin = strstr(uri, "://") + 3;
    char *end = begin + strcspn(begin, "@/");
    char *colon = *end == '@' ? memchr(begin, ':', (size_t)(end - begin)) : NULL;
    if (colon == NULL)
        return;
    size_t length = (size_t)(end - colon) - 1;
    char *password = weir_strndup(colon + 1, length);
    if (decode_percents(password)) {
        replace(line->database, offsetof(struct weir_database, password), password);
        memmove(colon, end, strlen(end) + 1);
    }
    weir_wipe(password, length);
    free(password);
}

/* A URI ends at the first space; pool settings may follow. */
static const char *take_uri(struct line *line, const char *value)
{
    if (strncmp(value, "postgresql://", 13) != 0 && strncmp(value, "postgres://", 11) != 0)
        return value;
    size_t length = 0;
    while (value[length] != '\0' && !isspace((unsigned char)value[length]))
        length++;
    char *uri = weir_strndup(value, length);
    take_uri_password(line, uri);
    take_dsn(line, uri);
    weir_wipe(uri, length);
    free(uri);
    return value + length;
}

static void take_tokens(struct line *line, const char *value)
{
    bool backslash = !line->apply->conf->pgbouncer_file;
    const char *problem = NULL;
    const char *cursor = value;
    struct weir_token token;
    enum weir_token_result result;
    while ((result = weir_token_next(&cursor, backslash, &token, &problem)) == WEIR_TOKEN_GOOD) {
        take_token(line, &token);
        weir_token_clear(&token);
    }
    if (result == WEIR_TOKEN_BAD)
        complain(line, NULL, problem);
    if (weir_buffer_length(&line->dsn) > 0) {
        weir_require(weir_buffer_append(&line->dsn, "", 1));
        take_dsn(line, (const char *)weir_buffer_bytes(&line->dsn));
    }
    /* After `options`, to which they are added. */
    cursor = value;
    while (weir_token_next(&cursor, backslash, &token, &problem) == WEIR_TOKEN_GOOD) {
        if (is_session_setting(token.name))
            add_option(line, token.name, token.value);
        weir_token_clear(&token);
    }
}

/* libpq takes an empty text as none. */
static void drop_empty(char **field)
{
    if (*field != NULL && **field == '\0') {
        free(*field);
        *field = NULL;
    }
}

void weir_database_read(struct weir_apply *apply, struct weir_database *database, const char *value)
{
    struct line line = {.apply = apply, .database = database, .dsn.secret = true};
    line.owner = weir_format("database %s", database->name);
    take_tokens(&line, take_uri(&line, value));
    settle_hosts(&line);
    drop_empty(&database->dbname);
    drop_empty(&database->user);
    drop_empty(&database->password);
    drop_empty(&database->application_name);
    drop_empty(&database->options);
    drop_empty(&database->client_encoding);
    free(line.owner);
    free(line.host);
    free(line.hostaddr);
    free(line.port);
    weir_buffer_clear(&line.dsn);
}
