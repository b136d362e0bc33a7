"""The fast part for tests/run: prints the lines that it counts, and skips where there is no source of PostgreSQL."""

import glob
import os
import re
import signal

import suite
from harness import process

HERE = os.path.dirname(os.path.abspath(__file__))
SCHEDULE = os.path.join(HERE, "fast_schedule")
DIFFERENCES = os.path.join(HERE, "differences")
PATIENCE = 150  # seconds for apt
NOISE = 2
RESULT = re.compile(r"^(?:test|    ) ?(\S+) +\.\.\. (ok|FAILED)(?: \(.*\))? +(\d+) ms", re.M)


def folder():
    """Where the source is kept from one run to the next; the user that PostgreSQL runs as reads there."""
    if "PGWEIR_REGRESS_CACHE" in os.environ:
        return os.environ["PGWEIR_REGRESS_CACHE"]
    home = "/var/cache" if os.geteuid() == 0 else os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "pgweir-tests")


class Overdue(Exception):
    pass


def kept():
    """The newest tree of the installed major version that is in the folder."""
    major = suite.installed_version().partition(".")[0]
    trees = glob.glob(os.path.join(folder(), f"postgresql-{major}.*", "src", "test", "regress"))
    return max(trees, key=os.path.getmtime).removesuffix("/src/test/regress") if trees else None


def source():
    """The tree, with its programs; or None, and says so."""
    def overdue(_number, _frame):
        raise Overdue(f"not within {PATIENCE} s")

    signal.signal(signal.SIGALRM, overdue)
    signal.alarm(PATIENCE)
    try:
        tree = kept() or suite.fetch(suite.installed_version(), folder())
        suite.use_programs(tree)
        return tree
    except (Overdue, RuntimeError, OSError, IndexError, AttributeError) as problem:
        reason = str(problem).strip().splitlines()[-1:] or [type(problem).__name__]
        print(f"skip pg_regress/fast: the source of PostgreSQL cannot be had: {reason[0]}")
        return None
    finally:
        signal.alarm(0)
        process.end_all()


def lines_of(text):
    return [line for line in text.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]


def differences(output):
    """What pg_regress wrote, by test."""
    try:
        with open(os.path.join(output, "regression.diffs"), encoding="utf-8", errors="replace") as file:
            parts = re.split(r"^diff .*/results/(\w+)\.out\n", file.read(), flags=re.M)
    except FileNotFoundError:
        return {}
    return dict(zip(parts[1::2], parts[2::2]))


def known(name):
    path = os.path.join(DIFFERENCES, name + ".diff")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return file.read()


def report(text, output):
    """How many failed. A difference that is as it is known, with its reason, is none."""
    found = differences(output)
    failed = 0
    for name, verdict, milliseconds in RESULT.findall(text):
        seconds = f"{int(milliseconds) / 1000:.2f}s"
        wanted = known(name)
        same = verdict == "ok" or (wanted is not None and lines_of(wanted) == lines_of(found.get(name, "")))
        failed += not same
        print(f"{'ok' if same else 'FAIL'} pg_regress/{name} {seconds}{' (as differences/ says)' if same and verdict != 'ok' else ''}")
        if not same:
            print("".join(f"    {line}\n" for line in found.get(name, "no difference was written").splitlines()[:60]), end="")
    return failed
