"""A schema change under load, through the same pooler."""
import asyncio
import collections
import pathlib

from alembic import command
from alembic.config import Config
from load import Load, check_books, running_bank, url
from support import Watch, pool

FOLDER = pathlib.Path(__file__).parent / "migrations"


def migrate(env, verb, revision):
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["url"] = url(env, "psycopg2")
    getattr(command, verb)(config, revision)


class LoadWithStar(Load):
    """Also reads `select *` and notes. A direct connection answers the first use of a cached
    statement after the migration with InvalidCachedStatementError: that, and only that, is
    allowed here too."""
    refusals = collections.Counter()

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.kinds = self.kinds + ["star", "star", "star"]
        self.columns = set()
        self.migrated = False

    async def request(self, kind, tag):
        began_after = self.migrated
        if kind != "star":
            return await super().request(kind, tag)
        try:
            rows = (await self.client.get("/everything")).json()
        except Exception as error:
            if "InvalidCachedStatementError" not in str(error):
                raise
            self.refusals[type(error).__name__] += 1
            return
        assert [row["id"] for row in rows] == [1, 2, 3], rows
        for row in rows:
            # A row read with the description of the older result type would be garbled.
            assert row["owner"] == f"owner {row['id']}" and row["details"]["number"] == row["id"], row
            assert row.get("region", "north") == "north", row
        self.columns.add(len(rows[0]))
        assert not began_after or len(rows[0]) == 5, "the new column is missing after the migration"
        self.answered[kind] += 1


@pool(pool_size=10, seconds=90)
def test_migration_under_load(env):
    """Alembic over psycopg2 adds a column, changes a type, builds indexes (one concurrently)
    while the application runs; the application goes on with its cached statements."""
    async def main(watch):
        async with running_bank(env, watch) as app:
            load = LoadWithStar(app, workers=60, rounds=15, seed=3)
            load.until = lambda: load.migrated
            running = asyncio.ensure_future(load.run())
            await asyncio.sleep(1.0)
            await asyncio.to_thread(migrate, env, "upgrade", "head")
            load.migrated = True
            await running
            await Again(app, load).run()
        return load
    with Watch(env) as watch:
        load = asyncio.run(main(watch))
    assert load.answered["star"] > 50, load.answered
    assert 5 in load.columns
    check_books(env, load)
    env.assert_no_open_transaction()
    watch.assert_rotation(least=15)
    observer = env.admin()
    assert observer.execute("select version_num from alembic_version").fetchall() == [("0003",)]
    assert observer.execute("select count(*) from pg_index where indexrelid in ('notes_position'::regclass,"
                            "'transfers_made_at'::regclass) and indisvalid").fetchone() == (2,)


class Again(LoadWithStar):
    """A second, quieter load after the migration, in the same books. Nothing at all may fail now:
    every statement cache has had its time to learn."""

    def __init__(self, app, before):
        super().__init__(app, workers=30, rounds=8, seed=4)
        self.committed, self.refused, self.migrated = before.committed, before.refused, True

    async def request(self, kind, tag):
        before = sum(self.refusals.values())
        await super().request(kind, "again-" + tag)
        assert sum(self.refusals.values()) == before, "a statement was still invalid long after the migration"


@pool(pool_size=2, seconds=30)
def test_migrations_down_and_up(env):
    """All the way up, down and up again, one connection each, no load."""
    async def create():
        async with running_bank(env, Watch(env)):
            pass
    asyncio.run(create())
    for verb, revision in (("upgrade", "head"), ("downgrade", "base"), ("upgrade", "0001"), ("upgrade", "head")):
        migrate(env, verb, revision)
    assert env.admin().execute("select version_num from alembic_version").fetchall() == [("0003",)]
    env.assert_no_open_transaction()
