"""Secrets: not in the process's memory longer than needed, in no log, on no page, in no core dump, and in no
file that everybody may read."""

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

from common import pooled

from harness import pgweir, process, scripted, wire
from harness.certificates import Authority
from harness.pgweir import Pgweir
from harness.scripted import Scripted
from harness.testing import Skip, cases, timeout

LOGIN = {"user": "alice", "database": "db"}


# --- memory ---------------------------------------------------------------------------------------


def secret(name, length=120):
    """No part of it stands anywhere else."""
    return name + base64.b16encode(os.urandom(length)).decode()[:length - len(name)]


def parts(text):
    """Freed memory has lost its first bytes, and perhaps others by now: any of these tells."""
    return [text[at:at + 14].encode() for at in range(16, len(text) - 13, max(14, len(text) // 40))]


def found_in_memory(daemon, secrets):
    """The names of those of whom some part stands in the memory that the process may write to."""
    found = set()
    needles = {part: name for name, text in secrets.items() for part in parts(text)}
    longest = max(len(part) for part in needles)
    with open(f"/proc/{daemon.child.pid}/maps", encoding="utf-8") as maps, \
            open(f"/proc/{daemon.child.pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            begin, end = (int(part, 16) for part in line.split()[0].split("-"))
            if not line.split()[1].startswith("rw"):
                continue
            tail = b""
            while begin < end:
                try:
                    memory.seek(begin)
                    piece = memory.read(min(1 << 20, end - begin))
                except OSError:
                    break
                if not piece:
                    break
                found |= {name for part, name in needles.items() if part in tail + piece}
                tail = piece[-longest:]
                begin += len(piece)
    return found


@contextlib.contextmanager
def plainly_built():
    """Sanitizers keep freed memory as it is."""
    plain = os.environ.get("PGWEIR_PLAIN_BUILD")
    if plain is None:
        raise Skip("needs a build without sanitizers in PGWEIR_PLAIN_BUILD")
    usual = os.environ.get("PGWEIR_BUILD")
    os.environ["PGWEIR_BUILD"] = plain
    try:
        yield
    finally:
        os.environ["PGWEIR_BUILD"] = usual


def gone(daemon, secrets, seconds=25):
    """Old snapshots of the settings go some seconds after a reload."""
    limit = time.monotonic() + seconds
    while left := found_in_memory(daemon, secrets):
        assert time.monotonic() < limit, left
        time.sleep(0.5)


def secured(daemon, authority):
    client = daemon.connect()
    client.send(wire.SSL_REQUEST)
    assert client.bytes(1) == b"S"
    client.socket.settimeout(10)
    client.socket = authority.context().wrap_socket(client.socket, server_hostname="localhost")
    return client


def send_and_leave(daemon, text, leave, *positions):
    """A password that is not sent to its end."""
    with daemon.connect() as client:
        client.send(wire.startup(LOGIN))
        client.expect("R")
        client.send_cut(b"p\0\0\1\0" + text.encode(), *positions)
        time.sleep(0.1)
        leave(client)


def go_on_badly(client):
    client.send(b"\0" * 300)
    client.rest(3)


@timeout(60)
@cases(scram=wire.scram_secret, md5=lambda text: wire.md5_secret("alice", text), plain=None)
def test_passwords_sent_in_clear_are_not_kept(encode):
    """Right and wrong ones, whole, in pieces and half of one, plain and by TLS, with and without success."""
    right = secret("Right")
    wrong = {name: secret(name) for name in (
        "Wrong", "Unknown", "ByTls", "Reset", "Closed", "Malformed", "Timeout", "Unasked", "Pieces", "Again")}
    wrong["Long"] = secret("Long", 6000)
    authority = Authority()
    with plainly_built(), pooled(auth_type="plain", users={"alice": encode(right) if encode else right},
                                 dsn="user=bob password=other", core_dumps="on", client_login_timeout="2",
                                 **authority.settings("allow")) as (_, daemon):
        for _ in range(3):
            with daemon.client(secret=right) as client:
                assert client.value("select 1") == "select 1"
        stay = daemon.client(secret=right)
        cut = daemon.connect()
        cut.send(wire.startup(LOGIN))
        cut.expect("R")
        cut.send_cut(wire.password(wire.string(right)), 9, 40, 73)
        cut.finish_login()
        assert cut.value("select 1") == "select 1"
        with secured(daemon, authority) as client:
            client.login("alice", "db", right)
            assert client.value("select 1") == "select 1"
        assert daemon.refused(secret=wrong["Wrong"])["C"] == "28P01"
        assert daemon.refused("nobody", secret=wrong["Unknown"])["C"] == "28P01"
        with secured(daemon, authority) as client, contextlib.suppress(wire.ServerError):
            client.login("alice", "db", wrong["ByTls"])
        with daemon.connect() as client:
            client.send(wire.startup(LOGIN))
            client.expect("R")
            client.send_cut(wire.password(wire.string(wrong["Pieces"])), 7, 30, 60, 90)
            client.rest(3)
        with daemon.connect() as client:
            client.send(wire.startup(LOGIN))
            client.expect("R")
            client.send_cut(wire.password(wire.string(wrong["Long"])), 300, 700, 1500, 3000, 5000)
            client.rest(3)
        send_and_leave(daemon, wrong["Reset"], wire.Client.reset, 30, 60)
        send_and_leave(daemon, wrong["Closed"], wire.Client.close)
        send_and_leave(daemon, wrong["Malformed"], go_on_badly, 50)
        send_and_leave(daemon, wrong["Timeout"], lambda client: client.rest(4), 70)
        with daemon.connect() as client:  # before it is asked for
            client.send(wire.startup(LOGIN) + wire.password(wire.string(wrong["Unasked"])))
            client.read_until("E")
        time.sleep(0.2)
        sought = wrong if encode is None else {**wrong, "Right": right}  # the file itself has that
        assert not found_in_memory(daemon, sought), found_in_memory(daemon, sought)
        # Nor right after an attempt.
        daemon.refused(secret=wrong["Again"])
        assert not found_in_memory(daemon, sought), found_in_memory(daemon, sought)
        stay.close()
        cut.close()


def test_memory_is_really_looked_at():
    texts = {name: secret(name) for name in ("File", "Line", "Nowhere")}
    with plainly_built(), pooled(auth_type="plain", users={"alice": texts["File"]}, core_dumps="on",
                                 dsn="password=" + texts["Line"]) as (_, daemon):
        assert found_in_memory(daemon, texts) == {"File", "Line"}


@timeout(90)
@cases(words="user=bob password='{}'", uri="postgresql://bob:{}@127.0.0.1:{{port}}/db",
       escaped="postgresql://bob:%41{}%2f@127.0.0.1:{{port}}/db")
def test_secrets_of_files_go_with_the_file(line):
    """Once used with every method, then changed in the files."""
    old = {name: secret(name, 90) for name in ("Line", "File", "Passed")}
    new = {name: secret(name, 90) for name in old}

    def settle(daemon, servers, texts):
        shop = line.format(texts["Line"])
        daemon.databases = {
            "db": shop.replace("{port}", str(servers[0].port)) if "://" in shop
            else f"{servers[0].dsn()} {shop}",
            "own": servers[1].dsn()}
        daemon.users = {"alice": texts["File"], "carol": wire.scram_secret(texts["Passed"])}

    with plainly_built(), contextlib.ExitStack() as stack:
        expected = f"A{old['Line']}/" if "%41" in line else old["Line"]
        servers = [stack.enter_context(Scripted(login=scripted.md5(expected))),
                   stack.enter_context(Scripted(login=scripted.plain(old["Passed"])))]
        daemon = stack.enter_context(Pgweir({"db": ""}, start=False, auth_type="plain", pool_size=1,
                                            core_dumps="on"))
        settle(daemon, servers, old)
        daemon.write()
        daemon.start()
        with daemon.client(secret=old["File"]) as client:
            assert client.value("select 1") == "select 1"
        with daemon.client("carol", "own", secret=old["Passed"]) as client:
            assert client.value("select 1") == "select 1"
        for method in ("md5", "scram-sha-256", "plain"):
            daemon.settings["auth_type"] = method
            daemon.reload()
            with daemon.client(secret=old["File"]) as client:
                assert client.value("select 1") == "select 1"
        with daemon.client("carol", "own", secret=old["Passed"]) as client:
            assert client.value("select 1") == "select 1"
        assert found_in_memory(daemon, old) == set(old), "needed as long as they hold"
        settle(daemon, servers, new)
        daemon.reload()
        gone(daemon, old)
        assert {"Line", "File"} <= found_in_memory(daemon, new)


@timeout(60)
def test_keys_of_tls_go_with_the_file():
    """The text of a key, but for its last line, of which OpenSSL leaves a part. The key itself is OpenSSL's to
    wipe."""
    authority = Authority()
    _, path = authority.issue("localhost", "server")
    with open(path, encoding="ascii") as file:
        text = {"key": "".join(file.read().splitlines()[1:-2])}
    with plainly_built(), pooled(core_dumps="on", **authority.settings("require")) as (_, daemon):
        with secured(daemon, authority) as client:
            client.login("alice", "db")
        assert not found_in_memory(daemon, text)
        authority.issue("localhost", "server")
        daemon.reload()
        with secured(daemon, authority) as client:
            client.login("alice", "db")
        gone(daemon, text)


# --- core dumps and other processes -----------------------------------------------------------------


def may_read(pid, identity):
    """Whether another process of the daemon's user may read its memory."""
    program = f"open('/proc/{pid}/mem', 'rb')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, **identity)
    return done.returncode == 0


def test_no_core_dump_unless_it_is_asked_for():
    with pooled() as (_, daemon):
        pid = daemon.child.pid
        daemon.settings["core_dumps"] = None
        daemon.reload()
        assert not may_read(pid, daemon.identity)
        daemon.settings["core_dumps"] = "on"
        daemon.reload()
        assert may_read(pid, daemon.identity)
        daemon.settings["core_dumps"] = "off"
        daemon.reload()
        assert not may_read(pid, daemon.identity)


# --- logs and pages -------------------------------------------------------------------------------


def everything_shown(daemon, port):
    """What the console, the pages and the log show."""
    texts = []
    with daemon.client("alice", "pgweir", "In-File-" + "s3cR3t" * 4) as console:
        tables = [row[0] for row in console.query("SHOW HELP").rows] or []
        with open(os.path.join(pgweir.ROOT, "src", "admin", "tables.def"), encoding="utf-8") as file:
            tables = re.findall(r"^WEIR_TABLE\((\w+),", file.read(), re.M)
        assert len(tables) > 20, tables
        for table in tables:
            result = console.query(f"SHOW {table}")
            texts.append(f"{table}: {result.rows} {result.errors} {result.notices}")
        for command in ("EXPLAIN POOL db.alice", "SHOW RELOAD", "RELOAD"):
            result = console.query(command)
            texts.append(f"{command}: {result.rows} {result.errors}")
    for page in ("/", "/metrics", "/status.json"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=10) as answer:
            texts.append(answer.read().decode())
    daemon.counters()
    texts.append(daemon.read_log())
    return "\n".join(texts)


@timeout(60)
@cases(text="text", json="json")
def test_secrets_are_shown_nowhere(form):
    """With everything logged that can be: logins of all kinds that succeed and fail, on both sides."""
    secrets = {name: f"{name}-" + "s3cR3t" * 4 for name in ("In-File", "In-Line", "Sent-Wrong", "In-Uri", "For-Scram")}
    port = process.free_port()
    authority = Authority()
    refusals = []
    with contextlib.ExitStack() as stack:
        good = stack.enter_context(Scripted(login=scripted.scram(secrets["In-Line"])))
        bad = stack.enter_context(Scripted(login=scripted.plain("something else")))
        daemon = stack.enter_context(Pgweir(
            {"db": f"{good.dsn()} user=bob password={secrets['In-Line']}",
             "bad": f"postgresql://bob:{secrets['In-Uri']}@127.0.0.1:{bad.port}/db"},
            users={"alice": secrets["In-File"], "carol": wire.scram_secret(secrets["For-Scram"]),
                   "dave": wire.md5_secret("dave", secrets["For-Scram"])},
            arguments=["-v", "-v"], log_level="debug", log_format=form, echo_pool="debug", log_stats="on",
            stats_period="1", log_slow_queries="1ms", admin_users="alice", pool_timeout="1",
            http_listen=f"127.0.0.1:{port}", http_statements="on", auth_type="plain",
            **authority.settings("allow")))
        for method in ("plain", "md5", "scram-sha-256"):
            daemon.settings["auth_type"] = method
            daemon.reload()
            with daemon.client(secret=secrets["In-File"]) as client:
                assert client.value("select 1") == "select 1"
            for user in ("alice", "carol", "dave", "nobody"):
                refusals.append(daemon.refused(user, secret=secrets["Sent-Wrong"]))
            refusals.append(daemon.refused(database="bad", secret=secrets["In-File"]))
            for garbage in (wire.query(secrets["Sent-Wrong"]), b"p\0\0\0\3" + secrets["Sent-Wrong"].encode(),
                            wire.password(secrets["Sent-Wrong"].encode())):
                with daemon.connect() as client:
                    client.send(wire.startup(LOGIN))
                    client.expect("R")
                    client.send(garbage)
                    refusals += [item.fields for item in client.rest(5)]
        with daemon.connect() as client:  # a password where the handshake should be
            client.send(wire.SSL_REQUEST)
            assert client.bytes(1) == b"S"
            client.send(secrets["Sent-Wrong"].encode())
            with contextlib.suppress(OSError):
                client.fill(5)
        with daemon.connect() as client:
            client.send(secrets["Sent-Wrong"].encode())
            refusals += [item.fields for item in client.rest(5)]
        daemon.settings["auth_type"] = "plain"
        daemon.databases["broken"] = f"host=x nonsense password={secrets['In-Line']}"
        daemon.reload()  # is refused, with the reason in the log
        daemon.wait_log("old configuration stays")
        del daemon.databases["broken"]
        daemon.databases["db"] = daemon.databases["db"].replace("user=bob", "user=rob")
        daemon.write()
        shown = everything_shown(daemon, port) + json.dumps(refusals)
        status, output = pgweir.run("--check", daemon.ini)
        assert status == 0, output
        shown += output
        for name, secret in secrets.items():
            place = shown.find(secret)
            assert place < 0, (name, shown[max(0, place - 300):place + 100])
        for user, secret in daemon.users.items():
            assert secret not in shown, user


# --- files ------------------------------------------------------------------------------------------


def refusal_to_start(daemon):
    with open(daemon.log, "ab") as log:
        child = process.spawn([pgweir.binary(), *daemon.arguments, daemon.ini], stdout=log, stderr=log,
                              env=pgweir.environment(), cwd=daemon.folder, **daemon.identity)
    return child.wait(20), daemon.read_log()


@cases(readable=0o644, writable=0o602)
def test_files_that_everybody_may_read_are_refused(mode):
    """By name, with the command that mends it; at the start, by --check and by a reload."""
    with Scripted() as server, Pgweir({"db": f"{server.dsn()} password=geheim"}, users={"alice": "geheim"},
                                      auth_type="plain", start=False) as daemon:
        users = os.path.join(daemon.folder, "users.txt")
        for path, what in ((users, "auth_file"), (daemon.ini, "database db: has a password")):
            os.chmod(path, mode)
            for status, said in (refusal_to_start(daemon), pgweir.run("--check", daemon.ini)):
                assert status == 1 and what in said and f"chmod o= {path} " in said, said
                assert "geheim" not in said, said
            os.chmod(path, 0o640)
        daemon.start()
        for path in (users, daemon.ini):
            os.chmod(path, mode)
            daemon.signal(signal.SIGHUP)
            daemon.wait_log(f"old configuration stays: .*chmod o= {path} ")
            os.chmod(path, 0o640)
        with daemon.client(secret="geheim") as client:
            assert client.value("select 1") == "select 1"
        # Where modes mean nothing it can be switched off.
        daemon.settings["refuse_readable_secrets"] = "off"
        daemon.write()
        for path in (users, daemon.ini):
            os.chmod(path, mode)
        status, said = pgweir.run("--check", daemon.ini)
        assert status == 0, said
        os.chmod(daemon.ini, 0o644)
        if mode & 0o004:
            daemon.signal(signal.SIGHUP)
            daemon.wait_log("configuration reloaded")


def test_files_without_secrets_may_be_read():
    with Scripted() as server, Pgweir({"db": server.dsn()}, start=False) as daemon:
        os.chmod(daemon.ini, 0o644)
        status, said = pgweir.run("--check", daemon.ini)
        assert status == 0, said
        daemon.start()


def test_an_included_file_is_judged_by_itself():
    with Scripted() as server, Pgweir({}, sections="", start=False) as daemon:
        shops = os.path.join(daemon.folder, "shops.ini")
        with open(shops, "w", encoding="utf-8") as file:
            file.write(f"[databases]\nshop = {server.dsn()} password=geheim\n")
        daemon.sections = "%include shops.ini\n"
        daemon.write()
        os.chmod(daemon.ini, 0o644)
        daemon.keep(shops)
        assert pgweir.run("--check", daemon.ini)[0] == 0
        os.chmod(shops, 0o644)
        status, said = pgweir.run("--check", daemon.ini)
        assert status == 1 and f"{shops}:2: database shop: has a password" in said, said
        assert f"chmod o= {shops} " in said, said


def test_a_key_that_others_may_read_is_refused():
    authority = Authority()
    settings = authority.settings("require")
    with Scripted() as server, Pgweir({"db": server.dsn()}, start=False, **settings) as daemon:
        key = settings["client_tls_key_file"]
        for mode in (0o640, 0o604, 0o660):
            os.chmod(key, mode)
            status, said = refusal_to_start(daemon)
            assert status == 1 and f"chmod 0600 {key}" in said, said
        if daemon.identity:  # as PostgreSQL has it: root's may be read by its group
            os.chown(key, 0, daemon.identity["group"])
            os.chmod(key, 0o640)
            daemon.start()
            os.chmod(key, 0o644)
            daemon.signal(signal.SIGHUP)
            daemon.wait_log(f"old configuration stays: .*chmod 0640 {key}")


def test_import_reads_what_everybody_may_read_and_writes_for_its_owner():
    folder = process.folder("import")
    source, target = os.path.join(folder, "pgbouncer.ini"), os.path.join(folder, "pgweir.ini")
    with open(source, "w", encoding="utf-8") as file:
        file.write("[databases]\nshop = host=127.0.0.1 password=geheim\n[pgbouncer]\nauth_type = trust\n")
    os.chmod(source, 0o644)
    status, said = pgweir.run("--import", source, "-o", target)
    assert status == 0, said
    assert os.stat(target).st_mode & 0o077 == 0
    status, said = pgweir.run("--check", source)
    assert status == 1 and f"chmod o= {source} " in said, said


# --- privileges -------------------------------------------------------------------------------------


def test_root_is_given_up():
    """All of it: user, groups, and the way back."""
    if os.geteuid() != 0:
        raise Skip("needs root")
    with Scripted() as server, Pgweir({"db": server.dsn()}, start=False) as daemon:
        user = daemon.identity["user"]
        daemon.identity = {}
        status, said = refusal_to_start(daemon)
        assert status == 1 and "will not run as root" in said, said
        daemon.arguments = ["-u", "postgres"]
        os.chmod(daemon.folder, 0o777)
        daemon.start()
        with open(f"/proc/{daemon.child.pid}/status", encoding="ascii") as file:
            lines = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        assert set(lines["Uid"].split()) == {str(user)}, lines
        assert set(lines["Gid"].split()) != {"0"} and "0" not in lines["Gid"].split(), lines
        assert "0" not in lines["Groups"].split(), lines
        for capabilities in ("CapPrm", "CapEff"):
            assert int(lines[capabilities], 16) == 0, lines
        with daemon.client() as client:
            assert client.value("select 1") == "select 1"
        daemon.stop()
    # What only root can read is no use later: it is said at once.
    authority = Authority()
    _, key = authority.issue("localhost", "client")
    with Scripted() as server, Pgweir({"db": server.dsn()}, arguments=["-u", "postgres"], start=False,
                                      server_tls_sslmode="prefer", server_tls_key_file=key,
                                      server_tls_cert_file=authority.path("client.crt")) as daemon:
        daemon.identity = {}
        os.chown(daemon.ini, 0, 0)
        status, said = refusal_to_start(daemon)
        assert status == 1 and f"{daemon.ini}: cannot be read: Permission denied" in said, said
        os.chown(daemon.ini, user, -1)
        os.chown(key, 12345, -1)
        status, said = refusal_to_start(daemon)
        assert status == 1 and f'TLS key file "{key}"' in said, said
        os.chown(key, user, -1)
        daemon.start()
