/* Private to the top room: what one view shows. Made from an answer of the console and, for rates,
 * the answer before it; knows neither the console nor the terminal. */
#ifndef WEIR_TOP_TABLE_H
#define WEIR_TOP_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "grid.h"

enum kind {
    KIND_TEXT,
    KIND_COUNT,
    KIND_FLAG,      /* "yes", or nothing for 0 */
    KIND_USEC,      /* a duration */
    KIND_WAIT,      /* whole seconds in `name`, the microseconds behind them in `other` */
    KIND_RATE,      /* a second, from the difference of totals */
    KIND_BYTE_RATE, /* the same, of bytes */
    KIND_MEAN,      /* microseconds: the difference of `name` by the difference of `other` */
};

struct column {
    const char *title;
    const char *name; /* in the console's answer */
    enum kind kind;
    const char *other;
    const char *first; /* what rates and means show while there is no earlier answer */
};

#define COLUMNS_MAX 20
#define KEYS_MAX    3

struct layout {
    struct column columns[COLUMNS_MAX];     /* ends with one without title */
    const char *keys[KEYS_MAX];             /* what makes a row the same one in the next answer */
    const char *needs;                      /* rows where this is null or empty are left out */
    const char *database, *client;          /* what a key of the operator acts on; NULL: nothing */
    const char *paused, *failing, *waiting; /* columns that mark a row; NULL: none */
};

enum mark {
    MARK_WAITING = 1,
    MARK_PAUSED = 2,
    MARK_FAILING = 4,
};

struct cell {
    char *text;   /* safe for the terminal */
    double value; /* NAN: text, or nothing is known */
};

struct row {
    struct cell cells[COLUMNS_MAX];
    char *key;
    char *database, *client; /* as the console wrote them; NULL: none */
    unsigned marks;
    size_t order; /* of the answer */
};

struct table {
    const struct layout *layout;
    size_t column_count;
    struct row **rows; /* sorted; those that pass the filter come first */
    size_t row_count;  /* all of them */
    size_t shown;      /* that pass the filter */
    size_t widths[COLUMNS_MAX];
};

/* The former content goes. Widths only grow while the layout is the same, so that columns do not
 * jump. `before` may be NULL. */
void table_fill(struct table *table, const struct layout *layout, const struct grid *now,
                const struct grid *before, bool utf8);
/* What is unknown comes last either way; equal rows stay in the order of the answer. */
void table_sort(struct table *table, size_t column, bool descending);
/* Shows the rows in which a cell contains `part`, whatever the case; NULL or "": all. To be called
 * after table_sort, whose order it keeps. */
void table_filter(struct table *table, const char *part);
/* Where the shown row with this key is; `otherwise` when it is gone. */
size_t table_find(const struct table *table, const char *key, size_t otherwise);
void table_clear(struct table *table);

/* Lines as they are shown, without end of line. Numbers are flush right. */
void table_print_titles(const struct table *table, size_t sorted, bool descending, FILE *out);
void table_print_row(const struct table *table, size_t row, FILE *out);

/* Short forms: 12.3ms, 1h05m; 1.2M. In static memory of the caller. */
#define SHORT_MAX 32
void format_duration(char *text, double usec);
void format_amount(char *text, double amount);
/* A second between two answers; NAN when there is no earlier one, or the totals began anew. */
double rate_between(double now, double before, weir_usec elapsed);

#endif
