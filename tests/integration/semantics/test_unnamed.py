"""The unnamed statement kept over transactions, while somebody else changes what it reads: each answer
as on a direct connection, on whatever server connection the client meets. And names that are the
pooler's own."""
import asyncio

import asyncpg
from differential import compare, plain, readable
from harness.wire import bind, close, copy_data, copy_done, describe, execute, parse, query, sync, terminate
from support import Skip, Turner, pool

MADE = "drop table if exists facts; create table facts (n int, t text); insert into facts values (1, '5'), (2, '6')"
ALL, ONE, BARE = "select * from facts", "select t, $1::int from facts where n = $1::int", "select t from facts where n = $1"

TOLD = [parse(ALL), describe("S"), sync()]
USED = [bind(), execute(), sync()]
USED_TOLD = [bind(), describe(), execute(), sync()]

# What is done to the table between two batches; with the undoing of it.
CHANGES = {
    "type": ("alter table facts alter t type int using t::int", "alter table facts alter t type text"),
    "more": ("alter table facts add column more int default 7", "alter table facts drop column more"),
    "less": ("alter table facts drop column t", "alter table facts add column t text"),
    "name": ("alter table facts rename t to u", "alter table facts rename u to t"),
    "length": ("alter table facts alter t type varchar(9)", "alter table facts alter t type text"),
    "table": ("drop table facts", MADE),
    "anew": (MADE, "analyze facts"),
    "index": ("create index on facts (n)", "drop index facts_n_idx"),
}

# Batches of one client; `change` and `back` are made by another between two of them.
FLOWS = {
    "described": [TOLD, "change", USED, USED, "back", USED, USED_TOLD],
    "described twice": [TOLD, "change", [describe("S"), sync()], USED, "back", [describe("S"), sync()], USED],
    "only parsed": [[parse(ALL), sync()], "change", USED_TOLD, [describe("S"), sync()], "back", USED_TOLD],
    "parsed with others": [[parse("select 'other'", "other"), parse(ALL), bind([], "other"), execute(), sync()],
                           "change", USED, "back", USED, [close("S", "other"), sync()]],
    "used and told": [[parse(ALL), *USED_TOLD], "change", USED, "back", USED],
    "used by a named portal": [[parse(ALL), bind([], "", "p"), describe("P", "p"), execute("p", 1), sync()], "change", USED, "back", USED],
    "parsed anew": [TOLD, "change", TOLD, USED, "back", USED, TOLD, USED],
    "several in a batch": [TOLD, "change", [bind(), execute(), bind(), execute(), sync()], "back", [bind(), execute(), bind(), execute(), sync()]],
    "several batches at once": [TOLD, "change", USED + USED, "back", USED + USED_TOLD],
    "parameter": [[parse(ONE), describe("S"), sync()], "change", [bind(["1"]), execute(), sync()], "back", [bind(["2"]), *USED[1:]]],
    "parameter only parsed": [[parse(ONE), sync()], "change", [bind(["1"]), execute(), sync()], "back", [bind(["2"]), *USED[1:]]],
    "parameter of a known type": [[parse(BARE, "", [23]), describe("S"), sync()], "change", [bind(["1"]), execute(), sync()], "back",
                                  [bind(["2"]), execute(), sync()]],
    "in a transaction": [[parse("begin", "begin"), parse("rollback", "rollback"), sync()], TOLD, "change",
                         [bind([], "begin"), execute(), sync(), *USED], USED, [bind([], "rollback"), execute(), sync()], "back",
                         [bind([], "begin"), execute(), sync(), *USED], [bind([], "rollback"), execute(), sync()],
                         [close("S", "begin"), close("S", "rollback"), sync()]],
    "refused behind others": [TOLD, "change", [parse("select 1", "first"), bind([], "first", "p"), execute("p"), *USED], USED,
                              [close("S", "first"), sync()], "back", USED],
    "closed": [TOLD, "change", [close("S"), sync()], USED, "back", USED],
    "lost to a query": [TOLD, "change", [query("select 'query'")], USED, "back", USED],
    "a Parse that fails": [TOLD, "change", [parse("select nothing"), sync()], USED, "back", TOLD, USED],
    "a Parse that fails before another": [[parse("select nothing"), sync(), parse(ALL), describe("S"), sync()], USED, "change", USED, "back", USED],
}


class Pair:
    """A client through the pooler and one of PostgreSQL itself, in two databases alike, whose answers
    are the same. Outside of transactions the former meets another backend in each batch."""

    def __init__(self, env):
        self.reference, self.client = env.reference(), env.raw()
        self.databases = [env.admin(), env.admin(env.dbname + "reference")]
        self.turner = Turner(env)
        self.pooled = env.pooled
        self.clients = (self.reference, self.client)
        for client in self.clients:
            assert client.ask(parse("select pg_backend_pid()", "pid"), sync()).error is None

    def change(self, text):
        for database in self.databases:
            database.execute(text)

    def pid(self, client):
        return client.ask(bind([], "pid"), execute(), sync()).value

    def move(self):
        before = self.pid(self.client)
        self.turner.turn()
        assert not self.pooled or self.pid(self.client) != before, "the client met the same backend"

    def ask(self, batch, title):
        count = sum(piece[:1] in b"SQ" for piece in batch)
        answers = []
        for client in self.clients:
            client.send(*batch)
            messages = [plain(message) for result in client.results(count) for message in result.messages]
            # PostgreSQL tells of the parameters before it finds that the rows are no longer the same.
            answers.append([message for message, following in zip(messages, messages[1:] + [None])
                            if message.type != "t" or following.type != "E"])
        compare(*answers, batch, f"{title}: {readable(batch)}")
        return answers[0]

    def play(self, flow, change, title):
        status, errors = b"I", []
        self.change(MADE)
        for step in flow:
            if isinstance(step, str):
                self.change(change[step == "back"])
                continue
            if status == b"I":
                self.move()
            answer = self.ask(step, title)
            status = answer[-1].body
            errors += [message.fields["C"] for message in answer if message.type == "E"]
        return errors

    def end(self):
        self.turner.end()
        for client in self.clients:
            client.send(terminate())


@pool(pool_size=2, auth="trust", seconds=120)
def test_kept_while_the_table_changes(env):
    """What PostgreSQL refuses is refused, and nothing else, wherever the client is."""
    pair = Pair(env)
    seen = {}
    for flow_name, flow in FLOWS.items():
        for change_name, change in CHANGES.items():
            for code in pair.play(flow, change, f"{flow_name}, {change_name}"):
                seen[code] = seen.get(code, 0) + 1
    assert seen["0A000"] > 50 and seen["42P01"] > 10 and seen["26000"] > 4, seen
    pair.end()


@pool(pool_size=2, auth="trust")
def test_kept_though_it_was_used_at_once(env):
    """Parse, Bind and Execute in one batch: nobody asked what it gives. The client that binds it later,
    on another backend, may be answered where PostgreSQL refuses, once; from then on all is the same."""
    pair = Pair(env)
    first, later = [parse(ALL), *USED], [bind(), execute(), sync()]
    pair.change(MADE)
    pair.move()
    pair.ask(first, "before")
    pair.move()
    pair.ask(later, "nothing has changed")
    for flow in ([first, "change", later, "back", later], [first, later, "change", later, "back", later]):
        for name, change in CHANGES.items():
            pair.play(flow, change, f"from then on, {name}")
    pair.end()


@pool(pool_size=2, auth="trust")
def test_copy_behind_a_parse(env):
    """Nothing of ours gets among the data of a COPY."""
    pair = Pair(env)
    pair.change(MADE)
    copy = [parse("copy facts from stdin", "copy"), sync()]
    pair.ask(copy, "copy")
    for start in ([parse(ALL), bind([], "copy"), execute()], [parse("copy facts from stdin"), bind(), execute()]):
        for kept in (False, True):
            pair.move()
            if kept:
                pair.ask([parse(ALL), *USED], "kept")
                pair.move()
                pair.ask(USED, "kept")
                pair.move()
            pair.ask([*start, copy_data("3\tthree\n"), copy_done(), sync()], "copy")
    assert pair.client.value("select count(*) from facts") == "6"
    pair.end()


class Interrupted(asyncpg.Connection):
    """Does something between the round trip that prepares and the one that executes."""

    between = None

    async def _get_statement(self, *arguments, **options):
        statement = await super()._get_statement(*arguments, **options)
        if Interrupted.between is not None:
            await Interrupted.between()
        return statement


class EndsBatches:
    """Stands before the target. asyncpg used to end the round trip that prepares by Sync, as other drivers
    still do, and ends it by Flush now, which keeps the batch open: the Flush becomes a Sync again, whose
    answer is kept from asyncpg."""

    def __init__(self, port):
        self.port = port
        self.owed = self.changed = 0
        self.tasks = []

    async def start(self):
        self.server = await asyncio.start_server(self.connected, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def connected(self, reader, writer):
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self.port)
        startup = await reader.readexactly(4)
        behind_writer.write(startup + await reader.readexactly(int.from_bytes(startup, "big") - 4))
        self.tasks += [asyncio.ensure_future(self.pump(reader, behind_writer, self.to_server)),
                       asyncio.ensure_future(self.pump(behind_reader, writer, self.to_client))]

    async def pump(self, reader, writer, change):
        try:
            while True:
                head = await reader.readexactly(5)
                writer.write(change(head + await reader.readexactly(int.from_bytes(head[1:], "big") - 4)))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def to_server(self, message):
        if message[:1] != b"H":
            return message
        self.owed += 1
        self.changed += 1
        return sync()

    def to_client(self, message):
        if message[:1] != b"Z" or self.owed == 0:
            return message
        self.owed -= 1
        return b""

    async def stop(self):
        self.server.close()
        await asyncio.gather(*self.tasks)


@pool(pool_size=2)
def test_asyncpg_between_prepare_and_execute(env):
    """statement_cache_size=0: prepared in one round trip and executed in the next, possibly elsewhere."""
    if tuple(int(part) for part in asyncpg.__version__.split(".")[:2]) >= (0, 30):
        raise Skip("asyncpg 0.30 reads rows by the older description, directly too")
    admin = env.admin()
    turner = Turner(env)

    async def one(connection, name, change):
        pids, calls = [], []

        async def between():
            calls.append(change)
            if len(calls) == 1:
                await asyncio.to_thread(admin.execute, change)
            await asyncio.to_thread(turner.turn)

        admin.execute(MADE)
        Interrupted.between = between
        if name == "table":
            try:
                await connection.fetch(ALL)
                raise AssertionError("a table that is gone was read")
            except asyncpg.UndefinedTableError:
                pass
        else:
            got = await connection.fetch(ALL)
            expected = admin.execute(ALL)
            assert list(got[0].keys()) == [column.name for column in expected.description], (name, got)
            assert [tuple(row) for row in got] == expected.fetchall(), (name, got)
        # asyncpg prepares again when it is told that the result has changed.
        assert len(calls) == (1 if name in ("table", "anew", "index") else 2), (name, calls)
        Interrupted.between = None
        for _ in range(2):
            pids.append(await connection.fetchval("select pg_backend_pid()"))
            await asyncio.to_thread(turner.turn)
        assert not env.pooled or len(set(pids)) == 2, pids

    async def main():
        front = EndsBatches(env.port)
        connection = await asyncpg.connect(host="127.0.0.1", port=await front.start(), user=env.user, password=env.password,
                                           database=env.dbname, statement_cache_size=0, connection_class=Interrupted, ssl=False)
        for name, (change, _) in CHANGES.items():
            await one(connection, name, change)
        assert front.changed > 2 * len(CHANGES), f"{front.changed}: nothing was kept over a Sync"
        await connection.close()
        await front.stop()

    asyncio.run(main())
    turner.end()
    env.assert_no_open_transaction()


@pool(pool_size=2, auth="trust")
def test_names_of_the_pooler_itself(env):
    """A name under which the pooler keeps somebody's statement means nothing to another client."""
    reference, client, other = env.reference(), env.raw(), env.raw()
    turner = Turner(env)
    assert other.ask(parse("select 'secret', $1::int", "own"), sync()).types == "1Z"
    names = ["pgweir.none", "pgweir.taken", "pgweir.", "pgweir.0", "pgweir.1"]
    for _ in range(2):
        turner.turn()
        assert other.ask(bind(["1"], "own"), execute(), sync()).rows == [("secret", "1")]
        held = [row[0] for row in client.query("select name from pg_prepared_statements").rows]
        assert not env.pooled or any(name.startswith("pgweir.") for name in held), held
        parses = [client.query("select count(*) from pg_prepared_statements").value]
        for name in names + held:
            if not env.pooled:
                continue
            for batch in ([bind(["1"], name), execute(), sync()], [describe("S", name), sync()], [close("S", name), sync()],
                          [close("S", name), bind(["1"], name), sync(), close("S", name), sync()]):
                count = sum(piece[:1] == b"S" for piece in batch)
                reference.send(*batch)
                client.send(*batch)
                expected, got = reference.results(count), client.results(count)
                assert [r.messages for r in expected] == [r.messages for r in got], (name, expected, got)
        # They are all still there.
        parses.append(client.query("select count(*) from pg_prepared_statements").value)
        assert parses[0] == parses[1], parses
        assert other.ask(bind(["2"], "own"), execute(), sync()).rows == [("secret", "2")]
    # A client may use such names for its own, like any other.
    for name in names + held:
        if name.startswith("pgweir."):
            for answering in (reference, client):
                assert answering.ask(parse(f"select '{name}'", name), sync()).types == "1Z"
            turner.turn()
            assert client.ask(bind([], name), execute(), sync()).rows == [(name,)]
            for batch in ([describe("S", name), sync()], [parse("select 2", name), sync()], [close("S", name), sync()],
                          [bind([], name), sync()]):
                expected, got = reference.ask(*batch), client.ask(*batch)
                assert [plain(m) for m in expected.messages] == [plain(m) for m in got.messages], (name, expected, got)
            turner.turn()
            assert other.ask(bind(["3"], "own"), execute(), sync()).rows == [("secret", "3")]
    turner.end()
    for answering in (reference, client, other):
        answering.send(terminate())
