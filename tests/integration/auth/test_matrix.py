"""The matrix: how a client proves itself, times how pgweir proves itself, times TLS on either side, times the
password. Each login through pgweir is held against logins by libpq straight at PostgreSQL: the front one, by the
client's method and TLS, and if that gets in the back one, by the words of the [databases] line and what pgweir can
know of the password. The outcome must be theirs, with SQLSTATE and severity, the same TLS on both sides, and all
parameters (ParameterStatus), which are not the same for each user, database and set of startup options.

Left out, since another factor has decided already:
* Where the front login is refused no server is reached: one server method and mode, taken in turns, in place of all.
* A wrong password is as good as the right one where none is asked for (trust, cert, peer): likewise.
* peer is of Unix sockets, which have no TLS, and is asked of one OS user: the one that runs the test.
* All modes of the server side meet each way in where client_tls_sslmode is allow and the client's sslmode disable or
  require. In all other modes of clients they take turns, server methods do not.
* SCRAM verifiers and MD5 hashes in auth_file: the same code has them from auth_query, which is here.
* Kinds of bad certificates: test_tls.py, test_server_tls.py and test_hba_certificates.py.
"""
import collections
import concurrent.futures
import contextlib
import ctypes
import ctypes.util
import getpass
import itertools
import os
import re
import select
import shutil
import subprocess
import time

from psycopg import pq
from support import Skip, clean_environment, pool

from harness import pgweir, postgres, wire
from harness.certificates import Authority

RIGHT, WRONG = "correct horse", "wrong"
ME = getpass.getuser()
METHODS = ("trust", "password", "md5", "scram", "cert", "peer")  # databases of the server, too
SERVER_METHODS = METHODS[:5]
SERVER_MODES = ("disable", "prefer", "require", "verify-full")
CLIENT_TLS = ("disable", "allow", "require")  # client_tls_sslmode
CLIENT_MODES = ("disable", "prefer", "require")  # sslmode
STRICT_MODES = ("verify-ca", "verify-full", "unnamed")  # the last with a host that the certificate does not name

# The way in: method, user, whether SCRAM is bound to the channel, and what pgweir has of a right password.
Way = collections.namedtuple("Way", "method user bound holds")
WAYS = {
    "trust": Way("trust", "sam", False, "password"),
    "trust_md5_role": Way("trust", "mia", False, "password"),
    "trust_unlisted": Way("trust", "ann", False, None),
    "password": Way("password", "sam", False, "password"),
    "md5": Way("md5", "mia", False, "password"),
    "md5_of_scram": Way("md5", "sam", False, "password"),
    "scram": Way("scram", "sam", False, "password"),
    "scram_plus": Way("scram", "sam", True, "password"),
    "cert": Way("cert", "sam", False, "password"),
    "peer": Way("peer", "sam", False, "password"),
    "query_password": Way("password", "ann", False, "password"),
    "query_md5": Way("md5", "max", False, "hash"),
    "query_scram_of_md5": Way("scram", "max", False, "hash"),
    "query_scram": Way("scram", "ann", False, "keys"),
    "query_plus": Way("scram", "ann", True, "keys"),
}
# Where what is not the password serves as it does, since the server asks for the like.
SERVES = {"hash": ("md5",), "keys": ("md5", "scram"), None: ()}
# sam and mia are in auth_file, ann and max are looked up; sam and ann have SCRAM secrets, the others MD5.
ROLES = {"sam": "SCRAM", "ann": "SCRAM", "mia": "MD5", "max": "MD5"}
PREPARATION = ("alter role mia superuser; alter role ann set datestyle = 'SQL, DMY'; "
               "alter role max set default_transaction_read_only = on; "
               "alter database md5 set intervalstyle = 'iso_8601'; alter database scram set timezone = 'Asia/Tokyo'; "
               "alter role sam in database cert set standard_conforming_strings = off")
# Startup options of clients, taken in turns.
PROFILES = ({}, {"client_encoding": "LATIN1", "application_name": "matrix"},
            {"options": "-c DateStyle=German -c IntervalStyle=sql_standard -c TimeZone=America/Lima"})

LIBPQ = ctypes.CDLL(ctypes.util.find_library("pq"))
LIBPQ.PQsetErrorVerbosity.argtypes = (ctypes.c_void_p, ctypes.c_int)
VERBOSE = 2  # texts of errors have their SQLSTATE
WHO = b"select current_user, ssl from pg_stat_ssl where pid = pg_backend_pid()"

Outcome = collections.namedtuple("Outcome", "inside tls server_tls errors parameters")


def words(**options):
    return {name: str(value) for name, value in options.items() if value is not None}


def quoted(value):
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def conninfo(options):
    return " ".join(f"{name}={quoted(value)}" for name, value in options.items())


def errors_of(text):
    """(severity, SQLSTATE) of what the server said in one attempt or two; else libpq's own words."""
    said = re.findall(r"^(?:.*: )?(FATAL|ERROR|PANIC):  (\w{5}):", text, re.MULTILINE)
    return frozenset(said) or re.sub(r"\d{4,}|/\S+", "", text.strip())


def login(options, reported):
    """What comes of it by libpq: parameters are those whose names are `reported`."""
    connection = pq.PGconn.connect_start(conninfo(options).encode())
    LIBPQ.PQsetErrorVerbosity(connection.pgconn_ptr, VERBOSE)
    limit = time.monotonic() + 20
    try:
        step = pq.PollingStatus.WRITING if connection.status != pq.ConnStatus.BAD else pq.PollingStatus.FAILED
        while step not in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
            waits = [connection.socket]
            reads = step == pq.PollingStatus.READING
            ready = select.select(waits if reads else [], [] if reads else waits, [], limit - time.monotonic())
            assert any(ready), ("no end of the login", options)
            step = connection.connect_poll()
        if step == pq.PollingStatus.FAILED:
            return Outcome(False, None, None, errors_of(connection.error_message.decode()), None)
        parameters = {name: connection.parameter_status(name.encode()) for name in reported}
        answer = connection.exec_(WHO)
        assert answer.status == pq.ExecStatus.TUPLES_OK, (options, answer.error_message)
        assert answer.get_value(0, 0) == options["user"].encode(), options
        return Outcome(True, connection.ssl_in_use, answer.get_value(0, 1) == b"t", (), parameters)
    finally:
        connection.finish()


class Stage:
    """One PostgreSQL that is both the reference and the server behind pgweir: a database's name is its method."""

    def __init__(self, stack):
        self.authority = Authority()
        certificate, key = self.authority.issue("localhost", "server", "DNS:localhost")
        self.postgres = stack.enter_context(postgres.Postgres(
            {"max_connections": "500", "ssl_cert_file": certificate, "ssl_key_file": key,
             "ssl_ca_file": self.authority.certificate}, hba="local all all trust\n"))
        # SCRAM with few iterations, which are most of what a login costs.
        for name, kind in ROLES.items():
            secret = wire.scram_secret(RIGHT, iterations=16) if kind == "SCRAM" else wire.md5_secret(name, RIGHT)
            self.postgres.sql(f"create role {name} login password '{secret}'")
        for method in METHODS:
            self.postgres.sql(f"create database {method}")
        self.postgres.sql(PREPARATION)
        with open(os.path.join(self.postgres.data, "pg_ident.conf"), "w", encoding="ascii") as maps:
            maps.write(self.maps())
        self.shown = self.identity("shown")      # a client's certificate
        self.own = self.authority.issue("pgweir", "own", "DNS:pgweir")  # pgweir's, towards the server
        self.same_key = self.authority.path("same.key")  # for this process
        shutil.copy(self.own[1], self.same_key)
        os.chmod(self.same_key, 0o600)
        self.postgres.sql("create role asker superuser login")
        with wire.Client(self.postgres.port, self.postgres.folder) as client:
            self.reported = sorted(client.login("postgres", "postgres").parameters)

    @staticmethod
    def maps():
        return f"own {ME} sam\n" + "".join(f"own pgweir {name}\n" for name in ROLES) + "own sam sam\n"

    def identity(self, file):
        """Of user sam, with a key that this process may use."""
        certificate, key = self.authority.issue("sam", file, "DNS:sam")
        os.chown(key, os.geteuid(), os.getegid())
        return certificate, key

    @staticmethod
    def rules(kind, database):
        """The method of each database; `kind` is host or hostssl, `database` makes a word of a method."""
        written = {"scram": "scram-sha-256", "cert": "cert map=own", "peer": "peer map=own"}
        kinds = {"cert": "hostssl", "peer": "local"}
        return "".join(f"{kinds.get(method, kind)} {database(method)} all "
                       f"{'' if method == 'peer' else '127.0.0.1/32'} {written.get(method, method)}\n"
                       for method in METHODS)

    def take(self, mode):
        """PostgreSQL does what client_tls_sslmode = `mode` stands for."""
        server = self.postgres
        server.sql(f"alter system set ssl = {'off' if mode == 'disable' else 'on'}")
        server.hba("local all asker trust\n" + self.rules("hostssl" if mode == "require" else "host", str))
        wrong = server.sql("select line_number, error from pg_hba_file_rules where error not like '%cannot match%'")
        assert not wrong, wrong

    def client(self, way, mode, secret, profile=()):
        """The client's words, but for port and database."""
        local, unnamed = way.method == "peer", mode == "unnamed"
        return words(user="nobody" if secret == "unknown" else way.user, password=WRONG if secret == "wrong" else RIGHT,
                     sslmode=None if local else "verify-full" if unnamed else mode,
                     hostaddr=None if local else "127.0.0.1",
                     host=None if local else "other.example" if unnamed else "localhost",
                     sslrootcert=self.authority.certificate if mode in STRICT_MODES else None,
                     **dict(zip(("sslcert", "sslkey"), self.shown if way.method == "cert" else ("/nonexistent",))),
                     channel_binding="require" if way.bound else None, gssencmode="disable", connect_timeout=20,
                     **dict(profile))

    def front(self, way, mode, secret):
        """The words for PostgreSQL in the place of pgweir."""
        place = {"host": self.postgres.folder} if way.method == "peer" else {}
        return {**self.client(way, mode, secret), **place, "port": str(self.postgres.port), "dbname": way.method}

    def back(self, user, password, method, mode, profile):
        """The words for PostgreSQL that pgweir's login goes by."""
        own = self.server_words(method, mode)
        if "sslkey" in own:
            own["sslkey"] = self.same_key
        return words(**{"sslcert": "/nonexistent", **own}, host="localhost", hostaddr="127.0.0.1",
                     port=self.postgres.port, user=user, password=password, gssencmode="disable", connect_timeout=20,
                     **profile)

    def server_words(self, method, mode):
        """Of a [databases] line, but for the place."""
        own = {"dbname": method, "sslmode": mode}
        if mode == "verify-full":
            own["sslrootcert"] = self.authority.certificate
        if method == "cert":
            own["sslcert"], own["sslkey"] = self.own
        return own

    def daemon(self, mode):
        """With a line for each method of clients, method of the server, and mode there."""
        place = f"host=localhost port={self.postgres.port}"
        lines = {line(*cell): f"{place} {conninfo(self.server_words(*cell[1:]))}"
                 for cell in itertools.product(METHODS, SERVER_METHODS, SERVER_MODES)}
        lines["lookup"] = f"host={self.postgres.folder} port={self.postgres.port} dbname=postgres"
        daemon = pgweir.Pgweir(
            lines, {"sam": RIGHT, "mia": RIGHT}, start=False, auth_type="hba", auth_user="asker", auth_dbname="lookup",
            pool_size=1, max_overflow=0, pool_timeout="10s", server_login_retry="10ms", log_level="info",
            auth_query_cache="1h", **self.authority.settings(mode, client_tls_ca_file=self.authority.certificate))
        daemon.settings["unix_socket_dir"] = daemon.folder
        for name, text in (("hba", self.rules("host", lambda method: f'"/^{method}_"')), ("ident", self.maps())):
            daemon.settings[f"auth_{name}_file"] = os.path.join(daemon.folder, name)
            with open(daemon.settings[f"auth_{name}_file"], "w", encoding="ascii") as file:
                file.write(text)
        daemon.write()
        daemon.start()
        return daemon


def line(method, server_method, server_mode):
    return f"{method}_{server_method}_{server_mode}".replace("-", "_")


# Secret is "right", "wrong" or "unknown" (a user that is nowhere).
Cell = collections.namedtuple("Cell", "way mode secret server_method server_mode profile")


def fronts():
    """Of each client_tls_sslmode the logins that a client may try: (name of the way, mode, secret)."""
    for name, way in WAYS.items():
        modes = CLIENT_MODES if way.method != "peer" else CLIENT_MODES[:1]
        yield from itertools.product([name], modes, ("right", "wrong", "unknown"))
        yield from itertools.product([name], () if way.method == "peer" else STRICT_MODES, ("right",))


def cells(client_tls, inside):
    """What is tried of a pgweir with this client_tls_sslmode; `inside` says who gets in at its front."""
    whole = ("disable", "require") if client_tls == "allow" else ()
    turns = itertools.cycle(itertools.product(SERVER_METHODS, SERVER_MODES))
    modes = itertools.cycle(SERVER_MODES)
    profiles = itertools.cycle(range(len(PROFILES)))
    for name, mode, secret in fronts():
        if not inside[name, mode, secret] or secret != "right":
            servers = [next(turns)]
        elif mode in whole:
            servers = itertools.product(SERVER_METHODS, SERVER_MODES)
        else:
            servers = [(method, next(modes)) for method in SERVER_METHODS]
        for server in servers:
            yield Cell(name, mode, secret, *server, next(profiles))


def server_login(cell):
    """User and password of pgweir's own login."""
    way = WAYS[cell.way]
    if cell.secret == "unknown":
        return "nobody", None
    return way.user, RIGHT if way.holds == "password" or cell.server_method in SERVES[way.holds] else None


def expected(cell, front, back):
    """The front's refusal, or what becomes of pgweir's login with the front's TLS. Whether a user exists who
    is asked for nothing is the server's to say."""
    at_front = front[cell[:3]]
    left_to_server = (cell.secret == "unknown" and WAYS[cell.way].method == "trust"
                      and front[cell.way, cell.mode, "right"].inside)
    if not at_front.inside and not left_to_server:
        return at_front
    if back.inside:
        return back._replace(tls=at_front.tls)
    # Where libpq itself gives up, so does pgweir, but has to tell its client.
    errors = back.errors if isinstance(back.errors, frozenset) else frozenset({("FATAL", "08006")})
    if cell.mode == "prefer" and not front[cell.way, "disable", "right"].inside:  # comes again without TLS
        again = front[cell.way, "disable", cell.secret].errors
        errors |= again if isinstance(again, frozenset) else frozenset()
    return back._replace(errors=errors)


def directly(stage, threads, mode):
    """What PostgreSQL says to each client: {(way, mode, secret): outcome}."""
    stage.take(mode)
    keys = list(fronts())
    return dict(zip(keys, threads.map(lambda key: login(stage.front(WAYS[key[0]], *key[1:]), ()), keys)))


def behind(stage, threads, tried):
    """What PostgreSQL says to pgweir's words in each of these cells."""
    def key(cell):
        return (*server_login(cell), cell.server_method, cell.server_mode, cell.profile)
    keys = list({key(cell): None for cell in tried})
    found = dict(zip(keys, threads.map(
        lambda key: login(stage.back(*key[:4], PROFILES[key[4]]), stage.reported), keys)))
    return {cell: found[key(cell)] for cell in tried}


def through(stage, daemon, cell):
    way = WAYS[cell.way]
    place = {"host": daemon.folder} if way.method == "peer" else {}
    return login({**stage.client(way, cell.mode, cell.secret, PROFILES[cell.profile].items()), **place,
                  "port": str(daemon.port), "dbname": line(way.method, cell.server_method, cell.server_mode)},
                 stage.reported)


def psql(options):
    """Exit status and what psql says, in its own words."""
    done = subprocess.run(
        [os.path.join(postgres.bindir(), "psql"), "-X", "-A", "-t", "-c",
         "select current_user, current_setting('is_superuser'), current_setting('server_version')", conninfo(options)],
        env=clean_environment(PSQL_HISTORY="/dev/null"), capture_output=True, text=True, timeout=20, check=False,
        stdin=subprocess.DEVNULL)
    said = re.sub(r"\b\d{4,5}\b|/[^\s\"]+|on socket \S+", "", done.stderr)
    return done.returncode, done.stdout, said


def by_psql(stage, daemon, threads):
    """psql straight at PostgreSQL and through pgweir, each way with each kind of secret: all it prints."""
    keys = [key for key in fronts() if key[1] == "require" or WAYS[key[0]].method == "peer"]

    def both(key):
        way = WAYS[key[0]]
        # A user that is nowhere is refused by this server in the front's words.
        lead = line(way.method, "trust", "disable")
        words_of_client = stage.client(way, *key[1:])
        return psql(stage.front(way, *key[1:])), psql({
            **words_of_client, **({"host": daemon.folder} if way.method == "peer" else {}),
            "port": str(daemon.port), "dbname": lead})
    found = list(zip(keys, threads.map(both, keys)))
    assert {direct[0] for _, (direct, _) in found} == {0, 2}, found
    return [("psql", *key, "pgweir:", pooled, "PostgreSQL:", direct) for key, (direct, pooled) in found
            if direct != pooled]


def reported_by(daemon):
    """Names of the parameters that a client is told of at its login."""
    with wire.Client(daemon.port, daemon.folder) as client:
        return sorted(client.login("sam", line("peer", "trust", "disable")).parameters)


def told(outcome, other):
    """An outcome, of whose parameters only those that differ."""
    differing = {name: value for name, value in (outcome.parameters or {}).items()
                 if (other.parameters or {}).get(name) != value}
    return outcome._replace(parameters=differing)


def seen_in(found):
    """What came up, so that nothing of it can silently be missing."""
    return {(got.inside, got.tls, got.server_tls) if got.inside else "libpq" if isinstance(got.errors, str)
            else max(got.errors)[1] for got in found}


@pool(seconds=300)
def test_each_cell_is_as_direct_logins_are(env):
    if env.against != "pgweir":
        raise Skip("it starts its own")
    with contextlib.ExitStack() as stack:
        stage = Stage(stack)
        threads = stack.enter_context(concurrent.futures.ThreadPoolExecutor(4))
        front = {mode: directly(stage, threads, mode) for mode in CLIENT_TLS}
        tried = {mode: list(cells(mode, {key: found.inside for key, found in front[mode].items()}))
                 for mode in CLIENT_TLS}
        stage.take("allow")
        back = behind(stage, threads, [cell for some in tried.values() for cell in some])
        differ, seen, count = [], set(), 0
        for mode in CLIENT_TLS:
            with stage.daemon(mode) as daemon:
                found = list(threads.map(lambda cell: through(stage, daemon, cell), tried[mode]))
                if mode == "allow":
                    differ += by_psql(stage, daemon, threads)
                assert reported_by(daemon) == stage.reported
            for cell, got in zip(tried[mode], found):
                wanted = expected(cell, front[mode], back[cell])
                if got != wanted:
                    differ.append((mode, *cell, "pgweir:", told(got, wanted), "PostgreSQL:", told(wanted, got)))
            seen |= seen_in(found)
            count += len(found)
        assert not differ, f"{len(differ)} of {count} differ:\n" + "\n".join(map(str, differ[:20]))
        assert count > 1000 and seen == {
            *((True, *tls) for tls in itertools.product((False, True), repeat=2)), "28000", "28P01", "08006", "libpq"}, seen
