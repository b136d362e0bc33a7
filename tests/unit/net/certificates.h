/* A private authority made for a test, in a folder of its own. */
#ifndef WEIR_TEST_NET_CERTIFICATES_H
#define WEIR_TEST_NET_CERTIFICATES_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include "support.h"

struct test_identity {
    X509 *certificate;
    EVP_PKEY *key;
};

struct test_name_part {
    int nid; /* 0: the end */
    const char *text;
    int length; /* -1: to its zero byte */
};

static inline void test_add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    cr_assert_not_null(extension);
    cr_assert_eq(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* `issuer` NULL: an authority that signs itself. `names` may be NULL ("DNS:..."). */
static inline struct test_identity test_identity(const char *name, const char *names,
                                                 const struct test_identity *issuer)
{
    static long serial = 1;
    struct test_identity made = {X509_new(), EVP_EC_gen("P-256")};
    const struct test_identity *signer = issuer != NULL ? issuer : &made;
    X509_set_version(made.certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(made.certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made.certificate), 3600);
    X509_set_pubkey(made.certificate, made.key);
    X509_NAME *subject = X509_get_subject_name(made.certificate);
    X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                               (const unsigned char *)(const void *)name, -1, -1, 0);
    X509_set_issuer_name(made.certificate, X509_get_subject_name(signer->certificate));
    test_add_extension(made.certificate, signer->certificate, NID_basic_constraints,
                       issuer == NULL ? "critical,CA:TRUE" : "CA:FALSE");
    if (names != NULL)
        test_add_extension(made.certificate, signer->certificate, NID_subject_alt_name, names);
    cr_assert(X509_sign(made.certificate, signer->key, EVP_sha256()) > 0);
    return made;
}

static inline FILE *test_create(const char *path, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    cr_assert(fd >= 0);
    cr_assert_eq(fchmod(fd, mode), 0);
    FILE *file = fdopen(fd, "w");
    cr_assert_not_null(file);
    return file;
}

static inline void test_write_identity(const struct test_identity *identity,
                                       const char *certificate, const char *key)
{
    FILE *file = test_create(certificate, 0644);
    cr_assert_eq(PEM_write_X509(file, identity->certificate), 1);
    fclose(file);
    if (key == NULL)
        return;
    file = test_create(key, 0600);
    cr_assert_eq(PEM_write_PrivateKey(file, identity->key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
}

static inline void test_free_identity(struct test_identity *identity)
{
    X509_free(identity->certificate);
    EVP_PKEY_free(identity->key);
}

/* A list of what `authority` has revoked: `revoked`, or nothing. */
static inline void test_write_revocations(const struct test_identity *authority, X509 *revoked,
                                          const char *path)
{
    X509_CRL *list = X509_CRL_new();
    X509_CRL_set_version(list, 1);
    X509_CRL_set_issuer_name(list, X509_get_subject_name(authority->certificate));
    ASN1_TIME *moment = X509_gmtime_adj(NULL, -60);
    X509_CRL_set1_lastUpdate(list, moment);
    if (revoked != NULL) {
        X509_REVOKED *entry = X509_REVOKED_new();
        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked));
        X509_REVOKED_set_revocationDate(entry, moment);
        X509_CRL_add0_revoked(list, entry);
    }
    ASN1_TIME_free(moment);
    moment = X509_gmtime_adj(NULL, 3600);
    X509_CRL_set1_nextUpdate(list, moment);
    ASN1_TIME_free(moment);
    cr_assert(X509_CRL_sign(list, authority->key, EVP_sha256()) > 0);
    FILE *file = test_create(path, 0644);
    cr_assert_eq(PEM_write_X509_CRL(file, list), 1);
    fclose(file);
    X509_CRL_free(list);
}

#endif
