/* From a request to an answer. */
#include <stdlib.h>
#include <string.h>

#include "exposition.h"
#include "readiness.h"
#include "server.h"
#include "status.h"
#include "weir/memory.h"

/* What connections that read slowly may keep alive of older answers. */
#define ANSWER_BYTES_LIMIT ((size_t)64 * 1024 * 1024)

static const char plain_type[] = "text/plain; charset=utf-8";
static const char page_list[] =
    "There is no such page. There are:\n"
    "  /             the status page\n"
    "  /status.json  the same for programs\n"
    "  /metrics      for Prometheus\n"
    "  /healthz      200 while it runs\n"
    "  /readyz       200 while clients can be served, else 503 and why\n";

/* --- making answers -------------------------------------------------------------------- */

struct owned_bytes {
    struct weir_http *http;
    struct weir_http_body body;
    size_t length;
};

static void free_bytes(void *context)
{
    struct owned_bytes *owned = context;
    owned->http->answer_bytes -= owned->length;
    weir_http_body_clear(&owned->body);
    free(owned);
}

static void add_headers(struct MHD_Response *response, const char *type, const char *policy)
{
    microhttpd.add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    microhttpd.add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    microhttpd.add_response_header(response, MHD_HTTP_HEADER_VARY, "Accept");
    microhttpd.add_response_header(response, "Content-Security-Policy", policy);
    microhttpd.add_response_header(response, "X-Content-Type-Options", "nosniff");
    microhttpd.add_response_header(response, "Referrer-Policy", "no-referrer");
    microhttpd.add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status,
                                   const char *text, const char *header, const char *value)
{
    struct MHD_Response *response = microhttpd.create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
    if (response == NULL)
        return MHD_NO;
    add_headers(response, plain_type, "default-src 'none'");
    if (header != NULL)
        microhttpd.add_response_header(response, header, value);
    enum MHD_Result result = microhttpd.queue_response(connection, status, response);
    microhttpd.destroy_response(response);
    return result;
}

/* NULL when memory is out, or kept by slow readers. Takes over the body. */
static struct MHD_Response *wrap(struct weir_http *http, struct weir_http_body *body)
{
    size_t length = weir_buffer_length(&body->bytes);
    if (body->broken || http->answer_bytes + length > ANSWER_BYTES_LIMIT) {
        weir_http_body_clear(body);
        return NULL;
    }
    struct owned_bytes *owned = weir_alloc(sizeof(*owned));
    *owned = (struct owned_bytes){http, *body, length};
    http->answer_bytes += length;
    struct MHD_Response *response = microhttpd.create_response_from_buffer_with_free_callback_cls(
        length, weir_buffer_bytes(&owned->body.bytes), free_bytes, owned);
    if (response == NULL)
        free_bytes(owned);
    return response;
}

/* --- pages ----------------------------------------------------------------------------- */

/* How old an answer may be: what one costs is then paid so often at most. Of a large one, which
 * took `cost` to write, that is longer, so that it takes a twenty-fifth of the time at most. */
static weir_usec longest_age(enum weir_http_page page, weir_usec cost)
{
    bool person = page == WEIR_HTTP_STATUS_PAGE || page == WEIR_HTTP_STATUS_JSON;
    weir_usec least = person ? 250 * WEIR_MSEC : 100 * WEIR_MSEC;
    return cost * 25 > least ? cost * 25 : least;
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
        return plain_type;
    }
}

/* Returns the status. */
static unsigned write_page(const struct weir_http *http, enum weir_http_page page,
                           struct weir_http_body *body)
{
    struct weir_http_shot shot;
    weir_http_shot_take(&shot, http->router);
    unsigned status = MHD_HTTP_OK;
    switch (page) {
    case WEIR_HTTP_METRICS:
        weir_http_expose(&shot, WEIR_HTTP_PROMETHEUS, body);
        break;
    case WEIR_HTTP_METRICS_OPEN:
        weir_http_expose(&shot, WEIR_HTTP_OPENMETRICS, body);
        break;
    case WEIR_HTTP_STATUS_JSON:
        weir_http_status_json(&shot, http->router, body);
        break;
    case WEIR_HTTP_STATUS_PAGE:
        weir_http_status_page(&shot, body);
        break;
    default:
        if (!weir_http_readiness(&shot, body))
            status = MHD_HTTP_SERVICE_UNAVAILABLE;
        break;
    }
    weir_http_shot_clear(&shot);
    return status;
}

static enum MHD_Result answer_page(struct weir_http *http, struct MHD_Connection *connection,
                                   enum weir_http_page page)
{
    struct weir_http_cached *cached = &http->cached[page];
    if (cached->response == NULL || http->loop->now > cached->good_until) {
        if (cached->response != NULL)
            microhttpd.destroy_response(cached->response);
        struct weir_http_body body = {0};
        weir_usec began = weir_clock_now();
        cached->status = write_page(http, page, &body);
        cached->response = wrap(http, &body);
        cached->good_until = http->loop->now + longest_age(page, weir_clock_now() - began);
        if (cached->response == NULL)
            return answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                               "out of memory, or too many slow readers\n", "Retry-After", "10");
        add_headers(cached->response, page_type(page),
                    page == WEIR_HTTP_STATUS_PAGE ? weir_http_page_policy : "default-src 'none'");
    }
    return microhttpd.queue_response(connection, cached->status, cached->response);
}

void weir_http_forget_answers(struct weir_http *http)
{
    for (int page = 0; page < WEIR_HTTP_PAGES; page++) {
        if (http->cached[page].response != NULL)
            microhttpd.destroy_response(http->cached[page].response);
        http->cached[page].response = NULL;
    }
}

/* --- requests -------------------------------------------------------------------------- */

static enum MHD_Result answer_metrics(struct weir_http *http, struct MHD_Connection *connection)
{
    const char *accept =
        microhttpd.lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    return answer_page(http, connection,
                       weir_http_negotiate(accept) == WEIR_HTTP_OPENMETRICS ? WEIR_HTTP_METRICS_OPEN
                                                                            : WEIR_HTTP_METRICS);
}

static bool has_body(struct MHD_Connection *connection)
{
    const char *length = microhttpd.lookup_connection_value(connection, MHD_HEADER_KIND,
                                                            MHD_HTTP_HEADER_CONTENT_LENGTH);
    return (length != NULL && strcmp(length, "0") != 0) ||
           microhttpd.lookup_connection_value(connection, MHD_HEADER_KIND,
                                              MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
}

enum MHD_Result weir_http_answer(void *context, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *upload,
                                 size_t *upload_size, void **request)
{
    struct weir_http *http = context;
    weir_http_note_request(connection);
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n",
                           MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    /* It is not read; what it holds must not be taken for the next request. */
    if (has_body(connection))
        return answer_text(connection, MHD_HTTP_BAD_REQUEST, "no request with a body is served\n",
                           MHD_HTTP_HEADER_CONNECTION, "close");
    /* An answer at the first call, before the request has ended for the library, costs the connection
     * its keep-alive. */
    static char seen;
    if (*request == NULL) {
        *request = &seen;
        return MHD_YES;
    }
    if (strcmp(url, "/metrics") == 0)
        return answer_metrics(http, connection);
    if (strcmp(url, "/") == 0)
        return answer_page(http, connection, WEIR_HTTP_STATUS_PAGE);
    if (strcmp(url, "/status.json") == 0)
        return answer_page(http, connection, WEIR_HTTP_STATUS_JSON);
    if (strcmp(url, "/readyz") == 0)
        return answer_page(http, connection, WEIR_HTTP_READYZ);
    if (strcmp(url, "/healthz") == 0)
        return answer_text(connection, MHD_HTTP_OK, "alive\n", NULL, NULL);
    return answer_text(connection, MHD_HTTP_NOT_FOUND, page_list, NULL, NULL);
}
