/* The console alone: a router made of a few variables, and one client at the other end of a socket
 * pair. */
#ifndef FAKE_ROUTER_H
#define FAKE_ROUTER_H

#include <stdbool.h>
#include <stddef.h>

#include "console.h"
#include "weir/operator.h"

struct fake {
    struct weir_loop loop;
    struct weir_conf *conf;
    struct weir_admin *admin;
    struct weir_client client;
    int peer; /* the client's end */
    bool dismissed;
    /* What the router has and answers. */
    int clients;         /* that weir_view_clients_some knows */
    int walked;          /* portions that it was asked for */
    size_t most_at_once; /* rows in one of them */
    enum weir_operator_result result;
    bool paused, paused_out;
    int resumed;
    unsigned long long killed;
    bool set_fails;
    char set_name[64], set_value[64];
};

extern struct fake fake;

void fake_open(enum weir_console_rights rights);
void fake_close(void);
/* Turns of the loop, each at once. */
void fake_turn(int turns);
/* Writes what fits; the number of bytes. */
size_t fake_write(const void *bytes, size_t length);
/* What has come, at most `size` bytes. */
size_t fake_read(void *bytes, size_t size);
/* The router detaches the client. */
void fake_detach(void);
void fake_cancel(void);

#endif
