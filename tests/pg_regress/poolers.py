"""What stands between the suite and the server."""

import contextlib
import os

from harness import pgweir, postgres, process


class Nothing:
    def __init__(self, port):
        self.port = port

    def report(self):
        pass


class Weir:
    def __init__(self, daemon):
        self.daemon = daemon
        self.port = daemon.port

    def report(self):
        counters = self.daemon.counters()
        wanted = ("transactions", "assignments", "setting_syncs", "server_connects")
        print("pgweir:", *(f"{name}={counters[name]}" for name in wanted if name in counters))


@contextlib.contextmanager
def bouncer(options, database):
    folder = process.folder("bouncer")
    port = process.free_port()
    ini = os.path.join(folder, "pgbouncer.ini")
    with open(ini, "w", encoding="utf-8") as file:
        file.write(f"[databases]\n* = host=127.0.0.1 port={database.port}\n[pgbouncer]\n"
                   f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n"
                   f"unix_socket_dir =\npool_mode = {options.pgbouncer}\n"
                   f"default_pool_size = {options.pool}\nmax_client_conn = 500\n"
                   "query_wait_timeout = 0\nlogfile = log\n"
                   "ignore_startup_parameters = extra_float_digits,options,intervalstyle\n")
    child = process.spawn(["pgbouncer", ini], cwd=folder, **postgres.identity())
    process.wait_until(lambda: os.path.exists(os.path.join(folder, "log")), "PgBouncer runs")
    try:
        yield Nothing(port)
    finally:
        process.end(child)


@contextlib.contextmanager
def between(options, database):
    if options.direct:
        yield Nothing(database.port)
    elif options.pgbouncer:
        with bouncer(options, database) as pooler:
            yield pooler
    else:
        settings = {"pool_size": options.pool, "max_overflow": 0, "pool_timeout": "300",
                    "max_server_connections": options.pool, "max_client_conn": 500,
                    "log_connections": "off", "log_disconnections": "off"}
        settings.update(word.split("=", 1) for word in options.set)
        target = f"host=127.0.0.1 port={database.port}"
        with pgweir.Pgweir({"*": target}, **settings) as daemon:
            yield Weir(daemon)
