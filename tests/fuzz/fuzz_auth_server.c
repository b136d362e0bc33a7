/* Servers that demand proof: whatever they send, once SCRAM has begun no login succeeds, because no
 * input can hold the signature of a server that knows the password.
 *
 * Input: one byte for what we have, then messages, each after its length in two bytes. A byte 1
 * behind the first four of a message stands for our nonce, which no input could know. */
#include <stdlib.h>
#include <string.h>

#include "weir/auth.h"
#include "weir/memory.h"
#include "weir/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A count of iterations that takes longer is given up, as by a login that runs out of time. */
#define SLICES_MAX 20

static uint8_t *expand(const uint8_t *text, size_t length, const char *nonce, size_t *expanded)
{
    size_t nonce_length = strlen(nonce);
    size_t total = 0;
    for (size_t i = 0; i < length; i++)
        total += i >= 4 && text[i] == 1 ? nonce_length : 1;
    uint8_t *message = malloc(total + (total == 0));
    weir_require(message != NULL);
    uint8_t *at = message;
    for (size_t i = 0; i < length; i++) {
        if (i >= 4 && text[i] == 1)
            at = (uint8_t *)memcpy(at, nonce, nonce_length) + nonce_length;
        else
            *at++ = text[i];
    }
    *expanded = total;
    return message;
}

/* Every message that goes out is whole, and of the one kind. True when it begins SCRAM: then its
 * nonce is kept. */
static bool check_output(struct weir_buffer *out, enum weir_auth_result result, char nonce[64])
{
    static const char first[] = "SCRAM-SHA-256\0\0\0\0\x20n,,n=,r=";
    size_t length = weir_buffer_length(out);
    bool begins = false;
    if (result != WEIR_AUTH_MORE)
        weir_require(length == 0);
    if (length > 0) {
        const uint8_t *bytes = weir_buffer_bytes(out);
        weir_require(bytes[0] == 'p' && length >= 5 && weir_get_u32(bytes + 1) == length - 1);
        begins = length == 5 + sizeof(first) - 1 + 24 &&
                 memcmp(bytes + 5, first, sizeof(first) - 1) == 0;
        if (begins) {
            memcpy(nonce, bytes + length - 24, 24);
            nonce[24] = '\0';
        }
    }
    weir_buffer_clear(out);
    return begins;
}

static void run(struct weir_server_proof *proof, const uint8_t *data, size_t size)
{
    struct weir_buffer out = {0};
    char nonce[64] = "";
    bool scram = false;
    bool over = false;
    for (int turn = 0; size >= 2 && turn < 8; turn++) {
        size_t length = (size_t)data[0] << 8 | data[1];
        length = length < size - 2 ? length : size - 2;
        size_t expanded;
        uint8_t *message = expand(data + 2, length, nonce, &expanded);
        data += 2 + length;
        size -= 2 + length;
        enum weir_auth_result result = weir_server_proof_step(proof, message, expanded, &out);
        for (int slice = 0; result == WEIR_AUTH_BUSY && slice < SLICES_MAX; slice++)
            result = weir_server_proof_work(proof, &out);
        if (over)
            weir_require(result == WEIR_AUTH_BROKEN);
        if (result == WEIR_AUTH_OK)
            weir_require(!scram && expanded == 4 && weir_get_u32(message) == 0);
        if (result == WEIR_AUTH_BROKEN || result == WEIR_AUTH_FAILED)
            weir_require(*weir_server_proof_problem(proof) != '\0');
        free(message);
        over = over || (result != WEIR_AUTH_MORE && result != WEIR_AUTH_BUSY);
        if (result == WEIR_AUTH_BUSY)
            break;
        scram = check_output(&out, result, nonce) || scram;
    }
    weir_buffer_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct weir_auth_context *context;
    if (!context)
        context = weir_auth_context_create();
    if (size == 0)
        return 0;
    char password[] = "p\xc3\xa4ncil";
    char md5[] = "md5498ad3f715beae175b49f29edbfd6f92";
    struct weir_credentials credentials = {
        .password = data[0] & 1 ? password : NULL,
        .md5 = data[0] & 2 ? md5 : NULL,
        .has_keys = (data[0] & 4) != 0,
        .client_key = {1, 2, 3},
    };
    struct weir_server_proof *proof = weir_server_proof_create(context, "app_user", &credentials);
    run(proof, data + 1, size - 1);
    weir_server_proof_destroy(proof);
    return 0;
}
