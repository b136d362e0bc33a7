"""asyncpg with its defaults, and with its statement cache off."""
import asyncio
import random

import asyncpg
from support import Turner, Watch, pool

CACHES = (100, 0)  # asyncpg's default, and off


async def connect(env, **options):
    return await asyncpg.connect(host=env.host, port=env.port, user=env.user, password=env.password,
                                 database=env.dbname, **options)


async def turn(turner):
    """The turner waits for a server connection: not in the thread that has to give it back."""
    await asyncio.to_thread(turner.turn)


def run(env, scenario):
    """Runs `scenario(connection, turner, watch)` once per cache size, each on a connection of its own."""
    async def main(watch):
        for size in CACHES:
            turner = Turner(env)
            connection = await connect(env, statement_cache_size=size)
            await scenario(connection, turner, watch)
            await connection.close()
            turner.end()
    with Watch(env) as watch:
        asyncio.run(main(watch))
    env.assert_no_open_transaction()


@pool(pool_size=2)
def test_queries_under_rotation(env):
    """C3-01, C3-09: the same statements again and again, each time on the other backend."""
    async def scenario(connection, turner, watch):
        for number in range(8):
            assert await connection.fetchval("select $1::int + 1", number) == number + 1
            assert await connection.fetchrow("select $1::text as a, $2::jsonb as b", "x", '{"y": 1}') == ("x", '{"y": 1}')
            assert await connection.fetch("select n from generate_series(1, $1::int) n", number) == \
                [(n,) for n in range(1, number + 1)]
            watch.served(id(connection), await connection.fetchval("select pg_backend_pid()"))
            await turn(turner)
        watch.assert_rotation()
    run(env, scenario)


@pool(pool_size=2)
def test_cursor_inside_transaction(env):
    """C3-03: cursors use a named statement even with caching off."""
    async def scenario(connection, turner, watch):
        for _ in range(3):
            async with connection.transaction():
                watch.served(id(connection), await connection.fetchval("select pg_backend_pid()"))
                got = [row[0] async for row in connection.cursor("select n from generate_series(1, 500) n", prefetch=50)]
                assert got == list(range(1, 501))
                cursor = await connection.cursor("select n * $1::int from generate_series(1, 100) n", 3)
                assert await cursor.forward(10) == 10
                assert await cursor.fetchrow() == (33,)
                assert [row[0] for row in await cursor.fetch(3)] == [36, 39, 42]
            await turn(turner)
        watch.assert_rotation()
    run(env, scenario)


@pool(pool_size=2)
def test_prepared_statements_outlive_transactions(env):
    """C3-08: prepared once, used on whatever backend comes."""
    async def scenario(connection, turner, watch):
        double = await connection.prepare("select $1::int * 2")
        shout = await connection.prepare("select upper($1), pg_backend_pid()")
        for number in range(6):
            assert await double.fetchval(number) == 2 * number
            row = await shout.fetchrow(f"word {number}")
            assert row[0] == f"WORD {number}"
            watch.served(id(connection), row[1])
            async with connection.transaction():
                assert [row[0] async for row in double.cursor(number)] == [2 * number]
            await turn(turner)
        assert double.get_parameters()[0].name == "int4"
        watch.assert_rotation()
    run(env, scenario)


@pool(pool_size=2)
def test_types_dropped_and_made_again(env):
    """C3-47: an enum and a composite type first used, then replaced by another connection, partly
    through the pooler and partly behind its back. asyncpg is told to look again, as on a direct
    connection."""
    async def scenario(connection, turner, watch):
        behind = env.admin()
        other = await connect(env)
        for number in range(2):
            ddl = (f"drop table if exists things; drop type if exists mood, pair;"
                   f"create type mood as enum ('sad', 'v{number}'); create type pair as (a int, b text, c{number} mood);"
                   f"create table things (m mood, p pair, l mood[])")
            if number % 2:
                behind.execute(ddl)
            else:
                await other.execute(ddl)
            await connection.reload_schema_state()
            for _ in range(3):
                value = f"v{number}"
                await connection.execute("insert into things values ($1, $2, $3)", value, (number, "text", value), [value, "sad"])
                row = await connection.fetchrow("select m, p, l from things limit 1")
                assert row["m"] == value and row["l"] == [value, "sad"], row
                assert row["p"]["a"] == number and row["p"]["b"] == "text" and row["p"][f"c{number}"] == value, row
                await turn(turner)
            watch.served(id(connection), await connection.fetchval("select pg_backend_pid()"))
        await other.close()
    run(env, scenario)


@pool(pool_size=2)
def test_statement_is_refused_after_its_result_type_changed(env):
    """asyncpg's cache meets a changed table: the one error that a direct connection gives, then the
    new columns. Never a row decoded with the old description."""
    async def scenario(connection, turner, watch):
        behind = env.admin()
        behind.execute("drop table if exists shape; create table shape (a int, b text); insert into shape values (1, 'one')")
        kept = await connection.prepare("select * from shape")
        assert tuple(await kept.fetchrow()) == (1, "one")
        await turn(turner)
        assert tuple(await kept.fetchrow()) == (1, "one")
        behind.execute("alter table shape add column c jsonb default '{}'; alter table shape alter column a type text")
        for _ in range(2):
            await turn(turner)
            try:
                row = await kept.fetchrow()
                raise AssertionError(f"a changed statement gave {row}")
            except (asyncpg.InvalidCachedStatementError, asyncpg.FeatureNotSupportedError):
                pass
            except asyncpg.ProtocolError as error:  # what 0.31 says, direct too
                assert "different from what was described" in str(error), error
        for _ in range(2):
            # Outside a transaction asyncpg prepares again by itself.
            assert tuple(await connection.fetchrow("select * from shape")) == ("1", "one", "{}")
            await turn(turner)
    run(env, scenario)


@pool(pool_size=2)
def test_copy(env):
    async def scenario(connection, turner, watch):
        await connection.execute("drop table if exists copied; create table copied (n int, t text)")
        records = [(n, f"row {n} " + "x" * (n % 300)) for n in range(3000)]
        for number in range(3):
            async with connection.transaction():
                await connection.copy_records_to_table("copied", records=records)
                assert await connection.fetchval("select count(*) from copied") == 3000 * (number + 1)
            await turn(turner)
        out = []

        async def sink(data):
            out.append(data)
        await connection.copy_from_query("select n, t from copied where n < $1 order by n", 50, output=sink)
        lines = b"".join(out).decode().splitlines()
        assert lines[0].startswith("0\trow 0") and len(lines) == 150
        await turn(turner)
        try:
            await connection.copy_records_to_table("copied", records=[(1, "fine"), ("not a number", "x")])
            raise AssertionError("a wrong type was accepted")
        except (asyncpg.DataError, TypeError, asyncpg.PostgresError):
            pass
        await turn(turner)
        try:
            await connection.copy_from_query("select 1/0 from copied", output=sink)
            raise AssertionError("no error")
        except asyncpg.DivisionByZeroError:
            pass
        assert await connection.fetchval("select count(*) from copied") == 9000
    run(env, scenario)


@pool(pool_size=2)
def test_executemany(env):
    async def scenario(connection, turner, watch):
        await connection.execute("drop table if exists many; create table many (n int primary key, t text)")
        for number in range(3):
            base = 1000 * number
            await connection.executemany("insert into many values ($1, $2)", [(base + n, "t" * n) for n in range(500)])
            await turn(turner)
        try:
            await connection.executemany("insert into many values ($1, $2)", [(n, "again") for n in range(9000, 9500)] + [(1, "duplicate")])
            raise AssertionError("the duplicate was accepted")
        except asyncpg.UniqueViolationError:
            pass
        await turn(turner)
        # asyncpg's executemany is one implicit transaction.
        assert await connection.fetchval("select count(*) from many") == 1500
    run(env, scenario)


@pool(pool_size=2)
def test_timeout_cancels_only_its_own_statement(env):
    """C3-83: asyncpg sends a cancel request when a timeout strikes; the connection goes on."""
    async def scenario(connection, turner, watch):
        turner.release()
        bystander = await connect(env)
        stop = asyncio.Event()
        served = 0

        async def by():
            nonlocal served
            while not stop.is_set():
                assert await bystander.fetchval("select $1::int", served) == served
                served += 1
        task = asyncio.ensure_future(by())
        for number in range(25):
            try:
                await connection.fetchval("select pg_sleep($1)", 10, timeout=random.random() * 0.03)
                raise AssertionError("no timeout")
            except asyncio.TimeoutError:
                pass
            assert await connection.fetchval("select $1::int", number) == number
        stop.set()
        await task
        assert served > 20
        await bystander.close()
    run(env, scenario)


@pool(pool_size=2, max_prepared_statements=200)
def test_ten_thousand_statements_stay_bounded(env):
    """C3-04: unique statements, each prepared once: what the backends keep stays bounded, and
    statements that were evicted there still work."""
    async def main():
        connection = await connect(env, statement_cache_size=5)
        first = await connection.prepare("select 'first', $1::int")
        for number in range(10000):
            if number % 10 == 0:
                statement = await connection.prepare(f"select {number} + $1::int")
                assert await statement.fetchval(1) == number + 1
                del statement
            else:
                assert await connection.fetchval(f"select {number}, $1::int", 1) == number
        assert await first.fetchrow(7) == ("first", 7)
        counted = await connection.fetchval("select count(*) from pg_prepared_statements")
        # Direct: those in asyncpg's own cache and `first`. Through the pooler: its limit.
        assert counted <= (200 if env.pooled else 20), f"{counted} prepared statements on a backend"
        memory = await connection.fetchval("select sum(total_bytes) from pg_backend_memory_contexts")
        assert memory < 60e6, f"the backend uses {memory} bytes"
        await connection.close()
    asyncio.run(main())


@pool(pool_size=4, seconds=90)
def test_asyncpg_pool_with_reset(env):
    """asyncpg.Pool runs its reset query (advisory unlock, CLOSE ALL, UNLISTEN, RESET ALL) at every
    release: twenty client connections over four."""
    async def main(watch):
        clients = await asyncpg.create_pool(host=env.host, port=env.port, user=env.user, password=env.password,
                                            database=env.dbname, min_size=20, max_size=20)

        async def work(number):
            for turn_number in range(15):
                async with clients.acquire() as connection:
                    tag = f"{number}-{turn_number}"
                    async with connection.transaction():
                        watch.served(id(connection._con), await connection.fetchval("select pg_backend_pid()"))
                        assert await connection.fetchval("select $1::text", tag) == tag
                    if turn_number % 3 == 0:
                        # Reset by the release; must not be met by the next user of the connection.
                        assert await connection.fetchval("show work_mem") == "4MB"
                        await connection.execute("set work_mem = '9MB'")
                        assert await connection.fetchval("show work_mem") == "9MB"
        await asyncio.gather(*(work(number) for number in range(60)))
        await clients.close()
    with Watch(env) as watch:
        asyncio.run(main(watch))
    env.assert_no_open_transaction()
    watch.assert_rotation(least=10)
