/* Shared by the tests of the wire. */
#ifndef WEIR_TEST_WIRE_SUPPORT_H
#define WEIR_TEST_WIRE_SUPPORT_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weir/wire.h"

/* A string literal with zero bytes inside, as bytes and their number. */
#define BYTES(literal)     ((const uint8_t *)(literal))
#define LENGTH_OF(literal) (sizeof(literal) - 1)
#define COUNT_OF(array)    (sizeof(array) / sizeof *(array))

/* A copy in memory of exactly this size, so that the address sanitizer sees the first byte read
 * past a cut. Freed with free(). */
static inline uint8_t *copy_exactly(const void *bytes, size_t length)
{
    uint8_t *copy = malloc(length > 0 ? length : 1);
    if (copy == NULL) {
        abort();
    }
    if (length > 0) {
        memcpy(copy, bytes, length);
    }
    return copy;
}

#endif
