/* TLS on a stream of weir/net.h, by OpenSSL. Once the handshake is done everything that takes a
 * stream works on plain text as before: receive, keep, send, unsent, pause.
 *
 * OpenSSL never touches the socket. What arrived is decrypted completely within the call that
 * received it, so no bytes wait inside OpenSSL for an event that will not come; what is encrypted
 * goes out with one send, and what the kernel does not take waits in stream->out as ciphertext. A
 * write therefore never wants a read, nor a read a write, and an idle connection owns no buffer. */
#ifndef WEIR_TLS_H
#define WEIR_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/net.h"
#include "weir/require.h"

/* --- contexts -------------------------------------------------------------------------- */

enum weir_tls_verify {
    WEIR_TLS_VERIFY_NONE,
    WEIR_TLS_VERIFY_CA,    /* the peer must show a certificate of ours CA (ca_file) */
    WEIR_TLS_VERIFY_HOST,  /* and, client side only, it must be that of the host name */
    WEIR_TLS_VERIFY_SHOWN, /* server side only: the peer is asked for one and may have none */
};

/* All texts may be NULL or empty for "not set"; they are not needed after the call. */
struct weir_tls_options {
    bool server; /* accepts; else connects */
    enum weir_tls_verify verify;
    const char *certificate_file; /* PEM, the chain with the own certificate first */
    const char *key_file;         /* PEM, not encrypted, readable by nobody else */
    const char *ca_file;          /* PEM; "system" on the client side: the system's own */
    const char *crl_file;         /* PEM; then every certificate of the chain needs one */
    const char *protocols;        /* "secure", "all", "legacy" or a list like "tlsv1.2,tlsv1.3" */
    const char *ciphers;          /* up to TLS 1.2: OpenSSL's list, or one of PgBouncer's words */
    const char *suites;           /* TLS 1.3 */
    const char *curves;           /* "auto" or OpenSSL's list of groups */
    bool without_sni;             /* client side: the host name is not told in clear */
};

/* What connections of one kind share. Counted: every stream holds a reference, so a context may be
 * replaced while connections that were made with it go on. */
struct weir_tls_context;
/* Reads the files, which may block: at boot and at a reload only. NULL on failure with *problem
 * (free it) = a text that names the file or the value and the reason. */
struct weir_tls_context *weir_tls_context_create(const struct weir_tls_options *options,
                                                 char **problem);
struct weir_tls_context *weir_tls_context_share(struct weir_tls_context *context);
void weir_tls_context_release(struct weir_tls_context *context); /* NULL is fine */
/* Made of the same options and of files with the same contents. Both may be NULL. */
bool weir_tls_context_is_same(const struct weir_tls_context *left,
                              const struct weir_tls_context *right);

/* --- handshakes ------------------------------------------------------------------------ */

/* Both take a stream over until its handshake is over; then stream->on_event is told, once,
 *   WEIR_STREAM_SECURED: from now on plain text. What came along with the last message of the
 *     handshake is kept already (weir_stream_unread), no other event tells of it;
 *   WEIR_STREAM_FAILED: weir_tls_problem says why; close the stream.
 * Handshakes are queued: those of one turn of the loop take a bounded time, the rest goes on in the
 * next turn. There is no deadline here: the owner closes a stream that takes too long.
 *
 * False when memory is out or the host name is unusable (weir_tls_problem). */

/* Server side. Input that was kept is a smuggler's, and the caller has refused it; only if `direct`
 * it is the beginning of the handshake itself (no SSLRequest was sent), and then the peer must
 * have asked for the protocol "postgresql" by ALPN. */
weir_must_check bool weir_tls_accept(struct weir_stream *stream, struct weir_tls_context *context,
                                     bool direct);
/* Client side; nothing may be kept. `host` (may be NULL): for SNI unless it is an address, and for
 * the context's WEIR_TLS_VERIFY_HOST. */
weir_must_check bool weir_tls_connect(struct weir_stream *stream, struct weir_tls_context *context,
                                      const char *host);

/* --- what is known of a secured stream --------------------------------------------------- */

static inline bool weir_tls_is_used(const struct weir_stream *stream)
{
    return stream->tls != NULL;
}
/* Why a handshake or, after WEIR_IO_DEAD, a connection failed; NULL when it was not TLS. */
const char *weir_tls_problem(const struct weir_stream *stream);
/* The handshake failed because the peer's certificate is not one that the context accepts. */
bool weir_tls_peer_is_refused(const struct weir_stream *stream);
/* "TLSv1.3" and "TLS_AES_256_GCM_SHA384"; NULL without TLS. */
const char *weir_tls_version(const struct weir_stream *stream);
const char *weir_tls_cipher(const struct weir_stream *stream);
/* The peer has shown a certificate, and the context has verified it. */
bool weir_tls_has_certificate(const struct weir_stream *stream);

enum weir_tls_name {
    WEIR_TLS_COMMON_NAME, /* the first one of the subject, its bytes as they stand there */
    WEIR_TLS_SUBJECT,     /* the distinguished name, in the form of RFC 2253 */
};
/* What that certificate says whose it is, to be freed; NULL: it does not say, or there is none. Clients
 * whose common name has a zero byte in it do not get through the handshake. */
char *weir_tls_peer_name(const struct weir_stream *stream, enum weir_tls_name name);

#define WEIR_TLS_ENDPOINT_MAX 64
/* Channel binding tls-server-end-point (RFC 5929): the hash of the server's certificate, which is
 * the own one on the server side. False when there is no TLS or the certificate's signature
 * defines none (Ed25519). */
weir_must_check bool weir_tls_endpoint(const struct weir_stream *stream,
                                       uint8_t hash[WEIR_TLS_ENDPOINT_MAX], size_t *length);

#endif
