/* The dictionary of statements, and the names that each client has for them. */
#include <stdlib.h>
#include <string.h>

#include "router.h"
#include "sql_text.h"
#include "statement.h"

/* --- the dictionary -------------------------------------------------------------------- */

/* The same text means something else under another search_path: that is part of the key. */
struct statement *statement_get(struct weir_router *router, const uint8_t *body, size_t length,
                                const char *search_path)
{
    size_t path_length = strlen(search_path), key_length = length + path_length;
    struct statement *fresh = weir_alloc(sizeof(*fresh) + key_length);
    struct statement *known;
    memcpy(fresh->body, body, length);
    memcpy(fresh->body + length, search_path, path_length);
    HASH_FIND(hh, router->statements, fresh->body, key_length, known);
    if (known != NULL) {
        free(fresh);
        known->references++;
        return known;
    }
    fresh->length = (uint32_t)length;
    fresh->mentions = (uint8_t)sql_mentions(body, strnlen((const char *)body, length));
    fresh->print = sql_fingerprint(body, strnlen((const char *)body, length));
    fresh->references = 1;
    fresh->id = ++router->next_text;
    HASH_ADD_KEYPTR(hh, router->statements, fresh->body, key_length, fresh);
    return fresh;
}

struct statement *statement_ref(struct statement *statement)
{
    statement->references++;
    return statement;
}

void statement_unref(struct weir_router *router, struct statement *statement)
{
    weir_require(statement->references > 0);
    if (--statement->references > 0)
        return;
    /* An element of the table is there, so the table is: clang-tidy cannot know.
     * NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
    HASH_DEL(router->statements, statement);
    free(statement);
}

/* --- a client's names ------------------------------------------------------------------ */

/* PostgreSQL tells names apart by their first NAMEDATALEN - 1 bytes. */
#define NAME_SIGNIFICANT 63

static size_t significant(size_t length)
{
    return length < NAME_SIGNIFICANT ? length : NAME_SIGNIFICANT;
}

struct client_statement *statement_find_name(const struct client *client, const char *name,
                                             size_t length)
{
    struct client_statement *named;
    length = significant(length);
    HASH_FIND(hh, client->statements, name, length, named);
    return named;
}

void statement_add_name(struct client *client, struct client_statement *named)
{
    HASH_ADD_KEYPTR(hh, client->statements, named->name, significant(strlen(named->name)), named);
}

void statement_free_name(struct weir_router *router, struct client_statement *named)
{
    named->statement->clients -= named->name[0] != '\0';
    statement_unref(router, named->statement);
    free(named);
}

/* Replies on their way that would have told something about the name have nobody to tell. */
static void forget_in_flight(struct client *client, const struct client_statement *named)
{
    if (client->deallocating == named)
        client->deallocating = NULL;
    if (!named->referred || client->server == NULL)
        return;
    struct reply_queue *queue = &client->server->replies;
    for (uint32_t i = 0; i < queue->count; i++) {
        struct reply *reply = reply_at(queue, i);
        if (reply->subject == named && reply->purpose != PURPOSE_NAMED_CLOSE) {
            reply->subject = NULL;
        }
    }
}

void statement_remove_name(struct client *client, struct client_statement *named)
{
    forget_in_flight(client, named);
    HASH_DEL(client->statements, named);
    statement_free_name(client->router, named);
}

struct client_statement *statement_make_name(struct client *client, const char *name,
                                             struct statement *statement)
{
    size_t length = strlen(name);
    struct client_statement *named = weir_alloc(sizeof(*named) + length + 1);
    memcpy(named->name, name, length + 1);
    named->statement = statement;
    statement->clients += length > 0;
    named->version = ++client->router->next_version;
    return named;
}

void statement_forget_unnamed(struct client *client)
{
    if (client->unnamed == NULL)
        return;
    forget_in_flight(client, client->unnamed);
    statement_free_name(client->router, client->unnamed);
    client->unnamed = NULL;
}

void statement_trim_unnamed(struct client *client)
{
    if (client->unnamed != NULL &&
        client->unnamed->statement->length > client->router->conf->client_memory_limit)
        statement_forget_unnamed(client);
}

void statement_forget_client(struct client *client)
{
    if (client->server != NULL) {
        struct reply_queue *queue = &client->server->replies;
        for (uint32_t i = 0; i < queue->count; i++) {
            struct reply *reply = reply_at(queue, i);
            if (reply->purpose == PURPOSE_NAMED_CLOSE && reply->subject != NULL)
                statement_free_name(client->router, reply->subject);
            if (reply->purpose == PURPOSE_NAMED_CLOSE || reply->purpose == PURPOSE_SHAPE ||
                reply->purpose == PURPOSE_MATERIALISE)
                reply->subject = NULL;
            if (reply->purpose == PURPOSE_NAMED_PARSE)
                reply->second = NULL;
            if (reply->purpose == PURPOSE_DUPLICATE || reply->purpose == PURPOSE_UNKNOWN) {
                free(reply->subject);
                reply->subject = NULL;
                reply->purpose = PURPOSE_CLIENT;
            }
        }
    }
    statement_forget_unnamed(client);
    client->deallocating = NULL;
    struct client_statement *named, *next;
    HASH_ITER(hh, client->statements, named, next) {
        statement_remove_name(client, named);
    }
}
