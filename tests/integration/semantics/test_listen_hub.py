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

    def __init__(self, env, count):
        self.env = env
        reference = env.reference()
        env.admin().execute(MAKE)
        env.admin(env.dbname + "reference").execute(MAKE)
        reference.close()
        self.actors = [Actor(number, env.raw(), env.reference()) for number in range(count)]
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


def play(env, seed, steps, count=4):
    author = Author(seed)
    stage = Play(env, count)
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


@pool(pool_size=3, auth="trust", listen_hub="on", seconds=240)
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


@pool(pool_size=3, auth="trust", listen_hub="on", seconds=120)
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
        time.sleep(20)
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
        assert all(answered[payload] > before for payload in on_a), "told what was over before LISTEN"
        missing = [payload for payload in sent if sent[payload] > begun and answered[payload] < end
                   and channel_of[payload] == "a" and payload not in on_a]
        assert not missing, f"not told: {missing[:5]}"
        if on_a:
            every = [item for item in whole[place["a", on_a[0]]:place["a", on_a[-1]] + 1] if item[0] == "a"]
            assert every == [("a", payload) for payload in on_a], "a gap"
    assert len(pieces) > 20 and heard > 500, (len(pieces), heard)
    print(f"{len(whole)} notifications, {len(pieces)} listeners were told {heard}")
