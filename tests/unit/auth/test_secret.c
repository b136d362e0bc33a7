/* Stored secrets and the primitives below them. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "digest.h"
#include "pbkdf2.h"
#include "secret.h"
#include "weir/memory.h"

#define SALT   "W22ZaJ0SNY7soEsUEjb6gQ=="
#define STORED "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
#define SERVER "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

Test(secret, kinds)
{
    static const struct {
        const char *secret;
        enum weir_secret_kind kind;
    } cases[] = {
        {NULL, WEIR_SECRET_NONE},
        {"", WEIR_SECRET_NONE},
        {"x", WEIR_SECRET_PLAIN},
        {"md5", WEIR_SECRET_PLAIN},
        {"md5498ad3f715beae175b49f29edbfd6f92", WEIR_SECRET_MD5},
        {"md5498ad3f715beae175b49f29edbfd6f9", WEIR_SECRET_PLAIN},
        {"md5498ad3f715beae175b49f29edbfd6f922", WEIR_SECRET_PLAIN},
        {"md5498AD3F715BEAE175B49F29EDBFD6F92", WEIR_SECRET_PLAIN},
        {"md5498ad3f715beae175b49f29edbfd6f9g", WEIR_SECRET_PLAIN},
        {"SCRAM-SHA-256$4096:" SALT "$" STORED ":" SERVER, WEIR_SECRET_SCRAM},
        {"SCRAM-SHA-256$1:AA==$" STORED ":" SERVER, WEIR_SECRET_SCRAM},
        {"SCRAM-SHA-256$2147483647:AA==$" STORED ":" SERVER, WEIR_SECRET_SCRAM},
        {"SCRAM-SHA-256$2147483648:AA==$" STORED ":" SERVER, WEIR_SECRET_PLAIN},
        {"SCRAM-SHA-256$99999999999999999999:AA==$" STORED ":" SERVER, WEIR_SECRET_PLAIN},
        {"SCRAM-SHA-256$0:" SALT "$" STORED ":" SERVER, WEIR_SECRET_PLAIN},
        {"SCRAM-SHA-256$-1:" SALT "$" STORED ":" SERVER, WEIR_SECRET_PLAIN},
        {"SCRAM-SHA-256$:" SALT "$" STORED ":" SERVER, WEIR_SECRET_PLAIN},
        {"SCRAM-SHA-256$4096:$" STORED ":" SERVER, WEIR_SECRET_PLAIN},
        {"SCRAM-SHA-256$4096:A$" STORED ":" SERVER, WEIR_SECRET_PLAIN},
        {"SCRAM-SHA-256$4096:" SALT "$" STORED, WEIR_SECRET_PLAIN},
        {"SCRAM-SHA-256$4096:" SALT "$" STORED ":" SERVER "x", WEIR_SECRET_PLAIN},
        {"SCRAM-SHA-256$4096:" SALT "$" STORED "AAAA:" SERVER, WEIR_SECRET_PLAIN},
        {"SCRAM-SHA-256$4096:" SALT "$AAAA:" SERVER, WEIR_SECRET_PLAIN},
        {"scram-sha-256$4096:" SALT "$" STORED ":" SERVER, WEIR_SECRET_PLAIN},
        {"SCRAM-SHA-256$", WEIR_SECRET_PLAIN},
        {"SCRAM-SHA-256$4096", WEIR_SECRET_PLAIN},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(weir_secret_kind_of(cases[i].secret), cases[i].kind, "case %zu", i);
}

Test(secret, every_cut_of_a_scram_secret_is_plain)
{
    static const char whole[] = "SCRAM-SHA-256$4096:" SALT "$" STORED ":" SERVER;
    for (size_t length = 1; length < sizeof(whole) - 1; length++) {
        char *cut = weir_strndup(whole, length);
        cr_expect_eq(weir_secret_kind_of(cut), WEIR_SECRET_PLAIN, "cut at %zu", length);
        free(cut);
    }
}

Test(secret, md5_as_postgresql)
{
    static const uint8_t salt[4] = {1, 2, 3, 4};
    char secret[WEIR_SECRET_MD5_LENGTH + 1];
    char response[WEIR_SECRET_MD5_LENGTH + 1];
    weir_md5_secret("pencil", "app_user", secret);
    cr_expect_str_eq(secret, "md5498ad3f715beae175b49f29edbfd6f92");
    weir_md5_response(secret, salt, response);
    cr_expect_str_eq(response, "md5e1120d8fe67ecf1880a21c176d1f45a9");
}

Test(secret, equal)
{
    cr_expect(weir_equal_secret("abc", "abc", 3));
    cr_expect(weir_equal_secret("abc", "abd", 2));
    cr_expect(weir_equal_secret("", "x", 0));
    cr_expect_not(weir_equal_secret("abc", "abd", 3));
    cr_expect_not(weir_equal_secret("abc", "bbc", 3));
    cr_expect_not(weir_equal_secret("\x80", "\0", 1));
}

Test(secret, random_bytes_differ)
{
    uint8_t one[64] = {0};
    uint8_t two[64] = {0};
    weir_random_bytes(one, sizeof(one));
    weir_random_bytes(two, sizeof(two));
    cr_expect_arr_neq(one, two, sizeof(one));
}

Test(secret, credentials_clear)
{
    struct weir_credentials credentials = {.password = weir_strdup("pencil"),
                                           .md5 = weir_strdup("md5"),
                                           .has_keys = true,
                                           .client_key = {1},
                                           .server_key = {2}};
    weir_credentials_clear(&credentials);
    cr_expect_null(credentials.password);
    cr_expect_null(credentials.md5);
    cr_expect_not(credentials.has_keys);
    cr_expect_eq(credentials.client_key[0] | credentials.server_key[0], 0);
    weir_credentials_clear(&credentials);
}

/* RFC 4648 section 10. */
Test(base64, vectors)
{
    static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
    static const char *const coded[] = {"",         "Zg==",     "Zm8=",    "Zm9v",
                                        "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    for (size_t i = 0; i < 7; i++) {
        char text[WEIR_BASE64_SIZE(6)];
        uint8_t bytes[6];
        size_t length = 99;
        cr_expect_eq(weir_base64_encode((const uint8_t *)plain[i], i, text), strlen(coded[i]));
        cr_expect_str_eq(text, coded[i]);
        cr_expect(weir_base64_decode(coded[i], strlen(coded[i]), bytes, i, &length));
        cr_expect_eq(length, i);
        cr_expect_arr_eq(bytes, plain[i], i);
        if (i > 0)
            cr_expect_not(weir_base64_decode(coded[i], strlen(coded[i]), bytes, i - 1, &length));
    }
}

Test(base64, refuses)
{
    static const char *const bad[] = {"A",    "AA",   "AAA",   "A===",     "====",    "=AAA",
                                      "AA=A", "AA =", "AA\n=", "AA==AAAA", "AA-_",    "AAA\x80",
                                      "AAA,", "A=AA", "AAAAA", "AAAA====", "AAAA=AAA"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint8_t bytes[16];
        size_t length;
        cr_expect_not(weir_base64_decode(bad[i], strlen(bad[i]), bytes, sizeof(bytes), &length),
                      "%s", bad[i]);
    }
}

static void expect_hex(const uint8_t *bytes, size_t length, const char *hex)
{
    for (size_t i = 0; i < length; i++) {
        char digits[3];
        snprintf(digits, sizeof(digits), "%02x", bytes[i]);
        cr_expect_arr_eq(digits, hex + 2 * i, 2, "byte %zu of %s", i, hex);
    }
}

/* RFC 4231, test cases 2 and 6: a short key, and one longer than a block. */
Test(digest, hmac)
{
    uint8_t digest[WEIR_SHA256_LENGTH];
    uint8_t key[131];
    static const char long_key[] = "Test Using Larger Than Block-Size Key - Hash Key First";
    weir_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, digest);
    expect_hex(digest, sizeof(digest),
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    weir_hmac_sha256(key, sizeof(key), long_key, sizeof(long_key) - 1, digest);
    expect_hex(digest, sizeof(digest),
               "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

/* RFC 7914 section 11 (first 32 bytes) and the vectors commonly used beside RFC 6070. */
Test(digest, pbkdf2)
{
    static const struct {
        const char *password;
        const char *salt;
        uint32_t iterations;
        const char *key;
    } cases[] = {
        {"passwd", "salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"},
        {"Password", "NaCl", 80000,
         "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"},
        {"password", "salt", 2, "ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43"},
    };
    static const uint32_t slices[] = {1, 7, 500, UINT32_MAX};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t k = 0; k < sizeof(slices) / sizeof(slices[0]); k++) {
            struct weir_pbkdf2 state;
            uint8_t key[WEIR_SHA256_LENGTH];
            uint32_t turns = 1;
            weir_pbkdf2_begin(&state, cases[i].password, strlen(cases[i].password), cases[i].salt,
                              strlen(cases[i].salt), cases[i].iterations);
            while (!weir_pbkdf2_work(&state, slices[k]))
                turns++;
            weir_pbkdf2_end(&state, key);
            expect_hex(key, sizeof(key), cases[i].key);
            uint64_t expected = ((uint64_t)cases[i].iterations - 1 + slices[k] - 1) / slices[k];
            cr_expect_eq(turns, expected ? expected : 1);
        }
    }
}
