/* Whole messages which pgweir composes itself. */
#include "weir/wire.h"

void weir_write_simple(struct weir_writer *writer, char type)
{
    weir_message_end(writer, weir_message_begin(writer, type));
}

void weir_write_ready_for_query(struct weir_writer *writer, char status)
{
    const size_t begin = weir_message_begin(writer, 'Z');
    weir_write_u8(writer, (uint8_t)status);
    weir_message_end(writer, begin);
}

void weir_write_parameter_status(struct weir_writer *writer, const char *name, const char *value)
{
    const size_t begin = weir_message_begin(writer, 'S');
    weir_write_string(writer, name);
    weir_write_string(writer, value);
    weir_message_end(writer, begin);
}

void weir_write_backend_key(struct weir_writer *writer, uint32_t pid, const uint8_t *key,
                            size_t key_length)
{
    const size_t begin = weir_message_begin(writer, 'K');
    weir_write_u32(writer, pid);
    weir_write_bytes(writer, key, key_length);
    weir_message_end(writer, begin);
}

void weir_write_query(struct weir_writer *writer, const char *sql)
{
    const size_t begin = weir_message_begin(writer, 'Q');
    weir_write_string(writer, sql);
    weir_message_end(writer, begin);
}

void weir_write_authentication(struct weir_writer *writer, uint32_t code, const void *extra,
                               size_t extra_length)
{
    const size_t begin = weir_message_begin(writer, 'R');
    weir_write_u32(writer, code);
    weir_write_bytes(writer, extra, extra_length);
    weir_message_end(writer, begin);
}

void weir_write_password(struct weir_writer *writer, const void *body, size_t length)
{
    const size_t begin = weir_message_begin(writer, 'p');
    weir_write_bytes(writer, body, length);
    weir_message_end(writer, begin);
}

/* Close and Describe share one body: what kind of object, then its name. */
static void write_statement_name(struct weir_writer *writer, char type, const char *name)
{
    const size_t begin = weir_message_begin(writer, type);
    weir_write_u8(writer, 'S');
    weir_write_string(writer, name);
    weir_message_end(writer, begin);
}

void weir_write_close_statement(struct weir_writer *writer, const char *name)
{
    write_statement_name(writer, 'C', name);
}

void weir_write_describe_statement(struct weir_writer *writer, const char *name)
{
    write_statement_name(writer, 'D', name);
}

/* The documentation speaks of the minor version only, but PostgreSQL sends, and libpq expects, the
 * whole version number: so `version` is written as it is. */
void weir_write_negotiate_version(struct weir_writer *writer, uint32_t version,
                                  const char *const *unknown, size_t unknown_count)
{
    const size_t begin = weir_message_begin(writer, 'v');
    weir_write_u32(writer, version);
    weir_write_u32(writer, (uint32_t)unknown_count);
    for (size_t i = 0; i < unknown_count; i++) {
        weir_write_string(writer, unknown[i]);
    }
    weir_message_end(writer, begin);
}
