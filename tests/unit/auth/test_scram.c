/* SCRAM messages and exchanges as text: the vector of RFC 7677, and what is not SCRAM. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "pbkdf2.h"
#include "scram_exchange.h"
#include "weir/memory.h"

#define NONCE_CLIENT "rOprNGfwEbeRWgbNEkqO"
#define NONCE_SERVER "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define NONCE        NONCE_CLIENT NONCE_SERVER
#define SALT         "W22ZaJ0SNY7soEsUEjb6gQ=="
#define PROOF        "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define SIGNATURE    "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
#define CLIENT_FIRST "n,,n=user,r=" NONCE_CLIENT
#define SERVER_FIRST "r=" NONCE ",s=" SALT ",i=4096"
#define CLIENT_FINAL "c=biws,r=" NONCE ",p=" PROOF
#define SERVER_FINAL "v=" SIGNATURE

static struct weir_scram_keys rfc_keys(void)
{
    struct weir_scram_keys keys;
    struct weir_pbkdf2 state;
    uint8_t salt[16];
    uint8_t salted[WEIR_SCRAM_KEY];
    cr_assert(weir_base64_decode_exact(SALT, strlen(SALT), salt, sizeof(salt)));
    weir_pbkdf2_begin(&state, "pencil", 6, salt, sizeof(salt), 4096);
    while (!weir_pbkdf2_work(&state, 100))
        ;
    weir_pbkdf2_end(&state, salted);
    weir_scram_keys_from_salted(salted, &keys);
    return keys;
}

static const char *begin_rfc(struct weir_scram_server *server)
{
    struct weir_span salt = {.at = SALT, .length = strlen(SALT)};
    return weir_scram_server_begin(server, CLIENT_FIRST, strlen(CLIENT_FIRST), salt, 4096,
                                   NONCE_SERVER);
}

Test(scram, rfc_7677_as_server)
{
    struct weir_scram_keys keys = rfc_keys();
    struct weir_scram_server server = {0};
    cr_assert_null(begin_rfc(&server));
    cr_expect_str_eq(server.transcript + server.reply_at, SERVER_FIRST);
    cr_assert_null(weir_scram_server_finish(&server, CLIENT_FINAL, strlen(CLIENT_FINAL)));

    uint8_t stored_key[WEIR_SCRAM_KEY];
    uint8_t client_key[WEIR_SCRAM_KEY];
    char final[WEIR_SCRAM_FINAL_SIZE];
    weir_scram_stored_key(keys.client_key, stored_key);
    cr_expect(weir_scram_server_verify(&server, stored_key, keys.server_key, client_key, final));
    cr_expect_str_eq(final, SERVER_FINAL);
    cr_expect_arr_eq(client_key, keys.client_key, WEIR_SCRAM_KEY);
    weir_scram_server_clear(&server);
}

Test(scram, every_wrong_bit_of_a_proof_fails)
{
    struct weir_scram_keys keys = rfc_keys();
    uint8_t stored_key[WEIR_SCRAM_KEY];
    weir_scram_stored_key(keys.client_key, stored_key);
    struct weir_scram_server server = {0};
    cr_assert_null(begin_rfc(&server));
    cr_assert_null(weir_scram_server_finish(&server, CLIENT_FINAL, strlen(CLIENT_FINAL)));
    for (size_t bit = 0; bit < 8 * WEIR_SCRAM_KEY; bit++) {
        uint8_t client_key[WEIR_SCRAM_KEY];
        char final[WEIR_SCRAM_FINAL_SIZE];
        server.proof[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_expect_not(
            weir_scram_server_verify(&server, stored_key, keys.server_key, client_key, final));
        server.proof[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    weir_scram_server_clear(&server);
}

/* The client's side cannot send RFC 7677's user name, so the other side's arithmetic is the judge.
 */
static void run_client(const struct weir_scram_keys *keys, const char *signature, bool right)
{
    static const uint8_t random[WEIR_SCRAM_NONCE_BYTES] = {1, 2, 3};
    struct weir_scram_client client = {0};
    struct weir_scram_server server = {0};
    struct weir_scram_server_first challenge;
    struct weir_span error;
    struct weir_span salt = {.at = SALT, .length = strlen(SALT)};
    uint8_t stored_key[WEIR_SCRAM_KEY];
    uint8_t client_key[WEIR_SCRAM_KEY];
    char final[WEIR_SCRAM_FINAL_SIZE];
    weir_scram_stored_key(keys->client_key, stored_key);

    char *first = weir_scram_client_begin(&client, random, NULL, 0, false);
    cr_expect_str_eq(first, "n,,n=,r=AQIDAAAAAAAAAAAAAAAAAAAA");
    cr_assert_null(
        weir_scram_server_begin(&server, first, strlen(first), salt, 4096, NONCE_SERVER));
    cr_assert_null(weir_scram_client_continue(&client, server.transcript + server.reply_at,
                                              server.reply_length, &challenge));
    cr_expect_eq(challenge.iterations, 4096);
    cr_expect_eq(challenge.salt_length, 16);
    char *proof = weir_scram_client_prove(&client, keys);
    cr_assert_null(weir_scram_server_finish(&server, proof, strlen(proof)));
    cr_expect(weir_scram_server_verify(&server, stored_key, keys->server_key, client_key, final));
    const char *sent = signature ? signature : final;
    cr_expect_eq(weir_scram_client_verify(&client, sent, strlen(sent), &error) == NULL, right);
    free(first);
    free(proof);
    weir_scram_client_clear(&client);
    weir_scram_server_clear(&server);
}

Test(scram, both_sides_agree)
{
    struct weir_scram_keys keys = rfc_keys();
    run_client(&keys, NULL, true);
    run_client(&keys, SERVER_FINAL, false);
    run_client(&keys, "e=invalid-proof", false);
    run_client(&keys, "v=", false);
    run_client(&keys, "", false);
}

/* --- parsers -----------------------------------------------------------------------------------
 */

struct parser_case {
    const char *text;
    size_t length; /* 0: strlen */
    bool good;
};

#define BYTES(text) text, sizeof(text) - 1
#define P32         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static const struct parser_case client_firsts[] = {
    {CLIENT_FIRST, 0, true},
    {"y,,n=,r=abc", 0, true},
    {"n,,n=a=2Cb,r=a/+=b", 0, true},
    {"n,,n=,r=abc,x=extension", 0, true},
    {"n,,n=,r=abc,x=", 0, true},
    {"p=tls-server-end-point,,n=,r=abc", 0, true},
    {"p=tls-server-end-point,a=x,n=,r=abc", 0, false},
    {"p=tls-unique,,n=,r=abc", 0, false},
    {"p=tls-server-end-pointX,,n=,r=abc", 0, false},
    {"p,,n=,r=abc", 0, false},
    {"n,a=admin,n=,r=abc", 0, false},
    {"n,,m=x,n=,r=abc", 0, false},
    {"n,,n=,m=x,r=abc", 0, false},
    {"n,,n=,r=abc,m=x", 0, false},
    {"x,,n=,r=abc", 0, false},
    {"n,,r=abc", 0, false},
    {"n,,n=", 0, false},
    {"n,,n=,", 0, false},
    {"n,,n=,r=", 0, false},
    {"n,,n=,r=abc,", 0, false},
    {"n,,n=,r=abc,xy", 0, false},
    {"n,,n=,r=abc,1=y", 0, false},
    {"n,,n=,r=a b", 0, false},
    {"n,,n=,r=a\tb", 0, false},
    {"n,,n=,r=a\x7f", 0, false},
    {"n,,n=,r=a\xc3\xa9", 0, false},
    {BYTES("n,,n=\0,r=abc"), false},
    {BYTES("n,,n=,r=abc\0"), false},
    {"n,", 0, false},
};

static const struct parser_case server_firsts[] = {
    {SERVER_FIRST, 0, true},
    {"r=a,s=AA==,i=1", 0, true},
    {"r=a,s=AAA=,i=10000000,x=1", 0, true},
    {"r=a,s=,i=1", 0, false},
    {"r=a,s=A,i=1", 0, false},
    {"r=a,s=A===,i=1", 0, false},
    {"r=a,s====,i=1", 0, false},
    {"r=a,s=AA =,i=1", 0, false},
    {"r=a,s=AA==AA==,i=1", 0, false},
    {"r=a,s=AA==,i=0", 0, false},
    {"r=a,s=AA==,i=-1", 0, false},
    {"r=a,s=AA==,i=+1", 0, false},
    {"r=a,s=AA==,i=1 ", 0, false},
    {"r=a,s=AA==,i=", 0, false},
    {"r=a,s=AA==,i=10000001", 0, false},
    {"r=a,s=AA==,i=2147483648", 0, false},
    {"r=a,s=AA==,i=4294967297", 0, false},
    {"r=a,s=AA==,i=18446744073709551617", 0, false},
    {"r=a,s=AA==", 0, false},
    {"r=a,i=4096", 0, false},
    {"s=AA==,i=4096", 0, false},
    {"i=4096,s=AA==,r=a", 0, false},
    {"m=x,r=a,s=AA==,i=1", 0, false},
    {"r=,s=AA==,i=1", 0, false},
    {"r=a\x01,s=AA==,i=1", 0, false},
    {"e=other-error", 0, false},
};

static const struct parser_case client_finals[] = {
    {CLIENT_FINAL, 0, true},
    {"c=biws,r=a,x=1,p=" P32, 0, true},
    {"c=biws,r=a,m=1,p=" P32, 0, false},
    {"c=biws,r=a,p=" P32 ",", 0, false},
    {"c=biws,r=a,p=" P32 ",x=1", 0, false},
    {"c=biws,r=a,p=" P32 "AAAA", 0, false},
    {"c=biws,r=a,p=AAAA", 0, false},
    {"c=biws,r=a,p=", 0, false},
    {"c=biws,r=a", 0, false},
    {"c=biws,p=" P32, 0, false},
    {"r=a,p=" P32, 0, false},
    {"", 0, false},
};

static const struct parser_case server_finals[] = {
    {SERVER_FINAL, 0, true},
    {"v=" P32 ",x=1", 0, true},
    {"e=invalid-proof", 0, true},
    {"e=", 0, false},
    {"v=", 0, false},
    {"v=AAAA", 0, false},
    {"v=" P32 ",", 0, false},
    {"v=" P32 ",m=1", 0, false},
    {"", 0, false},
};

/* The text lies at the very end of its memory, so that a sanitizer sees the first byte read past
 * it. */
static bool parses(int which, const char *text, size_t length)
{
    char *copy = malloc(length + (length == 0));
    union {
        struct weir_scram_client_first client_first;
        struct weir_scram_server_first server_first;
        struct weir_scram_client_final client_final;
        struct weir_scram_server_final server_final;
    } message;
    const char *problem = NULL;
    memcpy(copy, text, length);
    if (which == 0)
        problem = weir_scram_parse_client_first(copy, length, &message.client_first);
    else if (which == 1)
        problem = weir_scram_parse_server_first(copy, length, &message.server_first);
    else if (which == 2)
        problem = weir_scram_parse_client_final(copy, length, &message.client_final);
    else
        problem = weir_scram_parse_server_final(copy, length, &message.server_final);
    free(copy);
    return problem == NULL;
}

static const struct {
    const struct parser_case *cases;
    size_t count;
} parsers[] = {
    {client_firsts, sizeof(client_firsts) / sizeof(client_firsts[0])},
    {server_firsts, sizeof(server_firsts) / sizeof(server_firsts[0])},
    {client_finals, sizeof(client_finals) / sizeof(client_finals[0])},
    {server_finals, sizeof(server_finals) / sizeof(server_finals[0])},
};

Test(scram, parsers_accept_and_refuse)
{
    for (int which = 0; which < 4; which++) {
        for (size_t i = 0; i < parsers[which].count; i++) {
            const struct parser_case *each = &parsers[which].cases[i];
            size_t length = each->length ? each->length : strlen(each->text);
            cr_expect_eq(parses(which, each->text, length), each->good, "parser %d: %s", which,
                         each->text);
        }
    }
}

/* What is shorter than the first example of a parser is whole only where the grammar says so. */
Test(scram, every_cut_is_refused)
{
    static const char *const whole[] = {CLIENT_FIRST, SERVER_FIRST, CLIENT_FINAL, SERVER_FINAL};
    for (int which = 0; which < 4; which++) {
        for (size_t length = 0; length < strlen(whole[which]); length++) {
            bool nonce_cut = which == 0 && length > strlen("n,,n=user,r=");
            bool iterations_cut = which == 1 && length > strlen(SERVER_FIRST) - 4;
            cr_expect_eq(parses(which, whole[which], length), nonce_cut || iterations_cut,
                         "parser %d cut at %zu", which, length);
        }
    }
}

Test(scram, endless_messages_are_refused)
{
    size_t length = 1 << 20;
    char *text = malloc(length);
    static const char *const starts[] = {"n,,n=,r=", "r=", "c=biws,r=", "v="};
    for (int which = 0; which < 4; which++) {
        memset(text, 'a', length);
        memcpy(text, starts[which], strlen(starts[which]));
        cr_expect_not(parses(which, text, length), "parser %d", which);
    }
    free(text);
}

Test(scram, final_message_must_repeat_the_first)
{
    static const struct {
        const char *first;
        const char *final;
        bool good;
    } cases[] = {
        {"n,,n=,r=abc", "c=biws,r=abc" NONCE_SERVER ",p=" P32, true},
        {"y,,n=,r=abc", "c=eSws,r=abc" NONCE_SERVER ",p=" P32, true},
        {"n,,n=,r=abc", "c=eSws,r=abc" NONCE_SERVER ",p=" P32, false},
        {"y,,n=,r=abc", "c=biws,r=abc" NONCE_SERVER ",p=" P32, false},
        {"n,,n=,r=abc", "c=,r=abc" NONCE_SERVER ",p=" P32, false},
        {"n,,n=,r=abc", "c=biws,r=abc,p=" P32, false},
        {"n,,n=,r=abc", "c=biws,r=" NONCE_SERVER ",p=" P32, false},
        {"n,,n=,r=abc", "c=biws,r=abC" NONCE_SERVER ",p=" P32, false},
        {"n,,n=,r=abc", "c=biws,r=abc" NONCE_SERVER "x,p=" P32, false},
        {"n,,n=,r=abc", "c=biws,r=,p=" P32, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_scram_server server = {0};
        struct weir_span salt = {.at = SALT, .length = strlen(SALT)};
        cr_assert_null(weir_scram_server_begin(&server, cases[i].first, strlen(cases[i].first),
                                               salt, 4096, NONCE_SERVER));
        const char *problem =
            weir_scram_server_finish(&server, cases[i].final, strlen(cases[i].final));
        cr_expect_eq(problem == NULL, cases[i].good, "case %zu: %s", i, problem);
        weir_scram_server_clear(&server);
    }
}
