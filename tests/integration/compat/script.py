"""Scripts as data: what they look like, and how they are read.

A file `scripts/THEME.script` holds scripts of one theme:

    [title of a script] 50 51 pin        cases C3-50 and C3-51; flags
    set work_mem = '5MB'                 client a does this, in the form of the mode
    b: show work_mem                     client b, whose session begins here
        -- and so on                     a line that is indented continues the one before
    q: select 1; select 2                always by the simple protocol; b.q: likewise
    m: P s: select $1::int | S           messages of the protocol; b.m: likewise
    db: drop table t                     somebody else does this on PostgreSQL itself
    until: select count(*) = 0 from t    waits until that is true on PostgreSQL itself
    b.send: select 1                     sends without reading, and waits until it waits for a lock
    b.read:                              reads that answer
    !open b search_path=one              client b logs in, with parameters of its startup packet
    !quit b                              Terminate; !reset b: by a reset of its connection
    !cancel b                            a cancel request

Every script is played in the modes `simple` and `extended` (Parse to Sync in one batch), and with
PGWEIR_SCRIPTS_PREPARED=1 in the mode `prepared` (a named statement, executed in the next batch), too, or in
the modes that its flags name; once when no line depends on it. Between two lines at which no client is in
a transaction the clients are moved to other server connections, unless the flag `pin` says that state of
theirs may keep them. In a `still` script there is nobody to be moved.

Messages: P name oid,oid: text | B portal=name: value, null | DS name | DP portal | E portal limit | CS name |
CP portal | S | H | Q text | d data | c | f reason | F function: value, value. Names may be left out. In values
and data \\n, \\t, \\x00, \\\\ mean what they do in C, and \\, a comma."""

import os
import re
import shlex
import struct
from dataclasses import dataclass, field

from harness import wire

MODES = ("simple", "extended", "prepared")
FLAGS = {*MODES, "pin", "still"}
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scripts")
HEAD = re.compile(r"\[(.+)\] *(.*)")
PREFIX = re.compile(r"(?:([abc])(?:\.(q|m|send|read))?|(q|m|db|until)): ?(.*)", re.S)
NAMED = "compat"  # of the statement in prepared mode


@dataclass
class Line:
    client: str
    kind: str  # sql, q, m, send, read, db, until, or a word after !
    text: str
    number: int

    def __str__(self):
        return f"{self.number}: {self.client}.{self.kind}: {self.text}"


@dataclass(eq=False)
class Script:
    theme: str
    title: str
    cases: list
    flags: set
    lines: list = field(default_factory=list)

    @property
    def name(self):
        return f"{self.theme}/{self.title}"

    @property
    def modes(self):
        chosen = [mode for mode in MODES if mode in self.flags]
        if not any(line.kind in ("sql", "send") for line in self.lines):
            return MODES[:1]
        return chosen or (MODES if os.environ.get("PGWEIR_SCRIPTS_PREPARED") else MODES[:2])

    def whole(self):
        """With a statement before and one behind, so that each script is played on a server connection which
        is not the first of its client, and what it has left is met by another transaction."""
        first, last = self.lines[0], self.lines[-1]
        before = [] if first.kind in ("open", "db") else [Line(first.client, "sql", "select 'before'", first.number)]
        gone = last.kind not in ("sql", "q", "m", "read")
        return [*before, *self.lines, *([] if gone else [Line(last.client, "sql", "select 'behind'", last.number)])]

    @property
    def clients(self):
        return {line.client for line in self.lines if line.client}


def line_of(text, number):
    if text.startswith("!"):
        verb, client, *rest = text[1:].split(" ", 2)
        return Line(client, verb, rest[0] if rest else "", number)
    found = PREFIX.fullmatch(text)
    if found is None:
        return Line("a", "sql", text, number)
    client, kind, bare, text = found.groups()
    if bare in ("db", "until"):
        return Line("", bare, text, number)
    return Line(client or "a", kind or bare or "sql", text, number)


def read(path):
    """The scripts of one file."""
    theme = os.path.basename(path).partition(".")[0]
    scripts, lines = [], []
    with open(path, encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            text = text.rstrip("\n")
            if not text.strip() or text.startswith("#"):
                continue
            if text[0] in " \t":
                lines[-1].text += "\n" + text.strip()
                continue
            head = HEAD.fullmatch(text)
            if head is None:
                lines.append(line_of(text, number))
                continue
            words = head.group(2).split()
            flags = {word for word in words if not word.isdigit()}
            if flags - FLAGS:
                raise ValueError(f"{path}:{number}: unknown flags {flags - FLAGS}")
            scripts.append(Script(theme, head.group(1), [int(word) for word in words if word.isdigit()], flags))
            lines = scripts[-1].lines
    return scripts


def read_all():
    return [script for name in sorted(os.listdir(HERE)) if name.endswith(".script")
            for script in read(os.path.join(HERE, name))]


def startup_options(text):
    return dict(word.split("=", 1) for word in shlex.split(text))


# --- messages ------------------------------------------------------------------------------------


def unescaped(text):
    text = text.replace("\\,", "\\x2c")
    return text.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("utf-8")


def values_of(text):
    """Separated by commas; null is none."""
    if not text.strip():
        return []
    return [None if word.strip() == "null" else unescaped(word.strip())
            for word in re.split(r"(?<!\\),", text)]


def function_call(rest):
    number, _, values = rest.partition(":")
    body = struct.pack("!IHH", int(number), 0, len(values_of(values)))
    for value in values_of(values):
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return wire.message("F", body + struct.pack("!H", 0))


def parse_message(rest):
    head, _, text = rest.partition(":")
    name, types = re.fullmatch(r"(.*?)(?: ([\d,]+))?", head.strip()).groups()
    return wire.parse(text.strip(), name, [int(number) for number in (types or "").split(",") if number])


def bind_message(rest):
    head, _, values = rest.partition(":")
    portal, equals, name = head.strip().partition("=")
    return wire.bind(values_of(values), name if equals else portal, portal if equals else "")


def execute_message(rest):
    words = rest.split()
    limit = int(words.pop()) if words and words[-1].isdigit() else 0
    return wire.execute(words[0] if words else "", limit)


MESSAGES = {
    "P": parse_message, "B": bind_message, "E": execute_message, "F": function_call,
    "DS": lambda rest: wire.describe("S", rest), "DP": lambda rest: wire.describe("P", rest),
    "CS": lambda rest: wire.close("S", rest), "CP": lambda rest: wire.close("P", rest),
    "S": lambda rest: wire.sync(), "H": lambda rest: wire.flush(), "Q": wire.query,
    "d": lambda rest: wire.copy_data(unescaped(rest).decode()), "c": lambda rest: wire.copy_done(), "f": wire.copy_fail,
}


def messages_of(text):
    pieces = []
    for part in text.replace("\n", " ").split(" | "):
        word, _, rest = part.strip().partition(" ")
        if word not in MESSAGES:
            raise ValueError(f"no message {word!r} in {text!r}")
        pieces.append(MESSAGES[word](rest.strip() if word != "Q" else rest))
    return pieces


def batches_of(line, mode):
    """What a line sends: batches that are answered one after the other."""
    if line.kind == "m":
        return [messages_of(line.text)]
    if line.kind == "q" or mode == "simple":
        return [[wire.query(line.text)]]
    if mode == "extended":
        return [[wire.parse(line.text), wire.bind(), wire.describe(), wire.execute(), wire.sync()]]
    return [[wire.close("S", NAMED), wire.parse(line.text, NAMED), wire.describe("S", NAMED), wire.sync()],
            [wire.bind([], NAMED), wire.execute(), wire.sync()]]
