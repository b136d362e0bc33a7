/* A router between raw clients and a fake PostgreSQL server, all in one loop. */
#ifndef WEIR_TEST_ROUTE_WORLD_H
#define WEIR_TEST_ROUTE_WORLD_H

#include <criterion/criterion.h>

#include "fake_postgres.h"
#include "router.h"

#define TRANSCRIPT 16384

struct raw_client {
    int fd;
    struct weir_buffer in;
    char transcript[TRANSCRIPT]; /* of what came since it was last looked at */
    int ready;                   /* ReadyForQuery messages, likewise */
    int errors;                  /* ErrorResponses, likewise */
    int fatal;                   /* those that say FATAL */
    bool over;                   /* end of file was seen */
    uint32_t pid;                /* from BackendKeyData */
    uint8_t key[WEIR_CLIENT_KEY_MAX];
    size_t key_length;
    uint32_t server;   /* pid in the last row */
    char message[256]; /* of the last ErrorResponse */
};

extern struct world {
    struct weir_loop loop;
    struct fake_postgres postgres;
    struct weir_router *router;
} world;

/* `settings` are lines of [pgweir] besides trust and the pool's size of one. */
void world_open(const char *settings);
/* The same with the lines of an auth_file. "auth_type = ..." in `settings` replaces trust. */
void world_open_as(const char *settings, const char *users);
/* The last line of a test: also checks that nothing leaked, where the build can tell. */
void world_close(void);
/* For a TestSuite: opens without more settings. */
void world_init(void);

void world_turns(int turns);
/* Runs the loop until the condition holds; fails the test after some seconds. */
#define world_until(condition)                                                                     \
    do {                                                                                           \
        weir_usec world_limit = weir_clock_now() + 10 * WEIR_SEC;                                  \
        while (!(condition)) {                                                                     \
            cr_assert_lt(weir_clock_now(), world_limit, "never: %s", #condition);                  \
            world_once();                                                                          \
        }                                                                                          \
    } while (0)
void world_once(void);

/* The pool's counts of database "db" and user "u". */
struct weir_pool_counts world_counts(void);
/* Every server connection is idle and nobody waits. */
bool world_is_quiet(void);

/* Connects and logs in as "u" to "db". */
void client_open(struct raw_client *client);
/* The same with NAME=VALUE startup settings, NULL ended; does not wait for the welcome. */
void client_start(struct raw_client *client, const char *const *settings);
/* As any user to any database. */
void client_start_as(struct raw_client *client, const char *user, const char *database,
                     const char *const *settings);
/* The same over a pair of connected sockets of the caller's choice. */
void client_start_on(struct raw_client *client, const int ends[2], const char *user,
                     const char *database, const char *const *settings);
/* The password in the clear. */
void client_send_password(struct raw_client *client, const char *password);
void client_close(struct raw_client *client);
void client_send_bytes(struct raw_client *client, const void *bytes, size_t length);
/* Takes what has come. */
void client_read(struct raw_client *client);

/* Messages in short: items separated by '|', each a type and its words:
 *   Q TEXT     P NAME TEXT   B NAME [PORTAL]   DS NAME  DP NAME   CS NAME  CP NAME
 *   E [PORTAL]  S  H  X      d DATA  c  f WHY  F
 * "-" is the empty name. */
void build(struct weir_buffer *out, const char *messages);
void client_send(struct raw_client *client, const char *messages);

/* Waits for `ready` ReadyForQuery messages or the end and then for what else comes at once. What
 * came is compared in short, blanks between: the type; D(text), C(tag), E(sqlstate) or
 * FATAL(sqlstate), Z(status), d(data), S(name=value), A(pid:channel:payload) with "own" for the
 * client's own pid; "EOF" at the end. */
void client_expect(struct raw_client *client, int ready, const char *transcript);
/* Sends and expects as many ReadyForQuery as the transcript has. */
void exchange(struct raw_client *client, const char *messages, const char *transcript);
/* The connection ends after exactly `transcript`. */
void client_expect_end(struct raw_client *client, const char *transcript);
/* Waits as client_expect does, and forgets it all. */
void client_forget(struct raw_client *client);

#endif
