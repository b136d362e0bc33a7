#include "weir/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void die_of_memory(size_t size)
{
    fprintf(stderr, "pgweir: out of memory (%zu bytes wanted)\n", size);
    fflush(stderr);
    abort();
}

void *weir_alloc(size_t size)
{
    void *memory = weir_try_alloc(size);
    if (memory == NULL)
        die_of_memory(size);
    return memory;
}

void *weir_try_alloc(size_t size)
{
    /* calloc(1, 0) may return NULL, which callers would take for a failure. */
    return calloc(1, size == 0 ? 1 : size);
}

char *weir_strdup(const char *text)
{
    return text == NULL ? NULL : weir_strndup(text, strlen(text));
}

char *weir_strndup(const char *bytes, size_t length)
{
    char *copy = malloc(length + 1);
    if (copy == NULL)
        die_of_memory(length + 1);
    if (length > 0)
        memcpy(copy, bytes, length);
    copy[length] = '\0';
    return copy;
}

char *weir_format(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        die_of_memory(0);
    return text;
}

void weir_wipe(void *memory, size_t size)
{
    if (size > 0)
        explicit_bzero(memory, size);
}

void weir_free_secret(char *text)
{
    if (text != NULL)
        weir_wipe(text, strlen(text));
    free(text);
}
