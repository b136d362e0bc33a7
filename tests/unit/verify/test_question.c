#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "weir/memory.h"
#include "weir/question.h"

static struct weir_question sample(void)
{
    struct weir_question question = {
        .id = 0x1122334455667788,
        .limit = 15000,
        .method = "ldap",
        .user = "alice",
        .password = "p\xc3\xa4ss",
        .peer = "192.0.2.1",
        .option_count = WEIR_OUTSIDE_OPTIONS,
    };
    for (size_t i = 0; i < WEIR_OUTSIDE_OPTIONS; i++)
        question.options[i] = (struct weir_outside_option){i % 2 ? "name" : "", i % 3 ? "x y" : ""};
    return question;
}

/* Bytes in memory of exactly their size, for the address sanitizer. */
static uint8_t *exactly(const uint8_t *bytes, size_t length)
{
    uint8_t *copy = malloc(length + (length == 0));
    cr_assert_not_null(copy);
    memcpy(copy, bytes, length);
    return copy;
}

Test(question, there_and_back)
{
    struct weir_question question = sample(), read;
    size_t length = 0, size = 0;
    uint8_t *bytes = weir_question_write(&question, &length);
    cr_assert_not_null(bytes);
    cr_assert_eq(weir_frame_find(bytes, length, WEIR_QUESTION_MAX, &size), WEIR_FRAME_WHOLE);
    cr_assert_eq(size, length);
    cr_assert(weir_question_read(bytes, length, &read));
    cr_expect_eq(read.id, question.id);
    cr_expect_eq(read.limit, question.limit);
    cr_expect_str_eq(read.method, question.method);
    cr_expect_str_eq(read.user, question.user);
    cr_expect_str_eq(read.password, question.password);
    cr_expect_str_eq(read.peer, question.peer);
    cr_assert_eq(read.option_count, question.option_count);
    for (size_t i = 0; i < read.option_count; i++) {
        cr_expect_str_eq(read.options[i].name, question.options[i].name);
        cr_expect_str_eq(read.options[i].value, question.options[i].value);
    }
    free(bytes);
}

/* A frame that is cut is a part; one whose length says less than it holds is no question. */
Test(question, cut_at_every_byte)
{
    struct weir_question question = sample(), read;
    size_t length = 0, size = 0;
    uint8_t *bytes = weir_question_write(&question, &length);
    for (size_t cut = 0; cut < length; cut++) {
        uint8_t *part = exactly(bytes, cut);
        cr_expect_eq(weir_frame_find(part, cut, WEIR_QUESTION_MAX, &size), WEIR_FRAME_PART);
        if (cut >= 5) {
            part[0] = part[1] = 0;
            part[2] = (uint8_t)(cut >> 8);
            part[3] = (uint8_t)cut;
            cr_expect_eq(weir_frame_find(part, cut, WEIR_QUESTION_MAX, &size), WEIR_FRAME_WHOLE);
            cr_expect_not(weir_question_read(part, cut, &read), "%zu", cut);
        }
        free(part);
    }
    free(bytes);
}

Test(question, more_than_a_question)
{
    struct weir_question question = sample(), read;
    size_t length = 0;
    uint8_t *bytes = weir_question_write(&question, &length);
    uint8_t *longer = weir_alloc(length + 1);
    memcpy(longer, bytes, length);
    cr_expect_not(weir_question_read(longer, length + 1, &read));
    /* Of another version. */
    bytes[4]++;
    cr_expect_not(weir_question_read(bytes, length, &read));
    free(longer);
    free(bytes);
}

Test(question, longest)
{
    size_t length = 0;
    struct weir_question question = sample();
    char *password = weir_alloc(WEIR_QUESTION_MAX + 1);
    memset(password, 'x', WEIR_QUESTION_MAX);
    question.password = password;
    cr_expect_null(weir_question_write(&question, &length));
    password[WEIR_QUESTION_MAX - 1000] = '\0';
    uint8_t *bytes = weir_question_write(&question, &length);
    cr_expect_not_null(bytes);
    cr_expect_leq(length, WEIR_QUESTION_MAX);
    free(bytes);
    free(password);
}

Test(question, lengths)
{
    static const struct {
        uint8_t bytes[5];
        enum weir_frame frame;
    } table[] = {
        {{0, 0, 0, 0, 0}, WEIR_FRAME_BAD},
        {{0, 0, 0, 4, 0}, WEIR_FRAME_BAD},
        {{0, 0, 0, 5, 0}, WEIR_FRAME_WHOLE},
        {{0, 0, 0, 6, 0}, WEIR_FRAME_PART},
        {{0, 0, 0x10, 0, 0}, WEIR_FRAME_PART},
        {{0, 0, 0x10, 1, 0}, WEIR_FRAME_BAD},
        {{0xff, 0xff, 0xff, 0xff, 0}, WEIR_FRAME_BAD},
        {{0x80, 0, 0, 5, 0}, WEIR_FRAME_BAD},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        size_t size = 0;
        cr_expect_eq(weir_frame_find(table[i].bytes, 5, WEIR_JUDGEMENT_MAX, &size), table[i].frame,
                     "%zu", i);
    }
}

/* --- judgements -------------------------------------------------------------------------- */

Test(question, judgement_there_and_back)
{
    uint8_t bytes[WEIR_JUDGEMENT_MAX];
    for (int verdict = WEIR_VERDICT_YES; verdict <= WEIR_VERDICT_TROUBLE; verdict++) {
        struct weir_judgement judgement = {UINT64_MAX - 1, (enum weir_verdict)verdict, "why"}, read;
        size_t size = 0, length = weir_judgement_write(&judgement, bytes);
        cr_assert_eq(weir_frame_find(bytes, length, sizeof(bytes), &size), WEIR_FRAME_WHOLE);
        cr_assert_eq(size, length);
        cr_assert(weir_judgement_read(bytes, length, &read));
        cr_expect_eq(read.id, judgement.id);
        cr_expect_eq(read.verdict, judgement.verdict);
        cr_expect_str_eq(read.text, judgement.text);
    }
}

Test(question, judgement_cut_at_every_byte)
{
    uint8_t bytes[WEIR_JUDGEMENT_MAX];
    struct weir_judgement judgement = {77, WEIR_VERDICT_NO, "why"}, read;
    size_t length = weir_judgement_write(&judgement, bytes), size;
    for (size_t cut = 0; cut < length; cut++) {
        uint8_t *part = exactly(bytes, cut);
        cr_expect_eq(weir_frame_find(part, cut, sizeof(bytes), &size), WEIR_FRAME_PART);
        if (cut >= 5)
            cr_expect_not(weir_judgement_read(part, cut, &read), "%zu", cut);
        free(part);
    }
    bytes[12] = WEIR_VERDICT_LOST;
    cr_expect_not(weir_judgement_read(bytes, length, &read));
    bytes[12] = 255;
    cr_expect_not(weir_judgement_read(bytes, length, &read));
}

Test(question, judgement_with_a_long_text)
{
    uint8_t bytes[WEIR_JUDGEMENT_MAX];
    char text[2 * WEIR_JUDGEMENT_MAX];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    struct weir_judgement judgement = {1, WEIR_VERDICT_TROUBLE, text}, read;
    size_t length = weir_judgement_write(&judgement, bytes);
    cr_assert_eq(length, WEIR_JUDGEMENT_MAX);
    cr_assert(weir_judgement_read(bytes, length, &read));
    cr_expect_eq(strlen(read.text), WEIR_JUDGEMENT_MAX - 14);
}
