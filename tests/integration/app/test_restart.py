"""PostgreSQL is restarted while the application runs."""
import asyncio
import threading

from load import Load, check_books, running_bank
from support import Watch, background, pool


@pool(pool_size=10, seconds=90, own_cluster=True)
def test_fast_restart_under_load(env):
    """At most as many requests fail as transactions were running, one per server connection. What
    was answered is there exactly once. Direct, every connection of the application's own pool
    fails and the server is away for a while: only the books are checked there."""
    began, restarted = threading.Event(), threading.Event()
    load = None

    async def main(watch):
        nonlocal load
        async with running_bank(env, watch) as app:
            load = Load(app, workers=100, rounds=12, seed=5, tolerate=(Exception,))
            load.until = restarted.is_set
            load.on_round = lambda: began.set() if sum(load.answered.values()) > 300 else None
            await load.run()
            quiet = Load(app, workers=50, rounds=3, seed=6)
            quiet.kinds = ["echo", "total", "account"]
            quiet.refused = load.refused
            await quiet.run()

    with Watch(env) as watch:
        running = background(asyncio.run, main(watch))
        assert began.wait(20), "the load did not get going"
        assert not load.errors, load.errors
        env.cluster.restart()
        before = sum(load.answered.values())
        restarted.set()
        running.join(80)
    assert sum(load.answered.values()) > before + 200, "the load ended before the restart: it proved nothing"
    if env.pooled:
        kinds = {f"{type(error).__name__}: {str(error).splitlines()[0]}" for error in load.errors}
        assert len(load.errors) <= env.limit, f"{len(load.errors)} errors: {kinds}"
    check_books(env, load)
    env.assert_no_open_transaction()
    watch.assert_rotation(least=20, distinct=2 * env.limit)


@pool(pool_size=5, seconds=30, own_cluster=True)
def test_idle_clients_survive_a_restart(env):
    """Clients that are between transactions notice nothing. Direct, they lose their connections."""
    clients = [env.connect(application_name=f"idle {number}") for number in range(12)]
    for _ in range(2):  # the second time nothing need be asked about the statement any more
        for client in clients:
            client.execute("select 1")
    env.cluster.restart()
    if not env.pooled:
        return
    for number, client in enumerate(clients):
        assert client.execute("show application_name").fetchone() == (f"idle {number}",)
        assert client.execute("select %s::int", (number,)).fetchone() == (number,)
