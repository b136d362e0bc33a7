/* The status page: its file with the state of this moment written into it, for browsers that run no
 * scripts and for the moment before the script has run. */
#include <inttypes.h>
#include <string.h>

#include "readiness.h"
#include "status.h"

/* The words are classes of the style sheet too. */
static const char *pool_health(const struct weir_http_pool *pool)
{
    if (pool->failing > 0)
        return "bad";
    if (pool->paused > 0 || pool->row.clients_waiting > 0)
        return "warn";
    return "good";
}

static const char *pool_state(const struct weir_http_pool *pool)
{
    if (pool->failing > 0)
        return "cannot connect";
    if (pool->paused > 0)
        return "paused";
    return pool->row.clients_waiting > 0 ? "clients wait" : "ok";
}

static void put_number_cell(struct weir_http_body *body, int64_t number)
{
    weir_http_putf(body, "<td class=\"n\">%" PRId64 "</td>", number);
}

static void put_pool(struct weir_http_body *body, const struct weir_http_pool *pool)
{
    const struct weir_view_pool *row = &pool->row;
    weir_http_putf(body, "<tr class=\"%s\"><th scope=\"row\">", pool_health(pool));
    weir_http_put_html(body, pool->database);
    weir_http_put(body, " <small>");
    weir_http_put_html(body, pool->user);
    weir_http_putf(body, "</small></th><td>%s</td>", pool_state(pool));
    put_number_cell(body, row->clients_active);
    put_number_cell(body, row->clients_idle);
    put_number_cell(body, row->clients_waiting);
    weir_http_put(body, "<td class=\"n\">");
    weir_http_put_seconds(body, row->counts.oldest_wait);
    weir_http_put(body, " s</td>");
    put_number_cell(body, row->servers_active);
    put_number_cell(body, row->servers_idle + row->servers_used + row->servers_tested);
    put_number_cell(body, row->servers_login);
    put_number_cell(body, row->ceiling);
    put_number_cell(body, row->pins);
    weir_http_putf(body, "<td>%s</td>",
                   row->limit == WEIR_LIMIT_NONE ? "" : weir_view_limit_name(row->limit));
    weir_http_put(body, "</tr>\n");
}

static void put_reason(void *context, const char *reason)
{
    struct weir_http_body *body = context;
    weir_http_put(body, "<p class=\"alarm\">Not ready: ");
    weir_http_put_html(body, reason);
    weir_http_put(body, "</p>\n");
}

static void put_summary(const struct weir_http_shot *shot, struct weir_http_body *body)
{
    const struct weir_view_daemon *daemon = &shot->daemon;
    weir_http_unready(shot, put_reason, body);
    weir_http_putf(body,
                   "<p>pgweir " WEIR_VERSION ", up %" PRId64 " s: %d clients (at most %d), %d "
                   "server connections, %d pools, %" PRIu64 " transactions since the start.</p>\n",
                   daemon->uptime / WEIR_SEC, daemon->clients, daemon->conf->max_client_conn,
                   daemon->servers, daemon->pools, daemon->counters->transactions);
}

void weir_http_status_page(const struct weir_http_shot *shot, struct weir_http_body *body)
{
    weir_http_put(body, weir_http_page_before);
    put_summary(shot, body);
    weir_http_put(body, "<table class=\"pools\"><thead><tr><th>Pool</th><th>State</th>"
                        "<th>clients active</th><th>idle</th><th>waiting</th><th>oldest wait</th>"
                        "<th>servers active</th><th>idle</th><th>connecting</th><th>at most</th>"
                        "<th>pinned</th><th>held back by</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < shot->pool_count; i++)
        put_pool(body, &shot->pools[i]);
    weir_http_put(body, "</tbody></table>\n");
    if (shot->left_out > 0)
        weir_http_putf(body, "<p>%zu pools are added up in the last row.</p>\n", shot->left_out);
    weir_http_put(body, weir_http_page_after);
}
