/* Unix sockets to listen on: a file left behind is replaced, a living one is left alone. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "listen.h"
#include "socket.h"
#include "weir/memory.h"

/* A Unix socket on its way to a listener. */
struct unix_opening {
    struct weir_address address;
    char *path; /* NULL: abstract */
    char *lock_path;
    int lock;
    int fd;
    char *problem;
};

static bool refuse(struct unix_opening *opening, const char *what, const char *reason)
{
    char text[160];
    weir_address_print(&opening->address, text, sizeof text);
    opening->problem = weir_format("cannot listen on \"%s\": %s%s", text, what, reason);
    return false;
}

/* --- the lock -------------------------------------------------------------------------- */

/* Whether `fd` is still the file at `path`: its last holder removes it. */
static bool is_file_at(int fd, const char *path)
{
    struct stat opened;
    struct stat named;
    return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_dev == named.st_dev &&
           opened.st_ino == named.st_ino;
}

static void write_process_id(int fd)
{
    char text[32];
    int length = snprintf(text, sizeof text, "%d\n", (int)getpid());
    /* For people, and for a PostgreSQL that is started here: it looks for the number. The lock
     * itself holds without. */
    if (ftruncate(fd, 0) == 0)
        (void)!pwrite(fd, text, (size_t)length, 0);
}

/* The lock decides between two processes which find the same stale socket at the same moment. The
 * kernel drops it with its process, whatever the process died of. */
static bool take_lock(struct unix_opening *opening)
{
    for (;;) {
        int fd = open(opening->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return refuse(opening, "lock file: ", strerror(errno));
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            int error = errno;
            close(fd);
            return error == EWOULDBLOCK ? refuse(opening, "another process listens there", "")
                                        : refuse(opening, "lock file: ", strerror(error));
        }
        if (is_file_at(fd, opening->lock_path)) {
            opening->lock = fd;
            return true;
        }
        close(fd);
    }
}

/* --- the socket ------------------------------------------------------------------------ */

/* Removes the file of a socket that nobody listens on. */
static bool remove_stale(struct unix_opening *opening)
{
    struct stat status;
    if (lstat(opening->path, &status) != 0)
        return errno == ENOENT ? true : refuse(opening, "", strerror(errno));
    if (!S_ISSOCK(status.st_mode))
        return refuse(opening, "a file that is no socket is in the way", "");
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return refuse(opening, "", strerror(errno));
    int outcome = connect(probe, &opening->address.any, opening->address.length);
    int error = outcome == 0 ? 0 : errno;
    close(probe);
    /* EAGAIN: somebody listens but is too busy to accept. */
    if (error == 0 || error == EAGAIN)
        return refuse(opening, "another process listens there", "");
    if (error != ECONNREFUSED && error != ENOENT)
        return refuse(opening, "", strerror(error));
    if (unlink(opening->path) != 0 && errno != ENOENT)
        return refuse(opening, "cannot remove the stale socket: ", strerror(errno));
    return true;
}

static bool set_permissions(struct unix_opening *opening, const struct weir_listen_options *options)
{
    if (options->unix_group != NULL && *options->unix_group != '\0') {
        const struct group *group = getgrnam(options->unix_group);
        if (group == NULL)
            return refuse(opening, "no such group: ", options->unix_group);
        if (chown(opening->path, (uid_t)-1, group->gr_gid) != 0)
            return refuse(opening, "cannot set the group: ", strerror(errno));
    }
    if (chmod(opening->path, (mode_t)options->unix_mode) != 0)
        return refuse(opening, "cannot set the mode: ", strerror(errno));
    return true;
}

/* Permissions are set between bind and listen, when nobody can connect yet. */
static bool open_unix_socket(struct unix_opening *opening,
                             const struct weir_listen_options *options)
{
    opening->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (opening->fd < 0)
        return refuse(opening, "", strerror(errno));
    bool bound = bind(opening->fd, &opening->address.any, opening->address.length) == 0;
    if (!bound)
        return refuse(opening, "", strerror(errno));
    if ((opening->path == NULL || set_permissions(opening, options))) {
        if (listen(opening->fd, options->backlog) == 0)
            return true;
        (void)refuse(opening, "", strerror(errno));
    }
    if (opening->path != NULL)
        (void)unlink(opening->path);
    return false;
}

static bool open_unix(struct unix_opening *opening, const struct weir_listen_options *options)
{
    if (opening->path == NULL)
        return open_unix_socket(opening, options);
    if (!take_lock(opening))
        return false;
    if (!remove_stale(opening)) {
        /* A lock file with a number in it is a PostgreSQL's. An empty one is ours, and would keep a
         * PostgreSQL from starting. */
        struct stat status;
        if (fstat(opening->lock, &status) == 0 && status.st_size == 0)
            (void)unlink(opening->lock_path);
        return false;
    }
    write_process_id(opening->lock);
    if (open_unix_socket(opening, options))
        return true;
    (void)unlink(opening->lock_path);
    return false;
}

bool weir_listen_unix(struct weir_loop *loop, struct weir_list *list, const char *directory,
                      int port, const struct weir_listen_options *options,
                      weir_on_accept *on_accept, void *context, char **problem)
{
    struct unix_opening opening = {.lock = -1, .fd = -1};
    if (!weir_address_set_unix(&opening.address, directory, port)) {
        *problem = weir_format("cannot listen in \"%s\": the path is too long", directory);
        return false;
    }
    if (directory[0] != '@') {
        opening.path = weir_strdup(opening.address.unix_path.sun_path);
        opening.lock_path = weir_format("%s.lock", opening.path);
    }
    if (!open_unix(&opening, options)) {
        if (opening.fd >= 0)
            close(opening.fd);
        if (opening.lock >= 0)
            close(opening.lock);
        free(opening.path);
        free(opening.lock_path);
        *problem = opening.problem;
        return false;
    }
    struct weir_listener *listener = weir_listener_start(loop, opening.fd, on_accept, context);
    listener->path = opening.path;
    listener->lock_path = opening.lock_path;
    listener->lock = opening.lock;
    weir_list_push_back(list, &listener->link);
    return true;
}
