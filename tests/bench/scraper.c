/* Scrapes as Prometheus does, only more often: scraper PORT RATE asks for /metrics so many times a
 * second over one connection that is kept, and takes OpenMetrics and gzip. It reads each answer to its
 * end and unpacks none: that work is of another machine, whose processors the traffic does not share.
 * Ends with its input, and prints how many answers it got, how many seconds that took and how many
 * bytes an answer had. */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "endpoint.h"

/* The whole answer, or as much as one recv takes of a large one. */
#define ROOM   (1024 * 1024)
#define SECOND ((int64_t)1000000000)

/* The headers of Prometheus 2.42, which Debian 12 has. */
static const char request[] =
    "GET /metrics HTTP/1.1\r\n"
    "Host: 127.0.0.1\r\n"
    "User-Agent: Prometheus/2.42.0+ds\r\n"
    "Accept: application/openmetrics-text;version=1.0.0,"
    "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n"
    "Accept-Encoding: gzip\r\n"
    "X-Prometheus-Scrape-Timeout-Seconds: 10\r\n"
    "\r\n";

static int64_t now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

/* False when the input has ended meanwhile. */
static bool wait_until(int64_t when)
{
    int64_t pause = when - now();
    if (pause < 0)
        pause = 0;
    struct timespec timeout = {.tv_sec = pause / SECOND, .tv_nsec = pause % SECOND};
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return ppoll(&input, 1, &timeout, NULL) == 0;
}

static size_t receive(int fd, char *room, size_t size)
{
    ssize_t got = recv(fd, room, size, 0);
    if (got < 0)
        err(1, "recv");
    if (got == 0)
        errx(1, "the connection was closed");
    return (size_t)got;
}

/* The header's number; everything up to the body must be in `room`, with a zero byte behind it. */
static size_t body_length(const char *room)
{
    static const char name[] = "\r\nContent-Length: ";
    const char *found = strcasestr(room, name);
    if (found == NULL)
        errx(1, "no length: %.200s", room);
    return strtoul(found + strlen(name), NULL, 10);
}

/* Returns the length of the body. */
static size_t read_answer(int fd, char *room)
{
    size_t got = 0;
    const char *body = NULL;
    while (body == NULL && got < ROOM - 1) {
        got += receive(fd, room + got, ROOM - 1 - got);
        room[got] = '\0';
        body = memmem(room, got, "\r\n\r\n", 4);
    }
    if (body == NULL || strncmp(room, "HTTP/1.1 200 ", 13) != 0)
        errx(1, "not an answer: %.200s", room);
    size_t length = body_length(room);
    size_t whole = (size_t)(body + 4 - room) + length;
    while (got < whole)
        got += receive(fd, room, whole - got < ROOM ? whole - got : ROOM);
    if (got > whole)
        errx(1, "more than was asked for");
    return length;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        errx(2, "usage: scraper PORT RATE");
    struct bench_endpoint endpoint = {
        .host = "127.0.0.1", .port = (int)bench_argument_number("port", argv[1], 1, UINT16_MAX)};
    int64_t rate = (int64_t)bench_argument_number("rate", argv[2], 1, 1000000);
    char *room = bench_allocate(ROOM);
    int fd = bench_endpoint_connect(&endpoint);
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) < 0)
        err(1, "fcntl");
    int64_t began = now();
    int64_t answers = 0;
    size_t bytes = 0;
    while (wait_until(began + answers * SECOND / rate)) {
        if (send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request))
            err(1, "send");
        bytes += read_answer(fd, room);
        answers++;
    }
    printf("%" PRId64 " %.6f %zu\n", answers, (double)(now() - began) / SECOND,
           answers > 0 ? bytes / (size_t)answers : 0);
    (void)close(fd);
    free(room);
    return 0;
}
