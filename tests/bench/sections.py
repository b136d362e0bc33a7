"""The measurements. Each section starts its own servers and proxies and adds to the report."""

import contextlib
import os
import time

from meters import (
    Callgrind,
    Sample,
    Strace,
    TurnTrace,
    cpu_seconds,
    has_program,
    resident_bytes,
)
from programs import BenchError, Load, PostgresServer, StubServer
from proxies import Options

RESULTS = {
    "one row": ("select 1", 1),
    "11 KB": ("select repeat('x', 100) from generate_series(1, 100)", 100),
    "116 KB": ("select repeat('x', 100) from generate_series(1, 1045)", 1045),
}
MEBIBYTE = 1024 * 1024
COPY_ROWS = 16 * MEBIBYTE // 1000
COPY_OUT = f"copy (select repeat('x', 999) from generate_series(1, {COPY_ROWS})) to stdout"
COPY_IN = "copy bench_copy from stdin"
LOGINS = 100
MODES = ("simple", "extended", "prepared", "transaction")


class Cell:
    """One workload."""

    def __init__(self, mode, clients, servers, result="one row"):
        self.mode = mode
        self.clients = clients
        self.servers = servers
        self.result = result

    @property
    def name(self):
        return f"{self.mode} {self.clients}/{self.servers} {self.result}"

    @property
    def short_name(self):
        return f"{self.mode} {self.clients}/{self.servers}"


class Rig:
    """Servers of one kind, started when first asked for.  The floor forwards prepared names
    unread, so where names matter it gets a stub server that shares them among its sessions."""

    def __init__(self, bench, kind, stack):
        self.bench = bench
        self.kind = kind
        self.stack = stack
        self.plain = None
        self.sharing = None

    def server(self, proxy, mode):
        if mode == "prepared" and proxy.name == "floor":
            if self.sharing is None:
                server = StubServer(self.bench, shared_names=True)
                self.sharing = self.stack.enter_context(server)
            return self.sharing
        if self.plain is None:
            make = StubServer if self.kind == "stub" else PostgresServer
            self.plain = self.stack.enter_context(make(self.bench))
        return self.plain

    def can_run(self, proxy, mode):
        if mode != "prepared" or proxy.renames_statements:
            return True
        if proxy.name != "floor":
            self.bench.report.note(
                f"{proxy.version} has no prepared statements in transaction mode: not measured"
            )
            return False
        return self.kind == "stub"


def connect(bench, process, cell, options=()):
    query, rows = RESULTS[cell.result]
    return Load(bench, process.port, cell.clients, cell.mode, query, rows, options=options)


def timing_cells(bench, kind):
    """The workloads whose time is taken."""
    if bench.smoke:
        return [Cell(mode, 10, 10) for mode in MODES] + [Cell("simple", 50, 20, "116 KB")]
    large = [Cell("simple", 50, 20, result) for result in ("11 KB", "116 KB")]
    if bench.full:
        return [
            Cell(mode, clients, servers, result)
            for mode in MODES
            for clients, servers in ((10, 10), (40, 10), (50, 20), (2000, 20))
            for result in RESULTS
        ]
    if bench.quick:
        few = [Cell("simple", 50, 20)] + large
        if kind == "stub":
            few += [Cell("prepared", 50, 20), Cell("simple", 2000, 20)]
        return few
    if kind == "stub":
        loads = ((10, 10), (40, 10), (50, 20), (2000, 20))
        return [Cell(mode, *load) for mode in MODES for load in loads] + large
    return (
        [Cell(mode, 50, 20) for mode in MODES]
        + [Cell("simple", *load) for load in ((10, 10), (40, 10), (2000, 20))]
        + large
    )


def calibrate(bench, load, cell):
    """How many transactions fill a round; the figures are also the warm-up of the pools."""
    load.run(max(200, cell.clients * 2))
    trial = load.run(max(500, cell.clients * 4))
    rate = trial["transactions"] / trial["seconds"]
    return int(max(rate * bench.seconds, cell.clients * 10))


class Runner:
    """A proxy with connected clients, for one workload."""

    def __init__(self, bench, proxy, server, cell, stack, options=None):
        self.name = proxy.name
        options = options or Options(cell.servers)
        self.process = stack.enter_context(proxy.start(bench, server, options))
        self.load = stack.enter_context(connect(bench, self.process, cell))
        self.count = calibrate(bench, self.load, cell)
        self.samples = {}

    def round(self, cell, count):
        """One measured run after a short one that is not; returns the load's figures."""
        self.load.run(max(100, count // 20, cell.clients))
        before = cpu_seconds(self.process.pid)
        figures = self.load.run(count)
        spent = cpu_seconds(self.process.pid) - before
        values = {
            "cpu": spent * 1e6 / count,
            "p50": figures["p50"],
            "p99": figures["p99"],
            "tail": figures["p99"] / figures["p50"] if figures["p50"] else 0,
            "rate": count / figures["seconds"],
        }
        for metric, value in values.items():
            self.samples.setdefault(metric, Sample()).add(value)
        return figures


def time_cell(bench, rig, cell):
    with contextlib.ExitStack() as stack:
        runners = []
        for proxy in bench.proxies:
            if rig.can_run(proxy, cell.mode):
                with bench.attempt(f"{rig.kind}, {cell.name}, {proxy.name}"):
                    server = rig.server(proxy, cell.mode)
                    runners.append(Runner(bench, proxy, server, cell, stack))
        count = min((runner.count for runner in runners), default=0)
        for _ in range(bench.rounds):
            for runner in list(runners):
                runners.remove(runner)  # for good, unless the round succeeds
                with bench.attempt(f"{rig.kind}, {cell.name}, {runner.name}"):
                    figures = runner.round(cell, count)
                    bench.report.detail(f"runs/{rig.kind}/{cell.name}", runner.name, figures)
                    runners.append(runner)
        for runner in runners:
            for metric, sample in runner.samples.items():
                if bench.wants("cpu" if metric == "cpu" else "latency"):
                    bench.report.add(metric, rig.kind, cell.name, runner.name, sample)


def measure_time(bench, kind):
    with contextlib.ExitStack() as stack:
        rig = Rig(bench, kind, stack)
        for cell in timing_cells(bench, kind):
            bench.progress(f"time, {kind}, {cell.name}")
            time_cell(bench, rig, cell)


def counting_cells(bench, modes):
    if bench.smoke:
        return [Cell("simple", 10, 10)]
    return [Cell(mode, *load) for mode in modes for load in ((10, 10), (40, 10))]


def count_calls(bench, process, load, count):
    """System calls of a run of that many transactions, by name."""
    with Strace(bench, process.pid) as trace:
        load.run(count)
    return trace.counts


def subtract(more, less, divisor, least=0.004):
    """What one transaction adds, by name; what is less than that is left out."""
    each = {name: (more.get(name, 0) - less.get(name, 0)) / divisor for name in {*more, *less}}
    return {name: round(value, 4) for name, value in sorted(each.items()) if abs(value) > least}


def measure_calls(bench):
    """System calls: runs of N and 2N transactions, the difference over N."""
    if not has_program("strace"):
        bench.report.note("strace is not installed: no system calls")
        return
    count = 500 if bench.smoke else 4000 if bench.quick else 10000
    with contextlib.ExitStack() as stack:
        rig = Rig(bench, "stub", stack)
        for cell in counting_cells(bench, MODES):
            for proxy in bench.proxies:
                if not rig.can_run(proxy, cell.mode):
                    continue
                what = f"system calls, {cell.short_name}, {proxy.name}"
                bench.progress(what)
                with bench.attempt(what):
                    server = rig.server(proxy, cell.mode)
                    with proxy.start(bench, server, Options(cell.servers)) as process:
                        with connect(bench, process, cell) as load:
                            load.run(1000)
                            once = count_calls(bench, process, load, count)
                            twice = count_calls(bench, process, load, 2 * count)
                    total = (sum(twice.values()) - sum(once.values())) / count
                    key = f"syscalls/stub/{cell.short_name}"
                    bench.report.detail(key, proxy.name, subtract(twice, once, count))
                    bench.report.add(
                        "syscalls", "stub", cell.short_name, proxy.name, Sample([total])
                    )


def measure_instructions(bench):
    """User instructions under callgrind: runs of N and 2N transactions, the difference over N."""
    if not has_program("valgrind") or not has_program("callgrind_control"):
        bench.report.note("valgrind is not installed: no user instructions")
        return
    count = 500 if bench.quick else 2000
    with contextlib.ExitStack() as stack:
        rig = Rig(bench, "stub", stack)
        for cell in counting_cells(bench, ("simple", "extended", "prepared")):
            for proxy in bench.proxies:
                if not rig.can_run(proxy, cell.mode):
                    continue
                what = f"instructions, {cell.short_name}, {proxy.name}"
                bench.progress(what)
                with bench.attempt(what):
                    server = rig.server(proxy, cell.mode)
                    count_instructions(bench, proxy, server, cell, count)


def count_instructions(bench, proxy, server, cell, count):
    options = Options(cell.servers)
    with proxy.start(bench, server, options, Callgrind.wrapper(bench)) as process:
        with connect(bench, process, cell) as load:
            load.run(1000)
            meter = Callgrind(bench, process.pid)
            totals = []
            for length in (count, 2 * count):
                meter.begin()
                load.run(length)
                totals.append(meter.end())
            each = (totals[1] - totals[0]) / count
            bench.report.detail(
                f"hot spots/{cell.short_name}", proxy.name, meter.hot_spots(30)
            )
    bench.report.add("instructions", "stub", cell.short_name, proxy.name, Sample([each]))


def settled_bytes(process):
    """Resident bytes once they no longer change."""
    size = resident_bytes(process.pid)
    for _ in range(20):
        time.sleep(0.2)
        last, size = size, resident_bytes(process.pid)
        if size == last:
            break
    return size


def measure_idle(bench, proxy, server, clients):
    """Resident bytes per idle client: just logged in, and when all have queried at once."""
    with proxy.start(bench, server, Options(20)) as process:
        with Load(bench, process.port, 1) as load:
            load.run(100)
        base = settled_bytes(process)
        with Load(bench, process.port, clients) as load:
            fresh = settled_bytes(process)
            load.run(clients)
            used = settled_bytes(process)
    report = bench.report
    for cell, value in (
        (f"per idle client, {clients}", (fresh - base) / clients),
        (f"per client after all queried at once, {clients}", (used - base) / clients),
    ):
        report.add("memory", "stub", cell, proxy.name, Sample([value]))
    report.add("memory", "stub", "base, 20 servers", proxy.name, Sample([base]))


def measure_users(bench, proxy, server):
    options = Options(1, warm=False, extra_users=5000)
    with proxy.start(bench, server, options) as process:
        sample = Sample([settled_bytes(process)])
    bench.report.add("memory", "stub", "5000 users in auth_file", proxy.name, sample)


def measure_memory(bench):
    with StubServer(bench) as server:
        for proxy in bench.proxies:
            for clients in (1000,) if bench.quick else (1000, 5000):
                what = f"memory, {clients} idle clients, {proxy.name}"
                bench.progress(what)
                with bench.attempt(what):
                    measure_idle(bench, proxy, server, clients)
            if proxy.name != "floor":
                what = f"memory, 5000 users, {proxy.name}"
                bench.progress(what)
                with bench.attempt(what):
                    measure_users(bench, proxy, server)


def copy_cells():
    return (
        ("out, 1000-byte rows", "simple", COPY_OUT, COPY_ROWS),
        ("in, 1000-byte rows", "copy-in", COPY_IN, COPY_ROWS),
    )


def measure_copy(bench, kind):
    """COPY in both directions: calls and time for each MiB."""
    with contextlib.ExitStack() as stack:
        server = Rig(bench, kind, stack).server(bench.proxies[0], "simple")
        for cell in copy_cells():
            bench.progress(f"copy {cell[0]}, {kind}")
            copy_one_way(bench, kind, server, *cell)


def copy_one_way(bench, kind, server, name, mode, query, rows):
    copies = 2 if bench.quick else 4
    mebibytes = COPY_ROWS * 1000 / MEBIBYTE
    samples = {}
    with contextlib.ExitStack() as stack:
        running = []
        for proxy in bench.proxies:
            with bench.attempt(f"copy {name}, {kind}, {proxy.name}"):
                process = stack.enter_context(proxy.start(bench, server, Options(10)))
                load = stack.enter_context(Load(bench, process.port, 1, mode, query, rows))
                load.run(1)
                running.append((proxy.name, process, load))
        for _ in range(bench.rounds):
            for proxy_name, process, load in running:
                before = cpu_seconds(process.pid)
                load.run(copies)
                spent = cpu_seconds(process.pid) - before
                value = spent * 1e6 / copies / mebibytes
                samples.setdefault(proxy_name, Sample()).add(value)
        for proxy_name, sample in samples.items():
            bench.report.add("copy cpu", kind, name, proxy_name, sample)
        if has_program("strace"):
            for proxy_name, process, load in running:
                count_copy(bench, kind, name, proxy_name, process, load, mebibytes)


def count_copy(bench, kind, name, proxy_name, process, load, mebibytes):
    counts = count_calls(bench, process, load, 1)
    each = {call: round(number / mebibytes, 2) for call, number in sorted(counts.items())}
    moved = ("recvfrom", "recvmsg", "read", "readv", "sendto", "sendmsg", "write", "writev")
    total = sum(counts.get(call, 0) for call in moved) / mebibytes
    bench.report.add("copy calls", kind, name, proxy_name, Sample([total]))
    bench.report.detail(f"copy calls/{kind}/{name}", proxy_name, each)


def measure_turn(bench):
    """The longest loop turn while 100 logins by SCRAM go to the server at once, with a processor of its
    own for the proxy and without: 100 backends that start meanwhile interrupt who shares theirs."""
    if not has_program("strace"):
        bench.report.note("strace is not installed: no loop turns")
        return
    login = f"{LOGINS} SCRAM logins at once"
    cells = {login: True, login + ", processors shared": False}
    if len(os.sched_getaffinity(0)) < 2:
        bench.report.note("one processor: loop turns only where others interrupt them")
        del cells[login]
    samples = {}
    for _ in range(min(bench.rounds, 5)):
        for cell, apart in cells.items():
            with bench.apart(apart):
                turn_round(bench, cell, samples)
    for (cell, name), sample in samples.items():
        bench.report.add("turn", "postgres", cell, name, sample)


def turn_round(bench, cell, samples):
    with PostgresServer(bench) as server:
        for proxy in bench.proxies:
            if proxy.name == "floor":
                continue
            what = f"turn, {cell}, {proxy.name}"
            bench.progress(what)
            with bench.attempt(what):
                longest, own = longest_turn(bench, proxy, server)
                samples.setdefault((cell, proxy.name), Sample()).add(longest * 1000)
                if own is not None:
                    counted = samples.setdefault((cell + ", by its own counter", proxy.name), Sample())
                    counted.add(own * 1000)


def longest_turn(bench, proxy, server):
    """Seconds as traced, and as the proxy counts them if it does."""
    trace = TurnTrace(bench)
    options = Options(LOGINS, warm=False, scram=True)
    with proxy.start(bench, server, options, trace.wrapper()) as process:
        since = time.time()
        with Load(bench, process.port, LOGINS, query="select pg_sleep(0.3)") as load:
            figures = load.run(2 * LOGINS)
            own = proxy.own_longest_turn(process)
    turns = trace.turns(since)
    if not turns:
        raise BenchError("no loop turns seen: " + process.log()[-1000:])
    bench.report.detail("turn/SCRAM logins", proxy.name, {**figures, "turns": len(turns)})
    return max(turns), own
