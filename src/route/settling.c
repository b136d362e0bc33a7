/* A server connection whose client has gone: what runs is cancelled (unless the client said goodbye
 * properly), drained, rolled back, cleaned, and then the connection serves others. It is closed
 * when that fails or takes too long. */
#include <stdlib.h>
#include <string.h>

#include "router.h"
#include "state.h"

static bool send_query(struct server *server, const char *sql, enum reply_purpose purpose)
{
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    weir_write_query(&writer, sql);
    weir_buffer_clear(&server->trouble);
    server->unnamed_version = 0;
    server_expect(server, REPLY_QUERY, REPLY_SWALLOW, purpose, NULL);
    bool sent =
        !writer.failed && weir_stream_send_bytes(&server->base.stream, weir_buffer_bytes(&out),
                                                 weir_buffer_length(&out));
    weir_buffer_clear(&out);
    return sent;
}

/* The Sync that is to end the batch would commit it, which its client has never asked for: behind an
 * error it rolls back, as PostgreSQL does when a client leaves. */
static bool spoil_batch(struct server *server)
{
    static const uint8_t describe[] = {'D', 0,   0,   0,   17,  'S', 'p', 'g', 'w',
                                       'e', 'i', 'r', '.', 'n', 'o', 'n', 'e', 0};
    server_expect(server, REPLY_DESCRIBE_STATEMENT, REPLY_SWALLOW, PURPOSE_ROLLBACK, NULL);
    return weir_stream_send_bytes(&server->base.stream, describe, sizeof(describe));
}

/* Ends what the client left open: a COPY, a batch without Sync. False: cannot be ended cleanly. */
static bool close_batch(struct server *server)
{
    static const uint8_t sync[] = {'S', 0, 0, 0, 4};
    bool sent = true;
    if (server->copy == COPY_BOTH)
        return false;
    if (server->copy == COPY_IN) {
        static const uint8_t fail[] = {'f', 0,   0,   0,   16,  'c', 'l', 'i', 'e',
                                       'n', 't', ' ', 'l', 'e', 'f', 't', 0};
        sent = weir_stream_send_bytes(&server->base.stream, fail, sizeof(fail));
        server->copy = COPY_IN_ENDED;
    }
    bool open = server->pipeline != PIPELINE_IDLE;
    /* A COPY may begin yet, in which nothing may be asked: then what is there is answered first. */
    if (sent && server->pipeline == PIPELINE_BATCH && server->replies.count > 0 &&
        server->copy != COPY_IN_ENDED) {
        static const uint8_t flush[] = {'H', 0, 0, 0, 4};
        return weir_stream_send_bytes(&server->base.stream, flush, sizeof(flush));
    }
    if (sent && server->pipeline == PIPELINE_BATCH)
        sent = spoil_batch(server);
    if (sent && open) {
        server->pipeline = PIPELINE_IDLE;
        server_expect(server, REPLY_SYNC, REPLY_SWALLOW, PURPOSE_ROLLBACK, NULL);
        sent = weir_stream_send_bytes(&server->base.stream, sync, sizeof(sync));
    }
    return sent;
}

void settling_refuse_copy(struct server *server)
{
    bool closed = close_batch(server);
    /* A dead stream is noticed at its next event. */
    (void)closed;
}

/* Nobody is there to hear the answers. */
static void mute(struct server *server)
{
    for (uint32_t i = 0; i < server->replies.count; i++)
        reply_at(&server->replies, i)->action = REPLY_SWALLOW;
    server->body_sink = BODY_DROP;
}

void settling_begin(struct server *server, bool cancel)
{
    struct weir_router *router = server->router;
    weir_usec limit = server->destination->settings.cancel_wait_timeout;
    server->phase = SERVER_SETTLING;
    server->phase_at = router->loop->now;
    server->deadline = router->loop->now + (limit > 0 ? limit : 10 * WEIR_SEC);
    server_resume(server);
    handover_forget(server);
    mute(server);
    if (server->farewell || server->pins & (PIN_REPLICATION | PINS_LASTING) ||
        !close_batch(server)) {
        binding_lose_server(server, server->pins & PIN_REPLICATION ? WEIR_REASON_REPLICATION_DONE
                                    : server->pins & PINS_LASTING  ? WEIR_REASON_STATE_LASTS
                                                                   : WEIR_REASON_CLEAN_FAILED);
        return;
    }
    if (cancel && server->replies.count > 0) {
        server->destination->counters.server_reuses++;
        cancel_server(server);
    }
    settling_go_on(server);
}

static void finish(struct server *server)
{
    struct weir_router *router = server->router;
    pins_set(server, 0);
    server->dirt = 0;
    effects_forget_unseen(server);
    server->discarded = false;
    server->sql_prepared = 0;
    server->deadline = 0;
    server->phase = SERVER_IDLE;
    statement_at_rest(server);
    server->slot.affinity = server->settings;
    router_echo(server, "checkin", "cleaned");
    weir_pool_release(&server->slot, router->loop->now);
    router_decide_later(router);
}

/* The reset has been answered: prepared statements are gone if it discarded them. */
static void after_reset(struct server *server)
{
    if (server->discarded) {
        statement_forget_server(server);
        sequences_discarded(server);
    }
    weir_profile_unref(server->settings);
    server->settings = weir_profile_empty(server->router->profiles);
    server->dirt = 0;
    pins_set(server, 0);
}

void settling_go_on(struct server *server)
{
    const struct weir_pool_settings *settings = &server->destination->settings;
    /* A COPY that began when its client had gone already: nobody sends the data. Nor the Sync that
     * only now turns out to be missing. */
    bool copying = server->copy == COPY_IN || server->copy == COPY_BOTH;
    bool open = server->replies.count == 0 && server->pipeline != PIPELINE_IDLE;
    if ((copying || open) && !close_batch(server)) {
        binding_lose_server(server, WEIR_REASON_CLEAN_FAILED);
        return;
    }
    if (server->replies.count > 0 || server->cancel != NULL)
        return;
    if (server->farewell || weir_buffer_length(&server->trouble) > 0) {
        /* An error of the drained batch is the lost client's; one of our own cleaning is not. */
        bool ours = server->clean_step != CLEAN_DRAIN;
        weir_buffer_clear(&server->trouble);
        if (server->farewell || ours) {
            binding_lose_server(server, WEIR_REASON_CLEAN_FAILED);
            return;
        }
    }
    bool sent = true;
    bool session = settings->pool_mode == WEIR_POOL_SESSION;
    switch (server->clean_step) {
    case CLEAN_DRAIN:
        server->clean_step = CLEAN_ROLLBACK;
        if (server->status != 'I') {
            sent = send_query(server, "ROLLBACK", PURPOSE_ROLLBACK);
            break;
        }
        __attribute__((fallthrough));
    case CLEAN_ROLLBACK:
        server->clean_step = CLEAN_ASK;
        if (server->status != 'I') {
            binding_lose_server(server, WEIR_REASON_CLEAN_FAILED);
            return;
        }
        __attribute__((fallthrough));
    case CLEAN_ASK:
        if (!session && (server->dirt & DIRT_STATE) == 0 && server->pins == 0 &&
            server->dirt & DIRT_ASK) {
            settings_ask(server); /* again, perhaps, without a name that may not be asked for */
            return;
        }
        server->clean_step = CLEAN_RESET;
        if ((session || settings->server_reset_query_always) &&
            settings->server_reset_query[0] != '\0') {
            sent = send_query(server, settings->server_reset_query, PURPOSE_RESET);
            break;
        }
        if (server->dirt & DIRT_STATE || server->pins != 0 || (session && server->dirt != 0)) {
            server->discarded = true;
            sent = send_query(server, "DISCARD ALL", PURPOSE_RESET);
            break;
        }
        server->clean_step = CLEAN_DRAIN;
        finish(server);
        return;
    case CLEAN_RESET:
        server->clean_step = CLEAN_RESTORE;
        after_reset(server);
        if (server->initial != NULL && settings_lack_initial(server)) {
            sent = settings_restore(server);
            break;
        }
        __attribute__((fallthrough));
    case CLEAN_RESTORE:
        server->clean_step = CLEAN_DRAIN;
        finish(server);
        return;
    }
    if (!sent)
        binding_lose_server(server, WEIR_REASON_CLEAN_FAILED);
}
