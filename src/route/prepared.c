/* What a server connection holds: statements under private names, least recently used first. */
#include <stdlib.h>
#include <string.h>

#include "router.h"
#include "statement.h"

struct prepared *prepared_find(const struct server *server, const struct statement *statement)
{
    struct prepared *copy;
    HASH_FIND_PTR(server->prepared, &statement, copy);
    return copy;
}

void prepared_use(struct server *server, struct prepared *copy)
{
    if (copy->binding == server->binding)
        return;
    copy->binding = server->binding;
    weir_list_remove(&copy->link);
    weir_list_push_back(&server->prepared_order, &copy->link);
}

/* Out of the map: nobody finds it any more. It is freed at rest, when no reply can refer to it. */
void prepared_retire(struct server *server, struct prepared *copy)
{
    HASH_DEL(server->prepared, copy);
    server->prepared_count--;
    copy->statement->servers--;
    weir_list_remove(&copy->link);
    weir_list_push_back(&server->prepared_dead, &copy->link);
}

/* Describe or Close of a statement; `name` is short or the client's own. */
static void emit_about(struct server *server, char type, const char *name)
{
    struct gather *out = &server->router->to_server;
    size_t name_size = strlen(name) + 1;
    uint8_t head[WEIR_WIRE_HEADER + 1];
    head[0] = (uint8_t)type;
    weir_put_u32(head + 1, (uint32_t)(5 + name_size));
    head[5] = 'S';
    gather_copy(out, head, sizeof(head));
    gather_copy(out, name, name_size);
}

void prepared_emit_close(struct server *server, const char *name)
{
    emit_about(server, 'C', name);
}

static void close_copy(struct server *server, struct prepared *copy)
{
    prepared_emit_close(server, copy->name);
    prepared_retire(server, copy);
    server_expect(server, REPLY_CLOSE, REPLY_SWALLOW_SUCCESS, PURPOSE_EVICT, copy);
}

/* Closes that an error made the server skip are sent again. */
static void close_unclosed(struct server *server)
{
    struct weir_list *link;
    while ((link = weir_list_pop(&server->prepared_unclosed)) != NULL) {
        struct prepared *copy = weir_container_of(link, struct prepared, link);
        weir_list_push_back(&server->prepared_dead, link);
        prepared_emit_close(server, copy->name);
        server_expect(server, REPLY_CLOSE, REPLY_SWALLOW_SUCCESS, PURPOSE_EVICT, copy);
    }
}

/* Room for one more. Statements that the present binding has used stay: they may be used again in
 * the batch that is open. */
static void evict(struct server *server)
{
    uint32_t limit = (uint32_t)server->destination->settings.max_prepared_statements;
    while (server->prepared_count >= limit) {
        struct weir_list *oldest = weir_list_first(&server->prepared_order);
        struct prepared *copy = weir_container_of(oldest, struct prepared, link);
        if (copy->binding == server->binding)
            return;
        server->destination->counters.statements_evicted++;
        close_copy(server, copy);
    }
}

static void print_name(char *name, uint64_t version)
{
    static const char digits[] = "0123456789abcdef";
    char reversed[16];
    int count = 0;
    do {
        reversed[count++] = digits[version & 15];
        version >>= 4;
    } while (version > 0);
    char *at = stpcpy(name, PRIVATE_PREFIX);
    while (count > 0)
        *at++ = reversed[--count];
    *at = '\0';
}

struct prepared *prepared_make(struct server *server, struct statement *statement, uint64_t version)
{
    struct prepared *old = prepared_find(server, statement);
    if (old != NULL)
        close_copy(server, old);
    close_unclosed(server);
    evict(server);
    struct prepared *copy = weir_alloc(sizeof(*copy));
    copy->statement = statement_ref(statement);
    copy->version = version;
    copy->binding = server->binding;
    print_name(copy->name, version);
    HASH_ADD_PTR(server->prepared, statement, copy);
    weir_list_push_back(&server->prepared_order, &copy->link);
    server->prepared_count++;
    statement->servers++;
    return copy;
}

void prepared_emit_parse(struct server *server, const char *name, const uint8_t *body,
                         size_t length)
{
    struct gather *out = &server->router->to_server;
    size_t name_size = strlen(name) + 1;
    uint8_t head[WEIR_WIRE_HEADER];
    head[0] = 'P';
    weir_put_u32(head + 1, (uint32_t)(4 + name_size + length));
    gather_copy(out, head, sizeof(head));
    gather_copy(out, name, name_size);
    gather_copy(out, body, length);
    server->destination->counters.server_parses++;
}

void prepared_emit_describe(struct server *server, const char *name)
{
    emit_about(server, 'D', name);
}

void prepared_emit_flush(struct server *server)
{
    static const uint8_t flush[] = {'H', 0, 0, 0, 4};
    gather_copy(&server->router->to_server, flush, sizeof(flush));
}

void statement_at_rest(struct server *server)
{
    struct weir_list *link;
    while ((link = weir_list_pop(&server->prepared_dead)) != NULL) {
        struct prepared *copy = weir_container_of(link, struct prepared, link);
        statement_unref(server->router, copy->statement);
        free(copy);
    }
}

void statement_forget_server(struct server *server)
{
    struct prepared *copy, *next;
    HASH_ITER(hh, server->prepared, copy, next) {
        prepared_retire(server, copy);
    }
    struct weir_list *link;
    while ((link = weir_list_pop(&server->prepared_unclosed)) != NULL)
        weir_list_push_back(&server->prepared_dead, link);
    statement_at_rest(server);
}
