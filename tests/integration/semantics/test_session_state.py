"""What a session has of its own, under forced rotation: parameters, temporary objects, schema changes."""
import random
import threading

from harness import wire
from harness.wire import bind, close, describe, execute, parse, sync
from support import Turner, Watch, background, pool


def use(name, *values):
    return bind(values, name) + describe() + execute() + sync()


@pool(pool_size=2, auth="trust")
def test_startup_parameters_are_exact(env):
    """search_path, -c and long options, extra_float_digits, application_name as given at startup, for
    each client on whatever backend; RESET returns to them (C3-51)."""
    env.admin().execute("create schema one; create table one.t as select 1 as n; create schema two; create table two.t as select 2 as n")
    clients = {
        "one": env.raw(application_name="app one", search_path="one", extra_float_digits="3"),
        "two": env.raw(application_name="app 'two' \\", options="-c search_path=two -c work_mem=3MB --geqo=off"),
        "three": env.raw(application_name="é", options="-csearch_path=one,two -c statement_timeout=77777 "
                                                       "-c application_name=overruled", DateStyle="SQL, DMY",
                         client_encoding="UTF8", TimeZone="Asia/Tokyo"),
        "none": env.raw(),
    }
    names = ["application_name", "search_path", "extra_float_digits", "work_mem", "geqo", "statement_timeout", "DateStyle",
             "TimeZone", "client_encoding", "IntervalStyle", "standard_conforming_strings"]

    def seen(client):
        return {name: client.value(f"show {name}") for name in names}
    reference = {}
    for name, options in (("one", {"application_name": "app one", "search_path": "one", "extra_float_digits": "3"}),):
        direct = wire.Client(env.cluster.port).login("raw", env.dbname, **options)
        reference[name] = seen(direct)
        direct.close()
    expected = {name: seen(client) for name, client in clients.items()}
    assert expected["one"] == reference["one"], (expected["one"], reference["one"])
    assert expected["two"]["search_path"] == "two" and expected["two"]["work_mem"] == "3MB" and expected["two"]["geqo"] == "off"
    assert expected["two"]["application_name"] == "app 'two' \\"
    assert expected["three"]["search_path"] == "one,two" and expected["three"]["statement_timeout"] == "77777ms"
    assert expected["three"]["DateStyle"] == "SQL, DMY" and expected["three"]["TimeZone"] == "Asia/Tokyo"
    assert expected["none"]["application_name"] == "" and expected["none"]["work_mem"] == "4MB"
    assert clients["three"].parameters["TimeZone"] == "Asia/Tokyo" and clients["three"].parameters["DateStyle"] == "SQL, DMY"
    assert clients["one"].parameters["application_name"] == "app one"
    turner = Turner(env)
    for number in range(4):
        for name, client in clients.items():
            assert seen(client) == expected[name], name
            if name in ("one", "two"):
                assert client.value("select n from t") == ("1" if name == "one" else "2")
        turner.turn()
        if number == 1:
            for client in clients.values():
                client.query("set search_path = pg_catalog; set work_mem = '9MB'")
                turner.turn()
                assert client.value("show search_path") == "pg_catalog" and client.value("show work_mem") == "9MB"
                client.query("reset all")
        if number == 2:
            clients["two"].query("set application_name = 'changed'")
            turner.turn()
            assert clients["two"].value("show application_name") == "changed"
            assert clients["two"].query("discard all").error is None
    turner.end()


@pool(pool_size=2, auth="trust")
def test_wrong_startup_parameters_are_refused(env):
    """A startup value that PostgreSQL does not take is refused with its own error, at the latest with
    the first statement, and harms nobody else."""
    for parameters, state in (({"search_path": "a,,"}, "22023"), ({"no_such_setting": "1"}, "42704"),
                              ({"options": "-c work_mem=lots"}, "22023"), ({"TimeZone": "Mars"}, "22023")):
        try:
            client = env.raw(**parameters)
            refused = client.query("select 1").sqlstate
        except wire.ServerError as error:
            refused = error.sqlstate
        assert refused == state, (parameters, refused)
        assert env.raw().value("select 1") == "1"


@pool(pool_size=2, auth="trust")
def test_settings_follow_transactions_as_postgresql_has_them(env):
    """C3-50, C3-52, C3-54: SET, SET LOCAL, savepoints, rollback, set_config, RESET, errors: the same
    as on one connection all the time, compared step by step."""
    client, reference = env.raw(), env.reference()
    other = env.raw()
    turner = Turner(env)
    show = "select current_setting('work_mem'), current_setting('search_path'), current_setting('my.own', true)"
    steps = ["set work_mem = '5MB'", "begin; set work_mem = '6MB'; commit", "begin; set work_mem = '7MB'; rollback",
             "begin", "set local search_path = pg_catalog", "commit", "begin", "set work_mem = '8MB'", "savepoint a",
             "set work_mem = '9MB'", "rollback to a", "commit", "select set_config('work_mem', '10MB', false)",
             "select set_config('work_mem', '3MB', true)", "set work_mem = 'lots'", "set nothing_known = 1",
             "do $$ begin perform set_config('work_mem', '15MB', false); end $$", "reset work_mem", "alter role current_user set work_mem = '12MB'; alter role current_user reset work_mem",
             "set client_min_messages = error", "show client_min_messages", "set time zone 'UTC+3'", "show timezone",
             "set session characteristics as transaction read only", "show default_transaction_read_only",
             "reset all", "show default_transaction_read_only", "set work_mem = '13MB'; select 1/0", "set work_mem = '14MB'; show work_mem",
             "set role second", "select current_user, session_user", "reset role", "set session authorization third",
             "select current_user, session_user", "reset session authorization", "discard all",
             "set my.own = 'a'", "begin; set my.own = 'b'; rollback", "begin; set my.own = 'c'; commit", "begin", "set local my.own = 'd'",
             "commit", "begin", "set my.own = 'e'", "savepoint a", "set my.own = 'f'", "rollback to a", "commit",
             "begin; set local my.own = 'g'; rollback", "select set_config('MY.Own', 'h', false)", "select set_config('my.own', 'i', true)",
             "begin; select set_config('my.own', 'j', false); rollback", "set my.own = 'k'; select 1/0", "set my.own = 'l'; set work_mem = '7MB'",
             "begin; savepoint a; set my.own = 'm'; release a; savepoint b; set my.own = 'n'; rollback to b; commit",
             "do $$ begin perform set_config('my.own', 'o', false); end $$", "set my.own = default", "set my.own to p", "reset my.own",
             "set my.own = 'q'", "reset all", "set my.own = 'r'", "discard all", "begin; set local my.own = 's'; commit"]
    for step in steps:
        expected, got = reference.query(step), client.query(step)
        assert (expected.rows, expected.tags, expected.sqlstate, expected.status) == \
            (got.rows, got.tags, got.sqlstate, got.status), (step, expected, got)
        if got.status == "I":
            turner.turn()
        assert reference.query(show).rows == client.query(show).rows, step
        if got.status == "I":
            assert other.query(show).rows == [("4MB", '"$user", public', other.query(show).rows[0][2])], step
            assert other.query(show).rows[0][2] in (None, ""), step
            assert other.query("select current_user, session_user").rows == [("raw", "raw")]
    turner.end()


@pool(pool_size=2, auth="trust")
def test_changed_result_type_is_refused_as_directly(env):
    """DDL between prepare and use: "cached plan must not change result type" as on one connection,
    until the client parses again; never a row in the old description."""
    client, behind = env.raw(), env.admin()
    turner = Turner(env)
    for number in range(4):
        behind.execute("drop table if exists shape; create table shape (a int, b text); insert into shape values (1, 'one')")
        client.ask(close("S", "star"), parse("select * from shape", "star"), sync())
        if number % 2:
            assert client.ask(use("star")).rows == [("1", "one")]
        if number >= 2:
            turner.turn()
            assert client.ask(use("star")).rows == [("1", "one")]
        behind.execute("alter table shape add column c int default 7")
        for _ in range(3):
            got = client.ask(use("star"))
            assert got.sqlstate == "0A000" and got.error["M"] == "cached plan must not change result type", (number, got)
            turner.turn()
        assert client.ask(close("S", "star"), parse("select * from shape", "star"), sync()).types == "31Z"
        turner.turn()
        assert client.ask(use("star")).rows == [("1", "one", "7")]
        behind.execute("alter table shape drop column c")
        turner.turn()
        assert client.ask(use("star")).sqlstate == "0A000"
        client.query("deallocate all")
    turner.end()


@pool(pool_size=2, auth="trust")
def test_fresh_parse_gets_a_fresh_analysis(env):
    """Sharing never shows: a client that parses afresh after DDL sees the new columns and types, also
    when another client's statement has the same text."""
    old, new, behind = env.raw(), env.raw(), env.admin()
    turner = Turner(env)
    behind.execute("create schema a; create schema b; create table a.t as select 'a'::text as v; create table b.t as select 5 as v")
    for client, schema in ((old, "a"), (new, "b")):
        client.query(f"set search_path = {schema}")
        client.ask(parse("select v from t", "s"), sync())
    for number in range(4):
        assert old.ask(use("s")).rows == [("a",)]
        assert new.ask(use("s")).rows == [("5",)]
        turner.turn()
    described = new.ask(describe("S", "s"), sync())
    behind.execute("alter table b.t alter column v type numeric")
    for client, name in ((new, "fresh"), (old, "fresh")):
        client.ask(parse("select v from t", name), sync())
        turner.turn()
    fresh = new.ask(describe("S", "fresh"), sync())
    assert fresh.messages[1] != described.messages[1], "the column has another type now"
    assert new.ask(use("fresh")).rows == [("5",)]
    assert new.ask(use("s")).sqlstate == "0A000"
    assert old.ask(use("s")).rows == [("a",)]
    turner.end()


@pool(pool_size=2, auth="trust")
def test_types_and_functions_dropped_and_made_again(env):
    """A type, a table and a function replaced between two uses of statements that mention them:
    answered as on one connection."""
    client, reference = env.raw(), env.reference()
    turner = Turner(env)
    behind = [env.admin(), env.cluster.connect(env.dbname + "reference")]
    env.closing.callback(behind[1].close)
    make = ("drop table if exists t; drop type if exists mood; drop function if exists f();"
            "create type mood as enum ('a', '{0}'); create table t (m mood, n int); insert into t values ('{0}', 1);"
            "create function f() returns text language sql as $$ select '{0}' $$")
    for number in range(3):
        for connection in behind:
            connection.execute(make.format(f"v{number}"))
        for name, text in (("plain", "select m::text, n from t"), ("typed", "select n from t where m = $1"), ("call", "select f()")):
            values = [f"v{number}"] if "$1" in text else []
            for again in range(2):
                # Kept from the last round, then parsed afresh.
                messages = (close("S", name) + parse(text, name) + sync() if again else b"",
                            bind(values, name) + execute() + sync())
                expected = got = None
                for message in messages:
                    if message:
                        expected, got = reference.ask(message), client.ask(message)
                        assert (expected.rows, expected.tags, expected.sqlstate) == (got.rows, got.tags, got.sqlstate), \
                            (number, name, again, expected, got)
                        turner.turn()
    turner.end()


@pool(pool_size=2, auth="trust")
def test_temporary_tables_stay_with_their_client(env):
    """A temporary table works as on one connection (pinned), is invisible to others, is gone with its
    client or with DROP, and then the server connection is free again. Also when a function made it."""
    client, other = env.raw(), env.raw()
    for make, end in (("create temp table mine (n int)", "drop table mine"),
                      ("do $$ begin create temp table mine (n int); end $$", "discard temp"),
                      ("create temp table mine on commit preserve rows as select 0 as n where false", "discard all"),
                      ("select 0 as n into temp mine where false", None)):
        assert client.query(make).error is None
        assert client.query("insert into mine values (1)").error is None
        for _ in range(3):
            assert other.query("select * from mine").sqlstate == "42P01"
            assert other.query("select * from pg_temp.mine").sqlstate == "42P01"
            assert client.value("select count(*) from mine") == "1"
        if end:
            assert client.query(end).error is None
            assert client.query("select * from mine").sqlstate == "42P01"
        else:
            client.send(wire.terminate())
            client.close()
        # Both server connections are to be had again.
        holders = [env.raw(), env.raw()]
        pids = set()
        for holder in holders:
            assert holder.query("begin").error is None
            pids.add(holder.value("select pg_backend_pid()"))
            assert holder.query("select * from mine").sqlstate == "42P01"
        assert len(pids) == 2
        for holder in holders:
            holder.query("rollback")
            holder.close()


@pool(pool_size=2, auth="trust")
def test_advisory_locks_and_held_cursors_pin_until_released(env):
    """C3-55, C3-59, C3-61: session locks hold while others rotate; a failed try-lock pins nobody."""
    one, two = env.raw(), env.raw()
    assert one.value("select pg_try_advisory_lock(7)") == "t"
    for _ in range(3):
        assert two.value("select pg_try_advisory_lock(7)") == "f"
        assert one.value("select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())") == "1"
    assert one.prepared("select pg_advisory_unlock($1::int)", ["7"]).rows == [("t",)]
    assert two.value("select pg_try_advisory_lock(7)") == "t"
    assert one.value("select pg_try_advisory_lock(7)") == "f"
    assert two.query("select pg_advisory_unlock_all()").error is None
    assert one.value("select pg_try_advisory_lock(7)") == "t"
    one.reset()  # C3-60: the holder dies, the lock is gone at once
    waiting = background(two.query, "select pg_advisory_lock(7)")
    assert waiting.join(10).error is None
    assert two.value("select pg_advisory_unlock(7)") == "t"
    assert two.query("begin; declare held cursor with hold for select n from generate_series(1, 5) n; commit").error is None
    for number in range(1, 4):
        assert two.query("fetch 1 from held").rows == [(str(number),)]
        assert env.raw().query("fetch 1 from held").sqlstate == "34000"
    assert two.query("close held").error is None
    assert two.query("fetch 1 from held").sqlstate == "34000"


@pool(pool_size=2, auth="trust")
def test_settings_of_a_transaction_are_carried_nowhere(env):
    """After SET TRANSACTION PostgreSQL counts transaction_isolation and its like as set in the session
    for ever; what was set is gone, and from PostgreSQL 16 on RESET refuses them."""
    one, two = env.raw(), env.raw()
    turner = Turner(env)

    def synced():
        return env.pooler.counters()["setting_syncs"] if env.against == "pgweir" else 0
    before = synced()
    for text in ("begin; set transaction isolation level serializable, read only, deferrable; commit",
                 "begin isolation level repeatable read read only; set transaction_read_only = on; commit", "set transaction read only"):
        assert one.query(text).error is None
        for client in (two, one, two):
            assert client.value("select string_agg(current_setting('transaction_' || n), ' ') from "
                                "unnest(array['isolation', 'read_only', 'deferrable']) n") == "read committed off off"
            turner.turn()
    assert synced() == before, "a server connection was prepared for a client with no settings of its own"
    assert one.query("set session characteristics as transaction read only").error is None
    for _ in range(2):
        turner.turn()
        assert one.value("show transaction_read_only") == "on"
        assert two.value("show transaction_read_only") == "off"
    turner.end()


@pool(pool_size=2, auth="trust")
def test_changes_of_a_parameter_are_reported_to_its_client_only(env):
    """ParameterStatus: each client is told of its own values, when they change and only then."""
    clients = [env.raw(application_name=f"client {number}") for number in range(3)]
    turner = Turner(env)

    def reported(result):
        return [tuple(message.strings) for message in result.messages if message.type == "S"]
    for turn in range(4):
        for number, client in enumerate(clients):
            assert reported(client.query("select 1")) == [], "told of a change that the client did not make"
            if turn == number:
                assert reported(client.query("set application_name = 'changed'")) == [("application_name", "changed")]
                assert reported(client.query("begin; set timezone = 'Asia/Tokyo'; rollback")) in (
                    [("TimeZone", "Asia/Tokyo"), ("TimeZone", client.parameters["TimeZone"])], [])
                assert reported(client.query("set datestyle = 'SQL, MDY'")) == [("DateStyle", "SQL, MDY")]
                turner.turn()
                assert reported(client.query("select 1")) == []
                # The values of the login come back right after the RESET, before anything else is answered.
                told = reported(client.query("reset all")) + reported(client.query("select 1"))
                assert dict(told) == {"DateStyle": client.parameters["DateStyle"], "application_name": f"client {number}"}
            turner.turn()
    turner.end()


def share(env, limit):
    """Three users over two connections by the named limit: nobody is starved, served about equally."""
    if env.against == "pgweir":
        env.pooler.settings[limit] = 2
        env.pooler.write()
        env.pooler.reload()
    counts = {}
    stop = threading.Event()

    def work(user, number):
        connection = env.connect(user=user)
        while not stop.is_set():
            with connection.transaction():
                assert connection.execute("select current_user").fetchone() == (user,)
                connection.execute("select pg_sleep(0.005)")
            counts[user] = counts.get(user, 0) + 1
    with Watch(env, limit=2 if env.pooled else 100):
        threads = [background(work, user, number) for user in ("app", "second", "third") for number in range(4)]
        stop.wait(6)
        stop.set()
        for thread in threads:
            thread.join(20)
    assert len(counts) == 3, counts
    assert max(counts.values()) <= 2 * min(counts.values()), counts
    env.assert_no_open_transaction()


@pool(pool_size=2, seconds=40)
def test_users_share_connections_fairly(env):
    share(env, "max_db_connections")


@pool(pool_size=2, seconds=40)
def test_all_pools_share_connections_fairly(env):
    share(env, "max_server_connections")


AT_LOGIN = {"datestyle": "German", "timezone": "Asia/Tokyo", "search_path": "public", "work_mem": "7MB"}
# Values that a server connection has by itself, and others.
VALUES = {"datestyle": ("ISO, MDY", "SQL"), "timezone": ("UTC", "Europe/Rome"),
          "search_path": ('"$user", public', "pg_catalog"), "work_mem": ("4MB", "64MB")}
VALUES_BY_THEMSELVES = {name: values[0] for name, values in VALUES.items()}
BACK = ("set {} = default", "set {} to default", "reset {}", "begin; set {} = default; commit", "begin; reset {}; rollback",
        "begin; set {} = default; rollback", "select set_config('{}', null, false)", "do $$ begin set {} to default; end $$",
        "set local {} = default")


@pool(pool_size=2, auth="trust")
def test_reset_and_default_lead_back_to_the_login(env):
    """Clients with and without settings of their login set them, to what connections have by themselves as
    well, and undo one of them on another connection: each sees what a direct session sees."""
    turner = Turner(env)
    draw = random.Random(15)
    pairs = [(env.raw(**options), env.cluster_client(**options)) for options in (AT_LOGIN, {}, AT_LOGIN, VALUES_BY_THEMSELVES)]
    served = {}
    for number in range(200):
        which = draw.randrange(len(pairs))
        name = draw.choice(list(VALUES))
        way = draw.choice((*BACK, "set {} = {}", "set {} = {}"))
        value = draw.choice(VALUES[name])
        step = way.format(name, value if name == "search_path" else f"'{value}'")
        results = [one.query(step) for one in pairs[which]]
        assert results[0].tags == results[1].tags and results[0].status == results[1].status, (step, results)
        turner.turn()
        for other, pair in enumerate(pairs):
            pooled, direct = ([one.value(f"show {name}") for name in VALUES] for one in pair)
            assert pooled == direct, (number, which, step, other)
            served.setdefault(other, set()).add(pair[0].value("select pg_backend_pid()"))
    assert not env.pooled or all(len(pids) == 2 for pids in served.values()), served
    turner.end()
