/* A worker as a process.
 *
 * posix_spawn and not fork: nothing of this process runs in the child, whatever threads it has and
 * however large it is. A worker is what the daemon is: the same user, the same limits. Root is given up
 * before the first one starts, so a password check never has more rights than the daemon. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "room.h"
#include "weir/memory.h"

extern char **environ;

/* What the service manager tells this process is not for its children. */
static bool is_private(const char *entry)
{
    static const char *const names[] = {"NOTIFY_SOCKET=", "LISTEN_", "WATCHDOG_"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strncmp(entry, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

/* The array is to be freed, its texts are not. */
static char **make_environment(void)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **made = weir_alloc((count + 1) * sizeof(*made));
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_private(environ[i]))
            made[kept++] = environ[i];
    return made;
}

/* Signals that are ignored here would be ignored there. */
static int set_signals(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    int problem = posix_spawnattr_setsigmask(attributes, &none);
    if (problem == 0)
        problem = posix_spawnattr_setsigdefault(attributes, &all);
    if (problem == 0)
        problem =
            posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return problem;
}

static int set_descriptors(posix_spawn_file_actions_t *actions, int descriptor)
{
    int problem = posix_spawn_file_actions_adddup2(actions, descriptor, STDIN_FILENO);
    if (problem == 0)
        problem =
            posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (problem == 0)
        problem = posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1);
    return problem;
}

static int spawn(const char *program, int descriptor, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char *arguments[] = {(char *)(uintptr_t)program, NULL};
    char **environment = make_environment();
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int problem = set_signals(&attributes);
    if (problem == 0)
        problem = set_descriptors(&actions, descriptor);
    if (problem == 0)
        problem = posix_spawn(pid, program, &actions, &attributes, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    free(environment);
    return problem;
}

const char *weir_verify_program(const char *setting)
{
    return *setting != '\0' ? setting : WEIR_VERIFY_PROGRAM;
}

int process_start(const char *program, pid_t *pid, int *descriptor)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return errno;
    int problem = fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 ? 0 : errno;
    if (problem == 0)
        problem = spawn(program, ends[1], pid);
    close(ends[1]);
    if (problem == 0)
        *descriptor = ends[0];
    else
        close(ends[0]);
    return problem;
}
