#include "weir/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

static char directory[] = "/tmp/weir_log_XXXXXX";
static char path[64];
static char text[65536];

static void setup(void)
{
    cr_assert_not_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/log", directory);
}

static void teardown(void)
{
    unlink(path);
    rmdir(directory);
}

TestSuite(log, .init = setup, .fini = teardown);

static void open_log(enum weir_log_level level, enum weir_log_format format)
{
    struct weir_log_target target = {.level = level, .format = format, .file = path};
    cr_assert(weir_log_open(&target));
}

static const char *read_log(void)
{
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    size_t length = fread(text, 1, sizeof(text) - 1, file);
    text[length] = '\0';
    fclose(file);
    return text;
}

static int count_lines(const char *lines)
{
    int count = 0;
    for (; *lines != '\0'; lines++)
        count += *lines == '\n';
    return count;
}

Test(log, text_line)
{
    struct weir_log_who who = {"client", 7, "shop", "al ice", "127.0.0.1:5555"};
    char pid[32];
    open_log(WEIR_LOG_INFO, WEIR_LOG_TEXT);
    weir_log_info(&who, "login", "user \"%s\" is in", "alice");
    snprintf(pid, sizeof(pid), " UTC [%ld] INFO ", (long)getpid());
    const char *line = read_log();
    int at = -1;
    int fields[7];
    cr_assert_eq(sscanf(line, "%4d-%2d-%2d %2d:%2d:%2d.%3d%n", &fields[0], &fields[1], &fields[2],
                        &fields[3], &fields[4], &fields[5], &fields[6], &at),
                 7);
    cr_assert_eq(at, 23);
    cr_assert_eq(strncmp(line + 23, pid, strlen(pid)), 0, "%s", line);
    cr_assert_str_eq(line + 23 + strlen(pid),
                     "login client=7 database=shop user=\"al ice\" peer=127.0.0.1:5555: "
                     "user \"alice\" is in\n");
}

Test(log, json_line)
{
    struct weir_log_who who = {"server", 9, "a\"b", "x\ny", NULL};
    char expected[256];
    open_log(WEIR_LOG_INFO, WEIR_LOG_JSON);
    weir_log_error(&who, "close", "tab\there \xff");
    snprintf(expected, sizeof(expected),
             "Z\",\"level\":\"error\",\"pid\":%ld,\"event\":\"close\",\"kind\":\"server\",\"id\":9,"
             "\"database\":\"a\\\"b\",\"user\":\"x\\ny\",\"message\":\"tab\\there \\ufffd\"}\n",
             (long)getpid());
    const char *line = read_log();
    cr_assert_eq(strncmp(line, "{\"time\":\"20", 11), 0);
    cr_assert_not_null(strchr(line, 'Z'));
    cr_assert_str_eq(strchr(line, 'Z'), expected);
}

Test(log, no_line_can_be_forged)
{
    const char *evil = "x\n2026-01-01 00:00:00.000 UTC [1] ERROR forged: yes";
    struct weir_log_who who = {"client", 1, evil, evil, evil};
    open_log(WEIR_LOG_INFO, WEIR_LOG_TEXT);
    weir_log_info(&who, evil, "%s", evil);
    cr_assert_eq(count_lines(read_log()), 1);
    open_log(WEIR_LOG_INFO, WEIR_LOG_JSON);
    weir_log_info(&who, evil, "%s", evil);
    cr_assert_eq(count_lines(read_log()), 2);
}

Test(log, level_filters_and_arguments_stay_unevaluated)
{
    int evaluated = 0;
    open_log(WEIR_LOG_WARNING, WEIR_LOG_TEXT);
    weir_log_info(NULL, "x", "%d", ++evaluated);
    weir_log_write(WEIR_LOG_INFO, NULL, "x", "direct");
    cr_assert_eq(evaluated, 0);
    weir_log_warning(NULL, "x", "%d", ++evaluated);
    cr_assert_eq(evaluated, 1);
    cr_assert_eq(count_lines(read_log()), 1);
}

Test(log, reopens_after_rotation)
{
    char old[80];
    snprintf(old, sizeof(old), "%s.1", path);
    open_log(WEIR_LOG_INFO, WEIR_LOG_TEXT);
    weir_log_info(NULL, "x", "one");
    cr_assert_eq(rename(path, old), 0);
    weir_log_info(NULL, "x", "two");
    open_log(WEIR_LOG_INFO, WEIR_LOG_TEXT);
    weir_log_info(NULL, "x", "three");
    cr_assert_eq(count_lines(read_log()), 1);
    cr_assert_not_null(strstr(text, "x: three"));
    unlink(old);
}

Test(log, failed_open_keeps_the_old_target)
{
    open_log(WEIR_LOG_INFO, WEIR_LOG_TEXT);
    struct weir_log_target bad = {.level = WEIR_LOG_ERROR, .file = "/nonexistent/dir/log"};
    errno = 0;
    cr_assert_not(weir_log_open(&bad));
    cr_assert_eq(errno, ENOENT);
    weir_log_info(NULL, "x", "still here");
    cr_assert_not_null(strstr(read_log(), "still here"));
}

Test(log, repeated_warnings_are_counted)
{
    open_log(WEIR_LOG_INFO, WEIR_LOG_TEXT);
    for (int i = 0; i < 300; i++)
        weir_log_warning(NULL, "x", "again %d", i);
    for (int i = 0; i < 300; i++)
        weir_log_info(NULL, "y", "event %d", i);
    int lines = count_lines(read_log());
    cr_assert_geq(lines, 350);
    cr_assert_leq(lines, 352 + 50);
    usleep(1100 * 1000);
    weir_log_info(NULL, "z", "later");
    cr_assert_not_null(strstr(read_log(), "more lines like \"again %d\" were left out"));
}

Test(log, long_message_is_whole)
{
    static char message[20001];
    memset(message, 'm', sizeof(message) - 1);
    open_log(WEIR_LOG_INFO, WEIR_LOG_TEXT);
    weir_log_info(NULL, "x", "%s", message);
    const char *line = read_log();
    cr_assert_not_null(strstr(line, message));
    cr_assert_eq(count_lines(line), 1);
}

Test(log, errno_survives)
{
    open_log(WEIR_LOG_INFO, WEIR_LOG_TEXT);
    errno = EPIPE;
    weir_log_info(NULL, "x", "y");
    cr_assert_eq(errno, EPIPE);
}

/* --- syslog ---------------------------------------------------------------------------- */

/* In place of the C library's. */
static const char *opened_ident;
static int opened_facility;
static int opened, closed;

void openlog(const char *ident, int option, int facility)
{
    opened++;
    opened_ident = ident;
    opened_facility = facility;
}

void closelog(void)
{
    closed++;
}

static void open_syslog(const char *ident, int facility, int opens, int closes)
{
    char copy[200] = "";
    struct weir_log_target target = {.to_syslog = true, .syslog_facility = facility};
    if (ident != NULL) {
        snprintf(copy, sizeof(copy), "%s", ident);
        target.syslog_ident = copy;
    }
    cr_assert(weir_log_open(&target));
    memset(copy, '#', sizeof(copy)); /* the name must not be borrowed */
    cr_expect_eq(opened, opens);
    cr_expect_eq(closed, closes);
}

Test(log, syslog_is_opened_under_the_name_and_facility_that_are_set)
{
    struct weir_log_target none = {.to_stderr = false};
    open_syslog("shop-pool", LOG_LOCAL3, 1, 0);
    cr_expect_str_eq(opened_ident, "shop-pool");
    cr_expect_eq(opened_facility, LOG_LOCAL3);
    open_syslog("shop-pool", LOG_LOCAL3, 1, 0); /* a reload that changes nothing */
    open_syslog("other", LOG_LOCAL3, 2, 1);
    cr_expect_str_eq(opened_ident, "other");
    open_syslog("other", LOG_AUTH, 3, 2);
    cr_expect_eq(opened_facility, LOG_AUTH);
    open_syslog(NULL, 0, 4, 3);
    cr_expect_str_eq(opened_ident, "pgweir");
    cr_expect_eq(opened_facility, LOG_DAEMON);
    char longest[150];
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = 0;
    open_syslog(longest, 0, 5, 4);
    cr_expect_eq(strlen(opened_ident), 63);
    cr_assert(weir_log_open(&none));
    cr_expect_eq(closed, 5);
}
