#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon.h"

/* The child writes one byte here when everything listens; the end of file without it means failure.
 */
static int ready_pipe = -1;

static _Noreturn void wait_for_child(int from, pid_t child)
{
    char byte;
    ssize_t got = read(from, &byte, 1);
    if (got == 1)
        _exit(0);
    int status = 0;
    waitpid(child, &status, 0);
    _exit(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 1);
}

void background_enter(void)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        perror("pgweir: pipe");
        exit(1);
    }
    pid_t child = fork();
    if (child < 0) {
        perror("pgweir: fork");
        exit(1);
    }
    if (child > 0) {
        close(ends[1]);
        wait_for_child(ends[0], child);
    }
    close(ends[0]);
    ready_pipe = ends[1];
    setsid();
}

void background_ready(void)
{
    if (ready_pipe < 0)
        return;
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing >= 0) {
        dup2(nothing, STDIN_FILENO);
        dup2(nothing, STDOUT_FILENO);
        dup2(nothing, STDERR_FILENO);
        if (nothing > STDERR_FILENO)
            close(nothing);
    }
    ssize_t written = write(ready_pipe, "r", 1);
    (void)written;
    close(ready_pipe);
    ready_pipe = -1;
}
