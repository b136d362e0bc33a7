/* Where a benchmark program listens or connects: a loopback TCP port, or a Unix socket named the
 * way PostgreSQL names it (DIRECTORY/.s.PGSQL.PORT) when the host starts with a slash. */
#ifndef BENCH_ENDPOINT_H
#define BENCH_ENDPOINT_H

#include <stddef.h>
#include <stdint.h>

struct bench_endpoint {
    const char *host; /* numeric IPv4 address or directory */
    int port;
};

/* Both print what failed and exit: a benchmark without its sockets has nothing to go on with. */
int bench_endpoint_listen(const struct bench_endpoint *endpoint);

/* Accepts one connection, non-blocking and with TCP_NODELAY; -1 when none is waiting. */
int bench_endpoint_accept(int listener);

/* A connected, non-blocking socket. */
int bench_endpoint_connect(const struct bench_endpoint *endpoint);

/* Parses a whole decimal argument within bounds or exits with a message naming the option. */
uint64_t bench_argument_number(const char *option, const char *text, uint64_t low, uint64_t high);

/* Never returns NULL. */
void *bench_allocate(size_t size);

#endif
