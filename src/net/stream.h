/* What TLS needs of a stream's inside: the socket below the plain text. */
#ifndef WEIR_NET_STREAM_H
#define WEIR_NET_STREAM_H

#include "weir/net.h"

/* Gives the watcher the events that the stream's state asks for. libev collects such changes and
 * makes at most one epoll_ctl of them before it polls. */
void weir_stream_adjust_watcher(struct weir_stream *stream);
/* Nothing can be written any more. Reading goes on: what the peer said last, perhaps why it went
 * away, may still be there; after it receive reports the error. */
void weir_stream_mark_dead(struct weir_stream *stream, int error);
/* Sends these bytes as they are, or queues them. False when the stream is dead. */
weir_must_check bool weir_stream_send_raw(struct weir_stream *stream, const void *bytes,
                                          size_t length);
/* Sends what is queued; the events to report. */
unsigned weir_stream_flush(struct weir_stream *stream);
/* The watcher's callback outside of handshakes. */
void weir_stream_on_io(struct ev_loop *ev, ev_io *watcher, int revents);

#endif
