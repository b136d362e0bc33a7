#include "weir/strangers.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "weir/auth.h"
#include "weir/memory.h"

/* A key may be in one bucket only; there what was not touched for the longest time gives way. */
#define BUCKETS ((size_t)512)
#define WAYS    ((size_t)8)

/* Doubling has passed every delay_most long before. */
#define MOST_COUNTED 64

struct entry {
    uint64_t key; /* 0: free */
    weir_usec touched;
    weir_usec arrives;      /* when the next connection would come if they came evenly */
    weir_usec told_at;      /* the last line about refused connections */
    weir_usec closed_until; /* by failures */
    weir_usec counted_at;   /* up to where `failures` has been forgotten */
    uint32_t refused;       /* since told_at */
    uint32_t failures;
};

struct weir_strangers {
    struct weir_strangers_limits limits;
    uint8_t secret[WEIR_SHA256_LENGTH]; /* nobody outside can know which keys share a bucket */
    struct entry entries[BUCKETS * WAYS];
};

/* --- addresses ------------------------------------------------------------------------- */

enum { KIND_IPV4 = 4, KIND_IPV6 = 6, KIND_UID = 1 };

void weir_stranger_from_address(struct weir_stranger *stranger, const struct sockaddr *address)
{
    *stranger = (struct weir_stranger){0};
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const void *)address;
        stranger->bytes[0] = KIND_IPV4;
        memcpy(stranger->bytes + 1, &four->sin_addr, sizeof(four->sin_addr));
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const void *)address;
        bool four = IN6_IS_ADDR_V4MAPPED(&six->sin6_addr);
        stranger->bytes[0] = four ? KIND_IPV4 : KIND_IPV6;
        if (four)
            memcpy(stranger->bytes + 1, six->sin6_addr.s6_addr + 12, 4);
        else
            memcpy(stranger->bytes + 1, six->sin6_addr.s6_addr, 8);
    }
}

void weir_stranger_from_user(struct weir_stranger *stranger, uid_t uid)
{
    *stranger = (struct weir_stranger){.bytes = {KIND_UID}};
    memcpy(stranger->bytes + 1, &uid, sizeof(uid));
}

/* --- the table ------------------------------------------------------------------------- */

struct weir_strangers *weir_strangers_create(void)
{
    /* Large enough for the allocator to map it: pages that are never touched cost nothing. */
    struct weir_strangers *strangers = weir_alloc(sizeof(*strangers));
    weir_random_bytes(strangers->secret, sizeof(strangers->secret));
    return strangers;
}

void weir_strangers_destroy(struct weir_strangers *strangers)
{
    free(strangers);
}

void weir_strangers_limit(struct weir_strangers *strangers,
                          const struct weir_strangers_limits *limits)
{
    strangers->limits = *limits;
}

/* `user` NULL: the address as a whole. Never 0. */
uint64_t weir_strangers_key(const struct weir_strangers *strangers,
                            const struct weir_stranger *stranger, const char *user)
{
    struct weir_hmac hmac;
    uint8_t digest[WEIR_SHA256_LENGTH];
    uint64_t key;
    weir_hmac_begin(&hmac, strangers->secret, sizeof(strangers->secret));
    weir_hmac_add(&hmac, stranger->bytes, sizeof(stranger->bytes));
    if (user != NULL)
        weir_hmac_add(&hmac, user, strlen(user) + 1);
    weir_hmac_end(&hmac, digest);
    memcpy(&key, digest, sizeof(key));
    return key != 0 ? key : 1;
}

static const struct entry *find(const struct weir_strangers *strangers, uint64_t key)
{
    const struct entry *bucket = &strangers->entries[key % BUCKETS * WAYS];
    for (size_t i = 0; i < WAYS; i++) {
        if (bucket[i].key == key)
            return &bucket[i];
    }
    return NULL;
}

static struct entry *get(struct weir_strangers *strangers, uint64_t key, weir_usec now)
{
    struct entry *bucket = &strangers->entries[key % BUCKETS * WAYS];
    struct entry *oldest = bucket;
    for (size_t i = 0; i < WAYS; i++) {
        if (bucket[i].key == key) {
            bucket[i].touched = now;
            return &bucket[i];
        }
        if (bucket[i].key == 0 || (oldest->key != 0 && bucket[i].touched < oldest->touched))
            oldest = &bucket[i];
    }
    *oldest = (struct entry){.key = key, .touched = now, .counted_at = now};
    return oldest;
}

/* --- connections ----------------------------------------------------------------------- */

static enum weir_stranger_verdict refuse(struct entry *entry, weir_usec now, uint64_t *refused)
{
    entry->refused++;
    if (entry->told_at != 0 && now - entry->told_at < WEIR_REFUSAL_TOLD_EVERY)
        return WEIR_STRANGER_REFUSED;
    *refused = entry->refused;
    entry->refused = 0;
    entry->told_at = now;
    return WEIR_STRANGER_REFUSED_AND_TELL;
}

enum weir_stranger_verdict weir_strangers_connect(struct weir_strangers *strangers,
                                                  const struct weir_stranger *stranger,
                                                  weir_usec now, uint64_t *refused)
{
    const struct weir_strangers_limits *limits = &strangers->limits;
    if (limits->rate <= 0)
        return WEIR_STRANGER_WELCOME;
    struct entry *entry = get(strangers, weir_strangers_key(strangers, stranger, NULL), now);
    weir_usec apart = WEIR_SEC / limits->rate;
    weir_usec arrives = entry->arrives > now ? entry->arrives : now;
    if (arrives - now > apart * (limits->burst > 0 ? limits->burst - 1 : 0))
        return refuse(entry, now, refused);
    entry->arrives = arrives + apart;
    return WEIR_STRANGER_WELCOME;
}

/* --- failures -------------------------------------------------------------------------- */

static void forget(struct entry *entry, weir_usec now, weir_usec forgotten)
{
    weir_usec passed = (now - entry->counted_at) / forgotten;
    if (passed >= entry->failures) {
        entry->failures = 0;
        entry->counted_at = now;
    } else {
        entry->failures -= (uint32_t)passed;
        entry->counted_at += passed * forgotten;
    }
}

static weir_usec delay_of(const struct weir_strangers_limits *limits, uint32_t failures,
                          uint32_t free)
{
    weir_usec delay = limits->delay;
    if (failures <= free)
        return 0;
    for (uint32_t i = free + 1; i < failures && delay < limits->delay_most; i++)
        delay *= 2;
    return delay < limits->delay_most ? delay : limits->delay_most;
}

static weir_usec count_failure(struct weir_strangers *strangers, uint64_t key, weir_usec now,
                               uint32_t free, weir_usec forgotten)
{
    struct entry *entry = get(strangers, key, now);
    forget(entry, now, forgotten);
    /* So that the way back is not longer than the doubling was. */
    if (entry->failures < free + MOST_COUNTED &&
        (entry->failures <= free ||
         delay_of(&strangers->limits, entry->failures, free) < strangers->limits.delay_most))
        entry->failures++;
    weir_usec until = now + delay_of(&strangers->limits, entry->failures, free);
    if (until > entry->closed_until)
        entry->closed_until = until;
    return entry->closed_until;
}

static weir_usec later(weir_usec left, weir_usec right)
{
    return left > right ? left : right;
}

weir_usec weir_strangers_failed(struct weir_strangers *strangers,
                                const struct weir_stranger *stranger, const char *user,
                                weir_usec now)
{
    if (strangers->limits.delay <= 0)
        return now;
    weir_usec of_user = count_failure(strangers, weir_strangers_key(strangers, stranger, user), now,
                                      WEIR_FREE_FAILURES, WEIR_FAILURE_FORGOTTEN);
    weir_usec of_address =
        count_failure(strangers, weir_strangers_key(strangers, stranger, NULL), now,
                      WEIR_FREE_ADDRESS_FAILURES, WEIR_FAILURE_FORGOTTEN / WEIR_ADDRESS_FORGETS);
    return later(of_user, of_address);
}

static weir_usec closed_until(const struct weir_strangers *strangers, uint64_t key)
{
    const struct entry *entry = find(strangers, key);
    return entry != NULL ? entry->closed_until : 0;
}

weir_usec weir_strangers_wait(const struct weir_strangers *strangers,
                              const struct weir_stranger *stranger, const char *user)
{
    if (strangers->limits.delay <= 0)
        return 0;
    return later(closed_until(strangers, weir_strangers_key(strangers, stranger, user)),
                 closed_until(strangers, weir_strangers_key(strangers, stranger, NULL)));
}
