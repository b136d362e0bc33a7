/* Private to the verify room.
 *
 *   question.c  the messages
 *   process.c   a worker as a process: started, killed, gone
 *   worker.c    what is said to a worker, and what it answers
 *   verify.c    questions that wait, and which worker gets which
 */
#ifndef WEIR_VERIFY_ROOM_H
#define WEIR_VERIFY_ROOM_H

#include <sys/types.h>

#include "weir/verify.h"

/* --- process.c ------------------------------------------------------------------------- */

/* Starts `program` with one end of a socket as its standard input and nothing else of this process but
 * standard error; the other end, not blocking, is *descriptor. 0, or errno. */
int process_start(const char *program, pid_t *pid, int *descriptor);

/* --- worker.c -------------------------------------------------------------------------- */

enum worker_state {
    WORKER_IDLE,
    WORKER_ASKED,
    WORKER_ENDING, /* its socket is closed; it is there until the system says that it has ended */
};

struct weir_verify_worker {
    struct weir_list link; /* verify->workers */
    struct weir_verify *verify;
    enum worker_state state;
    pid_t pid;
    int descriptor;
    ev_io reads;
    ev_io writes;
    ev_timer limit;                         /* of the answer, or of its end */
    struct weir_verification *verification; /* NULL: nobody waits for the answer any more */
    uint64_t id;                            /* of the question that it has */
    uint8_t *message;                       /* what is still to be sent of it, or NULL */
    size_t length;
    size_t sent;
    uint8_t answer[WEIR_JUDGEMENT_MAX];
    size_t answer_length;
    unsigned answered; /* how many questions */
    bool outdated;     /* to end when it has answered */
    bool expected;     /* its end */
};

/* NULL with errno. */
struct weir_verify_worker *worker_start(struct weir_verify *verify, const char *program);
/* Of an idle one; takes the verification's message over. */
void worker_ask(struct weir_verify_worker *worker, struct weir_verification *verification,
                weir_usec limit);
/* Nobody waits for what it was asked. */
void worker_forget(struct weir_verify_worker *worker);
/* It ends by itself, as its socket is closed, or is killed after a while. */
void worker_dismiss(struct weir_verify_worker *worker);
/* Whatever it does; a question that it has is lost, for this reason. */
void worker_kill(struct weir_verify_worker *worker, const char *why);
/* It has ended, as the system says. Frees it; a question that it has is lost. */
void worker_reap(struct weir_verify_worker *worker, int status);
/* At the end of all. */
void worker_free(struct weir_verify_worker *worker);

/* --- verify.c -------------------------------------------------------------------------- */

struct weir_loop *verify_loop(const struct weir_verify *verify);
/* A worker has answered and may be asked again, or is ending. */
void verify_answered(struct weir_verify_worker *worker, const struct weir_judgement *judgement);
/* No answer comes to this one (NULL: nobody waits for it). */
void verify_lost(struct weir_verify *verify, struct weir_verification *verification,
                 const char *why);
/* A worker has gone. `useful`: it had answered something, or was sent away. */
void verify_gone(struct weir_verify *verify, bool useful);
void verify_note_kill(struct weir_verify *verify);

#endif
