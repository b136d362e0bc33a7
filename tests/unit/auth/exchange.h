/* Runs a client's proof against a server's proof, message by message, in memory. */
#ifndef TEST_AUTH_EXCHANGE_H
#define TEST_AUTH_EXCHANGE_H

#include <stdbool.h>

#include "weir/auth.h"
#include "weir/memory.h"
#include "weir/wire.h"

struct exchange {
    enum weir_auth_result as_server; /* how the asking side ended: weir_client_proof */
    enum weir_auth_result as_client; /* how the answering side ended: weir_server_proof */
    unsigned messages;               /* requests sent by the asking side */
    unsigned slices_as_server;       /* how often it was BUSY */
    unsigned slices_as_client;
    struct weir_credentials taken;
};

/* The body of the only message in the buffer: five header bytes are in front. */
static inline const uint8_t *message_body(const struct weir_buffer *buffer, size_t *length)
{
    size_t whole = weir_buffer_length(buffer);
    weir_require(whole >= WEIR_WIRE_HEADER);
    *length = weir_get_u32(weir_buffer_bytes(buffer) + 1) - 4;
    weir_require(*length == whole - WEIR_WIRE_HEADER);
    return weir_buffer_bytes(buffer) + WEIR_WIRE_HEADER;
}

static inline enum weir_auth_result ask(struct weir_client_proof *proof, const uint8_t *body,
                                        size_t length, struct weir_buffer *out, unsigned *slices)
{
    enum weir_auth_result result = weir_client_proof_step(proof, body, length, out);
    for (; result == WEIR_AUTH_BUSY; ++*slices)
        result = weir_client_proof_work(proof, out);
    return result;
}

static inline enum weir_auth_result answer(struct weir_server_proof *proof,
                                           const struct weir_buffer *request,
                                           struct weir_buffer *out, unsigned *slices)
{
    size_t length;
    const uint8_t *body = message_body(request, &length);
    enum weir_auth_result result = weir_server_proof_step(proof, body, length, out);
    for (; result == WEIR_AUTH_BUSY; ++*slices)
        result = weir_server_proof_work(proof, out);
    return result;
}

static inline struct exchange run_exchange(struct weir_auth_context *context,
                                           enum weir_auth_method method, const char *user,
                                           const char *secret,
                                           const struct weir_credentials *credentials)
{
    static const uint8_t authentication_ok[4] = {0};
    struct exchange run = {0};
    struct weir_buffer request = {0};
    struct weir_buffer reply = {0};
    struct weir_client_proof *asking = weir_client_proof_create(context, method, user, secret);
    struct weir_server_proof *answering = weir_server_proof_create(context, user, credentials);

    run.as_client = WEIR_AUTH_MORE;
    run.as_server = ask(asking, NULL, 0, &request, &run.slices_as_server);
    while (run.as_client == WEIR_AUTH_MORE && weir_buffer_length(&request) > 0) {
        run.messages++;
        run.as_client = answer(answering, &request, &reply, &run.slices_as_client);
        weir_buffer_clear(&request);
        if (weir_buffer_length(&reply) == 0)
            break;
        size_t length;
        const uint8_t *body = message_body(&reply, &length);
        run.as_server = ask(asking, body, length, &request, &run.slices_as_server);
        weir_buffer_clear(&reply);
    }
    if (run.as_server == WEIR_AUTH_OK && run.as_client == WEIR_AUTH_MORE)
        run.as_client = weir_server_proof_step(answering, authentication_ok, 4, &reply);
    weir_client_proof_take(asking, &run.taken);
    weir_client_proof_destroy(asking);
    weir_server_proof_destroy(answering);
    weir_buffer_clear(&request);
    weir_buffer_clear(&reply);
    return run;
}

#endif
