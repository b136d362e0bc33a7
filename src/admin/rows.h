/* Rows of a result as DataRow messages, in text or binary as the client asked. */
#ifndef WEIR_ADMIN_ROWS_H
#define WEIR_ADMIN_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "command.h"
#include "weir/wire.h"

/* The format codes of a Bind: none is all text, one is for all columns. */
struct formats {
    const uint16_t *codes;
    size_t count;
};
uint16_t formats_of(const struct formats *formats, size_t column);

struct rows {
    struct weir_writer writer;
    const struct column *columns;
    size_t column_count;
    struct formats formats;
    size_t next; /* column */
    size_t begin;
    uint64_t count;
};

void rows_begin(struct rows *rows);
/* The columns in their order; NULL is null. */
void rows_text(struct rows *rows, const char *text);
void rows_bytes(struct rows *rows, const char *text, size_t length);
void rows_null(struct rows *rows);
/* By the column's type; what does not fit into an int4 is its largest value. */
void rows_number(struct rows *rows, int64_t value);
void rows_yes_no(struct rows *rows, bool value);
/* "2026-01-31 12:00:00 UTC" from microseconds since 1970; 0 is null. */
void rows_instant(struct rows *rows, int64_t usec);
/* All columns must have been given. */
void rows_end(struct rows *rows);

void rows_write_description(struct weir_writer *writer, const struct column *columns, size_t count,
                            const struct formats *formats);

#endif
