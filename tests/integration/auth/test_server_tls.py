"""TLS between pgweir and PostgreSQL. What libpq makes of a server, pgweir makes of it too: the same DSN gets
in or not, with TLS or without, against good and bad certificates; the rest is what only a pooler has."""
import concurrent.futures
import contextlib
import os
import shutil
import socket
import subprocess
import threading

import psycopg
from support import PASSWORD, Skip, pool

from harness import pgweir, postgres, process

TRUST = "host all all 127.0.0.1/32 trust\n"
# Words of a DSN; {root}, {crl} are files of the private authority.
LINES = {f"{mode.replace('-', '_')}{name}": f"sslmode={mode}{words}"
         for mode in ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
         for name, words in (("", ""), ("_root", " sslrootcert={root}"),
                             ("_crl", " sslrootcert={root} sslcrl={crl}"))
         if words or not mode.startswith("verify")}
LINES |= {"old_versions": "sslmode=require ssl_min_protocol_version=TLSv1.2 ssl_max_protocol_version=TLSv1.2",
          "unspoken_name": "sslmode=verify-full sslrootcert={root} sslsni=0",
          "bound": "sslmode=require channel_binding=require"}
# Certificate, rules of pg_hba.conf.
SERVERS = {
    "plain": (None, TRUST),
    "good": ("good", TRUST),
    "wrong_host": ("wrong", TRUST),
    "self_signed": ("selfsigned", TRUST),
    "expired": ("expired", TRUST),
    "revoked": ("revoked", TRUST),
    "only_tls": ("good", TRUST.replace("host", "hostssl", 1)),
    "only_plain": ("good", TRUST.replace("host", "hostnossl", 1)),
}


class Authority:
    """Certificates for PostgreSQL and for clients; `path` of a name ends in .crt or .key."""

    def __init__(self):
        self.folder = process.folder("authority")
        os.chmod(self.folder, 0o755)
        self.write("index.txt", "")
        self.write("ca.cnf", "[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\nnew_certs_dir = .\n"
                   "certificate = root.crt\nprivate_key = root.key\ndefault_md = sha256\nrand_serial = yes\n"
                   "unique_subject = no\npolicy = any\ncopy_extensions = copy\ndefault_crl_days = 30\n"
                   "[any]\ncommonName = supplied\n")
        self.key("root", "-x509", "-days", "30", "-subj", "/CN=private authority")
        for name, alternatives in (("good", "DNS:localhost,IP:127.0.0.1"), ("wrong", "DNS:other.example"),
                                   ("expired", "DNS:localhost"), ("revoked", "DNS:localhost"),
                                   ("app", "DNS:app")):
            self.key(name, "-subj", f"/CN={name}", "-addext", f"subjectAltName={alternatives}")
            span = (["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"] if name == "expired"
                    else ["-days", "20"])
            self.openssl("ca", "-batch", "-notext", "-config", "ca.cnf", "-in", f"{name}.csr", "-out",
                         f"{name}.crt", *span)
        self.key("selfsigned", "-x509", "-days", "20", "-subj", "/CN=localhost", "-addext",
                 "subjectAltName=DNS:localhost")
        self.openssl("ca", "-config", "ca.cnf", "-revoke", "revoked.crt")
        self.openssl("ca", "-config", "ca.cnf", "-gencrl", "-out", "crl.pem")
        for name in os.listdir(self.folder):
            identity = postgres.identity()
            if identity:
                os.chown(self.path(name), identity["user"], identity["group"])
            os.chmod(self.path(name), 0o600 if name.endswith(".key") else 0o644)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="ascii") as file:
            file.write(text)

    def openssl(self, *words):
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True, timeout=60)

    def key(self, name, *words):
        self.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                     "-keyout", f"{name}.key", "-out", f"{name}.crt" if "-x509" in words else f"{name}.csr",
                     *words)

    def fill(self, words):
        return words.format(root=self.path("root.crt"), crl=self.path("crl.pem"))


class Server(postgres.Postgres):
    def __init__(self, authority):
        self.authority = authority
        super().__init__(hba=TRUST)
        self.sql(f"create role app login password '{PASSWORD.replace(chr(39), 2 * chr(39))}'")

    def dress(self, certificate, hba=TRUST):
        """Takes a certificate, or none at all, and waits until it is in force."""
        self.sql(f"alter system set ssl = {'on' if certificate else 'off'}")
        if certificate:
            self.sql(f"alter system set ssl_ca_file = '{self.authority.path('root.crt')}'")
            for word, end in (("cert", "crt"), ("key", "key")):
                self.sql(f"alter system set ssl_{word}_file = '{self.authority.path(certificate + '.' + end)}'")
        self.hba(hba)
        assert self.sql("show ssl") == [("on" if certificate else "off",)], self.tail()


@contextlib.contextmanager
def server():
    if not shutil.which("openssl"):
        raise Skip("openssl is missing")
    if os.path.exists(os.path.expanduser("~/.postgresql")):
        raise Skip("libpq would read ~/.postgresql")
    with Server(Authority()) as database:
        yield database


SECURED = "select ssl, pg_backend_pid() from pg_stat_ssl where pid = pg_backend_pid()"


def outcome(dsn):
    """'tls', 'plain', or None for a login that fails; and the error."""
    try:
        with psycopg.connect(dsn, connect_timeout=20, autocommit=True) as connection:
            return ("tls" if connection.execute(SECURED).fetchone()[0] else "plain"), ""
    except psycopg.Error as error:
        return None, str(error)


def only_pgweir(env):
    if env.against != "pgweir":
        raise Skip("about pgweir's own connections")


@pool(seconds=240)
def test_the_same_outcome_as_libpq(env):
    only_pgweir(env)
    with server() as database:
        lines = {name: database.authority.fill(words) for name, words in LINES.items()}
        target = f"host=localhost port={database.port} dbname=postgres user=app"
        differ, seen = [], set()
        for kind, (certificate, hba) in SERVERS.items():
            database.dress(certificate, hba)
            with pgweir.Pgweir({name: f"{target} {words}" for name, words in lines.items()},
                               pool_timeout=5, server_login_retry="100ms") as daemon, \
                    concurrent.futures.ThreadPoolExecutor(6) as threads:
                direct = threads.map(outcome, [f"{target} {words}" for words in lines.values()])
                through = threads.map(outcome, [
                    f"host=127.0.0.1 port={daemon.port} dbname={name} user=app sslmode=disable" for name in lines])
                for name, one, two in zip(lines, direct, through):
                    seen.add(one[0])
                    if one[0] != two[0]:
                        differ.append((kind, name, "libpq:", one, "pgweir:", two))
        assert not differ, "\n".join(map(str, differ))
        assert seen == {"tls", "plain", None}, seen


def connect(daemon, name="db", **words):
    return psycopg.connect(host="127.0.0.1", port=daemon.port, dbname=name, user="app", autocommit=True,
                           sslmode="disable", **words)


@pool(seconds=120)
def test_failures_say_why(env):
    only_pgweir(env)
    with server() as database:
        target = f"host=localhost port={database.port} dbname=postgres user=app"
        root = database.authority.fill("sslrootcert={root} sslcrl={crl}")
        for kind, texts in (("wrong", ("certificate verify failed", "hostname mismatch", "localhost")),
                            ("expired", ("certificate verify failed", "expired")),
                            ("revoked", ("certificate verify failed", "revoked")),
                            ("selfsigned", ("certificate verify failed", "self")),
                            (None, ("does not support TLS",))):
            database.dress(kind)
            with pgweir.Pgweir({"db": f"{target} sslmode=verify-full {root}"}, pool_timeout=5) as daemon:
                found, error = outcome(f"host=127.0.0.1 port={daemon.port} dbname=db user=app sslmode=disable")
                assert found is None and all(text in error for text in texts), (kind, error)


@pool(seconds=120)
def test_methods_of_login(env):
    """SCRAM bound to the channel, and a certificate in place of a password."""
    only_pgweir(env)
    with server() as database:
        authority = database.authority
        secret = "'" + PASSWORD.replace("\\", "\\\\").replace("'", "\\'") + "'"
        target = f"host=localhost port={database.port} dbname=postgres user=app sslmode=require"
        shown = f"sslcert={authority.path('app.crt')} sslkey={authority.path('app.key')}"
        other = f"sslcert={authority.path('good.crt')} sslkey={authority.path('good.key')}"
        scram, clear, cert = (f"hostssl all all 127.0.0.1/32 {method}\n"
                              for method in ("scram-sha-256", "password", "cert"))
        for hba, words, good in (
                (scram, f"password={secret} channel_binding=require", True),
                (scram, f"password={secret} channel_binding=prefer", True),
                (scram, f"password={secret} channel_binding=disable", True),
                (scram, "password=wrong channel_binding=require", False),
                (clear, f"password={secret}", True),
                (clear, f"password={secret} channel_binding=require", False),
                (cert, shown, True),
                (cert, other, False),
                (cert, "", False)):
            database.dress("good", hba)
            with pgweir.Pgweir({"db": f"{target} {words}"}, pool_timeout=5) as daemon:
                found, error = outcome(f"host=127.0.0.1 port={daemon.port} dbname=db user=app sslmode=disable")
                assert found == ("tls" if good else None), (hba, words, found, error)


@pool(seconds=120)
def test_work_rotation_and_the_console(env):
    only_pgweir(env)
    with server() as database:
        database.dress("good", TRUST.replace("host", "hostssl", 1))
        dsn = f"host=localhost port={database.port} dbname=postgres sslmode=verify-full " \
            + database.authority.fill("sslrootcert={root}")
        with pgweir.Pgweir({"db": dsn}, pool_size=2, max_overflow=0, admin_users="app") as daemon, \
                contextlib.ExitStack() as closing:
            clients = [closing.enter_context(connect(daemon)) for _ in range(6)]
            database.sql("create table kept(n int, t text)")
            database.sql("grant all on kept to app")
            for number, client in enumerate(clients):
                with client.transaction():
                    client.execute("insert into kept select %s, repeat('x', 1000)", [number])
            text = b"".join(b"7\t%s\n" % (b"y" * 500) for _ in range(10000))
            with clients[0].cursor() as cursor, cursor.copy("copy kept from stdin") as copy:
                copy.write(text)
            with clients[1].cursor() as cursor, cursor.copy("copy kept to stdout") as copy:
                assert sum(len(piece) for piece in copy) > len(text)
            assert clients[2].execute("select count(*) from kept").fetchone() == (10006,)
            # Two at once use both connections, and all that follow go round them.
            held = {}
            with clients[0].transaction(), clients[1].transaction():
                held = {client.execute(SECURED).fetchone() for client in clients[:2]}
            rows = {client.execute(SECURED).fetchone() for client in clients for _ in range(5)}
            assert len(held) == 2 and rows <= held and all(row[0] for row in rows), (held, rows)
            with connect(daemon, "pgweir") as console:
                shown = console.execute("show servers")
                at = [column.name for column in shown.description].index("tls")
                rows = shown.fetchall()
            assert len(rows) == 2 and all(row[at].startswith("TLSv1.3/TLS_") for row in rows), rows


class Tap:
    """Passes bytes on to a port and keeps the first ones of each connection."""

    def __init__(self, port):
        self.target = port
        self.begun = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                begun = bytearray()
                self.begun.append(begun)
                for one, two, record in ((near, far, begun), (far, near, None)):
                    threading.Thread(target=self.move, args=(one, two, record), daemon=True).start()

    @staticmethod
    def move(one, two, record):
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if record is not None and len(record) < 9:
                    record += data[:9]
                two.sendall(data)
            two.shutdown(socket.SHUT_WR)


@pool(seconds=60)
def test_cancel_requests_are_encrypted_too(env):
    only_pgweir(env)
    with server() as database:
        database.dress("good")
        tap = Tap(database.port)
        with pgweir.Pgweir({"db": f"host=localhost port={tap.port} dbname=postgres sslmode=require"}) as daemon, \
                connect(daemon) as client:
            client.execute("select 1")
            timer = threading.Timer(1, client.cancel)
            timer.start()
            try:
                client.execute("select pg_sleep(50)")
                raise AssertionError("it was not cancelled")
            except psycopg.errors.QueryCanceled:
                pass
            assert client.execute("select 1").fetchone() == (1,)
        tap.listener.close()
        assert len(tap.begun) == 2, tap.begun
        for begun in tap.begun:  # SSLRequest, then a record of a handshake
            assert begun[:9] == b"\0\0\0\x08\x04\xd2\x16\x2f\x16", tap.begun


@pool(seconds=120)
def test_reload(env):
    """Another mode and another file lead to other connections; a bad file changes nothing."""
    only_pgweir(env)
    with server() as database:
        database.dress("good")
        target = f"host=localhost port={database.port} dbname=postgres"
        root = os.path.join(database.authority.folder, "copy.crt")
        shutil.copy(database.authority.path("root.crt"), root)
        os.chmod(root, 0o644)
        with pgweir.Pgweir({"db": f"{target} sslmode=disable"}, pool_size=1, pool_timeout=5) as daemon, \
                connect(daemon) as client:
            first = client.execute(SECURED).fetchone()
            assert first[0] is False
            daemon.databases["db"] = f"{target} sslmode=verify-ca sslrootcert={root}"
            daemon.reload()
            second = process.wait_until(lambda: (lambda row: row if row[0] else None)(
                client.execute(SECURED).fetchone()), "TLS after the reload")
            daemon.reload()
            assert client.execute(SECURED).fetchone() == second, "nothing differs, nothing is replaced"
            shutil.copy(database.authority.path("wrong.crt"), root)  # no authority
            daemon.reload()
            process.wait_until(lambda: outcome(
                f"host=127.0.0.1 port={daemon.port} dbname=db user=app sslmode=disable")[0] is None,
                "the other authority counts", 20)
        with pgweir.Pgweir({"db": f"{target} sslmode=require"}) as daemon, connect(daemon) as client:
            before = client.execute(SECURED).fetchone()
            daemon.databases["db"] = f"{target} sslmode=verify-ca sslrootcert=/nonexistent/root.crt"
            daemon.write()
            status, said = pgweir.run("--check", daemon.ini)
            assert status != 0 and "sslrootcert" in said and "/nonexistent/root.crt" in said and ":" in said, said
            daemon.reload()
            assert client.execute(SECURED).fetchone() == before
            daemon.databases["db"] = f"{target} sslmode=require"
            daemon.write()


@pool(seconds=60)
def test_global_settings_stand_behind(env):
    only_pgweir(env)
    with server() as database:
        database.dress("wrong")
        target = f"host=localhost port={database.port} dbname=postgres"
        root = database.authority.path("root.crt")
        lines = {"silent": target, "own": f"{target} sslmode=disable",
                 "local": f"host={database.folder} port={database.port} dbname=postgres user=postgres"}
        for section, settings, expected in (
                ("pgweir", {}, ("plain", "plain")),
                ("pgbouncer", {}, ("tls", "plain")),
                ("pgweir", {"server_tls_sslmode": "require", "server_tls_ca_file": root}, ("tls", "plain")),
                ("pgweir", {"server_tls_sslmode": "verify-ca", "server_tls_ca_file": root}, ("tls", "plain")),
                ("pgweir", {"server_tls_sslmode": "verify-full", "server_tls_ca_file": root}, (None, "plain"))):
            with pgweir.Pgweir(lines, section=section, pool_timeout=5, **settings) as daemon:
                at = f"host=127.0.0.1 port={daemon.port} user=app sslmode=disable dbname="
                found = tuple(outcome(at + name)[0] for name in ("silent", "own"))
                assert found == expected, (section, settings, found)
                assert outcome(at + "local")[0] == "plain"


@pool(seconds=60)
def test_users_are_looked_up_through_tls(env):
    only_pgweir(env)
    with server() as database:
        words = database.authority.fill("sslmode=verify-full sslrootcert={root}")
        for certificate, good in (("good", True), ("wrong", False)):
            database.dress(certificate, TRUST.replace("host", "hostssl", 1))
            with pgweir.Pgweir({"db": f"host=localhost port={database.port} dbname=postgres {words}"}, users={},
                               auth_type="scram-sha-256", auth_user="postgres", pool_timeout=5,
                               auth_query="SELECT usename, passwd FROM pg_shadow WHERE usename = $1") as daemon:
                try:
                    with connect(daemon, password=PASSWORD) as client:
                        assert good and client.execute(SECURED).fetchone()[0] is True
                except psycopg.OperationalError as error:
                    assert not good, error
