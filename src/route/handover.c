/* A server connection at the end of its client's transaction: which channels the session has, and how the
 * hub takes them over. hub.h says why. */
#include "handover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A mark that the hub has not heard by then will not come: it listens somewhere else. */
#define MARK_LIMIT (10 * WEIR_SEC)

/* --- questions to the session ---------------------------------------------------------- */

void handover_expect(struct server *server)
{
    weir_buffer_clear(&server->trouble);
    server->unnamed_version = 0;
    server_expect(server, REPLY_QUERY, REPLY_SWALLOW, PURPOSE_LISTEN, NULL);
}

static void ask(struct server *server, const char *sql)
{
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    weir_write_query(&writer, sql);
    handover_expect(server);
    /* A dead stream is noticed at its next event. */
    (void)!weir_stream_send_bytes(&server->base.stream, weir_buffer_bytes(&out),
                                  weir_buffer_length(&out));
    weir_buffer_clear(&out);
}

/* --- at the end of a transaction -------------------------------------------------------- */

static bool may_take_over(const struct server *server)
{
    const struct weir_pool_settings *settings = &server->destination->settings;
    const struct client *client = server->client;
    if (client->listener != NULL)
        return true;
    return settings->listen_hub && settings->pool_mode != WEIR_POOL_SESSION &&
           !server->router->draining;
}

/* What the hub hears is in the database's own encoding, and goes to the client as it is. */
static bool speaks_as_database(const struct server *server)
{
    const char *client = weir_parameters_get(&server->base.parameters, "client_encoding");
    const char *database = weir_parameters_get(&server->base.parameters, "server_encoding");
    return client == NULL || database == NULL || strcmp(client, database) == 0 ||
           strcmp(database, "SQL_ASCII") == 0;
}

bool handover_asks(const struct server *server)
{
    return server->handover != NULL && (server->handover->asks || server->handover->given);
}

bool handover_is_on(const struct server *server)
{
    return server->handover != NULL && server->handover->stage != HANDOVER_WATCHING;
}

bool handover_is_busy(const struct server *server)
{
    return server->handover != NULL && (server->handover->holds || handover_is_on(server));
}

/* The client keeps the connection whatever becomes of its channels. */
static bool stays_bound(const struct server *server)
{
    return (server->pins & ~(unsigned)PIN_LISTEN) != 0 ||
           server->destination->settings.pool_mode == WEIR_POOL_SESSION;
}

bool handover_is_due(const struct server *server)
{
    return server->destination->hub != NULL && server->client != NULL &&
           (server->handover != NULL ||
            (server->pins & PIN_LISTEN && may_take_over(server) && speaks_as_database(server) &&
             hub_is_up(server->destination->hub)));
}

bool handover_withholds(const struct server *server)
{
    const struct handover *handover = server->handover;
    const struct client *client = server->client;
    return client != NULL && client->base.state == WEIR_CLIENT_ACTIVE && client->body_left == 0 &&
           server->replies.count == 0 && server->status == 'I' &&
           server->pipeline == PIPELINE_IDLE && hub_is_up(handover->hub) &&
           (handover->given || (handover->asks && may_take_over(server)));
}

static bool has_name(const struct handover *handover, const char *name)
{
    const char *at = NULL;
    while ((at = weir_buffer_next_string(&handover->names, at)) != NULL) {
        if (strcmp(at, name) == 0)
            return true;
    }
    return false;
}

/* PostgreSQL does not tell a session what comes after the beginning of the transaction in which it
 * gives the channel up. What the session itself was told before that counts. */
static void end_channel(struct handover *handover, struct listener *listener,
                        struct weir_hub_channel *channel)
{
    uint32_t told = 0;
    for (size_t i = 0; i < handover->direct_count; i++)
        told += handover->direct[i].message == NULL && handover->direct[i].channel == channel->id;
    uint32_t early =
        weir_hub_count(&listener->fan, channel->id, handover->bound_at, handover->begun_at);
    weir_hub_forget_from(&listener->fan, channel->id, handover->begun_at,
                         told > early ? told - early : 0);
    weir_hub_leave(&listener->fan, channel);
}

/* The session has these channels; those that the hub does not have for the client are new. Those that
 * the client has and the session has not are over. */
static void compare(struct handover *handover)
{
    struct client *client = handover->server->client;
    struct weir_hub *fan = handover->hub->fan;
    struct listener *listener = client->listener;
    const char *at = NULL;
    size_t kept = 0;
    handover->fresh =
        weir_alloc((weir_buffer_length(&handover->names) + 1) * sizeof(struct weir_hub_channel *));
    while ((at = weir_buffer_next_string(&handover->names, at)) != NULL) {
        struct weir_hub_channel *channel = weir_hub_find(fan, at);
        bool known =
            channel != NULL && listener != NULL && weir_hub_has_joined(&listener->fan, channel->id);
        kept += known;
        if (!known && strcmp(at, handover->hub->marker) != 0)
            handover->fresh[handover->fresh_count++] = weir_hub_hold(fan, at);
    }
    if (listener == NULL || !handover->given || kept == listener->fan.channels)
        return;
    struct weir_hub_channel *channel = weir_hub_channel_after(&listener->fan, NULL), *next;
    for (; channel != NULL; channel = next) {
        next = weir_hub_channel_after(&listener->fan, channel);
        if (!has_name(handover, channel->name))
            end_channel(handover, listener, channel);
    }
}

static void ask_channels(struct handover *handover)
{
    weir_buffer_clear(&handover->names);
    ask(handover->server, "SELECT * FROM pg_catalog.pg_listening_channels()");
}

static void begin_to_ask(struct handover *handover)
{
    struct server *server = handover->server;
    bool asks = handover->given || handover->asks || server->pins & PIN_LISTEN;
    handover->heard = true;
    if (handover->watched && hub_is_up(handover->hub)) {
        handover->heard = false;
        handover->barrier = hub_ping(handover->hub);
    }
    handover->asks = asks;
    handover_set_stage(handover, HANDOVER_ASKING);
    if (asks)
        ask_channels(handover);
}

static void begin_to_join(struct handover *handover)
{
    handover->joining = 0;
    for (size_t i = 0; i < handover->fresh_count; i++) {
        uint64_t request = hub_listen_to(handover->hub, handover->fresh[i]);
        if (request > handover->joining)
            handover->joining = request;
    }
    handover_set_stage(handover, HANDOVER_JOINING);
}

static void begin_to_mark(struct handover *handover)
{
    struct hub *hub = handover->hub;
    char sql[160];
    handover->mark = ++hub->last_mark;
    handover->marked_here = handover->marked_there = false;
    handover->marks = true;
    handover->server->dirt |= DIRT_STATE;
    handover_set_stage(handover, HANDOVER_MARKING);
    /* The second one is another transaction: who listens hears it. */
    snprintf(sql, sizeof(sql), "LISTEN \"%s\"", hub->marker);
    ask(handover->server, sql);
    snprintf(sql, sizeof(sql), "NOTIFY \"%s\", '%llu'", hub->marker,
             (unsigned long long)handover->mark);
    ask(handover->server, sql);
}

/* What the session has heard up to its mark gets its place among what the hub has heard up to that;
 * what it has heard since, the hub has as well. */
static void weave(struct handover *handover)
{
    struct listener *listener = handover->server->client->listener;
    bool marked = handover->marked_here && handover->marked_there;
    size_t count = marked ? handover->direct_end : handover->direct_count;
    if (listener != NULL && count > 0) {
        uint32_t end = marked ? handover->marked_at : listener->fan.count;
        weir_hub_weave(&listener->fan, end, handover->direct, count);
        for (size_t i = 0; i < count; i++)
            handover->direct[i].message = NULL; /* the listener's now */
    }
    handover_forget_direct(handover);
}

/* The hub has not become the one who tells the client: what was kept for that case. */
static void tell_direct(struct handover *handover)
{
    struct weir_stream *stream = &handover->server->client->base.stream;
    for (size_t i = 0; i < handover->direct_count; i++) {
        const struct weir_hub_message *message = handover->direct[i].message;
        /* A dead stream is noticed at its next event. */
        if (message != NULL && !weir_stream_send_bytes(stream, message->bytes, message->length))
            break;
    }
    handover_forget_direct(handover);
}

static void leave_marker(struct handover *handover)
{
    char sql[64];
    snprintf(sql, sizeof(sql), "UNLISTEN \"%s\"", handover->hub->marker);
    handover->marks = false;
    ask(handover->server, sql);
}

/* The client has been told everything; what the session still listens to is given up. */
static void begin_to_leave(struct handover *handover)
{
    struct server *server = handover->server;
    struct client *client = server->client;
    bool stays = stays_bound(server);
    weave(handover);
    handover_forget_fresh(handover);
    handover_set_stage(handover, HANDOVER_LEAVING);
    handover_tell_ready(client);
    if (client->listener != NULL && client->listener->fan.count > 0)
        hub_tell(client, false);
    bool listens = handover->given || weir_buffer_length(&handover->names) > 0;
    bool marks = handover->marks;
    handover->given = stays && client->listener != NULL && client->listener->fan.channels > 0;
    handover->marks = false;
    if (stays && marks)
        leave_marker(handover);
    else if (!stays && (listens || marks))
        ask(server, "UNLISTEN *");
}

/* The hub has them all. */
static void finish(struct handover *handover)
{
    struct server *server = handover->server;
    struct client *client = server->client;
    pins_set(server, server->pins & ~(unsigned)PIN_LISTEN);
    if (server->pins == 0)
        server->dirt &= (uint8_t)~DIRT_STATE;
    bool quiet = handover->watched && handover->heard;
    handover_tell_ready(client);
    if (client->listener != NULL && client->listener->fan.channels == 0 &&
        client->listener->fan.count == 0 && !client->listener->lost)
        hub_forget_client(client);
    if (!handover->given) {
        handover_forget(server);
    } else {
        handover->asks = false;
        handover->begun_at = UINT32_MAX;
        handover->rests = true;
        handover->marked_here = handover->marked_there = false;
        handover_set_stage(handover, HANDOVER_WATCHING);
    }
    server->hub_quiet = quiet;
    if (stays_bound(server))
        weir_loop_defer(server->router->loop, &client->resume);
}

/* The client keeps the connection, on which it listens, because the hub cannot take it. */
static void stay(struct handover *handover)
{
    struct server *server = handover->server;
    struct client *client = server->client;
    bool listens = weir_buffer_length(&handover->names) > 0;
    bool quiet = handover->watched && handover->heard;
    tell_direct(handover);
    handover_tell_ready(client);
    pins_set(server, (server->pins & ~(unsigned)PIN_LISTEN) | (listens ? PIN_LISTEN : 0u));
    if (listens)
        server->dirt |= DIRT_STATE;
    handover_forget(server);
    server->hub_quiet = quiet;
    if (listens || stays_bound(server))
        weir_loop_defer(server->router->loop, &client->resume);
}

/* The hub tells it bytes that the client would take for others. */
static void end_encoded(struct client *client)
{
    binding_end_client(client, WEIR_REASON_LISTEN_ENCODING, NULL);
}

/* What the session listens to is known. */
static void decide(struct handover *handover)
{
    struct server *server = handover->server;
    struct client *client = server->client;
    bool speaks = speaks_as_database(server);
    if (client->listener != NULL && !speaks) {
        end_encoded(client);
        return;
    }
    handover_forget_fresh(handover);
    compare(handover);
    bool takes = speaks && may_take_over(server);
    if (handover->fresh_count == 0) {
        begin_to_leave(handover);
    } else if (takes && hub_is_up(handover->hub)) {
        begin_to_join(handover);
    } else if (handover->marks) {
        /* A hub that has gone meanwhile: the mark is nobody's any more. */
        leave_marker(handover);
    } else {
        if (takes)
            hub_want(handover->hub, server);
        stay(handover);
    }
}

/* Takes the next step that is possible. False: there is nothing to wait for. */
static bool step(struct handover *handover)
{
    switch (handover->stage) {
    case HANDOVER_WATCHING:
        begin_to_ask(handover);
        return true;
    case HANDOVER_ASKING:
        if (!handover->heard)
            return false;
        if (!handover->asks) {
            finish(handover);
            return true;
        }
        decide(handover);
        return true;
    case HANDOVER_JOINING:
        if (handover->hub->done < handover->joining)
            return false;
        begin_to_mark(handover);
        return true;
    case HANDOVER_MARKING:
        if (!handover->marked_here || !handover->marked_there)
            return false;
        begin_to_leave(handover);
        return true;
    case HANDOVER_LEAVING:
        finish(handover);
        return true;
    }
    return false;
}

bool handover_go_on(struct server *server)
{
    struct client *client = server->client;
    if (!handover_is_due(server)) {
        server->hub_quiet = false;
        if (server->pins & PIN_LISTEN && may_take_over(server) && speaks_as_database(server))
            hub_want(server->destination->hub, server);
        return false;
    }
    struct handover *handover = handover_make(server);
    bool moved = true;
    /* A question under way ends each step. */
    while (moved && server->replies.count == 0) {
        moved = step(handover);
        if (server->client != client)
            return true;
        if (!handover_is_on(server))
            return false; /* it is over, and perhaps gone */
    }
    if (client->base.state == WEIR_CLIENT_ACTIVE)
        weir_client_set_state(&client->base, WEIR_CLIENT_HELD);
    return true;
}

/* --- answers --------------------------------------------------------------------------- */

void handover_on_row(struct server *server, const uint8_t *body, size_t length)
{
    struct weir_reader reader;
    weir_reader_init(&reader, body, length);
    uint16_t columns = weir_read_u16(&reader);
    uint32_t size = weir_read_u32(&reader);
    const uint8_t *name = weir_read_bytes(&reader, size);
    if (reader.failed || columns != 1 || server->handover == NULL)
        return;
    struct weir_buffer *names = &server->handover->names;
    weir_require(weir_buffer_append(names, name, size) && weir_buffer_append(names, "", 1));
}

void handover_on_answer(struct server *server)
{
    if (weir_buffer_length(&server->trouble) == 0)
        return;
    weir_buffer_clear(&server->trouble);
    server->dirt |= DIRT_STATE;
    server->unknown = server->client != NULL;
}

/* --- what the hub says ----------------------------------------------------------------- */

static void go_on_elsewhere(struct server *server)
{
    if (binding_is_over(server))
        binding_release(server);
}

static void heard(struct handover *handover)
{
    handover->heard = true;
    handover->barrier = 0;
    go_on_elsewhere(handover->server);
}

void handover_arrived(struct hub *hub, uint64_t request)
{
    weir_list_for_safe(link, &hub->handovers) {
        struct handover *handover = weir_container_of(link, struct handover, link);
        struct client *client = handover->server->client;
        bool passed = handover->barrier != 0 && handover->barrier <= request;
        if (passed && handover->holds)
            handover_stop_holding(handover, true);
        else if (passed && handover->stage == HANDOVER_ASKING &&
                 (client == NULL || client->listener == NULL))
            heard(handover);
        else if (handover->stage == HANDOVER_JOINING)
            go_on_elsewhere(handover->server);
    }
}

void handover_spread(struct hub *hub, uint64_t request)
{
    weir_list_for_safe(link, &hub->handovers) {
        struct handover *handover = weir_container_of(link, struct handover, link);
        const struct client *client = handover->server->client;
        if (handover->begun != 0 && handover->begun <= request && client != NULL &&
            client->listener != NULL) {
            handover->begun = 0;
            handover->begun_at = client->listener->fan.count;
        }
        if (handover->barrier != 0 && handover->barrier <= request && !handover->holds &&
            handover->stage == HANDOVER_ASKING)
            heard(handover);
    }
}

static struct handover *find_marked(const struct hub *hub, uint64_t mark)
{
    weir_list_for(link, &hub->handovers) {
        struct handover *handover = weir_container_of(link, struct handover, link);
        if (handover->stage == HANDOVER_MARKING && handover->mark == mark)
            return handover;
    }
    return NULL;
}

void handover_marked(struct hub *hub, uint64_t mark)
{
    struct handover *handover = find_marked(hub, mark);
    if (handover == NULL || handover->marked_there || handover->server->client == NULL)
        return;
    struct listener *listener = hub_make_listener(hub, handover->server->client);
    handover->marked_there = true;
    handover->marked_at = listener->fan.count;
    for (size_t i = 0; i < handover->fresh_count; i++)
        weir_hub_join(&listener->fan, handover->fresh[i]);
    go_on_elsewhere(handover->server);
}

void handover_hub_up(struct hub *hub)
{
    struct destination *destination, *next;
    HASH_ITER(hh, hub->router->destinations, destination, next) {
        if (destination->hub != hub)
            continue;
        weir_list_for_safe(link, &destination->servers) {
            struct server *server = weir_container_of(link, struct server, link);
            if (server->pins & PIN_LISTEN && server->client != NULL)
                go_on_elsewhere(server);
        }
    }
}

/* What was agreed with it does not hold any more: who listens by it is ended, all others go on as
 * without it. */
static void lose_hub(struct handover *handover)
{
    bool waits = handover->stage == HANDOVER_JOINING || handover->stage == HANDOVER_MARKING;
    handover->barrier = handover->begun = 0;
    handover->heard = true;
    handover->watched = false;
    handover->mark = UINT64_MAX;
    handover_forget_fresh(handover);
    if (handover->holds)
        handover_stop_holding(handover, false);
    if (waits) {
        handover->asks = true;
        handover_set_stage(handover, HANDOVER_WATCHING);
    }
    if (handover->stage != HANDOVER_WATCHING || waits)
        go_on_elsewhere(handover->server);
}

void handover_hub_down(struct hub *hub)
{
    weir_list_for_safe(link, &hub->handovers)
        lose_hub(weir_container_of(link, struct handover, link));
}

void handover_tick(struct hub *hub)
{
    weir_list_for(link, &hub->handovers) {
        const struct handover *handover = weir_container_of(link, struct handover, link);
        if (handover->stage == HANDOVER_MARKING && handover->marked_here &&
            hub->router->loop->now - handover->since > MARK_LIMIT) {
            hub_fail(hub, "it does not hear what server connections of the pool notify: it is "
                          "not connected to the same server");
            return;
        }
    }
}
