#include "library.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#define LIBMICROHTTPD "libmicrohttpd.so.12"

struct microhttpd microhttpd;

/* ISO C has no conversion from an object pointer to a function pointer; POSIX has. */
static bool find(void *handle, const char *name, void *function, size_t size)
{
    void *symbol = dlsym(handle, name);
    memcpy(function, &symbol, size);
    return symbol != NULL;
}

bool microhttpd_load(void)
{
    if (microhttpd.start_daemon != NULL)
        return true;
    void *handle = dlopen(LIBMICROHTTPD, RTLD_LAZY | RTLD_LOCAL);
    if (handle == NULL)
        return false;
    struct microhttpd found;
#define FIND(name) &&find(handle, "MHD_" #name, &found.name, sizeof(found.name))
    if (!(true MICROHTTPD_FUNCTIONS(FIND))) {
        dlclose(handle);
        return false;
    }
    microhttpd = found;
    return true;
}
