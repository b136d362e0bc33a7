/* /metrics, /healthz, /readyz and the status page, served from the same loop by libmicrohttpd, which
 * polls by an epoll descriptor of its own. Bounded in connections, time and bytes; read only. */
#ifndef WEIR_HTTP_H
#define WEIR_HTTP_H

#include "weir/net.h"
#include "weir/route.h"

struct weir_http;

/* Whether `listen` can be understood: "ADDRESS:PORT", "[ADDRESS]:PORT" or "PORT" (loopback), several
 * by comma, addresses numeric, "localhost" or "*". Otherwise *problem (free it) says why not. */
bool weir_http_check(const char *listen, char **problem);
/* Serves there. NULL with *problem (free it) when it cannot be listened there. */
struct weir_http *weir_http_create(struct weir_loop *loop, const struct weir_router *router,
                                   const char *listen, char **problem);
/* Listens there instead; what was listened to before stays in case of failure. Connections stay. */
bool weir_http_listen(struct weir_http *http, const char *listen, char **problem);
/* To be called before the router is destroyed. NULL is fine. */
void weir_http_destroy(struct weir_http *http);

#endif
