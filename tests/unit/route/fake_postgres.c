#include "fake_postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "weir/memory.h"
#include "weir/wire.h"

#define LOG_SIZE 4096

/* --- names and texts
 * ------------------------------------------------------------------------------------ */

static struct fake_text *find(const struct fake_texts *texts, const char *name)
{
    for (size_t i = 0; i < texts->count; i++)
        if (strcmp(texts->items[i].name, name) == 0)
            return &texts->items[i];
    return NULL;
}

const char *fake_texts_find(const struct fake_texts *texts, const char *name)
{
    const struct fake_text *item = find(texts, name);
    return item == NULL ? NULL : item->text;
}

static void unset(struct fake_texts *texts, const char *name)
{
    struct fake_text *item = find(texts, name);
    if (item == NULL)
        return;
    free(item->name);
    free(item->text);
    *item = texts->items[--texts->count];
}

static void set(struct fake_texts *texts, const char *name, const char *text)
{
    /* The text may be one of the table's own. */
    char *copy = weir_strdup(text);
    unset(texts, name);
    texts->items = realloc(texts->items, (texts->count + 1) * sizeof(*texts->items));
    weir_require(texts->items != NULL);
    texts->items[texts->count++] = (struct fake_text){weir_strdup(name), copy};
}

static void clear(struct fake_texts *texts)
{
    while (texts->count > 0)
        unset(texts, texts->items[0].name);
    free(texts->items);
    texts->items = NULL;
}

/* --- output
 * --------------------------------------------------------------------------------------------- */

static void end(struct fake_backend *backend)
{
    ev_timer_stop(backend->postgres->loop->ev, &backend->trickle);
    weir_stream_close(&backend->stream);
    weir_buffer_clear(&backend->out);
    weir_list_remove(&backend->link);
    clear(&backend->statements);
    clear(&backend->portals);
    clear(&backend->settings);
    clear(&backend->channels);
    free(backend->messages);
    free(backend);
}

/* Sends up to `limit` bytes of what is due. False: the connection ended. */
static bool send_some(struct fake_backend *backend, size_t limit)
{
    struct fake_postgres *postgres = backend->postgres;
    size_t length = weir_buffer_length(&backend->out);
    bool last = false;
    length = length < limit ? length : limit;
    if (postgres->vanish_after >= 0 && backend->sent + (long)length >= postgres->vanish_after) {
        length = backend->sent < postgres->vanish_after
                     ? (size_t)(postgres->vanish_after - backend->sent)
                     : 0;
        last = true;
    }
    if (length > 0 &&
        !weir_stream_send_bytes(&backend->stream, weir_buffer_bytes(&backend->out), length))
        last = true;
    weir_buffer_consume(&backend->out, length);
    backend->sent += (long)length;
    if (!last && backend->closing && weir_buffer_length(&backend->out) == 0)
        last = true;
    if (!last)
        return true;
    end(backend);
    return false;
}

static void on_trickle(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)events;
    struct fake_backend *backend = timer->data;
    size_t limit = backend->postgres->trickle;
    if (send_some(backend, limit == 0 ? SIZE_MAX : limit) && weir_buffer_length(&backend->out) > 0)
        ev_timer_start(backend->postgres->loop->ev, &backend->trickle);
}

static bool flush(struct fake_backend *backend)
{
    if (backend->postgres->trickle == 0)
        return send_some(backend, SIZE_MAX);
    if (weir_buffer_length(&backend->out) == 0 && backend->closing)
        return send_some(backend, 0);
    if (weir_buffer_length(&backend->out) > 0 && !ev_is_active(&backend->trickle)) {
        ev_timer_set(&backend->trickle, 0., 0.);
        ev_timer_start(backend->postgres->loop->ev, &backend->trickle);
    }
    return true;
}

static void put(struct fake_backend *backend, char type, const void *body, size_t length)
{
    struct weir_writer writer = weir_writer_to(&backend->out);
    size_t begin = weir_message_begin(&writer, type);
    weir_write_bytes(&writer, body, length);
    weir_message_end(&writer, begin);
}

static void put_error(struct fake_backend *backend, const char *severity, const char *sqlstate,
                      const char *text)
{
    struct weir_writer writer = weir_writer_to(&backend->out);
    weir_write_error(&writer, severity, sqlstate, text, NULL, NULL);
}

static void put_tag(struct fake_backend *backend, const char *tag)
{
    put(backend, 'C', tag, strlen(tag) + 1);
}

static void put_ready(struct fake_backend *backend)
{
    put(backend, 'Z', &backend->status, 1);
}

static void put_row(struct fake_backend *backend, const char *first, const char *second)
{
    struct weir_writer writer = weir_writer_to(&backend->out);
    size_t begin = weir_message_begin(&writer, 'D');
    weir_write_u16(&writer, 2);
    weir_write_u32(&writer, (uint32_t)strlen(first));
    weir_write_bytes(&writer, first, strlen(first));
    weir_write_u32(&writer, (uint32_t)strlen(second));
    weir_write_bytes(&writer, second, strlen(second));
    weir_message_end(&writer, begin);
}

static void put_columns(struct fake_backend *backend, const char *text)
{
    static const char *const names[] = {"text", "pid"};
    struct weir_writer writer = weir_writer_to(&backend->out);
    size_t begin = weir_message_begin(&writer, 'T');
    weir_write_u16(&writer, 2);
    for (int i = 0; i < 2; i++) {
        weir_write_string(&writer, names[i]);
        weir_write_u32(&writer, 0);
        weir_write_u16(&writer, 0);
        weir_write_u32(
            &writer, strstr(text, "shifty") != NULL ? 25 + (uint32_t)backend->postgres->shape : 25);
        weir_write_u16(&writer, 0xffff);
        weir_write_u32(&writer, UINT32_MAX);
        weir_write_u16(&writer, 0);
    }
    weir_message_end(&writer, begin);
}

/* --- settings
 * --------------------------------------------------------------------------------------------- */

static bool is_reported(const char *name)
{
    return strcasecmp(name, "timezone") == 0 || strcasecmp(name, "application_name") == 0;
}

static const char *usual(const char *name)
{
    return strcasecmp(name, "timezone") == 0 ? "UTC" : "";
}

static void report(struct fake_backend *backend, const char *name)
{
    if (!is_reported(name))
        return;
    const char *value = fake_texts_find(&backend->settings, name);
    struct weir_writer writer = weir_writer_to(&backend->out);
    weir_write_parameter_status(&writer,
                                strcasecmp(name, "timezone") == 0 ? "TimeZone" : "application_name",
                                value != NULL ? value : usual(name));
}

static void put_setting(struct fake_backend *backend, const char *name, const char *value)
{
    if (value == NULL)
        unset(&backend->settings, name);
    else
        set(&backend->settings, name, value);
    report(backend, name);
}

static void reset_all(struct fake_backend *backend)
{
    while (backend->settings.count > 0) {
        char *name = weir_strdup(backend->settings.items[0].name);
        put_setting(backend, name, NULL);
        free(name);
    }
}

/* The texts between quotes after `at`, in place. */
static char *quoted(char **at, char quote)
{
    char *from = strchr(*at, quote);
    if (from == NULL)
        return NULL;
    char *to = strchr(from + 1, quote);
    if (to == NULL)
        return NULL;
    *to = '\0';
    *at = to + 1;
    return from + 1;
}

/* SELECT ... set_config(E'name',E'value',false);RESET "name"; ... False: refused. */
static bool set_configs(struct fake_backend *backend, const char *text)
{
    char *copy = weir_strdup(text), *at = copy;
    bool good = true;
    while (good && *at != '\0') {
        char *config = strstr(at, "set_config("), *reset = strstr(at, "RESET \"");
        if (config == NULL && reset == NULL)
            break;
        bool is_reset = config == NULL || (reset != NULL && reset < config);
        at = is_reset ? reset : config;
        char *name = quoted(&at, is_reset ? '"' : '\'');
        char *value = is_reset || name == NULL ? NULL : quoted(&at, '\'');
        if (name == NULL || (!is_reset && value == NULL))
            break;
        if (value != NULL && strcmp(value, "bad") == 0)
            good = false;
        else
            put_setting(backend, name, value);
    }
    free(copy);
    return good;
}

/* --- commands
 * --------------------------------------------------------------------------------------------- */

enum outcome {
    DONE,
    FAILED,
    SUSPENDED, /* ReadyForQuery, or what comes after Execute, must wait */
};

static enum outcome fail(struct fake_backend *backend, const char *sqlstate, const char *text)
{
    put_error(backend, "ERROR", sqlstate, text);
    if (backend->status == 'T')
        backend->status = 'E';
    return FAILED;
}

static bool begins(const char *text, const char *word, const char **rest)
{
    size_t length = strlen(word);
    if (strncasecmp(text, word, length) != 0)
        return false;
    *rest = text + length + strspn(text + length, " ");
    return true;
}

static enum outcome change_setting(struct fake_backend *backend, const char *rest)
{
    char *name = weir_strdup(rest), *value = strchr(name, '=');
    enum outcome outcome = DONE;
    if (value == NULL) {
        outcome = fail(backend, "42601", "syntax error");
    } else {
        *value++ = '\0';
        put_setting(backend, name, value);
        put_tag(backend, "SET");
    }
    free(name);
    return outcome;
}

static enum outcome run(struct fake_backend *backend, const char *text, bool extended);

static enum outcome run_prepared(struct fake_backend *backend, const char *name, bool extended)
{
    const char *text = fake_texts_find(&backend->statements, name);
    const char *rest;
    if (text == NULL)
        return fail(backend, "26000", "prepared statement does not exist");
    if (begins(text, "execute ", &rest))
        return fail(backend, "42601", "syntax error");
    char *copy = weir_strdup(text);
    enum outcome outcome = run(backend, copy, extended);
    free(copy);
    return outcome;
}

static void note_statements(struct fake_backend *backend)
{
    if (backend->statements.count > backend->postgres->statements_peak)
        backend->postgres->statements_peak = backend->statements.count;
}

static enum outcome prepare(struct fake_backend *backend, const char *rest)
{
    char *name = weir_strdup(rest), *as = strstr(name, " as ");
    enum outcome outcome = DONE;
    if (as == NULL) {
        outcome = fail(backend, "42601", "syntax error");
    } else {
        *as = '\0';
        if (find(&backend->statements, name) != NULL) {
            outcome = fail(backend, "42P05", "prepared statement already exists");
        } else {
            set(&backend->statements, name, as + 4);
            note_statements(backend);
            put_tag(backend, "PREPARE");
        }
    }
    free(name);
    return outcome;
}

static enum outcome deallocate(struct fake_backend *backend, const char *name)
{
    if (strcasecmp(name, "all") == 0) {
        clear(&backend->statements);
        put_tag(backend, "DEALLOCATE ALL");
        return DONE;
    }
    if (find(&backend->statements, name) == NULL)
        return fail(backend, "26000", "prepared statement does not exist");
    unset(&backend->statements, name);
    put_tag(backend, "DEALLOCATE");
    return DONE;
}

static enum outcome copy_out(struct fake_backend *backend)
{
    static const uint8_t format[] = {0, 0, 1, 0, 0};
    put(backend, 'H', format, sizeof(format));
    put(backend, 'd', "one\n", 4);
    put(backend, 'd', "two\n", 4);
    put(backend, 'c', "", 0);
    put_tag(backend, "COPY 2");
    return DONE;
}

static enum outcome run_transaction(struct fake_backend *backend, const char *text)
{
    const char *rest;
    if (begins(text, "begin", &rest)) {
        if (backend->status == 'I')
            backend->status = 'T';
        put_tag(backend, "BEGIN");
        return DONE;
    }
    put_tag(backend,
            backend->status == 'E' || begins(text, "rollback", &rest) ? "ROLLBACK" : "COMMIT");
    backend->status = 'I';
    return DONE;
}

static enum outcome run_session(struct fake_backend *backend, const char *text)
{
    const char *rest;
    if (begins(text, "set ", &rest))
        return change_setting(backend, rest);
    if (begins(text, "reset all", &rest) || begins(text, "discard all", &rest)) {
        reset_all(backend);
        bool discard = begins(text, "discard", &rest);
        if (discard)
            clear(&backend->statements);
        if (discard)
            clear(&backend->channels);
        put_tag(backend, discard ? "DISCARD ALL" : "RESET");
        return DONE;
    }
    if (strstr(text, "pg_settings") != NULL) {
        put_columns(backend, text);
        for (size_t i = 0; i < backend->settings.count; i++)
            put_row(backend, backend->settings.items[i].name, backend->settings.items[i].text);
        if (backend->channels.count > 0)
            put_row(backend, ":listen", "");
        put_tag(backend, "SELECT 0");
        return DONE;
    }
    if (!set_configs(backend, text))
        return fail(backend, "22023", "invalid value for parameter");
    put_tag(backend, begins(text, "reset", &rest) ? "RESET" : "SELECT 1");
    return DONE;
}

/* --- notifications
 * ---------------------------------------------------------------------------------------- */

static void tell(struct fake_backend *listener, uint32_t pid, const char *channel,
                 const char *payload)
{
    if (find(&listener->channels, channel) == NULL)
        return;
    struct weir_writer writer = weir_writer_to(&listener->out);
    size_t begin = weir_message_begin(&writer, 'A');
    weir_write_u32(&writer, pid);
    weir_write_string(&writer, channel);
    weir_write_string(&writer, payload);
    weir_message_end(&writer, begin);
}

static enum outcome run_notices(struct fake_backend *backend, const char *text)
{
    const char *rest;
    if (begins(text, "listen ", &rest)) {
        set(&backend->channels, rest, "");
        put_tag(backend, "LISTEN");
        return DONE;
    }
    begins(text, "notify ", &rest);
    char *channel = weir_strdup(rest), *payload = strchr(channel, ' ');
    if (payload != NULL)
        *payload++ = '\0';
    put_tag(backend, "NOTIFY");
    weir_list_for(link, &backend->postgres->backends) {
        struct fake_backend *other = weir_container_of(link, struct fake_backend, link);
        tell(other, backend->pid, channel, payload != NULL ? payload : "");
        if (other != backend)
            flush(other);
    }
    free(channel);
    return DONE;
}

static enum outcome run(struct fake_backend *backend, const char *text, bool extended)
{
    const char *rest;
    if (begins(text, "commit", &rest) || begins(text, "rollback", &rest))
        return run_transaction(backend, text);
    if (backend->status == 'E')
        return fail(backend, "25P02", "current transaction is aborted");
    if (begins(text, "begin", &rest))
        return run_transaction(backend, text);
    if (begins(text, "fail", &rest))
        return fail(backend, "42P01", text);
    if (begins(text, "sleep", &rest)) {
        backend->sleeping = true;
        backend->sleep_extended = extended;
        return SUSPENDED;
    }
    if (begins(text, "die", &rest) || begins(text, "vanish", &rest)) {
        if (begins(text, "die", &rest))
            put_error(backend, "FATAL", "57P01", "terminating connection");
        backend->closing = true;
        return SUSPENDED;
    }
    if (begins(text, "copyin", &rest)) {
        static const uint8_t format[] = {0, 0, 1, 0, 0};
        put(backend, 'G', format, sizeof(format));
        backend->copy = extended ? FAKE_COPY_EXTENDED : FAKE_COPY_SIMPLE;
        return SUSPENDED;
    }
    if (begins(text, "copyout", &rest))
        return copy_out(backend);
    if (begins(text, "set ", &rest) || begins(text, "reset", &rest) ||
        begins(text, "discard", &rest) || strstr(text, "set_config(") != NULL ||
        strstr(text, "pg_settings") != NULL)
        return run_session(backend, text);
    if (begins(text, "prepare ", &rest))
        return prepare(backend, rest);
    if (begins(text, "execute ", &rest))
        return run_prepared(backend, rest, extended);
    if (begins(text, "deallocate ", &rest))
        return deallocate(backend, rest);
    if (begins(text, "listen ", &rest) || begins(text, "notify ", &rest))
        return run_notices(backend, text);
    if (begins(text, "empty", &rest)) {
        put(backend, 'I', "", 0);
        return DONE;
    }
    char pid[16];
    snprintf(pid, sizeof(pid), "%u", backend->pid);
    if (!extended)
        put_columns(backend, text);
    put_row(backend, text, pid);
    put_tag(backend, "SELECT 1");
    return DONE;
}

/* --- the extended protocol
 * ---------------------------------------------------------------------------------- */

static enum outcome take_parse(struct fake_backend *backend, struct weir_reader *reader)
{
    const char *name = weir_read_string(reader), *text = weir_read_string(reader);
    const char *rest;
    if (reader->failed)
        return fail(backend, "08P01", "malformed Parse");
    if (begins(text, "fail_parse", &rest))
        return fail(backend, "42601", text);
    if (backend->status == 'E' && !begins(text, "rollback", &rest) &&
        !begins(text, "commit", &rest) && text[0] != '\0')
        return fail(backend, "25P02", "current transaction is aborted");
    if (name[0] != '\0' && find(&backend->statements, name) != NULL)
        return fail(backend, "42P05", "prepared statement already exists");
    set(&backend->statements, name, text);
    note_statements(backend);
    put(backend, '1', "", 0);
    return DONE;
}

static enum outcome take_bind(struct fake_backend *backend, struct weir_reader *reader)
{
    const char *portal = weir_read_string(reader), *name = weir_read_string(reader);
    const char *rest;
    if (reader->failed)
        return fail(backend, "08P01", "malformed Bind");
    const char *text = fake_texts_find(&backend->statements, name);
    if (text == NULL)
        return fail(backend, "26000", "prepared statement does not exist");
    if (begins(text, "fail_bind", &rest))
        return fail(backend, "22P02", text);
    set(&backend->portals, portal, text);
    put(backend, '2', "", 0);
    return DONE;
}

static enum outcome take_describe(struct fake_backend *backend, struct weir_reader *reader)
{
    uint8_t what = weir_read_u8(reader);
    const char *name = weir_read_string(reader);
    if (reader->failed)
        return fail(backend, "08P01", "malformed Describe");
    const char *text =
        fake_texts_find(what == 'S' ? &backend->statements : &backend->portals, name);
    if (text == NULL)
        return fail(backend, what == 'S' ? "26000" : "34000", "does not exist");
    if (what == 'S')
        put(backend, 't', "\0\0", 2);
    const char *rest;
    if (begins(text, "begin", &rest) || begins(text, "set ", &rest))
        put(backend, 'n', "", 0);
    else
        put_columns(backend, text);
    return DONE;
}

static enum outcome take_execute(struct fake_backend *backend, struct weir_reader *reader)
{
    const char *portal = weir_read_string(reader);
    const char *text = reader->failed ? NULL : fake_texts_find(&backend->portals, portal);
    if (text == NULL)
        return fail(backend, "34000", "portal does not exist");
    char *copy = weir_strdup(text);
    enum outcome outcome = run(backend, copy, true);
    free(copy);
    return outcome;
}

static enum outcome take_close(struct fake_backend *backend, struct weir_reader *reader)
{
    uint8_t what = weir_read_u8(reader);
    const char *name = weir_read_string(reader);
    if (reader->failed)
        return fail(backend, "08P01", "malformed Close");
    unset(what == 'S' ? &backend->statements : &backend->portals, name);
    put(backend, '3', "", 0);
    return DONE;
}

static void take_sync(struct fake_backend *backend)
{
    backend->skipping = false;
    backend->batch_open = false;
    if (backend->status == 'I')
        clear(&backend->portals);
    put_ready(backend);
}

static void take_copy(struct fake_backend *backend, char type, const uint8_t *body, size_t length)
{
    if (backend->copy == FAKE_COPY_NONE)
        return;
    bool simple = backend->copy == FAKE_COPY_SIMPLE;
    enum outcome outcome = DONE;
    if (type == 'd') {
        if (memmem(body, length, "bad", 3) == NULL)
            return;
        outcome = fail(backend, "22P04", "bad copy data");
    } else if (type == 'f') {
        outcome = fail(backend, "57014", "COPY from stdin failed");
    } else {
        put_tag(backend, "COPY 1");
    }
    backend->copy = FAKE_COPY_NONE;
    if (simple)
        put_ready(backend);
    else if (outcome == FAILED)
        backend->skipping = true;
}

static void take_extended(struct fake_backend *backend, char type, const uint8_t *body,
                          size_t length)
{
    if (backend->skipping)
        return;
    struct weir_reader reader;
    weir_reader_init(&reader, body, length);
    enum outcome outcome = type == 'P'   ? take_parse(backend, &reader)
                           : type == 'B' ? take_bind(backend, &reader)
                           : type == 'D' ? take_describe(backend, &reader)
                           : type == 'E' ? take_execute(backend, &reader)
                                         : take_close(backend, &reader);
    backend->batch_open = true;
    if (outcome == FAILED)
        backend->skipping = true;
}

static void take_query(struct fake_backend *backend, const char *text)
{
    if (backend->skipping)
        return;
    if (backend->batch_open)
        backend->postgres->late_batches++;
    backend->batch_open = false;
    unset(&backend->statements, "");
    if (run(backend, text, false) != SUSPENDED)
        put_ready(backend);
}

/* --- the connection
 * ------------------------------------------------------------------------------------------- */

static void welcome(struct fake_backend *backend)
{
    struct fake_postgres *postgres = backend->postgres;
    struct weir_writer writer = weir_writer_to(&backend->out);
    if (postgres->refuse_login != NULL) {
        put_error(backend, "FATAL", postgres->refuse_login, "login refused");
        backend->closing = true;
        return;
    }
    uint8_t key[WEIR_CANCEL_KEY_MAX];
    for (size_t i = 0; i < postgres->key_length; i++)
        key[i] = (uint8_t)(backend->pid + i);
    weir_write_authentication(&writer, 0, NULL, 0);
    weir_write_parameter_status(&writer, "server_version", "15.0");
    weir_write_parameter_status(&writer, "client_encoding", "UTF8");
    weir_write_parameter_status(&writer, "TimeZone", "UTC");
    weir_write_parameter_status(&writer, "application_name", "");
    weir_write_backend_key(&writer, backend->pid, key, postgres->key_length);
    put_ready(backend);
    postgres->opened++;
    backend->started = true;
    backend->sent = -(long)weir_buffer_length(&backend->out);
}

static void walk(struct fake_backend *backend, const uint8_t *bytes, size_t length);

/* What came while it slept is looked at. */
static void go_on(struct fake_backend *backend)
{
    uint8_t *bytes;
    size_t length;
    weir_stream_unread(&backend->stream, &bytes, &length);
    walk(backend, bytes, length);
}

static void rouse(struct fake_backend *backend)
{
    backend->sleeping = false;
    weir_stream_resume(&backend->stream);
}

static void take_cancel(struct fake_backend *backend, const struct weir_startup *startup)
{
    struct fake_postgres *postgres = backend->postgres;
    struct fake_backend *target = fake_postgres_find(postgres, startup->pid);
    backend->closing = true;
    if (target == NULL || !target->sleeping || startup->key_length != postgres->key_length)
        return;
    postgres->cancels++;
    rouse(target);
    fail(target, "57014", "canceling statement due to user request");
    if (target->sleep_extended)
        target->skipping = true;
    else
        put_ready(target);
    go_on(target);
}

/* Bytes taken, 0: more are needed. */
static size_t take_startup(struct fake_backend *backend, const uint8_t *bytes, size_t length)
{
    struct weir_startup startup;
    weir_startup_parse(bytes, length, &startup);
    if (startup.kind == WEIR_STARTUP_INCOMPLETE)
        return 0;
    if (startup.kind == WEIR_STARTUP_LOGIN) {
        welcome(backend);
        return startup.length;
    }
    if (startup.kind == WEIR_STARTUP_CANCEL)
        take_cancel(backend, &startup);
    backend->closing = true;
    return startup.length;
}

/* A message that has no place in copy data: since version 14 the connection does not survive it. */
static void break_copy(struct fake_backend *backend)
{
    fail(backend, "08P01", "unexpected message type during COPY from stdin");
    put_error(backend, "FATAL", "08P01",
              "terminating connection because protocol synchronization was lost");
    backend->closing = true;
}

static void take(struct fake_backend *backend, char type, const uint8_t *body, size_t length)
{
    if (backend->received < LOG_SIZE - 1)
        backend->messages[backend->received] = type;
    backend->received++;
    if (backend->copy != FAKE_COPY_NONE && strchr("QPBDECF", type) != NULL) {
        break_copy(backend);
        return;
    }
    switch (type) {
    case 'Q':
        take_query(backend, (const char *)body);
        break;
    case 'P':
    case 'B':
    case 'D':
    case 'E':
    case 'C':
        take_extended(backend, type, body, length);
        break;
    case 'S':
        /* During COPY it belongs to the copy data. */
        if (backend->copy == FAKE_COPY_NONE)
            take_sync(backend);
        break;
    case 'F':
        if (!backend->skipping) {
            put(backend, 'V', "\0\0\0\1x", 5);
            put_ready(backend);
        }
        break;
    case 'd':
    case 'c':
    case 'f':
        take_copy(backend, type, body, length);
        break;
    case 'H':
        break;
    case 'X':
        backend->closing = true;
        break;
    default:
        put_error(backend, "FATAL", "08P01", "invalid frontend message type");
        backend->closing = true;
        break;
    }
}

/* Bytes taken, 0: more are needed, or it sleeps. */
static size_t take_message(struct fake_backend *backend, const uint8_t *bytes, size_t length)
{
    if (length < WEIR_WIRE_HEADER || backend->sleeping)
        return 0;
    size_t size = weir_get_u32(bytes + 1);
    weir_require(size >= 4);
    if (length < size + 1)
        return 0;
    /* In memory of its own size, with a terminator behind it. */
    uint8_t *body = weir_alloc(size - 4 + 1);
    memcpy(body, bytes + WEIR_WIRE_HEADER, size - 4);
    take(backend, (char)bytes[0], body, size - 4);
    free(body);
    return size + 1;
}

static void walk(struct fake_backend *backend, const uint8_t *bytes, size_t length)
{
    struct fake_postgres *postgres = backend->postgres;
    while (length > 0 && !backend->closing) {
        bool was_started = backend->started;
        size_t taken = backend->started ? take_message(backend, bytes, length)
                                        : take_startup(backend, bytes, length);
        if (taken == 0)
            break;
        bytes += taken;
        length -= taken;
        if (postgres->vanish_at >= 0 && backend->received >= (size_t)postgres->vanish_at &&
            was_started) {
            end(backend);
            return;
        }
    }
    if (weir_stream_keep(&backend->stream, bytes, length))
        flush(backend);
    else
        end(backend);
}

static void on_event(struct weir_stream *stream, unsigned events)
{
    struct fake_backend *backend = weir_container_of(stream, struct fake_backend, stream);
    uint8_t *bytes;
    size_t length;
    if (!(events & WEIR_STREAM_READABLE))
        return;
    enum weir_io io = weir_stream_receive(stream, &bytes, &length);
    if (io == WEIR_IO_OK)
        walk(backend, bytes, length);
    else if (backend->sleeping && io == WEIR_IO_EOF)
        weir_stream_pause(stream); /* who works for a client does not notice that it has gone */
    else if (io != WEIR_IO_WAIT)
        end(backend);
}

static void on_accept(struct ev_loop *ev, ev_io *watcher, int events)
{
    (void)ev;
    (void)events;
    struct fake_postgres *postgres = watcher->data;
    int fd = accept4(postgres->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        fake_postgres_accept(postgres, fd);
}

/* --- from outside
 * ----------------------------------------------------------------------------------------- */

void fake_postgres_accept(struct fake_postgres *postgres, int fd)
{
    struct fake_backend *backend = weir_alloc(sizeof(*backend));
    backend->postgres = postgres;
    backend->pid = postgres->next_pid++;
    backend->status = 'I';
    backend->messages = weir_alloc(LOG_SIZE);
    ev_timer_init(&backend->trickle, on_trickle, 0., 0.);
    backend->trickle.data = backend;
    weir_list_push_back(&postgres->backends, &backend->link);
    weir_stream_open(&backend->stream, postgres->loop, fd, 0, on_event);
}

void fake_postgres_init(struct fake_postgres *postgres, struct weir_loop *loop)
{
    *postgres = (struct fake_postgres){.loop = loop,
                                       .fd = -1,
                                       .next_pid = 1001,
                                       .key_length = 4,
                                       .vanish_after = -1,
                                       .vanish_at = -1};
    weir_list_init(&postgres->backends);
}

void fake_postgres_open(struct fake_postgres *postgres, struct weir_loop *loop)
{
    fake_postgres_init(postgres, loop);
    postgres->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    weir_require(bind(postgres->fd, (struct sockaddr *)(void *)&address, length) == 0);
    weir_require(listen(postgres->fd, 64) == 0);
    weir_require(getsockname(postgres->fd, (struct sockaddr *)(void *)&address, &length) == 0);
    postgres->port = ntohs(address.sin_port);
    ev_io_init(&postgres->accepting, on_accept, postgres->fd, EV_READ);
    postgres->accepting.data = postgres;
    ev_io_start(loop->ev, &postgres->accepting);
}

void fake_postgres_close(struct fake_postgres *postgres)
{
    while (!weir_list_is_empty(&postgres->backends))
        end(weir_container_of(weir_list_first(&postgres->backends), struct fake_backend, link));
    if (postgres->fd < 0)
        return;
    ev_io_stop(postgres->loop->ev, &postgres->accepting);
    close(postgres->fd);
    postgres->fd = -1;
}

void fake_postgres_wake(struct fake_postgres *postgres)
{
    weir_list_for_safe(link, &postgres->backends) {
        struct fake_backend *backend = weir_container_of(link, struct fake_backend, link);
        if (!backend->sleeping)
            continue;
        rouse(backend);
        put_tag(backend, "SELECT 1");
        if (!backend->sleep_extended)
            put_ready(backend);
        go_on(backend);
    }
}

void fake_postgres_end_all(struct fake_postgres *postgres, bool say)
{
    weir_list_for_safe(link, &postgres->backends) {
        struct fake_backend *backend = weir_container_of(link, struct fake_backend, link);
        if (backend->closing)
            continue;
        if (say)
            put_error(backend, "FATAL", "57P01", "terminating connection");
        backend->closing = true;
        flush(backend);
    }
}

size_t fake_postgres_count(const struct fake_postgres *postgres)
{
    size_t count = 0;
    weir_list_for(link, &postgres->backends)
        count++;
    return count;
}

struct fake_backend *fake_postgres_find(const struct fake_postgres *postgres, uint32_t pid)
{
    weir_list_for(link, &postgres->backends) {
        struct fake_backend *backend = weir_container_of(link, struct fake_backend, link);
        if (backend->started && (pid == 0 || backend->pid == pid))
            return backend;
    }
    return NULL;
}
