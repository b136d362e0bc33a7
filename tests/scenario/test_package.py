"""The Debian package: builds, installs, starts, upgrades and purges clean, in a copy of this system's
root that is written nowhere, under a systemd of its own."""

import os
import re
import shutil
import subprocess

from harness import manager, pgweir, process
from harness.testing import Skip, timeout

# Everything below / is the lower layer of an overlay whose upper one is memory.
PREPARE = """mount -t tmpfs tmpfs {folder}/layers
mkdir {folder}/layers/upper {folder}/layers/work {folder}/layers/root
mount -t overlay overlay -o lowerdir=/,upperdir={folder}/layers/upper,workdir={folder}/layers/work \\
    {folder}/layers/root
cd {folder}/layers/root
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mkdir -p run/test sys/fs/cgroup
mount --bind {folder}/shared run/test
rm -rf etc/systemd/system
mkdir -p etc/systemd/system
cp {folder}/shared/check.service {folder}/shared/check.target etc/systemd/system/
"""

INSIDE = """exec 2>&1
export DEBIAN_FRONTEND=noninteractive
say() { echo "$1=$2" >> /run/test/result; }
rm -f /usr/sbin/policy-rc.d  # of a machine that starts nothing

set -x
dpkg -i --force-confnew /run/test/first.deb; say install $?
say started "$(systemctl is-active pgweir.service)"
say enabled "$(systemctl is-enabled pgweir.service)"
say user "$(systemctl show -p User --value pgweir.service) $(id -nu "$(stat -c %u /proc/"$(systemctl show -p MainPID --value pgweir.service)")")"
say mode "$(stat -c '%a %G' /etc/pgweir/pgweir.ini) $(stat -c '%a %G' /etc/pgweir)"
first=$(systemctl show -p MainPID --value pgweir.service)
sed -i 's/^listen_port.*/&\\n; the administrator was here/' /etc/pgweir/pgweir.ini
dpkg -i --force-confdef --force-confold /run/test/second.deb; say upgrade $?
say upgraded "$(dpkg-query -W -f '${Version}' pgweir)"
say restarted "$(systemctl is-active pgweir.service)"
[ "$(systemctl show -p MainPID --value pgweir.service)" != "$first" ] && say replaced yes
say kept "$(grep -c 'administrator was here' /etc/pgweir/pgweir.ini)"
dpkg -r pgweir; say remove $?
say removed "$(systemctl is-active pgweir.service)"
say conffile "$([ -e /etc/pgweir/pgweir.ini ] && echo kept)"
dpkg -P pgweir; say purge $?
say left "$(ls -d /etc/pgweir /var/log/pgweir /usr/sbin/pgweir /lib/systemd/system/pgweir* 2>/dev/null | tr '\\n' ' ')"
say user_left "$(getent passwd pgweir)"
"""

def build(folder, version, port):
    """The package of this tree; the file of settings gets a port of its own."""
    tree = os.path.join(folder, version, "pgweir")
    shutil.copytree(pgweir.ROOT, tree, symlinks=True,
                    ignore=shutil.ignore_patterns(".git", "build", "__pycache__"))
    with open(os.path.join(tree, "conf", "pgweir.ini"), "r+", encoding="utf-8") as file:
        text = re.sub("^;listen_port.*", f"listen_port = {port}", file.read(), flags=re.M)
        text = re.sub("^;http_listen.*", "http_listen =", text, flags=re.M)
        file.seek(0)
        file.write(text)
        file.truncate()
    changelog = os.path.join(tree, "debian", "changelog")
    with open(changelog, encoding="utf-8") as file:
        text = file.read()
    with open(changelog, "w", encoding="utf-8") as file:
        file.write(re.sub(r"\([^)]*\)", f"({version})", text, count=1))
    done = subprocess.run(["dpkg-buildpackage", "-us", "-uc", "-b", "-j2"], cwd=tree,
                          capture_output=True, text=True, timeout=240, check=False,
                          env=dict(os.environ, DEB_BUILD_OPTIONS="nocheck noautodbgsym"))
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return os.path.join(folder, version, f"pgweir_{version}_{architecture()}.deb")

def as_version(package, folder, version):
    """The same files as another version, which is all that an upgrade goes by."""
    tree = os.path.join(folder, version)
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    control = os.path.join(tree, "DEBIAN", "control")
    with open(control, encoding="utf-8") as file:
        text = file.read()
    with open(control, "w", encoding="utf-8") as file:
        file.write(re.sub("^Version: .*", f"Version: {version}", text, flags=re.M))
    other = os.path.join(folder, f"{version}.deb")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, other], check=True, stdout=subprocess.DEVNULL)
    return other

def architecture():
    return subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True,
                          check=True).stdout.strip()

def can_have_a_root(folder):
    return manager.is_possible(f"mount -t tmpfs tmpfs {folder} && cd {folder} && mkdir u w r && "
                               "mount -t overlay overlay -o lowerdir=/,upperdir=u,workdir=w r")


@timeout(400)
def test_package():
    if shutil.which("dh") is None or shutil.which("dpkg-buildpackage") is None:
        raise Skip("needs debhelper")
    folder = process.folder("package")
    os.mkdir(os.path.join(folder, "layers"))
    shared = os.path.join(folder, "shared")
    os.mkdir(shared)
    port = process.free_port()
    first = build(folder, "0.1.0~first", port)
    contents = subprocess.run(["dpkg", "-c", first], capture_output=True, text=True,
                              check=True).stdout
    verifier = [line for line in contents.splitlines() if line.endswith("/pgweir/pgweir-verify")]
    assert len(verifier) == 1, contents
    for path in ("./usr/sbin/pgweir", "./usr/bin/pgweir-top", "./lib/systemd/system/pgweir.service",
                 "./lib/systemd/system/pgweir@.service", "./lib/systemd/system/pgweir.socket",
                 "./etc/pgweir/pgweir.ini"):
        assert re.search(re.escape(path) + "$", contents, re.M), (path, contents)
    if not can_have_a_root(os.path.join(folder, "layers")):
        raise Skip("built; installing it needs root, name spaces and systemd")
    shutil.copy(first, os.path.join(shared, "first.deb"))
    shutil.copy(as_version(first, folder, "0.1.0~second"), os.path.join(shared, "second.deb"))
    result, said = manager.run(shared, PREPARE.replace("{folder}", folder), INSIDE, 150,
                               seen_as="/run/test", root=".", chroot="chroot .")
    expected = {
        "install": "0", "started": "active", "enabled": "enabled", "user": "pgweir pgweir",
        "mode": "640 pgweir 750 pgweir", "upgrade": "0", "upgraded": "0.1.0~second",
        "restarted": "active", "replaced": "yes", "kept": "1", "remove": "0",
        "removed": "inactive", "conffile": "kept", "purge": "0", "left": "", "user_left": "",
    }
    assert result == expected, (result, said)
