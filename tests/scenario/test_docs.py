"""What the manuals promise to be complete about."""

import os
import re

from harness import pgweir


def read(*path):
    with open(os.path.join(pgweir.ROOT, *path), encoding="utf-8") as file:
        return file.read()


def reasons():
    """(identifier, SQLSTATE or None, text) of the table."""
    rows = re.findall(r'^WEIR_REASON\((\w+), (NULL|"\w+"), \w+, \w+, \w+,\s+"(.*)"\)$',
                      read("include", "weir", "reasons.def"), re.M)
    assert len(rows) == read("include", "weir", "reasons.def").count("\nWEIR_REASON("), len(rows)
    return [(name, None if state == "NULL" else state.strip('"'), text)
            for name, state, text in rows]


def test_troubleshooting_has_every_error():
    """Each error that pgweir makes itself is there with its SQLSTATE: the text, or with its variable
    parts left out."""
    page = read("docs", "troubleshooting.md")
    rows = [re.findall(r"`([^`]*)`", line) + [line.split("|")[1].strip()]
            for line in page.splitlines() if re.match(r"\| \w{5} \|", line)]
    missing = []
    for name, state, text in reasons():
        if state is None:
            continue
        words = text.split(" (")[0]
        known = any(row[-1] == state and any(part and (part in text or words in part)
                                             for part in row[:-1]) for row in rows)
        if not known:
            missing.append((name, state, text))
    assert not missing, missing


def test_links_between_manuals():
    pages = [name for name in os.listdir(os.path.join(pgweir.ROOT, "docs"))
             if name.endswith(".md")]
    broken = []
    for folder, name in [("docs", page) for page in pages] + [("", "README.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", read(folder, name)):
            if not os.path.exists(os.path.join(pgweir.ROOT, folder, target)):
                broken.append((name, target))
    assert pages and not broken, broken
