/* Private to the daemon room: boot, signals, service manager, the end. */
#ifndef WEIR_DAEMON_DAEMON_H
#define WEIR_DAEMON_DAEMON_H

#include <stdbool.h>

#include "weir/conf.h"
#include "weir/net.h"
#include "weir/route.h"

/* --- options.c ------------------------------------------------------------------------- */

struct options {
    const char *file;
    const char *user;
    bool daemon;
    bool check;
    bool quiet;
    int verbose;
    bool print_reference; /* for the manual, not advertised */
    bool print_sample;
};

/* -1: go on; otherwise the exit status (help and version are printed already). */
int options_read(struct options *options, int argc, char **argv);

/* --- daemon.c -------------------------------------------------------------------------- */

/* Boots and runs until the end. `ready` is called once everything listens. Returns the exit status.
 */
int daemon_run(const struct options *options, struct weir_conf *conf, void (*ready)(void));
/* Reads the file and prints problems and warnings to stderr; NULL when it is bad. */
struct weir_conf *daemon_read_conf(const char *file, bool quiet);

/* --- background.c ---------------------------------------------------------------------- */

/* Forks into the background. The parent stays until the child says that it is ready, or has failed,
 * and exits with that status, so that a failed start is a failed command. */
void background_enter(void);
void background_ready(void);

/* --- pidfile.c ------------------------------------------------------------------------- */

/* Creates and locks the file. False with a message on stderr when another process holds it. */
bool pidfile_take(const char *path);
void pidfile_drop(void);

/* --- limits.c -------------------------------------------------------------------------- */

/* Raises the descriptor limit to what the configuration may need. NULL, or what is missing (free
 * it). */
char *limits_raise_descriptors(const struct weir_conf *conf);
/* Gives up root. False with a message on stderr. */
bool limits_switch_user(const char *user);

/* --- service.c: the service manager ---------------------------------------------------- */

/* There is one that listens to what we say. */
bool service_is_managed(void);
/* Number of listening sockets handed over, which begin at descriptor 3. */
int service_inherited_sockets(void);
void service_notify(const char *state);
void service_notify_reloading(void);
/* What `systemctl status` shows; the first line of `text`. */
void service_status(const char *text);
/* Feeds the watchdog from the loop, twice as often as it is asked for, when there is one. */
void service_watchdog_start(struct weir_loop *loop, ev_timer *timer);

/* --- status.c: the line that `systemctl status` shows ----------------------------------- */

struct status_line {
    ev_timer timer;
    const struct weir_router *router;
    char *last; /* as it was told */
    uint64_t transactions;
};

/* Tells what is carried, once a second when it has changed and somebody listens. */
void status_start(struct status_line *status, struct weir_loop *loop,
                  const struct weir_router *router);
/* Before the router goes. */
void status_stop(struct status_line *status, struct weir_loop *loop);

#endif
