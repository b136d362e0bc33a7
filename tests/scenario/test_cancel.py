"""Cancel requests: they hit the statement they were meant for, or nothing."""

import os
import time

from common import Gate, in_background, pooled

from harness import process, wire
from harness.scripted import Scripted
from harness.testing import cases


def cancellable(word="wait"):
    """A server whose statement `wait` ends when it is cancelled."""
    def answer(backend, sql):
        if not sql.startswith(word):
            return False
        while True:
            try:
                pid, key = server.cancels.get(timeout=15)
            except Exception:  # nobody cancelled: an ordinary answer
                return False
            server.delivered.append((pid, key))
            if pid == backend.pid and key == backend.key:
                break
        backend.fail()
        backend.send(wire.error("57014", "canceling statement due to user request"),
                     wire.ready(backend.status))
        return True

    server = Scripted(on_query=answer)
    server.delivered = []
    return server


def test_cancel_reaches_the_running_statement():
    with pooled(cancellable()) as (server, daemon), daemon.client() as client:
        client.send(wire.query("wait"))
        server.wait_query("wait")
        client.cancel()
        result = wire.Result(client.read_until("Z"))
        assert result.sqlstate == "57014" and result.types == "EZ", result
        assert server.delivered == [(server.backends[0].pid, server.backends[0].key)]
        assert client.value("select 1") == "select 1"
        assert len(server.backends) == 1


def test_cancel_in_a_transaction():
    with pooled(cancellable()) as (server, daemon), daemon.client() as client:
        client.query("begin")
        client.send(wire.query("wait"))
        server.wait_query("wait")
        client.cancel()
        assert wire.Result(client.read_until("Z")).status == "E"
        assert client.query("rollback").status == "I"


@cases(other_key=(0, b"\xff\xff\xff\xff"), other_pid=(1, b""), short_key=(0, b"short"))
def test_cancel_with_wrong_key(shift, key):
    gate = Gate()
    with pooled(Scripted(on_query=gate)) as (server, daemon), daemon.client() as client:
        answer = in_background(client.query, "wait")
        gate.wait_reached()
        if key == b"short":
            wrong = client.key[:-1]
        else:
            wrong = bytes(a ^ b for a, b in zip(client.key, key)) if key else client.key
        with daemon.connect() as stranger:
            stranger.send(wire.cancel_request(client.pid + shift, wrong))
            stranger.expect_closed()
        time.sleep(0.2)
        assert server.cancels.empty()
        gate.open()
        assert answer().value == "wait"


def test_random_keys_hit_nothing():
    gate = Gate()
    with pooled(Scripted(on_query=gate)) as (server, daemon), daemon.client() as client:
        answer = in_background(client.query, "wait")
        gate.wait_reached()
        for length in (0, 1, 4, 4, 4, 32, 256, 257, 5000):
            with daemon.connect() as stranger:
                stranger.send(wire.cancel_request(client.pid, os.urandom(length)))
                assert not [item for item in stranger.rest() if item.type != "E"]
        time.sleep(0.1)
        assert server.cancels.empty()
        gate.open()
        assert answer().value == "wait"


def test_cancel_of_an_idle_client_is_ignored():
    with pooled() as (server, daemon), daemon.client() as client:
        assert client.value("select 1") == "select 1"
        client.cancel()
        time.sleep(0.1)
        assert server.cancels.empty()
        assert client.value("select 2") == "select 2"


def test_cancel_does_not_hit_the_next_client():
    """The idle client's last server connection works for another client now."""
    gate = Gate()
    with pooled(Scripted(on_query=gate)) as (server, daemon):
        with daemon.client() as first, daemon.client() as second:
            assert first.value("select 1") == "select 1"
            answer = in_background(second.query, "wait")
            gate.wait_reached()
            first.cancel()
            time.sleep(0.2)
            assert server.cancels.empty()
            gate.open()
            assert answer().value == "wait"


def test_cancel_while_waiting():
    gate = Gate()
    with pooled(Scripted(on_query=gate)) as (server, daemon):
        with daemon.client() as holder, daemon.client() as waiting:
            answer = in_background(holder.query, "wait")
            gate.wait_reached()
            waiting.send(wire.query("select late"))
            time.sleep(0.1)
            waiting.cancel()
            result = wire.Result(waiting.read_until("Z", 3))
            assert result.sqlstate == "57014" and result.status == "I", result
            assert result.error["S"] == "ERROR", result
            assert server.cancels.empty()
            gate.open()
            answer()
            assert waiting.value("select 1") == "select 1"
            assert "select late" not in server.queries


def test_cancel_while_waiting_with_a_batch():
    gate = Gate()
    with pooled(Scripted(on_query=gate)) as (server, daemon):
        with daemon.client() as holder, daemon.client() as waiting:
            answer = in_background(holder.query, "wait")
            gate.wait_reached()
            waiting.send(wire.batch("select late"))
            time.sleep(0.1)
            waiting.cancel()
            result = wire.Result(waiting.read_until("Z", 3))
            assert result.types == "EZ" and result.sqlstate == "57014", result
            gate.open()
            answer()
            assert waiting.prepared("select 1").value == "select 1"
            assert "select late" not in server.queries


def test_server_that_refuses_cancel_connections():
    gate = Gate()
    with pooled(Scripted(on_query=gate)) as (server, daemon), daemon.client() as client:
        answer = in_background(client.query, "wait")
        gate.wait_reached()
        server.refuse_connections()
        client.cancel()
        gate.open()
        assert answer().value == "wait"
        assert client.value("select 1") == "select 1"


def test_late_cancel_hits_nobody_else():
    """While a cancel for a server connection is under way it is given to nobody: the request could
    arrive in the next client's statement."""
    gate = Gate()
    arrived = []
    server = Scripted(on_query=gate)
    accept = server.connection

    def slow_to_accept(sock):
        if server.backends:
            time.sleep(0.5)
            arrived.append(list(server.backends[0].queries))
        accept(sock)

    server.connection = slow_to_accept
    with pooled(server) as (_, daemon), daemon.client() as first, daemon.client() as second:
        answer = in_background(first.query, "wait")
        gate.wait_reached()
        cancelled = in_background(first.cancel)
        time.sleep(0.15)
        gate.open()
        answer()
        assert second.value("select mine") == "select mine"
        cancelled()
        server.wait_cancel()
        assert "select mine" not in arrived[0], "given away before the cancel had arrived"


def test_many_cancels_count_against_nothing():
    gate = Gate()
    with pooled(Scripted(on_query=gate)) as (server, daemon), daemon.client() as client:
        answer = in_background(client.query, "wait")
        gate.wait_reached()
        for _ in range(30):
            client.cancel()
        gate.open()
        answer()
        process.wait_until(lambda: client.query("select 1").rows, "the client goes on")
        assert len(server.backends) <= 2
