"""The unnamed statement between server connections, and names that are the pooler's own: what the servers
get to see."""

import contextlib
import threading

from common import pooled

from harness import wire
from harness.scripted import Scripted
from harness.testing import cases

USE = wire.bind() + wire.execute() + wire.sync()


def seen(backend):
    """Types of what the server has got since it was last asked."""
    types = "".join(message.type for message in backend.seen)
    backend.seen.clear()
    return types


class Other:
    """The second server describes what it is asked for otherwise, fails to prepare it, or is slow."""

    def __init__(self, does):
        self.does = does
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, backend, message):
        if backend.number == backend.server.backends[0].number or backend.skipping:
            return False
        if message.type == "P" and self.does == "fails":
            backend.refuse("42P01", "no such table")
            return True
        if message.type == "D" and message.body == b"S\0" and self.does != "fails":
            self.reached.set()
            if self.does == "waits":
                self.opened.wait(20)
                return False
            if self.does == "differs":
                backend.send(wire.message("t", b"\0\0"), wire.row_description("other"))
                return True
        return False


@contextlib.contextmanager
def moved(does, *batch):
    """A client whose first batch was answered by the first server and that is served by the second."""
    other = Other(does)
    with pooled(Scripted(on_message=other), pool_size=2) as (server, daemon), daemon.client() as client, \
            daemon.client() as holder:
        answer = client.ask(*batch)
        assert answer.error is None, answer
        assert holder.query("begin").status == "T" and len(server.backends) == 1
        yield server, daemon, client, other


@cases(portal=("P", "PBDES"), statement=("S", "PDBES"), nothing=("", "PBES"))
def test_nothing_is_added_to_an_ordinary_batch(what, types):
    with pooled() as (server, daemon), daemon.client() as client:
        for number in range(5):
            batch = [wire.parse(f"select {number // 2}"), wire.bind(), wire.execute(), wire.sync()]
            if what:
                batch.insert({"P": 2, "S": 1}[what], wire.describe(what))
            assert client.ask(*batch).value == f"select {number // 2}"
        assert seen(server.backends[0]) == types * 5


def test_described_once_when_it_is_kept():
    with pooled() as (server, daemon), daemon.client() as client:
        for _ in range(3):
            assert client.ask(wire.parse("select kept"), wire.sync()).types == "1Z"
            assert client.ask(wire.parse("select kept"), wire.describe("S"), wire.sync()).types == "1tTZ"
            assert client.ask(USE).types == "2DCZ"
        assert seen(server.backends[0]) == ("PDS" + "PDS" + "BES") * 3


def test_compared_on_another_server():
    with moved("same", wire.parse("select kept"), wire.sync()) as (server, _, client, _):
        for _ in range(3):
            assert client.ask(USE).value == "select kept"
        assert seen(server.backends[1]) == "PDH" + "BES" * 3


@cases(described=(wire.parse("select kept"), wire.describe("S"), wire.sync()),
       parsed=(wire.parse("select kept"), wire.sync()),
       told=(wire.parse("select kept"), wire.bind(), wire.describe("P"), wire.execute(), wire.sync()),
       named_portal=(wire.parse("select kept"), wire.bind([], "", "p"), wire.execute("p"), wire.sync()))
def test_refused_when_it_describes_something_else(*batch):
    with moved("differs", *batch) as (server, _, client, other):
        for again in (USE, wire.describe("S") + wire.sync(), USE):
            refused = client.ask(again)
            assert refused.types == "EZ" and refused.sqlstate == "0A000", refused
            assert refused.error["M"] == "cached plan must not change result type", refused
        assert server.backends[1].queries == [], "nothing was executed"
        other.does = "same"
        assert client.ask(USE).value == "select kept", "it has changed back"
        assert client.ask(wire.parse("select anew"), USE).value == "select anew"


def test_error_of_the_other_server():
    with moved("fails", wire.parse("select kept"), wire.sync()) as (_, _, client, other):
        for _ in range(2):
            refused = client.ask(USE)
            assert refused.types == "EZ" and refused.sqlstate == "42P01", refused
        other.does = "same"
        assert client.ask(USE).value == "select kept"


def test_client_vanishes_while_it_is_compared():
    with moved("waits", wire.parse("select kept"), wire.sync()) as (server, daemon, client, other):
        client.send(USE)
        assert other.reached.wait(10)
        client.reset()
        other.opened.set()
        with daemon.client() as next_client:
            assert next_client.ask(USE).sqlstate == "26000"
            assert next_client.ask(wire.parse("select next"), USE).value == "select next"
        assert "select kept" not in server.queries


def test_more_input_while_it_is_compared():
    with moved("waits", wire.parse("select kept"), wire.describe("S"), wire.sync()) as (_, _, client, other):
        client.send(USE)
        assert other.reached.wait(10)
        client.send(USE, wire.parse("select next"), USE)
        other.opened.set()
        assert [result.value for result in client.results(3)] == ["select kept", "select kept", "select next"]


def test_parse_that_fails_before_another():
    """Its answer says nothing about the one that was parsed after it."""
    with pooled() as (_, daemon), daemon.client() as client:
        client.send(wire.parse("syntax"), wire.sync(), wire.parse("select kept"), wire.sync())
        assert [result.types for result in client.results(2)] == ["EZ", "1Z"]
        assert client.ask(USE).value == "select kept"


def test_private_names_do_not_reach_the_server():
    with pooled() as (server, daemon), daemon.client() as owner, daemon.client() as client:
        assert owner.ask(wire.parse("select secret", "own"), wire.sync()).types == "1Z"
        backend = server.backends[0]
        private, = [name for name in backend.statements if name.startswith("pgweir.")]
        backend.seen.clear()
        for batch in (wire.bind([], private), wire.describe("S", private)):
            refused = client.ask(batch, wire.execute(), wire.sync())
            assert refused.types == "EZ" and refused.sqlstate == "26000", refused
            assert refused.error["M"] == f'prepared statement "{private}" does not exist', refused
        assert client.ask(wire.close("S", private), wire.sync()).types == "3Z"
        assert client.ask(wire.parse("select mine", private), wire.bind([], private), wire.execute(), wire.sync()).value == "select mine"
        assert client.ask(wire.close("S", private), wire.sync()).types == "3Z"
        assert not any(private.encode() in message.body.split(b"\0") + [message.body[1:-1]] for message in backend.seen)
        assert private in backend.statements
        assert owner.ask(wire.bind([], "own"), wire.execute(), wire.sync()).value == "select secret"
