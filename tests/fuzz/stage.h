/* What targets with sockets play on: a loop, and a Unix socket on which their server listens. */
#ifndef FUZZ_STAGE_H
#define FUZZ_STAGE_H

#include "weir/net.h"

struct fuzz_stage {
    struct weir_loop loop;
    struct weir_list listeners;
    char host[64]; /* of the server, port 5432 */
};

/* Once per process; `name` is the target's. */
void fuzz_stage_open(struct fuzz_stage *stage, const char *name, weir_on_accept *accept);
void fuzz_stage_turns(struct fuzz_stage *stage, int count);

#endif
