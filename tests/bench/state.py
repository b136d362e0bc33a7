"""What transparency costs: asking PostgreSQL what statements leave, and clients with settings of their
own."""

import contextlib
import re
import time
import urllib.request

from meters import Callgrind, Sample, has_program
from programs import BenchError, Load, PostgresServer, StubServer, free_port, postgres_directory
from proxies import Options
from sections import Cell, Runner, connect, count_calls, subtract

# A connection is asked once in so many transactions although all statements are known. Runs are a
# multiple of it for each of ten connections, so that the share of these questions is in the figures.
SAMPLING = 1000
WAITS = ("epoll_wait", "epoll_pwait")
SIDES = {"on": {}, "off": {"state_learning": "off", "state_sampling": 0}}
SETTINGS = {
    "equal settings": (),
    "application names": ("--application-names",),
    "search paths": ("--search-paths",),
}
SHOWS = {"application names": "show application_name", "search paths": "show search_path"}


def find_proxy(bench, name):
    return next((proxy for proxy in bench.proxies if proxy.name == name), None)


def learning_cells(bench):
    if bench.smoke:
        return [Cell("simple", 10, 10)]
    cells = [Cell(mode, 10, 10) for mode in ("simple", "extended", "prepared")]
    return cells + [Cell("simple", 50, 20)]


def options_of(cell, side):
    return Options(cell.servers, settings=SIDES[side])


def compare_cpu(bench, proxy, server, cell):
    """CPU of both in turns, there and back, and their ratio round by round."""
    with contextlib.ExitStack() as stack:
        runners = {side: Runner(bench, proxy, server, cell, stack, options_of(cell, side))
                   for side in SIDES}
        count = min(runner.count for runner in runners.values())
        for turn in range(bench.rounds):
            for side in list(SIDES)[:: 1 if turn % 2 == 0 else -1]:
                runners[side].round(cell, count)
    samples = {side: runner.samples["cpu"] for side, runner in runners.items()}
    for side, sample in samples.items():
        bench.report.add("state cpu", "stub", f"{cell.short_name}, {side}", proxy.name, sample)
    pairs = zip(samples["on"].values, samples["off"].values)
    bench.report.add("state cpu ratio", "stub", cell.short_name, proxy.name,
                     Sample([on / off for on, off in pairs]))


def add_calls(bench, metric, key, name, each):
    """All calls, and those that move bytes: how often it waits depends on how many are ready."""
    waits = sum(each.get(call, 0) for call in WAITS)
    total = sum(each.values())
    bench.report.add(metric, *key, name, Sample([total]))
    bench.report.add(metric, key[0], key[1] + ", waits aside", name, Sample([total - waits]))
    return total - waits


def calls_of_each(bench, process, load, count):
    """System calls of a transaction: runs of N and 2N, the difference over N."""
    once = count_calls(bench, process, load, count)
    twice = count_calls(bench, process, load, 2 * count)
    return subtract(twice, once, count, least=0)


def compare_calls(bench, proxy, server, cell):
    count = 500 if bench.smoke else SAMPLING * cell.servers
    moves = {}
    for side in SIDES:
        bench.progress(f"state, system calls, {cell.short_name}, {side}")
        with proxy.start(bench, server, options_of(cell, side)) as process:
            with connect(bench, process, cell) as load:
                load.run(1000)
                each = calls_of_each(bench, process, load, count)
        key = ("stub", f"{cell.short_name}, {side}")
        moves[side] = add_calls(bench, "state syscalls", key, proxy.name, each)
        bench.report.detail(f"state syscalls/{cell.short_name}", side, each)
    bench.report.add("state syscalls more", "stub", cell.short_name, proxy.name,
                     Sample([moves["on"] - moves["off"]]))


def compare_instructions(bench, proxy, server, cell):
    count = SAMPLING * cell.servers
    totals = {}
    for side in SIDES:
        bench.progress(f"state, instructions, {cell.short_name}, {side}")
        wrapper = Callgrind.wrapper(bench)
        with proxy.start(bench, server, options_of(cell, side), wrapper) as process:
            with connect(bench, process, cell) as load:
                load.run(1000)
                meter = Callgrind(bench, process.pid)
                runs = []
                for length in (count, 2 * count):
                    meter.begin()
                    load.run(length)
                    runs.append(meter.end())
                spots = meter.hot_spots(30)
        totals[side] = (runs[1] - runs[0]) / count
        bench.report.add("state instructions", "stub", f"{cell.short_name}, {side}", proxy.name,
                         Sample([totals[side]]))
        bench.report.detail(f"hot spots/state {cell.short_name}", side, spots)
    bench.report.add("state instructions ratio", "stub", cell.short_name, proxy.name,
                     Sample([totals["on"] / totals["off"]]))


def measure_learning(bench, proxy):
    """The same binary with the questions after PostgreSQL's session state and without."""
    with StubServer(bench) as server:
        for cell in learning_cells(bench):
            bench.progress(f"state, CPU, {cell.short_name}")
            with bench.attempt(f"state, CPU, {cell.short_name}"):
                compare_cpu(bench, proxy, server, cell)
            if has_program("strace"):
                with bench.attempt(f"state, system calls, {cell.short_name}"):
                    compare_calls(bench, proxy, server, cell)
            if has_program("valgrind") and not bench.smoke:
                with bench.attempt(f"state, instructions, {cell.short_name}"):
                    compare_instructions(bench, proxy, server, cell)


def counted(port, name):
    """The sum over the pools of one of pgweir's counters."""
    time.sleep(0.15)  # a page is made anew every 100 ms
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    values = re.findall(rf"^pgweir_pool_{name}_total{{.*}} (\d+)", page, re.M)
    if not values:
        raise BenchError(f"no counter {name} in the metrics")
    return sum(map(int, values))


def check_own(bench, process, cell, kind):
    """Every client must see its own value, each on several server connections."""
    if kind in SHOWS:
        with Load(bench, process.port, cell.clients, query=SHOWS[kind],
                  options=SETTINGS[kind] + ("--own-values",)) as load:
            load.run(10 * cell.clients)


def is_refused(bench, process, cell, kind):
    """What a proxy says that does not know the setting; None when it lets in."""
    try:
        with connect(bench, process, cell, SETTINGS[kind]):
            return None
    except BenchError as problem:
        return str(problem)


def count_settings(bench, proxy, server, cell, kind):
    """(calls of each transaction by name, settings given of each transaction or None); None when the
    proxy lets no such clients in."""
    count = 200 if bench.smoke else 10000
    http = free_port() if proxy.name == "pgweir" else None
    options = Options(cell.servers, http=f"127.0.0.1:{http}" if http else "")
    with proxy.start(bench, server, options) as process:
        if proxy.name == "pgbouncer" and kind == "search paths":
            refusal = is_refused(bench, process, cell, kind)
            if refusal is not None:
                refusal = refusal.rpartition(" M")[2]
                bench.report.note(f"{proxy.version} lets in nobody with a search_path ({refusal}); to "
                                  "ignore it would be to run in another schema: not measured")
                return None
        check_own(bench, process, cell, kind)
        with connect(bench, process, cell, SETTINGS[kind]) as load:
            load.run(200 if bench.smoke else 1000)
            before = counted(http, "setting_syncs") if http else 0
            each = calls_of_each(bench, process, load, count)
            syncs = (counted(http, "setting_syncs") - before) / (3 * count) if http else None
    return each, syncs


def measure_settings_of(bench, proxy, server, cell):
    base = None
    for kind in SETTINGS:
        what = f"state, {kind}, {cell.short_name}, {proxy.name}"
        bench.progress(what)
        with bench.attempt(what):
            counts = count_settings(bench, proxy, server, cell, kind)
            if counts is None:
                continue
            each, syncs = counts
            name = f"{cell.short_name}, {kind}"
            moves = add_calls(bench, "settings syscalls", ("postgres", name), proxy.name, each)
            bench.report.detail(f"settings syscalls/{name}", proxy.name, each)
            if base is None:
                base = moves
            else:
                bench.report.add("settings syscalls more", "postgres", name, proxy.name,
                                 Sample([moves - base]))
            if syncs is not None:
                bench.report.add("settings syncs", "postgres", name, proxy.name, Sample([syncs]))


def measure_settings(bench):
    """Clients whose settings differ, over fewer server connections than clients and over as many."""
    if not has_program("strace"):
        bench.report.note("strace is not installed: no system calls of clients with own settings")
        return
    with PostgresServer(bench) as server:
        for cell in (Cell("simple", 10, 10), Cell("simple", 40, 10))[1 if bench.smoke else 0 :]:
            for name in ("pgweir",) if bench.smoke else ("pgweir", "pgbouncer"):
                proxy = find_proxy(bench, name)
                if proxy is not None:
                    measure_settings_of(bench, proxy, server, cell)


def measure_state(bench):
    proxy = find_proxy(bench, "pgweir")
    if proxy is not None:
        measure_learning(bench, proxy)
    if postgres_directory() is not None and ("postgres" in bench.kinds or bench.smoke):
        measure_settings(bench)
