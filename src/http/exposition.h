/* The page of metrics, in the text format of Prometheus (0.0.4) or in OpenMetrics (1.0.0). */
#ifndef WEIR_HTTP_EXPOSITION_H
#define WEIR_HTTP_EXPOSITION_H

#include "body.h"
#include "shot.h"

enum weir_http_format { WEIR_HTTP_PROMETHEUS, WEIR_HTTP_OPENMETRICS };

/* What the header Accept asks for; NULL: there is none. */
enum weir_http_format weir_http_negotiate(const char *accept);
const char *weir_http_format_type(enum weir_http_format format);
void weir_http_expose(const struct weir_http_shot *shot, enum weir_http_format format,
                      struct weir_http_body *body);

#endif
