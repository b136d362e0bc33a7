/* Mapping, NFKC, prohibited characters and the rules for bidirectional text are libidn's. Its
 * tables are those of Unicode 3.2, on which RFC 4013 rests; code points that were not assigned
 * there are prohibited, in PostgreSQL too, so both give the same answer. Built without libidn, a
 * password that is not pure ASCII is used as it is: then one that preparation would change (for
 * example with decomposed accents or a no-break space) cannot be used with SCRAM. */
#include "saslprep.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#ifdef WEIR_HAVE_LIBIDN
#include <stringprep.h>

static bool is_ascii(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text >= 0x80)
            return false;
    }
    return true;
}

char *weir_saslprep(const char *password)
{
    char *prepared = NULL;
    if (is_ascii(password) || strlen(password) > WEIR_SASLPREP_MAX)
        return NULL;
    if (stringprep_profile(password, &prepared, "SASLprep", STRINGPREP_NO_UNASSIGNED) !=
        STRINGPREP_OK)
        return NULL;
    /* Nothing but characters that are mapped to nothing: PostgreSQL allows no empty password. */
    if (!*prepared) {
        free(prepared);
        return NULL;
    }
    return prepared;
}

#else

char *weir_saslprep(const char *password)
{
    (void)password;
    return NULL;
}

#endif
