/* Files of users: any text is either a problem with file and line or users; and users that were
 * written by the rules are found with exactly their secrets. */
#include <stdlib.h>
#include <string.h>

#include "weir/auth.h"
#include "weir/buffer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct weir_user_file *parse(const void *text, size_t length)
{
    char *problem = NULL;
    /* In memory of exactly this size, for the address sanitizer. */
    char *copy = malloc(length + (length == 0));
    weir_require(copy != NULL);
    if (length > 0)
        memcpy(copy, text, length);
    struct weir_user_file *file = weir_user_file_parse("users", copy, length, &problem);
    free(copy);
    weir_require((file == NULL) == (problem != NULL));
    if (problem)
        weir_require(strncmp(problem, "users:", 6) == 0 && problem[6] >= '1' && problem[6] <= '9');
    free(problem);
    return file;
}

static void append(struct weir_buffer *buffer, const char *text, size_t length)
{
    bool appended = weir_buffer_append(buffer, text, length);
    weir_require(appended);
}

static void append_quoted(struct weir_buffer *buffer, const char *text)
{
    append(buffer, "\"", 1);
    for (; *text; text++)
        append(buffer, text[0] == '"' ? "\"\"" : text, text[0] == '"' ? 2 : 1);
    append(buffer, "\"", 1);
}

/* Writes a file with two users, of which the second may be the first again. */
static void check_written(const char *const words[4])
{
    struct weir_buffer buffer = {0};
    for (int line = 0; line < 2; line++) {
        append(&buffer, "# \"x\" \"y\"\n \t", 12);
        append_quoted(&buffer, words[2 * line]);
        append(&buffer, " ", 1);
        append_quoted(&buffer, words[2 * line + 1]);
        append(&buffer, " \"rest\n", 7);
    }
    struct weir_user_file *file = parse(weir_buffer_bytes(&buffer), weir_buffer_length(&buffer));
    weir_require(file != NULL);
    bool same = strcmp(words[0], words[2]) == 0;
    weir_require(weir_user_file_count(file) == (same ? 1 : 2));
    weir_require(strcmp(weir_user_file_find(file, words[0]), words[same ? 3 : 1]) == 0);
    weir_require(strcmp(weir_user_file_find(file, words[2]), words[3]) == 0);
    weir_user_file_destroy(file);
    weir_buffer_clear(&buffer);
}

/* The input as four words, where it can be read so: each ends with a zero, none holds a newline. */
static void check_words(const uint8_t *data, size_t size)
{
    const char *words[4];
    for (size_t i = 0; i < 4; i++) {
        const uint8_t *end = size > 0 ? memchr(data, '\0', size) : NULL;
        if (!end || memchr(data, '\n', (size_t)(end - data)) || end - data > 65536)
            return;
        words[i] = (const char *)data;
        size -= (size_t)(end - data) + 1;
        data = end + 1;
    }
    if (*words[0] && *words[2])
        check_written(words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_user_file *file = parse(data, size);
    if (file) {
        size_t lines = 1;
        for (size_t i = 0; i < size; i++)
            lines += data[i] == '\n';
        weir_require(weir_user_file_count(file) <= lines);
        weir_require(weir_user_file_find(file, "") == NULL);
    }
    weir_user_file_destroy(file);
    check_words(data, size);
    return 0;
}
