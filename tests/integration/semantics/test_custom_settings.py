"""Settings with names of somebody's own (SET app.tenant): PostgreSQL does not list them, yet each client
has its own on whatever server connection it gets, and nobody else's."""
import asyncio
import random
import threading

import asyncpg
import psycopg2
from support import Turner, Watch, background, pool

from harness import wire

SHOW = "select coalesce(current_setting('app.tenant', true), '')"
# What sets app.tenant to %s for the session, by each way that there is.
WAYS = [
    "set app.tenant = '%s'", "SET SESSION App.Tenant TO '%s'", 'set "app"."TENANT" = \'%s\'', "set app . tenant to '%s'",
    "/* a */ set -- b\n app.tenant = '%s'", "select 1; set app.tenant = '%s'", "begin; set app.tenant = '%s'; commit",
    "begin; set local app.tenant = 'not this'; set app.tenant = '%s'; commit",
    "select set_config('app.tenant', '%s', false)", "select pg_catalog.set_config ( E'App.Tenant' , '%s' , 'f' )",
    "select set_config('app.tenant'::text, '%s', 1 = 2)", "do $$ begin perform set_config('app.tenant', '%s', false); end $$",
    "do 'begin perform set_config(''app.tenant'', ''%s'', false); end'", "do $$ begin set app.tenant = '%s'; end $$",
    "begin; select set_config('app.tenant', 'x', true); select set_config('app.tenant', '%s', false); commit",
    "begin; savepoint s; set app.tenant = 'x'; rollback to s; set app.tenant = '%s'; release s; commit",
]
# Those whose name cannot be read: the client keeps its server connection.
UNREADABLE = [
    "select set_config('app.' || 'tenant', '%s', false)", "select set_config($$app.tenant$$, '%s', false)",
    "select set_config('app.' 'tenant', '%s', false)" .replace("' '", "'\n'"), "select set_config(n, '%s', false) from (select 'app.tenant') t (n)",
    "do $$ begin execute format('select set_config(%%L, %%L, false)', 'app.tenant', '%s'); end $$",
    "set u&\"\\0061pp\".tenant = '%s'", "prepare p as select set_config('app.tenant', '%s', false); execute p; deallocate p",
]


def pid(client):
    return client.value("select pg_backend_pid()")


@pool(pool_size=2, auth="trust")
def test_each_way_to_set_one(env):
    client, other = env.raw(), env.raw()
    turner = Turner(env)
    for number, way in enumerate(WAYS):
        result = client.query(way % number)
        assert result.error is None, (way, result.error)
        served = set()
        for _ in range(3):
            assert other.value(SHOW) == "", way
            assert client.value(SHOW) == str(number), way
            served.add(pid(client))
            turner.turn()
        assert not env.pooled or len(served) == 2, way
    assert client.query("reset app.tenant").error is None
    for _ in range(2):
        turner.turn()
        assert client.value(SHOW) == other.value(SHOW) == ""
    turner.end()


@pool(pool_size=2, auth="trust")
def test_names_that_cannot_be_read_keep_the_connection(env):
    for way in UNREADABLE:
        client, other = env.raw(), env.raw()
        result = client.query(way % "mine")
        assert result.error is None, (way, result.error)
        served = {pid(client)}
        with_lock = [env.raw() for _ in range(2)]
        for _ in range(4):
            assert other.value(SHOW) == "", way
            assert client.value(SHOW) == "mine", way
            served.add(pid(client))
        assert len(served) == 1, way
        for peer in with_lock:
            peer.close()
        before = served.pop()
        assert client.query("discard all").error is None
        if env.pooled:
            turner = Turner(env)
            seen = set()
            for _ in range(3):
                turner.turn()
                seen.add(pid(client))
                assert client.value(SHOW) == other.value(SHOW) == "", way
            assert len(seen) == 2, (way, before)
            turner.end()
        client.query(way % "mine")
        client.close()
        for _ in range(4):
            assert other.value(SHOW) == "", way
        other.close()


@pool(pool_size=2, auth="trust")
def test_parameters_of_set_config(env):
    """The name is a value of a Bind, of a named and of the unnamed statement; text and binary."""
    client, other = env.raw(), env.raw()
    turner = Turner(env)
    text = "select set_config($1, $2, $3)"
    client.ask(wire.parse(text, "named"), wire.sync())
    for number in range(6):
        name, value = f"app.Name{number}", f"value {number}"
        if number % 2:
            result = client.ask(wire.bind((name, value, "false"), "named"), wire.execute(), wire.sync())
        else:
            result = client.prepared(text, (name, value, "f"))
        assert result.error is None, result.error
        served = set()
        for _ in range(2):
            turner.turn()
            show = f"select coalesce(current_setting('app.name{number}', true), '')"
            assert other.value(show) == ""
            assert client.value(show) == value
            served.add(pid(client))
        assert not env.pooled or len(served) == 2
    turner.end()
    result = client.prepared("select set_config($2, $1, false)", ("long", "app." + "n" * 300))
    assert result.error is None
    for _ in range(3):
        assert other.value("select coalesce(current_setting('app.' || repeat('n', 300), true), '')") == ""
        assert client.value("select current_setting('app.' || repeat('n', 300), true)") == "long"


@pool(pool_size=2, auth="trust")
def test_more_names_than_are_kept(env):
    """Beyond them the client keeps its connection: nothing is seen by others, nothing is lost."""
    client, other = env.raw(), env.raw()
    sets = "; ".join(f"set many.n{number} = 'v{number}'" for number in range(300))
    assert client.query(sets).error is None
    sees = ("select count(*) from generate_series(0, 299) n where current_setting('many.n' || n, true) = 'v' || n")
    for _ in range(4):
        assert other.value(sees) == "0"
        assert client.value(sees) == "300"
    client.send(wire.terminate())
    client.close()
    for _ in range(4):
        assert other.value(sees) == "0"


@pool(pool_size=2, auth="trust")
def test_defaults_of_role_and_database(env):
    """What ALTER ROLE or ALTER DATABASE gives is what RESET goes back to; an empty value is one."""
    admin = env.admin()
    admin.execute(f'alter database "{env.dbname}" set app.tenant = \'of the database\'')
    admin.execute(f'alter role raw in database "{env.dbname}" set app.other = \'of the role\'')
    client, neighbour = env.raw(), env.raw()
    turner = Turner(env)
    show = "select current_setting('app.tenant', true), current_setting('app.other', true)"
    usual = ("of the database", "of the role")
    synced = env.pooler.counters()["setting_syncs"] if env.against == "pgweir" else 0
    for step, after in (("begin; set local app.tenant = 'x'; commit", usual), ("set work_mem = '4MB'; reset work_mem", usual),
                        ("set app.tenant = ''", ("", usual[1])), ("set app.other = 'mine'", ("", "mine")),
                        ("reset app.tenant", (usual[0], "mine")), ("discard all", usual)):
        assert client.query(step).error is None
        for _ in range(3):
            turner.turn()
            assert client.query(show).rows == [after], step
            assert neighbour.query(show).rows == [usual], step
        if after == usual and env.against == "pgweir" and "discard" not in step:
            assert env.pooler.counters()["setting_syncs"] == synced, "defaults were taken for settings of the client"
    turner.end()
    admin.execute(f'alter database "{env.dbname}" reset app.tenant')


@pool(pool_size=2, auth="trust")
def test_a_value_of_the_login(env):
    """By the startup packet; a question in between does not make it another client's."""
    client, other = env.raw(options="-c app.tenant=login"), env.raw()
    turner = Turner(env)
    for step, after in (("select 1", "login"), ("set work_mem = '5MB'", "login"), ("set app.tenant = 'two'", "two"),
                        ("reset app.tenant", "login" if env.pooled else "login"), ("set app.tenant = 'three'", "three"), ("reset all", "login")):
        assert client.query(step).error is None
        for _ in range(3):
            assert client.value(SHOW) == after, step
            assert other.value(SHOW) == "", step
            turner.turn()
    turner.end()


@pool(pool_size=2, auth="trust")
def test_names_of_modules(env):
    """Settings that PostgreSQL lists once their module is there, and does not know before."""
    env.admin().execute("create function noop() returns int language plpgsql as 'begin return 1; end'")
    client, other = env.raw(), env.raw()
    turner = Turner(env)
    for step, state in (("set plpgsql.variable_conflict = 'use_column'", None), ("select noop()", None),
                        ("set auto_explain.log_min_duration = '1s'", None), ("set plpgsql.nothing_like_it = 1", "42602")):
        got = client.query(step)
        assert got.sqlstate in (state, None), (step, got.error)
        for _ in range(2):
            turner.turn()
            assert client.value("select noop()") == "1"
            assert client.value("show plpgsql.variable_conflict") == "use_column"
            assert other.query("set work_mem = '6MB'; reset work_mem").error is None
            assert other.value("select noop()") == "1"
            assert other.value("show plpgsql.variable_conflict") == "error"
    turner.end()


def make_tenants(env):
    env.admin().execute("""
        alter role app nosuperuser;
        create table owned (tenant text, n int); alter table owned enable row level security;
        create policy own on owned using (tenant = current_setting('app.tenant', true))
                               with check (tenant = current_setting('app.tenant', true));
        grant all on owned to public;
        insert into owned select 'tenant ' || t, n from generate_series(0, 9) t, generate_series(1, 3) n;
    """)


def check_rows(rows, tenant, number):
    expected = {tenant} if tenant else set()
    assert {row[0] for row in rows} == expected and len(rows) >= (3 if tenant else 0), (number, tenant, rows)


def psycopg2_tenant(env, number, watch, rounds=25):
    draw = random.Random(number)
    connection = psycopg2.connect(**env.parameters())
    connection.autocommit = True
    tenant = None
    with connection.cursor() as cursor:
        for _ in range(rounds):
            what = draw.randrange(6)
            if what == 0:
                tenant = f"tenant {draw.randrange(10)}"
                cursor.execute("set app.tenant = %s", (tenant,))
            elif what == 1:
                tenant = f"tenant {draw.randrange(10)}"
                cursor.execute("select set_config('app.tenant', %s, false)", (tenant,))
            elif what == 2:
                tenant = None
                cursor.execute("reset app.tenant")
            elif what == 3:
                passing = f"tenant {draw.randrange(10)}"
                cursor.execute("begin")
                cursor.execute("set local app.tenant = %s", (passing,))
                cursor.execute("select tenant, n from owned")
                check_rows(cursor.fetchall(), passing, number)
                cursor.execute(draw.choice(("commit", "rollback")))
            elif what == 4:
                cursor.execute("begin")
                cursor.execute("set app.tenant = 'tenant 5'")
                cursor.execute("rollback")
            cursor.execute("select tenant, n from owned")
            check_rows(cursor.fetchall(), tenant, number)
            cursor.execute("select pg_backend_pid()")
            watch.served(f"psycopg2 {number}", cursor.fetchone()[0])
    connection.close()


async def asyncpg_tenant(env, number, watch, rounds=25):
    draw = random.Random(1000 + number)
    connection = await asyncpg.connect(host=env.host, port=env.port, user=env.user, password=env.password, database=env.dbname)
    tenant = None
    for _ in range(rounds):
        what = draw.randrange(5)
        if what == 0:
            tenant = f"tenant {draw.randrange(10)}"
            await connection.execute("select set_config($1, $2, false)", "app.tenant", tenant)
        elif what == 1:
            tenant = f"tenant {draw.randrange(10)}"
            await connection.execute(f"set app.tenant = '{tenant}'")
        elif what == 2:
            passing = f"tenant {draw.randrange(10)}"
            async with connection.transaction():
                await connection.execute("select set_config($1, $2, true)", "app.tenant", passing)
                check_rows(await connection.fetch("select tenant, n from owned"), passing, number)
        elif what == 3:
            tenant = None
            await connection.execute("reset all")
        check_rows(await connection.fetch("select tenant, n from owned"), tenant, number)
        watch.served(f"asyncpg {number}", await connection.fetchval("select pg_backend_pid()"))
    await connection.close()


@pool(pool_size=3, max_overflow=0, seconds=120, own_cluster=True)
def test_no_client_sees_rows_of_another_tenant(env):
    """Row level security by current_setting('app.tenant', true), ten clients on three connections."""
    make_tenants(env)

    async def several(watch):
        await asyncio.gather(*(asyncpg_tenant(env, number, watch) for number in range(5)))
    with Watch(env) as watch:
        threads = [background(psycopg2_tenant, env, number, watch) for number in range(5)]
        threads.append(background(lambda: asyncio.run(several(watch))))
        for thread in threads:
            thread.join(100)
    watch.assert_rotation(clients=10, lucky=1)
    env.assert_no_open_transaction()


@pool(pool_size=2, auth="trust")
def test_a_client_that_vanishes_leaves_nothing(env):
    other = env.raw()
    for number, step in enumerate(("set app.tenant = 'gone'", "begin; set app.tenant = 'gone'", "select set_config('app.tenant', 'gone', false)",
                                   "begin; set local app.tenant = 'gone'", "set app.tenant = 'gone'; select pg_sleep(0.2)")):
        client = env.raw()
        if "sleep" in step:
            client.send(wire.query(step))
        else:
            assert client.query(step).error is None
        if number % 2:
            client.send(wire.terminate())
        client.close()
        held = [env.raw() for _ in range(2)]
        ready = threading.Barrier(2)

        def look(peer, ready=ready, step=step):
            assert peer.query("begin").error is None
            ready.wait(20)
            assert peer.value(SHOW) == "", step
            assert peer.query("commit").error is None
        threads = [background(look, peer) for peer in held]
        for thread in threads:
            thread.join(30)
        for peer in held:
            peer.close()
        assert other.value(SHOW) == "", step
