/* The status page and its data. */
#ifndef WEIR_HTTP_STATUS_H
#define WEIR_HTTP_STATUS_H

#include "body.h"
#include "shot.h"

/* Rows of each list; what is more is counted. */
#define WEIR_HTTP_ROWS 50
/* With more clients the waiting ones are not looked for one by one. */
#define WEIR_HTTP_CLIENTS 2000

void weir_http_status_json(const struct weir_http_shot *shot, const struct weir_router *router,
                           struct weir_http_body *body);
void weir_http_status_page(const struct weir_http_shot *shot, struct weir_http_body *body);

/* Made from status.html by embed.py: what stands before and after the first state, and the header
 * Content-Security-Policy, which names the script and the style by their hashes. */
extern const char weir_http_page_before[];
extern const char weir_http_page_after[];
extern const char weir_http_page_policy[];

#endif
