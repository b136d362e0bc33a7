"""Clients and servers that go away, and what the others see of it."""
import contextlib
import random
import time

from harness import wire
from harness.wire import batch, bind, copy_data, execute, flush, parse, query, sync
from support import Watch, background, pool


def half_done(draw):
    """A stretch of messages at any point of which a client may be killed."""
    return draw.choice([
        query("select 1"), query("begin") + query("insert into t values (1)"), batch("insert into t values (2)", [], "named"),
        query("begin") + batch("insert into t values (3)") + parse("select 1", "n") + flush(),
        parse("insert into t values (4)") + bind() + execute() + flush(), query("select pg_sleep(0.05)"),
        query("begin") + query("copy t from stdin") + copy_data("5\n") * 20, query("select repeat('x', 100000) from generate_series(1, 50)"),
        query("begin; insert into t values (6); select pg_sleep(0.03)"), query("set work_mem = '5MB'; begin; lock table t in share mode"),
        sync() * 5 + query("begin") + sync() * 3,
    ])


@pool(pool_size=3, auth="trust", seconds=60)
def test_clients_killed_at_random_points(env):
    """C3-70, C3-78: at any byte, by close or reset, having read a part or nothing; the pool refills and
    nothing that was not committed is ever seen."""
    observer = env.admin()
    observer.execute("create table t (n int)")

    def killer(number):
        draw = random.Random(number)
        for _ in range(60):
            client = env.raw()
            data = half_done(draw)
            client.send(data[:draw.randint(1, len(data))])
            if draw.random() < 0.5:
                time.sleep(draw.random() * 0.02)
            if draw.random() < 0.3:
                with contextlib.suppress(TimeoutError):
                    client.fill(0.05)
            client.reset() if draw.random() < 0.5 else client.close()

    def bystander(number):
        client = env.raw()
        for turn in range(150):
            tag = f"{number}-{turn}"
            result = client.query(f"select '{tag}', count(*), current_setting('work_mem') from t where n in (1, 3, 5, 6)")
            assert result.rows == [(tag, "0", "4MB")], result
            assert client.prepared("select $1::text", [tag], "" if turn else "named").rows == [(tag,)]
            assert result.status == "I"

    with Watch(env, limit=env.limit):
        threads = [background(killer, number) for number in range(4)] + [background(bystander, number) for number in range(2)]
        for thread in threads:
            thread.join(50)
    env.assert_no_open_transaction(10)
    clients = [env.raw() for _ in range(env.limit)]
    assert len({(client.query("begin"), client.value("select pg_backend_pid()"))[1] for client in clients}) == env.limit


@pool(pool_size=1, auth="trust")
def test_quit_in_a_transaction(env):
    """C3-78: Terminate inside a transaction: nobody sees or commits the other's rows; the backend is
    used again."""
    observer = env.admin()
    observer.execute("create table t (n int)")
    pids = set()
    for number in range(6):
        quitter = env.raw()
        quitter.query("begin")
        quitter.query("insert into t values (1)")
        if number % 3 == 1:
            quitter.query("selec")
        if number % 3 == 2:
            quitter.prepared("declare c cursor for select 1", [])
        pids.add(quitter.value("select pg_backend_pid()") if number % 3 != 1 else None)
        quitter.send(wire.terminate())
        client = env.raw()
        assert client.value("select count(*) from t") == "0"
        assert client.query("commit").notices[0]["C"] == "25P01"
        pids.add(client.value("select pg_backend_pid()"))
        client.send(wire.terminate())
        client.close()
    pids.discard(None)
    assert observer.execute("select count(*) from t").fetchone() == (0,)
    assert not env.pooled or len(pids) == 1, "a backend was thrown away for a transaction left open"


@pool(pool_size=1, auth="trust", own_cluster=True)
def test_new_logins_are_told_of_new_server_parameters(env):
    """C3-71: what the server reports at login changed with a restart: new clients are told."""
    assert env.raw().parameters["TimeZone"] == "UTC"
    env.cluster.settings["timezone"] = "Asia/Tokyo"
    env.cluster.settings["default_transaction_read_only"] = "on"
    env.cluster.restart()

    def told():
        client = env.raw()
        assert client.value("show timezone") == "Asia/Tokyo"
        assert client.value("show default_transaction_read_only") == "on"
        return client.parameters["TimeZone"] == "Asia/Tokyo" and client.parameters["default_transaction_read_only"] == "on"
    told()  # the first may come before any server connection
    assert told(), "the parameters of the old server were reported"


@pool(pool_size=2, auth="trust")
def test_the_servers_own_words_reach_the_client(env):
    """C3-72: a FATAL of the server in mid-statement, refusals at login: the server's text and SQLSTATE."""
    observer = env.admin()
    client = env.raw()
    pid = int(client.value("select pg_backend_pid()"))
    client.query("begin")
    pid = int(client.value("select pg_backend_pid()"))
    client.send(query("select pg_sleep(20)"))
    time.sleep(0.1)
    observer.execute("select pg_terminate_backend(%s)", (pid,))
    got = client.read_until("E")[-1].fields
    assert got["C"] == "57P01" and got["M"] == "terminating connection due to administrator command", got
    assert env.raw().value("select 1") == "1"
    # Terminated between transactions: through a pooler nobody notices.
    client = env.raw()
    client.query("select 1")
    time.sleep(0.2)  # pgweir asks once what a new statement has left: until then the session may have state
    observer.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'raw' and datname = current_database()")
    time.sleep(0.2)
    if env.pooled:
        assert client.value("select 'survived'") == "survived"
    # Terminated inside an idle transaction: the client learns why.
    client = env.raw()
    client.query("begin")
    pid = int(client.value("select pg_backend_pid()"))
    observer.execute("select pg_terminate_backend(%s)", (pid,))
    time.sleep(0.2)
    try:
        client.send(query("select 1"))
        got = client.read_until("E")[-1].fields
        assert got["C"] in ("57P01", "08006") and "administrator command" in got["M"] + got.get("D", ""), got
    except (wire.Closed, BrokenPipeError) as error:
        raise AssertionError("closed without a word") from error
    observer.execute("alter role second connection limit 0 nosuperuser")
    try:
        refused = env.raw("second").query("select 1").error
    except wire.ServerError as error:
        refused = error.fields
    finally:
        observer.execute("alter role second connection limit -1 superuser")
    assert refused["C"] == "53300" and "too many connections for role" in refused["M"] + refused.get("D", ""), refused


@pool(pool_size=2, auth="trust")
def test_idle_in_transaction_time_out_of_the_server(env):
    """The server ends an idle transaction itself: the client gets its words, others nothing."""
    client, other = env.raw(), env.raw()
    client.query("begin; set local idle_in_transaction_session_timeout = 150")
    time.sleep(0.5)
    assert other.value("select 1") == "1"
    try:
        client.send(query("select 1"))
    except BrokenPipeError:
        pass
    got = client.read_until("E")[-1].fields
    assert got["C"] == "25P03" or "idle-in-transaction" in got["M"] + got.get("D", ""), got
    for _ in range(4):
        assert other.value("select current_setting('idle_in_transaction_session_timeout')") == "0"


@pool(pool_size=1, auth="trust")
def test_a_batch_without_sync_is_not_committed(env):
    """A client that leaves before its Sync has committed nothing, whether it says goodbye or not."""
    env.admin().execute("create table unsynced (n int)")
    watcher = env.raw()
    for goodbye in (b"", wire.terminate()):
        for behind in (b"", wire.message("H")):
            client = env.raw()
            client.send(wire.parse("insert into unsynced values (1)") + wire.bind() + wire.execute() + behind + goodbye)
            if behind and not goodbye:
                client.read_until("C")
            client.close()
            time.sleep(0.2)
            assert watcher.value("select count(*) from unsynced") == "0", (goodbye, behind)
    # What was synced before stays.
    client = env.raw()
    client.send(wire.batch("insert into unsynced values (2)") + wire.parse("insert into unsynced values (3)") + wire.bind()
                + wire.execute())
    client.close()
    time.sleep(0.2)
    assert watcher.query("select n from unsynced").rows == [("2",)]
