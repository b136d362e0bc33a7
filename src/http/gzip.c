#include "gzip.h"

#include <stdlib.h>
#include <zlib.h>

#include "weir/memory.h"

/* Metrics repeat themselves line by line: the least effort makes an eighth of them. Greater ones make
 * a ninth and take twice to nine times as long. */
#define LEVEL 1
/* The largest window, and a header and trailer of gzip instead of zlib's own. */
#define WINDOW_BITS (15 + 16)
/* A smaller hash table than usual stays in the processor's cache, and finds as much. */
#define MEMORY_LEVEL 6
/* Room for what comes out of zlib at once. */
#define ROOM ((size_t)4096)

struct weir_http_gzip {
    z_stream stream;
    size_t left; /* of the text, besides what zlib was given */
};

struct weir_http_gzip *weir_http_gzip_create(void)
{
    struct weir_http_gzip *gzip = weir_alloc(sizeof(*gzip));
    if (deflateInit2(&gzip->stream, LEVEL, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) == Z_OK)
        return gzip;
    free(gzip);
    return NULL;
}

void weir_http_gzip_begin(struct weir_http_gzip *gzip, const void *text, size_t length)
{
    weir_require(deflateReset(&gzip->stream) == Z_OK);
    gzip->stream.next_in = (Bytef *)(uintptr_t)text;
    gzip->stream.avail_in = 0;
    gzip->left = length;
}

bool weir_http_gzip_go_on(struct weir_http_gzip *gzip, size_t most,
                          struct weir_http_body *compressed)
{
    size_t piece = gzip->left < most ? gzip->left : most;
    gzip->left -= piece;
    gzip->stream.avail_in += (uInt)piece;
    int flush = gzip->left == 0 ? Z_FINISH : Z_NO_FLUSH;
    int result = Z_OK;
    do {
        char *place = weir_http_body_reserve(compressed, ROOM);
        if (place == NULL)
            return true;
        gzip->stream.next_out = (Bytef *)place;
        gzip->stream.avail_out = ROOM;
        result = deflate(&gzip->stream, flush);
        weir_require(result != Z_STREAM_ERROR);
        compressed->bytes.end += (uint32_t)(ROOM - gzip->stream.avail_out);
    } while (gzip->stream.avail_out == 0 && result != Z_STREAM_END);
    return result == Z_STREAM_END;
}

void weir_http_gzip_destroy(struct weir_http_gzip *gzip)
{
    if (gzip == NULL)
        return;
    deflateEnd(&gzip->stream);
    free(gzip);
}
