/* Output of one relay step: pieces of the input buffer and made-up bytes, in order, sent with one
 * system call. */
#ifndef WEIR_ROUTE_GATHER_H
#define WEIR_ROUTE_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "weir/net.h"

#define GATHER_PIECES 64
#define GATHER_SPACE  8192

struct gather {
    struct weir_stream *to; /* NULL: everything is dropped */
    int count;
    bool flushed; /* something was sent before the end already */
    bool failed;  /* the stream is dead; sticky until the next gather_begin */
    uint32_t used;
    struct iovec pieces[GATHER_PIECES];
    uint8_t space[GATHER_SPACE];
};

static inline void gather_begin(struct gather *gather, struct weir_stream *to)
{
    gather->to = to;
    gather->count = 0;
    gather->used = 0;
    gather->failed = false;
    gather->flushed = false;
}

/* Sends what is gathered. False: the stream is dead. */
bool gather_flush(struct gather *gather);
/* Slow path of gather_pass. */
void gather_add(struct gather *gather, const uint8_t *bytes, size_t length);

/* `bytes` must stay where they are until the flush. */
static inline void gather_pass(struct gather *gather, const uint8_t *bytes, size_t length)
{
    if (gather->count > 0) {
        struct iovec *last = &gather->pieces[gather->count - 1];
        if ((const uint8_t *)last->iov_base + last->iov_len == bytes) {
            last->iov_len += length;
            return;
        }
    }
    gather_add(gather, bytes, length);
}

/* Room for up to `length` made-up bytes (at most GATHER_SPACE); what is written there is added with
 * gather_commit. */
uint8_t *gather_room(struct gather *gather, size_t length);
void gather_commit(struct gather *gather, size_t length);
/* A copy of bytes of any length. */
void gather_copy(struct gather *gather, const void *bytes, size_t length);

#endif
