/* Running a command. Rows are made in slices by the walk of a table and handed out as far as the
 * client wants them; the rest of a slice stays in the portal. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console.h"
#include "weir/memory.h"

struct portal *portal_create(const char *name)
{
    size_t length = strlen(name);
    struct portal *portal = weir_alloc(sizeof(*portal) + length + 1);
    memcpy(portal->name, name, length + 1);
    return portal;
}

void portal_destroy(struct portal *portal)
{
    if (portal == NULL)
        return;
    command_clear(&portal->command);
    for (int i = 0; i < portal->value_count; i++)
        free(portal->values[i]);
    free(portal->values);
    free(portal->codes);
    weir_buffer_clear(&portal->rest);
    free(portal);
}

void portal_close(struct guest *guest, struct portal *portal)
{
    if (portal == NULL)
        return;
    HASH_DEL(guest->portals, portal);
    guest->portal_count--;
    portal_destroy(portal);
}

void portal_close_all(struct guest *guest)
{
    struct portal *portal, *next;
    HASH_ITER(hh, guest->portals, portal, next) {
        portal_close(guest, portal);
    }
}

static const char *parameter(const struct portal *portal, int number)
{
    return number <= portal->value_count ? portal->values[number - 1] : NULL;
}

const char *portal_name(const struct portal *portal)
{
    const struct command *command = &portal->command;
    return command->name_parameter > 0 ? parameter(portal, command->name_parameter) : command->name;
}

const char *portal_value(const struct portal *portal)
{
    const struct command *command = &portal->command;
    return command->value_parameter > 0 ? parameter(portal, command->value_parameter)
                                        : command->value;
}

/* --- rows --------------------------------------------------------------------------------- */

/* Another slice of rows into portal->rest. */
static void make_rows(struct guest *guest, struct portal *portal)
{
    struct walk walk = {.admin = guest->admin, .guest = guest, .portal = portal};
    const struct column *columns = NULL;
    walk.rows.column_count = command_columns(&portal->command, &columns);
    walk.rows.columns = columns;
    walk.rows.formats = portal->formats;
    walk.rows.writer = weir_writer_to(&portal->rest);
    if (portal->command.kind == COMMAND_VALUE) {
        char *value = perform_value(guest, &portal->command);
        rows_begin(&walk.rows);
        if (columns->type == COLUMN_TEXT)
            rows_text(&walk.rows, value);
        else
            rows_number(&walk.rows, strtoll(value, NULL, 10));
        rows_end(&walk.rows);
        free(value);
        portal->walked = true;
    } else {
        portal->walked = portal->command.table->walk(&walk);
    }
    if (walk.problem != NULL) {
        guest_fail(guest, walk.problem_state, "%s", walk.problem);
        free(walk.problem);
        return;
    }
    if (walk.rows.writer.failed) {
        weir_buffer_clear(&portal->rest);
        guest_fail(guest, "53200", "out of memory for this result");
    }
}

/* Moves rows from the portal to the output, at most as many as are wanted. True: enough. */
static bool hand_out(struct guest *guest, struct portal *portal)
{
    const uint8_t *bytes = weir_buffer_bytes(&portal->rest);
    size_t length = weir_buffer_length(&portal->rest), taken = 0;
    uint32_t wanted = guest->row_limit;
    while (taken < length && (wanted == 0 || portal->sent < wanted)) {
        taken += 1 + (size_t)weir_get_u32(bytes + taken + 1);
        portal->sent++;
    }
    if (taken > 0 && !weir_buffer_append(&guest->output, bytes, taken)) {
        guest_fail(guest, "53200", "out of memory for this result");
        return false;
    }
    if (taken > 0)
        weir_buffer_consume(&portal->rest, taken);
    return wanted != 0 && portal->sent >= wanted;
}

bool portal_go_on(struct guest *guest)
{
    struct portal *portal = guest->running;
    if (weir_buffer_length(&portal->rest) == 0 && !portal->walked)
        make_rows(guest, portal);
    if (guest->state != GUEST_RUNNING)
        return true;
    bool enough = hand_out(guest, portal);
    if (guest->state != GUEST_RUNNING)
        return true;
    if (weir_buffer_length(&portal->rest) == 0 && portal->walked) {
        portal_complete(guest);
        return true;
    }
    if (!enough)
        return false;
    struct weir_writer writer = guest_writer(guest);
    weir_write_simple(&writer, 's'); /* PortalSuspended */
    guest->running = NULL;
    guest->state = GUEST_READY;
    return true;
}

/* --- commands ------------------------------------------------------------------------------- */

void portal_complete(struct guest *guest)
{
    struct portal *portal = guest->running;
    char tag[48];
    if (strcmp(portal->command.tag, "SELECT") == 0)
        snprintf(tag, sizeof(tag), "SELECT %" PRIu64, portal->sent);
    else
        snprintf(tag, sizeof(tag), "%s", portal->command.tag);
    struct weir_writer writer = guest_writer(guest);
    size_t begin = weir_message_begin(&writer, 'C');
    weir_write_string(&writer, tag);
    weir_message_end(&writer, begin);
    guest->running = NULL;
    guest->state = GUEST_READY;
    if (guest->query == NULL)
        return;
    portal_destroy(portal);
}

static void begin_rows(struct guest *guest, struct portal *portal)
{
    const struct column *columns = NULL;
    size_t count = command_columns(&portal->command, &columns);
    if (guest->query != NULL) {
        struct weir_writer writer = guest_writer(guest);
        rows_write_description(&writer, columns, count, &portal->formats);
    }
    guest->state = GUEST_RUNNING;
}

void portal_run(struct guest *guest, struct portal *portal, uint32_t row_limit)
{
    const struct column *columns = NULL;
    const struct command *command = &portal->command;
    guest->running = portal;
    guest->row_limit = row_limit;
    portal->sent = 0;
    if (command->admin && guest->rights != WEIR_CONSOLE_ADMIN) {
        struct complaint complaint = {0};
        complain(&complaint, "42501", weir_strdup("Log in as one of admin_users."),
                 "permission denied: stats users may only look, not %s", command->tag);
        guest_complain(guest, &complaint);
        return;
    }
    if (command->table != NULL && command->table->walk == NULL) {
        guest_fail(guest, "0A000", "SHOW %s is not supported: %s", command->table->name,
                   command->table->help);
        return;
    }
    if (command_columns(command, &columns) > 0) {
        begin_rows(guest, portal);
    } else if (portal->begun) {
        guest_fail(guest, "55000", "portal \"%s\" cannot be run again", portal->name);
    } else {
        portal->begun = true;
        perform(guest, portal);
    }
}
