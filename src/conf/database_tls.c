/* TLS towards servers: libpq's keywords of a [databases] line, the global settings behind them, and
 * the context that comes of both. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "snapshot.h"
#include "value.h"
#include "weir/memory.h"
#include "weir/tls.h"

const struct weir_setting_word weir_sslmode_words[] = {
    {"disable", WEIR_SSLMODE_DISABLE},
    {"allow", WEIR_SSLMODE_ALLOW},
    {"prefer", WEIR_SSLMODE_PREFER},
    {"require", WEIR_SSLMODE_REQUIRE},
    {"verify-ca", WEIR_SSLMODE_VERIFY_CA},
    {"verify-full", WEIR_SSLMODE_VERIFY_FULL},
    {NULL, 0},
};

static const struct weir_setting_word binding_words[] = {
    {"disable", WEIR_BINDING_DISABLE},
    {"prefer", WEIR_BINDING_PREFER},
    {"require", WEIR_BINDING_REQUIRE},
    {NULL, 0},
};

static const char *const protocol_words[] = {"tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3"};
#define PROTOCOL_COUNT  (sizeof(protocol_words) / sizeof(protocol_words[0]))
#define LIBPQ_LOWEST    2 /* of protocol_words */
#define PROTOCOLS_BYTES 64

const struct weir_database_tls_word weir_database_tls_words[] = {
    {"sslmode", offsetof(struct weir_database_tls, sslmode)},
    {"sslrootcert", offsetof(struct weir_database_tls, sslrootcert)},
    {"sslcert", offsetof(struct weir_database_tls, sslcert)},
    {"sslkey", offsetof(struct weir_database_tls, sslkey)},
    {"sslcrl", offsetof(struct weir_database_tls, sslcrl)},
    {"ssl_min_protocol_version", offsetof(struct weir_database_tls, ssl_min_protocol_version)},
    {"ssl_max_protocol_version", offsetof(struct weir_database_tls, ssl_max_protocol_version)},
    {"sslsni", offsetof(struct weir_database_tls, sslsni)},
    {"channel_binding", offsetof(struct weir_database_tls, channel_binding)},
    {NULL, 0},
};

static char **field_of(const struct weir_database_tls *tls,
                       const struct weir_database_tls_word *word)
{
    return (char **)(void *)((char *)(uintptr_t)tls + word->offset);
}

const char *weir_database_tls_text(const struct weir_database_tls *tls,
                                   const struct weir_database_tls_word *word)
{
    return *field_of(tls, word);
}

void weir_database_tls_clear(struct weir_database_tls *tls)
{
    for (const struct weir_database_tls_word *word = weir_database_tls_words; word->name != NULL;
         word++)
        free(*field_of(tls, word));
    weir_tls_context_release(tls->context);
    *tls = (struct weir_database_tls){0};
}

/* --- what holds ------------------------------------------------------------------------ */

static void complain(struct weir_apply *apply, const struct weir_database *database,
                     const char *name, const char *text)
{
    char *subject = weir_format("database %s%s%s", database->name, name == NULL ? "" : ": ",
                                name == NULL ? "" : name);
    weir_messages_problem(apply->messages, database->where, subject, "%s", text);
    free(subject);
}

static int read_word(struct weir_apply *apply, const struct weir_database *database,
                     const char *name, const char *text, const struct weir_setting_word *words,
                     int value)
{
    char *problem = text == NULL ? NULL : weir_value_read_word(text, words, &value);
    if (problem != NULL)
        complain(apply, database, name, problem);
    free(problem);
    return value;
}

static bool is_system(const char *file)
{
    return file != NULL && strcmp(file, "system") == 0;
}

/* A socket file, where TLS is never spoken. */
static bool is_local(const struct weir_conf_host *host)
{
    return host->host[0] == '\0' || host->host[0] == '/' || host->host[0] == '@';
}

static void check_names(struct weir_apply *apply, const struct weir_database *database)
{
    for (size_t i = 0; i < database->host_count; i++) {
        if (is_local(&database->hosts[i]) || database->hosts[i].name[0] != '\0')
            continue;
        complain(apply, database, "host",
                 "verify-full needs the name that the certificate must be for, besides hostaddr");
        return;
    }
}

void weir_database_tls_settle(struct weir_apply *apply, struct weir_database *database)
{
    struct weir_database_tls *tls = &database->tls;
    for (const struct weir_database_tls_word *word = weir_database_tls_words; word->name != NULL;
         word++) {
        char **field = field_of(tls, word);
        if (*field != NULL && **field == '\0') {
            free(*field);
            *field = NULL;
        }
    }
    /* As libpq: the system's authorities sign for everybody, so that only the name tells. */
    int usual = is_system(tls->sslrootcert) ? (int)WEIR_SSLMODE_VERIFY_FULL
                                            : (int)apply->conf->server_tls_sslmode;
    tls->mode = (enum weir_sslmode)read_word(apply, database, "sslmode", tls->sslmode,
                                             weir_sslmode_words, usual);
    tls->binding = (enum weir_channel_binding)read_word(apply, database, "channel_binding",
                                                        tls->channel_binding, binding_words,
                                                        (int)WEIR_BINDING_PREFER);
    if (is_system(tls->sslrootcert) && tls->mode != WEIR_SSLMODE_VERIFY_FULL)
        complain(apply, database, "sslmode", "sslrootcert=system goes with verify-full only");
    if (tls->mode == WEIR_SSLMODE_VERIFY_FULL)
        check_names(apply, database);
    if (tls->binding == WEIR_BINDING_REQUIRE && tls->mode == WEIR_SSLMODE_DISABLE)
        complain(apply, database, "channel_binding", "require needs TLS, and sslmode is disable");
    if (tls->sslsni != NULL && !weir_value_is_listed("0,1", tls->sslsni))
        complain(apply, database, "sslsni", "0 or 1");
}

/* --- contexts -------------------------------------------------------------------------- */

/* Lines that want the same share one context, and one complaint. */
struct made {
    char *key;
    struct weir_tls_context *context; /* NULL: it cannot be made */
};

struct making {
    struct weir_apply *apply;
    struct made *made;
    size_t count;
};

/* Index of a word like "TLSv1.2" ("TLSv1" is 1.0); PROTOCOL_COUNT: none. */
static size_t find_protocol(const char *text)
{
    size_t i = 0;
    if (strcasecmp(text, "TLSv1") == 0)
        return 0;
    while (i < PROTOCOL_COUNT && (i == 0 || strcasecmp(text, protocol_words[i]) != 0))
        i++;
    return i;
}

/* False: complained. */
static bool read_protocols(struct weir_apply *apply, const struct weir_database *database,
                           char text[PROTOCOLS_BYTES])
{
    const struct weir_database_tls *tls = &database->tls;
    const char *low = tls->ssl_min_protocol_version, *high = tls->ssl_max_protocol_version;
    size_t first = low == NULL ? LIBPQ_LOWEST : find_protocol(low);
    size_t last = high == NULL ? PROTOCOL_COUNT - 1 : find_protocol(high);
    text[0] = '\0';
    if (first == PROTOCOL_COUNT || last == PROTOCOL_COUNT) {
        complain(apply, database,
                 first == PROTOCOL_COUNT ? "ssl_min_protocol_version" : "ssl_max_protocol_version",
                 "TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3");
        return false;
    }
    if (first > last) {
        complain(apply, database, "ssl_max_protocol_version",
                 "is below ssl_min_protocol_version (TLSv1.2 unless it is set)");
        return false;
    }
    /* A piece of the list of all: the words are of one length. */
    static const char all[] = "tlsv1.0,tlsv1.1,tlsv1.2,tlsv1.3";
    size_t word = strlen(protocol_words[0]) + 1;
    snprintf(text, PROTOCOLS_BYTES, "%.*s", (int)((last - first + 1) * word - 1),
             &all[first * word]);
    return true;
}

static enum weir_tls_verify verify_of(const struct weir_database_tls *tls)
{
    if (tls->mode == WEIR_SSLMODE_VERIFY_FULL)
        return WEIR_TLS_VERIFY_HOST;
    /* libpq verifies whenever it knows authorities. PgBouncer's file does not have that effect. */
    if (tls->mode == WEIR_SSLMODE_VERIFY_CA || tls->sslrootcert != NULL)
        return WEIR_TLS_VERIFY_CA;
    return WEIR_TLS_VERIFY_NONE;
}

static const char *or_else(const char *own, bool behind, const char *global)
{
    if (own != NULL)
        return own;
    return behind ? global : NULL;
}

/* False: complained. */
static bool make_options(struct weir_apply *apply, const struct weir_database *database,
                         struct weir_tls_options *options, char protocols[PROTOCOLS_BYTES])
{
    const struct weir_conf *conf = apply->conf;
    const struct weir_database_tls *tls = &database->tls;
    bool behind = tls->sslmode == NULL;
    bool own_pair = tls->sslcert != NULL || tls->sslkey != NULL;
    *options = (struct weir_tls_options){
        .verify = verify_of(tls),
        .certificate_file =
            own_pair ? tls->sslcert : or_else(NULL, behind, conf->server_tls_cert_file),
        .key_file = own_pair ? tls->sslkey : or_else(NULL, behind, conf->server_tls_key_file),
        .ciphers = or_else(NULL, behind, conf->server_tls_ciphers),
        .suites = or_else(NULL, behind, conf->server_tls13_ciphers),
        .without_sni = tls->sslsni != NULL && strcmp(tls->sslsni, "0") == 0,
    };
    if (options->verify != WEIR_TLS_VERIFY_NONE) {
        options->ca_file = or_else(tls->sslrootcert, behind, conf->server_tls_ca_file);
        options->crl_file = tls->sslcrl;
    }
    options->protocols = conf->server_tls_protocols;
    if (behind && tls->ssl_min_protocol_version == NULL && tls->ssl_max_protocol_version == NULL)
        return true;
    options->protocols = protocols;
    return read_protocols(apply, database, protocols);
}

/* The name of the word or setting whose value the problem quotes; NULL: of none. */
static const char *blamed(const struct weir_database_tls *tls, const struct weir_conf *conf,
                          const char *problem, bool *global)
{
    const struct {
        const char *name, *value;
        bool global;
    } words[] = {
        {"sslkey", tls->sslkey, false},
        {"sslcert", tls->sslcert, false},
        {"sslrootcert", tls->sslrootcert, false},
        {"sslcrl", tls->sslcrl, false},
        {"server_tls_key_file", conf->server_tls_key_file, true},
        {"server_tls_cert_file", conf->server_tls_cert_file, true},
        {"server_tls_ca_file", conf->server_tls_ca_file, true},
        {"server_tls_protocols", conf->server_tls_protocols, true},
        {"server_tls_ciphers", conf->server_tls_ciphers, true},
        {"server_tls13_ciphers", conf->server_tls13_ciphers, true},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (words[i].value == NULL || words[i].value[0] == '\0')
            continue;
        char *quoted = weir_format("\"%s\"", words[i].value);
        bool found = strstr(problem, quoted) != NULL;
        free(quoted);
        *global = words[i].global;
        if (found)
            return words[i].name;
    }
    *global = false;
    return NULL;
}

static void complain_context(struct weir_apply *apply, const struct weir_database *database,
                             const char *problem)
{
    bool global;
    const char *name = blamed(&database->tls, apply->conf, problem, &global);
    const char *where = global ? weir_conf_where(apply->conf, name) : NULL;
    if (where != NULL)
        weir_messages_problem(apply->messages, where, name, "%s", problem);
    else
        complain(apply, database, name, problem);
}

static struct weir_tls_context *get_context(struct making *making,
                                            const struct weir_database *database,
                                            const struct weir_tls_options *options)
{
#define OR_EMPTY(text) ((text) == NULL ? "" : (text))
    char *key = weir_format("%d\n%d\n%s\n%s\n%s\n%s\n%s\n%s\n%s", (int)options->verify,
                            options->without_sni, OR_EMPTY(options->certificate_file),
                            OR_EMPTY(options->key_file), OR_EMPTY(options->ca_file),
                            OR_EMPTY(options->crl_file), OR_EMPTY(options->protocols),
                            OR_EMPTY(options->ciphers), OR_EMPTY(options->suites));
#undef OR_EMPTY
    struct made *made = NULL;
    for (size_t i = 0; i < making->count && made == NULL; i++) {
        if (strcmp(making->made[i].key, key) == 0)
            made = &making->made[i];
    }
    if (made != NULL) {
        free(key);
        return made->context == NULL ? NULL : weir_tls_context_share(made->context);
    }
    char *problem = NULL;
    made = &making->made[making->count++];
    made->key = key;
    made->context = weir_tls_context_create(options, &problem);
    if (made->context == NULL)
        complain_context(making->apply, database, problem);
    free(problem);
    return made->context == NULL ? NULL : weir_tls_context_share(made->context);
}

static bool may_use(const struct weir_database *database)
{
    for (size_t i = 0; i < database->host_count; i++) {
        if (!is_local(&database->hosts[i]))
            return database->tls.mode != WEIR_SSLMODE_DISABLE;
    }
    return false;
}

void weir_database_tls_load(struct weir_conf *conf, struct weir_messages *messages)
{
    struct weir_apply apply = {.conf = conf, .messages = messages};
    struct making making = {.apply = &apply};
    making.made = weir_alloc((conf->database_count + 1) * sizeof(*making.made));
    for (size_t i = 0; i < conf->database_count; i++) {
        struct weir_database *database = &conf->databases[i];
        struct weir_tls_options options;
        char protocols[PROTOCOLS_BYTES];
        if (may_use(database) && make_options(&apply, database, &options, protocols))
            database->tls.context = get_context(&making, database, &options);
    }
    for (size_t i = 0; i < making.count; i++) {
        free(making.made[i].key);
        weir_tls_context_release(making.made[i].context);
    }
    free(making.made);
}

/* --- for libpq ------------------------------------------------------------------------- */

/* Not a file, so none is read where libpq would look into somebody's home. */
static const char *file_or_none(const char *file)
{
    return file == NULL || file[0] == '\0' ? "/dev/null/none" : file;
}

static void tell(struct weir_libpq_tls *words, const char *name, const char *value)
{
    if (value == NULL)
        return;
    words->names[words->count] = name;
    words->values[words->count++] = value;
}

void weir_conf_libpq_tls(const struct weir_conf *conf, const struct weir_database *database,
                         struct weir_libpq_tls *words)
{
    const struct weir_database_tls *tls = &database->tls;
    const char *global_key = tls->sslmode == NULL ? conf->server_tls_key_file : NULL;
    const char *global_certificate = tls->sslmode == NULL ? conf->server_tls_cert_file : NULL;
    const char *global_root = tls->sslmode == NULL && tls->mode >= WEIR_SSLMODE_VERIFY_CA
                                  ? conf->server_tls_ca_file
                                  : NULL;
    bool own_pair = tls->sslcert != NULL;
    *words = (struct weir_libpq_tls){0};
    tell(words, "sslmode", weir_value_show_word(weir_sslmode_words, (int)tls->mode));
    tell(words, "channel_binding", tls->channel_binding);
    tell(words, "sslrootcert",
         file_or_none(tls->sslrootcert != NULL ? tls->sslrootcert : global_root));
    tell(words, "sslcert", file_or_none(own_pair ? tls->sslcert : global_certificate));
    tell(words, "sslkey", file_or_none(own_pair ? tls->sslkey : global_key));
    tell(words, "sslcrl", file_or_none(tls->sslcrl));
    tell(words, "ssl_min_protocol_version", tls->ssl_min_protocol_version);
    tell(words, "ssl_max_protocol_version", tls->ssl_max_protocol_version);
    tell(words, "sslsni", tls->sslsni);
}

/* --- comparing ------------------------------------------------------------------------- */

bool weir_database_tls_is_same(const struct weir_database_tls *left,
                               const struct weir_database_tls *right)
{
    for (const struct weir_database_tls_word *word = weir_database_tls_words; word->name != NULL;
         word++) {
        const char *one = *field_of(left, word), *two = *field_of(right, word);
        if ((one == NULL) != (two == NULL) || (one != NULL && strcmp(one, two) != 0))
            return false;
    }
    return left->mode == right->mode && weir_tls_context_is_same(left->context, right->context);
}
