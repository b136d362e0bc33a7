/* A worker that does what the name of the user says. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/memory.h"
#include "weir/question.h"

static uint8_t bytes[WEIR_QUESTION_MAX];

static void say(const void *message, size_t length)
{
    if (write(STDIN_FILENO, message, length) != (ssize_t)length)
        exit(4);
}

static void answer(uint64_t id, enum weir_verdict verdict, const char *text, size_t piece)
{
    uint8_t message[WEIR_JUDGEMENT_MAX];
    struct weir_judgement judgement = {id, verdict, text};
    size_t length = weir_judgement_write(&judgement, message);
    for (size_t at = 0; at < length; at += piece) {
        say(message + at, length - at < piece ? length - at : piece);
        if (piece < length)
            usleep(500);
    }
}

static void act(const struct weir_question *question)
{
    const char *user = question->user;
    enum weir_verdict verdict =
        strcmp(question->password, "right") == 0 ? WEIR_VERDICT_YES : WEIR_VERDICT_NO;
    if (strcmp(user, "hang") == 0)
        pause();
    if (strcmp(user, "die") == 0)
        raise(SIGKILL);
    if (strcmp(user, "exit") == 0)
        exit(3);
    if (strcmp(user, "deaf") == 0) {
        close(STDIN_FILENO);
        pause();
    }
    if (strcmp(user, "nonsense") == 0)
        say("\xff\xff\xff\xff\xff", 5);
    else if (strcmp(user, "other") == 0)
        answer(question->id + 1, verdict, "", sizeof(bytes));
    else if (strcmp(user, "trouble") == 0)
        answer(question->id, WEIR_VERDICT_TROUBLE, "no server", sizeof(bytes));
    else if (strcmp(user, "environment") == 0)
        answer(question->id, verdict, getenv("NOTIFY_SOCKET") != NULL ? "leaks" : "clean",
               sizeof(bytes));
    else if (strcmp(user, "pid") == 0) {
        char text[32];
        snprintf(text, sizeof(text), "%d", getpid());
        answer(question->id, verdict, text, sizeof(bytes));
    } else {
        if (strcmp(user, "late") == 0)
            usleep(300000);
        answer(question->id, verdict, question->peer, strcmp(user, "slowly") == 0 ? 1 : 4096);
    }
    if (strcmp(user, "twice") == 0)
        answer(question->id, verdict, "", sizeof(bytes));
}

int main(void)
{
    size_t length = 0, size = 0;
    for (;;) {
        while (weir_frame_find(bytes, length, sizeof(bytes), &size) == WEIR_FRAME_WHOLE) {
            struct weir_question question;
            if (!weir_question_read(bytes, size, &question))
                return 5;
            act(&question);
            memmove(bytes, bytes + size, length - size);
            length -= size;
        }
        ssize_t got = read(STDIN_FILENO, bytes + length, sizeof(bytes) - length);
        if (got <= 0)
            return got == 0 ? 0 : 6;
        length += (size_t)got;
    }
}
