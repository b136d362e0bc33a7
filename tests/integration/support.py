"""What every integration test stands on: a private PostgreSQL, the pooler under test, a database of
the test's own, and the checks of pooling that most tests share.

A test is a function `test_NAME(env)`. `@pool(...)` says which pool it wants; with --direct the same
function runs against PostgreSQL itself and only the assertions on rotation are left out.
"""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import psycopg
from psycopg import sql

PASSWORD = "correct horse 'battery\\ staple"
USERS = ("app", "second", "third")  # log in by SCRAM
TRUSTED = "raw"                     # logs in without a password: for tests that speak the protocol


class Skip(Exception):
    """The machine lacks what the test needs."""


def pool(**settings):
    """Pool settings of a test. pool_size and max_overflow give the limit that is asserted; `auth`
    is 'scram' or 'trust'; `seconds` the time limit; `own_cluster` a PostgreSQL for this test alone;
    `entry` is added to the [databases] line; everything else goes into the ini file as it is."""
    def mark(function):
        function.pool = settings
        return function
    return mark


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_as():
    """PostgreSQL refuses to run as root: keyword arguments for Popen."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


def find_postgres(program):
    for folder in sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / program).exists():
            return str(folder / program)
    found = shutil.which(program)
    if not found:
        raise Skip(f"{program} is not installed")
    return found


def clean_environment(**more):
    """The environment without anything that libpq and its relatives would act on."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    return {**kept, "LC_ALL": "C.UTF-8", **more}


def make_directory(prefix):
    path = pathlib.Path(tempfile.mkdtemp(prefix=f"pgweir-{prefix}-"))
    path.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(path, "postgres", "postgres")
    return path


def wait_for(condition, seconds, what):
    """Polls until `condition` gives something true; fails with what it gave last."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what} (last: {value!r})")
        time.sleep(0.02)


class Process:
    """A child process that is ended by its own handle only."""

    def __init__(self, arguments, log, **options):
        self.log = pathlib.Path(log)
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          env=clean_environment(), cwd="/", **options)

    def alive(self):
        return self.child.poll() is None

    def stop(self, number, seconds):
        if self.alive():
            self.child.send_signal(number)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            return None

    def tail(self, lines=40):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Cluster:
    """A private PostgreSQL on a free port, data in a directory of its own."""

    def __init__(self):
        self.directory = make_directory("postgresql")
        self.data = self.directory / "data"
        self.port = free_port()
        self.process = None
        password = self.directory / "password"
        password.write_text(PASSWORD)
        subprocess.run([find_postgres("initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "-N",
                        "--locale=C.UTF-8", "-E", "UTF8"],
                       check=True, stdout=subprocess.DEVNULL, env=clean_environment(), cwd="/", **run_as())
        (self.data / "pg_hba.conf").write_text(
            "local all all trust\n"
            f"host all postgres,{TRUSTED} 127.0.0.1/32 trust\n"
            "host all all 127.0.0.1/32 scram-sha-256\n")
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\n"
                       f"unix_socket_directories = '{self.directory}'\n"
                       "max_connections = 400\nshared_buffers = 64MB\nfsync = off\n"
                       "max_prepared_transactions = 20\nautovacuum = off\nlog_min_messages = warning\n")
        self.start()
        with self.connect("postgres") as connection:
            for user in USERS + (TRUSTED,):
                connection.execute(sql.SQL("create role {} superuser login password {}").format(
                    sql.Identifier(user), sql.Literal(PASSWORD)))

    def connect(self, dbname, **options):
        return psycopg.connect(host="127.0.0.1", port=self.port, dbname=dbname, user="postgres",
                               autocommit=True, application_name="observer", **options)

    def start(self):
        self.process = Process([find_postgres("postgres"), "-D", str(self.data)],
                               self.directory / "log", **run_as())

        def answers():
            if not self.process.alive():
                raise AssertionError("PostgreSQL did not start:\n" + self.process.tail())
            try:
                self.connect("postgres").close()
                return True
            except psycopg.OperationalError:
                return False
        wait_for(answers, 30, "PostgreSQL accepts connections")

    def stop(self, number=signal.SIGINT):
        if self.process:
            self.process.stop(number, 30)

    def restart(self):
        self.stop()
        self.start()

    def remove(self):
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)


class Env:
    """One test's view: where to connect, and the direct way round the pooler to look behind it."""

    def __init__(self, cluster, against, program, settings, name):
        settings = dict(settings)
        self.cluster = cluster
        self.against = against
        self.program = program
        self.direct = against == "direct"
        self.pooled = not self.direct and not (against == "pgbouncer-session")
        self.seconds = settings.pop("seconds", 60)
        self.auth = settings.pop("auth", "scram")
        self.entry = settings.pop("entry", "")
        self.limit = settings.setdefault("pool_size", 10) + settings.setdefault("max_overflow", 0)
        self.pool_size = settings["pool_size"]
        self.settings = settings
        self.user = TRUSTED if self.auth == "trust" else "app"
        self.password = PASSWORD
        self.dbname = name
        self.host = "127.0.0.1"
        self.port = cluster.port
        self.tmp = make_directory("test")
        self.pooler = None
        self.closing = contextlib.ExitStack()

    def open(self):
        with self.cluster.connect("postgres") as connection:
            connection.execute(sql.SQL("create database {} template template0").format(
                sql.Identifier(self.dbname)))
        if not self.direct:
            self.port = free_port()
            self.start_pooler()

    def start_pooler(self):
        if self.against == "pgweir":
            program, text = self.pgweir_ini()
        else:
            program, text = self.pgbouncer_ini()
        ini = self.tmp / "pool.ini"
        ini.write_text(text)
        (self.tmp / "users.txt").write_text("".join(
            '"%s" "%s"\n' % (user, PASSWORD.replace('"', '""')) for user in USERS + (TRUSTED,)))
        self.pooler = Process([program, str(ini)], self.tmp / "pool.log", **run_as())

        def listens():
            if not self.pooler.alive():
                raise AssertionError(f"{self.against} did not start:\n" + self.pooler.tail())
            with contextlib.suppress(OSError):
                socket.create_connection((self.host, self.port), 1).close()
                return True
        wait_for(listens, 10, "the pooler listens")

    def pgweir_ini(self):
        head = {"listen_addr": "127.0.0.1", "listen_port": self.port, "unix_socket_dir": self.tmp,
                "auth_type": "trust" if self.auth == "trust" else "scram-sha-256",
                "auth_file": self.tmp / "users.txt", "pool_mode": "transaction",
                "admin_users": "app, raw", "max_client_conn": 1000, **self.settings}
        return str(self.program), self.ini("pgweir", head)

    def pgbouncer_ini(self):
        settings = dict(self.settings)
        session = self.against == "pgbouncer-session"
        head = {"listen_addr": "127.0.0.1", "listen_port": self.port, "unix_socket_dir": self.tmp,
                "auth_type": "trust" if self.auth == "trust" else "scram-sha-256",
                "auth_file": self.tmp / "users.txt", "pool_mode": "session" if session else "transaction",
                "default_pool_size": 200 if session else settings["pool_size"], "max_client_conn": 1000,
                "ignore_startup_parameters": "extra_float_digits,search_path,options,jit"}
        return shutil.which("pgbouncer") or "/usr/sbin/pgbouncer", self.ini("pgbouncer", head)

    def ini(self, section, head):
        lines = [f"[{section}]"] + [f"{key} = {value}" for key, value in head.items()]
        lines += ["[databases]", f"{self.dbname} = host=127.0.0.1 port={self.cluster.port} "
                                 f"dbname={self.dbname} {self.entry}"]
        return "\n".join(lines) + "\n"

    def close(self):
        self.closing.close()
        if self.pooler:
            died = not self.pooler.alive()
            status = self.pooler.stop(signal.SIGTERM, 15)
            if died or (self.against == "pgweir" and status != 0):
                how = "by itself" if died else "after SIGTERM"
                raise AssertionError(f"{self.against} ended {how} with status {status}:\n"
                                     + self.pooler.tail(80))

    def remove(self):
        with contextlib.suppress(Exception):
            self.closing.close()
        if self.pooler:
            self.pooler.stop(signal.SIGKILL, 5)
        with contextlib.suppress(psycopg.Error), self.cluster.connect("postgres") as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(
                sql.Identifier(self.dbname)))
        shutil.rmtree(self.tmp, ignore_errors=True)

    # ---- ways to connect

    def parameters(self, **changes):
        """libpq keywords of the target."""
        base = {"host": self.host, "port": self.port, "dbname": self.dbname, "user": self.user,
                "password": self.password, **changes}
        return {key: value for key, value in base.items() if value is not None}

    def connect(self, **options):
        """A psycopg 3 connection through the pooler, closed at the end of the test."""
        autocommit = options.pop("autocommit", True)
        prepare = options.pop("prepare_threshold", None)
        connection = psycopg.connect(**self.parameters(**options), autocommit=autocommit,
                                     prepare_threshold=prepare)
        self.closing.callback(connection.close)
        return connection

    def admin(self, dbname=None):
        """A connection to PostgreSQL itself, never through the pooler."""
        connection = self.cluster.connect(dbname or self.dbname)
        self.closing.callback(connection.close)
        return connection

    def environment(self, **more):
        """For command-line programs."""
        return clean_environment(PGHOST=self.host, PGPORT=str(self.port), PGUSER=self.user,
                                 PGPASSWORD=self.password, PGDATABASE=self.dbname, **more)

    # ---- looking behind the pooler

    def backends(self, columns="pid", where="true"):
        """Rows of pg_stat_activity of everyone in this test's database but the observers."""
        with self.cluster.connect("postgres") as connection:
            return connection.execute(
                f"select {columns} from pg_stat_activity where datname = %s and "
                f"usename <> 'postgres' and ({where})", (self.dbname,)).fetchall()

    def assert_no_open_transaction(self, seconds=5):
        """No transaction outlives its client: nothing is idle in a transaction or still running."""
        def leaked():
            return self.backends("pid, state, query", "state <> 'idle'")
        deadline = time.monotonic() + seconds
        while (rows := leaked()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not rows, f"transactions left open: {rows}"


class Watch:
    """Samples pg_stat_activity while the body runs: the pooler never has more server connections
    than the limit. Also keeps who was served by which backend."""

    def __init__(self, env, limit=None, every=0.03):
        self.env = env
        self.limit = limit or env.limit
        self.every = every
        self.most = 0
        self.seen = {}
        self.lock = threading.Lock()
        self.done = threading.Event()

    def served(self, client, pid):
        with self.lock:
            self.seen.setdefault(client, []).append(int(pid))

    def sample(self):
        with contextlib.suppress(psycopg.Error), self.env.cluster.connect("postgres") as connection:
            while not self.done.wait(self.every):
                count = connection.execute(
                    "select count(*) from pg_stat_activity where datname = %s and usename <> 'postgres'"
                    " and backend_type = 'client backend'", (self.env.dbname,)).fetchone()[0]
                self.most = max(self.most, count)

    def __enter__(self):
        self.thread = threading.Thread(target=self.sample, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self.done.set()
        self.thread.join()
        if kind is None and self.env.pooled:
            assert self.most <= self.limit, f"{self.most} server connections, limit {self.limit}"

    def assert_rotation(self, clients=None, distinct=None, least=2):
        """Every client that had at least `least` transactions was served by two backends or more,
        all of them together by no more than `distinct` (the limit, unless servers were replaced on
        purpose)."""
        if not self.env.pooled:
            return
        busy = {client: set(pids) for client, pids in self.seen.items() if len(pids) >= least}
        assert busy, "no client recorded its backend often enough"
        if clients is not None:
            assert len(busy) == clients, f"{len(busy)} clients recorded, {clients} expected"
        stuck = [client for client, pids in busy.items() if len(pids) < 2]
        assert not stuck, f"{len(stuck)} of {len(busy)} clients saw one backend only"
        everyone = {pid for pids in self.seen.values() for pid in pids}
        allowed = distinct or self.limit
        assert len(everyone) <= allowed, f"{len(everyone)} backends seen, limit {allowed}"


class Turner:
    """Makes rotation certain instead of likely. The pool has two server connections and the turner
    holds one of them inside a transaction; turn() gives that one back after taking the other, so
    that whoever comes next is served by a backend that is not the one it had. Direct: does nothing."""

    def __init__(self, env):
        assert not env.pooled or env.limit == 2, "needs a pool of exactly two"
        self.env = env
        self.holder = None
        if env.pooled:
            self.pair = [env.connect(), env.connect()]
            self.turn()

    def turn(self):
        """Returns the backend that is NOT available to others until the next turn."""
        if not self.env.pooled:
            return None
        taker = self.pair[0] if self.holder is not self.pair[0] else self.pair[1]
        taker.execute("begin")
        held = taker.execute("select pg_backend_pid()").fetchone()[0]
        if self.holder is not None:
            self.holder.execute("commit")
        self.holder = taker
        return held

    def release(self):
        if self.holder is not None:
            self.holder.execute("commit")
            self.holder = None


def background(function, *arguments):
    """A thread whose exception is raised by join()."""
    class Thread(threading.Thread):
        error = None
        value = None

        def run(self):
            try:
                self.value = function(*arguments)
            except BaseException as error:  # handed to whoever joins
                self.error = error

        def join(self, timeout=None):
            super().join(timeout)
            if self.is_alive():
                raise AssertionError(f"{function.__name__} did not end within {timeout} s")
            if self.error:
                raise self.error
            return self.value
    thread = Thread(daemon=True)
    thread.start()
    return thread


def run_program(arguments, env, seconds=60, check=True, **options):
    """Runs a command-line program against the target; gives its output."""
    done = subprocess.run([str(argument) for argument in arguments], env=env.environment(
        **options.pop("environment", {})), cwd=env.tmp, text=True, timeout=seconds,
        stdin=None if "input" in options else subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{arguments[0]} ended with {done.returncode}:\n{done.stdout[-6000:]}")
    return done
