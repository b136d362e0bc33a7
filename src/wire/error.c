/* ErrorResponse and NoticeResponse: both are a list of (code byte, string), closed by a zero. */
#include "weir/wire.h"

static const char **find_field(struct weir_error_fields *fields, uint8_t code)
{
    switch (code) {
    case 'S':
        return &fields->severity;
    case 'V':
        return &fields->severity_raw;
    case 'C':
        return &fields->sqlstate;
    case 'M':
        return &fields->message;
    case 'D':
        return &fields->detail;
    case 'H':
        return &fields->hint;
    default:
        return NULL;
    }
}

/* A field sent twice keeps its last value, as in libpq. */
bool weir_error_parse(const uint8_t *body, size_t length, struct weir_error_fields *fields)
{
    struct weir_reader reader;
    weir_reader_init(&reader, body, length);
    *fields = (struct weir_error_fields){0};

    for (;;) {
        const uint8_t code = weir_read_u8(&reader);
        if (code == 0) {
            return !reader.failed && weir_reader_left(&reader) == 0;
        }
        const char *text = weir_read_string(&reader);
        if (text == NULL) {
            return false;
        }
        const char **field = find_field(fields, code);
        if (field != NULL) {
            *field = text;
        }
    }
}

static void write_field(struct weir_writer *writer, char code, const char *text)
{
    if (text != NULL) {
        weir_write_u8(writer, (uint8_t)code);
        weir_write_string(writer, text);
    }
}

void weir_write_error(struct weir_writer *writer, const char *severity, const char *sqlstate,
                      const char *message, const char *detail, const char *hint)
{
    const size_t begin = weir_message_begin(writer, 'E');
    write_field(writer, 'S', severity);
    write_field(writer, 'V', severity);
    write_field(writer, 'C', sqlstate);
    write_field(writer, 'M', message);
    write_field(writer, 'D', detail);
    write_field(writer, 'H', hint);
    weir_write_u8(writer, 0);
    weir_message_end(writer, begin);
}
