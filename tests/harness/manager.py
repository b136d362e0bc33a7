"""A real service manager for a test: systemd as the first process of name spaces of its own, which
runs one script of the test as a unit and ends when that has ended."""

import os
import subprocess

from . import process

CHECK = """[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/bash {folder}/inside.sh
ExecStopPost=/bin/systemctl --force --force exit 0
StandardOutput=append:{folder}/output
StandardError=append:{folder}/output
"""

TARGET = "[Unit]\nRequires=check.service\nAllowIsolate=yes\n"

# The hierarchy of control groups that systemd wants, below {root}; then systemd itself.
BEGIN = """mount -t tmpfs tmpfs {root}/sys/fs/cgroup
mkdir {root}/sys/fs/cgroup/systemd {root}/sys/fs/cgroup/unified
mount -t cgroup2 cgroup2 {root}/sys/fs/cgroup/unified
mount -t cgroup -o none,name=systemd,xattr cgroup {root}/sys/fs/cgroup/systemd
exec env -i container=other PATH="$PATH" {chroot} /lib/systemd/systemd --system \\
    --unit=check.target --log-target=null --show-status=no
"""

SPACES = ["unshare", "-mpfiu", "--cgroup", "--kill-child"]


def is_possible(more="true"):
    """Root, name spaces and systemd are there, and the shell commands `more` work in them."""
    if os.geteuid() != 0 or not os.path.exists("/lib/systemd/systemd"):
        return False
    probe = (f"mount --make-rprivate / && {more} && mount -t tmpfs tmpfs /sys/fs/cgroup && "
             "mkdir /sys/fs/cgroup/systemd && "
             "mount -t cgroup -o none,name=systemd,xattr cgroup /sys/fs/cgroup/systemd")
    return subprocess.run([*SPACES, "sh", "-c", probe], capture_output=True, timeout=30,
                          check=False).returncode == 0


def run(folder, prepare, inside, seconds, seen_as=None, root="", chroot=""):
    """Runs the shell commands `prepare` in fresh name spaces, then systemd there (in `chroot` when
    given, with its file systems below `root`), and in it the script `inside`, which finds `folder`
    under the name `seen_as`. (what it wrote to the file `result` as NAME=VALUE, everything that was
    said): `prepare` must put check.service and check.target where systemd finds units."""
    for name, text in (("inside.sh", inside), ("check.target", TARGET),
                       ("check.service", CHECK.replace("{folder}", seen_as or folder))):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)
    script = ("set -e\nmount --make-rprivate /\n" + prepare
              + BEGIN.replace("{root}", root).replace("{chroot}", chroot))
    child = process.spawn([*SPACES, "bash", "-c", script],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, _ = child.communicate(timeout=seconds)
    texts = {}
    for name in ("result", "output", "daemon.log"):
        path = os.path.join(folder, name)
        texts[name] = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                texts[name] = file.read()
    result = dict(line.split("=", 1) for line in texts["result"].splitlines())
    return result, (texts["output"][-4000:], texts["daemon.log"][-2000:], said[-2000:])
