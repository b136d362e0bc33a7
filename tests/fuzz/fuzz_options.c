/* The startup parameter `options`: the walker agrees with the model of the unit tests on every text
 * and ends even when errors are skipped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options_model.h"
#include "weir/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_end(const char *text, size_t length)
{
    char *scratch = malloc(length + 2);
    weir_require(scratch != NULL);
    struct weir_options options = {.at = text};
    const char *name = NULL;
    const char *value = NULL;
    for (size_t steps = 0; weir_options_next(&options, scratch, &name, &value) != 0; steps++) {
        weir_require(steps <= length);
    }
    free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    weir_require(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    const char *problem = model_compare(text);
    if (problem != NULL) {
        fprintf(stderr, "<%s>: %s\n", text, problem);
        abort();
    }
    check_end(text, strlen(text));
    free(text);
    return 0;
}
