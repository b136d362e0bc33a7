"""Drivers and programs at their own defaults talk to the console."""
import asyncio
import decimal
import fcntl
import os
import pathlib
import shutil
import subprocess

import asyncpg
import psycopg
import psycopg2
import psycopg2.extras
from console import console, settings
from support import Skip, clean_environment, pool, run_program

HERE = pathlib.Path(__file__).parent
JAR = "/usr/share/java/postgresql.jar"
GOPATH = "/usr/share/gocode"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "pgweir-tests"


def warm(env):
    """So that there is a pool, with figures."""
    client = env.connect()
    client.execute("select 1")
    return client


@pool(**settings())
def test_psql(env):
    warm(env)
    base = ["psql", "-X", "-d", "pgbouncer"]
    out = run_program([*base, "-At", "-c", "SHOW VERSION", "-c", "SHOW STATE"], env).stdout
    assert out.splitlines()[0].startswith("pgweir ") and "active|yes" in out, out
    script = "show pools;\nshow\n  lists -- all\n;\n\\x\nselect * from clients;\nshow help;\n;\nreload;\n"
    out = run_program([*base, "-v", "ON_ERROR_STOP=1", "-f", "-"], env, input=script).stdout
    for text in ("cl_active", "used_clients", "application_name", "psql", "RELOAD", "SHOW POOLS"):
        assert text in out, (text, out)
    out = run_program([*base, "-c", "SHOW POLS"], env, check=False)
    assert out.returncode == 1 and "Perhaps you mean SHOW POOLS." in out.stdout, out.stdout


@pool(**settings())
def test_psycopg2(env):
    warm(env)
    connection = psycopg2.connect(**env.parameters(dbname="pgbouncer"),
                                  cursor_factory=psycopg2.extras.RealDictCursor)
    cursor = connection.cursor()  # in a transaction, as the driver likes it
    cursor.execute("SHOW POOLS")
    assert cursor.fetchall()[0]["cl_active"] >= 1
    connection.commit()
    try:
        cursor.execute("SHOW NONSENSE")
        raise AssertionError("accepted")
    except psycopg2.Error as error:
        assert error.pgcode == "42601"
    connection.rollback()
    connection.set_session(autocommit=True)
    cursor.execute("SELECT * FROM stats")
    assert isinstance(cursor.fetchall()[0]["total_xact_count"], decimal.Decimal)
    connection.close()


@pool(**settings())
def test_psycopg3(env):
    warm(env)
    with psycopg.connect(**env.parameters(dbname="pgbouncer"), prepare_threshold=0) as connection:
        for _ in range(3):  # not in autocommit, prepared, binary
            with connection.cursor(binary=True) as cursor:
                assert cursor.execute("SHOW LISTS").fetchall()[0][1] >= 1
        with connection.transaction():
            try:
                with connection.transaction():
                    connection.execute("SET nothing = %s", ("x",))
                raise AssertionError("accepted")
            except psycopg.errors.InvalidParameterValue:
                pass
            assert connection.execute("SHOW STATE").fetchall()
    connection = console(env)
    with connection.pipeline():
        cursors = [connection.execute(f"SHOW {what}") for what in ("POOLS", "LISTS", "STATE")]
    assert all(cursor.fetchall() for cursor in cursors)
    connection.execute("SET pool_size = %s", ("5",))
    assert [row for row in connection.execute("SHOW CONFIG") if row["key"] == "pool_size"][0]["value"] == "5"


@pool(**settings())
def test_asyncpg(env):
    warm(env)

    async def main():
        parameters = env.parameters(dbname="pgbouncer")
        parameters["database"] = parameters.pop("dbname")
        connection = await asyncpg.connect(**parameters)
        for _ in range(2):
            rows = await connection.fetch("SHOW POOLS")
            assert rows[0]["cl_active"] >= 1 and isinstance(rows[0]["cl_active"], int)
            rows = await connection.fetch("SHOW STATS")
            assert isinstance(rows[0]["total_received"], decimal.Decimal) and rows[0]["total_received"] > 0
        names = [row["list"] async for row in no_cursor(connection)]
        assert names[0] == "databases", names
        try:
            await connection.fetch("KILL_CLIENT $1", 10**6)
            raise AssertionError("accepted")
        except asyncpg.PostgresError as error:
            assert error.sqlstate == "42704", error
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        pooled = await asyncpg.create_pool(**parameters, min_size=1, max_size=2)
        async with pooled.acquire() as connection:  # reset at the end
            assert await connection.fetch("SHOW VERSION")
        async with pooled.acquire() as connection:
            async with connection.transaction():
                assert await connection.fetch("SHOW VERSION")
        await pooled.close()

    async def no_cursor(connection):
        """A cursor reads in portions."""
        async with connection.transaction():
            async for row in connection.cursor("SHOW LISTS", prefetch=3):
                yield row
    asyncio.run(main())


@pool(**settings(seconds=80))
def test_pgjdbc(env):
    if not shutil.which("javac") or not os.path.exists(JAR):
        raise Skip("no javac or no libpostgresql-jdbc-java")
    warm(env)
    run_program(["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", JAR, HERE / "ConsoleClient.java",
                 env.host, env.port, "pgbouncer", env.user, env.password], env, seconds=75)


def node_modules():
    """Where the driver tests have put pg, or Debian's own."""
    for folder in ("/usr/share/nodejs", str(CACHE / "node" / "node_modules")):
        if os.path.isdir(folder + "/pg"):
            return folder
    raise Skip("node-postgres is not installed")


@pool(**settings())
def test_node_postgres(env):
    if not shutil.which("node"):
        raise Skip("node is not installed")
    warm(env)
    run_program(["node", HERE / "console_client.js", "pgbouncer"], env, environment={"NODE_PATH": node_modules()})


def go_program():
    source, built = HERE / "console_client.go", CACHE / "console_client"
    for package in ("jackc/pgx/v4", "lib/pq"):
        if not shutil.which("go") or not os.path.isdir(f"{GOPATH}/src/github.com/{package}"):
            raise Skip(f"no go or no {package}")
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "console_client.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:
            done = subprocess.run(["go", "build", "-o", str(built), str(source)], cwd=CACHE, check=False, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                  env=clean_environment(GO111MODULE="off", GOPATH=GOPATH, GOFLAGS="", CGO_ENABLED="0",
                                                        GOCACHE=str(CACHE / "go")))
            assert done.returncode == 0, done.stdout
    return built


@pool(**settings(seconds=110))
def test_pgx_and_the_exporter_of_prometheus(env):
    """pgx prepares and reads binary; pgbouncer_exporter asks through lib/pq by the simple protocol."""
    warm(env)
    run_program([go_program(), "pgbouncer"], env, seconds=100, environment={"PGSSLMODE": "disable"})
