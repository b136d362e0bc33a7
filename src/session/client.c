#include "weir/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/memory.h"

const char *weir_client_state_name(enum weir_client_state state)
{
    static const char *const names[] = {
        [WEIR_CLIENT_STARTUP] = "startup",   [WEIR_CLIENT_LOOKUP] = "lookup",
        [WEIR_CLIENT_DELAYED] = "delayed",   [WEIR_CLIENT_PROVING] = "proving",
        [WEIR_CLIENT_DERIVING] = "deriving", [WEIR_CLIENT_GREETING] = "greeting",
        [WEIR_CLIENT_IDLE] = "idle",         [WEIR_CLIENT_WAITING] = "waiting",
        [WEIR_CLIENT_ACTIVE] = "active",     [WEIR_CLIENT_HELD] = "held",
        [WEIR_CLIENT_ENDING] = "ending",     [WEIR_CLIENT_CLOSED] = "closed",
    };
    return names[state];
}

#define ENDS (1u << WEIR_CLIENT_ENDING | 1u << WEIR_CLIENT_CLOSED)

/* Which states may follow which, as bit sets: anything else is our own bug. */
static const uint16_t may_follow[] = {
    [WEIR_CLIENT_STARTUP] = 1u << WEIR_CLIENT_LOOKUP | 1u << WEIR_CLIENT_DELAYED |
                            1u << WEIR_CLIENT_PROVING | 1u << WEIR_CLIENT_GREETING |
                            1u << WEIR_CLIENT_CLOSED,
    [WEIR_CLIENT_LOOKUP] = 1u << WEIR_CLIENT_PROVING | 1u << WEIR_CLIENT_DERIVING |
                           1u << WEIR_CLIENT_DELAYED | 1u << WEIR_CLIENT_GREETING |
                           1u << WEIR_CLIENT_CLOSED,
    [WEIR_CLIENT_DELAYED] = 1u << WEIR_CLIENT_LOOKUP | 1u << WEIR_CLIENT_PROVING |
                            1u << WEIR_CLIENT_GREETING | 1u << WEIR_CLIENT_CLOSED,
    [WEIR_CLIENT_PROVING] = 1u << WEIR_CLIENT_DERIVING | 1u << WEIR_CLIENT_LOOKUP |
                            1u << WEIR_CLIENT_DELAYED | 1u << WEIR_CLIENT_GREETING |
                            1u << WEIR_CLIENT_CLOSED,
    [WEIR_CLIENT_DERIVING] = 1u << WEIR_CLIENT_PROVING | 1u << WEIR_CLIENT_LOOKUP |
                             1u << WEIR_CLIENT_DELAYED | 1u << WEIR_CLIENT_GREETING |
                             1u << WEIR_CLIENT_CLOSED,
    [WEIR_CLIENT_GREETING] = 1u << WEIR_CLIENT_IDLE | 1u << WEIR_CLIENT_ACTIVE | ENDS,
    [WEIR_CLIENT_IDLE] =
        1u << WEIR_CLIENT_WAITING | 1u << WEIR_CLIENT_ACTIVE | 1u << WEIR_CLIENT_HELD | ENDS,
    [WEIR_CLIENT_WAITING] =
        1u << WEIR_CLIENT_IDLE | 1u << WEIR_CLIENT_ACTIVE | 1u << WEIR_CLIENT_HELD | ENDS,
    [WEIR_CLIENT_ACTIVE] =
        1u << WEIR_CLIENT_IDLE | 1u << WEIR_CLIENT_HELD | 1u << WEIR_CLIENT_WAITING | ENDS,
    [WEIR_CLIENT_HELD] =
        1u << WEIR_CLIENT_IDLE | 1u << WEIR_CLIENT_ACTIVE | 1u << WEIR_CLIENT_WAITING | ENDS,
    [WEIR_CLIENT_ENDING] = 1u << WEIR_CLIENT_CLOSED,
    [WEIR_CLIENT_CLOSED] = 0,
};

void weir_client_set_state(struct weir_client *client, enum weir_client_state state)
{
    if (client->state == state)
        return;
    weir_require(may_follow[client->state] & 1u << state);
    client->state = state;
}

bool weir_client_address(const struct weir_client *client, struct weir_address *address)
{
    memset(address, 0, sizeof(*address));
    address->length = sizeof(address->storage);
    return weir_stream_is_open(&client->stream) &&
           getpeername(client->stream.io.fd, &address->any, &address->length) == 0;
}

void weir_client_peer(const struct weir_client *client, char *text, size_t size)
{
    struct weir_address address;
    if (!weir_client_address(client, &address)) {
        snprintf(text, size, "?");
        return;
    }
    if (address.any.sa_family == AF_UNIX)
        snprintf(text, size, "unix");
    else
        weir_address_print(&address, text, size);
}

static void free_login(struct weir_client *client)
{
    struct weir_client_login *login = client->login;
    if (login == NULL)
        return;
    client->login = NULL;
    ev_timer_stop(client->stream.loop->ev, &login->slice);
    weir_client_proof_destroy(login->proof);
    weir_credentials_clear(&login->credentials);
    free(login->database);
    free(login->user);
    free(login->replication);
    for (size_t i = 0; i < login->setting_count; i++) {
        free((char *)(uintptr_t)login->settings[i].name);
        free((char *)(uintptr_t)login->settings[i].value);
    }
    free(login->settings);
    free(login->refusal_text);
    free(login->rule);
    free(login);
}

void weir_client_login_done(struct weir_client *client)
{
    weir_stream_set_secret(&client->stream, false);
    free_login(client);
}

void weir_client_close(struct weir_client *client)
{
    free_login(client);
    weir_stream_close(&client->stream);
    weir_client_set_state(client, WEIR_CLIENT_CLOSED);
}
