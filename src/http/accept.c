#include "accept.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

/* --- lists ----------------------------------------------------------------------------- */

/* "name;parameter;parameter". The name ends at a space or tab, too. */
struct element {
    const char *name;
    size_t name_length;
    const char *end; /* parameters stand between the name and this */
    int quality;     /* thousandths */
};

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

/* A weight of 0 to 1 with three decimals at most; whatever else stands there counts for nothing. */
static int read_quality(const char *at, const char *end)
{
    if (at == end || (*at != '0' && *at != '1'))
        return 0;
    int quality = (*at++ - '0') * 1000;
    if (at < end && *at == '.') {
        at++;
        for (int unit = 100; unit > 0 && at < end && *at >= '0' && *at <= '9'; unit /= 10)
            quality += (*at++ - '0') * unit;
    }
    bool ends = at == end || is_blank(*at) || *at == ';';
    return ends && quality <= 1000 ? quality : 0;
}

/* What follows "name=" among the parameters; NULL: it is not there. `name` is in lower case. */
static const char *find_parameter(const struct element *element, const char *name, size_t length)
{
    const char *at = element->name + element->name_length;
    while ((at = memchr(at, ';', (size_t)(element->end - at))) != NULL) {
        do
            at++;
        while (at < element->end && is_blank(*at));
        if ((size_t)(element->end - at) > length && at[length] == '=' &&
            strncasecmp(at, name, length) == 0)
            return at + length + 1;
    }
    return NULL;
}

/* Empty elements are skipped. */
static bool next_element(const char **list, struct element *element)
{
    const char *at = *list;
    while (is_blank(*at) || *at == ',')
        at++;
    if (*at == '\0')
        return false;
    element->name = at;
    element->end = *list = strchrnul(at, ',');
    while (at < element->end && *at != ';' && !is_blank(*at))
        at++;
    element->name_length = (size_t)(at - element->name);
    while (at < element->end && is_blank(*at))
        at++;
    const char *quality = find_parameter(element, "q", 1);
    if (at < element->end && *at != ';')
        element->quality = 0;
    else
        element->quality = quality == NULL ? 1000 : read_quality(quality, element->end);
    return true;
}

static bool is_named(const struct element *element, const char *name)
{
    return strncasecmp(element->name, name, element->name_length) == 0 &&
           name[element->name_length] == '\0';
}

static void raise(int *quality, const struct element *element)
{
    if (element->quality > *quality)
        *quality = element->quality;
}

/* --- questions ------------------------------------------------------------------------- */

static bool names_version_of_another(const struct element *element)
{
    const char *version = find_parameter(element, "version", 7);
    return version != NULL && strncmp(version, "1.", 2) != 0;
}

enum weir_http_format weir_http_negotiate(const char *accept)
{
    struct element element;
    int open_metrics = 0;
    int text = 0;
    while (accept != NULL && next_element(&accept, &element)) {
        if (is_named(&element, "text/plain"))
            raise(&text, &element);
        else if (is_named(&element, "application/openmetrics-text") &&
                 !names_version_of_another(&element))
            raise(&open_metrics, &element);
    }
    return open_metrics > 0 && open_metrics >= text ? WEIR_HTTP_OPENMETRICS : WEIR_HTTP_PROMETHEUS;
}

bool weir_http_accepts_gzip(const char *accept_encoding)
{
    struct element element;
    int gzip = 0;
    int plain = 0;
    while (accept_encoding != NULL && next_element(&accept_encoding, &element)) {
        if (is_named(&element, "gzip") || is_named(&element, "x-gzip"))
            raise(&gzip, &element);
        else if (is_named(&element, "identity"))
            raise(&plain, &element);
    }
    return gzip > 0 && gzip >= plain;
}
