/* Private to the admin room: the console and its guests.
 *
 *   token.c     words of the language            guest.c     a session: bytes in, messages out
 *   command.c   statements, understood           extended.c  Parse, Bind, Describe, Execute, Close
 *   pretend.c   what drivers ask                 portal.c    running a command, rows in slices
 *   nearest.c   the right word                   perform.c   what commands do
 *   rows.c      results                          wait.c      commands that take time
 *   tables.def  everything SHOW can show         show_*.c    and where its rows come from
 */
#ifndef WEIR_ADMIN_CONSOLE_H
#define WEIR_ADMIN_CONSOLE_H

#include <uthash.h>

#include "command.h"
#include "rows.h"
#include "weir/admin.h"
#include "weir/list.h"
#include "weir/session.h"

/* The bounds of what a client of the console can make us hold. */
#define MESSAGE_MAX    ((size_t)65536)   /* bytes of one message of a client */
#define INPUT_MAX      (2 * MESSAGE_MAX) /* kept while a command runs; then it is not read */
#define OUTPUT_HIGH    65536             /* unsent bytes above which nothing more is made */
#define STATEMENTS_MAX 256               /* prepared ones of a client */
#define PREPARED_MAX   (8 * MESSAGE_MAX) /* and the bytes of their messages together */
#define PORTALS_MAX    64                /* open ones of a client */
#define WAITS_MAX      16                /* commands that wait */
#define STEPS_PER_TURN 32                /* messages or statements of one client */
#define TURN_USEC      2000              /* and when they take longer than this, fewer */

struct weir_admin {
    struct weir_loop *loop;
    struct weir_router *router;
    const struct weir_admin_ops *ops;
    void *context;
    struct weir_list guests;  /* guest.link */
    struct weir_list busy;    /* guest.busy: have work for the next turn */
    struct weir_list waiting; /* guest.waiting: have a command that waits */
    int guest_count;
    int wait_count;
    ev_timer work;
    ev_timer look; /* whether what is waited for has come */
};

/* --- portals ------------------------------------------------------------------------------ */

/* One run of a command. */
struct portal {
    UT_hash_handle hh;
    struct command command;
    char **values; /* of the parameters $N, NULL: null */
    int value_count;
    uint16_t *codes;
    struct formats formats;
    struct weir_buffer rest; /* rows that are made and not handed out yet */
    uint64_t at;             /* of the walk */
    uint64_t sent;           /* rows */
    bool begun;              /* has been run */
    bool walked;             /* all rows are made */
    char name[];
};

struct prepared {
    UT_hash_handle hh;
    char *text;
    struct command command;
    uint32_t *types; /* of the parameters, by the client or by us */
    int type_count;
    size_t size;
    char name[];
};

/* A walk of a table: see struct table. */
struct walk {
    const struct weir_admin *admin;
    const struct guest *guest;
    struct portal *portal;
    struct rows rows;
    const char *problem_state; /* the command failed with this SQLSTATE */
    char *problem;             /* and this text, freed by who walks */
};

/* --- guests ------------------------------------------------------------------------------- */

enum guest_state {
    GUEST_READY,   /* takes the next message, or the next statement of a simple query */
    GUEST_RUNNING, /* rows of guest->running are being made */
    GUEST_WAITING, /* guest->wait is not over */
    GUEST_LEFT,    /* dismissed or detached: freed when its work returns */
};

enum wait { WAIT_NONE, WAIT_PAUSE, WAIT_SUSPEND, WAIT_CLOSE };

struct guest {
    struct weir_admin *admin;
    struct weir_client *client;
    struct weir_list link;
    struct weir_list busy;
    struct weir_list waiting;
    enum guest_state state;
    enum weir_console_rights rights;
    bool skipping;    /* after an error in the extended protocol: up to Sync */
    char transaction; /* of ReadyForQuery: I or T */
    char *database;
    char *user;
    char *application_name;
    struct weir_buffer input;
    struct weir_buffer output;
    char *query;            /* of a simple query that runs; NULL: none */
    const char *query_next; /* its next statement */
    bool answered;          /* a statement of the query had an answer */
    struct portal *running;
    uint32_t row_limit; /* of the Execute that runs; 0: none */
    enum wait wait;
    char *wait_database; /* NULL: all */
    bool paused_here;    /* the PAUSE that waits is the one that paused */
    struct prepared *prepared;
    int prepared_count;
    size_t prepared_size;
    struct portal *portals;
    int portal_count;
};

/* --- admin.c ------------------------------------------------------------------------------ */

/* It goes on in a later turn. */
void admin_busy(struct guest *guest);

/* --- guest.c ------------------------------------------------------------------------------ */

struct guest *guest_create(struct weir_admin *admin, struct weir_client *client,
                           enum weir_console_rights rights);
void guest_destroy(struct guest *guest);
/* Goes on with whatever is next. The guest may be freed. */
void guest_work(struct guest *guest);
/* A cancel request came. */
void guest_cancel(struct guest *guest);
/* Ends it: closed when what was written has arrived. The guest is LEFT. */
void guest_dismiss(struct guest *guest);
struct weir_writer guest_writer(struct guest *guest);
/* ErrorResponse; what is left of the query or of the batch is dropped. Clears the complaint. */
void guest_complain(struct guest *guest, struct complaint *complaint);
void guest_fail(struct guest *guest, const char *sqlstate, const char *format, ...)
    weir_printf(3, 4);
void guest_tell_notice(struct guest *guest, const char *text, const char *detail);

/* --- extended.c --------------------------------------------------------------------------- */

void extended_parse(struct guest *guest, struct weir_reader *reader);
void extended_bind(struct guest *guest, struct weir_reader *reader);
void extended_describe(struct guest *guest, struct weir_reader *reader);
void extended_execute(struct guest *guest, struct weir_reader *reader);
void extended_close(struct guest *guest, struct weir_reader *reader);
/* "": the unnamed one. Nothing when there is none. */
void extended_forget_prepared(struct guest *guest, const char *name);
void extended_forget_all_prepared(struct guest *guest);

/* --- portal.c ----------------------------------------------------------------------------- */

struct portal *portal_create(const char *name);
void portal_destroy(struct portal *portal);
/* Takes it out of the guest's table, and frees it. */
void portal_close(struct guest *guest, struct portal *portal);
void portal_close_all(struct guest *guest);
/* Runs it: the guest is READY again afterwards, or RUNNING, WAITING or LEFT. */
void portal_run(struct guest *guest, struct portal *portal, uint32_t row_limit);
/* RUNNING: makes and hands out a slice of rows. False: more in a later turn. */
bool portal_go_on(struct guest *guest);
/* CommandComplete; the guest is READY. */
void portal_complete(struct guest *guest);
/* The name or value of its command, by parameter or by text. */
const char *portal_name(const struct portal *portal);
const char *portal_value(const struct portal *portal);

/* --- perform.c ---------------------------------------------------------------------------- */

/* Carries out a command without rows: the guest is READY (answered), WAITING or LEFT afterwards. */
void perform(struct guest *guest, struct portal *portal);
/* The one value of COMMAND_VALUE, in fresh memory. */
char *perform_value(const struct guest *guest, const struct command *command);

/* --- wait.c ------------------------------------------------------------------------------- */

/* WAITING, unless what it waits for has come or too many wait. */
void wait_begin(struct guest *guest, enum wait wait, const char *database);
/* The wait is no more; says nothing to the client. */
void wait_end(struct guest *guest);
void wait_look(struct weir_admin *admin);
/* ^C: ends the wait of this guest, and undoes a pause that nobody else asked for. */
void wait_cancel(struct guest *guest);

/* --- help.c ------------------------------------------------------------------------------- */

/* All commands and tables, a line each, in fresh memory. */
char *help_text(void);

/* --- show_*.c ----------------------------------------------------------------------------- */

#define WEIR_TABLE(name, walker, help) bool walker(struct walk *walk);
#define WEIR_REFUSED_TABLE(name, reason)
#define WEIR_COLUMN(name, type)
#define WEIR_TABLE_END
#include "tables.def"
#undef WEIR_TABLE
#undef WEIR_REFUSED_TABLE
#undef WEIR_COLUMN
#undef WEIR_TABLE_END
bool show_explanation(struct walk *walk);

/* The column of a statement's text; null for who must not see it. */
struct weir_view_statement;
void show_statement(struct walk *walk, const struct weir_view_statement *statement);

/* May see texts of statements. */
static inline bool walk_shows_statements(const struct walk *walk)
{
    return walk->guest->rights == WEIR_CONSOLE_ADMIN;
}

#endif
