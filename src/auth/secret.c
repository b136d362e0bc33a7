#include "secret.h"

#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "digest.h"
#include "weir/memory.h"

#define SCRAM_PREFIX "SCRAM-SHA-256$"
#define SALT_MAX     1024

static bool is_md5(const char *secret)
{
    return strncmp(secret, "md5", 3) == 0 && strlen(secret) == WEIR_SECRET_MD5_LENGTH &&
           strspn(secret + 3, "0123456789abcdef") == WEIR_MD5_HEX;
}

/* A decimal number of 1 to 2^31-1 before `end`; 0 when it is anything else. */
static uint32_t parse_iterations(const char *text, const char *end)
{
    uint64_t value = 0;
    if (text == end || end - text > 10)
        return 0;
    for (; text < end; text++) {
        if (*text < '0' || *text > '9')
            return 0;
        value = value * 10 + (uint64_t)(*text - '0');
    }
    return value <= INT32_MAX ? (uint32_t)value : 0;
}

bool weir_scram_secret_parse(const char *secret, struct weir_scram_secret *parsed)
{
    if (strncmp(secret, SCRAM_PREFIX, sizeof(SCRAM_PREFIX) - 1) != 0)
        return false;
    const char *iterations = secret + sizeof(SCRAM_PREFIX) - 1;
    const char *colon = strchr(iterations, ':');
    const char *dollar = colon ? strchr(colon, '$') : NULL;
    const char *middle = dollar ? strchr(dollar, ':') : NULL;
    if (!middle)
        return false;

    parsed->iterations = parse_iterations(iterations, colon);
    parsed->salt = colon + 1;
    parsed->salt_length = (size_t)(dollar - parsed->salt);
    uint8_t salt[SALT_MAX];
    size_t salt_bytes = 0;
    return parsed->iterations > 0 &&
           weir_base64_decode(parsed->salt, parsed->salt_length, salt, sizeof(salt), &salt_bytes) &&
           salt_bytes > 0 &&
           weir_base64_decode_exact(dollar + 1, (size_t)(middle - dollar - 1), parsed->stored_key,
                                    WEIR_SCRAM_KEY) &&
           weir_base64_decode_exact(middle + 1, strlen(middle + 1), parsed->server_key,
                                    WEIR_SCRAM_KEY);
}

enum weir_secret_kind weir_secret_kind_of(const char *secret)
{
    if (!secret || !*secret)
        return WEIR_SECRET_NONE;
    if (is_md5(secret))
        return WEIR_SECRET_MD5;
    struct weir_scram_secret parsed;
    bool scram = weir_scram_secret_parse(secret, &parsed);
    weir_wipe(&parsed, sizeof(parsed));
    return scram ? WEIR_SECRET_SCRAM : WEIR_SECRET_PLAIN;
}

static void write_md5_prefix(char *text)
{
    text[0] = 'm';
    text[1] = 'd';
    text[2] = '5';
}

void weir_md5_secret(const char *password, const char *user,
                     char secret[WEIR_SECRET_MD5_LENGTH + 1])
{
    write_md5_prefix(secret);
    weir_md5_hex(password, strlen(password), user, strlen(user), secret + 3);
}

void weir_md5_response(const char *secret, const uint8_t salt[4],
                       char response[WEIR_SECRET_MD5_LENGTH + 1])
{
    write_md5_prefix(response);
    weir_md5_hex(secret + 3, WEIR_MD5_HEX, salt, 4, response + 3);
}

bool weir_equal_secret(const void *left, const void *right, size_t length)
{
    const volatile uint8_t *a = left;
    const volatile uint8_t *b = right;
    unsigned difference = 0;
    for (size_t i = 0; i < length; i++)
        difference |= (unsigned)(a[i] ^ b[i]);
    return difference == 0;
}

void weir_credentials_clear(struct weir_credentials *credentials)
{
    weir_free_secret(credentials->password);
    weir_free_secret(credentials->md5);
    weir_wipe(credentials, sizeof(*credentials));
}
