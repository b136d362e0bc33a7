#include "reply_queue.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct reply_queue queue;

static void destroy(void)
{
    free(queue.items);
}

TestSuite(reply_queue, .fini = destroy, .timeout = 60);

static uint32_t pushed, popped;

static void push(void)
{
    struct reply *reply = reply_push(&queue);
    reply->kind = (uint8_t)(pushed % 9);
    reply->purpose = (uint8_t)(pushed % 15);
    reply->subject = (void *)(uintptr_t)++pushed;
}

static void check_head(void)
{
    const struct reply *head = reply_head(&queue);
    cr_assert_not_null(head);
    cr_assert_eq(head, reply_at(&queue, 0));
    cr_assert_eq((uintptr_t)head->subject, popped + 1);
    cr_assert_eq(head->kind, popped % 9);
    cr_assert_eq(head->purpose, popped % 15);
}

static void pop(void)
{
    check_head();
    reply_pop(&queue);
    popped++;
}

Test(reply_queue, empty_owns_no_memory)
{
    cr_assert_null(reply_head(&queue));
    cr_assert_null(queue.items);
    push();
    pop();
    cr_assert_null(reply_head(&queue));
    cr_assert_eq(queue.capacity, 16);
}

Test(reply_queue, growth_keeps_the_order_from_every_head)
{
    for (uint32_t head = 0; head < 16; head++) {
        free(queue.items);
        queue = (struct reply_queue){0};
        pushed = popped = 0;
        for (uint32_t i = 0; i < head; i++) {
            push();
            pop();
        }
        /* Full to the brim, wrapped round when head > 0. */
        for (int i = 0; i < 16; i++)
            push();
        cr_assert_eq(queue.capacity, 16);
        cr_assert_eq(queue.head, head % 16);
        push();
        cr_assert_eq(queue.capacity, 32);
        cr_assert_eq(queue.count, 17);
        for (uint32_t i = 0; i < queue.count; i++)
            cr_assert_eq((uintptr_t)reply_at(&queue, i)->subject, popped + i + 1);
        while (queue.count > 0)
            pop();
        cr_assert_eq(pushed, popped);
    }
}

/* Long runs of pushes and pops in changing proportion: the ring wraps and grows many times. */
Test(reply_queue, order_is_kept_through_wraps_and_growth)
{
    pushed = popped = 0;
    uint32_t random = 12345;
    for (int step = 0; step < 200000; step++) {
        random = random * 1664525u + 1013904223u;
        uint32_t share = step / 1000 % 4 == 3 ? 25 : 50 + (uint32_t)(step / 1000 % 3) * 2;
        if ((random >> 16) % 100 < share || queue.count == 0)
            push();
        else
            pop();
        cr_assert_eq(queue.count, pushed - popped);
        cr_assert_leq(queue.count, queue.capacity);
        cr_assert_eq(queue.capacity & (queue.capacity - 1), 0);
    }
    cr_assert_gt(queue.capacity, 64);
    while (queue.count > 0)
        pop();
}
