/* SHA-256, HMAC-SHA-256 and MD5 without allocation and without OpenSSL's provider machinery.
 *
 * The block functions of libcrypto are used directly: fetching an algorithm through EVP costs more
 * instructions than a whole SCRAM exchange needs for hashing, copies of an EVP context allocate,
 * and the first fetch makes the library load its configuration and providers (some 500 KB). */
#ifndef WEIR_AUTH_DIGEST_H
#define WEIR_AUTH_DIGEST_H

#include <openssl/sha.h>
#include <stddef.h>
#include <stdint.h>

#define WEIR_SHA256_LENGTH 32
#define WEIR_SHA256_BLOCK  64
#define WEIR_MD5_HEX       32

void weir_sha256(const void *bytes, size_t length, uint8_t digest[WEIR_SHA256_LENGTH]);

/* The states after the padded key: a copy of the struct starts another message under the same key.
 */
struct weir_hmac {
    SHA256_CTX inner;
    SHA256_CTX outer;
};

void weir_hmac_begin(struct weir_hmac *hmac, const void *key, size_t length);
void weir_hmac_add(struct weir_hmac *hmac, const void *bytes, size_t length);
/* Wipes the state. */
void weir_hmac_end(struct weir_hmac *hmac, uint8_t digest[WEIR_SHA256_LENGTH]);
/* One message in one call. */
void weir_hmac_sha256(const void *key, size_t key_length, const void *bytes, size_t length,
                      uint8_t digest[WEIR_SHA256_LENGTH]);

/* MD5 of two byte strings after another, as 32 lower-case hex digits and a terminator. */
void weir_md5_hex(const void *first, size_t first_length, const void *second, size_t second_length,
                  char hex[WEIR_MD5_HEX + 1]);

#endif
