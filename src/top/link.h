/* Private to the top room: one connection to the console that never blocks but for names: libpq
 * resolves them itself. */
#ifndef WEIR_TOP_LINK_H
#define WEIR_TOP_LINK_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "grid.h"
#include "options.h"

enum link_state { LINK_DOWN, LINK_CONNECTING, LINK_READY, LINK_ASKING };

enum link_event {
    LINK_NOTHING,
    LINK_CONNECTED,
    LINK_ANSWERED, /* `answer` is there to be taken */
    LINK_REFUSED,  /* the console says no, in `problem` */
    LINK_LOST,     /* now down; why is in `problem` */
};

struct link {
    enum link_state state;
    PGconn *connection;
    weir_usec since; /* it is in this state */
    short events;    /* what poll is to wait for on link_socket */
    struct grid *answer;
    char *problem; /* one line, as the console wrote it */
    bool refused;
    bool wants_password; /* it was lost for want of one */
};

void link_open(struct link *link, const struct options *options, weir_usec now);
/* In LINK_READY only. Several answers come as several LINK_ANSWERED. */
void link_ask(struct link *link, const char *text, weir_usec now);
int link_socket(const struct link *link);
/* To be called when poll reports something, after link_ask, and while there is no socket. */
enum link_event link_advance(struct link *link, weir_usec now);
/* What was asked is given up. `problem` stays. */
void link_close(struct link *link);
/* Frees what is left, too. */
void link_end(struct link *link);

#endif
