#include "support.h"

#include <errno.h>
#include <netinet/tcp.h>

static struct test_loop test;
static struct weir_dial_result got;
static char problem[4096];
static int calls;
static bool starting; /* inside weir_dial_start */

static void take(void *context, const struct weir_dial_result *result)
{
    cr_assert_eq(context, &test);
    cr_assert_not(starting, "called back from inside the call");
    calls++;
    got = *result;
    snprintf(problem, sizeof problem, "%s", result->problem == NULL ? "" : result->problem);
    weir_loop_stop(&test.loop);
}

static void open_loop(void)
{
    cr_assert(weir_loop_init(&test.loop));
    got.fd = -1;
}

static void close_loop(void)
{
    if (got.fd >= 0)
        close(got.fd);
    weir_loop_fini(&test.loop);
}

TestSuite(dial, .init = open_loop, .fini = close_loop, .timeout = 60);

static struct weir_dial *dial(const struct weir_dial_host *hosts, size_t count, size_t first)
{
    starting = true;
    struct weir_dial *started = weir_dial_start(&test.loop, hosts, count, first, take, &test);
    starting = false;
    return started;
}

static bool dial_and_wait(const struct weir_dial_host *hosts, size_t count, size_t first)
{
    cr_assert_not_null(dial(hosts, count, first));
    cr_assert(test_loop_run(&test, 30), "no answer");
    test_loop_turn(&test);
    cr_assert_eq(calls, 1);
    return got.fd >= 0;
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof value;
    cr_assert_eq(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

Test(dial, numeric_address)
{
    int port;
    int listening = test_listen(&port);
    struct weir_dial_host host = {"127.0.0.1", port};
    cr_assert(dial_and_wait(&host, 1, 0), "%s", problem);
    cr_assert_eq(got.host_index, 0);
    cr_assert_null(got.problem);
    cr_assert_neq(fcntl(got.fd, F_GETFL) & O_NONBLOCK, 0);
    cr_assert_neq(fcntl(got.fd, F_GETFD) & FD_CLOEXEC, 0);
    cr_assert_neq(option(got.fd, IPPROTO_TCP, TCP_NODELAY), 0);
    cr_assert_neq(option(got.fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    char text[64];
    char expected[64];
    weir_address_print(&got.address, text, sizeof text);
    snprintf(expected, sizeof expected, "127.0.0.1:%d", port);
    cr_assert_str_eq(text, expected);
    int accepted = accept(listening, NULL, NULL);
    cr_assert_geq(accepted, 0);
    cr_assert_eq(write(accepted, "x", 1), 1);
    close(accepted);
    close(listening);
}

Test(dial, name_from_the_hosts_file)
{
    int port;
    int listening = test_listen(&port);
    struct weir_dial_host host = {"localhost", port};
    cr_assert(dial_and_wait(&host, 1, 0), "%s", problem);
    cr_assert_eq(got.address.any.sa_family, AF_INET);
    close(listening);
}

Test(dial, second_host_takes_over)
{
    int refused_port;
    int port;
    int refusing = test_refuse(&refused_port);
    int listening = test_listen(&port);
    struct weir_dial_host hosts[3] = {
        {"127.0.0.1", refused_port}, {"localhost", refused_port}, {"127.0.0.1", port}};
    cr_assert(dial_and_wait(hosts, 3, 0), "%s", problem);
    cr_assert_eq(got.host_index, 2);
    close(refusing);
    close(listening);
}

Test(dial, begins_at_first_and_wraps_round)
{
    int refused_port;
    int port;
    int refusing = test_refuse(&refused_port);
    int listening = test_listen(&port);
    struct weir_dial_host hosts[3] = {
        {"127.0.0.1", port}, {"127.0.0.1", port}, {"127.0.0.1", refused_port}};
    cr_assert(dial_and_wait(hosts, 3, 2), "%s", problem);
    cr_assert_eq(got.host_index, 0);
    close(got.fd);
    calls = 0;
    cr_assert(dial_and_wait(hosts, 3, 1), "%s", problem);
    cr_assert_eq(got.host_index, 1);
    close(refusing);
    close(listening);
}

Test(dial, every_attempt_is_told)
{
    int port;
    int refusing = test_refuse(&port);
    char long_path[200];
    memset(long_path, 'd', sizeof long_path - 1);
    long_path[0] = '/';
    long_path[sizeof long_path - 1] = '\0';
    struct weir_dial_host hosts[4] = {{"127.0.0.1", port},
                                      {"localhost", port},
                                      {"/tmp/weir-no-such-directory", 1},
                                      {long_path, 1}};
    cr_assert_not(dial_and_wait(hosts, 4, 0));
    char expected[128];
    snprintf(expected, sizeof expected, "127.0.0.1:%d: Connection refused; ", port);
    cr_assert_eq(strncmp(problem, expected, strlen(expected)), 0, "%s", problem);
    snprintf(expected, sizeof expected, "localhost (127.0.0.1:%d): Connection refused", port);
    cr_assert_not_null(strstr(problem, expected), "%s", problem);
    cr_assert_not_null(strstr(problem, "unix:/tmp/weir-no-such-directory/.s.PGSQL.1: No such file"),
                       "%s", problem);
    cr_assert_not_null(strstr(problem, "path is too long"), "%s", problem);
    close(refusing);
}

Test(dial, problem_text_is_bounded)
{
    int port;
    int refusing = test_refuse(&port);
    struct weir_dial_host hosts[100];
    for (int i = 0; i < 100; i++)
        hosts[i] = (struct weir_dial_host){"127.0.0.1", port};
    cr_assert_not(dial_and_wait(hosts, 100, 50));
    cr_assert_lt(strlen(problem), 2000);
    cr_assert_gt(strlen(problem), 500);
    close(refusing);
}

Test(dial, no_host_at_all)
{
    cr_assert_not(dial_and_wait(NULL, 0, 0));
    cr_assert_gt(strlen(problem), 0);
}

Test(dial, unknown_name_fails_and_the_next_host_is_tried)
{
    int port;
    int listening = test_listen(&port);
    struct weir_dial_host hosts[2] = {{"nosuchhost.invalid", port}, {"127.0.0.1", port}};
    cr_assert(dial_and_wait(hosts, 2, 0), "%s", problem);
    cr_assert_eq(got.host_index, 1);
    close(got.fd);
    calls = 0;
    cr_assert_not(dial_and_wait(hosts, 1, 0));
    cr_assert_eq(strncmp(problem, "nosuchhost.invalid: ", 20), 0, "%s", problem);
    close(listening);
}

static int listen_unix(const char *directory, int port, int backlog)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int n = snprintf(address.sun_path, sizeof address.sun_path, "%s/.s.PGSQL.%d", directory, port);
    size_t length = offsetof(struct sockaddr_un, sun_path) + (size_t)n;
    if (*directory == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)(void *)&address, (socklen_t)length), 0);
    cr_assert_eq(listen(fd, backlog), 0);
    return fd;
}

Test(dial, unix_sockets)
{
    char directory[] = "/tmp/weir-dial-XXXXXX";
    cr_assert_not_null(mkdtemp(directory));
    int listening = listen_unix(directory, 5432, 5);
    struct weir_dial_host host = {directory, 5432};
    cr_assert(dial_and_wait(&host, 1, 0), "%s", problem);
    cr_assert_eq(got.address.any.sa_family, AF_UNIX);
    close(got.fd);
    close(listening);
    char path[128];
    snprintf(path, sizeof path, "%s/.s.PGSQL.5432", directory);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(directory), 0);

    char name[64];
    snprintf(name, sizeof name, "@weir-dial-%d", (int)getpid());
    listening = listen_unix(name, 1, 5);
    calls = 0;
    host = (struct weir_dial_host){name, 1};
    cr_assert(dial_and_wait(&host, 1, 0), "%s", problem);
    close(listening);
}

struct accepting {
    ev_timer timer;
    int listening;
    int fds[4];
    int count;
};

static void accept_all(struct ev_loop *ev, ev_timer *timer, int revents)
{
    struct accepting *accepting = weir_container_of(timer, struct accepting, timer);
    while (accepting->count < 4) {
        int fd = accept4(accepting->listening, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0)
            break;
        accepting->fds[accepting->count++] = fd;
    }
}

/* A Unix server whose queue is full cannot be waited for by the kernel; it is asked again. */
Test(dial, busy_unix_server_is_asked_again)
{
    char name[64];
    snprintf(name, sizeof name, "@weir-busy-%d", (int)getpid());
    struct accepting accepting = {.listening = listen_unix(name, 1, 0)};
    cr_assert_eq(fcntl(accepting.listening, F_SETFL, O_NONBLOCK), 0);
    struct weir_dial_host host = {name, 1};
    cr_assert(dial_and_wait(&host, 1, 0), "%s", problem);
    int first = got.fd;
    ev_timer_init(&accepting.timer, accept_all, 0.1, 0.);
    ev_now_update(test.loop.ev);
    ev_timer_start(test.loop.ev, &accepting.timer);
    calls = 0;
    cr_assert(dial_and_wait(&host, 1, 0), "%s", problem);
    cr_assert_gt(accepting.count, 0, "the queue was not full");
    close(got.fd);
    got.fd = -1;
    close(first);
    while (accepting.count > 0)
        close(accepting.fds[--accepting.count]);
    close(accepting.listening);
}

/* Nobody takes from the queue: the dial ends by itself and says why. */
Test(dial, busy_unix_server_is_given_up)
{
    char name[64];
    snprintf(name, sizeof name, "@weir-full-%d", (int)getpid());
    int listening = listen_unix(name, 1, 0);
    struct weir_dial_host host = {name, 1};
    cr_assert(dial_and_wait(&host, 1, 0), "%s", problem);
    int first = got.fd;
    calls = 0;
    cr_assert_not(dial_and_wait(&host, 1, 0));
    cr_assert_not_null(strstr(problem, strerror(EAGAIN)), "%s", problem);
    close(first);
    close(listening);
}

Test(dial, exact_address)
{
    int port;
    int listening = test_listen(&port);
    struct weir_address address = {.length = sizeof(struct sockaddr_in)};
    cr_assert_eq(getsockname(listening, &address.any, &address.length), 0);
    cr_assert_not_null(weir_dial_address(&test.loop, &address, take, &test));
    cr_assert(test_loop_run(&test, 20));
    cr_assert_geq(got.fd, 0);
    close(got.fd);
    close(listening);
    cr_assert_not_null(weir_dial_address(&test.loop, &address, take, &test));
    cr_assert(test_loop_run(&test, 20));
    cr_assert_eq(got.fd, -1);
    cr_assert_not_null(strstr(problem, "Connection refused"), "%s", problem);
    cr_assert_eq(calls, 2);
}

/* After any number of turns, nothing is called back and nothing is leaked. */
Test(dial, cancel_at_every_moment)
{
    int port;
    int refused_port;
    int listening = test_listen(&port);
    int refusing = test_refuse(&refused_port);
    char busy_name[64];
    snprintf(busy_name, sizeof busy_name, "@weir-cancel-%d", (int)getpid());
    int busy = listen_unix(busy_name, 1, 0);
    struct weir_dial_host full = {busy_name, 1};
    cr_assert(dial_and_wait(&full, 1, 0), "%s", problem);
    struct weir_dial_host hosts[4] = {{"localhost", refused_port},
                                      {"nosuchhost.invalid", 1},
                                      {busy_name, 1},
                                      {"127.0.0.1", port}};
    weir_dial_cancel(NULL);
    for (size_t first = 0; first < 4; first++) {
        for (int turns = 0; turns < 6; turns++) {
            calls = 0;
            struct weir_dial *started = dial(hosts, first == 3 ? 4 : first + 1, first);
            for (int i = 0; i < turns && calls == 0; i++)
                test_loop_turn(&test);
            if (calls == 0)
                weir_dial_cancel(started);
            else if (got.fd >= 0)
                close(got.fd);
            calls = 0;
            /* Longer than a busy server is left alone. */
            cr_assert_not(test_loop_run(&test, 0.03));
            cr_assert_eq(calls, 0);
        }
    }
    got.fd = -1;
    close(busy);
    close(listening);
    close(refusing);
}

static int remaining;

static void count_down(void *context, const struct weir_dial_result *result)
{
    cr_assert_geq(result->fd, 0, "%s", result->problem);
    close(result->fd);
    if (--remaining == 0)
        weir_loop_stop(&test.loop);
}

Test(dial, many_at_once)
{
    int port;
    int listening = test_listen(&port);
    cr_assert_eq(listen(listening, 200), 0);
    struct weir_dial_host host = {"localhost", port};
    remaining = 100;
    for (int i = 0; i < 100; i++)
        weir_dial_start(&test.loop, &host, 1, 0, count_down, NULL);
    cr_assert(test_loop_run(&test, 30));
    close(listening);
}
