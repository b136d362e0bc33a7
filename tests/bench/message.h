/* Bytes of the PostgreSQL protocol, version 3: a growing output and the messages written to it. */
#ifndef BENCH_MESSAGE_H
#define BENCH_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes from start to end are held; those before start have been consumed. */
struct bench_bytes {
    char *data;
    size_t start;
    size_t end;
    size_t capacity;
};

enum {
    BENCH_MESSAGE_HEAD = 5, /* type and length */
    BENCH_PROTOCOL_3_0 = 196608,
    BENCH_CANCEL_REQUEST = 80877102,
    BENCH_SSL_REQUEST = 80877103,
    BENCH_GSS_REQUEST = 80877104,
};

static inline uint32_t bench_read_u32(const char *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return __builtin_bswap32(value);
}

static inline void bench_write_u32(char *at, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(at, &value, sizeof value);
}

static inline size_t bench_bytes_held(const struct bench_bytes *bytes)
{
    return bytes->end - bytes->start;
}

/* Room for that many more bytes at data + end; moves what is held to the front when that helps. */
void bench_bytes_reserve(struct bench_bytes *bytes, size_t more);
void bench_bytes_append(struct bench_bytes *bytes, const void *data, size_t size);
void bench_bytes_consume(struct bench_bytes *bytes, size_t size);

/* Sends what is held, as far as the socket takes it; false when the peer is gone. */
bool bench_bytes_send(struct bench_bytes *bytes, int fd);

/* begin returns the mark that end needs to fill in the length. */
size_t bench_message_begin(struct bench_bytes *bytes, char type);
void bench_message_end(struct bench_bytes *bytes, size_t mark);
void bench_message_u8(struct bench_bytes *bytes, uint8_t value);
void bench_message_u16(struct bench_bytes *bytes, uint16_t value);
void bench_message_u32(struct bench_bytes *bytes, uint32_t value);
void bench_message_string(struct bench_bytes *bytes, const char *text);

/* The whole message when its body is empty, or one zero-ended string. */
void bench_message_empty(struct bench_bytes *bytes, char type);
void bench_message_text(struct bench_bytes *bytes, char type, const char *text);

/* The packet that opens a session; with a setting unless that is NULL. */
void bench_message_startup(struct bench_bytes *bytes, const char *user, const char *database,
                           const char *setting, const char *value);

#endif
