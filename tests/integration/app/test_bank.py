"""The application under load, with nothing about the pooler in its code."""
import asyncio

from load import Load, check_books, running_bank
from support import Watch, pool


@pool(pool_size=10, seconds=90)
def test_hundred_requests_over_ten_connections(env):
    """SQLAlchemy's pool of 20 + 10 with pre-ping and asyncpg's statement cache at its default."""
    async def main(watch):
        async with running_bank(env, watch) as app:
            load = Load(app)
            await load.run()
        return load
    with Watch(env) as watch:
        load = asyncio.run(main(watch))
    assert load.answered["transfer"] > 100 and load.answered["batch_fails"] > 10, load.answered
    check_books(env, load)
    env.assert_no_open_transaction()
    watch.assert_rotation(least=15)
    if env.against == "pgweir":
        kept = {name: count for name, count in env.pooler.counters().items() if name.startswith("pins_") and count}
        assert not kept, f"an application of transactions alone was kept on its connections: {kept}"


@pool(pool_size=4, max_overflow=3, seconds=60)
def test_overflow_is_used_and_bounded(env):
    """More server connections than pool_size under pressure, never more than both together, and back
    to pool_size when the pressure has gone."""
    async def main(watch):
        async with running_bank(env, watch) as app:
            load = Load(app, workers=60, rounds=6, seed=2)
            await load.run()
        return load
    with Watch(env) as watch:
        load = asyncio.run(main(watch))
        if env.pooled and env.against == "pgweir":
            assert watch.most > env.pool_size, f"only {watch.most} server connections were used"
    check_books(env, load)
    env.assert_no_open_transaction()
    if env.pooled:
        assert len(env.backends()) <= env.pool_size, "overflow connections were kept"
