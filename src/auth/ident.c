/* Maps of user names: who the system says somebody is, and who that one may be here. */
#include <stdlib.h>
#include <string.h>

#include "rules.h"
#include "weir/log.h"
#include "weir/memory.h"

static const struct weir_word *single(const struct weir_line *line, size_t index, const char *what,
                                      struct weir_problems *problems)
{
    if (index >= line->count) {
        weir_problem(problems, line->file, line->number, "the line ends before its %s", what);
        return NULL;
    }
    if (line->fields[index].count > 1) {
        weir_problem(problems, line->file, line->number, "there is more than one %s", what);
        return NULL;
    }
    return &line->fields[index].words[0];
}

static void clear_entry(struct ident_entry *entry)
{
    free(entry->map);
    hba_clear_name(&entry->system);
    hba_clear_name(&entry->user);
}

static bool check_insertion(const struct weir_line *line, struct ident_entry *entry,
                            struct weir_problems *problems)
{
    entry->inserts = entry->system.kind == HBA_NAME_PATTERN && entry->user.kind == HBA_NAME &&
                     strstr(entry->user.text, "\\1") != NULL;
    if (!entry->inserts || weir_pattern_groups(entry->system.pattern) > 0)
        return true;
    weir_problem(problems, line->file, line->number,
                 "\\1 stands in \"%s\", but the regular expression has no parentheses",
                 entry->user.text);
    return false;
}

static bool read_entry(const struct weir_line *line, struct ident_entry *entry,
                       struct weir_problems *problems)
{
    const struct weir_word *map = single(line, 0, "map name", problems);
    const struct weir_word *system = map ? single(line, 1, "system user name", problems) : NULL;
    const struct weir_word *user = system ? single(line, 2, "database user name", problems) : NULL;
    if (user == NULL)
        return false;
    if (!user->quoted && user->text[0] == '+') {
        weir_problem(problems, line->file, line->number,
                     "refused: members of a role (%s) are not looked up for a map", user->text);
        return false;
    }
    *entry = (struct ident_entry){
        .file = line->file, .line = line->number, .map = weir_strdup(map->text)};
    if (weir_word_is(user, "all"))
        entry->user.kind = HBA_NAME_ALL;
    else if (!hba_read_name(user, line, problems, &entry->user))
        return false;
    return hba_read_name(system, line, problems, &entry->system) &&
           check_insertion(line, entry, problems);
}

void ident_read(struct ident *ident, const struct weir_hba_source *source, const char *path,
                struct weir_problems *problems)
{
    struct weir_lines lines = {0};
    weir_lines_read(&lines, source, path, problems);
    ident->items = weir_alloc((lines.count + 1) * sizeof(*ident->items));
    for (size_t i = 0; i < lines.count; i++) {
        struct ident_entry entry = {0};
        if (read_entry(&lines.items[i], &entry, problems))
            ident->items[ident->count++] = entry;
        else
            clear_entry(&entry);
    }
    ident->files = weir_lines_take_files(&lines, &ident->file_count);
    weir_lines_clear(&lines);
}

void ident_clear(struct ident *ident)
{
    for (size_t i = 0; i < ident->count; i++)
        clear_entry(&ident->items[i]);
    free(ident->items);
    for (size_t i = 0; i < ident->file_count; i++)
        free(ident->files[i]);
    free(ident->files);
}

/* --- using ----------------------------------------------------------------------------- */

/* Whether `user` is what `text` says with `part` in place of its first \1. What comes out is a name
 * and nothing else, also if it looks like a keyword. */
static bool is_inserted(const char *text, const char *part, const char *user)
{
    const char *mark = strstr(text, "\\1");
    char *whole = weir_format("%.*s%s%s", (int)(mark - text), text, part, mark + 2);
    bool same = strcmp(whole, user) == 0;
    free(whole);
    return same;
}

static bool entry_maps(const struct ident_entry *entry, const char *system_user, const char *user,
                       bool *trouble)
{
    if (!entry->inserts)
        return hba_name_fits(&entry->system, system_user, trouble) &&
               (entry->user.kind == HBA_NAME_ALL || hba_name_fits(&entry->user, user, trouble));
    char *part;
    enum weir_pattern_result result = weir_pattern_match(entry->system.pattern, system_user, &part);
    /* As in PostgreSQL, no later line is asked when there is nothing to insert. */
    *trouble = result == WEIR_PATTERN_TOO_DEAR || (result == WEIR_PATTERN_YES && part == NULL);
    bool maps = part != NULL && is_inserted(entry->user.text, part, user);
    free(part);
    return maps;
}

bool ident_maps(const struct ident *ident, const char *map, const char *system_user,
                const char *user)
{
    if (map == NULL || *map == '\0')
        return strcmp(system_user, user) == 0;
    for (size_t i = 0; i < ident->count; i++) {
        const struct ident_entry *entry = &ident->items[i];
        bool trouble = false;
        if (strcmp(entry->map, map) != 0)
            continue;
        if (entry_maps(entry, system_user, user, &trouble))
            return true;
        if (trouble) {
            weir_log_warning(NULL, "login", "%s:%zu: the regular expression gave no answer",
                             entry->file, entry->line);
            return false;
        }
    }
    return false;
}
