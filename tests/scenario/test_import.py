"""The commands that work on files: --import and --check --running. What an import means is tested in
tests/unit/conf/test_import.c."""

import os
import stat

from harness import pgweir, postgres, process
from harness.testing import cases


def place(text, name="pgbouncer.ini"):
    path = os.path.join(process.folder("import"), name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o644)
    return path


GOOD = """[databases]
shop = host=db1.example password=SECRET pool_size=3
[pgbouncer]
listen_addr = 127.0.0.1
auth_type = trust
query_wait_timeout = 9
tcp_keepalive = 0
"""


def test_import_to_standard_output():
    status, text = pgweir.run("--import", place(GOOD))
    assert status == 0, text
    assert "[pgweir]\n" in text and "pool_timeout = 9\n" in text and "password=SECRET" in text, text
    assert "pool_mode = session\n" in text, text


def test_import_to_a_file_of_its_owner():
    source = place(GOOD)
    target = os.path.join(os.path.dirname(source), "pgweir.ini")
    status, output = pgweir.run("--import", source, "-o", target)
    assert status == 0 and output == "", output
    assert stat.S_IMODE(os.stat(target).st_mode) == 0o600
    status, output = pgweir.run("--check", target)
    assert status == 0, output
    assert "ignored" not in output and "more than once" not in output, output
    # One that is there is made its owner's as well, and nothing of it stays.
    os.chmod(target, 0o644)
    with open(target, "a", encoding="utf-8") as file:
        file.write("; " + "x" * 10000 + "\n")
    status, output = pgweir.run("--import", source, "--output", target)
    assert status == 0, output
    assert stat.S_IMODE(os.stat(target).st_mode) == 0o600
    with open(target, encoding="utf-8") as file:
        assert "xxx" not in file.read()


def test_import_of_what_cannot_be_kept():
    source = place(GOOD + "disable_pqexec = 1\n")
    target = os.path.join(os.path.dirname(source), "pgweir.ini")
    status, output = pgweir.run("--import", source, "-o", target)
    assert status == 1 and "disable_pqexec: refused" in output and "cannot be kept" in output, output
    status, output = pgweir.run("--check", target)
    assert status == 1 and "disable_pqexec" in output, output


def test_import_of_no_file_leaves_the_target_alone():
    target = place("; mine\n", "pgweir.ini")
    status, output = pgweir.run("--import", "/nonexistent/pgbouncer.ini", "-o", target)
    assert status == 1 and "/nonexistent/pgbouncer.ini" in output, output
    with open(target, encoding="utf-8") as file:
        assert file.read() == "; mine\n"


def test_import_into_nowhere():
    status, output = pgweir.run("--import", place(GOOD), "-o", "/nonexistent/x")
    assert status == 1 and "/nonexistent/x: No such file" in output, output


def test_sample_of_debian():
    sample = "/etc/pgbouncer/pgbouncer.ini"
    if not postgres.identity() and not os.access(sample, os.R_OK):
        return
    target = os.path.join(process.folder("import"), "pgweir.ini")
    status, output = pgweir.run("--import", sample, "-o", target)
    assert status == 0, output
    status, before = pgweir.run("--check", sample)
    assert status == 0, before
    status, after = pgweir.run("--check", target)
    assert status == 0, after

    def values(text):
        return [line.split(" ; ")[0] for line in text.splitlines() if " = " in line]

    assert len(values(before)) > 50 and values(before) == values(after)


@cases(running_alone=("--running", "x.ini"), output_alone=("-o", "y", "x.ini"),
       both=("--check", "--import", "x.ini"), daemon=("-d", "--check", "x.ini"),
       no_file=("--check",), two_files=("a", "b"), unknown=("--frobnicate", "x.ini"),
       no_page=("--print", "nonsense"))
def test_what_does_not_go_together(*arguments):
    status, output = pgweir.run(*arguments)
    assert status == 1 and output, output
