/* What is known of a TLS connection. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <string.h>

#include "tls.h"

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

bool weir_tls_peer_name(const struct weir_stream *stream, char *name, size_t size)
{
    if (stream->tls == NULL || size == 0 || stream->tls->context->verify == WEIR_TLS_VERIFY_NONE ||
        SSL_get_verify_result(stream->tls->ssl) != X509_V_OK)
        return false;
    X509 *certificate = SSL_get0_peer_certificate(stream->tls->ssl);
    if (certificate == NULL)
        return false;
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0)
        return false;
    const ASN1_STRING *text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    unsigned char *utf8 = NULL;
    int length = ASN1_STRING_to_UTF8(&utf8, text);
    bool good = length > 0 && (size_t)length < size && memchr(utf8, 0, (size_t)length) == NULL;
    if (good) {
        memcpy(name, utf8, (size_t)length);
        name[length] = '\0';
    }
    OPENSSL_free(utf8);
    ERR_clear_error();
    return good;
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
