"""The same kind of application written with SQLModel."""
import asyncio
from typing import List, Optional

from fastapi import FastAPI
import httpx
from load import url
from sqlalchemy import Column, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import selectinload, sessionmaker
from sqlmodel import Field, Relationship, SQLModel, select
from sqlmodel.ext.asyncio.session import AsyncSession
from support import Watch, pool


class Team(SQLModel, table=True):
    id: Optional[int] = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    heroes: List["Hero"] = Relationship(back_populates="team")


class Hero(SQLModel, table=True):
    id: Optional[int] = Field(default=None, primary_key=True)
    name: str
    powers: dict = Field(default_factory=dict, sa_column=Column(JSONB, nullable=False))
    team_id: Optional[int] = Field(default=None, foreign_key="team.id")
    team: Optional[Team] = Relationship(back_populates="heroes")


def create_app(engine, watch):
    app = FastAPI()
    make_session = sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)

    @app.post("/teams/{name}")
    async def create(name: str, size: int):
        async with make_session() as session:
            raw = await (await session.connection()).get_raw_connection()
            watch.served(id(raw.driver_connection),
                         (await session.execute(text("select pg_backend_pid()"))).scalar_one())
            session.add(Team(name=name, heroes=[Hero(name=f"{name} {number}", powers={"level": number})
                                                for number in range(size)]))
            await session.commit()
        async with make_session() as session:
            team = (await session.exec(select(Team).where(Team.name == name)
                                       .options(selectinload(Team.heroes)))).one()
            return {"name": team.name, "powers": sorted(hero.powers["level"] for hero in team.heroes),
                    "heroes": len({hero.name for hero in team.heroes})}

    return app


@pool(pool_size=5, seconds=60)
def test_sqlmodel_application(env):
    """Forty requests at once, models with a relationship and a JSONB column."""
    async def main(watch):
        engine = create_async_engine(url(env), pool_size=10, max_overflow=5, pool_pre_ping=True)
        async with engine.begin() as connection:
            await connection.run_sync(SQLModel.metadata.create_all,
                                      tables=[Team.__table__, Hero.__table__])
        app = create_app(engine, watch)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app",
                                     timeout=60) as client:
            async def one(number):
                for turn in range(8):
                    name, size = f"team-{number}-{turn}", (number + turn) % 5
                    answer = (await client.post(f"/teams/{name}", params={"size": size})).json()
                    assert answer == {"name": name, "powers": list(range(size)), "heroes": size}, answer
            await asyncio.gather(*(one(number) for number in range(40)))
        async with AsyncSession(engine) as session:
            counted = (await session.exec(select(func.count()).select_from(Team))).one()
        await engine.dispose()
        return counted
    with Watch(env) as watch:
        assert asyncio.run(main(watch)) == 320
    env.assert_no_open_transaction()
    watch.assert_rotation(least=12)
