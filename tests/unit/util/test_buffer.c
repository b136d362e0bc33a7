#include "weir/buffer.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(buffer, empty_owns_nothing)
{
    struct weir_buffer buffer = {0};
    cr_assert(weir_buffer_append(&buffer, "abc", 3));
    cr_assert_not_null(buffer.data);
    weir_buffer_consume(&buffer, 3);
    cr_assert_null(buffer.data);
    cr_assert_eq(buffer.capacity, 0);
    weir_buffer_consume(&buffer, 0);
    cr_assert(weir_buffer_append(&buffer, NULL, 0));
    cr_assert_null(buffer.data);
}

Test(buffer, keeps_order_against_a_model)
{
    static uint8_t model[1 << 20];
    size_t head = 0;
    size_t tail = 0;
    struct weir_buffer buffer = {0};
    srand(7);
    for (int round = 0; round < 4000; round++) {
        size_t n = (size_t)(rand() % 257);
        if (tail + n > sizeof(model))
            break;
        for (size_t i = 0; i < n; i++)
            model[tail + i] = (uint8_t)rand();
        cr_assert(weir_buffer_append(&buffer, model + tail, n));
        tail += n;
        size_t length = weir_buffer_length(&buffer);
        cr_assert_eq(length, tail - head);
        if (length > 0)
            cr_assert_eq(memcmp(weir_buffer_bytes(&buffer), model + head, length), 0);
        size_t drop = length == 0 ? 0 : (size_t)rand() % (length + 1);
        weir_buffer_consume(&buffer, drop);
        head += drop;
    }
    weir_buffer_clear(&buffer);
}

Test(buffer, compacts_instead_of_growing)
{
    struct weir_buffer buffer = {0};
    uint8_t block[100] = {1};
    for (int i = 0; i < 100000; i++) {
        cr_assert(weir_buffer_append(&buffer, block, sizeof(block)));
        if (weir_buffer_length(&buffer) > 100)
            weir_buffer_consume(&buffer, 100);
    }
    cr_assert_leq(buffer.capacity, 512);
    weir_buffer_clear(&buffer);
}

Test(buffer, grows_by_doubling)
{
    struct weir_buffer buffer = {0};
    int growths = 0;
    for (int i = 0; i < 1 << 20; i++) {
        uint32_t before = buffer.capacity;
        cr_assert(weir_buffer_append(&buffer, "x", 1));
        growths += buffer.capacity != before;
    }
    cr_assert_leq(growths, 13);
    weir_buffer_clear(&buffer);
}

Test(buffer, is_bounded)
{
    struct weir_buffer buffer = {0};
    cr_assert_null(weir_buffer_reserve(&buffer, ((size_t)1 << 31) + 1));
    cr_assert_null(weir_buffer_reserve(&buffer, SIZE_MAX));
    cr_assert(weir_buffer_append(&buffer, "abc", 3));
    cr_assert_null(weir_buffer_reserve(&buffer, ((size_t)1 << 31) - 2));
    cr_assert_null(weir_buffer_reserve(&buffer, SIZE_MAX));
    cr_assert_eq(weir_buffer_length(&buffer), 3);
    cr_assert_eq(memcmp(weir_buffer_bytes(&buffer), "abc", 3), 0);
    weir_buffer_clear(&buffer);
}

Test(buffer, reserve_of_nothing_is_a_valid_place)
{
    struct weir_buffer buffer = {0};
    cr_assert_not_null(weir_buffer_reserve(&buffer, 0));
    weir_buffer_clear(&buffer);
}

/* Memory that is given up cannot be looked at here: tests/scenario/test_secrets.py reads the process's. */
Test(buffer, a_secret_leaves_nothing_beside_what_is_kept)
{
    struct weir_buffer buffer = {.secret = true};
    char text[] = "a password and more";
    for (int i = 0; i < 20; i++)
        cr_assert(weir_buffer_append(&buffer, text, sizeof(text) - 1));
    weir_buffer_consume(&buffer, 200);
    buffer.end -= 100; /* as a stream does that keeps a part */
    weir_buffer_publish(&buffer);
    cr_assert_not(buffer.secret);
    for (uint32_t i = 0; i < buffer.capacity; i++)
        cr_assert(i >= buffer.start && i < buffer.end ? buffer.data[i] != 0 : buffer.data[i] == 0,
                  "%u", i);
    weir_buffer_clear(&buffer);
    buffer.secret = true;
    cr_assert(weir_buffer_append(&buffer, text, 5));
    weir_buffer_consume(&buffer, 5);
    cr_assert(buffer.secret, "it stays one when it is empty");
    cr_assert_null(buffer.data);
    weir_buffer_publish(&buffer);
}

Test(buffer, strings_one_after_the_other)
{
    struct weir_buffer buffer = {0};
    cr_assert_null(weir_buffer_next_string(&buffer, NULL));
    static const char *const texts[] = {"one", "", "three"};
    for (size_t i = 0; i < 3; i++)
        cr_assert(weir_buffer_append(&buffer, texts[i], strlen(texts[i]) + 1));
    const char *at = NULL;
    for (size_t i = 0; i < 3; i++) {
        at = weir_buffer_next_string(&buffer, at);
        cr_assert_str_eq(at, texts[i]);
    }
    cr_assert_null(weir_buffer_next_string(&buffer, at));
    weir_buffer_clear(&buffer);
}
