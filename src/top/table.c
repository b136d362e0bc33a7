#include "table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "weir/memory.h"

/* The last column has what is left of the line, the others at most this. */
#define WIDTH_MAX 40

/* --- numbers ------------------------------------------------------------------------------- */

void format_duration(char *text, double usec)
{
    double seconds = usec / 1e6;
    if (usec < 1000)
        snprintf(text, SHORT_MAX, "%.0fus", usec);
    else if (usec < 1e6)
        snprintf(text, SHORT_MAX, "%.*fms", usec < 1e5 ? 1 : 0, usec / 1000);
    else if (seconds < 60)
        snprintf(text, SHORT_MAX, "%.1fs", floor(seconds * 10) / 10);
    else if (seconds < 3600)
        snprintf(text, SHORT_MAX, "%.0fm%02.0fs", floor(seconds / 60), floor(fmod(seconds, 60)));
    else if (seconds < 86400)
        snprintf(text, SHORT_MAX, "%.0fh%02.0fm", floor(seconds / 3600),
                 floor(fmod(seconds, 3600) / 60));
    else
        snprintf(text, SHORT_MAX, "%.0fd%02.0fh", floor(seconds / 86400),
                 floor(fmod(seconds, 86400) / 3600));
}

void format_amount(char *text, double amount)
{
    static const char units[] = " kMGTPE";
    size_t unit = 0;
    for (; amount >= 9999.5 && units[unit + 1] != '\0'; unit++)
        amount /= 1000;
    int digits = amount != 0 && amount < 99.95 ? 1 : 0;
    if (unit == 0)
        snprintf(text, SHORT_MAX, "%.*f", digits, amount);
    else
        snprintf(text, SHORT_MAX, "%.*f%c", digits, amount, units[unit]);
}

double rate_between(double now, double before, weir_usec elapsed)
{
    if (elapsed <= 0 || isnan(now) || isnan(before) || now < before)
        return NAN;
    return (now - before) * 1e6 / (double)elapsed;
}

/* --- filling ------------------------------------------------------------------------------- */

/* What a row is made from. */
struct source {
    const struct grid *now, *before;
    size_t row;
    size_t row_before; /* SIZE_MAX: it was not there */
    bool utf8;
};

/* A byte that safe text never holds keeps "a b", "c" apart from "a", "b c". */
static char *key_of(const struct layout *layout, const struct grid *grid, size_t row)
{
    char *key = weir_strdup("");
    for (size_t i = 0; i < KEYS_MAX && layout->keys[i] != NULL; i++) {
        const char *part = grid_get(grid, row, layout->keys[i]);
        char *longer = weir_format("%s\x01%s", key, part != NULL ? part : "\x02");
        free(key);
        key = longer;
    }
    return key;
}

static double difference(const struct source *source, const char *name)
{
    return grid_number(source->now, source->row, name) -
           grid_number(source->before, source->row_before, name);
}

static double value_of(const struct source *source, const struct column *column)
{
    double value = NAN;
    double count = NAN;
    switch (column->kind) {
    case KIND_TEXT:
        return NAN;
    case KIND_COUNT:
    case KIND_FLAG:
    case KIND_USEC:
        return grid_number(source->now, source->row, column->name);
    case KIND_WAIT:
        return grid_number(source->now, source->row, column->name) * 1e6 +
               grid_number(source->now, source->row, column->other);
    case KIND_RATE:
    case KIND_BYTE_RATE:
        if (source->before != NULL && source->row_before != SIZE_MAX)
            value = rate_between(grid_number(source->now, source->row, column->name),
                                 grid_number(source->before, source->row_before, column->name),
                                 source->now->at - source->before->at);
        break;
    case KIND_MEAN:
        value = difference(source, column->name);
        count = difference(source, column->other);
        if (count == 0)
            return NAN;
        value = value < 0 || !(count > 0) ? NAN : value / count;
        break;
    }
    return isnan(value) ? grid_number(source->now, source->row, column->first) : value;
}

static void fill_cell(struct cell *cell, const struct source *source, const struct column *column)
{
    const char *text = grid_get(source->now, source->row, column->name);
    char short_form[SHORT_MAX] = "";
    cell->value = value_of(source, column);
    if (column->kind == KIND_TEXT && text == NULL)
        text = column->first != NULL ? column->first : "";
    if (column->kind == KIND_TEXT || (column->kind == KIND_COUNT && text != NULL)) {
        cell->text = text_safe(text, source->utf8);
        return;
    }
    if (isnan(cell->value))
        snprintf(short_form, SHORT_MAX, "%s", column->kind == KIND_FLAG ? "" : "-");
    else if (column->kind == KIND_FLAG)
        snprintf(short_form, SHORT_MAX, "%s", cell->value != 0 ? "yes" : "");
    else if (column->kind == KIND_RATE || column->kind == KIND_BYTE_RATE)
        format_amount(short_form, cell->value);
    else
        format_duration(short_form, cell->value);
    cell->text = weir_strdup(short_form);
}

static bool is_set(const struct source *source, const char *name)
{
    const char *text = grid_get(source->now, source->row, name);
    return text != NULL && *text != '\0' && strcmp(text, "0") != 0;
}

static struct row *make_row(const struct layout *layout, size_t columns,
                            const struct source *source)
{
    struct row *row = weir_alloc(sizeof(*row));
    row->key = key_of(layout, source->now, source->row);
    row->database = weir_strdup(grid_get(source->now, source->row, layout->database));
    row->client = weir_strdup(grid_get(source->now, source->row, layout->client));
    row->marks = (is_set(source, layout->waiting) ? MARK_WAITING : 0) |
                 (is_set(source, layout->paused) ? MARK_PAUSED : 0) |
                 (is_set(source, layout->failing) ? MARK_FAILING : 0);
    row->order = source->row;
    for (size_t i = 0; i < columns; i++)
        fill_cell(&row->cells[i], source, &layout->columns[i]);
    return row;
}

static void free_row(struct row *row, size_t columns)
{
    for (size_t i = 0; i < columns; i++)
        free(row->cells[i].text);
    free(row->key);
    free(row->database);
    free(row->client);
    free(row);
}

static void drop_rows(struct table *table)
{
    for (size_t i = 0; i < table->row_count; i++)
        free_row(table->rows[i], table->column_count);
    free(table->rows);
    table->rows = NULL;
    table->row_count = 0;
    table->shown = 0;
}

void table_clear(struct table *table)
{
    drop_rows(table);
    *table = (struct table){0};
}

static void begin(struct table *table, const struct layout *layout)
{
    drop_rows(table);
    if (table->layout == layout)
        return;
    *table = (struct table){.layout = layout};
    while (table->column_count < COLUMNS_MAX && layout->columns[table->column_count].title != NULL)
        table->column_count++;
    /* One more for the arrow of the sorted column. */
    for (size_t i = 0; i < table->column_count; i++)
        table->widths[i] = text_width(layout->columns[i].title) + 1;
}

static void widen(struct table *table, const struct row *row)
{
    for (size_t i = 0; i < table->column_count; i++) {
        size_t width = text_width(row->cells[i].text);
        if (width > WIDTH_MAX && i + 1 < table->column_count)
            width = WIDTH_MAX;
        if (width > table->widths[i])
            table->widths[i] = width;
    }
}

/* Answers mostly keep their order, so the row is looked for where it should be. */
static size_t find_before(const struct layout *layout, const struct grid *before, const char *key,
                          size_t guess)
{
    for (size_t i = 0; before != NULL && i < before->row_count; i++) {
        size_t row = (guess + i) % before->row_count;
        char *other = key_of(layout, before, row);
        bool same = strcmp(other, key) == 0;
        free(other);
        if (same)
            return row;
    }
    return SIZE_MAX;
}

static bool has_rates(const struct layout *layout)
{
    for (const struct column *column = layout->columns; column->title != NULL; column++) {
        if (column->kind >= KIND_RATE)
            return true;
    }
    return false;
}

void table_fill(struct table *table, const struct layout *layout, const struct grid *now,
                const struct grid *before, bool utf8)
{
    begin(table, layout);
    if (now == NULL)
        return;
    bool rates = before != NULL && has_rates(layout);
    table->rows = weir_alloc((now->row_count + 1) * sizeof(struct row *));
    for (size_t i = 0; i < now->row_count; i++) {
        struct source source = {now, before, i, SIZE_MAX, utf8};
        if (layout->needs != NULL && !is_set(&source, layout->needs))
            continue;
        if (rates) {
            char *key = key_of(layout, now, i);
            source.row_before = find_before(layout, before, key, i);
            free(key);
        }
        struct row *row = make_row(layout, table->column_count, &source);
        table->rows[table->row_count++] = row;
        widen(table, row);
    }
    table->shown = table->row_count;
}

/* --- order and choice ---------------------------------------------------------------------- */

struct order {
    size_t column;
    bool text, descending;
};

static int compare(const void *left_place, const void *right_place, void *context)
{
    const struct row *left = *(struct row *const *)left_place;
    const struct row *right = *(struct row *const *)right_place;
    const struct order *order = context;
    const struct cell *a = &left->cells[order->column];
    const struct cell *b = &right->cells[order->column];
    bool a_known = order->text ? *a->text != '\0' : !isnan(a->value);
    bool b_known = order->text ? *b->text != '\0' : !isnan(b->value);
    int way = 0;
    if (a_known != b_known)
        return a_known ? -1 : 1;
    if (a_known && order->text)
        way = strcmp(a->text, b->text);
    else if (a_known)
        way = (a->value > b->value) - (a->value < b->value);
    if (way != 0)
        return order->descending ? -way : way;
    return (left->order > right->order) - (left->order < right->order);
}

void table_sort(struct table *table, size_t column, bool descending)
{
    if (column >= table->column_count || table->row_count < 2)
        return;
    struct order order = {column, table->layout->columns[column].kind == KIND_TEXT, descending};
    qsort_r(table->rows, table->row_count, sizeof(struct row *), compare, &order);
}

static bool has(const struct table *table, const struct row *row, const char *part)
{
    for (size_t i = 0; i < table->column_count; i++) {
        if (strcasestr(row->cells[i].text, part) != NULL)
            return true;
    }
    return false;
}

void table_filter(struct table *table, const char *part)
{
    table->shown = table->row_count;
    if (part == NULL || *part == '\0' || table->row_count == 0)
        return;
    struct row **others = weir_alloc(table->row_count * sizeof(struct row *));
    size_t other_count = 0;
    table->shown = 0;
    for (size_t i = 0; i < table->row_count; i++) {
        if (has(table, table->rows[i], part))
            table->rows[table->shown++] = table->rows[i];
        else
            others[other_count++] = table->rows[i];
    }
    memcpy(table->rows + table->shown, others, other_count * sizeof(struct row *));
    free(others);
}

size_t table_find(const struct table *table, const char *key, size_t otherwise)
{
    for (size_t i = 0; key != NULL && i < table->shown; i++) {
        if (strcmp(table->rows[i]->key, key) == 0)
            return i;
    }
    if (otherwise >= table->shown)
        otherwise = table->shown > 0 ? table->shown - 1 : 0;
    return otherwise;
}

/* --- lines --------------------------------------------------------------------------------- */

static void put_blanks(size_t count, FILE *out)
{
    for (size_t i = 0; i < count; i++)
        fputc(' ', out);
}

static void put_field(const struct table *table, size_t column, const char *text, FILE *out)
{
    size_t width = table->widths[column];
    size_t taken = 0;
    size_t length = text_fit(text, width, &taken);
    bool cut = text[length] != '\0' && width > 0;
    bool last = column + 1 == table->column_count;
    if (cut)
        length = text_fit(text, width - 1, &taken);
    if (column > 0)
        fputs("  ", out);
    if (table->layout->columns[column].kind != KIND_TEXT)
        put_blanks(width - taken - cut, out);
    fwrite(text, 1, length, out);
    if (cut)
        fputc('~', out);
    if (table->layout->columns[column].kind == KIND_TEXT && !last)
        put_blanks(width - taken - cut, out);
}

void table_print_titles(const struct table *table, size_t sorted, bool descending, FILE *out)
{
    for (size_t i = 0; i < table->column_count; i++) {
        char title[64];
        const char *arrow = i != sorted ? "" : descending ? "v" : "^";
        snprintf(title, sizeof(title), "%s%s", table->layout->columns[i].title, arrow);
        put_field(table, i, title, out);
    }
}

void table_print_row(const struct table *table, size_t row, FILE *out)
{
    for (size_t i = 0; i < table->column_count; i++)
        put_field(table, i, table->rows[row]->cells[i].text, out);
}
