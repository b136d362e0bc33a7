/* A client over a socket pair: the test is its peer and the room above. Each test includes it once. */
#ifndef TEST_SESSION_PAIR_H
#define TEST_SESSION_PAIR_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/log.h"
#include "weir/memory.h"
#include "weir/session.h"

/* Of the leak checker, in builds that have it. */
__attribute__((weak)) int __lsan_do_recoverable_leak_check(void);

static struct weir_loop loop;
static struct weir_auth_context *auth;
static struct weir_client client;
static int peer = -1;

/* What the room above was asked and answers. */
static int admitted, welcomed, cancelled, ended;
static enum weir_reason end_reason;
static bool refuse;
static struct weir_admission admission;
static uint32_t cancel_pid;
static uint8_t cancel_key[WEIR_CANCEL_KEY_MAX];
static size_t cancel_length;
/* Of the login struct, when it was complete. */
static char *user, *database, *replication;
static char settings[4096];
static uint8_t password_seen;

static inline bool on_admit(struct weir_client *asked, struct weir_admission *answer)
{
    struct weir_client_login *login = asked->login;
    admitted++;
    free(user);
    free(database);
    free(replication);
    user = weir_strdup(login->user);
    database = weir_strdup(login->database);
    replication = weir_strdup(login->replication);
    settings[0] = '\0';
    for (size_t i = 0; i < login->setting_count; i++) {
        size_t used = strlen(settings);
        snprintf(settings + used, sizeof settings - used, "%s%s=%s", i > 0 ? " " : "",
                 login->settings[i].name, login->settings[i].value);
    }
    if (refuse) {
        login->refusal = WEIR_REASON_TOO_MANY_CLIENTS;
        login->refusal_text = weir_strdup("come back later");
        return false;
    }
    *answer = admission;
    return true;
}

static inline void on_logged_in(struct weir_client *who)
{
    welcomed++;
    password_seen = who->login->credentials.password != NULL;
    weir_client_login_done(who);
}

static inline void on_cancel(struct weir_client *who, uint32_t pid, const uint8_t *key,
                             size_t length)
{
    cancelled++;
    cancel_pid = pid;
    cancel_length = length;
    cr_assert_leq(length, sizeof cancel_key);
    memcpy(cancel_key, key, length);
    weir_client_close(who);
}

static inline void on_ended(struct weir_client *who, enum weir_reason reason)
{
    ended++;
    end_reason = reason;
    weir_client_close(who);
}

/* What was to be judged elsewhere. */
static char judged[256];
static bool refuse_at_once;

static inline void on_judge(struct weir_client *who, const char *password)
{
    snprintf(judged, sizeof judged, "%s", password);
    if (refuse_at_once)
        weir_client_refuse_login(who, WEIR_REASON_OUTSIDE_LOST, NULL, NULL, NULL);
}

static const struct weir_session_ops ops = {.admit = on_admit,
                                            .judge = on_judge,
                                            .logged_in = on_logged_in,
                                            .cancel = on_cancel,
                                            .login_ended = on_ended};

static inline void open_pair(void)
{
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    peer = ends[1];
    cr_assert_eq(fcntl(peer, F_SETFL, O_NONBLOCK), 0);
    admitted = welcomed = cancelled = ended = 0;
    end_reason = WEIR_REASON_COUNT;
    client = (struct weir_client){0};
    weir_client_open(&client, &loop, ends[0], auth, &ops);
}

static inline void close_pair(void)
{
    weir_client_close(&client);
    if (peer >= 0)
        close(peer);
    peer = -1;
}

static inline void create(void)
{
    cr_assert(weir_loop_init(&loop));
    auth = weir_auth_context_create();
    admission = (struct weir_admission){.method = WEIR_AUTH_TRUST};
    refuse = false;
    open_pair();
}

/* The last line of a test, which can fail here. */
static inline void finish(void)
{
    close_pair();
    free(user);
    free(database);
    free(replication);
    user = database = replication = NULL;
    weir_auth_context_destroy(auth);
    weir_loop_fini(&loop);
    weir_require(__lsan_do_recoverable_leak_check == NULL ||
                 __lsan_do_recoverable_leak_check() == 0);
}

static inline void reopen(void)
{
    close_pair();
    open_pair();
}

static inline void turns(int count)
{
    for (int i = 0; i < count; i++)
        ev_run(loop.ev, EVRUN_NOWAIT);
}

static inline void send_bytes(const void *bytes, size_t length)
{
    cr_assert_eq(send(peer, bytes, length, MSG_NOSIGNAL), (ssize_t)length);
}

/* --- packets
 * ------------------------------------------------------------------------------------------------ */

/* "name=value" pairs, NULL ended. */
static inline struct weir_buffer startup(uint32_t version, const char *const *pairs)
{
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    size_t begin = weir_message_begin(&writer, 0);
    weir_write_u32(&writer, version);
    for (; *pairs != NULL; pairs++) {
        const char *equals = strchr(*pairs, '=');
        weir_write_bytes(&writer, *pairs, (size_t)(equals - *pairs));
        weir_write_u8(&writer, 0);
        weir_write_string(&writer, equals + 1);
    }
    weir_write_u8(&writer, 0);
    weir_message_end(&writer, begin);
    return out;
}

static inline void send_startup(uint32_t version, const char *const *pairs)
{
    struct weir_buffer out = startup(version, pairs);
    send_bytes(weir_buffer_bytes(&out), weir_buffer_length(&out));
    weir_buffer_clear(&out);
}

static inline void log_in(const char *const *pairs)
{
    send_startup(WEIR_PROTOCOL_3_0, pairs);
    turns(3);
}

static inline void send_password(const void *body, size_t length)
{
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    weir_write_password(&writer, body, length);
    send_bytes(weir_buffer_bytes(&out), weir_buffer_length(&out));
    weir_buffer_clear(&out);
}

static const char *const plain[] = {"user=u", "database=d", NULL};

static uint8_t answer[8192];
static size_t answer_length;

/* Reads what the client was sent. */
static inline size_t receive(void)
{
    ssize_t got = recv(peer, answer, sizeof answer, MSG_DONTWAIT);
    answer_length = got > 0 ? (size_t)got : 0;
    return answer_length;
}

/* The peer gets exactly one FATAL and the end of file. */
static inline void expect_fatal(const char *sqlstate, const char *text)
{
    struct weir_error_fields fields;
    turns(3);
    cr_assert_gt(receive(), 5);
    cr_assert_eq(answer[0], 'E');
    cr_assert_eq(weir_get_u32(answer + 1) + 1, answer_length);
    cr_assert(weir_error_parse(answer + 5, answer_length - 5, &fields));
    cr_assert_str_eq(fields.severity, "FATAL");
    cr_assert_str_eq(fields.sqlstate, sqlstate);
    if (text != NULL)
        cr_assert_not_null(strstr(fields.message, text), "\"%s\"", fields.message);
    cr_assert_eq(recv(peer, answer, sizeof answer, MSG_DONTWAIT), 0);
    cr_assert_eq(ended, 1);
    cr_assert_eq(client.state, WEIR_CLIENT_CLOSED);
}

#endif
