/* From a request to an answer. */
#include <string.h>

#include "server.h"

static const char plain_type[] = "text/plain; charset=utf-8";
static const char page_list[] =
    "There is no such page. There are:\n"
    "  /             the status page\n"
    "  /status.json  the same for programs\n"
    "  /metrics      for Prometheus\n"
    "  /healthz      200 while it runs\n"
    "  /readyz       200 while clients can be served, else 503 and why\n";

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status,
                                   const char *text, const char *header, const char *value)
{
    struct MHD_Response *response = microhttpd.create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
    if (response == NULL)
        return MHD_NO;
    weir_http_add_headers(response, plain_type, "default-src 'none'");
    if (header != NULL)
        microhttpd.add_response_header(response, header, value);
    enum MHD_Result result = microhttpd.queue_response(connection, status, response);
    microhttpd.destroy_response(response);
    return result;
}

/* --- requests -------------------------------------------------------------------------- */

/* NULL: it is not there. */
static const char *find_header(struct MHD_Connection *connection, const char *name)
{
    return microhttpd.lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* Who scrapes says the same every time: what it means is worked out once. */
static enum weir_http_format negotiate(struct weir_http *http, const char *accept)
{
    if (accept == NULL || strcmp(accept, http->accept) == 0)
        return accept == NULL ? WEIR_HTTP_PROMETHEUS : http->format;
    size_t size = strlen(accept) + 1;
    if (size > sizeof(http->accept))
        return weir_http_negotiate(accept);
    memcpy(http->accept, accept, size);
    http->format = weir_http_negotiate(accept);
    return http->format;
}

/* What the client takes says the coding, and for metrics the format. */
static struct weir_http_wish wish_for(struct weir_http *http, struct MHD_Connection *connection,
                                      enum weir_http_page page)
{
    struct weir_http_wish wish = {page, WEIR_HTTP_PLAIN};
    if (page == WEIR_HTTP_READYZ) /* a few words */
        return wish;
    if (page == WEIR_HTTP_METRICS &&
        negotiate(http, find_header(connection, MHD_HTTP_HEADER_ACCEPT)) == WEIR_HTTP_OPENMETRICS)
        wish.page = WEIR_HTTP_METRICS_OPEN;
    if (weir_http_accepts_gzip(find_header(connection, MHD_HTTP_HEADER_ACCEPT_ENCODING)))
        wish.coding = WEIR_HTTP_GZIP;
    return wish;
}

static enum MHD_Result answer_page(struct weir_http *http, struct MHD_Connection *connection,
                                   enum weir_http_page page)
{
    struct weir_http_wish wish = wish_for(http, connection, page);
    if (!weir_http_admit(http, connection, wish))
        return MHD_YES; /* it comes again */
    unsigned status;
    struct MHD_Response *response = weir_http_page_response(&http->pages, wish, &status);
    if (response == NULL)
        return answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                           "out of memory, or too many slow readers\n", MHD_HTTP_HEADER_RETRY_AFTER,
                           "10");
    return microhttpd.queue_response(connection, status, response);
}

static bool has_body(struct MHD_Connection *connection)
{
    const char *length = find_header(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return (length != NULL && strcmp(length, "0") != 0) ||
           find_header(connection, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
}

enum MHD_Result weir_http_answer(void *context, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *upload,
                                 size_t *upload_size, void **request)
{
    struct weir_http *http = context;
    static char seen;
    if (*request == NULL) {
        weir_http_note_request(http, connection);
        if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
            return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n",
                               MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
        /* It is not read; what it holds must not be taken for the next request. */
        if (has_body(connection))
            return answer_text(connection, MHD_HTTP_BAD_REQUEST,
                               "no request with a body is served\n", MHD_HTTP_HEADER_CONNECTION,
                               "close");
        /* An answer at the first call, before the request has ended for the library, costs the
         * connection its keep-alive. */
        *request = &seen;
        return MHD_YES;
    }
    if (strcmp(url, "/metrics") == 0)
        return answer_page(http, connection, WEIR_HTTP_METRICS);
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
