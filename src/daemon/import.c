/* --import: from a file of PgBouncer to one of pgweir. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon.h"
#include "weir/memory.h"

/* The file holds passwords: it is its owner's from the first byte on, also when it was there. */
static FILE *open_output(const char *path)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (descriptor < 0)
        return NULL;
    if (fchmod(descriptor, 0600) != 0 || ftruncate(descriptor, 0) != 0) {
        int saved_errno = errno;
        close(descriptor);
        errno = saved_errno;
        return NULL;
    }
    return fdopen(descriptor, "w");
}

/* Written as a whole or not at all, so that a file that cannot be read leaves an older one alone. */
static bool write_output(const char *path, const char *text, size_t length)
{
    FILE *out = path == NULL ? stdout : open_output(path);
    bool good = out != NULL && fwrite(text, 1, length, out) == length && fflush(out) == 0;
    if (!good)
        fprintf(stderr, "pgweir: %s: %s\n", path == NULL ? "standard output" : path,
                strerror(errno));
    if (out != NULL && out != stdout)
        good = fclose(out) == 0 && good;
    return good;
}

int import_run(const struct options *options)
{
    char *text = NULL;
    size_t length = 0;
    FILE *memory = open_memstream(&text, &length);
    if (memory == NULL)
        return 1;
    char *problems = NULL;
    bool good = weir_conf_import(options->file, memory, &problems);
    fclose(memory);
    bool written = length == 0 || write_output(options->output, text, length);
    if (problems != NULL)
        fputs(problems, stderr);
    if (!good && length > 0)
        fputs("pgweir: the lines named above cannot be kept; they stand in the result as they "
              "were, and pgweir refuses it until they are changed or removed\n",
              stderr);
    weir_wipe(text, length);
    free(text);
    free(problems);
    return good && written ? 0 : 1;
}
