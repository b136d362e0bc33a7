#include "weir/text.h"

#include <stdio.h>
#include <string.h>

size_t weir_text_sequence(const unsigned char *bytes, size_t length)
{
    unsigned char lead = bytes[0];
    if (lead < 0x80)
        return 1;
    size_t need = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || length < need)
        return 0;
    for (size_t i = 1; i < need; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    }
    /* Overlong forms, surrogates and what lies beyond U+10FFFF. */
    if ((lead == 0xe0 && bytes[1] < 0xa0) || (lead == 0xed && bytes[1] > 0x9f) ||
        (lead == 0xf0 && bytes[1] < 0x90) || (lead == 0xf4 && bytes[1] > 0x8f))
        return 0;
    return need;
}

/* C0, DEL, and the C1 controls (U+0080 to U+009F), which terminals obey too. */
static bool is_control(const unsigned char *bytes, size_t sequence)
{
    if (sequence == 1)
        return bytes[0] < 0x20 || bytes[0] == 0x7f;
    return sequence == 2 && bytes[0] == 0xc2 && bytes[1] < 0xa0;
}

static char short_escape(unsigned char byte)
{
    switch (byte) {
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return '\0';
    }
}

static bool append_hex(struct weir_buffer *out, enum weir_escape how, const unsigned char *bytes,
                       size_t sequence)
{
    char text[16];
    if (how == WEIR_ESCAPE_JSON) {
        unsigned int point = sequence == 1 ? bytes[0] : bytes[1];
        snprintf(text, sizeof(text), "\\u%04x", sequence == 0 ? 0xfffdU : point);
        return weir_buffer_append(out, text, strlen(text));
    }
    for (size_t i = 0; i < (sequence == 0 ? 1 : sequence); i++) {
        snprintf(text, sizeof(text), "\\x%02x", bytes[i]);
        if (!weir_buffer_append(out, text, strlen(text)))
            return false;
    }
    return true;
}

static bool append_one(struct weir_buffer *out, enum weir_escape how, const unsigned char *bytes,
                       size_t sequence)
{
    char pair[2] = {'\\', '\0'};
    if (sequence == 1 && short_escape(bytes[0]) != '\0') {
        pair[1] = short_escape(bytes[0]);
        return weir_buffer_append(out, pair, 2);
    }
    if (sequence == 0 || is_control(bytes, sequence))
        return append_hex(out, how, bytes, sequence);
    if (how != WEIR_ESCAPE_TEXT && (bytes[0] == '"' || bytes[0] == '\\')) {
        pair[1] = (char)bytes[0];
        return weir_buffer_append(out, pair, 2);
    }
    return weir_buffer_append(out, bytes, sequence);
}

/* Bytes at the beginning that go as they are: nearly always all of them. */
static size_t plain_length(const unsigned char *bytes, size_t length)
{
    size_t plain = 0;
    while (plain < length && bytes[plain] >= ' ' && bytes[plain] < 0x7f && bytes[plain] != '"' &&
           bytes[plain] != '\\')
        plain++;
    return plain;
}

bool weir_text_escape(struct weir_buffer *out, enum weir_escape how, const char *text,
                      size_t length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    for (size_t at = 0; at < length;) {
        size_t plain = plain_length(bytes + at, length - at);
        if (!weir_buffer_append(out, bytes + at, plain))
            return false;
        at += plain;
        if (at == length)
            break;
        size_t sequence = weir_text_sequence(bytes + at, length - at);
        if (!append_one(out, how, bytes + at, sequence))
            return false;
        at += sequence == 0 ? 1 : sequence;
    }
    return true;
}

bool weir_text_is_whole(const char *text, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    for (size_t at = 0, sequence; at < length; at += sequence) {
        sequence = weir_text_sequence(bytes + at, length - at);
        if (sequence == 0)
            return false;
    }
    return true;
}

bool weir_text_mend(struct weir_buffer *out, const char *text, size_t length)
{
    static const char broken[] = "\xef\xbf\xbd";
    const unsigned char *bytes = (const unsigned char *)text;
    for (size_t at = 0; at < length;) {
        size_t sequence = weir_text_sequence(bytes + at, length - at);
        if (sequence == 0 ? !weir_buffer_append(out, broken, strlen(broken))
                          : !weir_buffer_append(out, bytes + at, sequence))
            return false;
        at += sequence == 0 ? 1 : sequence;
    }
    return true;
}
