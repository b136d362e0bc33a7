/* What commands do. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "console.h"
#include "weir/log.h"
#include "weir/memory.h"
#include "weir/operator.h"

#define SERVER_VERSION "15.0/pgweir-" WEIR_VERSION

char *perform_value(const struct guest *guest, const struct command *command)
{
    switch (command->source) {
    case VALUE_LITERAL:
        return weir_strdup(command->value);
    case VALUE_USER:
        return weir_strdup(guest->user);
    case VALUE_DATABASE:
        return weir_strdup(guest->database);
    case VALUE_APPLICATION:
        return weir_strdup(guest->application_name);
    case VALUE_PID:
        return weir_format("%u", guest->client->cancel_pid);
    case VALUE_VERSION:
        return weir_strdup("pgweir " WEIR_VERSION);
    case VALUE_SERVER_VERSION:
        return weir_strdup(SERVER_VERSION);
    }
    return NULL;
}

/* Who did what, for whoever reads the log later. */
static void note(const struct guest *guest, const char *what, const char *name, const char *value)
{
    struct weir_log_who who = {.kind = "client",
                               .id = guest->client->id,
                               .database = guest->database,
                               .user = guest->user};
    weir_log_info(&who, "console", "%s%s%s%s%s", what, name != NULL ? " " : "",
                  name != NULL ? name : "", value != NULL ? " = " : "", value != NULL ? value : "");
}

/* --- the router's part -------------------------------------------------------------------------- */

/* What a command makes of a database, for errors. */
static const char *state_after(enum command_kind kind)
{
    switch (kind) {
    case COMMAND_DISABLE:
        return "disabled";
    case COMMAND_ENABLE:
        return "enabled";
    case COMMAND_SUSPEND:
        return "suspended";
    default:
        return "paused";
    }
}

/* True: done. Otherwise the client has been told. */
static bool judge(struct guest *guest, enum weir_operator_result result, const char *name)
{
    const struct command *command = &guest->running->command;
    const char *what = name != NULL ? "database " : "";
    const char *which = name != NULL ? name : "pgweir";
    switch (result) {
    case WEIR_OPERATOR_DONE:
        return true;
    case WEIR_OPERATOR_NO_DATABASE:
        guest_fail(guest, "3D000", "no such database: %s", which);
        break;
    case WEIR_OPERATOR_NO_CLIENT:
        guest_fail(guest, "42704", "client with id %s not found", which);
        break;
    case WEIR_OPERATOR_ALREADY:
        guest_fail(guest, "55000", "%s%s is already %s", what, which, state_after(command->kind));
        break;
    case WEIR_OPERATOR_NOT:
        guest_fail(guest, "55000", "%s%s is not %s", what, which,
                   command->kind == COMMAND_ENABLE ? "disabled" : "paused");
        break;
    case WEIR_OPERATOR_DRAINING:
        guest_fail(guest, "55000", "%s: not while pgweir is shutting down", command->tag);
        break;
    }
    return false;
}

static void finish(struct guest *guest, enum weir_operator_result result, const char *name)
{
    if (judge(guest, result, name))
        portal_complete(guest);
}

/* Who asks for what is being waited for already waits, too: all are answered together. */
static void pause_database(struct guest *guest, const char *name)
{
    enum weir_operator_result result = weir_operator_pause(guest->admin->router, name);
    bool done = result == WEIR_OPERATOR_DONE;
    bool under_way = result == WEIR_OPERATOR_ALREADY &&
                     !weir_operator_is_paused_out(guest->admin->router, name) &&
                     weir_operator_is_paused(guest->admin->router, name);
    if (!under_way && !judge(guest, result, name))
        return;
    guest->paused_here = done;
    wait_begin(guest, WAIT_PAUSE, name);
}

static void suspend(struct guest *guest)
{
    if (!judge(guest, weir_operator_suspend(guest->admin->router), NULL))
        return;
    guest->paused_here = true;
    wait_begin(guest, WAIT_SUSPEND, NULL);
}

static bool is_database(const struct guest *guest, const char *name)
{
    return name == NULL || weir_conf_database(weir_router_conf(guest->admin->router), name) != NULL;
}

static void wait_close(struct guest *guest, const char *name)
{
    if (!is_database(guest, name))
        guest_fail(guest, "3D000", "no such database: %s", name);
    else
        wait_begin(guest, WAIT_CLOSE, name);
}

static void kill_client(struct guest *guest, const char *text)
{
    char *end = NULL;
    errno = 0;
    unsigned long long id = text[strspn(text, "0123456789")] == '\0' ? strtoull(text, &end, 10) : 0;
    if (id == 0 || errno != 0) {
        guest_fail(guest, "22P02",
                   "invalid client id: \"%.64s\"; see the column id of SHOW CLIENTS", text);
        return;
    }
    finish(guest, weir_operator_kill_client(guest->admin->router, id), text);
}

static void act_on_database(struct guest *guest, enum command_kind kind, const char *name)
{
    struct weir_router *router = guest->admin->router;
    switch (kind) {
    case COMMAND_PAUSE:
        pause_database(guest, name);
        break;
    case COMMAND_RESUME:
        finish(guest, weir_operator_resume(router, name), name);
        break;
    case COMMAND_DISABLE:
        finish(guest, weir_operator_disable(router, name), name);
        break;
    case COMMAND_ENABLE:
        finish(guest, weir_operator_enable(router, name), name);
        break;
    case COMMAND_RECONNECT:
        finish(guest, weir_operator_reconnect(router, name), name);
        break;
    case COMMAND_WAIT_CLOSE:
        wait_close(guest, name);
        break;
    case COMMAND_KILL:
        finish(guest, weir_operator_kill(router, name), name);
        break;
    default:
        kill_client(guest, name);
        break;
    }
}

/* --- the daemon's part -------------------------------------------------------------------------- */

static void fail_with(struct guest *guest, const char *sqlstate, const char *what, char *problem)
{
    size_t length = problem != NULL ? strcspn(problem, "\n") : 0;
    struct complaint complaint = {.sqlstate = sqlstate};
    complaint.message = weir_format("%s%.*s", what, (int)length, problem != NULL ? problem : "");
    if (problem != NULL && problem[length] != '\0' && problem[length + 1] != '\0')
        complaint.detail = weir_strdup(problem + length + 1);
    free(problem);
    guest_complain(guest, &complaint);
}

static void reload(struct guest *guest)
{
    const struct weir_admin *admin = guest->admin;
    char *problem = NULL;
    if (admin->ops->reload(admin->context, &problem))
        portal_complete(guest);
    else
        fail_with(guest, "F0000", "RELOAD failed, the old configuration stays: ", problem);
}

static void set(struct guest *guest, const char *name, const char *value)
{
    const struct weir_admin *admin = guest->admin;
    char *problem = NULL;
    if (value == NULL)
        guest_fail(guest, "22004", "SET needs a value");
    else if (admin->ops->set(admin->context, name, value, &problem))
        portal_complete(guest);
    else
        fail_with(guest, "22023", "SET failed: ", problem);
}

static void shut_down(struct guest *guest, const char *how)
{
    const struct weir_admin *admin = guest->admin;
    enum weir_shutdown kind = WEIR_SHUTDOWN_NOW;
    if (how != NULL)
        kind = strcasecmp(how, "WAIT_FOR_SERVERS") == 0 ? WEIR_SHUTDOWN_WAIT_SERVERS
                                                        : WEIR_SHUTDOWN_WAIT_CLIENTS;
    admin->ops->shutdown(admin->context, kind);
    portal_complete(guest);
}

/* --- drivers' talk --------------------------------------------------------------------------------- */

/* There is nothing to roll back; drivers believe what ReadyForQuery says, so it is kept. */
static void end_transaction(struct guest *guest)
{
    guest->transaction = 'I';
    portal_complete(guest);
}

static void set_ignored(struct guest *guest, const struct portal *portal)
{
    const char *value = portal_value(portal);
    const char *name = portal->command.name;
    if (name != NULL && value != NULL && strcasecmp(name, "application_name") == 0) {
        free(guest->application_name);
        guest->application_name = weir_strndup(value, strnlen(value, 64));
    }
    portal_complete(guest);
}

static void deallocate(struct guest *guest, const char *name)
{
    if (strcasecmp(name, "all") == 0)
        extended_forget_all_prepared(guest);
    else
        extended_forget_prepared(guest, name);
    portal_complete(guest);
}

static void help(struct guest *guest)
{
    char *text = help_text();
    guest_tell_notice(guest, "Console usage", text);
    free(text);
    portal_complete(guest);
}

static void talk(struct guest *guest, struct portal *portal)
{
    switch (portal->command.kind) {
    case COMMAND_HELP:
        help(guest);
        break;
    case COMMAND_BEGIN:
    case COMMAND_START:
        guest->transaction = 'T';
        portal->command.tag = portal->command.kind == COMMAND_START ? "START TRANSACTION" : "BEGIN";
        portal_complete(guest);
        break;
    case COMMAND_COMMIT:
    case COMMAND_END:
        portal->command.tag = "COMMIT";
        end_transaction(guest);
        break;
    case COMMAND_ROLLBACK:
    case COMMAND_ABORT:
        portal->command.tag = "ROLLBACK";
        end_transaction(guest);
        break;
    case COMMAND_SET_IGNORED:
        set_ignored(guest, portal);
        break;
    case COMMAND_DEALLOCATE:
        deallocate(guest, portal->command.name);
        break;
    case COMMAND_DISCARD:
        extended_forget_all_prepared(guest);
        portal->command.tag = "DISCARD ALL";
        portal_complete(guest);
        break;
    default:
        portal_complete(guest);
        break;
    }
}

/* --- all of them -------------------------------------------------------------------------------- */

static bool is_administration(enum command_kind kind)
{
    return kind >= COMMAND_SET && kind <= COMMAND_SHUTDOWN;
}

void perform(struct guest *guest, struct portal *portal)
{
    const struct command *command = &portal->command;
    const char *name = portal_name(portal);
    if (!is_administration(command->kind)) {
        talk(guest, portal);
        return;
    }
    if (name == NULL && (command->name_parameter > 0 || command->kind == COMMAND_KILL_CLIENT)) {
        guest_fail(guest, "22004", "%s: the parameter must not be null", command->tag);
        return;
    }
    note(guest, command->tag, name, command->kind == COMMAND_SET ? portal_value(portal) : NULL);
    switch (command->kind) {
    case COMMAND_SET:
        set(guest, name, portal_value(portal));
        break;
    case COMMAND_RELOAD:
        reload(guest);
        break;
    case COMMAND_SUSPEND:
        suspend(guest);
        break;
    case COMMAND_SHUTDOWN:
        shut_down(guest, name);
        break;
    default:
        act_on_database(guest, command->kind, name);
        break;
    }
}
