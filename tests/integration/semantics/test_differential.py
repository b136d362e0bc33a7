"""Random messages to PostgreSQL and through the pooler under forced rotation: every reply the same."""
import random

from differential import CLOSED, Script, compare, play, readable, show
from harness import wire
from support import Turner, background, pool

SETUP = "drop table if exists facts; create table facts (n int primary key, t text); insert into facts values (1, 'one')"


def difference(env, script, title, move, cuts=None, table="facts"):
    """Plays one script; the reference first, so that it is known when the client is between
    transactions and may be moved."""
    reference, target = env.reference(), env.raw()
    try:
        for client in (reference, target):
            assert client.query(SETUP.replace("facts", table)).error is None
        for number, segment in enumerate(script.segments):
            segment = rename(segment, table)
            expected = play(reference, segment)
            try:
                got = play(target, segment, cuts)
            except TimeoutError as error:
                raise AssertionError(f"{title} segment {number}: {error!r}\n    sent:\n{readable(segment)}\n"
                                     f"    PostgreSQL:\n{show(expected)}") from error
            if not compare(expected, got, segment, f"{title} segment {number}") or expected[-1] == CLOSED:
                break
            if expected[-1].body == b"I":
                move()
    finally:
        for client in (reference, target):
            client.close()


def all_the_same(env, seeds, cut):
    """Plays the scripts and tells of the first that differ, and of how many do."""
    turner = Turner(env)
    failures = []
    for seed in seeds:
        try:
            difference(env, Script(seed, env.joins_queries), f"seed {seed}", lambda: turner.turn(patience=0.15),
                       random.Random(seed) if cut else None)
        except (AssertionError, TimeoutError) as error:
            failures.append(str(error))
            if len(failures) == 3:
                break
    turner.end()
    assert not failures, f"{len(failures)} of seeds {seeds} up to {seed} differ:\n" + "\n".join(failures)
    env.assert_no_open_transaction()


@pool(pool_size=2, auth="trust", seconds=90)
def test_random_batches_answered_as_by_postgresql(env):
    """C3-26, C3-28, C3-30, C3-44: tagged answers, errors at any message, Query inside open segments."""
    all_the_same(env, range(150), cut=False)


@pool(pool_size=2, auth="trust", seconds=90)
def test_random_batches_cut_anywhere(env):
    """C3-32: the same, with the bytes sent in pieces cut at any boundary."""
    all_the_same(env, range(1000, 1080), cut=True)


@pool(pool_size=3, auth="trust", seconds=90)
def test_random_batches_of_many_clients(env):
    """Eight clients play and are answered at the same time over three server connections; nobody
    sees another's reply. Each has its own table, so what they expect is known beforehand."""
    failures = []

    def work(number):
        for seed in range(2000 + 100 * number, 2012 + 100 * number):
            try:
                difference(env, Script(seed, env.joins_queries), f"client {number} seed {seed}", lambda: None, table=f"facts{number}")
            except (AssertionError, TimeoutError) as error:
                failures.append(str(error))
                return

    for thread in [background(work, number) for number in range(8)]:
        thread.join(80)
    assert not failures, f"{len(failures)} of 8 clients were answered differently:\n" + "\n".join(failures[:3])
    env.assert_no_open_transaction()


def rename(segment, table):
    """The segment with another table name: the length words of messages are made anew."""
    renamed = []
    for piece in segment:
        kind, body = chr(piece[0]), piece[5:]
        renamed.append(wire.message(kind, body.replace(b"facts", table.encode())))
    return renamed
