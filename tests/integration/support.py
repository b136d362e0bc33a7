"""What every integration test stands on: a private PostgreSQL, the pooler under test, a database of
the test's own, and the checks of pooling that most tests share.

A test is a function `test_NAME(env)`. `@pool(...)` says which pool it wants; with --direct the same
function runs against PostgreSQL itself and only the assertions on rotation are left out.
"""
import contextlib
import os
import pathlib
import random
import shutil
import socket
import subprocess
import threading
import time

import psycopg
import psycopg.rows
from psycopg import sql

from harness import postgres, process, wire
from harness.testing import Skip  # noqa: F401 (for the tests)

PASSWORD = "correct horse 'battery\\ staple"
USERS = ("app", "second", "third")  # log in by SCRAM
TRUSTED = "raw"                     # logs in without a password: for tests that speak the protocol


def pool(**settings):
    """Pool settings of a test. pool_size and max_overflow give the limit that is asserted; `auth`
    is 'scram' or 'trust'; `seconds` the time limit; `own_cluster` a PostgreSQL for this test alone;
    `entry` is added to the [databases] line; everything else goes into the ini file as it is, but for {tmp}, the test's folder."""
    def mark(function):
        function.pool = settings
        return function
    return mark


def clean_environment(**more):
    """The environment without anything that libpq and its relatives would act on."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    return {**kept, "LC_ALL": "C.UTF-8", **more}


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


class Cluster(postgres.Postgres):
    """A private PostgreSQL with the users of these tests."""

    def __init__(self):
        super().__init__(settings={"max_connections": "400", "shared_buffers": "64MB", "autovacuum": "off",
                                   "log_min_messages": "warning", "max_prepared_transactions": "20",
                                   "listen_addresses": "127.0.0.1,::1" if has_ipv6() else "127.0.0.1"},
                         hba="".join(f"host all {TRUSTED} {address} trust\nhost all all {address} scram-sha-256\n"
                                     for address in ("127.0.0.1/32", "::1/128")))
        with self.connect("postgres") as connection:
            for user in USERS + (TRUSTED,):
                connection.execute(sql.SQL("create role {} superuser login password {}").format(
                    sql.Identifier(user), sql.Literal(PASSWORD)))

    def connect(self, dbname):
        return psycopg.connect(host=self.folder, port=self.port, dbname=dbname, user="postgres",
                               autocommit=True, application_name="observer")


class Pgbouncer:
    """PgBouncer, to compare with: the same face as harness.pgweir.Pgweir as far as it is used here."""

    def __init__(self, databases, users, **settings):
        self.folder = process.folder("pgbouncer")
        self.port = process.free_port()
        self.log = os.path.join(self.folder, "log")
        ini = os.path.join(self.folder, "pgbouncer.ini")
        settings = {"listen_addr": "127.0.0.1", "listen_port": self.port, "max_client_conn": 1000,
                    "unix_socket_dir": "", "ignore_startup_parameters": "extra_float_digits,search_path,options,jit",
                    "auth_file": os.path.join(self.folder, "users.txt"), **settings}
        with open(settings["auth_file"], "w", encoding="utf-8") as file:
            file.writelines('"%s" "%s"\n' % pair for pair in users.items())
        with open(ini, "w", encoding="utf-8") as file:
            file.write("[pgbouncer]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
            file.write("[databases]\n" + "".join(f"{name} = {dsn}\n" for name, dsn in databases.items()))
        program = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
        with open(self.log, "wb") as log:
            self.child = process.spawn([program, ini], stdout=log, stderr=log, **postgres.identity())
        process.wait_until(self.listens, "pgbouncer listens")

    def listens(self):
        with contextlib.suppress(OSError):
            wire.Client(self.port).close()
            return True

    def tail(self, lines=30):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def stop(self):
        process.end(self.child)

    abandon = stop


class Env:
    """One test's view: where to connect, and the direct way round the pooler to look behind it."""

    def __init__(self, cluster, against, settings, name):
        settings = dict(settings)
        self.cluster = cluster
        self.against = against
        self.direct = against == "direct"
        self.pooled = against in ("pgweir", "pgbouncer")
        self.auth = settings.pop("auth", "scram")
        self.entry = settings.pop("entry", "")
        self.limit = settings.setdefault("pool_size", 10) + settings.setdefault("max_overflow", 0)
        self.pool_size = settings["pool_size"]
        settings.setdefault("pool_timeout", 15)
        self.settings = settings
        self.user = TRUSTED if self.auth == "trust" else "app"
        self.password = PASSWORD
        self.dbname = name
        self.host = "127.0.0.1"
        self.port = cluster.port
        self.tmp = pathlib.Path(process.folder("test"))
        for key, value in settings.items():
            settings[key] = value.replace("{tmp}", str(self.tmp)) if isinstance(value, str) else value
        self.pooler = None
        self.lock = threading.Lock()
        self.closing = contextlib.ExitStack()
        # From PostgreSQL 18 on a Query in a segment that no Sync has ended is part of its transaction.
        # 18.6 does not always find out of it again: an error (XX000) or its end at what comes next.
        self.joins_queries = cluster.version >= 180000

    def open(self):
        with self.cluster.connect("postgres") as connection:
            connection.execute(sql.SQL("create database {} template template0").format(
                sql.Identifier(self.dbname)))
        if not self.direct:
            self.start_pooler()
            self.port = self.pooler.port

    def start_pooler(self):
        databases = {self.dbname: f"host=127.0.0.1 port={self.cluster.port} dbname={self.dbname} {self.entry}"}
        users = dict.fromkeys(USERS + (TRUSTED,), PASSWORD)
        auth = "trust" if self.auth == "trust" else "scram-sha-256"
        if self.against == "pgweir":
            from harness import pgweir
            self.pooler = pgweir.Pgweir(databases, users, **{
                "auth_type": auth, "log_level": "info", "log_stats": "off", **self.settings})
            return
        session = self.against == "pgbouncer-session"
        self.pooler = Pgbouncer(databases, users, auth_type=auth, pool_mode="session" if session else "transaction",
                                default_pool_size=200 if session else self.pool_size)

    def close(self):
        """At the end of a test that passed: the pooler must end cleanly."""
        self.closing.close()
        if self.pooler:
            self.pooler.stop()

    def remove(self):
        with contextlib.suppress(Exception):
            self.closing.close()
        if self.pooler:
            self.pooler.abandon()
        with contextlib.suppress(psycopg.Error), self.cluster.connect("postgres") as connection:
            for name in (self.dbname, self.dbname + "reference"):
                connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    # ---- ways to connect

    def parameters(self, **changes):
        """libpq keywords of the target; None leaves one out."""
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

    def raw(self, user=None, **parameters):
        """A client that speaks the protocol by hand, for tests with auth='trust'."""
        client = wire.Client(self.port, self.host, timeout=20)
        self.closing.callback(client.close)
        return client.login(user or self.user, self.dbname, self.password, **parameters)

    def cluster_client(self, **parameters):
        """A raw client on PostgreSQL itself, in the test's database."""
        client = wire.Client(self.cluster.port, "127.0.0.1", timeout=20)
        self.closing.callback(client.close)
        return client.login(TRUSTED, self.dbname, **parameters)

    def show(self, what):
        """Rows of the console as dictionaries; the test's pool has admin_users."""
        with psycopg.connect(**self.parameters(dbname="pgweir"), autocommit=True,
                             row_factory=psycopg.rows.dict_row) as connection:
            cursor = connection.execute(what)
            return cursor.fetchall() if cursor.description else []

    def reference(self, **parameters):
        """A raw client on PostgreSQL itself, in a database of its own that looks like the test's."""
        name = self.dbname + "reference"
        with self.lock, self.cluster.connect("postgres") as connection:
            if not connection.execute("select 1 from pg_database where datname = %s", (name,)).fetchone():
                connection.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
        client = wire.Client(self.cluster.port, "127.0.0.1", timeout=20)
        self.closing.callback(client.close)
        return client.login(TRUSTED, name, **parameters)

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
            return self.backends("pid, state, wait_event, now() - state_change, query", "state <> 'idle'")
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
            last = 0
            while not self.done.wait(self.every):
                count = connection.execute(
                    "select count(*) from pg_stat_activity where datname = %s and usename <> 'postgres'"
                    " and backend_type = 'client backend'", (self.env.dbname,)).fetchone()[0]
                # A backend that was told to end counts until it has: look twice.
                self.most = max(self.most, min(count, last))
                last = count

    def __enter__(self):
        self.thread = threading.Thread(target=self.sample, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self.done.set()
        self.thread.join()
        if kind is None and self.env.pooled:
            assert self.most <= self.limit, f"{self.most} server connections, limit {self.limit}"

    def assert_rotation(self, clients=None, distinct=None, least=2, lucky=0):
        """Clients that had at least `least` transactions were served by two backends or more, all of
        them together by no more than `distinct` (the limit, unless servers were replaced on purpose).
        Each of them, but for `lucky`: a program that this cannot disturb may meet one backend always."""
        stuck = self.unmoved(clients, distinct, least)
        assert len(stuck) <= lucky, f"{len(stuck)} of {len(self.seen)} clients saw one backend only"

    def unmoved(self, clients=None, distinct=None, least=2):
        """Those clients that were served by one backend only; the rest of assert_rotation holds."""
        if not self.env.pooled:
            return set()
        busy = {client: set(pids) for client, pids in self.seen.items() if len(pids) >= least}
        assert busy, "no client recorded its backend often enough"
        if clients is not None:
            assert len(busy) == clients, f"{len(busy)} clients recorded, {clients} expected"
        everyone = {pid for pids in self.seen.values() for pid in pids}
        allowed = distinct or self.limit
        assert len(everyone) <= allowed, f"{len(everyone)} backends seen, limit {allowed}"
        return {client for client, pids in busy.items() if len(pids) < 2}


def until_rotated(once, attempts=5, **claims):
    """For programs of their own, whose clients have few transactions that nobody outside can place:
    runs `once`, which returns its Watch, until each of its clients has been moved in one run or
    another. Everything else that `once` checks must hold in every run."""
    stuck = None
    for _ in range(attempts):
        watch = once()
        if not watch.seen:
            return
        now = watch.unmoved(**claims)
        stuck = now if stuck is None else stuck & now
        if not stuck:
            return
    raise AssertionError(f"in none of {attempts} runs were these clients moved: {sorted(stuck)}")


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

    def turn(self, patience=None):
        """Returns the backend that is NOT available to others until the next turn. With `patience`
        it gives up after so many seconds: a client that is pinned cannot be moved."""
        if not self.env.pooled:
            return None
        taker = self.pair[0] if self.holder is not self.pair[0] else self.pair[1]
        timer = threading.Timer(patience or 1000, taker.cancel)
        timer.start()
        try:
            taker.execute("begin")
        except psycopg.errors.QueryCanceled:
            return None
        finally:
            timer.cancel()
        held = taker.execute("select pg_backend_pid()").fetchone()[0]
        if self.holder is not None:
            self.holder.execute("commit")
        self.holder = taker
        return held

    def release(self):
        if self.holder is not None:
            self.holder.execute("commit")
            self.holder = None

    def end(self):
        """Gives back what it holds and leaves."""
        self.release()
        if self.env.pooled:
            for connection in self.pair:
                connection.close()


class Noise:
    """Keeps the others from falling into step and meeting the same backend for ever. A pool of two is
    turned every few milliseconds, which makes rotation certain; a larger one gets clients that take
    connections at random. Direct: does nothing."""

    def __init__(self, env):
        self.env = env
        self.done = threading.Event()

    def turn(self):
        turner = Turner(self.env)
        while not self.done.wait(0.002):
            turner.turn()
        turner.end()

    def take(self, number):
        connection = psycopg.connect(**self.env.parameters(application_name="noise"), autocommit=True)
        draw = random.Random(number).random
        try:
            while not self.done.wait(draw() * 0.01):
                with connection.transaction():
                    connection.execute("select 1")
                    if draw() < 0.3:
                        time.sleep(draw() * 0.01)
        finally:
            connection.close()

    def __enter__(self):
        if not self.env.pooled:
            self.threads = []
        elif self.env.limit == 2:
            self.threads = [background(self.turn)]
        else:
            self.threads = [background(self.take, number) for number in range(3)]
        return self

    def __exit__(self, kind, error, trace):
        self.done.set()
        for thread in self.threads:
            try:
                thread.join(20)
            except Exception:
                if kind is None:
                    raise


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
