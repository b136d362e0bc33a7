"""Real PAM, with services in a folder of the test's own (pam_wrapper): modules that ask for a password, that
look at what they are told, that take their time, and that crash.

The same service is asked by pgweir and by PostgreSQL, where that is possible.
"""
import contextlib
import glob
import os
import stat
import subprocess
import time

from support import Skip, background, pool

from harness import pgweir, postgres, process, wire

SECRET = "correct horse"
TRUST = "local all all trust\nhost all all all trust\n"
USERS = ("alice", "bob", "o'neil", "J\u00f6rg", "star*")


def find(pattern):
    found = glob.glob(pattern)
    return found[0] if found else ""


def plain_program():
    """Sanitizers do not go with the wrapper, which loads libpam in its own way. None: there is no other build."""
    for build in filter(None, (os.environ.get("PGWEIR_PLAIN_BUILD"), os.environ.get("PGWEIR_BUILD"))):
        path = pgweir.verifier(build)
        if os.path.exists(path):
            with open(path, "rb") as file:
                if b"__asan_init" not in file.read():
                    return path
    return None


class Services:
    """PAM services in a folder, and a program that sees only those."""

    def __init__(self):
        self.folder = process.folder("pam")
        os.chmod(self.folder, 0o755)
        self.services = os.path.join(self.folder, "services")
        os.mkdir(self.services)
        matrix = find("/usr/lib/*/pam_wrapper/pam_matrix.so")
        passwords = self.write("passwords", "".join(f"{user}:{SECRET}:matrix\n" for user in USERS))
        script = self.write("script", "#!/bin/sh\nread -r password\n"
                            f"[ \"$password\" = '{SECRET}' ] && [ \"$PAM_RHOST\" = \"$1\" ] && [ \"$PAM_USER\" = alice ]\n")
        sleeper = self.write("sleeper", "#!/bin/sh\nexec sleep 1000\n")
        crash = self.write("crash", "#!/bin/sh\nkill -SEGV $PPID\nsleep 1000\n")
        for path in (script, sleeper, crash):
            os.chmod(path, 0o755)
        execute = "auth required pam_exec.so expose_authtok quiet"
        for name, text in {
                "matrix": f"auth required {matrix} passdb={passwords}\naccount required {matrix} passdb={passwords}\n",
                "permit": "auth required pam_permit.so\naccount required pam_permit.so\n",
                "deny": "auth required pam_deny.so\naccount required pam_permit.so\n",
                "closed": "auth required pam_permit.so\naccount required pam_deny.so\n",
                "missing": "auth required pam_nowhere.so\naccount required pam_nowhere.so\n",
                "peer": f"{execute} {script} 127.0.0.1\naccount required pam_permit.so\n",
                "local": f"{execute} {script} \naccount required pam_permit.so\n",
                "sleep": f"{execute} {sleeper}\naccount required pam_permit.so\n",
                "crash": f"{execute} {crash}\naccount required pam_permit.so\n",
        }.items():
            self.write(os.path.join("services", name), text)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o644)
        return path

    def variables(self):
        return {"LD_PRELOAD": find("/usr/lib/*/libpam_wrapper.so"), "PAM_WRAPPER": "1",
                "PAM_WRAPPER_SERVICE_DIR": self.services}

    def program(self):
        """pgweir-verify below the wrapper."""
        lines = "".join(f"export {name}='{value}'\n" for name, value in self.variables().items())
        path = self.write("verify", f"#!/bin/sh\n{lines}exec {plain_program()}\n")
        os.chmod(path, stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
        return path


def need_pam(env):
    if env.against != "pgweir":
        raise Skip("it starts its own")
    if not find("/usr/lib/*/libpam_wrapper.so"):
        raise Skip("libpam-wrapper is not installed")
    if plain_program() is None:
        raise Skip("needs a build without sanitizers in PGWEIR_PLAIN_BUILD")


def outcome(port, user, secret, database="postgres", host="127.0.0.1"):
    """'in', or what the error says."""
    with contextlib.closing(wire.Client(port, host, timeout=30)) as client:
        try:
            client.login(user, database, secret)
        except wire.ServerError as refusal:
            return refusal.sqlstate, refusal.fields["M"]
        return "in"


def make_roles(server):
    for name in USERS + ("nobody",):
        server.sql('create role "%s" login' % name)


def start_daemon(stack, services, backend, rules=None, **settings):
    if rules is not None:
        settings["auth_type"] = "hba"
    daemon = pgweir.Pgweir({"*": f"host=127.0.0.1 port={backend.port} dbname=postgres"}, start=False, pool_size=2,
                           pool_timeout="5s", log_level="info", auth_worker_program=services.program(), **settings)
    if rules is not None:
        daemon.settings["auth_hba_file"] = os.path.join(daemon.folder, "hba")
        with open(daemon.settings["auth_hba_file"], "w", encoding="utf-8") as file:
            file.write(rules)
    daemon.write()
    daemon.start()
    return stack.enter_context(daemon)


@pool(seconds=120)
def test_services(env):
    need_pam(env)
    with contextlib.ExitStack() as stack:
        services = Services()
        folder = process.folder("socket")
        backend = stack.enter_context(postgres.Postgres(hba=TRUST))
        make_roles(backend)
        names = ("matrix", "permit", "deny", "closed", "missing", "peer", "nowhere")
        rules = "".join(f"host {name} all all pam pamservice={name}\n" for name in names)
        rules += "local all all pam pamservice=local\n"
        daemon = start_daemon(stack, services, backend, rules, unix_socket_dir=folder)
        refused = ("28000", 'PAM authentication failed for user "alice"')
        for database, expected in {"matrix": "in", "permit": "in", "peer": "in", "deny": refused, "closed": refused,
                                   "missing": refused, "nowhere": refused}.items():
            assert outcome(daemon.port, "alice", SECRET, database) == expected, (database, daemon.tail())
        for database in ("matrix", "peer"):
            assert outcome(daemon.port, "alice", "wrong", database) == refused, (database, daemon.tail())
        # Whatever PAM would say to it.
        assert outcome(daemon.port, "alice", "", "permit") == ("28P01", "empty password returned by client")
        for user in USERS:
            assert outcome(daemon.port, user, SECRET, "matrix") == "in", (user, daemon.tail())
        assert outcome(daemon.port, "nobody", SECRET, "matrix")[0] == "28000"
        # PAM is told the address, and over a Unix socket none.
        assert outcome(daemon.port, "bob", SECRET, "peer")[0] == "28000"
        assert outcome(daemon.port, "alice", SECRET, "any", folder) == "in", daemon.tail()
        daemon.wait_log('PAM service "deny": pam_authenticate: ')
        daemon.wait_log('PAM service "closed": pam_acct_mgmt: ')
        assert SECRET not in daemon.read_log()
        daemon.stop()


@pool(seconds=120)
def test_the_same_as_postgresql(env):
    need_pam(env)
    with contextlib.ExitStack() as stack:
        services = Services()
        names = ("matrix", "deny", "closed", "missing", "nowhere")
        rules = "".join(f"host all all 127.0.0.1/32 pam pamservice={name}\n" for name in names[:1])
        try:
            reference = stack.enter_context(postgres.Postgres(hba=rules, variables=services.variables()))
        except RuntimeError as problem:
            raise Skip(f"PostgreSQL does not start below pam_wrapper: {problem}") from None
        backend = stack.enter_context(postgres.Postgres(hba=TRUST))
        make_roles(reference)
        make_roles(backend)
        daemon = start_daemon(stack, services, backend, rules)
        for name in names:
            rules = f"host all all 127.0.0.1/32 pam pamservice={name}\n"
            reference.hba(rules)
            with open(daemon.settings["auth_hba_file"], "w", encoding="utf-8") as file:
                file.write(rules)
            before = daemon.read_log().count("configuration reloaded")
            daemon.reload()
            process.wait_until(lambda: daemon.read_log().count("configuration reloaded") > before, "it has reloaded")
            for user in ("alice", "o'neil", "nobody"):
                for secret in (SECRET, "wrong"):
                    direct = outcome(reference.port, user, secret)
                    pooled = outcome(daemon.port, user, secret)
                    assert pooled == direct, (name, user, secret, pooled, direct, daemon.tail())
        assert outcome(daemon.port, "alice", SECRET)[0] == "28000"
        daemon.stop()


@pool(seconds=120)
def test_modules_that_hang_and_crash(env):
    """A login costs itself and nothing else: queries go on, so do other logins, and the workers come back."""
    need_pam(env)
    with contextlib.ExitStack() as stack:
        services = Services()
        backend = stack.enter_context(postgres.Postgres(hba=TRUST))
        make_roles(backend)
        rules = "".join(f"host {name} all all pam pamservice={name}\n" for name in ("matrix", "sleep", "crash"))
        daemon = start_daemon(stack, services, backend, rules, auth_workers=3, auth_worker_timeout="3s")
        busy = stack.enter_context(contextlib.closing(wire.Client(daemon.port).login("alice", "matrix", SECRET)))
        lost = ("08006", "cannot check the password now")
        hanging = [background(outcome, daemon.port, "alice", SECRET, "sleep") for _ in range(2)]
        slowest, limit = 0.0, time.monotonic() + 1.5
        while time.monotonic() < limit:
            began = time.monotonic()
            assert busy.value("select 1") == "1"
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 0.5, slowest
        assert outcome(daemon.port, "bob", SECRET, "matrix") == "in"
        for each in hanging:
            each.join(30)
            assert each.value == lost, each.value
        assert outcome(daemon.port, "alice", SECRET, "crash") == lost
        daemon.wait_log("was ended by signal 11|has ended with status")
        for _ in range(3):
            assert outcome(daemon.port, "bob", SECRET, "matrix") == "in"
        assert busy.value("select 2") == "2"
        daemon.stop()


@pool(seconds=60)
def test_auth_type_pam(env):
    need_pam(env)
    with contextlib.ExitStack() as stack:
        services = Services()
        backend = stack.enter_context(postgres.Postgres(
            hba="host all alice all scram-sha-256\nhost all all all trust\n"))
        make_roles(backend)
        backend.sql(f"alter role alice password '{SECRET}'")
        daemon = start_daemon(stack, services, backend, auth_type="pam", auth_pam_service="matrix")
        for user in ("alice", "bob"):
            with contextlib.closing(wire.Client(daemon.port).login(user, "x", SECRET)) as client:
                assert client.value("select current_user") == user
        assert outcome(daemon.port, "alice", "wrong")[0] == "28000"
        daemon.stop()


@pool(seconds=30)
def test_the_program_by_itself(env):
    need_pam(env)
    for arguments, status, part in ((["--version"], 0, "pgweir-verify "), (["--methods"], 0, "pam ldap\n"),
                                    ([], 2, "is started by pgweir"), (["x"], 2, "is started by pgweir")):
        done = subprocess.run([pgweir.verifier(), *arguments], capture_output=True, text=True, timeout=20, check=False,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == status and part in done.stdout + done.stderr, (arguments, done)
    # The daemon carries none of it.
    for program, expected in ((pgweir.binary(), False), (pgweir.verifier(), True)):
        linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for library in ("libpam", "libldap"):
            assert (library in linked) == expected, (program, linked)
