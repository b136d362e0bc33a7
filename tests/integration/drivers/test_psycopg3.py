"""psycopg 3: pipeline mode, its automatic preparation and eviction, COPY, asyncio."""
import asyncio

import psycopg
from psycopg import errors, rows
from support import Noise, Turner, Watch, background, pool


def connect(env, **options):
    """With the driver's own defaults: prepared after five uses, at most a hundred."""
    connection = psycopg.connect(**env.parameters(), **{"autocommit": True, **options})
    env.closing.callback(connection.close)
    return connection


@pool(pool_size=2)
def test_statements_prepared_at_first_use(env):
    connection = connect(env, prepare_threshold=0)
    turner = Turner(env)
    with Watch(env) as watch:
        for number in range(8):
            watch.served("client", connection.execute("select pg_backend_pid()").fetchone()[0])
            assert connection.execute("select %s::int + 1", (number,)).fetchone() == (number + 1,)
            with connection.transaction():
                assert connection.execute("select %s::text", (f"t{number}",)).fetchone() == (f"t{number}",)
                with connection.transaction():
                    assert connection.execute("select %b::int * 2", (number,)).fetchone() == (2 * number,)
            turner.turn()
    turner.end()
    watch.assert_rotation(clients=1)


@pool(pool_size=2)
def test_statements_prepared_after_five_uses(env):
    connection = connect(env)
    turner = Turner(env)
    for number in range(30):
        assert connection.execute("select %s::int + 7", (number,)).fetchone() == (number + 7,)
        if number % 2:
            turner.turn()
    turner.end()


@pool(pool_size=2)
def test_eviction_deallocates_by_sql(env):
    """C3-14, C3-16: libpq before 17 has no Close: the driver sends SQL DEALLOCATE of a name that it
    made by the protocol, in and out of transactions."""
    connection = connect(env, prepare_threshold=0)
    connection.prepared_max = 1
    turner = Turner(env)
    for number in range(6):
        for text in ("select %s::int", "select %s::int * 10", "select %s::int * 100"):
            assert connection.execute(text, (number,)).fetchone()[0] % max(number, 1) == 0
            turner.turn()
        with connection.transaction():
            for text in ("select -%s::int", "select -10 * %s::int"):
                assert connection.execute(text, (number,)).fetchone()[0] <= 0
        turner.turn()
    turner.end()
    assert connection.execute("select 1").fetchone() == (1,)


@pool(pool_size=2)
def test_pipeline_mode(env):
    """C3-25, C3-29: many statements and Syncs outstanding, errors in the middle."""
    connection = connect(env)
    connection.execute("create table piped (n int primary key, t text)")
    turner = Turner(env)
    for turn in range(4):
        base = 1000 * turn
        with connection.pipeline() as pipeline:
            cursors = [connection.execute("select %s::int", (number,)) for number in range(50)]
            pipeline.sync()
            connection.execute("insert into piped values (%s, 'a')", (base,))
            pipeline.sync()
            more = [connection.execute("select %s::text", (f"m{number}",)) for number in range(50)]
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(50))
        assert [cursor.fetchone()[0] for cursor in more] == [f"m{number}" for number in range(50)]
        turner.turn()
        try:
            with connection.pipeline() as pipeline:
                connection.execute("insert into piped values (%s, 'lost')", (base + 1,))
                connection.execute("insert into piped values (%s, 'duplicate')", (base,))
                connection.execute("select 1")
                pipeline.sync()
            raise AssertionError("no error in the pipeline")
        except errors.UniqueViolation:
            pass
        # The segment was rolled back as a whole; what comes next works.
        assert connection.execute("select count(*) from piped where n >= %s", (base,)).fetchone() == (1,)
        turner.turn()
        with connection.pipeline():
            with connection.transaction():
                connection.execute("insert into piped values (%s, 'tx')", (base + 2,))
                pid = connection.execute("select pg_backend_pid()").fetchone()
                assert connection.execute("select pg_backend_pid()").fetchone() == pid
        turner.turn()
    assert connection.execute("select count(*) from piped").fetchone() == (8,)
    turner.end()
    env.assert_no_open_transaction()


@pool(pool_size=2)
def test_server_side_cursors_and_stream(env):
    connection = connect(env, autocommit=False)
    turner = Turner(env)
    for _ in range(3):
        with connection.transaction(), connection.cursor("named") as cursor:
            cursor.execute("select n from generate_series(1, %s) n", (700,))
            assert cursor.fetchmany(5) == [(1,), (2,), (3,), (4,), (5,)]
            cursor.scroll(100)
            assert cursor.fetchone() == (106,)
            assert len(cursor.fetchall()) == 594
        turner.turn()
        cursor = connection.cursor(row_factory=rows.scalar_row if hasattr(rows, "scalar_row") else rows.tuple_row)
        assert sum(1 for _ in cursor.stream("select n from generate_series(1, 2000) n")) == 2000
        connection.commit()
        turner.turn()
    turner.end()
    env.assert_no_open_transaction()


@pool(pool_size=2)
def test_copy(env):
    connection = connect(env, autocommit=False)
    connection.execute("create table copied (n int, t text, d date)")
    connection.commit()
    turner = Turner(env)
    for number in range(3):
        with connection.cursor() as cursor, cursor.copy("copy copied (n, t) from stdin") as copy:
            for n in range(2000):
                copy.write_row((n, f"{number} " + "é" * (n % 100)))
        connection.commit()
        turner.turn()
    with connection.cursor() as cursor, cursor.copy("copy (select n, t from copied order by n, t) to stdout (format binary)") as copy:
        copy.set_types(["int4", "text"])
        got = list(copy.rows())
    assert len(got) == 6000 and got[3] == (1, "0 é"), got[:5]
    connection.commit()
    turner.turn()
    try:
        with connection.cursor() as cursor, cursor.copy("copy copied (n) from stdin") as copy:
            copy.write("1\n")
            raise KeyError("the application's own error")
    except (errors.QueryCanceled, KeyError) as error:  # psycopg 3.2 gives the application its own back
        assert "the application's own error" in str(error)
        connection.rollback()
    turner.turn()
    try:
        with connection.cursor() as cursor, cursor.copy("copy copied (n) from stdin") as copy:
            for _ in range(50000):
                copy.write("not a number\n")
        raise AssertionError("no error")
    except errors.InvalidTextRepresentation:
        connection.rollback()
    turner.turn()
    assert connection.execute("select count(*) from copied").fetchone() == (6000,)
    connection.commit()
    turner.end()
    env.assert_no_open_transaction()


@pool(pool_size=3)
def test_async_clients(env):
    async def work(number, watch):
        async with await psycopg.AsyncConnection.connect(**env.parameters(), autocommit=True,
                                                         prepare_threshold=number % 3) as connection:
            for turn in range(20):
                tag = f"{number}:{turn}"
                async with connection.transaction():
                    cursor = await connection.execute("select %s::text, pg_backend_pid()", (tag,))
                    row = await cursor.fetchone()
                    assert row[0] == tag
                    watch.served(number, row[1])
                cursor = await connection.execute("select %s::text", (tag,))
                assert await cursor.fetchone() == (tag,)
                async with connection.pipeline():
                    cursors = [await connection.execute("select %s::int", (n,)) for n in range(5)]
                    assert [(await c.fetchone())[0] for c in cursors] == [0, 1, 2, 3, 4]

    async def main(watch):
        await asyncio.gather(*(work(number, watch) for number in range(20)))
    with Watch(env) as watch, Noise(env):
        asyncio.run(main(watch))
    watch.assert_rotation(clients=20)
    env.assert_no_open_transaction()


@pool(pool_size=2)
def test_two_phase_commit(env):
    """A prepared transaction is finished by whoever comes, on whatever backend."""
    connection = connect(env, autocommit=False)
    connection.execute("create table phases (n int)")
    connection.commit()
    turner = Turner(env)
    for number in range(3):
        xid = connection.xid(1, f"{env.dbname}-{number}", "q")
        connection.tpc_begin(xid)
        connection.execute("insert into phases values (%s)", (number,))
        connection.tpc_prepare()
        turner.turn()
        if number == 1:
            connection.tpc_rollback()
        else:
            connection.tpc_commit()
        turner.turn()
    assert connection.execute("select array_agg(n order by n) from phases").fetchone() == ([0, 2],)
    connection.rollback()
    turner.end()


@pool(pool_size=4, seconds=60)
def test_executemany_in_threads(env):
    """executemany uses pipeline mode by itself: thirty clients over four connections."""
    connect(env).execute("create table bulk (client int, n int)")

    def work(number, watch):
        with psycopg.connect(**env.parameters()) as connection:
            for turn in range(8):
                watch.served(number, connection.execute("select pg_backend_pid()").fetchone()[0])
                with connection.cursor() as cursor:
                    cursor.executemany("insert into bulk values (%s, %s) returning n", [(number, n) for n in range(40)],
                                       returning=True)
                    count = 0
                    while True:
                        count += len(cursor.fetchall())
                        if not cursor.nextset():
                            break
                    assert count == 40
                connection.commit()
    with Watch(env) as watch, Noise(env):
        for thread in [background(work, number, watch) for number in range(30)]:
            thread.join(50)
    assert env.admin().execute("select count(*), count(distinct client) from bulk").fetchone() == (9600, 30)
    watch.assert_rotation(clients=30)
    env.assert_no_open_transaction()
