/* The language of the console. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "token.h"

struct expectation {
    const char *text;
    enum command_kind kind;
    const char *name;
    const char *value;
};

static void parse_well(const struct expectation *expected)
{
    struct command command;
    struct complaint complaint = {0};
    const char *rest;
    bool good = command_parse(expected->text, &rest, &command, &complaint);
    cr_assert(good, "%s: %s", expected->text, complaint.message);
    cr_assert(command.kind == expected->kind, "%s: kind %d", expected->text, (int)command.kind);
    if (expected->name != NULL)
        cr_assert_str_eq(command.name, expected->name, "%s", expected->text);
    if (expected->value != NULL)
        cr_assert_str_eq(command.value, expected->value, "%s", expected->text);
    command_clear(&command);
}

Test(command, understands)
{
    static const struct expectation rows[] = {
        {"", COMMAND_EMPTY},
        {" -- nothing\n", COMMAND_EMPTY},
        {"/* a /* nested */ one */ ;", COMMAND_EMPTY},
        {"pause", COMMAND_PAUSE},
        {"PAUSE shop", COMMAND_PAUSE, "shop"},
        {"Pause \"My \"\"Shop\"\"\" ;", COMMAND_PAUSE, "My \"Shop\""},
        {"pause shop-2.eu", COMMAND_PAUSE, "shop-2.eu"},
        {"pause shop--comment", COMMAND_PAUSE, "shop"},
        {"pause b\xc3\xbc"
         "cher",
         COMMAND_PAUSE,
         "b\xc3\xbc"
         "cher"},
        {"pause 7", COMMAND_PAUSE, "7"},
        {"kill_client 42", COMMAND_KILL_CLIENT, "42"},
        {"kill_client '42'", COMMAND_KILL_CLIENT, "42"},
        {"kill_client ('42'::int8)", COMMAND_KILL_CLIENT, "42"},
        {"set pool_size = 5", COMMAND_SET, "pool_size", "5"},
        {"SET pool_size TO '5'", COMMAND_SET, "pool_size", "5"},
        {"set listen_addr=10.0.0.1, ::1 ;", COMMAND_SET, "listen_addr", "10.0.0.1, ::1"},
        {"set server_reset_query = 'discard all; --it''s'", COMMAND_SET, "server_reset_query",
         "discard all; --it's"},
        {"set session pool_timeout = 1.5s", COMMAND_SET, "pool_timeout", "1.5s"},
        {"set client_encoding to 'UTF8'", COMMAND_SET_IGNORED},
        {"SET DateStyle = ISO, DMY", COMMAND_SET_IGNORED},
        {"set session characteristics as transaction read only", COMMAND_SET_IGNORED},
        {"set names 'utf8'", COMMAND_SET_IGNORED},
        {"show pools", COMMAND_SHOW},
        {"SELECT * FROM pools", COMMAND_SHOW},
        {"select stats_totals;", COMMAND_SHOW},
        {"show \"lists\"", COMMAND_SHOW},
        {"show help", COMMAND_HELP},
        {"show fds", COMMAND_SHOW},
        {"show transaction isolation level", COMMAND_VALUE},
        {"show time zone", COMMAND_VALUE},
        {"select 1", COMMAND_VALUE, NULL, "1"},
        {"select 'x''y' as \"z\"", COMMAND_VALUE, NULL, "x'y"},
        {"select pg_catalog.version()", COMMAND_VALUE},
        {"select current_user", COMMAND_VALUE},
        {"shutdown wait_for_clients", COMMAND_SHUTDOWN, "WAIT_FOR_CLIENTS"},
        {"explain pool shop.bob", COMMAND_EXPLAIN, "shop.bob"},
        {"explain pool \"my shop\".bob", COMMAND_EXPLAIN, "my shop.bob"},
        {"explain pool shop.\"b ob\"", COMMAND_EXPLAIN, "shop.b ob"},
        {"explain pool \"a\".\"b\"", COMMAND_EXPLAIN, "a.b"},
        {"begin isolation level serializable", COMMAND_BEGIN},
        {"start transaction", COMMAND_START},
        {"rollback to savepoint x", COMMAND_ACCEPTED},
        {"rollback work", COMMAND_ROLLBACK},
        {"deallocate prepare s1", COMMAND_DEALLOCATE, "s1"},
        {"close all", COMMAND_ACCEPTED},
        {"discard all", COMMAND_DISCARD},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        parse_well(&rows[i]);
}

Test(command, refuses)
{
    static const struct {
        const char *text, *sqlstate, *message, *hint;
    } rows[] = {
        {"nonsense", "42601", "invalid command 'nonsense', use SHOW HELP;", "SHOW HELP"},
        {"paus", "42601", "invalid command 'paus'", "PAUSE"},
        {"show pols", "42601", "invalid command 'SHOW pols'", "SHOW POOLS"},
        {"show", "42601", "at end of input", "SHOW what"},
        {"show pools now", "42601", "near \"now\"", "SHOW what"},
        {"pause a b", "42601", "near \"b\"", "PAUSE [database]"},
        {"disable", "42601", "at end of input", "DISABLE database"},
        {"kill_client", "42601", "at end of input", "KILL_CLIENT id"},
        {"kill_client (1", "42601", "at end of input", "KILL_CLIENT id"},
        {"kill_client $0", "42601", "near \"$0\"", NULL},
        {"kill_client $999999", "42601", "near \"$999999\"", NULL},
        {"set pool_size", "42601", "at end of input", "SET name = value"},
        {"set pool_size =", "42601", "at end of input", NULL},
        {"set = 5", "42601", "near \"=\"", NULL},
        {"pause \"shop", "42601", "unterminated", NULL},
        {"set x = 'y", "42601", "unterminated", NULL},
        {"/* pause", "42601", "unterminated", NULL},
        {"select 1 + 1", "42601", "near \"+\"", NULL},
        {"select a, b from pools", "0A000", "runs no queries", NULL},
        {"select * from pools where true", "0A000", "runs no queries", NULL},
        {"explain pool", "42601", "at end of input", "EXPLAIN POOL"},
        {"explain pool a ('b'::", "42601", "at end of input", NULL},
        {"explain pool a ($1)", "42601", "at end of input", NULL},
        {"deallocate $1", "42601", "at end of input", NULL},
        {"deallocate ($1)", "42601", "at end of input", NULL},
        {"explain select 1", "42601", "near \"select\"", NULL},
        {"shutdown later", "42601", "near \"later\"", "WAIT_FOR_SERVERS"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct command command;
        struct complaint complaint = {0};
        const char *rest;
        cr_assert(!command_parse(rows[i].text, &rest, &command, &complaint), "%s", rows[i].text);
        cr_assert_str_eq(complaint.sqlstate, rows[i].sqlstate, "%s", rows[i].text);
        cr_assert(strstr(complaint.message, rows[i].message), "%s: %s", rows[i].text,
                  complaint.message);
        if (rows[i].hint != NULL)
            cr_assert(strstr(complaint.hint, rows[i].hint), "%s: %s", rows[i].text, complaint.hint);
        command_clear(&command);
        complaint_clear(&complaint);
    }
}

/* One after the other; a semicolon in a string or a comment is none. */
Test(command, parts_statements)
{
    const char *text = "pause 'a;b' /* ; */; ; resume -- ;\n;show state";
    static const enum command_kind kinds[] = {COMMAND_PAUSE, COMMAND_EMPTY, COMMAND_RESUME,
                                              COMMAND_SHOW};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct command command;
        struct complaint complaint = {0};
        cr_assert(command_parse(text, &text, &command, &complaint), "%s", complaint.message);
        cr_assert_eq(command.kind, kinds[i]);
        command_clear(&command);
    }
    cr_assert_str_eq(text, "");
}

Test(command, takes_parameters)
{
    struct command command;
    struct complaint complaint = {0};
    const char *rest;
    cr_assert(command_parse("kill_client $1", &rest, &command, &complaint));
    cr_assert_eq(command_parameters(&command), 1);
    command_clear(&command);
    cr_assert(command_parse("set pool_size = $2", &rest, &command, &complaint));
    cr_assert_eq(command_parameters(&command), 2);
    cr_assert_null(command.value);
    command_clear(&command);
}

/* Every command that is shown and every table is found under its own name, whatever the case. */
Test(command, knows_its_tables)
{
    cr_assert_gt(table_count, 25);
    for (size_t i = 0; i < table_count; i++) {
        char text[64];
        struct command command;
        struct complaint complaint = {0};
        const char *rest;
        const struct column *columns;
        snprintf(text, sizeof(text), "ShOw %s", tables[i].name);
        cr_assert(command_parse(text, &rest, &command, &complaint), "%s", text);
        cr_assert_eq(command.table, &tables[i]);
        cr_assert_eq(command_columns(&command, &columns),
                     tables[i].walk != NULL ? tables[i].column_count : 0);
        cr_assert_eq(nearest_table(tables[i].name), tables[i].name);
        command_clear(&command);
    }
}
