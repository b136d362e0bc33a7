/* Reading which settings a text sets for the session, by SET or set_config. PostgreSQL lists those
 * that it knows; one with a name of somebody's own (it has a dot) can only be asked for by its name,
 * which has to be read here or is not known at all.
 *
 * Whatever cannot be read for certain counts as set for the session and as unreadable. Pure
 * functions. */
#include <string.h>
#include <strings.h>

#include "sql_text.h"

/* So far after the word a name, and the end of a call, are looked for. */
#define WINDOW 1024
/* The server cuts longer identifiers. */
#define PART_MAX 63

struct sql_walk sql_walk_over(const uint8_t *text, size_t length)
{
    const char *at = (const char *)text;
    return (struct sql_walk){
        .text = text,
        .length = length,
        .first = (size_t)(sql_skip_space(at, at + length) - at),
    };
}

static bool is_word_at(const struct sql_walk *walk, size_t at, const char *word)
{
    size_t size = strlen(word), end = at + size;
    return walk->length >= end && (at == 0 || !sql_is_word_byte(walk->text[at - 1])) &&
           strncasecmp((const char *)walk->text + at, word, size) == 0 &&
           (walk->length == end || !sql_is_word_byte(walk->text[end]));
}

static const char *window_end(const struct sql_walk *walk, size_t at)
{
    size_t left = walk->length - at;
    return (const char *)walk->text + at + (left < WINDOW ? left : WINDOW);
}

/* DO with a block behind it, not that of ON CONFLICT. */
static bool begins_block(const struct sql_walk *walk, size_t at)
{
    if (!is_word_at(walk, at, "do"))
        return false;
    const char *next = (const char *)walk->text + at, *end = window_end(walk, at);
    sql_take_word(&next, end, "do");
    return !sql_take_word(&next, end, "update") && !sql_take_word(&next, end, "nothing");
}

static void look_before(struct sql_walk *walk, size_t at)
{
    for (; walk->looked < at; walk->looked++) {
        switch (walk->text[walk->looked]) {
        case ';':
            walk->several = true;
            break;
        case 'd':
        case 'D':
            walk->block = walk->block || begins_block(walk, walk->looked);
            break;
        case 'p':
        case 'P':
            walk->prepares = walk->prepares || is_word_at(walk, walk->looked, "prepare");
            break;
        default:
            break;
        }
    }
}

/* --- names ------------------------------------------------------------------------------- */

static bool is_name_byte(char byte)
{
    return (sql_is_word_byte((uint8_t)byte) || byte == '$') && !(byte & 0x80);
}

static bool add(struct sql_setting *setting, size_t *length, char byte)
{
    if (*length + 1 >= SQL_NAME_SIZE)
        return false;
    bool upper = byte >= 'A' && byte <= 'Z';
    setting->name[(*length)++] = upper ? (char)(byte | 0x20) : byte;
    setting->name[*length] = '\0';
    return true;
}

/* One part of a name, quoted or not: names of settings have no case. */
static bool take_part(const char **position, const char *end, struct sql_setting *setting,
                      size_t *length)
{
    const char *at = *position;
    bool quoted = at < end && *at == '"';
    size_t size = 0;
    for (at += quoted; at < end && is_name_byte(*at); at++, size++)
        if (!add(setting, length, *at))
            return false;
    if (size == 0 || size > PART_MAX || at == end)
        return false;
    if (quoted && *at++ != '"')
        return false;
    bool strange = at < end && (*at & 0x80 || *at == '"' || *at == '&');
    *position = sql_skip_space(at, end);
    return !strange;
}

/* SET a.b: what stands at `at`, up to what follows it. */
static void read_variable(const char *at, const char *end, struct sql_setting *setting)
{
    size_t length = 0;
    setting->kind = SQL_UNREADABLE;
    for (bool dotted = false;; dotted = true) {
        if (!take_part(&at, end, setting, &length) || at == end)
            return;
        if (*at != '.') {
            setting->kind = dotted ? SQL_NAMED : SQL_ORDINARY;
            return;
        }
        if (!add(setting, &length, '.'))
            return;
        at = sql_skip_space(at + 1, end);
    }
}

/* --- SET --------------------------------------------------------------------------------- */

/* SESSION and LOCAL may begin a name, too. */
static bool take_scope(const char **position, const char *end, const char *word)
{
    const char *at = *position;
    if (!sql_take_word(&at, end, word) || at == end || *at == '.')
        return false;
    *position = at;
    return true;
}

/* A statement SET begins the text or follows another; in a block it may stand anywhere. All others
 * are part of something else, above all of UPDATE. */
static unsigned read_set(struct sql_walk *walk, size_t begin, struct sql_setting *setting)
{
    const char *end = window_end(walk, begin);
    const char *at = sql_skip_space((const char *)walk->text + begin + 3, end);
    look_before(walk, begin);
    bool statement = walk->several || begin == walk->first;
    if ((!statement && !walk->block) || take_scope(&at, end, "local"))
        return 0;
    take_scope(&at, end, "session");
    read_variable(at, end, setting);
    /* SET NAMES 'x' and SET TIME ZONE have two words, but the first one is read well. */
    return (statement ? SQL_SETS : 0u) | (walk->block ? SQL_STATE : 0u) |
           (setting->kind != SQL_ORDINARY ? SQL_CUSTOM : 0u);
}

/* --- set_config -------------------------------------------------------------------------- */

/* The comma or bracket that ends an argument, NULL when it cannot be told for certain. */
static const char *end_of_argument(const char *at, const char *end)
{
    int depth = 0;
    for (char quote = '\0'; at < end; at++) {
        if (*at == '\\')
            return NULL;
        if (quote != '\0') {
            quote = *at == quote ? '\0' : quote;
            continue;
        }
        bool more = at + 1 < end;
        if (*at == '\'' || *at == '"')
            quote = *at;
        else if (*at == '(' || *at == '[')
            depth++;
        else if (depth == 0 && (*at == ',' || *at == ')'))
            return at;
        else if (*at == ')' || *at == ']')
            depth--;
        else if ((*at == '$' && more && !(at[1] >= '0' && at[1] <= '9')) ||
                 (*at == '-' && more && at[1] == '-') || (*at == '/' && more && at[1] == '*'))
            return NULL;
    }
    return NULL;
}

/* A cast to a simple type. */
static const char *skip_cast(const char *at, const char *end)
{
    if (end - at < 2 || at[0] != ':' || at[1] != ':')
        return at;
    for (at = sql_skip_space(at + 2, end); at < end && is_name_byte(*at);)
        at++;
    return sql_skip_space(at, end);
}

static bool is_true(const char *at, const char *end)
{
    at = sql_skip_space(at, end);
    return sql_take_word(&at, end, "true") && skip_cast(at, end) == end;
}

/* From the argument with the name on; the third one says that it ends with the transaction. */
static bool is_local(const char *name, const char *end)
{
    const char *value = end_of_argument(name, end);
    if (value == NULL || *value != ',')
        return false;
    const char *local = end_of_argument(value + 1, end);
    if (local == NULL || *local != ',')
        return false;
    const char *close = end_of_argument(local + 1, end);
    return close != NULL && *close == ')' && is_true(local + 1, close);
}

static void read_parameter(const char *at, const char *end, struct sql_setting *setting)
{
    unsigned number = 0;
    for (at++; at < end && *at >= '0' && *at <= '9' && number <= UINT16_MAX; at++)
        number = number * 10 + (unsigned)(*at - '0');
    at = skip_cast(sql_skip_space(at, end), end);
    bool alone = at < end && *at == ',' && number > 0;
    setting->kind = alone ? SQL_PARAMETER : SQL_UNREADABLE;
    setting->parameter = number - 1;
}

/* Inside of another literal, of a DO block say, quotes are doubled. */
static void read_literal(const char *at, const char *end, struct sql_setting *setting)
{
    size_t quotes = 0, closing = 0, length = 0;
    bool dotted = false;
    setting->kind = SQL_UNREADABLE;
    for (at += *at == 'E' || *at == 'e'; at < end && *at == '\''; at++)
        quotes++;
    for (; at < end && (is_name_byte(*at) || *at == '.' || *at == '-'); at++) {
        dotted |= *at == '.';
        if (!add(setting, &length, *at))
            return;
    }
    for (; at < end && *at == '\''; at++)
        closing++;
    at = skip_cast(sql_skip_space(at, end), end);
    if (length > 0 && quotes > 0 && quotes == closing && at < end && *at == ',')
        setting->kind = dotted ? SQL_NAMED : SQL_ORDINARY;
}

static unsigned read_call(struct sql_walk *walk, size_t begin, struct sql_setting *setting)
{
    const char *end = window_end(walk, begin);
    const char *at = (const char *)walk->text + begin + 10;
    look_before(walk, begin);
    at = sql_skip_space(at + (at < end && *at == '"'), end);
    if (at < end && *at != '(')
        return SQL_STATE; /* named, not called */
    if (at < end)
        at = sql_skip_space(at + 1, end);
    if (is_local(at, end))
        return 0;
    if (at == end)
        setting->kind = SQL_UNREADABLE;
    else if (*at == '$')
        read_parameter(at, end, setting);
    else
        read_literal(at, end, setting);
    if (walk->prepares)
        setting->kind = SQL_UNREADABLE; /* nothing tells when it is executed */
    return SQL_STATE | (setting->kind != SQL_ORDINARY ? SQL_CUSTOM : 0u);
}

unsigned sql_read_setting(struct sql_walk *walk, size_t at, struct sql_setting *setting)
{
    setting->kind = SQL_ORDINARY;
    setting->name[0] = '\0';
    if (is_word_at(walk, at, "set"))
        return read_set(walk, at, setting);
    bool call = walk->length - at >= 10 &&
                strncasecmp((const char *)walk->text + at, "set_config", 10) == 0;
    return call ? read_call(walk, at, setting) : 0;
}

bool sql_next_setting(struct sql_walk *walk, struct sql_setting *setting)
{
    while (walk->at < walk->length) {
        size_t at = walk->at++;
        if ((walk->text[at] | 0x20) == 's' && sql_read_setting(walk, at, setting) & SQL_CUSTOM)
            return true;
    }
    return false;
}
