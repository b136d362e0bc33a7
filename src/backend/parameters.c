#include "weir/backend.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "weir/memory.h"

static struct weir_parameter *find(const struct weir_parameters *parameters, const char *name)
{
    for (size_t i = 0; i < parameters->count; i++)
        if (strcasecmp(parameters->items[i].name, name) == 0)
            return &parameters->items[i];
    return NULL;
}

bool weir_parameters_set(struct weir_parameters *parameters, const char *name, const char *value)
{
    struct weir_parameter *item = find(parameters, name);
    if (item != NULL) {
        if (strcmp(item->value, value) == 0)
            return false;
        free(item->value);
        item->value = weir_strdup(value);
        return true;
    }
    struct weir_parameter *grown =
        realloc(parameters->items, (parameters->count + 1) * sizeof(*grown));
    if (grown == NULL)
        return false;
    parameters->items = grown;
    grown[parameters->count++] =
        (struct weir_parameter){.name = weir_strdup(name), .value = weir_strdup(value)};
    return true;
}

const char *weir_parameters_get(const struct weir_parameters *parameters, const char *name)
{
    const struct weir_parameter *item = find(parameters, name);
    return item == NULL ? NULL : item->value;
}

bool weir_parameters_equal(const struct weir_parameters *left, const struct weir_parameters *right)
{
    if (left->count != right->count)
        return false;
    for (size_t i = 0; i < left->count; i++) {
        const char *other = weir_parameters_get(right, left->items[i].name);
        if (other == NULL || strcmp(other, left->items[i].value) != 0)
            return false;
    }
    return true;
}

void weir_parameters_copy(struct weir_parameters *to, const struct weir_parameters *from)
{
    weir_parameters_clear(to);
    for (size_t i = 0; i < from->count; i++)
        weir_parameters_set(to, from->items[i].name, from->items[i].value);
}

void weir_parameters_clear(struct weir_parameters *parameters)
{
    for (size_t i = 0; i < parameters->count; i++) {
        free(parameters->items[i].name);
        free(parameters->items[i].value);
    }
    free(parameters->items);
    *parameters = (struct weir_parameters){0};
}

bool weir_parameter_is_setting(const char *name)
{
    static const char *const facts[] = {
        "server_version", "server_encoding",       "integer_datetimes",
        "is_superuser",   "session_authorization", "in_hot_standby",
    };
    for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++)
        if (strcasecmp(name, facts[i]) == 0)
            return false;
    return true;
}
