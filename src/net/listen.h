/* Listeners: what the TCP and the Unix side of listening share. */
#ifndef WEIR_NET_LISTEN_H
#define WEIR_NET_LISTEN_H

#include "weir/net.h"

struct weir_listener {
    struct weir_list link; /* first: the owner's list is of these */
    struct weir_loop *loop;
    ev_io io;
    ev_timer pause;  /* runs while descriptors are used up */
    int lock;        /* open lock file of a Unix socket, or -1 */
    char *path;      /* Unix socket file to remove, or NULL */
    char *lock_path; /* or NULL */
    bool is_tcp;
    bool is_inherited; /* from the service manager */
    bool *gone;        /* set when closed while accepting */
    weir_on_accept *on_accept;
    void *context;
};

/* Starts accepting on a socket that listens already; never fails. */
struct weir_listener *weir_listener_start(struct weir_loop *loop, int fd, weir_on_accept *on_accept,
                                          void *context);
void weir_listener_close(struct weir_listener *listener);

#endif
