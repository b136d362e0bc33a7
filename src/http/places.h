/* Where to listen: the list of the setting, taken apart. */
#ifndef WEIR_HTTP_PLACES_H
#define WEIR_HTTP_PLACES_H

#include <stdbool.h>
#include <stddef.h>

#define WEIR_HTTP_PLACES 8

struct weir_http_place {
    char address[64]; /* numeric, or "*" */
    int port;
};

struct weir_http_places {
    struct weir_http_place place[WEIR_HTTP_PLACES];
    size_t count;
};

/* "ADDRESS:PORT", "[ADDRESS]:PORT" or "PORT" (loopback), several by comma. Addresses are numeric,
 * "localhost" or "*": names would have to be resolved, which a reload must not wait for. False with
 * *problem (free it). */
bool weir_http_places_read(const char *listen, struct weir_http_places *places, char **problem);

#endif
