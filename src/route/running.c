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
    if (server->text_of == NULL)
        return;
    statement_unref(server->router, server->text_of);
    server->text_of = NULL;
}

static void make_room(struct server *server, size_t limit)
{
    free(server->text);
    server->text = weir_alloc(limit);
    server->text_room = (uint32_t)limit;
}

void running_note(struct server *server, const uint8_t *text, size_t length)
{
    size_t limit = limit_of(server);
    if (server->text_of != NULL)
        running_forget(server);
    if (length > limit)
        length = limit;
    if (__builtin_expect(length > server->text_room, 0))
        make_room(server, limit);
    if (length > 0)
        memcpy(server->text, text, length);
    server->text_length = (uint32_t)length;
}

void running_refer_to(struct server *server, struct statement *statement)
{
    if (limit_of(server) == 0) {
        running_forget(server);
        return;
    }
    statement_ref(statement);
    running_forget(server);
    server->text_of = statement;
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
