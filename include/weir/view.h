/* What an operator may see of the router: plain values, made while walking. The console, the metrics
 * and the status page all read this face, so that they cannot disagree.
 *
 * `each` is called once per row and must not change anything of the router. Pointers in a row are
 * valid during the call only. Times are microseconds; a `..._age` says how long ago from now.
 * None of it runs per query; a walk costs what there is to see. */
#ifndef WEIR_VIEW_H
#define WEIR_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/clock.h"
#include "weir/conf.h"
#include "weir/metrics.h"
#include "weir/net.h"
#include "weir/pool.h"
#include "weir/route.h"

/* Who has the server connections of a pool. */
struct weir_view_holders {
    int running;             /* the server works for the client */
    int idle_in_transaction; /* the client works */
    int slow_reader;         /* an answer waits for its client to read */
    int pinned;              /* kept at a transaction boundary: a pin, or session mode */
    int settling;            /* no client any more: drained, rolled back, cleaned */
    weir_usec oldest;        /* the longest time one has been held, 0: none */
};

/* What a client that wants a server connection would wait for now. */
enum weir_view_limit {
    WEIR_LIMIT_NONE,     /* it would get one, or one would be opened at once */
    WEIR_LIMIT_PAUSED,   /* PAUSE, or the database's */
    WEIR_LIMIT_FAILING,  /* the server cannot be reached; the next try comes after the pause */
    WEIR_LIMIT_OPENING,  /* server_connect_parallel logins are under way */
    WEIR_LIMIT_DELAY,    /* overflow_delay */
    WEIR_LIMIT_POOL,     /* pool_size + max_overflow */
    WEIR_LIMIT_DATABASE, /* max_db_connections */
    WEIR_LIMIT_USER,     /* max_user_connections */
    WEIR_LIMIT_GLOBAL,   /* max_server_connections */
};
/* "max_db_connections" and the like: what to raise, or what it waits for. */
const char *weir_view_limit_name(enum weir_view_limit limit);

struct weir_view_pool {
    const char *database;
    const char *user;
    const struct weir_pool_settings *settings;
    const struct weir_counters *counters;
    const struct weir_latency *latency;
    struct weir_pool_counts counts;
    struct weir_view_holders holders;
    int ceiling; /* pool_size + max_overflow, -1: no limit */
    int clients;
    int clients_active;    /* bound to a server connection */
    int clients_idle;      /* neither bound nor waiting */
    int clients_waiting;   /* counts.waiting, and those that wait at their login */
    int cancels_waiting;   /* cancel requests whose connection is being opened */
    int cancels_active;    /* and those that have been sent */
    int servers_cancelled; /* connections that wait for such a request to end */
    int servers_active, servers_idle, servers_used, servers_tested, servers_login, servers_closing;
    int pins;                   /* clients kept by state other than a transaction */
    enum weir_view_limit limit; /* what the next client would wait for */
    int cap_used, cap_limit;    /* of that limit, where it is a number */
    const char *problem;        /* the last error of connecting while it is failing, else NULL */
    bool paused;
};
void weir_view_pools(const struct weir_router *router,
                     void (*each)(void *context, const struct weir_view_pool *row), void *context);

/* One row for each line of [databases], and for each name that clients use through the line "*". */
struct weir_view_database {
    const char *name;
    const struct weir_database *line; /* NULL: the line is gone and the last clients are leaving */
    const struct weir_pool_settings *settings; /* resolved without a user */
    const char *host;                          /* all of them, comma list */
    int port;                                  /* of the first */
    const char *server_database;
    const char *force_user; /* NULL: none */
    int connections;        /* server connections */
    int clients;
    bool paused;
    bool disabled;
    bool automatic; /* from the line "*" */
};
void weir_view_databases(const struct weir_router *router,
                         void (*each)(void *context, const struct weir_view_database *row),
                         void *context);

/* One row for each user that the file, the auth_file or a pool names. */
struct weir_view_user {
    const char *name;
    const struct weir_pool_settings *settings; /* resolved without a database */
    bool overrides;                            /* has a line in [users] */
    int connections;
    int clients;
};
void weir_view_users(const struct weir_router *router,
                     void (*each)(void *context, const struct weir_view_user *row), void *context);

/* What a connection is doing, for both sides. */
struct weir_view_statement {
    const char *text; /* beginning of the last or running statement, NULL: not known */
    size_t length;
    weir_usec age; /* since it was sent */
    bool running;
};

struct weir_view_client {
    uint64_t id;
    const void *pointer;
    enum weir_client_state state;
    const char *database; /* NULL: not said yet */
    const char *user;
    const char *replication; /* "none", "logical", "physical" */
    const char *state_word;  /* active, idle, waiting, login, active_cancel_req... */
    const char *application_name;
    struct weir_address address, local_address;
    int64_t connected_at; /* wall clock, microseconds since 1970 */
    int64_t requested_at; /* last request, likewise; 0: none yet */
    weir_usec wait;       /* waits for a server connection this long, 0: does not */
    weir_usec state_age;
    int wait_position; /* 1 = next; 0: does not wait */
    uint32_t cancel_pid;
    uint64_t server_id; /* linked server connection, 0: none */
    const void *server_pointer;
    uint32_t backend_pid; /* of that connection, 0: none */
    size_t prepared_statements;
    size_t input_kept, output_unsent; /* bytes */
    uint32_t pins;                    /* WEIR_PIN_... */
    struct weir_view_statement statement;
    int descriptor;
    const char *tls_version, *tls_cipher; /* NULL: plain */
    bool console;
    uint32_t channels;              /* to which listen_hub listens for it */
    uint64_t notifications;         /* that it was sent on their account */
    uint32_t notifications_waiting; /* until it reads, or its transaction ends */
    size_t notifications_waiting_bytes;
};
void weir_view_clients(const struct weir_router *router,
                       void (*each)(void *context, const struct weir_view_client *row),
                       void *context);

/* The same in portions, for answers that are made over several turns: clients from the place *at on
 * (0 at first), about `limit` of them; *at becomes the next place. False: there are no more. Nobody
 * is told twice; who comes or goes between two calls may be told or not. */
bool weir_view_clients_some(const struct weir_router *router, uint64_t *at, size_t limit,
                            void (*each)(void *context, const struct weir_view_client *row),
                            void *context);

struct weir_view_server {
    uint64_t id;
    const void *pointer;
    const char *database;
    const char *user;
    const char *replication;
    const char *state_word; /* active, idle, used, tested, new, active_cancel, being_canceled,
                               closing */
    const char *doing; /* running, idle in transaction, slow reader, pinned, settling, idle... */
    const char *application_name;
    struct weir_address address, local_address;
    int64_t connected_at;
    int64_t requested_at;
    weir_usec held; /* bound for this long, 0: not bound */
    weir_usec state_age;
    bool close_needed;
    uint32_t backend_pid;
    uint64_t client_id;
    const void *client_pointer;
    size_t prepared_statements;
    size_t input_kept, output_unsent;
    uint64_t uses;
    uint32_t pins;
    struct weir_view_statement statement;
    int descriptor;
    const char *tls_version, *tls_cipher; /* NULL: plain */
};
void weir_view_servers(const struct weir_router *router,
                       void (*each)(void *context, const struct weir_view_server *row),
                       void *context);

/* State on a server connection that keeps its client there. */
enum weir_view_pin {
    WEIR_PIN_SQL_PREPARED = 1,
    WEIR_PIN_LISTEN = 2,
    WEIR_PIN_REPLICATION = 4,
    WEIR_PIN_ADVISORY_LOCK = 8,
    WEIR_PIN_HELD_CURSOR = 16,
    WEIR_PIN_TEMPORARY = 32,
    WEIR_PIN_SETTING = 64, /* one of a name that is not known was set */
    WEIR_PIN_SEQUENCE = 128,
    WEIR_PIN_SEED = 256,
    WEIR_PIN_LOADED = 512,
    WEIR_PIN_SESSION_MODE = 1024,
};
/* "advisory lock"; and what makes it go away: "pg_advisory_unlock_all(), or end the session". */
const char *weir_view_pin_name(enum weir_view_pin pin);
const char *weir_view_pin_release(enum weir_view_pin pin);

/* One row for each kind of pin of each pinned client. */
struct weir_view_pin_row {
    uint64_t client_id, server_id;
    const char *database;
    const char *user;
    const char *application_name;
    enum weir_view_pin pin;
    uint32_t backend_pid;
    weir_usec age;
    struct weir_view_statement statement; /* the one after which the state was found */
};
void weir_view_pins(const struct weir_router *router,
                    void (*each)(void *context, const struct weir_view_pin_row *row),
                    void *context);

/* One connection that listens for clients (listen_hub), or would. */
struct weir_view_hub {
    const char *database;   /* as the server knows it */
    const char *host;       /* "one:5432,two:5432" */
    const char *user;       /* as whom it logs in, NULL: nobody now */
    const char *state_word; /* down, connecting, listening */
    uint32_t backend_pid;   /* 0: none */
    int64_t up_since;       /* wall clock, 0: is not up */
    uint32_t channels, listeners;
    uint64_t notifications, deliveries; /* heard, and sent to clients */
    uint64_t waiting;                   /* of those to be sent */
    size_t waiting_bytes;
    uint64_t losses;     /* times it was lost */
    const char *problem; /* the last one, NULL: none */
};
void weir_view_hubs(const struct weir_router *router,
                    void (*each)(void *context, const struct weir_view_hub *row), void *context);

/* A text that clients have prepared by name. */
struct weir_view_prepared {
    const char *text;
    size_t length;
    uint64_t id;    /* number of the text since start */
    int clients;    /* names that clients have for it */
    int servers;    /* connections that have it prepared now */
    uint64_t binds; /* since it is known */
};
/* In portions, as weir_view_clients_some: clients can make any number of them. */
bool weir_view_prepared_some(const struct weir_router *router, uint64_t *at, size_t limit,
                             void (*each)(void *context, const struct weir_view_prepared *row),
                             void *context);

/* The last events of pools, newest first; kept in a ring of fixed size. */
struct weir_view_event {
    int64_t at; /* wall clock, microseconds since 1970 */
    uint64_t number;
    const char
        *event; /* connect, close, refuse, timeout, invalidate, pin, unpin, pause, reload... */
    const char *database;
    const char *user;
    uint64_t client_id, server_id;
    const char *reason; /* name of the row of the table of reasons, or "" */
    const char *detail;
};
void weir_view_events(const struct weir_router *router,
                      void (*each)(void *context, const struct weir_view_event *row),
                      void *context);

/* Totals since start per database name, which never go backwards, and their growth per second over
 * the last stats_period that ended. The row "" of weir_view_stats_all is all of them together. */
struct weir_view_stats {
    const char *database;
    struct weir_counters total;
    struct weir_counters before; /* at the end of the last period but one */
    struct weir_counters last;   /* at the end of the last period */
    weir_usec period;            /* between the two, 0: no period has ended yet */
};
void weir_view_stats(const struct weir_router *router,
                     void (*each)(void *context, const struct weir_view_stats *row), void *context);
void weir_view_stats_all(const struct weir_router *router, struct weir_view_stats *row);

/* The daemon as a whole. */
struct weir_view_daemon {
    const struct weir_conf *conf;
    const struct weir_counters *counters;
    const struct weir_latency *latency;
    const struct weir_histogram *turns; /* lengths of the loop's turns */
    weir_usec longest_turn;             /* since start */
    weir_usec uptime;
    int64_t started_at;         /* wall clock */
    int64_t reloaded_at;        /* last reload that succeeded, or started_at */
    const char *reload_problem; /* why the last reload failed, NULL: it did not */
    int databases, users, pools;
    int clients, clients_logging_in, servers;
    int prepared_texts;
    bool draining, paused, suspended;
};
void weir_view_daemon(const struct weir_router *router, struct weir_view_daemon *row);

#endif
