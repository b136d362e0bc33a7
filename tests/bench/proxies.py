"""The proxies that are compared, each started with a configuration that means the same."""

import os
import re
import shutil
import signal
import subprocess
import time

from programs import MAX_CLIENTS, SCRAM_PASSWORD, BenchError, Process, free_port

# Any well-formed verifier: nobody logs in with it, it is only there to be held in memory.
VERIFIER = (
    "SCRAM-SHA-256$4096:YmVuY2htYXJrIHNhbHQhIQ==$"
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


class Options:
    """What a measurement asks of a proxy."""

    def __init__(self, servers, warm=True, extra_users=0, scram=False, http="", settings=None):
        self.servers = servers
        self.warm = warm  # keep all server connections open from the start
        self.extra_users = extra_users
        self.scram = scram  # log in to the server as user scram by password
        self.http = http  # where pgweir serves metrics
        self.settings = settings or {}  # more settings of pgweir


def write_users(path, options):
    with open(path, "w", encoding="utf-8") as users:
        users.write('"bench" ""\n')
        for number in range(options.extra_users):
            users.write(f'"user{number}" "{VERIFIER}"\n')
    os.chmod(path, 0o600)


def write_ini(path, section, settings, server, options):
    login = f" user=scram password='{SCRAM_PASSWORD}'" if options.scram else ""
    with open(path, "w", encoding="utf-8") as ini:
        ini.write("[databases]\n")
        ini.write(f"bench = host=127.0.0.1 port={server.port} dbname=bench{login}\n\n")
        ini.write(f"[{section}]\n")
        for name, value in settings.items():
            ini.write(f"{name} = {value}\n")
    os.chmod(path, 0o600)


def common_settings(port, users, options):
    return {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "trust",
        "auth_file": users,
        "pool_mode": "transaction",
        "max_client_conn": MAX_CLIENTS,
        "min_pool_size": options.servers if options.warm else 0,
        "log_connections": 0,
        "log_disconnections": 0,
        "log_stats": 0,
    }


def start_proxy(bench, proxy, command, port):
    return Process(bench, proxy.name, command, port, is_proxy=True).wait_listening()


class Floor:
    """The least relay: what the kernel's own calls cost."""

    name = "floor"
    renames_statements = False

    def __init__(self, bench):
        self.path = bench.helpers["floor"]
        self.version = "floor"

    def start(self, bench, server, options, wrapper=()):
        port = free_port()
        command = [self.path, "--port", str(port), "--server-port", str(server.port)]
        command += ["--servers", str(options.servers)]
        return start_proxy(bench, self, list(wrapper) + command, port)


class PgBouncer:
    """PgBouncer as the system has it."""

    name = "pgbouncer"

    def own_longest_turn(self, process):
        return None

    def __init__(self):
        self.path = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if self.path is None:
            raise BenchError("pgbouncer is not installed")
        text = subprocess.run([self.path, "--version"], capture_output=True, text=True, check=True)
        self.version = text.stdout.splitlines()[0]
        numbers = [int(part) for part in re.findall(r"\d+", self.version)[:2]]
        self.renames_statements = numbers >= [1, 21]

    def start(self, bench, server, options, wrapper=()):
        port = free_port()
        users = os.path.join(bench.work, f"pgbouncer.{port}.users")
        ini = os.path.join(bench.work, f"pgbouncer.{port}.ini")
        settings = common_settings(port, users, options)
        settings["default_pool_size"] = options.servers
        if self.renames_statements:
            settings["max_prepared_statements"] = 200
        write_users(users, options)
        write_ini(ini, "pgbouncer", settings, server, options)
        command = [self.path, ini]
        return start_proxy(bench, self, list(wrapper) + command, port)


class Pgweir:
    """The daemon of this tree."""

    name = "pgweir"
    renames_statements = True

    def own_longest_turn(self, process):
        """What it writes to its log on SIGUSR1, in seconds."""
        os.kill(process.pid, signal.SIGUSR1)
        for _ in range(50):
            found = re.findall(r"longest_turn_usec=(\d+)", process.log())
            if found:
                return int(found[-1]) / 1e6
            time.sleep(0.05)
        return None

    def __init__(self, path):
        self.path = os.path.abspath(path)
        text = subprocess.run(
            [self.path, "--version"], capture_output=True, text=True, check=True
        ).stdout
        self.version = (text.splitlines() or ["pgweir"])[0]

    def start(self, bench, server, options, wrapper=()):
        port = free_port()
        users = os.path.join(bench.work, f"pgweir.{port}.users")
        ini = os.path.join(bench.work, f"pgweir.{port}.ini")
        settings = common_settings(port, users, options)
        settings["pool_size"] = options.servers
        settings["max_overflow"] = 0
        settings["core_dumps"] = "on"  # or no tracer may attach
        settings["http_listen"] = options.http
        settings.update(options.settings)
        if not options.warm:
            # Asked for all at once, as the longest loop turn is what is looked for.
            settings["server_connect_parallel"] = options.servers
        write_users(users, options)
        write_ini(ini, "pgweir", settings, server, options)
        command = [self.path, ini]
        return start_proxy(bench, self, list(wrapper) + command, port)
