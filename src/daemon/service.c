#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "daemon.h"

#ifdef WEIR_SYSTEMD
#include <systemd/sd-daemon.h>

int service_inherited_sockets(void)
{
    int count = sd_listen_fds(1);
    return count > 0 ? count : 0;
}

void service_notify(const char *state)
{
    sd_notify(0, state);
}

void service_notify_reloading(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
               (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

#else

int service_inherited_sockets(void)
{
    return 0;
}

void service_notify(const char *state)
{
}

void service_notify_reloading(void)
{
}

#endif
