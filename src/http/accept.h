/* What a client takes, by its own lists of preferences (RFC 9110, 12.5). */
#ifndef WEIR_HTTP_ACCEPT_H
#define WEIR_HTTP_ACCEPT_H

#include <stdbool.h>

enum weir_http_format { WEIR_HTTP_PROMETHEUS, WEIR_HTTP_OPENMETRICS };

/* Which format of metrics the header Accept asks for; NULL: there is none. */
enum weir_http_format weir_http_negotiate(const char *accept);
/* Whether the header Accept-Encoding names gzip, and does not prefer the plain bytes. Whoever writes
 * it in a way that is not understood gets plain ones, which everybody takes. */
bool weir_http_accepts_gzip(const char *accept_encoding);

#endif
