/* Names to addresses, and addresses to names, without blocking: c-ares driven by the loop, answers
 * cached for a moment. */
#ifndef WEIR_RESOLVE_H
#define WEIR_RESOLVE_H

#include <stddef.h>

#include "weir/net.h"

struct weir_resolver;
struct weir_resolver_entry;

/* The answer; everything lives as long as the callback runs. */
struct weir_resolve_result {
    const struct weir_address *addresses; /* of a name, with port 0 */
    size_t count;
    const char *name;    /* of an address: as /etc/hosts or the owner of the address has it */
    const char *problem; /* NULL: there is an answer */
};

/* One question, embedded in its owner; zeroed means not asked. */
struct weir_resolve_query {
    struct weir_task task;
    struct weir_list link; /* in its entry's waiters */
    struct weir_resolver_entry *entry;
    void (*done)(struct weir_resolve_query *query, const struct weir_resolve_result *result);
};

/* The answer comes from the loop, never from inside this call. `query->done` is set by the caller;
 * the query may be asked again or freed in it. */
void weir_resolve_start(struct weir_loop *loop, const char *name, struct weir_resolve_query *query);
/* The other way round; the port does not matter, IPv4 inside IPv6 is taken as IPv4. Who owns the address
 * can give it any name: believe it only when that name has this address. */
void weir_resolve_start_address(struct weir_loop *loop, const struct weir_address *address,
                                struct weir_resolve_query *query);
/* No answer will come. Safe whether asked or not. */
void weir_resolve_cancel(struct weir_resolve_query *query);
/* Whether `text` is a numeric address ("127.0.0.1", "::1", "fe80::1%eth0"); then fills `address`.
 */
bool weir_resolve_numeric(const char *text, struct weir_address *address);
/* Asks these servers ("127.0.0.1:5353,...") instead of the system's. Not while a question is open.
 */
void weir_resolver_use_servers(struct weir_loop *loop, const char *servers);
/* Open questions are forgotten without an answer. NULL is fine. */
void weir_resolver_destroy(struct weir_resolver *resolver);

#endif
