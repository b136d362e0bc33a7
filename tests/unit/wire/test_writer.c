#include <criterion/criterion.h>
#include <sys/mman.h>

#include "support.h"

#define FULL ((uint32_t)1 << 31) /* the most that a buffer holds */

static void expect_bytes(const struct weir_buffer *buffer, const void *bytes, size_t length)
{
    cr_assert_eq(weir_buffer_length(buffer), length, "%zu bytes instead of %zu",
                 weir_buffer_length(buffer), length);
    cr_assert_arr_eq(weir_buffer_bytes(buffer), bytes, length);
}

Test(writer, writes_in_network_order)
{
    static const char expected[] = "\x01\x02\x03\xfe\xdc\xba\x98text\0\xff\xee";
    struct weir_buffer buffer = {0};
    struct weir_writer writer = weir_writer_to(&buffer);
    weir_write_u8(&writer, 1);
    weir_write_u16(&writer, 0x0203);
    weir_write_u32(&writer, 0xfedcba98);
    weir_write_string(&writer, "text");
    weir_write_bytes(&writer, "\xff\xee", 2);
    weir_write_bytes(&writer, NULL, 0);
    cr_expect_not(writer.failed);
    expect_bytes(&buffer, expected, LENGTH_OF(expected));
    weir_buffer_clear(&buffer);
}

Test(writer, counts_the_length_without_the_type)
{
    struct weir_buffer buffer = {0};
    struct weir_writer writer = weir_writer_to(&buffer);
    size_t begin = weir_message_begin(&writer, 'x');
    weir_write_u8(&writer, 7);
    weir_message_end(&writer, begin);
    begin = weir_message_begin(&writer, 0);
    weir_write_u16(&writer, 8);
    weir_message_end(&writer, begin);
    static const char expected[] = "x\0\0\0\5\7\0\0\0\6\0\x08";
    expect_bytes(&buffer, expected, LENGTH_OF(expected));
    weir_buffer_clear(&buffer);
}

/* While a message grows the buffer may move its unread bytes to the front: the length must still be
 * filled in at the right place. */
Test(writer, finds_the_length_word_after_the_bytes_moved)
{
    for (size_t consumed = 0; consumed < 300; consumed += 7) {
        struct weir_buffer buffer = {0};
        struct weir_writer writer = weir_writer_to(&buffer);
        for (size_t i = 0; i < 300; i++) {
            weir_write_u8(&writer, 'a');
        }
        weir_buffer_consume(&buffer, consumed);
        const size_t begin = weir_message_begin(&writer, 'm');
        for (size_t i = 0; i < 1000; i++) {
            weir_write_u8(&writer, 'b');
        }
        weir_message_end(&writer, begin);

        const size_t before = 300 - consumed;
        cr_assert_eq(weir_buffer_length(&buffer), before + WEIR_WIRE_HEADER + 1000);
        const uint8_t *message = weir_buffer_bytes(&buffer) + before;
        cr_expect_eq(message[0], 'm', "consumed %zu", consumed);
        cr_expect_eq(weir_get_u32(message + 1), 1004, "consumed %zu", consumed);
        cr_expect_eq(message[-1], 'a');
        cr_expect_eq(message[5], 'b');
        weir_buffer_clear(&buffer);
    }
}

Test(writer, stays_failed_when_memory_is_out)
{
    uint8_t byte = 'q';
    struct weir_buffer buffer = {.data = &byte, .end = FULL, .capacity = FULL};
    struct weir_writer writer = weir_writer_to(&buffer);
    const size_t begin = weir_message_begin(&writer, 'Q');
    cr_expect(writer.failed);
    weir_message_end(&writer, begin);
    buffer = (struct weir_buffer){0};
    weir_write_string(&writer, "select 1");
    weir_write_ready_for_query(&writer, 'I');
    weir_write_error(&writer, "ERROR", "53200", "out of memory", NULL, NULL);
    cr_expect(writer.failed);
    cr_expect_eq(weir_buffer_length(&buffer), 0, "nothing is written after the failure");
    cr_expect_eq(byte, 'q');
}

Test(writer, refuses_a_length_beyond_the_signed_word)
{
    /* Pages that nobody touches cost nothing. */
    uint8_t *pages = mmap(NULL, FULL, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    cr_assert_neq(pages, MAP_FAILED);
    struct weir_buffer buffer = {.data = pages, .end = FULL, .capacity = FULL};
    struct weir_writer writer = weir_writer_to(&buffer);
    weir_message_end(&writer, 0);
    cr_expect(writer.failed);
    cr_expect_eq(weir_get_u32(pages), 0);

    writer = weir_writer_to(&buffer);
    weir_message_end(&writer, 1);
    cr_expect_not(writer.failed);
    cr_expect_eq(weir_get_u32(pages + 1), INT32_MAX);
    munmap(pages, FULL);
}
