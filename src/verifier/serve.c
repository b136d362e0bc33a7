/* Questions in, answers out, one after the other. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "room.h"
#include "weir/memory.h"

void finding_set(struct finding *finding, enum weir_verdict verdict, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(finding->text, sizeof(finding->text), format, arguments);
    va_end(arguments);
    finding->verdict = verdict;
}

const char *option_of(const struct weir_question *question, const char *name)
{
    for (size_t i = 0; i < question->option_count; i++)
        if (strcmp(question->options[i].name, name) == 0)
            return question->options[i].value;
    return NULL;
}

static const struct {
    const char *method;
    void (*judge)(const struct weir_question *question, struct finding *finding);
} methods[] = {
#ifdef WEIR_PAM
    {"pam", pam_judge},
#endif
#ifdef WEIR_LDAP
    {"ldap", ldap_judge},
#endif
    {NULL, NULL},
};

const char *serve_methods(void)
{
    static char list[32];
    list[0] = '\0';
    for (size_t i = 0; methods[i].method != NULL; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof(list) - used, "%s%s", used > 0 ? " " : "", methods[i].method);
    }
    return list;
}

void serve_judge(const struct weir_question *question, struct finding *finding)
{
    size_t i = 0;
    while (methods[i].method != NULL && strcmp(methods[i].method, question->method) != 0)
        i++;
    if (question->password[0] == '\0')
        /* To LDAP this would be an anonymous login, which succeeds. */
        finding_set(finding, WEIR_VERDICT_NO, "empty password");
    else if (methods[i].method == NULL)
        finding_set(finding, WEIR_VERDICT_TROUBLE, "pgweir-verify was built without %s",
                    question->method);
    else
        methods[i].judge(question, finding);
}

static bool write_all(int descriptor, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t taken = write(descriptor, bytes, length);
        if (taken < 0 && errno == EINTR)
            continue;
        if (taken < 0)
            return false;
        bytes += taken;
        length -= (size_t)taken;
    }
    return true;
}

static bool answer(int descriptor, const uint8_t *bytes, size_t length)
{
    struct weir_question question;
    struct finding finding = {.verdict = WEIR_VERDICT_TROUBLE};
    uint8_t message[WEIR_JUDGEMENT_MAX];
    if (!weir_question_read(bytes, length, &question)) {
        fputs("pgweir-verify: not a question; is the running pgweir another version?\n", stderr);
        return false;
    }
    serve_judge(&question, &finding);
    struct weir_judgement judgement = {
        .id = question.id, .verdict = finding.verdict, .text = finding.text};
    return write_all(descriptor, message, weir_judgement_write(&judgement, message));
}

/* Nothing of a password stays where it was read to. */
int serve(int descriptor)
{
    static uint8_t bytes[WEIR_QUESTION_MAX];
    size_t length = 0, size = 0;
    for (;;) {
        enum weir_frame frame = weir_frame_find(bytes, length, sizeof(bytes), &size);
        if (frame == WEIR_FRAME_BAD) {
            fputs("pgweir-verify: not a message\n", stderr);
            return 1;
        }
        if (frame == WEIR_FRAME_WHOLE) {
            bool good = answer(descriptor, bytes, size);
            memmove(bytes, bytes + size, length - size);
            weir_wipe(bytes + length - size, size);
            length -= size;
            if (!good)
                return 1;
            continue;
        }
        ssize_t got = read(descriptor, bytes + length, sizeof(bytes) - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            weir_wipe(bytes, length);
            return got == 0 ? 0 : 1;
        }
        length += (size_t)got;
    }
}
