/* Maps of user names: any text is either problems with file and line, or maps that answer the same
 * when they are asked again; without a map a name stands for itself alone. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weir/hba.h"
#include "weir/memory.h"
#include "weir/require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* So many that nesting is met, and so few that an input takes no time. */
#define READS_MAX 20

struct input {
    const char *text;
    size_t length;
    unsigned reads;
};

static char *read_input(void *context, const char *path, size_t *length, bool *missing,
                        const char **problem)
{
    static const char rule[] = "local all all peer map=m\n";
    struct input *input = context;
    bool rules = strcmp(path, "hba") == 0;
    *missing = ++input->reads > READS_MAX;
    if (*missing) {
        *problem = "no such file";
        return NULL;
    }
    *length = rules ? sizeof(rule) - 1 : input->length;
    char *copy = malloc(*length + (*length == 0));
    weir_require(copy != NULL);
    if (*length > 0)
        memcpy(copy, rules ? rule : input->text, *length);
    return copy;
}

static char **list_input(void *context, const char *path, size_t *count, const char **problem)
{
    *problem = "no such directory";
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {.text = (const char *)data, .length = size};
    const struct weir_hba_source source = {
        .context = &input, .read = read_input, .list = list_input};
    char *problem = NULL;
    struct weir_hba *hba = weir_hba_read_from(&source, "hba", "ident", &problem);
    weir_require((hba == NULL) == (problem != NULL));
    if (hba != NULL) {
        char *name = weir_strndup((const char *)data, size < 64 ? size : 64);
        weir_require(weir_hba_maps(hba, "m", name, "u") == weir_hba_maps(hba, "m", name, "u"));
        weir_hba_maps(hba, "m", "root", name);
        weir_hba_maps(hba, name, "root", "u");
        weir_require(weir_hba_maps(hba, NULL, name, name));
        weir_require(weir_hba_maps(hba, NULL, name, "u") == (strcmp(name, "u") == 0));
        free(name);
    }
    free(problem);
    weir_hba_release(hba);
    return 0;
}
