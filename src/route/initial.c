/* What connect_query has set on a server connection is the ground on which every client's settings
 * stand. A client's own settings go over it, and what the client has RESET of it stays away for this
 * client, as on a direct connection, until it sets the name again or ends.
 *
 * Connections of one pool have equal ground as a rule, so the merged profile is made once per
 * client. Without connect_query none of this is reached. */
#include <ctype.h>
#include <string.h>

#include "router.h"
#include "state.h"

static void replace(const struct weir_profile **place, const struct weir_profile *profile)
{
    weir_profile_unref(*place);
    *place = profile;
}

static void forget_merged(struct client *client)
{
    replace(&client->merged, NULL);
    replace(&client->over, NULL);
}

void settings_change(struct client *client, const struct weir_profile *settings)
{
    replace(&client->settings, settings);
    forget_merged(client);
}

void settings_forget_client(struct client *client)
{
    replace(&client->startup, NULL);
    replace(&client->settings, NULL);
    replace(&client->unset, NULL);
    forget_merged(client);
}

static void put(const struct weir_profile **profile, const char *name, const char *value)
{
    replace(profile, weir_profile_with(*profile, name, value));
}

const struct weir_profile *settings_merge(struct client *client, const struct weir_profile *initial)
{
    if (client->over == initial)
        return client->merged;
    const struct weir_profile *merged = weir_profile_ref(initial);
    if (client->unset != NULL)
        for (uint32_t i = 0; i < client->unset->count; i++)
            put(&merged, client->unset->settings[i].name, NULL);
    for (uint32_t i = 0; i < client->settings->count; i++)
        put(&merged, client->settings->settings[i].name, client->settings->settings[i].value);
    replace(&client->merged, merged);
    replace(&client->over, weir_profile_ref(initial));
    return merged;
}

const struct weir_profile *settings_take_own(struct client *client,
                                             const struct weir_profile *initial,
                                             const struct weir_profile *held)
{
    const struct weir_profile *own = weir_profile_empty(initial->set);
    for (uint32_t i = 0; i < held->count; i++) {
        const struct weir_setting *setting = &held->settings[i];
        const char *ground = weir_profile_value(initial, setting->name);
        /* A value that it asked for itself stays its own, also on other ground. */
        if (ground == NULL || strcmp(ground, setting->value) != 0 ||
            weir_profile_value(client->settings, setting->name) != NULL)
            put(&own, setting->name, setting->value);
    }
    const struct weir_profile *unset = weir_profile_empty(initial->set);
    for (uint32_t i = 0; i < initial->count; i++)
        if (weir_profile_value(held, initial->settings[i].name) == NULL)
            put(&unset, initial->settings[i].name, "");
    replace(&client->unset, unset);
    return own;
}

void settings_not_unset(struct client *client, const char *name)
{
    if (client->unset == NULL || weir_profile_value(client->unset, name) == NULL)
        return;
    put(&client->unset, name, NULL);
    forget_merged(client);
}

bool settings_lack_initial(const struct server *server)
{
    const struct weir_profile *initial = server->initial;
    for (uint32_t i = 0; initial != NULL && i < initial->count; i++) {
        const char *value = weir_profile_value(server->settings, initial->settings[i].name);
        if (value == NULL || strcmp(value, initial->settings[i].value) != 0)
            return true;
    }
    return false;
}

static bool is_word(char byte)
{
    return isalnum((unsigned char)byte) || byte == '_' || byte == '$' || byte == '.';
}

const char *initial_custom_name(const char *sql, size_t *length)
{
    while (*sql != '\0') {
        size_t size = 0;
        while (is_word(sql[size]))
            size++;
        if (memchr(sql, '.', size) != NULL && !isdigit((unsigned char)sql[0]) && sql[0] != '.') {
            *length = size;
            return sql;
        }
        sql += size > 0 ? size : 1;
    }
    return NULL;
}
