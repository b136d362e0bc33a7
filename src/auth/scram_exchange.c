#include "scram_exchange.h"

#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "weir/memory.h"
#include "weir/require.h"

void weir_scram_keys_from_salted(const uint8_t salted[WEIR_SCRAM_KEY], struct weir_scram_keys *keys)
{
    static const char client_label[] = "Client Key";
    static const char server_label[] = "Server Key";
    weir_hmac_sha256(salted, WEIR_SCRAM_KEY, client_label, sizeof(client_label) - 1,
                     keys->client_key);
    weir_hmac_sha256(salted, WEIR_SCRAM_KEY, server_label, sizeof(server_label) - 1,
                     keys->server_key);
}

void weir_scram_stored_key(const uint8_t client_key[WEIR_SCRAM_KEY],
                           uint8_t stored_key[WEIR_SCRAM_KEY])
{
    weir_sha256(client_key, WEIR_SCRAM_KEY, stored_key);
}

/* RFC 5802 section 6: what the client says of channel binding must agree with the mechanism it chose
 * and with what we have offered; else somebody between us took SCRAM-SHA-256-PLUS off the list. */
static const char *check_binding(const struct weir_scram_server *server, char binding)
{
    if (binding == 'p' && !server->plus)
        return "client demands SCRAM channel binding without having selected "
               "SCRAM-SHA-256-PLUS";
    if (binding != 'p' && server->plus)
        return "client selected SCRAM-SHA-256-PLUS without SCRAM channel binding";
    if (binding == 'y' && server->endpoint_length > 0)
        return "SCRAM channel binding negotiation error: client believes that it was not offered";
    return NULL;
}

/* The header of the first message again and the hash, in base64. */
static bool is_binding_right(const struct weir_scram_server *server, struct weir_span sent)
{
    static const char header[] = WEIR_SCRAM_BOUND_HEADER;
    uint8_t data[sizeof(header) + WEIR_AUTH_BINDING_MAX];
    char expected[WEIR_BASE64_SIZE(sizeof(data))];
    if (server->binding != 'p')
        return weir_span_equals(sent, server->binding == 'n' ? "biws" : "eSws");
    memcpy(data, header, sizeof(header) - 1);
    memcpy(data + sizeof(header) - 1, server->endpoint, server->endpoint_length);
    weir_base64_encode(data, sizeof(header) - 1 + server->endpoint_length, expected);
    return weir_span_equals(sent, expected);
}

const char *weir_scram_server_begin(struct weir_scram_server *server, const char *text,
                                    size_t length, struct weir_span salt, uint32_t iterations,
                                    const char *nonce)
{
    struct weir_scram_client_first first;
    weir_require(server->transcript == NULL);
    const char *problem = weir_scram_parse_client_first(text, length, &first);
    if (!problem)
        problem = check_binding(server, first.binding);
    if (problem)
        return problem;

    server->binding = first.binding;
    server->transcript = weir_format("%.*s,r=%.*s%s,s=%.*s,i=%u", (int)first.bare.length,
                                     first.bare.at, (int)first.nonce.length, first.nonce.at, nonce,
                                     (int)salt.length, salt.at, iterations);
    server->length = strlen(server->transcript);
    server->reply_at = first.bare.length + 1;
    server->reply_length = server->length - server->reply_at;
    server->nonce_length = first.nonce.length + strlen(nonce);
    return NULL;
}

const char *weir_scram_server_finish(struct weir_scram_server *server, const char *text,
                                     size_t length)
{
    struct weir_scram_client_final final;
    const char *problem = weir_scram_parse_client_final(text, length, &final);
    if (problem)
        return problem;
    if (!is_binding_right(server, final.binding))
        return "SCRAM channel binding data differs from the first message";
    if (final.nonce.length != server->nonce_length ||
        !weir_equal_secret(final.nonce.at, server->transcript + server->reply_at + 2,
                           server->nonce_length))
        return "SCRAM nonce differs from the one that was sent";

    char *whole = weir_format("%s,%.*s", server->transcript, (int) final.without_proof.length,
                              final.without_proof.at);
    free(server->transcript);
    server->transcript = whole;
    server->length = strlen(whole);
    memcpy(server->proof, final.proof, sizeof(server->proof));
    return NULL;
}

bool weir_scram_server_verify(const struct weir_scram_server *server,
                              const uint8_t stored_key[WEIR_SCRAM_KEY],
                              const uint8_t server_key[WEIR_SCRAM_KEY],
                              uint8_t client_key[WEIR_SCRAM_KEY], char final[WEIR_SCRAM_FINAL_SIZE])
{
    uint8_t signature[WEIR_SCRAM_KEY];
    uint8_t expected[WEIR_SCRAM_KEY];
    weir_hmac_sha256(stored_key, WEIR_SCRAM_KEY, server->transcript, server->length, signature);
    for (size_t i = 0; i < WEIR_SCRAM_KEY; i++)
        client_key[i] = server->proof[i] ^ signature[i];
    weir_scram_stored_key(client_key, expected);

    weir_hmac_sha256(server_key, WEIR_SCRAM_KEY, server->transcript, server->length, signature);
    final[0] = 'v';
    final[1] = '=';
    weir_base64_encode(signature, sizeof(signature), final + 2);
    bool right = weir_equal_secret(expected, stored_key, WEIR_SCRAM_KEY);
    weir_wipe(signature, sizeof(signature));
    weir_wipe(expected, sizeof(expected));
    return right;
}

void weir_scram_server_clear(struct weir_scram_server *server)
{
    free(server->transcript);
    weir_wipe(server, sizeof(*server));
}

#define BINDING_MAX 96 /* the longest header and the longest hash */

/* The user name stays empty: the server takes the one of the startup packet. */
static const char client_first_bare[] = "n=,r=";

char *weir_scram_client_begin(struct weir_scram_client *client,
                              const uint8_t random[WEIR_SCRAM_NONCE_BYTES], const uint8_t *endpoint,
                              size_t endpoint_length, bool unasked)
{
    client->header = endpoint != NULL ? "p=tls-server-end-point,," : unasked ? "y,," : "n,,";
    client->endpoint = endpoint;
    client->endpoint_length = endpoint != NULL ? endpoint_length : 0;
    weir_base64_encode(random, WEIR_SCRAM_NONCE_BYTES, client->nonce);
    return weir_format("%s%s%s", client->header, client_first_bare, client->nonce);
}

/* The header, and what the channel is known by. */
static void encode_binding(const struct weir_scram_client *client,
                           char text[WEIR_BASE64_SIZE(BINDING_MAX)])
{
    uint8_t bytes[BINDING_MAX];
    size_t length = strlen(client->header);
    weir_require(length + client->endpoint_length <= sizeof(bytes));
    memcpy(bytes, client->header, length);
    if (client->endpoint_length > 0)
        memcpy(bytes + length, client->endpoint, client->endpoint_length);
    weir_base64_encode(bytes, length + client->endpoint_length, text);
}

const char *weir_scram_client_continue(struct weir_scram_client *client, const char *text,
                                       size_t length, struct weir_scram_server_first *first)
{
    size_t own = strlen(client->nonce);
    weir_require(client->transcript == NULL);
    const char *problem = weir_scram_parse_server_first(text, length, first);
    if (problem)
        return problem;
    /* Without a part of the server's own an old exchange could be played back to us. */
    if (first->nonce.length <= own || memcmp(first->nonce.at, client->nonce, own) != 0)
        return "SCRAM nonce of the server does not extend ours";

    char *before = weir_format("%s%s,%.*s,", client_first_bare, client->nonce, (int)length, text);
    char binding[WEIR_BASE64_SIZE(BINDING_MAX)];
    encode_binding(client, binding);
    client->final_at = strlen(before);
    client->transcript =
        weir_format("%sc=%s,r=%.*s", before, binding, (int)first->nonce.length, first->nonce.at);
    client->length = strlen(client->transcript);
    free(before);
    return NULL;
}

char *weir_scram_client_prove(struct weir_scram_client *client, const struct weir_scram_keys *keys)
{
    uint8_t stored_key[WEIR_SCRAM_KEY];
    uint8_t proof[WEIR_SCRAM_KEY];
    char encoded[WEIR_BASE64_SIZE(WEIR_SCRAM_KEY)];
    weir_scram_stored_key(keys->client_key, stored_key);
    weir_hmac_sha256(stored_key, WEIR_SCRAM_KEY, client->transcript, client->length, proof);
    for (size_t i = 0; i < WEIR_SCRAM_KEY; i++)
        proof[i] ^= keys->client_key[i];
    weir_base64_encode(proof, sizeof(proof), encoded);
    weir_hmac_sha256(keys->server_key, WEIR_SCRAM_KEY, client->transcript, client->length,
                     client->signature);
    char *final = weir_format("%s,p=%s", client->transcript + client->final_at, encoded);
    weir_wipe(stored_key, sizeof(stored_key));
    weir_wipe(proof, sizeof(proof));
    weir_wipe(encoded, sizeof(encoded));
    return final;
}

const char *weir_scram_client_verify(const struct weir_scram_client *client, const char *text,
                                     size_t length, struct weir_span *error)
{
    struct weir_scram_server_final final;
    const char *problem = weir_scram_parse_server_final(text, length, &final);
    *error = (struct weir_span){0};
    if (problem)
        return problem;
    if (final.error.length > 0) {
        *error = final.error;
        return "server reports a SCRAM error";
    }
    if (!weir_equal_secret(final.signature, client->signature, sizeof(client->signature)))
        return "SCRAM signature of the server is wrong";
    return NULL;
}

void weir_scram_client_clear(struct weir_scram_client *client)
{
    free(client->transcript);
    weir_wipe(client, sizeof(*client));
}
