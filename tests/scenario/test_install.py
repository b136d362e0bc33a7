"""What an installation lays where."""

import os
import shutil
import stat
import subprocess

from harness import pgweir, process
from harness.testing import Skip

EXPECTED = {
    "sbin/pgweir": 0o755,
    "share/man/man1/pgweir.1": 0o644,
    "bin/pgweir-top": 0o755,
    "pgweir/pgweir-verify": 0o755,
    "share/man/man1/pgweir-top.1": 0o644,
    "share/man/man5/pgweir.ini.5": 0o644,
    "share/bash-completion/completions/pgweir": 0o644,
    "share/zsh/site-functions/_pgweir": 0o644,
    "share/doc/pgweir/pgweir.ini": 0o644,
    "share/doc/pgweir/LICENSE": 0o644,
    "lib/systemd/system/pgweir.service": 0o644,
}


def test_everything_has_its_place():
    if shutil.which("meson") is None:
        raise Skip("meson is not installed")
    build = os.path.dirname(os.path.dirname(os.path.dirname(pgweir.binary())))
    target = process.folder("install")
    done = subprocess.run(
        ["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", target],
        capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {}
    for folder, _, names in os.walk(target):
        for name in names:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, target)] = stat.S_IMODE(os.stat(path).st_mode)
    for ending, mode in EXPECTED.items():
        matches = [path for path in found if ("/" + path).endswith("/" + ending)]
        assert len(matches) == 1, (ending, sorted(found))
        assert found[matches[0]] == mode, (ending, oct(found[matches[0]]))
    assert not any("/etc/" in "/" + path for path in found), "the live file is not ours: " + str(found)
