/* PBKDF2-HMAC-SHA-256 for one block of output, in slices: RFC 8018 section 5.2; RFC 5802 calls it
 * Hi(password, salt, iterations). */
#ifndef WEIR_AUTH_PBKDF2_H
#define WEIR_AUTH_PBKDF2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "digest.h"

struct weir_pbkdf2 {
    SHA256_CTX inner; /* after the password's inner pad */
    SHA256_CTX outer;
    uint32_t last[8]; /* U of the newest iteration */
    uint32_t sum[8];  /* exclusive or of all U so far */
    uint32_t remaining;
};

/* `iterations` is at least 1. */
void weir_pbkdf2_begin(struct weir_pbkdf2 *state, const void *password, size_t password_length,
                       const void *salt, size_t salt_length, uint32_t iterations);
/* Does up to `iterations` more; true when all are done. */
bool weir_pbkdf2_work(struct weir_pbkdf2 *state, uint32_t iterations);
/* Only after work said so. Wipes the state. */
void weir_pbkdf2_end(struct weir_pbkdf2 *state, uint8_t key[WEIR_SHA256_LENGTH]);

#endif
