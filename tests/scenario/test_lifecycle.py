"""Start, reload, stop; the command line; what an operator relies on."""

import os
import re
import signal
import socket
import subprocess
import time

from common import Gate, in_background, pooled

from harness import pgweir, process, wire
from harness.pgweir import Pgweir
from harness.scripted import Scripted
from harness.testing import cases


def test_stop_when_idle():
    with pooled() as (_, daemon), daemon.client() as client:
        client.value("select 1")
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        got = client.rest(5)
        assert [item.type for item in got] == ["E"], got
        assert got[0].fields["C"] == "57P01" and got[0].fields["S"] == "FATAL", got
        daemon.wait_exit()
        assert time.monotonic() - began < 2


def test_stop_waits_for_the_transaction():
    with pooled(shutdown_timeout="10") as (server, daemon), daemon.client() as client:
        client.query("begin")
        daemon.signal(signal.SIGTERM)
        time.sleep(0.3)
        assert client.value("select 1") == "select 1"
        result = client.query("commit")
        assert result.tags == ["COMMIT"], result
        got = client.rest(5)
        assert [item.fields["C"] for item in got] == ["57P01"], got
        daemon.wait_exit(5)


def test_stop_waits_for_the_answer():
    gate = Gate()
    with pooled(Scripted(on_query=gate), shutdown_timeout="10") as (_, daemon):
        with daemon.client() as client:
            answer = in_background(client.query, "wait")
            gate.wait_reached()
            daemon.signal(signal.SIGTERM)
            time.sleep(0.3)
            gate.open()
            assert answer().value == "wait"
            assert [item.fields["C"] for item in client.rest(5)] == ["57P01"]
            daemon.wait_exit(5)


def test_stop_tells_who_waits():
    with pooled(shutdown_timeout="10") as (_, daemon):
        with daemon.client() as holder, daemon.client() as waiting:
            holder.query("begin")
            waiting.send(wire.query("select late"))
            time.sleep(0.1)
            daemon.signal(signal.SIGTERM)
            holder.query("commit")
            got = waiting.rest(5)
            assert got and got[-1].type == "E" and got[-1].fields["C"] == "57P01", got
            daemon.wait_exit(5)


def test_stop_does_not_wait_for_ever():
    with pooled(shutdown_timeout="1") as (_, daemon), daemon.client() as client:
        client.query("begin")
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        got = client.rest(5)
        assert got and got[-1].fields["C"] == "57P01", got
        daemon.wait_exit(5)
        assert 0.7 < time.monotonic() - began < 4


def test_stop_refuses_new_clients():
    with pooled(shutdown_timeout="10") as (_, daemon), daemon.client() as client:
        client.query("begin")
        daemon.signal(signal.SIGTERM)
        time.sleep(0.2)
        try:
            refusal = daemon.refused()
            assert refusal["C"] == "57P03", refusal
        except (ConnectionRefusedError, wire.Closed):
            pass
        client.query("commit")
        client.rest(5)
        daemon.wait_exit(5)


def test_stop_terminates_server_sessions():
    with pooled() as (server, daemon):
        with daemon.client() as client:
            client.value("select 1")
        daemon.signal(signal.SIGTERM)
        daemon.wait_exit()
        process.wait_until(lambda: server.backends[0].terminated, "Terminate arrives")


def test_second_term_ends_at_once():
    with pooled(shutdown_timeout="20") as (_, daemon), daemon.client() as client:
        client.query("begin")
        daemon.signal(signal.SIGTERM)
        time.sleep(0.2)
        daemon.signal(signal.SIGTERM)
        daemon.wait_exit(3)


def test_quit_ends_at_once():
    with pooled(shutdown_timeout="20") as (_, daemon), daemon.client() as client:
        client.query("begin")
        began = time.monotonic()
        daemon.stop(signal.SIGQUIT)
        assert time.monotonic() - began < 2


def test_usr2_is_ignored():
    """PgBouncer resumes by it; a script made for that must not kill."""
    with pooled() as (_, daemon), daemon.client() as client:
        daemon.signal(signal.SIGUSR2)
        daemon.counters()
        assert client.value("select 1") == "select 1"


def test_reload_changes_limits():
    with pooled(pool_timeout="30") as (_, daemon):
        with daemon.client() as holder, daemon.client() as client:
            holder.query("begin")
            daemon.settings["pool_timeout"] = "0.3"
            daemon.reload()
            time.sleep(0.3)
            result = client.query("select 1")
            assert result.sqlstate == "53300", result
            holder.query("commit")
            assert client.value("select 1") == "select 1"


def test_reload_grows_the_pool():
    with pooled() as (server, daemon):
        with daemon.client() as holder, daemon.client() as client:
            holder.query("begin")
            client.send(wire.query("select late"))
            client.expect_silence(0.1)
            daemon.settings["pool_size"] = 2
            daemon.reload()
            assert wire.Result(client.read_until("Z", 5)).value == "select late"
            assert len(server.backends) == 2


@cases(unknown_setting="nonsense_setting = 1\n", bad_value="pool_size = many\n",
       bad_line="this is no setting\n")
def test_reload_of_a_bad_file_changes_nothing(line):
    with pooled() as (_, daemon), daemon.client() as client:
        with open(daemon.ini, encoding="utf-8") as file:
            good = file.read()
        with open(daemon.ini, "w", encoding="utf-8") as file:
            file.write("[pgweir]\n" + line + good.split("\n", 1)[1].replace("db =", "other ="))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("old configuration stays")
        assert client.value("select 1") == "select 1"
        with daemon.client() as other:
            assert other.value("select 1") == "select 1"
        assert daemon.refused(database="other")["C"] == "3D000"


def test_reload_adds_and_removes_databases():
    with Scripted() as server, Pgweir({"db": server.dsn()}) as daemon:
        with daemon.client() as client:
            client.value("select 1")
            daemon.databases = {"new": server.dsn()}
            daemon.reload()
            with daemon.client(database="new") as other:
                assert other.value("select 1") == "select 1"
            assert daemon.refused()["C"] == "3D000"
            got = client.rest(5)
            assert got and got[-1].fields["C"] == "57P01", got


def test_reload_moves_a_database():
    """New transactions go to the new server; the one that is open ends where it began."""
    with Scripted() as old, Scripted() as new, Pgweir({"db": old.dsn()}) as daemon:
        with daemon.client() as client, daemon.client() as idle:
            assert client.query("begin").status == "T"
            daemon.databases = {"db": new.dsn()}
            daemon.reload()
            assert idle.value("select moved") == "select moved"
            assert client.value("select stays") == "select stays"
            client.query("commit")
            assert client.value("select later") == "select later"
        assert "select moved" in new.queries and "select later" in new.queries
        assert "select stays" in old.queries


def test_reload_reads_the_users_again():
    with pooled(auth_type="md5", users={"alice": "old"}) as (_, daemon):
        with daemon.client(secret="old"):
            pass
        daemon.users = {"alice": "new", "bob": "b"}
        daemon.reload()
        with daemon.client(secret="new"), daemon.client("bob", secret="b"):
            pass
        assert daemon.refused(secret="old")["C"] == "28P01"


def ini(text, **more):
    """Writes a file that would run, plus `text` in [pgweir]; its path."""
    folder = process.folder("ini")
    path = os.path.join(folder, "test.ini")
    settings = {"listen_addr": "127.0.0.1", "listen_port": process.free_port(),
                "auth_type": "trust", "http_listen": "", **more}
    with open(path, "w", encoding="utf-8") as file:
        file.write("[pgweir]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())
                   + text + "\n[databases]\ndb = host=127.0.0.1 port=1\n")
    return path


def test_check_good_file():
    status, output = pgweir.run("-t", ini("pool_size = 7"))
    assert status == 0, output
    assert re.search(r"pool_size\s*=\s*7\b", output), output


@cases(name=("pool_sice = 7", "pool_size"), value=("pool_size = seven", "pool_size"),
       range=("listen_port = 99999", "listen_port"), duration=("pool_timeout = 3 parsecs", "pool_timeout"))
def test_check_bad_file(line, named):
    path = ini(line)
    status, output = pgweir.run("--check", path)
    assert status == 1, (status, output)
    assert named in output, output
    assert re.search(r"test\.ini:\d+", output), "file and line are missing: " + output


@cases(foreground=(), background="-d")
def test_bad_file_is_a_failed_start(*arguments):
    status, output = pgweir.run(*arguments, ini("pool_sice = 7"))
    assert status not in (0, None) and "pool_sice" in output, (status, output)


def test_missing_file():
    status, output = pgweir.run("/nonexistent/pgweir.ini")
    assert status != 0 and "/nonexistent/pgweir.ini" in output, output


def test_no_file_named():
    status, output = pgweir.run()
    assert status != 0 and output, output


def test_version_and_help():
    status, output = pgweir.run("-V")
    assert status == 0 and re.search(r"\d+\.\d+\.\d+", output), output
    status, output = pgweir.run("--help")
    assert status == 0 and "FILE.ini" in output, output


@cases(foreground=(), background="-d")
def test_busy_port(*arguments):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        pidfile = os.path.join(process.folder("pid"), "pid")
        status, output = pgweir.run(*arguments, ini(f"pidfile = {pidfile}", listen_port=port))
        assert status != 0 and str(port) in output, (status, output)


def test_background():
    """-d returns 0 when everything listens; the pidfile names the process that does."""
    folder = process.folder("background")
    pidfile = os.path.join(folder, "pid")
    port = process.free_port()
    path = ini(f"pidfile = {pidfile}\nlogfile = {folder}/log\nshutdown_timeout = 1",
               listen_port=port)
    status, output = pgweir.run("-d", path)
    assert status == 0, output
    with open(pidfile, encoding="ascii") as file:
        pid = int(file.read())
    try:
        with wire.Client(port) as client:
            client.send(wire.SSL_REQUEST)
            assert client.bytes(1) == b"N"
        second = ini(f"pidfile = {pidfile}")
        status, output = pgweir.run("-d", second)
        assert status != 0 and pidfile in output, (status, output)
    finally:
        os.kill(pid, signal.SIGTERM)
    process.wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "it ends")
    assert not os.path.exists(pidfile)


def test_stale_pidfile():
    folder = process.folder("stale")
    pidfile = os.path.join(folder, "pid")
    with open(pidfile, "w", encoding="ascii") as file:
        file.write("999999\n")
    os.chmod(pidfile, 0o666)
    with Scripted() as server, Pgweir({"db": server.dsn()}, pidfile=pidfile) as daemon:
        with open(pidfile, encoding="ascii") as file:
            assert int(file.read()) == daemon.child.pid
        with daemon.client() as client:
            assert client.value("select 1") == "select 1"


def test_file_of_another_pooler():
    """[pgbouncer] with its own names runs unchanged."""
    with Scripted() as server:
        with Pgweir({"db": server.dsn()}, section="pgbouncer", log_level=None, log_stats="0",
                    shutdown_timeout=None, auth_type="trust", default_pool_size=1,
                    pool_mode="transaction", server_round_robin=0, ignore_startup_parameters="x",
                    query_wait_timeout=1) as daemon:
            with daemon.client() as holder, daemon.client() as client:
                holder.query("begin")
                client.send(wire.query("select late"))
                got = client.read_until("ZE", 5)
                assert got[-1].type == "E", got
                holder.query("commit")
            assert len(server.backends) == 1


def test_counters():
    with pooled() as (_, daemon):
        for _ in range(3):
            with daemon.client() as client:
                client.value("select 1")
        found = daemon.counters()
        assert found["client_logins"] == 3 and found["server_connects"] == 1, found
        assert found["transactions"] == 3 and found["assignments"] == 3, found


def test_descriptors_are_given_back():
    with pooled() as (_, daemon):
        with daemon.client() as client:
            client.value("select 1")
        before = daemon.descriptors()
        for _ in range(50):
            with daemon.client() as client:
                client.value("select 1")
            daemon.connect().close()
        process.wait_until(lambda: daemon.descriptors() <= before, "descriptors are closed")


def test_environment_of_libpq_is_ignored():
    """PGHOST and its kin in the environment must not redirect server connections."""
    os.environ.update({"PGHOST": "192.0.2.1", "PGPORT": "1", "PGUSER": "wrong", "PGSSLMODE": "require"})
    original = pgweir.environment
    pgweir.environment = lambda: dict(os.environ, **pgweir.SANITIZERS)
    try:
        with Scripted() as server, Pgweir({"db": server.dsn()}) as daemon:
            with daemon.client() as client:
                assert client.value("select 1") == "select 1"
            assert server.backends[0].startup["user"] == "alice"
    finally:
        pgweir.environment = original
        for name in ("PGHOST", "PGPORT", "PGUSER", "PGSSLMODE"):
            del os.environ[name]


def test_reload_changes_the_period_of_statistics():
    with pooled(stats_period="1h", log_stats="on") as (_, daemon):
        time.sleep(1.2)
        assert not daemon.log_has(" stats: ")
        daemon.settings["stats_period"] = "1"
        daemon.reload()
        process.wait_until(lambda: daemon.read_log().count(" stats: ") >= 2, "two lines of statistics")
        daemon.settings["stats_period"] = "1h"
        daemon.reload()
        before = daemon.read_log().count(" stats: ")
        time.sleep(2.2)
        assert daemon.read_log().count(" stats: ") == before


def descriptor_limit(pid):
    with open(f"/proc/{pid}/limits", encoding="ascii") as file:
        return int(re.search(r"Max open files +(\d+)", file.read()).group(1))


def test_reload_raises_the_limit_of_descriptors():
    with pooled() as (_, daemon):
        pid = daemon.child.pid
        # As the daemon's own user: the hard limit comes down, and only root could raise it again.
        subprocess.run(["prlimit", "--pid", str(pid), "--nofile=1500:3000"], check=True,
                       **daemon.identity)
        daemon.settings["max_client_conn"] = 2000
        daemon.reload()
        process.wait_until(lambda: 2000 <= descriptor_limit(pid) < 3000, "the limit is raised")
        assert not daemon.log_has("LimitNOFILE")
        daemon.settings["max_client_conn"] = 5000
        daemon.reload()
        daemon.wait_log("limits: max_client_conn 5000 .*LimitNOFILE")
        assert descriptor_limit(pid) == 3000
        with daemon.client() as client:
            assert client.value("select 1") == "select 1"
