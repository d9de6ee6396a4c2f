"""A process that accepts mail as fast as it can until it is killed; each id it prints was acknowledged."""

import asyncio
import os
import random
import sys

from mta.clock import SystemClock
from mta.storage.sqlite import SqliteStore
from tests.fakes.letters import Letters


async def main(path: str) -> None:
    """Accept for ever."""
    async with SqliteStore.open(path, SystemClock(), min_free=0.0, dice=random.Random()) as store:
        letters = Letters(SystemClock(), store.worker)

        async def caller() -> None:
            while True:
                new = letters.new(body=b"x" * 3000)
                await store.accept(new, [], lease=1)
                os.write(1, new.message.id.encode() + b"\n")

        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(caller())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
