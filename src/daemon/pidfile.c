#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "daemon.h"
#include "weir/memory.h"

/* The lock lives as long as the descriptor: a file left behind by a crash is simply taken over. */
static int pid_file = -1;
static char *pid_path;

bool pidfile_take(const char *path)
{
    if (path[0] == '\0')
        return true;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0) {
        fprintf(stderr, "pgweir: pidfile %s: %s\n", path, strerror(errno));
        return false;
    }
    if (flock(file, LOCK_EX | LOCK_NB) != 0) {
        fprintf(stderr, "pgweir: pidfile %s: another process holds it\n", path);
        close(file);
        return false;
    }
    char text[32];
    int length = snprintf(text, sizeof(text), "%d\n", getpid());
    if (ftruncate(file, 0) != 0 || write(file, text, (size_t)length) != length) {
        fprintf(stderr, "pgweir: pidfile %s: %s\n", path, strerror(errno));
        close(file);
        return false;
    }
    pid_file = file;
    pid_path = weir_strdup(path);
    return true;
}

void pidfile_drop(void)
{
    if (pid_file < 0)
        return;
    unlink(pid_path);
    close(pid_file);
    free(pid_path);
    pid_file = -1;
    pid_path = NULL;
}
