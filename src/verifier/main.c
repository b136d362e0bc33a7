/* pgweir-verify: started by pgweir, with a socket as its standard input. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "room.h"

static void on_signal(int number)
{
}

/* What ends the daemon reaches its whole group: it goes on as long as the daemon does, which closes the
 * socket. A handler that does nothing, not SIG_IGN: what PAM starts must be as it expects. */
static void outlast_signals(void)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaction(numbers[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
    int type = 0;
    socklen_t size = sizeof(type);
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("pgweir-verify " WEIR_VERSION);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--methods") == 0) {
        puts(serve_methods());
        return 0;
    }
    if (argc != 1 || getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
        fputs(
            "pgweir-verify is started by pgweir, for the methods pam and ldap; by itself it knows\n"
            "--version and --methods\n",
            stderr);
        return 2;
    }
    /* No memory with passwords becomes a file, or is there for others to look at, and no check goes on when
     * nobody waits for it. */
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    outlast_signals();
    return serve(STDIN_FILENO);
}
