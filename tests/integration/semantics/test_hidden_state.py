"""State that neither texts nor command tags tell of: functions, triggers and DO blocks that set, lock,
listen, prepare or create temporary objects; and state that PostgreSQL cannot be asked for. Every client
keeps its own under forced rotation, no other sees it, and every pin ends with its state."""
import time

from harness import wire
from support import Turner, pool

FUNCTIONS = """
create function put(name text, value text) returns void language plpgsql as
    $$ begin perform set_config(name, value, false); end $$;
create function put_tenant(value text) returns void language plpgsql as
    $$ begin perform set_config('app.tenant', value, false); end $$;
create function put_two(value text) returns void language plpgsql as
    $$ begin execute 'set app.two = ' || quote_literal(value); end $$;
create function take_lock(key int) returns void language sql as $$ select pg_advisory_lock(key) $$;
create function leave_lock(key int) returns bool language sql as $$ select pg_advisory_unlock(key) $$;
create function make_temporary() returns void language plpgsql as
    $$ begin create temp table hidden_one as select 1 as n; end $$;
create function listen_to() returns void language plpgsql as $$ begin listen hidden_channel; end $$;
create function prepare_one() returns void language plpgsql as
    $$ begin execute 'prepare hidden_statement as select 42'; end $$;
create table watched (n int, id serial);
create function on_watched() returns trigger language plpgsql as
    $$ begin perform set_config('statement_timeout', '71s', false); return new; end $$;
create trigger watch before insert on watched for each row when (new.n = 71) execute function on_watched();
"""


def pins(env):
    """(kind, statement) of all, once what was asked after the last transaction has been answered."""
    time.sleep(0.1)
    with wire.Client(env.port, env.host, timeout=20) as console:
        console.login("raw", "pgweir", env.password)
        return sorted((row[4], row[9]) for row in console.query("show pins").rows)


def last_words(client):
    """The error with which pgweir ends the session."""
    words = [message for message in client.rest() if message.type == "E"]
    assert len(words) == 1, words
    return words[0].fields


def state(**settings):
    return pool(auth="trust", admin_users="raw", max_overflow=0, **settings)


@state(pool_size=2)
def test_settings_of_functions_follow_their_client(env):
    """By function, trigger and DO block, in both protocols, with ordinary and own names."""
    env.admin().execute(FUNCTIONS)
    one, two = env.raw(), env.raw()
    turner = Turner(env)
    names = ("work_mem", "statement_timeout", "app.tenant", "app.two")

    def seen(client):
        return [client.value(f"select coalesce(current_setting('{name}', true), '')") for name in names]
    plain = seen(two)
    one.query("select put('work_mem', '3MB')")
    one.query("insert into watched values (71)")
    one.query("select put_tenant('seven')")
    for _ in range(4):
        turner.turn()
        assert seen(one) == ["3MB", "71s", "seven", ""], seen(one)
        assert seen(two) == plain, seen(two)
    one.query("do $$ begin set work_mem = '5MB'; end $$")
    prepared = two.ask(wire.parse("select put('work_mem', $1)", "p"), wire.sync())
    assert prepared.error is None, prepared
    for value in ("7MB", "8MB", "9MB"):
        assert two.ask(wire.bind((value,), "p"), wire.execute(), wire.sync()).error is None
        turner.turn()
        assert two.value("show work_mem") == value and one.value("show work_mem") == "5MB"
    one.query("begin")
    one.query("select put('work_mem', '6MB')")
    one.query("rollback")
    turner.turn()
    assert one.value("show work_mem") == "5MB"
    turner.end()


@state(pool_size=2)
def test_hidden_state_pins_until_it_is_gone(env):
    """Locks, temporary tables, channels and statements of functions keep the client where they are, with
    a reason and the statement, and no longer than they exist."""
    env.admin().execute(FUNCTIONS)
    client, other = env.raw(), env.raw()
    for make, kind, check, leave in (
            ("select take_lock(4)", "advisory lock", "select count(*) from pg_locks where locktype = 'advisory' "
             "and pid = pg_backend_pid()", "select leave_lock(4)"),
            ("select make_temporary()", "temporary object", "select n from hidden_one", "drop table hidden_one"),
            ("select listen_to()", "LISTEN", "select count(*) from pg_listening_channels()", "unlisten *"),
            ("select prepare_one()", "SQL PREPARE", "select count(*) from pg_prepared_statements where from_sql",
             "deallocate hidden_statement")):
        for _ in range(2):
            assert client.query(make).error is None
            assert pins(env) == [(kind, make)], pins(env)
            for _ in range(3):
                assert other.query("select 1").error is None
                assert client.value(check) == "1", make
            assert client.query(leave).error is None
            assert pins(env) == [], (leave, pins(env))
    counters = env.pooler.counters()
    assert counters["state_surprises"] == 4, counters["state_surprises"]


@state(pool_size=1)
def test_hidden_state_of_who_leaves_is_cleaned(env):
    """Also when the client goes before anybody could ask: same segment, or cut off."""
    env.admin().execute(FUNCTIONS)
    watcher = env.raw()
    clean = watcher.value("show work_mem")
    for number in range(6):
        client = env.raw()
        message = wire.query(f"select put('work_mem', '{number + 2}MB'), take_lock({number}), make_temporary(), "
                             "prepare_one()")
        if number % 2:
            client.send(message + wire.terminate())
        else:
            client.ask(message)
        client.close()
        assert watcher.value("show work_mem") == clean
        assert watcher.value("select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())") == "0"
        assert watcher.value("select to_regclass('hidden_one') is null") == "t"
        assert watcher.value("select count(*) from pg_prepared_statements where from_sql") == "0"


@state(pool_size=2)
def test_a_steady_workload_is_not_asked_about(env):
    """Each text costs one question; texts with other literals, and later transactions, none. What a pool
    of asyncpg's says at each release costs none when there is nothing to reset."""
    env.admin().execute(FUNCTIONS)
    client, other = env.raw(), env.raw()
    release = "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;"

    def work(number):
        for one in (client, other):
            one.query(f"select n from watched where n = {number}")
            one.query(f"begin; insert into watched values ({1000 + number}); commit")
            assert one.prepared("select $1::int", (str(number),)).error is None
            assert one.query(release).error is None
    work(0)
    work(1)
    before = env.pooler.counters()
    for number in range(2, 40):
        work(number)
    after = env.pooler.counters()
    assert after["state_questions"] == before["state_questions"], (before, after)
    assert after["transactions"] - before["transactions"] >= 4 * 2 * 38
    assert after["setting_syncs"] == before["setting_syncs"]


@state(pool_size=2, state_sampling=20)
def test_samples_find_what_was_harmless_once(env):
    """A function that changes beside pgweir: found by a sample at the latest, then cleaned and told of."""
    admin = env.admin()
    admin.execute("create function f() returns int language plpgsql as $$ begin return 1; end $$")
    client, other = env.raw(), env.raw()
    for _ in range(3):
        client.query("select f()")
        other.query("select f()")
    admin.execute("create or replace function f() returns int language plpgsql as "
                  "$$ begin perform set_config('work_mem', '17MB', false); return 1; end $$")
    before = env.pooler.counters()["state_surprises"]
    for _ in range(50):
        client.query("select f()")
    assert env.pooler.counters()["state_surprises"] > before
    assert client.value("show work_mem") == "17MB"
    for _ in range(4):
        assert other.value("show work_mem") == "4MB"


@state(pool_size=3)
def test_values_of_sequences_are_never_somebody_elses(env):
    """currval in the transaction of its nextval is exact; in a later one the first client of a pool gets
    PostgreSQL's own error, and from then on clients keep their connection for it."""
    env.admin().execute(FUNCTIONS)
    clients = [env.raw() for _ in range(2)]
    for client in clients:
        client.query("insert into watched values (1)")
    first = clients[0].query("select currval('watched_id_seq')")
    assert first.sqlstate == "55000", first
    third = env.raw()
    for _ in range(3):
        values = []
        for client in clients:
            assert client.query("insert into watched values (1)").error is None
            values.append(client.value("select currval('watched_id_seq')"))
        assert third.query("insert into watched values (1)").error is None
        assert [client.value("select lastval()") for client in clients] == values
        assert [kind for kind, _ in pins(env)] == ["value of a sequence"] * 3
    assert third.query("discard all").error is None
    for client in clients:
        assert client.query("discard sequences").error is None
    assert pins(env) == []
    assert clients[0].query("select lastval()").sqlstate == "55000"
    assert clients[0].value("begin; insert into watched values (1); select currval('watched_id_seq') > 0; commit") == "t"


@state(pool_size=2)
def test_what_nothing_undoes_ends_with_its_connection(env):
    """setseed and LOAD: the client keeps the connection, and nobody gets it afterwards."""
    for text, kind in (("select setseed(0.25)", "setseed"), ("set seed = 0.25", "setseed"), ("load 'auto_explain'", "LOAD")):
        client = env.raw()
        assert client.query(text).error is None
        backend = client.value("select pg_backend_pid()")
        random = client.value("select random()") if kind == "setseed" else None
        assert [row[0] for row in pins(env)] == [kind], (text, pins(env))
        if kind == "setseed":
            client.query("discard all")
            client.query(text)
            assert client.value("select random()") == random
        client.close()
        time.sleep(0.1)
        other = env.raw()
        for _ in range(3):
            assert other.value("select pg_backend_pid()") != backend
        if random:
            assert other.value("select random()") != random


@state(pool_size=2)
def test_identity_is_whole_on_every_connection(env):
    """SET SESSION AUTHORIZATION ends the role, so the role is set behind it; what only the login may set
    is set before it."""
    env.admin().execute("create role low; create role lower; grant lower to low")
    client, other = env.raw(), env.raw()
    client.query("set session_replication_role = replica")
    client.query("set session authorization low")
    client.query("set role lower")
    turner = Turner(env)
    for _ in range(4):
        turner.turn()
        assert client.value("select session_user || '/' || current_user || '/' || current_setting('role')") == \
            "low/lower/lower"
        assert client.value("show session_replication_role") == "replica"
        assert other.value("select session_user || '/' || current_user") == "raw/raw"
        assert client.query("create database never").sqlstate == "42501"
    client.query("reset role")
    turner.turn()
    assert client.value("select session_user || '/' || current_user") == "low/low"
    client.query("reset session authorization")
    turner.turn()
    assert client.value("select session_user || '/' || current_user") == "raw/raw"
    turner.end()


@state(pool_size=2, state_temporary="reject", state_listen="allow", state_prepare="reject")
def test_policies(env):
    """reject ends the client with an error that names the state, allow leaves it to whoever is next."""
    client = env.raw()
    assert client.query("begin; create temp table gone (n int) on commit drop; commit").error is None
    client.query("create temp table stays (n int)")
    error = last_words(client)
    assert error["C"] == "0A000" and "temporary object" in error["M"], error
    other = env.raw()
    assert other.value("select to_regclass('stays') is null") == "t"
    other.query("prepare p as select 1")
    assert "SQL PREPARE" in last_words(other)["M"]
    third = env.raw()
    assert third.query("listen here").error is None
    assert pins(env) == []
    assert env.pooler.counters()["reason_state_rejected"] == 2


@state(pool_size=2)
def test_a_value_that_is_the_servers_own_default_stays(env):
    """A client that changes a setting of its login to what the server has anyway keeps that, also on
    connections where it need not be set, and whatever is asked there."""
    client = env.raw(IntervalStyle="postgres_verbose", options="-c work_mem=3MB")
    client.query("set intervalstyle = postgres")
    client.query("set work_mem = '4MB'")
    turner = Turner(env)
    for number in range(4):
        turner.turn()
        assert client.value("show intervalstyle") == "postgres"
        assert client.value(f"select interval '1 hour' as new_text_{number}") == "01:00:00"
        assert client.value("show work_mem") == "4MB"
    client.query("reset intervalstyle")
    client.query("reset work_mem")
    for _ in range(3):
        turner.turn()
        assert client.value("show intervalstyle") == "postgres_verbose" and client.value("show work_mem") == "3MB"
    client.query("set intervalstyle = postgres")
    turner.turn()
    assert client.query("reset all").error is None
    assert client.value("show intervalstyle") == "postgres_verbose" and client.value("show work_mem") == "3MB"
    turner.end()


@state(pool_size=2)
def test_a_time_out_of_the_clients_own_does_not_end_it(env):
    """pgweir's question takes longer than a statement may on this session."""
    env.admin().execute(FUNCTIONS)
    impatient, other = env.raw(), env.raw()
    turner = Turner(env)
    for number in range(20):
        assert impatient.query("set statement_timeout = '1ms'").error is None
        impatient.query(f"select put('application_name', 'n{number}') as n{number}")
        turner.turn()
        answer = impatient.query("show statement_timeout")
        assert answer.error is None and answer.value == "1ms", answer
        assert other.value("show statement_timeout") == "0"
        assert impatient.query("reset statement_timeout").error is None
    turner.end()


@state(pool_size=4)
def test_values_of_sequences_that_functions_take(env):
    """No text tells of them: once currval matters, lastval() does."""
    env.admin().execute("create sequence numbers; create function next_number() returns bigint language sql as "
                        "$$ select nextval('numbers') $$")
    clients = [env.raw() for _ in range(3)]
    assert clients[0].query("select next_number()").error is None
    assert clients[1].query("select currval('numbers')").sqlstate == "55000"
    taken = {}
    for number in range(9):
        taken[number % 3] = clients[number % 3].value("select next_number()")
        for each, client in enumerate(clients):
            answer = client.query("select currval('numbers')")
            assert (answer.value if each in taken else answer.sqlstate) == taken.get(each, "55000"), (number, each, taken)
    assert [kind for kind, _ in pins(env)] == ["value of a sequence"] * 3
    assert clients[0].query("discard sequences").error is None
    assert [kind for kind, _ in pins(env)] == ["value of a sequence"] * 2


@state(pool_size=2)
def test_names_that_functions_are_told(env):
    """A setting with a name of one's own that stands only in an argument, as a literal or as a parameter."""
    env.admin().execute(FUNCTIONS)
    one, other = env.raw(), env.raw()
    turner = Turner(env)
    for ask in (lambda name, value: one.query(f"select put('{name}', '{value}')"),
                lambda name, value: one.prepared("select put($1, $2)", (name, value))):
        for number in range(3):
            assert ask(f"app.told_{number}", f"v{number}").error is None
            turner.turn()
            assert one.value(f"select current_setting('app.told_{number}')") == f"v{number}"
            assert other.value(f"select coalesce(current_setting('app.told_{number}', true), '')") == ""
            turner.turn()
            assert one.value(f"select current_setting('app.told_{number}')") == f"v{number}"
        one.query("discard all")
    turner.end()


@state(pool_size=3)
def test_a_pool_that_is_eaten_up_is_warned_of(env):
    """Each kind is counted; the log says when more than half of the pool is kept, once."""
    clients = [env.raw() for _ in range(2)]
    assert clients[0].query("create temp table mine (n int)").error is None
    time.sleep(0.1)
    assert "pins" not in [line.split()[4] for line in env.pooler.read_log().splitlines() if "WARNING" in line]
    assert clients[1].query("select pg_advisory_lock(1)").error is None
    env.pooler.wait_log(r"WARNING pins .*clients keep 2 of at most 3 server connections .* for: advisory lock")
    assert clients[1].query("prepare mine as select 1").error is None
    time.sleep(0.1)
    assert env.pooler.read_log().count("WARNING pins") == 1
    counters = env.pooler.counters()
    kept = {name: count for name, count in counters.items() if name.startswith("pins_") and count}
    assert kept == {"pins_temporary": 1, "pins_advisory_lock": 1, "pins_prepare": 1}, kept
