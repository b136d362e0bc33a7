"""What a client may try with the state of its session: very much of it, names of every byte, functions and
operators that stand in the way of pgweir's own question. It is the client's own loss, and nobody else's."""
import os

from harness import wire
from support import Turner, pool


def state(**settings):
    return pool(auth="trust", admin_users="raw", max_overflow=0, **settings)


def resident(env):
    """Bytes that the daemon has in memory."""
    with open(f"/proc/{env.pooler.child.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def is_sanitized(env):
    with open(f"/proc/{env.pooler.child.pid}/maps", encoding="utf-8") as file:
        return "libasan" in file.read()


@state(pool_size=2, seconds=120)
def test_ten_thousand_statements(env):
    """Each of another shape, so each is asked about once; what is remembered of them is bounded."""
    client, other = env.raw(), env.raw()
    for number in range(500):
        client.query(f"select {number} as first_{number}")
    before, questions = resident(env), env.pooler.counters()["state_questions"]
    for begin in range(0, 10000, 100):
        client.send(*(wire.query(f"select {number} as column_{number}") for number in range(begin, begin + 100)))
        answers = client.results(100)
        assert [answer.value for answer in answers] == [str(number) for number in range(begin, begin + 100)]
    for number in range(0, 2000):
        assert client.prepared(f"select {number} as prepared_{number}").value == str(number)
    # One question answers for all that was sent at once.
    assert 2000 < env.pooler.counters()["state_questions"] - questions <= 12100
    grown = resident(env) - before
    # With sanitizers what is freed is kept for a while.
    assert grown < (300 if is_sanitized(env) else 6) << 20, f"{grown} bytes more"
    assert other.value("select 1") == "1"


@state(pool_size=2)
def test_settings_of_a_hundred_kilobytes(env):
    """They follow their client like small ones, and go with it."""
    big = "x" * 100000
    client, other = env.raw(), env.raw()
    turner = Turner(env)
    assert client.query(f"set app.big = '{big}'").error is None
    for _ in range(4):
        turner.turn()
        assert client.value("select length(current_setting('app.big'))") == "100000"
        assert other.value("select length(coalesce(current_setting('app.big', true), ''))") == "0"
    assert client.query(f"select set_config('app.big', repeat('y', 200000), false)").error is None
    turner.turn()
    assert client.value("select md5(current_setting('app.big')) = md5(repeat('y', 200000))") == "t"
    client.close()
    turner.turn()
    assert other.value("select length(coalesce(current_setting('app.big', true), ''))") == "0"
    turner.end()


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


@state(pool_size=2, seconds=120)
def test_names_of_every_byte(env):
    """Settings, channels, prepared statements, cursors and temporary tables whose names have each character
    that a name may have: as on PostgreSQL itself, and nothing stays."""
    direct, client, other = env.reference(), env.raw(), env.raw()
    turner = Turner(env)
    for code in (*range(1, 128), 0xe9, 0x3b1, 0x1f600):
        name = f"n{chr(code)}m"
        texts = (f"set {quoted('app.' + name)} = 'v{code}'", f"select current_setting('app.{name.replace(chr(39), chr(39) * 2)}')",
                 f"listen {quoted(name)}", f"unlisten {quoted(name)}", f"prepare {quoted(name)} as select {code}",
                 f"execute {quoted(name)}", f"deallocate {quoted(name)}",
                 f"begin; declare {quoted(name)} cursor with hold for select 1; commit", f"fetch 1 from {quoted(name)}",
                 f"close {quoted(name)}", f"create temp table {quoted(name)} (n int)", f"select count(*) from {quoted(name)}",
                 f"drop table {quoted(name)}", "discard all")
        for text in texts:
            wanted, found = direct.query(text), client.query(text)
            assert (wanted.sqlstate, wanted.rows) == (found.sqlstate, found.rows), (text, wanted, found)
        if code % 16 == 0:
            turner.turn()
    assert other.value("select count(*) from pg_settings where source = 'session'") == "0"
    assert env.pooler.counters().get("reason_settings_unknown", 0) == 0
    turner.end()


HOSTILE = """
create schema evil;
create function evil.never(text, text) returns bool language sql as 'select false';
create function evil.never(name, name) returns bool language sql as 'select false';
create function evil.never(oid, oid) returns bool language sql as 'select false';
create operator evil.= (leftarg = text, rightarg = text, function = evil.never);
create operator evil.<> (leftarg = text, rightarg = text, function = evil.never);
create operator evil.<> (leftarg = name, rightarg = name, function = evil.never);
create operator evil.= (leftarg = oid, rightarg = oid, function = evil.never);
create function evil.current_setting(text) returns text language sql as 'select ''none''::text';
create function evil.current_setting(text, bool) returns text language sql as 'select null::text';
create function evil.pg_backend_pid() returns int language sql as 'select 1';
create function evil."left"(name, int) returns text language sql as 'select ''pgweir.''::text';
create view evil.pg_settings as select ''::text as name, ''::text as setting, ''::text as source;
create view evil.pg_locks as select ''::text as locktype, 0 as pid;
"""


@state(pool_size=2)
def test_what_a_client_puts_before_pg_catalog(env):
    """Its own operators, functions and views do not answer for PostgreSQL's."""
    env.admin().execute(HOSTILE)
    env.admin().execute("create role evil_one")
    client, other = env.raw(), env.raw()
    turner = Turner(env)
    path = "set search_path = evil, pg_catalog, public"
    for text, look, mine, fresh in (
            ("set role evil_one", "select current_user", "evil_one", "raw"),
            ("set work_mem = '7MB'", "show work_mem", "7MB", "4MB"),
            ("set app.tenant = 'seven'", "select pg_catalog.current_setting('app.tenant', true)", "seven", "")):
        assert client.query(path).error is None and client.query(text).error is None, text
        for _ in range(3):
            turner.turn()
            assert client.value(look) == mine, text
            assert (other.value(look) or "") == fresh, text
        assert client.query("reset role").error is None and client.query("discard all").error is None
    turner.end()
    for text in ("select pg_catalog.pg_advisory_lock(7)", "create temp table mine (n int)", "prepare mine as select 1", "listen mine",
                 "begin; declare mine cursor with hold for select 1; commit"):
        assert client.query(path).error is None and client.query(text).error is None, text
        backend = client.value("select pg_catalog.pg_backend_pid()")
        for _ in range(3):
            assert other.value("select pg_catalog.pg_backend_pid()") != backend, f"{text} does not keep its client"
        assert client.query("discard all").error is None


@state(pool_size=2)
def test_hostile_bodies_of_functions(env):
    """pgweir reads names of settings from the sources of functions, whatever those are."""
    admin = env.admin()
    for number, body in enumerate((
            "set_config('", "set_config('" + "a.b" * 30000 + "', 'x', false)", "set " + "x." * 20000, "set a.\\u0000 \\\\ ' '' E'\\\\",
            "set " + ".".join("z" * 60 for _ in range(40)), "SET\n\tA.B\r\n TO '1'", "set é.ü = 1", "%s %n set %s.%s")):
        admin.execute(f"set check_function_bodies = off; create function hostile_{number}() returns void language plpgsql as $body$ "
                      f"begin {body} end $body$")
    client, other = env.raw(), env.raw()
    turner = Turner(env)
    for number in range(8):
        client.query(f"select hostile_{number}()")
        turner.turn()
        assert client.query(f"set app.own_{number} = 'mine'").error is None
        turner.turn()
        assert client.value(f"select current_setting('app.own_{number}')") == "mine"
        assert other.value(f"select coalesce(current_setting('app.own_{number}', true), '')") == ""
    turner.end()
    assert env.pooler.counters().get("reason_settings_unknown", 0) == 0
    # More names than are followed: who sets one that is not keeps the connection.
    names = " ".join(f"set many.name_{number} = 1;" for number in range(1000))
    admin.execute(f"create function names_many() returns void language plpgsql as $body$ begin {names} end $body$")
    client.query("create function pg_temp.looks_again() returns int language sql as 'select 1'; drop function pg_temp.looks_again()")
    assert client.query("set another.one = 'mine'").error is None
    backend = client.value("select pg_backend_pid()")
    for _ in range(3):
        assert other.value("select pg_backend_pid()") != backend
        assert client.value("select current_setting('another.one')") == "mine"
