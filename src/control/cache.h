/* What auth_query answered, for a moment. Bounded in entries and bytes, because strangers choose the
 * names that are asked for: the oldest answers make room. */
#ifndef WEIR_CONTROL_CACHE_H
#define WEIR_CONTROL_CACHE_H

#include <stdbool.h>
#include <stddef.h>

#include "weir/clock.h"
#include "weir/list.h"

#define LOOKUP_CACHE_ENTRIES 10000
#define LOOKUP_CACHE_BYTES   (4u << 20)

struct cached;

struct lookup_cache {
    struct cached *entries;  /* hash */
    struct weir_list oldest; /* cached.link, in the order in which they came */
    size_t count;
    size_t bytes;
};

void lookup_cache_init(struct lookup_cache *cache);
/* True when the answer is known at `now`; *secret is NULL when it was that there is no such user, and
 * valid until the cache is changed. Keys may hold any bytes. */
bool lookup_cache_find(struct lookup_cache *cache, const char *key, size_t length, weir_usec now,
                       const char **secret);
/* Copies; replaces an older answer. `secret` NULL: there is no such user. */
void lookup_cache_store(struct lookup_cache *cache, const char *key, size_t length,
                        const char *secret, weir_usec expires);
void lookup_cache_forget(struct lookup_cache *cache, const char *key, size_t length);
/* Secrets are wiped. */
void lookup_cache_clear(struct lookup_cache *cache);

#endif
