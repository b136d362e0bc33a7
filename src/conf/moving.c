/* What becomes of each of PgBouncer's settings. */
#include <stdio.h>
#include <string.h>

#include "moving.h"
#include "setting.h"

/* All that PgBouncer 1.25 knows in its global section, and the newer ones of its development. */
const char *const weir_pgbouncer_names[] = {
    "logfile",
    "pidfile",
    "listen_addr",
    "listen_port",
    "unix_socket_dir",
    "unix_socket_mode",
    "unix_socket_group",
    "user",
    "pool_mode",
    "max_client_conn",
    "default_pool_size",
    "min_pool_size",
    "reserve_pool_size",
    "reserve_pool_timeout",
    "max_db_connections",
    "max_db_client_connections",
    "max_user_connections",
    "max_user_client_connections",
    "server_round_robin",
    "track_extra_parameters",
    "ignore_startup_parameters",
    "peer_id",
    "disable_pqexec",
    "application_name_add_host",
    "conffile",
    "job_name",
    "service_name",
    "stats_period",
    "max_prepared_statements",
    "scram_iterations",
    "login_notify_message",
    "autodb_idle_timeout",
    "pool_idle_timeout",
    "resolv_conf",
    "auth_type",
    "auth_file",
    "auth_hba_file",
    "auth_ident_file",
    "auth_user",
    "auth_query",
    "auth_dbname",
    "auth_ldap_options",
    "admin_users",
    "stats_users",
    "syslog",
    "syslog_ident",
    "syslog_facility",
    "log_connections",
    "log_disconnections",
    "log_pooler_errors",
    "log_stats",
    "verbose",
    "client_tls_sslmode",
    "client_tls_key_file",
    "client_tls_cert_file",
    "client_tls_ca_file",
    "client_tls_protocols",
    "client_tls_ciphers",
    "client_tls13_ciphers",
    "client_tls_ecdhcurve",
    "client_tls_dheparams",
    "server_tls_sslmode",
    "server_tls_ca_file",
    "server_tls_key_file",
    "server_tls_cert_file",
    "server_tls_protocols",
    "server_tls_ciphers",
    "server_tls13_ciphers",
    "server_reset_query",
    "server_reset_query_always",
    "server_check_query",
    "server_check_delay",
    "server_fast_close",
    "server_lifetime",
    "server_idle_timeout",
    "server_connect_timeout",
    "server_login_retry",
    "client_login_timeout",
    "query_wait_notify",
    "query_timeout",
    "query_wait_timeout",
    "cancel_wait_timeout",
    "client_idle_timeout",
    "idle_transaction_timeout",
    "transaction_timeout",
    "suspend_timeout",
    "dns_max_ttl",
    "dns_nxdomain_ttl",
    "dns_zone_check_period",
    "pkt_buf",
    "max_packet_size",
    "listen_backlog",
    "sbuf_loopcnt",
    "so_reuseport",
    "tcp_defer_accept",
    "tcp_socket_buffer",
    "tcp_keepalive",
    "tcp_keepcnt",
    "tcp_keepidle",
    "tcp_keepintvl",
    "tcp_user_timeout",
    NULL,
};

static void print_default(const struct weir_setting *setting, FILE *out)
{
    if (setting->pgbouncer_value == NULL)
        return;
    fprintf(out, "default %s%s%s there, ", *setting->pgbouncer_value == '\0' ? "" : "`",
            *setting->pgbouncer_value == '\0' ? "empty" : setting->pgbouncer_value,
            *setting->pgbouncer_value == '\0' ? "" : "`");
    fprintf(out, "%s%s%s here", *setting->value == '\0' ? "" : "`",
            *setting->value == '\0' ? "empty" : setting->value, *setting->value == '\0' ? "" : "`");
}

static void print_row(const char *name, FILE *out)
{
    const struct weir_setting *setting = weir_setting_find(name);
    const struct weir_setting_alias *alias = weir_setting_find_alias(name);
    const struct weir_setting_foreign *foreign = weir_setting_find_foreign(name);
    fprintf(out, "| `%s` | ", name);
    if (foreign != NULL && setting == NULL) {
        fprintf(out, "%s | %s", foreign->refused ? "refused" : "ignored", foreign->reason);
    } else if (alias != NULL) {
        setting = &weir_settings[alias->setting];
        fprintf(out, "`%s` | ", setting->name);
        for (const char *text = alias->note; *text != '\0'; text++)
            fprintf(out, "%s%c", *text == '<' ? "\\" : "", *text);
        if (*alias->note != '\0' && setting->pgbouncer_value != NULL)
            fputs("; ", out);
        print_default(setting, out);
    } else if (setting != NULL) {
        fputs("the same | ", out);
        print_default(setting, out);
    }
    fputs(" |\n", out);
}

void weir_conf_print_moving(FILE *out)
{
    fputs("| PgBouncer | pgweir | what differs |\n|---|---|---|\n", out);
    for (size_t i = 0; weir_pgbouncer_names[i] != NULL; i++)
        print_row(weir_pgbouncer_names[i], out);
}
