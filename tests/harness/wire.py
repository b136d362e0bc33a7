"""PostgreSQL's frontend/backend protocol by hand: messages, a raw client, SCRAM for both sides."""

import base64
import hashlib
import hmac
import os
import socket
import struct
import time
from collections import namedtuple

PROTOCOL_3_0 = 0x00030000
PROTOCOL_3_2 = 0x00030002
SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSS_REQUEST = struct.pack("!II", 8, 80877104)


class Closed(Exception):
    """The peer closed the connection."""


class ServerError(Exception):
    """An ErrorResponse where none was expected; .fields has its fields by letter."""

    def __init__(self, fields):
        super().__init__(f"{fields.get('S')} {fields.get('C')}: {fields.get('M')}"
                         + (f" DETAIL: {fields['D']}" if "D" in fields else "")
                         + (f" HINT: {fields['H']}" if "H" in fields else ""))
        self.fields = fields
        self.sqlstate = fields.get("C")
        self.severity = fields.get("V", fields.get("S"))


# --- building messages -------------------------------------------------------------------------


def encode(text):
    return text if isinstance(text, bytes) else text.encode(errors="surrogateescape")


def string(text):
    return encode(text) + b"\0"


def message(kind, body=b""):
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def startup(parameters, version=PROTOCOL_3_0):
    body = struct.pack("!I", version)
    for name, value in parameters.items():
        body += string(name) + string(value)
    body += b"\0"
    return struct.pack("!I", len(body) + 4) + body


def cancel_request(pid, key):
    body = struct.pack("!II", 80877102, pid) + key
    return struct.pack("!I", len(body) + 4) + body


def query(sql):
    return message("Q", string(sql))


def parse(sql, name="", types=()):
    return message("P", string(name) + string(sql)
                   + struct.pack(f"!H{len(types)}I", len(types), *types))


def bind(values=(), name="", portal=""):
    body = string(portal) + string(name) + struct.pack("!HH", 0, len(values))
    for value in values:
        if value is None:
            body += struct.pack("!i", -1)
        else:
            value = encode(value)
            body += struct.pack("!i", len(value)) + value
    return message("B", body + struct.pack("!H", 0))


def describe(what="P", name=""):
    return message("D", encode(what) + string(name))


def execute(portal="", limit=0):
    return message("E", string(portal) + struct.pack("!I", limit))


def close(what="S", name=""):
    return message("C", encode(what) + string(name))


def sync():
    return message("S")


def flush():
    return message("H")


def terminate():
    return message("X")


def copy_data(data):
    return message("d", encode(data))


def copy_done():
    return message("c")


def copy_fail(text):
    return message("f", string(text))


def password(body):
    return message("p", body)


def batch(sql, values=(), name=""):
    """Parse, Bind, Describe, Execute, Sync."""
    return parse(sql, name) + bind(values, name) + describe() + execute() + sync()


# --- messages of a server ------------------------------------------------------------------------


def authentication(code, extra=b""):
    return message("R", struct.pack("!I", code) + extra)


def parameter_status(name, value):
    return message("S", string(name) + string(value))


def backend_key(pid, key):
    return message("K", struct.pack("!I", pid) + key)


def ready(status="I"):
    return message("Z", status.encode())


def complete(tag):
    return message("C", string(tag))


def error(sqlstate, text, severity="ERROR", **more):
    body = b"S" + string(severity) + b"V" + string(severity) + b"C" + string(sqlstate)
    body += b"M" + string(text)
    for letter, value in more.items():
        body += letter.encode() + string(value)
    return message("E", body + b"\0")


def notice(text, severity="NOTICE"):
    body = b"S" + string(severity) + b"V" + string(severity) + b"C00000\0M" + string(text)
    return message("N", body + b"\0")


def row_description(*names):
    body = struct.pack("!H", len(names))
    for name in names:
        body += string(name) + struct.pack("!IHIhih", 0, 0, 25, -1, -1, 0)
    return message("T", body)


def data_row(*values):
    body = struct.pack("!H", len(values))
    for value in values:
        if value is None:
            body += struct.pack("!i", -1)
        else:
            value = encode(value)
            body += struct.pack("!i", len(value)) + value
    return message("D", body)


def rows_answer(*rows, status="I", names=("value",)):
    """All of the answer to a simple query."""
    return (row_description(*names) + b"".join(data_row(*row) for row in rows)
            + complete(f"SELECT {len(rows)}") + ready(status))


# --- reading -------------------------------------------------------------------------------------


class Message(namedtuple("Message", "type body")):
    @property
    def fields(self):
        """Of an ErrorResponse or NoticeResponse."""
        found = {}
        for part in self.body.split(b"\0"):
            if part:
                found[chr(part[0])] = part[1:].decode(errors="replace")
        return found

    @property
    def values(self):
        """Of a DataRow, as text."""
        count, = struct.unpack_from("!H", self.body)
        at, values = 2, []
        for _ in range(count):
            length, = struct.unpack_from("!i", self.body, at)
            at += 4
            if length < 0:
                values.append(None)
            else:
                values.append(self.body[at:at + length].decode(errors="replace"))
                at += length
        return tuple(values)

    @property
    def strings(self):
        """The body as zero-terminated strings."""
        return [part.decode(errors="replace") for part in self.body.split(b"\0")[:-1]]

    @property
    def text(self):
        return self.strings[0]

    def __repr__(self):
        if self.type in "EN" and len(self.body) > 4 and self.body[:1] in b"SVCM":
            return f"{self.type}{self.fields}"
        shown = self.body if len(self.body) < 80 else self.body[:80] + b"..."
        return f"{self.type}{shown!r}"


class Peer:
    """A socket with messages on it; the base of the raw client and of a scripted server's end."""

    def __init__(self, sock, timeout=10):
        self.socket = sock
        self.timeout = timeout
        self.received = b""
        self.eof = False
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Closes so that the peer gets a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, *pieces):
        self.socket.settimeout(self.timeout)
        self.socket.sendall(b"".join(pieces))

    def send_cut(self, data, *positions, pause=0.002):
        """Sends in pieces, cut at these positions, each on its own way."""
        begin = 0
        for position in [*positions, len(data)]:
            self.send(data[begin:position])
            begin = position
            time.sleep(pause)

    def fill(self, timeout):
        """One more recv. False at end of file."""
        self.socket.settimeout(max(timeout, 0.001))
        try:
            more = self.socket.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            more = b""
        self.received += more
        self.eof = not more
        return bool(more)

    def bytes(self, count, timeout=None):
        limit = time.monotonic() + (self.timeout if timeout is None else timeout)
        while len(self.received) < count:
            left = limit - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{count} bytes, only {len(self.received)} came")
            if not self.fill(left):
                raise Closed(f"closed after {len(self.received)} of {count} bytes")
        data, self.received = self.received[:count], self.received[count:]
        return data

    def read(self, timeout=None):
        """The next message. Closed at end of file, TimeoutError when none comes."""
        header = self.bytes(5, timeout)
        length, = struct.unpack("!I", header[1:])
        return Message(chr(header[0]), self.bytes(length - 4, timeout))

    def read_until(self, kinds, timeout=None):
        """Messages up to and with the first whose type is among `kinds`."""
        found = [self.read(timeout)]
        while found[-1].type not in kinds:
            found.append(self.read(timeout))
        return found

    def expect(self, kinds, timeout=None):
        """The next message, which must be of these types, one after the other."""
        for kind in kinds:
            got = self.read(timeout)
            if got.type != kind:
                raise AssertionError(f"expected {kind}, got {got}")
        return got

    def rest(self, timeout=None):
        """All messages until the peer closes."""
        found = []
        while True:
            try:
                found.append(self.read(timeout))
            except Closed:
                return found

    def expect_silence(self, seconds=0.15):
        if self.received:
            raise AssertionError(f"unexpected {self.received[:200]!r}")
        try:
            self.fill(seconds)
        except TimeoutError:
            return
        raise AssertionError("closed" if self.eof else f"unexpected {self.received[:200]!r}")

    def expect_closed(self, timeout=None):
        got = self.rest(timeout)
        if got:
            raise AssertionError(f"unexpected before the end: {got}")


class Result:
    """What came back for a Query or up to the answer to a Sync."""

    def __init__(self, messages):
        self.messages = messages
        self.rows = [item.values for item in messages if item.type == "D"]
        self.tags = [item.text for item in messages if item.type == "C"]
        self.errors = [item.fields for item in messages if item.type == "E"]
        self.notices = [item.fields for item in messages if item.type == "N"]
        self.types = "".join(item.type for item in messages)
        self.status = messages[-1].body.decode() if messages[-1].type == "Z" else None

    @property
    def error(self):
        return self.errors[0] if self.errors else None

    @property
    def sqlstate(self):
        return self.error["C"] if self.errors else None

    @property
    def value(self):
        if self.errors:
            raise ServerError(self.error)
        return self.rows[0][0]

    def __repr__(self):
        return f"Result({self.messages})"


class Client(Peer):
    def __init__(self, port, host="127.0.0.1", timeout=10, source=None):
        """host may be a folder with a Unix socket; source is the own address."""
        if host.startswith("/"):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout)
            sock.connect(f"{host}/.s.PGSQL.{port}")
        else:
            sock = socket.create_connection((host, port), timeout, (source, 0) if source else None)
        super().__init__(sock, timeout)
        self.target = (port, host)
        self.parameters = {}
        self.notices = []
        self.pid, self.key = None, b""

    def login(self, user="alice", database="db", secret=None, version=PROTOCOL_3_0, **parameters):
        """Startup to ReadyForQuery. ServerError when refused."""
        self.send(startup({"user": user, "database": database, **parameters}, version))
        return self.finish_login(user, secret)

    def finish_login(self, user="alice", secret=None):
        self.authenticate(user, secret)
        while True:
            got = self.read()
            if got.type == "S":
                self.parameters[got.strings[0]] = got.strings[1]
            elif got.type == "K":
                self.pid, = struct.unpack_from("!I", got.body)
                self.key = got.body[4:]
            elif got.type == "N":
                self.notices.append(got.fields)
            elif got.type == "E":
                raise ServerError(got.fields)
            elif got.type == "Z":
                return self
            elif got.type != "v":
                raise AssertionError(f"unexpected during login: {got}")

    def authenticate(self, user, secret):
        while True:
            got = self.read()
            if got.type == "E":
                raise ServerError(got.fields)
            if got.type in "Nv":
                continue
            if got.type != "R":
                raise AssertionError(f"unexpected during login: {got}")
            code, = struct.unpack_from("!I", got.body)
            if code == 0:
                return
            if secret is None:
                raise AssertionError(f"asked for a password (method {code})")
            if code == 3:
                self.send(password(string(secret)))
            elif code == 5:
                self.send(password(string(md5_answer(user, secret, got.body[4:8]))))
            elif code == 10:
                assert b"SCRAM-SHA-256" in got.body[4:].split(b"\0"), got
                scram_client(self, secret)
            else:
                raise AssertionError(f"unknown method {code}")

    def ask(self, *data, timeout=None):
        """Sends, and reads up to ReadyForQuery."""
        self.send(*data)
        return Result(self.read_until("Z", timeout))

    def query(self, sql, timeout=None):
        return self.ask(query(sql), timeout=timeout)

    def value(self, sql):
        return self.query(sql).value

    def prepared(self, sql, values=(), name=""):
        return self.ask(batch(sql, values, name))

    def results(self, count, timeout=None):
        """The answers to `count` Queries or Syncs that were sent together."""
        return [Result(self.read_until("Z", timeout)) for _ in range(count)]

    def cancel(self):
        """Asks on a connection of its own, as libpq does, and waits until that is closed."""
        port, host = self.target
        with Client(port, host) as other:
            other.send(cancel_request(self.pid, self.key))
            other.expect_closed()


# --- passwords -----------------------------------------------------------------------------------


def md5_secret(user, secret):
    return "md5" + hashlib.md5(encode(secret) + encode(user)).hexdigest()


def md5_answer(user, secret, salt):
    inner = md5_secret(user, secret)[3:]
    return "md5" + hashlib.md5(inner.encode() + salt).hexdigest()


def hmac_sha256(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def scram_keys(secret, salt, iterations):
    salted = hashlib.pbkdf2_hmac("sha256", encode(secret), salt, iterations)
    return hmac_sha256(salted, b"Client Key"), hmac_sha256(salted, b"Server Key")


def scram_secret(secret, salt=b"0123456789abcdef", iterations=4096):
    """As stored in pg_authid and in a user file."""
    client_key, server_key = scram_keys(secret, salt, iterations)
    stored = hashlib.sha256(client_key).digest()
    parts = [base64.b64encode(part).decode() for part in (salt, stored, server_key)]
    return f"SCRAM-SHA-256${iterations}:{parts[0]}${parts[1]}:{parts[2]}"


def attributes(data):
    return dict((part[:1].decode(), part[2:]) for part in data.split(b","))


def xor(left, right):
    return bytes(a ^ b for a, b in zip(left, right))


def scram_client(peer, secret, nonce=None, mechanism="SCRAM-SHA-256", header=b"n,,", endpoint=b""):
    """The client's side, after AuthenticationSASL, up to and with AuthenticationSASLFinal. `endpoint`:
    what it is bound to."""
    nonce = nonce or base64.b64encode(os.urandom(18))
    bare = b"n=,r=" + nonce
    first = header + bare
    peer.send(password(string(mechanism) + struct.pack("!I", len(first)) + first))
    challenge = sasl_message(peer, 11)
    found = attributes(challenge)
    assert found["r"].startswith(nonce) and len(found["r"]) > len(nonce), challenge
    client_key, server_key = scram_keys(secret, base64.b64decode(found["s"]), int(found["i"]))
    final = b"c=" + base64.b64encode(header + endpoint) + b",r=" + found["r"]
    whole = bare + b"," + challenge + b"," + final
    proof = xor(client_key, hmac_sha256(hashlib.sha256(client_key).digest(), whole))
    peer.send(password(final + b",p=" + base64.b64encode(proof)))
    verdict = attributes(sasl_message(peer, 12))
    assert base64.b64decode(verdict["v"]) == hmac_sha256(server_key, whole), "server signature"


def sasl_message(peer, code):
    got = peer.read()
    if got.type == "E":
        raise ServerError(got.fields)
    assert got.type == "R" and struct.unpack_from("!I", got.body)[0] == code, got
    return got.body[4:]


def scram_server(peer, secret, salt=b"salt of a server", iterations=4096):
    """The server's side. True when the client proved that it knows the secret."""
    peer.send(authentication(10, b"SCRAM-SHA-256\0\0"))
    body = peer.expect("p").body
    mechanism, _, rest = body.partition(b"\0")
    assert mechanism == b"SCRAM-SHA-256", body
    first = rest[4:]
    assert struct.unpack("!I", rest[:4])[0] == len(first), body
    header, bare = first[:3], first[3:]
    assert header in (b"n,,", b"y,,"), first
    nonce = attributes(bare)["r"] + base64.b64encode(os.urandom(12))
    challenge = b"r=" + nonce + b",s=" + base64.b64encode(salt) + b",i=%d" % iterations
    peer.send(authentication(11, challenge))
    final = peer.expect("p").body
    without, _, proof = final.rpartition(b",p=")
    assert attributes(without)["r"] == nonce, final
    assert base64.b64decode(attributes(without)["c"]) == header, final
    whole = bare + b"," + challenge + b"," + without
    client_key, server_key = scram_keys(secret, salt, iterations)
    signature = hmac_sha256(hashlib.sha256(client_key).digest(), whole)
    if xor(base64.b64decode(proof), signature) != client_key:
        return False
    verdict = base64.b64encode(hmac_sha256(server_key, whole))
    peer.send(authentication(12, b"v=" + verdict))
    return True
