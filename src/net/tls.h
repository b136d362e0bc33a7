/* TLS inside the room: contexts, and what stream.c calls. */
#ifndef WEIR_NET_TLS_H
#define WEIR_NET_TLS_H

#include <openssl/ssl.h>

#include "weir/tls.h"

#define WEIR_TLS_FINGERPRINT 32

struct weir_tls_context {
    SSL_CTX *ssl;
    BIO_METHOD *method; /* between OpenSSL and the loop's staging */
    unsigned references;
    bool server;
    enum weir_tls_verify verify;
    bool has_endpoint;
    uint8_t endpoint[WEIR_TLS_ENDPOINT_MAX]; /* of the own certificate */
    size_t endpoint_length;
    bool without_sni;
    uint8_t fingerprint[WEIR_TLS_FINGERPRINT]; /* of the options and of the files' contents */
};

/* OpenSSL reads from and writes to memory that all streams of a loop share. */
#define WEIR_TLS_STAGED_INPUT  ((size_t)128 * 1024) /* one receive of ciphertext */
#define WEIR_TLS_STAGED_OUTPUT ((size_t)160 * 1024) /* ciphertext of one send */
#define WEIR_TLS_RECORD        ((size_t)16 * 1024)

struct weir_tls_loop {
    struct weir_loop *loop;
    struct weir_list handshakes; /* weir_tls.waiting */
    struct weir_task turn;       /* works at them */
    struct weir_stream *stream;  /* whom the staged output belongs to */
    const uint8_t *input;        /* staged, not taken by OpenSSL yet */
    size_t input_length;
    size_t output_length;
    uint8_t received[WEIR_TLS_STAGED_INPUT];
    uint8_t output[WEIR_TLS_STAGED_OUTPUT];
    uint8_t gathered[WEIR_TLS_RECORD]; /* small pieces that become one record */
};

struct weir_tls {
    SSL *ssl;
    struct weir_stream *stream;
    struct weir_tls_context *context;
    struct weir_list waiting; /* in weir_tls_loop.handshakes */
    char *problem;
    bool direct;
    bool begun; /* the first step is done */
    bool secured;
    bool ended;    /* close_notify or the end of the socket came: reads give 0 */
    bool broken;   /* reads give EPROTO */
    bool finished; /* own close_notify is sent */
};

void weir_tls_loop_destroy(struct weir_tls_loop *shared); /* NULL is fine */

/* As recv. Takes from the socket at most what fits when decrypted, and decrypts all of it. */
ssize_t weir_tls_read(struct weir_stream *stream, uint8_t *room, size_t size);
/* As weir_stream_send of a stream that is not dead. */
weir_must_check bool weir_tls_write(struct weir_stream *stream, const struct iovec *pieces,
                                    int count);
/* An end that was read together with bytes before it has no event of the socket: makes one. */
void weir_tls_announce_end(struct weir_stream *stream);
/* Whether OpenSSL wipes what it has decrypted. */
void weir_tls_set_secret(struct weir_stream *stream, bool secret);
/* Sends close_notify, once, if the handshake is done. */
void weir_tls_finish(struct weir_stream *stream);
/* The same without queueing, then frees stream->tls. */
void weir_tls_close(struct weir_stream *stream);

/* Sends the staged output. */
weir_must_check bool weir_tls_emit(struct weir_tls_loop *shared);
/* Decrypts all that is staged into a room that is large enough; the bytes of plain text. */
size_t weir_tls_decrypt(struct weir_tls_loop *shared, struct weir_tls *tls, uint8_t *room,
                        size_t size);
/* After a call of OpenSSL that failed for good: marks it broken and remembers why. */
void weir_tls_explain(struct weir_tls *tls);
/* Takes `text` over; the first one stays. */
void weir_tls_remember_problem(struct weir_tls *tls, char *text);

/* The BIO method for contexts. */
BIO_METHOD *weir_tls_bio_method(void);
/* What went wrong last in OpenSSL, as text to free(); empties its error queue. */
char *weir_tls_library_problem(void);
/* The peer's certificate has a common name with a zero byte in it: what is shown of it is not what was
 * signed (CVE-2009-4034). */
bool weir_tls_peer_deceives(const struct weir_tls *tls);
/* The hash of a certificate for tls-server-end-point. */
bool weir_tls_endpoint_of(X509 *certificate, uint8_t hash[WEIR_TLS_ENDPOINT_MAX], size_t *length);

#endif
