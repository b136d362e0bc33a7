/* What PostgreSQL's backend makes of the startup parameter `options`, said a second time and in
 * another way: first all words, then the C library's own getopt over them. Slow and plain; the
 * walker of the wire must agree with it on every text. */
#ifndef WEIR_TEST_WIRE_OPTIONS_MODEL_H
#define WEIR_TEST_WIRE_OPTIONS_MODEL_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/wire.h"

/* Every switch of a PostgreSQL 15 backend and whether it takes an argument. */
#define BACKEND_SWITCHES "B:bC:c:D:d:EeFf:h:ijk:lN:nOPp:r:S:sTt:v:W:-:"

struct options_model {
    char **words; /* the first is the program's name, the last NULL */
    int word_count;
    char **settings; /* name=value, at most one per byte of text */
    size_t setting_count;
    bool refused; /* then settings may hold more than what stands before the bad switch */
};

static inline void *model_allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static inline void model_split(struct options_model *model, const char *text)
{
    static const char space[] = " \t\n\v\f\r";
    model->words = model_allocate((strlen(text) + 3) * sizeof(char *));
    model->words[model->word_count++] = strcpy(model_allocate(8), "program");
    for (;;) {
        text += strspn(text, space);
        if (*text == '\0') {
            return;
        }
        char *word = model_allocate(strlen(text) + 1);
        bool escaped = false;
        for (size_t length = 0; *text != '\0'; text++) {
            if (!escaped && strchr(space, *text) != NULL) {
                break;
            }
            if (!escaped && *text == '\\') {
                escaped = true;
            } else {
                word[length++] = *text;
                escaped = false;
            }
        }
        model->words[model->word_count++] = word;
    }
}

static inline void model_add(struct options_model *model, const char *name, const char *value)
{
    char *setting = model_allocate(strlen(name) + strlen(value) + 2);
    strcat(strcat(strcpy(setting, name), "="), value);
    model->settings[model->setting_count++] = setting;
}

/* `argument` is name=value, the name not empty. */
static inline bool model_add_long(struct options_model *model, const char *argument)
{
    const size_t name_length = strcspn(argument, "=");
    if (argument[name_length] != '=' || name_length == 0) {
        return false;
    }
    char *name = model_allocate(name_length + 1);
    for (size_t i = 0; i < name_length; i++) {
        name[i] = argument[i] == '-' ? '_' : argument[i];
    }
    model_add(model, name, argument + name_length + 1);
    free(name);
    return true;
}

static inline bool model_add_plan(struct options_model *model, char letter)
{
    static const char *const names[] = {
        "enable_seqscan", "enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan",
        "enable_tidscan", "enable_nestloop",  "enable_mergejoin",     "enable_hashjoin"};
    const char *at = letter != '\0' ? strchr("siobtnmh", letter) : NULL;
    if (at == NULL) {
        return false;
    }
    model_add(model, names[at - strchr("siobtnmh", 's')], "false");
    return true;
}

static inline bool model_add_statistics(struct options_model *model, const char *stage)
{
    if (strncmp(stage, "pa", 2) == 0) {
        model_add(model, "log_parser_stats", "true");
    } else if (strncmp(stage, "pl", 2) == 0) {
        model_add(model, "log_planner_stats", "true");
    } else if (strncmp(stage, "e", 1) == 0) {
        model_add(model, "log_executor_stats", "true");
    } else {
        return false;
    }
    return true;
}

static inline bool model_add_switch(struct options_model *model, int letter)
{
    if (letter == 'c' || letter == '-') {
        return model_add_long(model, optarg);
    }
    if (letter == 'f') {
        return model_add_plan(model, *optarg);
    }
    if (letter == 't') {
        return model_add_statistics(model, optarg);
    }
    if (letter == 'S') {
        model_add(model, "work_mem", optarg);
    } else if (letter == 'e') {
        model_add(model, "datestyle", "euro");
    } else if (letter == 's') {
        model_add(model, "log_statement_stats", "true");
    } else if (letter == 'O') {
        model_add(model, "allow_system_table_mods", "true");
    } else {
        return false;
    }
    return true;
}

static inline void model_run(struct options_model *model, const char *text)
{
    *model = (struct options_model){0};
    model_split(model, text);
    model->settings = model_allocate((strlen(text) + 1) * sizeof(char *));
    char **shuffled = model_allocate(((size_t)model->word_count + 1) * sizeof(char *));
    memcpy(shuffled, model->words, (size_t)model->word_count * sizeof(char *));
    opterr = 0;
    optind = 0; /* glibc: forget the place in the words of the run before */
    int letter;
    while ((letter = getopt(model->word_count, shuffled, BACKEND_SWITCHES)) != -1) {
        if (!model_add_switch(model, letter)) {
            model->refused = true;
            break;
        }
    }
    model->refused = model->refused || optind != model->word_count;
    free(shuffled);
}

static inline void model_free(struct options_model *model)
{
    for (int i = 0; i < model->word_count; i++) {
        free(model->words[i]);
    }
    for (size_t i = 0; i < model->setting_count; i++) {
        free(model->settings[i]);
    }
    free(model->words);
    free(model->settings);
}

/* Walks `text` and says what disagrees with the model, or NULL. The scratch memory has exactly the
 * promised size, for the address sanitizer. */
static inline const char *model_compare(const char *text)
{
    struct options_model model;
    model_run(&model, text);
    char *scratch = malloc(strlen(text) + 2);
    if (scratch == NULL) {
        abort();
    }
    struct weir_options options = {.at = text};
    const char *name = NULL;
    const char *value = NULL;
    const char *problem = NULL;
    int found = 0;
    for (size_t i = 0; problem == NULL; i++) {
        found = weir_options_next(&options, scratch, &name, &value);
        if (found != 1) {
            if (found == 0 && (model.refused || i != model.setting_count)) {
                problem = "the walk ended early or without the error";
            } else if (found == -1 && (!model.refused || name == NULL || value != NULL)) {
                problem = "the walk refused a good switch or did not name it";
            }
            break;
        }
        if (name == NULL || value == NULL) {
            problem = "the walk gave no name or no value";
            break;
        }
        const char *expected = i < model.setting_count ? model.settings[i] : NULL;
        const size_t name_length = strlen(name);
        if (expected == NULL) {
            problem = "the walk found too many settings";
        } else if (strncmp(expected, name, name_length) != 0 || expected[name_length] != '=' ||
                   strcmp(expected + name_length + 1, value) != 0) {
            problem = "the walk found another setting";
        }
    }
    free(scratch);
    model_free(&model);
    return problem;
}

#endif
