/* A session of the console: bytes in, messages out, one thing after the other.
 *
 * Its input is kept apart from its stream's, so that a command may close or wait in the middle of it.
 * Nothing more is taken from the input, and no more rows are made, while more than OUTPUT_HIGH bytes
 * of answers are unsent, and what is done in one turn of the loop is bounded: the memory of a session
 * is bounded by what it has prepared, one slice of rows, and OUTPUT_HIGH. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console.h"
#include "weir/clock.h"
#include "weir/memory.h"

/* What the input holds next. */
enum look { LOOK_NOTHING, LOOK_MESSAGE, LOOK_BROKEN };

struct weir_writer guest_writer(struct guest *guest)
{
    return weir_writer_to(&guest->output);
}

static void write_ready(struct guest *guest)
{
    struct weir_writer writer = guest_writer(guest);
    weir_write_ready_for_query(&writer, guest->transaction);
}

/* --- errors ------------------------------------------------------------------------------- */

static void end_query(struct guest *guest)
{
    free(guest->query);
    guest->query = NULL;
    guest->query_next = NULL;
    write_ready(guest);
}

/* What was being done is not done any more. */
static void drop_running(struct guest *guest)
{
    struct portal *portal = guest->running;
    guest->running = NULL;
    guest->state = GUEST_READY;
    if (portal != NULL && guest->query != NULL)
        portal_destroy(portal);
}

void guest_complain(struct guest *guest, struct complaint *complaint)
{
    struct weir_writer writer = guest_writer(guest);
    weir_write_error(&writer, "ERROR", complaint->sqlstate, complaint->message, complaint->detail,
                     complaint->hint);
    complaint_clear(complaint);
    drop_running(guest);
    if (guest->query != NULL)
        end_query(guest);
    else
        guest->skipping = true;
}

void guest_fail(struct guest *guest, const char *sqlstate, const char *format, ...)
{
    struct complaint complaint = {.sqlstate = sqlstate};
    va_list arguments;
    va_start(arguments, format);
    weir_require(vasprintf(&complaint.message, format, arguments) >= 0);
    va_end(arguments);
    guest_complain(guest, &complaint);
}

/* weir_write_error makes an ErrorResponse; a notice differs in its type byte. */
void guest_tell_notice(struct guest *guest, const char *text, const char *detail)
{
    size_t at = weir_buffer_length(&guest->output);
    struct weir_writer writer = guest_writer(guest);
    weir_write_error(&writer, "NOTICE", "00000", text, detail, NULL);
    if (!writer.failed)
        weir_buffer_bytes(&guest->output)[at] = 'N';
}

/* --- sending ------------------------------------------------------------------------------ */

/* False: the stream is dead. */
static bool send_output(struct guest *guest)
{
    size_t length = weir_buffer_length(&guest->output);
    bool sent = length == 0 || weir_stream_send_bytes(&guest->client->stream,
                                                      weir_buffer_bytes(&guest->output), length);
    weir_buffer_clear(&guest->output);
    return sent;
}

void guest_dismiss(struct guest *guest)
{
    struct weir_client *client = guest->client;
    bool sent = send_output(guest);
    (void)sent; /* it ends either way */
    guest->state = GUEST_LEFT;
    guest->client = NULL;
    weir_router_dismiss(guest->admin->router, client);
}

/* FATAL, and out. */
static void expel(struct guest *guest, const char *sqlstate, const char *text)
{
    struct weir_writer writer = guest_writer(guest);
    weir_write_error(&writer, "FATAL", sqlstate, text, NULL, NULL);
    guest_dismiss(guest);
}

/* --- messages ----------------------------------------------------------------------------- */

static enum look look_at_input(const struct guest *guest, char *type, size_t *length)
{
    size_t have = weir_buffer_length(&guest->input);
    if (have < WEIR_WIRE_HEADER)
        return LOOK_NOTHING;
    const uint8_t *bytes = weir_buffer_bytes(&guest->input);
    uint32_t size = weir_get_u32(bytes + 1);
    if (size < 4 || size > MESSAGE_MAX)
        return LOOK_BROKEN;
    *type = (char)bytes[0];
    *length = 1 + (size_t)size;
    return have >= *length ? LOOK_MESSAGE : LOOK_NOTHING;
}

static void begin_query(struct guest *guest, struct weir_reader *reader)
{
    const char *text = weir_read_string(reader);
    if (text == NULL || weir_reader_left(reader) > 0) {
        expel(guest, "08P01", "malformed Query message");
        return;
    }
    guest->query = weir_strdup(text);
    guest->query_next = guest->query;
    guest->answered = false;
    /* All of it must be understood before any of it is done, as in PostgreSQL. */
    struct complaint complaint = {0};
    for (const char *at = guest->query; *at != '\0';) {
        struct command command;
        bool good = command_parse(at, &at, &command, &complaint);
        command_clear(&command);
        if (!good) {
            guest_complain(guest, &complaint);
            return;
        }
    }
}

static void take_extended(struct guest *guest, char type, struct weir_reader *reader)
{
    switch (type) {
    case 'P':
        extended_parse(guest, reader);
        break;
    case 'B':
        extended_bind(guest, reader);
        break;
    case 'D':
        extended_describe(guest, reader);
        break;
    case 'E':
        extended_execute(guest, reader);
        break;
    case 'C':
        extended_close(guest, reader);
        break;
    default: /* Flush: everything is sent as it is made */
        break;
    }
}

static void take_message(struct guest *guest, char type, struct weir_reader *reader)
{
    if (type == 'X') {
        guest_dismiss(guest);
    } else if (type == 'S') {
        guest->skipping = false;
        if (guest->transaction == 'I')
            portal_close_all(guest);
        write_ready(guest);
    } else if (strchr("PBDECH", type) != NULL) {
        if (!guest->skipping)
            take_extended(guest, type, reader);
        if (reader->failed && guest->state != GUEST_LEFT)
            expel(guest, "08P01", "malformed message of the extended protocol");
    } else if (type == 'Q') {
        guest->skipping = false;
        begin_query(guest, reader);
    } else if (type == 'F') {
        guest_fail(guest, "0A000", "the console has no functions to call");
        guest->skipping = false;
        write_ready(guest);
    } else if (type == 'd' || type == 'c' || type == 'f') {
        /* What a client still says of a COPY that was refused. */
    } else {
        expel(guest, "08P01", "unexpected message");
    }
}

/* --- simple queries ------------------------------------------------------------------------- */

/* Runs the next statement of the query, or ends it. */
static void next_statement(struct guest *guest)
{
    struct complaint complaint = {0};
    struct portal *portal = portal_create("");
    if (!command_parse(guest->query_next, &guest->query_next, &portal->command, &complaint)) {
        portal_destroy(portal);
        guest_complain(guest, &complaint);
        return;
    }
    if (portal->command.kind != COMMAND_EMPTY) {
        if (command_parameters(&portal->command) > 0) {
            portal_destroy(portal);
            guest_fail(guest, "42P02", "there is no parameter in a simple query");
            return;
        }
        guest->answered = true;
        portal_run(guest, portal, 0);
        return;
    }
    portal_destroy(portal);
    bool over = *guest->query_next == '\0';
    if (over && !guest->answered) {
        struct weir_writer writer = guest_writer(guest);
        weir_write_simple(&writer, 'I');
    }
    if (over)
        end_query(guest);
}

/* --- work --------------------------------------------------------------------------------- */

/* The next thing. False: nothing can be done now, or it goes on in a later turn. */
static bool step(struct guest *guest)
{
    if (guest->state == GUEST_WAITING || guest->state == GUEST_LEFT)
        return false;
    if (guest->state == GUEST_RUNNING) {
        if (portal_go_on(guest))
            return true;
        admin_busy(guest);
        return false;
    }
    if (guest->query != NULL) {
        next_statement(guest);
        return true;
    }
    char type = '\0';
    size_t length = 0;
    switch (look_at_input(guest, &type, &length)) {
    case LOOK_NOTHING:
        return false;
    case LOOK_BROKEN:
        expel(guest, "54000", "message is larger than the console takes (64 kB)");
        return false;
    case LOOK_MESSAGE:
        break;
    }
    struct weir_reader reader;
    weir_reader_init(&reader, weir_buffer_bytes(&guest->input) + WEIR_WIRE_HEADER,
                     length - WEIR_WIRE_HEADER);
    take_message(guest, type, &reader);
    weir_buffer_consume(&guest->input, length);
    return true;
}

static bool has_room(const struct guest *guest)
{
    return weir_buffer_length(&guest->output) + weir_stream_unsent(&guest->client->stream) <
           OUTPUT_HIGH;
}

/* Reading stops while there is enough to do, and goes on when that is done. */
static void watch_input(struct guest *guest)
{
    struct weir_stream *stream = &guest->client->stream;
    bool full = weir_buffer_length(&guest->input) > INPUT_MAX;
    if (full && !stream->paused)
        weir_stream_pause(stream);
    else if (!full && stream->paused)
        weir_stream_resume(stream);
}

void guest_work(struct guest *guest)
{
    int steps = 0;
    bool more = true;
    weir_usec begin = weir_clock_now();
    while (more && guest->state != GUEST_LEFT && has_room(guest) && steps++ < STEPS_PER_TURN &&
           weir_clock_now() - begin < TURN_USEC)
        more = step(guest);
    if (guest->state != GUEST_LEFT && !send_output(guest))
        guest_dismiss(guest);
    if (guest->state == GUEST_LEFT) {
        guest_destroy(guest);
        return;
    }
    watch_input(guest);
    /* Without room it goes on when the stream has drained. */
    if (more && has_room(guest))
        admin_busy(guest);
}

void guest_cancel(struct guest *guest)
{
    if (guest->state != GUEST_WAITING)
        return;
    wait_cancel(guest);
    admin_busy(guest);
}

/* --- events ------------------------------------------------------------------------------- */

/* False: the client is gone. */
static bool take_input(struct guest *guest, bool receive)
{
    struct weir_stream *stream = &guest->client->stream;
    uint8_t *bytes;
    size_t length;
    if (receive) {
        enum weir_io io = weir_stream_receive(stream, &bytes, &length);
        if (io == WEIR_IO_WAIT)
            return true;
        if (io != WEIR_IO_OK)
            return false;
    } else {
        weir_stream_unread(stream, &bytes, &length);
    }
    return weir_buffer_append(&guest->input, bytes, length) &&
           weir_stream_keep(stream, bytes + length, 0);
}

static void on_event(struct weir_stream *stream, unsigned events)
{
    struct weir_client *client = weir_container_of(stream, struct weir_client, stream);
    struct guest *guest = client->guest;
    if ((events & WEIR_STREAM_FAILED) != 0 ||
        ((events & WEIR_STREAM_READABLE) != 0 && !take_input(guest, true))) {
        guest_dismiss(guest);
        guest_destroy(guest);
        return;
    }
    guest_work(guest);
}

/* --- its life --------------------------------------------------------------------------------- */

static const char *startup_setting(const struct weir_client_login *login, const char *name)
{
    for (size_t i = 0; login != NULL && i < login->setting_count; i++) {
        if (strcmp(login->settings[i].name, name) == 0)
            return login->settings[i].value;
    }
    return "";
}

/* The parameters that PostgreSQL reports, as far as drivers look at them. The version is one that they
 * can read as a number, and says who speaks. */
static void welcome(struct guest *guest)
{
    static const char *const names[] = {
        "server_version", "server_encoding",       "client_encoding",
        "DateStyle",      "IntervalStyle",         "TimeZone",
        "is_superuser",   "integer_datetimes",     "standard_conforming_strings",
        "in_hot_standby", "session_authorization", "application_name",
    };
    const struct weir_client *client = guest->client;
    struct weir_writer writer = guest_writer(guest);
    weir_write_authentication(&writer, 0, NULL, 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct pretended *pretended = pretended_parameter(names[i]);
        struct command command = {.source = pretended->source,
                                  .value = (char *)(uintptr_t)pretended->value};
        char *value = perform_value(guest, &command);
        weir_write_parameter_status(&writer, names[i], value);
        free(value);
    }
    weir_write_backend_key(&writer, client->cancel_pid, client->cancel_key,
                           client->cancel_key_length);
    weir_write_ready_for_query(&writer, guest->transaction);
}

struct guest *guest_create(struct weir_admin *admin, struct weir_client *client,
                           enum weir_console_rights rights)
{
    struct guest *guest = weir_alloc(sizeof(*guest));
    const struct weir_client_login *login = client->login;
    guest->admin = admin;
    guest->client = client;
    guest->rights = rights;
    guest->transaction = 'I';
    guest->database = weir_strdup(login != NULL ? login->database : "pgweir");
    guest->user = weir_strdup(login != NULL ? login->user : "");
    guest->application_name = weir_strdup(startup_setting(login, "application_name"));
    weir_list_push_back(&admin->guests, &guest->link);
    admin->guest_count++;
    client->guest = guest;
    client->stream.on_event = on_event;
    welcome(guest);
    admin_busy(guest);
    return guest;
}

void guest_destroy(struct guest *guest)
{
    wait_end(guest);
    drop_running(guest);
    portal_close_all(guest);
    extended_forget_all_prepared(guest);
    weir_list_remove(&guest->link);
    weir_list_remove_if_linked(&guest->busy);
    guest->admin->guest_count--;
    weir_buffer_clear(&guest->input);
    weir_buffer_clear(&guest->output);
    free(guest->query);
    free(guest->database);
    free(guest->user);
    free(guest->application_name);
    free(guest);
}
