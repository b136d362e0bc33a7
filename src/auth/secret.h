/* The stored forms of a password. */
#ifndef WEIR_AUTH_SECRET_H
#define WEIR_AUTH_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/auth.h"

#define WEIR_SECRET_MD5_LENGTH 35 /* "md5" and the digits */

/* A SCRAM secret taken apart. `salt` points into the secret: base64 text without terminator. */
struct weir_scram_secret {
    const char *salt;
    size_t salt_length;
    uint32_t iterations;
    uint8_t stored_key[WEIR_SCRAM_KEY];
    uint8_t server_key[WEIR_SCRAM_KEY];
};

/* False when `secret` is not exactly a SCRAM-SHA-256 secret. */
bool weir_scram_secret_parse(const char *secret, struct weir_scram_secret *parsed);

/* "md5" and the digest of password and user, as PostgreSQL stores it. */
void weir_md5_secret(const char *password, const char *user,
                     char secret[WEIR_SECRET_MD5_LENGTH + 1]);
/* What is sent for AuthenticationMD5Password: "md5" and the digest of the secret's digits and the
 * salt of the request. */
void weir_md5_response(const char *secret, const uint8_t salt[4],
                       char response[WEIR_SECRET_MD5_LENGTH + 1]);

#endif
