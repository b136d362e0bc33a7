"""Metrics and the status page: what they say, where they listen, and what bad requests do to them."""

import contextlib
import gzip
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import threading
import time

from common import Gate, in_background, pooled

from harness import pages, pgweir, process, wire
from harness.pages import fetch, get, metrics, status
from harness.scripted import Scripted
from harness.testing import Skip, cases, timeout

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
POOL = {"database": "db", "user": "alice"}


@contextlib.contextmanager
def served(server=None, **settings):
    """(server, daemon, port of its pages)."""
    port = process.free_port()
    with pooled(server, http_listen=f"127.0.0.1:{port}", **settings) as (server, daemon):
        yield server, daemon, port


def settled(port, condition, what):
    """Metrics that fulfil the condition; an answer may be a moment old."""
    found = []

    def look():
        found[:] = [metrics(port)]
        return condition(found[0])
    process.wait_until(look, what)
    return found[0]


# --- what metrics say -------------------------------------------------------------------------------

def test_counters_are_what_was_run():
    with served(pool_size=2) as (_, daemon, port):
        before = metrics(port)
        with daemon.client() as client:
            for _ in range(7):
                client.query("begin")
                client.value("select 1")
                client.query("commit")
        after = settled(port, lambda page: page.of("pgweir_pool_transactions_total")
                        and page.value("pgweir_pool_transactions_total", **POOL) >= 7, "7 transactions")
        assert after.value("pgweir_pool_transactions_total", **POOL) == 7
        assert after.value("pgweir_pool_queries_total", **POOL) == 21
        assert after.value("pgweir_transactions_total") - before.value("pgweir_transactions_total") == 7
        assert after.value("pgweir_client_logins_total") == 1
        assert after.value("pgweir_pool_server_connects_total", **POOL) == 1
        assert after.value("pgweir_pool_bytes_from_clients_total", **POOL) > 7 * len("beginselect 1commit")
        # Histograms count each transaction once, in every part that is per transaction.
        for part in ("server", "client", "idle_in_transaction"):
            name = f"pgweir_pool_{part}_duration_seconds_count"
            assert after.value(name, **POOL) == 7, (name, after.value(name, **POOL))
        assert after.value("pgweir_pool_connect_duration_seconds_count", **POOL) == 1
        assert after.check_histograms() > 10
        assert after.value("pgweir_loop_turn_duration_seconds_count") > 7


def test_time_is_told_by_part():
    """Half a second each in the server, in the client inside a transaction, and in the queue."""
    gate = Gate()
    with served(Scripted(on_query=gate)) as (_, daemon, port):
        with daemon.client() as client, daemon.client() as other:
            client.query("begin")
            time.sleep(0.5)
            wait = in_background(other.value, "select 1")
            answer = in_background(client.query, "wait")
            gate.wait_reached()
            time.sleep(0.5)
            gate.open()
            answer()
            client.query("commit")
            wait()
        page = settled(port, lambda page: page.value("pgweir_pool_transactions_total", **POOL) == 2,
                       "both transactions")
        total = {part: page.value(f"pgweir_pool_{part}_duration_seconds_sum", **POOL)
                 for part in ("wait", "server", "idle_in_transaction")}
        assert all(0.45 < seconds < 5 for seconds in total.values()), total
        bucket = page.value("pgweir_pool_wait_duration_seconds_bucket", le="0.262144", **POOL)
        assert bucket == page.value("pgweir_pool_wait_duration_seconds_count", **POOL) - 1, page.text
        assert page.value("pgweir_wait_seconds_total") > 0.45


def test_gauges_of_a_pool():
    with served(pool_size=1, max_overflow=1) as (_, daemon, port):
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(daemon.client()) for _ in range(4)]
            clients[0].query("begin")
            clients[1].query("begin")
            waiting = in_background(clients[2].value, "select 1")
            page = settled(port, lambda page: page.of("pgweir_pool_clients")
                           and page.value("pgweir_pool_clients", state="waiting", **POOL) == 1, "a waiting client")
            assert page.value("pgweir_pool_clients", state="active", **POOL) == 2
            assert page.value("pgweir_pool_clients", state="idle", **POOL) == 1
            assert page.value("pgweir_pool_servers", state="active", **POOL) == 2
            assert page.value("pgweir_pool_held_servers", by="idle_in_transaction", **POOL) == 2
            assert page.value("pgweir_pool_max_servers", **POOL) == 2
            assert page.value("pgweir_pool_size", **POOL) == 1
            assert page.value("pgweir_clients") == 4 and page.value("pgweir_servers") == 2
            assert page.value("pgweir_pool_held_back", limit="pool_size + max_overflow", **POOL) == 1
            later = settled(port, lambda page: page.value("pgweir_pool_oldest_wait_seconds", **POOL) > 0.2,
                            "the wait grows")
            assert later.value("pgweir_pool_oldest_hold_seconds", **POOL) > 0.2
            state = status(port)
            assert [row["position"] for row in state["waits"]] == [1], state["waits"]
            assert state["waits"][0]["user"] == "alice" and "statement" not in state["waits"][0]
            assert sorted(row["doing"] for row in state["server_list"]) == ["idle in transaction"] * 2
            clients[0].query("commit")
            clients[1].query("commit")
            waiting()
        page = settled(port, lambda page: page.value("pgweir_clients") == 0, "all gone")
        assert not page.of("pgweir_pool_held_back")


def test_closes_by_reason():
    with served(pool_timeout="200ms") as (_, daemon, port):
        with daemon.client() as client, daemon.client() as other:
            client.query("begin")
            assert other.query("select 1").error["C"] == "53300"
            client.query("commit")
        page = settled(port, lambda page: page.value("pgweir_closes_total", reason="pool_timeout", blame="pooler") == 1,
                       "the time-out")
        assert page.value("pgweir_pool_closes_total", reason="pool_timeout", blame="pooler", **POOL) == 1
        assert page.value("pgweir_closes_total", reason="protocol", blame="client") == 0
        assert status(port)["closes"]["pool_timeout"] == 1


def test_names_cannot_break_the_page():
    name = 'we"ird\\x<b>&\n'
    with Scripted() as server:
        port = process.free_port()
        with pgweir.Pgweir({"*": server.dsn() + " dbname=one"}, http_listen=port) as daemon:
            with daemon.client(user=name, database='d"b\\<script>'):
                page = settled(port, lambda page: page.of("pgweir_pool_size"), "the pool")
                labels, _ = page.of("pgweir_pool_size")[0]
                assert labels == {"database": 'd"b\\<script>', "user": name}, labels
                assert status(port)["pools"][0]["user"] == name
                _, _, text = get(port, "/")
                assert "d&quot;b\\&lt;script&gt;" in text and "<b>" not in text.split("<main", 1)[1].split("</main>")[0]


def test_a_name_that_is_no_utf8():
    with Scripted() as server:
        port = process.free_port()
        with pgweir.Pgweir({"*": server.dsn() + " dbname=one"}, http_listen=port) as daemon:
            with daemon.connect() as client:
                body = b"\0\3\0\0user\0al\xffice\0database\0d\xc3\0\0"
                client.send((len(body) + 4).to_bytes(4, "big") + body)
                page = settled(port, lambda page: page.of("pgweir_pool_size"), "the pool")
                assert page.of("pgweir_pool_size")[0][0] == {"database": "d\ufffd", "user": "al\ufffdice"}
                assert status(port)["pools"][0]["user"] == "al\ufffdice"
                assert "al\ufffdice" in get(port, "/")[2]


@timeout(60)
def test_many_pools_are_bounded():
    with Scripted() as server:
        port = process.free_port()
        with pgweir.Pgweir({"*": server.dsn() + " dbname=one"}, http_listen=port, pool_size=1,
                           log_level="warning") as daemon:
            with contextlib.ExitStack() as stack:
                for number in range(210):
                    stack.enter_context(daemon.client(database=f"d{number}")).value("select 1")
                page = settled(port, lambda page: page.value("pgweir_pools") == 210
                               and page.value("pgweir_pool_clients", state="idle", database="(others)", user="(others)") == 10,
                               "all pools")
                assert page.value("pgweir_pools_left_out") == 10
                assert len(page.of("pgweir_pool_size")) == 201
                assert sum(value for _, value in page.of("pgweir_pool_transactions_total")) == 210
                assert page.value("pgweir_pool_server_duration_seconds_count", database="(others)", user="(others)") == 10
                page.check_histograms()
                state = status(port)
                assert state["pools_left_out"] == 10 and len(state["pools"]) == 201
                assert len(state["server_list"]) == 50 and state["server_list_total"] == 210


def test_statements_are_shown_only_when_asked_for():
    for shown in ("off", "on"):
        with served(http_statements=shown) as (_, daemon, port):
            with daemon.client() as client:
                client.query("begin")
                client.value("select 'secret'")
                texts = json.dumps(status(port)) + get(port, "/")[2] + get(port, "/metrics")[2]
                assert ("secret" in texts) == (shown == "on"), texts
                client.query("commit")


# --- formats ------------------------------------------------------------------------------------------

def test_open_metrics():
    with served() as (_, daemon, port):
        with daemon.client() as client:
            client.value("select 1")
        code, headers, text = get(port, "/metrics",
                                  Accept="application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5")
        assert code == 200 and headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        assert text.endswith("\n# EOF\n") and "# TYPE pgweir_transactions counter\n" in text
        assert "# UNIT pgweir_wait_seconds seconds\n" in text
        page = pages.Metrics(text)
        page.check_histograms()
        plain = metrics(port)
        assert "# TYPE pgweir_transactions_total counter\n" in plain.text and "EOF" not in plain.text
        assert page.names() == plain.names()
        for name, kind in page.types.items():
            if kind == "counter":
                assert any(sample == name + "_total" for sample in page.names()) or name == "pgweir_pool_closes", name
        assert all(name in plain.helps for name in plain.types)


PROMETHEUS = {"Accept": "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
              "Accept_Encoding": "gzip"}
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"


@contextlib.contextmanager
def served_large(pools):
    """(daemon, port) with so many pools, each with a client."""
    with Scripted() as server, contextlib.ExitStack() as stack:
        port = process.free_port()
        with pgweir.Pgweir({"*": server.dsn() + " dbname=one"}, http_listen=port, pool_size=1,
                           log_level="warning") as daemon, stack:
            for number in range(pools):
                stack.enter_context(daemon.client(database=f"d{number}")).value("select 1")
            yield daemon, port


@cases(metrics=("/metrics", {}), open_metrics=("/metrics", {"Accept": PROMETHEUS["Accept"]}), page=("/", {}),
       data=("/status.json", {}))
def test_gzip_is_the_same_page(path, more):
    with served() as (_, daemon, port), daemon.client() as client:
        client.value("select 1")

        def both():
            """Those of one moment: the plain one is kept as long as the other."""
            code, headers, body = fetch(port, path, Accept_Encoding="gzip", **more)
            assert code == 200 and headers["Content-Encoding"] == "gzip" and headers["Vary"] == "Accept, Accept-Encoding"
            assert int(headers["Content-Length"]) == len(body)
            code, plain_headers, plain = fetch(port, path, **more)
            assert code == 200 and "Content-Encoding" not in plain_headers
            assert plain_headers["Vary"] == headers["Vary"] and plain_headers["Content-Type"] == headers["Content-Type"]
            assert len(body) < len(plain) / 2, (len(body), len(plain))
            return gzip.decompress(body) == plain
        process.wait_until(both, "both of one moment")


@cases(none=None, other="deflate, br", refused="gzip;q=0", refused_more="gzip;q=0.000, *", any="*", less="identity, gzip;q=0.5",
       empty="", commas=",,,", bad="gzip;q=banana", bad_number="gzip;q=1.5", garbage="\xff\xfe;;=\"gzip", long="x" * 3000)
def test_who_does_not_ask_for_gzip(value):
    with served() as (_, _, port):
        more = {} if value is None else {"Accept_Encoding": value}
        for path, start in (("/metrics", b"# help "), ("/", b"<!doctype html>"), ("/status.json", b"{")):
            code, headers, body = fetch(port, path, **more)
            assert code == 200 and "Content-Encoding" not in headers, headers
            assert body.lower().startswith(start), body[:100]


def test_gzip_and_head():
    with served() as (_, _, port):
        def same():
            code, headers, body = fetch(port, "/metrics", "HEAD", **PROMETHEUS)
            assert code == 200 and body == b"" and headers["Content-Encoding"] == "gzip"
            assert headers["Content-Type"].startswith("application/openmetrics-text")
            return int(headers["Content-Length"]) == len(fetch(port, "/metrics", **PROMETHEUS)[2])
        process.wait_until(same, "the length of the same page")


def test_short_answers_are_not_compressed():
    with served() as (_, _, port):
        for path in ("/healthz", "/readyz", "/nowhere"):
            assert "Content-Encoding" not in fetch(port, path, **PROMETHEUS)[1]
        assert re.match(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$",
                        fetch(port, "/metrics")[1]["Date"])


def test_a_scrape_is_not_old():
    """However many ask, a third of a second later everybody sees what happened."""
    with served() as (_, daemon, port), daemon.client() as client:
        done = threading.Event()

        def scrape():
            while not done.is_set():
                fetch(port, "/metrics", **PROMETHEUS)
        threads = [threading.Thread(target=scrape, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(1, 6):
            client.value("select 1")
            time.sleep(0.3)
            page = pages.Metrics(gzip.decompress(fetch(port, "/metrics", **PROMETHEUS)[2]).decode())
            assert page.value("pgweir_transactions_total") == number
            assert page.value("pgweir_transactions_total") == metrics(port).value("pgweir_transactions_total")
        done.set()
        for thread in threads:
            thread.join(10)


def read_answer(stream):
    """(headers, body) of one answer on a kept connection."""
    assert stream.readline().startswith(b"HTTP/1.1 200 ")
    headers = {}
    while (line := stream.readline()) != b"\r\n":
        name, _, value = line.decode().partition(": ")
        headers[name] = value.strip()
    return headers, stream.read(int(headers["Content-Length"]))


@timeout(60)
def test_many_wait_for_one_large_page():
    """All that may connect ask at the same time, three times in a row, some for another page; it is made
    in slices, and traffic goes on meanwhile."""
    with served_large(120) as (daemon, port), daemon.client(database="d0") as client, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(32)]
        streams = [stack.enter_context(peer.makefile("rb")) for peer in peers]
        other = REQUEST.replace(b"/metrics", b"/status.json")
        for number, peer in enumerate(peers):
            peer.sendall((other if number % 8 == 7 else REQUEST) * 3)
        assert client.value("select 1") == "select 1"
        for number, stream in enumerate(streams):
            for _ in range(3):
                headers, body = read_answer(stream)
                assert headers["Content-Encoding"] == "gzip"
                text = gzip.decompress(body).decode()
                if number % 8 == 7:
                    assert len(json.loads(text)["pools"]) == 120
                else:
                    assert text.count("\npgweir_pool_size{") == 120


@timeout(60)
def test_who_leaves_while_the_page_is_made():
    with served_large(60) as (daemon, port):
        before = daemon.descriptors()
        for number in range(60):
            with socket.create_connection(("127.0.0.1", port), 10) as peer:
                peer.sendall(REQUEST)
                time.sleep(number % 7 / 1000)
        process.wait_until(lambda: daemon.descriptors() <= before, "they are gone")
        assert len(pages.Metrics(gzip.decompress(fetch(port, "/metrics", **PROMETHEUS)[2]).decode()).of("pgweir_pool_size")) == 60


@timeout(60)
def test_it_ends_while_a_page_is_made():
    with served_large(60) as (daemon, port), contextlib.ExitStack() as stack:
        peers = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(20)]
        for peer in peers:
            peer.sendall(REQUEST * 50)
        peers[0].recv(1)
        daemon.signal(signal.SIGTERM)
        daemon.wait_exit()


def promtool(*arguments, **more):
    program = shutil.which(os.environ.get("PROMTOOL", "promtool"))
    if program is None:
        raise Skip("promtool (Debian package prometheus) is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False, **more)


def test_promtool_accepts_the_metrics():
    with served() as (_, daemon, port):
        with daemon.client() as client:
            client.value("select 1")
        text = settled(port, lambda page: page.value("pgweir_transactions_total") == 1, "a transaction").text
    done = promtool("check", "metrics", input=text)
    assert done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr
    broken = promtool("check", "metrics", input=text.replace("# TYPE pgweir_clients gauge", "# TYPE pgweir_clients nonsense"))
    assert broken.returncode != 0


def test_promtool_accepts_the_alerts():
    done = promtool("check", "rules", os.path.join(ROOT, "conf", "prometheus-alerts.yml"))
    assert done.returncode == 0 and "rules found" in done.stdout, done.stdout + done.stderr


def names_in(text):
    return set(re.findall(r"\b(?:pgweir|process)_[a-z0-9_]+\b", text))


@cases(dashboard="grafana-dashboard.json", alerts="prometheus-alerts.yml")
def test_every_metric_named_exists(file):
    """Also those that only appear with an event are made to appear."""
    with open(os.path.join(ROOT, "conf", file), encoding="utf-8") as source:
        text = source.read()
    if file.endswith(".json"):
        panels = json.loads(text)["panels"]
        expressions = [target["expr"] for panel in panels for target in panel.get("targets", [])]
        assert len(expressions) >= 10
    else:
        expressions = re.findall(r"^\s+expr: (.*)$", text, re.MULTILINE)
        assert len(expressions) >= 8
    with served(pool_timeout="100ms") as (_, daemon, port):
        with daemon.client() as client, daemon.client() as other:
            client.query("begin")
            other.query("select 1")
            page = metrics(port)
            waiting = in_background(other.query, "select 1")
            page = settled(port, lambda page: page.of("pgweir_pool_held_back"), "a limit that holds")
            waiting()
            client.query("commit")
    named = set().union(*map(names_in, expressions))
    assert len(named) >= 8
    assert named <= page.names(), named - page.names()


# --- pages --------------------------------------------------------------------------------------------

def test_status_and_headers():
    with served() as (_, _, port):
        code, headers, text = get(port, "/")
        assert code == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
        assert headers["Cache-Control"] == "no-store" and headers["X-Content-Type-Options"] == "nosniff"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "<table" in text and not re.search(r"(src|href)=.https?:", text)
        code, _, text = get(port, "/nowhere")
        assert code == 404 and "/metrics" in text and "/readyz" in text
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "NONSENSE"):
            code, headers, _ = get(port, "/metrics", method)
            assert code == 405 and headers["Allow"] == "GET, HEAD", (method, code)
        code, headers, text = get(port, "/metrics", "HEAD")
        assert code == 200 and text == "" and int(headers["Content-Length"]) > 1000
        assert get(port, "/healthz")[0] == 200 and get(port, "/metrics?debug=1")[0] == 200
        assert get(port, "/../../etc/passwd")[0] == 404 and get(port, "/%2e%2e/%00")[0] in (400, 404)


def test_readyz_while_draining():
    with served(shutdown_timeout="10") as (_, daemon, port):
        with daemon.client() as client:
            client.query("begin")
            assert get(port, "/readyz")[::2] == (200, "ready\n")
            daemon.signal(signal.SIGTERM)
            process.wait_until(lambda: get(port, "/readyz")[0] == 503, "not ready")
            assert "draining" in get(port, "/readyz")[2]
            assert get(port, "/healthz")[0] == 200 and metrics(port).value("pgweir_draining") == 1
            assert "draining" in get(port, "/")[2]
            client.query("commit")
            daemon.wait_exit()


def test_readyz_when_no_server_can_be_reached():
    with Scripted() as server:
        dsn = server.dsn()
    port = process.free_port()
    with pgweir.Pgweir({"db": dsn}, http_listen=port, pool_timeout="300ms") as daemon:
        assert get(port, "/readyz")[0] == 200  # nobody has asked for it yet
        daemon.refused()
        process.wait_until(lambda: get(port, "/readyz")[0] == 503, "not ready")
        assert "no pool can connect" in get(port, "/readyz")[2]
        page = metrics(port)
        assert page.value("pgweir_pool_failing", **POOL) == 1
        assert status(port)["pools"][0]["problem"]
        assert "cannot connect" in get(port, "/")[2]


# --- where it listens ----------------------------------------------------------------------------------

def answers(port):
    try:
        return get(port, "/healthz")[0] == 200
    except OSError:
        return False


def test_reload_moves_it():
    first, second = process.free_port(), process.free_port()
    with pooled(http_listen=f"127.0.0.1:{first}") as (_, daemon):
        assert answers(first)
        daemon.settings["http_listen"] = f"127.0.0.1:{second}, [::1]:{second}" if has_ipv6() else str(second)
        daemon.reload()
        process.wait_until(lambda: answers(second), "the new place")
        assert not answers(first)
        daemon.settings["http_listen"] = f"*:{second}"
        daemon.reload()
        daemon.wait_log(rf"page at \*:{second}")
        assert answers(second)
        daemon.settings["http_listen"] = ""
        daemon.reload()
        process.wait_until(lambda: not answers(second), "it is off")
        daemon.settings["http_listen"] = str(first)
        daemon.reload()
        process.wait_until(lambda: answers(first), "it is on again")


def test_the_console_moves_it():
    first, second = process.free_port(), process.free_port()
    with pooled(http_listen=first, admin_users="alice") as (_, daemon):
        with daemon.client(database="pgweir") as console:
            console.query(f"SET http_listen = '127.0.0.1:{second}'")
            process.wait_until(lambda: answers(second), "the new place")
            assert not answers(first)
            console.query("PAUSE")
            assert get(second, "/readyz")[0] == 503 and "PAUSE" in get(second, "/readyz")[2]
            console.query("RESUME")
            process.wait_until(lambda: get(second, "/readyz")[0] == 200, "ready again")
            console.query("RELOAD")
            process.wait_until(lambda: answers(first), "the file counts again")


def test_a_refused_reload_shows():
    with served() as (_, daemon, port):
        assert metrics(port).value("pgweir_config_last_reload_successful") == 1
        read_at = metrics(port).value("pgweir_config_last_reload_success_timestamp_seconds")
        daemon.settings["pool_size"] = "many"
        daemon.reload()
        settled(port, lambda page: page.value("pgweir_config_last_reload_successful") == 0, "the refusal")
        assert "pool_size" in status(port)["reload_problem"]
        daemon.settings["pool_size"] = 3
        daemon.reload()
        page = settled(port, lambda page: page.value("pgweir_config_last_reload_successful") == 1, "the reload")
        assert page.value("pgweir_config_last_reload_success_timestamp_seconds") > read_at


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def test_reload_to_a_busy_port_changes_nothing():
    port = process.free_port()
    with pooled(http_listen=port) as (_, daemon), socket.create_server(("127.0.0.1", 0)) as other:
        daemon.settings["http_listen"] = f"127.0.0.1:{other.getsockname()[1]}"
        daemon.reload()
        daemon.wait_log(r"pgweir\.ini:\d+: http_listen: cannot listen on .*Address already in use")
        assert answers(port)
        daemon.settings["http_listen"] = "nonsense"
        daemon.reload()
        daemon.wait_log(r"http_listen: \"nonsense\": it must be")
        assert answers(port)


def test_a_busy_port_that_was_asked_for_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as other, Scripted() as server:
        daemon = pgweir.Pgweir({"db": server.dsn()}, start=False,
                               http_listen=f"127.0.0.1:{other.getsockname()[1]}")
        code, output = pgweir.run(daemon.ini)
        assert code == 1 and re.search(r"pgweir\.ini:\d+: http_listen: cannot listen on .*already in use", output), output


def test_a_busy_default_port_is_a_warning():
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # then somebody else has it, which is as good
            stack.enter_context(socket.create_server(("127.0.0.1", 9632)))
        _, daemon = stack.enter_context(pooled(http_listen=None))
        daemon.wait_log("no metrics and no status page: cannot listen on .*9632")
        with daemon.client() as client:
            client.value("select 1")


def test_a_pgbouncer_file_has_no_pages():
    with pooled(http_listen=None, section="pgbouncer") as (_, daemon):
        assert not daemon.log_has("status page")


@cases(word="nonsense", port="127.0.0.1:70000", name="db.example:80", bare="::1:80", empty="127.0.0.1:80,,",
       many=",".join(str(port) for port in range(1, 11)))
def test_a_place_that_is_none(text):
    with Scripted() as server:
        daemon = pgweir.Pgweir({"db": server.dsn()}, start=False, http_listen=text)
        for arguments in ((), ("--check",)):
            code, output = pgweir.run(*arguments, daemon.ini)
            assert code == 1 and re.search(r"pgweir\.ini:\d+: http_listen: ", output), output


# --- bad requests ----------------------------------------------------------------------------------------

def ask(port, request, half_close=False):
    """Everything that comes back."""
    with socket.create_connection(("127.0.0.1", port), 15) as peer:
        with contextlib.suppress(OSError):
            peer.sendall(request)
            if half_close:
                peer.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(ConnectionError):
            while True:
                more = peer.recv(65536)
                if not more:
                    return got
                got += more
        return got


HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
BAD = {
    "garbage": b"\x00\xff\x13garbage\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    "postgres": wire.SSL_REQUEST + b"\r\n\r\n",
    "huge_header": HEAD + b"X: " + b"a" * 100000 + b"\r\n\r\n",
    "many_headers": HEAD + b"".join(b"X%d: y\r\n" % n for n in range(10000)) + b"\r\n",
    "long_path": b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "no_host": b"GET / HTTP/1.1\r\n\r\n",
    "bad_version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "bad_length": HEAD + b"Content-Length: -5\r\n\r\n",
    "two_lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\nConnection: close\r\n\r\nabcdef",
    "body": HEAD + b"Content-Length: 40\r\n\r\n" + HEAD + b"\r\n",
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "post": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"a" * 50000,
    "zeros": bytes(5000) + b"\r\n\r\n",
}


@cases(**BAD)
def test_bad_request(request):
    with served() as (_, daemon, port):
        with daemon.client() as client:
            got = ask(port, request, half_close=True)
            if got:
                assert re.match(rb"HTTP/1\.[01] (400|404|405|408|413|414|431|501|505) ", got), got[:300]
                assert b"alive" not in got, got
            assert client.value("select 1") == "select 1"
            assert get(port, "/healthz")[0] == 200


def test_bad_requests_get_a_status():
    """Of those above, the ones that HTTP has a status for."""
    expected = {"huge_header": (b"431", b"413"), "many_headers": (b"431", b"413"), "long_path": (b"414", b"431"),
                "no_host": (b"400",), "bad_length": (b"400",), "body": (b"400",), "post": (b"405",)}
    with served() as (_, _, port):
        for name, codes in expected.items():
            got = ask(port, BAD[name], half_close=name in ("no_host",))
            assert got[9:12] in codes, (name, got[:200])


def test_pipelining():
    """Every one gets its answer, in order; a body is never taken for a request."""
    with served() as (_, _, port):
        got = ask(port, (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n") * 50
                  + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        codes = re.findall(rb"HTTP/1.1 (\d+)", got)
        assert codes == [b"200", b"404"] * 50 + [b"200"], codes


def test_cut_at_every_byte():
    whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with served() as (_, _, port):
        for at in range(1, len(whole)):
            with socket.create_connection(("127.0.0.1", port), 10) as peer:
                peer.sendall(whole[:at])
                time.sleep(0.001)
                if at % 2:
                    continue  # leaves
                peer.sendall(whole[at:])
                assert peer.recv(4096).startswith(b"HTTP/1.1 200"), at


def is_closed(peer):
    readable, _, _ = select.select([peer], [], [], 0)
    if not readable:
        return False
    try:
        return peer.recv(65536) == b""
    except ConnectionError:
        return True


@timeout(60)
def test_many_connections():
    """Most are refused; traffic goes on, and with their end the pages are back."""
    with served() as (_, daemon, port):
        with daemon.client() as client:
            peers = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(200)]
            process.wait_until(lambda: sum(map(is_closed, peers)) >= 200 - 32, "most are refused")
            assert daemon.descriptors() < 120
            began = time.monotonic()
            for _ in range(50):
                client.value("select 1")
            assert time.monotonic() - began < 5
            open_ones = [peer for peer in peers if not is_closed(peer)]
            assert len(open_ones) == 32, len(open_ones)
            open_ones[0].sendall(HEAD + b"\r\n")
            assert open_ones[0].recv(1000).startswith(b"HTTP/1.1 200")
            for peer in peers:
                peer.close()
            process.wait_until(lambda: answers(port), "the pages are back")


@timeout(60)
def test_slow_requests_are_ended():
    """A byte now and then does not keep a connection; nor does silence, or reading nothing."""
    with served() as (_, daemon, port), daemon.client() as client:
        before = daemon.descriptors()
        slow = socket.create_connection(("127.0.0.1", port), 10)
        silent = socket.create_connection(("127.0.0.1", port), 10)
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        process.wait_until(lambda: daemon.descriptors() == before + 3, "all three are accepted")
        began = time.monotonic()
        for byte in HEAD * 10:
            try:
                slow.send(bytes([byte]))
            except ConnectionError:
                break
            client.value("select 1")
            if is_closed(slow):
                break
            time.sleep(0.2)
        took = time.monotonic() - began
        assert 8 < took < 25, took
        process.wait_until(lambda: is_closed(silent), "the silent one is ended")
        process.wait_until(lambda: daemon.descriptors() <= before, "the deaf one too")
        for peer in (slow, silent, deaf):
            peer.close()
        assert get(port, "/healthz")[0] == 200


@timeout(40)
def test_a_storm_of_garbage_during_traffic():
    """Random bytes from eight threads, and a client that notices nothing."""
    with served() as (_, daemon, port), daemon.client() as client:
        done = threading.Event()
        asked = []

        def storm(number):
            import random
            draw = random.Random(number)
            parts = [b"GET ", b"HEAD ", b"/", b"/metrics", b" HTTP/1.1\r\n", b"Host: x\r\n", b"\r\n", b"\r\n\r\n", b":",
                     b"Accept: application/openmetrics-text;q=", b"Transfer-Encoding: chunked\r\n", b"%00", b"%zz",
                     b"Accept-Encoding: gzip\r\n", b"Accept-Encoding: gzip;q=", b"Connection: keep-alive\r\n", b"Content-Length: 99999999999999999999\r\n", b"Cookie: =;\"\r\n", b"?&=;"]
            while not done.is_set():
                text = b"".join(draw.choice(parts) if draw.random() < 0.9 else draw.randbytes(draw.randint(1, 30))
                                for _ in range(draw.randint(1, 30)))
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as peer:
                    peer.sendall(text)
                    if draw.random() < 0.5:
                        peer.shutdown(socket.SHUT_WR)
                        peer.settimeout(0.2)
                        peer.recv(4096)
                asked.append(1)

        threads = [threading.Thread(target=storm, args=(number,), daemon=True) for number in range(8)]
        for thread in threads:
            thread.start()
        limit = time.monotonic() + 6
        transactions = 0
        while time.monotonic() < limit:
            assert client.value("select 1") == "select 1"
            transactions += 1
        done.set()
        for thread in threads:
            thread.join(10)
        assert len(asked) > 100 and transactions > 100, (len(asked), transactions)
        page = settled(port, lambda page: page.value("pgweir_transactions_total") == transactions, "all of them counted")
        page.check_histograms()


# --- a browser ---------------------------------------------------------------------------------------------

def chromium(folder, *arguments):
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise Skip("chromium is not installed")
    done = subprocess.run(
        [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
         "--enable-logging=stderr", f"--user-data-dir={folder}/profile", *arguments],
        capture_output=True, text=True, errors="replace", timeout=100, check=False, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


@timeout(120)
def test_a_browser_shows_the_page():
    """The script runs under the page's own policy, and what it draws is the state."""
    with served(pool_size=1) as (_, daemon, port):
        with daemon.client() as client, daemon.client() as other:
            client.query("begin")
            waiting = in_background(other.query, "select 1")
            process.wait_until(lambda: status(port)["waits"], "a waiting client")
            code, page, log = chromium(daemon.folder, "--virtual-time-budget=3000", "--dump-dom", f"http://127.0.0.1:{port}/")
            assert code == 0, log[-2000:]
            complaints = [line for line in log.splitlines() if "CONSOLE" in line]
            assert not complaints, complaints
            drawn = page.split("<main", 1)[1].split("</main>")[0]
            for words in ("clients wait", "Waiting for a server connection", "idle in transaction", "Transactions a second",
                          "held back by pool_size + max_overflow"):
                assert words in drawn, words + "\n" + drawn[:3000]
            assert 'class="badge good"' in page and drawn.count("<svg") >= 5
            client.query("commit")
            waiting()
