/* Questions, who waits for them, and which connection gets which.
 *
 * Whoever asks for the same at the same time shares a job. Answers are handed out by a task of their
 * own, so that nobody is called from inside his own call or from inside libpq's steps. */
#include <stdlib.h>
#include <string.h>

#include "room.h"
#include "weir/log.h"
#include "weir/memory.h"

/* After a failed connect questions fail at once for so long. */
#define RETRY (1 * WEIR_SEC)

struct weir_control {
    struct weir_loop *loop;
    const struct weir_libpq *libpq; /* NULL: not loaded */
    struct place *places;           /* hash by key */
    struct weir_list finished;      /* job.link */
    struct weir_task deliver;
    struct weir_task collect;
    struct lookup_cache cache;
};

/* --- jobs ------------------------------------------------------------------------------ */

static struct job *make_job(struct place *place, const struct weir_lookup_target *target,
                            const struct question *question)
{
    struct job *job = weir_alloc(sizeof(*job));
    job->place = place;
    job->question.query = weir_strdup(question->query);
    job->question.user = weir_strdup(question->user);
    job->question.role = weir_strdup(question->role);
    job->cache = target->cache;
    weir_list_init(&job->lookups);
    return job;
}

static void free_job(struct job *job)
{
    while (weir_list_pop(&job->lookups) != NULL)
        ;
    weir_list_remove_if_linked(&job->link);
    answer_clear(&job->answer);
    free((char *)(uintptr_t)job->question.query);
    free((char *)(uintptr_t)job->question.user);
    free((char *)(uintptr_t)job->question.role);
    free(job);
}

static void finish(struct weir_control *control, struct job *job)
{
    job->place = NULL;
    weir_list_push_back(&control->finished, &job->link);
    weir_loop_defer(control->loop, &control->deliver);
}

static void deliver(struct weir_task *task)
{
    struct weir_control *control = weir_container_of(task, struct weir_control, deliver);
    struct weir_list *link;
    while ((link = weir_list_pop(&control->finished)) != NULL) {
        struct job *job = weir_container_of(link, struct job, link);
        struct weir_lookup_answer answer = {
            .outcome = job->answer.outcome,
            .secret = job->answer.secret,
            .problem = job->answer.problem,
            .cached = job->cached,
        };
        while ((link = weir_list_pop(&job->lookups)) != NULL) {
            struct weir_lookup *lookup = weir_container_of(link, struct weir_lookup, link);
            lookup->done(lookup, &answer);
        }
        free_job(job);
    }
}

static void fail_job(struct weir_control *control, struct job *job, const char *problem)
{
    job->answer.outcome = WEIR_LOOKUP_FAILED;
    job->answer.problem = weir_strdup(problem);
    finish(control, job);
}

static void fail_waiting(struct place *place, const char *problem)
{
    struct weir_list *link;
    while ((link = weir_list_pop(&place->waiting)) != NULL)
        fail_job(place->control, weir_container_of(link, struct job, link), problem);
}

/* --- places ---------------------------------------------------------------------------- */

static void append(struct weir_buffer *key, const char *text)
{
    weir_require(weir_buffer_append(key, text, strlen(text) + 1));
}

static void write_key(struct weir_buffer *key, const struct weir_lookup_target *target)
{
    for (size_t i = 0; i < target->host_count; i++) {
        append(key, target->hosts[i].host);
        append(key, target->hosts[i].name);
        weir_require(
            weir_buffer_append(key, &target->hosts[i].port, sizeof(target->hosts[i].port)));
    }
    append(key, target->database);
    append(key, target->user);
    append(key, target->password != NULL ? target->password : "");
    for (int i = 0; i < target->tls.count; i++) {
        append(key, target->tls.names[i]);
        append(key, target->tls.values[i]);
    }
}

void place_fill(struct place *place, const struct weir_lookup_target *target)
{
    place->hosts = weir_alloc(target->host_count * sizeof(*place->hosts));
    place->host_count = target->host_count;
    for (size_t i = 0; i < target->host_count; i++) {
        place->hosts[i].host = weir_strdup(target->hosts[i].host);
        place->hosts[i].name = weir_strdup(target->hosts[i].name);
        place->hosts[i].port = target->hosts[i].port;
    }
    place->database = weir_strdup(target->database);
    place->user = weir_strdup(target->user);
    place->password = weir_strdup(target->password);
    place->tls = target->tls;
    for (int i = 0; i < place->tls.count; i++)
        place->tls.values[i] = weir_strdup(target->tls.values[i]);
    weir_list_init(&place->waiting);
    weir_list_init(&place->links);
}

static struct place *make_place(struct weir_control *control,
                                const struct weir_lookup_target *target, struct weir_buffer *key)
{
    struct place *place = weir_alloc(sizeof(*place));
    place->control = control;
    place_fill(place, target);
    place->key_length = weir_buffer_length(key);
    place->key = weir_alloc(place->key_length);
    memcpy(place->key, weir_buffer_bytes(key), place->key_length);
    HASH_ADD_KEYPTR(hh, control->places, place->key, place->key_length, place);
    return place;
}

void place_clear(struct place *place)
{
    for (size_t i = 0; i < place->host_count; i++) {
        free(place->hosts[i].host);
        free(place->hosts[i].name);
    }
    for (int i = 0; i < place->tls.count; i++)
        free((char *)(uintptr_t)place->tls.values[i]);
    free(place->hosts);
    free(place->database);
    free(place->user);
    weir_free_secret(place->password);
    free(place->last_problem);
}

static void free_place(struct place *place)
{
    HASH_DEL(place->control->places, place);
    place_clear(place);
    weir_wipe(place->key, place->key_length);
    free(place->key);
    free(place);
}

static struct place *get_place(struct weir_control *control,
                               const struct weir_lookup_target *target)
{
    struct weir_buffer key = {.secret = true};
    struct place *place;
    write_key(&key, target);
    HASH_FIND(hh, control->places, weir_buffer_bytes(&key), weir_buffer_length(&key), place);
    if (place == NULL)
        place = make_place(control, target, &key);
    place->unusable = target->unusable;
    place->timeout = target->timeout;
    weir_buffer_clear(&key);
    return place;
}

/* --- which connection gets which ------------------------------------------------------- */

static struct connection *find_idle(const struct place *place, int *opening, int *open)
{
    struct connection *idle = NULL;
    *opening = *open = 0;
    weir_list_for(link, &place->links) {
        struct connection *connection = weir_container_of(link, struct connection, link);
        (*open)++;
        if (connection->state == CONNECTION_IDLE)
            idle = connection;
        else if (connection->state != CONNECTION_ASKING)
            (*opening)++;
    }
    return idle;
}

/* The first that somebody still waits for. */
static struct job *first_waiting(struct place *place)
{
    struct weir_list *link;
    while ((link = weir_list_first(&place->waiting)) != NULL) {
        struct job *job = weir_container_of(link, struct job, link);
        if (!weir_list_is_empty(&job->lookups))
            return job;
        free_job(job);
    }
    return NULL;
}

static bool has_more_waiting(const struct place *place, int than)
{
    weir_list_for(link, &place->waiting) {
        if (than-- == 0)
            return true;
    }
    return false;
}

static void serve(struct place *place)
{
    struct weir_control *control = place->control;
    struct job *job;
    int opening, open;
    while ((job = first_waiting(place)) != NULL) {
        struct connection *idle = find_idle(place, &opening, &open);
        if (idle != NULL) {
            weir_list_remove(&job->link);
            connection_ask(idle, job);
        } else if (open == 0 && control->loop->now < place->retry_at) {
            fail_waiting(place, place->last_problem);
        } else if (control->libpq == NULL) {
            fail_waiting(place, "libpq.so.5, which lookups need, cannot be loaded");
        } else if (open < WEIR_CONTROL_CONNECTIONS && has_more_waiting(place, opening) &&
                   control->loop->now >= place->retry_at) {
            connection_open(place, control->loop, control->libpq);
        } else {
            return;
        }
    }
}

void control_idle(struct connection *connection)
{
    struct place *place = connection->place;
    place->retry_at = 0;
    serve(place);
}

/* --- what came of it ------------------------------------------------------------------- */

static void write_cache_key(struct weir_buffer *key, const struct place *place,
                            const struct question *question)
{
    weir_require(weir_buffer_append(key, place->key, place->key_length));
    append(key, question->query);
    append(key, question->user);
    append(key, question->role != NULL ? question->role : "");
}

/* `job` NULL: none in particular. */
static void log_problem(const struct place *place, const struct job *job, const char *problem)
{
    const char *whom = job != NULL && job->question.role != NULL ? "members of roles" : "users";
    weir_log_warning(NULL, "auth_query", "%s cannot be looked up in database \"%s\": %s", whom,
                     place->database, problem);
}

static void remember(struct place *place, const struct job *job)
{
    struct weir_control *control = place->control;
    struct weir_buffer key = {.secret = true};
    write_cache_key(&key, place, &job->question);
    const char *bytes = (const char *)weir_buffer_bytes(&key);
    if (job->answer.outcome == WEIR_LOOKUP_FAILED || job->cache == 0)
        lookup_cache_forget(&control->cache, bytes, weir_buffer_length(&key));
    else
        lookup_cache_store(&control->cache, bytes, weir_buffer_length(&key), job->answer.secret,
                           control->loop->now + job->cache);
    weir_buffer_clear(&key);
}

void control_answered(struct place *place, struct job *job, struct answer *answer)
{
    job->answer = *answer;
    *answer = (struct answer){0};
    if (job->answer.outcome == WEIR_LOOKUP_FAILED)
        log_problem(place, job, job->answer.problem);
    remember(place, job);
    finish(place->control, job);
}

/* Nobody needs a place that has neither questions nor connections, unless it is not to be tried yet.
 * A task of its own, because a place may be in use further up. */
static void collect(struct weir_task *task)
{
    struct weir_control *control = weir_container_of(task, struct weir_control, collect);
    struct place *place, *next;
    HASH_ITER(hh, control->places, place, next) {
        if (weir_list_is_empty(&place->waiting) && weir_list_is_empty(&place->links) &&
            place->retry_at <= control->loop->now)
            free_place(place);
    }
}

void control_lost(struct place *place, struct job *job, bool again, const char *problem)
{
    if (job != NULL && again && !job->repeated) {
        job->repeated = true;
        weir_list_push_front(&place->waiting, &job->link);
    } else if (job != NULL) {
        log_problem(place, job, problem);
        fail_job(place->control, job, problem);
    }
    serve(place);
    weir_loop_defer(place->control->loop, &place->control->collect);
}

void control_unreachable(struct place *place, const char *problem)
{
    char *hint = password_hint("auth_user", place->user, place->password, place->unusable);
    free(place->last_problem);
    place->last_problem = weir_format("cannot connect as auth_user \"%s\": %s%s%s", place->user,
                                      problem, hint != NULL ? "; " : "", hint != NULL ? hint : "");
    free(hint);
    log_problem(place, NULL, place->last_problem);
    place->retry_at = place->control->loop->now + RETRY;
    if (weir_list_is_empty(&place->links))
        fail_waiting(place, place->last_problem);
    serve(place);
    weir_loop_defer(place->control->loop, &place->control->collect);
}

/* --- the face -------------------------------------------------------------------------- */

static void unload(struct weir_control *control)
{
    if (control->libpq != NULL && control->places == NULL) {
        control->libpq = NULL;
        weir_libpq_drop();
    }
}

struct weir_loop *control_loop(struct weir_control *control)
{
    return control->loop;
}

const struct weir_libpq *control_hold_libpq(struct weir_control *control)
{
    return control->libpq != NULL ? weir_libpq_hold() : NULL;
}

/* Not at the first lookup: it reads files, for which no client should wait. */
static void follow_conf(struct weir_control *control, const struct weir_conf *conf)
{
    if (!weir_lookup_is_configured(conf) && !weir_listen_is_configured(conf))
        unload(control);
    else if (control->libpq == NULL)
        control->libpq = weir_libpq_hold();
}

struct weir_control *weir_control_create(struct weir_loop *loop, const struct weir_conf *conf)
{
    struct weir_control *control = weir_alloc(sizeof(*control));
    control->loop = loop;
    control->deliver.run = deliver;
    control->collect.run = collect;
    weir_list_init(&control->finished);
    lookup_cache_init(&control->cache);
    follow_conf(control, conf);
    return control;
}

static void close_place(struct place *place)
{
    struct weir_list *link;
    while ((link = weir_list_first(&place->links)) != NULL) {
        struct connection *connection = weir_container_of(link, struct connection, link);
        if (connection->job != NULL)
            free_job(connection->job);
        connection_close(connection);
    }
    while ((link = weir_list_first(&place->waiting)) != NULL)
        free_job(weir_container_of(link, struct job, link));
    free_place(place);
}

void weir_control_destroy(struct weir_control *control)
{
    if (control == NULL)
        return;
    struct place *place, *next;
    HASH_ITER(hh, control->places, place, next) {
        close_place(place);
    }
    struct weir_list *link;
    while ((link = weir_list_first(&control->finished)) != NULL)
        free_job(weir_container_of(link, struct job, link));
    weir_task_cancel(&control->deliver);
    weir_task_cancel(&control->collect);
    lookup_cache_clear(&control->cache);
    unload(control);
    free(control);
}

static void close_idle(struct place *place)
{
    weir_list_for_safe(link, &place->links) {
        struct connection *connection = weir_container_of(link, struct connection, link);
        if (connection->state == CONNECTION_IDLE)
            connection_close(connection);
    }
}

void weir_control_reset(struct weir_control *control, const struct weir_conf *conf)
{
    struct place *place, *next;
    lookup_cache_clear(&control->cache);
    HASH_ITER(hh, control->places, place, next) {
        place->retry_at = 0;
        close_idle(place);
    }
    collect(&control->collect);
    follow_conf(control, conf);
}

/* An answer that is there already, or NULL. */
static struct job *find_remembered(struct place *place, const struct weir_lookup_target *target,
                                   const struct question *question)
{
    struct weir_control *control = place->control;
    struct weir_buffer key = {.secret = true};
    const char *secret = NULL;
    struct job *job = NULL;
    write_cache_key(&key, place, question);
    if (lookup_cache_find(&control->cache, (const char *)weir_buffer_bytes(&key),
                          weir_buffer_length(&key), control->loop->now, &secret)) {
        job = make_job(NULL, target, question);
        job->cached = true;
        job->answer.outcome = secret != NULL ? WEIR_LOOKUP_FOUND : WEIR_LOOKUP_NONE;
        job->answer.secret = weir_strdup(secret);
    }
    weir_buffer_clear(&key);
    return job;
}

static bool is_same(const char *left, const char *right)
{
    return left == NULL || right == NULL ? left == right : strcmp(left, right) == 0;
}

static bool asks_the_same(const struct job *job, const struct question *question)
{
    return job != NULL && is_same(job->question.role, question->role) &&
           is_same(job->question.user, question->user) &&
           is_same(job->question.query, question->query);
}

/* One that is under way, or NULL. What was sent already is not fresh. */
static struct job *find_asked(struct place *place, const struct question *question, bool fresh)
{
    weir_list_for(link, &place->links) {
        struct connection *connection = weir_container_of(link, struct connection, link);
        if (!fresh && asks_the_same(connection->job, question))
            return connection->job;
    }
    weir_list_for(link, &place->waiting) {
        struct job *job = weir_container_of(link, struct job, link);
        if (asks_the_same(job, question))
            return job;
    }
    return NULL;
}

static void ask(struct weir_control *control, const struct weir_lookup_target *target,
                const struct question *question, bool fresh, struct weir_lookup *lookup)
{
    struct place *place = get_place(control, target);
    struct job *job = fresh ? NULL : find_remembered(place, target, question);
    if (job != NULL) {
        weir_list_push_back(&job->lookups, &lookup->link);
        finish(control, job);
        return;
    }
    job = find_asked(place, question, fresh);
    if (job != NULL) {
        weir_list_push_back(&job->lookups, &lookup->link);
        return;
    }
    job = make_job(place, target, question);
    weir_list_push_back(&job->lookups, &lookup->link);
    weir_list_push_back(&place->waiting, &job->link);
    serve(place);
}

void weir_control_ask(struct weir_control *control, const struct weir_lookup_target *target,
                      const char *user, bool fresh, struct weir_lookup *lookup)
{
    const struct question question = {.query = target->query, .user = user};
    ask(control, target, &question, fresh, lookup);
}

void weir_control_ask_member(struct weir_control *control, const struct weir_lookup_target *target,
                             const char *user, const char *role, struct weir_lookup *lookup)
{
    const struct question question = {.query = answer_member_query, .user = user, .role = role};
    ask(control, target, &question, false, lookup);
}

void weir_lookup_cancel(struct weir_lookup *lookup)
{
    weir_list_remove_if_linked(&lookup->link);
}
