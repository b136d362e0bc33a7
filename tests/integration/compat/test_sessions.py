"""After any sequence of session statements of one client, the next one on the same server connection cannot be
told from a session that nobody has used; and the client itself always sees what a direct session would.

PGWEIR_SESSION_SECONDS is how long to try (10), PGWEIR_SESSION_SEED the first seed, PGWEIR_SESSION_KINDS a pattern
of the kinds of statements; a failure names its seed, and with PGWEIR_SESSION_SHRINK=1 leaves out what is not needed."""
import os
import random
import re
import time

import expected
import steps
from fixture import FIXTURE, ROWS
from harness import wire
from rotor import Rotor
from sessions import FRESH, Comparison, Different, Passer, difference, fresh_images, image, shrunk
from support import pool

SIZES = (1, 3)
LEAST = 6  # sequences, however slow the machine is
PROBLEMS = (Different, OSError, wire.Closed, wire.ServerError, TimeoutError)


class Field:
    """A database behind pools of both sizes, and one like it for the model."""

    def __init__(self, env):
        self.env = env
        self.names = {kind: f"{env.dbname}{kind}" for kind in ("model", "pooled")}
        admin = env.admin()
        for name in self.names.values():
            admin.execute(f"create database {name} template template0")
        if env.pooled:
            for size in SIZES:
                env.pooler.databases[f"{self.names['pooled']}x{size}"] = (
                    f"host=127.0.0.1 port={env.cluster.port} dbname={self.names['pooled']} pool_size={size} max_overflow=0")
            env.pooler.reload()
        self.observers = [env.cluster.session(name) for name in self.names.values()]
        for observer in self.observers:
            assert observer.query(FIXTURE).error is None
        self.console = wire.Client(env.port).login("raw", "pgbouncer")
        with self.direct("pooled") as client:
            self.fresh = image(client, FRESH)
        self.streams = {value for seed in (0.25, 0.5) for value in self.stream(seed)}

    def direct(self, kind):
        return wire.Client(self.env.cluster.port, "127.0.0.1").login("raw", self.names[kind])

    def pooled(self, size):
        return wire.Client(self.env.port, "127.0.0.1").login("raw", f"{self.names['pooled']}x{size}")

    def stream(self, seed):
        with self.direct("model") as client:
            client.query(f"select setseed({seed})")
            return [row[0] for row in client.query("select random() from generate_series(1, 300)").rows]

    def pins(self, size):
        rows = self.console.query("SHOW PINS").rows
        return len({row[0] for row in rows if row[1] == f"{self.names['pooled']}x{size}"})

    def play(self, sequence, size):
        """Raises what is wrong."""
        for observer in self.observers:
            result = observer.query("set lock_timeout = '9s';" + ROWS)
            assert result.error is None, result.error
        def connect():
            return self.pooled(size)
        def pins():
            return self.pins(size)
        rotor = Passer(connect, pins) if size == 1 else Rotor(connect, size, self.observers[1])
        rotor.begin(pins)
        comparison = Comparison(sequence, lambda: self.direct("model"), connect, rotor, self.observers[1])
        try:
            comparison.run(random.Random(sequence.seed))
        finally:
            comparison.abandon()
            rotor.end()
        self.check_fresh(connect, size)

    def check_fresh(self, connect, size):
        for found, drawn in fresh_images(connect, size):
            problem = difference(self.fresh, found)
            if problem:
                raise Different(f"the next client is not fresh: {problem}")
            if drawn in self.streams:
                raise Different("the next client draws from a seed that it has not set")

    def problem(self, sequence, size):
        try:
            self.play(sequence, size)
            return None
        except PROBLEMS as problem:
            # Nothing of what went wrong may reach the next sequence.
            self.observers[1].query("select pg_terminate_backend(pid, 5000) from pg_stat_activity "
                                    "where datname = current_database() and usename <> 'postgres'")
            return f"{type(problem).__name__}: {problem}"


def try_seeds(field, kinds, seconds, first):
    """(how many were tried, the first problem or None)."""
    limit = time.monotonic() + seconds
    seed = first
    while time.monotonic() < limit or seed - first < LEAST:
        size = SIZES[seed % len(SIZES)]
        sequence = steps.Sequence(seed, kinds)
        problem = field.problem(sequence, size)
        if problem and os.environ.get("PGWEIR_SESSION_SHRINK"):
            sequence = shrunk(sequence, lambda shorter, size=size: field.problem(shorter, size))
            problem = field.problem(sequence, size) or problem
        if problem:
            return seed - first, f"seed {seed}, pool of {size}: {problem}\n    all steps:{sequence}"
        seed += 1
    return seed - first, None


def wanted_kinds():
    pattern = os.environ.get("PGWEIR_SESSION_KINDS")
    return [kind for kind in steps.KINDS if (re.search(pattern, kind) if pattern else kind not in expected.SESSIONS_TODAY)]


@pool(pool_size=3, auth="trust", seconds=int(os.environ.get("PGWEIR_SESSION_SECONDS", "10")) + 120, admin_users="raw")
def test_the_next_client_finds_nothing_and_the_client_itself_all(env):
    """D-11, D-21 and C3-50 to C3-66."""
    if env.against != "pgweir":
        return
    field = Field(env)
    count, problem = try_seeds(field, wanted_kinds(), float(os.environ.get("PGWEIR_SESSION_SECONDS", "10")),
                               int(os.environ.get("PGWEIR_SESSION_SEED", "1")))
    assert problem is None, f"behind {count} sequences that were right, {problem}"


@pool(pool_size=3, auth="trust", seconds=120, admin_users="raw")
def test_kinds_that_are_listed_do_differ(env):
    """What expected.py lists is there to go: a kind without a difference is a failure."""
    if env.against != "pgweir" or not expected.SESSIONS_TODAY:
        return
    field = Field(env)
    same = []
    for kind in expected.SESSIONS_TODAY:
        count, problem = try_seeds(field, [kind], 8, 1)
        if problem is None:
            same.append(f"{kind} ({count} sequences)")
    assert not same, f"listed in expected.py, but nothing differs: {same}"
