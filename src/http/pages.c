#include "pages.h"

#include <stdlib.h>
#include <time.h>

#include "readiness.h"
#include "status.h"
#include "weir/memory.h"

/* What connections that read slowly may keep alive of older answers. */
#define ANSWER_BYTES_LIMIT ((size_t)64 * 1024 * 1024)
/* What is written, or compressed, in one turn: some 40 microseconds each. */
#define WRITE_SLICE    ((size_t)32 * 1024)
#define COMPRESS_SLICE ((size_t)16 * 1024)

void weir_http_pages_init(struct weir_http_pages *pages, struct weir_loop *loop,
                          const struct weir_router *router)
{
    *pages = (struct weir_http_pages){.loop = loop, .router = router};
}

/* --- answers --------------------------------------------------------------------------- */

struct owned_bytes {
    struct weir_http_pages *pages;
    struct weir_http_body body;
    size_t length;
};

static void free_bytes(void *context)
{
    struct owned_bytes *owned = context;
    owned->pages->answer_bytes -= owned->length;
    weir_http_body_clear(&owned->body);
    free(owned);
}

/* NULL when memory is out, or kept by slow readers. Takes over the body. */
static struct MHD_Response *wrap(struct weir_http_pages *pages, struct weir_http_body *body)
{
    size_t length = weir_buffer_length(&body->bytes);
    if (body->broken || pages->answer_bytes + length > ANSWER_BYTES_LIMIT) {
        weir_http_body_clear(body);
        return NULL;
    }
    struct owned_bytes *owned = weir_alloc(sizeof(*owned));
    *owned = (struct owned_bytes){pages, *body, length};
    *body = (struct weir_http_body){0};
    pages->answer_bytes += length;
    struct MHD_Response *response = microhttpd.create_response_from_buffer_with_free_callback_cls(
        length, weir_buffer_bytes(&owned->body.bytes), free_bytes, owned);
    if (response == NULL)
        free_bytes(owned);
    return response;
}

static const char *page_type(enum weir_http_page page)
{
    switch (page) {
    case WEIR_HTTP_METRICS:
        return weir_http_format_type(WEIR_HTTP_PROMETHEUS);
    case WEIR_HTTP_METRICS_OPEN:
        return weir_http_format_type(WEIR_HTTP_OPENMETRICS);
    case WEIR_HTTP_STATUS_JSON:
        return "application/json; charset=utf-8";
    case WEIR_HTTP_STATUS_PAGE:
        return "text/html; charset=utf-8";
    default:
        return "text/plain; charset=utf-8";
    }
}

void weir_http_add_headers(struct MHD_Response *response, const char *type, const char *policy)
{
    microhttpd.add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    microhttpd.add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    microhttpd.add_response_header(response, MHD_HTTP_HEADER_VARY, "Accept, Accept-Encoding");
    microhttpd.add_response_header(response, "Content-Security-Policy", policy);
    microhttpd.add_response_header(response, "X-Content-Type-Options", "nosniff");
    microhttpd.add_response_header(response, "Referrer-Policy", "no-referrer");
    microhttpd.add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
}

/* Otherwise the library would work it out for every request. */
static void add_date(struct MHD_Response *response)
{
    char text[64];
    struct tm now;
    time_t seconds = time(NULL);
    if (gmtime_r(&seconds, &now) != NULL &&
        strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &now) > 0)
        microhttpd.add_response_header(response, MHD_HTTP_HEADER_DATE, text);
}

static struct MHD_Response *make_response(struct weir_http_pages *pages, struct weir_http_wish wish)
{
    struct MHD_Response *response = wrap(pages, &pages->making.body);
    if (response == NULL)
        return NULL;
    weir_http_add_headers(response, page_type(wish.page),
                          wish.page == WEIR_HTTP_STATUS_PAGE ? weir_http_page_policy
                                                             : "default-src 'none'");
    add_date(response);
    if (wish.coding == WEIR_HTTP_GZIP)
        microhttpd.add_response_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
    return response;
}

static void forget(struct weir_http_cached *cached)
{
    for (int coding = 0; coding < WEIR_HTTP_CODINGS; coding++) {
        if (cached->responses[coding] != NULL)
            microhttpd.destroy_response(cached->responses[coding]);
    }
    *cached = (struct weir_http_cached){0};
}

/* --- making ---------------------------------------------------------------------------- */

/* Of this thread: a turn of the loop that another process interrupted took longer, but cost no more. */
static weir_usec processor_time(void)
{
    struct timespec spent = {0};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
    return (weir_usec)spent.tv_sec * WEIR_SEC + spent.tv_nsec / 1000;
}

/* How old an answer may be: what one costs is then paid so often at most. Of a large one, which
 * took `cost` to make, that is longer, so that it takes a twenty-fifth of the time at most. */
static weir_usec longest_age(enum weir_http_page page, weir_usec cost)
{
    bool person = page == WEIR_HTTP_STATUS_PAGE || page == WEIR_HTTP_STATUS_JSON;
    weir_usec least = person ? 250 * WEIR_MSEC : 100 * WEIR_MSEC;
    return cost * 25 > least ? cost * 25 : least;
}

static void begin_writing(struct weir_http_pages *pages, enum weir_http_page page)
{
    struct weir_http_making *making = &pages->making;
    struct weir_http_cached *cached = &pages->cached[page];
    weir_usec began = processor_time();
    making->stage = WEIR_HTTP_WRITING;
    forget(cached);
    cached->status = MHD_HTTP_OK;
    cached->taken_at = pages->loop->now;
    weir_http_shot_take(&making->shot, pages->router);
    switch (page) {
    case WEIR_HTTP_METRICS:
        making->writer = weir_http_expose(&making->shot, WEIR_HTTP_PROMETHEUS, &making->body);
        break;
    case WEIR_HTTP_METRICS_OPEN:
        making->writer = weir_http_expose(&making->shot, WEIR_HTTP_OPENMETRICS, &making->body);
        break;
    case WEIR_HTTP_STATUS_JSON:
        weir_http_status_json(&making->shot, pages->router, &making->body);
        break;
    case WEIR_HTTP_STATUS_PAGE:
        weir_http_status_page(&making->shot, &making->body);
        break;
    default:
        if (!weir_http_readiness(&making->shot, &making->body))
            cached->status = MHD_HTTP_SERVICE_UNAVAILABLE;
        break;
    }
    cached->cost = processor_time() - began;
}

static void begin_compressing(struct weir_http_pages *pages, enum weir_http_page page)
{
    struct weir_http_cached *cached = &pages->cached[page];
    if (pages->gzip == NULL)
        pages->gzip = weir_http_gzip_create();
    if (pages->gzip == NULL || cached->responses[WEIR_HTTP_PLAIN] == NULL) {
        cached->tried[WEIR_HTTP_GZIP] = true;
        return;
    }
    pages->making.stage = WEIR_HTTP_COMPRESSING;
    weir_http_gzip_begin(pages->gzip, cached->bytes, cached->length);
}

/* What the stage made becomes an answer. It may be given in this turn whatever its age, so that those
 * who wait for it do not wait for ever. */
static void end_stage(struct weir_http_pages *pages, enum weir_http_coding coding)
{
    struct weir_http_making *making = &pages->making;
    struct weir_http_wish made = {making->wish.page, coding};
    struct weir_http_cached *cached = &pages->cached[made.page];
    if (coding == WEIR_HTTP_PLAIN) {
        cached->bytes = weir_buffer_bytes(&making->body.bytes);
        cached->length = weir_buffer_length(&making->body.bytes);
    }
    cached->responses[coding] = make_response(pages, made);
    cached->tried[coding] = true;
    cached->good_until = cached->taken_at + longest_age(made.page, cached->cost);
    if (cached->good_until < pages->loop->now)
        cached->good_until = pages->loop->now;
    making->stage = WEIR_HTTP_RESTING;
}

static void end_writing(struct weir_http_pages *pages)
{
    struct weir_http_making *making = &pages->making;
    weir_http_writer_destroy(making->writer);
    making->writer = NULL;
    weir_http_shot_clear(&making->shot);
    end_stage(pages, WEIR_HTTP_PLAIN);
    if (making->wish.coding == WEIR_HTTP_GZIP)
        begin_compressing(pages, making->wish.page);
}

/* True: that was all of the stage. */
static bool make_slice(struct weir_http_pages *pages)
{
    struct weir_http_making *making = &pages->making;
    if (making->stage == WEIR_HTTP_COMPRESSING)
        return weir_http_gzip_go_on(pages->gzip, COMPRESS_SLICE, &making->body);
    return making->writer == NULL || weir_http_expose_more(making->writer, WRITE_SLICE);
}

void weir_http_pages_go_on(struct weir_http_pages *pages)
{
    struct weir_http_making *making = &pages->making;
    if (making->stage == WEIR_HTTP_RESTING)
        return;
    weir_usec began = processor_time();
    bool done = make_slice(pages);
    pages->cached[making->wish.page].cost += processor_time() - began;
    if (!done)
        return;
    if (making->stage == WEIR_HTTP_COMPRESSING)
        end_stage(pages, WEIR_HTTP_GZIP);
    else
        end_writing(pages);
}

static bool is_fresh(const struct weir_http_pages *pages, struct weir_http_wish wish)
{
    const struct weir_http_cached *cached = &pages->cached[wish.page];
    return cached->tried[wish.coding] && pages->loop->now <= cached->good_until;
}

bool weir_http_page_prepare(struct weir_http_pages *pages, struct weir_http_wish wish)
{
    if (is_fresh(pages, wish))
        return true;
    if (pages->making.stage != WEIR_HTTP_RESTING)
        return false;
    struct weir_http_wish plain = {wish.page, WEIR_HTTP_PLAIN};
    pages->making.wish = wish;
    if (is_fresh(pages, plain))
        begin_compressing(pages, wish.page);
    else
        begin_writing(pages, wish.page);
    weir_http_pages_go_on(pages);
    return is_fresh(pages, wish);
}

struct MHD_Response *weir_http_page_response(const struct weir_http_pages *pages,
                                             struct weir_http_wish wish, unsigned *status)
{
    const struct weir_http_cached *cached = &pages->cached[wish.page];
    *status = cached->status;
    return cached->responses[wish.coding] != NULL ? cached->responses[wish.coding]
                                                  : cached->responses[WEIR_HTTP_PLAIN];
}

void weir_http_pages_forget(struct weir_http_pages *pages)
{
    struct weir_http_making *making = &pages->making;
    making->stage = WEIR_HTTP_RESTING;
    weir_http_writer_destroy(making->writer);
    making->writer = NULL;
    weir_http_shot_clear(&making->shot);
    weir_http_body_clear(&making->body);
    for (int page = 0; page < WEIR_HTTP_PAGES; page++)
        forget(&pages->cached[page]);
    weir_http_gzip_destroy(pages->gzip);
    pages->gzip = NULL;
}
