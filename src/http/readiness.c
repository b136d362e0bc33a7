#include "readiness.h"

#include <stdlib.h>

#include "weir/memory.h"

/* Every pool that exists is failing. Some failing is the matter of those databases alone. */
static void check_pools(const struct weir_http_shot *shot,
                        void (*each)(void *context, const char *reason), void *context)
{
    size_t pools = shot->left_out > 0 ? WEIR_HTTP_POOLS + shot->left_out : shot->pool_count;
    if (pools == 0 || (size_t)shot->failing < pools)
        return;
    const char *problem = shot->pools[0].problem;
    char *reason = weir_format("no pool can connect to its server%s%s", problem != NULL ? ": " : "",
                               problem != NULL ? problem : "");
    each(context, reason);
    free(reason);
}

void weir_http_unready(const struct weir_http_shot *shot,
                       void (*each)(void *context, const char *reason), void *context)
{
    if (shot->daemon.draining)
        each(context, "draining: the pooler is shutting down");
    if (shot->daemon.paused)
        each(context, "paused: PAUSE is in force");
    if (shot->daemon.suspended)
        each(context, "suspended: SUSPEND is in force");
    check_pools(shot, each, context);
}

struct listing {
    struct weir_http_body *body;
    bool ready;
};

static void list(void *context, const char *reason)
{
    struct listing *listing = context;
    listing->ready = false;
    weir_http_put(listing->body, reason);
    weir_http_put(listing->body, "\n");
}

bool weir_http_readiness(const struct weir_http_shot *shot, struct weir_http_body *body)
{
    struct listing listing = {body, true};
    weir_http_unready(shot, list, &listing);
    if (listing.ready)
        weir_http_put(body, "ready\n");
    return listing.ready;
}
