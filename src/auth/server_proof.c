#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "scram_exchange.h"
#include "secret.h"
#include "weir/auth.h"
#include "weir/memory.h"

enum proof_state {
    PROOF_START,
    PROOF_ANSWERED,    /* sent a clear-text or MD5 answer */
    PROOF_SCRAM_FIRST, /* sent our first SCRAM message */
    PROOF_DERIVING,
    PROOF_SCRAM_FINAL, /* sent our proof */
    PROOF_VERIFIED,    /* the server's signature was right */
    PROOF_OVER,
};

struct weir_server_proof {
    struct weir_auth_context *context;
    enum proof_state state;
    char *user;
    struct weir_credentials credentials;
    char *problem;
    struct weir_channel channel;
    bool bound; /* the SCRAM exchange is bound to the channel */
    struct weir_scram_client scram;
    struct weir_derivation *derivation;
};

static char *copy_text(const char *text)
{
    return text ? weir_strdup(text) : NULL;
}

struct weir_server_proof *weir_server_proof_create(struct weir_auth_context *context,
                                                   const char *user,
                                                   const struct weir_credentials *credentials)
{
    struct weir_server_proof *proof = weir_alloc(sizeof(*proof));
    proof->context = context;
    proof->user = weir_strdup(user);
    if (credentials) {
        proof->credentials = *credentials;
        proof->credentials.password = copy_text(credentials->password);
        proof->credentials.md5 = copy_text(credentials->md5);
    }
    return proof;
}

void weir_server_proof_bind(struct weir_server_proof *proof, const struct weir_channel *channel)
{
    proof->channel = *channel;
}

/* --- ends --------------------------------------------------------------------------------------
 */

/* Takes `problem`, which is fresh memory. */
static enum weir_auth_result end(struct weir_server_proof *proof, enum weir_auth_result result,
                                 char *problem)
{
    proof->state = PROOF_OVER;
    free(proof->problem);
    proof->problem = problem;
    return result;
}

static enum weir_auth_result broken(struct weir_server_proof *proof, const char *problem)
{
    return end(proof, WEIR_AUTH_BROKEN, weir_strdup(problem));
}

static enum weir_auth_result no_password(struct weir_server_proof *proof, const char *method)
{
    return end(proof, WEIR_AUTH_FAILED,
               weir_format("server demands %s authentication and there is no password for user "
                           "\"%s\" that fits",
                           method, proof->user));
}

static enum weir_auth_result unsupported(struct weir_server_proof *proof, const char *method)
{
    return end(proof, WEIR_AUTH_FAILED,
               weir_format("server demands %s authentication, which is not supported", method));
}

static enum weir_auth_result reply(struct weir_server_proof *proof, struct weir_buffer *out,
                                   const void *body, size_t length, enum proof_state state)
{
    struct weir_writer writer = weir_writer_to(out);
    weir_write_password(&writer, body, length);
    if (writer.failed)
        return broken(proof, "out of memory");
    proof->state = state;
    return WEIR_AUTH_MORE;
}

/* Texts of the server go into problems only after this: printable, and not endless. */
static char *clean_text(const char *text, size_t length)
{
    char *clean = weir_strndup(text, length < 100 ? length : 100);
    for (char *at = clean; *at; at++) {
        if (*at < 0x20 || *at > 0x7e)
            *at = '?';
    }
    return clean;
}

/* Whoever sits between knows nothing that is worth anything until we have said something that he could
 * pass on: before that the demand is made. */
static enum weir_auth_result not_bound(struct weir_server_proof *proof)
{
    return end(proof, WEIR_AUTH_FAILED,
               weir_strdup(proof->channel.secured
                               ? "channel_binding=require, but the server offers no authentication "
                                 "with channel binding"
                               : "channel_binding=require, but the connection does not use TLS"));
}

/* --- clear-text and MD5 ---------------------------------------------------------------- */

static enum weir_auth_result answer_password(struct weir_server_proof *proof,
                                             struct weir_buffer *out)
{
    const char *password = proof->credentials.password;
    if (!password)
        return no_password(proof, "clear-text password");
    return reply(proof, out, password, strlen(password) + 1, PROOF_ANSWERED);
}

static enum weir_auth_result answer_md5(struct weir_server_proof *proof, struct weir_reader *reader,
                                        struct weir_buffer *out)
{
    char secret[WEIR_SECRET_MD5_LENGTH + 1];
    char response[WEIR_SECRET_MD5_LENGTH + 1];
    const uint8_t *salt = weir_read_bytes(reader, 4);
    if (!salt || weir_reader_left(reader) > 0)
        return broken(proof, "malformed MD5 authentication request");
    if (proof->credentials.password)
        weir_md5_secret(proof->credentials.password, proof->user, secret);
    else if (weir_secret_kind_of(proof->credentials.md5) == WEIR_SECRET_MD5)
        memcpy(secret, proof->credentials.md5, sizeof(secret));
    else
        return no_password(proof, "MD5");

    weir_md5_response(secret, salt, response);
    enum weir_auth_result result = reply(proof, out, response, sizeof(response), PROOF_ANSWERED);
    weir_wipe(secret, sizeof(secret));
    weir_wipe(response, sizeof(response));
    return result;
}

/* --- SCRAM ----------------------------------------------------------------------------- */

/* SASLInitialResponse: mechanism, length, our first message. */
static enum weir_auth_result send_first(struct weir_server_proof *proof, struct weir_buffer *out)
{
    uint8_t random[WEIR_SCRAM_NONCE_BYTES];
    weir_random_bytes(random, sizeof(random));
    const struct weir_channel *channel = &proof->channel;
    char *first = weir_scram_client_begin(
        &proof->scram, random, proof->bound ? channel->endpoint : NULL, channel->endpoint_length,
        channel->secured && channel->wanted && channel->endpoint_length > 0);
    size_t length = strlen(first);

    struct weir_writer writer = weir_writer_to(out);
    size_t begin = weir_message_begin(&writer, 'p');
    weir_write_string(&writer, proof->bound ? WEIR_SCRAM_MECHANISM "-PLUS" : WEIR_SCRAM_MECHANISM);
    weir_write_u32(&writer, (uint32_t)length);
    weir_write_bytes(&writer, first, length);
    weir_message_end(&writer, begin);
    free(first);
    if (writer.failed)
        return broken(proof, "out of memory");
    proof->state = PROOF_SCRAM_FIRST;
    return WEIR_AUTH_MORE;
}

static enum weir_auth_result answer_sasl(struct weir_server_proof *proof,
                                         struct weir_reader *reader, struct weir_buffer *out)
{
    bool offered = false;
    bool binding = false;
    const char *first_name = NULL;
    for (;;) {
        const char *name = weir_read_string(reader);
        if (!name)
            return broken(proof, "malformed list of SASL mechanisms");
        if (!*name)
            break;
        first_name = first_name ? first_name : name;
        offered = offered || strcmp(name, WEIR_SCRAM_MECHANISM) == 0;
        binding = binding || strcmp(name, WEIR_SCRAM_MECHANISM "-PLUS") == 0;
    }
    if (weir_reader_left(reader) > 0)
        return broken(proof, "malformed list of SASL mechanisms");
    const struct weir_channel *channel = &proof->channel;
    proof->bound = binding && channel->wanted && channel->endpoint_length > 0;
    if (channel->required && !proof->bound)
        return not_bound(proof);
    if (!offered && !proof->bound) {
        if (binding)
            return unsupported(proof, WEIR_SCRAM_MECHANISM "-PLUS (channel binding)");
        char *name = clean_text(first_name ? first_name : "", first_name ? strlen(first_name) : 0);
        char *method = weir_format("SASL \"%s\"", name);
        enum weir_auth_result result = unsupported(proof, method);
        free(method);
        free(name);
        return result;
    }
    if (!proof->credentials.password && !proof->credentials.has_keys)
        return no_password(proof, WEIR_SCRAM_MECHANISM);

    return send_first(proof, out);
}

static enum weir_auth_result send_proof(struct weir_server_proof *proof,
                                        struct weir_scram_keys *keys, struct weir_buffer *out)
{
    char *final = weir_scram_client_prove(&proof->scram, keys);
    weir_wipe(keys, sizeof(*keys));
    enum weir_auth_result result = reply(proof, out, final, strlen(final), PROOF_SCRAM_FINAL);
    weir_free_secret(final);
    return result;
}

static enum weir_auth_result answer_challenge(struct weir_server_proof *proof,
                                              struct weir_reader *reader, struct weir_buffer *out)
{
    struct weir_scram_server_first first;
    struct weir_scram_keys keys;
    size_t length = weir_reader_left(reader);
    const char *text = (const char *)weir_read_bytes(reader, length);
    if (proof->state != PROOF_SCRAM_FIRST)
        return broken(proof, "server sends a SASL challenge that is not due");
    const char *problem =
        weir_scram_client_continue(&proof->scram, text ? text : "", length, &first);
    if (problem)
        return broken(proof, problem);

    /* A password fits whatever salt the server has; keys only the salt they were made with. */
    if (proof->credentials.password) {
        proof->derivation =
            weir_derivation_start(proof->context, proof->credentials.password, first.salt,
                                  first.salt_length, first.iterations, &keys);
        if (proof->derivation) {
            proof->state = PROOF_DERIVING;
            return WEIR_AUTH_BUSY;
        }
    } else {
        memcpy(keys.client_key, proof->credentials.client_key, WEIR_SCRAM_KEY);
        memcpy(keys.server_key, proof->credentials.server_key, WEIR_SCRAM_KEY);
    }
    return send_proof(proof, &keys, out);
}

static enum weir_auth_result check_signature(struct weir_server_proof *proof,
                                             struct weir_reader *reader)
{
    struct weir_span error;
    size_t length = weir_reader_left(reader);
    const char *text = (const char *)weir_read_bytes(reader, length);
    if (proof->state != PROOF_SCRAM_FINAL)
        return broken(proof, "server sends a SASL outcome that is not due");
    const char *problem = weir_scram_client_verify(&proof->scram, text ? text : "", length, &error);
    if (error.length > 0) {
        char *reason = clean_text(error.at, error.length);
        char *whole = weir_format("%s: %s", problem, reason);
        free(reason);
        return end(proof, WEIR_AUTH_FAILED, whole);
    }
    if (problem)
        return broken(proof, problem);
    proof->state = PROOF_VERIFIED;
    return WEIR_AUTH_MORE;
}

/* --- the face ----------------------------------------------------------------------------------
 */

static enum weir_auth_result finish(struct weir_server_proof *proof, struct weir_reader *reader)
{
    if (weir_reader_left(reader) > 0)
        return broken(proof, "malformed AuthenticationOk");
    if (proof->channel.required && !(proof->bound && proof->state == PROOF_VERIFIED))
        return not_bound(proof);
    if (proof->state == PROOF_SCRAM_FIRST || proof->state == PROOF_SCRAM_FINAL)
        return broken(proof, "server ends the SCRAM exchange without proving itself");
    proof->state = PROOF_OVER;
    return WEIR_AUTH_OK;
}

static enum weir_auth_result answer_other(struct weir_server_proof *proof, uint32_t code)
{
    switch (code) {
    case 2:
        return unsupported(proof, "Kerberos 5");
    case 4:
        return unsupported(proof, "crypt password");
    case 6:
        return unsupported(proof, "SCM credential");
    case 7:
        return unsupported(proof, "GSSAPI");
    case 9:
        return unsupported(proof, "SSPI");
    default:
        return end(proof, WEIR_AUTH_FAILED,
                   weir_format("server demands unknown authentication method %u", code));
    }
}

enum weir_auth_result weir_server_proof_step(struct weir_server_proof *proof, const uint8_t *body,
                                             size_t length, struct weir_buffer *out)
{
    struct weir_reader reader;
    weir_reader_init(&reader, length > 0 ? body : (const uint8_t *)"", length);
    uint32_t code = weir_read_u32(&reader);
    if (reader.failed)
        return broken(proof, "malformed authentication request");
    if (proof->state == PROOF_OVER || proof->state == PROOF_DERIVING)
        return broken(proof, "server sends an authentication message that is not due");

    switch (code) {
    case 0:
        return finish(proof, &reader);
    case 11:
        return answer_challenge(proof, &reader, out);
    case 12:
        return check_signature(proof, &reader);
    default:
        break;
    }
    if (proof->state != PROOF_START)
        return broken(proof, "server demands authentication a second time");
    if (proof->channel.required && code != 10)
        return not_bound(proof);
    switch (code) {
    case 3:
        if (weir_reader_left(&reader) > 0)
            return broken(proof, "malformed password authentication request");
        return answer_password(proof, out);
    case 5:
        return answer_md5(proof, &reader, out);
    case 10:
        return answer_sasl(proof, &reader, out);
    default:
        return answer_other(proof, code);
    }
}

enum weir_auth_result weir_server_proof_work(struct weir_server_proof *proof,
                                             struct weir_buffer *out)
{
    struct weir_scram_keys keys;
    weir_require(proof->state == PROOF_DERIVING);
    if (!weir_derivation_work(proof->derivation, &keys))
        return WEIR_AUTH_BUSY;
    weir_derivation_remember(proof->derivation);
    weir_derivation_release(proof->derivation);
    proof->derivation = NULL;
    return send_proof(proof, &keys, out);
}

const char *weir_server_proof_problem(const struct weir_server_proof *proof)
{
    return proof->problem ? proof->problem : "";
}

void weir_server_proof_destroy(struct weir_server_proof *proof)
{
    if (!proof)
        return;
    weir_derivation_release(proof->derivation);
    weir_scram_client_clear(&proof->scram);
    weir_credentials_clear(&proof->credentials);
    free(proof->problem);
    free(proof->user);
    weir_wipe(proof, sizeof(*proof));
    free(proof);
}
