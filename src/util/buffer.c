#include "weir/buffer.h"

#include <stdlib.h>
#include <string.h>

#include "weir/memory.h"

#define SMALLEST_CAPACITY ((size_t)256)
#define LARGEST_CAPACITY  ((size_t)1 << 31)

/* Moving the unread bytes to the front is cheaper than growing as long as they are not more than
 * what was consumed before them: then each byte is moved at most once per time it was consumed
 * past, and a queue that is filled and drained in step stays linear. At the largest capacity there
 * is no choice. */
static bool should_compact(const struct weir_buffer *buffer, size_t needed)
{
    return buffer->data != NULL && needed <= buffer->capacity &&
           (weir_buffer_length(buffer) <= buffer->start || buffer->capacity == LARGEST_CAPACITY);
}

static void compact(struct weir_buffer *buffer)
{
    size_t length = weir_buffer_length(buffer);
    memmove(buffer->data, weir_buffer_bytes(buffer), length);
    buffer->start = 0;
    buffer->end = (uint32_t)length;
}

static void give_up(struct weir_buffer *buffer)
{
    if (buffer->secret)
        weir_wipe(buffer->data, buffer->capacity);
    free(buffer->data);
}

/* Fresh memory rather than realloc, so that consumed bytes are not copied along. */
static bool grow(struct weir_buffer *buffer, size_t needed)
{
    size_t capacity =
        buffer->capacity < SMALLEST_CAPACITY ? SMALLEST_CAPACITY : (size_t)buffer->capacity * 2;
    while (capacity < needed)
        capacity *= 2;
    if (capacity > LARGEST_CAPACITY)
        capacity = LARGEST_CAPACITY;
    uint8_t *data = malloc(capacity);
    if (data == NULL)
        return false;
    size_t length = weir_buffer_length(buffer);
    if (length > 0)
        memcpy(data, weir_buffer_bytes(buffer), length);
    give_up(buffer);
    buffer->data = data;
    buffer->start = 0;
    buffer->end = (uint32_t)length;
    buffer->capacity = (uint32_t)capacity;
    return true;
}

uint8_t *weir_buffer_reserve(struct weir_buffer *buffer, size_t more)
{
    size_t length = weir_buffer_length(buffer);
    if (more > LARGEST_CAPACITY - length)
        return NULL;
    /* A buffer without memory has a room of zero bytes; hand out a valid pointer all the same. */
    if (buffer->data == NULL || more > (size_t)buffer->capacity - buffer->end) {
        if (should_compact(buffer, length + more))
            compact(buffer);
        else if (!grow(buffer, length + more))
            return NULL;
    }
    return buffer->data + buffer->end;
}

bool weir_buffer_append(struct weir_buffer *buffer, const void *bytes, size_t n)
{
    if (n == 0)
        return true;
    uint8_t *room = weir_buffer_reserve(buffer, n);
    if (room == NULL)
        return false;
    memcpy(room, bytes, n);
    buffer->end += (uint32_t)n;
    return true;
}

const char *weir_buffer_next_string(const struct weir_buffer *buffer, const char *previous)
{
    if (weir_buffer_length(buffer) == 0)
        return NULL;
    const char *first = (const char *)weir_buffer_bytes(buffer);
    const char *next = previous == NULL ? first : previous + strlen(previous) + 1;
    return next < first + weir_buffer_length(buffer) ? next : NULL;
}

void weir_buffer_consume(struct weir_buffer *buffer, size_t n)
{
    weir_require(n <= weir_buffer_length(buffer));
    buffer->start += (uint32_t)n;
    if (buffer->start == buffer->end)
        weir_buffer_clear(buffer);
}

void weir_buffer_clear(struct weir_buffer *buffer)
{
    give_up(buffer);
    *buffer = (struct weir_buffer){.secret = buffer->secret};
}

void weir_buffer_publish(struct weir_buffer *buffer)
{
    if (buffer->secret && buffer->data != NULL) {
        weir_wipe(buffer->data, buffer->start);
        weir_wipe(buffer->data + buffer->end, buffer->capacity - buffer->end);
    }
    buffer->secret = false;
}
