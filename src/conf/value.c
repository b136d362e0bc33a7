#include "value.h"

#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "weir/memory.h"

struct unit {
    const char *name;
    int64_t factor;
};

/* Largest first, for showing. */
static const struct unit duration_units[] = {
    {"d", 86400 * (int64_t)1000000},
    {"h", 3600 * (int64_t)1000000},
    {"min", 60 * (int64_t)1000000},
    {"s", 1000000},
    {"ms", 1000},
    {"us", 1},
    {NULL, 0},
};

static const struct unit size_units[] = {
    {"GB", (int64_t)1 << 30},
    {"MB", (int64_t)1 << 20},
    {"kB", (int64_t)1 << 10},
    {"B", 1},
    {NULL, 0},
};

/* Seconds and bytes: where no unit is given. */
#define USUAL_UNIT 3

/* What a decimal number can be off by. */
enum number_result { NUMBER_GOOD, NUMBER_MALFORMED, NUMBER_TOO_LARGE };

/* Digits with an optional fraction, times `factor`, in integers: floating point would make 0.1 s
 * something else than 100 ms. What is left below one is rounded up, so that a tiny limit does not
 * become 0, which means no limit. `*rest` is what follows the number. */
static enum number_result read_decimal(const char *text, int64_t factor, int64_t *value)
{
    int64_t whole = 0;
    bool overflow = false;
    bool digits = false;
    for (; isdigit((unsigned char)*text); text++) {
        digits = true;
        overflow = overflow || __builtin_mul_overflow(whole, 10, &whole) ||
                   __builtin_add_overflow(whole, *text - '0', &whole);
    }
    int64_t fraction = 0;
    int64_t scale = 1;
    bool remainder = false;
    if (*text == '.') {
        for (text++; isdigit((unsigned char)*text); text++) {
            digits = true;
            /* Six digits more than any unit has are kept; beyond, only "not zero" counts. */
            if (scale < 1000000) {
                fraction = fraction * 10 + (*text - '0');
                scale *= 10;
            } else if (*text != '0') {
                remainder = true;
            }
        }
    }
    if (!digits)
        return NUMBER_MALFORMED;
    /* factor <= 86400e6 and fraction < 1e6: the product stays below 2^63. */
    int64_t part = (fraction * factor + scale - 1) / scale;
    if (remainder && fraction * factor % scale == 0)
        part++;
    if (overflow || __builtin_mul_overflow(whole, factor, &whole) ||
        __builtin_add_overflow(whole, part, value))
        return NUMBER_TOO_LARGE;
    return NUMBER_GOOD;
}

/* The unit at the end of `text`, `plain` when there is none, NULL when it is unknown. */
static const struct unit *find_unit(const char *text, const struct unit *units,
                                    const struct unit *plain, bool ignore_case)
{
    const char *name = text + strspn(text, "0123456789.");
    name += strspn(name, " \t");
    if (*name == '\0')
        return plain;
    for (const struct unit *unit = units; unit->name != NULL; unit++) {
        if (strcmp(name, unit->name) == 0 || (ignore_case && strcasecmp(name, unit->name) == 0))
            return unit;
    }
    return NULL;
}

/* A number and a unit that may be left out. Out of bounds is too large, too. */
static enum number_result read_measure(const char *text, const struct unit *units, bool ignore_case,
                                       int64_t low, int64_t high, int64_t *value)
{
    bool negative = *text == '-';
    const char *number = text + (negative || *text == '+');
    const struct unit *unit = find_unit(number, units, &units[USUAL_UNIT], ignore_case);
    if (unit == NULL)
        return NUMBER_MALFORMED;
    /* Only digits and one point may stand before the unit. */
    const char *end = number + strspn(number, "0123456789");
    if (*end == '.')
        end += 1 + strspn(end + 1, "0123456789");
    if (*end == '.')
        return NUMBER_MALFORMED;
    int64_t read = 0;
    enum number_result result = read_decimal(number, unit->factor, &read);
    if (result != NUMBER_GOOD)
        return result;
    if ((negative && read > 0) || read < low || read > high)
        return NUMBER_TOO_LARGE;
    *value = read;
    return NUMBER_GOOD;
}

/* Frees the bounds. */
static char *complain_bounds(const char *text, char *low, char *high)
{
    char *problem = weir_format("%s is out of bounds (%s to %s)", text, low, high);
    free(low);
    free(high);
    return problem;
}

char *weir_value_show_duration(int64_t usec)
{
    const struct unit *unit = duration_units;
    if (usec == 0)
        return weir_strdup("0");
    while (usec % unit->factor != 0)
        unit++;
    return weir_format("%" PRId64 "%s", usec / unit->factor, unit->name);
}

char *weir_value_show_size(uint64_t bytes)
{
    const struct unit *unit = size_units;
    if (bytes == 0)
        return weir_strdup("0");
    while (bytes % (uint64_t)unit->factor != 0)
        unit++;
    return weir_format("%" PRIu64 "%s", bytes / (uint64_t)unit->factor,
                       unit->factor == 1 ? "" : unit->name);
}

char *weir_value_read_duration(const char *text, int64_t low, int64_t high, int64_t *usec)
{
    if (strcasecmp(text, "off") == 0)
        text = "0";
    switch (read_measure(text, duration_units, false, low, high, usec)) {
    case NUMBER_MALFORMED:
        return weir_format(
            "\"%s\" is not a duration (a number with us, ms, s, min, h or d; seconds without)",
            text);
    case NUMBER_TOO_LARGE:
        return complain_bounds(text, weir_value_show_duration(low), weir_value_show_duration(high));
    case NUMBER_GOOD:
        break;
    }
    return NULL;
}

char *weir_value_read_size(const char *text, int64_t low, int64_t high, uint64_t *bytes)
{
    int64_t value = 0;
    switch (read_measure(text, size_units, true, low, high, &value)) {
    case NUMBER_MALFORMED:
        return weir_format("\"%s\" is not a size (a number with B, kB, MB or GB; bytes without)",
                           text);
    case NUMBER_TOO_LARGE:
        return complain_bounds(text, weir_value_show_size((uint64_t)low),
                               weir_value_show_size((uint64_t)high));
    case NUMBER_GOOD:
        break;
    }
    *bytes = (uint64_t)value;
    return NULL;
}

char *weir_value_read_int(const char *text, int64_t low, int64_t high, int *number)
{
    const char *digits = text + (*text == '-' || *text == '+');
    if (*digits == '\0' || strspn(digits, "0123456789") != strlen(digits))
        return weir_format("\"%s\" is not a whole number", text);
    /* strtoll stops at its own bounds, which lie outside of ours. */
    long long value = strtoll(text, NULL, 10);
    if (value < low || value > high || value < INT_MIN || value > INT_MAX)
        return weir_format("%s is out of bounds (%" PRId64 " to %" PRId64 ")", text, low, high);
    *number = (int)value;
    return NULL;
}

char *weir_value_read_octal(const char *text, int64_t low, int64_t high, int *mode)
{
    if (*text == '\0' || strspn(text, "01234567") != strlen(text))
        return weir_format("\"%s\" is not an octal number", text);
    long long value = strtoll(text, NULL, 8);
    if (value < low || value > high)
        return weir_format("%s is out of bounds (%04llo to %04llo)", text, (unsigned long long)low,
                           (unsigned long long)high);
    *mode = (int)value;
    return NULL;
}

char *weir_value_read_bool(const char *text, bool *value)
{
    if (weir_value_is_listed("on,yes,true,1", text))
        *value = true;
    else if (weir_value_is_listed("off,no,false,0", text))
        *value = false;
    else
        return weir_format("\"%s\" is not a boolean (on or off, yes or no, true or false, 1 or 0)",
                           text);
    return NULL;
}

/* "a, b or c", each value once. */
static char *list_words(const struct weir_setting_word *words)
{
    char *list = weir_strdup("");
    for (const struct weir_setting_word *word = words; word->word != NULL; word++) {
        if (weir_value_show_word(words, word->value) != word->word)
            continue;
        char *longer = weir_format("%s%s%s", list, *list == '\0' ? "" : ", ", word->word);
        free(list);
        list = longer;
    }
    return list;
}

char *weir_value_read_word(const char *text, const struct weir_setting_word *words, int *value)
{
    for (const struct weir_setting_word *word = words; word->word != NULL; word++) {
        if (strcasecmp(word->word, text) == 0) {
            *value = word->value;
            return NULL;
        }
    }
    char *list = list_words(words);
    char *problem = weir_format("\"%s\" is none of %s", text, list);
    free(list);
    return problem;
}

const char *weir_value_show_word(const struct weir_setting_word *words, int value)
{
    while (words->word != NULL && words->value != value)
        words++;
    return words->word == NULL ? "" : words->word;
}

bool weir_value_is_listed(const char *list, const char *text)
{
    size_t length = strlen(text);
    for (const char *item = list;; item++) {
        size_t item_length = strcspn(item, ",");
        if (item_length == length && strncasecmp(item, text, length) == 0)
            return true;
        item += item_length;
        if (*item == '\0')
            return false;
    }
}
