#include "script.h"

#include "endpoint.h"

#include <stdlib.h>

static const char statement_name[] = "bench";

static void append_parse(struct bench_bytes *out, const char *name, const char *query)
{
    size_t mark = bench_message_begin(out, 'P');
    bench_message_string(out, name);
    bench_message_string(out, query);
    bench_message_u16(out, 0);
    bench_message_end(out, mark);
}

/* The batch that libpq sends to run a statement: Bind, Describe, Execute, Sync. */
static void append_run(struct bench_bytes *out, const char *name)
{
    size_t mark = bench_message_begin(out, 'B');
    bench_message_string(out, ""); /* portal */
    bench_message_string(out, name);
    bench_message_u16(out, 0); /* parameter formats */
    bench_message_u16(out, 0); /* parameters */
    bench_message_u16(out, 0); /* result formats */
    bench_message_end(out, mark);
    mark = bench_message_begin(out, 'D');
    bench_message_u8(out, 'P');
    bench_message_string(out, "");
    bench_message_end(out, mark);
    mark = bench_message_begin(out, 'E');
    bench_message_string(out, "");
    bench_message_u32(out, 0);
    bench_message_end(out, mark);
    bench_message_empty(out, 'S');
}

static void append_copy_data(struct bench_bytes *out, uint64_t rows)
{
    char row[SCRIPT_COPY_ROW];
    memset(row, 'x', sizeof row);
    row[sizeof row - 1] = '\n';
    for (uint64_t i = 0; i < rows; i++) {
        size_t mark = bench_message_begin(out, 'd');
        bench_bytes_append(out, row, sizeof row);
        bench_message_end(out, mark);
    }
    bench_message_empty(out, 'c');
}

static struct script_step *add_step(struct script *script, uint64_t rows, char status)
{
    struct script_step *step = &script->steps[script->count++];
    step->rows = rows;
    step->tags = 1;
    step->status = status;
    return step;
}

static void add_query(struct script *script, const char *query, uint64_t rows, char status)
{
    bench_message_text(&add_step(script, rows, status)->bytes, 'Q', query);
}

bool script_build(struct script *script, const char *mode, const char *query, uint64_t rows)
{
    *script = (struct script){0};
    if (strcmp(mode, "simple") == 0) {
        add_query(script, query, rows, 'I');
    } else if (strcmp(mode, "extended") == 0) {
        struct script_step *step = add_step(script, rows, 'I');
        append_parse(&step->bytes, "", query);
        append_run(&step->bytes, "");
    } else if (strcmp(mode, "prepared") == 0) {
        script->setup.status = 'I';
        append_parse(&script->setup.bytes, statement_name, query);
        bench_message_empty(&script->setup.bytes, 'S');
        append_run(&add_step(script, rows, 'I')->bytes, statement_name);
    } else if (strcmp(mode, "transaction") == 0) {
        add_query(script, "begin", 0, 'T');
        add_query(script, query, rows, 'T');
        add_query(script, "commit", 0, 'I');
    } else if (strcmp(mode, "copy-in") == 0) {
        add_query(script, query, 0, 'I');
        append_copy_data(&script->steps[0].bytes, rows);
    } else {
        return false;
    }
    return true;
}
