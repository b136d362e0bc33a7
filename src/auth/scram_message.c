#include "scram_message.h"

#include <string.h>

#include "base64.h"

static const char too_long[] = "SCRAM message is too long";
static const char malformed[] = "malformed SCRAM message";
static const char bad_nonce[] = "SCRAM nonce is empty or not printable";
static const char mandatory_extension[] =
    "SCRAM message demands an extension that is not supported";

static const char authorization_identity[] =
    "client sends a SCRAM authorization identity, which is not supported";

bool weir_span_equals(struct weir_span span, const char *text)
{
    return span.length == strlen(text) && memcmp(span.at, text, span.length) == 0;
}

/* Attributes "a=value" separated by commas. */
struct attributes {
    const char *at;
    const char *end;
    bool more; /* another attribute must follow: the start, or after a comma */
};

static void attributes_init(struct attributes *attributes, const char *text, size_t length)
{
    *attributes = (struct attributes){.at = text, .end = text + length, .more = true};
}

/* Next attribute; false when there is none or it is not well formed. */
static bool next(struct attributes *attributes, char *name, struct weir_span *value)
{
    const char *at = attributes->at;
    if (!attributes->more || attributes->end - at < 2 || at[1] != '=')
        return false;
    if (!((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z')))
        return false;
    *name = *at;
    at += 2;

    const char *comma = memchr(at, ',', (size_t)(attributes->end - at));
    const char *stop = comma ? comma : attributes->end;
    /* A zero would make texts differ that look the same in a log. */
    if (memchr(at, '\0', (size_t)(stop - at)))
        return false;
    *value = (struct weir_span){.at = at, .length = (size_t)(stop - at)};
    attributes->more = comma != NULL;
    attributes->at = comma ? comma + 1 : stop;
    return true;
}

/* The attribute that the grammar has at this place. */
static const char *expect(struct attributes *attributes, char name, struct weir_span *value)
{
    char found;
    if (!next(attributes, &found, value))
        return malformed;
    if (found == 'm' && name != 'm')
        return mandatory_extension;
    return found == name ? NULL : malformed;
}

/* Optional extensions are read and ignored, as RFC 5802 section 5.1 demands. */
static const char *skip_extensions(struct attributes *attributes)
{
    while (attributes->more) {
        char name;
        struct weir_span value;
        if (!next(attributes, &name, &value))
            return malformed;
        if (name == 'm')
            return mandatory_extension;
    }
    return NULL;
}

static bool is_nonce(struct weir_span nonce)
{
    for (size_t i = 0; i < nonce.length; i++) {
        if (nonce.at[i] < 0x21 || nonce.at[i] > 0x7e || nonce.at[i] == ',')
            return false;
    }
    return nonce.length > 0;
}

/* The header "n,,", "y,," or "p=TYPE,," before the first message; `*used` is its length. */
static const char *parse_binding_header(const char *text, size_t length, char *binding,
                                        size_t *used)
{
    if (length < 3)
        return malformed;
    static const size_t bound = sizeof(WEIR_SCRAM_BOUND_HEADER) - 1;
    if (text[0] == 'p' && text[1] == '=') {
        /* Without the last comma: an identity may stand there. */
        if (length <= bound || memcmp(text, WEIR_SCRAM_BOUND_HEADER, bound - 1) != 0)
            return "client demands a kind of SCRAM channel binding that is not supported";
        if (text[bound - 1] != ',')
            return authorization_identity;
        *binding = 'p';
        *used = bound;
        return NULL;
    }
    if ((text[0] != 'n' && text[0] != 'y') || text[1] != ',')
        return malformed;
    if (text[2] == 'a')
        return authorization_identity;
    if (text[2] != ',')
        return malformed;
    *binding = text[0];
    *used = 3;
    return NULL;
}

const char *weir_scram_parse_client_first(const char *text, size_t length,
                                          struct weir_scram_client_first *message)
{
    struct attributes attributes;
    struct weir_span user;
    size_t header = 0;
    if (length > WEIR_SCRAM_MESSAGE_MAX)
        return too_long;
    const char *problem = parse_binding_header(text, length, &message->binding, &header);
    if (problem)
        return problem;

    message->bare = (struct weir_span){.at = text + header, .length = length - header};
    attributes_init(&attributes, message->bare.at, message->bare.length);
    problem = expect(&attributes, 'n', &user);
    if (!problem)
        problem = expect(&attributes, 'r', &message->nonce);
    if (!problem && !is_nonce(message->nonce))
        problem = bad_nonce;
    return problem ? problem : skip_extensions(&attributes);
}

/* A decimal number; 0 when it is anything else or above the limit. */
static uint32_t parse_iterations(struct weir_span value)
{
    uint32_t number = 0;
    if (value.length > 9)
        return 0;
    for (size_t i = 0; i < value.length; i++) {
        if (value.at[i] < '0' || value.at[i] > '9')
            return 0;
        number = number * 10 + (uint32_t)(value.at[i] - '0');
    }
    return number <= WEIR_SCRAM_ITERATIONS_MAX ? number : 0;
}

const char *weir_scram_parse_server_first(const char *text, size_t length,
                                          struct weir_scram_server_first *message)
{
    struct attributes attributes;
    struct weir_span salt;
    struct weir_span iterations;
    if (length > WEIR_SCRAM_MESSAGE_MAX)
        return too_long;
    attributes_init(&attributes, text, length);
    const char *problem = expect(&attributes, 'r', &message->nonce);
    if (!problem && !is_nonce(message->nonce))
        problem = bad_nonce;
    if (!problem)
        problem = expect(&attributes, 's', &salt);
    if (!problem)
        problem = expect(&attributes, 'i', &iterations);
    if (!problem)
        problem = skip_extensions(&attributes);
    if (problem)
        return problem;

    if (!weir_base64_decode(salt.at, salt.length, message->salt, sizeof(message->salt),
                            &message->salt_length) ||
        message->salt_length == 0)
        return "SCRAM salt is not base64 of 1 to 1024 bytes";
    message->iterations = parse_iterations(iterations);
    return message->iterations > 0 ? NULL : "SCRAM iteration count is not 1 to 10000000";
}

const char *weir_scram_parse_client_final(const char *text, size_t length,
                                          struct weir_scram_client_final *message)
{
    struct attributes attributes;
    if (length > WEIR_SCRAM_MESSAGE_MAX)
        return too_long;
    attributes_init(&attributes, text, length);
    const char *problem = expect(&attributes, 'c', &message->binding);
    if (!problem)
        problem = expect(&attributes, 'r', &message->nonce);
    if (problem)
        return problem;

    for (;;) {
        char name;
        struct weir_span value;
        const char *before = attributes.at;
        if (!next(&attributes, &name, &value))
            return malformed;
        if (name == 'm')
            return mandatory_extension;
        if (name != 'p')
            continue;
        message->without_proof =
            (struct weir_span){.at = text, .length = (size_t)(before - 1 - text)};
        if (attributes.more || !weir_base64_decode_exact(value.at, value.length, message->proof,
                                                         sizeof(message->proof)))
            return "malformed SCRAM proof";
        return NULL;
    }
}

const char *weir_scram_parse_server_final(const char *text, size_t length,
                                          struct weir_scram_server_final *message)
{
    struct attributes attributes;
    struct weir_span value;
    char name;
    message->error = (struct weir_span){0};
    if (length > WEIR_SCRAM_MESSAGE_MAX)
        return too_long;
    attributes_init(&attributes, text, length);
    if (!next(&attributes, &name, &value))
        return malformed;
    if (name == 'e' && value.length > 0) {
        message->error = value;
        return NULL;
    }
    if (name != 'v' || !weir_base64_decode_exact(value.at, value.length, message->signature,
                                                 sizeof(message->signature)))
        return "malformed SCRAM signature";
    return skip_extensions(&attributes);
}
