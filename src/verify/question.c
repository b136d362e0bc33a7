#include "weir/question.h"

#include <string.h>

#include "weir/memory.h"
#include "weir/wire.h"

enum weir_frame weir_frame_find(const uint8_t *bytes, size_t length, size_t most, size_t *size)
{
    if (length < 4)
        return WEIR_FRAME_PART;
    *size = weir_get_u32(bytes);
    if (*size < 5 || *size > most)
        return WEIR_FRAME_BAD;
    return length < *size ? WEIR_FRAME_PART : WEIR_FRAME_WHOLE;
}

/* --- writing --------------------------------------------------------------------------- */

/* A message is measured with `at` NULL, then written into memory of just that size: memory that grows
 * would leave passwords behind. */
struct pen {
    uint8_t *at;
    size_t written;
};

static void put(struct pen *pen, const void *bytes, size_t length)
{
    if (pen->at != NULL)
        memcpy(pen->at + pen->written, bytes, length);
    pen->written += length;
}

static void put_u8(struct pen *pen, uint8_t value)
{
    put(pen, &value, 1);
}

static void put_u32(struct pen *pen, uint32_t value)
{
    uint8_t bytes[4];
    weir_put_u32(bytes, value);
    put(pen, bytes, sizeof(bytes));
}

static void put_u64(struct pen *pen, uint64_t value)
{
    put_u32(pen, (uint32_t)(value >> 32));
    put_u32(pen, (uint32_t)value);
}

static void put_text(struct pen *pen, const char *text)
{
    put(pen, text, strlen(text) + 1);
}

static void put_question(struct pen *pen, const struct weir_question *question, size_t length)
{
    put_u32(pen, (uint32_t)length);
    put_u8(pen, WEIR_QUESTION_VERSION);
    put_u64(pen, question->id);
    put_u32(pen, question->limit);
    put_text(pen, question->method);
    put_text(pen, question->user);
    put_text(pen, question->password);
    put_text(pen, question->peer);
    put_u8(pen, (uint8_t)question->option_count);
    for (size_t i = 0; i < question->option_count; i++) {
        put_text(pen, question->options[i].name);
        put_text(pen, question->options[i].value);
    }
}

uint8_t *weir_question_write(const struct weir_question *question, size_t *length)
{
    struct pen pen = {0};
    weir_require(question->option_count <= WEIR_OUTSIDE_OPTIONS);
    put_question(&pen, question, 0);
    if (pen.written > WEIR_QUESTION_MAX)
        return NULL;
    *length = pen.written;
    pen = (struct pen){.at = weir_alloc(pen.written)};
    put_question(&pen, question, *length);
    return pen.at;
}

size_t weir_judgement_write(const struct weir_judgement *judgement, uint8_t *bytes)
{
    static const size_t head = 4 + 8 + 1;
    size_t text = strnlen(judgement->text, WEIR_JUDGEMENT_MAX - head - 1);
    struct pen pen = {.at = bytes};
    put_u32(&pen, (uint32_t)(head + text + 1));
    put_u64(&pen, judgement->id);
    put_u8(&pen, (uint8_t)judgement->verdict);
    put(&pen, judgement->text, text);
    put_u8(&pen, 0);
    return pen.written;
}

/* --- reading --------------------------------------------------------------------------- */

static uint64_t read_u64(struct weir_reader *reader)
{
    uint64_t high = weir_read_u32(reader);
    return high << 32 | weir_read_u32(reader);
}

static bool is_whole(const struct weir_reader *reader)
{
    return !reader->failed && weir_reader_left(reader) == 0;
}

bool weir_question_read(const uint8_t *bytes, size_t length, struct weir_question *question)
{
    struct weir_reader reader;
    *question = (struct weir_question){0};
    weir_reader_init(&reader, bytes + 4, length - 4);
    if (weir_read_u8(&reader) != WEIR_QUESTION_VERSION)
        return false;
    question->id = read_u64(&reader);
    question->limit = weir_read_u32(&reader);
    question->method = weir_read_string(&reader);
    question->user = weir_read_string(&reader);
    question->password = weir_read_string(&reader);
    question->peer = weir_read_string(&reader);
    question->option_count = weir_read_u8(&reader);
    if (question->option_count > WEIR_OUTSIDE_OPTIONS)
        return false;
    for (size_t i = 0; i < question->option_count; i++) {
        question->options[i].name = weir_read_string(&reader);
        question->options[i].value = weir_read_string(&reader);
    }
    return is_whole(&reader);
}

bool weir_judgement_read(const uint8_t *bytes, size_t length, struct weir_judgement *judgement)
{
    struct weir_reader reader;
    weir_reader_init(&reader, bytes + 4, length - 4);
    judgement->id = read_u64(&reader);
    uint8_t verdict = weir_read_u8(&reader);
    judgement->verdict = (enum weir_verdict)verdict;
    judgement->text = weir_read_string(&reader);
    return is_whole(&reader) && verdict <= WEIR_VERDICT_TROUBLE;
}
