#include "command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "token.h"
#include "weir/memory.h"

const struct command_row command_rows[] = {
#define WEIR_COMMAND(kind, words, argument, admin, synopsis, help)                                 \
    {COMMAND_##kind, words, ARGUMENT_##argument, admin, synopsis, help},
#include "commands.def"
#undef WEIR_COMMAND
};
const size_t command_row_count = sizeof(command_rows) / sizeof(command_rows[0]);

/* Where a parse is: `token` is the next one, `text` what follows it. */
struct parser {
    const char *text;
    struct token token;
    const struct command_row *row;
    struct command *command;
    struct complaint *complaint;
};

/* --- complaints ---------------------------------------------------------------------------- */

void complain(struct complaint *complaint, const char *sqlstate, char *hint, const char *format,
              ...)
{
    complaint_clear(complaint);
    complaint->sqlstate = sqlstate;
    complaint->hint = hint;
    va_list arguments;
    va_start(arguments, format);
    weir_require(vasprintf(&complaint->message, format, arguments) >= 0);
    va_end(arguments);
}

void complaint_clear(struct complaint *complaint)
{
    free(complaint->message);
    free(complaint->detail);
    free(complaint->hint);
    *complaint = (struct complaint){0};
}

void command_clear(struct command *command)
{
    free(command->name);
    free(command->value);
    free(command->column_name);
    *command = (struct command){0};
}

/* --- reading ----------------------------------------------------------------------------- */

static void advance(struct parser *parser)
{
    parser->token = token_next(parser->text);
    parser->text = token_end(&parser->token);
}

/* Passes over the word if it is there. */
static bool accept_word(struct parser *parser, const char *word)
{
    if (!token_is_word(&parser->token, word))
        return false;
    advance(parser);
    return true;
}

static bool accept_symbol(struct parser *parser, char symbol)
{
    if (!token_is_symbol(&parser->token, symbol))
        return false;
    advance(parser);
    return true;
}

/* So much of a wrong word is shown. */
#define SHOWN_MAX 64

static bool refuse_syntax(struct parser *parser)
{
    const struct token *token = &parser->token;
    char *hint = parser->row != NULL && parser->row->synopsis != NULL
                     ? weir_format("Usage: %s", parser->row->synopsis)
                     : weir_strdup("Use SHOW HELP.");
    if (token->kind == TOKEN_BROKEN)
        complain(parser->complaint, "42601", hint, "unterminated quote or comment");
    else if (token_ends_statement(token))
        complain(parser->complaint, "42601", hint, "syntax error at end of input");
    else
        complain(parser->complaint, "42601", hint, "syntax error at or near \"%.*s\"",
                 (int)(token->length < SHOWN_MAX ? token->length : SHOWN_MAX), token->at);
    return false;
}

/* "invalid command" is what tools that know PgBouncer look for. */
static bool refuse_command(struct parser *parser, const char *statement)
{
    char *word = token_text(&parser->token);
    const char *nearest = nearest_command(word);
    char *hint = nearest != NULL ? weir_format("Perhaps you mean %s.", nearest)
                                 : weir_strdup("SHOW HELP lists the commands.");
    complain(parser->complaint, "42601", hint, "invalid command '%.*s', use SHOW HELP;", SHOWN_MAX,
             statement);
    free(word);
    return false;
}

static bool end_statement(struct parser *parser)
{
    return token_ends_statement(&parser->token) || refuse_syntax(parser);
}

/* `::type` behind a value says nothing here. */
static bool skip_cast(struct parser *parser)
{
    if (!accept_symbol(parser, ':'))
        return true;
    if (!accept_symbol(parser, ':') || parser->token.kind != TOKEN_WORD)
        return refuse_syntax(parser);
    advance(parser);
    return true;
}

/* A name, or the parameter that stands for it. Drivers that put values into the text themselves write
 * them as ('1'::int8). */
static bool read_name(struct parser *parser, char **name, int *parameter)
{
    bool bracket = accept_symbol(parser, '(');
    const struct token *token = &parser->token;
    if (token->kind == TOKEN_PARAMETER) {
        *parameter = token_parameter(token);
        if (*parameter == 0)
            return refuse_syntax(parser);
    } else if (token->kind == TOKEN_WORD || token->kind == TOKEN_QUOTED ||
               token->kind == TOKEN_STRING) {
        *name = token_text(token);
    } else {
        return refuse_syntax(parser);
    }
    advance(parser);
    if (!skip_cast(parser))
        return false;
    return !bracket || accept_symbol(parser, ')') || refuse_syntax(parser);
}

static bool read_argument(struct parser *parser)
{
    return read_name(parser, &parser->command->name, &parser->command->name_parameter);
}

/* --- SHOW and SELECT -------------------------------------------------------------------------- */

static void show_value(struct command *command, const struct pretended *pretended)
{
    command->kind = COMMAND_VALUE;
    command->source = pretended->source;
    command->value = weir_strdup(pretended->value);
    command->column_name = weir_strdup(pretended->name);
    command->column = (struct column){.type = pretended->type};
}

static const struct table *find_table(const char *name)
{
    for (size_t i = 0; i < table_count; i++) {
        if (strcasecmp(tables[i].name, name) == 0)
            return &tables[i];
    }
    return NULL;
}

/* Takes `name` over. */
static bool show_named(struct parser *parser, char *name)
{
    struct command *command = parser->command;
    const struct pretended *pretended = pretended_parameter(name);
    command->table = find_table(name);
    bool found = true;
    if (command->table != NULL) {
        command->kind = COMMAND_SHOW;
    } else if (strcasecmp(name, "help") == 0) {
        command->kind = COMMAND_HELP;
    } else if (pretended != NULL) {
        show_value(command, pretended);
    } else {
        const char *nearest = nearest_table(name);
        complain(parser->complaint, "42601",
                 nearest != NULL ? weir_format("Perhaps you mean SHOW %s.", nearest)
                                 : weir_strdup("SHOW HELP lists what can be shown."),
                 "invalid command 'SHOW %.*s', use SHOW HELP;", SHOWN_MAX, name);
        found = false;
    }
    free(name);
    return found;
}

static bool parse_show(struct parser *parser)
{
    parser->command->tag = "SHOW";
    char *name = NULL;
    if (accept_word(parser, "transaction")) {
        if (!accept_word(parser, "isolation") || !accept_word(parser, "level"))
            return refuse_syntax(parser);
        name = weir_strdup("transaction_isolation");
    } else if (accept_word(parser, "time")) {
        if (!accept_word(parser, "zone"))
            return refuse_syntax(parser);
        name = weir_strdup("timezone");
    } else if (parser->token.kind == TOKEN_WORD || parser->token.kind == TOKEN_QUOTED) {
        name = token_text(&parser->token);
        advance(parser);
    } else {
        return refuse_syntax(parser);
    }
    return show_named(parser, name) && end_statement(parser);
}

static bool is_number(const struct token *token)
{
    return token->kind == TOKEN_WORD && token->length <= 9 &&
           strspn(token->at, "0123456789") >= token->length;
}

/* `AS name`, or a bare name. */
static bool read_alias(struct parser *parser)
{
    bool as = accept_word(parser, "as");
    if (parser->token.kind == TOKEN_WORD || parser->token.kind == TOKEN_QUOTED) {
        free(parser->command->column_name);
        parser->command->column_name = token_text(&parser->token);
        advance(parser);
    } else if (as) {
        return refuse_syntax(parser);
    }
    return end_statement(parser);
}

static bool select_literal(struct parser *parser)
{
    struct command *command = parser->command;
    bool number = is_number(&parser->token);
    command->kind = COMMAND_VALUE;
    command->source = VALUE_LITERAL;
    command->value = token_text(&parser->token);
    command->column_name = weir_strdup("?column?");
    command->column = (struct column){.type = number ? COLUMN_INT4 : COLUMN_TEXT};
    advance(parser);
    return read_alias(parser);
}

static bool select_function(struct parser *parser, const struct pretended *function)
{
    show_value(parser->command, function);
    advance(parser);
    if (accept_symbol(parser, '(') && !accept_symbol(parser, ')'))
        return refuse_syntax(parser);
    return read_alias(parser);
}

static bool parse_select(struct parser *parser)
{
    parser->command->tag = "SELECT";
    if (is_number(&parser->token) || parser->token.kind == TOKEN_STRING)
        return select_literal(parser);
    if (accept_symbol(parser, '*') && !accept_word(parser, "from"))
        return refuse_syntax(parser);
    if (parser->token.kind != TOKEN_WORD && parser->token.kind != TOKEN_QUOTED)
        return refuse_syntax(parser);
    char *name = token_text(&parser->token);
    const struct pretended *function = pretended_function(name);
    if (function != NULL) {
        free(name);
        return select_function(parser, function);
    }
    advance(parser);
    if (!token_ends_statement(&parser->token)) {
        free(name);
        complain(
            parser->complaint, "0A000",
            weir_strdup("SELECT * FROM pools is the same as SHOW POOLS; that is all there is."),
            "the console runs no queries");
        return false;
    }
    return show_named(parser, name);
}

/* --- SET ------------------------------------------------------------------------------------- */

/* All up to the end of the statement, without white space around; a single quoted text without its
 * quotes. */
static bool read_value(struct parser *parser)
{
    struct command *command = parser->command;
    if (parser->token.kind == TOKEN_PARAMETER || token_is_symbol(&parser->token, '(')) {
        if (!read_name(parser, &command->value, &command->value_parameter))
            return false;
        return end_statement(parser);
    }
    struct token first = parser->token, last = first;
    int count = 0;
    for (; !token_ends_statement(&parser->token); count++) {
        if (parser->token.kind == TOKEN_BROKEN)
            return refuse_syntax(parser);
        last = parser->token;
        advance(parser);
    }
    if (count == 0)
        return refuse_syntax(parser);
    if (count == 1)
        command->value = token_text(&first);
    else
        command->value = weir_strndup(first.at, (size_t)(token_end(&last) - first.at));
    return true;
}

static bool skip_statement(struct parser *parser)
{
    while (!token_ends_statement(&parser->token)) {
        if (parser->token.kind == TOKEN_BROKEN)
            return refuse_syntax(parser);
        advance(parser);
    }
    return true;
}

static bool ignore_set(struct parser *parser)
{
    parser->command->kind = COMMAND_SET_IGNORED;
    parser->command->admin = false;
    return skip_statement(parser);
}

static bool parse_set(struct parser *parser)
{
    struct command *command = parser->command;
    if (token_is_word(&parser->token, "names") || token_is_word(&parser->token, "time") ||
        token_is_word(&parser->token, "transaction"))
        return ignore_set(parser);
    if (accept_word(parser, "session")) {
        if (token_is_word(&parser->token, "characteristics"))
            return ignore_set(parser);
    } else {
        accept_word(parser, "local");
    }
    if (parser->token.kind != TOKEN_WORD && parser->token.kind != TOKEN_QUOTED)
        return refuse_syntax(parser);
    command->name = token_text(&parser->token);
    advance(parser);
    if (!accept_symbol(parser, '=') && !accept_word(parser, "to"))
        return refuse_syntax(parser);
    if (pretended_parameter(command->name) != NULL) {
        command->kind = COMMAND_SET_IGNORED;
        command->admin = false;
    }
    return read_value(parser);
}

/* --- the other commands ----------------------------------------------------------------------- */

static bool parse_how(struct parser *parser)
{
    static const char *const words[] = {"WAIT_FOR_SERVERS", "WAIT_FOR_CLIENTS"};
    for (size_t i = 0; i < 2; i++) {
        if (accept_word(parser, words[i]))
            parser->command->name = weir_strdup(words[i]);
    }
    return end_statement(parser);
}

static bool parse_number(struct parser *parser)
{
    /* A client pastes what SHOW CLIENTS gave it, perhaps in quotes; perform.c reads the number. */
    return read_argument(parser) && end_statement(parser);
}

/* EXPLAIN POOL database.user: what is between is kept as it is, for either may contain a dot. */
static bool parse_explain(struct parser *parser)
{
    struct command *command = parser->command;
    if (!accept_word(parser, "pool"))
        return refuse_syntax(parser);
    command->table = &explain_table;
    if (!read_argument(parser))
        return false;
    if (!token_ends_statement(&parser->token) && command->name != NULL) {
        bool dotted = command->name[0] != '\0' && command->name[strlen(command->name) - 1] == '.';
        accept_word(parser, ".");
        char *user = NULL;
        int parameter = 0;
        if (!read_name(parser, &user, &parameter) || user == NULL) {
            free(user);
            return refuse_syntax(parser);
        }
        /* A word cannot begin with a dot unless it followed a quoted name. */
        bool begins = user[0] == '.';
        char *both = weir_format("%s%s%s", command->name, dotted || begins ? "" : ".", user);
        free(command->name);
        free(user);
        command->name = both;
    }
    return end_statement(parser);
}

static bool parse_rest(struct parser *parser)
{
    struct command *command = parser->command;
    if (command->kind == COMMAND_RELEASE || command->kind == COMMAND_CLOSE ||
        command->kind == COMMAND_RESET || command->kind == COMMAND_UNLISTEN ||
        command->kind == COMMAND_SAVEPOINT)
        command->kind = COMMAND_ACCEPTED;
    if (command->kind == COMMAND_DEALLOCATE) {
        accept_word(parser, "prepare");
        if (!read_argument(parser) || command->name == NULL)
            return refuse_syntax(parser);
        return end_statement(parser);
    }
    if (command->kind == COMMAND_ROLLBACK) {
        /* ROLLBACK TO a savepoint leaves the transaction open. */
        accept_word(parser, "work");
        accept_word(parser, "transaction");
        if (token_is_word(&parser->token, "to"))
            command->kind = COMMAND_ACCEPTED;
    }
    return skip_statement(parser);
}

static bool parse_argument(struct parser *parser)
{
    switch (parser->row->argument) {
    case ARGUMENT_NONE:
        return end_statement(parser);
    case ARGUMENT_NAME:
        return read_argument(parser) && end_statement(parser);
    case ARGUMENT_ANY_NAME:
        if (token_ends_statement(&parser->token))
            return true;
        return read_argument(parser) && end_statement(parser);
    case ARGUMENT_NUMBER:
        return parse_number(parser);
    case ARGUMENT_HOW:
        return parse_how(parser);
    case ARGUMENT_TABLE:
        return parse_show(parser);
    case ARGUMENT_SETTING:
        return parse_set(parser);
    case ARGUMENT_POOL:
        return parse_explain(parser);
    case ARGUMENT_SELECT:
        return parse_select(parser);
    case ARGUMENT_REST:
        return parse_rest(parser);
    }
    return false;
}

static const struct command_row *find_row(const struct token *token)
{
    for (size_t i = 0; i < command_row_count; i++) {
        if (token_is_word(token, command_rows[i].word))
            return &command_rows[i];
    }
    return NULL;
}

bool command_parse(const char *text, const char **rest, struct command *command,
                   struct complaint *complaint)
{
    struct parser parser = {.text = text, .command = command, .complaint = complaint};
    *command = (struct command){.kind = COMMAND_EMPTY};
    advance(&parser);
    const char *statement = parser.token.at;
    *rest = parser.text;
    if (token_ends_statement(&parser.token))
        return true;
    parser.row = find_row(&parser.token);
    if (parser.row == NULL) {
        if (parser.token.kind == TOKEN_BROKEN)
            return refuse_syntax(&parser);
        return refuse_command(&parser, statement);
    }
    command->kind = parser.row->kind;
    command->tag = parser.row->word;
    command->admin = parser.row->admin;
    advance(&parser);
    bool good = parse_argument(&parser);
    command->column.name = command->column_name;
    *rest = parser.text;
    return good;
}

size_t command_columns(const struct command *command, const struct column **columns)
{
    if (command->kind == COMMAND_VALUE) {
        *columns = &command->column;
        return 1;
    }
    if (command->table == NULL || command->table->walk == NULL)
        return 0;
    *columns = command->table->columns;
    return command->table->column_count;
}

int command_parameters(const struct command *command)
{
    return command->name_parameter > command->value_parameter ? command->name_parameter
                                                              : command->value_parameter;
}
