/* EXPLAIN POOL: what limits a pool now and what the operator can do, in words. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console.h"
#include "holders.h"
#include "weir/memory.h"

static void weir_printf(2, 3) say(struct rows *rows, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    weir_require(vasprintf(&text, format, arguments) >= 0);
    va_end(arguments);
    rows_begin(rows);
    rows_text(rows, text);
    rows_end(rows);
    free(text);
}

static double seconds(weir_usec usec)
{
    return (double)usec / (double)WEIR_SEC;
}

static const char *plural(int number)
{
    return number == 1 ? "" : "s";
}

static void say_holders(struct rows *rows, const struct holder_pool *pool, bool statements)
{
    const struct weir_view_holders *holders = &pool->holders;
    say(rows,
        "Its connections are held by: %d running, %d idle in transaction, %d slow reader, %d "
        "pinned "
        "or in session mode, %d being cleaned.",
        holders->running, holders->idle_in_transaction, holders->slow_reader, holders->pinned,
        holders->settling);
    if (pool->held == 0)
        return;
    say(rows, "The longest holder is client %" PRIu64 " for %.3f s, %s, backend %u%s%s",
        pool->client_id, seconds(pool->held), pool->doing, pool->backend_pid,
        statements && pool->statement != NULL ? ": " : ".",
        statements && pool->statement != NULL ? pool->statement : "");
}

static void say_what_is_held(struct rows *rows, const struct weir_view_holders *holders)
{
    int most = holders->running;
    if (holders->idle_in_transaction > 0 && holders->idle_in_transaction >= most)
        say(rows,
            "Most holders are idle in a transaction: the application keeps transactions open. "
            "idle_transaction_timeout ends them; more connections only hide it.");
    else if (holders->pinned > 0 && holders->pinned >= most)
        say(rows, "Most holders are pinned: SHOW PINS tells by what, and what would release it.");
    else if (holders->slow_reader > 0 && holders->slow_reader >= most)
        say(rows, "Most holders do not read their answers: let them page or stream, or give "
                  "client_memory_limit room for what is left of an answer.");
    else if (most > 0)
        say(rows, "Most holders are running statements: the server is at work. More connections "
                  "help only if it has processors to spare.");
}

static void say_limit(struct rows *rows, const struct holder_pool *pool)
{
    const struct weir_pool_settings *settings = &pool->settings;
    switch (pool->limit) {
    case WEIR_LIMIT_NONE:
        if (pool->problem != NULL)
            say(rows,
                "The last attempt to get a server connection failed: %s. The next client makes "
                "another one at once.",
                pool->problem);
        else
            say(rows, "Nothing limits it now: the next client gets a connection at once.");
        break;
    case WEIR_LIMIT_PAUSED:
        say(rows, "It is paused: nobody gets a connection until RESUME.");
        break;
    case WEIR_LIMIT_FAILING:
        say(rows, "It gets no server connection: %s",
            pool->problem != NULL ? pool->problem : "the reason is in the log");
        say(rows,
            "It is tried again after server_login_retry, doubling to 15 s. Clients wait until "
            "pool_timeout, but not for what waiting cannot cure, such as a wrong password: they "
            "are told the server's error.");
        break;
    case WEIR_LIMIT_OPENING:
        say(rows,
            "%d connections are being opened, and not more than server_connect_parallel (%d) "
            "at a time are; the next client waits for one of them.",
            pool->opening, settings->server_connect_parallel);
        break;
    case WEIR_LIMIT_DELAY:
        say(rows,
            "All %d connections of pool_size are taken, and max_overflow (%d) is drawn upon only "
            "after a wait of overflow_delay (%.3f s).",
            settings->pool_size, settings->max_overflow, seconds(settings->overflow_delay));
        break;
    case WEIR_LIMIT_POOL:
        say(rows,
            "It is at its own limit: %d of %d connections (pool_size %d + max_overflow %d) exist. "
            "Raise one of the two for the database or the user, if the server bears it.",
            pool->servers, pool->ceiling, settings->pool_size, settings->max_overflow);
        break;
    case WEIR_LIMIT_DATABASE:
    case WEIR_LIMIT_USER:
    case WEIR_LIMIT_GLOBAL:
        say(rows,
            "It is at a limit that it shares with other pools: %s, %d of %d. Raise that, or lower "
            "the size of the others; SHOW POOLS tells who has the connections.",
            weir_view_limit_name(pool->limit), pool->cap_used, pool->cap_limit);
        break;
    }
}

static void explain(struct walk *walk, const struct holder_pool *pool)
{
    struct rows *rows = &walk->rows;
    char ceiling[48] = "without a limit of its own";
    if (pool->ceiling >= 0)
        snprintf(ceiling, sizeof(ceiling), "of at most %d", pool->ceiling);
    say(rows, "Pool %s.%s has %d client%s and %d server connection%s, %s.", pool->database,
        pool->user, pool->clients, plural(pool->clients), pool->servers, plural(pool->servers),
        ceiling);
    if (pool->waiting > 0)
        say(rows, "%d client%s, the first for %.3f s; pool_timeout is %.3f s.", pool->waiting,
            pool->waiting == 1 ? " waits" : "s wait", seconds(pool->oldest_wait),
            seconds(pool->settings.pool_timeout));
    else
        say(rows, "No client waits.");
    say_limit(rows, pool);
    say_holders(rows, pool, walk_shows_statements(walk));
    if (pool->limit >= WEIR_LIMIT_DELAY)
        say_what_is_held(rows, &pool->holders);
}

/* Either name may contain a dot: all ways to part the two are tried. */
static const struct holder_pool *find_pool(struct holder_pool *pools, const char *name)
{
    for (const char *dot = strchr(name, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
        char *database = weir_strndup(name, (size_t)(dot - name));
        const struct holder_pool *pool = holders_find(pools, database, dot + 1);
        free(database);
        if (pool != NULL)
            return pool;
    }
    return NULL;
}

bool show_explanation(struct walk *walk)
{
    const char *name = portal_name(walk->portal);
    struct holder_pool *pools = holders_collect(walk->admin->router);
    const struct holder_pool *pool = name != NULL ? find_pool(pools, name) : NULL;
    if (pool != NULL) {
        explain(walk, pool);
    } else {
        walk->problem_state = "42704";
        walk->problem = weir_format("no such pool: %s", name != NULL ? name : "");
    }
    holders_free(pools);
    return true;
}
