/* What the tests of this room share: a loop that is run until something has happened. */
#ifndef WEIR_TEST_NET_SUPPORT_H
#define WEIR_TEST_NET_SUPPORT_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/net.h"

struct test_loop {
    struct weir_loop loop;
    ev_timer deadline;
    bool late;
};

static inline void test_loop_on_deadline(struct ev_loop *ev, ev_timer *timer, int revents)
{
    struct test_loop *test = weir_container_of(timer, struct test_loop, deadline);
    test->late = true;
    weir_loop_stop(&test->loop);
}

/* Runs until somebody stops the loop; false when that takes longer than `seconds`. */
static inline bool test_loop_run(struct test_loop *test, double seconds)
{
    test->late = false;
    ev_now_update(test->loop.ev);
    ev_timer_init(&test->deadline, test_loop_on_deadline, seconds, 0.);
    ev_timer_start(test->loop.ev, &test->deadline);
    weir_loop_run(&test->loop);
    ev_timer_stop(test->loop.ev, &test->deadline);
    return !test->late;
}

/* One turn without sleeping. */
static inline void test_loop_turn(struct test_loop *test)
{
    ev_run(test->loop.ev, EVRUN_NOWAIT);
}

/* A listening socket on a free port of 127.0.0.1. */
static inline int test_listen(int *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    cr_assert_eq(bind(fd, (struct sockaddr *)(void *)&address, length), 0);
    cr_assert_eq(listen(fd, 16), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)(void *)&address, &length), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* A port of 127.0.0.1 that refuses: bound, so that nobody else gets it, and not listening. */
static inline int test_refuse(int *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    cr_assert_eq(bind(fd, (struct sockaddr *)(void *)&address, length), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)(void *)&address, &length), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

#endif
