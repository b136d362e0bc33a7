/* Appending primitive values and message frames to a buffer. */
#include "weir/wire.h"

#include <string.h>

void weir_write_bytes(struct weir_writer *writer, const void *bytes, size_t length)
{
    if (writer->failed || length == 0) {
        return;
    }
    if (!weir_buffer_append(writer->out, bytes, length)) {
        writer->failed = true;
    }
}

void weir_write_u8(struct weir_writer *writer, uint8_t value)
{
    weir_write_bytes(writer, &value, sizeof value);
}

void weir_write_u16(struct weir_writer *writer, uint16_t value)
{
    const uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    weir_write_bytes(writer, bytes, sizeof bytes);
}

void weir_write_u32(struct weir_writer *writer, uint32_t value)
{
    uint8_t bytes[4];
    weir_put_u32(bytes, value);
    weir_write_bytes(writer, bytes, sizeof bytes);
}

void weir_write_string(struct weir_writer *writer, const char *text)
{
    weir_write_bytes(writer, text, strlen(text) + 1);
}

/* The offset is that of the length word and counts from `start`, because making room may move the
 * bytes to the front of the buffer. */
size_t weir_message_begin(struct weir_writer *writer, char type)
{
    if (type != 0) {
        weir_write_u8(writer, (uint8_t)type);
    }
    const size_t begin = weir_buffer_length(writer->out);
    weir_write_u32(writer, 0);
    return begin;
}

void weir_message_end(struct weir_writer *writer, size_t begin)
{
    if (writer->failed) {
        return;
    }
    const size_t total = weir_buffer_length(writer->out);
    weir_require(total >= 4 && begin <= total - 4);
    if (total - begin > INT32_MAX) { /* the protocol's length is signed */
        writer->failed = true;
        return;
    }
    weir_put_u32(weir_buffer_bytes(writer->out) + begin, (uint32_t)(total - begin));
}
