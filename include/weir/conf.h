/* The configuration: one immutable snapshot, read from an ini file by the one table of settings
 * (weir/settings.def). A reload reads a fresh snapshot and swaps; a bad file changes nothing. */
#ifndef WEIR_CONF_H
#define WEIR_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "weir/clock.h"
#include "weir/require.h"

enum weir_pool_mode { WEIR_POOL_TRANSACTION, WEIR_POOL_SESSION, WEIR_POOL_STATEMENT };
enum weir_auth_type {
    WEIR_AUTH_TYPE_TRUST,
    WEIR_AUTH_TYPE_ANY,
    WEIR_AUTH_TYPE_PLAIN,
    WEIR_AUTH_TYPE_MD5,
    WEIR_AUTH_TYPE_SCRAM,
    WEIR_AUTH_TYPE_HBA,
    WEIR_AUTH_TYPE_PAM,
    WEIR_AUTH_TYPE_LDAP
};
/* How far TLS is asked for, of clients and of servers: libpq's words, the weakest first. */
enum weir_sslmode {
    WEIR_SSLMODE_DISABLE,
    WEIR_SSLMODE_ALLOW,
    WEIR_SSLMODE_PREFER,
    WEIR_SSLMODE_REQUIRE,
    WEIR_SSLMODE_VERIFY_CA,
    WEIR_SSLMODE_VERIFY_FULL
};
/* What becomes of state that cannot be carried to another server connection. */
enum weir_state_policy {
    WEIR_STATE_PIN,    /* the client keeps the connection as long as the state exists */
    WEIR_STATE_REJECT, /* the client is ended with an error */
    WEIR_STATE_ALLOW,  /* it stays behind, for whoever is next */
};

/* What currval and lastval go by: PostgreSQL cannot be asked whether it exists. */
enum weir_sequence_policy {
    WEIR_SEQUENCE_AUTO, /* as PIN, once any client of the pool has used it */
    WEIR_SEQUENCE_PIN,
    WEIR_SEQUENCE_ALLOW,
};

enum weir_echo { WEIR_ECHO_OFF, WEIR_ECHO_ON, WEIR_ECHO_DEBUG };

/* The settings that may differ per database and per user, resolved: user over database over global.
 */
struct weir_pool_settings {
    enum weir_pool_mode pool_mode;
    int pool_size;
    int max_overflow;
    weir_usec overflow_delay;
    int min_pool_size;
    weir_usec pool_timeout;
    int max_waiting;
    weir_usec pool_recycle;
    int pool_recycle_jitter; /* percent */
    bool pool_pre_ping;
    weir_usec pre_ping_idle;
    weir_usec pre_ping_timeout;
    const char *pre_ping_query; /* "" = protocol level */
    weir_usec server_keepalive;
    weir_usec server_idle_timeout;
    bool pool_use_lifo;
    weir_usec server_connect_timeout;
    int server_connect_parallel;
    weir_usec server_login_retry;
    const char *server_reset_query;
    bool server_reset_query_always;
    const char *connect_query;
    int max_prepared_statements; /* 0: named statements are passed through unrenamed */
    int max_db_connections;
    int max_user_connections;
    int max_db_client_connections;
    int max_user_client_connections;
    weir_usec client_idle_timeout;
    weir_usec query_timeout;
    weir_usec transaction_timeout;
    weir_usec idle_transaction_timeout;
    weir_usec cancel_wait_timeout;
    weir_usec log_slow_queries; /* 0: off */
    enum weir_echo echo_pool;
    bool state_learning;
    int state_sampling; /* transactions of a server connection; 0: never */
    enum weir_state_policy state_listen, state_prepare, state_advisory_lock, state_held_cursor,
        state_temporary, state_seed, state_load;
    enum weir_sequence_policy state_sequence;
    bool listen_hub;
    const char *auth_user; /* "": users are not looked up in a database */
    const char *auth_query;
    const char *auth_dbname; /* "": the server database of the line asked for */
};

struct weir_conf_host {
    char *host; /* name, address, /dir, @abstract; "" = default Unix directory of libpq */
    int port;
    char *
        name; /* that certificates are for: as `host`, but with hostaddr what host says; may be "" */
};

enum weir_session_attrs {
    WEIR_ATTRS_ANY,
    WEIR_ATTRS_READ_WRITE,
    WEIR_ATTRS_READ_ONLY,
    WEIR_ATTRS_PRIMARY,
    WEIR_ATTRS_STANDBY,
    WEIR_ATTRS_PREFER_STANDBY
};

enum weir_channel_binding { WEIR_BINDING_DISABLE, WEIR_BINDING_PREFER, WEIR_BINDING_REQUIRE };

struct weir_tls_context; /* weir/tls.h */

/* TLS towards the hosts of a line. */
struct weir_database_tls {
    /* As the line says them; NULL: it does not. */
    char *sslmode, *sslrootcert, *sslcert, *sslkey, *sslcrl;
    char *ssl_min_protocol_version, *ssl_max_protocol_version, *sslsni, *channel_binding;
    /* What holds, with the global settings behind. */
    enum weir_sslmode mode;
    enum weir_channel_binding binding;
    struct weir_tls_context *context; /* NULL: never TLS */
};

/* The same for libpq: keywords, and the values that they must have. */
enum { WEIR_LIBPQ_TLS_WORDS = 9 };
struct weir_libpq_tls {
    const char *names[WEIR_LIBPQ_TLS_WORDS];
    const char *values[WEIR_LIBPQ_TLS_WORDS];
    int count;
};

/* One line of [databases]. */
struct weir_database {
    char *name; /* "*" = fallback */
    struct weir_conf_host *hosts;
    size_t host_count;
    char *dbname;           /* NULL: the name the client asked for */
    char *user;             /* NULL: the client's */
    char *password;         /* NULL: none in the DSN */
    char *application_name; /* NULL, or sent in the startup packet of server connections */
    char *options;          /* NULL, or sent likewise */
    char *client_encoding;  /* likewise */
    enum weir_session_attrs session_attrs;
    struct weir_database_tls tls;
    char *where;  /* "file:line", for messages */
    bool exposed; /* everybody may read or write that file */
    struct weir_pool_overrides *overrides;
};

struct weir_conf; /* see the accessors; fields are in weir/conf_fields.h for rooms above */

/* Reads FILE. NULL on failure; every problem found is in *problems (free it), a line each:
 * "file:line: setting: what is wrong (nearest: ...)". Warnings (ignored PgBouncer settings) are in
 * *warnings likewise, also on success; NULL when there are none. */
struct weir_conf *weir_conf_read(const char *file, char **problems, char **warnings);
/* For tests and fuzzing: the same from memory; %include is refused. */
struct weir_conf *weir_conf_parse(const char *name, const char *text, size_t length,
                                  char **problems, char **warnings);
void weir_conf_destroy(struct weir_conf *conf);

/* Exact name, else the "*" line, else NULL. */
const struct weir_database *weir_conf_database(const struct weir_conf *conf, const char *name);
/* How libpq does TLS as the pools of this line do; the texts are the snapshot's. */
void weir_conf_libpq_tls(const struct weir_conf *conf, const struct weir_database *database,
                         struct weir_libpq_tls *words);
/* "file:line" where a global setting was set; NULL: its default holds. */
const char *weir_conf_where(const struct weir_conf *conf, const char *setting);
/* Resolves every per-pool setting for (database line, user). */
void weir_conf_resolve(const struct weir_conf *conf, const struct weir_database *database,
                       const char *user, struct weir_pool_settings *resolved);
/* Names of the lines of [users], in order; NULL past the last one. "*" may be among them. */
const char *weir_conf_user_name(const struct weir_conf *conf, size_t index);
/* There is a line for exactly this user. */
bool weir_conf_has_user(const struct weir_conf *conf, const char *user);
/* For reload by diff: calls `each` for every global setting whose value differs; `reloadable` false
 * means that it takes effect only at a restart. */
void weir_conf_diff(const struct weir_conf *old, const struct weir_conf *fresh,
                    void (*each)(void *context, const char *name, const char *old_value,
                                 const char *new_value, bool reloadable),
                    void *context);
/* Calls `each` for every global setting. `value` and `default_value` (of this kind of file: one of
 * PgBouncer has PgBouncer's) are as they would be written; `changeable` false means that it takes
 * effect only at a restart; `where` is "file:line", "SET", or NULL for a default. */
void weir_conf_walk(const struct weir_conf *conf,
                    void (*each)(void *context, const char *name, const char *value,
                                 const char *default_value, bool changeable, const char *where,
                                 const char *help),
                    void *context);
/* A fresh snapshot that differs from `conf` as if `name = value` stood at the end of the file's
 * global section; PgBouncer's names are taken with their meaning. The origin of what changed is
 * "SET". NULL with *problem (free it) for a name that is not known, one that needs a restart or has
 * no effect here, and a value that is none. `conf` stays as it is. It costs what a reload costs,
 * without the reading of files. */
struct weir_conf *weir_conf_with(const struct weir_conf *conf, const char *name, const char *value,
                                 char **problem);

/* Before `fresh` takes the place of `running`: what takes effect only at a restart stays in it as it
 * runs, so that a snapshot in force says what is in force, and the change is seen again by the next
 * comparison. */
void weir_conf_keep(struct weir_conf *fresh, const struct weir_conf *running);

/* What becomes of a change when the file is read again, the mildest first. */
enum weir_conf_effect {
    WEIR_EFFECT_AT_ONCE,       /* holds from the reload on; no connection is replaced */
    WEIR_EFFECT_RECONNECTS,    /* server connections are replaced, busy ones when released */
    WEIR_EFFECT_DROPS_CLIENTS, /* its clients are closed */
    WEIR_EFFECT_RESTART,       /* nothing before a restart */
};
/* "at once", "reconnects", "drops clients", "restart". */
const char *weir_conf_effect_name(enum weir_conf_effect effect);

enum weir_conf_object { WEIR_OBJECT_SETTING, WEIR_OBJECT_DATABASE, WEIR_OBJECT_USER };

struct weir_conf_change {
    enum weir_conf_object object;
    const char *name;  /* of the setting, the database or the user */
    const char *part;  /* "host", "pool_size"...; NULL: the setting, or the line as a whole */
    const char *label; /* all that in words: "pool_size", "database shop", "user bob: pool_size" */
    const char *old_value; /* NULL: it was not there, or not set; passwords are stars */
    const char *new_value; /* NULL: likewise */
    enum weir_conf_effect effect;
};
/* What a reload from `old` to `fresh` would change: global settings in the order of the table, then
 * databases, then users. The texts are valid during the call only. */
void weir_conf_changes(const struct weir_conf *old, const struct weir_conf *fresh,
                       void (*each)(void *context, const struct weir_conf_change *change),
                       void *context);
/* True when both lines lead to the same server in the same way (else its pools reconnect). */
bool weir_database_same_target(const struct weir_database *left, const struct weir_database *right);
/* Prints what would run: every setting with its value, default and source, then databases and
 * users; passwords are shown as stars. */
void weir_conf_print(const struct weir_conf *conf, FILE *out);
/* The reference page (Markdown) and the commented sample ini, generated from the table. */
void weir_conf_print_reference(FILE *out);
void weir_conf_print_sample(FILE *out);
/* The manual page of the file, and the table of PgBouncer's settings and what becomes of them. */
void weir_conf_print_manual(FILE *out);
void weir_conf_print_moving(FILE *out);

/* Reads PgBouncer's FILE and writes one of pgweir that means the same, with a comment for every
 * difference; comments, order and passwords stay, %include is resolved. False when the file cannot be
 * read as a whole, or holds what cannot be kept; *problems (free it) says which, a line each. In the
 * first case nothing is written; in the second all is, and what cannot be kept stands in it as it was,
 * so that it is refused until somebody has decided. */
bool weir_conf_import(const char *file, FILE *out, char **problems);

#include "weir/conf_fields.h"

#endif
