/* Private to the top room: one answer of the console, as text. */
#ifndef WEIR_TOP_GRID_H
#define WEIR_TOP_GRID_H

#include <stddef.h>

#include "weir/clock.h"

struct grid {
    size_t column_count, row_count;
    char **names;
    char **cells; /* row by row; NULL: null */
    weir_usec at; /* when it was answered */
};

/* Every cell is null. */
struct grid *grid_new(size_t column_count, size_t row_count);
void grid_free(struct grid *grid);
/* Takes a copy. */
void grid_name(struct grid *grid, size_t column, const char *name);
void grid_set(struct grid *grid, size_t row, size_t column, const char *text);

/* NULL for null, and for a column or a row that is not there. */
const char *grid_get(const struct grid *grid, size_t row, const char *column);
/* The same as a number; NAN where there is none. */
double grid_number(const struct grid *grid, size_t row, const char *column);
/* Sum over all rows; NAN when no row has a number. */
double grid_sum(const struct grid *grid, const char *column);
/* The value beside the key in a table of pairs, as SHOW LISTS is. */
const char *grid_pair(const struct grid *grid, const char *key_column, const char *key,
                      const char *value_column);

#endif
