#include "grid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weir/memory.h"
#include "weir/require.h"

struct grid *grid_new(size_t column_count, size_t row_count)
{
    struct grid *grid = weir_alloc(sizeof(*grid));
    grid->column_count = column_count;
    grid->row_count = row_count;
    grid->names = weir_alloc((column_count + 1) * sizeof(*grid->names));
    grid->cells = weir_alloc((column_count * row_count + 1) * sizeof(*grid->cells));
    return grid;
}

void grid_free(struct grid *grid)
{
    if (grid == NULL)
        return;
    for (size_t i = 0; i < grid->column_count; i++)
        free(grid->names[i]);
    for (size_t i = 0; i < grid->column_count * grid->row_count; i++)
        free(grid->cells[i]);
    free(grid->names);
    free(grid->cells);
    free(grid);
}

void grid_name(struct grid *grid, size_t column, const char *name)
{
    weir_require(column < grid->column_count);
    free(grid->names[column]);
    grid->names[column] = weir_strdup(name);
}

void grid_set(struct grid *grid, size_t row, size_t column, const char *text)
{
    weir_require(row < grid->row_count && column < grid->column_count);
    char **cell = &grid->cells[row * grid->column_count + column];
    free(*cell);
    *cell = weir_strdup(text);
}

const char *grid_get(const struct grid *grid, size_t row, const char *column)
{
    if (grid == NULL || column == NULL || row >= grid->row_count)
        return NULL;
    for (size_t i = 0; i < grid->column_count; i++) {
        if (grid->names[i] != NULL && strcmp(grid->names[i], column) == 0)
            return grid->cells[row * grid->column_count + i];
    }
    return NULL;
}

double grid_number(const struct grid *grid, size_t row, const char *column)
{
    const char *text = grid_get(grid, row, column);
    char *end = NULL;
    double number = text != NULL ? strtod(text, &end) : NAN;
    return text == NULL || end == text || *end != '\0' ? NAN : number;
}

double grid_sum(const struct grid *grid, const char *column)
{
    double sum = NAN;
    for (size_t row = 0; grid != NULL && row < grid->row_count; row++) {
        double number = grid_number(grid, row, column);
        if (!isnan(number))
            sum = isnan(sum) ? number : sum + number;
    }
    return sum;
}

const char *grid_pair(const struct grid *grid, const char *key_column, const char *key,
                      const char *value_column)
{
    for (size_t row = 0; grid != NULL && row < grid->row_count; row++) {
        const char *found = grid_get(grid, row, key_column);
        if (found != NULL && strcmp(found, key) == 0)
            return grid_get(grid, row, value_column);
    }
    return NULL;
}
