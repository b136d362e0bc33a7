"""Passwords judged by PAM and LDAP: what clients and the log see of workers that answer, hang and die. The
worker is tests/harness/worker.py; real ones are in tests/integration/auth."""

import contextlib
import glob
import json
import os
import shutil
import signal
import threading
import time

from common import in_background
from harness import pgweir, process, wire
from harness.certificates import Authority
from harness.pgweir import Pgweir
from harness.scripted import Scripted
from harness.testing import cases, timeout

SECRET = "geheim"
WORKER = os.path.join(os.path.dirname(os.path.abspath(wire.__file__)), "worker.py")


def install_worker(folder):
    path = os.path.join(folder, "worker")
    shutil.copy(WORKER, path)
    os.chmod(path, 0o755)
    return path


def make(server, rules="host all all all pam\nlocal all all ldap ldapserver=h ldapprefix=x\n", start=True, **settings):
    settings.setdefault("auth_type", "hba")
    settings.setdefault("auth_workers", 2)
    daemon = Pgweir({"db": server.dsn()}, start=False, **settings)
    daemon.settings["auth_worker_program"] = install_worker(daemon.folder)
    if settings["auth_type"] == "hba":
        daemon.settings["auth_hba_file"] = os.path.join(daemon.folder, "hba")
        write(daemon, rules)
    daemon.write()
    if start:
        daemon.start()
    return daemon


def write(daemon, text, name="hba"):
    with open(os.path.join(daemon.folder, name), "w", encoding="utf-8") as file:
        file.write(text)


@contextlib.contextmanager
def judged(**settings):
    with Scripted() as server, make(server, **settings) as daemon:
        yield daemon


def asked(daemon):
    """The questions that workers got, in order."""
    path = os.path.join(daemon.folder, "asked")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def begin(daemon, user="alice", database="db"):
    """A client that has been asked for its password."""
    client = daemon.connect()
    client.send(wire.startup({"user": user, "database": database}))
    assert client.expect("R").body == b"\0\0\0\3"
    return client


def offer(client, secret=SECRET):
    client.send(wire.password(wire.string(secret)))
    return client


def workers(daemon):
    """Process ids of the daemon's children."""
    found = []
    for path in glob.glob(f"/proc/{daemon.child.pid}/task/*/children"):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            found += [int(pid) for pid in file.read().split()]
    return found


def wait_asked(daemon, count):
    process.wait_until(lambda: len(asked(daemon)) >= count, f"{count} questions, but {asked(daemon)}")


# --- the plain way --------------------------------------------------------------------------------


def test_right_wrong_and_none():
    with judged() as daemon:
        with daemon.client(secret=SECRET) as client:
            assert client.value("select 1") == "select 1"
            daemon.wait_log(r"login succeeded rule=\S+/hba:1 method=pam ")
        assert daemon.refused(secret="wrong") == {
            "S": "FATAL", "V": "FATAL", "C": "28000", "M": 'PAM authentication failed for user "alice"'}
        daemon.wait_log(r"login failed: rule=\S+/hba:1 method=pam reason=outside_refused closing because: .*: "
                        "so says the worker")
        questions = len(asked(daemon))
        assert daemon.refused(secret="") == {
            "S": "FATAL", "V": "FATAL", "C": "28P01", "M": "empty password returned by client"}
        assert len(asked(daemon)) == questions == 2, "an empty password is not asked about"
        assert daemon.refused("trouble", secret=SECRET)["M"] == 'PAM authentication failed for user "trouble"'
        daemon.wait_log("verify: the directory is on fire")
        assert SECRET not in daemon.read_log() and "wrong" not in daemon.read_log()


def test_what_the_worker_is_asked():
    folder = process.folder("socket")
    rules = ('host db alice 127.0.0.1/32 pam pamservice="two words"\n'
             'host db all all ldap ldapurl="ldaps://a:7/dc=x,dc=y?mail?one" ldapbindpasswd=SECRETWORD\n'
             "local all all ldap ldapserver=\"a b\" ldapprefix=x= ldapsuffix=\",y\"\n")
    with judged(rules=rules, unix_socket_dir=folder, auth_worker_timeout="7s", refuse_readable_secrets="off") as daemon:
        daemon.client(secret=SECRET).close()
        daemon.client("bob", secret=SECRET).close()
        wire.Client(daemon.port, folder).login("J\u00f6rg *)", secret=SECRET).close()
        first, second, third = asked(daemon)
        assert (first["method"], first["user"], first["peer"], first["limit"]) == ("pam", "alice", "127.0.0.1", 7000)
        assert first["options"] == {"pamservice": "two words"}
        assert (second["method"], second["user"]) == ("ldap", "bob")
        assert second["options"] == {
            "ldapserver": "a", "ldapport": "7", "ldapscheme": "ldaps", "ldapscope": "one", "ldapbasedn": "dc=x,dc=y",
            "ldapsearchattribute": "mail", "ldapbindpasswd": "SECRETWORD"}
        assert (third["user"], third["peer"]) == ("J\u00f6rg *)", "")
        assert third["options"] == {"ldapserver": "a b", "ldapprefix": "x=", "ldapsuffix": ",y"}
        assert "SECRETWORD" not in daemon.read_log()


@cases(pam=("pam", {}, {"pamservice": "pgweir"}, "PAM"), named=("pam", {"auth_pam_service": "x y"}, {"pamservice": "x y"}, "PAM"),
       ldap=("ldap", {"auth_ldap_options": 'ldapserver="a b" ldapprefix="uid="'},
             {"ldapserver": "a b", "ldapprefix": "uid="}, "LDAP"))
def test_auth_type(auth_type, settings, options, name):
    with judged(auth_type=auth_type, admin_users="boss", **settings) as daemon:
        with daemon.client(secret=SECRET) as client:
            assert client.value("select 1") == "select 1"
        assert asked(daemon)[0]["options"] == options
        assert daemon.refused(secret="wrong")["M"] == f'{name} authentication failed for user "alice"'
        # The console goes by the same.
        with daemon.client("boss", "pgweir", SECRET) as console:
            assert console.query("show version").value.startswith("pgweir")
        assert daemon.refused("boss", "pgweir", "wrong")["C"] == "28000"


def test_pgbouncers_file():
    with Scripted() as server:
        daemon = make(server, start=False, auth_type="pam")
        daemon.section = "pgbouncer"
        daemon.write()
        with daemon:
            daemon.start()
            daemon.client(secret=SECRET).close()
            assert asked(daemon)[0]["options"] == {"pamservice": "pgbouncer"}


def test_answers_in_pieces_and_too_many():
    with judged(auth_workers=1) as daemon:
        daemon.client("slowly", secret=SECRET).close()
        daemon.client("twice", secret=SECRET).close()
        daemon.wait_log("is killed: a worker (broke the protocol|said more)")
        daemon.client(secret=SECRET).close()


def test_tls_is_asked_for():
    authority = Authority()
    with judged(**authority.settings("require")) as daemon:
        assert daemon.refused(secret=SECRET)["C"] == "28000"
        assert asked(daemon) == []
        assert not daemon.log_has("sends passwords as they are")
    with judged() as daemon:
        daemon.wait_log(r"WARNING rules: \S+/hba:1: method pam sends passwords as they are")
        status, output = pgweir.run("--check", daemon.ini)
        assert status == 0 and "warning: " in output and "hba:1: method pam sends passwords" in output, output


# --- workers that fail -----------------------------------------------------------------------------


@cases(hang=("hang", "took longer than auth_worker_timeout"), die=("die", "was ended by signal 11"),
       exit=("exit", "has ended with status 3"), deaf=("deaf", "does not end"), nonsense=("nonsense", "broke the protocol"))
def test_one_login_is_lost(user, why):
    with judged(auth_workers=1, auth_worker_timeout="3s" if user == "hang" else "20s") as daemon:
        daemon.client(secret=SECRET).close()
        before = workers(daemon)
        assert daemon.refused(user, secret=SECRET) == {
            "S": "FATAL", "V": "FATAL", "C": "08006", "M": "cannot check the password now"}
        daemon.wait_log(f"reason=outside_lost closing because: .*{why}")
        daemon.client(secret=SECRET).close()
        after = workers(daemon)
        assert len(after) == 1 and after != before, (before, after)


def test_queries_go_on_while_logins_hang():
    """Two workers, both hanging, and a queue behind them; a client that is in notices nothing."""
    with judged(auth_worker_timeout="3s") as daemon, contextlib.ExitStack() as stack:
        busy = stack.enter_context(daemon.client(secret=SECRET))
        hanging = [stack.enter_context(offer(begin(daemon, "hang"))) for _ in range(4)]
        wait_asked(daemon, 3)  # alice, and the two that two workers hold
        longest, count, limit = 0.0, 0, time.monotonic() + 1.5
        while time.monotonic() < limit:
            began = time.monotonic()
            assert busy.value("select 1") == "select 1"
            longest = max(longest, time.monotonic() - began)
            count += 1
        assert count > 50 and longest < 0.5, (count, longest)
        for client in hanging:
            assert client.expect("E").fields["C"] == "08006"
        # Of the daemon itself, whoever else used the processor.
        assert daemon.counters()["longest_turn_usec"] < 200000, daemon.counters()
        daemon.client(secret=SECRET).close()


def test_the_others_are_asked_meanwhile():
    with judged(auth_worker_timeout="5s") as daemon, offer(begin(daemon, "hang")):
        wait_asked(daemon, 1)
        began = time.monotonic()
        for _ in range(5):
            daemon.client(secret=SECRET).close()
        assert time.monotonic() - began < 4
        assert len(workers(daemon)) == 2


def test_in_order():
    """One worker: who has offered its password first is judged first."""
    users = [f"late{number}" for number in range(5)]
    with judged(auth_workers=1) as daemon, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(begin(daemon, user)) for user in users]
        for number, client in enumerate(clients):
            offer(client)
            process.wait_until(lambda: daemon.counters()["verify_asked"] == number + 1, "it is in the queue")
        for client, user in zip(clients, users):
            client.finish_login(user)
        assert [question["user"] for question in asked(daemon)] == users
        assert len({question["pid"] for question in asked(daemon)}) == 1


# --- clients that do not wait ----------------------------------------------------------------------


def test_a_client_that_leaves():
    with judged(auth_workers=1, auth_worker_timeout="2s") as daemon:
        daemon.client(secret=SECRET).close()
        first, second = offer(begin(daemon, "late")), offer(begin(daemon, "bob"))
        wait_asked(daemon, 2)
        first.close()
        second.reset()
        process.wait_until(lambda: daemon.counters().get("verify_waiting") == 0, "nobody waits")
        daemon.client(secret=SECRET).close()
        assert "bob" not in [question["user"] for question in asked(daemon)]
        assert daemon.counters()["verify_started"] == 1, "the worker is the same"
        assert daemon.counters()["clients"] == 0


def test_what_comes_with_the_password():
    """A client may send its first query without waiting for the verdict."""
    with judged() as daemon:
        client = begin(daemon, "late")
        client.send(wire.password(wire.string(SECRET)), wire.query("select 7"))
        client.finish_login("late")
        assert client.read_until("Z")[1].values == ("select 7",)
        client.close()
        # A second password message is none; and a password of more than one text is none.
        client = begin(daemon)
        client.send(wire.password(b"a\0b\0"))
        assert client.expect("E").fields["C"] == "08P01"
        client.close()


def test_login_timeout_while_it_is_judged():
    with judged(client_login_timeout="1s", auth_worker_timeout="3s", auth_workers=1) as daemon:
        client = offer(begin(daemon, "hang"))
        waits = offer(begin(daemon, "alice"))
        for each in (client, waits):
            assert each.expect("E").fields["C"] == "57014"
            each.close()
        daemon.wait_log("is killed: the password check took longer", 10)
        daemon.client(secret=SECRET).close()


def test_nobody_waits_longer_than_the_login_may_take():
    """auth_worker_timeout = 0 is client_login_timeout."""
    with judged(client_login_timeout="1s", auth_worker_timeout="0", auth_workers=1) as daemon:
        client = offer(begin(daemon, "hang"))
        assert client.expect("E").fields["C"] in ("57014", "08006")
        client.close()
        daemon.wait_log("is killed: the password check took longer", 10)
        assert asked(daemon)[0]["limit"] == 1000


# --- who guesses -----------------------------------------------------------------------------------


def timed(function, *arguments, **more):
    began = time.monotonic()
    return function(*arguments, **more), time.monotonic() - began


@timeout(60)
def test_who_guesses_waits():
    """Wrong passwords are failures like any others: after three the answers are held back. They keep
    PostgreSQL's words, and nobody else waits."""
    with judged(auth_failure_delay="2s", auth_failure_delay_max="2s") as daemon:
        took = []
        for _ in range(5):
            refused, seconds = timed(daemon.refused, secret="wrong")
            assert (refused["C"], refused["M"]) == ("28000", 'PAM authentication failed for user "alice"')
            took.append(seconds)
        assert took[0] < 1.5 and min(took[3:]) > 1.8, took
        assert daemon.counters()["login_delays"] == 2
        assert daemon.read_log().count("reason=outside_refused") == 5
        client, seconds = timed(daemon.client, "bob", secret=SECRET)
        client.close()
        assert seconds < 1.5, seconds
        # What is not the client's fault is no failure of his.
        for _ in range(6):
            refused, seconds = timed(daemon.refused, "trouble", secret=SECRET)
            assert refused["C"] == "28000" and seconds < 1.5, seconds
        # The right one comes in.
        with daemon.client(secret=SECRET) as client:
            assert client.value("select 1") == "select 1"


# --- credentials for the server ---------------------------------------------------------------------


def clear_text_server(offers):
    """Asks for the password as it is, notes it, and takes any."""
    def login(backend):
        backend.send(wire.authentication(3))
        offers.append(backend.read().text)
        backend.login_done()
    return Scripted(login=login)


def test_the_password_opens_the_server():
    """Nothing else is known, so what was found right is what the server is offered."""
    offers = []
    with clear_text_server(offers) as server, make(server, admin_users="boss") as daemon:
        with daemon.client(secret=SECRET) as client:
            assert client.value("select 1") == "select 1"
            assert offers == [SECRET]
            assert daemon.refused(secret="wrong")["C"] == "28000"
            # It is kept while the pool is there, also over a reload.
            reload(daemon, "host all all all pam\n")
            with daemon.client("boss", "pgweir", SECRET) as console:
                assert console.query("reconnect").error is None
            assert client.value("select 2") == "select 2"
            assert offers == [SECRET] * 2, offers
            # What was found right last is what holds now.
            with daemon.client(secret="the next one"), daemon.client("boss", "pgweir", SECRET) as console:
                assert console.query("reconnect").error is None
                assert client.value("select 3") == "select 3"
        assert offers == [SECRET] * 2 + ["the next one"], offers


@cases(file=({"alice": "of the file"}, "", "of the file"), verifier=({"alice": wire.scram_secret("x")}, "", SECRET),
       line=(None, "password=line", "line"), user=(None, "user=joe password=line", "line"))
def test_what_is_known_comes_first(users, dsn, expected):
    offers = []
    with clear_text_server(offers) as server:
        daemon = make(server, start=False, users=users)
        daemon.databases["db"] += " " + dsn
        daemon.write()
        with daemon:
            daemon.start()
            for _ in range(2):
                with daemon.client(secret=SECRET) as client:
                    assert client.value("select 1") == "select 1"
                reload(daemon, "host all all all pam\n")
            assert set(offers) == {expected}, offers


# --- start, reload, end -------------------------------------------------------------------------------


def test_check_and_start():
    with Scripted() as server:
        daemon = make(server, start=False)
        status, output = pgweir.run("--check", daemon.ini)
        assert status == 0 and "# auth_hba_file: 2 rules" in output, output
        daemon.settings["auth_worker_program"] = "/nonexistent/verify"
        daemon.write()
        for arguments in (["--check", daemon.ini], [daemon.ini]):
            status, output = pgweir.run(*arguments)
            assert status == 1 and "auth_worker_program: /nonexistent/verify: No such file" in output, output
        write(daemon, "host all all all trust\n")
        status, output = pgweir.run("--check", daemon.ini)
        assert status == 0, output


@cases(options=("ldap", {"auth_ldap_options": "ldapserver=h"}, "auth_type: auth_ldap_options:1: authentication method"),
       missing=("ldap", {}, "auth_type: ldap needs the setting auth_ldap_options"),
       hostname=("ldap", {"auth_ldap_options": "ldapserver=h ldapprefix=x pam_use_hostname=0"}, "goes with method pam only"))
def test_a_bad_auth_type(auth_type, settings, problem):
    with Scripted() as server:
        daemon = make(server, start=False, auth_type=auth_type, **settings)
        for arguments in (["--check", daemon.ini], [daemon.ini]):
            status, output = pgweir.run(*arguments)
            assert status == 1 and problem in output, output


def test_a_file_of_rules_with_a_password_is_guarded():
    rules = "host all all all ldap ldapserver=h ldapbasedn=x ldapbindpasswd=SECRETWORD\n"
    with Scripted() as server:
        daemon = make(server, rules, start=False)
        path = daemon.settings["auth_hba_file"]
        for mode, expected in ((0o644, 1), (0o602, 1), (0o640, 0)):
            os.chmod(path, mode)
            if daemon.identity:
                os.chown(path, daemon.identity["user"], daemon.identity["group"])
            status, output = pgweir.run("--check", daemon.ini)
            assert status == expected and (f"{path}:1: ldapbindpasswd stands there" in output) == bool(expected), output
            assert "SECRETWORD" not in output, output
        os.chmod(path, 0o644)
        daemon.settings["refuse_readable_secrets"] = "off"
        daemon.write()
        status, output = pgweir.run("--check", daemon.ini)
        assert status == 0, output


def reload(daemon, rules):
    write(daemon, rules)
    before = daemon.read_log().count("configuration reloaded")
    daemon.signal(signal.SIGHUP)
    process.wait_until(lambda: daemon.read_log().count("configuration reloaded") > before, "it has reloaded")


def test_reload_while_a_password_is_judged():
    with judged(auth_workers=1) as daemon:
        client, waits = begin(daemon, "late"), begin(daemon, "late2")
        offer(client)
        wait_asked(daemon, 1)
        offer(waits)
        # The old rules are gone; what has begun goes on with what it began with.
        reload(daemon, "host all all all ldap ldapserver=h ldapprefix=x\n")
        client.finish_login("late")
        waits.finish_login("late2")
        client.close()
        waits.close()
        assert [question["method"] for question in asked(daemon)] == ["pam", "pam"]
        daemon.client(secret=SECRET).close()
        assert asked(daemon)[-1]["method"] == "ldap"


def test_workers_are_there_while_they_are_needed():
    with judged(rules="host all all all trust\n") as daemon:
        daemon.client().close()
        assert workers(daemon) == []
        reload(daemon, "host all all all pam\n")
        process.wait_until(lambda: len(workers(daemon)) == 1, "the first is there before anybody asks")
        daemon.client(secret=SECRET).close()
        reload(daemon, "host all all all trust\n")
        process.wait_until(lambda: workers(daemon) == [], "they have gone")
        daemon.client().close()


def test_interrupts_are_the_daemons():
    """What ends the daemon politely may reach its workers, too: they go on until it closes their sockets."""
    with judged(auth_workers=1) as daemon:
        daemon.client(secret=SECRET).close()
        worker, = workers(daemon)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(worker, number)
        daemon.client(secret=SECRET).close()
        assert workers(daemon) == [worker]


@cases(busy="hang", idle="alice")
def test_nothing_is_left_behind(user):
    with judged(auth_workers=1, shutdown_timeout=1) as daemon:
        client = offer(begin(daemon, user))
        wait_asked(daemon, 1)
        worker, = workers(daemon)
        client.close()
        daemon.stop()
        assert not os.path.exists(f"/proc/{worker}")


def test_killed_daemons_leave_no_workers():
    """The real program, which notices that the daemon has gone."""
    with Scripted() as server:
        daemon = make(server, start=False)
        daemon.settings["auth_worker_program"] = pgweir.verifier()
        daemon.write()
        daemon.start()
        worker, = process.wait_until(lambda: workers(daemon), "a worker")
        process.end(daemon.child, signal.SIGKILL)
        process.wait_until(lambda: not os.path.exists(f"/proc/{worker}"), "the worker has gone")
        pgweir.running.remove(daemon)


@timeout(60)
def test_many_at_once():
    """More than there are workers, from threads; each gets its own verdict."""
    with judged(auth_workers=3) as daemon:
        outcomes = {}

        def attempt(number):
            secret = SECRET if number % 3 else "wrong"
            with contextlib.closing(daemon.connect()) as client:
                try:
                    client.login(f"user{number % 7}", "db", secret)
                    outcomes[number] = "in"
                except wire.ServerError as refusal:
                    outcomes[number] = refusal.sqlstate

        threads = [threading.Thread(target=attempt, args=(number,)) for number in range(60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert outcomes == {number: "in" if number % 3 else "28000" for number in range(60)}, outcomes
        assert daemon.counters()["verify_workers"] <= 3
