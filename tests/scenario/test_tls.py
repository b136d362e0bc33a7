"""TLS between clients and pgweir, also with bytes that no driver would send."""

import contextlib
import hashlib
import os
import re
import socket
import ssl
import struct
import time

from common import in_background, pooled

from harness import pgweir, process, wire
from harness.certificates import Authority
from harness.testing import cases

TLS12 = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
TLS13 = (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)
SECRET = "pass wörd"
GSS_REQUEST = struct.pack("!II", 8, 80877104)
STARTUP = wire.startup({"user": "alice", "database": "db"})


def wrap(client, context):
    """The handshake on a connection that was answered S."""
    assert client.received == b"", client.received
    client.socket.settimeout(10)
    client.socket = context.wrap_socket(client.socket, server_hostname="localhost")
    return client


def ask(daemon, request=wire.SSL_REQUEST):
    client = daemon.connect()
    client.send(request)
    return client, client.bytes(1)


def secured(daemon, context):
    client, answer = ask(daemon)
    assert answer == b"S", answer
    return wrap(client, context)


def login(daemon, context, user="alice", secret=None, **parameters):
    return secured(daemon, context).login(user, "db", secret, **parameters)


def refusal(client, user="alice", secret=None):
    try:
        client.login(user, "db", secret)
    except wire.ServerError as refused:
        return refused.fields
    raise AssertionError("the login was accepted")


@contextlib.contextmanager
def tls(mode="require", authority=None, **settings):
    authority = authority or Authority()
    with pooled(**{**authority.settings(mode), **settings}) as (server, daemon):
        yield authority, server, daemon


def assert_serves(daemon, context):
    with login(daemon, context) as client:
        assert client.value("select 1") == "select 1"


@cases(new=(TLS13,), old=(TLS12,))
def test_queries_through_tls(versions):
    with tls() as (authority, server, daemon):
        context = authority.context(versions=versions)
        with login(daemon, context) as one, login(daemon, context) as two:
            for number in range(5):
                assert one.value(f"select {number}") == f"select {number}"
                assert two.value(f"select {number}") == f"select {number}"
            assert one.socket.version() == versions[0].name.replace("_", "."), one.socket.version()
            daemon.wait_log(rf"login succeeded tls={re.escape(one.socket.version())}/{one.socket.cipher()[0]} ")
        assert server.attempts == 1, "both clients on one server connection"


@cases(disable=("disable", b"N"), allow=("allow", b"S"), prefer=("prefer", b"S"), require=("require", b"S"))
def test_what_is_answered(mode, expected):
    with tls(mode) as (_, _, daemon):
        client, answer = ask(daemon)
        client.close()
        assert answer == expected
        # GSS is never there, and its refusal does not stand in the way of TLS.
        client, answer = ask(daemon, GSS_REQUEST)
        assert answer == b"N"
        client.send(wire.SSL_REQUEST)
        assert client.bytes(1) == expected
        client.close()


@cases(allow="allow", prefer="prefer")
def test_plain_clients_may_come(mode):
    with tls(mode) as (authority, _, daemon):
        with daemon.client() as client:
            assert client.value("select 1") == "select 1"
        assert_serves(daemon, authority.context())


def test_plain_clients_are_refused_when_required():
    with tls() as (authority, server, daemon):
        refused = daemon.refused()
        assert refused["S"] == "FATAL" and refused["C"] == "28000", refused
        assert "requires SSL" in refused["M"] and "alice" in refused["M"], refused
        assert server.attempts == 0
        assert_serves(daemon, authority.context())


def test_unix_sockets_have_no_tls():
    folder = process.folder("socket")
    os.chmod(folder, 0o777)
    with tls(unix_socket_dir=folder) as (_, _, daemon):
        with wire.Client(daemon.port, folder) as client:
            client.send(wire.SSL_REQUEST)
            assert client.bytes(1) == b"N"
            client.login()
            assert client.value("select 1") == "select 1"


# --- what somebody between client and pgweir could do --------------------------------------------


@cases(startup=STARTUP, half=STARTUP[:20], one=b"\0", query=STARTUP + wire.query("drop table t"),
       hello=b"\x16\3\1\0\5hello", again=wire.SSL_REQUEST)
def test_bytes_behind_the_request_are_refused(smuggled):
    with tls() as (authority, server, daemon):
        with daemon.connect() as client:
            client.send(wire.SSL_REQUEST + smuggled)
            got = client.rest()
            assert [item.type for item in got] == ["E"], got
            assert got[0].fields["C"] == "08P01", got
        assert server.attempts == 0
        assert_serves(daemon, authority.context())


@cases(startup=STARTUP, http=b"GET / HTTP/1.1\r\n\r\n", zeros=bytes(100),
       huge=b"\x16\3\1\xff\xff" + bytes(70000), alert=b"\x15\3\1\0\2\2\x28")
def test_garbage_after_the_answer(garbage):
    with tls() as (authority, server, daemon):
        client, answer = ask(daemon)
        assert answer == b"S"
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            client.send(garbage)
        with contextlib.suppress(ConnectionError, wire.Closed):
            assert client.fill(10) is False or client.received[:1] == b"\x15", client.received
        client.close()
        daemon.wait_log("login failed: reason=\\S+ closing because: TLS handshake failed: ")
        assert server.attempts == 0
        assert_serves(daemon, authority.context())


def test_handshake_then_reset():
    with tls() as (authority, _, daemon):
        for _ in range(5):
            client = secured(daemon, authority.context())
            # A wrapped socket resets like any other.
            client.reset()
        for _ in range(5):
            client, _ = ask(daemon)
            client.send(b"\x16\3\1\2\0\1\0\1\xfc\3\3")
            client.reset()
        daemon.wait_log("TLS handshake failed")
        assert_serves(daemon, authority.context())


def test_slow_handshakes_hit_the_login_timeout():
    with tls(client_login_timeout="1") as (authority, _, daemon):
        began = time.monotonic()
        quiet, _ = ask(daemon)
        half, _ = ask(daemon)
        half.send(b"\x16\3\1\2\0\1\0\1\xfc\3\3")
        done = secured(daemon, authority.context())  # says nothing after its handshake
        for client in (quiet, half):
            # Nothing plain is said on a connection that is to be encrypted.
            with contextlib.suppress(ConnectionError):
                client.fill(10)
            assert client.received in (b"",) or client.received[:1] == b"\x15", client.received
        last = done.rest()
        assert last and last[-1].fields["C"] == "57014", last
        assert time.monotonic() - began >= 0.9
        assert_serves(daemon, authority.context())


def test_encryption_cannot_be_asked_for_twice():
    with tls() as (authority, _, daemon):
        with secured(daemon, authority.context()) as client:
            client.send(wire.SSL_REQUEST)
            assert client.read().fields["C"] == "08P01"


def test_garbage_in_a_secured_connection():
    with tls() as (authority, server, daemon):
        client = login(daemon, authority.context())
        assert client.value("select 1") == "select 1"
        with socket.socket(fileno=os.dup(client.socket.fileno())) as below:
            below.sendall(wire.query("select 2"))
        with contextlib.suppress(ConnectionError, ssl.SSLError, wire.Closed):
            while client.fill(10):
                pass
        client.close()
        assert_serves(daemon, authority.context())


# --- direct TLS ----------------------------------------------------------------------------------


def direct(daemon, context, protocols):
    client = daemon.connect()
    if protocols:
        context.set_alpn_protocols(protocols)
    return wrap(client, context)


def test_direct_tls():
    with tls() as (authority, _, daemon):
        with direct(daemon, authority.context(), ["postgresql"]) as client:
            assert client.socket.selected_alpn_protocol() == "postgresql"
            client.login()
            assert client.value("select 1") == "select 1"


@cases(none=(), other=("http/1.1",))
def test_direct_tls_needs_its_protocol(*protocols):
    with tls() as (authority, server, daemon):
        with contextlib.suppress(ssl.SSLError, ConnectionError, wire.Closed):
            client = direct(daemon, authority.context(), list(protocols))
            client.login()
            raise AssertionError("accepted")
        daemon.wait_log("TLS handshake failed: ")
        assert server.attempts == 0


def test_direct_tls_only_at_the_beginning():
    with tls() as (authority, _, daemon):
        client, answer = ask(daemon, GSS_REQUEST)
        assert answer == b"N"
        client.send(b"\x16\3\1\2\0\1\0\1\xfc\3\3")
        assert client.read().fields["C"] == "08P01"


# --- certificates --------------------------------------------------------------------------------


def test_client_certificates():
    authority = Authority()
    other = Authority("other")
    alice = authority.issue("alice", "alice")
    forged = other.issue("alice", "forged")
    with tls("verify-ca", authority, client_tls_ca_file=authority.certificate) as (_, server, daemon):
        for user in ("alice", "bob"):
            with login(daemon, authority.context(alice), user) as client:
                assert client.value("select 1") == "select 1"
        for identity in (None, forged):
            before = server.attempts
            try:
                login(daemon, authority.context(identity))
            except (ssl.SSLError, ConnectionError, wire.Closed):
                pass
            else:
                raise AssertionError("accepted")
            assert server.attempts == before
        daemon.wait_log("peer did not return a certificate")
        daemon.wait_log("certificate verify failed: ")


def test_common_name_is_the_user_with_verify_full():
    authority = Authority()
    alice = authority.issue("alice", "alice")
    with tls("verify-full", authority, client_tls_ca_file=authority.certificate) as (_, server, daemon):
        with login(daemon, authority.context(alice)) as client:
            assert client.value("select 1") == "select 1"
        with secured(daemon, authority.context(alice)) as client:
            refused = refusal(client, "bob")
            assert refused["C"] == "28000" and "bob" in refused["M"], refused


def test_reload_takes_new_files_for_new_connections():
    authority = Authority()
    with tls("require", authority) as (_, _, daemon):
        old = login(daemon, authority.context())
        before = old.socket.getpeercert(binary_form=True)
        authority.issue("localhost", "server")
        daemon.reload()
        daemon.wait_log("configuration reloaded")
        with login(daemon, authority.context()) as new:
            assert new.socket.getpeercert(binary_form=True) != before
            assert new.value("select 1") == "select 1"
        assert old.value("select 2") == "select 2"
        kept = authority.path("server.crt")
        with open(kept, "w", encoding="ascii") as file:
            file.write("nothing\n")
        daemon.reload()
        daemon.wait_log(r"the old configuration stays: client_tls_sslmode: TLS certificate file \S+: ")
        assert old.value("select 3") == "select 3"
        assert_serves(daemon, authority.context())


def test_a_key_that_others_can_read_is_refused():
    authority = Authority()
    settings = authority.settings()
    os.chmod(authority.path("server.key"), 0o644)
    daemon = pgweir.Pgweir({}, start=False, **settings)
    status, output = pgweir.run(daemon.ini)
    assert status == 1 and "group or world access" in output and "server.key" in output, output
    status, output = pgweir.run("--check", daemon.ini)
    assert status == 1 and "group or world access" in output, output


# --- channel binding -----------------------------------------------------------------------------


def offered(client):
    client.send(wire.startup({"user": "alice", "database": "db"}))
    got = client.read()
    assert got.type == "R" and got.body[:4] == b"\0\0\0\x0a", got
    return got.body[4:].split(b"\0")[:-2]


def endpoint(client):
    return hashlib.sha256(client.socket.getpeercert(binary_form=True)).digest()


def scram(**settings):
    return tls("prefer", auth_type="scram-sha-256", users={"alice": wire.scram_secret(SECRET)}, **settings)


def test_channel_binding():
    with scram() as (authority, _, daemon):
        with daemon.connect() as plain:
            assert offered(plain) == [b"SCRAM-SHA-256"]
        with secured(daemon, authority.context()) as client:
            assert offered(client) == [b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-256"]
            wire.scram_client(client, SECRET, mechanism="SCRAM-SHA-256-PLUS",
                              header=b"p=tls-server-end-point,,", endpoint=endpoint(client))
            client.finish_login()
            assert client.value("select 1") == "select 1"
        # Who does not know of it may go without.
        with secured(daemon, authority.context()) as client:
            client.login(secret=SECRET)
            assert client.value("select 1") == "select 1"


PLUS = "SCRAM-SHA-256-PLUS"
BOUND = b"p=tls-server-end-point,,"


@cases(downgraded=("SCRAM-SHA-256", b"y,,", False, "negotiation error"),
       unbound_plus=(PLUS, b"n,,", False, "without SCRAM channel binding"),
       denied_plus=(PLUS, b"y,,", False, "without SCRAM channel binding"),
       bound_plain=("SCRAM-SHA-256", BOUND, True, "without having selected"),
       other_kind=(PLUS, b"p=tls-unique,,", True, "not supported"),
       other_certificate=(PLUS, BOUND, False, "binding data differs"))
def test_channel_binding_that_does_not_fit(mechanism, header, right, problem):
    with scram() as (authority, server, daemon):
        with secured(daemon, authority.context()) as client:
            offered(client)
            bound = endpoint(client) if right else bytes(32) if header == BOUND else b""
            try:
                wire.scram_client(client, SECRET, mechanism=mechanism, header=header, endpoint=bound)
            except wire.ServerError as refused:
                assert refused.fields["C"] == "08P01" and problem in refused.fields["M"], refused.fields
            else:
                raise AssertionError("accepted")
        assert server.attempts == 0


# --- volume --------------------------------------------------------------------------------------


def test_cancel_over_tls():
    with tls() as (authority, _, daemon):
        with login(daemon, authority.context()) as client:
            with secured(daemon, authority.context()) as other:
                other.send(wire.cancel_request(client.pid, client.key))
                other.expect_closed()
            assert client.value("select 1") == "select 1"


def test_pipelines_and_large_messages():
    with tls() as (authority, _, daemon):
        with login(daemon, authority.context()) as client:
            text = "select '" + "x" * 300_000 + "'"
            join = in_background(client.send, b"".join(wire.query(text) for _ in range(10)))
            for _ in range(10):
                assert client.results(1, 20)[0].value == text
            join()


def test_clients_that_come_at_once():
    with tls() as (authority, server, daemon):
        context = authority.context()
        clients = []
        for _ in range(40):
            client, answer = ask(daemon)
            assert answer == b"S"
            clients.append(client)
        joins = [in_background(lambda one=one: wrap(one, context).login()) for one in clients]
        for join in joins:
            assert join().value("select 1") == "select 1"
        for client in clients:
            client.close()
        assert server.attempts == 1
