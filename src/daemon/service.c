/* The service manager: readiness, reloads, watchdog, status line, sockets it hands over. Without one
 * (or without libsystemd) all of this does nothing. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
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

/* Type=notify-reload wants the time at which the reload began. */
void service_notify_reloading(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=reading the configuration again",
               (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

void service_status(const char *text)
{
    /* One line: what follows a line break would be another assignment. */
    sd_notifyf(0, "STATUS=%.*s", (int)strcspn(text, "\n"), text);
}

static void on_watchdog(struct ev_loop *ev, ev_timer *timer, int events)
{
    sd_notify(0, "WATCHDOG=1");
}

void service_watchdog_start(struct weir_loop *loop, ev_timer *timer)
{
    uint64_t limit = 0;
    /* The environment stays: a child of ours there is not, and it is read once. */
    if (sd_watchdog_enabled(0, &limit) <= 0 || limit == 0)
        return;
    double period = (double)limit / 2e6;
    ev_timer_init(timer, on_watchdog, 0., period);
    ev_timer_start(loop->ev, timer);
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

void service_status(const char *text)
{
}

void service_watchdog_start(struct weir_loop *loop, ev_timer *timer)
{
}

#endif
