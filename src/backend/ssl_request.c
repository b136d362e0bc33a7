#include "ssl_request.h"

#define SSL_REQUEST_CODE 80877103u

bool weir_ssl_request_send(struct weir_stream *stream)
{
    const uint8_t packet[] = {
        0,
        0,
        0,
        8,
        (uint8_t)(SSL_REQUEST_CODE >> 24),
        (uint8_t)(SSL_REQUEST_CODE >> 16),
        (uint8_t)(SSL_REQUEST_CODE >> 8),
        (uint8_t)SSL_REQUEST_CODE,
    };
    return weir_stream_send_bytes(stream, packet, sizeof(packet));
}

enum weir_ssl_answer weir_ssl_request_take(struct weir_stream *stream, const char **problem)
{
    uint8_t *bytes;
    size_t length;
    enum weir_io io = weir_stream_receive(stream, &bytes, &length);
    if (io == WEIR_IO_WAIT)
        return WEIR_SSL_WAIT;
    if (io != WEIR_IO_OK) {
        *problem = io == WEIR_IO_EOF ? "the server closed the connection when asked for TLS"
                                     : "the connection failed when the server was asked for TLS";
        return WEIR_SSL_LOST;
    }
    char answer = (char)bytes[0];
    if (!weir_stream_keep(stream, bytes + length, 0)) {
        *problem = "out of memory";
        return WEIR_SSL_LOST;
    }
    if (answer == 'E') {
        /* Its text is not looked at: in clear, anybody may have written it. */
        *problem = "the server answered the request for TLS with an error";
        return WEIR_SSL_BROKEN;
    }
    if (answer != 'S' && answer != 'N') {
        *problem = "the server's answer to the request for TLS is none";
        return WEIR_SSL_BROKEN;
    }
    if (length > 1) {
        *problem = "the server sent data in clear behind its answer to the request for TLS";
        return WEIR_SSL_BROKEN;
    }
    return answer == 'S' ? WEIR_SSL_YES : WEIR_SSL_NO;
}
