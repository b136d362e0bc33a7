/* The generated pages: manual, completion, reference. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "weir/require.h"
#include "weir/roff.h"

static void print_options(const struct weir_option *rows, FILE *out)
{
    weir_roff_heading("Options", out);
    for (const struct weir_option *row = rows; row->name != NULL; row++) {
        if (row->help == NULL)
            continue;
        char term[96];
        const char *argument = weir_option_argument_name(row->argument);
        snprintf(term, sizeof(term), "`%s%.*s%s--%s`%s%s", row->letter != 0 ? "-" : "",
                 row->letter != 0, &row->letter, row->letter != 0 ? "`, `" : "", row->name,
                 *argument == '\0' ? "" : " ", argument);
        weir_roff_term(term, out);
        weir_roff_inline(row->help, out);
        fputs(".\n", out);
    }
}

static void print_manual(FILE *out)
{
    weir_roff_head("PGWEIR", 1, "pgweir", "connection pooler for PostgreSQL", out);
    weir_roff_heading("Synopsis", out);
    fputs(".B pgweir\n.RI [ options ]\n.I FILE.ini\n.br\n"
          ".B pgweir \\-\\-check\n.RB [ \\-\\-running ]\n.I FILE.ini\n.br\n"
          ".B pgweir \\-\\-import\n.RB [ \\-o\n.IR FILE ]\n.I pgbouncer.ini\n",
          out);
    weir_roff_heading("Description", out);
    weir_roff_prose(
        "Applications connect to `pgweir` as they would to PostgreSQL. It carries many clients\n"
        "over few server connections and binds one to a client for as long as a transaction, or\n"
        "session state that cannot be carried elsewhere, needs it. The file is explained in\n"
        "`pgweir.ini`(5).\n"
        "\n"
        "`--check` reads the file and what it names, prints what would run, and says every\n"
        "problem with file, line and setting. With `--running` it connects to the console of the\n"
        "pgweir that runs by this file and prints what a reload would change: what takes effect\n"
        "at once, which pools get new server connections, whose clients are closed, what needs a\n"
        "restart. It goes over the Unix socket as user `pgweir`, where the file has\n"
        "`unix_socket_dir` and this is the system user that pgweir runs as; else over TCP as a\n"
        "user of `admin_users` or `stats_users` whose password stands in `auth_file`.\n"
        "\n"
        "`--import` reads a file of PgBouncer and writes one of pgweir that means the same. Each\n"
        "difference is told in a comment; PgBouncer's defaults are written out where pgweir's\n"
        "differ. What cannot be kept stands in the result as it was, and pgweir refuses it until\n"
        "somebody has decided. Passwords of the file stand in the result.\n",
        out);
    print_options(options_pgweir, out);
    weir_roff_heading("Signals", out);
    weir_roff_prose(
        "* `HUP` reads the file and the users again. A bad file changes nothing.\n"
        "* `TERM` takes no new clients, tells each one at its transaction boundary, and ends at\n"
        "  the latest after `shutdown_timeout`. A second one ends at once.\n"
        "* `INT` is the same with two seconds at most.\n"
        "* `QUIT` ends at once.\n"
        "* `USR1` writes pools, waits, holders and counters to the log.\n",
        out);
    weir_roff_heading("Exit status", out);
    weir_roff_prose(
        "0 after a clean stop, a good check (with `--running` also when a reload would change\n"
        "something), and an import that keeps everything. 1 when the command line, the file or a\n"
        "setting is bad, an address is taken, the running pgweir cannot be asked, or the import\n"
        "holds what cannot be kept. With `--daemon` too, a failed start is a failed command.\n",
        out);
    weir_roff_heading("See also", out);
    fputs(".BR pgweir.ini (5),\n.BR pgweir\\-top (1)\n", out);
}

static void print_top_manual(FILE *out)
{
    weir_roff_head("PGWEIR-TOP", 1, "pgweir-top", "watch the pools of a running pgweir", out);
    weir_roff_heading("Synopsis", out);
    fputs(".B pgweir\\-top\n.RI [ options ]\n", out);
    weir_roff_heading("Description", out);
    weir_roff_prose(
        "`pgweir-top` connects to the console of a running pgweir and shows again and\n"
        "again what its pools do: who waits, for how long and for what, and who has\n"
        "the server connections. A user of `stats_users` may look; one of `admin_users` can also\n"
        "pause and resume a database and end a client, each after a question. The key `?` lists\n"
        "all keys.\n"
        "\n"
        "`PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD` and what else libpq reads from the\n"
        "environment hold, and so does `~/.pgpass`. Without them it connects to 127.0.0.1, port\n"
        "6432. A name as `--host` is resolved by libpq, which waits for the answer; an address is\n"
        "not.\n",
        out);
    print_options(options_top, out);
    weir_roff_heading("See also", out);
    fputs(".BR pgweir (1),\n.BR pgweir.ini (5)\n", out);
}

static const struct {
    const char *name;
    void (*print)(FILE *out);
    bool manual;
} pages[] = {
    {"settings.md", weir_conf_print_reference, false},
    {"sample.ini", weir_conf_print_sample, false},
    {"moving.md", weir_conf_print_moving, false},
    {"pgweir.1", print_manual, true},
    {"pgweir.ini.5", weir_conf_print_manual, true},
    {"pgweir-top.1", print_top_manual, true},
    {"pgweir.bash", completion_print_bash, false},
    {"_pgweir", completion_print_zsh, false},
};

static void print_folded(void (*print)(FILE *out))
{
    char *text = NULL;
    size_t length = 0;
    FILE *memory = open_memstream(&text, &length);
    weir_require(memory != NULL);
    print(memory);
    weir_require(fclose(memory) == 0);
    weir_roff_fold(text, stdout);
    free(text);
}

bool pages_print(const char *name)
{
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (strcmp(pages[i].name, name) != 0)
            continue;
        if (pages[i].manual)
            print_folded(pages[i].print);
        else
            pages[i].print(stdout);
        return true;
    }
    fprintf(stderr, "pgweir: there is no page %s\n", name);
    return false;
}
