/* Private to the files about prepared statements: names.c, prepared.c, statement.c, answers.c,
 * sql_names.c, unnamed.c, shape.c. */
#ifndef WEIR_ROUTE_STATEMENT_H
#define WEIR_ROUTE_STATEMENT_H

#include "router.h"

/* Private names begin so. */
#define PRIVATE_PREFIX "pgweir."

/* --- names.c --------------------------------------------------------------------------- */

/* Finds or adds; one reference more. The same text under another search_path is another one. */
struct statement *statement_get(struct weir_router *router, const uint8_t *body, size_t length,
                                const char *search_path);
struct statement *statement_ref(struct statement *statement);
void statement_unref(struct weir_router *router, struct statement *statement);
struct client_statement *statement_find_name(const struct client *client, const char *name,
                                             size_t length);
/* Takes over the reference to `statement`; the name is in the namespace only after add. */
struct client_statement *statement_make_name(struct client *client, const char *name,
                                             struct statement *statement);
void statement_add_name(struct client *client, struct client_statement *named);
/* Out of the namespace and freed; replies on their way forget it. */
void statement_remove_name(struct client *client, struct client_statement *named);
/* Of one that is out of the namespace already. */
void statement_free_name(struct weir_router *router, struct client_statement *named);

/* --- shape.c --------------------------------------------------------------------------- */

/* Digests of what PostgreSQL compares before it says "cached plan must not change result type".
 * None is ever 0. `body` is that of the message, for NoData of length 0. */
uint64_t shape_of_parameters(const uint8_t *body, size_t length);
uint64_t shape_of_columns(const uint8_t *body, size_t length);
/* Of both. */
uint64_t shape_of_statement(uint64_t parameters, uint64_t columns);

/* --- unnamed.c ------------------------------------------------------------------------- */

/* What a Bind or Describe should use. */
enum use {
    USE_COPY,    /* what the server has */
    USE_HELD,    /* a comparison was asked for: the client is held, the message comes again */
    USE_REFUSED, /* described otherwise than the client was told */
};

enum step unnamed_parse(struct client *client, const uint8_t *message, uint32_t total);
/* Puts it on the server when it is not there. Also when the client has none: then the server has
 * none, either. */
enum use unnamed_find_use(struct client *client);
/* A Bind of it goes out, to the unnamed portal or another one. */
void unnamed_bound(struct client *client, bool unnamed_portal);
/* A Describe of it goes out. */
void unnamed_expect_shape(struct client *client, enum reply_action action);
/* The portal that it was bound to is described: the reply is the last of the queue. */
void unnamed_portal_described(struct client *client);
/* The answer to that, `unnamed` is NULL when the client has forgotten it. */
void unnamed_learn_columns(struct client_statement *unnamed, const uint8_t *body, size_t length);
/* What was asked for to compare is there. */
void unnamed_compare(struct server *server, struct client_statement *unnamed, uint64_t columns,
                     uint64_t shape);

/* --- prepared.c ------------------------------------------------------------------------ */

struct prepared *prepared_find(const struct server *server, const struct statement *statement);
/* Most recently used, and not to be evicted within this binding. */
void prepared_use(struct server *server, struct prepared *copy);
/* Nobody finds it any more; freed at rest. */
void prepared_retire(struct server *server, struct prepared *copy);
/* A new copy in place of an older one; the caller emits its Parse. May emit Close of others. */
struct prepared *prepared_make(struct server *server, struct statement *statement,
                               uint64_t version);
void prepared_emit_parse(struct server *server, const char *name, const uint8_t *body,
                         size_t length);
void prepared_emit_describe(struct server *server, const char *name);
void prepared_emit_close(struct server *server, const char *name);
void prepared_emit_flush(struct server *server);

/* --- statement.c ----------------------------------------------------------------------- */

/* Names of this server's clients are replaced by private ones. */
bool statement_is_renamed(const struct server *server);
/* The client waits until everything it sent has been answered. */
enum step statement_hold(struct client *client);

#endif
