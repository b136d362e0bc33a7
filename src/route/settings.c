/* Session settings: each client's are known, and hold on whatever server connection it gets.
 *
 * What a client asked for at login is applied by set_config, which reads a value exactly as the
 * startup packet does. What it changes later is learned from the server: reported settings by
 * ParameterStatus, all others by asking pg_settings after a transaction in which SET or RESET was
 * seen. Equal profiles are the same pointer, so equal settings cost nothing. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "login.h"
#include "settings.h"
#include "state.h"

void settings_write_literal(struct weir_writer *writer, const char *text)
{
    weir_write_bytes(writer, "E'", 2);
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            weir_write_u8(writer, (uint8_t)*text);
        weir_write_u8(writer, (uint8_t)*text);
    }
    weir_write_u8(writer, '\'');
}

/* All settings in one SELECT: `count` of them were written before. */
static void write_set(struct weir_writer *writer, const struct weir_setting *setting, int count)
{
    static const char first[] = "SELECT ", call[] = "pg_catalog.set_config(";
    if (count == 0)
        weir_write_bytes(writer, first, sizeof(first) - 1);
    else
        weir_write_u8(writer, ',');
    weir_write_bytes(writer, call, sizeof(call) - 1);
    settings_write_literal(writer, setting->name);
    weir_write_u8(writer, ',');
    settings_write_literal(writer, setting->value);
    weir_write_bytes(writer, ",false)", 7);
}

/* An identifier would be cut where a name is not. */
static void write_custom_reset(struct weir_writer *writer, const char *name)
{
    static const char call[] = "SELECT pg_catalog.set_config(", rest[] = ",NULL,false);";
    weir_write_bytes(writer, call, sizeof(call) - 1);
    settings_write_literal(writer, name);
    weir_write_bytes(writer, rest, sizeof(rest) - 1);
}

static void write_reset(struct weir_writer *writer, const char *name)
{
    if (strchr(name, '.') != NULL) {
        write_custom_reset(writer, name);
        return;
    }
    weir_write_bytes(writer, "RESET \"", 7);
    for (const char *at = name; *at != '\0'; at++) {
        if (*at == '"')
            weir_write_u8(writer, '"');
        weir_write_u8(writer, (uint8_t)*at);
    }
    weir_write_bytes(writer, "\";", 2);
}

/* Cannot fail on the server, so nobody needs to wait for the answer. */
static bool is_harmless(const char *name)
{
    return strcmp(name, "application_name") == 0;
}

bool settings_left_login(const struct client *client)
{
    const struct weir_profile *startup = client->startup;
    if (startup == client->settings)
        return false;
    for (uint32_t i = 0; i < startup->count; i++) {
        const char *now = weir_profile_value(client->settings, startup->settings[i].name);
        if (now != NULL && strcmp(now, startup->settings[i].value) != 0)
            return true;
    }
    return false;
}

static bool wants_proof(const struct server *server)
{
    return server->client != NULL && settings_left_login(server->client);
}

static bool has_set(const struct server *server, const struct weir_setting *setting)
{
    const char *value = weir_profile_value(server->settings, setting->name);
    return value != NULL && strcmp(value, setting->value) == 0;
}

/* The connection has this value as its own default. */
static bool has_by_itself(const struct server *server, const struct weir_setting *setting)
{
    bool usual =
        server->initial == NULL || weir_profile_value(server->initial, setting->name) == NULL;
    const char *value = NULL;
    if (usual && weir_profile_value(server->settings, setting->name) == NULL)
        value = weir_parameters_get(&server->base.parameters, setting->name);
    return value != NULL && strcmp(value, setting->value) == 0;
}

/* `proof`: it must be set in the session. */
static bool has_already(const struct server *server, const struct weir_setting *setting, bool proof)
{
    return proof ? server->proven && has_set(server, setting)
                 : has_set(server, setting) || has_by_itself(server, setting);
}

struct difference {
    int statements;
    bool may_fail;
    bool as_login; /* the identity is put aside meanwhile */
    bool proof;    /* no setting is left out because it holds by itself */
    bool assumed;  /* one was */
};

static void write_resets(const struct server *server, const struct weir_profile *to, bool identity,
                         struct weir_writer *writer, struct difference *difference)
{
    for (uint32_t i = 0; i < server->settings->count; i++) {
        const char *name = server->settings->settings[i].name;
        bool stays = weir_profile_value(to, name) != NULL && !(identity && difference->as_login);
        if (settings_is_identity(name) != identity || stays)
            continue;
        write_reset(writer, name);
        difference->statements++;
        difference->may_fail |= !is_harmless(name);
    }
}

static int write_sets(const struct server *server, const struct weir_profile *to,
                      struct weir_writer *writer, struct difference *difference)
{
    int written = 0;
    for (uint32_t i = 0; i < to->count; i++) {
        const struct weir_setting *setting = &to->settings[i];
        if (settings_is_identity(setting->name))
            continue;
        if (has_already(server, setting, difference->proof)) {
            difference->assumed |= !has_set(server, setting);
            continue;
        }
        write_set(writer, setting, written++);
        difference->statements++;
        difference->may_fail |= !is_harmless(setting->name);
    }
    return written;
}

/* The session's user first: to set it ends the role. */
static void write_identity(const struct server *server, const struct weir_profile *to, int written,
                           struct weir_writer *writer, struct difference *difference)
{
    static const char *const names[] = {"session_authorization", "role"};
    bool gone = weir_profile_value(server->settings, names[0]) != NULL &&
                weir_profile_value(to, names[0]) == NULL;
    bool anew = difference->as_login || gone;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct weir_setting setting = {.name = names[i], .value = weir_profile_value(to, names[i])};
        if (setting.value == NULL || (!anew && has_already(server, &setting, false)))
            continue;
        write_set(writer, &setting, written++);
        difference->statements++;
        difference->may_fail = true;
        anew = true;
    }
}

static bool has_identity(const struct weir_profile *profile)
{
    return weir_profile_value(profile, "role") != NULL ||
           weir_profile_value(profile, "session_authorization") != NULL;
}

/* One has other settings than the other, who the session is left aside. */
static bool lacks_any_of(const struct weir_profile *one, const struct weir_profile *other)
{
    for (uint32_t i = 0; i < other->count; i++) {
        const struct weir_setting *setting = &other->settings[i];
        const char *value = weir_profile_value(one, setting->name);
        if (!settings_is_identity(setting->name) &&
            (value == NULL || strcmp(value, setting->value) != 0))
            return true;
    }
    return false;
}

/* What was set before a role was taken may need the rights of the login to be changed. */
static bool needs_login(const struct server *server, const struct weir_profile *to)
{
    return has_identity(server->settings) &&
           (lacks_any_of(server->settings, to) || lacks_any_of(to, server->settings));
}

/* Writes the statements that lead from what the server connection has to the profile. */
static struct difference write_difference(const struct server *server,
                                          const struct weir_profile *to, struct weir_writer *writer)
{
    struct difference difference = {.as_login = needs_login(server, to),
                                    .proof = wants_proof(server)};
    write_resets(server, to, true, writer, &difference);
    write_resets(server, to, false, writer, &difference);
    int written = write_sets(server, to, writer, &difference);
    write_identity(server, to, written, writer, &difference);
    return difference;
}

bool settings_sync(struct server *server, struct client *client)
{
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    size_t message = weir_message_begin(&writer, 'Q');
    const struct weir_profile *wanted = settings_wanted(client, server);
    struct difference difference = write_difference(server, wanted, &writer);
    if (difference.assumed)
        server->proven = false;
    if (difference.statements == 0) {
        /* Values that hold by themselves. */
        weir_buffer_clear(&out);
        settings_take(&server->settings, weir_profile_ref(wanted));
        server->tell_parameters = false; /* or the next client would be told of its own */
        return false;
    }
    weir_write_u8(&writer, 0);
    weir_message_end(&writer, message);
    gather_copy(&server->router->to_server, weir_buffer_bytes(&out), weir_buffer_length(&out));
    weir_buffer_clear(&out);
    weir_buffer_clear(&server->trouble);
    server->unnamed_version = 0;
    server_expect(server, REPLY_QUERY, REPLY_SWALLOW, PURPOSE_SETTINGS, NULL);
    server->destination->counters.setting_syncs++;
    if (!difference.may_fail) {
        settings_take(&server->settings, weir_profile_ref(wanted));
        server->proven |= difference.proof;
    }
    settings_take(&server->spelled, NULL);
    return difference.may_fail;
}

/* set_config returns values in the server's own spelling. The last row of all is that of the settings,
 * in the order in which they were written; those before are of resets. */
void settings_on_applied(struct server *server, const uint8_t *body, size_t length)
{
    if (server->client == NULL)
        return;
    const struct weir_profile *wanted = settings_wanted(server->client, server);
    const struct weir_profile *spelled = weir_profile_ref(wanted);
    bool proof = wants_proof(server);
    struct weir_reader reader;
    weir_reader_init(&reader, body, length);
    uint16_t columns = weir_read_u16(&reader);
    for (uint32_t i = 0; i < wanted->count && columns > 0 && !reader.failed; i++) {
        const struct weir_setting *setting = &wanted->settings[i];
        if (settings_is_identity(setting->name) || has_already(server, setting, proof))
            continue;
        char *value = settings_read_column(&reader);
        columns--;
        if (value != NULL && strcmp(value, setting->value) != 0)
            settings_take(&spelled, weir_profile_with(spelled, setting->name, value));
        free(value);
    }
    settings_take(&server->spelled, spelled);
}

static void respell(const struct weir_profile **profile, const struct weir_profile *spelled)
{
    for (uint32_t i = 0; i < spelled->count; i++) {
        const struct weir_setting *setting = &spelled->settings[i];
        const char *value = weir_profile_value(*profile, setting->name);
        if (value != NULL && strcmp(value, setting->value) != 0)
            settings_take(profile, weir_profile_with(*profile, setting->name, setting->value));
    }
}

void settings_respell(struct client *client, const struct weir_profile *spelled)
{
    const struct weir_profile *settings = weir_profile_ref(client->settings);
    respell(&settings, spelled);
    /* What the client has at login is what it asked for there. */
    const struct weir_profile *startup = client->startup;
    for (uint32_t i = 0; i < startup->count; i++) {
        const char *name = startup->settings[i].name;
        const char *now = weir_profile_value(client->settings, name);
        const char *then = weir_profile_value(settings, name);
        if (now != NULL && then != NULL && strcmp(now, startup->settings[i].value) == 0 &&
            strcmp(now, then) != 0)
            settings_take(&client->startup, weir_profile_with(client->startup, name, then));
    }
    settings_change(client, settings);
}

bool settings_restore(struct server *server)
{
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    size_t message = weir_message_begin(&writer, 'Q');
    write_difference(server, server->initial, &writer);
    weir_write_u8(&writer, 0);
    weir_message_end(&writer, message);
    weir_buffer_clear(&server->trouble);
    server->proven = false;
    server->unnamed_version = 0;
    server_expect(server, REPLY_QUERY, REPLY_SWALLOW, PURPOSE_RESET, NULL);
    bool sent =
        !writer.failed && weir_stream_send_bytes(&server->base.stream, weir_buffer_bytes(&out),
                                                 weir_buffer_length(&out));
    weir_buffer_clear(&out);
    /* An error closes the connection. */
    weir_profile_unref(server->settings);
    server->settings = weir_profile_ref(server->initial);
    return sent;
}

const struct weir_profile *settings_canonical(const struct weir_profile *profile,
                                              const struct weir_parameters *parameters)
{
    const struct weir_profile *result = weir_profile_ref(profile);
    for (uint32_t i = 0; i < profile->count; i++) {
        const struct weir_setting *setting = &profile->settings[i];
        const char *reported = weir_parameters_get(parameters, setting->name);
        if (reported == NULL || is_harmless(setting->name) || strcmp(reported, setting->value) == 0)
            continue;
        const struct weir_profile *next = weir_profile_with(result, setting->name, reported);
        weir_profile_unref(result);
        result = next;
    }
    return result;
}

void settings_on_synced(struct server *server)
{
    struct client *client = server->client;
    server->tell_parameters = false;
    bool refused = weir_buffer_length(&server->trouble) > 0;
    if (client == NULL) {
        /* It went away meanwhile: what holds now is not known exactly. */
        server->dirt |= DIRT_SETTINGS;
        return;
    }
    if (!refused) {
        server->proven |= wants_proof(server);
        const struct weir_profile *spelled = server->spelled;
        server->spelled = NULL;
        if (spelled == NULL)
            spelled = weir_profile_ref(settings_wanted(client, server));
        settings_take(&server->settings, spelled);
        if (client->base.state == WEIR_CLIENT_GREETING) {
            admission_welcome_from_server(client);
            return;
        }
        if (settings_wanted(client, server) != server->settings)
            settings_respell(client, server->settings);
        /* What the server spells otherwise than asked for, in what is not the client's own, stays ours:
         * it holds, and must not be applied for ever. */
        settings_take(&server->settings, weir_profile_ref(settings_wanted(client, server)));
        if (client->base.state == WEIR_CLIENT_HELD) {
            weir_client_set_state(&client->base, WEIR_CLIENT_ACTIVE);
            weir_loop_defer(server->router->loop, &client->resume);
        }
        return;
    }
    if (client->base.state != WEIR_CLIENT_GREETING && client->base.state != WEIR_CLIENT_HELD) {
        /* Only application_name was to be set, and what the client asked is on its way: it goes on. */
        server->dirt |= DIRT_SETTINGS;
        weir_buffer_clear(&server->trouble);
        return;
    }
    /* Others would meet the same error if it was not this client's setting that was refused. */
    if (settings_lack_initial(server))
        server->slot.close_asked = true;
    struct weir_buffer trouble = server->trouble;
    server->trouble = (struct weir_buffer){0};
    if (client->base.state == WEIR_CLIENT_GREETING) {
        admission_refuse(client, WEIR_REASON_SETTING_REFUSED, NULL, &trouble);
    } else {
        binding_detach(server);
        binding_refuse_as_server(client, WEIR_REASON_SETTING_REFUSED, weir_buffer_bytes(&trouble),
                                 weir_buffer_length(&trouble));
    }
    weir_buffer_clear(&trouble);
}

void settings_on_reported(struct server *server, const char *name, const char *value)
{
    struct client *client = server->client;
    if (client == NULL || !weir_parameter_is_setting(name))
        return;
    /* A value that is the server's own default needs no setting, unless the client asked for it. */
    char lower[64];
    size_t length = 0;
    for (; name[length] != '\0' && length + 1 < sizeof(lower); length++)
        lower[length] = (char)tolower((unsigned char)name[length]);
    lower[length] = '\0';
    const char *usual = server->initial != NULL ? weir_profile_value(server->initial, lower) : NULL;
    if (usual == NULL)
        usual = weir_parameters_get(&server->destination->parameters, name);
    bool plain = usual != NULL && strcmp(usual, value) == 0 &&
                 weir_profile_value(client->startup, lower) == NULL;
    const struct weir_profile *profile =
        weir_profile_with(client->settings, name, plain ? NULL : value);
    bool differs = profile != client->settings;
    if (differs || client->unset != NULL) {
        settings_not_unset(client, lower);
        settings_change(client, weir_profile_ref(profile));
        settings_take(&server->settings, weir_profile_ref(settings_wanted(client, server)));
    }
    weir_profile_unref(profile);
}
