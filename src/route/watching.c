/* A server connection while its client is at work (HANDOVER_WATCHING): it is given the client's
 * channels, what it notifies is known to be the client's, and what it hears itself is kept. */
#include "handover.h"

#include <stdlib.h>
#include <string.h>

#include "statement.h"

/* --- beginning and end ----------------------------------------------------------------- */

struct handover *handover_make(struct server *server)
{
    struct handover *handover = server->handover;
    if (handover != NULL)
        return handover;
    handover = weir_alloc(sizeof(*handover));
    handover->server = server;
    handover->hub = server->destination->hub;
    server->handover = handover;
    handover_set_stage(handover, HANDOVER_WATCHING);
    weir_list_push_back(&handover->hub->handovers, &handover->link);
    return handover;
}

void handover_forget_direct(struct handover *handover)
{
    for (size_t i = 0; i < handover->direct_count; i++) {
        if (handover->direct[i].message != NULL)
            weir_hub_message_release(handover->direct[i].message);
    }
    free(handover->direct);
    handover->direct = NULL;
    handover->direct_count = handover->direct_capacity = 0;
}

void handover_forget_fresh(struct handover *handover)
{
    for (size_t i = 0; i < handover->fresh_count; i++)
        weir_hub_release(handover->fresh[i]);
    free((void *)handover->fresh);
    handover->fresh = NULL;
    handover->fresh_count = 0;
}

void handover_forget(struct server *server)
{
    struct handover *handover = server->handover;
    server->hub_quiet = false;
    if (handover == NULL)
        return;
    server->handover = NULL;
    handover_forget_direct(handover);
    handover_forget_fresh(handover);
    weir_buffer_clear(&handover->names);
    weir_list_remove(&handover->link);
    free(handover);
}

void handover_tell_ready(struct client *client)
{
    static const uint8_t ready[] = {'Z', 0, 0, 0, 5, 'I'};
    if (!client->ready_withheld)
        return;
    client->ready_withheld = false;
    if (client->listener != NULL)
        hub_tell(client, true);
    /* A dead stream is noticed at its next event. */
    if (!weir_stream_send_bytes(&client->base.stream, ready, sizeof(ready)))
        return;
    client->since = client->router->loop->now;
}

/* --- channels of its client -------------------------------------------------------------- */

static void write_listen(struct weir_writer *writer, const char *channel)
{
    weir_write_bytes(writer, "LISTEN \"", 8);
    for (const char *at = channel; *at != '\0'; at++) {
        if (*at == '"')
            weir_write_u8(writer, '"');
        weir_write_u8(writer, (uint8_t)*at);
    }
    weir_write_bytes(writer, "\";", 2);
}

/* Nobody waits for the answer: it cannot fail where the client's own LISTEN did not. */
static void give_channels(struct handover *handover, const struct listener *listener)
{
    struct server *server = handover->server;
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    size_t message = weir_message_begin(&writer, 'Q');
    struct weir_hub_channel *channel = NULL;
    while ((channel = weir_hub_channel_after(&listener->fan, channel)) != NULL)
        write_listen(&writer, channel->name);
    weir_write_u8(&writer, 0);
    weir_message_end(&writer, message);
    gather_copy(&server->router->to_server, weir_buffer_bytes(&out), weir_buffer_length(&out));
    weir_buffer_clear(&out);
    handover_expect(server);
    server->dirt |= DIRT_STATE;
    handover->given = true;
    handover->bound_at = listener->fan.count;
    handover->begun_at = UINT32_MAX;
    handover->begun = hub_ping(handover->hub);
}

bool handover_begin_count(struct server *server)
{
    struct handover *handover = server->handover;
    if (handover == NULL || !handover->given || server->client == NULL ||
        server->client->listener == NULL)
        return false;
    handover->counted = 0;
    return true;
}

bool handover_counts(struct server *server, const char *channel)
{
    struct handover *handover = server->handover;
    if (handover == NULL || server->client == NULL)
        return false; /* it has gone meanwhile */
    const struct weir_hub_channel *known = weir_hub_find(handover->hub->fan, channel);
    if (known == NULL || !weir_hub_has_joined(&server->client->listener->fan, known->id))
        return false;
    handover->counted++;
    return true;
}

bool handover_misses(const struct server *server)
{
    const struct handover *handover = server->handover;
    return handover != NULL && handover->given && server->client != NULL &&
           handover->counted != server->client->listener->fan.channels;
}

/* --- who notifies ---------------------------------------------------------------------- */

uint32_t handover_notifier(const struct hub *hub, uint32_t backend_pid)
{
    weir_list_for(link, &hub->handovers) {
        const struct handover *handover = weir_container_of(link, struct handover, link);
        const struct server *server = handover->server;
        if (handover->watched && server->base.pid == backend_pid && server->client != NULL)
            return server->client->base.cancel_pid;
    }
    return backend_pid;
}

/* From now on what is notified here is the client's, unless something of somebody else may still be
 * on its way: then the client is held until that has been heard. One that listens always is, so that it is
 * known what came before its transaction. */
static void watch(struct handover *handover)
{
    struct hub *hub = handover->hub;
    if (handover->watched || handover->holds || !hub_is_in_use(hub))
        return;
    if (handover->begun == 0 && hub_has_heard(hub, handover->server)) {
        handover->watched = true;
        return;
    }
    handover->holds = true;
    handover->barrier = handover->begun != 0 ? handover->begun : hub_ping(hub);
}

bool handover_begin(struct server *server, struct client *client)
{
    struct hub *hub = server->destination->hub;
    server->hub_quiet = hub_is_in_use(hub) && hub_has_heard(hub, server);
    if (client->listener == NULL || client->listener->lost)
        return false;
    struct handover *handover = handover_make(server);
    give_channels(handover, client->listener);
    watch(handover);
    return handover->holds;
}

bool handover_mind(struct client *client, const uint8_t *text, size_t length)
{
    struct server *server = client->server;
    unsigned words = notice_words(text, length);
    if (__builtin_expect(words == 0, 1) ||
        (words == NOTICE_NOTIFIES && !hub_is_in_use(server->destination->hub)))
        return true;
    struct handover *handover = handover_make(server);
    handover->asks |= (words & NOTICE_LISTENS) != 0;
    watch(handover);
    return handover_lets_pass(client);
}

static const uint8_t *skip_name(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *zero = at < end ? memchr(at, '\0', (size_t)(end - at)) : NULL;
    return zero == NULL ? end : zero + 1;
}

bool handover_mind_message(struct client *client, const uint8_t *message, size_t have,
                           uint32_t total)
{
    static const uint8_t any[] = "notify";
    const uint8_t *end = message + (have < total ? have : total);
    const uint8_t *name = message + WEIR_WIRE_HEADER, *rest = skip_name(name, end);
    if (message[0] == 'F')
        return handover_mind(client, any, sizeof(any) - 1);
    if (message[0] == 'P')
        return handover_mind(client, rest, (size_t)(end - rest));
    name = rest;
    rest = skip_name(name, end);
    const struct client_statement *named = client->unnamed;
    if (rest - name > 1)
        named = statement_find_name(client, (const char *)name, (size_t)(rest - name - 1));
    if (named == NULL)
        return true;
    const uint8_t *text = named->statement->body;
    return handover_mind(client, text, strnlen((const char *)text, named->statement->length));
}

bool handover_lets_pass(struct client *client)
{
    struct handover *handover = client->server->handover;
    if (handover->holds) {
        weir_client_set_state(&client->base, WEIR_CLIENT_HELD);
        return false;
    }
    handover_tell_ready(client);
    handover->rests = false;
    return true;
}

static bool waits_for_settings(const struct server *server)
{
    for (uint32_t i = 0; i < server->replies.count; i++) {
        const struct reply *reply = reply_at(&server->replies, i);
        if (reply->purpose == PURPOSE_SETTINGS && reply->action == REPLY_SWALLOW)
            return true;
    }
    return false;
}

/* What has been heard until now was not the client's. */
void handover_stop_holding(struct handover *handover, bool watched)
{
    struct server *server = handover->server;
    struct client *client = server->client;
    handover->holds = false;
    handover->watched = watched;
    handover->barrier = 0;
    if (client == NULL || client->base.state != WEIR_CLIENT_HELD || waits_for_settings(server))
        return;
    weir_client_set_state(&client->base, WEIR_CLIENT_ACTIVE);
    weir_loop_defer(server->router->loop, &client->resume);
}

/* --- what the session hears itself ----------------------------------------------------- */

static void add_direct(struct handover *handover, uint64_t channel,
                       struct weir_hub_message *message)
{
    if (handover->direct_count == handover->direct_capacity) {
        size_t capacity = handover->direct_capacity == 0 ? 8 : handover->direct_capacity * 2;
        struct weir_hub_direct *direct = weir_alloc(capacity * sizeof(*direct));
        if (handover->direct_count > 0)
            memcpy(direct, handover->direct, handover->direct_count * sizeof(*direct));
        free(handover->direct);
        handover->direct = direct;
        handover->direct_capacity = capacity;
    }
    handover->direct[handover->direct_count++] = (struct weir_hub_direct){channel, message};
}

static struct weir_hub_message *copy_for(const struct client *client, const struct server *server,
                                         const uint8_t *message, uint32_t total)
{
    struct weir_hub_message *copy = weir_hub_message_create(message, total);
    if (weir_get_u32(message + WEIR_WIRE_HEADER) == server->base.pid)
        weir_put_u32(copy->bytes + WEIR_WIRE_HEADER, client->base.cancel_pid);
    return copy;
}

/* The hub tells the client what is said on it. Those that are new it has only from the mark on, which it
 * may have heard already. */
static bool is_told_by_hub(const struct handover *handover, const struct client *client,
                           const struct weir_hub_channel *channel)
{
    if (channel == NULL || !weir_hub_has_joined(&client->listener->fan, channel->id))
        return false;
    for (size_t i = 0; i < handover->fresh_count; i++) {
        if (handover->fresh[i] == channel)
            return false;
    }
    return true;
}

bool handover_hears(struct server *server, const uint8_t *message, uint32_t total)
{
    struct handover *handover = server->handover;
    const struct client *client = server->client;
    const char *name = (const char *)message + WEIR_WIRE_HEADER + 4;
    const char *payload = name + strnlen(name, total - WEIR_WIRE_HEADER - 5) + 1;
    if (strcmp(name, handover->hub->marker) == 0) {
        if (!handover->marked_here && strtoull(payload, NULL, 10) == handover->mark) {
            handover->marked_here = true;
            handover->direct_end = handover->direct_count;
        }
        return true;
    }
    if (client == NULL)
        return true;
    if (client->listener == NULL && !handover->marked_here)
        return false;
    if (handover->marked_here) {
        /* The hub has it, too, unless it goes now. */
        add_direct(handover, 0, copy_for(client, server, message, total));
        return true;
    }
    const struct weir_hub_channel *channel = weir_hub_find(handover->hub->fan, name);
    if (is_told_by_hub(handover, client, channel))
        add_direct(handover, channel->id, NULL);
    else
        add_direct(handover, 0, copy_for(client, server, message, total));
    return true;
}
