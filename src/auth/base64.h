/* Base64 with padding and without line breaks, RFC 4648 section 4. */
#ifndef WEIR_AUTH_BASE64_H
#define WEIR_AUTH_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Characters for `length` bytes, and one for the terminator. */
#define WEIR_BASE64_SIZE(length) (((length) + 2) / 3 * 4 + 1)

/* Writes the text and a terminator: WEIR_BASE64_SIZE(length) bytes. Returns the text's length. */
size_t weir_base64_encode(const uint8_t *bytes, size_t length, char *text);

/* Strict: whole groups of four, padding only at the end, no other characters. False when the text
 * is not base64 or gives more than `capacity` bytes. */
bool weir_base64_decode(const char *text, size_t text_length, uint8_t *bytes, size_t capacity,
                        size_t *length);
/* True when the text is base64 for exactly `length` bytes, which are written. */
bool weir_base64_decode_exact(const char *text, size_t text_length, uint8_t *bytes, size_t length);

#endif
