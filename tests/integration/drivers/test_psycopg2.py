"""psycopg2: simple protocol, named cursors, COPY, large objects, savepoints."""
import io
import threading

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import psycopg2.extras
from support import Noise, Turner, Watch, background, pool


def connect(env, autocommit=False, **options):
    connection = psycopg2.connect(**env.parameters(**options))
    connection.autocommit = autocommit
    env.closing.callback(connection.close)
    return connection


def value(cursor, text, values=None):
    cursor.execute(text, values)
    return cursor.fetchone()[0]


@pool(pool_size=2)
def test_autocommit_and_transactions_under_rotation(env):
    """C3-05: an autocommit client may be served by another backend each time."""
    free = connect(env, autocommit=True).cursor()
    bound = connect(env)
    turner = Turner(env)
    with Watch(env) as watch:
        for number in range(8):
            watch.served("autocommit", value(free, "select pg_backend_pid()"))
            assert value(free, "select %s::int", (number,)) == number
            with bound, bound.cursor() as cursor:
                pids = {value(cursor, "select pg_backend_pid()") for _ in range(5)}
                assert len(pids) == 1, "a transaction was served by two backends"
                watch.served("transactions", pids.pop())
            turner.turn()
    turner.end()
    watch.assert_rotation(clients=2)
    env.assert_no_open_transaction()


@pool(pool_size=2)
def test_named_cursors(env):
    """A server-side cursor in a transaction, another WITH HOLD that outlives it (C3-62: pinned, or
    copied, but not lost)."""
    connection = connect(env)
    turner = Turner(env)
    for _ in range(2):
        with connection.cursor("inside") as cursor:
            cursor.itersize = 100
            cursor.execute("select n from generate_series(1, 1000) n")
            assert sum(row[0] for row in cursor) == 500500
        connection.commit()
        turner.turn()
    with connection.cursor("scrolling", scrollable=True) as cursor:
        cursor.execute("select n from generate_series(1, 100) n")
        cursor.scroll(50)
        assert cursor.fetchone() == (51,)
        cursor.scroll(-10)
        assert cursor.fetchmany(2) == [(42,), (43,)]
    connection.rollback()
    turner.turn()
    held = connection.cursor("held", withhold=True)
    held.execute("select n from generate_series(1, 1000) n")
    assert held.fetchmany(3) == [(1,), (2,), (3,)]
    connection.commit()
    assert held.fetchmany(2) == [(4,), (5,)]
    connection.commit()
    assert held.fetchone() == (6,)
    held.close()
    connection.commit()
    turner.end()
    env.assert_no_open_transaction()


@pool(pool_size=2)
def test_copy(env):
    connection = connect(env)
    turner = Turner(env)
    cursor = connection.cursor()
    cursor.execute("create table copied (n int primary key, t text)")
    connection.commit()
    for number in range(3):
        text = "".join(f"{number * 10000 + n}\t{'line ' * (n % 40)}\n" for n in range(5000))
        cursor.copy_expert("copy copied from stdin", io.StringIO(text))
        connection.commit()
        turner.turn()
    out = io.StringIO()
    cursor.copy_expert("copy (select * from copied order by n) to stdout with csv", out)
    assert len(out.getvalue().splitlines()) == 15000
    connection.commit()
    turner.turn()
    for broken in ("1\tduplicate\n", "x\tno number\n", "77777\tone\ttoo many\n"):
        try:
            cursor.copy_expert("copy copied from stdin", io.StringIO("500000\tfirst is good\n" + broken))
            raise AssertionError(f"accepted {broken!r}")
        except (psycopg2.errors.UniqueViolation, psycopg2.errors.InvalidTextRepresentation,
                psycopg2.errors.BadCopyFileFormat):
            connection.rollback()
        turner.turn()

    class Breaks(io.StringIO):
        def read(self, size=-1):
            if self.tell() > 100000:
                raise OSError("the source broke")
            return super().read(size)
    try:
        cursor.copy_expert("copy copied from stdin", Breaks("".join(f"{600000 + n}\tx\n" for n in range(50000))))
        raise AssertionError("no error")
    except (OSError, psycopg2.errors.QueryCanceled):  # CopyFail, or the source's own error
        connection.rollback()
    turner.turn()
    assert value(cursor, "select count(*) from copied") == 15000
    connection.commit()
    turner.end()
    env.assert_no_open_transaction()


@pool(pool_size=2)
def test_large_objects(env):
    """C3-46: large objects travel by FunctionCall messages."""
    connection = connect(env)
    turner = Turner(env)
    made = connection.lobject(0, "wb")
    number = made.oid
    body = bytes(range(256)) * 1000
    assert made.write(body) == len(body)
    made.close()
    connection.commit()
    for _ in range(3):
        turner.turn()
        read = connection.lobject(number, "rb")
        assert read.read() == body
        assert read.seek(256) == 256
        assert read.read(3) == b"\x00\x01\x02"
        assert read.tell() == 259
        read.close()
        connection.commit()
    turner.turn()
    try:
        connection.lobject(1, "rb")
        raise AssertionError("an object that does not exist was opened")
    except psycopg2.OperationalError:
        connection.rollback()
    connection.lobject(number).unlink()
    connection.commit()
    turner.end()
    env.assert_no_open_transaction()


@pool(pool_size=2)
def test_errors_and_savepoints(env):
    """C3-43: an error in a transaction, back to the savepoint, on with the same backend."""
    connection = connect(env)
    turner = Turner(env)
    cursor = connection.cursor()
    cursor.execute("create table kept (n int primary key)")
    connection.commit()
    for number in range(4):
        cursor.execute("insert into kept values (%s)", (number,))
        pid = value(cursor, "select pg_backend_pid()")
        for _ in range(2):
            cursor.execute("savepoint here")
            try:
                cursor.execute("insert into kept values (%s)", (number,))
                raise AssertionError("the duplicate was accepted")
            except psycopg2.errors.UniqueViolation as error:
                assert error.diag.constraint_name == "kept_pkey" and error.diag.table_name == "kept"
            try:
                cursor.execute("select 1")
                raise AssertionError("a failed transaction went on")
            except psycopg2.errors.InFailedSqlTransaction:
                pass
            cursor.execute("rollback to here")
            assert value(cursor, "select pg_backend_pid()") == pid
        connection.commit()
        turner.turn()
    cursor.execute("insert into kept values (99)")
    try:
        cursor.execute("select nothing from nowhere")
    except psycopg2.errors.UndefinedTable:
        pass
    connection.commit()  # answered with ROLLBACK
    turner.turn()
    assert value(cursor, "select array_agg(n order by n) from kept") == [0, 1, 2, 3]
    connection.commit()
    turner.end()
    env.assert_no_open_transaction()


@pool(pool_size=2)
def test_session_characteristics_are_each_clients_own(env):
    """C3-53, C3-80: set_session(readonly=True) of one client never meets another."""
    reader = connect(env)
    reader.set_session(readonly=True, isolation_level="SERIALIZABLE", autocommit=True)
    writer = connect(env, autocommit=True)
    turner = Turner(env)
    writing = writer.cursor()
    writing.execute("create table written (n int)")
    reading = reader.cursor()
    for number in range(6):
        assert value(reading, "show transaction_read_only") == "on"
        assert value(reading, "show transaction_isolation") == "serializable"
        turner.turn()
        assert value(writing, "show transaction_read_only") == "off"
        writing.execute("insert into written values (%s)", (number,))
        turner.turn()
        try:
            reading.execute("insert into written values (1)")
            raise AssertionError("a read-only client wrote")
        except psycopg2.errors.ReadOnlySqlTransaction:
            pass
    assert value(writing, "select count(*) from written") == 6
    turner.end()


@pool(pool_size=5, seconds=60)
def test_forty_clients_over_five_connections(env):
    """C3-28: tagged queries, every reply matches its own tag; notices reach their own client."""
    def work(number, watch):
        connection = psycopg2.connect(**env.parameters())
        connection.autocommit = True
        cursor = connection.cursor()
        for turn in range(25):
            tag = f"{number}/{turn}"
            assert value(cursor, "select %s", (tag,)) == tag
            connection.autocommit = False
            watch.served(number, value(cursor, "select pg_backend_pid()"))
            cursor.execute("do $$ begin raise notice %s, %s; end $$", (psycopg2.extensions.AsIs("'n %'"), tag))
            psycopg2.extras.execute_values(cursor, "insert into tags values %s", [(tag, n) for n in range(10)])
            connection.commit()
            connection.autocommit = True
            assert connection.notices == [f"NOTICE:  n {tag}\n"], connection.notices
            connection.notices.clear()
            assert value(cursor, "select count(*) from tags where tag = %s", (tag,)) == 10
        connection.close()

    connect(env, autocommit=True).cursor().execute("create table tags (tag text, n int); create index on tags (tag)")
    with Watch(env) as watch, Noise(env):
        threads = [background(work, number, watch) for number in range(40)]
        for thread in threads:
            thread.join(60)
    watch.assert_rotation(clients=40)
    env.assert_no_open_transaction()


@pool(pool_size=2)
def test_cancel_from_another_thread(env):
    connection = connect(env)
    turner = Turner(env)
    for _ in range(4):
        cursor = connection.cursor()
        timer = threading.Timer(0.15, connection.cancel)
        timer.start()
        try:
            cursor.execute("select pg_sleep(20)")
            raise AssertionError("not cancelled")
        except psycopg2.errors.QueryCanceled:
            connection.rollback()
        timer.join()
        assert value(cursor, "select 5") == 5
        connection.commit()
        turner.turn()
    turner.end()
