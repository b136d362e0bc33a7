/* Settings with names of somebody's own (SET app.tenant): PostgreSQL does not list them, so they can
 * be followed only by their names. Those that clients use are read from what they send and kept per
 * pool; the question for the settings asks for each of them. A client that sets one whose name
 * cannot be read, or one more than are kept, keeps its server connection instead. */
#include <stdlib.h>
#include <string.h>

#include "router.h"
#include "settings.h"
#include "sql_text.h"
#include "state.h"

#define NAMES_MAX 256
/* Functions may change beside pgweir: they are read again at a sample after this. */
#define FUNCTIONS_OLD (60 * WEIR_SEC)

struct custom_names {
    uint32_t count;
    bool full;              /* and the log says so */
    bool functions;         /* those in functions have been read... */
    weir_usec functions_at; /* ...then */
    struct {
        char *name;
        bool hidden; /* this user may not read it, nor set it */
    } of[NAMES_MAX];
};

void custom_free(struct destination *destination)
{
    struct custom_names *names = destination->custom;
    for (uint32_t i = 0; names != NULL && i < names->count; i++)
        free(names->of[i].name);
    free(names);
    destination->custom = NULL;
}

static bool is_known(const struct custom_names *names, const char *name)
{
    for (uint32_t i = 0; names != NULL && i < names->count; i++)
        if (strcmp(names->of[i].name, name) == 0)
            return true;
    return false;
}

static void tell_full(const struct server *server)
{
    struct weir_log_who who;
    char peer[128];
    router_who_server(server, &who, peer, sizeof(peer));
    weir_log_warning(&who, "settings",
                     "clients of this pool have set more than %d settings with names of their own: "
                     "who sets another one keeps its server connection",
                     NAMES_MAX);
}

static struct custom_names *names_of(struct destination *destination)
{
    if (destination->custom == NULL)
        destination->custom = weir_alloc(sizeof(*destination->custom));
    return destination->custom;
}

bool custom_note(struct server *server, const char *name)
{
    struct custom_names *names = names_of(server->destination);
    if (is_known(names, name))
        return true;
    if (names->count == NAMES_MAX) {
        if (!names->full)
            tell_full(server);
        names->full = true;
        return false;
    }
    names->of[names->count++].name = weir_strdup(name);
    return true;
}

/* --- what clients send ------------------------------------------------------------------- */

/* The bytes of a parameter of a Bind; NULL: they are not there. */
static const uint8_t *find_parameter(const struct custom_values *values, unsigned wanted,
                                     uint32_t *length)
{
    struct weir_reader reader;
    weir_reader_init(&reader, values->rest, (size_t)(values->end - values->rest));
    uint16_t formats = weir_read_u16(&reader);
    weir_read_bytes(&reader, (size_t)formats * 2);
    uint16_t count = weir_read_u16(&reader);
    const uint8_t *bytes = NULL;
    for (unsigned i = 0; i <= wanted; i++) {
        *length = weir_read_u32(&reader);
        bytes = *length == UINT32_MAX ? NULL : weir_read_bytes(&reader, *length);
    }
    return reader.failed || wanted >= count ? NULL : bytes;
}

/* A name without a dot is that of an ordinary setting, which the server lists. */
static bool note_parameter(struct server *server, const struct custom_values *values,
                           unsigned number)
{
    uint32_t length = 0;
    char name[SQL_NAME_SIZE];
    const uint8_t *bytes = values != NULL ? find_parameter(values, number, &length) : NULL;
    if (bytes == NULL || length >= sizeof(name))
        return false;
    for (uint32_t i = 0; i < length; i++) {
        bool upper = bytes[i] >= 'A' && bytes[i] <= 'Z';
        if (bytes[i] & 0x80 || bytes[i] == '\0')
            return false;
        name[i] = (char)(upper ? bytes[i] | 0x20 : bytes[i]);
    }
    name[length] = '\0';
    return strchr(name, '.') == NULL || custom_note(server, name);
}

static bool note_all(struct server *server, const uint8_t *text, size_t length,
                     const struct custom_values *values)
{
    struct sql_walk walk = sql_walk_over(text, length);
    struct sql_setting setting;
    bool noted = true;
    while (noted && sql_next_setting(&walk, &setting)) {
        if (setting.kind == SQL_PARAMETER)
            noted = note_parameter(server, values, setting.parameter);
        else
            noted = setting.kind == SQL_NAMED && custom_note(server, setting.name);
    }
    return noted;
}

/* In session mode the connection is cleaned as a whole when its client ends. */
static bool are_followed(const struct server *server)
{
    return server->destination->settings.pool_mode != WEIR_POOL_SESSION &&
           !(server->pins & PIN_REPLICATION);
}

void custom_keep_connection(struct server *server)
{
    if (!are_followed(server))
        return;
    pins_set(server, server->pins | PIN_SETTING);
    server->dirt |= DIRT_STATE;
}

void custom_mind(struct server *server, const uint8_t *text, size_t length, unsigned mentions,
                 const struct custom_values *values)
{
    if (mentions & SQL_STATE)
        server->dirt |= DIRT_SETTINGS;
    if (mentions & SQL_CURRENT)
        sequences_asked(server);
    if (mentions & SQL_SEQUENCE)
        sequences_taken(server);
    if (mentions & SQL_SEED && are_followed(server)) {
        pins_set(server, server->pins | PIN_SEED);
        server->dirt |= DIRT_STATE;
    }
    if (mentions & SQL_SETS)
        server->sets = true;
    if (mentions & SQL_CUSTOM && are_followed(server) && !note_all(server, text, length, values))
        custom_keep_connection(server);
}

/* --- names in texts of unknown effect ----------------------------------------------------- */

#define SUSPECTS_MAX 256 /* bytes */

/* Whether all of it is name.name. */
static bool looks_like_name(const uint8_t *text, size_t length)
{
    bool dot = false, begins = true;
    if (length == 0 || length >= SQL_NAME_SIZE)
        return false;
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = text[i];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
        if (byte == '.' && !begins)
            dot = begins = true;
        else if (letter || (!begins && ((byte >= '0' && byte <= '9') || byte == '$')))
            begins = false;
        else
            return false;
    }
    return dot && !begins;
}

static void suspect(struct server *server, const uint8_t *text, size_t length)
{
    char name[SQL_NAME_SIZE];
    if (!looks_like_name(text, length) ||
        weir_buffer_length(&server->suspects) + length >= SUSPECTS_MAX)
        return;
    for (size_t i = 0; i < length; i++)
        name[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] | 0x20 : text[i]);
    name[length] = '\0';
    if (!is_known(server->destination->custom, name))
        weir_require(weir_buffer_append(&server->suspects, name, length + 1));
}

static void suspect_values(struct server *server, const struct custom_values *values)
{
    struct weir_reader reader;
    weir_reader_init(&reader, values->rest, (size_t)(values->end - values->rest));
    uint16_t formats = weir_read_u16(&reader);
    weir_read_bytes(&reader, (size_t)formats * 2);
    uint16_t count = weir_read_u16(&reader);
    for (unsigned i = 0; i < count && !reader.failed; i++) {
        uint32_t length = weir_read_u32(&reader);
        const uint8_t *bytes = length == UINT32_MAX ? NULL : weir_read_bytes(&reader, length);
        if (bytes != NULL)
            suspect(server, bytes, length);
    }
}

void custom_suspect(struct server *server, const uint8_t *text, size_t length,
                    const struct custom_values *values)
{
    const uint8_t *end = text + length, *quote = memchr(text, '\'', length);
    while (quote != NULL) {
        const uint8_t *begin = quote + 1;
        quote = memchr(begin, '\'', (size_t)(end - begin));
        /* Between literals, too: nothing there looks like a name alone. */
        if (quote != NULL)
            suspect(server, begin, (size_t)(quote - begin));
    }
    if (values != NULL)
        suspect_values(server, values);
}

static bool is_suspect(const struct server *server, const char *name)
{
    const char *at = NULL;
    while ((at = weir_buffer_next_string(&server->suspects, at)) != NULL)
        if (strcmp(at, name) == 0)
            return true;
    return false;
}

void custom_on_row(struct server *server, const char *name)
{
    if (is_suspect(server, name))
        custom_note(server, name);
}

/* --- names in functions ------------------------------------------------------------------ */

/* What functions set by names of somebody's own can be read from their sources. What has been read is
 * read again after DDL of functions that pgweir has seen, and at samples. */
#define NAME "([a-z_][a-z0-9_$]*(?:\\\\.[a-z0-9_$]+)+)"
#define ASK_FUNCTIONS                                                                              \
    " UNION ALL SELECT DISTINCT ':custom', pg_catalog.lower(m[1]) FROM (SELECT prosrc FROM "       \
    "pg_catalog.pg_proc WHERE pronamespace" IS_NOT "11 AND prosrc "                                \
    "OPERATOR(pg_catalog.~*) 'set' LIMIT 10000) AS p, "                                            \
    "pg_catalog.regexp_matches(prosrc, E'(?:set_config\\\\s*\\\\(\\\\s*\\'+|\\\\mset\\\\s+"        \
    "(?:session\\\\s+)?)" NAME "', 'gi') AS m"

void custom_ask_functions(struct server *server, struct weir_writer *writer)
{
    struct custom_names *names = names_of(server->destination);
    if (names->functions || !server->destination->settings.state_learning)
        return;
    names->functions = true;
    names->functions_at = server->router->loop->now;
    weir_write_bytes(writer, ASK_FUNCTIONS, sizeof(ASK_FUNCTIONS) - 1);
}

void custom_forget_functions(struct destination *destination)
{
    if (destination->custom != NULL)
        destination->custom->functions = false;
}

void custom_forget_old_functions(struct destination *destination)
{
    struct custom_names *names = destination->custom;
    if (names != NULL && destination->router->loop->now - names->functions_at > FUNCTIONS_OLD)
        names->functions = false;
}

void custom_on_function(struct server *server, const char *name)
{
    if (strlen(name) >= SQL_NAME_SIZE || is_known(server->destination->custom, name) ||
        !custom_note(server, name))
        return;
    server->dirt |= DIRT_SETTINGS; /* now it can be asked for */
}

/* --- the question ------------------------------------------------------------------------ */

/* What the login has by ALTER ROLE or ALTER DATABASE is no setting of the session. Names that the
 * server lists after all, those of modules, are in the other part of the question. */
#define ASK_FIRST                                                                                  \
    " UNION ALL SELECT n, s FROM (SELECT n, pg_catalog.current_setting(n, true) AS s FROM "        \
    "pg_catalog.unnest(ARRAY["
#define ASK_THEN                                                                                   \
    "]::pg_catalog.text[]) AS n WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_settings WHERE "     \
    "pg_catalog.lower(name)" IS "n)) AS own WHERE s" IS_NOT "coalesce((SELECT "                    \
    "pg_catalog.substr(c, pg_catalog.length(n) OPERATOR(pg_catalog.+) 2) FROM "                    \
    "pg_catalog.pg_db_role_setting, pg_catalog.unnest(setconfig) AS c WHERE "                      \
    "pg_catalog.strpos(pg_catalog.lower(c), n OPERATOR(pg_catalog.||) '=')" IS "1 AND "            \
    "setdatabase" IS "ANY (ARRAY[0, (SELECT oid FROM pg_catalog.pg_database WHERE datname" IS      \
    "pg_catalog.current_database())]::pg_catalog.oid[]) AND setrole" IS "ANY (ARRAY[0, "           \
    "(SELECT oid FROM pg_catalog.pg_roles WHERE rolname" IS
#define ASK_LAST                                                                                   \
    ")]::pg_catalog.oid[]) ORDER BY (setrole" IS_NOT "0) DESC, (setdatabase" IS_NOT                \
    "0) DESC LIMIT 1), '')"

struct asking {
    struct weir_writer *writer;
    uint32_t count;
};

static void ask_for(struct asking *asking, const char *name)
{
    static const char first[] = ASK_FIRST;
    if (asking->count++ == 0)
        weir_write_bytes(asking->writer, first, sizeof(first) - 1);
    else
        weir_write_u8(asking->writer, ',');
    settings_write_literal(asking->writer, name);
}

static void ask_of_profile(struct asking *asking, const struct custom_names *names,
                           const struct weir_profile *profile)
{
    for (uint32_t i = 0; profile != NULL && i < profile->count; i++) {
        const char *name = profile->settings[i].name;
        if (strchr(name, '.') != NULL && !is_known(names, name))
            ask_for(asking, name);
    }
}

static void ask_of_connect_query(struct asking *asking, const char *sql)
{
    size_t length;
    for (; (sql = initial_custom_name(sql, &length)) != NULL; sql += length) {
        char *name = weir_strndup(sql, length);
        for (char *at = name; *at != '\0'; at++)
            *at = (char)(*at >= 'A' && *at <= 'Z' ? *at | 0x20 : *at);
        ask_for(asking, name);
        free(name);
    }
}

void custom_ask(const struct server *server, struct weir_writer *writer)
{
    static const char then[] = ASK_THEN, last[] = ASK_LAST;
    const struct custom_names *names = server->destination->custom;
    struct asking asking = {.writer = writer};
    if (server->phase == SERVER_LEARNING) {
        ask_of_connect_query(&asking, server->destination->settings.connect_query);
    } else {
        for (uint32_t i = 0; names != NULL && i < names->count; i++)
            if (!names->of[i].hidden)
                ask_for(&asking, names->of[i].name);
        ask_of_profile(&asking, names, server->settings);
        ask_of_profile(&asking, names, server->initial);
        const char *at = NULL;
        while ((at = weir_buffer_next_string(&server->suspects, at)) != NULL)
            ask_for(&asking, at);
    }
    if (asking.count == 0)
        return;
    weir_write_bytes(writer, then, sizeof(then) - 1);
    settings_write_literal(writer, server->destination->server_user);
    weir_write_bytes(writer, last, sizeof(last) - 1);
}

bool custom_hide(struct server *server)
{
    struct weir_error_fields fields = {0};
    struct custom_names *names = server->destination->custom;
    weir_error_parse(weir_buffer_bytes(&server->trouble), weir_buffer_length(&server->trouble),
                     &fields);
    if (fields.sqlstate == NULL || strcmp(fields.sqlstate, "42501") != 0 || fields.message == NULL)
        return false;
    for (uint32_t i = 0; names != NULL && i < names->count; i++) {
        size_t length = strlen(names->of[i].name);
        const char *at = strcasestr(fields.message, names->of[i].name);
        if (names->of[i].hidden || at == NULL || at == fields.message || at[-1] != '"' ||
            at[length] != '"')
            continue;
        names->of[i].hidden = true;
        return true;
    }
    return false;
}
