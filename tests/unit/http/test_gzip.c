#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "gzip.h"
#include "weir/memory.h"

static void compress_by(struct weir_http_gzip *gzip, const char *text, size_t length, size_t slice,
                        struct weir_http_body *compressed)
{
    weir_http_gzip_begin(gzip, text, length);
    size_t slices = 1;
    while (!weir_http_gzip_go_on(gzip, slice, compressed))
        slices++;
    cr_assert_not(compressed->broken);
    cr_assert_leq(slices, length / slice + 1, "%zu slices of %zu for %zu bytes", slices, slice,
                  length);
}

/* Also proves that it is one gzip member to its last byte, with a right checksum. */
static void check(const struct weir_http_body *compressed, const char *text, size_t length)
{
    char *back = weir_alloc(length + 1);
    z_stream stream = {0};
    cr_assert_eq(inflateInit2(&stream, 15 + 16), Z_OK);
    stream.next_in = weir_buffer_bytes(&compressed->bytes);
    stream.avail_in = (uInt)weir_buffer_length(&compressed->bytes);
    stream.next_out = (Bytef *)back;
    stream.avail_out = (uInt)length + 1;
    cr_assert_eq(inflate(&stream, Z_FINISH), Z_STREAM_END, "%zu bytes", length);
    cr_assert_eq(stream.avail_in, 0);
    cr_assert_eq(stream.total_out, length);
    cr_assert_eq(memcmp(back, text, length), 0);
    inflateEnd(&stream);
    free(back);
}

static char *make_text(size_t length, bool random)
{
    char *text = weir_alloc(length + 1);
    unsigned seed = 1;
    for (size_t i = 0; i < length; i++) {
        seed = seed * 1103515245 + 12345;
        text[i] = random ? (char)(seed >> 16) : "pgweir_pool_size 5\n"[i % 19];
    }
    return text;
}

/* Texts that shrink and texts that do not, one after the other with one compressor. */
Test(gzip, any_text_by_any_slice)
{
    static const size_t lengths[] = {0, 1, 100, 4095, 4096, 4097, 65536, 300000};
    static const size_t slices[] = {1000, 4096, 16384, 1000000};
    struct weir_http_gzip *gzip = weir_http_gzip_create();
    cr_assert_not_null(gzip);
    for (int i = 0; i < 64; i++) {
        size_t length = lengths[i % 8];
        bool random = i >= 32;
        char *text = make_text(length, random);
        struct weir_http_body compressed = {0};
        compress_by(gzip, text, length, slices[i / 8 % 4], &compressed);
        check(&compressed, text, length);
        if (length >= 4095 && !random)
            cr_assert_lt(weir_buffer_length(&compressed.bytes), length / 10);
        weir_http_body_clear(&compressed);
        free(text);
    }
    weir_http_gzip_destroy(gzip);
}

Test(gzip, given_up_half_way)
{
    char *text = make_text(100000, true);
    struct weir_http_gzip *gzip = weir_http_gzip_create();
    struct weir_http_body compressed = {0};
    weir_http_gzip_begin(gzip, text, 100000);
    cr_assert_not(weir_http_gzip_go_on(gzip, 50000, &compressed));
    weir_http_body_clear(&compressed);
    compress_by(gzip, "next", 4, 100, &compressed);
    check(&compressed, "next", 4);
    weir_http_body_clear(&compressed);
    weir_http_gzip_destroy(gzip);
    free(text);
}

Test(gzip, a_broken_body_ends_it)
{
    struct weir_http_gzip *gzip = weir_http_gzip_create();
    struct weir_http_body compressed = {.broken = true};
    weir_http_gzip_begin(gzip, "text", 4);
    cr_assert(weir_http_gzip_go_on(gzip, 1, &compressed));
    weir_http_gzip_destroy(gzip);
    weir_http_gzip_destroy(NULL);
}
