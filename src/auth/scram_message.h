/* The four messages of SCRAM as text: RFC 5802 section 7. Parsers are pure and bounded by the given
 * length; results point into the message. Each returns NULL, or English text saying what is wrong.
 */
#ifndef WEIR_AUTH_SCRAM_MESSAGE_H
#define WEIR_AUTH_SCRAM_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/auth.h"

#define WEIR_SCRAM_MECHANISM      "SCRAM-SHA-256"
#define WEIR_SCRAM_PLUS           "SCRAM-SHA-256-PLUS"
#define WEIR_SCRAM_BOUND_HEADER   "p=tls-server-end-point,,"
#define WEIR_SCRAM_MESSAGE_MAX    4096 /* far above what any server or driver sends */
#define WEIR_SCRAM_SALT_MAX       1024
#define WEIR_SCRAM_ITERATIONS_MAX 10000000

struct weir_span {
    const char *at;
    size_t length;
};

/* "n,,n=user,r=nonce" */
struct weir_scram_client_first {
    char binding; /* 'n': client has no channel binding, 'y': it thinks that we have none,
                     'p': bound by tls-server-end-point */
    struct weir_span bare;
    struct weir_span nonce;
};

/* "r=nonce,s=salt,i=iterations" */
struct weir_scram_server_first {
    struct weir_span nonce;
    uint8_t salt[WEIR_SCRAM_SALT_MAX];
    size_t salt_length;
    uint32_t iterations;
};

/* "c=biws,r=nonce,p=proof" */
struct weir_scram_client_final {
    struct weir_span without_proof;
    struct weir_span binding; /* base64 as sent */
    struct weir_span nonce;
    uint8_t proof[WEIR_SCRAM_KEY];
};

/* "v=signature" or "e=error" */
struct weir_scram_server_final {
    struct weir_span error; /* of length 0 when there is a signature */
    uint8_t signature[WEIR_SCRAM_KEY];
};

const char *weir_scram_parse_client_first(const char *text, size_t length,
                                          struct weir_scram_client_first *message);
const char *weir_scram_parse_server_first(const char *text, size_t length,
                                          struct weir_scram_server_first *message);
const char *weir_scram_parse_client_final(const char *text, size_t length,
                                          struct weir_scram_client_final *message);
const char *weir_scram_parse_server_final(const char *text, size_t length,
                                          struct weir_scram_server_final *message);

bool weir_span_equals(struct weir_span span, const char *text);

#endif
