/* Boot order, signals and the end. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "weir/admin.h"
#include "weir/clock.h"
#include "weir/log.h"
#include "weir/memory.h"

enum ending {
    ENDING_NOT,
    ENDING_DRAIN,   /* TERM: every client at its transaction boundary */
    ENDING_AT_ONCE, /* QUIT, or a second signal */
};

struct daemon {
    const struct options *options;
    struct weir_loop loop;
    struct weir_router *router;
    struct weir_admin *admin;
    struct weir_conf *conf; /* the router's; for what the daemon itself needs */
    struct weir_list listeners;
    struct web web;
    ev_signal on_hup, on_term, on_int, on_quit, on_usr1;
    ev_timer end_check;
    ev_timer stats;
    ev_timer watchdog;
    ev_timer shutdown; /* asked for by the console: begins in a later turn */
    enum weir_shutdown shutdown_how;
    enum ending ending;
    weir_usec end_at;
};

struct weir_conf *daemon_read_conf(const char *file, bool quiet)
{
    char *problems = NULL, *warnings = NULL;
    struct weir_conf *conf = weir_conf_read(file, &problems, &warnings);
    if (problems != NULL && conf == NULL)
        fprintf(stderr, "%s%s", problems, problems[strlen(problems) - 1] == '\n' ? "" : "\n");
    if (warnings != NULL && !quiet)
        fprintf(stderr, "%s%s", warnings, warnings[strlen(warnings) - 1] == '\n' ? "" : "\n");
    free(problems);
    free(warnings);
    return conf;
}

static bool open_log(const struct daemon *daemon, const struct weir_conf *conf)
{
    int level = (int)conf->log_level + daemon->options->verbose;
    struct weir_log_target target = {
        .level = level > WEIR_LOG_DEBUG ? WEIR_LOG_DEBUG : (enum weir_log_level)level,
        .format = conf->log_format,
        .file = conf->logfile[0] != '\0' ? conf->logfile : NULL,
        .to_stderr = !daemon->options->quiet && !daemon->options->daemon,
        .to_syslog = conf->syslog,
        .syslog_ident = conf->syslog_ident,
        .syslog_facility = conf->syslog_facility,
    };
    if (weir_log_open(&target))
        return true;
    fprintf(stderr, "pgweir: logfile %s: %s\n", conf->logfile, strerror(errno));
    return false;
}

/* NULL without problem: no auth_file. */
static bool read_users(const struct weir_conf *conf, struct weir_user_file **users, char **problem)
{
    *users = NULL;
    *problem = NULL;
    if (conf->auth_file[0] == '\0')
        return true;
    *users = weir_user_file_read(conf->auth_file, conf->refuse_readable_secrets, problem);
    return *users != NULL;
}

/* --- following the configuration ------------------------------------------------------- */

static void on_stats(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct daemon *daemon = timer->data;
    if (daemon->conf->log_stats)
        weir_router_log_stats(daemon->router);
}

/* The first line comes a whole period after a start or a change. */
static void time_stats(struct daemon *daemon)
{
    double period = (double)daemon->conf->stats_period / 1e6;
    if (daemon->stats.repeat == period)
        return;
    ev_timer_stop(daemon->loop.ev, &daemon->stats);
    ev_timer_set(&daemon->stats, period, period);
    if (period > 0)
        ev_timer_start(daemon->loop.ev, &daemon->stats);
}

/* What the daemon itself does otherwise with another snapshot. */
static void follow_conf(struct daemon *daemon)
{
    time_stats(daemon);
    limits_set_core_dumps(daemon->conf->core_dumps);
    char *problem = limits_raise_descriptors(daemon->conf);
    if (problem != NULL)
        weir_log_error(NULL, "limits", "%s", problem);
    free(problem);
    web_follow(&daemon->web, daemon->conf);
}

/* Takes the rules over; the log is open. */
static void follow_rules(struct daemon *daemon, const struct weir_conf *conf,
                         struct weir_hba *rules)
{
    char *warning = rules_warning(conf, rules);
    if (warning != NULL)
        weir_log_warning(NULL, "rules", "%s", warning);
    free(warning);
    weir_router_set_rules(daemon->router, rules);
}

/* --- reading the configuration again -------------------------------------------------------- */

/* The log has all of it; `systemctl status` shows the first line. Takes `problem` over. */
static bool refuse_reload(struct daemon *daemon, char *problem, char **told)
{
    weir_log_error(NULL, "reload", "the old configuration stays: %s", problem);
    char *status = weir_format("the old configuration stays: %s", problem);
    service_status(status);
    free(status);
    weir_router_note_reload(daemon->router, problem);
    if (told != NULL)
        *told = problem;
    else
        free(problem);
    return false;
}

/* Takes `conf` over. False with *problem: everything stays as it was. */
static bool follow(struct daemon *daemon, struct weir_conf *conf, char **problem)
{
    struct weir_user_file *users = NULL;
    struct weir_hba *rules = NULL;
    struct weir_client_tls tls;
    char *unreadable = NULL;
    if (!web_check(conf, problem) || !rules_read(conf, &rules, problem)) {
        weir_conf_destroy(conf);
        return false;
    }
    if (!encryption_read(conf, rules, &tls, problem)) {
        weir_hba_release(rules);
        weir_conf_destroy(conf);
        return false;
    }
    if (!read_users(conf, &users, &unreadable)) {
        weir_hba_release(rules);
        weir_tls_context_release(tls.context);
        *problem = weir_format("auth_file: %s", unreadable);
        free(unreadable);
        weir_conf_destroy(conf);
        return false;
    }
    if (!open_log(daemon, conf))
        weir_log_error(NULL, "reload", "the old log stays open");
    daemon->conf = conf;
    weir_router_reload(daemon->router, conf, users);
    follow_rules(daemon, conf, rules);
    weir_router_set_tls(daemon->router, &tls);
    weir_tls_context_release(tls.context);
    follow_conf(daemon);
    return true;
}

/* *told, if `told` is given: why it failed, to be freed. */
static bool reload(struct daemon *daemon, char **told)
{
    char *problems = NULL, *warnings = NULL, *problem = NULL;
    struct weir_conf *conf = weir_conf_read(daemon->options->file, &problems, &warnings);
    if (warnings != NULL)
        weir_log_warning(NULL, "reload", "%s", warnings);
    free(warnings);
    if (conf == NULL)
        return refuse_reload(daemon, problems != NULL ? problems : weir_strdup("unreadable"), told);
    free(problems);
    if (!follow(daemon, conf, &problem))
        return refuse_reload(daemon, problem, told);
    service_status("running");
    return true;
}

/* --- signals --------------------------------------------------------------------------- */

static void on_hup(struct ev_loop *ev, ev_signal *watcher, int events)
{
    service_notify_reloading();
    reload(watcher->data, NULL);
    service_notify("READY=1");
}

static void end(struct daemon *daemon)
{
    weir_loop_stop(&daemon->loop);
}

static void on_end_check(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct daemon *daemon = timer->data;
    if (weir_router_is_drained(daemon->router)) {
        end(daemon);
    } else if (daemon->end_at > 0 && daemon->loop.now >= daemon->end_at) {
        weir_log_warning(NULL, "shutdown", "shutdown_timeout: closing who is left");
        end(daemon);
    }
}

static void begin_drain(struct daemon *daemon, weir_usec limit)
{
    if (daemon->ending != ENDING_NOT) {
        daemon->ending = ENDING_AT_ONCE;
        end(daemon);
        return;
    }
    daemon->ending = ENDING_DRAIN;
    daemon->end_at = limit > 0 ? daemon->loop.now + limit : 0;
    weir_log_info(NULL, "shutdown", "draining");
    service_notify("STOPPING=1\nSTATUS=draining");
    /* Own Unix sockets stay to the end: the console must be within reach. Others are refused there.
     * At sockets of the service manager clients wait for the next daemon. */
    weir_listen_close_public(&daemon->listeners);
    weir_router_drain(daemon->router);
    ev_timer_start(daemon->loop.ev, &daemon->end_check);
}

static void on_term(struct ev_loop *ev, ev_signal *watcher, int events)
{
    struct daemon *daemon = watcher->data;
    begin_drain(daemon, daemon->conf->shutdown_timeout);
}

/* Faster: whoever is still in a transaction has a moment only. */
static void on_int(struct ev_loop *ev, ev_signal *watcher, int events)
{
    struct daemon *daemon = watcher->data;
    weir_usec limit = daemon->conf->shutdown_timeout;
    begin_drain(daemon, limit == 0 || limit > 2 * WEIR_SEC ? 2 * WEIR_SEC : limit);
}

static void on_quit(struct ev_loop *ev, ev_signal *watcher, int events)
{
    struct daemon *daemon = watcher->data;
    daemon->ending = ENDING_AT_ONCE;
    end(daemon);
}

static void on_usr1(struct ev_loop *ev, ev_signal *watcher, int events)
{
    struct daemon *daemon = watcher->data;
    weir_router_report(daemon->router);
}

static void watch_signal(struct daemon *daemon, ev_signal *watcher, int number,
                         void (*handler)(struct ev_loop *, ev_signal *, int))
{
    ev_signal_init(watcher, handler, number);
    watcher->data = daemon;
    ev_signal_start(daemon->loop.ev, watcher);
}

static void watch_signals(struct daemon *daemon)
{
    signal(SIGPIPE, SIG_IGN);
    /* PgBouncer resumes by it; scripts made for that must not kill. */
    signal(SIGUSR2, SIG_IGN);
    watch_signal(daemon, &daemon->on_hup, SIGHUP, on_hup);
    watch_signal(daemon, &daemon->on_term, SIGTERM, on_term);
    watch_signal(daemon, &daemon->on_int, SIGINT, on_int);
    watch_signal(daemon, &daemon->on_quit, SIGQUIT, on_quit);
    watch_signal(daemon, &daemon->on_usr1, SIGUSR1, on_usr1);
    ev_timer_init(&daemon->end_check, on_end_check, 0.05, 0.05);
    daemon->end_check.data = daemon;
    ev_timer_init(&daemon->stats, on_stats, 0., 0.);
    daemon->stats.data = daemon;
    time_stats(daemon);
}

/* --- what the console asks of the daemon ------------------------------------------------------ */

static bool console_reload(void *context, char **problem)
{
    service_notify_reloading();
    bool good = reload(context, problem);
    service_notify("READY=1");
    return good;
}

static bool console_set(void *context, const char *name, const char *value, char **problem)
{
    struct daemon *daemon = context;
    struct weir_conf *conf = weir_conf_with(daemon->conf, name, value, problem);
    if (conf == NULL || !follow(daemon, conf, problem))
        return false;
    if (strcmp(name, "http_listen") != 0 || web_follows(&daemon->web, conf))
        return true;
    *problem =
        weir_strdup("http_listen: cannot listen there, as the log says; the pages stay where "
                    "they were");
    return false;
}

static struct weir_conf *console_read(void *context, char **problem)
{
    struct daemon *daemon = context;
    char *warnings = NULL;
    struct weir_conf *conf = weir_conf_read(daemon->options->file, problem, &warnings);
    free(warnings);
    return conf;
}

static void on_shutdown(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct daemon *daemon = timer->data;
    switch (daemon->shutdown_how) {
    case WEIR_SHUTDOWN_NOW:
        daemon->ending = ENDING_AT_ONCE;
        end(daemon);
        break;
    case WEIR_SHUTDOWN_WAIT_SERVERS:
        on_int(ev, &daemon->on_int, 0);
        break;
    case WEIR_SHUTDOWN_WAIT_CLIENTS:
        on_term(ev, &daemon->on_term, 0);
        break;
    }
}

static void console_shutdown(void *context, enum weir_shutdown how)
{
    struct daemon *daemon = context;
    daemon->shutdown_how = how;
    ev_timer_stop(daemon->loop.ev, &daemon->shutdown);
    ev_timer_init(&daemon->shutdown, on_shutdown, 0., 0.);
    daemon->shutdown.data = daemon;
    ev_timer_start(daemon->loop.ev, &daemon->shutdown);
}

static const struct weir_admin_ops console_ops = {
    .reload = console_reload,
    .set = console_set,
    .read = console_read,
    .shutdown = console_shutdown,
};

/* --- boot ------------------------------------------------------------------------------ */

static bool listen_inherited(struct daemon *daemon, int count)
{
    for (int fd = 3; fd < 3 + count; fd++)
        if (!weir_listen_inherited(&daemon->loop, &daemon->listeners, fd, weir_router_accept,
                                   daemon->router))
            return false;
    return true;
}

static bool listen_everywhere(struct daemon *daemon)
{
    const struct weir_conf *conf = daemon->conf;
    int inherited = service_inherited_sockets();
    if (inherited > 0)
        return listen_inherited(daemon, inherited);
    struct weir_listen_options options = {
        .backlog = conf->listen_backlog,
        .so_reuseport = conf->so_reuseport,
        .unix_mode = conf->unix_socket_mode,
        .unix_group = conf->unix_socket_group[0] != '\0' ? conf->unix_socket_group : NULL,
    };
    char *problem = NULL;
    bool good =
        conf->listen_addr[0] == '\0' ||
        weir_listen_tcp(&daemon->loop, &daemon->listeners, conf->listen_addr, conf->listen_port,
                        &options, weir_router_accept, daemon->router, &problem);
    if (good && conf->unix_socket_dir[0] != '\0')
        good = weir_listen_unix(&daemon->loop, &daemon->listeners, conf->unix_socket_dir,
                                conf->listen_port, &options, weir_router_accept, daemon->router,
                                &problem);
    if (good && weir_list_is_empty(&daemon->listeners)) {
        good = false;
        problem = weir_strdup("nothing to listen on: set listen_addr or unix_socket_dir");
    }
    if (!good)
        fprintf(stderr, "pgweir: %s: %s\n", daemon->options->file,
                problem != NULL ? problem : "cannot listen");
    free(problem);
    return good;
}

/* What root could read the user must be able to read, too, or the first reload would fail. */
static bool become(struct daemon *daemon, const char *user)
{
    uid_t before = geteuid();
    if (!limits_switch_user(user))
        return false;
    if (geteuid() == before)
        return true;
    struct weir_conf *conf = daemon_read_conf(daemon->options->file, true);
    if (conf == NULL)
        return false;
    weir_conf_destroy(daemon->conf);
    daemon->conf = conf;
    return true;
}

static bool boot(struct daemon *daemon)
{
    struct weir_user_file *users = NULL;
    char *problem = NULL;
    const char *user = daemon->options->user != NULL ? daemon->options->user : daemon->conf->user;
    problem = limits_raise_descriptors(daemon->conf);
    if (problem != NULL)
        fprintf(stderr, "pgweir: %s\n", problem);
    bool enough = problem == NULL;
    free(problem);
    problem = NULL;
    if (!enough || !become(daemon, user))
        return false;
    limits_set_core_dumps(daemon->conf->core_dumps);
    struct weir_hba *rules = NULL;
    struct weir_client_tls tls;
    if (!rules_read(daemon->conf, &rules, &problem) ||
        !encryption_read(daemon->conf, rules, &tls, &problem)) {
        fprintf(stderr, "pgweir: %s\n", problem);
        free(problem);
        weir_hba_release(rules);
        return false;
    }
    if (!read_users(daemon->conf, &users, &problem)) {
        fprintf(stderr, "pgweir: auth_file: %s\n", problem);
        free(problem);
        weir_hba_release(rules);
        weir_tls_context_release(tls.context);
        return false;
    }
    if (!open_log(daemon, daemon->conf) || !weir_loop_init(&daemon->loop)) {
        weir_user_file_destroy(users);
        weir_hba_release(rules);
        weir_tls_context_release(tls.context);
        return false;
    }
    daemon->router = weir_router_create(&daemon->loop, daemon->conf, users);
    follow_rules(daemon, daemon->conf, rules);
    weir_router_set_tls(daemon->router, &tls);
    weir_tls_context_release(tls.context);
    daemon->admin = weir_admin_create(&daemon->loop, daemon->router, &console_ops, daemon);
    return listen_everywhere(daemon) &&
           web_start(&daemon->web, &daemon->loop, daemon->router, daemon->conf) &&
           pidfile_take(daemon->conf->pidfile);
}

int daemon_run(const struct options *options, struct weir_conf *conf, void (*ready)(void))
{
    struct daemon daemon = {.options = options, .conf = conf};
    weir_list_init(&daemon.listeners);
    if (!boot(&daemon)) {
        weir_listen_close_all(&daemon.listeners);
        web_stop(&daemon.web);
        if (daemon.router != NULL) {
            weir_admin_destroy(daemon.admin);
            weir_router_destroy(daemon.router);
            weir_loop_fini(&daemon.loop);
        } else {
            weir_conf_destroy(daemon.conf);
        }
        return 1;
    }
    watch_signals(&daemon);
    service_watchdog_start(&daemon.loop, &daemon.watchdog);
    weir_log_info(NULL, "start", "pgweir %s, pid %d, reads %s", WEIR_VERSION, getpid(),
                  options->file);
    if (ready != NULL)
        ready();
    service_notify("READY=1");
    weir_loop_run(&daemon.loop);
    service_notify("STOPPING=1");
    weir_listen_close_all(&daemon.listeners);
    web_stop(&daemon.web);
    weir_admin_destroy(daemon.admin);
    weir_router_destroy(daemon.router);
    weir_loop_fini(&daemon.loop);
    pidfile_drop();
    weir_log_info(NULL, "stop", "clean stop");
    return 0;
}
