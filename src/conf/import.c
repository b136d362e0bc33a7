/* From a file of PgBouncer to one of pgweir. What a line means is not decided here: each is applied
 * as it is when the daemon reads it, and what came out is written under pgweir's names. At the end the
 * settings are compared as a whole, so that what lines do to each other is kept as well. */
#include <stdlib.h>
#include <string.h>

#include "setting.h"
#include "snapshot.h"
#include "value.h"
#include "weir/libpq.h"
#include "weir/memory.h"

struct import {
    FILE *out;
    const char *file;
    struct weir_entries *entries;    /* owned by `theirs` */
    struct weir_conf *theirs;        /* read with PgBouncer's meaning */
    struct weir_conf *plain;         /* the same lines, read as pgweir's */
    struct weir_messages messages;   /* of `theirs` */
    bool stated[WEIR_SETTING_COUNT]; /* written already */
};

/* --- messages -------------------------------------------------------------------------- */

/* Writes those of `messages` that begin with `where` as comments. True when there are any. */
static bool comment_messages(const struct import *import, const char *where,
                             const struct weir_buffer *messages)
{
    const char *text = (const char *)weir_buffer_bytes(messages);
    const char *end = text + weir_buffer_length(messages);
    size_t length = strlen(where);
    bool any = false;
    while (text < end) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        size_t line = (size_t)(line_end - text);
        if (line > length + 2 && memcmp(text, where, length) == 0 && text[length] == ':') {
            fprintf(import->out, ";; %.*s\n", (int)(line - length - 2), text + length + 2);
            any = true;
        }
        text = line_end + 1;
    }
    return any;
}

enum verdict { VERDICT_GOOD, VERDICT_WARNED, VERDICT_LOST };

/* Writes what there is to say about a line, and tells how bad it is; LOST cannot be kept. */
static enum verdict comment_entry(const struct import *import, const struct weir_entry *entry)
{
    bool warned = comment_messages(import, entry->where, &import->messages.warnings);
    if (comment_messages(import, entry->where, &import->messages.problems))
        return VERDICT_LOST;
    return warned ? VERDICT_WARNED : VERDICT_GOOD;
}

/* --- global settings ------------------------------------------------------------------- */

static void write_setting(const struct import *import, const char *mark, const char *name,
                          const char *value)
{
    fprintf(import->out, "%s%s =%s%s\n", mark, name, *value == '\0' ? "" : " ", value);
}

/* What pgweir makes of `text` for a setting; NULL when it refuses it. */
static char *read_here(const struct weir_setting *setting, const char *text)
{
    struct weir_conf *conf = weir_alloc(sizeof(*conf));
    char *problem = weir_setting_set(setting, conf, text);
    char *value = problem == NULL ? weir_setting_show(setting, conf) : NULL;
    free(problem);
    weir_setting_free_strings(conf, false);
    free(conf);
    return value;
}

/* How `value` is written: as in the entry, where that is one that means the same here. */
static const char *choose_text(const struct weir_entry *entry, const struct weir_setting *setting,
                               const char *value)
{
    const struct weir_setting_alias *alias = weir_setting_find_alias(entry->name);
    if (alias != NULL && alias->translation != WEIR_TRANSLATE_PLAIN)
        return value;
    char *here = read_here(setting, entry->value);
    bool same = here != NULL && strcmp(here, value) == 0;
    free(here);
    return same ? entry->value : value;
}

static void say_translation(const struct import *import, const struct weir_entry *entry)
{
    const struct weir_setting_alias *alias = weir_setting_find_alias(entry->name);
    fprintf(import->out, ";; was %s =%s%s", entry->name, *entry->value == '\0' ? "" : " ",
            entry->value);
    if (alias != NULL && *alias->note != '\0')
        fprintf(import->out, " (%s)", alias->note);
    fputc('\n', import->out);
}

/* Writes one setting that an entry has made, unless something else has the last word on it. */
static void write_made(struct import *import, const struct weir_entry *entry,
                       const struct weir_setting *setting, const char *value)
{
    enum weir_setting_id id = weir_setting_id(setting);
    char *final = weir_setting_show(setting, import->theirs);
    const char *text = choose_text(entry, setting, value);
    if (strcmp(entry->name, setting->name) != 0 || text != entry->value)
        say_translation(import, entry);
    bool counts = strcmp(value, final) == 0 && !import->stated[id];
    if (!counts)
        fputs(";; without effect: another line has the last word\n", import->out);
    write_setting(import, counts ? "" : ";", setting->name, text);
    import->stated[id] = import->stated[id] || counts;
    free(final);
}

static void write_global(struct import *import, const struct weir_entry *entry)
{
    const struct weir_setting_foreign *foreign = weir_setting_find_foreign(entry->name);
    enum verdict verdict = comment_entry(import, entry);
    if (verdict == VERDICT_LOST) {
        fputs(";; this cannot be kept: decide, then change or remove the line\n", import->out);
        write_setting(import, "", entry->name, entry->value);
        return;
    }
    if (foreign != NULL) {
        if (verdict == VERDICT_GOOD)
            fprintf(import->out, ";; not needed: %s\n", foreign->reason);
        write_setting(import, ";", entry->name, entry->value);
        return;
    }
    unsigned char set[WEIR_SETTING_COUNT];
    struct weir_conf *made = weir_alloc(sizeof(*made));
    weir_conf_apply_one(made, entry, true, set);
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        if (set[i] == WEIR_UNSET)
            continue;
        char *value = weir_setting_show(&weir_settings[i], made);
        write_made(import, entry, &weir_settings[i], value);
        free(value);
    }
    weir_conf_destroy(made);
}

/* What holds in PgBouncer's file without having been written, or by several lines together. */
static void write_defaults(struct import *import)
{
    bool headed = false;
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        const struct weir_setting *setting = &weir_settings[i];
        if (import->stated[i])
            continue;
        char *value = weir_setting_show(setting, import->theirs);
        char *own = read_here(setting, setting->value);
        if (strcmp(value, own) != 0) {
            const char *where = import->theirs->origins[i].where;
            if (!headed)
                fputs("\n;;; What holds in PgBouncer without being written; pgweir's defaults "
                      "differ.\n[pgweir]\n",
                      import->out);
            headed = true;
            fprintf(import->out, ";; pgweir's default is %s%s%s\n", *own == '\0' ? "empty" : own,
                    where == NULL ? "" : "; this follows from ", where == NULL ? "" : where);
            write_setting(import, "", setting->name, value);
        }
        free(value);
        free(own);
    }
}

/* --- databases and users --------------------------------------------------------------- */

static void say_why(void *context, const struct weir_conf_change *change)
{
    const struct import *import = context;
    const char *why = "";
    if (change->part == NULL)
        return;
    if (strcmp(change->part, "host") == 0)
        why = ": without host it is the Unix socket in PgBouncer's unix_socket_dir";
    else if (strcmp(change->part, "pool_size") == 0)
        why = ": 0 is without limit";
    else if (strcmp(change->part, "max_overflow") == 0)
        why = ": the reserve of PgBouncer";
    fprintf(import->out, ";; written anew, as %s would mean something else here%s\n", change->part,
            why);
}

/* Compares one line of each snapshot alone. */
static void say_differences(const struct import *import, struct weir_database *database,
                            struct weir_database *plain_database, struct weir_conf_user *user,
                            struct weir_conf_user *plain_user)
{
    struct weir_conf theirs = *import->theirs;
    struct weir_conf plain = *import->theirs;
    theirs.databases = database;
    plain.databases = plain_database;
    theirs.database_count = plain.database_count = database != NULL;
    theirs.users = user;
    plain.users = plain_user;
    theirs.user_count = plain.user_count = user != NULL;
    weir_conf_changes(&plain, &theirs, say_why, (void *)(uintptr_t)import);
}

/* Both levels over the same global settings give the same values. */
static bool are_same_overrides(const struct import *import, const struct weir_pool_overrides *left,
                               const struct weir_pool_overrides *right, bool strict)
{
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        const struct weir_setting *setting = &weir_settings[i];
        if (!weir_setting_is_pool(setting))
            continue;
        bool left_set = left->set[i] != WEIR_UNSET;
        bool right_set = right->set[i] != WEIR_UNSET;
        const void *global = import->theirs;
        char *left_value = weir_setting_show(setting, left_set ? &left->values : global);
        char *right_value = weir_setting_show(setting, right_set ? &right->values : global);
        bool same = strcmp(left_value, right_value) == 0 && (!strict || left_set == right_set);
        free(left_value);
        free(right_value);
        if (!same)
            return false;
    }
    return true;
}

static void write_line(const struct import *import, const struct weir_entry *entry,
                       const char *value)
{
    weir_name_print(entry->name, import->out);
    fprintf(import->out, " =%s%s\n", *value == '\0' ? "" : " ", value);
}

static struct weir_database *find_database(const struct weir_conf *conf,
                                           const struct weir_entry *entry)
{
    for (size_t i = 0; i < conf->database_count; i++) {
        if (strcmp(conf->databases[i].where, entry->where) == 0)
            return &conf->databases[i];
    }
    return NULL;
}

static struct weir_conf_user *find_user(const struct weir_conf *conf,
                                        const struct weir_entry *entry)
{
    for (size_t i = 0; i < conf->user_count; i++) {
        if (strcmp(conf->users[i].where, entry->where) == 0)
            return &conf->users[i];
    }
    return NULL;
}

static void write_database(struct import *import, const struct weir_entry *entry)
{
    struct weir_database *theirs = find_database(import->theirs, entry);
    struct weir_database *plain = find_database(import->plain, entry);
    bool lost = comment_entry(import, entry) == VERDICT_LOST;
    if (theirs == NULL && !lost) {
        fputs(";; the last line of this name counts\n;", import->out);
        write_line(import, entry, entry->value);
    } else if (lost || (plain != NULL && weir_database_same_target(theirs, plain) &&
                        are_same_overrides(import, theirs->overrides, plain->overrides, false))) {
        write_line(import, entry, entry->value);
    } else {
        if (plain != NULL)
            say_differences(import, theirs, plain, NULL, NULL);
        char *value = weir_database_show(theirs, true);
        write_line(import, entry, value);
        weir_wipe(value, strlen(value));
        free(value);
    }
}

static void write_user(struct import *import, const struct weir_entry *entry)
{
    struct weir_conf_user *theirs = find_user(import->theirs, entry);
    struct weir_conf_user *plain = find_user(import->plain, entry);
    bool lost = comment_entry(import, entry) == VERDICT_LOST;
    if (theirs == NULL && !lost) {
        fputs(";; the last line of this name counts\n;", import->out);
        write_line(import, entry, entry->value);
    } else if (lost || (plain != NULL &&
                        are_same_overrides(import, theirs->overrides, plain->overrides, true))) {
        write_line(import, entry, entry->value);
    } else {
        if (plain != NULL)
            say_differences(import, NULL, NULL, theirs, plain);
        char *value = weir_overrides_show(theirs->overrides);
        write_line(import, entry, value);
        free(value);
    }
}

/* --- the whole ------------------------------------------------------------------------- */

/* The settings of `theirs` as entries of pgweir's, and the other lines as they are. */
static void make_plain(struct import *import)
{
    struct weir_entries entries = {.file = weir_strdup(import->file)};
    for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
        const struct weir_setting *setting = &weir_settings[i];
        /* What lines fall back on is the same for both. */
        if (!weir_setting_is_pool(setting) && strncmp(setting->name, "server_tls", 10) != 0)
            continue;
        char *value = weir_setting_show(setting, import->theirs);
        weir_entries_add(&entries, "pgweir", setting->name, value, "plain");
        free(value);
    }
    for (size_t i = 0; i < import->entries->count; i++) {
        const struct weir_entry *entry = &import->entries->items[i];
        if (strcmp(entry->section, "databases") == 0 || strcmp(entry->section, "users") == 0)
            weir_entries_add(&entries, entry->section, entry->name, entry->value, entry->where);
    }
    struct weir_messages messages = {0};
    import->plain = weir_alloc(sizeof(*import->plain));
    import->plain->entries = weir_alloc(sizeof(*import->plain->entries));
    *import->plain->entries = entries;
    weir_conf_apply(import->plain, import->plain->entries, &messages);
    weir_buffer_clear(&messages.problems);
    weir_buffer_clear(&messages.warnings);
}

static void write_entry(struct import *import, const struct weir_entry *entry)
{
    if (entry->layout != NULL)
        fputs(entry->layout, import->out);
    if (strcmp(entry->section, "databases") == 0)
        write_database(import, entry);
    else if (strcmp(entry->section, "users") == 0)
        write_user(import, entry);
    else if (strcmp(entry->section, "peers") == 0)
        fprintf(import->out, ";%s = %s\n", entry->name, entry->value);
    else
        write_global(import, entry);
}

static void write_file(struct import *import)
{
    fprintf(import->out,
            ";; Made from %s by pgweir --import. Lines with two semicolons are its notes.\n"
            ";; pgweir --check says whether the file is good, and what would run.\n\n",
            import->file);
    for (size_t i = 0; i < import->entries->count; i++)
        write_entry(import, &import->entries->items[i]);
    if (import->entries->layout != NULL)
        fputs(import->entries->layout, import->out);
    write_defaults(import);
}

static char *take_text(struct weir_buffer *buffer)
{
    char *text = NULL;
    if (weir_buffer_length(buffer) > 0)
        text = weir_strndup((const char *)weir_buffer_bytes(buffer), weir_buffer_length(buffer));
    weir_buffer_clear(buffer);
    return text;
}

bool weir_conf_import(const char *file, FILE *out, char **problems)
{
    struct import import = {.out = out, .file = file};
    import.theirs = weir_alloc(sizeof(*import.theirs));
    import.theirs->entries = weir_alloc(sizeof(*import.theirs->entries));
    import.entries = import.theirs->entries;
    import.entries->file = weir_strdup(file);
    import.entries->with_layout = true;
    weir_entries_read_file(import.entries, file, &import.messages);
    import.entries->pgbouncer_section = true;
    bool whole = weir_buffer_length(&import.messages.problems) == 0;
    bool held = weir_libpq_hold() != NULL;
    weir_conf_apply(import.theirs, import.entries, &import.messages);
    if (whole) {
        make_plain(&import);
        write_file(&import);
    }
    if (held)
        weir_libpq_drop();
    *problems = take_text(&import.messages.problems);
    weir_buffer_clear(&import.messages.warnings);
    weir_conf_destroy(import.plain);
    weir_conf_destroy(import.theirs);
    return *problems == NULL;
}
