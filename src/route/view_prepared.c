/* Prepared texts for the operator. */
#include <string.h>

#include "router.h"
#include "statement.h"
#include "view.h"
#include "weir/view.h"

const struct client_statement *view_named(const struct client *client, const char *name,
                                          size_t length)
{
    return length == 0 ? client->unnamed : statement_find_name(client, name, length);
}

/* The dictionary is walked in the order in which texts came into it, which is that of their ids: the
 * last one told is the place to go on from. */
bool weir_view_prepared_some(const struct weir_router *router, uint64_t *at, size_t limit,
                             void (*each)(void *context, const struct weir_view_prepared *row),
                             void *context)
{
    const struct statement *statement, *next;
    HASH_ITER(hh, router->statements, statement, next) {
        /* An unnamed one, or one that is only remembered as what ran last. */
        if (statement->id <= *at || (statement->clients == 0 && statement->servers == 0))
            continue;
        if (limit-- == 0)
            return true;
        *at = statement->id;
        each(context, &(struct weir_view_prepared){
                          .text = (const char *)statement->body,
                          .length = strnlen((const char *)statement->body, statement->length),
                          .id = statement->id,
                          .clients = (int)statement->clients,
                          .servers = (int)statement->servers,
                          .binds = statement->binds,
                      });
    }
    return false;
}
