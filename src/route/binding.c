/* Who has which server connection: bind, wait, refuse, release, abandon, lose. These functions are
 * the only ones that join a client and a server or take them apart. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "login.h"
#include "router.h"
#include "state.h"
#include "view.h"

static void count_binding_end(struct server *server)
{
    struct destination *destination = server->destination;
    if (server->answered == 0)
        return; /* a greeting, or a client that asked nothing */
    weir_usec held = server->router->loop->now - server->began_at;
    weir_usec busy = server->busy_usec;
    destination->counters.transactions++;
    destination->counters.transaction_usec += (uint64_t)held;
    destination->counters.query_usec += (uint64_t)busy;
    weir_histogram_add(&destination->latency.parts[WEIR_PART_SERVER], busy - server->client_usec);
    if (__builtin_expect(held == busy && server->client_usec == 0, 1)) {
        weir_histogram_add_none(&destination->latency.parts[WEIR_PART_CLIENT]);
        weir_histogram_add_none(&destination->latency.parts[WEIR_PART_IDLE]);
        return;
    }
    weir_histogram_add(&destination->latency.parts[WEIR_PART_CLIENT], server->client_usec);
    weir_histogram_add(&destination->latency.parts[WEIR_PART_IDLE], held - busy);
}

static void log_refusal(struct client *client, enum weir_reason reason, const char *text)
{
    events_of_client(client, reason == WEIR_REASON_POOL_TIMEOUT ? "timeout" : "refuse", reason,
                     text);
    if (!client->router->conf->log_pooler_errors)
        return;
    struct weir_log_who who;
    char peer[128];
    router_who_client(client, &who, peer, sizeof(peer));
    const struct weir_reason_row *row = weir_reason_row(reason);
    weir_log_warning(&who, "refuse", "reason=%s %s", row->name, text != NULL ? text : row->text);
}

/* --- refusing -------------------------------------------------------------------------- */

static void send_refusal(struct client *client, const struct weir_buffer *out)
{
    bool sent = weir_stream_send_bytes(&client->base.stream, weir_buffer_bytes(out),
                                       weir_buffer_length(out));
    client->intake = INTAKE_REFUSED;
    client->since = client->router->loop->now;
    weir_client_set_state(&client->base, WEIR_CLIENT_IDLE);
    /* A dead stream is noticed at its next event. */
    (void)sent;
    weir_loop_defer(client->router->loop, &client->resume);
}

void binding_refuse(struct client *client, enum weir_reason reason, const char *text,
                    const char *detail, const char *hint)
{
    const struct weir_reason_row *row = weir_reason_row(reason);
    client->destination->counters.reasons[reason]++;
    log_refusal(client, reason, text);
    if (client->base.state == WEIR_CLIENT_GREETING) {
        admission_refuse(client, reason, text, NULL);
        return;
    }
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    weir_write_error(&writer, "ERROR", row->sqlstate, text != NULL ? text : row->text, detail,
                     hint);
    send_refusal(client, &out);
    weir_buffer_clear(&out);
}

void binding_refuse_as_server(struct client *client, enum weir_reason reason, const uint8_t *body,
                              size_t length)
{
    struct weir_error_fields fields = {0};
    weir_error_parse(body, length, &fields);
    client->destination->counters.reasons[reason]++;
    log_refusal(client, reason, fields.message);
    if (client->base.state == WEIR_CLIENT_GREETING) {
        struct weir_buffer copy = {0};
        if (!weir_buffer_append(&copy, body, length))
            weir_buffer_clear(&copy);
        admission_refuse(client, reason, fields.message, &copy);
        weir_buffer_clear(&copy);
        return;
    }
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    weir_write_error(&writer, "ERROR", fields.sqlstate != NULL ? fields.sqlstate : "08006",
                     fields.message != NULL ? fields.message : "the server refused", fields.detail,
                     fields.hint);
    send_refusal(client, &out);
    weir_buffer_clear(&out);
}

/* --- getting a server ------------------------------------------------------------------ */

static void refuse_full_queue(struct client *client)
{
    struct destination *destination = client->destination;
    char holders[256];
    report_holders(destination, holders, sizeof(holders));
    char *text =
        weir_format("pool \"%s\"/\"%s\" is busy and %d clients wait already (max_waiting)",
                    destination->database, destination->user, destination->settings.max_waiting);
    binding_refuse(client, WEIR_REASON_POOL_QUEUE_FULL, text, holders,
                   "Try again later, raise max_waiting, pool_size or max_overflow.");
    free(text);
}

enum step binding_want(struct client *client)
{
    struct weir_router *router = client->router;
    struct weir_pool_server *slot = NULL;
    client->waiter.affinity = settings_affinity(client);
    switch (weir_pool_want(client->destination->pool, &client->waiter, router->loop->now, &slot)) {
    case WEIR_POOL_GOT:
        weir_require(slot != NULL);
        weir_histogram_add_none(&client->destination->latency.parts[WEIR_PART_WAIT]);
        return binding_bind(client, weir_container_of(slot, struct server, slot));
    case WEIR_POOL_QUEUED:
        client->destination->counters.waits++;
        client->since = router->loop->now;
        if (client->base.state != WEIR_CLIENT_GREETING)
            weir_client_set_state(&client->base, WEIR_CLIENT_WAITING);
        router_decide_later(router);
        return STEP_WAIT;
    case WEIR_POOL_FULL:
        refuse_full_queue(client);
        return client->base.state == WEIR_CLIENT_IDLE ? STEP_MORE : STEP_GONE;
    }
    return STEP_WAIT;
}

enum step binding_bind(struct client *client, struct server *server)
{
    struct weir_router *router = client->router;
    bool greeting = client->base.state == WEIR_CLIENT_GREETING;
    client->server = server;
    server->client = client;
    server->phase = SERVER_BOUND;
    server->binding = ++router->next_binding;
    server->checked_version = 0;
    server->sets = false;
    server->unread = false;
    server->bound_at = router->loop->now;
    server->began_at = router->loop->now;
    client->since = router->loop->now;
    server->answered = 0;
    server->busy_usec = 0;
    server->client_usec = 0;
    if (!greeting)
        server->destination->counters.assignments++;
    router_echo(server, "checkout", NULL);
    gather_begin(&router->to_server, &server->base.stream);
    if (!greeting)
        weir_client_set_state(&client->base, WEIR_CLIENT_ACTIVE);
    bool held = !settings_hold(server, client) && settings_sync(server, client);
    if (__builtin_expect(server->destination->hub != NULL, 0) && !greeting)
        held |= handover_begin(server, client);
    if (held && !greeting)
        weir_client_set_state(&client->base, WEIR_CLIENT_HELD);
    return held ? STEP_WAIT : STEP_MORE;
}

/* The pool chose this client while nothing of it is being relayed. */
static void bind_from_queue(struct client *client, struct server *server)
{
    struct weir_router *router = client->router;
    weir_usec waited = router->loop->now - client->since;
    client->destination->counters.wait_usec += (uint64_t)waited;
    weir_histogram_add(&client->destination->latency.parts[WEIR_PART_WAIT], waited);
    enum step step = binding_bind(client, server);
    if (client->base.state == WEIR_CLIENT_GREETING) {
        gather_flush(&router->to_server);
        if (step == STEP_MORE)
            admission_welcome_from_server(client);
        return;
    }
    if (step == STEP_MORE && router->to_server.count > 0) {
        client_relay_begin(client);
        return;
    }
    gather_flush(&router->to_server);
    if (step == STEP_MORE)
        weir_loop_defer(router->loop, &client->resume);
}

/* --- giving it back -------------------------------------------------------------------- */

bool binding_is_over(const struct server *server)
{
    const struct client *client = server->client;
    if (server->phase != SERVER_BOUND || client == NULL || server->replies.count > 0 ||
        server->status != 'I' || server->pipeline != PIPELINE_IDLE || server->copy != COPY_NONE)
        return false;
    if (server->handover != NULL && server->handover->holds)
        return false;
    /* A client that is about to be resumed got this connection for what it has sent already. */
    return client->body_left == 0 && client->base.state != WEIR_CLIENT_GREETING &&
           !weir_list_is_linked(&client->resume.link);
}

/* The client has asked for nothing more and is told that the daemon goes down. */
static bool leaves_now(struct client *client)
{
    if (!client->router->draining || weir_stream_unsent(&client->base.stream) > 0)
        return false;
    return true;
}

void binding_release(struct server *server)
{
    struct weir_router *router = server->router;
    struct client *client = server->client;
    enum weir_pool_mode mode = server->destination->settings.pool_mode;
    if (server->cancel != NULL) {
        weir_client_set_state(&client->base, WEIR_CLIENT_HELD);
        return;
    }
    weir_require(server->replies.count == 0);
    if (server->farewell) {
        binding_lose_server(server, WEIR_REASON_SERVER_SAID_GOODBYE);
        return;
    }
    /* In session mode only RESET needs to be known of: it goes back to what the login asked for. */
    bool told =
        (server->dirt & DIRT_ASK) != 0 && (mode != WEIR_POOL_SESSION || server->dirt & DIRT_RESET);
    if (!handover_is_on(server) && (told || effects_take_sample(server))) {
        settings_ask(server);
        return;
    }
    if (__builtin_expect(server->destination->hub != NULL, 0) && handover_go_on(server))
        return;
    if (__builtin_expect(server->pins != 0, 0) && !pins_are_allowed(server))
        return;
    if (client->base.state == WEIR_CLIENT_HELD)
        weir_client_set_state(&client->base, WEIR_CLIENT_ACTIVE);
    if ((mode == WEIR_POOL_SESSION || server->pins != 0) && !router->draining) {
        count_binding_end(server);
        server->answered = 0;
        server->busy_usec = 0;
        server->client_usec = 0;
        server->began_at = 0;
        server->binding = ++router->next_binding;
        statement_at_rest(server);
        return;
    }
    if (mode == WEIR_POOL_SESSION || server->pins != 0) {
        binding_end_client(client, WEIR_REASON_SHUTDOWN, NULL);
        return;
    }
    count_binding_end(server);
    client->server = NULL;
    server->client = NULL;
    client->cancel_wanted = false;
    client->requested_at = server->query_at;
    client->since = router->loop->now;
    weir_client_set_state(&client->base, WEIR_CLIENT_IDLE);
    if (!weir_list_is_empty(&server->prepared_dead))
        statement_at_rest(server);
    server_resume(server);
    server->phase = SERVER_IDLE;
    server->slot.affinity = server->settings;
    router_echo(server, "checkin", NULL);
    if (client->unnamed != NULL)
        statement_trim_unnamed(client);
    if (server->farewell)
        binding_lose_server(server, WEIR_REASON_SERVER_SAID_GOODBYE);
    else
        weir_pool_release(&server->slot, router->loop->now);
    if (weir_pool_has_decisions(router->group))
        router_decide_later(router);
    if (weir_buffer_length(&client->base.stream.in) > 0)
        weir_loop_defer(router->loop, &client->resume);
    else if (leaves_now(client))
        binding_end_client(client, WEIR_REASON_SHUTDOWN, NULL);
}

void binding_detach(struct server *server)
{
    struct client *client = server->client;
    count_binding_end(server);
    client->server = NULL;
    server->client = NULL;
    settling_begin(server, false);
}

void binding_abandon(struct client *client, enum weir_reason reason)
{
    struct weir_router *router = client->router;
    struct server *server = client->server;
    weir_pool_leave(&client->waiter, router->loop->now);
    if (router->to_client.to == &client->base.stream)
        gather_begin(&router->to_client, NULL);
    handover_tell_ready(client);
    hub_forget_client(client);
    statement_forget_client(client);
    if (server == NULL)
        return;
    bool halfway = client->body_left > 0 && client->body_sink == BODY_PASS;
    if (server->replies.count > 0)
        server->busy_usec += router->loop->now - server->query_at;
    count_binding_end(server);
    client->server = NULL;
    server->client = NULL;
    if (router->to_server.to == &server->base.stream)
        gather_flush(&router->to_server);
    if (server->phase == SERVER_LOGIN) {
        binding_lose_server(server, WEIR_REASON_REPLICATION_DONE);
        return;
    }
    if (halfway || weir_reason_row(reason)->reuse == WEIR_REUSE_CLOSE) {
        /* The rest of a message will never come: the server would wait for it for ever. */
        bool asked = weir_reason_row(reason)->blame == WEIR_BLAME_ADMIN;
        binding_lose_server(server, asked ? reason : WEIR_REASON_CLEAN_FAILED);
        return;
    }
    settling_begin(server, reason != WEIR_REASON_CLIENT_TERMINATE);
}

/* --- ends ------------------------------------------------------------------------------ */

static void log_end(struct client *client, enum weir_reason reason, const char *text)
{
    struct weir_router *router = client->router;
    const struct weir_reason_row *row = weir_reason_row(reason);
    bool pooler_error = row->sqlstate != NULL && router->conf->log_pooler_errors;
    if (row->sqlstate != NULL)
        events_of_client(client, "end", reason, text);
    if (!router->conf->log_disconnections && !pooler_error)
        return;
    struct weir_log_who who;
    char peer[128];
    router_who_client(client, &who, peer, sizeof(peer));
    weir_log(pooler_error ? WEIR_LOG_WARNING : WEIR_LOG_INFO, &who, "disconnect",
             "reason=%s closing because: %s", row->name, text != NULL ? text : row->text);
}

/* What the client got last ends inside a message, so that nothing that follows could be understood,
 * or it was the server's own FATAL. */
static bool is_cut_off(const struct server *server)
{
    return server != NULL &&
           (server->farewell || (server->body_left > 0 && server->body_sink == BODY_PASS));
}

static void end_client(struct client *client, enum weir_reason reason, const char *text,
                       bool cut_off)
{
    struct weir_router *router = client->router;
    const struct weir_reason_row *row = weir_reason_row(reason);
    if (client->base.state == WEIR_CLIENT_CLOSED || client->base.state == WEIR_CLIENT_ENDING)
        return;
    struct destination *destination = client->destination;
    (destination != NULL ? &destination->counters : &router->counters)->reasons[reason]++;
    log_end(client, reason, text);
    if (router->to_client.to == &client->base.stream)
        gather_flush(&router->to_client);
    binding_abandon(client, reason);
    cancel_forget_key(client);
    bool told = row->sqlstate != NULL && !cut_off;
    if (told) {
        struct weir_buffer out = {0};
        struct weir_writer writer = weir_writer_to(&out);
        weir_write_error(&writer, "FATAL", row->sqlstate, text != NULL ? text : row->text, NULL,
                         NULL);
        told =
            !writer.failed && weir_stream_send_bytes(&client->base.stream, weir_buffer_bytes(&out),
                                                     weir_buffer_length(&out));
        weir_buffer_clear(&out);
    }
    bool leaves_quietly = reason == WEIR_REASON_CLIENT_TERMINATE ||
                          reason == WEIR_REASON_CLIENT_GONE || reason == WEIR_REASON_CLIENT_RESET;
    if (leaves_quietly || (!told && weir_stream_unsent(&client->base.stream) == 0)) {
        weir_client_close(&client->base);
        router_doom_client(client);
        return;
    }
    /* The last words must arrive: closing now could make the kernel throw them away. */
    weir_client_set_state(&client->base, WEIR_CLIENT_ENDING);
    client->since = router->loop->now;
    client->input_blocked = false;
    weir_stream_resume(&client->base.stream);
    if (weir_stream_unsent(&client->base.stream) == 0)
        weir_stream_finish(&client->base.stream);
}

void binding_end_client(struct client *client, enum weir_reason reason, const char *text)
{
    end_client(client, reason, text, is_cut_off(client->server));
}

static bool is_servers_fault(enum weir_reason reason)
{
    return reason == WEIR_REASON_SERVER_LOST || reason == WEIR_REASON_SERVER_SAID_GOODBYE ||
           reason == WEIR_REASON_PING_FAILED || reason == WEIR_REASON_PING_TIMEOUT;
}

bool binding_is_unconcerned(const struct server *server, const struct client *client)
{
    return !server->farewell && server->replies.count == 0 && server->status == 'I' &&
           server->pipeline == PIPELINE_IDLE && server->copy == COPY_NONE && server->pins == 0 &&
           server->dirt == 0 && !server->unknown && client->body_left == 0 &&
           server->destination->settings.pool_mode != WEIR_POOL_SESSION &&
           (client->base.state == WEIR_CLIENT_ACTIVE || client->base.state == WEIR_CLIENT_HELD);
}

static void let_go(struct client *client)
{
    struct weir_router *router = client->router;
    if (router->to_client.to == &client->base.stream)
        gather_flush(&router->to_client);
    client->since = router->loop->now;
    weir_client_set_state(&client->base, WEIR_CLIENT_IDLE);
    statement_trim_unnamed(client);
    weir_loop_defer(router->loop, &client->resume);
}

/* So long a server that was told to go may take. */
#define LINGER_LIMIT WEIR_SEC

/* The connection is gone: its slot is free. */
static void bury(struct server *server, bool lost)
{
    struct weir_router *router = server->router;
    struct weir_pool_counts before, after;
    server->phase = SERVER_CLOSED;
    weir_cancel_drop(server->cancel);
    server->cancel = NULL;
    weir_server_close(&server->base, false);
    weir_pool_count(server->destination->pool, router->loop->now, &before);
    weir_pool_gone(&server->slot, lost, router->loop->now);
    weir_pool_count(server->destination->pool, router->loop->now, &after);
    if (after.generation != before.generation)
        events_of_pool(server->destination, "invalidate", "older connections are asked before use");
    router_decide_later(router);
    router_doom_server(server);
}

static bool may_linger(enum server_phase phase, enum weir_reason reason)
{
    return phase != SERVER_LOGIN && phase != SERVER_LEARNING && !is_servers_fault(reason) &&
           reason != WEIR_REASON_SERVER_PROTOCOL;
}

/* PostgreSQL counts a session until its process has ended, and so do we: the slot is freed at the end
 * of file, so that the server never sees more connections than the limit. */
static void linger(struct server *server, enum server_phase phase)
{
    static const uint8_t terminate[] = {'X', 0, 0, 0, 4};
    server->phase = SERVER_CLOSING;
    server->phase_at = server->router->loop->now;
    server->deadline = server->phase_at + LINGER_LIMIT;
    if (server->slot.state != WEIR_POOL_CLOSING)
        weir_pool_closing(&server->slot, server->router->loop->now);
    weir_stream_resume(&server->base.stream);
    if (phase == SERVER_IDLE &&
        !weir_stream_send_bytes(&server->base.stream, terminate, sizeof(terminate))) {
        bury(server, false);
        return;
    }
    /* What is unsent belongs to a batch that is over. */
    if (weir_stream_unsent(&server->base.stream) > 0)
        shutdown(server->base.stream.io.fd, SHUT_WR);
    else
        weir_stream_finish(&server->base.stream);
}

void binding_lose_server(struct server *server, enum weir_reason reason)
{
    struct weir_router *router = server->router;
    struct client *client = server->client;
    if (server->phase == SERVER_CLOSED)
        return;
    if (server->phase == SERVER_CLOSING) {
        bury(server, false);
        return;
    }
    bool asked = reason == WEIR_REASON_POOL_ASKED || reason == WEIR_REASON_POOL_PAUSED ||
                 reason == WEIR_REASON_DATABASE_KILLED || reason == WEIR_REASON_SHUTDOWN;
    if (server->phase == SERVER_LEARNING && !asked) {
        destination_learning_failed(server, reason);
        return;
    }
    if (client != NULL)
        handover_tell_ready(client);
    handover_forget(server);
    enum server_phase phase = server->phase;
    bool running = server->replies.count > 0;
    events_of_server(server, "close", reason, NULL);
    server->phase = SERVER_CLOSED;
    server->client = NULL;
    server->destination->counters.reasons[reason]++;
    struct weir_log_who who;
    char peer[128];
    router_who_server(server, &who, peer, sizeof(peer));
    weir_log(is_servers_fault(reason) ? WEIR_LOG_WARNING : WEIR_LOG_INFO, &who, "server_close",
             "reason=%s closing because: %s", weir_reason_row(reason)->name,
             weir_reason_row(reason)->text);
    if (router->to_server.to == &server->base.stream)
        gather_begin(&router->to_server, NULL);
    weir_cancel_drop(server->cancel);
    server->cancel = NULL;
    bool lingers = may_linger(phase, reason);
    if (!lingers)
        weir_server_close(&server->base, false);
    if (client != NULL && binding_is_unconcerned(server, client)) {
        client->server = NULL;
        let_go(client);
    } else if (client != NULL) {
        /* Newest first: each undoes what its message did to the client's names. */
        server->client = client;
        for (uint32_t i = server->replies.count; i > 0; i--)
            statement_on_dropped(server, reply_at(&server->replies, i - 1));
        server->replies.count = 0;
        server->client = NULL;
        client->server = NULL;
        if (client->base.state == WEIR_CLIENT_GREETING)
            admission_refuse(client,
                             server->farewell ? WEIR_REASON_SERVER_SAID_GOODBYE
                                              : WEIR_REASON_SERVER_LOST,
                             NULL, NULL);
        else
            end_client(client, server->farewell ? WEIR_REASON_SERVER_SAID_GOODBYE : reason, NULL,
                       is_cut_off(server));
    }
    if (lingers)
        linger(server, phase);
    else
        bury(server, is_servers_fault(reason));
    /* PostgreSQL would notice the end of the connection only when the statement has ended. */
    if (reason == WEIR_REASON_DATABASE_KILLED && running && server->phase == SERVER_CLOSING)
        cancel_server(server);
}

/* --- what the pool decides ------------------------------------------------------------- */

static enum weir_reason reason_of(const struct destination *destination,
                                  enum weir_pool_close_reason reason)
{
    if (reason == WEIR_POOL_CLOSE_ASKED && destination->database_cap->paused)
        return WEIR_REASON_POOL_PAUSED;
    static const enum weir_reason reasons[] = {
        [WEIR_POOL_CLOSE_IDLE] = WEIR_REASON_POOL_IDLE,
        [WEIR_POOL_CLOSE_AGE] = WEIR_REASON_POOL_AGE,
        [WEIR_POOL_CLOSE_SURPLUS] = WEIR_REASON_POOL_SURPLUS,
        [WEIR_POOL_CLOSE_HANDOVER] = WEIR_REASON_POOL_HANDOVER,
        [WEIR_POOL_CLOSE_ASKED] = WEIR_REASON_POOL_ASKED,
        [WEIR_POOL_CLOSE_CHECK_FAILED] = WEIR_REASON_PING_FAILED,
    };
    return reasons[reason];
}

static void close_server(struct server *server, enum weir_pool_close_reason reason)
{
    binding_lose_server(server, reason_of(server->destination, reason));
}

static void ping(struct server *server)
{
    struct weir_router *router = server->router;
    const struct weir_pool_settings *settings = &server->destination->settings;
    server->destination->counters.pings++;
    server->phase = SERVER_PINGING;
    server->phase_at = router->loop->now;
    server->deadline =
        settings->pre_ping_timeout > 0 ? router->loop->now + settings->pre_ping_timeout : 0;
    weir_buffer_clear(&server->trouble);
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    bool query = settings->pre_ping_query != NULL && settings->pre_ping_query[0] != '\0';
    if (query) {
        server->unnamed_version = 0;
        weir_write_query(&writer, settings->pre_ping_query);
    } else {
        weir_write_simple(&writer, 'S');
    }
    server_expect(server, query ? REPLY_QUERY : REPLY_SYNC, REPLY_SWALLOW, PURPOSE_PING, NULL);
    bool sent = weir_stream_send_bytes(&server->base.stream, weir_buffer_bytes(&out),
                                       weir_buffer_length(&out));
    weir_buffer_clear(&out);
    if (!sent)
        binding_lose_server(server, WEIR_REASON_PING_FAILED);
}

static void time_out(struct client *client)
{
    struct destination *destination = client->destination;
    char holders[256];
    report_holders(destination, holders, sizeof(holders));
    struct weir_pool_counts counts;
    weir_pool_count(destination->pool, client->router->loop->now, &counts);
    char *text = weir_format(
        "no server connection became free within %.1f s (pool_timeout, query_wait_timeout): "
        "pool \"%s\"/\"%s\"%s, "
        "pool_size %d, max_overflow %d, %d clients wait",
        (double)(client->router->loop->now - client->since) / 1e6, destination->database,
        destination->user, counts.paused ? " is paused" : "", destination->settings.pool_size,
        destination->settings.max_overflow, counts.waiting);
    binding_refuse(client, WEIR_REASON_POOL_TIMEOUT, text, holders,
                   counts.paused ? "An operator has paused it: try again after RESUME."
                                 : "Shorten transactions, or raise pool_size or max_overflow.");
    free(text);
}

static void fail(struct client *client)
{
    struct destination *destination = client->destination;
    if (weir_buffer_length(&destination->last_error) > 0) {
        binding_refuse_as_server(client, destination->last_reason,
                                 weir_buffer_bytes(&destination->last_error),
                                 weir_buffer_length(&destination->last_error));
        return;
    }
    char *text = weir_format("cannot connect to the server for pool \"%s\"/\"%s\": %s",
                             destination->database, destination->user,
                             destination->last_problem != NULL ? destination->last_problem
                                                               : "no attempt succeeded");
    binding_refuse(client, WEIR_REASON_SERVER_UNAVAILABLE, text, NULL, NULL);
    free(text);
}

static struct client *client_of(const struct weir_pool_decision *decision)
{
    weir_require(decision->waiter != NULL);
    return weir_container_of(decision->waiter, struct client, waiter);
}

static struct server *server_of(const struct weir_pool_decision *decision)
{
    weir_require(decision->server != NULL);
    return weir_container_of(decision->server, struct server, slot);
}

void binding_decide(struct weir_router *router, const struct weir_pool_decision *decision)
{
    switch (decision->kind) {
    case WEIR_POOL_DO_BIND:
        bind_from_queue(client_of(decision), server_of(decision));
        break;
    case WEIR_POOL_DO_OPEN:
        destination_open(weir_pool_owner(decision->pool));
        break;
    case WEIR_POOL_DO_PING:
        ping(server_of(decision));
        break;
    case WEIR_POOL_DO_CLOSE:
        close_server(server_of(decision), decision->reason);
        break;
    case WEIR_POOL_DO_TIMEOUT:
        time_out(client_of(decision));
        break;
    case WEIR_POOL_DO_FAIL:
        fail(client_of(decision));
        break;
    }
}
