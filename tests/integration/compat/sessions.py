"""Plays a sequence of session statements to PostgreSQL itself and through the pooler: the client sees of
itself what it would see directly, and who comes after it sees nothing of it."""

import steps
from harness import wire
from player import PATIENCE, Play, plain
from rotor import Taker
from script import Line, Script

# What a session is, as far as SQL can tell. Each is asked for in a statement of its own, since some are errors.
# Settings of PL/pgSQL are there from the first use of it on; transaction_isolation is of no session.
OWN = {
    "settings": "select string_agg(name || '=' || coalesce(setting, 'null') || ' reset ' || coalesce(reset_val, 'null'), e'\\n' "
                "order by name) from pg_catalog.pg_settings where name <> 'transaction_isolation' and name !~ '^plpgsql\\.'",
    "settings of its own": "select " + ", ".join(f"nullif(pg_catalog.current_setting('{name}', true), '')" for name in steps.CUSTOM),
    "users": "select session_user, current_user, pg_catalog.current_setting('role')",
    "statements of SQL": "select name, statement from pg_catalog.pg_prepared_statements where from_sql order by 1",
    "cursors": "select name, is_holdable, statement from pg_catalog.pg_cursors where name <> '' order by 1",
    "locks": "select classid, objid, mode from pg_catalog.pg_locks where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid() order by 1, 2, 3",
    "channels": "select * from pg_catalog.pg_listening_channels() order by 1",
    "temporary relations": "select relname, relkind from pg_catalog.pg_class where relnamespace = pg_catalog.pg_my_temp_schema() order by 1",
    "temporary functions": "select proname from pg_catalog.pg_proc where pronamespace = pg_catalog.pg_my_temp_schema() order by 1",
    "currval": "select pg_catalog.currval('public.numbers')",
    "lastval": "select pg_catalog.lastval()",
}
# In a session that nobody has used there is no statement of anybody; those under the pooler's names stay.
FRESH = {**OWN, "statements": "select name from pg_catalog.pg_prepared_statements where name !~ '^pgweir\\.' order by 1"}


class Different(Exception):
    pass


def image(client, questions):
    """What this session is: the plain answers to all questions."""
    return {name: [plain(message) for message in client.query(text, PATIENCE).messages] for name, text in questions.items()}


def difference(expected, got):
    """The first, with the lines of the settings that differ instead of all."""
    for name, theirs in expected.items():
        if theirs != got[name]:
            lines = [set(b"".join(message.body for message in messages).split(b"\n")) for messages in (theirs, got[name])]
            shown = ([sorted(lines[0] - lines[1]), sorted(lines[1] - lines[0])] if name == "settings" else [theirs, got[name]])
            return f"{name}\n      PostgreSQL: {shown[0]}\n      the pooler: {shown[1]}"
    return None


class Passer:
    """Instead of a rotor, for a pool of one server connection: a client with settings of its own uses it between
    two steps, and finds them."""

    def __init__(self, connect, pins):
        self.client = connect()
        assert self.client.query("set work_mem = '77MB'; set role third; set app.account = 'passer'").error is None
        self.taker = Taker(self.client)
        self.pins = pins

    def joined(self, client):
        pass

    served = joined

    def begin(self, pins):
        self.turn(None)

    def turn(self, client):
        if self.pins():
            return
        self.taker.ask()
        if not self.taker.taken(0.3):
            return
        seen = self.client.query("select current_setting('work_mem'), current_user, current_setting('app.account')")
        self.taker.give()
        if seen.rows != [("77MB", "third", "passer")]:
            raise Different(f"another client lost its settings: {seen}")

    def end(self):
        self.taker.end()


def fresh_images(connect, size):
    """Of a new client on each server connection of the pool: all others are held meanwhile."""
    takers = [Taker(connect()) for _ in range(size)]
    images = []
    try:
        for taker in takers:
            taker.ask()
        if not all(taker.taken(PATIENCE) for taker in takers):
            raise Different("a server connection is kept for a client that has left")
        for taker in takers:
            taker.give()
            with connect() as client:
                images.append((image(client, FRESH), client.value("select random()")))
                client.send(wire.terminate())
            taker.ask()
            taker.taken(PATIENCE)
    finally:
        for taker in takers:
            taker.end()
    return images


class Comparison:
    """One client of each kind, doing the same."""

    def __init__(self, sequence, model, pooled, rotor, observer):
        script = Script("session", "random", [], set(), [Line("a", "sql", text, 0) for _, text in sequence.steps])
        self.sequence = sequence
        self.plays = [Play(script, "simple", model, observer), Play(script, "simple", pooled, observer, rotor)]
        self.rotor = rotor

    def step(self, form, line):
        answers = []
        for play in self.plays:
            play.mode = form
            answers.append(play.play(line))
        # Parameters that are told are compared by scripts; here what counts is what they are, see OWN.
        answers = [[message for message in messages if message.type != "S"] for messages in answers]
        if answers[0] != answers[1]:
            raise Different(f"answer to {form}: {line.text}\n      PostgreSQL: {answers[0]}\n      the pooler: {answers[1]}")

    @property
    def players(self):
        return [play.player("a") for play in self.plays]

    def run(self, draw):
        for form, text in self.sequence.steps:
            self.step(form, Line("a", "sql", text, 0))
            if all(player.idle for player in self.players):
                self.rotor.turn("a")
                if draw.random() < 0.4:
                    self.look(text)
        self.leave()

    def look(self, text):
        model, pooled = (player.client for player in self.players)
        problem = difference(image(model, OWN), image(pooled, OWN))
        if problem:
            raise Different(f"behind {text}: of itself the client sees other {problem}")
        self.rotor.turn("a")

    def leave(self):
        for player in self.players:
            client = player.client
            if self.sequence.end == "reset in a batch":
                client.send(wire.parse("set work_mem = '9MB'") + wire.bind() + wire.execute() + wire.flush())
            elif self.sequence.end == "reset in a statement":
                client.send(wire.query("select set_config('work_mem', '9MB', false), pg_sleep(0.01)"))
            if self.sequence.end == "quit":
                player.end()
            else:
                client.reset()
        for play in self.plays:
            play.players = {}

    def abandon(self):
        for play in self.plays:
            for player in play.players.values():
                player.end()


def shrunk(sequence, fails, tries=60):
    """Without the steps that are not needed for it to fail."""
    at = 0
    while at < len(sequence.steps) and tries > 0:
        kept = sequence.steps
        sequence.steps = kept[:at] + kept[at + 1:]
        tries -= 1
        if not fails(sequence):
            sequence.steps = kept
            at += 1
    return sequence
