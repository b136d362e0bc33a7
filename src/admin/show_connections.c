/* Clients and server connections. There may be ten thousand of them: clients are shown in slices, a
 * slice a turn. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "console.h"
#include "weir/memory.h"
#include "weir/view.h"

#define CLIENTS_PER_SLICE 250
#define TEXTS_PER_SLICE   250

/* Bytes of a statement that are shown. */
#define STATEMENT_MAX 1024

/* --- parts of rows ------------------------------------------------------------------------- */

static void show_address(struct rows *rows, const struct weir_address *address)
{
    char text[INET6_ADDRSTRLEN] = "unix";
    int port = 0;
    if (address->length == 0) {
        rows_null(rows);
        rows_null(rows);
        return;
    }
    if (address->any.sa_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)&address->any;
        inet_ntop(AF_INET, &four->sin_addr, text, sizeof(text));
        port = ntohs(four->sin_port);
    } else if (address->any.sa_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)&address->any;
        inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof(text));
        port = ntohs(six->sin6_port);
    }
    rows_text(rows, text);
    rows_number(rows, port);
}

static void show_pointer(struct rows *rows, const void *pointer)
{
    char text[24] = "";
    if (pointer != NULL)
        snprintf(text, sizeof(text), "0x%" PRIxPTR, (uintptr_t)pointer);
    rows_text(rows, text);
}

void show_statement(struct walk *walk, const struct weir_view_statement *statement)
{
    size_t length = statement->length < STATEMENT_MAX ? statement->length : STATEMENT_MAX;
    if (statement->text == NULL || !walk_shows_statements(walk))
        rows_null(&walk->rows);
    else
        rows_bytes(&walk->rows, statement->text, strnlen(statement->text, length));
}

static void show_pin_names(struct rows *rows, uint32_t pins)
{
    char text[256] = "";
    size_t length = 0;
    for (uint32_t pin = 1; pin != 0 && pin <= pins; pin <<= 1) {
        if ((pins & pin) == 0 || length >= sizeof(text))
            continue;
        int added = snprintf(text + length, sizeof(text) - length, "%s%s", length > 0 ? ", " : "",
                             weir_view_pin_name((enum weir_view_pin)pin));
        length += added > 0 ? (size_t)added : 0;
    }
    rows_text(rows, text);
}

/* What clients and servers have in common, in the order of the columns. */
struct common {
    const char *type, *user, *database, *replication, *state, *application_name;
    const struct weir_address *address, *local_address;
    int64_t connected_at, requested_at;
    weir_usec wait;
    bool close_needed;
    const void *pointer, *link;
    uint32_t pid;
    size_t prepared;
    uint64_t id;
    const char *tls_version, *tls_cipher; /* NULL: none */
};

static void show_tls(struct rows *rows, const struct common *common)
{
    char text[128] = "";
    if (common->tls_version != NULL)
        snprintf(text, sizeof(text), "%s/%s", common->tls_version, common->tls_cipher);
    rows_text(rows, text);
}

static void show_common(struct rows *rows, const struct common *common)
{
    rows_text(rows, common->type);
    rows_text(rows, common->user);
    rows_text(rows, common->database);
    rows_text(rows, common->replication);
    rows_text(rows, common->state);
    show_address(rows, common->address);
    show_address(rows, common->local_address);
    rows_instant(rows, common->connected_at);
    rows_instant(rows, common->requested_at);
    rows_number(rows, common->wait / WEIR_SEC);
    rows_number(rows, common->wait % WEIR_SEC);
    rows_number(rows, common->close_needed);
    show_pointer(rows, common->pointer);
    show_pointer(rows, common->link);
    rows_number(rows, common->pid);
    show_tls(rows, common);
    rows_text(rows, common->application_name != NULL ? common->application_name : "");
    rows_number(rows, (int64_t)common->prepared);
    rows_number(rows, (int64_t)common->id);
}

/* recv_pos to send_avail of SHOW SOCKETS: what is kept of the input and not sent of the output. */
static void show_socket(struct rows *rows, size_t input, size_t output)
{
    rows_number(rows, (int64_t)input);
    rows_number(rows, 0);
    rows_number(rows, 0);
    rows_number(rows, 0);
    rows_number(rows, 0);
    rows_number(rows, (int64_t)input);
    rows_number(rows, (int64_t)output);
}

/* --- clients ------------------------------------------------------------------------------- */

static void begin_client(struct rows *rows, const struct weir_view_client *client)
{
    const struct common common = {
        .type = "C",
        .user = client->user,
        .database = client->database,
        .replication = client->replication,
        .state = client->state_word,
        .application_name = client->application_name,
        .address = &client->address,
        .local_address = &client->local_address,
        .connected_at = client->connected_at,
        .requested_at = client->requested_at,
        .wait = client->wait,
        .pointer = client->pointer,
        .link = client->server_pointer,
        .pid = client->backend_pid,
        .tls_version = client->tls_version,
        .tls_cipher = client->tls_cipher,
        .prepared = client->prepared_statements,
        .id = client->id,
    };
    rows_begin(rows);
    show_common(rows, &common);
}

static void show_client(void *context, const struct weir_view_client *client)
{
    struct walk *walk = context;
    struct rows *rows = &walk->rows;
    begin_client(rows, client);
    rows_number(rows, client->state_age);
    rows_number(rows, client->wait_position);
    rows_number(rows, (int64_t)client->server_id);
    show_pin_names(rows, client->pins);
    show_statement(walk, &client->statement);
    rows_number(rows, client->channels);
    rows_end(rows);
}

/* True: no client is left. */
static bool walk_clients(struct walk *walk,
                         void (*each)(void *context, const struct weir_view_client *row))
{
    return !weir_view_clients_some(walk->admin->router, &walk->portal->at, CLIENTS_PER_SLICE, each,
                                   walk);
}

bool show_clients(struct walk *walk)
{
    return walk_clients(walk, show_client);
}

/* --- servers ------------------------------------------------------------------------------- */

static void begin_server(struct rows *rows, const struct weir_view_server *server)
{
    const struct common common = {
        .type = "S",
        .user = server->user,
        .database = server->database,
        .replication = server->replication,
        .state = server->state_word,
        .application_name = server->application_name,
        .address = &server->address,
        .local_address = &server->local_address,
        .connected_at = server->connected_at,
        .requested_at = server->requested_at,
        .close_needed = server->close_needed,
        .pointer = server->pointer,
        .link = server->client_pointer,
        .pid = server->backend_pid,
        .tls_version = server->tls_version,
        .tls_cipher = server->tls_cipher,
        .prepared = server->prepared_statements,
        .id = server->id,
    };
    rows_begin(rows);
    show_common(rows, &common);
}

static void show_server(void *context, const struct weir_view_server *server)
{
    struct walk *walk = context;
    struct rows *rows = &walk->rows;
    begin_server(rows, server);
    rows_text(rows, server->doing);
    rows_number(rows, server->state_age);
    rows_number(rows, server->held);
    rows_number(rows, (int64_t)server->uses);
    rows_number(rows, (int64_t)server->client_id);
    show_pin_names(rows, server->pins);
    show_statement(walk, &server->statement);
    rows_end(rows);
}

bool show_servers(struct walk *walk)
{
    weir_view_servers(walk->admin->router, show_server, walk);
    return true;
}

/* --- both ---------------------------------------------------------------------------------- */

static void show_client_socket(void *context, const struct weir_view_client *client)
{
    struct walk *walk = context;
    begin_client(&walk->rows, client);
    show_socket(&walk->rows, client->input_kept, client->output_unsent);
    rows_end(&walk->rows);
}

static void show_server_socket(void *context, const struct weir_view_server *server)
{
    struct walk *walk = context;
    begin_server(&walk->rows, server);
    show_socket(&walk->rows, server->input_kept, server->output_unsent);
    rows_end(&walk->rows);
}

bool show_sockets(struct walk *walk)
{
    if (!walk_clients(walk, show_client_socket))
        return false;
    weir_view_servers(walk->admin->router, show_server_socket, walk);
    return true;
}

static void show_active_client(void *context, const struct weir_view_client *client)
{
    if (client->server_id != 0)
        show_client_socket(context, client);
}

static void show_active_server(void *context, const struct weir_view_server *server)
{
    if (server->client_id != 0)
        show_server_socket(context, server);
}

bool show_active_sockets(struct walk *walk)
{
    if (!walk_clients(walk, show_active_client))
        return false;
    weir_view_servers(walk->admin->router, show_active_server, walk);
    return true;
}

/* --- pins ---------------------------------------------------------------------------------- */

static void show_pin(void *context, const struct weir_view_pin_row *row)
{
    struct walk *walk = context;
    struct rows *rows = &walk->rows;
    rows_begin(rows);
    rows_number(rows, (int64_t)row->client_id);
    rows_text(rows, row->database);
    rows_text(rows, row->user);
    rows_text(rows, row->application_name);
    rows_text(rows, weir_view_pin_name(row->pin));
    rows_number(rows, row->age);
    rows_number(rows, (int64_t)row->server_id);
    rows_number(rows, row->backend_pid);
    rows_text(rows, weir_view_pin_release(row->pin));
    show_statement(walk, &row->statement);
    rows_end(rows);
}

bool show_pins(struct walk *walk)
{
    weir_view_pins(walk->admin->router, show_pin, walk);
    return true;
}

static void show_text(void *context, const struct weir_view_prepared *row)
{
    struct walk *walk = context;
    struct rows *rows = &walk->rows;
    const struct weir_view_statement statement = {.text = row->text, .length = row->length};
    rows_begin(rows);
    rows_number(rows, (int64_t)row->id);
    rows_number(rows, row->clients);
    rows_number(rows, row->servers);
    rows_number(rows, (int64_t)row->binds);
    rows_number(rows, (int64_t)row->length);
    show_statement(walk, &statement);
    rows_end(rows);
}

bool show_prepared(struct walk *walk)
{
    return !weir_view_prepared_some(walk->admin->router, &walk->portal->at, TEXTS_PER_SLICE,
                                    show_text, walk);
}
