"""What servers send: in any pieces, at any moment, well-formed or not."""

import struct
import threading
import time

from common import pooled

from harness import process, wire
from harness.scripted import Scripted
from harness.testing import cases, timeout

ANSWER = (wire.row_description("one", "two") + wire.data_row("1", None) + wire.notice("note")
          + wire.data_row("", "x" * 20) + wire.parameter_status("TimeZone", "UTC")
          + wire.complete("SELECT 2") + wire.ready())


def test_answer_cut_at_every_byte():
    def answer(backend, sql):
        if sql.startswith("cut "):
            backend.send_cut(ANSWER, *map(int, sql.split()[1:]), pause=0.001)
            return True
        return False

    with pooled(Scripted(on_query=answer)) as (server, daemon), daemon.client() as client:
        for position in range(1, len(ANSWER)):
            client.send(wire.query(f"cut {position}"))
            assert client.bytes(len(ANSWER)) == ANSWER, position
        client.send(wire.query("cut " + " ".join(map(str, range(1, len(ANSWER))))))
        assert client.bytes(len(ANSWER)) == ANSWER
        client.expect_silence()
        assert len(server.backends) == 1


def test_two_clients_share_a_chopped_server():
    """A cut answer of one must not delay or mix with the other's transaction."""
    def answer(backend, sql):
        if sql.startswith("select "):
            whole = wire.rows_answer((sql,))
            backend.send_cut(whole, *range(3, len(whole), 7), pause=0.0005)
            return True
        return False

    with pooled(Scripted(on_query=answer)) as (server, daemon):
        with daemon.client() as left, daemon.client() as right:
            for number in range(30):
                left.send(wire.query(f"select left {number}"))
                right.send(wire.query(f"select right {number}"))
                assert wire.Result(left.read_until("Z")).value == f"select left {number}"
                assert wire.Result(right.read_until("Z")).value == f"select right {number}"
        assert len(server.backends) == 1


@cases(one_row=(1, 3_000_000), many_rows=(3000, 1000), at_buffer_size=(1, 65536 - 11),
       above_buffer_size=(2, 65536))
def test_large_answers(rows, size):
    whole = wire.rows_answer(*[("y" * size,)] * rows)

    def answer(backend, sql):
        if sql == "large":
            backend.send(whole)
            return True
        return False

    with pooled(Scripted(on_query=answer)) as (_, daemon), daemon.client() as client:
        for _ in range(2):
            client.send(wire.query("large"))
            assert client.bytes(len(whole)) == whole
        assert client.value("select 1") == "select 1"


def test_slow_reader_is_bounded():
    """A client that does not read costs its server's answer a bounded piece of memory."""
    row = wire.data_row("z" * 100_000)
    sent = []

    def answer(backend, sql):
        if sql == "flood":
            backend.timeout = 2
            backend.send(wire.row_description("value"))
            try:
                for _ in range(1500):
                    backend.send(row)
                    sent.append(len(row))
            except TimeoutError:
                pass
            raise wire.Closed("flooded")
        return False

    with pooled(Scripted(on_query=answer), client_memory_limit="1MB") as (_, daemon):
        with daemon.client() as client:
            before = daemon.memory()
            client.send(wire.query("flood"))
            time.sleep(1.5)
            assert daemon.memory() - before < 40_000_000, daemon.memory() - before
            assert sum(sent) < 100_000_000, "everything was read in spite of back pressure"
        with daemon.client() as other:
            assert other.value("select 1") == "select 1"


def test_slow_reader_gets_everything():
    whole = wire.rows_answer(*[("w" * 50_000,)] * 200)

    def answer(backend, sql):
        if sql == "large":
            backend.send(whole)
            return True
        return False

    with pooled(Scripted(on_query=answer)) as (_, daemon), daemon.client() as client:
        client.send(wire.query("large"))
        time.sleep(0.5)
        assert client.bytes(len(whole)) == whole
        assert client.value("select 1") == "select 1"


def test_parameters_are_passed_on():
    parameters = {"server_version": "16.4 (scripted)", "made_up": "of any name", "TimeZone": "Mars"}
    with pooled(Scripted(parameters=parameters)) as (server, daemon), daemon.client() as client:
        for name in ("server_version", "made_up", "server_encoding", "integer_datetimes"):
            assert client.parameters.get(name) == server.parameters[name], (name, client.parameters)


def test_long_parameter_value():
    value = "v" * 60_000
    with pooled(Scripted(parameters={"made_up": value})) as (_, daemon), daemon.client() as client:
        assert client.parameters["made_up"] == value


def test_notice_in_an_answer():
    def answer(backend, sql):
        if sql == "notice":
            backend.send(wire.notice("be warned"), wire.rows_answer(("1",)))
            return True
        return False

    with pooled(Scripted(on_query=answer)) as (_, daemon), daemon.client() as client:
        result = client.query("notice")
        assert result.notices[0]["M"] == "be warned" and result.value == "1", result


def test_server_error_is_verbatim():
    error = wire.error("42P01", 'relation "x" does not exist', P="15", F="parse_relation.c",
                       L="1392", R="parserOpenTable", H="look again", D="detail")

    def answer(backend, sql):
        if sql == "bad":
            backend.send(error, wire.ready())
            return True
        return False

    with pooled(Scripted(on_query=answer)) as (_, daemon), daemon.client() as client:
        client.send(wire.query("bad"))
        assert client.bytes(len(error)) == error
        client.expect("Z")


def test_fatal_glued_to_ready():
    """The answer is complete, the FATAL concerns nobody: the next statement goes elsewhere."""
    def answer(backend, sql):
        if sql == "last":
            backend.send(wire.rows_answer(("done",))
                         + wire.error("57P01", "terminating connection", "FATAL"))
            raise wire.Closed("bye")
        return False

    with pooled(Scripted(on_query=answer)) as (server, daemon), daemon.client() as client:
        result = client.query("last")
        assert result.value == "done" and not result.errors, result
        assert client.value("select 1") == "select 1"
        assert len(server.backends) == 2


def test_fatal_in_a_query():
    def answer(backend, sql):
        if sql == "kill":
            backend.send(wire.error("57P01", "terminating connection due to test", "FATAL"))
            raise wire.Closed("bye")
        return False

    with pooled(Scripted(on_query=answer)) as (_, daemon):
        with daemon.client() as client:
            client.send(wire.query("kill"))
            got = client.rest(5)
            assert got[0].type == "E" and got[0].fields["C"] == "57P01", got
            assert got[0].fields["M"] == "terminating connection due to test", got
            assert len(got) == 1, got
        with daemon.client() as client:
            assert client.value("select 1") == "select 1"


def test_server_closes_without_a_word():
    def answer(backend, sql):
        if sql == "kill":
            raise wire.Closed("bye")
        return False

    with pooled(Scripted(on_query=answer)) as (_, daemon):
        with daemon.client() as client:
            client.send(wire.query("kill"))
            got = client.rest(5)
            assert [item.type for item in got] == ["E"], got
            assert got[0].fields["C"] == "08006" and got[0].fields["S"] == "FATAL", got
        with daemon.client() as client:
            assert client.value("select 1") == "select 1"


@cases(little_missing=10, much_missing=100_000, more_than_an_error=400)
def test_server_closes_inside_a_row(missing):
    """No error may be spliced into a row that the client has a part of."""
    row = wire.data_row("r" * (missing + 50))

    def answer(backend, sql):
        if sql == "half":
            backend.send(wire.row_description("value"), wire.data_row("whole"), row[:-missing])
            time.sleep(0.05)
            raise wire.Closed("bye")
        return False

    with pooled(Scripted(on_query=answer)) as (_, daemon):
        with daemon.client() as client:
            client.send(wire.query("half"))
            got = client.rest(5)
            kinds = "".join(item.type for item in got)
            assert kinds in ("TD", "TDE"), got
            if kinds == "TDE":
                assert got[-1].fields["C"] == "08006", got
            assert b"08006" not in client.received, client.received
        with daemon.client() as client:
            assert client.value("select 1") == "select 1"


def test_server_closes_in_a_transaction():
    def answer(backend, sql):
        if sql == "begin":
            backend.send(wire.complete("BEGIN"), wire.ready("T"))
            time.sleep(0.1)
            raise wire.Closed("bye")
        return False

    with pooled(Scripted(on_query=answer)) as (_, daemon):
        with daemon.client() as client:
            assert client.query("begin").status == "T"
            time.sleep(0.3)
            got = client.rest(5)
            assert got and got[-1].type == "E" and got[-1].fields["S"] == "FATAL", got
        with daemon.client() as client:
            assert client.value("select 1") == "select 1"


def test_idle_server_closes():
    """Noticed at once: the next statement goes to a new connection and nobody sees an error."""
    with pooled(pool_size=2) as (server, daemon), daemon.client() as client:
        assert client.value("select 1") == "select 1"
        server.drop_connections()
        time.sleep(0.2)
        assert client.value("select 2") == "select 2"
        assert len(server.backends) == 2


def test_idle_server_says_goodbye():
    with pooled() as (server, daemon), daemon.client() as client:
        assert client.value("select 1") == "select 1"
        server.backends[0].send(wire.error("57P01", "terminating connection", "FATAL"))
        server.drop_connections()
        time.sleep(0.2)
        assert client.value("select 2") == "select 2"
        client.expect_silence()


def test_idle_server_chatters():
    """Notices and reports may come at any time."""
    with pooled() as (server, daemon), daemon.client() as client:
        assert client.value("select 1") == "select 1"
        server.backends[0].send(wire.notice("hello"), wire.parameter_status("made_up", "new"))
        time.sleep(0.2)
        assert client.value("select 2") == "select 2"
        assert len(server.backends) == 1


@cases(row=wire.data_row("x"), ready=wire.ready(), unknown=b"\xf1\0\0\0\4",
       short_length=b"D\0\0\0\1", negative_length=b"D\xff\xff\xff\xff")
def test_idle_server_breaks_the_protocol(data):
    """What nobody asked for must reach nobody: that connection is not used again."""
    with pooled() as (server, daemon), daemon.client() as client:
        assert client.value("select 1") == "select 1"
        server.backends[0].send(data)
        time.sleep(0.2)
        result = client.query("select 2")
        assert result.value == "select 2" and result.types == "TDCZ", result
        client.expect_silence()
        assert len(server.backends) == 2


@cases(unknown_type=b"\xf1\0\0\0\4", short_length=b"D\0\0\0\1", negative_length=b"D\xff\xff\xff\xff",
       bad_status=b"Z\0\0\0\5?", long_ready=b"Z\0\0\0\6II", authentication=wire.authentication(0))
def test_server_breaks_the_protocol_in_an_answer(data):
    def answer(backend, sql):
        if sql == "broken":
            backend.send(data)
            time.sleep(0.3)
            raise wire.Closed("bye")
        return False

    with pooled(Scripted(on_query=answer)) as (_, daemon):
        with daemon.client() as client, daemon.client() as other:
            client.send(wire.query("broken"))
            got = client.rest(5)
            assert got and got[-1].type == "E" and got[-1].fields["C"] in ("08P01", "08006"), got
            assert got[-1].fields["S"] == "FATAL", got
            assert other.value("select 1") == "select 1"


@cases(four=4, twelve=12, thirty_two=32, most=256)
def test_cancel_key_of_any_length(length):
    started = threading.Event()

    def answer(backend, sql):
        if sql == "wait":
            started.set()
            backend.server.wait_cancelled.wait(10)
            backend.send(wire.error("57014", "canceling statement due to user request"),
                         wire.ready())
            return True
        return False

    key = bytes(range(length)) if length < 256 else bytes(range(256))
    server = Scripted(on_query=answer, key=key)
    server.wait_cancelled = threading.Event()
    with pooled(server) as (_, daemon), daemon.client() as client:
        assert len(client.key) == 4, "protocol 3.0 knows keys of four bytes only"
        client.send(wire.query("wait"))
        assert started.wait(10)
        client.cancel()
        assert server.wait_cancel() == (server.backends[0].pid, key)
        server.wait_cancelled.set()
        assert wire.Result(client.read_until("Z")).sqlstate == "57014"
        assert client.value("select 1") == "select 1"
        assert len(server.backends) == 1


def test_server_without_cancel_key():
    with pooled(Scripted(key=None)) as (_, daemon), daemon.client() as client:
        assert client.pid is not None, "the client has a key all the same"
        assert client.value("select 1") == "select 1"
        client.cancel()
        assert client.value("select 1") == "select 1"


def login_with(data):
    def login(backend):
        backend.send(data)
        backend.rest(3)
        raise wire.Closed("broken login")
    return login


@cases(nothing=b"", ready_first=wire.ready(), row=wire.data_row("x"), short_length=b"R\0\0\0\1",
       huge_length=b"R\x7f\xff\xff\xff", http=b"HTTP/1.1 400 Bad Request\r\n\r\n",
       bad_parameter=wire.authentication(0) + wire.message("S", b"no end"),
       long_key=wire.authentication(0) + wire.backend_key(1, bytes(300)),
       short_key=wire.authentication(0) + wire.message("K", b"\0\0"),
       bad_ready=wire.authentication(0) + b"Z\0\0\0\4")
def test_server_breaks_the_login(data):
    with pooled(Scripted(login=login_with(data)), pool_timeout="2",
                server_connect_timeout="1") as (_, daemon):
        refusal = daemon.refused()
        assert refusal["S"] == "FATAL" and refusal["C"][:2] in ("08", "53", "57"), refusal


@timeout(30)
def test_login_of_server_cut_at_every_byte():
    cut = []

    def login(backend):
        pieces = wire.authentication(0)
        for item in list(backend.parameters.items())[:3]:
            pieces += wire.parameter_status(*item)
        pieces += wire.notice("hello") + wire.backend_key(backend.pid, backend.key) + wire.ready()
        if not cut:
            cut.extend(range(1, len(pieces)))
        backend.send_cut(pieces, cut.pop(), pause=0.002)
        backend.logged_in = True

    def answer(backend, sql):
        if sql == "kill":
            backend.send(wire.rows_answer(("1",)))
            raise wire.Closed("bye")
        return False

    with pooled(Scripted(login=login, on_query=answer)) as (_, daemon), daemon.client() as client:
        while cut:
            assert client.value("kill") == "1"
            time.sleep(0.01)  # so that the end of the connection is seen before the next statement


def test_error_at_login_reaches_the_client():
    def login(backend):
        backend.send(wire.error("28000", "no pg_hba.conf entry for this test", "FATAL"))
        raise wire.Closed("refused")

    with pooled(Scripted(login=login), pool_timeout="3") as (_, daemon):
        refusal = daemon.refused()
        assert "no pg_hba.conf entry for this test" in " ".join(refusal.values()), refusal
        assert refusal["S"] == "FATAL", refusal


def test_server_starting_up_is_waited_for():
    """57P03 at login heals by itself: who waits keeps waiting within pool_timeout."""
    tries = []

    def login(backend):
        tries.append(time.monotonic())
        if len(tries) < 3:
            backend.send(wire.error("57P03", "the database system is starting up", "FATAL"))
            raise wire.Closed("not yet")
        backend.login_done()

    with pooled(Scripted(login=login), server_login_retry="0.2",
                pool_timeout="10") as (_, daemon), daemon.client() as client:
        assert client.value("select 1") == "select 1"
        assert len(tries) == 3


def test_server_down_then_up():
    server = Scripted()
    server.refuse_connections()
    with pooled(server, pool_timeout="1", server_login_retry="0.2") as (_, daemon):
        began = time.monotonic()
        refusal = daemon.refused()
        assert refusal["C"] in ("08006", "57P03", "53300") and refusal["S"] == "FATAL", refusal
        assert time.monotonic() - began < 4
        server.listen()
        process.wait_until(lambda: try_login(daemon), "logins work again", 5, 0.1)


def try_login(daemon):
    try:
        with daemon.client() as client:
            return client.value("select 1") == "select 1"
    except wire.ServerError:
        return False


def test_unread_answer_of_server_is_not_mixed_up():
    """Bytes behind ReadyForQuery that answer nothing make the connection unusable."""
    def answer(backend, sql):
        if sql == "twice":
            backend.send(wire.rows_answer(("1",)) + wire.rows_answer(("poison",)))
            return True
        return False

    with pooled(Scripted(on_query=answer)) as (server, daemon), daemon.client() as client:
        assert client.query("twice").value == "1"
        time.sleep(0.1)
        assert client.value("select 1") == "select 1"
        client.expect_silence()
        assert len(server.backends) == 2


def test_row_with_lying_column_lengths_passes():
    """Bodies of rows are not ours to judge: they pass by length."""
    row = wire.message("D", struct.pack("!Hi", 1, 99) + b"short")

    def answer(backend, sql):
        if sql == "odd":
            backend.send(wire.row_description("v"), row, wire.complete("SELECT 1"), wire.ready())
            return True
        return False

    with pooled(Scripted(on_query=answer)) as (_, daemon), daemon.client() as client:
        client.send(wire.query("odd"))
        client.expect("T")
        assert client.bytes(len(row)) == row
        client.expect("CZ")
