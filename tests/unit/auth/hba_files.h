/* Files in memory for the reader of rules. */
#ifndef WEIR_TEST_HBA_FILES_H
#define WEIR_TEST_HBA_FILES_H

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weir/hba.h"
#include "weir/memory.h"

struct memory_file {
    const char *path;
    const char *text;
};

/* Ends with a file without path. The first is the one that is read, or "ident" for the maps. */
static inline char *memory_read(void *context, const char *path, size_t *length, bool *missing,
                                const char **problem)
{
    for (const struct memory_file *file = context; file->path != NULL; file++) {
        if (strcmp(file->path, path) != 0)
            continue;
        *length = strlen(file->text);
        return weir_strdup(file->text);
    }
    *missing = true;
    *problem = "No such file or directory";
    return NULL;
}

static inline char **memory_list(void *context, const char *path, size_t *count,
                                 const char **problem)
{
    char **names = weir_alloc(100 * sizeof(*names));
    size_t length = strlen(path);
    *count = 0;
    for (const struct memory_file *file = context; file->path != NULL; file++)
        if (strncmp(file->path, path, length) == 0 && file->path[length] == '/')
            names[(*count)++] = weir_strdup(file->path + length + 1);
    if (*count > 0)
        return names;
    free(names);
    *problem = "No such file or directory";
    return NULL;
}

static inline struct weir_hba *read_files(const struct memory_file *files, char **problem)
{
    const struct weir_hba_source source = {
        .context = (void *)(uintptr_t)files, .read = memory_read, .list = memory_list};
    bool maps = false;
    for (const struct memory_file *file = files; file->path != NULL; file++)
        maps = maps || strcmp(file->path, "ident") == 0;
    return weir_hba_read_from(&source, files[0].path, maps ? "ident" : "", problem);
}

#endif
