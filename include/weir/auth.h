/* What a client must prove, and how pgweir proves itself to a server.
 *
 * Sources: PostgreSQL documentation, sections "SASL Authentication" and "Message Flow: Start-up";
 * RFC 5802 and RFC 7677 (SCRAM-SHA-256); password preparation by RFC 4013 as PostgreSQL does it
 * (input that is not valid UTF-8 or cannot be prepared is used as it is).
 *
 * Nothing here blocks: deriving keys from a password (PBKDF2) is cut into slices, and derived keys
 * are cached per (password digest, salt, iterations). Secrets are wiped when freed. */
#ifndef WEIR_AUTH_H
#define WEIR_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/buffer.h"
#include "weir/require.h"
#include "weir/wire.h"

#define WEIR_SCRAM_KEY 32

enum weir_auth_method {
    WEIR_AUTH_TRUST,
    WEIR_AUTH_PLAIN, /* AuthenticationCleartextPassword */
    WEIR_AUTH_MD5,   /* SCRAM instead when the stored secret is a SCRAM secret */
    WEIR_AUTH_SCRAM,
    WEIR_AUTH_OUTSIDE, /* AuthenticationCleartextPassword, which others judge */
    WEIR_AUTH_REJECT,
};

enum weir_secret_kind {
    WEIR_SECRET_NONE,
    WEIR_SECRET_PLAIN,
    WEIR_SECRET_MD5,   /* "md5" and 32 hex digits */
    WEIR_SECRET_SCRAM, /* "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey", base64 */
};
/* Anything that is not exactly of the two encoded forms is a plain password, as in PostgreSQL. */
enum weir_secret_kind weir_secret_kind_of(const char *secret);

/* Key cache and the process's random salt for mock exchanges. One per daemon. */
struct weir_auth_context;
struct weir_auth_context *weir_auth_context_create(void);
void weir_auth_context_destroy(struct weir_auth_context *context);

/* --- the user file -----------------------------------------------------------------------------
 */

/* `"user" "secret"` lines as in PgBouncer's auth_file: doubled quotes inside quotes, `;` and `#`
 * begin a comment line, blank lines are skipped. Kept compactly: 5000 users cost about 1 MB. */
struct weir_user_file;
/* Reads the file. `guarded`: one that others than its owner and its group may read or write is refused.
 * NULL on failure with *problem (free it) = "file:line: reason". */
struct weir_user_file *weir_user_file_read(const char *path, bool guarded, char **problem);
/* The pure part, for tests and fuzzing; `name` is used in problems. */
struct weir_user_file *weir_user_file_parse(const char *name, const char *text, size_t length,
                                            char **problem);
/* The secret of `user`, NULL when unknown; valid as long as the file object. */
const char *weir_user_file_find(const struct weir_user_file *file, const char *user);
size_t weir_user_file_count(const struct weir_user_file *file);
/* The kind of most secrets, which is what an unknown user should look like. NULL: NONE. */
enum weir_secret_kind weir_user_file_usual(const struct weir_user_file *file);
/* Calls `each` for every user, in no particular order. */
void weir_user_file_walk(const struct weir_user_file *file,
                         void (*each)(void *context, const char *user), void *context);
void weir_user_file_destroy(struct weir_user_file *file);

/* --- keys and passwords with which pgweir logs in to a server -------------------------- */

/* At most one of the three ways is needed by the server's method. */
struct weir_credentials {
    char *password; /* plain, or NULL */
    char *md5;      /* "md5..." secret, or NULL */
    bool has_keys;  /* SCRAM keys from the client's own login or from elsewhere */
    uint8_t client_key[WEIR_SCRAM_KEY];
    uint8_t server_key[WEIR_SCRAM_KEY];
};
void weir_credentials_clear(struct weir_credentials *credentials); /* wipes and frees the fields */

/* --- a client proves itself to pgweir ----------------------------------------------------------
 */

enum weir_auth_result {
    WEIR_AUTH_MORE,    /* what `out` holds goes to the peer, then its next message is needed */
    WEIR_AUTH_BUSY,    /* key derivation under way: call the work function again in a later turn */
    WEIR_AUTH_OFFERED, /* there is a password to be judged by others: weir_client_proof_offer */
    WEIR_AUTH_OK,      /* proven; `out` may hold a last message (SASLFinal, not AuthenticationOk) */
    WEIR_AUTH_FAILED,  /* wrong password, unknown user, rejected: look the same, cost the same */
    WEIR_AUTH_BROKEN,  /* the peer broke the exchange; weir_*_problem says how */
};

/* One login of a client; exists only while it logs in (DESIGN: nothing of it stays in the client).
 */
struct weir_client_proof;

/* `secret` is the stored secret, NULL for an unknown user: then a mock exchange runs that cannot
 * succeed, with a salt and iteration count that stay the same for the same user name.
 * WEIR_AUTH_MD5 with a SCRAM secret runs SCRAM; WEIR_AUTH_SCRAM with an md5 secret cannot succeed
 * and runs as a mock. Copies its arguments. */
struct weir_client_proof *weir_client_proof_create(struct weir_auth_context *context,
                                                   enum weir_auth_method method, const char *user,
                                                   const char *secret);
/* Before the first step: the unknown user is asked, and his answer costs, as if his secret were of this
 * kind, so that he does not stand out among users whose secrets are. Known users are left alone. */
void weir_client_proof_imitate(struct weir_client_proof *proof, enum weir_secret_kind kind);
/* Before the first step, on a TLS connection: binds the proof to it (tls-server-end-point, RFC 5929,
 * at most WEIR_AUTH_BINDING_MAX bytes). SCRAM-SHA-256-PLUS is then offered first. */
#define WEIR_AUTH_BINDING_MAX 64
void weir_client_proof_bind(struct weir_client_proof *proof, const uint8_t *endpoint,
                            size_t length);
/* First call with body NULL: writes the authentication request into `out` (or answers OK for
 * trust). Then once for each 'p' message with its body. */
enum weir_auth_result weir_client_proof_step(struct weir_client_proof *proof, const uint8_t *body,
                                             size_t length, struct weir_buffer *out);
/* The longest body that may be due next: what is not proven yet need not be kept in any length. */
size_t weir_client_proof_longest(const struct weir_client_proof *proof);
/* After BUSY: one slice of work (well below 1 ms). */
enum weir_auth_result weir_client_proof_work(struct weir_client_proof *proof,
                                             struct weir_buffer *out);
/* After FAILED: holds what the client has answered against another secret of the same user (NULL:
 * unknown). It cannot succeed when the exchange does not fit: a SCRAM challenge has the salt of the
 * secret that it was made from. */
enum weir_auth_result weir_client_proof_again(struct weir_client_proof *proof, const char *secret,
                                              struct weir_buffer *out);
/* After OFFERED: the password, until it is judged. OK when it was found right, else FAILED. */
const char *weir_client_proof_offer(const struct weir_client_proof *proof);
enum weir_auth_result weir_client_proof_judged(struct weir_client_proof *proof, bool right);
/* After BROKEN: English text for the error message. */
const char *weir_client_proof_problem(const struct weir_client_proof *proof);
/* After OK: what the client's own login lets pgweir prove to a server (plain password, or the SCRAM
 * keys recovered from its proof). Moves them into *credentials; fields stay empty when there are
 * none.
 * Keys come only from a stored SCRAM secret and open a server that has the very same secret; a plain
 * secret, once proven, is handed out as password: keys under a salt made up here open nothing. */
void weir_client_proof_take(struct weir_client_proof *proof, struct weir_credentials *credentials);
void weir_client_proof_destroy(struct weir_client_proof *proof); /* NULL is fine; wipes */

/* --- pgweir proves itself to a server ------------------------------------------------------------
 */

struct weir_server_proof;
/* `credentials` is copied. */
struct weir_server_proof *weir_server_proof_create(struct weir_auth_context *context,
                                                   const char *user,
                                                   const struct weir_credentials *credentials);
/* The channel to the server (RFC 5929, RFC 5802 section 6). */
struct weir_channel {
    bool secured;           /* it is TLS */
    bool wanted;            /* SCRAM is bound to it where the server offers that */
    bool required;          /* no login without */
    uint8_t endpoint[64];   /* tls-server-end-point */
    size_t endpoint_length; /* 0: the server's certificate has none */
};
/* Before the first step; without it the channel is plain. */
void weir_server_proof_bind(struct weir_server_proof *proof, const struct weir_channel *channel);
/* One Authentication message of any kind, body after the header (code first). Answers:
 * OK for AuthenticationOk (only when every SCRAM signature due was verified: a server that skips
 * the final message is BROKEN), MORE with the reply in `out` (empty for SASLFinal), BUSY, or
 * BROKEN/FAILED with a problem: unsupported method by name (GSSAPI, SSPI, SCM...), no password for
 * this user, channel binding demanded, wrong server signature, nonce not an extension of ours, salt
 * or iteration count out of bounds (1 to 10,000,000; salt 1 to 1024 bytes). */
enum weir_auth_result weir_server_proof_step(struct weir_server_proof *proof, const uint8_t *body,
                                             size_t length, struct weir_buffer *out);
enum weir_auth_result weir_server_proof_work(struct weir_server_proof *proof,
                                             struct weir_buffer *out);
const char *weir_server_proof_problem(const struct weir_server_proof *proof);
void weir_server_proof_destroy(struct weir_server_proof *proof); /* NULL is fine; wipes */

/* --- primitives that others need ------------------------------------------------------- */

/* Cryptographically random bytes; aborts when the system has none. */
void weir_random_bytes(void *bytes, size_t length);
/* Constant time. */
bool weir_equal_secret(const void *left, const void *right, size_t length);

#endif
