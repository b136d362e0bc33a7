/* libpq brings LDAP, Kerberos, GnuTLS and what they need along: over 3 MB resident in a daemon that
 * otherwise needs 6. To parse DSNs it is needed for moments only, at boot and at a reload; so it is
 * loaded then and let go afterwards, unless users are looked up in a database, which keeps it. */
#include "weir/libpq.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define LIBPQ "libpq.so.5"

#if defined(__SANITIZE_ADDRESS__)
#define STAYS_LOADED 1 /* the leak checker needs the names of what a library has allocated */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STAYS_LOADED 1
#endif
#endif
#ifndef STAYS_LOADED
#define STAYS_LOADED 0
#endif

static struct {
    void *handle;
    int holders;
    struct weir_libpq functions;
} libpq;

/* ISO C has no conversion from an object pointer to a function pointer; POSIX has. */
static bool find(const char *name, void *function, size_t size)
{
    void *symbol = dlsym(libpq.handle, name);
    memcpy(function, &symbol, size);
    return symbol != NULL;
}

const struct weir_libpq *weir_libpq_hold(void)
{
    if (libpq.holders++ > 0)
        return &libpq.functions;
    libpq.handle = dlopen(LIBPQ, RTLD_LAZY | RTLD_LOCAL);
    struct weir_libpq *functions = &libpq.functions;
#define FIND(symbol, name, result, arguments)                                                      \
    &&find(#symbol, &functions->name, sizeof(functions->name))
    if (libpq.handle != NULL WEIR_LIBPQ_FUNCTIONS(FIND))
        return functions;
    weir_libpq_drop();
    return NULL;
}

void weir_libpq_drop(void)
{
    if (--libpq.holders > 0 || libpq.handle == NULL)
        return;
    if (!STAYS_LOADED)
        dlclose(libpq.handle);
    libpq.handle = NULL;
}
