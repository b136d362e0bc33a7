/* Errors of the server on their way to the client. */
#include <stdlib.h>
#include <string.h>

#include "router.h"

static void write_field(struct weir_writer *writer, char field, const char *value)
{
    weir_write_u8(writer, (uint8_t)field);
    weir_write_string(writer, value);
}

/* What is different in an error that the client gets; NULL: as the server said it. Drivers recognise
 * some errors by the function in PostgreSQL that raises them, so that is part of it. */
struct error_change {
    const char *sqlstate;
    const char *message;
    const char *file;
    const char *routine;
};

static const char *changed(const struct error_change *change, char field, const char *value)
{
    const char *other = field == 'C'   ? change->sqlstate
                        : field == 'M' ? change->message
                        : field == 'F' ? change->file
                        : field == 'R' ? change->routine
                                       : NULL;
    return other != NULL ? other : value;
}

static void send_changed_error(struct server *server, const uint8_t *message, uint32_t total,
                               const struct error_change *change)
{
    struct weir_reader reader;
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    size_t begin = weir_message_begin(&writer, 'E');
    weir_reader_init(&reader, message + WEIR_WIRE_HEADER, total - WEIR_WIRE_HEADER);
    for (uint8_t field; (field = weir_read_u8(&reader)) != 0;) {
        const char *value = weir_read_string(&reader);
        if (value != NULL)
            write_field(&writer, (char)field, changed(change, (char)field, value));
    }
    weir_write_u8(&writer, 0);
    weir_message_end(&writer, begin);
    if (!writer.failed)
        gather_copy(&server->router->to_client, weir_buffer_bytes(&out), weir_buffer_length(&out));
    weir_buffer_clear(&out);
}

/* As the server said it, but for what only pgweir can know: which name the client uses, and why the
 * statement was cancelled or refused. */
void server_error_forward(struct server *server, const struct reply *head,
                          const struct weir_error_fields *fields, const uint8_t *message,
                          uint32_t total)
{
    const char *sqlstate = fields->sqlstate != NULL ? fields->sqlstate : "";
    struct error_change change = {0};
    char *text = NULL;
    if (server->timed_out && strcmp(sqlstate, "57014") == 0) {
        change.message = weir_reason_row(WEIR_REASON_QUERY_TIMEOUT)->text;
    } else if (head->purpose == PURPOSE_UNKNOWN && strcmp(sqlstate, "26000") == 0) {
        text = weir_format("prepared statement \"%s\" does not exist", (const char *)head->subject);
        change.message = text;
    } else if (head->purpose == PURPOSE_DUPLICATE && strcmp(sqlstate, "42P05") == 0) {
        text = weir_format("prepared statement \"%s\" already exists", (const char *)head->subject);
        change.message = text;
    } else if (head->purpose == PURPOSE_PLAN_CHANGED && strcmp(sqlstate, "26000") == 0) {
        change = (struct error_change){
            .sqlstate = "0A000",
            .message = weir_reason_row(WEIR_REASON_PLAN_CHANGED)->text,
            .file = "plancache.c",
            .routine = "RevalidateCachedQuery",
        };
    } else if (fields->message != NULL) {
        text = statement_public_text(server, fields->message);
        change.message = text;
    }
    if (change.message != NULL)
        send_changed_error(server, message, total, &change);
    else
        gather_pass(&server->router->to_client, message, total);
    free(text);
}
