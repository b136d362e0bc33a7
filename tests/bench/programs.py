"""The programs of the benchmark: building the helpers, starting servers, proxies and load.

Everything runs below one temporary directory, on free loopback ports, and every process is ended
by its own id.  PostgreSQL and PgBouncer refuse to run as root, so a run started by root continues
as an unprivileged user (see drop_privileges).
"""

import contextlib
import glob
import json
import os
import pwd
import re
import resource
import shutil
import signal
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
HELPERS = {
    "stub_server": ["stub_server.c", "reply.c", "message.c", "endpoint.c"],
    "load": ["load.c", "script.c", "message.c", "endpoint.c"],
    "floor": ["floor.c", "message.c", "endpoint.c"],
    "scraper": ["scraper.c", "endpoint.c"],
}
MAX_CLIENTS = 12000
SCRAM_PASSWORD = "open sesame"


class BenchError(Exception):
    """A run that cannot go on; the text says why."""


def drop_privileges():
    """Continues as user postgres, or nobody, when started by root."""
    if os.geteuid() != 0:
        return
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        os.initgroups(name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        os.environ["HOME"] = "/"
        os.environ["USER"] = os.environ["LOGNAME"] = name
        return
    raise BenchError("started by root, and there is no user postgres or nobody to continue as")


def raise_descriptor_limit():
    """The proxies inherit it: 5000 idle clients need that many descriptors."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def build_helpers(directory):
    """Compiles the C programs and returns their paths by name."""
    compiler = os.environ.get("CC", "cc")
    paths = {}
    for name, sources in HELPERS.items():
        paths[name] = os.path.join(directory, name)
        subprocess.run(
            [compiler, "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-o", paths[name]]
            + [os.path.join(HERE, source) for source in sources],
            check=True,
        )
    return paths


def build_pgweir(directory):
    """A release build of pgweir; None when the tree has no daemon."""
    if not os.path.exists(os.path.join(SOURCE, "src", "daemon", "meson.build")):
        return None
    tree = os.path.join(directory, "release")
    log_path = os.path.join(directory, "release.log")
    with open(log_path, "w", encoding="utf-8") as log:
        for command in (
            ["meson", "setup", "--buildtype=release", "-Dtests=disabled", tree, SOURCE],
            ["ninja", "-C", tree, "src/daemon/pgweir"],
        ):
            if subprocess.run(command, stdout=log, stderr=log, check=False).returncode != 0:
                with open(log_path, encoding="utf-8") as text:
                    raise BenchError("release build failed:\n" + text.read()[-3000:])
    return os.path.join(tree, "src", "daemon", "pgweir")


def place_binary(directory, contents):
    """Writes a program to run; returns its path."""
    path = os.path.join(directory, "pgweir")
    with open(path, "wb") as binary:
        binary.write(contents)
    os.chmod(path, 0o755)
    return path


@contextlib.contextmanager
def on_processors(chosen):
    """Children started here run on these processors only; None: wherever the kernel likes."""
    before = os.sched_getaffinity(0)
    if chosen is not None:
        os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Process:
    """A child process with its output in a log file."""

    def __init__(self, bench, name, command, port, is_proxy=False):
        self.name = name
        self.port = port
        self.log_path = os.path.join(bench.work, f"{name}.{port}.log")
        with open(self.log_path, "w", encoding="utf-8") as log:
            with on_processors(bench.proxy_processors if is_proxy else bench.other_processors):
                self.child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=bench.work
                )
        self.pid = self.child.pid

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as text:
            return text.read()

    def wait_listening(self, timeout=60.0):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        text = self.log()[-2000:]
        self.stop()
        raise BenchError(f"{self.name} does not listen on port {self.port}:\n{text}")

    def stop(self, signal_number=signal.SIGTERM, patience=10.0):
        if self.child.poll() is None:
            self.child.send_signal(signal_number)
            try:
                self.child.wait(patience)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.stop()


class Load:
    """A load generator that obeys commands; its clients stay connected between runs."""

    def __init__(
        self, bench, port, clients, mode="simple", query="select 1", rows=1, database="bench",
        options=()
    ):
        command = [bench.helpers["load"], "--port", str(port), "--clients", str(clients)]
        command += ["--mode", mode, "--query", query, "--rows", str(rows)]
        command += ["--database", database, "--commands", *options]
        pipe = subprocess.PIPE
        with on_processors(bench.other_processors):
            self.child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        try:
            self.read_figures()
        except BenchError:
            self.stop()
            raise

    def read_figures(self):
        line = self.child.stdout.readline()
        if not line:
            raise BenchError("load: " + self.child.stderr.read().strip())
        figures = json.loads(line)
        if figures["errors"]:
            self.child.stdin.close()
            raise BenchError(f"load: {figures['errors']} errors: " + self.child.stderr.read().strip())
        return figures

    def run(self, count):
        """Runs that many transactions and returns the figures."""
        self.child.stdin.write(f"count {count}\n")
        self.child.stdin.flush()
        return self.read_figures()

    def stop(self):
        if not self.child.stdin.closed:
            self.child.stdin.close()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()
        self.child.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.stop()


class StubServer(Process):
    """The stand-in for PostgreSQL."""

    kind = "stub"

    def __init__(self, bench, shared_names=False):
        port = free_port()
        command = [bench.helpers["stub_server"], "--port", str(port)]
        if shared_names:
            command.append("--shared-names")
        super().__init__(bench, "stub_server", command, port)
        self.wait_listening()


def postgres_directory():
    """Where initdb and postgres are, or None."""
    found = sorted(
        glob.glob("/usr/lib/postgresql/*/bin/initdb"),
        key=lambda path: [int(part) for part in re.findall(r"\d+", path)],
    )
    path = found[-1] if found else shutil.which("initdb")
    return os.path.dirname(path) if path else None


class PostgresServer(Process):
    """A private PostgreSQL: user bench by trust, user scram by SCRAM-SHA-256."""

    kind = "postgres"

    def __init__(self, bench):
        binaries = postgres_directory()
        if binaries is None:
            raise BenchError("PostgreSQL's server programs are not installed")
        port = free_port()
        data = os.path.join(bench.work, f"postgres.{port}")
        subprocess.run(
            [os.path.join(binaries, "initdb"), "-D", data, "-U", "bench", "--auth=trust"]
            + ["--no-sync", "--encoding=UTF8", "--locale=C"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with open(os.path.join(data, "pg_hba.conf"), "w", encoding="utf-8") as access:
            access.write("host all scram 127.0.0.1/32 scram-sha-256\n")
            access.write("host all all 127.0.0.1/32 trust\n")
        command = [os.path.join(binaries, "postgres"), "-D", data, "-p", str(port)]
        for setting in (
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=250",
            "fsync=off",
            "autovacuum=off",
            "jit=off",
            "password_encryption=scram-sha-256",
        ):
            command += ["-c", setting]
        super().__init__(bench, "postgres", command, port)
        self.wait_listening()
        self.wait_ready(bench)
        self.execute(bench, "create database bench", "postgres")
        self.execute(bench, f"create role scram login password '{SCRAM_PASSWORD}'")
        self.execute(bench, "create unlogged table bench_copy (line text)")

    def execute(self, bench, text, database="bench", rows=0):
        with Load(bench, self.port, 1, query=text, rows=rows, database=database) as load:
            load.run(1)

    def wait_ready(self, bench):
        """It listens before it lets anybody in."""
        deadline = time.monotonic() + 30
        while True:
            try:
                self.execute(bench, "select 1", "postgres", rows=1)
                return
            except BenchError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def stop(self, signal_number=signal.SIGINT, patience=20.0):
        super().stop(signal_number, patience)
