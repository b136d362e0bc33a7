/* A client's proof and a server's proof against each other, over all kinds of secrets. */
#include <criterion/criterion.h>
#include <string.h>

#include "exchange.h"

#define USER     "app_user"
#define PASSWORD "pencil"
/* The salt and password of RFC 7677. */
#define SCRAM_SECRET                                                                               \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"    \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define MD5_SECRET "md5498ad3f715beae175b49f29edbfd6f92"

static struct weir_auth_context *context;

static void setup(void)
{
    context = weir_auth_context_create();
}

static void teardown(void)
{
    weir_auth_context_destroy(context);
}

TestSuite(login, .init = setup, .fini = teardown);

static struct exchange run_with_password(enum weir_auth_method method, const char *secret,
                                         char *password)
{
    struct weir_credentials credentials = {.password = password};
    return run_exchange(context, method, USER, secret, &credentials);
}

struct login_case {
    const char *label;
    enum weir_auth_method method;
    const char *secret;
    enum weir_auth_result right; /* with the right password */
    unsigned messages;           /* requests before the outcome */
    bool password;               /* what the outcome lets us prove */
    bool md5;
    bool keys;
};

static const struct login_case cases[] = {
    {"trust", WEIR_AUTH_TRUST, PASSWORD, WEIR_AUTH_OK, 0, false, false, false},
    {"trust unknown", WEIR_AUTH_TRUST, NULL, WEIR_AUTH_OK, 0, false, false, false},
    {"reject", WEIR_AUTH_REJECT, PASSWORD, WEIR_AUTH_FAILED, 0, false, false, false},
    {"plain plain", WEIR_AUTH_PLAIN, PASSWORD, WEIR_AUTH_OK, 1, true, false, false},
    {"plain md5", WEIR_AUTH_PLAIN, MD5_SECRET, WEIR_AUTH_OK, 1, true, false, false},
    {"plain scram", WEIR_AUTH_PLAIN, SCRAM_SECRET, WEIR_AUTH_OK, 1, true, false, false},
    {"plain unknown", WEIR_AUTH_PLAIN, NULL, WEIR_AUTH_FAILED, 1, false, false, false},
    {"plain empty", WEIR_AUTH_PLAIN, "", WEIR_AUTH_FAILED, 1, false, false, false},
    {"md5 plain", WEIR_AUTH_MD5, PASSWORD, WEIR_AUTH_OK, 1, true, false, false},
    {"md5 md5", WEIR_AUTH_MD5, MD5_SECRET, WEIR_AUTH_OK, 1, false, true, false},
    {"md5 scram", WEIR_AUTH_MD5, SCRAM_SECRET, WEIR_AUTH_OK, 3, false, false, true},
    {"md5 unknown", WEIR_AUTH_MD5, NULL, WEIR_AUTH_FAILED, 1, false, false, false},
    {"scram plain", WEIR_AUTH_SCRAM, PASSWORD, WEIR_AUTH_OK, 3, true, false, false},
    {"scram md5", WEIR_AUTH_SCRAM, MD5_SECRET, WEIR_AUTH_FAILED, 2, false, false, false},
    {"scram scram", WEIR_AUTH_SCRAM, SCRAM_SECRET, WEIR_AUTH_OK, 3, false, false, true},
    {"scram unknown", WEIR_AUTH_SCRAM, NULL, WEIR_AUTH_FAILED, 2, false, false, false},
    {"scram empty", WEIR_AUTH_SCRAM, "", WEIR_AUTH_FAILED, 2, false, false, false},
};

Test(login, right_password)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct login_case *each = &cases[i];
        char password[] = PASSWORD;
        struct exchange run = run_with_password(each->method, each->secret, password);
        cr_expect_eq(run.as_server, each->right, "%s: result %d", each->label, run.as_server);
        cr_expect_eq(run.messages, each->messages, "%s: %u messages", each->label, run.messages);
        if (each->right == WEIR_AUTH_OK)
            cr_expect_eq(run.as_client, WEIR_AUTH_OK, "%s: other side", each->label);
        cr_expect_eq(run.taken.password != NULL, each->password, "%s: password", each->label);
        cr_expect_eq(run.taken.md5 != NULL, each->md5, "%s: md5", each->label);
        cr_expect_eq(run.taken.has_keys, each->keys, "%s: keys", each->label);
        weir_credentials_clear(&run.taken);
    }
}

Test(login, wrong_password)
{
    static const char *const wrong[] = {"Pencil", "pencil ",    "pencils", "penci",
                                        "",       SCRAM_SECRET, MD5_SECRET};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct login_case *each = &cases[i];
        if (each->method == WEIR_AUTH_TRUST)
            continue;
        for (size_t k = 0; k < sizeof(wrong) / sizeof(wrong[0]); k++) {
            char password[256];
            strcpy(password, wrong[k]);
            struct exchange run = run_with_password(each->method, each->secret, password);
            cr_expect_eq(run.as_server, WEIR_AUTH_FAILED, "%s with \"%s\": result %d", each->label,
                         password, run.as_server);
            cr_expect_neq(run.as_client, WEIR_AUTH_OK, "%s: other side", each->label);
            cr_expect(!run.taken.password && !run.taken.md5 && !run.taken.has_keys, "%s",
                      each->label);
        }
    }
}

/* What a client's login leaves behind opens the server that has the same secret. */
Test(login, credentials_are_handed_on)
{
    static const struct {
        enum weir_auth_method first;
        const char *secret;
        enum weir_auth_method second;
        const char *server_secret;
    } hops[] = {
        {WEIR_AUTH_SCRAM, SCRAM_SECRET, WEIR_AUTH_SCRAM, SCRAM_SECRET},
        {WEIR_AUTH_MD5, SCRAM_SECRET, WEIR_AUTH_SCRAM, SCRAM_SECRET},
        {WEIR_AUTH_MD5, MD5_SECRET, WEIR_AUTH_MD5, MD5_SECRET},
        {WEIR_AUTH_MD5, MD5_SECRET, WEIR_AUTH_MD5, PASSWORD},
        {WEIR_AUTH_PLAIN, SCRAM_SECRET, WEIR_AUTH_SCRAM, SCRAM_SECRET},
        {WEIR_AUTH_PLAIN, MD5_SECRET, WEIR_AUTH_PLAIN, PASSWORD},
        {WEIR_AUTH_SCRAM, PASSWORD, WEIR_AUTH_SCRAM, SCRAM_SECRET},
        {WEIR_AUTH_SCRAM, PASSWORD, WEIR_AUTH_MD5, MD5_SECRET},
    };
    for (size_t i = 0; i < sizeof(hops) / sizeof(hops[0]); i++) {
        char password[] = PASSWORD;
        struct exchange first = run_with_password(hops[i].first, hops[i].secret, password);
        cr_assert_eq(first.as_server, WEIR_AUTH_OK, "hop %zu", i);
        struct exchange second =
            run_exchange(context, hops[i].second, USER, hops[i].server_secret, &first.taken);
        cr_expect_eq(second.as_server, WEIR_AUTH_OK, "hop %zu", i);
        cr_expect_eq(second.as_client, WEIR_AUTH_OK, "hop %zu", i);
        weir_credentials_clear(&first.taken);
        weir_credentials_clear(&second.taken);
    }
}

/* Keys fit only the salt that they were made with. */
Test(login, keys_do_not_fit_another_salt)
{
    char password[] = PASSWORD;
    struct exchange first = run_with_password(WEIR_AUTH_SCRAM, SCRAM_SECRET, password);
    cr_assert(first.taken.has_keys);
    struct exchange second = run_exchange(context, WEIR_AUTH_SCRAM, USER, PASSWORD, &first.taken);
    cr_expect_eq(second.as_server, WEIR_AUTH_FAILED);
    weir_credentials_clear(&first.taken);
    weir_credentials_clear(&second.taken);
}
