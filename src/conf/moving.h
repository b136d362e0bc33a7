/* The names that PgBouncer knows. */
#ifndef WEIR_CONF_MOVING_H
#define WEIR_CONF_MOVING_H

/* Of its global section, up to NULL. */
extern const char *const weir_pgbouncer_names[];

#endif
