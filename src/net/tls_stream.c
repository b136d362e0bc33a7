/* TLS between a stream and its socket.
 *
 * OpenSSL reads from and writes to two pieces of memory that all streams of a loop share. Both are
 * empty whenever control leaves this file: what was received is decrypted in the same call (the
 * beginning of a record that is not complete waits inside OpenSSL), what was encrypted is sent or
 * moved to stream->out. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "stream.h"
#include "tls.h"
#include "weir/memory.h"

/* What OpenSSL may hold of a record that was not complete: plain text comes of it as well. */
#define RECORD_ROOM (WEIR_TLS_RECORD + 1024)

/* --- the BIO ------------------------------------------------------------------------------ */

bool weir_tls_emit(struct weir_tls_loop *shared)
{
    size_t length = shared->output_length;
    shared->output_length = 0;
    if (length == 0)
        return true;
    return !shared->stream->dead && weir_stream_send_raw(shared->stream, shared->output, length);
}

static int bio_read(BIO *bio, char *room, int size)
{
    struct weir_tls_loop *shared = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (size <= 0 || shared->input_length == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t taken = (size_t)size < shared->input_length ? (size_t)size : shared->input_length;
    memcpy(room, shared->input, taken);
    shared->input += taken;
    shared->input_length -= taken;
    return (int)taken;
}

static int bio_write(BIO *bio, const char *bytes, int size)
{
    struct weir_tls_loop *shared = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    size_t written = 0;
    while (written < (size_t)size) {
        size_t piece = WEIR_TLS_STAGED_OUTPUT - shared->output_length;
        if (piece > (size_t)size - written)
            piece = (size_t)size - written;
        memcpy(shared->output + shared->output_length, bytes + written, piece);
        shared->output_length += piece;
        written += piece;
        if (shared->output_length == WEIR_TLS_STAGED_OUTPUT && !weir_tls_emit(shared))
            return -1;
    }
    return size;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    return command == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *weir_tls_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "stream");
    if (method == NULL)
        return NULL;
    if (BIO_meth_set_read(method, bio_read) == 1 && BIO_meth_set_write(method, bio_write) == 1 &&
        BIO_meth_set_ctrl(method, bio_control) == 1 && BIO_meth_set_create(method, bio_create) == 1)
        return method;
    BIO_meth_free(method);
    return NULL;
}

/* --- problems ------------------------------------------------------------------------------- */

void weir_tls_remember_problem(struct weir_tls *tls, char *text)
{
    if (tls->problem == NULL)
        tls->problem = text;
    else
        free(text);
}

void weir_tls_explain(struct weir_tls *tls)
{
    unsigned long code = ERR_peek_last_error();
    int reason = ERR_GET_REASON(code);
    long verified = SSL_get_verify_result(tls->ssl);
    tls->broken = true;
    if (code != 0 && reason == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK)
        weir_tls_remember_problem(tls, weir_format("certificate verify failed: %s",
                                                   X509_verify_cert_error_string(verified)));
    else if (code != 0 && ERR_GET_LIB(code) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET &&
             reason < SSL_AD_REASON_OFFSET + 256)
        weir_tls_remember_problem(
            tls, weir_format("the peer sent the TLS alert \"%s\"",
                             SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET)));
    else
        weir_tls_remember_problem(tls, weir_tls_library_problem());
    ERR_clear_error();
}

/* --- reading and writing ---------------------------------------------------------------------- */

size_t weir_tls_decrypt(struct weir_tls_loop *shared, struct weir_tls *tls, uint8_t *room,
                        size_t size)
{
    size_t length = 0;
    /* What others left in the thread's queue of errors would be taken for ours. */
    ERR_clear_error();
    while (shared->input_length > 0 || SSL_pending(tls->ssl) > 0) {
        size_t got = 0;
        weir_require(length < size);
        int result = SSL_read_ex(tls->ssl, room + length, size - length, &got);
        length += got;
        int error = result == 1 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl, result);
        if (error == SSL_ERROR_NONE || error == SSL_ERROR_WANT_READ)
            continue;
        if (error == SSL_ERROR_ZERO_RETURN)
            tls->ended = true;
        else
            weir_tls_explain(tls);
        break;
    }
    shared->input_length = 0;
    return length;
}

void weir_tls_announce_end(struct weir_stream *stream)
{
    const struct weir_tls *tls = stream->tls;
    if (tls->secured && (tls->ended || tls->broken) && !stream->paused)
        ev_feed_event(stream->loop->ev, &stream->io, EV_READ);
}

static ssize_t end_of(const struct weir_tls *tls)
{
    if (!tls->broken)
        return 0;
    errno = EPROTO;
    return -1;
}

ssize_t weir_tls_read(struct weir_stream *stream, uint8_t *room, size_t size)
{
    struct weir_tls *tls = stream->tls;
    struct weir_tls_loop *shared = stream->loop->tls;
    if (tls->ended || tls->broken)
        return end_of(tls);
    weir_require(tls->secured && size > RECORD_ROOM);
    size_t limit = size - RECORD_ROOM;
    ssize_t got = recv(stream->io.fd, shared->received,
                       limit < WEIR_TLS_STAGED_INPUT ? limit : WEIR_TLS_STAGED_INPUT, MSG_DONTWAIT);
    if (got <= 0)
        return got;
    shared->stream = stream;
    shared->input = shared->received;
    shared->input_length = (size_t)got;
    size_t length = weir_tls_decrypt(shared, tls, room, size);
    /* An alert, or the answer to a key update. A failure shows at the next receive. */
    bool sent = weir_tls_emit(shared);
    (void)sent;
    if (length > 0) {
        weir_tls_announce_end(stream);
        return (ssize_t)length;
    }
    if (tls->ended || tls->broken)
        return end_of(tls);
    errno = EAGAIN;
    return -1;
}

static bool encrypt(struct weir_stream *stream, const uint8_t *bytes, size_t length)
{
    size_t written;
    if (length == 0 || SSL_write_ex(stream->tls->ssl, bytes, length, &written) == 1)
        return true;
    weir_tls_explain(stream->tls);
    if (!stream->dead)
        weir_stream_mark_dead(stream, EPROTO);
    return false;
}

/* Small pieces are gathered to records of full size, large ones go as they are. */
static bool encrypt_pieces(struct weir_stream *stream, const struct iovec *pieces, int count)
{
    struct weir_tls_loop *shared = stream->loop->tls;
    size_t gathered = 0;
    for (int i = 0; i < count; i++) {
        const uint8_t *at = pieces[i].iov_base;
        size_t left = pieces[i].iov_len;
        if (gathered + left > WEIR_TLS_RECORD) {
            size_t fits = gathered > 0 ? WEIR_TLS_RECORD - gathered : 0;
            if (fits > 0)
                memcpy(shared->gathered + gathered, at, fits);
            if (!encrypt(stream, shared->gathered, gathered + fits))
                return false;
            size_t whole = (left - fits) / WEIR_TLS_RECORD * WEIR_TLS_RECORD;
            if (!encrypt(stream, at + fits, whole))
                return false;
            at += fits + whole;
            left -= fits + whole;
            gathered = 0;
        }
        if (left > 0)
            memcpy(shared->gathered + gathered, at, left);
        gathered += left;
    }
    return encrypt(stream, shared->gathered, gathered);
}

bool weir_tls_write(struct weir_stream *stream, const struct iovec *pieces, int count)
{
    struct weir_tls_loop *shared = stream->loop->tls;
    struct weir_tls *tls = stream->tls;
    if (!tls->secured || tls->broken || tls->finished) {
        weir_stream_mark_dead(stream, EPROTO);
        return false;
    }
    shared->stream = stream;
    bool good = count == 1 ? encrypt(stream, pieces->iov_base, pieces->iov_len)
                           : encrypt_pieces(stream, pieces, count);
    return weir_tls_emit(shared) && good;
}

/* Stages close_notify, once. */
static bool stage_farewell(struct weir_stream *stream)
{
    struct weir_tls *tls = stream->tls;
    if (!tls->secured || tls->broken || tls->finished || stream->dead)
        return false;
    tls->finished = true;
    stream->loop->tls->stream = stream;
    if (SSL_shutdown(tls->ssl) < 0)
        ERR_clear_error();
    return true;
}

void weir_tls_set_secret(struct weir_stream *stream, bool secret)
{
    SSL *ssl = stream->tls->ssl;
    if (ssl == NULL)
        return;
    if (secret)
        SSL_set_options(ssl, SSL_OP_CLEANSE_PLAINTEXT);
    else
        SSL_clear_options(ssl, SSL_OP_CLEANSE_PLAINTEXT);
}

void weir_tls_finish(struct weir_stream *stream)
{
    if (stage_farewell(stream)) {
        bool sent = weir_tls_emit(stream->loop->tls);
        (void)sent;
    }
}

void weir_tls_close(struct weir_stream *stream)
{
    struct weir_tls *tls = stream->tls;
    struct weir_tls_loop *shared = stream->loop->tls;
    if (weir_stream_unsent(stream) == 0 && stage_farewell(stream)) {
        (void)send(stream->io.fd, shared->output, shared->output_length,
                   MSG_NOSIGNAL | MSG_DONTWAIT);
        shared->output_length = 0;
    }
    weir_list_remove_if_linked(&tls->waiting);
    SSL_free(tls->ssl);
    weir_tls_context_release(tls->context);
    free(tls->problem);
    free(tls);
    stream->tls = NULL;
}
