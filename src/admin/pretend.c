/* What drivers and tools ask before they show anything to their user. */
#include <string.h>
#include <strings.h>

#include "command.h"

static const struct pretended parameters[] = {
    {"client_encoding", VALUE_LITERAL, "UTF8", COLUMN_TEXT},
    {"server_encoding", VALUE_LITERAL, "UTF8", COLUMN_TEXT},
    {"datestyle", VALUE_LITERAL, "ISO, MDY", COLUMN_TEXT},
    {"intervalstyle", VALUE_LITERAL, "postgres", COLUMN_TEXT},
    {"timezone", VALUE_LITERAL, "GMT", COLUMN_TEXT},
    {"standard_conforming_strings", VALUE_LITERAL, "on", COLUMN_TEXT},
    {"integer_datetimes", VALUE_LITERAL, "on", COLUMN_TEXT},
    {"extra_float_digits", VALUE_LITERAL, "1", COLUMN_TEXT},
    {"bytea_output", VALUE_LITERAL, "hex", COLUMN_TEXT},
    {"application_name", VALUE_APPLICATION, NULL, COLUMN_TEXT},
    {"server_version", VALUE_SERVER_VERSION, NULL, COLUMN_TEXT},
    {"server_version_num", VALUE_LITERAL, "150000", COLUMN_TEXT},
    {"session_authorization", VALUE_USER, NULL, COLUMN_TEXT},
    {"is_superuser", VALUE_LITERAL, "on", COLUMN_TEXT},
    {"in_hot_standby", VALUE_LITERAL, "off", COLUMN_TEXT},
    {"search_path", VALUE_LITERAL, "\"$user\", public", COLUMN_TEXT},
    {"default_transaction_isolation", VALUE_LITERAL, "read committed", COLUMN_TEXT},
    {"transaction_isolation", VALUE_LITERAL, "read committed", COLUMN_TEXT},
    {"default_transaction_read_only", VALUE_LITERAL, "off", COLUMN_TEXT},
    {"transaction_read_only", VALUE_LITERAL, "off", COLUMN_TEXT},
    {"default_transaction_deferrable", VALUE_LITERAL, "off", COLUMN_TEXT},
    {"statement_timeout", VALUE_LITERAL, "0", COLUMN_TEXT},
    {"lock_timeout", VALUE_LITERAL, "0", COLUMN_TEXT},
    {"idle_in_transaction_session_timeout", VALUE_LITERAL, "0", COLUMN_TEXT},
    {"client_min_messages", VALUE_LITERAL, "notice", COLUMN_TEXT},
    {"row_security", VALUE_LITERAL, "on", COLUMN_TEXT},
    {"synchronize_seqscans", VALUE_LITERAL, "on", COLUMN_TEXT},
    {"jit", VALUE_LITERAL, "off", COLUMN_TEXT},
};

static const struct pretended functions[] = {
    {"version", VALUE_VERSION, NULL, COLUMN_TEXT},
    {"current_database", VALUE_DATABASE, NULL, COLUMN_TEXT},
    {"current_catalog", VALUE_DATABASE, NULL, COLUMN_TEXT},
    {"current_user", VALUE_USER, NULL, COLUMN_TEXT},
    {"session_user", VALUE_USER, NULL, COLUMN_TEXT},
    {"user", VALUE_USER, NULL, COLUMN_TEXT},
    {"current_schema", VALUE_LITERAL, "public", COLUMN_TEXT},
    {"pg_backend_pid", VALUE_PID, NULL, COLUMN_INT4},
    {"pg_is_in_recovery", VALUE_LITERAL, "f", COLUMN_TEXT},
    {"pg_advisory_unlock_all", VALUE_LITERAL, "", COLUMN_TEXT},
};

static const struct pretended *find(const struct pretended *rows, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(rows[i].name, name) == 0)
            return &rows[i];
    }
    return NULL;
}

const struct pretended *pretended_parameter(const char *name)
{
    return find(parameters, sizeof(parameters) / sizeof(parameters[0]), name);
}

const struct pretended *pretended_function(const char *name)
{
    static const char schema[] = "pg_catalog.";
    if (strncasecmp(name, schema, strlen(schema)) == 0)
        name += strlen(schema);
    return find(functions, sizeof(functions) / sizeof(functions[0]), name);
}
