/* The loop of pgweir-verify, in a process of its own. No method is asked: what PAM and LDAP do is for the
 * integration tests. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "room.h"

static int peer = -1;
static pid_t child;

static void setup(void)
{
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        close(ends[0]);
        _exit(serve(ends[1]));
    }
    close(ends[1]);
    peer = ends[0];
}

/* What it ended with, when the socket is closed. */
static int finish(void)
{
    int status = 0;
    close(peer);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

TestSuite(serve, .init = setup, .timeout = 30);

static uint8_t *write_question(uint64_t id, const char *password, size_t *length)
{
    struct weir_question question = {
        .id = id, .method = "magic", .user = "alice", .password = password, .peer = ""};
    uint8_t *bytes = weir_question_write(&question, length);
    cr_assert_not_null(bytes);
    return bytes;
}

static void read_judgement(uint64_t id, enum weir_verdict verdict, const char *text)
{
    uint8_t bytes[WEIR_JUDGEMENT_MAX];
    size_t length = 0, size = 0;
    struct weir_judgement judgement;
    while (weir_frame_find(bytes, length, sizeof(bytes), &size) == WEIR_FRAME_PART) {
        ssize_t got = read(peer, bytes + length, length < 4 ? 4 - length : size - length);
        cr_assert_gt(got, 0);
        length += (size_t)got;
    }
    cr_assert(weir_judgement_read(bytes, length, &judgement));
    cr_expect_eq(judgement.id, id);
    cr_expect_eq(judgement.verdict, verdict);
    cr_expect_str_eq(judgement.text, text);
}

static void send_all(const uint8_t *bytes, size_t length)
{
    cr_assert_eq(write(peer, bytes, length), (ssize_t)length);
}

Test(serve, answers)
{
    size_t length;
    uint8_t *bytes = write_question(1, "x", &length);
    send_all(bytes, length);
    free(bytes);
    read_judgement(1, WEIR_VERDICT_TROUBLE, "pgweir-verify was built without magic");
    bytes = write_question(2, "", &length);
    send_all(bytes, length);
    free(bytes);
    read_judgement(2, WEIR_VERDICT_NO, "empty password");
    cr_expect_eq(finish(), 0);
}

Test(serve, several_at_once_and_cut_at_every_byte)
{
    size_t length;
    uint8_t *bytes = write_question(3, "x", &length);
    uint8_t *three = malloc(3 * length);
    for (int i = 0; i < 3; i++)
        memcpy(three + (size_t)i * length, bytes, length);
    send_all(three, 3 * length);
    for (int i = 0; i < 3; i++)
        read_judgement(3, WEIR_VERDICT_TROUBLE, "pgweir-verify was built without magic");
    for (size_t cut = 1; cut < length; cut++) {
        send_all(bytes, cut);
        usleep(300);
        send_all(bytes + cut, length - cut);
        read_judgement(3, WEIR_VERDICT_TROUBLE, "pgweir-verify was built without magic");
    }
    free(three);
    free(bytes);
    cr_expect_eq(finish(), 0);
}

/* The daemon went in the middle of a question. */
Test(serve, half_a_question)
{
    size_t length;
    uint8_t *bytes = write_question(4, "x", &length);
    send_all(bytes, length / 2);
    free(bytes);
    cr_expect_eq(finish(), 0);
}

Test(serve, not_a_message)
{
    send_all((const uint8_t *)"\xff\xff\xff\xff", 4);
    cr_expect_eq(finish(), 1);
}

Test(serve, another_version)
{
    size_t length;
    uint8_t *bytes = write_question(5, "x", &length);
    bytes[4] = 99;
    send_all(bytes, length);
    free(bytes);
    cr_expect_eq(finish(), 1);
}
