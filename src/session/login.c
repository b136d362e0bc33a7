/* The login of a client: SSL and GSS requests, startup packet, proof.
 *
 * Bytes are looked at only when a whole packet is there; nothing has an effect before. After the
 * answer to an encryption request only bytes that arrive later count: anything that came with the
 * request was sent before our answer and is refused, so that nobody can smuggle a startup packet.
 */
#include "weir/session.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "weir/memory.h"

/* What one that has proven who it is may send before it is greeted. */
#define PROVEN_INPUT_MAX 1000000

static void advance(struct weir_client *client, enum weir_auth_result result,
                    struct weir_buffer *out);

/* Takes `text` (may be NULL) for who refuses from above. */
void weir_client_refuse_login(struct weir_client *client, enum weir_reason reason, const char *text,
                              const char *detail, const char *hint)
{
    const struct weir_reason_row *row = weir_reason_row(reason);
    if (row->sqlstate != NULL) {
        struct weir_buffer out = {0};
        struct weir_writer writer = weir_writer_to(&out);
        weir_write_error(&writer, "FATAL", row->sqlstate, text != NULL ? text : row->text, detail,
                         hint);
        if (!writer.failed && weir_stream_send_bytes(&client->stream, weir_buffer_bytes(&out),
                                                     weir_buffer_length(&out)))
            weir_stream_finish(&client->stream);
        weir_buffer_clear(&out);
    }
    client->ops->login_ended(client, reason);
}

/* So many different settings may come in one startup packet: it is not authenticated yet. */
#define SETTINGS_MAX 512

/* Of equal names the last wins. False: too many. */
static bool add_setting(struct weir_client_login *login, const char *name, const char *value)
{
    for (size_t i = 0; i < login->setting_count; i++) {
        if (strcasecmp(login->settings[i].name, name) == 0) {
            free((char *)(uintptr_t)login->settings[i].value);
            login->settings[i].value = weir_strdup(value);
            return true;
        }
    }
    if (login->setting_count == SETTINGS_MAX)
        return false;
    struct weir_setting *grown =
        realloc(login->settings, (login->setting_count + 1) * sizeof(*login->settings));
    if (grown == NULL)
        return false;
    login->settings = grown;
    grown[login->setting_count++] =
        (struct weir_setting){.name = weir_strdup(name), .value = weir_strdup(value)};
    return true;
}

static bool add_options(struct weir_client *client, const char *value)
{
    char *scratch = weir_alloc(strlen(value) + 2);
    struct weir_options options = {.at = value};
    const char *name, *setting;
    int found;
    while ((found = weir_options_next(&options, scratch, &name, &setting)) > 0) {
        if (!add_setting(client->login, name, setting)) {
            weir_client_refuse_login(client, WEIR_REASON_MEMORY_LIMIT, NULL, NULL, NULL);
            free(scratch);
            return false;
        }
    }
    if (found < 0) {
        char *text = weir_format("startup option \"%s\" cannot be honoured per client", name);
        weir_client_refuse_login(client, WEIR_REASON_UNSUPPORTED, text, NULL,
                                 "Use settings in the forms -c name=value or --name=value.");
        free(text);
    }
    free(scratch);
    return found == 0;
}

#define UNKNOWN_OPTIONS_MAX 64

static void negotiate_version(struct weir_client *client, const char *const *unknown,
                              size_t unknown_count)
{
    uint32_t asked = client->protocol;
    if (asked == WEIR_PROTOCOL_3_0 || asked == WEIR_PROTOCOL_3_2) {
        if (unknown_count == 0)
            return;
    } else {
        client->protocol = asked > WEIR_PROTOCOL_3_2 ? WEIR_PROTOCOL_3_2 : WEIR_PROTOCOL_3_0;
    }
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    weir_write_negotiate_version(&writer, client->protocol, unknown, unknown_count);
    /* A failed send shows at the next receive. */
    bool sent = !writer.failed && weir_stream_send_bytes(&client->stream, weir_buffer_bytes(&out),
                                                         weir_buffer_length(&out));
    (void)sent;
    weir_buffer_clear(&out);
}

/* Copies what the packet says into the login struct. False: refused and closed. */
static bool read_parameters(struct weir_client *client, struct weir_startup *startup)
{
    struct weir_client_login *login = client->login;
    const char *unknown[UNKNOWN_OPTIONS_MAX];
    size_t unknown_count = 0;
    const char *options = NULL;
    const char *name, *value;
    while (weir_startup_next(startup, &name, &value)) {
        if (strcmp(name, "database") == 0) {
            free(login->database);
            login->database = weir_strdup(value);
        } else if (strcmp(name, "user") == 0) {
            free(login->user);
            login->user = weir_strdup(value);
        } else if (strcmp(name, "options") == 0) {
            options = value;
        } else if (strcmp(name, "replication") == 0) {
            free(login->replication);
            bool off = strcmp(value, "0") == 0 || strcasecmp(value, "false") == 0 ||
                       strcasecmp(value, "off") == 0 || strcasecmp(value, "no") == 0;
            login->replication = off ? NULL : weir_strdup(value);
        } else if (strncmp(name, "_pq_.", 5) == 0) {
            if (unknown_count < UNKNOWN_OPTIONS_MAX)
                unknown[unknown_count++] = name;
        } else if (!add_setting(login, name, value)) {
            weir_client_refuse_login(client, WEIR_REASON_MEMORY_LIMIT, NULL, NULL, NULL);
            return false;
        }
    }
    if (login->user == NULL || login->user[0] == '\0') {
        weir_client_refuse_login(client, WEIR_REASON_NO_USER, NULL, NULL, NULL);
        return false;
    }
    if (login->database == NULL || login->database[0] == '\0') {
        free(login->database);
        login->database = weir_strdup(login->user);
    }
    negotiate_version(client, unknown, unknown_count);
    /* In PostgreSQL, too, `options` come before the other settings of the packet, which win. */
    if (options != NULL) {
        size_t plain = login->setting_count;
        struct weir_setting *packet = login->settings;
        login->settings = NULL;
        login->setting_count = 0;
        bool good = add_options(client, options);
        if (!good && client->login == NULL) {
            for (size_t i = 0; i < plain; i++) {
                free((char *)(uintptr_t)packet[i].name);
                free((char *)(uintptr_t)packet[i].value);
            }
            free(packet);
            return false;
        }
        for (size_t i = 0; i < plain; i++) {
            if (!add_setting(login, packet[i].name, packet[i].value))
                good = false;
            free((char *)(uintptr_t)packet[i].name);
            free((char *)(uintptr_t)packet[i].value);
        }
        free(packet);
        return good && client->state != WEIR_CLIENT_CLOSED;
    }
    return true;
}

/* --- TLS ------------------------------------------------------------------------------- */

void weir_client_offer_tls(struct weir_client *client, const struct weir_client_tls *tls)
{
    struct weir_address address;
    bool local = !weir_client_address(client, &address) || address.any.sa_family == AF_UNIX;
    client->login->tls = local ? NULL : tls;
}

static bool is_tls_possible(const struct weir_client *client)
{
    const struct weir_client_tls *tls = client->login->tls;
    return tls != NULL && tls->context != NULL && !weir_tls_is_used(&client->stream);
}

static void secure(struct weir_client *client, bool direct)
{
    if (!weir_tls_accept(&client->stream, client->login->tls->context, direct))
        client->ops->login_ended(client, WEIR_REASON_TLS_FAILED);
}

/* False: refused. */
static bool is_secure_enough(struct weir_client *client)
{
    const struct weir_client_tls *tls = client->login->tls;
    const char *user = client->login->user;
    if (tls == NULL || tls->context == NULL)
        return true;
    bool used = weir_tls_is_used(&client->stream);
    if (tls->required && !used) {
        char *text = weir_format("connection of user \"%s\" to database \"%s\" requires SSL "
                                 "encryption",
                                 user, client->login->database);
        weir_client_refuse_login(client, WEIR_REASON_TLS_REQUIRED, text, NULL,
                                 "Connect with sslmode=require.");
        free(text);
        return false;
    }
    char *name =
        tls->name_is_user ? weir_tls_peer_name(&client->stream, WEIR_TLS_COMMON_NAME) : NULL;
    bool good = !tls->name_is_user || (name != NULL && strcmp(name, user) == 0);
    free(name);
    if (good)
        return true;
    char *text = weir_format("certificate authentication failed for user \"%s\"", user);
    weir_client_refuse_login(client, WEIR_REASON_CERTIFICATE_NAME, text, NULL,
                             "The common name of the certificate must be the user's name.");
    free(text);
    return false;
}

/* Channel binding, where there is a channel. */
static void bind_proof(struct weir_client *client)
{
    uint8_t endpoint[WEIR_TLS_ENDPOINT_MAX];
    size_t length;
    if (weir_tls_endpoint(&client->stream, endpoint, &length))
        weir_client_proof_bind(client->login->proof, endpoint, length);
}

/* --- startup and proof ----------------------------------------------------------------- */

static void begin_proof(struct weir_client *client, const struct weir_admission *admission)
{
    struct weir_client_login *login = client->login;
    login->proof =
        weir_client_proof_create(login->auth, admission->method, login->user, admission->secret);
    weir_client_proof_imitate(login->proof, admission->usual);
    bind_proof(client);
    weir_client_set_state(client, WEIR_CLIENT_PROVING);
    struct weir_buffer out = {0};
    enum weir_auth_result result = weir_client_proof_step(login->proof, NULL, 0, &out);
    advance(client, result, &out);
}

static void follow_admission(struct weir_client *client, const struct weir_admission *admission)
{
    if (admission->delayed)
        weir_client_set_state(client, WEIR_CLIENT_DELAYED);
    else if (admission->later)
        weir_client_set_state(client, WEIR_CLIENT_LOOKUP);
    else
        begin_proof(client, admission);
}

static void begin_login(struct weir_client *client, struct weir_startup *startup)
{
    struct weir_client_login *login = client->login;
    client->protocol = startup->version;
    if (!read_parameters(client, startup) || !is_secure_enough(client))
        return;
    struct weir_admission admission = {.method = WEIR_AUTH_REJECT};
    login->refusal = WEIR_REASON_COUNT;
    if (!client->ops->admit(client, &admission)) {
        weir_client_refuse_login(client, login->refusal, login->refusal_text, NULL, NULL);
        return;
    }
    follow_admission(client, &admission);
}

static void on_slice(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct weir_client *client = timer->data;
    struct weir_buffer out = {0};
    enum weir_auth_result result = weir_client_proof_work(client->login->proof, &out);
    advance(client, result, &out);
}

void weir_client_answer_failure(struct weir_client *client)
{
    const struct weir_client_login *login = client->login;
    if (login->refusal_text != NULL) {
        weir_client_refuse_login(client, login->refusal, login->refusal_text, NULL, NULL);
        return;
    }
    char *text = weir_format("password authentication failed for user \"%s\"", login->user);
    weir_client_refuse_login(client, WEIR_REASON_AUTH_FAILED, text, NULL, NULL);
    free(text);
}

static void end_proof(struct weir_client *client)
{
    struct weir_client_login *login = client->login;
    weir_client_proof_take(login->proof, &login->credentials);
    weir_client_proof_destroy(login->proof);
    login->proof = NULL;
    weir_client_set_state(client, WEIR_CLIENT_GREETING);
    client->ops->logged_in(client);
}

/* Sends what the proof wants sent and goes where its result leads. Clears `out`. */
static void advance(struct weir_client *client, enum weir_auth_result result,
                    struct weir_buffer *out)
{
    bool sent = true;
    if (weir_buffer_length(out) > 0)
        sent = weir_stream_send_bytes(&client->stream, weir_buffer_bytes(out),
                                      weir_buffer_length(out));
    weir_buffer_clear(out);
    if (!sent) {
        client->ops->login_ended(client, WEIR_REASON_CLIENT_RESET);
        return;
    }
    switch (result) {
    case WEIR_AUTH_MORE:
        weir_client_set_state(client, WEIR_CLIENT_PROVING);
        break;
    case WEIR_AUTH_BUSY:
        weir_client_set_state(client, WEIR_CLIENT_DERIVING);
        ev_timer_set(&client->login->slice, 0., 0.);
        ev_timer_start(client->stream.loop->ev, &client->login->slice);
        break;
    case WEIR_AUTH_OFFERED:
        weir_client_set_state(client, WEIR_CLIENT_LOOKUP);
        client->ops->judge(client, weir_client_proof_offer(client->login->proof));
        break;
    case WEIR_AUTH_OK:
        end_proof(client);
        break;
    case WEIR_AUTH_FAILED:
        if (client->ops->recheck != NULL && client->ops->recheck(client))
            weir_client_set_state(client, WEIR_CLIENT_LOOKUP);
        else if (client->ops->failed != NULL && client->ops->failed(client))
            weir_client_set_state(client, WEIR_CLIENT_DELAYED);
        else
            weir_client_answer_failure(client);
        break;
    case WEIR_AUTH_BROKEN:
        weir_client_refuse_login(client, WEIR_REASON_PROTOCOL,
                                 weir_client_proof_problem(client->login->proof), NULL, NULL);
        break;
    }
}

enum { ASKED_TLS, ASKED_GSS };

static void answer_encryption(struct weir_client *client, int which, size_t packet, size_t length)
{
    /* Within TLS there is nothing more to ask for. */
    if (length > packet || client->login->encryption_asked[which] ||
        weir_tls_is_used(&client->stream)) {
        weir_client_refuse_login(client, WEIR_REASON_PROTOCOL,
                                 "received unencrypted data after an encryption request", NULL,
                                 NULL);
        return;
    }
    client->login->encryption_asked[which] = true;
    bool yes = which == ASKED_TLS && is_tls_possible(client);
    if (!weir_stream_send_bytes(&client->stream, yes ? "S" : "N", 1))
        client->ops->login_ended(client, WEIR_REASON_CLIENT_RESET);
    else if (yes)
        secure(client, false);
}

/* Looks at the packet at the front; the number of bytes it took, 0 when more are needed. The client
 * may be closed afterwards. */
static size_t take_startup(struct weir_client *client, const uint8_t *bytes, size_t length)
{
    struct weir_startup startup;
    weir_startup_parse(bytes, length, &startup);
    switch (startup.kind) {
    case WEIR_STARTUP_INCOMPLETE:
        return 0;
    case WEIR_STARTUP_BAD:
        weir_client_refuse_login(client, WEIR_REASON_PROTOCOL, startup.problem, NULL, NULL);
        return length;
    case WEIR_STARTUP_SSL:
        answer_encryption(client, ASKED_TLS, startup.length, length);
        return startup.length;
    case WEIR_STARTUP_GSS:
        answer_encryption(client, ASKED_GSS, startup.length, length);
        return startup.length;
    case WEIR_STARTUP_CANCEL:
        client->ops->cancel(client, startup.pid, startup.key, startup.key_length);
        return length;
    case WEIR_STARTUP_LOGIN:
        begin_login(client, &startup);
        return startup.length;
    }
    return 0;
}

static size_t take_password(struct weir_client *client, const uint8_t *bytes, size_t length)
{
    if (length < WEIR_WIRE_HEADER)
        return 0;
    uint32_t size = weir_get_u32(bytes + 1);
    if (bytes[0] != 'p' || size < 4 || size - 4 > weir_client_proof_longest(client->login->proof)) {
        weir_client_refuse_login(client, WEIR_REASON_PROTOCOL,
                                 bytes[0] == 'p' ? "invalid password message length"
                                                 : "expected a password message",
                                 NULL, NULL);
        return length;
    }
    if (length < size + 1u)
        return 0;
    struct weir_buffer out = {0};
    enum weir_auth_result result =
        weir_client_proof_step(client->login->proof, bytes + WEIR_WIRE_HEADER, size - 4u, &out);
    /* A password of elsewhere stays in no buffer. */
    if (result == WEIR_AUTH_OFFERED)
        weir_wipe((uint8_t *)(uintptr_t)bytes + WEIR_WIRE_HEADER, size - 4u);
    advance(client, result, &out);
    return size + 1u;
}

static bool is_logging_in(const struct weir_client *client)
{
    return client->state == WEIR_CLIENT_STARTUP || client->state == WEIR_CLIENT_PROVING;
}

/* TLS without having asked: a handshake is the very first that comes. */
static bool begins_with_tls(const struct weir_client *client, const uint8_t *bytes)
{
    const bool *asked = client->login->encryption_asked;
    return client->state == WEIR_CLIENT_STARTUP && bytes[0] == 0x16 && !asked[ASKED_TLS] &&
           !asked[ASKED_GSS] && is_tls_possible(client);
}

/* Bytes that are kept until there is something to do with them. */
static size_t input_limit(const struct weir_client *client)
{
    if (client->state == WEIR_CLIENT_GREETING)
        return PROVEN_INPUT_MAX;
    if (client->login == NULL || client->login->proof == NULL)
        return WEIR_STARTUP_MAX;
    return WEIR_WIRE_HEADER + weir_client_proof_longest(client->login->proof);
}

/* The client may be closed afterwards. */
static void take_input(struct weir_client *client, const uint8_t *bytes, size_t length)
{
    if (length > 0 && begins_with_tls(client, bytes)) {
        if (weir_stream_keep(&client->stream, bytes, length))
            secure(client, true);
        else
            client->ops->login_ended(client, WEIR_REASON_MEMORY_LIMIT);
        return;
    }
    while (length > 0 && is_logging_in(client)) {
        size_t taken = client->state == WEIR_CLIENT_STARTUP ? take_startup(client, bytes, length)
                                                            : take_password(client, bytes, length);
        if (client->state == WEIR_CLIENT_CLOSED)
            return;
        if (taken == 0)
            break;
        bytes += taken;
        length -= taken;
    }
    if (client->state == WEIR_CLIENT_CLOSED)
        return;
    /* What follows the login message waits for the room above. */
    if (length > input_limit(client))
        weir_client_refuse_login(client, WEIR_REASON_PROTOCOL,
                                 "too many bytes before the login is done", NULL, NULL);
    else if (!weir_stream_keep(&client->stream, bytes, length))
        client->ops->login_ended(client, WEIR_REASON_MEMORY_LIMIT);
}

/* What came while there was nothing to do with it. */
static void take_kept_input(struct weir_client *client)
{
    uint8_t *bytes;
    size_t length;
    if (client->state != WEIR_CLIENT_PROVING)
        return;
    weir_stream_unread(&client->stream, &bytes, &length);
    if (length > 0)
        take_input(client, bytes, length);
}

void weir_client_admitted(struct weir_client *client, const struct weir_admission *admission)
{
    weir_require(client->state == WEIR_CLIENT_LOOKUP || client->state == WEIR_CLIENT_DELAYED);
    follow_admission(client, admission);
    take_kept_input(client);
}

void weir_client_recheck(struct weir_client *client, const char *secret)
{
    weir_require(client->state == WEIR_CLIENT_LOOKUP);
    struct weir_buffer out = {0};
    enum weir_auth_result result = weir_client_proof_again(client->login->proof, secret, &out);
    advance(client, result, &out);
}

void weir_client_judged(struct weir_client *client, bool right)
{
    weir_require(client->state == WEIR_CLIENT_LOOKUP);
    struct weir_buffer out = {0};
    advance(client, weir_client_proof_judged(client->login->proof, right), &out);
}

static void on_login_event(struct weir_stream *stream, unsigned events)
{
    struct weir_client *client = weir_container_of(stream, struct weir_client, stream);
    uint8_t *bytes;
    size_t length;
    if (events & WEIR_STREAM_FAILED) {
        client->ops->login_ended(client, weir_tls_problem(stream) != NULL
                                             ? WEIR_REASON_TLS_FAILED
                                             : WEIR_REASON_CLIENT_RESET);
        return;
    }
    if (events & WEIR_STREAM_SECURED) {
        weir_stream_unread(stream, &bytes, &length);
        take_input(client, bytes, length);
        return;
    }
    if (!(events & WEIR_STREAM_READABLE))
        return;
    enum weir_io io = weir_stream_receive(stream, &bytes, &length);
    if (io == WEIR_IO_WAIT)
        return;
    if (io != WEIR_IO_OK) {
        client->ops->login_ended(client, io == WEIR_IO_EOF ? WEIR_REASON_CLIENT_GONE
                                                           : WEIR_REASON_CLIENT_RESET);
        return;
    }
    /* The client may be gone afterwards, the loop is not. */
    struct weir_loop *loop = stream->loop;
    take_input(client, bytes, length);
    weir_loop_wipe_scratch(loop, length);
}

void weir_client_open(struct weir_client *client, struct weir_loop *loop, int fd,
                      struct weir_auth_context *auth, const struct weir_session_ops *ops)
{
    client->ops = ops;
    client->state = WEIR_CLIENT_STARTUP;
    client->login = weir_alloc(sizeof(*client->login));
    client->login->auth = auth;
    client->login->begun_at = loop->now;
    ev_timer_init(&client->login->slice, on_slice, 0., 0.);
    client->login->slice.data = client;
    weir_stream_open(&client->stream, loop, fd, 0, on_login_event);
    weir_stream_set_secret(&client->stream, true);
}
