"""The daemon under test: writes its files, starts it, watches its log, and at the end insists on a
clean exit without any sanitizer report."""

import glob
import os
import re
import signal
import subprocess

from . import postgres, process, wire

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REPORT = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|UndefinedBehaviorSanitizer")
DEFAULTS = {
    "listen_addr": "127.0.0.1",
    "auth_type": "trust",
    "shutdown_timeout": "3",
    "log_level": "debug",
    "log_stats": "off",
    "http_listen": "",
    "auth_failure_delay": "0",  # tests of wrong passwords have no time to lose
}
# A scripted server expects what clients say, and no questions of pgweir's own.
SCRIPTED = {"state_learning": "off"}
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
}

STOP = signal.SIGTERM  # inside the class `signal` is a method

running = []


def binary():
    build = os.environ.get("PGWEIR_BUILD") or os.path.join(ROOT, "build")
    path = os.path.join(build, "src", "daemon", "pgweir")
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"{path} is missing: name the build directory in PGWEIR_BUILD")
    return path


def verifier(build=None):
    """The program that asks PAM and LDAP, for the setting auth_worker_program."""
    source = os.path.join(build, "src") if build else os.path.dirname(os.path.dirname(binary()))
    return os.path.join(source, "verifier", "pgweir-verify")


def environment():
    clean = {name: value for name, value in os.environ.items() if not re.match(r"PG[A-Z]+$", name)}
    for name, value in SANITIZERS.items():
        clean.setdefault(name, value)
    return clean


def run(*arguments, timeout=20):
    """The program with these arguments to its end: (exit status, output)."""
    done = subprocess.run([binary(), *arguments], capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, env=environment(), check=False,
                          **postgres.identity())
    return done.returncode, done.stdout + done.stderr


class Pgweir:
    """Pgweir({"db": dsn}, pool_size=2) is running after the call. Settings are those of the ini
    file; None removes a default of the harness. users: {name: secret} makes an auth_file."""

    def __init__(self, databases, users=None, sections="", section="pgweir", arguments=(),
                 start=True, prefix=(), **settings):
        """`prefix` goes before its command and sees to its user (names.Names)."""
        self.prefix = prefix
        self.folder = process.folder("daemon")
        self.identity = postgres.identity()  # it will not run as root
        if self.identity:
            os.chown(self.folder, self.identity["user"], self.identity["group"])
        self.ini = os.path.join(self.folder, "pgweir.ini")
        self.log = os.path.join(self.folder, "log")
        self.host = "127.0.0.1"
        self.port = process.free_port()
        scripted = SCRIPTED if os.environ.get("PGWEIR_SCRIPTED") else {}
        self.settings = dict(DEFAULTS | scripted, listen_port=self.port, **settings)
        self.databases = dict(databases)
        self.users = users
        self.sections = sections
        self.section = section
        self.arguments = list(arguments)
        self.variables = {}  # more of its environment
        self.child = None
        self.write()
        if start:
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None and self.child is not None:
            self.stop()
        else:
            self.abandon()

    # --- files ------------------------------------------------------------------------------

    def write(self):
        settings = {name: value for name, value in self.settings.items() if value is not None}
        if self.users is not None:
            settings["auth_file"] = os.path.join(self.folder, "users.txt")
            with open(settings["auth_file"], "w", encoding="utf-8") as file:
                for name, secret in self.users.items():
                    file.write('"%s" "%s"\n' % (name.replace('"', '""'), secret.replace('"', '""')))
            self.keep(settings["auth_file"])
        with open(self.ini, "w", encoding="utf-8") as file:
            file.write(f"[{self.section}]\n")
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())
            file.write("[databases]\n")
            file.writelines(f"{name} = {value}\n" for name, value in self.databases.items())
            file.write(self.sections)
        self.keep(self.ini)

    def keep(self, path):
        """For the daemon and nobody else: files with secrets that everybody may read are refused."""
        os.chmod(path, 0o640)
        if self.identity:
            os.chown(path, self.identity["user"], self.identity["group"])

    def read_log(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def tail(self, lines=30):
        return "\n".join(self.read_log().splitlines()[-lines:])

    def log_has(self, text):
        return text in self.read_log()

    def wait_log(self, pattern, timeout=10):
        return process.wait_until(lambda: re.search(pattern, self.read_log()),
                                  f"{pattern!r} in the log", timeout)

    # --- the process ------------------------------------------------------------------------

    def start(self):
        with open(self.log, "ab") as log:
            self.child = process.spawn([*self.prefix, binary(), *self.arguments, self.ini],
                                       stdout=log, stderr=log,
                                       env=environment() | self.variables, cwd=self.folder,
                                       **({} if self.prefix else self.identity))
        if self not in running:
            running.append(self)
        process.wait_until(self.listens, "the daemon listens", 15)

    def listens(self):
        if self.child.poll() is not None:
            raise RuntimeError(f"the daemon ended with {self.child.returncode}:\n{self.tail()}")
        try:
            with wire.Client(self.port, self.host, timeout=2) as probe:
                probe.send(wire.SSL_REQUEST)
                return probe.bytes(1) in b"NS"
        except (OSError, wire.Closed, TimeoutError):
            return False

    def signal(self, number):
        self.child.send_signal(number)

    def reload(self):
        """Writes the file anew and asks to read it."""
        self.write()
        before = self.read_log().lower().count("reload")
        self.signal(signal.SIGHUP)
        process.wait_until(lambda: self.read_log().lower().count("reload") > before,
                           "the log tells of a reload")

    def wait_exit(self, timeout=15):
        """Waits for an exit that was caused otherwise; checks it like stop()."""
        try:
            self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s\n{self.tail()}") from None
        return self.stop()

    def stop(self, number=STOP, expected=0):
        status = process.end(self.child, number, 20)
        if self in running:
            running.remove(self)
        log = self.read_log()
        report = REPORT.search(log)
        if report:
            raise AssertionError("sanitizer report:\n" + log[max(0, report.start() - 300):][:6000])
        if status != expected:
            raise AssertionError(f"exit status {status}, expected {expected}\n{self.tail()}")
        self.child = None
        process.drop_folder(self.folder)
        return log

    def abandon(self):
        """Ends it without judging; the files stay until the end of the test for its report."""
        if self.child is not None:
            process.end(self.child, signal.SIGQUIT, 3)

    # --- its state --------------------------------------------------------------------------

    def counters(self):
        """Every `name=number` that SIGUSR1 makes it log."""
        before = len(self.read_log())
        self.signal(signal.SIGUSR1)
        process.wait_until(lambda: "longest_turn_usec=" in self.read_log()[before:],
                           "counters in the log")
        return {name: int(number) for name, number in
                re.findall(r"\b([a-z_]+)[=:] ?(\d+)\b", self.read_log()[before:])}

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.child.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def descriptors(self):
        return len(glob.glob(f"/proc/{self.child.pid}/fd/*"))

    # --- clients ----------------------------------------------------------------------------

    def connect(self):
        return wire.Client(self.port, self.host)

    def client(self, user="alice", database="db", secret=None, **parameters):
        return self.connect().login(user, database, secret, **parameters)

    def refused(self, user="alice", database="db", secret=None, **parameters):
        """The fields of the error that refuses this login."""
        with self.connect() as client:
            try:
                client.login(user, database, secret, **parameters)
            except wire.ServerError as refusal:
                client.expect_closed()
                return refusal.fields
        raise AssertionError("the login was accepted")


def reports():
    """What the logs of daemons that a failed test left say at their ends."""
    texts = []
    for daemon in running:
        log = daemon.read_log()
        report = REPORT.search(log)
        if report:
            texts.append("sanitizer report:\n" + log[max(0, report.start() - 200):][:5000])
        else:
            texts.append("log of the daemon:\n" + daemon.tail())
    running.clear()
    return texts
