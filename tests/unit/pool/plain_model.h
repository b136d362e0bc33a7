/* The rules of the pool once more, in the plainest way: arrays that are searched, no lists, no
 * counts kept, no generations, one pool without caps. It writes the same words as world.h ("open"
 * without a name) and must come to the same decisions. */
#ifndef WEIR_TESTS_POOL_PLAIN_MODEL_H
#define WEIR_TESTS_POOL_PLAIN_MODEL_H

#include "world.h"

enum plain_state { GONE, OPENING, IDLE, CHECKING, ACTIVE, CLOSING };

struct plain_server {
    enum plain_state state;
    weir_usec began_at;
    weir_usec idle_since;
    weir_usec checked_at;
    weir_usec expires_at;
    bool suspect;
    bool close_asked;
    int affinity;
    int client;
};

struct model {
    struct weir_pool_limits limits;
    weir_usec now;
    struct plain_server servers[SERVERS];
    int queue[CLIENTS];
    weir_usec since[CLIENTS];
    int client_affinity[CLIENTS];
    int waiting;
    bool paused, failing, fatal;
    weir_usec retry_at, retry_pause, failed_at;
    struct world *words; /* only its words are used */
};

static inline int in_state(const struct model *model, enum plain_state state)
{
    int count = 0;
    for (int i = 0; i < SERVERS; i++)
        count += model->servers[i].state == state;
    return count;
}

static inline int in_total(const struct model *model)
{
    return SERVERS - in_state(model, GONE);
}

static inline int model_ceiling(const struct model *model)
{
    return model->limits.pool_size == 0 ? 100000
                                        : model->limits.pool_size + model->limits.max_overflow;
}

static inline int model_floor(const struct model *model)
{
    int floor = model->limits.min_pool_size;
    return model->limits.pool_size > 0 && floor > model->limits.pool_size ? model->limits.pool_size
                                                                          : floor;
}

static inline void model_close(struct model *model, int server, const char *reason)
{
    model->servers[server].state = CLOSING;
    say(model->words, "close:%c/%s", letter(server), reason);
}

static inline void model_activate(struct model *model, int server, int client)
{
    model->servers[server].state = ACTIVE;
    model->servers[server].client = client;
}

static inline void remove_waiter(struct model *model, int position)
{
    model->waiting--;
    for (int i = position; i < model->waiting; i++)
        model->queue[i] = model->queue[i + 1];
}

static inline void bind_head(struct model *model, int server)
{
    int client = model->queue[0];
    remove_waiter(model, 0);
    model_activate(model, server, client);
    say(model->words, "bind:%d=%c", client, letter(server));
}

/* The idle servers in the order in which they are to be taken; returns how many. */
static inline int order_idle(const struct model *model, int *order)
{
    int count = 0;
    for (int i = 0; i < SERVERS; i++) {
        if (model->servers[i].state != IDLE)
            continue;
        int at = count++;
        while (at > 0 && (model->servers[order[at - 1]].idle_since <
                          model->servers[i].idle_since) == model->limits.use_lifo) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
    return count;
}

static inline const char *unfit(const struct model *model, int server)
{
    const struct plain_server *s = &model->servers[server];
    if (s->close_asked)
        return "asked";
    if (s->expires_at != 0 && model->now >= s->expires_at)
        return "age";
    if (s->suspect && !model->limits.pre_ping)
        return "failed";
    return NULL;
}

static inline bool fresh(const struct model *model, int server)
{
    const struct plain_server *s = &model->servers[server];
    if (unfit(model, server) != NULL)
        return false;
    if (!model->limits.pre_ping)
        return true;
    return !s->suspect && model->now - s->checked_at <= model->limits.pre_ping_idle;
}

/* -1: none; *stale: the one to be asked, or -1. */
static inline int model_choose(struct model *model, int affinity, int *stale)
{
    int order[SERVERS];
    int count = order_idle(model, order);
    *stale = -1;
    int first = 0;
    for (; first < count && unfit(model, order[first]) != NULL; first++)
        model_close(model, order[first], unfit(model, order[first]));
    if (first == count)
        return -1;
    for (int i = first; i < count && i < first + 8; i++)
        if (model->servers[order[i]].affinity == affinity && fresh(model, order[i]))
            return order[i];
    if (fresh(model, order[first]))
        return order[first];
    *stale = order[first];
    return -1;
}

static inline int model_unserved(const struct model *model)
{
    int unserved = model->waiting - in_state(model, OPENING) - in_state(model, CHECKING);
    return unserved > 0 ? unserved : 0;
}

static inline int least(int left, int right)
{
    return left < right ? left : right;
}

/* How many openings may be begun when `needed` are needed. */
static inline int model_allowed(const struct model *model, int needed)
{
    if (model->paused || (model->failing && model->now < model->retry_at))
        return 0;
    int parallel = model->failing ? 1 : model->limits.connect_parallel;
    needed = least(needed, parallel - in_state(model, OPENING));
    needed = least(needed, model_ceiling(model) - in_total(model));
    bool head_may_overflow = model->waiting > 0 && model->now - model->since[model->queue[0]] >=
                                                       model->limits.overflow_delay;
    if (model->limits.overflow_delay > 0 && model->limits.pool_size > 0 && !head_may_overflow)
        needed = least(needed, model->limits.pool_size - in_total(model));
    return needed > 0 ? needed : 0;
}

/* The last step of each event: who cannot be served gets the error, and what is to be opened. */
static inline void model_open(struct model *model, bool floor)
{
    if (model->fatal && model->failing && model->now < model->retry_at)
        while (model_unserved(model) > 0) {
            say(model->words, "fail:%d", model->queue[model->waiting - 1]);
            remove_waiter(model, model->waiting - 1);
        }
    int due = model_allowed(model, model_unserved(model));
    if (floor) {
        int staying = in_total(model) - in_state(model, CLOSING);
        int for_floor = model_allowed(model, model_floor(model) - staying);
        due = for_floor > due ? for_floor : due;
    }
    for (int i = 0; i < due; i++)
        say(model->words, "open");
}

/* What is idle goes to those who wait. */
static inline void model_serve(struct model *model)
{
    int stale;
    while (!model->paused && model->waiting > 0 && in_state(model, IDLE) > 0) {
        int server = model_choose(model, model->client_affinity[model->queue[0]], &stale);
        if (server >= 0) {
            bind_head(model, server);
        } else if (stale >= 0 && in_state(model, CHECKING) < model->waiting) {
            model->servers[stale].state = CHECKING;
            say(model->words, "ping:%c", letter(stale));
        } else {
            break;
        }
    }
}

/* A server is free. */
static inline void model_give(struct model *model, int server)
{
    struct plain_server *s = &model->servers[server];
    int staying = in_total(model) - in_state(model, CLOSING);
    if (s->close_asked || model->paused)
        model_close(model, server, "asked");
    else if (s->expires_at != 0 && model->now >= s->expires_at)
        model_close(model, server, "age");
    else if (staying > model_ceiling(model))
        model_close(model, server, "surplus");
    else if (model->waiting > 0)
        bind_head(model, server);
    else if (model->limits.pool_size > 0 && in_state(model, IDLE) >= model->limits.pool_size)
        model_close(model, server, "surplus");
    else
        s->state = IDLE;
}

static inline void model_prove(struct model *model, int server)
{
    model->servers[server].checked_at = model->now;
    model->servers[server].suspect = false;
}

/* All that are open now are suspect; a failure of one that was suspect tells nothing new. */
static inline void model_invalidate(struct model *model, int failed)
{
    if (model->servers[failed].suspect)
        return;
    for (int i = 0; i < SERVERS; i++)
        if (model->servers[i].state != OPENING)
            model->servers[i].suspect = true;
}

static inline bool model_is_full(const struct model *model)
{
    if (model->limits.max_waiting == 0)
        return false;
    int served = in_state(model, OPENING) + in_state(model, CHECKING) + in_state(model, IDLE);
    int room = model_ceiling(model) - in_total(model);
    if (!model->paused && !model->failing && room > 0)
        served += room;
    return model->waiting - served >= model->limits.max_waiting;
}

/* --- events ------------------------------------------------------------------------------------
 */

static inline void model_enqueue(struct model *model, int client, weir_usec since)
{
    int at = model->waiting++;
    while (at > 0 && model->since[model->queue[at - 1]] > since) {
        model->queue[at] = model->queue[at - 1];
        at--;
    }
    model->queue[at] = client;
    model->since[client] = since;
}

static inline void model_want(struct model *model, int client)
{
    int stale;
    if (model->waiting == 0 && !model->paused) {
        int server = model_choose(model, model->client_affinity[client], &stale);
        if (server >= 0) {
            model_activate(model, server, client);
            model->since[client] = model->now;
            say(model->words, "got:%c", letter(server));
            return;
        }
    }
    if (model_is_full(model)) {
        say(model->words, "full");
        return;
    }
    say(model->words, "queued");
    model_enqueue(model, client, model->now);
    model_serve(model);
    model_open(model, false);
}

static inline void model_leave(struct model *model, int client)
{
    for (int i = 0; i < model->waiting; i++)
        if (model->queue[i] == client) {
            remove_waiter(model, i);
            break;
        }
    model_serve(model);
    model_open(model, false);
}

static inline void model_requeue(struct model *model, int client)
{
    model_enqueue(model, client, model->since[client]);
    model_serve(model);
    model_open(model, false);
}

/* The real pool draws the age. */
static inline void model_opened(struct model *model, int server, weir_usec expires_at)
{
    struct plain_server *s = &model->servers[server];
    s->idle_since = model->now;
    s->expires_at = expires_at;
    model_prove(model, server);
    model->failing = model->fatal = false;
    model_give(model, server);
    model_serve(model);
    model_open(model, true);
}

static inline void model_open_failed(struct model *model, int server, bool fatal)
{
    struct plain_server *s = &model->servers[server];
    bool same_batch = model->failing && s->began_at <= model->failed_at;
    s->state = GONE;
    if (!same_batch) {
        const struct weir_pool_limits *limits = &model->limits;
        bool again = model->failing && model->now - model->retry_at <= limits->login_retry_max;
        weir_usec doubled = 2 * model->retry_pause;
        if (doubled > limits->login_retry_max)
            doubled = limits->login_retry_max;
        model->retry_pause = again ? doubled : limits->login_retry;
        model->failing = true;
        model->failed_at = model->now;
        model->retry_at = model->now + model->retry_pause;
    }
    model->fatal = fatal;
    while (fatal && model->waiting > 0) {
        say(model->words, "fail:%d", model->queue[0]);
        remove_waiter(model, 0);
    }
    model_open(model, false);
}

static inline void model_release(struct model *model, int server)
{
    model_prove(model, server);
    model->servers[server].idle_since = model->now;
    model_give(model, server);
    model_serve(model);
    model_open(model, false);
}

static inline void model_checked(struct model *model, int server, bool ok)
{
    if (ok) {
        model_prove(model, server);
        model_give(model, server);
        model_serve(model);
    } else {
        model_invalidate(model, server);
        model_close(model, server, "failed");
        model_serve(model);
    }
    model_open(model, false);
}

static inline void model_closing(struct model *model, int server)
{
    model->servers[server].state = CLOSING;
    model_serve(model);
    model_open(model, false);
}

static inline void model_gone(struct model *model, int server, bool lost)
{
    if (lost && model->servers[server].state != OPENING)
        model_invalidate(model, server);
    model->servers[server].state = GONE;
    model_serve(model);
    model_open(model, false);
}

static inline void model_tend_idle(struct model *model, int server)
{
    const struct weir_pool_limits *limits = &model->limits;
    const struct plain_server *s = &model->servers[server];
    int staying = in_total(model) - in_state(model, CLOSING);
    if (s->expires_at != 0 && model->now >= s->expires_at) {
        model_close(model, server, "age");
    } else if ((limits->pool_size > 0 && in_state(model, IDLE) > limits->pool_size) ||
               staying > model_ceiling(model)) {
        model_close(model, server, "idle");
    } else if (limits->idle_timeout > 0 && model->now - s->idle_since >= limits->idle_timeout &&
               staying > model_floor(model)) {
        model_close(model, server, "idle");
    } else if (limits->keepalive > 0 && model->now - s->checked_at >= limits->keepalive) {
        model->servers[server].state = CHECKING;
        say(model->words, "ping:%c", letter(server));
    }
}

static inline void model_tick(struct model *model)
{
    weir_usec timeout = model->limits.pool_timeout;
    while (timeout > 0 && model->waiting > 0 &&
           model->now - model->since[model->queue[0]] >= timeout) {
        say(model->words, model->failing ? "fail:%d" : "timeout:%d", model->queue[0]);
        remove_waiter(model, 0);
    }
    int order[SERVERS];
    int count = order_idle(model, order);
    for (int i = 0; i < count; i++) /* the longest idle first */
        model_tend_idle(model, order[model->limits.use_lifo ? count - 1 - i : i]);
    model_serve(model);
    model_open(model, true);
}

static inline void model_close_idle(struct model *model)
{
    for (int i = 0; i < SERVERS; i++)
        if (model->servers[i].state == IDLE)
            model_close(model, i, "asked");
}

static inline void model_reconnect(struct model *model)
{
    model_close_idle(model);
    for (int i = 0; i < SERVERS; i++)
        model->servers[i].close_asked = true;
    model->failing = model->fatal = false;
    model_open(model, false);
}

static inline void model_pause(struct model *model)
{
    model->paused = true;
    model_close_idle(model);
    model_open(model, false);
}

static inline void model_resume(struct model *model)
{
    model->paused = false;
    model_serve(model);
    model_open(model, false);
}

/* The owner took "open". */
static inline void model_opening(struct model *model, int server)
{
    model->servers[server] = (struct plain_server){.state = OPENING, .began_at = model->now};
}

#endif
