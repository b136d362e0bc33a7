#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"

extern char **environ;

/* PGHOST and the like belong to whoever started us, not to our connections. */
static void clear_environment(void)
{
    for (char **entry = environ; *entry != NULL;) {
        const char *end = strchr(*entry, '=');
        if (end == NULL || strncmp(*entry, "PG", 2) != 0) {
            entry++;
            continue;
        }
        char name[64];
        size_t length = (size_t)(end - *entry);
        if (length >= sizeof(name)) {
            entry++;
            continue;
        }
        memcpy(name, *entry, length);
        name[length] = '\0';
        unsetenv(name);
        entry = environ;
    }
}

static int check(const struct options *options)
{
    struct weir_conf *conf = daemon_read_conf(options->file, false);
    if (conf == NULL)
        return 1;
    weir_conf_print(conf, stdout);
    char *problem = NULL;
    int status = web_check(conf, &problem) ? 0 : 1;
    if (problem != NULL)
        fprintf(stderr, "%s: %s\n", weir_conf_where(conf, "http_listen"), problem);
    free(problem);
    struct weir_hba *rules;
    if (!rules_check(conf, &rules))
        status = 1;
    if (!encryption_check(conf, rules))
        status = 1;
    struct weir_user_file *users = NULL;
    if (conf->auth_file[0] != '\0') {
        problem = NULL;
        users = weir_user_file_read(conf->auth_file, conf->refuse_readable_secrets, &problem);
        if (users == NULL) {
            fprintf(stderr, "pgweir: auth_file: %s\n", problem);
            status = 1;
        } else {
            printf("# auth_file: %zu users\n", weir_user_file_count(users));
        }
        free(problem);
    }
    if (!prove_lookups(conf, users, rules, options->lookup))
        status = 1;
    weir_hba_release(rules);
    weir_user_file_destroy(users);
    weir_conf_destroy(conf);
    return status;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    int status = options_read(&options, argc, argv);
    if (status >= 0)
        return status;
    clear_environment();
    if (options.print != NULL)
        return pages_print(options.print) ? 0 : 1;
    if (options.import)
        return import_run(&options);
    if (options.running)
        return running_run(options.file);
    if (options.check)
        return check(&options);
    struct weir_conf *conf = daemon_read_conf(options.file, options.quiet);
    if (conf == NULL)
        return 1;
    if (options.daemon && conf->pidfile[0] == '\0') {
        fputs("pgweir: -d needs the setting 'pidfile'\n", stderr);
        weir_conf_destroy(conf);
        return 1;
    }
    if (options.daemon)
        background_enter();
    return daemon_run(&options, conf, options.daemon ? background_ready : NULL);
}
