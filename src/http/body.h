/* Text that grows until it is an answer. Out of memory is remembered, not reported at each piece. */
#ifndef WEIR_HTTP_BODY_H
#define WEIR_HTTP_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/buffer.h"
#include "weir/clock.h"
#include "weir/require.h"

struct weir_http_body {
    struct weir_buffer bytes;
    bool broken;
};

/* Room for `more` bytes, which the caller writes before it advances bytes.end; NULL: broken. */
char *weir_http_body_reserve(struct weir_http_body *body, size_t more);
void weir_http_put_bytes(struct weir_http_body *body, const char *bytes, size_t length);
void weir_http_put(struct weir_http_body *body, const char *text);
void weir_http_putf(struct weir_http_body *body, const char *format, ...) weir_printf(2, 3);
void weir_http_put_number(struct weir_http_body *body, uint64_t number);
/* As seconds, exactly: "12.000345", "3". */
void weir_http_put_seconds(struct weir_http_body *body, weir_usec usec);
/* With what ends a label's value escaped, or what HTML would take for markup. */
void weir_http_put_label(struct weir_http_body *body, const char *text);
void weir_http_put_html(struct weir_http_body *body, const char *text);
void weir_http_body_clear(struct weir_http_body *body);

/* A copy that is UTF-8 whatever the bytes were: those that are not become U+FFFD. NULL is "". */
char *weir_http_clean(const char *text, size_t length);

#endif
