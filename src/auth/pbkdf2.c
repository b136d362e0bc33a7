#define OPENSSL_SUPPRESS_DEPRECATED

#include "pbkdf2.h"

#include <string.h>

#include "weir/memory.h"
#include "weir/require.h"

static void load_words(uint32_t words[8], const uint8_t bytes[WEIR_SHA256_LENGTH])
{
    for (size_t i = 0; i < 8; i++) {
        memcpy(&words[i], bytes + 4 * i, 4);
        words[i] = __builtin_bswap32(words[i]);
    }
}

static void store_words(uint8_t bytes[WEIR_SHA256_LENGTH], const uint32_t words[8])
{
    for (size_t i = 0; i < 8; i++) {
        uint32_t word = __builtin_bswap32(words[i]);
        memcpy(bytes + 4 * i, &word, 4);
    }
}

void weir_pbkdf2_begin(struct weir_pbkdf2 *state, const void *password, size_t password_length,
                       const void *salt, size_t salt_length, uint32_t iterations)
{
    weir_require(iterations > 0);
    static const uint8_t first_block[4] = {0, 0, 0, 1};
    struct weir_hmac hmac;
    uint8_t digest[WEIR_SHA256_LENGTH];

    weir_hmac_begin(&hmac, password, password_length);
    state->inner = hmac.inner;
    state->outer = hmac.outer;
    weir_hmac_add(&hmac, salt, salt_length);
    weir_hmac_add(&hmac, first_block, sizeof(first_block));
    weir_hmac_end(&hmac, digest);

    load_words(state->last, digest);
    memcpy(state->sum, state->last, sizeof(state->sum));
    state->remaining = iterations - 1;
    weir_wipe(digest, sizeof(digest));
}

bool weir_pbkdf2_work(struct weir_pbkdf2 *state, uint32_t iterations)
{
    /* Every message from here on is one digest after a key block: 32 bytes, then always the same
     * padding, so each HMAC is exactly two runs of the compression function. */
    uint8_t block[WEIR_SHA256_BLOCK] = {0};
    block[WEIR_SHA256_LENGTH] = 0x80;
    block[WEIR_SHA256_BLOCK - 2] = (WEIR_SHA256_BLOCK + WEIR_SHA256_LENGTH) * 8 >> 8;
    block[WEIR_SHA256_BLOCK - 1] = (WEIR_SHA256_BLOCK + WEIR_SHA256_LENGTH) * 8 & 255;

    if (iterations > state->remaining)
        iterations = state->remaining;
    SHA256_CTX hash = state->inner;
    store_words(block, state->last);
    for (uint32_t i = 0; i < iterations; i++) {
        memcpy(hash.h, state->inner.h, sizeof(hash.h));
        SHA256_Transform(&hash, block);
        store_words(block, hash.h);
        memcpy(hash.h, state->outer.h, sizeof(hash.h));
        SHA256_Transform(&hash, block);
        store_words(block, hash.h);
        for (size_t k = 0; k < 8; k++)
            state->sum[k] ^= hash.h[k];
    }
    load_words(state->last, block);
    state->remaining -= iterations;
    weir_wipe(block, sizeof(block));
    weir_wipe(&hash, sizeof(hash));
    return state->remaining == 0;
}

void weir_pbkdf2_end(struct weir_pbkdf2 *state, uint8_t key[WEIR_SHA256_LENGTH])
{
    weir_require(state->remaining == 0);
    store_words(key, state->sum);
    weir_wipe(state, sizeof(*state));
}
