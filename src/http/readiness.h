/* Whether a load balancer should send clients here, and why not. */
#ifndef WEIR_HTTP_READINESS_H
#define WEIR_HTTP_READINESS_H

#include "body.h"
#include "shot.h"

/* Calls `each` with every reason in words why not; none: it is ready. */
void weir_http_unready(const struct weir_http_shot *shot,
                       void (*each)(void *context, const char *reason), void *context);
/* The text of /readyz: "ready", or a line for each reason. Returns whether it is ready. */
bool weir_http_readiness(const struct weir_http_shot *shot, struct weir_http_body *body);

#endif
