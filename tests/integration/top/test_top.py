"""pgweir-top against a real daemon: what it shows, what its keys do, and what it must survive."""
import contextlib
import os
import re
import signal
import subprocess
import time

import psycopg
from harness import pgweir, process
from harness.testing import Skip
from support import Noise, Watch, background, clean_environment, pool

try:
    from terminal import Terminal
except ModuleNotFoundError as missing:
    if missing.name != "pyte":
        raise
    Terminal = None

VIEWS = ("pools", "waits", "statements", "pins", "servers", "events", "latency", "databases")
UP, DOWN, RIGHT, END, HOME = "\x1bOA", "\x1bOB", "\x1bOC", "\x1bOF", "\x1bOH"


def settings(**more):
    return {"pool_size": 2, "admin_users": "app", "stats_users": "second", "seconds": 120, **more}


def program():
    path = os.path.join(os.path.dirname(os.path.dirname(pgweir.binary())), "top", "pgweir-top")
    if not os.access(path, os.X_OK):
        raise Skip("pgweir-top was not built: ncurses is missing")
    return path


def environment(env, **more):
    given = {"PGHOST": env.host, "PGPORT": str(env.port), "PGUSER": "app", "PGPASSWORD": env.password,
             "TERM": "xterm", **pgweir.SANITIZERS, **more}
    return clean_environment(**given)


@contextlib.contextmanager
def shown(env, *arguments, rows=30, columns=160, **variables):
    """It runs on a terminal meanwhile, and leaves cleanly."""
    if Terminal is None:
        raise Skip("pyte is not installed")
    terminal = Terminal([program(), "-i", "0.2", *arguments], environment(env, **variables), rows, columns)
    terminal.wait_text("row \\d+ of|none|no answer")
    yield terminal
    terminal.quit()


def once(env, *arguments, check=True, **variables):
    done = subprocess.run([program(), "--once", *arguments], env=environment(env, **variables), text=True,
                          capture_output=True, stdin=subprocess.DEVNULL, timeout=40, check=False)
    if check:
        assert done.returncode == 0 and done.stderr == "", (done.returncode, done.stderr)
    return done


def pid_of(connection):
    return connection.execute("select pg_backend_pid()").fetchone()[0]


@contextlib.contextmanager
def held(env, name="holder", statement="select 1"):
    """A client in an open transaction."""
    connection = env.connect(application_name=name)
    connection.execute("begin")
    connection.execute(statement)
    yield connection
    with contextlib.suppress(psycopg.Error):
        connection.execute("rollback")


# --- what is shown -----------------------------------------------------------------------------------

@pool(**settings())
def test_pools_and_rates(env):
    connection = env.connect()
    watch = Watch(env)
    with watch, Noise(env), shown(env) as terminal:
        row = terminal.wait_text(rf"(?m)^{env.dbname} +app +\d+ +\d+ ")
        assert row, terminal.text()
        limit = time.monotonic() + 20
        while len(set(watch.seen.get("one", ()))) < 2 and time.monotonic() < limit:
            watch.served("one", pid_of(connection))
            time.sleep(0.001)
        terminal.wait_text(r"clients [1-9]\d* waiting \d+  servers [12] active \d+  pools 1")
        terminal.wait_text(r" [1-9][\d.]*k? trans/s  [1-9][\d.]*k? query/s  [1-9][\d.]*[kM]? in_B/s")
        assert re.search(r"^pgweir [\d.]+  at 127.0.0.1 \d+  up \d", terminal.line(0)), terminal.text()
        assert terminal.line(3).startswith("[1pools]"), terminal.line(3)
        terminal.press("8")
        terminal.wait_text(rf"(?m)^{env.dbname} +[1-9][\d.]*k? +[1-9][\d.]*k? ")
    watch.assert_rotation(clients=1)


@pool(**settings(max_overflow=0))
def test_every_view(env):
    """Each view shows what it is for, by its number and by its letter."""
    with held(env, "first holder", "select 'held by the first'"), \
            env.connect(application_name="pinned one") as pinned:
        pinned.execute("create temp table mine (a int)")
        waiting = env.connect(application_name="waiting one")
        thread = background(waiting.execute, "select 'waits'")
        with shown(env) as terminal:
            terminal.wait_text(rf"(?m)^{env.dbname} +app +\d+ +1 +\d")
            expected = {
                "2": r"waiting one.*(running|idle in transaction|pinned)",
                "3": r"first holder +active .*select 'held by the first'",
                "4": r"pinned one +temporary",
                "5": r"app +active",
                "6": r"(?m)^ *\d+ +20\d\d-",
                "7": r"\(all\) +\(all\)",
                "8": rf"(?m)^{env.dbname} +[\d.]+",
                "p": rf"(?m)^{env.dbname} +app ",
                "w": r"waiting one",
                "s": r"held by the first",
                "i": r"pinned one",
                "v": r"127\.0\.0\.1",
                "e": r"(?m)^ *\d+ +20\d\d-",
                "l": r"\(all\)",
                "d": r"trans/s",
            }
            for key, pattern in expected.items():
                terminal.press(key)
                name = VIEWS[int(key) - 1] if key.isdigit() else None
                if name:
                    terminal.wait_text(rf"\[{key}{name}\]")
                terminal.wait_text(pattern)
            terminal.press("?")
            terminal.wait_text("end the selected row's client")
            terminal.press("x")
            terminal.wait_gone("end the selected row's client")
        waiting.cancel()
        with contextlib.suppress(psycopg.errors.QueryCanceled):
            thread.join(20)


@pool(**settings())
def test_sorting_and_filter(env):
    with held(env, "aaa"), held(env, "bbb"), shown(env, "--view", "statements") as terminal:
        def order():
            return re.findall(r"\b(aaa|bbb)\b", terminal.text())
        terminal.wait(lambda: order() == ["aaa", "bbb"], "the one that runs longer first")
        assert "forv" in terminal.line(4), terminal.line(4)
        terminal.press("<<")  # by application
        terminal.wait_text(r"application\^")
        terminal.wait(lambda: order() == ["aaa", "bbb"], "by name")
        terminal.press("r")
        terminal.wait_text("applicationv")
        terminal.wait(lambda: order() == ["bbb", "aaa"], "by name, reversed")
        terminal.press("/AA\r")
        terminal.wait(lambda: order() == ["aaa"], "the filter leaves one out")
        terminal.wait_text(r'row 1 of 1 that contain "AA", 2 in all')
        terminal.press("/nobody")
        terminal.wait_text("nothing contains")
        terminal.press("\x1b\x1b")
        terminal.wait(lambda: order() == ["bbb", "aaa"], "Escape drops the filter")


@pool(**settings(pool_size=12))
def test_long_tables_scroll_and_sizes_change(env):
    with contextlib.ExitStack() as stack:
        for number in range(12):
            stack.enter_context(held(env, f"holder{number:02}"))
        terminal = stack.enter_context(shown(env, "--view", "statements", rows=12))
        terminal.wait_text("row 1 of 12")
        terminal.press("<<")  # by application
        terminal.wait_text(r"holder00(?s:.)*holder05")
        assert "holder06" not in terminal.text()
        terminal.press(END)
        terminal.wait_text("row 12 of 12")
        terminal.wait_text("holder11")
        assert "holder00" not in terminal.text()
        terminal.press(UP + UP)
        terminal.wait_text("row 10 of 12")
        terminal.press(HOME)
        terminal.wait_text("row 1 of 12")
        terminal.resize(24, 100)
        terminal.wait_text(r"holder00(?s:.)*holder11")
        terminal.wait(lambda: "row 1 of 12" in terminal.line(23), "the last line is below")
        terminal.resize(9, 40)
        terminal.wait(lambda: "row 1 of 12" in terminal.line(8), "the last line is above")
        terminal.wait_text("holder02")
        terminal.press(RIGHT * 8)
        terminal.wait_text("select 1")
        for rows, columns in ((1, 1), (3, 10), (6, 20), (30, 160)):
            terminal.resize(rows, columns)
            time.sleep(0.05)
        terminal.wait(lambda: "row 1 of 12" in terminal.line(29), "back to a large one")


@pool(**settings())
def test_hostile_text_stays_text(env):
    evil = "\x1b]0;pwned\x07\x1b[2J\x9b31m\u202egnirts"
    statement = f"select '{evil}' -- größe 漢字\n\t, 2"
    with held(env, "evil", statement), shown(env, "--view", "statements") as terminal:
        terminal.wait_text(r"select '\\x1b\]0;pwned\\x07\\x1b\[2J\\u\{9b\}31m\\u\{202e\}gnirts'")
        terminal.wait_text("größe")
        terminal.press("/pwned\r")
        terminal.wait_text('that contain "pwned"')
        for raw in (b"\x1b]0;", b"\x07", "\x9b".encode(), "\u202e".encode()):
            assert raw not in terminal.raw, raw
        text = once(env, "--view", "statements").stdout
        assert "\\x1b]0;pwned" in text and "\x1b" not in text and "\x07" not in text, text
        assert "größe 漢字" in text, text
        plain = once(env, "--view", "statements", LC_ALL="C").stdout
        assert plain.isascii() and "gr??e ??" in plain, plain


# --- what keys do --------------------------------------------------------------------------------------

@pool(**settings())
def test_kill_asks_first(env):
    with held(env, "victim") as victim, held(env, "bystander") as bystander, \
            shown(env, "--view", "statements") as terminal:
        terminal.wait_text("victim(?s:.)*bystander")
        terminal.press("K")
        terminal.wait_text(rf"KILL client \d+ \(app of {env.dbname}, victim\): really\? y/n")
        terminal.press("n")
        terminal.wait_text("nothing done")
        assert victim.execute("select 7").fetchone() == (7,)
        terminal.press("/victim\r")
        terminal.wait_text("row 1 of 1 ")
        terminal.press("K")
        terminal.wait_text(r"victim\): really")
        terminal.press("y")
        terminal.wait_text(r"KILL client \d+ .*: done")
        terminal.wait_text("nothing contains")
        try:
            victim.execute("select 1")
        except psycopg.Error:
            pass
        else:
            raise AssertionError("the victim lives")
        assert bystander.execute("select 8").fetchone() == (8,)
    # What the killed client held is free again, and rotates.
    env.assert_no_open_transaction()
    assert env.connect().execute("select 1").fetchone() == (1,)


@pool(**settings())
def test_pause_and_resume(env):
    connection = env.connect()
    connection.execute("select 1")
    with shown(env) as terminal:
        terminal.wait_text(rf"(?m)^{env.dbname} +app ")
        terminal.press("P")
        terminal.wait_text(rf'PAUSE "{env.dbname}": really\? y/n')
        terminal.press("y")
        terminal.wait_text(rf'PAUSE "{env.dbname}": done')
        terminal.wait_text(rf"(?m)^{env.dbname} .* yes ")
        thread = background(connection.execute, "select 2")
        terminal.wait_text(rf"(?m)^{env.dbname} +app +\d+ +1 ")
        assert thread.is_alive()
        terminal.press("R")
        terminal.wait_text(rf'RESUME "{env.dbname}": really')
        terminal.press("y")
        terminal.wait_text(rf'RESUME "{env.dbname}": done')
        assert thread.join(20).fetchone() == (2,)
        terminal.wait_text(rf"(?m)^{env.dbname} +app +\d+ +0 ")


@pool(**settings())
def test_a_pause_that_waits_can_be_resumed(env):
    with held(env) as holder, shown(env) as terminal:
        terminal.wait_text(rf"(?m)^{env.dbname} +app ")
        terminal.press("Py")
        terminal.wait_text("PAUSE .*: waiting for the answer")
        terminal.wait_text(rf"(?m)^{env.dbname} .* yes ")
        clock = terminal.wait_text(r"\d\d:\d\d:\d\d").group()
        terminal.wait(lambda: clock not in terminal.line(0), "the display goes on meanwhile")
        terminal.press("Ry")
        terminal.wait_gone(rf"(?m)^{env.dbname} .* yes ")
        terminal.wait_text("(PAUSE was ended by a RESUME|RESUME .*: done)")
        assert holder.execute("select 3").fetchone() == (3,)


@pool(**settings())
def test_who_may_only_look_is_told(env):
    env.connect().execute("select 1")
    with shown(env, "-U", "second") as terminal:
        terminal.wait_text(rf"(?m)^{env.dbname} +app ")
        terminal.press("Py")
        terminal.wait_text(r'PAUSE ".*": .*(permission|admin)')
        assert env.connect().execute("select 4").fetchone() == (4,)


@pool(**settings())
def test_freezing(env):
    connection = env.connect()
    connection.execute("select 1")
    with shown(env, "-U", "second", "--view", "databases") as terminal:
        terminal.wait_text(rf"(?m)^{env.dbname} ")
        terminal.press(" ")
        terminal.wait_text("FROZEN")
        time.sleep(0.5)  # a round that was under way
        terminal.read(0.1)
        before = terminal.wait_text(rf"(?m)^{env.dbname} .*$").group()
        for _ in range(50):
            connection.execute("select 1")
        time.sleep(1.5)
        terminal.read(0.1)
        assert terminal.wait_text(rf"(?m)^{env.dbname} .*$").group() == before
        terminal.press(" ")
        terminal.wait_gone("FROZEN")
        terminal.wait(lambda: before not in terminal.text(), "it goes on")
        terminal.press("+")
        terminal.wait_text(r"every 0\.5 s")
        terminal.press("--")
        terminal.wait_text(r"every 0\.1 s")


# --- a daemon that is away -----------------------------------------------------------------------------

@pool(**settings())
def test_a_restart_is_survived(env):
    env.connect().execute("select 1")
    with shown(env) as terminal:
        terminal.wait_text(rf"(?m)^{env.dbname} +app ")
        assert "no answer" not in terminal.text()
        process.end(env.pooler.child, signal.SIGQUIT)
        terminal.wait_text(r"no answer since \d\d:\d\d:\d\d; next try in \d+ s: .*refused")
        assert re.search(rf"(?m)^{env.dbname} +app ", terminal.text()), "the last look stays"
        terminal.press("8")
        terminal.wait_text(r"\[8databases\]")
        terminal.press("1")
        env.pooler.start()
        terminal.wait_gone("no answer", 30)
        terminal.wait_gone(rf"(?m)^{env.dbname} +app ")  # the new daemon has no pool yet
        env.connect().execute("select 1")
        terminal.wait_text(rf"(?m)^{env.dbname} +app ")


@pool(**settings())
def test_a_daemon_that_stands_still(env):
    env.connect().execute("select 1")
    with shown(env) as terminal:
        terminal.wait_text(rf"(?m)^{env.dbname} +app ")
        os.kill(env.pooler.child.pid, signal.SIGSTOP)
        try:
            terminal.wait_text(r"no answer since \d\d:\d\d:\d\d")
            terminal.press("3")
            terminal.wait_text(r"\[3statements\]")
            terminal.press("?")
            terminal.wait_text("any key goes back")
            terminal.press("?1")
            terminal.wait_text(rf"(?m)^{env.dbname} +app ")
        finally:
            os.kill(env.pooler.child.pid, signal.SIGCONT)
        terminal.wait_gone("no answer")


@pool(**settings())
def test_a_daemon_that_is_not_there_yet(env):
    process.end(env.pooler.child, signal.SIGQUIT)
    with shown(env) as terminal:
        terminal.wait_text("no answer yet.*: .*refused")
        env.pooler.start()
        terminal.wait_gone("no answer", 30)
        terminal.wait_text(r"clients \d+ waiting")


# --- once ---------------------------------------------------------------------------------------------

@pool(**settings())
def test_once(env):
    with held(env, "the holder", "select 'once'"):
        text = once(env).stdout
        assert re.search(r"^pgweir [\d.]+  at 127.0.0.1", text) and "\x1b" not in text, text
        assert re.search(rf"(?m)^{env.dbname} +app +1 ", text), text
        for view in VIEWS:
            text = once(env, "--view", view).stdout
            assert f"\n{view}\n" in text, text
        assert "select 'once'" in once(env, "--view", "statements").stdout
        assert "select 'once'" not in once(env, "--view", "statements", "-U", "second").stdout
    refused = once(env, check=False, PGPASSWORD="wrong")
    assert refused.returncode == 1 and "password" in refused.stderr and refused.stdout == "", refused
    nobody = once(env, "-p", str(process.free_port()), check=False)
    assert nobody.returncode == 1 and "refused" in nobody.stderr, nobody
    elsewhere = once(env, "-d", env.dbname, check=False)
    assert elsewhere.returncode == 1 and elsewhere.stderr, elsewhere


@pool(**settings())
def test_password_file(env):
    path = env.tmp / "pgpass"
    path.write_text(f"127.0.0.1:{env.port}:pgweir:app:" + env.password.replace("\\", "\\\\").replace(":", "\\:") + "\n")
    path.chmod(0o600)
    given = {"PGPASSWORD": "", "PGPASSFILE": str(path)}
    assert once(env, **given).stdout
    without = once(env, check=False, PGPASSWORD="", PGPASSFILE="/dev/null")
    assert without.returncode == 1 and "password" in without.stderr, without


@pool(**settings())
def test_command_line(env):
    def run(*arguments):
        return subprocess.run([program(), *arguments], env=environment(env), text=True, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=20, check=False)
    text = run("--help")
    assert text.returncode == 0 and all(f"  {view} " in text.stdout for view in VIEWS), text
    assert re.match(r"pgweir-top [\d.]+\n$", run("-V").stdout)
    for bad in (["--view", "nothing"], ["-i", "0"], ["-i", "x"], ["-i", "nan"], ["more"], ["--no"], ["--view", "p"]):
        done = run(*bad)
        assert done.returncode == 1 and "--help" in done.stderr and not done.stdout, (bad, done)
    assert run().returncode == 1 and "--once" in run().stderr
