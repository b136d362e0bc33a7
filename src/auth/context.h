/* The process's authentication state: its random secret, cached keys, and derivations under way. */
#ifndef WEIR_AUTH_CONTEXT_H
#define WEIR_AUTH_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "digest.h"
#include "keycache.h"
#include "pbkdf2.h"
#include "weir/auth.h"

#define WEIR_AUTH_SALT_BYTES 16
#define WEIR_AUTH_ITERATIONS 4096 /* PostgreSQL's default */

struct weir_derivation;

struct weir_auth_context {
    struct weir_hmac secret; /* keyed with random bytes; copied for each use */
    struct weir_keycache cache;
    struct weir_derivation *derivations;
};

/* The salt for a user without a SCRAM secret of its own, known or unknown: the same as long as the
 * process lives, and not to be told from a stored one. */
void weir_auth_salt_for(const struct weir_auth_context *context, const char *user,
                        uint8_t salt[WEIR_AUTH_SALT_BYTES]);

/* Keys for (password, salt, iterations). Returns NULL with *keys filled in when they are cached,
 * else a derivation; those who want the same keys at the same time share one. */
struct weir_derivation *weir_derivation_start(struct weir_auth_context *context,
                                              const char *password, const uint8_t *salt,
                                              size_t salt_length, uint32_t iterations,
                                              struct weir_scram_keys *keys);
/* One slice; true with *keys filled in when done. */
bool weir_derivation_work(struct weir_derivation *derivation, struct weir_scram_keys *keys);
/* Puts finished keys into the cache. Left to the caller, because keys of a password that a client
 * merely tried must not push out good ones. */
void weir_derivation_remember(const struct weir_derivation *derivation);
/* The caller's share ends; NULL is fine. */
void weir_derivation_release(struct weir_derivation *derivation);

#endif
