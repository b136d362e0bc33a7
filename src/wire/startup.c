/* The first packet of a connection: the only one without a type byte, sent by anybody who can reach
 * the port. Nothing is believed before it is checked, and what is certainly wrong is refused as
 * early as the bytes allow, so that a stranger (a web browser, a port scanner) is not waited for.
 */
#include "weir/wire.h"

#include <stdio.h>

#define HEADER_LENGTH 8 /* length word and request code */

#define CODE_CANCEL 80877102u
#define CODE_SSL    80877103u
#define CODE_GSS    80877104u

#define CANCEL_LENGTH_MIN (HEADER_LENGTH + 4 + 1)
#define CANCEL_LENGTH_MAX (HEADER_LENGTH + 4 + WEIR_CANCEL_KEY_MAX)

static void refuse(struct weir_startup *startup, const char *problem)
{
    startup->kind = WEIR_STARTUP_BAD;
    startup->problem = problem;
}

static void refuse_version(struct weir_startup *startup, uint32_t code)
{
    snprintf(startup->problem_text, sizeof startup->problem_text,
             "unsupported frontend protocol %u.%u: pgweir supports 3.0 to 3.2", code >> 16,
             code & 0xffff);
    refuse(startup, startup->problem_text);
}

static void parse_encryption_request(struct weir_startup *startup, enum weir_startup_kind kind)
{
    if (startup->length != HEADER_LENGTH) {
        refuse(startup, "invalid length of encryption request packet");
        return;
    }
    startup->kind = kind;
}

static void parse_cancel(const uint8_t *bytes, size_t length, struct weir_startup *startup)
{
    if (startup->length < CANCEL_LENGTH_MIN || startup->length > CANCEL_LENGTH_MAX) {
        refuse(startup, "invalid length of cancel request packet");
        return;
    }
    if (length < startup->length) {
        return;
    }
    startup->pid = weir_get_u32(bytes + HEADER_LENGTH);
    startup->key = bytes + HEADER_LENGTH + 4;
    startup->key_length = startup->length - (HEADER_LENGTH + 4);
    startup->kind = WEIR_STARTUP_CANCEL;
}

/* What is wrong with the list of names and values, or NULL. */
static const char *check_parameters(struct weir_reader parameters)
{
    while (weir_reader_left(&parameters) > 0) {
        const char *name = weir_read_string(&parameters);
        if (name != NULL && *name == '\0') {
            return "invalid startup packet layout: expected terminator as last byte";
        }
        if (name == NULL || weir_read_string(&parameters) == NULL) {
            return "invalid startup packet layout: parameter without value";
        }
    }
    return NULL;
}

static void parse_login(const uint8_t *bytes, size_t length, struct weir_startup *startup)
{
    if (startup->length == HEADER_LENGTH) {
        refuse(startup, "invalid startup packet layout: no terminator");
        return;
    }
    if (length < startup->length) {
        return;
    }
    if (bytes[startup->length - 1] != 0) {
        refuse(startup, "invalid startup packet layout: expected terminator as last byte");
        return;
    }
    /* Without the terminator, so that the walk ends where the reader does. */
    weir_reader_init(&startup->parameters, bytes + HEADER_LENGTH,
                     startup->length - HEADER_LENGTH - 1);
    const char *problem = check_parameters(startup->parameters);
    if (problem != NULL) {
        refuse(startup, problem);
        return;
    }
    startup->kind = WEIR_STARTUP_LOGIN;
}

void weir_startup_parse(const uint8_t *bytes, size_t length, struct weir_startup *startup)
{
    *startup = (struct weir_startup){.kind = WEIR_STARTUP_INCOMPLETE};
    weir_reader_init(&startup->parameters, NULL, 0);
    if (length < 4) {
        return;
    }
    startup->length = weir_get_u32(bytes);
    if (startup->length < HEADER_LENGTH || startup->length > WEIR_STARTUP_MAX) {
        refuse(startup, "invalid length of startup packet");
        return;
    }
    if (length < HEADER_LENGTH) {
        return;
    }

    const uint32_t code = weir_get_u32(bytes + 4);
    switch (code) {
    case CODE_SSL:
        parse_encryption_request(startup, WEIR_STARTUP_SSL);
        return;
    case CODE_GSS:
        parse_encryption_request(startup, WEIR_STARTUP_GSS);
        return;
    case CODE_CANCEL:
        parse_cancel(bytes, length, startup);
        return;
    default:
        startup->version = code;
        if (code >> 16 != 3) {
            refuse_version(startup, code);
            return;
        }
        parse_login(bytes, length, startup);
    }
}

bool weir_startup_next(struct weir_startup *startup, const char **name, const char **value)
{
    if (weir_reader_left(&startup->parameters) == 0) {
        return false;
    }
    *name = weir_read_string(&startup->parameters);
    *value = weir_read_string(&startup->parameters);
    return *value != NULL;
}
