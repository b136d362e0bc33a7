"""What an operator does, and what the application sees of it."""
import contextlib
import os
import threading
import time

import psycopg
from console import console, one, raw_console, refused, settings, show
from support import Noise, background, pool, run_program


def wait_until(true, what, seconds=10):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@contextlib.contextmanager
def ended(text):
    """The pooler ends the client with these words. libpq tells no SQLSTATE of a connection's end."""
    try:
        yield
    except psycopg.OperationalError as error:
        assert text in str(error), error
    else:
        raise AssertionError("survived")


@pool(**settings(pool_timeout=60, seconds=90))
def test_pause_under_load_is_only_waiting(env):
    """PAUSE answers when nobody holds a connection; RESUME lets all go on; nobody sees an error."""
    stop = threading.Event()
    counts = [0] * 6

    def work(number):
        client = env.connect()
        while not stop.is_set():
            with client.transaction():
                client.execute("select 1")
                counts[number] += client.execute("select 1").fetchone()[0]
    workers = [background(work, number) for number in range(6)]
    connection = console(env)
    wait_until(lambda: min(counts) > 3, "everybody works")
    for _ in range(3):
        assert connection.execute("PAUSE").statusmessage == "PAUSE"
        assert env.backends() == [], "PAUSE has answered, and there is still a backend"
        before = list(counts)
        wait_until(lambda: one(connection, "POOLS", database=env.dbname)["cl_waiting"] == 6, "all six wait")
        assert counts == before
        assert {row["value"] for row in show(connection, "STATE") if row["key"] == "paused"} == {"yes"}
        waits = show(connection, "WAITS")
        assert len(waits) == 6 and {row["waits_for"] for row in waits} == {"paused"}, waits
        with refused("55000", "already paused"):
            connection.execute("PAUSE")
        assert connection.execute("RESUME").statusmessage == "RESUME"
        wait_until(lambda: min(now - then for now, then in zip(counts, before)) > 3, "everybody works again")
    stop.set()
    for worker in workers:
        worker.join(20)


@pool(**settings())
def test_pause_waits_for_the_transaction(env):
    holder = env.connect()
    holder.execute("begin")
    connection = console(env)
    join = background(lambda: connection.execute(f"PAUSE {env.dbname}").statusmessage)
    other = console(env)
    wait_until(lambda: one(other, "DATABASES", name=env.dbname)["paused"] == 1, "paused")
    time.sleep(0.2)
    assert join.is_alive(), "PAUSE did not wait for the open transaction"
    assert {row["list"]: row["items"] for row in show(other, "LISTS")}["console_waits"] == 1
    holder.execute("commit")
    assert join.join(10) == "PAUSE"
    other.execute(f'RESUME "{env.dbname}"')
    assert holder.execute("select 5").fetchone() == (5,)


@pool(**settings())
def test_cancelled_pause_is_undone(env):
    holder = env.connect()
    holder.execute("begin")
    connection, other = console(env), console(env)

    def pause():
        with refused("57014"):
            connection.execute("PAUSE")
        return True
    join = background(pause)
    wait_until(lambda: one(other, "DATABASES", name=env.dbname)["paused"] == 1, "paused")
    connection.cancel()
    assert join.join(10)
    assert one(other, "DATABASES", name=env.dbname)["paused"] == 0
    assert env.connect().execute("select 1").fetchone() == (1,)
    assert show(connection, "VERSION"), "the session goes on"


@pool(**settings())
def test_disconnect_ends_the_wait(env):
    holder = env.connect()
    holder.execute("begin")
    client = raw_console(env)
    other = console(env)

    def waits():
        return {row["list"]: row["items"] for row in show(other, "LISTS")}["console_waits"]
    client.send(b"Q\0\0\0\x0aPAUSE\0")
    wait_until(lambda: waits() == 1, "PAUSE waits")
    client.close()
    wait_until(lambda: waits() == 0, "the wait has ended with its client")
    other.execute("RESUME")
    holder.execute("commit")


@pool(**settings())
def test_waits_are_limited(env):
    holder = env.connect()
    holder.execute("begin")
    connections = [console(env) for _ in range(17)]

    def pause(connection):
        try:
            return connection.execute("PAUSE").statusmessage
        except psycopg.Error as error:
            return error.sqlstate
    joins = [background(pause, connection) for connection in connections]
    wait_until(lambda: sum(not join.is_alive() for join in joins) == 1, "one is refused")
    holder.execute("commit")
    assert sorted(join.join(10) for join in joins) == ["53000"] + ["PAUSE"] * 16
    connections[0].execute("RESUME")


@pool(**settings())
def test_suspend_and_resume(env):
    client, connection = env.connect(), console(env)
    client.execute("select 1")
    assert connection.execute("SUSPEND").statusmessage == "SUSPEND"
    join = background(lambda: client.execute("select 2").fetchone())
    time.sleep(0.3)
    assert join.is_alive()
    assert {row["key"]: row["value"] for row in show(connection, "STATE")}["suspended"] == "yes"
    connection.execute("RESUME")
    assert join.join(10) == (2,)


@pool(**settings())
def test_disable_and_enable(env):
    stays, connection = env.connect(), console(env)
    assert connection.execute(f"DISABLE {env.dbname}").statusmessage == "DISABLE"
    try:
        env.connect()
        raise AssertionError("not disabled")
    except psycopg.OperationalError as error:
        assert "disabled" in str(error), error
    assert stays.execute("select 1").fetchone() == (1,)
    connection.execute(f"ENABLE {env.dbname}")
    assert env.connect().execute("select 1").fetchone() == (1,)
    with refused("42601"):
        connection.execute("DISABLE")


@pool(**settings())
def test_reconnect_changes_backends(env):
    clients = [env.connect() for _ in range(4)]
    with Noise(env):
        time.sleep(0.3)
    connection = console(env)
    before = {pid for pid, in env.backends()}
    assert before
    connection.execute(f"RECONNECT {env.dbname}; WAIT_CLOSE {env.dbname}")
    seen = {client.execute("select pg_backend_pid()").fetchone()[0] for client in clients}
    assert seen and not seen & before, (seen, before)
    with refused("3D000", "no such database"):
        connection.execute("RECONNECT nowhere")


@pool(**settings())
def test_kill_client(env):
    connection = console(env)
    victim = env.connect(application_name="victim")
    join = background(lambda: victim.execute("select pg_sleep(60)"))
    wait_until(lambda: env.backends(where="state = 'active'"), "the statement runs")
    number = one(connection, "CLIENTS", application_name="victim")["id"]
    assert connection.execute("KILL_CLIENT %s", (number,)).statusmessage == "KILL_CLIENT"
    with ended("KILL_CLIENT"):
        join.join(10)
    wait_until(lambda: not env.backends(where="state = 'active'"), "its statement is cancelled")
    with refused("42704", "not found"):
        connection.execute(f"KILL_CLIENT {number}")
    with refused("22P02"):
        connection.execute("KILL_CLIENT everybody")


@pool(**settings())
def test_kill_client_can_be_oneself(env):
    connection = console(env)
    number = one(connection, "CLIENTS", database="pgbouncer")["id"]
    with ended("closed the connection"):
        connection.execute(f"KILL_CLIENT {number}")
        connection.execute("SHOW VERSION")
    assert show(console(env), "VERSION")


@pool(**settings())
def test_kill_leaves_it_paused(env):
    client, connection = env.connect(), console(env)
    client.execute("select 1")
    connection.execute(f"KILL {env.dbname}")
    with ended("administrator command (KILL)"):
        client.execute("select 1")
    wait_until(lambda: env.backends() == [], "its backends are gone")
    assert one(connection, "DATABASES", name=env.dbname)["paused"] == 1
    connection.execute(f"RESUME {env.dbname}")
    assert env.connect().execute("select 1").fetchone() == (1,)


def config(connection, key):
    return one(connection, "CONFIG", key=key)["value"]


@pool(**settings())
def test_set_holds_until_reload(env):
    connection = console(env)
    assert connection.execute("SET pool_size = 7").statusmessage == "SET"
    assert config(connection, "pool_size") == "7"
    assert one(connection, "DATABASES", name=env.dbname)["pool_size"] == 7
    connection.execute("SET query_wait_timeout TO '33s'")
    assert config(connection, "pool_timeout") == "33s"
    changes = {row["name"]: row for row in show(connection, "RELOAD")}
    assert (changes["pool_size"]["old"], changes["pool_size"]["new"]) == ("7", "2"), changes
    connection.execute("RELOAD")
    assert config(connection, "pool_size") == "2"
    assert show(connection, "RELOAD") == []
    for statement, word in (("SET pool_sise = 3", "pool_sise"), ("SET pool_size = many", "many"),
                            ("SET listen_port = 1", "listen_port")):
        with refused("22023", word):
            connection.execute(statement)
    assert config(connection, "pool_size") == "2"


@pool(**settings())
def test_reload_tells_and_fails_loudly(env):
    connection = console(env)
    env.pooler.settings["pool_size"] = 9
    env.pooler.databases["more"] = f"host=127.0.0.1 port={env.cluster.port} dbname={env.dbname}"
    env.pooler.write()
    rows = show(connection, "RELOAD")
    assert [row for row in rows if row["kind"] == "setting" and row["name"] == "pool_size" and row["new"] == "9"]
    assert [row for row in rows if row["kind"] == "database" and row["name"] == "more"], rows
    connection.execute("RELOAD")
    assert config(connection, "pool_size") == "9" and one(connection, "DATABASES", name="more")
    env.pooler.settings["pool_size"] = "nonsense"
    env.pooler.write()
    with refused("F0000", "nonsense"):
        connection.execute("RELOAD")
    assert [row["kind"] for row in show(connection, "RELOAD")] == ["problem"]
    assert config(connection, "pool_size") == "9"


@pool(**settings())
def test_stats_users_only_look(env):
    connection = console(env, user="second")
    assert show(connection, "POOLS") is not None and show(connection, "CONFIG")
    for command in ("PAUSE", "RELOAD", "SET pool_size = 3", "KILL_CLIENT 1", "SHUTDOWN", "RECONNECT"):
        with refused("42501"):
            connection.execute(command)
    assert show(connection, "STATE")
    try:
        console(env, user="third")
        raise AssertionError("third is nobody")
    except psycopg.OperationalError as error:
        assert "third" in str(error), error


@pool(**settings())
def test_wrong_commands_leave_the_session(env):
    connection = console(env)
    for statement, sqlstate, text in (
            ("SHOW POLS", "42601", "POOLS"), ("PAUS", "42601", "PAUSE"), ("SELECT 1 + 1", "42601", ""),
            ("SELECT a FROM b", "0A000", ""), ("SHOW", "42601", ""), ("PAUSE nowhere", "3D000", "no such database"),
            ("EXPLAIN POOL no.where", "42704", "no such pool"), ("VACUUM", "42601", "invalid command"),
            ("SHOW VERSION; SHOW NONSENSE", "42601", ""), ("SET", "42601", ""), ('PAUSE "', "42601", "unterminated")):
        with refused(sqlstate, text):
            connection.execute(statement)
        assert show(connection, "VERSION")


@pool(**settings())
def test_shutdown_waits_for_clients(env):
    connection, client = console(env), env.connect()
    client.execute("begin")
    assert connection.execute("SHUTDOWN WAIT_FOR_CLIENTS").statusmessage == "SHUTDOWN"
    assert client.execute("select 1").fetchone() == (1,)
    assert {row["key"]: row["value"] for row in show(connection, "STATE")}["draining"] == "yes"
    with refused("55000"):
        connection.execute("PAUSE")
    client.execute("commit")
    env.pooler.wait_exit()
    env.pooler = None


@pool(**settings())
def test_shutdown_at_once(env):
    connection = console(env)
    connection.execute("SHUTDOWN")
    env.pooler.wait_exit()
    env.pooler = None


@pool(**settings(unix_socket_dir=f"@pgweir-console-{os.getpid()}"))
def test_own_user_over_the_unix_socket(env):
    """The system user of the process has all rights there without a password, and nobody else."""
    own = env.pooler.identity.get("user", os.geteuid())
    way = {"host": env.pooler.settings["unix_socket_dir"], "port": env.port, "dbname": "pgweir", "user": "pgweir"}
    if os.geteuid() == own:
        with psycopg.connect(**way, autocommit=True) as connection:
            assert connection.execute("RELOAD").statusmessage == "RELOAD"
        return
    try:
        psycopg.connect(**way)
        raise AssertionError("another system user came in without a password")
    except psycopg.OperationalError:
        pass
    out = run_program(["setpriv", f"--reuid={own}", "--clear-groups", "psql", "-XAt",
                       " ".join(f"{name}={value}" for name, value in way.items()),
                       "-c", "RELOAD", "-c", "SHOW VERSION"], env)
    assert out.stdout.splitlines()[0] == "RELOAD" and "pgweir" in out.stdout, out.stdout
