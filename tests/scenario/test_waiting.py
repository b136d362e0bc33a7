"""Waiting for a server connection, limits, and time-outs."""

import socket
import time

from common import Gate, in_background, pooled
from test_cancel import cancellable

from harness import process, wire
from harness.scripted import Scripted
from harness.testing import cases


@cases(query=(wire.query("select late"), "EZ"), batch=(wire.batch("select late"), "EZ"))
def test_pool_timeout(data, types):
    """An ERROR, not FATAL: the client goes on."""
    with pooled(pool_timeout="0.5") as (server, daemon):
        with daemon.client() as holder, daemon.client() as waiting:
            holder.query("begin")
            began = time.monotonic()
            result = waiting.ask(data, timeout=5)
            took = time.monotonic() - began
            assert 0.4 < took < 2, took
            assert result.types == types and result.status == "I", result
            assert result.sqlstate == "53300" and result.error["S"] == "ERROR", result
            text = " ".join(result.error.values())
            assert "pool_timeout" in text and "db" in text, result
            holder.query("commit")
            assert waiting.value("select 1") == "select 1"
            assert waiting.prepared("select 2").value == "select 2"
            assert "select late" not in server.queries


def test_pool_timeout_of_a_pipeline():
    """Each Query and each Sync that was sent gets its own answer."""
    with pooled(pool_timeout="0.4") as (server, daemon):
        with daemon.client() as holder, daemon.client() as waiting:
            holder.query("begin")
            waiting.send(wire.batch("select one"), wire.batch("select two"))
            first = wire.Result(waiting.read_until("Z", 3))
            assert first.types == "EZ" and first.sqlstate == "53300", first
            holder.query("commit")
            second = wire.Result(waiting.read_until("Z", 3))
            assert second.value == "select two" or second.types == "EZ", second
            assert waiting.value("select 1") == "select 1"


@cases(plain={}, own={"TimeZone": "UTC"})  # what the server has anyhow is no difference
def test_who_goes_on_while_its_state_is_asked_for_waits_as_others(parameters):
    """What it sends before PostgreSQL has told what its transaction left behind is a request like any
    other: the one who has waited longer comes first, transaction after transaction."""
    gate, order = Gate("SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings"), []

    def answer(backend, sql):
        if sql.startswith(gate.word):
            gate(backend, sql)
            backend.send(wire.rows_answer(names=("name", "setting")))
            return True
        order.append(sql)
        return False

    with pooled(Scripted(on_query=answer)) as (_, daemon):
        with daemon.client(**parameters) as busy, daemon.client() as waiting:
            busy.query("begin")
            waiting.send(wire.query("select waiting"))
            time.sleep(0.1)
            assert busy.query("set work_mem = '5MB'").tags == ["SET"]
            assert busy.query("commit").status == "I"
            gate.wait_reached()
            busy.send(wire.query("select at once"))
            time.sleep(0.1)
            gate.open()
            assert wire.Result(waiting.read_until("Z")).value == "select waiting"
            assert wire.Result(busy.read_until("Z")).value == "select at once"
            assert order[-2:] == ["select waiting", "select at once"], order


@cases(
    query=(lambda client: client.send(wire.query("select mine")), "select mine"),
    batch=(lambda client: client.send(wire.batch("select mine")), "select mine"),
    left=(lambda client: client.send(wire.query("select mine"), wire.message("X")), None),
)
def test_a_name_rides_with_the_request(ask, answer):
    """Whoever waited for a connection that has another application_name: the name, to which nobody waits
    for an answer, and the request reach the server in one send."""
    together = []

    def note(backend, sql):
        if "set_config" in sql and "second" in sql:
            together.append(b"select mine" in backend.received)
        return False

    with pooled(Scripted(on_query=note)) as (server, daemon):
        with daemon.client(application_name="first") as holder:
            holder.query("begin")
            waiting = daemon.client(application_name="second")
            ask(waiting)
            time.sleep(0.1)
            assert holder.query("commit").status == "I"
            if answer is not None:
                assert wire.Result(waiting.read_until("Z")).value == answer
            server.wait_query("select mine")
            waiting.close()
            assert together == [True], together
            assert holder.value("select 1") == "select 1"


def test_max_waiting():
    with pooled(max_waiting=1) as (_, daemon):
        with daemon.client() as holder, daemon.client() as first, daemon.client() as second:
            holder.query("begin")
            first.send(wire.query("select first"))
            time.sleep(0.1)
            began = time.monotonic()
            result = second.query("select second")
            assert time.monotonic() - began < 1
            assert result.sqlstate == "53300" and result.error["S"] == "ERROR", result
            assert result.status == "I" and "max_waiting" in " ".join(result.error.values()), result
            holder.query("commit")
            assert wire.Result(first.read_until("Z")).value == "select first"
            assert second.value("select 1") == "select 1"


def test_first_come_first_served():
    with pooled() as (server, daemon), daemon.client() as holder:
        holder.query("begin")
        clients = [daemon.client() for _ in range(12)]
        for number, client in enumerate(clients):
            client.send(wire.query(f"select {number}"))
            time.sleep(0.01)
        holder.query("commit")
        for number, client in enumerate(clients):
            assert wire.Result(client.read_until("Z")).value == f"select {number}"
            client.close()
        order = [sql for sql in server.backends[0].queries if sql[7:].isdigit()]
        assert order == [f"select {number}" for number in range(12)], order


def test_overflow():
    """Up to max_overflow more connections at once; closed when they come back."""
    with pooled(pool_size=1, max_overflow=2) as (server, daemon):
        clients = [daemon.client() for _ in range(4)]
        for client in clients[:3]:
            assert client.query("begin").status == "T"
        assert len(server.open) == 3
        clients[3].send(wire.query("select waits"))
        clients[3].expect_silence(0.2)
        clients[0].query("commit")
        assert wire.Result(clients[3].read_until("Z")).value == "select waits"
        for client in clients[1:3]:
            client.query("commit")
        process.wait_until(lambda: len(server.open) == 1, "overflow is closed")
        for client in clients:
            assert client.value("select 1") == "select 1"
            client.close()
        assert len(server.backends) == 3


def test_limit_holds_under_load():
    most = []

    def leaving(backend):
        """Its end is on the way: Terminate or the end of the stream is next."""
        try:
            with backend.socket.dup() as peek:  # its thread may read what is seen here
                peek.setblocking(False)
                return peek.recv(1, socket.MSG_PEEK) in (b"", b"X")
        except BlockingIOError:
            return False
        except OSError:
            return True

    def answer(backend, _sql):
        most.append(sum(not leaving(other) for other in list(backend.server.open)))
        return False

    with pooled(Scripted(on_query=answer), pool_size=2, max_overflow=1) as (server, daemon):
        clients = [daemon.client() for _ in range(40)]
        for _ in range(5):
            for client in clients:
                client.send(wire.query("begin"), wire.query("select 1"), wire.query("commit"))
            for client in clients:
                assert client.results(3)[1].value == "select 1"
        for client in clients:
            client.close()
        assert max(most) <= 3, max(most)


def test_clients_share_and_rotate():
    with pooled(pool_size=3) as (server, daemon):
        clients = [daemon.client() for _ in range(3)]
        for client in clients:
            client.query("begin")
        assert len({client.value("select pid") for client in clients}) == 3
        for client in clients:
            client.query("commit")
            client.close()
        assert len(server.backends) == 3


def test_query_timeout():
    with pooled(cancellable(), query_timeout="0.5") as (server, daemon), daemon.client() as client:
        began = time.monotonic()
        client.send(wire.query("wait"))
        got = client.read_until("Z", 5)
        assert 0.4 < time.monotonic() - began < 3
        assert "57014" in [item.fields["C"] for item in got if item.type == "E"], got
        assert server.delivered, "the statement goes on at the server"
        assert client.value("select 1") == "select 1"


def test_idle_transaction_timeout():
    with pooled(idle_transaction_timeout="0.5") as (server, daemon), daemon.client() as other:
        with daemon.client() as client:
            client.query("begin")
            got = client.rest(5)
            assert [item.type for item in got] == ["E"], got
            assert got[0].fields["C"] == "25P03" and got[0].fields["S"] == "FATAL", got
        assert other.value("select 1") == "select 1"
        assert len(server.backends) == 1
        assert any(sql.lower().startswith("rollback") for sql in server.queries), server.queries


def test_transaction_timeout():
    with pooled(transaction_timeout="0.6") as (server, daemon), daemon.client() as other:
        with daemon.client() as client:
            client.query("begin")
            got = []
            try:
                for _ in range(30):
                    client.send(wire.query("select 1"))
                    got = client.read_until("ZE")
                    if got[-1].type == "E":
                        break
                    time.sleep(0.1)
            except OSError:
                got = client.rest()
            assert got and got[-1].type == "E" and got[-1].fields["C"] == "25P04", got
        assert other.value("select 1") == "select 1"


def test_client_idle_timeout():
    with pooled(client_idle_timeout="0.5") as (_, daemon), daemon.client() as client:
        assert client.value("select 1") == "select 1"
        got = client.rest(5)
        assert [item.type for item in got] == ["E"] and got[0].fields["C"] == "57P05", got


def test_waiting_is_not_idling():
    """Neither time-out of idle clients concerns one that waits for an answer."""
    gate = Gate()
    with pooled(Scripted(on_query=gate), client_idle_timeout="0.4",
                idle_transaction_timeout="0.4") as (_, daemon), daemon.client() as client:
        client.query("begin")
        answer = in_background(client.query, "wait")
        gate.wait_reached()
        time.sleep(1)
        gate.open()
        assert answer().value == "wait"
        assert client.query("commit").status == "I"


def test_server_restart_costs_nobody_an_error():
    """All idle connections are gone at once; every later statement finds a new one."""
    with pooled(pool_size=5) as (server, daemon):
        clients = [daemon.client() for _ in range(5)]
        for client in clients:
            client.query("begin")
        for client in clients:
            client.query("commit")
        server.drop_connections()
        time.sleep(0.2)
        for client in clients:
            assert client.value("select 1") == "select 1"
            client.close()


def test_stale_connection_is_found_by_the_ping():
    """A connection that is dead without a word is asked before use, and replaced."""
    silent = []

    def ignore(backend, got):
        return backend in silent

    with pooled(Scripted(on_message=ignore), pool_pre_ping="on", pre_ping_idle="0.2",
                pre_ping_timeout="0.5") as (server, daemon), daemon.client() as client:
        assert client.value("select 1") == "select 1"
        silent.append(server.backends[0])
        time.sleep(0.5)
        began = time.monotonic()
        assert client.value("select 2") == "select 2"
        assert time.monotonic() - began < 3
        assert len(server.backends) == 2


def test_recycle():
    with pooled(pool_recycle="1") as (server, daemon), daemon.client() as client:
        first = client.value("select pid")
        process.wait_until(lambda: client.value("select pid") != first, "a new connection", 8, 0.2)


def test_server_idle_timeout():
    with pooled(server_idle_timeout="1") as (server, daemon), daemon.client() as client:
        client.value("select 1")
        process.wait_until(lambda: not server.open, "the idle connection is closed", 8, 0.1)
        assert client.value("select 1") == "select 1"


def test_min_pool_size():
    with pooled(pool_size=5, min_pool_size=3) as (server, daemon), daemon.client() as client:
        client.value("select 1")
        process.wait_until(lambda: len(server.open) == 3, "three connections are open", 8, 0.1)


def test_session_mode():
    with pooled(pool_mode="session") as (server, daemon):
        with daemon.client() as first:
            assert first.value("select 1") == "select 1"
            with daemon.client() as second:
                second.send(wire.query("select 2"))
                second.expect_silence(0.2)
                first.send(wire.terminate())
                first.expect_closed()
                assert wire.Result(second.read_until("Z")).value == "select 2"
        assert len(server.backends) == 1
        assert any(sql.upper().startswith("DISCARD ALL") for sql in server.queries), server.queries


def test_statement_mode():
    with pooled(pool_mode="statement") as (_, daemon):
        with daemon.client() as client:
            assert client.value("select 1") == "select 1"
            client.send(wire.query("begin"))
            got = client.rest(5)
            assert got and got[-1].type == "E" and got[-1].fields["C"] == "0A000", got
        with daemon.client() as client:
            assert client.value("select 1") == "select 1"


def test_connect_query():
    with pooled(connect_query="select connected") as (server, daemon), daemon.client() as client:
        assert client.value("select 1") == "select 1"
        assert server.backends[0].queries[0] == "select connected", server.backends[0].queries


def test_max_db_connections_over_two_pools():
    with pooled(pool_size=2, max_db_connections=2) as (server, daemon):
        with daemon.client("alice") as alice, daemon.client("bob") as bob:
            for _ in range(3):
                assert alice.value("select 1") == "select 1"
                assert bob.value("select 1") == "select 1"
                assert len(server.open) <= 2


def test_fair_between_pools_that_share_a_limit():
    with pooled(pool_size=2, max_db_connections=1) as (_, daemon):
        with daemon.client("alice") as alice, daemon.client("bob") as bob:
            alice.query("begin")
            bob.send(wire.query("select bob"))
            bob.expect_silence(0.1)
            alice.query("commit")
            assert wire.Result(bob.read_until("Z", 5)).value == "select bob"
            assert alice.value("select alice") == "select alice"


def test_max_server_connections_over_all_pools():
    with pooled(pool_size=3, max_server_connections=2) as (server, daemon):
        daemon.databases["other"] = server.dsn(dbname="other")
        daemon.reload()
        clients = [daemon.client("alice"), daemon.client("bob"), daemon.client("carol"),
                   daemon.client("alice", "other")]
        most = 0
        for number in range(24):
            client = clients[number % 4]
            assert client.query("begin").sqlstate is None
            most = max(most, len(server.open))
            assert client.query("commit").sqlstate is None
            most = max(most, len(server.open))
        assert most == 2, most
        assert len({backend.startup["user"] for backend in server.backends}) == 3


def test_reload_changes_max_server_connections():
    with pooled(pool_size=3, max_server_connections=1) as (server, daemon):
        one, two, three = (daemon.client(user) for user in ("alice", "bob", "carol"))
        assert one.query("begin").sqlstate is None
        two.send(wire.query("begin"))
        two.expect_silence(0.2)
        daemon.settings["max_server_connections"] = 2
        daemon.reload()
        assert two.read_until("Z")[-1].type == "Z"
        three.send(wire.query("begin"))
        three.expect_silence(0.2)
        assert len(server.open) == 2
        daemon.settings["max_server_connections"] = 0
        daemon.reload()
        assert three.read_until("Z")[-1].type == "Z"
        assert len(server.open) == 3
        # Lowered: what is above it ends at the transaction boundaries.
        daemon.settings["max_server_connections"] = 1
        daemon.reload()
        for client in (one, two, three):
            assert client.query("commit").sqlstate is None
        process.wait_until(lambda: len(server.open) <= 1, "the surplus is closed")
        for client in (one, two, three):
            assert client.value("select 1") == "select 1"
            assert len(server.open) <= 1
