/* What a result of auth_query means, in words for whoever set it up. */
#include <stdlib.h>
#include <string.h>

#include "room.h"
#include "weir/memory.h"

static void fail(struct answer *answer, char *problem)
{
    answer->outcome = WEIR_LOOKUP_FAILED;
    answer->problem = problem;
}

static void deny(struct answer *answer, const char *why)
{
    answer->outcome = WEIR_LOOKUP_NONE;
    answer->problem = weir_strdup(why);
}

static bool is(const char *sqlstate, const char *one)
{
    return strcmp(sqlstate, one) == 0;
}

static void judge_error(const char *sqlstate, const char *message, const char *database,
                        const char *auth_user, struct answer *answer)
{
    /* Only a name that the server's encoding does not have: so no user has it. */
    if (is(sqlstate, "22021"))
        deny(answer, "no such user");
    else if (is(sqlstate, "42501"))
        fail(answer,
             weir_format("auth_user \"%s\" lacks a permission in database \"%s\": %s (grant "
                         "it, or let auth_query call a function that is SECURITY DEFINER)",
                         auth_user, database, message));
    else if (is(sqlstate, "42883"))
        fail(answer,
             weir_format("auth_query calls a function that is missing in database \"%s\": %s "
                         "(search_path is pg_catalog: its schema must be named)",
                         database, message));
    else if (is(sqlstate, "42P01") || is(sqlstate, "3F000"))
        fail(answer, weir_format("auth_query names what is missing in database \"%s\": %s "
                                 "(search_path is pg_catalog: schemas must be named)",
                                 database, message));
    else
        fail(answer, weir_format("auth_query fails in database \"%s\": %s (SQLSTATE %s)", database,
                                 message, sqlstate));
    answer->server_leaves = strncmp(sqlstate, "57P0", 4) == 0;
}

static void judge_row(const struct weir_libpq *libpq, const PGresult *result, const char *user,
                      struct answer *answer)
{
    if (libpq->is_null(result, 0, 0) || strcmp(libpq->value(result, 0, 0), user) != 0) {
        deny(answer, "auth_query gave another user than was asked for");
    } else if (libpq->is_null(result, 0, 1)) {
        deny(answer, "auth_query gave NULL as secret: the user has no password, or it has expired");
    } else if (libpq->value(result, 0, 1)[0] == '\0') {
        deny(answer, "auth_query gave an empty secret");
    } else {
        answer->outcome = WEIR_LOOKUP_FOUND;
        answer->secret = weir_strdup(libpq->value(result, 0, 1));
    }
}

/* The result is libpq's own memory, which it frees as it is. */
static void wipe_secrets(const struct weir_libpq *libpq, const PGresult *result)
{
    if (libpq->column_count(result) < 2)
        return;
    for (int row = 0; row < libpq->row_count(result); row++)
        weir_wipe(libpq->value(result, row, 1), strlen(libpq->value(result, row, 1)));
}

void answer_judge(const struct weir_libpq *libpq, const PGresult *result, const char *database,
                  const char *auth_user, const char *user, struct answer *answer)
{
    ExecStatusType status = libpq->result_status(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        const char *sqlstate = libpq->result_error(result, PG_DIAG_SQLSTATE);
        const char *message = libpq->result_error(result, PG_DIAG_MESSAGE_PRIMARY);
        judge_error(sqlstate != NULL ? sqlstate : "08006",
                    message != NULL ? message : "the connection was lost", database, auth_user,
                    answer);
        answer->server_leaves = answer->server_leaves || sqlstate == NULL;
        return;
    }
    int columns = libpq->column_count(result), rows = libpq->row_count(result);
    if (columns != 2)
        fail(answer,
             weir_format("auth_query gives %d column%s, and two are needed: the user's name "
                         "and its secret",
                         columns, columns == 1 ? "" : "s"));
    else if (rows == 0)
        deny(answer, "no such user");
    else if (rows > 1)
        fail(answer, weir_format("auth_query gives %d rows for one user", rows));
    else
        judge_row(libpq, result, user, answer);
    wipe_secrets(libpq, result);
}

/* Nobody is a member by being superuser, as in PostgreSQL's rules: so it is no question of rights. Each
 * name says whose it is, for the case that the search path is not what it should be. */
const char answer_member_query[] =
    "WITH RECURSIVE held (role) AS ("
    "SELECT r.oid FROM pg_catalog.pg_roles r "
    "WHERE r.rolname OPERATOR(pg_catalog.=) $1::pg_catalog.name "
    "UNION SELECT m.roleid FROM pg_catalog.pg_auth_members m, held h "
    "WHERE m.member OPERATOR(pg_catalog.=) h.role) "
    "SELECT EXISTS (SELECT 1 FROM held h, pg_catalog.pg_roles r "
    "WHERE r.oid OPERATOR(pg_catalog.=) h.role "
    "AND r.rolname OPERATOR(pg_catalog.=) $2::pg_catalog.name)";

void answer_judge_member(const struct weir_libpq *libpq, const PGresult *result,
                         const char *database, struct answer *answer)
{
    if (libpq->result_status(result) == PGRES_TUPLES_OK && libpq->row_count(result) == 1 &&
        libpq->column_count(result) == 1) {
        bool member = strcmp(libpq->value(result, 0, 0), "t") == 0;
        answer->outcome = member ? WEIR_LOOKUP_FOUND : WEIR_LOOKUP_NONE;
        answer->secret = member ? weir_strdup("t") : NULL; /* what is remembered of it */
        return;
    }
    const char *sqlstate = libpq->result_error(result, PG_DIAG_SQLSTATE);
    const char *message = libpq->result_error(result, PG_DIAG_MESSAGE_PRIMARY);
    /* A name that the server's encoding does not have: so nobody has it. */
    if (sqlstate != NULL && is(sqlstate, "22021")) {
        answer->outcome = WEIR_LOOKUP_NONE;
        return;
    }
    fail(answer,
         weir_format("looking up members of roles fails in database \"%s\": %s (SQLSTATE %s)",
                     database, message != NULL ? message : "the connection was lost",
                     sqlstate != NULL ? sqlstate : "08006"));
    answer->server_leaves = sqlstate == NULL || strncmp(sqlstate, "57P0", 4) == 0;
}

void answer_clear(struct answer *answer)
{
    weir_free_secret(answer->secret);
    free(answer->problem);
    *answer = (struct answer){0};
}
