"""The console where operators and attackers meet it: several at once, leaving, waiting, ending."""
import contextlib
import os
import signal
import threading

from common import in_background, pooled
from harness import process, scripted, wire


@contextlib.contextmanager
def administered(server=None, **settings):
    """(server, daemon, login to the console)."""
    with pooled(server, admin_users="boss", stats_users="looker", **settings) as (server, daemon), \
            contextlib.ExitStack() as stack:
        def console(user="boss", **options):
            return stack.enter_context(daemon.client(user, "pgweir", **options))
        yield server, daemon, console


def column(console, table, of, **wanted):
    """What the column has in the one row where the others have the wanted values."""
    messages = console.query(f"SHOW {table}").messages
    rows = [dict(zip(described(messages[0]), item.values)) for item in messages if item.type == "D"]
    found = [row[of] for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert len(found) == 1, (table, wanted, rows)
    return found[0]


def described(message):
    """Names of a RowDescription."""
    assert message.type == "T", message
    names, at = [], 2
    while at < len(message.body):
        end = message.body.index(b"\0", at)
        names.append(message.body[at:end].decode())
        at = end + 1 + 18
    return names


def waits(console):
    return int(column(console, "LISTS", "items", list="console_waits"))


def wait_for_waits(console, count):
    process.wait_until(lambda: waits(console) == count, f"{count} commands wait")


def paused(console, database="db"):
    return column(console, "DATABASES", "paused", name=database) == "1"


# --- SUSPEND ----------------------------------------------------------------------------------


def test_suspend_leaves_the_console_open():
    """Who suspends and leaves must be able to come back; everybody else waits, and nothing is lost."""
    with administered() as (_, daemon, console):
        client, first = daemon.client(), console()
        assert first.query("SUSPEND").tags == ["SUSPEND"]
        first.send(wire.terminate())
        first.expect_closed()
        fresh = daemon.connect()
        fresh.send(wire.startup({"user": "alice", "database": "db"}))
        client.send(wire.query("select 1"))
        second = console()
        fresh.expect_silence()
        client.expect_silence()
        assert second.query("RESUME").tags == ["RESUME"]
        assert client.results(1)[0].error is None
        fresh.finish_login()
        fresh.query("select 2")
        fresh.close()
        client.close()


def test_suspend_holds_logins_with_a_password():
    with pooled(users={"alice": "secret", "boss": "b"}, auth_type="scram-sha-256",
                admin_users="boss") as (_, daemon):
        with daemon.client("boss", "pgweir", "b") as first:
            first.query("SUSPEND")
        with daemon.connect() as fresh:
            fresh.send(wire.startup({"user": "alice", "database": "db"}))
            with daemon.client("boss", "pgweir", "b") as second:
                process.wait_until(lambda: column(second, "LISTS", "items", list="login_clients") == "1",
                                   "it logs in")
                join = in_background(fresh.finish_login, "alice", "secret")
                assert second.query("RESUME").tags == ["RESUME"]
                join()
                assert fresh.value("select 1") is not None


def test_suspend_that_waits_is_ended_by_resume():
    with administered() as (_, daemon, console):
        client, first, second = daemon.client(), console(), console()
        long = wire.query("x" * 300000)
        client.query("begin")
        client.send(long[:200000])
        process.wait_until(lambda: int(column(second, "STATS", "total_received", database="db")) > 150000,
                           "half is there")
        join = in_background(first.query, "SUSPEND")
        wait_for_waits(second, 1)
        assert second.query("RESUME").tags == ["RESUME"]
        assert join().sqlstate == "57014"
        client.send(long[200000:])
        assert client.results(1)[0].error is None
        client.close()


# --- PAUSE ------------------------------------------------------------------------------------


def test_pause_of_all_does_not_wait_for_one_that_was_resumed():
    with administered() as (_, daemon, console):
        holder, first, second = daemon.client(), console(), console()
        holder.query("begin")
        join = in_background(first.query, "PAUSE")
        wait_for_waits(second, 1)
        assert second.query("RESUME db").tags == ["RESUME"]
        assert join().tags == ["PAUSE"]
        assert holder.query("commit").error is None and holder.query("select 1").error is None
        assert first.query("RESUME").tags == ["RESUME"]
        holder.close()


def test_a_cancelled_pause_of_all_leaves_what_was_paused_by_name():
    with administered() as (server, daemon, console):
        daemon.databases["other"] = server.dsn()
        daemon.reload()
        holder, first, second = daemon.client(database="other"), console(), console()
        assert first.query("PAUSE db").tags == ["PAUSE"]
        holder.query("begin")
        join = in_background(first.query, "PAUSE")
        wait_for_waits(second, 1)
        assert paused(second, "other") and paused(second, "db")
        first.cancel()
        assert join().sqlstate == "57014"
        assert not paused(second, "other") and paused(second, "db")
        assert holder.query("commit").error is None and holder.query("select 1").error is None
        assert second.query("RESUME db").tags == ["RESUME"] and not paused(second)
        holder.close()


def test_a_cancelled_pause_by_name_leaves_the_pause_of_all():
    with administered() as (_, daemon, console):
        holder, first, second, third = daemon.client(), console(), console(), console()
        holder.query("begin")
        by_name = in_background(first.query, "PAUSE db")
        wait_for_waits(third, 1)
        of_all = in_background(second.query, "PAUSE")
        wait_for_waits(third, 2)
        first.cancel()
        assert by_name().sqlstate == "57014"
        assert paused(third)
        holder.query("commit")
        assert of_all().tags == ["PAUSE"]
        assert third.query("RESUME").tags == ["RESUME"] and not paused(third)
        assert holder.query("select 1").error is None
        holder.close()


# --- the end ----------------------------------------------------------------------------------


def test_the_console_can_be_reached_while_draining():
    """Over the Unix socket, to the end; whoever else comes there is refused and keeps nothing alive."""
    with administered(start=False, shutdown_timeout="30") as (_, daemon, console):
        folder = daemon.folder
        daemon.settings["unix_socket_dir"] = folder
        daemon.write()
        daemon.start()
        client, stays = daemon.client(), console()
        client.query("begin")
        daemon.signal(signal.SIGTERM)
        daemon.wait_log("draining")
        with contextlib.suppress(ConnectionRefusedError):
            daemon.connect().close()
            raise AssertionError("TCP is open")
        with wire.Client(daemon.port, folder) as other:
            try:
                other.login("alice", "db")
                raise AssertionError("let in")
            except wire.ServerError as refusal:
                assert refusal.fields["C"] == "57P03", refusal.fields
        with wire.Client(daemon.port, folder) as fresh:
            fresh.login("boss", "pgweir")
            assert column(fresh, "STATE", "value", key="draining") == "yes"
        assert column(stays, "STATE", "value", key="draining") == "yes"
        mute = wire.Client(daemon.port, folder)
        client.query("commit")
        daemon.wait_exit()
        assert not os.path.exists(f"{folder}/.s.PGSQL.{daemon.port}")
        mute.close()
        client.close()


# --- what others chose ------------------------------------------------------------------------


def strict_values(message):
    """Of a DataRow, as a driver reads it: anything but UTF-8 is an error."""
    at, values = 2, []
    for _ in range(int.from_bytes(message.body[:2], "big")):
        length = int.from_bytes(message.body[at:at + 4], "big", signed=True)
        at += 4
        if length >= 0:
            values.append(message.body[at:at + length].decode("utf-8", "strict"))
            at += length
    return values


def test_rows_are_utf8_whatever_clients_send():
    """Drivers refuse other bytes: one client could keep every operator from looking."""
    broken = "\N{REPLACEMENT CHARACTER}"
    with administered(pool_size=2) as (_, daemon, console):
        with daemon.connect() as odd, daemon.client() as long:
            odd.login(b"ali\xffce", "db", application_name=b"caf\xe9 \xc3")
            odd.query("begin")
            odd.query(b"select '\xe9\xe8\xff\xfe'")
            long.query("begin")
            long.query("select '" + "\N{EURO SIGN}" * 2000 + "'")
            boss, seen = console(), []
            for table in ("CLIENTS", "SERVERS", "POOLS", "EVENTS", "USERS", "SOCKETS", "STATS", "DATABASES"):
                for item in boss.query(f"SHOW {table}").messages:
                    seen += strict_values(item) if item.type == "D" else []
            assert f"ali{broken}ce" in seen and f"caf{broken} {broken}" in seen, seen
            assert f"select '{broken * 4}'" in seen
            assert any("\N{EURO SIGN}" * 50 in text for text in seen), "the long text is not shown"


# --- SET --------------------------------------------------------------------------------------


def test_set_of_a_place_that_cannot_be_listened_at():
    """What SET has answered is in force; what it has refused is not."""
    place = f"127.0.0.1:{process.free_port()}"
    with administered(http_listen=place) as (_, daemon, console):
        boss = console()
        assert boss.query("SET http_listen = 'nonsense'").sqlstate == "22023"
        assert column(boss, "CONFIG", "value", key="http_listen") == place
        busy = f"127.0.0.1:{daemon.port}"
        assert boss.query(f"SET http_listen = '{busy}'").sqlstate == "22023"
        assert boss.query("SET pool_size = 3").tags == ["SET"]
        assert boss.query("RELOAD").tags == ["RELOAD"]
        daemon.settings["http_listen"] = "nonsense"
        daemon.write()
        assert boss.query("RELOAD").sqlstate == "F0000"
        assert column(boss, "CONFIG", "value", key="http_listen") == place


# --- much of it -------------------------------------------------------------------------------


def test_prepared_texts_come_in_slices_and_each_once():
    with administered() as (_, daemon, console), daemon.client() as client:
        client.send(*(wire.parse(f"select {number}", f"s{number}") for number in range(1200)), wire.sync())
        assert client.results(1)[0].error is None
        result = console().query("SHOW PREPARED")
        assert result.tags == ["SHOW"] and len({row[0] for row in result.rows}) == len(result.rows) == 1200


def test_a_long_batch_of_commands_is_answered_in_order():
    """More than one turn of the loop takes, pipelined in both protocols."""
    with administered() as (_, daemon, console), daemon.client() as client:
        client.query("select 1")
        boss = console("looker")
        many = boss.query("EXPLAIN POOL db.alice;" * 300 + "SHOW VERSION")
        assert many.tags == ["EXPLAIN"] * 300 + ["SHOW"]
        boss.send(*(wire.batch("SHOW POOLS") for _ in range(200)), wire.query("KILL db"))
        results = boss.results(201)
        assert [result.tags for result in results[:200]] == [["SHOW"]] * 200
        assert results[200].sqlstate == "42501"


# --- RELOAD -----------------------------------------------------------------------------------


def test_reload_that_removes_a_database_tells_who_logs_in():
    """It waited for a server connection that nobody would open any more."""
    gate = threading.Event()

    def slow(backend):
        gate.wait(15)
        return scripted.trust(backend)
    with administered(scripted.Scripted(login=slow)) as (server, daemon, console):
        boss = console()
        with daemon.connect() as client:
            client.send(wire.startup({"user": "alice", "database": "db"}))
            process.wait_until(lambda: boss.query("SHOW SERVERS").rows, "a server connection is being opened")
            daemon.databases = {"other": server.dsn()}
            daemon.write()
            assert boss.query("RELOAD").tags == ["RELOAD"]
            assert client.read().fields["C"] == "57P01"
            client.expect_closed()
        gate.set()
