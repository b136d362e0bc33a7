#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "scram_exchange.h"
#include "secret.h"
#include "weir/auth.h"
#include "weir/memory.h"

#define PASSWORD_MAX 65536

enum proof_state {
    PROOF_START,
    PROOF_PASSWORD,      /* asked for the clear-text password */
    PROOF_OFFERED,       /* others judge that password */
    PROOF_MD5,           /* sent the MD5 salt */
    PROOF_MECHANISM,     /* sent the list of SASL mechanisms */
    PROOF_SCRAM_FIRST,   /* sent an empty challenge: the mechanism came without a first message */
    PROOF_SCRAM_FINAL,   /* sent the SCRAM challenge */
    PROOF_DERIVE_OFFER,  /* keys of the clear-text password against a SCRAM secret */
    PROOF_DERIVE_SECRET, /* keys of a plain secret against a SCRAM proof */
    PROOF_OVER,
};

struct weir_client_proof {
    struct weir_auth_context *context;
    enum weir_auth_method method;
    enum weir_secret_kind kind;     /* NONE: unknown user, nothing can succeed */
    enum weir_secret_kind imitated; /* what an unknown user's secret is to look like */
    enum proof_state state;
    char *user;
    char *secret;
    char *offer;               /* the clear-text password or MD5 response that the client sent */
    enum proof_state answered; /* the state in which its last answer came */
    bool made_up;              /* the SCRAM challenge has a salt of our own */
    const char *problem;
    uint8_t md5_salt[4];
    struct weir_scram_secret verifier; /* of a SCRAM secret; made up for other kinds */
    char made_salt[WEIR_BASE64_SIZE(WEIR_AUTH_SALT_BYTES)];
    uint8_t made_salt_bytes[WEIR_AUTH_SALT_BYTES];
    struct weir_scram_server scram;
    struct weir_derivation *derivation;
    struct weir_credentials credentials;
};

struct weir_client_proof *weir_client_proof_create(struct weir_auth_context *context,
                                                   enum weir_auth_method method, const char *user,
                                                   const char *secret)
{
    struct weir_client_proof *proof = weir_alloc(sizeof(*proof));
    proof->context = context;
    proof->method = method;
    proof->kind = weir_secret_kind_of(secret);
    proof->user = weir_strdup(user);
    proof->secret = proof->kind == WEIR_SECRET_NONE ? NULL : weir_strdup(secret);
    return proof;
}

void weir_client_proof_imitate(struct weir_client_proof *proof, enum weir_secret_kind kind)
{
    weir_require(proof->state == PROOF_START);
    if (proof->kind == WEIR_SECRET_NONE)
        proof->imitated = kind;
}

void weir_client_proof_bind(struct weir_client_proof *proof, const uint8_t *endpoint, size_t length)
{
    weir_require(proof->state == PROOF_START && length > 0 && length <= WEIR_AUTH_BINDING_MAX);
    memcpy(proof->scram.endpoint, endpoint, length);
    proof->scram.endpoint_length = length;
}

static bool looks_like_scram(const struct weir_client_proof *proof)
{
    return proof->kind == WEIR_SECRET_SCRAM ||
           (proof->kind == WEIR_SECRET_NONE && proof->imitated == WEIR_SECRET_SCRAM);
}

/* --- ends --------------------------------------------------------------------------------------
 */

static enum weir_auth_result broken(struct weir_client_proof *proof, const char *problem)
{
    proof->state = PROOF_OVER;
    proof->problem = problem;
    return WEIR_AUTH_BROKEN;
}

static enum weir_auth_result failed(struct weir_client_proof *proof)
{
    proof->state = PROOF_OVER;
    return WEIR_AUTH_FAILED;
}

static enum weir_auth_result sent(struct weir_client_proof *proof, struct weir_writer *writer,
                                  enum weir_auth_result result)
{
    return writer->failed ? broken(proof, "out of memory") : result;
}

/* --- requests ----------------------------------------------------------------------------------
 */

static enum weir_auth_result ask_password(struct weir_client_proof *proof, struct weir_buffer *out)
{
    struct weir_writer writer = weir_writer_to(out);
    weir_write_authentication(&writer, 3, NULL, 0);
    proof->state = PROOF_PASSWORD;
    return sent(proof, &writer, WEIR_AUTH_MORE);
}

static enum weir_auth_result ask_md5(struct weir_client_proof *proof, struct weir_buffer *out)
{
    struct weir_writer writer = weir_writer_to(out);
    weir_random_bytes(proof->md5_salt, sizeof(proof->md5_salt));
    weir_write_authentication(&writer, 5, proof->md5_salt, sizeof(proof->md5_salt));
    proof->state = PROOF_MD5;
    return sent(proof, &writer, WEIR_AUTH_MORE);
}

/* What a user without a SCRAM secret of its own is asked with. The keys are random, so a mock
 * exchange costs what a real one costs; those of a plain secret are derived when they are needed.
 */
static void make_up_verifier(struct weir_client_proof *proof)
{
    proof->made_up = true;
    weir_auth_salt_for(proof->context, proof->user, proof->made_salt_bytes);
    proof->verifier.salt = proof->made_salt;
    proof->verifier.salt_length =
        weir_base64_encode(proof->made_salt_bytes, WEIR_AUTH_SALT_BYTES, proof->made_salt);
    proof->verifier.iterations = WEIR_AUTH_ITERATIONS;
    weir_random_bytes(proof->verifier.stored_key, WEIR_SCRAM_KEY);
    weir_random_bytes(proof->verifier.server_key, WEIR_SCRAM_KEY);
}

static enum weir_auth_result ask_scram(struct weir_client_proof *proof, struct weir_buffer *out)
{
    /* A list ends with an empty name. */
    static const char mechanisms[] = WEIR_SCRAM_PLUS "\0" WEIR_SCRAM_MECHANISM "\0";
    size_t skip = proof->scram.endpoint_length > 0 ? 0 : sizeof(WEIR_SCRAM_PLUS);
    struct weir_writer writer = weir_writer_to(out);
    weir_write_authentication(&writer, 10, mechanisms + skip, sizeof(mechanisms) - skip);
    proof->state = PROOF_MECHANISM;
    return sent(proof, &writer, WEIR_AUTH_MORE);
}

static enum weir_auth_result start(struct weir_client_proof *proof, struct weir_buffer *out)
{
    switch (proof->method) {
    case WEIR_AUTH_TRUST:
        proof->state = PROOF_OVER;
        return WEIR_AUTH_OK;
    case WEIR_AUTH_PLAIN:
    case WEIR_AUTH_OUTSIDE:
        return ask_password(proof, out);
    case WEIR_AUTH_MD5:
        return looks_like_scram(proof) ? ask_scram(proof, out) : ask_md5(proof, out);
    case WEIR_AUTH_SCRAM:
        return ask_scram(proof, out);
    case WEIR_AUTH_REJECT:
        break;
    }
    return failed(proof);
}

/* --- clear-text and MD5 answers ------------------------------------------------------------------
 */

/* The answer is one terminated string; NULL when it is not. */
static const char *read_answer(const uint8_t *body, size_t length)
{
    struct weir_reader reader;
    weir_reader_init(&reader, body, length);
    const char *answer = weir_read_string(&reader);
    return weir_reader_left(&reader) == 0 ? answer : NULL;
}

/* Digests of equal length are compared, so time does not depend on where passwords differ. */
static bool equal_text(const char *left, const char *right)
{
    uint8_t left_digest[WEIR_SHA256_LENGTH];
    uint8_t right_digest[WEIR_SHA256_LENGTH];
    weir_sha256(left, strlen(left), left_digest);
    weir_sha256(right, strlen(right), right_digest);
    bool equal = weir_equal_secret(left_digest, right_digest, sizeof(left_digest));
    weir_wipe(left_digest, sizeof(left_digest));
    weir_wipe(right_digest, sizeof(right_digest));
    return equal;
}

static enum weir_auth_result judge_offer(struct weir_client_proof *proof, bool right)
{
    if (!right)
        return failed(proof);
    proof->credentials.password = proof->offer;
    proof->offer = NULL;
    proof->state = PROOF_OVER;
    return WEIR_AUTH_OK;
}

static enum weir_auth_result finish_offer(struct weir_client_proof *proof,
                                          const struct weir_scram_keys *keys)
{
    bool right = weir_equal_secret(keys->server_key, proof->verifier.server_key, WEIR_SCRAM_KEY) &&
                 proof->kind == WEIR_SECRET_SCRAM;
    if (right && proof->derivation)
        weir_derivation_remember(proof->derivation);
    return judge_offer(proof, right);
}

static enum weir_auth_result compare_scram_secret(struct weir_client_proof *proof)
{
    struct weir_scram_keys keys;
    uint8_t salt[WEIR_SCRAM_SALT_MAX];
    size_t salt_length = 0;
    bool valid = weir_scram_secret_parse(proof->secret, &proof->verifier) &&
                 weir_base64_decode(proof->verifier.salt, proof->verifier.salt_length, salt,
                                    sizeof(salt), &salt_length);
    weir_require(valid);
    proof->derivation = weir_derivation_start(proof->context, proof->offer, salt, salt_length,
                                              proof->verifier.iterations, &keys);
    if (proof->derivation) {
        proof->state = PROOF_DERIVE_OFFER;
        return WEIR_AUTH_BUSY;
    }
    enum weir_auth_result result = finish_offer(proof, &keys);
    weir_wipe(&keys, sizeof(keys));
    return result;
}

/* The work that a SCRAM secret would have made. */
static enum weir_auth_result pretend_to_compare(struct weir_client_proof *proof)
{
    struct weir_scram_keys keys;
    make_up_verifier(proof);
    proof->derivation =
        weir_derivation_start(proof->context, proof->offer, proof->made_salt_bytes,
                              WEIR_AUTH_SALT_BYTES, proof->verifier.iterations, &keys);
    if (!proof->derivation)
        return failed(proof);
    proof->state = PROOF_DERIVE_OFFER;
    return WEIR_AUTH_BUSY;
}

static bool fits_md5_secret(const struct weir_client_proof *proof, const char *password)
{
    char digest[WEIR_SECRET_MD5_LENGTH + 1];
    weir_md5_secret(password, proof->user, digest);
    bool fits = weir_equal_secret(digest, proof->secret, WEIR_SECRET_MD5_LENGTH);
    weir_wipe(digest, sizeof(digest));
    return fits;
}

static enum weir_auth_result judge_password(struct weir_client_proof *proof)
{
    const char *answer = proof->offer;
    /* PostgreSQL has no empty passwords: who sends one means to have none. */
    if (!*answer)
        return failed(proof);

    switch (proof->kind) {
    case WEIR_SECRET_PLAIN:
        return judge_offer(proof, equal_text(answer, proof->secret));
    case WEIR_SECRET_MD5:
        return judge_offer(proof, fits_md5_secret(proof, answer));
    case WEIR_SECRET_SCRAM:
        return compare_scram_secret(proof);
    case WEIR_SECRET_NONE:
        break;
    }
    if (looks_like_scram(proof))
        return pretend_to_compare(proof);
    return judge_offer(proof, equal_text(answer, proof->user) && false);
}

static enum weir_auth_result judge_md5(struct weir_client_proof *proof)
{
    char secret[WEIR_SECRET_MD5_LENGTH + 1];
    char expected[WEIR_SECRET_MD5_LENGTH + 1];
    const char *answer = proof->offer;
    if (proof->kind == WEIR_SECRET_MD5)
        memcpy(secret, proof->secret, sizeof(secret));
    else
        weir_md5_secret(proof->secret ? proof->secret : "", proof->user, secret);
    weir_md5_response(secret, proof->md5_salt, expected);
    bool right = proof->kind != WEIR_SECRET_NONE && strlen(answer) == WEIR_SECRET_MD5_LENGTH &&
                 weir_equal_secret(answer, expected, WEIR_SECRET_MD5_LENGTH);
    weir_wipe(secret, sizeof(secret));
    weir_wipe(expected, sizeof(expected));
    if (!right)
        return failed(proof);

    proof->state = PROOF_OVER;
    if (proof->kind == WEIR_SECRET_MD5)
        proof->credentials.md5 = weir_strdup(proof->secret);
    else
        proof->credentials.password = weir_strdup(proof->secret);
    return WEIR_AUTH_OK;
}

/* One string, kept, that answers a question for a clear-text password or an MD5 response. */
static enum weir_auth_result take_text(struct weir_client_proof *proof, const uint8_t *body,
                                       size_t length)
{
    const char *answer = length > PASSWORD_MAX + 1 ? NULL : read_answer(body, length);
    if (!answer)
        return broken(proof, "malformed password message");
    proof->offer = weir_strdup(answer);
    proof->answered = proof->state;
    if (proof->method == WEIR_AUTH_OUTSIDE) {
        proof->state = PROOF_OFFERED;
        return WEIR_AUTH_OFFERED;
    }
    return proof->state == PROOF_MD5 ? judge_md5(proof) : judge_password(proof);
}

/* --- SCRAM ----------------------------------------------------------------------------- */

static enum weir_auth_result take_scram_first(struct weir_client_proof *proof, const char *text,
                                              size_t length, struct weir_buffer *out)
{
    uint8_t random[WEIR_SCRAM_NONCE_BYTES];
    char nonce[WEIR_SCRAM_NONCE_SIZE];
    weir_random_bytes(random, sizeof(random));
    weir_base64_encode(random, sizeof(random), nonce);

    if (proof->kind != WEIR_SECRET_SCRAM ||
        !weir_scram_secret_parse(proof->secret, &proof->verifier))
        make_up_verifier(proof);
    struct weir_span salt = {.at = proof->verifier.salt, .length = proof->verifier.salt_length};
    const char *problem = weir_scram_server_begin(&proof->scram, text, length, salt,
                                                  proof->verifier.iterations, nonce);
    if (problem)
        return broken(proof, problem);

    struct weir_writer writer = weir_writer_to(out);
    weir_write_authentication(&writer, 11, proof->scram.transcript + proof->scram.reply_at,
                              proof->scram.reply_length);
    proof->state = PROOF_SCRAM_FINAL;
    return sent(proof, &writer, WEIR_AUTH_MORE);
}

/* SASLInitialResponse: mechanism, length (-1 for none), the client's first message. */
static enum weir_auth_result take_mechanism(struct weir_client_proof *proof, const uint8_t *body,
                                            size_t length, struct weir_buffer *out)
{
    struct weir_reader reader;
    weir_reader_init(&reader, body, length);
    const char *mechanism = weir_read_string(&reader);
    uint32_t text_length = weir_read_u32(&reader);
    if (reader.failed || !mechanism)
        return broken(proof, "malformed SASL initial response");
    proof->scram.plus = proof->scram.endpoint_length > 0 && strcmp(mechanism, WEIR_SCRAM_PLUS) == 0;
    if (!proof->scram.plus && strcmp(mechanism, WEIR_SCRAM_MECHANISM) != 0)
        return broken(proof, "client selected a SASL mechanism that was not offered");
    if (text_length == UINT32_MAX && weir_reader_left(&reader) == 0) {
        struct weir_writer writer = weir_writer_to(out);
        weir_write_authentication(&writer, 11, NULL, 0);
        proof->state = PROOF_SCRAM_FIRST;
        return sent(proof, &writer, WEIR_AUTH_MORE);
    }
    if (text_length != weir_reader_left(&reader))
        return broken(proof, "malformed SASL initial response");
    const uint8_t *text = weir_read_bytes(&reader, text_length);
    return take_scram_first(proof, (const char *)text, text_length, out);
}

static enum weir_auth_result judge_scram(struct weir_client_proof *proof, struct weir_buffer *out)
{
    uint8_t client_key[WEIR_SCRAM_KEY];
    char final[WEIR_SCRAM_FINAL_SIZE];
    bool right = weir_scram_server_verify(&proof->scram, proof->verifier.stored_key,
                                          proof->verifier.server_key, client_key, final);
    /* The keys of a mock exchange are random; this makes sure of it. */
    right = right && (proof->kind == WEIR_SECRET_SCRAM || proof->kind == WEIR_SECRET_PLAIN);
    if (!right) {
        weir_wipe(client_key, sizeof(client_key));
        return failed(proof);
    }

    if (proof->kind == WEIR_SECRET_SCRAM) {
        proof->credentials.has_keys = true;
        memcpy(proof->credentials.client_key, client_key, WEIR_SCRAM_KEY);
        memcpy(proof->credentials.server_key, proof->verifier.server_key, WEIR_SCRAM_KEY);
    } else {
        /* Keys under the salt that we made up are of no use with a server, the password is. */
        proof->credentials.password = weir_strdup(proof->secret);
    }
    weir_wipe(client_key, sizeof(client_key));

    struct weir_writer writer = weir_writer_to(out);
    weir_write_authentication(&writer, 12, final, strlen(final));
    proof->state = PROOF_OVER;
    return sent(proof, &writer, WEIR_AUTH_OK);
}

static enum weir_auth_result judge_plain_secret(struct weir_client_proof *proof,
                                                struct weir_scram_keys *keys,
                                                struct weir_buffer *out)
{
    weir_scram_stored_key(keys->client_key, proof->verifier.stored_key);
    memcpy(proof->verifier.server_key, keys->server_key, WEIR_SCRAM_KEY);
    weir_wipe(keys, sizeof(*keys));
    return judge_scram(proof, out);
}

static enum weir_auth_result derive_secret(struct weir_client_proof *proof, struct weir_buffer *out)
{
    struct weir_scram_keys keys;
    proof->derivation = weir_derivation_start(proof->context, proof->secret, proof->made_salt_bytes,
                                              WEIR_AUTH_SALT_BYTES, WEIR_AUTH_ITERATIONS, &keys);
    if (!proof->derivation)
        return judge_plain_secret(proof, &keys, out);
    proof->state = PROOF_DERIVE_SECRET;
    return WEIR_AUTH_BUSY;
}

static enum weir_auth_result take_scram_final(struct weir_client_proof *proof, const char *text,
                                              size_t length, struct weir_buffer *out)
{
    const char *problem = weir_scram_server_finish(&proof->scram, text, length);
    if (problem)
        return broken(proof, problem);
    proof->answered = PROOF_SCRAM_FINAL;
    return proof->kind == WEIR_SECRET_PLAIN ? derive_secret(proof, out) : judge_scram(proof, out);
}

/* --- the face ----------------------------------------------------------------------------------
 */

enum weir_auth_result weir_client_proof_step(struct weir_client_proof *proof, const uint8_t *body,
                                             size_t length, struct weir_buffer *out)
{
    if (proof->state == PROOF_START)
        return start(proof, out);
    if (!body && length == 0)
        body = (const uint8_t *)"";

    switch (proof->state) {
    case PROOF_PASSWORD:
    case PROOF_MD5:
        return take_text(proof, body, length);
    case PROOF_MECHANISM:
        return take_mechanism(proof, body, length, out);
    case PROOF_SCRAM_FIRST:
        return take_scram_first(proof, (const char *)body, length, out);
    case PROOF_SCRAM_FINAL:
        return take_scram_final(proof, (const char *)body, length, out);
    case PROOF_OFFERED:
    case PROOF_DERIVE_OFFER:
    case PROOF_DERIVE_SECRET:
    case PROOF_START:
    case PROOF_OVER:
        break;
    }
    return broken(proof, "authentication message was not asked for");
}

size_t weir_client_proof_longest(const struct weir_client_proof *proof)
{
    /* A mechanism's name and a length come before the first SCRAM message. */
    return proof->state == PROOF_PASSWORD ? PASSWORD_MAX + 1 : WEIR_SCRAM_MESSAGE_MAX + 64;
}

enum weir_auth_result weir_client_proof_work(struct weir_client_proof *proof,
                                             struct weir_buffer *out)
{
    struct weir_scram_keys keys;
    weir_require(proof->state == PROOF_DERIVE_OFFER || proof->state == PROOF_DERIVE_SECRET);
    if (!weir_derivation_work(proof->derivation, &keys))
        return WEIR_AUTH_BUSY;

    enum weir_auth_result result;
    if (proof->state == PROOF_DERIVE_SECRET) {
        weir_derivation_remember(proof->derivation);
        result = judge_plain_secret(proof, &keys, out);
    } else {
        result = finish_offer(proof, &keys);
    }
    weir_wipe(&keys, sizeof(keys));
    weir_derivation_release(proof->derivation);
    proof->derivation = NULL;
    return result;
}

static void replace_secret(struct weir_client_proof *proof, const char *secret)
{
    weir_free_secret(proof->secret);
    proof->kind = weir_secret_kind_of(secret);
    proof->secret = proof->kind == WEIR_SECRET_NONE ? NULL : weir_strdup(secret);
}

enum weir_auth_result weir_client_proof_again(struct weir_client_proof *proof, const char *secret,
                                              struct weir_buffer *out)
{
    weir_require(proof->state == PROOF_OVER && !proof->derivation);
    replace_secret(proof, secret);
    switch (proof->answered) {
    case PROOF_PASSWORD:
        return judge_password(proof);
    case PROOF_MD5:
        return proof->kind == WEIR_SECRET_SCRAM ? failed(proof) : judge_md5(proof);
    case PROOF_SCRAM_FINAL:
        /* `verifier` points into the secret that is gone; a salt of our own serves any password. */
        return proof->made_up && proof->kind == WEIR_SECRET_PLAIN ? derive_secret(proof, out)
                                                                  : failed(proof);
    default:
        return failed(proof);
    }
}

const char *weir_client_proof_offer(const struct weir_client_proof *proof)
{
    weir_require(proof->state == PROOF_OFFERED);
    return proof->offer;
}

enum weir_auth_result weir_client_proof_judged(struct weir_client_proof *proof, bool right)
{
    weir_require(proof->state == PROOF_OFFERED);
    return judge_offer(proof, right);
}

const char *weir_client_proof_problem(const struct weir_client_proof *proof)
{
    return proof->problem ? proof->problem : "";
}

void weir_client_proof_take(struct weir_client_proof *proof, struct weir_credentials *credentials)
{
    *credentials = proof->credentials;
    weir_wipe(&proof->credentials, sizeof(proof->credentials));
}

void weir_client_proof_destroy(struct weir_client_proof *proof)
{
    if (!proof)
        return;
    weir_derivation_release(proof->derivation);
    weir_scram_server_clear(&proof->scram);
    weir_credentials_clear(&proof->credentials);
    weir_free_secret(proof->secret);
    weir_free_secret(proof->offer);
    free(proof->user);
    weir_wipe(proof, sizeof(*proof));
    free(proof);
}
