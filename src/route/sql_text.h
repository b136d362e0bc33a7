#ifndef WEIR_ROUTE_SQL_TEXT_H
#define WEIR_ROUTE_SQL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a text does to names of prepared statements. */
enum sql_use { SQL_NOTHING, SQL_USES, SQL_PREPARES, SQL_DEALLOCATES, SQL_DISCARDS };

/* `name` gets the name that the text begins with, folded as PostgreSQL does, cut to `size`. */
enum sql_use sql_read(const char *text, size_t length, char *name, size_t size);
/* What a text may do that outlives its transaction. */
enum sql_mention {
    SQL_STATE = 1,     /* it may set, lock or create something without a command tag for it */
    SQL_SETS = 2,      /* its tags SET are not all of SET LOCAL */
    SQL_CUSTOM = 4,    /* it may set what has a name of somebody's own: sql_next_setting tells */
    SQL_CURRENT = 8,   /* currval or lastval */
    SQL_SEQUENCE = 16, /* nextval or setval */
    SQL_SEED = 32,     /* setseed, SET seed */
};
#define SQL_MENTIONS_ALL                                                                           \
    ((unsigned)SQL_STATE | SQL_SETS | SQL_CUSTOM | SQL_CURRENT | SQL_SEQUENCE | SQL_SEED)

unsigned sql_mentions(const uint8_t *text, size_t length);
/* The same for texts that differ in literals and white space only; never 0, the lowest bit is 0. */
uint64_t sql_fingerprint(const uint8_t *text, size_t length);

/* --- sql_reset.c: texts that bring a session back to its beginning -------------------------------- */

enum sql_reset {
    SQL_RESETS_NOTHING = 1,  /* that is known by this */
    SQL_RESETS_SETTINGS = 2, /* but for who the session is */
    SQL_RESETS_LOCKS = 4,
    SQL_RESETS_CURSORS = 8,
    SQL_RESETS_LISTEN = 16,
    SQL_RESETS_ALL = 32,
};
/* What the text undoes when all of it succeeds; 0: it is, or may be, another one. */
unsigned sql_resets(const uint8_t *text, size_t length);

/* --- sql_settings.c: settings that a text sets for the session ---------------------------------- */

/* Longer names are not read. */
#define SQL_NAME_SIZE 256

struct sql_setting {
    enum {
        SQL_ORDINARY,  /* the server lists it */
        SQL_NAMED,     /* `name` has a dot: PostgreSQL knows it only once it has been set */
        SQL_PARAMETER, /* the name is the value of this parameter, from 0 */
        SQL_UNREADABLE,
    } kind;
    unsigned parameter;
    char name[SQL_NAME_SIZE]; /* in lower case */
};

/* Where a reader of a text is. Each byte is looked at a bounded number of times, whatever it says. */
struct sql_walk {
    const uint8_t *text;
    size_t length;
    size_t at;     /* sql_next_setting goes on here */
    size_t looked; /* what stands before this was read for the three below */
    size_t first;  /* the first word */
    bool several;  /* there may be a second statement */
    bool block;    /* a DO block may have begun */
    bool prepares; /* the text may be kept on the server by SQL's PREPARE */
};

struct sql_walk sql_walk_over(const uint8_t *text, size_t length);
/* A word `set` or `set_config` begins at `at`: what it does, as enum sql_mention. */
unsigned sql_read_setting(struct sql_walk *walk, size_t at, struct sql_setting *setting);
/* The next one that is not ordinary and may outlive the transaction; false: there is no more. */
bool sql_next_setting(struct sql_walk *walk, struct sql_setting *setting);

/* --- words ------------------------------------------------------------------------------- */

/* Skips white space and comments. */
const char *sql_skip_space(const char *at, const char *end);
/* Steps over the word, if it is there, and what sql_skip_space skips. */
bool sql_take_word(const char **position, const char *end, const char *word);
static inline bool sql_is_word_byte(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
           byte == '_' || byte >= 0x80;
}

#endif
