/* What texts leave behind in a session that neither they nor their command tags tell of: a function, a
 * trigger or a DO block may set, lock, prepare, listen or create temporary objects.
 *
 * PostgreSQL is the authority. After the first transaction with a text that the pool has not seen it is
 * asked (settings_ask), and what was found is remembered for the text's fingerprint: nothing, so a steady
 * workload pays nothing; or something, then it is asked each time. Every now and then a connection is
 * asked all the same. DDL that can change what a text does forgets everything. */
#ifndef WEIR_ROUTE_EFFECTS_H
#define WEIR_ROUTE_EFFECTS_H

#include <stdbool.h>
#include <stdint.h>

struct destination;
struct effects;
struct server;
struct statement;

/* So many unseen texts of one binding are remembered after its question; the others are asked after
 * once more. */
#define EFFECTS_UNSEEN 6

/* Of one binding. */
struct effects_unseen {
    uint64_t prints[EFFECTS_UNSEEN];
    uint8_t count;
    bool failed; /* something failed: what the texts do otherwise has not been seen */
};

void effects_free(struct effects *effects);
/* A text with this fingerprint (sql_fingerprint) is sent on the connection of a client. True: it is known
 * to leave nothing, or not looked after. */
bool effects_mind(struct server *server, uint64_t print);
/* Likewise, of the dictionary. */
bool effects_mind_statement(struct server *server, struct statement *statement);
/* The question has been answered; `left`: there is state that was not there before. */
void effects_learn(struct server *server, bool left);
/* It cannot be told what they left. */
void effects_forget_unseen(struct server *server);
/* What texts leave behind must be found out anew. */
void effects_forget(struct destination *destination);
/* A command tag tells of DDL after which texts may do something else. */
void effects_mind_ddl(struct server *server, const char *tag);
/* A transaction has ended that nothing need be asked about: is it this connection's turn? */
bool effects_take_sample(struct server *server);

#endif
