/* The loop: libev with a clock read once a turn, deferred tasks and the length of a turn. */
#include <stdlib.h>
#include <sys/mman.h>

#include "tls.h"
#include "weir/memory.h"
#include "weir/net.h"
#include "weir/resolve.h"

/* Large enough that one recv empties a socket buffer of ordinary size: a big result then costs one
 * system call per quarter of a megabyte and side. */
#define SCRATCH_SIZE ((size_t)256 * 1024)

/* libev calls this right after the poll. */
static void begin_turn(struct ev_loop *ev) EV_NOEXCEPT
{
    struct weir_loop *loop = ev_userdata(ev);
    loop->now = weir_clock_now();
    loop->turns++;
}

/* And this right before the next one. */
static void end_turn(struct ev_loop *ev) EV_NOEXCEPT
{
    struct weir_loop *loop = ev_userdata(ev);
    weir_usec length = weir_clock_now() - loop->now;
    weir_histogram_add_coarsely(&loop->turn_lengths, length);
    if (length > loop->longest_turn)
        loop->longest_turn = length;
}

static void run_tasks(struct weir_loop *loop)
{
    struct weir_list *waiting;
    while ((waiting = weir_list_pop(&loop->next_tasks)) != NULL)
        weir_list_push_back(&loop->tasks, waiting);
    for (int n = 0; n < WEIR_TASKS_PER_TURN; n++) {
        struct weir_list *node = weir_list_pop(&loop->tasks);
        if (node == NULL)
            break;
        struct weir_task *task = weir_container_of(node, struct weir_task, link);
        task->run(task);
    }
    if (!weir_list_is_empty(&loop->tasks) || !weir_list_is_empty(&loop->next_tasks))
        ev_idle_start(loop->ev, &loop->more_tasks);
    else
        ev_idle_stop(loop->ev, &loop->more_tasks);
}

/* All callbacks of a turn run inside this; the tasks follow them. Changes which the tasks make to
 * watchers reach the kernel before the poll. */
static void run_callbacks(struct ev_loop *ev)
{
    struct weir_loop *loop = ev_userdata(ev);
    ev_invoke_pending(ev);
    if (__builtin_expect(!weir_list_is_empty(&loop->tasks) || ev_is_active(&loop->more_tasks), 0))
        run_tasks(loop);
}

static void poll_again(struct ev_loop *ev, ev_idle *watcher, int revents)
{
}

bool weir_loop_init(struct weir_loop *loop)
{
    *loop = (struct weir_loop){.scratch_size = SCRATCH_SIZE};
    weir_list_init(&loop->tasks);
    weir_list_init(&loop->next_tasks);
    loop->ev = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
    if (loop->ev == NULL)
        loop->ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (loop->ev == NULL)
        return false;
    /* Mapped, not allocated: page aligned, and pages that no recv ever reached cost nothing. */
    void *scratch =
        mmap(NULL, loop->scratch_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (scratch == MAP_FAILED) {
        ev_loop_destroy(loop->ev);
        loop->ev = NULL;
        return false;
    }
    loop->scratch = scratch;
    loop->now = weir_clock_now();
    ev_set_io_collect_interval(loop->ev, 0.);
    ev_set_timeout_collect_interval(loop->ev, 0.);

    /* Hooks instead of check and prepare watchers, which cost the queueing of two events per turn.
     */
    ev_set_userdata(loop->ev, loop);
    ev_set_loop_release_cb(loop->ev, end_turn, begin_turn);
    ev_set_invoke_pending_cb(loop->ev, run_callbacks);
    /* The loop goes on until it is told to stop, with watchers or without. */
    ev_ref(loop->ev);
    ev_idle_init(&loop->more_tasks, poll_again);
    ev_set_priority(&loop->more_tasks, EV_MINPRI);
    return true;
}

void weir_loop_fini(struct weir_loop *loop)
{
    if (loop->ev == NULL)
        return;
    weir_resolver_destroy(loop->resolver);
    loop->resolver = NULL;
    /* Unlinked, so that owners may still cancel their tasks afterwards. */
    while (weir_list_pop(&loop->tasks) != NULL || weir_list_pop(&loop->next_tasks) != NULL)
        continue;
    weir_tls_loop_destroy(loop->tls);
    loop->tls = NULL;
    ev_idle_stop(loop->ev, &loop->more_tasks);
    ev_unref(loop->ev);
    ev_loop_destroy(loop->ev);
    loop->ev = NULL;
    munmap(loop->scratch, loop->scratch_size);
    loop->scratch = NULL;
}

void weir_loop_run(struct weir_loop *loop)
{
    loop->now = weir_clock_now();
    ev_run(loop->ev, 0);
}

void weir_loop_stop(struct weir_loop *loop)
{
    ev_break(loop->ev, EVBREAK_ALL);
}
