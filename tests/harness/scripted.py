"""A scripted PostgreSQL server: it speaks the protocol exactly as a scenario tells it to, also wrong.

    with Scripted() as server: ...                       a small well-behaved server
    with Scripted(on_query=answer) as server: ...        answer(backend, sql) -> True when it did all
    with Scripted(serve=play) as server: ...             play(backend) owns the session after login

What goes wrong in a connection's thread (a failed assertion of the script) is raised by stop().
"""

import os
import queue
import re
import socket
import struct
import threading
import time
import traceback

from . import wire

PARAMETERS = {
    "server_version": "15.0",
    "server_encoding": "UTF8",
    "client_encoding": "UTF8",
    "application_name": "",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "integer_datetimes": "on",
    "standard_conforming_strings": "on",
    "is_superuser": "off",
    "session_authorization": "alice",
    "in_hot_standby": "off",
    "default_transaction_read_only": "off",
}
REPORTED = {name.lower(): name for name in PARAMETERS}
SET = re.compile(r"^\s*set\s+(?:session\s+)?(\w+)\s*(?:=|to)\s*'?(.*?)'?\s*;?\s*$", re.IGNORECASE)


class Backend(wire.Peer):
    """The server's end of one connection."""

    def __init__(self, sock, server, number):
        super().__init__(sock, timeout=20)
        self.server = server
        self.number = number
        self.startup = {}
        self.version = None
        self.status = "I"
        self.statements = {}
        self.portals = {}
        self.seen = []  # every message after login
        self.queries = []  # the text of every Query, and of every Parse when it is executed
        self.parameters = dict(server.parameters)
        self.pid = 1000 + number
        self.key = server.key
        self.skipping = False
        self.logged_in = False
        self.terminated = False

    def read(self, timeout=None):
        got = super().read(timeout)
        if self.logged_in:
            self.seen.append(got)
        return got

    # --- login -----------------------------------------------------------------------------

    def accept(self):
        """False when it was a cancel request."""
        while True:
            length, code = struct.unpack("!II", self.bytes(8))
            body = self.bytes(length - 8)
            if code in (80877103, 80877104):
                self.send(b"N")
            elif code == 80877102:
                self.server.cancels.put((struct.unpack("!I", body[:4])[0], body[4:]))
                return False
            else:
                break
        self.version = code
        parts = body.split(b"\0")[:-2]
        words = [part.decode(errors="surrogateescape") for part in parts]
        self.startup = {words[i]: words[i + 1] for i in range(0, len(words), 2)}
        self.server.login(self)
        return True

    def login_done(self):
        """AuthenticationOk and what follows it, in one segment."""
        for name, value in self.startup.items():
            if name.lower() in REPORTED:
                self.parameters[REPORTED[name.lower()]] = value
        if "user" in self.startup and "session_authorization" in self.parameters:
            self.parameters["session_authorization"] = self.startup["user"]
        pieces = [wire.authentication(0)]
        pieces += [wire.parameter_status(*item) for item in self.parameters.items()]
        if self.key is not None:
            pieces.append(wire.backend_key(self.pid, self.key))
        self.send(*pieces, wire.ready("I"))
        self.logged_in = True

    # --- a small well-behaved server ---------------------------------------------------------

    def serve(self):
        while True:
            try:
                got = self.read(timeout=300)
            except wire.Closed:
                return
            if got.type == "X":
                self.terminated = True
                return
            self.answer(got)

    def answer(self, got):
        if self.server.on_message is not None and self.server.on_message(self, got):
            return
        if self.skipping and got.type != "S":
            return
        handler = getattr(self, "answer_" + {
            "Q": "query", "P": "parse", "B": "bind", "D": "describe", "E": "execute", "S": "sync",
            "C": "close", "H": "flush"}.get(got.type, "other"))
        handler(got)

    def answer_other(self, got):
        raise AssertionError(f"a message nobody scripted: {got}")

    def answer_flush(self, got):
        pass

    def answer_query(self, got):
        if not got.body.endswith(b"\0"):
            self.send(wire.error("08P01", "invalid string in message"), wire.ready(self.status))
            return
        sql = got.text
        self.queries.append(sql)
        if self.server.on_query is not None and self.server.on_query(self, sql):
            return
        self.send(self.run(sql, described=False), wire.ready(self.status))

    def run(self, sql, described):
        """The messages that executing `sql` brings, ReadyForQuery not included."""
        word = (sql.split() or [""])[0].lower().strip(";")
        if not word:
            return wire.message("I")
        if word in ("begin", "start"):
            self.status = "T"
            return wire.complete("BEGIN")
        if word in ("commit", "end"):
            tag = "ROLLBACK" if self.status == "E" else "COMMIT"
            self.status = "I"
            return wire.complete(tag)
        if word in ("rollback", "abort"):
            self.status = "I"
            return wire.complete("ROLLBACK")
        if self.status == "E":
            return wire.error("25P02", "current transaction is aborted")
        if word == "fail":
            self.fail()
            return wire.error("22012", "division by zero")
        if word == "set":
            return self.set(sql)
        if word in ("discard", "deallocate", "reset", "listen", "unlisten", "close"):
            rest = sql.split()[1:2] if word in ("discard", "deallocate", "close") else []
            if word == "discard" or word == "deallocate" and "all" in sql.lower():
                self.statements.clear()
            return wire.complete(" ".join([word.upper()] + [item.upper().strip(";")
                                                            for item in rest]))
        header = b"" if described else wire.row_description("value")
        return header + wire.data_row(self.value_of(sql)) + wire.complete("SELECT 1")

    def value_of(self, sql):
        """`select pid` gives the number of this connection, any other statement its own text."""
        return str(self.pid) if sql.strip().lower() in ("select pid", "select pid;") else sql

    def set(self, sql):
        reports = b""
        for part in sql.split(";"):
            match = SET.match(part)
            if match and match.group(1).lower() in REPORTED:
                name = REPORTED[match.group(1).lower()]
                self.parameters[name] = match.group(2)
                reports += wire.parameter_status(name, match.group(2))
        return wire.complete("SET") + reports

    def fail(self):
        if self.status == "T":
            self.status = "E"

    def refuse(self, sqlstate, text):
        self.fail()
        self.skipping = True
        self.send(wire.error(sqlstate, text))

    def answer_parse(self, got):
        name, sql, types = (got.body.split(b"\0", 2) + [b"", b""])[:3]
        name, sql = name.decode(), sql.decode()
        if len(types) < 2 or len(types) != 2 + 4 * struct.unpack_from("!H", types)[0]:
            self.refuse("08P01", "invalid message format")
        elif name and name in self.statements:
            self.refuse("42P05", f'prepared statement "{name}" already exists')
        elif sql.lower().startswith("syntax"):
            self.refuse("42601", "syntax error")
        else:
            self.statements[name] = sql
            self.send(wire.message("1"))

    def answer_bind(self, got):
        portal, name = (part.decode() for part in got.body.split(b"\0")[:2])
        if name not in self.statements:
            self.refuse("26000", f'prepared statement "{name}" does not exist')
        else:
            self.portals[portal] = self.statements[name]
            self.send(wire.message("2"))

    def answer_describe(self, got):
        kind, name = chr(got.body[0]), got.body[1:-1].decode()
        if kind not in "SP":
            self.refuse("08P01", f"invalid DESCRIBE message subtype {ord(kind)}")
            return
        known = self.statements if kind == "S" else self.portals
        if name not in known:
            self.refuse("26000" if kind == "S" else "34000", f'"{name}" does not exist')
            return
        if kind == "S":
            self.send(wire.message("t", struct.pack("!H", 0)))
        rows = known[name].lower().lstrip().startswith(("select", "show"))
        self.send(wire.row_description("value") if rows else wire.message("n"))

    def answer_execute(self, got):
        portal, _, limit = got.body.partition(b"\0")
        portal = portal.decode()
        if len(limit) != 4:
            self.refuse("08P01", "invalid message format")
            return
        if portal not in self.portals:
            self.refuse("34000", f'portal "{portal}" does not exist')
            return
        sql = self.portals[portal]
        self.queries.append(sql)
        reply = self.run(sql, described=True)
        self.skipping = reply[:1] == b"E"
        self.send(reply)

    def answer_close(self, got):
        kind, name = chr(got.body[0]), got.body[1:-1].decode()
        (self.statements if kind == "S" else self.portals).pop(name, None)
        self.send(wire.message("3"))

    def answer_sync(self, got):
        self.skipping = False
        self.portals.clear()
        self.send(wire.ready(self.status))


def trust(backend):
    backend.login_done()


def plain(secret):
    def login(backend):
        backend.send(wire.authentication(3))
        finish(backend, backend.expect("p").text == secret)
    return login


def md5(secret):
    def login(backend):
        salt = os.urandom(4)
        backend.send(wire.authentication(5, salt))
        expected = wire.md5_answer(backend.startup["user"], secret, salt)
        finish(backend, backend.expect("p").text == expected)
    return login


def scram(secret, **more):
    def login(backend):
        finish(backend, wire.scram_server(backend, secret, **more))
    return login


def finish(backend, proven):
    if proven:
        backend.login_done()
    else:
        backend.send(wire.error("28P01", "password authentication failed for user "
                                f"\"{backend.startup.get('user')}\"", "FATAL"))
        raise wire.Closed("wrong password")


class Scripted:
    def __init__(self, serve=None, on_query=None, on_message=None, login=trust, parameters=None,
                 key=b"\1\2\3\4"):
        """parameters: over the usual ones (None removes one); key: None sends no BackendKeyData."""
        self.play = serve or Backend.serve
        self.on_query = on_query
        self.on_message = on_message
        self.login = login
        self.parameters = dict(PARAMETERS, **(parameters or {}))
        self.parameters = {name: value for name, value in self.parameters.items()
                           if value is not None}
        self.key = key
        self.backends = []  # every connection that got through the login, in order
        self.attempts = 0  # connections that were not cancel requests
        self.cancels = queue.Queue()  # (pid, key)
        self.problems = []
        self.port = None
        self.listener = None
        self.threads = []
        self.open = set()
        self.closing = False
        self.listen()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.stop(check=kind is None)

    def listen(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port or 0))
        self.listener.listen(128)
        self.port = self.listener.getsockname()[1]
        thread = threading.Thread(target=self.accept_all, args=(self.listener,), daemon=True)
        thread.start()

    def accept_all(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.connection, args=(sock,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def connection(self, sock):
        backend = Backend(sock, self, len(self.backends))
        self.open.add(backend)
        try:
            if backend.accept():
                self.attempts += 1
                backend.number = len(self.backends)
                self.backends.append(backend)
                self.play(backend)
        except (wire.Closed, OSError):
            pass
        except Exception:  # told by stop()
            if not self.closing:
                self.problems.append(traceback.format_exc())
        finally:
            self.open.discard(backend)
            backend.close()

    def refuse_connections(self):
        """Stops listening, as a server that is down; listen() ends it."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def drop_connections(self):
        for backend in list(self.open):
            try:
                backend.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self, check=True):
        self.closing = True
        try:
            self.refuse_connections()
        except OSError:
            pass
        self.drop_connections()
        for thread in self.threads:
            thread.join(5)
        if check and self.problems:
            raise AssertionError("in the scripted server:\n" + "\n".join(self.problems))

    # --- what scenarios ask -----------------------------------------------------------------

    @property
    def queries(self):
        """Texts of all connections together, in no order between connections."""
        return [sql for backend in self.backends for sql in backend.queries]

    def wait_cancel(self, timeout=10):
        try:
            return self.cancels.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError("no cancel request arrived") from None

    def wait_query(self, sql, timeout=10):
        """Until some connection was asked `sql`."""
        limit = time.monotonic() + timeout
        while sql not in self.queries:
            if time.monotonic() > limit:
                raise AssertionError(f"{sql!r} never arrived; only {self.queries}")
            time.sleep(0.005)

    def dsn(self, **more):
        words = {"host": "127.0.0.1", "port": self.port, "dbname": "db", **more}
        return " ".join(f"{name}={value}" for name, value in words.items())
