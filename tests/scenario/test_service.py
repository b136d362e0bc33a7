"""Under a service manager: what the daemon tells it, what it takes from it, and the units."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time

from harness import manager, pgweir, process
from harness.pgweir import Pgweir
from harness.scripted import Scripted
from harness.testing import Skip, timeout


class Notices:
    """A service manager's notify socket."""

    def __init__(self):
        self.path = os.path.join(process.folder("notify"), "socket")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o777)
        self.seen = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def take(self):
        """All assignments so far, as (name, value)."""
        self.socket.setblocking(False)
        while True:
            try:
                text = self.socket.recv(65536).decode()
            except BlockingIOError:
                return self.seen
            self.seen += [tuple(line.split("=", 1)) for line in text.splitlines()]

    def wait(self, name, pattern=".*", after=0):
        """The index of the first such assignment from index `after` on."""
        def find():
            for index, (found, value) in enumerate(self.take()):
                if index >= after and found == name and re.fullmatch(pattern, value):
                    return index + 1
            return None
        return process.wait_until(find, f"{name}={pattern} after {after} of {self.seen}", 10) - 1


def watched(notices, **variables):
    """A daemon that is not started yet and has this manager."""
    daemon = Pgweir({"db": "host=127.0.0.1 port=1"}, start=False)
    daemon.variables = dict(variables, NOTIFY_SOCKET=notices.path)
    return daemon


def test_ready_and_stopping():
    with Notices() as notices, watched(notices) as daemon:
        daemon.start()
        notices.wait("READY", "1")
        assert ("STOPPING", "1") not in notices.take()
        daemon.stop()
        notices.wait("STOPPING", "1")


def test_reload():
    with Notices() as notices, watched(notices) as daemon:
        daemon.start()
        ready = notices.wait("READY", "1")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        daemon.reload()
        reloading = notices.wait("RELOADING", "1", ready + 1)
        at = int(notices.seen[notices.wait("MONOTONIC_USEC", after=reloading)][1])
        assert before <= at <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        notices.wait("READY", "1", reloading)


def test_reload_of_a_bad_file_is_in_the_status():
    with Notices() as notices, watched(notices) as daemon:
        daemon.start()
        ready = notices.wait("READY", "1")
        daemon.settings["pool_sise"] = "3"
        daemon.reload()
        status = notices.wait("STATUS", ".*old configuration stays.*", ready + 1)
        assert "pool_sise" in notices.seen[status][1], notices.seen
        notices.wait("READY", "1", ready + 1)
        del daemon.settings["pool_sise"]
        daemon.reload()
        notices.wait("STATUS", "running.*", status + 1)


def test_watchdog_is_fed_by_the_loop():
    with Notices() as notices, watched(notices, WATCHDOG_USEC="400000") as daemon:
        daemon.start()
        at = notices.wait("WATCHDOG", "1")
        notices.wait("WATCHDOG", "1", at + 1)
        daemon.signal(signal.SIGSTOP)
        try:
            time.sleep(0.3)
            stopped = len(notices.take())
            time.sleep(0.6)
            assert len(notices.take()) == stopped, notices.seen[stopped:]
        finally:
            daemon.signal(signal.SIGCONT)
        notices.wait("WATCHDOG", "1", stopped)


def test_no_watchdog_unless_asked_for():
    with Notices() as notices, watched(notices) as daemon:
        daemon.start()
        notices.wait("READY", "1")
        time.sleep(0.5)
        assert "WATCHDOG" not in dict(notices.take())


def test_watchdog_of_another_process_is_not_ours():
    with Notices() as notices, watched(notices, WATCHDOG_USEC="200000", WATCHDOG_PID="1") as daemon:
        daemon.start()
        notices.wait("READY", "1")
        time.sleep(0.5)
        assert "WATCHDOG" not in dict(notices.take())


def test_sockets_of_the_manager():
    """They replace those of the file, which the daemon does not even open."""
    with Scripted() as server, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        port = listener.getsockname()[1]
        with Pgweir({"db": server.dsn()}, start=False) as daemon:
            configured = daemon.port
            log = open(daemon.log, "ab")  # pylint: disable=consider-using-with
            command = ["/bin/sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3<&"$0"',
                       str(listener.fileno()), pgweir.binary(), daemon.ini]
            daemon.child = process.spawn(command, stdout=log, stderr=log, cwd=daemon.folder,
                                         env=pgweir.environment(), pass_fds=[listener.fileno()],
                                         **daemon.identity)
            log.close()
            daemon.port = port
            process.wait_until(daemon.listens, "the daemon listens", 15)
            with daemon.client() as client:
                assert client.value("select 1") == "select 1"
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", configured)) != 0
            daemon.stop()


def journal_fields(datagram):
    """An entry of the journal's native protocol, as far as values have no line breaks."""
    return dict(line.split("=", 1) for line in datagram.decode().splitlines() if "=" in line)


def test_journal_entries_have_fields():
    """When standard error is the journal's, entries go there by its own protocol, once."""
    if os.geteuid() != 0:
        raise Skip("needs root for a mount name space")
    folder = process.folder("journal")
    with Scripted() as server, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal, \
            Pgweir({"db": server.dsn()}, start=False) as daemon, open(daemon.log, "ab") as log:
        journal.bind(os.path.join(folder, "socket"))
        os.chmod(os.path.join(folder, "socket"), 0o777)
        journal.settimeout(10)
        status = os.fstat(log.fileno())
        user = daemon.identity["user"]
        script = ("mount --make-rprivate / && mount -t tmpfs tmpfs /run && "
                  "mkdir -p /run/systemd/journal && mount --bind \"$0\" /run/systemd/journal && "
                  f"exec setpriv --reuid {user} --clear-groups \"$@\"")
        daemon.child = process.spawn(
            ["unshare", "-m", "sh", "-c", script, folder, pgweir.binary(), daemon.ini],
            stdout=log, stderr=log, cwd=daemon.folder,
            env=pgweir.environment() | {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        process.wait_until(daemon.listens, "the daemon listens", 15)
        with daemon.client() as client:
            assert client.value("select 1") == "select 1"
        entries = []
        while not entries or entries[-1]["PGWEIR_EVENT"] != "disconnect":
            entries.append(journal_fields(journal.recv(65536)))
        by_event = {entry["PGWEIR_EVENT"]: entry for entry in entries}
        login = by_event["login"]
        assert login["PGWEIR_DATABASE"] == "db" and login["PGWEIR_USER"] == "alice", login
        assert login["PGWEIR_CLIENT"] == by_event["disconnect"]["PGWEIR_CLIENT"], entries
        assert int(by_event["server_connect"]["PGWEIR_SERVER"]) > 0, entries
        assert login["PRIORITY"] == "6" and login["SYSLOG_IDENTIFIER"] == "pgweir", login
        assert "login succeeded" in login["MESSAGE"], login
        assert "login succeeded" not in daemon.read_log()  # not a second time
        daemon.stop()


# --- the units ------------------------------------------------------------------------------------

def analyze(*arguments):
    if shutil.which("systemd-analyze") is None:
        raise Skip("systemd-analyze is not installed")
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True,
                          timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def unit(name):
    return os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(pgweir.binary()))),
                        "systemd", name)


def units_to_verify():
    """Copies whose program is there, so that nothing but the units is judged."""
    folder = process.folder("units")
    for name in ("pgweir.service", "pgweir@.service", "pgweir.socket"):
        source = unit(name) if name.endswith("service") else os.path.join(
            pgweir.ROOT, "systemd", name)
        with open(source, encoding="utf-8") as file:
            text = file.read()
        text = re.sub("^ExecStart=.*?pgweir ", "ExecStart=/bin/true ", text, flags=re.M)
        text = re.sub("^Documentation=.*\n", "", text, flags=re.M)  # no manual is installed here
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)
    return folder


def test_units_are_valid():
    folder = units_to_verify()
    for name in ("pgweir.service", "pgweir@.service", "pgweir.socket"):
        path = os.path.join(folder, name.replace("@", "@one"))
        if "@" in name:
            os.rename(os.path.join(folder, name), path)
        status, output = analyze("verify", "--man=no", path)
        complaints = [line for line in output.splitlines() if "pgweir" in line]
        assert status == 0 and not complaints, (name, output)


def test_unit_with_a_mistake_is_not_valid():
    folder = units_to_verify()
    path = os.path.join(folder, "pgweir.service")
    with open(path, "a", encoding="utf-8") as file:
        file.write("[Service]\nRestartSek=3\n")
    _, output = analyze("verify", "--man=no", path)
    assert "RestartSek" in output, output


def test_exposure_of_the_service():
    status, output = analyze("security", "--offline=true", "--threshold=20",
                             os.path.join(units_to_verify(), "pgweir.service"))
    found = re.search(r"exposure level for pgweir.service: ([\d.]+)", output)
    assert found and float(found.group(1)) <= 2.0 and status == 0, output


# --- a real service manager -----------------------------------------------------------------------

INSIDE = """set -e
out={folder}
say() { echo "$1=$2" >> "$out/result"; }
show() { systemctl show -p "$1" --value pgweir.service; }
until_is() { # property, pattern: at most 20 s
    for _ in $(seq 200); do
        show "$1" | grep -q -E "$2" && return 0
        sleep 0.1
    done
    say "missed_$1" "$(show "$1")"
    return 1
}
systemctl start pgweir.service || { systemctl status pgweir.service; exit 1; }
say started "$(show ActiveState)"
first=$(show MainPID)
say worker "$(tr '\\0' ' ' < "/proc/$(cat "/proc/$first/task/$first/children" | tr -d ' ')/cmdline")"
systemctl reload pgweir.service
say reloaded "$(show ActiveState)"
sed -i 's/^log_level.*/log_level = nonsense/' "$out/pgweir.ini"
systemctl reload pgweir.service || true
until_is StatusText "old configuration stays"
say bad_reload "$(show StatusText)"
say after_bad_reload "$(show ActiveState)"
sed -i 's/^log_level.*/log_level = info/' "$out/pgweir.ini"
kill -STOP "$first"
until_is NRestarts '^1$'
until_is ActiveState '^active$'
say watchdog "$(show NRestarts)"
[ "$(show MainPID)" != "$first" ] && say replaced yes
systemctl stop pgweir.service
say stopped "$(show ActiveState) $(show Result) $(show ExecMainStatus)"
"""

PREPARE = """mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /etc/systemd/system
cp {folder}/pgweir.service {folder}/check.service {folder}/check.target /etc/systemd/system/
mkdir /etc/systemd/system/pgweir.service.d
cp {folder}/override.conf /etc/systemd/system/pgweir.service.d/
"""

OVERRIDE = """[Unit]
After=
Wants=
DefaultDependencies=no
[Service]
ExecStart=
ExecStart={folder}/pgweir {folder}/pgweir.ini
User=nobody
Group=nogroup
WatchdogSec=2
PrivateTmp=no
StandardError=append:{folder}/daemon.log
"""

@timeout(120)
def test_real_service_manager():
    """systemd as the first process of name spaces of its own starts, reloads, watches and stops the
    daemon by the unit that is installed, sandbox included."""
    if not manager.is_possible():
        raise Skip("needs root, name spaces and systemd")
    plain = os.environ.get("PGWEIR_PLAIN_BUILD")
    if plain is None:
        raise Skip("needs a build without sanitizers in PGWEIR_PLAIN_BUILD")
    folder = process.folder("manager")
    shutil.copy(os.path.join(plain, "src", "daemon", "pgweir"), folder)
    shutil.copy(pgweir.verifier(plain), folder)
    shutil.copy(unit("pgweir.service"), folder)
    files = {
        "override.conf": OVERRIDE.replace("{folder}", folder),
        "pgweir.ini": f"[pgweir]\nlisten_port = {process.free_port()}\nauth_type = pam\n"
                      f"auth_worker_program = {folder}/pgweir-verify\n"
                      "http_listen =\nlog_level = info\n[databases]\ndb = host=127.0.0.1 port=1\n",
    }
    for name, text in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)
    result, said = manager.run(folder, PREPARE.replace("{folder}", folder),
                               INSIDE.replace("{folder}", folder), 100)
    whole = (result, said)
    assert result.get("started") == "active", whole
    assert result.get("worker") == f"{folder}/pgweir-verify ", whole
    assert result.get("reloaded") == "active", whole
    assert "log_level" in result.get("bad_reload", ""), whole
    assert result.get("after_bad_reload") == "active", whole
    assert result.get("watchdog") == "1" and result.get("replaced") == "yes", whole
    assert result.get("stopped") == "inactive success 0", whole
