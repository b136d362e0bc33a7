/* --check --running: asks the console of the running daemon what a reload would change. libpq is
 * loaded for it and not linked, for the daemon has no other use for it (src/conf/libpq.c says what it
 * costs). Blocking is fine here: this process asks one question and ends. */
#include <dlfcn.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "weir/auth.h"
#include "weir/memory.h"

#define LIBPQ   "libpq.so.5"
#define COLUMNS 4 /* of what is printed */

struct libpq {
    void *handle;
    PGconn *(*connect)(const char *const *names, const char *const *values, int expand);
    ConnStatusType (*status)(const PGconn *connection);
    char *(*error)(const PGconn *connection);
    void (*finish)(PGconn *connection);
    PGresult *(*execute)(PGconn *connection, const char *text);
    ExecStatusType (*result_status)(const PGresult *result);
    int (*rows)(const PGresult *result);
    int (*column)(const PGresult *result, const char *name);
    char *(*value)(const PGresult *result, int row, int column);
    int (*is_null)(const PGresult *result, int row, int column);
    void (*clear)(PGresult *result);
};

struct running {
    struct libpq pq;
    const char *file;
    const struct weir_conf *conf;
    struct weir_user_file *users; /* NULL: none */
    char *last_error;
};

static bool load(struct libpq *pq)
{
    const struct {
        const char *name;
        void *function;
    } names[] = {
        {"PQconnectdbParams", &pq->connect},
        {"PQstatus", &pq->status},
        {"PQerrorMessage", &pq->error},
        {"PQfinish", &pq->finish},
        {"PQexec", &pq->execute},
        {"PQresultStatus", &pq->result_status},
        {"PQntuples", &pq->rows},
        {"PQfnumber", &pq->column},
        {"PQgetvalue", &pq->value},
        {"PQgetisnull", &pq->is_null},
        {"PQclear", &pq->clear},
    };
    pq->handle = dlopen(LIBPQ, RTLD_LAZY | RTLD_LOCAL);
    for (size_t i = 0; pq->handle != NULL && i < sizeof(names) / sizeof(names[0]); i++) {
        /* ISO C has no conversion from an object pointer to a function pointer; POSIX has. */
        void *symbol = dlsym(pq->handle, names[i].name);
        if (symbol == NULL)
            return false;
        memcpy(names[i].function, &symbol, sizeof(symbol));
    }
    return pq->handle != NULL;
}

/* --- connecting ------------------------------------------------------------------------ */

static PGconn *try_connect(struct running *running, const char *host, const char *user,
                           const char *password)
{
    char port[16];
    snprintf(port, sizeof(port), "%d", running->conf->listen_port);
    const char *const names[] = {"host",    "port",       "user",
                                 "dbname",  "password",   "connect_timeout",
                                 "sslmode", "gssencmode", "application_name",
                                 NULL};
    const char *const values[] = {host, port,     user,      "pgweir",         password,
                                  "5",  "prefer", "disable", "pgweir --check", NULL};
    PGconn *connection = running->pq.connect(names, values, 0);
    if (connection != NULL && running->pq.status(connection) == CONNECTION_OK)
        return connection;
    free(running->last_error);
    running->last_error =
        weir_strdup(connection == NULL ? "out of memory\n" : running->pq.error(connection));
    running->pq.finish(connection);
    return NULL;
}

/* The first address, in fresh memory; what means "all" is reached by the loopback. */
static char *first_address(const char *list)
{
    list += strspn(list, " ");
    char *address = weir_strndup(list, strcspn(list, ", "));
    const char *loopback = strcmp(address, "*") == 0 || strcmp(address, "0.0.0.0") == 0
                               ? "127.0.0.1"
                           : strcmp(address, "::") == 0 ? "::1"
                                                        : NULL;
    if (loopback == NULL)
        return address;
    free(address);
    return weir_strdup(loopback);
}

/* As one of a comma list of users whose password is known or not asked for. */
static PGconn *try_users(struct running *running, const char *host, const char *list)
{
    const struct weir_conf *conf = running->conf;
    bool trusted = conf->auth_type == WEIR_AUTH_TYPE_TRUST || conf->auth_type == WEIR_AUTH_TYPE_ANY;
    PGconn *connection = NULL;
    while (*list != '\0' && connection == NULL) {
        list += strspn(list, " ,");
        size_t length = strcspn(list, " ,");
        char *user = weir_strndup(list, length);
        const char *secret =
            running->users == NULL ? NULL : weir_user_file_find(running->users, user);
        bool plain = secret != NULL && weir_secret_kind_of(secret) == WEIR_SECRET_PLAIN;
        if (length > 0 && (plain || trusted))
            connection = try_connect(running, host, user, plain ? secret : "");
        free(user);
        list += length;
    }
    return connection;
}

static PGconn *connect_console(struct running *running)
{
    const struct weir_conf *conf = running->conf;
    PGconn *connection = NULL;
    bool local = conf->unix_socket_dir[0] != '\0';
    if (local)
        connection = try_connect(running, conf->unix_socket_dir, "pgweir", "");
    if (connection != NULL)
        return connection;
    char *host = conf->listen_addr[0] != '\0' ? first_address(conf->listen_addr)
                                              : weir_strdup(conf->unix_socket_dir);
    if (*host != '\0')
        connection = try_users(running, host, conf->admin_users);
    if (*host != '\0' && connection == NULL)
        connection = try_users(running, host, conf->stats_users);
    free(host);
    return connection;
}

/* --- printing -------------------------------------------------------------------------- */

static const char *explain(const char *effect)
{
    static const struct {
        enum weir_conf_effect effect;
        const char *text;
    } texts[] = {
        {WEIR_EFFECT_AT_ONCE, "takes effect at once"},
        {WEIR_EFFECT_RECONNECTS, "its pools get new server connections"},
        {WEIR_EFFECT_DROPS_CLIENTS, "its clients are closed"},
        {WEIR_EFFECT_RESTART, "needs a restart"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (strcmp(effect, weir_conf_effect_name(texts[i].effect)) == 0)
            return texts[i].text;
    }
    return effect;
}

/* The columns of SHOW RELOAD. */
enum column { KIND, NAME, PART, OLD, NEW, EFFECT, COLUMN_COUNT };

struct reload {
    const struct libpq *pq;
    const PGresult *result;
    int numbers[COLUMN_COUNT];
};

static bool find_columns(struct reload *reload)
{
    static const char *const names[COLUMN_COUNT] = {"kind", "name", "part", "old", "new", "effect"};
    for (int i = 0; i < COLUMN_COUNT; i++) {
        reload->numbers[i] = reload->pq->column(reload->result, names[i]);
        if (reload->numbers[i] < 0)
            return false;
    }
    return true;
}

/* NULL for NULL. */
static const char *value_of(const struct reload *reload, int row, enum column column)
{
    int number = reload->numbers[column];
    if (reload->pq->is_null(reload->result, row, number))
        return NULL;
    return reload->pq->value(reload->result, row, number);
}

/* "pool_size", "database shop", "user bob: pool_size". */
static char *describe(const struct reload *reload, int row)
{
    const char *kind = value_of(reload, row, KIND);
    const char *name = value_of(reload, row, NAME);
    const char *part = value_of(reload, row, PART);
    bool setting = kind == NULL || strcmp(kind, "setting") == 0;
    bool whole = part == NULL || *part == '\0';
    return weir_format("%s%s%s%s%s", setting ? "" : kind, setting ? "" : " ",
                       name != NULL ? name : "", whole ? "" : ": ", whole ? "" : part);
}

static char *show_value(const char *value)
{
    return weir_strdup(value == NULL ? "-" : *value == '\0' ? "(empty)" : value);
}

typedef char *row_cells[COLUMNS];

static void fill_row(const struct reload *reload, int row, row_cells cells)
{
    const char *effect = value_of(reload, row, EFFECT);
    cells[0] = describe(reload, row);
    cells[1] = show_value(value_of(reload, row, OLD));
    cells[2] = show_value(value_of(reload, row, NEW));
    cells[3] = weir_strdup(explain(effect != NULL ? effect : ""));
}

static void print_table(row_cells *table, int rows)
{
    int widths[COLUMNS] = {0};
    for (int row = 0; row < rows; row++) {
        for (int i = 0; i < COLUMNS; i++) {
            int width = (int)strlen(table[row][i]);
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    for (int row = 0; row < rows; row++)
        printf("%-*s  %-*s  %-*s  %s\n", widths[0], table[row][0], widths[1], table[row][1],
               widths[2], table[row][2], table[row][3]);
}

/* The exit status. A file that the daemon cannot read is one row of the kind "problem". */
static int print_changes(const struct reload *reload)
{
    int changes = reload->pq->rows(reload->result);
    if (changes == 0) {
        puts("A reload would change nothing.");
        return 0;
    }
    const char *kind = value_of(reload, 0, KIND);
    if (kind != NULL && strcmp(kind, "problem") == 0) {
        const char *problem = value_of(reload, 0, EFFECT);
        fprintf(stderr, "pgweir: a reload would fail and change nothing: %s\n",
                problem != NULL ? problem : "");
        return 1;
    }
    static const char *const head[COLUMNS] = {"WHAT", "NOW", "AFTER", "EFFECT"};
    row_cells *table = weir_alloc(((size_t)changes + 1) * sizeof(*table));
    for (int i = 0; i < COLUMNS; i++)
        table[0][i] = weir_strdup(head[i]);
    for (int row = 0; row < changes; row++)
        fill_row(reload, row, table[row + 1]);
    print_table(table, changes + 1);
    for (int row = 0; row <= changes; row++) {
        for (int i = 0; i < COLUMNS; i++)
            free(table[row][i]);
    }
    free(table);
    return 0;
}

/* --- the whole ------------------------------------------------------------------------- */

static int ask(struct running *running)
{
    struct libpq *pq = &running->pq;
    PGconn *connection = connect_console(running);
    if (connection == NULL) {
        fprintf(stderr, "pgweir: %s: the console of the running pgweir cannot be reached: %s%s",
                running->file,
                running->last_error != NULL
                    ? running->last_error
                    : "there is neither unix_socket_dir nor a user of admin_users or stats_users "
                      "whose password stands in auth_file",
                running->last_error != NULL ? "" : "\n");
        return 1;
    }
    PGresult *result = pq->execute(connection, "SHOW RELOAD");
    struct reload reload = {.pq = pq, .result = result};
    int status = 1;
    if (pq->result_status(result) != PGRES_TUPLES_OK)
        fprintf(stderr, "pgweir: SHOW RELOAD: %s", pq->error(connection));
    else if (!find_columns(&reload))
        fputs("pgweir: the answer to SHOW RELOAD is not that of pgweir\n", stderr);
    else
        status = print_changes(&reload);
    pq->clear(result);
    pq->finish(connection);
    return status;
}

int running_run(const char *file)
{
    struct weir_conf *conf = daemon_read_conf(file, false);
    if (conf == NULL)
        return 1;
    struct running running = {.file = file, .conf = conf};
    char *problem = NULL;
    if (conf->auth_file[0] != '\0')
        running.users =
            weir_user_file_read(conf->auth_file, conf->refuse_readable_secrets, &problem);
    if (problem != NULL)
        fprintf(stderr, "pgweir: auth_file: %s\n", problem);
    free(problem);
    struct weir_hba *rules;
    if (!rules_read(conf, &rules, &problem))
        fprintf(stderr, "pgweir: %s\n", problem);
    free(problem);
    weir_hba_release(rules);
    int status = 1;
    if (load(&running.pq))
        status = ask(&running);
    else
        fputs("pgweir: " LIBPQ " cannot be loaded\n", stderr);
    free(running.last_error);
    weir_user_file_destroy(running.users);
    weir_conf_destroy(conf);
    return status;
}
