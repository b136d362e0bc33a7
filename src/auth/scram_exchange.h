/* One SCRAM-SHA-256 exchange, from the server's and from the client's side, without any knowledge
 * of PostgreSQL's messages, passwords or caches: RFC 5802 section 3 and 5. */
#ifndef WEIR_AUTH_SCRAM_EXCHANGE_H
#define WEIR_AUTH_SCRAM_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base64.h"
#include "scram_message.h"
#include "weir/auth.h"

#define WEIR_SCRAM_NONCE_BYTES 18
#define WEIR_SCRAM_NONCE_SIZE  WEIR_BASE64_SIZE(WEIR_SCRAM_NONCE_BYTES)
#define WEIR_SCRAM_FINAL_SIZE  (2 + WEIR_BASE64_SIZE(WEIR_SCRAM_KEY)) /* "v=..." */

struct weir_scram_keys {
    uint8_t client_key[WEIR_SCRAM_KEY];
    uint8_t server_key[WEIR_SCRAM_KEY];
};

/* From Hi(password, salt, iterations). */
void weir_scram_keys_from_salted(const uint8_t salted[WEIR_SCRAM_KEY],
                                 struct weir_scram_keys *keys);
/* H(ClientKey), the half of a verifier that proves the client. */
void weir_scram_stored_key(const uint8_t client_key[WEIR_SCRAM_KEY],
                           uint8_t stored_key[WEIR_SCRAM_KEY]);

/* --- we are the server -------------------------------------------------------------------------
 */

struct weir_scram_server {
    /* Set before it begins: the hash of our certificate (length 0: no channel to bind to), and
     * whether the client chose to be bound. */
    uint8_t endpoint[WEIR_AUTH_BINDING_MAX];
    size_t endpoint_length;
    bool plus;
    char binding;     /* 'n', 'y' or 'p' of the first message */
    char *transcript; /* AuthMessage as far as it is known */
    size_t length;
    size_t reply_at; /* where our first message begins in it */
    size_t reply_length;
    size_t nonce_length; /* of the joint nonce, which begins at reply_at + 2 */
    uint8_t proof[WEIR_SCRAM_KEY];
};

/* Takes the client's first message and makes our answer, found at transcript + reply_at. `salt` is
 * base64 text. Returns NULL or what is wrong. */
const char *weir_scram_server_begin(struct weir_scram_server *server, const char *text,
                                    size_t length, struct weir_span salt, uint32_t iterations,
                                    const char *nonce);
/* Takes the client's final message: binding and nonce are checked, the proof is kept. */
const char *weir_scram_server_finish(struct weir_scram_server *server, const char *text,
                                     size_t length);
/* Whether the proof fits the verifier. Fills in the client's key, recovered from the proof, and our
 * final message; both are meaningless when the answer is no. */
bool weir_scram_server_verify(const struct weir_scram_server *server,
                              const uint8_t stored_key[WEIR_SCRAM_KEY],
                              const uint8_t server_key[WEIR_SCRAM_KEY],
                              uint8_t client_key[WEIR_SCRAM_KEY],
                              char final[WEIR_SCRAM_FINAL_SIZE]);
void weir_scram_server_clear(struct weir_scram_server *server);

/* --- we are the client -------------------------------------------------------------------------
 */

struct weir_scram_client {
    char nonce[WEIR_SCRAM_NONCE_SIZE];
    char *transcript; /* AuthMessage */
    size_t length;
    const char *header;      /* gs2: "n,,", "y,,"; bound: "p=tls-server-end-point,," */
    const uint8_t *endpoint; /* bound: what to; must live as long */
    size_t endpoint_length;
    size_t final_at;                   /* where our final message without proof begins in it */
    uint8_t signature[WEIR_SCRAM_KEY]; /* that the server must send */
};

/* Our first message, freed by the caller. `endpoint` NULL: not bound; `unasked` then says that we
 * would have been able to, had the server offered it. */
char *weir_scram_client_begin(struct weir_scram_client *client,
                              const uint8_t random[WEIR_SCRAM_NONCE_BYTES], const uint8_t *endpoint,
                              size_t endpoint_length, bool unasked);
/* Takes the server's first message: fills in salt and iterations. */
const char *weir_scram_client_continue(struct weir_scram_client *client, const char *text,
                                       size_t length, struct weir_scram_server_first *first);
/* Our final message, freed by the caller. */
char *weir_scram_client_prove(struct weir_scram_client *client, const struct weir_scram_keys *keys);
/* Takes the server's final message: NULL only when its signature is right. On an error sent by the
 * server `*error` is its text. */
const char *weir_scram_client_verify(const struct weir_scram_client *client, const char *text,
                                     size_t length, struct weir_span *error);
void weir_scram_client_clear(struct weir_scram_client *client);

#endif
