#include "exposition.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "weir/memory.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
/* What a page needs if names are not very long. Otherwise it would be copied again and again while it
 * grows, at its largest a megabyte in one turn of the loop. */
#define OF_DAEMON ((size_t)32 * 1024)
#define OF_POOL   ((size_t)16 * 1024)
/* For the name of a family. */
#define NAME_SIZE 96

struct weir_http_writer {
    struct weir_http_body *body;
    const struct weir_http_shot *shot;
    bool open_metrics;
    char **labels;                      /* of each pool: database="...",user="..." */
    char bounds[WEIR_HTTP_BUCKETS][24]; /* le="..." */
    size_t section, unit;               /* what is written next */
};

/* --- lines ----------------------------------------------------------------------------- */

/* `name` without _total; `unit` NULL: none. */
static void put_family(struct weir_http_writer *writer, const char *name, const char *type,
                       const char *unit, const char *help)
{
    const char *suffix = !writer->open_metrics && strcmp(type, "counter") == 0 ? "_total" : "";
    weir_http_put_texts(writer->body, "# HELP ", name, suffix, " ", help, "\n# TYPE ", name, suffix,
                        " ", type, "\n");
    if (writer->open_metrics && unit != NULL)
        weir_http_put_texts(writer->body, "# UNIT ", name, " ", unit, "\n");
}

/* Everything up to the value. `labels` and `more` may be NULL. */
static void put_name(const struct weir_http_writer *writer, const char *name, const char *suffix,
                     const char *labels, const char *more)
{
    size_t lengths[] = {strlen(name), strlen(suffix), labels != NULL ? strlen(labels) : 0,
                        more != NULL ? strlen(more) : 0};
    size_t most = lengths[0] + lengths[1] + lengths[2] + lengths[3] + sizeof("{,} ");
    /* A page may have tens of thousands of these: one piece each. */
    char *begin = weir_http_body_reserve(writer->body, most);
    if (begin == NULL)
        return;
    char *at = mempcpy(mempcpy(begin, name, lengths[0]), suffix, lengths[1]);
    if (labels != NULL || more != NULL) {
        *at++ = '{';
        if (labels != NULL)
            at = mempcpy(at, labels, lengths[2]);
        if (labels != NULL && more != NULL)
            *at++ = ',';
        if (more != NULL)
            at = mempcpy(at, more, lengths[3]);
        *at++ = '}';
    }
    *at++ = ' ';
    writer->body->bytes.end += (uint32_t)(at - begin);
}

static void put_count(const struct weir_http_writer *writer, const char *name, const char *suffix,
                      const char *labels, const char *more, int64_t value)
{
    put_name(writer, name, suffix, labels, more);
    if (value < 0)
        weir_http_put_bytes(writer->body, "-", 1);
    weir_http_put_number(writer->body, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    weir_http_put_bytes(writer->body, "\n", 1);
}

static void put_time(const struct weir_http_writer *writer, const char *name, const char *suffix,
                     const char *labels, const char *more, weir_usec value)
{
    put_name(writer, name, suffix, labels, more);
    weir_http_put_seconds(writer->body, value);
    weir_http_put_bytes(writer->body, "\n", 1);
}

static void put_gauge(struct weir_http_writer *writer, const char *name, const char *help,
                      int64_t value)
{
    put_family(writer, name, "gauge", NULL, help);
    put_count(writer, name, "", NULL, NULL, value);
}

static void put_seconds(struct weir_http_writer *writer, const char *name, const char *help,
                        weir_usec value)
{
    put_family(writer, name, "gauge", "seconds", help);
    put_time(writer, name, "", NULL, NULL, value);
}

static void put_histogram(const struct weir_http_writer *writer, const char *name,
                          const char *labels, const struct weir_http_histogram *histogram)
{
    for (int bucket = 0; bucket < WEIR_HTTP_BUCKETS; bucket++) {
        put_count(writer, name, "_bucket", labels, writer->bounds[bucket],
                  (int64_t)histogram->buckets[bucket]);
    }
    put_count(writer, name, "_bucket", labels, "le=\"+Inf\"", (int64_t)histogram->count);
    put_time(writer, name, "_sum", labels, NULL, histogram->sum);
    put_count(writer, name, "_count", labels, NULL, (int64_t)histogram->count);
}

/* --- counters -------------------------------------------------------------------------- */

/* "wait_usec" is shown as wait_seconds. */
static bool is_duration(const char *name)
{
    size_t length = strlen(name);
    return length > 5 && strcmp(name + length - 5, "_usec") == 0;
}

static void name_counter(char family[NAME_SIZE], const char *prefix, const char *name)
{
    weir_require(strlen(prefix) + strlen(name) + sizeof("seconds") <= NAME_SIZE);
    char *end = stpcpy(stpcpy(family, prefix), name);
    if (is_duration(name))
        stpcpy(end - strlen("usec"), "seconds");
}

/* The table says "..., microseconds" of what is shown in seconds. */
static char *counter_help(const char *name, const char *help)
{
    const char *unit = is_duration(name) ? strstr(help, ", microseconds") : NULL;
    return unit == NULL ? weir_strdup(help) : weir_strndup(help, (size_t)(unit - help));
}

static void put_counter_family(struct weir_http_writer *writer, const char *family,
                               const char *name, const char *help)
{
    char *text = counter_help(name, help);
    put_family(writer, family, "counter", is_duration(name) ? "seconds" : NULL, text);
    free(text);
}

static void put_counter(const struct weir_http_writer *writer, const char *family, const char *name,
                        const char *labels, uint64_t value)
{
    if (is_duration(name))
        put_time(writer, family, "_total", labels, NULL, (weir_usec)value);
    else
        put_count(writer, family, "_total", labels, NULL, (int64_t)value);
}

static void put_daemon_counter(void *context, const char *name, const char *help, uint64_t value)
{
    struct weir_http_writer *writer = context;
    char family[NAME_SIZE];
    name_counter(family, "pgweir_", name);
    put_counter_family(writer, family, name, help);
    put_counter(writer, family, name, NULL, value);
}

/* What happens before a client has a pool. */
static bool is_daemons_own(const char *name)
{
    static const char *const names[] = {"client_connections", "login_delays", "cancels_ignored"};
    for (size_t i = 0; i < COUNT(names); i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static const struct counter {
    const char *name, *help;
    size_t offset;
} pool_counters[] = {
#define WEIR_COUNTER(name, help) {#name, help, offsetof(struct weir_counters, name)},
#include "weir/counters.def"
#undef WEIR_COUNTER
};

static size_t count_pool_counters(const struct weir_http_writer *writer)
{
    return COUNT(pool_counters);
}

/* The same counter of every pool. */
static void put_pool_counter(struct weir_http_writer *writer, size_t unit)
{
    const struct counter *counter = &pool_counters[unit];
    if (is_daemons_own(counter->name))
        return;
    char family[NAME_SIZE];
    name_counter(family, "pgweir_pool_", counter->name);
    put_counter_family(writer, family, counter->name, counter->help);
    for (size_t i = 0; i < writer->shot->pool_count; i++) {
        const char *counters = (const char *)&writer->shot->pools[i].counters;
        uint64_t value;
        memcpy(&value, counters + counter->offset, sizeof(value));
        put_counter(writer, family, counter->name, writer->labels[i], value);
    }
}

/* --- reasons --------------------------------------------------------------------------- */

static const char *blame_word(enum weir_blame blame)
{
    static const char *const words[] = {
        [WEIR_BLAME_NOBODY] = "nobody", [WEIR_BLAME_CLIENT] = "client",
        [WEIR_BLAME_SERVER] = "server", [WEIR_BLAME_POOLER] = "pooler",
        [WEIR_BLAME_ADMIN] = "admin",
    };
    return words[blame];
}

static void put_reason(const struct weir_http_writer *writer, const char *family,
                       const char *labels, int reason, uint64_t value)
{
    const struct weir_reason_row *row = weir_reason_row((enum weir_reason)reason);
    char more[NAME_SIZE + 64] = "reason=\"";
    weir_require(strlen(row->name) < NAME_SIZE);
    char *end = stpcpy(stpcpy(more + strlen(more), row->name), "\",blame=\"");
    stpcpy(stpcpy(end, blame_word(row->blame)), "\"");
    put_count(writer, family, "_total", labels, more, (int64_t)value);
}

/* Every row, so that the first of a kind is an increase. */
static void put_daemon_reasons(struct weir_http_writer *writer)
{
    put_family(writer, "pgweir_closes", "counter", NULL,
               "Connections closed and clients refused, by reason and by who is to blame.");
    for (int reason = 0; reason < WEIR_REASON_COUNT; reason++)
        put_reason(writer, "pgweir_closes", NULL, reason,
                   writer->shot->daemon.counters->reasons[reason]);
}

/* The beginning of the family and one pool after the other: a pool can have them all. */
static size_t count_pool_reasons(const struct weir_http_writer *writer)
{
    return writer->shot->pool_count + 1;
}

static void put_pool_reasons(struct weir_http_writer *writer, size_t unit)
{
    if (unit == 0) {
        put_family(writer, "pgweir_pool_closes", "counter", NULL,
                   "The same by pool; reasons that never occurred are left out.");
        return;
    }
    size_t pool = unit - 1;
    for (int reason = 0; reason < WEIR_REASON_COUNT; reason++) {
        uint64_t value = writer->shot->pools[pool].counters.reasons[reason];
        if (value > 0)
            put_reason(writer, "pgweir_pool_closes", writer->labels[pool], reason, value);
    }
}

/* --- histograms ------------------------------------------------------------------------ */

/* Of each part its beginning, then one pool after the other: they are most of the page. */
static size_t count_pool_histograms(const struct weir_http_writer *writer)
{
    return WEIR_PART_COUNT * (writer->shot->pool_count + 1);
}

static void put_pool_histogram(struct weir_http_writer *writer, size_t unit)
{
    enum weir_part part = (enum weir_part)(unit / (writer->shot->pool_count + 1));
    size_t pool = unit % (writer->shot->pool_count + 1);
    char *name = weir_format("pgweir_pool_%s_duration_seconds", weir_part_name(part));
    if (pool == 0)
        put_family(writer, name, "histogram", "seconds", weir_part_help(part));
    else
        put_histogram(writer, name, writer->labels[pool - 1],
                      &writer->shot->pools[pool - 1].parts[part]);
    free(name);
}

static void put_daemon_histogram(struct weir_http_writer *writer, const char *name,
                                 const char *help, const struct weir_histogram *full)
{
    struct weir_http_histogram thin;
    weir_http_thin(full, &thin);
    put_family(writer, name, "histogram", "seconds", help);
    put_histogram(writer, name, NULL, &thin);
}

static void put_daemon_histograms(struct weir_http_writer *writer)
{
    const struct weir_view_daemon *daemon = &writer->shot->daemon;
    for (int part = 0; part < WEIR_PART_COUNT; part++) {
        char *name =
            weir_format("pgweir_%s_duration_seconds", weir_part_name((enum weir_part)part));
        put_daemon_histogram(writer, name, weir_part_help((enum weir_part)part),
                             &daemon->latency->parts[part]);
        free(name);
    }
    put_daemon_histogram(writer, "pgweir_loop_turn_duration_seconds",
                         "Turns of the event loop: for so long nobody else was served.",
                         daemon->turns);
    put_seconds(writer, "pgweir_loop_longest_turn_seconds", "The longest turn since the start.",
                daemon->longest_turn);
}

/* --- gauges of pools ------------------------------------------------------------------- */

enum kind { NUMBER, TIME, CEILING };

struct gauge {
    const char *name;
    const char *more; /* a further label; rows of one name follow each other */
    enum kind kind;
    size_t offset;
    const char *help;
};

#define AT(field) offsetof(struct weir_http_pool, field)

static const struct gauge gauges[] = {
    {"pgweir_pool_clients", "state=\"active\"", NUMBER, AT(row.clients_active),
     "Clients: active ones have a server connection, waiting ones want one."},
    {"pgweir_pool_clients", "state=\"idle\"", NUMBER, AT(row.clients_idle), NULL},
    {"pgweir_pool_clients", "state=\"waiting\"", NUMBER, AT(row.clients_waiting), NULL},
    {"pgweir_pool_oldest_wait_seconds", NULL, TIME, AT(row.counts.oldest_wait),
     "How long the first of the waiting clients has waited."},
    {"pgweir_pool_servers", "state=\"active\"", NUMBER, AT(row.servers_active),
     "Server connections: used ones rest longer than pre_ping_idle, tested ones are being asked."},
    {"pgweir_pool_servers", "state=\"idle\"", NUMBER, AT(row.servers_idle), NULL},
    {"pgweir_pool_servers", "state=\"used\"", NUMBER, AT(row.servers_used), NULL},
    {"pgweir_pool_servers", "state=\"tested\"", NUMBER, AT(row.servers_tested), NULL},
    {"pgweir_pool_servers", "state=\"login\"", NUMBER, AT(row.servers_login), NULL},
    {"pgweir_pool_servers", "state=\"closing\"", NUMBER, AT(row.servers_closing), NULL},
    {"pgweir_pool_held_servers", "by=\"running\"", NUMBER, AT(row.holders.running),
     "Server connections that clients have, by what keeps them."},
    {"pgweir_pool_held_servers", "by=\"idle_in_transaction\"", NUMBER,
     AT(row.holders.idle_in_transaction), NULL},
    {"pgweir_pool_held_servers", "by=\"slow_reader\"", NUMBER, AT(row.holders.slow_reader), NULL},
    {"pgweir_pool_held_servers", "by=\"pinned\"", NUMBER, AT(row.holders.pinned), NULL},
    {"pgweir_pool_held_servers", "by=\"settling\"", NUMBER, AT(row.holders.settling), NULL},
    {"pgweir_pool_oldest_hold_seconds", NULL, TIME, AT(row.holders.oldest),
     "How long the client that has its server connection for longest has had it."},
    {"pgweir_pool_pinned_clients", NULL, NUMBER, AT(row.pins),
     "Clients that keep their server connection between transactions."},
    {"pgweir_pool_cancel_requests", "state=\"waiting\"", NUMBER, AT(row.cancels_waiting),
     "Cancel requests: waiting ones are being connected, active ones have been sent."},
    {"pgweir_pool_cancel_requests", "state=\"active\"", NUMBER, AT(row.cancels_active), NULL},
    {"pgweir_pool_size", NULL, NUMBER, AT(pool_size), "The setting pool_size."},
    {"pgweir_pool_max_servers", NULL, CEILING, AT(row.ceiling),
     "Server connections that the pool may have: pool_size and max_overflow."},
    {"pgweir_pool_failing", NULL, NUMBER, AT(failing),
     "1 while the pool cannot connect to its server."},
    {"pgweir_pool_paused", NULL, NUMBER, AT(paused), "1 while the pool is paused."},
};

static int64_t gauge_value(const struct gauge *gauge, const struct weir_http_pool *pool)
{
    const char *field = (const char *)pool + gauge->offset;
    if (gauge->kind == TIME) {
        weir_usec usec;
        memcpy(&usec, field, sizeof(usec));
        return usec;
    }
    int number;
    memcpy(&number, field, sizeof(number));
    return number;
}

static void put_gauge_of(const struct weir_http_writer *writer, const struct gauge *gauge,
                         size_t pool)
{
    int64_t value = gauge_value(gauge, &writer->shot->pools[pool]);
    if (gauge->kind == TIME) {
        put_time(writer, gauge->name, "", writer->labels[pool], gauge->more, value);
    } else if (gauge->kind == CEILING && value < 0) {
        put_name(writer, gauge->name, "", writer->labels[pool], gauge->more);
        weir_http_put(writer->body, "+Inf\n");
    } else {
        put_count(writer, gauge->name, "", writer->labels[pool], gauge->more, value);
    }
}

static size_t count_pool_gauges(const struct weir_http_writer *writer)
{
    return COUNT(gauges);
}

static void put_pool_gauge(struct weir_http_writer *writer, size_t unit)
{
    const struct gauge *gauge = &gauges[unit];
    if (gauge->help != NULL)
        put_family(writer, gauge->name, "gauge", gauge->kind == TIME ? "seconds" : NULL,
                   gauge->help);
    for (size_t pool = 0; pool < writer->shot->pool_count; pool++)
        put_gauge_of(writer, gauge, pool);
}

/* Which limit holds the next client back. Pools where none does are left out. */
static void put_pool_limits(struct weir_http_writer *writer, size_t unit)
{
    put_family(writer, "pgweir_pool_held_back", "gauge", NULL,
               "1 with the limit that the next client of the pool would wait for.");
    for (size_t i = 0; i < writer->shot->pool_count; i++) {
        enum weir_view_limit limit = writer->shot->pools[i].row.limit;
        if (limit == WEIR_LIMIT_NONE)
            continue;
        char more[96];
        snprintf(more, sizeof(more), "limit=\"%s\"", weir_view_limit_name(limit));
        put_count(writer, "pgweir_pool_held_back", "", writer->labels[i], more, 1);
    }
}

/* --- the daemon ------------------------------------------------------------------------ */

static void put_build(struct weir_http_writer *writer)
{
    put_family(writer, "pgweir_build_info", "gauge", NULL, "1, with the version as a label.");
    put_count(writer, "pgweir_build_info", "", NULL, "version=\"" WEIR_VERSION "\"", 1);
}

static void put_states(struct weir_http_writer *writer)
{
    const struct weir_view_daemon *daemon = &writer->shot->daemon;
    put_gauge(writer, "pgweir_draining", "1 while it shuts down.", daemon->draining);
    put_gauge(writer, "pgweir_paused", "1 while PAUSE is in force.", daemon->paused);
    put_gauge(writer, "pgweir_suspended", "1 while SUSPEND is in force.", daemon->suspended);
    put_gauge(writer, "pgweir_config_last_reload_successful",
              "0 when the last reload was refused and the configuration before it stays.",
              daemon->reload_problem == NULL);
    put_seconds(writer, "pgweir_config_last_reload_success_timestamp_seconds",
                "When the configuration in force was read, since 1970.", daemon->reloaded_at);
    put_seconds(writer, "pgweir_start_time_seconds", "When it was started, since 1970.",
                daemon->started_at);
    put_seconds(writer, "pgweir_uptime_seconds", "Since the start.", daemon->uptime);
}

static void put_totals(struct weir_http_writer *writer)
{
    const struct weir_view_daemon *daemon = &writer->shot->daemon;
    put_gauge(writer, "pgweir_clients", "Clients that are logged in.", daemon->clients);
    put_gauge(writer, "pgweir_clients_logging_in", "Clients that are not logged in yet.",
              daemon->clients_logging_in);
    put_gauge(writer, "pgweir_max_clients", "The setting max_client_conn.",
              daemon->conf->max_client_conn);
    put_gauge(writer, "pgweir_servers", "Server connections.", daemon->servers);
    put_gauge(writer, "pgweir_databases", "Databases known.", daemon->databases);
    put_gauge(writer, "pgweir_users", "Users known.", daemon->users);
    put_gauge(writer, "pgweir_pools", "Pools.", daemon->pools);
    put_gauge(writer, "pgweir_pools_left_out",
              "Pools beyond the number shown, which are added up under (others).",
              (int64_t)writer->shot->left_out);
    put_gauge(writer, "pgweir_prepared_texts", "Texts of prepared statements known.",
              daemon->prepared_texts);
}

static int64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    char line[128] = "";
    if (fgets(line, sizeof(line), file) == NULL)
        line[0] = '\0';
    fclose(file);
    const char *second = strchr(line, ' ');
    return second == NULL ? 0 : (int64_t)strtoll(second, NULL, 10) * sysconf(_SC_PAGESIZE);
}

/* Names as every other program has them. */
static void put_process(struct weir_http_writer *writer)
{
    struct timespec spent = {0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    put_family(writer, "process_cpu_seconds", "counter", "seconds", "CPU time of the process.");
    put_time(writer, "process_cpu_seconds", "_total", NULL, NULL,
             (weir_usec)spent.tv_sec * WEIR_SEC + spent.tv_nsec / 1000);
    put_family(writer, "process_resident_memory_bytes", "gauge", "bytes", "Resident memory.");
    put_count(writer, "process_resident_memory_bytes", "", NULL, NULL, resident_bytes());
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    put_gauge(writer, "process_max_fds", "Limit of open files.", (int64_t)limit.rlim_cur);
}

/* --- the page -------------------------------------------------------------------------- */

static char *pool_labels(const struct weir_http_pool *pool)
{
    struct weir_http_body text = {0};
    weir_http_put(&text, "database=\"");
    weir_http_put_label(&text, pool->database);
    weir_http_put(&text, "\",user=\"");
    weir_http_put_label(&text, pool->user);
    weir_http_put(&text, "\"");
    char *labels =
        weir_strndup((const char *)weir_buffer_bytes(&text.bytes), weir_buffer_length(&text.bytes));
    weir_http_body_clear(&text);
    return labels;
}

/* "le=\"0.000064\"" to "le=\"67.108864\"": as many times as there are pages, so not by printf. */
static void print_bounds(struct weir_http_writer *writer)
{
    for (int bucket = 0; bucket < WEIR_HTTP_BUCKETS; bucket++) {
        weir_usec bound = weir_http_bound(bucket);
        char *at = stpcpy(writer->bounds[bucket], "le=\"");
        for (weir_usec unit = 10 * WEIR_SEC; unit > 0; unit /= 10) {
            if (unit < 10 * WEIR_SEC || bound >= unit)
                *at++ = (char)('0' + bound / unit % 10);
            if (unit == WEIR_SEC)
                *at++ = '.';
        }
        stpcpy(at, "\"");
    }
}

static size_t one(const struct weir_http_writer *writer)
{
    return 1;
}

static void put_end(struct weir_http_writer *writer, size_t unit)
{
    if (writer->open_metrics)
        weir_http_put(writer->body, "# EOF\n");
}

/* What follows what is of the daemon. A unit is written at once: some 30 kB at most. */
static const struct section {
    size_t (*count)(const struct weir_http_writer *writer);
    void (*put)(struct weir_http_writer *writer, size_t unit);
} sections[] = {
    {count_pool_gauges, put_pool_gauge},         {one, put_pool_limits},
    {count_pool_counters, put_pool_counter},     {count_pool_reasons, put_pool_reasons},
    {count_pool_histograms, put_pool_histogram}, {one, put_end},
};

struct weir_http_writer *weir_http_expose(const struct weir_http_shot *shot,
                                          enum weir_http_format format, struct weir_http_body *body)
{
    struct weir_http_writer *writer = weir_alloc(sizeof(*writer));
    writer->body = body;
    writer->shot = shot;
    writer->open_metrics = format == WEIR_HTTP_OPENMETRICS;
    weir_http_body_reserve(body, OF_DAEMON + shot->pool_count * OF_POOL);
    writer->labels = weir_alloc((shot->pool_count + 1) * sizeof(*writer->labels));
    for (size_t i = 0; i < shot->pool_count; i++)
        writer->labels[i] = pool_labels(&shot->pools[i]);
    print_bounds(writer);
    put_build(writer);
    put_states(writer);
    put_totals(writer);
    put_process(writer);
    weir_counters_walk(shot->daemon.counters, put_daemon_counter, writer);
    put_daemon_reasons(writer);
    put_daemon_histograms(writer);
    return writer;
}

bool weir_http_expose_more(struct weir_http_writer *writer, size_t most)
{
    size_t begin = weir_buffer_length(&writer->body->bytes);
    while (writer->section < COUNT(sections)) {
        const struct section *section = &sections[writer->section];
        if (writer->unit == section->count(writer)) {
            writer->section++;
            writer->unit = 0;
            continue;
        }
        if (writer->body->broken || weir_buffer_length(&writer->body->bytes) - begin >= most)
            return writer->body->broken;
        section->put(writer, writer->unit++);
    }
    return true;
}

void weir_http_writer_destroy(struct weir_http_writer *writer)
{
    if (writer == NULL)
        return;
    for (size_t i = 0; i < writer->shot->pool_count; i++)
        free(writer->labels[i]);
    free(writer->labels);
    free(writer);
}

const char *weir_http_format_type(enum weir_http_format format)
{
    return format == WEIR_HTTP_OPENMETRICS
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}
