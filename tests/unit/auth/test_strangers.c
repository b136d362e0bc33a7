/* How often an address may connect, and how long failed proofs make it wait. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>

#include "weir/strangers.h"

static struct weir_strangers *strangers;
static const weir_usec start = 1000 * WEIR_SEC;

static void create(void)
{
    strangers = weir_strangers_create();
}

static void destroy(void)
{
    weir_strangers_destroy(strangers);
}

TestSuite(strangers, .init = create, .fini = destroy, .timeout = 60);

static struct weir_stranger at(const char *text)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(5)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(6)};
    struct weir_stranger stranger;
    if (inet_pton(AF_INET, text, &four.sin_addr) == 1) {
        weir_stranger_from_address(&stranger, (const struct sockaddr *)(const void *)&four);
    } else {
        cr_assert_eq(inet_pton(AF_INET6, text, &six.sin6_addr), 1, "%s", text);
        weir_stranger_from_address(&stranger, (const struct sockaddr *)(const void *)&six);
    }
    return stranger;
}

static void limit_rate(int rate, int burst)
{
    const struct weir_strangers_limits limits = {.rate = rate, .burst = burst};
    weir_strangers_limit(strangers, &limits);
}

static void limit_delay(weir_usec delay, weir_usec most)
{
    const struct weir_strangers_limits limits = {.delay = delay, .delay_most = most};
    weir_strangers_limit(strangers, &limits);
}

static bool comes_in(const char *address, weir_usec now)
{
    struct weir_stranger who = at(address);
    uint64_t refused;
    return weir_strangers_connect(strangers, &who, now, &refused) == WEIR_STRANGER_WELCOME;
}

static int count_in(const char *address, weir_usec now, int tries)
{
    int in = 0;
    for (int i = 0; i < tries; i++)
        in += comes_in(address, now);
    return in;
}

/* How long the answer to a failure is held. */
static weir_usec fail(const char *address, const char *user, weir_usec now)
{
    struct weir_stranger who = at(address);
    return weir_strangers_failed(strangers, &who, user, now) - now;
}

/* How long a proof that wants to begin is held. */
static weir_usec waits(const char *address, const char *user, weir_usec now)
{
    struct weir_stranger who = at(address);
    weir_usec until = weir_strangers_wait(strangers, &who, user);
    return until > now ? until - now : 0;
}

/* --- connections ----------------------------------------------------------------------- */

Test(strangers, no_limit_is_no_limit)
{
    cr_assert_eq(count_in("192.0.2.1", start, 10000), 10000);
}

Test(strangers, burst_then_rate)
{
    limit_rate(10, 5);
    cr_assert_eq(count_in("192.0.2.1", start, 20), 5);
    /* Ten a second from there on, at whatever instants they come. */
    int in = 0;
    for (weir_usec passed = WEIR_MSEC; passed <= 10 * WEIR_SEC; passed += WEIR_MSEC)
        in += comes_in("192.0.2.1", start + passed);
    cr_assert_eq(in, 100);
    /* Rest gives the whole burst back, and no more than that. */
    cr_assert_eq(count_in("192.0.2.1", start + 3600 * WEIR_SEC, 20), 5);
}

Test(strangers, a_burst_of_one_and_the_highest_rate)
{
    limit_rate(1, 1);
    cr_assert_eq(count_in("192.0.2.1", start, 3), 1);
    cr_assert_eq(count_in("192.0.2.1", start + WEIR_SEC - 1, 3), 0);
    cr_assert_eq(count_in("192.0.2.1", start + WEIR_SEC, 3), 1);
    limit_rate(1000000, 1);
    cr_assert_eq(count_in("192.0.2.2", start, 3), 1);
    cr_assert_eq(count_in("192.0.2.2", start + 1, 3), 1);
}

Test(strangers, addresses_do_not_share_but_networks_of_ipv6_do)
{
    limit_rate(1, 2);
    cr_assert_eq(count_in("192.0.2.1", start, 5), 2);
    cr_assert_eq(count_in("192.0.2.2", start, 5), 2);
    cr_assert_eq(count_in("::ffff:192.0.2.1", start, 5), 0, "IPv4 inside IPv6 is the same");
    cr_assert_eq(count_in("::ffff:192.0.2.3", start, 5), 2);
    cr_assert_eq(count_in("2001:db8:1:2::1", start, 5), 2);
    cr_assert_eq(count_in("2001:db8:1:2:ffff:ffff:ffff:ffff", start, 5), 0);
    cr_assert_eq(count_in("2001:db8:1:3::1", start, 5), 2);
}

Test(strangers, one_line_in_the_log_for_many_refused)
{
    limit_rate(1, 1);
    struct weir_stranger who = at("192.0.2.1");
    int told = 0;
    uint64_t refused = 0, sum = 0;
    for (weir_usec passed = 0; passed < 25 * WEIR_SEC; passed += 10 * WEIR_MSEC) {
        if (weir_strangers_connect(strangers, &who, start + passed, &refused) ==
            WEIR_STRANGER_REFUSED_AND_TELL) {
            told++;
            sum += refused;
        }
    }
    cr_assert_eq(told, 3);
    /* Those since the last line are told with the next one. */
    cr_assert_gt(sum, 1900);
    cr_assert_lt(sum, 2475);
}

/* --- failures -------------------------------------------------------------------------- */

Test(strangers, first_failures_are_free_then_it_doubles_to_the_most)
{
    static const weir_usec expected[] = {0, 0, 0, 500, 1000, 2000, 4000, 5000, 5000, 5000};
    limit_delay(500 * WEIR_MSEC, 5 * WEIR_SEC);
    weir_usec now = start;
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        weir_usec delay = fail("192.0.2.1", "alice", now);
        cr_assert_eq(delay, expected[i] * WEIR_MSEC, "failure %zu: %lld", i, (long long)delay);
        /* Who hangs up rather than wait for the answer waits with the next try. */
        cr_assert_eq(waits("192.0.2.1", "alice", now), delay);
        now += delay;
        cr_assert_eq(waits("192.0.2.1", "alice", now), 0);
    }
}

Test(strangers, several_at_once_gain_nothing)
{
    limit_delay(500 * WEIR_MSEC, 5 * WEIR_SEC);
    for (int i = 0; i < 50; i++)
        (void)fail("192.0.2.1", "alice", start);
    cr_assert_eq(waits("192.0.2.1", "alice", start), 5 * WEIR_SEC);
    /* A later failure never opens earlier. */
    cr_assert_eq(fail("192.0.2.1", "alice", start + WEIR_MSEC), 5 * WEIR_SEC);
}

Test(strangers, nobody_is_locked_out_from_elsewhere)
{
    limit_delay(500 * WEIR_MSEC, 5 * WEIR_SEC);
    for (int i = 0; i < 90; i++)
        (void)fail("192.0.2.1", "alice", start);
    cr_assert_gt(waits("192.0.2.1", "alice", start), 0);
    cr_assert_eq(waits("192.0.2.2", "alice", start), 0);
    cr_assert_eq(fail("192.0.2.2", "alice", start), 0);
    cr_assert_eq(waits("192.0.2.1", "bob", start), 0, "nor another user, by a few failures");
}

Test(strangers, users_of_any_name_wait_after_very_many_failures_of_their_address)
{
    limit_delay(500 * WEIR_MSEC, 5 * WEIR_SEC);
    char name[32];
    for (int i = 0; i < WEIR_FREE_ADDRESS_FAILURES; i++) {
        snprintf(name, sizeof(name), "user%d", i);
        cr_assert_eq(fail("192.0.2.1", name, start), 0, "%d", i);
    }
    cr_assert_eq(fail("192.0.2.1", "other", start), 500 * WEIR_MSEC);
    cr_assert_eq(waits("192.0.2.1", "one more", start), 500 * WEIR_MSEC);
    cr_assert_eq(waits("192.0.2.2", "one more", start), 0);
}

Test(strangers, failures_are_forgotten_one_by_one)
{
    limit_delay(500 * WEIR_MSEC, 5 * WEIR_SEC);
    weir_usec now = start;
    for (int i = 0; i < 5; i++)
        (void)fail("192.0.2.1", "alice", now);
    now += 2 * WEIR_FAILURE_FORGOTTEN;
    cr_assert_eq(fail("192.0.2.1", "alice", now), 500 * WEIR_MSEC, "three are left");
    /* However long it went on, the way back is no longer than the doubling. */
    for (int i = 0; i < 10000; i++)
        (void)fail("192.0.2.1", "alice", now);
    now += 8 * WEIR_FAILURE_FORGOTTEN;
    cr_assert_eq(fail("192.0.2.1", "alice", now), 0);
    /* One wrong password a minute never costs anything. */
    for (int i = 0; i < 1000; i++) {
        now += 60 * WEIR_SEC;
        cr_assert_eq(fail("192.0.2.3", "cron", now), 0);
    }
}

Test(strangers, switched_off)
{
    limit_delay(0, 5 * WEIR_SEC);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(fail("192.0.2.1", "alice", start), 0);
    cr_assert_eq(waits("192.0.2.1", "alice", start), 0);
}

Test(strangers, a_delay_above_the_most_is_the_most)
{
    limit_delay(10 * WEIR_SEC, 2 * WEIR_SEC);
    for (int i = 0; i < WEIR_FREE_FAILURES; i++)
        cr_assert_eq(fail("192.0.2.1", "alice", start), 0);
    cr_assert_eq(fail("192.0.2.1", "alice", start), 2 * WEIR_SEC);
}

Test(strangers, users_of_unix_sockets_are_told_apart_by_their_system_user)
{
    limit_delay(500 * WEIR_MSEC, 5 * WEIR_SEC);
    struct weir_stranger one, other;
    weir_stranger_from_user(&one, 1000);
    weir_stranger_from_user(&other, 1001);
    for (int i = 0; i < 10; i++)
        (void)weir_strangers_failed(strangers, &one, "alice", start);
    cr_assert_gt(weir_strangers_wait(strangers, &one, "alice"), start);
    cr_assert_leq(weir_strangers_wait(strangers, &other, "alice"), start);
}

/* --- bounded --------------------------------------------------------------------------- */

/* A flood of addresses takes no memory, refuses no newcomer, and an address that goes on is not
 * forgotten as long as others are older. */
Test(strangers, a_flood_of_addresses)
{
    limit_rate(1, 1);
    char address[64];
    int in = 0;
    for (unsigned i = 0; i < 200000; i++) {
        snprintf(address, sizeof(address), "2001:db8:%x:%x::1", i >> 16, i & 0xffff);
        in += comes_in(address, start + i);
        if (i % 100 == 0)
            (void)comes_in("192.0.2.1", start + i);
    }
    cr_assert_eq(in, 200000);
    cr_assert_not(comes_in("192.0.2.1", start + 200000));
}
