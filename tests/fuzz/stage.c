#include "stage.h"

#include <stdio.h>
#include <unistd.h>

#include "weir/log.h"
#include "weir/memory.h"

void fuzz_stage_open(struct fuzz_stage *stage, const char *name, weir_on_accept *accept)
{
    static const struct weir_log_target quiet = {.level = WEIR_LOG_ERROR};
    static const struct weir_listen_options options = {.backlog = 64};
    char *problem = NULL;
    weir_require(weir_log_open(&quiet));
    weir_require(weir_loop_init(&stage->loop));
    weir_list_init(&stage->listeners);
    snprintf(stage->host, sizeof(stage->host), "@pgweir-fuzz-%s-%d", name, getpid());
    weir_require(weir_listen_unix(&stage->loop, &stage->listeners, stage->host, 5432, &options,
                                  accept, NULL, &problem));
}

void fuzz_stage_turns(struct fuzz_stage *stage, int count)
{
    for (int i = 0; i < count; i++)
        ev_run(stage->loop.ev, EVRUN_NOWAIT);
}
