/* The statement that a server connection runs, or ran last: the beginning of its text.
 *
 * A copy costs little, and only up to track_statements bytes are copied (log_query_length when slow
 * statements are logged, if that is more). A prepared statement is referred to instead: its text is
 * in the dictionary and stays there as long as it is referred to. */
#include <stdlib.h>
#include <string.h>

#include "router.h"
#include "statement.h"

static size_t larger(size_t left, size_t right)
{
    return left > right ? left : right;
}

static size_t limit_of(const struct server *server)
{
    const struct weir_conf *conf = server->router->conf;
    bool logged = server->destination->settings.log_slow_queries > 0;
    return logged ? larger(conf->track_statements, conf->log_query_length) : conf->track_statements;
}

void running_forget(struct server *server)
{
    server->text_length = 0;
    server->text_room = server->text_capacity;
    if (server->text_of == NULL)
        return;
    statement_unref(server->router, server->text_of);
    server->text_of = NULL;
}

void running_note_slowly(struct server *server, const uint8_t *text, size_t length)
{
    size_t limit = limit_of(server);
    running_forget(server);
    if (length >= server->text_capacity && limit > server->text_capacity) {
        free(server->text);
        server->text = weir_alloc(limit);
        server->text_capacity = (uint32_t)limit;
        server->text_room = (uint32_t)limit;
    }
    if (length > limit)
        length = limit;
    if (length > 0)
        memcpy(server->text, text, length);
    server->text_length = (uint32_t)length;
}

void running_refer_to(struct server *server, struct statement *statement)
{
    if (limit_of(server) > 0)
        statement_ref(statement);
    running_forget(server);
    if (limit_of(server) == 0)
        return;
    server->text_of = statement;
    server->text_room = 0;
}

void running_text(const struct server *server, const char **text, size_t *length)
{
    if (server->text_of != NULL) {
        *text = (const char *)server->text_of->body;
        *length = strnlen(*text, limit_of(server));
        return;
    }
    *text = server->text;
    *length = server->text_length;
}
