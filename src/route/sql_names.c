/* SQL's PREPARE, EXECUTE and DEALLOCATE share the namespace of the protocol's statements. */
#include <stdlib.h>
#include <string.h>

#include "router.h"
#include "sql_text.h"
#include "statement.h"

/* Puts the named statement on the server under the client's own name. Outside of a batch a Sync keeps
 * an error of ours away from what follows; inside of one the error is the client's anyhow. */
static void materialise(struct client *client, struct client_statement *named)
{
    struct server *server = client->server;
    bool batch = server->pipeline == PIPELINE_BATCH;
    prepared_emit_parse(server, named->name, named->statement->body, named->statement->length);
    server_expect(server, REPLY_PARSE, batch ? REPLY_SWALLOW_SUCCESS : REPLY_SWALLOW,
                  PURPOSE_MATERIALISE, named);
    if (!batch) {
        static const uint8_t sync[] = {'S', 0, 0, 0, 4};
        gather_copy(&client->router->to_server, sync, sizeof(sync));
        server_expect(server, REPLY_SYNC, REPLY_SWALLOW, PURPOSE_MATERIALISE, NULL);
    }
    named->materialised = true;
    named->referred = true;
    server->sql_prepared++;
    pins_set(server, server->pins | PIN_SQL_PREPARED);
    server->dirt |= DIRT_STATE;
}

enum step statement_sql(struct client *client, const char *text, size_t length)
{
    struct server *server = client->server;
    char name[256] = "";
    enum sql_use use = sql_read(text, length, name, sizeof(name));
    if (use == SQL_NOTHING || !statement_is_renamed(server))
        return STEP_MORE;
    /* Whether what was sent before has failed decides whether this is executed, and with which names. */
    if (server->replies.count > 0 &&
        (server->pipeline == PIPELINE_BATCH || server->names_in_doubt || server->status == 'E'))
        return statement_hold(client);
    if (server->status == 'E')
        return STEP_MORE;
    if (use != SQL_USES)
        server->names_in_doubt = true;
    struct client_statement *named = statement_find_name(client, name, strlen(name));
    client->deallocating = use == SQL_DEALLOCATES ? named : NULL;
    if (named != NULL && !named->materialised)
        materialise(client, named);
    return STEP_MORE;
}

void statement_on_deallocate(struct server *server)
{
    struct client *client = server->client;
    if (client != NULL && client->deallocating != NULL) {
        statement_remove_name(client, client->deallocating);
        client->deallocating = NULL;
    }
    if (server->sql_prepared > 0 && --server->sql_prepared == 0)
        pins_set(server, server->pins & ~(unsigned)PIN_SQL_PREPARED);
}

/* Only what was answered before is gone: Parses later in the same batch survive. */
void statement_on_deallocate_all(struct server *server)
{
    struct prepared *copy, *next_copy;
    HASH_ITER(hh, server->prepared, copy, next_copy) {
        if (copy->confirmed)
            prepared_retire(server, copy);
    }
    server->sql_prepared = 0;
    pins_set(server, server->pins & ~(unsigned)PIN_SQL_PREPARED);
    struct client *client = server->client;
    if (client == NULL)
        return;
    client->deallocating = NULL;
    struct client_statement *named, *next_named;
    HASH_ITER(hh, client->statements, named, next_named) {
        if (named->confirmed)
            statement_remove_name(client, named);
    }
}
