"""A hundred requests at once against the bank, every answer checked."""
import asyncio
import collections
import contextlib
import logging
import random

import bank
import httpx
from support import Watch


def url(env, driver="asyncpg"):
    from sqlalchemy.engine import URL
    return URL.create(f"postgresql+{driver}", env.user, env.password, env.host, env.port, env.dbname)


def quiet_pool_log(env):
    """echo_pool is on, as the application has it; what it says goes into a file."""
    logger = logging.getLogger("sqlalchemy.pool.impl.AsyncAdaptedQueuePool")
    logger.addHandler(logging.FileHandler(env.tmp / "echo_pool.log"))
    logger.propagate = False


class Load:
    """`workers` tasks with `rounds` requests each. Counts what was answered; `errors` is empty unless
    `tolerate` names exceptions that may happen (a restarted server)."""

    def __init__(self, app, workers=100, rounds=12, seed=1, tolerate=()):
        self.app = app
        self.workers = workers
        self.rounds = rounds
        self.random = random.Random(seed)
        self.tolerate = tolerate
        self.answered = collections.Counter()
        self.committed = set()
        self.refused = set()
        self.errors = []
        self.kinds = ["echo", "echo", "transfer", "transfer", "transfer", "account", "batch", "total",
                      "transfer_fails", "batch_fails", "missing"]
        self.on_round = None
        self.until = None

    async def request(self, kind, tag):
        draw = self.random.random
        client = self.client
        if kind == "echo":
            number = int(draw() * 1e6)
            answer = (await client.get(f"/echo/{tag}", params={"number": number})).json()
            assert answer == {"tag": tag, "twice": 2 * number}, (tag, answer)
        elif kind == "total":
            answer = (await client.get("/total")).json()
            assert answer == {"total": bank.ACCOUNTS * bank.OPENING, "accounts": bank.ACCOUNTS}, answer
        elif kind == "account":
            number = 1 + int(draw() * bank.ACCOUNTS)
            answer = (await client.get(f"/accounts/{number}")).json()
            assert answer["id"] == number and answer["owner"] == f"owner {number}", (number, answer)
            assert answer["details"]["number"] == number, answer
            assert bank.OPENING + sum(entry["amount"] for entry in answer["entries"]) == answer["balance"], answer
            assert not any(entry["tag"] in self.refused for entry in answer["entries"]), answer
        elif kind == "missing":
            answer = await client.get(f"/accounts/{bank.ACCOUNTS + 7}")
            assert answer.status_code == 404, answer
        elif kind.startswith("transfer"):
            source, target = self.random.sample(range(1, bank.ACCOUNTS + 1), 2)
            order = {"source": source, "target": target, "amount": 1 + int(draw() * 50), "tag": tag,
                     "fail": kind == "transfer_fails"}
            if order["fail"]:
                self.refused.add(tag)
            answer = await client.post("/transfers", json=order)
            if order["fail"]:
                assert answer.status_code == 409 and answer.json() == {"detail": f"{tag} refused"}, answer
            else:
                assert answer.json()["tag"] == tag, (tag, answer.json())
                self.committed.add(tag)
        elif kind == "batch":
            answer = (await client.post("/batches", json={"tag": tag, "count": 20})).json()
            assert answer == {"tag": tag, "count": 20}, answer
        elif kind == "batch_fails":
            self.refused.add(tag)
            try:
                await client.post("/batches", json={"tag": tag, "count": 5, "fail": True})
                raise AssertionError("division by zero was not reported")
            except Exception as error:
                if "division by zero" not in str(error):
                    raise
        self.answered[kind] += 1

    async def worker(self, number):
        """At least `rounds` requests, and on until `until` says so and a few after that."""
        turn = left = 0
        while turn < self.rounds or left > 0:
            left = 5 if self.until and not self.until() else left - 1
            turn += 1
            kind = self.random.choice(self.kinds)
            try:
                await self.request(kind, f"w{number}-{turn}-{kind}")
            except AssertionError:
                raise
            except Exception as error:
                if not isinstance(error, self.tolerate):
                    raise
                self.errors.append(error)
            if self.on_round:
                self.on_round()

    async def run(self):
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://bank", timeout=60) as self.client:
            await asyncio.gather(*(self.worker(number) for number in range(self.workers)))


def check_books(env, load):
    """Read behind the pooler's back: every transfer that was answered is there once, no refused one
    is, the books balance."""
    observer = env.admin()
    tags = [tag for tag, in observer.execute("select tag from transfers")]
    assert len(tags) == len(set(tags)), "a transfer was carried out twice"
    missing = load.committed - set(tags)
    assert not missing, f"{len(missing)} committed transfers are lost: {sorted(missing)[:5]}"
    assert not set(tags) & load.refused, "a transfer that was rolled back is there"
    if not load.errors:
        assert set(tags) == load.committed
    notes = {tag for tag, in observer.execute("select distinct tag from notes")}
    assert not notes & load.refused, "a batch that was rolled back is there"
    wrong = observer.execute(
        "select a.id from accounts a where balance <> %s + coalesce((select sum(amount) from entries e"
        " where e.account_id = a.id), 0)", (bank.OPENING,)).fetchall()
    assert not wrong, f"balances differ from their entries: {wrong}"
    assert observer.execute("select sum(balance) from accounts").fetchone()[0] == bank.ACCOUNTS * bank.OPENING
    half = observer.execute("select transfer_id from entries group by 1 having sum(amount) <> 0 or count(*) <> 2")
    assert not half.fetchall(), "half a transfer was committed"


@contextlib.asynccontextmanager
async def running_bank(env, watch, **options):
    quiet_pool_log(env)
    app = bank.create_app(url(env), watch.served, **options)
    async with app.state.lifespan(app):
        yield app


