"""Plays the same messages to PostgreSQL and to the target and compares every message that comes back."""
import random
import re
import struct

from harness import wire

MARK = wire.query("")  # answered by EmptyQueryResponse even in a failed transaction

TEXTS = [
    "select 'tag {n}'", "select $1::text || ' {n}'", "select $1::int + {n}", "select {n}, n from generate_series(1, 7) n",
    "select 1 / ($1::int - {n})", "insert into facts values ({n}, 'tag {n}')", "insert into facts values ($1, $2)",
    "insert into facts values (1, 'duplicate')", "select count(*) from facts", "select * from facts order by 1, 2",
    "update facts set t = t || '.' where n < {n}", "delete from facts where n > $1::int returning n",
    "begin", "commit", "rollback", "savepoint a", "rollback to a", "release a", "select nothing from nowhere", "selec {n}",
    "set application_name = 'name {n}'", "set local work_mem = '{n}MB'", "show application_name", "show work_mem",
    "reset all", "do $$ begin raise notice 'notice {n}'; end $$", "select repeat('wide', 500 * {n})",
    "values ($1::int, 'x'), ({n}, 'y')", "declare c{n} cursor for select n from generate_series(1, 9) n", "fetch 2 from c{n}",
    "create temp table if not exists scratch{n} (n int) on commit drop", "start transaction read only",
]
SIMPLE = [
    "select 1; select 'two {n}'; select 3", "insert into facts values ({n}, 'a'); select 1/0; select 'never'",
    "begin; insert into facts values ({n}, 'b'); commit; select 'after'", "begin; select 'open {n}'", "select 'a'; begin; select 'b'",
    "commit; select 'outside'", "prepare s{s} as select 'sql level {n}'", "prepare s{s}(int) as select $1 + {n}", "execute s{s}",
    "execute s{s}({n})", "deallocate s{s}", "deallocate all", "discard all", "deallocate prepare s{s}",
    "alter table facts add column if not exists c{n} int default {n}", "alter table facts drop column if exists c{n}",
    "copy (select * from facts order by 1, 2) to stdout", "set search_path = public, pg_temp; select 'path'",
    "explain (costs off) execute s{s}",
]
OPEN_COPY = wire.query("copy facts (n, t) from stdin")


class Script:
    """Random messages in segments. Names are few so that they meet; each text says what it is. `tame` keeps
    from PostgreSQL 18.6 what it does not survive: a Query before the Sync of the batch before it, and the
    Execute, in a failed transaction, of a portal that was made before it failed."""

    def __init__(self, seed, tame=False):
        self.random = random.Random(seed)
        self.tame = tame
        self.segments = [self.segment() for _ in range(self.random.randint(6, 14))]

    def fill(self, text):
        return text.replace("{n}", str(self.random.randint(2, 6))).replace("{s}", str(self.random.randint(0, 3)))

    def name(self):
        return self.random.choice(["", "", "s0", "s1", "s2", "s3"])

    def portal(self):
        return self.random.choice(["", "", "", "p1", "p2"])

    def values(self):
        return [self.random.choice(["1", "2", "5", "77", None, "word"]) for _ in range(self.random.choice([0, 0, 1, 1, 2]))]

    def whole(self):
        """A batch as drivers send it, right in form: Parse where the name is new to this batch."""
        text = self.fill(self.random.choice(TEXTS))
        name, portal = self.name(), self.portal()
        count = 2 if "$2" in text else 1 if "$1" in text else 0
        pieces = []
        if self.random.random() < 0.3 and name:
            pieces.append(wire.close("S", name))
        pieces.append(wire.parse(text, name))
        if self.random.random() < 0.4:
            pieces.append(wire.describe("S", name))
        pieces.append(wire.bind([str(self.random.randint(0, 6)) for _ in range(count)], name, portal))
        if self.random.random() < 0.6:
            pieces.append(wire.describe("P", portal))
        pieces.append(wire.execute(portal, self.random.choice([0, 0, 0, 2])))
        return pieces

    def again(self):
        """A statement of an earlier batch."""
        name, portal = self.name(), self.portal()
        return [wire.bind(self.values(), name, portal), wire.describe("P", portal), wire.execute(portal)]

    def single(self):
        kind = self.random.choice([0, 1, 2, 3, 5, 6, 7] if self.tame else range(8))
        return [[wire.parse(self.fill(self.random.choice(TEXTS)), self.name(), self.random.choice([(), (), (23,), (25,)]))],
                [wire.bind(self.values(), self.name(), self.portal())], [wire.describe("S", self.name())],
                [wire.describe("P", self.portal())], [wire.execute(self.portal(), self.random.choice([0, 1, 3]))],
                [wire.close("S", self.name())], [wire.close("P", self.portal())], [wire.flush()]][kind]

    def simple(self):
        return [wire.query(self.fill(self.random.choice(SIMPLE + TEXTS)))]

    def copy(self):
        end = self.random.choice([wire.copy_done(), wire.copy_done(), wire.copy_fail("gave up")])
        lines = [wire.copy_data(f"{self.random.randint(100, 10**8)}\tcopied\n") for _ in range(self.random.randint(0, 4))]
        if self.random.random() < 0.2:
            lines.append(wire.copy_data("not a number\tcopied\n"))
        return [OPEN_COPY, *lines, end]

    def segment(self):
        pieces = []
        for _ in range(self.random.randint(1, 6)):
            make = self.random.choices([self.whole, self.again, self.single, self.simple, self.copy, lambda: [wire.sync()]],
                                       [8, 5, 3, 4, 0.4, 3])[0]
            if make in (self.simple, self.copy) and (self.tame or self.random.random() < 0.8):
                pieces.append(wire.sync())
            pieces += make()
        return pieces + [wire.sync(), MARK]


CLOSED = wire.Message("closed", b"")


def answer(client, timeout=8):
    """Everything up to the ReadyForQuery of the mark, or up to the end of the connection: a few
    orders of messages (RELEASE outside a transaction, in a pipeline) make PostgreSQL 15 end it."""
    messages, marked = [], False
    while not (marked and messages[-1].type == "Z"):
        try:
            messages.append(plain(client.read(timeout)))
        except wire.Closed:
            return messages + [CLOSED]
        marked = marked or messages[-1].type == "I"
    return messages


SOURCE_PLACE = re.compile(rb"\0[FLR][^\0]*(?=\0)")
BIND_COUNT = re.compile(rb'(?<=but prepared statement )"[^"]*"')


def plain(message):
    """Without what may differ: the table's number in a RowDescription (another database), the place
    in PostgreSQL's source (the pooler may answer a duplicate name itself), and a statement's name
    in the one error that has a test of its own."""
    if message.type == "E":
        return wire.Message("E", BIND_COUNT.sub(b"", SOURCE_PLACE.sub(b"", message.body)))
    if message.type != "T":
        return message
    count, = struct.unpack_from("!H", message.body)
    at, kept = 2, [message.body[:2]]
    for _ in range(count):
        end = message.body.index(b"\0", at) + 1
        kept += [message.body[at:end], b"\0\0\0\0", message.body[end + 4:end + 18]]
        at = end + 18
    return wire.Message("T", b"".join(kept))


def play(client, segment, cuts=None):
    data = b"".join(segment)
    if cuts is None:
        client.send(data)
    else:
        positions = sorted(cuts.sample(range(1, len(data)), min(len(data) - 1, cuts.randint(0, 4))))
        client.send_cut(data, *positions, pause=0.0005)
    return answer(client)


def show(messages):
    return "\n".join(f"      {message!r}" for message in messages)


def readable(segment):
    return "\n".join(f"      {chr(piece[0])} {piece[5:]!r}" for piece in segment)


def parts(messages):
    """Cut behind every ReadyForQuery."""
    found = [[]]
    for message in messages:
        found[-1].append(message)
        if message.type == "Z":
            found.append([])
    return found if found[-1] else found[:-1]


def says(message, *texts):
    return message.type == "E" and all(text in message.body for text in texts)


def is_known(expected, got):
    """The two cases in which the target may say something else, up to one ReadyForQuery. What comes
    before the first difference was the same.
    A statement that another server connection has cannot be prepared in a failed transaction, where
    PostgreSQL still describes one without result, and counts a Bind's parameters, before it says
    that the transaction has failed.
    Of a Bind with a wrong number of parameters to a statement whose result type has changed,
    PostgreSQL says the former and pgweir the latter."""
    first, ours = expected[0], got[0]
    if [m.type for m in got] != ["E", "Z"] or expected[-1] != got[-1]:
        return False
    counted = says(first, b"C08P01\0", b"bind message supplies")
    if says(ours, b"C25P02\0"):
        return got[-1].body == b"E" and (counted or [m.type for m in expected[:2]] == ["t", "n"])
    return counted and says(ours, b"C0A000\0", b"cached plan must not change result type")


def compare(expected, got, segment, title):
    """False when client and reference are not in the same state any more: what PostgreSQL answered
    behind a known difference, the target skipped."""
    same = True
    both = list(zip(parts(expected), parts(got)))
    for theirs, ours in both if len(parts(expected)) == len(parts(got)) else [(expected, got)]:
        if theirs == ours:
            continue
        at = next((n for n, pair in enumerate(zip(theirs, ours)) if pair[0] != pair[1]), min(len(theirs), len(ours)))
        if at == min(len(theirs), len(ours)) or not is_known(theirs[at:], ours[at:]):
            raise AssertionError(f"{title}: {theirs[at:at + 1]} expected, {ours[at:at + 1]} came\n    sent:\n{readable(segment)}\n    PostgreSQL:\n"
                                 f"{show(expected)}\n    target:\n{show(got)}")
        same = same and len(theirs) == len(ours)
    return same
