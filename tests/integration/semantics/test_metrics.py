"""The counters of the pages are those of a real workload on a real server, and connections rotated meanwhile."""
from harness import pages, process
from support import Skip, Turner, pool


@pool(pool_size=2, max_overflow=0, auth="trust")
def test_metrics_count_what_ran(env):
    if env.against != "pgweir":
        raise Skip("only pgweir has these pages")
    port = process.free_port()
    env.pooler.settings["http_listen"] = f"127.0.0.1:{port}"
    env.pooler.reload()
    process.wait_until(lambda: env.pooler.log_has(f"page at 127.0.0.1:{port}"), "the pages")
    pool = {"database": env.dbname, "user": env.user}
    turner = Turner(env)
    client = env.connect()
    seen = set()

    def transactions(page):
        found = [value for labels, value in page.of("pgweir_pool_transactions_total") if labels == pool]
        return found[0] if found else 0

    def settle():
        last = [-1]

        def still():
            now = transactions(pages.metrics(port))
            same, last[0] = now == last[0], now
            return same
        process.wait_until(still, "the counters rest", pause=0.2)
        return pages.metrics(port)

    before = settle()
    for _ in range(10):
        seen.add(client.execute("select pg_backend_pid()").fetchone()[0])
        turner.turn()
    client.execute("begin")
    client.execute("create table counted (n int)")
    client.execute("insert into counted select generate_series(1, 5000)")
    assert len(client.execute("select n, repeat('x', 100) from counted").fetchall()) == 5000
    client.execute("commit")
    after = settle()
    assert len(seen) == 2, seen
    # Ten and one of the client, and as many of the turner as it gave back.
    assert transactions(after) - transactions(before) == 11 + 10, (transactions(before), transactions(after))
    grown = {name: after.value(name, **pool) - before.value(name, **pool)
             for name in ("pgweir_pool_bytes_from_servers_total", "pgweir_pool_server_duration_seconds_count",
                          "pgweir_pool_idle_in_transaction_duration_seconds_count")}
    assert grown.pop("pgweir_pool_bytes_from_servers_total") > 5000 * 100
    assert set(grown.values()) == {21}, grown
    assert after.value("pgweir_pool_servers", state="active", **pool) == 1  # the turner's
    after.check_histograms()
    turner.end()
    client.close()
