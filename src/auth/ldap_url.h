/* Where and what to search, in one text. Source: RFC 4516. */
#ifndef WEIR_AUTH_LDAP_URL_H
#define WEIR_AUTH_LDAP_URL_H

#include <stdbool.h>

/* Texts are to be freed by ldap_url_clear; NULL where the URL says nothing. */
struct ldap_url {
    bool secure; /* ldaps */
    char *host;
    int port; /* 389 or 636 where the URL has none */
    char *base;
    char *attribute;   /* the first one */
    const char *scope; /* base, one, sub or children; base where the URL has none */
    char *filter;
};

/* NULL, or what is wrong with it: then there is nothing to clear. */
const char *ldap_url_read(const char *text, struct ldap_url *url);
void ldap_url_clear(struct ldap_url *url);

#endif
