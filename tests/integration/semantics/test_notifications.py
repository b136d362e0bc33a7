"""LISTEN and NOTIFY: what comes, in which order, and how a client knows its own."""
import select
import time

import psycopg2
import psycopg2.extensions

from support import pool


class Ear:
    """What a psycopg 3 connection has been told: (channel, payload, "own" or the pid)."""

    def __init__(self, connection):
        self.connection = connection
        self.heard = []
        connection.add_notify_handler(lambda note: self.note(note.channel, note.payload, note.pid))

    def note(self, channel, payload, pid):
        own = pid == self.connection.info.backend_pid
        self.heard.append((channel, payload, "own" if own else pid))

    def wait(self, count, seconds=10):
        """The first `count`, which are forgotten."""
        pgconn = self.connection.pgconn
        limit = time.monotonic() + seconds
        while len(self.heard) < count and time.monotonic() < limit:
            select.select([pgconn.socket], [], [], 0.2)
            pgconn.consume_input()
            while note := pgconn.notifies():
                self.note(note.relname.decode(), note.extra.decode(), note.be_pid)
        assert len(self.heard) >= count, f"{len(self.heard)} of {count} came: {self.heard[-20:]}"
        taken, self.heard = self.heard[:count], self.heard[count:]
        return taken


@pool(pool_size=3)
def test_own_notifications_have_the_own_pid(env):
    """A client compares with the pid of its BackendKeyData (psycopg, asyncpg, pgx, JDBC): what it has
    notified itself has that pid, what others have has not."""
    listener, other = env.connect(), env.connect()
    ear = Ear(listener)
    listener.execute("listen news")
    listener.execute("notify news, 'mine'")
    assert ear.wait(1) == [("news", "mine", "own")]
    other.execute("notify news, 'theirs'")
    (channel, payload, pid), = ear.wait(1)
    assert (channel, payload) == ("news", "theirs") and pid != "own", pid
    with listener.transaction():
        listener.execute("select pg_notify('news', 'mine too')")
    assert ear.wait(1) == [("news", "mine too", "own")]


@pool(pool_size=3)
def test_own_notifications_psycopg2(env):
    connection = psycopg2.connect(**env.parameters())
    connection.set_isolation_level(psycopg2.extensions.ISOLATION_LEVEL_AUTOCOMMIT)
    cursor = connection.cursor()
    cursor.execute("listen news")
    cursor.execute("notify news, 'mine'")
    connection.poll()
    assert [(note.channel, note.payload, note.pid == connection.get_backend_pid()) for note in connection.notifies] == [
        ("news", "mine", True)]
    connection.close()


@pool(pool_size=2, auth="trust")
def test_notifications_that_come_while_pgweir_asks_arrive(env):
    """A LISTEN is followed by a question of pgweir's: what comes at that moment is not lost."""
    sender = env.raw()
    sender.query("notify warm")
    for number in range(30):
        listener = env.raw()
        assert listener.query(f"listen channel_{number}").error is None
        assert sender.query(f"notify channel_{number}, 'now'").error is None
        arrived = listener.read_until("A")[-1]
        assert b"now" in arrived.body, arrived
        listener.query("unlisten *")
        listener.close()


@pool(pool_size=2, max_overflow=0, listen_hub="on")
def test_hub_does_not_pin(env):
    """More listeners than server connections, and others work beside them."""
    listeners = [env.connect() for _ in range(10)]
    ears = [Ear(listener) for listener in listeners]
    for listener in listeners:
        listener.execute("listen news")
    env.connect().execute("notify news, 'all'")
    for ear in ears:
        (channel, payload, pid), = ear.wait(1)
        assert (channel, payload) == ("news", "all") and pid != "own", pid
    for number, listener in enumerate(listeners):
        listener.execute(f"notify news, 'from {number}'")
        for other, ear in enumerate(ears):
            (channel, payload, pid), = ear.wait(1)
            assert payload == f"from {number}" and (pid == "own") == (other == number), (payload, pid)
            assert pid == "own" or pid == listener.info.backend_pid, pid
