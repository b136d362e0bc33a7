/* What the files of this room share: messages, entries as read, and the owned parts of a snapshot.
 */
#ifndef WEIR_CONF_SNAPSHOT_H
#define WEIR_CONF_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "setting.h"
#include "weir/buffer.h"
#include "weir/conf.h"

/* --- messages ----------------------------------------------------------------------------------
 */

struct weir_messages {
    struct weir_buffer problems;
    struct weir_buffer warnings;
};

/* "where: subject: text" and a line end; `subject` may be NULL. */
void weir_messages_problem(struct weir_messages *messages, const char *where, const char *subject,
                           const char *format, ...) weir_printf(4, 5);
void weir_messages_warning(struct weir_messages *messages, const char *where, const char *subject,
                           const char *format, ...) weir_printf(4, 5);

/* --- entries: load.c ------------------------------------------------------------------- */

struct weir_entry {
    char *section;
    char *name;
    char *value;
    char *where;
    char *layout; /* the lines before it that are none, when they are wanted; else NULL */
    bool exposed; /* everybody may read or write the file that it stands in */
};

struct weir_entries {
    struct weir_entry *items;
    size_t count;
    size_t capacity;
    bool pgbouncer_section; /* there was one, perhaps without entries */
    bool with_layout;       /* wanted: comments, empty lines, headers as they stand */
    char *layout;           /* what follows the last entry */
    char *file;             /* the outermost one */
};

/* Takes over none of its texts. */
void weir_entries_add(struct weir_entries *entries, const char *section, const char *name,
                      const char *value, const char *where);

/* Reads everything that is well formed; the rest is in `messages`. */
void weir_entries_read_file(struct weir_entries *entries, const char *file,
                            struct weir_messages *messages);
void weir_entries_read_text(struct weir_entries *entries, const char *name, const char *text,
                            size_t length, struct weir_messages *messages);
void weir_entries_clear(struct weir_entries *entries);

/* --- the snapshot ---------------------------------------------------------------------- */

/* How a setting of one level got its value. */
enum weir_set { WEIR_UNSET, WEIR_IMPLIED, WEIR_SET };

/* One level of settings: global, a database or a user. */
struct weir_level {
    void *fields;       /* struct weir_conf, or struct weir_pool_settings */
    unsigned char *set; /* enum weir_set by setting id */
    unsigned int scope; /* one of enum weir_setting_scope */
    bool by_reserve;    /* max_overflow came by PgBouncer's name */
    bool reserve_off;   /* reserve_pool_timeout = 0 */
};

struct weir_pool_overrides {
    struct weir_pool_settings values;
    unsigned char set[WEIR_SETTING_COUNT];
    struct weir_level level;
};

struct weir_conf_user {
    char *name; /* "*" = fallback */
    char *where;
    struct weir_pool_overrides *overrides;
};

struct weir_conf_origin {
    char *where; /* NULL: default */
};

struct weir_pool_overrides *weir_overrides_create(unsigned int scope);
void weir_overrides_destroy(struct weir_pool_overrides *overrides);
void weir_database_clear(struct weir_database *database);

/* Applies the entries, which are moved into the snapshot. On failure NULL, as weir_conf_read. */
struct weir_conf *weir_conf_finish(struct weir_entries *entries, struct weir_messages *messages,
                                   char **problems, char **warnings);

/* --- print.c --------------------------------------------------------------------------- */

/* The right side of a line as it would be written; without `secrets` passwords are stars. */
char *weir_database_show(const struct weir_database *database, bool secrets);
char *weir_overrides_show(const struct weir_pool_overrides *overrides);
/* A name on the left side, in quotes where it needs them. */
void weir_name_print(const char *name, FILE *out);
/* "host:port", comma list. */
char *weir_hosts_show(const struct weir_database *database);
/* The word of target_session_attrs; NULL for the default. */
const char *weir_session_attrs_show(enum weir_session_attrs attrs);

/* --- apply.c, database.c --------------------------------------------------------------- */

struct weir_apply {
    struct weir_conf *conf;
    struct weir_messages *messages;
    unsigned char set[WEIR_SETTING_COUNT];
    struct weir_level global;
    bool peers_warned;
};

/* Turns the entries into the fields of a zeroed snapshot. */
void weir_conf_apply(struct weir_conf *conf, const struct weir_entries *entries,
                     struct weir_messages *messages);
/* The settings of a file that one entry of the global section alone would set, as a level whose
 * fields are `conf`, a zeroed snapshot that the caller destroys. */
void weir_conf_apply_one(struct weir_conf *conf, const struct weir_entry *entry, bool pgbouncer,
                         unsigned char set[WEIR_SETTING_COUNT]);
/* One `name = value` of any level, under our name or PgBouncer's. `owner` ("database shop", or
 * NULL) is for messages. Returns false when the name is not known at all; the caller says so. */
bool weir_apply_setting(struct weir_apply *apply, struct weir_level *level, const char *where,
                        const char *owner, const char *name, const char *value);
void weir_apply_unknown(struct weir_apply *apply, unsigned int scope, const char *where,
                        const char *owner, const char *name);
/* Reads the right side of a [databases] line into `database`, whose name and where are set. */
void weir_database_read(struct weir_apply *apply, struct weir_database *database,
                        const char *value);

/* --- database_tls.c -------------------------------------------------------------------- */

/* The words of struct weir_database_tls, ended by a NULL name. */
struct weir_database_tls_word {
    const char *name;
    size_t offset;
};
extern const struct weir_database_tls_word weir_database_tls_words[];
/* NULL: the line does not say it. */
const char *weir_database_tls_text(const struct weir_database_tls *tls,
                                   const struct weir_database_tls_word *word);
void weir_database_tls_clear(struct weir_database_tls *tls);
/* After all entries, as it needs the global settings. */
void weir_database_tls_settle(struct weir_apply *apply, struct weir_database *database);
/* Makes the contexts of all lines, from their files. */
void weir_database_tls_load(struct weir_conf *conf, struct weir_messages *messages);
bool weir_database_tls_is_same(const struct weir_database_tls *left,
                               const struct weir_database_tls *right);

/* --- tokens.c -------------------------------------------------------------------------- */

struct weir_token {
    char *name;
    char *value;
};

enum weir_token_result { WEIR_TOKEN_GOOD, WEIR_TOKEN_END, WEIR_TOKEN_BAD };

/* The next `name=value` at `*cursor`, by libpq's rules (quotes, backslash) and with '' for a quote
 * inside quotes as in PgBouncer. `backslash` false takes backslashes as they are. After BAD
 * *problem says what is wrong without showing a value, which may be a secret. */
enum weir_token_result weir_token_next(const char **cursor, bool backslash,
                                       struct weir_token *token, const char **problem);
void weir_token_clear(struct weir_token *token);
/* Appends ` name='value'` so that libpq reads the same value. */
void weir_token_append(struct weir_buffer *out, const char *name, const char *value);

#endif
