"""The database that scripts and sequences are played in."""

import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent


def read(name):
    return " ".join((HERE / f"{name}.sql").read_text(encoding="utf-8").split())


# What there is, and what its tables hold.
FIXTURE, ROWS = map(read, ("fixture", "rows"))
CHANGES = re.compile(r"(?i)\b(alter|cluster|comment|create|do|drop|grant|lo_\w+|reindex|rename|revoke|vacuum|analyze|F \d+)\b")


def may_change(script):
    """Whether there may be something else than the fixture behind it."""
    return any(CHANGES.search(line.text) for line in script.lines)
