"""Real drivers with sslmode=require and verify-full through pgweir, and bytes in bulk through TLS."""
import asyncio
import hashlib
import os
import pathlib
import shutil
import ssl

import asyncpg
import psycopg
import psycopg2
from support import Skip, Turner, pool, run_program

from harness.certificates import Authority

HERE = pathlib.Path(__file__).parent
DRIVERS = HERE.parent / "drivers"


def secure(env, mode="require", **more):
    """Turns TLS on in the running daemon: the authority."""
    if env.against != "pgweir":
        raise Skip("about pgweir")
    authority = Authority()
    env.pooler.settings.update(authority.settings(mode, **more))
    env.pooler.reload()
    env.pooler.wait_log("configuration reloaded")
    return authority


def full(authority):
    return {"host": "localhost", "sslmode": "verify-full", "sslrootcert": authority.certificate}


@pool(pool_size=2)
def test_libpq(env):
    """psycopg 3 on libpq: all sslmodes, and channel binding."""
    authority = secure(env)
    stranger = Authority("stranger")
    for options in ({"sslmode": "require"}, {"sslmode": "verify-ca", "sslrootcert": authority.certificate},
                    full(authority), {**full(authority), "channel_binding": "require"}):
        turner = Turner(env)
        connection = env.connect(**options)
        assert connection.pgconn.ssl_in_use
        pids = set()
        for _ in range(3):
            pids.add(connection.execute("select pg_backend_pid()").fetchone()[0])
            turner.turn()
        assert len(pids) == 2, pids
        connection.close()
        turner.end()
    for options, part in (({"sslmode": "disable"}, "requires SSL"),
                          ({**full(stranger)}, "certificate verify failed"),
                          ({**full(authority), "host": "elsewhere.example", "hostaddr": "127.0.0.1"}, "does not match host name")):
        try:
            env.connect(**options)
        except psycopg.OperationalError as refused:
            assert part in str(refused), refused
        else:
            raise AssertionError(f"{options} came in")


@pool(pool_size=2)
def test_bulk(env):
    """A large result, COPY both ways, a reader that is slow, a cancel."""
    authority = secure(env)
    connection = psycopg2.connect(**env.parameters(**full(authority)))
    cursor = connection.cursor()
    cursor.execute("create table bulk (n int primary key, t text)")
    with open(env.tmp / "rows", "w+", encoding="ascii") as rows:
        for number in range(200_000):
            rows.write(f"{number}\t{hashlib.md5(str(number).encode()).hexdigest()}\n")
        rows.seek(0)
        cursor.copy_from(rows, "bulk")
        connection.commit()
        cursor.execute("select count(*), min(n), max(n), bool_and(t = md5(n::text)) from bulk")
        assert cursor.fetchone() == (200_000, 0, 199_999, True)
        with open(env.tmp / "copied", "w+", encoding="ascii") as copied:
            cursor.copy_expert("copy (select * from bulk order by n) to stdout", copied)
            copied.seek(0)
            rows.seek(0)
            assert copied.read() == rows.read()
    cursor.execute("select string_agg(t, '' order by n) from bulk")
    text = cursor.fetchone()[0]
    assert len(text) == 32 * 200_000
    cursor.execute("select %s", (text,))
    assert cursor.fetchone()[0] == text
    connection.close()

    slow = env.connect(**full(authority))
    with slow.cursor().copy("copy (select repeat('x', 1000) from generate_series(1, 50000)) to stdout") as copy:
        before = env.pooler.memory()
        total = len(next(iter(copy)))
        assert env.pooler.memory() - before < 30_000_000
        total += sum(len(block) for block in copy)
    assert total == 50_000 * 1001, total
    slow.close()


@pool(pool_size=2)
def test_psql(env):
    authority = secure(env)
    env.host = "localhost"
    done = run_program(["psql", "-X", "-At", "-c", "\\conninfo", "-c", "select 'it ' || 'works'"], env, seconds=30,
                       environment={"PGSSLMODE": "verify-full", "PGSSLROOTCERT": authority.certificate})
    assert "SSL connection (protocol: TLSv1.3" in done.stdout and "it works" in done.stdout, done.stdout


@pool(pool_size=2)
def test_console_shows_it(env):
    authority = secure(env, admin_users="app")
    held = env.connect(**full(authority))
    held.execute("select 1")
    console = psycopg2.connect(**env.parameters(dbname="pgweir", **full(authority)))
    console.autocommit = True
    cursor = console.cursor()
    cursor.execute("show clients")
    column = [item.name for item in cursor.description].index("tls")
    shown = [row[column] for row in cursor.fetchall()]
    assert len(shown) == 2 and all(cell.startswith("TLSv1.3/TLS_") for cell in shown), shown
    console.close()


@pool(pool_size=2)
def test_client_certificates(env):
    authority = secure(env)
    identity = authority.issue("app", "app")
    secure_again = authority.settings("verify-full", client_tls_ca_file=authority.certificate)
    env.pooler.settings.update(secure_again)
    env.pooler.reload()
    shown = {**full(authority), "sslcert": identity[0], "sslkey": identity[1]}
    os.chown(identity[1], os.geteuid(), os.getegid())
    connection = env.connect(**shown)
    assert connection.execute("select 1").fetchone() == (1,)
    for options in (full(authority), {**shown, "user": "second"}):
        try:
            env.connect(**options)
        except psycopg.OperationalError:
            continue
        raise AssertionError(f"{options} came in")


@pool(pool_size=2)
def test_asyncpg(env):
    authority = secure(env)
    context = ssl.create_default_context(cafile=authority.certificate)

    async def main():
        for mode in (context, "require"):
            connection = await asyncpg.connect(host="localhost", port=env.port, user=env.user, password=env.password,
                                               database=env.dbname, ssl=mode)
            for number in range(5):
                assert await connection.fetchval("select $1::int + 1", number) == number + 1
            records = [(number, "t" * 100) for number in range(20_000)]
            await connection.execute("create table if not exists copied (n int, t text); truncate copied")
            await connection.copy_records_to_table("copied", records=records)
            assert await connection.fetch("select * from copied order by n") == records
            await connection.close()
    asyncio.run(main())


@pool(pool_size=2)
def test_jdbc(env):
    jar = "/usr/share/java/postgresql.jar"
    if not shutil.which("javac") or not os.path.exists(jar):
        raise Skip("no javac or no libpostgresql-jdbc-java")
    authority = secure(env)
    for mode in ("require", "verify-full"):
        run_program(["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", jar, DRIVERS / "JdbcDriver.java",
                     "batches", "localhost", env.port, env.dbname, env.user, env.password,
                     f"sslmode={mode}", f"sslrootcert={authority.certificate}"], env, seconds=75)


NODE = """
const { Client } = require('pg')
async function main() {
  for (const ssl of [{ rejectUnauthorized: false }, { ca: require('fs').readFileSync(process.argv[2]) }]) {
    const client = new Client({ ssl })
    await client.connect()
    const got = await client.query('select length($1::text) as n', ['x'.repeat(500000)])
    if (got.rows[0].n !== 500000) throw new Error(JSON.stringify(got.rows))
    await client.end()
  }
}
main().catch((problem) => { console.error(problem); process.exit(1) })
"""


@pool(pool_size=2)
def test_node(env):
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "pgweir-tests" / "node"
    places = [place for place in ("/usr/share/nodejs", str(cache / "node_modules")) if os.path.isdir(place + "/pg")]
    if not shutil.which("node") or not places:
        raise Skip("no node-postgres")
    authority = secure(env)
    env.host = "localhost"
    script = env.tmp / "tls.js"
    script.write_text(NODE, encoding="ascii")
    run_program(["node", script, authority.certificate], env, seconds=30,
                environment={"NODE_PATH": places[0]})
