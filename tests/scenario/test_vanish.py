"""Clients that leave in the middle of something: the server connection is cancelled, rolled back,
cleaned and used again."""

import threading
import time

from common import Gate, pooled
from test_cancel import cancellable

from harness import process, wire
from harness.scripted import Scripted
from harness.testing import cases


def check_reuse(server, daemon, backends=1):
    """Another client is served well, and by a connection that is there already."""
    with daemon.client() as other:
        assert other.value("select after") == "select after"
        other.expect_silence(0.05)
    assert len(server.backends) == backends, len(server.backends)


@cases(close=wire.Client.close, reset=wire.Client.reset)
def test_in_a_running_statement(leave):
    with pooled(cancellable()) as (server, daemon):
        client = daemon.client()
        client.send(wire.query("wait"))
        server.wait_query("wait")
        leave(client)
        process.wait_until(lambda: server.delivered, "a cancel arrives")
        assert server.delivered == [(server.backends[0].pid, server.backends[0].key)]
        check_reuse(server, daemon)
        assert daemon.counters()["server_reuses"] == 1


def test_in_a_running_statement_of_a_transaction():
    with pooled(cancellable()) as (server, daemon):
        client = daemon.client()
        client.query("begin")
        client.send(wire.query("wait"))
        server.wait_query("wait")
        client.close()
        process.wait_until(lambda: server.delivered, "a cancel arrives")
        check_reuse(server, daemon)
        assert server.backends[0].status == "I"
        assert any(sql.lower().startswith("rollback") for sql in server.queries), server.queries


@cases(close=wire.Client.close, reset=wire.Client.reset,
       terminate=lambda client: client.send(wire.terminate()))
def test_idle_in_transaction(leave):
    with pooled() as (server, daemon):
        client = daemon.client()
        client.query("begin")
        leave(client)
        check_reuse(server, daemon)
        assert any(sql.lower().startswith("rollback") for sql in server.queries), server.queries
        assert server.cancels.empty(), "there was nothing to cancel"


def test_failed_transaction():
    with pooled() as (server, daemon):
        client = daemon.client()
        client.query("begin")
        assert client.query("fail").status == "E"
        client.close()
        check_reuse(server, daemon)


@cases(parse=wire.parse("select 1"), parse_bind=wire.parse("select 1") + wire.bind(),
       executed=wire.parse("select 1") + wire.bind() + wire.execute() + wire.flush(),
       failed=wire.parse("fail") + wire.bind() + wire.execute() + wire.flush(),
       half_message=wire.parse("select 1") + wire.flush() + wire.bind()[:7],
       begin=wire.parse("begin") + wire.bind() + wire.execute() + wire.flush())
def test_in_a_batch_without_sync(data):
    with pooled() as (server, daemon):
        client = daemon.client()
        client.send(data)
        time.sleep(0.1)
        client.close()
        check_reuse(server, daemon)
        assert server.backends[0].status == "I"


def test_in_half_a_query():
    with pooled() as (server, daemon):
        client = daemon.client()
        client.value("select 1")
        client.send(wire.query("select " + "x" * 1000)[:500])
        time.sleep(0.05)
        client.close()
        check_reuse(server, daemon)
        assert not any("xxx" in sql for sql in server.queries)


def test_in_half_a_large_query():
    """A part of it is at the server already."""
    with pooled(client_memory_limit="100kB") as (server, daemon):
        client = daemon.client()
        client.value("select 1")
        client.send(wire.query("select " + "x" * 3_000_000)[:2_000_000])
        time.sleep(0.1)
        client.close()
        with daemon.client() as other:
            assert other.value("select after") == "select after"
        assert not any("xxx" in sql for sql in server.queries)


def test_in_a_large_answer():
    whole = wire.rows_answer(*[("v" * 10_000,)] * 2000)

    def answer(backend, sql):
        if sql == "large":
            backend.send(whole)
            return True
        return False

    with pooled(Scripted(on_query=answer)) as (server, daemon):
        client = daemon.client()
        client.send(wire.query("large"))
        client.bytes(100_000)
        client.reset()
        check_reuse(server, daemon)


def test_with_a_pipeline_outstanding():
    gate = Gate()
    with pooled(Scripted(on_query=gate)) as (server, daemon):
        client = daemon.client()
        client.send(wire.query("begin"), wire.query("wait"),
                    *[wire.query(f"select {number}") for number in range(20)])
        gate.wait_reached()
        client.close()
        time.sleep(0.1)
        gate.open()
        with daemon.client() as other:
            assert other.value("select after") == "select after"
            other.expect_silence(0.05)
        assert all(backend.status == "I" or backend not in server.open
                   for backend in server.backends)


def test_server_that_does_not_stop():
    """It is closed after cancel_wait_timeout. Another connection takes its place when it is gone, or
    when it was given a second for that: PostgreSQL still counts it."""
    gate = Gate()
    with pooled(Scripted(on_query=gate), cancel_wait_timeout="0.5") as (server, daemon):
        client = daemon.client()
        client.send(wire.query("wait"))
        gate.wait_reached()
        client.close()
        began = time.monotonic()
        with daemon.client() as other:
            assert other.value("select after") == "select after"
        assert 0.2 < time.monotonic() - began < 3
        assert len(server.backends) == 2
        gate.open()


def test_server_that_dies_while_it_is_cleaned():
    def answer(backend, sql):
        if sql.lower().startswith("rollback"):
            raise wire.Closed("bye")
        return False

    with pooled(Scripted(on_query=answer)) as (server, daemon):
        client = daemon.client()
        client.query("begin")
        client.close()
        check_reuse(server, daemon, backends=2)


def test_while_waiting():
    """Who leaves the queue takes no server connection from those behind."""
    with pooled() as (server, daemon):
        with daemon.client() as holder, daemon.client() as last:
            holder.query("begin")
            leavers = [daemon.client() for _ in range(5)]
            for client in leavers:
                client.send(wire.query("select gone"))
            last.send(wire.query("select last"))
            time.sleep(0.1)
            for client in leavers:
                client.reset()
            time.sleep(0.1)
            holder.query("commit")
            assert wire.Result(last.read_until("Z")).value == "select last"
            assert "select gone" not in server.queries


# --- COPY ---------------------------------------------------------------------------------------

class CopyIn:
    """on_message: a server that takes `copy in`, fails at the word `poison`."""

    def __init__(self):
        self.copying = None
        self.data = b""
        self.ended = threading.Event()

    def __call__(self, backend, got):
        if got.type == "Q" and got.text == "copy in":
            backend.queries.append("copy in")
            self.begin(backend, "simple")
            return True
        if got.type == "E" and backend.portals.get("") == "copy in":
            self.begin(backend, "extended")
            return True
        if self.copying is None:
            return got.type in "dcf"  # the rest of a failed COPY
        if got.type == "d":
            self.data += got.body
            if b"poison" in got.body:
                self.end(backend, wire.error("22P04", "bad data"))
        elif got.type == "c":
            self.end(backend, wire.complete("COPY 1"))
        elif got.type == "f":
            self.end(backend, wire.error("57014", "COPY from stdin failed: " + got.text))
        elif got.type not in "SH":
            self.end(backend, wire.error("08P01", "unexpected message during COPY"))
        return True

    def begin(self, backend, how):
        self.copying = how
        backend.send(wire.message("G", b"\0\0\0"))

    def end(self, backend, verdict):
        how, self.copying = self.copying, None
        self.ended.set()
        if how == "simple":
            backend.send(verdict, wire.ready(backend.status))
        else:
            backend.skipping = verdict[:1] == b"E"
            backend.send(verdict)


def test_copy_in():
    copy = CopyIn()
    with pooled(Scripted(on_message=copy)) as (server, daemon), daemon.client() as client:
        client.send(wire.query("copy in"))
        client.expect("G")
        client.send(wire.copy_data("one\n"), wire.copy_data("two\n"), wire.copy_done())
        assert wire.Result(client.read_until("Z")).tags == ["COPY 1"]
        assert copy.data == b"one\ntwo\n"
        assert client.value("select 1") == "select 1"


def test_copy_in_cut_at_every_byte():
    copy = CopyIn()
    data = wire.copy_data("one\n") + wire.copy_data("x" * 20) + wire.copy_done()
    with pooled(Scripted(on_message=copy)) as (_, daemon), daemon.client() as client:
        for position in range(1, len(data)):
            copy.data = b""
            client.send(wire.query("copy in"))
            client.expect("G")
            client.send_cut(data, position)
            assert wire.Result(client.read_until("Z")).tags == ["COPY 1"]
            assert copy.data == b"one\n" + b"x" * 20


def test_copy_in_everything_in_one_segment():
    copy = CopyIn()
    with pooled(Scripted(on_message=copy)) as (_, daemon), daemon.client() as client:
        client.send(wire.query("copy in"), wire.copy_data("one\n"), wire.copy_done(),
                    wire.query("select 1"))
        first, second = client.results(2)
        assert first.tags == ["COPY 1"] and second.value == "select 1", (first, second)


def test_copy_in_failed_by_the_client():
    copy = CopyIn()
    with pooled(Scripted(on_message=copy)) as (_, daemon), daemon.client() as client:
        client.send(wire.query("copy in"))
        client.expect("G")
        client.send(wire.copy_data("one\n"), wire.copy_fail("no more"))
        assert wire.Result(client.read_until("Z")).sqlstate == "57014"
        assert client.value("select 1") == "select 1"


def test_copy_in_failed_by_the_server():
    """What the client still sends is dropped, and its next statement is answered."""
    copy = CopyIn()
    with pooled(Scripted(on_message=copy)) as (server, daemon), daemon.client() as client:
        client.send(wire.query("copy in"))
        client.expect("G")
        client.send(wire.copy_data("poison"))
        assert wire.Result(client.read_until("Z")).sqlstate == "22P04"
        client.send(wire.copy_data("more") * 50, wire.copy_done(), wire.query("select 1"))
        assert wire.Result(client.read_until("Z")).value == "select 1"
        check_reuse(server, daemon)


def test_copy_in_failed_by_the_server_with_more_on_the_way():
    copy = CopyIn()
    with pooled(Scripted(on_message=copy)) as (server, daemon), daemon.client() as client:
        client.send(wire.query("copy in"), wire.copy_data("poison"), wire.copy_data("more") * 50,
                    wire.copy_done(), wire.query("select 1"))
        first, second = client.results(2)
        assert first.sqlstate == "22P04" and second.value == "select 1", (first, second)
        check_reuse(server, daemon)


@cases(good=("one\n", "12GCZ"), bad=("poison", "12GEZ"))
def test_copy_in_extended(data, types):
    copy = CopyIn()
    with pooled(Scripted(on_message=copy)) as (server, daemon), daemon.client() as client:
        client.send(wire.parse("copy in") + wire.bind() + wire.execute() + wire.sync())
        client.expect("12G")
        client.send(wire.copy_data(data), wire.copy_done(), wire.sync())
        kinds = "12G" + "".join(item.type for item in client.read_until("Z"))
        assert kinds == types, kinds
        assert client.value("select 1") == "select 1"
        check_reuse(server, daemon)


@cases(close=wire.Client.close, reset=wire.Client.reset,
       terminate=lambda client: client.send(wire.terminate()))
def test_client_leaves_during_copy_in(leave):
    copy = CopyIn()
    with pooled(Scripted(on_message=copy), cancel_wait_timeout="2") as (server, daemon):
        client = daemon.client()
        client.send(wire.query("copy in"))
        client.expect("G")
        client.send(wire.copy_data("one\n"))
        leave(client)
        assert copy.ended.wait(5) or not server.open, "the COPY goes on at the server"
        with daemon.client() as other:
            assert other.value("select after") == "select after"


def test_server_dies_during_copy_in():
    def answer(backend, got):
        if got.type == "Q" and got.text == "copy in":
            backend.send(wire.message("G", b"\0\0\0"))
            return True
        if got.type == "d":
            raise wire.Closed("bye")
        return False

    with pooled(Scripted(on_message=answer)) as (_, daemon):
        with daemon.client() as client:
            client.send(wire.query("copy in"))
            client.expect("G")
            client.send(wire.copy_data("x"))
            got = client.rest(5)
            assert got and got[-1].type == "E" and got[-1].fields["C"] == "08006", got
        with daemon.client() as other:
            assert other.value("select after") == "select after"


def test_copy_out():
    def answer(backend, sql):
        if sql == "copy out":
            backend.send(wire.message("H", b"\0\0\0"),
                         *[wire.copy_data(f"row {number}\n") for number in range(500)],
                         wire.copy_done(), wire.complete("COPY 500"), wire.ready())
            return True
        return False

    with pooled(Scripted(on_query=answer)) as (server, daemon), daemon.client() as client:
        result = client.query("copy out")
        assert result.types == "H" + "d" * 500 + "cCZ", result.types
        assert client.value("select 1") == "select 1"
        assert len(server.backends) == 1
