#include "base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t weir_base64_encode(const uint8_t *bytes, size_t length, char *text)
{
    char *to = text;
    size_t i = 0;
    for (; i + 3 <= length; i += 3) {
        uint32_t group = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
        *to++ = alphabet[group >> 18];
        *to++ = alphabet[group >> 12 & 63];
        *to++ = alphabet[group >> 6 & 63];
        *to++ = alphabet[group & 63];
    }
    if (i < length) {
        bool two = i + 1 < length;
        uint32_t group = (uint32_t)bytes[i] << 16 | (two ? (uint32_t)bytes[i + 1] << 8 : 0);
        *to++ = alphabet[group >> 18];
        *to++ = alphabet[group >> 12 & 63];
        *to++ = two ? alphabet[group >> 6 & 63] : '=';
        *to++ = '=';
    }
    *to = '\0';
    return (size_t)(to - text);
}

/* The six bits of a character, or -1. */
static int value_of(char character)
{
    if (character >= 'A' && character <= 'Z')
        return character - 'A';
    if (character >= 'a' && character <= 'z')
        return character - 'a' + 26;
    if (character >= '0' && character <= '9')
        return character - '0' + 52;
    if (character == '+')
        return 62;
    if (character == '/')
        return 63;
    return -1;
}

bool weir_base64_decode(const char *text, size_t text_length, uint8_t *bytes, size_t capacity,
                        size_t *length)
{
    if (text_length % 4 != 0)
        return false;
    size_t padding = 0;
    while (padding < 2 && padding < text_length && text[text_length - 1 - padding] == '=')
        padding++;
    size_t total = text_length / 4 * 3 - padding;
    if (total > capacity)
        return false;

    size_t written = 0;
    for (size_t i = 0; i < text_length; i += 4) {
        uint32_t group = 0;
        for (size_t k = 0; k < 4; k++) {
            bool pad = i + k >= text_length - padding;
            int value = pad ? 0 : value_of(text[i + k]);
            if (value < 0)
                return false;
            group = group << 6 | (uint32_t)value;
        }
        for (unsigned shift = 16; written < total; shift -= 8) {
            bytes[written++] = (uint8_t)(group >> shift);
            if (shift == 0)
                break;
        }
    }
    *length = total;
    return true;
}

bool weir_base64_decode_exact(const char *text, size_t text_length, uint8_t *bytes, size_t length)
{
    size_t decoded;
    return text_length + 1 == WEIR_BASE64_SIZE(length) &&
           weir_base64_decode(text, text_length, bytes, length, &decoded) && decoded == length;
}
