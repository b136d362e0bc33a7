"""Cancel requests: never anybody else's statement."""
import random
import threading
import time

from harness import wire
from harness.process import wait_until
from harness.wire import query, sync
from support import background, pool


@pool(pool_size=2, auth="trust")
def test_cancel_of_a_running_statement(env):
    """C3-84: 57014, then the session goes on, each reply its own."""
    client = env.raw()
    for number in range(5):
        client.send(query(f"select pg_sleep(20), {number}"))
        time.sleep(0.05)
        client.cancel()
        result = client.results(1)[0]
        assert result.sqlstate == "57014" and result.error["M"] == "canceling statement due to user request", result
        for n in range(3):
            assert client.value(f"select {n}") == str(n)
    client.query("begin")
    client.send(query("select pg_sleep(20)"))
    time.sleep(0.05)
    client.cancel()
    assert client.results(1)[0].status == "E"
    assert client.query("rollback").status == "I"


@pool(pool_size=1, auth="trust")
def test_cancel_with_a_wrong_key_does_nothing(env):
    client = env.raw()
    client.send(query("select pg_sleep(0.4), 'whole'"))
    time.sleep(0.05)
    for pid, key in ((client.pid, b"\0\0\0\0"), (client.pid + 1, client.key), (0, b"\0\0\0\0"), (client.pid, client.key[::-1])):
        with wire.Client(env.port) as other:
            other.send(wire.cancel_request(pid, key))
            other.expect_closed()
    assert client.results(1)[0].rows == [("", "whole")]


@pool(pool_size=2, auth="trust", seconds=60)
def test_cancel_storm_hits_nobody_else(env):
    """C3-81, C3-82, C3-83: clients that cancel at any moment, also just after their statement ended
    and with a queue of others waiting: only those who cancelled ever see 57014."""
    stop = threading.Event()
    hits = []

    def canceller(number):
        client = env.raw()
        draw = random.Random(number).random
        hit = 0
        for turn in range(120):
            seconds = draw() * 0.004
            client.send(query(f"select pg_sleep({seconds}), {turn}"))
            time.sleep(draw() * 0.005)
            client.cancel()
            result = client.results(1)[0]
            if result.sqlstate:
                assert result.sqlstate == "57014", result
                hit += 1
            else:
                assert result.rows == [("", str(turn))], result
            # A late cancel may hit the very next statement of the same client on a direct
            # connection too: that one is allowed, no other.
            follow = client.query(f"select 'follow {turn}'")
            assert follow.rows == [(f"follow {turn}",)] or follow.sqlstate == "57014", follow
        hits.append(hit)

    def bystander(number):
        client = env.raw()
        turn = 0
        while not stop.is_set():
            turn += 1
            tag = f"{number}:{turn}"
            result = client.query(f"select '{tag}', pg_sleep(0.001)") if turn % 2 else client.prepared("select $1::text, ''", [tag])
            assert result.rows == [(tag, "")], result
        return turn

    others = [background(bystander, number) for number in range(6)]
    cancellers = [background(canceller, number) for number in range(4)]
    for thread in cancellers:
        thread.join(50)
    stop.set()
    assert all(thread.join(20) > 50 for thread in others)
    assert sum(hits) > 20, f"only {sum(hits)} cancels hit: nothing was tested"
    env.assert_no_open_transaction()


@pool(pool_size=1, auth="trust")
def test_cancel_then_gone_at_once(env):
    """C3-81: cancel, and the client is gone before the server knows: the next user of the backend
    does not meet it."""
    others = [env.raw() for _ in range(3)]

    def work(client, number):
        for turn in range(150):
            tag = f"{number}-{turn}"
            result = client.query(f"select '{tag}', pg_sleep(0.0005)")
            assert result.rows == [(tag, "")], result
    threads = [background(work, client, number) for number, client in enumerate(others)]
    draw = random.Random(5).random
    for number in range(60):
        client = env.raw()
        client.send(query(f"select pg_sleep({draw() * 0.003})"))
        time.sleep(draw() * 0.004)
        with wire.Client(env.port) as other:
            other.send(wire.cancel_request(client.pid, client.key))
            if number % 2:
                client.reset()
            else:
                client.send(wire.terminate())
                client.close()
            other.expect_closed()
    for thread in threads:
        thread.join(40)
    env.assert_no_open_transaction()


@pool(pool_size=1, auth="trust")
def test_cancel_while_queued(env):
    """C3-85: a client that waits for a server connection is cancelled at once, without using one, and
    may wait again."""
    if not env.pooled:
        return
    holder, client = env.raw(), env.raw()
    holder.query("begin")
    for message in (query("select 'never'"), wire.batch("select 'never'")):
        client.send(message)
        time.sleep(0.1)
        began = time.monotonic()
        client.cancel()
        result = client.results(1)[0]
        assert result.sqlstate == "57014" and result.status == "I" and time.monotonic() - began < 1, result
    client.send(query("select 'served'"))
    client.expect_silence(0.1)
    assert holder.value("select 'undisturbed'") == "undisturbed"
    holder.query("commit")
    assert client.results(1)[0].rows == [("served",)]


@pool(pool_size=1, auth="trust")
def test_client_that_vanishes_while_queued(env):
    """C3-86: its statement is never run and it takes nobody's turn."""
    if not env.pooled:
        return
    observer = env.admin()
    observer.execute("create table run (who text)")
    holder = env.raw()
    holder.query("begin")
    for number in range(6):
        client = env.raw()
        client.send(query(f"insert into run values ('ghost {number}')"))
        time.sleep(0.02)
        if number % 2:
            client.reset()
        else:
            client.close()
    last = env.raw()
    last.send(query("insert into run values ('last')"))
    time.sleep(0.1)
    holder.query("commit")
    assert last.results(1)[0].error is None
    env.assert_no_open_transaction()
    assert observer.execute("select who from run").fetchall() == [("last",)]


@pool(pool_size=1, auth="trust")
def test_idle_client_cancels_nothing(env):
    """C3-82: a cancel of a client that runs nothing is dropped, not kept for its next statement."""
    client, other = env.raw(), env.raw()
    for _ in range(5):
        client.query("select 1")
        client.cancel()
        other.send(query("select pg_sleep(0.05), 'mine'"))
        client.cancel()
        assert other.results(1)[0].rows == [("", "mine")]
        assert client.query("select 'next'").rows == [("next",)]
        assert client.ask(sync()).types == "Z"


@pool(pool_size=2, auth="trust")
def test_cancelled_copy(env):
    """COPY in both directions is cancelled; the connection goes on."""
    client = env.raw()
    client.query("create table t (n int)")
    client.send(query("copy (select generate_series(1, 1000000000)) to stdout"))
    client.read_until("d")
    client.cancel()
    assert client.results(1)[0].sqlstate == "57014"
    client.send(query("copy t from stdin"))
    client.read_until("G")
    client.send(wire.copy_data("1\n"))
    client.cancel()
    client.send(wire.copy_data("2\n"), wire.copy_done())
    result = client.results(1)[0]
    # Waiting for data PostgreSQL notices a cancel only with the next statement's check.
    assert result.sqlstate in ("57014", None), result
    wait_until(lambda: client.query("select 1").rows == [("1",)], "the connection goes on")
