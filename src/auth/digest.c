/* The low-level functions are marked deprecated since OpenSSL 3.0 in favour of EVP; digest.h says
 * why they are used all the same. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "digest.h"

#include <openssl/md5.h>
#include <string.h>

#include "weir/memory.h"

void weir_sha256(const void *bytes, size_t length, uint8_t digest[WEIR_SHA256_LENGTH])
{
    SHA256_CTX state;
    SHA256_Init(&state);
    SHA256_Update(&state, bytes, length);
    SHA256_Final(digest, &state);
    weir_wipe(&state, sizeof(state));
}

void weir_hmac_begin(struct weir_hmac *hmac, const void *key, size_t length)
{
    uint8_t pad[WEIR_SHA256_BLOCK] = {0};
    if (length > sizeof(pad))
        weir_sha256(key, length, pad);
    else if (length > 0)
        memcpy(pad, key, length);

    for (size_t i = 0; i < sizeof(pad); i++)
        pad[i] ^= 0x36;
    SHA256_Init(&hmac->inner);
    SHA256_Update(&hmac->inner, pad, sizeof(pad));

    for (size_t i = 0; i < sizeof(pad); i++)
        pad[i] ^= 0x36 ^ 0x5c;
    SHA256_Init(&hmac->outer);
    SHA256_Update(&hmac->outer, pad, sizeof(pad));
    weir_wipe(pad, sizeof(pad));
}

void weir_hmac_add(struct weir_hmac *hmac, const void *bytes, size_t length)
{
    if (length > 0)
        SHA256_Update(&hmac->inner, bytes, length);
}

void weir_hmac_end(struct weir_hmac *hmac, uint8_t digest[WEIR_SHA256_LENGTH])
{
    SHA256_Final(digest, &hmac->inner);
    SHA256_Update(&hmac->outer, digest, WEIR_SHA256_LENGTH);
    SHA256_Final(digest, &hmac->outer);
    weir_wipe(hmac, sizeof(*hmac));
}

void weir_hmac_sha256(const void *key, size_t key_length, const void *bytes, size_t length,
                      uint8_t digest[WEIR_SHA256_LENGTH])
{
    struct weir_hmac hmac;
    weir_hmac_begin(&hmac, key, key_length);
    weir_hmac_add(&hmac, bytes, length);
    weir_hmac_end(&hmac, digest);
}

void weir_md5_hex(const void *first, size_t first_length, const void *second, size_t second_length,
                  char hex[WEIR_MD5_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[MD5_DIGEST_LENGTH];
    MD5_CTX state;
    MD5_Init(&state);
    MD5_Update(&state, first, first_length);
    MD5_Update(&state, second, second_length);
    MD5_Final(digest, &state);

    for (size_t i = 0; i < sizeof(digest); i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[WEIR_MD5_HEX] = '\0';
    weir_wipe(&state, sizeof(state));
    weir_wipe(digest, sizeof(digest));
}
