#include "reply_queue.h"

#include <stdlib.h>

#include "weir/memory.h"

void reply_queue_grow(struct reply_queue *queue)
{
    uint32_t capacity = queue->capacity == 0 ? 16 : queue->capacity * 2;
    struct reply *items = weir_alloc(capacity * sizeof(*items));
    for (uint32_t i = 0; i < queue->count; i++)
        items[i] = *reply_at(queue, i);
    free(queue->items);
    queue->items = items;
    queue->capacity = capacity;
    queue->head = 0;
}
