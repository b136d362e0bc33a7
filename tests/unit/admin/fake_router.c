#include "fake_router.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/memory.h"
#include "weir/view.h"

struct fake fake;

static const struct weir_console_ops *console;
static void *console_context;
static struct weir_pool_settings pool_settings = {.pool_size = 3, .max_overflow = 2};
static struct weir_counters counters = {.transactions = 12345678901234, .queries = 7};
static struct weir_latency latency;
static struct weir_histogram turn_lengths;

/* --- the router ------------------------------------------------------------------------------- */

void weir_router_set_console(struct weir_router *router, const struct weir_console_ops *ops,
                             void *context)
{
    console = ops;
    console_context = context;
}

void weir_router_dismiss(struct weir_router *router, struct weir_client *client)
{
    fake.dismissed = true;
    weir_stream_close(&client->stream);
}

const struct weir_conf *weir_router_conf(const struct weir_router *router)
{
    return fake.conf;
}

static enum weir_operator_result answer(const char *database)
{
    if (database != NULL && strcmp(database, "nowhere") == 0)
        return WEIR_OPERATOR_NO_DATABASE;
    return fake.result;
}

enum weir_operator_result weir_operator_pause(struct weir_router *router, const char *database)
{
    if (fake.paused)
        return WEIR_OPERATOR_ALREADY;
    if (answer(database) == WEIR_OPERATOR_DONE)
        fake.paused = true;
    return answer(database);
}

bool weir_operator_is_paused(const struct weir_router *router, const char *database)
{
    return fake.paused;
}

bool weir_operator_is_paused_out(const struct weir_router *router, const char *database)
{
    return fake.paused_out;
}

enum weir_operator_result weir_operator_resume(struct weir_router *router, const char *database)
{
    fake.resumed++;
    fake.paused = false;
    return answer(database);
}

void weir_operator_take_pause_back(struct weir_router *router, const char *database)
{
    fake.resumed++;
    fake.paused = false;
}

bool weir_operator_suspends(const struct weir_router *router)
{
    return true;
}

enum weir_operator_result weir_operator_suspend(struct weir_router *router)
{
    return fake.result;
}

bool weir_operator_is_suspended(const struct weir_router *router)
{
    return fake.paused_out;
}

enum weir_operator_result weir_operator_disable(struct weir_router *router, const char *database)
{
    return answer(database);
}

enum weir_operator_result weir_operator_enable(struct weir_router *router, const char *database)
{
    return answer(database);
}

enum weir_operator_result weir_operator_reconnect(struct weir_router *router, const char *database)
{
    return answer(database);
}

bool weir_operator_is_reconnected(const struct weir_router *router, const char *database)
{
    return fake.paused_out;
}

enum weir_operator_result weir_operator_kill(struct weir_router *router, const char *database)
{
    return answer(database);
}

enum weir_operator_result weir_operator_kill_client(struct weir_router *router, uint64_t id)
{
    fake.killed = id;
    return fake.result;
}

/* --- the view --------------------------------------------------------------------------------- */

const char *weir_view_limit_name(enum weir_view_limit limit)
{
    return "pool_size";
}

const char *weir_view_pin_name(enum weir_view_pin pin)
{
    return "pin";
}

const char *weir_view_pin_release(enum weir_view_pin pin)
{
    return "end the session";
}

void weir_view_pools(const struct weir_router *router,
                     void (*each)(void *context, const struct weir_view_pool *row), void *context)
{
    const struct weir_view_pool row = {.database = "d.b",
                                       .user = "u.v",
                                       .settings = &pool_settings,
                                       .counters = &counters,
                                       .latency = &latency,
                                       .ceiling = 5,
                                       .limit = WEIR_LIMIT_POOL};
    each(context, &row);
}

void weir_view_databases(const struct weir_router *router,
                         void (*each)(void *context, const struct weir_view_database *row),
                         void *context)
{
    const struct weir_view_database row = {.name = "d.b", .settings = &pool_settings, .host = "h"};
    each(context, &row);
}

void weir_view_users(const struct weir_router *router,
                     void (*each)(void *context, const struct weir_view_user *row), void *context)
{
    const struct weir_view_user row = {.name = "u.v", .settings = &pool_settings};
    each(context, &row);
}

bool weir_view_clients_some(const struct weir_router *router, uint64_t *at, size_t limit,
                            void (*each)(void *context, const struct weir_view_client *row),
                            void *context)
{
    size_t shown = 0;
    fake.walked++;
    for (; *at < (uint64_t)fake.clients && shown < limit; ++*at, shown++) {
        const struct weir_view_client row = {
            .id = *at + 1,
            .pointer = &fake,
            .database = "d.b",
            .user = "u.v",
            .replication = "none",
            .state_word = "waiting",
            .wait = 1,
            .statement = {.text = "select 1", .length = 8},
        };
        each(context, &row);
    }
    if (shown > fake.most_at_once)
        fake.most_at_once = shown;
    return *at < (uint64_t)fake.clients;
}

void weir_view_servers(const struct weir_router *router,
                       void (*each)(void *context, const struct weir_view_server *row),
                       void *context)
{
    const struct weir_view_server row = {.database = "d.b",
                                         .user = "u.v",
                                         .replication = "none",
                                         .state_word = "active",
                                         .doing = "running",
                                         .held = 1000,
                                         .pins = 9};
    each(context, &row);
}

void weir_view_pins(const struct weir_router *router,
                    void (*each)(void *context, const struct weir_view_pin_row *row), void *context)
{
    const struct weir_view_pin_row row = {.database = "d.b", .pin = WEIR_PIN_LISTEN};
    each(context, &row);
}

void weir_view_hubs(const struct weir_router *router,
                    void (*each)(void *context, const struct weir_view_hub *row), void *context)
{
    const struct weir_view_hub row = {.database = "d.b", .host = "h:5432", .state_word = "down"};
    each(context, &row);
}

bool weir_view_prepared_some(const struct weir_router *router, uint64_t *at, size_t limit,
                             void (*each)(void *context, const struct weir_view_prepared *row),
                             void *context)
{
    const struct weir_view_prepared row = {.text = "select", .length = 6};
    each(context, &row);
    return false;
}

void weir_view_events(const struct weir_router *router,
                      void (*each)(void *context, const struct weir_view_event *row), void *context)
{
    const struct weir_view_event row = {.at = 1, .event = "connect"};
    each(context, &row);
}

void weir_view_stats(const struct weir_router *router,
                     void (*each)(void *context, const struct weir_view_stats *row), void *context)
{
    struct weir_view_stats row;
    weir_view_stats_all(router, &row);
    row.database = "d.b";
    each(context, &row);
}

void weir_view_stats_all(const struct weir_router *router, struct weir_view_stats *row)
{
    *row = (struct weir_view_stats){.database = "", .total = counters};
}

void weir_view_daemon(const struct weir_router *router, struct weir_view_daemon *row)
{
    *row = (struct weir_view_daemon){.conf = fake.conf,
                                     .counters = &counters,
                                     .latency = &latency,
                                     .turns = &turn_lengths,
                                     .paused = fake.paused};
}

/* --- the daemon ------------------------------------------------------------------------------- */

static bool reload(void *context, char **problem)
{
    *problem = weir_strdup("file:1: first problem\nfile:2: second problem\n");
    return false;
}

static bool set(void *context, const char *name, const char *value, char **problem)
{
    snprintf(fake.set_name, sizeof(fake.set_name), "%s", name);
    snprintf(fake.set_value, sizeof(fake.set_value), "%s", value);
    if (fake.set_fails)
        *problem = weir_strdup("no such setting");
    return !fake.set_fails;
}

static struct weir_conf *read_conf(void *context, char **problem)
{
    *problem = weir_strdup("unreadable");
    return NULL;
}

static void shut_down(void *context, enum weir_shutdown how)
{
}

static const struct weir_admin_ops daemon_ops = {
    .reload = reload, .set = set, .read = read_conf, .shutdown = shut_down};

/* --- the client ------------------------------------------------------------------------------- */

void fake_open(enum weir_console_rights rights)
{
    static const char text[] = "[pgweir]\n[databases]\n* = host=127.0.0.1\n";
    char *problems = NULL, *warnings = NULL;
    int pair[2];
    fake = (struct fake){.result = WEIR_OPERATOR_DONE};
    fake.conf = weir_conf_parse("test", text, strlen(text), &problems, &warnings);
    weir_require(fake.conf != NULL && weir_loop_init(&fake.loop));
    free(warnings);
    fake.admin = weir_admin_create(&fake.loop, NULL, &daemon_ops, NULL);
    weir_require(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    fake.peer = pair[1];
    weir_require(fcntl(fake.peer, F_SETFL, O_NONBLOCK) == 0);
    weir_stream_open(&fake.client.stream, &fake.loop, pair[0], 0, NULL);
    fake.client.id = 77;
    fake.client.cancel_key_length = 4;
    console->attach(console_context, &fake.client, rights);
}

void fake_close(void)
{
    weir_admin_destroy(fake.admin);
    weir_stream_close(&fake.client.stream);
    if (fake.peer >= 0)
        close(fake.peer);
    weir_loop_fini(&fake.loop);
    weir_conf_destroy(fake.conf);
}

void fake_turn(int turns)
{
    for (int i = 0; i < turns; i++)
        ev_run(fake.loop.ev, EVRUN_NOWAIT);
}

size_t fake_write(const void *bytes, size_t length)
{
    ssize_t sent = send(fake.peer, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent > 0 ? (size_t)sent : 0;
}

size_t fake_read(void *bytes, size_t size)
{
    ssize_t got = recv(fake.peer, bytes, size, MSG_DONTWAIT);
    return got > 0 ? (size_t)got : 0;
}

void fake_detach(void)
{
    fake.client.guest = NULL;
    console->detach(console_context, &fake.client);
}

void fake_cancel(void)
{
    console->cancel(console_context, &fake.client);
}
