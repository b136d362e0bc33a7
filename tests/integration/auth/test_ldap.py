"""LDAP against a real OpenLDAP server: the same rules in pgweir and in PostgreSQL let the same users in, and
the others get the same error.

The reference is held to the rules; the server behind pgweir trusts everybody.
"""
import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time

from support import Skip, background, pool

from harness import pgweir, postgres, process, slapd, wire

SECRET = slapd.SECRET
USERS = ("alice", "bob", "carol", "mallory")
TRUST = "local all all trust\nhost all all all trust\n"

# What can be said about one user, as PostgreSQL takes the lines, too.
GOOD_LINES = """
ldap ldapserver=h ldapprefix=x
ldap ldapserver=h ldapsuffix=x
ldap ldapserver=h ldapprefix= ldapsuffix=
ldap ldapserver="a b" ldapprefix="uid=" ldapsuffix=",dc=x" ldapport=1389 ldaptls=1
ldap ldapserver=h ldapprefix=x ldaptls=0 ldapscheme=ldaps
ldap ldapserver=h ldapbasedn="dc=x"
ldap ldapserver=h ldapbasedn="dc=x" ldapbinddn="cn=m" ldapbindpasswd=p ldapsearchattribute=mail
ldap ldapserver=h ldapbasedn="dc=x" "ldapsearchfilter=(&(a=$username)(b=c))"
ldap ldapbasedn="dc=x"
ldap ldapurl="ldap://h/dc=x"
ldap ldapurl="ldap://h/dc=x?uid?sub"
ldap ldapurl="ldap://h/dc=x?uid,mail?one"
ldap ldapurl="ldap://h:77/dc=x??base?(a=b)"
ldap ldapurl="ldaps://h/dc=x"
ldap ldapurl=ldap://h/dc=x???
ldap ldapurl="ldap:///dc=x"
ldap ldapurl="ldap://[::1]:77/dc=x"
ldap ldapurl="ldap://h/dc%3dx?uid?subtree"
ldap ldapurl="ldap://h/dc=x" ldapsearchattribute=mail ldapserver=other ldapport=1
ldap ldapsearchattribute=mail ldapurl="ldap://h/dc=x?uid?sub"
pam
pam pamservice=x
pam pamservice="two words" pam_use_hostname=0
"""
BAD_LINES = """
ldap
ldap ldapserver=h
ldap ldapurl=ldap://h
ldap ldapserver=h ldapprefix=x ldapbasedn=y
ldap ldapserver=h ldapprefix=x ldapbinddn=y
ldap ldapserver=h ldapsuffix=x ldapbindpasswd=y
ldap ldapserver=h ldapsuffix=x ldapsearchattribute=y
ldap ldapserver=h ldapsuffix=x ldapsearchfilter=y
ldap ldapprefix=x ldapurl=ldap://h/dc=x
ldap ldapserver=h ldapbasedn=x ldapsearchattribute=y ldapsearchfilter=z
ldap ldapurl=ldap://h/dc=x?uid ldapsearchfilter=z
ldap ldapserver=h ldapprefix=x ldapport=0
ldap ldapserver=h ldapprefix=x ldapport=x
ldap ldapurl=http://h/dc=x
ldap ldapurl=ldapi://h/dc=x
ldap ldapurl=ldap:h/dc=x
ldap ldapurl=ldap://h/dc=x??all
ldap ldapserver=h ldapprefix=x pamservice=y
ldap ldapserver=h ldapprefix=x map=y
ldap ldapserver=h ldapprefix=x ldapscope=sub
ldap ldapserver
pam ldapserver=h
pam map=x
pam pamservice
trust ldaptls=1
md5 pamservice=x
"""
# Which PostgreSQL takes and then lets nobody in by, or by less than is said.
STRICTER_LINES = """
ldap ldapprefix=x
ldap ldapserver=h ldapprefix=x ldaptls=yes
ldap ldapserver=h ldapprefix=x ldapport=1x
ldap ldapserver=h ldapprefix=x ldapscheme=http
ldap ldapserver=h ldapprefix=x ldapport=70000
pam pam_use_hostname=1
"""


def need_slapd(env):
    if env.against != "pgweir":
        raise Skip("it starts its own")
    if not slapd.is_installed():
        raise Skip("slapd is not installed")


def options(directory):
    """Ways to the directory, by name: (the options of a rule, does alice get in)."""
    place = f"ldapserver=127.0.0.1 ldapport={directory.port}"
    simple = f'ldapprefix="uid=" ldapsuffix=",{slapd.PEOPLE}"'
    base = f'ldapbasedn="{slapd.SUFFIX}"'
    manager = f'ldapbinddn="{slapd.MANAGER}"'
    unused = process.free_port()
    return {
        "simple": (f"{place} {simple}", True),
        "simple_starttls": (f"{place} ldaptls=1 {simple}", True),
        "simple_ldaps": (f"ldapserver=127.0.0.1 ldapport={directory.secure_port} ldapscheme=ldaps {simple}", True),
        "second_server": (f"ldapserver=\"127.0.0.2 127.0.0.1\" ldapport={directory.port} {simple}", True),
        "plain_at_the_port_of_ldaps": (f"ldapserver=127.0.0.1 ldapport={directory.secure_port} {simple}", False),
        "certificate_of_another_name": (f"ldapserver=127.0.0.2 ldaptls=1 ldapport={directory.port} {simple}", False),
        "nobody_there": (f"ldapserver=127.0.0.1 ldapport={unused} {simple}", False),
        "no_such_host": (f"ldapserver=nowhere.invalid {simple}", False),
        "search": (f"{place} {base}", True),
        "search_starttls": (f"{place} ldaptls=1 {base}", True),
        "search_by_mail": (f"{place} {base} ldapsearchattribute=mail", False),
        "search_by_filter": (f"{place} {base} \"ldapsearchfilter=(|(uid=$username)(mail=$username))\"", True),
        "search_among_some": (f"{place} {base} \"ldapsearchfilter=(&(uid=$username)(!(uid=alice)))\"", False),
        "search_for_what_is_no_filter": (f"{place} {base} ldapsearchfilter=uid=$username)", False),
        "search_as_manager": (f"{place} {base} {manager} \"ldapbindpasswd={slapd.MANAGER_SECRET}\"", True),
        "search_as_manager_with_a_wrong_password": (f"{place} {base} {manager} ldapbindpasswd=x", False),
        "search_elsewhere": (f"{place} ldapbasedn=\"ou=contractors,{slapd.SUFFIX}\"", False),
        "search_nowhere": (f"{place} ldapbasedn=\"dc=nowhere\"", False),
        "url": (f'ldapurl="ldap://127.0.0.1:{directory.port}/{slapd.SUFFIX}?uid?sub"', True),
        "url_one_level": (f'ldapurl="ldap://127.0.0.1:{directory.port}/{slapd.SUFFIX}?uid?one"', False),
        "url_one_level_of_people": (f'ldapurl="ldap://127.0.0.1:{directory.port}/{slapd.PEOPLE}?uid?one"', True),
        "url_base": (f'ldapurl="ldap://127.0.0.1:{directory.port}/{slapd.PEOPLE}?uid"', False),
        "url_ldaps": (f'ldapurl="ldaps://127.0.0.1:{directory.secure_port}/{slapd.SUFFIX}?uid?sub"', True),
    }


THOROUGH = ("simple", "search", "search_by_mail", "search_by_filter", "url_ldaps")


def logins(way):
    if way not in THOROUGH:
        yield from (("alice", SECRET), ("alice", "wrong"), ("mallory", SECRET), ("nobody", SECRET))
        return
    for user in USERS + ("nobody", "alice@example.net", "shared@example.net"):
        for secret in (SECRET, "wrong", ""):
            yield user, secret
    yield "alice", SECRET + " "
    yield "ALICE", SECRET


def outcome(port, user, secret, source=None, database="postgres"):
    """'in', or what the error says."""
    with contextlib.closing(wire.Client(port, timeout=30, source=source)) as client:
        try:
            client.login(user, database, secret)
        except wire.ServerError as refusal:
            return refusal.sqlstate, refusal.fields["M"]
        return "in"


def make_roles(server, names):
    for name in names:
        server.sql('create role "%s" login' % name.replace('"', '""'))


def guard(daemon, path):
    """There are passwords in it."""
    os.chmod(path, 0o600)
    if daemon.identity:
        os.chown(path, daemon.identity["user"], daemon.identity["group"])


def start_daemon(stack, directory, backend, rules=None, **settings):
    if rules is not None:
        settings["auth_type"] = "hba"
    daemon = pgweir.Pgweir({"*": f"host=127.0.0.1 port={backend.port} dbname=postgres"}, start=False, pool_size=2,
                           pool_timeout="5s", log_level="info", auth_worker_program=pgweir.verifier(), **settings)
    daemon.variables = directory.variables() if directory else {}
    if rules is not None:
        daemon.settings["auth_hba_file"] = os.path.join(daemon.folder, "hba")
        with open(daemon.settings["auth_hba_file"], "w", encoding="utf-8") as file:
            file.write(rules)
        guard(daemon, daemon.settings["auth_hba_file"])
    daemon.write()
    daemon.start()
    return stack.enter_context(daemon)


def places_of(ways):
    """An address for each way, from which its rule is met."""
    return {name: f"127.0.1.{number}" for number, name in enumerate(ways, 1)}


def rules_of(ways):
    return "".join(f"host all all {place}/32 ldap {ways[name][0]}\n" for name, place in places_of(ways).items())


# Names that would be something else if they were put into a filter or a distinguished name as they are.
CRAFTED = ["*", "al*", "alice)(uid=*", "*)(uid=*))(|(uid=*", "alice,ou=people", f"alice,{slapd.PEOPLE}",
           "mallory,ou=contractors,dc=example,dc=net", "alice+cn=alice", "#alice", "\\61lice", "\\2a",
           f"uid=alice,{slapd.PEOPLE}"]


def check_strange_names(daemon, source):
    """Whatever a name contains, it is one name: it gets in with its own password, and nobody gets in by a name
    that was crafted."""
    for user in slapd.STRANGE:
        assert outcome(daemon.port, user, SECRET, source) == "in", (source, user, daemon.tail(5))
        assert outcome(daemon.port, user, "wrong", source) == (
            "28000", f'LDAP authentication failed for user "{user}"'), (source, user)
    for user in CRAFTED:
        assert outcome(daemon.port, user, SECRET, source) == (
            "28000", f'LDAP authentication failed for user "{user}"'), (source, user)


@pool(seconds=180)
def test_same_users_get_in(env):
    need_slapd(env)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(slapd.Slapd())
        ways = options(directory)
        reference = stack.enter_context(postgres.Postgres(hba=rules_of(ways), variables=directory.variables()))
        backend = stack.enter_context(postgres.Postgres(hba=TRUST))
        everybody = [*USERS, "alice@example.net", "shared@example.net", "ALICE", " alice"]
        make_roles(reference, everybody)
        make_roles(backend, everybody + slapd.STRANGE + CRAFTED)
        daemon = start_daemon(stack, directory, backend, rules_of(ways))
        for name, source in places_of(ways).items():
            for user, secret in logins(name):
                direct = outcome(reference.port, user, secret, source)
                pooled = outcome(daemon.port, user, secret, source)
                assert pooled == direct, (name, user, secret, pooled, direct)
            alice = outcome(daemon.port, "alice", SECRET, source)
            assert (alice == "in") == ways[name][1], (name, alice, daemon.tail())
        assert outcome(daemon.port, "alice", "", places_of(ways)["simple"])[0] == "28P01"
        for name in ("simple", "search", "search_by_filter", "url_ldaps"):
            check_strange_names(daemon, places_of(ways)[name])
        log = daemon.read_log()
        assert SECRET not in log and slapd.MANAGER_SECRET not in log
        for text in ('user "shared@example.net" is not unique', 'user "nobody" does not exist',
                     "Invalid credentials", "Can't contact LDAP server"):
            assert text in log, text
        daemon.stop()


def judge_lines(reference, daemon, lines):
    """For each line whether pgweir and PostgreSQL read it: {line: (pgweir, PostgreSQL)}."""
    text = "".join(f"host all all all {line}\n" for line in lines)
    with open(daemon.settings["auth_hba_file"], "w", encoding="ascii") as file:
        file.write("local all postgres trust\n" + text)
    guard(daemon, daemon.settings["auth_hba_file"])
    reference.hba(text, reload=False)
    theirs = {int(number) for number, in reference.sql(
        "select line_number from pg_hba_file_rules where error is not null")}
    _, output = pgweir.run("--check", daemon.ini)
    ours = {int(number) for number in re.findall(r"/hba:(\d+): (?!method)", output)}
    return {line: (number not in ours, number not in theirs) for number, line in enumerate(lines, 2)}


@pool(seconds=60)
def test_same_lines_are_read(env):
    """Where PostgreSQL refuses a line pgweir does; where pgweir does and PostgreSQL does not is listed above."""
    need_slapd(env)
    with postgres.Postgres(hba=TRUST) as reference:
        daemon = pgweir.Pgweir({"db": "host=127.0.0.1"}, start=False, auth_type="hba",
                               auth_worker_program=pgweir.verifier())
        daemon.settings["auth_hba_file"] = os.path.join(daemon.folder, "hba")
        daemon.write()
        for group, expected in ((GOOD_LINES, (True, True)), (BAD_LINES, (False, False)),
                                (STRICTER_LINES, (False, True))):
            lines = list(filter(None, group.split("\n")))
            for at in range(0, len(lines), 15):  # pgweir does not name more than 20 at once
                judged = judge_lines(reference, daemon, lines[at:at + 15])
                assert all(verdict == expected for verdict in judged.values()), (judged, expected)
        reference.hba(TRUST, reload=False)


@pool(seconds=120)
def test_the_directory_goes_and_comes_back(env):
    need_slapd(env)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(slapd.Slapd())
        backend = stack.enter_context(postgres.Postgres(hba=TRUST))
        make_roles(backend, USERS)
        daemon = start_daemon(stack, directory, backend, auth_type="ldap", auth_ldap_options=options(directory)["search"][0])
        assert outcome(daemon.port, "alice", SECRET) == "in"
        busy = stack.enter_context(contextlib.closing(wire.Client(daemon.port).login("alice", "x", SECRET)))
        directory.stop()
        for _ in range(5):
            assert outcome(daemon.port, "alice", SECRET) == (
                "28000", 'LDAP authentication failed for user "alice"')
            assert busy.value("select 1") == "1"
        daemon.wait_log(r"WARNING verify: LDAP server .*Can't contact LDAP server")
        daemon.wait_log("reason=outside_failed")
        directory.start()
        assert outcome(daemon.port, "alice", SECRET) == "in"
        daemon.stop()


class Mute:
    """Takes connections, and never says anything."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.taken = []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                self.taken.append(self.socket.accept()[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for each in self.taken:
            each.close()


@pool(seconds=120)
def test_a_mute_directory_disturbs_nobody(env):
    """Logins hang in LDAP, plain and within TLS, until their time is over; meanwhile queries of those who are in
    are answered as ever, and so are logins by other rules, and by another directory as long as a worker is free."""
    need_slapd(env)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(slapd.Slapd())
        mute = stack.enter_context(Mute())
        backend = stack.enter_context(postgres.Postgres(hba=TRUST))
        make_roles(backend, USERS)
        good = options(directory)["simple"][0]
        rules = (f"host good all all ldap {good}\nhost open all all trust\n"
                 f"host mute all all ldap ldapserver=127.0.0.1 ldapport={mute.port} ldapprefix=uid=\n"
                 f"host tls all all ldap ldapserver=127.0.0.1 ldapport={mute.port} ldapscheme=ldaps ldapprefix=uid=\n")
        daemon = start_daemon(stack, directory, backend, rules, auth_workers=4, auth_worker_timeout="4s")
        busy = stack.enter_context(contextlib.closing(wire.Client(daemon.port).login("alice", "good", SECRET)))

        def patience(database):
            began = time.monotonic()
            found = outcome(daemon.port, "alice", SECRET, database=database)
            return found, time.monotonic() - began

        hanging = [background(patience, database) for database in ("mute", "tls", "mute")]
        process.wait_until(lambda: len(mute.taken) >= 3, "they hang")
        slowest, count, limit = 0.0, 0, time.monotonic() + 2
        while time.monotonic() < limit:
            began = time.monotonic()
            assert busy.value("select 1") == "1"
            slowest = max(slowest, time.monotonic() - began)
            count += 1
            if count % 50 == 0:
                assert outcome(daemon.port, "bob", None, database="open") == "in"
                assert outcome(daemon.port, "bob", SECRET, database="good") == "in"
        assert count > 50 and slowest < 0.5, (count, slowest)
        assert daemon.counters()["longest_turn_usec"] < 250000, daemon.counters()
        for each in hanging:
            each.join(30)
            found, took = each.value
            assert found[0] in ("28000", "08006") and 2 < took < 15, (found, took)
        assert outcome(daemon.port, "alice", SECRET, database="good") == "in"
        daemon.stop()


@pool(seconds=120)
def test_the_password_goes_on_to_the_server(env):
    """The server asks by password, too: the same LDAP, or a password that is the same there."""
    need_slapd(env)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(slapd.Slapd())
        simple = options(directory)["simple"][0]
        backend = stack.enter_context(postgres.Postgres(
            hba=f"host all bob all scram-sha-256\nhost all carol all scram-sha-256\nhost all all all ldap {simple}\n",
            variables=directory.variables()))
        make_roles(backend, USERS)
        backend.sql(f"alter role bob password '{SECRET}'; alter role carol password 'another one'")
        daemon = start_daemon(stack, directory, backend, auth_type="ldap", auth_ldap_options=simple)
        for user in ("alice", "bob"):
            with contextlib.closing(wire.Client(daemon.port).login(user, "x", SECRET)) as client:
                assert client.value("select current_user") == user
        # The server's own error where its password is another one.
        found = outcome(daemon.port, "carol", SECRET)
        assert found == ("28P01", 'password authentication failed for user "carol"'), found
        daemon.stop()


def psql(port, password):
    command = ["psql", "-w", "-X", "-At", "-h", "127.0.0.1", "-p", str(port), "-U", "alice", "-d", "x",
               "-c", "select current_user"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False,
                          env={"PATH": os.environ["PATH"], **({"PGPASSWORD": password} if password else {})})
    return done.returncode, done.stdout + done.stderr


@pool(seconds=60)
def test_psql_and_a_reload(env):
    """A real client asks its user, or its password file, as for any other clear password. The options may change
    while the daemon runs; the password in them is shown to nobody."""
    need_slapd(env)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(slapd.Slapd())
        backend = stack.enter_context(postgres.Postgres(hba=TRUST))
        make_roles(backend, USERS)
        ways = options(directory)
        daemon = start_daemon(stack, directory, backend, auth_type="ldap", admin_users="alice",
                              auth_ldap_options=ways["search_as_manager"][0])
        assert psql(daemon.port, SECRET) == (0, "alice\n")
        for password, part in (("wrong", 'FATAL:  LDAP authentication failed for user "alice"'),
                               (None, "no password supplied")):
            status, output = psql(daemon.port, password)
            assert status == 2 and part in output, output
        with contextlib.closing(wire.Client(daemon.port).login("alice", "pgweir", SECRET)) as console:
            shown = [row for row in console.query("show config").rows if row[0] == "auth_ldap_options"]
            assert "ldapbindpasswd=***" in shown[0][1] and slapd.MANAGER_SECRET not in str(shown), shown
        daemon.settings["auth_ldap_options"] = ways["search_elsewhere"][0]
        daemon.write()
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("configuration reloaded")
        assert outcome(daemon.port, "alice", SECRET)[0] == "28000"
        assert outcome(daemon.port, "mallory", SECRET) == "in"
        assert slapd.MANAGER_SECRET not in daemon.read_log()
        daemon.stop()
