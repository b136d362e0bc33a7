"""The extended protocol: batches, pipelines, names, errors, and what is shared meanwhile."""

import threading
import time

from common import pooled

from harness import wire
from harness.scripted import Scripted
from harness.testing import cases


def test_many_syncs_in_one_segment():
    count = 500
    with pooled() as (server, daemon), daemon.client() as client:
        client.send(*[wire.batch(f"select {number}") for number in range(count)])
        for number, result in enumerate(client.results(count)):
            assert result.value == f"select {number}" and result.types == "12TDCZ", result
        assert len(server.backends) == 1


def test_many_queries_in_one_segment():
    with pooled() as (_, daemon), daemon.client() as client:
        client.send(*[wire.query(f"select {number}") for number in range(300)])
        for number, result in enumerate(client.results(300)):
            assert result.value == f"select {number}", result


def test_pipelines_of_two_clients():
    with pooled() as (server, daemon), daemon.client() as left, daemon.client() as right:
        for client, name in ((left, "left"), (right, "right")):
            client.send(*[wire.batch(f"select {name} {number}", name=f"s{number % 3}")
                          + wire.close("S", f"s{number % 3}") + wire.sync()
                          for number in range(60)])
        for client, name in ((left, "left"), (right, "right")):
            results = client.results(120)
            for number in range(60):
                assert results[2 * number].value == f"select {name} {number}", results[2 * number]
                assert results[2 * number + 1].types == "3Z", results[2 * number + 1]
        assert len(server.backends) == 1


def test_flush_without_sync():
    with pooled() as (_, daemon), daemon.client() as client:
        client.send(wire.parse("select $1", "s") + wire.describe("S", "s") + wire.flush())
        client.expect("1tT", 5)
        client.expect_silence()
        client.send(wire.bind(["x"], "s") + wire.execute() + wire.flush())
        client.expect("2DC", 5)
        client.expect_silence()
        client.send(wire.sync())
        assert client.expect("Z", 5).body == b"I"


def test_server_is_held_until_the_sync():
    """A batch without its Sync is an open transaction; another client gets its turn after it."""
    with pooled() as (_, daemon), daemon.client() as client, daemon.client() as other:
        client.send(wire.parse("select 1") + wire.bind() + wire.execute() + wire.flush())
        client.expect("12DC", 5)
        other.send(wire.query("select other"))
        other.expect_silence(0.2)
        client.send(wire.sync())
        client.expect("Z")
        assert wire.Result(other.read_until("Z")).value == "select other"


def test_error_in_a_batch():
    with pooled() as (server, daemon), daemon.client() as client:
        client.send(wire.parse("fail") + wire.bind() + wire.execute() + wire.parse("select never")
                    + wire.bind() + wire.execute() + wire.sync() + wire.batch("select 1"))
        first, second = client.results(2)
        assert first.types == "12EZ" and first.sqlstate == "22012", first
        assert second.value == "select 1", second
        assert "select never" not in server.queries


def test_error_in_parse():
    with pooled() as (_, daemon), daemon.client() as client:
        result = client.prepared("syntax", name="s")
        assert result.types == "EZ" and result.sqlstate == "42601", result
        result = client.prepared("select 1", name="s")
        assert result.value == "select 1", "the name is free after a failed Parse"


def test_error_after_flush():
    with pooled() as (_, daemon), daemon.client() as client:
        client.send(wire.parse("fail") + wire.bind() + wire.execute() + wire.flush())
        client.expect("12E", 5)
        client.send(wire.parse("select 1") + wire.flush())
        client.expect_silence()
        client.send(wire.sync())
        client.expect("Z", 5)
        assert client.prepared("select 1").value == "select 1"


def test_bare_sync():
    with pooled() as (_, daemon), daemon.client() as client:
        assert client.ask(wire.sync()).types == "Z"
        client.send(wire.sync() * 5)
        assert [result.types for result in client.results(5)] == ["Z"] * 5


def test_bare_flush_then_terminate():
    with pooled() as (_, daemon), daemon.client() as client:
        client.send(wire.flush() + wire.terminate())
        client.expect_closed()


@cases(empty="", spaces="  ", semicolon=";")
def test_empty_query(sql):
    with pooled() as (_, daemon), daemon.client() as client:
        assert client.query(sql).types == "IZ"
        assert client.value("select 1") == "select 1"


def test_names_belong_to_clients():
    with pooled() as (server, daemon), daemon.client() as left, daemon.client() as right:
        assert left.ask(wire.parse("select left", "s") + wire.sync()).types == "1Z"
        assert right.ask(wire.parse("select right", "s") + wire.sync()).types == "1Z"
        for _ in range(3):
            for client, text in ((left, "select left"), (right, "select right")):
                result = client.ask(wire.bind(name="s") + wire.execute() + wire.sync())
                assert result.types == "2DCZ" and result.value == text, result
        assert len(server.backends) == 1


def test_statement_follows_its_client():
    """Prepared on one server connection, executed on another."""
    with pooled(pool_size=2) as (server, daemon), daemon.client() as client:
        assert client.ask(wire.parse("select mine", "s") + wire.sync()).types == "1Z"
        with daemon.client() as holder:
            assert holder.query("begin").status == "T"
            result = client.ask(wire.bind(name="s") + wire.execute() + wire.sync())
            assert result.types == "2DCZ" and result.value == "select mine", result
            assert len(server.backends) == 2
            holder.query("commit")


def test_unknown_statement():
    with pooled() as (server, daemon), daemon.client() as client:
        for data in (wire.bind(name="nope") + wire.execute(), wire.describe("S", "nope")):
            result = client.ask(data + wire.sync())
            assert result.types == "EZ" and result.sqlstate == "26000", result
            assert result.error["S"] == "ERROR" and '"nope"' in result.error["M"], result
        assert client.value("select 1") == "select 1"
        assert len(server.backends) == 1


def test_statement_of_another_client_is_unknown():
    with pooled() as (_, daemon), daemon.client() as left, daemon.client() as right:
        left.ask(wire.parse("select left", "s") + wire.sync())
        result = right.ask(wire.bind(name="s") + wire.execute() + wire.sync())
        assert result.sqlstate == "26000", result


def test_duplicate_statement():
    with pooled() as (server, daemon), daemon.client() as client:
        client.ask(wire.parse("select 1", "s") + wire.sync())
        result = client.ask(wire.parse("select 2", "s") + wire.sync())
        assert result.types == "EZ" and result.sqlstate == "42P05", result
        result = client.ask(wire.bind(name="s") + wire.execute() + wire.sync())
        assert result.value == "select 1", "the first one stays"
        assert len(server.backends) == 1


def test_duplicate_statement_inside_one_batch():
    with pooled() as (_, daemon), daemon.client() as client:
        client.send(wire.parse("select 1", "s") + wire.parse("select 2", "s")
                    + wire.parse("select 3", "t") + wire.sync())
        result = client.results(1)[0]
        assert result.types == "1EZ" and result.sqlstate == "42P05", result
        result = client.ask(wire.bind(name="t") + wire.execute() + wire.sync())
        assert result.sqlstate == "26000", "what was skipped does not exist"


def test_close_and_parse_again():
    with pooled() as (_, daemon), daemon.client() as client:
        for number in range(5):
            client.send(wire.parse(f"select {number}", "s") + wire.bind(name="s") + wire.execute()
                        + wire.close("S", "s") + wire.sync())
            result = client.results(1)[0]
            assert result.types == "12DC3Z" and result.value == f"select {number}", result


def test_close_of_unknown_statement_is_fine():
    with pooled() as (_, daemon), daemon.client() as client:
        assert client.ask(wire.close("S", "nope") + wire.sync()).types == "3Z"
        assert client.ask(wire.close("P", "nope") + wire.sync()).types == "3Z"


def test_unnamed_statement_over_two_syncs():
    """Parse in one batch, Bind in the next: the unnamed statement lives until the next Parse."""
    with pooled() as (_, daemon), daemon.client() as client, daemon.client() as other:
        assert client.ask(wire.parse("select mine") + wire.sync()).types == "1Z"
        assert other.prepared("select other").value == "select other"
        result = client.ask(wire.bind() + wire.execute() + wire.sync())
        assert result.types == "2DCZ" and result.value == "select mine", result


def test_many_statements_are_evicted_and_come_back():
    with pooled(max_prepared_statements=10) as (server, daemon), daemon.client() as client:
        for number in range(50):
            assert client.ask(wire.parse(f"select {number}", f"s{number}") + wire.sync()).types == "1Z"
        for number in (0, 49, 25, 1, 0):
            result = client.ask(wire.bind(name=f"s{number}") + wire.execute() + wire.sync())
            assert result.types == "2DCZ" and result.value == f"select {number}", result
        assert len(server.backends[0].statements) <= 11, len(server.backends[0].statements)


def test_query_in_the_segment_of_terminate():
    with pooled() as (server, daemon):
        client = daemon.client()
        client.send(wire.query("insert last words") + wire.terminate())
        client.close()
        server.wait_query("insert last words")
        with daemon.client() as other:
            assert other.value("select 1") == "select 1"
        assert len(server.backends) == 1


def test_batch_in_the_segment_of_terminate():
    with pooled() as (server, daemon):
        client = daemon.client()
        client.send(wire.batch("insert last words") + wire.terminate())
        client.close()
        server.wait_query("insert last words")


def test_queued_query_in_the_segment_of_terminate():
    with pooled() as (server, daemon):
        with daemon.client() as holder:
            holder.query("begin")
            client = daemon.client()
            client.send(wire.query("insert last words") + wire.terminate())
            client.close()
            time.sleep(0.1)
            holder.query("commit")
        server.wait_query("insert last words")


def test_transactions_take_turns():
    with pooled() as (server, daemon), daemon.client() as first, daemon.client() as second:
        first.query("begin")
        second.send(wire.query("select second"))
        assert first.value("select first") == "select first"
        second.expect_silence()
        assert first.query("commit").status == "I"
        assert wire.Result(second.read_until("Z")).value == "select second"
        order = [sql for sql in server.backends[0].queries if sql in
                 ("begin", "select first", "commit", "select second")]
        assert order == ["begin", "select first", "commit", "select second"], order


def test_transaction_stays_on_its_connection():
    with pooled(pool_size=3) as (server, daemon), daemon.client() as client:
        with daemon.client() as other:
            client.query("begin")
            mine = client.value("select pid")
            for _ in range(5):
                assert other.value("select pid") != mine
                assert client.value("select pid") == mine
            client.query("commit")
        assert len(server.backends) == 2


def test_pipeline_over_a_transaction():
    """BEGIN, work and COMMIT, each with its Sync, sent at once."""
    with pooled(pool_size=2) as (server, daemon), daemon.client() as client:
        client.send(wire.batch("begin"), wire.batch("select 1"), wire.batch("fail"),
                    wire.batch("select skipped"), wire.batch("rollback"), wire.batch("select 2"))
        results = client.results(6)
        assert [result.status for result in results] == list("TTEEII"), results
        assert results[2].sqlstate == "22012" and results[3].sqlstate == "25P02"
        assert results[5].value == "select 2"
        assert len(server.backends) == 1


def test_large_parameters_in_a_pipeline():
    value = "p" * 200_000
    with pooled() as (_, daemon), daemon.client() as client:
        client.socket.setblocking(True)
        for _ in range(5):
            client.send(wire.batch("select $1", [value]))
        for result in client.results(5):
            assert result.value == "select $1", result


def test_both_directions_full():
    """A client that pipelines a lot before it reads, with answers as large: no deadlock."""
    def answer(backend, sql):
        if sql.startswith("large"):
            backend.send(wire.rows_answer(("a" * 20_000,)))
            return True
        return False

    with pooled(Scripted(on_query=answer)) as (_, daemon), daemon.client() as client:
        data = wire.query("large " + "b" * 2000) * 400
        writer = threading.Thread(target=client.socket.sendall, args=(data,), daemon=True)
        writer.start()
        time.sleep(0.3)
        for result in client.results(400):
            assert len(result.value) == 20_000
        writer.join(5)
        assert not writer.is_alive()
