#include <criterion/criterion.h>

#include "support.h"

Test(reader, reads_in_network_order)
{
    static const char bytes[] = "\x01\x02\x03\xfe\xdc\xba\x98text\0\xff\xee";
    struct weir_reader reader;
    weir_reader_init(&reader, bytes, LENGTH_OF(bytes));
    cr_assert_eq(weir_reader_left(&reader), 14);
    cr_expect_eq(weir_read_u8(&reader), 1);
    cr_expect_eq(weir_read_u16(&reader), 0x0203);
    cr_expect_eq(weir_read_u32(&reader), 0xfedcba98);
    cr_expect_str_eq(weir_read_string(&reader), "text");
    cr_expect_eq(weir_read_bytes(&reader, 2), BYTES(bytes) + 12);
    cr_expect_eq(weir_reader_left(&reader), 0);
    cr_expect_not(reader.failed);
}

/* One walk over a fixed layout; at which step it fails says how many bytes were there. */
static void walk(struct weir_reader *reader)
{
    weir_read_u8(reader);
    weir_read_u16(reader);
    weir_read_u32(reader);
    weir_read_string(reader);
    weir_read_bytes(reader, 2);
}

Test(reader, fails_at_every_cut_and_stays_failed)
{
    static const char bytes[] = "\x01\x02\x03\xfe\xdc\xba\x98text\0\xff\xee";
    for (size_t cut = 0; cut < LENGTH_OF(bytes); cut++) {
        uint8_t *copy = copy_exactly(bytes, cut);
        struct weir_reader reader;
        weir_reader_init(&reader, copy, cut);
        walk(&reader);
        cr_expect(reader.failed, "cut at %zu", cut);
        cr_expect_eq(weir_reader_left(&reader), 0);
        cr_expect_eq(weir_read_u8(&reader), 0);
        cr_expect_eq(weir_read_u16(&reader), 0);
        cr_expect_eq(weir_read_u32(&reader), 0);
        cr_expect_null(weir_read_string(&reader));
        cr_expect_null(weir_read_bytes(&reader, 0));
        free(copy);
    }
}

Test(reader, keeps_nothing_of_a_value_that_is_cut)
{
    uint8_t *copy = copy_exactly("\x01\x02\x03", 3);
    struct weir_reader reader;
    weir_reader_init(&reader, copy, 3);
    cr_expect_eq(weir_read_u32(&reader), 0);
    cr_expect(reader.failed);
    cr_expect_eq(weir_read_u8(&reader), 0, "the bytes of a failed read are not read by the next");
    free(copy);
}

Test(reader, refuses_lengths_that_would_wrap)
{
    static const char bytes[] = "abc";
    struct weir_reader reader;
    weir_reader_init(&reader, bytes, LENGTH_OF(bytes));
    cr_expect_null(weir_read_bytes(&reader, SIZE_MAX));
    cr_expect(reader.failed);
}

Test(reader, tells_an_empty_span_from_a_failure)
{
    struct weir_reader reader;
    weir_reader_init(&reader, NULL, 0);
    cr_expect_not_null(weir_read_bytes(&reader, 0));
    cr_expect_not(reader.failed);
    cr_expect_null(weir_read_string(&reader));
    cr_expect(reader.failed);
}

Test(reader, reads_empty_strings)
{
    struct weir_reader reader;
    weir_reader_init(&reader, "\0\0x", 3);
    cr_expect_str_eq(weir_read_string(&reader), "");
    cr_expect_str_eq(weir_read_string(&reader), "");
    cr_expect_not(reader.failed);
    cr_expect_null(weir_read_string(&reader), "no terminator after x");
    cr_expect(reader.failed);
}
