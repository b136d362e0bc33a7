/* The HTTP side: connections, their bounds and the loop. */
#ifndef WEIR_HTTP_SERVER_H
#define WEIR_HTTP_SERVER_H

#include "library.h"
#include "places.h"
#include "weir/http.h"

enum weir_http_page {
    WEIR_HTTP_METRICS,
    WEIR_HTTP_METRICS_OPEN,
    WEIR_HTTP_STATUS_JSON,
    WEIR_HTTP_STATUS_PAGE,
    WEIR_HTTP_READYZ,
    WEIR_HTTP_PAGES
};

/* An answer that is given again for a moment, so that no number of questions costs more than a few
 * answers a second. Connections that still send an older one keep it alive. */
struct weir_http_cached {
    struct MHD_Response *response;
    unsigned status;
    weir_usec good_until;
};

struct weir_http {
    struct weir_loop *loop;
    const struct weir_router *router;
    struct MHD_Daemon *daemon;
    struct weir_list listeners[WEIR_HTTP_PLACES]; /* of the place with the same index */
    struct weir_http_place places[WEIR_HTTP_PLACES];
    ev_io readable;               /* the library's epoll descriptor */
    ev_timer timeout;             /* when the library wants to be called again */
    ev_timer look;                /* for connections that take too long, or whose peer has left */
    struct weir_list connections; /* weir_http_connection.link */
    struct weir_http_cached cached[WEIR_HTTP_PAGES];
    size_t answer_bytes; /* of all answers that exist */
};

/* answer.c: an access handler of the library, with the struct weir_http as context. */
enum MHD_Result weir_http_answer(void *context, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *upload,
                                 size_t *upload_size, void **request);
/* server.c: what came is a request, which the peer may wait for without sending more. */
void weir_http_note_request(struct MHD_Connection *connection);
void weir_http_forget_answers(struct weir_http *http);

#endif
