/* Fingerprints of SQL texts: those of two texts are the same when they differ only in literals, white
 * space and the lengths of lists of literals. Two other texts with the same one are taken for one: that
 * decides only how soon PostgreSQL is asked what they leave behind. Pure. */
#include "sql_text.h"

/* What lies behind is not read: an INSERT of thousands of rows is told by its beginning. */
#define READ_MAX 1024

struct printer {
    uint64_t state;
    bool space;   /* white space since the last byte */
    bool literal; /* the last thing was a literal... */
    bool comma;   /* ...and a comma has come behind it: another literal adds nothing */
};

static inline void mix(struct printer *printer, uint8_t byte)
{
    printer->state = (printer->state ^ byte) * 0x100000001b3u;
}

static inline void add(struct printer *printer, uint8_t byte)
{
    if (printer->comma)
        mix(printer, ',');
    if (printer->space)
        mix(printer, ' ');
    printer->space = printer->literal = printer->comma = false;
    mix(printer, byte);
}

static inline void add_literal(struct printer *printer)
{
    if (!printer->comma)
        add(printer, '?');
    printer->space = printer->comma = false;
    printer->literal = true;
}

static inline bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static size_t end_of_string(const uint8_t *text, size_t length, size_t at)
{
    for (; at < length; at++) {
        bool doubled = at + 1 < length && text[at + 1] == '\'';
        if (text[at] == '\'' && !doubled)
            return at + 1;
        at += text[at] == '\'';
    }
    return length;
}

static size_t end_of_number(const uint8_t *text, size_t length, size_t at)
{
    while (at < length && (sql_is_word_byte(text[at]) || text[at] == '.'))
        at++;
    return at;
}

uint64_t sql_fingerprint(const uint8_t *text, size_t length)
{
    struct printer printer = {.state = 0xcbf29ce484222325u};
    bool word = false; /* the byte before belongs to a word: a digit here does, too */
    if (length > READ_MAX)
        length = READ_MAX;
    for (size_t at = 0; at < length;) {
        uint8_t byte = text[at];
        if (byte <= ' ') {
            printer.space = true;
            word = false;
            at++;
        } else if (byte == '\'') {
            at = end_of_string(text, length, at + 1);
            add_literal(&printer);
        } else if (is_digit(byte) && !word) {
            at = end_of_number(text, length, at);
            add_literal(&printer);
        } else if (byte == ',' && printer.literal && !printer.comma) {
            printer.comma = true;
            at++;
        } else {
            word = sql_is_word_byte(byte) || byte == '$';
            add(&printer, byte);
            at++;
        }
    }
    /* Never 0, and the lowest bit is free for who keeps them. */
    return (printer.state | 2) & ~(uint64_t)1;
}
