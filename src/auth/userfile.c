#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "file.h"
#include "weir/auth.h"
#include "weir/memory.h"

#define SECRET_MAX 65536

/* One blob holds "user\0secret\0" for every line, one table the offsets of the users by hash, so a
 * user costs its text and 8 to 16 bytes. Offset 0 marks a free slot: the blob's first byte is
 * unused. */
struct weir_user_file {
    char *blob;
    size_t blob_length;
    uint32_t *slots;
    size_t slot_mask;
    size_t count;
    enum weir_secret_kind usual;
};

static uint32_t hash_of(const char *user)
{
    uint32_t hash = 2166136261u;
    for (; *user; user++)
        hash = (hash ^ (uint8_t)*user) * 16777619u;
    return hash ^ hash >> 15;
}

/* The slot of the user, or the free one where it belongs. */
static uint32_t *slot_of(const struct weir_user_file *file, const char *user)
{
    for (size_t i = hash_of(user) & file->slot_mask;; i = (i + 1) & file->slot_mask) {
        uint32_t offset = file->slots[i];
        if (offset == 0 || strcmp(file->blob + offset, user) == 0)
            return &file->slots[i];
    }
}

/* At most three quarters are in use, so that a search ends. */
static void grow(struct weir_user_file *file)
{
    size_t old_slots = file->slots ? file->slot_mask + 1 : 0;
    if ((file->count + 1) * 4 <= old_slots * 3)
        return;
    uint32_t *old = file->slots;
    size_t slots = old_slots ? old_slots * 2 : 16;
    file->slots = weir_alloc(slots * sizeof(*file->slots));
    file->slot_mask = slots - 1;
    for (size_t i = 0; i < old_slots; i++) {
        if (old[i] != 0)
            *slot_of(file, file->blob + old[i]) = old[i];
    }
    free(old);
}

static void insert(struct weir_user_file *file, uint32_t offset)
{
    grow(file);
    uint32_t *slot = slot_of(file, file->blob + offset);
    file->count += *slot == 0;
    *slot = offset; /* a later line replaces an earlier one */
}

/* --- parsing -----------------------------------------------------------------------------------
 */

/* The text is unquoted in place: what is written never passes what is read. */
struct parser {
    const char *name;
    char *text;
    size_t at;
    size_t end;
    size_t write;
    size_t line;
    char **problem;
};

static bool fail(const struct parser *parser, const char *reason)
{
    *parser->problem = weir_format("%s:%zu: %s", parser->name, parser->line, reason);
    return false;
}

static char peek(const struct parser *parser)
{
    return parser->at < parser->end ? parser->text[parser->at] : '\n';
}

static void skip_blanks(struct parser *parser)
{
    while (peek(parser) == ' ' || peek(parser) == '\t' || peek(parser) == '\r' ||
           peek(parser) == '\f' || peek(parser) == '\v')
        parser->at++;
}

static void skip_line(struct parser *parser)
{
    const char *from = parser->text + parser->at;
    const char *newline = memchr(from, '\n', parser->end - parser->at);
    parser->at = newline ? (size_t)(newline - parser->text) + 1 : parser->end;
}

/* A quoted string, moved to parser->write with its terminator. Quotes, a terminator and a newline
 * take no less room in the source, see the struct. */
static bool take_string(struct parser *parser, const char *what)
{
    if (peek(parser) != '"')
        return fail(parser, what);
    size_t begin = parser->write;
    parser->at++;
    for (;;) {
        if (parser->at == parser->end || parser->text[parser->at] == '\n')
            return fail(parser, "closing quote is missing");
        char character = parser->text[parser->at++];
        if (character == '\0')
            return fail(parser, "zero byte in a string");
        if (character == '"') {
            if (peek(parser) != '"')
                break;
            parser->at++;
        }
        parser->text[parser->write++] = character;
        if (parser->write - begin > SECRET_MAX)
            return fail(parser, "string is longer than 65536 bytes");
    }
    parser->text[parser->write++] = '\0';
    return true;
}

/* One line; false with a problem. */
static bool take_line(struct parser *parser, struct weir_user_file *file)
{
    skip_blanks(parser);
    char first = peek(parser);
    if (first != '\n' && first != ';' && first != '#') {
        size_t user = parser->write;
        if (!take_string(parser, "user name in double quotes is expected"))
            return false;
        if (parser->text[user] == '\0')
            return fail(parser, "user name is empty");
        skip_blanks(parser);
        if (!take_string(parser, "password in double quotes is expected after the user name"))
            return false;
        insert(file, (uint32_t)user);
    }
    skip_line(parser);
    parser->line++;
    return true;
}

static void find_usual(struct weir_user_file *file)
{
    size_t counts[WEIR_SECRET_SCRAM + 1] = {0};
    for (size_t i = 0; file->count > 0 && i <= file->slot_mask; i++) {
        const char *user = file->blob + file->slots[i];
        if (file->slots[i] != 0)
            counts[weir_secret_kind_of(user + strlen(user) + 1)]++;
    }
    for (size_t kind = WEIR_SECRET_PLAIN; kind <= WEIR_SECRET_SCRAM; kind++)
        if (counts[kind] > counts[file->usual] || file->usual == WEIR_SECRET_NONE)
            file->usual = (enum weir_secret_kind)kind;
}

/* Not by realloc, which might leave the old one behind as it is. */
static char *shrink(char *text, size_t size, size_t length)
{
    char *copy = weir_alloc(length);
    memcpy(copy, text, length);
    weir_wipe(text, size);
    free(text);
    return copy;
}

/* Owns `text`, of which the first byte is not part of the file. */
static struct weir_user_file *parse_in_place(const char *name, char *text, size_t end,
                                             char **problem)
{
    struct weir_user_file *file = weir_alloc(sizeof(*file));
    struct parser parser = {
        .name = name, .text = text, .at = 1, .end = end, .write = 1, .line = 1, .problem = problem};
    file->blob = text;
    file->blob_length = end;
    grow(file);
    if (end - parser.at >= 3 && memcmp(text + parser.at, "\xef\xbb\xbf", 3) == 0)
        parser.at += 3; /* the byte order mark of some editors */

    while (parser.at < parser.end) {
        if (!take_line(&parser, file)) {
            weir_user_file_destroy(file);
            return NULL;
        }
    }
    /* Comments and rests of lines may hold secrets too. */
    weir_wipe(text + parser.write, end - parser.write);
    file->blob = shrink(text, end, parser.write);
    file->blob_length = parser.write;
    find_usual(file);
    return file;
}

struct weir_user_file *weir_user_file_parse(const char *name, const char *text, size_t length,
                                            char **problem)
{
    *problem = NULL;
    char *copy = length < WEIR_AUTH_FILE_MAX ? weir_try_alloc(length + 1) : NULL;
    if (!copy) {
        *problem = weir_format("%s:1: file is too large", name);
        return NULL;
    }
    if (length > 0)
        memcpy(copy + 1, text, length);
    return parse_in_place(name, copy, length + 1, problem);
}

/* --- reading -----------------------------------------------------------------------------------
 */

struct weir_user_file *weir_user_file_read(const char *path, bool guarded, char **problem)
{
    struct stat status;
    *problem = NULL;
    if (guarded && stat(path, &status) == 0 && S_ISREG(status.st_mode) &&
        (status.st_mode & (S_IROTH | S_IWOTH)) != 0) {
        *problem = weir_format("%s:0: everybody may read or write it: chmod o= %s (or set "
                               "refuse_readable_secrets = off)",
                               path, path);
        return NULL;
    }
    size_t length = 0;
    bool missing;
    const char *reason = NULL;
    /* One byte before for the free offset. */
    char *text = weir_auth_file_read(path, 1, &length, &missing, &reason);
    if (text)
        return parse_in_place(path, text, length + 1, problem);
    *problem = weir_format("%s:0: %s", path, reason);
    return NULL;
}

/* --- using -------------------------------------------------------------------------------------
 */

const char *weir_user_file_find(const struct weir_user_file *file, const char *user)
{
    if (!file)
        return NULL;
    uint32_t offset = *slot_of(file, user);
    return offset ? file->blob + offset + strlen(user) + 1 : NULL;
}

void weir_user_file_walk(const struct weir_user_file *file,
                         void (*each)(void *context, const char *user), void *context)
{
    for (size_t i = 0; file->count > 0 && i <= file->slot_mask; i++)
        if (file->slots[i] != 0)
            each(context, file->blob + file->slots[i]);
}

enum weir_secret_kind weir_user_file_usual(const struct weir_user_file *file)
{
    return file ? file->usual : WEIR_SECRET_NONE;
}

size_t weir_user_file_count(const struct weir_user_file *file)
{
    return file ? file->count : 0;
}

void weir_user_file_destroy(struct weir_user_file *file)
{
    if (!file)
        return;
    weir_wipe(file->blob, file->blob_length);
    free(file->blob);
    free(file->slots);
    free(file);
}
