/* Both logins: a client that sends any bytes, and a server that answers with any bytes.
 *
 * Input: a byte that chooses the side, the method and what is to be sent plausibly before the rest,
 * then chunks, each after its length in one byte. Whatever comes, the login ends or goes on waiting,
 * nobody is let in without the password, and nothing is left behind. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stage.h"
#include "weir/backend.h"
#include "weir/memory.h"
#include "weir/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PASSWORD "pencil"

static struct fuzz_stage stage;
static int accepted; /* the server's side of the connection, -1 while there is none */
static bool over;    /* ready, failed, logged in or ended */

static void turns(int count)
{
    fuzz_stage_turns(&stage, count);
}

/* Chunk after chunk to `fd`, reading whatever comes back. */
static void send_chunks(const int *fd, const uint8_t *data, size_t size)
{
    uint8_t sink[4096];
    while (size > 0 && !over && *fd >= 0) {
        size_t length = *data++;
        size--;
        length = length < size ? length : size;
        if (length > 0 && send(*fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)length)
            break;
        data += length;
        size -= length;
        turns(2);
        while (*fd >= 0 && recv(*fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
            continue;
    }
}

/* --- a client
 * --------------------------------------------------------------------------------------------------- */

static enum weir_auth_method method;
static bool may_enter;

static bool on_admit(struct weir_client *client, struct weir_admission *admission)
{
    const struct weir_client_login *login = client->login;
    weir_require(login->user != NULL && login->user[0] != '\0');
    weir_require(login->database != NULL && login->database[0] != '\0');
    for (size_t i = 0; i < login->setting_count; i++)
        weir_require(login->settings[i].name != NULL && login->settings[i].value != NULL);
    *admission = (struct weir_admission){.method = method, .secret = PASSWORD};
    return true;
}

static void on_logged_in(struct weir_client *client)
{
    weir_require(may_enter);
    over = true;
    weir_client_login_done(client);
}

static void on_cancel(struct weir_client *client, uint32_t pid, const uint8_t *key, size_t length)
{
    (void)pid;
    weir_require(length > 0 && length <= WEIR_CANCEL_KEY_MAX && key != NULL);
    over = true;
    weir_client_close(client);
}

static void on_ended(struct weir_client *client, enum weir_reason reason)
{
    weir_require(reason < WEIR_REASON_COUNT);
    over = true;
    weir_client_close(client);
}

static const struct weir_session_ops session_ops = {
    .admit = on_admit, .logged_in = on_logged_in, .cancel = on_cancel, .login_ended = on_ended};

static bool has_password(const uint8_t *data, size_t size)
{
    return memmem(data, size, PASSWORD, sizeof(PASSWORD) - 1) != NULL;
}

static void run_client(unsigned choice, const uint8_t *data, size_t size)
{
    static const enum weir_auth_method methods[] = {WEIR_AUTH_TRUST, WEIR_AUTH_PLAIN, WEIR_AUTH_MD5,
                                                    WEIR_AUTH_SCRAM};
    static const uint8_t startup[] = "\0\0\0\x1b\0\3\0\0user\0u\0database\0d\0";
    static const uint8_t ssl[] = {0, 0, 0, 8, 4, 210, 22, 47};
    struct weir_auth_context *auth = weir_auth_context_create();
    struct weir_client client = {0};
    int ends[2];
    weir_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    method = methods[choice & 3];
    /* A proof by md5 or SCRAM cannot be guessed: its salt or nonce is random. */
    may_enter =
        method == WEIR_AUTH_TRUST || (method == WEIR_AUTH_PLAIN && has_password(data, size));
    weir_client_open(&client, &stage.loop, ends[0], auth, &session_ops);
    if (choice & 4) {
        weir_require(send(ends[1], ssl, sizeof(ssl), MSG_NOSIGNAL) == sizeof(ssl));
        turns(2);
    }
    if (choice & 8) {
        weir_require(send(ends[1], startup, sizeof(startup), MSG_NOSIGNAL) == sizeof(startup));
        turns(2);
    }
    send_chunks(&ends[1], data, size);
    turns(3);
    close(ends[1]);
    turns(3);
    for (int i = 0; i < 200 && !over; i++)
        turns(1);
    weir_require(over);
    weir_client_close(&client);
    weir_auth_context_destroy(auth);
}

/* --- a server
 * --------------------------------------------------------------------------------------------------- */

static void on_accept(void *context, int fd, const struct weir_address *peer)
{
    (void)context;
    (void)peer;
    if (accepted >= 0)
        close(accepted);
    accepted = fd;
    weir_require(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
}

static void on_ready(struct weir_server *server)
{
    weir_require(server->state == WEIR_SERVER_READY && server->login == NULL);
    weir_require(server->key_length <= WEIR_CANCEL_KEY_MAX);
    for (size_t i = 0; i < server->parameters.count; i++)
        weir_require(server->parameters.items[i].name != NULL &&
                     server->parameters.items[i].value != NULL);
    over = true;
    weir_stream_pause(&server->stream);
}

static void on_failed(struct weir_server *server, const struct weir_server_failure *failure)
{
    weir_require(failure->text != NULL && failure->reason < WEIR_REASON_COUNT);
    weir_require(!weir_stream_is_open(&server->stream));
    over = true;
}

static const struct weir_server_ops server_ops = {.ready = on_ready, .failed = on_failed};

/* What a server says that lets everybody in, or asks for a proof. */
static void say_first(unsigned choice)
{
    static const struct {
        const char *bytes;
        size_t length;
    } firsts[] = {
        {"", 0},
        {"R\0\0\0\x8\0\0\0\0", 9},
        {"R\0\0\0\x17\0\0\0\xaSCRAM-SHA-256\0\0", 24},
        {"R\0\0\0\xc\0\0\0\5salt", 13},
    };
    size_t length = firsts[choice & 3].length;
    if (length > 0 && accepted >= 0)
        weir_require(send(accepted, firsts[choice & 3].bytes, length, MSG_NOSIGNAL) ==
                     (ssize_t)length);
}

static void run_server(unsigned choice, const uint8_t *data, size_t size)
{
    struct weir_conf_host hosts[2] = {{.host = stage.host, .port = 5432},
                                      {.host = stage.host, .port = 5432}};
    struct weir_credentials credentials = {.password = weir_strdup(PASSWORD)};
    struct weir_server_target target = {
        .hosts = hosts,
        .host_count = 1 + (choice >> 2 & 1),
        .database = "d",
        .user = "u",
        .credentials = &credentials,
        .connect_query = choice & 8 ? "select 1" : "",
        .session_attrs = (enum weir_session_attrs)((choice >> 4) % 6),
    };
    struct weir_auth_context *auth = weir_auth_context_create();
    struct weir_server server = {0};
    accepted = -1;
    weir_server_connect(&server, &stage.loop, auth, &target, &server_ops);
    for (int i = 0; i < 20 && accepted < 0; i++)
        turns(1);
    say_first(choice);
    send_chunks(&accepted, data, size);
    turns(3);
    weir_server_close(&server, true);
    weir_server_fini(&server);
    if (accepted >= 0)
        close(accepted);
    turns(2);
    weir_credentials_clear(&credentials);
    weir_auth_context_destroy(auth);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready)
        fuzz_stage_open(&stage, "login", on_accept);
    ready = true;
    if (size == 0)
        return 0;
    over = false;
    if (data[0] & 128)
        run_client(data[0], data + 1, size - 1);
    else
        run_server(data[0], data + 1, size - 1);
    weir_require(weir_list_is_empty(&stage.loop.tasks));
    return 0;
}
