/* Small regular files, read as a whole. */
#ifndef WEIR_AUTH_FILE_H
#define WEIR_AUTH_FILE_H

#include <stdbool.h>
#include <stddef.h>

#define WEIR_AUTH_FILE_MAX (256u << 20)

/* The bytes begin at `before` in what is returned, which is followed by a zero byte that does not count.
 * NULL with *problem (static text or strerror's, not to be freed); *missing: there is no such file.
 * The rest of the memory is zero. Freed with free(), wiped by whom it concerns. */
char *weir_auth_file_read(const char *path, size_t before, size_t *length, bool *missing,
                          const char **problem);
/* The names in a directory but for those that begin with a dot and those of directories, in any
 * order. NULL with *problem likewise. */
char **weir_auth_file_list(const char *path, size_t *count, const char **problem);

#endif
