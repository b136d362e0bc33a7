#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon.h"

/* Listeners, log, loop, resolver, cancels under way. */
#define OTHER_DESCRIPTORS 128

bool limits_raise_descriptors(const struct weir_conf *conf)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return true;
    rlim_t per_pool = (rlim_t)conf->pool.pool_size + (rlim_t)conf->pool.max_overflow;
    rlim_t pools = conf->database_count > 0 ? conf->database_count : 1;
    rlim_t needed = (rlim_t)conf->max_client_conn + per_pool * pools + OTHER_DESCRIPTORS;
    if (limit.rlim_cur >= needed)
        return true;
    limit.rlim_cur = needed;
    if (limit.rlim_max < needed)
        limit.rlim_max = needed;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return true;
    fprintf(stderr,
            "pgweir: max_client_conn %d with its server connections needs %llu descriptors, the "
            "limit cannot be raised that far (LimitNOFILE, ulimit -n): %s\n",
            conf->max_client_conn, (unsigned long long)needed, strerror(errno));
    return false;
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
