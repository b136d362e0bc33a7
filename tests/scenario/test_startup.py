"""The first bytes of a connection."""

import socket
import struct
import time

from common import Gate, in_background, pooled

from harness import process, wire
from harness.pgweir import Pgweir
from harness.scripted import Scripted
from harness.testing import cases

LOGIN = {"user": "alice", "database": "db"}


@cases(ssl=wire.SSL_REQUEST, gss=wire.GSS_REQUEST,
       gss_ssl=(wire.GSS_REQUEST, wire.SSL_REQUEST), ssl_gss=(wire.SSL_REQUEST, wire.GSS_REQUEST))
def test_encryption_declined(*requests):
    with pooled() as (_, daemon), daemon.connect() as client:
        for request in requests:
            client.send(request)
            assert client.bytes(1) == b"N"
        assert client.login().value("select 1") == "select 1"


@cases(ssl=wire.SSL_REQUEST, gss=wire.GSS_REQUEST)
def test_bytes_smuggled_behind_encryption_request(request):
    with pooled() as (_, daemon), daemon.connect() as client:
        client.send(request + wire.startup(LOGIN))
        answer = b""
        try:
            while client.fill(5):
                pass
        finally:
            answer = client.received
        assert b"R\0\0\0\x08" not in answer, answer
        assert not answer or answer[:1] in b"NE", answer
        assert b"C08P01\0" in answer, answer


def test_encryption_asked_twice():
    with pooled() as (_, daemon), daemon.connect() as client:
        client.send(wire.SSL_REQUEST)
        assert client.bytes(1) == b"N"
        client.send(wire.SSL_REQUEST)
        got = client.rest()
        assert [item.type for item in got] == ["E"], got


def login_messages(client):
    return client.read_until("ZE")


def negotiations(messages):
    return [item for item in messages if item.type == "v"]


def check_negotiation(message, unknown):
    version, count = struct.unpack_from("!II", message.body)
    assert version >> 16 == 3 and version & 0xFFFF <= 2, hex(version)
    names = message.body[8:].split(b"\0")[:-1]
    assert count == len(names) and names == unknown, message


def test_protocol_3_2():
    with pooled() as (_, daemon), daemon.connect() as client:
        client.send(wire.startup(LOGIN, wire.PROTOCOL_3_2))
        got = login_messages(client)
        assert got[-1].type == "Z" and len(negotiations(got)) <= 1, got
        assert client.value("select 1") == "select 1"


def test_protocol_from_the_future():
    with pooled() as (_, daemon), daemon.connect() as client:
        client.send(wire.startup(LOGIN, 0x0003270F))
        got = login_messages(client)
        assert got[-1].type == "Z" and len(negotiations(got)) == 1, got
        check_negotiation(negotiations(got)[0], [])
        assert client.value("select 1") == "select 1"


def test_unknown_protocol_options():
    with pooled() as (server, daemon), daemon.connect() as client:
        client.send(wire.startup(dict(LOGIN, **{"_pq_.one": "1", "_pq_.two": ""})))
        got = login_messages(client)
        assert got[-1].type == "Z" and len(negotiations(got)) == 1, got
        check_negotiation(negotiations(got)[0], [b"_pq_.one", b"_pq_.two"])
        assert client.value("select 1") == "select 1"
        assert not any(name.startswith("_pq_") for name in server.backends[0].startup)


def test_negotiation_once_when_the_login_waits():
    """The greeting needs a server connection, which is slow to come."""
    held = Gate()

    def slow(backend):
        held(backend, "wait")
        backend.login_done()

    with pooled(Scripted(login=slow)) as (_, daemon), daemon.connect() as client:
        client.send(wire.startup(dict(LOGIN, **{"_pq_.x": "1"}), 0x0003270F))
        held.wait_reached()
        time.sleep(0.2)
        held.open()
        got = login_messages(client)
        assert got[-1].type == "Z" and len(negotiations(got)) == 1, got


@cases(two=0x00020000, four=0x00040000, zero=0, one=0x00010000)
def test_protocol_refused(version):
    with pooled() as (_, daemon), daemon.connect() as client:
        client.send(wire.startup(LOGIN, version))
        got = client.rest(5)
        assert [item.type for item in got] == ["E"], got
        assert got[0].fields["C"] in ("0A000", "08P01"), got
        assert got[0].fields["S"] == "FATAL", got


@cases(length_zero=b"\0\0\0\0\0\3\0\0", length_four=b"\0\0\0\4\0\3\0\0",
       length_seven=b"\0\0\0\7\0\3\0\0", length_huge=b"\x7f\xff\xff\xff\0\3\0\0",
       length_negative=b"\xff\xff\xff\xff\0\3\0\0", above_limit=b"\0\x20\0\0\0\3\0\0",
       http=b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", tls_hello=b"\x16\3\1\2\0\1\0\1\xfc\3\3",
       no_terminator=b"\0\0\0\x0d\0\3\0\0user\0", no_value=b"\0\0\0\x0e\0\3\0\0user\0\0",
       unterminated=b"\0\0\0\x0c\0\3\0\0user", cancel_short=b"\0\0\0\x0a\x04\xd2\x16\x2e\0\0")
def test_garbage(data):
    with pooled() as (_, daemon):
        with daemon.client() as other, daemon.connect() as client:
            client.send(data)
            began = time.monotonic()
            got = client.rest(5)
            assert time.monotonic() - began < 3
            assert [item.type for item in got] in ([], ["E"]), got
            assert other.value("select 1") == "select 1"


def test_no_user():
    with pooled() as (_, daemon):
        with daemon.connect() as client:
            client.send(wire.startup({"database": "db"}))
            got = client.rest()
            assert got[0].fields["C"] == "28000" and got[0].fields["S"] == "FATAL", got


def test_database_defaults_to_user():
    with pooled() as (server, daemon):
        with daemon.connect() as client:
            client.send(wire.startup({"user": "db"}))
            client.finish_login()
            assert client.value("select 1") == "select 1"
        assert server.backends[0].startup["user"] == "db"


def test_unknown_database():
    with pooled() as (server, daemon):
        refusal = daemon.refused(database="nowhere")
        assert refusal["C"] == "3D000" and refusal["S"] == "FATAL", refusal
        assert "nowhere" in refusal["M"], refusal
        assert server.attempts == 0


def test_too_many_clients():
    with pooled(max_client_conn=2) as (_, daemon):
        first, second = daemon.client(), daemon.client()
        refusal = daemon.refused()
        assert refusal["C"] == "53300" and refusal["S"] == "FATAL", refusal
        assert first.value("select 1") == "select 1"
        second.send(wire.terminate())
        second.expect_closed()
        with daemon.client() as third:
            assert third.value("select 1") == "select 1"
        first.close()


def test_cancel_when_max_client_conn_is_reached():
    """The one connection that frees another must not be refused."""
    gate = Gate()
    with pooled(Scripted(on_query=gate), max_client_conn=1) as (server, daemon):
        with daemon.client() as client:
            answer = in_background(client.query, "wait")
            gate.wait_reached()
            client.cancel()
            server.wait_cancel()
            gate.open()
            answer()


def test_startup_cut_at_every_byte():
    packet = wire.startup(dict(LOGIN, application_name="cut"))
    with pooled() as (_, daemon):
        for position in range(1, len(packet)):
            with daemon.connect() as client:
                client.send_cut(packet, position)
                client.finish_login()
        with daemon.connect() as client:
            client.send_cut(packet, *range(1, len(packet)), pause=0.001)
            client.finish_login()
            assert client.value("select 1") == "select 1"


def test_startup_and_query_in_one_segment():
    """Allowed with trust: the client may know that it is trusted."""
    with pooled() as (_, daemon), daemon.connect() as client:
        client.send(wire.startup(LOGIN) + wire.query("select 1"))
        client.finish_login()
        assert wire.Result(client.read_until("Z")).value == "select 1"


@cases(nothing=b"", half=wire.startup(LOGIN)[:11], after_ssl=wire.SSL_REQUEST)
def test_login_timeout(data):
    with pooled(client_login_timeout="1") as (_, daemon), daemon.connect() as client:
        began = time.monotonic()
        client.send(data)
        if data == wire.SSL_REQUEST:
            assert client.bytes(1) == b"N"
        got = client.rest(6)
        took = time.monotonic() - began
        assert 0.7 < took < 4, took
        assert [item.type for item in got] in ([], ["E"]), got


def test_login_timeout_at_the_password():
    with pooled(auth_type="plain", users={"alice": "secret"},
                client_login_timeout="1") as (_, daemon), daemon.connect() as client:
        client.send(wire.startup(LOGIN))
        client.expect("R")
        got = client.rest(6)
        assert got and got[0].type == "E" and got[0].fields["S"] == "FATAL", got


def test_logged_in_clients_have_no_login_timeout():
    with pooled(client_login_timeout="0.5") as (_, daemon), daemon.client() as client:
        time.sleep(1.2)
        assert client.value("select 1") == "select 1"


def test_client_leaves_during_login():
    with pooled(auth_type="plain", users={"alice": "secret"}) as (_, daemon):
        packet = wire.startup(LOGIN)
        for position in (0, 1, 4, 8, 20, len(packet)):
            client = daemon.connect()
            client.send(packet[:position])
            if position == len(packet):
                client.expect("R")
            client.reset()
        with daemon.client(secret="secret") as client:
            assert client.value("select 1") == "select 1"


def test_half_close_is_an_end():
    with pooled() as (_, daemon), daemon.client() as client:
        client.socket.shutdown(socket.SHUT_WR)
        client.expect_closed(5)


def test_unix_socket():
    with Scripted() as server:
        folder = process.folder("socket")
        with Pgweir({"db": server.dsn()}, unix_socket_dir=folder) as daemon:
            with wire.Client(daemon.port, folder) as client:
                assert client.login().value("select 1") == "select 1"
        with open("/proc/net/unix", encoding="ascii") as sockets:
            assert folder not in sockets.read()


def test_many_logins_at_once():
    with pooled(pool_size=2) as (server, daemon):
        clients = [daemon.connect() for _ in range(200)]
        for client in clients:
            client.send(wire.startup(LOGIN))
        for client in clients:
            client.finish_login()
        assert len({(client.pid, client.key) for client in clients}) == len(clients)
        for client in clients:
            client.send(wire.query("select 1"))
        for client in clients:
            assert wire.Result(client.read_until("Z")).value == "select 1"
            client.close()
        assert len(server.backends) <= 2, len(server.backends)
