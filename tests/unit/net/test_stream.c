#include "support.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

static struct test_loop test;
static struct weir_stream stream;
static int peer;
static unsigned seen; /* all events since last cleared */
static int calls;

static void record(struct weir_stream *changed, unsigned events)
{
    cr_assert_eq(changed, &stream);
    seen |= events;
    calls++;
}

static void open_streams(void)
{
    test = (struct test_loop){0};
    cr_assert(weir_loop_init(&test.loop));
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    peer = ends[1];
    cr_assert_eq(fcntl(peer, F_SETFL, O_NONBLOCK), 0);
    seen = 0;
    calls = 0;
    weir_stream_open(&stream, &test.loop, ends[0], 1, record);
}

static void close_streams(void)
{
    weir_stream_close(&stream);
    weir_stream_close(&stream);
    cr_assert_not(weir_stream_is_open(&stream));
    if (peer >= 0)
        close(peer);
    weir_loop_fini(&test.loop);
}

TestSuite(stream, .init = open_streams, .fini = close_streams, .timeout = 60);

static unsigned turn(void)
{
    seen = 0;
    calls = 0;
    test_loop_turn(&test);
    return seen;
}

static bool is_in_scratch(const uint8_t *bytes)
{
    return bytes >= test.loop.scratch && bytes < test.loop.scratch + test.loop.scratch_size;
}

static void fill(uint8_t *bytes, size_t length, unsigned seed)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)((i * 131 + i / 251 + seed) & 0xff);
}

/* Reads `length` bytes at the peer while the loop runs. */
static void drain_peer(uint8_t *into, size_t length)
{
    size_t have = 0;
    for (int idle = 0; have < length && idle < 1000;) {
        ssize_t got = recv(peer, into + have, length - have, MSG_DONTWAIT);
        if (got > 0)
            have += (size_t)got;
        else
            idle++;
        test_loop_turn(&test);
    }
    cr_assert_eq(have, length);
}

Test(stream, quiet_stream_reports_nothing_and_waits)
{
    uint8_t *bytes;
    size_t length;
    cr_assert(weir_stream_is_open(&stream));
    cr_assert_neq(fcntl(stream.io.fd, F_GETFL) & O_NONBLOCK, 0);
    cr_assert_eq(turn(), 0);
    cr_assert_eq(weir_stream_receive(&stream, &bytes, &length), WEIR_IO_WAIT);
    weir_stream_unread(&stream, &bytes, &length);
    cr_assert_eq(length, 0);
}

Test(stream, bytes_arrive_in_the_scratch_buffer_and_leave_no_memory)
{
    uint8_t *bytes;
    size_t length;
    cr_assert_eq(write(peer, "hello", 5), 5);
    cr_assert_eq(turn(), WEIR_STREAM_READABLE);
    cr_assert_eq(calls, 1);
    /* Level triggered: it is said again until it is read. */
    cr_assert_eq(turn(), WEIR_STREAM_READABLE);
    cr_assert_eq(weir_stream_receive(&stream, &bytes, &length), WEIR_IO_OK);
    cr_assert(is_in_scratch(bytes));
    cr_assert_eq(length, 5);
    cr_assert_eq(memcmp(bytes, "hello", 5), 0);
    cr_assert(weir_stream_keep(&stream, bytes + 5, 0));
    cr_assert_null(stream.in.data);
    cr_assert_eq(turn(), 0);
}

/* A message of every length is cut at every byte and taken only when whole. */
Test(stream, every_cut_is_put_together)
{
    uint8_t message[48];
    fill(message, sizeof message, 3);
    for (size_t cut = 1; cut < sizeof message; cut++) {
        uint8_t *bytes;
        size_t length;
        cr_assert_eq(write(peer, message, cut), (ssize_t)cut);
        cr_assert_eq(weir_stream_receive(&stream, &bytes, &length), WEIR_IO_OK);
        cr_assert_eq(length, cut);
        /* All but the first byte is kept. */
        cr_assert(weir_stream_keep(&stream, bytes + 1, cut - 1));
        weir_stream_unread(&stream, &bytes, &length);
        cr_assert_eq(length, cut - 1);
        cr_assert(length == 0 || memcmp(bytes, message + 1, length) == 0);
        cr_assert_eq(weir_stream_receive(&stream, &bytes, &length), WEIR_IO_WAIT);
        cr_assert_eq(write(peer, message + cut, sizeof message - cut),
                     (ssize_t)(sizeof message - cut));
        cr_assert_eq(weir_stream_receive(&stream, &bytes, &length), WEIR_IO_OK);
        cr_assert(is_in_scratch(bytes));
        cr_assert_eq(length, sizeof message - 1);
        cr_assert_eq(memcmp(bytes, message + 1, length), 0);
        cr_assert(weir_stream_keep(&stream, bytes, 0));
        cr_assert_null(stream.in.data);
    }
}

Test(stream, one_byte_at_a_time_keeping_all)
{
    uint8_t message[300];
    fill(message, sizeof message, 9);
    uint8_t *bytes;
    size_t length;
    for (size_t i = 0; i < sizeof message; i++) {
        cr_assert_eq(write(peer, message + i, 1), 1);
        cr_assert_eq(weir_stream_receive(&stream, &bytes, &length), WEIR_IO_OK);
        cr_assert_eq(length, i + 1);
        cr_assert_eq(memcmp(bytes, message, length), 0);
        cr_assert(weir_stream_keep(&stream, bytes, length));
    }
    /* Looking again without a recv; consuming from the front. */
    weir_stream_unread(&stream, &bytes, &length);
    cr_assert_eq(length, sizeof message);
    cr_assert(weir_stream_keep(&stream, bytes + 100, length - 100));
    weir_stream_unread(&stream, &bytes, &length);
    cr_assert_eq(length, sizeof message - 100);
    cr_assert_eq(memcmp(bytes, message + 100, length), 0);
    cr_assert(weir_stream_keep(&stream, NULL, 0));
    cr_assert_null(stream.in.data);
}

/* Leftovers too large for the scratch buffer grow in the stream's own buffer. */
Test(stream, large_leftovers_are_received_behind)
{
    size_t total = test.loop.scratch_size + 12345;
    uint8_t *message = malloc(total);
    cr_assert_not_null(message);
    fill(message, total, 5);
    size_t written = 0;
    size_t have = 0;
    uint8_t *bytes;
    size_t length;
    bool own = false;
    while (have < total) {
        if (written < total) {
            ssize_t n = write(peer, message + written, total - written);
            if (n > 0)
                written += (size_t)n;
        }
        cr_assert_eq(weir_stream_receive(&stream, &bytes, &length), WEIR_IO_OK);
        cr_assert_gt(length, have);
        have = length;
        own = own || !is_in_scratch(bytes);
        cr_assert_eq(memcmp(bytes, message, length), 0);
        cr_assert(weir_stream_keep(&stream, bytes, length));
    }
    cr_assert(own);
    /* In place: only the start moves. */
    weir_stream_unread(&stream, &bytes, &length);
    const uint8_t *data = stream.in.data;
    cr_assert(weir_stream_keep(&stream, bytes + total - 10, 10));
    cr_assert_eq(stream.in.data, data);
    /* Small again: through the scratch buffer, and the large memory is let go. */
    cr_assert_eq(write(peer, "x", 1), 1);
    cr_assert_eq(weir_stream_receive(&stream, &bytes, &length), WEIR_IO_OK);
    cr_assert(is_in_scratch(bytes));
    cr_assert_eq(length, 11);
    cr_assert_eq(memcmp(bytes, message + total - 10, 10), 0);
    cr_assert_eq(bytes[10], 'x');
    cr_assert(weir_stream_keep(&stream, bytes + 1, 10));
    cr_assert_lt(stream.in.capacity, 1024);
    cr_assert(weir_stream_keep(&stream, NULL, 0));
    free(message);
}

Test(stream, end_of_file_comes_after_the_bytes)
{
    uint8_t *bytes;
    size_t length;
    cr_assert_eq(write(peer, "bye", 3), 3);
    close(peer);
    peer = -1;
    cr_assert_eq(turn() & WEIR_STREAM_READABLE, WEIR_STREAM_READABLE);
    cr_assert_eq(weir_stream_receive(&stream, &bytes, &length), WEIR_IO_OK);
    cr_assert_eq(length, 3);
    cr_assert(weir_stream_keep(&stream, bytes + 1, 2));
    cr_assert_eq(weir_stream_receive(&stream, &bytes, &length), WEIR_IO_EOF);
    cr_assert_eq(weir_stream_receive(&stream, &bytes, &length), WEIR_IO_EOF);
    /* What was kept is still there for a last look. */
    weir_stream_unread(&stream, &bytes, &length);
    cr_assert_eq(length, 2);
    cr_assert_eq(memcmp(bytes, "ye", 2), 0);
}

Test(stream, pieces_go_out_in_order)
{
    char text[] = "abcdefg";
    struct iovec pieces[4] = {{text, 2}, {NULL, 0}, {text + 2, 1}, {text + 3, 4}};
    char got[16];
    cr_assert(weir_stream_send(&stream, pieces, 4));
    cr_assert(weir_stream_send(&stream, pieces, 1));
    cr_assert(weir_stream_send(&stream, pieces, 0));
    cr_assert(weir_stream_send_bytes(&stream, "!", 1));
    cr_assert(weir_stream_send_bytes(&stream, NULL, 0));
    cr_assert_eq(weir_stream_unsent(&stream), 0);
    cr_assert_null(stream.out.data);
    cr_assert_eq(recv(peer, got, sizeof got, 0), 10);
    cr_assert_eq(memcmp(got, "abcdefgab!", 10), 0);
    cr_assert_eq(turn(), 0);
}

/* More pieces than one system call takes. */
Test(stream, very_many_pieces)
{
    enum { COUNT = 3000 };
    static struct iovec pieces[COUNT];
    static uint8_t bytes[COUNT];
    static uint8_t got[COUNT];
    fill(bytes, sizeof bytes, 1);
    for (int i = 0; i < COUNT; i++)
        pieces[i] = (struct iovec){bytes + i, 1};
    cr_assert(weir_stream_send(&stream, pieces, COUNT));
    drain_peer(got, COUNT);
    cr_assert_eq(memcmp(bytes, got, COUNT), 0);
}

Test(stream, stuck_output_is_kept_and_drained)
{
    int small = 4096;
    cr_assert_eq(setsockopt(stream.io.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    enum { TOTAL = 600000 };
    static uint8_t bytes[TOTAL];
    static uint8_t got[TOTAL];
    fill(bytes, TOTAL, 2);
    /* Three sends: one that gets stuck in the middle of a piece, two that queue behind it. */
    struct iovec pieces[2] = {{bytes, 1000}, {bytes + 1000, 299000}};
    cr_assert(weir_stream_send(&stream, pieces, 2));
    size_t stuck = weir_stream_unsent(&stream);
    cr_assert_gt(stuck, 0);
    cr_assert_lt(stuck, 300000);
    cr_assert(weir_stream_send_bytes(&stream, bytes + 300000, 100000));
    cr_assert_eq(weir_stream_unsent(&stream), stuck + 100000);
    pieces[0] = (struct iovec){bytes + 400000, 50000};
    pieces[1] = (struct iovec){bytes + 450000, 150000};
    cr_assert(weir_stream_send(&stream, pieces, 2));
    cr_assert_eq(weir_stream_unsent(&stream), stuck + 300000);
    cr_assert_eq(turn(), 0, "nothing is reported while the peer does not read");
    seen = 0;
    calls = 0;
    drain_peer(got, TOTAL);
    cr_assert_eq(memcmp(bytes, got, TOTAL), 0);
    cr_assert_eq(seen, WEIR_STREAM_DRAINED);
    cr_assert_eq(calls, 1, "drained is said once");
    cr_assert_null(stream.out.data);
    cr_assert_eq(stream.io.events & EV_WRITE, 0);
    /* And reading works as before. */
    cr_assert_eq(write(peer, "x", 1), 1);
    cr_assert_eq(turn(), WEIR_STREAM_READABLE);
}

Test(stream, failure_while_draining_is_reported_once_from_the_loop)
{
    static uint8_t bytes[4 << 20];
    cr_assert(weir_stream_send_bytes(&stream, bytes, sizeof bytes));
    cr_assert_gt(weir_stream_unsent(&stream), 0);
    close(peer);
    peer = -1;
    cr_assert_eq(calls, 0);
    cr_assert_eq(turn() & WEIR_STREAM_FAILED, WEIR_STREAM_FAILED);
    cr_assert_eq(turn() & WEIR_STREAM_FAILED, 0);
    cr_assert_eq(weir_stream_unsent(&stream), 0);
    cr_assert_not(weir_stream_send_bytes(&stream, "x", 1));
    uint8_t *in;
    size_t length;
    cr_assert_eq(weir_stream_receive(&stream, &in, &length), WEIR_IO_DEAD);
    cr_assert_neq(stream.error, 0);
}

/* A server that says why it goes is heard even when a write failed first. */
Test(stream, last_words_are_read_after_a_failed_write)
{
    cr_assert_eq(write(peer, "why", 3), 3);
    close(peer);
    peer = -1;
    char text[] = "ab";
    struct iovec pieces[2] = {{text, 1}, {text + 1, 1}};
    cr_assert_not(weir_stream_send(&stream, pieces, 2));
    cr_assert_eq(calls, 0, "send never calls back");
    cr_assert_eq(stream.error, EPIPE);
    uint8_t *bytes;
    size_t length;
    cr_assert_neq(turn() & WEIR_STREAM_READABLE, 0);
    cr_assert_eq(weir_stream_receive(&stream, &bytes, &length), WEIR_IO_OK);
    cr_assert_eq(length, 3);
    cr_assert(weir_stream_keep(&stream, NULL, 0));
    cr_assert_eq(weir_stream_receive(&stream, &bytes, &length), WEIR_IO_DEAD);
    cr_assert_eq(stream.error, EPIPE);
    cr_assert_not(weir_stream_send(&stream, pieces, 2));
}

Test(stream, pause_holds_events_back_until_resume)
{
    weir_stream_pause(&stream);
    weir_stream_pause(&stream);
    cr_assert_eq(write(peer, "abc", 3), 3);
    cr_assert_eq(turn(), 0);
    cr_assert_eq(turn(), 0);
    weir_stream_resume(&stream);
    cr_assert_eq(turn(), WEIR_STREAM_READABLE);
    /* Paused and resumed within one turn changes nothing. */
    weir_stream_pause(&stream);
    weir_stream_resume(&stream);
    cr_assert_eq(turn(), WEIR_STREAM_READABLE);
}

Test(stream, paused_stream_still_drains)
{
    static uint8_t bytes[1 << 20];
    static uint8_t got[sizeof bytes];
    fill(bytes, sizeof bytes, 8);
    weir_stream_pause(&stream);
    cr_assert(weir_stream_send_bytes(&stream, bytes, sizeof bytes));
    cr_assert_eq(write(peer, "abc", 3), 3);
    seen = 0;
    drain_peer(got, sizeof got);
    cr_assert_eq(memcmp(bytes, got, sizeof got), 0);
    cr_assert_eq(seen, WEIR_STREAM_DRAINED);
    cr_assert_eq(turn(), 0);
    weir_stream_resume(&stream);
    cr_assert_eq(turn(), WEIR_STREAM_READABLE);
}

Test(stream, pause_while_output_is_stuck)
{
    static uint8_t bytes[1 << 20];
    static uint8_t got[sizeof bytes];
    cr_assert(weir_stream_send_bytes(&stream, bytes, sizeof bytes));
    cr_assert_gt(weir_stream_unsent(&stream), 0);
    cr_assert_eq(write(peer, "abc", 3), 3);
    cr_assert_eq(turn(), WEIR_STREAM_READABLE);
    weir_stream_pause(&stream);
    cr_assert_eq(turn(), 0);
    weir_stream_resume(&stream);
    seen = 0;
    drain_peer(got, sizeof got);
    cr_assert_eq(seen, WEIR_STREAM_READABLE | WEIR_STREAM_DRAINED);
}

static void close_in_event(struct weir_stream *changed, unsigned events)
{
    calls++;
    weir_stream_close(changed);
    free(changed);
}

Test(stream, may_be_closed_and_freed_in_its_event)
{
    struct weir_stream *other = malloc(sizeof *other);
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    weir_stream_open(other, &test.loop, ends[0], 0, close_in_event);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    turn();
    cr_assert_eq(calls, 1);
    turn();
    cr_assert_eq(calls, 0);
    close(ends[1]);
}

Test(stream, tcp_reset_is_an_error_after_the_fact)
{
    int port;
    int listening = test_listen(&port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert_eq(connect(fd, (struct sockaddr *)(void *)&address, sizeof address), 0);
    int accepted = accept(listening, NULL, NULL);
    cr_assert_geq(accepted, 0);
    weir_stream_close(&stream);
    weir_stream_open(&stream, &test.loop, accepted, 0, record);
    int value = 0;
    socklen_t size = sizeof value;
    cr_assert_eq(getsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
    cr_assert_neq(value, 0);
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    close(fd);
    uint8_t *bytes;
    size_t length;
    for (int i = 0; i < 100 && turn() == 0; i++)
        usleep(1000);
    cr_assert_neq(seen & WEIR_STREAM_READABLE, 0);
    cr_assert_eq(weir_stream_receive(&stream, &bytes, &length), WEIR_IO_DEAD);
    cr_assert_eq(stream.error, ECONNRESET);
    cr_assert_not(weir_stream_send_bytes(&stream, "x", 1));
    close(listening);
}
