"""connect_query: what it sets on a server connection holds for every client that has not set or reset
it itself, whatever other clients did there before."""
import random

from harness import wire
from support import Turner, pool

BASE = "set search_path to app, public; set work_mem = '64MB'; set time zone 'Asia/Tokyo'"
ENTRY = "connect_query='" + BASE.replace("'", "''") + "'"
SHOW = ("select current_setting('search_path'), current_setting('work_mem'), current_setting('TimeZone'), "
        "current_setting('geqo'), current_setting('statement_timeout'), current_user, "
        "coalesce(current_setting('my.own', true), '')")
OF_BASE = ("app, public", "64MB", "Asia/Tokyo", "on", "0", "raw", "")


def seen(client):
    return client.query(SHOW).rows[0]


def pid(client):
    return client.value("select pg_backend_pid()")


def with_base(env, client, query=BASE):
    """Directly the client itself does what connect_query does."""
    if not env.pooled:
        assert client.query(query).error is None
    return client


@pool(pool_size=2, auth="trust", entry=ENTRY)
def test_every_client_has_the_base(env):
    """Each way of undoing a setting, on each of two server connections, and the next client there."""
    turner = Turner(env)
    served = set()
    for undo, after in (("reset work_mem", ("app, public", "4MB", "Asia/Tokyo")),
                        ("reset search_path", ('"$user", public', "64MB", "Asia/Tokyo")),
                        ("reset time zone", ("app, public", "64MB", "UTC")),
                        ("set work_mem = default", ("app, public", "4MB", "Asia/Tokyo")),
                        ("reset all", ('"$user", public', "4MB", "UTC")),
                        ("discard all", ('"$user", public', "4MB", "UTC"))):
        client, neighbour = with_base(env, env.raw()), with_base(env, env.raw())
        assert client.parameters["TimeZone"] == ("Asia/Tokyo" if env.pooled else "UTC")
        assert client.query("set work_mem = '5MB'; set search_path = pg_catalog; set time zone 'Europe/Rome'").error is None
        turner.turn()
        assert seen(client)[:3] == ("pg_catalog", "5MB", "Europe/Rome")
        client.query("set work_mem = '64MB'; set search_path = app, public; set time zone 'Asia/Tokyo'")
        assert client.query(undo).error is None
        for _ in range(4):
            assert seen(client)[:3] == after, (undo, seen(client))
            served.add(pid(client))
            assert seen(neighbour) == OF_BASE, undo
            newcomer = with_base(env, env.raw())
            assert seen(newcomer) == OF_BASE, undo
            newcomer.close()
            turner.turn()
        client.query("set work_mem = '64MB'; set search_path to app, public; set time zone 'Asia/Tokyo'")
        turner.turn()
        assert seen(client) == OF_BASE
        client.close()
        neighbour.close()
    assert not env.pooled or len(served) == 2
    turner.end()


STEPS = ["set work_mem = '5MB'", "set work_mem = '64MB'", "reset work_mem", "set local work_mem = '6MB'",
         "begin; set local work_mem = '6MB'; set time zone 'UTC'; commit", "begin; reset all; rollback", "begin; reset work_mem; commit",
         "set search_path = pg_catalog", "set search_path to app, public", "reset search_path", "set search_path = default",
         "set time zone 'Asia/Tokyo'", "set time zone 'UTC'", "set time zone 'Europe/Rome'", "reset time zone",
         "select set_config('TimeZone', 'Asia/Tokyo', false)", "do $$ begin perform set_config('TimeZone', 'Europe/Oslo', false); end $$",
         "do $$ begin perform set_config('TimeZone', 'Asia/Tokyo', false); end $$", "set geqo = off", "reset geqo",
         "set statement_timeout = '50s'", "reset statement_timeout", "reset all", "discard all", "set role second", "reset role",
         "set work_mem = 'lots'", "select 1", "set my.own = 'a'", "set My.Own to b", "select set_config('my.own', 'c', false)",
         "begin; set local my.own = 'd'; commit", "begin; set my.own = 'e'; rollback", "set my.own = 'f'; select 1/0", "reset my.own",
         "begin; set my.own = 'g'; savepoint s; set my.own = 'h'; rollback to s; commit", "select set_config('my.own', 'i', true)"]


@pool(pool_size=2, auth="trust", entry=ENTRY)
def test_any_order_of_set_and_reset_is_as_directly(env):
    """Six clients, two of them with settings of their login, each with a direct connection that does the
    same; after every step each sees what its twin sees, on whatever backend."""
    turner = Turner(env)
    login = {"work_mem": "7MB", "search_path": "public"}
    pairs = []
    first = env.reference()  # makes the database
    first.close()
    for number in range(6):
        options = login if number % 3 == 0 else {}
        twin = wire.Client(env.cluster.port, "127.0.0.1", timeout=20)
        env.closing.callback(twin.close)
        twin.login("raw", env.dbname + "reference", **options)
        client = with_base(env, env.raw(**options))
        twin.query(BASE)
        for name, value in options.items():  # what the login asks for goes over connect_query
            for one in (twin, client):
                assert one.query(f"set {name} = '{value}'").error is None
        pairs.append((client, twin))
    draw = random.Random(11)
    served = {}
    for number in range(240):
        which = draw.randrange(len(pairs))
        client, twin = pairs[which]
        step = draw.choice(STEPS)
        expected, got = twin.query(step), client.query(step)
        assert (expected.tags, expected.sqlstate, expected.status) == (got.tags, got.sqlstate, got.status), (step, expected, got)
        if number % 3:
            turner.turn()
        for other, (client, twin) in enumerate(pairs):
            assert seen(client) == seen(twin), (number, step, which, other, seen(client), seen(twin))
            served.setdefault(other, set()).add(pid(client))
    assert not env.pooled or all(len(pids) == 2 for pids in served.values()), served
    turner.end()


@pool(pool_size=1, auth="trust", entry=ENTRY, pool_mode="session")
def test_sessions_begin_with_the_base(env):
    """server_reset_query undoes connect_query as well: it is made up for before the next session."""
    pids = set()
    for number, step in enumerate(("select 1", "set work_mem = '5MB'", "reset all", "discard all", "set role second", "begin", "reset work_mem")):
        client = with_base(env, env.raw())
        assert seen(client) == OF_BASE, number
        assert client.query(step).error is None
        if step in ("reset all", "discard all"):
            assert seen(client)[:3] == ('"$user", public', "4MB", "UTC")
        pids.add(pid(client))
        if number % 2:
            client.send(wire.terminate())
        client.close()
    assert not env.pooled or len(pids) == 1, "the server connection was not kept"


@pool(pool_size=2, auth="trust", entry="connect_query='set my.tenant = ''one''; select set_config(''My.Other.Part'', ''a b'', false), 1.5'")
def test_settings_with_a_name_of_ones_own(env):
    """PostgreSQL does not list them: those of connect_query are followed all the same."""
    if not env.pooled:
        return
    client, other = env.raw(), env.raw()
    turner = Turner(env)
    show = "select current_setting('my.tenant'), current_setting('my.other.part')"
    served = set()
    for step, after in (("set my.tenant = 'two'", ("two", "a b")), ("reset my.tenant", ("", "a b")), ("set my.tenant to one", ("one", "a b")),
                        ("discard all", ("", "")), ("set my.other.part = 'c'", ("", "c")), ("reset all", ("", ""))):
        assert client.query(step).error is None
        for _ in range(3):
            assert client.query(show).rows == [after], step
            served.add(pid(client))
            assert other.query(show).rows == [("one", "a b")], step
            turner.turn()
    assert len(served) == 2
    turner.end()


ROLE = "set log_min_messages = error; set work_mem = '64MB'; set role no_superuser"


@pool(pool_size=2, auth="trust", entry="connect_query='" + ROLE.replace("'", "''") + "'")
def test_a_role_taken_by_connect_query(env):
    """What only the login may set is brought back although a role was taken last."""
    if not env.pooled:
        return
    env.admin().execute("create role no_superuser")
    client, other = env.raw(), env.raw()
    assert client.query("reset log_min_messages").sqlstate == "42501"
    turner = Turner(env)
    show = "select current_user, current_setting('work_mem'), current_setting('log_min_messages')"
    base = ("no_superuser", "64MB", "error")
    served = set()
    for step, after in (("reset role; reset log_min_messages; set role no_superuser", ("no_superuser", "64MB", "warning")),
                        ("reset role", ("raw", "64MB", "warning")), ("set log_min_messages = error", ("raw", "64MB", "error")),
                        ("set work_mem = '5MB'", ("raw", "5MB", "error")), ("discard all", ("raw", "4MB", "warning")),
                        ("set role second", ("second", "4MB", "warning")),
                        ("reset role; set log_min_messages = fatal; set role no_superuser", ("no_superuser", "4MB", "fatal"))):
        assert client.query(step).error is None
        for _ in range(3):
            assert client.query(show).rows == [after], step
            served.add(pid(client))
            assert other.query(show).rows == [base], step
            newcomer = env.raw(work_mem="9MB")
            assert newcomer.query(show).rows == [("no_superuser", "9MB", "error")]
            newcomer.close()
            turner.turn()
    assert len(served) == 2
    turner.end()


@pool(pool_size=2, auth="trust", entry=ENTRY)
def test_another_connect_query_after_a_reload(env):
    """Old server connections go on with what was run on them, and a client has its own settings on both
    kinds; new connections have the new base."""
    if not env.pooled:
        return
    client, plain = env.raw(), env.raw()
    client.query("set statement_timeout = '50s'; reset time zone")
    name = env.dbname
    env.pooler.databases[name] = env.pooler.databases[name].replace("64MB", "32MB")
    env.pooler.reload()
    env.admin().execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'raw' and datname = %s", (name,))
    for _ in range(3):
        assert env.raw().query(SHOW).rows[0][1] == "32MB"
        assert seen(plain) == ("app, public", "32MB", "Asia/Tokyo", "on", "0", "raw", "")
        assert seen(client) == ("app, public", "32MB", "UTC", "on", "50s", "raw", "")


@pool(pool_size=2, auth="trust", entry="connect_query='set statement_timeout = 1'")
def test_a_question_that_fails_is_a_failed_login(env):
    """Every further statement may fail: either way nobody hangs and nobody gets a connection of which it
    is not known what holds there."""
    if not env.pooled:
        return
    for _ in range(3):
        try:
            assert env.raw().value("show statement_timeout") == "1ms"
        except wire.ServerError as error:
            assert error.sqlstate in ("57014", "08006"), error


@pool(pool_size=2, auth="trust", entry="connect_query='begin; set work_mem = ''5MB'''")
def test_a_transaction_left_open_is_a_failed_login(env):
    if not env.pooled:
        return
    try:
        env.raw().value("select 1")
    except wire.ServerError as error:
        assert "transaction" in error.fields["M"], error
    else:
        raise AssertionError("a client was let into somebody else's transaction")
