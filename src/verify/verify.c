/* Which worker gets which question. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "room.h"
#include "weir/log.h"
#include "weir/memory.h"

/* Libraries leak, and PAM loads whatever it is configured to: a worker is replaced after so many. */
#define QUESTIONS_PER_WORKER 1000
/* When so many in a row have ended by themselves without having answered anything, and when none can be
 * started, there is a pause. */
#define USELESS_MAX 5
#define RETRY       WEIR_SEC
/* At the end workers have so long to go by themselves. */
#define FAREWELL_MSEC 2000

struct weir_verify {
    struct weir_loop *loop;
    char *program;
    int limit_workers;
    weir_usec limit;
    struct weir_list workers; /* worker.link */
    struct weir_list waiting; /* weir_verification.link */
    int waiting_count;
    struct weir_task serve;
    ev_signal child;
    weir_usec retry_at;  /* no worker is started before */
    const char *problem; /* why */
    int useless;         /* in a row, see USELESS_MAX */
    uint64_t next_id;
    struct weir_verify_figures figures;
};

struct weir_loop *verify_loop(const struct weir_verify *verify)
{
    return verify->loop;
}

/* --- verifications --------------------------------------------------------------------- */

static void forget_message(struct weir_verification *verification)
{
    if (verification->message != NULL)
        weir_wipe(verification->message, verification->length);
    free(verification->message);
    verification->message = NULL;
}

static struct weir_verification *pop_waiting(struct weir_verify *verify)
{
    struct weir_list *link = weir_list_pop(&verify->waiting);
    if (link == NULL)
        return NULL;
    verify->waiting_count--;
    return weir_container_of(link, struct weir_verification, link);
}

/* The owner may free it, or ask again. */
static void finish(struct weir_verification *verification, enum weir_verdict verdict,
                   const char *text)
{
    forget_message(verification);
    verification->worker = NULL;
    verification->verify = NULL;
    verification->done(verification, verdict, text);
}

/* --- workers --------------------------------------------------------------------------- */

static int count_workers(const struct weir_verify *verify, struct weir_verify_worker **idle)
{
    int count = 0;
    *idle = NULL;
    weir_list_for(link, &verify->workers) {
        struct weir_verify_worker *worker =
            weir_container_of(link, struct weir_verify_worker, link);
        count++;
        if (*idle == NULL && worker->state == WORKER_IDLE)
            *idle = worker;
    }
    return count;
}

static void pause_starting(struct weir_verify *verify, const char *problem)
{
    verify->retry_at = verify->loop->now + RETRY;
    verify->problem = problem;
}

static struct weir_verify_worker *start(struct weir_verify *verify)
{
    struct weir_verify_worker *worker = worker_start(verify, verify->program);
    if (worker == NULL) {
        weir_log_error(NULL, "verify", "%s cannot be started: %s", verify->program,
                       strerror(errno));
        pause_starting(verify, "no worker can be started");
        return NULL;
    }
    verify->figures.started++;
    weir_list_push_back(&verify->workers, &worker->link);
    return worker;
}

/* An idle worker, a new one, or NULL. */
static struct weir_verify_worker *find_worker(struct weir_verify *verify, int *count)
{
    struct weir_verify_worker *idle;
    *count = count_workers(verify, &idle);
    if (idle == NULL && *count < verify->limit_workers && verify->loop->now >= verify->retry_at) {
        idle = start(verify);
        *count += idle != NULL;
    }
    return idle;
}

static void serve(struct weir_task *task)
{
    struct weir_verify *verify = weir_container_of(task, struct weir_verify, serve);
    while (!weir_list_is_empty(&verify->waiting)) {
        int count;
        struct weir_verify_worker *worker = find_worker(verify, &count);
        /* Those that are at work, or ending, make room later. */
        if (worker == NULL && count > 0)
            return;
        struct weir_verification *verification = pop_waiting(verify);
        if (worker != NULL)
            worker_ask(worker, verification, verify->limit);
        else
            verify_lost(verify, verification, verify->problem);
    }
}

static void serve_later(struct weir_verify *verify)
{
    weir_loop_defer(verify->loop, &verify->serve);
}

void verify_answered(struct weir_verify_worker *worker, const struct weir_judgement *judgement)
{
    struct weir_verify *verify = worker->verify;
    struct weir_verification *verification = worker->verification;
    worker->verification = NULL;
    verify->useless = 0;
    if (worker->outdated || worker->answered >= QUESTIONS_PER_WORKER)
        worker_dismiss(worker);
    serve_later(verify);
    if (verification != NULL)
        finish(verification, judgement->verdict, judgement->text);
}

void verify_lost(struct weir_verify *verify, struct weir_verification *verification,
                 const char *why)
{
    verify->figures.lost++;
    if (verification != NULL)
        finish(verification, WEIR_VERDICT_LOST, why);
}

void verify_gone(struct weir_verify *verify, bool useful)
{
    verify->useless = useful ? 0 : verify->useless + 1;
    if (verify->useless >= USELESS_MAX)
        pause_starting(verify, "workers end as soon as they are started");
    serve_later(verify);
}

void verify_note_kill(struct weir_verify *verify)
{
    verify->figures.killed++;
}

static void on_child(struct ev_loop *ev, ev_signal *signal, int events)
{
    struct weir_verify *verify = signal->data;
    weir_list_for_safe(link, &verify->workers) {
        struct weir_verify_worker *worker =
            weir_container_of(link, struct weir_verify_worker, link);
        int status;
        if (waitpid(worker->pid, &status, WNOHANG) == worker->pid)
            worker_reap(worker, status);
    }
}

/* --- the end --------------------------------------------------------------------------- */

static bool is_left(struct weir_verify *verify)
{
    weir_list_for_safe(link, &verify->workers) {
        struct weir_verify_worker *worker =
            weir_container_of(link, struct weir_verify_worker, link);
        pid_t ended = waitpid(worker->pid, NULL, WNOHANG);
        if (ended == worker->pid || (ended < 0 && errno == ECHILD))
            worker_free(worker);
    }
    return !weir_list_is_empty(&verify->workers);
}

static void wait_for_workers(struct weir_verify *verify, int milliseconds)
{
    for (int waited = 0; is_left(verify) && waited < milliseconds; waited++)
        usleep(1000);
}

static void end_workers(struct weir_verify *verify)
{
    weir_list_for(link, &verify->workers) {
        struct weir_verify_worker *worker =
            weir_container_of(link, struct weir_verify_worker, link);
        if (worker->state == WORKER_IDLE)
            worker_dismiss(worker);
        else
            kill(worker->pid, SIGKILL);
    }
    wait_for_workers(verify, FAREWELL_MSEC);
    weir_list_for_safe(link, &verify->workers) {
        struct weir_verify_worker *worker =
            weir_container_of(link, struct weir_verify_worker, link);
        kill(worker->pid, SIGKILL);
    }
    wait_for_workers(verify, FAREWELL_MSEC / 10);
    struct weir_list *link;
    while ((link = weir_list_first(&verify->workers)) != NULL)
        worker_free(weir_container_of(link, struct weir_verify_worker, link));
}

/* --- the face -------------------------------------------------------------------------- */

struct weir_verify *weir_verify_create(struct weir_loop *loop)
{
    struct weir_verify *verify = weir_alloc(sizeof(*verify));
    verify->loop = loop;
    verify->serve.run = serve;
    weir_list_init(&verify->workers);
    weir_list_init(&verify->waiting);
    ev_signal_init(&verify->child, on_child, SIGCHLD);
    verify->child.data = verify;
    return verify;
}

void weir_verify_destroy(struct weir_verify *verify)
{
    if (verify == NULL)
        return;
    struct weir_verification *verification;
    while ((verification = pop_waiting(verify)) != NULL)
        weir_verification_cancel(verification);
    weir_task_cancel(&verify->serve);
    end_workers(verify);
    ev_signal_stop(verify->loop->ev, &verify->child);
    free(verify->program);
    free(verify);
}

/* Those that are idle end now, the others when they have answered. */
static void renew_workers(struct weir_verify *verify)
{
    weir_list_for_safe(link, &verify->workers) {
        struct weir_verify_worker *worker =
            weir_container_of(link, struct weir_verify_worker, link);
        worker->outdated = true;
        if (worker->state == WORKER_IDLE)
            worker_dismiss(worker);
    }
}

void weir_verify_follow(struct weir_verify *verify, const struct weir_verify_settings *settings)
{
    bool other = verify->program == NULL || strcmp(verify->program, settings->program) != 0;
    bool fewer = settings->workers < verify->limit_workers;
    if (other || fewer)
        renew_workers(verify);
    if (other) {
        free(verify->program);
        verify->program = weir_strdup(settings->program);
    }
    verify->limit_workers = settings->workers;
    verify->limit = settings->limit;
    verify->retry_at = 0;
    verify->useless = 0;
    verify->problem = "there are no workers";
    serve_later(verify);
    if (settings->workers == 0)
        return;
    ev_signal_start(verify->loop->ev, &verify->child);
    int count;
    find_worker(verify, &count);
}

const char *weir_verify_ask(struct weir_verify *verify, const struct weir_question *question,
                            struct weir_verification *verification)
{
    weir_require(verification->verify == NULL);
    if (verify->waiting_count >= WEIR_VERIFY_WAITING)
        return "too many passwords wait to be checked already";
    struct weir_question complete = *question;
    complete.id = ++verify->next_id;
    complete.limit =
        verify->limit > INT32_MAX * (int64_t)1000 ? INT32_MAX : (uint32_t)(verify->limit / 1000);
    verification->message = weir_question_write(&complete, &verification->length);
    if (verification->message == NULL)
        return "the question is too long";
    verification->id = complete.id;
    verification->verify = verify;
    verification->worker = NULL;
    verify->figures.asked++;
    verify->waiting_count++;
    weir_list_push_back(&verify->waiting, &verification->link);
    serve_later(verify);
    return NULL;
}

void weir_verification_cancel(struct weir_verification *verification)
{
    if (verification->verify == NULL)
        return;
    if (verification->worker != NULL)
        worker_forget(verification->worker);
    else if (weir_list_is_linked(&verification->link)) {
        weir_list_remove(&verification->link);
        verification->verify->waiting_count--;
    }
    forget_message(verification);
    verification->worker = NULL;
    verification->verify = NULL;
}

void weir_verify_count(const struct weir_verify *verify, struct weir_verify_figures *figures)
{
    *figures = verify->figures;
    figures->waiting = verify->waiting_count;
    weir_list_for(link, &verify->workers) {
        const struct weir_verify_worker *worker =
            weir_container_of(link, struct weir_verify_worker, link);
        figures->workers++;
        figures->busy += worker->state == WORKER_ASKED;
    }
}
