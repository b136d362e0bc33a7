/* Private to the route room: its objects and which file moves them.
 *
 *   router.c        the router, its clock tick, reaping
 *   destination.c   (database, user) -> pool
 *   admission.c     who may come in, welcome   lookup.c        users from a database
 *   access.c        rules of who may come in   verdict.c       passwords judged by PAM or LDAP
 *   binding.c       bind, wait, refuse, unbind
 *   client_relay.c  messages of clients        server_relay.c  messages of servers
 *   statement.c     prepared statement names   cancel.c        cancel requests
 *   unnamed.c       the unnamed statement      shape.c         digests of descriptions
 *   settings.c      session settings           initial.c       those of connect_query
 *   learning.c      asking which state holds
 *   custom.c        those with names of clients' own
 *   effects.c       what texts leave behind     sequences.c    what currval goes by
 *   settling.c      a server after its client  upkeep.c        time-outs
 *   report.c        what SIGUSR1 shows         drain.c         reload and shutdown
 *   strangers.c     who may connect, places    delay.c         logins that wait for failed ones
 *   console.c       clients of the console     operator.c      what an operator may do
 *   running.c       the statement that runs    pins.c          what keeps a client where it is
 *   events.c        the last events            stats.c         totals that outlive pools
 *   view*.c         what operators see         server_error.c  errors of servers for clients
 *   hub.c           LISTEN without a connection of one's own, with:
 *   watching.c      a server connection while its client is at work
 *   handover.c      and after that             notices.c       texts with LISTEN or NOTIFY
 *
 * What only some of them need to know of others is in login.h (logins), state.h (session state),
 * statement.h (prepared statements), hub.h, handover.h and view.h.
 */
#ifndef WEIR_ROUTE_ROUTER_H
#define WEIR_ROUTE_ROUTER_H

#include <string.h>
#include <uthash.h>

#include "effects.h"
#include "events.h"
#include "gather.h"
#include "hub.h"
#include "pins.h"
#include "reply_queue.h"
#include "stats.h"
#include "weir/backend.h"
#include "weir/conf.h"
#include "weir/control.h"
#include "weir/log.h"
#include "weir/memory.h"
#include "weir/metrics.h"
#include "weir/pool.h"
#include "weir/route.h"
#include "weir/session.h"
#include "weir/strangers.h"
#include "weir/verify.h"

/* What a handler leaves behind. */
enum step {
    STEP_MORE, /* go on with the bytes that are left */
    STEP_WAIT, /* more bytes or an event are needed; keep what is left */
    STEP_GONE, /* the object must not be touched any more */
};

/* A cap that is shared by name: of a database or of a user. */
struct named_cap {
    UT_hash_handle hh;
    struct weir_pool_cap servers;
    int client_limit; /* 0: none */
    int clients;
    int pools;   /* of a user */
    bool paused; /* of a database: its pools, and those that are created later, give nothing */
    bool paused_by_name; /* why it is paused: one of these, or both */
    bool paused_with_all;
    bool disabled;                 /* of a database: no new logins */
    struct weir_list destinations; /* of a database: destination.by_database; else not linked */
    struct database_stats *stats;  /* of a database, else NULL */
    char name[];
};

/* Everything for one (database, user): the pool, how to log in, what the server reports. */
struct destination {
    UT_hash_handle hh;
    struct weir_router *router;
    struct weir_pool *pool;
    struct weir_pool_limits limits;
    struct weir_pool_settings settings;
    const struct weir_database *line; /* in router->conf, NULL when a reload removed it */
    struct weir_server_target target;
    struct weir_credentials credentials;
    bool proven;  /* those are of a client's own proof, as what auth_file does not know */
    bool outside; /* and that was judged by PAM or LDAP */
    struct named_cap *database_cap;
    struct named_cap *user_cap;
    char *database; /* as clients name it */
    char *user;
    char *server_database;
    char *server_user;
    struct weir_list servers;          /* server.link */
    struct weir_parameters parameters; /* of the newest server connection, before any setting */
    bool parameters_known;             /* a server of this destination is alive and told us */
    struct greeting *greetings;        /* ParameterStatus of validated settings */
    struct custom_names *custom;       /* settings with names of clients' own, or NULL */
    struct effects *effects;           /* of texts, or NULL */
    weir_usec warned_of_pins_at;       /* last, 0: never */
    bool sequences_matter;             /* a client has used currval or lastval */
    struct hub *hub;                   /* NULL: LISTEN keeps clients on their server connections */
    struct weir_buffer last_error;     /* body of the last ErrorResponse at login */
    char *last_problem;                /* its text, or what else went wrong */
    enum weir_reason last_reason;
    struct weir_list by_database; /* database_cap->destinations */
    struct weir_counters counters;
    struct weir_latency latency;
    int clients;
    weir_usec empty_since;
    char key[]; /* database, zero byte, user: with its length the hash key */
};

enum server_phase {
    SERVER_LOGIN,    /* connecting and logging in */
    SERVER_LEARNING, /* asked which settings connect_query has left */
    SERVER_IDLE,     /* in the pool */
    SERVER_BOUND,    /* has a client */
    SERVER_SETTLING, /* its client is gone: drained, rolled back, cleaned */
    SERVER_PINGING,
    SERVER_CLOSING, /* told to go; counts until the server has closed */
    SERVER_CLOSED,  /* freed at the end of the turn */
};

enum copy_state {
    COPY_NONE,
    COPY_IN,       /* the server waits for the client's data */
    COPY_IN_ENDED, /* CopyDone or CopyFail is on its way */
    COPY_OUT,
    COPY_BOTH,
};

/* Where the client is in the extended protocol. */
enum pipeline_state {
    PIPELINE_IDLE,     /* nothing since the last Sync or simple query */
    PIPELINE_BATCH,    /* messages whose Sync is still to come: the connection stays the client's */
    PIPELINE_SKIPPING, /* after an error the server skips everything up to Sync */
};

/* State on the server that belongs to its client and keeps the two together. */
enum pin {
    PIN_SQL_PREPARED = 1, /* a statement under the client's own name */
    PIN_LISTEN = 2,
    PIN_REPLICATION = 4, /* the connection is the client's for good */
    PIN_ADVISORY_LOCK = 8,
    PIN_HELD_CURSOR = 16,
    PIN_TEMPORARY = 32,
    PIN_SETTING = 64,   /* a setting whose name is not known */
    PIN_SEQUENCE = 128, /* what currval and lastval go by */
    PIN_SEED = 256,
    PIN_LOADED = 512, /* a library */
};
/* Those of which the server says whether they still hold. */
#define PINS_ASKED                                                                                 \
    (PIN_SQL_PREPARED | PIN_LISTEN | PIN_ADVISORY_LOCK | PIN_HELD_CURSOR | PIN_TEMPORARY)
/* Those that nothing undoes but the end of the connection. */
#define PINS_LASTING (PIN_SEED | PIN_LOADED)

/* What the server connection must have undone or asked before anybody else gets it. */
enum dirt {
    DIRT_SETTINGS = 1, /* SET or the like was seen: ask what holds now */
    DIRT_STATE = 2,    /* pinned state: reset before reuse */
    DIRT_RESET = 4,    /* with DIRT_SETTINGS: RESET was seen */
    DIRT_UNSEEN = 8,   /* what a text leaves behind is not known: ask, effects.h */
};

/* What the question answers. */
#define DIRT_ASK (DIRT_SETTINGS | DIRT_UNSEEN)

/* How far a server without a client has been cleaned. */
enum clean_step { CLEAN_DRAIN, CLEAN_ROLLBACK, CLEAN_ASK, CLEAN_RESET, CLEAN_RESTORE };

/* Where the rest of a message that is passing through goes. */
enum body_sink { BODY_PASS, BODY_DROP };

struct server {
    struct weir_server base;
    struct weir_pool_server slot;
    struct weir_router *router;
    struct destination *destination;
    struct client *client;
    const struct weir_profile *settings; /* what the connection has now */
    const struct weir_profile *initial;  /* what connect_query has set; NULL: nothing */
    struct reply_queue replies;
    struct weir_list link; /* destination->servers; router->doomed_servers when closed */
    uint32_t body_left;
    enum body_sink body_sink : 8;
    enum server_phase phase : 8;
    enum copy_state copy : 8;
    enum pipeline_state pipeline : 8;
    enum clean_step clean_step : 8;
    uint16_t pins;         /* see pins_set */
    uint16_t pins_learned; /* rows of the question so far */
    uint8_t dirt;
    char status;          /* of the last ReadyForQuery: I, T or E */
    bool tell_parameters; /* settings of the login come back after RESET: the client is told */
    bool discarded;       /* DISCARD ALL is being answered: prepared statements go */
    bool unknown;         /* the question for the settings failed */
    bool names_in_doubt;  /* a DEALLOCATE or DISCARD is on its way */
    bool sets;            /* the present binding may SET something for the session */
    bool unread;          /* a part of a query's text was not seen */
    bool timed_out;       /* the running query is being cancelled by query_timeout */
    bool farewell;        /* the server said FATAL: it will close */
    bool unprompted;      /* the question is asked although no text or tag suggests it */
    uint8_t hurried;      /* so often the question was cancelled: asked again without a time-out */
    bool proven;          /* all of `settings` is set in the session, nothing is its default */
    bool sequences;       /* values of sequences were taken since the last DISCARD SEQUENCES */
    bool unnamed_changed; /* the unnamed statement is not what its client was told */
    bool portal_of_unnamed;    /* the unnamed portal was bound to the unnamed statement */
    bool hub_quiet;            /* what was notified before the present client is heard by the hub */
    uint32_t names_unanswered; /* Parses and Closes of names on their way */
    uint32_t sql_prepared;     /* statements under the client's own names */
    uint32_t answered;         /* queries and Syncs of the present binding */
    uint64_t binding;          /* number of the current binding, for eviction */
    uint8_t resets;            /* enum sql_reset: what the running query undoes, 0 for others */
    struct effects_unseen unseen;    /* texts of the present binding */
    uint32_t unsampled;              /* transactions since the last question */
    uint64_t checked_version;        /* copy that was made to be compared for the present client */
    uint64_t unnamed_version;        /* whose unnamed statement it holds, 0 for none of ours */
    struct prepared *prepared;       /* hash by statement */
    struct weir_list prepared_order; /* prepared.link, least recently used first */
    struct weir_list prepared_unclosed; /* prepared.link, retired but perhaps still on the server */
    struct weir_list prepared_dead;     /* prepared.link, no longer usable, freed at rest */
    uint32_t prepared_count;
    uint64_t parameters; /* digest, of the description being read */
    struct weir_cancel *cancel;
    struct weir_server_target *replication; /* how a replication connection logs in, else NULL */
    const struct weir_profile *learned;     /* rows of the settings question so far */
    const struct weir_profile
        *spelled;                /* settings that are being applied, as the server has them */
    struct weir_buffer suspects; /* names that may be of settings, zero after each: custom.c */
    struct weir_buffer trouble;  /* body of the error that answered one of our own queries */
    weir_usec asked_at;          /* which state the session has */
    weir_usec bound_at;
    weir_usec began_at;    /* the transaction began, 0: none since the last one ended */
    weir_usec query_at;    /* the running query began */
    weir_usec idle_at;     /* the last one ended */
    weir_usec busy_usec;   /* of this transaction: between queries and their answers */
    weir_usec client_usec; /* and of that the client did not read */
    weir_usec paused_at;   /* since when it does not, while the stream is paused */
    weir_usec phase_at;    /* pinging, settling or closing began */
    weir_usec deadline;    /* of login, ping or settling; 0: none */
    int64_t connected_at;  /* wall clock */
    char *text;            /* of the statement that ran last, running.c */
    struct statement *text_of;
    uint32_t text_length;
    uint32_t text_room;     /* 0: not to be written as it is */
    uint32_t text_capacity; /* what is allocated */
    struct pin_notes *pin_notes;
    struct handover *handover; /* what it does for the hub, or NULL */
    enum weir_reason close_reason;
};

/* What a client's input is for, besides the plain case. */
enum intake {
    INTAKE_NORMAL,
    INTAKE_REFUSED,      /* the next message is the one that was refused */
    INTAKE_SKIP_TO_SYNC, /* we refused the batch: drop up to Sync, answer that with ReadyForQuery */
};

/* What a connection takes a place among. */
enum place {
    PLACE_STRANGER, /* it has proven nothing yet */
    PLACE_CLIENT,   /* of max_client_conn */
    PLACE_CONSOLE,  /* of max_console_connections */
    PLACE_COUNT
};

/* What a client of the console has in place of a destination. */
struct console_seat {
    char *database;
    char *user;
    enum weir_console_rights rights;
    bool own_user;         /* over the Unix socket, by the user id of this process */
    bool attached;         /* the console has been told of it and has not dismissed it */
    enum weir_reason ends; /* why it is to be ended later in this turn, WEIR_REASON_COUNT: is not */
};

struct client {
    struct weir_client base;
    struct weir_router *router;
    struct destination *destination;
    struct console_seat *console; /* NULL: asks for no console. Then it does not count */
    struct server *server;
    const struct weir_profile *startup;  /* as asked at login: what RESET goes back to */
    const struct weir_profile *settings; /* its own, as they are now */
    const struct weir_profile *unset;  /* settings of a connect_query that it has RESET, or NULL */
    const struct weir_profile *merged; /* its own over `over`, made when first needed, or NULL */
    const struct weir_profile *over;   /* server->initial of its last server */
    struct weir_pool_waiter waiter;
    struct weir_list link;               /* router->clients or router->doomed_clients */
    struct weir_task resume;             /* looks at kept input again, later in this turn */
    struct lookup *lookup;               /* while it logs in, or NULL */
    struct access *access;               /* while it logs in by a rule, or NULL */
    struct delay *delay;                 /* while its login is made to wait, or NULL */
    struct verdict *verdict;             /* likewise */
    struct listener *listener;           /* its channels in a hub, or NULL */
    struct client_statement *statements; /* hash by name */
    struct client_statement *unnamed;
    struct client_statement *deallocating; /* named by a DEALLOCATE under way */
    uint32_t body_left;
    enum body_sink body_sink : 8;
    enum intake intake : 8;
    enum place place : 8;
    bool cancel_wanted;     /* what is kept of its input is to be cancelled when it is sent */
    bool counted;           /* in the client counts of its destination */
    bool input_blocked;     /* reading is paused until the server side drains */
    bool unnamed_pending;   /* to be described by us before the next Execute or Sync */
    bool keeps_unnamed;     /* bound one later that nobody had described */
    bool logical;           /* replication=database */
    bool ready_withheld;    /* ReadyForQuery has come and is told when the hub has its channels */
    uint32_t position;      /* in the queue, while a view is made */
    weir_usec since;        /* when the present state began, coarse */
    weir_usec requested_at; /* the last request of the last transaction, 0: none */
    int64_t connected_at;   /* wall clock */
};

struct weir_router {
    struct weir_loop *loop;
    struct weir_conf *conf;
    struct weir_auth_context *auth;
    struct weir_user_file *users;
    struct weir_hba *rules; /* NULL: none were read */
    struct weir_control *control;
    struct weir_verify *verify;
    enum weir_secret_kind usual_secret; /* of whom auth_query found last */
    struct weir_client_tls client_tls;
    struct weir_profile_set *profiles;
    struct weir_pool_group *group;
    struct destination *destinations;
    struct hub *hubs;
    struct named_cap *database_caps;
    struct named_cap *user_caps;
    struct weir_pool_cap all_servers; /* max_server_connections */
    struct statement *statements;     /* the dictionary */
    struct weir_list logging_in;      /* weir_client.link */
    struct weir_list clients;         /* client.link: logged in, but for the console's */
    struct weir_list consoles;        /* client.link: logged in at the console */
    struct weir_list doomed_clients;
    struct weir_list doomed_servers;
    struct weir_task reap;
    struct weir_task decide;
    ev_timer tick;
    struct client **slots; /* cancel pid -> client: the low bits of the pid are the index */
    uint32_t slot_count;
    uint32_t slot_next;
    int places[PLACE_COUNT]; /* taken; only strangers_take_place and the ends of life change it */
    struct weir_strangers *strangers;
    struct weir_list delays; /* delay.link */
    weir_usec full_told_at;  /* the last line about strangers that were too many */
    const struct weir_console_ops *console_ops;
    void *console_context;
    struct weir_task console_ends; /* ends those whose seat says so */
    char *reload_problem;          /* NULL: the last reload succeeded */
    struct retired *retired;       /* snapshots that logins under way may still use */
    uint64_t ticks;
    uint64_t next_client_id;
    uint64_t next_server_id;
    uint64_t next_version;
    uint64_t next_binding;
    uint64_t next_text;
    uint64_t next_generation; /* of what texts leave behind */
    struct weir_counters counters;
    struct stats *stats;
    struct events *events;
    weir_usec started_at;
    int64_t wall_offset;     /* of the wall clock from loop->now, refreshed now and then */
    int64_t wall_started_at; /* wall clock */
    int64_t wall_reloaded_at;
    weir_usec longest_turn; /* since the last report */
    weir_usec longest_ever;
    bool draining;
    bool paused;             /* what a database that nobody has named yet is; likewise... */
    bool disabled;           /* ...this */
    bool suspended;          /* no client is read beyond the message that is under way */
    struct gather to_server; /* one for each direction: a relay never nests in its own kind */
    struct gather to_client;
};

/* --- router.c ------------------------------------------------------------------------------------
 */

/* Runs the pool's decisions later in this turn. */
void router_decide_later(struct weir_router *router);
/* Unlinks from everything and frees at the end of the turn. The stream must be closed. */
void router_doom_client(struct client *client);
void router_doom_server(struct server *server);
void router_who_client(const struct client *client, struct weir_log_who *who, char *peer,
                       size_t peer_size);
void router_who_server(const struct server *server, struct weir_log_who *who, char *peer,
                       size_t peer_size);
/* echo_pool: one line per pool event. */
void router_echo_loudly(const struct server *server, const char *event, const char *detail);
static inline void router_echo(const struct server *server, const char *event, const char *detail)
{
    if (__builtin_expect(server->destination->settings.echo_pool != WEIR_ECHO_OFF, 0))
        router_echo_loudly(server, event, detail);
}

/* --- console.c ------------------------------------------------------------------------- */

/* There is a console and this is one of its databases. */
bool console_is_named(const struct weir_router *router, const char *database);
/* The startup packet asks for the console. Nobody is told yet whether he may. */
bool console_admit(struct client *client, struct weir_admission *admission);
void console_logged_in(struct client *client);
void console_cancel(struct client *client);
/* Ends one with its last words: later in this turn, because the console may be the caller... */
void console_end_later(struct client *client, enum weir_reason reason);
/* ...and at once. */
void console_end(struct client *client, enum weir_reason reason);
void console_run_ends(struct weir_task *task);
void console_free_seat(struct client *client);

/* --- destination.c --------------------------------------------------------------------- */

/* What all pools of the database share; made when it is named for the first time. */
struct named_cap *destination_database_cap(struct weir_router *router, const char *name);
/* Finds or creates; NULL when the database is unknown. */
struct destination *destination_get(struct weir_router *router, const char *database,
                                    const char *user);
/* Reads settings, limits and target anew from the router's configuration. True: the target differs.
 */
bool destination_configure(struct destination *destination);
/* Opens a server connection for the pool (DO_OPEN). */
void destination_open(struct destination *destination);
/* Opens one for a replication client; NULL when the pool is full. */
struct server *destination_open_replication(struct destination *destination, struct client *client);
/* The login of this server took longer than server_connect_timeout. */
void destination_login_timed_out(struct server *server);
/* connect_query has succeeded and the question for the settings is answered, with an error perhaps.
 */
void destination_learned(struct server *server);
/* The connection ended before that. */
void destination_learning_failed(struct server *server, enum weir_reason reason);
void destination_destroy(struct destination *destination);
/* Destinations without clients and servers for a long time go. */
void destination_collect(struct weir_router *router);

/* --- binding.c ------------------------------------------------------------------------- */

/* The client needs a server: MORE = it has one now, WAIT = it waits (or is held), GONE = refused
 * and closed. */
enum step binding_want(struct client *client);
/* Joins the two and brings the settings in step. Returns as binding_want. */
enum step binding_bind(struct client *client, struct server *server);
/* True when nothing of the client is on the server any more. */
bool binding_is_over(const struct server *server);
/* Takes the two apart at a transaction boundary; the server goes back to the pool. */
void binding_release(struct server *server);
/* Takes the two apart before anything of the client was asked; the server is settled. */
void binding_detach(struct server *server);
/* Takes the two apart because the client goes: the server is settled. */
void binding_abandon(struct client *client, enum weir_reason reason);
/* ERROR and ReadyForQuery in answer to what the client asked; its session goes on. */
void binding_refuse(struct client *client, enum weir_reason reason, const char *text,
                    const char *detail, const char *hint);
/* Refused with the server's own error (body of an ErrorResponse), severity ERROR. */
void binding_refuse_as_server(struct client *client, enum weir_reason reason, const uint8_t *body,
                              size_t length);
/* Ends a client: tells it the reason if the reason has an SQLSTATE, closes when output has drained.
 */
void binding_end_client(struct client *client, enum weir_reason reason, const char *text);
/* The client has nothing on the connection: when that ends it gets another one. */
bool binding_is_unconcerned(const struct server *server, const struct client *client);
/* A connection to the server ended or must end, whatever it was doing. */
void binding_lose_server(struct server *server, enum weir_reason reason);
/* Carries out one decision of the pool. */
void binding_decide(struct weir_router *router, const struct weir_pool_decision *decision);

/* --- client_relay.c, server_relay.c ---------------------------------------------------- */

void client_relay_event(struct weir_stream *stream, unsigned events);
/* Looks at the kept input of the client, as if it had just come. */
void client_relay_resume(struct weir_task *task);
/* The client has got its server connection, and settings for it are gathered whose answer nobody waits
 * for: they are sent together with what the client has asked for. To be called by a task of the loop,
 * not while anything of a client or server is being relayed. */
void client_relay_begin(struct client *client);
/* RESET goes back to what the client asked for at its login, which the server does not know: it is
 * applied before anything else of this client. False: the client is held until that is answered. */
bool client_relay_has_own_settings(struct client *client);
void server_relay_event(struct weir_stream *stream, unsigned events);
/* Everything read has been dealt with: is the server free, or due for its next step? */
void server_at_rest(struct server *server);
/* Passes an ErrorResponse on: as the server said it, but for what only pgweir can know. */
void server_error_forward(struct server *server, const struct reply *head,
                          const struct weir_error_fields *fields, const uint8_t *message,
                          uint32_t total);
/* Reads from the server again, if that was paused for a slow client. */
void server_resume_slowly(struct server *server);
static inline void server_resume(struct server *server)
{
    if (__builtin_expect(server->base.stream.paused, 0))
        server_resume_slowly(server);
}
/* An ordered reply is due: queue it. */
void server_expect(struct server *server, enum reply_kind kind, enum reply_action action,
                   enum reply_purpose purpose, void *subject);

/* --- statement.c ----------------------------------------------------------------------- */

/* One text with its parameter types, shared by all clients. */
struct statement {
    UT_hash_handle hh;
    uint32_t references;
    uint32_t length;  /* of the body; the key goes on with the search_path */
    uint32_t clients; /* names that clients have for it */
    uint32_t servers; /* connections that have it prepared */
    uint64_t binds;
    uint64_t id;
    uint64_t print;       /* sql_fingerprint of the text */
    uint64_t harmless_in; /* struct effects.generation in which it leaves nothing behind */
    uint8_t mentions;     /* of the text, enum sql_mention */
    uint8_t body[];       /* as in Parse, after the name: text, zero byte, number of types, types */
};

/* A name in a client's namespace. `version` numbers the client's own Parse: a server's copy that
 * was analysed before it is older than what the client asked for. `shape` is a digest of the
 * description that the client was given, 0 when it never asked for one; `columns` of its columns alone
 * when it asked for that of a portal. */
struct client_statement {
    UT_hash_handle hh;
    struct statement *statement;
    uint64_t version;
    uint64_t shape;
    uint64_t columns;
    bool confirmed;    /* ParseComplete was seen */
    bool referred;     /* a reply on its way may point here */
    bool materialised; /* it is on the bound server under the client's own name, too */
    char name[];
};

/* A statement that a server connection holds under a private name made of `version`. */
struct prepared {
    UT_hash_handle hh;
    struct weir_list link;
    struct statement *statement;
    uint64_t version;
    uint64_t shape;
    uint64_t binding; /* last binding that used it: never evicted within it */
    bool confirmed;
    char name[24];
};

/* Each takes one whole message (header included) of a bound client and emits to router->to_server.
 */
enum step statement_parse(struct client *client, const uint8_t *message, uint32_t total);
enum step statement_bind(struct client *client, const uint8_t *message, size_t have,
                         uint32_t total);
enum step statement_describe(struct client *client, const uint8_t *message, uint32_t total);
enum step statement_close(struct client *client, const uint8_t *message, uint32_t total);
/* A simple query or Parse text begins with EXECUTE, DEALLOCATE or PREPARE: names are one namespace
 * with protocol-level names, so the named one is put on the server under the client's own name. */
enum step statement_sql(struct client *client, const char *text, size_t length);
/* Results, in queue order. */
void statement_on_success(struct server *server, const struct reply *reply);
void statement_on_dropped(struct server *server, const struct reply *reply);
void statement_on_description(struct server *server, const struct reply *reply,
                              const uint8_t *columns, size_t length);
/* An error text with a private name in it: the same with the client's name, to be freed; NULL when
 * there is none. */
char *statement_public_text(const struct server *server, const char *text);
/* CommandComplete tags. */
void statement_on_deallocate(struct server *server);
void statement_on_deallocate_all(struct server *server);
/* The client goes: its names go, entries in flight forget them. */
void statement_forget_client(struct client *client);
void statement_forget_unnamed(struct client *client);
/* An unnamed statement larger than client_memory_limit is not kept beyond its transaction. */
void statement_trim_unnamed(struct client *client);
void statement_forget_server(struct server *server);
/* Frees copies that were dropped, when nothing in flight can refer to them. */
void statement_at_rest(struct server *server);

/* --- unnamed.c ------------------------------------------------------------------------- */

/* Asks for the description of an unnamed statement that may be kept, before an Execute (which may
 * begin a COPY, where nothing can be asked) or Sync is sent. */
void unnamed_describe_pending(struct client *client);

/* --- settling.c ------------------------------------------------------------------------ */

/* The client has gone; the server finishes what runs, then is cleaned and reused or closed. */
void settling_begin(struct server *server, bool cancel);
/* The server has entered COPY FROM STDIN for a client that has gone. */
void settling_refuse_copy(struct server *server);
/* Something was answered: the next step. The server may be closed afterwards. */
void settling_go_on(struct server *server);

/* --- cancel.c -------------------------------------------------------------------------- */

void cancel_assign_key(struct client *client);
void cancel_forget_key(struct client *client);
void cancel_request(struct weir_router *router, uint32_t pid, const uint8_t *key, size_t length);
/* Cancels what runs on the server now. No-op when a cancel is under way. */
void cancel_server(struct server *server);

/* --- upkeep.c -------------------------------------------------------------------------- */

void upkeep_tick(struct weir_router *router);

/* --- drain.c --------------------------------------------------------------------------- */

/* Pools that the file asks to have, clients or not; those are never collected. */
void drain_create_pools(struct weir_router *router);
bool drain_keeps(const struct destination *destination);
void drain_free_retired(struct weir_router *router);

/* --- operator.c ------------------------------------------------------------------------ */

/* Clients are read again. */
void operator_end_suspension(struct weir_router *router);

/* --- running.c ------------------------------------------------------------------------- */

void running_note_slowly(struct server *server, const uint8_t *text, size_t length);
/* A statement was sent whose text begins so. What is noted may be longer than settings that changed
 * meanwhile allow. */
static inline void running_note(struct server *server, const uint8_t *text, size_t length)
{
    if (__builtin_expect(length >= server->text_room, 0)) {
        running_note_slowly(server, text, length);
        return;
    }
    memcpy(server->text, text, length);
    server->text_length = (uint32_t)length;
}
/* A prepared statement of the dictionary was sent; server->text_of tells when it is the same. */
void running_refer_to(struct server *server, struct statement *statement);
void running_forget(struct server *server);
/* The statement that runs or ran last; *length 0: not known. Not zero-terminated. */
void running_text(const struct server *server, const char **text, size_t *length);

#endif
