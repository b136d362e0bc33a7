/* Names of users come from whoever connects: in a filter or a distinguished name they must stay one value,
 * whatever they contain. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "room.h"
#include "weir/memory.h"

struct text {
    char *at;
    size_t length;
    size_t capacity;
};

static void append(struct text *text, const char *bytes, size_t length)
{
    if (text->length + length + 1 > text->capacity) {
        size_t capacity = 2 * (text->length + length + 1);
        char *more = weir_alloc(capacity);
        if (text->length > 0)
            memcpy(more, text->at, text->length);
        free(text->at);
        text->at = more;
        text->capacity = capacity;
    }
    memcpy(text->at + text->length, bytes, length);
    text->length += length;
    text->at[text->length] = '\0';
}

static void append_text(struct text *text, const char *more)
{
    append(text, more, strlen(more));
}

static void append_hex(struct text *text, char character)
{
    char escape[4];
    snprintf(escape, sizeof(escape), "\\%02x", (unsigned char)character);
    append(text, escape, 3);
}

char *ldap_text_in_filter(const char *value)
{
    struct text text = {0};
    append(&text, "", 0);
    for (const char *at = value; *at != '\0'; at++) {
        if (strchr("*()\\", *at) != NULL)
            append_hex(&text, *at);
        else
            append(&text, at, 1);
    }
    return text.at;
}

char *ldap_text_in_name(const char *value)
{
    struct text text = {0};
    append(&text, "", 0);
    for (const char *at = value; *at != '\0'; at++) {
        bool at_edge = at == value || at[1] == '\0';
        bool special = strchr("\"+,;<>=\\", *at) != NULL || (*at == ' ' && at_edge) ||
                       (*at == '#' && at == value);
        if (special)
            append_hex(&text, *at);
        else
            append(&text, at, 1);
    }
    return text.at;
}

char *ldap_text_filter(const char *attribute, const char *filter, const char *user)
{
    static const char variable[] = "$username";
    char *name = ldap_text_in_filter(user);
    struct text text = {0};
    append(&text, "", 0);
    if (filter == NULL) {
        append(&text, "(", 1);
        append_text(&text, attribute != NULL ? attribute : "uid");
        append(&text, "=", 1);
        append_text(&text, name);
        append(&text, ")", 1);
        filter = "";
    }
    for (const char *found; (found = strstr(filter, variable)) != NULL;) {
        append(&text, filter, (size_t)(found - filter));
        append_text(&text, name);
        filter = found + strlen(variable);
    }
    append_text(&text, filter);
    free(name);
    return text.at;
}

char *ldap_text_bind_name(const char *prefix, const char *user, const char *suffix)
{
    bool is_name = strchr(prefix, '=') != NULL || strchr(suffix, '=') != NULL;
    if (!is_name) {
        if (strpbrk(user, "\"+,;<>=\\/") != NULL)
            return NULL;
        if (strchr(suffix, '@') != NULL && strchr(user, '@') != NULL)
            return NULL;
        return weir_format("%s%s%s", prefix, user, suffix);
    }
    char *name = ldap_text_in_name(user);
    char *whole = weir_format("%s%s%s", prefix, name, suffix);
    free(name);
    return whole;
}

char *ldap_text_addresses(const char *scheme, const char *hosts, int port)
{
    struct text text = {0};
    append(&text, "", 0);
    for (hosts += strspn(hosts, " "); *hosts != '\0'; hosts += strspn(hosts, " ")) {
        char number[16] = "";
        size_t length = strcspn(hosts, " ");
        if (port > 0)
            snprintf(number, sizeof(number), ":%d", port);
        if (text.length > 0)
            append(&text, " ", 1);
        append_text(&text, scheme);
        append_text(&text, "://");
        append(&text, hosts, length);
        append_text(&text, number);
        hosts += length;
    }
    return text.at;
}

int ldap_text_count(const char *addresses)
{
    int count = *addresses != '\0';
    for (; *addresses != '\0'; addresses++)
        count += *addresses == ' ';
    return count;
}
