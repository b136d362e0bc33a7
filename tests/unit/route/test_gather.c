#include "gather.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static struct weir_loop loop;
static struct weir_stream stream;
static struct gather gather;
static int peer;

static void ignore(struct weir_stream *changed, unsigned events)
{
    (void)changed;
    (void)events;
}

static void create(void)
{
    int ends[2];
    cr_assert(weir_loop_init(&loop));
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    peer = ends[1];
    cr_assert_eq(fcntl(peer, F_SETFL, O_NONBLOCK), 0);
    weir_stream_open(&stream, &loop, ends[0], 1, ignore);
    gather_begin(&gather, &stream);
}

static void destroy(void)
{
    weir_stream_close(&stream);
    if (peer >= 0)
        close(peer);
    weir_loop_fini(&loop);
}

TestSuite(gather, .init = create, .fini = destroy, .timeout = 60);

static uint8_t received[1 << 20];

static size_t receive(void)
{
    size_t have = 0;
    for (;;) {
        ssize_t got = recv(peer, received + have, sizeof received - have, MSG_DONTWAIT);
        if (got <= 0) {
            ev_run(loop.ev, EVRUN_NOWAIT);
            got = recv(peer, received + have, sizeof received - have, MSG_DONTWAIT);
            if (got <= 0)
                return have;
        }
        have += (size_t)got;
    }
}

Test(gather, nothing_gathered_sends_nothing)
{
    cr_assert(gather_flush(&gather));
    gather_pass(&gather, (const uint8_t *)"", 0);
    cr_assert_eq(gather.count, 0);
    cr_assert(gather_flush(&gather));
    cr_assert_eq(receive(), 0);
}

Test(gather, neighbours_become_one_piece)
{
    static const uint8_t text[] = "abcdefgh";
    gather_pass(&gather, text, 3);
    gather_pass(&gather, text + 3, 2);
    cr_assert_eq(gather.count, 1);
    gather_pass(&gather, text + 6, 2);
    cr_assert_eq(gather.count, 2);
    cr_assert_eq(receive(), 0);
    cr_assert(gather_flush(&gather));
    cr_assert_eq(gather.count, 0);
    cr_assert_eq(receive(), 7);
    cr_assert_eq(memcmp(received, "abcdegh", 7), 0);
}

Test(gather, passed_and_made_up_bytes_keep_their_order)
{
    static const uint8_t input[] = "11223344";
    gather_pass(&gather, input, 2);
    memcpy(gather_room(&gather, 10), "made", 4);
    gather_commit(&gather, 4);
    gather_pass(&gather, input + 2, 2);
    gather_copy(&gather, "copied", 6);
    gather_copy(&gather, "!", 1);
    gather_pass(&gather, input + 4, 4);
    cr_assert(gather_flush(&gather));
    size_t length = receive();
    cr_assert_eq(length, 19);
    cr_assert_eq(memcmp(received, "11made22copied!3344", 19), 0);
}

/* More pieces than fit, and more made-up bytes than there is space: it is sent in between, whole
 * and in order. */
Test(gather, any_number_of_pieces)
{
    static uint8_t input[4096], expected[1 << 20];
    size_t length = 0;
    for (size_t i = 0; i < sizeof input; i++)
        input[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t i = 0; i < 500; i++) {
        uint8_t made[80];
        memset(made, (int)i, sizeof made);
        size_t at = i * 8, made_length = 1 + i % sizeof made;
        gather_pass(&gather, input + at, 5);
        memcpy(expected + length, input + at, 5);
        length += 5;
        gather_copy(&gather, made, made_length);
        memcpy(expected + length, made, made_length);
        length += made_length;
    }
    cr_assert(gather_flush(&gather));
    cr_assert_eq(receive(), length);
    cr_assert_eq(memcmp(received, expected, length), 0);
}

Test(gather, copies_of_any_length)
{
    static const size_t lengths[] = {
        0, 1, GATHER_SPACE - 1, GATHER_SPACE, GATHER_SPACE + 1, 5 * GATHER_SPACE + 17};
    static uint8_t text[6 * GATHER_SPACE];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 31 + i / 251);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        gather_begin(&gather, &stream);
        gather_copy(&gather, "<", 1);
        gather_copy(&gather, text, lengths[i]);
        gather_copy(&gather, ">", 1);
        cr_assert(gather_flush(&gather));
        cr_assert_eq(receive(), lengths[i] + 2);
        cr_assert_eq(received[0], '<');
        cr_assert_eq(memcmp(received + 1, text, lengths[i]), 0);
        cr_assert_eq(received[lengths[i] + 1], '>');
    }
}

Test(gather, without_a_stream_everything_is_dropped)
{
    gather_begin(&gather, NULL);
    for (int i = 0; i < 1000; i++)
        gather_copy(&gather, "nobody hears this", 17);
    cr_assert(gather_flush(&gather));
    cr_assert_eq(receive(), 0);
}

Test(gather, failure_sticks_until_the_next_begin)
{
    close(peer);
    peer = -1;
    gather_copy(&gather, "lost", 4);
    cr_assert_not(gather_flush(&gather));
    gather_copy(&gather, "lost, too", 9);
    cr_assert_not(gather_flush(&gather));
    cr_assert_eq(gather.count, 0);
    gather_begin(&gather, NULL);
    cr_assert(gather_flush(&gather));
}

Test(gather, more_room_than_there_is_space, .signal = SIGABRT)
{
    gather_room(&gather, GATHER_SPACE + 1);
}
