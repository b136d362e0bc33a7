/* Cached keys, and derivations that are shared. */
#include <criterion/criterion.h>
#include <string.h>

#include "context.h"
#include "exchange.h"
#include "keycache.h"

static void identity_of(uint64_t number, uint8_t identity[WEIR_SHA256_LENGTH])
{
    weir_sha256(&number, sizeof(number), identity);
}

static struct weir_scram_keys keys_of(uint64_t number)
{
    struct weir_scram_keys keys = {{0}, {0}};
    memcpy(keys.client_key, &number, sizeof(number));
    return keys;
}

Test(keycache, finds_what_was_stored)
{
    struct weir_keycache cache = {0};
    uint8_t identity[WEIR_SHA256_LENGTH];
    struct weir_scram_keys keys;
    identity_of(0, identity);
    cr_expect_not(weir_keycache_find(&cache, identity, &keys));
    for (uint64_t i = 0; i < 1000; i++) {
        struct weir_scram_keys stored = keys_of(i);
        identity_of(i, identity);
        weir_keycache_store(&cache, identity, &stored);
    }
    cr_expect_leq(cache.count, 1000);
    cr_expect_geq(cache.count, 980, "%zu", cache.count);
    size_t found = 0;
    for (uint64_t i = 0; i < 2000; i++) {
        identity_of(i, identity);
        if (!weir_keycache_find(&cache, identity, &keys))
            continue;
        struct weir_scram_keys expected = keys_of(i);
        cr_expect_lt(i, 1000);
        cr_expect_arr_eq(&keys, &expected, sizeof(keys));
        found++;
    }
    cr_expect_eq(found, cache.count);
    weir_keycache_clear(&cache);
    cr_expect_not(weir_keycache_find(&cache, identity, &keys));
}

Test(keycache, replaces_and_stays_bounded)
{
    struct weir_keycache cache = {0};
    uint8_t favourite[WEIR_SHA256_LENGTH];
    struct weir_scram_keys keys = keys_of(7);
    identity_of(UINT64_MAX, favourite);
    weir_keycache_store(&cache, favourite, &keys);
    keys = keys_of(8);
    weir_keycache_store(&cache, favourite, &keys);
    cr_expect_eq(cache.count, 1);
    for (uint64_t i = 0; i < 2 * WEIR_KEYCACHE_MAX; i++) {
        uint8_t identity[WEIR_SHA256_LENGTH];
        identity_of(i, identity);
        weir_keycache_store(&cache, identity, &keys);
        /* What is in use stays, however many others come. */
        cr_assert(weir_keycache_find(&cache, favourite, &keys));
    }
    cr_expect_leq(cache.count, WEIR_KEYCACHE_MAX);
    cr_expect_eq(keys.client_key[0], 8);
    weir_keycache_clear(&cache);
}

/* --- derivations ---------------------------------------------------------------------------------
 */

static const uint8_t salt[16] = {1, 2, 3};

static unsigned work_to_end(struct weir_derivation *derivation, struct weir_scram_keys *keys)
{
    unsigned slices = 1;
    while (!weir_derivation_work(derivation, keys))
        slices++;
    return slices;
}

Test(derivation, remembers_only_when_told)
{
    struct weir_auth_context *context = weir_auth_context_create();
    struct weir_scram_keys first;
    struct weir_scram_keys second;
    for (int turn = 0; turn < 2; turn++) {
        struct weir_derivation *derivation =
            weir_derivation_start(context, "pencil", salt, sizeof(salt), 4096, &first);
        cr_assert_not_null(derivation, "turn %d", turn);
        cr_expect_gt(work_to_end(derivation, &first), 4);
        if (turn == 1)
            weir_derivation_remember(derivation);
        weir_derivation_release(derivation);
    }
    cr_expect_null(weir_derivation_start(context, "pencil", salt, sizeof(salt), 4096, &second));
    cr_expect_arr_eq(&first, &second, sizeof(first));

    /* Each of the three counts. */
    struct weir_derivation *others[] = {
        weir_derivation_start(context, "pencils", salt, sizeof(salt), 4096, &second),
        weir_derivation_start(context, "pencil", salt, sizeof(salt) - 1, 4096, &second),
        weir_derivation_start(context, "pencil", salt, sizeof(salt), 4097, &second),
    };
    for (size_t i = 0; i < 3; i++) {
        cr_expect_not_null(others[i]);
        weir_derivation_release(others[i]);
    }
    weir_auth_context_destroy(context);
}

Test(derivation, two_share_one)
{
    struct weir_auth_context *context = weir_auth_context_create();
    struct weir_scram_keys one;
    struct weir_scram_keys two;
    struct weir_derivation *first =
        weir_derivation_start(context, "pencil", salt, sizeof(salt), 4096, &one);
    cr_expect_not(weir_derivation_work(first, &one));
    struct weir_derivation *second =
        weir_derivation_start(context, "pencil", salt, sizeof(salt), 4096, &two);
    cr_expect_eq(first, second);
    work_to_end(second, &two);
    weir_derivation_release(second);
    cr_expect_eq(work_to_end(first, &one), 1);
    cr_expect_arr_eq(&one, &two, sizeof(one));
    weir_derivation_release(first);
    weir_auth_context_destroy(context);
}

Test(derivation, outlives_its_context)
{
    struct weir_auth_context *context = weir_auth_context_create();
    struct weir_scram_keys keys;
    struct weir_derivation *derivation =
        weir_derivation_start(context, "pencil", salt, sizeof(salt), 4096, &keys);
    weir_auth_context_destroy(context);
    work_to_end(derivation, &keys);
    weir_derivation_remember(derivation);
    weir_derivation_release(derivation);
}

/* --- through the face ----------------------------------------------------------------------------
 */

Test(derivation, one_password_is_derived_once)
{
    struct weir_auth_context *context = weir_auth_context_create();
    char password[] = "pencil";
    struct weir_credentials credentials = {.password = password};
    for (int login = 0; login < 100; login++) {
        struct exchange run =
            run_exchange(context, WEIR_AUTH_SCRAM, "user", "pencil", &credentials);
        cr_expect_eq(run.as_server, WEIR_AUTH_OK);
        cr_expect_eq(run.as_client, WEIR_AUTH_OK);
        /* Both sides want the same keys, so the second finds those of the first. */
        cr_expect_eq(run.slices_as_client > 0, login == 0);
        cr_expect_eq(run.slices_as_server, 0);
        weir_credentials_clear(&run.taken);
    }
    weir_auth_context_destroy(context);
}

Test(derivation, tried_passwords_are_not_cached)
{
    struct weir_auth_context *context = weir_auth_context_create();
    static const char secret[] =
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    char wrong[] = "wrong";
    char right[] = "pencil";
    for (int login = 0; login < 4; login++) {
        struct weir_credentials credentials = {.password = login < 2 ? wrong : right};
        struct exchange run = run_exchange(context, WEIR_AUTH_PLAIN, "user", secret, &credentials);
        cr_expect_eq(run.as_server, login < 2 ? WEIR_AUTH_FAILED : WEIR_AUTH_OK);
        cr_expect_eq(run.slices_as_server > 0, login < 3, "login %d", login);
        weir_credentials_clear(&run.taken);
    }
    weir_auth_context_destroy(context);
}
