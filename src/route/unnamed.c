/* The unnamed statement. A client that keeps it over transactions finds it on whatever server
 * connection it gets: it is prepared there again, and when the client knows its description that is
 * compared before anything else happens, as PostgreSQL does when it analyses a statement again. What
 * the client knows is
 *
 *   - what its own Describe of the statement, or of the portal that was bound to it, was answered;
 *   - else what it would have been answered: a statement that is neither described nor bound in the
 *     batch of its Parse is meant for later, and is described by us at the end of that batch;
 *   - nothing, when it was bound in its own batch without being described. Asking then would burden
 *     everybody for the few who bind such a statement a second time. A client that does is asked for
 *     from then on.
 *
 * On the server connection where the client parsed it PostgreSQL compares by itself. */
#include <string.h>

#include "router.h"
#include "sql_text.h"
#include "state.h"
#include "statement.h"

enum step unnamed_parse(struct client *client, const uint8_t *message, uint32_t total)
{
    struct server *server = client->server;
    const uint8_t *body = message + WEIR_WIRE_HEADER + 1;
    size_t length = total - WEIR_WIRE_HEADER - 1;
    struct client_statement *unnamed = client->unnamed;
    /* Replies on their way tell of the statement as it was. */
    bool usable = unnamed != NULL && (!unnamed->referred || server->replies.count == 0);
    /* The text is kept so that a later Bind on another server connection finds it again. */
    if (!usable || unnamed->statement->length != length ||
        memcmp(unnamed->statement->body, body, length) != 0) {
        statement_forget_unnamed(client);
        unnamed = statement_make_name(client, "", statement_get(client->router, body, length, ""));
        client->unnamed = unnamed;
    } else {
        unnamed->version = ++client->router->next_version;
        unnamed->shape = 0;
        unnamed->columns = 0;
        unnamed->referred = false;
    }
    if (__builtin_expect(unnamed->statement->mentions & SQL_CURRENT, 0))
        sequences_asked(server);
    client->unnamed_pending = true;
    server->portal_of_unnamed = false;
    server->unnamed_version = unnamed->version;
    server_expect(server, REPLY_PARSE, REPLY_FORWARD, PURPOSE_UNNAMED_PARSE, NULL);
    reply_at(&server->replies, server->replies.count - 1)->version = unnamed->version;
    gather_pass(&client->router->to_server, message, total);
    return STEP_MORE;
}

/* Whatever is on the server is another client's: it must not be found. */
static void clear(struct server *server)
{
    prepared_emit_close(server, "");
    server_expect(server, REPLY_CLOSE, REPLY_SWALLOW_SUCCESS, PURPOSE_CLIENT, NULL);
    server->unnamed_version = 0;
}

static void emit_parse(struct server *server, const struct client_statement *unnamed)
{
    prepared_emit_parse(server, "", unnamed->statement->body, unnamed->statement->length);
    server_expect(server, REPLY_PARSE, REPLY_SWALLOW_SUCCESS, PURPOSE_UNNAMED_PARSE, NULL);
    reply_at(&server->replies, server->replies.count - 1)->version = unnamed->version;
    server->unnamed_version = unnamed->version;
    server->unnamed_changed = false;
}

enum use unnamed_find_use(struct client *client)
{
    struct server *server = client->server;
    struct client_statement *unnamed = client->unnamed;
    if (unnamed == NULL) {
        clear(server);
        return USE_COPY;
    }
    if (server->unnamed_version == unnamed->version) {
        if (!server->unnamed_changed)
            return USE_COPY;
        /* It may have changed back by the next time. */
        server->unnamed_version = 0;
        server->unnamed_changed = false;
        return USE_REFUSED;
    }
    emit_parse(server, unnamed);
    if (unnamed->shape == 0 && unnamed->columns == 0) {
        client->keeps_unnamed = true;
        client->unnamed_pending = true;
        return USE_COPY;
    }
    prepared_emit_describe(server, "");
    prepared_emit_flush(server);
    server_expect(server, REPLY_DESCRIBE_STATEMENT, REPLY_SWALLOW_SUCCESS, PURPOSE_CHECK_UNNAMED,
                  unnamed);
    unnamed->referred = true;
    weir_client_set_state(&client->base, WEIR_CLIENT_HELD);
    return USE_HELD;
}

void unnamed_bound(struct client *client, bool unnamed_portal)
{
    if (!unnamed_portal)
        return; /* which portal a later Describe means is not kept: the statement is asked for */
    client->server->portal_of_unnamed = true;
    if (!client->keeps_unnamed)
        client->unnamed_pending = false;
}

void unnamed_expect_shape(struct client *client, enum reply_action action)
{
    struct client_statement *unnamed = client->unnamed;
    client->unnamed_pending = false;
    server_expect(client->server, REPLY_DESCRIBE_STATEMENT, action,
                  unnamed != NULL ? PURPOSE_SHAPE : PURPOSE_CLIENT, unnamed);
    if (unnamed != NULL)
        unnamed->referred = true;
}

void unnamed_describe_pending(struct client *client)
{
    struct server *server = client->server;
    const struct client_statement *unnamed = client->unnamed;
    client->unnamed_pending = false;
    /* In a failed transaction the Describe would fail and the error be the client's. */
    if (unnamed == NULL || unnamed->shape != 0 || server->unnamed_version != unnamed->version ||
        server->pipeline == PIPELINE_SKIPPING || server->status == 'E')
        return;
    prepared_emit_describe(server, "");
    unnamed_expect_shape(client, REPLY_SWALLOW_SUCCESS);
}

void unnamed_portal_described(struct client *client)
{
    struct server *server = client->server;
    struct client_statement *unnamed = client->unnamed;
    if (unnamed == NULL || unnamed->shape != 0 || unnamed->columns != 0)
        return;
    struct reply *reply = reply_at(&server->replies, server->replies.count - 1);
    reply->purpose = PURPOSE_PORTAL_SHAPE;
    reply->subject = unnamed;
    unnamed->referred = true;
}

void unnamed_learn_columns(struct client_statement *unnamed, const uint8_t *body, size_t length)
{
    if (unnamed != NULL)
        unnamed->columns = shape_of_columns(body, length);
}

void unnamed_compare(struct server *server, struct client_statement *unnamed, uint64_t columns,
                     uint64_t shape)
{
    server->unnamed_changed =
        unnamed->shape != 0 ? unnamed->shape != shape : unnamed->columns != columns;
}
