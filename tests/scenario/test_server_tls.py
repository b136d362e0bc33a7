"""What servers answer when they are asked for TLS."""

import contextlib
import socket
import threading

from harness import process, wire
from harness.pgweir import Pgweir
from harness.scripted import Scripted
from harness.testing import cases


class Answering:
    """Takes SSLRequest, sends `answer`, and keeps what comes then. `end`: closes instead of waiting."""

    def __init__(self, answer, end=False):
        self.answer = answer
        self.end = end
        self.asked = []
        self.then = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with contextlib.suppress(OSError), sock:
            self.asked.append(sock.recv(8))
            sock.sendall(self.answer)
            if not self.end:
                while data := sock.recv(65536):
                    self.then.append(data)

    def dsn(self, mode):
        return f"host=127.0.0.1 port={self.port} dbname=db sslmode={mode}"


def error_of(daemon):
    with daemon.connect() as client:
        client.send(wire.startup({"user": "alice", "database": "db"}))
        got = client.read_until("E")
        return got[-1].body.decode(errors="replace")


@cases(smuggled=("prefer", b"S" + wire.authentication(0) + wire.ready(), False, "data in clear"),
       behind_no=("prefer", b"N" + wire.authentication(0) + wire.ready(), False, "data in clear"),
       error=("prefer", wire.error("53300", "SECRET TEXT"), False, "answered the request for TLS with an error"),
       nonsense=("prefer", b"X", False, "answer to the request for TLS is none"),
       closed=("prefer", b"", True, "closed the connection when asked for TLS"),
       no=("require", b"N", False, "does not support TLS"),
       no_verified=("verify-full sslrootcert=system", b"N", False, "does not support TLS"),
       no_handshake=("require", b"S", True, "TLS handshake"),
       broken_handshake=("require", b"S", None, "TLS with"))
def test_refused(mode, answer, end, text):
    with Answering(answer, bool(end)) as server:
        if end is None:
            server.serve = lambda sock: garble(server, sock)
        with Pgweir({"db": server.dsn(mode)}, pool_timeout=3, server_login_retry="100ms") as daemon:
            error = error_of(daemon)
            assert text in error and "SECRET" not in error, error
            assert "SECRET" not in daemon.read_log()
        assert server.asked and set(server.asked) == {wire.SSL_REQUEST}
        # Not a word of a login in clear.
        assert not any(b"alice" in data for data in server.then), server.then


def garble(server, sock):
    with contextlib.suppress(OSError), sock:
        server.asked.append(sock.recv(8))
        sock.sendall(b"S")
        server.then.append(sock.recv(65536))
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        while data := sock.recv(65536):
            server.then.append(data)


@cases(begun=b"S", silent=b"")
def test_a_handshake_that_never_ends_is_bounded(answer):
    with Answering(answer) as server:
        with Pgweir({"db": server.dsn("require")}, server_connect_timeout="500ms", pool_timeout=5) as daemon:
            assert "took too long (server_connect_timeout)" in error_of(daemon)


@cases(prefer="prefer", allow="allow", disable="disable")
def test_plain_after_no(mode):
    """Scripted servers say N: the login goes on, on the same connection."""
    with Scripted() as server:
        with Pgweir({"db": server.dsn(sslmode=mode)}, pool_size=1) as daemon:
            with daemon.connect() as client:
                assert client.login("alice", "db").value("select 1") == "select 1"
        assert server.attempts == 1


def test_many_logins_at_once_through_a_slow_handshake():
    """One pool's stuck handshakes hold up nobody else."""
    with Answering(b"S") as stuck, Scripted() as server:
        databases = {"db": server.dsn(), "stuck": f"host=127.0.0.1 port={stuck.port} dbname=db sslmode=require"}
        with Pgweir(databases, pool_size=8, server_connect_parallel=8) as daemon, contextlib.ExitStack() as closing:
            for _ in range(8):
                client = closing.enter_context(daemon.connect())
                client.send(wire.startup({"user": "alice", "database": "stuck"}))
            process.wait_until(lambda: len(stuck.then) >= 1, "a handshake has begun")
            with daemon.connect() as client:
                assert client.login("alice", "db").value("select 1") == "select 1"
