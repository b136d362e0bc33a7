/* Servers that are hostile, or demand what we do not have. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "exchange.h"

static struct weir_auth_context *context;
static struct weir_server_proof *proof;
static struct weir_buffer out;

static void setup(void)
{
    context = weir_auth_context_create();
}

static void teardown(void)
{
    weir_server_proof_destroy(proof);
    weir_buffer_clear(&out);
    weir_auth_context_destroy(context);
}

TestSuite(server_proof, .init = setup, .fini = teardown);

static char password[] = "pencil";
static char md5_secret[] = "md5498ad3f715beae175b49f29edbfd6f92";

static void begin(const struct weir_credentials *credentials)
{
    weir_server_proof_destroy(proof);
    weir_buffer_clear(&out);
    proof = weir_server_proof_create(context, "app_user", credentials);
}

static void begin_with_password(void)
{
    const struct weir_credentials credentials = {.password = password};
    begin(&credentials);
}

/* The body lies at the very end of its memory. */
static enum weir_auth_result step(uint32_t code, const char *rest, size_t length)
{
    uint8_t *body = malloc(4 + length);
    weir_put_u32(body, code);
    memcpy(body + 4, rest, length);
    weir_buffer_clear(&out);
    enum weir_auth_result result = weir_server_proof_step(proof, body, 4 + length, &out);
    free(body);
    while (result == WEIR_AUTH_BUSY)
        result = weir_server_proof_work(proof, &out);
    return result;
}

static enum weir_auth_result step_text(uint32_t code, const char *text)
{
    return step(code, text, strlen(text));
}

static void expect_end(enum weir_auth_result result, enum weir_auth_result expected,
                       const char *problem)
{
    cr_expect_eq(result, expected, "result %d instead of: %s", result, problem);
    cr_expect_str_eq(weir_server_proof_problem(proof), problem);
    cr_expect_eq(weir_buffer_length(&out), 0);
    /* What comes after the end never leads to success. */
    cr_expect_eq(step(0, "", 0), WEIR_AUTH_BROKEN);
}

#define MECHANISMS "SCRAM-SHA-256\0"

/* Offers SCRAM and returns the nonce of our first message. */
static const char *offer_scram(void)
{
    static char nonce[64];
    cr_assert_eq(step(10, MECHANISMS, sizeof(MECHANISMS)), WEIR_AUTH_MORE);
    size_t length;
    const uint8_t *body = message_body(&out, &length);
    cr_assert_eq(weir_buffer_bytes(&out)[0], 'p');
    cr_assert_str_eq((const char *)body, "SCRAM-SHA-256");
    cr_assert_eq(weir_get_u32(body + 14), length - 18);
    cr_assert_eq(memcmp(body + 18, "n,,n=,r=", 8), 0);
    cr_assert_lt(length - 26, sizeof(nonce));
    memcpy(nonce, body + 26, length - 26);
    nonce[length - 26] = '\0';
    return nonce;
}

Test(server_proof, trusting_server)
{
    begin(NULL);
    cr_expect_eq(step(0, "", 0), WEIR_AUTH_OK);
    cr_expect_str_eq(weir_server_proof_problem(proof), "");
    begin(NULL);
    expect_end(step(0, "x", 1), WEIR_AUTH_BROKEN, "malformed AuthenticationOk");
    begin(NULL);
    cr_expect_eq(weir_server_proof_step(proof, (const uint8_t *)"\0\0\0", 3, &out),
                 WEIR_AUTH_BROKEN);
    begin(NULL);
    cr_expect_eq(weir_server_proof_step(proof, NULL, 0, &out), WEIR_AUTH_BROKEN);
}

Test(server_proof, clear_text_and_md5)
{
    size_t length;
    begin_with_password();
    cr_expect_eq(step(3, "", 0), WEIR_AUTH_MORE);
    cr_expect_str_eq((const char *)message_body(&out, &length), "pencil");
    cr_expect_eq(length, 7);
    cr_expect_eq(step(0, "", 0), WEIR_AUTH_OK);

    const struct weir_credentials hashed = {.md5 = md5_secret};
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            begin_with_password();
        else
            begin(&hashed);
        cr_expect_eq(step(5, "\1\2\3\4", 4), WEIR_AUTH_MORE);
        cr_expect_str_eq((const char *)message_body(&out, &length),
                         "md5e1120d8fe67ecf1880a21c176d1f45a9");
        cr_expect_eq(length, 36);
        cr_expect_eq(step(0, "", 0), WEIR_AUTH_OK);
    }
    for (size_t bytes = 0; bytes < 6; bytes++) {
        begin_with_password();
        if (bytes != 4)
            expect_end(step(5, "\1\2\3\4\5", bytes), WEIR_AUTH_BROKEN,
                       "malformed MD5 authentication request");
    }
    begin_with_password();
    expect_end(step(3, "x", 1), WEIR_AUTH_BROKEN, "malformed password authentication request");
    begin_with_password();
    cr_expect_eq(step(3, "", 0), WEIR_AUTH_MORE);
    expect_end(step(5, "\1\2\3\4", 4), WEIR_AUTH_BROKEN,
               "server demands authentication a second time");
}

Test(server_proof, missing_password)
{
    const struct weir_credentials hashed = {.md5 = md5_secret};
    const struct weir_credentials keys = {.has_keys = true};
    const struct weir_credentials bad = {.md5 = password};
    begin(&hashed);
    expect_end(step(3, "", 0), WEIR_AUTH_FAILED,
               "server demands clear-text password authentication and there is no password for "
               "user \"app_user\" that fits");
    begin(&keys);
    expect_end(step(5, "\1\2\3\4", 4), WEIR_AUTH_FAILED,
               "server demands MD5 authentication and there is no password for user \"app_user\" "
               "that fits");
    begin(&bad);
    cr_expect_eq(step(5, "\1\2\3\4", 4), WEIR_AUTH_FAILED);
    begin(&hashed);
    expect_end(step(10, MECHANISMS, sizeof(MECHANISMS)), WEIR_AUTH_FAILED,
               "server demands SCRAM-SHA-256 authentication and there is no password for user "
               "\"app_user\" that fits");
}

Test(server_proof, unsupported_methods)
{
    static const struct {
        uint32_t code;
        const char *name;
    } cases[] = {
        {2, "Kerberos 5"}, {4, "crypt password"}, {6, "SCM credential"}, {7, "GSSAPI"}, {9, "SSPI"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *problem =
            weir_format("server demands %s authentication, which is not supported", cases[i].name);
        begin_with_password();
        expect_end(step(cases[i].code, "", 0), WEIR_AUTH_FAILED, problem);
        free(problem);
    }
    begin_with_password();
    expect_end(step(4294967295u, "", 0), WEIR_AUTH_FAILED,
               "server demands unknown authentication method 4294967295");
}

Test(server_proof, mechanisms)
{
    static const char malformed[] = "malformed list of SASL mechanisms";
    static const struct {
        const char *list;
        size_t length;
        enum weir_auth_result result;
        const char *problem;
    } cases[] = {
        {"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0", 34, WEIR_AUTH_MORE, ""},
        {"SCRAM-SHA-256\0SCRAM-SHA-256-PLUS\0", 34, WEIR_AUTH_MORE, ""},
        {"SCRAM-SHA-256-PLUS\0", 20, WEIR_AUTH_FAILED,
         "server demands SCRAM-SHA-256-PLUS (channel binding) authentication, which is not "
         "supported"},
        {"OAUTHBEARER\0", 13, WEIR_AUTH_FAILED,
         "server demands SASL \"OAUTHBEARER\" authentication, which is not supported"},
        {"\x1b[2J\xff\0", 7, WEIR_AUTH_FAILED,
         "server demands SASL \"?[2J?\" authentication, which is not supported"},
        {"\0", 1, WEIR_AUTH_FAILED,
         "server demands SASL \"\" authentication, which is not supported"},
        {"", 0, WEIR_AUTH_BROKEN, malformed},
        {"SCRAM-SHA-256", 13, WEIR_AUTH_BROKEN, malformed},
        {"SCRAM-SHA-256\0", 14, WEIR_AUTH_BROKEN, malformed},
        {"SCRAM-SHA-256\0\0x", 16, WEIR_AUTH_BROKEN, malformed},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin_with_password();
        enum weir_auth_result result = step(10, cases[i].list, cases[i].length);
        if (cases[i].result == WEIR_AUTH_MORE)
            cr_expect_eq(result, WEIR_AUTH_MORE, "case %zu", i);
        else
            expect_end(result, cases[i].result, cases[i].problem);
    }
}

Test(server_proof, hostile_challenges)
{
    static const char no_extension[] = "SCRAM nonce of the server does not extend ours";
    static const char bad_salt[] = "SCRAM salt is not base64 of 1 to 1024 bytes";
    static const char bad_count[] = "SCRAM iteration count is not 1 to 10000000";
    static const struct {
        const char *before;
        bool nonce; /* ours, between the two */
        const char *after;
        const char *problem;
    } cases[] = {
        {"r=", true, ",s=AAAA,i=1", no_extension},
        {"r=", false, "other,s=AAAA,i=1", no_extension},
        {"r=x", true, ",s=AAAA,i=1", no_extension},
        {"r=", false, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA,s=AAAA,i=1", no_extension},
        {"r=", true, "x,s=A,i=1", bad_salt},
        {"r=", true, "x,s=,i=1", bad_salt},
        {"r=", true, "x,s=!!!!,i=1", bad_salt},
        {"r=", true, "x,s=AAAA,i=0", bad_count},
        {"r=", true, "x,s=AAAA,i=2147483648", bad_count},
        {"r=", true, "x,s=AAAA,i=99999999999999999999", bad_count},
        {"r=", true, "x,s=AAAA,i=4096x", bad_count},
        {"r=", true, "x,s=AAAA", "malformed SCRAM message"},
        {"r=", true, "x", "malformed SCRAM message"},
        {"m=", true, "x,r=x,s=AAAA,i=1",
         "SCRAM message demands an extension that is not supported"},
        {"", false, "", "malformed SCRAM message"},
        {"e=other", false, "", "malformed SCRAM message"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin_with_password();
        const char *nonce = offer_scram();
        char *text =
            weir_format("%s%s%s", cases[i].before, cases[i].nonce ? nonce : "", cases[i].after);
        expect_end(step_text(11, text), WEIR_AUTH_BROKEN, cases[i].problem);
        free(text);
    }
}

Test(server_proof, endless_challenges)
{
    static const char *const formats[] = {"r=%s%s,s=AAAA,i=1", "r=%sx,s=%s,i=1",
                                          "r=%sx,s=AAAA,i=%s", "r=%sx,s=AAAA,i=1,x=%s"};
    char *endless = malloc((1 << 20) + 1);
    memset(endless, '1', 1 << 20);
    endless[1 << 20] = '\0';
    for (size_t i = 0; i < 4; i++) {
        begin_with_password();
        const char *nonce = offer_scram();
        const char *place = strstr(formats[i], "%s");
        const char *second = strstr(place + 2, "%s");
        char *text = weir_format("%.*s%s%.*s%s%s", (int)(place - formats[i]), formats[i], nonce,
                                 (int)(second - place - 2), place + 2, endless, second + 2);
        expect_end(step_text(11, text), WEIR_AUTH_BROKEN, "SCRAM message is too long");
        free(text);
    }
    free(endless);

    /* The longest salt is fine, one byte more is not. */
    char salt[1372];
    for (size_t bytes = 1023; bytes <= 1026; bytes += 3) {
        memset(salt, 'A', sizeof(salt));
        salt[bytes / 3 * 4] = '\0';
        begin_with_password();
        char *text = weir_format("r=%sx,s=%s,i=1", offer_scram(), salt);
        cr_expect_eq(step_text(11, text), bytes <= 1024 ? WEIR_AUTH_MORE : WEIR_AUTH_BROKEN);
        free(text);
    }
}

/* Continues to the point where our proof is sent. */
static void send_proof(void)
{
    begin_with_password();
    char *text = weir_format("r=%sx,s=AAAA,i=600", offer_scram());
    cr_expect_eq(step_text(11, text), WEIR_AUTH_MORE);
    size_t length;
    cr_expect_eq(memcmp(message_body(&out, &length), "c=biws,r=", 9), 0);
    free(text);
}

Test(server_proof, server_must_prove_itself)
{
    static const char skipped[] = "server ends the SCRAM exchange without proving itself";
    static const char wrong[] = "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    begin_with_password();
    offer_scram();
    expect_end(step(0, "", 0), WEIR_AUTH_BROKEN, skipped);
    send_proof();
    expect_end(step(0, "", 0), WEIR_AUTH_BROKEN, skipped);
    send_proof();
    expect_end(step_text(12, wrong), WEIR_AUTH_BROKEN, "SCRAM signature of the server is wrong");
    send_proof();
    expect_end(step_text(12, "v="), WEIR_AUTH_BROKEN, "malformed SCRAM signature");
    send_proof();
    expect_end(step_text(12, ""), WEIR_AUTH_BROKEN, "malformed SCRAM message");
    send_proof();
    expect_end(step_text(12, "e=invalid-proof"), WEIR_AUTH_FAILED,
               "server reports a SCRAM error: invalid-proof");
    begin_with_password();
    offer_scram();
    expect_end(step_text(12, wrong), WEIR_AUTH_BROKEN,
               "server sends a SASL outcome that is not due");
    begin_with_password();
    expect_end(step_text(12, wrong), WEIR_AUTH_BROKEN,
               "server sends a SASL outcome that is not due");
}

Test(server_proof, out_of_order)
{
    static const char not_due[] = "server sends a SASL challenge that is not due";
    begin_with_password();
    expect_end(step_text(11, "r=x,s=AAAA,i=1"), WEIR_AUTH_BROKEN, not_due);
    send_proof();
    expect_end(step_text(11, "r=x,s=AAAA,i=1"), WEIR_AUTH_BROKEN, not_due);
    begin_with_password();
    offer_scram();
    expect_end(step(3, "", 0), WEIR_AUTH_BROKEN, "server demands authentication a second time");
    send_proof();
    expect_end(step(10, MECHANISMS, sizeof(MECHANISMS)), WEIR_AUTH_BROKEN,
               "server demands authentication a second time");

    begin_with_password();
    char *text = weir_format("r=%sx,s=AAAA,i=10000000", offer_scram());
    uint8_t body[256];
    weir_put_u32(body, 11);
    memcpy(body + 4, text, strlen(text));
    weir_buffer_clear(&out);
    cr_expect_eq(weir_server_proof_step(proof, body, 4 + strlen(text), &out), WEIR_AUTH_BUSY);
    cr_expect_eq(weir_server_proof_work(proof, &out), WEIR_AUTH_BUSY);
    cr_expect_eq(weir_server_proof_step(proof, body, 4 + strlen(text), &out), WEIR_AUTH_BROKEN);
    free(text);
    weir_server_proof_destroy(NULL);
}
