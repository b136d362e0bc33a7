#include "cache.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "weir/memory.h"

struct cached {
    UT_hash_handle hh;
    struct weir_list link;
    weir_usec expires;
    size_t length; /* of the key */
    size_t size;   /* of all of it */
    char *secret;  /* NULL: no such user */
    char key[];
};

void lookup_cache_init(struct lookup_cache *cache)
{
    *cache = (struct lookup_cache){0};
    weir_list_init(&cache->oldest);
}

static void drop(struct lookup_cache *cache, struct cached *entry)
{
    /* The analyser loses track of the table that every entry is in.
     * NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
    HASH_DEL(cache->entries, entry);
    weir_list_remove(&entry->link);
    cache->count--;
    cache->bytes -= entry->size;
    weir_free_secret(entry->secret);
    weir_wipe(entry, sizeof(*entry) + entry->length);
    free(entry);
}

static struct cached *find(struct lookup_cache *cache, const char *key, size_t length)
{
    struct cached *entry = NULL;
    HASH_FIND(hh, cache->entries, key, length, entry);
    return entry;
}

bool lookup_cache_find(struct lookup_cache *cache, const char *key, size_t length, weir_usec now,
                       const char **secret)
{
    struct cached *entry = find(cache, key, length);
    if (entry == NULL)
        return false;
    if (now >= entry->expires) {
        drop(cache, entry);
        return false;
    }
    *secret = entry->secret;
    return true;
}

void lookup_cache_forget(struct lookup_cache *cache, const char *key, size_t length)
{
    struct cached *entry = find(cache, key, length);
    if (entry != NULL)
        drop(cache, entry);
}

static void make_room(struct lookup_cache *cache, size_t size)
{
    while (cache->count >= LOOKUP_CACHE_ENTRIES ||
           (cache->count > 0 && cache->bytes + size > LOOKUP_CACHE_BYTES))
        drop(cache, weir_container_of(weir_list_first(&cache->oldest), struct cached, link));
}

void lookup_cache_store(struct lookup_cache *cache, const char *key, size_t length,
                        const char *secret, weir_usec expires)
{
    lookup_cache_forget(cache, key, length);
    size_t size = sizeof(struct cached) + length + (secret != NULL ? strlen(secret) + 1 : 0);
    if (size > LOOKUP_CACHE_BYTES)
        return;
    make_room(cache, size);
    struct cached *entry = weir_alloc(sizeof(*entry) + length);
    entry->length = length;
    memcpy(entry->key, key, length);
    entry->size = size;
    entry->expires = expires;
    entry->secret = weir_strdup(secret);
    cache->count++;
    cache->bytes += size;
    weir_list_push_back(&cache->oldest, &entry->link);
    HASH_ADD_KEYPTR(hh, cache->entries, entry->key, length, entry);
}

void lookup_cache_clear(struct lookup_cache *cache)
{
    while (cache->count > 0)
        drop(cache, weir_container_of(weir_list_first(&cache->oldest), struct cached, link));
}
