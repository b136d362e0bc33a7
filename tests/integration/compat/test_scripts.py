"""Scripts of every compatibility case, directly and through the pooler under forced rotation: message by
message the same. What scripts are, and how to write them: script.py. PGWEIR_SCRIPTS names a pattern
of those to play; `theme/title (mode)` is what it is compared with."""
import collections
import itertools
import os
import pathlib
import re

import cases
import expected
import script as scripts
from children import in_children
from fixture import FIXTURE, ROWS, may_change
from harness import wire
from player import Play
from rotor import NotMoved, Rotor
from support import Skip, pool

WORKERS = 3
SECONDS = 400
SIZES = (2, 3, 4)
CONSOLE = "pgbouncer"


class Difference(Exception):
    pass


class Worker:
    """Plays scripts in a database of its own: first on PostgreSQL itself, then through the pooler."""

    def __init__(self, env, number):
        self.env = env
        self.dbname = f"{env.dbname}compat{number}"
        self.observer = env.cluster.session(self.dbname)
        self.observer.query("set lock_timeout = '5s'")
        self.theme = None
        self.rotors = {}
        self.changed = True
        self.direct_pids = [0]
        self.console = wire.Client(env.port, "127.0.0.1").login("raw", CONSOLE) if env.against == "pgweir" else None

    def direct(self, **parameters):
        client = wire.Client(self.env.cluster.port, "127.0.0.1").login("raw", self.dbname, **parameters)
        self.direct_pids.append(client.pid)
        return client

    def pool(self, size):
        """What a pool has learned in one theme (that sequences are asked for, say) is nothing to another."""
        return f"{self.dbname}{self.theme}{size}"

    def pooled(self, size):
        def connect(**parameters):
            return wire.Client(self.env.port, "127.0.0.1").login("raw", self.pool(size), **parameters)
        return connect

    def prepare(self, script):
        """The fixture as it was, whatever the script before has left."""
        for text in (FIXTURE, ROWS) if self.changed else (ROWS,):
            result = self.observer.query(text)
            assert result.error is None, result.error
        self.changed = may_change(script)

    def pins(self, size):
        rows = self.console.query("SHOW PINS")
        return len({row[0] for row in rows.rows if row[1] == self.pool(size)})

    def rotor(self, script):
        """For a script that has only one client the pool has two connections, so that it is known where
        the client is."""
        size = len(script.clients) + 1
        if self.theme != script.theme:
            self.end_rotors()
            self.theme = script.theme
        if size not in self.rotors:
            self.rotors[size] = Rotor(self.pooled(size), size, self.observer)
        self.rotors[size].begin((lambda: self.pins(size)) if "pin" in script.flags and self.console else None)
        return self.rotors[size]

    def end_rotors(self):
        for rotor in self.rotors.values():
            rotor.end()
        self.rotors = {}

    def afresh(self):
        """After a script that failed no server connection is used by the next one."""
        self.end_rotors()
        self.observer.query(f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{self.dbname}' "
                            "and usename <> 'postgres'")

    def play_direct(self, script, mode):
        self.prepare(script)
        play = Play(script, mode, self.direct, self.observer)
        play.run()
        assert play.wait(f"select count(*) = 0 from pg_stat_get_activity(null) where pid in ({','.join(map(str, self.direct_pids))})")
        self.direct_pids = [0]
        return play.answers

    def play_pooled(self, script, mode, reference):
        self.prepare(script)
        rotor = self.rotor(script)
        play = Play(script, mode, self.pooled(len(rotor.takers)), self.observer, rotor)
        try:
            play.run()
        except NotMoved as kept:
            compare(script, reference, play.answers)
            raise Difference(f"{script.whole()[len(play.answers)]}\n      a client was not moved behind this: {kept}") from kept
        compare(script, reference, play.answers)
        check_rotation(script, rotor)

    def end(self):
        for client in (*self.rotors.values(), self.observer, self.console):
            if client is not None:
                client.end() if isinstance(client, Rotor) else client.close()


def show(messages, at):
    """From where they differ on; what comes after the first three says little."""
    return "".join(f"\n        {message!r}" for message in messages[at:at + 3]) or " nothing more"


def compare(script, reference, answers):
    for line, theirs, ours in zip(script.whole(), reference, answers):
        if theirs != ours:
            at = next((n for n, pair in enumerate(zip(theirs, ours)) if pair[0] != pair[1]), min(len(theirs), len(ours)))
            raise Difference(f"{line}\n      PostgreSQL:{show(theirs, at)}\n      the pooler:{show(ours, at)}")


def check_rotation(script, rotor):
    if script.flags & {"pin", "still"}:
        return
    if rotor.unmoved or not rotor.moved():
        raise Difference(f"clients {rotor.unmoved} were not moved by a turn; met: {rotor.met}")


def play_all(worker, chosen, pooled):
    """What differs, (script, mode) to its text."""
    differences = {}
    references = {run: worker.play_direct(*run) for run in chosen}
    for run in chosen if pooled else ():
        try:
            worker.play_pooled(*run, references[run])
        except (Difference, OSError, wire.Closed, wire.ServerError, TimeoutError, AssertionError) as problem:
            differences[run] = f"{type(problem).__name__ if not isinstance(problem, Difference) else ''}{problem}"
            worker.afresh()
    return differences


def databases(env, themes):
    """One for each worker, with a pool for each theme and number of server connections."""
    admin = env.admin()
    for number in range(WORKERS):
        name = f"{env.dbname}compat{number}"
        admin.execute(f"create database {name} template template0")
        if env.against == "pgweir":
            for theme, size in itertools.product(themes, SIZES):
                env.pooler.databases[f"{name}{theme}{size}"] = (f"host=127.0.0.1 port={env.cluster.port} dbname={name} "
                                                          f"pool_size={size} max_overflow=0")
    if env.against == "pgweir":
        env.pooler.reload()


def runs():
    pattern = os.environ.get("PGWEIR_SCRIPTS", "")
    found = [(script, mode) for script in scripts.read_all() for mode in script.modes]
    return [run for run in found if re.search(pattern, title(*run))]


def title(script, mode):
    return f"{script.name} ({mode})"


def verdicts(chosen, differences):
    """What has to be told: what differs and is not listed, and what is listed and does not differ in one of
    its modes at least."""
    listed = {**expected.EXPECTED_TODAY, **expected.KNOWN_DIFFERENCES}
    excused = {*listed, *expected.SOMETIMES_TODAY}
    problems = [f"{title(*run)} line {text}" for run, text in differences.items() if not {run[0].name, title(*run)} & excused]
    different = {name for run in differences for name in (run[0].name, title(*run))}
    played = {name for run in chosen for name in (run[0].name, title(*run))}
    problems += [f"{name} is listed in expected.py, but nothing differs" for name in listed if name in played - different]
    return problems


def test_every_case_has_a_script_or_a_reason(env):
    """And nothing is listed that is not there."""
    found = scripts.read_all()
    covered = {case for script in found for case in script.cases}
    missing = set(cases.ALL) - covered - set(cases.NOT_SCRIPTS)
    assert not missing and not covered & set(cases.NOT_SCRIPTS), (missing, covered & set(cases.NOT_SCRIPTS))
    tests = pathlib.Path(__file__).resolve().parents[2]
    lost = [path for _, path in cases.NOT_SCRIPTS.values() if not (tests / path).exists()]
    assert not lost, lost
    names = [script.name for script in found]
    assert len(set(names)) == len(names) >= 200, [name for name in names if names.count(name) > 1]
    known = set(names) | {title(script, mode) for script in found for mode in script.modes}
    unknown = {*expected.EXPECTED_TODAY, *expected.SOMETIMES_TODAY, *expected.KNOWN_DIFFERENCES} - known
    assert not unknown, unknown


@pool(pool_size=2, auth="trust", seconds=SECONDS, stats_users="raw", admin_users="raw")
def test_every_script_as_on_postgresql(env):
    """C3-01 to C3-89, as cases.py lists them."""
    if env.against not in ("pgweir", "direct"):
        raise Skip("the pools of this test are pgweir's")
    chosen = runs()
    databases(env, {script.theme for script, _ in chosen})
    themes = collections.defaultdict(list)
    for run in chosen:
        themes[run[0].theme].append(run)
    shares = [[] for _ in range(WORKERS)]
    for runs_of_theme in sorted(themes.values(), key=len, reverse=True):
        min(shares, key=len).extend(runs_of_theme)

    def work(number):
        worker = Worker(env, number)
        differences = play_all(worker, shares[number], env.pooled)
        worker.end()
        # Scripts do not go through a pipe, their numbers do.
        return [(chosen.index(run), text) for run, text in differences.items()]

    differences = {}
    for found in in_children(work, range(WORKERS), SECONDS - 10):
        differences.update((chosen[number], text) for number, text in found)
    problems = verdicts(chosen, differences) if env.against == "pgweir" else []
    assert not problems, f"{len(problems)} of {len(chosen)} runs:\n\n" + "\n\n".join(problems)
