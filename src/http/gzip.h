/* Compression by zlib, a piece at a time, so that no turn of the loop is long. */
#ifndef WEIR_HTTP_GZIP_H
#define WEIR_HTTP_GZIP_H

#include "body.h"

struct weir_http_gzip;

/* NULL when memory is out: it takes some 200 kB, and is used again for one text after the other. */
struct weir_http_gzip *weir_http_gzip_create(void);
/* The next text, which must stay until its end is reached. */
void weir_http_gzip_begin(struct weir_http_gzip *gzip, const void *text, size_t length);
/* Appends what the next `most` bytes of the text become. True: that was the end, or `compressed` is
 * broken. */
bool weir_http_gzip_go_on(struct weir_http_gzip *gzip, size_t most,
                          struct weir_http_body *compressed);
void weir_http_gzip_destroy(struct weir_http_gzip *gzip);

#endif
