"""A private PostgreSQL: own data folder, own free port, own sockets."""

import contextlib
import glob
import os
import pwd
import re
import signal
import subprocess

from . import process, wire

SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "logging_collector": "off",
    "log_min_messages": "log",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "listen_addresses": "127.0.0.1",
}
TRUST = "local all all trust\nhost all all 127.0.0.1/32 trust\n"


def bindir():
    """Where PostgreSQL's programs are: PGWEIR_POSTGRES_BIN, else the newest that Debian installed."""
    chosen = os.environ.get("PGWEIR_POSTGRES_BIN")
    if chosen:
        return chosen
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"),
                   key=lambda path: float(path.split("/")[4]))
    if not found:
        raise RuntimeError("PostgreSQL is not installed below /usr/lib/postgresql")
    return found[-1]


def identity():
    """PostgreSQL refuses to run as root: then it runs as the user that Debian made for it."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam("postgres")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


class Postgres:
    """Superuser is `postgres`; sql() always gets in through the Unix socket."""

    def __init__(self, settings=None, hba=TRUST, port=None, locale="C.UTF-8", prefix=(),
                 variables=None):
        """`prefix` goes before its command and sees to its user (names.Names)."""
        self.prefix = prefix
        self.identity = identity()
        self.folder = process.folder("postgres")
        self.port = port or process.free_port()
        self.host = "127.0.0.1"
        self.settings = dict(SETTINGS, unix_socket_directories=self.folder, **(settings or {}))
        self.variables = variables or {}  # more of its environment
        self.child = None
        self.log = os.path.join(self.folder, "log")
        if self.identity:
            os.chown(self.folder, self.identity["user"], self.identity["group"])
        self.data = os.path.join(self.folder, "data")
        self.initialise(locale)
        self.hba(hba, reload=False)
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.drop()

    def initialise(self, locale):
        """Where PGWEIR_CLUSTERS names a folder, one that was made before is copied, which takes a tenth of the time."""
        def initdb(data):
            self.run([os.path.join(bindir(), "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                      f"--locale={locale}", "--no-sync", "--no-instructions"])
        shelf = os.environ.get("PGWEIR_CLUSTERS")
        if shelf is None:
            initdb(self.data)
            return
        template = os.path.join(shelf, re.sub(r"\W", "_", f"{bindir()} {locale}"))
        if not os.path.isdir(template):
            fresh = f"{template}.{os.getpid()}.{self.port}"
            initdb(fresh)
            with contextlib.suppress(OSError):  # somebody else was faster
                os.rename(fresh, template)
        self.run(["cp", "-a", "--reflink=auto", template, self.data])

    def run(self, command):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              cwd=self.folder, stdin=subprocess.DEVNULL, check=False,
                              env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, **self.identity)
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stdout}")

    def hba(self, text, reload=True):
        """Replaces pg_hba.conf. The superuser's own way in stays."""
        with open(os.path.join(self.data, "pg_hba.conf"), "w", encoding="ascii") as file:
            file.write("local all postgres trust\n" + text)
        if reload:
            self.reload()

    def reload(self):
        """Until new sessions are held to the files: they are children of a process that has read them."""
        before = self.sql("select pg_conf_load_time()")
        self.child.send_signal(signal.SIGHUP)
        process.wait_until(lambda: self.sql("select pg_conf_load_time()") != before, "PostgreSQL has reloaded", 20)

    def start(self):
        command = [*self.prefix, os.path.join(bindir(), "postgres"), "-D", self.data, "-p", str(self.port)]
        for name, value in self.settings.items():
            command += ["-c", f"{name}={value}"]
        with open(self.log, "ab") as log:
            self.child = process.spawn(command, signal.SIGQUIT, stdout=log, stderr=log,
                                       cwd=self.folder,
                                       env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **self.variables},
                                       **({} if self.prefix else self.identity))
        process.wait_until(self.answers, "PostgreSQL answers", 30, 0.03)

    def answers(self):
        if self.child.poll() is not None:
            raise RuntimeError("PostgreSQL ended: " + self.tail())
        try:
            return self.sql("select 1") == [("1",)]
        except (OSError, wire.Closed, wire.ServerError):
            return False

    def tail(self, lines=15):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def stop(self, mode="fast"):
        number = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode]
        process.end(self.child, number, 30)
        self.child = None

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def drop(self):
        if self.child is not None:
            self.stop("immediate")
        process.drop_folder(self.folder)

    def session(self, database="postgres", user="postgres", **parameters):
        """A direct session over the Unix socket."""
        client = wire.Client(self.port, self.folder, timeout=30)
        return client.login(user, database, **parameters)

    def sql(self, text, database="postgres", user="postgres"):
        """Rows as tuples of text; ServerError on an error."""
        with self.session(database, user) as client:
            result = client.query(text)
            if result.error:
                raise wire.ServerError(result.error)
            client.send(wire.terminate())
            return result.rows

    @property
    def version(self):
        """150004 for 15.4."""
        return int(self.sql("show server_version_num")[0][0])

    def backends(self, where="true"):
        """Ordinary client connections over TCP: those of the pooler, when only it uses TCP."""
        return int(self.sql("select count(*) from pg_stat_activity where backend_type = "
                            f"'client backend' and client_addr is not null and ({where})")[0][0])

    def dsn(self, database="postgres"):
        return f"host=127.0.0.1 port={self.port} dbname={database}"


_shared = None


def shared():
    """One PostgreSQL for all tests of a file that do not need their own. Trusts everybody; has the
    roles alice and bob (superusers no) and their databases of the same name, and database db."""
    global _shared
    if _shared is None or _shared.child is None or _shared.child.poll() is not None:
        _shared = Postgres()
        for role in ("alice", "bob"):
            _shared.sql(f"create role {role} login")
            _shared.sql(f"create database {role} owner {role}")
        _shared.sql("create database db owner alice")
    return _shared


def end_shared():
    global _shared
    if _shared is not None:
        _shared.drop()
        _shared = None


def shared_child():
    return _shared.child if _shared is not None else None
