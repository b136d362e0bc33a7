/* ErrorResponse bodies: fields lie inside the body with their terminator, and what was parsed comes
 * back when it is written and parsed again. */
#include <stdlib.h>
#include <string.h>

#include "weir/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(const char *text, const uint8_t *data, size_t size)
{
    if (text != NULL) {
        const uint8_t *at = (const uint8_t *)text;
        weir_require(at > data && at < data + size);
        weir_require(memchr(at, 0, (size_t)(data + size - at)) != NULL);
    }
}

static void check_same(const char *text, const char *again)
{
    weir_require((text == NULL) == (again == NULL));
    weir_require(text == NULL || strcmp(text, again) == 0);
}

static void check_round_trip(const struct weir_error_fields *fields)
{
    struct weir_buffer buffer = {0};
    struct weir_writer writer = weir_writer_to(&buffer);
    weir_write_error(&writer, fields->severity, fields->sqlstate, fields->message, fields->detail,
                     fields->hint);
    weir_require(!writer.failed);

    struct weir_error_fields again;
    const size_t length = weir_buffer_length(&buffer) - WEIR_WIRE_HEADER;
    weir_require(weir_error_parse(weir_buffer_bytes(&buffer) + WEIR_WIRE_HEADER, length, &again));
    check_same(fields->severity, again.severity);
    check_same(fields->severity, again.severity_raw);
    check_same(fields->sqlstate, again.sqlstate);
    check_same(fields->message, again.message);
    check_same(fields->detail, again.detail);
    check_same(fields->hint, again.hint);
    weir_buffer_clear(&buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_error_fields fields;
    const bool valid = weir_error_parse(data, size, &fields);
    weir_require(!valid || data[size - 1] == 0);
    check_inside(fields.severity, data, size);
    check_inside(fields.severity_raw, data, size);
    check_inside(fields.sqlstate, data, size);
    check_inside(fields.message, data, size);
    check_inside(fields.detail, data, size);
    check_inside(fields.hint, data, size);
    check_round_trip(&fields);
    return 0;
}
