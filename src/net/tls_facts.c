/* What is known of a TLS connection. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <string.h>

#include "tls.h"
#include "weir/memory.h"

const char *weir_tls_problem(const struct weir_stream *stream)
{
    return stream->tls != NULL ? stream->tls->problem : NULL;
}

bool weir_tls_peer_is_refused(const struct weir_stream *stream)
{
    const struct weir_tls *tls = stream->tls;
    return tls != NULL && !tls->secured && tls->broken &&
           tls->context->verify != WEIR_TLS_VERIFY_NONE &&
           SSL_get_verify_result(tls->ssl) != X509_V_OK;
}

const char *weir_tls_version(const struct weir_stream *stream)
{
    return stream->tls != NULL ? SSL_get_version(stream->tls->ssl) : NULL;
}

const char *weir_tls_cipher(const struct weir_stream *stream)
{
    return stream->tls != NULL ? SSL_get_cipher_name(stream->tls->ssl) : NULL;
}

/* NULL: none, or one that nobody has verified. */
static X509 *verified_certificate(const struct weir_tls *tls)
{
    if (tls == NULL || tls->context->verify == WEIR_TLS_VERIFY_NONE ||
        SSL_get_verify_result(tls->ssl) != X509_V_OK)
        return NULL;
    return SSL_get0_peer_certificate(tls->ssl);
}

bool weir_tls_has_certificate(const struct weir_stream *stream)
{
    return verified_certificate(stream->tls) != NULL;
}

static const ASN1_STRING *common_name(const X509 *certificate)
{
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    return at < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
}

bool weir_tls_peer_deceives(const struct weir_tls *tls)
{
    const X509 *certificate = verified_certificate(tls);
    const ASN1_STRING *name = certificate != NULL ? common_name(certificate) : NULL;
    return name != NULL && ASN1_STRING_length(name) > 0 &&
           memchr(ASN1_STRING_get0_data(name), 0, (size_t)ASN1_STRING_length(name)) != NULL;
}

static char *print_subject(const X509 *certificate)
{
    BIO *memory = BIO_new(BIO_s_mem());
    char *text = NULL, *bytes = NULL;
    if (memory != NULL &&
        X509_NAME_print_ex(memory, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0) {
        long length = BIO_get_mem_data(memory, &bytes);
        if (length > 0)
            text = weir_strndup(bytes, (size_t)length);
    }
    BIO_free(memory);
    ERR_clear_error();
    return text;
}

char *weir_tls_peer_name(const struct weir_stream *stream, enum weir_tls_name name)
{
    const X509 *certificate = verified_certificate(stream->tls);
    if (certificate == NULL)
        return NULL;
    if (name == WEIR_TLS_SUBJECT)
        return print_subject(certificate);
    const ASN1_STRING *text = common_name(certificate);
    return text == NULL || weir_tls_peer_deceives(stream->tls)
               ? NULL
               : weir_strndup((const char *)ASN1_STRING_get0_data(text),
                              (size_t)ASN1_STRING_length(text));
}

/* RFC 5929: the hash of the certificate's signature; SHA-256 in place of MD5 and SHA-1. */
bool weir_tls_endpoint_of(X509 *certificate, uint8_t hash[WEIR_TLS_ENDPOINT_MAX], size_t *length)
{
    int digest;
    if (certificate == NULL || X509_get_signature_info(certificate, &digest, NULL, NULL, NULL) != 1)
        return false;
    if (digest == NID_md5 || digest == NID_sha1)
        digest = NID_sha256;
    const EVP_MD *method = EVP_get_digestbynid(digest);
    unsigned size = 0;
    if (method == NULL || EVP_MD_get_size(method) > WEIR_TLS_ENDPOINT_MAX ||
        X509_digest(certificate, method, hash, &size) != 1) {
        ERR_clear_error();
        return false;
    }
    *length = size;
    return true;
}

bool weir_tls_endpoint(const struct weir_stream *stream, uint8_t hash[WEIR_TLS_ENDPOINT_MAX],
                       size_t *length)
{
    const struct weir_tls *tls = stream->tls;
    if (tls == NULL || !tls->secured)
        return false;
    if (!tls->context->server)
        return weir_tls_endpoint_of(SSL_get0_peer_certificate(tls->ssl), hash, length);
    if (!tls->context->has_endpoint)
        return false;
    memcpy(hash, tls->context->endpoint, tls->context->endpoint_length);
    *length = tls->context->endpoint_length;
    return true;
}
