/* TLS handshakes: queued, so that many at once do not hold up those who are being served. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "stream.h"
#include "tls.h"
#include "weir/memory.h"

/* How long the handshakes of one turn of the loop may take together. */
#define HANDSHAKES_PER_TURN ((weir_usec)5000)

static void run_handshakes(struct weir_task *task);

/* --- what streams share ---------------------------------------------------------------------- */

static struct weir_tls_loop *shared_of(struct weir_loop *loop)
{
    if (loop->tls != NULL)
        return loop->tls;
    /* Mapped: pages that no connection ever reached cost nothing. */
    void *memory = mmap(NULL, sizeof(struct weir_tls_loop), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    struct weir_tls_loop *shared = memory;
    shared->loop = loop;
    weir_list_init(&shared->handshakes);
    shared->turn.run = run_handshakes;
    loop->tls = shared;
    return shared;
}

void weir_tls_loop_destroy(struct weir_tls_loop *shared)
{
    if (shared == NULL)
        return;
    weir_task_cancel(&shared->turn);
    munmap(shared, sizeof(*shared));
}

/* --- steps ------------------------------------------------------------------------------------ */

/* Everything after this may be gone when the owner is told. */
static void fail(struct weir_stream *stream, char *problem)
{
    weir_tls_remember_problem(stream->tls, problem);
    stream->tls->broken = true;
    if (!stream->dead)
        weir_stream_mark_dead(stream, EPROTO);
    ev_set_cb(&stream->io, weir_stream_on_io);
    stream->on_event(stream, WEIR_STREAM_FAILED);
}

/* Receives into the staging. False: nothing there, or it has failed and the owner knows. */
static bool stage_input(struct weir_stream *stream, struct weir_tls_loop *shared)
{
    ssize_t got = recv(stream->io.fd, shared->received, WEIR_TLS_STAGED_INPUT, MSG_DONTWAIT);
    if (got > 0) {
        shared->input = shared->received;
        shared->input_length = (size_t)got;
        return true;
    }
    if (got == 0)
        fail(stream, weir_strdup("the peer closed the connection during the TLS handshake"));
    else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        fail(stream, weir_format("connection lost during the TLS handshake: %s", strerror(errno)));
    return false;
}

/* Keeps what came behind the last message of the handshake. */
static bool keep_early_input(struct weir_stream *stream, struct weir_tls_loop *shared)
{
    if (shared->input_length == 0)
        return true;
    size_t room = shared->input_length + WEIR_TLS_RECORD + 1024;
    uint8_t *end = weir_buffer_reserve(&stream->in, room);
    if (end == NULL)
        return false;
    stream->in.end += (uint32_t)weir_tls_decrypt(shared, stream->tls, end, room);
    return true;
}

static bool is_protocol_ours(const SSL *ssl)
{
    static const char ours[] = "postgresql";
    const unsigned char *name;
    unsigned length;
    SSL_get0_alpn_selected(ssl, &name, &length);
    return length == sizeof(ours) - 1 && memcmp(name, ours, length) == 0;
}

/* Why the peer is not taken, though the handshake itself went well; NULL: it is. */
static const char *find_objection(const struct weir_tls *tls)
{
    if (tls->direct && !is_protocol_ours(tls->ssl))
        return "a TLS connection without SSLRequest must ask for the protocol \"postgresql\" by "
               "ALPN";
    if (tls->context->server && weir_tls_peer_deceives(tls))
        return "the common name of the client's certificate contains a zero byte";
    return NULL;
}

static void complete(struct weir_stream *stream, struct weir_tls_loop *shared)
{
    struct weir_tls *tls = stream->tls;
    const char *objection = find_objection(tls);
    if (objection != NULL) {
        shared->input_length = 0;
        (void)SSL_shutdown(tls->ssl);
        ERR_clear_error();
        bool sent = weir_tls_emit(shared);
        (void)sent;
        fail(stream, weir_strdup(objection));
        return;
    }
    tls->secured = true;
    if (!keep_early_input(stream, shared) || !weir_tls_emit(shared)) {
        shared->input_length = 0;
        fail(stream, weir_strdup("connection lost during the TLS handshake"));
        return;
    }
    ev_set_cb(&stream->io, weir_stream_on_io);
    weir_tls_announce_end(stream);
    stream->on_event(stream, WEIR_STREAM_SECURED);
}

/* As far as the handshake gets with what the peer has sent. */
static void step(struct weir_stream *stream, struct weir_tls_loop *shared)
{
    struct weir_tls *tls = stream->tls;
    struct weir_buffer first = stream->in;
    stream->in = (struct weir_buffer){.secret = first.secret};
    shared->input = weir_buffer_bytes(&first);
    shared->input_length = weir_buffer_length(&first);
    bool begins = !tls->context->server && !tls->begun;
    if (shared->input_length == 0 && !begins && !stage_input(stream, shared))
        return;
    tls->begun = true;
    shared->stream = stream;
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    if (result == 1) {
        complete(stream, shared);
    } else {
        bool waits = SSL_get_error(tls->ssl, result) == SSL_ERROR_WANT_READ;
        shared->input_length = 0;
        if (!waits)
            weir_tls_explain(tls);
        bool sent = weir_tls_emit(shared);
        if (!waits || !sent)
            fail(stream, weir_strdup("connection lost during the TLS handshake"));
    }
    weir_buffer_clear(&first);
}

/* --- the queue --------------------------------------------------------------------------------- */

static void run_handshakes(struct weir_task *task)
{
    struct weir_tls_loop *shared = weir_container_of(task, struct weir_tls_loop, turn);
    weir_usec begin = weir_clock_now();
    weir_usec now = begin;
    weir_usec costliest = 0;
    struct weir_list *link;
    /* At least one; another only if a step like the costliest one fits, too. */
    while (now - begin + costliest <= HANDSHAKES_PER_TURN &&
           (link = weir_list_pop(&shared->handshakes)) != NULL) {
        step(weir_container_of(link, struct weir_tls, waiting)->stream, shared);
        weir_usec after = weir_clock_now();
        if (after - now > costliest)
            costliest = after - now;
        now = after;
    }
    if (!weir_list_is_empty(&shared->handshakes))
        weir_loop_defer_to_next_turn(shared->loop, &shared->turn);
}

static void enqueue(struct weir_stream *stream)
{
    struct weir_tls_loop *shared = stream->loop->tls;
    if (weir_list_is_linked(&stream->tls->waiting))
        return;
    weir_list_push_back(&shared->handshakes, &stream->tls->waiting);
    weir_loop_defer(shared->loop, &shared->turn);
}

/* The watcher's callback during a handshake. A stream in the queue stays readable: its input is
 * taken when its turn comes. */
static void on_handshake_io(struct ev_loop *ev, ev_io *watcher, int revents)
{
    struct weir_stream *stream = weir_container_of(watcher, struct weir_stream, io);
    if ((revents & EV_WRITE) && (weir_stream_flush(stream) & WEIR_STREAM_FAILED)) {
        weir_list_remove_if_linked(&stream->tls->waiting);
        fail(stream,
             weir_format("connection lost during the TLS handshake: %s", strerror(stream->error)));
        return;
    }
    if (revents & EV_READ)
        enqueue(stream);
}

/* --- beginning ----------------------------------------------------------------------------------- */

static bool begin(struct weir_stream *stream, struct weir_tls_context *context, bool direct)
{
    weir_require(stream->tls == NULL && !stream->dead);
    struct weir_tls_loop *shared = shared_of(stream->loop);
    struct weir_tls *tls = weir_alloc(sizeof(*tls));
    stream->tls = tls;
    tls->stream = stream;
    tls->direct = direct;
    tls->context = weir_tls_context_share(context);
    tls->ssl = SSL_new(context->ssl);
    BIO *bio = BIO_new(context->method);
    if (shared == NULL || tls->ssl == NULL || bio == NULL) {
        BIO_free(bio);
        tls->broken = true;
        weir_tls_remember_problem(tls, weir_strdup("out of memory"));
        return false;
    }
    BIO_set_data(bio, shared);
    SSL_set_bio(tls->ssl, bio, bio);
    weir_tls_set_secret(stream, stream->in.secret);
    ev_set_cb(&stream->io, on_handshake_io);
    return true;
}

bool weir_tls_accept(struct weir_stream *stream, struct weir_tls_context *context, bool direct)
{
    weir_require(context->server && (direct || weir_buffer_length(&stream->in) == 0));
    if (!begin(stream, context, direct))
        return false;
    SSL_set_accept_state(stream->tls->ssl);
    if (direct)
        enqueue(stream);
    return true;
}

static bool is_literal(const char *host)
{
    uint8_t address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static bool set_host(struct weir_tls *tls, const char *host)
{
    bool verify = tls->context->verify == WEIR_TLS_VERIFY_HOST;
    if (host == NULL || host[0] == '\0')
        return !verify;
    if (is_literal(host))
        return !verify || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), host) == 1;
    if (!tls->context->without_sni && SSL_set_tlsext_host_name(tls->ssl, host) != 1)
        return false;
    SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return !verify || SSL_set1_host(tls->ssl, host) == 1;
}

bool weir_tls_connect(struct weir_stream *stream, struct weir_tls_context *context,
                      const char *host)
{
    static const unsigned char protocols[] = "\012postgresql";
    weir_require(!context->server && weir_buffer_length(&stream->in) == 0);
    if (!begin(stream, context, false))
        return false;
    struct weir_tls *tls = stream->tls;
    SSL_set_connect_state(tls->ssl);
    if (!set_host(tls, host) ||
        SSL_set_alpn_protos(tls->ssl, protocols, sizeof(protocols) - 1) != 0) {
        ERR_clear_error();
        tls->broken = true;
        weir_tls_remember_problem(
            tls, weir_format("host name \"%s\" cannot be verified", host != NULL ? host : ""));
        return false;
    }
    enqueue(stream);
    return true;
}
