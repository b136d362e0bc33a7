#include "endpoint.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in inet;
    struct sockaddr_un local;
};

static socklen_t fill_address(const struct bench_endpoint *endpoint, union address *address)
{
    *address = (union address){0};
    if (endpoint->host[0] == '/') {
        int length = snprintf(address->local.sun_path, sizeof address->local.sun_path,
                              "%s/.s.PGSQL.%d", endpoint->host, endpoint->port);
        if (length < 0 || (size_t)length >= sizeof address->local.sun_path)
            errx(1, "socket path too long: %s", endpoint->host);
        address->local.sun_family = AF_UNIX;
        return sizeof address->local;
    }
    address->inet.sin_family = AF_INET;
    address->inet.sin_port = htons((uint16_t)endpoint->port);
    if (inet_pton(AF_INET, endpoint->host, &address->inet.sin_addr) != 1)
        errx(1, "not a numeric IPv4 address: %s", endpoint->host);
    return sizeof address->inet;
}

static void set_no_delay(int fd)
{
    int on = 1;
    /* Fails on a Unix socket, where there is nothing to set. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int bench_endpoint_listen(const struct bench_endpoint *endpoint)
{
    union address address;
    socklen_t length = fill_address(endpoint, &address);
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        err(1, "socket");
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.any.sa_family == AF_UNIX)
        (void)unlink(address.local.sun_path);
    if (bind(fd, &address.any, length) < 0 || listen(fd, 4096) < 0)
        err(1, "listen on %s port %d", endpoint->host, endpoint->port);
    return fd;
}

int bench_endpoint_accept(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        set_no_delay(fd);
    else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        err(1, "accept");
    return fd;
}

int bench_endpoint_connect(const struct bench_endpoint *endpoint)
{
    union address address;
    socklen_t length = fill_address(endpoint, &address);
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        err(1, "socket");
    set_no_delay(fd);
    if (connect(fd, &address.any, length) < 0)
        err(1, "connect to %s port %d", endpoint->host, endpoint->port);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        err(1, "fcntl");
    return fd;
}

uint64_t bench_argument_number(const char *option, const char *text, uint64_t low, uint64_t high)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < low || value > high)
        errx(2, "--%s: %s is not a number from %llu to %llu", option, text, (unsigned long long)low,
             (unsigned long long)high);
    return value;
}

void *bench_allocate(size_t size)
{
    void *memory = calloc(1, size == 0 ? 1 : size);
    if (memory == NULL)
        err(1, "out of memory");
    return memory;
}
