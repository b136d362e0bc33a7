/* Vectors marked "captured" are bytes which PostgreSQL 15 or libpq 15 sent. */
#include <criterion/criterion.h>

#include "support.h"

static void write_many(struct weir_writer *writer, int which)
{
    static const char *const unknown[] = {"_pq_.x", "_pq_.other"};
    switch (which) {
    case 0:
        weir_write_ready_for_query(writer, 'I');
        break;
    case 1:
        weir_write_parameter_status(writer, "DateStyle", "ISO, MDY");
        break;
    case 2:
        weir_write_backend_key(writer, 0x28ee, BYTES("\x5a\xa6\x44\xa7"), 4);
        break;
    case 3:
        weir_write_query(writer, "select 1");
        break;
    case 4:
        weir_write_simple(writer, 'S');
        break;
    case 5:
        weir_write_authentication(writer, 0, NULL, 0);
        break;
    case 6:
        weir_write_authentication(writer, 5, "\x12\x34\x56\x78", 4);
        break;
    case 7:
        weir_write_authentication(writer, 10, "SCRAM-SHA-256\0", 15);
        break;
    case 8:
        weir_write_password(writer, "secret", 7);
        break;
    case 9:
        weir_write_close_statement(writer, "s1");
        break;
    case 10:
        weir_write_describe_statement(writer, "");
        break;
    case 11:
        weir_write_negotiate_version(writer, WEIR_PROTOCOL_3_0, unknown, 1);
        break;
    case 12:
        weir_write_negotiate_version(writer, WEIR_PROTOCOL_3_2, unknown, 2);
        break;
    case 13:
        weir_write_negotiate_version(writer, WEIR_PROTOCOL_3_2, NULL, 0);
        break;
    case 14:
        weir_write_parameter_status(writer, "application_name", "");
        break;
    default:
        cr_assert(false, "no message %d", which);
    }
}

static const struct vector {
    const char *bytes;
    size_t length;
} vectors[] = {
#define VECTOR(literal)                                                                            \
    {                                                                                              \
        literal, LENGTH_OF(literal)                                                                \
    }
    VECTOR("Z\0\0\0\5I"), /* captured */
    VECTOR("S\0\0\0\x17"
           "DateStyle\0ISO, MDY\0"),                   /* captured */
    VECTOR("K\0\0\0\x0c\0\0\x28\xee\x5a\xa6\x44\xa7"), /* captured */
    VECTOR("Q\0\0\0\x0dselect 1\0"),
    VECTOR("S\0\0\0\4"),
    VECTOR("R\0\0\0\x08\0\0\0\0"), /* captured */
    VECTOR("R\0\0\0\x0c\0\0\0\5\x12\x34\x56\x78"),
    VECTOR("R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"),
    VECTOR("p\0\0\0\x0bsecret\0"),
    VECTOR("C\0\0\0\x08Ss1\0"),
    VECTOR("D\0\0\0\6S\0"),
    VECTOR("v\0\0\0\x13\0\3\0\0\0\0\0\1_pq_.x\0"), /* captured */
    VECTOR("v\0\0\0\x1e\0\3\0\2\0\0\0\2_pq_.x\0_pq_.other\0"),
    VECTOR("v\0\0\0\x0c\0\3\0\2\0\0\0\0"),
    VECTOR("S\0\0\0\x16"
           "application_name\0\0"), /* captured */
};

Test(messages, are_the_documented_bytes)
{
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        struct weir_buffer buffer = {0};
        struct weir_writer writer = weir_writer_to(&buffer);
        write_many(&writer, (int)i);
        cr_assert_not(writer.failed);
        cr_assert_eq(weir_buffer_length(&buffer), vectors[i].length, "message %zu has %zu bytes", i,
                     weir_buffer_length(&buffer));
        cr_expect_arr_eq(weir_buffer_bytes(&buffer), vectors[i].bytes, vectors[i].length,
                         "message %zu", i);
        weir_buffer_clear(&buffer);
    }
}

Test(messages, follow_each_other_in_one_buffer)
{
    struct weir_buffer buffer = {0};
    struct weir_writer writer = weir_writer_to(&buffer);
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        write_many(&writer, (int)i);
    }
    struct weir_reader reader;
    weir_reader_init(&reader, weir_buffer_bytes(&buffer), weir_buffer_length(&buffer));
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        cr_expect_eq(weir_read_u8(&reader), (uint8_t)vectors[i].bytes[0], "message %zu", i);
        const uint32_t length = weir_read_u32(&reader);
        cr_expect_eq(length, vectors[i].length - 1, "message %zu", i);
        cr_expect_not_null(weir_read_bytes(&reader, length - 4), "message %zu", i);
    }
    cr_expect_not(reader.failed);
    cr_expect_eq(weir_reader_left(&reader), 0);
    weir_buffer_clear(&buffer);
}

Test(messages, carry_the_longest_cancel_key)
{
    uint8_t key[WEIR_CANCEL_KEY_MAX];
    for (size_t i = 0; i < sizeof key; i++) {
        key[i] = (uint8_t)i;
    }
    struct weir_buffer buffer = {0};
    struct weir_writer writer = weir_writer_to(&buffer);
    weir_write_backend_key(&writer, 42, key, sizeof key);

    struct weir_reader reader;
    weir_reader_init(&reader, weir_buffer_bytes(&buffer), weir_buffer_length(&buffer));
    cr_expect_eq(weir_read_u8(&reader), 'K');
    cr_expect_eq(weir_read_u32(&reader), 4 + 4 + sizeof key);
    cr_expect_eq(weir_read_u32(&reader), 42);
    const uint8_t *read = weir_read_bytes(&reader, sizeof key);
    cr_assert_not_null(read);
    cr_expect_arr_eq(read, key, sizeof key);
    cr_expect_eq(weir_reader_left(&reader), 0);
    weir_buffer_clear(&buffer);
}
