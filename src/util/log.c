#include "weir/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "journal.h"
#include "weir/clock.h"
#include "weir/text.h"

/* Warnings and errors of one call site beyond this many per second are counted, not written: a
 * broken server or a scanning client must not fill the disk. Ordinary events are never dropped. */
#define REPEATS_PER_SECOND 50
#define CALL_SITES         64

struct call_site {
    const char *format; /* identifies the place; NULL: free */
    enum weir_log_level level;
    const char *event;
    weir_usec since;
    unsigned int written;
    uint64_t suppressed;
};

static struct {
    enum weir_log_level level;
    enum weir_log_format format;
    int file; /* -1: none */
    bool to_stderr;
    bool to_journal; /* instead of standard error, which leads there */
    bool to_syslog;
    char syslog_ident[64]; /* openlog keeps a pointer to it */
    int syslog_facility;
    struct call_site sites[CALL_SITES];
    unsigned int sites_suppressed; /* sites whose `suppressed` is not 0 */
} state = {.level = WEIR_LOG_INFO, .file = -1, .to_stderr = true};

static const struct {
    const char *text;
    const char *json;
    int syslog;
} levels[] = {
    [WEIR_LOG_ERROR] = {"ERROR", "error", LOG_ERR},
    [WEIR_LOG_WARNING] = {"WARNING", "warning", LOG_WARNING},
    [WEIR_LOG_INFO] = {"INFO", "info", LOG_INFO},
    [WEIR_LOG_DEBUG] = {"DEBUG", "debug", LOG_DEBUG},
};

static void open_syslog(const struct weir_log_target *target)
{
    const char *ident = target->syslog_ident != NULL && target->syslog_ident[0] != '\0'
                            ? target->syslog_ident
                            : "pgweir";
    int facility = target->syslog_facility != 0 ? target->syslog_facility : LOG_DAEMON;
    char cut[sizeof(state.syslog_ident)];
    snprintf(cut, sizeof(cut), "%s", ident);
    if (state.to_syslog &&
        (strcmp(cut, state.syslog_ident) != 0 || facility != state.syslog_facility)) {
        closelog();
        state.to_syslog = false;
    }
    if (state.to_syslog)
        return;
    memcpy(state.syslog_ident, cut, sizeof(cut));
    state.syslog_facility = facility;
    openlog(state.syslog_ident, LOG_PID | LOG_NDELAY, facility);
}

bool weir_log_open(const struct weir_log_target *target)
{
    int file = -1;
    if (target->file != NULL && target->file[0] != '\0') {
        /* O_NONBLOCK: a FIFO that nobody reads must fail here instead of stopping the daemon. */
        file = open(target->file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
                    0640);
        if (file < 0)
            return false;
    }
    if (state.file >= 0)
        close(state.file);
    if (state.to_syslog && !target->to_syslog)
        closelog();
    if (target->to_syslog)
        open_syslog(target);
    state.file = file;
    state.level = target->level;
    state.format = target->format;
    state.to_journal = target->to_stderr && journal_is_stderr();
    state.to_stderr = target->to_stderr && !state.to_journal;
    state.to_syslog = target->to_syslog;
    return true;
}

bool weir_log_enabled(enum weir_log_level level)
{
    return level <= state.level;
}

static bool append_text(struct weir_buffer *line, const char *text)
{
    return weir_buffer_append(line, text, strlen(text));
}

/* ` name=value`, quoted when a bare value could be taken for something else. */
static bool append_field_text(struct weir_buffer *line, const char *name, const char *value)
{
    bool bare = value[0] != '\0' && strpbrk(value, " \"\\=") == NULL;
    return append_text(line, " ") && append_text(line, name) &&
           append_text(line, bare ? "=" : "=\"") &&
           weir_text_escape(line, WEIR_ESCAPE_QUOTED, value, strlen(value)) &&
           append_text(line, bare ? "" : "\"");
}

static bool append_field_json(struct weir_buffer *line, const char *name, const char *value)
{
    return append_text(line, ",\"") && append_text(line, name) && append_text(line, "\":\"") &&
           weir_text_escape(line, WEIR_ESCAPE_JSON, value, strlen(value)) &&
           append_text(line, "\"");
}

static bool append_who(struct weir_buffer *line, const struct weir_log_who *who,
                       enum weir_log_format format)
{
    bool (*field)(struct weir_buffer *, const char *, const char *) =
        format == WEIR_LOG_JSON ? append_field_json : append_field_text;
    char id[64];
    if (who->kind != NULL && format == WEIR_LOG_JSON) {
        if (!field(line, "kind", who->kind))
            return false;
        snprintf(id, sizeof(id), ",\"id\":%" PRIu64, who->id);
        if (who->id != 0 && !append_text(line, id))
            return false;
    } else if (who->kind != NULL) {
        snprintf(id, sizeof(id), "%" PRIu64, who->id);
        if (who->id != 0 && !field(line, who->kind, id))
            return false;
    }
    return (who->database == NULL || field(line, "database", who->database)) &&
           (who->user == NULL || field(line, "user", who->user)) &&
           (who->peer == NULL || field(line, "peer", who->peer));
}

static bool append_timestamp(struct weir_buffer *line, enum weir_log_format format)
{
    struct timespec now;
    struct tm parts;
    char text[64];
    char stamp[96];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    bool json = format == WEIR_LOG_JSON;
    strftime(text, sizeof(text), json ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &parts);
    snprintf(stamp, sizeof(stamp), json ? "{\"time\":\"%s.%03ldZ\"" : "%s.%03ld UTC ", text,
             now.tv_nsec / 1000000);
    return append_text(line, stamp);
}

/* EVENT FIELDS: MESSAGE, which is also the whole of a syslog message. */
static bool append_body_text(struct weir_buffer *line, const struct weir_log_who *who,
                             const char *event, const char *message)
{
    return weir_text_escape(line, WEIR_ESCAPE_TEXT, event, strlen(event)) &&
           (who == NULL || append_who(line, who, WEIR_LOG_TEXT)) && append_text(line, ": ") &&
           weir_text_escape(line, WEIR_ESCAPE_TEXT, message, strlen(message));
}

static bool build_text(struct weir_buffer *line, enum weir_log_level level,
                       const struct weir_log_who *who, const char *event, const char *message)
{
    char prefix[64];
    snprintf(prefix, sizeof(prefix), "[%ld] %s ", (long)getpid(), levels[level].text);
    return append_timestamp(line, WEIR_LOG_TEXT) && append_text(line, prefix) &&
           append_body_text(line, who, event, message) && append_text(line, "\n");
}

static bool build_json(struct weir_buffer *line, enum weir_log_level level,
                       const struct weir_log_who *who, const char *event, const char *message)
{
    char prefix[64];
    snprintf(prefix, sizeof(prefix), ",\"level\":\"%s\",\"pid\":%ld", levels[level].json,
             (long)getpid());
    return append_timestamp(line, WEIR_LOG_JSON) && append_text(line, prefix) &&
           append_field_json(line, "event", event) &&
           (who == NULL || append_who(line, who, WEIR_LOG_JSON)) &&
           append_field_json(line, "message", message) && append_text(line, "}\n");
}

/* One write per line, so that lines of several writers of one file do not mix. A log that cannot be
 * written is no reason to stop serving. */
static void write_line(int descriptor, const struct weir_buffer *line)
{
    const uint8_t *bytes = weir_buffer_bytes(line);
    size_t left = weir_buffer_length(line);
    while (left > 0) {
        ssize_t written = write(descriptor, bytes, left);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        bytes += written;
        left -= (size_t)written;
    }
}

static void send_syslog(enum weir_log_level level, const struct weir_log_who *who,
                        const char *event, const char *message)
{
    struct weir_buffer body = {0};
    if (append_body_text(&body, who, event, message) && weir_buffer_append(&body, "", 1))
        syslog(levels[level].syslog, "%s", (const char *)weir_buffer_bytes(&body));
    weir_buffer_clear(&body);
}

/* The message repeats the fields, for those who read lines instead of searching fields. */
static void send_journal(enum weir_log_level level, const struct weir_log_who *who,
                         const char *event, const char *message)
{
    struct weir_buffer body = {0};
    if (append_body_text(&body, who, event, message) && weir_buffer_append(&body, "", 1))
        journal_send(levels[level].syslog, who, event, (const char *)weir_buffer_bytes(&body));
    weir_buffer_clear(&body);
}

static void emit(enum weir_log_level level, const struct weir_log_who *who, const char *event,
                 const char *message)
{
    if (state.to_stderr || state.file >= 0) {
        struct weir_buffer line = {0};
        bool built = state.format == WEIR_LOG_JSON ? build_json(&line, level, who, event, message)
                                                   : build_text(&line, level, who, event, message);
        if (built && state.file >= 0)
            write_line(state.file, &line);
        if (built && state.to_stderr)
            write_line(STDERR_FILENO, &line);
        weir_buffer_clear(&line);
    }
    if (state.to_syslog)
        send_syslog(level, who, event, message);
    if (state.to_journal)
        send_journal(level, who, event, message);
}

static void report_suppressed(struct call_site *site)
{
    char message[160];
    snprintf(message, sizeof(message), "%" PRIu64 " more lines like \"%.60s\" were left out",
             site->suppressed, site->format);
    emit(site->level, NULL, site->event, message);
    site->suppressed = 0;
    state.sites_suppressed--;
}

static void report_expired(weir_usec now)
{
    for (int i = 0; state.sites_suppressed > 0 && i < CALL_SITES; i++) {
        struct call_site *site = &state.sites[i];
        if (site->suppressed > 0 && now - site->since >= WEIR_SEC)
            report_suppressed(site);
    }
}

static bool is_repeat(enum weir_log_level level, const char *event, const char *format)
{
    weir_usec now = weir_clock_now();
    report_expired(now);
    if (level > WEIR_LOG_WARNING)
        return false;
    struct call_site *site = &state.sites[((uintptr_t)format >> 3) % CALL_SITES];
    if (site->format != format || now - site->since >= WEIR_SEC) {
        if (site->suppressed > 0)
            report_suppressed(site);
        *site = (struct call_site){.format = format, .level = level, .event = event, .since = now};
    }
    if (site->written < REPEATS_PER_SECOND) {
        site->written++;
        return false;
    }
    if (site->suppressed++ == 0)
        state.sites_suppressed++;
    return true;
}

void weir_log_write(enum weir_log_level level, const struct weir_log_who *who, const char *event,
                    const char *format, ...)
{
    int saved_errno = errno;
    if (weir_log_enabled(level) && !is_repeat(level, event, format)) {
        char *message = NULL;
        va_list arguments;
        va_start(arguments, format);
        int length = vasprintf(&message, format, arguments);
        va_end(arguments);
        if (length >= 0) {
            emit(level, who, event, message);
            free(message);
        }
    }
    errno = saved_errno;
}
