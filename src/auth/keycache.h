/* Derived SCRAM keys by the identity of what they were derived from. The identity is a keyed
 * digest, so its bits are evenly spread whatever passwords and salts a peer chooses. */
#ifndef WEIR_AUTH_KEYCACHE_H
#define WEIR_AUTH_KEYCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "digest.h"
#include "scram_exchange.h"

#define WEIR_KEYCACHE_MAX 32768 /* entries; the least recently used of a bucket makes room */

struct weir_keycache_entry {
    uint8_t identity[WEIR_SHA256_LENGTH];
    struct weir_scram_keys keys;
    uint64_t used; /* 0: free */
};

struct weir_keycache {
    struct weir_keycache_entry *entries; /* NULL until the first key */
    size_t buckets;                      /* a power of two */
    size_t count;
    uint64_t clock;
};

bool weir_keycache_find(struct weir_keycache *cache, const uint8_t identity[WEIR_SHA256_LENGTH],
                        struct weir_scram_keys *keys);
void weir_keycache_store(struct weir_keycache *cache, const uint8_t identity[WEIR_SHA256_LENGTH],
                         const struct weir_scram_keys *keys);
void weir_keycache_clear(struct weir_keycache *cache);

#endif
