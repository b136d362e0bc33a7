/* One worker: its question goes out, its answer comes in, and it ends in one way or another. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "room.h"
#include "weir/log.h"
#include "weir/memory.h"

/* One whose socket is closed and that has not ended is killed then. */
#define LAST_MOMENT 2.

static void on_readable(struct ev_loop *ev, ev_io *io, int events);
static void on_writable(struct ev_loop *ev, ev_io *io, int events);
static void on_limit(struct ev_loop *ev, ev_timer *timer, int events);

static struct weir_loop *loop_of(const struct weir_verify_worker *worker)
{
    return verify_loop(worker->verify);
}

static void arm(struct weir_verify_worker *worker, double seconds)
{
    ev_timer_stop(loop_of(worker)->ev, &worker->limit);
    ev_timer_set(&worker->limit, seconds, 0.);
    ev_timer_start(loop_of(worker)->ev, &worker->limit);
}

/* --- messages -------------------------------------------------------------------------- */

static void drop_message(struct weir_verify_worker *worker)
{
    if (worker->message != NULL)
        weir_wipe(worker->message, worker->length);
    free(worker->message);
    worker->message = NULL;
}

static void send_message(struct weir_verify_worker *worker)
{
    while (worker->sent < worker->length) {
        ssize_t taken = send(worker->descriptor, worker->message + worker->sent,
                             worker->length - worker->sent, MSG_NOSIGNAL);
        if (taken < 0 && errno == EINTR)
            continue;
        if (taken < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            ev_io_start(loop_of(worker)->ev, &worker->writes);
            return;
        }
        /* That it is gone shows when it is read. */
        if (taken < 0)
            break;
        worker->sent += (size_t)taken;
    }
    ev_io_stop(loop_of(worker)->ev, &worker->writes);
    drop_message(worker);
}

static void on_writable(struct ev_loop *ev, ev_io *io, int events)
{
    send_message(io->data);
}

static void disconnect(struct weir_verify_worker *worker)
{
    if (worker->state == WORKER_ENDING)
        return;
    worker->state = WORKER_ENDING;
    ev_io_stop(loop_of(worker)->ev, &worker->reads);
    ev_io_stop(loop_of(worker)->ev, &worker->writes);
    ev_timer_stop(loop_of(worker)->ev, &worker->limit);
    close(worker->descriptor);
    drop_message(worker);
}

static void take_answer(struct weir_verify_worker *worker)
{
    size_t size = 0;
    struct weir_judgement judgement;
    enum weir_frame frame =
        weir_frame_find(worker->answer, worker->answer_length, WEIR_JUDGEMENT_MAX, &size);
    if (frame == WEIR_FRAME_PART)
        return;
    bool good = frame == WEIR_FRAME_WHOLE && worker->state == WORKER_ASKED &&
                weir_judgement_read(worker->answer, size, &judgement) && judgement.id == worker->id;
    if (!good) {
        worker_kill(worker, "a worker broke the protocol");
        return;
    }
    bool more = worker->answer_length > size;
    worker->answer_length = 0;
    worker->answered++;
    worker->state = WORKER_IDLE;
    ev_timer_stop(loop_of(worker)->ev, &worker->limit);
    verify_answered(worker, &judgement);
    if (more && worker->state == WORKER_IDLE)
        worker_kill(worker, "a worker said more than it was asked for");
}

static void on_readable(struct ev_loop *ev, ev_io *io, int events)
{
    struct weir_verify_worker *worker = io->data;
    ssize_t got = recv(worker->descriptor, worker->answer + worker->answer_length,
                       sizeof(worker->answer) - worker->answer_length, 0);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got <= 0) {
        /* Why will be known when it has been reaped; what it was asked is lost then. */
        disconnect(worker);
        arm(worker, LAST_MOMENT);
        return;
    }
    worker->answer_length += (size_t)got;
    take_answer(worker);
}

/* --- its life -------------------------------------------------------------------------- */

struct weir_verify_worker *worker_start(struct weir_verify *verify, const char *program)
{
    struct weir_verify_worker *worker = weir_alloc(sizeof(*worker));
    worker->verify = verify;
    errno = process_start(program, &worker->pid, &worker->descriptor);
    if (errno != 0) {
        int problem = errno;
        free(worker);
        errno = problem;
        return NULL;
    }
    ev_io_init(&worker->reads, on_readable, worker->descriptor, EV_READ);
    ev_io_init(&worker->writes, on_writable, worker->descriptor, EV_WRITE);
    ev_timer_init(&worker->limit, on_limit, 0., 0.);
    worker->reads.data = worker->writes.data = worker->limit.data = worker;
    ev_io_start(loop_of(worker)->ev, &worker->reads);
    return worker;
}

void worker_ask(struct weir_verify_worker *worker, struct weir_verification *verification,
                weir_usec limit)
{
    weir_require(worker->state == WORKER_IDLE && worker->message == NULL);
    worker->state = WORKER_ASKED;
    worker->verification = verification;
    worker->id = verification->id;
    worker->message = verification->message;
    worker->length = verification->length;
    worker->sent = 0;
    verification->worker = worker;
    verification->message = NULL;
    if (limit > 0)
        arm(worker, (double)limit / 1e6);
    send_message(worker);
}

void worker_forget(struct weir_verify_worker *worker)
{
    worker->verification = NULL;
}

void worker_dismiss(struct weir_verify_worker *worker)
{
    weir_require(worker->state == WORKER_IDLE);
    worker->expected = true;
    disconnect(worker);
    arm(worker, LAST_MOMENT);
}

/* The verification is taken out first: whoever hears of the loss may ask again at once. */
static void lose(struct weir_verify_worker *worker, const char *why)
{
    struct weir_verification *verification = worker->verification;
    worker->verification = NULL;
    if (verification != NULL)
        verify_lost(worker->verify, verification, why);
}

void worker_kill(struct weir_verify_worker *worker, const char *why)
{
    weir_log_warning(NULL, "verify", "worker %d is killed: %s", (int)worker->pid, why);
    verify_note_kill(worker->verify);
    worker->expected = true;
    disconnect(worker);
    kill(worker->pid, SIGKILL);
    lose(worker, why);
}

static void on_limit(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct weir_verify_worker *worker = timer->data;
    worker_kill(worker, worker->state == WORKER_ENDING
                            ? "its socket is closed and it does not end"
                            : "the password check took longer than auth_worker_timeout");
}

void worker_free(struct weir_verify_worker *worker)
{
    disconnect(worker);
    ev_timer_stop(loop_of(worker)->ev, &worker->limit);
    weir_list_remove_if_linked(&worker->link);
    if (worker->verification != NULL)
        weir_verification_cancel(worker->verification);
    free(worker);
}

static void describe_end(const struct weir_verify_worker *worker, int status, char *text,
                         size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(text, size, "worker %d was ended by signal %d (%s)", (int)worker->pid,
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, size, "worker %d has ended with status %d", (int)worker->pid,
                 WEXITSTATUS(status));
}

void worker_reap(struct weir_verify_worker *worker, int status)
{
    struct weir_verify *verify = worker->verify;
    bool useful = worker->answered > 0 || worker->expected;
    char text[128];
    describe_end(worker, status, text, sizeof(text));
    if (!worker->expected)
        weir_log_warning(NULL, "verify", "%s", text);
    /* As long as it is linked no new one takes its place. */
    weir_list_remove(&worker->link);
    lose(worker, text);
    worker_free(worker);
    verify_gone(verify, useful);
}
