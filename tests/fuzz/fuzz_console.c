/* The console: its language, and sessions fed with messages or with arbitrary bytes. A statement ends
 * and is understood the same twice; whatever a client says, what it hears are whole messages. */
#include <stdlib.h>
#include <string.h>

#include "fake_router.h"
#include "token.h"
#include "weir/log.h"
#include "weir/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct command *command, const char *text)
{
    struct command again;
    struct complaint complaint = {0};
    const char *rest;
    weir_require(command_parse(text, &rest, &again, &complaint));
    weir_require(again.kind == command->kind && again.table == command->table);
    weir_require((again.name == NULL) == (command->name == NULL));
    weir_require(again.name == NULL || strcmp(again.name, command->name) == 0);
    command_clear(&again);
}

static void check_language(const char *text)
{
    const char *end = text + strlen(text);
    while (*text != '\0') {
        struct command command;
        struct complaint complaint = {0};
        const char *rest, *begin = text;
        const struct column *columns;
        bool good = command_parse(text, &rest, &command, &complaint);
        weir_require(rest > text && rest <= end);
        weir_require(good == (complaint.sqlstate == NULL));
        if (good) {
            weir_require(command.kind == COMMAND_EMPTY || command.tag != NULL);
            size_t count = command_columns(&command, &columns);
            for (size_t i = 0; i < count; i++)
                weir_require(columns[i].name != NULL);
            check_same(&command, begin);
        } else {
            weir_require(strlen(complaint.sqlstate) == 5 && complaint.message[0] != '\0');
        }
        command_clear(&command);
        complaint_clear(&complaint);
        text = rest;
    }
}

/* Consumes whole messages; what is left is the beginning of one. */
static void check_answers(struct weir_buffer *heard)
{
    for (;;) {
        const uint8_t *bytes = weir_buffer_bytes(heard);
        size_t length = weir_buffer_length(heard);
        if (length < WEIR_WIRE_HEADER)
            return;
        weir_require(strchr("RSKZTDCENIn12t3s", bytes[0]) != NULL);
        size_t whole = 1 + (size_t)weir_get_u32(bytes + 1);
        weir_require(whole >= WEIR_WIRE_HEADER && whole < 1 << 20);
        if (length < whole)
            return;
        weir_buffer_consume(heard, whole);
    }
}

static void hear(struct weir_buffer *heard)
{
    static uint8_t bytes[65536];
    size_t length;
    fake_turn(2);
    while ((length = fake_read(bytes, sizeof(bytes))) > 0) {
        weir_require(weir_buffer_append(heard, bytes, length));
        check_answers(heard);
        fake_turn(1);
    }
}

/* Text in the shape of messages: a type byte, a length byte, a body. */
static void say_messages(const uint8_t *data, size_t size, struct weir_buffer *heard)
{
    while (size >= 2 && !fake.dismissed) {
        size_t length = data[1] < size - 2 ? data[1] : size - 2;
        uint8_t header[WEIR_WIRE_HEADER] = {data[0]};
        weir_put_u32(header + 1, (uint32_t)length + 4);
        fake_write(header, sizeof(header));
        fake_write(data + 2, length);
        hear(heard);
        data += 2 + length;
        size -= 2 + length;
    }
}

static void check_session(const uint8_t *data, size_t size, bool as_messages)
{
    struct weir_buffer heard = {0};
    fake_open((data[0] & 2) != 0 ? WEIR_CONSOLE_STATS : WEIR_CONSOLE_ADMIN);
    fake.clients = data[0];
    fake.paused_out = (data[0] & 4) != 0;
    if (as_messages)
        say_messages(data + 1, size - 1, &heard);
    else
        fake_write(data + 1, size - 1);
    hear(&heard);
    if (!fake.dismissed && fake.admin->wait_count > 0)
        fake_cancel();
    hear(&heard);
    fake_close();
    weir_buffer_clear(&heard);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct weir_log_target quiet = {.level = WEIR_LOG_ERROR};
    if (size < 2)
        return 0;
    weir_require(weir_log_open(&quiet));
    if (data[0] % 4 < 2) {
        char *text = weir_strndup((const char *)data + 1, size - 1);
        check_language(text);
        free(text);
    } else {
        check_session(data + 1, size - 1, data[0] % 4 == 2);
    }
    return 0;
}
