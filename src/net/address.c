/* Addresses: Unix paths, ports, and how they are written for people. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "socket.h"

bool weir_address_is_unix(const struct weir_address *address)
{
    return address->any.sa_family == AF_UNIX;
}

bool weir_address_is_equal(const struct weir_address *a, const struct weir_address *b)
{
    /* Byte by byte is exact: the kernel and c-ares fill what they do not use with zeroes. */
    return a->length == b->length &&
           memcmp((const char *)&a->storage, (const char *)&b->storage, a->length) == 0;
}

bool weir_address_set_unix(struct weir_address *address, const char *directory, int port)
{
    memset(address, 0, sizeof *address);
    address->unix_path.sun_family = AF_UNIX;
    char *path = address->unix_path.sun_path;
    size_t room = sizeof address->unix_path.sun_path;
    int n = snprintf(path, room, "%s/.s.PGSQL.%d", directory, port);
    if (n < 0 || (size_t)n >= room)
        return false;
    size_t base = offsetof(struct sockaddr_un, sun_path);
    if (path[0] == '@') {
        /* Abstract names begin with a zero byte and are exactly as long as the address says. */
        path[0] = '\0';
        address->length = (socklen_t)(base + (size_t)n);
    } else {
        address->length = (socklen_t)(base + (size_t)n + 1);
    }
    return true;
}

void weir_address_set_port(struct weir_address *address, int port)
{
    in_port_t network_order = htons((uint16_t)port);
    if (address->any.sa_family == AF_INET)
        ((struct sockaddr_in *)(void *)&address->storage)->sin_port = network_order;
    else if (address->any.sa_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)&address->storage)->sin6_port = network_order;
}

static void print_unix(const struct weir_address *address, char *text, size_t size)
{
    size_t base = offsetof(struct sockaddr_un, sun_path);
    const char *path = address->unix_path.sun_path;
    size_t length = address->length > base ? address->length - base : 0;
    if (length > sizeof address->unix_path.sun_path)
        length = sizeof address->unix_path.sun_path;
    if (length > 0 && path[0] == '\0')
        snprintf(text, size, "unix:@%.*s", (int)(length - 1), path + 1);
    else
        snprintf(text, size, "unix:%.*s", (int)strnlen(path, length), path);
}

void weir_address_print(const struct weir_address *address, char *text, size_t size)
{
    if (size == 0)
        return;
    if (weir_address_is_unix(address)) {
        print_unix(address, text, size);
        return;
    }
    char host[INET6_ADDRSTRLEN + 1 + 64];
    char port[16];
    if (getnameinfo(&address->any, address->length, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(text, size, "unknown");
    else if (address->any.sa_family == AF_INET6)
        snprintf(text, size, "[%s]:%s", host, port);
    else
        snprintf(text, size, "%s:%s", host, port);
}

void weir_socket_keep_alive(int fd)
{
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

bool weir_socket_set_flags(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return false;
    if ((flags & O_NONBLOCK) == 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return false;
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}
