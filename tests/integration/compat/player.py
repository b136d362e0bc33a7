"""Plays a script on PostgreSQL itself or through the pooler, and keeps what came back in a form that
is the same when nothing differs that a client could act on."""

import re
import struct
import time

import script as scripts
from harness import wire

PATIENCE = 10
# What differs between two sessions that did the same: numbers of processes, transactions and objects,
# times, places in the log, schemas of temporary objects.
NUMBERED = re.compile(rb"(?i)(process|pid|transaction|relation|database|tuple|object|oid|type|toast_)(:? )[\d(][\d,)]*")
VOLATILE = re.compile(rb"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d+(?:[+-]\d\d(?::\d\d)?)?|\b[0-9A-F]{1,8}/[0-9A-F]{5,8}\b"
                      rb"|(?<=pg_temp_)\d+|(?<=pg_toast_temp_)\d+")
PLACE = re.compile(rb"\0[FLR][^\0]*(?=\0)")  # in PostgreSQL's source
FIRST_OID = 16384  # of those that are not PostgreSQL's own


def masked(text):
    return VOLATILE.sub(b"*", text)


def type_number(raw):
    number, = struct.unpack("!I", raw)
    return b"user" if number >= FIRST_OID else raw


def plain_columns(body):
    count, = struct.unpack_from("!H", body)
    at, kept = 2, [body[:2]]
    for _ in range(count):
        end = body.index(b"\0", at) + 1
        # Without the number of the table; the column's in it stays.
        kept += [body[at:end], body[end + 4:end + 6], type_number(body[end + 6:end + 10]), body[end + 10:end + 18]]
        at = end + 18
    return b"".join(kept)


def plain_row(message):
    return b"".join(b"-\0" if value is None else b"=" + masked(value.encode()) + b"\0" for value in message.values)


def plain(message):
    """The message as it is compared."""
    kind, body = message
    if kind in "EN":
        body = NUMBERED.sub(rb"\1\2*", masked(PLACE.sub(b"", body)))
    elif kind == "T":
        body = plain_columns(body)
    elif kind == "t":
        body = body[:2] + b"".join(type_number(body[at:at + 4]) for at in range(2, len(body), 4))
    elif kind == "D":
        body = plain_row(message)
    elif kind == "d":
        body = masked(body)
    elif kind == "A":
        body = body[4:]
    return wire.Message(kind, body)


# Which message ends the answer to each: with "Z", those of a query and of all that a Sync ends.
ENDS = {"P": "1", "B": "2", "C": "3", "D": "Tn", "E": "CIsGW", "Q": "Z", "S": "Z", "F": "Z"}


class Player:
    """One client of a script."""

    def __init__(self, connect, parameters):
        self.client = connect(**parameters)
        self.status = "I"
        self.owed = []         # the ends of what is sent and not answered yet
        self.open = False      # a batch that no Sync has ended
        self.skipping = False  # after an error in it
        self.later = None      # .read waits for what .send has sent

    @property
    def idle(self):
        return self.status == "I" and not self.open and self.later is None

    def send(self, pieces):
        """Whether the answer ends with a Flush."""
        self.client.send(*pieces)
        for piece in pieces:
            end = ENDS.get(chr(piece[0]))
            if end == "Z":
                self.open = self.skipping = False
            elif end:
                self.open = True
            if end and not self.skipping:
                self.owed.append(end)
        return pieces[-1][:1] == b"H"

    def got(self, message):
        if message.type == "Z":
            del self.owed[:self.owed.index("Z") + 1]
            self.status = message.body.decode()
        elif message.type == "E":
            self.skipping = "Z" not in self.owed
            del self.owed[:None if self.skipping else self.owed.index("Z")]
        elif self.owed and message.type in self.owed[0]:
            del self.owed[0]

    def answer(self, flushed):
        messages = []
        try:
            while "Z" in self.owed or (flushed and self.owed):
                message = self.client.read(PATIENCE)
                messages.append(plain(message))
                self.got(message)
        except wire.Closed:
            self.__dict__.update(status="I", owed=[], open=False)
            messages.append(wire.Message("closed", b""))
        except TimeoutError:
            messages.append(wire.Message("timeout", b""))
        return messages

    def end(self):
        try:
            self.client.send(wire.terminate())
        except OSError:
            pass
        self.client.close()


class Play:
    """One run of one script in one mode. `connect(**startup)` logs a client in; `observer` is a session on
    PostgreSQL itself; `rotor` moves clients, or is None."""

    def __init__(self, script, mode, connect, observer, rotor=None):
        self.script, self.mode = script, mode
        self.connect, self.observer, self.rotor = connect, observer, rotor
        self.players = {}
        self.answers = []  # a list of messages for each line

    def player(self, name):
        if name not in self.players:
            self.players[name] = Player(self.connect, {})
            if self.rotor:
                self.rotor.joined(name)
        return self.players[name]

    def run(self):
        lines = self.script.whole()
        try:
            for number, line in enumerate(lines):
                self.answers.append(self.play(line))
                if self.answers[-1] and self.answers[-1][-1].type == "timeout":
                    break
                if self.rotor and number + 1 < len(lines):
                    self.move(line, lines[number + 1].client)
        finally:
            for player in self.players.values():
                player.end()
        return self.answers

    def move(self, line, following):
        if line.client in self.players and self.answers[-1] and self.players[line.client].idle:
            self.rotor.served(line.client)
        if following and all(player.idle for player in self.players.values()):
            self.rotor.turn(following)

    def play(self, line):
        if line.kind in ("sql", "q", "m"):
            return self.ask(self.player(line.client), line)
        return getattr(self, "do_" + line.kind)(line)

    def ask(self, player, line):
        messages = []
        for number, batch in enumerate(scripts.batches_of(line, self.mode)):
            if number and self.rotor and all(each.idle for each in self.players.values()):
                self.rotor.served(line.client)
                self.rotor.turn(line.client)
            messages += player.answer(player.send(batch))
        return messages

    def do_send(self, line):
        player = self.player(line.client)
        *before, last = scripts.batches_of(line, self.mode)
        messages = [message for batch in before for message in player.answer(player.send(batch))]
        player.later = player.send(last)
        if not self.wait("select count(*) > 0 from pg_stat_activity where datname = current_database() and "
                         "wait_event_type = 'Lock' and state = 'active'"):
            messages.append(wire.Message("never", b"waits for a lock"))
        return messages

    def do_read(self, line):
        player = self.players[line.client]
        later, player.later = player.later, None
        return player.answer(later)

    def do_open(self, line):
        parameters = scripts.startup_options(line.text)
        try:
            self.players[line.client] = Player(self.connect, parameters)
        except wire.ServerError as refusal:
            return [wire.Message("refused", repr((refusal.fields["C"], refusal.fields["M"])).encode())]
        if self.rotor:
            self.rotor.joined(line.client)
        told = self.players[line.client].client.parameters
        return [wire.Message("S", f"{name}={told[name]}".encode()) for name in sorted(told)]

    def do_quit(self, line):
        self.players.pop(line.client).end()
        return []

    def do_reset(self, line):
        self.players.pop(line.client).client.reset()
        return []

    def do_cancel(self, line):
        self.players[line.client].client.cancel()
        return []

    def do_db(self, line):
        result = self.observer.query(line.text)
        return [plain(message) for message in result.messages if message.type in "EDC"]

    def do_until(self, line):
        return [] if self.wait(line.text) else [wire.Message("never", line.text.encode())]

    def wait(self, text, seconds=5):
        limit = time.monotonic() + seconds
        while self.observer.value(text) != "t":
            if time.monotonic() > limit:
                return False
            time.sleep(0.002)
        return True
