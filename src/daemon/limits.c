#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon.h"
#include "weir/memory.h"

/* Listeners, log, loop, resolver, cancels under way, readers of metrics. */
#define OTHER_DESCRIPTORS 200

static rlim_t needed_descriptors(const struct weir_conf *conf)
{
    rlim_t per_pool = (rlim_t)conf->pool.pool_size + (rlim_t)conf->pool.max_overflow;
    rlim_t pools = conf->database_count > 0 ? conf->database_count : 1;
    rlim_t servers = per_pool * pools, cap = (rlim_t)conf->max_server_connections;
    if (cap > 0 && servers > cap)
        servers = cap;
    rlim_t consoles = (rlim_t)conf->max_console_connections;
    return (rlim_t)conf->max_client_conn + WEIR_ROUTER_STRANGERS + consoles + servers +
           OTHER_DESCRIPTORS;
}

char *limits_raise_descriptors(const struct weir_conf *conf)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return NULL;
    rlim_t needed = needed_descriptors(conf), before = limit.rlim_cur, most = limit.rlim_max;
    if (limit.rlim_cur >= needed)
        return NULL;
    limit.rlim_cur = needed;
    if (limit.rlim_max < needed)
        limit.rlim_max = needed;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return NULL;
    char *problem = weir_format(
        "max_client_conn %d with its server connections needs %llu descriptors, the limit of %llu "
        "cannot be raised that far (LimitNOFILE, ulimit -n): %s",
        conf->max_client_conn, (unsigned long long)needed, (unsigned long long)most,
        strerror(errno));
    /* As far as it goes. */
    limit = (struct rlimit){.rlim_cur = most, .rlim_max = most};
    if (most > before)
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    return problem;
}

void limits_set_core_dumps(bool allowed)
{
    /* The limit of the size alone would not hold where dumps go to a program. */
    (void)prctl(PR_SET_DUMPABLE, allowed ? 1 : 0, 0, 0, 0);
}

bool limits_switch_user(const char *user)
{
    if (user == NULL || user[0] == '\0') {
        if (geteuid() != 0)
            return true;
        fputs("pgweir: will not run as root: name a user with -u or the setting 'user'\n", stderr);
        return false;
    }
    const struct passwd *entry = getpwnam(user);
    if (entry == NULL) {
        fprintf(stderr, "pgweir: user \"%s\" does not exist\n", user);
        return false;
    }
    if (entry->pw_uid == geteuid())
        return true;
    if (geteuid() != 0) {
        fprintf(stderr, "pgweir: only root can switch to user \"%s\"\n", user);
        return false;
    }
    if (initgroups(user, entry->pw_gid) != 0 || setgid(entry->pw_gid) != 0 ||
        setuid(entry->pw_uid) != 0) {
        fprintf(stderr, "pgweir: cannot switch to user \"%s\": %s\n", user, strerror(errno));
        return false;
    }
    return true;
}
