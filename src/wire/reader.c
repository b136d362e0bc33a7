/* The bounded reader under every parser of the wire. */
#include "weir/wire.h"

#include <string.h>

/* A reader over no memory still stands on a real address, so that pointer arithmetic stays defined
 * and a span of zero bytes differs from a failed read. */
static const uint8_t nowhere[1];

void weir_reader_init(struct weir_reader *reader, const void *bytes, size_t length)
{
    weir_require(bytes != NULL || length == 0);
    const uint8_t *first = bytes != NULL ? bytes : nowhere;
    *reader = (struct weir_reader){.at = first, .end = first + length};
}

size_t weir_reader_left(const struct weir_reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

/* Moving to the end makes every later read fail too, without a test of `failed` in each. */
static void fail(struct weir_reader *reader)
{
    reader->failed = true;
    reader->at = reader->end;
}

const uint8_t *weir_read_bytes(struct weir_reader *reader, size_t length)
{
    if (reader->failed || length > weir_reader_left(reader)) {
        fail(reader);
        return NULL;
    }
    const uint8_t *bytes = reader->at;
    reader->at += length;
    return bytes;
}

uint8_t weir_read_u8(struct weir_reader *reader)
{
    const uint8_t *bytes = weir_read_bytes(reader, 1);
    return bytes != NULL ? bytes[0] : 0;
}

uint16_t weir_read_u16(struct weir_reader *reader)
{
    const uint8_t *bytes = weir_read_bytes(reader, 2);
    return bytes != NULL ? (uint16_t)(bytes[0] << 8 | bytes[1]) : 0;
}

uint32_t weir_read_u32(struct weir_reader *reader)
{
    const uint8_t *bytes = weir_read_bytes(reader, 4);
    return bytes != NULL ? weir_get_u32(bytes) : 0;
}

const char *weir_read_string(struct weir_reader *reader)
{
    const uint8_t *text = reader->at;
    const uint8_t *terminator =
        reader->failed ? NULL : memchr(reader->at, 0, weir_reader_left(reader));
    if (terminator == NULL) {
        fail(reader);
        return NULL;
    }
    reader->at = terminator + 1;
    return (const char *)text;
}
