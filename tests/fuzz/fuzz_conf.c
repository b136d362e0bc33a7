/* Any bytes as an ini file: they are refused with words or give a snapshot that can be used. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct weir_conf *conf)
{
    static FILE *nowhere;
    struct weir_pool_settings resolved;
    if (nowhere == NULL)
        nowhere = fopen("/dev/null", "w");
    weir_require(nowhere != NULL);
    for (size_t i = 0; i < conf->database_count; i++) {
        const struct weir_database *database = &conf->databases[i];
        weir_require(database->host_count > 0);
        weir_require(weir_conf_database(conf, database->name) == database);
        weir_require(weir_database_same_target(database, database));
        weir_conf_resolve(conf, database, "user", &resolved);
        weir_require(resolved.pool_size > 0 && resolved.min_pool_size <= resolved.pool_size);
        weir_require(resolved.connect_query != NULL && resolved.pool_timeout >= 0);
    }
    weir_conf_print(conf, nowhere);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *problems = NULL;
    char *warnings = NULL;
    struct weir_conf *conf =
        weir_conf_parse("fuzz.ini", (const char *)data, size, &problems, &warnings);
    weir_require((conf == NULL) == (problems != NULL));
    if (conf != NULL)
        use(conf);
    weir_conf_destroy(conf);
    free(problems);
    free(warnings);
    return 0;
}
