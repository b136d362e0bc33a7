#include "text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "weir/memory.h"
#include "weir/require.h"

/* The longest that one character becomes: \u{10ffff}. */
#define ESCAPED_MAX 10

/* Length of the well-formed sequence at `text`, 0 when there is none. */
static size_t decode(const unsigned char *text, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = 0;
    if (text[0] < 0x80) {
        *code = text[0];
        return 1;
    }
    if (text[0] >= 0xc2 && text[0] <= 0xdf)
        length = 2;
    else if ((text[0] & 0xf0) == 0xe0)
        length = 3;
    else if (text[0] >= 0xf0 && text[0] <= 0xf4)
        length = 4;
    else
        return 0;
    uint32_t value = text[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (text[i] & 0x3f);
    }
    if (value < least[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *code = value;
    return length;
}

static bool is_blank(uint32_t code)
{
    return code == ' ' || (code >= '\t' && code <= '\r') || code == 0x85 || code == 0x2028 ||
           code == 0x2029;
}

/* Controls of both sets, what turns the direction of writing, and what is not seen at all. */
static bool is_dangerous(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},       {0x61c, 0x61c},
        {0x180e, 0x180e}, {0x200b, 0x200f}, {0x202a, 0x202e},   {0x2060, 0x206f},
        {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe0fff},
    };
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    }
    return false;
}

/* Writes one character at `to` and returns how many bytes of `text` it was. */
static size_t make_safe(const unsigned char *text, bool utf8, char **to)
{
    uint32_t code = 0;
    size_t length = decode(text, &code);
    if (length == 0) {
        *to += utf8 ? sprintf(*to, "\\x%02x", text[0]) : sprintf(*to, "?");
        return 1;
    }
    if (is_blank(code))
        *(*to)++ = ' ';
    else if (code < 0x80 && is_dangerous(code))
        *to += sprintf(*to, "\\x%02x", (unsigned)code);
    else if (!utf8 && code >= 0x80)
        *(*to)++ = '?';
    else if (is_dangerous(code) || (code >= 0x80 && wcwidth((wchar_t)code) < 0))
        *to += sprintf(*to, "\\u{%x}", (unsigned)code);
    else
        *to = mempcpy(*to, text, length);
    return length;
}

char *text_safe(const char *text, bool utf8)
{
    char *safe = weir_alloc(strlen(text) * ESCAPED_MAX + 1);
    char *to = safe;
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0';)
        at += make_safe(at, utf8, &to);
    char *fitting = realloc(safe, (size_t)(to - safe) + 1);
    return fitting != NULL ? fitting : safe;
}

size_t text_fit(const char *safe, size_t columns, size_t *taken)
{
    const unsigned char *at = (const unsigned char *)safe;
    *taken = 0;
    while (*at != '\0') {
        uint32_t code = 0;
        size_t length = decode(at, &code);
        int width = code < 0x80 ? 1 : wcwidth((wchar_t)code);
        weir_require(length > 0);
        if (*taken + (size_t)(width > 0 ? width : 0) > columns)
            break;
        *taken += (size_t)(width > 0 ? width : 0);
        at += length;
    }
    return (size_t)(at - (const unsigned char *)safe);
}

size_t text_width(const char *safe)
{
    size_t width = 0;
    text_fit(safe, SIZE_MAX, &width);
    return width;
}
