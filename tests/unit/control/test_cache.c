/* Answers are remembered for as long as they may be, and no more of them than there is room for. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"

static void store(struct lookup_cache *cache, const char *key, const char *secret,
                  weir_usec expires)
{
    lookup_cache_store(cache, key, strlen(key), secret, expires);
}

static bool knows(struct lookup_cache *cache, const char *key, weir_usec now, const char **secret)
{
    *secret = "untouched";
    return lookup_cache_find(cache, key, strlen(key), now, secret);
}

Test(cache, remembers_until_it_expires)
{
    struct lookup_cache cache;
    const char *secret;
    lookup_cache_init(&cache);
    cr_expect_not(knows(&cache, "ann", 0, &secret));
    store(&cache, "ann", "secret", 100);
    store(&cache, "nobody", NULL, 100);
    cr_assert(knows(&cache, "ann", 99, &secret));
    cr_expect_str_eq(secret, "secret");
    cr_assert(knows(&cache, "nobody", 99, &secret));
    cr_expect_null(secret);
    cr_expect_not(knows(&cache, "an", 99, &secret));
    cr_expect_not(knows(&cache, "ann", 100, &secret));
    cr_expect_eq(cache.count, 1, "what has expired is gone");
    lookup_cache_clear(&cache);
    cr_expect_eq(cache.count, 0);
    cr_expect_eq(cache.bytes, 0);
}

Test(cache, replaces_and_forgets)
{
    struct lookup_cache cache;
    const char *secret;
    lookup_cache_init(&cache);
    store(&cache, "ann", "old", 100);
    store(&cache, "ann", "new", 200);
    cr_expect_eq(cache.count, 1);
    cr_assert(knows(&cache, "ann", 150, &secret));
    cr_expect_str_eq(secret, "new");
    store(&cache, "ann", NULL, 200);
    cr_assert(knows(&cache, "ann", 150, &secret));
    cr_expect_null(secret);
    lookup_cache_forget(&cache, "ann", 3);
    lookup_cache_forget(&cache, "ann", 3);
    cr_expect_not(knows(&cache, "ann", 150, &secret));
    cr_expect_eq(cache.bytes, 0);
}

Test(cache, keys_hold_any_bytes)
{
    struct lookup_cache cache;
    const char *secret = NULL;
    lookup_cache_init(&cache);
    lookup_cache_store(&cache, "a\0b", 3, "one", 10);
    lookup_cache_store(&cache, "a\0c", 3, "two", 10);
    lookup_cache_store(&cache, "a", 1, "three", 10);
    cr_assert(lookup_cache_find(&cache, "a\0b", 3, 0, &secret));
    cr_expect_str_eq(secret, "one");
    cr_assert(lookup_cache_find(&cache, "a\0c", 3, 0, &secret));
    cr_expect_str_eq(secret, "two");
    cr_assert(lookup_cache_find(&cache, "a", 1, 0, &secret));
    cr_expect_str_eq(secret, "three");
    lookup_cache_clear(&cache);
}

Test(cache, is_bounded_in_entries)
{
    struct lookup_cache cache;
    const char *secret;
    char key[32];
    lookup_cache_init(&cache);
    for (unsigned i = 0; i < 3 * LOOKUP_CACHE_ENTRIES; i++) {
        snprintf(key, sizeof(key), "user%u", i);
        store(&cache, key, NULL, 100);
        cr_assert_leq(cache.count, LOOKUP_CACHE_ENTRIES);
    }
    cr_expect_eq(cache.count, LOOKUP_CACHE_ENTRIES);
    cr_expect(knows(&cache, key, 0, &secret), "the newest is there");
    cr_expect_not(knows(&cache, "user0", 0, &secret), "the oldest made room");
    lookup_cache_clear(&cache);
}

Test(cache, is_bounded_in_bytes)
{
    struct lookup_cache cache;
    const char *secret;
    char key[10000];
    lookup_cache_init(&cache);
    memset(key, 'x', sizeof(key));
    key[sizeof(key) - 1] = '\0';
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(key, 12, "%011u", i);
        key[11] = 'x';
        store(&cache, key, "secret", 100);
        cr_assert_leq(cache.bytes, LOOKUP_CACHE_BYTES);
    }
    cr_expect_gt(cache.count, 300);
    cr_expect_lt(cache.count, 500);
    cr_expect(knows(&cache, key, 0, &secret));
    char *huge = calloc(1, LOOKUP_CACHE_BYTES + 1);
    cr_assert_not_null(huge);
    memset(huge, 's', LOOKUP_CACHE_BYTES);
    size_t before = cache.count;
    store(&cache, "huge", huge, 100);
    cr_expect_not(knows(&cache, "huge", 0, &secret));
    cr_expect_eq(cache.count, before, "what finds no room drives nobody out");
    free(huge);
    lookup_cache_clear(&cache);
    cr_expect_eq(cache.bytes, 0);
}
