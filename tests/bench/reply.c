#include "reply.h"

#include "endpoint.h"

#include <ctype.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum {
    BUCKETS = 1024,
    TYPE_TEXT = 25,
    TYPE_INT4 = 23,
    COPY_BLOCK = 64 * 1024,
    WIDTH_LIMIT = 1 << 20,
};

static struct reply *buckets[BUCKETS];

static size_t bucket_of(const char *text)
{
    uint32_t hash = 2166136261U;
    for (const char *at = text; *at != '\0'; at++)
        hash = (hash ^ (unsigned char)*at) * 16777619U;
    return hash % BUCKETS;
}

static bool starts_with(const char *text, const char *word)
{
    return strncasecmp(text, word, strlen(word)) == 0;
}

/* The number that follows the given words in the text, or the fallback. */
static uint64_t number_after(const char *text, const char *words, uint64_t fallback)
{
    const char *found = strstr(text, words);
    return found == NULL ? fallback : strtoull(found + strlen(words), NULL, 10);
}

static uint16_t count_parameters(const char *text)
{
    unsigned long highest = 0;
    for (const char *at = strchr(text, '$'); at != NULL; at = strchr(at + 1, '$')) {
        unsigned long number = strtoul(at + 1, NULL, 10);
        if (number > highest && number <= UINT16_MAX)
            highest = number;
    }
    return (uint16_t)highest;
}

static void describe_column(struct bench_bytes *out, const char *name, uint32_t type, uint16_t size)
{
    size_t mark = bench_message_begin(out, 'T');
    bench_message_u16(out, 1);
    bench_message_string(out, name);
    bench_message_u32(out, 0); /* table */
    bench_message_u16(out, 0); /* column of it */
    bench_message_u32(out, type);
    bench_message_u16(out, size);
    bench_message_u32(out, UINT32_MAX); /* type modifier */
    bench_message_u16(out, 0);          /* text format */
    bench_message_end(out, mark);
}

static void open_copy(struct bench_bytes *out, char type)
{
    size_t mark = bench_message_begin(out, type);
    bench_message_u8(out, 0);
    bench_message_u16(out, 1);
    bench_message_u16(out, 0);
    bench_message_end(out, mark);
}

static void append_value_row(struct bench_bytes *out, const char *value, size_t size)
{
    size_t mark = bench_message_begin(out, 'D');
    bench_message_u16(out, 1);
    bench_message_u32(out, (uint32_t)size);
    bench_bytes_append(out, value, size);
    bench_message_end(out, mark);
}

static void append_tag(struct bench_bytes *out, const char *word, uint64_t rows)
{
    char tag[64];
    (void)snprintf(tag, sizeof tag, "%s %llu", word, (unsigned long long)rows);
    bench_message_text(out, 'C', tag);
}

static char *filled(size_t width)
{
    char *value = bench_allocate(width + 1);
    memset(value, 'x', width);
    return value;
}

static void lay_out_rows(struct reply *reply, uint64_t rows, uint64_t width)
{
    reply->kind = REPLY_ROWS;
    char *value = filled(width);
    describe_column(&reply->description, "repeat", TYPE_TEXT, UINT16_MAX);
    for (uint64_t row = 0; row < rows; row++)
        append_value_row(&reply->body, value, width);
    append_tag(&reply->body, "SELECT", rows);
    free(value);
}

static void lay_out_single(struct reply *reply)
{
    reply->kind = REPLY_ROWS;
    describe_column(&reply->description, "?column?", TYPE_INT4, 4);
    append_value_row(&reply->body, "1", 1);
    append_tag(&reply->body, "SELECT", 1);
}

static void lay_out_copy_out(struct reply *reply, uint64_t rows, uint64_t width)
{
    reply->kind = REPLY_COPY_OUT;
    reply->copy_rows = rows;
    open_copy(&reply->description, 'H');
    char *value = filled(width);
    value[width] = '\n';
    do {
        size_t mark = bench_message_begin(&reply->body, 'd');
        bench_bytes_append(&reply->body, value, width + 1);
        bench_message_end(&reply->body, mark);
        reply->block_rows++;
    } while (bench_bytes_held(&reply->body) < COPY_BLOCK);
    free(value);
}

static void lay_out_command(struct reply *reply)
{
    char word[32] = "";
    for (size_t at = 0; at + 1 < sizeof word && isalpha((unsigned char)reply->text[at]); at++)
        word[at] = (char)toupper((unsigned char)reply->text[at]);
    if (strcmp(word, "BEGIN") == 0 || strcmp(word, "START") == 0)
        reply->status = 'T';
    else if (strcmp(word, "COMMIT") == 0 || strcmp(word, "ROLLBACK") == 0)
        reply->status = 'I';
    reply->kind = word[0] == '\0' ? REPLY_EMPTY : REPLY_COMMAND;
    bench_message_empty(&reply->description, 'n');
    if (reply->kind == REPLY_EMPTY)
        bench_message_empty(&reply->body, 'I');
    else
        bench_message_text(&reply->body, 'C', word);
}

static void lay_out(struct reply *reply)
{
    const char *text = reply->text;
    uint64_t rows = number_after(text, "generate_series(1, ", 1);
    uint64_t width = number_after(text, "repeat('x', ", 1);
    if (width > WIDTH_LIMIT)
        errx(1, "value too wide: %s", text);
    reply->parameters = count_parameters(text);
    if (starts_with(text, "copy") && strstr(text, "to stdout") != NULL) {
        lay_out_copy_out(reply, rows, width);
    } else if (starts_with(text, "copy")) {
        reply->kind = REPLY_COPY_IN;
        open_copy(&reply->description, 'G');
    } else if (starts_with(text, "select") && strstr(text, "generate_series") != NULL) {
        lay_out_rows(reply, rows, width);
    } else if (starts_with(text, "select")) {
        lay_out_single(reply);
    } else {
        lay_out_command(reply);
    }
}

const struct reply *reply_for(const char *text)
{
    struct reply **bucket = &buckets[bucket_of(text)];
    for (struct reply *known = *bucket; known != NULL; known = known->next)
        if (strcmp(known->text, text) == 0)
            return known;
    struct reply *reply = bench_allocate(sizeof *reply);
    reply->text = strdup(text);
    if (reply->text == NULL)
        err(1, "out of memory");
    lay_out(reply);
    reply->next = *bucket;
    *bucket = reply;
    return reply;
}
