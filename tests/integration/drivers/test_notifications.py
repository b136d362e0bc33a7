"""LISTEN of real drivers: kept on a server connection, and by way of listen_hub with more listeners than
server connections."""
import asyncio
import select
import subprocess
import time

import asyncpg
import psycopg
import psycopg2
import psycopg2.extensions
import test_jdbc as jdbc
import test_node as node
import test_pgx as pgx
from harness.postgres import bindir
from support import Watch, background, pool

HUB = {"pool_size": 2, "listen_hub": "on"}
COUNT = 8


def hub_watch(env):
    """The listening connection is one more."""
    return Watch(env, limit=env.limit + 1)


def assert_told(orders, count):
    assert all(len(order) == count for order in orders), [len(order) for order in orders]
    assert all(order == orders[0] for order in orders), orders


@pool(**HUB)
def test_asyncpg(env):
    """add_listener, also by connections of its pool, whose reset says UNLISTEN *."""
    async def main(watch):
        async def connect():
            return await asyncpg.connect(host=env.host, port=env.port, user=env.user, password=env.password,
                                         database=env.dbname)
        connections = [await connect() for _ in range(COUNT)]
        orders = [[] for _ in connections]

        def hear(number):
            def heard(connection, pid, channel, payload):
                assert channel == "news"
                assert (pid == connection.get_server_pid()) == payload.startswith(f"{number} "), (pid, payload)
                orders[number].append(payload)
            return heard
        callbacks = [hear(number) for number in range(COUNT)]
        for connection, callback in zip(connections, callbacks):
            await connection.add_listener("news", callback)

        async def work(number):
            for turn in range(5):
                async with connections[number].transaction():
                    watch.served(number, await connections[number].fetchval("select pg_backend_pid()"))
                    await connections[number].execute("select pg_notify('news', $1)", f"{number} {turn}")
        await asyncio.gather(*(work(number) for number in range(COUNT)))
        limit = time.monotonic() + 20
        while any(len(order) < 5 * COUNT for order in orders) and time.monotonic() < limit:
            await asyncio.sleep(0.02)
        assert_told(orders, 5 * COUNT)
        await connections[0].remove_listener("news", callbacks[0])
        await connections[1].execute("notify news, '1 last'")
        await asyncio.sleep(0.3)
        assert len(orders[0]) == 5 * COUNT and orders[1][-1] == "1 last"
        for connection in connections:
            await connection.close()
        clients = await asyncpg.create_pool(host=env.host, port=env.port, user=env.user, password=env.password,
                                            database=env.dbname, min_size=1, max_size=1)
        heard = []
        def hear_pooled(connection, pid, channel, payload):
            heard.append(payload)
        async with clients.acquire() as connection:
            await connection.add_listener("pooled", hear_pooled)
            await connection.execute("notify pooled, 'one'")
            await connection.remove_listener("pooled", hear_pooled)
            await connection.execute("listen pooled")  # left behind for the reset
        async with clients.acquire() as connection:
            assert await connection.fetch("select * from pg_listening_channels()") == []
        assert heard == ["one"], heard
        await clients.close()
    with hub_watch(env) as watch:
        asyncio.run(main(watch))
    watch.assert_rotation(clients=COUNT, distinct=2, lucky=COUNT - 1)


@pool(**HUB)
def test_psycopg2(env):
    """poll() and notifies, as its documentation has it: the socket is waited for with select."""
    connections = [psycopg2.connect(**env.parameters()) for _ in range(COUNT)]
    orders = [[] for _ in connections]
    for connection in connections:
        connection.set_isolation_level(psycopg2.extensions.ISOLATION_LEVEL_AUTOCOMMIT)
        connection.cursor().execute("listen news")
    for number, connection in enumerate(connections):
        connection.cursor().execute("select pg_notify('news', %s)", (f"{number} once",))
        # What the own transaction has notified is there when it has been answered.
        assert [note.payload for note in connection.notifies if note.pid == connection.get_backend_pid()] == [
            f"{number} once"]
    for number, connection in enumerate(connections):
        while len(connection.notifies) < COUNT:
            assert select.select([connection], [], [], 20)[0], len(connection.notifies)
            connection.poll()
        for note in connection.notifies:
            assert (note.pid == connection.get_backend_pid()) == note.payload.startswith(f"{number} ")
        orders[number] = [note.payload for note in connection.notifies]
        connection.close()
    assert_told(orders, COUNT)


@pool(**HUB)
def test_psycopg3(env):
    """The generator notifies()."""
    connections = [env.connect() for _ in range(COUNT)]
    for connection in connections:
        connection.execute("listen news")
    heard = [[] for _ in connections]

    def listen(number):
        for note in connections[number].notifies():
            heard[number].append(note.payload)
            if note.payload == "end":
                return
    threads = [background(listen, number) for number in range(COUNT)]
    time.sleep(0.2)  # a generator that is not waiting yet misses nothing, but tells it to handlers
    with psycopg.connect(**env.parameters()) as sender:
        for number in range(20):
            sender.execute("select pg_notify('news', %s)", (str(number),))
            sender.commit()
        sender.execute("notify news, 'end'")
    for thread in threads:
        thread.join(20)
    assert_told(heard, 21)


def psql_says(env):
    script = ("listen news;\nnotify news, 'first';\nbegin;\nnotify news, 'second';\ncommit;\n"
              "select 'between';\nunlisten news;\nnotify news, 'third';\nselect 'end';\n")
    done = subprocess.run([f"{bindir()}/psql", "-X", "-A", "-t", "-f", "-"], input=script, env=env.environment(), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, check=True)
    return done.stdout.splitlines()


@pool(**HUB)
def test_psql(env):
    """It says what has come after each command, so it shows when that is: at the same places as on a
    direct connection, also when the hub is not yet there and when it is."""
    wanted = ["LISTEN", "NOTIFY", 'notification "news" with payload "first"', "BEGIN", "NOTIFY", "COMMIT",
              'notification "news" with payload "second"', "between", "UNLISTEN", "NOTIFY", "end"]
    for _ in range(3):
        got = psql_says(env)
        assert len(got) == len(wanted) and all(want in line for want, line in zip(wanted, got)), got


@pool(**HUB, seconds=110)
def test_pgx(env):
    """WaitForNotification."""
    pgx.program()
    env.limit += 1
    pgx.run(env, "notifications")


@pool(**HUB, seconds=100)
def test_jdbc(env):
    """PGConnection.getNotifications."""
    env.limit += 1
    jdbc.run(env, "notifications")


@pool(**HUB)
def test_node(env):
    """The event notification."""
    env.limit += 1
    node.run(env, "notifications")


@pool(pool_size=9)
def test_kept_on_a_server_connection(env):
    """The same without the hub, in a pool that is large enough."""
    node.run_once(env, "notifications")
