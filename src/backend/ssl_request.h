/* Private to the backend room: asking a server for TLS. Source: PostgreSQL documentation, "SSL Session
 * Encryption". */
#ifndef WEIR_BACKEND_SSL_REQUEST_H
#define WEIR_BACKEND_SSL_REQUEST_H

#include "weir/net.h"

enum weir_ssl_answer {
    WEIR_SSL_WAIT, /* nothing has come yet */
    WEIR_SSL_YES,  /* the handshake is due */
    WEIR_SSL_NO,   /* the startup packet is due, in clear */
    WEIR_SSL_LOST, /* the connection is */
    WEIR_SSL_BROKEN, /* the answer is none, or not alone: whatever follows it came from nobody knows whom */
};

/* On a fresh connection. */
weir_must_check bool weir_ssl_request_send(struct weir_stream *stream);
/* When the stream is readable. On LOST and BROKEN *problem says why. */
enum weir_ssl_answer weir_ssl_request_take(struct weir_stream *stream, const char **problem);

#endif
