/* The log: one line per event, text or JSON, each with the identity of who it concerns.
 *
 * Secrets never reach the logger. Repeats of one call site are rate limited with a count.
 * The logger is the only process-wide state besides the metrics, set up once at boot. */
#ifndef WEIR_LOG_H
#define WEIR_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/require.h"

enum weir_log_level {
    WEIR_LOG_ERROR,
    WEIR_LOG_WARNING,
    WEIR_LOG_INFO,
    WEIR_LOG_DEBUG,
};

enum weir_log_format { WEIR_LOG_TEXT, WEIR_LOG_JSON };

/* Who a line is about. Fields that are NULL or 0 are left out. `kind` is "client" or "server". */
struct weir_log_who {
    const char *kind;
    uint64_t id;
    const char *database;
    const char *user;
    const char *peer; /* "127.0.0.1:5555", "unix:1234" */
};

struct weir_log_target {
    enum weir_log_level level;
    enum weir_log_format format;
    const char *file; /* NULL: none. Reopened by weir_log_open. */
    bool to_stderr;
    bool to_syslog;
    const char *syslog_ident; /* NULL: pgweir; copied, of a long one the beginning */
    int syslog_facility;      /* LOG_DAEMON and the like, 0 is LOG_DAEMON */
};

/* (Re)opens the log; on failure the old target stays and false is returned with errno set. */
weir_must_check bool weir_log_open(const struct weir_log_target *target);
bool weir_log_enabled(enum weir_log_level level);

/* One line. `event` is a short stable word ("login", "close", "pool"), the format the message. */
void weir_log_write(enum weir_log_level level, const struct weir_log_who *who, const char *event,
                    const char *format, ...) weir_printf(4, 5);

/* Arguments are not evaluated when the level is off. `who` may be NULL. */
#define weir_log(level, who, event, ...)                                                           \
    (weir_log_enabled(level) ? weir_log_write(level, who, event, __VA_ARGS__) : (void)0)
#define weir_log_error(who, event, ...)   weir_log(WEIR_LOG_ERROR, who, event, __VA_ARGS__)
#define weir_log_warning(who, event, ...) weir_log(WEIR_LOG_WARNING, who, event, __VA_ARGS__)
#define weir_log_info(who, event, ...)    weir_log(WEIR_LOG_INFO, who, event, __VA_ARGS__)
#define weir_log_debug(who, event, ...)   weir_log(WEIR_LOG_DEBUG, who, event, __VA_ARGS__)

#endif
