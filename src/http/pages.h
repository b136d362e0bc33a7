/* The pages. Each is made when somebody asks, a slice per turn of the loop so that no turn is long,
 * and then given to all who ask within a moment. */
#ifndef WEIR_HTTP_PAGES_H
#define WEIR_HTTP_PAGES_H

#include "exposition.h"
#include "gzip.h"
#include "library.h"
#include "weir/net.h"

enum weir_http_page {
    WEIR_HTTP_METRICS,
    WEIR_HTTP_METRICS_OPEN,
    WEIR_HTTP_STATUS_JSON,
    WEIR_HTTP_STATUS_PAGE,
    WEIR_HTTP_READYZ,
    WEIR_HTTP_PAGES
};

enum weir_http_coding { WEIR_HTTP_PLAIN, WEIR_HTTP_GZIP, WEIR_HTTP_CODINGS };

/* What somebody asks for. */
struct weir_http_wish {
    enum weir_http_page page;
    enum weir_http_coding coding;
};

/* A page as it was made last. */
struct weir_http_cached {
    /* Shared by all whom it is given to; connections that still send an older one keep that alive. */
    struct MHD_Response *responses[WEIR_HTTP_CODINGS];
    bool tried[WEIR_HTTP_CODINGS]; /* without a response: it could not be made */
    unsigned status;
    weir_usec taken_at,
        good_until; /* when the state was looked at, and for how long that will do */
    weir_usec cost;
    const uint8_t *bytes; /* of the plain response */
    size_t length;
};

/* The one page that is being made. */
struct weir_http_making {
    enum weir_http_stage { WEIR_HTTP_RESTING, WEIR_HTTP_WRITING, WEIR_HTTP_COMPRESSING } stage;
    struct weir_http_wish wish;
    struct weir_http_shot shot;
    struct weir_http_writer *writer; /* of metrics, while they are written */
    struct weir_http_body body;      /* what there is of the page in the coding of this stage */
};

struct weir_http_pages {
    struct weir_loop *loop;
    const struct weir_router *router;
    struct weir_http_cached cached[WEIR_HTTP_PAGES];
    struct weir_http_making making;
    struct weir_http_gzip *gzip; /* NULL: nobody wanted it yet */
    size_t answer_bytes;         /* of all answers that exist */
};

void weir_http_pages_init(struct weir_http_pages *pages, struct weir_loop *loop,
                          const struct weir_router *router);
/* Whether there is an answer that may still be given. If not, and nothing is being made, the making
 * begins; it may be done at once. */
bool weir_http_page_prepare(struct weir_http_pages *pages, struct weir_http_wish wish);
/* Makes the next slice of what is being made; to be called once a turn while somebody waits. */
void weir_http_pages_go_on(struct weir_http_pages *pages);
/* The answer that was prepared, which stays the pages'; NULL: it could not be made. */
struct MHD_Response *weir_http_page_response(const struct weir_http_pages *pages,
                                             struct weir_http_wish wish, unsigned *status);
/* Gives all memory back. Those who wait must ask again. */
void weir_http_pages_forget(struct weir_http_pages *pages);

void weir_http_add_headers(struct MHD_Response *response, const char *type, const char *policy);

#endif
