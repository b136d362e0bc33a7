/* The loop, sockets, name resolution: bytes in and out, nothing of PostgreSQL. */
#ifndef WEIR_NET_H
#define WEIR_NET_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "weir/buffer.h"
#include "weir/clock.h"
#include "weir/histogram.h"
#include "weir/list.h"

/* --- the loop -------------------------------------------------------------------------- */

/* Work that must not run inside the caller: it runs once, later in the same turn of the loop,
 * before the loop sleeps. Tasks deferred while tasks run are run in the same turn too (bounded: at
 * most WEIR_TASKS_PER_TURN, the rest next turn without sleeping). */
#define WEIR_TASKS_PER_TURN 1024

struct weir_task {
    struct weir_list link;
    void (*run)(struct weir_task *task);
};

struct weir_loop {
    struct ev_loop *ev;
    weir_usec now;    /* monotonic, taken once a turn after polling */
    uint8_t *scratch; /* one receive buffer for all connections */
    size_t scratch_size;
    struct weir_list tasks; /* weir_task.link */
    weir_usec longest_turn; /* since last reset by the reader of the figure */
    uint64_t turns;
    struct weir_histogram turn_lengths;
    struct weir_list next_tasks; /* of the next turn */
    ev_idle more_tasks; /* active while tasks are left over, so that polling does not wait */
    struct weir_resolver *resolver; /* created on first use */
    struct weir_tls_loop *tls;      /* what all TLS streams share; created on first use */
};

/* Creates the ev loop (own, not the default one), the scratch buffer and the hooks. */
weir_must_check bool weir_loop_init(struct weir_loop *loop);
void weir_loop_fini(struct weir_loop *loop);
/* Runs until weir_loop_stop. */
void weir_loop_run(struct weir_loop *loop);
void weir_loop_stop(struct weir_loop *loop);
/* Queues the task unless it is queued already. */
static inline void weir_loop_defer(struct weir_loop *loop, struct weir_task *task)
{
    if (!weir_list_is_linked(&task->link))
        weir_list_push_back(&loop->tasks, &task->link);
}
/* The same for work that is left when a task has done its share of a turn: it runs in the next turn,
 * which comes without sleeping. */
static inline void weir_loop_defer_to_next_turn(struct weir_loop *loop, struct weir_task *task)
{
    if (weir_list_is_linked(&task->link))
        return;
    weir_list_push_back(&loop->next_tasks, &task->link);
    ev_idle_start(loop->ev, &loop->more_tasks);
}
static inline void weir_task_cancel(struct weir_task *task)
{
    weir_list_remove_if_linked(&task->link);
}

/* --- streams --------------------------------------------------------------------------- */

enum weir_io {
    WEIR_IO_OK,
    WEIR_IO_WAIT, /* nothing to read now */
    WEIR_IO_EOF,  /* the peer closed its side */
    WEIR_IO_DEAD, /* error; stream->error is the errno */
};

enum weir_stream_event {
    WEIR_STREAM_READABLE = 1,
    WEIR_STREAM_DRAINED = 2, /* `out` has become empty again */
    WEIR_STREAM_FAILED = 4,  /* a write failed while draining, or a TLS handshake failed */
    WEIR_STREAM_SECURED = 8, /* a TLS handshake is done (weir/tls.h) */
};

/* A non-blocking connected socket with the input that is not consumed yet and the output that the
 * kernel did not take yet. Both are normally empty and then own no memory.
 *
 * One ev_io watcher, armed for reading all the time; it is touched only when output gets stuck or
 * reading is paused. Reading is level triggered: one recv per event, no second to see EAGAIN. */
struct weir_stream {
    ev_io io;
    struct weir_loop *loop;
    void (*on_event)(struct weir_stream *stream, unsigned events);
    struct weir_buffer in;
    struct weir_buffer out; /* with TLS: encrypted already */
    struct weir_tls *tls;   /* NULL: plain */
    int error;
    bool paused;
    bool dead;
};

/* Takes over `fd`, sets it non-blocking and TCP_NODELAY where it applies, starts reading.
 * `priority` is libev's (servers 1, clients 0: what a server said is seen first in a turn). */
void weir_stream_open(struct weir_stream *stream, struct weir_loop *loop, int fd, int priority,
                      void (*on_event)(struct weir_stream *stream, unsigned events));
/* Stops the watcher, closes the socket, frees the buffers. Idempotent. Unsent output is lost. A
 * TLS peer is told if that is possible without waiting. */
void weir_stream_close(struct weir_stream *stream);
bool weir_stream_is_open(const struct weir_stream *stream);

/* One recv. On WEIR_IO_OK *bytes / *length is all that is unconsumed, older bytes first, in one
 * piece. It lies in the loop's scratch buffer or in stream->in: the caller must call
 * weir_stream_keep before anything else is received in this loop. */
enum weir_io weir_stream_receive(struct weir_stream *stream, uint8_t **bytes, size_t *length);
/* What weir_stream_keep saved, without a recv. */
void weir_stream_unread(struct weir_stream *stream, uint8_t **bytes, size_t *length);
/* Ends a look at the input: `rest` and what follows it, `length` bytes, are kept for next time, all
 * before is consumed. `rest` must point into the region given by receive or unread. False when
 * memory is out. */
weir_must_check bool weir_stream_keep(struct weir_stream *stream, const uint8_t *rest,
                                      size_t length);

/* Sends all pieces with one system call if nothing is queued; what the kernel does not take is
 * copied to `out` and sent when the socket is writable. False when the stream is dead (the error is
 * also reported by the next receive). */
weir_must_check bool weir_stream_send(struct weir_stream *stream, const struct iovec *pieces,
                                      int count);
weir_must_check bool weir_stream_send_bytes(struct weir_stream *stream, const void *bytes,
                                            size_t length);
static inline size_t weir_stream_unsent(const struct weir_stream *stream)
{
    return weir_buffer_length(&stream->out);
}
/* Nothing more will be sent: tells the peer so (with TLS by close_notify too), once everything has
 * gone out; with unsent output it does nothing, call it again when that has drained. */
void weir_stream_finish(struct weir_stream *stream);
/* A login is under way on it: what passes through its buffers, OpenSSL's included, is wiped. Ends when
 * `secret` is false again. */
void weir_stream_set_secret(struct weir_stream *stream, bool secret);
/* Wipes what a receive has left in the loop's scratch buffer; nothing there may be needed any more. */
void weir_loop_wipe_scratch(struct weir_loop *loop, size_t length);
/* Stop and restart reading: for back pressure, not for mere waiting. */
void weir_stream_pause(struct weir_stream *stream);
void weir_stream_resume(struct weir_stream *stream);

/* --- addresses ------------------------------------------------------------------------- */

struct weir_address {
    union {
        struct sockaddr any;
        struct sockaddr_storage storage;
        struct sockaddr_un unix_path;
    };
    socklen_t length;
};

/* "127.0.0.1:5432", "[::1]:5432", "unix:/dir/.s.PGSQL.5432". Always terminates. */
void weir_address_print(const struct weir_address *address, char *text, size_t size);

/* --- listening ------------------------------------------------------------------------- */

struct weir_listener; /* one listening socket */

struct weir_listen_options {
    int backlog;
    bool so_reuseport;
    int unix_mode;          /* e.g. 0777 */
    const char *unix_group; /* NULL: leave */
};

typedef void weir_on_accept(void *context, int fd, const struct weir_address *peer);

/* Opens every address of the comma list `addresses` ("*" = all IPv4 and IPv6) at `port`. Appends
 * the listeners to `list` (weir_listener first member is a weir_list link). Names are resolved
 * here, at boot. On failure nothing stays open, and *problem is a text to free() that names the
 * address. Accepts a bounded number per turn; EMFILE pauses accepting for a moment instead of
 * spinning. Keepalive is set on accepted TCP sockets. */
weir_must_check bool weir_listen_tcp(struct weir_loop *loop, struct weir_list *list,
                                     const char *addresses, int port,
                                     const struct weir_listen_options *options,
                                     weir_on_accept *on_accept, void *context, char **problem);
/* Unix socket DIR/.s.PGSQL.PORT ("@name" = abstract). A stale socket file is removed; one that
 * answers is an error. */
weir_must_check bool weir_listen_unix(struct weir_loop *loop, struct weir_list *list,
                                      const char *directory, int port,
                                      const struct weir_listen_options *options,
                                      weir_on_accept *on_accept, void *context, char **problem);
/* A socket that is listening already (socket activation). */
weir_must_check bool weir_listen_inherited(struct weir_loop *loop, struct weir_list *list, int fd,
                                           weir_on_accept *on_accept, void *context);
/* Where the listener that `link` belongs to is bound; with port 0 asked for, the port it got. */
weir_must_check bool weir_listen_address(const struct weir_list *link,
                                         struct weir_address *address);
/* Closes all; removes own Unix socket files. May be called from on_accept. */
void weir_listen_close_all(struct weir_list *list);
/* Closes all but own Unix sockets. */
void weir_listen_close_public(struct weir_list *list);

/* --- connecting ------------------------------------------------------------------------ */

struct weir_dial_host {
    const char *host; /* name, address, "/dir" or "@abstract"; "" = the default Unix directory */
    int port;
};

struct weir_dial_result {
    int fd;                      /* -1: failed; else non-blocking and owned by the receiver */
    size_t host_index;           /* which host answered */
    struct weir_address address; /* where it is connected */
    const char *problem; /* failed: "host: reason" of every attempt, valid in the callback */
};

struct weir_dial; /* an attempt under way */

/* Resolves (c-ares, /etc/hosts too, never blocking) and connects to the hosts in order beginning at
 * index `first` and wrapping round, each address of a host in order, until one accepts.
 * `hosts` is copied. The callback comes from the loop, never from inside this call, exactly once
 * unless the dial is cancelled. Names are cached for a short time per loop. */
struct weir_dial *
weir_dial_start(struct weir_loop *loop, const struct weir_dial_host *hosts, size_t host_count,
                size_t first, void (*done)(void *context, const struct weir_dial_result *result),
                void *context);
/* Connects to exactly this address (cancel requests). */
struct weir_dial *weir_dial_address(struct weir_loop *loop, const struct weir_address *address,
                                    void (*done)(void *context,
                                                 const struct weir_dial_result *result),
                                    void *context);
/* No callback will come. NULL is fine. The dial is gone after `done` and must not be cancelled. */
void weir_dial_cancel(struct weir_dial *dial);

#endif
