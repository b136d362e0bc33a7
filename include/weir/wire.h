/* PostgreSQL's frontend/backend protocol, version 3, as pure functions over bytes.
 * Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol", sections "Message Flow"
 * and "Message Formats". Nothing here knows sockets, and every parser is bounded by the given
 * length. */
#ifndef WEIR_WIRE_H
#define WEIR_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/buffer.h"
#include "weir/require.h"

#define WEIR_WIRE_HEADER    5 /* type byte and length */
#define WEIR_PROTOCOL_3_0   0x00030000u
#define WEIR_PROTOCOL_3_2   0x00030002u
#define WEIR_STARTUP_MAX    10004 /* PostgreSQL takes no longer ones */
#define WEIR_CANCEL_KEY_MAX 256   /* protocol 3.2 */

static inline uint32_t weir_get_u32(const uint8_t *bytes)
{
    uint32_t value;
    __builtin_memcpy(&value, bytes, 4);
    return __builtin_bswap32(value);
}

static inline void weir_put_u32(uint8_t *bytes, uint32_t value)
{
    value = __builtin_bswap32(value);
    __builtin_memcpy(bytes, &value, 4);
}

/* --- reading --------------------------------------------------------------------------- */

/* A bounded reader. After the first read past the end `failed` is set and every later read gives
 * zero, NULL or an empty span: test it once at the end. */
struct weir_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

void weir_reader_init(struct weir_reader *reader, const void *bytes, size_t length);
uint8_t weir_read_u8(struct weir_reader *reader);
uint16_t weir_read_u16(struct weir_reader *reader);
uint32_t weir_read_u32(struct weir_reader *reader);
/* A zero-terminated string inside the message, without copying; NULL when there is no terminator.
 */
const char *weir_read_string(struct weir_reader *reader);
/* `length` bytes inside the message, without copying; NULL when fewer are left. */
const uint8_t *weir_read_bytes(struct weir_reader *reader, size_t length);
size_t weir_reader_left(const struct weir_reader *reader);

/* --- writing --------------------------------------------------------------------------- */

/* Messages are appended to a buffer. begin returns the offset to pass to end, which fills in the
 * length. When memory is out the buffer's content is undefined and `failed` sticks. */
struct weir_writer {
    struct weir_buffer *out;
    bool failed;
};

static inline struct weir_writer weir_writer_to(struct weir_buffer *out)
{
    return (struct weir_writer){.out = out};
}

size_t weir_message_begin(struct weir_writer *writer, char type); /* type 0: no type byte */
void weir_message_end(struct weir_writer *writer, size_t begin);
void weir_write_u8(struct weir_writer *writer, uint8_t value);
void weir_write_u16(struct weir_writer *writer, uint16_t value);
void weir_write_u32(struct weir_writer *writer, uint32_t value);
void weir_write_string(struct weir_writer *writer, const char *text); /* with its terminator */
void weir_write_bytes(struct weir_writer *writer, const void *bytes, size_t length);

/* Whole messages, in the order of the documentation. */
void weir_write_ready_for_query(struct weir_writer *writer, char status);
void weir_write_parameter_status(struct weir_writer *writer, const char *name, const char *value);
void weir_write_backend_key(struct weir_writer *writer, uint32_t pid, const uint8_t *key,
                            size_t key_length);
void weir_write_query(struct weir_writer *writer, const char *sql);
void weir_write_simple(struct weir_writer *writer, char type); /* S, H, X, c: no body */
void weir_write_authentication(struct weir_writer *writer, uint32_t code, const void *extra,
                               size_t extra_length);
/* 'p': password, SASLInitialResponse or SASLResponse body. */
void weir_write_password(struct weir_writer *writer, const void *body, size_t length);
void weir_write_close_statement(struct weir_writer *writer, const char *name);
void weir_write_describe_statement(struct weir_writer *writer, const char *name);
/* NegotiateProtocolVersion: newest minor version we speak, and the options we do not know. */
void weir_write_negotiate_version(struct weir_writer *writer, uint32_t version,
                                  const char *const *unknown, size_t unknown_count);

/* --- errors and notices ---------------------------------------------------------------- */

/* The fields of an ErrorResponse or NoticeResponse; pointers into the message, NULL when absent. */
struct weir_error_fields {
    const char *severity;     /* S, localised */
    const char *severity_raw; /* V, never localised; absent before PostgreSQL 9.6 */
    const char *sqlstate;     /* C */
    const char *message;      /* M */
    const char *detail;       /* D */
    const char *hint;         /* H */
};

/* `body` without the five header bytes. False when the message is malformed (no terminator, field
 * without end); fields seen so far are kept. A missing SQLSTATE is NULL, never a crash. */
bool weir_error_parse(const uint8_t *body, size_t length, struct weir_error_fields *fields);
/* Appends an ErrorResponse. detail and hint may be NULL. */
void weir_write_error(struct weir_writer *writer, const char *severity, const char *sqlstate,
                      const char *message, const char *detail, const char *hint);

/* --- the startup packet ------------------------------------------------------------------------
 */

enum weir_startup_kind {
    WEIR_STARTUP_INCOMPLETE, /* need more bytes */
    WEIR_STARTUP_BAD,        /* `problem` says why */
    WEIR_STARTUP_SSL,        /* SSLRequest */
    WEIR_STARTUP_GSS,        /* GSSENCRequest */
    WEIR_STARTUP_CANCEL,     /* pid and key are set */
    WEIR_STARTUP_LOGIN,      /* version and parameters are set */
};

struct weir_startup {
    enum weir_startup_kind kind;
    size_t length;       /* bytes of the packet, the length word included */
    const char *problem; /* WEIR_STARTUP_BAD: English, for the error message */
    uint32_t version;    /* as the client asked, e.g. 0x00030000 */
    uint32_t pid;        /* cancel */
    const uint8_t *key;  /* cancel: 1 to WEIR_CANCEL_KEY_MAX bytes */
    size_t key_length;
    struct weir_reader parameters; /* walk with weir_startup_next */
    /* `problem` may point in here, so a struct with a problem must stay where it is. */
    char problem_text[96];
};

/* Looks at the first bytes of a connection. Refuses a length below 8 or above WEIR_STARTUP_MAX at
 * once, protocol 2 by name, a login without terminator, a parameter without value. */
void weir_startup_parse(const uint8_t *bytes, size_t length, struct weir_startup *startup);
/* Next name and value, false at the end. */
bool weir_startup_next(struct weir_startup *startup, const char **name, const char **value);

/* Splits the startup parameter `options` as PostgreSQL's backend does (pg_split_opts and the
 * switches of process_postgres_switches): white space separates, backslash escapes; understands
 * `-c name=value`, `-cname=value`, `--name=value` (with - for _ in the name). Each setting is
 * handed out once in order; name and value are written into `scratch` (at least strlen + 2 bytes).
 * Returns 1 for a setting, 0 at the end, -1 for a switch that cannot be honoured per client
 * (then *name points at it). */
struct weir_options {
    const char *at;   /* set it to the text, the rest to zero */
    const char *word; /* private: the word whose remaining switches `at` stands in */
};
int weir_options_next(struct weir_options *options, char *scratch, const char **name,
                      const char **value);

#endif
