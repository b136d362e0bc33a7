#include "support.h"

#include <errno.h>
#include <grp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct test_loop test;
static struct weir_list listeners;
static char *problem;
static char directory[64];
static const struct weir_listen_options options = {.backlog = 128, .unix_mode = 0770};

static int accepted[256];
static int accepted_count;
static int wanted;
static bool close_in_callback;
static struct weir_address last_peer;

static void take(void *context, int fd, const struct weir_address *peer)
{
    cr_assert_eq(context, &test);
    cr_assert_neq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    cr_assert_neq(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    last_peer = *peer;
    accepted[accepted_count++] = fd;
    if (close_in_callback)
        weir_listen_close_all(&listeners);
    if (accepted_count == wanted)
        weir_loop_stop(&test.loop);
}

static void open_loop(void)
{
    cr_assert(weir_loop_init(&test.loop));
    weir_list_init(&listeners);
    strcpy(directory, "/tmp/weir-listen-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
}

static void close_loop(void)
{
    weir_listen_close_all(&listeners);
    for (int i = 0; i < accepted_count; i++)
        close(accepted[i]);
    free(problem);
    weir_loop_fini(&test.loop);
    (void)rmdir(directory);
}

TestSuite(listen, .init = open_loop, .fini = close_loop, .timeout = 60);

static bool listen_tcp(const char *addresses, int port)
{
    return weir_listen_tcp(&test.loop, &listeners, addresses, port, &options, take, &test,
                           &problem);
}

static bool listen_unix(const char *where, int port, const struct weir_listen_options *how)
{
    return weir_listen_unix(&test.loop, &listeners, where, port, how, take, &test, &problem);
}

static size_t count_listeners(void)
{
    size_t count = 0;
    weir_list_for(link, &listeners)
        count++;
    return count;
}

static int connect_to(const struct weir_address *address)
{
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    if (connect(fd, &address->any, address->length) == 0)
        return fd;
    close(fd);
    return -1;
}

static struct weir_address address_of(struct weir_list *link)
{
    struct weir_address address;
    cr_assert(weir_listen_address(link, &address));
    return address;
}

static int port_of(const struct weir_address *address)
{
    return ntohs(((const struct sockaddr_in *)(const void *)&address->storage)->sin_port);
}

Test(listen, accepts_tcp_with_keepalive)
{
    cr_assert(listen_tcp("127.0.0.1", 0), "%s", problem);
    cr_assert_eq(count_listeners(), 1);
    struct weir_address address = address_of(weir_list_first(&listeners));
    int fd = connect_to(&address);
    cr_assert_geq(fd, 0);
    wanted = 1;
    cr_assert(test_loop_run(&test, 20));
    int value = 0;
    socklen_t size = sizeof value;
    cr_assert_eq(getsockopt(accepted[0], SOL_SOCKET, SO_KEEPALIVE, &value, &size), 0);
    cr_assert_eq(value, 1);
    struct weir_address own = {.length = sizeof own.storage};
    cr_assert_eq(getsockname(fd, &own.any, &own.length), 0);
    char seen[64];
    char expected[64];
    weir_address_print(&last_peer, seen, sizeof seen);
    weir_address_print(&own, expected, sizeof expected);
    cr_assert_str_eq(seen, expected);
    close(fd);
}

static bool has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)(void *)&address, sizeof address) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

Test(listen, several_addresses_and_both_families)
{
    cr_assert(listen_tcp(has_ipv6() ? " 127.0.0.1 ,[::1], 127.0.0.2" : " 127.0.0.1 , 127.0.0.2", 0),
              "%s", problem);
    cr_assert_eq(count_listeners(), has_ipv6() ? 3 : 2);
    int fds[3];
    int count = 0;
    weir_list_for(link, &listeners) {
        struct weir_address address = address_of(link);
        fds[count] = connect_to(&address);
        cr_assert_geq(fds[count], 0);
        count++;
    }
    wanted = count;
    cr_assert(test_loop_run(&test, 20));
    while (count > 0)
        close(fds[--count]);
}

/* One port, IPv4 and IPv6 by two sockets which do not get in each other's way. */
Test(listen, star_is_every_family)
{
    cr_assert(listen_tcp("*", 0), "%s", problem);
    int port = port_of(&(struct weir_address){0});
    weir_list_for(link, &listeners) {
        struct weir_address address = address_of(link);
        port = port_of(&address);
    }
    weir_listen_close_all(&listeners);
    cr_assert(listen_tcp("*", port), "%s", problem);
    cr_assert_eq(count_listeners(), has_ipv6() ? 2 : 1);
    weir_list_for(link, &listeners) {
        struct weir_address address = address_of(link);
        cr_assert_eq(port_of(&address), port);
    }
}

Test(listen, an_address_named_twice_is_opened_once)
{
    int port;
    close(test_refuse(&port));
    cr_assert(listen_tcp("127.0.0.1,127.0.0.1", port), "%s", problem);
    cr_assert_eq(count_listeners(), 1);
}

Test(listen, busy_port_is_named_and_nothing_stays_open)
{
    int port;
    int fd = test_listen(&port);
    char list[64];
    char expected[64];
    snprintf(list, sizeof list, "127.0.0.2,127.0.0.1");
    snprintf(expected, sizeof expected, "\"127.0.0.1:%d\"", port);
    cr_assert_not(listen_tcp(list, port));
    cr_assert_not_null(strstr(problem, expected), "%s", problem);
    cr_assert_not_null(strstr(problem, "in use"), "%s", problem);
    cr_assert(weir_list_is_empty(&listeners));
    struct sockaddr_in other = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    other.sin_addr.s_addr = htonl(0x7f000002);
    int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_neq(connect(probe, (struct sockaddr *)(void *)&other, sizeof other), 0);
    close(probe);
    close(fd);
}

Test(listen, bad_lists_are_refused)
{
    static const char *const bad[] = {
        "", "127.0.0.1,", ",127.0.0.1", " , ", "not an address", "300.1.1.1", "[::1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_not(listen_tcp(bad[i], 0), "%s", bad[i]);
        cr_assert_not_null(problem);
        free(problem);
        problem = NULL;
        cr_assert(weir_list_is_empty(&listeners));
    }
}

Test(listen, two_may_share_a_port_when_told_so)
{
    struct weir_listen_options shared = options;
    shared.so_reuseport = true;
    cr_assert(
        weir_listen_tcp(&test.loop, &listeners, "127.0.0.1", 0, &shared, take, &test, &problem));
    struct weir_address address = address_of(weir_list_first(&listeners));
    struct weir_list second;
    weir_list_init(&second);
    cr_assert(weir_listen_tcp(&test.loop, &second, "127.0.0.1", port_of(&address), &shared, take,
                              &test, &problem),
              "%s", problem);
    weir_listen_close_all(&second);
    cr_assert_not(weir_listen_tcp(&test.loop, &second, "127.0.0.1", port_of(&address), &options,
                                  take, &test, &problem));
}

/* A storm is taken in several turns. */
Test(listen, accepting_is_bounded_per_turn)
{
    cr_assert(listen_tcp("127.0.0.1", 0), "%s", problem);
    struct weir_address address = address_of(weir_list_first(&listeners));
    int fds[100];
    for (int i = 0; i < 100; i++) {
        fds[i] = connect_to(&address);
        cr_assert_geq(fds[i], 0);
    }
    test_loop_turn(&test);
    cr_assert_gt(accepted_count, 0);
    cr_assert_leq(accepted_count, 64);
    wanted = 100;
    cr_assert(test_loop_run(&test, 20));
    for (int i = 0; i < 100; i++)
        close(fds[i]);
}

Test(listen, closing_in_the_callback_ends_accepting)
{
    cr_assert(listen_tcp("127.0.0.1", 0), "%s", problem);
    struct weir_address address = address_of(weir_list_first(&listeners));
    int first = connect_to(&address);
    int second = connect_to(&address);
    close_in_callback = true;
    wanted = 1;
    cr_assert(test_loop_run(&test, 20));
    test_loop_turn(&test);
    cr_assert_eq(accepted_count, 1);
    close(first);
    close(second);
}

/* Without a descriptor to spare the queue is left alone for a moment, neither lost nor spun on. */
Test(listen, waits_while_descriptors_are_used_up)
{
    cr_assert(listen_tcp("127.0.0.1", 0), "%s", problem);
    struct weir_address address = address_of(weir_list_first(&listeners));
    int client = connect_to(&address);
    cr_assert_geq(client, 0);
    struct rlimit before;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    uint64_t turns = test.loop.turns;
    cr_assert_not(test_loop_run(&test, 0.1));
    cr_assert_leq(test.loop.turns - turns, 6, "the loop spins");
    cr_assert_eq(accepted_count, 0);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    wanted = 1;
    cr_assert(test_loop_run(&test, 20));
    close(client);
}

Test(listen, closed_while_waiting_for_descriptors)
{
    cr_assert(listen_tcp("127.0.0.1", 0), "%s", problem);
    struct weir_address address = address_of(weir_list_first(&listeners));
    int client = connect_to(&address);
    struct rlimit before;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    test_loop_turn(&test);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    weir_listen_close_all(&listeners);
    cr_assert_not(test_loop_run(&test, 0.3));
    cr_assert_eq(accepted_count, 0);
    close(client);
}

/* --- Unix sockets ---------------------------------------------------------------------- */

static char *socket_path(int port)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/.s.PGSQL.%d", directory, port);
    return path;
}

/* Called by each test at its end: what fails in a .fini function is not counted. */
static void assert_no_files(void)
{
    weir_listen_close_all(&listeners);
    cr_assert_eq(rmdir(directory), 0, "files are left behind");
}

Test(listen, unix_socket_with_mode_and_without_traces)
{
    cr_assert(listen_unix(directory, 6432, &options), "%s", problem);
    struct stat status;
    cr_assert_eq(stat(socket_path(6432), &status), 0);
    cr_assert_eq(status.st_mode & 07777, 0770);
    struct weir_address address = address_of(weir_list_first(&listeners));
    int fd = connect_to(&address);
    cr_assert_geq(fd, 0);
    wanted = 1;
    cr_assert(test_loop_run(&test, 20));
    cr_assert_eq(last_peer.any.sa_family, AF_UNIX);
    close(fd);
    weir_listen_close_all(&listeners);
    cr_assert_neq(stat(socket_path(6432), &status), 0);
    assert_no_files();
}

Test(listen, unix_group)
{
    struct weir_listen_options grouped = options;
    const struct group *own = getgrgid(getgid());
    if (own == NULL)
        cr_skip_test("this group has no name");
    char *name = strdup(own->gr_name);
    grouped.unix_group = name;
    cr_assert(listen_unix(directory, 6432, &grouped), "%s", problem);
    struct stat status;
    cr_assert_eq(stat(socket_path(6432), &status), 0);
    cr_assert_eq(status.st_gid, getgid());
    weir_listen_close_all(&listeners);
    grouped.unix_group = "no-such-group-here";
    cr_assert_not(listen_unix(directory, 6432, &grouped));
    cr_assert_not_null(strstr(problem, "no-such-group-here"), "%s", problem);
    free(name);
    assert_no_files();
}

Test(listen, stale_unix_socket_is_replaced)
{
    struct sockaddr_un stale = {.sun_family = AF_UNIX};
    strcpy(stale.sun_path, socket_path(6432));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)(void *)&stale, sizeof stale), 0);
    cr_assert_eq(listen(fd, 1), 0);
    close(fd);
    cr_assert(listen_unix(directory, 6432, &options), "%s", problem);
    assert_no_files();
}

/* Somebody who knows nothing of our lock file. */
Test(listen, living_unix_socket_is_left_alone)
{
    struct sockaddr_un living = {.sun_family = AF_UNIX};
    strcpy(living.sun_path, socket_path(6432));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)(void *)&living, sizeof living), 0);
    cr_assert_eq(listen(fd, 0), 0);
    /* Also when its queue is full, which looks different. */
    for (int round = 0; round < 4; round++) {
        cr_assert_not(listen_unix(directory, 6432, &options));
        cr_assert_not_null(strstr(problem, socket_path(6432)), "%s", problem);
        cr_assert_not_null(strstr(problem, "another process"), "%s", problem);
        free(problem);
        problem = NULL;
    }
    close(fd);
    cr_assert_eq(unlink(socket_path(6432)), 0);
    assert_no_files();
}

Test(listen, the_lock_holds_even_when_the_socket_file_is_gone)
{
    cr_assert(listen_unix(directory, 6432, &options), "%s", problem);
    cr_assert_eq(unlink(socket_path(6432)), 0);
    cr_assert_not(listen_unix(directory, 6432, &options));
    cr_assert_not_null(strstr(problem, "another process"), "%s", problem);
    assert_no_files();
}

Test(listen, a_plain_file_in_the_way_is_not_removed)
{
    int fd = open(socket_path(6432), O_CREAT | O_WRONLY, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
    cr_assert_not(listen_unix(directory, 6432, &options));
    cr_assert_eq(unlink(socket_path(6432)), 0);
    assert_no_files();
}

Test(listen, missing_or_long_directory)
{
    cr_assert_not(listen_unix("/tmp/weir-no-such-directory", 6432, &options));
    cr_assert_not_null(strstr(problem, "/tmp/weir-no-such-directory"), "%s", problem);
    free(problem);
    problem = NULL;
    char long_name[300];
    memset(long_name, 'd', sizeof long_name - 1);
    long_name[0] = '/';
    long_name[sizeof long_name - 1] = '\0';
    cr_assert_not(listen_unix(long_name, 6432, &options));
    cr_assert_not_null(strstr(problem, "too long"), "%s", problem);
}

Test(listen, abstract_socket)
{
    char name[64];
    snprintf(name, sizeof name, "@weir-listen-%d", (int)getpid());
    cr_assert(listen_unix(name, 6432, &options), "%s", problem);
    struct weir_address address = address_of(weir_list_first(&listeners));
    int fd = connect_to(&address);
    cr_assert_geq(fd, 0);
    wanted = 1;
    cr_assert(test_loop_run(&test, 20));
    close(fd);
    cr_assert_not(listen_unix(name, 6432, &options));
    cr_assert_not_null(strstr(problem, name), "%s", problem);
    assert_no_files();
}

Test(listen, inherited_socket)
{
    int port;
    int fd = test_listen(&port);
    cr_assert(weir_listen_inherited(&test.loop, &listeners, fd, take, &test));
    struct weir_address address = address_of(weir_list_first(&listeners));
    cr_assert_eq(port_of(&address), port);
    int client = connect_to(&address);
    wanted = 1;
    cr_assert(test_loop_run(&test, 20));
    close(client);
    int deaf = test_refuse(&port);
    cr_assert_not(weir_listen_inherited(&test.loop, &listeners, deaf, take, &test));
    close(deaf);
}
