/* Private to the files about session settings: settings.c applies them, learning.c asks which hold,
 * custom.c for those with names of clients' own. */
#ifndef WEIR_ROUTE_SETTINGS_H
#define WEIR_ROUTE_SETTINGS_H

#include <stdlib.h>
#include <string.h>

#include "router.h"

/* Nothing in pgweir's own statements is found by the session's search_path, operators neither: a client
 * must not be able to answer for PostgreSQL. */
#define IS     " OPERATOR(pg_catalog.=) "
#define IS_NOT " OPERATOR(pg_catalog.<>) "

static inline void settings_take(const struct weir_profile **place,
                                 const struct weir_profile *profile)
{
    weir_profile_unref(*place);
    *place = profile;
}

/* Of a DataRow, to be freed; "" for NULL, NULL when there is none. */
static inline char *settings_read_column(struct weir_reader *reader)
{
    uint32_t length = weir_read_u32(reader);
    if (length == UINT32_MAX)
        return weir_strdup("");
    const uint8_t *bytes = weir_read_bytes(reader, length);
    return bytes == NULL ? NULL : weir_strndup((const char *)bytes, length);
}

/* Who the session is decides what it may set: identity goes first when reset, last when set. */
static inline bool settings_is_identity(const char *name)
{
    return strcmp(name, "role") == 0 || strcmp(name, "session_authorization") == 0;
}

#endif
