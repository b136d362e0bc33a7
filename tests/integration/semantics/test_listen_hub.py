"""LISTEN by way of a hub (listen_hub): the same as on a direct connection, without pinning anybody."""
import contextlib
import itertools
import random
import re
import struct
import threading
import time

import psycopg

from harness import process, wire
from support import Noise, Watch, background, pool

HUB = {"auth": "trust", "admin_users": "raw"}
MAKE = """
create table if not exists facts (n int);
create or replace function quit(channel text) returns void language plpgsql as
    $$ begin execute format('unlisten %I', channel); end $$;
create or replace function my_listen(channel text) returns void language plpgsql as
    $$ begin execute format('listen %I', channel); end $$;
create or replace function told() returns trigger language plpgsql as
    $$ begin perform pg_notify('a', 'hidden ' || new.n); return new; end $$;
create or replace trigger told after insert on facts for each row execute function told();
"""


class Actor:
    """One client of each side, and what either has been told."""

    def __init__(self, number, pooled, direct):
        self.number = number
        self.sides = (pooled, direct)
        self.status = "I"


def notification(message):
    pid, = struct.unpack_from("!I", message.body)
    channel, payload = message.body[4:].split(b"\0")[:2]
    return pid, channel.decode(), payload.decode()


class Play:
    """Several clients take turns; each says the same to the target and to PostgreSQL itself."""

    def __init__(self, env, count, **parameters):
        self.env = env
        reference = env.reference()
        env.admin().execute(MAKE)
        env.admin(env.dbname + "reference").execute(MAKE)
        reference.close()
        self.actors = [Actor(number, env.raw(**parameters), env.reference(**parameters)) for number in range(count)]
        self.unknown = 0
        self.names = [{actor.sides[side].pid: actor.number for actor in self.actors} for side in (0, 1)]

    def answers(self, side, actor, data):
        """(all but notifications, notifications as (who, channel, payload)) up to ReadyForQuery."""
        result = actor.sides[side].ask(*data)
        told = [notification(item) for item in result.messages if item.type == "A"]
        plain = [(item.type, sorted(item.fields.items()) if item.type in "EN" else item.body)
                 for item in result.messages if item.type not in "A"]
        return plain, [(self.names[side].get(pid), channel, payload) for pid, channel, payload in told]

    @staticmethod
    def clean(plain):
        """Without what differs between two databases: places in PostgreSQL's source stay."""
        return [item for item in plain if item[0] != "S"]

    def say(self, number, *data):
        actor = self.actors[number]
        (left, left_told), (right, right_told) = (self.answers(side, actor, data) for side in (0, 1))
        assert self.clean(left) == self.clean(right), f"{data}\n{left}\n{right}"
        actor.status = right[-1][1].decode()
        assert len(left_told) == len(right_told), f"actor {number}, {data}: told {left_told}, should {right_told}"
        for got, wanted in zip(left_told, right_told):
            assert got[1:] == wanted[1:], f"actor {number}, {data}: told {left_told}, should {right_told}"
            # One's own are always known. Of others those are not who notify without a word of it in the
            # text, and what the session hears itself in the transaction in which it begins to listen.
            self.unknown += got[0] is None and not got[2].startswith("hidden")
            known = got[0] == wanted[0] or (got[0] is None and wanted[0] != number)
            assert known, f"actor {number}, {data}: {got}, should be {wanted}"
        return right_told

    def query(self, number, sql):
        return self.say(number, wire.query(sql))

    def round(self):
        """Everybody has been told what there was before."""
        return [self.query(actor.number, "select 'sync'") for actor in self.actors]


CHANNELS = ["a", "b", "Mixed \"case\"", "é"]


def identifier(name):
    return '"%s"' % name.replace('"', '""')


class Author:
    """Random statements about LISTEN and NOTIFY."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.count = 0

    def channel(self):
        return self.random.choice(CHANNELS[:2] + CHANNELS)

    def payload(self):
        self.count += 1
        return self.random.choice([f"{self.count}", f"{self.count}", "same", "", "x" * 7999])

    def plain(self):
        """A statement that can stand alone and in a transaction."""
        channel, payload = self.channel(), self.payload()
        name, literal = identifier(channel), "'%s'" % channel.replace("'", "''")
        return self.random.choice([
            f"listen {name}", f"listen {name}", f"LISTEN {name}", f"unlisten {name}", "unlisten *",
            f"notify {name}, '{payload}'", f"notify {name}, '{payload}'", f"NOTIFY {name}",
            f"select pg_notify({literal}, '{payload}')", "select * from pg_listening_channels() order by 1",
            f"select quit({literal})", f"select my_listen({literal})", "insert into facts values (%d)" % self.count,
            f"do $$ begin execute 'listen {name}'; perform pg_notify({literal}, 'do'); end $$", "select 1 / 0",
            f"listen {name}; notify {name}, '{payload}'; notify {name}, '{payload}'", "select 'plain'",
            f"notify {name}, 'one'; select 1 / 0", f"unlisten {name}; listen {name}",
            "select count(*) from facts", "set application_name = 'x'",
        ])

    def control(self, status):
        if status == "I":
            return self.random.choice(["begin", "begin", "start transaction isolation level repeatable read",
                                       "discard all", "unlisten *; reset all",
                                       "begin; listen a; notify a, 'within'; commit", "begin; select 'open'",
                                       "select pg_advisory_unlock_all(); close all; unlisten *; reset all"])
        return self.random.choice(["commit", "commit", "rollback", "savepoint s", "rollback to s", "release s",
                                   "commit; notify a, 'behind'"])

    def messages(self, status, may_begin):
        if self.random.random() < (0.35 if status != "I" else 0.25 if may_begin else 0):
            return [wire.query(self.control(status))]
        text = self.plain()
        if ";" in text and not text.startswith("do") or self.random.random() < 0.5:
            return [wire.query(text)]
        if self.random.random() < 0.5:
            return [wire.batch(text)]
        # Two in one batch are one transaction.
        other = self.plain()
        while ";" in other:
            other = self.plain()
        return [wire.parse(text) + wire.bind() + wire.execute() + wire.batch(other)]


def play(env, seed, steps, count=4, **parameters):
    author = Author(seed)
    stage = Play(env, count, **parameters)
    told = 0
    for step in range(steps):
        opened = [actor for actor in stage.actors if actor.status != "I"]
        number = author.random.randrange(count)
        actor = stage.actors[number]
        try:
            told += len(stage.say(number, *author.messages(actor.status, len(opened) < 2)))
            if author.random.random() < 0.7:
                told += sum(len(got) for got in stage.round())
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, step {step}: {error}") from None
    for actor in stage.actors:
        if actor.status != "I":
            stage.query(actor.number, "rollback")
    stage.round()
    for actor in stage.actors:
        for side in actor.sides:
            side.close()
    return told, stage.unknown


@pool(pool_size=3, listen_hub="on", **HUB, seconds=240)
def test_plays_as_on_a_direct_connection(env):
    """Random plays of several clients, each statement said to pgweir and to PostgreSQL: the same
    answers, and the same notifications before the same ReadyForQuery, from the same clients."""
    told, unknown = (sum(column) for column in zip(*(play(env, seed, 60) for seed in range(12))))
    assert told > 120, f"only {told} notifications in all"
    assert unknown < told / 50, f"of {told} notifications {unknown} came from who knows whom"


# --- many at once ---------------------------------------------------------------------------------


class Ear(threading.Thread):
    """A raw client that is read all the time; what it has been told, with when."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client = client
        self.told = []
        self.answers = []
        self.ready = threading.Semaphore(0)
        self.error = None
        self.start()

    def run(self):
        with contextlib.suppress(wire.Closed, OSError):
            while True:
                got = self.client.read(timeout=600)
                if got.type == "A":
                    self.told.append(notification(got))
                elif got.type == "Z":
                    self.ready.release()
                elif got.type == "E":
                    self.error = got.fields

    def query(self, sql):
        """Returns how much it had been told when the answer was there."""
        self.client.send(wire.query(sql))
        assert self.ready.acquire(timeout=60), sql
        return len(self.told)

    def wait(self, payload, seconds=60):
        process.wait_until(lambda: any(item[2] == payload for item in list(self.told)[-50:]),
                           f"{payload!r} is told", seconds)


STORM_PIECES = 300  # of clients that began to listen and ceased to


@pool(pool_size=3, listen_hub="on", **HUB, seconds=120)
def test_storm(env):
    """Clients begin and cease to listen while others notify: each of them is told an unbroken piece
    of what PostgreSQL tells who listens all the time, from before its LISTEN was answered at the latest
    to after its UNLISTEN was sent at the earliest, and nothing of what was over before its LISTEN."""
    reference = Ear(env.cluster_client())
    reference.query("listen a; listen b")
    over = threading.Event()
    clock = itertools.count()
    sent, answered = {}, {}  # when the transaction of a payload was sent, and answered

    def notify(number):
        draw = random.Random(number)
        client = env.raw() if number else env.cluster_client()
        count = 0
        while not over.is_set():
            count += 1
            payloads = [f"{number}.{count}.{part}" for part in range(draw.choice([1, 1, 3]))]
            each = [f"notify {draw.choice('ab')}, '{payload}'" for payload in payloads]
            if draw.random() < 0.2:
                client.query("begin; " + "; ".join(each) + "; rollback")
                continue
            if draw.random() < 0.3:  # the same once more is told once
                each.append(each[-1])
            now = next(clock)
            assert client.query("begin; " + "; ".join(each) + "; commit").error is None
            sent.update(dict.fromkeys(payloads, now))
            answered.update(dict.fromkeys(payloads, next(clock)))
            time.sleep(draw.random() * 0.004)
        client.close()

    pieces = []

    def listen(number):
        draw = random.Random(1000 + number)
        while not over.is_set():
            ear = Ear(env.raw())
            before = next(clock)
            ear.query(draw.choice(["listen a", "begin; listen a; select 1; commit",
                                   "do $$ begin execute 'listen a'; end $$"]))
            begun = next(clock)
            time.sleep(draw.random() * 0.1)
            if draw.random() < 0.5:
                ear.query("listen b")
            end = next(clock)
            time.sleep(draw.random() * 0.05)
            last = ear.query(draw.choice(["unlisten *", "unlisten a; unlisten b", "discard all"]))
            time.sleep(0.02)
            pieces.append((before, begun, end, last, list(ear.told)))
            ear.client.close()

    threads = [background(notify, number) for number in range(4)] + [background(listen, number) for number in range(6)]
    with Noise(env):
        process.wait_until(lambda: len(pieces) >= STORM_PIECES, "the storm is over", 60)
        over.set()
        for thread in threads:
            thread.join(60)
    env.cluster_client().query("notify a, 'end'")
    reference.wait("end")
    whole = [item[1:] for item in reference.told]
    place = {item: index for index, item in enumerate(whole)}
    assert len(place) == len(whole), "told twice"
    channel_of = {payload: channel for channel, payload in whole}
    heard = 0
    for before, begun, end, last, told in pieces:
        assert last == len(told), "told something after UNLISTEN"
        got = [item[1:] for item in told]
        places = [place[item] for item in got]
        wrong = [index for index in range(1, len(places)) if places[index] <= places[index - 1]]
        assert not wrong, f"out of order or twice at {wrong}: {list(zip(places, told))[max(0, wrong[0] - 8):wrong[0] + 8]}"
        heard += len(got)
        on_a = [payload for channel, payload in got if channel == "a"]
        known = set(on_a)
        assert all(answered[payload] > before for payload in on_a), "told what was over before LISTEN"
        missing = [payload for payload in sent if sent[payload] > begun and answered[payload] < end
                   and channel_of[payload] == "a" and payload not in known]
        assert not missing, f"not told: {missing[:5]}"
        if on_a:
            every = [item for item in whole[place["a", on_a[0]]:place["a", on_a[-1]] + 1] if item[0] == "a"]
            assert every == [("a", payload) for payload in on_a], "a gap"
    assert heard > 10 * len(pieces), (len(pieces), heard)
    print(f"{len(whole)} notifications, {len(pieces)} listeners were told {heard}")


# --- who is where ---------------------------------------------------------------------------------


def hub_takes(env, listeners):
    """The first one waits until the listening connection is there: it keeps its server connection."""
    process.wait_until(lambda: sum(row["listeners"] for row in env.show("SHOW HUBS")) == listeners,
                       f"{listeners} are taken over")


def hub_pids(env):
    return [pid for pid, in env.backends("pid", "application_name = 'pgweir listen_hub'")]


@pool(pool_size=2, listen_hub="on", **HUB)
def test_listeners_are_not_pinned(env):
    """Fifty listeners and two server connections, one listening connection beside them; each has its
    channels wherever it is served."""
    listeners = [env.raw() for _ in range(50)]
    with Watch(env, limit=3) as watch, Noise(env):
        for number, client in enumerate(listeners):
            assert client.query(f"listen everybody; listen own_{number}").error is None
        for _ in range(6):
            for number, client in enumerate(listeners):
                result = client.query("select pg_backend_pid(), string_agg(c, ' ' order by c) from pg_listening_channels() c")
                pid, channels = result.rows[0]
                watch.served(number, pid)
                assert channels == f"everybody own_{number}", channels
    watch.assert_rotation(clients=50, distinct=2, least=3, lucky=10)
    assert len(hub_pids(env)) == 1
    sender = env.raw()
    sender.query("notify everybody, 'all'; notify own_7, 'one'; notify nobody, 'none'")
    for number, client in enumerate(listeners):
        told = [notification(item)[1:] for item in client.query("select 1").messages if item.type == "A"]
        assert told == [("everybody", "all")] + ([("own_7", "one")] if number == 7 else []), (number, told)
    # Nobody's channels are anybody else's.
    assert sender.query("select * from pg_listening_channels()").rows == []


@pool(pool_size=2, listen_hub="on", **HUB)
def test_other_state_and_listen(env):
    """A client that is kept for a temporary table listens, too, and ceases to."""
    client, other = env.raw(), env.raw()
    assert client.query("create temp table mine (n int)").error is None
    assert client.query("listen a").error is None
    hub_takes(env, 1)
    other.query("notify a, '1'")
    assert notification(client.read()) == (other.pid, "a", "1")
    assert client.query("select * from pg_listening_channels()").rows == [("a",)]
    assert client.query("select count(*) from mine").value == "0"
    client.query("listen b")
    result = client.query("notify a, '2'; notify b, '3'")
    assert [notification(item) for item in result.messages if item.type == "A"] == [
        (client.pid, "a", "2"), (client.pid, "b", "3")], result
    client.query("unlisten a")
    other.query("notify a, '4'; notify b, '5'")
    assert notification(client.read()) == (other.pid, "b", "5")
    client.query("drop table mine")
    other.query("notify b, '6'")
    assert notification(client.read()) == (other.pid, "b", "6")
    holders = [env.raw(), env.raw()]
    for holder in holders:  # both server connections are free
        assert holder.query("begin").error is None


@pool(pool_size=2, listen_hub="on", **HUB)
def test_function_call_message_notifies(env):
    """pg_notify by the function call message."""
    client = env.raw()
    client.query("listen a")
    oid = int(client.query("select 'pg_notify(text,text)'::regprocedure::oid").value)
    values = b"".join(struct.pack("!I", len(value)) + value for value in (b"a", b"called"))
    call = struct.pack("!IHH", oid, 1, 0) + struct.pack("!H", 2) + values + struct.pack("!H", 0)
    result = client.ask(wire.message("F", call))
    assert [notification(item) for item in result.messages if item.type == "A"] == [(client.pid, "a", "called")], result


@pool(pool_size=2, listen_hub="on", **HUB)
def test_pipelines_of_a_listener(env):
    """Many batches in one segment, LISTEN and NOTIFY among them: all that is due is told, in order,
    and every answer comes."""
    client = env.raw()
    pieces = [wire.query("listen a")]
    for number in range(50):
        pieces.append(wire.batch(f"notify a, '{number}'") if number % 2 else wire.query(f"notify a, '{number}'"))
        if number == 25:
            pieces.append(wire.query("listen b"))
    client.send(*pieces)
    told = []
    for _ in range(52):
        told += [notification(item) for item in client.read_until("Z") if item.type == "A"]
    told += [notification(item) for item in client.query("select 1").messages if item.type == "A"]
    assert told == [(client.pid, "a", str(number)) for number in range(50)], told


# --- what breaks ----------------------------------------------------------------------------------


def expect_lost(client):
    """FATAL 08006 that says what has happened, and the end."""
    said = [item for item in client.rest(20) if item.type == "E"]
    assert said and said[-1].fields["S"] == "FATAL" and said[-1].fields["C"] == "08006", said
    assert "listen_hub" in said[-1].fields["M"] and "may be missing" in said[-1].fields["M"], said


@pool(pool_size=2, listen_hub="on", **HUB)
def test_listening_connection_is_terminated(env):
    """Who listens is told, loudly; who does not is not touched, and listening works again."""
    listeners, other = [env.raw() for _ in range(5)], env.raw()
    for client in listeners:
        client.query("listen a")
    hub_takes(env, 5)
    victim, = hub_pids(env)
    env.admin().execute("select pg_terminate_backend(%s)", (victim,))
    for client in listeners:
        expect_lost(client)
    assert other.query("select 1").value == "1"
    again = env.raw()
    again.query("listen a")
    other.query("notify a, 'again'")
    assert notification(again.read()) == (other.pid, "a", "again") or not hub_pids(env)
    process.wait_until(lambda: hub_pids(env) not in ([], [victim]), "it listens again")
    assert again.query("select * from pg_listening_channels()").rows == [("a",)]
    other.query("notify a, 'and again'")
    assert notification(again.read())[1:] == ("a", "and again")
    assert env.pooler.log_has("reason=listen_lost")


@pool(pool_size=2, listen_hub="on", **HUB, own_cluster=True, seconds=90)
def test_restart_of_postgresql(env):
    listeners = [env.raw() for _ in range(5)]
    for client in listeners:
        client.query("listen a")
    hub_takes(env, 5)
    open_one = listeners.pop()
    open_one.query("begin")
    env.cluster.restart()
    for client in listeners:
        expect_lost(client)
    assert open_one.rest(20)[-1].type == "E"
    client, other = env.raw(), env.raw()
    process.wait_until(lambda: client.query("listen a").error is None, "the server is back", 20)
    process.wait_until(lambda: hub_pids(env), "it listens again", 20)
    other.query("notify a, 'back'")
    assert notification(client.read())[1:] == ("a", "back")


@pool(pool_size=2, listen_hub="on", **HUB, client_memory_limit="64kB")
def test_client_that_does_not_read(env):
    """It is ended with an error that says why; those who read miss nothing."""
    slow, quick, sender = env.raw(), Ear(env.raw()), env.raw()
    slow.query("listen a")
    quick.query("listen a")
    hub_takes(env, 2)
    count = 0
    while not env.pooler.log_has("reason=listen_overflow"):
        assert sender.query(f"notify a, '{count} {'x' * 7000}'").error is None
        count += 1
        assert count < 5000
    told = slow.rest(20)
    sender.query("notify a, 'end'")
    quick.wait("end")
    assert [item[2].split(" ")[0] for item in quick.told] == [str(number) for number in range(count)] + ["end"]
    numbers = [notification(item)[2].split(" ")[0] for item in told if item.type == "A"]
    assert numbers == [str(number) for number in range(len(numbers))] and len(numbers) <= count, len(numbers)
    assert told[-1].type == "E" and told[-1].fields["C"] == "53200", told[-1]
    assert "client_memory_limit" in told[-1].fields["M"], told[-1]


@pool(pool_size=2, listen_hub="on", **HUB, client_memory_limit="64kB")
def test_listener_in_a_long_transaction(env):
    """What comes meanwhile waits for the end of the transaction; too much of it ends the client."""
    patient, hoarder, sender = env.raw(), env.raw(), env.raw()
    for client in (patient, hoarder):
        client.query("listen a")
    hub_takes(env, 2)
    patient.query("begin")
    for number in range(20):
        sender.query(f"notify a, '{number}'")
    assert patient.query("select 1").types == "TDCZ"
    result = patient.query("commit")
    assert result.types == "C" + "A" * 20 + "Z", result.types
    hoarder.query("begin")
    for number in range(20):
        sender.query(f"notify a, '{'x' * 7000}'")
    assert hoarder.rest(20)[-1].fields["C"] == "53200"


@pool(pool_size=2, listen_hub="on", **HUB)
def test_listeners_vanish(env):
    """At any moment, without leaving anything: neither channels nor server connections."""
    draw = random.Random(1)
    for number in range(60):
        client = env.raw()
        client.send(wire.query(f"listen a; listen own_{number}"))
        if draw.random() < 0.7:
            client.read_until("Z")
            client.send(wire.query(draw.choice(["select pg_sleep(0.01)", "begin", "unlisten *", "notify a, 'x'", "listen b"])))
        time.sleep(draw.random() * 0.01)
        client.reset()
    env.assert_no_open_transaction()
    client = env.raw()
    for _ in range(4):
        assert client.query("select count(*) from pg_listening_channels()").value == "0"
    process.wait_until(lambda: not env.show("SHOW LISTENERS"), "no channel is left")


# --- encodings ------------------------------------------------------------------------------------


@pool(pool_size=3, listen_hub="on", **HUB)
def test_encodings(env):
    """What the hub hears is in the database's encoding: a client with another one keeps its server
    connection, which translates; one that changes it while it listens is ended."""
    plain, latin, sender = env.raw(), env.raw(client_encoding="LATIN1"), env.raw()
    for client in (plain, latin):
        assert client.query("listen a").error is None
    hub_takes(env, 1)
    sender.query("notify a, 'é'")
    assert plain.read().body.endswith("é\0".encode())
    assert latin.read().body.endswith("é\0".encode("latin1"))
    assert latin.query("select * from pg_listening_channels()").rows == [("a",)]
    latin.query("unlisten *")
    plain.send(wire.query("set client_encoding = 'LATIN1'"))
    said = [item for item in plain.rest(20) if item.type == "E"]
    assert said[-1].fields["S"] == "FATAL" and said[-1].fields["C"] == "0A000", said


# --- settings -------------------------------------------------------------------------------------


@pool(pool_size=3, listen_hub="off", **HUB)
def test_reload_switches(env):
    """On: clients that are pinned go on, new ones are not. Off: who listens by the hub goes on doing so."""
    pinned, sender = env.raw(), env.raw()
    pinned.query("listen a")
    env.pooler.settings["listen_hub"] = "on"
    env.pooler.reload()
    free = [env.raw() for _ in range(5)]
    for client in free:
        assert client.query("listen a").error is None
    hub_takes(env, 6)
    sender.query("notify a, 'on'")
    for client in free + [pinned]:
        assert notification(client.read())[1:] == ("a", "on")
    env.pooler.settings["listen_hub"] = "off"
    env.pooler.reload()
    sender.query("notify a, 'off'")
    for client in free:
        assert notification(client.read())[1:] == ("a", "off")
        assert client.query("select * from pg_listening_channels()").rows == [("a",)]
    late = env.raw()
    late.query("listen a")
    assert "LISTEN" in str(env.show("SHOW PINS")), "a new one keeps its connection"


@pool(pool_size=3, listen_hub="on", **HUB)
def test_reconnect(env):
    """RECONNECT may lead to another server: who listens is told."""
    client = env.raw()
    client.query("listen a")
    hub_takes(env, 1)
    env.show("RECONNECT")
    expect_lost(client)
