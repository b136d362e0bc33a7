/* The line that `systemctl status` shows: what is carried, and what is not as it should be. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "weir/memory.h"
#include "weir/view.h"

#define STATUS_SECONDS 1.

static const char *condition(const struct weir_view_daemon *now)
{
    return now->draining    ? "draining, "
           : now->suspended ? "suspended, "
           : now->paused    ? "paused, "
                            : "";
}

static void on_status(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct status_line *status = timer->data;
    struct weir_view_daemon now;
    weir_view_daemon(status->router, &now);
    uint64_t transactions = now.counters->transactions;
    bool failed = now.reload_problem != NULL;
    char *text = weir_format(
        "%s%d clients, %d server connections, %" PRIu64 " transactions/s%s%s", condition(&now),
        now.clients, now.servers, transactions - status->transactions,
        failed ? "; the old configuration stays: " : "", failed ? now.reload_problem : "");
    status->transactions = transactions;
    if (status->last == NULL || strcmp(status->last, text) != 0)
        service_status(text);
    free(status->last);
    status->last = text;
}

void status_start(struct status_line *status, struct weir_loop *loop,
                  const struct weir_router *router)
{
    *status = (struct status_line){.router = router};
    ev_timer_init(&status->timer, on_status, STATUS_SECONDS, STATUS_SECONDS);
    status->timer.data = status;
    if (service_is_managed())
        ev_timer_start(loop->ev, &status->timer);
}

void status_stop(struct status_line *status, struct weir_loop *loop)
{
    ev_timer_stop(loop->ev, &status->timer);
    free(status->last);
    status->last = NULL;
}
