/* Lookups from end to end, for --check: it may block. */
#include <stdlib.h>
#include <string.h>

#include "room.h"
#include "weir/memory.h"

static bool ask_secret(const struct weir_libpq *libpq, PGconn *pg,
                       const struct weir_lookup_target *target, const char *user, char **said)
{
    struct answer answer = {0};
    PGresult *result = libpq->query_now(pg, target->query, 1, NULL, &user, NULL, NULL, 0);
    answer_judge(libpq, result, target->database, target->user, user, &answer);
    libpq->clear(result);
    bool found = answer.outcome == WEIR_LOOKUP_FOUND;
    if (found) {
        enum weir_secret_kind kind = weir_secret_kind_of(answer.secret);
        *said = weir_format("auth_user \"%s\" found user \"%s\" in database \"%s\", with %s",
                            target->user, user, target->database,
                            kind == WEIR_SECRET_SCRAM ? "a SCRAM secret"
                            : kind == WEIR_SECRET_MD5 ? "an md5 secret"
                                                      : "a plain password");
    } else if (answer.outcome == WEIR_LOOKUP_NONE) {
        *said = weir_format("it works, but user \"%s\" could not log in: %s", user, answer.problem);
    } else {
        *said = weir_strdup(answer.problem);
    }
    answer_clear(&answer);
    return found;
}

/* Whoever has come in is a member of himself. */
static bool ask_member(const struct weir_libpq *libpq, PGconn *pg,
                       const struct weir_lookup_target *target, const char *user, char **said)
{
    struct answer answer = {0};
    const char *values[] = {user, user};
    PGresult *result = libpq->query_now(pg, answer_member_query, 2, NULL, values, NULL, NULL, 0);
    answer_judge_member(libpq, result, target->database, &answer);
    libpq->clear(result);
    bool good = answer.outcome == WEIR_LOOKUP_FOUND;
    *said = good ? weir_format("auth_user \"%s\" can look up members of roles in database \"%s\"",
                               target->user, target->database)
                 : weir_strdup(answer.problem != NULL ? answer.problem
                                                      : "auth_user is not found among the roles");
    answer_clear(&answer);
    return good;
}

static PGconn *connect_to(const struct weir_libpq *libpq, const struct weir_lookup_target *target,
                          char **problem)
{
    for (size_t i = 0; i < target->host_count; i++) {
        struct keywords keywords;
        keywords_make(&keywords, &target->hosts[i], NULL, &target->tls, target->database,
                      target->user, target->password);
        keywords.names[keywords.count] = "connect_timeout";
        keywords.values[keywords.count] = "10";
        PGconn *pg = libpq->connect_now(keywords.names, keywords.values, 0);
        if (pg != NULL && libpq->status(pg) == CONNECTION_OK)
            return pg;
        problem_add(problem, pg != NULL ? libpq->error_message(pg) : "out of memory");
        libpq->finish(pg);
    }
    return NULL;
}

static char *cannot_connect(const struct weir_lookup_target *target, char *problem)
{
    char *hint = password_hint("auth_user", target->user, target->password, target->unusable);
    char *text = weir_format("cannot connect to database \"%s\" as auth_user \"%s\": %s%s%s",
                             target->database, target->user, problem != NULL ? problem : "no host",
                             hint != NULL ? "; " : "", hint != NULL ? hint : "");
    free(hint);
    free(problem);
    return text;
}

/* Connects, and has `ask` do the rest. */
static bool prove(const struct weir_lookup_target *target, const char *user, char **said,
                  bool (*ask)(const struct weir_libpq *libpq, PGconn *pg,
                              const struct weir_lookup_target *target, const char *user,
                              char **said))
{
    const struct weir_libpq *libpq = weir_libpq_hold();
    if (libpq == NULL) {
        *said = weir_strdup("libpq.so.5, which lookups need, cannot be loaded");
        return false;
    }
    char *problem = NULL;
    PGconn *pg = connect_to(libpq, target, &problem);
    bool good = pg != NULL && ask(libpq, pg, target, user, said);
    if (pg == NULL)
        *said = cannot_connect(target, problem);
    else
        free(problem);
    libpq->finish(pg);
    weir_libpq_drop();
    return good;
}

bool weir_control_prove(const struct weir_lookup_target *target, const char *user, char **said)
{
    return prove(target, user, said, ask_secret);
}

bool weir_control_prove_members(const struct weir_lookup_target *target, char **said)
{
    return prove(target, target->user, said, ask_member);
}
