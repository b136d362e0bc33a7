/* Hubs: one connection that listens for all clients of a database, and what is told to whom. */
#include "hub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router.h"
#include "view.h"

/* Of one turn of the loop: messages queued for clients, and clients that are sent something. */
#define SPREAD_PER_TURN 4096
#define TELL_PER_TURN   256
#define END_PER_TURN    64
#define TELL_AT_ONCE    ((size_t)64 * 1024)
#define TELL_PIECES     64
#define RETRY_MIN       WEIR_SEC
#define RETRY_MAX       (15 * WEIR_SEC)
#define IDLE_LIMIT      (60 * WEIR_SEC)
#define PING_AFTER      (10 * WEIR_SEC)

/* Marks in the order of what is heard: the end of a request, or a session's own mark. */
static uint64_t mark_of_request(uint64_t request)
{
    return request * 2;
}

static uint64_t mark_of_session(uint64_t mark)
{
    return mark * 2 + 1;
}

/* --- telling --------------------------------------------------------------------------- */

/* The client is between transactions, as it sees them. */
static bool is_open(const struct client *client)
{
    const struct server *server = client->server;
    if (server == NULL)
        return client->base.state == WEIR_CLIENT_IDLE || client->base.state == WEIR_CLIENT_WAITING;
    const struct handover *handover = server->handover;
    if (handover != NULL && handover->stage == HANDOVER_LEAVING)
        return true;
    if (handover != NULL && !handover->rests)
        return false;
    return !handover_is_busy(server) && server->phase == SERVER_BOUND &&
           server->replies.count == 0 && server->status == 'I' &&
           server->pipeline == PIPELINE_IDLE && server->copy == COPY_NONE &&
           server->body_left == 0 && client->body_left == 0;
}

static void count_told(struct listener *listener, int count)
{
    listener->told += (uint64_t)count;
    listener->hub->deliveries += (uint64_t)count;
    listener->client->destination->counters.notifications_out += (uint64_t)count;
}

void hub_tell(struct client *client, bool whole)
{
    struct listener *listener = client->listener;
    struct weir_stream *stream = &client->base.stream;
    struct iovec pieces[TELL_PIECES];
    int count;
    while ((whole || weir_stream_unsent(stream) == 0) && !stream->dead &&
           (count = weir_hub_peek(&listener->fan, pieces, TELL_PIECES, TELL_AT_ONCE)) > 0) {
        /* A dead stream is noticed at its next event. */
        if (!weir_stream_send(stream, pieces, count))
            return;
        count_told(listener, count);
        weir_hub_sent(&listener->fan, count);
    }
}

void hub_drained(struct client *client)
{
    if (client->listener != NULL && client->listener->fan.count > 0 && is_open(client))
        hub_tell(client, false);
}

/* False: the share of this turn is used up. */
static bool tell_due(struct hub *hub)
{
    struct weir_hub_listener *due;
    for (int i = 0; i < TELL_PER_TURN; i++) {
        if ((due = weir_hub_due(hub->fan)) == NULL)
            return true;
        struct listener *listener = weir_container_of(due, struct listener, fan);
        struct client *client = listener->client;
        if (due->overflowed && !listener->lost)
            binding_end_client(client, WEIR_REASON_LISTEN_OVERFLOW, NULL);
        else if (is_open(client))
            hub_tell(client, false);
    }
    return false;
}

static bool end_some(struct hub *hub)
{
    for (int i = 0; i < END_PER_TURN; i++) {
        struct weir_list *link = weir_list_first(&hub->ending);
        if (link == NULL)
            return true;
        struct listener *listener = weir_container_of(link, struct listener, link);
        char *text = weir_format("%s (%s)", weir_reason_row(WEIR_REASON_LISTEN_LOST)->text,
                                 hub->problem != NULL ? hub->problem : "it was closed");
        binding_end_client(listener->client, WEIR_REASON_LISTEN_LOST, text);
        free(text);
    }
    return false;
}

static bool spread(struct hub *hub)
{
    uint32_t budget = SPREAD_PER_TURN;
    uint64_t mark;
    for (;;) {
        switch (weir_hub_spread(hub->fan, &budget, &mark)) {
        case WEIR_HUB_DONE:
            return true;
        case WEIR_HUB_MORE:
            return false;
        case WEIR_HUB_MARK:
            if (mark % 2 == 0)
                handover_spread(hub, mark / 2);
            else
                handover_marked(hub, mark / 2);
            break;
        }
    }
}

/* Channels without listeners are given up. */
static void tidy(struct hub *hub)
{
    struct weir_hub_channel *channel;
    while ((channel = weir_hub_unused(hub->fan)) != NULL) {
        if (channel->request != 0 && hub_is_up(hub))
            weir_listen_end(hub->connection, channel->name);
        weir_hub_drop(channel);
    }
}

static void work(struct weir_task *task)
{
    struct hub *hub = weir_container_of(task, struct hub, work);
    bool done = end_some(hub);
    done &= spread(hub);
    done &= tell_due(hub);
    tidy(hub);
    if (!done)
        weir_loop_defer_to_next_turn(hub->router->loop, &hub->work);
}

static void work_later(struct hub *hub)
{
    weir_loop_defer(hub->router->loop, &hub->work);
}

/* --- the connection -------------------------------------------------------------------- */

/* It has missed something, or will. */
static void give_up(struct listener *listener)
{
    listener->lost = true;
    listener->fan.overflowed = true;
    weir_list_remove(&listener->link);
    weir_list_push_back(&listener->hub->ending, &listener->link);
}

static void note(const struct hub *hub, const char *event, const char *detail)
{
    events_of_router(hub->router, event, hub->database, detail);
}

static void fall(struct hub *hub, const char *problem)
{
    bool was_up = hub_is_up(hub);
    char *before = hub->problem;
    /* It may be the connection's own text. */
    hub->problem = weir_strdup(problem);
    problem = hub->problem;
    free(before);
    weir_listen_close(hub->connection);
    hub->connection = NULL;
    hub->state = HUB_DOWN;
    hub->retry_pause = hub->retry_pause == 0 ? RETRY_MIN : hub->retry_pause * 2;
    if (hub->retry_pause > RETRY_MAX)
        hub->retry_pause = RETRY_MAX;
    hub->retry_at = hub->router->loop->now + hub->retry_pause;
    weir_log_warning(NULL, "listen_hub", "database \"%s\" at %s: %s: %s", hub->database, hub->host,
                     was_up ? "the listening connection was lost" : "it cannot listen", problem);
    note(hub, was_up ? "listen_lost" : "listen_failed", problem);
    if (was_up)
        hub->losses++;
    weir_hub_forget_heard(hub->fan);
    struct weir_hub_channel *channel = NULL;
    while ((channel = weir_hub_next(hub->fan, channel)) != NULL)
        channel->request = 0;
    struct weir_list *link;
    while ((link = weir_list_first(&hub->listeners)) != NULL)
        give_up(weir_container_of(link, struct listener, link));
    handover_hub_down(hub);
    work_later(hub);
}

void hub_fail(struct hub *hub, const char *problem)
{
    if (hub->state != HUB_DOWN)
        fall(hub, problem);
}

static void on_ready(void *context, uint32_t backend_pid)
{
    struct hub *hub = context;
    struct weir_router *router = hub->router;
    hub->state = HUB_UP;
    hub->wanted = false;
    hub->backend_pid = backend_pid;
    hub->done = hub->timed_request = 0;
    hub->passed_at = 0;
    hub->retry_pause = 0;
    hub->spoken_at = router->loop->now;
    hub->up_since = view_wall_now();
    weir_listen_begin(hub->connection, hub->marker);
    weir_log_info(NULL, "listen_hub",
                  "database \"%s\" at %s: listens as user \"%s\", backend pid %u", hub->database,
                  hub->host, weir_listen_user(hub->connection), backend_pid);
    note(hub, "listen", NULL);
    handover_hub_up(hub);
}

static void on_notified(void *context, uint32_t backend_pid, const char *channel,
                        const char *payload)
{
    struct hub *hub = context;
    if (strcmp(channel, hub->marker) == 0) {
        weir_hub_mark(hub->fan, mark_of_session(strtoull(payload, NULL, 10)));
        work_later(hub);
        return;
    }
    hub->notifications++;
    hub->router->counters.notifications_in++;
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    size_t begin = weir_message_begin(&writer, 'A');
    weir_write_u32(&writer, handover_notifier(hub, backend_pid));
    weir_write_string(&writer, channel);
    weir_write_string(&writer, payload);
    weir_message_end(&writer, begin);
    if (weir_hub_take(hub->fan, channel, weir_buffer_bytes(&out), weir_buffer_length(&out)))
        work_later(hub);
    weir_buffer_clear(&out);
}

static void on_done(void *context, uint64_t request)
{
    struct hub *hub = context;
    hub->done = request;
    hub->spoken_at = hub->router->loop->now;
    if (request >= hub->timed_request)
        hub->passed_at = hub->timed_at;
    weir_hub_mark(hub->fan, mark_of_request(request));
    work_later(hub);
    handover_arrived(hub, request);
}

static void on_lost(void *context, const char *problem)
{
    struct hub *hub = context;
    fall(hub, problem);
}

static const struct weir_listen_ops ops = {
    .ready = on_ready,
    .notified = on_notified,
    .done = on_done,
    .lost = on_lost,
};

void hub_want(struct hub *hub, const struct server *server)
{
    const struct destination *destination = server->destination;
    hub->wanted = true;
    if (hub->state != HUB_DOWN || hub->router->loop->now < hub->retry_at ||
        destination->line == NULL || hub->router->draining)
        return;
    struct weir_lookup_target target;
    weir_listen_target_make(hub->router->conf, hub->router->users, destination->line,
                            destination->server_database, destination->server_user, &target);
    /* Of several hosts, where that one is: the others may be standbys, or not reached by the pool. */
    if (server->base.host_index < target.host_count) {
        target.hosts += server->base.host_index;
        target.host_count = 1;
    }
    hub->state = HUB_CONNECTING;
    hub->connection = weir_listen_open(
        hub->router->control, &target,
        weir_parameters_get(&server->base.parameters, "server_encoding"), &ops, hub);
    weir_lookup_target_clear(&target);
}

/* --- requests -------------------------------------------------------------------------- */

static uint64_t requested(struct hub *hub, uint64_t request)
{
    if (hub->timed_request <= hub->done) {
        hub->timed_request = request;
        hub->timed_at = hub->router->loop->now;
    }
    hub->spoken_at = hub->router->loop->now;
    return request;
}

uint64_t hub_ping(struct hub *hub)
{
    return requested(hub, weir_listen_ping(hub->connection));
}

uint64_t hub_listen_to(struct hub *hub, struct weir_hub_channel *channel)
{
    if (channel->request == 0)
        channel->request = requested(hub, weir_listen_begin(hub->connection, channel->name));
    return channel->request;
}

bool hub_has_heard(const struct hub *hub, const struct server *server)
{
    return server->hub_quiet || server->idle_at == 0 || hub->passed_at > server->idle_at;
}

bool hub_is_in_use(const struct hub *hub)
{
    return hub_is_up(hub) && weir_hub_channel_count(hub->fan) > 0;
}

/* --- listeners ------------------------------------------------------------------------- */

struct listener *hub_make_listener(struct hub *hub, struct client *client)
{
    struct listener *listener = client->listener;
    if (listener != NULL)
        return listener;
    listener = weir_alloc(sizeof(*listener));
    listener->client = client;
    listener->hub = hub;
    weir_hub_listener_init(&listener->fan, hub->fan);
    weir_hub_set_limit(hub->fan, hub->router->conf->client_memory_limit);
    weir_list_push_back(&hub->listeners, &listener->link);
    client->listener = listener;
    return listener;
}

void hub_forget_client(struct client *client)
{
    struct listener *listener = client->listener;
    if (listener == NULL)
        return;
    client->listener = NULL;
    weir_hub_listener_clear(&listener->fan);
    weir_list_remove(&listener->link);
    /* Not in this one, whose share of clients to be ended may be used up. */
    weir_loop_defer_to_next_turn(listener->hub->router->loop, &listener->hub->work);
    free(listener);
}

/* --- which there are ------------------------------------------------------------------- */

static void write_key(struct weir_buffer *key, const struct destination *destination)
{
    const struct weir_database *line = destination->line;
    for (size_t i = 0; i < line->host_count; i++) {
        const struct weir_conf_host *host = &line->hosts[i];
        weir_require(weir_buffer_append(key, host->host, strlen(host->host) + 1) &&
                     weir_buffer_append(key, &host->port, sizeof(host->port)));
    }
    weir_require(weir_buffer_append(key, destination->server_database,
                                    strlen(destination->server_database) + 1));
    /* What one line wants to have proven another one may not. */
    struct weir_libpq_tls tls;
    weir_conf_libpq_tls(destination->router->conf, line, &tls);
    for (int i = 0; i < tls.count; i++) {
        const char *value = tls.values[i] != NULL ? tls.values[i] : "";
        weir_require(weir_buffer_append(key, tls.names[i], strlen(tls.names[i]) + 1) &&
                     weir_buffer_append(key, value, strlen(value) + 1));
    }
}

static char *hosts_of(const struct weir_database *line)
{
    char *text = NULL;
    for (size_t i = 0; i < line->host_count; i++) {
        char *before = text;
        text = weir_format("%s%s%s:%d", before != NULL ? before : "", before != NULL ? "," : "",
                           line->hosts[i].host, line->hosts[i].port);
        free(before);
    }
    return text;
}

static struct hub *make(const struct destination *destination, const struct weir_buffer *key)
{
    struct weir_router *router = destination->router;
    size_t length = weir_buffer_length(key);
    struct hub *hub = weir_alloc(sizeof(*hub) + length);
    uint64_t random[2];
    hub->router = router;
    hub->fan = weir_hub_create();
    hub->database = weir_strdup(destination->server_database);
    hub->host = hosts_of(destination->line);
    hub->work.run = work;
    weir_random_bytes(random, sizeof(random));
    snprintf(hub->marker, sizeof(hub->marker), "pgweir %016llx%016llx",
             (unsigned long long)random[0], (unsigned long long)random[1]);
    weir_list_init(&hub->listeners);
    weir_list_init(&hub->ending);
    weir_list_init(&hub->handovers);
    hub->key_length = length;
    memcpy(hub->key, weir_buffer_bytes(key), length);
    HASH_ADD_KEYPTR(hh, router->hubs, hub->key, length, hub);
    return hub;
}

static void destroy(struct hub *hub)
{
    HASH_DEL(hub->router->hubs, hub);
    weir_task_cancel(&hub->work);
    weir_listen_close(hub->connection);
    hub->connection = NULL;
    hub->state = HUB_DOWN;
    tidy(hub);
    weir_hub_destroy(hub->fan);
    free(hub->problem);
    free(hub->database);
    free(hub->host);
    free(hub);
}

void hub_destroy_all(struct weir_router *router)
{
    struct hub *hub, *next;
    HASH_ITER(hh, router->hubs, hub, next) {
        destroy(hub);
    }
}

static bool has_listeners_of(const struct hub *hub, const struct destination *destination)
{
    weir_list_for(link, &hub->listeners) {
        if (weir_container_of(link, struct listener, link)->client->destination == destination)
            return true;
    }
    return false;
}

/* Their database has moved. */
static void end_listeners_of(struct hub *hub, const struct destination *destination)
{
    free(hub->problem);
    hub->problem = weir_strdup("the database has another server now, or other TLS settings");
    weir_list_for_safe(link, &hub->listeners) {
        struct listener *listener = weir_container_of(link, struct listener, link);
        if (listener->client->destination == destination)
            give_up(listener);
    }
    work_later(hub);
}

void hub_unassign(struct destination *destination)
{
    if (destination->hub != NULL)
        destination->hub->destinations--;
    destination->hub = NULL;
}

void hub_assign(struct destination *destination)
{
    struct hub *old = destination->hub, *hub = NULL;
    const struct weir_pool_settings *settings = &destination->settings;
    bool wanted = settings->listen_hub && settings->pool_mode != WEIR_POOL_SESSION;
    /* Who listens by it already goes on doing so, even when that is not wanted any more. */
    if (!wanted && (old == NULL || !has_listeners_of(old, destination))) {
        hub_unassign(destination);
        return;
    }
    struct weir_buffer key = {0};
    write_key(&key, destination);
    HASH_FIND(hh, destination->router->hubs, weir_buffer_bytes(&key), weir_buffer_length(&key),
              hub);
    if (hub == NULL)
        hub = make(destination, &key);
    weir_buffer_clear(&key);
    if (hub == old)
        return;
    if (old != NULL)
        end_listeners_of(old, destination);
    hub_unassign(destination);
    destination->hub = hub;
    hub->destinations++;
}

/* Somebody keeps a server connection because it could not be made before. */
static void want_again(struct hub *hub)
{
    hub->wanted = false;
    struct destination *destination, *next;
    HASH_ITER(hh, hub->router->destinations, destination, next) {
        if (destination->hub != hub)
            continue;
        weir_list_for(link, &destination->servers) {
            const struct server *server = weir_container_of(link, struct server, link);
            if (server->phase != SERVER_BOUND || !(server->pins & PIN_LISTEN))
                continue;
            hub_want(hub, server);
            return;
        }
    }
}

static void tick(struct hub *hub)
{
    weir_usec now = hub->router->loop->now;
    bool empty = weir_hub_channel_count(hub->fan) == 0 && weir_list_is_empty(&hub->handovers);
    handover_tick(hub);
    if (!empty)
        hub->empty_since = 0;
    else if (hub->empty_since == 0)
        hub->empty_since = now;
    if (hub->wanted && hub->state == HUB_DOWN && now >= hub->retry_at)
        want_again(hub);
    bool unused = empty && now - hub->empty_since > IDLE_LIMIT;
    if (unused && hub->state == HUB_UP) {
        weir_listen_close(hub->connection);
        hub->connection = NULL;
        hub->state = HUB_DOWN;
    } else if (hub_is_up(hub) && now - hub->spoken_at > PING_AFTER) {
        (void)hub_ping(hub);
    }
    if (unused && hub->destinations == 0 && weir_list_is_empty(&hub->ending))
        destroy(hub);
}

void hub_tick(struct weir_router *router)
{
    struct hub *hub, *next;
    HASH_ITER(hh, router->hubs, hub, next) {
        tick(hub);
    }
}

void hub_reconnect(struct weir_router *router, const char *database)
{
    struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next) {
        if (destination->hub != NULL &&
            (database == NULL || strcmp(destination->database, database) == 0))
            hub_fail(destination->hub, "RECONNECT");
    }
}
