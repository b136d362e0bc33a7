/* Passwords verified by PAM or LDAP. Both block, so the work is done by worker processes, pgweir-verify,
 * which alone load those libraries; the loop only reads and writes their sockets.
 *
 * A worker has one question at a time. One that has not answered in time is killed, one that dies is
 * replaced; either costs the login that it was asked for and no other. Questions wait in order. */
#ifndef WEIR_VERIFY_H
#define WEIR_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/clock.h"
#include "weir/list.h"
#include "weir/net.h"
#include "weir/question.h"

/* So many may wait for a worker; the next one is refused. */
#define WEIR_VERIFY_WAITING 1000

struct weir_verify;
struct weir_verify *weir_verify_create(struct weir_loop *loop);
/* Ends the workers. Open questions are forgotten without an answer. NULL is fine. */
void weir_verify_destroy(struct weir_verify *verify);

/* The one that `setting` names, or that was installed with pgweir when it is "". */
const char *weir_verify_program(const char *setting);

struct weir_verify_settings {
    const char *program; /* a path; workers are started with it from now on */
    int workers;         /* at most so many at the same time; 0: none is needed */
    weir_usec limit;     /* for one answer; 0: none */
};
/* Also starts the first worker, so that nobody waits for it and what is wrong shows in the log. Workers of
 * another program end when they have answered. */
void weir_verify_follow(struct weir_verify *verify, const struct weir_verify_settings *settings);

/* A question that somebody waits for, embedded in its owner; zeroed means not asked. */
struct weir_verification {
    struct weir_list link;
    /* `text` is for the log and valid during the call. */
    void (*done)(struct weir_verification *verification, enum weir_verdict verdict,
                 const char *text);
    struct weir_verify *verify;
    struct weir_verify_worker *worker; /* NULL: it waits */
    uint8_t *message;                  /* until it is sent; wiped then */
    size_t length;
    uint64_t id;
};

/* `done` is set by the caller. It is called once, from the loop and never from inside this call, unless
 * the verification is cancelled before. The question is copied; its id and limit are set here. NULL, or
 * why it cannot be asked. */
const char *weir_verify_ask(struct weir_verify *verify, const struct weir_question *question,
                            struct weir_verification *verification);
/* No answer will come. Safe whether asked or not. */
void weir_verification_cancel(struct weir_verification *verification);

struct weir_verify_figures {
    uint64_t asked;
    uint64_t lost;    /* for which no worker could answer */
    uint64_t started; /* workers, since the daemon has begun */
    uint64_t killed;  /* because they took too long or broke the protocol */
    int workers;      /* now, those that are ending too */
    int busy;
    int waiting;
};
void weir_verify_count(const struct weir_verify *verify, struct weir_verify_figures *figures);

#endif
