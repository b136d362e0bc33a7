"""What those may do who have proven nothing: how often and how many they come, how long they take, how
much they send, how fast they guess."""

import contextlib
import os
import socket
import ssl
import statistics
import struct
import time

from common import in_background, pooled

from harness import process, wire
from harness.certificates import Authority
from harness.testing import Skip, cases, timeout

LOGIN = {"user": "alice", "database": "db"}
STARTUP = wire.startup(LOGIN)


def come(daemon, source="127.0.0.1"):
    """A connection from another address of this machine."""
    sock = socket.create_connection(("127.0.0.1", daemon.port), 10, (source, 0))
    client = wire.Peer(sock)
    client.__class__ = wire.Client
    client.target, client.parameters, client.notices = (daemon.port, "127.0.0.1"), {}, []
    return client


def closes(daemon, reason):
    return daemon.counters().get("reason_" + reason, 0)


def outcome(client, user="alice", secret=None, database="db"):
    """None for a login, else the fields of the error."""
    try:
        client.login(user, database, secret)
    except wire.ServerError as refused:
        return refused.fields
    except (wire.Closed, ConnectionError):
        return {"C": "closed"}
    return None


# --- connections per second -----------------------------------------------------------------------


def test_connection_rate():
    """Beyond the burst of one address: an error in words, and nobody else notices."""
    with pooled(connection_rate=1, connection_rate_burst=5) as (_, daemon):
        time.sleep(5.2)  # what the harness has used up
        with contextlib.ExitStack() as stack:
            found = [outcome(stack.enter_context(come(daemon, "127.0.0.2"))) for _ in range(8)]
            assert found[:5] == [None] * 5, found
            for refused in found[5:]:
                assert refused["C"] == "53300" and refused["S"] == "FATAL", found
                assert "connection_rate" in refused["M"], refused
            assert outcome(stack.enter_context(come(daemon, "127.0.0.3"))) is None
            daemon.wait_log(r"127\.0\.0\.2:\d+.*reason=connection_rate.*refused=1")
            assert daemon.read_log().count("reason=connection_rate") == 1, "one line for all of them"
            assert closes(daemon, "connection_rate") == 3
            time.sleep(1.2)
            assert outcome(stack.enter_context(come(daemon, "127.0.0.2"))) is None
        daemon.settings["connection_rate"] = 0
        daemon.reload()
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                assert outcome(stack.enter_context(come(daemon, "127.0.0.2"))) is None


def test_connection_rate_does_not_hold_for_unix_sockets():
    folder = process.folder("socket")
    with pooled(connection_rate=1, connection_rate_burst=1, unix_socket_dir=folder) as (_, daemon):
        for _ in range(10):
            with wire.Client(daemon.port, folder) as client:
                assert client.login().value("select 1") == "select 1"


# --- places ---------------------------------------------------------------------------------------


@timeout(60)
def test_half_open_connections_keep_nobody_out():
    """Far more than there are places: they are dropped, oldest first, for those who come to log in."""
    with pooled(max_client_conn=10, client_login_timeout="60") as (_, daemon):
        with contextlib.ExitStack() as stack:
            silent = [stack.enter_context(come(daemon)) for _ in range(110)]
            for client in silent[::2]:
                client.send(STARTUP[:10])
            time.sleep(1.2)
            before = daemon.descriptors()
            assert before > 110, before
            for _ in range(10):
                assert outcome(stack.enter_context(come(daemon))) is None
            refused = outcome(stack.enter_context(come(daemon)))
            assert refused["C"] == "53300" and "max_client_conn" in refused["M"], refused
            # The first ones had to go, and were told why.
            got = silent[0].rest(5)
            assert [item.type for item in got] == ["E"], got
            assert got[0].fields["C"] == "53300" and "not logged in" in got[0].fields["M"], got
            silent[-1].expect_silence()
            assert daemon.descriptors() <= before + 15, (before, daemon.descriptors())
            daemon.wait_log("reason=too_many_logins")


def test_a_herd_that_comes_at_once_is_not_thrown_out():
    """Who has just come is not dropped for others; what does not fit is refused and can come again."""
    with pooled(max_client_conn=20) as (_, daemon):
        with contextlib.ExitStack() as stack:
            herd = [stack.enter_context(come(daemon)) for _ in range(200)]
            for client in herd:
                with contextlib.suppress(OSError):
                    client.send(STARTUP)
            found = []
            for client in herd:
                try:
                    client.finish_login()
                    found.append(None)
                except wire.ServerError as refused:
                    found.append(refused.fields["C"])
            assert found.count(None) == 20 and set(found) == {None, "53300"}, found


def console(daemon, user, secret="geheim", **more):
    return daemon.client(user, "pgweir", secret, **more)


def test_the_console_keeps_places_for_admins():
    users = {name: "geheim" for name in ("alice", "boss", "monitor", "stranger")}
    folder = process.folder("socket")
    with pooled(auth_type="scram-sha-256", users=users, admin_users="boss", stats_users="monitor",
                max_client_conn=2, max_console_connections=5, reserved_admin_connections=2,
                unix_socket_dir=folder) as (_, daemon), contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(daemon.client(secret="geheim"))
        assert daemon.refused(secret="geheim")["C"] == "53300"
        for _ in range(3):
            stack.enter_context(console(daemon, "monitor"))
        refused = daemon.refused("monitor", "pgweir", "geheim")
        assert refused["C"] == "53300" and "max_console_connections" in refused["M"], refused
        for _ in range(2):
            assert stack.enter_context(console(daemon, "boss")).query("show version").rows
        assert daemon.refused("boss", "pgweir", "geheim")["C"] == "53300"
        # The system's own user could do as he likes with the process anyway.
        own = None
        if os.geteuid() == 0:
            os.seteuid(daemon.identity["user"])
        try:
            own = stack.enter_context(wire.Client(daemon.port, folder)).login("pgweir", "pgweir")
        finally:
            if os.geteuid() != os.getuid():
                os.seteuid(0)
        assert own.query("show version").rows


# --- how long they may take -----------------------------------------------------------------------


def client_hello():
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def password_due(client):
    client.send(STARTUP)
    client.expect("R")
    return wire.password(wire.string("x" * 200))


def sasl_due(client):
    client.send(STARTUP)
    client.expect("R")
    first = b"n,,n=,r=" + b"a" * 200
    return wire.password(wire.string("SCRAM-SHA-256") + struct.pack("!I", len(first)) + first)


def hello_due(client):
    client.send(wire.SSL_REQUEST)
    assert client.bytes(1) == b"S"
    return client_hello()


SLOW = {
    "ssl_request": ("trust", lambda _: wire.SSL_REQUEST),
    "startup": ("trust", lambda _: wire.startup(dict(LOGIN, options="-c a.b=" + "x" * 200))),
    "cancel": ("trust", lambda _: wire.cancel_request(1, b"k" * 200)),
    "password": ("plain", password_due),
    "md5": ("md5", password_due),
    "sasl": ("scram-sha-256", sasl_due),
    "client_hello": ("tls", hello_due),
    "direct_client_hello": ("tls", lambda _: client_hello()),
}


@cases(**SLOW)
def test_slow_loris(auth, prepare):
    """One byte at a time gains no time, and nobody else waits."""
    settings = {"auth_type": auth}
    if auth == "tls":
        settings = Authority().settings("allow")
    elif auth != "trust":
        settings["users"] = {"alice": "geheim"}
    with pooled(client_login_timeout="1", **settings) as (_, daemon), daemon.connect() as slow:
        began = time.monotonic()
        closed = False
        slow.socket.setblocking(True)
        for byte in prepare(slow):
            try:
                slow.socket.send(bytes([byte]))
                time.sleep(0.05)
                slow.socket.settimeout(0.001)
                with contextlib.suppress(TimeoutError):
                    closed = not slow.socket.recv(4096, socket.MSG_PEEK) or closed
            except OSError:
                closed = True
            if closed or time.monotonic() - began > 6:
                break
        got = b""
        with contextlib.suppress(OSError):
            while slow.fill(3):
                pass
            got = slow.received
        took = time.monotonic() - began
        if prepare is SLOW["ssl_request"][1]:
            assert got[:1] == b"N", got  # eight bytes are there in time, and then nothing comes
        assert 0.9 < took < 3.5, took
        daemon.wait_log("reason=login_timeout")
        with daemon.client(secret="geheim") as other:
            assert other.value("select 1") == "select 1"


@timeout(60)
def test_many_half_open_connections_all_end():
    with pooled(client_login_timeout="1", max_client_conn=500, auth_type="plain",
                users={"alice": "geheim"}) as (_, daemon):
        before = daemon.descriptors()
        pieces = [b"", b"\0", STARTUP[:7], STARTUP[:-1], STARTUP, STARTUP + b"p\0\0\0\x20abc"]
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(come(daemon)) for _ in range(300)]
            for number, client in enumerate(clients):
                client.send(pieces[number % len(pieces)])
            process.wait_until(lambda: daemon.descriptors() <= before, "all are closed", 10)
            assert closes(daemon, "login_timeout") >= 300
        with daemon.client(secret="geheim") as client:
            assert client.value("select 1") == "select 1"


def test_a_shorter_login_timeout_holds_for_who_is_there_already():
    with pooled(client_login_timeout="0") as (_, daemon), daemon.connect() as first, \
            daemon.connect() as second:
        first.send(STARTUP[:9])
        time.sleep(0.3)
        first.expect_silence()
        daemon.settings["client_login_timeout"] = "1"
        daemon.reload()
        for client in (first, second):
            got = client.rest(5)
            assert [item.type for item in got] == ["E"] and got[0].fields["C"] == "57014", got


# --- how much they may send -----------------------------------------------------------------------


@cases(startup=("trust", struct.pack("!II", 10005, 196608)),
       startup_megabyte=("trust", struct.pack("!II", 1000000, 196608)),
       startup_negative=("trust", struct.pack("!iI", -1, 196608)),
       password=("plain", b"p" + struct.pack("!I", 70000)),
       md5=("md5", b"p" + struct.pack("!I", 5000)), sasl=("scram-sha-256", b"p" + struct.pack("!I", 5000)))
def test_long_before_login(auth, header):
    """The length alone is enough: what belongs to it is not waited for."""
    with pooled(auth_type=auth, users={"alice": "geheim"}) as (_, daemon), daemon.connect() as client:
        if auth != "trust":
            client.send(STARTUP)
            client.expect("R")
        client.send(header)
        got = client.rest(3)
        assert [item.type for item in got] == ["E"] and got[0].fields["C"] == "08P01", got
        daemon.wait_log("reason=protocol")


def test_longest_startup_packet_and_password():
    """As long as PostgreSQL takes them, in pieces."""
    secret = "p" * 20000
    with pooled(auth_type="plain", users={"alice": secret}) as (_, daemon), daemon.connect() as client:
        packet = wire.startup(dict(LOGIN, application_name="a"))
        packet = wire.startup(dict(LOGIN, application_name="a" * (10005 - len(packet))))
        assert len(packet) == 10004
        client.send_cut(packet, 5000)
        client.expect("R")
        client.send_cut(wire.password(wire.string(secret)), 3, 9000, 15000)
        client.expect("R")
        client.read_until("Z")
        assert client.value("select 1") == "select 1"


def test_flood_behind_the_startup_packet():
    """While the answer is awaited nothing is due: what comes is kept up to the length of one."""
    with pooled(auth_type="plain", users={"alice": "geheim"}) as (_, daemon), daemon.connect() as client:
        client.send(STARTUP)
        client.expect("R")
        with contextlib.suppress(OSError):
            for _ in range(100):
                client.send(b"p\0\0\xff\xff" + b"x" * 30000)
        client.rest(5)
        daemon.wait_log("reason=(protocol|auth_failed)")


def memory_of(daemon, pieces, count=200):
    """Bytes of memory for each of so many connections that have sent this much."""
    def grow(number):
        clients = []
        for _ in range(number):
            client = daemon.connect()
            for piece in pieces:
                client.send(piece)
                if piece == wire.SSL_REQUEST:
                    assert client.bytes(1) == b"S"
                elif piece == STARTUP:
                    client.expect("R")
            clients.append(client)
        time.sleep(0.5)
        return clients

    warm = grow(20)
    before = daemon.memory()
    clients = grow(count)
    each = (daemon.memory() - before) / count
    for client in warm + clients:
        client.close()
    return each


LONGEST = wire.startup(dict(LOGIN, x="y" * 9900))[:-1]


@cases(silence=([], 2000), startup=([LONGEST], 20000),
       password=([STARTUP, b"p\0\0\xff\xff" + b"x" * 65000], 140000),
       half_client_hello=([wire.SSL_REQUEST, client_hello()[:-1]], 80000),
       client_hello=([wire.SSL_REQUEST, client_hello()], 100000))
def test_memory_before_login(pieces, limit):
    """What one that is not logged in can make the daemon hold, in a build without sanitizers."""
    plain = os.environ.get("PGWEIR_PLAIN_BUILD")
    if plain is None:
        raise Skip("needs a build without sanitizers in PGWEIR_PLAIN_BUILD")
    usual = os.environ.get("PGWEIR_BUILD")
    os.environ["PGWEIR_BUILD"] = plain
    try:
        with pooled(auth_type="plain", users={"alice": "geheim"}, max_client_conn=2000,
                    **Authority().settings("allow")) as (_, daemon):
            each = memory_of(daemon, pieces)
            assert each < limit, each
    finally:
        os.environ["PGWEIR_BUILD"] = usual


# --- how fast they may guess ----------------------------------------------------------------------


@contextlib.contextmanager
def guarded(auth="plain", **settings):
    users = {"alice": "geheim", "bob": "geheim"}
    settings.setdefault("auth_failure_delay", "200ms")
    settings.setdefault("auth_failure_delay_max", "2s")
    with pooled(auth_type=auth, users=users, **settings) as (server, daemon):
        yield server, daemon


def try_login(daemon, user="alice", secret="wrong", source="127.0.0.1"):
    """(what came of it, seconds)"""
    began = time.monotonic()
    with come(daemon, source) as client:
        refused = outcome(client, user, secret)
    return refused and refused["C"], time.monotonic() - began


@timeout(60)
@cases(plain="plain", md5="md5", scram="scram-sha-256")
def test_failed_logins_wait_longer_and_longer(auth):
    with guarded(auth) as (_, daemon):
        took = []
        for _ in range(7):
            refused, seconds = try_login(daemon)
            assert refused == "28P01", refused
            took.append(seconds)
        assert max(took[:3]) < 0.2, took
        for seconds, least in zip(took[3:], (0.2, 0.4, 0.8, 1.6)):
            assert least - 0.02 < seconds < least + 0.6, took
        assert daemon.counters()["login_delays"] == 4
        # Another user, and the same one from elsewhere, do not wait; nor does the loop.
        for user, source in (("bob", "127.0.0.1"), ("alice", "127.0.0.2")):
            refused, seconds = try_login(daemon, user, "geheim", source)
            assert refused is None and seconds < 0.3, (user, refused, seconds)
        # The right password is good again once the time is over.
        refused, seconds = try_login(daemon, secret="geheim")
        assert refused is None and seconds < 2.5, (refused, seconds)


def test_who_hangs_up_waits_with_the_next_try():
    """Success is at once and failure late: without this, who does not wait for the answer guesses as
    fast as he likes."""
    with guarded(auth_failure_delay="1s") as (_, daemon):
        for _ in range(3):
            try_login(daemon)
        with come(daemon) as client:
            client.send(STARTUP)
            client.expect("R")
            client.send(wire.password(b"wrong\0"))
            time.sleep(0.2)
        with come(daemon) as client:
            began = time.monotonic()
            client.send(STARTUP)
            client.expect("R")  # not even asked before
            assert 0.5 < time.monotonic() - began < 1.5, time.monotonic() - began


@timeout(60)
def test_many_at_once_guess_no_faster():
    """Only so many wait for one user at one address; the others are told so."""
    with guarded(auth_failure_delay="1s", auth_failure_delay_max="1s") as (_, daemon):
        for _ in range(3):
            try_login(daemon)
        waiting = in_background(try_login, daemon)
        process.wait_until(lambda: daemon.counters()["login_delays"] == 1, "one waits")
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(come(daemon)) for _ in range(40)]
            for client in clients:
                client.send(STARTUP)
            got = [client.read(5) for client in clients]
            asked = [item for item in got if item.type == "R"]
            refused = [item.fields for item in got if item.type == "E"]
            assert len(asked) == 9, got
            assert {fields["C"] for fields in refused} == {"53300"}, refused
            assert "auth_failure_delay" in refused[0]["M"], refused
            assert closes(daemon, "too_many_failures") == len(refused)
        assert waiting()[0] == "28P01"


@timeout(60)
def test_delayed_logins_hold_no_place():
    with guarded(auth_failure_delay="2s", auth_failure_delay_max="2s", max_client_conn=2) as (_, daemon):
        waits = [in_background(try_login, daemon) for _ in range(8)]
        process.wait_until(lambda: daemon.counters()["login_delays"] >= 5, "five wait")
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                began = time.monotonic()
                client = stack.enter_context(come(daemon, "127.0.0.2"))
                assert outcome(client, secret="geheim") is None
                assert client.value("select 1") == "select 1"
                assert time.monotonic() - began < 1
        for wait in waits:
            assert wait()[0] == "28P01"


@timeout(90)
@cases(plain="plain", md5="md5", scram="scram-sha-256")
def test_known_and_unknown_users_wait_alike(auth):
    with guarded(auth, auth_failure_delay="300ms", auth_failure_delay_max="600ms") as (_, daemon):
        took = {user: [try_login(daemon, user)[1] for _ in range(6)] for user in ("alice", "nobody")}
        for known, unknown in zip(took["alice"], took["nobody"]):
            assert abs(known - unknown) < 0.2, took
        assert statistics.fsum(took["nobody"][3:]) > 1.4, took


def test_delays_are_off_when_set_to_nothing():
    with guarded(auth_failure_delay="0") as (_, daemon):
        began = time.monotonic()
        for _ in range(20):
            assert try_login(daemon)[0] == "28P01"
        assert time.monotonic() - began < 4


def test_the_console_is_guarded_too():
    with guarded(admin_users="alice") as (_, daemon):
        for number in range(5):
            began = time.monotonic()
            assert daemon.refused("alice", "pgweir", "wrong")["C"] == "28P01"
            took = time.monotonic() - began
        assert took > 0.35, took


def test_shutting_down_does_not_wait_for_delays():
    with guarded(auth_failure_delay="10s", auth_failure_delay_max="10s") as (_, daemon):
        for _ in range(3):
            try_login(daemon)
        waiting = in_background(try_login, daemon)
        process.wait_until(lambda: daemon.counters()["login_delays"] == 1, "one waits")
        began = time.monotonic()
        daemon.stop()
        assert time.monotonic() - began < 3
        assert waiting()[0] in ("57P03", "closed")


# --- bad handshakes -------------------------------------------------------------------------------


GARBAGE = {
    "http": b"GET / HTTP/1.1\r\n\r\n", "ssh": b"SSH-2.0-OpenSSH_9.2\r\n", "zeroes": bytes(64),
    "smb": b"\0\0\0\x85\xffSMBr\0\0\0\0", "rdp": b"\3\0\0\x13\x0e\xe0\0\0\0\0\0\1\0\x08\0\3\0\0\0",
    "old_protocol": struct.pack("!II", 8, 0x00020000), "short_cancel": struct.pack("!III", 12, 80877102, 1),
    "no_end": b"\0\0\0\x0d\0\3\0\0user\0", "smuggled": wire.SSL_REQUEST + STARTUP,
}


@cases(**GARBAGE)
def test_bad_handshake(data):
    """That connection alone, with the reason in the log, an error for the peer, and a counter."""
    with pooled() as (_, daemon), daemon.client() as other:
        before = closes(daemon, "protocol")
        with daemon.connect() as client:
            client.send(data)
            got = b""
            with contextlib.suppress(OSError):
                while client.fill(5):
                    pass
            got = client.received
            assert b"FATAL" in got and b"C08P01\0" in got, got
        daemon.wait_log("login failed.*reason=protocol closing because: ")
        assert closes(daemon, "protocol") == before + 1
        assert other.value("select 1") == "select 1"


# OpenSSL leaves what is no record of TLS at all without an alert.
@cases(hello=(b"\x16\3\1\0\5hello", True), zeroes=(bytes(64), False), alert=(b"\x15\3\3\0\2\2\x28", True),
       http=(b"GET / HTTP/1.1\r\n\r\n", False))
def test_bad_tls_handshake(data, answered):
    authority = Authority()
    with pooled(**authority.settings("allow")) as (_, daemon), daemon.client() as other:
        before = closes(daemon, "tls_failed")
        with daemon.connect() as client:
            client.send(wire.SSL_REQUEST)
            assert client.bytes(1) == b"S"
            client.send(data)
            with contextlib.suppress(OSError):
                while client.fill(5):
                    pass
            assert client.received[:1] == (b"\x15" if answered else b""), client.received
        found = daemon.wait_log("login failed.*reason=tls_failed closing because: (.*)")
        assert found.group(1).count(":") >= 1, "and OpenSSL's own word for it"
        assert closes(daemon, "tls_failed") == before + 1
        assert other.value("select 1") == "select 1"
