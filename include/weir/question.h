/* What the daemon and its workers (pgweir-verify) say to each other about one password.
 *
 * Messages are a length of four bytes, which counts itself, and that many bytes; numbers are in network
 * order, texts end with a zero. Everything here is pure functions over bytes. */
#ifndef WEIR_QUESTION_H
#define WEIR_QUESTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/outside.h"
#include "weir/require.h"

/* The first byte of a question: a worker that was installed anew under a running daemon must notice. */
#define WEIR_QUESTION_VERSION 1
#define WEIR_QUESTION_MAX     ((size_t)256 << 10) /* with its length */
#define WEIR_JUDGEMENT_MAX    ((size_t)4 << 10)

struct weir_question {
    uint64_t id;
    uint32_t limit; /* milliseconds, after which nobody waits for the answer; 0: none */
    const char *method;
    const char *user;
    const char *password;
    const char *peer; /* the client's numeric address; "": it came over a Unix socket */
    struct weir_outside_option options[WEIR_OUTSIDE_OPTIONS];
    size_t option_count;
};

enum weir_verdict {
    WEIR_VERDICT_YES,
    WEIR_VERDICT_NO,
    WEIR_VERDICT_TROUBLE, /* it could not be found out */
    WEIR_VERDICT_LOST,    /* no worker has answered: never in a message */
};

struct weir_judgement {
    uint64_t id;
    enum weir_verdict verdict;
    const char *text; /* for the log */
};

enum weir_frame {
    WEIR_FRAME_PART,  /* more bytes are needed */
    WEIR_FRAME_WHOLE, /* *size of them are one message */
    WEIR_FRAME_BAD,   /* no message can begin so */
};
/* `most` is the larger of the two limits that holds for who sends. */
enum weir_frame weir_frame_find(const uint8_t *bytes, size_t length, size_t most, size_t *size);

/* In memory of its own, to be wiped and freed; NULL when it would be longer than WEIR_QUESTION_MAX. */
weir_must_check uint8_t *weir_question_write(const struct weir_question *question, size_t *length);
/* `bytes` is a whole frame, into which the texts of *question then point. False: it is no question. */
weir_must_check bool weir_question_read(const uint8_t *bytes, size_t length,
                                        struct weir_question *question);
/* Cuts a text that is too long. `bytes` has room for WEIR_JUDGEMENT_MAX; how many were written. */
size_t weir_judgement_write(const struct weir_judgement *judgement, uint8_t *bytes);
weir_must_check bool weir_judgement_read(const uint8_t *bytes, size_t length,
                                         struct weir_judgement *judgement);

#endif
