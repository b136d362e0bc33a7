"""PostgreSQL and pgweir under the same rules.

The reference is held to the rules; the server behind pgweir trusts everybody, so that what refuses a
login there is pgweir, or PostgreSQL for what pgweir leaves to it (roles and databases that do not exist).
"""
import contextlib
import os
import re
import signal
import ssl

from support import has_ipv6

from harness import pgweir, postgres, process, wire

SECRET = "correct horse"
ROLES = ("scram", "hashed", "reader")
DATABASES = ("one", "two", "reader")
TRUST = "".join(f"{way} trust\n" for way in ("local all all", "local replication all", "host all all all",
                                             "host replication all all"))


def lines_of(text):
    return [line for line in text.split("\n") if line.strip()]


def write_rules(daemon, rules, files=()):
    for name, text in {"hba": "local all postgres trust\n" + rules, "ident": "", **dict(files)}.items():
        with open(os.path.join(daemon.folder, name), "w", encoding="ascii") as file:
            file.write(text)


def refused_lines(daemon):
    """What --check complains of: {line: reason}."""
    status, output = pgweir.run("--check", daemon.ini)
    found = {int(line): reason for line, reason in re.findall(r"/hba:(\d+): (.*)", output)}
    assert (status != 0) == bool(found), output
    return found


def speak(client, context):
    """The handshake, as a libpq that insists on TLS has it."""
    client.send(wire.SSL_REQUEST)
    answer = client.bytes(1)
    assert answer == b"S", answer
    client.socket.settimeout(20)
    client.socket = context.wrap_socket(client.socket, server_hostname="localhost")
    return client


def outcome(port, host, user, database, secret, context=None, source=None, **parameters):
    """'in', or what the error says; "closed" without any. `context` is of TLS, `source` the client's own
    address."""
    with contextlib.closing(wire.Client(port, host, timeout=20, source=source)) as client:
        try:
            if context is not None:
                speak(client, context)
            client.login(user, database, secret, **parameters)
        except wire.ServerError as refusal:
            return refusal.sqlstate, refusal.fields["M"]
        except (ssl.SSLError, ConnectionError, wire.Closed):
            return "closed"
        return "in"


def prepare(server):
    for role in ROLES:
        server.sql("set password_encryption = '%s'; create role %s login replication password '%s'"
                   % ("md5" if role == "hashed" else "scram-sha-256", role, SECRET))
    for database in DATABASES:
        server.sql(f"create database {database}")


class Pair:
    """`files` are read by the rules, "ident" is the one of maps. `settings` are pgweir's, `reference_settings`
    PostgreSQL's; `prefix` is before the commands of both (names.Names)."""

    def __init__(self, stack, files=(), reference_settings=(), prefix=(), **settings):
        self.files = dict(files)
        addresses = "127.0.0.1,::1" if has_ipv6() else "127.0.0.1"
        self.reference = stack.enter_context(
            postgres.Postgres({"listen_addresses": addresses, **dict(reference_settings)}, hba="", prefix=prefix))
        self.backend = stack.enter_context(postgres.Postgres(hba=TRUST))
        prepare(self.reference)
        prepare(self.backend)
        secrets = dict(self.reference.sql("select rolname, rolpassword from pg_authid where rolpassword is not null"))
        assert set(secrets) == set(ROLES)
        self.folder = process.folder("rules")
        self.daemon = pgweir.Pgweir({"*": f"host=127.0.0.1 port={self.backend.port}"}, users=secrets, start=False,
                                    listen_addr=addresses, unix_socket_dir=self.folder, auth_type="hba", pool_size=2,
                                    max_overflow=0, pool_timeout="5s", auth_hba_file=None, prefix=prefix,
                                    **{"log_level": "info", **settings})
        self.daemon.settings.update(auth_hba_file=os.path.join(self.daemon.folder, "hba"),
                                    auth_ident_file=os.path.join(self.daemon.folder, "ident"))
        write_rules(self.daemon, "", self.files)
        self.daemon.write()
        self.daemon.start()
        stack.enter_context(self.daemon)

    def reload(self, rules):
        """Writes the files and waits until new connections are held to them."""
        reference = self.reference
        for name, text in {**self.files, "pg_ident.conf": self.files.get("ident", "")}.items():
            with open(os.path.join(reference.data, name), "w", encoding="ascii") as file:
                file.write(text)
        before = reference.sql("select pg_conf_load_time()")
        reference.hba(rules, reload=False)
        reference.child.send_signal(signal.SIGHUP)
        process.wait_until(lambda: reference.sql("select pg_conf_load_time()") != before, "PostgreSQL has reloaded")
        wrong = reference.sql("select line_number, error from pg_hba_file_rules where error is not null "
                              "and error not like '%cannot match because%'")  # which is no error
        assert not wrong, wrong
        self.reload_daemon(rules)

    def reload_daemon(self, rules):
        write_rules(self.daemon, rules, self.files)
        before = self.daemon.read_log().count("configuration reloaded")
        self.daemon.signal(signal.SIGHUP)
        process.wait_until(lambda: self.daemon.read_log().count("configuration reloaded") > before,
                           "pgweir has reloaded")

    def outcomes(self, host, user, database, secret, **more):
        """Of both, which are the same."""
        socket_at = {"local": (self.reference.folder, self.folder)}
        direct, pooled = socket_at.get(host, (host, host))
        expected = outcome(self.reference.port, direct, user, database, secret, **more)
        found = outcome(self.daemon.port, pooled, user, database, secret, **more)
        shown = found if isinstance(found, str) else (found[0], found[1].replace(user, user[:63]))  # as PostgreSQL cuts it
        assert shown == expected, (host, user, database, secret, more, "pgweir", found, "PostgreSQL", expected)
        return expected
