/* TLS contexts: settings and files become one SSL_CTX, or a text that says which of them is bad. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tls.h"
#include "weir/memory.h"

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

char *weir_tls_library_problem(void)
{
    /* The first one is the cause; those behind it say through which functions it came. */
    unsigned long code = ERR_peek_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    char *text;
    if (code != 0 && ERR_SYSTEM_ERROR(code))
        text = weir_strdup(strerror(ERR_GET_REASON(code)));
    else if (reason != NULL)
        text = weir_strdup(reason);
    else
        text = weir_format("OpenSSL error %lx", code);
    ERR_clear_error();
    return text;
}

static bool fail_with_file(char **problem, const char *what, const char *file)
{
    char *reason = weir_tls_library_problem();
    *problem = weir_format("%s \"%s\": %s", what, file, reason);
    free(reason);
    return false;
}

static bool fail_with_value(char **problem, const char *what, const char *value)
{
    ERR_clear_error();
    *problem = weir_format("%s: \"%s\" is not understood", what, value);
    return false;
}

/* --- protocols and ciphers ---------------------------------------------------------------- */

static const struct {
    const char *name;
    unsigned bits; /* of versions[] */
} protocol_words[] = {
    {"tlsv1.0", 1}, {"tlsv1", 15},  {"tlsv1.1", 2}, {"tlsv1.2", 4},  {"tlsv1.3", 8},
    {"all", 15},    {"legacy", 15}, {"secure", 12}, {"default", 12},
};
static const struct {
    int version;
    uint64_t off;
} versions[] = {{TLS1_VERSION, SSL_OP_NO_TLSv1},
                {TLS1_1_VERSION, SSL_OP_NO_TLSv1_1},
                {TLS1_2_VERSION, SSL_OP_NO_TLSv1_2},
                {TLS1_3_VERSION, SSL_OP_NO_TLSv1_3}};

static unsigned protocol_bits(const char *word, size_t length)
{
    for (size_t i = 0; i < sizeof(protocol_words) / sizeof(*protocol_words); i++) {
        const char *name = protocol_words[i].name;
        if (strlen(name) == length && strncasecmp(name, word, length) == 0)
            return protocol_words[i].bits;
    }
    return 0;
}

/* Words between commas, colons or blanks; with "!" in front they are taken away. */
static bool parse_protocols(const char *text, unsigned *bits)
{
    static const char separators[] = ",: ";
    *bits = 0;
    bool any = false;
    for (const char *at = text + strspn(text, separators); *at != '\0';
         at += strspn(at, separators)) {
        bool without = *at == '!';
        at += without;
        size_t length = strcspn(at, separators);
        unsigned named = protocol_bits(at, length);
        if (named == 0)
            return false;
        if (without)
            *bits = (any ? *bits : 15u) & ~named;
        else
            *bits |= named;
        any = true;
        at += length;
    }
    return *bits != 0;
}

static bool set_protocols(struct weir_tls_context *context, const char *text, char **problem)
{
    unsigned bits;
    if (!parse_protocols(is_set(text) ? text : "secure", &bits))
        return fail_with_value(problem, "TLS protocols", text);
    int lowest = 0, highest = 0;
    for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
        if (bits & 1u << i) {
            lowest = lowest == 0 ? versions[i].version : lowest;
            highest = versions[i].version;
        } else {
            SSL_CTX_set_options(context->ssl, versions[i].off);
        }
    }
    return SSL_CTX_set_min_proto_version(context->ssl, lowest) == 1 &&
           SSL_CTX_set_max_proto_version(context->ssl, highest) == 1;
}

/* PgBouncer's words for cipher lists; anything else is OpenSSL's language. */
static const char *cipher_list(const char *text)
{
    static const char strong[] = "HIGH:!aNULL:!eNULL:!3DES:!CAMELLIA:!ARIA:!PSK:!SRP";
    static const struct {
        const char *word, *list;
    } words[] = {
        {"default", strong},
        {"secure", strong},
        {"normal", strong},
        {"fast", strong},
        {"compat", "HIGH:!aNULL:!eNULL"},
        {"legacy", "HIGH:MEDIUM:!aNULL:!eNULL"},
        {"all", "ALL:!aNULL:!eNULL"},
        {"insecure", "ALL:!aNULL:!eNULL"},
    };
    if (!is_set(text))
        return strong;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (strcasecmp(words[i].word, text) == 0)
            return words[i].list;
    }
    return text;
}

static bool set_algorithms(struct weir_tls_context *context, const struct weir_tls_options *options,
                           char **problem)
{
    if (SSL_CTX_set_cipher_list(context->ssl, cipher_list(options->ciphers)) != 1)
        return fail_with_value(problem, "TLS ciphers", options->ciphers);
    if (is_set(options->suites) && SSL_CTX_set_ciphersuites(context->ssl, options->suites) != 1)
        return fail_with_value(problem, "TLS 1.3 cipher suites", options->suites);
    bool automatic = !is_set(options->curves) || strcasecmp(options->curves, "auto") == 0;
    if (!automatic && SSL_CTX_set1_groups_list(context->ssl, options->curves) != 1)
        return fail_with_value(problem, "TLS curves", options->curves);
    return true;
}

/* --- files -------------------------------------------------------------------------------- */

/* Nobody is asked for a passphrase: a daemon has nobody to ask. */
static int no_passphrase(char *buffer, int size, int writing, void *context)
{
    return -1;
}

/* PostgreSQL's rule: nobody but the owner, or with root's file also its group. */
static bool check_key_file(const char *file, const struct stat *open, char **problem)
{
    const struct stat status = *open;
    if (!S_ISREG(status.st_mode)) {
        *problem = weir_format("TLS key file \"%s\": not a regular file", file);
        return false;
    }
    /* Root is about to become somebody else, who will be asked again. */
    if (status.st_uid != geteuid() && status.st_uid != 0 && geteuid() != 0) {
        *problem =
            weir_format("TLS key file \"%s\": must be owned by the daemon's user or root", file);
        return false;
    }
    mode_t forbidden = status.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
    if (status.st_mode & forbidden) {
        *problem = weir_format("TLS key file \"%s\": has group or world access: chmod %s %s", file,
                               status.st_uid == 0 ? "0640" : "0600", file);
        return false;
    }
    return true;
}

#define LARGEST_KEY ((size_t)1 << 20)

/* All of it, with a zero byte behind, in memory that is to be wiped; NULL with errno. */
static char *read_all(int descriptor, size_t size, size_t *length)
{
    char *text = weir_alloc(size + 1);
    ssize_t got = 1;
    *length = 0;
    while (*length < size && got > 0) {
        got = read(descriptor, text + *length, size - *length);
        *length += got > 0 ? (size_t)got : 0;
    }
    if (got >= 0)
        return text;
    weir_wipe(text, size);
    free(text);
    return NULL;
}

/* OpenSSL's own way reads through a buffer of the C library, which is left as it is. */
static bool use_key(SSL_CTX *ssl, const char *text, size_t length)
{
    BIO *memory = BIO_new_mem_buf(text, (int)length);
    EVP_PKEY *key =
        memory == NULL ? NULL : PEM_read_bio_PrivateKey(memory, NULL, no_passphrase, NULL);
    bool good = key != NULL && SSL_CTX_use_PrivateKey(ssl, key) == 1;
    EVP_PKEY_free(key);
    BIO_free(memory);
    return good;
}

static bool load_key(SSL_CTX *ssl, const char *file, bool *read, char **problem)
{
    struct stat status;
    size_t length = 0;
    *read = false;
    /* Not blocking: a FIFO is refused, not waited for. */
    int descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0 || fstat(descriptor, &status) != 0) {
        *problem = weir_format("TLS key file \"%s\": %s", file, strerror(errno));
        if (descriptor >= 0)
            close(descriptor);
        return false;
    }
    if (!check_key_file(file, &status, problem)) {
        close(descriptor);
        return false;
    }
    size_t size = (size_t)status.st_size < LARGEST_KEY ? (size_t)status.st_size : LARGEST_KEY;
    char *text = read_all(descriptor, size, &length);
    int error = errno;
    close(descriptor);
    if (text == NULL) {
        *problem = weir_format("TLS key file \"%s\": %s", file, strerror(error));
        return false;
    }
    *read = true;
    bool good = use_key(ssl, text, length);
    weir_wipe(text, size);
    free(text);
    return good;
}

static bool load_identity(struct weir_tls_context *context, const struct weir_tls_options *options,
                          char **problem)
{
    const char *certificate = options->certificate_file;
    const char *key = options->key_file;
    if (!is_set(certificate) && !is_set(key)) {
        if (!context->server)
            return true;
        *problem = weir_strdup("TLS for clients needs a certificate file and a key file");
        return false;
    }
    if (!is_set(certificate) || !is_set(key)) {
        *problem = weir_strdup("TLS needs both a certificate file and a key file, or neither");
        return false;
    }
    if (SSL_CTX_use_certificate_chain_file(context->ssl, certificate) != 1)
        return fail_with_file(problem, "TLS certificate file", certificate);
    bool read;
    if (!load_key(context->ssl, key, &read, problem)) {
        if (!read)
            return false;
        if (ERR_GET_REASON(ERR_peek_last_error()) != X509_R_KEY_VALUES_MISMATCH)
            return fail_with_file(problem, "TLS key file", key);
        ERR_clear_error();
        *problem = weir_format("TLS key file \"%s\": does not belong to the certificate in \"%s\"",
                               key, certificate);
        return false;
    }
    if (SSL_CTX_check_private_key(context->ssl) != 1)
        return fail_with_file(problem, "TLS key file", key);
    context->has_endpoint = weir_tls_endpoint_of(SSL_CTX_get0_certificate(context->ssl),
                                                 context->endpoint, &context->endpoint_length);
    return true;
}

static bool load_authority(struct weir_tls_context *context, const struct weir_tls_options *options,
                           char **problem)
{
    const char *file = options->ca_file;
    if (!is_set(file)) {
        if (options->verify == WEIR_TLS_VERIFY_NONE)
            return true;
        *problem = weir_strdup("verifying TLS certificates needs a CA file");
        return false;
    }
    if (!context->server && strcmp(file, "system") == 0)
        return SSL_CTX_set_default_verify_paths(context->ssl) == 1 ||
               fail_with_file(problem, "TLS CA file", file);
    if (SSL_CTX_load_verify_file(context->ssl, file) != 1)
        return fail_with_file(problem, "TLS CA file", file);
    if (context->server && options->verify != WEIR_TLS_VERIFY_NONE) {
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(file);
        if (names == NULL)
            return fail_with_file(problem, "TLS CA file", file);
        SSL_CTX_set_client_CA_list(context->ssl, names);
    }
    return true;
}

static bool load_revocations(struct weir_tls_context *context, const char *file, char **problem)
{
    if (!is_set(file))
        return true;
    X509_STORE *store = SSL_CTX_get_cert_store(context->ssl);
    X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (lookup == NULL || X509_load_crl_file(lookup, file, X509_FILETYPE_PEM) <= 0)
        return fail_with_file(problem, "TLS CRL file", file);
    return X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) == 1;
}

/* --- comparing ------------------------------------------------------------------------------ */

static bool digest_file(EVP_MD_CTX *digest, const char *name)
{
    uint8_t piece[4096];
    int file = is_set(name) ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return true; /* "system", or it has vanished since it was loaded */
    ssize_t length;
    bool good = true;
    while (good && (length = read(file, piece, sizeof(piece))) > 0)
        good = EVP_DigestUpdate(digest, piece, (size_t)length) == 1;
    close(file);
    OPENSSL_cleanse(piece, sizeof(piece));
    return good;
}

static bool digest_text(EVP_MD_CTX *digest, const char *text)
{
    return EVP_DigestUpdate(digest, is_set(text) ? text : "", is_set(text) ? strlen(text) : 0) ==
               1 &&
           EVP_DigestUpdate(digest, "", 1) == 1;
}

static bool take_fingerprint(struct weir_tls_context *context,
                             const struct weir_tls_options *options)
{
    const char *const files[] = {options->certificate_file, options->key_file, options->ca_file,
                                 options->crl_file};
    const char *const texts[] = {options->protocols, options->ciphers, options->suites,
                                 options->curves};
    const uint8_t flags[] = {options->server, (uint8_t)options->verify, options->without_sni};
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool good = digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(digest, flags, sizeof(flags)) == 1;
    for (size_t i = 0; good && i < sizeof(texts) / sizeof(*texts); i++)
        good = digest_text(digest, texts[i]);
    for (size_t i = 0; good && i < sizeof(files) / sizeof(*files); i++)
        good = digest_text(digest, files[i]) && digest_file(digest, files[i]);
    good = good && EVP_DigestFinal_ex(digest, context->fingerprint, NULL) == 1;
    EVP_MD_CTX_free(digest);
    return good;
}

bool weir_tls_context_is_same(const struct weir_tls_context *left,
                              const struct weir_tls_context *right)
{
    if (left == NULL || right == NULL)
        return left == right;
    return memcmp(left->fingerprint, right->fingerprint, WEIR_TLS_FINGERPRINT) == 0;
}

/* --- the whole ------------------------------------------------------------------------------ */

/* A client that offers protocols must offer ours, else it has taken us for something else. */
static int select_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *length,
                           const unsigned char *offered, unsigned offered_length, void *context)
{
    static const unsigned char ours[] = "\012postgresql";
    unsigned char *found;
    if (SSL_select_next_proto(&found, length, ours, sizeof(ours) - 1, offered, offered_length) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = found;
    return SSL_TLSEXT_ERR_OK;
}

static void set_manners(struct weir_tls_context *context)
{
    SSL_CTX *ssl = context->ssl;
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
    /* Sessions are resumed by tickets, which the clients keep. Their key is the context's: after a
     * reload everybody proves itself anew. */
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    if (context->server) {
        static const unsigned char name[] = "pgweir";
        (void)SSL_CTX_set_session_id_context(ssl, name, sizeof(name) - 1);
        /* A resumed session would take a certificate over that has expired meanwhile. */
        bool tickets = context->verify == WEIR_TLS_VERIFY_NONE;
        (void)SSL_CTX_set_num_tickets(ssl, tickets ? 1 : 0);
        if (!tickets)
            SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
        SSL_CTX_set_alpn_select_cb(ssl, select_protocol, NULL);
    }
    int mode = SSL_VERIFY_NONE;
    if (context->verify != WEIR_TLS_VERIFY_NONE)
        mode = SSL_VERIFY_PEER;
    if (context->server && context->verify == WEIR_TLS_VERIFY_CA)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(ssl, mode, NULL);
}

static bool build(struct weir_tls_context *context, const struct weir_tls_options *options,
                  char **problem)
{
    context->method = weir_tls_bio_method();
    context->ssl = SSL_CTX_new(context->server ? TLS_server_method() : TLS_client_method());
    if (context->ssl == NULL || context->method == NULL)
        return false;
    set_manners(context);
    return set_protocols(context, options->protocols, problem) &&
           set_algorithms(context, options, problem) && load_identity(context, options, problem) &&
           load_authority(context, options, problem) &&
           load_revocations(context, options->crl_file, problem) &&
           take_fingerprint(context, options);
}

struct weir_tls_context *weir_tls_context_create(const struct weir_tls_options *options,
                                                 char **problem)
{
    struct weir_tls_context *context = weir_alloc(sizeof(*context));
    context->references = 1;
    context->server = options->server;
    context->verify = options->verify;
    context->without_sni = options->without_sni;
    *problem = NULL;
    ERR_clear_error();
    if (build(context, options, problem))
        return context;
    if (*problem == NULL)
        *problem = weir_tls_library_problem();
    weir_tls_context_release(context);
    return NULL;
}

struct weir_tls_context *weir_tls_context_share(struct weir_tls_context *context)
{
    context->references++;
    return context;
}

void weir_tls_context_release(struct weir_tls_context *context)
{
    if (context == NULL || --context->references > 0)
        return;
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->method);
    free(context);
}
