/* A growable byte queue: bytes are appended at `end` and consumed from `start`. Empty buffers own
 * no memory, so an idle connection costs this struct only. */
#ifndef WEIR_BUFFER_H
#define WEIR_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/require.h"

struct weir_buffer {
    uint8_t *data;
    uint32_t start;
    uint32_t end;
    uint32_t capacity;
    bool secret; /* set by its owner: memory that is given up is wiped first */
};

static inline size_t weir_buffer_length(const struct weir_buffer *buffer)
{
    return buffer->end - buffer->start;
}

static inline uint8_t *weir_buffer_bytes(const struct weir_buffer *buffer)
{
    /* Not data + start: adding nothing to NULL is undefined, too. */
    return (uint8_t *)((uintptr_t)buffer->data + buffer->start);
}

/* Makes room for `more` bytes after `end` and returns where they go, or NULL when memory is out or
 * the total would pass 2 GB. The caller then advances `end`. */
uint8_t *weir_buffer_reserve(struct weir_buffer *buffer, size_t more);
/* Appends a copy; false when memory is out. */
weir_must_check bool weir_buffer_append(struct weir_buffer *buffer, const void *bytes, size_t n);
/* Of strings that were appended with their zero bytes: the one behind `previous`, the first for NULL; NULL
 * behind the last. */
const char *weir_buffer_next_string(const struct weir_buffer *buffer, const char *previous);
/* Drops `n` bytes from the front; memory is freed when the buffer becomes empty. */
void weir_buffer_consume(struct weir_buffer *buffer, size_t n);
/* Frees the memory; the struct is an empty buffer afterwards, as secret as it was. */
void weir_buffer_clear(struct weir_buffer *buffer);
/* What it holds from now on is no secret any more: what is left of earlier bytes is wiped. */
void weir_buffer_publish(struct weir_buffer *buffer);

#endif
