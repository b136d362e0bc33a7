/* The manual page pgweir.ini(5), from the table of settings. */
#include <stdio.h>
#include <string.h>

#include "reference.h"
#include "weir/roff.h"

static void print_words(const struct weir_setting *setting, FILE *out)
{
    const char *comma = "One of ";
    for (const struct weir_setting_word *word = setting->words; word->word != NULL; word++) {
        bool shown = false;
        for (const struct weir_setting_word *other = setting->words; other != word; other++)
            shown = shown || other->value == word->value;
        if (shown)
            continue;
        fprintf(out, "%s\\fB", comma);
        weir_roff_inline(word->word, out);
        fputs("\\fR", out);
        comma = ", ";
    }
    fputs(".\n", out);
}

static void print_aliases(enum weir_setting_id id, FILE *out)
{
    const char *comma = "PgBouncer's name: ";
    for (size_t i = 0; i < weir_setting_alias_count; i++) {
        if (weir_setting_aliases[i].setting != id)
            continue;
        weir_roff_inline(comma, out);
        fprintf(out, "\\fB%s\\fR", weir_setting_aliases[i].name);
        comma = ", ";
    }
    if (*comma == ',')
        fputs(".\n", out);
}

static void print_setting(const struct weir_setting *setting, FILE *out)
{
    char term[80];
    snprintf(term, sizeof(term), "`%s`", setting->name);
    weir_roff_term(term, out);
    weir_roff_inline(setting->help, out);
    fputc('\n', out);
    if (setting->kind == WEIR_SETTING_ENUM)
        print_words(setting, out);
    fputs("Default: ", out);
    if (*setting->value == '\0') {
        fputs("empty", out);
    } else {
        fputs("\\fB", out);
        weir_roff_inline(setting->value, out);
        fputs("\\fR", out);
    }
    fputs(setting->reloadable ? ".\n" : "; changes at a restart only.\n", out);
    if (setting->scopes == (WEIR_SCOPE_GLOBAL | WEIR_SCOPE_DATABASE))
        fputs("Not per user.\n", out);
    if (setting->scopes == (WEIR_SCOPE_GLOBAL | WEIR_SCOPE_USER))
        fputs("Not per database.\n", out);
    print_aliases(weir_setting_id(setting), out);
}

void weir_conf_print_manual(FILE *out)
{
    weir_roff_head("PGWEIR.INI", 5, "pgweir.ini", "configuration of pgweir", out);
    weir_roff_heading("Description", out);
    weir_roff_prose(weir_reference_head, out);
    for (int group = 0; group < WEIR_GROUP_COUNT; group++) {
        weir_roff_heading(weir_reference_groups[group].title, out);
        if (*weir_reference_groups[group].text != '\0') {
            weir_roff_inline(weir_reference_groups[group].text, out);
            fputc('\n', out);
        }
        for (size_t i = 0; i < WEIR_SETTING_COUNT; i++) {
            if ((int)weir_settings[i].group == group)
                print_setting(&weir_settings[i], out);
        }
    }
    weir_roff_heading("Other sections", out);
    weir_roff_prose(weir_reference_databases, out);
    weir_roff_heading("Files of PgBouncer", out);
    weir_roff_prose(
        "A section `[pgbouncer]` is read as `[pgweir]` with PgBouncer's names, meanings "
        "and\ndefaults. `pgweir --check` says what it takes for what; `pgweir "
        "--import` writes such a\nfile anew.\n",
        out);
    weir_roff_heading("Example", out);
    weir_roff_prose("    [pgweir]\n    listen_addr = 10.0.0.5\n    auth_file = "
                    "/etc/pgweir/users.txt\n    pool_size = 20\n    max_overflow = 10\n\n"
                    "    [databases]\n    shop = host=db1.example dbname=shop\n"
                    "    * = host=db1.example\n\n    [users]\n"
                    "    batch = pool_size=3 query_timeout=10min\n",
                    out);
    weir_roff_heading("See also", out);
    fputs(".BR pgweir (1),\n.BR pgweir\\-top (1)\n", out);
}
