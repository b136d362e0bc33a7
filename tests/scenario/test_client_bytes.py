"""What clients send: in any pieces, well-formed or not. Who sends nonsense hurts only himself."""

import random
import struct
import time

from common import pooled

from harness import process, wire
from harness.testing import cases, timeout


@cases(unknown_type=b"\xf1\0\0\0\4", zero_type=b"\0\0\0\0\4", length_zero=b"Q\0\0\0\0",
       length_three=b"Q\0\0\0\3", length_negative=b"Q\xff\xff\xff\xff", server_type=b"T\0\0\0\4",
       password=b"p\0\0\0\x05x", startup_again=wire.startup({"user": "alice"}),
       query_without_end=b"Q\0\0\0\x08wxyz", http=b"GET / HTTP/1.1\r\n\r\n")
def test_malformed_message(data):
    with pooled() as (server, daemon), daemon.client() as other:
        with daemon.client() as client:
            client.send(data)
            client.timeout = 5
            got = client.read_until("EZ")
            assert got[-1].type == "E" and got[-1].fields["C"] in ("08P01", "54000"), got
            if got[-1].fields["S"] == "FATAL":
                client.expect_closed()
        assert other.value("select 1") == "select 1"
        assert len(server.backends) == 1


@cases(unknown_type=b"\xf1\0\0\0\4", length_three=b"Q\0\0\0\3", length_negative=b"Q\xff\xff\xff\xff")
def test_malformed_message_in_a_transaction(data):
    """The server connection is rolled back and used for others."""
    with pooled() as (server, daemon), daemon.client() as other:
        with daemon.client() as client:
            assert client.query("begin").status == "T"
            client.send(data)
            got = client.rest(5)
            assert [item.type for item in got] == ["E"], got
            assert got[0].fields["S"] == "FATAL", got
            assert got[0].fields["C"] in ("08P01", "54000"), got
        assert other.value("select 1") == "select 1"
        assert len(server.backends) == 1 and server.backends[0].status == "I"
        assert any(sql.lower().startswith("rollback") for sql in server.queries), server.queries


def test_message_too_large():
    with pooled(max_message_size="1MB") as (server, daemon), daemon.client() as other:
        with daemon.client() as client:
            client.send(b"Q" + struct.pack("!I", 0x7FFFFFFF) + b"select")
            got = client.rest(5)
            assert [item.type for item in got] == ["E"], got
            assert got[0].fields["C"] == "54000" and got[0].fields["S"] == "FATAL", got
        assert other.value("select 1") == "select 1"
        assert len(server.backends) == 1


def test_large_message_within_the_limit():
    sql = "select '" + "q" * 5_000_000 + "'"
    with pooled() as (server, daemon), daemon.client() as client:
        result = client.query(sql)
        assert result.value == sql
        result = client.prepared(sql)
        assert result.value == sql
        assert len(server.backends) == 1


def test_query_cut_at_every_byte():
    data = wire.query("select 1")
    with pooled() as (server, daemon), daemon.client() as client, daemon.client() as other:
        for position in range(1, len(data)):
            client.send(data[:position])
            time.sleep(0.001)
            assert other.value("select 2") == "select 2", "half a message holds the connection"
            client.send(data[position:])
            assert wire.Result(client.read_until("Z")).value == "select 1", position
        client.send_cut(data, *range(1, len(data)))
        assert wire.Result(client.read_until("Z")).value == "select 1"
        assert len(server.backends) == 1


def test_half_a_message_holds_no_server():
    """A client that is slow to send its statement must not keep others from their transactions."""
    data = wire.query("select " + "x" * 1000)
    with pooled() as (server, daemon), daemon.client() as slow, daemon.client() as other:
        for position in (5, 6, 100, 1000):
            slow.send(data[:position])
            time.sleep(0.02)
            assert wire.Result(in_time(other, wire.query("select 2"))).value == "select 2", position
            slow.send(data[position:])
            assert wire.Result(slow.read_until("Z")).value == "select " + "x" * 1000
        assert len(server.backends) == 1


def in_time(client, data):
    client.send(data)
    try:
        return client.read_until("Z", 2)
    except TimeoutError:
        raise AssertionError("the half message of another client holds the server") from None


@timeout(30)
def test_batch_cut_at_every_byte():
    data = wire.batch("select $1", ["value"], "name")
    data += wire.close("S", "name") + wire.sync()
    with pooled() as (_, daemon), daemon.client() as client:
        for position in range(1, len(data)):
            client.send_cut(data, position)
            first, second = client.results(2)
            assert first.types == "12TDCZ" and second.types == "3Z", (position, first, second)
        client.send_cut(data, *range(1, len(data)), pause=0.001)
        first, second = client.results(2)
        assert first.types == "12TDCZ" and second.types == "3Z", (first, second)


@cases(**{f"seed{seed}": seed for seed in range(8)})
def test_random_bytes(seed):
    dice = random.Random(seed)
    with pooled() as (_, daemon):
        for _ in range(25):
            with daemon.client() as client:
                data = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 200)))
                try:
                    client.send(data)
                    client.socket.shutdown(1)
                    client.rest(5)
                except OSError:
                    pass
        with daemon.client() as client:
            assert client.value("select 1") == "select 1"


@cases(**{f"seed{seed}": seed for seed in range(8)})
def test_random_messages(seed):
    """Well-formed headers, any type, any body: errors or answers, and the daemon goes on."""
    dice = random.Random(seed)
    kinds = "QPBDECSHX" + "dcf" + "F"
    with pooled(pool_size=2, pool_timeout="2") as (server, daemon):
        def tolerant(backend, got):
            if got.type in "dcf":
                return True
            if got.type == "F" and not backend.skipping:
                backend.fail()
                backend.send(wire.error("08P01", "no such function"), wire.ready(backend.status))
                return True
            if got.type in "PBDCE" and not backend.skipping and dice.random() < 0.5:
                backend.refuse("08P01", "invalid message format")
                return True
            return False

        server.on_message = tolerant
        for _ in range(15):
            with daemon.client() as client:
                data = b""
                for _ in range(dice.randrange(1, 12)):
                    body = bytes(dice.choice(b"\0\0\0SPab1\x7f")
                                 for _ in range(dice.randrange(0, 12)))
                    data += wire.message(dice.choice(kinds), body)
                try:
                    client.send(data + wire.sync())
                    client.socket.shutdown(1)
                except OSError:
                    pass
                client.socket.settimeout(0.05)
        with daemon.client() as client:
            assert client.value("select 1") == "select 1"


def test_query_without_any_text():
    """Not even the terminator: the server judges it, and nothing beyond it is read. It comes out of
    memory of its own size, since it has to wait."""
    with pooled(pool_size=1) as (server, daemon), daemon.client() as holder, \
            daemon.client() as client:
        holder.query("begin")
        def judge(backend, got):
            if got.type == "Q" and not got.body:
                backend.send(wire.error("08P01", "invalid message format"),
                             wire.ready(backend.status))
                return True
            return False

        server.on_message = judge
        client.send(wire.message("Q", b""))
        process.wait_until(lambda: daemon.counters()["waiting"] == 1, "the client waits")
        holder.query("commit")
        assert client.read_until("Z")[0].fields["C"] == "08P01"
        assert client.value("select 1") == "select 1"


# Bodies that pgweir itself has to understand, and Parse, which the scripted server judges.
@cases(parse_no_end=wire.message("P", b"s"), parse_no_types=wire.message("P", b"s\0select 1\0"),
       parse_many_types=wire.message("P", b"s\0select 1\0\xff\xff"),
       bind_no_end=wire.message("B", b"portal"), bind_no_name=wire.message("B", b"\0name"),
       describe_empty=wire.message("D"), describe_no_end=wire.message("D", b"Sname"),
       describe_other=wire.message("D", b"Xname\0"), close_empty=wire.message("C"),
       execute_no_end=wire.message("E", b"portal"))
def test_malformed_body(data):
    """Judged by pgweir or by the server: an 08P01 for the sender, and no harm for others."""
    with pooled() as (server, daemon), daemon.client() as other:
        with daemon.client() as client:
            client.send(data + wire.sync())
            client.timeout = 5
            got = client.read_until("EZ")
            assert got[-1].type == "E" and got[-1].fields["C"] == "08P01", got
        assert other.value("select 1") == "select 1"
        assert len(server.backends) == 1
