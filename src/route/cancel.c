/* Cancel requests: a random key for each client; a cancel reaches only the statement that its
 * client is running now. While one is under way the server connection goes to nobody else and the
 * client's next message waits, so a late signal cannot hit another statement. */
#include <stdlib.h>
#include <string.h>

#include "router.h"

/* The low bits of a pid are the client's slot, the rest is random but not below what no process of
 * the server's system has: a client that compares notifications with its own pid must not meet it
 * in another session. */
#define SLOT_BITS     20
#define SLOT_MASK     ((1u << SLOT_BITS) - 1)
#define LARGEST_PID   (1u << 22)
#define LOWEST_RANDOM (LARGEST_PID >> SLOT_BITS)
#define RANDOM_COUNT  ((1u << (31 - SLOT_BITS)) - LOWEST_RANDOM)

static uint32_t find_slot(struct weir_router *router)
{
    for (uint32_t i = 0; i < router->slot_count; i++) {
        uint32_t slot = (router->slot_next + i) % router->slot_count;
        if (router->slots[slot] == NULL)
            return slot;
    }
    uint32_t old = router->slot_count;
    uint32_t count = old == 0 ? 64 : old * 2;
    struct client **slots = weir_alloc(count * sizeof(*slots));
    if (old > 0)
        memcpy(slots, router->slots, old * sizeof(*slots));
    free(router->slots);
    router->slots = slots;
    router->slot_count = count;
    return old;
}

void cancel_assign_key(struct client *client)
{
    struct weir_router *router = client->router;
    uint32_t slot = find_slot(router), random;
    weir_random_bytes(&random, sizeof(random));
    router->slots[slot] = client;
    router->slot_next = slot + 1;
    client->base.cancel_pid =
        (LOWEST_RANDOM + random % RANDOM_COUNT) << SLOT_BITS | (slot & SLOT_MASK);
    client->base.cancel_key_length =
        client->base.protocol >= WEIR_PROTOCOL_3_2 ? WEIR_CLIENT_KEY_MAX : 4;
    weir_random_bytes(client->base.cancel_key, client->base.cancel_key_length);
}

void cancel_forget_key(struct client *client)
{
    uint32_t slot = client->base.cancel_pid & SLOT_MASK;
    if (slot < client->router->slot_count && client->router->slots[slot] == client)
        client->router->slots[slot] = NULL;
}

static struct client *find_client(struct weir_router *router, uint32_t pid, const uint8_t *key,
                                  size_t length)
{
    uint32_t slot = pid & SLOT_MASK;
    struct client *client = slot < router->slot_count ? router->slots[slot] : NULL;
    if (client == NULL || client->base.cancel_pid != pid ||
        client->base.cancel_key_length != length ||
        !weir_equal_secret(client->base.cancel_key, key, length))
        return NULL;
    return client;
}

/* The signal has arrived or never will: who waited for that goes on. */
static void on_done(void *context, bool delivered)
{
    struct server *server = context;
    server->cancel = NULL;
    if (server->phase == SERVER_CLOSING)
        return; /* its deadline is that of the closing */
    if (server->phase != SERVER_SETTLING)
        server->deadline = 0;
    if (server->phase == SERVER_SETTLING) {
        settling_go_on(server);
        return;
    }
    struct client *client = server->client;
    if (client != NULL && client->base.state == WEIR_CLIENT_HELD && server->replies.count == 0) {
        weir_client_set_state(&client->base, WEIR_CLIENT_ACTIVE);
        weir_loop_defer(server->router->loop, &client->resume);
    }
    server_at_rest(server);
}

void cancel_server(struct server *server)
{
    if (server->cancel != NULL || server->base.key == NULL)
        return;
    server->destination->counters.cancels++;
    events_of_server(server, "cancel", WEIR_REASON_COUNT, NULL);
    weir_usec limit = server->destination->settings.cancel_wait_timeout;
    if (server->deadline == 0 && limit > 0)
        server->deadline = server->router->loop->now + limit;
    server->cancel = weir_cancel_start(server->router->loop, &server->base, on_done, server);
}

void cancel_request(struct weir_router *router, uint32_t pid, const uint8_t *key, size_t length)
{
    struct client *client = find_client(router, pid, key, length);
    if (client != NULL && client->console != NULL) {
        console_cancel(client);
    } else if (client != NULL && client->base.state == WEIR_CLIENT_WAITING) {
        weir_pool_leave(&client->waiter, router->loop->now);
        client->destination->counters.cancels++;
        binding_refuse(client, WEIR_REASON_CANCELLED_WAITING, NULL, NULL, NULL);
    } else if (client != NULL && client->server != NULL && client->server->replies.count > 0 &&
               reply_head(&client->server->replies)->action != REPLY_SWALLOW) {
        cancel_server(client->server);
    } else if (client != NULL && client->server != NULL &&
               weir_buffer_length(&client->base.stream.in) > 0) {
        /* Its statement is here but waits for a question of our own: cancelled when it is sent. */
        client->cancel_wanted = true;
    } else {
        router->counters.cancels_ignored++;
    }
}
