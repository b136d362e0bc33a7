/* What the answers to Parse, Bind, Describe and Close do to names and copies. */
#include <stdlib.h>
#include <string.h>

#include "router.h"
#include "statement.h"

void statement_on_success(struct server *server, const struct reply *reply)
{
    struct prepared *copy = reply->subject;
    struct client_statement *named = reply->second;
    switch (reply->purpose) {
    case PURPOSE_NAMED_PARSE:
        server->names_unanswered--;
        if (named != NULL)
            named->confirmed = true;
        copy->confirmed = true;
        break;
    case PURPOSE_STATEMENT:
        copy->confirmed = true;
        break;
    case PURPOSE_NAMED_CLOSE:
        server->names_unanswered--;
        named = reply->subject;
        if (named != NULL)
            statement_free_name(server->router, named);
        break;
    case PURPOSE_UNKNOWN:
    case PURPOSE_DUPLICATE:
        free(reply->subject);
        break;
    default:
        break;
    }
}

static void release_held(struct server *server)
{
    struct client *client = server->client;
    if (client == NULL || client->base.state != WEIR_CLIENT_HELD)
        return;
    weir_client_set_state(&client->base, WEIR_CLIENT_ACTIVE);
    weir_loop_defer(server->router->loop, &client->resume);
}

static bool is_live(const struct server *server, const struct prepared *copy)
{
    return prepared_find(server, copy->statement) == copy;
}

/* Newest first: each undoes what its message did when it was sent. */
void statement_on_dropped(struct server *server, const struct reply *reply)
{
    struct client *client = server->client;
    struct prepared *copy = reply->subject;
    struct client_statement *named = reply->second;
    switch (reply->purpose) {
    case PURPOSE_NAMED_PARSE:
        server->names_unanswered--;
        if (named != NULL && client != NULL)
            statement_remove_name(client, named);
        if (is_live(server, copy))
            prepared_retire(server, copy);
        break;
    case PURPOSE_STATEMENT:
        if (is_live(server, copy))
            prepared_retire(server, copy);
        break;
    case PURPOSE_NAMED_CLOSE:
        server->names_unanswered--;
        named = reply->subject;
        if (named != NULL && client != NULL)
            statement_add_name(client, named);
        else if (named != NULL)
            statement_free_name(server->router, named);
        break;
    case PURPOSE_CHECK:
    case PURPOSE_CHECK_UNNAMED:
        release_held(server);
        break;
    case PURPOSE_UNKNOWN:
    case PURPOSE_DUPLICATE:
        free(reply->subject);
        break;
    case PURPOSE_UNNAMED_PARSE:
        /* A later one may have taken its place already. */
        if (server->unnamed_version == reply->version)
            server->unnamed_version = 0;
        if (reply->action == REPLY_FORWARD && client != NULL && client->unnamed != NULL &&
            client->unnamed->version == reply->version)
            statement_forget_unnamed(client);
        break;
    case PURPOSE_MATERIALISE:
        named = reply->subject;
        if (named != NULL)
            named->materialised = false;
        break;
    case PURPOSE_EVICT:
        if (copy != NULL) {
            weir_list_remove(&copy->link);
            weir_list_push_back(&server->prepared_unclosed, &copy->link);
        }
        break;
    default:
        break;
    }
}

void statement_on_description(struct server *server, const struct reply *reply, const uint8_t *body,
                              size_t length)
{
    uint64_t columns = shape_of_columns(body, length);
    uint64_t shape = shape_of_statement(server->parameters, columns);
    struct prepared *copy = reply->subject;
    struct client_statement *named = reply->subject;
    switch (reply->purpose) {
    case PURPOSE_CHECK:
        copy->shape = shape;
        release_held(server);
        break;
    case PURPOSE_CHECK_UNNAMED:
        if (named != NULL)
            unnamed_compare(server, named, columns, shape);
        release_held(server);
        break;
    case PURPOSE_SHAPE:
        copy = reply->second;
        if (named != NULL)
            named->shape = shape;
        if (copy != NULL)
            copy->shape = shape;
        break;
    default:
        break;
    }
}

static const char *name_of_copy(const struct server *server, const char *private_name,
                                size_t length)
{
    for (const struct prepared *copy = server->prepared; copy != NULL; copy = copy->hh.next) {
        if (strlen(copy->name) != length || memcmp(copy->name, private_name, length) != 0)
            continue;
        const struct client_statement *named = server->client->statements;
        for (; named != NULL; named = named->hh.next)
            if (named->statement == copy->statement)
                return named->name;
    }
    return NULL;
}

char *statement_public_text(const struct server *server, const char *text)
{
    const char *start = strstr(text, "\"" PRIVATE_PREFIX);
    if (start == NULL || server->client == NULL)
        return NULL;
    start++;
    size_t length = strcspn(start, "\"");
    const char *name = name_of_copy(server, start, length);
    if (name == NULL)
        return NULL;
    return weir_format("%.*s%s%s", (int)(start - text), text, name, start + length);
}
