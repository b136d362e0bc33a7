/* What the daemon and its workers read from each other: any bytes, cut anywhere, are a message, the
 * beginning of one or none; a message that was read is written the same again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weir/memory.h"
#include "weir/question.h"
#include "weir/require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_question(const uint8_t *bytes, size_t length)
{
    struct weir_question question;
    if (!weir_question_read(bytes, length, &question))
        return;
    size_t written = 0;
    uint8_t *again = weir_question_write(&question, &written);
    weir_require(again != NULL && written == length);
    weir_require(memcmp(again + 4, bytes + 4, length - 4) == 0);
    free(again);
}

static void try_judgement(const uint8_t *bytes, size_t length)
{
    uint8_t again[WEIR_JUDGEMENT_MAX];
    struct weir_judgement judgement;
    if (!weir_judgement_read(bytes, length, &judgement))
        return;
    weir_require(judgement.verdict != WEIR_VERDICT_LOST);
    weir_require(weir_judgement_write(&judgement, again) == length);
    weir_require(memcmp(again + 4, bytes + 4, length - 4) == 0);
}

/* One message after the other, as both sides do; the frame lies in memory of its own size. */
static void walk(const uint8_t *data, size_t size, size_t most)
{
    size_t length = 0;
    enum weir_frame frame;
    while ((frame = weir_frame_find(data, size, most, &length)) == WEIR_FRAME_WHOLE) {
        weir_require(length >= 5 && length <= size && length <= most);
        for (size_t cut = 0; cut < length && cut < 8; cut++) {
            size_t ignored;
            weir_require(weir_frame_find(data, cut, most, &ignored) == WEIR_FRAME_PART);
        }
        uint8_t *message = malloc(length);
        weir_require(message != NULL);
        memcpy(message, data, length);
        if (most == WEIR_QUESTION_MAX)
            try_question(message, length);
        else
            try_judgement(message, length);
        free(message);
        data += length;
        size -= length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    walk(data, size, WEIR_QUESTION_MAX);
    walk(data, size, WEIR_JUDGEMENT_MAX);
    return 0;
}
