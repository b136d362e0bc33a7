"""The order of messages: pipelines, Flush, errors in the middle, transactions begun in any way."""
import struct
import time

from harness import wire
from harness.wire import batch, bind, close, copy_data, copy_done, describe, execute, flush, message, parse, query, sync
from support import Turner, background, pool


@pool(pool_size=2, auth="trust")
def test_begin_by_query_then_parameters(env):
    """C3-21: BEGIN by a simple Query, then a statement with parameters."""
    client = env.raw()
    turner = Turner(env)
    for number in range(4):
        assert client.query("BEGIN").types == "CZ"
        assert client.prepared("select $1::int", [str(number)]).rows == [(str(number),)]
        assert client.prepared("select $1::int", [str(number)], f"n{number}").status == "T"
        assert client.query("COMMIT").status == "I"
        turner.turn()
    turner.end()


@pool(pool_size=2, auth="trust")
def test_many_syncs_outstanding(env):
    """C3-25: bound until the last ReadyForQuery; every answer in its place."""
    clients = [env.raw() for _ in range(4)]
    turner = Turner(env)
    for turn in range(4):
        for which, client in enumerate(clients):
            pieces = []
            for number in range(50):
                tag = f"{which}.{turn}.{number}"
                if number % 10 == 5:
                    pieces.append(batch("select 1/$1::int", ["0"]))
                elif number % 10 == 7:
                    pieces.append(query(f"select '{tag}'"))
                else:
                    pieces.append(batch("select $1::text", [tag], "kept" if number == 20 and turn == 0 else ""))
            client.send(*pieces)
        for which, client in enumerate(clients):
            for number, result in enumerate(client.results(50)):
                tag = f"{which}.{turn}.{number}"
                assert (result.sqlstate == "22012") if number % 10 == 5 else (result.rows == [(tag,)]), (tag, result)
        turner.turn()
    turner.end()
    env.assert_no_open_transaction()


@pool(pool_size=2, auth="trust")
def test_malformed_bytes_hurt_only_their_sender(env):
    """C3-27: whatever a client sends, the others are answered, and no backend sees half a message."""
    bystander = env.raw()
    turner = Turner(env)
    evil = {
        "unknown type": message("m", b"what"), "type 0": b"\0\0\0\0\4", "length 0": b"Q\0\0\0\0", "length 3": b"Q\0\0\0\3",
        "negative length": b"Q\xff\xff\xff\xff", "no zero byte": message("Q", b"select 1"), "empty query message": message("Q"),
        "parse cut": message("P", b"name"), "parse types cut": message("P", b"n\0select 1\0" + struct.pack("!H", 9)),
        "bind cut": message("B", b"\0\0\0\1"), "bind parameters cut": message("B", b"\0\0" + struct.pack("!HHi", 0, 1, 1000) + b"x"),
        "describe of X": message("D", b"X\0"), "close of X": message("C", b"X\0"), "execute cut": message("E", b"\0"),
        "sync with a body": message("S", b"body"), "password": message("p", b"x\0"), "cut in the middle": query("select 1")[:7],
        "a server's message": message("Z", b"I"), "copy data": copy_data("x") * 3 + query("select 2"),
        "function call cut": message("F", b"\0"),
    }
    for title, data in evil.items():
        for inside in (False, True):
            client = env.raw()
            if inside:
                client.query("begin")
                client.query("select 'mine'")
            client.send(data)
            time.sleep(0.003)
            client.socket.shutdown(1)
            try:
                client.rest(5)
            except TimeoutError as error:
                raise AssertionError(f"{title}: the connection stays open") from error
            client.close()
            for number in range(2):
                assert bystander.prepared("select $1::text", [title]).rows == [(title,)], title
                turner.turn()
    turner.end()
    env.assert_no_open_transaction()


@pool(pool_size=2, auth="trust")
def test_messages_between_error_and_ready(env):
    """C3-29: more messages arrive after the ErrorResponse, before the Sync: skipped; after it: served."""
    client = env.raw()
    turner = Turner(env)
    for _ in range(3):
        client.send(parse("selec"), flush())
        assert client.read().type == "E"
        client.send(parse("select 'skipped'"), bind(), execute(), flush())
        client.send(query("select 'skipped too'"))
        client.expect_silence(0.05)
        client.send(sync(), batch("select 'served'"))
        first, second = client.results(2)
        assert first.types == "Z" and second.rows == [("served",)]
        turner.turn()
    turner.end()


@pool(pool_size=2, auth="trust")
def test_simple_and_extended_in_one_segment(env):
    """C3-30, C3-31: Query and Parse/Bind/Execute in the same packet, in either order."""
    clients = [env.raw(), env.raw()]
    turner = Turner(env)
    for number in range(5):
        for which, client in enumerate(clients):
            tag = f"{which}-{number}"
            client.send(query(f"set application_name = '{tag}'"), batch("select $1::text", [tag]), query("show application_name"),
                        batch("show application_name", [], f"n{number}"))
        for which, client in enumerate(clients):
            tag = f"{which}-{number}"
            results = client.results(4)
            assert results[0].tags == ["SET"] and [result.rows for result in results[1:]] == [[(tag,)]] * 3, results
        turner.turn()
    turner.end()


@pool(pool_size=2, auth="trust", seconds=90)
def test_discard_all_first_cut_at_every_byte(env):
    """C3-32: DISCARD ALL before a batch with a long string, cut at each boundary."""
    client = env.raw()
    turner = Turner(env)
    text = "x" * 4500
    data = query("DISCARD ALL") + parse("select length($1), $2::text", "n") + bind([text, "end"], "n") + describe() + execute() + sync()
    positions = list(range(1, 80)) + list(range(80, len(data), 97)) + list(range(len(data) - 30, len(data)))
    for number, position in enumerate(positions):
        client.send_cut(data, position, pause=0.0003)
        first, second = client.results(2)
        assert first.tags == ["DISCARD ALL"] and second.rows == [("4500", "end")], (position, first, second)
        if number % 10 == 0:
            turner.turn()
    turner.end()


@pool(pool_size=1, auth="trust", pool_timeout="300ms")
def test_no_server_in_time_in_the_middle_of_a_batch(env):
    """C3-34, C3-67: refused during Parse/Bind/Execute/Sync: one error, one ReadyForQuery, and the
    client goes on; the error says what it waited for."""
    if not env.pooled:
        return
    holder, client = env.raw(), env.raw()
    holder.query("begin")
    for number in range(2):
        result = client.prepared("select $1::text", ["refused"], f"n{number}")
        assert result.types == "EZ" and result.sqlstate == "53300" and result.status == "I", result
        assert env.dbname in result.error["M"], result.error
        result = client.query("select 1")
        assert result.types == "EZ" and result.sqlstate == "53300", result
        client.send(parse("select 1"), flush())
        assert client.read().type == "E"
        client.send(bind(), execute())
        assert client.ask(sync()).types == "Z"
    holder.query("commit")
    assert client.prepared("select $1::text", ["served"]).rows == [("served",)]
    assert client.value("select 'served'") == "served"


@pool(pool_size=2, auth="trust")
def test_large_rows_behind_made_up_replies(env):
    """C3-38: a row of 4 MB as the first reply to a statement the pooler prepares itself: the replies
    stay in order; a client that reads slowly gets all of it (C3-39: also when others reset)."""
    client = env.raw()
    turner = Turner(env)
    for name in ("big", ""):
        client.ask(parse("select repeat('x', $1::int), 'end'", name), sync())
        for size in (10, 8190, 70000, 4 << 20):
            turner.turn()
            result = client.ask(bind([str(size)], name), execute(), close("P"), sync())
            assert result.types == "2DC3Z" and len(result.rows[0][0]) == size and result.rows[0][1] == "end"
            if name:
                turner.turn()
                result = client.ask(close("S", name), parse("select repeat('x', $1::int), 'end'", name), describe("S", name),
                                    bind([str(size)], name), describe(), execute(), sync())
                assert result.types == "31tT2TDCZ" and len(result.rows[0][0]) == size, result.types
    for number in range(5):
        victim = env.raw()
        victim.send(batch("select repeat('y', 4000000) from generate_series(1, 5)"))
        victim.bytes(100000)
        victim.reset()
    client.send(batch("select repeat('z', 3000000), n from generate_series(1, 4) n"), query("select 'after'"))
    time.sleep(0.3)
    first, second = client.results(2)
    assert [(len(row[0]), row[1]) for row in first.rows] == [(3000000, str(n)) for n in range(1, 5)]
    assert second.rows == [("after",)]
    turner.end()
    env.assert_no_open_transaction()


@pool(pool_size=2, auth="trust")
def test_transactions_in_every_shape(env):
    """C3-40, C3-42: BEGIN and its end in simple, extended and mixed form, empty or not, and their
    warnings: message by message as PostgreSQL answers."""
    client, reference = env.raw(), env.reference()
    turner = Turner(env)
    begin, work = query("begin"), query("select 1")
    extended = {text: batch(text) for text in ("begin", "commit", "rollback", "select 1", "abort and chain", "commit and chain")}
    scripts = [[begin, query("rollback")], [begin, query("commit")], [begin, work, query("rollback")], [begin + query("commit")],
               [begin + work + query("commit") + work], [extended["begin"], extended["rollback"]], [extended["begin"] + extended["commit"]],
               [extended["begin"], extended["select 1"], extended["commit"]], [begin, begin, query("commit")], [query("commit")],
               [query("rollback")], [extended["rollback"]], [query("begin; select 1"), query("select 2; commit")],
               [begin, query("selec"), query("select 1"), query("commit")], [extended["begin"], batch("selec"), extended["commit"]],
               [begin, extended["commit and chain"], extended["abort and chain"], query("rollback")],
               [query("start transaction isolation level serializable read only"), query("show transaction_isolation"), query("end")],
               [query("set transaction read only")], [query("savepoint a")], [begin, query("prepare transaction 'x' x"), query("rollback")],
               [parse("begin") + bind() + execute() + parse("select 5") + bind() + execute() + sync(), query("commit")],
               [parse("select 5") + bind() + execute() + query("begin") + sync(), query("commit")]]
    if not env.joins_queries:
        scripts.append([parse("select 5") + bind() + execute() + query("select 6") + sync()])
    for script in scripts:
        for number, data in enumerate(script):
            marked = data + query("")
            answers = []
            for one in (reference, client):
                one.send(marked)
                messages = one.read_until("I")
                answers.append(messages + one.read_until("Z"))
            assert answers[0] == answers[1], (script, number, answers)
        assert client.ask(query("rollback")).status == reference.ask(query("rollback")).status == "I"
        turner.turn()
    turner.end()
    env.assert_no_open_transaction()


@pool(pool_size=2, auth="trust")
def test_begin_then_gone(env):
    """C3-41: BEGIN then killed; BEGIN and COPY; BEGIN and a pipeline."""
    observer = env.admin()
    observer.execute("create table t (n int)")
    for ending in ("close", "reset", "terminate", "half a message"):
        for start in (query("begin"), batch("begin"), query("begin; insert into t values (1)"),
                      query("begin") + query("copy t from stdin") + copy_data("1\n"),
                      query("begin") + batch("insert into t values (2)") + parse("insert into t values (3)") + bind() + execute()):
            client = env.raw()
            client.send(start)
            client.read()
            if ending == "terminate":
                client.send(wire.terminate())
            elif ending == "half a message":
                client.send(query("select 1")[:-3])
            if ending == "reset":
                client.reset()
            else:
                client.close()
    env.assert_no_open_transaction()
    clients = [env.raw(), env.raw()]
    for client in clients:
        assert client.query("begin").status == "T"
        assert client.value("select count(*) from t") == "0"
        client.send(query("copy t from stdin"))
        client.read_until("G")
        client.send(copy_data("5\n") * 10, copy_done())
        assert client.results(1)[0].status == "T"
        client.send(batch("select count(*) from t"), batch("rollback"))
        counted, ended = client.results(2)
        assert counted.rows == [("10",)] and ended.status == "I"
    assert observer.execute("select count(*) from t").fetchone() == (0,)


@pool(pool_size=2, auth="trust")
def test_implicit_transactions_of_segments(env):
    """C3-44: an error rolls back its whole segment up to Sync; a Query inside an open segment commits it,
    from PostgreSQL 18 on it joins it."""
    client = env.raw()
    client.query("create table t (n int primary key)")
    turner = Turner(env)

    def insert(number):
        return parse(f"insert into t values ({number})") + bind() + execute()
    assert client.ask(insert(1), insert(2), insert(1), insert(3), sync()).sqlstate == "23505"
    turner.turn()
    assert client.value("select count(*) from t") == "0"
    client.send(insert(1), insert(2), sync(), insert(3), insert(3), sync(), insert(4), sync())
    assert [result.sqlstate for result in client.results(3)] == [None, "23505", None]
    turner.turn()
    assert client.value("select array_agg(n order by n) from t") == "{1,2,4}"
    client.send(insert(5), query("select 1"), insert(6), insert(6), sync())
    results = client.results(2)
    assert [result.sqlstate for result in results] == [None, "23505"]
    assert [result.status for result in results] == ["T" if env.joins_queries else "I", "I"]
    turner.turn()
    assert client.value("select array_agg(n order by n) from t") == ("{1,2,4}" if env.joins_queries else "{1,2,4,5}")
    client.query("insert into t values (5) on conflict do nothing")
    # A segment that is not ended by Sync keeps its backend and its snapshot.
    client.send(insert(7), flush())
    assert [client.read().type for _ in range(3)] == ["1", "2", "C"]
    other = background(env.raw().query, "select count(*) from t")
    if not env.pooled:
        assert other.join(5).rows == [("4",)]
    client.send(sync())
    client.results(1)
    assert other.join(5).rows in ([("4",)], [("5",)])
    turner.end()
