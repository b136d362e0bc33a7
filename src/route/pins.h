/* State that keeps a client on its server connection: which, since when, after which statement. */
#ifndef WEIR_ROUTE_PINS_H
#define WEIR_ROUTE_PINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/clock.h"

#define PIN_KINDS 10

struct server;

/* Only while there are pins; by the number of the bit. */
struct pin_notes {
    struct {
        weir_usec since;
        char *text; /* beginning of the statement after which the state was found, or NULL */
        size_t length;
    } of[PIN_KINDS];
};

/* The only writer of server->pins: what is new is noted with the statement that ran last. */
void pins_set(struct server *server, unsigned pins);
void pins_free(struct server *server);
/* At the end of a transaction: what the pool's policy (state_...) makes of its state. False: the client
 * has been ended for it. */
bool pins_are_allowed(struct server *server);
/* WEIR_PIN_... of the server connection, session mode among them when a client is there. */
uint32_t pins_shown(const struct server *server);

#endif
