#include "ldap_url.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "weir/memory.h"

static int digit_of(char character)
{
    if (character >= '0' && character <= '9')
        return character - '0';
    int lower = tolower((unsigned char)character);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* With %xx resolved, in fresh memory; NULL where a % is not followed by two digits, or is a zero. */
static char *decode(const char *text, size_t length)
{
    char *decoded = weir_alloc(length + 1);
    char *to = decoded;
    for (size_t i = 0; i < length; i++) {
        if (text[i] != '%') {
            *to++ = text[i];
            continue;
        }
        int high = length - i > 2 ? digit_of(text[i + 1]) : -1;
        int low = length - i > 2 ? digit_of(text[i + 2]) : -1;
        if (high < 0 || low < 0 || high + low == 0) {
            free(decoded);
            return NULL;
        }
        *to++ = (char)(high * 16 + low);
        i += 2;
    }
    return decoded;
}

/* False: it is not encoded well. An empty part is none. */
static bool take(const char *text, size_t length, char **part)
{
    if (length == 0)
        return true;
    *part = decode(text, length);
    return *part != NULL;
}

static bool read_port(const char *text, size_t length, int *port)
{
    int value = 0;
    for (size_t i = 0; i < length; i++) {
        if (!isdigit((unsigned char)text[i]) || value > 65535)
            return false;
        value = value * 10 + (text[i] - '0');
    }
    *port = value;
    return length > 0 && value >= 1 && value <= 65535;
}

/* host, host:port, [address], [address]:port */
static const char *read_place(const char *text, size_t length, struct ldap_url *url)
{
    const char *end = text + length, *host_end = memchr(text, ':', length);
    if (length > 0 && text[0] == '[') {
        host_end = memchr(text, ']', length);
        if (host_end == NULL)
            return "the address has no end";
        host_end++;
    }
    if (host_end == NULL)
        host_end = end;
    if (!take(text, (size_t)(host_end - text), &url->host))
        return "the host is not well encoded";
    if (host_end == end)
        return NULL;
    if (*host_end != ':' || !read_port(host_end + 1, (size_t)(end - host_end - 1), &url->port))
        return "invalid port";
    return NULL;
}

static const char *read_scope(const char *text, size_t length, struct ldap_url *url)
{
    static const struct {
        const char *word;
        const char *scope;
    } words[] = {
        {"base", "base"},   {"one", "one"},           {"onelevel", "one"},         {"sub", "sub"},
        {"subtree", "sub"}, {"children", "children"}, {"subordinate", "children"},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strlen(words[i].word) == length && strncasecmp(words[i].word, text, length) == 0) {
            url->scope = words[i].scope;
            return NULL;
        }
    }
    return length == 0 ? NULL : "invalid scope (base, one and sub are known)";
}

/* The next of the parts that question marks separate; false when there is no more. */
static bool next_part(const char **cursor, const char **part, size_t *length)
{
    if (**cursor != '?')
        return false;
    *part = *cursor + 1;
    *length = strcspn(*part, "?");
    *cursor = *part + *length;
    return true;
}

/* ?attributes?scope?filter */
static const char *read_parts(const char *cursor, struct ldap_url *url)
{
    const char *part;
    size_t length;
    if (!next_part(&cursor, &part, &length))
        return NULL;
    const char *comma = memchr(part, ',', length);
    if (!take(part, comma != NULL ? (size_t)(comma - part) : length, &url->attribute))
        return "the attribute is not well encoded";
    if (!next_part(&cursor, &part, &length))
        return NULL;
    const char *problem = read_scope(part, length, url);
    if (problem != NULL || !next_part(&cursor, &part, &length))
        return problem;
    if (!take(part, length, &url->filter))
        return "the filter is not well encoded";
    return *cursor == '\0' ? NULL : "extensions are not known";
}

const char *ldap_url_read(const char *text, struct ldap_url *url)
{
    static const char plain[] = "ldap://", secure[] = "ldaps://";
    *url = (struct ldap_url){.scope = "base", .port = 389};
    if (strncasecmp(text, secure, strlen(secure)) == 0) {
        url->secure = true;
        url->port = 636;
        text += strlen(secure);
    } else if (strncasecmp(text, plain, strlen(plain)) == 0) {
        text += strlen(plain);
    } else {
        return "it does not begin with ldap:// or ldaps://";
    }
    size_t place = strcspn(text, "/?");
    const char *problem = read_place(text, place, url);
    text += place;
    if (problem == NULL && *text == '/') {
        size_t length = strcspn(++text, "?");
        if (!take(text, length, &url->base))
            problem = "the base is not well encoded";
        text += length;
    }
    if (problem == NULL)
        problem = read_parts(text, url);
    if (problem != NULL)
        ldap_url_clear(url);
    return problem;
}

void ldap_url_clear(struct ldap_url *url)
{
    free(url->host);
    free(url->base);
    free(url->attribute);
    free(url->filter);
    *url = (struct ldap_url){0};
}
