/* Clients that break the exchange, stop in the middle of it, or guess. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exchange.h"
#include "secret.h"

#define SCRAM_SECRET                                                                               \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"    \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define MECHANISM "SCRAM-SHA-256\0"
#define P32       "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static struct weir_auth_context *context;
static struct weir_client_proof *proof;
static struct weir_buffer out;

static void setup(void)
{
    context = weir_auth_context_create();
}

static void teardown(void)
{
    weir_client_proof_destroy(proof);
    weir_buffer_clear(&out);
    weir_auth_context_destroy(context);
}

TestSuite(client_proof, .init = setup, .fini = teardown);

static void begin(enum weir_auth_method method, const char *user, const char *secret)
{
    weir_client_proof_destroy(proof);
    weir_buffer_clear(&out);
    proof = weir_client_proof_create(context, method, user, secret);
    cr_assert_eq(weir_client_proof_step(proof, NULL, 0, &out), WEIR_AUTH_MORE);
}

/* The body lies at the very end of its memory. */
static enum weir_auth_result step(const char *body, size_t length)
{
    uint8_t *copy = malloc(length + (length == 0));
    memcpy(copy, body, length);
    weir_buffer_clear(&out);
    enum weir_auth_result result = weir_client_proof_step(proof, copy, length, &out);
    free(copy);
    return result;
}

/* SASLInitialResponse with this text. */
static enum weir_auth_result step_first(const char *text)
{
    char body[8192];
    size_t length = strlen(text);
    memcpy(body, MECHANISM, sizeof(MECHANISM) - 1);
    weir_put_u32((uint8_t *)body + sizeof(MECHANISM) - 1, (uint32_t)length);
    memcpy(body + sizeof(MECHANISM) + 3, text, length);
    return step(body, sizeof(MECHANISM) + 3 + length);
}

static void expect_broken(enum weir_auth_result result, const char *problem)
{
    cr_expect_eq(result, WEIR_AUTH_BROKEN, "result %d instead of: %s", result, problem);
    cr_expect_str_eq(weir_client_proof_problem(proof), problem);
    cr_expect_eq(weir_buffer_length(&out), 0);
    /* Once broken, always broken. */
    cr_expect_eq(step("x", 2), WEIR_AUTH_BROKEN);
    cr_expect_str_neq(weir_client_proof_problem(proof), "");
}

/* The text of the message in `out`, without the code. */
static const char *challenge(void)
{
    static char text[4096];
    size_t length;
    const uint8_t *body = message_body(&out, &length);
    cr_assert_lt(length, sizeof(text));
    memcpy(text, body + 4, length - 4);
    text[length - 4] = '\0';
    return text;
}

Test(client_proof, requests)
{
    size_t length;
    begin(WEIR_AUTH_SCRAM, "user", SCRAM_SECRET);
    const uint8_t *body = message_body(&out, &length);
    cr_expect_eq(weir_buffer_bytes(&out)[0], 'R');
    cr_expect_eq(length, 4 + 15);
    cr_expect_arr_eq(body, "\0\0\0\x0aSCRAM-SHA-256\0\0", 19);
    begin(WEIR_AUTH_PLAIN, "user", "x");
    body = message_body(&out, &length);
    cr_expect_eq(length, 4);
    cr_expect_eq(weir_get_u32(body), 3);
    begin(WEIR_AUTH_MD5, "user", "x");
    body = message_body(&out, &length);
    cr_expect_eq(length, 8);
    cr_expect_eq(weir_get_u32(body), 5);
}

Test(client_proof, malformed_initial_response)
{
    static const char malformed[] = "malformed SASL initial response";
    static const struct {
        const char *body;
        size_t length;
        const char *problem;
    } cases[] = {
        {"", 0, malformed},
        {"SCRAM-SHA-256", 13, malformed},
        {MECHANISM "\0\0\0", 17, malformed},
        {MECHANISM "\0\0\0\4n,,", 21, malformed},
        {MECHANISM "\0\0\0\2n,,", 21, malformed},
        {MECHANISM "\xff\xff\xff\xffn,,", 21, malformed},
        {MECHANISM "\x7f\xff\xff\xffn,,", 21, malformed},
        {MECHANISM "\x80\0\0\0n,,", 21, malformed},
        {MECHANISM "\xff\xff\xff\xfen,,", 21, malformed},
        {"SCRAM-SHA-256-PLUS\0\0\0\0\3n,,", 26,
         "client selected a SASL mechanism that was not offered"},
        {"scram-sha-256\0\0\0\0\3n,,", 21, "client selected a SASL mechanism that was not offered"},
        {"\0\0\0\0\0", 5, "client selected a SASL mechanism that was not offered"},
        {MECHANISM "\0\0\0\0", 18, "malformed SCRAM message"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin(WEIR_AUTH_SCRAM, "user", SCRAM_SECRET);
        expect_broken(step(cases[i].body, cases[i].length), cases[i].problem);
    }
}

Test(client_proof, refused_first_messages)
{
    static const struct {
        const char *text;
        const char *problem;
    } cases[] = {
        {"p=tls-server-end-point,,n=,r=abc",
         "client demands SCRAM channel binding without having selected SCRAM-SHA-256-PLUS"},
        {"p=tls-unique,,n=,r=abc",
         "client demands a kind of SCRAM channel binding that is not supported"},
        {"n,a=admin,n=,r=abc",
         "client sends a SCRAM authorization identity, which is not supported"},
        {"n,,m=x,n=,r=abc", "SCRAM message demands an extension that is not supported"},
        {"n,,n=,r=a b", "SCRAM nonce is empty or not printable"},
        {"n,,n=,r=", "SCRAM nonce is empty or not printable"},
        {"hello", "malformed SCRAM message"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin(WEIR_AUTH_SCRAM, "user", SCRAM_SECRET);
        expect_broken(step_first(cases[i].text), cases[i].problem);
    }
    char nonce[5000] = "n,,n=,r=";
    memset(nonce + 8, 'a', sizeof(nonce) - 9);
    begin(WEIR_AUTH_SCRAM, "user", SCRAM_SECRET);
    expect_broken(step_first(nonce), "SCRAM message is too long");
}

Test(client_proof, refused_final_messages)
{
    static const struct {
        const char *format; /* with the nonce of the challenge */
        const char *problem;
    } cases[] = {
        {"c=eSws,r=%s,p=" P32, "SCRAM channel binding data differs from the first message"},
        {"c=biws,r=%sx,p=" P32, "SCRAM nonce differs from the one that was sent"},
        {"c=biws,r=x%s,p=" P32, "SCRAM nonce differs from the one that was sent"},
        {"c=biws,r=abc,x=%s,p=" P32, "SCRAM nonce differs from the one that was sent"},
        {"c=biws,r=%s,m=1,p=" P32, "SCRAM message demands an extension that is not supported"},
        {"c=biws,r=%s,p=AAAA", "malformed SCRAM proof"},
        {"c=biws,r=%s", "malformed SCRAM message"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512];
        begin(WEIR_AUTH_SCRAM, "user", SCRAM_SECRET);
        cr_assert_eq(step_first("n,,n=,r=abc"), WEIR_AUTH_MORE);
        char *nonce = weir_strndup(challenge() + 2, strcspn(challenge() + 2, ","));
        cr_expect_eq(strlen(nonce), 27);
        char *place = strstr(cases[i].format, "%s");
        strcpy(text, cases[i].format);
        strcpy(text + (place - cases[i].format), nonce);
        strcat(text, place + 2);
        expect_broken(step(text, strlen(text)), cases[i].problem);
        free(nonce);
    }
}

Test(client_proof, empty_initial_response_is_asked_again)
{
    begin(WEIR_AUTH_SCRAM, "user", SCRAM_SECRET);
    cr_expect_eq(step(MECHANISM "\xff\xff\xff\xff", 18), WEIR_AUTH_MORE);
    cr_expect_str_eq(challenge(), "");
    cr_expect_eq(step("n,,n=,r=abc", 11), WEIR_AUTH_MORE);
    cr_expect_eq(strncmp(challenge(), "r=abc", 5), 0);
    cr_expect_not_null(strstr(challenge(), ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"));
}

/* The name inside the SCRAM message does not count, the one of the startup packet does. */
Test(client_proof, nonces_differ_and_names_are_ignored)
{
    char *before = NULL;
    for (int i = 0; i < 3; i++) {
        begin(WEIR_AUTH_SCRAM, "user", SCRAM_SECRET);
        cr_assert_eq(step_first(i == 1 ? "n,,n=somebody,r=abc" : "n,,n=,r=abc"), WEIR_AUTH_MORE);
        if (before)
            cr_expect_str_neq(challenge(), before);
        free(before);
        before = weir_strdup(challenge());
    }
    free(before);
}

static char *salt_of(const char *user, const char *secret)
{
    begin(WEIR_AUTH_SCRAM, user, secret);
    cr_assert_eq(step_first("n,,n=,r=abc"), WEIR_AUTH_MORE);
    return weir_strdup(strstr(challenge(), ",s="));
}

Test(client_proof, unknown_users_look_like_others)
{
    char *one = salt_of("nobody", NULL);
    char *again = salt_of("nobody", NULL);
    char *other = salt_of("nobody2", NULL);
    char *plain = salt_of("nobody", "plain");
    cr_expect_str_eq(one, again);
    cr_expect_str_neq(one, other);
    cr_expect_str_eq(one, plain);
    cr_expect_eq(strlen(one), strlen(",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"));
    cr_expect_str_eq(one + strlen(one) - 9, "==,i=4096");

    /* Another process has other salts. */
    struct weir_auth_context *first = context;
    context = weir_auth_context_create();
    char *restarted = salt_of("nobody", NULL);
    cr_expect_str_neq(one, restarted);
    weir_client_proof_destroy(proof);
    proof = NULL;
    weir_auth_context_destroy(context);
    context = first;
    free(one);
    free(again);
    free(other);
    free(plain);
    free(restarted);
}

/* Asks, answers with this password, and counts the slices of work; the request's code is *code. */
static unsigned slices_of_guess(enum weir_auth_method method, const char *secret, uint32_t *code)
{
    struct weir_buffer none = {0};
    weir_client_proof_destroy(proof);
    weir_buffer_clear(&out);
    proof = weir_client_proof_create(context, method, "someone", secret);
    weir_client_proof_imitate(proof, WEIR_SECRET_SCRAM);
    cr_assert_eq(weir_client_proof_step(proof, NULL, 0, &out), WEIR_AUTH_MORE);
    *code = weir_get_u32(weir_buffer_bytes(&out) + WEIR_WIRE_HEADER);
    if (*code != 3)
        return 0;
    unsigned slices = 0;
    enum weir_auth_result result =
        weir_client_proof_step(proof, (const uint8_t *)"a guess", 8, &none);
    for (; result == WEIR_AUTH_BUSY; slices++)
        result = weir_client_proof_work(proof, &none);
    cr_expect_eq(result, WEIR_AUTH_FAILED);
    weir_buffer_clear(&none);
    return slices;
}

Test(client_proof, unknown_users_look_like_most)
{
    uint32_t known, unknown;
    slices_of_guess(WEIR_AUTH_MD5, SCRAM_SECRET, &known);
    slices_of_guess(WEIR_AUTH_MD5, NULL, &unknown);
    cr_expect_eq(known, 10);
    cr_expect_eq(unknown, 10, "asked for a password in another way: %u", unknown);
    unsigned work = slices_of_guess(WEIR_AUTH_PLAIN, SCRAM_SECRET, &known);
    unsigned pretended = slices_of_guess(WEIR_AUTH_PLAIN, NULL, &unknown);
    cr_expect_eq(known, unknown);
    cr_expect_gt(work, 1);
    cr_expect_eq(pretended, work, "%u slices, not %u", pretended, work);
    /* Known users are not imitations. */
    slices_of_guess(WEIR_AUTH_MD5, "md500000000000000000000000000000000", &known);
    cr_expect_eq(known, 5);
    cr_expect_eq(slices_of_guess(WEIR_AUTH_PLAIN, "plain", &known), 0);
}

Test(client_proof, malformed_passwords)
{
    static const enum weir_auth_method methods[] = {WEIR_AUTH_PLAIN, WEIR_AUTH_MD5};
    static const struct {
        const char *body;
        size_t length;
    } cases[] = {{"", 0}, {"x", 1}, {"x\0y", 3}, {"x\0\0", 3}};
    for (size_t m = 0; m < 2; m++) {
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            begin(methods[m], "user", "x");
            expect_broken(step(cases[i].body, cases[i].length), "malformed password message");
        }
        begin(methods[m], "user", "x");
        char *endless = malloc(1 << 20);
        memset(endless, 'a', 1 << 20);
        endless[(1 << 20) - 1] = '\0';
        expect_broken(step(endless, 1 << 20), "malformed password message");
        free(endless);
    }
}

Test(client_proof, long_passwords_work)
{
    char *password = malloc(65537);
    memset(password, 'p', 65536);
    password[65536] = '\0';
    begin(WEIR_AUTH_PLAIN, "user", password);
    cr_expect_eq(step(password, 65537), WEIR_AUTH_OK);
    password[65535] = 'q';
    begin(WEIR_AUTH_PLAIN, "user", "p");
    cr_expect_eq(step(password, 65537), WEIR_AUTH_FAILED);
    free(password);
}

/* What PostgreSQL's md5 method wants is not the stored secret itself. */
Test(client_proof, stored_md5_secret_is_no_answer)
{
    static const char secret[] = "md5498ad3f715beae175b49f29edbfd6f92";
    begin(WEIR_AUTH_MD5, "app_user", secret);
    cr_expect_eq(step(secret, sizeof(secret)), WEIR_AUTH_FAILED);
    begin(WEIR_AUTH_MD5, "app_user", NULL);
    cr_expect_eq(step("", 1), WEIR_AUTH_FAILED);
}

Test(client_proof, abandoned_anywhere)
{
    proof = weir_client_proof_create(context, WEIR_AUTH_SCRAM, "user", "pencil");
    begin(WEIR_AUTH_SCRAM, "user", "pencil");
    cr_assert_eq(step_first("n,,n=,r=abc"), WEIR_AUTH_MORE);
    char text[256] = "c=biws,r=";
    strncat(text, challenge() + 2, strcspn(challenge() + 2, ","));
    strcat(text, ",p=" P32);
    cr_expect_eq(step(text, strlen(text)), WEIR_AUTH_BUSY);
    cr_expect_eq(weir_client_proof_work(proof, &out), WEIR_AUTH_BUSY);
    /* The client goes away, or talks while its proof is being checked. */
    expect_broken(step("x", 1), "authentication message was not asked for");
    begin(WEIR_AUTH_PLAIN, "user", SCRAM_SECRET);
    cr_expect_eq(step("pencil", 7), WEIR_AUTH_BUSY);
    weir_client_proof_destroy(NULL);
}

/* --- another secret after the first did not fit -------------------------------------------------
 */

static void expect_taken(const char *password, const char *md5)
{
    struct weir_credentials taken;
    weir_client_proof_take(proof, &taken);
    cr_expect_eq(taken.password == NULL, password == NULL);
    cr_expect_eq(taken.md5 == NULL, md5 == NULL);
    if (taken.password != NULL && password != NULL)
        cr_expect_str_eq(taken.password, password);
    if (taken.md5 != NULL && md5 != NULL)
        cr_expect_str_eq(taken.md5, md5);
    weir_credentials_clear(&taken);
}

static enum weir_auth_result again(const char *secret)
{
    weir_buffer_clear(&out);
    enum weir_auth_result result = weir_client_proof_again(proof, secret, &out);
    while (result == WEIR_AUTH_BUSY)
        result = weir_client_proof_work(proof, &out);
    return result;
}

Test(client_proof, a_password_fits_a_later_secret)
{
    char md5[WEIR_SECRET_MD5_LENGTH + 1];
    weir_md5_secret("fresh", "u", md5);
    const char *const before[] = {"stale", NULL, "md5a3556571e93b0d20722ba62be61e8c2d"};
    for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
        begin(WEIR_AUTH_PLAIN, "u", before[i]);
        cr_assert_eq(step("fresh", 6), WEIR_AUTH_FAILED);
        cr_assert_eq(again(NULL), WEIR_AUTH_FAILED);
        cr_assert_eq(again("other"), WEIR_AUTH_FAILED);
        cr_assert_eq(again(SCRAM_SECRET), WEIR_AUTH_FAILED);
        cr_assert_eq(again(i == 0 ? "fresh" : md5), WEIR_AUTH_OK);
        expect_taken("fresh", NULL);
    }
}

Test(client_proof, an_md5_response_fits_a_later_secret)
{
    char md5[WEIR_SECRET_MD5_LENGTH + 1], response[WEIR_SECRET_MD5_LENGTH + 1];
    size_t length;
    weir_md5_secret("fresh", "u", md5);
    for (int plain = 0; plain < 2; plain++) {
        begin(WEIR_AUTH_MD5, "u", plain ? NULL : "stale");
        weir_md5_response(md5, message_body(&out, &length) + 4, response);
        cr_assert_eq(step(response, sizeof(response)), WEIR_AUTH_FAILED);
        cr_assert_eq(again(NULL), WEIR_AUTH_FAILED);
        cr_assert_eq(again(SCRAM_SECRET), WEIR_AUTH_FAILED);
        cr_assert_eq(again(plain ? "fresh" : md5), WEIR_AUTH_OK);
        expect_taken(plain ? "fresh" : NULL, plain ? NULL : md5);
    }
}

Test(client_proof, a_scram_exchange_is_bound_to_its_salt)
{
    char final[1024], nonce[256];
    begin(WEIR_AUTH_SCRAM, "u", SCRAM_SECRET);
    cr_assert_eq(step_first("n,,n=,r=abcdefghijkl"), WEIR_AUTH_MORE);
    snprintf(nonce, sizeof(nonce), "%.*s", (int)strcspn(challenge(), ","), challenge());
    snprintf(final, sizeof(final), "c=biws,%s,p=" P32, nonce);
    cr_assert_eq(step(final, strlen(final)), WEIR_AUTH_FAILED);
    cr_assert_eq(again(SCRAM_SECRET), WEIR_AUTH_FAILED);
    cr_assert_eq(again("plain"), WEIR_AUTH_FAILED);
    cr_assert_eq(again(NULL), WEIR_AUTH_FAILED);
}

/* --- passwords that others judge ----------------------------------------------------------- */

Test(client_proof, judged_elsewhere)
{
    for (int right = 0; right < 2; right++) {
        struct weir_credentials credentials;
        /* What is stored does not matter. */
        begin(WEIR_AUTH_OUTSIDE, "user", right ? NULL : "pencil");
        cr_assert_eq(step("pencil", 7), WEIR_AUTH_OFFERED);
        cr_assert_str_eq(weir_client_proof_offer(proof), "pencil");
        cr_assert_eq(weir_client_proof_judged(proof, right),
                     right ? WEIR_AUTH_OK : WEIR_AUTH_FAILED);
        weir_client_proof_take(proof, &credentials);
        if (right)
            cr_assert_str_eq(credentials.password, "pencil");
        else
            cr_assert_null(credentials.password);
        weir_credentials_clear(&credentials);
        expect_broken(step("pencil", 7), "authentication message was not asked for");
    }
    begin(WEIR_AUTH_OUTSIDE, "user", NULL);
    expect_broken(step("a\0b", 4), "malformed password message");
    begin(WEIR_AUTH_OUTSIDE, "user", NULL);
    cr_assert_eq(step("pencil", 7), WEIR_AUTH_OFFERED);
    expect_broken(step("pencil", 7), "authentication message was not asked for");
}
