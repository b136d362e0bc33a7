"""Prepared statements under forced rotation: names belong to the client."""
from harness import wire
from harness.wire import batch, bind, close, describe, execute, flush, parse, query, sync
from support import Noise, Turner, pool


def use(name, *values):
    return bind(values, name) + describe() + execute() + sync()


def rows(result):
    assert result.error is None, result.error
    return result.rows


def closed_by(turner, *clients):
    turner.end()
    for client in clients:
        client.send(wire.terminate())


@pool(pool_size=2, auth="trust")
def test_same_names_with_different_text(env):
    """C3-01, C3-11: two clients, the same names, each sees its own, on whatever backend."""
    one, two = env.raw(), env.raw()
    turner = Turner(env)
    for client, word in ((one, "one"), (two, "two")):
        for name in ("s0", "s1", "__asyncpg_stmt_1__"):
            assert client.ask(parse(f"select '{word} {name}', $1::int", name), sync()).types == "1Z"
        turner.turn()
    for number in range(6):
        for client, word in ((one, "one"), (two, "two")):
            for name in ("s0", "s1", "__asyncpg_stmt_1__"):
                assert rows(client.ask(use(name, str(number)))) == [(f"{word} {name}", str(number))]
            turner.turn()
    closed_by(turner, one, two)


@pool(pool_size=2, auth="trust")
def test_described_then_bound_on_another_backend(env):
    """C3-02, C3-08, C3-10, C3-33: Parse+Describe+Flush, Sync, other traffic, Describe and Bind later."""
    client = env.raw()
    turner = Turner(env)
    for name in ("", "later"):
        client.send(parse("select $1::int + 1, 'x'::text", name), describe("S", name), flush())
        got = [client.read() for _ in range(3)]
        assert "".join(message.type for message in got) == "1tT", got
        assert client.ask(sync()).types == "Z"
        turner.turn()
        again = client.ask(describe("S", name), sync())
        assert again.types == "tTZ" and again.messages[1] == got[2], again
        turner.turn()
        assert rows(client.ask(use(name, "41"))) == [("42", "x")]
        turner.turn()
        assert rows(client.ask(use(name, "1"))) == [("2", "x")]
    closed_by(turner, client)


@pool(pool_size=2, auth="trust")
def test_names_of_any_kind(env):
    """C3-07: digits only, one letter, quotes, spaces, as long as PostgreSQL tells apart."""
    client, other = env.raw(), env.raw()
    turner = Turner(env)
    names = ["0", "1", "S_1", "pgweir", "%s", "it's", 'quo"ted', " ", "é", "a" * 62, "a" * 63, "b" * 3000]
    for number, name in enumerate(names):
        assert client.ask(parse(f"select {number}", name), sync()).error is None
        assert other.ask(parse(f"select {-number}", name), sync()).error is None
        turner.turn()
    for number, name in enumerate(names):
        assert rows(client.ask(use(name))) == [(str(number),)], name
        assert rows(other.ask(use(name))) == [(str(-number),)], name
        turner.turn()
    closed_by(turner, client, other)


@pool(pool_size=2, auth="trust")
def test_names_longer_than_postgresql_tells_apart(env):
    """C3-07: PostgreSQL looks at the first 63 bytes of a name, through the pooler too."""
    client, reference = env.raw(), env.reference()
    turner = Turner(env)
    name = "a" * 63
    for messages in ((parse("select 1", name + "1"), sync()), (parse("select 2", name + "2"), sync()), (use(name),),
                     (use(name + "3"),), (close("S", name + "4"), sync()), (use(name + "1"),)):
        expected, got = reference.ask(*messages), client.ask(*messages)
        assert expected.messages == got.messages, (expected, got)
        turner.turn()
    closed_by(turner, client)


@pool(pool_size=2, auth="trust")
def test_transaction_control_by_named_statements(env):
    """C3-06, C3-42, C3-43: BEGIN, SAVEPOINT, ROLLBACK TO and COMMIT as named statements."""
    clients = [env.raw(), env.raw()]
    turner = Turner(env)
    clients[0].query("create table kept (n int primary key)")
    for client in clients:
        for name in ("begin", "commit", "rollback", "savepoint a", "rollback to a"):
            assert client.ask(parse(name, name), sync()).types == "1Z"
    for number in range(4):
        for which, client in enumerate(clients):
            key = str(10 * number + which)
            turner.turn()
            assert client.ask(use("begin")).status == "T"
            assert client.prepared("insert into kept values ($1)", [key]).status == "T"
            assert client.ask(use("savepoint a")).status == "T"
            assert client.prepared("insert into kept values ($1)", [key]).sqlstate == "23505"
            assert client.ask(use("commit")).status == "I" if number == 3 else client.ask(use("rollback to a")).status == "T"
            assert client.ask(use("rollback" if number == 2 else "commit")).status == "I"
    assert clients[0].value("select array_agg(n order by n) from kept") == "{0,1,10,11}"
    closed_by(turner, *clients)
    env.assert_no_open_transaction()


@pool(pool_size=2, auth="trust")
def test_deallocate_all_is_the_clients_own(env):
    """C3-12: DEALLOCATE ALL or DISCARD ALL of one client, statements of the other go on."""
    one, two = env.raw(), env.raw()
    turner = Turner(env)
    for command in ("deallocate all", "discard all", "DEALLOCATE PREPARE ALL", "discard all;"):
        for client, word in ((one, "one"), (two, "two")):
            client.ask(close("S", "kept"), parse(f"select '{word}', $1::int", "kept"), sync())
            assert rows(client.ask(use("kept", "1"))) == [(word, "1")]
        turner.turn()
        assert one.query(command).error is None
        for number in range(3):
            assert rows(two.ask(use("kept", str(number)))) == [("two", str(number))]
            assert one.ask(use("kept", "1")).sqlstate == "26000"
            turner.turn()
    closed_by(turner, one, two)


@pool(pool_size=2, auth="trust")
def test_deallocate_all_then_parse_in_one_pipeline(env):
    """C3-13: the clean-up at CommandComplete must not take the statement parsed after it."""
    client = env.raw()
    turner = Turner(env)
    for command in ("deallocate all", "discard all", "deallocate all; select 1"):
        client.ask(close("S", "old"), close("S", "new"), parse("select 'old'", "old"), sync())
        turner.turn()
        client.send(query(command), parse("select 'new'", "new"), sync(), use("new"))
        results = client.results(3)
        assert results[0].error is None and results[1].types == "1Z" and rows(results[2]) == [("new",)], results
        turner.turn()
        assert rows(client.ask(use("new"))) == [("new",)]
        assert client.ask(use("old")).sqlstate == "26000"
        turner.turn()
        # The same by the extended protocol, all of it before one Sync.
        if ";" in command or command.startswith("discard"):
            continue
        client.send(parse(command), bind(), execute(), parse("select 'newer'", "newer"), bind([], "newer"), execute(), sync())
        result = client.results(1)[0]
        assert rows(result) == [("newer",)], result
        turner.turn()
        assert rows(client.ask(use("newer"))) == [("newer",)]
        assert client.ask(use("new")).sqlstate == "26000"
    closed_by(turner, client)


@pool(pool_size=2, auth="trust")
def test_deallocate_by_sql_of_a_protocol_name(env):
    """C3-14, C3-18: SQL DEALLOCATE finds what Parse made, in and out of transactions; afterwards
    Bind fails with 26000; a name that is unknown is PostgreSQL's error, with the client's name in it."""
    client, other = env.raw(), env.raw()
    turner = Turner(env)
    other.ask(parse("select 'other'", "pdo_stmt_1"), sync())
    for text in ("deallocate pdo_stmt_1", 'DEALLOCATE PREPARE "pdo_stmt_1"', "/* x */ deallocate Pdo_Stmt_1;"):
        for inside in (False, True):
            assert client.ask(parse("select 'mine'", "pdo_stmt_1"), sync()).types == "1Z"
            turner.turn()
            if inside:
                client.query("begin")
            assert rows(client.ask(use("pdo_stmt_1"))) == [("mine",)]
            assert client.query(text).tags == ["DEALLOCATE"]
            gone = client.ask(use("pdo_stmt_1"))
            assert gone.sqlstate == "26000" and '"pdo_stmt_1"' in gone.error["M"], gone
            if inside:
                assert gone.status == "E"
                client.query("rollback")
            turner.turn()
            again = client.query(text)
            assert again.sqlstate == "26000" and again.status == "I", again
            assert rows(other.ask(use("pdo_stmt_1"))) == [("other",)]
    closed_by(turner, client, other)


@pool(pool_size=2, auth="trust")
def test_sql_and_protocol_share_one_namespace(env):
    """C3-15: PREPARE by SQL then Bind by protocol, and the reverse; duplicates either way 42P05."""
    client, other = env.raw(), env.raw()
    turner = Turner(env)
    assert client.query("prepare by_sql(int) as select $1 * 2 as a, 'sql' as b").tags == ["PREPARE"]
    turner.turn(0.3)
    assert rows(client.ask(use("by_sql", "21"))) == [("42", "sql")]
    turner.turn(0.3)
    assert rows(client.query("execute by_sql(4)")) == [("8", "sql")]
    assert client.ask(parse("select 1", "by_sql"), sync()).sqlstate == "42P05"
    client.ask(parse("select $1::int + 1", "by_protocol"), sync())
    turner.turn(0.3)
    assert rows(client.query("execute by_protocol(6)")) == [("7",)]
    assert client.query("prepare by_protocol as select 1").sqlstate == "42P05"
    turner.turn(0.3)
    assert rows(client.query("explain (costs off) execute by_sql(4)"))[0][0].startswith("Result")
    assert client.query("create table made as execute by_sql(5)").error is None
    turner.turn(0.3)
    assert rows(client.query("select * from made")) == [("10", "sql")]
    turner.release()
    assert other.query("execute by_sql('x')").sqlstate == "26000"
    assert client.query("select name from pg_prepared_statements order by 1").rows == [("by_protocol",), ("by_sql",)] or env.pooled
    closed_by(turner, client, other)


@pool(pool_size=4, auth="trust")
def test_sql_prepare_of_several_clients(env):
    """Three clients give the same names to different statements, by SQL and by protocol, beside others
    that take whatever server connection is left; what one deallocates the others still have."""
    clients = [env.raw() for _ in range(3)]
    other = env.raw()
    with Noise(env):
        for turn in range(4):
            for number, client in enumerate(clients):
                assert client.query(f"prepare by_sql(int) as select $1 + {number}, 'sql {number} {turn}'").tags == ["PREPARE"]
                assert client.ask(parse(f"select $1::text || ' {number} {turn}'", "by_protocol"), sync()).types == "1Z"
            for value in range(5):
                for number, client in enumerate(clients):
                    assert rows(client.query(f"execute by_sql({value})")) == [(str(value + number), f"sql {number} {turn}")]
                    assert rows(client.ask(use("by_sql", str(value)))) == [(str(value + number), f"sql {number} {turn}")]
                    assert rows(client.query("execute by_protocol('p')")) == [(f"p {number} {turn}",)]
                    assert rows(client.ask(use("by_protocol", "q"))) == [(f"q {number} {turn}",)]
                assert other.query("execute by_sql(1)").sqlstate == "26000"
                assert other.ask(use("by_protocol", "q")).sqlstate == "26000"
            for number, client in enumerate(clients):
                for text in ["deallocate all"] if turn % 2 else ["deallocate by_sql", "deallocate by_protocol"]:
                    assert client.query(text).error is None
                assert client.query("execute by_sql(1)").sqlstate == "26000"
                assert client.ask(use("by_protocol", "q")).sqlstate == "26000"
                for left in range(number + 1, 3):
                    assert rows(clients[left].query("execute by_sql(1)")) == [(str(1 + left), f"sql {left} {turn}")]
    for client in (*clients, other):
        client.send(wire.terminate())
        client.close()
    # Nothing of it is left on any server connection.
    holders = [env.raw() for _ in range(env.limit)]
    for holder in holders:
        assert holder.query("begin").error is None
        assert holder.query("execute by_sql(1)").sqlstate == "26000"
    env.closing.close()
    env.assert_no_open_transaction()


@pool(pool_size=2, auth="trust")
def test_duplicate_parse(env):
    """C3-17: Parse of a name in use is 42P05 as from PostgreSQL, costs nothing but its batch; the
    unnamed statement may be parsed as often as one likes; a closed name is free again."""
    client = env.raw()
    turner = Turner(env)
    assert client.ask(parse("select 1", "twice"), sync()).types == "1Z"
    for text in ("select 1", "select 2"):
        turner.turn()
        refused = client.ask(parse(text, "twice"), bind([], "twice"), execute(), sync())
        assert refused.types == "EZ" and refused.error["C"] == "42P05", refused
        assert refused.error["M"] == 'prepared statement "twice" already exists', refused
        assert rows(client.ask(use("twice"))) == [("1",)]
    for number in range(3):
        assert client.ask(parse(f"select {number}"), sync()).types == "1Z"
        turner.turn()
    assert rows(client.ask(use(""))) == [("2",)]
    assert client.ask(close("S", "twice"), parse("select 'anew'", "twice"), sync()).types == "31Z"
    turner.turn()
    assert rows(client.ask(use("twice"))) == [("anew",)]
    assert client.ask(parse("selec", "broken"), sync()).sqlstate == "42601"
    turner.turn()
    assert client.ask(parse("select 'now right'", "broken"), sync()).types == "1Z"
    assert rows(client.ask(use("broken"))) == [("now right",)]
    closed_by(turner, client)


@pool(pool_size=2, auth="trust", max_prepared_statements=10)
def test_eviction_closes_on_the_backend(env):
    """C3-19: what the pooler evicts is closed on the backend: the count stays at the limit."""
    client = env.raw()
    turner = Turner(env)
    for number in range(60):
        assert client.ask(parse(f"select {number} + $1::int", f"n{number}"), use(f"n{number}", "1")).error is None
        if number % 5 == 0:
            turner.turn()
    if env.pooled:
        for _ in range(2):
            assert int(client.value("select count(*) from pg_prepared_statements")) <= 10
            turner.turn()
    for number in range(0, 60, 7):
        assert rows(client.ask(use(f"n{number}", "1"))) == [(str(number + 1),)]
        turner.turn()
    closed_by(turner, client)


@pool(pool_size=2, auth="trust", max_prepared_statements=1)
def test_more_statements_in_a_batch_than_the_backend_keeps(env):
    """C3-35, C3-36: never evicted inside an open batch, nor between Parse and a buffered Bind."""
    clients = [env.raw(), env.raw()]
    turner = Turner(env)
    for turn in range(4):
        for which, client in enumerate(clients):
            pieces = []
            for number in range(5):
                name = f"b{number}"
                pieces += [close("S", name), parse(f"select {100 * which + number + turn}, $1::text", name), describe("S", name)]
                if number % 2:
                    pieces.append(flush())
            for number in reversed(range(5)):
                pieces += [bind([f"v{number}"], f"b{number}", f"p{number}")]
            for number in range(5):
                pieces += [execute(f"p{number}")]
            result = client.ask(*pieces, sync())
            assert rows(result) == [(str(100 * which + number + turn), f"v{number}") for number in range(5)]
            assert result.types == "31tT" * 5 + "2" * 5 + "DC" * 5 + "Z", result.types
            turner.turn()
    closed_by(turner, *clients)


@pool(pool_size=2, auth="trust")
def test_error_at_each_message_of_a_batch(env):
    """C3-22: wherever a batch fails, the next client's first reply is its own."""
    client, next_client = env.raw(), env.raw()
    turner = Turner(env)
    good = [parse("select $1::int", "g"), bind(["1"], "g"), describe(), execute()]
    bad = {
        "parse": [parse("selec", "x")] + good,
        "parse unknown table": good + [parse("select * from nowhere", "x"), bind([], "x"), execute()],
        "bind unknown": good + [bind([], "never"), describe(), execute()],
        "bind count": [parse("select $1::int", "x"), bind([], "x"), execute()],
        "bind value": [parse("select $1::int", "x"), bind(["word"], "x"), execute()],
        "describe statement": [describe("S", "never")] + good,
        "describe portal": good + [describe("P", "never")],
        "execute portal": good + [execute("never")],
        "execute": [parse("select 1/$1::int", "x"), bind(["0"], "x"), execute()] + good,
        "second row": [parse("select 10/(3-n) from generate_series(1,5) n", "x"), bind([], "x"), describe(), execute()] + good,
    }
    reference = env.reference()
    for title, messages in bad.items():
        for pinned in (False, True):
            if pinned:
                client.query("begin")
                reference.query("begin")
            sent = [close("S", "g"), close("S", "x"), *messages, sync()]
            expected, got = reference.ask(*sent), client.ask(*sent)
            assert [m for m in expected.messages if m.type != "T"] == [m for m in got.messages if m.type != "T"], (title, expected, got)
            if pinned:
                assert got.status == "E"
                client.query("rollback")
                reference.query("rollback")
            reply = next_client.ask(batch("select $1::text", [title], "mine" if pinned else ""), close("S", "mine"), sync())
            assert reply.rows == [(title,)], (title, reply)
            next_client.results(1)
            turner.turn()
            assert client.value("select 'own reply'") == "own reply", title
            turner.turn()
    closed_by(turner, client, next_client)


@pool(pool_size=2, auth="trust")
def test_client_killed_after_parse(env):
    """C3-37: a client dies before its Sync; the same text under the same name works for the next."""
    turner = Turner(env)
    for number in range(8):
        victim = env.raw()
        pieces = [parse("select 'shared text', $1::int", "shared"), bind(["1"], "shared"), describe(), execute(), sync()]
        victim.send(*pieces[:1 + number % 4], *([flush()] if number % 2 else []))
        if number % 2:
            victim.read()
        victim.reset() if number % 3 else victim.close()
        for _ in range(3):
            client = env.raw()
            assert rows(client.prepared("select 'shared text', $1::int", ["5"], "shared")) == [("shared text", "5")]
            turner.turn()
            assert rows(client.ask(use("shared", "6"))) == [("shared text", "6")]
            client.send(wire.terminate())
            client.close()
    turner.end()
    env.assert_no_open_transaction()


@pool(pool_size=2, auth="trust", pool_mode="session")
def test_session_mode_keeps_statements_as_they_are(env):
    """C3-23: in session mode the client keeps its backend, its names are the backend's."""
    client = env.raw()
    client.ask(parse("select 1", "kept"), sync())
    pid = client.value("select pg_backend_pid()")
    for _ in range(3):
        assert client.value("select pg_backend_pid()") == pid
        assert client.query("select name from pg_prepared_statements").rows == [("kept",)] or env.pooled
        assert rows(client.ask(use("kept"))) == [("1",)]
    client.query("set work_mem = '7MB'")
    client.query("create temp table mine (n int)")
    client.send(wire.terminate())
    client.close()
    others = [env.raw() for _ in range(2)]
    for other in others:
        assert other.value("show work_mem") == "4MB"
        assert other.query("select * from mine").sqlstate == "42P01"
        assert other.ask(use("kept")).sqlstate == "26000"
        assert other.ask(parse("select 2", "kept"), sync()).types == "1Z"


@pool(pool_size=2, auth="trust")
def test_mode_of_one_user(env):
    """C3-24: a user of [users] with another pool_mode keeps its statements and its backend."""
    if env.against == "pgweir":
        env.pooler.sections += "[users]\nsecond = pool_mode=session\n"
        env.pooler.settings["auth_type"] = "trust"
        env.pooler.write()
        env.pooler.reload()
    if env.direct:
        return
    own, shared = env.raw("second"), env.raw()
    own.ask(parse("select 'own', pg_backend_pid()", "kept"), sync())
    shared.ask(parse("select 'shared'", "kept"), sync())
    pids = set()
    for _ in range(4):
        pids.add(rows(own.ask(use("kept")))[0])
        assert rows(shared.ask(use("kept"))) == [("shared",)]
    assert len(pids) == 1, "a session-mode user was moved"
