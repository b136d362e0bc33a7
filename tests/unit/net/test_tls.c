/* TLS between two streams of one loop. */
#include <errno.h>

#include "certificates.h"
#include "weir/memory.h"
#include "weir/tls.h"

static struct test_loop test;
static struct weir_stream server, client;
static unsigned server_events, client_events;
static char folder[64];
static struct test_identity authority, other_authority, host, user;

static const char *in_folder(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static void on_server(struct weir_stream *stream, unsigned events)
{
    server_events |= events;
}

static void on_client(struct weir_stream *stream, unsigned events)
{
    client_events |= events;
}

static void connect_streams(void)
{
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    server_events = client_events = 0;
    weir_stream_open(&server, &test.loop, ends[0], 0, on_server);
    weir_stream_open(&client, &test.loop, ends[1], 1, on_client);
}

static void set_up(void)
{
    test = (struct test_loop){0};
    cr_assert(weir_loop_init(&test.loop));
    snprintf(folder, sizeof(folder), "/tmp/weir-tls-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    authority = test_identity("authority", NULL, NULL);
    other_authority = test_identity("other authority", NULL, NULL);
    host = test_identity("pooler", "DNS:pooler.example,IP:127.0.0.1", &authority);
    user = test_identity("alice", NULL, &authority);
    test_write_identity(&authority, in_folder("ca"), in_folder("ca.key"));
    test_write_identity(&other_authority, in_folder("other"), in_folder("other.key"));
    test_write_identity(&host, in_folder("host"), in_folder("host.key"));
    test_write_identity(&user, in_folder("user"), in_folder("user.key"));
    connect_streams();
}

static void tear_down(void)
{
    weir_stream_close(&server);
    weir_stream_close(&client);
    weir_loop_fini(&test.loop);
    test_free_identity(&authority);
    test_free_identity(&other_authority);
    test_free_identity(&host);
    test_free_identity(&user);
    char *command = weir_format("rm -r %s", folder);
    cr_assert_eq(system(command), 0);
    free(command);
}

TestSuite(tls, .init = set_up, .fini = tear_down, .timeout = 60);

static struct weir_tls_options server_options(void)
{
    return (struct weir_tls_options){
        .server = true, .certificate_file = in_folder("host"), .key_file = in_folder("host.key")};
}

static struct weir_tls_context *context(const struct weir_tls_options *options)
{
    char *problem;
    struct weir_tls_context *made = weir_tls_context_create(options, &problem);
    cr_assert_not_null(made, "%s", problem);
    return made;
}

static void expect_problem(const struct weir_tls_options *options, const char *part)
{
    char *problem;
    cr_assert_null(weir_tls_context_create(options, &problem));
    cr_assert_not_null(strstr(problem, part), "%s", problem);
    free(problem);
}

static void turn_until(const unsigned *events, unsigned wanted)
{
    for (int i = 0; i < 2000 && !(*events & wanted); i++)
        test_loop_turn(&test);
    cr_assert(*events & wanted, "%u", *events);
}

/* Both ends with these options; false when one end failed. */
static bool shake_hands(const struct weir_tls_options *accepts,
                        const struct weir_tls_options *connects, const char *name)
{
    struct weir_tls_context *accepting = context(accepts);
    struct weir_tls_context *connecting = context(connects);
    cr_assert(weir_tls_accept(&server, accepting, false));
    cr_assert(weir_tls_connect(&client, connecting, name));
    /* The streams hold them. */
    weir_tls_context_release(accepting);
    weir_tls_context_release(connecting);
    for (int i = 0; i < 2000; i++) {
        test_loop_turn(&test);
        if ((server_events | client_events) & WEIR_STREAM_FAILED)
            return false;
        if (server_events & client_events & WEIR_STREAM_SECURED)
            return true;
    }
    cr_assert_fail("the handshake does not end");
    return false;
}

static void secure(void)
{
    struct weir_tls_options accepts = server_options();
    struct weir_tls_options connects = {.ca_file = in_folder("ca"), .verify = WEIR_TLS_VERIFY_HOST};
    cr_assert(shake_hands(&accepts, &connects, "pooler.example"), "%s / %s",
              weir_tls_problem(&server), weir_tls_problem(&client));
    server_events = client_events = 0;
}

static void fill(uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)((i * 131 + i / 251) & 0xff);
}

/* Receives until `length` bytes are there, keeping them all. */
static void receive_all(struct weir_stream *stream, unsigned *events, const uint8_t *wanted,
                        size_t length)
{
    uint8_t *bytes = NULL;
    size_t have = 0;
    for (int idle = 0; have < length && idle < 2000; idle++) {
        *events = 0;
        test_loop_turn(&test);
        if (!(*events & WEIR_STREAM_READABLE))
            continue;
        enum weir_io io = weir_stream_receive(stream, &bytes, &have);
        if (io == WEIR_IO_OK)
            cr_assert(weir_stream_keep(stream, bytes, have));
        else
            cr_assert_eq(io, WEIR_IO_WAIT);
    }
    weir_stream_unread(stream, &bytes, &have);
    cr_assert_eq(have, length);
    cr_assert_eq(memcmp(bytes, wanted, length), 0);
    cr_assert(weir_stream_keep(stream, bytes + have, 0));
}

static void expect_name(const struct weir_stream *stream, enum weir_tls_name which,
                        const char *expected)
{
    char *name = weir_tls_peer_name(stream, which);
    cr_expect_eq(name == NULL, expected == NULL);
    if (name != NULL && expected != NULL)
        cr_expect_str_eq(name, expected);
    free(name);
}

/* Of the peer's certificate; without a subject it has none. */
static void expect_names(const struct weir_stream *stream, const char *common_name,
                         const char *subject)
{
    cr_expect_eq(weir_tls_has_certificate(stream), subject != NULL);
    expect_name(stream, WEIR_TLS_COMMON_NAME, common_name);
    expect_name(stream, WEIR_TLS_SUBJECT, subject);
}

Test(tls, both_ends_know_version_cipher_and_endpoint)
{
    secure();
    cr_assert_str_eq(weir_tls_version(&server), "TLSv1.3");
    cr_assert_str_eq(weir_tls_cipher(&server), weir_tls_cipher(&client));
    uint8_t ours[WEIR_TLS_ENDPOINT_MAX], theirs[WEIR_TLS_ENDPOINT_MAX], plain[32];
    size_t our_length, their_length;
    cr_assert(weir_tls_endpoint(&server, ours, &our_length));
    cr_assert(weir_tls_endpoint(&client, theirs, &their_length));
    unsigned size;
    X509_digest(host.certificate, EVP_sha256(), plain, &size);
    cr_assert_eq(our_length, 32);
    cr_assert_eq(their_length, 32);
    cr_assert_eq(memcmp(ours, plain, 32), 0);
    cr_assert_eq(memcmp(theirs, plain, 32), 0);
    expect_names(&server, NULL, NULL);
    expect_names(&client, "pooler", "CN=pooler");
}

Test(tls, bytes_of_any_amount_cross_both_ways)
{
    secure();
    static uint8_t bytes[3 * 1024 * 1024];
    fill(bytes, sizeof(bytes));
    static const size_t lengths[] = {1, 5, 16383, 16384, 16385, 70000, 262144, sizeof(bytes)};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        cr_assert(weir_stream_send_bytes(&server, bytes, lengths[i]));
        receive_all(&client, &client_events, bytes, lengths[i]);
        cr_assert(weir_stream_send_bytes(&client, bytes, lengths[i]));
        receive_all(&server, &server_events, bytes, lengths[i]);
    }
}

Test(tls, pieces_arrive_as_one)
{
    secure();
    static uint8_t bytes[200000];
    fill(bytes, sizeof(bytes));
    for (size_t first = 0; first < 40000; first += 3331) {
        for (size_t second = 1; second < 70000; second += 16383) {
            struct iovec pieces[] = {
                {bytes, first},
                {bytes + first, second},
                {bytes + first + second, 0},
                {bytes + first + second, 17000},
            };
            cr_assert(weir_stream_send(&server, pieces, 4));
            receive_all(&client, &client_events, bytes, first + second + 17000);
        }
    }
}

Test(tls, unsent_output_waits_and_drains)
{
    secure();
    static uint8_t bytes[4 * 1024 * 1024];
    fill(bytes, sizeof(bytes));
    weir_stream_pause(&client);
    cr_assert(weir_stream_send_bytes(&server, bytes, sizeof(bytes)));
    cr_assert_gt(weir_stream_unsent(&server), sizeof(bytes) / 2);
    for (int i = 0; i < 20; i++)
        test_loop_turn(&test);
    cr_assert_eq(client_events & WEIR_STREAM_READABLE, 0);
    weir_stream_resume(&client);
    receive_all(&client, &client_events, bytes, sizeof(bytes));
    cr_assert(server_events & WEIR_STREAM_DRAINED);
    cr_assert_eq(weir_stream_unsent(&server), 0);
}

Test(tls, an_end_behind_bytes_is_told_without_another_event)
{
    secure();
    cr_assert(weir_stream_send_bytes(&client, "last words", 10));
    weir_stream_finish(&client);
    turn_until(&server_events, WEIR_STREAM_READABLE);
    uint8_t *bytes;
    size_t length;
    cr_assert_eq(weir_stream_receive(&server, &bytes, &length), WEIR_IO_OK);
    cr_assert_eq(length, 10);
    cr_assert(weir_stream_keep(&server, bytes + length, 0));
    server_events = 0;
    turn_until(&server_events, WEIR_STREAM_READABLE);
    cr_assert_eq(weir_stream_receive(&server, &bytes, &length), WEIR_IO_EOF);
    /* The other direction is still open. */
    cr_assert(weir_stream_send_bytes(&server, "goodbye", 7));
    receive_all(&client, &client_events, (const uint8_t *)"goodbye", 7);
}

Test(tls, a_closed_stream_says_so)
{
    secure();
    weir_stream_close(&server);
    turn_until(&client_events, WEIR_STREAM_READABLE);
    uint8_t *bytes;
    size_t length;
    enum weir_io io = weir_stream_receive(&client, &bytes, &length);
    if (io == WEIR_IO_WAIT) /* the session ticket came first */
        io = weir_stream_receive(&client, &bytes, &length);
    cr_assert_eq(io, WEIR_IO_EOF);
}

Test(tls, garbage_after_the_handshake_is_an_error_with_a_reason)
{
    secure();
    cr_assert_eq(send(client.io.fd, "Q\0\0\0\x0eselect 1;\0", 15, 0), 15);
    turn_until(&server_events, WEIR_STREAM_READABLE);
    uint8_t *bytes;
    size_t length;
    cr_assert_eq(weir_stream_receive(&server, &bytes, &length), WEIR_IO_DEAD);
    cr_assert_eq(server.error, EPROTO);
    cr_assert_not_null(weir_tls_problem(&server));
    cr_assert_not(weir_stream_send_bytes(&server, "x", 1));
}

Test(tls, garbage_instead_of_a_handshake)
{
    struct weir_tls_options accepts = server_options();
    struct weir_tls_context *accepting = context(&accepts);
    cr_assert(weir_tls_accept(&server, accepting, false));
    weir_tls_context_release(accepting);
    cr_assert(weir_stream_send_bytes(&client, "GET / HTTP/1.1\r\n\r\n", 18));
    turn_until(&server_events, WEIR_STREAM_FAILED);
    cr_assert_str_eq(weir_tls_problem(&server), "http request");
    cr_assert_eq(server_events & WEIR_STREAM_SECURED, 0);
}

Test(tls, a_peer_that_leaves_in_the_middle)
{
    struct weir_tls_options accepts = server_options();
    struct weir_tls_context *accepting = context(&accepts);
    cr_assert(weir_tls_accept(&server, accepting, false));
    weir_tls_context_release(accepting);
    cr_assert(weir_stream_send_bytes(&client, "\x16\x03\x01\x02\x00\x01", 6));
    for (int i = 0; i < 5; i++)
        test_loop_turn(&test);
    cr_assert_eq(server_events, 0);
    weir_stream_close(&client);
    turn_until(&server_events, WEIR_STREAM_FAILED);
    cr_assert_not_null(strstr(weir_tls_problem(&server), "closed the connection"));
}

/* The server side of a connection that begins with TLS at once, against OpenSSL itself. The first
 * `kept` bytes are received before anybody knows that it is TLS. */
static void accept_direct(const char *protocols, size_t kept, unsigned wanted)
{
    struct weir_tls_options accepts = server_options();
    struct weir_tls_context *accepting = context(&accepts);
    SSL_CTX *raw_context = SSL_CTX_new(TLS_client_method());
    SSL *raw = SSL_new(raw_context);
    if (protocols != NULL)
        cr_assert_eq(SSL_set_alpn_protos(raw, (const unsigned char *)(const void *)protocols,
                                         (unsigned)strlen(protocols)),
                     0);
    int fd = dup(client.io.fd);
    weir_stream_pause(&client);
    SSL_set_fd(raw, fd);
    cr_assert_eq(SSL_connect(raw), -1);
    turn_until(&server_events, WEIR_STREAM_READABLE);
    cr_assert_eq(recv(server.io.fd, test.loop.scratch, kept, 0), (ssize_t)kept);
    cr_assert_eq(test.loop.scratch[0], 0x16);
    cr_assert(weir_stream_keep(&server, test.loop.scratch, kept));
    cr_assert(weir_tls_accept(&server, accepting, true));
    weir_tls_context_release(accepting);
    for (int i = 0; i < 100 && !(server_events & wanted); i++) {
        test_loop_turn(&test);
        if (SSL_do_handshake(raw) == 1 && (wanted & WEIR_STREAM_SECURED))
            SSL_write(raw, "hello", 5);
    }
    cr_assert(server_events & wanted);
    cr_assert_eq(server_events & (WEIR_STREAM_SECURED | WEIR_STREAM_FAILED), wanted);
    SSL_free(raw);
    SSL_CTX_free(raw_context);
    close(fd);
}

Test(tls, direct_with_protocol)
{
    static const size_t cuts[] = {1, 5, 6, 100};
    for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts); i++) {
        accept_direct("\012postgresql", cuts[i], WEIR_STREAM_SECURED);
        uint8_t *bytes;
        size_t length;
        weir_stream_unread(&server, &bytes, &length);
        /* Came along with the end of the handshake, or behind it. */
        if (length == 0)
            receive_all(&server, &server_events, (const uint8_t *)"hello", 5);
        else
            cr_assert_eq(memcmp(bytes, "hello", 5), 0);
        weir_stream_close(&server);
        weir_stream_close(&client);
        connect_streams();
    }
}

Test(tls, direct_without_protocol_is_refused)
{
    accept_direct(NULL, 5, WEIR_STREAM_FAILED);
    cr_assert_not_null(strstr(weir_tls_problem(&server), "ALPN"));
}

Test(tls, direct_with_another_protocol_is_refused)
{
    accept_direct("\010http/1.1", 5, WEIR_STREAM_FAILED);
    cr_assert_not_null(strstr(weir_tls_problem(&server), "no application protocol"), "%s",
                       weir_tls_problem(&server));
}

Test(tls, host_names_are_verified)
{
    static const struct {
        const char *name;
        bool good;
    } rows[] = {{"pooler.example", true},
                {"127.0.0.1", true},
                {"other.example", false},
                {"127.0.0.2", false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct weir_tls_options accepts = server_options();
        struct weir_tls_options connects = {.ca_file = in_folder("ca"),
                                            .verify = WEIR_TLS_VERIFY_HOST};
        cr_assert_eq(shake_hands(&accepts, &connects, rows[i].name), rows[i].good, "%s",
                     rows[i].name);
        if (!rows[i].good)
            cr_assert_not_null(strstr(weir_tls_problem(&client), "mismatch"), "%s",
                               weir_tls_problem(&client));
        weir_stream_close(&server);
        weir_stream_close(&client);
        connect_streams();
    }
}

Test(tls, foreign_authority_is_refused_and_the_other_end_told)
{
    struct weir_tls_options accepts = server_options();
    struct weir_tls_options connects = {.ca_file = in_folder("other"),
                                        .verify = WEIR_TLS_VERIFY_CA};
    cr_assert_not(shake_hands(&accepts, &connects, NULL));
    cr_assert_not_null(strstr(weir_tls_problem(&client), "certificate verify failed"));
    turn_until(&server_events, WEIR_STREAM_FAILED);
    cr_assert_str_eq(weir_tls_problem(&server), "the peer sent the TLS alert \"unknown CA\"");
}

static struct weir_tls_options verifying(void)
{
    struct weir_tls_options accepts = server_options();
    accepts.verify = WEIR_TLS_VERIFY_CA;
    accepts.ca_file = in_folder("ca");
    return accepts;
}

Test(tls, client_certificates)
{
    struct weir_tls_options accepts = verifying();
    struct weir_tls_options connects = {.certificate_file = in_folder("user"),
                                        .key_file = in_folder("user.key")};
    cr_assert(shake_hands(&accepts, &connects, NULL));
    expect_names(&server, "alice", "CN=alice");
}

Test(tls, no_client_certificate)
{
    struct weir_tls_options accepts = verifying();
    struct weir_tls_options connects = {0};
    /* In TLS 1.3 the client is done before the server has looked. */
    (void)shake_hands(&accepts, &connects, NULL);
    cr_assert(server_events & WEIR_STREAM_FAILED);
    cr_assert_str_eq(weir_tls_problem(&server), "peer did not return a certificate");
}

/* The client's certificate as it is written to `user` and `user.key`, with another subject. */
static void rename_user(const struct test_name_part *parts)
{
    X509_NAME *subject = X509_NAME_new();
    for (; parts->nid != 0; parts++)
        cr_assert_eq(X509_NAME_add_entry_by_NID(subject, parts->nid, V_ASN1_UTF8STRING,
                                                (const unsigned char *)(const void *)parts->text,
                                                parts->length, -1, 0),
                     1);
    X509_set_subject_name(user.certificate, subject);
    X509_NAME_free(subject);
    cr_assert(X509_sign(user.certificate, authority.key, EVP_sha256()) > 0);
    test_write_identity(&user, in_folder("user"), in_folder("user.key"));
}

static bool show_certificate(const char *file, const char *key)
{
    struct weir_tls_options accepts = verifying();
    accepts.verify = WEIR_TLS_VERIFY_SHOWN;
    struct weir_tls_options connects = {.certificate_file = file, .key_file = key};
    bool done = shake_hands(&accepts, &connects, NULL);
    /* In TLS 1.3 the client is done before the server has looked. */
    for (int i = 0; i < 2000 && !(server_events & (WEIR_STREAM_SECURED | WEIR_STREAM_FAILED)); i++)
        test_loop_turn(&test);
    return done && server_events & WEIR_STREAM_SECURED;
}

Test(tls, a_certificate_that_is_wanted_but_not_needed)
{
    cr_assert(show_certificate(NULL, NULL));
    expect_names(&server, NULL, NULL);
    weir_stream_close(&server);
    weir_stream_close(&client);
    connect_streams();
    cr_assert(show_certificate(in_folder("user"), in_folder("user.key")));
    expect_names(&server, "alice", "CN=alice");
    weir_stream_close(&server);
    weir_stream_close(&client);
    connect_streams();
    cr_assert_not(show_certificate(in_folder("other"), in_folder("other.key")));
    cr_expect_not_null(strstr(weir_tls_problem(&server), "certificate verify failed"), "%s",
                       weir_tls_problem(&server));
}

Test(tls, names_of_a_certificate)
{
    static const struct test_name_part two[] = {{NID_organizationName, "A, B", -1},
                                                {NID_commonName, "b\xc3\xb6rn", -1},
                                                {NID_commonName, "eve", -1},
                                                {0}};
    rename_user(two);
    cr_assert(show_certificate(in_folder("user"), in_folder("user.key")));
    expect_names(&server, "b\xc3\xb6rn", "CN=eve,CN=b\\C3\\B6rn,O=A\\, B");
}

Test(tls, a_certificate_without_common_name)
{
    static const struct test_name_part none[] = {{NID_organizationName, "A", -1}, {0}};
    rename_user(none);
    cr_assert(show_certificate(in_folder("user"), in_folder("user.key")));
    expect_names(&server, NULL, "O=A");
}

/* CVE-2009-4034: what is taken for the name must be all of it. */
Test(tls, a_zero_byte_in_the_common_name_is_refused)
{
    static const struct test_name_part zero[] = {{NID_commonName, "alice\0.example", 14}, {0}};
    rename_user(zero);
    cr_assert_not(show_certificate(in_folder("user"), in_folder("user.key")));
    cr_expect_str_eq(weir_tls_problem(&server),
                     "the common name of the client's certificate contains a zero byte");
}

Test(tls, revoked_client_certificate)
{
    test_write_revocations(&authority, user.certificate, in_folder("crl"));
    struct weir_tls_options accepts = verifying();
    accepts.crl_file = in_folder("crl");
    struct weir_tls_options connects = {.certificate_file = in_folder("user"),
                                        .key_file = in_folder("user.key")};
    (void)shake_hands(&accepts, &connects, NULL);
    cr_assert(server_events & WEIR_STREAM_FAILED);
    cr_assert_str_eq(weir_tls_problem(&server), "certificate verify failed: certificate revoked");
}

Test(tls, not_revoked_client_certificate)
{
    test_write_revocations(&authority, host.certificate, in_folder("crl"));
    struct weir_tls_options accepts = verifying();
    accepts.crl_file = in_folder("crl");
    struct weir_tls_options connects = {.certificate_file = in_folder("user"),
                                        .key_file = in_folder("user.key")};
    cr_assert(shake_hands(&accepts, &connects, NULL));
}

Test(tls, versions_and_ciphers_are_obeyed)
{
    struct weir_tls_options accepts = server_options();
    accepts.protocols = "tlsv1.2";
    accepts.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
    struct weir_tls_options connects = {0};
    cr_assert(shake_hands(&accepts, &connects, NULL));
    cr_assert_str_eq(weir_tls_version(&server), "TLSv1.2");
    cr_assert_str_eq(weir_tls_cipher(&server), "ECDHE-ECDSA-AES128-GCM-SHA256");
    static uint8_t bytes[100000];
    fill(bytes, sizeof(bytes));
    cr_assert(weir_stream_send_bytes(&server, bytes, sizeof(bytes)));
    receive_all(&client, &client_events, bytes, sizeof(bytes));
}

Test(tls, no_common_version)
{
    struct weir_tls_options accepts = server_options();
    accepts.protocols = "tlsv1.3";
    struct weir_tls_options connects = {.protocols = "secure, !tlsv1.3"};
    cr_assert_not(shake_hands(&accepts, &connects, NULL));
    turn_until(&server_events, WEIR_STREAM_FAILED);
    cr_assert_str_eq(weir_tls_problem(&server), "unsupported protocol");
}

Test(tls, bad_files_and_values_are_named)
{
    FILE *file = test_create(in_folder("junk"), 0600);
    fputs("this is no certificate\n", file);
    fclose(file);
    struct weir_tls_options options = server_options();
    options.certificate_file = "";
    expect_problem(&options, "both a certificate file and a key file");
    options.key_file = NULL;
    expect_problem(&options, "needs a certificate file and a key file");
    options = server_options();
    options.certificate_file = in_folder("missing");
    expect_problem(&options, "missing\": No such file or directory");
    options.certificate_file = in_folder("junk");
    expect_problem(&options, "junk\": no start line");
    options = server_options();
    options.key_file = in_folder("missing");
    expect_problem(&options, "key file \"");
    options.key_file = in_folder("user.key");
    expect_problem(&options, "does not belong to the certificate");
    options = server_options();
    cr_assert_eq(chmod(in_folder("host.key"), 0644), 0);
    expect_problem(&options, "group or world access");
    cr_assert_eq(chmod(in_folder("host.key"), 0600), 0);
    options.ca_file = in_folder("junk");
    expect_problem(&options, "CA file \"");
    options = server_options();
    options.crl_file = in_folder("missing");
    expect_problem(&options, "CRL file \"");
    options = server_options();
    options.verify = WEIR_TLS_VERIFY_CA;
    expect_problem(&options, "needs a CA file");
    options = server_options();
    options.protocols = "tlsv1.9";
    expect_problem(&options, "TLS protocols: \"tlsv1.9\"");
    options.protocols = "secure,!all";
    expect_problem(&options, "TLS protocols");
    options = server_options();
    options.ciphers = "nonsense";
    expect_problem(&options, "TLS ciphers: \"nonsense\"");
    options = server_options();
    options.suites = "nonsense";
    expect_problem(&options, "TLS 1.3 cipher suites: \"nonsense\"");
    options = server_options();
    options.curves = "nonsense";
    expect_problem(&options, "TLS curves: \"nonsense\"");
    options.curves = "prime256v1";
    weir_tls_context_release(context(&options));
}

Test(tls, encrypted_key_asks_nobody)
{
    FILE *file = test_create(in_folder("host.key"), 0600);
    cr_assert_eq(PEM_write_PrivateKey(file, host.key, EVP_aes_128_cbc(),
                                      (const unsigned char *)(const void *)"secret", 6, NULL, NULL),
                 1);
    fclose(file);
    struct weir_tls_options options = server_options();
    expect_problem(&options, "key file \"");
}

#define MANY 100
static struct weir_stream many[2][MANY];
static unsigned secured;

static void on_many(struct weir_stream *stream, unsigned events)
{
    cr_assert_eq(events & WEIR_STREAM_FAILED, 0, "%s", weir_tls_problem(stream));
    if (events & WEIR_STREAM_SECURED)
        secured++;
}

/* Nothing but the queue of handshakes wakes the loop, and no turn takes them all. */
Test(tls, many_handshakes_are_spread_over_turns)
{
    struct weir_tls_options accepts = server_options();
    struct weir_tls_options connects = {0};
    struct weir_tls_context *accepting = context(&accepts);
    struct weir_tls_context *connecting = context(&connects);
    for (int i = 0; i < MANY; i++) {
        int ends[2];
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        weir_stream_open(&many[0][i], &test.loop, ends[0], 0, on_many);
        weir_stream_open(&many[1][i], &test.loop, ends[1], 0, on_many);
        cr_assert(weir_tls_accept(&many[0][i], accepting, false));
        cr_assert(weir_tls_connect(&many[1][i], connecting, NULL));
    }
    int turns = 0;
    secured = 0;
    while (secured < 2 * MANY && turns++ < 5000)
        ev_run(test.loop.ev, EVRUN_ONCE);
    cr_assert_eq(secured, 2 * MANY);
    cr_assert_gt(turns, 3);
    for (int i = 0; i < MANY; i++) {
        weir_stream_close(&many[0][i]);
        weir_stream_close(&many[1][i]);
    }
    weir_tls_context_release(accepting);
    weir_tls_context_release(connecting);
}
