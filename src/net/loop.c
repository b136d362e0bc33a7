/* The loop: libev with a clock read once a turn, deferred tasks and the length of a turn. */
#include <stdlib.h>
#include <sys/mman.h>

#include "resolve.h"
#include "weir/memory.h"
#include "weir/net.h"

/* Large enough that one recv empties a socket buffer of ordinary size: a big result then costs one
 * system call per quarter of a megabyte and side. */
#define SCRATCH_SIZE ((size_t)256 * 1024)

static void begin_turn(struct ev_loop *ev, ev_check *watcher, int revents)
{
    struct weir_loop *loop = weir_container_of(watcher, struct weir_loop, turn_begin);
    loop->now = weir_clock_now();
    loop->turns++;
}

static void run_tasks(struct weir_loop *loop)
{
    for (int n = 0; n < WEIR_TASKS_PER_TURN; n++) {
        struct weir_list *node = weir_list_pop(&loop->tasks);
        if (node == NULL)
            break;
        struct weir_task *task = weir_container_of(node, struct weir_task, link);
        task->run(task);
    }
    /* An active idle watcher keeps libev from blocking in the poll that follows. */
    if (!weir_list_is_empty(&loop->tasks))
        ev_idle_start(loop->ev, &loop->more_tasks);
    else
        ev_idle_stop(loop->ev, &loop->more_tasks);
}

static void end_turn(struct ev_loop *ev, ev_prepare *watcher, int revents)
{
    struct weir_loop *loop = weir_container_of(watcher, struct weir_loop, turn_end);
    if (!weir_list_is_empty(&loop->tasks) || ev_is_active(&loop->more_tasks))
        run_tasks(loop);
    weir_usec length = weir_clock_now() - loop->now;
    if (length > loop->longest_turn)
        loop->longest_turn = length;
}

static void poll_again(struct ev_loop *ev, ev_idle *watcher, int revents)
{
}

bool weir_loop_init(struct weir_loop *loop)
{
    *loop = (struct weir_loop){.scratch_size = SCRATCH_SIZE};
    weir_list_init(&loop->tasks);
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

    /* The clock is read before any other watcher of the turn runs, tasks run after all of them. */
    ev_check_init(&loop->turn_begin, begin_turn);
    ev_set_priority(&loop->turn_begin, EV_MAXPRI);
    ev_check_start(loop->ev, &loop->turn_begin);
    ev_prepare_init(&loop->turn_end, end_turn);
    ev_set_priority(&loop->turn_end, EV_MINPRI);
    ev_prepare_start(loop->ev, &loop->turn_end);
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
    while (weir_list_pop(&loop->tasks) != NULL)
        continue;
    ev_idle_stop(loop->ev, &loop->more_tasks);
    ev_prepare_stop(loop->ev, &loop->turn_end);
    ev_check_stop(loop->ev, &loop->turn_begin);
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
