/* Reading of ini files into entries.
 *
 * inih finds sections, names and values, but as distributions build it, it cuts lines at 200 bytes
 * (reading the rest as a further line), drops what follows " ;" in a value, takes ":" for "=" and
 * indented lines for continuations. A DSN may be long, a password may hold any of these. So inih is
 * fed line by line from here: what it would misread is set aside, inih gets a stand-in, and the
 * handler takes name and value from where they were set aside. The same place checks what inih does
 * not report, follows %include, and counts lines per file. */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot.h"
#include "weir/memory.h"

#define LARGEST_FILE    ((size_t)16 << 20)
#define DEEPEST_INCLUDE 10
/* inih keeps 49 bytes of a section's name. */
#define LONGEST_SECTION 48

struct source {
    struct source *outer; /* the file whose %include led here */
    char *name;
    char *text;
    size_t length;
    size_t at;
    int line;
    bool exposed;
};

struct reader {
    struct source *source;
    int depth;
    bool from_memory; /* %include is refused */
    bool in_section;  /* false before the first and after a malformed header */
    bool complained;  /* about lines outside of sections; once is enough */
    char *name;       /* set aside for the handler, NULL: inih read the line itself */
    char *value;
    struct weir_buffer layout; /* of the next entry */
    struct weir_entries *entries;
    struct weir_messages *messages;
};

struct span {
    const char *begin;
    size_t length;
};

static struct span trim(struct span span)
{
    while (span.length > 0 && isspace((unsigned char)span.begin[0])) {
        span.begin++;
        span.length--;
    }
    while (span.length > 0 && isspace((unsigned char)span.begin[span.length - 1]))
        span.length--;
    return span;
}

static char *place(const struct reader *reader)
{
    return weir_format("%s:%d", reader->source->name, reader->source->line);
}

static void complain(struct reader *reader, const char *text)
{
    char *where = place(reader);
    weir_messages_problem(reader->messages, where, NULL, "%s", text);
    free(where);
}

/* --- layout: what is written again when a file is translated ----------------------------- */

static weir_printf(2, 3) void keep_layout(struct reader *reader, const char *format, ...)
{
    if (!reader->entries->with_layout)
        return;
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    weir_require(vasprintf(&text, format, arguments) >= 0);
    va_end(arguments);
    weir_require(weir_buffer_append(&reader->layout, text, strlen(text)));
    free(text);
}

static char *take_layout(struct reader *reader)
{
    char *text = NULL;
    if (reader->entries->with_layout)
        text = weir_strndup((const char *)weir_buffer_bytes(&reader->layout),
                            weir_buffer_length(&reader->layout));
    weir_buffer_clear(&reader->layout);
    return text;
}

/* --- files ----------------------------------------------------------------------------- */

/* *exposed: others than its owner and its group may read or write it. */
static char *read_descriptor(int descriptor, size_t *length, bool *exposed)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return NULL;
    if (!S_ISREG(status.st_mode)) {
        errno = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
        return NULL;
    }
    if ((size_t)status.st_size > LARGEST_FILE) {
        errno = EFBIG;
        return NULL;
    }
    *exposed = (status.st_mode & (S_IROTH | S_IWOTH)) != 0;
    char *text = weir_alloc((size_t)status.st_size + 1);
    *length = 0;
    while (*length < (size_t)status.st_size) {
        ssize_t got = read(descriptor, text + *length, (size_t)status.st_size - *length);
        if (got == 0)
            break;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            weir_wipe(text, *length);
            free(text);
            return NULL;
        }
        *length += (size_t)got;
    }
    return text;
}

/* NULL with errno set. O_NONBLOCK keeps a FIFO from stopping the daemon. */
static char *read_whole(const char *file, size_t *length, bool *exposed)
{
    int descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (descriptor < 0)
        return NULL;
    char *text = read_descriptor(descriptor, length, exposed);
    int saved_errno = errno;
    close(descriptor);
    errno = saved_errno;
    return text;
}

static void push_source(struct reader *reader, const char *name, char *text, size_t length,
                        bool exposed)
{
    struct source *source = weir_alloc(sizeof(*source));
    source->outer = reader->source;
    source->name = weir_strdup(name);
    source->text = text;
    source->length = length;
    source->exposed = exposed;
    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        source->at = 3;
    reader->source = source;
    reader->depth++;
}

static void pop_source(struct reader *reader)
{
    struct source *source = reader->source;
    reader->source = source->outer;
    reader->depth--;
    weir_wipe(source->text, source->length);
    free(source->text);
    free(source->name);
    free(source);
}

/* A relative name is relative to the file that includes it. */
static char *resolve_include(const struct reader *reader, struct span name)
{
    const char *slash = strrchr(reader->source->name, '/');
    if (name.begin[0] == '/' || slash == NULL)
        return weir_strndup(name.begin, name.length);
    return weir_format("%.*s%.*s", (int)(slash + 1 - reader->source->name), reader->source->name,
                       (int)name.length, name.begin);
}

static void include(struct reader *reader, struct span name)
{
    if (reader->from_memory) {
        complain(reader, "%include is not possible here");
        return;
    }
    if (name.length == 0) {
        complain(reader, "%include without a file name");
        return;
    }
    if (reader->depth >= DEEPEST_INCLUDE) {
        complain(reader, "%include nested too deeply; does a file include itself?");
        return;
    }
    char *file = resolve_include(reader, name);
    size_t length = 0;
    bool exposed = false;
    char *text = read_whole(file, &length, &exposed);
    keep_layout(reader, ";; from %s:\n", file);
    if (text == NULL) {
        char *where = place(reader);
        weir_messages_problem(reader->messages, where, NULL, "cannot read %s: %s", file,
                              strerror(errno));
        free(where);
    } else {
        push_source(reader, file, text, length, exposed);
    }
    free(file);
}

/* --- lines ----------------------------------------------------------------------------- */

static void read_directive(struct reader *reader, struct span line)
{
    static const char word[] = "%include";
    size_t length = sizeof(word) - 1;
    if (line.length < length || memcmp(line.begin, word, length) != 0 ||
        (line.length > length && !isspace((unsigned char)line.begin[length]))) {
        complain(reader, "unknown directive (only %include FILE is known)");
        return;
    }
    include(reader, trim((struct span){line.begin + length, line.length - length}));
}

/* inih leaves what it has read in its memory as it is. */
static bool may_hold_a_password(struct span value)
{
    return memmem(value.begin, value.length, "pass", 4) != NULL ||
           memmem(value.begin, value.length, "://", 3) != NULL;
}

/* Copies a line for inih. */
static char *hand_over(char *out, struct span line)
{
    memcpy(out, line.begin, line.length);
    out[line.length] = '\n';
    out[line.length + 1] = '\0';
    return out;
}

/* Nothing that inih could take for a comment. */
static bool is_section_name(struct span name)
{
    for (size_t i = 0; i < name.length; i++) {
        if (!isalnum((unsigned char)name.begin[i]) && name.begin[i] != '_')
            return false;
    }
    return name.length > 0 && name.length <= LONGEST_SECTION;
}

static char *read_header(struct reader *reader, struct span line, char *out, size_t size)
{
    reader->in_section = false;
    reader->complained = true;
    if (line.begin[line.length - 1] != ']' || memchr(line.begin, ']', line.length - 1) != NULL) {
        complain(reader, "a section header must be [NAME] and nothing else");
        return NULL;
    }
    struct span name = trim((struct span){line.begin + 1, line.length - 2});
    if (!is_section_name(name) || name.length + 4 > size) {
        complain(reader, "unknown section (known: pgweir, databases, users)");
        return NULL;
    }
    reader->in_section = true;
    if (name.length == 9 && memcmp(name.begin, "pgbouncer", 9) == 0)
        keep_layout(reader, "[pgweir]\n");
    else
        keep_layout(reader, "%s[%.*s]\n",
                    name.length == 5 && memcmp(name.begin, "peers", 5) == 0 ? ";" : "",
                    (int)name.length, name.begin);
    out[0] = '[';
    memcpy(out + 1, name.begin, name.length);
    memcpy(out + 1 + name.length, "]\n", 3);
    if (name.length == 9 && memcmp(name.begin, "pgbouncer", 9) == 0)
        reader->entries->pgbouncer_section = true;
    return out;
}

/* Length of the name before "=", which may be in double quotes and hold one then; the line's length
 * when there is no "=". */
static size_t find_equals(struct span line)
{
    bool quoted = false;
    for (size_t i = 0; i < line.length; i++) {
        if (line.begin[i] == '"')
            quoted = !quoted;
        else if (line.begin[i] == '=' && !quoted)
            return i;
    }
    return line.length;
}

/* Takes the quotes off a name; NULL when they do not match. */
static char *unquote(struct span name)
{
    if (name.begin[0] != '"')
        return memchr(name.begin, '"', name.length) == NULL ? weir_strndup(name.begin, name.length)
                                                            : NULL;
    char *plain = weir_alloc(name.length + 1);
    size_t length = 0;
    for (size_t i = 1; i < name.length; i++) {
        if (name.begin[i] != '"') {
            plain[length++] = name.begin[i];
        } else if (i + 1 == name.length && length > 0) {
            return plain;
        } else if (i + 1 < name.length && name.begin[i + 1] == '"') {
            plain[length++] = '"';
            i++;
        } else {
            break;
        }
    }
    free(plain);
    return NULL;
}

static bool is_faithful(struct span line, struct span name, size_t size)
{
    return line.length + 2 <= size && memchr(line.begin, ';', line.length) == NULL &&
           memchr(name.begin, ':', name.length) == NULL && name.begin[0] != '"';
}

static char *read_pair(struct reader *reader, struct span line, char *out, size_t size)
{
    if (!reader->in_section) {
        if (!reader->complained)
            complain(reader, "text before the first section header");
        reader->complained = true;
        return NULL;
    }
    size_t equals = find_equals(line);
    struct span name = trim((struct span){line.begin, equals});
    if (equals == line.length) {
        complain(reader, "neither a section header nor NAME = VALUE");
        return NULL;
    }
    if (name.length == 0) {
        complain(reader, "there is no name before =");
        return NULL;
    }
    struct span value = trim((struct span){line.begin + equals + 1, line.length - equals - 1});
    if (is_faithful(line, name, size) && !may_hold_a_password(value))
        return hand_over(out, line);
    reader->name = unquote(name);
    if (reader->name == NULL) {
        complain(reader, "the quotes of the name do not match");
        return NULL;
    }
    reader->value = weir_strndup(value.begin, value.length);
    return hand_over(out, (struct span){"aside = aside", 13});
}

static char *read_line(struct reader *reader, struct span line, char *out, size_t size)
{
    if (memchr(line.begin, '\0', line.length) != NULL) {
        complain(reader, "the line holds a NUL byte");
        return NULL;
    }
    line = trim(line);
    if (line.length == 0 || line.begin[0] == ';' || line.begin[0] == '#') {
        keep_layout(reader, "%.*s\n", (int)line.length, line.begin);
        return NULL;
    }
    if (line.begin[0] == '%') {
        read_directive(reader, line);
        return NULL;
    }
    if (line.begin[0] == '[')
        return read_header(reader, line, out, size);
    return read_pair(reader, line, out, size);
}

/* Called by inih for the next line, in the way of fgets. */
static char *next_line(char *out, int size, void *stream)
{
    struct reader *reader = stream;
    while (reader->source != NULL) {
        struct source *source = reader->source;
        if (source->at == source->length) {
            if (source->outer != NULL)
                keep_layout(reader, ";; end of %s\n", source->name);
            pop_source(reader);
            continue;
        }
        const char *begin = source->text + source->at;
        size_t left = source->length - source->at;
        const char *end = memchr(begin, '\n', left);
        struct span line = {begin, end == NULL ? left : (size_t)(end - begin)};
        source->at += line.length + (end != NULL);
        source->line++;
        char *handed = read_line(reader, line, out, (size_t)size);
        if (handed != NULL)
            return handed;
    }
    return NULL;
}

static struct weir_entry *next_entry(struct weir_entries *entries)
{
    if (entries->count == entries->capacity) {
        size_t capacity = entries->capacity == 0 ? 64 : entries->capacity * 2;
        struct weir_entry *items = weir_alloc(capacity * sizeof(*items));
        if (entries->count > 0)
            memcpy(items, entries->items, entries->count * sizeof(*items));
        free(entries->items);
        entries->items = items;
        entries->capacity = capacity;
    }
    return &entries->items[entries->count++];
}

void weir_entries_add(struct weir_entries *entries, const char *section, const char *name,
                      const char *value, const char *where)
{
    *next_entry(entries) = (struct weir_entry){
        .section = weir_strdup(section),
        .name = weir_strdup(name),
        .value = weir_strdup(value),
        .where = weir_strdup(where),
    };
}

static int take_pair(void *context, const char *section, const char *name, const char *value)
{
    struct reader *reader = context;
    struct weir_entry *entry = next_entry(reader->entries);
    entry->section = weir_strdup(section);
    entry->name = reader->name != NULL ? reader->name : weir_strdup(name);
    entry->value = reader->name != NULL ? reader->value : weir_strdup(value);
    entry->where = place(reader);
    entry->exposed = reader->source->exposed;
    entry->layout = take_layout(reader);
    reader->name = NULL;
    reader->value = NULL;
    return 1;
}

static void run(struct reader *reader)
{
    /* Each line that inih could object to was examined before it got there. */
    weir_require(ini_parse_stream(next_line, reader, take_pair, reader) == 0);
    reader->entries->layout = take_layout(reader);
}

void weir_entries_read_file(struct weir_entries *entries, const char *file,
                            struct weir_messages *messages)
{
    struct reader reader = {.entries = entries, .messages = messages};
    size_t length = 0;
    bool exposed = false;
    char *text = read_whole(file, &length, &exposed);
    if (text == NULL) {
        weir_messages_problem(messages, file, NULL, "cannot be read: %s", strerror(errno));
        return;
    }
    push_source(&reader, file, text, length, exposed);
    run(&reader);
}

void weir_entries_read_text(struct weir_entries *entries, const char *name, const char *text,
                            size_t length, struct weir_messages *messages)
{
    struct reader reader = {.entries = entries, .messages = messages, .from_memory = true};
    push_source(&reader, name, weir_strndup(text, length), length, false);
    run(&reader);
}

void weir_entries_clear(struct weir_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        struct weir_entry *entry = &entries->items[i];
        free(entry->section);
        free(entry->name);
        weir_free_secret(entry->value);
        free(entry->where);
        free(entry->layout);
    }
    free(entries->items);
    free(entries->file);
    free(entries->layout);
    *entries = (struct weir_entries){0};
}
