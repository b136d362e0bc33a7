#include "places.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "weir/memory.h"

#define LOOPBACK "127.0.0.1"

static bool is_numeric(const char *address)
{
    struct in6_addr parsed;
    return inet_pton(AF_INET, address, &parsed) == 1 || inet_pton(AF_INET6, address, &parsed) == 1;
}

static int read_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0')
        return 0;
    long port = strtol(text, NULL, 10);
    return port <= 65535 ? (int)port : 0;
}

/* `text` is taken apart in place. NULL, or what is wrong with it. */
static const char *read_place(char *text, struct weir_http_place *place)
{
    const char *address = LOOPBACK;
    char *colon = strrchr(text, ':');
    if (colon != NULL) {
        *colon = '\0';
        address = text;
        size_t length = strlen(text);
        if (text[0] == '[' && length > 1 && text[length - 1] == ']') {
            text[length - 1] = '\0';
            address = text + 1;
        } else if (strchr(text, ':') != NULL) {
            return "an IPv6 address stands in brackets: [::1]:9632";
        }
    }
    place->port = read_port(colon != NULL ? colon + 1 : text);
    if (place->port == 0)
        return "it must be ADDRESS:PORT, [ADDRESS]:PORT or PORT (1 to 65535)";
    if (strcmp(address, "localhost") == 0)
        address = LOOPBACK;
    if (strcmp(address, "*") != 0 && !is_numeric(address))
        return "the address must be numeric, localhost or *";
    strncpy(place->address, address, sizeof(place->address) - 1);
    return NULL;
}

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        text[--length] = '\0';
    return text;
}

bool weir_http_places_read(const char *listen, struct weir_http_places *places, char **problem)
{
    *places = (struct weir_http_places){0};
    char *copy = weir_strdup(listen);
    char *rest = copy;
    char *piece;
    const char *wrong = NULL;
    while (wrong == NULL && (piece = strsep(&rest, ",")) != NULL) {
        char *text = trim(piece);
        char *shown = weir_strdup(text);
        wrong = places->count == WEIR_HTTP_PLACES
                    ? "too many addresses, 8 are allowed"
                    : read_place(text, &places->place[places->count++]);
        if (wrong != NULL)
            *problem = weir_format("\"%s\": %s", shown, wrong);
        free(shown);
    }
    free(copy);
    return wrong == NULL;
}
