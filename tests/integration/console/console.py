"""What the tests of the console share: the columns that monitoring relies on, and ways in."""
import contextlib

import psycopg
from harness import wire
from psycopg import rows

TEXT, INT4, INT8, NUMERIC = 25, 23, 20, 1700
NAMES = {"i": INT4, "q": INT8, "n": NUMERIC, "t": TEXT}

CONNECTION = ("type user database replication state addr port:i local_addr local_port:i connect_time request_time "
              "wait:i wait_us:i close_needed:i ptr link remote_pid:i tls application_name prepared_statements:i id:i")
COUNTS = ("server_assignment_count xact_count query_count {0}received {0}sent xact_time query_time wait_time "
          "client_parse_count server_parse_count bind_count client_login_count")


def numeric(names):
    return " ".join(f"{name}:n" for name in names.split())


# PgBouncer's columns: names, order, types.
COLUMNS = {
    "VERSION": "version",
    "STATE": "key value",
    "LISTS": "list items:i",
    "USERS": "name pool_size reserve_pool_size pool_mode max_user_connections:i current_connections:i "
             "max_user_client_connections:i current_client_connections:i",
    "DATABASES": "name host port:i database force_user pool_size:i min_pool_size:i reserve_pool_size:i "
                 "server_lifetime:i pool_mode load_balance_hosts max_connections:i current_connections:i "
                 "max_client_connections:i current_client_connections:i paused:i disabled:i",
    "PEERS": "peer_id:i host port:i pool_size:i",
    "PEER_POOLS": "peer_id:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active_cancel:i sv_login:i",
    "POOLS": "database user cl_active:i cl_waiting:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active:i "
             "sv_active_cancel:i sv_being_canceled:i sv_idle:i sv_used:i sv_tested:i sv_login:i maxwait:i "
             "maxwait_us:i pool_mode load_balance_hosts",
    "STATS": "database " + numeric(
        "total_server_assignment_count total_xact_count total_query_count total_received total_sent total_xact_time "
        "total_query_time total_wait_time total_client_parse_count total_server_parse_count total_bind_count "
        "total_client_login_count avg_server_assignment_count avg_xact_count avg_query_count avg_recv avg_sent "
        "avg_xact_time avg_query_time avg_wait_time avg_client_parse_count avg_server_parse_count avg_bind_count "
        "avg_client_login_count"),
    "STATS_TOTALS": "database " + numeric(
        "server_assignment_count xact_count query_count bytes_received bytes_sent xact_time query_time wait_time "
        "client_parse_count server_parse_count bind_count client_login_count"),
    "STATS_AVERAGES": "database " + numeric(
        "server_assignment_count xact_count query_count bytes_received bytes_sent xact_time query_time wait_time "
        "avg_client_parse_count avg_server_parse_count avg_bind_count avg_client_login_count"),
    "TOTALS": "name value:n",
    "CLIENTS": CONNECTION,
    "SERVERS": CONNECTION,
    "SOCKETS": CONNECTION + " recv_pos:i pkt_pos:i pkt_remain:i send_pos:i send_remain:i pkt_avail:i send_avail:i",
    "MEM": "name size:i used:i free:i memtotal:i",
    "DNS_HOSTS": "hostname ttl:q addrs",
    "DNS_ZONES": "zonename serial:q count:i",
    "CONFIG": "key value default changeable",
}
COLUMNS["ACTIVE_SOCKETS"] = COLUMNS["SOCKETS"]


def expected_columns(table):
    found = []
    for word in COLUMNS[table].split():
        name, _, kind = word.partition(":")
        found.append((name, NAMES[kind or "t"]))
    return found


def settings(**more):
    """Of a pool with a console for `app`, and `second` who may only look."""
    return {"pool_size": 2, "admin_users": "app", "stats_users": "second, raw", **more}


def console(env, dbname="pgbouncer", **options):
    """A psycopg 3 connection to the console whose rows are dictionaries."""
    return env.connect(dbname=dbname, row_factory=rows.dict_row, **options)


def show(connection, what):
    return connection.execute(f"SHOW {what}").fetchall()


def one(connection, what, **wanted):
    """The one row in which the columns have these values."""
    found = [row for row in show(connection, what) if all(row[name] == value for name, value in wanted.items())]
    assert len(found) == 1, (what, wanted, found)
    return found[0]


@contextlib.contextmanager
def refused(sqlstate, text=""):
    try:
        yield
    except psycopg.Error as error:
        assert error.sqlstate == sqlstate, (error.sqlstate, str(error))
        assert text in str(error), str(error)
    else:
        raise AssertionError(f"not refused with {sqlstate}")


def raw_console(env, user="app", dbname="pgbouncer"):
    client = wire.Client(env.port, env.host, timeout=20)
    env.closing.callback(client.close)
    return client.login(user, dbname, env.password)
