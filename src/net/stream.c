/* Streams: the two system calls of the hot path, and what happens when the kernel takes less. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "stream.h"
#include "tls.h"
#include "weir/memory.h"
#include "weir/net.h"

/* How much a receive makes room for when the input does not fit into the scratch buffer. */
#define RECEIVE_ROOM ((size_t)64 * 1024)

/* Gives the watcher the events that the stream's state asks for. libev collects such changes and
 * makes at most one epoll_ctl of them before it polls. */
void weir_stream_adjust_watcher(struct weir_stream *stream)
{
    int wanted = stream->paused ? 0 : EV_READ;
    if (weir_stream_unsent(stream) > 0)
        wanted |= EV_WRITE;
    bool active = ev_is_active(&stream->io);
    if (wanted == (active ? stream->io.events & (EV_READ | EV_WRITE) : 0))
        return;
    ev_io_stop(stream->loop->ev, &stream->io);
    if (wanted == 0)
        return;
    ev_io_modify(&stream->io, wanted);
    ev_io_start(stream->loop->ev, &stream->io);
}

/* Nothing can be written any more. Reading goes on: what the peer said last, perhaps why it went
 * away, may still be there; after it receive reports the error. */
void weir_stream_mark_dead(struct weir_stream *stream, int error)
{
    stream->dead = true;
    stream->error = error;
    weir_buffer_clear(&stream->out);
    weir_stream_adjust_watcher(stream);
}

static ssize_t send_retrying(int fd, const struct iovec *pieces, int count)
{
    ssize_t sent;
    do {
        if (count == 1) {
            sent = send(fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        } else {
            struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)pieces,
                                     .msg_iovlen = (size_t)(count > IOV_MAX ? IOV_MAX : count)};
            sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
    } while (sent < 0 && errno == EINTR);
    return sent;
}

static bool is_full(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS;
}

unsigned weir_stream_flush(struct weir_stream *stream)
{
    if (weir_stream_unsent(stream) == 0)
        return 0;
    struct iovec piece = {weir_buffer_bytes(&stream->out), weir_stream_unsent(stream)};
    ssize_t sent = send_retrying(stream->io.fd, &piece, 1);
    if (sent < 0) {
        if (is_full(errno))
            return 0;
        weir_stream_mark_dead(stream, errno);
        return WEIR_STREAM_FAILED;
    }
    weir_buffer_consume(&stream->out, (size_t)sent);
    if (weir_stream_unsent(stream) > 0)
        return 0;
    weir_stream_adjust_watcher(stream);
    return WEIR_STREAM_DRAINED;
}

void weir_stream_on_io(struct ev_loop *ev, ev_io *watcher, int revents)
{
    struct weir_stream *stream = weir_container_of(watcher, struct weir_stream, io);
    unsigned events = 0;
    if (__builtin_expect(revents & EV_WRITE, 0))
        events = weir_stream_flush(stream);
    if (revents & EV_READ)
        events |= WEIR_STREAM_READABLE;
    /* The last thing here: the stream may be gone afterwards. */
    if (events != 0)
        stream->on_event(stream, events);
}

void weir_stream_open(struct weir_stream *stream, struct weir_loop *loop, int fd, int priority,
                      void (*on_event)(struct weir_stream *stream, unsigned events))
{
    weir_require(fd >= 0);
    *stream = (struct weir_stream){.loop = loop, .on_event = on_event};
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_NONBLOCK) == 0)
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    /* Fails for Unix sockets, which have nothing to delay. */
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ev_io_init(&stream->io, weir_stream_on_io, fd, EV_READ);
    ev_set_priority(&stream->io, priority);
    ev_io_start(loop->ev, &stream->io);
}

bool weir_stream_is_open(const struct weir_stream *stream)
{
    return stream->loop != NULL;
}

void weir_stream_close(struct weir_stream *stream)
{
    if (!weir_stream_is_open(stream))
        return;
    if (stream->tls != NULL)
        weir_tls_close(stream);
    ev_io_stop(stream->loop->ev, &stream->io);
    close(stream->io.fd);
    stream->loop = NULL;
    stream->dead = true;
    weir_buffer_clear(&stream->in);
    weir_buffer_clear(&stream->out);
}

static enum weir_io receive_failed(struct weir_stream *stream, ssize_t got)
{
    if (stream->dead)
        return WEIR_IO_DEAD;
    if (got == 0)
        return WEIR_IO_EOF;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return WEIR_IO_WAIT;
    weir_stream_mark_dead(stream, errno);
    return WEIR_IO_DEAD;
}

/* As recv, of plain text. */
static ssize_t fill(struct weir_stream *stream, uint8_t *room, size_t size)
{
    if (__builtin_expect(stream->tls != NULL, 0))
        return weir_tls_read(stream, room, size);
    return recv(stream->io.fd, room, size, MSG_DONTWAIT);
}

static enum weir_io receive_behind_leftovers(struct weir_stream *stream, uint8_t **bytes,
                                             size_t *length)
{
    struct weir_loop *loop = stream->loop;
    size_t kept = weir_buffer_length(&stream->in);
    bool in_scratch = kept <= loop->scratch_size / 4;
    uint8_t *end;
    size_t room;
    if (in_scratch) {
        memcpy(loop->scratch, weir_buffer_bytes(&stream->in), kept);
        end = loop->scratch + kept;
        room = loop->scratch_size - kept;
    } else {
        end = weir_buffer_reserve(&stream->in, RECEIVE_ROOM);
        if (end == NULL) {
            weir_stream_mark_dead(stream, ENOMEM);
            return WEIR_IO_DEAD;
        }
        room = stream->in.capacity - stream->in.end;
    }

    ssize_t got = fill(stream, end, room);
    if (got <= 0)
        return receive_failed(stream, got);
    if (in_scratch) {
        /* The scratch buffer has them now. The memory stays for what keep brings back. */
        stream->in.start = 0;
        stream->in.end = 0;
        *bytes = loop->scratch;
        *length = kept + (size_t)got;
    } else {
        stream->in.end += (uint32_t)got;
        weir_stream_unread(stream, bytes, length);
    }
    return WEIR_IO_OK;
}

enum weir_io weir_stream_receive(struct weir_stream *stream, uint8_t **bytes, size_t *length)
{
    if (__builtin_expect(weir_buffer_length(&stream->in) > 0, 0))
        return receive_behind_leftovers(stream, bytes, length);
    struct weir_loop *loop = stream->loop;
    ssize_t got = fill(stream, loop->scratch, loop->scratch_size);
    if (__builtin_expect(got <= 0, 0))
        return receive_failed(stream, got);
    *bytes = loop->scratch;
    *length = (size_t)got;
    return WEIR_IO_OK;
}

void weir_stream_unread(struct weir_stream *stream, uint8_t **bytes, size_t *length)
{
    *length = weir_buffer_length(&stream->in);
    /* Never NULL, so that callers may reckon with the pointer when there is nothing. */
    *bytes = *length > 0 ? weir_buffer_bytes(&stream->in) : stream->loop->scratch;
}

/* Whether the `length` bytes at `rest` lie in the `size` bytes at `region`. */
static bool lies_in(const uint8_t *rest, size_t length, const uint8_t *region, size_t size)
{
    uintptr_t at = (uintptr_t)rest;
    uintptr_t begin = (uintptr_t)region;
    return region != NULL && at >= begin && at - begin <= size && length <= size - (at - begin);
}

bool weir_stream_keep(struct weir_stream *stream, const uint8_t *rest, size_t length)
{
    if (__builtin_expect(length == 0, 1)) {
        if (stream->in.data != NULL)
            weir_buffer_clear(&stream->in);
        return true;
    }
    struct weir_loop *loop = stream->loop;
    if (lies_in(rest, length, loop->scratch, loop->scratch_size)) {
        stream->in.start = 0;
        stream->in.end = 0;
        /* What one large message needed is not held on to for the small ones after it. */
        if (stream->in.capacity > RECEIVE_ROOM && length < stream->in.capacity / 4)
            weir_buffer_clear(&stream->in);
        return weir_buffer_append(&stream->in, rest, length);
    }
    weir_require(lies_in(rest, length, stream->in.data, stream->in.end));
    stream->in.start = (uint32_t)(rest - stream->in.data);
    stream->in.end = stream->in.start + (uint32_t)length;
    return true;
}

/* Copies everything behind the first `sent` bytes of the pieces to `out`. */
static bool queue_unsent(struct weir_stream *stream, const struct iovec *pieces, int count,
                         size_t sent)
{
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += pieces[i].iov_len;
    if (sent == total)
        return true;
    if (weir_buffer_reserve(&stream->out, total - sent) == NULL) {
        weir_stream_mark_dead(stream, ENOMEM);
        return false;
    }
    for (int i = 0; i < count; i++) {
        size_t skip = sent < pieces[i].iov_len ? sent : pieces[i].iov_len;
        sent -= skip;
        size_t left = pieces[i].iov_len - skip;
        if (left > 0 &&
            !weir_buffer_append(&stream->out, (const uint8_t *)pieces[i].iov_base + skip, left)) {
            weir_stream_mark_dead(stream, ENOMEM);
            return false;
        }
    }
    weir_stream_adjust_watcher(stream);
    return true;
}

static bool send_failed(struct weir_stream *stream, const struct iovec *pieces, int count)
{
    if (is_full(errno))
        return queue_unsent(stream, pieces, count, 0);
    weir_stream_mark_dead(stream, errno);
    return false;
}

static inline bool send_raw(struct weir_stream *stream, const struct iovec *piece)
{
    if (weir_stream_unsent(stream) > 0)
        return queue_unsent(stream, piece, 1, 0);
    ssize_t sent = send_retrying(stream->io.fd, piece, 1);
    if (__builtin_expect(sent == (ssize_t)piece->iov_len, 1))
        return true;
    if (sent < 0)
        return send_failed(stream, piece, 1);
    return queue_unsent(stream, piece, 1, (size_t)sent);
}

bool weir_stream_send_raw(struct weir_stream *stream, const void *bytes, size_t length)
{
    struct iovec piece = {(void *)(uintptr_t)bytes, length};
    return send_raw(stream, &piece);
}

bool weir_stream_send(struct weir_stream *stream, const struct iovec *pieces, int count)
{
    if (count == 1)
        return weir_stream_send_bytes(stream, pieces->iov_base, pieces->iov_len);
    if (stream->dead)
        return false;
    if (count <= 0)
        return true;
    if (__builtin_expect(stream->tls != NULL, 0))
        return weir_tls_write(stream, pieces, count);
    if (weir_stream_unsent(stream) > 0)
        return queue_unsent(stream, pieces, count, 0);
    ssize_t sent = send_retrying(stream->io.fd, pieces, count);
    if (sent < 0)
        return send_failed(stream, pieces, count);
    return queue_unsent(stream, pieces, count, (size_t)sent);
}

bool weir_stream_send_bytes(struct weir_stream *stream, const void *bytes, size_t length)
{
    struct iovec piece = {(void *)(uintptr_t)bytes, length};
    if (stream->dead)
        return false;
    if (length == 0)
        return true;
    if (__builtin_expect(stream->tls != NULL, 0))
        return weir_tls_write(stream, &piece, 1);
    return send_raw(stream, &piece);
}

void weir_stream_finish(struct weir_stream *stream)
{
    if (stream->dead || weir_stream_unsent(stream) > 0)
        return;
    if (stream->tls != NULL)
        weir_tls_finish(stream);
    if (weir_stream_unsent(stream) == 0)
        shutdown(stream->io.fd, SHUT_WR);
}

void weir_stream_set_secret(struct weir_stream *stream, bool secret)
{
    if (stream->tls != NULL)
        weir_tls_set_secret(stream, secret);
    if (secret) {
        stream->in.secret = true;
        stream->out.secret = true;
    } else {
        weir_buffer_publish(&stream->in);
        weir_buffer_publish(&stream->out);
    }
}

void weir_loop_wipe_scratch(struct weir_loop *loop, size_t length)
{
    weir_wipe(loop->scratch, length < loop->scratch_size ? length : loop->scratch_size);
}

void weir_stream_pause(struct weir_stream *stream)
{
    stream->paused = true;
    weir_stream_adjust_watcher(stream);
}

void weir_stream_resume(struct weir_stream *stream)
{
    stream->paused = false;
    weir_stream_adjust_watcher(stream);
    if (stream->tls != NULL)
        weir_tls_announce_end(stream);
}
