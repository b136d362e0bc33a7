"""Rules of who may come in: where they are read, when they hold, and what of them is seen."""

import contextlib
import os
import signal
import socket
import subprocess

from test_tls import TLS12, TLS13, login, refusal, secured

from harness import pgweir, process, wire
from harness.certificates import Authority
from harness.pgweir import Pgweir
from harness.scripted import Scripted
from harness.testing import cases

SECRET = "geheim"


def write(daemon, text, name="hba"):
    with open(os.path.join(daemon.folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def make(server, rules, start=True, users=None, **settings):
    settings.setdefault("auth_type", "hba")
    daemon = Pgweir({"db": server.dsn(), "other": server.dsn()}, start=False,
                    users=users or {"alice": wire.scram_secret(SECRET)}, **settings)
    daemon.settings["auth_hba_file"] = os.path.join(daemon.folder, "hba")
    daemon.write()
    write(daemon, rules)
    if start:
        daemon.start()
    return daemon


@contextlib.contextmanager
def ruled(rules, **settings):
    with Scripted() as server, make(server, rules, **settings) as daemon:
        yield daemon


def reload(daemon, rules):
    """Writes rules and waits for the verdict: True when they hold."""
    write(daemon, rules)
    verdicts = ("configuration reloaded", "the old configuration stays")
    before = [daemon.read_log().count(text) for text in verdicts]
    daemon.signal(signal.SIGHUP)
    process.wait_until(lambda: [daemon.read_log().count(text) for text in verdicts] != before,
                       "the log tells of the reload")
    return daemon.read_log().count(verdicts[0]) > before[0]


def test_the_rule_is_in_the_log():
    with ruled("include more\nhost db all all scram-sha-256\nhost other alice all reject\n",
               start=False) as daemon:
        write(daemon, "# first\nhost db trusted all trust\n", "more")
        daemon.start()
        with daemon.client("trusted"), daemon.client(secret=SECRET):
            daemon.wait_log(r"login succeeded rule=\S+/more:2 method=trust application_name=")
            daemon.wait_log(r"login succeeded rule=\S+/hba:2 method=scram-sha-256 application_name=")
        assert daemon.refused(secret="wrong")["C"] == "28P01"
        daemon.wait_log(r"login failed: rule=\S+/hba:2 method=scram-sha-256 reason=auth_failed")
        assert daemon.refused(database="other") == {
            "S": "FATAL", "V": "FATAL", "C": "28000",
            "M": 'pg_hba.conf rejects connection for host "127.0.0.1", user "alice", '
                 'database "other", no encryption'}
        daemon.wait_log(r"login failed: rule=\S+/hba:3 method=reject reason=rule_rejects")
        assert daemon.refused("bob", "other") == {
            "S": "FATAL", "V": "FATAL", "C": "28000",
            "M": 'no pg_hba.conf entry for host "127.0.0.1", user "bob", database "other", '
                 'no encryption'}
        daemon.wait_log(r"login failed: reason=rule_missing")


def test_a_bad_file_keeps_the_old_rules():
    with ruled("host db all all trust\n") as daemon, daemon.client() as client:
        assert not reload(daemon, "host db all all reject\nhost db +x all trust\n")
        assert daemon.log_has(f"auth_hba_file: {daemon.folder}/hba:2: "), daemon.tail()
        with daemon.client() as other:
            assert other.value("select 1") == "select 1"
        os.remove(os.path.join(daemon.folder, "hba"))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("hba:0: No such file or directory")
        daemon.client().close()
        assert reload(daemon, "host db all all reject\n")
        assert daemon.refused()["C"] == "28000"
        # Who is in stays in.
        assert client.value("select 2") == "select 2"
        assert reload(daemon, "host db all all trust\n")
        daemon.client().close()


def test_an_included_file_is_read_again():
    with ruled("host db @users all trust\n", start=False) as daemon:
        write(daemon, "alice", "users")
        daemon.start()
        daemon.client().close()
        assert daemon.refused("bob")["C"] == "28000"
        write(daemon, "bob", "users")
        assert reload(daemon, "host db @users all trust\n")
        daemon.client("bob").close()
        assert daemon.refused()["C"] == "28000"


def test_check_and_start():
    with Scripted() as server:
        daemon = make(server, "host all all all trust\nlocal all all peer map=m\n", start=False)
        status, output = pgweir.run("--check", daemon.ini)
        assert status == 0 and "# auth_hba_file: 2 rules" in output, output
        daemon.settings["auth_ident_file"] = os.path.join(daemon.folder, "ident")
        daemon.write()
        write(daemon, "m root\n", "ident")
        write(daemon, "host all all all trust\nhost all all example.org/8 trust\nlocal x\n")
        for arguments in (["--check", daemon.ini], [daemon.ini]):
            status, output = pgweir.run(*arguments)
            assert status == 1, output
            for place in ("hba:2: invalid address \"example.org/8\"", "hba:3: the line ends", "ident:1: the line ends"):
                assert f"{daemon.folder}/{place}" in output, output


def test_check_says_what_is_looked_up():
    with Scripted() as server:
        daemon = make(server, "host all all example.org trust\nhost all all .example.org md5\n", start=False)
        status, output = pgweir.run("--check", daemon.ini)
        assert status == 0 and "# auth_hba_file: 2 rules; names of hosts are looked up\n" in output, output


@cases(role=("host all +x all trust",), same=("host samerole all all trust",))
def test_members_of_roles_need_who_looks_them_up(rule):
    with Scripted() as server:
        daemon = make(server, f"host all all 10.0.0.0/8 trust\n{rule}\n", start=False)
        for arguments in (["--check", daemon.ini], [daemon.ini]):
            status, output = pgweir.run(*arguments)
            assert status == 1 and "/hba:2: members of roles can be looked up only with the setting auth_user" in output, output
        daemon.settings["auth_user"] = "asker"
        daemon.write()
        status, output = pgweir.run("--check", daemon.ini)
        assert "# auth_hba_file: 2 rules; members of roles are looked up\n" in output, output
        # The scripted server has no such answer.
        assert status == 1 and "pgweir: roles in rules for database db: looking up members of roles fails" in output, output


def test_host_names():
    """Of the file of hosts: what this machine calls itself."""
    name = socket.gethostbyaddr("127.0.0.1")[0]
    rules = f"host db alice {name}.example trust\nhost db all {name.upper()} trust\n"
    with ruled(rules) as daemon:
        with daemon.client() as client:
            assert client.value("select 1") == "select 1"
        daemon.wait_log(r"login succeeded rule=\S+/hba:2 method=trust")
        # What comes along with the startup packet waits with it.
        with daemon.connect() as client:
            client.send(wire.startup({"user": "alice", "database": "db"}) + wire.query("select 2"))
            client.finish_login()
            assert client.results(1)[0].value == "select 2"
        assert reload(daemon, f"host db bob {name} trust\nhost db all {name}.example trust\n")
        assert daemon.refused()["M"].startswith('no pg_hba.conf entry for host "127.0.0.1", user "alice"')
        daemon.wait_log(rf'reason=rule_missing .*: the client\'s address has the name "{name}", which no rule')


@cases(trust="trust", md5="md5", scram="scram-sha-256")
def test_rules_of_another_auth_type_are_not_used(auth_type):
    with Scripted() as server:
        daemon = make(server, "nonsense\n", start=False, auth_type=auth_type)
        status, output = pgweir.run("--check", daemon.ini)
        assert status == 0 and "auth_hba_file: not used" in output, output


def test_hba_needs_a_file():
    daemon = Pgweir({"db": "host=h"}, start=False, auth_type="hba")
    status, output = pgweir.run("--check", daemon.ini)
    assert status == 1 and "auth_type: hba needs the setting auth_hba_file" in output, output


def test_console_obeys_but_for_its_own_user():
    folder = process.folder("socket")
    with ruled("host pgweir boss all scram-sha-256\nhost pgbouncer all all reject\nhost all all all trust\n",
               users={"boss": SECRET}, admin_users="boss", unix_socket_dir=folder) as daemon:
        with daemon.client("boss", "pgweir", SECRET) as console:
            assert console.query("show version").value.startswith("pgweir")
        daemon.wait_log(r"login succeeded rule=\S+/hba:1 method=scram-sha-256 rights=admin")
        assert daemon.refused("boss", "pgweir", "wrong")["C"] == "28P01"
        assert "rejects" in daemon.refused("boss", "pgbouncer", SECRET)["M"]
        with wire.Client(daemon.port, folder) as client:
            client.send(wire.startup({"user": "boss", "database": "pgweir"}))
            assert 'no pg_hba.conf entry for host "[local]"' in client.expect("E").fields["M"]
        # This one comes as user pgweir, with the daemon's own user id, though no rule is for it.
        status, output = pgweir.run("--check", "--running", daemon.ini)
        assert status == 0 and "would change nothing" in output, output


def test_reload_by_the_console_says_what_is_wrong():
    with ruled("host all all all trust\n", admin_users="boss") as daemon:
        with daemon.client("boss", "pgweir") as console:
            write(daemon, "host all all all trust\n\nhost all all all none\n")
            error = console.query("reload").error
            assert f"{daemon.folder}/hba:3: invalid authentication method" in error["M"], error
            write(daemon, "host all boss all trust\n")
            assert console.query("reload").error is None
        assert daemon.refused()["C"] == "28000"


@cases(password=("password", "scram"), md5=("md5", "scram"), md5_md5=("md5", "md5"),
       scram=("scram-sha-256", "scram"), password_plain=("password", "plain"))
def test_unknown_users_look_like_known(method, stored):
    secret = {"plain": SECRET, "md5": wire.md5_secret("alice", SECRET), "scram": wire.scram_secret(SECRET)}[stored]

    def attempt(user):
        with daemon.connect() as client:
            client.send(wire.startup({"user": user, "database": "db"}))
            asked = client.read()
            return asked.type, asked.body[:4], daemon.refused(user, secret="wrong")["M"].replace(user, "USER")

    with ruled(f"host all all all {method}\n", users={"alice": secret}) as daemon:
        assert attempt("alice") == attempt("mallory")
        daemon.client(secret=SECRET).close()


def test_peer_is_who_the_system_says():
    folder = process.folder("socket")
    with ruled("local all all peer map=m\n", unix_socket_dir=folder, start=False) as daemon:
        daemon.settings["auth_ident_file"] = os.path.join(daemon.folder, "ident")
        daemon.write()
        name = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        write(daemon, f"m {name} alice\nm nobody bob\n", "ident")
        daemon.start()
        with wire.Client(daemon.port, folder).login() as client:
            assert client.value("select 1") == "select 1"
        with wire.Client(daemon.port, folder) as client:
            client.send(wire.startup({"user": "bob", "database": "db"}))
            got = client.expect("E").fields
            assert (got["C"], got["M"]) == ("28000", 'Peer authentication failed for user "bob"'), got
        daemon.wait_log(r"login failed: rule=\S+/hba:1 method=peer reason=peer_failed")


# --- certificates of clients ---------------------------------------------------------------------


def test_clients_are_asked_when_a_rule_looks():
    """Who shows a certificate of another authority is refused only then."""
    authority = Authority()
    alice, stranger = authority.issue("alice", "alice"), Authority("other").issue("alice", "stranger")
    settings = authority.settings("prefer", client_tls_ca_file=authority.certificate)
    with ruled("hostssl db all all trust\n", **settings) as daemon:
        login(daemon, authority.context(stranger)).close()
        login(daemon, authority.context(stranger), "bob").close()
        begun = secured(daemon, authority.context(alice))
        assert reload(daemon, "hostssl db alice all cert\nhost all bob all trust\n")
        # Who came before was not asked.
        assert refusal(begun) == {"S": "FATAL", "V": "FATAL", "C": "28000",
                                  "M": "connection requires a valid client certificate"}
        daemon.wait_log(r"login failed: rule=\S+/hba:1 method=cert reason=certificate_missing")
        with login(daemon, authority.context(alice)) as client:
            assert client.value("select 1") == "select 1"
        daemon.wait_log(r"login succeeded rule=\S+/hba:1 method=cert tls=TLS")
        login(daemon, authority.context(), "bob").close()
        daemon.client("bob").close()
        for user in ("alice", "bob"):
            try:
                login(daemon, authority.context(stranger), user)
            except (OSError, wire.Closed):
                continue
            raise AssertionError("accepted")
        daemon.wait_log("TLS handshake failed: certificate verify failed: ")
        assert reload(daemon, "hostssl db all all trust\n")
        login(daemon, authority.context(stranger)).close()


@cases(new=(TLS13,), old=(TLS12,))
def test_console_by_certificate(versions):
    authority = Authority()
    boss, eve = authority.issue("boss", "boss"), authority.issue("eve", "eve")
    with ruled("hostssl pgweir all all cert\n", admin_users="boss,eve",
               **authority.settings(client_tls_ca_file=authority.certificate)) as daemon:
        with secured(daemon, authority.context(boss, versions)).login("boss", "pgweir") as console:
            assert console.query("show version").value.startswith("pgweir")
        with secured(daemon, authority.context(eve, versions)) as client:
            client.send(wire.startup({"user": "boss", "database": "pgweir"}))
            assert client.expect("E").fields["M"] == 'certificate authentication failed for user "boss"'
        daemon.wait_log('reason=certificate_name .*: the certificate is that of "eve"')
        with secured(daemon, authority.context(None, versions)) as client:
            client.send(wire.startup({"user": "boss", "database": "pgweir"}))
            assert client.expect("E").fields["M"] == "connection requires a valid client certificate"


@cases(cert=("cert",), clientcert=("md5 clientcert=verify-ca",))
def test_rules_that_look_at_certificates_need_an_authority(method):
    authority = Authority()
    with Scripted() as server:
        daemon = make(server, f"host all all all trust\nhostssl all all all {method}\n", start=False,
                      **authority.settings("prefer"))
        for arguments in (["--check", daemon.ini], [daemon.ini]):
            status, output = pgweir.run(*arguments)
            assert status == 1 and "/hba:2: certificates of clients can be verified only with" in output, output
        daemon.settings["client_tls_ca_file"] = authority.certificate
        daemon.write()
        status, output = pgweir.run("--check", daemon.ini)
        assert status == 0 and "2 rules; clients are asked for certificates" in output, output
        # Without TLS the rule fits nobody, as in PostgreSQL.
        daemon.settings.update(client_tls_sslmode="disable", client_tls_ca_file=None)
        daemon.write()
        with daemon:
            daemon.start()
            daemon.client().close()
