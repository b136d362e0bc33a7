/* What currval and lastval go by: the values that a session has taken of sequences. Nearly every INSERT
 * takes one while hardly any application asks for it in a later transaction. So clients keep their
 * connection for it only where it matters: from the moment on when a client of the pool asks. What that
 * very client took in an earlier transaction is out of reach then; it gets PostgreSQL's own error (55000),
 * never the value of another client. Texts and tags tell of most values that are taken; whether functions
 * have taken some is asked, with the question for other state: lastval() is an error when there is none. */
#include <string.h>

#include "router.h"
#include "state.h"

static bool are_followed(const struct server *server)
{
    const struct weir_pool_settings *settings = &server->destination->settings;
    return settings->pool_mode != WEIR_POOL_SESSION &&
           settings->state_sequence != WEIR_SEQUENCE_ALLOW && !(server->pins & PIN_REPLICATION);
}

bool sequences_matter(const struct server *server)
{
    return (server->destination->sequences_matter ||
            server->destination->settings.state_sequence == WEIR_SEQUENCE_PIN) &&
           are_followed(server);
}

static void keep_connection(struct server *server)
{
    pins_set(server, server->pins | PIN_SEQUENCE);
    server->dirt |= DIRT_STATE;
}

void sequences_taken(struct server *server)
{
    server->sequences = true;
    if (sequences_matter(server) && server->client != NULL)
        keep_connection(server);
}

void sequences_discarded(struct server *server)
{
    server->sequences = false;
    pins_set(server, server->pins & ~(unsigned)PIN_SEQUENCE);
}

/* Other connections have values of whoever had them last, taken in functions perhaps. */
static void begin_to_matter(struct server *server)
{
    struct destination *destination = server->destination;
    destination->sequences_matter = true;
    struct weir_log_who who;
    char peer[128];
    router_who_server(server, &who, peer, sizeof(peer));
    weir_log_info(
        &who, "sequences",
        "a client has used currval or lastval: from now on clients of this pool that take "
        "values of sequences keep their server connection (state_sequence)");
    weir_list_for(link, &destination->servers) {
        struct server *other = weir_container_of(link, struct server, link);
        if (other != server)
            other->slot.close_asked = true;
    }
    /* Of texts that leave nothing else behind it is not known whether they take values. */
    effects_forget(destination);
    server->sequences = true;
}

/* Only before anything else of the client: what it takes itself in this transaction must stay. */
static void discard_others(struct server *server)
{
    static const char sql[] = "DISCARD SEQUENCES";
    if (!server->sequences || server->pins & PIN_SEQUENCE || server->replies.count > 0 ||
        server->status != 'I' || server->pipeline != PIPELINE_IDLE || server->answered > 0)
        return;
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    weir_write_query(&writer, sql);
    gather_copy(&server->router->to_server, weir_buffer_bytes(&out), weir_buffer_length(&out));
    weir_buffer_clear(&out);
    server->sequences = false;
    server->unnamed_version = 0;
    server_expect(server, REPLY_QUERY, REPLY_SWALLOW, PURPOSE_RESET, NULL);
}

void sequences_question(struct server *server)
{
    static const char sql[] = "SELECT pg_catalog.lastval()";
    if (!sequences_matter(server) || server->pins & PIN_SEQUENCE)
        return;
    if (server->client == NULL || server->sequences) {
        server->sequences = true; /* whoever asks for values next gets rid of them first */
        return;
    }
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    weir_write_query(&writer, sql);
    gather_copy(&server->router->to_server, weir_buffer_bytes(&out), weir_buffer_length(&out));
    weir_buffer_clear(&out);
    server_expect(server, REPLY_QUERY, REPLY_SWALLOW, PURPOSE_LASTVAL, NULL);
}

void sequences_on_answer(struct server *server)
{
    struct weir_error_fields fields = {0};
    bool failed = weir_buffer_length(&server->trouble) > 0;
    if (failed)
        weir_error_parse(weir_buffer_bytes(&server->trouble), weir_buffer_length(&server->trouble),
                         &fields);
    bool none = failed && fields.sqlstate != NULL && strcmp(fields.sqlstate, "55000") == 0;
    weir_buffer_clear(&server->trouble);
    if (none)
        return;
    server->sequences = true;
    server->pins_learned |= PIN_SEQUENCE;
}

void sequences_asked(struct server *server)
{
    if (!are_followed(server))
        return;
    if (!sequences_matter(server))
        begin_to_matter(server);
    discard_others(server);
}
