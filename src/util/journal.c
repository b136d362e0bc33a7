#include "journal.h"

#ifdef WEIR_SYSTEMD

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "weir/memory.h"

#define FIELDS_MAX 9

struct entry {
    struct iovec fields[FIELDS_MAX];
    int count;
};

bool journal_is_stderr(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat status;
    if (stream == NULL || sscanf(stream, "%llu:%llu", &device, &inode) != 2)
        return false;
    return fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

static void add(struct entry *entry, const char *name, const char *value)
{
    if (value == NULL)
        return;
    char *field = weir_format("%s=%s", name, value);
    entry->fields[entry->count++] = (struct iovec){.iov_base = field, .iov_len = strlen(field)};
}

void journal_send(int priority, const struct weir_log_who *who, const char *event,
                  const char *message)
{
    struct entry entry = {.count = 0};
    char number[32];
    snprintf(number, sizeof(number), "%d", priority);
    add(&entry, "MESSAGE", message);
    add(&entry, "PRIORITY", number);
    add(&entry, "SYSLOG_IDENTIFIER", "pgweir");
    add(&entry, "PGWEIR_EVENT", event);
    if (who != NULL) {
        snprintf(number, sizeof(number), "%" PRIu64, who->id);
        if (who->kind != NULL)
            add(&entry, strcmp(who->kind, "server") == 0 ? "PGWEIR_SERVER" : "PGWEIR_CLIENT",
                number);
        add(&entry, "PGWEIR_DATABASE", who->database);
        add(&entry, "PGWEIR_USER", who->user);
        add(&entry, "PGWEIR_PEER", who->peer);
    }
    sd_journal_sendv(entry.fields, entry.count);
    for (int i = 0; i < entry.count; i++)
        free(entry.fields[i].iov_base);
}

#else

bool journal_is_stderr(void)
{
    return false;
}

void journal_send(int priority, const struct weir_log_who *who, const char *event,
                  const char *message)
{
}

#endif
