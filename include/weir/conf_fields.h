/* The snapshot's global fields. Read only. */
#ifndef WEIR_CONF_FIELDS_H
#define WEIR_CONF_FIELDS_H

#include "weir/conf.h"
#include "weir/log.h"

struct weir_conf {
    struct weir_pool_settings pool; /* the global level of the per-pool settings */

    char *listen_addr; /* comma list, "" = none */
    int listen_port;
    char *unix_socket_dir;
    int unix_socket_mode;
    char *unix_socket_group;
    int listen_backlog;
    bool so_reuseport;

    int max_server_connections; /* over all pools; 0: none */
    int max_client_conn;
    int connection_rate; /* per second and address; 0: no limit */
    int connection_rate_burst;
    weir_usec auth_failure_delay; /* 0: none */
    weir_usec auth_failure_delay_max;
    int max_console_connections;
    int reserved_admin_connections;
    bool refuse_readable_secrets;
    enum weir_auth_type auth_type;
    char *auth_file; /* "" = none */
    char *auth_hba_file;
    char *auth_ident_file;
    weir_usec auth_query_cache;
    char *auth_ldap_options;
    char *auth_pam_service;
    int auth_workers;
    weir_usec auth_worker_timeout; /* 0: client_login_timeout */
    char *auth_worker_program;     /* "": the one that was installed */
    enum weir_sslmode client_tls_sslmode;
    char *client_tls_cert_file; /* "" = none, as all of these */
    char *client_tls_key_file;
    char *client_tls_ca_file;
    char *client_tls_crl_file;
    char *client_tls_protocols;
    char *client_tls_ciphers;
    char *client_tls13_ciphers;
    char *client_tls_ecdhcurve;
    char *admin_users;
    char *stats_users;

    enum weir_sslmode server_tls_sslmode; /* of lines that do not say sslmode, as the next ones */
    char *server_tls_ca_file;
    char *server_tls_cert_file;
    char *server_tls_key_file;
    char *server_tls_protocols;
    char *server_tls_ciphers;
    char *server_tls13_ciphers;

    weir_usec client_login_timeout;
    weir_usec shutdown_timeout;
    uint64_t
        client_memory_limit; /* bytes of input or output held per client before back pressure */
    uint64_t max_message_size;

    char *http_listen; /* comma list of ADDRESS:PORT, "" = none */
    bool http_statements;

    enum weir_log_level log_level;
    enum weir_log_format log_format;
    char *logfile;
    bool syslog;
    char *syslog_ident;
    int syslog_facility; /* LOG_DAEMON and the like */
    bool log_connections;
    bool log_disconnections;
    bool log_pooler_errors;
    bool log_stats;
    weir_usec stats_period;
    uint64_t log_query_length;
    uint64_t track_statements; /* bytes */

    char *pidfile;
    bool core_dumps;
    char *user; /* to switch to when started as root */

    bool pgbouncer_file; /* the file had a [pgbouncer] section: its defaults hold */

    /* Owned by the conf room. */
    struct weir_database *databases;
    size_t database_count;
    struct weir_conf_user *users;
    size_t user_count;
    struct weir_conf_origin *origins; /* where each setting was set */
    struct weir_entries *entries;     /* what was read, for weir_conf_with */
};

#endif
