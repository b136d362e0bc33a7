/* Socket options that listening and dialling share. */
#ifndef WEIR_NET_SOCKET_H
#define WEIR_NET_SOCKET_H

#include "weir/net.h"

/* Fills in a Unix address; "@name" is abstract. False when the path is too long. */
bool weir_address_set_unix(struct weir_address *address, const char *directory, int port);
/* Sets the port of an IPv4 or IPv6 address. */
void weir_address_set_port(struct weir_address *address, int port);
bool weir_address_is_unix(const struct weir_address *address);
bool weir_address_is_equal(const struct weir_address *a, const struct weir_address *b);
/* Keepalive, for peers which vanish without a word. */
void weir_socket_keep_alive(int fd);

/* Non-blocking and closed on exec, for descriptors that come from elsewhere. */
weir_must_check bool weir_socket_set_flags(int fd);

#endif
