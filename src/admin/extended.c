/* The extended protocol: statements and portals by name. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console.h"
#include "weir/memory.h"

#define OID_INT8 20
#define OID_INT2 21
#define OID_INT4 23
#define OID_TEXT 25

#define BINARY 1

static struct prepared *find_prepared(const struct guest *guest, const char *name)
{
    struct prepared *prepared;
    HASH_FIND_STR(guest->prepared, name, prepared);
    return prepared;
}

static struct portal *find_portal(const struct guest *guest, const char *name)
{
    struct portal *portal;
    HASH_FIND_STR(guest->portals, name, portal);
    return portal;
}

static void write_simple(struct guest *guest, char type)
{
    struct weir_writer writer = guest_writer(guest);
    weir_write_simple(&writer, type);
}

/* --- prepared statements -------------------------------------------------------------------- */

static void free_prepared(struct prepared *prepared)
{
    command_clear(&prepared->command);
    free(prepared->text);
    free(prepared->types);
    free(prepared);
}

static void forget_prepared(struct guest *guest, struct prepared *prepared)
{
    if (prepared == NULL)
        return;
    HASH_DEL(guest->prepared, prepared);
    guest->prepared_count--;
    guest->prepared_size -= prepared->size;
    free_prepared(prepared);
}

void extended_forget_prepared(struct guest *guest, const char *name)
{
    forget_prepared(guest, find_prepared(guest, name));
}

void extended_forget_all_prepared(struct guest *guest)
{
    struct prepared *prepared, *next;
    HASH_ITER(hh, guest->prepared, prepared, next) {
        forget_prepared(guest, prepared);
    }
}

/* A number where a client's id is wanted, else text; the client's own types win. */
static void set_types(struct prepared *prepared, struct weir_reader *reader, int given)
{
    int wanted = command_parameters(&prepared->command);
    prepared->type_count = given > wanted ? given : wanted;
    prepared->types = weir_alloc(((size_t)prepared->type_count + 1) * sizeof(*prepared->types));
    for (int i = 0; i < prepared->type_count; i++) {
        uint32_t type = i < given ? weir_read_u32(reader) : 0;
        uint32_t natural = prepared->command.kind == COMMAND_KILL_CLIENT ? OID_INT8 : OID_TEXT;
        prepared->types[i] = type != 0 ? type : natural;
    }
}

static bool parse_one(const char *text, struct command *command, struct complaint *complaint)
{
    const char *rest = text;
    if (!command_parse(text, &rest, command, complaint))
        return false;
    struct command more = {0};
    bool good = true;
    while (good && *rest != '\0') {
        good = command_parse(rest, &rest, &more, complaint);
        if (good && more.kind != COMMAND_EMPTY) {
            complain(complaint, "42601", NULL,
                     "cannot insert multiple commands into a prepared statement");
            good = false;
        }
        command_clear(&more);
    }
    return good;
}

static void refuse(struct guest *guest, struct prepared *prepared, struct complaint *complaint)
{
    free_prepared(prepared);
    guest_complain(guest, complaint);
}

void extended_parse(struct guest *guest, struct weir_reader *reader)
{
    size_t size = weir_reader_left(reader);
    const char *name = weir_read_string(reader);
    const char *text = weir_read_string(reader);
    int given = weir_read_u16(reader);
    if (reader->failed || weir_reader_left(reader) < 4 * (size_t)given) {
        reader->failed = true;
        return;
    }
    struct complaint complaint = {0};
    struct prepared *prepared = weir_alloc(sizeof(*prepared) + strlen(name) + 1);
    memcpy(prepared->name, name, strlen(name) + 1);
    if (*name == '\0')
        forget_prepared(guest, find_prepared(guest, ""));
    if (!parse_one(text, &prepared->command, &complaint)) {
        refuse(guest, prepared, &complaint);
        return;
    }
    if (find_prepared(guest, name) != NULL)
        complain(&complaint, "42P05", NULL, "prepared statement \"%s\" already exists", name);
    else if (guest->prepared_count >= STATEMENTS_MAX || guest->prepared_size + size > PREPARED_MAX)
        complain(&complaint, "53400", weir_strdup("Close statements that are not needed."),
                 "too many prepared statements for the console");
    if (complaint.sqlstate != NULL) {
        refuse(guest, prepared, &complaint);
        return;
    }
    set_types(prepared, reader, given);
    prepared->text = weir_strdup(text);
    prepared->size = size;
    HASH_ADD_STR(guest->prepared, name, prepared);
    guest->prepared_count++;
    guest->prepared_size += size;
    write_simple(guest, '1');
}

/* --- portals -------------------------------------------------------------------------------- */

static int64_t read_integer(const uint8_t *bytes, size_t size)
{
    uint64_t value = bytes[0] >= 0x80 ? UINT64_MAX : 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | bytes[i];
    return (int64_t)value;
}

static bool is_integer(uint32_t type, size_t length)
{
    return (type == OID_INT2 && length == 2) || (type == OID_INT4 && length == 4) ||
           (type == OID_INT8 && length == 8);
}

/* A parameter as text, in fresh memory; NULL: it cannot be read as what it claims to be. */
static char *read_parameter(const uint8_t *bytes, size_t length, uint32_t type, uint16_t code)
{
    bool number = type == OID_INT2 || type == OID_INT4 || type == OID_INT8;
    if (code == BINARY && number)
        return is_integer(type, length) ? weir_format("%" PRId64, read_integer(bytes, length))
                                        : NULL;
    /* Text is the same in both forms, as long as it is text. */
    if (memchr(bytes, '\0', length) != NULL)
        return NULL;
    return weir_strndup((const char *)bytes, length);
}

/* NULL: the message is malformed. */
static uint16_t *read_codes(struct weir_reader *reader, size_t *count)
{
    *count = weir_read_u16(reader);
    if (reader->failed || weir_reader_left(reader) < 2 * *count) {
        reader->failed = true;
        return NULL;
    }
    uint16_t *codes = weir_alloc((*count + 1) * sizeof(*codes));
    for (size_t i = 0; i < *count; i++)
        codes[i] = weir_read_u16(reader);
    return codes;
}

static bool are_codes_valid(const uint16_t *codes, size_t count, size_t columns,
                            struct complaint *complaint)
{
    if (count > 1 && count != columns) {
        complain(complaint, "08P01", NULL, "bind message has %zu formats for %zu columns", count,
                 columns);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (codes[i] > BINARY) {
            complain(complaint, "22023", NULL, "unsupported format code: %u", codes[i]);
            return false;
        }
    }
    return true;
}

/* False: malformed, or the complaint is set. */
static bool read_values(struct weir_reader *reader, struct portal *portal,
                        const struct prepared *prepared, const struct formats *formats,
                        struct complaint *complaint)
{
    int count = weir_read_u16(reader);
    if (reader->failed)
        return false;
    if (count != prepared->type_count) {
        complain(complaint, "08P01", NULL,
                 "bind message supplies %d parameters, but the statement requires %d", count,
                 prepared->type_count);
        return false;
    }
    if (!are_codes_valid(formats->codes, formats->count, (size_t)count, complaint))
        return false;
    portal->values = weir_alloc(((size_t)count + 1) * sizeof(*portal->values));
    for (; portal->value_count < count; portal->value_count++) {
        uint32_t length = weir_read_u32(reader);
        if (length == UINT32_MAX)
            continue;
        const uint8_t *bytes = weir_read_bytes(reader, length);
        if (bytes == NULL)
            return false;
        size_t at = (size_t)portal->value_count;
        portal->values[at] =
            read_parameter(bytes, length, prepared->types[at], formats_of(formats, at));
        if (portal->values[at] == NULL) {
            complain(complaint, "22P03", NULL, "cannot read parameter $%zu", at + 1);
            return false;
        }
    }
    return true;
}

/* The statement again: a portal outlives it. */
static void copy_command(const struct prepared *prepared, struct command *command)
{
    struct complaint complaint = {0};
    const char *rest;
    command_parse(prepared->text, &rest, command, &complaint);
    complaint_clear(&complaint);
}

static bool read_bind(struct guest *guest, struct weir_reader *reader,
                      const struct prepared *prepared, struct portal *portal,
                      struct complaint *complaint)
{
    struct formats formats = {0};
    uint16_t *codes = read_codes(reader, &formats.count);
    formats.codes = codes;
    bool good = codes != NULL && read_values(reader, portal, prepared, &formats, complaint);
    free(codes);
    if (!good)
        return false;
    copy_command(prepared, &portal->command);
    portal->codes = read_codes(reader, &portal->formats.count);
    portal->formats.codes = portal->codes;
    if (portal->codes == NULL)
        return false;
    const struct column *columns;
    size_t count = command_columns(&portal->command, &columns);
    /* Drivers may give a format for the one column that a command does not have. */
    if (count == 0)
        portal->formats.count = 0;
    return are_codes_valid(portal->codes, portal->formats.count, count, complaint);
}

void extended_bind(struct guest *guest, struct weir_reader *reader)
{
    const char *portal_name = weir_read_string(reader);
    const char *name = weir_read_string(reader);
    if (reader->failed)
        return;
    const struct prepared *prepared = find_prepared(guest, name);
    if (prepared == NULL) {
        guest_fail(guest, "26000", "prepared statement \"%s\" does not exist", name);
        return;
    }
    struct complaint complaint = {0};
    struct portal *old = find_portal(guest, portal_name);
    if (old != NULL && *portal_name == '\0')
        portal_close(guest, old);
    else if (old != NULL)
        complain(&complaint, "42P03", NULL, "portal \"%s\" already exists", portal_name);
    else if (guest->portal_count >= PORTALS_MAX)
        complain(&complaint, "53400", NULL, "too many open portals for the console");
    struct portal *portal = portal_create(portal_name);
    if (complaint.sqlstate != NULL || !read_bind(guest, reader, prepared, portal, &complaint)) {
        portal_destroy(portal);
        if (complaint.sqlstate != NULL)
            guest_complain(guest, &complaint);
        return;
    }
    HASH_ADD_STR(guest->portals, name, portal);
    guest->portal_count++;
    write_simple(guest, '2');
}

/* --- Describe, Execute, Close ------------------------------------------------------------------ */

static void describe(struct guest *guest, const struct command *command,
                     const struct formats *formats)
{
    const struct column *columns;
    size_t count = command_columns(command, &columns);
    struct weir_writer writer = guest_writer(guest);
    if (count > 0)
        rows_write_description(&writer, columns, count, formats);
    else
        weir_write_simple(&writer, 'n'); /* NoData */
}

static void describe_prepared(struct guest *guest, const char *name)
{
    const struct prepared *prepared = find_prepared(guest, name);
    if (prepared == NULL) {
        guest_fail(guest, "26000", "prepared statement \"%s\" does not exist", name);
        return;
    }
    struct weir_writer writer = guest_writer(guest);
    size_t begin = weir_message_begin(&writer, 't');
    weir_write_u16(&writer, (uint16_t)prepared->type_count);
    for (int i = 0; i < prepared->type_count; i++)
        weir_write_u32(&writer, prepared->types[i]);
    weir_message_end(&writer, begin);
    const struct formats text = {0};
    describe(guest, &prepared->command, &text);
}

void extended_describe(struct guest *guest, struct weir_reader *reader)
{
    uint8_t what = weir_read_u8(reader);
    const char *name = weir_read_string(reader);
    if (name == NULL || (what != 'S' && what != 'P')) {
        reader->failed = true;
        return;
    }
    if (what == 'S') {
        describe_prepared(guest, name);
        return;
    }
    const struct portal *portal = find_portal(guest, name);
    if (portal == NULL)
        guest_fail(guest, "34000", "portal \"%s\" does not exist", name);
    else
        describe(guest, &portal->command, &portal->formats);
}

void extended_execute(struct guest *guest, struct weir_reader *reader)
{
    const char *name = weir_read_string(reader);
    uint32_t limit = weir_read_u32(reader);
    if (reader->failed)
        return;
    struct portal *portal = find_portal(guest, name);
    if (portal == NULL)
        guest_fail(guest, "34000", "portal \"%s\" does not exist", name);
    else if (portal->command.kind == COMMAND_EMPTY)
        write_simple(guest, 'I');
    else
        portal_run(guest, portal, limit > INT32_MAX ? 0 : limit);
}

void extended_close(struct guest *guest, struct weir_reader *reader)
{
    uint8_t what = weir_read_u8(reader);
    const char *name = weir_read_string(reader);
    if (name == NULL || (what != 'S' && what != 'P')) {
        reader->failed = true;
        return;
    }
    if (what == 'S')
        extended_forget_prepared(guest, name);
    else
        portal_close(guest, find_portal(guest, name));
    write_simple(guest, '3');
}
