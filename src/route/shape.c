/* Digests of descriptions. Two descriptions with the same digest are taken for the same: who could
 * make them collide on purpose would only mislead itself. */
#include <string.h>

#include "statement.h"

#define SEED 0xcbf29ce484222325u

static inline uint64_t mix(uint64_t state, uint64_t value)
{
    state = (state ^ value) * 0x9e3779b97f4a7c15u;
    return state ^ (state >> 29);
}

static uint64_t mix_bytes(uint64_t state, const uint8_t *bytes, size_t length)
{
    uint64_t value;
    for (; length >= sizeof(value); length -= sizeof(value), bytes += sizeof(value)) {
        memcpy(&value, bytes, sizeof(value));
        state = mix(state, value);
    }
    value = 0;
    for (size_t i = 0; i < length; i++)
        value = value << 8 | bytes[i];
    return mix(state, value << 8 | length);
}

static uint64_t never_zero(uint64_t state)
{
    return state != 0 ? state : 1;
}

uint64_t shape_of_parameters(const uint8_t *body, size_t length)
{
    return never_zero(mix_bytes(SEED, body, length));
}

/* Names, types and modifiers of the columns. Table and column numbers do not count, nor do formats,
 * which a statement does not have and a portal does. */
uint64_t shape_of_columns(const uint8_t *body, size_t length)
{
    enum { ORIGIN = 6, TYPE = 10, FORMAT = 2 };
    uint64_t state = SEED;
    if (length < 2)
        return state;
    const uint8_t *at = body + 2, *end = body + length;
    while (at < end) {
        const uint8_t *name_end = memchr(at, '\0', (size_t)(end - at));
        if (name_end == NULL || end - name_end < 1 + ORIGIN + TYPE + FORMAT)
            break;
        state = mix_bytes(state, at, (size_t)(name_end - at));
        state = mix_bytes(state, name_end + 1 + ORIGIN, TYPE);
        at = name_end + 1 + ORIGIN + TYPE + FORMAT;
    }
    return never_zero(state);
}

uint64_t shape_of_statement(uint64_t parameters, uint64_t columns)
{
    return never_zero(mix(parameters, columns));
}
