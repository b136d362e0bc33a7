/* Preparation of passwords and derivation of keys against what PostgreSQL stores. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "saslprep.h"
#include "secret.h"
#include "weir/memory.h"

/* Passwords and what PostgreSQL 15 made of them with CREATE ROLE ... PASSWORD. `plain` where
 * preparation leaves the password as it is. */
static const struct captured {
    const char *password;
    const char *secret;
    bool plain;
} captured[] = {
    {"pencil",
     "SCRAM-SHA-256$4096:wyk/Aetezoe/"
     "pvMAXa52dQ==$gPcsGPjYNKHDO2MQxls6bZWTJ6+IzKXOI8rjBINLkAI=:Fd0K44YG/jxzuAzJZhVGPcH/"
     "ISf67phQpWCG2ZXLFSE=",
     true},
    {"p\303\244ssword",
     "SCRAM-SHA-256$4096:WPXm3DMWfi4igRrJuGLLPQ==$MKC3tc7muTFPT0qkKZkck+Pdkiol02T1qqMTWDpH0pc=:"
     "UPZrD2AZTuVmZ5K1zib34bhz/1dsqAgs9V+Tccarfqs=",
     true},
    {"pa\314\210ssword",
     "SCRAM-SHA-256$4096:tCt61DqopiQT58UmkYG31g==$JNehKSTcSqOJ3oe10oW9YZOsL2gt3cIPb+GeGT5mVs8=:"
     "pcVlLV+Qybc0BpULnBwluwB9UIVv/XLMUbqXKUUBwdQ=",
     false},
    {"I\302\255X",
     "SCRAM-SHA-256$4096:uatiinOveoUpkOjCHs0TcQ==$b0RayohGIGq5FGrr4/"
     "PT2AVcZjXNs0UUSLzZcJGFihE=:5BqvGqfrfqVre/50kC3r1o7m80/JRYskw4u5kX9YeFg=",
     false},
    {"\342\205\250",
     "SCRAM-SHA-256$4096:oXtCVd6ualN/"
     "9LTWzgGBXw==$iDFcVooCycbqg5ws1Z0ly1XrcVlJJTS5DH+mdUnbqgc=:"
     "6p0C2rJsKpgJT9WsPCRvg98ZNYqY1U6kgHzy4crX8+4=",
     false},
    {"\302\252",
     "SCRAM-SHA-256$4096:mtP0c6Gj27Sx9bOX/"
     "8AIFA==$tIoAkEkTjomsLDsX6FM1v7IKszEbwoF9yQ1aI0VZWXg=:"
     "5uTKWvG2TfOgZChOHeyG56iIl4CRMCuQIH0PfI0KlTE=",
     false},
    {"x\302\240y",
     "SCRAM-SHA-256$4096:en06TXkaNZLatBEV+Z4TxQ==$vC4iF3KYYIl9cesc3s6vUvLGhkTla/"
     "N6bVM8dkntTeA=:561SYvEQL9JO0M19aKUODQZzc3bDuJri+uxdzrZdf1Q=",
     false},
    {"x\343\200\200y",
     "SCRAM-SHA-256$4096:4IQcKtniHpri8kP73Ly6Dw==$3AWy1wg3ZKLBc/kAFcbm+pRPNVjw8L/k7JBt/"
     "dStSXI=:zcZUt47YnahDs/g1sAx3kT0DMMbOvKHrncohMcSaWvQ=",
     false},
    {"a\342\200\213b",
     "SCRAM-SHA-256$4096:1I19d8w5iUniZmms/PocqA==$bIZ9hFdGa4qhj5sjmvedqppj3LSZY0TqEKumZrMo/"
     "rM=:0QNySU2fOePu1RDK3looO0NH6blZpWl6kkIN/1o430w=",
     false},
    {"\330\2471",
     "SCRAM-SHA-256$4096:N8lVgeSeSvwPbWOAm8oT4Q==$lStdbgv7QwCzTpUJO2M+fB3LMgLqOJfEE9YQN/lg/"
     "j8=:ZSp1BPUdjDX6GZqE6RjNWKwPhZt8ZHh29/OPJ/xXz7o=",
     true},
    {"\330\247\330\250",
     "SCRAM-SHA-256$4096:vflP3MrzIuDi8JE7y7+z2g==$0CWMMy6yHSBuMErHWxYIActdLLNp6P8X7hYjHpP4jcA=:"
     "jsLUqG6n/XW/0Fi0VeBuMeH1/8r40paxmW5SsQFT2FU=",
     true},
    {"\330\247a\330\250",
     "SCRAM-SHA-256$4096:Q7NX0MEs30/IoS/fkP3AvA==$4EWJAjV+Cnvd3gZyKyifi1miHUeUa6EcsBy/"
     "U2Z7jm0=:n4zaKZO62IuC0jNm3M5eS49Y9f6fT2NI3K5TXAaG1IE=",
     true},
    {"\007\303\251",
     "SCRAM-SHA-256$4096:62EJd8up0ByWwfd/"
     "H6RZdg==$uzV5SSs2R3mqR8B7R6elkv20VgYm9+5z+G7Pfw+v4ww=:BQHVfXu5avvKjnj4J2HsQjdKC3hfaNAYKIx+"
     "JT6BnjA=",
     true},
    {"\303\251\177",
     "SCRAM-SHA-256$4096:pIJh3E/i0M2zKWxB2aCP/"
     "Q==$jeLX5swflo0a7midVl1e1YsN1JGmx0TeCSnAhviXY8Y=:j4fLN7UUN2fv8n4LaaKK5+"
     "NmUS1j8LRrb2SsPs4NyfY=",
     true},
    {"\360\237\230\200",
     "SCRAM-SHA-256$4096:uvNgzMNWPWUG4cqtGIkOUw==$0FTOtDDhdr5mdHSW05vo2zisnYpEoPKPNOApY0p8+PI=:"
     "RKH2epVyB2S+PkvUrI6ArKo0eOsvTBiDJ4QsDnq2RKw=",
     true},
    {"\310\241x",
     "SCRAM-SHA-256$4096:GZnbxMHmbiwBLXaSxVoP/"
     "w==$XLgT3grv76FFpJ2FC0PkBBOxH6AXEhH2IZMhmw3rgPE=:"
     "iIGsYhrJP5RIbNv8XkmyPy9Pn895ujC9AZwDJmEDrx0=",
     true},
    {"\302\255",
     "SCRAM-SHA-256$4096:P7zYK30txqnGzzopq79MHg==$QwwXUnWY5QSQvy1tJebtS+jA9XH9KHBznoJj6I3gON4=:"
     "uZqir0bsglbi1ba059JmxY5Ftcthx2RHAeDZYUwASCQ=",
     true},
    {"\357\254\201le",
     "SCRAM-SHA-256$4096:KCNEImSF54zlh54Paay+aA==$bEhrEIP6Nsoya7QrfwNRDu+p1YdW3hyqgWq3X9/"
     "BxMM=:3XBB/z2j8QxWdTMivOofjVVvu9eSeBpOSSJRw24iSn4=",
     false},
    {"\303\205",
     "SCRAM-SHA-256$4096:FWENj3uytWYMPddMx5alkQ==$TCtRjAgCYa5i1tKa4RofDEparwGMftVXHEQho/"
     "PbVXA=:HS4RA9fDq4eqJ98T2xB9LZkHEiIFYiFAoeQkdOsfojo=",
     true},
    {"\342\204\253",
     "SCRAM-SHA-256$4096:u2k17YPgXZ9yaD/F6dHBhQ==$K8ciS/"
     "GJUW6O5ZO6BUCrgTW6ZHIzeHvXNepihPoWRvs=:puB8lSa/GhTjvUl3gL/EYBv4lyt2O+oBC7IDKD4+YGA=",
     false},
    {"\346\274\242\345\255\227\343\202\253\343\203\212",
     "SCRAM-SHA-256$4096:63xxXPOyOmV/"
     "HpCWZNrxpw==$0u1LyoXrFZisVnqZBeEh7Bng1eOlVhmufy6Hrc0cPe4=:"
     "Ms7gD61aigL5WbmnMXdJCeOaHFDvZ8fscV0HoYrGkUI=",
     true},
    {"\357\275\266\357\276\205",
     "SCRAM-SHA-256$4096:oTmXQDPj6TwnUkI8LfTkQQ==$SNNLexxs3bOYM0gy2gxIE/"
     "siwTQqLSjAIcuGOOT70tE=:YAWD7OE26ORdnJvzsuMxiSy2zSgLycNOz9FLxubRKxw=",
     false},
    {"\341\272\236\303\237",
     "SCRAM-SHA-256$4096:KyOhWcqnJK0cAqkvvu5Njg==$jp+eVa/"
     "qj3CZvaM9ALMXkcDJ5Y+smwL6flj1Ld2dAA4=:vXdo8JFhEWF8hmx5BND/ACdULA8NQtdqC1TSxdv+VzE=",
     true},
    {"\315\200a",
     "SCRAM-SHA-256$4096:FmudZ+2Lg8PW4Qn1vOwfZA==$ZTayjbi0sRyRFLcRMAI0MqFZTG6V+b1hG7C2uW3TisQ=:"
     "9gVQ8rxUmeJJXLl8ByDeEmmQL4WyN07tAGAIlvAejPk=",
     true},
    {"\356\200\200x",
     "SCRAM-SHA-256$4096:PtJMbSdrVfYgj+fEM1OKeA==$tp+805TM0t4WfCXOHYcfHtvEciwk/4oK2C52/"
     "AOw6Q8=:HX0AcwNrm01PRI8i3uGC2W4+M3ADpJRfddBmmOBscFI=",
     true},
    {"\357\277\275x",
     "SCRAM-SHA-256$4096:MiyEx6jeDGdjDAdOENyrBw==$lurus+ycwmALep9e27XSzTDdkMWdWMGrSbU0+yOELeU=:"
     "qZCPWXXesSfo8NB6nUs/qDf3SJZW5mPgBLl5wYAmB48=",
     true},
    {"\342\200\250x",
     "SCRAM-SHA-256$4096:IykorCW05gE5hx14dJrGOQ==$tgEMKTi5i+DaF9nMBJw+8b0tOo2yntQxIauurVsbgXE=:"
     "O1c3sCCz1GphxNlWxL8q0Du3wLMn41q9EMgZoZOB7Rs=",
     true},
    {"\340\270\263",
     "SCRAM-SHA-256$4096:SuyYRBcUk7rJtOIuiR/"
     "ZDg==$Ng8OLEVrFBegiUR5hCFdy2ZfiaU+hblwPZeXOFy4MGI=:MhWyj2uRnl7iWJX/"
     "XGuPu+qldrGRSvMoicOIbFMO4HQ=",
     false},
    {"\340\247\234",
     "SCRAM-SHA-256$4096:2GfZI7BpoYUjmuYrb6zlHw==$eWuTslvdnNpBcofIQSKq0C4m3oN4zNRnixvm9YeMIjM=:c6+"
     "EFDBDFldJPPQf21vUEw5ur1IiRuqfMWYBZSoA6b0=",
     false},
    {"\357\245\221\342\276\2068",
     "SCRAM-SHA-256$4096:rn0YUE0AJ5Fy0ZfjQyaOUw==$IJ5QgHgBdOZQZhpTl41oFENniNzJmj6l1/"
     "JDEVHRlUY=:0glPnPw9xechcHeaqMJH23EZwiCuRFeFYdfHizCJaEo=",
     false},
    {"\342\200\214\342\200\215",
     "SCRAM-SHA-256$4096:VMNC0ocRAvs39qFReODc1A==$M7BXSo+JGrim+w4mWXn9EAp0MXXFeUeoOhJgWrUyBto=:"
     "CgQNxjv676o/RtOx+rgF6oyKy7NghOPCSYuVeaP2ICs=",
     true},
    {"\333\235\330\247",
     "SCRAM-SHA-256$4096:Pa9FhpspMiWLqME/"
     "Kes9gg==$ipnOQROFZS1wQYdURJ0Ei03JqPUSL+AWeOa0XApyBw4=:"
     "RBevKDaZ0OuMg7XG8p7yXvzzaXJq3kUnMobsjRWirn8=",
     true},
    {"\330\247\303\251",
     "SCRAM-SHA-256$4096:QmUKqNFGotH2fQL63jA9vQ==$FxmPPrGYIOzfnQfWgc6NJ92q+FjY336AaLoRxVlxEko=:"
     "OpmQdPrG5sC2IA9lyCaKUI6LTJBw3Jt1JMPiPOsbE1I=",
     true},
};

#ifdef WEIR_HAVE_LIBIDN
#define PREPARES true
#else
#define PREPARES false
#endif

/* Whether the clear-text password opens the secret. */
static bool opens(struct weir_auth_context *context, const char *password, const char *secret)
{
    struct weir_buffer out = {0};
    struct weir_client_proof *proof =
        weir_client_proof_create(context, WEIR_AUTH_PLAIN, "user", secret);
    enum weir_auth_result result = weir_client_proof_step(proof, NULL, 0, &out);
    cr_assert_eq(result, WEIR_AUTH_MORE);
    result = weir_client_proof_step(proof, (const uint8_t *)password, strlen(password) + 1, &out);
    while (result == WEIR_AUTH_BUSY)
        result = weir_client_proof_work(proof, &out);
    weir_client_proof_destroy(proof);
    weir_buffer_clear(&out);
    cr_assert(result == WEIR_AUTH_OK || result == WEIR_AUTH_FAILED);
    return result == WEIR_AUTH_OK;
}

Test(saslprep, opens_what_postgresql_stored)
{
    struct weir_auth_context *context = weir_auth_context_create();
    for (size_t i = 0; i < sizeof(captured) / sizeof(captured[0]); i++) {
        cr_expect_eq(weir_secret_kind_of(captured[i].secret), WEIR_SECRET_SCRAM);
        cr_expect_eq(opens(context, captured[i].password, captured[i].secret),
                     captured[i].plain || PREPARES, "password %zu", i);
        cr_expect_not(opens(context, "wrong", captured[i].secret), "password %zu", i);
    }
    weir_auth_context_destroy(context);
}

Test(saslprep, leaves_alone_what_it_cannot_prepare)
{
    char too_long[WEIR_SASLPREP_MAX + 2];
    memset(too_long, 'x', sizeof(too_long));
    memcpy(too_long, "\302\240", 2);
    too_long[WEIR_SASLPREP_MAX + 1] = '\0';
    static const char *const same[] = {"",
                                       "pencil",
                                       "tab\tand \177",
                                       "\xff\xfe",
                                       "caf\xe9",
                                       "\xc3",
                                       "\xc0\xaf",
                                       "\xed\xa0\x80",
                                       "\xc2\xad",
                                       "\xf4\x90\x80\x80",
                                       "\xd8\xa7\x31",
                                       "\xf0\x9f\x98\x80"};
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        cr_expect_null(weir_saslprep(same[i]), "\"%s\"", same[i]);
    cr_expect_null(weir_saslprep(too_long));

    too_long[WEIR_SASLPREP_MAX] = '\0';
    char *prepared = weir_saslprep(too_long);
    cr_expect_eq(prepared != NULL, PREPARES);
    if (prepared) {
        cr_expect_eq(strlen(prepared), WEIR_SASLPREP_MAX - 1);
        cr_expect_eq(prepared[0], ' ');
    }
    free(prepared);
}
