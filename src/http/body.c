#include "body.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/memory.h"

char *weir_http_body_grow(struct weir_http_body *body, size_t more)
{
    uint8_t *place = body->broken ? NULL : weir_buffer_reserve(&body->bytes, more);
    body->broken = place == NULL;
    return (char *)place;
}

void weir_http_put_bytes(struct weir_http_body *body, const char *bytes, size_t length)
{
    char *place = weir_http_body_reserve(body, length);
    if (place == NULL)
        return;
    memcpy(place, bytes, length);
    body->bytes.end += (uint32_t)length;
}

void weir_http_put(struct weir_http_body *body, const char *text)
{
    weir_http_put_bytes(body, text, strlen(text));
}

void weir_http_put_list(struct weir_http_body *body, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        weir_http_put(body, texts[i]);
}

void weir_http_putf(struct weir_http_body *body, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    weir_require(length >= 0);
    weir_http_put_bytes(body, text, (size_t)length);
    free(text);
}

/* Most of a page of metrics is numbers: no printf for them. */
void weir_http_put_number(struct weir_http_body *body, uint64_t number)
{
    char digits[24];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    weir_http_put_bytes(body, digits + at, sizeof(digits) - at);
}

void weir_http_put_seconds(struct weir_http_body *body, weir_usec usec)
{
    if (usec < 0) {
        weir_http_put_bytes(body, "-", 1);
        usec = -usec;
    }
    weir_http_put_number(body, (uint64_t)(usec / WEIR_SEC));
    int64_t rest = usec % WEIR_SEC;
    if (rest == 0)
        return;
    char digits[7] = {'.'};
    size_t length = 1;
    for (int64_t unit = WEIR_SEC / 10; rest > 0; unit /= 10) {
        digits[length++] = (char)('0' + rest / unit);
        rest %= unit;
    }
    weir_http_put_bytes(body, digits, length);
}

static void put_escaped(struct weir_http_body *body, const char *text, const char *special,
                        const char *(*escape)(char byte))
{
    while (*text != '\0') {
        size_t plain = strcspn(text, special);
        weir_http_put_bytes(body, text, plain);
        text += plain;
        if (*text != '\0')
            weir_http_put(body, escape(*text++));
    }
}

static const char *escape_label(char byte)
{
    switch (byte) {
    case '\n':
        return "\\n";
    case '"':
        return "\\\"";
    default:
        return "\\\\";
    }
}

void weir_http_put_label(struct weir_http_body *body, const char *text)
{
    put_escaped(body, text, "\n\"\\", escape_label);
}

static const char *escape_html(char byte)
{
    switch (byte) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '"':
        return "&quot;";
    default:
        return "&#39;";
    }
}

void weir_http_put_html(struct weir_http_body *body, const char *text)
{
    put_escaped(body, text, "<>&\"'", escape_html);
}

void weir_http_body_clear(struct weir_http_body *body)
{
    weir_buffer_clear(&body->bytes);
    body->broken = false;
}

/* --- UTF-8 ----------------------------------------------------------------------------- */

/* jansson knows what is well formed. Most names need not be shown to it. */
static bool is_well_formed(const char *bytes, size_t length)
{
    size_t plain = 0;
    while (plain < length && (unsigned char)bytes[plain] - 1U < 127)
        plain++;
    if (plain == length)
        return true;
    json_t *string = json_stringn(bytes, length);
    json_decref(string);
    return string != NULL;
}

static size_t sequence_length(const char *bytes, size_t length)
{
    for (size_t n = 1; n <= 4 && n <= length; n++) {
        if (is_well_formed(bytes, n))
            return n;
    }
    return 0;
}

char *weir_http_clean(const char *text, size_t length)
{
    if (text == NULL)
        return weir_strdup("");
    if (is_well_formed(text, length))
        return weir_strndup(text, length);
    struct weir_http_body clean = {0};
    for (size_t i = 0; i < length;) {
        size_t sequence = sequence_length(text + i, length - i);
        if (sequence > 0)
            weir_http_put_bytes(&clean, text + i, sequence);
        else
            weir_http_put(&clean, "\xef\xbf\xbd");
        i += sequence > 0 ? sequence : 1;
    }
    char *copy = weir_strndup((const char *)weir_buffer_bytes(&clean.bytes),
                              weir_buffer_length(&clean.bytes));
    weir_http_body_clear(&clean);
    return copy;
}
