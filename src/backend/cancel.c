/* CancelRequest on a connection of its own. The server answers nothing but the end of file. */
#include "weir/backend.h"

#include <stdlib.h>
#include <string.h>

#include "ssl_request.h"
#include "weir/memory.h"
#include "weir/tls.h"
#include "weir/wire.h"

#define CANCEL_REQUEST_CODE 80877102u

struct weir_cancel {
    struct weir_stream stream;
    struct weir_loop *loop;
    struct weir_dial *dial;
    struct weir_task ended; /* frees, outside of any callback of the stream */
    void (*done)(void *context, bool delivered);
    void *context;
    struct weir_buffer packet;
    struct weir_tls_context *tls; /* NULL: plain */
    char *tls_host;
    bool sent;
};

static void destroy(struct weir_cancel *cancel)
{
    weir_stream_close(&cancel->stream);
    weir_buffer_clear(&cancel->packet);
    weir_tls_context_release(cancel->tls);
    free(cancel->tls_host);
    free(cancel);
}

static void on_ended(struct weir_task *task)
{
    destroy(weir_container_of(task, struct weir_cancel, ended));
}

static void finish(struct weir_cancel *cancel, bool delivered)
{
    weir_stream_close(&cancel->stream);
    weir_loop_defer(cancel->loop, &cancel->ended);
    cancel->done(cancel->context, delivered);
}

static void on_event(struct weir_stream *stream, unsigned events)
{
    struct weir_cancel *cancel = weir_container_of(stream, struct weir_cancel, stream);
    uint8_t *bytes;
    size_t length;
    enum weir_io io = weir_stream_receive(stream, &bytes, &length);
    if (io == WEIR_IO_WAIT)
        return;
    if (io == WEIR_IO_OK) {
        /* Nothing is expected here; whatever it is, it is not kept. */
        if (weir_stream_keep(stream, bytes + length, 0))
            return;
    }
    finish(cancel, io == WEIR_IO_EOF);
}

static void send_packet(struct weir_cancel *cancel)
{
    cancel->stream.on_event = on_event;
    cancel->sent = true;
    if (!weir_stream_send_bytes(&cancel->stream, weir_buffer_bytes(&cancel->packet),
                                weir_buffer_length(&cancel->packet)))
        finish(cancel, false);
}

static void on_handshake(struct weir_stream *stream, unsigned events)
{
    struct weir_cancel *cancel = weir_container_of(stream, struct weir_cancel, stream);
    if (events & WEIR_STREAM_SECURED)
        send_packet(cancel);
    else if (events & WEIR_STREAM_FAILED)
        finish(cancel, false);
}

/* The key is not sent in clear when the connection that it belongs to is not. */
static void on_answer(struct weir_stream *stream, unsigned events)
{
    struct weir_cancel *cancel = weir_container_of(stream, struct weir_cancel, stream);
    const char *problem;
    if (!(events & (WEIR_STREAM_READABLE | WEIR_STREAM_FAILED)))
        return;
    enum weir_ssl_answer answer = weir_ssl_request_take(stream, &problem);
    if (answer == WEIR_SSL_WAIT)
        return;
    stream->on_event = on_handshake;
    if (answer != WEIR_SSL_YES || !weir_tls_connect(stream, cancel->tls, cancel->tls_host))
        finish(cancel, false);
}

static void on_dialled(void *context, const struct weir_dial_result *result)
{
    struct weir_cancel *cancel = context;
    cancel->dial = NULL;
    if (result->fd < 0) {
        finish(cancel, false);
        return;
    }
    weir_stream_open(&cancel->stream, cancel->loop, result->fd, 1,
                     cancel->tls != NULL ? on_answer : on_event);
    if (cancel->tls == NULL)
        send_packet(cancel);
    else if (!weir_ssl_request_send(&cancel->stream))
        finish(cancel, false);
}

struct weir_cancel *weir_cancel_start(struct weir_loop *loop, const struct weir_server *server,
                                      void (*done)(void *context, bool delivered), void *context)
{
    struct weir_cancel *cancel = weir_alloc(sizeof(*cancel));
    cancel->loop = loop;
    cancel->done = done;
    cancel->context = context;
    cancel->ended.run = on_ended;
    if (weir_tls_is_used(&server->stream)) {
        cancel->tls = weir_tls_context_share(server->tls);
        cancel->tls_host = weir_strdup(server->tls_host);
    }
    struct weir_writer writer = weir_writer_to(&cancel->packet);
    size_t packet = weir_message_begin(&writer, 0);
    weir_write_u32(&writer, CANCEL_REQUEST_CODE);
    weir_write_u32(&writer, server->pid);
    weir_write_bytes(&writer, server->key, server->key_length);
    weir_message_end(&writer, packet);
    cancel->dial = weir_dial_address(loop, &server->address, on_dialled, cancel);
    return cancel;
}

bool weir_cancel_is_sent(const struct weir_cancel *cancel)
{
    return cancel->sent;
}

void weir_cancel_drop(struct weir_cancel *cancel)
{
    if (cancel == NULL)
        return;
    if (cancel->dial != NULL)
        weir_dial_cancel(cancel->dial);
    destroy(cancel);
}
