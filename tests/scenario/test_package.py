"""The Debian package: builds, installs, starts, upgrades and purges clean, in a copy of this system's
root that is written nowhere, under a systemd of its own."""

import os
import re
import shutil
import subprocess

from harness import pgweir, process
from harness.testing import Skip, timeout

# Everything below / is the lower layer of an overlay whose upper one is memory.
MANAGER = """set -e
mount --make-rprivate /
mount -t tmpfs tmpfs {folder}/layers
mkdir {folder}/layers/upper {folder}/layers/work {folder}/layers/root
mount -t overlay overlay -o lowerdir=/,upperdir={folder}/layers/upper,workdir={folder}/layers/work \\
    {folder}/layers/root
cd {folder}/layers/root
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mkdir -p run/test
mount --bind {folder}/shared run/test
rm -rf etc/systemd/system
mkdir -p etc/systemd/system
cp {folder}/shared/check.service {folder}/shared/check.target etc/systemd/system/
mkdir -p sys/fs/cgroup
mount -t tmpfs tmpfs sys/fs/cgroup
mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
mount -t cgroup -o none,name=systemd,xattr cgroup sys/fs/cgroup/systemd
exec env -i container=other PATH="$PATH" chroot . /lib/systemd/systemd --system \\
    --unit=check.target --log-target=null --show-status=no
"""

CHECK = """[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/bash /run/test/inside.sh
ExecStopPost=/bin/systemctl --force --force exit 0
StandardOutput=append:/run/test/output
StandardError=append:/run/test/output
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

def architecture():
    return subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True,
                          check=True).stdout.strip()

def can_have_a_root(folder):
    if os.geteuid() != 0 or not os.path.exists("/lib/systemd/systemd"):
        return False
    probe = (f"mount --make-rprivate / && mount -t tmpfs tmpfs {folder} && cd {folder} && "
             "mkdir u w r && mount -t overlay overlay -o lowerdir=/,upperdir=u,workdir=w r && "
             "mount -t tmpfs tmpfs /sys/fs/cgroup && mkdir /sys/fs/cgroup/systemd && "
             "mount -t cgroup -o none,name=systemd,xattr cgroup /sys/fs/cgroup/systemd")
    return subprocess.run(["unshare", "-mpfiu", "--cgroup", "--kill-child", "sh", "-c", probe],
                          capture_output=True, timeout=30, check=False).returncode == 0

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
    for path in ("./usr/sbin/pgweir", "./usr/bin/pgweir-top", "./lib/systemd/system/pgweir.service",
                 "./lib/systemd/system/pgweir@.service", "./lib/systemd/system/pgweir.socket",
                 "./etc/pgweir/pgweir.ini"):
        assert re.search(re.escape(path) + "$", contents, re.M), (path, contents)
    if not can_have_a_root(os.path.join(folder, "layers")):
        raise Skip("built; installing it needs root, name spaces and systemd")
    shutil.copy(first, os.path.join(shared, "first.deb"))
    shutil.copy(build(folder, "0.1.0~second", port), os.path.join(shared, "second.deb"))
    for name, text in (("check.service", CHECK), ("inside.sh", INSIDE),
                       ("check.target", "[Unit]\nRequires=check.service\nAllowIsolate=yes\n")):
        with open(os.path.join(shared, name), "w", encoding="utf-8") as file:
            file.write(text)
    child = process.spawn(["unshare", "-mpfiu", "--cgroup", "--kill-child", "bash", "-c",
                           MANAGER.replace("{folder}", folder)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, _ = child.communicate(timeout=150)

    def read(name):
        path = os.path.join(shared, name)
        return open(path, encoding="utf-8").read() if os.path.exists(path) else ""
    result = dict(line.split("=", 1) for line in read("result").splitlines())
    expected = {
        "install": "0", "started": "active", "enabled": "enabled", "user": "pgweir pgweir",
        "mode": "640 pgweir 750 pgweir", "upgrade": "0", "upgraded": "0.1.0~second",
        "restarted": "active", "replaced": "yes", "kept": "1", "remove": "0",
        "removed": "inactive", "conffile": "kept", "purge": "0", "left": "", "user_left": "",
    }
    assert result == expected, (result, read("output")[-4000:], said[-2000:])
