/* The HTTP side: connections, their bounds and the loop. */
#ifndef WEIR_HTTP_SERVER_H
#define WEIR_HTTP_SERVER_H

#include "pages.h"
#include "places.h"
#include "weir/http.h"

struct weir_http {
    struct weir_loop *loop;
    struct MHD_Daemon *daemon;
    struct weir_list listeners[WEIR_HTTP_PLACES]; /* of the place with the same index */
    struct weir_http_place places[WEIR_HTTP_PLACES];
    ev_io readable;               /* the library's epoll descriptor */
    ev_timer look;                /* for connections that take too long, or whose peer has left */
    struct weir_task work;        /* what is left of a turn before */
    struct weir_list connections; /* weir_http_connection.link */
    struct weir_list waiting;     /* weir_http_connection.turn, the longest first */
    struct weir_http_pages pages;
    char accept[256]; /* the header as it came last, and what it asks for */
    enum weir_http_format format;
    uint64_t turn; /* of the loop, in which so many pages were given: */
    int given;
};

/* answer.c: an access handler of the library, with the struct weir_http as context. */
enum MHD_Result weir_http_answer(void *context, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *upload,
                                 size_t *upload_size, void **request);
/* server.c: what came is a request, which the peer may wait for without sending more. */
void weir_http_note_request(struct weir_http *http, struct MHD_Connection *connection);
/* server.c: whether the page may be given now. If not, because it must be made first or others had
 * this turn of the loop, the handler must return MHD_YES and is called again when it may. */
bool weir_http_admit(struct weir_http *http, struct MHD_Connection *connection,
                     struct weir_http_wish wish);

#endif
