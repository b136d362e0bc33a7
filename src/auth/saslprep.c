/* PostgreSQL prepares a password in this order: map, refuse what is prohibited, unassigned in
 * Unicode 3.2 or a forbidden mixture of writing directions, then normalise. RFC 3454 would
 * normalise before it refuses, which decides differently for some ligatures; a stored secret knows
 * only PostgreSQL's order, so libidn's own SASLprep profile cannot be used, its tables can.
 *
 * Built without libidn, a password that is not pure ASCII is used as it is: then one that
 * preparation changes (for example with decomposed accents or a no-break space) cannot be used with
 * SCRAM. */
#include "saslprep.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef WEIR_HAVE_LIBIDN
#include <stringprep.h>

#include "weir/memory.h"
#include "weir/require.h"

/* libidn normalises by Unicode 3.2. Corrigendum 4 changed these five afterwards; corrigendum 5, on
 * conjoining Hangul letters with other marks between them, has no place here: no text has those. */
static const struct {
    uint32_t from;
    uint32_t to;
} corrigendum_4[] = {
    {0x2F868, 0x36FC}, {0x2F874, 0x5F53}, {0x2F91F, 0x243AB}, {0x2F95F, 0x7AEE}, {0x2F9BF, 0x45D7},
};

#define STEPS_MAX 32

/* The steps of libidn's profile that map (or all others but the normalisation), in its order. */
static void select_steps(Stringprep_profile chosen[STEPS_MAX], bool that_map)
{
    size_t count = 0;
    for (const Stringprep_profile *step = stringprep_saslprep; step->operation; step++) {
        if (step->operation == STRINGPREP_NFKC ||
            (step->operation == STRINGPREP_MAP_TABLE) != that_map)
            continue;
        weir_require(count < STEPS_MAX - 1);
        chosen[count++] = *step;
    }
    chosen[count] = (Stringprep_profile){0};
}

static bool is_ascii(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text >= 0x80)
            return false;
    }
    return true;
}

/* In place: no mapping here makes a text longer. */
static bool map_and_judge(uint32_t *points, size_t *count)
{
    Stringprep_profile steps[STEPS_MAX];
    size_t capacity = *count + 1;
    select_steps(steps, true);
    if (stringprep_4i(points, count, capacity, 0, steps) != STRINGPREP_OK || *count == 0)
        return false;
    select_steps(steps, false);
    return stringprep_4i(points, count, capacity, STRINGPREP_NO_UNASSIGNED, steps) == STRINGPREP_OK;
}

static void apply_corrigendum(uint32_t *points, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < sizeof(corrigendum_4) / sizeof(corrigendum_4[0]); k++) {
            if (points[i] == corrigendum_4[k].from)
                points[i] = corrigendum_4[k].to;
        }
    }
}

static char *normalise(const uint32_t *points, size_t count)
{
    uint32_t *normal = stringprep_ucs4_nfkc_normalize(points, (ssize_t)count);
    if (!normal)
        return NULL;
    size_t length = 0;
    while (normal[length])
        length++;
    char *prepared = stringprep_ucs4_to_utf8(normal, (ssize_t)length, NULL, NULL);
    weir_wipe(normal, length * sizeof(*normal));
    free(normal);
    return prepared;
}

char *weir_saslprep(const char *password)
{
    char *prepared = NULL;
    size_t count;
    if (is_ascii(password) || strlen(password) > WEIR_SASLPREP_MAX)
        return NULL;
    uint32_t *points = stringprep_utf8_to_ucs4(password, -1, &count);
    if (!points)
        return NULL;
    size_t size = count * sizeof(*points);
    if (map_and_judge(points, &count)) {
        apply_corrigendum(points, count);
        prepared = normalise(points, count);
    }
    weir_wipe(points, size);
    free(points);
    return prepared;
}

#else

char *weir_saslprep(const char *password)
{
    (void)password;
    return NULL;
}

#endif
