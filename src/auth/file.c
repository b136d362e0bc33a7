#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir/memory.h"

static bool read_all(int descriptor, char *bytes, size_t capacity, size_t *length)
{
    *length = 0;
    while (*length < capacity) {
        ssize_t got = read(descriptor, bytes + *length, capacity - *length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        if (got == 0)
            break;
        *length += (size_t)got;
    }
    return true;
}

static char *read_open(int descriptor, size_t before, size_t *length, const char **problem)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0) {
        *problem = strerror(errno);
        return NULL;
    }
    if (!S_ISREG(status.st_mode)) {
        *problem = "not a regular file";
        return NULL;
    }
    size_t size = status.st_size > 0 ? (size_t)status.st_size : 0;
    /* One byte more to notice that the file is growing, and the zero. */
    char *text = size < WEIR_AUTH_FILE_MAX ? weir_try_alloc(before + size + 2) : NULL;
    if (text == NULL) {
        *problem = "file is too large";
        return NULL;
    }
    bool done = read_all(descriptor, text + before, size + 1, length);
    if (done && *length <= size)
        return text;
    *problem = done ? "file is being written" : strerror(errno);
    weir_wipe(text, before + size + 2);
    free(text);
    return NULL;
}

char *weir_auth_file_read(const char *path, size_t before, size_t *length, bool *missing,
                          const char **problem)
{
    *missing = false;
    /* Not blocking, so that a FIFO of that name is refused and not waited for. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) {
        *missing = errno == ENOENT;
        *problem = strerror(errno);
        return NULL;
    }
    char *text = read_open(descriptor, before, length, problem);
    close(descriptor);
    return text;
}

static bool is_directory(DIR *directory, const char *name)
{
    struct stat status;
    return fstatat(dirfd(directory), name, &status, 0) == 0 && S_ISDIR(status.st_mode);
}

char **weir_auth_file_list(const char *path, size_t *count, const char **problem)
{
    DIR *directory = opendir(path);
    if (directory == NULL) {
        *problem = strerror(errno);
        return NULL;
    }
    size_t room = 16;
    char **names = weir_alloc(room * sizeof(*names));
    *count = 0;
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.' || is_directory(directory, entry->d_name))
            continue;
        if (*count == room) {
            char **more = weir_alloc(2 * room * sizeof(*more));
            memcpy(more, names, room * sizeof(*names));
            free(names);
            names = more;
            room *= 2;
        }
        names[(*count)++] = weir_strdup(entry->d_name);
    }
    closedir(directory);
    return names;
}
