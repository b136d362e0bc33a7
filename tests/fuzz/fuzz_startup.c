/* First packets: no cut of a packet says anything else than the whole, parameters lie inside the
 * packet, and a login that was accepted is exactly its parameters written out again. */
#include <stdlib.h>
#include <string.h>

#include "weir/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_login(const uint8_t *data, struct weir_startup *startup)
{
    struct weir_buffer buffer = {0};
    struct weir_writer writer = weir_writer_to(&buffer);
    const size_t begin = weir_message_begin(&writer, 0);
    weir_write_u32(&writer, startup->version);
    const char *name = NULL;
    const char *value = NULL;
    while (weir_startup_next(startup, &name, &value)) {
        weir_require(*name != '\0');
        weir_write_string(&writer, name);
        weir_write_string(&writer, value);
    }
    weir_require(!startup->parameters.failed);
    weir_write_u8(&writer, 0);
    weir_message_end(&writer, begin);
    weir_require(!writer.failed);
    weir_require(weir_buffer_length(&buffer) == startup->length);
    weir_require(memcmp(weir_buffer_bytes(&buffer), data, startup->length) == 0);
    weir_buffer_clear(&buffer);
}

static void check_whole(const uint8_t *data, size_t size, struct weir_startup *startup)
{
    weir_require((startup->kind == WEIR_STARTUP_BAD) == (startup->problem != NULL));
    switch (startup->kind) {
    case WEIR_STARTUP_INCOMPLETE:
        weir_require(size < 8 || size < startup->length);
        break;
    case WEIR_STARTUP_BAD:
        weir_require(size >= 4 && *startup->problem != '\0');
        break;
    case WEIR_STARTUP_SSL:
    case WEIR_STARTUP_GSS:
        weir_require(startup->length == 8 && size >= 8);
        break;
    case WEIR_STARTUP_CANCEL:
        weir_require(startup->length <= size);
        weir_require(startup->key_length >= 1 && startup->key_length <= WEIR_CANCEL_KEY_MAX);
        weir_require(startup->key + startup->key_length == data + startup->length);
        break;
    case WEIR_STARTUP_LOGIN:
        weir_require(startup->length <= size);
        check_login(data, startup);
        break;
    }
}

/* In memory of exactly this size, for the address sanitizer. */
static void check_cut(const uint8_t *data, size_t cut, const struct weir_startup *whole)
{
    uint8_t *copy = malloc(cut > 0 ? cut : 1);
    weir_require(copy != NULL);
    memcpy(copy, data, cut);
    struct weir_startup startup;
    weir_startup_parse(copy, cut, &startup);
    weir_require(startup.kind == WEIR_STARTUP_INCOMPLETE || startup.kind == whole->kind);
    if (startup.problem != NULL) {
        weir_require(strcmp(startup.problem, whole->problem) == 0);
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_startup startup;
    weir_startup_parse(data, size, &startup);
    check_whole(data, size, &startup);
    /* Long inputs at fewer places, so that an input costs linear time. */
    const size_t step = 1 + size / 64;
    for (size_t cut = 0; cut < size; cut += step) {
        check_cut(data, cut, &startup);
    }
    return 0;
}
