/* The page of metrics, in the text format of Prometheus (0.0.4) or in OpenMetrics (1.0.0). */
#ifndef WEIR_HTTP_EXPOSITION_H
#define WEIR_HTTP_EXPOSITION_H

#include "accept.h"
#include "body.h"
#include "shot.h"

/* A page while it is written. */
struct weir_http_writer;

const char *weir_http_format_type(enum weir_http_format format);
/* Begins the page: what is of the daemon is written at once, the rest by weir_http_expose_more. Shot
 * and body must stay until the writer is destroyed. */
struct weir_http_writer *weir_http_expose(const struct weir_http_shot *shot,
                                          enum weir_http_format format,
                                          struct weir_http_body *body);
/* Writes on until it wrote `most` bytes, or a few more. True: the page is complete, or broken. */
bool weir_http_expose_more(struct weir_http_writer *writer, size_t most);
void weir_http_writer_destroy(struct weir_http_writer *writer);

#endif
