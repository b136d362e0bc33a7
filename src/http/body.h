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

char *weir_http_body_grow(struct weir_http_body *body, size_t more);
/* Room for `more` bytes, which the caller writes before it advances bytes.end; NULL: broken. A page of
 * metrics asks for it some thousand times. */
static inline char *weir_http_body_reserve(struct weir_http_body *body, size_t more)
{
    const struct weir_buffer *bytes = &body->bytes;
    if (!body->broken && bytes->data != NULL && more <= bytes->capacity - bytes->end)
        return (char *)bytes->data + bytes->end;
    return weir_http_body_grow(body, more);
}
void weir_http_put_bytes(struct weir_http_body *body, const char *bytes, size_t length);
void weir_http_put(struct weir_http_body *body, const char *text);
/* One text after the other: weir_http_put_texts(body, "a", "b", "c"). */
#define weir_http_put_texts(body, ...)                                                             \
    weir_http_put_list(body, (const char *const[]){__VA_ARGS__},                                   \
                       sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))
void weir_http_put_list(struct weir_http_body *body, const char *const *texts, size_t count);
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
