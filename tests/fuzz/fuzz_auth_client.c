/* Clients that log in: whatever they send, in whatever order, nobody is let in without the
 * password.
 *
 * Input: one byte for method and secret, then messages, each after its length in two bytes. A byte
 * 1 in a message stands for the nonce of the challenge, which no input could know. */
#include <stdlib.h>
#include <string.h>

#include "weir/auth.h"
#include "weir/memory.h"
#include "weir/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PASSWORD "pencil"

static const char *const secrets[] = {
    NULL,
    PASSWORD,
    "md5498ad3f715beae175b49f29edbfd6f92",
    "SCRAM-SHA-256$600:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
};

static const enum weir_auth_method methods[] = {WEIR_AUTH_PLAIN, WEIR_AUTH_MD5, WEIR_AUTH_SCRAM,
                                                WEIR_AUTH_REJECT};

/* The message with the nonce put in, in memory of exactly its size. */
static uint8_t *expand(const uint8_t *text, size_t length, const char *nonce, size_t *expanded)
{
    size_t nonce_length = strlen(nonce);
    size_t total = 0;
    for (size_t i = 0; i < length; i++)
        total += text[i] == 1 ? nonce_length : 1;
    uint8_t *message = malloc(total + (total == 0));
    weir_require(message != NULL);
    uint8_t *at = message;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == 1)
            at = (uint8_t *)memcpy(at, nonce, nonce_length) + nonce_length;
        else
            *at++ = text[i];
    }
    *expanded = total;
    return message;
}

/* Every message that goes out is whole, and of the one kind. */
static void check_output(struct weir_buffer *out, enum weir_auth_result result, char *nonce,
                         size_t nonce_size)
{
    size_t length = weir_buffer_length(out);
    if (result != WEIR_AUTH_MORE && result != WEIR_AUTH_OK)
        weir_require(length == 0);
    if (length > 0) {
        const uint8_t *bytes = weir_buffer_bytes(out);
        weir_require(bytes[0] == 'R' && length >= 9 && weir_get_u32(bytes + 1) == length - 1);
        if (weir_get_u32(bytes + 5) == 11 && length > 11) {
            size_t text = strcspn((const char *)bytes + 11, ",");
            weir_require(text < nonce_size);
            memcpy(nonce, bytes + 11, text);
            nonce[text] = '\0';
        }
    }
    weir_buffer_clear(out);
}

static enum weir_auth_result send(struct weir_client_proof *proof, const uint8_t *message,
                                  size_t length, struct weir_buffer *out)
{
    enum weir_auth_result result = weir_client_proof_step(proof, message, length, out);
    while (result == WEIR_AUTH_BUSY)
        result = weir_client_proof_work(proof, out);
    if (result == WEIR_AUTH_OFFERED)
        result =
            weir_client_proof_judged(proof, strcmp(weir_client_proof_offer(proof), PASSWORD) == 0);
    return result;
}

static void run(struct weir_client_proof *proof, enum weir_auth_method method, const uint8_t *data,
                size_t size)
{
    struct weir_buffer out = {0};
    char nonce[8192] = "";
    enum weir_auth_result result = weir_client_proof_step(proof, NULL, 0, &out);
    weir_require(result == (method == WEIR_AUTH_REJECT ? WEIR_AUTH_FAILED : WEIR_AUTH_MORE));
    check_output(&out, result, nonce, sizeof(nonce));

    bool over = result != WEIR_AUTH_MORE;
    for (int turn = 0; size >= 2 && turn < 8; turn++) {
        size_t length = (size_t)data[0] << 8 | data[1];
        length = length < size - 2 ? length : size - 2;
        size_t expanded;
        uint8_t *message = expand(data + 2, length, nonce, &expanded);
        data += 2 + length;
        size -= 2 + length;
        result = send(proof, message, expanded, &out);
        if (over)
            weir_require(result == WEIR_AUTH_BROKEN);
        if (result == WEIR_AUTH_OK)
            weir_require((method == WEIR_AUTH_PLAIN || method == WEIR_AUTH_OUTSIDE) &&
                         strcmp((char *)message, PASSWORD) == 0);
        if (result == WEIR_AUTH_BROKEN)
            weir_require(*weir_client_proof_problem(proof) != '\0');
        over = over || result != WEIR_AUTH_MORE;
        check_output(&out, result, nonce, sizeof(nonce));
        free(message);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct weir_auth_context *context;
    if (!context)
        context = weir_auth_context_create();
    if (size == 0)
        return 0;
    enum weir_auth_method method = data[0] & 16 ? WEIR_AUTH_OUTSIDE : methods[data[0] & 3];
    struct weir_client_proof *proof =
        weir_client_proof_create(context, method, "app_user", secrets[data[0] >> 2 & 3]);
    run(proof, method, data + 1, size - 1);
    struct weir_credentials credentials;
    weir_client_proof_take(proof, &credentials);
    weir_credentials_clear(&credentials);
    weir_client_proof_destroy(proof);
    return 0;
}
