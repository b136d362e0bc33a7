"""Settings with names of somebody's own: what following them costs, and what happens when a name cannot
be followed."""

import re

from common import pooled

from harness import wire
from harness.scripted import Scripted
from harness.testing import cases

QUESTION = "SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings"
ASKED = re.compile(r"unnest\(ARRAY\[(.*?)\]\)")


class Question:
    """For on_query: answers the question for the settings with what `held` has of the names asked for,
    by connection."""

    def __init__(self, hidden=()):
        self.hidden = hidden
        self.held = {}
        self.asked = []

    def __call__(self, backend, sql):
        held = self.held.setdefault(backend.number, {})
        if sql.startswith(QUESTION):
            match = ASKED.search(sql)
            names = re.findall(r"E'(.*?)'", match.group(1)) if match else []
            self.asked.append(names)
            for name in self.hidden:
                if name in names:
                    backend.send(wire.error("42501", f'must be superuser to examine "{name.upper()}"'), wire.ready())
                    return True
            rows = [(name, held[name]) for name in names if name in held]
            backend.send(wire.rows_answer(*rows, names=("name", "setting")))
            return True
        for name, value in re.findall(r"set (\w+\.\w+) = '(\w+)'", sql):
            held[name] = value
        for name, value in re.findall(r"set_config\(E'(.*?)',(?:E'(.*?)'|NULL),false\)", sql):
            held[name] = value
        return False


ORDINARY = [
    "set local app.tenant = 'x'", "SET LOCAL work_mem = '1MB'", "select set_config('app.tenant', 'x', true)",
    "update t set a = b.c where d = 'set app.tenant'", "insert into t values (1) on conflict (a) do update set b = 1",
    "select offset_set, dataset.n from dataset", "/* why */ set local app.tenant to 'x'",
]


@cases(simple="simple", unnamed="unnamed", named="named")
def test_ordinary_statements_ask_nothing(protocol):
    """The usual transaction of one tenant, again and again."""
    with pooled(Scripted(on_query=Question())) as (server, daemon), daemon.client() as client:
        sent = []
        for number, sql in enumerate(["begin", *ORDINARY, "commit"] * 2):
            if protocol == "simple":
                got = client.query(sql)
            else:
                name = f"s{number}" if protocol == "named" else ""
                got = client.ask(wire.parse(sql, name), wire.bind((), name), wire.execute(), wire.sync())
            assert got.error is None, got.error
            sent.append(sql)
        assert server.queries == sent
        got = client.query("begin; set local app.tenant = 'x'; select 1; commit")
        assert got.error is None
        assert not any(sql.startswith(QUESTION) for sql in server.queries)


def test_one_question_and_only_then_a_difference():
    question = Question()
    with pooled(Scripted(on_query=question)) as (server, daemon), daemon.client() as one, daemon.client() as two:
        for _ in range(3):
            assert one.value("select 'one'") == "select 'one'"
        one.query("set app.tenant = 'seven'")
        for _ in range(3):
            one.value("select 'again'")
        assert question.asked == [["app.tenant"]], question.asked
        assert not any("set_config" in sql for sql in server.queries)
        two.value("select 'two'")
        assert [sql for sql in server.queries if "set_config" in sql] == ["SELECT pg_catalog.set_config(E'app.tenant',NULL,false);"]
        one.value("select 'one'")
        assert server.queries[-2:] == ["SELECT pg_catalog.set_config(E'app.tenant',E'seven',false)", "select 'one'"]
        two.query("set Other.Name = 'x'")
        two.value("select 'two'")
        assert question.asked[1:] == [["app.tenant", "other.name"]]


def test_a_name_that_may_not_be_read_is_asked_for_once():
    question = Question(hidden=("ext.secret",))
    with pooled(Scripted(on_query=question)) as (_, daemon), daemon.client() as one, daemon.client() as two:
        assert one.query("set app.tenant = 'x'; set ext.secret = 'y'").error is None
        one.value("select 'one'")  # the second question comes after it
        one.value("select 'one'")
        assert question.asked == [["app.tenant", "ext.secret"], ["app.tenant"]]
        assert two.query("set work_mem = '5MB'").error is None
        assert one.query("set ext.secret = 'z'").error is None
        one.value("select 'one'")
        assert question.asked[2:] == [["app.tenant"]] * 2
        assert one.value("select 1") and two.value("select 1")


@cases(query="query", function="function")
def test_what_was_not_read_keeps_the_connection(kind):
    """A text that is passed on before all of it is here; set_config by its number."""
    def on_message(backend, got):
        if got.type != "F":
            return False
        backend.send(wire.message("V", b"\xff\xff\xff\xff"), wire.ready())
        return True
    with pooled(Scripted(on_query=Question(), on_message=on_message), pool_size=2) as (_, daemon), \
            daemon.client() as one, daemon.client() as two:
        one.query("begin")
        if kind == "query":
            assert one.query("set x.y = 'z' /* " + "long " * 800000 + " */; set a.b = 'c'").error is None
        else:
            one.send(wire.message("F", (2078).to_bytes(4, "big") + bytes(6)))
            one.expect("V")
            one.expect("Z")
        one.query("commit")
        mine = one.value("select pid")
        for _ in range(3):
            assert two.value("select pid") != mine
            assert one.value("select pid") == mine
        assert one.query("discard all").error is None
        assert one.value("select pid")
        with daemon.client() as three:
            three.query("begin")
            two.query("begin")
            assert {three.value("select pid"), two.value("select pid")} >= {mine}, "the connection was not given back"
            three.query("commit")
            two.query("commit")
