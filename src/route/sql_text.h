#ifndef WEIR_ROUTE_SQL_TEXT_H
#define WEIR_ROUTE_SQL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a text does to names of prepared statements. */
enum sql_use { SQL_NOTHING, SQL_USES, SQL_PREPARES, SQL_DEALLOCATES, SQL_DISCARDS };

/* `name` gets the name that the text begins with, folded as PostgreSQL does, cut to `size`. */
enum sql_use sql_read(const char *text, size_t length, char *name, size_t size);
/* The text may set, lock or create what outlives the transaction without a command tag for it. */
bool sql_mentions_state(const uint8_t *text, size_t length);

#endif
