"""What is generated from the tables of settings and options: it is current, and it works."""

import os
import re
import shutil
import subprocess

from harness import pgweir, process
from harness.testing import Skip, cases, timeout

ROOT = pgweir.ROOT
MANUALS = ("pgweir.1", "pgweir.ini.5", "pgweir-top.1")


def command(*arguments, **more):
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60,
                          stdin=subprocess.DEVNULL, env=pgweir.environment(), **more)


@timeout(60)
def test_pages_are_current():
    build = os.path.dirname(os.path.dirname(os.path.dirname(pgweir.binary())))
    done = command(os.path.join(ROOT, "tests", "generated"), build, "--check")
    assert done.returncode == 0, done.stdout + done.stderr


@timeout(90)
def test_pages_that_differ_are_noticed():
    """The check above would fail: in a copy of the tree each page in turn is changed."""
    build = os.path.dirname(os.path.dirname(os.path.dirname(pgweir.binary())))
    copy = process.folder("tree")
    for part in ("conf", "docs"):
        shutil.copytree(os.path.join(ROOT, part), os.path.join(copy, part))
    os.mkdir(os.path.join(copy, "tests"))
    script = shutil.copy(os.path.join(ROOT, "tests", "generated"), os.path.join(copy, "tests"))
    assert command(script, build, "--check").returncode == 0
    for page in ("conf/pgweir.ini", "docs/settings.md", "docs/man/pgweir.1", "docs/man/pgweir.ini.5",
                 "docs/man/pgweir-top.1", "conf/completion/_pgweir", "conf/completion/pgweir.bash",
                 "docs/moving-from-pgbouncer.md"):
        path = os.path.join(copy, page)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        changed = text.replace("pool", "pond").replace("--help", "--halp").replace("--once", "--twice")
        assert changed != text
        with open(path, "w", encoding="utf-8") as file:
            file.write(changed)
        done = command(script, build, "--check")
        assert done.returncode == 1 and done.stdout.startswith(page + " "), done.stdout
        assert command(script, build).returncode == 0
        with open(path, encoding="utf-8") as file:
            assert "--twice" not in file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


@cases(**{name: name for name in MANUALS})
def test_manual_is_clean(name):
    path = os.path.join(ROOT, "docs", "man", name)
    checked = 0
    if shutil.which("mandoc"):
        checked += 1
        done = command("mandoc", "-T", "lint", path)
        assert done.returncode == 0 and not done.stdout, done.stdout
    if shutil.which("man"):
        checked += 1
        done = command("man", "--warnings", "-l", path)
        assert done.returncode == 0 and not done.stderr and len(done.stdout) > 400, done
    if checked == 0:
        raise Skip("neither mandoc nor man is installed")


def test_manual_has_every_option_and_setting():
    status, text = pgweir.run("--help")
    assert status == 0
    options = re.findall(r"(--[a-z]+)", text.split("\n\n")[2])
    assert len(options) >= 10, options
    with open(os.path.join(ROOT, "docs", "man", "pgweir.1"), encoding="utf-8") as file:
        page = file.read().replace("\\-", "-")
    for option in options:
        assert option in page, option
    with open(os.path.join(ROOT, "docs", "man", "pgweir.ini.5"), encoding="utf-8") as file:
        page = file.read()
    with open(os.path.join(ROOT, "conf", "pgweir.ini"), encoding="utf-8") as file:
        settings = re.findall(r"^;([a-z_]+) =", file.read(), re.MULTILINE)
    assert len(settings) > 50
    for setting in settings:
        assert f"\\fB{setting}\\fR" in page or setting in ("shop", "reports", "batch"), setting


def complete_bash(folder, *words):
    """What bash offers for the last of the words."""
    script = """
        source "$1"; shift
        complete -p "$1" >/dev/null || exit 1
        function=$(complete -p "$1" | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        "$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    path = os.path.join(ROOT, "conf", "completion", "pgweir.bash")
    done = command("bash", "-c", script, "bash", path, *words, cwd=folder)
    assert done.returncode == 0 and not done.stderr, done
    return [line for line in done.stdout.splitlines() if line]


def test_completion_of_bash():
    folder = process.folder("completion")
    for name in ("a b.ini", "c.ini", "c.txt"):
        with open(os.path.join(folder, name), "w", encoding="ascii"):
            pass
    os.mkdir(os.path.join(folder, "sub"))
    assert complete_bash(folder, "pgweir", "--ch") == ["--check"]
    assert set(complete_bash(folder, "pgweir", "-")) >= {"-t", "--check", "--running", "--import"}
    assert "--reboot" not in complete_bash(folder, "pgweir", "--")
    assert sorted(complete_bash(folder, "pgweir", "")) == ["a b.ini", "c.ini", "sub"]
    assert complete_bash(folder, "pgweir", "--check", "c") == ["c.ini"]
    assert sorted(complete_bash(folder, "pgweir", "-o", "c")) == ["c.ini", "c.txt"]
    assert "root" in complete_bash(folder, "pgweir", "--user", "roo")
    assert complete_bash(folder, "pgweir-top", "--on") == ["--once"]
    assert complete_bash(folder, "pgweir-top", "--port", "") == []


def complete_zsh(words):
    """What zsh offers: a shell on a terminal of its own lists the matches of what was typed."""
    import pty
    import select
    import time
    folder = os.path.join(ROOT, "conf", "completion")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="dumb", ZDOTDIR="/nonexistent", LC_ALL="C.UTF-8")
        os.execlp("zsh", "zsh", "-f", "-i")
    seen = b""

    def wait(mark, seconds=20):
        nonlocal seen
        end = time.monotonic() + seconds
        while mark not in seen:
            assert time.monotonic() < end, (mark, seen)
            if select.select([terminal], [], [], 0.2)[0]:
                seen += os.read(terminal, 65536)
        before, _, seen = seen.partition(mark)
        return before

    try:
        setup = (f"PS1=; unsetopt zle_bracketed_paste prompt_sp; fpath=({folder} $fpath); autoload -U compinit; "
                 "compinit -u -D; zstyle ':completion:*' list-prompt ''; LISTMAX=9999; "
                 "list() { compadd() { builtin compadd -O offered \"$@\" 2>/dev/null; "
                 "print -rl -- $offered; builtin compadd \"$@\" }; _main_complete; "
                 "unfunction compadd; print END-OF-LIST }; zle -C list list-choices list; "
                 "bindkey '^X^L' list; print REA''DY\n")
        os.write(terminal, setup.encode())
        wait(b"READY")
        os.write(terminal, words.encode() + b"\x18\x0c")
        return wait(b"END-OF-LIST").decode().split()
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)


def test_completion_of_zsh():
    if shutil.which("zsh") is None:
        raise Skip("zsh is not installed")
    done = command("zsh", "-n", os.path.join(ROOT, "conf", "completion", "_pgweir"))
    assert done.returncode == 0, done.stderr
    offered = complete_zsh("pgweir --")
    assert {"--check", "--running", "--import", "--output"} <= set(offered), offered
    assert "--reboot" not in offered
    offered = complete_zsh("pgweir-top --")
    assert {"--once", "--interval"} <= set(offered), offered
    assert "--check" not in offered
