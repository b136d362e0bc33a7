/* The replies that a server connection owes, in order: the whole truth about what is outstanding.
 * Every message that gets an answer has one entry, the client's as well as our own. */
#ifndef WEIR_ROUTE_REPLY_QUEUE_H
#define WEIR_ROUTE_REPLY_QUEUE_H

#include <stddef.h>
#include <stdint.h>

enum reply_kind {
    REPLY_QUERY, /* anything, then ReadyForQuery */
    REPLY_FUNCTION,
    REPLY_SYNC, /* ReadyForQuery */
    REPLY_PARSE,
    REPLY_BIND,
    REPLY_DESCRIBE_STATEMENT,
    REPLY_DESCRIBE_PORTAL,
    REPLY_EXECUTE,
    REPLY_CLOSE,
};

enum reply_action {
    REPLY_FORWARD,
    REPLY_SWALLOW_SUCCESS, /* ours on behalf of the client: its errors are the client's */
    REPLY_SWALLOW,         /* ours alone */
};

/* Why we asked, or what else the answer decides. */
enum reply_purpose {
    PURPOSE_CLIENT,
    PURPOSE_STATEMENT,     /* subject: prepared; part of preparing on demand */
    PURPOSE_NAMED_PARSE,   /* subject: prepared; client_statement is tentative until answered */
    PURPOSE_UNNAMED_PARSE, /* version: of the client's Parse; ours when the reply is swallowed */
    PURPOSE_NAMED_CLOSE,   /* subject: client_statement taken out of the namespace */
    PURPOSE_SHAPE,         /* subject: client_statement whose description the client asked for */
    PURPOSE_CHECK,         /* subject: prepared; description asked for to compare; client is held */
    PURPOSE_CHECK_UNNAMED, /* subject: client_statement to compare with; client is held */
    PURPOSE_PORTAL_SHAPE, /* subject: client_statement, the unnamed one, whose portal is described */
    PURPOSE_UNKNOWN,      /* subject: the name as text; an error 26000 gets it */
    PURPOSE_DUPLICATE,    /* subject: the name as text; an error 42P05 gets it */
    PURPOSE_PLAN_CHANGED, /* the error is replaced by "cached plan must not change result type" */
    PURPOSE_EVICT,        /* subject: prepared */
    PURPOSE_MATERIALISE,  /* subject: client_statement */
    PURPOSE_SETTINGS,     /* settings of the client being applied */
    PURPOSE_LEARN,        /* rows name the settings that hold */
    PURPOSE_LASTVAL,      /* whether the session has taken a value of a sequence */
    PURPOSE_LISTEN,       /* channels of the session, for its client's hub: handover.c */
    PURPOSE_PING,
    PURPOSE_ROLLBACK,
    PURPOSE_RESET,
};

struct reply {
    uint8_t kind;
    uint8_t action;
    uint8_t purpose;
    uint8_t copy_ended; /* the client's CopyDone or CopyFail followed this message */
    void *subject;
    union {
        void *second; /* PURPOSE_NAMED_PARSE: the client_statement */
        uint64_t version;
    };
};

struct reply_queue {
    struct reply *items; /* ring */
    uint32_t capacity;   /* power of two, or 0 */
    uint32_t head;
    uint32_t count;
};

static inline struct reply *reply_at(const struct reply_queue *queue, uint32_t index)
{
    return &queue->items[(queue->head + index) & (queue->capacity - 1)];
}

static inline struct reply *reply_head(const struct reply_queue *queue)
{
    return queue->count == 0 ? NULL : &queue->items[queue->head];
}

static inline void reply_pop(struct reply_queue *queue)
{
    queue->head = (queue->head + 1) & (queue->capacity - 1);
    queue->count--;
}

/* Doubles the ring. */
void reply_queue_grow(struct reply_queue *queue);

static inline struct reply *reply_push(struct reply_queue *queue)
{
    if (queue->count == queue->capacity)
        reply_queue_grow(queue);
    return &queue->items[(queue->head + queue->count++) & (queue->capacity - 1)];
}

#endif
