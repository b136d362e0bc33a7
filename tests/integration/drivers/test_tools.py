"""PostgreSQL's own programs: psql, pg_dump, pg_restore, pgbench."""
import os
import re

from harness.postgres import bindir
from support import Turner, Watch, background, pool, run_program


def program(name):
    return os.path.join(bindir(), name)


def psql(env, script, *arguments, check=True):
    return run_program([program("psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", *arguments, "-f", "-"],
                       env, input=script, check=check).stdout


@pool(pool_size=2)
def test_psql_commands(env):
    """\\copy both ways, \\gdesc, \\gset, \\bind-less variables, \\gexec, \\d, crosstab of results."""
    (env.tmp / "in.csv").write_text("".join(f"{n},name {n}\n" for n in range(500)))
    got = psql(env, """
create table people (n int primary key, name text);
\\copy people from in.csv csv
select count(*) from people;
\\copy (select * from people where n < 3 order by n) to out.csv csv
select n, name from people \\gdesc
select max(n) as most from people \\gset
\\set quoted 'it''s'
select :most + 1, :'quoted';
select format('select %s as number', n) from generate_series(1, 3) n \\gexec
select 1 as a \\; select 2 as b;
\\d people
\\di
begin;
savepoint a;
\\set ON_ERROR_ROLLBACK on
\\unset ON_ERROR_STOP
select 1/0;
select 'after the error';
commit;
\\copy (select n from generate_series(1, 3) n) to stdout
""")
    lines = got.splitlines()
    assert lines[0] == "500"
    assert (env.tmp / "out.csv").read_text() == "0,name 0\n1,name 1\n2,name 2\n"
    assert "n|integer" in lines and "name|text" in lines and "500|it's" in lines
    assert lines[lines.index("500|it's") + 1:][:5] == ["1", "2", "3", "1", "2"], lines
    assert "after the error" in lines and lines[-3:] == ["1", "2", "3"], lines
    assert any("people_pkey" in line for line in lines)


@pool(pool_size=2)
def test_psql_multi_statement_string(env):
    """psql -c sends the string as one Query: one implicit transaction, one result per statement."""
    done = run_program([program("psql"), "-X", "-At", "-c",
                        "create table multi (n int); insert into multi values (1), (2); select sum(n) from multi; "
                        "select 'second result'", "-c", "select count(*) from multi"], env)
    assert done.stdout.splitlines() == ["CREATE TABLE", "INSERT 0 2", "3", "second result", "2"], done.stdout
    done = run_program([program("psql"), "-X", "-At", "-c", "insert into multi values (3); select 1/0; select 'never'"],
                       env, check=False)
    assert done.returncode == 1 and "division by zero" in done.stdout and "never" not in done.stdout
    assert env.admin().execute("select sum(n) from multi").fetchone() == (3,)
    # A transaction that is opened in the middle of a string and not closed ends with its client.
    run_program([program("psql"), "-X", "-At", "-c", "select 1; begin; insert into multi values (4)"], env)
    env.assert_no_open_transaction()
    assert env.admin().execute("select sum(n) from multi").fetchone() == (3,)


@pool(pool_size=2)
def test_psql_session_keeps_its_settings(env):
    """SET by one psql lasts while other clients rotate through, and ends with it."""
    turner = Turner(env)
    client = env.connect()
    for number in range(3):
        got = psql(env, f"set search_path = pg_catalog; set work_mem = '{10 + number}MB'; show search_path;"
                        "select current_setting('work_mem');\n\\! true\nshow work_mem;\n")
        assert got.splitlines() == ["pg_catalog", f"{10 + number}MB", f"{10 + number}MB"]
        assert client.execute("show work_mem").fetchone() == ("4MB",)
        assert client.execute("show search_path").fetchone() == ('"$user", public',)
        turner.turn()
    turner.end()


@pool(pool_size=3, seconds=60)
def test_pg_dump_and_restore(env):
    """C3-49: pg_dump empties search_path on its connection; clients that come afterwards find their
    tables without a schema name."""
    client = env.connect()
    client.execute("create schema other; create table plain (n int primary key, t text);"
                   "create table other.second (n serial, j jsonb default '{}');"
                   "create view seen as select * from plain where n > 5; create type color as enum ('red', 'green');"
                   "create function twice(int) returns int language sql as 'select $1 * 2';"
                   "insert into plain select n, 'text ' || n from generate_series(1, 2000) n;"
                   "insert into other.second (j) select jsonb_build_object('n', n) from generate_series(1, 300) n;"
                   "select lo_from_bytea(0, 'a large object')")

    def unqualified():
        for connection in [client] + [env.connect() for _ in range(env.limit + 1)]:
            for _ in range(2):
                assert connection.execute("select count(*) from plain").fetchone() == (2000,)
                assert connection.execute("show search_path").fetchone() == ('"$user", public',)
                assert connection.execute("show statement_timeout").fetchone() == ("0",)
                assert connection.execute("select twice(21)").fetchone() == (42,)
    with Watch(env):
        for format_name in ("c", "p"):
            dump = env.tmp / f"dump.{format_name}"
            run_program([program("pg_dump"), "-b", "-F", format_name, "-f", dump], env)
            unqualified()
            env.connect().execute("drop schema other cascade; drop table plain cascade; drop type color;"
                                  "drop function twice; select lo_unlink(oid) from pg_largeobject_metadata")
            if format_name == "c":
                run_program([program("pg_restore"), "-d", env.dbname, "--exit-on-error", "--single-transaction", dump], env)
            else:
                run_program([program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", dump], env)
            unqualified()
            assert client.execute("select count(*), sum((j->>'n')::int) from other.second").fetchone() == (300, 45150)
            assert client.execute("select lo_get(oid) from pg_largeobject_metadata").fetchone() == (b"a large object",)
        run_program([program("pg_restore"), "-d", env.dbname, "--clean", "--if-exists", "-j", "2", env.tmp / "dump.c"], env)
        unqualified()
    env.assert_no_open_transaction()


@pool(pool_size=4, seconds=40)
def test_parallel_pg_dump(env):
    """Workers share the leader's snapshot, each in a transaction of its own."""
    client = env.connect()
    for number in range(6):
        client.execute(f"create table part{number} as select n from generate_series(1, 3000) n")
    with Watch(env):
        run_program([program("pg_dump"), "-F", "d", "-j", "2", "-f", env.tmp / "dump.d"], env)
    listed = run_program([program("pg_restore"), "-l", env.tmp / "dump.d"], env).stdout
    assert listed.count("TABLE DATA") == 6
    assert client.execute("select count(*) from part5").fetchone() == (3000,)


def pgbench(env, *arguments):
    done = run_program([program("pgbench"), *arguments], env, seconds=60)
    for pattern in (r"number of failed transactions: 0 \(", r"number of transactions actually processed: [1-9]"):
        assert re.search(pattern, done.stdout), done.stdout[-3000:]
    assert "error" not in done.stdout.lower().replace("errors", "") and "abort" not in done.stdout, done.stdout[-3000:]
    return int(re.search(r"actually processed: (\d+)", done.stdout).group(1))


def rotated(env, watch, *arguments):
    """Runs pgbench with a script in which each transaction notes its client and its backend."""
    script = env.tmp / "rotation.sql"
    script.write_text("\\set value random(1, 1000)\nbegin;\n"
                      "insert into served values (:client_id, pg_backend_pid(), :value);\n"
                      "select :value, count(*) from served where client = :client_id;\nend;\n")
    env.admin().execute("drop table if exists served; create table served (client int, pid int, value int)")
    # pgbench prepares with a blocking call: a thread that waits there cannot let its other clients
    # end their transactions. So each client has a thread of its own.
    count = pgbench(env, "-n", "-f", script, "-c", "40", "-j", "40", "-t", "20", *arguments)
    assert count == 800
    rows = env.admin().execute("select client, pid from served").fetchall()
    assert len(rows) == 800
    for client, pid in rows:
        watch.served((arguments, client), pid)


def all_modes(env, work):
    with Watch(env) as watch:
        for mode in ("simple", "extended", "prepared"):
            work(mode)
            rotated(env, watch, "-M", mode)
    env.assert_no_open_transaction()
    watch.assert_rotation(clients=120, lucky=2)  # pgbench cannot be disturbed


@pool(pool_size=10, seconds=90)
def test_pgbench_select_only(env):
    """Forty clients on ten server connections in all three protocol modes."""
    run_program([program("pgbench"), "-i", "-q", "-s", "1"], env)
    all_modes(env, lambda mode: pgbench(env, "-n", "-S", "-M", mode, "-c", "40", "-j", "2", "-t", "400"))


@pool(pool_size=10, seconds=90)
def test_pgbench_tpcb(env):
    """C3-20: scripts of several commands, with and without a transaction around them."""
    run_program([program("pgbench"), "-i", "-q", "-s", "2"], env)
    loose = env.tmp / "loose.sql"
    loose.write_text("\\set aid random(1, 200000)\n\\set delta random(-500, 500)\n"
                     "update pgbench_accounts set abalance = abalance + :delta where aid = :aid;\n"
                     "select abalance from pgbench_accounts where aid = :aid;\n"
                     "select 1 \\; select 2, :aid;\n"
                     "select abalance as got from pgbench_accounts where aid = :aid \\gset\n"
                     "select :got::int + :delta;\n")
    pipelined = env.tmp / "pipelined.sql"
    pipelined.write_text("\\set aid random(1, 200000)\n\\startpipeline\nbegin;\n"
                         "update pgbench_accounts set abalance = abalance + 1 where aid = :aid;\n"
                         "update pgbench_accounts set abalance = abalance - 1 where aid = :aid;\n"
                         "select abalance from pgbench_accounts where aid = :aid;\nend;\n\\endpipeline\n"
                         "\\startpipeline\nselect :aid;\nselect :aid + 1;\n\\endpipeline\n")

    def work(mode):
        pgbench(env, "-n", "-M", mode, "-c", "40", "-j", "40", "-t", "60")
        if mode != "simple":
            pgbench(env, "-n", "-M", mode, "-c", "40", "-j", "2", "-t", "20", "-f", pipelined)
            # One Query cannot hold two statements with parameters: only the simple mode can.
            loose.write_text(loose.read_text().replace("select 1 \\; select 2, :aid;\n", ""))
        pgbench(env, "-n", "-M", mode, "-c", "40", "-j", "40", "-t", "20", "-f", loose)
    all_modes(env, work)
    sums = env.admin().execute("select (select sum(tbalance) from pgbench_tellers) = (select sum(bbalance) from pgbench_branches),"
                               "(select sum(delta) from pgbench_history) = (select sum(bbalance) from pgbench_branches)")
    assert sums.fetchone() == (True, True)


@pool(pool_size=5, seconds=40)
def test_pgbench_with_a_connection_per_transaction(env):
    """pgbench -C: every transaction logs in; server connections are kept."""
    with Watch(env):
        worker = background(pgbench, env, "-n", "-C", "-c", "10", "-j", "2", "-t", "20", "-f", script(env, "select 1;\n"))
        worker.join(35)
    if env.pooled:
        assert len(env.backends()) <= env.limit
    env.assert_no_open_transaction()


def script(env, text):
    path = env.tmp / "script.sql"
    path.write_text(text)
    return path
