/* libpq, loaded while somebody holds it and not longer; src/conf/libpq.c says why. */
#ifndef WEIR_LIBPQ_H
#define WEIR_LIBPQ_H

#include <libpq-fe.h>

/* WEIR_LIBPQ(name in libpq, name here, result, arguments) */
#define WEIR_LIBPQ_FUNCTIONS(WEIR_LIBPQ)                                                           \
    WEIR_LIBPQ(PQconninfoParse, parse, PQconninfoOption *, (const char *, char **))                \
    WEIR_LIBPQ(PQconninfoFree, free_options, void, (PQconninfoOption *))                           \
    WEIR_LIBPQ(PQfreemem, free_text, void, (void *))                                               \
    WEIR_LIBPQ(PQconnectStartParams, connect_start, PGconn *,                                      \
               (const char *const *, const char *const *, int))                                    \
    WEIR_LIBPQ(PQconnectdbParams, connect_now, PGconn *,                                           \
               (const char *const *, const char *const *, int))                                    \
    WEIR_LIBPQ(PQconnectPoll, connect_poll, PostgresPollingStatusType, (PGconn *))                 \
    WEIR_LIBPQ(PQsetNoticeReceiver, set_notice_receiver, PQnoticeReceiver,                         \
               (PGconn *, PQnoticeReceiver, void *))                                               \
    WEIR_LIBPQ(PQfinish, finish, void, (PGconn *))                                                 \
    WEIR_LIBPQ(PQstatus, status, ConnStatusType, (const PGconn *))                                 \
    WEIR_LIBPQ(PQerrorMessage, error_message, char *, (const PGconn *))                            \
    WEIR_LIBPQ(PQsocket, socket, int, (const PGconn *))                                            \
    WEIR_LIBPQ(PQsetnonblocking, set_nonblocking, int, (PGconn *, int))                            \
    WEIR_LIBPQ(PQsendQueryParams, send_query, int,                                                 \
               (PGconn *, const char *, int, const Oid *, const char *const *, const int *,        \
                const int *, int))                                                                 \
    WEIR_LIBPQ(PQsendQuery, send_text, int, (PGconn *, const char *))                              \
    WEIR_LIBPQ(PQnotifies, notification, PGnotify *, (PGconn *))                                   \
    WEIR_LIBPQ(PQbackendPID, backend_pid, int, (const PGconn *))                                   \
    WEIR_LIBPQ(PQserverVersion, server_version, int, (const PGconn *))                             \
    WEIR_LIBPQ(PQexecParams, query_now, PGresult *,                                                \
               (PGconn *, const char *, int, const Oid *, const char *const *, const int *,        \
                const int *, int))                                                                 \
    WEIR_LIBPQ(PQflush, flush, int, (PGconn *))                                                    \
    WEIR_LIBPQ(PQconsumeInput, consume_input, int, (PGconn *))                                     \
    WEIR_LIBPQ(PQisBusy, is_busy, int, (PGconn *))                                                 \
    WEIR_LIBPQ(PQgetResult, get_result, PGresult *, (PGconn *))                                    \
    WEIR_LIBPQ(PQresultStatus, result_status, ExecStatusType, (const PGresult *))                  \
    WEIR_LIBPQ(PQresultErrorField, result_error, char *, (const PGresult *, int))                  \
    WEIR_LIBPQ(PQntuples, row_count, int, (const PGresult *))                                      \
    WEIR_LIBPQ(PQnfields, column_count, int, (const PGresult *))                                   \
    WEIR_LIBPQ(PQgetvalue, value, char *, (const PGresult *, int, int))                            \
    WEIR_LIBPQ(PQgetisnull, is_null, int, (const PGresult *, int, int))                            \
    WEIR_LIBPQ(PQclear, clear, void, (PGresult *))

#define WEIR_LIBPQ_POINTER(symbol, name, result, arguments) result(*name) arguments;
struct weir_libpq {
    WEIR_LIBPQ_FUNCTIONS(WEIR_LIBPQ_POINTER)
};
#undef WEIR_LIBPQ_POINTER

/* Loads the library on the first call, which reads files; each call needs a drop. NULL when it cannot
 * be loaded: then there is nothing to drop. */
const struct weir_libpq *weir_libpq_hold(void);
void weir_libpq_drop(void);

#endif
