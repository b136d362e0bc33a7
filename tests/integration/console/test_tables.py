"""Every SHOW: its columns, and that its rows tell what is."""
import contextlib
import pathlib
import re
import threading
import time

import psycopg
from console import COLUMNS, console, expected_columns, one, refused, settings, show
from harness import process
from support import Noise, background, pool

OURS = ["COUNTERS", "EVENTS", "HUBS", "LATENCY", "LISTENERS", "PINS", "PREPARED", "REASONS", "RELOAD", "WAITS"]


@pool(**settings())
def test_columns_are_pgbouncers(env):
    """Names, order and types as monitoring knows them; ours come behind."""
    busy = env.connect()
    busy.execute("select 1")
    for dbname in ("pgbouncer", "pgweir"):
        connection = psycopg.connect(**env.parameters(dbname=dbname), autocommit=True)
        for table in COLUMNS:
            cursor = connection.execute(f"SHOW {table}")
            got = [(column.name, column.type_code) for column in cursor.description]
            wanted = expected_columns(table)
            assert got[:len(wanted)] == wanted, (table, got)
            for row in cursor.fetchall():
                assert len(row) == len(got)
        for table in OURS:
            connection.execute(f"SHOW {table}").fetchall()
        connection.close()


@pool(**settings())
def test_types_are_the_same_in_binary(env):
    """The extended protocol with binary results gives the same values as text."""
    env.connect().execute("select 1")
    connection = console(env)
    for table in ("POOLS", "LISTS", "STATS_TOTALS", "USERS", "DATABASES", "COUNTERS", "LATENCY"):
        text = connection.execute(f"SHOW {table}").fetchall()
        with connection.cursor(binary=True) as cursor:
            binary = cursor.execute(f"SHOW {table}").fetchall()
        assert [list(row) for row in text] == [list(row) for row in binary]
        assert [tuple(row.values())[:1] for row in text] == [tuple(row.values())[:1] for row in binary]
        for left, right in zip(text, binary):
            for name in left:
                assert type(left[name]) is type(right[name]), (table, name)


@pool(**settings())
def test_pools_tell_what_is(env):
    with Noise(env):
        time.sleep(0.3)
    holder, other = env.connect(), env.connect()
    holder.execute("begin")
    holder.execute("select 1")
    other.execute("select 1")
    connection = console(env)
    row = one(connection, "POOLS", database=env.dbname)
    assert row["user"] == "app" and row["cl_active"] == 2 and row["cl_waiting"] == 0, row
    assert row["sv_active"] == 1 and row["sv_idle"] + row["sv_used"] == 1, row
    assert row["pool_mode"] == "transaction" and row["idle_in_transaction"] == 1, row
    servers = [row for row in show(connection, "SERVERS") if row["database"] == env.dbname]
    backends = {pid for pid, in env.backends()}
    assert {row["remote_pid"] for row in servers} == backends and len(backends) == 2
    clients = {row["id"]: row for row in show(connection, "CLIENTS")}
    busy = [row for row in clients.values() if row["state"] == "active" and row["database"] == env.dbname]
    assert len(busy) == 1 and busy[0]["link"] in {row["ptr"] for row in servers}
    assert busy[0]["statement"] == "select 1", busy
    assert sum(row["database"] == "pgbouncer" for row in clients.values()) == 1
    holder.execute("commit")


@pool(**settings(pool_size=1))
def test_waits_name_the_holder(env):
    """Who waits, where, for what limit; who holds, and with which statement."""
    holder = env.connect()
    holder.execute("begin")
    holder.execute("select 'held by me'")
    joins = [background(lambda: env.connect().execute("select 1").fetchone()) for _ in range(3)]
    connection = console(env)
    deadline = time.monotonic() + 10
    while len(waits := show(connection, "WAITS")) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sorted(row["position"] for row in waits) == [1, 2, 3], waits
    for row in waits:
        assert row["idle_in_transaction"] == 1 and row["waits_for"], row
        assert (row["limit_used"], row["limit"]) == (1, 1), row
        assert row["holder_statement"] == "select 'held by me'" and row["holder_us"] > 0, row
        assert (row["holder_backend_pid"],) in env.backends(), row
    words = "\n".join(row["explanation"] for row in connection.execute(f"EXPLAIN POOL {env.dbname}.app"))
    assert "3 clients wait" in words and "idle in transaction" in words and "pool_size 1" in words, words
    assert "select 'held by me'" in words
    stats = console(env, user="second")
    assert all(row["holder_statement"] is None for row in show(stats, "WAITS"))
    holder.execute("commit")
    for join in joins:
        join.join(10)
    assert show(connection, "WAITS") == []


@pool(**settings(entry="user=app password=wrong"))
def test_a_pool_that_cannot_log_in_is_never_said_to_be_well(env):
    """While the pause after the failure lasts, and when it is over and nobody has tried again."""
    with contextlib.suppress(psycopg.OperationalError):
        env.connect()
    connection = console(env)
    problem = one(connection, "POOLS", database=env.dbname)["problem"]
    assert "password authentication failed" in problem, problem
    seen, deadline = set(), time.monotonic() + 20
    while len(seen) < 2 and time.monotonic() < deadline:
        waits_for = one(connection, "POOLS", database=env.dbname)["waits_for"]
        words = "\n".join(row["explanation"] for row in connection.execute(f"EXPLAIN POOL {env.dbname}.app"))
        assert problem in words and "Nothing limits it" not in words, words
        seen.add(waits_for)
        time.sleep(0.02)
    assert seen == {"server unavailable", None}, seen


@pool(**settings())
def test_pins_name_reason_and_release(env):
    pinned = env.connect()
    pinned.execute("select pg_advisory_lock(7)")
    process.wait_until(lambda: show(console(env), "PINS"), "PostgreSQL has said that the lock is there")
    row = one(console(env), "PINS", database=env.dbname)
    assert row["pin"] == "advisory lock" and "pg_advisory_unlock" in row["release"], row
    assert row["backend_pid"] in {pid for pid, in env.backends()} and row["age_us"] >= 0
    pinned.execute("select pg_advisory_unlock_all()")
    process.wait_until(lambda: show(console(env), "PINS") == [], "it is gone")


@pool(**settings())
def test_prepared_texts(env):
    client = env.connect(prepare_threshold=0)
    for number in range(3):
        client.execute("select %s::int + 4711", (number,))
    row = [row for row in show(console(env), "PREPARED") if "4711" in (row["statement"] or "")]
    assert len(row) == 1 and row[0]["clients"] == 1 and row[0]["servers"] >= 1, row
    assert row[0]["length"] == len("select $1::int + 4711")


@pool(**settings())
def test_counters_reasons_events_and_latency(env):
    connection = console(env)
    before = {row["counter"]: row["value"] for row in show(connection, "COUNTERS")}
    client = env.connect()
    for _ in range(7):
        client.execute("select 1")
    after = {row["counter"]: row["value"] for row in show(connection, "COUNTERS")}
    assert after["transactions"] - before["transactions"] == 7, (before, after)
    client.close()
    deadline = time.monotonic() + 5
    while one(connection, "REASONS", reason="client_terminate")["count"] < 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert one(connection, "REASONS", reason="client_terminate")["count"] >= 1
    assert one(connection, "REASONS", reason="pool_timeout")["sqlstate"] == "53300"
    connects = [row for row in show(connection, "EVENTS") if row["event"] == "connect"]
    assert connects and all(row["client_id"] is None and row["server_id"] > 0 for row in connects), connects
    parts = {row["part"]: row for row in show(connection, "LATENCY") if row["database"] == env.dbname}
    assert set(parts) == {"wait", "connect", "server", "client", "idle_in_transaction"}
    assert parts["server"]["count"] >= 7 and parts["server"]["max_us"] >= parts["server"]["p50_us"] > 0
    assert one(connection, "LATENCY", part="turn", database=None)["count"] > 7
    stats = one(connection, "STATS", database=env.dbname)
    assert stats["total_xact_count"] >= 7 and stats["total_query_count"] >= 7
    total = {row["name"]: row["value"] for row in show(connection, "TOTALS")}
    assert total["total_xact_count"] >= 7 and total["total_server_bytes"] > 0


@pool(**settings())
def test_state_lists_version_config(env):
    env.connect().execute("select 1")
    connection = console(env)
    state = {row["key"]: row["value"] for row in show(connection, "STATE")}
    assert state["active"] == "yes" and state["paused"] == "no" and state["suspended"] == "no"
    assert 0 <= int(state["uptime_seconds"]) < 600, state
    lists = {row["list"]: row["items"] for row in show(connection, "LISTS")}
    assert lists["databases"] >= 1 and lists["pools"] == 1 and lists["used_clients"] >= 1, lists
    assert re.match(r"^\w+ [0-9.]+", show(connection, "VERSION")[0]["version"])
    config = {row["key"]: row for row in show(connection, "CONFIG")}
    assert config["pool_size"]["value"] == "2" and config["pool_size"]["default"] == "20"
    assert config["max_client_conn"]["changeable"] == "yes" and config["listen_port"]["changeable"] == "no"
    database = one(connection, "DATABASES", name=env.dbname)
    assert database["host"] == "127.0.0.1" and database["port"] == env.cluster.port
    assert database["pool_size"] == 2 and database["paused"] == 0 and database["current_connections"] >= 1


@pool(**settings())
def test_help_is_a_notice(env):
    connection = console(env)
    heard = []
    connection.add_notice_handler(lambda notice: heard.append(notice.message_detail))
    cursor = connection.execute("SHOW HELP")
    assert cursor.description is None and cursor.statusmessage == "SHOW"
    for table in [*COLUMNS, *OURS]:
        assert f"SHOW {table}" in heard[0], table
    for word in ("KILL_CLIENT id", "EXPLAIN POOL", "SHUTDOWN"):
        assert word in heard[0]
    with refused("0A000", "SHOW FDS"):
        connection.execute("SHOW FDS")


@pool(**settings(max_client_conn=3000, seconds=120))
def test_many_clients_in_slices(env):
    """A long answer is complete, names nobody twice, and traffic goes on meanwhile."""
    crowd = [env.connect() for _ in range(600)]
    connection = console(env)
    done = threading.Event()

    def work():
        client, count = env.connect(), 0
        while not done.is_set():
            client.execute("select 1")
            count += 1
        return count
    worker = background(work)
    for _ in range(3):
        ids = [row["id"] for row in show(connection, "CLIENTS")]
        assert len(ids) == len(set(ids)) >= len(crowd) + 1, len(ids)
        sockets = show(connection, "SOCKETS")
        assert sum(row["type"] == "C" for row in sockets) >= len(crowd) + 1
        assert sum(row["type"] == "S" for row in sockets) in (1, 2)
    done.set()
    assert worker.join(20) > 0


@pool(**settings())
def test_manual_tells_every_column(env):
    """docs/admin.md has a row for each table with its columns and their types, and every command."""
    manual = (pathlib.Path(__file__).parents[3] / "docs" / "admin.md").read_text(encoding="utf-8")
    connection = psycopg.connect(**env.parameters(dbname="pgbouncer"), autocommit=True)
    heard = []
    connection.add_notice_handler(lambda notice: heard.append(notice.message_detail))
    connection.execute("SHOW HELP")
    tables = re.findall(r"^\tSHOW ([A-Z_]+) +\S", heard[0], re.MULTILINE)
    assert set(COLUMNS) | set(OURS) <= {*tables, "HELP"}, tables
    kinds = {25: "", 23: " i", 20: " q", 1700: " n"}
    for table in tables:
        if table == "HELP":
            continue
        columns = connection.execute(f"SHOW {table}").description
        text = ", ".join(f"`{column.name}`{kinds[column.type_code]}" for column in columns)
        rows = [line for line in manual.splitlines() if line.startswith(f"| `{table}` |") and line.endswith(f": {text} |")]
        assert len(rows) == 1, (table, text)
    for word in re.findall(r"^\t([A-Z_]+)", heard[0], re.MULTILINE):
        assert f"`{word}" in manual, word
