#include "weir/reason.h"

#include <ctype.h>
#include <stddef.h>

#include "weir/require.h"

#define NAME_LENGTH 32

/* The stable name is the identifier in lower case; C cannot say that in a constant, so the names
 * are made on first use. */
static char names[WEIR_REASON_COUNT][NAME_LENGTH];

static struct weir_reason_row rows[WEIR_REASON_COUNT] = {
#define WEIR_REASON(id, sqlstate, fatal, blame, reuse, text)                                       \
    {#id, sqlstate, fatal, blame, reuse, text},
#include "weir/reasons.def"
#undef WEIR_REASON
};

#define WEIR_REASON(id, sqlstate, fatal, blame, reuse, text)                                       \
    _Static_assert(sizeof(#id) <= NAME_LENGTH, "name of a reason is too long");
#include "weir/reasons.def"
#undef WEIR_REASON

static void make_names(void)
{
    for (int i = 0; i < WEIR_REASON_COUNT; i++) {
        for (int j = 0; rows[i].name[j] != '\0'; j++)
            names[i][j] = (char)tolower((unsigned char)rows[i].name[j]);
        rows[i].name = names[i];
    }
}

const struct weir_reason_row *weir_reason_row(enum weir_reason reason)
{
    weir_require((unsigned int)reason < WEIR_REASON_COUNT);
    if (names[0][0] == '\0')
        make_names();
    return &rows[reason];
}
