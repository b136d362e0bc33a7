#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "daemon.h"

static void print_help(FILE *out)
{
    fputs(
        "Usage: pgweir [options] FILE.ini\n"
        "\n"
        "A connection pooler for PostgreSQL that pools by transaction.\n"
        "\n"
        "  -d, --daemon       run in the background; fails visibly when the start fails\n"
        "  -u, --user NAME    switch to this user when started as root\n"
        "  -t, --check        read everything, print what would run, exit 0 or 1\n"
        "  -v, --verbose      more log; may be given twice\n"
        "  -q, --quiet        do not log to standard error\n"
        "  -V, --version      print the version\n"
        "  -h, --help         print this\n"
        "\n"
        "Signals: HUP reloads, TERM ends when every client is at a transaction boundary (at the\n"
        "latest after shutdown_timeout), INT ends when server connections are free, QUIT ends at\n"
        "once, USR1 writes pools, waits and counters to the log.\n",
        out);
}

int options_read(struct options *options, int argc, char **argv)
{
    static const struct option names[] = {
        {"daemon", no_argument, NULL, 'd'},
        {"user", required_argument, NULL, 'u'},
        {"check", no_argument, NULL, 't'},
        {"verbose", no_argument, NULL, 'v'},
        {"quiet", no_argument, NULL, 'q'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {"print-reference", no_argument, NULL, 1},
        {"print-sample", no_argument, NULL, 2},
        {"reboot", no_argument, NULL, 'R'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "du:tvqVhR", names, NULL)) != -1) {
        switch (option) {
        case 'd':
            options->daemon = true;
            break;
        case 'u':
            options->user = optarg;
            break;
        case 't':
            options->check = true;
            break;
        case 'v':
            options->verbose++;
            break;
        case 'q':
            options->quiet = true;
            break;
        case 'R':
            fputs("pgweir: -R (take over a running process) is not supported: start a second "
                  "instance with so_reuseport and end the first with TERM\n",
                  stderr);
            return 1;
        case 1:
            options->print_reference = true;
            return -1;
        case 2:
            options->print_sample = true;
            return -1;
        case 'V':
            puts("pgweir " WEIR_VERSION);
            return 0;
        case 'h':
            print_help(stdout);
            return 0;
        default:
            fputs("Try 'pgweir --help'.\n", stderr);
            return 1;
        }
    }
    if (optind + 1 != argc) {
        fputs(optind == argc ? "pgweir: no configuration file given\n"
                             : "pgweir: more than one configuration file given\n",
              stderr);
        fputs("Try 'pgweir --help'.\n", stderr);
        return 1;
    }
    options->file = argv[optind];
    return -1;
}
