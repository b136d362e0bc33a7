/* A PostgreSQL server of a few commands in the loop of the test: enough of it that a pooler in
 * front can be told from none. It keeps statements, portals, settings and transactions for each
 * connection, skips to Sync after an error, and refuses what PostgreSQL refuses.
 *
 * Commands, at the start of a query's text:
 *   begin, commit, rollback       as they are
 *   fail                          ERROR 42P01; fail_parse and fail_bind at that message
 *   sleep                         no answer until a cancel request or fake_postgres_wake; the end
 *                                 of the connection is not noticed meanwhile
 *   die, vanish                   FATAL 57P01 and end of file, or end of file alone
 *   copyin, copyout               COPY; a line with "bad" in it fails
 *   set NAME=VALUE, reset NAME, reset all, discard all, set_config(...), ... pg_settings ...
 *   prepare NAME as TEXT, execute NAME, deallocate NAME, deallocate all, listen NAME
 *   notify NAME TEXT              tells every connection that has said listen NAME, when it is idle
 *   empty                         the empty query
 * Anything else gives one row: its own text and the pid of the connection. A text with "shifty" in
 * it changes its column type with `shape`. */
#ifndef WEIR_TEST_FAKE_POSTGRES_H
#define WEIR_TEST_FAKE_POSTGRES_H

#include "weir/list.h"
#include "weir/net.h"

struct fake_text {
    char *name;
    char *text;
};

struct fake_texts {
    struct fake_text *items;
    size_t count;
};

enum fake_copy { FAKE_COPY_NONE, FAKE_COPY_SIMPLE, FAKE_COPY_EXTENDED };

struct fake_backend {
    struct weir_stream stream;
    struct weir_list link; /* postgres->backends */
    struct fake_postgres *postgres;
    struct ev_timer trickle;
    struct weir_buffer out;
    uint32_t pid;
    bool started;
    bool closing;
    bool skipping;   /* to Sync */
    bool batch_open; /* extended messages came after the last Sync */
    bool sleeping;
    bool sleep_extended;
    enum fake_copy copy;
    char status;
    struct fake_texts statements;
    struct fake_texts portals;
    struct fake_texts settings;
    struct fake_texts channels;
    long sent;       /* bytes since login */
    char *messages;  /* types since login, in order */
    size_t received; /* their number */
};

struct fake_postgres {
    struct weir_loop *loop;
    int fd;
    int port;
    ev_io accepting;
    struct weir_list backends;
    uint32_t next_pid;
    int opened;       /* connections that logged in */
    int cancels;      /* cancel requests that hit a sleeper */
    int late_batches; /* messages of a new batch while an older one had no Sync */
    size_t statements_peak;
    size_t key_length; /* of cancel keys */
    size_t trickle;    /* output comes so many bytes a turn, 0: at once */
    long vanish_after; /* bytes after login: then the connection ends; -1: never */
    int vanish_at;     /* messages after login: then the connection ends; -1: never */
    int shape;
    const char *refuse_login; /* SQLSTATE with which logins are refused, or NULL */
};

/* Listens at a free port of 127.0.0.1. */
void fake_postgres_open(struct fake_postgres *postgres, struct weir_loop *loop);
/* Listens nowhere: connections are handed to it. */
void fake_postgres_init(struct fake_postgres *postgres, struct weir_loop *loop);
void fake_postgres_accept(struct fake_postgres *postgres, int fd);
void fake_postgres_close(struct fake_postgres *postgres);
/* Sleepers go on. */
void fake_postgres_wake(struct fake_postgres *postgres);
/* Ends every connection, with a FATAL when `say`. */
void fake_postgres_end_all(struct fake_postgres *postgres, bool say);
size_t fake_postgres_count(const struct fake_postgres *postgres);
/* The only connection, or the one with `pid`; NULL when there is none. */
struct fake_backend *fake_postgres_find(const struct fake_postgres *postgres, uint32_t pid);
const char *fake_texts_find(const struct fake_texts *texts, const char *name);

#endif
