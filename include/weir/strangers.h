/* What is remembered of those who have not proven anything yet: how often an address connects, and how
 * often a user's proof from there has failed. A pure table of fixed size; the caller has the clock.
 *
 * A connection is let in or refused at once. After failed proofs neither the answer is given nor the
 * next proof of the same user from the same address begun before an instant that moves further away
 * with each failure; a larger number of failures of an address as a whole does the same to all users
 * from there. Nothing of that depends on whether the user exists, and nothing that comes from one
 * address delays anybody at another one.
 *
 * Where a place is needed, what was not touched for the longest time gives way: who has very many
 * addresses can make the table forget, and with those addresses he has as many first tries anyway. */
#ifndef WEIR_STRANGERS_H
#define WEIR_STRANGERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "weir/clock.h"
#include "weir/require.h"

/* Failures that cost nothing: of one user from one address, and of an address. */
#define WEIR_FREE_FAILURES         3
#define WEIR_FREE_ADDRESS_FAILURES 100
/* One failure of a user is forgotten in this time without another one, and so many of an address. */
#define WEIR_FAILURE_FORGOTTEN (30 * WEIR_SEC)
#define WEIR_ADDRESS_FORGETS   30
/* Connections that are refused are worth a line in the log this often per address. */
#define WEIR_REFUSAL_TOLD_EVERY (10 * WEIR_SEC)

struct weir_strangers;

struct weir_strangers_limits {
    int rate;             /* connections per second and address; 0: without limit */
    int burst;            /* that many may come at once */
    weir_usec delay;      /* after the first failure that is not free; it doubles; 0: none */
    weir_usec delay_most; /* where doubling ends */
};

/* An address as it is counted: IPv4 by itself, also inside IPv6; IPv6 by its first 64 bits; of a Unix
 * socket the system user at the other end. */
struct weir_stranger {
    uint8_t bytes[17];
};
void weir_stranger_from_address(struct weir_stranger *stranger, const struct sockaddr *address);
void weir_stranger_from_user(struct weir_stranger *stranger, uid_t uid);

struct weir_strangers *weir_strangers_create(void);
void weir_strangers_destroy(struct weir_strangers *strangers); /* NULL is fine */
/* May change at any time. */
void weir_strangers_limit(struct weir_strangers *strangers,
                          const struct weir_strangers_limits *limits);

enum weir_stranger_verdict {
    WEIR_STRANGER_WELCOME,
    WEIR_STRANGER_REFUSED,
    WEIR_STRANGER_REFUSED_AND_TELL, /* the same, and it is time for a line in the log */
};
/* A connection came. With TELL *refused is how many were refused since the last line, this one
 * included. */
enum weir_stranger_verdict weir_strangers_connect(struct weir_strangers *strangers,
                                                  const struct weir_stranger *stranger,
                                                  weir_usec now, uint64_t *refused);

/* The instant before which no proof of this user from there is to begin; `now` or less: at once. */
weir_usec weir_strangers_wait(const struct weir_strangers *strangers,
                              const struct weir_stranger *stranger, const char *user);
/* A proof failed: the instant before which the answer is not to be given; `now`: at once. */
weir_usec weir_strangers_failed(struct weir_strangers *strangers,
                                const struct weir_stranger *stranger, const char *user,
                                weir_usec now);
/* Names a user at an address, for whoever wants to count those that wait. */
uint64_t weir_strangers_key(const struct weir_strangers *strangers,
                            const struct weir_stranger *stranger, const char *user);

#endif
