#include "lines.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/memory.h"

/* PostgreSQL's limit of nesting. The others keep files that include each other many times over from
 * taking all memory. */
#define DEPTH_MAX 10
#define FILES_MAX 1000
#define WORDS_MAX 4000000

/* --- problems -------------------------------------------------------------------------- */

bool weir_problem(struct weir_problems *problems, const char *file, size_t line, const char *format,
                  ...)
{
    if (++problems->count > WEIR_HBA_PROBLEMS)
        return false;
    char *reason = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&reason, format, arguments) < 0)
        reason = NULL;
    va_end(arguments);
    char *text = weir_format("%s%s:%zu: %s", problems->count > 1 ? "\n" : "", file, line,
                             reason != NULL ? reason : format);
    bool kept = weir_buffer_append(&problems->text, text, strlen(text));
    (void)kept; /* that there is one is counted */
    free(reason);
    free(text);
    return false;
}

char *weir_problems_take(struct weir_problems *problems)
{
    char *text = NULL;
    if (problems->count > WEIR_HBA_PROBLEMS)
        text = weir_format("%.*s\nand %zu more problems", (int)weir_buffer_length(&problems->text),
                           (const char *)weir_buffer_bytes(&problems->text),
                           problems->count - WEIR_HBA_PROBLEMS);
    else if (problems->count > 0)
        text = weir_strndup((const char *)weir_buffer_bytes(&problems->text),
                            weir_buffer_length(&problems->text));
    weir_buffer_clear(&problems->text);
    problems->count = 0;
    return text;
}

/* --- growing --------------------------------------------------------------------------- */

/* `items` with room for one more; it doubles at each power of two. */
static void *with_room(void *items, size_t count, size_t size)
{
    if ((count & (count - 1)) != 0)
        return items;
    void *more = weir_alloc((count == 0 ? 1 : 2 * count) * size);
    if (count > 0)
        memcpy(more, items, count * size);
    free(items);
    return more;
}

static void add_word(struct weir_field *field, char *text, bool quoted)
{
    field->words = with_room(field->words, field->count, sizeof(*field->words));
    field->words[field->count++] = (struct weir_word){.text = text, .quoted = quoted};
}

static void add_field(struct weir_line *line, struct weir_field field)
{
    line->fields = with_room(line->fields, line->count, sizeof(*line->fields));
    line->fields[line->count++] = field;
}

static void add_line(struct weir_lines *lines, struct weir_line line)
{
    lines->items = with_room(lines->items, lines->count, sizeof(*lines->items));
    lines->items[lines->count++] = line;
}

static void clear_field(struct weir_field *field)
{
    for (size_t i = 0; i < field->count; i++)
        free(field->words[i].text);
    free(field->words);
}

static void clear_line(struct weir_line *line)
{
    for (size_t i = 0; i < line->count; i++)
        clear_field(&line->fields[i]);
    free(line->fields);
}

void weir_lines_clear(struct weir_lines *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        clear_line(&lines->items[i]);
    free(lines->items);
    for (size_t i = 0; i < lines->file_count; i++)
        free(lines->files[i]);
    free(lines->files);
    *lines = (struct weir_lines){0};
}

char **weir_lines_take_files(struct weir_lines *lines, size_t *count)
{
    char **files = lines->files;
    *count = lines->file_count;
    lines->files = NULL;
    lines->file_count = 0;
    return files;
}

/* --- reading --------------------------------------------------------------------------- */

/* What is being read, and what included it. */
struct frame {
    const struct frame *outer;
    const char *file;
    size_t line;
    int depth;
};

struct reading {
    const struct weir_hba_source *source;
    struct weir_problems *problems;
    struct weir_lines *names; /* whose `files` all names go to */
    size_t word_count;
    bool full; /* a limit was passed and told */
};

static void read_file(struct reading *reading, const struct frame *outer, const char *path,
                      bool may_miss, struct weir_lines *lines);

static void complain(struct reading *reading, const struct frame *frame, const char *what,
                     const char *path, const char *reason)
{
    if (frame == NULL)
        weir_problem(reading->problems, path, 0, "%s", reason);
    else
        weir_problem(reading->problems, frame->file, frame->line, "%s \"%s\": %s", what, path,
                     reason);
}

/* Relative to the folder of the file that names it. */
static char *place(const struct frame *frame, const char *path)
{
    const char *slash = strrchr(frame->file, '/');
    if (path[0] == '/' || slash == NULL)
        return weir_strdup(path);
    return weir_format("%.*s/%s", (int)(slash - frame->file), frame->file, path);
}

/* The words of all fields of a file become those of one field. */
static void take_words_of_file(struct reading *reading, const struct frame *frame, const char *name,
                               struct weir_field *field)
{
    struct weir_lines lines = {0};
    char *path = place(frame, name);
    read_file(reading, frame, path, false, &lines);
    free(path);
    for (size_t i = 0; i < lines.count; i++) {
        struct weir_line *line = &lines.items[i];
        for (size_t j = 0; j < line->count; j++) {
            for (size_t k = 0; k < line->fields[j].count; k++) {
                struct weir_word *word = &line->fields[j].words[k];
                add_word(field, word->text, word->quoted);
                word->text = NULL;
            }
        }
    }
    weir_lines_clear(&lines);
}

static bool is_blank(char character)
{
    return character == ' ' || character == '\t' || character == '\r';
}

struct cut {
    char *text; /* as long as the line at least */
    bool quoted;
    bool more; /* a comma ended it: the next word is of the same field */
};

/* Quotes may begin and end inside a word; two of them inside quotes are one. A quote that is not
 * closed reaches to the end of the line, as in PostgreSQL. False: no word is left. */
static bool cut_word(const char **cursor, struct cut *cut)
{
    const char *at = *cursor;
    char *to = cut->text;
    bool inside = false, was_quote = false, any = false;
    cut->quoted = cut->more = false;
    while (is_blank(*at) || *at == ',')
        at++;
    for (; *at != '\0' && (inside || !is_blank(*at)); at++) {
        if (!inside && *at == '#') {
            at += strlen(at);
            break;
        }
        if (!inside && *at == ',') {
            cut->more = true;
            at++;
            break;
        }
        if (*at != '"' || was_quote)
            *to++ = *at;
        was_quote = inside && *at == '"' && !was_quote;
        if (*at == '"') {
            inside = !inside;
            any = true;
            cut->quoted = cut->quoted || to == cut->text;
        }
    }
    *to = '\0';
    *cursor = at;
    return any || to != cut->text;
}

static bool has_room(struct reading *reading, const struct frame *frame)
{
    if (++reading->word_count > WORDS_MAX && !reading->full) {
        reading->full = true;
        weir_problem(reading->problems, frame->file, frame->line, "too many words in all");
    }
    return !reading->full;
}

static bool read_field(struct reading *reading, const struct frame *frame, const char **cursor,
                       char *scratch, struct weir_field *field)
{
    struct cut cut = {.text = scratch};
    bool any = false;
    do {
        if (!cut_word(cursor, &cut))
            break;
        any = true;
        if (!has_room(reading, frame))
            break;
        if (!cut.quoted && cut.text[0] == '@' && cut.text[1] != '\0') {
            char *name = weir_strdup(cut.text + 1);
            take_words_of_file(reading, frame, name, field);
            free(name);
        } else {
            add_word(field, weir_strdup(cut.text), cut.quoted);
        }
    } while (cut.more);
    return any;
}

/* --- inclusion ------------------------------------------------------------------------- */

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static void include_directory(struct reading *reading, const struct frame *frame, const char *path,
                              struct weir_lines *lines)
{
    const char *problem = NULL;
    size_t count = 0;
    char **names = reading->source->list(reading->source->context, path, &count, &problem);
    if (names == NULL) {
        complain(reading, frame, "cannot open the directory", path, problem);
        return;
    }
    qsort(names, count, sizeof(*names), compare_names);
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(names[i]);
        if (length > 5 && names[i][0] != '.' && strcmp(names[i] + length - 5, ".conf") == 0) {
            char *file = weir_format("%s/%s", path, names[i]);
            read_file(reading, frame, file, false, lines);
            free(file);
        }
        free(names[i]);
    }
    free(names);
}

/* False: the line includes nothing and is one of its own. */
static bool include(struct reading *reading, const struct frame *frame,
                    const struct weir_line *line, struct weir_lines *lines)
{
    if (line->count != 2)
        return false;
    const char *how = line->fields[0].words[0].text;
    bool file = strcmp(how, "include") == 0, perhaps = strcmp(how, "include_if_exists") == 0;
    if (!file && !perhaps && strcmp(how, "include_dir") != 0)
        return false;
    char *path = place(frame, line->fields[1].words[0].text);
    if (file || perhaps)
        read_file(reading, frame, path, perhaps, lines);
    else
        include_directory(reading, frame, path, lines);
    free(path);
    return true;
}

/* --- files ----------------------------------------------------------------------------- */

/* One line with those that continue it by a backslash at the end; how many they are. */
static size_t join_line(const char **at, const char *end, char *line)
{
    size_t used = 0, seen = 0, count = 0;
    while (*at < end) {
        const char *newline = memchr(*at, '\n', (size_t)(end - *at));
        size_t length = (size_t)((newline != NULL ? newline : end) - *at);
        memcpy(line + used, *at, length);
        used += length;
        *at += length + (newline != NULL);
        count++;
        while (used > 0 && line[used - 1] == '\r')
            used--;
        if (used == seen || line[used - 1] != '\\')
            break;
        seen = --used;
    }
    line[used] = '\0';
    return count;
}

static void read_line(struct reading *reading, const struct frame *frame, const char *text,
                      char *scratch, struct weir_lines *lines)
{
    struct weir_line line = {.file = frame->file, .number = frame->line};
    const char *cursor = text;
    while (*cursor != '\0' && !reading->full) {
        struct weir_field field = {0};
        if (!read_field(reading, frame, &cursor, scratch, &field))
            break;
        /* A file without words leaves no field, as in PostgreSQL. */
        if (field.count > 0)
            add_field(&line, field);
    }
    if (line.count == 0 || reading->full || include(reading, frame, &line, lines))
        clear_line(&line);
    else
        add_line(lines, line);
}

static void read_text(struct reading *reading, struct frame *frame, const char *text, size_t length,
                      struct weir_lines *lines)
{
    char *line = weir_try_alloc(2 * (length + 1));
    if (line == NULL) {
        weir_problem(reading->problems, frame->file, 0, "file is too large");
        return;
    }
    const char *at = text, *end = text + length;
    size_t next = 1;
    while (at < end && !reading->full) {
        frame->line = next;
        next += join_line(&at, end, line);
        read_line(reading, frame, line, line + length + 1, lines);
    }
    free(line);
}

static const char *why_not(const struct reading *reading, const struct frame *outer,
                           const char *path)
{
    if (outer != NULL && outer->depth >= DEPTH_MAX)
        return "files are nested too deeply";
    for (const struct frame *frame = outer; frame != NULL; frame = frame->outer)
        if (strcmp(frame->file, path) == 0)
            return "the file includes itself";
    return reading->names->file_count >= FILES_MAX ? "too many files in all" : NULL;
}

static void read_file(struct reading *reading, const struct frame *outer, const char *path,
                      bool may_miss, struct weir_lines *lines)
{
    if (reading->full)
        return;
    const char *problem = why_not(reading, outer, path);
    size_t length = 0;
    bool missing = false;
    char *text = NULL;
    if (problem == NULL)
        text = reading->source->read(reading->source->context, path, &length, &missing, &problem);
    if (text != NULL && memchr(text, '\0', length) != NULL)
        problem = "zero byte in the file";
    if (problem != NULL) {
        if (!missing || !may_miss)
            complain(reading, outer, "cannot read", path, problem);
        free(text);
        return;
    }
    struct weir_lines *names = reading->names;
    names->files = with_room(names->files, names->file_count, sizeof(*names->files));
    char *name = names->files[names->file_count++] = weir_strdup(path);
    struct frame frame = {
        .outer = outer, .file = name, .depth = outer != NULL ? outer->depth + 1 : 0};
    read_text(reading, &frame, text, length, lines);
    free(text);
}

void weir_lines_read(struct weir_lines *lines, const struct weir_hba_source *source,
                     const char *path, struct weir_problems *problems)
{
    struct reading reading = {.source = source, .problems = problems, .names = lines};
    read_file(&reading, NULL, path, false, lines);
}
