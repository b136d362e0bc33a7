/* Private to the daemon room: boot, signals, service manager, the end. */
#ifndef WEIR_DAEMON_DAEMON_H
#define WEIR_DAEMON_DAEMON_H

#include <stdbool.h>
#include <stdio.h>

#include "weir/conf.h"
#include "weir/net.h"
#include "weir/option.h"
#include "weir/route.h"

/* --- options.c ------------------------------------------------------------------------- */

struct options {
    const char *file;
    const char *user;
    bool daemon;
    bool check;
    bool running; /* with check: what a reload would change */
    bool import;
    const char *lookup; /* with check: the user to look up, NULL: auth_user */
    const char *output; /* of import, NULL: stdout */
    bool quiet;
    int verbose;
    const char *print; /* the name of a generated page; not advertised */
};

enum option_id {
    OPTION_NONE = WEIR_OPTION_NONE,
#define WEIR_OPTION(id, ...) OPTION_##id,
#include "weir/options.def"
#undef WEIR_OPTION
};

extern const struct weir_option options_pgweir[];
extern const struct weir_option options_top[];

/* -1: go on; otherwise the exit status (help and version are printed already). */
int options_read(struct options *options, int argc, char **argv);

/* --- daemon.c -------------------------------------------------------------------------- */

/* Boots and runs until the end. `ready` is called once everything listens. Returns the exit status.
 */
int daemon_run(const struct options *options, struct weir_conf *conf, void (*ready)(void));
/* Reads the file and prints problems and warnings to stderr; NULL when it is bad. */
struct weir_conf *daemon_read_conf(const char *file, bool quiet);

/* --- pages.c, completion.c: what is generated ------------------------------------------- */

/* Prints a page by its name; false with a message on stderr when there is none of that name. */
bool pages_print(const char *name);
void completion_print_bash(FILE *out);
void completion_print_zsh(FILE *out);

/* --- import.c, running.c: work on files, each with the exit status ----------------------- */

int import_run(const struct options *options);
/* Asks the daemon that runs by `file` what a reload would change, and prints it. */
int running_run(const char *file);

/* --- prove.c --------------------------------------------------------------------------- */

/* Looks `user` (NULL: auth_user itself) up for every database whose users are looked up, and members of
 * roles if the rules (may be NULL) name any, and prints how it went. It blocks. False: something is
 * missing. */
bool prove_lookups(const struct weir_conf *conf, const struct weir_user_file *users,
                   const struct weir_hba *rules, const char *user);

/* --- background.c ---------------------------------------------------------------------- */

/* Forks into the background. The parent stays until the child says that it is ready, or has failed,
 * and exits with that status, so that a failed start is a failed command. */
void background_enter(void);
void background_ready(void);

/* --- rules.c --------------------------------------------------------------------------- */

/* The files of auth_hba_file and auth_ident_file; *rules NULL without a problem: auth_type is another
 * one. False with *problem (free it). */
bool rules_read(const struct weir_conf *conf, struct weir_hba **rules, char **problem);
/* What is dangerous in them, to be freed, or NULL. */
char *rules_warning(const struct weir_conf *conf, const struct weir_hba *rules);
/* The same for --check: says on stdout what they are, or on stderr what is wrong. */
bool rules_check(const struct weir_conf *conf, struct weir_hba **rules);

/* --- encryption.c ---------------------------------------------------------------------- */

/* The client_tls settings and the files they name; `rules` (may be NULL) say whether clients are asked
 * for certificates. The caller releases tls->context. False with *problem (free it). */
bool encryption_read(const struct weir_conf *conf, const struct weir_hba *rules,
                     struct weir_client_tls *tls, char **problem);
/* The same for --check: says on stderr what is wrong. */
bool encryption_check(const struct weir_conf *conf, const struct weir_hba *rules);

/* --- pidfile.c ------------------------------------------------------------------------- */

/* Creates and locks the file. False with a message on stderr when another process holds it. */
bool pidfile_take(const char *path);
void pidfile_drop(void);

/* --- web.c: metrics and the status page ------------------------------------------------ */

struct web {
    struct weir_loop *loop;
    const struct weir_router *router;
    struct weir_http *http; /* NULL: off, or could not be listened to */
    char *listen;           /* what is in force */
};

/* Whether http_listen can be understood; if not, *problem says why, to be freed. */
bool web_check(const struct weir_conf *conf, char **problem);
/* False with a message on stderr when a place that the file names cannot be listened to; when it is
 * the default's, a warning in the log is all. */
bool web_start(struct web *web, struct weir_loop *loop, const struct weir_router *router,
               const struct weir_conf *conf);
/* After a reload. */
void web_follow(struct web *web, const struct weir_conf *conf);
/* The pages are where `conf` wants them. */
bool web_follows(const struct web *web, const struct weir_conf *conf);
/* Before the router is destroyed; also when it was never started. */
void web_stop(struct web *web);

/* --- limits.c -------------------------------------------------------------------------- */

/* Raises the descriptor limit to what the configuration may need. NULL, or what is missing (free
 * it). */
char *limits_raise_descriptors(const struct weir_conf *conf);
/* Whether a crash leaves a core dump, and whether other processes of the same user may look into this
 * one. To be called again after each change of the user. */
void limits_set_core_dumps(bool allowed);
/* Gives up root. False with a message on stderr. */
bool limits_switch_user(const char *user);

/* --- service.c: the service manager ---------------------------------------------------- */

/* Number of listening sockets handed over, which begin at descriptor 3. */
int service_inherited_sockets(void);
void service_notify(const char *state);
void service_notify_reloading(void);
/* What `systemctl status` shows; the first line of `text`. */
void service_status(const char *text);
/* Feeds the watchdog from the loop, twice as often as it is asked for, when there is one. */
void service_watchdog_start(struct weir_loop *loop, ev_timer *timer);

#endif
