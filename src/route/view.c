/* What the files of the view share, and the daemon as a whole. */
#include "weir/view.h"

#include <string.h>
#include <time.h>

#include "router.h"
#include "view.h"

int64_t view_wall_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * WEIR_SEC + now.tv_nsec / 1000;
}

int64_t view_wall(const struct weir_router *router, weir_usec instant)
{
    return instant == 0 ? 0 : instant + router->wall_offset;
}

const char *view_application_name(const struct weir_profile *settings)
{
    const char *name = settings == NULL ? NULL : weir_profile_value(settings, "application_name");
    return name == NULL ? "" : name;
}

void view_server_statement(const struct server *server, struct weir_view_statement *statement)
{
    *statement = (struct weir_view_statement){0};
    running_text(server, &statement->text, &statement->length);
    if (statement->length > server->router->conf->track_statements)
        statement->length = server->router->conf->track_statements;
    if (statement->length == 0)
        statement->text = NULL;
    const struct reply *head = reply_head(&server->replies);
    statement->running =
        server->phase == SERVER_BOUND && head != NULL && head->action != REPLY_SWALLOW;
    if (server->query_at > 0)
        statement->age = server->router->loop->now - server->query_at;
}

/* The text in a Query or Parse, the dictionary's for the Bind of a name. */
static const char *text_of_message(const struct client *client, const uint8_t *message, size_t have)
{
    const uint8_t *text = message + WEIR_WIRE_HEADER, *end = message + have;
    if (message[0] == 'P' || message[0] == 'B') {
        const uint8_t *first = memchr(text, '\0', (size_t)(end - text));
        if (first == NULL)
            return NULL;
        text = first + 1;
    }
    if (message[0] != 'B')
        return message[0] == 'Q' || message[0] == 'P' ? (const char *)text : NULL;
    const uint8_t *stop = memchr(text, '\0', (size_t)(end - text));
    const struct client_statement *named =
        stop == NULL ? NULL : view_named(client, (const char *)text, (size_t)(stop - text));
    return named == NULL ? NULL : (const char *)named->statement->body;
}

void view_client_statement(const struct client *client, struct weir_view_statement *statement)
{
    const struct weir_buffer *in = &client->base.stream.in;
    size_t limit = client->router->conf->track_statements;
    size_t have = weir_buffer_length(in);
    *statement = (struct weir_view_statement){.age = client->router->loop->now - client->since};
    if (limit == 0 || have <= WEIR_WIRE_HEADER || client->body_left > 0)
        return;
    const uint8_t *message = weir_buffer_bytes(in);
    size_t size = (size_t)weir_get_u32(message + 1) + 1;
    if (size < have)
        have = size;
    const char *text = have <= WEIR_WIRE_HEADER ? NULL : text_of_message(client, message, have);
    if (text == NULL)
        return;
    /* A text of the message ends with it, one of the dictionary with its own zero byte. */
    const char *end = (const char *)message + have;
    bool here = text >= (const char *)message && text <= end;
    if (here && (size_t)(end - text) < limit)
        limit = (size_t)(end - text);
    statement->length = strnlen(text, limit);
    statement->text = statement->length > 0 ? text : NULL;
}

/* --- the daemon ------------------------------------------------------------------------ */

static int count_links(const struct weir_list *list)
{
    int count = 0;
    weir_list_for(link, list)
        count++;
    return count;
}

static void count_one(void *context, const struct weir_view_user *row)
{
    (*(int *)context)++;
}

void weir_view_daemon(const struct weir_router *router, struct weir_view_daemon *row)
{
    const struct weir_loop *loop = router->loop;
    *row = (struct weir_view_daemon){
        .conf = router->conf,
        .counters = stats_counters(router),
        .latency = stats_latency(router),
        .turns = &loop->turn_lengths,
        .longest_turn = router->longest_ever,
        .uptime = loop->now - router->started_at,
        .started_at = router->wall_started_at,
        .reloaded_at = router->wall_reloaded_at,
        .reload_problem = router->reload_problem,
        .databases = (int)router->conf->database_count,
        .pools = (int)HASH_COUNT(router->destinations),
        .clients = router->places[PLACE_CLIENT],
        .clients_logging_in = count_links(&router->logging_in),
        .prepared_texts = (int)HASH_COUNT(router->statements),
        .draining = router->draining,
        .paused = router->paused,
        .suspended = router->suspended,
    };
    if (loop->longest_turn > row->longest_turn)
        row->longest_turn = loop->longest_turn;
    weir_view_users(router, count_one, &row->users);
    const struct destination *destination, *next;
    HASH_ITER(hh, router->destinations, destination, next)
        row->servers += count_links(&destination->servers);
}
