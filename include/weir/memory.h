/* Allocation. Small fixed-size objects use weir_alloc, which aborts the process when memory is out
 * (with overcommit that means a broken machine). Sizes that a peer chooses use weir_try_alloc,
 * whose NULL closes that peer alone. */
#ifndef WEIR_MEMORY_H
#define WEIR_MEMORY_H

#include <stddef.h>

/* Zeroed memory, never NULL. Freed with free(). */
void *weir_alloc(size_t size);
/* Zeroed memory or NULL. Freed with free(). */
void *weir_try_alloc(size_t size);
/* A copy of `text` (which may be NULL: then NULL). Freed with free(). */
char *weir_strdup(const char *text);
/* A zero-terminated copy of `length` bytes. Freed with free(). */
char *weir_strndup(const char *bytes, size_t length);
/* Formats into fresh memory, never NULL. Freed with free(). */
char *weir_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Overwrites with zeroes in a way that is not optimised away, for secrets. */
void weir_wipe(void *memory, size_t size);
/* Wipes a text of which nothing behind its zero byte matters, and frees it. NULL is fine. */
void weir_free_secret(char *text);

#endif
