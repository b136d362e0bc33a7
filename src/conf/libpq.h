/* libpq while a configuration is read, and not longer. */
#ifndef WEIR_CONF_LIBPQ_H
#define WEIR_CONF_LIBPQ_H

#include <libpq-fe.h>

struct weir_libpq {
    PQconninfoOption *(*parse)(const char *dsn, char **error);
    void (*free_options)(PQconninfoOption *options);
    void (*free_text)(void *text);
};

/* Loads the library on the first call; each call needs a drop. NULL when it cannot be loaded. */
const struct weir_libpq *weir_libpq_hold(void);
void weir_libpq_drop(void);

#endif
