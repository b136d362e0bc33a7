"""PostgreSQL is restarted while the application runs."""
import asyncio
import time

from load import Load, check_books, running_bank
from support import Watch, pool


@pool(pool_size=10, seconds=90, own_cluster=True)
def test_fast_restart_under_load(env):
    """At most as many requests fail as transactions were running, one per server connection. What
    was answered is there exactly once. Direct, every connection of the application's own pool
    fails and the server is away for a while: only the books are checked there."""
    async def main(watch):
        async with running_bank(env, watch) as app:
            load = Load(app, workers=100, rounds=24, seed=5, tolerate=(Exception,))
            running = asyncio.ensure_future(load.run())
            await asyncio.sleep(1.5)
            assert not load.errors, load.errors
            await asyncio.to_thread(env.cluster.restart)
            back = time.monotonic()
            before = sum(load.answered.values())
            assert not running.done(), "the load ended before the restart: it proved nothing"
            await running
            assert sum(load.answered.values()) > before + 50
            print(f"{len(load.errors)} errors, {time.monotonic() - back:.1f} s of load after the restart")
            quiet = Load(app, workers=50, rounds=3, seed=6)
            quiet.kinds = ["echo", "total", "account"]
            quiet.refused = load.refused
            await quiet.run()
        return load
    with Watch(env) as watch:
        load = asyncio.run(main(watch))
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
    for client in clients:
        client.execute("select 1")
    env.cluster.restart()
    if not env.pooled:
        return
    for number, client in enumerate(clients):
        assert client.execute("show application_name").fetchone() == (f"idle {number}",)
        assert client.execute("select %s::int", (number,)).fetchone() == (number,)
