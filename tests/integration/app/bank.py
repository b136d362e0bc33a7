"""A small bank, written as FastAPI applications usually are: one engine, one session factory, one
`async with session` per function, commit on success and rollback on exception.

Works with SQLAlchemy 1.4 and 2.0. Nothing in here knows about a pooler: the driver's statement
cache and every other default is left as it is.
"""
import contextlib

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import (BigInteger, CheckConstraint, Column, DateTime, ForeignKey, Integer, String, func,
                        insert, select, text)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import declarative_base, relationship, selectinload

try:
    from sqlalchemy.ext.asyncio import async_sessionmaker
except ImportError:
    from sqlalchemy.orm import sessionmaker

    def async_sessionmaker(engine, **options):
        return sessionmaker(engine, class_=AsyncSession, **options)

Base = declarative_base()
ACCOUNTS = 40
OPENING = 1000


class Account(Base):
    __tablename__ = "accounts"
    id = Column(Integer, primary_key=True)
    owner = Column(String(80), nullable=False)
    balance = Column(BigInteger, nullable=False)
    details = Column(JSONB, nullable=False, server_default="{}")
    entries = relationship("Entry", back_populates="account", order_by="Entry.id")


class Transfer(Base):
    __tablename__ = "transfers"
    id = Column(Integer, primary_key=True)
    tag = Column(String(80), nullable=False, index=True)
    amount = Column(Integer, CheckConstraint("amount > 0"), nullable=False)
    made_at = Column(DateTime(timezone=True), server_default=func.now())
    entries = relationship("Entry", back_populates="transfer")


class Entry(Base):
    __tablename__ = "entries"
    id = Column(Integer, primary_key=True)
    account_id = Column(ForeignKey("accounts.id"), nullable=False, index=True)
    transfer_id = Column(ForeignKey("transfers.id"), nullable=False)
    amount = Column(Integer, nullable=False)
    account = relationship("Account", back_populates="entries")
    transfer = relationship("Transfer", back_populates="entries")


class Note(Base):
    __tablename__ = "notes"
    id = Column(Integer, primary_key=True)
    tag = Column(String(80), nullable=False, index=True)
    position = Column(Integer, nullable=False)
    body = Column(JSONB, nullable=False)


class TransferOrder(BaseModel):
    source: int
    target: int
    amount: int
    tag: str
    fail: bool = False


class Batch(BaseModel):
    tag: str
    count: int
    fail: bool = False


def create_app(url, served, **options):
    """`served(client, backend)` is told who answered each transaction: the only thing in here that
    an ordinary application would not have."""
    engine = create_async_engine(url, **{"pool_size": 20, "max_overflow": 10, "pool_timeout": 30,
                                         "pool_pre_ping": True, "echo_pool": True, **options})
    make_session = async_sessionmaker(engine, expire_on_commit=False)

    @contextlib.asynccontextmanager
    async def lifespan(_app):
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with session_scope() as session:
            if not await session.scalar(select(func.count()).select_from(Account)):
                session.add_all(Account(id=number, owner=f"owner {number}", balance=OPENING,
                                        details={"number": number, "tags": ["a", {"b": None}]})
                                for number in range(1, ACCOUNTS + 1))
        yield
        await engine.dispose()

    @contextlib.asynccontextmanager
    async def session_scope():
        async with make_session() as session:
            try:
                yield session
                await session.commit()
            except Exception:
                await session.rollback()
                raise

    async def note_backend(session):
        connection = await session.connection()
        raw = await connection.get_raw_connection()
        served(id(raw.driver_connection), await session.scalar(text("select pg_backend_pid()")))

    app = FastAPI()
    app.state.engine = engine
    app.state.lifespan = lifespan
    app.state.session_scope = session_scope

    @app.get("/echo/{tag}")
    async def echo(tag: str, number: int = 0):
        async with session_scope() as session:
            await note_backend(session)
            row = (await session.execute(text("select cast(:tag as text) as tag, cast(:number as int) * 2 as twice"),
                                         {"tag": tag, "number": number})).one()
            return {"tag": row.tag, "twice": row.twice}

    @app.get("/total")
    async def total():
        async with session_scope() as session:
            row = (await session.execute(select(func.sum(Account.balance), func.count()))).one()
            return {"total": int(row[0]), "accounts": row[1]}

    @app.get("/accounts/{number}")
    async def account(number: int):
        async with session_scope() as session:
            await note_backend(session)
            found = (await session.execute(
                select(Account).where(Account.id == number).with_for_update()
                .options(selectinload(Account.entries).selectinload(Entry.transfer)))).scalars().one_or_none()
            if found is None:
                raise HTTPException(404, "no such account")
            return {"id": found.id, "owner": found.owner, "balance": found.balance, "details": found.details,
                    "entries": [{"amount": entry.amount, "tag": entry.transfer.tag} for entry in found.entries]}

    @app.post("/transfers")
    async def transfer(order: TransferOrder):
        async with session_scope() as session:
            await note_backend(session)
            both = (await session.execute(
                select(Account).where(Account.id.in_([order.source, order.target]))
                .order_by(Account.id).with_for_update())).scalars().all()
            accounts = {found.id: found for found in both}
            accounts[order.source].balance -= order.amount
            accounts[order.target].balance += order.amount
            made = Transfer(tag=order.tag, amount=order.amount)
            session.add(made)
            await session.flush()
            await session.execute(insert(Entry), [
                {"account_id": order.source, "transfer_id": made.id, "amount": -order.amount},
                {"account_id": order.target, "transfer_id": made.id, "amount": order.amount}])
            if order.fail:
                raise HTTPException(409, f"{order.tag} refused")
        return {"tag": order.tag, "transfer": made.id}

    @app.post("/batches")
    async def batch(asked: Batch):
        async with session_scope() as session:
            await note_backend(session)
            await session.execute(insert(Note), [
                {"tag": asked.tag, "position": number, "body": {"tag": asked.tag, "text": "x" * number}}
                for number in range(asked.count)])
            if asked.fail:
                await session.execute(text("select 1 / cast(:zero as int)"), {"zero": 0})
            counted = await session.scalar(select(func.count()).where(
                Note.tag == asked.tag, Note.body["tag"].astext == asked.tag))
        return {"tag": asked.tag, "count": counted}

    @app.get("/everything")
    async def everything():
        """`select *`: its result type changes when a migration adds a column."""
        async with session_scope() as session:
            rows = (await session.execute(text("select * from accounts order by id limit 3"))).mappings().all()
            return [dict(row) for row in rows]

    return app
