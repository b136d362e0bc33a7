"""What connect_query has set is learned once per server connection, before any client gets it."""

import re

from common import pooled

from harness import process, wire
from harness.scripted import Scripted
from harness.testing import cases

QUESTION = "SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings"
SET_CONFIG = re.compile(r"set_config\(E'(\w+)',E'(.*?)',false\)")


class Settings:
    """For on_query: keeps work_mem and the like as PostgreSQL would, and answers the question."""

    def __init__(self, question=None):
        self.question = question
        self.held = {}

    def __call__(self, backend, sql):
        held = self.held.setdefault(backend.number, {})
        if sql.startswith(QUESTION):
            if self.question is not None:
                return self.question(backend)
            backend.send(wire.rows_answer(*held.items(), names=("name", "setting")))
            return True
        if sql.startswith("show "):
            backend.send(wire.rows_answer((held.get(sql[5:], "usual"),)))
            return True
        for name, value in re.findall(r"set (\w+) = (\w+)", sql):
            held[name] = value
        for name, value in SET_CONFIG.findall(sql):
            held[name] = value
        for name in re.findall(r'RESET "(\w+)"|reset (\w+)', sql):
            held.pop(name[0] or name[1], None)
        if "RESET ALL" in sql or sql.lower() in ("reset all", "discard all"):
            held.clear()
        applied = tuple(value for _, value in SET_CONFIG.findall(sql))
        if applied:
            backend.send(wire.rows_answer(applied))
        return bool(applied)


def is_question(sql):
    return sql.startswith(QUESTION)


def test_asked_once_per_server_connection():
    settings = Settings()
    with pooled(Scripted(on_query=settings), pool_size=2,
                connect_query="set work_mem = big") as (server, daemon):
        with daemon.client() as one, daemon.client() as two:
            one.query("begin")
            two.query("begin")
            one.query("commit")
            two.query("commit")
            for _ in range(3):
                assert one.value("show work_mem") == two.value("show work_mem") == "big"
        assert len(server.backends) == 2
        for backend in server.backends:
            assert backend.queries[0] == "set work_mem = big" and is_question(backend.queries[1])
            assert sum(map(is_question, backend.queries)) == 1, backend.queries
            assert not any("set_config" in sql for sql in backend.queries)


def test_nothing_is_asked_without_connect_query():
    settings = Settings()
    with pooled(Scripted(on_query=settings)) as (server, daemon), daemon.client() as client:
        client.value("select 1")
        assert server.queries == ["select 1"], server.queries


def turn(daemon, holders):
    """Two connections, one of them held in a transaction: afterwards it is the other one."""
    taker = daemon.client()
    assert taker.query("begin").sqlstate is None
    if holders:
        assert holders.pop().query("commit").sqlstate is None
    holders.append(taker)


def test_the_next_client_has_the_base_again():
    with pooled(Scripted(on_query=Settings()), pool_size=2,
                connect_query="set work_mem = big") as (server, daemon):
        client, neighbour = daemon.client(), daemon.client()
        holders = []
        seen = set()
        for change, after in (("reset work_mem", "usual"), ("set work_mem = small", "small"),
                              ("reset all", "usual"), ("discard all", "usual"),
                              ("set work_mem = big", "big")):
            turn(daemon, holders)
            assert client.query(change).sqlstate is None
            for _ in range(3):
                assert client.value("show work_mem") == after, change
                seen.add(client.value("select pid"))
                assert neighbour.value("show work_mem") == "big", change
                with daemon.client() as newcomer:
                    assert newcomer.value("show work_mem") == "big", change
                turn(daemon, holders)
        assert len(seen) == len(server.backends) == 2, "no rotation"
        holders.pop().query("commit")


def fatal(backend):
    backend.send(wire.error("57P01", "terminating", "FATAL"))
    raise wire.Closed("said goodbye")


def closes(_):
    raise wire.Closed("closed")


def error(backend):
    backend.send(wire.error("42501", "permission denied for pg_settings"), wire.ready("I"))
    return True


def nonsense(backend):
    backend.send(wire.message("Y", b"?"))
    return True


def silence(_):
    return True


def open_transaction(backend):
    backend.send(wire.rows_answer(("work_mem", "big"), status="T"))
    return True


@cases(fatal=(fatal, "57P01"), closes=(closes, "08006"), error=(error, "42501"),
       nonsense=(nonsense, "08006"), silence=(silence, "08006"),
       open_transaction=(open_transaction, "08006"))
def test_a_question_without_an_answer_is_a_failed_login(question, sqlstate):
    with pooled(Scripted(on_query=Settings(question)), connect_query="set work_mem = big",
                pool_timeout="0.7", server_connect_timeout="0.2", server_login_retry="0.1"
                ) as (server, daemon):
        refusal = daemon.refused()
        assert refusal["C"] == sqlstate, refusal
        assert not any(sql.startswith("select") for sql in server.queries)
        process.wait_until(lambda: not server.open, "the connection is closed")
        daemon.wait_log("after connect_query|server_connect_timeout")
        # Once it answers all is well.
        server.on_query = Settings()
        process.wait_until(lambda: welcome(daemon), "a client is welcome")


def welcome(daemon):
    try:
        with daemon.client() as client:
            return client.value("show work_mem") == "big"
    except wire.ServerError:
        return False


def test_a_base_that_cannot_be_restored_costs_the_connection():
    settings = Settings()
    refuse = []

    def answer(backend, sql):
        if refuse and "set_config" in sql and backend.number == 0:
            backend.send(wire.error("42501", "permission denied to set parameter"),
                         wire.ready("I"))
            return True
        return settings(backend, sql)

    with pooled(Scripted(on_query=answer), connect_query="set work_mem = big") as (server, daemon):
        with daemon.client() as client, daemon.client() as other:
            client.query("reset work_mem")
            refuse.append(True)
            result = other.query("show work_mem")
            assert result.sqlstate == "42501", result
            for _ in range(3):
                assert other.value("show work_mem") == "big"
                assert client.value("show work_mem") == "usual"
        assert len(server.backends) == 2


def test_session_mode_makes_up_for_the_reset_query():
    settings = Settings()
    with pooled(Scripted(on_query=settings), pool_mode="session",
                connect_query="set work_mem = big") as (server, daemon):
        for _ in range(3):
            with daemon.client() as client:
                assert client.value("show work_mem") == "big"
                client.query("set work_mem = small")
                assert client.value("show work_mem") == "small"
        assert len(server.backends) == 1
        queries = server.backends[0].queries
        reset = queries.index("DISCARD ALL")
        assert queries[reset + 1] == "SELECT pg_catalog.set_config(E'work_mem',E'big',false)", queries
