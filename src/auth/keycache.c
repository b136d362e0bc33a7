#include "keycache.h"

#include <stdlib.h>
#include <string.h>

#include "weir/auth.h"
#include "weir/memory.h"

#define BUCKET_SIZE   8
#define FIRST_BUCKETS 4

static struct weir_keycache_entry *bucket_of(const struct weir_keycache *cache,
                                             const uint8_t *identity)
{
    uint64_t hash;
    memcpy(&hash, identity, sizeof(hash));
    return &cache->entries[(hash & (cache->buckets - 1)) * BUCKET_SIZE];
}

static struct weir_keycache_entry *find_entry(const struct weir_keycache *cache,
                                              const uint8_t *identity)
{
    if (!cache->entries)
        return NULL;
    struct weir_keycache_entry *bucket = bucket_of(cache, identity);
    for (size_t i = 0; i < BUCKET_SIZE; i++) {
        if (bucket[i].used && memcmp(bucket[i].identity, identity, WEIR_SHA256_LENGTH) == 0)
            return &bucket[i];
    }
    return NULL;
}

/* A free entry of the identity's bucket, else the one that was not used for the longest time. */
static struct weir_keycache_entry *oldest_entry(const struct weir_keycache *cache,
                                                const uint8_t *identity)
{
    struct weir_keycache_entry *bucket = bucket_of(cache, identity);
    struct weir_keycache_entry *oldest = bucket;
    for (size_t i = 1; i < BUCKET_SIZE; i++) {
        if (bucket[i].used < oldest->used)
            oldest = &bucket[i];
    }
    return oldest;
}

static void resize(struct weir_keycache *cache, size_t buckets)
{
    struct weir_keycache old = *cache;
    size_t old_entries = old.entries ? old.buckets * BUCKET_SIZE : 0;
    cache->entries = weir_alloc(buckets * BUCKET_SIZE * sizeof(*cache->entries));
    cache->buckets = buckets;
    cache->count = 0;
    for (size_t i = 0; i < old_entries; i++) {
        if (!old.entries[i].used)
            continue;
        /* Doubling splits a bucket in two: there is always room. */
        *oldest_entry(cache, old.entries[i].identity) = old.entries[i];
        cache->count++;
    }
    weir_keycache_clear(&old);
}

bool weir_keycache_find(struct weir_keycache *cache, const uint8_t identity[WEIR_SHA256_LENGTH],
                        struct weir_scram_keys *keys)
{
    struct weir_keycache_entry *entry = find_entry(cache, identity);
    if (!entry)
        return false;
    entry->used = ++cache->clock;
    *keys = entry->keys;
    return true;
}

void weir_keycache_store(struct weir_keycache *cache, const uint8_t identity[WEIR_SHA256_LENGTH],
                         const struct weir_scram_keys *keys)
{
    struct weir_keycache_entry *entry = find_entry(cache, identity);
    if (!entry) {
        if (!cache->entries)
            resize(cache, FIRST_BUCKETS);
        /* Half full on average is a full bucket here and there. */
        else if (cache->count * 2 >= cache->buckets * BUCKET_SIZE &&
                 cache->buckets * BUCKET_SIZE < WEIR_KEYCACHE_MAX)
            resize(cache, cache->buckets * 2);
        entry = oldest_entry(cache, identity);
        cache->count += entry->used == 0;
    }
    memcpy(entry->identity, identity, WEIR_SHA256_LENGTH);
    entry->keys = *keys;
    entry->used = ++cache->clock;
}

void weir_keycache_clear(struct weir_keycache *cache)
{
    if (cache->entries)
        weir_wipe(cache->entries, cache->buckets * BUCKET_SIZE * sizeof(*cache->entries));
    free(cache->entries);
    *cache = (struct weir_keycache){0};
}
