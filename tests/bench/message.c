#include "message.h"

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

void bench_bytes_reserve(struct bench_bytes *bytes, size_t more)
{
    if (bytes->capacity - bytes->end >= more)
        return;
    size_t held = bench_bytes_held(bytes);
    if (bytes->start > 0) {
        memmove(bytes->data, bytes->data + bytes->start, held);
        bytes->start = 0;
        bytes->end = held;
    }
    if (bytes->capacity - bytes->end >= more)
        return;
    size_t capacity = bytes->capacity == 0 ? 512 : bytes->capacity;
    while (capacity - held < more)
        capacity *= 2;
    bytes->data = realloc(bytes->data, capacity);
    if (bytes->data == NULL)
        err(1, "out of memory");
    bytes->capacity = capacity;
}

void bench_bytes_append(struct bench_bytes *bytes, const void *data, size_t size)
{
    bench_bytes_reserve(bytes, size);
    memcpy(bytes->data + bytes->end, data, size);
    bytes->end += size;
}

void bench_bytes_consume(struct bench_bytes *bytes, size_t size)
{
    bytes->start += size;
    if (bytes->start == bytes->end)
        bytes->start = bytes->end = 0;
}

bool bench_bytes_send(struct bench_bytes *bytes, int fd)
{
    while (bench_bytes_held(bytes) > 0) {
        ssize_t sent = send(fd, bytes->data + bytes->start, bench_bytes_held(bytes), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN;
        bench_bytes_consume(bytes, (size_t)sent);
    }
    return true;
}

size_t bench_message_begin(struct bench_bytes *bytes, char type)
{
    bench_bytes_reserve(bytes, BENCH_MESSAGE_HEAD);
    bytes->data[bytes->end] = type;
    bytes->end += BENCH_MESSAGE_HEAD;
    /* Relative to start, which moves when the bytes are compacted. */
    return bench_bytes_held(bytes) - BENCH_MESSAGE_HEAD;
}

void bench_message_end(struct bench_bytes *bytes, size_t mark)
{
    char *head = bytes->data + bytes->start + mark;
    bench_write_u32(head + 1, (uint32_t)(bytes->data + bytes->end - head - 1));
}

void bench_message_u8(struct bench_bytes *bytes, uint8_t value)
{
    bench_bytes_append(bytes, &value, sizeof value);
}

void bench_message_u16(struct bench_bytes *bytes, uint16_t value)
{
    value = __builtin_bswap16(value);
    bench_bytes_append(bytes, &value, sizeof value);
}

void bench_message_u32(struct bench_bytes *bytes, uint32_t value)
{
    value = __builtin_bswap32(value);
    bench_bytes_append(bytes, &value, sizeof value);
}

void bench_message_string(struct bench_bytes *bytes, const char *text)
{
    bench_bytes_append(bytes, text, strlen(text) + 1);
}

void bench_message_empty(struct bench_bytes *bytes, char type)
{
    bench_message_end(bytes, bench_message_begin(bytes, type));
}

void bench_message_text(struct bench_bytes *bytes, char type, const char *text)
{
    size_t mark = bench_message_begin(bytes, type);
    bench_message_string(bytes, text);
    bench_message_end(bytes, mark);
}

void bench_message_startup(struct bench_bytes *bytes, const char *user, const char *database,
                           const char *setting, const char *value)
{
    struct bench_bytes body = {0};
    bench_message_u32(&body, BENCH_PROTOCOL_3_0);
    bench_message_string(&body, "user");
    bench_message_string(&body, user);
    bench_message_string(&body, "database");
    bench_message_string(&body, database);
    if (setting != NULL) {
        bench_message_string(&body, setting);
        bench_message_string(&body, value);
    }
    bench_message_u8(&body, 0);
    bench_message_u32(bytes, (uint32_t)(bench_bytes_held(&body) + sizeof(uint32_t)));
    bench_bytes_append(bytes, body.data, bench_bytes_held(&body));
    free(body.data);
}
