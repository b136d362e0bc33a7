"""How the connection that listens for others (listen_hub) gets to PostgreSQL: as whom, by TLS, where."""
import contextlib

from harness import pgweir, postgres, process, wire
from support import pool
from test_server_tls import only_pgweir, server

SCRAM = "host all all 127.0.0.1/32 scram-sha-256\n"
TRUST = "host all all 127.0.0.1/32 trust\n"
HUB = {"listen_hub": "on", "pool_size": 2, "max_overflow": 0, "admin_users": "anna"}
COLUMNS = ("database", "host", "user", "state", "backend_pid", "connect_time", "channels", "listeners", "notifications",
           "deliveries", "waiting", "waiting_bytes", "losses", "problem")


def hubs(daemon, secret=None):
    with daemon.client("anna", "pgweir", secret) as console:
        return [dict(zip(COLUMNS, row)) for row in console.query("SHOW HUBS").rows]


def listening(postgres_server, what="usename"):
    return [row[0] for row in postgres_server.sql(
        f"select {what} from pg_stat_activity where application_name = 'pgweir listen_hub'")]


def hear(daemon, database="db", secret=None):
    """A client that listens, once the hub does it for him, and what he is told."""
    client = daemon.client("anna", database, secret)
    assert client.query("listen news").error is None
    process.wait_until(lambda: sum(int(row["listeners"]) for row in hubs(daemon, secret)) == 1, "the hub has taken over")
    with daemon.client("anna", database, secret) as sender:
        assert sender.query("notify news, 'heard'").error is None
    assert b"heard" in client.read_until("A")[-1].body
    return client


@pool(seconds=120)
def test_as_whom(env):
    """As the user who listens, with what auth_file or the line has of his password; as auth_user, when
    that is a secret with which libpq cannot log in; and when there is none, LISTEN keeps its connection,
    and SHOW HUBS says what is missing."""
    only_pgweir(env)
    with postgres.Postgres(hba=SCRAM) as database:
        database.sql("create role anna login password 'ann'; create role asker login password 'ask'")
        secret = database.sql("select rolpassword from pg_authid where rolname = 'anna'")[0][0]
        line = f"host=127.0.0.1 port={database.port} dbname=postgres"
        scram = {"auth_type": "scram-sha-256", **HUB}
        for users, words, settings, user in (
                ({"anna": "ann"}, "", {}, "anna"),
                ({"anna": secret, "asker": "ask"}, "", {"auth_user": "asker"}, "asker"),
                ({"anna": secret}, " user=asker password=ask", {}, "asker")):
            with pgweir.Pgweir({"db": line + words}, users, **scram, **settings) as daemon:
                with hear(daemon, secret="ann"):
                    assert listening(database) == [user], (users, listening(database))
                    row, = hubs(daemon, "ann")
                    assert row["user"] == user and row["state"] == "listening", row
        with pgweir.Pgweir({"db": line}, {"anna": secret}, **scram) as daemon, daemon.client("anna", "db", "ann") as client:
            assert client.query("listen news").error is None
            process.wait_until(lambda: hubs(daemon, "ann")[0]["problem"], "it is said why not")
            row, = hubs(daemon, "ann")
            for word in ('user "anna"', "a SCRAM verifier", "or set auth_user"):
                assert word in row["problem"], row
            with daemon.client("anna", "db", "ann") as sender:
                assert sender.query("notify news, 'heard'").error is None
            assert b"heard" in client.read_until("A")[-1].body


@pool(seconds=120)
def test_by_tls(env):
    """As the pools of the line do it. Another line for the same database with other demands has a hub of its
    own: nobody hears by a connection that proves less than his line asks for."""
    only_pgweir(env)
    with server() as database:
        database.sql("create role anna login")
        database.dress("good")
        line = f"host=localhost port={database.port} dbname=postgres"
        strict = database.authority.fill("sslmode=verify-full sslrootcert={root}")
        secured = "(select ssl from pg_stat_ssl s where s.pid = pg_stat_activity.pid)"
        with pgweir.Pgweir({"db": f"{line} {strict}", "open": f"{line} sslmode=disable"}, **HUB) as daemon:
            with hear(daemon):
                assert listening(database, secured) == ["t"]
                with daemon.client("anna", "open") as other:
                    assert other.query("listen news").error is None
                    process.wait_until(lambda: sorted(listening(database, secured)) == ["f", "t"], "one for each")
                    assert len(hubs(daemon)) == 2


@pool(seconds=60)
def test_of_several_hosts(env):
    """Where the server connections of the pool are, whatever other hosts there are."""
    only_pgweir(env)
    with contextlib.ExitStack() as stack:
        standby, primary = [stack.enter_context(postgres.Postgres(hba=TRUST)) for _ in range(2)]
        for database in (standby, primary):
            database.sql("create role anna login")
        standby.sql("alter system set default_transaction_read_only = on")
        standby.sql("select pg_reload_conf()")
        process.wait_until(lambda: standby.sql("show default_transaction_read_only") == [("on",)], "the reload")
        line = (f"host=127.0.0.1,127.0.0.1 port={standby.port},{primary.port} dbname=postgres "
                "target_session_attrs=read-write")
        daemon = stack.enter_context(pgweir.Pgweir({"db": line}, **HUB))
        with hear(daemon):
            assert listening(primary) == ["anna"] and listening(standby) == []


@pool(seconds=60)
def test_a_server_that_refuses(env):
    """No connection is free for the hub: who listens keeps his, nobody else is touched, and as soon as
    there is room it takes over."""
    only_pgweir(env)
    with postgres.Postgres(hba=TRUST) as database:
        database.sql("create role anna login; alter role anna connection limit 1")
        line = f"host=127.0.0.1 port={database.port} dbname=postgres"
        with pgweir.Pgweir({"db": line}, **{**HUB, "pool_size": 1}) as daemon, daemon.client("anna") as client:
            assert client.query("listen news").error is None
            process.wait_until(lambda: hubs(daemon)[0]["problem"], "it is said why not")
            assert "too many connections for role" in hubs(daemon)[0]["problem"], hubs(daemon)
            assert client.query("notify news, 'own'").types.count("A") == 1
            database.sql("alter role anna connection limit 3")
            process.wait_until(lambda: hubs(daemon)[0]["state"] == "listening", "it takes over")
            with daemon.client("anna") as other:
                assert other.ask(wire.query("notify news, 'heard'")).error is None
            assert b"heard" in client.read_until("A")[-1].body
