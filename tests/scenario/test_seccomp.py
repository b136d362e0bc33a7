"""The system calls that the unit for systemd allows are enough for everything that pgweir does."""

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

from common import in_background
from test_service import PREPARE, analyze, unit

from harness import manager, pgweir, postgres, process, wire
from harness.certificates import Authority
from harness.pgweir import Pgweir
from harness.testing import Skip, cases, timeout

USERS = {"alice": "geheim", "boss": "geheim", "asker": "geheim"}


class Stage:
    """PostgreSQL with TLS and with users that only it knows, and the settings of a pgweir before it that
    uses all it has."""

    def __init__(self, stack, folder):
        authority = Authority()
        certificate, key = authority.issue("localhost", "postgres")
        self.postgres = stack.enter_context(postgres.Postgres(
            {"ssl": "on", "ssl_cert_file": certificate, "ssl_key_file": key},
            hba="host all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n"))
        for name in [*USERS, "eve"]:
            self.postgres.sql(f"create role {name} login superuser password 'geheim'")
        self.postgres.sql("create database db")
        self.authority = authority
        self.page = process.free_port()
        self.socket = f"@pgweir-seccomp-{os.getpid()}-{self.page}"
        target = f"host=localhost port={self.postgres.port} dbname=db"
        self.databases = {
            "db": target, "tls": f"{target} sslmode=verify-full sslrootcert={authority.certificate}",
            "gone": "host=127.0.0.1 port=1", "socket": f"host=/nowhere port={self.postgres.port} dbname=db"}
        self.settings = {
            "auth_type": "plain", "auth_user": "asker", "auth_dbname": "db", "auth_query_cache": "0",
            "admin_users": "boss", "pool_size": 2, "max_overflow": 0, "pool_timeout": "0.5", "max_client_conn": 500,
            "http_listen": f"127.0.0.1:{self.page}", "unix_socket_dir": self.socket, "syslog": "on",
            "logfile": os.path.join(folder, "pgweir.log"), "pidfile": os.path.join(folder, "pid"),
            "auth_failure_delay": "100ms", "auth_failure_delay_max": "200ms", "connection_rate": 1000, "connection_rate_burst": 400,
            "client_login_timeout": "5", "pre_ping_idle": "0", "server_login_retry": "0.2",
            **authority.settings("allow")}

    def play(self, daemon, reload):
        """All of it: logins of every kind on both sides, statements, results in bulk, waits, cancels, time-outs,
        the console, the pages, and reloads."""
        authority = self.authority
        for method in ("plain", "md5", "scram-sha-256"):
            daemon.settings["auth_type"] = method
            daemon.write()
            reload()
            for user in ("alice", "eve"):
                with daemon.client(user, secret="geheim") as client:
                    assert client.value("select 1") == "1"
            with daemon.connect() as client:
                client.send(wire.SSL_REQUEST)
                assert client.bytes(1) == b"S"
                client.socket.settimeout(10)
                client.socket = authority.context().wrap_socket(client.socket, server_hostname="localhost")
                client.login("alice", "tls", "geheim")
                assert client.value("select ssl from pg_stat_ssl where pid = pg_backend_pid()") == "t"
            for _ in range(4):
                refused = daemon.refused("alice", secret="wrong")
                assert refused["C"] == "28P01", refused
            refused = daemon.refused("nobody", secret="wrong")
            assert refused["C"] == "28P01", refused
        for database in ("gone", "socket", "none"):
            daemon.refused("alice", database, "geheim")
        with daemon.client(secret="geheim") as one, daemon.client(secret="geheim") as two, \
                daemon.client(secret="geheim") as three:
            assert len(one.value("select repeat('x', 600000)")) == 600000
            assert one.query("create temp table t (a text)").status == "I"
            one.send(wire.query("copy t from stdin"))
            one.expect("G")
            for _ in range(10):
                one.send(wire.copy_data("y" * 60000 + "\n"))
            assert wire.Result(one.ask(wire.copy_done()).messages).status == "I"
            assert one.prepared("select $1::text", ["value"], "named").value == "value"
            one.query("begin")
            two.query("begin")
            assert three.query("select 1", timeout=10).sqlstate == "53300"
            answer = in_background(one.query, "select pg_sleep(30)")
            process.wait_until(lambda: self.postgres.backends("query like '%pg_sleep(30)'"), "it runs")
            one.cancel()
            assert answer().sqlstate == "57014"
            two.query("select pg_sleep(0.1)")
            two.reset()  # in a transaction
        with contextlib.ExitStack() as many:
            clients = [many.enter_context(daemon.connect()) for _ in range(20)]
            for client in clients:
                client.send(wire.startup({"user": "alice", "database": "db"}))
        with daemon.client("boss", "pgweir", "geheim") as console:
            for command in ("SHOW POOLS", "SHOW CLIENTS", "SHOW SERVERS", "SHOW MEM", "SHOW FDS", "SHOW CONFIG",
                            "SHOW RELOAD", "SET pool_size = 3", "PAUSE db", "RESUME db", "SUSPEND", "RESUME",
                            "DISABLE gone", "ENABLE gone", "RECONNECT", "RELOAD"):
                console.query(command)
        for page in ("/", "/metrics", "/status.json", "/readyz"):
            with contextlib.suppress(OSError), \
                    urllib.request.urlopen(f"http://127.0.0.1:{self.page}{page}", timeout=10) as got:
                assert got.read()
        self.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where client_addr is not null")
        with daemon.client(secret="geheim") as client:
            assert client.value("select 1") == "1"
        for database, statement in (("db", "select 1"), ("pgweir", "show version")):
            with abstract(self.socket, daemon.port) as client:
                client.login("boss", database, "geheim")
                assert client.query(statement).rows, database


def abstract(name, port):
    """A client of an abstract Unix socket."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(f"\0{name[1:]}/.s.PGSQL.{port}")
    client = wire.Peer(sock)
    client.__class__ = wire.Client
    client.parameters, client.notices, client.target = {}, [], (port, name)
    return client


# --- by a real service manager ----------------------------------------------------------------------

INSIDE = """set -e
out={folder}
say() { echo "$1=$2" >> "$out/result"; }
show() { systemctl show -p "$1" --value pgweir.service; }
systemctl start pgweir.service || { systemctl status pgweir.service; exit 1; }
pid=$(show MainPID)
say seccomp "$(sed -n 's/^Seccomp:[[:space:]]*//p' /proc/$pid/status)"
touch "$out/ready"
for _ in $(seq 2000); do
    [ -e "$out/done" ] && break
    if [ -e "$out/reload" ]; then rm "$out/reload"; systemctl reload pgweir.service || true; fi
    sleep 0.1
done
kill -USR1 "$pid" || true
sleep 0.3
systemctl reload pgweir.service || true
say same "$([ "$(show MainPID)" = "$pid" ] && echo yes || echo no)"
systemctl stop pgweir.service || true
say stopped "$(show ActiveState) $(show Result) $(show ExecMainStatus)"
"""

# A call that is not allowed kills, and does not only fail.
OVERRIDE = """[Unit]
After=
Wants=
DefaultDependencies=no
[Service]
ExecStart=
ExecStart={folder}/pgweir {folder}/pgweir.ini
User=nobody
Group=nogroup
Restart=no
PrivateTmp=no
SystemCallErrorNumber=kill
StandardError=append:{folder}/daemon.log
"""


def plain_build():
    plain = os.environ.get("PGWEIR_PLAIN_BUILD")
    if plain is None:
        raise Skip("needs a build without sanitizers in PGWEIR_PLAIN_BUILD")
    return os.path.join(plain, "src", "daemon", "pgweir")


@timeout(280)
@cases(as_it_is=("", True), without_accept4=("SystemCallFilter=~accept4\n", False))
def test_under_the_filter_of_the_unit(more, survives):
    """The second case shows that the first one could fail."""
    if not manager.is_possible():
        raise Skip("needs root, name spaces and systemd")
    folder = process.folder("seccomp")
    shutil.copy(plain_build(), folder)
    shutil.copy(unit("pgweir.service"), folder)
    nobody = pwd.getpwnam("nobody")
    with contextlib.ExitStack() as stack:
        stage = Stage(stack, "/var/log/pgweir")
        daemon = Pgweir(stage.databases, USERS, start=False, **stage.settings)
        daemon.ini = os.path.join(folder, "pgweir.ini")
        daemon.identity = {"user": nobody.pw_uid, "group": nobody.pw_gid}
        for name in os.listdir(stage.authority.folder):
            if name.endswith(".key"):
                os.chown(stage.authority.path(name), *daemon.identity.values())
        daemon.write()
        with open(os.path.join(folder, "override.conf"), "w", encoding="utf-8") as file:
            file.write((OVERRIDE + more).replace("{folder}", folder))

        def reload():
            with open(os.path.join(folder, "reload"), "w", encoding="ascii"):
                pass
            process.wait_until(lambda: not os.path.exists(os.path.join(folder, "reload")), "the reload", 20)
            time.sleep(0.3)

        def play():
            try:
                process.wait_until(lambda: os.path.exists(os.path.join(folder, "ready")), "systemd runs it", 60)
                stage.play(daemon, reload)
            finally:
                with open(os.path.join(folder, "done"), "w", encoding="ascii"):
                    pass

        playing = in_background(play)
        result, said = manager.run(folder, PREPARE.replace("{folder}", folder),
                                   INSIDE.replace("{folder}", folder), 270)
        whole = (result, said)
        if survives:
            playing()
            assert result.get("seccomp") == "2", whole
            assert result.get("same") == "yes", whole
            assert result.get("stopped") == "inactive success 0", whole
        else:
            with contextlib.suppress(Exception):
                playing()
            assert result.get("same") == "no" and "signal" in result.get("stopped", ""), whole


# --- by looking at the calls ------------------------------------------------------------------------


def allowed_calls():
    """What the unit's lines come to, names of sets resolved."""
    def calls_of(name):
        if not name.startswith("@"):
            return {name}
        status, output = analyze("syscall-filter", name)
        assert status == 0, output
        found = set()
        for line in output.splitlines()[1:]:
            word = line.strip()
            if word and not word.startswith("#"):
                found |= calls_of(word)
        return found

    allowed = set()
    with open(unit("pgweir.service"), encoding="utf-8") as file:
        for value in re.findall(r"^SystemCallFilter=(.*)$", file.read(), re.M):
            names = value.lstrip("~").split()
            calls = set().union(*(calls_of(name) for name in names))
            allowed = allowed - calls if value.startswith("~") else allowed | calls
    assert len(allowed) > 100, allowed
    return allowed


@timeout(240)
def test_no_other_calls_are_made():
    """The same where no service manager can be run: all calls of a whole life, from its execve on."""
    if shutil.which("strace") is None:
        raise Skip("needs strace")
    program = plain_build()
    with contextlib.ExitStack() as stack:
        folder = process.folder("trace")
        stage = Stage(stack, folder)
        daemon = Pgweir(stage.databases, USERS, start=False, **stage.settings)
        trace = os.path.join(folder, "trace")
        probe = subprocess.run(["strace", "-o", trace, "true"], capture_output=True, check=False, **daemon.identity)
        if probe.returncode != 0:
            raise Skip("strace may not trace here")
        with open(daemon.log, "ab") as log:
            # -D: the daemon is the child, and strace somebody else.
            daemon.child = process.spawn(["strace", "-D", "-f", "-q", "-o", trace, program, daemon.ini],
                                         stdout=log, stderr=log, env=pgweir.environment(), cwd=daemon.folder,
                                         **daemon.identity)
        pgweir.running.append(daemon)
        process.wait_until(daemon.listens, "the daemon listens", 30)
        stage.play(daemon, lambda: (daemon.signal(signal.SIGHUP), time.sleep(0.5)))
        daemon.signal(signal.SIGUSR1)
        time.sleep(0.3)
        daemon.stop()
        process.wait_until(lambda: "exited with 0" in tail(trace), "the trace is whole", 10)
        with open(trace, encoding="utf-8", errors="replace") as file:
            calls = set(re.findall(r"^\d+\s+(?:<\.\.\. )?([a-z_0-9]+)(?:\(| resumed>)", file.read(), re.M))
    assert {"execve", "accept4", "epoll_wait", "sendto", "recvfrom", "openat", "socket", "connect"} <= calls, calls
    assert calls <= allowed_calls(), sorted(calls - allowed_calls())


def tail(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()[-300:]
