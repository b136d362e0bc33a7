"""What scrapes of metrics cost: the traffic beside them, and the daemon for each."""

import contextlib
import gzip
import subprocess
import time
import urllib.request

from meters import Callgrind, Sample, Strace, cpu_seconds, has_program
from programs import BenchError, StubServer, free_port, on_processors
from proxies import Options
from sections import Cell, calibrate, connect

SCRAPES = 1000
CELL = Cell("simple", 50, 20)


class Scraper:
    """Scrapes metrics while the block runs; afterwards it knows how many answers it got, how many a
    second, and how many bytes one had."""

    def __init__(self, bench, port):
        self.bench = bench
        self.port = port
        self.answers = 0
        self.rate = 0.0
        self.length = 0

    def __enter__(self):
        pipe = subprocess.PIPE
        with on_processors(self.bench.other_processors):
            self.child = subprocess.Popen(
                [self.bench.helpers["scraper"], str(self.port), str(SCRAPES)], stdin=pipe,
                stdout=pipe, stderr=pipe, text=True)
        return self

    def __exit__(self, *ignored):
        out, problem = self.child.communicate(timeout=20)
        if self.child.returncode != 0:
            raise BenchError(problem.strip())
        answers, seconds, length = out.split()
        self.answers = int(answers)
        self.rate = self.answers / float(seconds)
        self.length = int(length)


def check_page(port):
    """What the scraper gets and does not read must be a page of metrics."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={
        "Accept": "application/openmetrics-text", "Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        body = answer.read()
        if answer.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
    if b"\npgweir_clients " not in body or not body.endswith(b"\n# EOF\n"):
        raise BenchError(f"not a page of metrics: {body[:200]!r}")


def measure_traffic(bench, proxy):
    """Latency of traffic without and with a thousand scrapes a second, in turns; and with as many of
    another pgweir that carries nothing: what the scraper alone costs who shares its processors."""
    port, idle_port = free_port(), free_port()
    kinds = {"alone": None, f"{SCRAPES} scrapes/s of another": idle_port,
             f"{SCRAPES} scrapes/s": port}
    samples = {}
    rates, lengths = Sample(), Sample()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(StubServer(bench))
        process = stack.enter_context(
            proxy.start(bench, server, Options(CELL.servers, http=f"127.0.0.1:{port}")))
        stack.enter_context(
            proxy.start(bench, server, Options(CELL.servers, http=f"127.0.0.1:{idle_port}")))
        load = stack.enter_context(connect(bench, process, CELL))
        check_page(port)
        length = 0.5 if bench.smoke else 3 if bench.quick else 10
        count = int(calibrate(bench, load, CELL) * length / bench.seconds)
        for turn in range(min(bench.rounds, 5)):
            # There and back, so that a machine that slows down does so for all.
            for name in list(kinds)[:: 1 if turn % 2 == 0 else -1]:
                bench.progress(f"scrape, {name}")
                with contextlib.ExitStack() as scraping:
                    if kinds[name] is not None:
                        scraper = scraping.enter_context(Scraper(bench, kinds[name]))
                    before = cpu_seconds(process.pid)
                    figures = load.run(count)
                    spent = cpu_seconds(process.pid) - before
                if kinds[name] is not None:
                    rates.add(scraper.rate)
                    lengths.add(scraper.length)
                for metric, value in (("p50", figures["p50"]), ("p99", figures["p99"]),
                                      ("cpu", spent * 1e6 / count)):
                    samples.setdefault((metric, name), Sample()).add(value)
    for (metric, name), sample in samples.items():
        bench.report.add(metric, "stub", f"{CELL.short_name}, {name}", proxy.name, sample)
    for name in list(kinds)[1:]:
        pairs = zip(samples["p99", name].values, samples["p99", "alone"].values)
        bench.report.add("scrape p99", "stub", f"{CELL.short_name}, {name}", proxy.name,
                         Sample([scraped / alone for scraped, alone in pairs]))
    bench.report.note(f"scrapes a second that were reached: {rates.median:.0f}, "
                      f"bytes of an answer without its headers: {lengths.median:.0f}")


def add_making(bench, proxy, meter):
    """Reports what it takes to write and to compress a page; returns what it took altogether."""
    making = sum(meter.inclusive(name)[0] for name in ("weir_http_page_prepare", "on_work"))
    pages = meter.inclusive("weir_http_shot_take")[1]
    bench.report.add("scrape instructions", "stub", "page made", proxy.name,
                     Sample([making / pages]))
    return making


def measure_each(bench, proxy):
    """What one scrape costs a daemon that does nothing else but keep 50 clients."""
    seconds = 0.5 if bench.smoke else 5
    for metric, wrapper in (("cpu", ()), ("syscalls", ()),
                            ("instructions", Callgrind.wrapper(bench))):
        program = {"syscalls": "strace", "instructions": "valgrind"}.get(metric)
        if program is not None and (bench.smoke or not has_program(program)):
            continue
        bench.progress(f"scrape, {metric} of each")
        port = free_port()
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(StubServer(bench))
            process = stack.enter_context(proxy.start(
                bench, server, Options(CELL.servers, http=f"127.0.0.1:{port}"), wrapper))
            stack.enter_context(connect(bench, process, CELL)).run(1000)
            with Scraper(bench, port):
                time.sleep(0.3)
            if metric == "cpu":
                before = cpu_seconds(process.pid)
                with Scraper(bench, port) as scraper:
                    time.sleep(seconds)
                value = (cpu_seconds(process.pid) - before) * 1e6
            elif metric == "syscalls":
                with Strace(bench, process.pid) as trace, Scraper(bench, port) as scraper:
                    time.sleep(seconds)
                value = sum(trace.counts.values())
            else:
                meter = Callgrind(bench, process.pid)
                meter.begin()
                with Scraper(bench, port) as scraper:
                    time.sleep(seconds)
                # Pages are made by the clock, and callgrind is slow: apart, both figures are exact.
                value = meter.end() - add_making(bench, proxy, meter)
                bench.report.detail("hot spots/scrape", proxy.name, meter.hot_spots(30))
        bench.report.add(f"scrape {metric}", "stub", "each", proxy.name,
                         Sample([value / scraper.answers]))


def measure_scrape(bench):
    proxy = next((proxy for proxy in bench.proxies if proxy.name == "pgweir"), None)
    if proxy is None:
        return
    measure_each(bench, proxy)
    measure_traffic(bench, proxy)
