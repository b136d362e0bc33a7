/* What a statement of the console says. Parsing is pure; nothing happens by it. */
#ifndef WEIR_ADMIN_COMMAND_H
#define WEIR_ADMIN_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/require.h"

/* --- results ----------------------------------------------------------------------------- */

enum column_type { COLUMN_TEXT, COLUMN_INT4, COLUMN_INT8, COLUMN_NUMERIC };

struct column {
    const char *name;
    enum column_type type;
};

struct walk;

/* What SHOW can show: the rows of tables.def. */
struct table {
    const char *name;
    const struct column *columns;
    size_t column_count;
    /* Appends rows. True when there are no more; else it is called again in a later turn, with
     * walk->at as it left it. NULL: refused, `help` says why. */
    bool (*walk)(struct walk *walk);
    const char *help;
};

extern const struct table tables[];
extern const size_t table_count;
/* Of EXPLAIN POOL. */
extern const struct table explain_table;

/* --- commands ---------------------------------------------------------------------------- */

enum command_kind {
#define WEIR_COMMAND(kind, words, argument, admin, synopsis, help) COMMAND_##kind,
#include "commands.def"
#undef WEIR_COMMAND
    COMMAND_EMPTY,
    COMMAND_HELP,       /* SHOW HELP */
    COMMAND_VALUE,      /* one row of one column: what drivers ask */
    COMMAND_ACCEPTED,   /* what drivers say and is no business of the console's */
    COMMAND_SET_IGNORED /* SET of a parameter of PostgreSQL */
};

/* What follows the words of a command. */
enum argument {
    ARGUMENT_NONE,
    ARGUMENT_NAME,     /* of a database */
    ARGUMENT_ANY_NAME, /* likewise, or nothing: all */
    ARGUMENT_NUMBER,
    ARGUMENT_HOW,     /* WAIT_FOR_SERVERS, WAIT_FOR_CLIENTS or nothing */
    ARGUMENT_TABLE,   /* of tables.def, or a parameter of PostgreSQL */
    ARGUMENT_SETTING, /* NAME = VALUE */
    ARGUMENT_POOL,    /* POOL database.user */
    ARGUMENT_SELECT,
    ARGUMENT_REST /* anything: drivers' talk */
};

struct command_row {
    enum command_kind kind;
    const char *word;
    enum argument argument;
    bool admin; /* not for stats users */
    const char *synopsis;
    const char *help;
};

extern const struct command_row command_rows[];
extern const size_t command_row_count;

/* How the one value of COMMAND_VALUE is found. */
enum value_source {
    VALUE_LITERAL,
    VALUE_USER,
    VALUE_DATABASE,
    VALUE_APPLICATION,
    VALUE_PID,
    VALUE_VERSION,
    VALUE_SERVER_VERSION
};

/* A statement, understood. `name` and `value` may come from parameters $N of the extended protocol
 * instead; then their numbers are here. */
struct command {
    enum command_kind kind;
    const char *tag; /* of CommandComplete; "SELECT": with the number of rows */
    bool admin;
    const struct table *table; /* SHOW, EXPLAIN */
    char *name;                /* database, client, setting, statement, pool; NULL: none */
    char *value;               /* of SET, and of a literal */
    int name_parameter;
    int value_parameter;
    enum value_source source;
    struct column column; /* of COMMAND_VALUE; its name is in column_name or constant */
    char *column_name;
};

/* An error for the client. Texts are owned. */
struct complaint {
    const char *sqlstate;
    char *message;
    char *detail; /* or NULL */
    char *hint;   /* or NULL */
};
/* Sets it; `hint` may be NULL and is taken over. */
void complain(struct complaint *complaint, const char *sqlstate, char *hint, const char *format,
              ...) weir_printf(4, 5);
void complaint_clear(struct complaint *complaint);

/* Reads one statement of `text` up to and with its semicolon; *rest is what follows. False: the
 * complaint is set. The command must be cleared either way. */
bool command_parse(const char *text, const char **rest, struct command *command,
                   struct complaint *complaint);
void command_clear(struct command *command);
/* Columns of its result; 0: it has none. */
size_t command_columns(const struct command *command, const struct column **columns);
/* The largest N of its parameters $N. */
int command_parameters(const struct command *command);

/* --- what drivers ask: pretend.c ------------------------------------------------------------- */

struct pretended {
    const char *name;
    enum value_source source;
    const char *value;
    enum column_type type;
};
/* A parameter of PostgreSQL that SHOW tells and SET does not change; NULL: none. */
const struct pretended *pretended_parameter(const char *name);
/* A function or special word of PostgreSQL that SELECT tells. */
const struct pretended *pretended_function(const char *name);

/* --- nearest.c ------------------------------------------------------------------------------- */

/* The command or table most like `word`, NULL when none is near. */
const char *nearest_command(const char *word);
const char *nearest_table(const char *word);

#endif
