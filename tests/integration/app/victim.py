"""A client that is going to be killed: transactions, one after another, with a pause inside.
Says on its output what it has committed."""
import asyncio
import random
import sys

import asyncpg


async def main(host, port, user, password, dbname, name, style):
    connection = await asyncpg.connect(host=host, port=int(port), user=user, password=password, database=dbname)
    number = 0
    while True:
        number += 1
        tag = f"{name}-{number}"
        async with connection.transaction():
            source, target = sorted(random.sample(range(1, 21), 2))
            await connection.execute("update purses set balance = balance - 1 where id = $1", source)
            if style == "running":
                await connection.fetchval("select pg_sleep(0.2)")
            elif style == "copying":
                async def rows():
                    for row in range(50):
                        await asyncio.sleep(0.01)
                        yield (f"{tag}-{row}", "y" * 200)
                await connection.copy_records_to_table("copied", records=rows())
            else:
                await asyncio.sleep(random.random() * 0.1)
            await connection.execute("update purses set balance = balance + 1 where id = $1", target)
            await connection.execute("insert into done values ($1)", tag)
        print(tag, flush=True)

asyncio.run(main(*sys.argv[1:]))
