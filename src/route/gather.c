#include "gather.h"

#include <string.h>

bool gather_flush(struct gather *gather)
{
    if (gather->count > 0 && gather->to != NULL && !gather->failed &&
        !weir_stream_send(gather->to, gather->pieces, gather->count))
        gather->failed = true;
    gather->count = 0;
    gather->used = 0;
    return !gather->failed;
}

void gather_add(struct gather *gather, const uint8_t *bytes, size_t length)
{
    if (length == 0)
        return;
    if (gather->count == GATHER_PIECES) {
        gather_flush(gather);
        gather->flushed = true;
    }
    gather->pieces[gather->count++] =
        (struct iovec){.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
}

uint8_t *gather_room(struct gather *gather, size_t length)
{
    weir_require(length <= GATHER_SPACE);
    if (gather->used + length > GATHER_SPACE || gather->count == GATHER_PIECES) {
        gather_flush(gather);
        gather->flushed = true;
    }
    return gather->space + gather->used;
}

void gather_commit(struct gather *gather, size_t length)
{
    uint8_t *bytes = gather->space + gather->used;
    gather->used += (uint32_t)length;
    gather_pass(gather, bytes, length);
}

void gather_copy(struct gather *gather, const void *bytes, size_t length)
{
    const uint8_t *from = bytes;
    while (length > 0) {
        size_t part = length > GATHER_SPACE ? GATHER_SPACE : length;
        memcpy(gather_room(gather, part), from, part);
        gather_commit(gather, part);
        from += part;
        length -= part;
    }
}
