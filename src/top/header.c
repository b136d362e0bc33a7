#include "header.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text.h"

static void put_safe(const char *text, bool utf8, FILE *out)
{
    char *safe = text_safe(text, utf8);
    fputs(safe, out);
    free(safe);
}

static void put_clock(weir_usec ago, FILE *out)
{
    time_t then = time(NULL) - (time_t)(ago / WEIR_SEC);
    struct tm parts;
    char text[32];
    localtime_r(&then, &parts);
    strftime(text, sizeof(text), "%H:%M:%S", &parts);
    fputs(text, out);
}

static const char *state_value(const struct console *console, const char *key)
{
    return grid_pair(console->now[ASK_STATE], "key", key, "value");
}

static void put_state(const struct console *console, FILE *out)
{
    static const char *const words[] = {"draining", "suspended", "paused"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        const char *value = state_value(console, words[i]);
        if (value != NULL && strcmp(value, "yes") == 0)
            fprintf(out, "  %s", words[i]);
    }
}

void header_print_daemon(const struct console *console, bool utf8, FILE *out)
{
    const struct options *options = console->options;
    const char *version = grid_get(console->now[ASK_VERSION], 0, "version");
    const char *uptime = state_value(console, "uptime_seconds");
    char text[SHORT_MAX];
    put_safe(version != NULL ? version : "pgweir", utf8, out);
    fputs("  at ", out);
    put_safe(options->host != NULL ? options->host : getenv("PGHOSTADDR"), utf8, out);
    fputc(' ', out);
    put_safe(options->port, utf8, out);
    if (uptime != NULL) {
        double seconds = strtod(uptime, NULL);
        if (seconds < 60) /* it is told in whole ones */
            snprintf(text, sizeof(text), "%.0fs", seconds);
        else
            format_duration(text, seconds * 1e6);
        fprintf(out, "  up %s", text);
    }
    put_state(console, out);
    fputs("  ", out);
    put_clock(0, out);
}

static double list_item(const struct console *console, const char *name)
{
    const char *text = grid_pair(console->now[ASK_LISTS], "list", name, "items");
    return text != NULL ? strtod(text, NULL) : NAN;
}

static void put_count(const char *name, double count, FILE *out)
{
    if (isnan(count))
        fprintf(out, "%s -", name);
    else
        fprintf(out, "%s %.0f", name, count);
}

/* Of all databases together. */
static void put_rate(const struct console *console, const char *total, const char *average,
                     const char *unit, FILE *out)
{
    const struct grid *now = console->now[ASK_STATS];
    const struct grid *before = console->before[ASK_STATS];
    char text[SHORT_MAX] = "-";
    double rate = NAN;
    if (now != NULL && before != NULL)
        rate = rate_between(grid_sum(now, total), grid_sum(before, total), now->at - before->at);
    if (isnan(rate))
        rate = grid_sum(now, average);
    if (!isnan(rate))
        format_amount(text, rate);
    fprintf(out, "  %s%s", text, unit);
}

void header_print_load(const struct console *console, FILE *out)
{
    const struct grid *pools = console->now[ASK_POOLS];
    put_count("clients", list_item(console, "used_clients"), out);
    put_count(" waiting", grid_sum(pools, "cl_waiting"), out);
    put_count("  servers", list_item(console, "used_servers"), out);
    put_count(" active", grid_sum(pools, "sv_active"), out);
    put_count("  pools", list_item(console, "pools"), out);
    put_rate(console, "total_xact_count", "avg_xact_count", " trans/s", out);
    put_rate(console, "total_query_count", "avg_query_count", " query/s", out);
    put_rate(console, "total_received", "avg_recv", " in_B/s", out);
    put_rate(console, "total_sent", "avg_sent", " out_B/s", out);
}

void header_print_silence(const struct console *console, bool utf8, weir_usec now, FILE *out)
{
    const struct link *link = &console->link;
    if (!console_is_silent(console, now))
        return;
    if (console->last_answer != 0) {
        fputs("no answer since ", out);
        put_clock(now - console->last_answer, out);
    } else {
        fputs("no answer yet", out);
    }
    if (link->state == LINK_DOWN && console->next_try > now)
        fprintf(out, "; next try in %.0f s", ceil((double)(console->next_try - now) / WEIR_SEC));
    if (link->problem != NULL) {
        fputs(": ", out);
        put_safe(link->problem, utf8, out);
    }
}
