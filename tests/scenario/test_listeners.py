"""Ten thousand listeners on one server connection (listen_hub)."""

import os
import resource
import select
import socket
import struct
import time

from harness import pgweir, postgres, wire
from harness.testing import Skip, timeout

LISTENERS = int(os.environ.get("PGWEIR_LISTENERS", "10000"))
AT_ONCE = 200


def raise_descriptor_limit(wanted):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Skip(f"at most {hard} descriptors, {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Crowd:
    """Many clients that are read by one thread. Each listens to one channel; what it is told is kept
    as bytes."""

    def __init__(self, port):
        self.port = port
        self.poll = select.epoll()
        self.clients = {}

    def read(self, until, seconds):
        limit = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < limit, "some are not told"
            for descriptor, _ in self.poll.poll(1):
                client = self.clients[descriptor]
                data = client["socket"].recv(1 << 16)
                assert data, "one is closed"
                client["got"] += data
                self.bytes += len(data)

    def join(self, count, channel):
        """So many more, who listen and have been told so."""
        self.bytes = 0
        for begun in range(0, count, AT_ONCE):
            group = []
            for _ in range(min(AT_ONCE, count - begun)):
                connection = socket.create_connection(("127.0.0.1", self.port))
                connection.sendall(wire.startup({"user": "alice", "database": "db"}) + wire.query(f"listen {channel}"))
                client = {"socket": connection, "got": b""}
                self.clients[connection.fileno()] = client
                self.poll.register(connection.fileno(), select.EPOLLIN)
                group.append(client)
            ready = wire.ready("I")
            self.read(lambda: all(client["got"].count(ready) == 2 for client in group), 60)
            for client in group:
                assert b"LISTEN" in client["got"], client["got"]
                client["got"] = b""

    def expect(self, data, seconds=60):
        """Everybody gets exactly these bytes next."""
        self.bytes = 0
        self.read(lambda: self.bytes >= len(data) * len(self.clients), seconds)
        wrong = [client["got"] for client in self.clients.values() if client["got"] != data]
        assert not wrong, f"{len(wrong)} got something else: {wrong[0][:200]!r}"
        for client in self.clients.values():
            client["got"] = b""

    def close(self):
        for client in self.clients.values():
            client["socket"].close()
        self.clients.clear()


def notification(pid, channel, payload):
    return wire.message("A", struct.pack("!I", pid) + wire.string(channel) + wire.string(payload))


def hubs(daemon):
    with daemon.client("boss", "pgweir") as console:
        result = console.query("SHOW HUBS")
        names = result.messages[0].body  # only their order is needed
        assert b"listeners" in names
        return result.rows


@timeout(120)
def test_ten_thousand_listeners():
    """One server connection serves them all, another one listens. Each is told everything, in order; a
    turn of the loop stays short; a listener costs little, as a build without sanitizers shows."""
    plain, usual = os.environ.get("PGWEIR_PLAIN_BUILD"), os.environ.get("PGWEIR_BUILD")
    if plain is None:
        raise Skip("needs a build without sanitizers in PGWEIR_PLAIN_BUILD")
    os.environ["PGWEIR_BUILD"] = plain
    try:
        each = serve(LISTENERS)
        assert each < 1000, f"{each:.0f} bytes for a listener"
    finally:
        os.environ["PGWEIR_BUILD"] = usual


@timeout(60)
def test_many_listeners():
    """The same with fewer, where every access is checked."""
    serve(min(LISTENERS, 1500))


def serve(count):
    """Returns the bytes that a listener costs."""
    raise_descriptor_limit(count + 500)
    server = postgres.shared()
    with pgweir.Pgweir({"db": server.dsn("db")}, pool_size=1, max_overflow=0, listen_hub="on", log_level="info",
                       max_client_conn=count + 100, admin_users="boss", pool_timeout=0, log_connections="off",
                       log_disconnections="off") as daemon, daemon.client() as sender:
        sender.query("select 1")
        crowd = Crowd(daemon.port)
        crowd.join(200, "news")  # the connection that listens is there, and buffers have grown
        before = daemon.memory()
        began = time.monotonic()
        crowd.join(count - 200, "news")
        joined = time.monotonic() - began
        each = (daemon.memory() - before) / (count - 200)
        assert server.backends("datname = 'db'") == 2
        rows = hubs(daemon)
        assert len(rows) == 1 and rows[0][6:8] == ("1", str(count)), rows

        daemon.counters()  # the longest turn is that since here
        began = time.monotonic()
        assert sender.query("notify news, 'one'").error is None
        answered = time.monotonic() - began
        crowd.expect(notification(sender.pid, "news", "one"))
        once = time.monotonic() - began

        payloads = [f"{number} " + "x" * 200 for number in range(20)]
        began = time.monotonic()
        for payload in payloads:
            assert sender.query(f"notify news, '{payload}'").error is None
        crowd.expect(b"".join(notification(sender.pid, "news", payload) for payload in payloads), 120)
        many = time.monotonic() - began
        turn = daemon.counters()["longest_turn_usec"]

        # Who notifies and goes on working is not held up by ten thousand that are told.
        sender.query("notify news, 'two'")
        began = time.monotonic()
        for _ in range(20):
            assert sender.query("select 1").value == "1"
        working = (time.monotonic() - began) / 20
        crowd.expect(notification(sender.pid, "news", "two"))
        print(f"# {count} listeners: joined in {joined:.1f} s, {each:.0f} bytes each; one notification: "
              f"answered after {answered * 1000:.1f} ms, all told after {once * 1000:.0f} ms; {len(payloads)} "
              f"notifications: {many * 1000:.0f} ms; longest turn {turn / 1000:.1f} ms; a query meanwhile "
              f"{working * 1000:.1f} ms")
        assert turn < 150_000, f"a turn of {turn} us"
        crowd.close()
        limit = time.monotonic() + 20
        while rows[0][6] != "0" and time.monotonic() < limit:
            time.sleep(0.2)
            rows = hubs(daemon)
        assert rows[0][6:8] == ("0", "0"), rows
        assert sender.query("select count(*) from pg_listening_channels()").value == "0"
        return each


@timeout(60)
def test_listening_connection_of_many_is_lost():
    """All of them are told, a few at a time; others go on."""
    count = min(LISTENERS, 3000)
    raise_descriptor_limit(count + 500)
    server = postgres.shared()
    with pgweir.Pgweir({"db": server.dsn("db")}, pool_size=1, max_overflow=0, listen_hub="on", log_level="info", log_pooler_errors="off",
                       max_client_conn=count + 100, pool_timeout=0, log_connections="off",
                       log_disconnections="off") as daemon, daemon.client() as other:
        crowd = Crowd(daemon.port)
        crowd.join(count, "news")
        daemon.counters()
        server.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgweir listen_hub'")
        told = 0
        for client in crowd.clients.values():
            client["socket"].settimeout(20)
            while data := client["socket"].recv(65536):
                client["got"] += data
            told += b"08006" in client["got"] and b"may be missing" in client["got"]
        assert told == count, f"{told} of {count} were told"
        assert other.query("select 1").value == "1"
        turn = daemon.counters()["longest_turn_usec"]
        print(f"# {count} listeners are ended: longest turn {turn / 1000:.1f} ms")
        assert turn < 150_000, f"a turn of {turn} us"
        crowd.close()
